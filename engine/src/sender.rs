//! The sending half's lead: opens one stripe after the other, has the walkers walk it leg by leg, sets their rate, and has
//! the receiver close it.
//!
//! A state machine without clock, thread or socket: [`Sender::poll`] is told the time and says when it wants to be asked
//! again. What is sent within a leg, and when, is `walker.rs`; which leg comes next, `passes.rs`; what the rate should be,
//! `rate.rs`; what sender, walkers and receiver share, and how a stripe goes from hand to hand, `counters.rs`.
//!
//! ```text
//! Begin --> Leg --> Leg .. --> Examining --> Closing --> Begin (next stripe) or Done
//! ```

use std::sync::Arc;
use std::time::Duration;

use crate::checkpoint::AtWork;
use crate::counters::{Shared, Turn, add};
use crate::event::{Phase, RateBound};
use crate::loss::Kind;
use crate::pace::{Pps, Rate};
use crate::passes::{Leg, Next, Passes, Walked};
use crate::permute::Stripe;
use crate::plan::Plan;
use crate::rate::{RateControl, Seen};
use crate::rtt::WAIT_FLOOR;
use crate::scan::Settings;
use crate::target::Position;
use crate::time::Time;

/// How long to listen after the last probe of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Cooldown {
    /// As long as an answer can still come by the round-trip times measured in each prefix: srtt + 4 rttvar and no less than
    /// the slowest answer took, at least 100 ms, at most 10 s; 1 s where a prefix was probed from which nothing was heard,
    /// for it may be further away than all that has answered. 100 ms once everything has answered.
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
            Cooldown::Auto => wait,
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

/// How a scan is led.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lead {
    pub(crate) rate: Rate,
    /// Bounds of a rate that is found while scanning.
    pub(crate) bounds: (u64, u64),
    /// The highest rate at which no host gets more in pass 0 than it may.
    pub(crate) most: u64,
    pub(crate) completeness: f64,
    pub(crate) passes: u8,
    pub(crate) targets: u64,
    /// Positions of a stripe.
    pub(crate) stripe: u64,
}

impl Lead {
    pub(crate) fn of(settings: &Settings, plan: &Plan) -> Lead {
        let bound = |bound: Option<Pps>, without| bound.map_or(without, |Pps(pps)| pps);
        Lead {
            rate: settings.rate,
            bounds: (bound(settings.min_rate, 1), bound(settings.max_rate, u64::MAX)),
            most: settings.host_cap(plan).map_or(u64::MAX, |cap| cap.for_all(plan)),
            completeness: settings.completeness,
            passes: settings.max_passes,
            targets: plan.len(),
            stripe: settings.cells(plan.len()),
        }
    }
}

/// Leads a scan's walkers.
pub(crate) struct Sender {
    shared: Arc<Shared>,
    lead: Lead,
    control: RateControl,
    passes: Passes,
    looked: Time,
    stripe: Stripe,
    /// Targets that were passed over in stripes before.
    skipped: u64,
    /// A stripe that was begun in another run.
    begun: Option<AtWork>,
    /// Seconds that another run has spent in the leg.
    earlier: f64,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Begin {
        from: u64,
    },
    /// The walkers walk since then, at no more than this rate.
    Leg {
        since: Time,
        most: f64,
    },
    /// All is probed; hosts are still being examined.
    Examining,
    Closing,
    Done,
}

impl Sender {
    /// Begins with the first stripe, or with one that was begun in another run.
    pub(crate) fn new(shared: Arc<Shared>, lead: Lead, begun: Option<AtWork>, now: Time) -> Self {
        let stripe = Stripe { start: Position(0), len: 0 };
        let (least, most) = (lead.bounds.0 as f64, lead.bounds.1 as f64);
        let mut passes = Passes::new(lead.completeness, lead.passes, &shared.ledger);
        passes.set_account(&shared.basis.lock().account);
        let from = begun.as_ref().map_or(0, |begun| begun.start);
        add(&shared.sender.begun, from);
        Sender {
            control: RateControl::new(least, most, now),
            passes,
            shared,
            lead,
            looked: now,
            stripe,
            skipped: 0,
            begun,
            earlier: 0.0,
            stage: Stage::Begin { from },
        }
    }

