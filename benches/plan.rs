//! Plan: from an index to its target, as for every probe, and from a target to its index, as for every reply. At random,
//! because the order is shuffled.

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::{Criterion, Throughput};
use halfopen::{Index, Plan, PlanBuilder, Target};
use halfopen_bench::{INPUTS, numbers};

use crate::processor_time::ProcessorTime;

pub(crate) fn plan(c: &mut Criterion<ProcessorTime>) {
    let mut group = c.benchmark_group("plan");
    group.throughput(Throughput::Elements(INPUTS as u64));
    let plans = [
        ("one /8, one port", made("10.0.0.0/8", "443")),
        ("one /16, 1000 ports", made("10.0.0.0/16", "1-1000")),
        ("one /64 of IPv6, one port", made("2001:db8::/66", "443")),
        ("100,000 scattered hosts, one port", made(&scattered(), "443")),
        ("100,000 scattered hosts, 1000 ports", made(&scattered(), "1-500,601-1100")),
    ];
    for (name, plan) in &plans {
        let indices = numbers(plan.len()).map(Index);
        let targets: Vec<Target> = indices.iter().filter_map(|&index| plan.target(index)).collect();
        group.bench_function(format!("locate/{name}"), |b| {
            b.iter(|| indices.iter().fold(0, |sum, &at| sum ^ black_box(plan).locate(at).map_or(0, |l| l.target.port)));
        });
        group.bench_function(format!("index/{name}"), |b| {
            b.iter(|| targets.iter().fold(0, |sum, &to| sum ^ black_box(plan).index(to).map_or(0, |i| i.0)));
        });
    }
    group.finish();
}

fn made(targets: &str, ports: &str) -> Plan {
    let built = Plan::builder().targets(targets).and_then(|plan| plan.ports(ports)).and_then(PlanBuilder::build);
    built.expect("a plan that parses")
}

/// Hosts without neighbours in the 2^24 addresses of 10.0.0.0/8: every 167th or so.
fn scattered() -> String {
    let shifts = numbers(160);
    let hosts = (0..100_000_u32).map(|n| 0x0a00_0000 + n * 167 + shifts[n as usize % INPUTS] as u32);
    hosts.map(|bits| format!("{}\n", Ipv4Addr::from_bits(bits))).collect()
}
