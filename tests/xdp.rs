//! AF_XDP and XDP: the same verdicts as by any other link, in each way to receive; what is taken away from the kernel is
//! closed all the same; and whatever cannot be had is done another way, and said.
//!
//! XDP programs need CAP_BPF outside every user namespace, so most of this is skipped for ordinary users.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use halfopen::{Cooldown, Error, Event, LinkKind, Plan, Pps, Rate, Receive, Running, Scan, ScanBuilder, State};
use halfopen_bpf::{Assembler, Kind, Mode, Program, XdpLink, action};
use halfopen_lab::{
    End, Found, Namespace, Responder, Route, Scenario, lab_test, link, needs_xdp, neighbours, phantom_link, phantoms,
    plan, read, scan, target,
};

fn builder(plan: Plan, pps: u64) -> ScanBuilder {
    Scan::builder(plan).seed(1).rate(Rate::Fixed(Pps(pps)))
}

const PORTS: &str = "1-28,80,100-107,120-127";
const HOSTS: &str = "10.7.0.2-10.7.0.3 10.7.0.9 fd07::2-fd07::3 fd07::9";

/// Scans hosts of every behaviour on the link.
fn small_network(lab: &Namespace, kind: LinkKind, receive: Receive) -> Found {
    let scenario = Scenario::named("verdicts");
    let responder = neighbours(lab, &scenario);
    let found = scan(builder(plan(HOSTS, PORTS), 5_000).link(kind).receive(receive));
    found.assert_is(&scenario.expected_all(PORTS));
    assert!(found.down.keys().copied().eq(scenario.down()));
    assert_eq!(found.summary.strays.total(), 0, "{:?}", found.summary.strays);
    assert!(found.reported.iter().filter(|verdict| verdict.ttl.is_some()).all(|verdict| verdict.rtt.is_some()));
    assert_clean(&responder, &found);
    found
}

/// What arrived at the phantoms is well-formed and complete, and every half-open connection was closed once.
fn assert_clean(responder: &Responder, found: &Found) {
    let tally = responder.wait_for(|tally| tally.rsts >= tally.syn_acks + tally.split_syns);
    assert_eq!((tally.bad_checksum, tally.malformed, tally.wrong_mac, tally.syns_without_mss), (0, 0, 0, 0));
    assert_eq!(tally.syns, found.summary.syns() + found.summary.again);
    assert_eq!(tally.rsts, tally.syn_acks + tally.split_syns);
    responder.with(|phantoms| {
        for (target, tally) in phantoms.target_tallies().filter(|(_, tally)| tally.syn_acks > 0) {
            assert_eq!((tally.rsts, tally.stray_rsts), (tally.syn_acks, 0), "{target}");
        }
    });
}

fn links_of(found: &Found) -> [&str; 1] {
    assert_eq!(found.warnings, Vec::<String>::new());
    let [link] = &found.summary.links[..] else { panic!("{:?}", found.summary.links) };
    [link]
}

lab_test!(af_xdp_native, |lab| {
    needs_xdp();
    let found = small_network(lab, LinkKind::AfXdp, Receive::XdpNative);
    assert_eq!(links_of(&found), ["af_xdp(copy)+xdp(native)@scan0"]);
});

lab_test!(af_xdp_generic, |lab| {
    needs_xdp();
    let found = small_network(lab, LinkKind::AfXdp, Receive::XdpGeneric);
    assert_eq!(links_of(&found), ["af_xdp(copy)+xdp(generic)@scan0"]);
});

lab_test!(af_xdp_chooses_the_driver, |lab| {
    needs_xdp();
    let found = small_network(lab, LinkKind::AfXdp, Receive::Auto);
    assert_eq!(links_of(&found), ["af_xdp(copy)+xdp(native)@scan0"]);
});

lab_test!(af_xdp_and_a_packet_socket, |lab| {
    let found = small_network(lab, LinkKind::AfXdp, Receive::AfPacket);
    assert_eq!(links_of(&found), ["af_xdp(copy)+af_packet@scan0"]);
});

lab_test!(a_packet_socket_and_xdp, |lab| {
    needs_xdp();
    let found = small_network(lab, LinkKind::AfPacket, Receive::XdpNative);
    assert_eq!(links_of(&found), ["af_packet+xdp(native)@scan0"]);
});

