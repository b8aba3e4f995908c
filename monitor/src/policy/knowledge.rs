//! What is known of ports, from whatever source: a scan, or the monitor's history. What was not asked, and what nobody can
//! tell, is not known; to be closed because nothing was heard of it is nobody's fate here.

use std::collections::BTreeSet;
use std::net::IpAddr;

use halfopen_results::coverage::Ports;
use halfopen_results::diff::View;
use halfopen_results::record::State;
use halfopen_results::scan::Host;
use halfopen_results::{Coverage, Scan};

use super::expectation::Possible;
use crate::store::{Known as Remembered, KnownHost};

/// What is known of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It is in one of these states; at least one.
    May(Possible),
    /// The host does not answer.
    Down,
    /// It was not asked.
    Uncovered,
    /// Something speaks against what was heard.
    Suspect,
}

/// A source of knowledge.
pub trait Knowledge {
    /// What is known of ports of a host: for all of them, in runs that are ascending and apart.
    fn runs(&self, host: IpAddr, ports: &Ports) -> Vec<(u16, u16, Known)>;
}

impl Known {
    /// What it may be; of what is not known, nothing.
    pub fn possible(self) -> Possible {
        match self {
            Known::May(possible) => possible,
            _ => Possible::default(),
        }
    }

    /// Why nothing is known, in words.
    pub fn unknown(self) -> Option<&'static str> {
        match self {
            Known::May(_) => None,
            Known::Down => Some("the host is down"),
            Known::Uncovered => Some("it was not probed"),
            Known::Suspect => Some("the host's answers are suspect"),
        }
    }
}

/// What a scan found out.
#[derive(Debug)]
pub struct OfScan<'a> {
    scan: &'a Scan,
    view: View<'a>,
    plan: Coverage,
}

impl<'a> OfScan<'a> {
    /// Of a scan.
    pub fn new(scan: &'a Scan) -> OfScan<'a> {
        OfScan { scan, view: View::new(scan), plan: scan.plan().cloned().unwrap_or_default() }
    }

    fn at(&self, address: IpAddr, port: u16) -> Known {
        let host = self.scan.hosts.get(&address);
        let found = host.and_then(|host| host.ports.get(&port));
        if let (Some(host), Some(verdict)) = (host, found) {
            let doubtful = verdict.suspect.is_some() || host.suspect.is_some() && verdict.state == State::Open;
            return if doubtful { Known::Suspect } else { Known::May(verdict.state.into()) };
        }
        // A list without its plan says what was found, and not what was asked.
        let asked = self.plan.contains(address, port);
        match self.view.states(address, port).into_iter().collect::<Possible>() {
            _ if self.is_down(address, host) => Known::Down,
            possible if asked && !possible.is_empty() => Known::May(possible),
            _ => Known::Uncovered,
        }
    }

    fn is_down(&self, address: IpAddr, host: Option<&Host>) -> bool {
        let skipped = self.scan.summary.as_ref().is_some_and(|summary| summary.unprobed.contains(address));
        host.is_some_and(|host| host.down.is_some()) || skipped && self.plan.ports(address).is_some()
    }
}

impl Knowledge for OfScan<'_> {
    fn runs(&self, host: IpAddr, ports: &Ports) -> Vec<(u16, u16, Known)> {
        let found: Vec<u16> =
            self.scan.hosts.get(&host).into_iter().flat_map(|host| host.ports.keys().copied()).collect();
        let asked = self.plan.ports(host).into_iter().flat_map(|ports| ports.runs().iter().copied());
        runs(ports, found.into_iter().map(|port| (port, port)).chain(asked), |port| self.at(host, port))
    }
}

/// What the monitor's history says is so now, where its scans look.
#[derive(Debug)]
pub struct OfHistory {
    known: Remembered,
    asked: Vec<Coverage>,
}

impl OfHistory {
    /// Of what is known, and of what each group's last complete scan was about.
    pub fn new(known: Remembered, asked: impl IntoIterator<Item = Coverage>) -> OfHistory {
        OfHistory { known, asked: asked.into_iter().collect() }
    }

    fn at(&self, host: Option<&KnownHost>, address: IpAddr, port: u16) -> Known {
        if !self.asked.iter().any(|asked| asked.contains(address, port)) {
            return Known::Uncovered;
        }
        match host {
            Some(host) if host.up => {
                host.tcp.at(port).map_or(Known::Uncovered, |run| Known::May(run.fact.state.into()))
            }
            // One that was never heard of is not known to be there.
            _ => Known::Down,
        }
    }
}

impl Knowledge for OfHistory {
    fn runs(&self, address: IpAddr, ports: &Ports) -> Vec<(u16, u16, Known)> {
        let host = self.known.get(&address);
        let known = host.into_iter().flat_map(|host| host.tcp.runs()).map(|run| (run.first, run.last));
        let asked =
            self.asked.iter().filter_map(|asked| asked.ports(address)).flat_map(|ports| ports.runs().iter().copied());
        runs(ports, known.chain(asked), |port| self.at(host, address, port))
    }
}

/// Cuts ports where other runs begin and end, and asks once for each piece.
fn runs(
    ports: &Ports,
    others: impl Iterator<Item = (u16, u16)>,
    known: impl Fn(u16) -> Known,
) -> Vec<(u16, u16, Known)> {
    let cuts: BTreeSet<u16> = others.flat_map(|(first, last)| [Some(first), last.checked_add(1)]).flatten().collect();
    let mut pieces: Vec<(u16, u16, Known)> = Vec::new();
    for &(first, last) in ports.runs() {
        let inner = cuts.range(first..=last).copied().filter(|&cut| cut > first);
        let starts: Vec<u16> = [first].into_iter().chain(inner).collect();
        for (at, &start) in starts.iter().enumerate() {
            let end = starts.get(at + 1).map_or(last, |next| next - 1);
            push(&mut pieces, (start, end, known(start)));
        }
    }
    pieces
}

/// Adds a piece, to the last one if it is the same and next to it.
fn push(pieces: &mut Vec<(u16, u16, Known)>, piece: (u16, u16, Known)) {
    match pieces.last_mut() {
        Some((_, last, known)) if *known == piece.2 && last.checked_add(1) == Some(piece.0) => *last = piece.1,
        _ => pieces.push(piece),
    }
}
