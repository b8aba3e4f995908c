//! The packets that a phantom sends in answer to one SYN, for every behaviour: true ones, forged ones and garbage.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::frames::{self, Macs, Reply, Segment, Way};
use crate::phantoms::mac_of;
use crate::random::{address_part, hash};
use crate::scenario::{Behaviour, Forgery, Garbage};

/// The kind of a packet sent, for the tally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    SynAck,
    Split,
    Reset,
    Icmp,
    Forged,
}

/// Added to a number that must not be the right one: far from it, and not by a difference anybody tolerates.
const WRONG_NUMBER: u32 = 0x1357_9BDF;
/// Flipped in a port that must not be the right one: 16,384 away from it, further than any range of passes.
const WRONG_PORT: u16 = 0x4000;
/// The TTL of what comes from further away than the host.
const FAR: u8 = 50;
/// Between the two halves of a contradictory answer.
const CONTRADICTION: u64 = 1_000_000;

/// What there is to know for an answer to one SYN.
pub(crate) struct Replies<'a> {
    pub(crate) seed: u64,
    /// Who sends an ICMP error: the host, or a router.
    pub(crate) error_sender: IpAddr,
    pub(crate) short_quote: bool,
    pub(crate) probe: &'a Segment<'a>,
}

impl Replies<'_> {
    /// Calls `send` with each packet, its kind, and when it leaves.
    pub(crate) fn to(&self, behaviour: Behaviour, send: &mut impl FnMut(Sent, u64, Vec<u8>)) {
        match behaviour {
            Behaviour::Open => send(Sent::SynAck, 0, self.tcp(&self.syn_ack())),
            Behaviour::ForgedWindow => send(Sent::SynAck, 0, self.tcp(&Reply { bare: true, ..self.syn_ack() })),
            Behaviour::OpenFar => send(Sent::SynAck, 0, self.tcp_with(FAR, &self.syn_ack())),
            Behaviour::Closed => send(Sent::Reset, 0, self.tcp(&self.reset(1))),
            Behaviour::ClosedSameAck => send(Sent::Reset, 0, self.tcp(&self.reset(0))),
            Behaviour::Split => send(Sent::Split, 0, self.tcp(&Reply { ack: None, ..self.syn_ack() })),
            Behaviour::OpenThenClosed => {
                send(Sent::SynAck, 0, self.tcp(&self.syn_ack()));
                send(Sent::Reset, CONTRADICTION, self.tcp(&self.reset(1)));
            }
            Behaviour::ClosedThenOpen => {
                send(Sent::Reset, 0, self.tcp(&self.reset(1)));
                send(Sent::SynAck, CONTRADICTION, self.tcp(&self.syn_ack()));
            }
            Behaviour::Icmp { kind, code } => send(Sent::Icmp, 0, self.icmp(kind, code, self.quote())),
            Behaviour::Forged(forgery) => send(Sent::Forged, 0, self.forged(forgery)),
            Behaviour::Garbage(garbage) => send(Sent::Forged, 0, self.garbage(garbage)),
            Behaviour::Silent | Behaviour::Population { .. } => {}
        }
    }

    fn forged(&self, forgery: Forgery) -> Vec<u8> {
        let syn_ack = self.syn_ack();
        let wrong_ack = Some(self.probe.seq.wrapping_add(WRONG_NUMBER));
        match forgery {
            Forgery::SynAck => self.tcp(&Reply { ack: wrong_ack, ..syn_ack }),
            Forgery::Rst => self.tcp(&Reply { ack: wrong_ack, ..self.reset(1) }),
            Forgery::IcmpSeq => self.forged_icmp(4, &self.probe.seq.wrapping_add(WRONG_NUMBER).to_be_bytes()),
            Forgery::IcmpPort => self.forged_icmp(0, &(self.probe.source_port ^ WRONG_PORT).to_be_bytes()),
            Forgery::Port => self.tcp(&Reply { destination_port: self.probe.source_port ^ WRONG_PORT, ..syn_ack }),
            Forgery::Sender => {
                let source = stranger(self.probe.destination);
                frames::tcp(&Way { source, ..self.way(64, self.probe.destination) }, &syn_ack)
            }
            Forgery::PlainAck => self.tcp(&Reply { syn: false, ..syn_ack }),
        }
    }

    /// Port unreachable, about a probe whose TCP header differs at `offset`.
    fn forged_icmp(&self, offset: usize, bytes: &[u8]) -> Vec<u8> {
        let mut quote = self.quote().to_vec();
        let start = self.probe.header_length + offset;
        quote[start..start + bytes.len()].copy_from_slice(bytes);
        let (kind, code) = if self.probe.destination.is_ipv4() { (3, 3) } else { (1, 4) };
        self.icmp(kind, code, &quote)
    }

    fn garbage(&self, garbage: Garbage) -> Vec<u8> {
        let mut frame = self.tcp(&self.syn_ack());
        let transport = self.link_length() + self.probe.ip_header_length_of_reply();
        match garbage {
            Garbage::Short => frame.truncate(transport + 10),
            Garbage::Checksum => frame[transport + 16] ^= 0xFF,
            Garbage::Noise => {
                let mut state = self.seed ^ u64::from(self.probe.seq);
                for byte in &mut frame[transport..] {
                    state = hash(&[state]);
                    *byte = state as u8;
                }
            }
        }
        frame
    }

    fn link_length(&self) -> usize {
        if self.probe.macs.is_some() { 14 } else { 0 }
    }

    fn syn_ack(&self) -> Reply {
        Reply { seq: self.initial_number(), ack: Some(self.probe.seq.wrapping_add(1)), syn: true, ..self.blank() }
    }

    /// RFC 9293 section 3.10.7.1: a reset for a SYN has sequence number zero and acknowledges it.
    fn reset(&self, acknowledged: u32) -> Reply {
        Reply { ack: Some(self.probe.seq.wrapping_add(acknowledged)), rst: true, ..self.blank() }
    }

    fn blank(&self) -> Reply {
        let (source_port, destination_port) = (self.probe.destination_port, self.probe.source_port);
        Reply { source_port, destination_port, seq: 0, ack: None, syn: false, rst: false, bare: false }
    }

    /// The same for a SYN sent again, as a real stack's would be.
    fn initial_number(&self) -> u32 {
        let ports = u64::from(self.probe.source_port) << 16 | u64::from(self.probe.destination_port);
        hash(&[self.seed, address_part(self.probe.destination), address_part(self.probe.source), ports]) as u32
    }

    fn tcp(&self, reply: &Reply) -> Vec<u8> {
        self.tcp_with(64, reply)
    }

    fn tcp_with(&self, ttl: u8, reply: &Reply) -> Vec<u8> {
        frames::tcp(&self.way(ttl, self.probe.destination), reply)
    }

    fn icmp(&self, kind: u8, code: u8, quote: &[u8]) -> Vec<u8> {
        // Routers start at 255, hosts at 64: as most do.
        let ttl = if self.error_sender == self.probe.destination { 64 } else { 255 };
        frames::icmp_error(&self.way(ttl, self.error_sender), kind, code, quote)
    }

    fn quote(&self) -> &[u8] {
        // RFC 792: the IP header and 64 bits; RFC 1812 and RFC 4443: as much as fits, which is all of a probe.
        let short = (self.probe.header_length + 8).min(self.probe.packet.len());
        if self.short_quote { &self.probe.packet[..short] } else { self.probe.packet }
    }

    /// Back to the scanner: from the link address that the probe was sent to, unless a router speaks.
    fn way(&self, ttl: u8, source: IpAddr) -> Way {
        let macs = self.probe.macs.map(|macs| Macs {
            source: if source == self.probe.destination { macs.destination } else { mac_of(source) },
            destination: macs.source,
        });
        Way { macs, source, destination: self.probe.source, ttl }
    }
}

impl Segment<'_> {
    /// Replies have no IP options and no extension headers.
    fn ip_header_length_of_reply(&self) -> usize {
        if self.destination.is_ipv4() { 20 } else { 40 }
    }
}

/// An address of no plan (RFC 5737, RFC 3849), another one for every target.
fn stranger(of: IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::new(203, 0, 113, address.octets()[3])),
        IpAddr::V6(address) => {
            let tail = u128::from(address.to_bits() as u32);
            IpAddr::V6(Ipv6Addr::from(0x2001_0DB8_FFFF_u128 << 80 | tail))
        }
    }
}
