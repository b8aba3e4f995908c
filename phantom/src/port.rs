//! Ports: where phantoms' frames come from and go to in real time. What is said and when is for `responder.rs`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::SystemTime;

use halfopen::link::Tap;

/// A place on a link where frames arrive and leave.
pub trait Port: Send {
    /// What becomes readable when a frame has arrived.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// Hands over frames that have arrived, at least one if there is any, each with the time of its arrival by the system's
    /// clock; false if there is none.
    ///
    /// # Errors
    /// The link is gone.
    fn receive(&mut self, sink: &mut dyn FnMut(SystemTime, &[u8])) -> io::Result<bool>;

    /// Sends frames. What the link has no room for is lost.
    ///
    /// # Errors
    /// The link is gone.
    fn send(&mut self, frames: &[Vec<u8>]) -> io::Result<()>;

    /// Frames that were lost because nobody took them off in time, since the last call.
    ///
    /// # Errors
    /// The link is gone.
    fn take_drops(&mut self) -> io::Result<u64>;

    /// Takes notice of a device that went down, which poll would tell again and again.
    fn clear_error(&mut self) {
        let _ = rustix::net::sockopt::socket_error(self.descriptor());
    }
}

impl Port for Tap {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn receive(&mut self, sink: &mut dyn FnMut(SystemTime, &[u8])) -> io::Result<bool> {
        Tap::receive(self, sink)
    }

    fn send(&mut self, frames: &[Vec<u8>]) -> io::Result<()> {
        frames.iter().try_for_each(|frame| Tap::send(self, frame))
    }

    fn take_drops(&mut self) -> io::Result<u64> {
        Ok(Tap::take_drops(self))
    }
}
