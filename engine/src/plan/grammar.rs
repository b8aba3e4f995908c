//! One target token: which addresses or host name it names, and the ports it has of its own.
//!
//! | token | meaning |
//! |---|---|
//! | `192.0.2.7`, `2001:db8::7`, `[2001:db8::7]` | one address |
//! | `192.0.2.0/24`, `2001:db8::/120`, `[2001:db8::]/120` | a network; host bits are masked away |
//! | `192.0.2.1-192.0.2.9`, `2001:db8::1-2001:db8::9` | a range, both ends included |
//! | `192.0.0-3.1,5,7-9` | octet lists and ranges (`octets`), also with a prefix length |
//! | `www.example.org` | a host name |
//! | any of these, then `:22,80,8000-8100` | the same with ports of its own (`ports`), by name where names are known (`port_names`); IPv6 needs brackets or a `/` |
//!
//! IPv4-mapped IPv6 (`::ffff:192.0.2.7`) is IPv4 (`layers`). A scope (`fe80::1%eth0`) is an error: the interface
//! belongs to the scan, not to the address. What ends in a number is never a host name (as in the URL standard), so a
//! mistyped address is an error and not a question to the resolver. Splitting a text into tokens is done in `tokens`.

use super::malformed::Malformed;
use super::malformed::quoted;
use super::octets::{Octets, is_octet_text};
use super::port_names::Names;
use super::ports::PortSet;
use super::ranges::Range;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A token that has been understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec<'a> {
    pub(crate) subject: Subject<'a>,
    pub(crate) ports: Option<PortSet>,
}

/// What a token names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject<'a> {
    V4(Range<u32>),
    V6(Range<u128>),
    Octets(Box<Octets>),
    Name(&'a str),
}

const ACCEPTED: &str = "expected an address, a network (192.0.2.0/24), a range (192.0.2.1-192.0.2.9, 192.0.2.1-9) \
                        or a host name, each with :ports after it if it has its own";
const ACCEPTED_V6: &str = "expected an IPv6 address, network (2001:db8::/120) or range (2001:db8::1-2001:db8::9), \
                           in brackets if :ports follow ([2001:db8::1]:80)";
const ACCEPTED_SCOPE: &str = "expected the address alone; name the interface with --interface";
const ACCEPTED_V4_PREFIX: &str = "expected a prefix length 0-32";
const ACCEPTED_V6_PREFIX: &str = "expected a prefix length 0-128";

/// Reads one token.
pub(crate) fn parse(token: &str, names: Names) -> Result<Spec<'_>, Malformed> {
    if token.contains("://") {
        return Err(complain("a URL is not a target".into()));
    }
    let (subject, ports) = split_ports(token);
    let ports = ports.map(|ports| PortSet::parse(ports, names)).transpose()?;
    Ok(Spec { subject: parse_subject(subject)?, ports })
}

/// Parts a token into what stands before and behind the colon that introduces ports, if there is one: a colon after
/// brackets, else after a `/`, else the only one.
pub(crate) fn split_ports(token: &str) -> (&str, Option<&str>) {
    let fixed = if token.starts_with('[') { token.rfind(']') } else { token.find('/') };
    let from = fixed.unwrap_or(0);
    match token[from..].split_once(':') {
        Some((before, ports)) if fixed.is_some() || !ports.contains(':') => {
            (&token[..from + before.len()], Some(ports))
        }
        _ => (token, None),
    }
}

/// Reads one address, and one port of its own, as long lists have them: the same as [`parse`] makes of them, without
/// its detours, and nothing for all that is not so plain.
pub(crate) fn parse_plain(text: &[u8]) -> Option<(IpAddr, Option<u16>)> {
    plain_v4(text).or_else(|| plain_v6(text))
}

fn plain_v4(text: &[u8]) -> Option<(IpAddr, Option<u16>)> {
    let (first, rest) = plain_number(text, 255)?;
    let (second, rest) = plain_number(rest.strip_prefix(b".")?, 255)?;
    let (third, rest) = plain_number(rest.strip_prefix(b".")?, 255)?;
    let (fourth, rest) = plain_number(rest.strip_prefix(b".")?, 255)?;
    let address = Ipv4Addr::from_bits(first << 24 | second << 16 | third << 8 | fourth);
    match rest.strip_prefix(b":") {
        None => rest.is_empty().then_some((address.into(), None)),
        Some(port) => Some((address.into(), Some(plain_port(port)?))),
    }
}

