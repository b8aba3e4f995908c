//! What the owner expects of ports, as a file says it: which must be open, closed or filtered, at which hosts, why, and what is
//! excepted until when. `POLICY.md` describes the file. Here is which rule a port falls under and what that makes of its state;
//! the file is `file`'s, whole scans are `assessment`'s, what is known of a port is `knowledge`'s, and the forms in which it is
//! told are `json`'s, `junit`'s and `sarif`'s.
//!
//! A port falls under the rule whose hosts are the most specific ones, of equally specific ones the later. Two rules that name
//! the same hosts and ports and disagree are refused when the file is read. Ports that no rule names belong to the rule that
//! is the most specific one for their host.

mod assessment;
mod breaches;
mod draft;
mod expectation;
mod file;
mod hosts;
mod json;
mod junit;
mod knowledge;
mod ports;
mod sarif;
mod words;

use std::net::IpAddr;
use std::path::Path;

use halfopen_results::Coverage;
use halfopen_results::address::Addresses;
use halfopen_results::coverage::Ports;
use halfopen_results::record::State;
use jiff::{SignedDuration, Timestamp};

use crate::document::{self, Document};
use crate::endpoint::Endpoint;
use crate::incident::{Detail, Severity};

pub use assessment::{Assessment, Check, Measure, Outcome, Tally, Verdict};
pub use breaches::{Breach, reasons};
pub use draft::draft;
pub use expectation::{Expectation, Possible};
pub use hosts::{Hosts, Resolve, system as system_resolver};
pub use json::json;
pub use junit::junit;
pub use knowledge::{Knowledge, Known, OfHistory, OfScan};
pub use ports::parse as parse_ports;
pub use sarif::sarif;
pub use words::{exception, in_plaintext, left, ports as ports_in_words, remarks, sentence};

/// A policy.
#[derive(Debug, Clone)]
pub struct Policy {
    name: String,
    /// What is expected of ports that no rule names; nothing, if they do not matter.
    unlisted: Option<Expectation>,
    rules: Vec<Rule>,
    exceptions: Vec<Exception>,
    listeners: Option<toml::Table>,
}

/// What is expected of some hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name, for alerts, exceptions and reports.
    pub id: String,
    /// Of which hosts.
    pub hosts: Hosts,
    /// Of which ports what; no port stands in two of them with different expectations.
    pub ports: Vec<(Ports, Expectation)>,
    /// How much it matters when it is not so.
    pub severity: Severity,
    /// Why it is to be so.
    pub why: Option<String>,
    /// Whether a host that is down is all right.
    pub may_be_down: bool,
    /// Where it begins in the file.
    pub line: usize,
}

/// What is let be for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Its name.
    pub id: String,
    /// From which rule.
    pub rule: String,
    /// At which hosts,
    pub hosts: Hosts,
    /// and ports.
    pub ports: Ports,
    /// What they may be beside what the rule says.
    pub expect: Expectation,
    /// Until when.
    pub until: Timestamp,
    /// Who answers for it.
    pub owner: String,
    /// What for.
    pub reason: String,
    /// Where it begins in the file.
    pub line: usize,
}

/// The rule that ports fall under whose host stands in a group, and in no rule.
pub const UNLISTED: &str = "unlisted";
/// Days before the end of an exception on which it is told.
pub const TOLD_DAYS_BEFORE: [i64; 2] = [14, 3];
/// More addresses are more than can be judged one by one.
pub const MOST_HOSTS: u128 = 1 << 20;

/// What went wrong with a policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read, or something is wrong in it: file, line and reason.
    #[error(transparent)]
    File(#[from] document::Error),
    /// A host name has no address now.
    #[error("{0}")]
    Resolve(String),
}

/// What some ports of a host are to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// By which rule.
    pub rule: usize,
    /// Unless this exception is in force.
    pub exception: Option<usize>,
    /// Which ports.
    pub ports: Ports,
    /// What they are to be.
    pub expected: Expectation,
    /// Whether the rule names them; otherwise it is what is expected of all others.
    pub listed: bool,
}

/// What a policy makes of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement<'a> {
    /// It is what it is to be.
    Compliant {
        /// By this rule.
        rule: &'a Rule,
    },
    /// It is not.
    Violated {
        /// By this rule.
        rule: &'a Rule,
        /// What it is to be.
        expected: Expectation,
        /// Whether the rule names the port.
        listed: bool,
        /// What let it be until now.
        ended: Option<&'a Exception>,
    },
    /// It is not, but that is let be.
    Excepted {
        /// By this rule.
        rule: &'a Rule,
        /// By this exception.
        exception: &'a Exception,
    },
    /// The policy says nothing of it.
    Unlisted,
}

