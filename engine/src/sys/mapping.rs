//! Memory that is mapped, and unmapped when its owner goes: our own, to lend to the kernel, or the kernel's, lent to us.
//! Whoever uses it says why an access is sound; this file only says that it lies inside.

#![expect(unsafe_code, reason = "mmap and munmap")]

use std::io;
use std::os::fd::AsFd;
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// A mapping, readable and writable.
#[derive(Debug)]
pub(super) struct Mapping {
    memory: NonNull<u8>,
    len: usize,
}

// SAFETY: no thread owns the mapping; it is unmapped once, by the value that owns it.
unsafe impl Send for Mapping {}
// SAFETY: a shared reference gives pointers and nothing else.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// So many bytes of our own, all zero and present.
    pub(super) fn anonymous(len: usize) -> io::Result<Self> {
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::POPULATE);
        // SAFETY: a new mapping at an address that the kernel chooses.
        let memory = unsafe { mmap_anonymous(ptr::null_mut(), len, access, flags) }?;
        Ok(Mapping { memory: NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?, len })
    }

    /// So many bytes of what a descriptor offers at an offset.
    pub(super) fn of(descriptor: impl AsFd, len: usize, offset: u64) -> io::Result<Self> {
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::POPULATE);
        // SAFETY: a new mapping at an address that the kernel chooses.
        let memory = unsafe { mmap(ptr::null_mut(), len, access, flags, descriptor, offset) }?;
        Ok(Mapping { memory: NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?, len })
    }

    /// How long it is.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where it begins, for the kernel.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.memory
    }

    /// Where `len` bytes at `at` begin; none if they do not lie inside.
    #[inline]
    pub(super) fn pointer(&self, at: usize, len: usize) -> Option<NonNull<u8>> {
        at.checked_add(len).filter(|end| *end <= self.len)?;
        // SAFETY: `at` is not behind the end of the mapping.
        Some(unsafe { self.memory.add(at) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this address and length, and pointers into it are used only by its owners.
        let result = unsafe { munmap(self.memory.as_ptr().cast(), self.len) };
        debug_assert!(result.is_ok(), "munmap: {result:?}");
    }
}
