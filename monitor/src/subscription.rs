//! Events as they become known, each once and in their order: what `halfopen events --follow` prints, and what a page or another
//! program can follow. Reads the database alone, beside a service that writes it.
//!
//! ```
//! use std::time::Duration;
//!
//! use halfopen_monitor::store::{self, Happening, Selection};
//! use halfopen_monitor::{Store, Subscription};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("monitor.db");
//! # let service = Store::open(&path)?;
//! // Only what comes from now on; `Selection { after, .. }` goes on after an event that was seen before.
//! let mut events = Subscription::from_now(Store::read_only(&path)?, Selection::default())?;
//! # let what = Happening::ScanFailed { error: "no route".into() };
//! # store::append(service.connection(), jiff::Timestamp::UNIX_EPOCH, Some("dmz"), &what)?;
//! for event in events.wait(Duration::from_secs(10))? {
//!     println!("{} {}", event.id, event.what.name());
//! }
//! // To be kept, for the next time.
//! let last = events.last();
//! # assert_eq!(last, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::thread;
use std::time::{Duration, Instant};

use crate::store::{self, Error, Event, Selection, Store};

/// Somebody who follows what happens.
#[derive(Debug)]
pub struct Subscription {
    store: Store,
    wanted: Selection,
    /// At most so many in all are still to come, if that was asked for.
    left: Option<u32>,
}

/// How often the database is asked whether there is more.
const PERIOD: Duration = Duration::from_millis(250);
/// So many events are read at once.
const BATCH: u32 = 1000;

impl Subscription {
    /// What is wanted of all that has happened and will.
    pub fn new(store: Store, wanted: Selection) -> Subscription {
        let left = wanted.limit;
        Subscription { store, wanted, left }
    }

    /// What is wanted of all that will happen.
    pub fn from_now(store: Store, wanted: Selection) -> Result<Subscription, Error> {
        let after = store::newest(store.connection())?.max(wanted.after);
        Ok(Subscription::new(store, Selection { after, ..wanted }))
    }

    /// The next events, at most a thousand; none, if there are none yet.
    pub fn poll(&mut self) -> Result<Vec<Event>, Error> {
        let limit = self.left.map_or(BATCH, |left| left.min(BATCH));
        let wanted = Selection { limit: Some(limit), ..self.wanted.clone() };
        let events = store::events(self.store.connection(), &wanted)?;
        self.left = self.left.map(|left| left - events.len() as u32);
        if let Some(event) = events.last() {
            self.wanted.after = event.id;
        }
        Ok(events)
    }

    /// The same, and waits for some, but not for longer than this.
    pub fn wait(&mut self, patience: Duration) -> Result<Vec<Event>, Error> {
        let end = Instant::now() + patience;
        loop {
            let events = self.poll()?;
            let left = end.saturating_duration_since(Instant::now());
            if !events.is_empty() || left.is_zero() {
                return Ok(events);
            }
            thread::sleep(left.min(PERIOD));
        }
    }

    /// The number of the last event that was given out: who asks for what came after it misses nothing.
    pub fn last(&self) -> i64 {
        self.wanted.after
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::store::Happening;

    fn happens(store: &Store, times: usize) {
        for _ in 0..times {
            let what = Happening::ScanFailed { error: "x".into() };
            store::append(store.connection(), Timestamp::UNIX_EPOCH, Some("dmz"), &what).unwrap();
        }
    }

    #[test]
    fn each_event_comes_once_in_order_whoever_writes_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("monitor.db");
        let writer = Store::open(&path).unwrap();
        happens(&writer, 2);
        let read = || Store::read_only(&path).unwrap();
        let mut all = Subscription::new(read(), Selection::default());
        let mut new = Subscription::from_now(read(), Selection::default()).unwrap();
        let ids = |events: Vec<Event>| events.into_iter().map(|event| event.id).collect::<Vec<_>>();
        assert_eq!((ids(all.poll().unwrap()), ids(new.poll().unwrap())), (vec![1, 2], vec![]));
        happens(&writer, 1);
        assert_eq!((ids(all.poll().unwrap()), ids(new.wait(Duration::ZERO).unwrap())), (vec![3], vec![3]));
        assert_eq!((all.poll().unwrap().len(), all.last()), (0, 3));
        let wanted = Selection { after: 1, limit: Some(1), ..Selection::default() };
        let mut some = Subscription::new(read(), wanted);
        assert_eq!((ids(some.poll().unwrap()), ids(some.poll().unwrap())), (vec![2], vec![]));
    }

    #[test]
    fn more_than_a_batch_comes_in_several() {
        let store = Store::in_memory().unwrap();
        happens(&store, BATCH as usize + 1);
        let mut all = Subscription::new(store, Selection::default());
        let sizes = [0; 3].map(|_| all.poll().unwrap().len());
        assert_eq!(sizes, [BATCH as usize, 1, 0]);
    }
}
