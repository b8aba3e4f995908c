//! Which targets a scan was about: address ranges, each with its ports, as a plan has them; and the arithmetic on them that
//! comparing scans takes. What a scan has not probed it knows nothing of.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::address::{Addresses, Range, after, before};

/// Sets of ports by ranges of addresses: ascending, and apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Coverage {
    spans: Vec<Span>,
}

/// The same ports at neighbouring addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The addresses.
    pub addresses: Range,
    /// The ports of each.
    pub ports: Arc<Ports>,
}

/// A set of ports: runs, ascending and apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ports(Vec<(u16, u16)>);

impl Ports {
    /// The runs, as first and last.
    pub fn runs(&self) -> &[(u16, u16)] {
        &self.0
    }

    /// How many ports.
    pub fn len(&self) -> u32 {
        self.0.iter().map(|&(first, last)| u32::from(last - first) + 1).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the port is among them.
    pub fn contains(&self, port: u16) -> bool {
        let at = self.0.partition_point(|&(_, last)| last < port);
        self.0.get(at).is_some_and(|&(first, _)| first <= port)
    }

    /// The ports of both.
    pub fn intersection(&self, other: &Ports) -> Ports {
        let meet = |&(a, b): &(u16, u16)| {
            let from = other.0.partition_point(move |&(_, last)| last < a);
            let meets = other.0[from..].iter().take_while(move |&&(first, _)| first <= b);
            meets.map(move |&(first, last)| (first.max(a), last.min(b)))
        };
        Ports(self.0.iter().flat_map(meet).collect())
    }

    /// The ports of this set that are not in the other.
    pub fn without(&self, other: &Ports) -> Ports {
        let ends = |next: Option<u16>| next.map_or(u32::from(u16::MAX) + 1, u32::from);
        let mut gaps = Vec::new();
        let mut next = 0;
        for &(first, last) in &other.0 {
            gaps.extend((next < u32::from(first)).then(|| (next as u16, first - 1)));
            next = ends(last.checked_add(1));
        }
        gaps.extend(u16::try_from(next).ok().map(|next| (next, u16::MAX)));
        self.intersection(&Ports(gaps))
    }

    /// The ports of either.
    pub fn union(&self, other: &Ports) -> Ports {
        self.0.iter().chain(&other.0).copied().collect()
    }
}

/// Runs in any order; they may overlap.
impl FromIterator<(u16, u16)> for Ports {
    fn from_iter<I: IntoIterator<Item = (u16, u16)>>(runs: I) -> Ports {
        let mut runs = Vec::from_iter(runs);
        runs.sort_unstable();
        runs.dedup_by(|next, kept| {
            let joins = u32::from(next.0) <= u32::from(kept.1) + 1;
            if joins {
                kept.1 = kept.1.max(next.1);
            }
            joins
        });
        Ports(runs)
    }
}

/// `22,80,8000-8100`.
impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (first, last)) in self.0.iter().enumerate() {
            f.write_str(if number == 0 { "" } else { "," })?;
            if first == last { write!(f, "{first}")? } else { write!(f, "{first}-{last}")? }
        }
        Ok(())
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Ports, String> {
        let run = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let run = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (run.0 <= run.1).then_some(run)
        };
        let wrong = || format!("{text:?} is no list of ports such as 22,80,8000-8100");
        match text.trim() {
            "" => Ok(Ports::default()),
            text => text.split(',').map(run).collect::<Option<Ports>>().ok_or_else(wrong),
        }
    }
}

impl Coverage {
    /// The spans, ascending and apart.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Whether it is about nothing.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// How many targets.
    pub fn targets(&self) -> u128 {
        let targets = |span: &Span| span.addresses.len().saturating_mul(span.ports.len().into());
        self.spans.iter().map(targets).fold(0, u128::saturating_add)
    }

    /// The ports of an address, if it is covered.
    pub fn ports(&self, address: IpAddr) -> Option<&Ports> {
        let at = self.spans.partition_point(|span| span.addresses.last() < address);
        self.spans.get(at).filter(|span| span.addresses.contains(address)).map(|span| &*span.ports)
    }

    /// Whether a target is covered.
    pub fn contains(&self, address: IpAddr, port: u16) -> bool {
        self.ports(address).is_some_and(|ports| ports.contains(port))
    }

