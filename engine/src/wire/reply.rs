//! A received frame as what it may be to a SYN scanner: a TCP segment, or an ICMP error that quotes one. Reading is
//! etherparse's; this file picks what matters and checks the checksums. Whether it is an answer to one of our probes,
//! and what it means, is decided in `receiver.rs`.

use std::net::IpAddr;

use etherparse::{
    EtherType, IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice, NetSlice, SlicedPacket, TcpSlice, TransportSlice,
};

use super::checksum::{fold, sum, sum_u32, sum_u128};
use super::plain;
use crate::target::Seq;

/// Where a received frame begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// With an Ethernet header.
    Ethernet,
    /// With an IP header.
    Ip,
}

/// What is known of a frame's transport checksum before it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// That it need not be: the kernel or the device has verified it, or it is not filled in yet (a packet of this very
    /// machine).
    Trusted,
    /// Nothing.
    Unknown,
    /// Nothing, not even whether it is filled in: then it is the sum over the pseudo header, for the device to go on
    /// from (`CHECKSUM_PARTIAL` in linux/skbuff.h). Nothing else is accepted but what is right.
    PerhapsUnfilled,
}

/// A frame that could be an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// A TCP segment.
    Tcp(TcpReply),
    /// An ICMP or ICMPv6 error.
    Icmp(IcmpReply),
}

/// What matters of a TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpReply {
    /// Who sent it.
    pub source: IpAddr,
    /// To which of our addresses.
    pub destination: IpAddr,
    /// From which port.
    pub source_port: u16,
    /// To which of our ports.
    pub destination_port: u16,
    /// Its own sequence number.
    pub seq: Seq,
    /// The acknowledgement field, whether or not the ACK flag makes it count.
    pub ack: Seq,
    /// What the flags make of it.
    pub kind: Segment,
    /// TTL or hop limit as it arrived.
    pub ttl: u8,
    /// The window that it offers.
    pub window: u16,
    /// Whether its header has options.
    pub has_options: bool,
}

/// What a segment's flags make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// SYN and ACK, without RST.
    SynAck,
    /// SYN without ACK.
    Syn,
    /// RST, with or without ACK.
    Rst,
    /// Neither SYN nor RST.
    Other,
}

/// What matters of an ICMP error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpReply {
    /// Who sent the error; often a router.
    pub sender: IpAddr,
    /// To which of our addresses.
    pub destination: IpAddr,
    /// The ICMP or ICMPv6 type.
    pub kind: u8,
    /// The code under that type.
    pub code: u8,
    /// TTL or hop limit as it arrived.
    pub ttl: u8,
    /// None when it quotes something else than the beginning of a TCP segment.
    pub quote: Option<Quote>,
}

/// The beginning of a TCP segment, as an ICMP error returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// Our address, if it is ours.
    pub source: IpAddr,
    /// The address that was probed.
    pub destination: IpAddr,
    /// Our port, if it is ours.
    pub source_port: u16,
    /// The port that was probed.
    pub destination_port: u16,
    /// The probe's sequence number: the cookie.
    pub seq: Seq,
}

/// Why a frame cannot be an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unusable {
    /// Too short, inconsistent, or with a wrong checksum.
    Malformed,
    /// Of a kind that answers no SYN.
    Unrelated,
}

/// Reads a frame. (`checksum` speaks of TCP; those of IPv4 headers and of ICMP are always verified.)
pub fn read(layer: Layer, frame: &[u8], checksum: Checksum) -> Result<Reply, Unusable> {
    match plain::read(layer, frame, checksum) {
        Some(tcp) => Ok(Reply::Tcp(tcp.into())),
        None => read_any(layer, frame, checksum),
    }
}

