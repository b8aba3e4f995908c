//! Links: what puts frames on the wire and takes them off. One trait pair, several kinds; a scan has one link for each
//! interface that it leaves through, and neither the sender nor the receiver knows of which kind it is. Where a scan has
//! several senders, each has a sending half of its own of every link.
//!
//! | kind | send | receive | where |
//! |---|---|---|---|
//! | `af_packet` | sendmmsg, no queueing discipline | TPACKET_V3 ring, filter in the kernel | any Ethernet device |
//! | `af_xdp` | AF_XDP ring, past the queueing discipline | XDP program and AF_XDP rings, or as `af_packet` | Ethernet devices |
//! | `xdp_live` | a program in the kernel, under BPF_PROG_TEST_RUN | as `af_xdp` | Ethernet devices whose driver can |
//! | `raw_ip` | raw IP sockets, sendmmsg | TPACKET_V3 ring without link header, filter in the kernel | loopback, tun, wireguard |
//! | `pnet` | pnet's datalink channel | the same, filter in the kernel | portable |
//! | `sim` | in memory | in memory | tests and benches |

mod af_packet;
mod filter;
mod pnet;
mod queue;
mod raw_ip;
mod ring;
pub mod sim;
mod tap;
mod xdp;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::ops::Add;
use std::os::fd::BorrowedFd;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use halfopen_bpf::Mode;

pub use tap::Tap;

use crate::error::Error;
use crate::pace::{Pps, Rate};
use crate::route::{Interface, InterfaceKind};
use crate::time::Time;
use crate::wire::reply::{Checksum, Layer};
use crate::wire::syn::{Probe, SynTemplate};

/// Up to this rate, in probes a second, packet sockets do: a core sends so many also when every one is answered (the
/// bench `peers` has 0.7 million with all answering, 1.4 million with none), and nothing is attached and no core spins.
const PACKET_SOCKETS: u64 = 500_000;

/// A kind of link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LinkKind {
    /// `raw_ip` where there is no Ethernet. On Ethernet `af_packet`, for rates of up to 500,000 probes a second; beyond,
    /// the first of `xdp_live`, `af_xdp` and `af_packet` that the device can do, and nothing is attached to a device
    /// with a default route.
    #[default]
    Auto,
    /// AF_PACKET sockets.
    AfPacket,
    /// AF_XDP sockets; what a device cannot do of it is done by `AfPacket`, with a warning.
    AfXdp,
    /// XDP frames from a program in the kernel; what a device cannot do of it is done by `AfXdp`, with a warning.
    XdpLive,
    /// Raw IP sockets.
    RawIp,
    /// pnet's datalink channel.
    Pnet,
}

impl LinkKind {
    /// All kinds that can be asked for.
    pub const ALL: [LinkKind; 6] =
        [LinkKind::Auto, LinkKind::AfPacket, LinkKind::AfXdp, LinkKind::XdpLive, LinkKind::RawIp, LinkKind::Pnet];

    /// `auto`, `af_packet`, `af_xdp`, `xdp_live`, `raw_ip`, `pnet`.
    pub fn name(self) -> &'static str {
        match self {
            LinkKind::Auto => "auto",
            LinkKind::AfPacket => "af_packet",
            LinkKind::AfXdp => "af_xdp",
            LinkKind::XdpLive => "xdp_live",
            LinkKind::RawIp => "raw_ip",
            LinkKind::Pnet => "pnet",
        }
    }

    /// The kind that this interface will use, or try first, when this kind is asked for at this rate.
    pub(crate) fn on(self, interface: &Interface, rate: Rate) -> Result<LinkKind, Error> {
        let ethernet = interface.kind == InterfaceKind::Ethernet;
        let beyond = match rate {
            Rate::Fixed(Pps(pps)) => pps > PACKET_SOCKETS,
            Rate::Auto | Rate::Max => true,
        };
        match self {
            LinkKind::Auto if ethernet && beyond => Ok(LinkKind::XdpLive),
            LinkKind::Auto if ethernet => Ok(LinkKind::AfPacket),
            LinkKind::Auto => Ok(LinkKind::RawIp),
            LinkKind::AfPacket | LinkKind::AfXdp | LinkKind::XdpLive | LinkKind::Pnet if !ethernet => {
                Err(Error::Setting {
                    setting: "link",
                    problem: format!(
                        "{self} needs an Ethernet device and {} is none; use raw_ip, or auto to choose by device",
                        interface.name
                    ),
                })
            }
            kind => Ok(kind),
        }
    }
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for LinkKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = LinkKind::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| format!("expected one of {}", LinkKind::ALL.map(LinkKind::name).join(", ")))
    }
}

