//! The lab's unsafe lines: leaving the namespaces we were born in, a few ioctls, and the packet ring. Nothing here
//! knows what a test is.
#![expect(unsafe_code, reason = "system calls and mapped memory that no safe crate wraps")]

mod ring;

pub(crate) use ring::PacketRing;

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use rustix::thread::UnshareFlags;

/// Has `command` start in a new network namespace, as root inside a new user namespace where that is needed for it.
/// The child dies with the thread that started it.
pub(crate) fn isolate_command(command: &mut Command) {
    let maps = IdMaps::of_this_process();
    let enter = move || {
        unshare_network(&maps)?;
        // After the change of credentials, which would undo it.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        Ok(())
    };
    // SAFETY: between fork and exec `enter` makes system calls on memory prepared before, and neither allocates nor
    // takes locks.
    unsafe { command.pre_exec(enter) };
}

/// Moves this process, which must have one thread, into a new network namespace.
pub(crate) fn isolate_self() -> io::Result<()> {
    unshare_network(&IdMaps::of_this_process())
}

/// Moves the calling thread alone into a new network namespace.
pub(crate) fn unshare_thread_network() -> io::Result<()> {
    // SAFETY: file descriptor tables stay shared (no UnshareFlags::FILES).
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
    Ok(())
}

/// What makes this user root inside a new user namespace, written out before a fork.
struct IdMaps {
    users: String,
    groups: String,
}

impl IdMaps {
    fn of_this_process() -> IdMaps {
        IdMaps {
            users: format!("0 {} 1", rustix::process::geteuid().as_raw()),
            groups: format!("0 {} 1", rustix::process::getegid().as_raw()),
        }
    }
}

fn unshare_network(maps: &IdMaps) -> io::Result<()> {
    if unshare_thread_network().is_ok() {
        return Ok(());
    }
    // SAFETY: file descriptor tables stay shared (no UnshareFlags::FILES).
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) }?;
    // user_namespaces(7): an unprivileged process must give up setgroups before it may map its group.
    write_file(c"/proc/self/setgroups", b"deny")?;
    write_file(c"/proc/self/gid_map", maps.groups.as_bytes())?;
    write_file(c"/proc/self/uid_map", maps.users.as_bytes())
}

fn write_file(path: &CStr, text: &[u8]) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text)?;
    Ok(())
}

/// Makes `file`, an open `/dev/net/tun`, the tun device `name` (frames are IP packets with nothing before them).
pub(crate) fn tun_set_name(file: &OwnedFd, name: &str) -> io::Result<()> {
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq (linux/if_tun.h), which `request` is.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    checked(result)
}

/// Has the kernel compute TCP checksums in full before frames leave through `name`, in the caller's namespace. A veth
/// pair otherwise passes them on unfinished, and the far end cannot tell a wrong one from one left out.
pub(crate) fn complete_checksums(name: &str) -> io::Result<()> {
    const ETHTOOL_STXCSUM: u32 = 0x17;
    ethtool(name, [ETHTOOL_STXCSUM, 0])
}

/// Has `name`, a veth end in the caller's namespace, take frames off by polling (NAPI). Only such an end takes what an
/// XDP program at the other one sends back; it polls while it has an XDP program itself, or generic receive offload.
pub(crate) fn receive_by_polling(name: &str) -> io::Result<()> {
    const ETHTOOL_SGRO: u32 = 0x2c;
    ethtool(name, [ETHTOOL_SGRO, 1])
}

/// One command of linux/ethtool.h that takes a `struct ethtool_value { cmd, data }`.
fn ethtool(name: &str, mut value: [u32; 2]) -> io::Result<()> {
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    // SAFETY: SIOCETHTOOL reads one ifreq whose data points to an ethtool_value; both outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    checked(result)
}

fn interface_request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: ifreq is integers, arrays of them and a pointer, for all of which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("interface name {name:?} is too long")));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
