//! A walker: walks its slice of each stripe pass by pass, hands probes to its links at its pace, waits where waiting is
//! due. A scan has one or several, which share the rate; each has sending halves of its own of every link.
//!
//! A state machine without clock, thread or socket: [`Walker::poll`] is told the time, puts probes into the links it is
//! given, and says when it wants to be asked again. It begins when the sender has opened a stripe, and says so when it is
//! done with its slice. What comes back is the receiver's; the two share the table (which targets have answered), the
//! send log and counters.
//!
//! ```text
//! Idle --> Pass 0 --> Pass 1 .. --> Settle --> Idle (until the next stripe)
//!            |                       ^  |
//!            +--> Settle <--> Round -+--+  once our own side has dropped something
//! ```
//!
//! **Own drops.** What our own side dropped is no silence of the network's. When drops become known, what was under way
//! is suspect (`suspects.rs`); at the end of the pass, when answers had their time and the count of drops is complete,
//! the suspects that have not answered are probed again in the same pass, from the same port: at half the rate at which
//! drops were seen, then a quarter, at most [`ROUNDS`] times. Drops in a round make new suspects. A pass without drops
//! goes straight on to the next; drops that become known only then concern its end as well, which is then probed again
//! at the end of the next, so that every position has as many chances as there are passes. Suspects that are left at
//! the end are counted as doubtful.

use std::io;
use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

use crate::controls::ControlSender;
use crate::counters::{Shared, Slice, Turn, WalkerCounters, add, set};
use crate::event::Phase;
use crate::link::{LinkTx, PATIENCE, TemplateId, TxLosses, stuck};
use crate::pace::{Pace, Pps, Rate};
use crate::permute::{Stripe, Walk};
use crate::rtt::WAIT_FLOOR;
use crate::sender::{Cooldown, Step};
use crate::suspects::{Ranges, Suspects};
use crate::target::Position;
use crate::time::Time;
use crate::work::{Fate, Origins, Path, Work};

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
/// How soon to look again when the reader of the events is behind.
const READER_BEHIND: Duration = Duration::from_millis(1);
/// How soon to ask again whether the count of drops is complete.
const COUNTING: Duration = Duration::from_millis(5);
/// How often a pass's suspects are probed again at most: a sixteenth of the rate is slow enough for any machine that
/// came so far.
const ROUNDS: u8 = 4;
/// The rate, in probes a second, that is halved where drops came too early to tell at which they were seen.
const UNMEASURED: u64 = 1_000_000;

/// What a time may lose by being stamped.
const STAMP: Duration = Duration::from_micros(1);
/// When the next probe is further away than this, links may rest: what it costs to wake one is less than to stay awake.
const REST: Duration = Duration::from_millis(50);

