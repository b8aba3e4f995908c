//! What is true of a scene, and what a scan made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use halfopen::{Event, Index, Plan, State, Target};
use halfopen_phantom::Scenario;

/// What is true of the targets of a plan.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// Open ports of hosts that can be believed.
    open: BTreeSet<Target>,
    /// Hosts whose open ports are not worth much, as far as they are in the plan.
    suspicious: BTreeSet<IpAddr>,
}

/// What a scan said.
#[derive(Debug, Default)]
pub(super) struct Said {
    open: BTreeMap<IpAddr, BTreeSet<u16>>,
    suspicious: BTreeSet<IpAddr>,
}

/// The one held against the other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) open: usize,
    pub(super) found: usize,
    /// Said to be open, and are not.
    pub(super) invented: usize,
    pub(super) suspicious: usize,
    pub(super) marked: usize,
}

impl Truth {
    /// Looks at every target of a plan.
    pub(super) fn of(scenario: &Scenario, plan: &Plan, suspicious: impl Iterator<Item = IpAddr>) -> Truth {
        let suspicious: BTreeSet<_> = suspicious.collect();
        let mut truth = Truth::default();
        let targets = (0..plan.len()).filter_map(|index| plan.target(Index(index)));
        for target in targets.filter(|&target| scenario.expected(target).state == State::Open) {
            match suspicious.contains(&target.address) {
                true => truth.suspicious.insert(target.address),
                false => truth.open.insert(target),
            };
        }
        truth
    }

    /// Whether the scan said this.
    pub(super) fn compare(&self, said: &Said) -> Comparison {
        let found = self.open.iter().filter(|target| said.is_open(**target)).count();
        let believable = said.open.iter().filter(|(address, _)| !self.suspicious.contains(address));
        Comparison {
            open: self.open.len(),
            found,
            invented: believable.map(|(_, ports)| ports.len()).sum::<usize>() - found,
            suspicious: self.suspicious.len(),
            marked: self.suspicious.intersection(&said.suspicious).count(),
        }
    }
}

impl Said {
    /// Takes notice of an event.
    pub(super) fn hear(&mut self, event: &Event) {
        match event {
            Event::Verdict(verdict) if verdict.state == State::Open => {
                self.open.entry(verdict.target.address).or_default().insert(verdict.target.port);
            }
            Event::Suspect(suspicion) => drop(self.suspicious.insert(suspicion.address)),
            _ => {}
        }
    }

    fn is_open(&self, target: Target) -> bool {
        self.open.get(&target.address).is_some_and(|ports| ports.contains(&target.port))
    }
}

impl Comparison {
    /// Whether the scan found every open port that can be believed, and nothing else. Marking hosts is beside that: a scan
    /// by connect() or without control probes cannot.
    pub(super) fn is_the_truth(&self) -> bool {
        self.found == self.open && self.invented == 0
    }
}

#[cfg(test)]
mod tests {
    use halfopen_phantom::{Behaviour, HostKind};

    use super::*;
    use crate::output::samples;

    fn truth() -> Truth {
        let web = HostKind::silent().ports("80,443", Behaviour::Open).ports("-", Behaviour::Closed);
        let tarpit = HostKind::silent().ports("-", Behaviour::Open);
        let scenario = Scenario::seeded(1).hosts("192.0.2.7", web).hosts("192.0.2.8", tarpit);
        let plan = Plan::builder().targets("192.0.2.7-9").unwrap().ports("80-444").unwrap().build().unwrap();
        Truth::of(&scenario, &plan, ["192.0.2.8", "192.0.2.50"].map(|text| text.parse().unwrap()).into_iter())
    }

    fn open(address: &str, port: u16) -> Event {
        let target = Target { address: address.parse().unwrap(), port };
        Event::Verdict(halfopen::Verdict { target, ..samples::open() })
    }

    fn compared(events: &[Event]) -> Comparison {
        let mut said = Said::default();
        events.iter().for_each(|event| said.hear(event));
        truth().compare(&said)
    }

    #[test]
    fn what_was_found_missed_and_invented() {
        let suspect = halfopen::Suspicion {
            address: "192.0.2.8".parse().unwrap(),
            reason: halfopen::Suspect::EveryPort,
            usual_ttl: None,
        };
        let all = [open("192.0.2.7", 80), open("192.0.2.7", 443), open("192.0.2.8", 81), Event::Suspect(suspect)];
        assert!(compared(&all).is_the_truth());
        assert_eq!([compared(&all).marked, compared(&all[..3]).marked], [1, 0]);
        let all_but_one = compared(&all[1..]);
        assert_eq!((all_but_one.open, all_but_one.found, all_but_one.is_the_truth()), (2, 1, false));
        let invented = compared(&[&all[..], &[open("192.0.2.9", 80)]].concat());
        assert_eq!((invented.invented, invented.is_the_truth()), (1, false));
    }
}
