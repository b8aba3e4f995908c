//! The unsafe lines that all programs share that run others: children that end with us, what a finished one has used, and
//! a packet socket.

#![expect(unsafe_code, reason = "between fork and exec, wait4, options of packet(7)")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};
use socket2::{Domain, SockAddr, Socket, Type};

/// Has a program end when the calling thread does, however that ends.
pub fn end_with_us(command: &mut Command) {
    // SAFETY: between fork and exec one system call is made, with no memory of anybody's.
    unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
}

/// What a process and the children that it waited for have used.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system.
    pub processor: Duration,
    /// Bytes of the largest of them.
    pub memory: u64,
}

/// Waits for a child to end.
///
/// # Errors
/// There is none of this number.
pub fn wait(pid: u32) -> io::Result<(ExitStatus, Usage)> {
    let mut status = 0;
    // SAFETY: rusage is integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: status and usage are valid for writes and outlive the call.
    let result = unsafe { libc::wait4(pid as libc::pid_t, &raw mut status, 0, &raw mut usage) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    // getrusage(2): ru_maxrss is in kilobytes.
    let usage = Usage { processor: time(usage.ru_utime) + time(usage.ru_stime), memory: usage.ru_maxrss as u64 * 1024 };
    Ok((ExitStatus::from_raw(status), usage))
}

/// A packet socket that sends through a device, past the queueing discipline, and receives nothing.
///
/// # Errors
/// It is not permitted, or there is no such device.
pub fn packet_socket(device: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(0.into()))?;
    option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
    socket.bind(&link_address(device)?)?;
    Ok(socket)
}

/// Sets an option of a socket that is a number.
///
/// # Errors
/// The system's.
pub fn option(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: u32) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: `value` is valid for reads of `len` bytes.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn link_address(device: u32) -> io::Result<SockAddr> {
    let fill = |storage: *mut socket2::SockAddrStorage, len: *mut libc::socklen_t| {
        let link = storage.cast::<libc::sockaddr_ll>();
        // SAFETY: the storage is zeroed and as large as any socket address; a zeroed sockaddr_ll is one.
        let link = unsafe { &mut *link };
        link.sll_family = libc::AF_PACKET as u16;
        link.sll_ifindex = device as libc::c_int;
        // SAFETY: `len` is valid for writes.
        unsafe { len.write(size_of::<libc::sockaddr_ll>() as libc::socklen_t) };
        Ok(())
    };
    // SAFETY: `fill` makes a sockaddr_ll and gives its length.
    let ((), address) = unsafe { SockAddr::try_init(fill) }?;
    Ok(address)
}
