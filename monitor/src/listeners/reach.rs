//! What listens, against what others saw: a saved scan of this machine's addresses, or the monitor's history. What was not asked
//! is unknown, never closed; what a scan saw that this machine made of itself says nothing about its firewall.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use halfopen_results::diff::View;
use halfopen_results::record::{Name, State};
use halfopen_results::{Coverage, Scan, read};
use halfopen_services::Protocol;
use jiff::Timestamp;
use serde::Serialize;

use super::{Listener, Listening, NamespaceId};
use crate::endpoint::Endpoint;
use crate::store::{self, Known, Store};

/// What was seen from outside.
#[derive(Debug)]
pub struct Outside {
    /// Of what: a file's name.
    pub source: String,
    /// Whether this machine asked itself, so that nothing went through its firewall as others' packets do.
    pub from_itself: bool,
    seen: Seen,
    /// Addresses by which others know this machine, and which it does not have: those of a NAT.
    also: BTreeSet<IpAddr>,
}

#[derive(Debug)]
enum Seen {
    Scan(Box<Scan>),
    History { known: Known, asked: Vec<(Coverage, Option<Timestamp>)> },
}

/// What a port of an address was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sight {
    /// Of which address.
    pub address: IpAddr,
    /// What it was.
    pub state: Sighted,
    /// Why, if that was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Name>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// What a port was, seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sighted {
    /// Something accepted the connection.
    Open,
    /// It was refused.
    Closed,
    /// Nothing answered, or a firewall did.
    Filtered,
    /// One of the latter two: the scan did not keep which.
    NotOpen,
}

/// How far a listener can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// From this machine only: it is bound to the loopback.
    Local,
    /// Others have reached it; everything that was seen of it.
    Reachable(Vec<Sight>),
    /// Others were kept from it.
    Blocked(Vec<Sight>),
    /// Nobody knows.
    Unknown(Unasked),
}

/// Why nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unasked {
    /// There is no scan to look into.
    NoScan,
    /// Scans are of TCP.
    Udp,
    /// The scan did not ask this port of this machine.
    NotCovered,
    /// It was started after the scan.
    BeganLater,
    /// This machine asked itself.
    FromItself,
}

/// A port that others have reached, and that nothing listens on as far as can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexplained {
    /// Which port.
    pub endpoint: Endpoint,
    /// How it was seen.
    pub sight: Sight,
    /// Listeners on that port in other namespaces: it may be passed on to one of them. By place in the list.
    pub candidates: Vec<usize>,
}

/// Why there is nothing to compare with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read as a scan.
    #[error(transparent)]
    Scan(#[from] read::Error),
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// It is about others.
    #[error(
        "{source_name}: has nothing about this machine ({addresses}); scan one of these addresses from another machine, or name the address under which others reach it with --address"
    )]
    Elsewhere {
        /// Of which file.
        source_name: String,
        /// What this machine is.
        addresses: String,
    },
}

impl Outside {
    /// A scan in any form that can be read, or the monitor's database.
    pub fn load(path: &Path) -> Result<Outside, Error> {
        let source = path.display().to_string();
        let outside = |from_itself, seen| Outside { source, from_itself, seen, also: BTreeSet::new() };
        if is_history(path) {
            let store = Store::read_only(path)?;
            return Ok(outside(false, history(&store)?));
        }
        let scan = read::load(path)?;
        Ok(outside(is_of_itself(&scan), Seen::Scan(Box::new(scan))))
    }

