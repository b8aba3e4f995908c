//! What a scan and the process that runs its commands say to one another: a JSON object a line, orders one way, words the other.
//! What a command has printed follows its word as it is, because it may be anything.

use std::io::{self, BufRead, Read, Write};
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use halfopen_results::Coverage;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::job::{End, Ended};
use super::{Host, Hurry};

/// What may be run, and how: settled before any packet is read, and never again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Setup {
    /// The template, as it was typed.
    pub(super) command: String,
    pub(super) jobs: NonZeroU8,
    pub(super) timeout: Option<Duration>,
    /// What the scan is about; none where that is not known yet.
    pub(super) targets: Option<Coverage>,
}

/// What the runner is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Order {
    /// The commands for this host, once it is time.
    Host(Host),
    /// It is time.
    Run,
    /// They are to end.
    Hurry(Hurry),
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Word {
    /// A command has ended; so many bytes follow, which it has printed.
    Ended(Told),
    /// Nothing was run.
    Refused(String),
}

/// [`Ended`], without what it printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    address: IpAddr,
    ports: Vec<u16>,
    words: Vec<String>,
    end: End,
    elapsed: Duration,
    printed: u64,
}

/// A host with all of its ports is shorter than that, and so is a word about it.
const LONGEST_LINE: u64 = 2 << 20;
/// A plan may be a list of single addresses.
const LONGEST_SETUP: u64 = 1 << 30;

impl Setup {
    /// The first line; none where nobody came to say it.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Setup>> {
        read_line(from, LONGEST_SETUP)
    }
}

impl Order {
    /// The next one; none when nobody is there to give one.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Order>> {
        read_line(from, LONGEST_LINE)
    }
}

/// That a command has ended, with what it printed.
pub(super) fn tell(to: &mut impl Write, ended: &Ended) -> io::Result<()> {
    let Ended { address, ports, words, end, printed, elapsed } = ended.clone();
    let length = printed.len() as u64;
    send(to, &Word::Ended(Told { address, ports, words, end, elapsed, printed: length }))?;
    to.write_all(&printed)?;
    to.flush()
}

/// The next command that has ended; none when there are no more. The error says why there should have been more.
pub(super) fn hear(from: &mut impl BufRead) -> io::Result<Option<Ended>> {
    match read_line(from, u64::MAX)? {
        None => Ok(None),
        Some(Word::Refused(why)) => Err(io::Error::other(why)),
        Some(Word::Ended(Told { address, ports, words, end, elapsed, printed: length })) => {
            let mut printed = Vec::new();
            match from.take(length).read_to_end(&mut printed)? as u64 {
                read if read < length => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(Some(Ended { address, ports, words, end, printed, elapsed })),
            }
        }
    }
}

/// Writes one line.
pub(super) fn send(to: &mut impl Write, what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

fn read_line<T: DeserializeOwned>(from: &mut impl BufRead, longest: u64) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    from.take(longest).read_until(b'\n', &mut line)?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(serde_json::from_slice(&line)?)),
        // Cut off where somebody died, or longer than anything that is meant.
        Some(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(printed: &[u8]) -> Ended {
        Ended {
            address: "192.0.2.7".parse().unwrap(),
            ports: vec![22, 80],
            words: vec!["echo".into(), "a b".into()],
            end: End::Signal(9),
            printed: printed.into(),
            elapsed: Duration::from_millis(1_500),
        }
    }

    #[test]
    fn what_is_said_is_what_is_heard() {
        let all = [ended(b"a\nb\xff"), ended(b""), ended(b"{\"ended\":\n\n")];
        let mut said = Vec::new();
        all.iter().for_each(|ended| tell(&mut said, ended).unwrap());
        let mut from = &said[..];
        let heard: Vec<_> = std::iter::from_fn(|| hear(&mut from).unwrap()).collect();
        assert_eq!(heard, all);
        let mut cut = &said[..said.len() - 1];
        assert!(hear(&mut cut).is_ok() && hear(&mut cut).is_ok() && hear(&mut cut).is_err());
    }

    #[test]
    fn orders_as_lines_and_back() {
        let host = Host { address: "2001:db8::7".parse().unwrap(), ports: vec![1, 65_535] };
        let orders = [Order::Host(host), Order::Run, Order::Hurry(Hurry::Soon)];
        let mut said = Vec::new();
        orders.iter().for_each(|order| send(&mut said, order).unwrap());
        let mut from = &said[..];
        let heard: Vec<_> = std::iter::from_fn(|| Order::read(&mut from).unwrap()).collect();
        assert_eq!(heard, orders);
    }

    #[test]
    fn strange_orders_are_none() {
        for text in
            ["{}\n", "{\"run\":\"sh\"}\n", "\"run\"", "{\"host\":{\"address\":\"example.org\",\"ports\":[1]}}\n"]
        {
            assert!(Order::read(&mut text.as_bytes()).is_err(), "{text}");
        }
        assert!(Order::read(&mut &b" ".repeat(3 << 20)[..]).is_err());
    }
}
