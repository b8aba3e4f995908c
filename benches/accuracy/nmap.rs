//! nmap's way, `nmap -sS -T4 -n -Pn`, as its scan_engine.cc and timing.cc (version 7.9x) have it: hosts in groups, a
//! congestion window for each host and each group, timeouts from round trips, tries as many as have proved worth while.
//!
//! ```text
//! plan -> groups of hosts, one after the other:
//!    pings -> retransmits -> retry stack -> new probes -> wait for an answer or a time -> timeouts, and again
//! ```
//!
//! What its own processing takes is left out: here it looks at every answer as soon as it comes.

mod group;
mod host;
mod round_trips;
mod window;

use std::net::IpAddr;
use std::rc::Rc;

use halfopen::link::sim::Network;
use halfopen::permute::Permutation;
use halfopen::{Index, Plan, Position, Target, Time};

use crate::outcome::Said;
use crate::prober::Prober;
use crate::truth::States;
use group::Group;

/// `-T4`: retransmissions to a port at most.
const MAX_RETRIES: u8 = 6;
/// Source ports: one for each try, and some for timing pings.
const CHANNELS: u16 = PING_CHANNEL + PINGS;
const PING_CHANNEL: u16 = 16;
const PINGS: u16 = 64;

/// Scans.
pub(crate) fn scan(plan: &Plan, mut network: impl Network, seed: u64) -> Said {
    let (mut states, mut prober) = (States::silent(plan), Prober::new(CHANNELS, seed));
    let (hosts, ports) = parts(plan, seed);
    let (mut now, mut done) = (Time::ZERO, 0);
    while done < hosts.len() {
        let size = group_size(ports.len(), done).min(hosts.len() - done);
        let mut group = Group::new(now, &hosts[done..done + size], &ports);
        group.scan(&mut prober, &mut network);
        now = group.now();
        for (target, state) in group.found() {
            plan.index(target).into_iter().for_each(|index| states.set(index, state));
        }
        done += size;
    }
    Said { states, elapsed: now.since(Time::ZERO), stated: None }
}

/// Hosts in order; ports shuffled, in the same order for all.
fn parts(plan: &Plan, seed: u64) -> (Vec<IpAddr>, Rc<[u16]>) {
    let targets: Vec<Target> = (0..plan.len()).filter_map(|index| plan.target(Index(index))).collect();
    let mut hosts: Vec<IpAddr> = targets.iter().map(|target| target.address).collect();
    hosts.dedup();
    let ports = &targets[..targets.len() / hosts.len().max(1)];
    let order = Permutation::new(ports.len() as u64, seed);
    let shuffled = (0..ports.len()).map(|at| ports[order.index(Position(at as u64)).0 as usize].port);
    (hosts, shuffled.collect())
}

/// Hosts that are scanned together (determineScanGroupSize): as many as make a thousand probes, at least 64; with many
/// ports a first group of eight, for quick results, and the rest of the 64 after it.
fn group_size(ports: usize, hosts_done: usize) -> usize {
    let size = (1024 / ports.max(1)).max(64);
    match hosts_done {
        0 if ports > 1000 => 8,
        8 if ports > 1000 => size - 8,
        _ => size,
    }
}

#[cfg(test)]
mod tests;
