//! What scans found, counted: by host, by port, by time. Open ports that something speaks against are kept apart. The
//! scans are about different targets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use halfopen_results::Scan;
use halfopen_results::record::{State, Suspect, Verdict};
use halfopen_results::scan;

/// All that the page counts.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// By address.
    pub(crate) hosts: BTreeMap<IpAddr, Host>,
    /// How many hosts have a port open, without those in doubt.
    pub(crate) ports: BTreeMap<u16, u64>,
    /// What is recorded of targets one by one.
    pub(crate) recorded: States,
    /// Round trips in microseconds, sorted.
    pub(crate) round_trips_us: Vec<u64>,
    /// When open ports were found: microseconds since 1970, sorted.
    pub(crate) found_us: Vec<u64>,
}

/// Targets by state.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct States {
    pub(crate) open: u64,
    pub(crate) closed: u64,
    /// All that are filtered,
    pub(crate) filtered: u64,
    /// and those of them that said nothing.
    pub(crate) silent: u64,
}

/// What is known of one host.
#[derive(Debug, Default)]
pub(crate) struct Host {
    /// Ports found open, with what speaks against them.
    pub(crate) open: BTreeMap<u16, Option<String>>,
    /// Its ports by state.
    pub(crate) states: States,
    /// The fastest and the slowest answer, in microseconds.
    pub(crate) answers_us: Option<(u64, u64)>,
    /// Why it is down, if it is.
    pub(crate) down: Option<String>,
    /// What speaks against the host.
    pub(crate) suspect: Option<Suspect>,
}

impl Tally {
    /// Counts what the scans found.
    pub(crate) fn of(scans: &[&Scan]) -> Tally {
        let mut tally = Tally::default();
        for (&address, host) in scans.iter().flat_map(|scan| &scan.hosts) {
            tally.add(address, host);
        }
        tally.round_trips_us.sort_unstable();
        tally.found_us.sort_unstable();
        tally
    }

    fn add(&mut self, address: IpAddr, found: &scan::Host) {
        let host = self.hosts.entry(address).or_default();
        host.down = host.down.take().or(found.down.as_ref().map(ToString::to_string));
        host.suspect = host.suspect.take().or_else(|| found.suspect.clone());
        for rest in &found.rest {
            let silent = if is_silent(rest.state, &rest.reason) { rest.count } else { 0 };
            host.states.add(rest.state, rest.count.into(), silent.into());
            self.recorded.add(rest.state, rest.count.into(), silent.into());
        }
        for verdict in found.ports.values() {
            self.count(verdict, found.suspect.as_ref());
        }
    }

    fn count(&mut self, verdict: &Verdict, suspect: Option<&Suspect>) {
        let silent = u64::from(is_silent(verdict.state, &verdict.reason));
        let host = self.hosts.entry(verdict.address).or_default();
        self.recorded.add(verdict.state, 1, silent);
        host.states.add(verdict.state, 1, silent);
        host.answers_us = joined(host.answers_us, verdict.rtt_us);
        self.round_trips_us.extend(verdict.rtt_us);
        if verdict.state == State::Open {
            let doubt = doubt(verdict, suspect);
            if doubt.is_none() {
                *self.ports.entry(verdict.port).or_default() += 1;
            }
            host.open.insert(verdict.port, doubt);
            let time = u64::try_from(verdict.time.as_microsecond()).unwrap_or(0);
            // Forms without times have the zero of the epoch.
            self.found_us.extend((time > 0).then_some(time));
        }
    }

    /// Hosts with open ports that nothing speaks against.
    pub(crate) fn hosts_with_open(&self) -> u64 {
        self.hosts.values().filter(|host| host.trusted().next().is_some()).count() as u64
    }

    /// Open ports that nothing speaks against.
    pub(crate) fn trusted(&self) -> u64 {
        self.ports.values().sum()
    }

    /// Open ports that something speaks against.
    pub(crate) fn doubted(&self) -> u64 {
        self.hosts.values().flat_map(|host| host.open.values()).filter(|doubt| doubt.is_some()).count() as u64
    }
}

