//! What can be expected to be missing still, group by group and in all: the estimate by which passes are planned and ended,
//! and which the completeness states. What follows from it is `passes.rs`' to decide.
//!
//! A group's loss is its own evidence and the scan's, weighed by how alike groups are. Missing in it is the larger of two
//! figures: the answers to its last pass times `l / (1 - l)`, and its found targets times `q / (1 - q)`, `q` being the chance
//! of losing every probe so far (the second sees groups that have gone silent altogether). Groups from which nothing was heard miss,
//! all of them together, about as many as there are groups with a single answer, times the loss (Good and Turing's estimate).

use super::group::{Group, silent};
use crate::counters::MAX_PASSES;
use crate::loss::{Evidence, Kind, Ledger, Missing};

/// What the rest of the scan says of a prefix is worth so many probes to it, at least and at most.
const BORROWED: (f64, f64) = (2.0, 1e5);
/// What is known of all legs is worth so many probes of the last.
const LAST_LEG: f64 = 5.0;
/// How much groups are expected to differ: the shape of the gamma distribution around their share.
const SHAPE: f64 = 2.0;
/// Rounds in which the estimate of what is missing is taken into account for itself; it settles quickly.
const ROUNDS: u8 = 8;
/// Open ports fewer than so many probes' worth are judged by closed ones too.
const THIN: f64 = 30.0;

/// What is expected to be missing.
pub(super) struct Outlook {
    pub(super) by_kind: [Missing; 2],
    /// By group; of those never heard from, each its share.
    pub(super) by_group: Vec<f64>,
    pub(super) found: [f64; 2],
    /// Whether this is the first stripe.
    is_first: bool,
    /// What is known of each kind's loss, over all groups.
    pub(super) evidence: [Evidence; 2],
}

impl Outlook {
    pub(super) fn of(ledger: &Ledger, groups: &[Group], is_first: bool) -> Outlook {
        let sum = |kind| (0..ledger.len()).map(|group| own(kind, group, ledger)).sum::<Evidence>();
        let [open, closed] = Kind::ALL.map(sum);
        let borrowed = |own: Evidence, other: Evidence| other.worth((THIN - own.probes()).clamp(0.0, other.probes()));
        let evidence = [(open + borrowed(open, closed)).with_prior(), (closed + borrowed(closed, open)).with_prior()];
        let mut outlook = Outlook {
            by_kind: Default::default(),
            by_group: vec![0.0; ledger.len()],
            found: Kind::ALL.map(|kind| (0..ledger.len()).map(|group| ledger.found(kind, group)).sum::<u64>() as f64),
            is_first,
            evidence,
        };
        Kind::ALL.into_iter().for_each(|kind| outlook.expect(kind, ledger, groups));
        outlook
    }

    /// What is missing of a kind, by group and in all.
    fn expect(&mut self, kind: Kind, ledger: &Ledger, groups: &[Group]) {
        let scan = self.evidence[kind as usize];
        let odds = Missing::mean_after(1.0, scan);
        // Half a target is always assumed to have been there at first: what nobody has answered may still hold one.
        let passes = (0..ledger.len()).map(|group| ledger.probes(group)).max().unwrap_or(0);
        let assumed = if self.is_first { 0.5 * odds * scan.loss().powi(i32::from(passes) - 1) } else { 0.0 };
        let borrowed = scan.worth(alike(kind, scan.loss(), ledger).min(scan.probes()));
        let last = last_answers(kind, ledger);
        let (mut single, mut dark, mut sum, mut unsure) = (0u64, 0u64, 0.0, 0.0);
        for group in 0..ledger.len() {
            let found = ledger.found(kind, group);
            (single, dark) = (single + u64::from(found == 1), dark + u64::from(is_dark(group, ledger)));
            if found > 0 {
                let known = own(kind, group, ledger) + borrowed;
                let in_last = (groups[group].canaries[kind as usize] + known.worth(LAST_LEG)).loss();
                let earlier = i32::from(ledger.probes(group).saturating_sub(1));
                let never = known.loss().powi(earlier) * in_last;
                let by_all = found as f64 * never / (1.0 - never).max(0.01);
                let mut missing = Missing::mean_after(last[group], known).max(by_all);
                if groups[group].is_gone() {
                    // What is silent there may be as what has answered.
                    let share = found as f64 / ledger.probed_targets(group).max(1) as f64;
                    missing = missing.max(silent(group, ledger) * share / 2.0);
                    unsure += missing * missing;
                }
                self.by_group[group] += missing;
                sum += missing;
                // Where most is lost, little is known.
                unsure += (missing * in_last).powi(2);
            }
        }
        let unheard = single as f64 * odds;
        for group in (0..ledger.len()).filter(|&group| is_dark(group, ledger)) {
            self.by_group[group] += unheard / dark as f64;
        }
        let mean = sum + if dark > 0 { unheard } else { 0.0 } + assumed;
        let more = self.overlooked(kind, mean, last.iter().sum(), ledger);
        self.by_group.iter_mut().for_each(|missing| *missing *= more);
        let missing = Missing::scaled(mean * more, scan);
        self.by_kind[kind as usize] = Missing { variance: missing.variance + unsure, ..missing };
    }

