//! Phantoms on a real link: a thread that reads frames from a veth end or a tun device, has the phantoms answer, and
//! sends what they say when it is due. Loss of its own is reported, so that it is never mistaken for the scanner's.
//!
//! What happens on the way happens by the time at which the kernel says that a frame arrived: frames that had to wait for
//! this thread do not come to a narrow link all at once, and their answers are not later for it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags};

use crate::effects::{Effects, EffectsTally};
use crate::link::Tun;
use crate::namespace::Namespace;
use crate::netlink;
use crate::phantom::{Medium, Phantoms};
use crate::scenario::Scenario;
use crate::schedule::{Waiting, answer};
use crate::sys::PacketRing;
use crate::tally::Tally;

/// Frames sent by one call, and read between two looks at the clock.
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
    /// Phantoms behind `device`, the far end of a [`phantom_link`](crate::phantom_link).
    pub fn on_veth(namespace: &Namespace, device: &str, scenario: Scenario) -> Responder {
        Responder::start_on_veth(namespace, device, Phantoms::new(scenario, Medium::Ethernet))
    }

    /// The same, and counts for every target are kept.
    pub fn recording_on_veth(namespace: &Namespace, device: &str, scenario: Scenario) -> Responder {
        Responder::start_on_veth(namespace, device, Phantoms::new(scenario, Medium::Ethernet).recording())
    }

    /// Phantoms behind a tun device.
    pub fn on_tun(tun: Tun, scenario: Scenario) -> Responder {
        rustix::io::ioctl_fionbio(&tun, true).unwrap_or_else(|error| panic!("cannot read from a tun device: {error}"));
        Responder::start(Phantoms::new(scenario, Medium::Ip), Port::Tun(tun))
    }

    fn start_on_veth(namespace: &Namespace, device: &str, phantoms: Phantoms) -> Responder {
        let ring = namespace.run(|| PacketRing::open(netlink::index_of(device)?));
        let ring = ring.unwrap_or_else(|error| panic!("cannot open {device} in {}: {error}", namespace.name()));
        Responder::start(phantoms, Port::Ring(ring))
    }

    fn start(phantoms: Phantoms, port: Port) -> Responder {
        let effects = Effects::of(phantoms.scenario());
        let shared = Arc::new(Mutex::new(Shared { phantoms, effects, drops: 0, failure: None }));
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).expect("an event can be made"));
        let worker = Worker::new(port, Arc::clone(&shared), Arc::clone(&stop));
        let thread = thread::Builder::new().name("phantoms".into()).spawn(|| worker.run());
        Responder { shared, stop, thread: Some(thread.expect("a thread can be started")) }
    }

    /// A look at the phantoms and their counts, while they wait. Panics if their thread has failed.
    pub fn with<R>(&self, look: impl FnOnce(&Phantoms) -> R) -> R {
        let shared = lock(&self.shared);
        if let Some(failure) = &shared.failure {
            panic!("the responder has failed: {failure}");
        }
        look(&shared.phantoms)
    }

    /// What the phantoms saw and did so far.
    pub fn tally(&self) -> Tally {
        self.with(Phantoms::tally)
    }

    /// Waits until the counts are as `reached` wants them, and gives the last ones; after five seconds, whatever they
    /// are. What the scanner has sent may not have been read yet.
    pub fn wait_for(&self, reached: impl Fn(&Tally) -> bool) -> Tally {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let tally = self.tally();
            if reached(&tally) || Instant::now() > deadline {
                return tally;
            }
            thread::sleep(Duration::from_millis(2));
        }
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

/// Where frames come from and go to.
enum Port {
    Ring(PacketRing),
    Tun(Tun),
}

