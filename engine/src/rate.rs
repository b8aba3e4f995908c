//! What the rate should be: the highest at which answers are not lost.
//!
//! Canaries (`canary.rs`) say which share of answers is lost at the rate at which they were sent. Loss by itself says
//! nothing of the rate: a wireless link loses one in ten at any. What counts is loss that grows with the rate. So rates
//! are compared: a *trial* sends at one rate until enough canaries were answered or lost, and is held against the records
//! of trials at lower rates, by a test of two proportions. What a narrow place lets through of a trial says how wide it
//! is: `rate x (1 - loss) / (1 - loss without it)`.
//!
//! ```text
//!           canaries             more is lost
//!  Blind ------------> Ramp -------------------> Hold <------+ kept, or more is lost: narrower
//!  (doubles up to      (doubles every trial)      |  ^       |
//!   10,000 a second)                       at times  |       |
//!                                                 v  | worse or not
//!                                        Up (a little more)  Down (half: was the loss ours all along?)
//! ```
//!
//! Silence is never loss, so without canaries nothing is known, and the rate stays moderate. Own drops (rings, device)
//! are certain, and lower the rate at once. A rate that the machine does not reach is not raised.
//!
//! Pure: times, counts and evidence come in as arguments.

use std::collections::VecDeque;
use std::time::Duration;

use crate::canary::{EPOCH, Epochs, epoch};
use crate::event::RateBound;
use crate::loss::{Evidence, Kind};
use crate::time::Time;

/// Where a scan begins: nothing on any network minds a thousand small packets a second.
const START: f64 = 1_000.0;
/// As far as it goes without evidence: quick on a LAN, and gentle on the routers in between.
const BLIND: f64 = 10_000.0;
/// How often the rate is doubled without evidence.
const BLIND_STEP: Duration = Duration::from_millis(100);
/// The least that a narrow place is believed to let through.
const FLOOR: f64 = 50.0;
/// Canaries that decide whether twice the rate loses more.
const FEW: f64 = 12.0;
/// Canaries that are waited for at most.
const MANY: f64 = 600.0;
/// Canaries between two looks while holding.
const LOOK: f64 = 30.0;
/// Standard deviations that are no chance: one trial of seven hundred is mistaken.
const SURE: f64 = 3.0;
/// Less than this is not worth slowing down for.
const TOLERANCE: f64 = 0.01;
/// Losses come in bursts.
const OVERDISPERSION: f64 = 1.5;
/// How far under the knee to stay.
const UNDER: f64 = 0.92;
/// The first step up, and the largest.
const STEP: (f64, f64) = (1.05, 2.0);
/// Seconds in which the loss of a step should be seen.
const IN_TIME: f64 = 1.0;
/// How long to hold before going up: at first, and at most.
const HOLD: (Duration, Duration) = (Duration::from_millis(1500), Duration::from_secs(15));
/// How often to see whether half the rate would lose less, where much is lost.
const DOWN_EVERY: Duration = Duration::from_secs(5);
const MUCH: f64 = 0.03;
const HALF: f64 = 0.5;
/// Rates that differ by less are the same.
const SAME: f64 = 0.02;
/// Records kept.
const RECORDS: usize = 64;
/// The time after a change of the rate that does not count: what waits in queues was sent before.
const SETTLING: u64 = 3;
/// After own drops, how long until the next ones lower the rate again: they are counted ten times a second.
const DROPS_EVERY: Duration = Duration::from_millis(250);

/// Controls a scan's rate.
#[derive(Debug)]
pub(crate) struct RateControl {
    bounds: (f64, f64),
    rate: f64,
    stage: Stage,
    trial: Trial,
    records: VecDeque<Record>,
    /// What was seen at the rate that is held, since it is.
    held: [Evidence; 2],
    step: f64,
    /// How much the narrow place lets through, once there was one.
    knee: Option<f64>,
    hold_for: Duration,
    last_down: Time,
    /// Own drops known of, when that was, and the probes sent until then.
    own: (u64, Time, u64),
    /// Epochs are ready for use up to this one.
    cleared: u64,
    /// Whether the machine did not send as fast as it was allowed to, by the last trial.
    held_up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Blind { since: Time },
    Ramp,
    Hold { until: Time },
    Up { from: f64 },
    Down { from: f64 },
}

