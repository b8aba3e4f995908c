//! Ports that are sure to be something else than a policy wants, as the monitor looks for them after each scan; and why they are to
//! be otherwise, in words for an incident.

use std::net::IpAddr;

use halfopen_results::coverage::Ports;
use halfopen_results::record::State;
use jiff::Timestamp;

use super::{Demand, Exception, Expectation, Policy, Rule, Weight};
use crate::incident::Detail;

/// Ports of a host that are not what a rule wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach<'a> {
    /// Which rule.
    pub rule: &'a Rule,
    /// What they are to be.
    pub expected: Expectation,
    /// What they are.
    pub state: State,
    /// Which ports.
    pub ports: Ports,
    /// What let them be until now.
    pub ended: Option<&'a Exception>,
}

impl Policy {
    /// What of a host is not as it is to be: by rule, what is expected, and what is. The runs are apart.
    pub fn breaches(&self, host: IpAddr, runs: &[(u16, u16, State)], now: Timestamp) -> Vec<Breach<'_>> {
        let mut breaches = Vec::new();
        for demand in self.demands(host) {
            breaches.extend(State::ALL.into_iter().filter_map(|state| self.breach(&demand, state, runs, now)));
        }
        breaches
    }

    fn breach(&self, demand: &Demand, state: State, runs: &[(u16, u16, State)], now: Timestamp) -> Option<Breach<'_>> {
        let &Demand { rule, exception, expected, .. } = demand;
        if self.weigh(demand, state.into(), now) != Some(Weight::Broken) {
            return None;
        }
        let found: Ports = runs.iter().filter(|run| run.2 == state).map(|&(first, last, _)| (first, last)).collect();
        let ports = found.intersection(&demand.ports);
        let ended = exception.map(|it| &self.exceptions[it]).filter(|it| it.has_ended(now));
        (!ports.is_empty()).then(|| Breach { rule: &self.rules[rule], expected, state, ports, ended })
    }
}

/// What an incident says of some breaches: `rule`, `why`, and of an exception that has ended `exception` and `owner`.
pub fn reasons(breaches: &[Breach<'_>]) -> Vec<Detail> {
    let each = |text: &dyn Fn(&Breach<'_>) -> Option<String>| {
        let mut texts: Vec<String> = Vec::new();
        for text in breaches.iter().filter_map(text) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        texts
    };
    let ended = |it: &Breach<'_>| it.ended.map(|it| format!("{} ended at {}", it.id, it.until));
    let texts = [
        ("rule", each(&|it| Some(demanded(it))).join("; ")),
        ("why", each(&|it| it.rule.why.clone()).join(" ")),
        ("exception", each(&ended).join("; ")),
        ("owner", each(&|it| it.ended.map(|it| it.owner.clone())).join(", ")),
    ];
    let detail = |(name, text): (&str, String)| Detail { name: name.to_owned(), text };
    texts.into_iter().filter(|(_, text)| !text.is_empty()).map(detail).collect()
}

/// `web-public: ports 22, 3306 must be silent (filtered)`.
fn demanded(breach: &Breach<'_>) -> String {
    let must = match breach.expected {
        Expectation::Open => "must be open",
        Expectation::Closed => "must be closed",
        Expectation::Filtered => "must be silent (filtered)",
        Expectation::NotOpen => "must not be open",
    };
    let noun = if breach.ports.len() == 1 { "port" } else { "ports" };
    let runs = breach.ports.runs().iter().take(SHOWN);
    let run = |&(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let more = if breach.ports.runs().len() > SHOWN { ", ..." } else { "" };
    format!("{}: {noun} {}{more} {must}", breach.rule.id, runs.map(run).collect::<Vec<_>>().join(", "))
}

/// More runs of ports are no sentence.
const SHOWN: usize = 10;
