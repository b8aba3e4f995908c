//! Default settings on bad networks, in the simulator: what was asked for is found, the rate finds the knee, and the stated
//! interval holds the truth. (The bench `accuracy` plays the same with more seeds, beside other methods.) Everything here
//! is a fact of its seed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use halfopen::link::sim::Network;
use halfopen::{Discover, Ended, HostRate, Index, Plan, Pps, Rate, Reason, Scan, ScanBuilder, State, Time};
use halfopen_lab::{
    Behaviour, Change, Expected, Found, HostKind, Scenario, Spread, Stretch, Watched, plan, simulated, simulated_on,
    simulated_until,
};
use proptest::prelude::*;

const PREFIX: &str = "10.65.0.1-10.65.3.232";

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn builder(plan: Plan) -> ScanBuilder {
    Scan::builder(plan).seed(1)
}

/// A thousand hosts, of whose ports one in fifty is open and a quarter answers.
fn hosts(seed: u64, way: Stretch) -> Scenario {
    let kind = HostKind::population(0.02, 0.23).echo();
    Scenario::seeded(seed).network(way).router("gateway", "10.7.0.1").hosts("10.65.0.0/22", kind)
}

fn far() -> Stretch {
    Stretch::new().delay(ms(20)).jitter(ms(2), Spread::Uniform)
}

/// How many ports of a plan are open, and how many of them were not found. Nothing false may have been said.
fn missed(found: &Found, scenario: &Scenario, plan: &Plan) -> (u64, u64) {
    let (mut open, mut missed) = (0, 0);
    for target in (0..plan.len()).filter_map(|index| plan.target(Index(index))) {
        let (is, said) = (scenario.expected(target), found.verdicts.get(&target));
        let is_silent = |said: &Expected| said.reason == Reason::NoResponse;
        assert!(said.is_none_or(|said| *said == is || is_silent(said)), "{target}: {said:?}, and it is {is:?}");
        open += u64::from(is.state == State::Open);
        missed += u64::from(is.state == State::Open && said.is_none_or(|said| said.state != State::Open));
    }
    (open, missed)
}

#[test]
fn one_in_a_thousand_at_most_is_missed_whatever_the_loss() {
    let plan = plan(PREFIX, "1-100");
    let ways = [(0.0, 1.0), (0.001, 1.0), (0.01, 1.0), (0.05, 1.0), (0.1, 1.0), (0.05, 10.0), (0.1, 10.0)];
    let mut held = 0;
    for (loss, burst) in ways {
        let scenario = hosts(7, far().loss(loss, loss).bursts(burst));
        let found = simulated(builder(plan.clone()), &Watched::new(&scenario));
        let (open, missed) = missed(&found, &scenario, &plan);
        let allowed = if loss > 0.09 && burst > 1.0 { open / 200 } else { open / 1000 };
        assert!(missed <= allowed, "{loss} {burst}: {missed} of {open} missed: {:?}", found.summary);
        let completeness = found.summary.completeness.unwrap();
        assert!(matches!(completeness.ended, Ended::Complete | Ended::Passes), "{completeness:?}");
        held += u32::from(completeness.missing_open.unwrap().contains(missed as f64));
        let (said, is) = (completeness.loss.unwrap().expected, 1.0 - (1.0 - loss) * (1.0 - loss));
        assert!((said - is).abs() < 0.005 + 0.1 * is, "{loss} {burst}: {said} is not {is}");
    }
    assert!(held >= 6, "{held} of 7 intervals held the truth");
}

/// What was sent until some time, and what of it the narrow place had no room for.
fn sent_until(scenario: &Scenario, seconds: u64) -> (f64, f64) {
    let network = Watched::new(scenario);
    let builder = builder(plan(PREFIX, "1-1000")).discover(Discover::Off);
    let found = simulated_until(builder, &network, Time::from(Duration::from_secs(seconds)));
    let lost = network.with(|network| network.effects_tally().queue_full);
    (found.summary.syns() as f64, lost as f64)
}

/// 50,000 probes a second fit through, and from the eighth second on a quarter of that.
#[test]
fn the_rate_stays_under_the_knee_and_finds_it_again() {
    let narrow = far().bandwidth(50_000, 100).change(Change::at(ms(8000)).bandwidth(12_500));
    let scenario = hosts(3, narrow);
    let [at_5, at_8, at_11, at_20] = [5, 8, 11, 20].map(|seconds| sent_until(&scenario, seconds));
    let rate =
        |from: (f64, f64), to: (f64, f64), seconds| ((to.0 - from.0) / seconds, (to.1 - from.1) / (to.0 - from.0));
    let (before, lost) = rate(at_5, at_8, 3.0);
    assert!((42_500.0..51_000.0).contains(&before) && lost < 0.02, "before: {before} a second, {lost} lost");
    let (after, lost) = rate(at_11, at_20, 9.0);
    assert!((10_000.0..13_000.0).contains(&after) && lost < 0.04, "after: {after} a second, {lost} lost");
}

