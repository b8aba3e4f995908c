//! What changed from the first of several scans to the last: ports that opened, and ports that are no longer open. What is a
//! change and what is unknown is for `halfopen_results::diff`.

use std::net::IpAddr;

use halfopen_results::diff::{Change, Difference, HostChange, PortChange, UpOrDown};
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
    pub(crate) before: String,
    pub(crate) after: String,
}

const MOST: usize = 500;
const MOST_SCANS: usize = 100;

impl Changes {
    pub(super) fn of(subject: &Subject<'_>) -> Option<Changes> {
        let scans = subject.sequence()?;
        let (first, last) = (scans.first()?.scan, scans.last()?.scan);
        let difference = Difference::between(first, last);
        let rows = rows(&difference);
        Some(Changes {
            sentences: sentences(&rows, &difference),
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

fn sentences(rows: &[Row], difference: &Difference) -> Vec<String> {
    let opened = rows.iter().filter(|row| row.after == State::Open.name()).count() as u64;
    let closed = rows.len() as u64 - opened;
    let changed = match (opened, closed) {
        (0, 0) => "No port has opened, and none that was open is gone.".into(),
        _ => format!("Since the first scan {} opened, and {} no longer open.", counted(opened, "port"), are(closed)),
    };
    let compared = "Compared is what both the first and the last scan covered.".into();
    [changed, compared].into_iter().chain(unknown(difference)).collect()
}

fn are(ports: u64) -> String {
    format!("{} {}", counted(ports, "port"), if ports == 1 { "is" } else { "are" })
}

/// What could not be compared.
fn unknown(difference: &Difference) -> Option<String> {
    let findings = difference.unknown_in_a + difference.unknown_in_b;
    let left_out = || format!("Left out: {} of which only one of the two says anything.", counted(findings, "port"));
    (findings > 0).then(left_out)
}

/// What opened and what is not open any more, in the order of addresses and ports.
fn rows(difference: &Difference) -> Vec<Row> {
    difference.hosts.iter().flat_map(of_host).collect()
}

fn of_host(host: &HostChange) -> Vec<Row> {
    let row =
        |port, before: String, after: String| Row { address: host.address, port: advice::label(port), before, after };
    let of_port = |port: &PortChange| row(port.port, either(&port.before), either(&port.after));
    let ports = host.ports.iter().filter(|port| port.change != Change::Changed).map(of_port);
    let (open, down) = (|| State::Open.name().to_owned(), || "host down".to_owned());
    let of_host = |it: &UpOrDown| match it.change {
        Change::Gone => it.open.iter().map(|&port| row(port, open(), down())).collect::<Vec<_>>(),
        _ => it.open.iter().map(|&port| row(port, down(), open())).collect(),
    };
    host.host.iter().flat_map(of_host).chain(ports).collect()
}

/// `closed or filtered`: a state that was not shown is one of several.
fn either(states: &[State]) -> String {
    let names: Vec<_> = states.iter().map(|state| state.name()).collect();
    names.join(" or ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use halfopen_results::Scan;
    use halfopen_results::record::{Header, HostDown, Record, Settings, Show, Summary};

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
        assert_eq!(
            shown(&changes),
            ["192.0.2.9 23 telnet: open to closed or filtered", "192.0.2.10 25 smtp: closed or filtered to open"]
        );
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
        let changes = changes(&first, &last);
        assert!(changes.rows.is_empty());
        assert_eq!(changes.sentences[2], "Left out: 1 port of which only one of the two says anything.");
    }

    #[test]
    fn open_ports_go_with_their_host() {
        let (first, mut last) = (scan(0, "complete", &[("192.0.2.9", 23)]), scan(1, "complete", &[]));
        last.add(Record::HostDown(HostDown { address: "192.0.2.9".parse().unwrap(), reason: "no-arp".into() }));
        assert_eq!(shown(&changes(&first, &last)), ["192.0.2.9 23 telnet: open to host down"]);
    }

    #[test]
    fn what_was_not_covered_is_not_compared() {
        let (first, last) = (scan(0, "complete", &[("192.0.2.9", 80)]), scan(1, "complete", &[("10.0.0.1", 22)]));
        assert!(changes(&first, &last).rows.is_empty());
    }
}
