//! From what scans see to what is sure. A port that a scan sees different is suspected, and asked again, alone, until it has
//! been seen so often enough in a row, or is as before. Nothing is decided about single ports before all suspicions of a
//! scan are: what changed together is judged together (`causes`). What a scan did not cover is not looked at.

pub mod causes;
pub mod flap;
pub mod habits;
pub mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use halfopen_results::Coverage;
use halfopen_results::record::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;
use crate::incident::PortChange;
use crate::ledger::Fact;
use crate::snapshot::{Seen, Snapshot};
use crate::store::{Known, KnownHost};

use flap::Flap;
pub use settings::Detection;

/// What is remembered of a group between two scans.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Whether there was a scan that others are held against.
    pub has_baseline: bool,
    /// Ports that seem to have changed.
    suspected: BTreeMap<Endpoint, Suspicion>,
    /// Hosts that seem to be silent.
    silent: BTreeMap<IpAddr, Sights>,
    /// How often it was asked again since all was decided.
    rounds: u8,
    /// Whether the last of these said nothing: not even hosts answered that are not in question.
    #[serde(default)]
    is_cut_off: bool,
    /// Ports that changed in the last 21 scans.
    flaps: BTreeMap<Endpoint, Flap>,
    /// Scans that failed in a row.
    pub failures: u32,
    /// Since when.
    pub failing_since: Option<Timestamp>,
    /// When a scan last went to its end.
    pub last_success: Option<Timestamp>,
    /// What changed in a maintenance window, with what it was before.
    pub deferred: BTreeMap<Endpoint, Option<State>>,
    /// Hosts that fell silent in one.
    pub deferred_hosts: BTreeSet<IpAddr>,
    /// Hosts that appeared in one.
    #[serde(default)]
    pub deferred_new: BTreeSet<IpAddr>,
}

/// A port that seems to have changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Suspicion {
    fact: Fact,
    sights: Sights,
    /// It is as before, after all.
    is_refuted: bool,
}

/// How often something was seen in a row, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Sights {
    since: Timestamp,
    count: u8,
}

/// A change that is sure.
#[derive(Debug, Clone, PartialEq)]
pub struct Sure {
    /// What became different.
    pub change: PortChange,
    /// What is known of it now.
    pub fact: Fact,
    /// When that was first seen.
    pub since: Timestamp,
    /// How often it was seen.
    pub sights: u8,
}

/// All that is sure after a scan and its confirmations.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Findings {
    /// Ports that changed, in their order.
    pub changes: Vec<Sure>,
    /// What only looked like it.
    pub blinked: Vec<PortChange>,
    /// Hosts that are silent, and since when.
    pub down: Vec<(IpAddr, Timestamp)>,
}

/// A round of confirmation asks no oftener than that: what does not stay the same so long is none of both.
const MOST_ROUNDS: u8 = 10;

/// Of a host that seems silent, so many of the ports that answered are asked again: it may come back with fewer services.
const VITAL_PORTS: usize = 4;
/// Of one whose ports seem to have changed, one that keeps still: does it answer, the host is there.
const STEADY_PORTS: usize = 1;
/// So many hosts that are not in question are asked beside those that are: does none answer, it is the way that is cut. One
/// alone might go down in that very moment.
const CONTROLS: usize = 3;

impl Memory {
    /// Whether something must be asked again before anything is said.
    pub fn is_undecided(&self, settings: &Detection) -> bool {
        self.rounds < MOST_ROUNDS
            && (self.suspected.values().any(|suspicion| suspicion.is_open_question(settings))
                || self.silent.values().any(|sights| sights.count < settings.down_after))
    }

    /// Takes what a regular scan saw: suspects what differs, and forgets suspicions that do not hold.
    pub fn regular(&mut self, known: &Known, snapshot: &Snapshot, settings: &Detection, now: Timestamp) {
        // What is under way goes on, and this is one sight more of it: where scans follow each other more quickly than they are
        // confirmed, and after a restart.
        let earlier = std::mem::take(&mut self.suspected);
        let silent = std::mem::take(&mut self.silent);
        for (&address, seen) in &snapshot.hosts {
            let Some(host) = known.get(&address) else { continue };
            for (port, fact) in differing(host, seen) {
                let endpoint = Endpoint::tcp(address, port);
                let same = earlier.get(&endpoint).filter(|it| it.fact.state == fact.state && !it.is_refuted);
                let sights = Sights::again(same.map(|it| it.sights), now);
                self.suspected.insert(endpoint, Suspicion { fact, sights, is_refuted: false });
            }
        }
        for address in missed(known, snapshot) {
            self.silent.insert(address, Sights::again(silent.get(&address).copied(), now));
        }
        self.watch_flaps(known, snapshot, settings);
    }

