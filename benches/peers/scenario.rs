//! The tables: which targets answer, how many there are, who takes part.

use halfopen_bench::beside::plan::Plan;
use halfopen_lab::Answering;

use crate::contender::Contender;

/// One table.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) key: Key,
    pub(crate) answering: Answering,
    pub(crate) plan: Plan,
}

/// Its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Key {
    /// Throughput: no target answers
    None,
    /// Throughput: one target in a hundred answers
    Percent,
    /// Throughput: every target answers
    Every,
    /// The time of a whole command
    Whole,
    /// A small plan, beside nmap: one target in a hundred answers
    Small,
    /// A small plan, beside nmap: every target answers
    SmallEvery,
}

/// What the time of a whole command is compared on.
const WHOLE: u32 = 1 << 20;

impl Scenario {
    /// All, with so many targets where throughput is measured.
    pub(crate) fn all(targets: u32) -> [Scenario; 6] {
        let wide = |key, answering| Scenario { key, answering, plan: Plan::wide(targets) };
        [
            wide(Key::None, Answering::Silent),
            wide(Key::Percent, Answering::Percent),
            wide(Key::Every, Answering::Every),
            Scenario { key: Key::Whole, answering: Answering::Percent, plan: Plan::wide(WHOLE.min(targets)) },
            Scenario { key: Key::Small, answering: Answering::Percent, plan: Plan::small() },
            Scenario { key: Key::SmallEvery, answering: Answering::Every, plan: Plan::small() },
        ]
    }

    /// Whether somebody takes part: zmap probes one port, nmap is not made for millions of hosts, and what only sends
    /// stands where only sending counts.
    pub(crate) fn admits(&self, contender: Contender) -> bool {
        match contender {
            Contender::Halfopen(_) | Contender::Masscan => true,
            Contender::Zmap => !self.is_small(),
            Contender::Nmap => self.is_small(),
            Contender::Bare(_) => self.key == Key::None,
        }
    }

    fn is_small(&self) -> bool {
        matches!(self.key, Key::Small | Key::SmallEvery)
    }

    /// Its heading.
    pub(crate) fn title(&self) -> String {
        let what = match self.key {
            Key::None | Key::Percent | Key::Every => "Throughput",
            Key::Whole => "The whole command",
            Key::Small | Key::SmallEvery => "A small plan",
        };
        let Scenario { answering, plan, .. } = self;
        format!("{what}, {answering}: 2^{} targets ({}, port {})", plan.len().ilog2(), plan.prefix(), plan.ports())
    }
}
