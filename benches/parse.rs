//! Parse: a received frame as what it may be, checksums included.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use etherparse::PacketBuilder;
use halfopen::wire::reply::{Checksum, Layer, read};
use halfopen_bench::{INPUTS, numbers};

use crate::processor_time::ProcessorTime;

const FRAMES: usize = INPUTS / 8;
const PORT: u16 = 40_000;

/// A frame made of a number.
type Make = fn(u64) -> Vec<u8>;

pub(crate) fn parse(c: &mut Criterion<ProcessorTime>) {
    let kinds: [(&str, Make); 6] = [
        ("syn-ack/v4", |n| tcp_v4(n, true)),
        ("syn-ack/v6", |n| tcp_v6(n, true)),
        ("rst/v4", |n| tcp_v4(n, false)),
        ("rst/v6", |n| tcp_v6(n, false)),
        ("icmp error/v4", icmp_v4),
        ("icmp error/v6", icmp_v6),
    ];
    let mut group = c.benchmark_group("parse");
    group.throughput(Throughput::Elements(FRAMES as u64));
    for (name, make) in kinds {
        let frames: Vec<Vec<u8>> = numbers(u64::MAX)[..FRAMES].iter().map(|&n| make(n)).collect();
        assert!(
            frames.iter().all(|frame| read(Layer::Ethernet, frame, Checksum::Unknown).is_ok()),
            "{name} is readable"
        );
        group.bench_function(name, |b| {
            b.iter(|| {
                let is_ok =
                    |frame: &&Vec<u8>| black_box(read(Layer::Ethernet, black_box(frame), Checksum::Unknown)).is_ok();
                frames.iter().filter(is_ok).count()
            });
        });
    }
    group.finish();
}

fn v4(n: u64) -> ([u8; 4], [u8; 4]) {
    ((n as u32).to_be_bytes(), [192, 0, 2, 1])
}

fn v6(n: u64) -> ([u8; 16], [u8; 16]) {
    let of = |host: u64| (0x2001_0db8 << 96 | u128::from(host)).to_be_bytes();
    (of(n), of(1))
}

fn tcp_v4(n: u64, open: bool) -> Vec<u8> {
    let (from, to) = v4(n);
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    written(ethernet.ipv4(from, to, 57).tcp((n >> 32) as u16, PORT, (n >> 16) as u32, 64_240), open)
}

fn tcp_v6(n: u64, open: bool) -> Vec<u8> {
    let (from, to) = v6(n);
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    written(ethernet.ipv6(from, to, 57).tcp((n >> 32) as u16, PORT, (n >> 16) as u32, 64_240), open)
}

fn written(builder: etherparse::PacketBuilderStep<etherparse::TcpHeader>, open: bool) -> Vec<u8> {
    let acknowledging = builder.ack(77);
    let builder = if open { acknowledging.syn() } else { acknowledging.rst() };
    let mss = [etherparse::TcpOptionElement::MaximumSegmentSize(1460)];
    let builder = builder.options(if open { &mss } else { &[] }).expect("options that fit");
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).expect("a vector takes all");
    frame
}

/// Code 13, quoting a probe whole.
fn icmp_v4(n: u64) -> Vec<u8> {
    let (target, ours) = v4(n);
    let (mut probe, mut frame) = (Vec::new(), Vec::new());
    let quoted = PacketBuilder::ipv4(ours, target, 60).tcp(PORT, (n >> 32) as u16, (n >> 16) as u32, 64_240);
    quoted.write(&mut probe, &[]).expect("a vector takes all");
    let error = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], ours, 57).icmpv4_raw(3, 13, [0; 4]);
    error.write(&mut frame, &probe).expect("a vector takes all");
    frame
}

/// Code 1, quoting a probe whole.
fn icmp_v6(n: u64) -> Vec<u8> {
    let (target, ours) = v6(n);
    let (mut probe, mut frame) = (Vec::new(), Vec::new());
    let quoted = PacketBuilder::ipv6(ours, target, 60).tcp(PORT, (n >> 32) as u16, (n >> 16) as u32, 64_240);
    quoted.write(&mut probe, &[]).expect("a vector takes all");
    let error = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6(v6(2).0, ours, 57).icmpv6_raw(1, 1, [0; 4]);
    error.write(&mut frame, &probe).expect("a vector takes all");
    frame
}