/// How replies are received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Receive {
    /// As suits the kind of link: by XDP for `af_xdp` and `xdp_live`, natively where the driver can; else from a socket. Never natively on
    /// a device with a default route: some drivers take the device down for seconds to make ready for it.
    #[default]
    Auto,
    /// From a packet socket. Nothing is attached to the device.
    AfPacket,
    /// By an XDP program in the kernel's generic path, which any Ethernet device can.
    XdpGeneric,
    /// By an XDP program in the driver.
    XdpNative,
}

impl Receive {
    /// All ways that can be asked for.
    pub const ALL: [Receive; 4] = [Receive::Auto, Receive::AfPacket, Receive::XdpGeneric, Receive::XdpNative];

    /// `auto`, `af_packet`, `xdp_generic`, `xdp_native`.
    pub fn name(self) -> &'static str {
        match self {
            Receive::Auto => "auto",
            Receive::AfPacket => "af_packet",
            Receive::XdpGeneric => "xdp_generic",
            Receive::XdpNative => "xdp_native",
        }
    }

    /// The modes of XDP that are tried, in this order, on a link of this kind; none for a socket. `chosen` is a kind that
    /// nobody asked for by its name.
    pub(crate) fn modes(self, kind: LinkKind, chosen: bool, carries_default: bool) -> &'static [Mode] {
        match (self, kind) {
            (Receive::XdpGeneric, _) => &[Mode::Generic],
            (Receive::XdpNative, _) => &[Mode::Native],
            (Receive::Auto, _) if chosen && carries_default => &[],
            (Receive::Auto, LinkKind::AfXdp | LinkKind::XdpLive) if carries_default => &[Mode::Generic],
            (Receive::Auto, LinkKind::AfXdp | LinkKind::XdpLive) => &[Mode::Native, Mode::Generic],
            _ => &[],
        }
    }
}

impl fmt::Display for Receive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A template that a link was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplateId(pub usize);

/// The sending half of a link. Where a frame lies until it leaves is the link's business.
pub trait LinkTx: Send {
    /// Keeps a template; probes then name it.
    fn prepare(&mut self, template: &SynTemplate) -> TemplateId;

    /// How many more probes fit into the batch.
    fn room(&self) -> usize;

    /// Adds a probe to the batch. Without room it is not added; the caller asks for [`LinkTx::room`] first.
    fn probe(&mut self, template: TemplateId, probe: &Probe);

    /// Sends the batch, and says whether all of it went. What the device does not take now stays in it, for the next
    /// time. An error means that the link is gone.
    fn flush(&mut self) -> io::Result<bool>;

    /// Whether probes have left since the last call although some still wait. A link that is fed faster than it sends
    /// always has some waiting, and is not stuck.
    fn moves(&mut self) -> bool {
        false
    }

    /// Nothing will come for a while: what costs processor time while it waits, may stop. The next probe wakes it.
    fn rest(&mut self) {}

    /// The core that a thread of its own spins on while it sends, if it has one: others had better keep off it.
    fn spins_on(&self) -> Option<usize> {
        None
    }

    /// Sends one frame that is no probe (ARP, neighbour solicitation, a RST), now or with the next batch. Whether it arrives
    /// is nobody's promise. It may be refused for now (`EAGAIN`, `ENOBUFS`), to be tried again.
    fn frame(&mut self, frame: &[u8]) -> io::Result<()>;

    /// What was not sent, or only at a later try, so far.
    fn losses(&self) -> TxLosses;
}

/// What a link's sending half could not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TxLosses {
    /// Probes given up because the kernel refused them.
    pub errors: u64,
    /// Times that the kernel's queue was full, and the rest of a batch had to wait.
    pub retries: u64,
    /// Probes that the device dropped after the link had taken them.
    pub dropped: u64,
}

impl Add for TxLosses {
    type Output = TxLosses;

    fn add(self, other: TxLosses) -> TxLosses {
        TxLosses {
            errors: self.errors + other.errors,
            retries: self.retries + other.retries,
            dropped: self.dropped + other.dropped,
        }
    }
}

/// The receiving half of a link.
pub trait LinkRx: Send {
    /// Where its frames begin.
    fn layer(&self) -> Layer;

