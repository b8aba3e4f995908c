//! Frames that leave with one system call: a persistent array of message headers for sendmmsg(2).

#![expect(unsafe_code, reason = "sendmmsg over buffers that the headers point to")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use socket2::SockAddr;

use crate::wire::syn::MAX_FRAME;

/// Room for the longest frame, in whole cache lines.
const SLOT: usize = MAX_FRAME.next_multiple_of(64);

/// Slots for frames, and the headers that describe them to the kernel.
pub(crate) struct SendBatch {
    frames: Box<[[u8; SLOT]]>,
    addresses: Box<[Option<SockAddr>]>,
    parts: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

// SAFETY: the pointers in `parts` and `headers` lead only into the other boxes of the same value, which move with it
// (their heap memory stays where it is), and are followed only under `&mut self`.
unsafe impl Send for SendBatch {}

impl SendBatch {
    /// A batch of so many slots.
    pub(crate) fn new(slots: usize) -> Self {
        let mut frames = vec![[0; SLOT]; slots].into_boxed_slice();
        let parts: Box<[_]> =
            frames.iter_mut().map(|frame| libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: 0 }).collect();
        // SAFETY: an all-zero mmsghdr is valid: null pointers with zero lengths.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        SendBatch {
            frames,
            addresses: vec![None; slots].into_boxed_slice(),
            parts,
            headers: vec![header; slots].into_boxed_slice(),
        }
    }

    /// How many slots there are.
    pub(crate) fn slots(&self) -> usize {
        self.frames.len()
    }

    /// A slot's bytes.
    pub(crate) fn frame(&mut self, slot: usize) -> &mut [u8] {
        &mut self.frames[slot]
    }

    /// Says how long the frame in a slot is, and where it goes if the socket does not know.
    pub(crate) fn set(&mut self, slot: usize, len: usize, to: Option<SockAddr>) {
        self.parts[slot].iov_len = len.min(SLOT);
        self.addresses[slot] = to;
    }

    /// Sends the slots `from..to`, without waiting; says how many went. An error speaks of the first alone.
    pub(crate) fn send(&mut self, socket: impl AsFd, from: usize, to: usize) -> io::Result<usize> {
        for slot in from..to {
            self.describe(slot);
        }
        let headers = &mut self.headers[from..to];
        // SAFETY: each header points to one iovec, that to a frame at least as long as it says, and to an address or
        // nothing; all are owned by `self`, which is borrowed for the whole call.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_fd().as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    fn describe(&mut self, slot: usize) {
        let header = &mut self.headers[slot].msg_hdr;
        header.msg_iov = &raw mut self.parts[slot];
        header.msg_iovlen = 1;
        match &self.addresses[slot] {
            Some(address) => {
                header.msg_name = address.as_ptr().cast_mut().cast();
                header.msg_namelen = address.len();
            }
            None => (header.msg_name, header.msg_namelen) = (std::ptr::null_mut(), 0),
        }
    }
}
