//! The seed: one order in a dry run and on the wire.

use halfopen_lab::lab_test;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{run, text};

/// On one processor the loopback keeps the order of packets; over several it need not.
fn stay_on_one_processor() {
    let may = sched_getaffinity(None).unwrap();
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|&cpu| may.is_set(cpu)).unwrap());
    sched_setaffinity(None, &one).unwrap();
}

lab_test!(a_scan_goes_in_the_order_of_its_dry_run, |_lab| {
    stay_on_one_processor();
    let line = "scan 127.0.0.1 -p 1-500 --seed 42 --quiet";
    let planned = text(&run(&format!("{line} --dry-run")).stdout);
    let probed = text(&run(&format!("{line} --show all")).stdout);
    let target = |finding: &str| {
        let mut words = finding.split(' ');
        let (address, port) = (words.next().unwrap(), words.next().unwrap());
        format!("{address} {}", port.trim_end_matches("/tcp"))
    };
    let probed: Vec<_> = probed.lines().map(target).collect();
    assert_eq!(probed.len(), 500);
    assert!(planned.lines().eq(probed.iter().map(String::as_str)), "another order than planned: {probed:?}");
});
