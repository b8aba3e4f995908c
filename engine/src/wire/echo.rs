//! ICMP echo (RFC 792) and ICMPv6 echo (RFC 4443 section 4): the request, as a whole frame, and the reply.
//!
//! A reply returns what the request carried: identifier, sequence number, and as data a proof and the time of sending.
//! Whether the proof is right, and what an answer means, is for `discover` to say.

use std::net::IpAddr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use pnet::packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::{Ipv4Flags, MutableIpv4Packet};
use pnet::packet::ipv6::MutableIpv6Packet;

use super::checksum::{fold, sum, sum_u32, sum_u128};
use super::reply::Layer;
use super::syn::LinkHeader;

const ETHERNET: usize = 14;
/// Type, code, checksum, identifier, sequence number; proof and time.
const MESSAGE: usize = 8 + DATA;
const DATA: usize = 4 + 8;
/// The longest: with an IPv6 header.
const MAX_REQUEST: usize = ETHERNET + 40 + MESSAGE;
/// As our probes have it.
const TTL: u8 = 64;

const REQUEST: u8 = 8;
const REPLY: u8 = 0;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;

/// What a request carries and a reply returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// The identifier.
    pub id: u16,
    /// The sequence number.
    pub number: u16,
    /// The proof.
    pub proof: u32,
    /// When the request was sent, as its sender counts.
    pub sent: u64,
}

/// A reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EchoReply {
    /// Who sent it.
    pub source: IpAddr,
    /// To which of our addresses.
    pub destination: IpAddr,
    /// What it returns.
    pub echo: Echo,
}

/// A request's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    bytes: [u8; MAX_REQUEST],
    len: usize,
}

impl Request {
    /// The request from `source` to `destination`, which are of one family, behind this link header.
    pub fn new(link: LinkHeader, source: IpAddr, destination: IpAddr, echo: Echo) -> Request {
        let start = if link == LinkHeader::None { 0 } else { ETHERNET };
        let header = if source.is_ipv4() { 20 } else { 40 };
        let mut request = Request { bytes: [0; MAX_REQUEST], len: start + header + MESSAGE };
        let (ethernet, packet) = request.bytes[..start + header + MESSAGE].split_at_mut(start);
        write_link(ethernet, link, source.is_ipv4());
        let (ip, message) = packet.split_at_mut(header);
        let pseudo = write_ip(ip, source, destination);
        write_message(message, if source.is_ipv4() { REQUEST } else { REQUEST_V6 }, echo, pseudo);
        request
    }

    /// The frame.
    pub fn frame(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn write_link(bytes: &mut [u8], link: LinkHeader, v4: bool) {
    let LinkHeader::Ethernet { source, destination } = link else { return };
    let Some(mut ethernet) = MutableEthernetPacket::new(bytes) else { return };
    ethernet.set_source(source.0.into());
    ethernet.set_destination(destination.0.into());
    ethernet.set_ethertype(if v4 { EtherTypes::Ipv4 } else { EtherTypes::Ipv6 });
}

/// Gives the sum over the pseudo header, which ICMPv6 has and ICMP has not.
fn write_ip(header: &mut [u8], source: IpAddr, destination: IpAddr) -> u64 {
    match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let Some(mut ip) = MutableIpv4Packet::new(header) else { return 0 };
            ip.set_version(4);
            ip.set_header_length(5);
            ip.set_total_length((20 + MESSAGE) as u16);
            ip.set_flags(Ipv4Flags::DontFragment);
            ip.set_ttl(TTL);
            ip.set_next_level_protocol(IpNextHeaderProtocols::Icmp);
            ip.set_source(from);
            ip.set_destination(to);
            let checksum = fold(sum(header));
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            0
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let Some(mut ip) = MutableIpv6Packet::new(header) else { return 0 };
            ip.set_version(6);
            ip.set_payload_length(MESSAGE as u16);
            ip.set_next_header(IpNextHeaderProtocols::Icmpv6);
            ip.set_hop_limit(TTL);
            ip.set_source(from);
            ip.set_destination(to);
            let next = IpNextHeaderProtocols::Icmpv6.0;
            sum_u128(from.into()) + sum_u128(to.into()) + sum_u32(MESSAGE as u32) + sum_u32(next.into())
        }
        _ => 0,
    }
}

fn write_message(message: &mut [u8], kind: u8, echo: Echo, pseudo: u64) {
    message[0] = kind;
    message[4..6].copy_from_slice(&echo.id.to_be_bytes());
    message[6..8].copy_from_slice(&echo.number.to_be_bytes());
    message[8..12].copy_from_slice(&echo.proof.to_be_bytes());
    message[12..20].copy_from_slice(&echo.sent.to_be_bytes());
    let checksum = fold(pseudo + sum(message));
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
}

/// Reads a reply whose checksums are right and that returns data such as ours; none of anything else.
pub fn read(layer: Layer, frame: &[u8]) -> Option<EchoReply> {
    let packet = match layer {
        Layer::Ethernet => SlicedPacket::from_ethernet(frame),
        Layer::Ip => SlicedPacket::from_ip(frame),
    };
    let packet = packet.ok()?;
    let (source, destination, message) = match (&packet.net, &packet.transport) {
        (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Icmpv4(icmp))) => {
            let header = ip.header();
            let sound = fold(sum(header.slice())) == 0 && fold(sum(icmp.slice())) == 0;
            let is_reply = icmp.type_u8() == REPLY && sound;
            is_reply.then(|| (header.source_addr().into(), header.destination_addr().into(), icmp.slice()))?
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) => {
            let header = ip.header();
            let is_reply = icmp.type_u8() == REPLY_V6 && icmp.is_checksum_valid(header.source(), header.destination());
            is_reply.then(|| (header.source_addr().into(), header.destination_addr().into(), icmp.slice()))?
        }
        _ => return None,
    };
    read_message(message).map(|echo| EchoReply { source, destination, echo })
}

