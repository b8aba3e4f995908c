//! A walker: walks its slice of each stripe pass by pass, hands probes to its links at its pace, waits where waiting is
//! due. A scan has one or several, which share the rate; each has sending halves of its own of every link.
//!
//! A state machine without clock, thread or socket: [`Walker::poll`] is told the time, puts probes into the links it is
//! given, and says when it wants to be asked again. It begins when the sender has opened a stripe, and says so when it is
//! done with its slice. What comes back is the receiver's; the two share the table (which targets have answered), the
//! send log and counters.
//!
//! ```text
//! Idle --> Pass 0 --> Pass 1 .. --> Cooldown --> Idle (until the next stripe)
//! ```

use std::io;
use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

use crate::counters::{Shared, Slice, Turn, WalkerCounters, add, set};
use crate::event::Phase;
use crate::link::{LinkTx, PATIENCE, TemplateId, TxLosses, stuck};
use crate::pace::{Pace, Rate};
use crate::permute::{Stripe, Walk};
use crate::rtt::WAIT_FLOOR;
use crate::sender::{Cooldown, Step};
use crate::target::Position;
use crate::time::Time;
use crate::work::{Fate, Work};

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

/// When the next probe is further away than this, links may rest: what it costs to wake one is less than to stay awake.
const REST: Duration = Duration::from_millis(50);

