//! The SYN: built once with pnet, then patched per probe.
//!
//! What does not change within an egress and a pass (link addresses, source, ports' first half, window, options) is laid
//! down once; a probe changes the destination, the destination port, the sequence number and, on-link, the destination's
//! MAC. Checksums follow by addition to sums taken once (RFC 1071 section 2).
//!
//! The segment carries the MSS option and nothing else: as a real stack's first segment must (a SYN without it goes
//! unanswered by some 2 % of hosts, zmap pull request 855), and no longer than Ethernet's minimum, so it costs nothing
//! on the wire. IPv4: DF set and ID 0, an atomic datagram (RFC 6864 section 4.1).

use std::net::IpAddr;

use pnet::packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::{Ipv4Flags, MutableIpv4Packet};
use pnet::packet::ipv6::MutableIpv6Packet;
use pnet::packet::tcp::{MutableTcpPacket, TcpFlags, TcpOption};
use pnet::util::MacAddr as PnetMac;

use super::checksum;
use super::mac::MacAddr;
use crate::target::{Seq, Target};

/// The longest frame: Ethernet, IPv6, TCP with one option.
pub const MAX_FRAME: usize = 14 + 40 + 24;

/// A full-sized segment on Ethernet, less the IP and TCP headers, as a real stack announces it.
const MSS_V4: u16 = 1460;
const MSS_V6: u16 = 1440;
/// Linux's initial window for an MSS of 1460.
const WINDOW: u16 = 64_240;
/// The usual initial TTL and hop limit (RFC 1700; Linux, BSD and macOS).
const TTL: u8 = 64;
const TCP_LEN: usize = 24;

/// The link header in front of the IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkHeader {
    /// None: a raw IP socket, loopback, a tun device.
    None,
    /// Ethernet II. `destination` is the next hop's; on-link it is replaced in every probe.
    Ethernet {
        /// Our MAC.
        source: MacAddr,
        /// The next hop's MAC.
        destination: MacAddr,
    },
}

/// What one probe changes of the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Where to.
    pub target: Target,
    /// The cookie.
    pub seq: Seq,
    /// The target's own MAC when it is on-link; none leaves the template's.
    pub mac: Option<MacAddr>,
}

/// A SYN that only lacks its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynTemplate {
    frame: [u8; MAX_FRAME],
    len: usize,
    /// Length of the link header.
    ip: usize,
    source: IpAddr,
    source_port: u16,
    /// Sum over the IPv4 header without destination; unused for IPv6.
    ip_sum: u64,
    /// Sum over pseudo header and segment without destination, destination port and sequence number.
    tcp_sum: u64,
}

impl SynTemplate {
    /// The template of all probes that leave from `source`:`source_port` behind this link header.
    pub fn new(link: LinkHeader, source: IpAddr, source_port: u16) -> Self {
        let ip = match link {
            LinkHeader::None => 0,
            LinkHeader::Ethernet { .. } => 14,
        };
        let ip_len = if source.is_ipv4() { 20 } else { 40 };
        let len = ip + ip_len + TCP_LEN;
        let mut frame = [0; MAX_FRAME];
        write_link(&mut frame[..len], link, source);
        write_ip(&mut frame[ip..len], source);
        write_tcp(&mut frame[ip + ip_len..len], source, source_port);
        let ip_sum = checksum::sum(&frame[ip..ip + ip_len]);
        let tcp_sum = pseudo_sum(source) + checksum::sum(&frame[ip + ip_len..len]);
        SynTemplate { frame, len, ip, source, source_port, ip_sum, tcp_sum }
    }

    /// The frame's bytes, with nobody as destination.
    pub fn frame(&self) -> &[u8] {
        &self.frame[..self.len]
    }

    /// The source address of its probes.
    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// The source port of its probes.
    pub fn source_port(&self) -> u16 {
        self.source_port
    }

    /// Turns a copy of [`SynTemplate::frame`], or an earlier probe of the same template, into this probe. A buffer that
    /// is too short, or a target of the other family, is left as it is.
    #[inline]
    pub fn patch(&self, frame: &mut [u8], probe: &Probe) {
        let Some(frame) = frame.get_mut(..self.len) else { return };
        if let Some(mac) = probe.mac.filter(|_| self.ip == 14) {
            frame[..6].copy_from_slice(&mac.0);
        }
        match (self.source, probe.target.address) {
            (IpAddr::V4(_), IpAddr::V4(to)) => self.patch_v4(frame, u32::from(to), probe),
            (IpAddr::V6(_), IpAddr::V6(to)) => self.patch_v6(frame, u128::from(to), probe),
            _ => {}
        }
    }

