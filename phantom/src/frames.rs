//! Frames as phantoms read and write them. Reading checks every checksum; writing computes them in full. Both rest on
//! etherparse: the engine's own wire code must not judge itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, IpHeaders, Ipv4Header, Ipv6Header, LinkSlice, NetSlice, PacketBuilder,
    PacketBuilderStep, SlicedPacket, TcpOptionElement, TcpSlice, TransportSlice,
};
use halfopen::Target;

/// Both link addresses of a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Macs {
    pub(crate) source: [u8; 6],
    pub(crate) destination: [u8; 6],
}

/// Whether checksums are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksums {
    Checked,
    Trusted,
}

/// A frame, read.
#[derive(Debug)]
pub(crate) enum Received<'a> {
    /// Who has this IPv4 address?
    ArpRequest {
        asker_mac: [u8; 6],
        asker: Ipv4Addr,
        wanted: Ipv4Addr,
    },
    /// Who has this IPv6 address?
    Solicitation {
        asker_mac: [u8; 6],
        asker: Ipv6Addr,
        wanted: Ipv6Addr,
    },
    Tcp(Segment<'a>),
    Echo(EchoRequest<'a>),
    Malformed,
    BadChecksum,
    Other,
}

/// An ICMP or ICMPv6 echo request whose checksums are right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EchoRequest<'a> {
    /// None on a link without Ethernet.
    pub(crate) macs: Option<Macs>,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// Identifier and sequence number.
    pub(crate) rest: [u8; 4],
    pub(crate) data: &'a [u8],
}

/// A TCP segment whose checksums are right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment<'a> {
    /// None on a link without Ethernet.
    pub(crate) macs: Option<Macs>,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) seq: u32,
    pub(crate) syn: bool,
    pub(crate) ack: bool,
    pub(crate) rst: bool,
    pub(crate) has_mss: bool,
    /// The IP packet, as an ICMP error quotes it.
    pub(crate) packet: &'a [u8],
    /// Where TCP begins in it.
    pub(crate) header_length: usize,
}

/// Between which ports a segment goes, and to whom: as much as the way needs to know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Flow {
    pub(crate) target: Target,
    pub(crate) source_port: u16,
}

/// The flow of a TCP segment in an IP packet without extension headers, unchecked; none of anything else.
pub(crate) fn flow_of(packet: &[u8]) -> Option<Flow> {
    const TCP: u8 = 6;
    let (address, header): (IpAddr, usize) = match packet.first()? >> 4 {
        4 if packet.get(9) == Some(&TCP) => {
            (<[u8; 4]>::try_from(packet.get(16..20)?).ok()?.into(), usize::from(packet[0] & 15) * 4)
        }
        6 if packet.get(6) == Some(&TCP) => (<[u8; 16]>::try_from(packet.get(24..40)?).ok()?.into(), 40),
        _ => return None,
    };
    let port = |at| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
    Some(Flow { target: Target { address, port: port(header + 2)? }, source_port: port(header)? })
}

/// Reads a frame that begins with an Ethernet header.
pub(crate) fn read_ethernet(frame: &[u8], checksums: Checksums) -> Received<'_> {
    let Ok(sliced) = SlicedPacket::from_ethernet(frame) else { return Received::Malformed };
    let Some(LinkSlice::Ethernet2(ethernet)) = &sliced.link else { return Received::Other };
    let macs = Macs { source: ethernet.source(), destination: ethernet.destination() };
    read_packet(&sliced, &frame[ethernet.header_slice().len()..], Some(macs), checksums)
}

/// Reads a frame that is an IP packet.
pub(crate) fn read_ip(packet: &[u8], checksums: Checksums) -> Received<'_> {
    match SlicedPacket::from_ip(packet) {
        Ok(sliced) => read_packet(&sliced, packet, None, checksums),
        Err(_) => Received::Malformed,
    }
}

fn read_packet<'a>(
    sliced: &SlicedPacket<'a>,
    packet: &'a [u8],
    macs: Option<Macs>,
    checksums: Checksums,
) -> Received<'a> {
    let trusted = checksums == Checksums::Trusted;
    match (&sliced.net, &sliced.transport) {
        (Some(NetSlice::Arp(arp)), _) => read_arp(arp.to_packet().try_eth_ipv4().ok()),
        (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) => {
            let header = ip.header();
            let addresses = (header.source(), header.destination());
            let right = trusted
                || header.to_header().calc_header_checksum() == header.header_checksum()
                    && tcp.calc_checksum_ipv4(addresses.0, addresses.1).is_ok_and(|sum| same(sum, tcp.checksum()));
            let (source, destination) = (header.source_addr().into(), header.destination_addr().into());
            segment(right, macs, source, destination, tcp, &packet[..usize::from(header.total_len())])
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Tcp(tcp))) => {
            let header = ip.header();
            let sum = tcp.calc_checksum_ipv6(header.source(), header.destination());
            let right = trusted || sum.is_ok_and(|sum| same(sum, tcp.checksum()));
            let (source, destination) = (header.source_addr().into(), header.destination_addr().into());
            let length = Ipv6Header::LEN + usize::from(header.payload_length());
            segment(right, macs, source, destination, tcp, &packet[..length])
        }
        (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Icmpv4(icmp))) => {
            let header = ip.header();
            let whole = etherparse::checksum::Sum16BitWords::new().add_slice(icmp.slice()).ones_complement();
            let right = header.to_header().calc_header_checksum() == header.header_checksum() && whole == 0;
            read_echo(right, ECHO, macs, (header.source_addr().into(), header.destination_addr().into()), icmp.slice())
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) if icmp.slice().first() == Some(&ECHO_V6) => {
            let header = ip.header();
            let right = icmp.is_checksum_valid(header.source(), header.destination());
            let addresses = (header.source_addr().into(), header.destination_addr().into());
            read_echo(right, ECHO_V6, macs, addresses, icmp.slice())
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) => {
            let header = ip.header();
            let right = icmp.is_checksum_valid(header.source(), header.destination());
            read_solicitation(right, header.hop_limit(), macs, header.source_addr(), icmp.slice())
        }
        _ => Received::Other,
    }
}

