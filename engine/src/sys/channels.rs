//! How many queues of a device are in use, as its driver tells (linux/ethtool.h, `ETHTOOL_GCHANNELS`). Netlink tells how
//! many there could be, and sysfs is another network namespace's where it was mounted there.

#![expect(unsafe_code, reason = "an ioctl that takes a pointer in its argument")]

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// `struct ethtool_channels`
#[repr(C)]
#[derive(Default)]
struct EthtoolChannels {
    command: u32,
    most: [u32; 4],
    rx: u32,
    tx: u32,
    _other: u32,
    combined: u32,
}

/// Queues in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Channels {
    /// To receive from.
    pub(crate) rx: u32,
    /// To send from.
    pub(crate) tx: u32,
}

impl Channels {
    /// A device's, by its name; one of each where the driver does not tell.
    pub(crate) fn of(device: &str) -> Self {
        ask(device).unwrap_or(Channels { rx: 1, tx: 1 })
    }
}

fn ask(device: &str) -> io::Result<Channels> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    let mut told = EthtoolChannels { command: ETHTOOL_GCHANNELS, ..EthtoolChannels::default() };
    // SAFETY: an all-zero ifreq is valid: an empty name and a null pointer.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    device.bytes().zip(&mut request.ifr_name[..libc::IFNAMSIZ - 1]).for_each(|(from, to)| *to = from as libc::c_char);
    request.ifr_ifru.ifru_data = (&raw mut told).cast();
    // SAFETY: the request names a device and points to a command with room for its answer; both outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Channels { rx: (told.rx + told.combined).max(1), tx: (told.tx + told.combined).max(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_does_not_tell_has_one() {
        assert_eq!(Channels::of("lo"), Channels { rx: 1, tx: 1 });
        assert_eq!(Channels::of("a-name-that-is-far-too-long"), Channels { rx: 1, tx: 1 });
    }
}
