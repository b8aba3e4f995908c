//! The `sim` link: both halves in memory, before a network that is a program. For tests, benches and planning.
//!
//! Time is the driver's: it sets the shared clock, and a frame that is sent enters the network at that time.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{Clock, Halves, LinkRx, LinkTx, Received, TemplateId, TxLosses};
use crate::time::Time;
use crate::wire::reply::Layer;
use crate::wire::syn::{MAX_FRAME, Probe, SynTemplate};

/// A network that exists in memory, with its own idea of delay and loss.
pub trait Network: Send {
    /// A frame enters the network.
    fn send(&mut self, now: Time, frame: &[u8]);

    /// When the next frame will come out; none while nothing is under way.
    fn next_arrival(&self) -> Option<Time>;

    /// Takes the next frame that has come out by `now`, with the time at which it did.
    fn receive(&mut self, now: Time) -> Option<(Time, Vec<u8>)>;
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

    pub(crate) fn link(&self) -> Halves {
        let tx = SimTx { world: self.clone(), templates: Vec::new(), laid: None, frame: [0; MAX_FRAME] };
        (Box::new(tx), Box::new(SimRx { world: self.clone() }))
    }

    pub(crate) fn now(&self) -> Time {
        Time(self.now.load(Ordering::Relaxed))
    }

    pub(crate) fn set_now(&self, now: Time) {
        self.now.store(now.0, Ordering::Relaxed);
    }

    pub(crate) fn next_arrival(&self) -> Option<Time> {
        self.network.lock().next_arrival()
    }
}

struct SimTx {
    world: SimWorld,
    templates: Vec<SynTemplate>,
    laid: Option<TemplateId>,
    frame: [u8; MAX_FRAME],
}

impl LinkTx for SimTx {
    fn prepare(&mut self, template: &SynTemplate) -> TemplateId {
        self.templates.push(template.clone());
        TemplateId(self.templates.len() - 1)
    }

    fn room(&self) -> usize {
        super::queue::BATCH
    }

    fn probe(&mut self, id: TemplateId, probe: &Probe) {
        let Some(template) = self.templates.get(id.0) else { return };
        let len = template.frame().len();
        if self.laid != Some(id) {
            self.frame[..len].copy_from_slice(template.frame());
            self.laid = Some(id);
        }
        template.patch(&mut self.frame, probe);
        self.world.network.lock().send(self.world.now(), &self.frame[..len]);
    }

    fn flush(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        self.world.network.lock().send(self.world.now(), frame);
        Ok(())
    }

    fn losses(&self) -> TxLosses {
        TxLosses::default()
    }
}

struct SimRx {
    world: SimWorld,
}

impl LinkRx for SimRx {
    fn layer(&self) -> Layer {
        Layer::Ethernet
    }

    fn receive(&mut self, _: &Clock, sink: &mut dyn FnMut(Received<'_>)) -> io::Result<()> {
        while let Some((at, frame)) = { self.world.network.lock().receive(self.world.now()) } {
            sink(Received { frame: &frame, at, verify: true });
        }
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn drops(&mut self) -> u64 {
        0
    }
}
