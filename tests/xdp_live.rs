//! The kernel-resident sender: every probe leaves once and whole, whatever the device makes of them; and where it cannot
//! work, or stops to, the scan says so. Needs root: what an ordinary user's namespace offers is no XDP.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use halfopen::{Cooldown, Error, Event, LinkKind, Pps, Rate, Reason, Scan, ScanBuilder, State, Target};
use halfopen_lab::{
    Answering, End, Expected, Namespace, Route, Scenario, XdpResponder, lab_test, link, needs_xdp, plan,
    polling_neighbours, scan, skip_without_root, xdp_phantoms,
};

fn responder(lab: &Namespace, answering: Answering) -> XdpResponder {
    xdp_phantoms(lab, answering).unwrap_or_else(|error| {
        skip_without_root(&format!("no XDP: {error}"));
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
    assert_eq!(found.summary.links, ["xdp_live+xdp(native)@scan0"]);
    let tally = responder.tally();
    assert_eq!((tally.syns, found.summary.sent[0]), (found.summary.syns(), 1 << 17));
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
    needs_xdp();
    let far = stack(lab);
    let before = received(&far, "far0");
    let summary = builder("10.0.0.0/13", Rate::Max).report(&[]).start().unwrap().wait().unwrap();
    assert_eq!(summary.links, ["xdp_live+xdp(generic)@scan0"]);
    let (sent, arrived) = (summary.syns(), received(&far, "far0") - before);
    assert_eq!(summary.sent[0], 1 << 19);
    // And eight of a trial, and what stacks say to each other by themselves.
    assert!((sent + 8..sent + 40).contains(&arrived), "{sent} {arrived} {:?}", summary.drops);
});

/// What a device that takes nothing is given.
const PATIENCE: Duration = Duration::from_secs(10);

fn loses_its_link(lab: &Namespace, pull: impl FnOnce(&Namespace), within: Duration) {
    needs_xdp();
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

/// What a scan at this rate chooses, where it may.
fn chosen(rate: Rate) -> Vec<String> {
    let running = Scan::builder(plan("10.0.0.0/24", "80")).rate(rate).passes(1).start().unwrap();
    let links = running.settings().links.clone();
    let warned = running.events().any(|event| matches!(event, Event::Warning(_)));
    running.wait().unwrap();
    assert!(!warned, "{links:?}: what nobody asked for is not missed");
    links
}

lab_test!(auto_takes_it_beyond_what_sockets_can_do, |lab| {
    let _responder = responder(lab, Answering::Percent);
    assert_eq!(chosen(Rate::Fixed(Pps(500_000))), ["af_packet@scan0"]);
    assert_eq!(chosen(Rate::Fixed(Pps(500_001))), ["xdp_live+xdp(native)@scan0"]);
    lab.route("default", Route::Via([10, 99, 0, 1].into()));
    assert_eq!(chosen(Rate::Max), ["xdp_live+af_packet@scan0"], "nothing is attached where a default route leads");
});

/// A neighbour that takes no XDP frames.
fn plain(lab: &Namespace) -> Namespace {
    let far = Namespace::new("plain");
    let mac = [2, 0, 0, 0, 0, 9];
    link(&End::new(lab, "scan0").address("10.99.0.100/24"), &End::new(&far, "far0").address("10.99.0.1/24").mac(mac));
    lab.neighbour("scan0", "10.99.0.1", mac);
    lab.route("10.0.0.0/24", Route::Via([10, 99, 0, 1].into()));
    far
}

lab_test!(a_device_that_cannot_falls_back, |lab| {
    needs_xdp();
    let _far = plain(lab);
    assert_eq!(chosen(Rate::Max), ["af_xdp(copy)+xdp(native)@scan0"]);
    let running = builder("10.0.0.0/24", Rate::Max).start().unwrap();
    assert_eq!(running.settings().links, ["af_xdp(copy)+xdp(native)@scan0"]);
    let warnings: Vec<_> = running.events().filter(|event| matches!(event, Event::Warning(_))).collect();
    let [Event::Warning(text)] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(text.contains("xdp_live") && text.contains("does not take redirected frames"), "{text}");
    running.wait().unwrap();
});

/// Hosts of both families on the link itself, each with its own link address, at the end of a link that takes XDP frames.
fn both_families(lab: &Namespace, senders: u8) {
    needs_xdp();
    let scenario = Scenario::named("verdicts");
    let responder = polling_neighbours(lab, &scenario);
    let (hosts, ports) = ("10.7.0.2-10.7.0.3 10.7.0.9 fd07::2-fd07::3 fd07::9", "1-28,80,100-107,120-127");
    let scan_of = Scan::builder(plan(hosts, ports)).seed(1).rate(Rate::Fixed(Pps(5_000)));
    let found = scan(scan_of.link(LinkKind::XdpLive).senders(senders));
    found.assert_is(&scenario.expected_all(ports));
    assert!(found.down.keys().copied().eq(scenario.down()));
    assert_eq!(found.summary.links, ["xdp_live+xdp(native)@scan0"]);
    let tally = responder.wait_for(|tally| tally.rsts >= tally.syn_acks + tally.split_syns);
    assert_eq!((tally.bad_checksum, tally.malformed, tally.wrong_mac, tally.syns_without_mss), (0, 0, 0, 0));
    assert_eq!(tally.rsts, tally.syn_acks + tally.split_syns);
    assert_eq!(tally.syns, found.summary.syns());
}

lab_test!(frames_of_both_families_are_whole, |lab| both_families(lab, 1));
lab_test!(frames_of_several_senders_are_whole, |lab| both_families(lab, 3));

lab_test!(a_second_scan_works_beside_the_first, |lab| {
    let _responder = responder(lab, Answering::Every);
    let slow = builder("10.0.0.0/14", Rate::Fixed(Pps(100_000)));
    // A busy machine may be slow to hear the last of them.
    let slow = slow.cooldown(Cooldown::Fixed(Duration::from_secs(1))).report(&[]).start().unwrap();
    assert_eq!(slow.settings().links, ["xdp_live+xdp(native)@scan0"]);
    // It sends as the first does, and leaves the first one's program where it is.
    let second = builder("10.4.0.0/18", Rate::Fixed(Pps(50_000))).start().unwrap();
    assert_eq!(second.settings().links, ["xdp_live+af_packet@scan0"]);
    let warned =
        second.events().filter(|event| matches!(event, Event::Warning(text) if text.contains("another XDP program")));
    assert_eq!(warned.count(), 1);
    let second = second.wait().unwrap();
    assert_eq!((second.filtered, second.strays.total()), (0, 0), "{second:?}");
    slow.stopper().stop();
    let slow = slow.wait().unwrap();
    // What our own side dropped of a scan that is stopped, nobody asks again.
    assert_eq!(slow.filtered + slow.open + slow.closed, slow.sent[0], "{slow:?}");
    assert!(slow.filtered <= slow.drops.total(), "{slow:?}");
});

// Containers have numbers of their own for processes, and the kernel tells its own by default.
lab_test!(inside_a_namespace_of_processes, |lab| {
    let _responder = responder(lab, Answering::Percent);
    let program = std::env::current_exe().expect("a test has a file");
    let status = std::process::Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc"])
        .arg(program)
        .args(["--exact", "chosen_in_a_namespace_of_processes", "--nocapture"])
        .env("HALFOPEN_TEST_IN_PID_NAMESPACE", "1")
        .status();
    match status {
        Ok(status) => assert!(status.success(), "{status}"),
        Err(error) => panic!("unshare (util-linux): {error}"),
    }
});

/// The inside of the test above; alone it has nothing to do.
#[test]
fn chosen_in_a_namespace_of_processes() {
    if std::env::var_os("HALFOPEN_TEST_IN_PID_NAMESPACE").is_some() {
        assert_eq!(chosen(Rate::Max), ["xdp_live+xdp(native)@scan0"]);
    }
}
