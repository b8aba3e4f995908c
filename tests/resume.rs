//! Interrupted at any moment and resumed, at another rate, with other senders, a scan says what it would have said, and
//! nothing twice. Here in the simulator, where every moment can be had; the command's files are tested beside it.

use std::collections::BTreeSet;
use std::time::Duration;

use halfopen::{
    Checkpoint, Discover, Event, Interruption, Plan, Pps, Rate, Scan, ScanBuilder, Shard, State, Summary, Time,
    simulate, simulate_interrupted,
};
use halfopen_lab::{Found, HostKind, Scenario, Stretch, Watched, gateway_place, lab_test, plan, simulated};

/// The library's example, as an embedder would take it over.
#[path = "../engine/examples/resume.rs"]
#[expect(dead_code, reason = "an example has a main")]
mod example;

fn ms(ms: u64) -> Time {
    Time::from(Duration::from_millis(ms))
}

/// One scan in several runs.
struct Runs<'a> {
    scenario: &'a Scenario,
    builder: &'a dyn Fn() -> ScanBuilder,
    events: Vec<Event>,
    checkpoint: Option<Checkpoint>,
}

impl Runs<'_> {
    fn of<'a>(scenario: &'a Scenario, builder: &'a dyn Fn() -> ScanBuilder) -> Runs<'a> {
        Runs { scenario, builder, events: Vec::new(), checkpoint: None }
    }

    fn next(&mut self, change: impl FnOnce(ScanBuilder) -> ScanBuilder) -> (ScanBuilder, Watched) {
        let builder = change((self.builder)());
        let builder = match self.checkpoint.take() {
            Some(checkpoint) => builder.resume(kept(&checkpoint)).unwrap(),
            None => builder,
        };
        (builder, Watched::new(self.scenario))
    }

    fn interrupt(&mut self, how: Interruption, change: impl FnOnce(ScanBuilder) -> ScanBuilder) {
        let (builder, network) = self.next(change);
        let (events, mut checkpoint, taken) = simulate_interrupted(builder, gateway_place(), network, how).unwrap();
        for event in &events[taken..] {
            match event {
                Event::Verdict(verdict) => checkpoint.note(verdict),
                Event::Suspect(suspicion) => checkpoint.note_suspect(*suspicion),
                Event::HostDown { address, .. } => checkpoint.note_down(*address),
                _ => {}
            }
        }
        assert_eq!(checkpoint.events(), events[..taken].iter().filter(|event| event.counts()).count() as u64);
        // Each run reports a progress of its own.
        self.events.extend(events.into_iter().filter(|event| !matches!(event, Event::Progress(_))));
        self.checkpoint = Some(checkpoint);
    }

    fn end(mut self, change: impl FnOnce(ScanBuilder) -> ScanBuilder) -> (Found, Summary) {
        let (builder, network) = self.next(change);
        let (events, summary) = simulate(builder, gateway_place(), network).unwrap();
        self.events.extend(events);
        (Found::of(self.events, summary.clone()), summary)
    }
}

/// As it comes out of a file.
fn kept(checkpoint: &Checkpoint) -> Checkpoint {
    let read = Checkpoint::from_bytes(&checkpoint.to_bytes()).unwrap();
    assert_eq!(read, *checkpoint);
    read
}

fn fixed(pps: u64) -> impl Fn(ScanBuilder) -> ScanBuilder {
    move |builder| builder.rate(Rate::Fixed(Pps(pps)))
}

fn small() -> Plan {
    plan("10.64.0.0/21", "22,80,443")
}

/// Of 6144 targets, in stripes of 1024 or one of all; 0.6 s of probes and as many waits.
#[test]
fn killed_at_any_moment_it_says_the_same() {
    let scenario = Scenario::named("prefix16");
    let mut expected = scenario.expected_all("22,80,443");
    expected.retain(|target, _| small().contains(*target));
    for (bytes, senders, step) in [(1 << 20, 1, 167), (256, 1, 631), (1 << 20, 3, 411), (256, 4, 857)] {
        let builder = || Scan::builder(small()).seed(1).memory_limit(bytes);
        for taken in (0..6000).step_by(step) {
            let mut runs = Runs::of(&scenario, &builder);
            let how = Interruption::Killed { taken: ms(taken), at: ms(taken + taken % 400) };
            runs.interrupt(how, |builder| fixed(10_000)(builder).senders(senders));
            let (found, summary) = runs.end(|builder| fixed(7_000)(builder).senders(4 - senders.min(3)));
            found.assert_is(&expected);
            assert_eq!((summary.unclassified, summary.targets), (0, 6144), "{taken}");
            // Later it may have been over.
            assert!(summary.sent_at_least || taken >= 1_500, "{taken}: what was sent after it is not known");
        }
    }
}

