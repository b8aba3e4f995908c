//! AF_XDP sockets on one queue of a device (Documentation/networking/af_xdp.rst, linux/if_xdp.h): frames lie in memory
//! that the kernel was given (the UMEM), rings of `xdp_ring.rs` say whose turn it is with each.
//!
//! ```text
//!            one UMEM: slots to send from | chunks to receive into
//!  sending   free -> [tx ring] -> kernel -> [completion ring] -> free
//!  receiving       [fill ring] -> kernel -> [rx ring] -> read -> fill ring
//! ```
//!
//! Where both are wanted there are two sockets, the second of which shares the UMEM and the queue of the first
//! (`XDP_SHARED_UMEM`). One for both would do, were it not that poll(2) of a socket with a tx ring sends what is in the
//! ring and drops the error (net/xdp/xsk.c, `xsk_poll`): the receiver waiting for replies would lose probes.

#![expect(unsafe_code, reason = "frames in memory shared with the kernel")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING,
    XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XdpMmapOffsets, XdpOptionsFlags, XdpRingOffset,
    XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with, sockopt,
};

use super::mapping::Mapping;
use super::xdp_ring::{Consumer, Descriptor, Entry, Producer, Ring};
use crate::wire::syn::MAX_FRAME;

/// The kernel's least and usual size of a place for one frame. What is longer than this less 256 octets of headroom is
/// not received; no answer to a SYN is.
pub(crate) const CHUNK: usize = 2048;
/// Room for the longest frame that is sent, in whole cache lines.
const SLOT: usize = MAX_FRAME.next_multiple_of(64);
/// Frames stand at different offsets of their chunks: at the same they would all share a few lines of the cache.
const OFFSETS: usize = CHUNK / SLOT - 1;
/// Frames that are handed over at a time.
const BATCH: u32 = 64;
/// A ring that nobody needs must still be there.
const UNUSED: u32 = 64;
/// Bytes of frames under way, as the kernel counts them for a socket: some 800 a frame.
const SEND_BUFFER: usize = 4 << 20;

/// What is to be opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct XdpRequest {
    /// The device, by its index.
    pub(crate) device: u32,
    /// Which of its queues.
    pub(crate) queue: u32,
    /// Slots to send from: 0, or a power of two.
    pub(crate) slots: u32,
    /// Chunks to receive into: 0, or a power of two.
    pub(crate) chunks: u32,
    /// Whether the device may read and write the UMEM itself, if it can.
    pub(crate) zero_copy: bool,
}

/// A queue, opened.
#[derive(Debug)]
pub(crate) struct XdpQueue {
    /// There if slots were asked for.
    pub(crate) tx: Option<XdpTxRing>,
    /// There if chunks were asked for.
    pub(crate) rx: Option<XdpRxRing>,
    /// Whether the device reads and writes the UMEM itself.
    pub(crate) zero_copy: bool,
}

/// Memory for frames, and the socket that it is registered with.
#[derive(Debug)]
struct Umem {
    socket: OwnedFd,
    memory: Mapping,
}

