//! The RST that closes a half-open connection, made from the segment that it answers: addresses, ports and link addresses
//! change places. It is what a kernel sends to whoever answers a connection that nobody asked it for (RFC 9293 section
//! 3.10.7.1): for a segment with an acknowledgement, `<SEQ=SEG.ACK><CTL=RST>`; for one without,
//! `<SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>`, where a bare SYN counts 1.

use std::net::IpAddr;

use pnet::packet::ethernet::{EtherType, MutableEthernetPacket};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::{Ipv4Flags, MutableIpv4Packet};
use pnet::packet::ipv6::MutableIpv6Packet;
use pnet::packet::tcp::{MutableTcpPacket, TcpFlags};

use super::checksum::{fold, sum, sum_u32, sum_u128};
use super::reply::{Segment, TcpReply};
use crate::target::Seq;

const ETHERNET: usize = 14;
const TCP: usize = 20;
/// The longest: with an IPv6 header.
pub const MAX_RST: usize = ETHERNET + 40 + TCP;
/// As our probes have it.
const TTL: u8 = 64;

/// An Ethernet frame with a RST in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rst {
    bytes: [u8; MAX_RST],
    len: usize,
}

impl Rst {
    /// The answer to a segment, which is what was read of this Ethernet frame.
    pub fn answering(frame: &[u8], segment: &TcpReply) -> Option<Rst> {
        let (ethernet, _) = frame.split_at_checked(ETHERNET)?;
        let ip = if segment.source.is_ipv4() { 20 } else { 40 };
        let mut rst = Rst { bytes: [0; MAX_RST], len: ETHERNET + ip + TCP };
        let (link, packet) = rst.bytes.split_at_mut(ETHERNET);
        let (header, tcp) = packet[..ip + TCP].split_at_mut(ip);
        write_link(link, ethernet);
        let addresses = write_ip(header, segment);
        write_tcp(tcp, segment);
        let pseudo = addresses + u64::from(IpNextHeaderProtocols::Tcp.0) + TCP as u64;
        let checksum = fold(pseudo + sum(tcp));
        tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
        Some(rst)
    }

    /// The frame.
    pub fn frame(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Whether an Ethernet frame may need one: its TCP header, where nearly all have it, has the SYN flag, or it is elsewhere.
/// Quick, because nearly no frame does.
pub fn may_be_due(frame: &[u8]) -> bool {
    const SYN: u8 = 2;
    let flags = match frame.get(ETHERNET) {
        Some(0x45) => frame.get(ETHERNET + 20 + 13),
        Some(0x60..=0x6f) if frame.get(ETHERNET + 6) == Some(&IpNextHeaderProtocols::Tcp.0) => {
            frame.get(ETHERNET + 40 + 13)
        }
        _ => None,
    };
    flags.is_none_or(|flags| flags & SYN != 0)
}

fn write_link(link: &mut [u8], answered: &[u8]) {
    let Some(mut ethernet) = MutableEthernetPacket::new(link) else { return };
    let octets = |at: usize| <[u8; 6]>::try_from(&answered[at..at + 6]).unwrap_or_default();
    ethernet.set_destination(octets(6).into());
    ethernet.set_source(octets(0).into());
    ethernet.set_ethertype(EtherType(u16::from_be_bytes([answered[12], answered[13]])));
}

/// Gives the sum over the addresses.
fn write_ip(header: &mut [u8], answered: &TcpReply) -> u64 {
    match (answered.destination, answered.source) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let Some(mut ip) = MutableIpv4Packet::new(header) else { return 0 };
            ip.set_version(4);
            ip.set_header_length(5);
            ip.set_total_length(20 + TCP as u16);
            ip.set_flags(Ipv4Flags::DontFragment);
            ip.set_ttl(TTL);
            ip.set_next_level_protocol(IpNextHeaderProtocols::Tcp);
            ip.set_source(from);
            ip.set_destination(to);
            let checksum = fold(sum(header));
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            sum_u32(from.into()) + sum_u32(to.into())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let Some(mut ip) = MutableIpv6Packet::new(header) else { return 0 };
            ip.set_version(6);
            ip.set_payload_length(TCP as u16);
            ip.set_next_header(IpNextHeaderProtocols::Tcp);
            ip.set_hop_limit(TTL);
            ip.set_source(from);
            ip.set_destination(to);
            sum_u128(from.into()) + sum_u128(to.into())
        }
        _ => 0,
    }
}

