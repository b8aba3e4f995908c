//! The unsafe lines of `peers`: the AF_XDP ring of the bare loops.

#![expect(unsafe_code, reason = "memory shared with the kernel")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use halfopen_bench::beside::sys::option;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use rustix::net::sockopt::{
    set_xdp_tx_ring_size, set_xdp_umem_completion_ring_size, set_xdp_umem_fill_ring_size, set_xdp_umem_reg,
    xdp_mmap_offsets,
};
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING, XdpDesc, XdpDescOptions,
    XdpRingOffset, XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, SendFlags, SocketType};

/// Memory shared with the kernel.
struct Mapping {
    memory: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn of(memory: *mut std::ffi::c_void, len: usize) -> io::Result<Mapping> {
        Ok(Mapping { memory: NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?, len })
    }

    fn anonymous(len: usize) -> io::Result<Mapping> {
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::POPULATE);
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing.
        Mapping::of(unsafe { mmap_anonymous(ptr::null_mut(), len, access, flags) }?, len)
    }

    fn of_socket(socket: BorrowedFd<'_>, len: usize, offset: u64) -> io::Result<Mapping> {
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::POPULATE);
        // SAFETY: as above.
        Mapping::of(unsafe { mmap(ptr::null_mut(), len, access, flags, socket, offset) }?, len)
    }

    /// The address of a `T` at an offset, which lies inside.
    fn at<T>(&self, offset: u64) -> NonNull<T> {
        assert!(offset as usize + size_of::<T>() <= self.len, "{offset} is not in a mapping of {}", self.len);
        // SAFETY: inside the mapping, as was checked.
        unsafe { self.memory.add(offset as usize) }.cast()
    }

    fn word(&self, offset: u64) -> &AtomicU32 {
        // SAFETY: rings' words are aligned, lie inside the mapping, and both sides access them as whole words.
        unsafe { self.at::<AtomicU32>(offset).as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped with this address and length, and nothing borrowed from it outlives `self`.
        let _ = unsafe { munmap(self.memory.as_ptr().cast(), self.len) };
    }
}

/// Frames, and entries of the rings.
const FRAMES: u32 = 2048;
const FRAME: u32 = 2048;
/// Room for a frame.
const PLACE: u32 = 128;

/// An AF_XDP socket in copy mode that sends one and the same frame, again and again.
pub(crate) struct XdpSender {
    socket: OwnedFd,
    _frames: Mapping,
    send: (Mapping, XdpRingOffset),
    done: (Mapping, XdpRingOffset),
    len: u32,
    produced: u32,
}

impl XdpSender {
    /// On the first queue of a device, for batches of this size.
    pub(crate) fn open(device: u32, frame: &[u8], batch: u32) -> io::Result<XdpSender> {
        const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
        let socket = rustix::net::socket(AddressFamily::XDP, SocketType::RAW, None)?;
        // As much at one call as is handed over; kernels before 6.17 do not know it, and take 32.
        let _ = option(socket.as_fd(), libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, batch);
        let frames = filled(frame)?;
        register(&socket, &frames)?;
        set_xdp_umem_fill_ring_size(&socket, FRAMES)?;
        set_xdp_umem_completion_ring_size(&socket, FRAMES)?;
        set_xdp_tx_ring_size(&socket, FRAMES)?;
        let at = xdp_mmap_offsets(&socket)?;
        let ring = |ring: &XdpRingOffset, entry: usize, page| {
            Mapping::of_socket(socket.as_fd(), ring.desc as usize + FRAMES as usize * entry, page)
        };
        let send = ring(&at.tx, size_of::<XdpDesc>(), XDP_PGOFF_TX_RING)?;
        let done = ring(&at.cr, size_of::<u64>(), XDP_UMEM_PGOFF_COMPLETION_RING)?;
        rustix::net::bind(&socket, &SocketAddrXdp::new(SocketAddrXdpFlags::XDP_COPY, device, 0))?;
        let (send, done) = ((send, at.tx), (done, at.cr));
        Ok(XdpSender { socket, _frames: frames, send, done, len: frame.len() as u32, produced: 0 })
    }

    /// Hands the kernel as many frames as there is room for, at most `most`, and has it send; gives how many it took.
    pub(crate) fn send(&mut self, most: u32) -> io::Result<u32> {
        let (done, at) = &self.done;
        // What is complete may be used again; the kernel's count pairs with its release.
        let complete = done.word(at.producer).load(Ordering::Acquire);
        done.word(at.consumer).store(complete, Ordering::Release);
        let count = (FRAMES - self.produced.wrapping_sub(complete)).min(most);
        for _ in 0..count {
            self.describe(self.produced % FRAMES);
            self.produced = self.produced.wrapping_add(1);
        }
        let (send, at) = &self.send;
        // The descriptors above must be seen before the count that includes them.
        send.word(at.producer).store(self.produced, Ordering::Release);
        self.kick()?;
        Ok(count)
    }

    /// How many have left.
    pub(crate) fn in_flight(&self) -> u32 {
        self.produced.wrapping_sub(self.done.0.word(self.done.1.producer).load(Ordering::Acquire))
    }

    /// Has the kernel go on with what it was handed; a full queue is not an error.
    pub(crate) fn kick(&self) -> io::Result<()> {
        use rustix::io::Errno;
        match rustix::net::send(&self.socket, &[], SendFlags::DONTWAIT) {
            Ok(_) | Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn describe(&self, slot: u32) {
        let descriptor = XdpDesc { addr: start(slot), len: self.len, options: XdpDescOptions::empty() };
        let (send, at) = &self.send;
        let place = send.at(at.desc + u64::from(slot) * size_of::<XdpDesc>() as u64);
        // SAFETY: the place is inside the ring, and ours until the producer's count passes it.
        unsafe { place.write(descriptor) };
    }
}

/// Where a slot's frame lies: at another offset than its neighbour's, or all would share a few lines of the cache.
fn start(slot: u32) -> u64 {
    u64::from(slot * FRAME + slot % (FRAME / PLACE) * PLACE)
}

/// Memory of which every frame holds these bytes.
fn filled(frame: &[u8]) -> io::Result<Mapping> {
    let frames = Mapping::anonymous((FRAMES * FRAME) as usize)?;
    for slot in 0..FRAMES {
        let place = frames.at::<[u8; PLACE as usize]>(start(slot)).cast::<u8>();
        assert!(frame.len() <= PLACE as usize, "a frame fits");
        // SAFETY: the slot is inside, nobody else has it yet, and the frame is not longer.
        unsafe { place.copy_from_nonoverlapping(NonNull::from(frame).cast(), frame.len()) };
    }
    Ok(frames)
}

fn register(socket: &OwnedFd, frames: &Mapping) -> io::Result<()> {
    let region = XdpUmemReg {
        addr: frames.memory.as_ptr() as u64,
        len: frames.len as u64,
        chunk_size: FRAME,
        headroom: 0,
        flags: XdpUmemRegFlags::empty(),
        tx_metadata_len: 0,
    };
    Ok(set_xdp_umem_reg(socket, region)?)
}
