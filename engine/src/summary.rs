//! What a scan was, in numbers, once it is over.

use std::time::{Duration, SystemTime};

pub use crate::loss::Interval;
use crate::plan::AddressRange;

/// Why there were no more passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Ended {
    /// Everything has answered.
    Answered,
    /// No more can be missing than the asked completeness allows.
    Complete,
    /// Nothing has answered at all, so that there was nothing to go by.
    Unheard,
    /// The limit of passes was reached.
    Passes,
    /// The scan was stopped.
    Stopped,
}

impl Ended {
    /// `answered`, `complete`, `unheard`, `passes`, `stopped`.
    pub fn name(self) -> &'static str {
        match self {
            Ended::Answered => "answered",
            Ended::Complete => "complete",
            Ended::Unheard => "unheard",
            Ended::Passes => "passes",
            Ended::Stopped => "stopped",
        }
    }
}

/// How complete a scan's result is, by its own measurements. Answers are SYN-ACKs and RSTs; targets behind a firewall that
/// drops every probe do not answer, and are not missing.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Completeness {
    /// The share of all answers that was asked for.
    pub asked: f64,
    /// The share of probes that were lost, there or back, of those to targets that answer. None where nothing can be said.
    pub loss: Option<Interval>,
    /// Open targets that were not found. None where nothing answered, so that nobody can vouch for anything.
    pub missing_open: Option<Interval>,
    /// Targets, open or closed, whose answers were not heard.
    pub missing: Option<Interval>,
    /// Prefixes (/24, /48) that answered and had stopped to by the end: what is silent there says nothing.
    pub gone: u64,
    /// Passes made.
    pub passes: u8,
    /// Why there were no more.
    pub ended: Ended,
    /// How often targets that had answered were probed again to measure the loss,
    pub canaries: u64,
    /// and how many of these probes were not answered.
    pub canaries_lost: u64,
}

/// The hosts that were looked for before the scan proper, and what became of those that kept silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discovery {
    /// Hosts that were asked: those that are neither on-link nor this machine.
    pub hosts: u64,
    /// Of these, those that answered.
    pub alive: u64,
    /// Those that did not, and were not scanned. 0 where the discovery was stopped.
    pub skipped_hosts: u64,
    /// Their targets; they are among the unclassified.
    pub skipped_targets: u64,
    /// Probes sent, echo requests included; not in [`Summary::sent`].
    pub probes: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// How a scan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Every target was classified.
    Complete,
    /// It was stopped; targets not reached are not classified.
    Stopped,
}

/// The account of a finished scan. `open + closed + filtered + unclassified == targets` always holds.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// How it ended.
    pub outcome: Outcome,
    /// Targets in the plan.
    pub targets: u64,
    /// Targets found open.
    pub open: u64,
    /// Targets found closed.
    pub closed: u64,
    /// Targets found filtered, silent ones included.
    pub filtered: u64,
    /// Of `filtered`, those from which nothing came back.
    pub silent: u64,
    /// Targets without a verdict: their host is down, or was skipped because it answered nothing, or the scan was stopped before it reached them, or aborted before
    /// their answer could come.
    pub unclassified: u64,
    /// On-link hosts that did not answer.
    pub hosts_down: u64,
    /// What looking for hosts came to; none where it was not done.
    pub discovery: Option<Discovery>,
    /// The hosts that were skipped, as ranges: ascending, IPv4 first. None of them where they are more than 65,536 ranges.
    pub skipped: Vec<AddressRange>,
    /// Probes sent, by pass.
    pub sent: Vec<u64>,
    /// Whether more was sent than is counted here: the scan was resumed after a run that was killed, and what that run sent
    /// and heard after its last checkpoint nobody knows. Of targets and verdicts nothing is missing.
    pub sent_at_least: bool,
    /// Probes sent once more within their pass, because our own side had dropped something at the time; not in `sent`.
    pub again: u64,
    /// How complete the result is. None for a connect scan: the kernel repeats probes by itself, and says nothing of it.
    pub completeness: Option<Completeness>,
    /// Control probes: to random ports of hosts whose answers are questionable; not in `sent`.
    pub controls: u64,
    /// Hosts with open ports that something speaks against.
    pub suspect_hosts: u64,
    /// Replies that were ours and meant something, duplicates included.
    pub replies: u64,
    /// Replies that changed nothing.
    pub duplicates: u64,
    /// What arrived and was not ours, by kind.
    pub strays: Strays,
    /// What our own side lost, by layer.
    pub drops: Drops,
    /// Smoothed round-trip time; none if nothing answered.
    pub srtt: Option<Duration>,
    /// When it began, by the system's clock.
    pub started: SystemTime,
    /// From the beginning to the end, cooldown included.
    pub elapsed: Duration,
    /// Time spent in passes, without neighbours, spacing, cooldown, and probing again after our own drops.
    pub sending: Duration,
    /// The seed that fixed the order.
    pub seed: u64,
    /// The first source port; pass p leaves from this plus p, canaries from the one after the last pass's, control
    /// probes from the one after that. None for a connect scan.
    pub source_port: Option<u16>,
    /// The links in use, as `kind@interface`.
    pub links: Vec<String>,
}