    /// By how much more is missing than later answers say by themselves: what is missing still was lost in every pass.
    fn overlooked(&self, kind: Kind, mean: f64, last: f64, ledger: &Ledger) -> f64 {
        let scan = self.evidence[kind as usize];
        let passes = (0..ledger.len()).filter_map(|group| ledger.last_pass(group)).max().map_or(0, |last| last + 1);
        if passes < 2 || mean <= 0.0 {
            return 1.0;
        }
        let before = Missing::mean_after(1.0, scan);
        (0..ROUNDS).fold(1.0, |more, _| {
            let lost = Evidence { answered: last, lost: mean * more * f64::from(passes) };
            (Missing::mean_after(1.0, scan + lost) / before).clamp(1.0, 5.0)
        })
    }

    /// The same, if so many canaries more of each kind had been answered.
    pub(super) fn with(&self, more: Evidence) -> Outlook {
        let rescaled = |kind: usize| {
            let (before, after) = (self.evidence[kind], self.evidence[kind] + more);
            let share = Missing::mean_after(1.0, after) / Missing::mean_after(1.0, before).max(1e-12);
            Missing::scaled(self.by_kind[kind].mean * share, after)
        };
        Outlook {
            by_kind: [rescaled(0), rescaled(1)],
            by_group: Vec::new(),
            found: self.found,
            is_first: self.is_first,
            evidence: self.evidence.map(|evidence| evidence + more),
        }
    }
}

/// What was seen of a group itself.
pub(super) fn own(kind: Kind, group: usize, ledger: &Ledger) -> Evidence {
    ledger.later_answers(kind, group) + ledger.canaries(kind, group)
}

/// How alike the groups' losses are: what the scan says of one is worth so many probes to it. (The precision of a beta
/// distribution of their losses, by the method of moments.)
fn alike(kind: Kind, loss: f64, ledger: &Ledger) -> f64 {
    let seen = || (0..ledger.len()).map(|group| own(kind, group, ledger)).filter(|seen| seen.probes() > 0.0);
    let (mut n, mut squares, mut spread, mut groups) = (0.0, 0.0, 0.0, 0.0);
    for group in seen() {
        let probes = group.probes();
        (n, squares, groups) = (n + probes, squares + probes * probes, groups + 1.0);
        spread += probes * (group.loss() - loss).powi(2);
    }
    if groups < 2.0 {
        return BORROWED.1;
    }
    let chance = loss * (1.0 - loss);
    let between = (spread - (groups - 1.0) * chance) / (n - squares / f64::max(n, 1.0)).max(1.0);
    if between > 0.0 { (chance / between - 1.0).clamp(BORROWED.0, BORROWED.1) } else { BORROWED.1 }
}

/// Answers to the last pass over each group, evened out: in a group that happened to have none, as many can be missing as
/// in its neighbours, in proportion to what was found there. (The mean of a gamma distribution around the group's share,
/// after what was seen; sums over the groups of the same last pass are kept.)
fn last_answers(kind: Kind, ledger: &Ledger) -> Vec<f64> {
    let groups = ledger.len();
    let seen: Vec<f64> = (0..groups).map(|group| ledger.last(kind, group) as f64).collect();
    let found: Vec<f64> = (0..groups).map(|group| ledger.found(kind, group) as f64).collect();
    let mut sums = [(0.0, 0.0, 0.0); MAX_PASSES as usize + 1];
    let sum_of = |group: usize| ledger.last_pass(group).map_or(0, |pass| pass as usize + 1);
    for group in 0..groups {
        let sum = &mut sums[sum_of(group)];
        (sum.0, sum.1) = (sum.0 + seen[group], sum.1 + found[group]);
    }
    let evened = |group: usize| {
        let (all, found_in_all, _) = sums[sum_of(group)];
        let share = if found_in_all > 0.0 { all * found[group] / found_in_all } else { 0.0 };
        if share > 0.0 { (seen[group] + SHAPE) / (1.0 + SHAPE / share) } else { 0.0 }
    };
    let evened: Vec<f64> = (0..groups).map(evened).collect();
    (0..groups).for_each(|group| sums[sum_of(group)].2 += evened[group]);
    let kept = |group: usize| {
        let (all, _, evened_in_all) = sums[sum_of(group)];
        if evened_in_all > 0.0 { evened[group] * all / evened_in_all } else { 0.0 }
    };
    (0..groups).map(kept).collect()
}

/// Whether a group has targets and none has answered.
fn is_dark(group: usize, ledger: &Ledger) -> bool {
    ledger.probed_targets(group) > 0 && Kind::ALL.into_iter().all(|kind| ledger.found(kind, group) == 0)
}
