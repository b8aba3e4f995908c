//! The shape of nearly all answers, read for a fraction of what a general reader takes: TCP right behind an IP header
//! without options, whole, on plain Ethernet or none. What is anything else, or not sound, is left to `reply.rs`.
//!
//! Fields by their offsets: RFC 791 section 3.1 (IPv4), RFC 8200 section 3 (IPv6), RFC 9293 section 3.1 (TCP).

use etherparse::{EtherType, IpNumber};

use super::checksum::{fold, native_sum};
use super::reply::{Checksum, Layer, Segment, TcpReply};
use crate::target::{Family, Seq};

/// What matters of a TCP segment, as [`TcpReply`] has it, but with addresses as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlainTcp {
    /// Of both addresses.
    pub(crate) family: Family,
    pub(crate) kind: Segment,
    pub(crate) ttl: u8,
    pub(crate) has_options: bool,
    pub(crate) window: u16,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) seq: Seq,
    pub(crate) ack: Seq,
    pub(crate) source: u128,
    pub(crate) destination: u128,
}

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
/// A TCP header without options.
const TCP: usize = 20;

/// What an IP header says, and the segment behind it.
struct Packet<'a> {
    family: Family,
    source: u128,
    destination: u128,
    /// The sum over both.
    addresses: u64,
    ttl: u8,
    segment: &'a [u8],
}

/// Reads a frame; none if it is of another shape, or not sound. `checksum` is as in [`super::reply::read`].
///
/// All of it is one function to the compiler, and a segment is written once: put together of parts, it could be read on
/// only when the parts have been written.
#[inline(always)]
pub(crate) fn read(layer: Layer, frame: &[u8], checksum: Checksum) -> Option<PlainTcp> {
    let Packet { family, source, destination, addresses, ttl, segment } = packet(layer, frame)?;
    let (header, rest) = segment.split_first_chunk::<TCP>()?;
    let len = usize::from(header[12] >> 4) * 4;
    if !(TCP..=segment.len()).contains(&len) || !is_sound(checksum, addresses, header, rest) {
        return None;
    }
    Some(PlainTcp {
        family,
        kind: Segment::of(header[13]),
        ttl,
        has_options: len > TCP,
        window: u16_at(header, 14),
        source_port: u16_at(header, 0),
        destination_port: u16_at(header, 2),
        seq: Seq(u32::from_be_bytes(array(header, 4))),
        ack: Seq(u32::from_be_bytes(array(header, 8))),
        source,
        destination,
    })
}

#[inline(always)]
fn packet(layer: Layer, frame: &[u8]) -> Option<Packet<'_>> {
    let (kind, packet) = match layer {
        Layer::Ethernet => {
            let (header, packet) = frame.split_first_chunk::<ETHERNET>()?;
            (Some(EtherType(u16_at(header, 12))), packet)
        }
        Layer::Ip => (None, frame),
    };
    match packet.first()? {
        0x45 if kind.is_none_or(|kind| kind == EtherType::IPV4) => packet_v4(packet),
        0x60..=0x6f if kind.is_none_or(|kind| kind == EtherType::IPV6) => packet_v6(packet),
        _ => None,
    }
}

#[inline(always)]
fn packet_v4(packet: &[u8]) -> Option<Packet<'_>> {
    /// "More fragments", and the offset.
    const FRAGMENT: u16 = 0x3fff;
    let header: &[u8; IPV4] = packet.first_chunk()?;
    let segment = packet.get(IPV4..usize::from(u16_at(header, 2)))?;
    let is_whole_tcp = header[9] == IpNumber::TCP.0 && u16_at(header, 6) & FRAGMENT == 0;
    if !is_whole_tcp || fold(native_sum(header)) != 0 {
        return None;
    }
    let (source, destination): ([u8; 4], [u8; 4]) = (array(header, 12), array(header, 16));
    Some(Packet {
        family: Family::V4,
        source: u32::from_be_bytes(source).into(),
        destination: u32::from_be_bytes(destination).into(),
        addresses: native_sum(&source) + native_sum(&destination),
        ttl: header[8],
        segment,
    })
}

#[inline(always)]
fn packet_v6(packet: &[u8]) -> Option<Packet<'_>> {
    let header: &[u8; IPV6] = packet.first_chunk()?;
    let segment = packet.get(IPV6..IPV6 + usize::from(u16_at(header, 4)))?;
    if header[6] != IpNumber::TCP.0 {
        return None;
    }
    let (source, destination): ([u8; 16], [u8; 16]) = (array(header, 8), array(header, 24));
    Some(Packet {
        family: Family::V6,
        source: u128::from_be_bytes(source),
        destination: u128::from_be_bytes(destination),
        addresses: native_sum(&source) + native_sum(&destination),
        ttl: header[7],
        segment,
    })
}

/// Whether pseudo header and segment add up to nothing, or the checksum is one that was not filled in and need not be.
#[inline(always)]
fn is_sound(known: Checksum, addresses: u64, header: &[u8; TCP], rest: &[u8]) -> bool {
    let len = (TCP + rest.len()) as u16;
    let pseudo = addresses + u64::from(u16::from(IpNumber::TCP.0).to_be()) + u64::from(len.to_be());
    let unfilled = || fold(pseudo) == !u16::from_ne_bytes(array(header, 16));
    known == Checksum::Trusted
        || fold(pseudo + native_sum(header) + native_sum(rest)) == 0
        || known == Checksum::PerhapsUnfilled && unfilled()
}

#[inline]
fn u16_at<const LEN: usize>(bytes: &[u8; LEN], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}

/// Part of a header; the offsets above are inside.
#[inline]
fn array<const LEN: usize, const PART: usize>(bytes: &[u8; LEN], at: usize) -> [u8; PART] {
    let mut part = [0; PART];
    part.copy_from_slice(&bytes[at..at + PART]);
    part
}

impl From<PlainTcp> for TcpReply {
    #[inline]
    fn from(plain: PlainTcp) -> Self {
        TcpReply {
            source: plain.family.address(plain.source),
            destination: plain.family.address(plain.destination),
            source_port: plain.source_port,
            destination_port: plain.destination_port,
            seq: plain.seq,
            ack: plain.ack,
            kind: plain.kind,
            ttl: plain.ttl,
            window: plain.window,
            has_options: plain.has_options,
        }
    }
}

/// None if the addresses are of two families, as no packet's are.
impl TryFrom<TcpReply> for PlainTcp {
    type Error = ();

    fn try_from(reply: TcpReply) -> Result<Self, ()> {
        let ((family, source), (other, destination)) =
            (Family::number(reply.source), Family::number(reply.destination));
        if other != family {
            return Err(());
        }
        let TcpReply { source_port, destination_port, seq, ack, kind, ttl, window, has_options, .. } = reply;
        Ok(PlainTcp {
            family,
            kind,
            ttl,
            has_options,
            window,
            source_port,
            destination_port,
            seq,
            ack,
            source,
            destination,
        })
    }
}
