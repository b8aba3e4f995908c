//! Sets of addresses: what two have in common and what one has beyond another, and which addresses are public. As
//! people write them: an address, a prefix, or a range.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use halfopen::AddressRange;

/// Addresses, each once: ascending ranges that do not touch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Networks(Vec<Span>);

/// A range as numbers; IPv4 before IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    v6: bool,
    first: u128,
    last: u128,
}

/// What is not reached through the public Internet: the special-purpose registries of IANA (RFC 6890 and its updates), as
/// far as packets to them stay within a network, and multicast.
const NOT_PUBLIC: [&str; 26] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/127",
    "::ffff:0:0-::ffff:ffff:ffff",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001:2::/48",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];

impl Networks {
    /// Of these ranges, in any order.
    pub(crate) fn new(ranges: impl IntoIterator<Item = AddressRange>) -> Networks {
        let mut spans: Vec<_> = ranges.into_iter().map(Span::from).collect();
        spans.sort_unstable();
        Networks(spans.into_iter().fold(Vec::new(), join))
    }

    /// The parts of ascending ranges that are not among these addresses, joined where they touch.
    pub(crate) fn beyond(&self, ranges: impl IntoIterator<Item = AddressRange>) -> Networks {
        let parts = ranges.into_iter().flat_map(|range| self.without(Span::from(range)));
        Networks(parts.fold(Vec::new(), join))
    }

    /// The parts of ascending ranges that are among these addresses, joined where they touch.
    pub(crate) fn within(&self, ranges: impl IntoIterator<Item = AddressRange>) -> Networks {
        let parts = ranges
            .into_iter()
            .map(Span::from)
            .flat_map(|span| self.touching(span).iter().map(move |own| own.common(span)));
        Networks(parts.fold(Vec::new(), join))
    }

    /// As ranges, ascending.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = AddressRange> + '_ {
        self.0.iter().filter_map(|span| span.range())
    }

    /// How many addresses; `u128::MAX` for more.
    pub(crate) fn len(&self) -> u128 {
        self.ranges().fold(0, |sum, range| sum.saturating_add(range.len()))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that reach a span; neighbours in the list.
    fn touching(&self, span: Span) -> &[Span] {
        let from = self.0.partition_point(|own| (own.v6, own.last) < (span.v6, span.first));
        let to = self.0.partition_point(|own| (own.v6, own.first) <= (span.v6, span.last));
        self.0.get(from..to).unwrap_or_default()
    }

    fn without(&self, span: Span) -> Vec<Span> {
        let mut parts = Vec::new();
        let mut rest = Some(span);
        for own in self.touching(span) {
            let Some(left) = rest else { break };
            if own.first > left.first {
                parts.push(Span { last: own.first - 1, ..left });
            }
            rest = own.last.checked_add(1).filter(|&first| first <= left.last).map(|first| Span { first, ..left });
        }
        parts.extend(rest);
        parts
    }
}

/// Takes in a span that begins no earlier than the last one.
fn join(mut spans: Vec<Span>, next: Span) -> Vec<Span> {
    match spans.last_mut() {
        Some(last) if last.v6 == next.v6 && next.first <= last.last.saturating_add(1) => {
            last.last = last.last.max(next.last);
        }
        _ => spans.push(next),
    }
    spans
}

/// The public ones of ascending ranges.
pub(crate) fn public(ranges: impl IntoIterator<Item = AddressRange>) -> Networks {
    Networks::new(NOT_PUBLIC.iter().filter_map(|text| parse(text).ok())).beyond(ranges)
}

/// `192.0.2.7`, `192.0.2.0/24`, `192.0.2.1-192.0.2.99`, and the same in IPv6. Names and ports are none: what may be
/// scanned must not change with the answer of a name server.
pub(crate) fn parse(text: &str) -> Result<AddressRange, String> {
    let expected =
        || "expected an address, a prefix such as 192.0.2.0/24, or a range such as 192.0.2.1-192.0.2.99".to_owned();
    let address = |text: &str| text.trim().parse::<IpAddr>().map_err(|_| expected());
    if let Some((first, last)) = text.split_once('-') {
        let backwards = || format!("{} does not come after {}", last.trim(), first.trim());
        return AddressRange::new(address(first)?, address(last)?).ok_or_else(backwards);
    }
    match text.split_once('/') {
        None => address(text).map(AddressRange::from),
        Some((first, length)) => network(address(first)?, length.parse().map_err(|_| expected())?),
    }
}

fn network(first: IpAddr, length: u32) -> Result<AddressRange, String> {
    let width = if first.is_ipv4() { 32 } else { 128 };
    if length > width {
        return Err(format!("a prefix of this family has at most {width} bits"));
    }
    let hosts = u128::MAX.checked_shl(width - length).map_or(u128::MAX, |mask| !mask);
    let (bits, _) = number(first);
    let range = AddressRange::new(address(bits & !hosts, !first.is_ipv4()), address(bits | hosts, !first.is_ipv4()));
    let range = range.ok_or("it is no network")?;
    if range.first() != first {
        return Err(format!("there are bits set behind the prefix; the network is {range}"));
    }
    Ok(range)
}

fn number(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), false),
        IpAddr::V6(address) => (address.to_bits(), true),
    }
}

