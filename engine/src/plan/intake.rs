//! Text into layers: tokens and lines are read, host names resolved, and every error told with its place.

use super::grammar::{self, Spec, Subject};
use super::layers::{AddressSet, Layers};
use super::lines::Lines;
use super::malformed::{Malformed, shortened};
use super::port_names::Names;
use super::tokens::tokens;
use crate::error::{Error, Place};
use std::io::{self, BufRead};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};

/// Which addresses of a host name are targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resolve {
    /// All of them, of both families.
    #[default]
    All,
    /// The one that the system's resolver names first.
    First,
}

/// Asks for the addresses of a host name.
pub(crate) type Resolver = fn(&str) -> io::Result<Vec<IpAddr>>;

/// The system's resolver; waits for it. A fuzzer's texts must ask nothing of the network: there, every name is this
/// machine.
pub(crate) fn system_resolver(name: &str) -> io::Result<Vec<IpAddr>> {
    if cfg!(fuzzing) {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

/// Reads texts of one source.
pub(crate) struct Intake<'a> {
    pub(crate) layers: &'a mut Layers,
    pub(crate) resolve: Resolve,
    pub(crate) resolver: Resolver,
    pub(crate) names: Names,
    pub(crate) source: &'a str,
    pub(crate) line: Option<u64>,
}

impl Intake<'_> {
    /// Adds every token of a text.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Error> {
        tokens(text, self.names).try_for_each(|token| self.token(token))
    }

    /// Adds every token of every line.
    pub(crate) fn lines(&mut self, reader: impl BufRead) -> Result<(), Error> {
        let mut lines = Lines::new(reader, self.source);
        while let Some((number, line)) = lines.next()? {
            match grammar::parse_plain(line) {
                Some((address, None)) => self.layers.bare().insert_ip(address),
                Some((address, Some(port))) => self.layers.with_port(port).insert_ip(address),
                None => {
                    self.line = Some(number);
                    self.line(line)?;
                }
            }
        }
        Ok(())
    }

    /// Adds every token of a line.
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<(), Error> {
        match str::from_utf8(line) {
            Ok(text) => self.text(text),
            Err(_) => Err(self.malformed(
                &String::from_utf8_lossy(line),
                Malformed {
                    problem: "it is not UTF-8".into(),
                    accepted: "expected a text file with one or more targets a line",
                },
            )),
        }
    }

    fn token(&mut self, token: &str) -> Result<(), Error> {
        let Spec { subject, ports } =
            grammar::parse(token, self.names).map_err(|malformed| self.malformed(token, malformed))?;
        let addresses = match &subject {
            Subject::Name(name) => self.addresses_of(name)?,
            _ => Vec::new(),
        };
        let into = match ports {
            Some(ports) => self.layers.with_ports(ports),
            None => self.layers.bare(),
        };
        insert(into, &subject);
        addresses.into_iter().for_each(|address| into.insert_ip(address));
        Ok(())
    }

    fn addresses_of(&self, name: &str) -> Result<Vec<IpAddr>, Error> {
        let mut addresses = (self.resolver)(name).map_err(|source| self.unresolved(name, source))?;
        if addresses.is_empty() {
            return Err(self.unresolved(name, io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
        }
        if self.resolve == Resolve::First {
            addresses.truncate(1);
        }
        Ok(addresses)
    }

    fn malformed(&self, token: &str, Malformed { problem, accepted }: Malformed) -> Error {
        Error::Parse { place: self.place(), token: shortened(token), problem, accepted }
    }

    fn unresolved(&self, name: &str, source: io::Error) -> Error {
        Error::Resolve { place: self.place(), name: name.into(), source }
    }

    fn place(&self) -> Place {
        Place { source: self.source.into(), line: self.line }
    }
}

fn insert(into: &mut AddressSet, subject: &Subject<'_>) {
    match subject {
        Subject::V4(range) => into.v4.insert(*range),
        Subject::V6(range) => into.insert_v6(*range),
        Subject::Octets(octets) => octets.visit(&mut |range| into.v4.insert(range)),
        Subject::Name(_) => {}
    }
}