    /// Every port that is asked of any address.
    pub fn all_ports(&self) -> Ports {
        let mut sets: Vec<&Ports> = self.spans.iter().map(|span| &*span.ports).collect();
        sets.sort_unstable();
        sets.dedup();
        sets.into_iter().flat_map(|ports| ports.0.iter().copied()).collect()
    }

    /// The same without these addresses.
    pub fn without(&self, addresses: &Addresses) -> Coverage {
        let gaps = gaps(addresses);
        let mut gaps = &gaps[..];
        let mut spans = Vec::new();
        for span in &self.spans {
            gaps = &gaps[gaps.partition_point(|gap| gap.last() < span.addresses.first())..];
            let meets = gaps.iter().take_while(|gap| gap.first() <= span.addresses.last());
            let left = meets.filter_map(|gap| gap.intersection(&span.addresses));
            spans.extend(left.map(|addresses| Span { addresses, ports: Arc::clone(&span.ports) }));
        }
        Coverage { spans }
    }

    /// What either covers.
    pub fn union(&self, other: &Coverage) -> Coverage {
        let spans = self.spans.iter().chain(&other.spans);
        spans.map(|span| (span.addresses, Arc::clone(&span.ports))).collect()
    }

    /// What both cover.
    pub fn intersection(&self, other: &Coverage) -> Coverage {
        let mut spans = Vec::new();
        let mut others = &other.spans[..];
        for span in &self.spans {
            let passed = others.partition_point(|other| other.addresses.last() < span.addresses.first());
            others = &others[passed..];
            for other in others.iter().take_while(|other| other.addresses.first() <= span.addresses.last()) {
                let ports = if span.ports == other.ports {
                    Arc::clone(&span.ports)
                } else {
                    Arc::new(span.ports.intersection(&other.ports))
                };
                let common = span.addresses.intersection(&other.addresses).filter(|_| !ports.is_empty());
                spans.extend(common.map(|addresses| Span { addresses, ports }));
            }
        }
        Coverage { spans }
    }
}

/// The addresses that are not among these.
fn gaps(addresses: &Addresses) -> Vec<Range> {
    let mut gaps = Vec::new();
    for all in ["0.0.0.0/0", "::/0"].into_iter().filter_map(|all| all.parse::<Range>().ok()) {
        let mut next = Some(all.first());
        for range in addresses.ranges().iter().filter(|range| all.contains(range.first())) {
            gaps.extend(next.zip(before(range.first())).and_then(|(first, last)| Range::new(first, last)));
            next = after(range.last());
        }
        gaps.extend(next.and_then(|first| Range::new(first, all.last())));
    }
    gaps
}

/// In any order; where addresses meet, the later ports are added.
impl FromIterator<(Range, Arc<Ports>)> for Coverage {
    fn from_iter<I: IntoIterator<Item = (Range, Arc<Ports>)>>(parts: I) -> Coverage {
        let parts = parts.into_iter().filter(|(_, ports)| !ports.is_empty());
        let mut spans: Vec<Span> = parts.map(|(addresses, ports)| Span { addresses, ports }).collect();
        spans.sort_by_key(|span| span.addresses);
        if !spans.windows(2).all(|pair| pair[0].addresses.last() < pair[1].addresses.first()) {
            spans = apart(&spans);
        }
        spans.dedup_by(|next, kept| {
            let joins = after(kept.addresses.last()) == Some(next.addresses.first()) && kept.ports == next.ports;
            if joins && let Some(joined) = Range::new(kept.addresses.first(), next.addresses.last()) {
                kept.addresses = joined;
            }
            joins
        });
        Coverage { spans }
    }
}

/// Overlapping spans cut where others begin and end, the ports of those that meet joined.
fn apart(spans: &[Span]) -> Vec<Span> {
    let mut pieces: BTreeMap<Range, Ports> = BTreeMap::new();
    let mut cuts: Vec<IpAddr> = spans.iter().map(|span| span.addresses.first()).collect();
    cuts.extend(spans.iter().filter_map(|span| after(span.addresses.last())));
    cuts.sort_unstable();
    cuts.dedup();
    for span in spans {
        let mut first = span.addresses.first();
        let inner = cuts.partition_point(|&cut| cut <= first);
        let ends = cuts[inner..].iter().take_while(|&&cut| cut <= span.addresses.last());
        for &cut in ends {
            let piece = before(cut).and_then(|last| Range::new(first, last));
            piece.into_iter().for_each(|piece| join(&mut pieces, piece, &span.ports));
            first = cut;
        }
        let piece = Range::new(first, span.addresses.last());
        piece.into_iter().for_each(|piece| join(&mut pieces, piece, &span.ports));
    }
    pieces.into_iter().map(|(addresses, ports)| Span { addresses, ports: Arc::new(ports) }).collect()
}