/// Whether two checksums are the same number: one's complement has two zeros, and Linux sends either (RFC 1624
/// section 3).
fn same(a: u16, b: u16) -> bool {
    a % u16::MAX == b % u16::MAX
}

fn read_arp(arp: Option<ArpEthIpv4Packet>) -> Received<'static> {
    match arp {
        Some(arp) if arp.operation == ArpOperation::REQUEST => Received::ArpRequest {
            asker_mac: arp.sender_mac,
            asker: arp.sender_ipv4.into(),
            wanted: arp.target_ipv4.into(),
        },
        _ => Received::Other,
    }
}

/// The types of echo requests (RFC 792, RFC 4443); that of a reply is 0, and 129.
const ECHO: u8 = 8;
const ECHO_V6: u8 = 128;

fn read_echo(
    right: bool,
    request: u8,
    macs: Option<Macs>,
    (source, destination): (IpAddr, IpAddr),
    icmp: &[u8],
) -> Received<'_> {
    let (Some((header, data)), true) = (icmp.split_first_chunk::<8>(), right) else { return Received::BadChecksum };
    let [kind, code, _, _, rest @ ..] = *header;
    if (kind, code) != (request, 0) {
        return Received::Other;
    }
    Received::Echo(EchoRequest { macs, source, destination, rest, data })
}

/// RFC 4861 section 4.3; section 7.1.1 for what makes one valid.
fn read_solicitation(
    right: bool,
    hop_limit: u8,
    macs: Option<Macs>,
    asker: Ipv6Addr,
    icmp: &[u8],
) -> Received<'static> {
    const SOLICITATION: u8 = 135;
    let (Some(&SOLICITATION), Some(macs)) = (icmp.first(), macs) else { return Received::Other };
    let Some(wanted) = icmp.get(8..24).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()) else {
        return Received::Malformed;
    };
    match right {
        true if hop_limit == 255 => Received::Solicitation { asker_mac: macs.source, asker, wanted: wanted.into() },
        true => Received::Malformed,
        false => Received::BadChecksum,
    }
}

fn segment<'a>(
    right: bool,
    macs: Option<Macs>,
    source: IpAddr,
    destination: IpAddr,
    tcp: &TcpSlice<'_>,
    packet: &'a [u8],
) -> Received<'a> {
    if !right {
        return Received::BadChecksum;
    }
    let has_mss = |option| matches!(option, Ok(TcpOptionElement::MaximumSegmentSize(_)));
    Received::Tcp(Segment {
        macs,
        source,
        destination,
        source_port: tcp.source_port(),
        destination_port: tcp.destination_port(),
        seq: tcp.sequence_number(),
        syn: tcp.syn(),
        ack: tcp.ack(),
        rst: tcp.rst(),
        has_mss: tcp.options_iterator().any(has_mss),
        packet,
        header_length: packet.len() - tcp.slice().len(),
    })
}

/// From whom to whom a reply goes. Addresses of one family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) macs: Option<Macs>,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) ttl: u8,
}

/// A TCP header to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply {
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) seq: u32,
    pub(crate) ack: Option<u32>,
    pub(crate) syn: bool,
    pub(crate) rst: bool,
    /// Without window and options.
    pub(crate) bare: bool,
}

/// A TCP segment without data; with an MSS if it is a SYN and not bare.
pub(crate) fn tcp(way: &Way, reply: &Reply) -> Vec<u8> {
    let window = if reply.rst || reply.bare { 0 } else { 64240 };
    let mut step = ip(way).tcp(reply.source_port, reply.destination_port, reply.seq, window);
    if reply.syn {
        let mss = if way.source.is_ipv4() { 1460 } else { 1440 };
        step = step.syn();
        if !reply.bare {
            step = step.options(&[TcpOptionElement::MaximumSegmentSize(mss)]).expect("one option fits");
        }
    }
    if let Some(ack) = reply.ack {
        step = step.ack(ack);
    }
    if reply.rst {
        step = step.rst();
    }
    let mut frame = Vec::with_capacity(step.size(0));
    step.write_to_vec(&mut frame, &[]).expect("a header fits");
    frame
}

