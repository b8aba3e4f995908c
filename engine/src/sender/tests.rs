//! Sender and walkers together, as a driver runs them, with links that write down what they are given.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use super::*;
use crate::link::{LinkTx, PATIENCE, TemplateId, TxLosses};
use crate::pace::{Pps, Rate};
use crate::target::Target;
use crate::verdict::State;
use crate::walker::{Lost, Manner, Walker};
use crate::wire::syn::{Probe, SynTemplate};
use crate::work::Work;
use crate::work::samples::{PORT, work};

/// What a link was given: (time, source port, target).
type Sent = Arc<Mutex<Vec<(Time, u16, Target)>>>;

/// A link that writes down what it is given, with room for a few probes between two flushes.
struct Notebook {
    sent: Sent,
    now: Arc<Mutex<Time>>,
    ports: Vec<u16>,
    room: usize,
    /// Flushes that fail to empty the batch.
    busy: usize,
    broken: bool,
}

impl LinkTx for Notebook {
    fn prepare(&mut self, template: &SynTemplate) -> TemplateId {
        self.ports.push(template.source_port());
        TemplateId(self.ports.len() - 1)
    }

    fn room(&self) -> usize {
        self.room
    }

    fn probe(&mut self, template: TemplateId, probe: &Probe) {
        self.room -= 1;
        self.sent.lock().unwrap().push((*self.now.lock().unwrap(), self.ports[template.0], probe.target));
    }