// Behind a gateway, which is asked for and which carries the default route.
lab_test!(a_device_with_a_default_route_is_not_touched_natively_unless_it_is_asked_for, |lab| {
    needs_xdp();
    let scenario = Scenario::named("prefix16");
    let responder = phantoms(lab, &scenario);
    for (receive, expected) in
        [(Receive::Auto, "af_xdp(copy)+xdp(generic)@scan0"), (Receive::XdpNative, "af_xdp(copy)+xdp(native)@scan0")]
    {
        let found =
            scan(builder(plan("10.64.0.0/24 fd64::/120", "22,80,443"), 20_000).link(LinkKind::AfXdp).receive(receive));
        assert_eq!(links_of(&found), [expected]);
        assert!(found.targets(State::Open).len() > 20);
    }
    let tally = responder.wait_for(|tally| tally.rsts >= tally.syn_acks);
    assert_eq!((tally.rsts, tally.bad_checksum, tally.malformed), (tally.syn_acks, 0, 0));
    assert_eq!(lab.xdp_program("scan0"), None);
});

lab_test!(auto_attaches_nothing, |lab| {
    let _responder = neighbours(lab, &Scenario::named("verdicts"));
    let running = builder(plan("10.7.0.2", "80"), 1_000).start().unwrap();
    assert_eq!((lab.xdp_program("scan0"), &running.settings().links[0][..]), (None, "af_packet@scan0"));
    running.wait().unwrap();
});

/// As fast as it goes.
fn at_full_speed(lab: &Namespace, receive: Receive) {
    let scenario = Scenario::named("prefix16");
    let responder = phantoms(lab, &scenario);
    let found = scan(
        Scan::builder(plan("10.64.0.0/17", "80")).rate(Rate::Max).passes(1).link(LinkKind::AfXdp).receive(receive),
    );
    let sent = found.summary.syns();
    let tally = responder.wait_for(|tally| tally.syns == sent);
    assert_eq!((tally.bad_checksum, tally.malformed), (0, 0));
    assert_eq!((tally.syns + responder.drops(), found.summary.sent[0]), (sent, 1 << 15), "{:?}", found.summary);
    assert_eq!(found.summary.drops.send_errors, 0);
}

lab_test!(every_probe_arrives_at_full_speed, |lab| at_full_speed(lab, Receive::AfPacket));
lab_test!(every_probe_arrives_at_full_speed_beside_xdp, |lab| {
    needs_xdp();
    at_full_speed(lab, Receive::XdpNative);
});

// While the far end is down the kernel takes frames and drops them, and says so; each is sent again.
lab_test!(a_cable_that_is_pulled_and_put_back_costs_no_probe, |lab| {
    let far = Namespace::new("far");
    phantom_link(&End::new(lab, "scan0").address("10.7.0.100/24"), &far, "phantom0");
    lab.route("default", Route::Via([10, 7, 0, 1].into()));
    let responder = Responder::recording_on_veth(&far, "phantom0", Scenario::named("prefix16"));
    let scan = builder(plan("10.64.0.0/21", "80"), 2_000).passes(1).link(LinkKind::AfXdp).receive(Receive::AfPacket);
    let running = scan.start().unwrap();
    assert!(running.events().any(|event| matches!(event, Event::Verdict(_))));
    far.down("phantom0");
    // Once a batch is full and does not go, nothing more is sent.
    let mut sent = [u64::MAX, 0];
    while sent[0] != sent[1] {
        sent = [sent[1], running.progress().sent];
        std::thread::sleep(Duration::from_millis(100));
    }
    far.up("phantom0");
    let summary = running.wait().unwrap();
    assert!(sent[1] < 2048 && summary.drops.send_retries > 0, "{sent:?} {summary:?}");
    assert_eq!((summary.sent[0], summary.drops.send_errors), (2048, 0));
    // The device counts as dropped what was sent again at once, and the scan may probe some of it again.
    // What is in the cable when it is pulled is lost, to whoever sent it: a frame or two, of a batch of 64 that is refused.
    let arrived = summary.syns() - 2..=summary.syns();
    let tally = responder.wait_for(|tally| arrived.contains(&tally.syns));
    assert_eq!((arrived.contains(&tally.syns), tally.bad_checksum, tally.malformed), (true, 0, 0), "{tally:?}");
    responder.with(|phantoms| {
        assert!(phantoms.target_tallies().filter(|(_, tally)| !tally.syns.is_empty()).count() >= 2046);
    });
});

