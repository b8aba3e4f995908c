//! The services that matter, with texts of this project's own for people who are no specialists: what it is for, what
//! can be read on the way, what an open port means, what to do. They are written in `data/services.txt`; what the
//! registry says is in `registry`.

use std::fmt;

use crate::port::{Port, Protocol};

/// A service that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Service {
    /// What it is called here; unique.
    pub name: &'static str,
    /// Its proper name, in a line.
    pub title: &'static str,
    /// Where it usually is.
    pub ports: &'static [Port],
    /// Where else it is often found; less telling than `ports`.
    pub alternates: &'static [Port],
    /// What else it is called.
    pub aliases: &'static [&'static str],
    /// What can be read on the way.
    pub wire: Wire,
    /// The grade, if the port can be reached from the Internet.
    pub risk: Risk,
    /// What to use instead, where there is something better. Reads on from "use ...".
    pub instead: Option<&'static str>,
    /// What it is for.
    pub purpose: &'static str,
    /// What it means when it is open on a local network.
    pub locally: &'static str,
    /// What it means when it is open to the Internet.
    pub exposed: &'static str,
    /// What to do.
    pub advice: &'static str,
}

/// What can be read on the way, by whoever is on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wire {
    /// Nothing of worth: it is always encrypted.
    Encrypted,
    /// It depends: encryption can be switched on, or is agreed upon if both sides can.
    Optional,
    /// Everything, passwords included, as it is usually set up.
    Plaintext,
}

/// How bad it is that strangers can reach a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// Made for that, or harmless; still to be kept updated.
    Low,
    /// Should be limited to those who need it.
    Medium,
    /// Should not be reachable at all.
    High,
}

/// `SERVICES`, `BY_PORT` and `BY_ALIAS`, the latter two sorted, with places in the first.
mod table {
    use super::{Port, Risk, Service, Wire};
    include!(concat!(env!("OUT_DIR"), "/services.rs"));
    pub(super) fn services() -> &'static [Service] {
        &SERVICES
    }
    pub(super) fn by_port() -> &'static [(Port, u16)] {
        &BY_PORT
    }
    pub(super) fn by_alias() -> &'static [(&'static str, u16)] {
        &BY_ALIAS
    }
}

/// All of them, in groups of their kind.
pub fn services() -> &'static [Service] {
    table::services()
}

/// The service that is usually on a port, or often found there.
pub fn by_port(port: Port) -> Option<&'static Service> {
    let places = table::by_port();
    let at = places.binary_search_by_key(&port, |&(port, _)| port).ok()?;
    Some(&services()[usize::from(places[at].1)])
}

/// The plaintext service that is usually on a port, where there is something better to name: what scans, policies, drafts, alerts and
/// listeners speak of. One list, so that all of them say the same.
pub fn plaintext(port: Port) -> Option<&'static Service> {
    by_port(port).filter(|service| service.is_plaintext() && service.instead.is_some() && service.is_usual_at(port))
}

/// The service of a name or alias. Letters' case does not matter.
pub fn named(name: &str) -> Option<&'static Service> {
    let (places, name) = (table::by_alias(), name.to_ascii_lowercase());
    let at = places.binary_search_by_key(&name.as_str(), |&(name, _)| name).ok()?;
    Some(&services()[usize::from(places[at].1)])
}

impl Service {
    /// The proper name without what explains it; none where several have the port.
    pub fn short_title(&self) -> Option<&'static str> {
        let short = self.title.split([',', '(']).next()?.trim();
        if short.starts_with("Several:") { None } else { Some(short) }
    }

    /// Whether everything can be read on the way, as it is usually set up.
    pub fn is_plaintext(&self) -> bool {
        self.wire == Wire::Plaintext
    }

    /// Whether the port is one of its usual ones, and not only one where it is found at times.
    pub fn is_usual_at(&self, port: Port) -> bool {
        self.ports.contains(&port)
    }

    /// Its usual TCP ports.
    pub fn tcp_ports(&self) -> impl Iterator<Item = u16> {
        self.ports.iter().filter(|port| port.protocol == Protocol::Tcp).map(|port| port.number)
    }
}

impl Wire {
    /// `encrypted`, `optional` or `plaintext`.
    pub const fn name(self) -> &'static str {
        match self {
            Wire::Encrypted => "encrypted",
            Wire::Optional => "optional",
            Wire::Plaintext => "plaintext",
        }
    }
}