/// What is going on at the present rate.
#[derive(Debug, Clone, Copy)]
struct Trial {
    /// The first epoch that counts and has not been counted yet, and what was seen before it.
    from: u64,
    seen: [Evidence; 2],
    began: Time,
    /// Probes sent before.
    sent: u64,
}

/// What was seen at a rate.
#[derive(Debug, Clone, Copy)]
struct Record {
    rate: f64,
    seen: [Evidence; 2],
}

/// What the controller is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) now: Time,
    pub(crate) epochs: &'a Epochs,
    /// Whether there are any canaries.
    pub(crate) canaries: bool,
    /// Within which a canary is answered, or lost.
    pub(crate) answer: Duration,
    /// Probes sent so far.
    pub(crate) sent: u64,
    /// Own drops so far.
    pub(crate) dropped: u64,
    /// The highest rate for now.
    pub(crate) most: f64,
}

impl RateControl {
    /// Stays within these bounds, in probes a second.
    pub(crate) fn new(min: f64, max: f64, now: Time) -> Self {
        let max = max.max(1.0);
        let bounds = (min.clamp(1.0, max), max);
        RateControl {
            bounds,
            rate: START.clamp(bounds.0, bounds.1),
            stage: Stage::Blind { since: now },
            trial: Trial { from: epoch(now), seen: Default::default(), began: now, sent: 0 },
            records: VecDeque::new(),
            held: Default::default(),
            step: STEP.0,
            knee: None,
            hold_for: HOLD.0,
            last_down: now,
            own: (0, now, 0),
            cleared: 0,
            held_up: false,
        }
    }

    /// The rate for now.
    #[cfg(test)]
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    /// When to look again.
    pub(crate) fn next(now: Time) -> Time {
        now + EPOCH
    }

    /// The rate as it stands, within this bound.
    pub(crate) fn within(&self, most: f64) -> f64 {
        self.rate.min(most.max(1.0))
    }

    /// What keeps it from being higher.
    pub(crate) fn bound(&self) -> RateBound {
        match self.stage {
            _ if self.rate >= self.bounds.1 => RateBound::Asked,
            Stage::Blind { .. } => RateBound::Blind,
            _ if self.held_up => RateBound::Machine,
            Stage::Ramp => RateBound::Growing,
            Stage::Hold { .. } | Stage::Up { .. } | Stage::Down { .. } if self.knee.is_some() => RateBound::Loss,
            Stage::Hold { .. } | Stage::Up { .. } | Stage::Down { .. } => RateBound::Growing,
        }
    }

    /// Looks at what became of the canaries, and sets the rate.
    pub(crate) fn look(&mut self, seen: &Seen<'_>) -> f64 {
        self.clear(seen);
        if !self.own_drops(seen) {
            self.judge(seen);
        }
        self.within(seen.most)
    }

    fn judge(&mut self, seen: &Seen<'_>) {
        if let Stage::Blind { since } = self.stage {
            return self.blind(since, seen);
        }
        let evidence = self.evidence(seen);
        let probes = pooled(&evidence).probes();
        match self.stage {
            Stage::Blind { .. } => {}
            Stage::Ramp if probes >= self.needed(2.0).max(self.at_first(&evidence)) => self.ramp(evidence, seen),
            Stage::Hold { until } if probes >= LOOK => self.hold(evidence, until, seen),
            Stage::Up { from } if probes >= self.needed(self.beyond(from)) => self.up(from, evidence, seen),
            Stage::Up { .. } if probes >= LOOK && self.is_worse(&evidence) => self.narrow(evidence, seen),
            Stage::Down { from } if probes >= self.needed(2.0) => self.down(from, evidence, seen),
            _ => {}
        }
    }

