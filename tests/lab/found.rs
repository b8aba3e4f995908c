//! What a scan said, gathered and held against itself: its events and its summary are two accounts of the same thing,
//! and neither may contradict the other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use halfopen::link::sim::Network;
use halfopen::{
    DownReason, Error, Event, MacAddr, Plan, PlanBuilder, Progress, Running, ScanBuilder, SimPlace, State, Summary,
    Suspect, Suspicion, Target, Time, Verdict, simulate, simulate_until,
};

use crate::watched::Watched;
use halfopen_phantom::{Expected, Scenario, mac_of};

/// What a scan found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The last word on every target, in the scenario's terms.
    pub verdicts: BTreeMap<Target, Expected>,
    /// Every verdict, in order.
    pub reported: Vec<Verdict>,
    /// On-link hosts that did not answer.
    pub down: BTreeMap<IpAddr, DownReason>,
    /// What was said against hosts, in order.
    pub suspicions: Vec<Suspicion>,
    /// Warnings.
    pub warnings: Vec<String>,
    /// Snapshots of progress.
    pub progress: Vec<Progress>,
    /// The scan's own account.
    pub summary: Summary,
}

/// A plan of targets and ports, in the plan's own grammar.
pub fn plan(targets: &str, ports: &str) -> Plan {
    let plan = Plan::builder().targets(targets).and_then(|plan| plan.ports(ports)).and_then(PlanBuilder::build);
    plan.unwrap_or_else(|error| panic!("no plan for {targets:?}, ports {ports:?}: {error}"))
}

/// Runs a scan that reports every state, reads all it says, and checks that it adds up.
pub fn scan(builder: ScanBuilder) -> Found {
    read(builder.start().unwrap_or_else(|error| panic!("the scan does not start: {error}")))
}

/// Reads a running scan to its end, and checks that what it says adds up.
pub fn read(running: Running) -> Found {
    let events: Vec<Event> = running.events().collect();
    let summary = running.wait().unwrap_or_else(|error| panic!("the scan does not end well: {error}"));
    Found::of(events, summary)
}

/// The error with which a scan does not start.
pub fn refused(builder: ScanBuilder) -> Error {
    builder.start().map(drop).expect_err("this scan cannot start")
}

/// Runs a scan on a simulated network; the scanner stands at 10.7.0.100 and fd07::100, behind the scenario's router.
pub fn simulated(builder: ScanBuilder, network: &Watched) -> Found {
    let (events, summary) = simulate_at(gateway_place(), builder, network);
    Found::of(events, summary)
}

/// The same, stopped at this time.
pub fn simulated_until(builder: ScanBuilder, network: &Watched, stop: Time) -> Found {
    simulated_on_until(builder, network.clone(), stop)
}

/// The same on a network of the test's own.
pub fn simulated_on(builder: ScanBuilder, network: impl Network + 'static) -> Found {
    simulated_on_until(builder, network, Time::NEVER)
}

/// The same, stopped at this time.
pub fn simulated_on_until(builder: ScanBuilder, network: impl Network + 'static, stop: Time) -> Found {
    let simulated = simulate_until(builder, gateway_place(), network, stop);
    let (events, summary) = simulated.unwrap_or_else(|error| panic!("the scan does not start: {error}"));
    Found::of(events, summary)
}

/// The same with the scanner on the link of its targets.
pub fn simulated_on_link(builder: ScanBuilder, network: &Watched) -> Found {
    let (events, summary) = simulate_at(SimPlace { gateway: None, ..gateway_place() }, builder, network);
    Found::of(events, summary)
}

/// The same as [`simulated`], as raw events.
pub fn simulated_events(builder: ScanBuilder, scenario: &Scenario) -> Vec<Event> {
    simulate_at(gateway_place(), builder, &Watched::new(scenario)).0
}

fn simulate_at(place: SimPlace, builder: ScanBuilder, network: &Watched) -> (Vec<Event>, Summary) {
    simulate(builder, place, network.clone()).unwrap_or_else(|error| panic!("the scan does not start: {error}"))
}

/// Where the scanner stands: 10.7.0.100 and fd07::100, behind the router 10.7.0.1.
pub fn gateway_place() -> SimPlace {
    let gateway = MacAddr(mac_of([10, 7, 0, 1].into()));
    SimPlace {
        v4: [10, 7, 0, 100].into(),
        v6: [0xfd07, 0, 0, 0, 0, 0, 0, 0x100].into(),
        gateway: Some(gateway),
        ..SimPlace::default()
    }
}