impl XdpQueue {
    /// Opens a queue. `EINVAL`: the device has no such queue; `EBUSY`: another socket has it.
    pub(crate) fn open(request: XdpRequest) -> io::Result<Self> {
        let XdpRequest { device, queue, slots, chunks, zero_copy } = request;
        let socket = new_socket()?;
        let memory = Mapping::anonymous((slots + chunks) as usize * CHUNK)?;
        sockopt::set_xdp_umem_reg(&socket, registration(&memory))?;
        sockopt::set_xdp_umem_fill_ring_size(&socket, chunks.max(UNUSED))?;
        sockopt::set_xdp_umem_completion_ring_size(&socket, slots.max(UNUSED))?;
        let layout = sockopt::xdp_mmap_offsets(&socket)?;
        let umem = Arc::new(Umem { socket, memory });
        let rx = (chunks > 0).then(|| XdpRxRing::new(Arc::clone(&umem), &layout, slots, chunks)).transpose()?;
        let sharing = (slots > 0 && chunks > 0).then(new_socket).transpose()?;
        let tx = (slots > 0).then(|| XdpTxRing::new(Arc::clone(&umem), sharing, &layout, slots)).transpose()?;

        let how = if zero_copy { SocketAddrXdpFlags::empty() } else { SocketAddrXdpFlags::XDP_COPY };
        // With neither of its flags the kernel tries without copies first (net/xdp/xsk_buff_pool.c, `xp_assign_dev`).
        bind(&umem.socket, &SocketAddrXdp::new(how | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP, device, queue))?;
        if let Some(sharing) = tx.as_ref().and_then(|tx| tx.own.as_ref()) {
            let flags = SocketAddrXdpFlags::XDP_SHARED_UMEM;
            let addr = SocketAddrXdp::new(flags, device, queue);
            bind(sharing, &SocketAddrXdpWithSharedUmem { addr, shared_umem_fd: umem.socket.as_fd() })?;
        }
        let options = sockopt::xdp_options(&umem.socket)?;
        Ok(XdpQueue { tx, rx, zero_copy: options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY) })
    }
}

fn new_socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None)?)
}

fn registration(memory: &Mapping) -> XdpUmemReg {
    XdpUmemReg {
        addr: memory.start().as_ptr() as u64,
        len: memory.len() as u64,
        chunk_size: CHUNK as u32,
        headroom: 0,
        flags: XdpUmemRegFlags::empty(),
        tx_metadata_len: 0,
    }
}

