//! What one scan saw: of each host that answered, what its ports are. What the scan did not cover, or could not tell, is
//! not in it; so whatever is in it may be held against what was known before.

use std::collections::BTreeMap;
use std::net::IpAddr;

use halfopen_results::Coverage;
use halfopen_results::diff::View;
use halfopen_results::record::{Name, State, Verdict};
use halfopen_results::scan::{Host, Scan};

use crate::ledger::Fact;

/// What a scan saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What it was to ask, unless it ended early: then nothing, and only what was seen counts.
    pub asked: Coverage,
    /// The hosts that answered.
    pub hosts: BTreeMap<IpAddr, Seen>,
    /// Hosts of our own link that have no link address.
    pub absent: Vec<IpAddr>,
    /// Whether it went to its end.
    pub complete: bool,
    /// Probes sent.
    pub probes: u64,
}

/// The ports of a host that answered: runs, ascending and apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen(pub Vec<(u16, u16, Fact)>);

impl Snapshot {
    /// Of a scan.
    pub fn of(scan: &Scan) -> Snapshot {
        let view = View::new(scan);
        let complete = scan.summary.as_ref().is_some_and(|summary| summary.outcome == "complete");
        let planned = scan.plan().cloned().unwrap_or_default();
        let hosts = scan.hosts.iter().filter(|(address, host)| is_up(**address, host));
        let hosts = hosts.map(|(&address, host)| (address, seen(address, host, &planned, &view))).collect();
        let absent = scan.hosts.iter().filter(|(_, host)| host.down.is_some()).map(|(&address, _)| address).collect();
        let probes = scan.summary.as_ref().map_or(0, |summary| summary.probes.total);
        Snapshot { asked: if complete { planned } else { Coverage::default() }, hosts, absent, complete, probes }
    }

    /// How many ports are open.
    pub fn open(&self) -> u64 {
        self.hosts.values().map(|seen| u64::from(seen.count(State::Open))).sum()
    }

    /// What a port of a host is.
    pub fn fact(&self, host: IpAddr, port: u16) -> Option<&Fact> {
        self.hosts.get(&host)?.at(port)
    }
}

impl Seen {
    /// What a port is.
    pub fn at(&self, port: u16) -> Option<&Fact> {
        let at = self.0.partition_point(|&(_, last, _)| last < port);
        self.0.get(at).filter(|&&(first, _, _)| first <= port).map(|(_, _, fact)| fact)
    }

    /// How many ports are in that state.
    pub fn count(&self, state: State) -> u32 {
        let of = |(_, _, fact): &&(u16, u16, Fact)| fact.state == state;
        self.0.iter().filter(of).map(|&(first, last, _)| u32::from(last - first) + 1).sum()
    }

    fn push(&mut self, port: u16, fact: Fact) {
        match self.0.last_mut() {
            Some((_, last, kept)) if last.checked_add(1) == Some(port) && *kept == fact => *last = port,
            _ => self.0.push((port, port, fact)),
        }
    }
}

/// Whether anything came from the host itself.
fn is_up(address: IpAddr, host: &Host) -> bool {
    let by_itself = |verdict: &Verdict| verdict.state != State::Filtered || verdict.sender == Some(address);
    let counted = host.rest.iter().any(|rest| rest.state != State::Filtered && rest.count > 0);
    host.down.is_none() && (counted || host.ports.values().any(by_itself))
}

fn seen(address: IpAddr, host: &Host, planned: &Coverage, view: &View<'_>) -> Seen {
    let asked = planned.ports(address).into_iter().flat_map(|ports| ports.runs().iter().copied());
    let mut seen = Seen::default();
    for port in asked.flat_map(|(first, last)| first..=last) {
        let fact = match host.ports.get(&port) {
            // Who answers for every port, or forges answers, says nothing of this one.
            Some(verdict) if verdict.suspect.is_some() || host.suspect.is_some() && verdict.state == State::Open => {
                None
            }
            Some(verdict) => Some(Fact::from(verdict)),
            None => unlisted(host, &view.states(address, port)),
        };
        fact.into_iter().for_each(|fact| seen.push(port, fact));
    }
    seen
}

/// What a port is that was asked and is not among the findings, if that leaves one possibility.
fn unlisted(host: &Host, states: &[State]) -> Option<Fact> {
    let &[state] = states else { return None };
    let mut reasons = host.rest.iter().filter(|rest| rest.state == state).map(|rest| &rest.reason);
    let reason = reasons.next().filter(|_| reasons.next().is_none());
    let usual = if state == State::Closed { Name::from("rst") } else { Name::from("no-response") };
    Some(Fact { state, reason: reason.cloned().unwrap_or(usual), ttl: None, rtt_us: None })
}

