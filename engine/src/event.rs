//! What a running scan tells its owner, in the order in which it happens.

use std::net::IpAddr;
use std::time::Duration;

use crate::verdict::{DownReason, Suspicion, Verdict};

/// One thing that happened in a scan.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A target was classified. Every target of the plan gets one, save those of hosts that are down or skipped and the states
    /// that the builder was told not to report; a second one for the same target says what it supersedes.
    Verdict(Verdict),
    /// An on-link host did not answer on the link: none of its ports were probed.
    HostDown {
        /// The host.
        address: IpAddr,
        /// What was not answered.
        reason: DownReason,
    },
    /// Something speaks against open ports of a host, whether reported before or to come: at most one for each host.
    Suspect(Suspicion),
    /// How far the scan is; several a second, and the last one at its end. Dropped, not queued, when nobody reads.
    Progress(Progress),
    /// Something the owner should know that does not end the scan. One sentence for people.
    Warning(String),
}

impl Event {
    /// Whether it is one of those that checkpoints count: verdicts, hosts that are down, and suspicions.
    pub fn counts(&self) -> bool {
        matches!(self, Event::Verdict(_) | Event::HostDown { .. } | Event::Suspect(_))
    }
}

/// What the scan is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Phase {
    /// Asking for the link addresses of on-link hosts.
    #[default]
    Neighbours,
    /// Looking for hosts that answer anything.
    Discovery,
    /// Sending probes.
    Probing {
        /// The pass, from 0.
        pass: u8,
    },
    /// Waiting until answers to this pass can no longer be on the way, before the next one.
    Spacing {
        /// The pass just made, from 0.
        pass: u8,
    },
    /// Waiting for late replies.
    Cooldown,
    /// Over.
    Done,
}

/// What keeps the rate from being higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RateBound {
    /// Nothing is sent yet.
    #[default]
    None,
    /// It is as high as was asked for.
    Asked,
    /// A single host would get more than it may.
    Hosts,
    /// Nobody has answered whose probes could measure the loss.
    Blind,
    /// It is still being raised: nothing has been lost so far for being too fast.
    Growing,
    /// A narrow place on the way, or on this machine, that loses more when it is higher.
    Loss,
    /// Hosts that ration their answers, and are asked more slowly.
    Rationing,
    /// This machine sends as fast as it can.
    Machine,
}

impl RateBound {
    /// All of them.
    pub const ALL: [RateBound; 8] = [
        RateBound::None,
        RateBound::Asked,
        RateBound::Hosts,
        RateBound::Blind,
        RateBound::Growing,
        RateBound::Loss,
        RateBound::Rationing,
        RateBound::Machine,
    ];

    /// `none`, `asked`, `hosts`, `blind`, `growing`, `loss`, `rationing`, `machine`.
    pub fn name(self) -> &'static str {
        match self {
            RateBound::None => "none",
            RateBound::Asked => "asked",
            RateBound::Hosts => "hosts",
            RateBound::Blind => "blind",
            RateBound::Growing => "growing",
            RateBound::Loss => "loss",
            RateBound::Rationing => "rationing",
            RateBound::Machine => "machine",
        }
    }
}

/// A snapshot of a scan's counters.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Targets in the plan.
    pub targets: u64,
    /// Share of the work that is done, 0 to 1: probes of all passes that can still be needed.
    pub done: f64,
    /// Probes sent.
    pub sent: u64,
    /// Probes sent once more because our own side had dropped something; not in `sent`.
    pub again: u64,
    /// Targets found open.
    pub open: u64,
    /// Targets found closed.
    pub closed: u64,
    /// Targets found filtered so far (by ICMP; silence is counted at the end).
    pub filtered: u64,
    /// On-link hosts that did not answer.
    pub hosts_down: u64,
    /// Replies lost on our own side, all layers together.
    pub drops: u64,
    /// Time since the scan began.
    pub elapsed: Duration,
    /// Answers to our probes, duplicates included.
    pub replies: u64,
    /// Probes a second over the last second or so.
    pub rate: f64,
    /// What keeps it from being higher.
    pub bound: RateBound,
    /// The share of probes lost on the way there or back, over the last ten seconds or so; none where too few targets were
    /// probed again to tell.
    pub loss: Option<f64>,
    /// Estimated time until the last probe and its cooldown; none while there is nothing to estimate from.
    pub remaining: Option<Duration>,
}