impl Summary {
    /// SYNs sent in all: probes, those sent again, canaries and control probes; the discovery's apart.
    pub fn syns(&self) -> u64 {
        let canaries = self.completeness.map_or(0, |completeness| completeness.canaries);
        self.sent.iter().sum::<u64>() + self.again + self.controls + canaries
    }

    /// Probes a second while sending.
    pub fn rate(&self) -> f64 {
        let seconds = self.sending.as_secs_f64();
        if seconds > 0.0 { self.sent.iter().sum::<u64>() as f64 / seconds } else { 0.0 }
    }
}

/// Frames that passed the kernel's filter and were not answers to our probes, by what gave them away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Strays {
    /// Too short, inconsistent, or with a wrong checksum.
    pub malformed: u64,
    /// Well-formed, but of no kind that answers a SYN (a plain ACK, data, an ICMP code without meaning for us).
    pub unrelated: u64,
    /// To a port that none of our passes used.
    pub wrong_port: u64,
    /// From an address or port that is not in the plan.
    pub foreign: u64,
    /// A TCP answer whose acknowledgement does not prove that it saw our SYN.
    pub bad_ack: u64,
    /// An ICMP error whose quoted header is not one of our probes.
    pub bad_quote: u64,
    /// Ours, but of a stripe that is closed.
    pub late: u64,
    /// Our own probes, seen again on the loopback.
    pub own: u64,
}

impl Strays {
    /// Of counts in the order of [`Strays::by_kind`].
    pub(crate) fn of_kinds(counts: [u64; 8]) -> Strays {
        let [malformed, unrelated, wrong_port, foreign, bad_ack, bad_quote, late, own] = counts;
        Strays { malformed, unrelated, wrong_port, foreign, bad_ack, bad_quote, late, own }
    }

    /// All kinds together.
    pub fn total(&self) -> u64 {
        self.by_kind().iter().map(|(_, n)| n).sum()
    }

    /// Each kind's name and count.
    pub fn by_kind(&self) -> [(&'static str, u64); 8] {
        [
            ("malformed", self.malformed),
            ("unrelated", self.unrelated),
            ("wrong_port", self.wrong_port),
            ("foreign", self.foreign),
            ("bad_ack", self.bad_ack),
            ("bad_quote", self.bad_quote),
            ("late", self.late),
            ("own", self.own),
        ]
    }
}

/// What was lost on our own side, by the layer that lost it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Drops {
    /// Replies lost because the receive ring or socket buffer was full.
    pub ring: u64,
    /// Packets that the device says it received and dropped, over the time of the scan.
    pub device_rx: u64,
    /// Packets that the device says it failed to send, over the time of the scan, less those that were sent again.
    pub device_tx: u64,
    /// Probes that the device dropped after the link had taken them, by the link's own account.
    pub send_drops: u64,
    /// Probes that the kernel refused to send and that were given up.
    pub send_errors: u64,
    /// Probes that the kernel refused at first (full queue) and that were sent later; not lost.
    pub send_retries: u64,
}

impl Drops {
    /// Of counts in the order of [`Drops::by_layer`].
    pub(crate) fn of_layers(counts: [u64; 6]) -> Drops {
        let [ring, device_rx, device_tx, send_drops, send_errors, send_retries] = counts;
        Drops { ring, device_rx, device_tx, send_drops, send_errors, send_retries }
    }

    /// All losses together.
    pub fn total(&self) -> u64 {
        self.ring + self.device_rx + self.device_tx + self.send_drops + self.send_errors
    }

    /// Each layer's name and count.
    pub fn by_layer(&self) -> [(&'static str, u64); 6] {
        [
            ("ring", self.ring),
            ("device_rx", self.device_rx),
            ("device_tx", self.device_tx),
            ("send_drops", self.send_drops),
            ("send_errors", self.send_errors),
            ("send_retries", self.send_retries),
        ]
    }
}