/// Sends the probes of its slices.
pub(crate) struct Walker {
    work: Arc<Work>,
    shared: Arc<Shared>,
    /// Which of the scan's walkers it is.
    number: usize,
    rate: Rate,
    batch: usize,
    cooldown: Cooldown,
    pace: Pace,
    /// The first walker's.
    controls: Option<ControlSender>,
    /// By pass, then by egress.
    templates: Vec<Vec<TemplateId>>,
    origins: Origins,
    walk: Walk,
    /// The stripe that it walks or has walked, as the sender counts them.
    lap: u64,
    stripe: Stripe,
    slice: Slice,
    stage: Stage,
    pass: u8,
    /// 0 for the pass itself, then how often its suspects are probed again.
    round: u8,
    /// When that began.
    began: Time,
    suspects: Suspects,
    /// What this round is about.
    todo: Ranges,
    /// The rate at which this pass saw drops.
    dropping: u64,
    /// Probes sent in this round, and in all.
    in_round: u64,
    sent: u64,
    last_sent: Time,
    /// Since when a batch waits to be sent; none while none does.
    stuck: Option<Time>,
    /// Whether it moves all the same.
    moves: bool,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Idle,
    /// In a pass or a round.
    Walk {
        cursor: u64,
        since: Time,
    },
    /// Answers may still come.
    Settle,
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

impl Walker {
    /// The walker of this number, which sends at `rate`, its share of the scan's, through `links`, and begins at `now`.
    pub(crate) fn new(
        number: usize,
        work: Arc<Work>,
        shared: Arc<Shared>,
        (rate, cooldown): (Rate, Cooldown),
        links: &mut [Box<dyn LinkTx>],
        now: Time,
    ) -> Self {
        let batch = links.iter().map(|link| link.room()).max().unwrap_or(1);
        let mut prepare = |path: &Path, pass| links[path.link].prepare(&work.template(path, pass));
        let templates =
            (0..work.passes).map(|pass| work.paths.iter().map(|path| prepare(path, pass)).collect()).collect();
        let origins = work.origins();
        let controls = (number == 0 && work.controls.is_some()).then(|| ControlSender::new(&work, links));
        Walker {
            work,
            shared,
            number,
            rate,
            batch,
            cooldown,
            pace: Pace::new(rate, batch, now),
            controls,
            templates,
            origins,
            walk: Walk::default(),
            lap: 0,
            stripe: Stripe { start: Position(0), len: 0 },
            slice: Slice::default(),
            stage: Stage::Idle,
            pass: 0,
            round: 0,
            began: now,
            suspects: Suspects::default(),
            todo: Ranges::default(),
            dropping: 0,
            in_round: 0,
            sent: 0,
            last_sent: now,
            stuck: None,
            moves: false,
        }
    }

    /// Does what is to be done now.
    pub(crate) fn poll(&mut self, now: Time, links: &mut [Box<dyn LinkTx>]) -> Result<Step, Lost> {
        self.ask(links)?;
        let step = self.step(now, links);
        self.count_losses(links);
        if matches!(step, Ok(Step::Until(until)) if until > now + REST) {
            links.iter_mut().for_each(|link| link.rest());
        }
        step
    }

    fn step(&mut self, now: Time, links: &mut [Box<dyn LinkTx>]) -> Result<Step, Lost> {
        if self.shared.aborted() {
            return Ok(Step::Done);
        }
        match self.stage {
            Stage::Idle => Ok(self.idle(now)),
            Stage::Walk { cursor, since } => self.walk(cursor, since, now, links),
            Stage::Settle => Ok(self.settle(now)),
        }
    }

    /// Sends control probes, at the cost of others.
    fn ask(&mut self, links: &mut [Box<dyn LinkTx>]) -> Result<(), Lost> {
        let Some(controls) = &mut self.controls else { return Ok(()) };
        let sent = controls.send(&self.shared.questions, links)?;
        if sent > 0 {
            self.pace.spend(sent);
            add(&self.counters().controls, sent);
        }
        Ok(())
    }

    fn count_losses(&self, links: &[Box<dyn LinkTx>]) {
        let losses = links.iter().map(|link| link.losses()).fold(TxLosses::default(), Add::add);
        set(&self.counters().send_errors, losses.errors);
        set(&self.counters().send_retries, losses.retries);
        set(&self.counters().send_drops, losses.dropped);
    }

    /// Waits for the sender to open a stripe.
    fn idle(&mut self, now: Time) -> Step {
        let lap = self.shared.lap();
        if lap == self.lap {
            return if self.shared.turn() == Turn::Done { Step::Done } else { Step::Until(Time::NEVER) };
        }
        self.lap = lap;
        (self.stripe, self.slice) = (self.shared.stripe(), self.counters().slice());
        let looked = self.shared.looked();
        self.suspects.reset(looked, self.shared.dropped());
        self.begin_pass(0, now)
    }

    fn begin_pass(&mut self, pass: u8, now: Time) -> Step {
        self.counters().set_pass(pass);
        if self.round > 0 {
            self.pace = Pace::new(self.rate, self.batch, now);
        }
        self.begin_walk(pass, 0, now)
    }

