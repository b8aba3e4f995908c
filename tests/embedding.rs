//! The engine inside another program: several scans at once, a scan dropped in the middle, stopped, ended at once, its
//! progress; and what it does without the right to raw sockets: the connect scan.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use halfopen::{
    Cooldown, Error, Event, LinkKind, Method, Outcome, Phase, Plan, Pps, Progress, Rate, Reason, Scan, ScanBuilder,
    State,
};
use halfopen_lab::{
    End, Expected, Found, Namespace, Scenario, lab_test, link, neighbours, phantoms, plan, read, scan, target,
};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

fn builder(plan: Plan, pps: u64) -> ScanBuilder {
    Scan::builder(plan).seed(1).rate(Rate::Fixed(Pps(pps)))
}

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

// Several at once.

lab_test!(several_scans_at_once_do_not_disturb_each_other, |lab| {
    let responder = phantoms(lab, &Scenario::named("prefix16"));
    let _listeners = lab.listen_all("127.0.0.1", [80, 443]);
    // The same targets twice, so that each scan sees the other's replies on the same device.
    let plans =
        [("10.64.0.0/23", "22,80,443"), ("10.64.0.0/23", "80"), ("fd64::/119", "22,80"), ("127.0.0.1", "1-5000")];
    let found = thread::scope(|scope| {
        let scans = plans.map(|(hosts, ports)| scope.spawn(move || scan(builder(plan(hosts, ports), 3_000))));
        scans.map(|scan| scan.join().unwrap())
    });
    for (found, (hosts, ports)) in found.iter().zip(plans).take(3) {
        let plan = plan(hosts, ports);
        let mut expected = Scenario::named("prefix16").expected_all(ports);
        expected.retain(|target, _| plan.contains(*target));
        found.assert_is(&expected);
    }
    assert_eq!((found[3].summary.open, found[3].summary.closed), (2, 4_998));
    let ports: BTreeSet<_> = found.iter().map(|found| found.summary.source_port).collect();
    assert_eq!(ports.len(), 4);
    let sent: u64 = found.iter().take(3).map(|found| found.summary.syns()).sum();
    assert_eq!(responder.wait_for(|tally| tally.syns >= sent).syns, sent);
    assert_eq!(responder.drops(), 0);
});

// What is left behind.

/// What a process holds that a scan could leave behind.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    threads: usize,
    descriptors: usize,
    rings: usize,
}

fn held() -> Held {
    let entries = |path| fs::read_dir(path).unwrap().count();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let rings = maps.lines().filter(|line| line.contains("socket:")).count();
    Held { threads: entries("/proc/self/task"), descriptors: entries("/proc/self/fd"), rings }
}

/// Waits until the process holds no more than before: the kernel takes a moment to bury a thread.
fn assert_released(before: &Held) {
    let deadline = Instant::now() + PATIENCE;
    while held() != *before {
        assert!(Instant::now() < deadline, "{:?}, and before {before:?}", held());
        thread::yield_now();
    }
}

lab_test!(a_scan_that_is_dropped_leaves_nothing_behind, |lab| {
    let _responder = phantoms(lab, &Scenario::named("prefix16"));
    let before = held();
    for kind in [LinkKind::AfPacket, LinkKind::RawIp, LinkKind::Pnet] {
        let builder = builder(plan("10.64.0.0/16 fd64::/112", "80"), 5_000).link(kind);
        let running = builder.cooldown(Cooldown::Fixed(12 * PATIENCE)).start().unwrap();
        let verdicts = running.events().filter(|event| matches!(event, Event::Verdict(_)));
        assert_eq!(verdicts.take(100).count(), 100);
        let during = held();
        assert!(during.threads >= before.threads + 2 && during.descriptors > before.descriptors, "{during:?}");
        assert_eq!(during.rings > before.rings, kind != LinkKind::Pnet, "{during:?}");
        let dropped = Instant::now();
        drop(running);
        assert!(dropped.elapsed() < PATIENCE, "{:?}", dropped.elapsed());
        assert_released(&before);
    }
});

