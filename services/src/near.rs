//! Which name was meant by one that is not there.

use crate::registry::registry;
use crate::service::services;

/// How many are worth reading.
const FEW: usize = 3;

/// The names of services that are nearest to a word, at most three of the same distance. Services that matter come before
/// those that only the registry knows.
pub fn near(word: &str) -> Vec<&'static str> {
    let word = word.to_ascii_lowercase();
    let mut found: Vec<_> = names()
        .filter_map(|(rank, name)| Some((distance(&word, name)?, !begins_alike(&word, name), rank, name)))
        .collect();
    found.sort_unstable();
    let least = found.first().map(|&(edits, ..)| edits);
    found.retain(|&(edits, ..)| Some(edits) == least);
    let mut nearest: Vec<&str> = Vec::new();
    for (.., name) in found {
        if nearest.len() < FEW && !nearest.contains(&name) {
            nearest.push(name);
        }
    }
    nearest
}

fn names() -> impl Iterator<Item = (u8, &'static str)> {
    let own = services()
        .iter()
        .flat_map(|service| [(0, service.name)].into_iter().chain(service.aliases.iter().map(|&alias| (1, alias))));
    own.chain(registry().map(|entry| (2, entry.name)))
}

/// The first letter is rarely the wrong one.
fn begins_alike(word: &str, name: &str) -> bool {
    word.bytes().next().is_some_and(|first| name.bytes().next().is_some_and(|other| first.eq_ignore_ascii_case(&other)))
}

/// How many letters were left out, put in, changed or swapped; none if so many that something else was meant.
fn distance(word: &str, name: &str) -> Option<usize> {
    let most = word.len() / 3 + usize::from(word.len() < 3);
    if word.len().abs_diff(name.len()) > most {
        return None;
    }
    Some(edits(word.as_bytes(), name.to_ascii_lowercase().as_bytes())).filter(|&edits| edits <= most)
}

/// Damerau's distance in its restricted form, row by row.
fn edits(word: &[u8], name: &[u8]) -> usize {
    let mut before = Vec::new();
    let mut row: Vec<usize> = (0..=name.len()).collect();
    for (at, &letter) in word.iter().enumerate() {
        let mut next = vec![at + 1];
        for (place, &other) in name.iter().enumerate() {
            let change = row[place] + usize::from(letter != other);
            let mut least = change.min(row[place + 1] + 1).min(next[place] + 1);
            if at > 0 && place > 0 && letter == name[place - 1] && word[at - 1] == other {
                let swapped: &Vec<usize> = &before;
                least = least.min(swapped[place - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger() {
        for (word, meant) in [
            ("htp", "http"),
            ("htpps", "https"),
            ("telent", "telnet"),
            ("postgers", "postgres"),
            ("mysq", "mysql"),
            ("SHS", "ssh"),
            ("kubernets", "kubernetes"),
            ("mongdb", "mongodb"),
        ] {
            assert_eq!(near(word).first(), Some(&meant), "{word}: {:?}", near(word));
        }
    }

    #[test]
    fn few_and_each_once() {
        let names = near("http");
        assert!(names.len() <= FEW && names.first() == Some(&"http"));
        assert!(names.iter().enumerate().all(|(at, name)| !names[..at].contains(name)), "{names:?}");
        assert_eq!(near("qqqqqqqqqqqq"), [""; 0]);
        assert_eq!(near(""), [""; 0]);
        assert_eq!(near(&"x".repeat(10_000)), [""; 0]);
    }

    #[test]
    fn distances() {
        for (one, other, far) in
            [("", "", 0), ("ab", "ba", 1), ("abc", "abc", 0), ("abc", "", 3), ("abcd", "acbd", 1), ("ftp", "sftp", 1)]
        {
            assert_eq!(edits(one.as_bytes(), other.as_bytes()), far, "{one} {other}");
            assert_eq!(edits(other.as_bytes(), one.as_bytes()), far, "{other} {one}");
        }
    }
}