    /// Does what is to be done now.
    pub(crate) fn poll(&mut self, now: Time) -> Step {
        if self.shared.aborted() {
            return self.finish();
        }
        match self.stage {
            Stage::Begin { from } => self.begin(from, now),
            Stage::Leg { since, most } => self.follow(since, most, now),
            Stage::Examining => self.examine(now),
            Stage::Closing => self.next_stripe(now),
            Stage::Done => Step::Done,
        }
    }

    fn begin(&mut self, from: u64, now: Time) -> Step {
        let left = self.lead.targets - from;
        if left == 0 || self.shared.stopped() {
            return self.finish();
        }
        let begun = self.begun.take();
        let most = begun.as_ref().map_or(self.lead.stripe, |begun| begun.len);
        self.stripe = Stripe { start: Position(from), len: left.min(most) };
        self.skipped = self.shared.sum(|walker| &walker.skipped);
        self.shared.basis.lock().account = self.passes.account().clone();
        let shared = Arc::clone(&self.shared);
        // A stripe without a leg would be one that nothing is known of.
        let _shift = shared.shifting();
        shared.open(self.stripe, begun.as_ref());
        add(&self.shared.sender.begun, self.stripe.len);
        self.shared.sender.follow_walkers();
        match begun {
            Some(begun) => self.go_on(&begun, now),
            None => {
                let leg = self.passes.begin(&self.shared.ledger);
                self.start(&leg, self.stripe.len, self.lead.most as f64, now)
            }
        }
    }

    /// Begins with what is left of a leg.
    fn go_on(&mut self, begun: &AtWork, now: Time) -> Step {
        let rest: u64 = begun.leg.todo.iter().map(|(from, to)| to - from).sum();
        let walked = self.stripe.len.saturating_sub(rest);
        self.earlier = self.shared.basis.lock().past.as_ref().map_or(0.0, |past| past.seconds(walked));
        let groups = begun.leg.groups.as_ref();
        let groups = groups.map(|groups| groups.iter().map(|&group| group as usize).collect());
        let leg = Leg { pass: begun.leg.pass, groups, rate: begun.leg.most };
        let leg = self.passes.go_on(leg, &self.shared.ledger);
        let usual = if leg.pass == 0 { self.lead.most as f64 } else { f64::INFINITY };
        let most = leg.rate.map_or(usual, |rate| rate.min(usual));
        self.start(&leg, rest, most, now)
    }

    fn start(&mut self, leg: &Leg, expected: u64, most: f64, now: Time) -> Step {
        add(&self.shared.sender.planned, expected);
        self.shared.log.begin(leg.pass);
        self.stage = Stage::Leg { since: now, most };
        self.set_rate(most, now);
        self.shared.begin(leg.pass, leg.groups.as_deref(), most);
        Step::Until(now)
    }

    /// How many probes a later leg will take, about.
    fn expected(&self, leg: &Leg) -> u64 {
        let ledger = &self.shared.ledger;
        match &leg.groups {
            Some(groups) => groups.iter().map(|&group| ledger.silent(group)).sum::<u64>().min(self.shared.silent()),
            None => self.shared.silent(),
        }
    }

    fn follow(&mut self, since: Time, most: f64, now: Time) -> Step {
        if self.shared.walked_through() {
            return self.after_leg(since, now);
        }
        self.set_rate(most, now);
        if self.lead.rate == Rate::Auto { Step::Until(RateControl::next(now)) } else { Step::Until(Time::NEVER) }
    }

