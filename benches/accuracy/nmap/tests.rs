//! nmap's way on networks of which it is known what nmap does.

use halfopen_lab::{HostKind, Scenario, Stretch};

use super::*;
use crate::observed::Observed;
use crate::truth::Differences;

fn played(scenario: Scenario, targets: &str, ports: &str) -> (Differences, u64, f64) {
    let plan = halfopen_lab::plan(targets, ports);
    let truth = States::of(&scenario, &plan);
    let network = Observed::new(scenario);
    let said = scan(&plan, network.clone(), 1);
    (truth.judge(&said.states), network.probes(), said.elapsed.as_secs_f64())
}

fn hosts(open: f64, closed: f64) -> Scenario {
    let way = Stretch::new().delay(std::time::Duration::from_millis(20));
    let kind = HostKind::population(open, closed);
    Scenario::seeded(1).network(way).router("gateway", "10.7.0.1").hosts("10.65.0.0/24", kind)
}

#[test]
fn what_answers_is_probed_once_and_what_does_not_twice() {
    let (differences, probes, seconds) = played(hosts(0.1, 0.9), "10.65.0.1-10.65.0.10", "1-100");
    assert_eq!((differences.found, differences.missed_closed, probes), (differences.open, 0, 1000));
    assert!(seconds < 1.0, "{seconds}");
    let (differences, probes, seconds) = played(hosts(0.0, 0.0), "10.65.0.1-10.65.0.10", "1-100");
    assert_eq!((differences.false_open, differences.false_closed, probes), (0, 0, 2000));
    assert!(seconds > 2.0, "it waits for a second before it tries again: {seconds}");
}

#[test]
fn answered_repetitions_grant_more_tries() {
    let lossy = |share| hosts(0.5, 0.5).network(Stretch::new().loss(share, 0.0));
    let (differences, probes, _) = played(lossy(0.3), "10.65.0.1-10.65.0.10", "1-100");
    // Seven tries miss one in 4,500.
    let missed = differences.open - differences.found + differences.missed_closed;
    assert!(missed < 5, "{missed} of 1000");
    // A geometric series has 1 / (1 - 0.3) = 1.43 probes a target.
    assert!((1300..1600).contains(&probes), "{probes}");
}

#[test]
fn groups_have_the_sizes_of_the_source() {
    assert_eq!([group_size(1, 0), group_size(10, 0), group_size(100, 64), group_size(1000, 0)], [1024, 102, 64, 64]);
    assert_eq!([group_size(65_535, 0), group_size(65_535, 8), group_size(65_535, 64)], [8, 56, 64]);
}
