//! Loss, measured: how many of the probes that would have been answered were not, and how many answers are still missing.
//!
//! Silence is never loss. Two things are evidence:
//! - *Later answers.* A target that answers the probe of pass p+1 and did not answer that of pass p lost one.
//! - *Canaries.* A target that has answered is probed again (`canary.rs`); when that is not answered, it was lost.
//!
//! (The third source, what our own side dropped, is probed again at once and never becomes silence: `suspects.rs`.)
//!
//! [`Ledger`] is where receiver and walkers write the evidence down, by prefix. [`Evidence`] is a sum of it, as counts of
//! probes that were answered and that were lost, and says what the loss of a probe is: Beta-distributed, from a prior that is
//! worth few probes. [`Missing`] is how many targets of a kind have not answered yet and would: with `x` answers to the
//! last pass and a loss of `l` in it, `x l / (1 - l)` are expected to be left (negative binomial: `x` successes have been
//! seen, the failures before them have not). Its variance has two parts, chance and what is not known of `l`.
//!
//! Open and closed are counted apart: hosts limit their RSTs, and a RST that was never sent is no loss of the way.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::counters::MAX_PASSES;
use crate::prefix::Groups;
use crate::rtt::WAIT_UNHEARD;

/// The kinds of answers that a probe can lose. ICMP errors are none: they come from elsewhere, and are rationed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Open = 0,
    Closed = 1,
}

impl Kind {
    pub(crate) const ALL: [Kind; 2] = [Kind::Open, Kind::Closed];
}

/// What has been seen of the open stripe, by prefix. Answers and times are the receiver's to write, probes the walkers';
/// between two passes all of it is the sender's. `Relaxed` throughout: counts publish nothing but themselves.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) groups: Groups,
    /// First answers by kind, by the pass whose probe they answer, by group.
    answers: [Box<[Box<[AtomicU32]>]>; 2],
    /// Targets that pass 0 has probed, by group.
    targets: Box<[AtomicU64]>,
    /// Targets whose first answer was an ICMP error, by group.
    errors: Box<[AtomicU32]>,
    /// The passes that probed a group, as bits.
    passes: Box<[AtomicU16]>,
    /// Canaries by kind, by group: sent, and answered. Over all stripes.
    canaries: [[Box<[AtomicU32]>; 2]; 2],
    /// Milliseconds that an answer may take, by network; 0 while none was heard.
    waits: Box<[AtomicU32]>,
}

fn zeros(n: usize) -> Box<[AtomicU32]> {
    (0..n).map(|_| AtomicU32::new(0)).collect()
}

fn load(count: &AtomicU32) -> u64 {
    count.load(Ordering::Relaxed).into()
}

/// Adds one to a count that only the caller writes.
#[inline]
fn count(count: &AtomicU32) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

impl Ledger {
    /// For so many passes.
    pub(crate) fn new(groups: impl Into<Groups>, passes: u8) -> Self {
        let all: Groups = groups.into();
        let groups = all.prefixes.len();
        let by_pass = || (0..passes.min(MAX_PASSES)).map(|_| zeros(groups)).collect();
        Ledger {
            waits: zeros(all.networks.len()),
            groups: all,
            answers: [by_pass(), by_pass()],
            targets: (0..groups).map(|_| AtomicU64::new(0)).collect(),
            errors: zeros(groups),
            passes: (0..groups).map(|_| AtomicU16::new(0)).collect(),
            canaries: [[zeros(groups), zeros(groups)], [zeros(groups), zeros(groups)]],
        }
    }

    /// Groups.
    pub(crate) fn len(&self) -> usize {
        self.targets.len()
    }

    /// Begins a stripe; the sender's, while nobody else writes. Canaries and times go on.
    pub(crate) fn reset(&self) {
        let answers = self.answers.iter().flatten().flat_map(|counts| counts.iter());
        answers.chain(&self.errors).for_each(|count| count.store(0, Ordering::Relaxed));
        self.targets.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        self.passes.iter().for_each(|passes| passes.store(0, Ordering::Relaxed));
    }