    /// Others know this machine by these addresses, too.
    pub fn also(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Outside {
        self.also.extend(addresses);
        self
    }

    /// Fails if nothing is known about any address of this machine.
    pub fn require(&self, listening: &Listening) -> Result<(), Error> {
        let ours = self.ours(listening);
        if ours.iter().any(|&(address, _)| self.knows(address)) {
            return Ok(());
        }
        let shown: Vec<_> = ours.iter().take(6).map(|(address, _)| address.to_string()).collect();
        let addresses = if shown.is_empty() { "it has no address but its loopback's".into() } else { shown.join(", ") };
        Err(Error::Elsewhere { source_name: self.source.clone(), addresses })
    }

    /// The addresses that others may know, with their namespaces.
    fn ours(&self, listening: &Listening) -> Vec<(IpAddr, NamespaceId)> {
        let all: BTreeSet<IpAddr> = listening.namespaces.values().flatten().copied().collect();
        let owned = |address: IpAddr| listening.namespace_of(address).map(|id| (address, id));
        let own = all.into_iter().filter(|address| !address.is_loopback()).filter_map(owned);
        let also = self.also.iter().map(|&address| (address, listening.own));
        own.chain(also).collect()
    }

    fn knows(&self, address: IpAddr) -> bool {
        match &self.seen {
            Seen::Scan(scan) => {
                scan.hosts.contains_key(&address) || scan.plan().is_some_and(|plan| plan.ports(address).is_some())
            }
            Seen::History { known, .. } => known.contains_key(&address),
        }
    }

    /// What a TCP port was; none if nobody knows.
    fn at(&self, address: IpAddr, port: u16) -> Option<Sight> {
        match &self.seen {
            Seen::Scan(scan) => of_scan(scan, address, port),
            Seen::History { known, asked } => of_history(known, asked, address, port),
        }
    }

    /// The open TCP ports of an address.
    fn open(&self, address: IpAddr) -> Vec<u16> {
        match &self.seen {
            Seen::Scan(scan) => {
                let ports = scan.hosts.get(&address).into_iter().flat_map(|host| &host.ports);
                ports.filter(|(_, verdict)| verdict.state == State::Open).map(|(&port, _)| port).collect()
            }
            Seen::History { known, .. } => {
                let runs = known.get(&address).into_iter().flat_map(|host| host.tcp.runs());
                runs.filter(|run| run.fact.state == State::Open).flat_map(|run| run.first..=run.last).collect()
            }
        }
    }
}

/// How far each listener can be reached, in their order.
pub fn reaches(listening: &Listening, outside: Option<&Outside>) -> Vec<Reach> {
    listening.listeners.iter().map(|listener| reach(listening, listener, outside)).collect()
}

fn reach(listening: &Listening, listener: &Listener, outside: Option<&Outside>) -> Reach {
    let Some(outside) = outside.filter(|_| !listening.is_local(listener)) else {
        return if listening.is_local(listener) { Reach::Local } else { Reach::Unknown(Unasked::NoScan) };
    };
    if listener.port.protocol == Protocol::Udp {
        return Reach::Unknown(Unasked::Udp);
    }
    let also = outside.also.iter().filter(|_| listener.namespace == listening.own).copied();
    let also = also.filter(|&address| listener.address.to_canonical().is_unspecified() && listener.serves(address));
    let addresses = listening.addresses_of(listener).into_iter().chain(also);
    let sights: Vec<_> = addresses.filter_map(|address| outside.at(address, listener.port.number)).collect();
    judged(listener, sights, outside.from_itself)
}

fn judged(listener: &Listener, sights: Vec<Sight>, from_itself: bool) -> Reach {
    let began_later = |sight: &Sight| sight.at.zip(listener.since()).is_some_and(|(at, since)| since > at);
    match sights {
        sights if sights.is_empty() => Reach::Unknown(Unasked::NotCovered),
        _ if from_itself => Reach::Unknown(Unasked::FromItself),
        sights if sights.iter().any(|sight| sight.state == Sighted::Open) => Reach::Reachable(sights),
        sights if sights.iter().all(began_later) => Reach::Unknown(Unasked::BeganLater),
        sights => Reach::Blocked(sights),
    }
}

/// What others have reached and nothing seems to listen on.
pub fn unexplained(listening: &Listening, outside: &Outside) -> Vec<Unexplained> {
    if outside.from_itself {
        return Vec::new();
    }
    let open = |(address, id): (IpAddr, NamespaceId)| {
        let ports = outside.open(address).into_iter();
        ports.filter_map(move |port| Some((id, outside.at(address, port)?, Endpoint::tcp(address, port))))
    };
    let all = outside.ours(listening).into_iter().flat_map(open);
    let unheard = all.filter(|(id, _, endpoint)| !is_listened(listening, outside, *id, endpoint));
    unheard
        .map(|(id, sight, endpoint)| Unexplained { candidates: candidates(listening, id, &endpoint), endpoint, sight })
        .collect()
}

fn is_listened(listening: &Listening, outside: &Outside, id: NamespaceId, endpoint: &Endpoint) -> bool {
    let by_nat = outside.also.contains(&endpoint.address);
    listening.listeners.iter().any(|listener| {
        let there = listener.namespace == id && listener.port == endpoint.port;
        // What a NAT's outside passes on comes to any of our addresses.
        there && (listener.serves(endpoint.address) || by_nat && !listening.is_local(listener))
    })
}

fn candidates(listening: &Listening, id: NamespaceId, endpoint: &Endpoint) -> Vec<usize> {
    let elsewhere = |(_, listener): &(usize, &Listener)| {
        listener.namespace != id && listener.port == endpoint.port && !listening.is_local(listener)
    };
    listening.listeners.iter().enumerate().filter(elsewhere).map(|(place, _)| place).collect()
}

fn of_scan(scan: &Scan, address: IpAddr, port: u16) -> Option<Sight> {
    let host = scan.hosts.get(&address);
    if let Some(verdict) = host.and_then(|host| host.ports.get(&port)) {
        // Who answers for every port, or forges answers, says nothing of this one.
        let doubtful = verdict.suspect.is_some() || host.is_some_and(|host| host.suspect.is_some());
        let at = Some(verdict.time).filter(|&time| time > Timestamp::UNIX_EPOCH).or_else(|| began(scan));
        let state = sighted(&[verdict.state])?;
        let sight = Sight { address, state, reason: Some(verdict.reason.clone()), at };
        return (!doubtful || state != Sighted::Open).then_some(sight);
    }
    // Lists have no plan: what they do not name, they may never have asked.
    scan.header.as_ref()?;
    let state = sighted(&View::new(scan).states(address, port))?;
    Some(Sight { address, state, reason: None, at: began(scan) })
}

fn began(scan: &Scan) -> Option<Timestamp> {
    let times =
        [scan.summary.as_ref().map(|summary| summary.started), scan.header.as_ref().map(|header| header.started)];
    times.into_iter().flatten().find(|&time| time > Timestamp::UNIX_EPOCH)
}

/// One of several states; nothing if it may be open and something else.
fn sighted(states: &[State]) -> Option<Sighted> {
    match states {
        [] => None,
        [State::Open] => Some(Sighted::Open),
        [State::Closed] => Some(Sighted::Closed),
        [State::Filtered] => Some(Sighted::Filtered),
        states => (!states.contains(&State::Open)).then_some(Sighted::NotOpen),
    }
}

/// A scan that left through nothing but the loopback was of the machine that made it.
fn is_of_itself(scan: &Scan) -> bool {
    let links = scan.header.iter().flat_map(|header| &header.settings.links);
    let links: Vec<_> = links.chain(scan.summary.iter().flat_map(|summary| &summary.settings.links)).collect();
    !links.is_empty() && links.iter().all(|link| link.ends_with("@lo"))
}

fn is_history(path: &Path) -> bool {
    let mut magic = [0; 16];
    let is_database =
        File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"SQLite format 3\0";
    let tables = "SELECT COUNT(*) FROM sqlite_master WHERE name IN ('watched_group', 'presence')";
    let open = || Store::read_only(path).ok()?.connection().query_row(tables, [], |row| row.get::<_, i64>(0)).ok();
    is_database && open() == Some(2)
}

fn history(store: &Store) -> Result<Seen, store::Error> {
    let known = store::known(store.connection())?;
    let mut asked = Vec::new();
    for (group, coverage) in store::remembered_coverage(store.connection())? {
        let scans = store::last_scans(store.connection(), Some(&group), LOOKED_AT)?;
        let last = scans.iter().find(|scan| scan.purpose == "regular" && scan.outcome == "complete");
        asked.push((coverage, last.map(|scan| scan.ended)));
    }
    Ok(Seen::History { known, asked })
}

/// How many scans of a group are looked through for a complete one.
const LOOKED_AT: u32 = 1000;

fn of_history(known: &Known, asked: &[(Coverage, Option<Timestamp>)], address: IpAddr, port: u16) -> Option<Sight> {
    let host = known.get(&address).filter(|host| host.up)?;
    let fact = &host.tcp.at(port)?.fact;
    let at = asked.iter().filter(|(coverage, _)| coverage.contains(address, port)).filter_map(|&(_, at)| at).max();
    Some(Sight { address, state: sighted(&[fact.state])?, reason: Some(fact.reason.clone()), at })
}

impl Reach {
    /// As in JSON and texts: `local`, `reachable`, `blocked`, `unknown`.
    pub fn name(&self) -> &'static str {
        match self {
            Reach::Local => "local",
            Reach::Reachable(_) => "reachable",
            Reach::Blocked(_) => "blocked",
            Reach::Unknown(_) => "unknown",
        }
    }

