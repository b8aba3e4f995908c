//! Several senders are as good as one: the same targets, the same probes, the same verdicts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use halfopen::{LinkKind, Outcome, Plan, Pps, Rate, Scan, ScanBuilder, Target, Time};
use halfopen_lab::{
    Found, Scenario, Watched, lab_test, neighbours, phantoms, plan, scan, simulated, simulated_events, simulated_until,
};

fn builder(plan: Plan, pps: u64) -> ScanBuilder {
    Scan::builder(plan).seed(1).rate(Rate::Fixed(Pps(pps)))
}

const PORTS: &str = "1-28,80,100-107,120-127";
const HOSTS: &str = "10.7.0.2-10.7.0.3 fd07::2-fd07::3";

/// How often each target was probed from each port.
fn probes(network: &Watched) -> BTreeMap<(Target, u16), usize> {
    let mut probes = BTreeMap::new();
    network.with(|network| {
        for (target, tally) in network.phantoms().target_tallies() {
            tally.syns.iter().for_each(|(port, _)| *probes.entry((*target, *port)).or_default() += 1);
        }
    });
    probes
}

/// Every target in the first pass, in each further one those that are silent to the end, each once.
fn assert_each_once(found: &Found, network: &Watched) {
    let probes = probes(network);
    assert!(probes.values().all(|&times| times == 1), "{probes:?}");
    let base = found.summary.source_port.unwrap();
    let passes: Vec<usize> = (0..found.summary.sent.len() as u16)
        .map(|pass| probes.keys().filter(|(_, port)| *port == base + pass).count())
        .collect();
    assert_eq!(passes.iter().map(|&n| n as u64).collect::<Vec<_>>(), found.summary.sent);
    let silent = found.silent().len();
    assert!(passes[0] as u64 == found.summary.targets && passes[1..].iter().all(|&n| n == silent), "{passes:?}");
}

#[test]
fn any_number_of_senders_probes_each_target_once_a_pass_and_says_the_same() {
    let scenario = Scenario::named("verdicts");
    for (bytes, rate) in [(1 << 20, Rate::Fixed(Pps(2_000))), (16, Rate::Fixed(Pps(2_000))), (1 << 20, Rate::Max)] {
        let run = |senders| {
            let network = Watched::new(&scenario);
            let builder = Scan::builder(plan(HOSTS, PORTS)).seed(1).rate(rate).passes(3);
            let found = simulated(builder.memory_limit(bytes).senders(senders), &network);
            found.assert_is(&scenario.expected_all(PORTS));
            assert_each_once(&found, &network);
            found
        };
        let one = run(1);
        for found in [2, 3, 8].map(run) {
            assert_eq!((&found.verdicts, &found.summary.sent), (&one.verdicts, &one.summary.sent));
        }
    }
}

#[test]
fn several_senders_are_reproducible() {
    let scenario = Scenario::named("lossy");
    let events = || {
        format!("{:?}", simulated_events(builder(plan("10.65.0.0/24", "22,25,80,443"), 5_000).senders(3), &scenario))
    };
    assert_eq!(events(), events());
}

#[test]
fn stopped_in_the_middle_all_that_was_probed_has_a_verdict_and_nothing_else() {
    let scenario = Scenario::named("prefix16");
    let whole = 1 << 20;
    // The last in its second stripe of 1,024.
    for (senders, bytes, stop) in [(1, whole, 177), (2, whole, 177), (3, whole, 177), (8, whole, 177), (3, 256, 250)] {
        let network = Watched::new(&scenario);
        let builder = builder(plan("10.64.0.0/21", "22,80,443"), 10_000).senders(senders).memory_limit(bytes);
        let found = simulated_until(builder, &network, Time::from(Duration::from_millis(stop)));
        let probed: BTreeSet<Target> = probes(&network).into_keys().map(|(target, _)| target).collect();
        assert!(found.verdicts.keys().eq(&probed), "{senders}");
        assert_eq!(found.summary.outcome, Outcome::Stopped);
        assert!((1_024..2_048).contains(&probed.len()), "{senders}: {}", probed.len());
        assert_eq!(found.summary.unclassified, 6_144 - probed.len() as u64);
        assert!(found.verdicts.iter().all(|(target, said)| *said == scenario.expected(*target)));
    }
}

#[test]
fn there_are_never_more_senders_than_targets_or_probes_a_second() {
    let scenario = Scenario::named("verdicts");
    for (ports, pps) in [("80-81", 1_000), ("80-89", 3)] {
        let network = Watched::new(&scenario);
        let found = simulated(builder(plan("10.7.0.2", ports), pps).senders(16), &network);
        assert!(probes(&network).values().all(|&times| times == 1));
        assert_eq!(found.summary.unclassified, 0);
    }
    let network = Watched::new(&scenario);
    let found = simulated(builder(plan("10.7.0.2", "100-119"), 10).senders(16).passes(1), &network);
    let sending = found.summary.sending.as_secs_f64();
    assert!((1.0..=2.0).contains(&sending), "20 probes at 10 a second took {sending} s");
}

lab_test!(several_senders_over_every_kind_of_link, |lab| {
    let scenario = Scenario::named("verdicts");
    let responder = neighbours(lab, &scenario);
    let mut sent = 0;
    for kind in [LinkKind::AfPacket, LinkKind::RawIp, LinkKind::Pnet] {
        let running = builder(plan(HOSTS, PORTS), 5_000).link(kind).senders(3).start().unwrap();
        assert_eq!(running.settings().senders, 3);
        let found = halfopen_lab::read(running);
        found.assert_is(&scenario.expected_all(PORTS));
        sent += found.summary.syns();
        assert_eq!(responder.wait_for(|tally| tally.syns >= sent).syns, sent);
    }
    let tally = responder.tally();
    assert_eq!((tally.bad_checksum, tally.malformed, tally.wrong_mac), (0, 0, 0));
});

lab_test!(several_senders_of_a_population, |lab| {
    let scenario = Scenario::named("prefix16");
    let responder = phantoms(lab, &scenario);
    let plan = plan("10.64.0.0/19", "22,80,443");
    let found = scan(builder(plan.clone(), 20_000).senders(4));
    let mut expected = scenario.expected_all("22,80,443");
    expected.retain(|target, _| plan.contains(*target));
    assert_eq!(responder.drops(), 0);
    found.assert_is(&expected);
});
