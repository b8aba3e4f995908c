//! What passes have shown of a group of targets, and how fast it may be asked: where much more is lost than elsewhere, or more
//! RSTs than SYN-ACKs, hosts or a firewall may be rationing. Such a group is *limited*: it is asked more slowly each time,
//! down to the rate at which it answered. Where that changes nothing it is just a bad way, and is asked as all others are.

use super::outlook::own;
use crate::loss::{Evidence, Kind, Ledger};

/// How much more must be lost before a group is called limited: so many times as much, and so much.
const LIMITED: (f64, f64) = (3.0, 0.15);
/// Canaries in a leg, and the share of them lost, from which on a group is called gone.
const GONE: (f64, f64) = (8.0, 0.9);
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

/// What a group's last leg was.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Group {
    /// Targets that were silent at its beginning.
    silent: f64,
    seconds: f64,
    /// Canaries until its beginning, and then in it, by kind.
    before: [Evidence; 2],
    pub(super) canaries: [Evidence; 2],
    /// What it gets at most, in probes a second, once it was slowed down, and how often that was.
    pub(super) limit: Option<f64>,
    slowed: u8,
    /// The loss before it was slowed down for the last leg, if it was, and the answers in the leg before.
    before_slowing: Option<(f64, u64)>,
    /// How often in a row slowing down did not help, and whether that was enough.
    in_vain: u8,
    immune: bool,
}

impl Group {
    /// A leg over it begins.
    pub(super) fn enter(&mut self, group: usize, ledger: &Ledger) {
        self.silent = silent(group, ledger);
        self.before = Kind::ALL.map(|kind| ledger.canaries(kind, group));
    }

    /// Notes what the leg has shown.
    pub(super) fn conclude(&mut self, pass: u8, seconds: f64, group: usize, ledger: &Ledger) {
        self.seconds = seconds;
        self.silent = if pass == 0 { ledger.probed_targets(group) as f64 } else { self.silent };
        self.canaries = Kind::ALL.map(|kind| ledger.canaries(kind, group).since(self.before[kind as usize]));
        let loss = self.loss(group, ledger);
        match self.before_slowing.take().map(|before| has_helped(before, loss, last(group, ledger))) {
            Some(true) => self.in_vain = 0,
            Some(false) => self.in_vain += 1,
            None => {}
        }
        // Where little comes through, little is seen of what has helped.
        if self.in_vain >= if loss < HALF { 1 } else { 2 } {
            (self.immune, self.limit) = (true, None);
        }
    }

    /// Slows it down, if it is limited: where this is usually lost of all, and of what accepts.
    pub(super) fn adjust(&mut self, group: usize, usual: Option<f64>, accepting: Evidence, ledger: &Ledger) {
        if self.is_limited(group, usual, accepting, ledger) {
            self.slow_down(group, ledger);
        }
    }

    /// Whether much more is lost in a group than in others, or more of what refuses than of what accepts.
    fn is_limited(&self, group: usize, usual: Option<f64>, accepting: Evidence, ledger: &Ledger) -> bool {
        let (times, more) = LIMITED;
        let [open, closed] = Kind::ALL.map(|kind| own(kind, group, ledger));
        let accepted = if open.probes() >= OWN { open } else { accepting }.loss();
        let rations = closed.probes() >= OWN && closed.loss() > times * accepted + more;
        let loss = self.loss(group, ledger);
        let is_worse = loss > HALF || usual.is_some_and(|usual| loss > times * usual + more);
        found(group, ledger) > 0 && !self.immune && self.slowed < SLOWED && (rations || is_worse)
    }

    /// A quarter of what it got in its last leg, but no less than it answered then.
    fn slow_down(&mut self, group: usize, ledger: &Ledger) {
        let answers = last(group, ledger);
        let (sent, answered) = (self.silent / self.seconds, answers as f64 / self.seconds);
        self.limit = Some((sent / SLOWER).max(answered * FASTER).max(silent(group, ledger) / LONGEST));
        self.before_slowing = Some((self.loss(group, ledger), answers));
        self.slowed += 1;
    }

    /// Whether nothing in it answers any more that did: a host that has gone, a cable, a ban.
    pub(super) fn is_gone(&self) -> bool {
        let seen = self.canaries[0] + self.canaries[1];
        seen.probes() >= GONE.0 && seen.loss() >= GONE.1
    }

    /// The loss in the last leg, of the kind that lost more: by its canaries, or by all that is known where those are few.
    fn loss(&self, group: usize, ledger: &Ledger) -> f64 {
        let of = |kind: Kind| {
            let leg = self.canaries[kind as usize];
            if leg.probes() >= OWN { leg } else { own(kind, group, ledger) }
        };
        let losses = Kind::ALL.into_iter().map(of).filter(|seen| seen.probes() >= OWN).map(Evidence::loss);
        losses.fold(0.0, f64::max)
    }
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

/// Targets of a group that have not answered, about; at least one.
pub(super) fn silent(group: usize, ledger: &Ledger) -> f64 {
    ledger.silent(group).max(1) as f64
}

fn found(group: usize, ledger: &Ledger) -> u64 {
    Kind::ALL.into_iter().map(|kind| ledger.found(kind, group)).sum()
}

/// Answers to the last pass over a group.
fn last(group: usize, ledger: &Ledger) -> u64 {
    Kind::ALL.into_iter().map(|kind| ledger.last(kind, group)).sum()
}
