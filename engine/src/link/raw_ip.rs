//! The `raw_ip` link: IP packets through raw sockets, for loopback and for devices without Ethernet (tun, wireguard,
//! ppp). The kernel routes and frames them; the socket is bound to the device so that it cannot choose another. Replies
//! come from a packet socket on that device, without link header.
//!
//! raw(7): with IPPROTO_RAW the caller brings the IP header, in both families.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::queue::Queue;
use super::ring::RingRx;
use super::{Halves, LinkSettings, LinkTx, TemplateId, TxLosses, opening};
use crate::error::Error;
use crate::route::{Interface, InterfaceKind};
use crate::wire::reply::Layer;
use crate::wire::syn::{Probe, SynTemplate};

/// Opens a link on any device: sockets for each sender, and the ring.
pub(super) fn open(interface: &Interface, settings: LinkSettings) -> Result<Halves, Error> {
    halves(interface, settings).map_err(|error| opening("opening a raw socket", interface, error))
}

fn halves(interface: &Interface, settings: LinkSettings) -> io::Result<Halves> {
    let tx = (0..settings.senders).map(|_| Ok(Box::new(RawIpTx::open(interface)?) as Box<dyn LinkTx>));
    Ok(Halves { tx: tx.collect::<io::Result<_>>()?, rx: Box::new(RingRx::open(interface, Layer::Ip, settings)?) })
}

struct RawIpTx {
    v4: Family,
    v6: Family,
    /// Each template's family (true: IPv4) and its number there.
    templates: Vec<(bool, TemplateId)>,
}

impl RawIpTx {
    fn open(interface: &Interface) -> io::Result<Self> {
        let (v4, v6) = (Family::open(Domain::IPV4, interface)?, Family::open(Domain::IPV6, interface)?);
        Ok(RawIpTx { v4, v6, templates: Vec::new() })
    }
}

/// One family's socket, if the kernel has that family, and its batch.
struct Family {
    socket: Option<Socket>,
    queue: Queue,
}

impl Family {
    fn open(domain: Domain, interface: &Interface) -> io::Result<Self> {
        let socket = match Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW))) {
            // What is bound to lo cannot reach this machine's other addresses: their routes name other devices.
            Ok(socket) if interface.kind == InterfaceKind::Loopback => Some(socket),
            Ok(socket) => {
                socket.bind_device(Some(interface.name.as_bytes()))?;
                Some(socket)
            }
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => None,
            Err(error) => return Err(error),
        };
        Ok(Family { socket, queue: Queue::new() })
    }

    fn flush(&mut self) -> io::Result<bool> {
        match &self.socket {
            Some(socket) => self.queue.flush(socket),
            None => Ok(true),
        }
    }
}

/// Where an IP packet goes.
fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(packet.get(16..20)?.first_chunk::<4>().copied()?.into()),
        6 => Some(packet.get(24..40)?.first_chunk::<16>().copied()?.into()),
        _ => None,
    }
}

impl LinkTx for RawIpTx {
    fn prepare(&mut self, template: &SynTemplate) -> TemplateId {
        let v4 = template.source().is_ipv4();
        let family = if v4 { &mut self.v4 } else { &mut self.v6 };
        let id = family.queue.prepare(template);
        self.templates.push((v4, id));
        TemplateId(self.templates.len() - 1)
    }

    fn room(&self) -> usize {
        self.v4.queue.room().min(self.v6.queue.room())
    }

    fn probe(&mut self, template: TemplateId, probe: &Probe) {
        let Some(&(v4, id)) = self.templates.get(template.0) else { return };
        let family = if v4 { &mut self.v4 } else { &mut self.v6 };
        // raw(7): the port is none of the kernel's business, and must be 0 for IPv6.
        let to = SockAddr::from(SocketAddr::new(probe.target.address, 0));
        family.queue.push(id, probe, Some(to));
    }

    fn flush(&mut self) -> io::Result<bool> {
        Ok(self.v4.flush()? & self.v6.flush()?)
    }

    /// An IP packet.
    fn frame(&mut self, packet: &[u8]) -> io::Result<()> {
        let to = destination(packet);
        let family = if packet.first().is_some_and(|first| first >> 4 == 4) { &self.v4 } else { &self.v6 };
        match (&family.socket, to) {
            (Some(socket), Some(to)) => {
                socket.send_to_with_flags(packet, &SockAddr::from(SocketAddr::new(to, 0)), libc::MSG_DONTWAIT).map(drop)
            }
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "only IP packets of a family that the kernel has")),
        }
    }

    fn losses(&self) -> TxLosses {
        let (v4, v6) = (self.v4.queue.losses(), self.v6.queue.losses());
        v4 + v6
    }
}
