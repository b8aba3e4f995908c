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
use crate::link::{LinkTx, TemplateId};
use crate::pace::{Pace, Rate};
use crate::permute::Stripe;
use crate::rtt::WAIT_FLOOR;
use crate::time::Time;
use crate::work::{Fate, Work};

/// How long to listen after the last probe of a stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Cooldown {
    /// As long as an answer can still come by the measured round-trip times: srtt + 4 rttvar, at least 100 ms, at most
    /// 10 s; 1 s while nothing was heard; no longer than 100 ms once everything has answered.
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
    /// By egress, then by pass.
    templates: Vec<Vec<TemplateId>>,
    stripe: Stripe,
    most: u64,
    stage: Stage,
    last_sent: Time,
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
        let templates = work
            .paths
            .iter()
            .map(|path| (0..work.passes).map(|pass| links[path.link].prepare(&work.template(path, pass))).collect())
            .collect();
        let stripe = Stripe { start: crate::target::Position(0), len: 0 };
        let pace = Pace::new(rate, batch, now);
        let stage = Stage::Begin { from: 0 };
        Sender { work, shared, pace, cooldown, templates, stripe, most, stage, last_sent: now }
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
        if self.shared.stopped() {
            flush(links)?;
            return Ok(self.begin_cooldown(now));
        }
        if self.shared.congested() {
            flush(links)?;
            self.pace.restart(now);
            self.stage = Stage::Pass { pass, cursor, since: now };
            return Ok(Step::Until(now + OTHERS_TURN));
        }
        let run = self.run(pass, &mut cursor, now, links)?;
        flush(links)?;
        if pass == 0 {
            self.shared.set_walked(cursor);
        }
        self.stage = Stage::Pass { pass, cursor, since: now };
        if cursor > 0 {
            self.shared.sender.set_phase(Phase::Probing { pass });
        }
        Ok(match run {
            Run::Spent => Step::Until(self.pace.next(now)),
            Run::Full => Step::Until(now + QUEUE_FULL),
            Run::Early(due) => self.space(pass, due, now),
            Run::Over => self.after_pass(pass, now),
        })
    }

    /// Sends as many probes of this pass as may leave now.
    fn run(&mut self, pass: u8, cursor: &mut u64, now: Time, links: &mut [Box<dyn LinkTx>]) -> Result<Run, Lost> {
        let mut allowed = self.pace.allowance(now);
        for _ in 0..LOOKED_AT {
            if allowed == 0 {
                return Ok(Run::Spent);
            }
            let Some(offset) = self.next(pass, *cursor) else { return Ok(Run::Over) };
            if let Some(due) = self.due(pass, offset, now) {
                return Ok(Run::Early(due));
            }
            match self.work.probe(self.stripe.position(offset), pass) {
                Some(Fate::Send(out)) => {
                    if !has_room(links, out.link)? {
                        return Ok(Run::Full);
                    }
                    // Before the probe leaves: its answer may be there at once.
                    self.note(pass, offset, now);
                    links[out.link].probe(self.templates[usize::from(out.egress.0)][usize::from(pass)], &out.probe);
                    allowed -= 1;
                }
                _ if pass == 0 => add(&self.shared.sender.skipped, 1),
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

    fn note(&mut self, pass: u8, offset: u64, now: Time) {
        self.shared.log.note(pass, offset, now);
        self.pace.spend(1);
        self.last_sent = now;
        add(&self.shared.sender.sent[usize::from(pass)], 1);
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
            Cooldown::Auto => self.shared.wait(),
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
    if links[link].room() == 0 {
        links[link].flush().map_err(|source| Lost { link, source })?;
    }
    Ok(links[link].room() > 0)
}

fn flush(links: &mut [Box<dyn LinkTx>]) -> Result<(), Lost> {
    links.iter_mut().enumerate().try_for_each(|(link, tx)| tx.flush().map_err(|source| Lost { link, source }))
}