    /// The receiver's: a target of this group has answered for the first time, the probe of this pass.
    #[inline]
    pub(crate) fn answered(&self, kind: Kind, pass: u8, group: usize) {
        if let Some(counts) = self.answers[kind as usize].get(usize::from(pass)) {
            count(&counts[group]);
        }
    }

    /// The receiver's: the first answer of a target of this group is an ICMP error.
    pub(crate) fn error(&self, group: usize) {
        count(&self.errors[group]);
    }

    /// A walker's, at the end of its part of pass 0: so many targets were probed.
    pub(crate) fn probed(&self, group: usize, targets: u64) {
        self.targets[group].fetch_add(targets, Ordering::Relaxed);
    }

    /// The sender's: a pass probes this group.
    pub(crate) fn enter(&self, group: usize, pass: u8) {
        self.passes[group].fetch_or(1 << pass, Ordering::Relaxed);
    }

    /// A walker's: a canary of this group was sent.
    pub(crate) fn canary_sent(&self, kind: Kind, group: usize) {
        self.canaries[kind as usize][0][group].fetch_add(1, Ordering::Relaxed);
    }

    /// The receiver's: it was answered.
    pub(crate) fn canary_answered(&self, kind: Kind, group: usize) {
        count(&self.canaries[kind as usize][1][group]);
    }

    /// The receiver's: how long an answer from this network may take.
    #[inline]
    pub(crate) fn set_wait(&self, network: usize, wait: Duration) {
        self.waits[network].store((wait.as_millis() as u32).max(1), Ordering::Relaxed);
    }

    /// Whether a round-trip time from this network is known.
    #[inline]
    pub(crate) fn is_heard(&self, network: usize) -> bool {
        load(&self.waits[network]) > 0
    }

    /// How long to wait for answers to the last probes of a pass: as long as one from any group that was probed in it may
    /// take. What lies where nothing was heard from may be further away than all that has been.
    pub(crate) fn listening(&self, pass: u8, scan: Duration) -> Duration {
        let probed = |group: &usize| self.took(*group, pass) && self.probed_targets(*group) > 0;
        let waits = (0..self.len()).filter(probed).map(|group| self.wait(group).unwrap_or(scan.max(WAIT_UNHEARD)));
        waits.max().unwrap_or(scan)
    }

    fn wait(&self, group: usize) -> Option<Duration> {
        let wait = load(&self.waits[self.groups.network_of(group)]);
        (wait > 0).then(|| Duration::from_millis(wait))
    }

    pub(crate) fn took(&self, group: usize, pass: u8) -> bool {
        self.passes[group].load(Ordering::Relaxed) >> pass & 1 == 1
    }

    /// How often each silent target of this group has been probed.
    pub(crate) fn probes(&self, group: usize) -> u8 {
        self.passes[group].load(Ordering::Relaxed).count_ones() as u8
    }

    pub(crate) fn probed_targets(&self, group: usize) -> u64 {
        self.targets[group].load(Ordering::Relaxed)
    }

    /// Targets of this group that have answered.
    pub(crate) fn found(&self, kind: Kind, group: usize) -> u64 {
        self.answers[kind as usize].iter().map(|counts| load(&counts[group])).sum()
    }

    /// Targets of this group that drew an ICMP error.
    pub(crate) fn errors(&self, group: usize) -> u64 {
        load(&self.errors[group])
    }

    /// Targets of this group that drew nothing.
    pub(crate) fn silent(&self, group: usize) -> u64 {
        let found: u64 = Kind::ALL.into_iter().map(|kind| self.found(kind, group)).sum();
        self.probed_targets(group).saturating_sub(found + self.errors(group))
    }

    /// The last pass that probed this group.
    pub(crate) fn last_pass(&self, group: usize) -> Option<u32> {
        self.passes[group].load(Ordering::Relaxed).checked_ilog2()
    }