/// Reads a frame of any shape.
#[cold]
pub(crate) fn read_any(layer: Layer, frame: &[u8], checksum: Checksum) -> Result<Reply, Unusable> {
    let packet = match layer {
        Layer::Ethernet => SlicedPacket::from_ethernet(frame),
        Layer::Ip => SlicedPacket::from_ip(frame),
    };
    let packet = packet.map_err(|_| Unusable::Malformed)?;
    let (ip, payload) = match &packet.net {
        Some(NetSlice::Ipv4(ip)) if !header_is_sound(&ip.header()) => return Err(Unusable::Malformed),
        Some(NetSlice::Ipv4(ip)) => (Ip::v4(ip.header()), ip.payload()),
        Some(NetSlice::Ipv6(ip)) => (Ip::v6(ip.header()), ip.payload()),
        _ => return Err(Unusable::Unrelated),
    };
    match packet.transport {
        Some(TransportSlice::Tcp(tcp)) if tcp_is_sound(checksum, ip.addresses, payload.payload) => {
            Ok(Reply::Tcp(tcp_reply(ip.source, ip.destination, ip.ttl, &tcp)))
        }
        Some(TransportSlice::Icmpv4(icmp)) if matches!(icmp.type_u8(), 3 | 11) => {
            if fold(sum(icmp.slice())) != 0 {
                return Err(Unusable::Malformed);
            }
            Ok(Reply::Icmp(ip.icmp(icmp.type_u8(), icmp.code_u8(), icmp.slice().get(8..).and_then(quote_v4))))
        }
        Some(TransportSlice::Icmpv6(icmp)) if matches!(icmp.type_u8(), 1 | 3) => {
            if !is_sound(ip.addresses, IpNumber::IPV6_ICMP, icmp.slice()) {
                return Err(Unusable::Malformed);
            }
            Ok(Reply::Icmp(ip.icmp(icmp.type_u8(), icmp.code_u8(), icmp.slice().get(8..).and_then(quote_v6))))
        }
        Some(TransportSlice::Tcp(_)) => Err(Unusable::Malformed),
        _ => Err(Unusable::Unrelated),
    }
}

impl Segment {
    /// By the header's octet of flags (RFC 9293 section 3.1).
    #[inline]
    pub(super) fn of(flags: u8) -> Self {
        const SYN: u8 = 0x02;
        const RST: u8 = 0x04;
        const ACK: u8 = 0x10;
        match flags & (SYN | RST | ACK) {
            SYN => Segment::Syn,
            flags if flags & RST != 0 => Segment::Rst,
            flags if flags & SYN != 0 => Segment::SynAck,
            _ => Segment::Other,
        }
    }
}

/// Whether a frame is neighbour traffic (ARP, neighbour advertisement): let through for the sweep, and of no meaning to
/// the scan.
pub fn is_neighbour_traffic(layer: Layer, frame: &[u8]) -> bool {
    const ADVERTISEMENT: u8 = 136;
    let Some(kind) = frame.get(12..14).filter(|_| layer == Layer::Ethernet) else { return false };
    let ipv6 = || frame.get(20) == Some(&IpNumber::IPV6_ICMP.0) && frame.get(54) == Some(&ADVERTISEMENT);
    kind == EtherType::ARP.0.to_be_bytes() || kind == EtherType::IPV6.0.to_be_bytes() && ipv6()
}

/// What the IP header says.
struct Ip {
    source: IpAddr,
    destination: IpAddr,
    /// The sum over both.
    addresses: u64,
    ttl: u8,
}

impl Ip {
    fn v4(header: Ipv4HeaderSlice<'_>) -> Self {
        Ip {
            source: header.source_addr().into(),
            destination: header.destination_addr().into(),
            addresses: addresses_v4(&header),
            ttl: header.ttl(),
        }
    }

    fn v6(header: Ipv6HeaderSlice<'_>) -> Self {
        Ip {
            source: header.source_addr().into(),
            destination: header.destination_addr().into(),
            addresses: addresses_v6(&header),
            ttl: header.hop_limit(),
        }
    }

    fn icmp(&self, kind: u8, code: u8, quote: Option<Quote>) -> IcmpReply {
        IcmpReply { sender: self.source, destination: self.destination, kind, code, ttl: self.ttl, quote }
    }
}

/// The sum over both addresses.
#[inline]
fn addresses_v4(header: &Ipv4HeaderSlice<'_>) -> u64 {
    sum_u32(header.source_addr().into()) + sum_u32(header.destination_addr().into())
}

#[inline]
fn addresses_v6(header: &Ipv6HeaderSlice<'_>) -> u64 {
    sum_u128(header.source_addr().into()) + sum_u128(header.destination_addr().into())
}

#[inline]
fn header_is_sound(header: &Ipv4HeaderSlice<'_>) -> bool {
    fold(sum(header.slice())) == 0
}

#[inline]
fn tcp_is_sound(known: Checksum, addresses: u64, segment: &[u8]) -> bool {
    match known {
        Checksum::Trusted => true,
        Checksum::Unknown => is_sound(addresses, IpNumber::TCP, segment),
        Checksum::PerhapsUnfilled => is_sound(addresses, IpNumber::TCP, segment) || is_unfilled(addresses, segment),
    }
}