/// As in the field: one host, whose RSTs are rationed. It takes 131 s to have all of them.
#[test]
fn a_host_that_rations_its_resets_takes_as_long_as_these_need() {
    let kind = HostKind::population(0.002, 0.998).echo().rst_rate(500);
    let scenario =
        Scenario::seeded(5).network(far().loss(0.01, 0.01)).router("gateway", "10.7.0.1").hosts("10.65.0.1", kind);
    let plan = plan("10.65.0.1", "-");
    let found = simulated(builder(plan.clone()), &Watched::new(&scenario));
    assert_eq!(missed(&found, &scenario, &plan).1, 0);
    let forced = found.summary.closed as f64 / 500.0;
    let took = found.summary.elapsed.as_secs_f64();
    assert!(took < 1.2 * forced, "{took} s, and {forced} s had to be");
    assert!(found.summary.filtered < 20, "{:?}", found.summary);
}

/// A host that rations, in a /24 of others: theirs are not asked more often for its sake.
#[test]
fn a_host_that_rations_costs_its_neighbours_nothing() {
    let plan = plan("10.65.1.0/24", "1-300");
    let syns = |scenario: Scenario| {
        let scenario = scenario.network(far()).router("gateway", "10.7.0.1");
        let scenario = scenario.hosts("10.65.0.0/22", HostKind::population(0.02, 0.23).echo());
        let found = simulated(builder(plan.clone()).discover(Discover::Off), &Watched::new(&scenario));
        assert_eq!(missed(&found, &scenario, &plan).1, 0);
        found.summary.syns()
    };
    let usual = syns(Scenario::seeded(5));
    let resets = HostKind::population(0.02, 0.98).echo().rst_rate(20);
    for (kind, what) in [(resets, "resets"), (refusing(20), "errors")] {
        let with = syns(Scenario::seeded(5).hosts("10.65.1.9", kind));
        assert!(with < usual + usual / 10 + 10 * 300, "{with} probes with a host that rations {what}, {usual} without");
    }
}

/// A host that refuses each port by an ICMP error, but sends only so many a second.
fn refusing(errors: u32) -> HostKind {
    HostKind::silent().ports("-", Behaviour::Icmp { kind: 3, code: 13 }).icmp_rate(errors)
}

/// How many targets were silent, and how long it took.
fn silent(targets: &str, ports: &str, scenario: &Scenario) -> (u64, Duration) {
    let plan = plan(targets, ports);
    let found = simulated(builder(plan.clone()).discover(Discover::Off), &Watched::new(scenario));
    assert_eq!(missed(&found, scenario, &plan).1, 0);
    (found.summary.silent, found.summary.elapsed)
}

#[test]
fn a_host_that_rations_its_errors_is_asked_more_slowly_and_nobody_else() {
    let scenario = hosts(5, far());
    let (usual, took) = silent("10.65.0.0/25", "1-1000", &scenario);
    let scenario = Scenario::seeded(5).network(far()).router("gateway", "10.7.0.1").hosts("10.65.1.9", refusing(50));
    let (alone, slowly) = silent("10.65.1.9", "1-1000", &scenario);
    assert!(alone <= 20, "{alone} of 1000 are silent");
    assert!(slowly < Duration::from_secs(45), "20 s had to be: {slowly:?}");
    let scenario = scenario.hosts("10.65.0.0/22", HostKind::population(0.02, 0.23).echo());
    let (beside, slowly) = silent("10.65.0.0/25,10.65.1.9", "1-1000", &scenario);
    assert!(beside < usual + 50, "{beside} are silent, and {usual} without it");
    assert!(slowly < took + Duration::from_secs(45), "{took:?} without it, and {slowly:?} with it");
}

/// As Linux does it: asking all would take long, and would teach nothing but the reason of verdicts.
#[test]
fn who_sends_an_error_a_second_is_not_waited_for() {
    for (targets, ports) in [("10.65.0.9", "1-1000"), ("10.65.0.0/24", "1-100"), ("10.65.0.0/24", "1-1000")] {
        let network = || Scenario::seeded(5).network(far()).router("gateway", "10.7.0.1");
        let (_, took) = silent(targets, ports, &network().hosts("10.65.0.0/24", HostKind::silent()));
        let (_, slowly) = silent(targets, ports, &network().hosts("10.65.0.0/24", refusing(1)));
        assert!(slowly < took + Duration::from_secs(10), "{targets} {ports}: {took:?}, and {slowly:?} with errors");
    }
}

/// A network, and when which host of 10.65.0.0/24 was sent something.
struct Timed(Watched, Arc<Mutex<Vec<(u64, u8)>>>);

impl Network for Timed {
    fn send(&mut self, now: Time, frame: &[u8]) {
        self.1.lock().unwrap().push((now.0, frame[33]));
        self.0.send(now, frame);
    }

    fn next_arrival(&self) -> Option<Time> {
        self.0.next_arrival()
    }

