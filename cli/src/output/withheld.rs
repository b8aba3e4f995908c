//! `--hide-suspect`: open findings are held back until the end of the scan, because what speaks against a host may become
//! known after its answers came; what is suspect then is left out, and counted. All other findings go on at once.

use std::collections::HashMap;
use std::net::IpAddr;

use halfopen::{Suspicion, Verdict};

/// Open findings that may yet turn out to be suspect. What is already is not kept, so a tarpit takes no room.
#[derive(Debug, Default)]
pub(super) struct Withheld {
    open: Vec<Verdict>,
    told: HashMap<IpAddr, Suspicion>,
    left_out: u64,
}

impl Withheld {
    /// Takes an open finding.
    pub(super) fn hold(&mut self, verdict: &Verdict) {
        if self.is_suspect(verdict) {
            self.left_out += 1;
        } else {
            self.open.push(verdict.clone());
        }
    }

    /// Takes what speaks against a host.
    pub(super) fn tell(&mut self, suspicion: Suspicion) {
        self.told.insert(suspicion.address, suspicion);
    }

    /// Gives what nothing speaks against, in the order in which it came.
    pub(super) fn release(&mut self) -> Vec<Verdict> {
        let held = std::mem::take(&mut self.open);
        let before = held.len();
        let clear: Vec<_> = held.into_iter().filter(|verdict| !self.is_suspect(verdict)).collect();
        self.left_out += (before - clear.len()) as u64;
        clear
    }

    /// How many findings were left out.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    fn is_suspect(&self, verdict: &Verdict) -> bool {
        let told = self.told.get(&verdict.target.address);
        verdict.suspect.is_some() || told.is_some_and(|suspicion| suspicion.concerns(verdict))
    }
}
