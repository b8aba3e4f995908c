//! Bad networks, in the simulator: loss, duplicates, replies that overtake each other or come late, hosts that limit
//! their answers, tarpits, hosts that are not there. Everything here is a fact of its seed: it is always so or never.

use std::collections::BTreeSet;
use std::time::Duration;

use halfopen::{Cooldown, Event, Plan, Pps, Rate, Scan, ScanBuilder, State, Target};
use halfopen_lab::{Found, Scenario, SimNetwork, Watched, plan, simulated, simulated_events, simulated_on_link};

fn builder(plan: Plan, pps: u64) -> ScanBuilder {
    Scan::builder(plan).seed(1).rate(Rate::Fixed(Pps(pps)))
}

/// 1,024 hosts behind 5 % loss each way.
///
/// A pass misses an answering target with 1 - 0.95^2 = 9.75 %, four passes with 0.0975^4 = 9e-5. Some 30 ports are open
/// at each seed, so that over 20 seeds 0.05 open ones are expected to be missed by chance alone, and none is; of the
/// 2,300 closed ones at each seed, 4.
const LOSSY: &str = r#"
    [network]
    loss_out = 0.05
    loss_back = 0.05
    duplicate_out = 0.01
    duplicate_back = 0.02
    delay = "20ms"
    jitter = "15ms"
    [[host]]
    addresses = "10.65.0.0/22"
    rules = [
      { ports = 80, behaviour = "population", open = 0.02, closed = 0.60 },
      { ports = 443, behaviour = "population", open = 0.005, closed = 0.80 },
      { ports = 25, behaviour = "population", closed = 0.90 },
    ]
    [[host]]
    addresses = "10.65.4.0/29"
    rules = [{ ports = 25, behaviour = "open", late = "150ms", copies = 2 }]
    [[router]]
    name = "gateway"
    addresses = "10.7.0.1"
"#;

fn lossy(seed: u64) -> (Found, Scenario, Watched) {
    let scenario = Scenario::parse(LOSSY).unwrap().with_seed(seed);
    let network = Watched::new(&scenario);
    let builder = builder(plan("10.65.0.0-10.65.4.7", "25,80,443"), 20_000).passes(4).seed(seed);
    (simulated(builder, &network), scenario, network)
}

#[test]
fn four_passes_miss_nothing_open_at_five_percent_loss_each_way() {
    let (mut open, mut missed) = (0, 0);
    for seed in 0..20 {
        let (found, scenario, network) = lossy(seed);
        let expected = scenario.expected_all("25,80,443");
        assert_eq!(found.verdicts.len(), expected.len());
        for (target, said) in &found.verdicts {
            let is = expected[target];
            let lost = said.state == State::Filtered && is.state != State::Filtered;
            assert!(*said == is || lost, "seed {seed}, {target}: a false verdict: {said:?}, and it is {is:?}");
            assert!(!lost || is.state == State::Closed, "seed {seed}: {target} is open and was missed");
            missed += u64::from(lost);
        }
        assert_evidence(&found, &network);
        open += found.summary.open;
    }
    assert!((400..900).contains(&open), "{open} open ones");
    assert!(missed < 20, "{missed} closed ones missed");
}

/// What was not found was not to be found: each target whose answer was delivered has its verdict, and each other one
/// was asked in the last pass too.
fn assert_evidence(found: &Found, network: &Watched) {
    let silent = found.silent();
    let answered: BTreeSet<Target> = network.answered();
    assert_eq!(
        found.verdicts.keys().filter(|target| !silent.contains(target)).copied().collect::<BTreeSet<_>>(),
        answered
    );
    assert!(found.summary.sent[3] >= silent.len() as u64, "{:?}", found.summary.sent);
    assert!(found.summary.duplicates > 0 && found.summary.strays.total() == 0, "{:?}", found.summary);
    let effects = network.with(SimNetwork::effects_tally);
    assert!(effects.lost_out > 100 && effects.lost_back > 100 && effects.duplicated_out > 10, "{effects:?}");
}

