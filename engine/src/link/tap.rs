//! A tap: every frame that arrives at an Ethernet device, and a way to send whole ones. For whoever stands at the far end of
//! a link that is scanned (phantom hosts) or looks on; a scan has no use for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::SystemTime;

use super::af_packet::sending_socket;
use super::ring::RingRx;
use super::{Clock, LinkRx, is_busy, is_fatal, opening};
use crate::error::Error;
use crate::route::Interface;
use crate::sys::PacketSocket;

/// Ring memory: a quarter of a second at 100,000 small frames a second.
const RING: usize = 8 << 20;

/// A tap on an Ethernet device, in the network namespace in which it was opened. It hears no frames that leave the device, its
/// own included.
pub struct Tap {
    rx: RingRx,
    tx: PacketSocket,
    clock: Clock,
    told: u64,
}

impl Tap {
    /// Opens it.
    ///
    /// # Errors
    /// Missing rights (CAP_NET_RAW), no such device, no memory for the ring.
    pub fn open(interface: &Interface) -> Result<Tap, Error> {
        let open = || Ok((RingRx::open_unfiltered(interface, RING)?, sending_socket(interface)?));
        let (rx, tx) = open().map_err(|error| opening("opening a packet socket", interface, error))?;
        Ok(Tap { rx, tx, clock: Clock::new(), told: 0 })
    }

    /// Hands over what has arrived, with the time at which the kernel saw it; false if there was nothing.
    ///
    /// # Errors
    /// The device is gone. One that is down only hands over nothing.
    pub fn receive(&mut self, sink: &mut dyn FnMut(SystemTime, &[u8])) -> io::Result<bool> {
        let (clock, mut any) = (self.clock, false);
        let received = self.rx.receive(&clock, &mut |received| {
            any = true;
            sink(clock.started + received.at.since(crate::Time::ZERO), received.frame);
        });
        match received {
            Err(error) if error.raw_os_error() != Some(libc::ENETDOWN) => Err(error),
            _ => Ok(any),
        }
    }

    /// Sends a frame. One that the device has no room for is lost, as on any link; so is one while it is down.
    ///
    /// # Errors
    /// The device is gone.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        match self.tx.send(frame) {
            Err(error) if is_busy(&error) || error.raw_os_error() == Some(libc::ENETDOWN) => Ok(()),
            Err(error) if is_fatal(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Frames that were not taken off in time, since the last call.
    pub fn take_drops(&mut self) -> u64 {
        let drops = self.rx.drops();
        drops - std::mem::replace(&mut self.told, drops)
    }
}

/// What becomes readable when a frame has arrived.
impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.rx.socket().as_fd()
    }
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap").finish_non_exhaustive()
    }
}