    fn set_rate(&mut self, most: f64, now: Time) {
        let shared = &self.shared;
        let rate = match self.lead.rate {
            Rate::Fixed(Pps(pps)) => pps.min(at_most(most)),
            Rate::Max => at_most(most),
            Rate::Auto if now < self.looked => at_most(self.control.within(most)),
            Rate::Auto => {
                self.looked = RateControl::next(now);
                let seen = Seen {
                    now,
                    epochs: &shared.canaries.epochs,
                    canaries: Kind::ALL.into_iter().any(|kind| shared.canaries.len(kind) > 0),
                    answer: shared.answer(),
                    sent: shared.total_sent(),
                    dropped: shared.dropped(),
                    most,
                };
                at_most(self.control.look(&seen))
            }
        };
        shared.set_rate(rate.max(1));
        shared.sender.set_bound(self.bound(rate, most));
    }

    /// What keeps a rate from being higher.
    fn bound(&self, rate: u64, most: f64) -> RateBound {
        match self.lead.rate {
            _ if rate >= at_most(most) && most < self.lead.most as f64 => RateBound::Rationing,
            Rate::Fixed(Pps(pps)) if rate < pps => RateBound::Hosts,
            Rate::Fixed(_) => RateBound::Asked,
            Rate::Max if rate < u64::MAX => RateBound::Hosts,
            Rate::Max => RateBound::Machine,
            Rate::Auto if rate >= at_most(most) => RateBound::Hosts,
            Rate::Auto => self.control.bound(),
        }
    }

    fn after_leg(&mut self, since: Time, now: Time) -> Step {
        let walked = Walked {
            began: since - Duration::from_secs_f64(std::mem::take(&mut self.earlier)),
            ended: self.shared.last_sent(),
            rate: self.shared.rate() as f64,
            unanswered: self.shared.silent().saturating_sub(self.skipped()),
            canaries: self.shared.canaries.rate(),
        };
        let ledger = &self.shared.ledger;
        let next = if self.shared.stopped() { self.passes.stop(ledger) } else { self.passes.next(walked, ledger) };
        match next {
            Next::Leg(leg) => self.start(&leg, self.expected(&leg), leg.rate.unwrap_or(f64::INFINITY), now),
            Next::Vouch(canaries) => {
                self.stage = Stage::Leg { since: now, most: f64::INFINITY };
                self.shared.vouch(canaries);
                Step::Until(now)
            }
            Next::End(_) if self.shared.suspended() => self.finish(),
            Next::End(_) => {
                self.stage = Stage::Examining;
                self.examine(now)
            }
        }
    }

    /// Waits for what the control ports of questionable hosts say.
    fn examine(&mut self, now: Time) -> Step {
        if self.shared.questions.is_busy() && !self.shared.stopped() {
            return Step::Until(now + WAIT_FLOOR);
        }
        self.shared.set_turn(Turn::Closing);
        self.stage = Stage::Closing;
        Step::Until(now)
    }

    /// Targets of this stripe that are passed over, because their hosts are down.
    fn skipped(&self) -> u64 {
        self.shared.sum(|walker| &walker.skipped) - self.skipped
    }

    fn next_stripe(&mut self, now: Time) -> Step {
        if self.shared.turn() != Turn::Closed {
            return Step::Until(now + OTHERS_TURN);
        }
        self.shared.basis.lock().account = self.passes.account().clone();
        self.stage = Stage::Begin { from: self.stripe.start.0 + self.stripe.len };
        Step::Until(now)
    }

    fn finish(&mut self) -> Step {
        self.shared.set_completeness(self.passes.completeness(&self.shared.ledger));
        self.shared.sender.set_phase(Phase::Done);
        self.shared.set_turn(Turn::Done);
        self.stage = Stage::Done;
        Step::Done
    }
}

/// As a whole number of probes a second; no bound stays none.
fn at_most(rate: f64) -> u64 {
    if rate >= u64::MAX as f64 { u64::MAX } else { rate as u64 }
}

#[cfg(test)]
mod tests;
