//! What our own side drops is no silence: it is known, and probed again. In the simulator, with a network that also
//! plays the scanner's own ring, device and link.

use std::ops::Range;
use std::time::Duration;

use halfopen::link::sim::{Network, OwnDrops};
use halfopen::{Plan, Pps, Rate, Scan, ScanBuilder, State, Target, Time};
use halfopen_lab::{Found, Scenario, Watched, plan, simulated_on};

/// Where packets are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    Ring,
    DeviceRx,
    DeviceTx,
    Send,
}

const LAYERS: [Layer; 4] = [Layer::Ring, Layer::DeviceRx, Layer::DeviceTx, Layer::Send];

/// A network behind an own side that drops.
struct Dropping {
    network: Watched,
    layer: Layer,
    /// When it drops, in milliseconds.
    window: Range<u64>,
    /// It drops one frame in so many.
    one_in: u64,
    /// Whether it says so.
    told: bool,
    seen: u64,
    dropped: u64,
}

impl Dropping {
    fn new(scenario: &Scenario, layer: Layer, window: Range<u64>) -> Dropping {
        Dropping { network: Watched::new(scenario), layer, window, one_in: 1, told: true, seen: 0, dropped: 0 }
    }

    fn drops(&mut self, now: Time) -> bool {
        self.seen += 1;
        let drops = self.window.contains(&(now.0 / 1_000_000)) && self.seen.is_multiple_of(self.one_in);
        self.dropped += u64::from(drops);
        drops
    }
}

impl Network for Dropping {
    fn send(&mut self, now: Time, frame: &[u8]) {
        let here = matches!(self.layer, Layer::DeviceTx | Layer::Send);
        if !here || !self.drops(now) {
            self.network.send(now, frame);
        }
    }

    fn next_arrival(&self) -> Option<Time> {
        self.network.next_arrival()
    }

    fn receive(&mut self, now: Time, sink: &mut dyn FnMut(Time, &[u8])) {
        let mut network = self.network.clone();
        let here = matches!(self.layer, Layer::DeviceRx | Layer::Ring);
        network.receive(now, &mut |at, frame| {
            if !here || !self.drops(at) {
                sink(at, frame);
            }
        });
    }

    fn own_drops(&self) -> OwnDrops {
        let (none, dropped) = (OwnDrops::default(), if self.told { self.dropped } else { 0 });
        match self.layer {
            Layer::Ring => OwnDrops { ring: dropped, ..none },
            Layer::DeviceRx => OwnDrops { device_rx: dropped, ..none },
            Layer::DeviceTx => OwnDrops { device_tx: dropped, ..none },
            Layer::Send => OwnDrops { send: dropped, ..none },
        }
    }
}

/// Every target answers within 10 to 15 ms: 2,048 open ones, 2,048 closed ones.
const ANSWERING: &str = r#"
    [network]
    delay = "10ms"
    jitter = "5ms"
    [[host]]
    addresses = "10.65.0.0/21"
    rules = [{ ports = 80, behaviour = "open" }, { ports = 81, behaviour = "closed" }]
    [[router]]
    name = "gateway"
    addresses = "10.7.0.1"
"#;

fn answering() -> Scenario {
    Scenario::parse(ANSWERING).unwrap()
}

fn builder(plan: Plan, rate: Rate) -> ScanBuilder {
    Scan::builder(plan).seed(1).rate(rate).passes(1)
}

fn all(rate: Rate) -> ScanBuilder {
    builder(plan("10.65.0.0/21", "80,81"), rate)
}

const SLOW: Rate = Rate::Fixed(Pps(10_000));

fn wrong(found: &Found) -> usize {
    let scenario = answering();
    found.verdicts.iter().filter(|(target, said)| **said != scenario.expected(**target)).count()
}

