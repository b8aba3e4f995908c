//! The kernel-resident sender: every probe leaves once and whole, whatever the device makes of them; and where it cannot
//! work, or stops to, the scan says so. Needs root: what an ordinary user's namespace offers is no XDP.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use halfopen::{Error, Event, LinkKind, Pps, Rate, Reason, Scan, ScanBuilder, State, Target};
use halfopen_lab::{
    Answering, End, Expected, Namespace, Route, XdpResponder, lab_test, link, plan, scan, skip, xdp_phantoms,
};

fn responder(lab: &Namespace, answering: Answering) -> XdpResponder {
    xdp_phantoms(lab, answering).unwrap_or_else(|error| {
        skip(&format!("no XDP: {error}"));
        unreachable!("a lab test that is skipped has ended")
    })
}

fn builder(hosts: &str, rate: Rate) -> ScanBuilder {
    Scan::builder(plan(hosts, "80")).seed(1).passes(1).rate(rate).link(LinkKind::XdpLive)
}

/// What a responder makes of so many hosts from 10.0.0.0 on.
fn expected(answering: Answering, hosts: u32) -> BTreeMap<Target, Expected> {
    let targets = (0..hosts).map(|i| Target { address: Ipv4Addr::from_bits(0x0a00_0000 + i).into(), port: 80 });
    let expected = |target| match answering.answer(target) {
        None => Expected::SILENCE,
        Some(State::Open) => Expected::of(State::Open, Reason::SynAck),
        Some(_) => Expected::of(State::Closed, Reason::Rst),
    };
    targets.map(|target| (target, expected(target))).collect()
}

fn finds_all(lab: &Namespace, answering: Answering, rate: Rate) {
    let responder = responder(lab, answering);
    let found = scan(builder("10.0.0.0/15", rate));
    found.assert_is(&expected(answering, 1 << 17));
    let tally = responder.tally();
    assert_eq!((tally.syns, found.summary.sent[0]), (1 << 17, 1 << 17));
    assert_eq!(tally.rsts, tally.syn_acks, "{tally:?}");
    assert_eq!(found.summary.drops.send_errors, 0);
}

lab_test!(as_fast_as_can_be, |lab| finds_all(lab, Answering::Percent, Rate::Max));
lab_test!(at_a_rate, |lab| finds_all(lab, Answering::Every, Rate::Fixed(Pps(100_000))));

/// A neighbour with the kernel's own stack, behind which are all hosts; it takes XDP frames, but not as fast as they can
/// be sent.
fn stack(lab: &Namespace) -> Namespace {
    let far = Namespace::new("stack");
    let mac = [2, 0, 0, 0, 0, 9];
    link(
        &End::new(lab, "scan0").address("10.99.0.100/24"),
        &End::new(&far, "far0").address("10.99.0.1/24").mac(mac).polling(),
    );
    lab.neighbour("scan0", "10.99.0.1", mac);
    lab.route("default", Route::Via([10, 99, 0, 1].into()));
    far
}

/// Frames that a device has received, by the kernel's count.
fn received(namespace: &Namespace, device: &str) -> u64 {
    let text = namespace.run(|| fs::read_to_string("/proc/thread-self/net/dev")).expect("procfs");
    let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{device}:")));
    let packets = line.and_then(|line| line.split_whitespace().nth(1));
    packets.and_then(|number| number.parse().ok()).expect("bytes, packets, ...")
}

lab_test!(what_a_full_queue_leaves_is_sent_again, |lab| {
    let far = stack(lab);
    let before = received(&far, "far0");
    let summary = builder("10.0.0.0/13", Rate::Max).report(&[]).start().unwrap().wait().unwrap();
    let (sent, arrived) = (summary.sent[0], received(&far, "far0") - before);
    assert_eq!(sent, 1 << 19);
    // And eight of a trial, and what stacks say to each other by themselves.
    assert!((sent + 8..sent + 40).contains(&arrived), "{sent} {arrived} {:?}", summary.drops);
});

/// What a device that takes nothing is given.
const PATIENCE: Duration = Duration::from_secs(5);

fn loses_its_link(lab: &Namespace, pull: impl FnOnce(&Namespace), within: Duration) {
    let far = stack(lab);
    let running = builder("10.128.0.0/9", Rate::Fixed(Pps(200_000))).report(&[]).start().unwrap();
    assert!(running.events().any(|event| matches!(event, Event::Progress(progress) if progress.sent > 0)));
    pull(&far);
    let pulled = Instant::now();
    match running.wait() {
        Err(Error::LinkLost { link, sent, .. }) => {
            assert!(link.starts_with("xdp_live") && (1..1 << 23).contains(&sent), "{link} {sent}");
        }
        other => panic!("{other:?}"),
    }
    assert!(pulled.elapsed() < within, "{:?}", pulled.elapsed());
}

lab_test!(a_device_that_goes_down_ends_the_scan, |lab| loses_its_link(lab, |_| lab.down("scan0"), PATIENCE));
lab_test!(a_far_end_that_goes_down_ends_the_scan, |lab| {
    loses_its_link(lab, |far| far.down("far0"), PATIENCE * 2);
});
