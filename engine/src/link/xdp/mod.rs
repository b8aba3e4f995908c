//! XDP: frames go out of and come into memory that the kernel shares with us, without a packet of the kernel's around
//! them where the driver can do that.
//!
//! - `send`: the sending half by AF_XDP, a queue of the device for each sender.
//! - `live`: the sending half by a program in the kernel.
//! - `receive`: the receiving half, all queues of the device, with an XDP program that hands over what is ours
//!   (`filter`); usable beside any sending half. What the kernel then does not see, it does not close: the engine does.

mod filter;
mod live;
mod receive;
mod send;

use std::fmt;
use std::io;

use halfopen_bpf::{self as bpf, Mode};

use self::receive::{Sharing, XdpBoth, XdpRx};
use self::send::XdpTx;
use super::{Halves, LinkRx, LinkSettings, LinkTx, Opened, af_packet, opening};
use crate::error::Error;
use crate::route::Interface;
use crate::sys::XdpTxRing;

/// What a link sends by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sends {
    /// Packet sockets.
    AfPacket,
    /// AF_XDP sockets.
    AfXdp,
    /// A program in the kernel.
    Live,
}

/// Opens a link that receives by XDP as the settings say, and sends by what is asked for. What cannot be had is done by
/// the next slower instead, and a warning says why.
pub(super) fn open(sends: Sends, interface: &Interface, settings: LinkSettings<'_>) -> Result<Opened, Error> {
    let mut opening = Opening { interface, settings, warnings: Vec::new() };
    let (live, listening) = if sends == Sends::Live { opening.live() } else { (None, None) };
    let by_rings = live.is_none() && sends != Sends::AfPacket;
    let sharing = if by_rings { settings.senders } else { 0 };
    let (rx, received, shared) = match listening.or_else(|| opening.listen(sharing)) {
        Some(XdpBoth { rx, tx, zero_copy }) => {
            let name = rx.name();
            (Box::new(rx) as Box<dyn LinkRx>, name, Some((tx, zero_copy)))
        }
        None => (opening.socket()?, "af_packet", None),
    };
    let (tx, sent) = match live {
        Some(tx) => (tx, "xdp_live"),
        None if by_rings => opening.rings(shared)?,
        None => (opening.sockets(settings.senders)?, "af_packet"),
    };
    let name = if sent == received { sent.into() } else { format!("{sent}+{received}") };
    Ok(Opened { halves: Halves { tx, rx }, name, warnings: opening.warnings })
}

/// A sending half for each sender.
type Senders = Vec<Box<dyn LinkTx>>;

/// A link in the making.
struct Opening<'a> {
    interface: &'a Interface,
    settings: LinkSettings<'a>,
    warnings: Vec<String>,
}