/// As long as ours, with code 0.
fn read_message(message: &[u8]) -> Option<Echo> {
    let message: &[u8; MESSAGE] = message.try_into().ok().filter(|message: &&[u8; MESSAGE]| message[1] == 0)?;
    let (id, number) = ([message[4], message[5]], [message[6], message[7]]);
    let (proof, sent) = message[8..].split_first_chunk()?;
    Some(Echo {
        id: u16::from_be_bytes(id),
        number: u16::from_be_bytes(number),
        proof: u32::from_be_bytes(*proof),
        sent: u64::from_be_bytes(sent.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::MacAddr;

    const ECHO: Echo = Echo { id: 0x9c40, number: 1, proof: 0x0102_0304, sent: 0x1122_3344_5566_7788 };
    const LINK: LinkHeader =
        LinkHeader::Ethernet { source: MacAddr([2, 0, 0, 0, 0, 1]), destination: MacAddr([2, 0, 0, 0, 0, 2]) };

    fn hex(frame: &[u8]) -> String {
        frame.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn golden_request() {
        let request = Request::new(LINK, [192, 0, 2, 1].into(), [198, 51, 100, 7].into(), ECHO);
        let expected = concat!(
            "020000000002",
            "020000000001",
            "0800",
            "4500002800004000",
            "40014e99",
            "c0000201c6336407",
            "0800",
            "4663",
            "9c400001",
            "01020304",
            "1122334455667788",
        );
        assert_eq!(hex(request.frame()), expected);
        let bare = Request::new(LinkHeader::None, [192, 0, 2, 1].into(), [198, 51, 100, 7].into(), ECHO);
        assert_eq!(hex(bare.frame()), expected[28..]);
    }

    #[test]
    fn golden_request_v6() {
        let (source, destination) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let expected = concat!(
            "020000000002",
            "020000000001",
            "86dd",
            "600000000014",
            "3a40",
            "20010db8000000000000000000000001",
            "20010db8000000000000000000000002",
            "8000",
            "729f",
            "9c400001",
            "01020304",
            "1122334455667788",
        );
        assert_eq!(hex(Request::new(LINK, source, destination, ECHO).frame()), expected);
    }

    /// What a host makes of a request: etherparse's checksums, not ours.
    fn reply(request: &Request, v4: bool) -> Vec<u8> {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([2; 6], [1; 6]);
        let packet = &request.frame()[ETHERNET..];
        if v4 {
            let builder = builder.ipv4([198, 51, 100, 7], [192, 0, 2, 1], 60);
            let rest: [u8; 4] = packet[24..28].try_into().unwrap();
            builder.icmpv4_raw(REPLY, 0, rest).write(&mut frame, &packet[28..]).unwrap();
        } else {
            let builder = builder.ipv6([7; 16], [1; 16], 60);
            let rest: [u8; 4] = packet[44..48].try_into().unwrap();
            builder.icmpv6_raw(REPLY_V6, 0, rest).write(&mut frame, &packet[48..]).unwrap();
        }
        frame
    }

    proptest! {
        #[test]
        fn a_reply_returns_what_was_sent(id: u16, number: u16, proof: u32, sent: u64, v4: bool, padding in 0usize..9) {
            let echo = Echo { id, number, proof, sent };
            let (us, host): (IpAddr, IpAddr) = match v4 {
                true => ([192, 0, 2, 1].into(), [198, 51, 100, 7].into()),
                false => ([1; 16].into(), [7; 16].into()),
            };
            let mut frame = reply(&Request::new(LINK, us, host, echo), v4);
            let expected = Some(EchoReply { source: host, destination: us, echo });
            prop_assert_eq!(read(Layer::Ip, &frame[ETHERNET..]), expected);
            frame.resize(frame.len() + padding, 0);
            prop_assert_eq!(read(Layer::Ethernet, &frame), expected);
            frame[ETHERNET + 35] ^= 1;
            prop_assert_eq!(read(Layer::Ethernet, &frame), None);
        }

        #[test]
        fn no_octets_panic(octets in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = (read(Layer::Ethernet, &octets), read(Layer::Ip, &octets));
        }
    }

    /// Requests have right checksums, by another's reckoning, and are no replies.
    #[test]
    fn requests_are_sound_and_no_replies() {
        for (us, host) in [
            (IpAddr::from([192, 0, 2, 1]), IpAddr::from([198, 51, 100, 7])),
            ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap()),
        ] {
            let request = Request::new(LINK, us, host, ECHO);
            let packet = SlicedPacket::from_ethernet(request.frame()).unwrap();
            let sound = match (packet.net.unwrap(), packet.transport.unwrap()) {
                (NetSlice::Ipv4(ip), TransportSlice::Icmpv4(icmp)) => {
                    let header = ip.header().to_header();
                    header.calc_header_checksum() == header.header_checksum && fold(sum(icmp.slice())) == 0
                }
                (NetSlice::Ipv6(ip), TransportSlice::Icmpv6(icmp)) => {
                    icmp.is_checksum_valid(ip.header().source(), ip.header().destination())
                }
                other => panic!("{other:?}"),
            };
            assert!(sound);
            assert_eq!(read(Layer::Ethernet, request.frame()), None);
        }
    }
}
