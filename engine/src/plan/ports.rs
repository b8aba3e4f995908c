//! Sets of ports: the grammar they are written in, and the arithmetic between a port and its rank in the set.
//! Which addresses they belong to is the business of `layers`.

use super::divider::Divider;
use super::malformed::{Malformed, quoted};
use super::port_names::{Names, PortNames, is_name};
use super::ranges::merged;
use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A set of one or more TCP ports. Copies share their memory.
#[derive(Clone)]
pub struct PortSet {
    spans: Arc<[Span]>,
    /// Every port by its rank, where that is not much longer than `spans`; else empty.
    listed: Arc<[u16]>,
    len: u32,
    divider: Divider,
}

/// A run of ports, as part of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    first: u16,
    last: u16,
    /// The rank of `first` in the set.
    rank: u16,
}

/// Sets with at most this many ports in a span on average are listed, which spares the sender a search for each probe.
/// It costs 16 bytes a span at most; the common "top ports" lists are below 2.
const LISTED_PORTS_PER_SPAN: u32 = 8;

const ACCEPTED: &str = "expected ports such as 22,80,8000-8100, -1023 (from 1), 49152- (to 65535) or - (1-65535)";
const ACCEPTED_NAMED: &str =
    "expected ports and services such as 22,http,8000-8100, -1023 (from 1), 49152- (to 65535) or - (1-65535)";

impl PortSet {
    /// Reads a comma-separated list of ports, ranges and, where there are any, names. A range without a beginning starts
    /// at 1, one without an end ends at 65535; port 0 is in the set only if the list says `0`.
    pub(crate) fn parse(text: &str, names: Names) -> Result<Self, Malformed> {
        let no_port = || Malformed { problem: "no port is named".into(), accepted: ACCEPTED };
        if text.trim().is_empty() {
            return Err(no_port());
        }
        let mut ranges = Vec::new();
        for piece in text.split(',').map(str::trim) {
            match names.filter(|_| is_name(piece)) {
                Some(names) => ranges.extend(parse_name(piece, names)?),
                None => ranges.push(parse_range(piece)?),
            }
        }
        PortSet::from_ranges(ranges).ok_or_else(no_port)
    }

    /// The ports of all ranges, which may overlap and stand in any order; none if there is no range.
    pub(crate) fn from_ranges(ranges: Vec<(u16, u16)>) -> Option<Self> {
        PortSet::from_disjoint(&merged(ranges))
    }

    /// The set of one port.
    pub(crate) fn single(port: u16) -> Self {
        PortSet { spans: Arc::new(PortSet::key_of(port)), listed: Arc::default(), len: 1, divider: Divider::new(1) }
    }

    /// The key under which the set of this one port is found in a map.
    pub(crate) fn key_of(port: u16) -> [Span; 1] {
        [Span { first: port, last: port, rank: 0 }]
    }

    /// The ports of both sets.
    pub(crate) fn with(&self, other: &PortSet) -> Self {
        PortSet::from_ranges(self.ranges().chain(other.ranges()).collect()).unwrap_or_else(|| self.clone())
    }

    /// The ports of this set that are not in `other`; none if there is none.
    pub(crate) fn without(&self, other: &PortSet) -> Option<Self> {
        let mut left = Vec::new();
        for (first, last) in self.ranges() {
            let mut next = Some(first);
            for (gone_first, gone_last) in other.ranges().filter(|gone| gone.1 >= first && gone.0 <= last) {
                left.extend(next.filter(|&from| from < gone_first).map(|from| (from, gone_first - 1)));
                next = gone_last.checked_add(1);
            }
            left.extend(next.filter(|&from| from <= last).map(|from| (from, last)));
        }
        PortSet::from_disjoint(&left)
    }

    /// How many ports, `1..=65536`.
    #[expect(clippy::len_without_is_empty, reason = "a set of ports is never empty")]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// The port of that rank, counted from 0 in ascending order.
    pub fn port(&self, rank: u32) -> Option<u16> {
        (rank < self.len).then(|| self.port_below_len(rank))
    }

    /// The rank of a port in ascending order, from 0, if it is in the set.
    #[inline]
    pub fn rank(&self, port: u16) -> Option<u32> {
        let span = match &*self.spans {
            [only] => only,
            spans => spans.get(spans.partition_point(|span| span.last < port))?,
        };
        (span.first..=span.last).contains(&port).then(|| u32::from(span.rank) + u32::from(port - span.first))
    }

    /// Whether the port is in the set.
    pub fn contains(&self, port: u16) -> bool {
        self.rank(port).is_some()
    }