lab_test!(a_scan_that_is_dropped_unread_or_while_asking_or_cooling_down_ends, |lab| {
    let _responder = neighbours(lab, &Scenario::named("verdicts"));
    let before = held();
    drop(builder(plan("127.0.0.1", "-"), 100_000).start().unwrap());
    // A request a second: it is dropped in the sweep.
    drop(builder(plan("10.7.0.0/24", "80"), 1).start().unwrap());
    let running = builder(plan("127.0.0.1", "1"), 1_000).cooldown(Cooldown::Fixed(12 * PATIENCE)).start().unwrap();
    assert!(running.events().any(|event| matches!(event, Event::Verdict(_))));
    let dropped = Instant::now();
    drop(running);
    assert!(dropped.elapsed() < PATIENCE, "{:?}", dropped.elapsed());
    drop(builder(plan("127.0.0.1", "-"), 1_000).method(Method::Connect).start().unwrap());
    assert_released(&before);
});

lab_test!(a_scan_that_has_ended_leaves_nothing_behind, |lab| {
    let _responder = neighbours(lab, &Scenario::named("verdicts"));
    let before = held();
    let found = scan(builder(plan("10.7.0.2 fd07::2 127.0.0.1", "80"), 1_000));
    assert_eq!(found.summary.open, 2);
    assert_released(&before);
});

// Stopped.

/// Every port answers 300 ms after its probe.
const LATE: &str = r#"
    [[router]]
    name = "gateway"
    addresses = "10.7.0.1"
    [[host]]
    addresses = "10.64.0.0/16"
    rules = [{ ports = 80, behaviour = "open", late = "300ms" }]
"#;

lab_test!(stop_sends_no_more_and_waits_for_what_is_under_way, |lab| {
    let _responder = phantoms(lab, &Scenario::parse(LATE).unwrap());
    let running = builder(plan("10.64.0.0/16", "80"), 1_000).passes(1).start().unwrap();
    let mut events: Vec<Event> = running.events().take(50).collect();
    running.stopper().stop();
    events.extend(running.events());
    let found = Found::of(events, running.wait().unwrap());
    let summary = &found.summary;
    assert_eq!(summary.outcome, Outcome::Stopped);
    assert!(summary.sent[0] >= 300, "replies come 300 probes late: {summary:?}");
    assert_eq!(summary.open, summary.sent[0], "the cooldown was kept, and every probe answered");
    assert_eq!(summary.unclassified, 65_536 - summary.sent[0]);
});

lab_test!(stop_while_neighbours_are_asked_calls_nobody_down, |lab| {
    let responder = neighbours(lab, &Scenario::named("verdicts"));
    let running = builder(plan("10.7.0.2-10.7.0.99", "80"), 1).start().unwrap();
    running.stopper().stop();
    let found = read(running);
    assert_eq!((found.summary.outcome, found.summary.hosts_down), (Outcome::Stopped, 0));
    assert_eq!(found.summary.unclassified, 98);
    assert_eq!(responder.tally().syns, 0);
});

lab_test!(abort_ends_at_once, |lab| {
    let _responder = phantoms(lab, &Scenario::named("prefix16"));
    for method in [Method::Syn, Method::Connect] {
        let builder = builder(plan("10.64.0.0/16", "22"), 1_000).method(method);
        let running = builder.cooldown(Cooldown::Fixed(12 * PATIENCE)).start().unwrap();
        let mut events: Vec<Event> = running.events().take(50).collect();
        let aborted = Instant::now();
        running.stopper().abort();
        events.extend(running.events());
        let found = Found::of(events, running.wait().unwrap());
        assert!(aborted.elapsed() < PATIENCE, "{:?}", aborted.elapsed());
        assert_eq!(found.summary.outcome, Outcome::Stopped);
        assert!(found.summary.unclassified > 60_000, "{:?}", found.summary);
    }
});

// Progress.

fn rank(phase: Phase) -> u32 {
    match phase {
        Phase::Neighbours => 0,
        Phase::Probing { pass } => 1 + 2 * u32::from(pass),
        Phase::Spacing { pass } => 2 + 2 * u32::from(pass),
        Phase::Cooldown => 100,
        Phase::Done => 101,
        _ => panic!("a phase that no test knows: {phase:?}"),
    }
}

