//! Which positions may have lost their answers to our own side: a short history of what was sent when, and the ranges of
//! it that were under way while something was dropped.
//!
//! Somebody else counts what was dropped (ring, device, link) and says until when the count is complete. When it has
//! risen between two looks, the drops happened after the last look that found nothing: whatever was sent from then on is
//! suspect, and what was sent before, as far back as an answer may take. A range may hold more than was lost, never less;
//! who has answered all the same is known elsewhere.
//!
//! Pure: times and counts come in as arguments. Probing again, and how fast, is the walker's.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Time;

/// How often the history takes a mark: a fraction of the time that an answer may take at least.
const MARK: Duration = Duration::from_millis(5);
/// Marks beyond this are thinned out; reached only when nobody has looked for drops for many seconds.
const MARKS: usize = 4096;
/// How much longer the history goes back than an answer may take now: the estimate may grow.
const MARGIN: Duration = Duration::from_secs(1);
/// Ranges kept; of more, the nearest neighbours are merged.
const RANGES: usize = 64;

/// Disjoint ranges of offsets in ascending order, few of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// `start..end` alone.
    pub(crate) fn of(start: u64, end: u64) -> Ranges {
        Ranges::from_iter([(start, end)])
    }

    /// Adds `start..end`.
    pub(crate) fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let (mut start, mut end) = (start, end);
        self.0.retain(|&(from, to)| {
            let apart = to < start || end < from;
            if !apart {
                (start, end) = (start.min(from), end.max(to));
            }
            apart
        });
        let at = self.0.partition_point(|&(from, _)| from < start);
        self.0.insert(at, (start, end));
        if self.0.len() > RANGES {
            self.merge_nearest();
        }
    }

    fn merge_nearest(&mut self) {
        let gap = |i: &usize| self.0[i + 1].0 - self.0[*i].1;
        let Some(nearest) = (0..self.0.len() - 1).min_by_key(gap) else { return };
        let (_, end) = self.0.remove(nearest + 1);
        self.0[nearest].1 = end;
    }

    /// What lies at `cursor` and beyond.
    pub(crate) fn from(&self, cursor: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let beyond = self.0.partition_point(|&(_, to)| to <= cursor);
        self.0[beyond..].iter().map(move |&(from, to)| (from.max(cursor), to))
    }

    /// What these and the others have in common.
    pub(crate) fn within(&self, others: &Ranges) -> Ranges {
        let mut common = Ranges::default();
        for &(start, end) in &self.0 {
            others.from(start).take_while(|&(from, _)| from < end).for_each(|(from, to)| common.add(from, to.min(end)));
        }
        common
    }
}

impl FromIterator<(u64, u64)> for Ranges {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(ranges: I) -> Ranges {
        let mut all = Ranges::default();
        ranges.into_iter().for_each(|(start, end)| all.add(start, end));
        all
    }
}

/// How far a walk had come at some time.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Time,
    /// Which walk over the slice.
    leg: u32,
    cursor: u64,
    /// Probes sent until then.
    sent: u64,
}

/// The suspects of one walker.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    marks: VecDeque<Mark>,
    leg: u32,
    ranges: Ranges,
    /// The lowest rate at which drops were seen, in probes a second.
    rate: Option<u64>,
    /// The drops known of, and the time until which those are all.
    lost: u64,
    clean: Time,
}

impl Suspects {
    /// Forgets all; what was dropped until now is nobody's concern.
    pub(crate) fn reset(&mut self, looked: Time, lost: u64) {
        *self = Suspects { clean: looked, lost, ..Suspects::default() };
    }

    /// A walk begins at this offset, after so many probes.
    pub(crate) fn begin_leg(&mut self, now: Time, cursor: u64, sent: u64) {
        self.leg += 1;
        self.push(now, cursor, sent);
    }

    /// The walk has come as far as `cursor`, with so many probes sent. Whether this was noted: not more often than every
    /// 5 ms, unless it has to be `at_once`.
    pub(crate) fn mark(&mut self, now: Time, cursor: u64, sent: u64, at_once: bool) -> bool {
        let due = self.marks.back().is_none_or(|last| now >= last.at + MARK);
        if due || at_once {
            self.push(now, cursor, sent);
        }
        due
    }