    /// Epochs are used over and over.
    fn clear(&mut self, seen: &Seen<'_>) {
        let ahead = epoch(seen.now) + 512;
        seen.epochs.clear(self.cleared.max(ahead.saturating_sub(1024)), ahead);
        self.cleared = self.cleared.max(ahead);
    }

    /// Drops of our own side are certain: less at once, by what was dropped, if that was while we sent. What is too much for
    /// this machine is more than the least that any can do.
    fn own_drops(&mut self, seen: &Seen<'_>) -> bool {
        let (known, at, sent) = self.own;
        if seen.now < at + DROPS_EVERY {
            return false;
        }
        let (dropped, probes) = (seen.dropped.saturating_sub(known) as f64, (seen.sent - sent) as f64);
        self.own = (seen.dropped, seen.now, seen.sent);
        let rate = probes / seen.now.since(at).as_secs_f64();
        if dropped <= 0.0 || self.rate <= START || rate < 0.3 * self.rate {
            return false;
        }
        let left = (1.0 - 2.0 * dropped / probes).clamp(0.5, 0.9);
        self.settle_at((self.rate.min(rate) * left).max(START), seen);
        true
    }

    fn blind(&mut self, since: Time, seen: &Seen<'_>) {
        if seen.canaries {
            self.try_at(self.rate, Stage::Ramp, seen);
        } else if seen.now >= since + BLIND_STEP && self.rate < BLIND {
            self.set((self.rate * 2.0).min(BLIND));
            self.stage = Stage::Blind { since: seen.now };
        }
    }

    fn ramp(&mut self, evidence: [Evidence; 2], seen: &Seen<'_>) {
        let (is_first, lost) = (self.records.is_empty(), pooled(&evidence).loss());
        self.held_up = self.is_held_up(seen);
        if !is_first && self.is_worse(&evidence) {
            return self.narrow(evidence, seen);
        }
        if is_first && lost > HALF && self.rate > 2.0 * FLOOR {
            // No way loses so much by itself.
            return self.try_at(self.rate / 2.0, Stage::Ramp, seen);
        }
        self.note(evidence, seen);
        if is_first && lost > MUCH {
            self.last_down = seen.now;
            return self.try_at(self.rate / 2.0, Stage::Down { from: self.rate }, seen);
        }
        if self.held_up {
            return self.try_at(self.rate, Stage::Ramp, seen);
        }
        if self.rate >= self.bounds.1.min(seen.most) {
            return self.settle_at(self.rate, seen);
        }
        self.try_at(self.rate * 2.0, Stage::Ramp, seen);
    }

    fn hold(&mut self, evidence: [Evidence; 2], until: Time, seen: &Seen<'_>) {
        let probes = pooled(&evidence).probes();
        self.held_up = self.is_held_up(seen);
        let all = [self.held[0] + evidence[0], self.held[1] + evidence[1]];
        if self.is_worse(&evidence) || self.is_worse(&all) {
            return self.narrow(evidence, seen);
        }
        self.held = all.map(bounded);
        let lost = pooled(&self.held).loss();
        if lost > MUCH && seen.now >= self.last_down + DOWN_EVERY {
            self.last_down = seen.now;
            self.note(self.held, seen);
            return self.try_at(self.rate / 2.0, Stage::Down { from: self.rate }, seen);
        }
        if self.rate < self.bounds.1.min(seen.most)
            && !self.held_up
            && let Some(higher) = self.higher(seen.now >= until, self.step(probes, seen))
        {
            self.note(self.held, seen);
            return self.try_at(higher, Stage::Up { from: self.rate }, seen);
        }
        // The same trial goes on.
        (self.trial.seen, self.trial.began, self.trial.sent) = (Default::default(), seen.now, seen.sent);
    }