#[test]
fn replies_that_overtake_each_other_are_matched_to_their_passes() {
    let (found, ..) = lossy(7);
    let heard = || found.reported.iter().filter_map(|verdict| Some((verdict, verdict.rtt?)));
    let late = |target: Target| target.address >= "10.65.4.0".parse::<std::net::IpAddr>().unwrap();
    for (verdict, rtt) in heard() {
        let least = if late(verdict.target) { 170 } else { 20 };
        let exact = Duration::from_millis(least)..Duration::from_millis(least + 15) + Duration::from_micros(1);
        assert!(exact.contains(&rtt), "{verdict:?}: the round trip of another pass");
    }
    assert!((1..4).all(|pass| heard().any(|(verdict, _)| verdict.pass == pass)), "later passes were answered too");
}

#[test]
fn the_same_seed_gives_the_same_events_and_another_another_order() {
    let scenario = Scenario::parse(LOSSY).unwrap();
    let events = |seed| simulated_events(builder(plan("10.65.0.0-10.65.0.255", "25,80"), 20_000).seed(seed), &scenario);
    let first = events(1);
    assert_eq!(format!("{first:?}"), format!("{:?}", events(1)));
    let order = |events: &[Event]| -> Vec<Target> {
        let verdicts = events
            .iter()
            .filter_map(|event| if let Event::Verdict(verdict) = event { Some(verdict.target) } else { None });
        verdicts.collect()
    };
    assert_ne!(order(&first), order(&events(2)));
}

/// Every port answers 300 ms after its probe.
const LATE: &str = r#"
    [[host]]
    addresses = "10.65.0.0/24"
    rules = [{ ports = 80, behaviour = "open", late = "300ms" }]
    [[router]]
    name = "gateway"
    addresses = "10.7.0.1"
"#;

#[test]
fn late_replies_count_during_the_cooldown() {
    let network = Watched::new(&Scenario::parse(LATE).unwrap());
    let found = simulated(builder(plan("10.65.0.0/24", "80"), 10_000).passes(1), &network);
    assert_eq!((found.summary.open, found.summary.replies), (256, 256));
    assert!(found.summary.elapsed >= Duration::from_millis(300));
}

#[test]
fn replies_to_a_stripe_that_is_closed_are_late() {
    let network = Watched::new(&Scenario::parse(LATE).unwrap());
    let builder = builder(plan("10.65.0.0/24", "80"), 10_000).passes(1).memory_limit(8);
    let found = simulated(builder.cooldown(Cooldown::Fixed(Duration::from_millis(50))), &network);
    let summary = &found.summary;
    assert_eq!((summary.open, summary.silent, summary.replies), (0, 256, 0));
    // Eight stripes of 32, each 53 ms long: the replies to the first three come before the last has ended.
    assert!((64..=96).contains(&summary.strays.late), "{}", summary.strays.late);
    assert_eq!(summary.strays.late, network.delivered());
    assert_eq!(summary.strays.total(), summary.strays.late);
}

#[test]
fn several_stripes_give_the_same_verdicts_as_one() {
    let ports = "1-28,80,100-107,120-127";
    let scenario = Scenario::named("verdicts");
    let run = |bytes| {
        let builder = builder(plan("10.7.0.2-10.7.0.3 fd07::2-fd07::3", ports), 10_000).memory_limit(bytes);
        simulated(builder, &Watched::new(&scenario))
    };
    let (one, several) = (run(1 << 20), run(8));
    several.assert_is(&scenario.expected_all(ports));
    assert_eq!(one.verdicts, several.verdicts);
    // Later passes go by the evidence that a stripe has, which is less than the whole plan's.
    assert_eq!(one.summary.sent[0], several.summary.sent[0]);
    assert!(several.summary.sent[1] <= one.summary.sent[1], "{:?}", several.summary.sent);
    assert!(several.summary.elapsed > one.summary.elapsed * 2, "six stripes wait six times");
}

#[test]
fn a_first_probe_that_is_ignored_is_made_up_for_by_the_second_pass() {
    let network = Watched::new(&Scenario::named("limits"));
    let found = simulated(builder(plan("10.7.0.4 fd07::4", "80-82"), 1_000), &network);
    for (port, state, pass) in [(80, State::Open, 1), (81, State::Closed, 1), (82, State::Open, 0)] {
        for host in ["10.7.0.4", "[fd07::4]"] {
            let verdict = found.last(&format!("{host}:{port}"));
            assert_eq!((verdict.state, verdict.pass), (state, pass), "{}", verdict.target);
        }
    }
    assert_eq!(found.summary.sent, [6, 4]);
}

