//! Ranges of addresses and sets of them, as text and back: `192.0.2.0-192.0.2.255`, `2001:db8::7`. IPv4 comes before IPv6.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Addresses of one family, from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    first: IpAddr,
    last: IpAddr,
}

impl Range {
    /// None where the last comes before the first, or is of the other family.
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Range> {
        (first <= last && first.is_ipv4() == last.is_ipv4()).then_some(Range { first, last })
    }

    /// The range of one address.
    pub fn single(address: IpAddr) -> Range {
        Range { first: address, last: address }
    }

    /// The first address.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The last address.
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// How many addresses; all of IPv6 is one too many to count.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(&self) -> u128 {
        (number(self.last) - number(self.first)).saturating_add(1)
    }

    /// Whether the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// The addresses of both.
    pub fn intersection(&self, other: &Range) -> Option<Range> {
        Range::new(self.first.max(other.first), self.last.min(other.last))
    }
}

/// As a number; which family it is of is not in it.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The next one of the same family.
pub(crate) fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|next| Ipv4Addr::from_bits(next).into()),
        IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|next| Ipv6Addr::from_bits(next).into()),
    }
}

/// The one before, of the same family.
pub(crate) fn before(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4.to_bits().checked_sub(1).map(|next| Ipv4Addr::from_bits(next).into()),
        IpAddr::V6(v6) => v6.to_bits().checked_sub(1).map(|next| Ipv6Addr::from_bits(next).into()),
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// Also a prefix: `192.0.2.0/24`.
impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Range, String> {
        let wrong = || {
            format!("{text:?} is no address, prefix or range such as 192.0.2.7, 192.0.2.0/24 or 192.0.2.1-192.0.2.9")
        };
        let range = match (text.split_once('-'), text.split_once('/')) {
            (Some((first, last)), _) => first.parse().ok().zip(last.parse().ok()).and_then(|(a, b)| Range::new(a, b)),
            (None, Some((address, length))) => {
                address.parse().ok().zip(length.parse().ok()).and_then(|(a, l)| prefix(a, l))
            }
            (None, None) => text.parse().ok().map(Range::single),
        };
        range.ok_or_else(wrong)
    }
}

fn prefix(address: IpAddr, length: u32) -> Option<Range> {
    match address {
        IpAddr::V4(v4) => {
            let hosts = u32::MAX.checked_shr(length).unwrap_or(0);
            let first = v4.to_bits() & !hosts;
            (length <= 32).then(|| Range {
                first: Ipv4Addr::from_bits(first).into(),
                last: Ipv4Addr::from_bits(first | hosts).into(),
            })
        }
        IpAddr::V6(v6) => {
            let hosts = u128::MAX.checked_shr(length).unwrap_or(0);
            let first = v6.to_bits() & !hosts;
            (length <= 128).then(|| Range {
                first: Ipv6Addr::from_bits(first).into(),
                last: Ipv6Addr::from_bits(first | hosts).into(),
            })
        }
    }
}

impl Serialize for Range {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Range, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of addresses: ranges, ascending and apart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Addresses(Vec<Range>);

impl Addresses {
    /// The ranges, ascending and apart.
    pub fn ranges(&self) -> &[Range] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many addresses.
    pub fn len(&self) -> u128 {
        self.0.iter().map(Range::len).fold(0, u128::saturating_add)
    }

    /// Whether the address is among them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let at = self.0.partition_point(|range| range.last < address);
        self.0.get(at).is_some_and(|range| range.contains(address))
    }
}

/// In any order; they may overlap.
impl FromIterator<Range> for Addresses {
    fn from_iter<I: IntoIterator<Item = Range>>(ranges: I) -> Addresses {
        let mut ranges = Vec::from_iter(ranges);
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let joins = kept.contains(next.first) || after(kept.last) == Some(next.first);
            if joins {
                kept.last = kept.last.max(next.last);
            }
            joins
        });
        Addresses(ranges)
    }
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Addresses, D::Error> {
        Ok(Vec::<Range>::deserialize(from)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_as_text() {
        for text in ["192.0.2.7", "192.0.2.0-192.0.2.9", "2001:db8::-2001:db8::ff", "0.0.0.0-255.255.255.255"] {
            assert_eq!(range(text).to_string(), text);
        }
        assert_eq!(range("192.0.2.9/24").to_string(), "192.0.2.0-192.0.2.255");
        assert_eq!(range("::/0").to_string(), "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        assert_eq!((range("10.0.0.1/32").len(), range("::/0").len()), (1, u128::MAX));
        for text in
            ["", "-", "192.0.2.9-192.0.2.0", "192.0.2.0/33", "::/129", "::-1.2.3.4", "a/8", "1.2.3.4/", "1.2.3.4/-1"]
        {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
    }

    #[test]
    fn sets_are_apart() {
        let set: Addresses =
            ["10.0.0.5", "10.0.0.1-10.0.0.2", "::1", "10.0.0.3", "10.0.0.0/31", "255.255.255.255", "::"]
                .map(range)
                .into_iter()
                .collect();
        let shown: Vec<_> = set.ranges().iter().map(Range::to_string).collect();
        assert_eq!(shown, ["10.0.0.0-10.0.0.3", "10.0.0.5", "255.255.255.255", "::-::1"]);
        assert_eq!(set.len(), 8);
        assert!(set.contains("10.0.0.2".parse().unwrap()) && !set.contains("10.0.0.4".parse().unwrap()));
        assert!(!set.contains("::2".parse().unwrap()));
    }
}