impl Risk {
    /// `low`, `medium` or `high`.
    pub const fn name(self) -> &'static str {
        match self {
            Risk::Low => "low",
            Risk::Medium => "medium",
            Risk::High => "high",
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::registered;

    #[test]
    fn there_are_enough() {
        assert!(services().len() >= 200, "{}", services().len());
    }

    #[test]
    fn short_titles() {
        let short = |port| by_port(Port::tcp(port)).and_then(Service::short_title);
        assert_eq!((short(23), short(5001), short(9000)), (Some("Telnet"), None, None));
    }

    #[test]
    fn every_service_is_found_by_its_ports_and_names() {
        for service in services() {
            let ports = service.ports.iter().chain(service.alternates);
            assert!(ports.copied().all(|port| by_port(port) == Some(service)), "{}", service.name);
            let names = [service.name].into_iter().chain(service.aliases.iter().copied());
            assert!(names.map(str::to_uppercase).all(|name| named(&name) == Some(service)), "{}", service.name);
            assert!(!service.ports.is_empty() && service.is_usual_at(service.ports[0]), "{}", service.name);
        }
        assert_eq!(by_port(Port::tcp(4)), None);
        assert_eq!(named("no such"), None);
    }

    /// Long enough to say something, short enough to be read; whole sentences.
    #[test]
    fn texts_are_of_sensible_length() {
        let bad: Vec<_> = services()
            .iter()
            .flat_map(|service| {
                let texts = [service.purpose, service.locally, service.exposed, service.advice];
                texts.into_iter().filter(|text| !is_sentence(text)).map(|text| (service.name, text))
            })
            .collect();
        assert_eq!(bad, [("", ""); 0]);
    }

    #[test]
    fn short_texts_are_short() {
        for service in services() {
            assert!((6..=75).contains(&service.title.len()), "{}: {:?}", service.name, service.title);
            assert!(service.instead.is_none_or(|text| (3..=60).contains(&text.len())), "{}", service.name);
            let words = service.aliases.iter().chain([&service.name]);
            assert!(words.copied().all(is_word), "{}: {:?}", service.name, service.aliases);
        }
    }

    fn is_sentence(text: &str) -> bool {
        (12..=320).contains(&text.len()) && text.ends_with(['.', ')', '?']) && !text.contains("  ")
    }

    /// So that no word is a port, a range, or a pair with a protocol.
    fn is_word(text: &str) -> bool {
        let legal = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        legal && text.bytes().any(|b| b.is_ascii_alphabetic()) && !text.starts_with('-') && !text.ends_with('-')
    }

    #[test]
    fn the_list_of_what_is_plaintext() {
        let instead = |port| plaintext(Port::tcp(port)).and_then(|service| service.instead);
        assert_eq!([23, 21, 80].map(instead), [Some("ssh"), Some("sftp or ftps"), Some("https")]);
        // Encrypted; not where it usually is; nothing better to name; nothing is known of it.
        assert_eq!([443, 2323, 113, 4].map(instead), [None; 4]);
    }

    #[test]
    fn what_is_telnet_over_tls_is_not_called_plaintext() {
        let service = by_port(Port::tcp(992)).unwrap();
        assert_eq!((service.name, service.wire), ("telnets", Wire::Encrypted));
        assert_eq!(by_port(Port::tcp(2323)).unwrap().name, "telnet");
    }

    #[test]
    fn what_is_plaintext_and_risky_has_a_way_out() {
        let telnet = named("telnet").unwrap();
        assert!(telnet.is_plaintext() && telnet.instead == Some("ssh") && telnet.risk == Risk::High);
        assert!(!named("https").unwrap().is_plaintext());
        for service in services().iter().filter(|service| service.wire == Wire::Encrypted) {
            assert_eq!(service.instead, None, "{} is encrypted already", service.name);
        }
    }

    #[test]
    fn well_known_ports_have_texts() {
        let without: Vec<_> =
            [21, 22, 23, 25, 53, 80, 88, 110, 111, 135, 139, 143, 389, 443, 445, 465, 502, 515, 548, 554]
                .into_iter()
                .chain([587, 631, 636, 873, 993, 995, 1433, 1521, 1883, 2049, 2375, 3128, 3306, 3389, 5060, 5432, 5672])
                .chain([5900, 5985, 6379, 6443, 8080, 8443, 8883, 9100, 9200, 10250, 11211, 27017])
                .filter(|&port| by_port(Port::tcp(port)).is_none())
                .collect();
        assert_eq!(without, [0; 0]);
        let udp = [53, 67, 69, 123, 137, 161, 500, 514, 1194, 1900, 5353, 51820];
        assert!(udp.into_iter().all(|port| by_port(Port::udp(port)).is_some()));
        assert!(registered(Port::tcp(51820)).is_none(), "a custom, nothing more");
    }
}