// The answers of a kernel on this machine come with checksums that are not filled in.
lab_test!(real_hosts_behind_an_offloading_device, |lab| {
    needs_xdp();
    let far = Namespace::new("far");
    let near = End::new(lab, "scan0").address("10.1.0.1/24").address("fd01::1/64");
    link(&near, &End::new(&far, "far0").address("10.1.0.2/24").address("fd01::2/64").offloading());
    let _listeners = [far.listen("10.1.0.2:80"), far.listen("[fd01::2]:443")];
    for receive in [Receive::XdpNative, Receive::XdpGeneric] {
        let found = scan(builder(plan("10.1.0.2 fd01::2", "75-85,443"), 1_000).link(LinkKind::AfXdp).receive(receive));
        let open = [target("10.1.0.2:80"), target("[fd01::2]:443")];
        assert!(found.targets(State::Open).into_iter().eq(open), "{:?}", found.verdicts);
        assert_eq!(found.targets(State::Closed).len(), 22);
        assert_eq!(found.summary.strays.total(), 0, "{:?}", found.summary.strays);
    }
});

/// A program of somebody else's.
fn foreign_program(device: u32) -> XdpLink {
    let mut code = Assembler::new();
    code.give(action::PASS);
    let program = Program::load(Kind::Xdp, "somebodys", &code.assemble()).unwrap();
    XdpLink::attach(&program, device, Mode::Generic).unwrap()
}

lab_test!(a_program_that_is_there_is_kept, |lab| {
    needs_xdp();
    let scenario = Scenario::named("verdicts");
    let responder = neighbours(lab, &scenario);
    let _theirs = foreign_program(lab.index("scan0"));
    let before = lab.xdp_program("scan0");
    assert!(before.is_some());
    for receive in [Receive::Auto, Receive::XdpNative, Receive::XdpGeneric] {
        let running = builder(plan(HOSTS, PORTS), 5_000).link(LinkKind::AfXdp).receive(receive).start().unwrap();
        assert_eq!(lab.xdp_program("scan0"), before);
        let found = read(running);
        found.assert_is(&scenario.expected_all(PORTS));
        assert_eq!(found.summary.links, ["af_xdp(copy)+af_packet@scan0"]);
        let expected =
            "scan0 receives by af_packet and not by XDP: another XDP program is attached to it, and is left alone";
        assert_eq!(found.warnings, [expected]);
    }
    assert_eq!(lab.xdp_program("scan0"), before);
    let tally = responder.wait_for(|tally| tally.rsts >= tally.syn_acks + tally.split_syns);
    assert_eq!(tally.rsts, tally.syn_acks + tally.split_syns);
});

lab_test!(a_second_scan_works_beside_the_first, |lab| {
    needs_xdp();
    let scenario = Scenario::named("verdicts");
    let _responder = neighbours(lab, &scenario);
    // It listens for far longer than the second takes to start.
    let first = builder(plan("10.7.0.2", PORTS), 1_000).cooldown(Cooldown::Fixed(Duration::from_secs(4)));
    let first = first.link(LinkKind::AfXdp).start().unwrap();
    let second = scan(builder(plan("10.7.0.3", PORTS), 5_000).link(LinkKind::AfXdp));
    assert_eq!(second.summary.links, ["af_packet@scan0"]);
    assert_eq!(
        second.warnings,
        [
            "scan0 receives by af_packet and not by XDP: another XDP program is attached to it, and is left alone",
            "scan0 sends by af_packet and not by AF_XDP: another program's AF_XDP socket has its queue 0",
        ]
    );
    let first = read(first);
    assert_eq!(links_of(&first), ["af_xdp(copy)+xdp(native)@scan0"]);
    let expected = scenario.expected_all(PORTS);
    for (found, host) in [(first, "10.7.0.2"), (second, "10.7.0.3")] {
        let host = |target: &halfopen::Target| target.address.to_string() == host;
        let own: BTreeMap<_, _> = expected.iter().filter(|(target, _)| host(target)).map(|(t, e)| (*t, *e)).collect();
        found.assert_is(&own);
    }
});