fn write_tcp(bytes: &mut [u8], answered: &TcpReply) {
    let Some(mut tcp) = MutableTcpPacket::new(bytes) else { return };
    let (Seq(seq), Seq(ack), flags) = match answered.kind {
        Segment::Syn => (Seq(0), answered.seq.next(), TcpFlags::RST | TcpFlags::ACK),
        _ => (answered.ack, Seq(0), TcpFlags::RST),
    };
    tcp.set_source(answered.destination_port);
    tcp.set_destination(answered.source_port);
    tcp.set_sequence(seq);
    tcp.set_acknowledgement(ack);
    tcp.set_data_offset((TCP / 4) as u8);
    tcp.set_flags(flags);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::reply::{Checksum, Layer, Reply, read};

    fn segment(source: IpAddr, destination: IpAddr, kind: Segment) -> TcpReply {
        let (seq, ack) = (Seq(0xffff_ffff), Seq(0x0102_0304));
        let (source_port, destination_port, ttl, window, has_options) = (443, 40_000, 57, 1024, false);
        TcpReply { source, destination, source_port, destination_port, seq, ack, kind, ttl, window, has_options }
    }

    /// The first fourteen octets of a frame from 02:..:02 to 02:..:01.
    fn link(ethertype: u16) -> Vec<u8> {
        [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &ethertype.to_be_bytes()].concat()
    }

    fn hex(rst: &Rst) -> String {
        rst.frame().iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn golden_answer_to_a_syn_ack() {
        let answered = segment([198, 51, 100, 7].into(), [192, 0, 2, 1].into(), Segment::SynAck);
        let expected = concat!(
            "020000000002",
            "020000000001",
            "0800",
            "4500002800004000",
            "40064e94",
            "c0000201c6336407",
            "9c4001bb",
            "01020304",
            "00000000",
            "50040000",
            "21a3",
            "0000",
        );
        assert_eq!(hex(&Rst::answering(&link(0x0800), &answered).unwrap()), expected);
    }

    #[test]
    fn golden_answer_to_a_bare_syn_v6() {
        let (source, destination) = ("2001:db8::2".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let answered = segment(source, destination, Segment::Syn);
        let expected = concat!(
            "020000000002",
            "020000000001",
            "86dd",
            "600000000014",
            "0640",
            "20010db8000000000000000000000001",
            "20010db8000000000000000000000002",
            "9c4001bb",
            "00000000",
            "00000000",
            "50140000",
            "b660",
            "0000",
        );
        assert_eq!(hex(&Rst::answering(&link(0x86dd), &answered).unwrap()), expected);
    }

    #[test]
    fn less_than_a_frame_has_no_answer() {
        let answered = segment([1; 4].into(), [2; 4].into(), Segment::SynAck);
        assert_eq!(Rst::answering(&[0; 13], &answered), None);
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_read(v4: Option<([u8; 4], [u8; 4])>, v6: ([u8; 16], [u8; 16]), ports: (u16, u16),
            seq: u32, ack: u32, bare: bool) {
            let (source, destination): (IpAddr, IpAddr) =
                v4.map_or((v6.0.into(), v6.1.into()), |(source, destination)| (source.into(), destination.into()));
            let kind = if bare { Segment::Syn } else { Segment::SynAck };
            let answered = TcpReply { source, destination, source_port: ports.0, destination_port: ports.1,
                seq: Seq(seq), ack: Seq(ack), kind, ttl: 1, window: 1, has_options: true };
            let ethertype = if v4.is_some() { 0x0800 } else { 0x86dd };
            let rst = Rst::answering(&link(ethertype), &answered).unwrap();
            let expected = TcpReply {
                source: destination,
                destination: source,
                source_port: ports.1,
                destination_port: ports.0,
                seq: if bare { Seq(0) } else { Seq(ack) },
                ack: if bare { Seq(seq.wrapping_add(1)) } else { Seq(0) },
                kind: Segment::Rst,
                ttl: TTL,
                window: 0,
                has_options: false,
            };
            prop_assert_eq!(read(Layer::Ethernet, rst.frame(), Checksum::Unknown), Ok(Reply::Tcp(expected)));
        }
    }
}
