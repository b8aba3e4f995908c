//! An inclusive range of addresses of one family, as the library shows it.

use super::number::Address;
use super::ranges::Range;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An inclusive range of addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// The range from `first` to `last`, both included; none if they differ in family or run backwards.
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(AddressRange { first, last })
    }

    /// The lowest address.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The highest address.
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// How many addresses: at least 1, and `u128::MAX` for all 2^128 of IPv6.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(&self) -> u128 {
        match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => Range { first: first.to_bits(), last: last.to_bits() }.len(),
            (IpAddr::V6(first), IpAddr::V6(last)) => Range { first: first.to_bits(), last: last.to_bits() }.len(),
            _ => 0,
        }
    }

    /// Whether the address lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// Every address, ascending.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let v4 = self.range::<u32>().into_iter().flat_map(|range| range.first..=range.last);
        let v6 = self.range::<u128>().into_iter().flat_map(|range| range.first..=range.last);
        v4.map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))).chain(v6.map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))))
    }

    /// As numbers, if the family is that one.
    pub(crate) fn range<A: Address>(&self) -> Option<Range<A>> {
        Some(Range { first: A::from_ip(self.first)?, last: A::from_ip(self.last)? })
    }
}

impl<A: Address> From<Range<A>> for AddressRange {
    fn from(range: Range<A>) -> Self {
        AddressRange { first: range.first.ip(), last: range.last.ip() }
    }
}

impl From<IpAddr> for AddressRange {
    fn from(address: IpAddr) -> Self {
        AddressRange { first: address, last: address }
    }
}

/// `192.0.2.0/24` where it is a network, else `192.0.2.1-192.0.2.9` or one address.
impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix() {
            _ if self.first == self.last => self.first.fmt(f),
            Some(prefix) => write!(f, "{}/{prefix}", self.first),
            None => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl AddressRange {
    /// The prefix length, if the range is exactly a network.
    fn prefix(&self) -> Option<u32> {
        let v4 = self.range::<u32>().map(|range| (range.first ^ range.last).leading_zeros());
        let prefix = v4.or_else(|| self.range::<u128>().map(|range| (range.first ^ range.last).leading_zeros()))?;
        (self.network(prefix) == *self).then_some(prefix)
    }

    fn network(&self, prefix: u32) -> AddressRange {
        match self.first {
            IpAddr::V4(first) => Range::network(first.to_bits(), prefix).into(),
            IpAddr::V6(first) => Range::network(first.to_bits(), prefix).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: &str, last: &str) -> AddressRange {
        AddressRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap()
    }

    #[test]
    fn shown_as_people_write_it() {
        for (first, last, shown, len) in [
            ("192.0.2.0", "192.0.2.255", "192.0.2.0/24", 256),
            ("192.0.2.1", "192.0.2.1", "192.0.2.1", 1),
            ("192.0.2.1", "192.0.2.2", "192.0.2.1-192.0.2.2", 2),
            ("192.0.2.0", "192.0.2.254", "192.0.2.0-192.0.2.254", 255),
            ("0.0.0.0", "255.255.255.255", "0.0.0.0/0", 1 << 32),
            ("2001:db8::", "2001:db8::3", "2001:db8::/126", 4),
            ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0", u128::MAX),
        ] {
            assert_eq!((range(first, last).to_string(), range(first, last).len()), (shown.into(), len));
        }
    }

    #[test]
    fn iteration_ends_at_the_last_address() {
        let last = range("255.255.255.253", "255.255.255.255");
        assert_eq!(last.addresses().count(), 3);
        assert!(last.addresses().all(|address| last.contains(address)));
        let v6 = range("2001:db8::fffe", "2001:db8::1:1");
        assert_eq!(
            v6.addresses().map(|address| address.to_string()).collect::<Vec<_>>().join(" "),
            "2001:db8::fffe 2001:db8::ffff 2001:db8::1:0 2001:db8::1:1"
        );
        assert!(!v6.contains("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn families_do_not_mix() {
        let (v4, v6): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        assert_eq!(AddressRange::new(v4, v6), None);
        assert_eq!(AddressRange::new(v6, v4), None);
    }
}