fn plain_v6(text: &[u8]) -> Option<(IpAddr, Option<u16>)> {
    let text = str::from_utf8(text).ok()?;
    match text.strip_prefix('[').map(|text| text.split_once("]:")) {
        None => Some((text.parse::<Ipv6Addr>().ok()?.into(), None)),
        Some(pair) => {
            let (address, port) = pair?;
            Some((address.parse::<Ipv6Addr>().ok()?.into(), Some(plain_port(port.as_bytes())?)))
        }
    }
}

fn plain_port(text: &[u8]) -> Option<u16> {
    let (port, rest) = plain_number(text, 65_535)?;
    rest.is_empty().then_some(port as u16)
}

/// A decimal number without leading zeros, and what follows.
fn plain_number(text: &[u8], most: u32) -> Option<(u32, &[u8])> {
    let digits = text.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(digits);
    let number = digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    let is_plain = number <= most && (digits.len() == 1 || digits.first().is_some_and(|&digit| digit != b'0'));
    is_plain.then_some((number, rest))
}

fn parse_subject(text: &str) -> Result<Subject<'_>, Malformed> {
    if let Some(rest) = text.strip_prefix('[') {
        return parse_bracketed(rest);
    }
    if text.contains(':') {
        return parse_v6(text).map(Subject::V6);
    }
    match text.split_once('/') {
        Some((address, prefix)) if is_octet_text(address) => parse_v4_network(address, prefix),
        Some((name, _)) => Err(prefix_of_a_name(name)),
        None if is_octet_text(text) => parse_v4(text),
        None => parse_name(text).map(Subject::Name),
    }
}

/// What follows an opening bracket: `x]`, `x]/n` or `x]-[y]`.
fn parse_bracketed(text: &str) -> Result<Subject<'_>, Malformed> {
    let unbalanced = || complain_v6("the brackets do not match".into());
    let (inner, rest) = text.split_once(']').ok_or_else(unbalanced)?;
    let range = if rest.is_empty() {
        parse_v6(inner)
    } else if let Some(prefix) = rest.strip_prefix('/') {
        parse_v6_network(inner, prefix)
    } else if let Some(last) = rest.strip_prefix("-[").and_then(|last| last.strip_suffix(']')) {
        parse_v6_range(inner, last)
    } else {
        Err(unbalanced())
    };
    range.map(Subject::V6)
}

fn parse_v6(text: &str) -> Result<Range<u128>, Malformed> {
    if let Some((address, prefix)) = text.split_once('/') {
        return parse_v6_network(address, prefix);
    }
    match text.split_once('-') {
        Some((first, last)) if !text.contains('%') => parse_v6_range(first, last),
        _ => parse_v6_address(text).map(Range::single),
    }
}

fn parse_v6_network(address: &str, prefix: &str) -> Result<Range<u128>, Malformed> {
    let address = parse_v6_address(address)?;
    Ok(Range::network(address, parse_prefix(prefix, 128, ACCEPTED_V6_PREFIX)?))
}

fn parse_v6_range(first: &str, last: &str) -> Result<Range<u128>, Malformed> {
    let (first, last) = (parse_v6_address(first)?, parse_v6_address(last)?);
    if first > last {
        return Err(complain_v6("the range runs backwards".into()));
    }
    Ok(Range { first, last })
}

fn parse_v6_address(text: &str) -> Result<u128, Malformed> {
    if let Some((_, scope)) = text.split_once('%') {
        let problem = format!("an address with a scope (%{}) cannot be a target", scope.escape_debug());
        return Err(Malformed { problem, accepted: ACCEPTED_SCOPE });
    }
    let address = text.parse::<Ipv6Addr>();
    address.map(Ipv6Addr::to_bits).map_err(|_| complain_v6(format!("{} is not an IPv6 address", quoted(text))))
}

/// Octets, or a range of two whole addresses.
fn parse_v4(text: &str) -> Result<Subject<'_>, Malformed> {
    match text.split_once('-') {
        Some((first, last)) if dots(text) > 3 => parse_v4_range(first, last),
        _ => Octets::parse(text).map(from_octets),
    }
}

