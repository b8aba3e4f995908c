//! The octet notation of nmap: `10.0.0-3.1,5,7-9`, `10.0.*.-`. Each of the four octets is a list of numbers and
//! ranges; a range may lack its beginning (0) or its end (255), and `*` or `-` alone is everything.

use super::malformed::{Malformed, quoted};
use super::ranges::{Range, merged};

/// Four lists of octets; stands for every combination of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Octets {
    /// Each sorted and apart, and not empty.
    lists: [Vec<(u8, u8)>; 4],
}

/// One expression may stand for that many separate ranges: enough for one address in every /24 (`*.*.*.1`).
const MOST_RANGES: u64 = 1 << 24;

const ACCEPTED: &str = "expected four octets 0-255, each a number, a list or a range, such as 192.0.2.7, \
                        192.0.2.1,5,7-9, 192.0.0-3.* or 192.0.2.128-";

/// Whether a text has only characters of this notation, so that it is no host name.
pub(crate) fn is_octet_text(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || b".,-*".contains(&byte))
}

impl Octets {
    /// Reads an expression.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let texts = <[&str; 4]>::try_from(text.split('.').collect::<Vec<_>>());
        let [a, b, c, d] = texts.map_err(|texts| complain(count_problem(text, texts.len())))?;
        let octets = Octets { lists: [parse_list(a)?, parse_list(b)?, parse_list(c)?, parse_list(d)?] };
        if octets.count() > MOST_RANGES {
            return Err(complain(format!("it stands for {} separate ranges, more than {MOST_RANGES}", octets.count())));
        }
        Ok(octets)
    }

    /// Widened to the networks of that prefix length around every address.
    pub(crate) fn network(mut self, prefix: u32) -> Self {
        let mask = u32::MAX.checked_shr(prefix).unwrap_or(0).to_be_bytes();
        for (list, host_bits) in self.lists.iter_mut().zip(mask) {
            *list = merged(list.iter().map(|&(first, last)| (first & !host_bits, last | host_bits)).collect());
        }
        self
    }

    /// The one range, if it is one.
    pub(crate) fn single_range(&self) -> Option<Range<u32>> {
        let mut only = None;
        if self.count() == 1 {
            self.visit(&mut |range| only = Some(range));
        }
        only
    }

    /// Calls with every range, ascending and apart.
    pub(crate) fn visit(&self, visit: &mut impl FnMut(Range<u32>)) {
        self.visit_below(0, 0, visit);
    }

    fn visit_below(&self, octet: usize, network: u32, visit: &mut impl FnMut(Range<u32>)) {
        let shift = 24 - 8 * octet as u32;
        for &(first, last) in &self.lists[octet] {
            let place = |value: u8| network | u32::from(value) << shift;
            if self.is_all_below(octet) {
                visit(Range { first: place(first), last: place(last) | ((1 << shift) - 1) });
            } else {
                (first..=last).for_each(|value| self.visit_below(octet + 1, place(value), visit));
            }
        }
    }

    fn is_all_below(&self, octet: usize) -> bool {
        self.lists[octet + 1..].iter().all(|list| *list == [(0, 255)])
    }

    /// How many ranges.
    fn count(&self) -> u64 {
        let deepest = (0..4).find(|&octet| self.is_all_below(octet)).unwrap_or(3);
        let values = |list: &Vec<(u8, u8)>| list.iter().map(|r| u64::from(r.1 - r.0) + 1).sum::<u64>();
        self.lists[..deepest].iter().map(values).product::<u64>() * self.lists[deepest].len() as u64
    }
}

fn parse_list(text: &str) -> Result<Vec<(u8, u8)>, Malformed> {
    text.split(',').map(parse_range).collect::<Result<Vec<_>, _>>().map(merged)
}

fn parse_range(text: &str) -> Result<(u8, u8), Malformed> {
    let Some((first, last)) = text.split_once('-') else {
        return if text == "*" { Ok((0, 255)) } else { parse_octet(text).map(|octet| (octet, octet)) };
    };
    let first = if first.is_empty() { 0 } else { parse_octet(first)? };
    let last = if last.is_empty() { 255 } else { parse_octet(last)? };
    if first > last {
        return Err(complain(format!("octets {} run backwards", quoted(text))));
    }
    Ok((first, last))
}

fn parse_octet(text: &str) -> Result<u8, Malformed> {
    if text.is_empty() {
        return Err(complain("an octet is empty".into()));
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(complain(format!("octet {} is not a number", quoted(text))));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(complain(format!("octet {} has a leading zero, which some programs read as octal", quoted(text))));
    }
    text.parse().map_err(|_| complain(format!("octet {} is above 255", quoted(text))))
}

fn count_problem(text: &str, count: usize) -> String {
    match count {
        1 if text.bytes().all(|byte| byte.is_ascii_digit()) => "a number alone is not an address".into(),
        _ => format!("an IPv4 address has four octets, and this has {count}"),
    }
}

fn complain(problem: String) -> Malformed {
    Malformed { problem, accepted: ACCEPTED }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::AddressRange;

    fn shown(octets: &Octets) -> String {
        let mut ranges = Vec::new();
        octets.visit(&mut |range| ranges.push(AddressRange::from(range).to_string()));
        assert_eq!(ranges.len() as u64, octets.count());
        ranges.join(" ")
    }

    #[test]
    fn expressions_and_their_ranges() {
        for (text, ranges) in [
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.1,5,7-9", "10.0.0.1 10.0.0.5 10.0.0.7-10.0.0.9"),
            ("10.0.0-1.254-", "10.0.0.254/31 10.0.1.254/31"),
            ("10.0.0-3.*", "10.0.0.0/22"),
            ("10.0,2.*.-", "10.0.0.0/16 10.2.0.0/16"),
            ("*.*.*.*", "0.0.0.0/0"),
            ("10.0.0.-3", "10.0.0.0/30"),
            ("10.0.0.9,1-4,2-8", "10.0.0.1-10.0.0.9"),
            ("255.255.255.255", "255.255.255.255"),
        ] {
            assert_eq!(shown(&Octets::parse(text).unwrap()), ranges, "{text}");
        }
    }

    #[test]
    fn networks_around_every_address() {
        assert_eq!(shown(&Octets::parse("10.0,4.0.1").unwrap().network(15)), "10.0.0.0/15 10.4.0.0/15");
        assert_eq!(shown(&Octets::parse("10.0.0.1,6,130").unwrap().network(30)), "10.0.0.0/29 10.0.0.128/30");
        assert_eq!(shown(&Octets::parse("10.1.2.3").unwrap().network(0)), "0.0.0.0/0");
        assert_eq!(shown(&Octets::parse("10.1.2.3").unwrap().network(32)), "10.1.2.3");
    }

    #[test]
    fn one_address_in_every_24_is_the_most() {
        assert_eq!(Octets::parse("*.*.*.1").unwrap().count(), 1 << 24);
        let problem = Octets::parse("*.*.*.1,3").unwrap_err().problem;
        assert_eq!(problem, "it stands for 33554432 separate ranges, more than 16777216");
    }
}
