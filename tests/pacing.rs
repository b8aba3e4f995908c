//! The pace on a real link: a fixed rate is held, slow and fast, by one sender and by several.

use std::time::Duration;

use halfopen::{Cooldown, Pps, Rate, Scan, State};
use halfopen_lab::{End, Namespace, Route, lab_test, link, plan};

/// A machine that is busy with other things may not let a thread run for longer than the pace makes good. It does not
/// do so every time; a pace that is off is.
const TRIES: usize = 10;
const TOLERANCE: f64 = 0.02;

/// How far the rate of a scan of so many silent targets is off by its own account, as a share of what was asked for.
fn off(pps: u64, senders: u8, probes: u64) -> f64 {
    let ports = format!("1-{probes}");
    let hosts = if probes > 65_535 { format!("10.9.0.1-10.9.0.{}", probes / 50_000) } else { "10.9.0.1".into() };
    let ports = if probes > 65_535 { "1-50000".into() } else { ports };
    let builder = Scan::builder(plan(&hosts, &ports)).seed(1).rate(Rate::Fixed(Pps(pps))).senders(senders).passes(1);
    let running = builder.report(&[State::Open]).cooldown(Cooldown::Fixed(Duration::ZERO)).start().unwrap();
    let summary = running.wait().unwrap();
    assert_eq!((summary.sent[0], summary.drops.send_errors), (summary.targets, 0));
    let rate = summary.rate();
    println!("{pps} a second by {senders}: {rate:.1}, {:?}", summary.drops);
    (rate / pps as f64 - 1.0).abs()
}

lab_test!(a_fixed_rate_is_held, |lab| {
    let far = Namespace::new("far");
    link(&End::new(lab, "scan0").address("10.7.0.100/24"), &End::new(&far, "far0").address("10.7.0.1/24"));
    lab.route("default", Route::Via([10, 7, 0, 1].into()));
    for (pps, senders, probes) in
        [(10, 1, 20), (1_000, 1, 2_000), (50_000, 1, 100_000), (100_000, 1, 200_000), (100_000, 2, 200_000)]
    {
        let best = (0..TRIES).map(|_| off(pps, senders, probes)).find(|&off| off <= TOLERANCE);
        assert!(best.is_some(), "{pps} probes a second by {senders} senders are not held");
    }
});
