//! Craft: a probe by patching its template, against the same frame built anew with pnet.

use std::hint::black_box;
use std::net::IpAddr;

use criterion::{Criterion, Throughput};
use halfopen::wire::syn::{LinkHeader, MAX_FRAME, Probe, SynTemplate};
use halfopen::{MacAddr, Seq, Target};
use halfopen_bench::{INPUTS, numbers};
use pnet::packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::{self, Ipv4Flags, MutableIpv4Packet};
use pnet::packet::ipv6::MutableIpv6Packet;
use pnet::packet::tcp::{self, MutableTcpPacket, TcpFlags, TcpOption};
use pnet::util::MacAddr as PnetMac;

use crate::processor_time::ProcessorTime;

const FROM: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const TO: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const SOURCE_PORT: u16 = 40_000;
const TCP_LEN: usize = 24;

pub(crate) fn craft(c: &mut Criterion<ProcessorTime>) {
    let mut group = c.benchmark_group("craft");
    group.throughput(Throughput::Elements(INPUTS as u64));
    for (family, source) in [("v4", "192.0.2.1"), ("v6", "2001:db8::1")] {
        let source: IpAddr = source.parse().expect("an address");
        let probes = numbers(u64::MAX).map(|n| probe(source, n));
        let template = SynTemplate::new(LinkHeader::Ethernet { source: FROM, destination: TO }, source, SOURCE_PORT);
        let len = template.frame().len();
        let mut frame = [0; MAX_FRAME];
        frame[..len].copy_from_slice(template.frame());
        group.bench_function(format!("patch/{family}"), |b| {
            b.iter(|| probes.iter().for_each(|probe| template.patch(black_box(&mut frame), probe)));
        });
        let mut anew = [0; MAX_FRAME];
        build(&mut anew[..len], source, &probes[0]);
        template.patch(&mut frame, &probes[0]);
        assert_eq!(anew, frame, "both make the same frame");
        group.bench_function(format!("pnet anew/{family}"), |b| {
            b.iter(|| probes.iter().for_each(|probe| build(black_box(&mut anew[..len]), source, probe)));
        });
    }
    group.finish();
}

fn probe(source: IpAddr, n: u64) -> Probe {
    let address = if source.is_ipv4() {
        IpAddr::from((n as u32).to_be_bytes())
    } else {
        IpAddr::from((0x2001_0db8 << 96 | u128::from(n)).to_be_bytes())
    };
    Probe { target: Target { address, port: (n >> 40) as u16 }, seq: Seq((n >> 13) as u32), mac: None }
}

fn build(frame: &mut [u8], source: IpAddr, probe: &Probe) {
    frame.fill(0);
    let (ethernet, packet) = frame.split_at_mut(14);
    let mut ethernet = MutableEthernetPacket::new(ethernet).expect("room");
    ethernet.set_source(PnetMac::from(FROM.0));
    ethernet.set_destination(PnetMac::from(TO.0));
    match (source, probe.target.address) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            ethernet.set_ethertype(EtherTypes::Ipv4);
            let (ip, segment) = packet.split_at_mut(20);
            let mut ip = MutableIpv4Packet::new(ip).expect("room");
            ip.set_version(4);
            ip.set_header_length(5);
            ip.set_total_length(20 + TCP_LEN as u16);
            ip.set_flags(Ipv4Flags::DontFragment);
            ip.set_ttl(64);
            ip.set_next_level_protocol(IpNextHeaderProtocols::Tcp);
            ip.set_source(from);
            ip.set_destination(to);
            ip.set_checksum(ipv4::checksum(&ip.to_immutable()));
            let mut segment = syn(segment, 1460, probe);
            segment.set_checksum(tcp::ipv4_checksum(&segment.to_immutable(), &from, &to));
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            ethernet.set_ethertype(EtherTypes::Ipv6);
            let (ip, segment) = packet.split_at_mut(40);
            let mut ip = MutableIpv6Packet::new(ip).expect("room");
            ip.set_version(6);
            ip.set_payload_length(TCP_LEN as u16);
            ip.set_next_header(IpNextHeaderProtocols::Tcp);
            ip.set_hop_limit(64);
            ip.set_source(from);
            ip.set_destination(to);
            let mut segment = syn(segment, 1440, probe);
            segment.set_checksum(tcp::ipv6_checksum(&segment.to_immutable(), &from, &to));
        }
        _ => unreachable!("source and target are of one family"),
    }
}

fn syn<'a>(segment: &'a mut [u8], mss: u16, probe: &Probe) -> MutableTcpPacket<'a> {
    let mut tcp = MutableTcpPacket::new(segment).expect("room");
    tcp.set_source(SOURCE_PORT);
    tcp.set_destination(probe.target.port);
    tcp.set_sequence(probe.seq.0);
    tcp.set_data_offset((TCP_LEN / 4) as u8);
    tcp.set_flags(TcpFlags::SYN);
    tcp.set_window(64_240);
    tcp.set_options(&[TcpOption::mss(mss)]);
    tcp
}