/// Sends the probes of its slices.
pub(crate) struct Walker {
    work: Arc<Work>,
    shared: Arc<Shared>,
    /// Which of the scan's walkers it is.
    number: usize,
    cooldown: Cooldown,
    pace: Pace,
    /// By egress, then by pass.
    templates: Vec<Vec<TemplateId>>,
    walk: Walk,
    /// The stripe that it walks or has walked, as the sender counts them.
    lap: u64,
    stripe: Stripe,
    slice: Slice,
    stage: Stage,
    last_sent: Time,
    /// Since when a batch waits to be sent; none while none does.
    stuck: Option<Time>,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Idle,
    Pass { pass: u8, cursor: u64, since: Time },
    Cooldown,
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
        let templates = work
            .paths
            .iter()
            .map(|path| (0..work.passes).map(|pass| links[path.link].prepare(&work.template(path, pass))).collect())
            .collect();
        Walker {
            work,
            shared,
            number,
            cooldown,
            pace: Pace::new(rate, batch, now),
            templates,
            walk: Walk::default(),
            lap: 0,
            stripe: Stripe { start: Position(0), len: 0 },
            slice: Slice::default(),
            stage: Stage::Idle,
            last_sent: now,
            stuck: None,
        }
    }

    /// Does what is to be done now.
    pub(crate) fn poll(&mut self, now: Time, links: &mut [Box<dyn LinkTx>]) -> Result<Step, Lost> {
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
            Stage::Pass { pass, cursor, since } => self.pass(pass, cursor, since, now, links),
            Stage::Cooldown => Ok(self.cool_down(now)),
        }
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
        self.begin_pass(0, now)
    }

    fn begin_pass(&mut self, pass: u8, now: Time) -> Step {
        self.counters().set_pass(pass);
        self.pace.restart(now);
        self.stage = Stage::Pass { pass, cursor: self.slice.start, since: now };
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
        add(&self.counters().sending, now.since(since).as_nanos() as u64);
        self.stage = Stage::Pass { pass, cursor, since: now };
        if self.shared.congested() && !self.shared.stopped() {
            self.flush(now, links)?;
            self.pace.restart(now);
            return Ok(Step::Until(now + READER_BEHIND));
        }
        let run = if self.shared.stopped() { Run::Stopped } else { self.run(pass, &mut cursor, now, links)? };
        let empty = self.flush(now, links)?;
        if pass == 0 {
            self.counters().set_walked(cursor);
        }
        self.stage = Stage::Pass { pass, cursor, since: now };
        if cursor > self.slice.start {
            self.counters().enter(Phase::Probing { pass });
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
                full = Some((link, tx.moves()));
            }
        }
        let Some((link, moves)) = full else {
            if self.stuck.take().is_some() {
                self.last_sent = now;
            }
            return Ok(true);
        };
        if moves {
            self.stuck = Some(now);
        }
        let since = *self.stuck.get_or_insert(now);
        if now.since(since) > PATIENCE { Err(Lost { link, source: stuck() }) } else { Ok(false) }
    }

    /// Sends as many probes of this pass as may leave now, and accounts for them.
    fn run(&mut self, pass: u8, cursor: &mut u64, now: Time, links: &mut [Box<dyn LinkTx>]) -> Result<Run, Lost> {
        let allowed = self.pace.allowance(now);
        let mut left = allowed;
        let run = self.send(pass, cursor, &mut left, now, links);
        if left < allowed {
            self.pace.spend(allowed - left);
            self.last_sent = now;
            add(&self.counters().sent[usize::from(pass)], allowed - left);
        }
        run
    }

    fn send(
        &mut self,
        pass: u8,
        cursor: &mut u64,
        left: &mut u64,
        now: Time,
        links: &mut [Box<dyn LinkTx>],
    ) -> Result<Run, Lost> {
        for _ in 0..LOOKED_AT {
            if *left == 0 {
                return Ok(Run::Spent);
            }
            let Some(offset) = self.next(pass, *cursor) else { return Ok(Run::Over) };
            if let Some(due) = self.due(pass, offset, now) {
                return Ok(Run::Early(due));
            }
            let index = self.walk.index(&self.work.permutation, self.stripe.position(offset));
            match &self.work.probe(index, pass) {
                Some(Fate::Send(out)) => {
                    if !has_room(links, out.link)? {
                        return Ok(Run::Full);
                    }
                    // Before the probe leaves: its answer may be there at once.
                    self.shared.log.note(pass, offset, now);
                    links[out.link].probe(self.templates[usize::from(out.egress.0)][usize::from(pass)], &out.probe);
                    *left -= 1;
                }
                _ if pass == 0 => add(&self.counters().skipped, 1),
                _ => {}
            }
            *cursor = offset + 1;
        }
        Ok(Run::Spent)
    }

    fn next(&self, pass: u8, cursor: u64) -> Option<u64> {
        if pass == 0 {
            return (cursor < self.slice.end).then_some(cursor);
        }
        self.shared.table.next_unanswered(cursor, self.slice.end)
    }

    /// When a position may be probed again, if that is not yet: not before an answer to the last probe had its time.
    fn due(&self, pass: u8, offset: u64, now: Time) -> Option<Time> {
        let last = self.shared.log.sent(pass.checked_sub(1)?, offset, now)?;
        let due = last + self.shared.wait();
        (due > now).then_some(due)
    }

    /// Waits for answers to the pass before. Looks again in between: once they are here the wait may be shorter.
    fn space(&mut self, pass: u8, due: Time, now: Time) -> Step {
        self.pace.restart(due);
        if let Stage::Pass { cursor, .. } = self.stage {
            self.stage = Stage::Pass { pass, cursor, since: due };
            if cursor == self.slice.start {
                self.counters().enter(Phase::Spacing { pass: pass - 1 });
            }
        }
        Step::Until(due.min(now + WAIT_FLOOR))
    }

    fn after_pass(&mut self, pass: u8, now: Time) -> Step {
        if pass + 1 < self.work.passes && !self.all_answered() {
            return self.begin_pass(pass + 1, now);
        }
        self.begin_cooldown(now)
    }

    fn all_answered(&self) -> bool {
        let walked = self.counters().walked_slice();
        self.shared.table.next_unanswered(walked.start, walked.end).is_none()
    }

    fn begin_cooldown(&mut self, now: Time) -> Step {
        self.counters().enter(Phase::Cooldown);
        self.stage = Stage::Cooldown;
        Step::Until(now)
    }

    /// Looks again every so often, because the estimate changes with what comes in.
    fn cool_down(&mut self, now: Time) -> Step {
        let end = self.last_sent + self.cooldown.listening(self.shared.wait(), self.all_answered());
        if now < end {
            return Step::Until(end.min(now + WAIT_FLOOR));
        }
        self.stage = Stage::Idle;
        self.counters().set_last_sent(self.last_sent);
        self.counters().set_done(self.lap);
        // The sender may go on at once.
        Step::Until(now)
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
