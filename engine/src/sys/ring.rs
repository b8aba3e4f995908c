//! The receive ring of an AF_PACKET socket (TPACKET_V3): memory shared with the kernel, cut into blocks that change hands
//! whole. Documentation/networking/packet_mmap.rst, linux/if_packet.h.

#![expect(unsafe_code, reason = "memory shared with the kernel")]

use std::ffi::c_void;
use std::io;
use std::mem::offset_of;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::packet::PacketSocket;

/// A block is the unit in which frames change hands; it must hold the largest frame.
const BLOCK: usize = 64 << 10;
/// A block that is not full is handed over after [`RETIRE_MILLIS`], however little is in it. So it is their number, and
/// not their size, that bears a reader who gets no processor for a while: this many bear a quarter of a second.
const LEAST_BLOCKS: usize = 64;
/// The nominal frame size: TPACKET_V3 packs frames tightly, but the kernel checks that the numbers divide.
const FRAME: usize = 2048;
/// After so many milliseconds the kernel hands over a block that is not full.
const RETIRE_MILLIS: u32 = 4;
/// Where a block says who owns it.
const STATUS: usize = offset_of!(libc::tpacket_block_desc, hdr) + offset_of!(libc::tpacket_hdr_v1, block_status);

/// A receive ring and the socket that fills it.
#[derive(Debug)]
pub(crate) struct RxRing {
    socket: PacketSocket,
    memory: NonNull<u8>,
    blocks: usize,
    current: usize,
}

// SAFETY: the mapping belongs to this value alone, no thread owns it, and all use goes through `&mut self`.
unsafe impl Send for RxRing {}

impl RxRing {
    /// A ring of at least `bytes` for a socket that is not bound yet.
    pub(crate) fn new(socket: PacketSocket, bytes: usize) -> io::Result<Self> {
        let blocks = bytes.div_ceil(BLOCK).max(LEAST_BLOCKS);
        let request = libc::tpacket_req3 {
            tp_block_size: BLOCK as u32,
            tp_block_nr: blocks as u32,
            tp_frame_size: FRAME as u32,
            tp_frame_nr: (blocks * (BLOCK / FRAME)) as u32,
            tp_retire_blk_tov: RETIRE_MILLIS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        socket.set_option(libc::PACKET_VERSION, &(libc::tpacket_versions::TPACKET_V3 as u32))?;
        socket.set_option(libc::PACKET_RX_RING, &request)?;
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping of the ring just made, at an address that the kernel chooses.
        let memory = unsafe { mmap(std::ptr::null_mut(), blocks * BLOCK, access, flags, socket.as_fd(), 0) }?;
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(RxRing { socket, memory, blocks, current: 0 })
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &PacketSocket {
        &self.socket
    }

    /// The current block, if the kernel has handed it over. It stays the same until [`RxRing::release`].
    pub(crate) fn block(&mut self) -> Option<&[u8]> {
        // Acquire: what the kernel wrote before it set the status is seen after the status is.
        if self.status().load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: `current < blocks`, so the block lies inside the mapping; its status says that the kernel will not
        // write to it until `release`, which takes `&mut self` and so ends this borrow.
        Some(unsafe { std::slice::from_raw_parts(self.start().as_ptr(), BLOCK) })
    }

    /// Gives the current block back to the kernel and goes on to the next.
    pub(crate) fn release(&mut self) {
        // Release: our reads of the block are done before the kernel may write to it again.
        self.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.current = (self.current + 1) % self.blocks;
    }

    fn start(&self) -> NonNull<u8> {
        // SAFETY: `current < blocks`, so the result lies inside the mapping of `blocks * BLOCK` bytes.
        unsafe { self.memory.add(self.current * BLOCK) }
    }

    fn status(&self) -> &AtomicU32 {
        // SAFETY: STATUS lies inside the block header, a few words from the block's start.
        let status = unsafe { self.start().add(STATUS) };
        // SAFETY: the word is aligned (the block to a page, STATUS to 4), lives as long as the mapping, and is only ever
        // accessed atomically on this side; the kernel's accesses are word-sized.
        unsafe { AtomicU32::from_ptr(status.as_ptr().cast()) }
    }
}

impl Drop for RxRing {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and nothing borrows from it any more.
        let result = unsafe { munmap(self.memory.as_ptr().cast::<c_void>(), self.blocks * BLOCK) };
        debug_assert!(result.is_ok(), "munmap: {result:?}");
    }
}
