//! What a port does with a SYN, and the verdict that follows from it (nmap's rules).

use std::net::IpAddr;

use halfopen::{Reason, State, Target};

use super::Expected;
use crate::random::{address_part, hash, share};

/// What a port does with a SYN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Behaviour {
    /// `open`: SYN-ACK.
    Open,
    /// `forged-window`: SYN-ACK with the right number, and yet as forgers on the way send it: window 0, no options.
    ForgedWindow,
    /// `open-far`: SYN-ACK that has come a longer way than the host's others (14 hops).
    OpenFar,
    /// `closed`: RST-ACK that acknowledges the SYN.
    Closed,
    /// `closed-same-ack`: RST-ACK whose acknowledgement is the SYN's own number, as some stacks send it.
    ClosedSameAck,
    /// `silent`: nothing.
    Silent,
    /// `split`: a bare SYN, the first half of a split handshake.
    Split,
    /// `open-then-closed`: SYN-ACK, and a RST 1 ms later.
    OpenThenClosed,
    /// `closed-then-open`: RST-ACK, and a SYN-ACK 1 ms later.
    ClosedThenOpen,
    /// `icmp T/C`: an ICMP or ICMPv6 error of this type and code, by the address's family.
    Icmp {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
    },
    /// A reply that looks like one to our probe and does not prove it.
    Forged(Forgery),
    /// A reply that is no packet.
    Garbage(Garbage),
    /// `population`: open, closed or silent, as chance has it for this address and port.
    Population {
        /// The share of open ports.
        open: f64,
        /// The share of closed ports.
        closed: f64,
    },
}

/// Replies that must not be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgery {
    /// `forged-syn-ack`: the acknowledgement is not ours.
    SynAck,
    /// `forged-rst`: the acknowledgement is not ours.
    Rst,
    /// `forged-icmp-seq`: the quoted sequence number is not ours.
    IcmpSeq,
    /// `forged-icmp-port`: the quoted source port is not ours.
    IcmpPort,
    /// `forged-port`: a SYN-ACK to a port that no probe came from.
    Port,
    /// `forged-sender`: a SYN-ACK from an address that was not asked.
    Sender,
    /// `forged-ack`: a plain ACK, which answers no SYN.
    PlainAck,
}

/// Replies that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Garbage {
    /// `garbage-short`: a SYN-ACK cut off within its TCP header.
    Short,
    /// `garbage-checksum`: a SYN-ACK with a wrong TCP checksum.
    Checksum,
    /// `garbage-noise`: an IP header and noise after it.
    Noise,
}

impl Behaviour {
    /// The behaviour of this name; `population` has more to it than a name and is read elsewhere.
    pub(super) fn named(name: &str) -> Option<Behaviour> {
        Some(match name {
            "open" => Behaviour::Open,
            "forged-window" => Behaviour::ForgedWindow,
            "open-far" => Behaviour::OpenFar,
            "closed" => Behaviour::Closed,
            "closed-same-ack" => Behaviour::ClosedSameAck,
            "silent" => Behaviour::Silent,
            "split" => Behaviour::Split,
            "open-then-closed" => Behaviour::OpenThenClosed,
            "closed-then-open" => Behaviour::ClosedThenOpen,
            "forged-syn-ack" => Behaviour::Forged(Forgery::SynAck),
            "forged-rst" => Behaviour::Forged(Forgery::Rst),
            "forged-icmp-seq" => Behaviour::Forged(Forgery::IcmpSeq),
            "forged-icmp-port" => Behaviour::Forged(Forgery::IcmpPort),
            "forged-port" => Behaviour::Forged(Forgery::Port),
            "forged-sender" => Behaviour::Forged(Forgery::Sender),
            "forged-ack" => Behaviour::Forged(Forgery::PlainAck),
            "garbage-short" => Behaviour::Garbage(Garbage::Short),
            "garbage-checksum" => Behaviour::Garbage(Garbage::Checksum),
            "garbage-noise" => Behaviour::Garbage(Garbage::Noise),
            _ => return Behaviour::icmp(name.strip_prefix("icmp ")?),
        })
    }

    /// `3/13`.
    fn icmp(text: &str) -> Option<Behaviour> {
        let (kind, code) = text.split_once('/')?;
        Some(Behaviour::Icmp { kind: kind.parse().ok()?, code: code.parse().ok()? })
    }

    /// The behaviour of one port, chance decided.
    pub(crate) fn settle(self, seed: u64, target: Target) -> Behaviour {
        let Behaviour::Population { open, closed } = self else { return self };
        let draw = share(hash(&[seed, address_part(target.address), u64::from(target.port)]));
        match draw {
            draw if draw < open => Behaviour::Open,
            draw if draw < open + closed => Behaviour::Closed,
            _ => Behaviour::Silent,
        }
    }

    /// The verdict on it, without the sender of an ICMP error.
    pub(super) fn expected(self, address: IpAddr) -> Expected {
        match self {
            Behaviour::Open
            | Behaviour::ForgedWindow
            | Behaviour::OpenFar
            | Behaviour::OpenThenClosed
            | Behaviour::ClosedThenOpen => Expected::of(State::Open, Reason::SynAck),
            Behaviour::Split => Expected::of(State::Open, Reason::Syn),
            Behaviour::Closed | Behaviour::ClosedSameAck => Expected::of(State::Closed, Reason::Rst),
            Behaviour::Icmp { kind, code } => icmp_reason(address, kind, code)
                .map_or(Expected::SILENCE, |reason| Expected::of(State::Filtered, reason)),
            Behaviour::Silent | Behaviour::Forged(_) | Behaviour::Garbage(_) => Expected::SILENCE,
            Behaviour::Population { .. } => unreachable!("chance is decided before"),
        }
    }
}

/// The reason that an ICMP error gives, if it says anything about a port.
pub(super) fn icmp_reason(address: IpAddr, kind: u8, code: u8) -> Option<Reason> {
    match (address.is_ipv4(), kind, code) {
        (true, 3, 0 | 1 | 2 | 3 | 9 | 10 | 13) | (true, 11, _) => Some(Reason::Icmp { kind, code }),
        (false, 1, 0..=6) | (false, 3, _) => Some(Reason::Icmpv6 { kind, code }),
        _ => None,
    }
}
