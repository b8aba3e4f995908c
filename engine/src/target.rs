//! The words every other file uses: a target, its rank in the plan, its place in the shuffled order, a sequence
//! number, a rate. Newtypes where two numbers of the same width could be mistaken for each other.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An (address, port) pair to be classified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The address, without scope.
    pub address: IpAddr,
    /// The TCP port, host byte order.
    pub port: u16,
}

/// `192.0.2.1:80`, `[2001:db8::1]:80`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

impl From<Target> for SocketAddr {
    fn from(target: Target) -> Self {
        SocketAddr::new(target.address, target.port)
    }
}

impl From<SocketAddr> for Target {
    fn from(socket: SocketAddr) -> Self {
        Target { address: socket.ip(), port: socket.port() }
    }
}

/// An address family. What runs for every frame has addresses as numbers beside it, and not as [`IpAddr`]: that has its
/// octets at odd places, so that copying one just made waits for its parts to be written, some dozen cycles a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// An address as a number, and of which family it is.
    #[inline]
    pub(crate) fn number(address: IpAddr) -> (Family, u128) {
        match address {
            IpAddr::V4(v4) => (Family::V4, v4.to_bits().into()),
            IpAddr::V6(v6) => (Family::V6, v6.to_bits()),
        }
    }

    /// The address that this number stands for.
    #[inline]
    pub(crate) fn address(self, number: u128) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::from_bits(number as u32).into(),
            Family::V6 => Ipv6Addr::from_bits(number).into(),
        }
    }
}

/// A target's rank in the plan, `0..plan.len()`, in natural order: IPv4 before IPv6, then by address, then by port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u64);

/// A target's place in the shuffled order, `0..plan.len()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// A TCP sequence number (RFC 9293 section 3.4); arithmetic on it wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seq(pub u32);

impl Seq {
    /// The number after this one, as an acknowledgement of a SYN carries it.
    pub fn next(self) -> Seq {
        Seq(self.0.wrapping_add(1))
    }
}
