//! The lab's unsafe lines: what happens between fork and exec, a few ioctls, and the packet ring. Nothing here
//! knows what a test is.
#![expect(unsafe_code, reason = "system calls and mapped memory that no safe crate wraps")]

mod ring;

pub(crate) use ring::PacketRing;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use halfopen_phantom::Isolation;
use rustix::process::Signal;

/// Has `command` start in a new network namespace, as root inside a new user namespace where that is needed for it.
/// The child dies with the thread that started it.
pub(crate) fn isolate_command(command: &mut Command) {
    let isolation = Isolation::new();
    let enter = move || {
        isolation.enter()?;
        // After the change of credentials, which would undo it.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        Ok(())
    };
    // SAFETY: between fork and exec `enter` makes system calls on memory prepared before, and neither allocates nor
    // takes locks.
    unsafe { command.pre_exec(enter) };
}

/// Makes `file`, an open `/dev/net/tun`, the tun device `name` (frames are IP packets with nothing before them).
pub(crate) fn tun_set_name(file: &OwnedFd, name: &str) -> io::Result<()> {
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq (linux/if_tun.h), which `request` is.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    checked(result)
}

/// Has `name`, in the caller's namespace, hold so many frames until somebody reads them.
pub(crate) fn set_queue_length(name: &str, frames: i32) -> io::Result<()> {
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_metric = frames;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    // SAFETY: SIOCSIFTXQLEN reads one ifreq (netdevice(7)), which `request` is; the length is an int like the metric.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFTXQLEN as _, &raw mut request) };
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
