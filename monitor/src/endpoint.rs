//! What has a state: a port of an address.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use halfopen_services::{Port, Protocol};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A port of an address. As text `192.0.2.1:22/tcp`, `[2001:db8::1]:22/tcp`; read from text, a number alone is TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Of which host.
    pub address: IpAddr,
    /// Which port.
    pub port: Port,
}

impl Endpoint {
    /// A TCP port.
    pub const fn tcp(address: IpAddr, port: u16) -> Endpoint {
        Endpoint { address, port: Port::tcp(port) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", SocketAddr::new(self.address, self.port.number), self.port.protocol)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Endpoint, String> {
        let wrong = || format!("{text:?} is no port of an address such as 192.0.2.1:22 or [2001:db8::1]:22/tcp");
        let (socket, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
        let socket: SocketAddr = socket.parse().map_err(|_| wrong())?;
        let protocol: Protocol = protocol.parse().map_err(|_| wrong())?;
        Ok(Endpoint { address: socket.ip(), port: Port { number: socket.port(), protocol } })
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Endpoint, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_text_and_back() {
        for text in ["192.0.2.1:22/tcp", "[2001:db8::1]:53/udp"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert_eq!("192.0.2.1:80".parse(), Ok(Endpoint::tcp([192, 0, 2, 1].into(), 80)));
        for wrong in ["192.0.2.1", "2001:db8::1:22", "192.0.2.1:22/sctp", "192.0.2.1:70000", "host:22"] {
            assert!(wrong.parse::<Endpoint>().unwrap_err().contains(wrong), "{wrong}");
        }
    }
}