fn assert_monotone(snapshots: &[Progress]) {
    for pair in snapshots.windows(2) {
        let counts = |at: &Progress| [at.sent, at.open, at.closed, at.filtered, at.hosts_down, at.drops];
        let grows = counts(&pair[0]).into_iter().zip(counts(&pair[1])).all(|(before, after)| before <= after);
        let on = pair[0].elapsed <= pair[1].elapsed && rank(pair[0].phase) <= rank(pair[1].phase);
        assert!(grows && on, "{pair:#?}");
        assert!((0.0..=1.0).contains(&pair[1].done) && pair[1].done.is_finite(), "{pair:#?}");
    }
}

lab_test!(progress_goes_on_and_never_back, |lab| {
    let _responder = phantoms(lab, &Scenario::named("prefix16"));
    let running = builder(plan("10.64.0.0/20", "22"), 10_000).start().unwrap();
    let (asked, events) = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let snapshots = std::iter::repeat_with(|| running.progress());
            let mut asked: Vec<Progress> = Vec::new();
            for snapshot in snapshots {
                let done = snapshot.phase == Phase::Done;
                asked.push(snapshot);
                if done {
                    return asked;
                }
                thread::yield_now();
            }
            asked
        });
        let events: Vec<Event> = running.events().collect();
        (asking.join().unwrap(), events)
    });
    assert_monotone(&asked);
    let found = Found::of(events, running.wait().unwrap());
    assert_monotone(&found.progress);
    let last = found.progress.last().unwrap();
    assert_eq!((last.phase, last.done, last.targets), (Phase::Done, 1.0, 4096));
    assert_eq!(
        (last.sent, last.open, last.closed),
        (found.summary.sent.iter().sum(), found.summary.open, found.summary.closed)
    );
    assert!(found.progress.len() >= 2, "several a second");
});

// Without rights.

/// Runs `work` on a thread that may not open raw sockets; the threads it starts may not either.
fn without_rights<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let inside = || {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_RAW);
        sets.permitted.remove(CapabilitySet::NET_RAW);
        sets.inheritable.remove(CapabilitySet::NET_RAW);
        set_capabilities(None, sets).unwrap();
        work()
    };
    thread::scope(|scope| scope.spawn(inside).join().unwrap())
}

lab_test!(without_rights_a_syn_scan_says_what_is_missing_and_auto_connects, |lab| {
    let _listener = lab.listen("127.0.0.1:80");
    let (refused, found) = without_rights(|| {
        let refused = builder(plan("127.0.0.1", "80"), 1_000).method(Method::Syn).start().map(drop);
        let running = builder(plan("127.0.0.1", "79-81"), 1_000).start().unwrap();
        assert_eq!(running.settings().method, Method::Connect);
        (refused, read(running))
    });
    assert!(matches!(refused, Err(Error::Privilege { .. })), "{refused:?}");
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("CAP_NET_RAW") && text.contains("sudo") && text.contains("setcap"), "{text}");
    assert_eq!((found.summary.open, found.summary.closed), (1, 2));
    let [warning] = &found.warnings[..] else { panic!("{:?}", found.warnings) };
    assert!(warning.contains("connect()"), "{warning}");
});

lab_test!(with_rights_auto_is_a_syn_scan, |_lab| {
    let running = builder(plan("127.0.0.1", "79-81"), 1_000).start().unwrap();
    assert_eq!(running.settings().method, Method::Syn);
    assert!(read(running).warnings.is_empty());
});

// The connect scan.

fn connecting(plan: Plan, pps: u64) -> ScanBuilder {
    builder(plan, pps).method(Method::Connect)
}

lab_test!(the_connect_scan_of_a_real_stack, |lab| {
    let far = Namespace::new("far");
    link(
        &End::new(lab, "scan0").address("10.1.0.1/24").address("fd01::1/64"),
        &End::new(&far, "far0").address("10.1.0.2/24").address("fd01::2/64"),
    );
    let listeners = [far.listen("10.1.0.2:80"), far.listen("[fd01::2]:80")];
    lab.reach(&listeners);
    let found = scan(connecting(plan("10.1.0.2 fd01::2", "80,81"), 1_000));
    let refused = Expected::of(State::Closed, Reason::Refused);
    let open = Expected::of(State::Open, Reason::SynAck);
    let expected = [("10.1.0.2:80", open), ("10.1.0.2:81", refused), ("[fd01::2]:80", open), ("[fd01::2]:81", refused)];
    found.assert_is(&expected.into_iter().map(|(at, said)| (target(at), said)).collect());
    assert_eq!((found.summary.source_port, &found.summary.links[..]), (None, &["connect".to_owned()][..]));
});

