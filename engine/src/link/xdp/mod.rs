//! XDP: frames go out of and come into memory that the kernel shares with us, without a packet of the kernel's around
//! them where the driver can do that.
//!
//! - `send`: the sending half by AF_XDP, a queue of the device for each sender.
//! - `live`: the sending half by a program in the kernel.
//! - `receive`: the receiving half, all queues of the device, with an XDP program that hands over what is ours
//!   (`filter`); usable beside any sending half. What the kernel then does not see, it does not close: `resets` does.

mod filter;
mod live;
mod receive;
mod resets;
mod send;

use std::io;

use halfopen_bpf as bpf;

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
pub(super) fn open(sends: Sends, interface: &Interface, settings: LinkSettings) -> Result<Opened, Error> {
    let mut warnings = Vec::new();
    let live = match sends {
        Sends::Live => live::open(interface, settings),
        _ => Ok(Vec::new()),
    };
    let (sends, live) = match live {
        Ok(halves) => (sends, halves),
        Err(why) => {
            warnings.push(format!("{interface} sends by af_xdp and not by xdp_live: {why}"));
            (Sends::AfXdp, Vec::new())
        }
    };
    let failed = |error| opening("opening a packet socket", interface, error);
    let sharing = Sharing { senders: if sends == Sends::AfXdp { settings.senders } else { 0 }, slots: send::SLOTS };
    let both = listen(interface, settings, sharing, &mut warnings);
    let (rx, received, sharing_ends) = match both {
        Some(XdpBoth { rx, tx, zero_copy }) => {
            let name = rx.name();
            (Box::new(rx) as Box<dyn LinkRx>, name, Some((tx, zero_copy)))
        }
        None => (af_packet::receiving(interface, settings).map_err(failed)?, "af_packet", None),
    };
    let (ends, zero_copy) = match sharing_ends {
        Some(ends) => ends,
        None if sends == Sends::AfXdp => (sending_ends(interface, settings.senders, &mut warnings), false),
        None => (Vec::new(), false),
    };
    let sent = match (ends.is_empty(), zero_copy) {
        _ if !live.is_empty() => "xdp_live",
        (true, _) => "af_packet",
        (false, true) => "af_xdp(zero-copy)",
        (false, false) => "af_xdp(copy)",
    };
    let tx = match live.is_empty() {
        true => fill_up(ends, zero_copy, interface, settings.senders, sends == Sends::AfXdp, &mut warnings)?,
        false => live,
    };
    let name = if sent == received { sent.into() } else { format!("{sent}+{received}") };
    Ok(Opened { halves: Halves { tx, rx }, name, warnings })
}

/// Receives by XDP if the settings want it and the device can.
fn listen(
    interface: &Interface,
    settings: LinkSettings,
    sharing: Sharing,
    warnings: &mut Vec<String>,
) -> Option<XdpBoth> {
    if settings.xdp.is_empty() {
        return None;
    }
    let both = XdpRx::open(interface, settings, settings.xdp, sharing);
    both.map_err(|why| warnings.push(format!("{interface} receives by af_packet and not by XDP: {why}"))).ok()
}

fn sending_ends(interface: &Interface, senders: usize, warnings: &mut Vec<String>) -> Vec<XdpTxRing> {
    let ends = send::open(interface, senders);
    let refused = |why| warnings.push(format!("{interface} sends by af_packet and not by AF_XDP: {why}"));
    ends.map_err(refused).unwrap_or_default()
}

/// A sending half for each sender: packet sockets for those that no queue is left for.
fn fill_up(
    ends: Vec<XdpTxRing>,
    zero_copy: bool,
    interface: &Interface,
    senders: usize,
    sends: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<Box<dyn LinkTx>>, Error> {
    let (had, wanted) = (ends.len(), senders);
    if sends && had > 0 && had < wanted {
        let left = wanted - had;
        warnings.push(format!("{interface} has {had} queues to send from: {left} of {wanted} senders use af_packet"));
    }
    let mut tx: Vec<Box<dyn LinkTx>> = Vec::new();
    tx.extend(ends.into_iter().map(|ring| Box::new(XdpTx::new(ring, zero_copy)) as Box<dyn LinkTx>));
    let failed = |error| opening("opening a packet socket", interface, error);
    for _ in had..wanted {
        tx.push(af_packet::sending(interface).map_err(failed)?);
    }
    Ok(tx)
}

/// Why XDP or AF_XDP cannot be had on a device. It is no error: something slower can.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("another XDP program is attached to it, and is left alone")]
    Occupied,
    #[error("no way to receive was left to try")]
    NoMode,
    #[error("XDP needs the capabilities CAP_NET_ADMIN and CAP_BPF")]
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
            Some(libc::EPERM | libc::EACCES) if !matches!(error, bpf::Error::Verifier { .. }) => Refusal::Rights,
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
