//! A scan under way, as its owner sees it: events, progress, checkpoints, stop, summary.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crossbeam_channel::Receiver as Channel;

use super::Settings;
use crate::checkpoint::Checkpoint;
use crate::counters::Shared;
use crate::error::Error;
use crate::event::{Event, Progress};
use crate::link::Clock;
use crate::progress;
use crate::summary::Summary;

/// A scan under way. Dropping it ends the scan at once and releases everything.
#[derive(Debug)]
#[must_use = "dropping it ends the scan"]
pub struct Running {
    pub(crate) events: Option<Channel<Event>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Clock,
    pub(crate) targets: u64,
    pub(crate) settings: Settings,
    pub(crate) thread: Option<JoinHandle<Result<Summary, Error>>>,
}

impl Running {
    /// The events, as they happen; ends when the scan does. Blocks while there is none. A reader that is slow slows the
    /// scan; nothing is lost but [`Event::Progress`].
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.events.iter().flat_map(Channel::iter)
    }

    /// The next event, if one comes within this time. `Ok(None)` is the end of the scan.
    ///
    /// # Errors
    /// [`Quiet`] when the time is over and the scan is not.
    pub fn next_event(&self, timeout: Duration) -> Result<Option<Event>, Quiet> {
        let Some(events) = &self.events else { return Ok(None) };
        match events.recv_timeout(timeout) {
            Ok(event) => Ok(Some(event)),
            Err(error) if error.is_disconnected() => Ok(None),
            Err(_) => Err(Quiet),
        }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        progress::snapshot(&self.shared, self.targets, self.clock.now())
    }

    /// What is known of it now: see [`Checkpoint`] for how to keep it so that nothing is lost or told twice. Stops nothing;
    /// it costs one look at the table (a quarter of a byte a target of the stripe at work) in the thread that asks.
    /// After the last event it is the scan's last word; of one that was stopped, and not suspended, what was called silent
    /// may be missing from it.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint::take(&self.shared, self.clock.now())
    }

    /// What takes checkpoints of it, from any thread.
    pub fn checkpointer(&self) -> Checkpointer {
        Checkpointer { shared: Arc::clone(&self.shared), clock: self.clock }
    }

    /// What stops it, from any thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { shared: Arc::clone(&self.shared) }
    }

    /// The settings in effect.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// When it began, as its summary will say; of one that is resumed, when its first run did.
    pub fn started(&self) -> SystemTime {
        self.shared.basis.lock().started.unwrap_or(self.clock.started)
    }

    /// Waits for the end. Events that have not been read are dropped.
    ///
    /// # Errors
    /// What ended the scan before its end, a lost link for instance. What was found until then has been reported.
    pub fn wait(mut self) -> Result<Summary, Error> {
        self.events().for_each(drop);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Err(Error::System {
                operation: "bring the scan to its end".into(),
                source: std::io::Error::other("its thread failed"),
            }),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.abort();
        self.events = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// No event came in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no event in this time")]
pub struct Quiet;

/// Stops a scan.
#[derive(Debug, Clone)]
pub struct Stopper {
    pub(super) shared: Arc<Shared>,
}

impl Stopper {
    /// Sends no more probes, waits for late replies, ends.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// The same for a scan that is to be resumed from a checkpoint taken after its last event: what is silent is called
    /// nothing yet.
    pub fn suspend(&self) {
        self.shared.suspend();
    }

    /// Ends at once.
    pub fn abort(&self) {
        self.shared.abort();
    }
}

/// Takes checkpoints of a scan.
#[derive(Debug, Clone)]
pub struct Checkpointer {
    shared: Arc<Shared>,
    clock: Clock,
}

impl Checkpointer {
    /// See [`Running::checkpoint`].
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint::take(&self.shared, self.clock.now())
    }
}
