//! Phantoms on the lab's links: the responder behind a veth end or a tun device, through ports of the lab's own. A phantom that
//! fails is a failed test.

use std::io::{self, IoSlice};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use halfopen_phantom::{Medium, Phantoms, Port, Scenario, Tally, netlink};
use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags};

use crate::link::Tun;
use crate::namespace::Namespace;
use crate::sys::PacketRing;

/// Frames sent by one call.
const BATCH: usize = 64;

/// Phantoms at work. They stop when this is dropped.
#[derive(Debug)]
pub struct Responder(halfopen_phantom::Responder);

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
        Responder::start(Phantoms::new(scenario, Medium::Ip), Box::new(tun))
    }

    fn start_on_veth(namespace: &Namespace, device: &str, phantoms: Phantoms) -> Responder {
        let ring = namespace.run(|| PacketRing::open(netlink::index_of(device)?));
        let ring = ring.unwrap_or_else(|error| panic!("cannot open {device} in {}: {error}", namespace.name()));
        Responder::start(phantoms, Box::new(ring))
    }

    fn start(phantoms: Phantoms, port: Box<dyn Port>) -> Responder {
        let started = halfopen_phantom::Responder::start(phantoms, port);
        Responder(started.unwrap_or_else(|error| panic!("cannot set phantoms to work: {error}")))
    }

    /// A look at the phantoms and their counts, while they wait. Panics if their thread has failed.
    pub fn with<R>(&self, look: impl FnOnce(&Phantoms) -> R) -> R {
        if let Some(failure) = self.0.failure() {
            panic!("the responder has failed: {failure}");
        }
        self.0.with(look)
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
}

impl Deref for Responder {
    type Target = halfopen_phantom::Responder;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Port for PacketRing {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn receive(&mut self, sink: &mut dyn FnMut(SystemTime, &[u8])) -> io::Result<bool> {
        Ok(PacketRing::receive(self, sink))
    }

    fn send(&mut self, frames: &[Vec<u8>]) -> io::Result<()> {
        send_batches(self.as_fd(), frames)
    }

    fn take_drops(&mut self) -> io::Result<u64> {
        PacketRing::take_drops(self).map(u64::from)
    }
}

impl Port for Tun {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn receive(&mut self, sink: &mut dyn FnMut(SystemTime, &[u8])) -> io::Result<bool> {
        receive_from_tun(self, |frame| sink(SystemTime::now(), frame))
    }

    fn send(&mut self, frames: &[Vec<u8>]) -> io::Result<()> {
        frames.iter().try_for_each(|frame| rustix::io::write(&*self, frame).map(drop)).or_else(tolerate)
    }

    /// The device's queue counts its own; nothing was lost on our side of it.
    fn take_drops(&mut self) -> io::Result<u64> {
        Ok(0)
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
