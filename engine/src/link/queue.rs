//! The batch of probes that both socket links send from: slots that are patched in place, sent with one system call,
//! and kept when the kernel does not take them all.

use std::io;
use std::os::fd::AsFd;

use socket2::SockAddr;

use super::{TemplateId, TxLosses, is_busy, is_fatal};
use crate::sys::SendBatch;
use crate::wire::syn::{Probe, SynTemplate};

/// zmap's batch too: beyond 64 frames a system call's cost no longer shows.
pub(super) const BATCH: usize = 64;

/// Probes on their way to a socket: slots `head..tail` wait.
pub(super) struct Queue {
    batch: SendBatch,
    templates: Vec<SynTemplate>,
    /// Which template a slot's bytes are a probe of.
    laid: Box<[Option<TemplateId>]>,
    head: usize,
    tail: usize,
    losses: TxLosses,
}

impl Queue {
    pub(super) fn new() -> Self {
        let batch = SendBatch::new(BATCH);
        let laid = vec![None; batch.slots()].into_boxed_slice();
        Queue { batch, templates: Vec::new(), laid, head: 0, tail: 0, losses: TxLosses::default() }
    }

    pub(super) fn prepare(&mut self, template: &SynTemplate) -> TemplateId {
        self.templates.push(template.clone());
        TemplateId(self.templates.len() - 1)
    }

    pub(super) fn room(&self) -> usize {
        BATCH - self.tail
    }

    /// Writes a probe into the next slot: a copy of the template only if the slot held another one's.
    #[inline]
    pub(super) fn push(&mut self, id: TemplateId, probe: &Probe, to: Option<SockAddr>) {
        let Some(template) = self.templates.get(id.0) else { return };
        let Some(laid) = self.laid.get_mut(self.tail) else { return };
        let frame = self.batch.frame(self.tail);
        if *laid != Some(id) {
            frame[..template.frame().len()].copy_from_slice(template.frame());
            *laid = Some(id);
        }
        template.patch(frame, probe);
        self.batch.set(self.tail, template.frame().len(), to);
        self.tail += 1;
    }

    /// Sends what waits. A full kernel queue leaves the rest for later; a refused probe is given up; an error means that
    /// the device is gone.
    pub(super) fn flush(&mut self, socket: impl AsFd) -> io::Result<bool> {
        while self.head < self.tail {
            match self.batch.send(&socket, self.head, self.tail) {
                Ok(sent) => {
                    self.head += sent;
                    // One that is refused behind others is not told of, only left.
                    self.losses.retries += u64::from(self.head < self.tail);
                }
                Err(error) if is_fatal(&error) => return Err(error),
                Err(error) if is_busy(&error) => {
                    self.losses.retries += 1;
                    return Ok(false);
                }
                Err(_) => {
                    self.losses.errors += 1;
                    self.head += 1;
                }
            }
        }
        (self.head, self.tail) = (0, 0);
        Ok(true)
    }

    pub(super) fn losses(&self) -> TxLosses {
        self.losses
    }
}