/// An exception that ends soon, or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiring<'a> {
    /// Which.
    pub exception: &'a Exception,
    /// How long it still lasts; less than nothing, if it has ended.
    pub left: SignedDuration,
    /// Within so many days it ends: one of [`TOLD_DAYS_BEFORE`], 0 when it has ended.
    pub within_days: i64,
}

impl Policy {
    /// Reads a file; host names are looked up by `resolve`.
    pub fn read(path: &Path, resolve: Resolve<'_>) -> Result<Policy, Error> {
        Policy::of(&Document::read(path)?, resolve)
    }

    /// Of a document.
    pub fn of(document: &Document, resolve: Resolve<'_>) -> Result<Policy, Error> {
        file::read(document, resolve)
    }

    /// The file, as it was named.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The rules; where groups are in no rule, [`UNLISTED`] is the first of them.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The exceptions.
    pub fn exceptions(&self) -> &[Exception] {
        &self.exceptions
    }

    /// What is expected of ports that no rule names, if they matter.
    pub fn unlisted(&self) -> Option<Expectation> {
        self.unlisted
    }

    /// The table of what may listen here, as it is written.
    pub fn listeners(&self) -> Option<&toml::Table> {
        self.listeners.as_ref()
    }

    /// All hosts, each once.
    pub fn hosts(&self) -> Addresses {
        self.rules.iter().flat_map(|rule| rule.hosts.addresses().ranges().to_vec()).collect()
    }

    /// The ports that rules name, at the hosts they name them for.
    pub fn listed(&self) -> Coverage {
        let of = |rule: &Rule| {
            let ports: Ports = rule.ports.iter().flat_map(|(ports, _)| ports.runs().iter().copied()).collect();
            let ports = std::sync::Arc::new(ports);
            let addresses = rule.hosts.addresses();
            addresses.ranges().iter().map(|&range| (range, std::sync::Arc::clone(&ports))).collect::<Vec<_>>()
        };
        self.rules.iter().flat_map(of).collect()
    }

    /// What a host's ports are to be: apart from one another, the named ones first.
    pub fn demands(&self, host: IpAddr) -> Vec<Demand> {
        let rules = self.rules_for(host);
        let exceptions = self.exceptions_for(host);
        let (mut demands, mut named) = (Vec::new(), Ports::default());
        for &rule in &rules {
            let mut own = Ports::default();
            for (ports, expected) in &self.rules[rule].ports {
                self.demand(&mut demands, &exceptions, rule, (ports.without(&named), *expected, true));
                own = own.union(ports);
            }
            named = named.union(&own);
        }
        if let (Some(expected), Some(&rule)) = (self.unlisted, rules.first()) {
            let others = Ports::from_iter([(1, u16::MAX)]).without(&named);
            self.demand(&mut demands, &exceptions, rule, (others, expected, false));
        }
        demands
    }

    /// The demand that a port falls under, if one does.
    pub fn demand_at(&self, endpoint: Endpoint) -> Option<Demand> {
        let demands = self.demands(endpoint.address).into_iter();
        demands.into_iter().find(|demand| demand.ports.contains(endpoint.port.number))
    }