fn parse_v4_range<'a>(first: &str, last: &str) -> Result<Subject<'a>, Malformed> {
    let (first, last) = (parse_v4_address(first)?, parse_v4_address(last)?);
    if first > last {
        return Err(complain("the range runs backwards".into()));
    }
    Ok(Subject::V4(Range { first, last }))
}

fn parse_v4_address(text: &str) -> Result<u32, Malformed> {
    match text.parse::<Ipv4Addr>() {
        Ok(address) => Ok(address.to_bits()),
        // The octets have the words for what is wrong; a list, which they accept, is no address either.
        Err(_) => {
            Err(Octets::parse(text).err().unwrap_or_else(|| complain(format!("{} is not one address", quoted(text)))))
        }
    }
}

fn parse_v4_network<'a>(address: &str, prefix: &str) -> Result<Subject<'a>, Malformed> {
    let prefix = parse_prefix(prefix, 32, ACCEPTED_V4_PREFIX)?;
    match address.parse::<Ipv4Addr>() {
        Ok(address) => Ok(Subject::V4(Range::network(address.to_bits(), prefix))),
        Err(_) => Octets::parse(address).map(|octets| from_octets(octets.network(prefix))),
    }
}

fn from_octets<'a>(octets: Octets) -> Subject<'a> {
    match octets.single_range() {
        Some(range) => Subject::V4(range),
        None => Subject::Octets(Box::new(octets)),
    }
}

fn parse_prefix(text: &str, most: u32, accepted: &'static str) -> Result<u32, Malformed> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let complain = |what: &str| Malformed { problem: format!("prefix length {} {what}", quoted(text)), accepted };
    if !is_number {
        return Err(complain("is not a number"));
    }
    let prefix = text.parse().ok().filter(|&prefix| prefix <= most);
    prefix.ok_or_else(|| complain(if most == 32 { "is above 32" } else { "is above 128" }))
}

/// A host name by its looks (RFC 1123 section 2.1, and the underscore that is in use): whether it exists is the
/// resolver's to say.
fn parse_name(text: &str) -> Result<&str, Malformed> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let last = name.rsplit('.').next().unwrap_or(name);
    if is_number_like(last) {
        return Err(complain("it ends in a number as an address does, but it is not an address".into()));
    }
    if !name.is_ascii() {
        return Err(complain("a host name has only ASCII letters; write the name's xn-- form".into()));
    }
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(complain("it is neither an address nor a host name".into()));
    }
    Ok(text)
}

fn is_label(label: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(is_letter) && !label.starts_with('-') && !label.ends_with('-')
}

/// Decimal, or hexadecimal with `0x`.
fn is_number_like(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    let is_decimal = !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit());
    is_decimal || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn prefix_of_a_name(name: &str) -> Malformed {
    match parse_name(name) {
        Ok(_) => complain("a host name takes no prefix length".into()),
        Err(malformed) => malformed,
    }
}

fn dots(text: &str) -> usize {
    text.bytes().filter(|&byte| byte == b'.').count()
}

fn complain(problem: String) -> Malformed {
    Malformed { problem, accepted: ACCEPTED }
}

fn complain_v6(problem: String) -> Malformed {
    Malformed { problem, accepted: ACCEPTED_V6 }
}

#[cfg(test)]
mod tests {
    use super::super::port_names::tests::FEW;
    use super::*;
    use crate::plan::AddressRange;
    use proptest::prelude::*;

    fn shown(token: &str) -> String {
        let Spec { subject, ports } = parse(token, None).unwrap_or_else(|malformed| panic!("{token}: {malformed:?}"));
        let mut ranges = Vec::new();
        match subject {
            Subject::V4(range) => ranges.push(AddressRange::from(range).to_string()),
            Subject::V6(range) => ranges.push(AddressRange::from(range).to_string()),
            Subject::Octets(octets) => octets.visit(&mut |range| ranges.push(AddressRange::from(range).to_string())),
            Subject::Name(name) => ranges.push(format!("name {name}")),
        }
        ranges.extend(ports.map(|ports| format!(":{ports}")));
        ranges.join(" ")
    }

