//! What changed from the first of several scans to the last: ports that opened, and ports that are no longer open. Only
//! targets that both scans covered are compared: what was not probed may be anything.

use std::collections::BTreeSet;
use std::net::IpAddr;

use halfopen_results::Scan;
use halfopen_results::record::State;

use super::left_out;
use crate::advice;
use crate::subject::{Source, Subject, started};
use crate::tally::Tally;
use crate::text::{count, counted, foreign, moment};

/// The scans, and what is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) sentences: Vec<String>,
    pub(crate) scans: Vec<ScanRow>,
    pub(crate) more_scans: Option<String>,
    pub(crate) rows: Vec<Row>,
    pub(crate) more: Option<String>,
}

/// One of the scans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScanRow {
    pub(crate) started: String,
    pub(crate) file: String,
    pub(crate) hosts: String,
    pub(crate) open: String,
}

/// A port that is open in one of the two scans only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) address: IpAddr,
    pub(crate) port: String,
    pub(crate) before: &'static str,
    pub(crate) after: &'static str,
}

const MOST: usize = 500;
const MOST_SCANS: usize = 100;

impl Changes {
    pub(super) fn of(subject: &Subject<'_>) -> Option<Changes> {
        let scans = subject.sequence()?;
        let (first, last) = (scans.first()?.scan, scans.last()?.scan);
        let rows = rows(first, last);
        Some(Changes {
            sentences: sentences(&rows),
            scans: scans.iter().take(MOST_SCANS).map(ScanRow::of).collect(),
            more_scans: left_out(scans.len(), MOST_SCANS, "scans"),
            more: left_out(rows.len(), MOST, "changes"),
            rows: rows.into_iter().take(MOST).collect(),
        })
    }
}

impl ScanRow {
    fn of(source: &Source<'_>) -> ScanRow {
        let tally = Tally::of(&[source.scan]);
        ScanRow {
            started: started(source.scan).map_or("not known".into(), moment),
            file: foreign(source.file),
            hosts: count(tally.hosts_with_open()),
            open: count(tally.trusted()),
        }
    }
}

fn sentences(rows: &[Row]) -> Vec<String> {
    let opened = rows.iter().filter(|row| row.after == State::Open.name()).count() as u64;
    let closed = rows.len() as u64 - opened;
    let changed = match (opened, closed) {
        (0, 0) => "No port has opened, and none that was open is gone.".into(),
        _ => format!("Since the first scan {} opened, and {} no longer open.", counted(opened, "port"), are(closed)),
    };
    vec![changed, "Compared is what both the first and the last scan covered.".into()]
}

fn are(ports: u64) -> String {
    format!("{} {}", counted(ports, "port"), if ports == 1 { "is" } else { "are" })
}

/// In the order of addresses and ports.
fn rows(first: &Scan, last: &Scan) -> Vec<Row> {
    let targets: BTreeSet<(IpAddr, u16)> = open(first).chain(open(last)).collect();
    let row = |&(address, port): &(IpAddr, u16)| {
        let (before, after) = (state(first, address, port)?, state(last, address, port)?);
        (before != after).then(|| Row { address, port: advice::label(port), before, after })
    };
    targets.iter().filter_map(row).collect()
}

fn open(scan: &Scan) -> impl Iterator<Item = (IpAddr, u16)> {
    let of = |(&address, host): (&IpAddr, &halfopen_results::scan::Host)| {
        let open = host.ports.values().filter(|verdict| verdict.state == State::Open);
        open.map(|verdict| (address, verdict.port)).collect::<Vec<_>>()
    };
    scan.hosts.iter().flat_map(of)
}

/// What a scan says of a target. One that was covered and is not in the file is not open, where the file has all open ones.
fn state(scan: &Scan, address: IpAddr, port: u16) -> Option<&'static str> {
    let verdict = scan.hosts.get(&address).and_then(|host| host.ports.get(&port));
    verdict
        .map(|verdict| verdict.state.name())
        .or_else(|| (has_all_open(scan) && covers(scan, address, port)).then_some("not open"))
}