    #[inline]
    fn patch_v4(&self, frame: &mut [u8], to: u32, probe: &Probe) {
        let ip = &mut frame[self.ip..];
        let to_sum = checksum::sum_u32(to);
        ip[16..20].copy_from_slice(&to.to_be_bytes());
        ip[10..12].copy_from_slice(&checksum::fold(self.ip_sum + to_sum).to_be_bytes());
        self.patch_tcp(&mut ip[20..], to_sum, probe);
    }

    #[inline]
    fn patch_v6(&self, frame: &mut [u8], to: u128, probe: &Probe) {
        let ip = &mut frame[self.ip..];
        ip[24..40].copy_from_slice(&to.to_be_bytes());
        self.patch_tcp(&mut ip[40..], checksum::sum_u128(to), probe);
    }

    #[inline]
    fn patch_tcp(&self, tcp: &mut [u8], to_sum: u64, probe: &Probe) {
        let Seq(seq) = probe.seq;
        tcp[2..4].copy_from_slice(&probe.target.port.to_be_bytes());
        tcp[4..8].copy_from_slice(&seq.to_be_bytes());
        let sum = self.tcp_sum + to_sum + u64::from(probe.target.port) + checksum::sum_u32(seq);
        tcp[16..18].copy_from_slice(&checksum::fold(sum).to_be_bytes());
    }
}

fn write_link(frame: &mut [u8], link: LinkHeader, source: IpAddr) {
    let LinkHeader::Ethernet { source: from, destination } = link else { return };
    let Some(mut ethernet) = MutableEthernetPacket::new(frame) else { return };
    ethernet.set_source(PnetMac::from(from.0));
    ethernet.set_destination(PnetMac::from(destination.0));
    ethernet.set_ethertype(if source.is_ipv4() { EtherTypes::Ipv4 } else { EtherTypes::Ipv6 });
}

fn write_ip(bytes: &mut [u8], source: IpAddr) {
    match source {
        IpAddr::V4(from) => {
            let Some(mut ip) = MutableIpv4Packet::new(bytes) else { return };
            ip.set_version(4);
            ip.set_header_length(5);
            ip.set_total_length(20 + TCP_LEN as u16);
            ip.set_flags(Ipv4Flags::DontFragment);
            ip.set_ttl(TTL);
            ip.set_next_level_protocol(IpNextHeaderProtocols::Tcp);
            ip.set_source(from);
        }
        IpAddr::V6(from) => {
            let Some(mut ip) = MutableIpv6Packet::new(bytes) else { return };
            ip.set_version(6);
            ip.set_payload_length(TCP_LEN as u16);
            ip.set_next_header(IpNextHeaderProtocols::Tcp);
            ip.set_hop_limit(TTL);
            ip.set_source(from);
        }
    }
}

fn write_tcp(bytes: &mut [u8], source: IpAddr, source_port: u16) {
    let Some(mut tcp) = MutableTcpPacket::new(bytes) else { return };
    tcp.set_source(source_port);
    tcp.set_data_offset((TCP_LEN / 4) as u8);
    tcp.set_flags(TcpFlags::SYN);
    tcp.set_window(WINDOW);
    tcp.set_options(&[TcpOption::mss(if source.is_ipv4() { MSS_V4 } else { MSS_V6 })]);
}

/// The pseudo header without destination (RFC 9293 section 3.1, RFC 8200 section 8.1): source, protocol, length.
fn pseudo_sum(source: IpAddr) -> u64 {
    let from = match source {
        IpAddr::V4(from) => checksum::sum_u32(from.into()),
        IpAddr::V6(from) => checksum::sum_u128(from.into()),
    };
    from + u64::from(IpNextHeaderProtocols::Tcp.0) + TCP_LEN as u64
}

#[cfg(test)]
mod tests {
    use etherparse::{LinkSlice, NetSlice, SlicedPacket, TransportSlice};
    use proptest::prelude::*;

    use super::*;

    const LINK: LinkHeader =
        LinkHeader::Ethernet { source: MacAddr([2, 0, 0, 0, 0, 1]), destination: MacAddr([2, 0, 0, 0, 0, 2]) };

    fn probe(address: &str, port: u16, seq: u32) -> Probe {
        Probe { target: Target { address: address.parse().unwrap(), port }, seq: Seq(seq), mac: None }
    }

