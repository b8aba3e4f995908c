//! The addresses of a network namespace, from the tables of the kernel that need no rights: the local routes of IPv4
//! (`fib_trie`) and the interfaces' addresses of IPv6 (`if_inet6`).

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Of the namespace of a process, by its folder; what cannot be read is left out.
pub(super) fn of(folder: &Path) -> BTreeSet<IpAddr> {
    let read = |name: &str| fs::read_to_string(folder.join("net").join(name)).unwrap_or_default();
    v4(&read("fib_trie")).into_iter().map(IpAddr::V4).chain(v6(&read("if_inet6")).map(IpAddr::V6)).collect()
}

/// An address stands on a line, what it is for on the next ones: `|-- 192.0.2.1`, `/32 host LOCAL`.
fn v4(text: &str) -> Vec<Ipv4Addr> {
    let mut last: Option<Ipv4Addr> = None;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("|-- ") {
            Some(address) => last = address.parse().ok(),
            None if line == "/32 host LOCAL" => found.extend(last),
            None => {}
        }
    }
    found
}

/// `20010db8000000000000000000000001 02 40 00 80 eth0`.
fn v6(text: &str) -> impl Iterator<Item = Ipv6Addr> {
    let address = |line: &str| u128::from_str_radix(line.split_whitespace().next()?, 16).ok();
    text.lines().filter_map(address).map(Ipv6Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_both_families() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 127.0.0.0/8 2 0 2\n        \
            |-- 127.0.0.0\n           /8 host LOCAL\n        |-- 127.0.0.1\n           /32 host LOCAL\n     |-- 192.0.2.2\n        \
            /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\n";
        assert_eq!(v4(trie), [Ipv4Addr::LOCALHOST, Ipv4Addr::new(192, 0, 2, 2)]);
        let interfaces = "00000000000000000000000000000001 01 80 10 80       lo\nnonsense\n\
            20010db8000000000000000000000007 02 40 00 80     eth0\n";
        let expected: Vec<Ipv6Addr> = ["::1", "2001:db8::7"].map(|text| text.parse().unwrap()).into();
        assert_eq!(v6(interfaces).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn this_machine_has_a_loopback() {
        let own = of(Path::new("/proc/self"));
        assert!(own.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)) || own.is_empty(), "{own:?}");
    }
}