    /// What to try next. Up to a knee that is known, at once; beyond it, to see whether it is still there, only after a
    /// while.
    fn higher(&self, has_waited: bool, step: f64) -> Option<f64> {
        match self.knee {
            Some(knee) if self.rate < knee * UNDER * UNDER => Some((self.rate * step).min(knee * UNDER)),
            Some(knee) => has_waited.then(|| (knee * step).max(self.rate * step)),
            None => has_waited.then_some(self.rate * step),
        }
    }

    /// The next step up: larger where canaries are so few that what a small one loses would take long to see.
    fn step(&self, probes: f64, seen: &Seen<'_>) -> f64 {
        let seconds = seen.now.since(self.trial.began).as_secs_f64().max(0.01);
        let in_time = |step: &f64| self.needed(*step) <= probes / seconds * IN_TIME;
        let steps = (1..=5).map(|power| STEP.0.powi(1 << (power - 1)).min(STEP.1));
        steps.filter(|step| *step >= self.step).find(in_time).unwrap_or(STEP.1)
    }

    fn up(&mut self, from: f64, evidence: [Evidence; 2], seen: &Seen<'_>) {
        if self.is_worse(&evidence) {
            let knee = self.found_knee(self.width(&evidence, seen));
            return self.settle_at((knee * UNDER).clamp(from * UNDER, self.rate * UNDER), seen);
        }
        self.note(evidence, seen);
        if self.knee.is_none_or(|knee| self.rate > knee) {
            (self.knee, self.hold_for) = (None, HOLD.0);
            self.step = (self.step * self.step).min(STEP.1);
        }
        self.held = Default::default();
        if self.is_held_up(seen) || self.rate >= self.bounds.1.min(seen.most) {
            return self.settle_at(self.rate, seen);
        }
        let step = self.step(pooled(&evidence).probes(), seen);
        match self.knee {
            None => self.try_at(self.rate * step, Stage::Up { from: self.rate }, seen),
            Some(_) => self.settle_at(self.rate, seen),
        }
    }

    /// Where the narrow place is, by all that has been seen of it. The surer that is, the longer before the next try.
    fn found_knee(&mut self, width: f64) -> f64 {
        let same = self.knee.filter(|knee| (0.8..1.25).contains(&(width / knee)));
        let knee = same.map_or(width, |knee| knee * 0.6 + width * 0.4);
        self.hold_for = same.map_or(HOLD.0, |_| (self.hold_for * 2).min(HOLD.1));
        (self.knee, self.step) = (Some(knee), STEP.0);
        knee
    }

    /// Half the rate: if it loses clearly less, the rate was too high all along.
    fn down(&mut self, from: f64, evidence: [Evidence; 2], seen: &Seen<'_>) {
        let above = self.records.iter().rev().find(|record| record.rate > self.rate * 1.5).copied();
        let less = above.is_some_and(|above| exceeds(pick(&above.seen, &evidence), pick(&evidence, &above.seen)));
        self.note(evidence, seen);
        if less {
            self.knee = None;
            self.records.retain(|record| record.rate <= self.rate * 1.1);
            self.hold_for = HOLD.0;
            return self.settle_at(self.rate, seen);
        }
        let is_early = self.records.len() <= 2;
        if is_early { self.try_at(from, Stage::Ramp, seen) } else { self.settle_at(from, seen) }
    }

    /// More is lost than should be: stays a little under what came through.
    fn narrow(&mut self, evidence: [Evidence; 2], seen: &Seen<'_>) {
        let knee = self.found_knee(self.width(&evidence, seen));
        self.records.retain(|record| record.rate <= knee * 1.1);
        self.settle_at((knee * UNDER).clamp(self.rate / 4.0, self.rate * UNDER), seen);
    }