    /// Probes the suspects again, more slowly than before.
    fn begin_round(&mut self, now: Time) -> Step {
        if self.round == 0 {
            let limit = if let Rate::Fixed(Pps(pps)) = self.rate { Some(pps) } else { self.suspects.rate() };
            self.dropping = limit.unwrap_or(UNMEASURED);
            self.todo = self.suspects.take();
        } else {
            self.todo = self.suspects.take().within(&self.todo);
        }
        let round = self.round + 1;
        self.pace = Pace::new(Rate::Fixed(Pps(self.dropping >> round)), self.batch, now);
        self.begin_walk(self.pass, round, now)
    }

    fn begin_walk(&mut self, pass: u8, round: u8, now: Time) -> Step {
        (self.pass, self.round, self.in_round) = (pass, round, 0);
        self.pace.restart(now);
        self.suspects.begin_leg(now, self.slice.start, self.sent);
        self.stage = Stage::Walk { cursor: self.slice.start, since: now };
        self.began = now;
        Step::Until(now)
    }

    fn walk(&mut self, mut cursor: u64, since: Time, now: Time, links: &mut [Box<dyn LinkTx>]) -> Result<Step, Lost> {
        if self.round == 0 {
            add(&self.counters().sending, now.since(since).as_nanos() as u64);
        }
        self.stage = Stage::Walk { cursor, since: now };
        if self.shared.congested() && !self.shared.stopped() {
            self.flush(now, links)?;
            self.pace.restart(now);
            return Ok(Step::Until(now + READER_BEHIND));
        }
        let run = if self.shared.stopped() { Run::Stopped } else { self.run(&mut cursor, now, links)? };
        let empty = self.flush(now, links)?;
        self.came_to(cursor, now, empty);
        Ok(match run {
            Run::Spent => Step::Until(self.pace.next(now)),
            Run::Early(due) => self.space(due, now),
            Run::Over | Run::Stopped if empty => self.after_walk(cursor, now),
            Run::Full | Run::Over | Run::Stopped => Step::Until(now + QUEUE_FULL),
        })
    }

    /// Notes how far the walk has come. What is stuck in a link has not been sent when its time comes to be noted; what is
    /// only passing through will have been before an answer is due.
    fn came_to(&mut self, cursor: u64, now: Time, empty: bool) {
        if self.pass == 0 && self.round == 0 {
            self.counters().set_walked(cursor);
        }
        self.stage = Stage::Walk { cursor, since: now };
        if cursor > self.slice.start {
            self.counters().enter(Phase::Probing { pass: self.pass });
        }
        if (empty || self.moves) && self.suspects.mark(now, cursor, self.sent, false) {
            self.look();
        }
    }

    /// Whether our own side has dropped something since the last look.
    fn look(&mut self) {
        let looked = self.shared.looked();
        self.suspects.look(looked, self.shared.dropped(), self.shared.wait());
    }

    /// Sends what waits in the links; whether all of it went. A link that does not get rid of a batch for long is lost.
    fn flush(&mut self, now: Time, links: &mut [Box<dyn LinkTx>]) -> Result<bool, Lost> {
        let mut full = None;
        self.moves = false;
        for (link, tx) in links.iter_mut().enumerate() {
            if !flush(link, &mut **tx)? {
                full = Some((link, tx.moves()));
            }
        }
        let Some((link, moves)) = full else {
            if self.stuck.take().is_some() {
                self.last_sent = now;
            }
            return Ok(true);
        };
        self.moves = moves;
        if moves {
            self.stuck = Some(now);
        }
        let since = *self.stuck.get_or_insert(now);
        if now.since(since) > PATIENCE { Err(Lost { link, source: stuck() }) } else { Ok(false) }
    }

