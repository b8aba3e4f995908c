//! The receiving half by XDP: a program on the device hands what could be an answer to an AF_XDP socket, one for each of
//! the device's queues, before the kernel's own stack sees it.
//!
//! The program is attached by a BPF link, which is gone with this process however it ends. A program that is there
//! already is never replaced. Receiving takes answers away from the kernel, so it is for the engine to close half-open
//! connections; and the checksums of frames that a kernel on this very machine sent (veth) may not be filled in yet.
//!
//! **Memory.** Chunks of 2 KiB for 100 ms of answers at the asked rate, split over the queues: at least 8 MiB and at most
//! 64 MiB a device, and for each queue at least 1 MiB. A device with more than 64 queues is left to packet sockets.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use halfopen_bpf::{Kind, Mode, Program, SocketMap, XdpLink};
use rustix::event::epoll;

use super::{Refusal, filter};
use crate::link::{Clock, LinkRx, LinkSettings, Received, filter as link_filter};
use crate::pace::Rate;
use crate::route::{self, Interface};
use crate::sys::{CHUNK, Channels, PacketSocket, XdpQueue, XdpRequest, XdpRxRing, XdpTxRing, is_no_queue};
use crate::wire::reply::{Checksum, Layer};

/// Queues that a device may have: answers come in any of them.
const QUEUES: u32 = 64;
/// Frames taken off a queue in one go, so that all queues get their turn and the receiver comes back to its duties.
const TURN: usize = 4096;
/// From this rate on, in probes a second, the queues are looked at every so often: to be woken for every frame costs the
/// kernel, and with it the sender, several microseconds. (At the highest rate before 1 % of answers it halves that rate.)
const FAST: u64 = 100_000;
const GLANCE: Duration = Duration::from_micros(100);
/// The least and the most memory for frames of a device, and the least of a queue.
const DEVICE: (usize, usize) = (8 << 20, 64 << 20);
const QUEUE: usize = 1 << 20;

/// A queue whose last socket was closed is free only when the kernel has found the time (net/xdp/xsk_buff_pool.c,
/// `xp_release_deferred`): it is asked for again for a while.
const FREED: (Duration, u32) = (Duration::from_millis(10), 30);

/// A link that was set up anew is up again after so long: 10 Gbit/s Ethernet negotiates for some seconds.
const SETTLED: Duration = Duration::from_secs(10);

/// What sending shares with receiving: slots in the memory of the first queues.
#[derive(Debug, Clone, Copy)]
pub(in crate::link) struct Sharing {
    /// How many queues are sent from.
    pub(in crate::link) senders: usize,
    /// Slots of each, a power of two.
    pub(in crate::link) slots: u32,
}

/// The receiving half.
pub(in crate::link) struct XdpRx {
    queues: Vec<XdpRxRing>,
    /// Becomes readable when any queue does; none where they are looked at often.
    any: Option<OwnedFd>,
    /// Notices when the device goes down, which AF_XDP sockets do not.
    watch: PacketSocket,
    mode: Mode,
    _program: XdpLink,
}

/// What was opened for both directions.
pub(in crate::link) struct XdpBoth {
    pub(in crate::link) rx: XdpRx,
    /// By queue: as many as were asked for, or as the device has.
    pub(in crate::link) tx: Vec<XdpTxRing>,
    /// Whether the device itself reads and writes the frames' memory.
    pub(in crate::link) zero_copy: bool,
}

impl XdpRx {
    /// Listens on a device, by the first of these modes that it can, and shares its queues with whoever sends.
    pub(in crate::link) fn open(
        interface: &Interface,
        settings: LinkSettings,
        modes: &[Mode],
        sharing: Sharing,
    ) -> Result<XdpBoth, Refusal> {
        let sockets = SocketMap::new(QUEUES)?;
        let program =
            Program::load(Kind::Xdp, "halfopen_rx", &filter::program(settings.sources, settings.ports, &sockets))?;
        // Before the sockets: it says at once whether the device is free, and in which mode the program runs. While there
        // is no socket in the table, everything goes to the kernel.
        let (program, mode) = attach(&program, interface, modes)?;
        let Queues { rx, tx, zero_copy } = Queues::open(interface, settings, mode, sharing)?;
        for (queue, ring) in (0..).zip(&rx) {
            sockets.insert(queue, ring)?;
        }
        if mode == Mode::Native {
            settle(interface)?;
        }
        let watch = watch(interface).map_err(system("watch the device"))?;
        let fast = match settings.rate {
            Rate::Fixed(pps) => pps.0 >= FAST,
            Rate::Auto | Rate::Max => true,
        };
        let any = (!fast).then(|| any(&rx, &watch)).transpose().map_err(system("wait for several queues"))?;
        Ok(XdpBoth { rx: XdpRx { queues: rx, any, watch, mode, _program: program }, tx, zero_copy })
    }

    /// How it listens: `xdp(native)` or `xdp(generic)`.
    pub(in crate::link) fn name(&self) -> &'static str {
        match self.mode {
            Mode::Native => "xdp(native)",
            Mode::Generic => "xdp(generic)",
        }
    }
}

/// The queues of a device, opened.
struct Queues {
    rx: Vec<XdpRxRing>,
    tx: Vec<XdpTxRing>,
    zero_copy: bool,
}

