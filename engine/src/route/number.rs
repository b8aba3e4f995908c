//! Addresses as numbers, so that both families share one arithmetic of ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::plan::AddressRange;

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }

    /// Bits of an address.
    pub(super) fn bits(self) -> u32 {
        match self {
            Family::V4 => u32::BITS,
            Family::V6 => u128::BITS,
        }
    }

    /// The number of the highest address.
    pub(super) fn last(self) -> u128 {
        u128::MAX >> (u128::BITS - self.bits())
    }

    /// The address with this number; bits that the family does not have are left out.
    pub(super) fn address(self, number: u128) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::from_bits(number as u32).into(),
            Family::V6 => Ipv6Addr::from_bits(number).into(),
        }
    }
}

/// An address's number within its family.
pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// A range of addresses of one family, both ends included, as numbers. Ordered by family, then by first address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) family: Family,
    pub(super) first: u128,
    pub(super) last: u128,
}

impl Span {
    /// How many addresses; all of IPv6 counts as one less than it is.
    pub(super) fn len(self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }

    pub(super) fn contains(self, family: Family, number: u128) -> bool {
        self.family == family && (self.first..=self.last).contains(&number)
    }

    pub(super) fn addresses(self) -> impl Iterator<Item = IpAddr> {
        (self.first..=self.last).map(move |number| self.family.address(number))
    }

    /// Back to addresses; none for a span that runs backwards, of which nobody makes any.
    pub(super) fn range(self) -> Option<AddressRange> {
        AddressRange::new(self.family.address(self.first), self.family.address(self.last))
    }
}

/// Ranges in ascending order.
pub(super) fn spans(ranges: impl Iterator<Item = AddressRange>) -> Vec<Span> {
    let mut spans: Vec<_> = ranges.map(Span::from).collect();
    spans.sort_unstable();
    spans
}

impl From<AddressRange> for Span {
    fn from(range: AddressRange) -> Span {
        Span { family: Family::of(range.first()), first: number(range.first()), last: number(range.last()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_and_back() {
        for text in ["0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "2001:db8::1"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(Family::of(address).address(number(address)), address);
        }
        assert_eq!(Family::V4.address(Family::V4.last()), Ipv4Addr::BROADCAST);
        assert_eq!(number(Family::V6.address(u128::MAX)), u128::MAX);
    }

    #[test]
    fn ranges_are_put_in_order() {
        let range = |first: &str, last: &str| AddressRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap();
        let given = [range("::1", "::2"), range("192.0.2.0", "192.0.2.9"), range("10.0.0.1", "10.0.0.1")];
        let sorted: Vec<_> = spans(given.into_iter()).into_iter().filter_map(Span::range).collect();
        assert_eq!(sorted, [given[2], given[1], given[0]]);
    }

    #[test]
    fn all_of_ipv6_has_a_length() {
        let all = AddressRange::new(Family::V6.address(0), Family::V6.address(u128::MAX)).unwrap();
        assert_eq!(Span::from(all).len(), u128::MAX);
    }
}