    /// Sends as many probes as may leave now, and accounts for them.
    fn run(&mut self, cursor: &mut u64, now: Time, links: &mut [Box<dyn LinkTx>]) -> Result<Run, Lost> {
        let allowed = self.pace.allowance(now);
        let (run, left) = self.send(cursor, allowed, now, links)?;
        if left < allowed {
            self.pace.spend(allowed - left);
            self.last_sent = now;
            self.account(allowed - left);
        }
        Ok(run)
    }

    fn account(&mut self, probes: u64) {
        self.sent += probes;
        self.in_round += probes;
        let counters = self.counters();
        add(if self.round == 0 { &counters.sent[usize::from(self.pass)] } else { &counters.again }, probes);
    }

    /// Sends at most `left` probes; says what stopped it, and how many are left.
    fn send(
        &mut self,
        cursor: &mut u64,
        mut left: u64,
        now: Time,
        links: &mut [Box<dyn LinkTx>],
    ) -> Result<(Run, u64), Lost> {
        let (pass, round) = (self.pass, self.round);
        let (work, templates) = (&*self.work, &self.templates[usize::from(pass)]);
        let origins = self.origins.of(pass);
        for _ in 0..LOOKED_AT {
            if left == 0 {
                return Ok((Run::Spent, left));
            }
            let Some(offset) = self.next(pass, round, *cursor) else { return Ok((Run::Over, left)) };
            if let Some(due) = self.due(pass, round, offset, now) {
                return Ok((Run::Early(due), left));
            }
            let index = self.walk.index(&work.permutation, self.stripe.position(offset));
            match &work.probe(index, origins) {
                Some(Fate::Send(out)) => {
                    if !has_room(links, out.link)? {
                        return Ok((Run::Full, left));
                    }
                    // Before the probe leaves: its answer may be there at once.
                    self.note(pass, round, offset, now);
                    links[out.link].probe(templates[usize::from(out.egress.0)], &out.probe());
                    left -= 1;
                }
                _ if pass == 0 && round == 0 => add(&self.counters().skipped, 1),
                _ => {}
            }
            *cursor = offset + 1;
        }
        Ok((Run::Spent, left))
    }

    #[inline]
    fn next(&self, pass: u8, round: u8, cursor: u64) -> Option<u64> {
        let table = &self.shared.table;
        match (pass, round) {
            (0, 0) => (cursor < self.slice.end).then_some(cursor),
            (_, 0) => table.next_unanswered(cursor, self.slice.end),
            _ => self.next_suspect(cursor),
        }
    }

    #[cold]
    fn next_suspect(&self, cursor: u64) -> Option<u64> {
        self.todo.from(cursor).find_map(|(from, to)| self.shared.table.next_unanswered(from, to))
    }

    /// When a position may be probed again, if that is not yet: not before an answer to the last probe had its time.
    #[inline]
    fn due(&self, pass: u8, round: u8, offset: u64, now: Time) -> Option<Time> {
        let last = if round > 0 { pass } else { pass.checked_sub(1)? };
        let sent = self.shared.log.sent(last, offset, now)?;
        // In a round the stamp may be new already: a neighbour that shares it was probed again.
        if round > 0 && sent + STAMP >= self.began {
            return None;
        }
        let due = sent + self.shared.wait();
        (due > now).then_some(due)
    }

    #[inline]
    fn note(&self, pass: u8, round: u8, offset: u64, now: Time) {
        match round {
            0 => self.shared.log.note(pass, offset, now),
            _ => self.note_again(pass, offset, now),
        }
    }

    #[cold]
    fn note_again(&self, pass: u8, offset: u64, now: Time) {
        let table = &self.shared.table;
        self.shared.log.note_again(pass, offset, now, |first| table.state(first).is_none());
    }

    /// Waits for answers to the probes before. Looks again in between: once they are here the wait may be shorter.
    fn space(&mut self, due: Time, now: Time) -> Step {
        self.pace.restart(due);
        if let Stage::Walk { cursor, .. } = self.stage {
            self.stage = Stage::Walk { cursor, since: due };
            if cursor == self.slice.start && self.round == 0 {
                self.counters().enter(Phase::Spacing { pass: self.pass.saturating_sub(1) });
            }
        }
        Step::Until(due.min(now + WAIT_FLOOR))
    }