#[test]
fn suspended_over_and_over_it_says_the_same() {
    let scenario = Scenario::named("prefix16");
    let mut expected = scenario.expected_all("22,80,443");
    expected.retain(|target, _| small().contains(*target));
    for bytes in [1 << 20, 256] {
        let builder = || Scan::builder(small()).seed(1).memory_limit(bytes);
        let mut runs = Runs::of(&scenario, &builder);
        for (run, stop) in [50, 120, 1300, 90, 2000, 300, 30].into_iter().enumerate() {
            let senders = 1 + run as u8 % 3;
            runs.interrupt(Interruption::Suspended(ms(stop)), |builder| {
                fixed(5_000 + 700 * stop)(builder).senders(senders)
            });
        }
        let (found, summary) = runs.end(fixed(9_000));
        found.assert_is(&expected);
        assert_eq!((summary.unclassified, summary.sent_at_least), (0, false));
        assert!(summary.elapsed > Duration::from_millis(1200), "of all runs: {:?}", summary.elapsed);
        assert!(summary.sent[0] >= 6144 && summary.sent[0] < 7500, "{:?}", summary.sent);
    }
}

/// What has been probed and had its time is not probed again in that pass.
#[test]
fn a_resumed_scan_goes_on_where_it_was() {
    let scenario = Scenario::named("prefix16");
    let builder = || Scan::builder(small()).seed(1).rate(Rate::Fixed(Pps(1_000)));
    for senders in [1, 3] {
        let mut runs = Runs::of(&scenario, &builder);
        let how = Interruption::Killed { taken: ms(4000), at: ms(4000) };
        runs.interrupt(how, |builder| builder.senders(senders));
        let (_, summary) = runs.end(|builder| builder);
        // A second and a quarter's worth of probes may have been under way.
        assert!((6144..=6144 + 1400).contains(&summary.sent[0]), "{:?}", summary.sent);
    }
}

/// The hosts that were found stay found, and those that were not are not looked for again.
#[test]
fn discovery_is_done_once() {
    let kind = HostKind::population(0.02, 0.4).echo();
    let way = Stretch::new().delay(Duration::from_millis(20)).loss(0.01, 0.01);
    let scenario = Scenario::seeded(4).network(way).router("gateway", "10.7.0.1").hosts("10.65.0.0/24", kind);
    let targets = || plan("10.65.0.0/22", "1-40");
    let builder = || Scan::builder(targets()).seed(3).discover(Discover::On).rate(Rate::Fixed(Pps(10_000)));
    let (whole, _) = Runs::of(&scenario, &builder).end(|builder| builder);
    let expected = whole.summary.discovery.unwrap();
    for taken in [100, 1500, 3000, 4000, 5000, 6000] {
        let mut runs = Runs::of(&scenario, &builder);
        runs.interrupt(Interruption::Killed { taken: ms(taken), at: ms(taken + 150) }, |builder| builder);
        let (found, summary) = runs.end(fixed(20_000));
        let discovery = summary.discovery.unwrap();
        assert_eq!((discovery.hosts, discovery.skipped_hosts), (1024, expected.skipped_hosts), "{taken}");
        assert_eq!(summary.skipped, whole.summary.skipped, "{taken}");
        assert_eq!(summary.unclassified, discovery.skipped_targets);
        let open = |found: &Found| found.verdicts.values().filter(|said| said.state == State::Open).count();
        assert_eq!(open(&found), open(&whole), "{taken}");
    }
}

/// On a bad way, with the rate and the passes to be found: no worse than a scan in one run.
#[test]
fn losses_are_made_good_in_a_resumed_scan_too() {
    let kind = HostKind::population(0.05, 0.3).echo();
    let way = Stretch::new().delay(Duration::from_millis(30)).loss(0.05, 0.05);
    let scenario = Scenario::seeded(9).network(way).router("gateway", "10.7.0.1").hosts("10.65.0.0/23", kind);
    let targets = || plan("10.65.0.0/23", "1-40");
    let builder = || Scan::builder(targets()).seed(3).discover(Discover::Off);
    let all = scenario.expected_all("1-40");
    let open = all.values().filter(|is| is.state == State::Open).count();
    for taken in (200..9000).step_by(1900) {
        let mut runs = Runs::of(&scenario, &builder);
        runs.interrupt(Interruption::Killed { taken: ms(taken), at: ms(taken + 200) }, |builder| builder);
        let (found, summary) = runs.end(|builder| builder);
        let missed = open as u64 - summary.open;
        assert!(missed <= 2, "{taken}: {missed} of {open}; {summary:?}");
        let completeness = summary.completeness.unwrap();
        // What was under way is probed twice in a pass, and lost less often than once.
        let said = completeness.loss.unwrap().expected;
        assert!((0.03..0.13).contains(&said), "{taken}: {said}");
        assert!(completeness.passes >= 3 && found.reported.len() as u64 >= summary.targets, "{completeness:?}");
    }
}

