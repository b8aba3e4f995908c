//! What is known, held against the policy at the end of a step: an incident for each host and rule while something there is not as
//! it is to be, and one for each exception that ends soon. Only what is sure and covered is judged; a host that is down, or a port that
//! changes to and fro, is neither right nor wrong, and stays what it was.
//!
//! What breaks the policy is told once: a change of a port is told as part of its violation; what comes with a new host or a
//! firewall that changed is told by their incident, which bears the rule. Who resolves an incident by hand hears no more of its ports
//! until they have been right again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use halfopen_results::Coverage;
use halfopen_results::coverage::Ports;
use halfopen_results::record::State;
use jiff::Timestamp;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::step::{Step, cause_of_port, evidence};
use crate::Incident;
use crate::docket::Draft;
use crate::endpoint::Endpoint;
use crate::incident::{KEPT_AGAIN, POLICY, PortChange, Severity, Trigger, VIOLATED};
use crate::policy::{Breach, Exception, Expiring, Judgement, Policy, Rule, reasons};
use crate::store::{self, Error};

/// What has been told of a policy: kept in the database.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Told {
    /// By cause.
    violations: BTreeMap<String, Violation>,
    /// By the exception's name.
    exceptions: BTreeMap<String, Notice>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Violation {
    host: IpAddr,
    rule: String,
    severity: Severity,
    /// Those that were wrong when last looked at.
    #[serde(with = "text")]
    ports: Ports,
    /// Of these, those that another incident tells of, or that somebody has settled by hand.
    #[serde(with = "text")]
    settled: Ports,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Notice {
    until: Timestamp,
    within_days: i64,
}

/// Its name there.
pub(super) const MEMORY: &str = "policy";
/// An incident lists no more changes; how many there are is said.
const LISTED: usize = 50;
/// Of two notices the last one is not to be overlooked.
const LAST_NOTICE_DAYS: i64 = 3;

/// Ports of a host that are not what a rule wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violations {
    /// Which host.
    pub host: IpAddr,
    /// By which rule.
    pub rule: String,
    /// How much that matters.
    pub severity: Severity,
    /// How many ports, whoever was told of them.
    pub ports: u32,
}

/// What is not as the policy wants it, as of the last time that it was judged.
pub fn violations(connection: &Connection) -> Result<Vec<Violations>, Error> {
    let told: Told = store::recall(connection, MEMORY)?.unwrap_or_default();
    let one = |it: Violation| Violations { host: it.host, rule: it.rule, severity: it.severity, ports: it.ports.len() };
    Ok(told.violations.into_values().map(one).collect())
}

impl Violation {
    fn none(host: IpAddr, rule: &Rule) -> Violation {
        let (ports, settled) = Default::default();
        Violation { host, rule: rule.id.clone(), severity: rule.severity, ports, settled }
    }

    /// Those that its own incident tells of.
    fn own(&self) -> Ports {
        self.ports.without(&self.settled)
    }
}

impl Told {
    /// Whether nothing was told that could be over.
    pub(super) fn is_empty(&self) -> bool {
        self.violations.is_empty() && self.exceptions.is_empty()
    }

    /// Another incident bears the rule for these ports, so that they are none of its own.
    fn tell_elsewhere(&mut self, host: IpAddr, breach: &Breach<'_>) {
        let cause = cause_of_breach(host, &breach.rule.id);
        let told = self.violations.entry(cause).or_insert_with(|| Violation::none(host, breach.rule));
        told.ports = told.ports.union(&breach.ports);
        told.settled = told.settled.union(&breach.ports);
    }

    /// The causes of what is wrong at a host.
    pub(super) fn causes_at(&self, host: IpAddr) -> impl Iterator<Item = &str> {
        self.violations.iter().filter(move |(_, it)| it.host == host).map(|(cause, _)| cause.as_str())
    }
}

impl<'a> Step<'a> {
    /// Holds the hosts of the group against the policy.
    pub(super) fn comply(&mut self, coverages: &BTreeMap<String, Coverage>) -> Result<(), Error> {
        if self.is_deferred || self.policy.is_none() && self.told.is_empty() {
            return Ok(());
        }
        let mut broken = self.broken(coverages);
        let told = self.told.violations.iter().filter(|(_, it)| is_judged_by(coverages, self.group, it.host));
        let causes: BTreeSet<String> = told.map(|(cause, _)| cause.clone()).chain(broken.keys().cloned()).collect();
        for cause in causes {
            self.settle(&cause, &broken.remove(&cause).unwrap_or_default())?;
        }
        self.unburden()?;
        self.tell_of_exceptions(coverages)?;
        store::remember(self.connection, MEMORY, &*self.told)
    }

