//! How far a walk had come at each moment of the last seconds, for whoever asks which of its probes have had time to be
//! answered. One writer, any number of readers.
//!
//! **Orderings.** A mark's time is stored before its cursor (release), and read after it (acquire): who reads a new cursor
//! reads its time or a later one, so that no mark seems older than it is. A mark that is half new speaks of less than was
//! walked, which is the safe side.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::time::Time;

/// Marks kept, and how often one is made: sixteen seconds, longer than any answer is waited for.
const MARKS: u64 = 64;
const EVERY: Duration = Duration::from_millis(250);
/// A time that never comes.
const NEVER: u64 = u64::MAX;

/// The marks of one walk.
#[derive(Debug)]
pub(crate) struct Trail {
    /// Time and cursor.
    marks: Box<[[AtomicU64; 2]]>,
    /// How many were made, and when the last; the writer's own.
    made: [AtomicU64; 2],
}

impl Default for Trail {
    fn default() -> Self {
        let marks = (0..MARKS).map(|_| [AtomicU64::new(NEVER), AtomicU64::new(0)]).collect();
        Trail { marks, made: Default::default() }
    }
}

impl Trail {
    /// Forgets all; while nobody walks.
    pub(crate) fn clear(&self, start: u64) {
        for [time, cursor] in &self.marks {
            time.store(NEVER, Ordering::Relaxed);
            cursor.store(start, Ordering::Release);
        }
        self.made[1].store(0, Ordering::Relaxed);
    }

    /// The walk has come to `cursor`: noted every so often, or at once. Whether it was.
    #[inline]
    pub(crate) fn mark(&self, now: Time, cursor: u64, at_once: bool) -> bool {
        let due = now.0 >= self.made[1].load(Ordering::Relaxed) || at_once;
        if due {
            self.push(now, cursor);
        }
        due
    }

    fn push(&self, now: Time, at: u64) {
        let made = self.made[0].load(Ordering::Relaxed);
        let [time, cursor] = &self.marks[(made % MARKS) as usize];
        time.store(now.0, Ordering::Relaxed);
        cursor.store(at, Ordering::Release);
        self.made[0].store(made + 1, Ordering::Relaxed);
        self.made[1].store((now + EVERY).0, Ordering::Relaxed);
    }

    /// How far the walk had come by then, at least.
    pub(crate) fn by(&self, then: Time) -> Option<u64> {
        let cursor = |[time, cursor]: &[AtomicU64; 2]| {
            let cursor = cursor.load(Ordering::Acquire);
            (time.load(Ordering::Relaxed) <= then.0).then_some(cursor)
        };
        self.marks.iter().filter_map(cursor).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Time {
        Time::from(Duration::from_millis(ms))
    }

    #[test]
    fn tells_where_a_walk_was() {
        let trail = Trail::default();
        assert_eq!(trail.by(ms(1000)), None);
        let made = (0..30_000).filter(|&at| trail.mark(ms(at), at, false)).count();
        assert_eq!(made, 120);
        assert_eq!([29_999, 29_600, 20_000].map(|then| trail.by(ms(then))), [Some(29_750), Some(29_500), Some(20_000)]);
        assert_eq!(trail.by(ms(10_000)), None, "long ago");
        trail.mark(ms(30_000), 31_000, true);
        assert_eq!(trail.by(ms(30_000)), Some(31_000));
        trail.clear(7);
        assert_eq!(trail.by(ms(40_000)), None);
    }
}