    /// Answers to the last pass that probed this group.
    pub(crate) fn last(&self, kind: Kind, group: usize) -> u64 {
        let passes = self.passes[group].load(Ordering::Relaxed);
        let last = passes.checked_ilog2().and_then(|last| self.answers[kind as usize].get(last as usize));
        last.map_or(0, |counts| load(&counts[group]))
    }

    /// What later answers say of a group: an answer to pass p counts as answered there, and as lost in every pass before
    /// it that probed the group.
    pub(crate) fn later_answers(&self, kind: Kind, group: usize) -> Evidence {
        let passes = self.passes[group].load(Ordering::Relaxed);
        let mut evidence = Evidence::default();
        let mut probes = 0u64;
        let last = passes.checked_ilog2().unwrap_or(0);
        for (pass, counts) in self.answers[kind as usize].iter().enumerate() {
            if passes >> pass & 1 == 0 {
                continue;
            }
            let answers = load(&counts[group]) as f64;
            evidence.lost += answers * probes as f64;
            // The last pass has nothing after it that would say what it lost.
            if pass < last as usize {
                evidence.answered += answers;
            }
            probes += 1;
        }
        evidence
    }

    /// What canaries say of a group, so far.
    pub(crate) fn canaries(&self, kind: Kind, group: usize) -> Evidence {
        let [sent, answered] = &self.canaries[kind as usize];
        let (sent, answered) = (load(&sent[group]), load(&answered[group]));
        Evidence { answered: answered.min(sent) as f64, lost: sent.saturating_sub(answered) as f64 }
    }
}

/// What the ledger holds of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) group: u32,
    pub(crate) targets: u64,
    pub(crate) errors: u32,
    pub(crate) passes: u16,
    /// By kind, by pass.
    pub(crate) answers: [Vec<u32>; 2],
    /// By kind: sent, answered.
    pub(crate) canaries: [[u32; 2]; 2],
}

impl Ledger {
    /// All that is written down, group by group.
    pub(crate) fn rows(&self) -> Vec<Row> {
        (0..self.len()).map(|group| self.row(group)).filter(|row| row.passes != 0 || row.targets != 0).collect()
    }

    fn row(&self, group: usize) -> Row {
        let get = |count: &AtomicU32| count.load(Ordering::Relaxed);
        let answers = |kind: usize| {
            let mut counts: Vec<u32> = self.answers[kind].iter().map(|counts| get(&counts[group])).collect();
            counts.truncate(counts.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1));
            counts
        };
        Row {
            group: group as u32,
            targets: self.targets[group].load(Ordering::Relaxed),
            errors: get(&self.errors[group]),
            passes: self.passes[group].load(Ordering::Relaxed),
            answers: [answers(0), answers(1)],
            canaries: [0, 1].map(|kind: usize| [0, 1].map(|which: usize| get(&self.canaries[kind][which][group]))),
        }
    }

    /// Writes down what was read from another ledger for the same plan, passes up to this one; the sender's, at the
    /// beginning of a stripe.
    pub(crate) fn restore(&self, rows: &[Row], pass: u8) {
        for row in rows {
            let group = row.group as usize;
            let Some(targets) = self.targets.get(group) else { continue };
            targets.store(row.targets, Ordering::Relaxed);
            self.errors[group].store(row.errors, Ordering::Relaxed);
            // A pass that is being planned has been entered already.
            self.passes[group].store(row.passes & (((2u32 << pass) - 1) as u16), Ordering::Relaxed);
            for kind in 0..2 {
                let answers = self.answers[kind].iter().zip(&row.answers[kind]);
                answers.for_each(|(counts, &count)| counts[group].store(count, Ordering::Relaxed));
                let canaries = self.canaries[kind].iter().zip(row.canaries[kind]);
                canaries.for_each(|(counts, count)| counts[group].store(count, Ordering::Relaxed));
            }
        }
    }
}

