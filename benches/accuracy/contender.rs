//! Who scans.

use halfopen::Plan;

use crate::observed::Observed;
use crate::outcome::Said;
use crate::{engine, fixed, nmap};

/// A way to scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// One probe a target at so many a second, and a wait: masscan's and zmap's way.
    Fixed(u32),
    /// nmap's, `-sS -T4`.
    Nmap,
    /// halfopen's, with its defaults.
    Halfopen,
}

impl Contender {
    pub(crate) const ALL: [Contender; 4] =
        [Contender::Fixed(100_000), Contender::Fixed(10_000), Contender::Nmap, Contender::Halfopen];

    pub(crate) fn name(self) -> String {
        match self {
            Contender::Fixed(rate) => format!("fixed {}k/s", rate / 1000),
            Contender::Nmap => "nmap -T4".into(),
            Contender::Halfopen => "halfopen".into(),
        }
    }

    /// Scans.
    pub(crate) fn scan(self, plan: &Plan, network: &Observed, seed: u64) -> Said {
        match self {
            Contender::Fixed(rate) => fixed::scan(rate, plan, network.clone(), seed),
            Contender::Nmap => nmap::scan(plan, network.clone(), seed),
            Contender::Halfopen => engine::scan(plan, network.clone(), seed),
        }
    }
}