impl Queues {
    fn open(interface: &Interface, settings: LinkSettings, mode: Mode, sharing: Sharing) -> Result<Self, Refusal> {
        let channels = Channels::of(&interface.name);
        let senders = sharing.senders.min(channels.tx as usize);
        let mut queues = Queues { rx: Vec::new(), tx: Vec::new(), zero_copy: false };
        for queue in 0..=QUEUES {
            let request = XdpRequest {
                device: interface.index,
                queue,
                slots: if (queue as usize) < senders { sharing.slots } else { 0 },
                chunks: chunks(settings.rate, channels.rx),
                // A device that fills the memory itself does not do so for a program that runs behind it.
                zero_copy: mode == Mode::Native,
            };
            match open_freed(request) {
                Err(error) if queue > 0 && is_no_queue(&error) => break,
                Err(error) => return Err(Refusal::queue(queue, error)),
                Ok(_) if queue == QUEUES => return Err(Refusal::TooManyQueues { most: QUEUES }),
                Ok(opened) => queues.take(opened),
            }
        }
        Ok(queues)
    }

    fn take(&mut self, opened: XdpQueue) {
        self.zero_copy |= opened.zero_copy;
        self.rx.extend(opened.rx);
        self.tx.extend(opened.tx);
    }
}

/// Opens a queue, also one that has just been closed.
pub(super) fn open_freed(request: XdpRequest) -> io::Result<XdpQueue> {
    let (nap, times) = FREED;
    for _ in 0..times {
        match XdpQueue::open(request) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => thread::sleep(nap),
            opened => return opened,
        }
    }
    XdpQueue::open(request)
}

/// Chunks of each of so many queues.
fn chunks(rate: Rate, queues: u32) -> u32 {
    let pps = match rate {
        Rate::Fixed(pps) => pps.0,
        Rate::Auto | Rate::Max => 2_000_000,
    };
    let wanted = usize::try_from((pps / 10).saturating_mul(CHUNK as u64)).unwrap_or(usize::MAX);
    let each = wanted.clamp(DEVICE.0, DEVICE.1) / queues.clamp(1, QUEUES) as usize;
    let power = 1 << (each.max(QUEUE) / CHUNK).ilog2();
    power as u32
}

/// Attaches the program by the first mode that the device can.
fn attach(program: &Program, interface: &Interface, modes: &[Mode]) -> Result<(XdpLink, Mode), Refusal> {
    let mut refused = Refusal::NoMode;
    for &mode in modes {
        match XdpLink::attach(program, interface.index, mode).map_err(Refusal::from) {
            Ok(link) => return Ok((link, mode)),
            // What is occupied in one mode is in the other, too.
            Err(occupied @ Refusal::Occupied) => return Err(occupied),
            Err(refusal) => refused = refusal,
        }
    }
    Err(refused)
}

/// Waits until a device that was set up anew has its link again.
fn settle(interface: &Interface) -> Result<(), Refusal> {
    let since = Instant::now();
    loop {
        let known = route::interfaces().map_err(|error| system("ask for the link")(io::Error::other(error)))?;
        if known.iter().any(|own| own.index == interface.index && own.carrier) {
            return Ok(());
        }
        if since.elapsed() > SETTLED {
            return Err(Refusal::Down);
        }
        thread::sleep(SETTLED / 200);
    }
}

/// A socket that receives nothing, and is told when the device goes down.
fn watch(interface: &Interface) -> io::Result<PacketSocket> {
    let socket = PacketSocket::new(Layer::Ethernet)?;
    let nothing: Vec<_> = link_filter::nothing().into_iter().map(Into::into).collect();
    socket.filter(&nothing)?;
    socket.bind_to_watch(interface.index)?;
    Ok(socket)
}

/// What becomes readable when one of these does.
fn any(queues: &[XdpRxRing], watch: &PacketSocket) -> io::Result<OwnedFd> {
    let any = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for queue in queues {
        epoll::add(&any, queue, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    }
    epoll::add(&any, watch, epoll::EventData::new_u64(0), epoll::EventFlags::empty())?;
    Ok(any)
}

fn system(operation: &'static str) -> impl FnOnce(io::Error) -> Refusal {
    move |source| Refusal::System { operation, source }
}

impl LinkRx for XdpRx {
    fn layer(&self) -> Layer {
        Layer::Ethernet
    }

    fn receive(&mut self, clock: &Clock, sink: &mut dyn FnMut(Received<'_>)) -> io::Result<()> {
        let at = clock.now();
        for queue in &mut self.queues {
            queue.take(TURN, |frame| sink(Received { frame, at, checksum: Checksum::PerhapsUnfilled }));
        }
        self.watch.take_error()?.map_or(Ok(()), Err)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.any.as_ref().map(AsFd::as_fd)
    }

    fn patience(&self) -> Option<Duration> {
        self.any.is_none().then_some(GLANCE)
    }

    fn takes_away(&self) -> bool {
        true
    }

    fn drops(&mut self) -> u64 {
        self.queues.iter().map(XdpRxRing::drops).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::Pps;

    #[test]
    fn memory_is_bounded_whatever_is_asked() {
        let fixed = |pps| Rate::Fixed(Pps(pps));
        assert_eq!(chunks(fixed(10_000), 1), 4096);
        assert_eq!(chunks(fixed(100_000), 1), 8192, "100 ms, rounded to a power of two");
        assert_eq!(chunks(Rate::Max, 1), 32_768);
        assert_eq!(chunks(fixed(u64::MAX), 3), 8192);
        for queues in 1..200 {
            let chunks = chunks(Rate::Max, queues);
            assert!(chunks.is_power_of_two() && chunks * queues.min(QUEUES) <= 32_768, "{chunks} of {queues}");
        }
    }
}