    fn after_walk(&mut self, cursor: u64, now: Time) -> Step {
        self.suspects.mark(now, cursor, self.sent, true);
        self.look();
        if self.round == 0 && self.has_next_pass() && !self.is_suspicious() {
            return self.begin_pass(self.pass + 1, now);
        }
        let over = !self.has_next_pass() && !self.is_suspicious();
        self.counters().enter(if over { Phase::Cooldown } else { Phase::Spacing { pass: self.pass } });
        self.stage = Stage::Settle;
        Step::Until(now)
    }

    fn has_next_pass(&self) -> bool {
        self.pass + 1 < self.work.passes && !self.shared.stopped() && !self.all_answered()
    }

    /// Whether there are suspects to be probed again.
    fn is_suspicious(&self) -> bool {
        let table = &self.shared.table;
        let mut suspects = self.suspects.ranges().from(self.slice.start);
        self.round < ROUNDS
            && !self.shared.stopped()
            && suspects.any(|(from, to)| table.next_unanswered(from, to).is_some())
    }

    fn all_answered(&self) -> bool {
        let walked = self.counters().walked_slice();
        self.shared.table.next_unanswered(walked.start, walked.end).is_none()
    }

    /// Waits until no answer can come any more. What then has not answered and is suspect is probed again.
    fn settle(&mut self, now: Time) -> Step {
        self.look();
        let again = self.is_suspicious();
        if !again && !self.has_next_pass() {
            return self.cool_down(now);
        }
        if let Some(until) = self.unsettled(now) {
            return Step::Until(until);
        }
        if again {
            return self.begin_round(now);
        }
        self.suspects.take();
        self.begin_pass(self.pass + 1, now)
    }

    /// Until when it has to be waited for answers to the last probe, or for the count of drops meanwhile.
    fn unsettled(&self, now: Time) -> Option<Time> {
        let due = self.last_sent + self.shared.wait();
        let answered = (now < due).then(|| due.min(now + WAIT_FLOOR));
        answered.or_else(|| (self.shared.looked() < due).then(|| now + COUNTING))
    }

    /// Looks again every so often, because the estimate changes with what comes in.
    fn cool_down(&mut self, now: Time) -> Step {
        self.counters().enter(Phase::Cooldown);
        let end = self.last_sent + self.cooldown.listening(self.shared.wait(), self.all_answered());
        if now < end {
            return Step::Until(end.min(now + WAIT_FLOOR));
        }
        self.finish();
        // The sender may go on at once.
        Step::Until(now)
    }

    fn finish(&mut self) {
        add(&self.counters().doubtful, self.doubtful());
        self.stage = Stage::Idle;
        self.counters().set_last_sent(self.last_sent);
        self.counters().set_done(self.lap);
    }

    /// How many silent targets are suspects still; no more than were probed again, for those of hosts that are down are
    /// not.
    fn doubtful(&self) -> u64 {
        let ranges = self.suspects.ranges().from(self.slice.start);
        let silent = ranges.map(|(from, to)| self.shared.table.unanswered(from, to)).sum::<u64>();
        if self.round > 0 { silent.min(self.in_round) } else { silent }
    }

    fn counters(&self) -> &WalkerCounters {
        &self.shared.walkers[self.number]
    }
}

fn has_room(links: &mut [Box<dyn LinkTx>], link: usize) -> Result<bool, Lost> {
    if links[link].room() == 0 {
        flush(link, &mut *links[link])?;
    }
    Ok(links[link].room() > 0)
}

fn flush(link: usize, tx: &mut dyn LinkTx) -> Result<bool, Lost> {
    tx.flush().map_err(|source| Lost { link, source })
}