/// Whether pseudo header and segment add up to nothing.
#[inline]
fn is_sound(addresses: u64, protocol: IpNumber, segment: &[u8]) -> bool {
    fold(pseudo(addresses, protocol, segment) + sum(segment)) == 0
}

/// Whether a TCP segment's checksum is the sum over its pseudo header, not complemented.
fn is_unfilled(addresses: u64, segment: &[u8]) -> bool {
    let field = segment.get(16..18).and_then(|field| field.first_chunk());
    field.is_some_and(|field| u16::from_be_bytes(*field) == !fold(pseudo(addresses, IpNumber::TCP, segment)))
}

/// The sum over the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1).
#[inline]
fn pseudo(addresses: u64, protocol: IpNumber, segment: &[u8]) -> u64 {
    addresses + u64::from(protocol.0) + segment.len() as u64
}

#[inline]
fn tcp_reply(source: IpAddr, destination: IpAddr, ttl: u8, tcp: &TcpSlice<'_>) -> TcpReply {
    TcpReply {
        source,
        destination,
        source_port: tcp.source_port(),
        destination_port: tcp.destination_port(),
        seq: Seq(tcp.sequence_number()),
        ack: Seq(tcp.acknowledgment_number()),
        kind: Segment::of(tcp.slice()[13]),
        ttl,
        window: tcp.window_size(),
        has_options: tcp.data_offset() > 5,
    }
}

/// RFC 792 promises the IP header and 8 bytes: ports and sequence number.
fn quote_v4(quoted: &[u8]) -> Option<Quote> {
    let header = Ipv4HeaderSlice::from_slice(quoted).ok()?;
    if header.protocol() != IpNumber::TCP || header.fragments_offset().value() != 0 {
        return None;
    }
    let tcp = quoted.get(header.slice().len()..)?;
    quote_tcp(header.source_addr().into(), header.destination_addr().into(), tcp)
}

/// RFC 4443 promises as much of the packet as fits. Our probes carry no extension headers.
fn quote_v6(quoted: &[u8]) -> Option<Quote> {
    let header = Ipv6HeaderSlice::from_slice(quoted).ok()?;
    if header.next_header() != IpNumber::TCP {
        return None;
    }
    quote_tcp(header.source_addr().into(), header.destination_addr().into(), quoted.get(40..)?)
}

fn quote_tcp(source: IpAddr, destination: IpAddr, tcp: &[u8]) -> Option<Quote> {
    let bytes: &[u8; 8] = tcp.first_chunk()?;
    Some(Quote {
        source,
        destination,
        source_port: u16::from_be_bytes([bytes[0], bytes[1]]),
        destination_port: u16::from_be_bytes([bytes[2], bytes[3]]),
        seq: Seq(u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]])),
    })
}

#[cfg(test)]
mod tests {
    use etherparse::{IcmpEchoHeader, Icmpv4Type, Icmpv6Type, PacketBuilder, TcpHeader};
    use proptest::prelude::*;

    use super::*;

    const FROM: [u8; 4] = [192, 0, 2, 9];
    const TO: [u8; 4] = [192, 0, 2, 1];

    fn tcp(change: impl FnOnce(&mut TcpHeader)) -> Vec<u8> {
        let mut header = TcpHeader::new(80, 40_000, 77, 1024);
        header.acknowledgment_number = 1234;
        change(&mut header);
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4(FROM, TO, 57).tcp_header(header);
        builder.write(&mut frame, &[]).unwrap();
        frame
    }