    fn receive(&mut self, now: Time, sink: &mut dyn FnMut(Time, &[u8])) {
        self.0.receive(now, sink);
    }
}

/// The most that a host was sent in any second.
fn most_in_a_second(times: &[u64]) -> usize {
    let within =
        |from: &u64| times.partition_point(|at| *at < from + 1_000_000_000) - times.partition_point(|at| at < from);
    times.iter().map(within).max().unwrap_or(0)
}

#[test]
fn no_host_gets_more_than_its_share() {
    // One is dark among many that answer: in later passes, all probes are its own.
    let answering = HostKind::population(0.5, 0.5);
    let scenario = Scenario::seeded(5).network(far()).router("gateway", "10.7.0.1");
    let scenario = scenario.hosts("10.65.0.1", HostKind::silent()).hosts("10.65.0.0/26", answering);
    let sent = Arc::new(Mutex::new(Vec::new()));
    let limit = 200;
    let builder = builder(plan("10.65.0.1-10.65.0.40", "1-500")).host_rate(HostRate::Limit(Pps(limit))).passes(3);
    let found = simulated_on(builder, Timed(Watched::new(&scenario), Arc::clone(&sent)));
    assert_eq!((found.summary.silent, found.summary.sent.len()), (500, 3));
    let sent = sent.lock().unwrap();
    for host in 1..=40 {
        let times: Vec<u64> = sent.iter().filter(|(_, to)| *to == host).map(|(at, _)| *at).collect();
        // What chance does to an even order in the first pass, and a few canaries.
        let most = most_in_a_second(&times);
        assert!(most as f64 <= limit as f64 * 1.3, "{host}: {most} in a second");
    }
}

#[test]
fn without_answers_nobody_vouches() {
    let scenario = Scenario::seeded(1).router("gateway", "10.7.0.1").hosts("10.65.0.0/28", HostKind::silent());
    let found = simulated(builder(plan("10.65.0.1-10.65.0.9", "1-20")), &Watched::new(&scenario));
    let completeness = found.summary.completeness.unwrap();
    assert_eq!((completeness.missing_open, completeness.loss, completeness.ended), (None, None, Ended::Unheard));
    assert_eq!(found.summary.sent, [180, 180]);
    assert!(found.reported.iter().all(|verdict| verdict.probes == 2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the network does.
    #[test]
    fn every_scan_ends_and_adds_up(
        seed: u64,
        loss in (0.0f64..0.9, 0.0f64..0.9),
        burst in 10.0f64..40.0,
        (delay, jitter) in (0u64..400, 0u64..300),
        narrow in prop::option::of((200u32..100_000, 1u32..200)),
        (open, closed) in (0.0f64..0.5, 0.0f64..0.5),
        limits in (prop::option::of(1u32..300), prop::option::of(1u32..300)),
        (senders, bytes) in (1u8..4, prop::sample::select(vec![8u64, 64, 1 << 20])),
        rate in prop::sample::select(vec![Rate::Auto, Rate::Fixed(Pps(3_000)), Rate::Max]),
        (completeness, passes) in (0.5f64..=1.0, 1u8..=6),
        stop in prop::option::of(0u64..3_000),
    ) {
        let mut way = Stretch::new().loss(loss.0, loss.1).bursts(burst).delay(ms(delay)).jitter(ms(jitter), Spread::LongTailed);
        if let Some((rate, queue)) = narrow {
            way = way.bandwidth(rate, queue);
        }
        let mut kind = HostKind::population(open, closed);
        kind = limits.0.map_or(kind.clone(), |rate| kind.rst_rate(rate));
        kind = limits.1.map_or(kind.clone(), |rate| kind.syn_rate(rate));
        let scenario = Scenario::seeded(seed).network(way).router("gateway", "10.7.0.1").hosts("10.65.0.0/27", kind);
        let plan = plan("10.65.0.1-10.65.0.20", "1-25");
        let builder = Scan::builder(plan.clone()).seed(seed).senders(senders).memory_limit(bytes).rate(rate)
            .completeness(completeness).max_passes(passes);
        let until = stop.map_or(Time::NEVER, |stop| Time::from(ms(stop)));
        let found = simulated_until(builder, &Watched::new(&scenario), until);
        let summary = &found.summary;
        prop_assert_eq!(summary.open + summary.closed + summary.filtered + summary.unclassified, 500);
        prop_assert!(stop.is_some() || summary.unclassified == 0);
        prop_assert_eq!(found.verdicts.len() as u64, 500 - summary.unclassified);
        let first = found.reported.iter().filter(|verdict| verdict.supersedes.is_none());
        prop_assert_eq!(first.count(), found.verdicts.len(), "no target twice");
        missed(&found, &scenario, &plan);
        let completeness = summary.completeness.unwrap();
        prop_assert!(completeness.passes <= passes && completeness.canaries_lost <= completeness.canaries);
        prop_assert!(found.reported.iter().all(|verdict| verdict.probes >= 1 && verdict.probes <= passes));
    }
}