/// Probes to targets that answer: how many were answered, and how many were lost, on the way there or back.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Evidence {
    pub(crate) answered: f64,
    pub(crate) lost: f64,
}

/// What is assumed of a network of which nothing is known yet, as if so many probes had been answered and lost: it loses
/// one in fifty. Enough to have a few silent ports asked twice, little enough to be outweighed by any real evidence; and
/// it gives way with every loss that is seen.
const PRIOR: Evidence = Evidence { answered: 24.5, lost: 0.5 };

/// How much more the counts vary than if every loss were one by itself: losses come in bursts, and networks change.
const OVERDISPERSION: f64 = 2.0;

impl std::ops::Add for Evidence {
    type Output = Evidence;

    fn add(self, other: Evidence) -> Evidence {
        Evidence { answered: self.answered + other.answered, lost: self.lost + other.lost }
    }
}

impl std::iter::Sum for Evidence {
    fn sum<I: Iterator<Item = Evidence>>(evidence: I) -> Evidence {
        evidence.fold(Evidence::default(), |sum, more| sum + more)
    }
}

impl Evidence {
    pub(crate) fn probes(self) -> f64 {
        self.answered + self.lost
    }

    /// What has come since then.
    pub(crate) fn since(self, then: Evidence) -> Evidence {
        Evidence { answered: (self.answered - then.answered).max(0.0), lost: (self.lost - then.lost).max(0.0) }
    }

    /// Together with what is assumed beforehand.
    pub(crate) fn with_prior(self) -> Evidence {
        self + Evidence { answered: PRIOR.answered / (1.0 + self.lost), lost: PRIOR.lost }
    }

    /// The same shares, as if from so many probes.
    pub(crate) fn worth(self, probes: f64) -> Evidence {
        let share = if self.probes() > 0.0 { probes / self.probes() } else { 0.0 };
        Evidence { answered: self.answered * share, lost: self.lost * share }
    }

    /// The same shares, as if from no more probes than so many.
    pub(crate) fn at_most(self, probes: f64) -> Evidence {
        self.worth(probes.min(self.probes()))
    }

    /// The loss of a probe.
    pub(crate) fn loss(self) -> f64 {
        if self.probes() > 0.0 { self.lost / self.probes() } else { 0.0 }
    }

    /// Mean and variance of `l / (1 - l)`, the lost probes for each answered one, where `l` is Beta(lost, answered).
    fn odds(self) -> (f64, f64) {
        let (a, b) = (self.lost, self.answered.max(3.0));
        let mean = a / (b - 1.0);
        let square = a * (a + 1.0) / ((b - 1.0) * (b - 2.0));
        (mean, (square - mean * mean).max(0.0))
    }

    /// The loss of a probe with its 95 % interval.
    pub(crate) fn interval(self) -> Interval {
        let (n, mean) = (self.probes(), self.loss());
        // Around Jeffreys' estimate: none lost of seven is not none.
        let middle = (self.lost + 0.5) / (n + 1.0);
        let deviation = (OVERDISPERSION * middle * (1.0 - middle) / (n + 2.0)).sqrt();
        Interval {
            expected: mean,
            low: (middle - 1.96 * deviation).clamp(0.0, mean),
            high: (middle + 1.96 * deviation).clamp(mean, 1.0),
        }
    }
}

/// An estimate, with a 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Interval {
    /// The expected value.
    pub expected: f64,
    /// The truth is smaller in one case of forty.
    pub low: f64,
    /// The truth is greater in one case of forty.
    pub high: f64,
}

impl Interval {
    /// Whether it holds this value.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// How many targets have not answered yet and would: mean and variance.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Missing {
    pub(crate) mean: f64,
    pub(crate) variance: f64,
    /// The least that the upper end of the interval is, whatever these say.
    pub(crate) least_high: f64,
}

impl std::ops::Add for Missing {
    type Output = Missing;