    fn push(&mut self, at: Time, cursor: u64, sent: u64) {
        self.marks.push_back(Mark { at, leg: self.leg, cursor, sent });
        if self.marks.len() > MARKS {
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// Takes a look: `lost` drops are known of, which are all until `looked`; an answer may take `wait`. Whether there are
    /// new suspects.
    pub(crate) fn look(&mut self, looked: Time, lost: u64, wait: Duration) -> bool {
        let is_worse = lost > self.lost;
        if is_worse {
            self.suspect(self.clean - wait);
        }
        (self.lost, self.clean) = (lost, looked.max(self.clean));
        self.forget(self.clean - wait - MARGIN);
        is_worse
    }

    /// Suspects all that was sent from then on.
    fn suspect(&mut self, from: Time) {
        let first = self.marks.partition_point(|mark| mark.at < from).saturating_sub(1);
        let marks = || self.marks.range(first..);
        let mut legs: Vec<(u32, u64, u64)> = Vec::new();
        for mark in marks() {
            match legs.last_mut() {
                Some((leg, _, end)) if *leg == mark.leg => *end = mark.cursor,
                _ => legs.push((mark.leg, mark.cursor, mark.cursor)),
            }
        }
        let rate = rate(marks());
        legs.into_iter().for_each(|(_, start, end)| self.ranges.add(start, end));
        self.rate = self.rate.into_iter().chain(rate).min();
    }

    fn forget(&mut self, before: Time) {
        while self.marks.get(1).is_some_and(|second| second.at < before) {
            self.marks.pop_front();
        }
    }

    /// The ranges that are suspect now.
    pub(crate) fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    /// The lowest rate at which drops were seen.
    pub(crate) fn rate(&self) -> Option<u64> {
        self.rate
    }

    /// Gives the ranges away, and forgets what was sent when: it is to be sent again.
    pub(crate) fn take(&mut self) -> Ranges {
        self.marks.clear();
        self.rate = None;
        std::mem::take(&mut self.ranges)
    }
}

/// Probes a second between the first mark and the last that sent any.
fn rate<'a>(mut marks: impl Iterator<Item = &'a Mark>) -> Option<u64> {
    let first = *marks.next()?;
    let last = marks.fold(first, |last, mark| if mark.sent > last.sent { *mark } else { last });
    let (probes, nanos) = (last.sent - first.sent, last.at.since(first.at).as_nanos());
    (probes > 0 && nanos > 0).then(|| u64::try_from(u128::from(probes) * 1_000_000_000 / nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Time {
        Time::from(Duration::from_millis(ms))
    }

    const WAIT: Duration = Duration::from_millis(100);

    /// A walk of a probe a millisecond up to `until`.
    fn walked(until: u64) -> Suspects {
        let mut suspects = Suspects::default();
        suspects.begin_leg(ms(0), 0, 0);
        (1..=until).for_each(|at| _ = suspects.mark(ms(at), at, at, false));
        suspects
    }

    #[test]
    fn without_drops_nobody_is_suspect() {
        let mut suspects = walked(500);
        suspects.look(ms(400), 0, WAIT);
        suspects.look(ms(500), 0, WAIT);
        assert!(suspects.ranges().0.is_empty());
    }

    #[test]
    fn what_was_under_way_since_the_last_clean_look_is_suspect() {
        let mut suspects = walked(300);
        suspects.look(ms(300), 0, WAIT);
        (301..=400).for_each(|at| _ = suspects.mark(ms(at), at, at, false));
        suspects.look(ms(400), 7, WAIT);
        assert_eq!(suspects.ranges().0, [(195, 400)]);
        assert_eq!(suspects.rate(), Some(1000));
        suspects.look(ms(500), 7, WAIT);
        assert_eq!(suspects.take().0, [(195, 400)]);
        assert!(suspects.ranges().0.is_empty() && suspects.rate().is_none());
    }

    #[test]
    fn a_window_that_reaches_into_the_walk_before_takes_its_end_too() {
        let mut suspects = walked(300);
        suspects.look(ms(300), 0, WAIT);
        suspects.begin_leg(ms(301), 0, 300);
        suspects.mark(ms(310), 10, 310, true);
        suspects.look(ms(310), 1, WAIT);
        assert_eq!(suspects.ranges().0, [(0, 10), (195, 300)]);
    }

    #[test]
    fn what_was_sent_at_the_very_time_of_the_last_clean_look_is_suspect() {
        let mut suspects = Suspects::default();
        suspects.begin_leg(ms(0), 0, 0);
        suspects.mark(ms(0), 50, 50, true);
        suspects.look(ms(0), 0, WAIT);
        suspects.look(ms(100), 1, WAIT);
        assert_eq!(suspects.ranges().0, [(0, 50)]);
    }

    #[test]
    fn silence_after_the_last_probe_does_not_slow_the_measured_rate() {
        let mut suspects = walked(100);
        suspects.mark(ms(900), 100, 100, true);
        suspects.look(ms(900), 1, WAIT);
        assert_eq!(suspects.rate(), Some(1000));
    }

    #[test]
    fn the_history_is_short() {
        let mut suspects = walked(60_000);
        assert!(suspects.marks.len() <= MARKS);
        suspects.look(ms(60_000), 0, WAIT);
        assert!(suspects.marks.len() < 600, "{}", suspects.marks.len());
        suspects.look(ms(60_001), 1, WAIT);
        let [(start, 60_000)] = suspects.ranges().0[..] else { panic!("{:?}", suspects.ranges()) };
        assert!((59_000..=59_900).contains(&start), "{start}");
    }

    proptest! {
        #[test]
        fn ranges_hold_all_that_was_added_and_stay_few(added in prop::collection::vec((0u64..10_000, 0u64..50), 0..300)) {
            let mut ranges = Ranges::default();
            added.iter().for_each(|&(start, len)| ranges.add(start, start + len));
            prop_assert!(ranges.0.len() <= RANGES);
            prop_assert!(ranges.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
            for &(start, len) in &added {
                prop_assert!(len == 0 || ranges.0.iter().any(|&(from, to)| from <= start && start + len <= to));
            }
        }

        #[test]
        fn intersections_and_rests_are_those_of_sets(
            one in prop::collection::vec((0u64..300, 0u64..20), 0..20),
            other in prop::collection::vec((0u64..300, 0u64..20), 0..20),
            cursor in 0u64..320,
        ) {
            let ranges = |added: &[(u64, u64)]| {
                let mut ranges = Ranges::default();
                added.iter().for_each(|&(start, len)| ranges.add(start, start + len));
                ranges
            };
            let holds = |ranges: &Ranges, at: u64| ranges.0.iter().any(|&(from, to)| (from..to).contains(&at));
            let (one, other) = (ranges(&one), ranges(&other));
            let common = one.within(&other);
            for at in 0..330 {
                prop_assert_eq!(holds(&common, at), holds(&one, at) && holds(&other, at));
                let rest = one.from(cursor).any(|(from, to)| (from..to).contains(&at));
                prop_assert_eq!(rest, holds(&one, at) && at >= cursor);
            }
        }
    }
}