    /// Takes what a scan of the suspects alone saw.
    pub fn confirmation(&mut self, known: &Known, snapshot: &Snapshot, now: Timestamp) {
        self.rounds += 1;
        self.is_cut_off = !snapshot.complete || self.is_way_cut(known, snapshot);
        if self.is_cut_off {
            return;
        }
        for (endpoint, suspicion) in &mut self.suspected {
            let was = known.get(&endpoint.address).and_then(|host| host.tcp.at(endpoint.port.number));
            let Some(fact) = snapshot.fact(endpoint.address, endpoint.port.number) else { continue };
            suspicion.saw(fact, was.map(|run| run.fact.state), now);
        }
        for (address, sights) in &mut self.silent {
            sights.count = if snapshot.hosts.contains_key(address) { 0 } else { sights.count.saturating_add(1) };
        }
        self.silent.retain(|_, sights| sights.count > 0);
        // A host whose suspects were to be asked again and that has gone silent meanwhile.
        for address in missed(known, snapshot) {
            self.silent.entry(address).or_insert(Sights { since: now, count: 1 });
        }
    }

    /// What must be asked again, of what the group's scans cover: the suspects, and with them ports that tell whether the host is
    /// there at all, and whether the way is.
    pub fn questions(&self, known: &Known, covered: &Coverage, settings: &Detection) -> Coverage {
        let open_questions = self.suspected.iter().filter(|(_, suspicion)| suspicion.is_open_question(settings));
        let suspects: BTreeSet<(IpAddr, u16)> =
            open_questions.map(|(endpoint, _)| (endpoint.address, endpoint.port.number)).collect();
        let hosts: BTreeSet<IpAddr> =
            suspects.iter().map(|&(address, _)| address).chain(self.silent.keys().copied()).collect();
        let vital = hosts.iter().flat_map(|&address| {
            let number = if self.silent.contains_key(&address) { VITAL_PORTS } else { STEADY_PORTS };
            let others = answering(known, covered, address).filter(|port| !suspects.contains(&(address, *port)));
            others.take(number).map(move |port| (address, port)).collect::<Vec<_>>()
        });
        let controls = self.controls(known, covered, &hosts);
        suspects.iter().copied().chain(vital).chain(controls).collect()
    }

    /// A port each of a few hosts that are not in question, the nearest behind those that are, or before them.
    fn controls<'a>(
        &'a self,
        known: &'a Known,
        covered: &'a Coverage,
        asked: &'a BTreeSet<IpAddr>,
    ) -> impl Iterator<Item = (IpAddr, u16)> + 'a {
        let near = asked.first().into_iter().flat_map(|&first| known.range(first..).chain(known.range(..first).rev()));
        let steady = near.filter(|(address, host)| host.up && !self.is_in_question(**address));
        let port = |(&address, _): (&IpAddr, &KnownHost)| Some((address, answering(known, covered, address).next()?));
        steady.filter_map(port).take(CONTROLS)
    }

    /// Whether a host may have changed, or gone.
    fn is_in_question(&self, address: IpAddr) -> bool {
        let mut suspects = self.suspected.range(Endpoint::tcp(address, 0)..);
        suspects.next().is_some_and(|(endpoint, _)| endpoint.address == address) || self.silent.contains_key(&address)
    }

    /// Whether none of the hosts answered that were asked and are not in question, if there are any.
    fn is_way_cut(&self, known: &Known, snapshot: &Snapshot) -> bool {
        let is_asked = |address: &IpAddr| snapshot.asked.ports(*address).is_some();
        let mut controls =
            known.keys().filter(|address| is_asked(address) && !self.is_in_question(**address)).peekable();
        controls.peek().is_some() && !controls.any(|address| snapshot.hosts.contains_key(address))
    }

    /// All is decided that can be: what is sure. Suspicions are forgotten, but for those of which nothing could be heard: there the
    /// next regular scan has its say.
    pub fn conclude(&mut self, known: &Known, settings: &Detection) -> Findings {
        let mut findings = Findings::default();
        self.rounds = 0;
        let is_withheld = std::mem::take(&mut self.is_cut_off);
        let silent = std::mem::take(&mut self.silent);
        let is_down = |address: &IpAddr| silent.get(address).is_some_and(|sights| sights.count >= settings.down_after);
        for (endpoint, suspicion) in std::mem::take(&mut self.suspected) {
            if is_withheld && suspicion.is_open_question(settings) {
                self.suspected.insert(endpoint, suspicion);
                continue;
            }
            let Suspicion { fact, sights, is_refuted } = suspicion;
            let was = known.get(&endpoint.address).and_then(|host| host.tcp.at(endpoint.port.number));
            let change = PortChange { endpoint, was: was.map(|run| run.fact.state), is: fact.state };
            let is_sure = !is_refuted && sights.count >= settings.sights(fact.state == State::Open);
            match () {
                // Nothing can be said of the ports of a host that is gone.
                () if is_down(&endpoint.address) => {}
                () if is_sure => {
                    findings.changes.push(Sure { change, fact, since: sights.since, sights: sights.count });
                }
                () => findings.blinked.push(change),
            }
        }
        let down = silent.iter().filter(|(address, _)| is_down(address));
        findings.down = down.map(|(&address, sights)| (address, sights.since)).collect();
        self.silent = silent;
        self.silent.retain(|_, sights| is_withheld && sights.count < settings.down_after);
        findings
    }

    /// Whether something changed in a maintenance window that nobody was told of.
    pub fn has_deferred(&self) -> bool {
        !(self.deferred.is_empty() && self.deferred_hosts.is_empty() && self.deferred_new.is_empty())
    }

    /// The ports that count as unstable.
    pub fn unstable(&self) -> impl Iterator<Item = Endpoint> + '_ {
        self.flaps.iter().filter(|(_, flap)| flap.unstable).map(|(&endpoint, _)| endpoint)
    }

    /// Whether that port counts as unstable.
    pub fn is_unstable(&self, endpoint: Endpoint) -> bool {
        self.flaps.get(&endpoint).is_some_and(|flap| flap.unstable)
    }

    /// What was known of these is not any more: their group, or part of it, is not watched from now on.
    pub fn forget(&mut self, is_watched: impl Fn(IpAddr, u16) -> bool) {
        self.suspected.retain(|endpoint, _| is_watched(endpoint.address, endpoint.port.number));
        self.flaps.retain(|endpoint, _| is_watched(endpoint.address, endpoint.port.number));
    }

    fn watch_flaps(&mut self, known: &Known, snapshot: &Snapshot, settings: &Detection) {
        for &endpoint in self.suspected.keys() {
            let was = known.get(&endpoint.address).and_then(|host| host.tcp.at(endpoint.port.number));
            let was_open = was.is_some_and(|run| run.fact.state == State::Open);
            self.flaps.entry(endpoint).or_insert_with(|| Flap::new(was_open));
        }
        for (endpoint, flap) in &mut self.flaps {
            if let Some(fact) = snapshot.fact(endpoint.address, endpoint.port.number) {
                flap.saw(fact.state == State::Open, settings.unstable_above, settings.stable_below);
            }
        }
        self.flaps.retain(|_, flap| !flap.is_calm());
    }
}

