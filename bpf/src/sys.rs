//! bpf(2) and the mapping of shared memory: every `unsafe` line of this crate. Attribute layouts are those of
//! `union bpf_attr` in linux/bpf.h, one struct a command.

#![expect(unsafe_code, reason = "bpf(2) takes pointers in its attributes; a mapped array is raw memory")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::assembler::Instruction;

pub(crate) const MAP_TYPE_ARRAY: u32 = 2;
pub(crate) const MAP_TYPE_XSKMAP: u32 = 17;
/// `BPF_F_MMAPABLE`
pub(crate) const MMAPABLE: u32 = 1 << 10;

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const LINK_CREATE: libc::c_int = 28;
/// `BPF_XDP` of `enum bpf_attach_type`.
const ATTACH_XDP: u32 = 37;
const KIND_XDP: u32 = 6;
/// `BPF_F_TEST_XDP_LIVE_FRAMES`
const LIVE_FRAMES: u32 = 1 << 1;
/// Some helper functions are for programs with a licence like the kernel's.
const LICENCE: &std::ffi::CStr = c"Dual MIT/GPL";

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

#[repr(C)]
struct MapUpdate {
    map: u32,
    _pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgramLoad {
    kind: u32,
    instructions_len: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    device: u32,
    attach_type: u32,
}

#[repr(C)]
struct ProgramRun {
    program: u32,
    result: u32,
    in_len: u32,
    out_len: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_in_len: u32,
    context_out_len: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch: u32,
    _pad: u32,
}

#[repr(C)]
struct RawTracepoint {
    name: u64,
    program: u32,
    _pad: u32,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
}

/// A new map.
pub(crate) fn create_map(kind: u32, value_size: u32, entries: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attributes = MapCreate { map_type: kind, key_size: 4, value_size, max_entries: entries, map_flags: flags };
    // SAFETY: the attributes of this command hold no pointers.
    unsafe { descriptor(MAP_CREATE, &mut attributes) }
}

/// Enters a descriptor into a map whose values are descriptors.
pub(crate) fn update_map(map: BorrowedFd<'_>, key: u32, value: i32) -> io::Result<()> {
    let (key, value) = (&raw const key as u64, &raw const value as u64);
    let mut attributes = MapUpdate { map: number(map), _pad: 0, key, value, flags: 0 };
    // SAFETY: key and value point to four bytes each, as maps made here have, and outlive the call.
    unsafe { bpf(MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
}

/// Loads a program; with `log`, the verifier says there what it thinks.
pub(crate) fn load_program(kind: u32, name: &str, code: &[Instruction], log: Option<&mut [u8]>) -> io::Result<OwnedFd> {
    let mut short = [0; 16];
    name.bytes().take(15).zip(&mut short).for_each(|(byte, to)| *to = byte);
    let (log, log_size) = log.map_or((0, 0), |log| (log.as_mut_ptr() as u64, log.len() as u32));
    let mut attributes = ProgramLoad {
        kind,
        instructions_len: code.len() as u32,
        instructions: code.as_ptr() as u64,
        licence: LICENCE.as_ptr() as u64,
        log_level: u32::from(log_size > 0),
        log_size,
        log,
        kernel_version: 0,
        flags: 0,
        name: short,
        device: 0,
        attach_type: if kind == KIND_XDP { ATTACH_XDP } else { 0 },
    };
    // SAFETY: code, licence and log are borrowed for the whole call, with the lengths that are given.
    unsafe { descriptor(PROG_LOAD, &mut attributes) }
}

/// How a program is run at once.
pub(crate) struct TestRun<'a> {
    pub(crate) frame: &'a [u8],
    pub(crate) out: Option<&'a mut [u8]>,
    pub(crate) repeat: u32,
    /// Whether frames are real, and how many make a batch.
    pub(crate) live_batch: Option<u32>,
}

/// Runs a program; gives its result and the length of what it left.
pub(crate) fn test_run(program: BorrowedFd<'_>, run: TestRun<'_>) -> io::Result<(u32, usize)> {
    let (out, out_len) = run.out.map_or((0, 0), |out| (out.as_mut_ptr() as u64, out.len() as u32));
    let mut attributes = ProgramRun {
        program: number(program),
        result: 0,
        in_len: run.frame.len() as u32,
        out_len,
        data_in: run.frame.as_ptr() as u64,
        data_out: out,
        repeat: run.repeat,
        duration: 0,
        context_in_len: 0,
        context_out_len: 0,
        context_in: 0,
        context_out: 0,
        flags: if run.live_batch.is_some() { LIVE_FRAMES } else { 0 },
        cpu: 0,
        batch: run.live_batch.unwrap_or(0),
        _pad: 0,
    };
    // SAFETY: the frame is only read, what `out` borrows is written, and both borrows outlive the call.
    unsafe { bpf(PROG_TEST_RUN, &mut attributes) }?;
    Ok((attributes.result, attributes.out_len as usize))
}

/// Attaches an XDP program to a device.
pub(crate) fn create_xdp_link(program: BorrowedFd<'_>, device: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attributes = LinkCreate { program: number(program), target: device, attach_type: ATTACH_XDP, flags };
    // SAFETY: the attributes of this command hold no pointers.
    unsafe { descriptor(LINK_CREATE, &mut attributes) }
}

/// Attaches a program to a tracepoint.
pub(crate) fn open_raw_tracepoint(program: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let name = CString::new(name)?;
    let mut attributes = RawTracepoint { name: name.as_ptr() as u64, program: number(program), _pad: 0 };
    // SAFETY: the name ends with a zero byte and outlives the call.
    unsafe { descriptor(RAW_TRACEPOINT_OPEN, &mut attributes) }
}

fn number(descriptor: BorrowedFd<'_>) -> u32 {
    descriptor.as_raw_fd() as u32
}

/// A command whose result is a descriptor.
///
/// # Safety
/// As for [`bpf`].
unsafe fn descriptor<T>(command: libc::c_int, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let descriptor = unsafe { bpf(command, attributes) }?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// bpf(2).
///
/// # Safety
/// `attributes` is the beginning of the `union bpf_attr` of this command, without padding that is not zero, and its
/// pointers are valid for what the command does with them.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: attributes are valid for reads and writes of their size; the rest is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

/// A map's memory, mapped into this process.
#[derive(Debug)]
pub(crate) struct Mapping {
    memory: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory belongs to the value alone in this process, and nothing about it depends on a thread.
unsafe impl Send for Mapping {}
// SAFETY: through a shared reference only `words` is reached, whose elements are atomic.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn new(map: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::POPULATE);
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing.
        let memory = unsafe { mmap(ptr::null_mut(), len, access, flags, map.as_fd(), 0) }?;
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { memory, len })
    }

    #[inline]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        let words = self.memory.cast::<AtomicU64>();
        // SAFETY: the mapping is page-aligned, `len` bytes long and lives as long as `self`; while this is borrowed
        // nobody here holds its bytes (`bytes` takes `&mut self`), and programs access it by whole words only.
        unsafe { std::slice::from_raw_parts(words.as_ptr(), self.len / 8) }
    }

    #[inline]
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: as above; `&mut self` makes it the only reference here. Programs only read, and only what the owner
        // does not write at the time.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this address and length, and no reference to it outlives `self`.
        let _ = unsafe { munmap(self.memory.as_ptr().cast(), self.len) };
    }
}
