//! What a page is about, when there are several files: scans of different targets, or shards of one scan, are parts of a
//! whole and shown together; scans of the same targets follow each other in time: the page is about the last, and what
//! has changed since the first.

use std::collections::BTreeSet;

use halfopen_results::Scan;
use halfopen_results::record::{Header, Summary};
use jiff::Timestamp;

/// A file and the scan in it.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its name, as it is shown.
    pub file: &'a str,
    /// What was read from it.
    pub scan: &'a Scan,
}

/// The scans of a page.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    /// All of them, the earliest first.
    sources: Vec<Source<'a>>,
    /// Whether they are parts of a whole.
    whole: bool,
}

impl<'a> Subject<'a> {
    /// Sorts them by time and looks whether they overlap.
    pub(crate) fn of(sources: &[Source<'a>]) -> Subject<'a> {
        let mut sources = sources.to_vec();
        sources.sort_by_key(|source| started(source.scan));
        let pairs = (0..sources.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
        let whole = pairs.into_iter().all(|(one, other)| are_apart(sources[one].scan, sources[other].scan));
        Subject { sources, whole }
    }

    /// The scans that the page is about.
    pub(crate) fn sources(&self) -> &[Source<'a>] {
        if self.whole { &self.sources } else { &self.sources[self.sources.len() - 1..] }
    }

    /// The same without the names of their files.
    pub(crate) fn scans(&self) -> Vec<&'a Scan> {
        self.sources().iter().map(|source| source.scan).collect()
    }

    /// All scans in the order of time, where they follow each other.
    pub(crate) fn sequence(&self) -> Option<&[Source<'a>]> {
        (!self.whole).then_some(&self.sources)
    }

    /// The headers that there are.
    pub(crate) fn headers(&self) -> impl Iterator<Item = &'a Header> {
        self.sources().iter().filter_map(|source| source.scan.header.as_ref())
    }

    /// The accounts that there are.
    pub(crate) fn summaries(&self) -> impl Iterator<Item = &'a Summary> {
        self.sources().iter().filter_map(|source| source.scan.summary.as_ref())
    }

    /// Whether each of the scans has an account: then sums over them are true.
    pub(crate) fn is_accounted(&self) -> bool {
        self.sources().iter().all(|source| source.scan.summary.is_some())
    }
}

/// When a scan began, as far as it says.
pub(crate) fn started(scan: &Scan) -> Option<Timestamp> {
    let said =
        scan.header.as_ref().map(|header| header.started).or(scan.summary.as_ref().map(|summary| summary.started));
    said.filter(|&time| time > Timestamp::UNIX_EPOCH)
}

/// Whether no target can be in both.
fn are_apart(one: &Scan, other: &Scan) -> bool {
    match (&one.header, &other.header) {
        (Some(a), Some(b)) if !a.coverage.is_empty() && !b.coverage.is_empty() => {
            a.coverage.intersection(&b.coverage).is_empty()
        }
        _ => found(one).is_disjoint(&found(other)),
    }
}

/// What a scan without a plan tells of: its findings.
fn found(scan: &Scan) -> BTreeSet<(std::net::IpAddr, u16)> {
    scan.hosts.iter().flat_map(|(&address, host)| host.ports.keys().map(move |&port| (address, port))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use halfopen_results::record::{Record, State};

    use super::*;
    use crate::samples;

    /// A scan that began so many days after the first, of these addresses, with an open port 22 at the given one.
    fn scan(days: u64, addresses: &str, open: &str, shard: Option<&str>) -> Scan {
        let ports = Arc::new("22".parse().unwrap());
        let header = Header {
            started: samples::started() + Duration::from_secs(days * 86_400),
            coverage: [(addresses.parse().unwrap(), ports)].into_iter().collect(),
            shard: shard.map(Into::into),
            ..samples::header()
        };
        samples::scan([Record::Scan(Box::new(header)), samples::verdict(open, 22, State::Open, 5)])
    }

    fn files<'a>(scans: &'a [(&'a str, Scan)]) -> (Vec<&'a str>, bool) {
        let sources: Vec<Source<'a>> = scans.iter().map(|(file, scan)| Source { file, scan }).collect();
        let subject = Subject::of(&sources);
        (subject.sources().iter().map(|source| source.file).collect(), subject.sequence().is_some())
    }

    #[test]
    fn different_targets_are_parts_of_a_whole() {
        let scans =
            [("b", scan(1, "192.0.2.0/25", "192.0.2.1", None)), ("a", scan(0, "192.0.2.128/25", "192.0.2.129", None))];
        assert_eq!(files(&scans), (vec!["a", "b"], false));
    }

    #[test]
    fn so_are_shards_of_one_scan() {
        let half = |shard, addresses, open| scan(0, addresses, open, Some(shard));
        let [one, again] = [(); 2].map(|()| half("1/2", "192.0.2.0/25", "192.0.2.1"));
        let scans = [("1", one), ("2", half("2/2", "192.0.2.128/25", "192.0.2.200"))];
        assert_eq!(files(&scans), (vec!["1", "2"], false));
        let [(_, one), _] = scans;
        let scans = [("1", one), ("again", again)];
        assert!(files(&scans).1, "the same shard twice");
    }

    #[test]
    fn the_same_targets_follow_each_other() {
        let at = |days| scan(days, "192.0.2.0/24", "192.0.2.1", None);
        let scans = [("tuesday", at(2)), ("sunday", at(0)), ("monday", at(1))];
        assert_eq!(files(&scans), (vec!["tuesday"], true));
    }

    #[test]
    fn without_a_plan_findings_decide() {
        let list = |address| samples::scan([samples::verdict(address, 22, State::Open, 0)]);
        assert!(!files(&[("a", list("192.0.2.1")), ("b", list("192.0.2.2"))]).1);
        assert!(files(&[("a", list("192.0.2.1")), ("b", list("192.0.2.1"))]).1);
    }
}
