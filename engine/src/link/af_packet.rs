//! The `af_packet` link: whole Ethernet frames, straight to the driver and out of a ring.

use std::io;

use super::queue::Queue;
use super::ring::RingRx;
use super::{Halves, LinkRx, LinkSettings, LinkTx, TemplateId, TxLosses, opening};
use crate::error::Error;
use crate::route::Interface;
use crate::sys::PacketSocket;
use crate::wire::reply::Layer;
use crate::wire::syn::{Probe, SynTemplate};

/// Enough for several batches to wait in the driver's queue.
const SEND_BUFFER: usize = 4 << 20;

/// Opens a link on an Ethernet device: a socket for each sender, and the ring.
pub(super) fn open(interface: &Interface, settings: LinkSettings) -> Result<Halves, Error> {
    halves(interface, settings).map_err(|error| opening("opening a packet socket", interface, error))
}

fn halves(interface: &Interface, settings: LinkSettings) -> io::Result<Halves> {
    let tx = (0..settings.senders).map(|_| sending(interface));
    Ok(Halves { tx: tx.collect::<io::Result<_>>()?, rx: receiving(interface, settings)? })
}

/// A sending half.
pub(super) fn sending(interface: &Interface) -> io::Result<Box<dyn LinkTx>> {
    Ok(Box::new(AfPacketTx { socket: sending_socket(interface)?, queue: Queue::new() }))
}

/// The receiving half.
pub(super) fn receiving(interface: &Interface, settings: LinkSettings) -> io::Result<Box<dyn LinkRx>> {
    Ok(Box::new(RingRx::open(interface, Layer::Ethernet, settings)?))
}

/// A socket that sends past the queueing discipline.
pub(super) fn sending_socket(interface: &Interface) -> io::Result<PacketSocket> {
    let socket = PacketSocket::new(Layer::Ethernet)?;
    socket.bypass_qdisc()?;
    socket.send_buffer(SEND_BUFFER)?;
    socket.bind_to_send(interface.index)?;
    Ok(socket)
}

struct AfPacketTx {
    socket: PacketSocket,
    queue: Queue,
}

impl LinkTx for AfPacketTx {
    fn prepare(&mut self, template: &SynTemplate) -> TemplateId {
        self.queue.prepare(template)
    }

    fn room(&self) -> usize {
        self.queue.room()
    }

    fn probe(&mut self, template: TemplateId, probe: &Probe) {
        self.queue.push(template, probe, None);
    }

    fn flush(&mut self) -> io::Result<bool> {
        self.queue.flush(&self.socket)
    }

    fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame)
    }

    fn losses(&self) -> TxLosses {
        self.queue.losses()
    }
}