/// An ICMP or ICMPv6 error that quotes `quote`.
pub(crate) fn icmp_error(way: &Way, kind: u8, code: u8, quote: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let written = match way.source {
        IpAddr::V4(_) => ip(way).icmpv4_raw(kind, code, [0; 4]).write_to_vec(&mut frame, quote),
        IpAddr::V6(_) => ip(way).icmpv6_raw(kind, code, [0; 4]).write_to_vec(&mut frame, quote),
    };
    written.expect("a quoted probe fits");
    frame
}

/// What a request asked for: the same back.
pub(crate) fn echo_reply(request: &EchoRequest<'_>) -> Vec<u8> {
    let macs = request.macs.map(|macs| Macs { source: macs.destination, destination: macs.source });
    let way = Way { macs, source: request.destination, destination: request.source, ttl: 64 };
    let mut frame = Vec::new();
    let written = match way.source {
        IpAddr::V4(_) => ip(&way).icmpv4_raw(0, 0, request.rest).write_to_vec(&mut frame, request.data),
        IpAddr::V6(_) => ip(&way).icmpv6_raw(129, 0, request.rest).write_to_vec(&mut frame, request.data),
    };
    written.expect("what was asked for fits");
    frame
}

/// "`wanted` is at `mac`", to the asker (RFC 826).
pub(crate) fn arp_reply(mac: [u8; 6], wanted: Ipv4Addr, asker_mac: [u8; 6], asker: Ipv4Addr) -> Vec<u8> {
    let arp = ArpEthIpv4Packet {
        operation: ArpOperation::REPLY,
        sender_mac: mac,
        sender_ipv4: wanted.octets(),
        target_mac: asker_mac,
        target_ipv4: asker.octets(),
    };
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(mac, asker_mac).arp(arp.into()).write_to_vec(&mut frame).expect("an ARP reply fits");
    frame
}

/// "`wanted` is at `mac`", to the asker (RFC 4861 section 4.4), solicited and overriding.
pub(crate) fn advertisement(mac: [u8; 6], wanted: Ipv6Addr, asker_mac: [u8; 6], asker: Ipv6Addr) -> Vec<u8> {
    const ADVERTISEMENT: u8 = 136;
    const SOLICITED_OVERRIDE: u8 = 0x60;
    let macs = Some(Macs { source: mac, destination: asker_mac });
    let way = Way { macs, source: wanted.into(), destination: asker.into(), ttl: 255 };
    let mut body = wanted.octets().to_vec();
    // Option 2, target link-layer address, in units of 8 bytes.
    body.extend([2, 1]);
    body.extend(mac);
    let mut frame = Vec::new();
    let step = ip(&way).icmpv6_raw(ADVERTISEMENT, 0, [SOLICITED_OVERRIDE, 0, 0, 0]);
    step.write_to_vec(&mut frame, &body).expect("an advertisement fits");
    frame
}

/// Link and IP headers; what follows fills in protocol and lengths.
fn ip(way: &Way) -> PacketBuilderStep<IpHeaders> {
    let headers = match (way.source, way.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = Ipv4Header::new(0, way.ttl, etherparse::IpNumber::TCP, source.octets(), destination.octets());
            IpHeaders::Ipv4(header.expect("no payload is not too much"), Default::default())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (source, destination) = (source.octets(), destination.octets());
            let header = Ipv6Header { hop_limit: way.ttl, source, destination, ..Ipv6Header::default() };
            IpHeaders::Ipv6(header, Default::default())
        }
        _ => unreachable!("a reply stays in the family of its probe"),
    };
    match way.macs {
        Some(macs) => PacketBuilder::ethernet2(macs.source, macs.destination).ip(headers),
        None => PacketBuilder::ip(headers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every value of one header word stands for every value of the sum, and so of the checksum.
    #[test]
    fn both_zeros_of_a_checksum_are_right() {
        let way = Way {
            macs: None,
            source: [0xfd07, 0, 0, 0, 0, 0, 0, 2].into(),
            destination: [0xfd07, 0, 0, 0, 0, 0, 0, 1].into(),
            ttl: 64,
        };
        let reply =
            Reply { source_port: 80, destination_port: 0, seq: 0, ack: None, syn: false, rst: true, bare: false };
        let frames = (0..=u16::MAX).map(|seq| tcp(&way, &Reply { seq: seq.into(), ..reply }));
        let mut zero = frames.filter(|frame| frame[56..58] == [0, 0]);
        let mut frame = zero.next().expect("one of them sums up to zero");
        assert!(matches!(read_ip(&frame, Checksums::Checked), Received::Tcp(_)));
        frame[56..58].fill(0xff);
        assert!(matches!(read_ip(&frame, Checksums::Checked), Received::Tcp(_)));
        frame[57] = 0xfe;
        assert!(matches!(read_ip(&frame, Checksums::Checked), Received::BadChecksum));
        assert!(matches!(read_ip(&frame, Checksums::Trusted), Received::Tcp(_)));
    }
}
