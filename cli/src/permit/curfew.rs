//! The end of the hours: a scan that runs past it is stopped. By the clock on the wall, which may be set, and goes on
//! while the machine sleeps; so it is looked at again and again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;

/// Waits for the end of the hours until dropped.
#[derive(Debug)]
pub(crate) struct Curfew {
    over: Arc<AtomicBool>,
    quit: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// No longer than that without a look at the clock.
const LOOK: Duration = Duration::from_secs(10);

impl Curfew {
    /// Does something when that time has come.
    pub(crate) fn at(end: Timestamp, then: impl FnOnce() + Send + 'static) -> io::Result<Curfew> {
        let (quit, wait) = mpsc::channel();
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let watch = move || {
            if comes(end, &wait, Timestamp::now) {
                // Relaxed: the flag alone is read.
                seen.store(true, Ordering::Relaxed);
                then();
            }
        };
        let thread = thread::Builder::new().name("curfew".into()).spawn(watch)?;
        Ok(Curfew { over, quit: Some(quit), thread: Some(thread) })
    }

    /// Whether the time has come.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

impl Drop for Curfew {
    fn drop(&mut self) {
        drop(self.quit.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell, and a panic of its own has been printed.
            let _ = thread.join();
        }
    }
}

/// Waits for a time; false if nobody waits for it any more.
fn comes(end: Timestamp, quit: &Receiver<()>, mut now: impl FnMut() -> Timestamp) -> bool {
    loop {
        let Some(left) = Duration::try_from(end.duration_since(now())).ok().filter(|left| !left.is_zero()) else {
            return true;
        };
        match quit.recv_timeout(left.min(LOOK)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, millis: i64) -> Timestamp {
        Timestamp::from_millisecond(seconds * 1000 + millis).unwrap()
    }

    #[test]
    fn the_clock_may_be_set() {
        let (_keep, quit) = mpsc::channel();
        // It is set back once on the way.
        let mut times = [at(9, 999), at(9, 998), at(10, 0)].into_iter();
        assert!(comes(at(10, 0), &quit, || times.next().unwrap()));
        assert_eq!(times.next(), None);
    }

    #[test]
    fn a_scan_that_ends_before_waits_for_nothing() {
        let curfew = Curfew::at(Timestamp::MAX, || panic!("too early")).unwrap();
        assert!(!curfew.is_over());
        drop(curfew);
    }

    #[test]
    fn a_time_that_is_past_has_come() {
        let (told, come) = mpsc::channel();
        let curfew = Curfew::at(Timestamp::MIN, move || told.send(()).unwrap()).unwrap();
        come.recv().unwrap();
        assert!(curfew.is_over());
    }
}
