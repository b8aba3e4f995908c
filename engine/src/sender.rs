//! The sending half's lead: opens one stripe after the other, lets the walkers walk it, waits for late replies, has the
//! receiver close it.
//!
//! A state machine without clock, thread or socket: [`Sender::poll`] is told the time and says when it wants to be asked
//! again. What is sent within a stripe, and when, is `walker.rs`; what sender, walkers and receiver share, and how a
//! stripe goes from hand to hand, `counters.rs`.
//!
//! ```text
//! Begin --> Walking --> Cooldown --> Closing --> Begin (next stripe) or Done
//! ```

use std::sync::Arc;
use std::time::Duration;

use crate::counters::{Shared, Turn};
use crate::event::Phase;
use crate::permute::Stripe;
use crate::rtt::{WAIT_FLOOR, WAIT_UNHEARD};
use crate::target::Position;
use crate::time::Time;

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

impl Cooldown {
    /// How long to listen after the last probe, when an answer may take `wait`.
    pub(crate) fn listening(self, wait: Duration, all_answered: bool) -> Duration {
        match self {
            Cooldown::Fixed(time) => time,
            Cooldown::Auto if all_answered => WAIT_FLOOR,
            Cooldown::Auto => wait.max(WAIT_UNHEARD),
        }
    }
}

/// When a state machine wants to be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Not before this time, unless something changes.
    Until(Time),
    /// Never: it has nothing left to do.
    Done,
}

/// How soon to look again when it is the receiver's turn with the table.
const OTHERS_TURN: Duration = Duration::from_millis(1);

/// Leads a scan's walkers.
pub(crate) struct Sender {
    shared: Arc<Shared>,
    cooldown: Cooldown,
    targets: u64,
    /// Positions of a stripe.
    most: u64,
    stripe: Stripe,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Begin { from: u64 },
    Walking,
    Cooldown,
    Closing,
    Done,
}

impl Sender {
    /// For so many targets, in stripes of at most `most` positions.
    pub(crate) fn new(shared: Arc<Shared>, cooldown: Cooldown, targets: u64, most: u64) -> Self {
        let stripe = Stripe { start: Position(0), len: 0 };
        Sender { shared, cooldown, targets, most, stripe, stage: Stage::Begin { from: 0 } }
    }

    /// Does what is to be done now.
    pub(crate) fn poll(&mut self, now: Time) -> Step {
        if self.shared.aborted() {
            return self.finish();
        }
        match self.stage {
            Stage::Begin { from } => self.begin(from, now),
            Stage::Walking => self.follow(now),
            Stage::Cooldown => self.cool_down(now),
            Stage::Closing => self.next_stripe(now),
            Stage::Done => Step::Done,
        }
    }

    fn begin(&mut self, from: u64, now: Time) -> Step {
        let left = self.targets - from;
        if left == 0 || self.shared.stopped() {
            return self.finish();
        }
        self.stripe = Stripe { start: Position(from), len: left.min(self.most) };
        self.shared.open(self.stripe);
        self.shared.sender.follow_walkers();
        self.stage = Stage::Walking;
        Step::Until(now)
    }

    fn follow(&mut self, now: Time) -> Step {
        if !self.shared.walked_through() {
            return Step::Until(Time::NEVER);
        }
        self.stage = Stage::Cooldown;
        Step::Until(now)
    }

    /// From the last probe that any walker sent. Looks again every so often, because the estimate changes with what comes
    /// in.
    fn cool_down(&mut self, now: Time) -> Step {
        let all_answered = self.shared.next_silent(0).is_none();
        let end = self.shared.last_sent() + self.cooldown.listening(self.shared.wait(), all_answered);
        if now < end {
            return Step::Until(end.min(now + WAIT_FLOOR));
        }
        if self.shared.questions.is_busy() && !self.shared.stopped() {
            return Step::Until(now + WAIT_FLOOR);
        }
        self.shared.set_turn(Turn::Closing);
        self.stage = Stage::Closing;
        Step::Until(now)
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
}

#[cfg(test)]
mod tests;
