//! `data/ranking.txt`: ports and ranges of ports, best first. A port keeps the place where it stood first.

use std::collections::HashSet;
use std::ops::RangeInclusive;

/// `RANKING` as code.
pub(crate) fn table(text: &str) -> String {
    let mut seen = HashSet::new();
    let words = text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
    let ports: Vec<u16> = words.flat_map(ports).filter(|&port| seen.insert(port)).collect();
    format!("static RANKING: [u16; {}] = {ports:?};\n", ports.len())
}

fn ports(word: &str) -> RangeInclusive<u16> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let port = |text: &str| text.parse().unwrap_or_else(|_| panic!("ranking.txt: {word:?} is no port"));
    port(first)..=port(last)
}
