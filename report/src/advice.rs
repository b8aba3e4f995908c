//! What is to be said of an open port, as `halfopen-services` has it: how grave it is, what it is for, what to use instead
//! and what to do. What the port means on a network of one's own differs from what it means on the Internet.

use std::net::IpAddr;

use halfopen_services::{Port, Risk, Service, Wire, by_port, registered};

/// How grave an open port is when strangers can reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grade {
    /// Made to be reached.
    Low,
    /// To be limited to those who need it.
    Medium,
    /// The same, and all that passes can be read on the way.
    Plaintext,
    /// Should not be reachable at all.
    High,
}

impl Grade {
    /// Whether somebody should look at it first.
    pub(crate) fn is_alarming(self) -> bool {
        self >= Grade::Plaintext
    }

    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Grade::Low => "low risk",
            Grade::Medium => "medium risk",
            Grade::Plaintext => "medium risk, plaintext",
            Grade::High => "high risk",
        }
    }

    /// For the style sheet.
    pub(crate) fn class(self) -> &'static str {
        if self == Grade::High { "high" } else { "" }
    }
}

/// The grade of a service.
pub(crate) fn grade_of(service: &Service) -> Grade {
    match (service.risk, service.wire) {
        (Risk::High, _) => Grade::High,
        (Risk::Medium, Wire::Plaintext) => Grade::Plaintext,
        (Risk::Medium, _) => Grade::Medium,
        (Risk::Low, _) => Grade::Low,
    }
}

/// The grade of what is usually on the port, where there is something to say of it.
pub(crate) fn grade(port: u16) -> Option<Grade> {
    service(port).map(grade_of)
}

/// Whether an open port needs attention.
pub(crate) fn is_alarming(port: u16) -> bool {
    grade(port).is_some_and(Grade::is_alarming)
}

/// The service that is usually on the port, or often found there.
pub(crate) fn service(port: u16) -> Option<&'static Service> {
    by_port(Port::tcp(port))
}

/// What a port is called: the service that is usually there, else what it is registered for.
pub(crate) fn name(port: u16) -> Option<&'static str> {
    let tcp = Port::tcp(port);
    let usual = service(port).filter(|service| service.is_usual_at(tcp)).map(|service| service.name);
    let name =
        usual.or_else(|| registered(tcp).map(|entry| entry.name)).or_else(|| service(port).map(|service| service.name));
    name.filter(|name| !name.is_empty())
}

/// `22 ssh`, or the number alone.
pub(crate) fn label(port: u16) -> String {
    name(port).map_or_else(|| port.to_string(), |name| format!("{port} {name}"))
}

/// What can be read on the way, where it is to be said.
pub(crate) fn in_plain(service: &Service) -> Option<&'static str> {
    match service.wire {
        Wire::Plaintext => Some(
            "Not encrypted as it is usually set up: whoever is on the way can read and change what passes, passwords included.",
        ),
        Wire::Optional => Some("Encrypted only where that was switched on."),
        Wire::Encrypted => None,
    }
}

/// Whether an address is of a network of one's own and cannot be reached from the Internet: private (RFC 1918), shared
/// (RFC 6598), link-local, loopback, unique local (RFC 4193).
pub(crate) fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || (first == 100 && second & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grades() {
        assert_eq!(grade(23), Some(Grade::High));
        assert!(grade(23).is_some_and(Grade::is_alarming) && grade(6379).is_some_and(Grade::is_alarming));
        assert!(!grade(443).is_some_and(Grade::is_alarming) && !grade(22).is_some_and(Grade::is_alarming));
        assert_eq!(grade(4), None);
    }

    #[test]
    fn names() {
        assert_eq!([22, 443, 3389, 8080, 4].map(label), ["22 ssh", "443 https", "3389 rdp", "8080 http-alt", "4"]);
    }

    #[test]
    fn addresses_of_ones_own() {
        for local in [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "127.0.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
        ] {
            assert!(is_local(local.parse().unwrap()), "{local}");
        }
        for public in ["192.0.2.1", "100.128.0.1", "172.32.0.1", "2001:db8::1"] {
            assert!(!is_local(public.parse().unwrap()), "{public}");
        }
    }
}