    fn add(self, other: Missing) -> Missing {
        Missing {
            mean: self.mean + other.mean,
            variance: self.variance + other.variance,
            least_high: self.least_high.max(other.least_high),
        }
    }
}

impl Missing {
    /// The mean after a pass that so many targets answered, when this is known of its loss.
    pub(crate) fn mean_after(last: f64, evidence: Evidence) -> f64 {
        last * evidence.odds().0
    }

    /// Of this mean, when it was estimated from this evidence.
    pub(crate) fn scaled(mean: f64, evidence: Evidence) -> Missing {
        let (odds, spread) = evidence.odds();
        let relative = if odds > 0.0 { spread / (odds * odds) } else { 0.0 };
        Missing { mean, variance: OVERDISPERSION * mean * (1.0 + odds) + mean * mean * relative, least_high: 0.0 }
    }

    /// With a 95 % interval of whole targets: that of the negative binomial distribution of this mean and variance.
    pub(crate) fn interval(self) -> Interval {
        let (low, high) = (self.quantile(0.025), self.quantile(0.975));
        Interval { expected: self.mean, low: low.min(self.mean), high: high.max(self.mean).max(self.least_high) }
    }

    /// The least number of which it is that likely that no more are missing. What is missing in clusters is the less often
    /// missing at all; whether it is, is not known, so an upper end is no less than for single ones.
    pub(crate) fn quantile(self, share: f64) -> f64 {
        let clustered = self.quantile_of(self.variance, share);
        if share < 0.5 { clustered } else { clustered.max(self.quantile_of(self.mean, share)) }
    }

    /// The same for this variance.
    fn quantile_of(self, variance: f64, share: f64) -> f64 {
        let mean = self.mean;
        if mean <= 0.0 {
            return 0.0;
        }
        if mean > NORMAL {
            let deviations = if share < 0.5 { -1.96 } else { 1.96 };
            return (mean + deviations * variance.sqrt()).max(0.0).round();
        }
        // Variance = mean + mean^2 / r.
        let r = mean * mean / (variance - mean).max(mean * 1e-6);
        let step = mean / (mean + r);
        let mut probability = (r * (1.0 - step).ln()).exp();
        let (mut sum, mut k) = (probability, 0.0);
        while sum < share && k < MOST_TERMS {
            probability *= (k + r) / (k + 1.0) * step;
            sum += probability;
            k += 1.0;
        }
        k
    }
}

