//! A receive ring on a packet socket (TPACKET_V2, linux/if_packet.h and Documentation/networking/packet_mmap.rst):
//! fixed slots, filled by the kernel in order and given back one by one. Its memory does not count against the
//! receive buffer's limit, so an ordinary user gets the same depth as root.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libc::{c_int, socklen_t, tpacket_req, tpacket_stats, tpacket2_hdr};
use rustix::mm::{MapFlags, ProtFlags};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

/// A slot holds the kernel's header and as much of a frame as a probe or a neighbour message can fill.
const SLOT: usize = 512;
/// Slots: an eighth of a second at 250,000 frames a second.
const SLOTS: usize = 1 << 15;
/// Slots are handed to the kernel in blocks of this many bytes; small enough to be found in fragmented memory.
const BLOCK: usize = 1 << 16;
const ETH_P_ALL: u16 = 0x0003;

/// A packet socket bound to one interface, with its ring.
pub(crate) struct PacketRing {
    socket: Socket,
    memory: NonNull<u8>,
    next: usize,
}

// SAFETY: the mapping belongs to this value alone and is not bound to the thread that made it.
unsafe impl Send for PacketRing {}

impl PacketRing {
    /// Opens the socket on the interface of this index, in the caller's namespace. It hears no outgoing frames.
    pub(crate) fn open(interface: u32) -> io::Result<PacketRing> {
        // Protocol 0: nothing is received before bind, so the ring sees frames of this interface alone.
        let socket = Socket::new_raw(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        set_packet_option(&socket, libc::PACKET_VERSION, &libc::tpacket_versions::TPACKET_V2)?;
        set_packet_option(&socket, libc::PACKET_IGNORE_OUTGOING, &1_i32)?;
        set_packet_option(&socket, libc::PACKET_QDISC_BYPASS, &1_i32)?;
        set_packet_option(&socket, libc::PACKET_RX_RING, &RING)?;
        let memory = map_ring(&socket)?;
        let ring = PacketRing { socket, memory, next: 0 };
        ring.socket.bind(&link_address(interface))?;
        Ok(ring)
    }

    /// Hands the oldest frame not yet seen to `use_frame`, with the time at which it arrived; false if there is none. A
    /// frame longer than a slot is cut.
    pub(crate) fn receive(&mut self, use_frame: impl FnOnce(SystemTime, &[u8])) -> bool {
        let slot = self.slot(self.next);
        // Pairs with the kernel's barrier between filling the slot and setting its status.
        if status(slot).load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return false;
        }
        let header = header(slot);
        use_frame(arrival(&header), frame(slot, &header));
        // What was read of the slot must have been read before the kernel may fill it again.
        status(slot).store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % SLOTS;
        true
    }

    /// Frames that found the ring full since the last call.
    pub(crate) fn take_drops(&self) -> io::Result<u32> {
        let mut stats = tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = size_of::<tpacket_stats>() as socklen_t;
        // SAFETY: PACKET_STATISTICS writes one tpacket_stats for a V2 socket, and `length` says there is room for it.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut stats).cast(),
                &raw mut length,
            )
        };
        super::checked(result)?;
        Ok(stats.tp_drops)
    }

    fn slot(&self, index: usize) -> NonNull<u8> {
        debug_assert!(index < SLOTS);
        // SAFETY: `index < SLOTS`, so the slot lies inside the mapping of SLOTS * SLOT bytes.
        unsafe { self.memory.add(index * SLOT) }
    }
}

impl AsFd for PacketRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for PacketRing {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length, and no reference into it outlives `receive`.
        let _ = unsafe { rustix::mm::munmap(self.memory.as_ptr().cast(), SLOTS * SLOT) };
    }
}

const RING: tpacket_req = tpacket_req {
    tp_block_size: BLOCK as u32,
    tp_block_nr: (SLOTS * SLOT / BLOCK) as u32,
    tp_frame_size: SLOT as u32,
    tp_frame_nr: SLOTS as u32,
};

fn map_ring(socket: &Socket) -> io::Result<NonNull<u8>> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new shared mapping of the socket's ring at an address of the kernel's choice; it overlaps nothing.
    let memory = unsafe { rustix::mm::mmap(std::ptr::null_mut(), SLOTS * SLOT, access, MapFlags::SHARED, socket, 0) }?;
    NonNull::new(memory.cast()).ok_or_else(|| io::Error::other("the ring was mapped at address zero"))
}

/// The slot's first word, `tp_status`, which the kernel writes while we look.
fn status<'a>(slot: NonNull<u8>) -> &'a AtomicU32 {
    // SAFETY: slots are 512 bytes apart in a page-aligned mapping, so the word is aligned, and both sides touch it by
    // atomic access only. The callers keep the reference no longer than they hold the ring.
    unsafe { AtomicU32::from_ptr(slot.as_ptr().cast()) }
}

/// The kernel's header of a slot that is ours.
fn header(slot: NonNull<u8>) -> tpacket2_hdr {
    // SAFETY: the slot is ours (its status says so), begins with this header, and is aligned for it.
    unsafe { slot.cast::<tpacket2_hdr>().read() }
}

/// When the kernel put the frame there, by the system's clock.
fn arrival(header: &tpacket2_hdr) -> SystemTime {
    UNIX_EPOCH + Duration::new(header.tp_sec.into(), header.tp_nsec)
}

/// The frame in a slot that is ours.
fn frame<'a>(slot: NonNull<u8>, header: &tpacket2_hdr) -> &'a [u8] {
    let start = usize::from(header.tp_mac).min(SLOT);
    let length = (header.tp_snaplen as usize).min(SLOT - start);
    // SAFETY: `start <= SLOT`.
    let bytes = unsafe { slot.add(start) };
    // SAFETY: `start + length <= SLOT`; the kernel does not write to the slot before its status is given back, and
    // the caller drops the slice before that.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr(), length) }
}

fn set_packet_option<T>(socket: &Socket, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: pointer and length describe `value`, which the kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as socklen_t,
        )
    };
    super::checked(result)
}

fn link_address(interface: u32) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is at least as large as a sockaddr_ll and aligned for any address, and zero is a value of
    // each of its fields.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = ETH_P_ALL.to_be();
    address.sll_ifindex = interface as i32;
    // SAFETY: the family is set and the length is that of its address.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as socklen_t) }
}
