//! Memory that programs and this process share, and the table of AF_XDP sockets.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use crate::error::{Error, failed};
use crate::sys::{self, MAP_TYPE_ARRAY, MAP_TYPE_XSKMAP, MMAPABLE, Mapping};

/// 64-bit words that programs and any thread here read and write. A word that both sides write at once is theirs to
/// order; each load and store is whole.
#[derive(Debug)]
pub struct WordMap {
    descriptor: OwnedFd,
    memory: Mapping,
}

impl WordMap {
    /// So many words, all zero.
    ///
    /// # Errors
    /// No right to, or no memory.
    pub fn new(words: usize) -> Result<Self, Error> {
        let (descriptor, memory) = shared_memory(words * 8)?;
        Ok(WordMap { descriptor, memory })
    }

    /// The words.
    #[inline]
    pub fn words(&self) -> &[AtomicU64] {
        self.memory.words()
    }
}

impl AsFd for WordMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Bytes that one owner here writes and programs read. Which part is whose at a time is for the two to agree, by words
/// of a [`WordMap`] stored with release and loaded with acquire.
#[derive(Debug)]
pub struct ByteMap {
    descriptor: OwnedFd,
    memory: Mapping,
}

impl ByteMap {
    /// So many bytes, all zero.
    ///
    /// # Errors
    /// No right to, or no memory.
    pub fn new(bytes: usize) -> Result<Self, Error> {
        let (descriptor, memory) = shared_memory(bytes)?;
        Ok(ByteMap { descriptor, memory })
    }

    /// The bytes.
    #[inline]
    pub fn bytes(&mut self) -> &mut [u8] {
        self.memory.bytes()
    }
}

impl AsFd for ByteMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// One value of so many bytes, mapped here.
fn shared_memory(bytes: usize) -> Result<(OwnedFd, Mapping), Error> {
    let size =
        u32::try_from(bytes).map_err(|_| failed("make shared memory")(std::io::ErrorKind::InvalidInput.into()))?;
    let map = sys::create_map(MAP_TYPE_ARRAY, size, 1, MMAPABLE).map_err(failed("make shared memory"))?;
    let memory = Mapping::new(map.as_fd(), bytes).map_err(failed("map shared memory"))?;
    Ok((map, memory))
}

/// Which AF_XDP socket takes off what arrives in which queue of a device (`BPF_MAP_TYPE_XSKMAP`).
#[derive(Debug)]
pub struct SocketMap {
    descriptor: OwnedFd,
}

impl SocketMap {
    /// For so many queues, with no sockets yet.
    ///
    /// # Errors
    /// No right to, or no memory.
    pub fn new(queues: u32) -> Result<Self, Error> {
        let descriptor = sys::create_map(MAP_TYPE_XSKMAP, 4, queues, 0).map_err(failed("make a table of sockets"))?;
        Ok(SocketMap { descriptor })
    }

    /// Enters a queue's socket.
    ///
    /// # Errors
    /// The queue is out of range, or the socket is none of AF_XDP with a receive ring.
    pub fn insert(&self, queue: u32, socket: impl AsFd) -> Result<(), Error> {
        let socket = socket.as_fd().as_raw_fd();
        sys::update_map(self.descriptor.as_fd(), queue, socket).map_err(failed("enter a socket into the table"))
    }
}

impl AsFd for SocketMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