    /// What was seen.
    pub fn sights(&self) -> &[Sight] {
        match self {
            Reach::Reachable(sights) | Reach::Blocked(sights) => sights,
            Reach::Local | Reach::Unknown(_) => &[],
        }
    }

    /// When what it says was last seen to be so: the latest sight that shows it.
    pub fn verified(&self) -> Option<Timestamp> {
        let shows = |sight: &&Sight| !matches!(self, Reach::Reachable(_)) || sight.state == Sighted::Open;
        self.sights().iter().filter(shows).filter_map(|sight| sight.at).max()
    }
}

impl Sighted {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Sighted::Open => "open",
            Sighted::Closed => "closed",
            Sighted::Filtered => "filtered",
            Sighted::NotOpen => "not open",
        }
    }
}

impl Unasked {
    /// Why nobody knows, in a few words.
    pub fn words(self) -> &'static str {
        match self {
            Unasked::NoScan => "not asked",
            Unasked::Udp => "not asked (UDP)",
            Unasked::NotCovered => "not asked (not in the scan)",
            Unasked::BeganLater => "not asked (started after the scan)",
            Unasked::FromItself => "not asked from outside",
        }
    }
}

/// By state, for tests and accounts.
pub fn counts(reaches: &[Reach]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    reaches.iter().for_each(|reach| *counts.entry(reach.name()).or_default() += 1);
    counts
}
