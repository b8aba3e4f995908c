//! The sending half: walks each stripe pass by pass, hands probes to links at the pace, waits where waiting is due.
//!
//! A state machine without clock, thread or socket: [`Sender::poll`] is told the time, puts probes into the links it is
//! given, and says when it wants to be asked again. What comes back is the receiver's; the two share the table (which
//! targets have answered), the send log, counters and the phase.
//!
//! ```text
//! Begin --> Pass 0 --> Pass 1 .. --> Cooldown --> Closing --> Begin (next stripe) or Done
//! ```

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::counters::{Shared, Turn, add, load};
use crate::event::Phase;
use crate::link::{LinkTx, PATIENCE, TemplateId, stuck};
use crate::pace::{Pace, Rate};
use crate::permute::{Stripe, Walk};
use crate::rtt::{WAIT_FLOOR, WAIT_UNHEARD};
use crate::time::Time;
use crate::work::{Fate, Origins, Path, Work};

/// How long to listen after the last probe of a stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Cooldown {
    /// As long as an answer can still come by the measured round-trip times: srtt + 4 rttvar and no less than the slowest
    /// answer took, at least 1 s, at most 10 s; but only 100 ms once everything has answered. (A second, because what
    /// has not answered may be further away than all that has.)
    #[default]
    Auto,
    /// Just so long.
    Fixed(Duration),
}

/// When the sender wants to be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Not before this time, unless something changes.
    Until(Time),
    /// Never: it has nothing left to do.
    Done,
}

/// A link that gave up.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) link: usize,
    pub(crate) source: io::Error,
}

/// Positions looked at in one poll at most, sent or not: the owner's wish to stop must not wait for a walk over hosts
/// that are down.
const LOOKED_AT: usize = 4096;
/// How soon to try again when a link's queue is full.
const QUEUE_FULL: Duration = Duration::from_micros(50);
/// How soon to look again when the reader of the events is behind, or the receiver has the table.
const OTHERS_TURN: Duration = Duration::from_millis(1);

/// Sends a scan's probes.
pub(crate) struct Sender {
    work: Arc<Work>,
    shared: Arc<Shared>,
    pace: Pace,
    cooldown: Cooldown,
    /// By pass, then by egress.
    templates: Vec<Vec<TemplateId>>,
    origins: Origins,
    walk: Walk,
    stripe: Stripe,
    most: u64,
    stage: Stage,
    last_sent: Time,
    /// Since when a batch waits to be sent; none while none does.
    stuck: Option<Time>,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Begin { from: u64 },
    Pass { pass: u8, cursor: u64, since: Time },
    Cooldown,
    Closing,
    Done,
}

/// What stopped a run of probes.
enum Run {
    /// The allowance is used up.
    Spent,
    /// There are no more positions in this pass.
    Over,
    /// The next position's answer may still be under way until then.
    Early(Time),
    /// A link takes no more just now.
    Full,
    /// The owner wants no more.
    Stopped,
}

impl Sender {
    /// A sender for stripes of at most `most` positions, through `links`, that begins at `now`.
    pub(crate) fn new(
        work: Arc<Work>,
        shared: Arc<Shared>,
        rate: Rate,
        cooldown: Cooldown,
        most: u64,
        links: &mut [Box<dyn LinkTx>],
        now: Time,
    ) -> Self {
        let batch = links.iter().map(|link| link.room()).max().unwrap_or(1);
        let mut prepare = |path: &Path, pass| links[path.link].prepare(&work.template(path, pass));
        let templates =
            (0..work.passes).map(|pass| work.paths.iter().map(|path| prepare(path, pass)).collect()).collect();
        let stripe = Stripe { start: crate::target::Position(0), len: 0 };
        let pace = Pace::new(rate, batch, now);
        let stage = Stage::Begin { from: 0 };
        let (walk, origins) = (Walk::default(), work.origins());
        Sender {
            work,
            shared,
            pace,
            cooldown,
            templates,
            origins,
            walk,
            stripe,
            most,
            stage,
            last_sent: now,
            stuck: None,
        }
    }

    /// Does what is to be done now.
    pub(crate) fn poll(&mut self, now: Time, links: &mut [Box<dyn LinkTx>]) -> Result<Step, Lost> {
        if self.shared.aborted() {
            return Ok(self.finish());
        }
        match self.stage {
            Stage::Begin { from } => Ok(self.begin(from, now)),
            Stage::Pass { pass, cursor, since } => self.pass(pass, cursor, since, now, links),
            Stage::Cooldown => Ok(self.cool_down(now)),
            Stage::Closing => Ok(self.next_stripe(now)),
            Stage::Done => Ok(Step::Done),
        }
    }

    fn begin(&mut self, from: u64, now: Time) -> Step {
        let left = self.work.permutation.len() - from;
        if left == 0 || self.shared.stopped() {
            return self.finish();
        }
        self.stripe = Stripe { start: crate::target::Position(from), len: left.min(self.most) };
        self.shared.open(self.stripe);
        self.begin_pass(0, now)
    }

