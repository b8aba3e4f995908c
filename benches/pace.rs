//! Pace: asking how many probes may leave, and accounting for them as the sender does, one by one.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use halfopen::pace::Pace;
use halfopen::{Pps, Rate, Time};

use crate::processor_time::ProcessorTime;

/// A link's batch.
const BATCH: usize = 64;
/// One batch in 64 µs.
const RATE: Pps = Pps(1_000_000);

pub(crate) fn pace(c: &mut Criterion<ProcessorTime>) {
    let mut group = c.benchmark_group("pace");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, rate) in [("fixed", Rate::Fixed(RATE)), ("max", Rate::Max)] {
        let (mut pace, mut now) = (Pace::new(rate, BATCH, Time::ZERO), Time::ZERO);
        group.bench_function(name, |b| {
            b.iter(|| {
                now = Time(now.0 + 64_000);
                let allowed = pace.allowance(black_box(now));
                (0..allowed).for_each(|_| pace.spend(black_box(1)));
                pace.next(now)
            });
        });
    }
    group.finish();
}
