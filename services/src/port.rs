//! A port: its number and its protocol.

use std::fmt;
use std::str::FromStr;

/// What runs over IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of one protocol; sorted by number. As text `22/tcp`; read from text, a number alone is TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// 0 to 65535.
    pub number: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// A text that is no port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPort;

impl Port {
    /// A TCP port.
    pub const fn tcp(number: u16) -> Port {
        Port { protocol: Protocol::Tcp, number }
    }

    /// A UDP port.
    pub const fn udp(number: u16) -> Port {
        Port { protocol: Protocol::Udp, number }
    }
}

impl Protocol {
    /// `tcp` or `udp`.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Protocol {
    type Err = BadPort;

    fn from_str(text: &str) -> Result<Protocol, BadPort> {
        [Protocol::Tcp, Protocol::Udp].into_iter().find(|of| of.name().eq_ignore_ascii_case(text)).ok_or(BadPort)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

impl FromStr for Port {
    type Err = BadPort;

    fn from_str(text: &str) -> Result<Port, BadPort> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|_| is_number).ok_or(BadPort)?;
        Ok(Port { protocol: protocol.parse()?, number })
    }
}

impl fmt::Display for BadPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a port such as 443 or 53/udp")
    }
}

impl std::error::Error for BadPort {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_text_and_back() {
        for port in [Port::tcp(0), Port::tcp(443), Port::udp(53), Port::udp(65535)] {
            assert_eq!(port.to_string().parse(), Ok(port));
        }
        assert_eq!("443".parse(), Ok(Port::tcp(443)));
        assert_eq!("53/UDP".parse(), Ok(Port::udp(53)));
    }

    #[test]
    fn what_is_no_port() {
        for text in ["", "/", "ssh", "65536", "-1", "+1", "22/", "22/sctp", "/tcp", "22/tcp/udp", " 22"] {
            assert_eq!(text.parse::<Port>(), Err(BadPort), "{text}");
        }
    }
}