    /// How wide the narrow place is, by what came through.
    fn width(&self, evidence: &[Evidence; 2], seen: &Seen<'_>) -> f64 {
        let (here, before) = self.against(evidence, 0.6);
        let through = (1.0 - here.loss()) / (1.0 - before.loss()).max(0.01);
        // A path that lets nothing through for a moment is not to be believed at once.
        self.reached(seen).min(self.rate) * through.clamp(0.25, 1.0)
    }

    /// Whether more is lost here than at lower rates, beyond chance.
    fn is_worse(&self, evidence: &[Evidence; 2]) -> bool {
        let share = if matches!(self.stage, Stage::Hold { .. }) { 1.02 } else { 0.98 };
        // Little by little, much is lost in the end: so the much lower rates count by themselves, too.
        [share, 0.3].into_iter().any(|share| {
            let (here, before) = self.against(evidence, share);
            exceeds(here, before)
        })
    }

    /// What was seen here, and at rates up to this share of the present one: the latest first, as much as is of use.
    fn against(&self, evidence: &[Evidence; 2], share: f64) -> (Evidence, Evidence) {
        let mut before = [Evidence::default(); 2];
        for record in self.records.iter().rev().filter(|record| record.rate <= self.rate * share) {
            before = [before[0] + record.seen[0], before[1] + record.seen[1]];
            if pooled(&before).probes() > MANY {
                break;
            }
        }
        (pick(evidence, &before), pick(&before, evidence))
    }

    /// By how much this rate is beyond what is known to be safe: the knee, if it is that.
    fn beyond(&self, from: f64) -> f64 {
        let safe = self.knee.map_or(from, |knee| if self.rate > knee { knee.max(from) } else { from });
        self.rate / safe
    }

    /// Canaries needed at the first rate, which all others are compared with: more where something is lost.
    fn at_first(&self, evidence: &[Evidence; 2]) -> f64 {
        match (self.records.is_empty(), pooled(evidence).loss() > MUCH) {
            (false, _) => 0.0,
            (true, false) => 2.0 * FEW,
            (true, true) => 8.0 * FEW,
        }
    }

    /// Canaries needed to see what a step of this factor would lose beyond a narrow place.
    fn needed(&self, factor: f64) -> f64 {
        let loss = self.records.back().map_or(0.0, |record| pooled(&record.seen).loss());
        let more = (1.0 - 1.0 / factor.max(1.01)) * (1.0 - loss).max(0.1);
        let spread = (loss + more / 2.0).min(0.5);
        (SURE * SURE * spread * (1.0 - spread) / (more * more)).clamp(FEW, MANY)
    }

    /// What canaries say of this trial: of those whose answers had their time.
    fn evidence(&mut self, seen: &Seen<'_>) -> [Evidence; 2] {
        let (from, until) = (self.trial.from, epoch(seen.now - seen.answer));
        if until > from {
            let more = Kind::ALL.map(|kind| seen.epochs.between(kind, from, until));
            self.trial.seen = [self.trial.seen[0] + more[0], self.trial.seen[1] + more[1]];
            self.trial.from = until;
        }
        self.trial.seen
    }

    /// What was seen says something of the rate that was reached.
    fn note(&mut self, evidence: [Evidence; 2], seen: &Seen<'_>) {
        let rate = self.rate.min(self.reached(seen).max(1.0));
        let mut seen = evidence;
        // What was seen at the same rate before belongs to it, but for what is long ago.
        if let Some(same) = self.records.iter().position(|record| (record.rate / rate - 1.0).abs() < SAME)
            && let Some(before) = self.records.remove(same)
        {
            seen = [seen[0] + before.seen[0], seen[1] + before.seen[1]].map(bounded);
        }
        self.records.push_back(Record { rate, seen });
        if self.records.len() > RECORDS {
            self.records.pop_front();
        }
    }

