//! The `pnet` link: pnet's datalink channel, the portable fallback. It costs two system calls a frame. The socket is our
//! own and is lent to pnet, so that the kernel's filter is in place and the receiver can poll it. A channel has both
//! directions whether one wants them or not; those of further senders have a filter that lets nothing in.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd};
use std::time::Duration;

use ::pnet::datalink::{self, Channel, ChannelType, Config, DataLinkReceiver, DataLinkSender, NetworkInterface};

use super::{
    Clock, Halves, LinkRx, LinkSettings, LinkTx, Received, TemplateId, TxLosses, filter, is_busy, is_fatal, opening,
};
use crate::error::Error;
use crate::route::Interface;
use crate::sys::PacketSocket;
use crate::wire::reply::{Checksum, Layer};
use crate::wire::syn::{MAX_FRAME, Probe, SynTemplate};

/// Frames taken off in one go at most.
const TURN: usize = 256;

/// Opens a link on an Ethernet device: a channel for each sender, the first of which also receives.
pub(super) fn open(interface: &Interface, settings: LinkSettings) -> Result<Halves, Error> {
    halves(interface, settings).map_err(|error| opening("opening a datalink channel", interface, error))
}

fn halves(interface: &Interface, settings: LinkSettings) -> io::Result<Halves> {
    let device = datalink::interfaces().into_iter().find(|device| device.index == interface.index);
    let device = device.ok_or(io::ErrorKind::NotFound)?;
    let (first, rx) = channel(&device, &filter::program(Layer::Ethernet, settings.ports, settings.echo))?;
    let mut tx: Vec<Box<dyn LinkTx>> = vec![Box::new(first)];
    for _ in 1..settings.senders {
        tx.push(Box::new(channel(&device, &filter::nothing())?.0));
    }
    Ok(Halves { tx, rx: Box::new(rx) })
}

fn channel(device: &NetworkInterface, filter: &[filter::Op]) -> io::Result<(PnetTx, PnetRx)> {
    let socket = PacketSocket::new(Layer::Ethernet)?;
    let program: Vec<_> = filter.iter().copied().map(Into::into).collect();
    socket.filter(&program)?;
    let copy = socket.try_clone()?;
    let config = Config {
        channel_type: ChannelType::Layer2,
        promiscuous: false,
        read_timeout: Some(Duration::ZERO),
        socket_fd: Some(socket.into_raw_fd()),
        ..Config::default()
    };
    let Channel::Ethernet(tx, rx) = datalink::channel(device, config)? else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let tx = PnetTx { tx, templates: Vec::new(), waiting: None, losses: TxLosses::default(), lost: None };
    Ok((tx, PnetRx { rx, socket: copy, drops: 0 }))
}

struct PnetTx {
    tx: Box<dyn DataLinkSender>,
    templates: Vec<SynTemplate>,
    /// A probe that a full queue did not take, and its length.
    waiting: Option<([u8; MAX_FRAME], usize)>,
    losses: TxLosses,
    /// What said that the device is gone, until the next flush tells it.
    lost: Option<io::Error>,
}

impl PnetTx {
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.tx.send_to(frame, None).unwrap_or_else(|| Err(io::ErrorKind::InvalidInput.into()))
    }

    fn offer(&mut self, frame: [u8; MAX_FRAME], len: usize) {
        match self.send(&frame[..len]) {
            Ok(()) => {}
            Err(error) if is_fatal(&error) => self.lost = Some(error),
            Err(error) if is_busy(&error) => {
                self.waiting = Some((frame, len));
                self.losses.retries += 1;
            }
            Err(_) => self.losses.errors += 1,
        }
    }
}

impl LinkTx for PnetTx {
    fn prepare(&mut self, template: &SynTemplate) -> TemplateId {
        self.templates.push(template.clone());
        TemplateId(self.templates.len() - 1)
    }

    fn room(&self) -> usize {
        // Each probe leaves at once, unless one waits. A batch of the usual size keeps the pace's arithmetic.
        if self.waiting.is_some() { 0 } else { super::queue::BATCH }
    }

    fn probe(&mut self, id: TemplateId, probe: &Probe) {
        let Some(template) = self.templates.get(id.0) else { return };
        let mut frame = [0; MAX_FRAME];
        let len = template.frame().len();
        frame[..len].copy_from_slice(template.frame());
        template.patch(&mut frame, probe);
        self.offer(frame, len);
    }

    fn flush(&mut self) -> io::Result<bool> {
        if let Some((frame, len)) = self.waiting.take() {
            self.offer(frame, len);
        }
        self.lost.take().map_or(Ok(self.waiting.is_none()), Err)
    }

    fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        self.send(frame)
    }

    fn losses(&self) -> TxLosses {
        self.losses
    }
}

struct PnetRx {
    rx: Box<dyn DataLinkReceiver>,
    /// The same socket, to poll and to ask.
    socket: PacketSocket,
    drops: u64,
}

impl LinkRx for PnetRx {
    fn layer(&self) -> Layer {
        Layer::Ethernet
    }

    fn receive(&mut self, clock: &Clock, sink: &mut dyn FnMut(Received<'_>)) -> io::Result<()> {
        for _ in 0..TURN {
            match self.rx.next() {
                // pnet hides the packet's checksum state, and on this machine's own links it is not filled in.
                Ok(frame) => sink(Received { frame, at: clock.now(), checksum: Checksum::Trusted }),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn drops(&mut self) -> u64 {
        self.drops += self.socket.take_drops().unwrap_or(0);
        self.drops
    }
}
