//! Size: what a probe costs in plans of 2^16 to 2^28 targets. It has to be the same: nothing on the sender's path grows
//! with the plan.
//!
//! Each iteration is the first 2^15 probes of a scan over the in-memory link, which the shuffled order spreads over all of
//! the plan; then the network ends the scan by unwinding. Setting up is not counted, and hearing a probe costs next to
//! nothing.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{Criterion, Throughput};
use halfopen::link::sim::Network;
use halfopen::{Discover, Plan, PlanBuilder, Rate, Scan, SimPlace, State, Time, simulate};
use halfopen_bench::SEED;

use crate::processor_time::ProcessorTime;

const PROBES: u64 = 1 << 15;

pub(crate) fn size(c: &mut Criterion<ProcessorTime>) {
    let mut group = c.benchmark_group("size");
    group.throughput(Throughput::Elements(PROBES)).sample_size(10);
    for (family, base, bits) in [("v4", "10.0.0.0", 32), ("v6", "2001:db8::", 128)] {
        for size in [16, 20, 24, 28] {
            // 16 ports each.
            let plan = made(&format!("{base}/{}", bits - (size - 4)), size);
            group.bench_function(format!("probe/{family}/2^{size}"), |b| {
                b.iter_custom(|n| (0..n).map(|_| first_probes(&plan)).sum());
            });
        }
    }
    group.finish();
}

fn made(hosts: &str, size: u32) -> Plan {
    let builder = Plan::builder().targets(hosts).and_then(|plan| plan.ports("1-16"));
    let plan = builder.and_then(PlanBuilder::build).expect("a plan that parses");
    assert_eq!(plan.len(), 1 << size);
    plan
}

/// How long the first probes take.
fn first_probes(plan: &Plan) -> Duration {
    let took = Arc::new(AtomicU64::new(0));
    let network = Ending { heard: 0, since: Duration::ZERO, took: Arc::clone(&took) };
    let scan =
        Scan::builder(plan.clone()).rate(Rate::Max).passes(1).seed(SEED).discover(Discover::Off).report(&[State::Open]);
    let end = catch_unwind(AssertUnwindSafe(|| simulate(scan, SimPlace::default(), network)));
    assert!(end.is_err(), "the network ends the scan");
    Duration::from_nanos(took.load(Ordering::Relaxed))
}

/// A network that answers nothing, and ends the scan when it has heard enough.
struct Ending {
    heard: u64,
    since: Duration,
    took: Arc<AtomicU64>,
}

impl Ending {
    fn end(&self) {
        let took = ProcessorTime::used() - self.since;
        self.took.store(took.as_nanos() as u64, Ordering::Relaxed);
        resume_unwind(Box::new(()));
    }
}

impl Network for Ending {
    fn send(&mut self, _: Time, _: &[u8]) {
        // Both are the first of their batches, so what lies between is whole batches.
        match self.heard {
            0 => self.since = ProcessorTime::used(),
            PROBES => self.end(),
            _ => {}
        }
        self.heard += 1;
    }

    fn next_arrival(&self) -> Option<Time> {
        None
    }

    fn receive(&mut self, _: Time, _: &mut dyn FnMut(Time, &[u8])) {}
}