// Answers come in any of the queues, and each sender has one of its own while there are enough.
lab_test!(several_queues_and_more_senders, |lab| {
    needs_xdp();
    let scenario = Scenario::named("verdicts");
    let far = Namespace::new("far");
    let near = End::new(lab, "scan0").address("10.7.0.100/24").address("fd07::100/64").queues(2);
    link(&near, &End::new(&far, "phantom0").silent().queues(2));
    let responder = Responder::recording_on_veth(&far, "phantom0", scenario.clone());
    for (senders, expected) in
        [(2, None), (3, Some("scan0 has queues for 2 of 3 senders; the others use af_packet".to_owned()))]
    {
        let found = scan(builder(plan(HOSTS, PORTS), 5_000).senders(senders).link(LinkKind::AfXdp));
        found.assert_is(&scenario.expected_all(PORTS));
        assert_eq!(found.summary.links, ["af_xdp(copy)+xdp(native)@scan0"]);
        assert_eq!(found.warnings, Vec::from_iter(expected));
    }
    let tally = responder.wait_for(|tally| tally.rsts >= tally.syn_acks + tally.split_syns);
    assert_eq!((tally.rsts, tally.bad_checksum), (tally.syn_acks + tally.split_syns, 0));
});

lab_test!(scans_one_after_the_other, |lab| {
    needs_xdp();
    let _responder = neighbours(lab, &Scenario::named("verdicts"));
    for _ in 0..3 {
        let found = scan(builder(plan("10.7.0.2", "80"), 1_000).link(LinkKind::AfXdp));
        assert_eq!(links_of(&found), ["af_xdp(copy)+xdp(native)@scan0"]);
    }
});

/// Far longer than it may take to notice.
const PATIENCE: Duration = Duration::from_secs(20);

fn is_lost(running: Running, lab: &Namespace) {
    let link = running.settings().links[0].clone();
    let first = running.events().find(|event| matches!(event, Event::Verdict(_)));
    assert!(first.is_some());
    lab.down("scan0");
    let down = Instant::now();
    match running.wait() {
        Err(Error::LinkLost { link: lost, sent, .. }) => assert_eq!((lost, sent > 0), (link, true)),
        other => panic!("{other:?}"),
    }
    assert!(down.elapsed() < PATIENCE, "{:?}", down.elapsed());
}

lab_test!(a_device_that_goes_down_while_it_is_sent_through, |lab| {
    let _responder = phantoms(lab, &Scenario::named("prefix16"));
    for receive in [Receive::AfPacket, Receive::XdpGeneric] {
        lab.up("scan0");
        lab.route("default", Route::Via([10, 7, 0, 1].into()));
        is_lost(
            builder(plan("10.64.0.0/16", "80"), 2_000).link(LinkKind::AfXdp).receive(receive).start().unwrap(),
            lab,
        );
    }
});

lab_test!(a_device_that_goes_down_while_nothing_is_sent, |lab| {
    needs_xdp();
    let _responder = neighbours(lab, &Scenario::named("verdicts"));
    let scan = builder(plan("10.7.0.2", "80"), 1_000).cooldown(Cooldown::Fixed(Duration::from_secs(3600)));
    is_lost(scan.link(LinkKind::AfXdp).start().unwrap(), lab);
});

lab_test!(what_is_no_ethernet_device_is_an_error, |_lab| {
    let on_loopback = || builder(plan("127.0.0.1", "80"), 1_000);
    let sends = on_loopback().link(LinkKind::AfXdp).start().map(drop);
    let text = "link: af_xdp needs an Ethernet device and lo is none; use raw_ip, or auto to choose by device";
    assert_eq!(sends.map_err(|error| error.to_string()), Err(text.into()));
    let receives = on_loopback().receive(Receive::XdpGeneric).start().map(drop);
    let text = "receive: raw_ip on lo does not receive by XDP; af_packet, af_xdp and xdp_live on Ethernet devices do";
    assert_eq!(receives.map_err(|error| error.to_string()), Err(text.into()));
});