    fn flush(&mut self) -> io::Result<bool> {
        if self.broken {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        let Some(busy) = self.busy.checked_sub(1) else {
            self.room = 8;
            return Ok(true);
        };
        self.busy = busy;
        Ok(false)
    }

    fn frame(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn losses(&self) -> TxLosses {
        TxLosses::default()
    }
}

struct Bench {
    sender: Sender,
    walkers: Vec<(Walker, Vec<Box<dyn LinkTx>>)>,
    shared: Arc<Shared>,
    work: Arc<Work>,
    sent: Sent,
    now: Arc<Mutex<Time>>,
}

fn bench_with(work: Work, rate: Rate, most: u64, change: impl FnOnce(&mut Notebook)) -> Bench {
    bench_of(1, work, rate, most, change)
}

/// The change is to the first walker's link.
fn bench_of(walkers: usize, work: Work, rate: Rate, most: u64, change: impl FnOnce(&mut Notebook)) -> Bench {
    let work = Arc::new(work);
    let shared = Arc::new(Shared::with_walkers(most.min(work.plan.len()), work.passes, walkers));
    let (sent, now) = (Sent::default(), Arc::new(Mutex::new(Time::ZERO)));
    let mut change = Some(change);
    let walker = |number| {
        let (sent, now) = (Arc::clone(&sent), Arc::clone(&now));
        let mut book = Notebook { sent, now, ports: Vec::new(), room: 8, busy: 0, broken: false };
        change.take().into_iter().for_each(|change| change(&mut book));
        let mut links: Vec<Box<dyn LinkTx>> = vec![Box::new(book)];
        let manner = Manner { cooldown: Cooldown::Auto, host_rate: None, learns: false };
        let walker = Walker::new(number, Arc::clone(&work), Arc::clone(&shared), manner, &mut links, Time::ZERO);
        (walker, links)
    };
    let walkers = (0..walkers).map(walker).collect();
    let lead = Lead {
        rate,
        bounds: (1, u64::MAX),
        most: u64::MAX,
        completeness: 1.0,
        passes: work.passes,
        targets: work.plan.len(),
        stripe: most,
    };
    let sender = Sender::new(Arc::clone(&shared), lead, None, Time::ZERO);
    Bench { sender, walkers, shared, work, sent, now }
}

fn bench(targets: &str, ports: &str, passes: u8) -> Bench {
    bench_with(work(targets, ports, passes), Rate::Fixed(Pps(10_000)), 1 << 20, |_| {})
}

impl Bench {
    /// Polls until the sender is done or `until`, closing stripes as a receiver would; `each` runs before each poll.
    fn run(&mut self, until: Duration, mut each: impl FnMut(&Bench, Time)) -> Result<Time, Lost> {
        let mut now = *self.now.lock().unwrap();
        while now < Time::from(until) {
            *self.now.lock().unwrap() = now;
            self.shared.set_looked(now);
            each(self, now);
            if self.shared.turn() == Turn::Closing {
                self.shared.set_turn(Turn::Closed);
            }
            let Step::Until(mut next) = self.sender.poll(now) else { return Ok(now) };
            for (walker, links) in &mut self.walkers {
                if let Step::Until(until) = walker.poll(now, links)? {
                    next = next.min(until);
                }
            }
            now = next.max(now);
        }
        Ok(now)
    }

    fn answer(&self, target: Target) {
        let position = self.work.permutation.position(self.work.plan.index(target).unwrap());
        if let Some(offset) = self.shared.stripe().offset(position) {
            self.shared.table.record(offset, State::Closed);
        }
    }

    fn by_pass(&self) -> BTreeMap<u16, Vec<Target>> {
        let mut passes: BTreeMap<u16, Vec<Target>> = BTreeMap::new();
        for (_, port, target) in self.sent.lock().unwrap().iter() {
            passes.entry(port - PORT).or_default().push(*target);
        }
        passes
    }
}

const LONG: Duration = Duration::from_secs(1000);

#[test]
fn every_target_once_in_each_pass_while_none_answers() {
    let mut bench = bench("10.0.0.0/28", "1-10", 3);
    bench.run(LONG, |_, _| {}).unwrap();
    let passes = bench.by_pass();
    assert_eq!(passes.len(), 3);
    for targets in passes.values() {
        let mut sorted = targets.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!((targets.len(), sorted.len()), (160, 160));
    }
    assert_eq!(passes[&0], passes[&1], "the order is the same");
    assert_eq!(bench.shared.total_sent(), 480);
    assert_eq!(bench.shared.phase(), Phase::Done);
}

#[test]
fn later_passes_probe_only_what_has_not_answered_and_not_too_early() {
    let mut bench = bench("10.0.0.0/28", "1-10", 2);
    let mut answered = 0;
    bench
        .run(LONG, |bench, _| {
            // Odd ports answer at once.
            let sent = bench.sent.lock().unwrap().clone();
            sent[answered..].iter().filter(|(_, _, t)| t.port % 2 == 1).for_each(|(_, _, t)| bench.answer(*t));
            answered = sent.len();
        })
        .unwrap();
    let passes = bench.by_pass();
    assert_eq!(passes[&1].len(), 80);
    assert!(passes[&1].iter().all(|t| t.port % 2 == 0));
    let sent = bench.sent.lock().unwrap();
    let time = |port, target| sent.iter().find(|(_, p, t)| (*p, *t) == (port, target)).unwrap().0;
    for target in &passes[&1] {
        let gap = time(PORT + 1, *target).since(time(PORT, *target));
        // Nothing was heard by the RTT's owner, so a second is due; the log keeps microseconds.
        assert!(gap >= Duration::from_micros(999_999), "{target}: {gap:?}");
    }
}

#[test]
fn when_all_have_answered_it_ends_after_the_floor() {
    let mut bench = bench("10.0.0.1", "1-10", 5);
    let end = bench
        .run(LONG, |bench, _| {
            let sent = bench.sent.lock().unwrap().clone();
            sent.iter().for_each(|(_, _, target)| bench.answer(*target));
        })
        .unwrap();
    assert_eq!(bench.by_pass().len(), 1);
    assert!((Duration::from_millis(100)..Duration::from_millis(110)).contains(&end.since(Time::ZERO)), "{end}");
}

#[test]
fn stripes_are_each_worked_through() {
    let mut bench = bench_with(work("10.0.0.0/28", "1-10", 2), Rate::Max, 64, |_| {});
    bench.run(LONG, |_, _| {}).unwrap();
    let ports: Vec<u16> = bench.sent.lock().unwrap().iter().map(|(_, port, _)| port - PORT).collect();
    let expected = [(0, 64), (1, 64), (0, 64), (1, 64), (0, 32), (1, 32)];
    let runs: Vec<(u16, usize)> = ports.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect();
    assert_eq!(runs, expected);
    let mut targets = bench.by_pass().remove(&0).unwrap();
    targets.sort();
    targets.dedup();
    assert_eq!(targets.len(), 160);
}

#[test]
fn a_stop_ends_sending_and_keeps_the_cooldown() {
    let mut bench = bench("10.0.0.0/24", "1-100", 2);
    let stop = Time::from(Duration::from_millis(100));
    let end = bench
        .run(LONG, |bench, now| {
            if now >= stop {
                bench.shared.stop();
            }
        })
        .unwrap();
    let last = bench.sent.lock().unwrap().last().unwrap().0;
    assert!(last <= stop && bench.by_pass().len() == 1);
    assert!(end >= last + Duration::from_secs(1), "nothing was heard: a second of cooldown, not until {end}");
    assert_eq!(bench.shared.silent(), bench.shared.total_sent());
}

#[test]
fn an_abort_ends_at_once() {
    let mut bench = bench("10.0.0.0/24", "1-100", 2);
    let abort = Time::from(Duration::from_millis(100));
    let end = bench
        .run(LONG, |bench, now| {
            if now >= abort {
                bench.shared.abort();
            }
        })
        .unwrap();
    assert!(end < abort + Duration::from_millis(2));
    assert_eq!(bench.shared.turn(), Turn::Done);
}

#[test]
fn a_reader_that_is_behind_pauses_it() {
    let mut bench = bench("10.0.0.0/24", "1-100", 1);
    bench.shared.set_congested(true);
    let pause = Duration::from_secs(2);
    bench.run(pause, |_, _| {}).unwrap();
    assert_eq!(bench.shared.total_sent(), 0);
    *bench.now.lock().unwrap() = Time::from(pause);
    bench.shared.set_congested(false);
    bench.run(LONG, |_, _| {}).unwrap();
    assert_eq!(bench.shared.total_sent(), 25_600);
}

#[test]
fn a_full_link_delays_and_loses_nothing() {
    let mut bench = bench_with(work("10.0.0.0/28", "1-10", 1), Rate::Max, 1 << 20, |book| book.busy = 50);
    bench.run(LONG, |_, _| {}).unwrap();
    assert_eq!(bench.by_pass()[&0].len(), 160);
    let last = bench.sent.lock().unwrap().last().unwrap().0;
    assert!(last > Time::ZERO, "it waited");
}

#[test]
fn what_waits_in_a_link_is_sent_before_the_cooldown() {
    let mut bench = bench_with(work("10.0.0.1", "1-5", 1), Rate::Max, 1 << 20, |book| book.busy = 1000);
    let end = bench.run(LONG, |_, _| {}).unwrap();
    assert!(end.since(Time::ZERO) >= Duration::from_micros(50) * 999 + Duration::from_secs(1), "{end}");
}

#[test]
fn a_link_that_takes_nothing_is_lost_in_the_end() {
    let mut bench = bench_with(work("10.0.0.1", "1-100", 1), Rate::Max, 1 << 20, |book| book.busy = usize::MAX);
    let lost = bench.run(LONG, |_, _| {}).unwrap_err();
    assert_eq!(lost.source.kind(), io::ErrorKind::TimedOut);
    assert!(bench.now.lock().unwrap().since(Time::ZERO) < PATIENCE + Duration::from_millis(10));
}

#[test]
fn a_broken_link_is_told() {
    let mut bench = bench_with(work("10.0.0.1", "1-100", 1), Rate::Max, 1 << 20, |book| book.broken = true);
    let lost = bench.run(LONG, |_, _| {}).unwrap_err();
    assert_eq!((lost.link, lost.source.kind()), (0, io::ErrorKind::NetworkDown));
}

#[test]
fn hosts_that_are_down_are_passed_over() {
    let mut work = work("10.0.0.0/28", "1-10", 2);
    work.paths[0].neighbours = Some(Arc::default());
    let mut bench = bench_with(work, Rate::Fixed(Pps(1000)), 1 << 20, |_| {});
    bench.run(LONG, |_, _| {}).unwrap();
    assert_eq!(bench.shared.total_sent(), 0);
    assert_eq!(bench.shared.sum(|walker| &walker.skipped), 160);
}

#[test]
fn several_walkers_share_the_stripe_and_the_rate() {
    for walkers in [1, 2, 3, 8, 16] {
        let mut bench = bench_of(walkers, work("10.0.0.0/28", "1-10", 2), Rate::Fixed(Pps(1600)), 100, |_| {});
        bench.run(LONG, |_, _| {}).unwrap();
        for targets in bench.by_pass().values_mut() {
            targets.sort();
            targets.dedup();
            assert_eq!(targets.len(), 160, "{walkers}");
        }
        assert_eq!((bench.shared.sent(0), bench.shared.sent(1)), (160, 160), "{walkers}");
        let first =
            bench.sent.lock().unwrap().iter().filter(|(at, port, _)| *port == PORT && at.0 < 50_000_000).count();
        assert!((75..=100).contains(&first), "80 in 50 ms, and one for each walker at once: {first} of {walkers}");
    }
}

#[test]
fn the_stripe_ends_with_its_slowest_walker() {
    let mut bench = bench_of(2, work("10.0.0.1", "1-16", 1), Rate::Max, 1 << 20, |book| book.busy = 20_010);
    let end = bench.run(LONG, |_, _| {}).unwrap();
    assert!(end.since(Time::ZERO) >= Duration::from_secs(2), "a second until it went, a second of cooldown: {end}");
    assert_eq!(bench.by_pass()[&0].len(), 16);
}

#[test]
fn more_walkers_than_positions() {
    let mut bench = bench_of(8, work("10.0.0.1", "1-3", 2), Rate::Max, 1 << 20, |_| {});
    bench.run(LONG, |_, _| {}).unwrap();
    assert_eq!((bench.shared.sent(0), bench.shared.sent(1)), (3, 3));
}

/// Between a stripe that is open and its first leg nothing would be known of it: no checkpoint is to see that.
#[test]
fn a_stripe_and_its_first_leg_are_begun_in_one() {
    let mut bench = bench("10.0.0.1", "1-16", 1);
    let versions = || bench.shared.shift.load(std::sync::atomic::Ordering::Relaxed);
    let before = versions();
    bench.sender.poll(Time::ZERO);
    assert_eq!((bench.shared.lap(), versions() - before), (1, 2));
}
