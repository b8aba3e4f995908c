//! What the last leg has shown of a group of targets.

use crate::loss::{Evidence, Kind, Ledger};

/// Canaries in a leg, and the share of them lost, from which on a group is called gone.
const GONE: (f64, f64) = (8.0, 0.9);

/// A group's canaries.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Group {
    /// Until its last leg began, and then in it, by kind.
    before: [Evidence; 2],
    pub(super) canaries: [Evidence; 2],
    /// The chance that a target of it that answers has been heard in one of its legs, by kind.
    heard: [f64; 2],
}

impl Group {
    /// A leg over it begins.
    pub(super) fn enter(&mut self, group: usize, ledger: &Ledger) {
        self.before = Kind::ALL.map(|kind| ledger.canaries(kind, group));
    }

    /// Notes what the leg has shown.
    pub(super) fn conclude(&mut self, group: usize, ledger: &Ledger) {
        self.canaries = Kind::ALL.map(|kind| ledger.canaries(kind, group).since(self.before[kind as usize]));
    }

    /// In its last leg, probes were lost with these chances.
    pub(super) fn lose(&mut self, lost: [f64; 2]) {
        self.heard = [0, 1].map(|kind| 1.0 - (1.0 - self.heard[kind]) * lost[kind]);
    }

    /// The chance that a target that answers was not heard in any leg.
    pub(super) fn never(&self, kind: Kind) -> f64 {
        1.0 - self.heard[kind as usize]
    }

    /// Whether nothing in it answers any more that did: a host that has gone, a cable, a ban.
    pub(super) fn is_gone(&self) -> bool {
        let seen = self.canaries[0] + self.canaries[1];
        seen.probes() >= GONE.0 && seen.loss() >= GONE.1
    }
}
