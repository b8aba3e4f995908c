//! IANA's Service Name and Transport Protocol Port Number Registry, TCP and UDP. A port's first name is its own, further
//! ones are aliases. Rows are sorted by port and found by binary search; their texts lie in one pool.

use crate::port::{Port, Protocol};

/// What the registry says of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// The port.
    pub port: Port,
    /// At most 15 letters, digits and hyphens (RFC 6335).
    pub name: &'static str,
    /// A few words; may be empty.
    pub description: &'static str,
}

/// Port, protocols (bit 0 TCP, bit 1 UDP), where in the pool its name begins, the lengths of its name and of the
/// description behind it.
struct Row(u16, u8, u32, u8, u8);

/// `ROWS`, by port; `BY_NAME`, their numbers by name in lower case.
mod table {
    use super::Row;
    include!(concat!(env!("OUT_DIR"), "/registry.rs"));
    pub(super) static POOL: &str = include_str!(concat!(env!("OUT_DIR"), "/names"));
    pub(super) fn rows() -> &'static [Row] {
        &ROWS
    }
    pub(super) fn by_name() -> &'static [u16] {
        &BY_NAME
    }
}

/// What a port is registered for, if it is.
pub fn registered(port: Port) -> Option<Registered> {
    let rows = table::rows();
    let first = rows.partition_point(|row| row.0 < port.number);
    let same = rows[first..].iter().take_while(|row| row.0 == port.number);
    same.filter(|row| row.has(port.protocol)).map(|row| row.as_registered(port.protocol)).next()
}

/// The name that a TCP port is registered under, if it is.
pub fn tcp_name(port: u16) -> Option<&'static str> {
    registered(Port::tcp(port)).map(|entry| entry.name)
}

/// The ports of a protocol that are registered under a name, ascending. Letters' case does not matter.
pub fn registered_as(name: &str, protocol: Protocol) -> impl Iterator<Item = Registered> {
    let wanted = name.to_ascii_lowercase();
    let numbers = table::by_name();
    let first = numbers.partition_point(|&number| name_of(number).to_ascii_lowercase() < wanted);
    let same = numbers[first..].iter().take_while(move |&&number| name_of(number).eq_ignore_ascii_case(&wanted));
    let rows = same.map(|&number| &table::rows()[usize::from(number)]);
    rows.filter(move |row| row.has(protocol)).map(move |row| row.as_registered(protocol))
}

/// The whole registry, by port and protocol; of several names of a port, the port's own comes first.
pub fn registry() -> impl Iterator<Item = Registered> {
    let of = |protocol| {
        table::rows().iter().filter(move |row| row.has(protocol)).map(move |row| row.as_registered(protocol))
    };
    of(Protocol::Tcp).chain(of(Protocol::Udp))
}

fn name_of(number: u16) -> &'static str {
    table::rows()[usize::from(number)].name()
}

impl Row {
    fn has(&self, protocol: Protocol) -> bool {
        let bit = match protocol {
            Protocol::Tcp => 1,
            Protocol::Udp => 2,
        };
        self.1 & bit != 0
    }

    fn as_registered(&self, protocol: Protocol) -> Registered {
        let name = self.name();
        let start = self.2 as usize + name.len();
        let description = &table::POOL[start..start + usize::from(self.4)];
        Registered { port: Port { protocol, number: self.0 }, name, description }
    }

    fn name(&self) -> &'static str {
        let start = self.2 as usize;
        &table::POOL[start..start + usize::from(self.3)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SOURCE: &str = include_str!("../data/registry.txt");

    fn lines() -> impl Iterator<Item = Vec<&'static str>> {
        SOURCE.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
    }

    fn name(port: Port) -> Option<&'static str> {
        registered(port).map(|entry| entry.name)
    }

    #[test]
    fn well_known_names() {
        for (port, service) in
            [(22, "ssh"), (80, "http"), (443, "https"), (6010, "x11"), (8080, "http-alt"), (631, "ipp")]
        {
            assert_eq!(name(Port::tcp(port)), Some(service));
        }
        assert_eq!([Port::tcp(514), Port::udp(514)].map(name), [Some("shell"), Some("syslog")]);
        assert_eq!(registered(Port::udp(123)).map(|entry| entry.description), Some("Network Time Protocol"));
        for port in [Port::tcp(0), Port::tcp(4), Port::udp(65535), Port::udp(8883 + 2)] {
            assert_eq!(name(port), None, "{port}");
        }
    }

    #[test]
    fn names_have_ports() {
        let ports = |name, protocol| registered_as(name, protocol).map(|entry| entry.port.number).collect::<Vec<_>>();
        assert_eq!(ports("http-alt", Protocol::Tcp), [591, 8008, 8080]);
        assert_eq!(ports("WWW-http", Protocol::Udp), [80]);
        assert_eq!(ports("X11", Protocol::Tcp), (6000..=6063).collect::<Vec<_>>());
        assert_eq!(ports("xmlipcregsvc", Protocol::Tcp), [9092], "the registry's own case does not matter either");
        assert!(ports("rje", Protocol::Tcp) == [5] && ports("zzz-no-such", Protocol::Tcp).is_empty());
        assert_eq!(ports("", Protocol::Tcp), [0; 0]);
    }

    /// Against the text, line by line: what stands there is found by port and by name, and nothing else is there.
    #[test]
    fn the_tables_say_what_the_text_says() {
        let mut pairs = 0;
        for fields in lines() {
            let [port, protocols, name, description] = fields[..] else { panic!("{fields:?}") };
            for protocol in protocols.split(',').map(|name| name.parse().unwrap()) {
                let entry = Registered { port: Port { protocol, number: port.parse().unwrap() }, name, description };
                assert!(registered_as(name, protocol).any(|found| found == entry), "{entry:?}");
                assert!(registered(entry.port).is_some());
                pairs += 1;
            }
        }
        assert_eq!(registry().count(), pairs);
        assert!(pairs > 11_000, "{pairs}");
    }

    #[test]
    fn a_ports_own_name_stands_first() {
        for at in [Port::tcp(80), Port::udp(80), Port::tcp(113), Port::tcp(631)] {
            let first = registry().find(|entry| entry.port == at);
            assert_eq!(registered(at), first);
        }
        assert_eq!(name(Port::tcp(113)), Some("auth"));
        assert_eq!(registered_as("ident", Protocol::Tcp).map(|entry| entry.port).collect::<Vec<_>>(), [Port::tcp(113)]);
    }

    /// RFC 6335 section 5.1: at most 15 letters, digits and hyphens. Columns are made for that.
    #[test]
    fn every_name_is_legal() {
        for Registered { port, name, .. } in registry() {
            let legal = (1..=15).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            assert!(legal && name.bytes().any(|b| b.is_ascii_alphabetic()), "{port} {name}");
        }
    }

    #[test]
    fn the_source_says_where_it_is_from() {
        let note = SOURCE.lines().next().unwrap();
        assert!(note.contains("IANA") && note.contains("CC0") && note.contains("as of 20"), "{note}");
    }

    /// What the registry costs a program.
    #[test]
    fn it_is_small() {
        let bytes = table::POOL.len() + size_of_val(table::rows()) + size_of_val(table::by_name());
        assert!(bytes < 300_000, "{bytes}");
    }
}
