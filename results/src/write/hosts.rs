//! What nmap's two forms share: a scan by host, how many hosts are up, and in which words nmap says it.

use std::io;

use jiff::{SignedDuration, Timestamp};

use crate::coverage::Ports;
use crate::record::{Record, State, Summary};
use crate::scan::{Host, Scan};
use crate::time::asctime;

/// A scan on its way into one of nmap's forms.
pub(super) struct Told {
    pub(super) scan: Scan,
}

impl Told {
    pub(super) fn new(records: &mut dyn Iterator<Item = io::Result<Record>>) -> io::Result<Told> {
        Ok(Told { scan: Scan::from_records(records)? })
    }

    pub(super) fn version(&self) -> &str {
        self.scan.header.as_ref().map_or("", |header| &header.version)
    }

    /// The command line; nobody pastes it, so words with spaces are not quoted.
    pub(super) fn command(&self) -> String {
        self.scan.header.as_ref().map(|header| header.command.join(" ")).unwrap_or_default()
    }

    pub(super) fn started(&self) -> Timestamp {
        self.scan.header.as_ref().map(|header| header.started).unwrap_or_default()
    }

    /// When it ended, as far as that is known: an account has the time that was spent, in which the pause before a resumption does not
    /// count, so that the last answer may be later; without an account there is nothing else to go by.
    pub(super) fn ended(&self) -> Timestamp {
        let verdicts = self.scan.hosts.values().flat_map(|host| host.ports.values());
        let last = verdicts.map(|verdict| verdict.time).max().unwrap_or_default();
        let counted = |summary: &Summary| summary.started.checked_add(elapsed(summary)).unwrap_or_default();
        last.max(self.scan.summary.as_ref().map_or_else(|| self.started(), counted))
    }

    /// In seconds.
    pub(super) fn elapsed(&self) -> f64 {
        let micros = self.ended().as_microsecond() - self.started().as_microsecond();
        self.scan.summary.as_ref().map_or(micros as f64, |summary| summary.elapsed_us as f64) / 1e6
    }

    /// Every port that was asked of any host; where there is no plan, those that are told of.
    pub(super) fn ports(&self) -> Ports {
        match self.scan.plan() {
            Some(plan) => plan.all_ports(),
            None => self.scan.hosts.values().flat_map(|host| host.ports.keys()).map(|&port| (port, port)).collect(),
        }
    }

    /// Hosts that are up, down, and all of them.
    pub(super) fn tally(&self) -> (u64, u64, u64) {
        let total = self.scan.header.as_ref().map_or(self.scan.hosts.len() as u64, |header| header.hosts);
        let told = self.scan.hosts.values().filter(|host| host.down.is_some()).count() as u64;
        let down = self.scan.summary.as_ref().map_or(told, down);
        (total.saturating_sub(down), down, total)
    }

    /// Whether it was interrupted: it has an account, but of less than was planned.
    pub(super) fn is_stopped(&self) -> bool {
        self.scan.summary.as_ref().is_some_and(|summary| summary.outcome == "stopped")
    }

    /// Why the scan is not whole.
    pub(super) fn trouble(&self) -> Option<String> {
        let stopped = self.scan.summary.as_ref().filter(|_| self.is_stopped()).map(|summary| {
            let (missing, targets) = (summary.counts.unclassified, summary.targets);
            format!("stopped before its end: {missing} of {targets} targets have no verdict")
        });
        self.scan.error.clone().or(stopped)
    }

    /// `done at Tue Nov 14 22:13:26 2023`.
    pub(super) fn end(&self) -> String {
        let how = if self.is_stopped() { "stopped" } else { "done" };
        format!("{how} at {}", self.ended_text())
    }

    /// `1 IP address (1 host up) scanned in 0.02 seconds`.
    pub(super) fn account(&self) -> String {
        let (up, _, total) = self.tally();
        let addresses = if total == 1 { "address" } else { "addresses" };
        let hosts = if up == 1 { "host" } else { "hosts" };
        format!("{total} IP {addresses} ({up} {hosts} up) scanned in {:.2} seconds", self.elapsed())
    }

    pub(super) fn started_text(&self) -> String {
        asctime(self.started())
    }

    pub(super) fn ended_text(&self) -> String {
        asctime(self.ended())
    }
}

fn elapsed(summary: &Summary) -> SignedDuration {
    SignedDuration::from_micros(i64::try_from(summary.elapsed_us).unwrap_or(i64::MAX))
}

fn down(summary: &Summary) -> u64 {
    summary.hosts_down + summary.discovery.as_ref().map_or(0, |found| found.skipped_hosts)
}

/// The ports of a host in a state that are not listed.
pub(super) struct Extra<'a> {
    pub(super) state: State,
    pub(super) count: u32,
    /// How many for each reason.
    pub(super) reasons: Vec<(&'a str, u32)>,
}

impl Host {
    /// The ports that are not listed, by state; most first.
    pub(super) fn extra(&self) -> Vec<Extra<'_>> {
        let of = |state: State| {
            let rest = self.rest.iter().filter(|rest| rest.state == state && rest.count > 0);
            let reasons: Vec<_> = rest.map(|rest| (&*rest.reason, rest.count)).collect();
            Extra { state, count: reasons.iter().map(|(_, count)| count).sum(), reasons }
        };
        let mut extra: Vec<_> = State::ALL.map(of).into_iter().filter(|extra| extra.count > 0).collect();
        extra.sort_by_key(|extra| std::cmp::Reverse(extra.count));
        extra
    }
}

/// The name of a reason in nmap's words.
pub(crate) fn nmap_reason(reason: &str) -> &str {
    match reason {
        "rst" => "reset",
        "" => "unknown",
        other => other,
    }
}
