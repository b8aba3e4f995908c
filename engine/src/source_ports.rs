//! Our source ports: pass p leaves from base+p. They are held by bound sockets for as long as the scan runs, so that no
//! local program is given one of them and mistakes an answer to a probe for its own. A bound socket that does not listen
//! does not answer either: the kernel closes each half-open connection with a RST, which is what we want.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::Error;

/// Where an unnamed base is looked for: Linux's default ephemeral range (ip_local_port_range), which firewalls expect
/// clients in.
const RANGE: std::ops::Range<u16> = 32_768..60_999;
/// Bases tried before giving up. On a machine whose ports are half in use, the chance that all fail is below 2^-64.
const TRIES: u32 = 64;

/// A range of source ports, held until it is dropped.
#[derive(Debug)]
pub(crate) struct SourcePorts {
    pub(crate) first: u16,
    _held: Vec<Socket>,
}

impl SourcePorts {
    /// Holds `count` ports from `first`, or from anywhere in the ephemeral range, in the families that are in use.
    pub(crate) fn hold(
        first: Option<u16>,
        count: u8,
        families: Families,
        mut random: impl FnMut() -> u64,
    ) -> Result<Self, Error> {
        if let Some(first) = first {
            return hold(first, count, families).map_err(|source| failed(first, count, source));
        }
        let places = u64::from(RANGE.end - RANGE.start - u16::from(count));
        let mut last = None;
        for _ in 0..TRIES {
            let first = RANGE.start + (random() % places) as u16;
            match hold(first, count, families) {
                Ok(ports) => return Ok(ports),
                Err(error) => last = Some(failed(first, count, error)),
            }
        }
        Err(last.unwrap_or_else(|| failed(RANGE.start, count, io::ErrorKind::AddrInUse.into())))
    }
}

/// Which families a scan sends in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Families {
    pub(crate) v4: bool,
    pub(crate) v6: bool,
}

fn hold(first: u16, count: u8, families: Families) -> io::Result<SourcePorts> {
    let last = first.checked_add(u16::from(count.max(1)) - 1).ok_or(io::ErrorKind::InvalidInput)?;
    let mut held = Vec::new();
    for port in first..=last {
        if families.v4 {
            held.push(bound(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?);
        }
        if families.v6 {
            held.push(bound(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))?);
        }
    }
    Ok(SourcePorts { first, _held: held })
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn failed(first: u16, count: u8, source: io::Error) -> Error {
    let last = first.saturating_add(u16::from(count.max(1)) - 1);
    Error::SourcePorts { first, last, source }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::permute::splitmix64;

    const BOTH: Families = Families { v4: true, v6: false };

    fn random() -> impl FnMut() -> u64 {
        let mut state = u64::from(std::process::id());
        move || splitmix64(&mut state)
    }

    #[test]
    fn held_ports_are_nobody_elses_and_free_after() {
        let ports = SourcePorts::hold(None, 3, BOTH, random()).unwrap();
        for port in ports.first..ports.first + 3 {
            let error = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
        let first = ports.first;
        assert!(SourcePorts::hold(Some(first), 1, BOTH, random()).is_err());
        drop(ports);
        SourcePorts::hold(Some(first), 3, BOTH, random()).unwrap();
    }

    #[test]
    fn a_range_past_the_last_port_is_refused() {
        let error = SourcePorts::hold(Some(65_535), 2, BOTH, random()).unwrap_err();
        assert!(error.to_string().contains("cannot hold source ports 65535-65535"), "{error}");
    }
}
