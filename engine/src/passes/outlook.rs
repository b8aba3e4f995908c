//! What can be expected to be missing still, group by group and in all: the estimate by which passes are planned and ended,
//! and which the completeness states. What follows from it is `passes.rs`' to decide.
//!
//! A group's loss is its own evidence, its network's and the scan's, weighed by how alike groups and networks are. Missing in it is the larger of two
//! figures: the answers to its last pass times `l / (1 - l)`, and its found targets times `q / (1 - q)`, `q` being the chance
//! of losing every probe so far (the second sees groups that have gone silent altogether). In limited networks, where each leg has
//! another rate and another loss, `q` is the product of these. Groups from which nothing was heard miss,
//! all of them together, about as many as there are groups with a single answer, times the loss (Good and Turing's estimate).

use super::group::Group;
use super::limits::Limits;
use std::ops::Add;

use super::all;
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
    pub(super) fn of(ledger: &Ledger, groups: &[Group], limits: &Limits, is_first: bool) -> Outlook {
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
        Kind::ALL.into_iter().for_each(|kind| outlook.expect(kind, ledger, groups, limits));
        outlook
    }

    /// What is missing of a kind, by group and in all.
    fn expect(&mut self, kind: Kind, ledger: &Ledger, groups: &[Group], limits: &Limits) {
        let scan = self.evidence[kind as usize];
        let odds = Missing::mean_after(1.0, scan);
        // Half a target is always assumed to have been there at first: what nobody has answered may still hold one.
        let passes = (0..ledger.len()).map(|group| ledger.probes(group)).max().unwrap_or(0);
        let assumed = if self.is_first { 0.5 * odds * scan.loss().powi(i32::from(passes) - 1) } else { 0.0 };
        let (known, within) = known(kind, scan, ledger);
        let in_last_leg = in_last_leg(kind, groups, ledger);
        let last = last_answers(kind, ledger);
        let (mut single, mut dark, mut sum, mut unsure) = (0u64, 0u64, 0.0, 0.0);
        for group in 0..ledger.len() {
            let found = ledger.found(kind, group);
            (single, dark) = (single + u64::from(found == 1), dark + u64::from(is_dark(group, ledger)));
            if found > 0 {
                let known = known[group];
                let (seen, beside) = in_last_leg[group];
                let in_last = (seen + beside.at_most(within) + known.worth(LAST_LEG)).loss();
                let earlier = i32::from(ledger.probes(group).saturating_sub(1));
                let never = match limits.is_limited(group, ledger) {
                    true => groups[group].never(kind),
                    false => known.loss().powi(earlier) * in_last,
                };
                let by_all = found as f64 * never / (1.0 - never).max(0.01);
                let mut missing = Missing::mean_after(last[group], known).max(by_all);
                if groups[group].is_gone() {
                    // What is silent there may be as what has answered.
                    let share = found as f64 / ledger.probed_targets(group).max(1) as f64;
                    missing = missing.max(ledger.silent(group).max(1) as f64 * share / 2.0);
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

    /// What is said of the missing of a kind, or of all. What is known of few answers is not known well: no more may be missing
    /// than their loss, were it as high as it may be, would have left.
    pub(super) fn stated(&self, kinds: &[Kind], ledger: &Ledger) -> Missing {
        let missing = kinds.iter().map(|&kind| self.by_kind[kind as usize]).fold(Missing::default(), Missing::add);
        let found: f64 = kinds.iter().map(|&kind| self.found[kind as usize]).sum();
        let seen: Evidence = all(ledger).map(|(kind, group)| own(kind, group, ledger)).sum();
        if seen.probes() >= THIN {
            return missing;
        }
        let passes = (0..ledger.len()).map(|group| ledger.probes(group)).max().unwrap_or(0);
        let never = seen.interval().high.powi(passes.into());
        Missing { least_high: (found * never / (1.0 - never).max(0.05)).ceil(), ..missing }
    }

    /// Whether anything is known to have been lost. Half a loss is assumed of each kind.
    pub(super) fn has_losses(&self) -> bool {
        self.evidence.iter().map(|evidence| evidence.lost - 0.5).sum::<f64>() > 0.5
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

/// What is known of each group's loss: what was seen of itself, and what its network's others and the scan say of it; and how
/// many probes the former are worth to it.
fn known(kind: Kind, scan: Evidence, ledger: &Ledger) -> (Vec<Evidence>, f64) {
    let all: Vec<(usize, Evidence)> =
        (0..ledger.len()).map(|group| (ledger.groups.network_of(group), own(kind, group, ledger))).collect();
    let mut networks = vec![Evidence::default(); ledger.groups.networks.len()];
    all.iter().for_each(|&(network, seen)| networks[network] = networks[network] + seen);
    let within = alike(&all, &networks);
    let among: Vec<(usize, Evidence)> = networks.iter().map(|&seen| (0, seen)).collect();
    let of_scan = scan.at_most(alike(&among, &[scan]));
    let known = |&(network, seen): &(usize, Evidence)| seen + (networks[network].since(seen) + of_scan).at_most(within);
    (all.iter().map(known).collect(), within)
}

/// The canaries of each group in its last leg, and those of its network's others in theirs.
fn in_last_leg(kind: Kind, groups: &[Group], ledger: &Ledger) -> Vec<(Evidence, Evidence)> {
    let seen = |group: usize| groups[group].canaries[kind as usize];
    let mut networks = vec![Evidence::default(); ledger.groups.networks.len()];
    for group in 0..ledger.len() {
        let network = &mut networks[ledger.groups.network_of(group)];
        *network = *network + seen(group);
    }
    let beside = |group: usize| networks[ledger.groups.network_of(group)].since(seen(group));
    (0..ledger.len()).map(|group| (seen(group), beside(group))).collect()
}

/// How alike the losses of groups are that belong together: what is known of the whole is worth so many probes to each. (The
/// precision of a beta distribution of their losses, by the method of moments.) Each comes with the number of its whole.
fn alike(groups: &[(usize, Evidence)], wholes: &[Evidence]) -> f64 {
    let mut sums = vec![(0.0, 0.0, 0.0); wholes.len()];
    let mut spread = 0.0;
    for &(whole, seen) in groups.iter().filter(|(_, seen)| seen.probes() > 0.0) {
        let (n, sum) = (seen.probes(), &mut sums[whole]);
        (sum.0, sum.1, sum.2) = (sum.0 + n, sum.1 + n * n, sum.2 + 1.0);
        spread += n * (seen.loss() - wholes[whole].loss()).powi(2);
    }
    let (mut by_chance, mut chance, mut n, mut weight) = (0.0, 0.0, 0.0, 0.0);
    for ((probes, squares, groups), whole) in sums.into_iter().zip(wholes).filter(|((_, _, groups), _)| *groups > 1.0) {
        let of_one = whole.loss() * (1.0 - whole.loss());
        by_chance += (groups - 1.0) * of_one;
        (chance, n) = (chance + probes * of_one, n + probes);
        weight += probes - squares / probes;
    }
    let between = (spread - by_chance) / f64::max(weight, 1.0);
    if n > 0.0 && between > 0.0 { (chance / n / between - 1.0).clamp(BORROWED.0, BORROWED.1) } else { BORROWED.1 }
}

/// Answers to the last pass over each group, evened out among the groups of the same last pass: in one that happened to have none,
/// as many can be missing as in its neighbours, in proportion to what was found there. First among networks, then within each.
fn last_answers(kind: Kind, ledger: &Ledger) -> Vec<f64> {
    const PASSES: usize = MAX_PASSES as usize + 1;
    let pass = |group| ledger.last_pass(group).map_or(0, |pass| pass as usize + 1);
    let class = |group| ledger.groups.network_of(group) * PASSES + pass(group);
    let seen = |group| (ledger.last(kind, group) as f64, ledger.found(kind, group) as f64);
    let groups: Vec<_> = (0..ledger.len()).map(|group| (class(group), seen(group))).collect();
    let classes = sums(&groups, ledger.groups.networks.len() * PASSES);
    let classes: Vec<_> = (0..).map(|class| class % PASSES).zip(classes).collect();
    let all: Vec<f64> = sums(&classes, PASSES).iter().map(|(seen, _)| *seen).collect();
    evened_out(&groups, &evened_out(&classes, &all))
}

/// By number, what was seen and what was found.
fn sums(parts: &[(usize, (f64, f64))], wholes: usize) -> Vec<(f64, f64)> {
    let mut sums = vec![(0.0, 0.0); wholes];
    for &(whole, (seen, found)) in parts {
        sums[whole] = (sums[whole].0 + seen, sums[whole].1 + found);
    }
    sums
}

/// The mean of a gamma distribution around each part's share of its whole, after what was seen there; in all as much as the
/// wholes have.
fn evened_out(parts: &[(usize, (f64, f64))], wholes: &[f64]) -> Vec<f64> {
    let found = sums(parts, wholes.len());
    let evened = |&(whole, (seen, of_found)): &(usize, (f64, f64))| {
        let share = if found[whole].1 > 0.0 { wholes[whole] * of_found / found[whole].1 } else { 0.0 };
        (whole, (if share > 0.0 { (seen + SHAPE) / (1.0 + SHAPE / share) } else { 0.0 }, 0.0))
    };
    let evened: Vec<_> = parts.iter().map(evened).collect();
    let in_all = sums(&evened, wholes.len());
    let kept = |&(whole, (evened, _)): &(usize, (f64, f64))| {
        if in_all[whole].0 > 0.0 { evened * wholes[whole] / in_all[whole].0 } else { 0.0 }
    };
    evened.iter().map(kept).collect()
}

/// Whether a group has targets and none has answered.
fn is_dark(group: usize, ledger: &Ledger) -> bool {
    ledger.probed_targets(group) > 0 && Kind::ALL.into_iter().all(|kind| ledger.found(kind, group) == 0)
}
