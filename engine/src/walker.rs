//! A walker: walks its slice of a stripe, leg by leg, hands probes to its links at its pace, and canaries in between. A
//! scan has one or several, which share the rate; each has sending halves of its own of every link.
//!
//! A state machine without clock, thread or socket: [`Walker::poll`] is told the time, puts probes into the links it is
//! given, and says when it wants to be asked again. It begins when the sender begins a leg, and says so when answers to
//! its last probe had their time. Which legs there are, over which targets and how fast, is the sender's; what comes back,
//! the receiver's. They share the table (which targets have answered), the send log and counters.
//!
//! ```text
//! Idle --> Walk --> Settle --> Idle (until the next leg)
//!   |       ^         |  ^
//!   |       +- Round -+  |  once our own side has dropped something
//!   +--> Vouch ----------+  a leg of canaries alone
//! ```
//!
//! **Own drops.** What our own side dropped is no silence of the network's. When drops become known, what was under way
//! is suspect (`suspects.rs`); at the end of the leg, when answers had their time and the count of drops is complete,
//! the suspects that have not answered are probed again in the same leg, from the same port: at half the rate at which
//! drops were seen, then a quarter, at most [`ROUNDS`] times. Drops in a round make new suspects. Suspects that are left at
//! the end of the last round are counted as doubtful.

use std::io;
use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

use crate::canary::Turns;
use crate::controls::ControlSender;
use crate::counters::{Lap, Shared, Slice, Turn, WalkerCounters, add, load, set};
use crate::event::Phase;
use crate::governor::Governor;
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
/// Vouching ends by then, however few canaries could be sent.
const VOUCHING: Duration = Duration::from_secs(3);
/// How soon to look for canaries that may be sent.
const VOUCH_STEP: Duration = Duration::from_millis(2);
/// When the next probe is further away than this, links may rest: what it costs to wake one is less than to stay awake.
const REST: Duration = Duration::from_millis(50);

/// Sends the probes of its slices.
pub(crate) struct Walker {
    work: Arc<Work>,
    shared: Arc<Shared>,
    /// Which of the scan's walkers it is.
    number: usize,
    batch: usize,
    manner: Manner,
    pace: Pace,
    /// The first walker's.
    controls: Option<ControlSender>,
    /// The rate for all walkers that the pace goes by; none in a round, which has one of its own.
    rate: Option<u64>,
    governor: Option<Governor>,
    /// Some targets are on the link, where hosts may be down.
    on_link: bool,
    turns: Turns,
    /// By pass, the last one the canaries', then by egress.
    templates: Vec<Vec<TemplateId>>,
    origins: Origins,
    walk: Walk,
    /// The leg that it walks or has walked.
    lap: Lap,
    stripe: Stripe,
    slice: Slice,
    stage: Stage,
    /// 0 for the leg itself, then how often its suspects are probed again.
    round: u8,
    /// When that began.
    began: Time,
    suspects: Suspects,
    /// What this round is about; or the leg, where it is only the rest of one.
    todo: Ranges,
    /// Whether the leg goes by that.
    is_rest: bool,
    /// The rate at which this leg saw drops.
    dropping: u64,
    /// Probes sent in this round, and in all.
    in_round: u64,
    sent: u64,
    last_sent: Time,
    /// Targets probed in pass 0, by group.
    probed: Vec<u64>,
    /// Doubtful targets of earlier stripes.
    doubted: u64,
    /// Since when a batch waits to be sent; none while none does.
    stuck: Option<Time>,
    /// Whether it moves all the same.
    moves: bool,
}

/// How a walker walks, whatever the leg.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// How long to listen after the last probe.
    pub(crate) cooldown: Cooldown,
    /// Probes a second to a host at most, from all walkers together.
    pub(crate) host_rate: Option<u64>,
    /// Whether the scan has to learn how fast it may be.
    pub(crate) learns: bool,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Idle,
    /// In a leg or a round.
    Walk {
        cursor: u64,
        since: Time,
    },
    /// So many canaries are still to be sent.
    Vouch {
        left: u64,
    },
    /// Answers may still come.
    Settle,
}