#[test]
fn what_our_own_side_dropped_is_probed_again() {
    for layer in LAYERS {
        for senders in [1, 3] {
            let dropping = |told| Dropping { told, ..Dropping::new(&answering(), layer, 100..160) };
            let blind = simulated_on(all(SLOW).senders(senders), dropping(false));
            assert!(
                (500..700).contains(&wrong(&blind)),
                "{layer:?}: {}: without being told it is wrong",
                wrong(&blind)
            );
            assert_eq!(blind.summary.again, 0);
            let found = simulated_on(all(SLOW).senders(senders), dropping(true));
            assert_eq!(wrong(&found), 0, "{layer:?}, {senders}: {:?}", found.summary);
            assert_eq!((&found.summary.sent[..], found.warnings.len()), (&[4096][..], 0));
            assert!((500..=700).contains(&found.summary.again), "{layer:?}: the unanswered alone: {:?}", found.summary);
            assert!((500..700).contains(&found.summary.drops.total()), "{:?}", found.summary.drops);
        }
    }
}

#[test]
fn also_at_the_highest_rate_and_in_stripes() {
    for layer in LAYERS {
        // At this rate and in virtual time all is sent at once.
        let found = simulated_on(all(Rate::Max), Dropping::new(&answering(), layer, 0..13));
        assert_eq!((wrong(&found), found.warnings.len()), (0, 0), "{layer:?}: {:?}", found.summary);
        assert!(found.summary.again > 1000, "{:?}", found.summary);
        let found = simulated_on(all(SLOW).memory_limit(256).senders(2), Dropping::new(&answering(), layer, 220..300));
        assert_eq!((wrong(&found), found.warnings.len()), (0, 0), "{layer:?}: {:?}", found.summary);
        assert!(found.summary.again > 100, "{:?}", found.summary);
    }
}

#[test]
fn round_trips_are_those_of_the_probe_that_was_answered() {
    let found = simulated_on(all(SLOW), Dropping::new(&answering(), Layer::Ring, 100..160));
    let exact = Duration::from_millis(10)..Duration::from_millis(15) + Duration::from_micros(2);
    assert!(found.reported.iter().all(|verdict| verdict.rtt.is_some_and(|rtt| exact.contains(&rtt))));
    assert!(found.reported.iter().all(|verdict| verdict.pass == 0));
}

#[test]
fn rounds_are_slower_until_nothing_is_dropped() {
    /// A device that drops what comes faster than 4,000 a second.
    struct Narrow {
        inner: Dropping,
        from: Time,
        within: u64,
    }
    impl Network for Narrow {
        fn send(&mut self, now: Time, frame: &[u8]) {
            if now.since(self.from) > Duration::from_millis(10) {
                (self.from, self.within) = (now, 0);
            }
            self.within += 1;
            self.inner.one_in = if self.within > 40 { 1 } else { u64::MAX };
            self.inner.send(now, frame);
        }
        fn next_arrival(&self) -> Option<Time> {
            self.inner.next_arrival()
        }
        fn receive(&mut self, now: Time, sink: &mut dyn FnMut(Time, &[u8])) {
            self.inner.receive(now, sink);
        }
        fn own_drops(&self) -> OwnDrops {
            self.inner.own_drops()
        }
    }
    let inner = Dropping::new(&answering(), Layer::DeviceTx, 0..u64::MAX);
    let found = simulated_on(all(SLOW), Narrow { inner, from: Time::ZERO, within: 0 });
    assert_eq!((wrong(&found), found.warnings.len()), (0, 0), "{:?}", found.summary);
    // Three fifths of all at half the rate, of these a fifth at a quarter.
    assert!((2_500..4_000).contains(&found.summary.again), "{:?}", found.summary);
}

