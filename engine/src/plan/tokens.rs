//! Splits a text into target tokens. White space always separates. A comma separates too, unless what follows it goes
//! on with the list before it:
//!
//! - behind ports, another port, port range or name of ports (`192.0.2.1:80,443` is one token, and so is
//!   `192.0.2.1:80,https` where names of ports are known: write a space before a host that is called like one);
//! - in octets, another octet or octet range, as long as both together have no more than four octets
//!   (`192.0.2.1,5,7-9` and `192.0,2.2.1` are one token each, `192.0.2.1,192.0.2.5` is two).
//!
//! Whether a token means anything is left to `grammar`.

use super::grammar::split_ports;
use super::octets::is_octet_text;
use super::port_names::{Names, is_name};

/// The tokens of a text, in their order; empty ones are skipped.
pub(crate) fn tokens(text: &str, names: Names) -> impl Iterator<Item = &str> {
    text.split_whitespace().flat_map(move |word| Tokens { rest: word, names })
}

/// The tokens of one word.
struct Tokens<'a> {
    rest: &'a str,
    names: Names,
}

/// Which list a comma after the token's pieces so far would be in.
enum List {
    Octets { dots: usize },
    Ports,
    Nothing,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let word = self.rest.trim_start_matches(',');
        let mut end = end_of_piece(word, 0);
        let mut list = List::after(&word[..end]);
        while let Some(next) = word[end..].strip_prefix(',') {
            let next_end = end_of_piece(next, 0);
            let Some(longer) = list.go_on(&next[..next_end], self.names) else { break };
            list = longer;
            end += 1 + next_end;
        }
        self.rest = &word[end..];
        (!word.is_empty()).then_some(&word[..end])
    }
}

impl List {
    /// The list that a token's first piece opens.
    fn after(piece: &str) -> List {
        match split_ports(piece).1 {
            Some(_) => List::Ports,
            None if is_octet_text(piece) => List::Octets { dots: dots(piece) },
            None => List::Nothing,
        }
    }

    /// The list with one more piece, if the piece goes on with it.
    fn go_on(&self, piece: &str, names: Names) -> Option<List> {
        match self {
            List::Octets { dots: before } => {
                let octets = piece.split([':', '/']).next().unwrap_or(piece);
                let dots = before + dots(octets);
                let is_next = is_octet_text(octets) && dots <= 3;
                is_next.then(|| if octets == piece { List::Octets { dots } } else { List::after(piece) })
            }
            List::Ports => (is_port_text(piece) || is_known(piece, names)).then_some(List::Ports),
            List::Nothing => None,
        }
    }
}

fn is_port_text(piece: &str) -> bool {
    !piece.is_empty() && piece.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

fn is_known(piece: &str, names: Names) -> bool {
    names.is_some_and(|names| is_name(piece) && names.ports(piece).is_some())
}

fn end_of_piece(text: &str, from: usize) -> usize {
    text[from..].find(',').map_or(text.len(), |comma| from + comma)
}

fn dots(text: &str) -> usize {
    text.bytes().filter(|&byte| byte == b'.').count()
}

#[cfg(test)]
mod tests {
    use super::super::port_names::tests::FEW;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commas_separate_unless_a_list_goes_on() {
        for (text, expected) in [
            ("a b\tc\r\nd", "a|b|c|d"),
            ("a,b,,c,", "a|b|c"),
            (" , ,, ", ""),
            ("192.0.2.1,192.0.2.5", "192.0.2.1|192.0.2.5"),
            ("192.0.2.1,5,7-9", "192.0.2.1,5,7-9"),
            ("192.0.2.1,5,192.0.2.9", "192.0.2.1,5|192.0.2.9"),
            ("192.0,2,4.2.1,3", "192.0,2,4.2.1,3"),
            ("10,11.0.0.1", "10,11.0.0.1"),
            ("192.0.2.1,5:80,443", "192.0.2.1,5:80,443"),
            ("192.0.2.1,5/24,6", "192.0.2.1,5/24|6"),
            ("192.0.2.1:80,443", "192.0.2.1:80,443"),
            ("192.0.2.1:80,443,192.0.2.2:22,www:1-,x", "192.0.2.1:80,443|192.0.2.2:22|www:1-|x"),
            ("192.0.2.0/24:80,443,10.0.0.0/8", "192.0.2.0/24:80,443|10.0.0.0/8"),
            ("10.0.0.1-10.0.0.9,10.0.1.1", "10.0.0.1-10.0.0.9|10.0.1.1"),
            ("[2001:db8::1]:80,443,2001:db8::2,80", "[2001:db8::1]:80,443|2001:db8::2|80"),
            ("www.example.org,10.0.0.1", "www.example.org|10.0.0.1"),
        ] {
            assert_eq!(tokens(text, None).collect::<Vec<_>>().join("|"), expected, "{text}");
        }
    }

    #[test]
    fn names_of_ports_go_on_with_ports() {
        for (text, expected) in [
            ("192.0.2.1:22,http,443,x11", "192.0.2.1:22,http,443,x11"),
            ("192.0.2.1:http-alt,http", "192.0.2.1:http-alt,http"),
            ("192.0.2.1:22,www.example.org", "192.0.2.1:22|www.example.org"),
            ("192.0.2.1:22,htp", "192.0.2.1:22|htp"),
            ("192.0.2.1:22 http", "192.0.2.1:22|http"),
            ("192.0.2.1,http", "192.0.2.1|http"),
            ("[2001:db8::1]:http,x11", "[2001:db8::1]:http,x11"),
        ] {
            assert_eq!(tokens(text, FEW).collect::<Vec<_>>().join("|"), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn only_separators_are_lost(text in "[0-9a.:,/ \\[\\]-]{0,60}|.*") {
            let kept: String = tokens(&text, FEW).collect();
            let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace() && *c != ',').collect::<String>();
            prop_assert_eq!(solid(&kept), solid(&text));
        }
    }
}