/// Beyond this mean the distribution is as good as normal.
const NORMAL: f64 = 500.0;
const MOST_TERMS: f64 = 1e5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefix::Prefixes;

    fn evidence(answered: f64, lost: f64) -> Evidence {
        Evidence { answered, lost }
    }

    fn after(last: f64, evidence: Evidence) -> Missing {
        let known = evidence.with_prior();
        Missing::scaled(Missing::mean_after(last + 0.5, known), known)
    }

    /// 1000 targets, half of each pass's probes lost, three passes.
    #[test]
    fn later_answers_are_losses_of_the_passes_before() {
        let ledger = Ledger::new(Prefixes::new(1), 4);
        for (pass, answers) in [(0, 500), (1, 250), (2, 125)] {
            ledger.enter(0, pass);
            (0..answers).for_each(|_| ledger.answered(Kind::Open, pass, 0));
        }
        // Pass 0: 500 answered, 375 lost; pass 1: 250 answered, 125 lost.
        assert_eq!(ledger.later_answers(Kind::Open, 0), evidence(750.0, 500.0));
        assert_eq!(ledger.later_answers(Kind::Closed, 0), evidence(0.0, 0.0));
        assert_eq!((ledger.found(Kind::Open, 0), ledger.last(Kind::Open, 0), ledger.probes(0)), (875, 125, 3));
        ledger.reset();
        assert_eq!((ledger.found(Kind::Open, 0), ledger.probes(0)), (0, 0));
    }

    #[test]
    fn passes_that_left_a_group_out_lost_nothing_there() {
        let ledger = Ledger::new(Prefixes::new(1), 4);
        [0, 2].into_iter().for_each(|pass| ledger.enter(0, pass));
        (0..9).for_each(|_| ledger.answered(Kind::Closed, 0, 0));
        ledger.answered(Kind::Closed, 2, 0);
        assert_eq!(ledger.later_answers(Kind::Closed, 0), evidence(9.0, 1.0));
    }

    #[test]
    fn waits_for_the_slowest_that_was_probed() {
        let ledger = Ledger::new(Prefixes::new(4), 4);
        let scan = Duration::from_millis(150);
        assert_eq!(ledger.listening(0, scan), scan, "nothing was probed");
        for (group, ms) in [(0, 100), (1, 300), (2, 5000)] {
            ledger.set_wait(group, Duration::from_millis(ms));
            ledger.probed(group, 1);
        }
        [0, 1].into_iter().for_each(|group| ledger.enter(group, 0));
        assert_eq!(ledger.listening(0, scan), Duration::from_millis(300));
        ledger.enter(3, 0);
        ledger.probed(3, 1);
        assert_eq!(ledger.listening(0, scan), WAIT_UNHEARD);
    }

    #[test]
    fn nothing_lost_and_much_answered_leaves_nothing_missing() {
        let missing = after(5000.0, evidence(1e5, 0.0));
        assert!(missing.mean < 0.05 && missing.quantile(0.975) < 1.0, "{missing:?}");
    }

    /// Truth by simulation: targets answer with probability 1 - l each pass; how many are left after the last?
    #[test]
    fn intervals_hold_the_truth() {
        let mut state = 1u64;
        let mut draw = || crate::permute::splitmix64(&mut state) as f64 / u64::MAX as f64;
        for (targets, loss, passes) in [(100, 0.2, 1), (100, 0.2, 3), (2000, 0.02, 2), (2000, 0.3, 2), (20, 0.1, 2)] {
            let mut held = 0;
            for _ in 0..400 {
                let (mut left, mut seen, mut last) = (targets, Evidence::default(), 0);
                for _ in 0..passes {
                    last = (0..left).filter(|_| draw() >= loss).count();
                    left -= last;
                }
                // Canaries: two hundred.
                let lost = (0..200).filter(|_| draw() < loss).count() as f64;
                seen = seen + evidence(200.0 - lost, lost);
                let interval = after(last as f64, seen).interval();
                held += usize::from(interval.contains(left as f64));
            }
            assert!(held >= 380, "{targets} {loss} {passes}: {held} of 400");
        }
    }

    #[test]
    fn quantiles_are_those_of_known_distributions() {
        // Poisson with mean 3: P(<= 6) = 0.9665, P(<= 7) = 0.988; P(<= 0) = 0.0498.
        let poisson = Missing { mean: 3.0, variance: 3.0, least_high: 0.0 };
        assert_eq!((poisson.quantile(0.975), poisson.quantile(0.025)), (7.0, 0.0));
        // Geometric with mean 1: P(<= k) = 1 - 2^-(k+1).
        let geometric = Missing { mean: 1.0, variance: 2.0, least_high: 0.0 };
        assert_eq!(geometric.quantile(0.975), 5.0);
        let large = Missing { mean: 1e6, variance: 1e6, least_high: 0.0 };
        assert_eq!(large.quantile(0.975), 1_001_960.0);
    }

    #[test]
    fn clusters_do_not_make_nothing_missing_more_certain() {
        // Poisson with mean 0.03: P(0) = 0.9704; in clusters, P(0) is higher, and whether there are any is not known.
        for variance in [0.03, 0.06, 0.3] {
            let rare = Missing { mean: 0.03, variance, least_high: 0.0 };
            assert_eq!((rare.quantile(0.025), rare.quantile(0.975)), (0.0, 1.0), "{variance}");
        }
        assert_eq!(Missing { mean: 0.02, variance: 0.06, least_high: 0.0 }.quantile(0.975), 0.0);
    }
}