    fn begin_pass(&mut self, pass: u8, now: Time) -> Step {
        self.shared.set_pass(pass);
        if pass == 0 {
            self.shared.sender.set_phase(Phase::Probing { pass });
        }
        self.pace.restart(now);
        self.stage = Stage::Pass { pass, cursor: 0, since: now };
        Step::Until(now)
    }

    fn pass(
        &mut self,
        pass: u8,
        mut cursor: u64,
        since: Time,
        now: Time,
        links: &mut [Box<dyn LinkTx>],
    ) -> Result<Step, Lost> {
        add(&self.shared.sender.sending, now.since(since).as_nanos() as u64);
        self.stage = Stage::Pass { pass, cursor, since: now };
        if self.shared.congested() && !self.shared.stopped() {
            self.flush(now, links)?;
            self.pace.restart(now);
            return Ok(Step::Until(now + OTHERS_TURN));
        }
        let run = if self.shared.stopped() { Run::Stopped } else { self.run(pass, &mut cursor, now, links)? };
        let empty = self.flush(now, links)?;
        if pass == 0 {
            self.shared.set_walked(cursor);
        }
        self.stage = Stage::Pass { pass, cursor, since: now };
        if cursor > 0 {
            self.shared.sender.set_phase(Phase::Probing { pass });
        }
        Ok(match run {
            Run::Spent => Step::Until(self.pace.next(now)),
            Run::Early(due) => self.space(pass, due, now),
            Run::Over if empty => self.after_pass(pass, now),
            Run::Stopped if empty => self.begin_cooldown(now),
            Run::Full | Run::Over | Run::Stopped => Step::Until(now + QUEUE_FULL),
        })
    }

    /// Sends what waits in the links; whether all of it went. A link that does not get rid of a batch for long is lost.
    fn flush(&mut self, now: Time, links: &mut [Box<dyn LinkTx>]) -> Result<bool, Lost> {
        let mut full = None;
        for (link, tx) in links.iter_mut().enumerate() {
            if !flush(link, &mut **tx)? {
                full = Some(link);
            }
        }
        let Some(link) = full else {
            if self.stuck.take().is_some() {
                self.last_sent = now;
            }
            return Ok(true);
        };
        let since = *self.stuck.get_or_insert(now);
        if now.since(since) > PATIENCE { Err(Lost { link, source: stuck() }) } else { Ok(false) }
    }

    /// Sends as many probes of this pass as may leave now.
    fn run(&mut self, pass: u8, cursor: &mut u64, now: Time, links: &mut [Box<dyn LinkTx>]) -> Result<Run, Lost> {
        let allowed = self.pace.allowance(now);
        let mut left = allowed;
        let run = self.send(pass, cursor, &mut left, now, links);
        self.account(pass, allowed - left, now);
        run
    }

    /// Sends until `left` is used up. What is the same for all probes is looked up or counted once, outside.
    fn send(
        &mut self,
        pass: u8,
        cursor: &mut u64,
        left: &mut u64,
        now: Time,
        links: &mut [Box<dyn LinkTx>],
    ) -> Result<Run, Lost> {
        let (work, shared) = (&*self.work, &*self.shared);
        let (templates, origins) = (&self.templates[usize::from(pass)], self.origins.of(pass));
        for _ in 0..LOOKED_AT {
            if *left == 0 {
                return Ok(Run::Spent);
            }
            let Some(offset) = self.next(pass, *cursor) else { return Ok(Run::Over) };
            if let Some(due) = self.due(pass, offset, now) {
                return Ok(Run::Early(due));
            }
            let index = self.walk.index(&work.permutation, self.stripe.position(offset));
            match &work.probe(index, origins) {
                Some(Fate::Send(out)) => {
                    if !has_room(links, out.link)? {
                        return Ok(Run::Full);
                    }
                    // Before the probe leaves: its answer may be there at once.
                    shared.log.note(pass, offset, now);
                    links[out.link].probe(templates[usize::from(out.egress.0)], &out.probe());
                    *left -= 1;
                }
                _ if pass == 0 => add(&shared.sender.skipped, 1),
                _ => {}
            }
            *cursor = offset + 1;
        }
        Ok(Run::Spent)
    }

    fn next(&self, pass: u8, cursor: u64) -> Option<u64> {
        if pass == 0 {
            return (cursor < self.stripe.len).then_some(cursor);
        }
        self.shared.table.next_unanswered(cursor, self.shared.walked())
    }

    /// When a position may be probed again, if that is not yet: not before an answer to the last probe had its time.
    fn due(&self, pass: u8, offset: u64, now: Time) -> Option<Time> {
        let last = self.shared.log.sent(pass.checked_sub(1)?, offset, now)?;
        let due = last + self.shared.wait();
        (due > now).then_some(due)
    }

    fn account(&mut self, pass: u8, sent: u64, now: Time) {
        if sent > 0 {
            self.pace.spend(sent);
            self.last_sent = now;
            add(&self.shared.sender.sent[usize::from(pass)], sent);
        }
    }