    /// What it makes of a port that is in this state.
    pub fn judge(&self, endpoint: Endpoint, state: State, now: Timestamp) -> Judgement<'_> {
        let tcp = endpoint.port.protocol == halfopen_services::Protocol::Tcp;
        let Some(demand) = self.demand_at(endpoint).filter(|_| tcp) else { return Judgement::Unlisted };
        let rule = &self.rules[demand.rule];
        let exception = demand.exception.map(|exception| &self.exceptions[exception]);
        match (exception, self.weigh(&demand, state.into(), now)) {
            (_, Some(Weight::Met)) => Judgement::Compliant { rule },
            (Some(exception), Some(Weight::Excepted)) => Judgement::Excepted { rule, exception },
            _ => {
                let ended = exception.filter(|exception| exception.has_ended(now));
                Judgement::Violated { rule, expected: demand.expected, listed: demand.listed, ended }
            }
        }
    }

    /// Exceptions that end within the longest notice, or have ended; those that end first come first.
    pub fn expiring(&self, now: Timestamp) -> Vec<Expiring<'_>> {
        let of = |exception| Exception::expiring(exception, now);
        let mut expiring: Vec<_> = self.exceptions.iter().filter_map(of).collect();
        expiring.sort_by_key(|expiring| expiring.exception.until);
        expiring
    }

    /// When an exception is next to be told of, or ends.
    pub fn next_turn(&self, now: Timestamp) -> Option<Timestamp> {
        let days = TOLD_DAYS_BEFORE.into_iter().chain([0]);
        let turn = |until: Timestamp, days: i64| until.checked_sub(SignedDuration::from_hours(24 * days)).ok();
        let turns = days.flat_map(|days| self.exceptions.iter().filter_map(move |it| turn(it.until, days)));
        turns.filter(|&turn| turn > now).min()
    }

    /// What a port makes of a demand, when it may be in these states; nothing where nobody can tell.
    fn weigh(&self, demand: &Demand, possible: Possible, now: Timestamp) -> Option<Weight> {
        let met = |state| demand.expected.is_met_by(state);
        let exception = demand.exception.map(|exception| &self.exceptions[exception]);
        let Some(exception) = exception.filter(|exception| !exception.has_ended(now)) else {
            return possible.meets(met).map(|met| if met { Weight::Met } else { Weight::Broken });
        };
        match possible.meets(met) {
            Some(true) => Some(Weight::Met),
            _ => possible
                .meets(|state| met(state) || exception.expect.is_met_by(state))
                .map(|met| if met { Weight::Excepted } else { Weight::Broken }),
        }
    }

    /// The rules about a host, the one that counts most first.
    fn rules_for(&self, host: IpAddr) -> Vec<usize> {
        let size = |(index, rule): (usize, &Rule)| rule.hosts.size_at(host).map(|size| (size, index));
        let mut rules: Vec<_> = self.rules.iter().enumerate().filter_map(size).collect();
        rules.sort_unstable_by_key(|&(size, index)| (size, std::cmp::Reverse(index)));
        rules.into_iter().map(|(_, index)| index).collect()
    }

    /// The exceptions at a host, the one that lasts longest first.
    fn exceptions_for(&self, host: IpAddr) -> Vec<usize> {
        let there = |index: &usize| self.exceptions[*index].hosts.contains(host);
        let mut exceptions: Vec<_> = (0..self.exceptions.len()).filter(there).collect();
        exceptions.sort_by_key(|&index| std::cmp::Reverse(self.exceptions[index].until));
        exceptions
    }

    /// Adds a demand, cut where exceptions begin and end.
    fn demand(
        &self,
        demands: &mut Vec<Demand>,
        exceptions: &[usize],
        rule: usize,
        (mut ports, expected, listed): (Ports, Expectation, bool),
    ) {
        let of = |&index: &usize| self.exceptions[index].rule == self.rules[rule].id;
        for index in exceptions.iter().copied().filter(|index| of(index)) {
            let excepted = ports.intersection(&self.exceptions[index].ports);
            ports = ports.without(&excepted);
            demands.push(Demand { rule, exception: Some(index), ports: excepted, expected, listed });
        }
        demands.push(Demand { rule, exception: None, ports, expected, listed });
        demands.retain(|demand| !demand.ports.is_empty());
    }
}

/// How a port stands to a demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    Met,
    Excepted,
    Broken,
}

impl Judgement<'_> {
    /// What an incident says of it: `rule`, `why`, `exception`, `owner`, as far as there is such a thing.
    pub fn details(&self) -> Vec<Detail> {
        let (rule, said, exception) = match self {
            Judgement::Unlisted => return Vec::new(),
            Judgement::Compliant { rule } => (rule, String::new(), None),
            Judgement::Violated { rule, expected, ended, .. } => (rule, format!(" expects {expected}"), *ended),
            Judgement::Excepted { rule, exception } => (rule, String::new(), Some(*exception)),
        };
        let rule_says = Some(format!("Rule {}{said}", rule.id));
        let details = [
            ("rule", rule_says),
            ("why", rule.why.clone()),
            ("exception", exception.map(|exception| format!("{} until {}", exception.id, exception.until))),
            ("owner", exception.map(|exception| exception.owner.clone())),
        ];
        let detail = |(name, text): (&str, Option<String>)| Some(Detail { name: name.to_owned(), text: text? });
        details.into_iter().filter_map(detail).collect()
    }
}

impl Exception {
    /// Whether it is over.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        now >= self.until
    }

    fn expiring(&self, now: Timestamp) -> Option<Expiring<'_>> {
        let left = self.until.duration_since(now);
        let within = |days: &i64| left <= SignedDuration::from_hours(24 * days);
        let notices = TOLD_DAYS_BEFORE.into_iter().chain((left <= SignedDuration::ZERO).then_some(0));
        let within_days = notices.filter(within).min()?;
        Some(Expiring { exception: self, left, within_days })
    }
}

#[cfg(test)]
mod tests;
