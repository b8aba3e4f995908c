//! Phantoms on a real link: a thread that reads frames from a [`Port`], has the phantoms answer, and sends what they say
//! when it is due. Loss of its own is reported, so that it is never mistaken for the scanner's.
//!
//! What happens on the way happens by the time at which the kernel says that a frame arrived: frames that had to wait for
//! this thread do not come to a narrow link all at once, and their answers are not later for it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Instant, SystemTime};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use crate::effects::{Effects, EffectsTally};
use crate::phantoms::Phantoms;
use crate::port::Port;
use crate::schedule::{Waiting, answer};
use crate::tally::Tally;

/// Frames read between two looks at the clock.
const BATCH: usize = 64;

/// Phantoms at work. They stop when this is dropped.
#[derive(Debug)]
pub struct Responder {
    shared: Arc<Mutex<Shared>>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    phantoms: Phantoms,
    effects: Effects,
    drops: u64,
    /// What ended the thread, if it was not asked to.
    failure: Option<String>,
}

impl Responder {
    /// Sets phantoms to work behind a port.
    ///
    /// # Errors
    /// No thread or no event descriptor to be had.
    pub fn start(phantoms: Phantoms, port: Box<dyn Port>) -> io::Result<Responder> {
        let effects = Effects::of(phantoms.scenario());
        let shared = Arc::new(Mutex::new(Shared { phantoms, effects, drops: 0, failure: None }));
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let worker = Worker::new(port, Arc::clone(&shared), Arc::clone(&stop));
        let thread = thread::Builder::new().name("phantoms".into()).spawn(|| worker.run())?;
        Ok(Responder { shared, stop, thread: Some(thread) })
    }

    /// A look at the phantoms and their counts, while they wait.
    pub fn with<R>(&self, look: impl FnOnce(&Phantoms) -> R) -> R {
        look(&lock(&self.shared).phantoms)
    }

    /// What ended their thread, if it was not asked to.
    pub fn failure(&self) -> Option<String> {
        lock(&self.shared).failure.clone()
    }

    /// What the phantoms saw and did so far.
    pub fn tally(&self) -> Tally {
        self.with(Phantoms::tally)
    }

    /// What the way did to packets so far.
    pub fn effects_tally(&self) -> EffectsTally {
        lock(&self.shared).effects.tally()
    }

    /// Frames that the responder itself was too slow for. A test of completeness is void if there are any.
    pub fn drops(&self) -> u64 {
        lock(&self.shared).drops
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nanoseconds since the responder began.
struct Clock {
    start: Instant,
    /// The same moment by the system's clock, which arrivals are told in.
    system: SystemTime,
    /// The latest arrival.
    latest: u64,
}

impl Clock {
    fn new() -> Clock {
        Clock { start: Instant::now(), system: SystemTime::now(), latest: 0 }
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// The time of an arrival: never before an earlier one's, never to come, whatever is done to the system's clock.
    fn arrived(&mut self, arrival: SystemTime) -> u64 {
        let arrival = arrival.duration_since(self.system).map_or(0, |since| since.as_nanos() as u64);
        self.latest = arrival.min(self.now()).max(self.latest);
        self.latest
    }
}

struct Worker {
    port: Box<dyn Port>,
    shared: Arc<Mutex<Shared>>,
    stop: Arc<OwnedFd>,
    clock: Clock,
    waiting: BinaryHeap<Reverse<Waiting>>,
    made: u64,
    due: Vec<Vec<u8>>,
}

impl Worker {
    fn new(port: Box<dyn Port>, shared: Arc<Mutex<Shared>>, stop: Arc<OwnedFd>) -> Worker {
        let waiting = BinaryHeap::new();
        Worker { port, shared, stop, clock: Clock::new(), waiting, made: 0, due: Vec::new() }
    }

    fn run(mut self) {
        if let Err(error) = self.work() {
            lock(&self.shared).failure = Some(error.to_string());
        }
    }

    fn work(&mut self) -> io::Result<()> {
        loop {
            let more = self.receive()?;
            self.collect_due();
            self.port.send(&self.due)?;
            self.due.clear();
            if !more && self.wait()? {
                return Ok(());
            }
        }
    }

    /// Answers at most a batch of frames; false when there were fewer.
    fn receive(&mut self) -> io::Result<bool> {
        let Worker { port, shared, clock, waiting, made, due, .. } = self;
        let mut shared = lock(shared);
        shared.drops += port.take_drops()?;
        let Shared { phantoms, effects, .. } = &mut *shared;
        for _ in 0..BATCH {
            let received = port.receive(&mut |arrival, frame| {
                let now = clock.arrived(arrival);
                answer(phantoms, effects, now, frame, &mut |delay, frame| match delay {
                    0 => due.push(frame),
                    _ => {
                        *made += 1;
                        waiting.push(Reverse(Waiting { due: now + delay, sequence: *made, frame }));
                    }
                });
            })?;
            if !received {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn collect_due(&mut self) {
        let now = self.clock.now();
        while self.waiting.peek().is_some_and(|Reverse(first)| first.due <= now) {
            self.due.extend(self.waiting.pop().map(|Reverse(first)| first.frame));
        }
    }

    /// Waits for a frame, for the time of the next one to be sent, or for the end; true for the end.
    fn wait(&mut self) -> io::Result<bool> {
        let timeout = self.waiting.peek().map(|Reverse(first)| {
            let left = first.due.saturating_sub(self.clock.now());
            Timespec { tv_sec: (left / 1_000_000_000) as i64, tv_nsec: (left % 1_000_000_000) as _ }
        });
        let port = self.port.descriptor();
        let mut fds = [PollFd::new(&port, PollFlags::IN), PollFd::new(&*self.stop, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {
                let (failed, ended) = (fds[0].revents().contains(PollFlags::ERR), !fds[1].revents().is_empty());
                if failed {
                    self.port.clear_error();
                }
                Ok(ended)
            }
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