    /// The same incident, with what in it breaks the policy: all of a new host, or what a firewall did.
    pub(super) fn burdened(&mut self, incident: Incident) -> Result<Incident, Error> {
        let Some(policy) = self.policy else { return Ok(incident) };
        let hosts: BTreeSet<IpAddr> =
            incident.changes.iter().map(|change| change.endpoint.address).chain(incident.host).collect();
        let mut breaches = Vec::new();
        for host in hosts {
            for mut breach in policy.breaches(host, &self.runs(host), self.now) {
                let told = self.told.violations.get(&cause_of_breach(host, &breach.rule.id));
                breach.ports = breach.ports.without(&told.map_or_else(Ports::default, Violation::own));
                if incident.trigger != Trigger::NewHost {
                    breach.ports = breach.ports.intersection(&ports_at(host, &incident));
                }
                if !breach.ports.is_empty() {
                    self.told.tell_elsewhere(host, &breach);
                    breaches.push(breach);
                }
            }
        }
        if breaches.is_empty() {
            return Ok(incident);
        }
        // Not every step holds what is known against the policy, and not each group's is about this host.
        store::remember(self.connection, MEMORY, &*self.told)?;
        Ok(explained(incident, &breaches).with(POLICY, VIOLATED))
    }

    /// The same incident, with the rule that a port breaks again and again.
    pub(super) fn restless_and_wrong(&self, incident: Incident, endpoint: Endpoint) -> Incident {
        let (Some(policy), number) = (self.policy, endpoint.port.number) else { return incident };
        let states = [self.state(endpoint), Some(State::Open)].into_iter().flatten();
        let of = |state| policy.breaches(endpoint.address, &[(number, number, state)], self.now);
        match states.map(of).find(|breaches| !breaches.is_empty()) {
            Some(breaches) => explained(incident, &breaches).with(POLICY, VIOLATED),
            None => incident,
        }
    }

    /// Whether the policy wants that port to be otherwise.
    pub(super) fn is_breach(&self, endpoint: Endpoint, state: State) -> bool {
        let judge = |policy: &Policy| matches!(policy.judge(endpoint, state, self.now), Judgement::Violated { .. });
        self.policy.is_some_and(judge)
    }