    /// The rate that was reached in this trial.
    fn reached(&self, seen: &Seen<'_>) -> f64 {
        let seconds = seen.now.since(self.trial.began).as_secs_f64();
        if seconds < 0.02 { self.rate } else { (seen.sent - self.trial.sent) as f64 / seconds }
    }

    /// Whether it is not the controller that limits the rate.
    fn is_held_up(&self, seen: &Seen<'_>) -> bool {
        self.reached(seen) < 0.7 * self.rate
    }

    fn settle_at(&mut self, rate: f64, seen: &Seen<'_>) {
        self.held = Default::default();
        self.try_at(rate, Stage::Hold { until: seen.now + self.hold_for }, seen);
    }

    fn try_at(&mut self, rate: f64, stage: Stage, seen: &Seen<'_>) {
        self.set(rate);
        self.stage = stage;
        let from = epoch(seen.now) + SETTLING;
        self.trial = Trial { from, seen: Default::default(), began: seen.now, sent: seen.sent };
    }

    fn set(&mut self, rate: f64) {
        let (min, max) = self.bounds;
        self.rate = rate.max(FLOOR).clamp(min, max);
    }
}

/// No more than is of use, so that what is new counts.
fn bounded(evidence: Evidence) -> Evidence {
    evidence.worth(evidence.probes().min(2.0 * MANY))
}

fn pooled(evidence: &[Evidence; 2]) -> Evidence {
    evidence[0] + evidence[1]
}

/// What is to be compared of one with the other: open ports alone where both have enough of them, for hosts limit what
/// they refuse.
fn pick(one: &[Evidence; 2], other: &[Evidence; 2]) -> Evidence {
    let open = Kind::Open as usize;
    let enough = |evidence: &[Evidence; 2]| evidence[open].probes() >= FEW / 2.0;
    if enough(one) && enough(other) { one[open] } else { pooled(one) }
}