    fn crafted(template: &SynTemplate, probe: &Probe) -> Vec<u8> {
        let mut frame = template.frame().to_vec();
        template.patch(&mut frame, probe);
        frame
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn golden_v4() {
        let template = SynTemplate::new(LINK, "192.0.2.1".parse().unwrap(), 40_000);
        let frame = crafted(&template, &probe("198.51.100.7", 443, 0x0102_0304));
        let expected = concat!(
            "020000000002",
            "020000000001",
            "0800",
            "4500002c00004000",
            "40064e90",
            "c0000201c6336407",
            "9c4001bb",
            "01020304",
            "00000000",
            "6002faf0",
            "0ef80000",
            "020405b4",
        );
        assert_eq!(hex(&frame), expected);
    }

    #[test]
    fn golden_v6_without_link_header() {
        let template = SynTemplate::new(LinkHeader::None, "2001:db8::1".parse().unwrap(), 40_000);
        let frame = crafted(&template, &probe("2001:db8::2", 22, 0xffff_ffff));
        let expected = concat!(
            "600000000018",
            "0640",
            "20010db8000000000000000000000001",
            "20010db8000000000000000000000002",
            "9c400016",
            "ffffffff",
            "00000000",
            "6002faf0",
            "a57e0000",
            "020405a0",
        );
        assert_eq!(hex(&frame), expected);
    }

    fn check(link: LinkHeader, source: IpAddr, source_port: u16, probes: &[Probe]) {
        let template = SynTemplate::new(link, source, source_port);
        let mut frame = template.frame().to_vec();
        for probe in probes {
            template.patch(&mut frame, probe);
            let packet = match link {
                LinkHeader::None => SlicedPacket::from_ip(&frame),
                LinkHeader::Ethernet { .. } => SlicedPacket::from_ethernet(&frame),
            }
            .expect("decodes");
            if let (Some(mac), Some(LinkSlice::Ethernet2(ethernet))) = (probe.mac, &packet.link) {
                assert_eq!(ethernet.destination(), mac.0);
            }
            let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("no TCP") };
            let checksum = match packet.net {
                Some(NetSlice::Ipv4(ip)) => {
                    let header = ip.header();
                    assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
                    assert_eq!(IpAddr::from(header.destination_addr()), probe.target.address);
                    assert_eq!(IpAddr::from(header.source_addr()), source);
                    tcp.calc_checksum_ipv4(header.source(), header.destination())
                }
                Some(NetSlice::Ipv6(ip)) => {
                    let header = ip.header();
                    assert_eq!(IpAddr::from(header.destination_addr()), probe.target.address);
                    assert_eq!(IpAddr::from(header.source_addr()), source);
                    tcp.calc_checksum_ipv6(header.source(), header.destination())
                }
                _ => panic!("no IP"),
            };
            assert_eq!(tcp.checksum(), checksum.unwrap());
            assert_eq!((tcp.source_port(), tcp.destination_port()), (source_port, probe.target.port));
            assert_eq!((tcp.sequence_number(), tcp.syn(), tcp.ack()), (probe.seq.0, true, false));
        }
    }

    proptest! {
        #[test]
        fn any_probes_decode_clean_v4(
            source: [u8; 4], port: u16, probes: Vec<([u8; 4], u16, u32, Option<[u8; 6]>)>, bare: bool
        ) {
            let probes: Vec<Probe> = probes.into_iter().map(|(to, port, seq, mac)| Probe {
                target: Target { address: to.into(), port }, seq: Seq(seq), mac: mac.map(MacAddr),
            }).collect();
            check(if bare { LinkHeader::None } else { LINK }, source.into(), port, &probes);
        }

        #[test]
        fn any_probes_decode_clean_v6(
            source: [u8; 16], port: u16, probes: Vec<([u8; 16], u16, u32, Option<[u8; 6]>)>, bare: bool
        ) {
            let probes: Vec<Probe> = probes.into_iter().map(|(to, port, seq, mac)| Probe {
                target: Target { address: to.into(), port }, seq: Seq(seq), mac: mac.map(MacAddr),
            }).collect();
            check(if bare { LinkHeader::None } else { LINK }, source.into(), port, &probes);
        }
    }

    #[test]
    fn a_short_buffer_or_the_other_family_is_left_alone() {
        let template = SynTemplate::new(LINK, "192.0.2.1".parse().unwrap(), 1);
        let mut short = [7; 20];
        template.patch(&mut short, &probe("192.0.2.2", 1, 1));
        assert_eq!(short, [7; 20]);
        let mut frame = template.frame().to_vec();
        template.patch(&mut frame, &probe("2001:db8::1", 1, 1));
        assert_eq!(frame, template.frame());
    }
}