    #[test]
    fn accepted() {
        for (token, meaning) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("10.0.0.0/0", "0.0.0.0/0"),
            ("10.0.0.1/32", "10.0.0.1"),
            ("10.0.0.1-10.0.0.9", "10.0.0.1-10.0.0.9"),
            ("10.0.0.1-10.0.0.1", "10.0.0.1"),
            ("10.0.0-1.1-254", "10.0.0.1-10.0.0.254 10.0.1.1-10.0.1.254"),
            ("10.0.0.1,5,7-9", "10.0.0.1 10.0.0.5 10.0.0.7-10.0.0.9"),
            ("10.0.0.250-", "10.0.0.250-10.0.0.255"),
            ("10.0.0.*", "10.0.0.0/24"),
            ("10.0,2.0.1/24", "10.0.0.0/24 10.2.0.0/24"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("2001:DB8::7/64", "2001:db8::/64"),
            ("[2001:db8::]/64", "2001:db8::/64"),
            ("[2001:db8::/64]", "2001:db8::/64"),
            ("2001:db8::1-2001:db8::9", "2001:db8::1-2001:db8::9"),
            ("[2001:db8::1]-[2001:db8::9]", "2001:db8::1-2001:db8::9"),
            ("[2001:db8::1-2001:db8::9]", "2001:db8::1-2001:db8::9"),
            ("::ffff:192.0.2.7", "::ffff:192.0.2.7"),
            ("::/0", "::/0"),
            ("192.0.2.1:80", "192.0.2.1 :80"),
            ("192.0.2.1:80,443", "192.0.2.1 :80,443"),
            ("192.0.2.0/24:-", "192.0.2.0/24 :1-65535"),
            ("192.0.2.1-192.0.2.9:8000-8100", "192.0.2.1-192.0.2.9 :8000-8100"),
            ("192.0.2.1,5:22", "192.0.2.1 192.0.2.5 :22"),
            ("[2001:db8::1]:80", "2001:db8::1 :80"),
            ("[2001:db8::]/120:80", "2001:db8::/120 :80"),
            ("[2001:db8::/120]:80", "2001:db8::/120 :80"),
            ("2001:db8::/120:80", "2001:db8::/120 :80"),
            ("[2001:db8::1]-[2001:db8::9]:80", "2001:db8::1-2001:db8::9 :80"),
            ("2001:db8::1:80", "2001:db8::1:80"),
            ("localhost", "name localhost"),
            ("www.example.org.", "name www.example.org."),
            ("a-b_c.example:80-81", "name a-b_c.example :80-81"),
            ("1and1.example", "name 1and1.example"),
            ("3com", "name 3com"),
        ] {
            assert_eq!(shown(token), meaning, "{token}");
        }
    }