impl Sights {
    /// One more, or the first.
    fn again(earlier: Option<Sights>, now: Timestamp) -> Sights {
        earlier.map_or(Sights { since: now, count: 1 }, |it| Sights { count: it.count.saturating_add(1), ..it })
    }
}

impl Suspicion {
    fn is_open_question(&self, settings: &Detection) -> bool {
        !self.is_refuted && self.sights.count < settings.sights(self.fact.state == State::Open)
    }

    fn saw(&mut self, fact: &Fact, was: Option<State>, now: Timestamp) {
        if Some(fact.state) == was {
            self.is_refuted = true;
        } else if fact.state == self.fact.state {
            self.sights.count = self.sights.count.saturating_add(1);
        } else {
            // It has changed, only to something else.
            *self = Suspicion { fact: fact.clone(), sights: Sights { since: now, count: 1 }, is_refuted: false };
        }
    }
}

/// The ports of a host that are seen to be something else than what is known. Ports of which nothing was known do not differ.
fn differing(host: &KnownHost, seen: &Seen) -> Vec<(u16, Fact)> {
    let mut differing = Vec::new();
    for (first, last, fact) in &seen.0 {
        let runs = host.tcp.runs();
        let from = runs.partition_point(|run| run.last < *first);
        let meet = runs[from..].iter().take_while(|run| run.first <= *last);
        for run in meet.filter(|run| run.fact.state != fact.state) {
            differing.extend((run.first.max(*first)..=run.last.min(*last)).map(|port| (port, fact.clone())));
        }
    }
    differing
}

/// The hosts that were asked at ports that used to answer, and are not heard.
fn missed(known: &Known, snapshot: &Snapshot) -> Vec<IpAddr> {
    let is_missed = |(address, host): &(&IpAddr, &KnownHost)| {
        host.up
            && !snapshot.hosts.contains_key(address)
            && answering(known, &snapshot.asked, **address).next().is_some()
    };
    known.iter().filter(is_missed).map(|(&address, _)| address).collect()
}

/// The ports by which a host shows that it is there, of those that are covered: open ones first.
fn answering<'a>(known: &'a Known, covered: &'a Coverage, address: IpAddr) -> impl Iterator<Item = u16> + 'a {
    let runs = known.get(&address).map_or(&[][..], |host| host.tcp.runs());
    let of = move |state| runs.iter().filter(move |run| run.fact.state == state);
    let ports = of(State::Open).chain(of(State::Closed)).flat_map(|run| run.first..=run.last);
    let asked = covered.ports(address);
    ports.filter(move |&port| asked.is_some_and(|asked| asked.contains(port)))
}

#[cfg(test)]
mod tests;