/// Has the kernel take so many frames in one call of sendto(2) (`XDP_MAX_TX_SKB_BUDGET`).
fn set_budget(socket: &OwnedFd, frames: u32) -> io::Result<()> {
    const MAX_TX_SKB_BUDGET: libc::c_int = 9;
    // SAFETY: the value is valid for reads of its own size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            MAX_TX_SKB_BUDGET,
            (&raw const frames).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Maps one of a socket's rings; to be done before it is bound.
fn ring<T: Entry>(socket: impl AsFd, layout: &XdpRingOffset, size: u32, offset: u64) -> io::Result<Ring<T>> {
    let memory = Mapping::of(socket, Ring::<T>::bytes(layout, size), offset)?;
    Ring::new(Arc::new(memory), layout, size)
}

/// The sending end of a queue: slots, the ring that they go out by, and the ring that they come back by.
#[derive(Debug)]
pub(crate) struct XdpTxRing {
    umem: Arc<Umem>,
    /// The socket that sends, if it is not the UMEM's.
    own: Option<OwnedFd>,
    ring: Producer<Descriptor>,
    completed: Consumer<u64>,
    /// Slots that the kernel does not have. The last is the next: what was used last is still in the cache.
    free: Vec<u32>,
    /// By slot, what was last sent from it.
    sent: Box<[Sent]>,
    /// Of all that came back, the one that stood furthest in the ring, and its slot.
    furthest: Option<(u32, u32)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    /// Its number in the ring.
    number: u32,
    len: u32,
}

impl XdpTxRing {
    fn new(umem: Arc<Umem>, own: Option<OwnedFd>, layout: &XdpMmapOffsets, slots: u32) -> io::Result<Self> {
        let socket = own.as_ref().unwrap_or(&umem.socket);
        sockopt::set_xdp_tx_ring_size(socket, slots)?;
        // The system's limit, unless this process may go beyond it; less only means less under way.
        if sockopt::set_socket_send_buffer_size_force(socket, SEND_BUFFER).is_err() {
            let _ = sockopt::set_socket_send_buffer_size(socket, SEND_BUFFER);
        }
        // Kernels before 6.17 do not know the option: they take half of it, and want to be called twice.
        let _ = set_budget(socket, BATCH.min(slots));
        Ok(XdpTxRing {
            ring: Producer::new(ring(socket, &layout.tx, slots, XDP_PGOFF_TX_RING)?),
            completed: Consumer::new(ring(&umem.socket, &layout.cr, slots, XDP_UMEM_PGOFF_COMPLETION_RING)?),
            umem,
            own,
            free: (0..slots).rev().collect(),
            sent: vec![Sent::default(); slots as usize].into_boxed_slice(),
            furthest: None,
        })
    }

    /// How many slots there are.
    pub(crate) fn slots(&self) -> usize {
        self.sent.len()
    }

    /// How many of them can be filled.
    #[inline]
    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    /// The next slot to be filled, and its bytes, as they were left.
    #[inline]
    pub(crate) fn slot(&mut self) -> Option<(usize, &mut [u8])> {
        let slot = *self.free.last()? as usize;
        let start = self.umem.memory.pointer(place(slot), SLOT)?;
        // SAFETY: the bytes lie inside the UMEM, in a chunk that is this value's alone (slots come before the chunks that
        // are received into) and free: the kernel has given it back, or never had it.
        Some((slot, unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), SLOT) }))
    }

    /// Puts that slot into the ring, with a frame of this length. It is handed over by [`XdpTxRing::kick`].
    #[inline]
    pub(crate) fn push(&mut self, len: usize) {
        let Some(slot) = self.free.pop() else { return };
        let len = len.min(SLOT) as u32;
        self.sent[slot as usize] = Sent { number: self.ring.next(), len };
        // As many places as slots, and a slot comes back only when its place has been read: there is a place.
        self.ring.push(Descriptor { address: place(slot as usize) as u64, len, options: 0 });
    }

    /// Where the kernel stands in the ring.
    #[inline]
    pub(crate) fn reached(&self) -> u32 {
        let read = self.ring.read();
        // Kernels before 6.17 tell later than what they have sent comes back.
        let back = self.furthest.map(|(number, _)| number.wrapping_add(1));
        back.filter(|back| is_before(read, *back)).unwrap_or(read)
    }

    /// How much is in the ring that the kernel has not taken.
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        self.ring.next().wrapping_sub(self.reached()) as usize
    }

    /// Hands over what is in the ring, and tells the kernel if it wants to be told.
    pub(crate) fn kick(&self) -> io::Result<()> {
        self.ring.publish();
        if self.ring.must_wake() {
            send(self.own.as_ref().unwrap_or(&self.umem.socket), &[], SendFlags::DONTWAIT)?;
        }
        Ok(())
    }

    /// Takes back what the kernel is done with.
    pub(crate) fn reap(&mut self) {
        let before = self.free.len();
        while let Some(address) = self.completed.pop() {
            let slot = (address as usize / CHUNK) as u32;
            let Some(sent) = self.sent.get(slot as usize) else { continue };
            if self.furthest.is_none_or(|(furthest, _)| is_before(furthest, sent.number)) {
                self.furthest = Some((sent.number, slot));
            }
            self.free.push(slot);
        }
        if self.free.len() > before {
            self.completed.release();
        }
    }

    /// After `EBUSY`: the last frame that the kernel took was dropped and given back (net/xdp/xsk.c: `NET_XMIT_DROP`);
    /// puts it into the ring again. `since` is where the kernel stood before. False if it cannot be told which it was.
    pub(crate) fn push_dropped(&mut self, since: u32) -> bool {
        self.reap();
        // Frames are taken in order and the dropped one was given back at once, so it is the furthest that came back.
        let Some((_, slot)) = self.furthest.filter(|(number, _)| !is_before(*number, since)) else { return false };
        let Some(at) = self.free.iter().rposition(|free| *free == slot) else { return false };
        let last = self.free.len() - 1;
        self.free.swap(at, last);
        self.push(self.sent[slot as usize].len as usize);
        true
    }
}