fn address(bits: u128, v6: bool) -> IpAddr {
    // What is cut off are the host bits beyond the 32 of a mask made for both families.
    if v6 { Ipv6Addr::from_bits(bits).into() } else { Ipv4Addr::from_bits(bits as u32).into() }
}

impl Span {
    fn range(self) -> Option<AddressRange> {
        AddressRange::new(address(self.first, self.v6), address(self.last, self.v6))
    }

    fn common(self, other: Span) -> Span {
        Span { v6: self.v6, first: self.first.max(other.first), last: self.last.min(other.last) }
    }
}

impl From<AddressRange> for Span {
    fn from(range: AddressRange) -> Span {
        let (first, v6) = number(range.first());
        Span { v6, first, last: number(range.last()).0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(text: &str) -> Networks {
        Networks::new(text.split_whitespace().map(|word| parse(word).unwrap()))
    }

    fn shown(networks: &Networks) -> String {
        networks.ranges().map(|range| range.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn neighbours_and_overlaps_are_joined() {
        let text = "2001:db8::/33 192.0.2.128/25 192.0.2.0-192.0.2.127 192.0.2.5 2001:db8:8000::/33 255.255.255.255";
        assert_eq!(shown(&networks(text)), "192.0.2.0/24 255.255.255.255 2001:db8::/32");
    }

    #[test]
    fn beyond_and_within_share_everything() {
        let scope = networks("10.0.0.0/24 10.0.2.0-10.0.2.9 ::/0 255.255.255.255");
        let plan = networks("9.255.255.255-10.0.2.4 10.0.2.8-10.0.3.0 255.255.255.254-255.255.255.255 ::-::3");
        let (beyond, within) = (scope.beyond(plan.ranges()), scope.within(plan.ranges()));
        assert_eq!(shown(&beyond), "9.255.255.255 10.0.1.0/24 10.0.2.10-10.0.3.0 255.255.255.254");
        assert_eq!(shown(&within), "10.0.0.0/24 10.0.2.0-10.0.2.4 10.0.2.8/31 255.255.255.255 ::/126");
        assert_eq!(beyond.len() + within.len(), plan.len());
    }

    /// Against single addresses, in every way that small ranges can lie.
    #[test]
    fn every_way_that_ranges_can_lie() {
        let range = |first: u32, last: u32| {
            AddressRange::new(Ipv4Addr::from_bits(first).into(), Ipv4Addr::from_bits(last).into())
        };
        for bits in 0_u32..1 << 9 {
            let set = Networks::new((0..9).filter(|at| bits >> at & 1 == 1).filter_map(|at| range(at, at)));
            for (first, last) in (0..9).flat_map(|first| (first..9).map(move |last| (first, last))) {
                let asked = range(first, last).unwrap();
                let inside = (first..=last).filter(|at| bits >> at & 1 == 1).count() as u128;
                assert_eq!(set.within([asked]).len(), inside, "{bits:b} {asked}");
                assert_eq!(set.beyond([asked]).len(), asked.len() - inside, "{bits:b} {asked}");
            }
        }
    }

    #[test]
    fn everything() {
        let all = networks("::/0 0.0.0.0/0");
        assert_eq!((all.len(), shown(&all)), (u128::MAX, "0.0.0.0/0 ::/0".into()));
        assert!(all.beyond(networks("::/0 1.2.3.4").ranges()).is_empty());
        assert_eq!(Networks::default().beyond(all.ranges()).len(), u128::MAX);
    }

    #[test]
    fn what_is_public() {
        assert!(NOT_PUBLIC.iter().all(|text| parse(text).is_ok()));
        let own = "10.1.2.3 127.0.0.1 169.254.1.1 172.31.255.255 192.168.0.0/16 100.127.255.255 ::1 fd00::/8 fe80::1 2001:db8::/32";
        assert!(public(networks(own).ranges()).is_empty());
        for text in ["11.0.0.0", "172.32.0.0", "192.169.0.0", "100.128.0.0", "8.8.8.8", "2600::", "fe00::"] {
            assert_eq!(public(networks(text).ranges()).len(), 1, "{text}");
        }
        assert_eq!(public(networks("9.255.255.255-11.0.0.0").ranges()).len(), 2);
    }

    #[test]
    fn what_people_write() {
        for text in ["192.0.2.7", "192.0.2.0/24", "192.0.2.1-192.0.2.99", "2001:db8::/48", "::/0", "10.0.0.0/32"] {
            assert_eq!(parse(text).unwrap().to_string(), text.trim_end_matches("/32"));
        }
        for (text, said) in [
            ("www.example.org", "expected an address"),
            ("192.0.2.1:80", "expected an address"),
            ("192.0.2.0/", "expected an address"),
            ("192.0.2.0/33", "a prefix of this family has at most 32 bits"),
            ("192.0.2.7/24", "there are bits set behind the prefix; the network is 192.0.2.0/24"),
            ("192.0.2.9-192.0.2.1", "192.0.2.1 does not come after 192.0.2.9"),
            ("192.0.2.9-2001:db8::", "2001:db8:: does not come after 192.0.2.9"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(said), "{text}: {error}");
        }
    }
}