impl Opening<'_> {
    /// The kernel-resident sender, and a receiver if one had to be there first: many drivers take redirected frames only
    /// beside an XDP program of their own (ixgbe, i40e, ice, mlx5, virtio_net and others).
    fn live(&mut self) -> (Option<Senders>, Option<XdpBoth>) {
        let why = match live::open(self.interface, self.settings) {
            Ok(halves) => {
                let (had, wanted) = (halves.len(), self.settings.senders);
                if had < wanted {
                    let text = format!("xdp_live keeps a core busy for each sender: {had} of {wanted} are used");
                    self.warnings.push(text);
                }
                return (Some(halves), None);
            }
            Err(why) => why,
        };
        let before = self.warnings.len();
        if why.is_the_devices()
            && self.settings.xdp.contains(&Mode::Native)
            && let Some(listening) = self.listen(0)
            && let Ok(halves) = live::open(self.interface, self.settings)
        {
            return (Some(halves), Some(listening));
        }
        self.warnings.truncate(before);
        self.warn("sends by af_xdp and not by xdp_live", &why, false);
        (None, None)
    }

    /// Receives by XDP if the settings want it and the device can; with sending ends for so many.
    fn listen(&mut self, senders: usize) -> Option<XdpBoth> {
        if self.settings.xdp.is_empty() {
            return None;
        }
        let both =
            XdpRx::open(self.interface, self.settings, self.settings.xdp, Sharing { senders, slots: send::SLOTS });
        both.map_err(|why| {
            let occupied = matches!(why, Refusal::Occupied);
            self.warn("receives by af_packet and not by XDP", &why, occupied);
        })
        .ok()
    }

    /// AF_XDP for each sender that there is a queue for, packet sockets for the others. The ends are those that share the
    /// receiver's queues, if it has any.
    fn rings(&mut self, shared: Option<(Vec<XdpTxRing>, bool)>) -> Result<(Senders, &'static str), Error> {
        let (ends, zero_copy) = shared.unwrap_or_else(|| (self.own_rings(), false));
        let name = match (ends.is_empty(), zero_copy) {
            (true, _) => "af_packet",
            (false, true) => "af_xdp(zero-copy)",
            (false, false) => "af_xdp(copy)",
        };
        let (had, wanted) = (ends.len(), self.settings.senders);
        if (1..wanted).contains(&had) {
            let text = format!("{} has queues for {had} of {wanted} senders; the others use af_packet", self.interface);
            self.warnings.push(text);
        }
        let ends = ends.into_iter().map(|ring| Box::new(XdpTx::new(ring, zero_copy)) as Box<dyn LinkTx>);
        let tx = ends.chain(self.sockets(wanted - had)?);
        Ok((tx.collect(), name))
    }

    fn own_rings(&mut self) -> Vec<XdpTxRing> {
        let ends = send::open(self.interface, self.settings.senders);
        ends.map_err(|why| self.warn("sends by af_packet and not by AF_XDP", &why, false)).unwrap_or_default()
    }

    fn sockets(&self, senders: usize) -> Result<Senders, Error> {
        let halves: io::Result<_> = (0..senders).map(|_| af_packet::sending(self.interface)).collect();
        halves.map_err(|error| opening("opening a packet socket", self.interface, error))
    }

    fn socket(&self) -> Result<Box<dyn LinkRx>, Error> {
        let half = af_packet::receiving(self.interface, self.settings);
        half.map_err(|error| opening("opening a packet socket", self.interface, error))
    }

    /// What nobody asked for by name is not missed; but an owner wants to know who else is at work, if that is `news`.
    fn warn(&mut self, what: &str, why: &impl fmt::Display, news: bool) {
        if self.settings.by_name || news {
            self.warnings.push(format!("{} {what}: {why}", self.interface));
        }
    }
}

/// Why XDP or AF_XDP cannot be had on a device. It is no error: something slower can.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("another XDP program is attached to it, and is left alone")]
    Occupied,
    #[error("no way to receive was left to try")]
    NoMode,
    #[error(
        "XDP needs the capabilities CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON (and before Linux 5.11 locked memory, ulimit -l)"
    )]
    Rights,
    #[error("another program's AF_XDP socket has its queue {queue}")]
    QueueTaken { queue: u32 },
    #[error("it has more than {most} queues")]
    TooManyQueues { most: u32 },
    #[error("too little memory may be locked (ulimit -l) for what AF_XDP needs")]
    Memory,
    #[error("its link did not come up again after XDP was set up in its driver")]
    Down,
    #[error("its queue {queue} cannot be opened with AF_XDP: {source}")]
    Queue { queue: u32, source: io::Error },
    #[error("{0}")]
    Program(bpf::Error),
    #[error("cannot {operation}: {source}")]
    System { operation: &'static str, source: io::Error },
}

impl From<bpf::Error> for Refusal {
    fn from(error: bpf::Error) -> Self {
        match error.source().raw_os_error() {
            Some(libc::EBUSY | libc::EEXIST) => Refusal::Occupied,
            _ if error.is_for_want_of_rights() => Refusal::Rights,
            _ => Refusal::Program(error),
        }
    }
}

impl Refusal {
    /// A refusal to open a queue.
    fn queue(queue: u32, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EBUSY) => Refusal::QueueTaken { queue },
            Some(libc::EPERM) => Refusal::Rights,
            Some(libc::ENOBUFS) => Refusal::Memory,
            _ => Refusal::Queue { queue, source },
        }
    }
}