impl Host {
    /// Its open ports that nothing speaks against.
    pub(crate) fn trusted(&self) -> impl Iterator<Item = u16> {
        self.open.iter().filter(|(_, doubt)| doubt.is_none()).map(|(&port, _)| port)
    }
}

impl States {
    fn add(&mut self, state: State, targets: u64, silent: u64) {
        let of_state = match state {
            State::Open => &mut self.open,
            State::Closed => &mut self.closed,
            State::Filtered => &mut self.filtered,
        };
        *of_state += targets;
        self.silent += silent;
    }
}

fn is_silent(state: State, reason: &str) -> bool {
    state == State::Filtered && reason == "no-response"
}

/// What speaks against an open port: against its host, or against this answer alone.
fn doubt(verdict: &Verdict, host: Option<&Suspect>) -> Option<String> {
    // So far from the host's usual TTL, the scan took it for another sender's.
    let elsewhere = |usual: u8| verdict.ttl.is_some_and(|ttl| ttl.abs_diff(usual) > 3);
    let against_host = host.filter(|suspect| suspect.usual_ttl.is_none_or(elsewhere));
    against_host.map(|suspect| suspect.reason.to_string()).or(verdict.suspect.as_ref().map(ToString::to_string))
}

fn joined(range: Option<(u64, u64)>, one: Option<u64>) -> Option<(u64, u64)> {
    match (range, one) {
        (Some((least, most)), Some(one)) => Some((least.min(one), most.max(one))),
        (range, one) => range.or(one.map(|one| (one, one))),
    }
}

#[cfg(test)]
mod tests {
    use halfopen_results::record::{Record, Rest};

    use super::*;
    use crate::samples::{self, verdict};

    fn tally(records: impl IntoIterator<Item = Record>) -> Tally {
        Tally::of(&[&samples::scan(records)])
    }

    #[test]
    fn a_small_scan() {
        let tally = Tally::of(&[&samples::small()]);
        assert_eq!((tally.trusted(), tally.doubted(), tally.hosts_with_open()), (6, 2, 4));
        assert_eq!(tally.ports, [(22, 1), (23, 2), (443, 2), (445, 1)].into());
        assert_eq!(tally.recorded, States { open: 8, closed: 3, filtered: 1, silent: 1 });
        assert_eq!((tally.round_trips_us.len(), tally.found_us.len()), (11, 8));
        assert!(tally.round_trips_us.is_sorted() && tally.found_us.is_sorted());
    }

    #[test]
    fn several_scans_are_one() {
        let [one, other] = [22, 23].map(|port| samples::scan([verdict("192.0.2.1", port, State::Open, 0)]));
        let tally = Tally::of(&[&one, &other]);
        assert_eq!(tally.hosts[&"192.0.2.1".parse().unwrap()].open.len(), 2);
        assert_eq!((tally.trusted(), tally.hosts_with_open()), (2, 1));
    }

    /// Only answers that came with another TTL are doubted where a TTL speaks against some.
    #[test]
    fn doubt_by_ttl() {
        let usual =
            |usual| Suspect { address: "192.0.2.1".parse().unwrap(), reason: "ttl".into(), usual_ttl: Some(usual) };
        let open = || verdict("192.0.2.1", 22, State::Open, 0);
        assert_eq!(tally([open(), Record::Suspect(usual(50))]).doubted(), 1);
        assert_eq!(tally([open(), Record::Suspect(usual(60))]).doubted(), 0);
    }

    #[test]
    fn what_is_not_shown_is_counted() {
        let rest = |state, reason: &'static str, count| {
            Record::Rest(Rest { address: "192.0.2.1".parse().unwrap(), state, reason: reason.into(), count })
        };
        let tally = tally([rest(State::Closed, "rst", 997), rest(State::Filtered, "no-response", 3)]);
        assert_eq!(tally.recorded, States { open: 0, closed: 997, filtered: 3, silent: 3 });
    }

    #[test]
    fn forms_without_times_have_none() {
        let bare = Verdict::bare("192.0.2.1".parse().unwrap(), 22, State::Open);
        let tally = tally([Record::Verdict(bare)]);
        assert!(tally.found_us.is_empty() && tally.round_trips_us.is_empty());
        assert_eq!(tally.trusted(), 1);
    }
}