impl Found {
    /// Gathers events; panics where they contradict each other or the summary.
    pub fn of(events: Vec<Event>, summary: Summary) -> Found {
        let mut found = Found {
            verdicts: BTreeMap::new(),
            reported: Vec::new(),
            down: BTreeMap::new(),
            suspicions: Vec::new(),
            warnings: Vec::new(),
            progress: Vec::new(),
            summary,
        };
        events.into_iter().for_each(|event| found.take(event));
        found.check();
        found
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Verdict(verdict) => self.verdict(verdict),
            Event::HostDown { address, reason } => {
                assert_eq!(self.down.insert(address, reason), None, "{address} is down twice");
                assert_eq!(address.is_ipv4(), reason == DownReason::NoArp, "{address}: {reason}");
            }
            Event::Suspect(suspicion) => {
                let is_new = self.suspicions.iter().all(|other| other.address != suspicion.address);
                assert!(is_new, "said twice: {suspicion:?}");
                self.suspicions.push(suspicion);
            }
            Event::Warning(text) => self.warnings.push(text),
            Event::Progress(progress) => self.progress.push(progress),
            other => panic!("an event that no test knows: {other:?}"),
        }
    }

    fn verdict(&mut self, verdict: Verdict) {
        let said = Expected { state: verdict.state, reason: verdict.reason, sender: verdict.sender };
        let before = self.verdicts.insert(verdict.target, said).map(|before| before.state);
        assert_eq!(verdict.supersedes, before, "a second verdict names the first, and no other does: {verdict:?}");
        self.reported.push(verdict);
    }

    fn check(&self) {
        let Summary { open, closed, filtered, silent, unclassified, targets, hosts_down, .. } = self.summary;
        let summary = &self.summary;
        assert_eq!(open + closed + filtered + unclassified, targets, "{summary:?}");
        assert_eq!([open, closed, filtered], State::ALL.map(|state| self.targets(state).len() as u64), "{summary:?}");
        assert_eq!(silent, self.silent().len() as u64, "{summary:?}");
        assert_eq!(hosts_down, self.down.len() as u64, "{summary:?}");
        let heard = self.reported.len() as u64 - silent;
        assert_eq!(summary.replies, heard + summary.duplicates, "every reply is a verdict or a duplicate: {summary:?}");
    }

    /// What speaks against each open target in the end.
    pub fn suspects(&self) -> BTreeMap<Target, Suspect> {
        let open = self.reported.iter().filter(|verdict| verdict.state == State::Open);
        let reason = |verdict: &Verdict| {
            let told = self.suspicions.iter().find(|suspicion| suspicion.concerns(verdict));
            Some((verdict.target, verdict.suspect.or(told.map(|suspicion| suspicion.reason))?))
        };
        open.filter_map(reason).collect()
    }

    /// The targets in a state.
    pub fn targets(&self, state: State) -> BTreeSet<Target> {
        self.verdicts.iter().filter(|(_, said)| said.state == state).map(|(target, _)| *target).collect()
    }

    /// The targets from which nothing came.
    pub fn silent(&self) -> BTreeSet<Target> {
        self.verdicts.iter().filter(|(_, said)| **said == Expected::SILENCE).map(|(target, _)| *target).collect()
    }

    /// The last verdict on a target.
    pub fn last(&self, target: &str) -> &Verdict {
        let wanted = self::target(target);
        let last = self.reported.iter().rev().find(|verdict| verdict.target == wanted);
        last.unwrap_or_else(|| panic!("no verdict on {target}"))
    }

    /// Panics unless the scan says this of every target, of no other, and lost nothing on its own side.
    pub fn assert_is(&self, expected: &BTreeMap<Target, Expected>) {
        let differences = self.differences(expected);
        let some: Vec<_> = differences.iter().take(20).collect();
        assert!(differences.is_empty(), "{} differences, such as {some:#?}\n{:?}", differences.len(), self.summary);
        assert_eq!(self.summary.drops.total(), 0, "{:?}", self.summary.drops);
    }

    /// Where the scan and these expectations differ, one line each; targets that only one of them has included.
    pub fn differences(&self, expected: &BTreeMap<Target, Expected>) -> Vec<String> {
        let targets: BTreeSet<_> = self.verdicts.keys().chain(expected.keys()).collect();
        let differ = |target: &&Target| self.verdicts.get(target) != expected.get(target);
        let line = |target| {
            let (said, expected) = (self.verdicts.get(target), expected.get(target));
            format!("{target}: halfopen says {said:?}, expected {expected:?}")
        };
        targets.into_iter().filter(differ).map(line).collect()
    }
}

/// `10.7.0.2:80`, `[fd07::2]:80`.
pub fn target(text: &str) -> Target {
    let socket: Result<std::net::SocketAddr, _> = text.parse();
    socket.unwrap_or_else(|_| panic!("not an address and port: {text:?}")).into()
}
