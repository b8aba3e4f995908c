//! The words every other file uses: a target, its rank in the plan, its place in the shuffled order, a sequence
//! number, a rate. Newtypes where two numbers of the same width could be mistaken for each other.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

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
