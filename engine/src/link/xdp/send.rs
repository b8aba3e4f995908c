//! The sending half by AF_XDP: probes lie in the slots of the UMEM as patched templates, and go by batches.
//!
//! **Copy mode** (any device): sendto(2) has the kernel make a packet of each frame and hand it to the driver past the
//! queueing discipline, as far as the driver takes them. What it says (net/xdp/xsk.c, `__xsk_generic_xmit`):
//! nothing: all were taken; `EAGAIN`: the rest stays in the ring, because a budget is used up or the device is full;
//! `ENOBUFS`: likewise, for want of memory; `EBUSY`: the last one taken was dropped, and given back.
//!
//! **Zero copy**: the driver takes frames out of the ring by itself, at its own time. They are then as good as sent, as
//! in any device's queue, unless it takes none at all.

use std::io;

use super::Refusal;
use super::receive::open_freed;
use crate::link::queue::BATCH;
use crate::link::{LinkTx, TemplateId, TxLosses, is_fatal};
use crate::route::Interface;
use crate::sys::{Channels, XdpRequest, XdpTxRing};
use crate::wire::syn::{Probe, SynTemplate};

/// Slots of a queue, 4 MiB: several batches in the driver's hands, and in its completion queue.
pub(super) const SLOTS: u32 = 2048;

/// Opens sending ends of the first queues of a device, as many as are asked for or as it has.
pub(super) fn open(interface: &Interface, senders: usize) -> Result<Vec<XdpTxRing>, Refusal> {
    let queues = senders.min(Channels::of(&interface.name).tx as usize);
    let mut ends = Vec::new();
    for queue in 0..queues as u32 {
        // Without a program of ours in the driver it need not be ready to send without copies either: some say so only
        // when it comes to sending (drivers/net/ethernet/intel/ixgbe: ENXIO).
        let request = XdpRequest { device: interface.index, queue, slots: SLOTS, chunks: 0, zero_copy: false };
        ends.extend(open_freed(request).map_err(|error| Refusal::queue(queue, error))?.tx);
    }
    Ok(ends)
}

/// The sending half.
pub(super) struct XdpTx {
    ring: XdpTxRing,
    zero_copy: bool,
    templates: Vec<SynTemplate>,
    /// Which template a slot's bytes are a probe of.
    laid: Box<[Option<TemplateId>]>,
    /// How far the device had come at the last flush.
    before: u32,
    losses: TxLosses,
}

impl XdpTx {
    pub(super) fn new(ring: XdpTxRing, zero_copy: bool) -> Self {
        let laid = vec![None; ring.slots()].into_boxed_slice();
        let before = ring.reached();
        XdpTx { ring, zero_copy, templates: Vec::new(), laid, before, losses: TxLosses::default() }
    }

    /// Has the kernel take what is in the ring, until it takes no more.
    fn drain(&mut self) -> io::Result<bool> {
        loop {
            let reached = self.ring.reached();
            let kicked = self.ring.kick();
            self.ring.reap();
            match kicked {
                Err(error) if is_fatal(&error) => return Err(error),
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    self.losses.retries += 1;
                    self.losses.errors += u64::from(!self.ring.push_dropped(reached));
                    return Ok(false);
                }
                // Whatever else it says: the ring tells what it has taken.
                _ if self.ring.waiting() == 0 => return Ok(true),
                _ if self.ring.reached() == reached => {
                    self.losses.retries += 1;
                    return Ok(false);
                }
                _ => {}
            }
        }
    }

    /// Lets the device know, and says whether it still takes anything.
    fn tell(&mut self) -> io::Result<bool> {
        match self.ring.kick() {
            Err(error) if is_fatal(&error) => return Err(error),
            _ => self.ring.reap(),
        }
        let before = std::mem::replace(&mut self.before, self.ring.reached());
        let moves = self.ring.waiting() == 0 || self.before != before;
        self.losses.retries += u64::from(!moves);
        Ok(moves)
    }
}

impl LinkTx for XdpTx {
    fn prepare(&mut self, template: &SynTemplate) -> TemplateId {
        self.templates.push(template.clone());
        TemplateId(self.templates.len() - 1)
    }

    fn room(&self) -> usize {
        let unsent = if self.zero_copy { 0 } else { self.ring.waiting() };
        BATCH.saturating_sub(unsent).min(self.ring.free())
    }

    #[inline]
    fn probe(&mut self, id: TemplateId, probe: &Probe) {
        let Some(template) = self.templates.get(id.0) else { return };
        let Some((slot, frame)) = self.ring.slot() else { return };
        let len = template.frame().len();
        if self.laid[slot] != Some(id) {
            frame[..len].copy_from_slice(template.frame());
            self.laid[slot] = Some(id);
        }
        template.patch(frame, probe);
        self.ring.push(len);
    }

    fn flush(&mut self) -> io::Result<bool> {
        match self.ring.waiting() {
            0 => {
                self.ring.reap();
                Ok(true)
            }
            _ if self.zero_copy => self.tell(),
            _ => self.drain(),
        }
    }

    fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        let Some((slot, bytes)) = self.ring.slot() else { return Err(io::Error::from_raw_os_error(libc::EAGAIN)) };
        let len = frame.len().min(bytes.len());
        bytes[..len].copy_from_slice(&frame[..len]);
        self.laid[slot] = None;
        self.ring.push(len);
        Ok(())
    }

    fn losses(&self) -> TxLosses {
        self.losses
    }
}