#[test]
fn shards_together_say_what_one_scan_says() {
    let scenario = Scenario::named("prefix16");
    let builder = |seed| Scan::builder(small()).seed(seed).rate(Rate::Fixed(Pps(20_000)));
    let whole = simulated(builder(1), &Watched::new(&scenario));
    let mut together = std::collections::BTreeMap::new();
    for number in 1..=5 {
        let shard = Shard::new(number, 5).unwrap();
        let sharded = || builder(number).shard(shard).unwrap();
        let mut runs = Runs { scenario: &scenario, builder: &sharded, events: Vec::new(), checkpoint: None };
        runs.interrupt(Interruption::Suspended(ms(40)), |builder| builder);
        assert_eq!(runs.checkpoint.as_ref().unwrap().shard(), Some(shard));
        let (found, summary) = runs.end(|builder| builder);
        assert_eq!((summary.targets, summary.unclassified), (found.verdicts.len() as u64, 0));
        assert!(sharded().order().all(|target| found.verdicts.contains_key(&target)));
        together.extend(found.verdicts);
    }
    assert_eq!(together, whole.verdicts);
}

#[test]
fn another_plan_is_refused() {
    let scenario = Scenario::named("prefix16");
    let builder = || Scan::builder(small()).seed(1).rate(Rate::Fixed(Pps(10_000)));
    let mut runs = Runs::of(&scenario, &builder);
    runs.interrupt(Interruption::Suspended(ms(100)), |builder| builder);
    let checkpoint = runs.checkpoint.unwrap();
    for (targets, ports) in [("10.64.0.0/21", "22,80,444"), ("10.64.0.0/22", "22,80,443")] {
        let error = Scan::builder(plan(targets, ports)).resume(checkpoint.clone()).unwrap_err().to_string();
        assert!(error.starts_with("the checkpoint is of another plan: it has 6144 targets, this one "), "{error}");
    }
    let shard = Shard::new(1, 2).unwrap();
    assert!(Scan::builder(small()).shard(shard).unwrap().resume(checkpoint).is_err());
}

#[test]
fn torn_bytes_and_those_of_other_versions_are_refused() {
    let scenario = Scenario::named("prefix16");
    let builder = || Scan::builder(small()).seed(1).rate(Rate::Fixed(Pps(10_000)));
    let mut runs = Runs::of(&scenario, &builder);
    runs.interrupt(Interruption::Killed { taken: ms(500), at: ms(700) }, |builder| builder);
    let bytes = runs.checkpoint.unwrap().to_bytes();
    for len in (0..bytes.len()).step_by(bytes.len() / 300 + 1) {
        assert!(Checkpoint::from_bytes(&bytes[..len]).is_err(), "{len}");
    }
    for at in (0..bytes.len()).step_by(bytes.len() / 300 + 1) {
        let mut altered = bytes.clone();
        altered[at] ^= 0x10;
        assert!(Checkpoint::from_bytes(&altered).is_err(), "{at}");
    }
    let mut other = bytes;
    other[20] = 9;
    let error = Checkpoint::from_bytes(&other).unwrap_err().to_string();
    assert!(error.starts_with("this checkpoint has format 9, and only format 2 can be read"), "{error}");
}

lab_test!(the_example_tells_every_target_once_however_often_it_is_interrupted, |lab| {
    let _listeners = lab.listen_all("127.0.0.1", [22, 80, 443]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("scan.checkpoint");
    let (mut told, mut runs) = (BTreeSet::new(), 0);
    let summary = loop {
        runs += 1;
        let keep = &mut |verdict: &halfopen::Verdict| assert!(told.insert(verdict.target), "twice: {}", verdict.target);
        if let Some(summary) = example::run(plan("127.0.0.1", "1-2000"), &file, 600, keep).unwrap() {
            break summary;
        }
        assert!(file.exists());
    };
    assert_eq!((summary.open, summary.unclassified, told.len(), file.exists()), (3, 0, 2000, false));
    assert!((2..=4).contains(&runs) && !summary.sent_at_least, "{runs}: {summary:?}");
});
