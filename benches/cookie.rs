//! Cookie: the keyed hash of a probe's addresses and ports, from where an egress and a pass leave off.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use criterion::{Criterion, Throughput};
use halfopen::Target;
use halfopen::cookie::Cookie;
use halfopen_bench::{INPUTS, SEED, numbers};

use crate::processor_time::ProcessorTime;

/// An address made of a number.
type Make = fn(u64) -> IpAddr;

pub(crate) fn cookie(c: &mut Criterion<ProcessorTime>) {
    let cookie = Cookie::new(SEED, !SEED);
    let families: [(&str, Make); 2] = [
        ("v4", |n| Ipv4Addr::from_bits(n as u32).into()),
        ("v6", |n| Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n)).into()),
    ];
    let mut group = c.benchmark_group("cookie");
    group.throughput(Throughput::Elements(INPUTS as u64));
    for (family, address) in families {
        let targets = numbers(u64::MAX).map(|n| Target { address: address(n), port: (n >> 48) as u16 });
        let origin = cookie.origin(address(1), 40_000);
        group.bench_function(family, |b| {
            b.iter(|| targets.iter().fold(0, |sum, &to| sum ^ black_box(&origin).seq(to).0));
        });
    }
    group.finish();
}