#[test]
fn drops_that_never_end_end_in_a_warning() {
    for layer in LAYERS {
        // A third each time: of 4,096 some 17 are left after five. All each time: all are left.
        for (one_in, passes, expected) in [(3, 1, 10..100), (1, 2, 4096..4097)] {
            // So few a look are taken for frames that nobody wants.
            if layer == Layer::DeviceRx && one_in > 1 {
                continue;
            }
            let forever = Dropping { one_in, ..Dropping::new(&answering(), layer, 0..u64::MAX) };
            let found = simulated_on(all(SLOW).passes(passes).senders(2), forever);
            let [warning] = &found.warnings[..] else { panic!("{layer:?}: {:?}", found.summary) };
            let doubtful: usize = warning.split(' ').find_map(|word| word.parse().ok()).unwrap();
            let wrong = wrong(&found);
            assert!(wrong > 0 && wrong <= doubtful && expected.contains(&doubtful), "{wrong} wrong: {warning}");
            assert!(warning.contains("lower rate"));
            assert!(found.summary.again <= 4 * 4096 * u64::from(passes), "{:?}", found.summary);
            assert!(found.summary.elapsed < Duration::from_secs(60), "{:?}", found.summary);
        }
    }
}

#[test]
fn a_stop_is_not_held_up_by_what_was_dropped() {
    let dropping = Dropping::new(&answering(), Layer::Ring, 0..u64::MAX);
    let stop = Time::from(Duration::from_millis(200));
    let found = halfopen_lab::simulated_on_until(all(SLOW), dropping, stop);
    assert_eq!((found.summary.again, found.warnings.len()), (0, 1));
    assert!(found.summary.elapsed < Duration::from_millis(1_300), "{:?}", found.summary);
}

/// The network takes the first probe, our own ring the answer to the second; without the ring two passes would do.
#[test]
fn own_drops_take_none_of_the_networks_chances() {
    let open = |told| {
        let scenario = Scenario::named("limits");
        let dropping = Dropping { told, ..Dropping::new(&scenario, Layer::Ring, 50..150) };
        let found = simulated_on(builder(plan("10.7.0.4", "80-82"), SLOW).passes(2), dropping);
        let target: Target = halfopen_lab::target("10.7.0.4:80");
        (found.verdicts[&target].state, found.summary.again)
    };
    assert_eq!(open(false), (State::Filtered, 0));
    assert_eq!(open(true), (State::Open, 2), "80 and 81");
}

#[test]
fn without_drops_not_one_probe_more() {
    for senders in [1, 2] {
        let silent = builder(plan("10.65.0.0/21", "80,81,9"), SLOW).senders(senders).passes(3);
        let found = simulated_on(silent, Dropping::new(&answering(), Layer::Ring, 0..0));
        assert_eq!((&found.summary.sent[..], found.summary.again), (&[6144, 2048, 2048][..], 0));
    }
}

/// Silence, and one frame dropped on the way back after a while.
struct OneDrop {
    after: Time,
    now: Time,
}

impl Network for OneDrop {
    fn send(&mut self, now: Time, _: &[u8]) {
        self.now = now;
    }

    fn next_arrival(&self) -> Option<Time> {
        None
    }

    fn receive(&mut self, _: Time, _: &mut dyn FnMut(Time, &[u8])) {}

    fn own_drops(&self) -> OwnDrops {
        OwnDrops { ring: u64::from(self.now > self.after), ..OwnDrops::default() }
    }
}

// With more than 2^20 targets, two neighbours share a send time.
#[test]
fn a_round_is_not_held_up_where_send_times_are_shared() {
    let after = Time::from(Duration::from_millis(500));
    let scan = builder(plan("10.0.0.0/11", "80"), Rate::Fixed(Pps(2_000_000))).report(&[]);
    let (_, summary) =
        halfopen::simulate(scan, halfopen::SimPlace::default(), OneDrop { after, now: Time::ZERO }).unwrap();
    assert!(summary.again > 100_000, "{summary:?}");
    // A second of sending, at most as long again for the round, and the waits.
    assert!(summary.elapsed < Duration::from_secs(6), "{summary:?}");
}
