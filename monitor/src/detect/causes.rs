//! What lies behind changes that came together, the widest cause first: a whole group that fell silent is no matter of its
//! hosts, a host that is gone none of its ports, and many ports that fall silent together are a firewall's work.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use halfopen_results::Coverage;
use halfopen_results::record::State;

use super::{Detection, Findings, Sure};
use crate::snapshot::Snapshot;
use crate::store::Known;

/// What is behind some findings.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// Nobody answers, not even on our own link.
    Offline,
    /// Nobody answers beyond the gateway.
    GatewayGone,
    /// Packets are let through, or not, in another way than before.
    Firewall {
        /// At which host; at none in particular, if at many.
        host: Option<IpAddr>,
        /// What became different.
        changes: Vec<Sure>,
    },
    /// A single port.
    Port(Sure),
}

/// Whether the whole group fell silent, and so is not to be judged host by host: `watched` is what its scans cover.
pub fn of_silence(known: &Known, watched: &Coverage, snapshot: &Snapshot, down: &[IpAddr]) -> Option<Cause> {
    let watched = known.iter().filter(|(address, host)| host.up && watched.ports(**address).is_some()).count();
    if down.len() < 2 || down.len() < watched || !snapshot.hosts.is_empty() {
        return None;
    }
    // Who is on our own link is known by its link address, and the lack of one is noticed.
    let is_on_link = down.iter().any(|address| snapshot.absent.contains(address));
    Some(if is_on_link { Cause::Offline } else { Cause::GatewayGone })
}

/// The changes of single ports, grouped by what is behind them.
pub fn of_changes(known: &Known, findings: Findings, settings: &Detection) -> Vec<Cause> {
    let mut by_host: BTreeMap<IpAddr, Vec<Sure>> = BTreeMap::new();
    for sure in findings.changes {
        by_host.entry(sure.change.endpoint.address).or_default().push(sure);
    }
    let mut causes = Vec::new();
    let mut walled: BTreeMap<IpAddr, Vec<Sure>> = BTreeMap::new();
    for (address, changes) in by_host {
        let (wall, single): (Vec<_>, Vec<_>) = changes.into_iter().partition(concerns_silence);
        if is_firewall(known, address, &wall, settings) {
            walled.insert(address, wall);
        } else {
            causes.extend(wall.into_iter().map(Cause::Port));
        }
        causes.extend(single.into_iter().map(Cause::Port));
    }
    // Alike on many hosts: the same ports, or nearly.
    if walled.len() >= settings.firewall_hosts as usize {
        let changes = walled.into_values().flatten().collect();
        causes.insert(0, Cause::Firewall { host: None, changes });
    } else {
        causes.extend(walled.into_iter().map(|(host, changes)| Cause::Firewall { host: Some(host), changes }));
    }
    causes
}

/// Whether the port fell silent, or began to answer.
fn concerns_silence(sure: &Sure) -> bool {
    (sure.change.was == Some(State::Filtered)) != (sure.change.is == State::Filtered)
}

/// So many at once, or at least three and a third of all that answered.
fn is_firewall(known: &Known, address: IpAddr, changes: &[Sure], settings: &Detection) -> bool {
    let answered = known.get(&address).map_or(0, |host| host.tcp.count(State::Open) + host.tcp.count(State::Closed));
    let many = changes.len() as u32;
    let one_way: BTreeSet<bool> = changes.iter().map(|sure| sure.change.is == State::Filtered).collect();
    one_way.len() == 1 && (many >= settings.firewall_ports || many >= 3 && many * 3 >= answered)
}