/// Where a slot's frame lies in the UMEM.
#[inline]
fn place(slot: usize) -> usize {
    slot * CHUNK + slot % OFFSETS * SLOT
}

/// Of two numbers less than 2^31 apart.
#[inline]
fn is_before(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) > 0
}

/// The receiving end of a queue.
#[derive(Debug)]
pub(crate) struct XdpRxRing {
    umem: Arc<Umem>,
    /// Where in the UMEM its chunks begin.
    start: usize,
    ring: Consumer<Descriptor>,
    fill: Producer<u64>,
}

impl XdpRxRing {
    fn new(umem: Arc<Umem>, layout: &XdpMmapOffsets, slots: u32, chunks: u32) -> io::Result<Self> {
        sockopt::set_xdp_rx_ring_size(&umem.socket, chunks)?;
        let received = ring(&umem.socket, &layout.rx, chunks, XDP_PGOFF_RX_RING)?;
        let mut fill = Producer::new(ring(&umem.socket, &layout.fr, chunks.max(UNUSED), XDP_UMEM_PGOFF_FILL_RING)?);
        (slots..slots + chunks).for_each(|chunk| fill.push(u64::from(chunk) * CHUNK as u64));
        fill.publish();
        Ok(XdpRxRing { start: slots as usize * CHUNK, ring: Consumer::new(received), fill, umem })
    }

    /// Hands over at most so many frames, and gives their chunks back.
    pub(crate) fn take(&mut self, most: usize, mut sink: impl FnMut(&[u8])) {
        let mut taken = 0;
        while taken < most
            && let Some(descriptor) = self.ring.pop()
        {
            if let Some(frame) = self.frame(descriptor) {
                sink(frame);
                self.fill.push(descriptor.address & !(CHUNK as u64 - 1));
            }
            taken += 1;
        }
        if taken > 0 {
            self.ring.release();
            self.fill.publish();
            self.wake();
        }
    }

    #[inline]
    fn frame(&self, descriptor: Descriptor) -> Option<&[u8]> {
        let (at, len) = (usize::try_from(descriptor.address).ok()?, descriptor.len as usize);
        let start = self.umem.memory.pointer(at, len).filter(|_| at >= self.start)?;
        // SAFETY: the bytes lie inside the UMEM, in chunks that are received into; the kernel handed them over with this
        // descriptor and has them back only when the chunk is in the fill ring, which `take` sees to afterwards.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), len) })
    }

    /// A driver that ran out of chunks wants to be told that there are new ones.
    fn wake(&self) {
        if self.fill.must_wake() {
            let mut nothing = [0; 0];
            let _ = recv(&self.umem.socket, &mut nothing, RecvFlags::DONTWAIT);
        }
    }

    /// Frames lost so far because there was no chunk to put them into or no place in the ring. `XDP_STATISTICS` also
    /// counts how often the fill ring was found empty: the same frames once more.
    pub(crate) fn drops(&self) -> u64 {
        let statistics = sockopt::xdp_statistics(&self.umem.socket);
        statistics.map_or(0, |told| told.rx_dropped + told.rx_ring_full.unwrap_or(0))
    }
}

impl AsFd for XdpRxRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.umem.socket.as_fd()
    }
}

/// Whether an error of [`XdpQueue::open`] says that the device has no such queue.
pub(crate) fn is_no_queue(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::INVAL.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_where_they_wrap() {
        assert!(is_before(0, 1) && is_before(u32::MAX, 0) && is_before(u32::MAX - 5, 7));
        assert!(!is_before(1, 1) && !is_before(1, 0) && !is_before(0, u32::MAX));
    }

    #[test]
    fn frames_lie_inside_their_chunks() {
        for slot in 0..1000 {
            let at = place(slot);
            assert_eq!((at / CHUNK, (at + SLOT - 1) / CHUNK, at % 64), (slot, slot, 0));
        }
    }
}
