//! Ends a scan early, from any thread: the run of the engine that is under way, and those that would follow it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use halfopen::Stopper;

use crate::intake::Waker;

/// Ends a scan. Clones end the same one.
#[derive(Debug, Clone)]
pub(crate) struct Halt {
    state: Arc<Mutex<State>>,
    /// Who waits for more to scan.
    waker: Option<Waker>,
}

#[derive(Debug)]
struct State {
    run: Stopper,
    asked: Option<Manner>,
}

/// How it is to end.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Stop,
    Suspend,
    Abort,
}

impl Halt {
    /// Of a scan whose first run can be stopped by this.
    pub(crate) fn of(run: Stopper, waker: Option<Waker>) -> Halt {
        Halt { state: Arc::new(Mutex::new(State { run, asked: None })), waker }
    }

    /// A further run begins, unless the scan is to end: then it is ended in the same way.
    pub(crate) fn follow(&self, run: Stopper) {
        let mut state = self.lock();
        state.asked.into_iter().for_each(|manner| manner.end(&run));
        state.run = run;
    }

    /// Sends no more probes, waits for late replies, ends.
    pub(crate) fn stop(&self) {
        self.ask(Manner::Stop);
    }

    /// The same for a scan that is to be resumed.
    pub(crate) fn suspend(&self) {
        self.ask(Manner::Suspend);
    }

    /// Ends at once.
    pub(crate) fn abort(&self) {
        self.ask(Manner::Abort);
    }

    fn ask(&self, manner: Manner) {
        let mut state = self.lock();
        state.asked = Some(manner);
        manner.end(&state.run);
        drop(state);
        self.waker.iter().for_each(Waker::halt);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Manner {
    fn end(self, run: &Stopper) {
        match self {
            Manner::Stop => run.stop(),
            Manner::Suspend => run.suspend(),
            Manner::Abort => run.abort(),
        }
    }
}
