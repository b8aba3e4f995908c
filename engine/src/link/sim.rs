//! The `sim` link: both halves in memory, before a network that is a program. For tests, benches and planning.
//!
//! Time is the driver's: it sets the shared clock, and a batch that is sent enters the network at that time.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::queue::BATCH;
use super::{Clock, Halves, LinkRx, LinkTx, Received, TemplateId, TxLosses};
use crate::time::Time;
use crate::wire::reply::{Checksum, Layer};
use crate::wire::syn::{MAX_FRAME, Probe, SynTemplate};

/// A network that exists in memory, with its own idea of delay and loss.
pub trait Network: Send {
    /// A frame enters the network.
    fn send(&mut self, now: Time, frame: &[u8]);

    /// When the next frame will come out; none while nothing is under way.
    fn next_arrival(&self) -> Option<Time>;

    /// Hands over the frames that have come out by `now`, in order, each with the time at which it did.
    fn receive(&mut self, now: Time, sink: &mut dyn FnMut(Time, &[u8]));

    /// What the scanner's own side has dropped so far; nothing, unless the network plays that too.
    fn own_drops(&self) -> OwnDrops {
        OwnDrops::default()
    }
}

/// What a network that plays the scanner's own side has dropped on it, by layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnDrops {
    /// Frames for which the receive ring had no room.
    pub ring: u64,
    /// Frames that the device received and dropped.
    pub device_rx: u64,
    /// Frames that the device dropped instead of sending, by its own counters.
    pub device_tx: u64,
    /// The same by the link's account.
    pub send: u64,
}

/// A network and the virtual time, shared by both halves of a link and the driver.
#[derive(Clone)]
pub(crate) struct SimWorld {
    network: Arc<Mutex<dyn Network>>,
    now: Arc<AtomicU64>,
}

impl SimWorld {
    pub(crate) fn new(network: impl Network + 'static) -> Self {
        SimWorld { network: Arc::new(Mutex::new(network)), now: Arc::default() }
    }

    pub(crate) fn link(&self, senders: usize) -> Halves {
        let tx = |first| SimTx {
            first,
            world: self.clone(),
            templates: Vec::new(),
            slots: [Slot::default(); BATCH],
            used: 0,
        };
        let tx = (0..senders).map(|i| Box::new(tx(i == 0)) as Box<dyn LinkTx>).collect();
        Halves { tx, rx: Box::new(SimRx { world: self.clone() }) }
    }

    pub(crate) fn now(&self) -> Time {
        Time(self.now.load(Ordering::Relaxed))
    }

    pub(crate) fn set_now(&self, now: Time) {
        self.now.store(now.0, Ordering::Relaxed);
    }

    pub(crate) fn own_drops(&self) -> OwnDrops {
        self.network.lock().own_drops()
    }

    pub(crate) fn next_arrival(&self) -> Option<Time> {
        self.network.lock().next_arrival()
    }
}

/// Sends in batches, as a socket link does.
struct SimTx {
    /// Whether it is the first of the link's: that one accounts for what the network drops on our side.
    first: bool,
    world: SimWorld,
    templates: Vec<SynTemplate>,
    /// The first `used` wait.
    slots: [Slot; BATCH],
    used: usize,
}

/// A frame of the batch, and of which template it is a probe.
#[derive(Clone, Copy)]
struct Slot {
    laid: Option<TemplateId>,
    len: usize,
    frame: [u8; MAX_FRAME],
}

impl Default for Slot {
    fn default() -> Self {
        Slot { laid: None, len: 0, frame: [0; MAX_FRAME] }
    }
}

impl LinkTx for SimTx {
    fn prepare(&mut self, template: &SynTemplate) -> TemplateId {
        self.templates.push(template.clone());
        TemplateId(self.templates.len() - 1)
    }

    fn room(&self) -> usize {
        BATCH - self.used
    }

    fn probe(&mut self, id: TemplateId, probe: &Probe) {
        let (Some(template), Some(slot)) = (self.templates.get(id.0), self.slots.get_mut(self.used)) else { return };
        if slot.laid != Some(id) {
            slot.len = template.frame().len();
            slot.frame[..slot.len].copy_from_slice(template.frame());
            slot.laid = Some(id);
        }
        template.patch(&mut slot.frame, probe);
        self.used += 1;
    }

    fn flush(&mut self) -> io::Result<bool> {
        if self.used > 0 {
            let (mut network, now) = (self.world.network.lock(), self.world.now());
            self.slots[..self.used].iter().for_each(|slot| network.send(now, &slot.frame[..slot.len]));
            self.used = 0;
        }
        Ok(true)
    }

    fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        self.world.network.lock().send(self.world.now(), frame);
        Ok(())
    }

    fn losses(&self) -> TxLosses {
        let dropped = if self.first { self.world.own_drops().send } else { 0 };
        TxLosses { dropped, ..TxLosses::default() }
    }
}

struct SimRx {
    world: SimWorld,
}

impl LinkRx for SimRx {
    fn layer(&self) -> Layer {
        Layer::Ethernet
    }

    /// The network is held meanwhile: what comes out must be taken in before something is sent.
    fn receive(&mut self, _: &Clock, sink: &mut dyn FnMut(Received<'_>)) -> io::Result<()> {
        let mut network = self.world.network.lock();
        network.receive(self.world.now(), &mut |at, frame| sink(Received { frame, at, checksum: Checksum::Unknown }));
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn drops(&mut self) -> u64 {
        self.world.own_drops().ring
    }
}
