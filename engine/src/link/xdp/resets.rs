//! The way out for the RSTs that close half-open connections whose SYN-ACKs the kernel does not see: a packet socket, by
//! batches. What the device does not take at once waits for the next time.

use std::collections::VecDeque;
use std::io;

use crate::link::queue::BATCH;
use crate::link::{af_packet, is_busy};
use crate::route::Interface;
use crate::sys::{PacketSocket, SendBatch};
use crate::wire::rst::Rst;

/// As many wait at most; a device that is so far behind has worse to do than to be polite.
const WAITING: usize = 1 << 16;

/// RSTs on their way: slots `head..tail` of the batch, then what waits.
pub(super) struct Resets {
    socket: PacketSocket,
    batch: SendBatch,
    head: usize,
    tail: usize,
    waiting: VecDeque<Rst>,
}

impl Resets {
    pub(super) fn open(interface: &Interface) -> io::Result<Self> {
        let socket = af_packet::sending_socket(interface)?;
        Ok(Resets { socket, batch: SendBatch::new(BATCH), head: 0, tail: 0, waiting: VecDeque::new() })
    }

    /// Sends these, after those that wait, as far as the device takes them.
    pub(super) fn send(&mut self, resets: &[Rst]) {
        let room = WAITING - self.waiting.len();
        self.waiting.extend(resets.iter().take(room));
        while self.fill() {
            match self.batch.send(&self.socket, self.head, self.tail) {
                Ok(sent) => self.head += sent,
                Err(error) if is_busy(&error) => return,
                Err(_) => self.head += 1,
            }
        }
    }

    /// Whether there is something in the batch, now.
    fn fill(&mut self) -> bool {
        if self.head == self.tail {
            (self.head, self.tail) = (0, 0);
            while self.tail < BATCH
                && let Some(rst) = self.waiting.pop_front()
            {
                let frame = rst.frame();
                self.batch.frame(self.tail)[..frame.len()].copy_from_slice(frame);
                self.batch.set(self.tail, frame.len(), None);
                self.tail += 1;
            }
        }
        self.head < self.tail
    }
}