    /// The ports in ascending order.
    pub fn ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.ranges().flat_map(|(first, last)| first..=last)
    }

    /// The runs of ports as (first, last), ascending and apart.
    pub fn ranges(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        self.spans.iter().map(|span| (span.first, span.last))
    }

    /// Which host and which port: quotient and port at the remainder of a division by [`len`](Self::len).
    #[inline]
    pub(crate) fn split(&self, offset: u64) -> (u64, u16) {
        let (host, rank) = self.divider.divide(offset);
        (host, self.port_below_len(rank))
    }

    /// [`split`](Self::split) without the port.
    pub(crate) fn hosts(&self, targets: u64) -> u64 {
        self.divider.divide(targets).0
    }

    #[inline]
    fn port_below_len(&self, rank: u32) -> u16 {
        match (&*self.spans, self.listed.get(rank as usize)) {
            ([only], _) => only.port(rank),
            (_, Some(&port)) => port,
            (spans, None) => {
                spans[spans.partition_point(|span| u32::from(span.rank) <= rank).saturating_sub(1)].port(rank)
            }
        }
    }

    fn from_disjoint(ranges: &[(u16, u16)]) -> Option<Self> {
        let mut len = 0;
        let rank = |&(first, last): &(u16, u16)| {
            let rank = len as u16;
            len += u32::from(last - first) + 1;
            Span { first, last, rank }
        };
        let spans: Arc<[Span]> = ranges.iter().map(rank).collect();
        let is_listed = spans.len() > 1 && len <= LISTED_PORTS_PER_SPAN * spans.len() as u32;
        let listed = ranges.iter().filter(|_| is_listed).flat_map(|&(first, last)| first..=last).collect();
        (len > 0).then(|| PortSet { spans, listed, len, divider: Divider::new(len) })
    }
}

impl Span {
    /// The port of a rank that lies in this span.
    #[inline]
    fn port(self, rank: u32) -> u16 {
        (u32::from(self.first) + rank - u32::from(self.rank)) as u16
    }
}

/// `22,80,8000-8100`.
impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (first, last)) in self.ranges().enumerate() {
            f.write_str(if number == 0 { "" } else { "," })?;
            if first == last { write!(f, "{first}")? } else { write!(f, "{first}-{last}")? }
        }
        Ok(())
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortSet({self})")
    }
}

impl PartialEq for PortSet {
    fn eq(&self, other: &Self) -> bool {
        self.spans == other.spans
    }
}

impl Eq for PortSet {}

/// As its spans do, so that a map can be asked without making a set.
impl Hash for PortSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.spans.hash(state);
    }
}

impl Borrow<[Span]> for PortSet {
    fn borrow(&self) -> &[Span] {
        &self.spans
    }
}

/// The ports of a name. A range is of numbers alone: a hyphen among letters belongs to the name.
fn parse_name(name: &str, names: &dyn PortNames) -> Result<Vec<(u16, u16)>, Malformed> {
    let ports = names.ports(name).filter(|ports| !ports.is_empty()).ok_or_else(|| Malformed {
        problem: format!("{} {}", quoted(name), names.objection(name)),
        accepted: ACCEPTED_NAMED,
    })?;
    Ok(ports.into_iter().map(|port| (port, port)).collect())
}

fn parse_range(piece: &str) -> Result<(u16, u16), Malformed> {
    if piece.is_empty() {
        return Err(Malformed { problem: "a port is missing at a comma".into(), accepted: ACCEPTED });
    }
    let Some((first, last)) = piece.split_once('-') else {
        let port = parse_port(piece)?;
        return Ok((port, port));
    };
    let first = if first.is_empty() { 1 } else { parse_port(first)? };
    let last = if last.is_empty() { u16::MAX } else { parse_port(last)? };
    if first > last {
        return Err(Malformed { problem: format!("ports {} run backwards", quoted(piece)), accepted: ACCEPTED });
    }
    Ok((first, last))
}

fn parse_port(text: &str) -> Result<u16, Malformed> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let complain = |what| Malformed { problem: format!("port {} {what}", quoted(text)), accepted: ACCEPTED };
    if !is_number {
        return Err(complain("is not a number"));
    }
    text.parse().map_err(|_| complain("is above 65535"))
}

#[cfg(test)]
mod tests {
    use super::super::port_names::tests::FEW;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(text: &str) -> PortSet {
        PortSet::parse(text, None).unwrap()
    }

