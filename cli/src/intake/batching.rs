//! When the targets that have come in so far are enough for a batch. A state machine without clock or thread: times come in as
//! arguments, counted from any one moment. The lines are read in `intake`.

use std::time::Duration;

/// How long the end of the list is waited for before the scan begins without it: a list that another program prints at once
/// is one plan.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// How long the first target of a batch waits for others. A batch costs a second or so of waiting for late replies.
pub(super) const GATHERING: Duration = Duration::from_millis(250);

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The list has ended before the scan began: all of it is one plan.
    Whole,
    /// What has come in is a batch.
    Batch,
    /// Wait for what comes, until this time at most, if one is named.
    Wait(Option<Duration>),
    /// The list has ended, and all of it was taken.
    Over,
}

/// What has come in, and when.
#[derive(Debug, Clone)]
pub(super) struct Batching {
    opened: Duration,
    /// When the first of those came that no batch has taken.
    oldest: Option<Duration>,
    has_ended: bool,
    has_begun: bool,
}

impl Batching {
    /// A list that is read from now on; whether there are targets beside it.
    pub(super) fn new(now: Duration, has_others: bool) -> Batching {
        Batching { opened: now, oldest: has_others.then_some(now), has_ended: false, has_begun: false }
    }

    /// Targets have come in; whether they are the first since a batch was taken.
    pub(super) fn came(&mut self, now: Duration) -> bool {
        let is_first = self.oldest.is_none();
        self.oldest.get_or_insert(now);
        is_first
    }

    /// The list has ended.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
    }

    /// Whether its end has been waited for long enough.
    pub(super) fn is_stream(&self, now: Duration) -> bool {
        self.has_begun || now >= self.opened + PATIENCE
    }

    /// What to do; a batch is taken thereby.
    pub(super) fn step(&mut self, now: Duration) -> Step {
        match (self.has_begun, self.has_ended, self.due()) {
            (false, true, _) => Step::Whole,
            (true, true, None) => Step::Over,
            (_, ended, Some(due)) if ended || now >= due => {
                self.has_begun = true;
                self.oldest = None;
                Step::Batch
            }
            (.., Some(due)) => Step::Wait(Some(due)),
            (_, false, None) if !self.is_stream(now) => Step::Wait(Some(self.opened + PATIENCE)),
            (_, false, None) => Step::Wait(None),
        }
    }

    /// When what has come in is a batch.
    fn due(&self) -> Option<Duration> {
        let due = self.oldest? + GATHERING;
        Some(if self.has_begun { due } else { due.max(self.opened + PATIENCE) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn opened() -> Batching {
        Batching::new(at(0), false)
    }

    #[test]
    fn a_list_that_ends_in_time_is_whole() {
        let mut list = opened();
        assert_eq!(list.step(at(0)), Step::Wait(Some(at(1000))));
        assert!(list.came(at(10)) && !list.came(at(20)));
        assert_eq!(list.step(at(999)), Step::Wait(Some(at(1000))));
        list.end();
        assert_eq!(list.step(at(999)), Step::Whole);
        let mut empty = opened();
        empty.end();
        assert_eq!(empty.step(at(5)), Step::Whole);
    }

    #[test]
    fn one_that_stays_open_begins_with_what_is_there() {
        let mut list = opened();
        list.came(at(10));
        assert!(!list.is_stream(at(999)) && list.is_stream(at(1000)));
        assert_eq!(list.step(at(1000)), Step::Batch);
        assert_eq!(list.step(at(1001)), Step::Wait(None));
    }

    #[test]
    fn targets_beside_the_list_do_not_wait_for_it_longer() {
        let mut list = Batching::new(at(0), true);
        assert_eq!(list.step(at(0)), Step::Wait(Some(at(1000))));
        assert_eq!(list.step(at(1000)), Step::Batch);
    }

    #[test]
    fn a_late_first_target_waits_for_others_a_moment() {
        let mut list = opened();
        assert_eq!(list.step(at(60_000)), Step::Wait(None));
        list.came(at(61_000));
        assert_eq!(list.step(at(61_000)), Step::Wait(Some(at(61_250))));
        list.came(at(61_100));
        assert_eq!(list.step(at(61_250)), Step::Batch);
    }

    #[test]
    fn what_came_while_a_batch_was_scanned_waits_no_more() {
        let mut list = opened();
        list.came(at(0));
        assert_eq!(list.step(at(1000)), Step::Batch);
        list.came(at(2000));
        assert_eq!(list.step(at(9000)), Step::Batch);
        assert_eq!(list.step(at(9000)), Step::Wait(None));
    }

    #[test]
    fn the_end_hurries_the_last_batch() {
        let mut list = opened();
        list.came(at(0));
        assert_eq!(list.step(at(1000)), Step::Batch);
        list.came(at(2000));
        list.end();
        assert_eq!(list.step(at(2001)), Step::Batch);
        assert_eq!(list.step(at(2001)), Step::Over);
    }

    proptest! {
        /// Whatever comes when: nothing is left behind, no batch is empty, and nobody waits for what can never come.
        #[test]
        fn every_target_is_in_a_batch(steps in prop::collection::vec((0_u64..700, 0_u8..4), 0..60)) {
            let (mut list, mut now, mut waiting) = (opened(), at(0), 0);
            let take = |list: &mut Batching, now, waiting: &mut u32| {
                let step = list.step(now);
                match step {
                    Step::Batch => assert!(std::mem::take(waiting) > 0),
                    Step::Wait(until) => assert!(until.is_some_and(|until| until > now) || *waiting == 0),
                    Step::Over => assert_eq!(*waiting, 0),
                    Step::Whole => *waiting = 0,
                }
                step
            };
            for (pause, kind) in steps {
                now += at(pause);
                match kind {
                    0 => drop(take(&mut list, now, &mut waiting)),
                    _ => {
                        list.came(now);
                        waiting += 1;
                    }
                }
            }
            list.end();
            let steps: Vec<_> = (0..3).map(|_| take(&mut list, now, &mut waiting)).collect();
            prop_assert!(steps.contains(&Step::Over) || steps.contains(&Step::Whole));
            prop_assert_eq!(waiting, 0);
        }
    }
}
