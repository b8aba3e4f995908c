//! Memory: what a scan takes at most does not hang on how many targets it has. One test to a process, because the kernel
//! keeps the peak by process.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use halfopen::link::sim::Network;
use halfopen::{Plan, PlanBuilder, Rate, Scan, SimPlace, State, Time, simulate};

/// The table is 64 MiB for so many targets, at two bits each.
const TARGETS: u64 = 1 << 28;
const LIMIT_MIB: u64 = 160;

/// A network that answers nothing, and ends the scan by unwinding when it has heard enough.
struct Ending {
    left: u64,
}

impl Network for Ending {
    fn send(&mut self, _: Time, _: &[u8]) {
        self.left -= 1;
        if self.left == 0 {
            resume_unwind(Box::new(()));
        }
    }

    fn next_arrival(&self) -> Option<Time> {
        None
    }

    fn receive(&mut self, _: Time, _: &mut dyn FnMut(Time, &[u8])) {}
}

/// The most memory that this process ever had, in MiB: proc(5), `VmHWM` in /proc/pid/status.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

/// Whether the scan came to its own end.
fn scan(probes: u64) -> bool {
    let builder = Plan::builder().targets("10.0.0.0/8").and_then(|plan| plan.ports("1-16"));
    let plan = builder.and_then(PlanBuilder::build).expect("a plan that parses");
    assert_eq!(plan.len(), TARGETS);
    // The simulator keeps every event for its caller: one for each silent target would be gigabytes.
    let scan = Scan::builder(plan).rate(Rate::Max).passes(1).report(&[State::Open]);
    let network = Ending { left: probes };
    catch_unwind(AssertUnwindSafe(|| simulate(scan, SimPlace::default(), network).expect("sound settings"))).is_ok()
}

#[test]
fn two_to_the_28_targets_take_less_than_160_mib() {
    assert!(!scan(1 << 20), "the network ends it");
    assert!(peak_mib() < LIMIT_MIB, "{} MiB", peak_mib());
}

#[test]
#[ignore = "a quarter of a minute in a release build: cargo test --release -p halfopen-lab --test memory -- --ignored"]
fn the_whole_scan_of_2_to_the_28_targets_takes_less_than_160_mib() {
    assert!(scan(TARGETS + 1), "it ends by itself");
    assert!(peak_mib() < LIMIT_MIB, "{} MiB", peak_mib());
}