    /// By cause what is wrong at the group's hosts.
    fn broken(&self, coverages: &BTreeMap<String, Coverage>) -> BTreeMap<String, Vec<Breach<'a>>> {
        let mut broken: BTreeMap<String, Vec<Breach<'a>>> = BTreeMap::new();
        let Some(policy) = self.policy else { return broken };
        let hosts = self.known.iter().filter(|(_, known)| known.up).map(|(&host, _)| host);
        for host in hosts.filter(|&host| is_judged_by(coverages, self.group, host)) {
            let covered = coverages.values().filter_map(|coverage| coverage.ports(host));
            let sure = covered.fold(Ports::default(), |all, ports| all.union(ports)).without(&self.restless_at(host));
            for mut breach in policy.breaches(host, &self.runs(host), self.now) {
                breach.ports = breach.ports.intersection(&sure);
                let all = broken.entry(cause_of_breach(host, &breach.rule.id)).or_default();
                all.extend(Some(breach).filter(|breach| !breach.ports.is_empty()));
            }
        }
        broken.retain(|_, breaches| !breaches.is_empty());
        broken
    }

    /// What is told of a rule at a host, given what is wrong there now.
    fn settle(&mut self, cause: &str, breaches: &[Breach<'_>]) -> Result<(), Error> {
        let Some((host, rule)) = parse(cause) else { return Ok(()) };
        let before = self.told.violations.remove(cause);
        if breaches.is_empty() && self.is_unknown(host, rule) {
            self.told.violations.extend(before.map(|before| (cause.to_owned(), before)));
            return Ok(());
        }
        let (told, settled) = before.map_or_else(Default::default, |before| (before.ports, before.settled));
        let now = breaches.iter().fold(Ports::default(), |all, breach| all.union(&breach.ports));
        let is_open = self.docket.of_cause(cause)?.is_some();
        let by_hand = if is_open { Ports::default() } else { told.clone() };
        let settled = settled.union(&by_hand).intersection(&now);
        let own = now.without(&settled);
        match (is_open, own.is_empty()) {
            (true, true) => self.clear(cause, host, rule, &told)?,
            (true, false) => self.revise(cause, host, &own, breaches)?,
            (false, false) => self.begin(cause, host, &own, breaches)?,
            (false, true) => {}
        }
        if !now.is_empty() {
            let severity = breaches.iter().map(|breach| breach.rule.severity).max().unwrap_or(Severity::Info);
            let violation = Violation { host, rule: rule.to_owned(), severity, ports: now, settled };
            self.told.violations.insert(cause.to_owned(), violation);
        }
        Ok(())
    }

    fn begin(&mut self, cause: &str, host: IpAddr, own: &Ports, breaches: &[Breach<'_>]) -> Result<(), Error> {
        let changes = self.changes(host, own, &[]);
        let new = |change: &PortChange| self.fresh.get(&change.endpoint);
        let since = changes.iter().filter_map(new).map(|(sure, _)| sure.since).min().unwrap_or(self.now);
        let (trigger, severity) = (Trigger::PolicyViolated, Severity::Info);
        let draft = Draft { group: self.group, trigger, cause: cause.to_owned(), severity, since };
        let incident = self.described(draft.at(self.now).about(changes), own, breaches);
        self.docket.begin(incident)
    }

    fn revise(&mut self, cause: &str, host: IpAddr, own: &Ports, breaches: &[Breach<'_>]) -> Result<(), Error> {
        let Some(before) = self.docket.of_cause(cause)? else { return Ok(()) };
        let changes = self.changes(host, own, &before.changes);
        let incident = self.described(Incident { changes, severity: Severity::Info, ..before }, own, breaches);
        self.docket.revise(cause, |it| *it = incident)
    }

    /// The ports, with what they were before if that is known.
    fn changes(&self, host: IpAddr, own: &Ports, before: &[PortChange]) -> Vec<PortChange> {
        let ports = own.runs().iter().flat_map(|&(first, last)| first..=last).take(LISTED);
        let change = |port| {
            let endpoint = Endpoint::tcp(host, port);
            let before = before.iter().find(|change| change.endpoint == endpoint).map(|change| change.was);
            let was = before.unwrap_or_else(|| self.fresh.get(&endpoint).and_then(|(sure, _)| sure.change.was));
            Some(PortChange { endpoint, was, is: self.state(endpoint)? })
        };
        ports.filter_map(change).collect()
    }

    /// With the rules, and what scans said of what is new.
    fn described(&self, mut incident: Incident, own: &Ports, breaches: &[Breach<'_>]) -> Incident {
        let mut breaches = breaches.to_vec();
        breaches.iter_mut().for_each(|breach| breach.ports = breach.ports.intersection(own));
        breaches.retain(|breach| !breach.ports.is_empty());
        let fresh: Vec<_> = incident.changes.iter().filter_map(|change| self.fresh.get(&change.endpoint)).collect();
        for (_, marks) in &fresh {
            incident.marks.extend(marks);
        }
        incident.marks.sort_unstable();
        incident.marks.dedup();
        if let [(sure, _)] = fresh[..] {
            incident.details.retain(|detail| detail.name != "evidence");
            incident = incident.with("evidence", evidence(sure));
        }
        incident.details.retain(|detail| detail.name != "count");
        if own.len() as usize > LISTED {
            incident = incident.with("count", own.len().to_string());
        }
        explained(incident, &breaches)
    }

    /// Nothing is wrong any more there by that rule; or nobody can say, as the port does not keep still.
    fn clear(&mut self, cause: &str, host: IpAddr, rule: &str, told: &Ports) -> Result<(), Error> {
        let is_restless = !told.intersection(&self.restless_at(host)).is_empty();
        if is_restless {
            return self.docket.absorb(cause, "a port that keeps changing");
        }
        let first = self.docket.of_cause(cause)?.and_then(|incident| incident.changes.first().copied());
        let why = first.map_or_else(String::new, |change| self.reason(&change, rule));
        self.docket.resolve(cause, &why)
    }

    /// Why a port is no violation any more.
    fn reason(&self, change: &PortChange, rule: &str) -> String {
        let Some(policy) = self.policy else { return "there is no policy any more".into() };
        let Some(state) = self.state(change.endpoint) else { return "it is not looked at any more".into() };
        match policy.judge(change.endpoint, state, self.now) {
            Judgement::Excepted { exception, .. } => {
                format!("exception {} of {} lets it be until {}", exception.id, exception.owner, exception.until)
            }
            Judgement::Unlisted => "the policy says nothing of it any more".into(),
            Judgement::Compliant { .. } if state == change.is => "the policy allows it now".into(),
            Judgement::Compliant { .. } => {
                format!("the policy is kept again: port {} is {state}", change.endpoint.port.number)
            }
            Judgement::Violated { rule: other, .. } => format!("it falls under rule {} now, and not {rule}", other.id),
        }
    }

    /// Wider incidents that broke the policy, and do not any more.
    fn unburden(&mut self) -> Result<(), Error> {
        let settled: BTreeSet<IpAddr> =
            self.told.violations.values().filter(|it| !it.settled.is_empty()).map(|it| it.host).collect();
        let is_kept = |incident: &Incident| {
            let mut hosts = incident.changes.iter().map(|change| change.endpoint.address).chain(incident.host);
            incident.detail(POLICY) == Some(VIOLATED) && !hosts.any(|host| settled.contains(&host))
        };
        let mut kept = self.docket.about(self.group, &[Trigger::NewHost, Trigger::FirewallChanged])?;
        kept.retain(is_kept);
        kept.iter().try_for_each(|incident| {
            self.docket.revise(&incident.cause, |incident| {
                incident.details.retain(|detail| !REASONS.contains(&&*detail.name));
                incident.severity = Severity::Warning;
                *incident = incident.clone().with(POLICY, KEPT_AGAIN);
            })
        })
    }

    fn tell_of_exceptions(&mut self, coverages: &BTreeMap<String, Coverage>) -> Result<(), Error> {
        let Some(policy) = self.policy else { return self.forget_exceptions(&[]) };
        let expiring: Vec<_> = policy.expiring(self.now).into_iter().filter(|it| it.within_days > 0).collect();
        for it in expiring.iter().filter(|it| speaker(coverages, it.exception) == Some(self.group)) {
            self.tell_of_exception(it)?;
        }
        self.forget_exceptions(&expiring)
    }

    fn tell_of_exception(&mut self, expiring: &Expiring<'_>) -> Result<(), Error> {
        let &Expiring { exception: &Exception { ref id, until, .. }, within_days, .. } = expiring;
        let before = self.told.exceptions.insert(id.clone(), Notice { until, within_days });
        if before.is_some_and(|before| before.until == until && before.within_days <= within_days) {
            return Ok(());
        }
        let (trigger, cause) = (Trigger::ExceptionExpiring, cause_of_exception(id));
        let severity = if within_days <= LAST_NOTICE_DAYS { Severity::Warning } else { Severity::Info };
        if self.docket.of_cause(&cause)?.is_some() {
            let last = severity == Severity::Warning;
            return self.docket.revise(&cause, |incident| {
                (incident.severity, incident.details) = (severity, details(expiring.exception));
                incident.details.extend(last.then(|| detail("notice", "the last one")));
            });
        }
        let draft = Draft { group: self.group, trigger, cause, severity, since: self.now };
        self.docket.begin(Incident { details: details(expiring.exception), ..draft.at(self.now) })
    }

    /// Of exceptions that do not end soon any more: they were renewed, have ended, or were taken out.
    fn forget_exceptions(&mut self, expiring: &[Expiring<'_>]) -> Result<(), Error> {
        let still = |id: &str| expiring.iter().any(|it| it.exception.id == id);
        let told = self.docket.about(self.group, &[Trigger::ExceptionExpiring])?;
        let over = told.iter().filter_map(|it| Some((it.cause.clone(), it.detail("exception")?.to_owned())));
        for (cause, id) in over.filter(|(_, id)| !still(id)).collect::<Vec<_>>() {
            let exceptions = self.policy.into_iter().flat_map(Policy::exceptions);
            let why = match exceptions.into_iter().find(|it| it.id == id) {
                Some(it) if it.has_ended(self.now) => "it has ended".to_owned(),
                Some(it) => format!("it was renewed until {}", it.until),
                None => "it was taken out of the policy".to_owned(),
            };
            self.docket.resolve(&cause, &why)?;
        }
        self.told.exceptions.retain(|id, _| still(id));
        Ok(())
    }

    /// Whether the host is down, and the rule still about it.
    fn is_unknown(&self, host: IpAddr, rule: &str) -> bool {
        let is_down = self.known.get(&host).is_some_and(|known| !known.up);
        let is_about = |policy: &Policy| policy.rules().iter().any(|it| it.id == rule && it.hosts.contains(host));
        is_down && self.policy.is_some_and(is_about)
    }

    fn restless_at(&self, host: IpAddr) -> Ports {
        let ports = self.memory.unstable().filter(|endpoint| endpoint.address == host);
        ports.map(|endpoint| (endpoint.port.number, endpoint.port.number)).collect()
    }

    fn runs(&self, host: IpAddr) -> Vec<(u16, u16, State)> {
        let runs = self.known.get(&host).into_iter().flat_map(|known| known.tcp.runs());
        runs.map(|run| (run.first, run.last, run.fact.state)).collect()
    }

    /// What was told of the port alone goes on in what is told of the rule.
    pub(super) fn absorb_port(&mut self, endpoint: Endpoint) -> Result<(), Error> {
        self.docket.absorb(&cause_of_port(endpoint), "a violation of the policy")
    }
}

/// The group judges the hosts that its scans are about, and those that no group's are about any more.
fn is_judged_by(coverages: &BTreeMap<String, Coverage>, group: &str, host: IpAddr) -> bool {
    let covers = |coverage: &Coverage| coverage.ports(host).is_some();
    coverages.get(group).is_some_and(covers) || !coverages.values().any(covers)
}

/// The ports of a host that an incident is about.
fn ports_at(host: IpAddr, incident: &Incident) -> Ports {
    let changes = incident.changes.iter().filter(|change| change.endpoint.address == host);
    changes.map(|change| (change.endpoint.port.number, change.endpoint.port.number)).collect()
}

/// The group in which an exception is told: the first that has one of its hosts.
fn speaker<'a>(coverages: &'a BTreeMap<String, Coverage>, exception: &Exception) -> Option<&'a str> {
    let ranges = exception.hosts.ranges();
    let meets = |coverage: &Coverage| {
        coverage.spans().iter().any(|span| ranges.iter().any(|it| it.intersection(&span.addresses).is_some()))
    };
    coverages.iter().find(|(_, coverage)| meets(coverage)).map(|(group, _)| group.as_str())
}

/// What an incident says by `reasons`, and whether it breaks the policy.
const REASONS: [&str; 5] = ["rule", "why", "exception", "owner", POLICY];

fn explained(mut incident: Incident, breaches: &[Breach<'_>]) -> Incident {
    incident.details.retain(|detail| !REASONS.contains(&&*detail.name));
    incident.details.extend(reasons(breaches));
    let worst = breaches.iter().map(|breach| breach.rule.severity).max();
    incident.severity = worst.map_or(incident.severity, |worst| worst.max(incident.severity));
    incident
}

fn details(exception: &Exception) -> Vec<crate::incident::Detail> {
    let hosts: Vec<_> = exception.hosts.ranges().iter().map(ToString::to_string).collect();
    vec![
        detail("exception", &exception.id),
        detail("until", &exception.until.to_string()),
        detail("rule", &exception.rule),
        detail("ports", &format!("{} at {}", exception.ports, hosts.join(", "))),
        detail("why", &exception.reason),
        detail("owner", &exception.owner),
    ]
}

fn detail(name: &str, text: &str) -> crate::incident::Detail {
    crate::incident::Detail { name: name.to_owned(), text: text.to_owned() }
}

/// `policy/192.0.2.1/web-public`.
fn cause_of_breach(host: IpAddr, rule: &str) -> String {
    format!("policy/{host}/{rule}")
}

fn parse(cause: &str) -> Option<(IpAddr, &str)> {
    let (host, rule) = cause.strip_prefix("policy/")?.split_once('/')?;
    Some((host.parse().ok()?, rule))
}

fn cause_of_exception(id: &str) -> String {
    format!("exception/{id}")
}

/// Ports as they are written.
mod text {
    use halfopen_results::coverage::Ports;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(ports: &Ports, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(ports)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Ports, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}
