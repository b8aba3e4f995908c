//! The account of a scan whose targets came in one batch after the other: that of each batch added to those before. What can be
//! counted adds up. Estimates are joined so that they say no more than the batches did: bounds of what is missing are added (as if
//! all were as unlucky as the unluckiest), shares are weighed by the probes they are of, and where one batch had nothing to go
//! by, nobody vouches for all.

use std::collections::BTreeMap;

use crate::address::Addresses;
use crate::record::{Completeness, Counts, Discovery, Estimate, Name, Probes, Summary};

impl Summary {
    /// Takes in the account of a batch that was scanned after these. Settings are those of the first.
    pub fn extend(&mut self, later: &Summary) {
        // Before anything is added: it is weighed by what there was.
        self.completeness = completeness(self, later);
        self.srtt_us = srtt(self, later);
        self.outcome = later.outcome.clone();
        self.elapsed_us = self.end_us(later).max(self.elapsed_us);
        self.discovery = either(self.discovery.take(), later.discovery.clone(), |a, b| discovery(&a, &b));
        self.unprobed = self.unprobed.ranges().iter().chain(later.unprobed.ranges()).copied().collect::<Addresses>();
        self.counts.add(&later.counts);
        self.probes.add(&later.probes);
        let sums = [
            (&mut self.sending_us, later.sending_us),
            (&mut self.targets, later.targets),
            (&mut self.hosts, later.hosts),
            (&mut self.hosts_down, later.hosts_down),
            (&mut self.suspect_hosts, later.suspect_hosts),
            (&mut self.suspects_hidden, later.suspects_hidden),
            (&mut self.blocked, later.blocked),
            (&mut self.excluded, later.excluded),
            (&mut self.replies, later.replies),
            (&mut self.duplicates, later.duplicates),
        ];
        sums.into_iter().for_each(|(sum, more)| *sum = sum.saturating_add(more));
        self.rate = rate(self);
        add_named(&mut self.strays, &later.strays);
        add_named(&mut self.drops, &later.drops);
        let links = later.settings.links.iter().filter(|link| !self.settings.links.contains(link));
        self.settings.links.extend(links.cloned().collect::<Vec<_>>());
    }

    /// When the later one ended, in microseconds since this one began.
    fn end_us(&self, later: &Summary) -> u64 {
        let between = later.started.as_microsecond() - self.started.as_microsecond();
        u64::try_from(between).unwrap_or(0).saturating_add(later.elapsed_us)
    }
}

impl Counts {
    fn add(&mut self, later: &Counts) {
        self.open += later.open;
        self.closed += later.closed;
        self.filtered += later.filtered;
        self.silent += later.silent;
        self.unclassified += later.unclassified;
    }
}

impl Probes {
    fn add(&mut self, later: &Probes) {
        self.total += later.total;
        self.again += later.again;
        self.controls += later.controls;
        self.canaries += later.canaries;
        self.by_pass.resize(self.by_pass.len().max(later.by_pass.len()), 0);
        self.by_pass.iter_mut().zip(&later.by_pass).for_each(|(sum, more)| *sum += more);
    }
}

fn add_named(sums: &mut BTreeMap<Name, u64>, more: &BTreeMap<Name, u64>) {
    more.iter().for_each(|(name, count)| *sums.entry(name.clone()).or_default() += count);
}