/// Whether a share of lost ones is greater than another by more than chance explains.
fn exceeds(here: Evidence, before: Evidence) -> bool {
    let (n, m) = (here.probes(), before.probes());
    if n < 1.0 || m < 1.0 {
        return false;
    }
    let share = (before.lost + 0.5) / (m + 1.0);
    let variance = OVERDISPERSION * share * (1.0 - share) * (n + n * n / (m + 1.0));
    here.loss() - before.loss() > TOLERANCE && here.lost > n * share + SURE * variance.sqrt() + 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path: what share of what is sent at a rate, at a time, is lost.
    struct Path<'a> {
        lost: &'a dyn Fn(f64, f64) -> f64,
        /// Canaries for each probe.
        canaries: f64,
        limit: f64,
    }

    /// Plays a control against a path for so many seconds; (time, rate) every 10 ms.
    fn play(path: &Path<'_>, seconds: f64, seed: u64) -> Vec<(f64, f64)> {
        played(path, seconds, seed).0
    }

    /// The same, and what bounds the rate at each of these times.
    fn played(path: &Path<'_>, seconds: f64, seed: u64) -> (Vec<(f64, f64)>, Vec<RateBound>) {
        let epochs = Epochs::new();
        let mut control = RateControl::new(1.0, 1e9, Time::ZERO);
        let (mut state, mut owed, mut sent) = (seed, 0.0, 0.0);
        let mut draw = || crate::permute::splitmix64(&mut state) as f64 / u64::MAX as f64;
        let (mut rates, mut bounds) = (Vec::new(), Vec::new());
        for tick in 0..(seconds * 100.0) as u64 {
            let (now, time) = (Time(tick * 10_000_000), tick as f64 / 100.0);
            let canaries = tick > 20 && path.canaries > 0.0;
            let answer = Duration::from_millis(40);
            let most = f64::INFINITY;
            let told = Seen { now, epochs: &epochs, canaries, answer, sent: sent as u64, dropped: 0, most };
            let rate = control.look(&told).min(path.limit);
            sent += rate / 100.0;
            owed += if canaries { (rate / 100.0 * path.canaries).max(2.0) } else { 0.0 };
            while owed >= 1.0 {
                owed -= 1.0;
                epochs.sent(Kind::Open, now);
                if draw() >= (path.lost)(time, rate) {
                    epochs.answered(Kind::Open, now, now);
                }
            }
            rates.push((time, control.rate()));
            bounds.push(control.bound());
        }
        (rates, bounds)
    }

    fn narrow(width: f64, loss: f64) -> impl Fn(f64, f64) -> f64 {
        move |_, rate| 1.0 - (1.0 - loss) * (width / rate).min(1.0)
    }

    /// Mean of the rates in a span, and the share of what was sent in it that the path lost.
    fn span(path: &Path<'_>, rates: &[(f64, f64)], from: f64, to: f64) -> (f64, f64) {
        let within = || rates.iter().filter(|(time, _)| (from..to).contains(time));
        let sent: f64 = within().map(|(_, rate)| rate).sum();
        let lost: f64 = within().map(|(time, rate)| rate * (path.lost)(*time, *rate)).sum();
        (sent / within().count() as f64, lost / sent)
    }

    #[test]
    fn without_canaries_it_stays_moderate() {
        let path = Path { lost: &|_, _| 0.0, canaries: 0.0, limit: f64::INFINITY };
        assert_eq!(play(&path, 10.0, 1).last().unwrap().1, BLIND);
    }

    #[test]
    fn without_loss_it_grows_to_what_the_machine_can_do() {
        let path = Path { lost: &|_, _| 0.0, canaries: 0.01, limit: 1e6 };
        let rates = play(&path, 5.0, 1);
        assert!(rates[200].1 >= 5e5 && rates.last().unwrap().1 <= 4e6, "{:?}", rates.last());
    }

    #[test]
    fn what_bounds_it_is_told() {
        let lossless: &dyn Fn(f64, f64) -> f64 = &|_, _| 0.0;
        let narrow = narrow(50_000.0, 0.0);
        let bounds = |lost, canaries, limit, seconds| played(&Path { lost, canaries, limit }, seconds, 1).1;
        let bound = |lost, canaries, limit, seconds| bounds(lost, canaries, limit, seconds).pop().unwrap();
        assert_eq!(bound(lossless, 0.0, f64::INFINITY, 3.0), RateBound::Blind);
        assert_eq!(bound(lossless, 0.01, f64::INFINITY, 1.0), RateBound::Growing);
        assert_eq!(bound(lossless, 0.01, 1e5, 5.0), RateBound::Machine);
        let held = bounds(&narrow, 0.01, f64::INFINITY, 25.0).split_off(500);
        let by_loss = held.iter().filter(|bound| **bound == RateBound::Loss).count();
        assert!(by_loss * 4 > held.len() * 3, "{by_loss} of {}", held.len());
        let mut control = RateControl::new(1.0, START, Time::ZERO);
        assert_eq!((control.rate(), control.bound()), (START, RateBound::Asked));
        control.set(START / 2.0);
        assert_eq!(control.bound(), RateBound::Blind);
    }

    #[test]
    fn loss_that_does_not_come_from_the_rate_does_not_slow_it() {
        for (loss, seed) in [(0.02, 1), (0.1, 2), (0.19, 3), (0.19, 4), (0.19, 5)] {
            let path = Path { lost: &|_, _| loss, canaries: 0.01, limit: 1e6 };
            let rates = play(&path, 8.0, seed);
            let (mean, _) = span(&path, &rates, 4.0, 8.0);
            assert!(mean >= 3e5, "{loss}: {mean}");
        }
    }

    #[test]
    fn holds_just_under_the_knee() {
        for seed in 1..20 {
            for loss in [0.0, 0.02, 0.1] {
                let lost = narrow(50_000.0, loss);
                let path = Path { lost: &lost, canaries: 0.01, limit: f64::INFINITY };
                let rates = play(&path, 25.0, seed);
                let (mean, lost) = span(&path, &rates, 5.0, 25.0);
                let (most, least) = if loss == 0.0 { (0.012, 0.82) } else { (0.06, 0.65) };
                assert!(mean / 50_000.0 >= least && lost - loss < most, "{seed} {loss}: {mean} {lost}");
            }
        }
    }

    #[test]
    fn finds_the_knee_again() {
        for seed in 1..20 {
            let lost = |time: f64, rate: f64| narrow(if time < 8.0 { 50_000.0 } else { 12_500.0 }, 0.0)(time, rate);
            let path = Path { lost: &lost, canaries: 0.01, limit: f64::INFINITY };
            let rates = play(&path, 16.0, seed);
            let (after, lost) = span(&path, &rates, 11.0, 16.0);
            assert!(after <= 12_500.0 * 1.05 && lost < 0.08, "{seed}: {after} {lost}");
            assert!(after >= 12_500.0 * 0.7, "{seed}: {after}");
        }
    }

    #[test]
    fn a_path_that_widens_is_used() {
        let lost = |time: f64, rate: f64| narrow(if time < 6.0 { 20_000.0 } else { 200_000.0 }, 0.0)(time, rate);
        let path = Path { lost: &lost, canaries: 0.01, limit: f64::INFINITY };
        let rates = play(&path, 40.0, 1);
        let (mean, _) = span(&path, &rates, 30.0, 40.0);
        assert!(mean >= 140_000.0, "{mean}");
    }

    #[test]
    fn a_beginning_beyond_the_knee_is_left() {
        for seed in 1..10 {
            let lost = narrow(400.0, 0.0);
            let path = Path { lost: &lost, canaries: 0.1, limit: f64::INFINITY };
            let rates = play(&path, 30.0, seed);
            let (mean, lost) = span(&path, &rates, 20.0, 30.0);
            assert!(lost < 0.1, "{seed}: {mean} {lost}");
        }
    }

    #[test]
    fn own_drops_lower_it_at_once() {
        let epochs = Epochs::new();
        let mut control = RateControl::new(1.0, 1e9, Time::ZERO);
        let seen = |ms: u64, sent, dropped| Seen {
            now: Time(ms * 1_000_000),
            epochs: &epochs,
            canaries: false,
            answer: Duration::from_millis(40),
            sent,
            dropped,
            most: f64::INFINITY,
        };
        assert_eq!(control.look(&seen(500, 500, 0)), 2000.0);
        assert_eq!(control.look(&seen(1500, 2500, 700)), 1000.0);
        let mut control = RateControl::new(1.0, 1e9, Time::ZERO);
        for ms in [500, 600, 700] {
            control.look(&seen(ms, ms, 0));
        }
        assert_eq!(control.rate(), 8000.0);
        let few = control.look(&seen(1700, 8700, 7));
        assert!((6000.0..8000.0).contains(&few), "{few}");
        let idle = control.look(&seen(2700, 8701, 90));
        assert_eq!(idle, few, "what is dropped while nothing is sent says nothing of the rate");
    }

    #[test]
    fn bounds_are_kept() {
        let path = Path { lost: &|_, _| 0.99, canaries: 0.01, limit: f64::INFINITY };
        assert!(play(&path, 10.0, 1).iter().all(|(_, rate)| *rate >= 1.0));
        let epochs = Epochs::new();
        let mut control = RateControl::new(5_000.0, 6_000.0, Time::ZERO);
        assert_eq!(control.rate(), 5_000.0);
        let now = Time(1_000_000_000);
        let answer = Duration::from_millis(40);
        let seen = Seen { now, epochs: &epochs, canaries: false, answer, sent: 5_000, dropped: 0, most: 800.0 };
        assert_eq!(control.look(&seen), 800.0, "what a host may get is less still");
    }
}
