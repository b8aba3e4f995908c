//! What the driver of a device tells (linux/ethtool.h): its name (`ETHTOOL_GDRVINFO`), how many frames its rings hold
//! (`ETHTOOL_GRINGPARAM`), and how many queues are in use (`ETHTOOL_GCHANNELS`). Netlink tells how many there could be, and sysfs is another network namespace's where it was
//! mounted there.

#![expect(unsafe_code, reason = "an ioctl that takes a pointer in its argument")]

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GRINGPARAM: u32 = 0x10;
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// `struct ethtool_drvinfo`: what is not looked at comes after the name, and has these bytes.
#[repr(C)]
struct EthtoolDriver {
    command: u32,
    name: [u8; 32],
    _other: [u8; 160],
}

/// An answer that begins with the command it is for.
///
/// # Safety
/// Its size is that of the command's structure in linux/ethtool.h, or more.
unsafe trait Answer {}

// SAFETY: 196 bytes, the kernel's: the command, five names of 32, 12 bytes in reserve, five words.
unsafe impl Answer for EthtoolDriver {}
// SAFETY: nine words.
unsafe impl Answer for EthtoolChannels {}
// SAFETY: nine words.
unsafe impl Answer for EthtoolRings {}

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

/// `struct ethtool_ringparam`: of what is received, the frames of the ordinary size come first.
#[repr(C)]
#[derive(Default)]
struct EthtoolRings {
    command: u32,
    most_rx: [u32; 3],
    most_tx: u32,
    rx: [u32; 3],
    tx: u32,
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

/// The name of a device's driver, if it has one that tells.
pub(crate) fn driver(device: &str) -> Option<String> {
    let mut told = EthtoolDriver { command: ETHTOOL_GDRVINFO, name: [0; 32], _other: [0; 160] };
    fill(device, &mut told).ok()?;
    let name = told.name.split(|&byte| byte == 0).next().unwrap_or_default();
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
}

/// How many frames a device's rings hold, and could, of what is received and sent, if its driver tells.
pub(crate) fn rings(device: &str) -> Option<[(u32, u32); 2]> {
    let mut told = EthtoolRings { command: ETHTOOL_GRINGPARAM, ..EthtoolRings::default() };
    fill(device, &mut told).ok()?;
    let known = told.most_rx[0] > 0 && told.most_tx > 0;
    known.then_some([(told.rx[0], told.most_rx[0]), (told.tx, told.most_tx)])
}

fn ask(device: &str) -> io::Result<Channels> {
    let mut told = EthtoolChannels { command: ETHTOOL_GCHANNELS, ..EthtoolChannels::default() };
    fill(device, &mut told)?;
    Ok(Channels { rx: (told.rx + told.combined).max(1), tx: (told.tx + told.combined).max(1) })
}

/// Has the driver answer.
fn fill(device: &str, told: &mut impl Answer) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: an all-zero ifreq is valid: an empty name and a null pointer.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    device.bytes().zip(&mut request.ifr_name[..libc::IFNAMSIZ - 1]).for_each(|(from, to)| *to = from as libc::c_char);
    request.ifr_ifru.ifru_data = (&raw mut *told).cast();
    // SAFETY: the request names a device and points to a command with room for its answer (`Answer`); both outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_room() {
        assert_eq!((size_of::<EthtoolDriver>(), size_of::<EthtoolChannels>()), (196, 36));
        assert_eq!(size_of::<EthtoolRings>(), 36);
        assert_eq!((driver("lo"), driver("nosuch0")), (None, None));
        assert_eq!((rings("lo"), rings("nosuch0")), (None, None));
    }

    #[test]
    fn a_device_that_does_not_tell_has_one() {
        assert_eq!(Channels::of("lo"), Channels { rx: 1, tx: 1 });
        assert_eq!(Channels::of("a-name-that-is-far-too-long"), Channels { rx: 1, tx: 1 });
    }
}