impl From<&Verdict> for Fact {
    fn from(verdict: &Verdict) -> Fact {
        let is_open = verdict.state == State::Open;
        Fact {
            state: verdict.state,
            reason: verdict.reason.clone(),
            ttl: verdict.ttl.filter(|_| is_open),
            rtt_us: verdict.rtt_us.filter(|_| is_open),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use halfopen_results::record::{Header, HostDown, Record, Rest, Settings, Show, Summary, Suspect};

    use super::*;

    fn host(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn scan(show: Show, outcome: &'static str, verdicts: &[(u8, u16, State)]) -> Scan {
        let coverage = [("192.0.2.0/24".parse().unwrap(), Arc::new("20-30".parse().unwrap()))].into_iter().collect();
        let settings = Settings { show, ..Settings::default() };
        let mut scan = Scan::default();
        scan.add(Record::Scan(Box::new(Header { settings, coverage, ..Header::default() })));
        verdicts
            .iter()
            .for_each(|&(last, port, state)| scan.add(Record::Verdict(Verdict::bare(host(last), port, state))));
        scan.add(Record::Summary(Box::new(Summary { outcome: outcome.into(), ..Summary::default() })));
        scan
    }

    const OPEN_AND_CLOSED: Show = Show { open: true, closed: true, filtered: false, down: false };

    #[test]
    fn what_was_asked_and_is_not_listed_is_the_state_that_is_not_shown() {
        let snapshot =
            Snapshot::of(&scan(OPEN_AND_CLOSED, "complete", &[(1, 22, State::Open), (1, 23, State::Closed)]));
        let seen = &snapshot.hosts[&host(1)];
        let runs: Vec<_> = seen.0.iter().map(|(first, last, fact)| (*first, *last, fact.state)).collect();
        let expected =
            [(20, 21, State::Filtered), (22, 22, State::Open), (23, 23, State::Closed), (24, 30, State::Filtered)];
        assert_eq!(runs, expected);
        assert_eq!((seen.at(19), seen.at(31), snapshot.open()), (None, None, 1));
        assert_eq!(snapshot.hosts.len(), 1);
    }

    #[test]
    fn a_scan_that_ended_early_says_only_what_it_found() {
        let snapshot = Snapshot::of(&scan(OPEN_AND_CLOSED, "stopped", &[(1, 22, State::Open)]));
        assert_eq!(snapshot.hosts[&host(1)].0.len(), 1);
        assert!(snapshot.asked.is_empty() && !snapshot.complete);
    }

    #[test]
    fn silence_is_no_sign_of_life() {
        let mut silent = scan(Show::ALL, "complete", &[(1, 22, State::Filtered)]);
        silent.add(Record::HostDown(HostDown { address: host(2), reason: "no-arp".into() }));
        let snapshot = Snapshot::of(&silent);
        assert!(snapshot.hosts.is_empty());
        assert_eq!(snapshot.absent, [host(2)]);
        let mut counted = scan(OPEN_AND_CLOSED, "complete", &[]);
        counted.add(Record::Rest(Rest {
            address: host(1),
            state: State::Filtered,
            reason: "no-response".into(),
            count: 11,
        }));
        assert!(Snapshot::of(&counted).hosts.is_empty());
    }

    #[test]
    fn who_rejects_by_itself_is_up() {
        let mut scan = scan(Show::ALL, "complete", &[]);
        let rejected = Verdict { sender: Some(host(1)), ..Verdict::bare(host(1), 22, State::Filtered) };
        let elsewhere = Verdict { sender: Some(host(254)), ..Verdict::bare(host(2), 22, State::Filtered) };
        [rejected, elsewhere].into_iter().for_each(|verdict| scan.add(Record::Verdict(verdict)));
        assert_eq!(Snapshot::of(&scan).hosts.keys().collect::<Vec<_>>(), [&host(1)]);
    }

    #[test]
    fn who_answers_for_every_port_says_nothing_of_one() {
        let mut scan = scan(Show::ALL, "complete", &[(1, 22, State::Open), (1, 23, State::Closed)]);
        scan.add(Record::Suspect(Suspect { address: host(1), reason: "every-port".into(), usual_ttl: None }));
        let snapshot = Snapshot::of(&scan);
        assert_eq!(snapshot.fact(host(1), 22), None);
        assert_eq!(snapshot.fact(host(1), 23).map(|fact| fact.state), Some(State::Closed));
    }
}