    /// Waits for answers to the pass before. Looks again in between: once they are here the wait may be shorter.
    fn space(&mut self, pass: u8, due: Time, now: Time) -> Step {
        self.pace.restart(due);
        if let Stage::Pass { cursor, .. } = self.stage {
            self.stage = Stage::Pass { pass, cursor, since: due };
            if cursor == 0 {
                self.shared.sender.set_phase(Phase::Spacing { pass: pass - 1 });
            }
        }
        Step::Until(due.min(now + WAIT_FLOOR))
    }

    fn after_pass(&mut self, pass: u8, now: Time) -> Step {
        let all_answered = self.shared.table.next_unanswered(0, self.shared.walked()).is_none();
        if pass + 1 < self.work.passes && !all_answered {
            return self.begin_pass(pass + 1, now);
        }
        self.begin_cooldown(now)
    }

    fn begin_cooldown(&mut self, now: Time) -> Step {
        self.shared.sender.set_phase(Phase::Cooldown);
        self.stage = Stage::Cooldown;
        Step::Until(now)
    }

    /// Looks again every so often, because the estimate changes with what comes in.
    fn cool_down(&mut self, now: Time) -> Step {
        let end = self.last_sent + self.listening();
        if now < end {
            return Step::Until(end.min(now + WAIT_FLOOR));
        }
        self.shared.set_turn(Turn::Closing);
        self.stage = Stage::Closing;
        Step::Until(now)
    }

    /// How long to listen after the last probe.
    fn listening(&self) -> Duration {
        match self.cooldown {
            Cooldown::Fixed(time) => time,
            Cooldown::Auto if self.shared.table.next_unanswered(0, self.shared.walked()).is_none() => WAIT_FLOOR,
            Cooldown::Auto => self.shared.wait().max(WAIT_UNHEARD),
        }
    }

    fn next_stripe(&mut self, now: Time) -> Step {
        if self.shared.turn() != Turn::Closed {
            return Step::Until(now + OTHERS_TURN);
        }
        self.stage = Stage::Begin { from: self.stripe.start.0 + self.stripe.len };
        Step::Until(now)
    }

    fn finish(&mut self) -> Step {
        self.shared.sender.set_phase(Phase::Done);
        self.shared.set_turn(Turn::Done);
        self.stage = Stage::Done;
        Step::Done
    }

    /// Probes sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sender.sent.iter().map(load).sum()
    }
}

fn has_room(links: &mut [Box<dyn LinkTx>], link: usize) -> Result<bool, Lost> {
    if links[link].room() > 0 {
        return Ok(true);
    }
    flush(link, &mut *links[link])?;
    Ok(links[link].room() > 0)
}

fn flush(link: usize, tx: &mut dyn LinkTx) -> Result<bool, Lost> {
    tx.flush().map_err(|source| Lost { link, source })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;
    use crate::link::TxLosses;
    use crate::pace::Pps;
    use crate::target::Target;
    use crate::verdict::State;
    use crate::wire::syn::{Probe, SynTemplate};
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
        links: Vec<Box<dyn LinkTx>>,
        shared: Arc<Shared>,
        work: Arc<Work>,
        sent: Sent,
        now: Arc<Mutex<Time>>,
    }

    fn bench_with(work: Work, rate: Rate, most: u64, change: impl FnOnce(&mut Notebook)) -> Bench {
        let work = Arc::new(work);
        let shared = Arc::new(Shared::new(most.min(work.plan.len()), work.passes));
        let (sent, now) = (Sent::default(), Arc::new(Mutex::new(Time::ZERO)));
        let mut book = Notebook {
            sent: Arc::clone(&sent),
            now: Arc::clone(&now),
            ports: Vec::new(),
            room: 8,
            busy: 0,
            broken: false,
        };
        change(&mut book);
        let mut links: Vec<Box<dyn LinkTx>> = vec![Box::new(book)];
        let (for_sender, shared_too) = (Arc::clone(&work), Arc::clone(&shared));
        let sender = Sender::new(for_sender, shared_too, rate, Cooldown::Auto, most, &mut links, Time::ZERO);
        Bench { sender, links, shared, work, sent, now }
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
                each(self, now);
                if self.shared.turn() == Turn::Closing {
                    self.shared.set_turn(Turn::Closed);
                }
                match self.sender.poll(now, &mut self.links)? {
                    Step::Done => return Ok(now),
                    Step::Until(next) => now = next.max(now),
                }
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
        assert_eq!(bench.sender.sent(), 480);
        assert_eq!(bench.shared.sender.phase(), Phase::Done);
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
        assert_eq!(bench.shared.walked(), bench.sender.sent());
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
        assert_eq!(bench.sender.sent(), 0);
        *bench.now.lock().unwrap() = Time::from(pause);
        bench.shared.set_congested(false);
        bench.run(LONG, |_, _| {}).unwrap();
        assert_eq!(bench.sender.sent(), 25_600);
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
        assert!(end.since(Time::ZERO) >= QUEUE_FULL * 999 + Duration::from_secs(1), "{end}");
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
        assert_eq!(bench.sender.sent(), 0);
        assert_eq!(load(&bench.shared.sender.skipped), 160);
    }
}