    #[test]
    fn rejected() {
        for (token, problem, accepted) in [
            ("300.1.2.3", "octet \"300\" is above 255", "four octets"),
            ("10.0.0.256", "octet \"256\" is above 255", "four octets"),
            ("10.0.0.1/33", "prefix length \"33\" is above 32", "0-32"),
            ("10.0.0.1/", "prefix length \"\" is not a number", "0-32"),
            ("10.0.0.1/255.255.255.0", "prefix length \"255.255.255.0\" is not a number", "0-32"),
            ("10.0.0.1/+8", "prefix length \"+8\" is not a number", "0-32"),
            ("10.0.0.5-1", "octets \"5-1\" run backwards", "four octets"),
            ("5-1", "an IPv4 address has four octets, and this has 1", "four octets"),
            ("1-5", "an IPv4 address has four octets, and this has 1", "four octets"),
            ("10.0.0.9-10.0.0.1", "the range runs backwards", "a range"),
            ("10.0.0.1-10.0.0.9,12", "\"10.0.0.9,12\" is not one address", "a range"),
            ("10.0.0.1-10.0.0", "an IPv4 address has four octets, and this has 3", "four octets"),
            ("3221225985", "a number alone is not an address", "four octets"),
            ("10.0.0", "an IPv4 address has four octets, and this has 3", "four octets"),
            ("10.0.0.0.1", "an IPv4 address has four octets, and this has 5", "four octets"),
            ("10..0.1", "an octet is empty", "four octets"),
            ("10.0.0.1,", "an octet is empty", "four octets"),
            ("010.0.0.1", "octet \"010\" has a leading zero, which some programs read as octal", "four octets"),
            ("0x7f000001", "it ends in a number as an address does, but it is not an address", "an address"),
            ("10.0.0.0x1", "it ends in a number as an address does, but it is not an address", "an address"),
            ("www.example.7", "it ends in a number as an address does, but it is not an address", "an address"),
            ("example.org/24", "a host name takes no prefix length", "an address"),
            ("-example", "it is neither an address nor a host name", "an address"),
            ("exa mple", "it is neither an address nor a host name", "an address"),
            ("http://example.org", "a URL is not a target", "an address"),
            ("bücher.example", "a host name has only ASCII letters; write the name's xn-- form", "an address"),
            ("", "it is neither an address nor a host name", "an address"),
            (":80", "it is neither an address nor a host name", "an address"),
            ("10.0.0.1:", "no port is named", "expected ports"),
            ("10.0.0.1:http", "port \"http\" is not a number", "expected ports"),
            ("10.0.0.1:65536", "port \"65536\" is above 65535", "expected ports"),
            ("2001:db8::g", "\"2001:db8::g\" is not an IPv6 address", "an IPv6 address"),
            ("2001:db8::/129", "prefix length \"129\" is above 128", "0-128"),
            ("2001:db8::9-2001:db8::1", "the range runs backwards", "an IPv6 address"),
            ("2001:db8::1-9", "\"9\" is not an IPv6 address", "an IPv6 address"),
            ("[2001:db8::1", "the brackets do not match", "an IPv6 address"),
            ("[2001:db8::1]80", "the brackets do not match", "an IPv6 address"),
            ("[192.0.2.1]", "\"192.0.2.1\" is not an IPv6 address", "an IPv6 address"),
            ("fe80::1%eth0", "an address with a scope (%eth0) cannot be a target", "--interface"),
            ("[fe80::1%eth-0]:80", "an address with a scope (%eth-0) cannot be a target", "--interface"),
            ("fe80::1%eth0/64", "an address with a scope (%eth0) cannot be a target", "--interface"),
        ] {
            let malformed = parse(token, None).expect_err(token);
            assert_eq!(malformed.problem, problem, "{token}");
            assert!(malformed.accepted.contains(accepted), "{token}: {}", malformed.accepted);
        }
    }

    #[test]
    fn the_short_way_refuses_what_it_does_not_know() {
        for text in [
            "1.2.3",
            "1.2.3.4.",
            "1.2.3.4 ",
            "01.2.3.4",
            "1.2.3.256",
            "1.2.3.4:",
            "1.2.3.4:65536",
            "1.2.3.4:080",
            "[::1]",
            "[::1]:",
            "[::1]:080",
            "fe80::1%1",
            "[fe80::1%1]:80",
            "::1/128",
            "[::1",
            "1.2.3.4:80,81",
            "1.2.3.4-5",
            "1.2.3.9999999999",
            "",
        ] {
            assert_eq!(parse_plain(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_agrees_with_the_long(
            text in "([0-9]{1,3}\\.){3}[0-9]{1,3}(:[0-9]{1,5})?|\\[?([0-9a-f]{0,5}::?){2}[0-9a-f:.%]{0,9}(\\]:[0-9]{1,5})?",
        ) {
            if let Some((address, port)) = parse_plain(text.as_bytes()) {
                let subject = match address {
                    IpAddr::V4(v4) => Subject::V4(Range::single(v4.to_bits())),
                    IpAddr::V6(v6) => Subject::V6(Range::single(v6.to_bits())),
                };
                prop_assert_eq!(parse(&text, None), Ok(Spec { subject, ports: port.map(PortSet::single) }));
            }
        }

        #[test]
        fn every_plain_target_goes_the_short_way(address: IpAddr, port: u16) {
            let socket = std::net::SocketAddr::new(address, port);
            prop_assert_eq!(parse_plain(address.to_string().as_bytes()), Some((address, None)));
            prop_assert_eq!(parse_plain(socket.to_string().as_bytes()), Some((address, Some(port))));
        }

        #[test]
        fn no_text_panics(text in ".*", near in "[0-9a-f.:,/%*\\[\\]-]{0,40}", bytes: Vec<u8>) {
            let _ = (parse(&text, None), parse(&near, FEW), parse_plain(&bytes));
        }
    }
}
