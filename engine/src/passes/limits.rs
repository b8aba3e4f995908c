//! How fast a network may be asked: where much more is lost than elsewhere, or more RSTs than SYN-ACKs, hosts or a firewall may
//! be rationing. Such a network is *limited*: it is asked more slowly each time, down to the rate at which it answered, until
//! no more is lost there than elsewhere. Where that changes nothing it is just a bad way, and is asked as all others are.
//!
//! Loss is seen by host, where hosts are few, but what a single one shows of it is mostly chance. So those hosts of a network that
//! are asked together are judged together: most of it, when all of it loses; and the one that rations, once it alone is asked.
//! What counts is the last leg: what was lost before, faster, says nothing of the rate at which they are asked now.

use std::collections::BTreeMap;

use super::group::Group;
use super::outlook::own;
use crate::loss::{Evidence, Kind, Ledger};

/// How much more must be lost before a group is called limited: so many times as much, and so much.
const LIMITED: (f64, f64) = (3.0, 0.15);
/// The latter once slowing it down has helped: who rations always leaves out the same targets, for their order is the same.
const LIMITED_STILL: f64 = 0.03;
/// As many probes as say what a group's loss is.
const OWN: f64 = 10.0;
/// How much more slowly a limited group is probed each time,
const SLOWER: f64 = 4.0;
/// but this much faster than it answered: what is lost must not slow it further.
const FASTER: f64 = 1.05;
/// What is known of all legs is worth so many probes of the last.
const ALL_LEGS: f64 = 5.0;
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
    seconds: f64,
    /// What each group of it gets at most, in probes a second, once it was slowed down, and how often that was.
    limit: Option<f64>,
    slowed: u8,
    /// The loss before it was slowed down for the last leg, if it was, and the answers in the leg before.
    before_slowing: Option<(f64, u64)>,
    /// Answers to its last leg, and the loss of the one before, if both went at the same rate.
    last: u64,
    again: Evidence,
    /// Whether slowing down has helped; how often in a row it did not, and whether that was enough.
    has_helped: bool,
    in_vain: u8,
    immune: bool,
}

/// Groups of a network that are asked together.
#[derive(Debug, Default)]
struct Pool {
    groups: f64,
    /// What was seen of them, and by canaries in the last leg, by kind.
    own: [Evidence; 2],
    leg: [Evidence; 2],
    found: u64,
    /// Answers to the last pass.
    last: u64,
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

    /// Notes what a leg over these groups has shown, in each of them, too.
    pub(super) fn conclude(&mut self, seconds: f64, members: &[usize], groups: &mut [Group], ledger: &Ledger) {
        let pools = pools(members, groups, ledger);
        for (&network, pool) in &pools {
            self.networks[network].conclude(seconds, pool);
        }
        for &group in members {
            groups[group].lose(pools[&ledger.groups.network_of(group)].lost());
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

    /// Whether the network of a group was slowed down.
    pub(super) fn is_limited(&self, group: usize, ledger: &Ledger) -> bool {
        self.networks[ledger.groups.network_of(group)].limit.is_some()
    }

    /// How long a leg over these groups has to take at least.
    pub(super) fn seconds(&self, members: &[usize], groups: &[Group], ledger: &Ledger) -> f64 {
        let pools = pools(members, groups, ledger).into_iter();
        let seconds =
            pools.filter_map(|(network, pool)| Some(pool.silent() / pool.groups / self.networks[network].limit?));
        seconds.fold(0.0, f64::max)
    }
}

impl Network {
    fn conclude(&mut self, seconds: f64, pool: &Pool) {
        let again = Evidence { answered: self.last as f64, lost: pool.last as f64 };
        self.again = if self.before_slowing.is_none() { again } else { Evidence::default() };
        (self.seconds, self.last) = (seconds, pool.last);
        let loss = pool.loss();
        if let Some(before) = self.before_slowing.take() {
            self.judge(before, loss, pool);
        }
        // Where little comes through, little is seen of what has helped.
        if self.in_vain >= if loss < HALF { 1 } else { 2 } {
            (self.immune, self.limit) = (true, None);
        }
    }

    /// Whether slowing down has helped, after a leg with such a loss. Of little loss, or by few canaries, little can be told
    /// against it once it had.
    fn judge(&mut self, before: (f64, u64), loss: f64, pool: &Pool) {
        let is_told = before.0 > LIMITED.1 && (!self.has_helped || pool.leg.iter().any(|seen| seen.probes() >= OWN));
        match has_helped(before, loss, pool.last) {
            true => (self.has_helped, self.in_vain) = (true, 0),
            false if is_told => (self.has_helped, self.in_vain) = (false, self.in_vain + 1),
            false => {}
        }
    }

    /// Whether much more is lost than in others, or more of what refuses than of what accepts.
    fn is_limited(&self, usual: Option<f64>, accepting: Evidence, pool: &Pool) -> bool {
        let (times, more) = (LIMITED.0, if self.has_helped { LIMITED_STILL } else { LIMITED.1 });
        let [open, closed] = Kind::ALL.map(|kind| pool.recent(kind));
        let accepted = if open.probes() >= OWN { open } else { accepting }.loss();
        let rations = closed.probes() >= OWN && closed.loss() > times * accepted + more;
        let again = if self.has_helped && self.again.probes() >= OWN { self.again.loss() } else { 0.0 };
        let loss = pool.loss().max(again);
        let usual = usual.or(self.has_helped.then(|| accepting.loss()));
        let is_worse = loss > HALF || usual.is_some_and(|usual| loss > times * usual + more);
        pool.found > 0 && !self.immune && self.slowed < SLOWED && (rations || is_worse)
    }

    /// A quarter of what it got in its last leg, but no less than it answered then.
    fn slow_down(&mut self, pool: &Pool) {
        let (answered, sent) = (pool.last as f64 / self.seconds, (pool.silent() + pool.last as f64) / self.seconds);
        let limit = (sent / SLOWER).max(answered * FASTER).max(pool.silent() / LONGEST);
        self.limit = Some(limit / pool.groups);
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
        self.groups += 1.0;
        self.silent += ledger.silent(group);
    }

    fn silent(&self) -> f64 {
        self.silent.max(1) as f64
    }

    /// The loss in the last leg, of the kind that lost more.
    fn loss(&self) -> f64 {
        let seen = Kind::ALL.map(|kind| self.recent(kind)).into_iter();
        seen.filter(|seen| seen.probes() >= OWN).map(Evidence::loss).fold(0.0, f64::max)
    }

    /// What canaries said of the last leg, and all that is known where those are few.
    fn recent(&self, kind: Kind) -> Evidence {
        let (leg, own) = (self.leg[kind as usize], self.own[kind as usize]);
        leg + own.at_most((OWN - leg.probes()).max(0.0))
    }

    /// The chance to have been lost in the last leg, by kind.
    fn lost(&self) -> [f64; 2] {
        Kind::ALL.map(|kind| (self.leg[kind as usize] + self.own[kind as usize].worth(ALL_LEGS)).loss())
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