/// What stopped a run of probes.
enum Run {
    /// The allowance is used up.
    Spent,
    /// There are no more positions in this leg.
    Over,
    /// The next position may not be probed before then.
    Early(Time),
    /// A link takes no more just now.
    Full,
    /// The owner wants no more.
    Stopped,
}

impl Walker {
    /// The walker of this number, which sends its share of the scan's rate through `links`, and begins at `now`.
    pub(crate) fn new(
        number: usize,
        work: Arc<Work>,
        shared: Arc<Shared>,
        manner: Manner,
        links: &mut [Box<dyn LinkTx>],
        now: Time,
    ) -> Self {
        let batch = links.iter().map(|link| link.room()).max().unwrap_or(1);
        let mut prepare = |path: &Path, pass| links[path.link].prepare(&work.template(path, pass));
        let templates =
            (0..=work.passes).map(|pass| work.paths.iter().map(|path| prepare(path, pass)).collect()).collect();
        let (origins, walkers) = (work.origins(), shared.walkers.len());
        let controls = (number == 0 && work.controls).then(|| ControlSender::new(&work, links));
        let share = manner.host_rate.map(|rate| (rate / walkers as u64).max(1));
        Walker {
            governor: share.map(|rate| Governor::new(work.plan.hosts(), rate)),
            on_link: work.paths.iter().any(|path| path.neighbours.is_some()),
            probed: vec![0; shared.ledger.len()],
            work,
            shared,
            number,
            batch,
            manner,
            pace: Pace::new(Rate::Max, batch, now),
            controls,
            rate: None,
            turns: Turns::new(number, walkers),
            templates,
            origins,
            walk: Walk::default(),
            lap: Lap { number: 0, pass: 0, vouchers: 0, all: true },
            stripe: Stripe { start: Position(0), len: 0 },
            slice: Slice::default(),
            stage: Stage::Idle,
            round: 0,
            began: now,
            suspects: Suspects::default(),
            todo: Ranges::default(),
            is_rest: false,
            dropping: 0,
            in_round: 0,
            sent: 0,
            last_sent: now,
            doubted: 0,
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
            Stage::Vouch { left } => self.vouch(left, now, links),
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

    /// Waits for the sender to begin a leg.
    fn idle(&mut self, now: Time) -> Step {
        if self.shared.lap() == self.lap.number {
            return if self.shared.turn() == Turn::Done { Step::Done } else { Step::Until(Time::NEVER) };
        }
        self.lap = self.shared.leg();
        (self.stripe, self.slice) = (self.shared.stripe(), self.counters().slice());
        let looked = self.shared.looked();
        self.suspects.reset(looked, self.shared.dropped());
        (self.round, self.rate) = (0, None);
        if self.lap.vouchers > 0 {
            let all = self.shared.walkers.len() as u64;
            (self.began, self.in_round) = (now, 0);
            self.stage = Stage::Vouch { left: self.lap.vouchers.div_ceil(all) };
            return Step::Until(now);
        }
        self.counters().set_pass(self.lap.pass);
        self.counters().set_cursor(self.slice.start);
        let rest = self.shared.rest(self.lap.number);
        self.is_rest = rest.is_some();
        self.todo = rest.map(|rest| rest.within(&Ranges::of(self.slice.start, self.slice.end))).unwrap_or_default();
        if self.lap.pass == 0 {
            self.doubted = load(&self.counters().doubtful);
        }
        self.begin_walk(0, now)
    }

    /// Probes the suspects again, more slowly than before.
    fn begin_round(&mut self, now: Time) -> Step {
        let share = self.share(self.shared.rate());
        if self.round == 0 {
            let limit = if let Rate::Fixed(Pps(pps)) = share { Some(pps) } else { self.suspects.rate() };
            self.dropping = limit.unwrap_or(UNMEASURED).min(self.suspects.rate().unwrap_or(u64::MAX));
            self.todo = self.suspects.take();
        } else {
            self.todo = self.suspects.take().within(&self.todo);
        }
        self.counters().suspects.lock().clone_from(&self.todo);
        let round = self.round + 1;
        self.pace = Pace::new(Rate::Fixed(Pps((self.dropping >> round).max(1))), self.batch, now);
        self.begin_walk(round, now)
    }

    fn begin_walk(&mut self, round: u8, now: Time) -> Step {
        (self.round, self.in_round) = (round, 0);
        self.pace.restart(now);
        self.suspects.begin_leg(now, self.slice.start, self.sent);
        self.stage = Stage::Walk { cursor: self.slice.start, since: now };
        self.began = now;
        Step::Until(now)
    }

    /// Goes by the scan's rate, as it is now.
    fn keep_pace(&mut self, now: Time) {
        let rate = self.shared.rate();
        if self.round == 0 && self.rate != Some(rate) {
            self.rate = Some(rate);
            self.pace.change(self.share(rate), now);
        }
    }

    /// Its share of a rate for all.
    fn share(&self, rate: u64) -> Rate {
        let rate = if rate == u64::MAX { Rate::Max } else { Rate::Fixed(Pps(rate)) };
        rate.share(self.number, self.shared.walkers.len())
    }

    fn walk(&mut self, mut cursor: u64, since: Time, now: Time, links: &mut [Box<dyn LinkTx>]) -> Result<Step, Lost> {
        if self.round == 0 {
            add(&self.counters().sending, now.since(since).as_nanos() as u64);
        }
        self.keep_pace(now);
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
        if self.lap.pass == 0 && self.round == 0 {
            self.counters().set_walked(cursor);
        }
        if self.round == 0 {
            self.counters().set_cursor(cursor);
        }
        self.stage = Stage::Walk { cursor, since: now };
        if cursor > self.slice.start {
            self.counters().enter(Phase::Probing { pass: self.lap.pass });
        }
        if empty || self.moves {
            self.leave_trail(now, cursor, false);
            if self.suspects.mark(now, cursor, self.sent, false) {
                self.look();
            }
        }
    }

    /// For checkpoints: how far the leg has come, and what it has probed in pass 0.
    fn leave_trail(&mut self, now: Time, cursor: u64, at_once: bool) {
        if self.round == 0 && self.counters().trail.mark(now, cursor, at_once) {
            self.report_probed();
        }
    }

    fn report_probed(&mut self) {
        for (group, targets) in self.probed.iter_mut().enumerate().filter(|(_, targets)| **targets > 0) {
            self.shared.ledger.probed(group, std::mem::take(targets));
        }
    }

    /// Whether our own side has dropped something since the last look.
    fn look(&mut self) {
        let looked = self.shared.looked();
        if self.suspects.look(looked, self.shared.dropped(), self.shared.wait()) {
            let known = &mut *self.counters().suspects.lock();
            self.suspects.ranges().from(0).for_each(|(from, to)| known.add(from, to));
        }
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
        let cut = if self.round == 0 && self.turns.are_due() { self.turns.place(allowed) } else { allowed };
        let (mut run, mut left) = self.send(cursor, cut, now, links)?;
        left += allowed - cut;
        if cut < allowed && matches!(run, Run::Spent) {
            self.send_canaries(now, links)?;
            (run, left) = self.send(cursor, left, now, links)?;
        }
        if left < allowed {
            self.pace.spend(allowed - left);
            self.last_sent = now;
            self.account(allowed - left);
            if self.round == 0 {
                self.turns.earn(allowed - left, now, self.manner.learns);
            }
        }
        Ok(run)
    }

    /// Sends the canaries that are due; they count in the rate.
    fn send_canaries(&mut self, now: Time, links: &mut [Box<dyn LinkTx>]) -> Result<u64, Lost> {
        let mut sent = 0;
        while self.turns.are_due() {
            let wait = self.shared.answer();
            let Some((kind, slot, index)) = self.turns.next(&self.shared.canaries, wait, now) else { continue };
            let origins = self.origins.of(self.work.canary());
            let Some(Fate::Send(out)) = self.work.probe(index, origins) else { continue };
            if !has_room(links, out.link)? {
                break;
            }
            Turns::sent(&self.shared.canaries, kind, slot, now);
            self.shared.ledger.canary_sent(kind, out.group(self.shared.ledger.groups.prefixes));
            let templates = &self.templates[usize::from(self.work.canary())];
            links[out.link].probe(templates[usize::from(out.egress.0)], &out.probe());
            sent += 1;
        }
        self.pace.spend(sent);
        add(&self.counters().canaries, sent);
        Ok(sent)
    }

    /// Sends canaries and nothing else, at no more than the scan's rate.
    fn vouch(&mut self, left: u64, now: Time, links: &mut [Box<dyn LinkTx>]) -> Result<Step, Lost> {
        self.keep_pace(now);
        let allowed = self.pace.allowance(now).min(left);
        self.turns.owe(allowed);
        let sent = self.send_canaries(now, links)?;
        let empty = self.flush(now, links)?;
        if sent > 0 {
            self.last_sent = now;
            self.in_round += sent;
        }
        let left = left.saturating_sub(sent);
        let is_over = left == 0 || now >= self.began + VOUCHING || self.shared.stopped();
        self.stage = if is_over && empty { Stage::Settle } else { Stage::Vouch { left } };
        Ok(Step::Until(now + VOUCH_STEP))
    }

    fn account(&mut self, probes: u64) {
        self.sent += probes;
        self.in_round += probes;
        let counters = self.counters();
        add(if self.round == 0 { &counters.sent[usize::from(self.lap.pass)] } else { &counters.again }, probes);
    }

    /// Sends at most `left` probes; says what stopped it, and how many are left.
    fn send(
        &mut self,
        cursor: &mut u64,
        mut left: u64,
        now: Time,
        links: &mut [Box<dyn LinkTx>],
    ) -> Result<(Run, u64), Lost> {
        let (pass, round) = (self.lap.pass, self.round);
        let (work, shared, templates) = (&*self.work, &*self.shared, &self.templates[usize::from(pass)]);
        let (origins, prefixes) = (self.origins.of(pass), shared.ledger.groups.prefixes);
        // Where hosts that are down are passed over, the others share the rate unevenly from the beginning.
        let governed = pass > 0 || round > 0 || self.on_link;
        for _ in 0..LOOKED_AT {
            if left == 0 {
                return Ok((Run::Spent, left));
            }
            let Some(offset) = self.next(pass, round, *cursor) else { return Ok((Run::Over, left)) };
            if let Some(due) = self.due(pass, round, offset, now) {
                return Ok((Run::Early(due), left));
            }
            let index = self.walk.index(&work.permutation, self.stripe.position(offset));
            let Some(found) = work.plan.find(index) else { return Ok((Run::Over, left)) };
            let group = prefixes.group(found.family, found.address);
            if self.lap.all || shared.is_chosen(group) {
                match &work.probe_to(found, origins) {
                    Some(Fate::Send(out)) => {
                        if !has_room(links, out.link)? {
                            return Ok((Run::Full, left));
                        }
                        if let Some(governor) = self.governor.as_mut().filter(|_| governed)
                            && let Err(until) = governor.pass(found.family, found.address, now)
                        {
                            return Ok((Run::Early(until), left));
                        }
                        if pass == 0 && round == 0 {
                            self.probed[group] += 1;
                        }
                        // Before the probe leaves: its answer may be there at once.
                        self.note(pass, round, offset, now);
                        links[out.link].probe(templates[usize::from(out.egress.0)], &out.probe());
                        left -= 1;
                    }
                    _ if pass == 0 && round == 0 => add(&self.counters().skipped, 1),
                    _ => {}
                }
            }
            *cursor = offset + 1;
        }
        Ok((Run::Spent, left))
    }

    #[inline]
    fn next(&self, pass: u8, round: u8, cursor: u64) -> Option<u64> {
        let table = &self.shared.table;
        match (pass, round) {
            (0, 0) if !self.is_rest => (cursor < self.slice.end).then_some(cursor),
            (_, 0) if !self.is_rest => table.next_unanswered(cursor, self.slice.end),
            _ => self.next_of_some(cursor),
        }
    }

    #[cold]
    fn next_of_some(&self, cursor: u64) -> Option<u64> {
        self.todo.from(cursor).find_map(|(from, to)| self.shared.table.next_unanswered(from, to))
    }

    /// When a position may be probed again in a round, if that is not yet: not before an answer to the last probe had its
    /// time. (Between two legs all answers have.)
    #[inline]
    fn due(&self, pass: u8, round: u8, offset: u64, now: Time) -> Option<Time> {
        if round == 0 {
            return None;
        }
        let sent = self.shared.log.sent(pass, offset, now)?;
        // In a round the stamp may be new already: a neighbour that shares it was probed again.
        if sent + STAMP >= self.began {
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

    /// Waits for when the next position may be probed. Looks again in between: that may be sooner by then.
    fn space(&mut self, due: Time, now: Time) -> Step {
        if self.round > 0 {
            self.pace.restart(due);
        }
        if let Stage::Walk { cursor, .. } = self.stage {
            self.stage = Stage::Walk { cursor, since: if self.round > 0 { due } else { now } };
        }
        Step::Until(due.min(now + WAIT_FLOOR))
    }

    fn after_walk(&mut self, cursor: u64, now: Time) -> Step {
        self.suspects.mark(now, cursor, self.sent, true);
        self.look();
        let end = if self.shared.stopped() { cursor } else { self.slice.end };
        if !self.shared.stopped() {
            self.counters().set_cursor(end);
        }
        if self.lap.pass == 0 && self.round == 0 {
            self.counters().set_walked(end);
        }
        self.leave_trail(now, end, true);
        self.report_probed();
        self.counters().enter(Phase::Spacing { pass: self.lap.pass });
        self.stage = Stage::Settle;
        Step::Until(now)
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
        if let Some(until) = self.unsettled(now) {
            return Step::Until(until);
        }
        if self.lap.vouchers == 0 && self.is_suspicious() {
            return self.begin_round(now);
        }
        self.finish();
        // The sender may go on at once.
        Step::Until(now)
    }

    /// Until when it has to be waited for answers to the last probe, or for the count of drops meanwhile. Looks again every
    /// so often, because the estimate changes with what comes in.
    fn unsettled(&self, now: Time) -> Option<Time> {
        if self.in_round == 0 && self.round == 0 {
            return None;
        }
        let wait = self.manner.cooldown.listening(self.shared.listening(self.lap.pass), self.all_answered());
        let due = self.last_sent + wait;
        let answered = (now < due).then(|| due.min(now + WAIT_FLOOR));
        // What is answered is not lost, whoever dropped it.
        let counted = self.all_answered() || self.shared.looked() >= due;
        self.shared.want_look(due);
        answered.or_else(|| (!counted).then(|| now + COUNTING))
    }

    fn finish(&mut self) {
        let known = load(&self.counters().doubtful);
        let doubtful = self.doubted + self.doubtful();
        // What a leg over all has probed again without drops is in doubt no more.
        if self.lap.vouchers == 0 {
            set(&self.counters().doubtful, if self.lap.all { doubtful } else { doubtful.max(known) });
        }
        self.stage = Stage::Idle;
        self.counters().suspects.lock().clone_from(&Ranges::default());
        self.counters().set_last_sent(self.last_sent);
        self.counters().set_done(self.lap.number);
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