fn join(pieces: &mut BTreeMap<Range, Ports>, piece: Range, ports: &Ports) {
    let held = pieces.entry(piece).or_default();
    *held = held.union(ports);
}

/// Single targets.
impl FromIterator<(IpAddr, u16)> for Coverage {
    fn from_iter<I: IntoIterator<Item = (IpAddr, u16)>>(targets: I) -> Coverage {
        let mut by_address: BTreeMap<IpAddr, Vec<(u16, u16)>> = BTreeMap::new();
        for (address, port) in targets {
            by_address.entry(address).or_default().push((port, port));
        }
        let spans = by_address
            .into_iter()
            .map(|(address, runs)| (Range::single(address), Arc::new(runs.into_iter().collect())));
        spans.collect()
    }
}

impl From<&halfopen::Plan> for Coverage {
    fn from(plan: &halfopen::Plan) -> Coverage {
        let mut sets: BTreeMap<Ports, Arc<Ports>> = BTreeMap::new();
        let parts = plan.parts().filter_map(|(range, ports)| {
            let ports: Ports = ports.ranges().collect();
            let ports = Arc::clone(sets.entry(ports).or_insert_with_key(|ports| Arc::new(ports.clone())));
            Some((Range::new(range.first(), range.last())?, ports))
        });
        parts.collect()
    }
}

/// A list of what has the same ports: `{"addresses": ["192.0.2.0-192.0.2.255"], "ports": "22,80"}`.
#[derive(Serialize, Deserialize)]
struct Part {
    addresses: Vec<Range>,
    ports: String,
}

impl Serialize for Coverage {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut parts: Vec<(&Ports, Part)> = Vec::new();
        let mut places: BTreeMap<&Ports, usize> = BTreeMap::new();
        for span in &self.spans {
            let place = *places.entry(&span.ports).or_insert(parts.len());
            if place == parts.len() {
                parts.push((&span.ports, Part { addresses: Vec::new(), ports: span.ports.to_string() }));
            }
            parts[place].1.addresses.push(span.addresses);
        }
        to.collect_seq(parts.into_iter().map(|(_, part)| part))
    }
}