/// A host that sends 100 RSTs a second, and one that takes notice of 500 SYNs a second.
const LIMITED: &str = "10.7.0.2-10.7.0.3";

#[test]
fn hosts_that_limit_their_answers_are_right_at_a_pace_they_can_follow() {
    let scenario = Scenario::named("limits");
    let found = simulated(builder(plan(LIMITED, "1-500"), 150), &Watched::new(&scenario));
    let mut expected = scenario.expected_all("1-500");
    expected.retain(|target, _| found.verdicts.contains_key(target));
    assert_eq!(expected.len(), 1000);
    found.assert_is(&expected);
}

#[test]
fn hosts_that_limit_their_answers_are_asked_again_more_slowly() {
    let scenario = Scenario::named("limits");
    let network = Watched::new(&scenario);
    let found = simulated(builder(plan(LIMITED, "1-2000"), 10_000), &network);
    let mut expected = scenario.expected_all("1-2000");
    expected.retain(|target, _| found.verdicts.contains_key(target));
    assert_eq!(expected.len(), 4000);
    found.assert_is(&expected);
    assert!(network.with(|network| network.phantoms().tally().rate_limited) > 1000);
    // In one pass, most is silent, and it says so.
    let once = simulated(builder(plan(LIMITED, "1-2000"), 10_000).passes(1), &Watched::new(&scenario));
    assert!(once.verdicts.iter().all(|(target, said)| *said == expected[target] || once.silent().contains(target)));
    assert!((100..1000).contains(&once.summary.closed), "{}", once.summary.closed);
    let missing = once.summary.completeness.unwrap().missing.unwrap();
    assert!(missing.high > 500.0, "{missing:?}");
}

#[test]
fn a_tarpit_is_open_everywhere() {
    let network = Watched::new(&Scenario::named("limits"));
    let found = simulated(builder(plan("10.7.0.5", "-"), 100_000), &network);
    assert_eq!((found.summary.open, found.summary.targets, found.summary.sent.len()), (65_535, 65_535, 1));
}

#[test]
fn hosts_that_do_not_answer_on_the_link_are_unclassified() {
    let scenario = Scenario::named("verdicts");
    let network = Watched::new(&scenario);
    let found = simulated_on_link(builder(plan("10.7.0.2-10.7.0.15 fd07::2-fd07::f", "80,81"), 1_000), &network);
    assert_eq!(found.down.len(), 24);
    assert!(found.down.keys().all(|&address| scenario.is_down(address)));
    assert_eq!((found.summary.open, found.summary.silent, found.summary.unclassified), (4, 4, 48));
    let tally = network.with(|network| network.phantoms().tally());
    assert_eq!((tally.syns_to_nobody, tally.wrong_mac), (0, 0));
    assert_eq!(tally.neighbours_not_found, 24 * 3, "each was asked three times");
}

/// One estimate of the round-trip time serves all hosts: a thousand near ones must not hide a few far ones, which are
/// only heard after the near ones have taught it that answers come at once.
#[test]
fn far_hosts_are_heard_beside_near_ones() {
    let scenario = Scenario::parse(
        r#"
        [network]
        delay = "1ms"
        [[host]]
        addresses = "10.65.0.0/22"
        rules = [{ ports = 80, behaviour = "closed" }]
        [[host]]
        addresses = "10.65.4.0/29"
        rules = [{ ports = 80, behaviour = "open", late = "900ms" }]
        [[router]]
        name = "gateway"
        addresses = "10.7.0.1"
        "#,
    )
    .unwrap();
    for seed in 0..10 {
        let network = Watched::new(&scenario);
        let found = simulated(builder(plan("10.65.0.0-10.65.4.7", "80"), 10_000).seed(seed), &network);
        assert_eq!((found.summary.open, found.summary.closed), (8, 1024), "seed {seed}");
    }
}