    fn kind(frame: &[u8]) -> Segment {
        match read(Layer::Ethernet, frame, Checksum::Unknown) {
            Ok(Reply::Tcp(reply)) => reply.kind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_segment_and_its_fields() {
        let frame = tcp(|h| (h.syn, h.ack) = (true, true));
        let expected = TcpReply {
            source: FROM.into(),
            destination: TO.into(),
            source_port: 80,
            destination_port: 40_000,
            seq: Seq(77),
            ack: Seq(1234),
            kind: Segment::SynAck,
            ttl: 57,
            window: 1024,
            has_options: false,
        };
        assert_eq!(read(Layer::Ethernet, &frame, Checksum::Unknown), Ok(Reply::Tcp(expected)));
        assert_eq!(read(Layer::Ip, &frame[14..], Checksum::Unknown), Ok(Reply::Tcp(expected)));
        let mut padded = frame;
        padded.extend([0; 6]);
        assert_eq!(read(Layer::Ethernet, &padded, Checksum::Unknown), Ok(Reply::Tcp(expected)));
    }

    #[test]
    fn flags() {
        assert_eq!(kind(&tcp(|h| h.syn = true)), Segment::Syn);
        assert_eq!(kind(&tcp(|h| h.rst = true)), Segment::Rst);
        assert_eq!(kind(&tcp(|h| (h.rst, h.ack) = (true, true))), Segment::Rst);
        assert_eq!(kind(&tcp(|h| (h.rst, h.syn) = (true, true))), Segment::Rst);
        assert_eq!(kind(&tcp(|h| (h.syn, h.ack, h.ece) = (true, true, true))), Segment::SynAck);
        assert_eq!(kind(&tcp(|h| h.ack = true)), Segment::Other);
        assert_eq!(kind(&tcp(|_| ())), Segment::Other);
    }

    #[test]
    fn a_wrong_checksum_is_malformed_unless_it_is_not_filled_in() {
        let mut frame = tcp(|h| h.rst = true);
        let last = frame.len() - 3;
        frame[last] ^= 1;
        assert_eq!(read(Layer::Ethernet, &frame, Checksum::Unknown), Err(Unusable::Malformed));
        assert!(read(Layer::Ethernet, &frame, Checksum::Trusted).is_ok());
        let mut header = tcp(|h| h.rst = true);
        header[14 + 8] ^= 1;
        assert_eq!(read(Layer::Ethernet, &header, Checksum::Trusted), Err(Unusable::Malformed), "IP header");
    }

    /// A SYN-ACK of a Linux host on the other end of a veth pair, as AF_XDP gives it: the field holds the sum over the
    /// pseudo header.
    #[test]
    fn golden_unfilled_checksum() {
        let frame = |ip: &str, field: u16| {
            let tcp = format!("0050 9c40 0000004d 000004d2 6012 faf0 {field:04x} 0000 0204 05b4");
            bytes(&format!("020202020202 010101010101 {ip} {tcp}"))
        };
        let v4 = "0800 4500002c 00004000 3906bdc1 c0000209 c0000201";
        let v6 = "86dd 600000000018 0639 20010db8000000000000000000000009 20010db8000000000000000000000001";
        for (ip, unfilled, right) in [(v4, 0x8429, 0x776b), (v6, 0x5b9a, 0x9ffa)] {
            let read = |field, known| read(Layer::Ethernet, &frame(ip, field), known);
            for field in [unfilled, right] {
                assert!(matches!(read(field, Checksum::PerhapsUnfilled), Ok(Reply::Tcp(_))), "{ip} {field:04x}");
            }
            assert_eq!(read(unfilled, Checksum::Unknown), Err(Unusable::Malformed));
            for field in [!unfilled, unfilled + 1, right ^ 1, 0, 0xffff] {
                assert_eq!(read(field, Checksum::PerhapsUnfilled), Err(Unusable::Malformed), "{ip} {field:04x}");
            }
        }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    #[test]
    fn icmp_errors_and_their_quotes() {
        let mut probe = Vec::new();
        PacketBuilder::ipv4(TO, FROM, 64).tcp(40_000, 80, 99, 1024).write(&mut probe, &[]).unwrap();
        let build = |quoted: &[u8]| {
            let mut frame = Vec::new();
            let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([10, 0, 0, 1], TO, 60);
            builder.icmpv4_raw(3, 13, [0; 4]).write(&mut frame, quoted).unwrap();
            frame
        };
        let quote = Quote {
            source: TO.into(),
            destination: FROM.into(),
            source_port: 40_000,
            destination_port: 80,
            seq: Seq(99),
        };
        let expected = IcmpReply {
            sender: [10, 0, 0, 1].into(),
            destination: TO.into(),
            kind: 3,
            code: 13,
            ttl: 60,
            quote: Some(quote),
        };
        assert_eq!(read(Layer::Ethernet, &build(&probe[..28]), Checksum::Unknown), Ok(Reply::Icmp(expected)));
        let none = Reply::Icmp(IcmpReply { quote: None, ..expected });
        assert_eq!(read(Layer::Ethernet, &build(&probe[..27]), Checksum::Unknown), Ok(none));
        let mut udp = probe.clone();
        udp[9] = 17;
        assert_eq!(read(Layer::Ethernet, &build(&udp), Checksum::Unknown), Ok(none));
        let mut corrupt = build(&probe);
        let last = corrupt.len() - 1;
        corrupt[last] ^= 1;
        assert_eq!(read(Layer::Ethernet, &corrupt, Checksum::Trusted), Err(Unusable::Malformed));
    }

    #[test]
    fn icmpv6_errors_and_their_quotes() {
        let (from, to) = ([0x20; 16], [0x21; 16]);
        let mut probe = Vec::new();
        PacketBuilder::ipv6(to, from, 64).tcp(40_000, 443, 5, 1024).write(&mut probe, &[]).unwrap();
        let mut frame = Vec::new();
        PacketBuilder::ipv6(from, to, 61).icmpv6_raw(1, 4, [0; 4]).write(&mut frame, &probe).unwrap();
        let Ok(Reply::Icmp(reply)) = read(Layer::Ip, &frame, Checksum::Unknown) else { panic!() };
        assert_eq!((reply.kind, reply.code, reply.ttl, reply.sender), (1, 4, 61, from.into()));
        let quote = reply.quote.unwrap();
        assert_eq!((quote.source_port, quote.destination_port, quote.seq), (40_000, 443, Seq(5)));
        assert_eq!((quote.source, quote.destination), (to.into(), from.into()));
    }

    #[test]
    fn what_answers_no_syn() {
        let echo = IcmpEchoHeader { id: 1, seq: 1 };
        let mut frame = Vec::new();
        PacketBuilder::ipv4(FROM, TO, 64).icmpv4(Icmpv4Type::EchoReply(echo)).write(&mut frame, &[]).unwrap();
        assert_eq!(read(Layer::Ip, &frame, Checksum::Unknown), Err(Unusable::Unrelated));
        let mut frame = Vec::new();
        PacketBuilder::ipv6([1; 16], [2; 16], 64).icmpv6(Icmpv6Type::EchoReply(echo)).write(&mut frame, &[]).unwrap();
        assert_eq!(read(Layer::Ip, &frame, Checksum::Unknown), Err(Unusable::Unrelated));
        let mut frame = Vec::new();
        PacketBuilder::ipv4(FROM, TO, 64).udp(53, 40_000).write(&mut frame, &[1, 2]).unwrap();
        assert_eq!(read(Layer::Ip, &frame, Checksum::Unknown), Err(Unusable::Unrelated));
        assert_eq!(read(Layer::Ip, &[], Checksum::Unknown), Err(Unusable::Malformed));
        let mut fragment = tcp(|h| h.rst = true);
        fragment[14 + 6] = 0x20;
        fragment[14 + 10..14 + 12].fill(0);
        let sum = fold(sum(&fragment[14..34]));
        fragment[14 + 10..14 + 12].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(read(Layer::Ethernet, &fragment, Checksum::Unknown), Err(Unusable::Unrelated));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, flips: Vec<(usize, u8)>) {
            let _ = read(Layer::Ethernet, &bytes, Checksum::Trusted);
            let _ = read(Layer::Ip, &bytes, Checksum::Unknown);
            let mut frame = tcp(|h| h.syn = true);
            for (at, flip) in flips {
                let at = at % frame.len();
                frame[at] ^= flip;
            }
            let _ = read(Layer::Ethernet, &frame, Checksum::Trusted);
            let _ = read(Layer::Ip, frame.get(14..).unwrap_or_default(), Checksum::Trusted);
        }

        /// The short way and the long one agree, on what is sound and on what is not.
        #[test]
        fn plain_tcp_is_what_any_reader_sees(v6: bool, flips in prop::collection::vec((0usize..90, any::<u8>()), 0..3),
            cut in 0usize..80, more in prop::collection::vec(any::<u8>(), 0..8)) {
            let mut frame = Vec::new();
            let ethernet = PacketBuilder::ethernet2([1; 6], [2; 6]);
            let ip = if v6 { ethernet.ipv6([1; 16], [2; 16], 9) } else { ethernet.ipv4(FROM, TO, 57) };
            ip.tcp(80, 40_000, 77, 1024).syn().ack(5).write(&mut frame, &[]).unwrap();
            frame.extend(more);
            prop_assert!(plain::read(Layer::Ethernet, &frame, Checksum::Unknown).is_some());
            let len = frame.len();
            flips.iter().for_each(|&(at, flip)| frame[at % len] ^= flip);
            frame.truncate(if cut < 20 { len - cut } else { len });
            for (layer, bytes) in [(Layer::Ethernet, &frame[..]), (Layer::Ip, &frame[14..])] {
                for known in [Checksum::Unknown, Checksum::Trusted, Checksum::PerhapsUnfilled] {
                    prop_assert_eq!(read(layer, bytes, known), read_any(layer, bytes, known));
                }
            }
        }
    }
}