impl<'de> Deserialize<'de> for Coverage {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Coverage, D::Error> {
        let parts = Vec::<Part>::deserialize(from)?;
        let mut spans = Vec::new();
        for part in parts {
            let ports: Ports = part.ports.parse().map_err(serde::de::Error::custom)?;
            let ports = Arc::new(ports);
            spans.extend(part.addresses.into_iter().map(|range| (range, Arc::clone(&ports))));
        }
        Ok(spans.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use halfopen::Plan;
    use proptest::prelude::*;

    use super::*;

    fn of(parts: &[(&str, &str)]) -> Coverage {
        parts.iter().map(|(range, ports)| (range.parse().unwrap(), Arc::new(ports.parse().unwrap()))).collect()
    }

    fn shown(coverage: &Coverage) -> String {
        let spans: Vec<_> = coverage.spans.iter().map(|span| format!("{}:{}", span.addresses, span.ports)).collect();
        spans.join(" ")
    }

    #[test]
    fn the_coverage_of_a_plan() {
        let plan = Plan::builder().targets("10.0.0.0/29 10.0.0.3:22 2001:db8::1").unwrap().ports("80-81").unwrap();
        let plan = plan.exclude("10.0.0.5").unwrap().build().unwrap();
        let coverage = Coverage::from(&plan);
        let expected =
            "10.0.0.0-10.0.0.2:80-81 10.0.0.3:22,80-81 10.0.0.4:80-81 10.0.0.6-10.0.0.7:80-81 2001:db8::1:80-81";
        assert_eq!(shown(&coverage), expected);
        assert_eq!(coverage.targets(), u128::from(plan.len()));
        assert_eq!(coverage.all_ports().to_string(), "22,80-81");
        let text = serde_json::to_string(&coverage).unwrap();
        assert!(text.starts_with(r#"[{"addresses":["10.0.0.0-10.0.0.2","10.0.0.4","#), "{text}");
        assert_eq!(serde_json::from_str::<Coverage>(&text).unwrap(), coverage);
    }

    #[test]
    fn ports_as_text() {
        for text in ["", "22", "0-65535", "22,80,8000-8100"] {
            assert_eq!(text.parse::<Ports>().unwrap().to_string(), text);
        }
        assert_eq!("5,1-3,4,2".parse::<Ports>().unwrap().to_string(), "1-5");
        for text in [",", "a", "2-1", "65536", "1-", "-"] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
    }

    #[test]
    fn ports_without_others() {
        let of = |text: &str| text.parse::<Ports>().unwrap();
        for (one, other, left) in [
            ("1-10", "3,5-6", "1-2,4,7-10"),
            ("0-65535", "0,65535", "1-65534"),
            ("0-65535", "", "0-65535"),
            ("5", "0-65535", ""),
            ("22,80", "80-90", "22"),
        ] {
            assert_eq!(of(one).without(&of(other)).to_string(), left, "{one} without {other}");
        }
    }

    #[test]
    fn everything_there_is() {
        let all = of(&[("0.0.0.0/0", "0-65535"), ("::/0", "0-65535")]);
        assert_eq!(all.targets(), u128::MAX);
        assert_eq!(all.without(&["::/0".parse().unwrap()].into_iter().collect()).targets(), 1 << 48);
        assert!(all.without(&["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()].into_iter().collect()).is_empty());
    }

    type Piece = (bool, u8, u8, u8, u8);

    fn pieces() -> impl Strategy<Value = Vec<Piece>> {
        prop::collection::vec((any::<bool>(), 0_u8..16, 0_u8..6, 0_u8..6, 0_u8..4), 0..6)
    }

    fn range(&(v6, first, more, ..): &Piece) -> Range {
        let address = |number: u8| -> IpAddr {
            if v6 {
                std::net::Ipv6Addr::from_bits(number.into()).into()
            } else {
                std::net::Ipv4Addr::from_bits(number.into()).into()
            }
        };
        Range::new(address(first), address(first + more)).unwrap()
    }

    fn coverage(pieces: &[Piece]) -> Coverage {
        let ports = |piece: &Piece| Arc::new(Ports::from_iter([(u16::from(piece.3), u16::from(piece.3 + piece.4))]));
        pieces.iter().map(|piece| (range(piece), ports(piece))).collect()
    }

    fn targets(coverage: &Coverage) -> BTreeSet<(IpAddr, u16)> {
        let addresses = |range: Range| {
            std::iter::successors(Some(range.first()), move |&at| after(at).filter(|_| at < range.last()))
        };
        let of = |span: &Span| {
            let ports: Vec<u16> = span.ports.runs().iter().flat_map(|&(a, b)| a..=b).collect();
            addresses(span.addresses)
                .flat_map(move |address| ports.clone().into_iter().map(move |port| (address, port)))
                .collect::<Vec<_>>()
        };
        coverage.spans.iter().flat_map(of).collect()
    }

    proptest! {
        #[test]
        fn agrees_with_sets_of_targets(one in pieces(), other in pieces()) {
            let expected: BTreeSet<_> = one.iter().flat_map(|piece| targets(&coverage(&[*piece]))).collect();
            let (a, b) = (coverage(&one), coverage(&other));
            prop_assert_eq!(&targets(&a), &expected);
            prop_assert_eq!(a.targets(), expected.len() as u128);
            prop_assert!(a.spans.windows(2).all(|pair| pair[0].addresses.last() < pair[1].addresses.first()));
            prop_assert_eq!(targets(&a.intersection(&b)), &expected & &targets(&b));
            prop_assert_eq!(targets(&a.union(&b)), &expected | &targets(&b));
            let gone: Addresses = other.iter().map(range).collect();
            let left: BTreeSet<_> = expected.iter().copied().filter(|(address, _)| !gone.contains(*address)).collect();
            prop_assert_eq!(targets(&a.without(&gone)), left);
            for (address, port) in targets(&b) {
                prop_assert_eq!(a.contains(address, port), expected.contains(&(address, port)));
            }
            prop_assert_eq!(Coverage::from_iter(expected), a.clone());
            let text = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<Coverage>(&text).unwrap(), a);
        }
    }
}
