//! The thread that lends the kernel its time: it calls BPF_PROG_TEST_RUN, and is in that call while there is something to
//! send. A call costs some 25 ms to bring down (the kernel waits for its frames to come home), so it lasts as long as
//! it may, and is ended from outside by a signal.
//!
//! ```text
//!          wake, unless held               repeat used up, or interrupted
//! parked ---------------------> running ----------------------------------> parked
//! ```
//!
//! Who wakes it has stored what the runner looks at before it parks, and looks after that whether it runs; the runner
//! says that it does not run, and then looks once more. All of this is sequentially consistent, so one of the two sees
//! the other. Likewise who holds it says so and then looks whether it runs, and the runner says that it runs before it
//! looks whether it is held.
//!
//! A device's trial has a thread of its own that ends with it: the one that serves a scan is started by the scan's first
//! frame, from the thread that sends it, and so has that thread's rights and no more.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering, fence};
use std::sync::mpsc::sync_channel;
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use halfopen_bpf::{Program, WordMap};

use super::program::{CONSUMED, PRODUCED, THREAD};
use crate::cores::stay_on;
use crate::sys::Interruptible;

/// Frames a batch. veth's queue holds 256, and softirqs have their turn after each batch.
const BATCH: u32 = 64;
/// As many frames, sent or empty, as a call may have: a quarter of an hour of nothing.
const REPEAT: u32 = 1 << 31;
/// How soon to look again whether an interruption has worked.
const AGAIN: Duration = Duration::from_micros(200);

/// The thread, from outside.
#[derive(Debug)]
pub(super) struct Runner {
    state: Arc<State>,
    handle: Option<JoinHandle<()>>,
    thread: Thread,
    interruptible: Interruptible,
}

#[derive(Debug, Default)]
struct State {
    running: AtomicBool,
    /// Not to run until it is woken again.
    held: AtomicBool,
    ended: AtomicBool,
    /// The system's error that ended it; 0 for none.
    error: AtomicI32,
}

/// What the thread runs.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) program: Program,
    pub(super) words: Arc<WordMap>,
    /// What each frame is made from.
    pub(super) frame: Vec<u8>,
    /// Where it stays, if it has a core.
    pub(super) core: Option<usize>,
}

impl Runner {
    /// Starts the thread, parked.
    pub(super) fn start(carrier: &Arc<Carrier>) -> io::Result<Self> {
        let state = Arc::new(State { held: AtomicBool::new(true), ..State::default() });
        let (known, thread) = sync_channel(1);
        let handle = {
            let (state, carrier) = (Arc::clone(&state), Arc::clone(carrier));
            let body = move || {
                stay_on(carrier.core);
                let here = Interruptible::here();
                let started = here.is_ok();
                // Whoever started it waits for this.
                let _ = known.send(here);
                if started {
                    run(&carrier, &state);
                }
            };
            std::thread::Builder::new().name("halfopen-live".into()).spawn(body)?
        };
        let interruptible = thread.recv().map_err(io::Error::other)??;
        carrier.words.words()[THREAD].store(interruptible.thread().into(), Ordering::SeqCst);
        Ok(Runner { state, thread: handle.thread().clone(), handle: Some(handle), interruptible })
    }

    /// There is something to send.
    #[inline]
    pub(super) fn wake(&self) {
        if self.state.held.load(Ordering::Relaxed) {
            // Only the caller's own thread ever sets it.
            self.state.held.store(false, Ordering::SeqCst);
        }
        fence(Ordering::SeqCst);
        if !self.state.running.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
    }

    /// Parks it; returns when it is. At once if it is parked already.
    pub(super) fn hold(&self) {
        self.state.held.store(true, Ordering::SeqCst);
        while self.state.running.load(Ordering::SeqCst) && !self.state.ended.load(Ordering::SeqCst) {
            self.interrupt();
        }
    }

    /// Tries once; one that comes just before the call begins is lost, and one that nobody handles is, too.
    fn interrupt(&self) {
        self.interruptible.renew();
        self.interruptible.interrupt();
        std::thread::sleep(AGAIN);
    }

    /// What ended it, if something has.
    pub(super) fn error(&self) -> Option<io::Error> {
        match self.state.error.load(Ordering::SeqCst) {
            0 => None,
            code => Some(io::Error::from_raw_os_error(code)),
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        let Some(handle) = self.handle.take() else { return };
        while !handle.is_finished() {
            self.thread.unpark();
            self.interrupt();
        }
        // It does not panic; and if it did, there is nothing more to bring down.
        let _ = handle.join();
    }
}

fn run(carrier: &Carrier, state: &State) {
    let Carrier { program, words, frame, .. } = carrier;
    while !state.ended.load(Ordering::SeqCst) {
        state.running.store(true, Ordering::SeqCst);
        if !state.wanted(words) {
            state.running.store(false, Ordering::SeqCst);
            if !state.wanted(words) {
                std::thread::park();
            }
            continue;
        }
        match program.transmit(frame, REPEAT, BATCH) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                state.error.store(error.raw_os_error().unwrap_or(libc::EIO), Ordering::SeqCst);
                state.ended.store(true, Ordering::SeqCst);
            }
            _ => {}
        }
        state.running.store(false, Ordering::SeqCst);
    }
    state.running.store(false, Ordering::SeqCst);
}

impl State {
    /// Whether there is something to send, and nobody against it.
    fn wanted(&self, words: &WordMap) -> bool {
        let words = words.words();
        let waiting = words[PRODUCED].load(Ordering::SeqCst) != words[CONSUMED].load(Ordering::SeqCst);
        waiting && !self.held.load(Ordering::SeqCst)
    }
}