impl Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Port::Ring(ring) => ring.as_fd(),
            Port::Tun(tun) => tun.as_fd(),
        }
    }

    /// Hands one frame to `use_frame`, with the time of its arrival; false if there is none.
    fn receive(&mut self, use_frame: impl FnOnce(SystemTime, &[u8])) -> io::Result<bool> {
        match self {
            Port::Ring(ring) => Ok(ring.receive(use_frame)),
            Port::Tun(tun) => receive_from_tun(tun, |frame| use_frame(SystemTime::now(), frame)),
        }
    }

    fn take_drops(&self) -> io::Result<u32> {
        match self {
            Port::Ring(ring) => ring.take_drops(),
            // The device's queue counts its own; nothing was lost on our side of it.
            Port::Tun(_) => Ok(0),
        }
    }

    /// Takes notice of a device that went down, which poll would tell again and again.
    fn clear_error(&self) {
        let _ = rustix::net::sockopt::socket_error(self.as_fd());
    }

    fn send(&self, frames: &[Vec<u8>]) -> io::Result<()> {
        match self {
            Port::Ring(ring) => send_batches(ring.as_fd(), frames),
            Port::Tun(tun) => {
                frames.iter().try_for_each(|frame| rustix::io::write(tun, frame).map(drop)).or_else(tolerate)
            }
        }
    }
}

fn receive_from_tun(tun: &Tun, use_frame: impl FnOnce(&[u8])) -> io::Result<bool> {
    let mut buffer = [0; 2048];
    match rustix::io::read(tun, &mut buffer) {
        Ok(length) => {
            use_frame(&buffer[..length]);
            Ok(true)
        }
        Err(Errno::AGAIN) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn send_batches(socket: BorrowedFd<'_>, frames: &[Vec<u8>]) -> io::Result<()> {
    for batch in frames.chunks(BATCH) {
        let slices: Vec<[IoSlice<'_>; 1]> = batch.iter().map(|frame| [IoSlice::new(frame)]).collect();
        let mut sent = 0;
        while sent < slices.len() {
            sent += send_some(socket, &slices[sent..])?;
        }
    }
    Ok(())
}

fn send_some(socket: BorrowedFd<'_>, slices: &[[IoSlice<'_>; 1]]) -> io::Result<usize> {
    let mut ancillary: Vec<SendAncillaryBuffer<'_, '_, '_>> =
        slices.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let mut messages: Vec<MMsgHdr<'_>> =
        slices.iter().zip(&mut ancillary).map(|(slice, none)| MMsgHdr::new(slice, none)).collect();
    match rustix::net::sendmmsg(socket, &mut messages, SendFlags::empty()) {
        Ok(sent) => Ok(sent),
        // The scanner's end is not ready or its queue is full: the frame is lost, as on any link.
        Err(error) => tolerate(error).map(|()| 1),
    }
}

/// What a link may do at any time: be full, or down.
fn tolerate(error: Errno) -> io::Result<()> {
    match error {
        Errno::NOBUFS | Errno::NETDOWN | Errno::AGAIN | Errno::IO => Ok(()),
        error => Err(error.into()),
    }
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
    port: Port,
    shared: Arc<Mutex<Shared>>,
    stop: Arc<OwnedFd>,
    clock: Clock,
    waiting: BinaryHeap<Reverse<Waiting>>,
    made: u64,
    due: Vec<Vec<u8>>,
}

impl Worker {
    fn new(port: Port, shared: Arc<Mutex<Shared>>, stop: Arc<OwnedFd>) -> Worker {
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
        shared.drops += u64::from(port.take_drops()?);
        let Shared { phantoms, effects, .. } = &mut *shared;
        for _ in 0..BATCH {
            let received = port.receive(|arrival, frame| {
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
    fn wait(&self) -> io::Result<bool> {
        let timeout = self.waiting.peek().map(|Reverse(first)| {
            let left = first.due.saturating_sub(self.clock.now());
            Timespec { tv_sec: (left / 1_000_000_000) as i64, tv_nsec: (left % 1_000_000_000) as _ }
        });
        let port = self.port.as_fd();
        let mut fds = [PollFd::new(&port, PollFlags::IN), PollFd::new(&*self.stop, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {
                if fds[0].revents().contains(PollFlags::ERR) {
                    self.port.clear_error();
                }
                Ok(!fds[1].revents().is_empty())
            }
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