    /// Hands over frames that have arrived, and returns without waiting. It may stop before all are handed over.
    fn receive(&mut self, clock: &Clock, sink: &mut dyn FnMut(Received<'_>)) -> io::Result<()>;

    /// What becomes readable when there is something to receive; none for a link without a socket, or where it is cheaper
    /// to look often than to be woken.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// How long it may be left alone: a link without a descriptor is to be looked at so often.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// Whether the kernel does not see what is handed over, and so does not close the connections that it half opens.
    fn takes_away(&self) -> bool {
        false
    }

    /// Frames lost since the link was opened because nobody took them off in time.
    fn drops(&mut self) -> u64;
}

/// A frame that arrived.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// Its bytes.
    pub frame: &'a [u8],
    /// When it arrived.
    pub at: Time,
    /// What is known of its transport checksum.
    pub checksum: Checksum,
}

/// The clock of a scan: monotonic, from its start; and the way from the kernel's wall-clock time stamps to it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    /// The system's time at the start.
    pub started: SystemTime,
}

impl Clock {
    /// A clock that starts now.
    #[expect(clippy::new_without_default, reason = "a default that depends on when it is taken would surprise")]
    pub fn new() -> Self {
        Clock { start: Instant::now(), started: SystemTime::now() }
    }

    /// The same clock under another system time, for a scan whose time is not the system's.
    pub(crate) fn dated(self, started: SystemTime) -> Self {
        Clock { started, ..self }
    }

    /// The time.
    pub fn now(&self) -> Time {
        Time::from(self.start.elapsed())
    }
}

/// A link, opened: one receiving half, and the sending halves, each of which is one sender's own.
pub(crate) struct Halves {
    /// At least one and at most as many as were asked for; fewer where the device has no more to give. A scan has as
    /// many senders as the least of its links allows.
    pub(crate) tx: Vec<Box<dyn LinkTx>>,
    pub(crate) rx: Box<dyn LinkRx>,
}

/// What became of the wish for a link: perhaps less than was asked for.
pub(crate) struct Opened {
    pub(crate) halves: Halves,
    /// What it is: `af_packet`, or `af_xdp(copy)+xdp(native)`, by what sends and what receives.
    pub(crate) name: String,
    /// What its owner should know of it.
    pub(crate) warnings: Vec<String>,
}

impl Opened {
    /// Just as it was asked for.
    fn plain(kind: LinkKind, halves: Halves) -> Self {
        Opened { halves, name: kind.name().into(), warnings: Vec::new() }
    }
}

/// What a link is opened for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkSettings<'a> {
    /// The first and the last source port: what is let through the filter.
    pub(crate) ports: (u16, u16),
    /// How fast, all senders together, for the size of rings and buffers.
    pub(crate) rate: Rate,
    /// How many senders there will be, at least one: each sends through a half of its own, from a thread of its own.
    pub(crate) senders: usize,
    /// The addresses that are probed from through it.
    pub(crate) sources: &'a [IpAddr],
    /// Whether what it does was asked for by name, so that a fall back is worth a warning.
    pub(crate) by_name: bool,
    /// Whether replies to ICMP echo requests are received, too; a packet socket does that.
    pub(crate) echo: bool,
    /// The modes of XDP by which it may receive, best first; none for a packet socket.
    pub(crate) xdp: &'static [Mode],
}

/// The least and the most ring memory. At 1 MiB a busy machine with two cores lost replies at 40,000 a second: a thread
/// may wait for its turn for some tenths of a second there.
const RING: (usize, usize) = (4 << 20, 64 << 20);

impl LinkSettings<'_> {
    /// Ring memory for 100 ms of replies, at 256 bytes for a small frame with its header, within [`RING`].
    pub(crate) fn ring_bytes(&self) -> usize {
        let pps = match self.rate {
            Rate::Fixed(pps) => pps.0,
            Rate::Auto | Rate::Max => 2_000_000,
        };
        usize::try_from((pps / 10).saturating_mul(256)).unwrap_or(usize::MAX).clamp(RING.0, RING.1)
    }
}

