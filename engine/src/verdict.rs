//! What halfopen says of a target: a state, and the reason for it. The rules are nmap's (`nmap -sS --reason`); which
//! packet leads to which verdict is decided in `receiver.rs`, this file only names the outcomes.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::target::Target;

/// What a port is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Something accepts connections there.
    Open,
    /// The host answers, and nothing listens there.
    Closed,
    /// Nothing came back, or an error on the way said that nothing will.
    Filtered,
}

impl State {
    /// All states, in the order in which summaries list them.
    pub const ALL: [State; 3] = [State::Open, State::Closed, State::Filtered];

    /// `open`, `closed`, `filtered`.
    pub fn name(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Closed => "closed",
            State::Filtered => "filtered",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a target has its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A SYN-ACK that acknowledges our SYN: open.
    SynAck,
    /// A SYN without ACK, the split handshake: open.
    Syn,
    /// A RST: closed.
    Rst,
    /// The kernel's word that the connection was refused (connect scan only): closed.
    Refused,
    /// An ICMP error (RFC 792) of this type and code: filtered.
    Icmp {
        /// 3 (destination unreachable) or 11 (time exceeded).
        kind: u8,
        /// The code, one of 0 1 2 3 9 10 13 under kind 3.
        code: u8,
    },
    /// An ICMPv6 error (RFC 4443) of this type and code: filtered.
    Icmpv6 {
        /// 1 (destination unreachable) or 3 (time exceeded).
        kind: u8,
        /// The code, one of 0..=6 under kind 1.
        code: u8,
    },
    /// The kernel's word that no packet can reach the host (connect scan only): filtered.
    HostUnreachable,
    /// The kernel's word that no packet can reach the network (connect scan only): filtered.
    NetUnreachable,
    /// The kernel's word that a rule forbids the connection (connect scan only): filtered.
    Prohibited,
    /// Nothing came back after all passes: filtered.
    NoResponse,
}

impl Reason {
    /// The reason's name as it stands in every output.
    pub fn name(self) -> &'static str {
        match self {
            Reason::SynAck => "syn-ack",
            Reason::Syn => "syn",
            Reason::Rst => "rst",
            Reason::Refused => "conn-refused",
            Reason::Icmp { kind: 3, code } => match code {
                0 => "net-unreach",
                1 => "host-unreach",
                2 => "proto-unreach",
                3 => "port-unreach",
                9 => "net-prohibited",
                10 => "host-prohibited",
                13 => "admin-prohibited",
                _ => "dest-unreach",
            },
            Reason::Icmpv6 { kind: 1, code } => match code {
                0 => "no-route",
                1 => "admin-prohibited",
                2 => "beyond-scope",
                3 => "addr-unreach",
                4 => "port-unreach",
                5 => "failed-policy",
                6 => "reject-route",
                _ => "dest-unreach",
            },
            Reason::Icmp { .. } | Reason::Icmpv6 { .. } => "time-exceeded",
            Reason::HostUnreachable => "host-unreach",
            Reason::NetUnreachable => "net-unreach",
            Reason::Prohibited => "admin-prohibited",
            Reason::NoResponse => "no-response",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What speaks against an answer: it may come from a tarpit, a proxy or a forger, and not from what it seems to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Suspect {
    /// The host accepts connections on any port: nearly all its targets are open, and so are random high ports.
    EveryPort,
    /// A SYN-ACK that no TCP stack sends: a window of 0 and no options.
    Forged,
    /// Its TTL departs from that of the host's other SYN-ACKs: it comes from somewhere else.
    Ttl,
}

impl Suspect {
    /// `every-port`, `forged`, `ttl`.
    pub fn name(self) -> &'static str {
        match self {
            Suspect::EveryPort => "every-port",
            Suspect::Forged => "forged",
            Suspect::Ttl => "ttl",
        }
    }
}

impl fmt::Display for Suspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What became known of a host after some of its answers were reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Suspicion {
    /// The host.
    pub address: IpAddr,
    /// What speaks against its open ports.
    pub reason: Suspect,
    /// Under [`Suspect::Ttl`]: the TTL that its answers have; only those that depart from it are suspect.
    pub usual_ttl: Option<u8>,
}

impl Suspicion {
    /// TTLs this close to each other are of one host: routes to it may differ in length, and change.
    pub const NEAR: u8 = 3;

    /// Whether it speaks against this verdict.
    pub fn concerns(&self, verdict: &Verdict) -> bool {
        verdict.target.address == self.address && verdict.state == State::Open && self.concerns_ttl(verdict.ttl)
    }

    /// Whether it speaks against an open port of the host that answered with this TTL.
    pub fn concerns_ttl(&self, ttl: Option<u8>) -> bool {
        self.usual_ttl.zip(ttl).is_none_or(|(usual, ttl)| usual.abs_diff(ttl) > Self::NEAR)
    }
}

/// Why a host is down: what was asked of it on the link, and not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DownReason {
    /// No answer to ARP (IPv4).
    NoArp,
    /// No answer to neighbour discovery (IPv6).
    NoNd,
}

impl DownReason {
    /// `no-arp`, `no-nd`.
    pub fn name(self) -> &'static str {
        match self {
            DownReason::NoArp => "no-arp",
            DownReason::NoNd => "no-nd",
        }
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What halfopen says of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Of whom.
    pub target: Target,
    /// What it is.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// Who sent the ICMP error, if one did; it is often a router and not the target.
    pub sender: Option<IpAddr>,
    /// TTL or hop limit of the answer as it arrived; none where no packet was seen.
    pub ttl: Option<u8>,
    /// From the probe to its answer; none where there was no answer, and for most targets of stripes larger than 2^20,
    /// whose send times are sampled.
    pub rtt: Option<Duration>,
    /// The pass whose probe was answered, from 0; for no-response the last pass made.
    pub pass: u8,
    /// How often the target was probed until then, probes that our own side dropped apart.
    pub probes: u8,
    /// When the answer arrived, by the system's clock; for no-response when the wait for it ended.
    pub time: SystemTime,
    /// The state reported before, when a stronger answer corrects it (a SYN-ACK after a RST, say).
    pub supersedes: Option<State>,
    /// What speaks against the answer, as far as that was known when it came: [`crate::Event::Suspect`] may follow.
    pub suspect: Option<Suspect>,
}
