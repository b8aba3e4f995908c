//! How fast a network may be asked: where much more is lost than elsewhere, or more RSTs than SYN-ACKs, hosts or a firewall may
//! be rationing. Such a network is *limited*: it is asked more slowly each time, down to the rate at which it answered. Where
//! that changes nothing it is just a bad way, and is asked as all others are.
//!
//! Loss is seen by host, where hosts are few, but what a single one shows of it is mostly chance. So those hosts of a network that
//! are asked together are judged together: most of it, when all of it loses; and the one that rations, once it alone is asked.

use std::collections::BTreeMap;

use super::group::Group;
use super::outlook::own;
use crate::loss::{Evidence, Kind, Ledger};

/// How much more must be lost before a group is called limited: so many times as much, and so much.
const LIMITED: (f64, f64) = (3.0, 0.15);
/// As many probes as say what a group's loss is.
const OWN: f64 = 10.0;
/// How much more slowly a limited group is probed each time,
const SLOWER: f64 = 4.0;
/// but this much faster than it answered: what is lost must not slow it further.
const FASTER: f64 = 1.05;
/// A leg is not to take longer than that, in seconds.
const LONGEST: f64 = 120.0;
/// Hardly any way loses more by itself.
const HALF: f64 = 0.5;
/// How often, at most: down to a thousandth.
const SLOWED: u8 = 5;
/// When a slower leg has helped: so much of the loss is left at most, or so many times as much comes through.
const HELPED: (f64, f64) = (0.8, 1.5);

/// The limits of all networks.
#[derive(Debug)]
pub(super) struct Limits {
    networks: Vec<Network>,
}

/// What a network's last leg was.
#[derive(Debug, Clone, Copy, Default)]
struct Network {
    /// Targets that were silent at its beginning.
    silent: f64,
    seconds: f64,
    /// What it gets at most, in probes a second, once it was slowed down, and how often that was.
    limit: Option<f64>,
    slowed: u8,
    /// The loss before it was slowed down for the last leg, if it was, and the answers in the leg before.
    before_slowing: Option<(f64, u64)>,
    /// How often in a row slowing down did not help, and whether that was enough.
    in_vain: u8,
    immune: bool,
}

/// Groups of a network that are asked together.
#[derive(Debug, Default)]
struct Pool {
    /// What was seen of them, and by canaries in the last leg, by kind.
    own: [Evidence; 2],
    leg: [Evidence; 2],
    found: u64,
    /// Answers to the last pass.
    last: u64,
    probed: u64,
    silent: u64,
}

impl Limits {
    pub(super) fn new(networks: usize) -> Self {
        Limits { networks: vec![Network::default(); networks] }
    }

    /// A stripe begins.
    pub(super) fn begin(&mut self) {
        self.networks.fill(Network::default());
    }

    /// A leg over these groups begins.
    pub(super) fn enter(&mut self, members: &[usize], groups: &[Group], ledger: &Ledger) {
        for (network, pool) in pools(members, groups, ledger) {
            self.networks[network].silent = pool.silent();
        }
    }

    /// Notes what a leg over these groups has shown.
    pub(super) fn conclude(&mut self, pass: u8, seconds: f64, members: &[usize], groups: &[Group], ledger: &Ledger) {
        for (network, pool) in pools(members, groups, ledger) {
            self.networks[network].conclude(pass, seconds, &pool);
        }
    }

    /// Slows those networks down that are limited, as these groups of theirs show: where this is usually lost of all, and of
    /// what accepts.
    pub(super) fn adjust(
        &mut self,
        members: &[usize],
        (usual, accepting): (Option<f64>, Evidence),
        groups: &[Group],
        ledger: &Ledger,
    ) {
        for (network, pool) in pools(members, groups, ledger) {
            let network = &mut self.networks[network];
            if network.is_limited(usual, accepting, &pool) {
                network.slow_down(&pool);
            }
        }
    }

    /// What the network of a group gets at most, in probes a second.
    pub(super) fn limit(&self, group: usize, ledger: &Ledger) -> Option<f64> {
        self.networks[ledger.groups.network_of(group)].limit
    }

    /// How long a leg over these groups has to take at least.
    pub(super) fn seconds(&self, members: &[usize], groups: &[Group], ledger: &Ledger) -> f64 {
        let pools = pools(members, groups, ledger).into_iter();
        let seconds = pools.filter_map(|(network, pool)| Some(pool.silent() / self.networks[network].limit?));
        seconds.fold(0.0, f64::max)
    }
}