/// Opens a link of this kind (not `Auto`) on an interface.
pub(crate) fn open(kind: LinkKind, interface: &Interface, settings: LinkSettings) -> Result<Opened, Error> {
    match kind {
        LinkKind::AfXdp => xdp::open(xdp::Sends::AfXdp, interface, settings),
        LinkKind::XdpLive => xdp::open(xdp::Sends::Live, interface, settings),
        LinkKind::Auto | LinkKind::AfPacket if !settings.xdp.is_empty() => {
            xdp::open(xdp::Sends::AfPacket, interface, settings)
        }
        _ if !settings.xdp.is_empty() => Err(Error::Setting {
            setting: "receive",
            problem: format!(
                "{kind} on {interface} does not receive by XDP; af_packet, af_xdp and xdp_live on Ethernet devices do"
            ),
        }),
        LinkKind::Auto | LinkKind::AfPacket => Ok(Opened::plain(kind, af_packet::open(interface, settings)?)),
        LinkKind::RawIp => Ok(Opened::plain(kind, raw_ip::open(interface, settings)?)),
        LinkKind::Pnet => Ok(Opened::plain(kind, pnet::open(interface, settings)?)),
    }
}

/// Turns a refusal to open a raw socket into the error that says what to do.
pub(crate) fn opening(operation: &'static str, interface: &Interface, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::PermissionDenied => Error::Privilege { operation },
        _ => Error::System { operation: format!("{operation} on {}", interface.name), source },
    }
}

/// Errors that pass: the kernel's or the device's queue is full.
pub(crate) fn is_busy(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR | libc::ENOMEM))
}

/// A device that has taken nothing for so long takes nothing any more: its cable is out, for instance.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What is said of such a device.
pub(crate) fn stuck() -> io::Error {
    let text = format!("the device has taken no frame for {} s (is its cable in?)", PATIENCE.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, text)
}

/// Errors that mean that the device is gone or down, and not that one packet was refused.
pub(crate) fn is_fatal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENETDOWN | libc::ENODEV | libc::ENXIO | libc::EBADF))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(kind: InterfaceKind) -> Interface {
        let name = "x0".into();
        Interface { name, index: 1, mac: None, kind, up: true, carrier: true, mtu: 1500, addresses: Vec::new() }
    }

    #[test]
    fn kinds_by_name() {
        for kind in LinkKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert_eq!(
            "xdp".parse::<LinkKind>(),
            Err("expected one of auto, af_packet, af_xdp, xdp_live, raw_ip, pnet".into())
        );
    }

    #[test]
    fn xdp_is_attached_where_it_was_asked_for_and_natively_not_on_the_default_route() {
        use Mode::{Generic, Native};
        for kind in LinkKind::ALL {
            for (chosen, default) in [(false, false), (false, true), (true, false), (true, true)] {
                assert!(Receive::AfPacket.modes(kind, chosen, default).is_empty());
                assert_eq!(Receive::XdpNative.modes(kind, chosen, default), [Native]);
                assert_eq!(Receive::XdpGeneric.modes(kind, chosen, default), [Generic]);
                let xdp = matches!(kind, LinkKind::AfXdp | LinkKind::XdpLive) && !(chosen && default);
                assert_eq!(Receive::Auto.modes(kind, chosen, default).is_empty(), !xdp, "{kind}");
            }
            let asked = |default| Receive::Auto.modes(LinkKind::AfXdp, false, default);
            assert_eq!((asked(true), asked(false)), (&[Generic][..], &[Native, Generic][..]));
            assert_eq!(Receive::Auto.modes(LinkKind::XdpLive, true, false), [Native, Generic]);
        }
    }

    #[test]
    fn the_kernel_sends_by_itself_where_sockets_are_too_slow() {
        let on = |kind, rate| LinkKind::Auto.on(&interface(kind), rate).unwrap();
        let fixed = |pps| Rate::Fixed(Pps(pps));
        for rate in [fixed(10_000), fixed(PACKET_SOCKETS)] {
            assert_eq!(on(InterfaceKind::Ethernet, rate), LinkKind::AfPacket);
        }
        for rate in [Rate::Max, fixed(PACKET_SOCKETS + 1)] {
            assert_eq!(on(InterfaceKind::Ethernet, rate), LinkKind::XdpLive);
            assert_eq!(on(InterfaceKind::Loopback, rate), LinkKind::RawIp);
        }
    }

    #[test]
    fn rings_hold_a_tenth_of_a_second() {
        let bytes = |rate| {
            LinkSettings { ports: (1, 2), rate, senders: 1, sources: &[], by_name: false, echo: false, xdp: &[] }
                .ring_bytes()
        };
        assert_eq!(bytes(Rate::Fixed(Pps(10_000))), 4 << 20);
        assert_eq!(bytes(Rate::Fixed(Pps(1_000_000))), 25_600_000);
        assert_eq!(bytes(Rate::Fixed(Pps(u64::MAX))), 64 << 20);
    }
}