/// Probes a second while sending, to a tenth.
fn rate(summary: &Summary) -> f64 {
    let probes: u64 = summary.probes.by_pass.iter().sum();
    let seconds = summary.sending_us as f64 / 1e6;
    if seconds > 0.0 { (probes as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 }
}

/// Weighed by the answers that they are of.
fn srtt(before: &Summary, later: &Summary) -> Option<u64> {
    let (one, other) = (before.replies.max(1), later.replies.max(1));
    let mean = |a: u64, b: u64| (a as f64 * one as f64 + b as f64 * other as f64) / (one as f64 + other as f64);
    either(before.srtt_us, later.srtt_us, |a, b| mean(a, b).round() as u64)
}

fn discovery(a: &Discovery, b: &Discovery) -> Discovery {
    Discovery {
        hosts: a.hosts + b.hosts,
        alive: a.alive + b.alive,
        skipped_hosts: a.skipped_hosts + b.skipped_hosts,
        skipped_targets: a.skipped_targets + b.skipped_targets,
        probes: a.probes + b.probes,
        elapsed_us: a.elapsed_us + b.elapsed_us,
    }
}

/// Both joined, or the one that there is.
fn either<T>(one: Option<T>, other: Option<T>, join: impl FnOnce(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(join(one, other)),
        (one, other) => one.or(other),
    }
}

fn completeness(before: &Summary, later: &Summary) -> Option<Completeness> {
    let weights = (before.probes.total as f64, later.probes.total as f64);
    // Where everything has a verdict that was heard, nothing can be missing.
    let silent = (before.counts.silent > 0, later.counts.silent > 0);
    either(before.completeness.clone(), later.completeness.clone(), |a, b| Completeness {
        asked: a.asked,
        loss: either(a.loss, b.loss, |a, b| weighed(a, b, weights)),
        missing_open: missing((a.missing_open, silent.0), (b.missing_open, silent.1)),
        missing: missing((a.missing, silent.0), (b.missing, silent.1)),
        gone: a.gone + b.gone,
        passes: a.passes.max(b.passes),
        ended: if weight(&a.ended) >= weight(&b.ended) { a.ended } else { b.ended },
        canaries: a.canaries + b.canaries,
        canaries_lost: a.canaries_lost + b.canaries_lost,
    })
}

/// The sum; none where one of them is not known and something was silent.
fn missing(one: (Option<Estimate>, bool), other: (Option<Estimate>, bool)) -> Option<Estimate> {
    let unknown = |(estimate, silent): (Option<Estimate>, bool)| estimate.is_none() && silent;
    if unknown(one) || unknown(other) {
        return None;
    }
    either(one.0, other.0, |a, b| Estimate {
        expected: rounded(a.expected + b.expected),
        low: rounded(a.low + b.low),
        high: rounded(a.high + b.high),
    })
}

fn weighed(a: Estimate, b: Estimate, (one, other): (f64, f64)) -> Estimate {
    let mean = |a: f64, b: f64| rounded((a * one + b * other) / (one + other).max(1.0));
    Estimate { expected: mean(a.expected, b.expected), low: mean(a.low, b.low), high: mean(a.high, b.high) }
}

/// More digits are not worth anything.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// Of the reasons for which there were no more passes, the one that says least of what is silent counts.
fn weight(ended: &str) -> u8 {
    ["answered", "complete", "unheard", "passes", "stopped"].iter().position(|&name| name == ended).unwrap_or(0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::samples;

    fn at(second: i64, targets: u64) -> Summary {
        let started = jiff::Timestamp::from_second(1_700_000_000 + second).unwrap();
        let counts = Counts { open: targets, ..Counts::default() };
        let probes = Probes { total: targets, by_pass: vec![targets], ..Probes::default() };
        let outcome = "complete".into();
        let (elapsed_us, sending_us) = (1_000_000, 500_000);
        Summary { started, outcome, elapsed_us, sending_us, targets, hosts: 1, counts, probes, ..Summary::default() }
    }

    fn vouched(high: f64, silent: u64) -> Summary {
        let estimate = Estimate { expected: 0.5, low: 0.0, high };
        let completeness = Completeness {
            loss: Some(Estimate { expected: high / 100.0, low: 0.0, high: high / 50.0 }),
            missing_open: Some(estimate),
            missing: Some(estimate),
            passes: 2,
            ended: "complete".into(),
            ..Completeness::default()
        };
        let counts = Counts { silent, filtered: silent, ..Counts::default() };
        Summary { completeness: Some(completeness), counts, ..at(0, 100) }
    }

    #[test]
    fn what_is_counted_adds_up_and_the_waiting_between_is_in_the_time() {
        let mut sum = at(0, 10);
        sum.extend(&Summary { outcome: "stopped".into(), ..at(60, 30) });
        assert_eq!((sum.targets, sum.hosts, sum.counts.open, sum.probes.total), (40, 2, 40, 40));
        assert_eq!((sum.elapsed_us, sum.sending_us, sum.rate), (61_000_000, 1_000_000, 40.0));
        assert_eq!(sum.outcome, "stopped");
        let mut twice = samples::summary();
        let once = twice.clone();
        twice.extend(&once);
        assert_eq!((twice.replies, twice.hosts_down, twice.suspect_hosts), (8, 2, 4));
        assert_eq!((twice.srtt_us, &twice.unprobed), (once.srtt_us, &once.unprobed));
        assert_eq!(twice.probes.by_pass, [3_598, 12]);
        assert_eq!((twice.strays["own"], &twice.settings), (131_080, &once.settings));
        assert_eq!(twice.discovery.unwrap().alive, 500);
        let Counts { open, closed, filtered, unclassified, .. } = twice.counts;
        assert_eq!(open + closed + filtered + unclassified, twice.targets);
    }

    #[test]
    fn bounds_of_what_is_missing_add_up_and_shares_are_weighed() {
        let mut sum = vouched(2.0, 5);
        let mut small = vouched(8.0, 5);
        small.probes.total = 50;
        sum.extend(&small);
        let found = sum.completeness.unwrap();
        assert_eq!(found.missing_open, Some(Estimate { expected: 1.0, low: 0.0, high: 10.0 }));
        assert_eq!(found.loss, Some(Estimate { expected: 0.04, low: 0.0, high: 0.08 }));
    }

    #[test]
    fn nobody_vouches_for_all_where_one_batch_had_nothing_to_go_by() {
        let unheard = |silent| {
            let mut unheard = vouched(0.0, silent);
            let of = Completeness { ended: "unheard".into(), passes: 3, ..Completeness::default() };
            unheard.completeness = Some(of);
            unheard
        };
        for (mut sum, later) in [(vouched(2.0, 5), unheard(1)), (unheard(1), vouched(2.0, 0))] {
            sum.extend(&later);
            let found = sum.completeness.unwrap();
            assert_eq!((found.missing_open, &*found.ended, found.passes), (None, "unheard", 3));
        }
        let mut sum = vouched(2.0, 5);
        sum.extend(&unheard(0));
        assert_eq!(sum.completeness.unwrap().missing_open.map(|open| open.high), Some(2.0), "nothing was silent");
    }
}