impl Network {
    fn conclude(&mut self, pass: u8, seconds: f64, pool: &Pool) {
        self.seconds = seconds;
        self.silent = if pass == 0 { pool.probed as f64 } else { self.silent };
        let loss = pool.loss();
        match self.before_slowing.take().map(|before| has_helped(before, loss, pool.last)) {
            Some(true) => self.in_vain = 0,
            Some(false) => self.in_vain += 1,
            None => {}
        }
        // Where little comes through, little is seen of what has helped.
        if self.in_vain >= if loss < HALF { 1 } else { 2 } {
            (self.immune, self.limit) = (true, None);
        }
    }

    /// Whether much more is lost than in others, or more of what refuses than of what accepts.
    fn is_limited(&self, usual: Option<f64>, accepting: Evidence, pool: &Pool) -> bool {
        let (times, more) = LIMITED;
        let [open, closed] = pool.own;
        let accepted = if open.probes() >= OWN { open } else { accepting }.loss();
        let rations = closed.probes() >= OWN && closed.loss() > times * accepted + more;
        let loss = pool.loss();
        let is_worse = loss > HALF || usual.is_some_and(|usual| loss > times * usual + more);
        pool.found > 0 && !self.immune && self.slowed < SLOWED && (rations || is_worse)
    }

    /// A quarter of what it got in its last leg, but no less than it answered then.
    fn slow_down(&mut self, pool: &Pool) {
        let (sent, answered) = (self.silent / self.seconds, pool.last as f64 / self.seconds);
        self.limit = Some((sent / SLOWER).max(answered * FASTER).max(pool.silent() / LONGEST));
        self.before_slowing = Some((pool.loss(), pool.last));
        self.slowed += 1;
    }
}

impl Pool {
    fn add(&mut self, group: usize, state: &Group, ledger: &Ledger) {
        for kind in Kind::ALL {
            let i = kind as usize;
            (self.own[i], self.leg[i]) = (self.own[i] + own(kind, group, ledger), self.leg[i] + state.canaries[i]);
            self.found += ledger.found(kind, group);
            self.last += ledger.last(kind, group);
        }
        self.probed += ledger.probed_targets(group);
        self.silent += ledger.silent(group);
    }

    fn silent(&self) -> f64 {
        self.silent.max(1) as f64
    }

    /// The loss in the last leg, of the kind that lost more: by its canaries, or by all that is known where those are few.
    fn loss(&self) -> f64 {
        let of = |kind: Kind| {
            let leg = self.leg[kind as usize];
            if leg.probes() >= OWN { leg } else { self.own[kind as usize] }
        };
        let losses = Kind::ALL.into_iter().map(of).filter(|seen| seen.probes() >= OWN).map(Evidence::loss);
        losses.fold(0.0, f64::max)
    }
}

/// By network, all that these groups of it have shown.
fn pools(members: &[usize], groups: &[Group], ledger: &Ledger) -> BTreeMap<usize, Pool> {
    let mut pools = BTreeMap::<usize, Pool>::new();
    for &group in members {
        pools.entry(ledger.groups.network_of(group)).or_default().add(group, &groups[group], ledger);
    }
    pools
}

/// The loss of a group in the middle, of those of which something is known; none where there are too few to compare.
pub(super) fn usual_loss(ledger: &Ledger) -> Option<f64> {
    let known = |group: usize| {
        let seen: Evidence = Kind::ALL.into_iter().map(|kind| own(kind, group, ledger)).sum();
        (seen.probes() >= OWN).then(|| seen.loss())
    };
    let mut losses: Vec<f64> = (0..ledger.len()).filter_map(known).collect();
    losses.sort_by(f64::total_cmp);
    (losses.len() >= 3).then(|| losses[losses.len() / 2])
}

/// Whether a slower leg, after one with this loss and so many answers, was any better. On a bad way, each pass draws fewer
/// answers than the one before.
fn has_helped((before, answers): (f64, u64), loss: f64, answered: u64) -> bool {
    let loses_less = loss < before * HELPED.0 || 1.0 - loss > (1.0 - before) * HELPED.1;
    loses_less || answered * 10 >= answers.max(1) * 9
}