    #[test]
    fn names_stand_for_their_ports() {
        for (text, shown) in [
            ("http", "80"),
            ("HTTP,22", "22,80"),
            ("http-alt", "591,8008,8080"),
            ("x11, http ,10000-10100", "80,6000-6063,10000-10100"),
            ("8080,http-alt", "591,8008,8080"),
            ("-", "1-65535"),
            ("60000-,http", "80,60000-65535"),
        ] {
            assert_eq!(PortSet::parse(text, FEW).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_named() {
        for (text, problem) in [
            ("http,htp", "\"htp\" is no port and no name of one"),
            ("http-8080", "\"http-8080\" is no port and no name of one"),
            ("80-http", "\"80-http\" is no port and no name of one"),
            ("http,,22", "a port is missing at a comma"),
            ("http,65536", "port \"65536\" is above 65535"),
            ("http,9-1", "ports \"9-1\" run backwards"),
        ] {
            assert_eq!(PortSet::parse(text, FEW).unwrap_err().problem, problem, "{text}");
        }
    }

    #[test]
    fn the_grammar_accepts() {
        for (text, shown, len) in [
            ("80", "80", 1),
            ("0", "0", 1),
            ("22,80,8000-8100", "22,80,8000-8100", 103),
            ("443, 80 ,443", "80,443", 2),
            ("-", "1-65535", 65_535),
            ("0,-", "0-65535", 65_536),
            ("0-65535", "0-65535", 65_536),
            ("-100", "1-100", 100),
            ("60000-", "60000-65535", 5536),
            ("5-9,1-4,10", "1-10", 10),
            ("65535,65534", "65534-65535", 2),
            ("00080", "80", 1),
        ] {
            assert_eq!((set(text).to_string(), set(text).len()), (shown.into(), len), "{text}");
        }
    }

    #[test]
    fn the_grammar_rejects() {
        for (text, problem) in [
            ("", "no port is named"),
            ("  ", "no port is named"),
            ("22,,80", "a port is missing at a comma"),
            ("22, ,80", "a port is missing at a comma"),
            (",80", "a port is missing at a comma"),
            ("80,", "a port is missing at a comma"),
            ("65536", "port \"65536\" is above 65535"),
            ("99999999999999999999999", "port \"99999999999999999999999\" is above 65535"),
            ("http", "port \"http\" is not a number"),
            ("80-70", "ports \"80-70\" run backwards"),
            ("-0", "ports \"-0\" run backwards"),
            ("1-2-3", "port \"2-3\" is not a number"),
            ("80 443", "port \"80 443\" is not a number"),
            ("8000 - 8100", "port \"8000 \" is not a number"),
            ("+80", "port \"+80\" is not a number"),
        ] {
            assert_eq!(PortSet::parse(text, None).unwrap_err().problem, problem, "{text}");
        }
    }

    #[test]
    fn rank_and_port_are_inverse() {
        for text in [
            "80",
            "-",
            "0,-",
            "1,3,5,7-9,65535",
            "0,2,4,6,8,10,12,14",
            "1-2,4-5",
            "1-8,10-17",
            "1-8,10-18",
            "1-40000,50000-",
        ] {
            let set = set(text);
            let ports: Vec<u16> = set.ports().collect();
            assert_eq!(ports.len(), set.len() as usize);
            for (rank, &port) in (0..).zip(&ports) {
                assert_eq!((set.port(rank), set.rank(port)), (Some(port), Some(rank)), "{text}");
            }
            assert_eq!(set.port(set.len()), None);
        }
    }

    #[test]
    fn splitting_all_ports_of_all_addresses() {
        let set = set("0-65535");
        assert_eq!(set.split((1 << 48) - 1), ((1 << 32) - 1, 65_535));
        assert_eq!(set.hosts(1 << 48), 1 << 32);
    }

    proptest! {
        #[test]
        fn difference_agrees_with_a_tree(
            ours in prop::collection::vec((0u16..50, 0u16..9), 1..9),
            theirs in prop::collection::vec((0u16..50, 0u16..9), 1..9),
            at_the_top: bool,
        ) {
            let lift = if at_the_top { u16::MAX - 57 } else { 0 };
            let ranges = |list: &[(u16, u16)]| list.iter().map(|r| (r.0 + lift, r.0 + r.1 + lift)).collect::<Vec<_>>();
            let tree = |list: &[(u16, u16)]| ranges(list).iter().flat_map(|r| r.0..=r.1).collect::<BTreeSet<_>>();
            let ours_set = PortSet::from_ranges(ranges(&ours)).unwrap();
            let theirs_set = PortSet::from_ranges(ranges(&theirs)).unwrap();
            let left = ours_set.without(&theirs_set);
            let found: BTreeSet<u16> = left.iter().flat_map(PortSet::ports).collect();
            prop_assert_eq!(&found, &(&tree(&ours) - &tree(&theirs)));
            prop_assert!(tree(&ours).iter().all(|&port| ours_set.contains(port)));
            let is_left = |port| left.as_ref().is_some_and(|left| left.contains(port));
            prop_assert!((0..=u16::MAX).all(|port| found.contains(&port) == is_left(port)));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = PortSet::parse(&text, None);
            let _ = PortSet::parse(&text, FEW);
        }
    }
}