// By phantoms and not by a router of Linux's: its answer would be there before connect(2) has returned, and a socket
// that is in use takes an ICMP error for a hint only (net/ipv4/tcp_ipv4.c, `tcp_v4_err`: `sk_err_soft`).
lab_test!(the_connect_scan_says_what_the_kernel_says, |lab| {
    let scenario = Scenario::named("verdicts");
    let _responder = neighbours(lab, &scenario);
    let found = scan(connecting(plan("10.7.0.2 fd07::2", "1,28,80,100-107"), 200));
    let mut expected: BTreeMap<_, _> = scenario.expected_all("1,28,80,100-107").into_iter().collect();
    expected.retain(|target, _| found.verdicts.contains_key(target));
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(at, said)| (at, in_the_kernels_words(said))).collect();
    assert_eq!(expected.len(), 22);
    found.assert_is(&expected);
});

lab_test!(the_connect_scan_of_a_population, |lab| {
    let responder = phantoms(lab, &Scenario::named("prefix16"));
    let found = scan(connecting(plan("10.64.0.0/24 fd64::/120", "80"), 2_000));
    let scenario = Scenario::named("prefix16");
    let expected: BTreeMap<_, _> =
        found.verdicts.keys().map(|&at| (at, in_the_kernels_words(scenario.expected(at)))).collect();
    assert_eq!(expected.len(), 512);
    found.assert_is(&expected);
    assert_eq!(responder.drops(), 0);
});

/// What Linux makes of an answer to a SYN of its own (net/ipv4/icmp.c `icmp_err_convert`, net/ipv6/icmp.c
/// `tab_unreach`): fewer words than ICMP has, no sender, and for port unreachable the same as for a RST.
fn in_the_kernels_words(expected: Expected) -> Expected {
    let filtered = |reason| Expected::of(State::Filtered, reason);
    match expected.reason {
        Reason::Rst | Reason::Icmp { kind: 3, code: 3 } | Reason::Icmpv6 { kind: 1, code: 4 } => {
            Expected::of(State::Closed, Reason::Refused)
        }
        Reason::Icmp { kind: 3, code: 0 | 9 } | Reason::Icmpv6 { kind: 1, code: 0 } => filtered(Reason::NetUnreachable),
        Reason::Icmpv6 { kind: 1, code: 1 | 5 | 6 } => filtered(Reason::Prohibited),
        Reason::Icmp { .. } | Reason::Icmpv6 { .. } => filtered(Reason::HostUnreachable),
        _ => expected,
    }
}

// A socket that connects to its own port meets itself (simultaneous open, RFC 9293 section 3.5), and a port scan of
// the ephemeral range does it sooner or later: in a range of 64 ports one attempt in 32 or so, as Linux prefers ports
// of one parity for connect(2).
lab_test!(the_connect_scan_is_not_fooled_by_meeting_itself, |lab| {
    lab.sysctl("net/ipv4/ip_local_port_range", "40000 40063");
    for seed in 0..20 {
        let found = scan(connecting(plan("127.0.0.1 ::1", "40000-40063"), 5_000).seed(seed));
        assert_eq!((found.summary.open, found.summary.closed), (0, 128), "{:?}", found.targets(State::Open));
    }
});

lab_test!(the_connect_scan_of_the_whole_ephemeral_range_finds_what_listens, |lab| {
    let _listener = lab.listen("127.0.0.1:40000");
    let found = scan(connecting(plan("127.0.0.1", "32768-60999"), 20_000));
    assert_eq!(found.targets(State::Open), [target("127.0.0.1:40000")].into());
    assert_eq!(found.summary.closed, 60_999 - 32_768);
});