fn has_all_open(scan: &Scan) -> bool {
    let settings = scan.header.as_ref().map(|header| &header.settings);
    let ended = scan.summary.as_ref().is_some_and(|summary| summary.outcome == "complete");
    ended && settings.is_some_and(|settings| settings.show.open && settings.filter.is_none() && !settings.hide_suspect)
}

fn covers(scan: &Scan, address: IpAddr, port: u16) -> bool {
    let planned = scan.plan().is_some_and(|plan| plan.contains(address, port));
    planned && !scan.summary.as_ref().is_some_and(|summary| summary.unprobed.contains(address))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use halfopen_results::record::{Header, Record, Settings, Show, Summary};

    use super::*;
    use crate::samples;

    /// A scan of ports 22 to 25 of a /24, that shows open ports only.
    fn scan(day: u64, outcome: &'static str, open: &[(&str, u16)]) -> Scan {
        let started = samples::started() + Duration::from_secs(86_400 * day);
        let settings = Settings { show: Show::OPEN, ..Settings::default() };
        let coverage = [("192.0.2.0/24".parse().unwrap(), Arc::new("22-25".parse().unwrap()))].into_iter().collect();
        let header = Header { started, settings, coverage, ..Header::default() };
        let summary = Summary { started, outcome: outcome.into(), ..Summary::default() };
        let found = open.iter().map(|&(address, port)| samples::verdict(address, port, State::Open, 0));
        samples::scan([Record::Scan(Box::new(header)), Record::Summary(Box::new(summary))].into_iter().chain(found))
    }

    fn changes(first: &Scan, last: &Scan) -> Changes {
        let sources = [Source { file: "b", scan: last }, Source { file: "a", scan: first }];
        Changes::of(&Subject::of(&sources)).expect("they follow each other")
    }

    fn shown(changes: &Changes) -> Vec<String> {
        changes
            .rows
            .iter()
            .map(|row| format!("{} {}: {} to {}", row.address, row.port, row.before, row.after))
            .collect()
    }

    #[test]
    fn ports_open_and_close() {
        let first = scan(0, "complete", &[("192.0.2.1", 22), ("192.0.2.9", 23)]);
        let last = scan(1, "complete", &[("192.0.2.1", 22), ("192.0.2.10", 25)]);
        let changes = changes(&first, &last);
        assert_eq!(shown(&changes), ["192.0.2.9 23 telnet: open to not open", "192.0.2.10 25 smtp: not open to open"]);
        assert_eq!(changes.sentences[0], "Since the first scan 1 port opened, and 1 port is no longer open.");
        let scans: Vec<_> = changes.scans.iter().map(|row| (row.file.as_str(), row.open.as_str())).collect();
        assert_eq!(scans, [("a", "2"), ("b", "2")]);
    }

    #[test]
    fn nothing_changed() {
        let [first, last] = [0, 1].map(|day| scan(day, "complete", &[("192.0.2.1", 22)]));
        let changes = changes(&first, &last);
        assert!(changes.rows.is_empty() && changes.sentences[0].starts_with("No port has opened"));
    }

    /// What a scan that was stopped does not list, it may not have reached.
    #[test]
    fn silence_of_a_stopped_scan_says_nothing() {
        let (first, last) = (scan(0, "complete", &[("192.0.2.9", 23)]), scan(1, "stopped", &[]));
        assert!(changes(&first, &last).rows.is_empty());
    }

    #[test]
    fn what_was_not_covered_is_not_compared() {
        let (first, last) = (scan(0, "complete", &[("192.0.2.9", 80)]), scan(1, "complete", &[("10.0.0.1", 22)]));
        assert!(changes(&first, &last).rows.is_empty());
    }
}
