//! The built-in blocklist: addresses that are nobody's unicast address, so that a probe to them is at best wasted and
//! at worst answered by everyone. Private, loopback, link-local, shared, benchmarking and documentation addresses are
//! not on it: those are networks that their owners scan.

use super::address_range::AddressRange;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A blocked network.
#[derive(Debug)]
pub(crate) struct Blocked {
    first: IpAddr,
    last: IpAddr,
    why: &'static str,
}

/// Every blocked network.
pub(crate) const BLOCKLIST: [Blocked; 6] = [
    // RFC 1122 section 3.2.1.3 (a) and (b): only ever a source address.
    v4([0, 0, 0, 0], [0, 255, 255, 255], "this network"),
    // RFC 5771.
    v4([224, 0, 0, 0], [239, 255, 255, 255], "multicast"),
    // RFC 1112 section 4; its last address is the limited broadcast of RFC 919 section 7.
    v4([240, 0, 0, 0], [255, 255, 255, 255], "reserved and broadcast"),
    // RFC 4291 section 2.5.2.
    v6(0, 0, "unspecified"),
    // RFC 4291 section 2.5.5.2: a notation for IPv4 inside a host, not a destination. `grammar` turns what lies wholly
    // inside into IPv4; this is for wider networks around it.
    v6(0xffff_0000_0000, 0xffff_ffff_ffff, "IPv4-mapped"),
    // RFC 4291 section 2.7.
    v6(0xff << 120, u128::MAX, "multicast"),
];

impl Blocked {
    /// Its addresses.
    pub(crate) fn range(&self) -> Option<AddressRange> {
        AddressRange::new(self.first, self.last)
    }
}

/// `224.0.0.0/4 multicast`.
impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.range() {
            Some(range) => write!(f, "{range} {}", self.why),
            None => f.write_str(self.why),
        }
    }
}

const fn v4(first: [u8; 4], last: [u8; 4], why: &'static str) -> Blocked {
    let first = Ipv4Addr::from_bits(u32::from_be_bytes(first));
    Blocked { first: IpAddr::V4(first), last: IpAddr::V4(Ipv4Addr::from_bits(u32::from_be_bytes(last))), why }
}

const fn v6(first: u128, last: u128, why: &'static str) -> Blocked {
    Blocked { first: IpAddr::V6(Ipv6Addr::from_bits(first)), last: IpAddr::V6(Ipv6Addr::from_bits(last)), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_blocked(address: &str) -> bool {
        let address = address.parse().unwrap();
        BLOCKLIST.iter().any(|blocked| blocked.range().is_some_and(|range| range.contains(address)))
    }

    #[test]
    fn what_is_on_the_list() {
        let shown: Vec<String> = BLOCKLIST.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown.join("; "),
            "0.0.0.0/8 this network; 224.0.0.0/4 multicast; 240.0.0.0/4 reserved and broadcast; :: unspecified; \
             ::ffff:0.0.0.0/96 IPv4-mapped; ff00::/8 multicast"
        );
        assert!(
            ["0.1.2.3", "224.0.0.1", "239.255.255.255", "255.255.255.255", "::", "ff02::1"]
                .map(is_blocked)
                .iter()
                .all(|&is| is)
        );
    }

    #[test]
    fn what_people_scan_is_not() {
        let scanned = [
            "10.0.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "223.255.255.255",
            "1.0.0.0",
            "::1",
            "fe80::1",
            "fd00::1",
            "2001:db8::1",
            "100::1",
        ];
        assert!(!scanned.map(is_blocked).iter().any(|&is| is));
    }
}
