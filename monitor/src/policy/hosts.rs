//! Which hosts a rule is about: what is written, each with the addresses it stands for. How specific a rule is at an address is
//! the size of the smallest of them that has it.

use std::net::{IpAddr, ToSocketAddrs};

use halfopen_results::Coverage;
use halfopen_results::address::{Addresses, Range};

/// Addresses of a host name, or why there are none.
pub type Resolve<'a> = &'a dyn Fn(&str) -> Result<Vec<IpAddr>, String>;

/// The hosts of a rule, a group or an exception.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hosts {
    ranges: Vec<Range>,
    exclude: Addresses,
}

impl Hosts {
    /// These without those.
    pub fn new(ranges: Vec<Range>, exclude: Addresses) -> Hosts {
        Hosts { ranges, exclude }
    }

    /// As they are written, names as their addresses.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// Whether an address is among them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.size_at(address).is_some()
    }

    /// How many addresses the smallest entry stands for that has this one.
    pub fn size_at(&self, address: IpAddr) -> Option<u128> {
        let entries = self.ranges.iter().filter(|range| range.contains(address)).map(Range::len);
        entries.min().filter(|_| !self.exclude.contains(address))
    }

    /// The addresses, each once.
    pub fn addresses(&self) -> Addresses {
        without(self.ranges.iter().copied(), [&self.exclude])
    }

    /// An address for which neither these hosts nor the others are the more specific ones, because both name the same.
    pub fn rival(&self, other: &Hosts) -> Option<IpAddr> {
        let same = self.ranges.iter().filter(|range| other.ranges.contains(range)).copied();
        let both = without(same, [&self.exclude, &other.exclude]);
        both.ranges().iter().map(Range::first).find(|&address| self.size_at(address) == other.size_at(address))
    }
}

fn without<const N: usize>(ranges: impl Iterator<Item = Range>, exclude: [&Addresses; N]) -> Addresses {
    let ports = std::sync::Arc::new([(0, 0)].into_iter().collect());
    let all: Coverage = ranges.map(|range| (range, std::sync::Arc::clone(&ports))).collect();
    let left = exclude.into_iter().fold(all, |left, exclude| left.without(exclude));
    left.spans().iter().map(|span| span.addresses).collect()
}

/// What a text stands for: an address, a prefix, a range, or a host name with all its addresses.
pub(super) fn parse(text: &str, resolve: Resolve<'_>) -> Result<Vec<Range>, String> {
    match text.parse::<Range>() {
        Ok(range) => Ok(vec![range]),
        Err(_) if is_name(text) => resolve(text).map(|addresses| addresses.into_iter().map(Range::single).collect()),
        Err(wrong) => Err(wrong),
    }
}

/// As the URL standard has it, what ends in a number is never a name: a mistyped address is no question to the resolver.
fn is_name(text: &str) -> bool {
    let label =
        |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let text = text.strip_suffix('.').unwrap_or(text);
    let last = text.rsplit('.').next().unwrap_or_default();
    text.split('.').all(label) && !last.chars().all(|c| c.is_ascii_digit())
}

/// Asks the system.
pub fn system(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = (name, 0).to_socket_addrs().map_err(|error| format!("the name cannot be resolved: {error}"))?;
    let mut addresses: Vec<IpAddr> = found.map(|socket| socket.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() { Err("the name has no address".to_owned()) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(ranges: &[&str], exclude: &[&str]) -> Hosts {
        let parse = |text: &&str| text.parse::<Range>().unwrap();
        Hosts::new(ranges.iter().map(parse).collect(), exclude.iter().map(parse).collect())
    }

    #[test]
    fn the_smallest_entry_counts() {
        let of = hosts(&["192.0.2.0/24", "192.0.2.7", "192.0.2.0/28"], &["192.0.2.5"]);
        let size = |text: &str| of.size_at(text.parse().unwrap());
        assert_eq!(
            ["192.0.2.7", "192.0.2.8", "192.0.2.99", "192.0.2.5", "192.0.3.1"].map(size),
            [Some(1), Some(16), Some(256), None, None]
        );
        assert_eq!(of.addresses().len(), 255);
    }

    #[test]
    fn rivals_name_the_same() {
        let one = hosts(&["192.0.2.0/24"], &["192.0.2.0/25"]);
        assert_eq!(one.rival(&hosts(&["192.0.2.0/24"], &[])), Some("192.0.2.128".parse().unwrap()));
        assert_eq!(one.rival(&hosts(&["192.0.2.0/24"], &["192.0.2.128/25"])), None);
        assert_eq!(one.rival(&hosts(&["192.0.2.128/25"], &[])), None);
    }

    #[test]
    fn texts() {
        let resolve: Resolve<'_> = &|name| {
            if name == "www.example.org" { Ok(vec!["192.0.2.80".parse().unwrap()]) } else { Err(format!("{name}?")) }
        };
        assert_eq!(parse("192.0.2.0/31", resolve).unwrap()[0].len(), 2);
        assert_eq!(parse("www.example.org", resolve), Ok(vec!["192.0.2.80".parse().unwrap()]));
        assert_eq!(parse("bastion", resolve), Err("bastion?".into()));
        for wrong in ["192.0.2", "192.0.2.256", "192.0.2.0/33", "", "a b", "2001:db8::g"] {
            assert!(parse(wrong, resolve).unwrap_err().contains("is no address, prefix or range"), "{wrong}");
        }
    }
}
