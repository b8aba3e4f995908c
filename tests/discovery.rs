//! Discovery before detail: hosts that answer anything are found and scanned, dark ones are skipped and counted, and it can
//! be overruled; on simulated networks, and from the wire.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use halfopen::{
    Discover, LinkKind, Method, Outcome, Phase, Plan, Pps, Rate, Receive, Scan, ScanBuilder, State, Target, Time,
};
use halfopen_lab::{
    Expected, Found, Namespace, Responder, Route, Scenario, Tun, Watched, lab_test, needs_xdp, phantoms, plan, scan,
    simulated, simulated_on_link, simulated_until, skip,
};

/// By the last part of their addresses: what makes 1 to 5 known, and why 6 and 7 are not.
const SCENARIO: &str = r#"
    [[router]]
    name = "gateway"
    addresses = ["10.7.0.1", "fd07::1"]
    [[host]]
    addresses = ["10.80.0.1", "fd80::1"]
    echo = true
    [[host]]
    addresses = ["10.80.0.2", "fd80::2"]
    rules = [{ ports = "3389,9001", behaviour = "open" }]
    [[host]]
    addresses = ["10.80.0.3", "fd80::3"]
    rules = [{ ports = "40125,9000-9010", behaviour = "closed" }]
    [[host]]
    addresses = ["10.80.0.4", "fd80::4"]
    echo = true
    rules = [{ ports = "9000", behaviour = "open" }, { ports = "-", behaviour = "closed" }]
    [[host]]
    addresses = "10.80.0.5"
    rules = [{ ports = "-", behaviour = "icmp 3/10" }]
    [[host]]
    addresses = "fd80::5"
    rules = [{ ports = "-", behaviour = "icmp 1/1" }]
    [[host]]
    addresses = "10.80.0.6"
    rules = [{ ports = "-", behaviour = "icmp 3/13", from = "gateway" }]
    [[host]]
    addresses = "fd80::6"
    rules = [{ ports = "-", behaviour = "icmp 1/1", from = "gateway" }]
    [[host]]
    addresses = ["10.80.0.7", "fd80::7"]
    rules = [{ ports = "9000", behaviour = "open" }]
"#;
/// 128 hosts, of which 10 can be known.
const HOSTS: &str = "10.80.0.0/26 fd80::/122";
const PORTS: &str = "9000-9031";

fn scenario() -> Scenario {
    Scenario::parse(SCENARIO).unwrap()
}

fn builder(plan: Plan) -> ScanBuilder {
    Scan::builder(plan).seed(1).rate(Rate::Fixed(Pps(20_000))).passes(2)
}

/// What is right for the hosts that are scanned.
fn expected(scanned: impl Fn(IpAddr) -> bool) -> BTreeMap<Target, Expected> {
    let plan = plan(HOSTS, PORTS);
    let targets = (0..plan.len()).filter_map(|index| plan.target(halfopen::Index(index)));
    targets.filter(|target| scanned(target.address)).map(|target| (target, scenario().expected(target))).collect()
}

fn last_part(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    }
}

fn is_known(address: IpAddr) -> bool {
    (1..=5).contains(&last_part(address))
}

fn assert_only_the_known(found: &Found) {
    found.assert_is(&expected(is_known));
    let summary = &found.summary;
    let discovery = summary.discovery.unwrap();
    assert_eq!((discovery.hosts, discovery.alive), (128, 10));
    assert_eq!((discovery.skipped_hosts, discovery.skipped_targets), (118, 118 * 32));
    let skipped: Vec<IpAddr> = summary.skipped.iter().flat_map(halfopen::AddressRange::addresses).collect();
    assert!(skipped.len() == 118 && !skipped.iter().any(|&address| is_known(address)), "{:?}", summary.skipped);
    assert_eq!((summary.outcome, summary.targets), (Outcome::Complete, 128 * 32));
    assert_eq!(summary.unclassified, discovery.skipped_targets);
    // Each dark host draws thirty probes in three rounds; who is there, at least one.
    assert!((118 * 30 + 10..=128 * 30).contains(&discovery.probes), "{discovery:?}");
    assert!(discovery.elapsed >= Duration::from_secs(1));
    let last = found.progress.last().unwrap();
    assert_eq!((last.phase, last.done), (Phase::Done, 1.0));
}

fn assert_all(found: &Found) {
    found.assert_is(&expected(|_| true));
    assert_eq!((found.summary.discovery, found.summary.unclassified), (None, 0));
}

#[test]
fn only_hosts_that_answer_are_scanned() {
    let network = Watched::new(&scenario());
    let found = simulated(builder(plan(HOSTS, PORTS)), &network);
    assert_only_the_known(&found);
    let tally = network.with(|network| network.phantoms().tally());
    assert_eq!(
        (tally.wrong_mac, tally.malformed, tally.bad_checksum, tally.other, tally.syns_without_mss),
        (0, 0, 0, 0, 0)
    );
    // Some are asked again, to see whether anything is lost.
    assert!((4..=12).contains(&tally.echo_replies), "{tally:?}");
    assert_eq!(tally.syns + tally.echo_requests, all_probes(&found));
}

/// Those of the discovery and the scan, canaries and control probes.
fn all_probes(found: &Found) -> u64 {
    let summary = &found.summary;
    summary.syns() + summary.discovery.map_or(0, |found| found.probes)
}

#[test]
fn whoever_wants_all_gets_all() {
    let found = simulated(builder(plan(HOSTS, PORTS)).discover(Discover::Off), &Watched::new(&scenario()));
    assert_all(&found);
    assert!(found.last("10.80.0.7:9000").state == State::Open);
}

#[test]
fn small_plans_are_not_worth_it_unless_it_is_asked_for() {
    for (hosts, ports) in [("10.80.0.0-10.80.0.62", "9000-9031"), ("10.80.0.0/26", "9000-9030")] {
        let network = Watched::new(&scenario());
        assert_eq!(simulated(builder(plan(hosts, ports)), &network).summary.discovery, None, "{hosts} {ports}");
        let found = simulated(builder(plan(hosts, ports)).discover(Discover::On), &network);
        assert_eq!(found.summary.discovery.map(|discovery| discovery.alive), Some(5), "{hosts} {ports}");
    }
}

#[test]
fn ports_are_counted_on_average() {
    let few = Plan::builder().targets("10.80.0.0/26 10.80.0.0/27:1-31").unwrap().ports("9000-9015").unwrap();
    let many = few.clone().targets("10.80.0.0/27:32").unwrap().build().unwrap();
    let few = few.build().unwrap();
    assert_eq!(simulated(builder(few), &Watched::new(&scenario())).summary.discovery, None);
    assert!(simulated(builder(many), &Watched::new(&scenario())).summary.discovery.is_some());
}

#[test]
fn a_port_that_is_excluded_somewhere_is_asked_of_nobody() {
    let plan = Plan::builder().targets(HOSTS).and_then(|plan| plan.ports(PORTS)).unwrap();
    let plan = plan.exclude("10.80.0.9:3389 10.80.0.0/30").unwrap().build().unwrap();
    let network = Watched::new(&scenario());
    let found = simulated(builder(plan), &network);
    assert_eq!(found.summary.discovery.map(|found| (found.hosts, found.alive)), Some((124, 6)));
    network.with(|network| {
        let mut asked = network.phantoms().target_tallies().map(|(target, _)| *target);
        assert!(
            asked.all(|target| target.port != 3389 && !(target.address.is_ipv4() && last_part(target.address) < 4))
        );
    });
}

#[test]
fn on_the_link_arp_and_ndp_have_asked() {
    let found = simulated_on_link(builder(plan(HOSTS, PORTS)).discover(Discover::On), &Watched::new(&scenario()));
    assert_eq!((found.summary.discovery, found.down.len()), (None, 128 - 14));
    assert_eq!(found.last("10.80.0.7:9000").state, State::Open);
}

#[test]
fn where_nobody_answers_it_ends_and_says_so() {
    let found = simulated(builder(plan("10.80.1.0/25", PORTS)), &Watched::new(&scenario()));
    let discovery = found.summary.discovery.unwrap();
    assert_eq!((discovery.alive, discovery.skipped_targets, found.summary.unclassified), (0, 4096, 4096));
    assert_eq!((found.summary.syns(), found.verdicts.len()), (0, 0));
    assert_eq!(found.summary.outcome, Outcome::Complete);
    assert!(found.warnings[0].starts_with("none of 128 hosts answers"), "{:?}", found.warnings);
    assert_eq!(found.progress.last().map(|progress| progress.phase), Some(Phase::Done));
}

#[test]
fn a_stop_meanwhile_ends_the_scan_and_skips_nobody() {
    let stop = Time::from(Duration::from_millis(30));
    let found = simulated_until(builder(plan(HOSTS, PORTS)), &Watched::new(&scenario()), stop);
    let discovery = found.summary.discovery.unwrap();
    assert_eq!((found.summary.outcome, discovery.skipped_targets), (Outcome::Stopped, 0));
    assert_eq!((found.summary.syns(), found.summary.unclassified), (0, 128 * 32));
    assert!(discovery.elapsed < Duration::from_millis(40) && discovery.probes < 1_000, "{discovery:?}");
}

/// A large dark network, a few inhabited corners: what is found does not depend on the order, and costs little beside what
/// it saves.
#[test]
fn a_large_network_is_searched_quickly() {
    let text = r#"
        [network]
        delay = "40ms"
        jitter = "20ms"
        [[router]]
        name = "gateway"
        addresses = "10.7.0.1"
        [[host]]
        addresses = ["10.81.3.0/28", "10.81.200.77"]
        echo = true
        rules = [{ ports = "9000", behaviour = "open" }, { ports = "-", behaviour = "closed" }]
    "#;
    for seed in 0..3 {
        let network = Watched::new(&Scenario::parse(text).unwrap());
        let builder = Scan::builder(plan("10.81.0.0/16", "9000-9099")).seed(seed).rate(Rate::Fixed(Pps(100_000)));
        let found = simulated(builder, &network);
        let discovery = found.summary.discovery.unwrap();
        assert_eq!((discovery.hosts, discovery.alive, found.summary.open), (65_536, 17, 17));
        let sent = found.summary.syns() + discovery.probes;
        assert!(sent * 4 < found.summary.targets, "{sent} of {}", found.summary.targets);
    }
}

// From the wire.

lab_test!(only_hosts_that_answer_are_scanned_from_the_wire, |lab| {
    let responder = phantoms(lab, &scenario());
    let found = scan(builder(plan(HOSTS, PORTS)));
    assert_only_the_known(&found);
    assert!(found.progress.iter().any(|progress| progress.phase == Phase::Discovery));
    assert_eq!((found.warnings.len(), found.summary.strays.total()), (0, 0), "{:?}", found.summary.strays);
    assert_clean(&responder, &found);
});

/// Every half-open connection was closed, those of the discovery too.
fn assert_clean(responder: &Responder, found: &Found) {
    let sent = all_probes(found);
    let tally = responder.wait_for(|tally| tally.syns + tally.echo_requests >= sent && tally.rsts >= tally.syn_acks);
    assert_eq!((tally.wrong_mac, tally.malformed, tally.bad_checksum, tally.syns_without_mss), (0, 0, 0, 0));
    assert_eq!((tally.syns + tally.echo_requests, tally.rsts), (sent, tally.syn_acks));
}

lab_test!(whoever_wants_all_gets_all_from_the_wire, |lab| {
    let responder = phantoms(lab, &scenario());
    let found = scan(builder(plan(HOSTS, PORTS)).discover(Discover::Off));
    assert_all(&found);
    assert_clean(&responder, &found);
    assert_eq!(responder.tally().echo_requests, 0);
});

lab_test!(the_discoverys_port_follows_the_scans, |lab| {
    let responder = phantoms(lab, &scenario());
    let found = scan(builder(plan("10.80.0.0/26", "9000")).discover(Discover::On).source_port(50_000));
    assert_eq!(found.summary.discovery.map(|discovery| discovery.alive), Some(5));
    let target = halfopen_lab::target("10.80.0.9:443");
    let ports: Vec<_> = responder.with(|phantoms| {
        phantoms.target_tally(target).into_iter().flat_map(|tally| tally.syns.iter().map(|syn| syn.0)).collect()
    });
    // Two passes, canaries, control probes.
    assert_eq!(ports, [50_004; 3]);
});

lab_test!(where_nobody_answers_it_ends_from_the_wire, |lab| {
    let _responder = phantoms(lab, &scenario());
    let found = scan(builder(plan("10.80.1.0/26 fd80::100/122", PORTS)));
    assert_eq!((found.summary.outcome, found.summary.unclassified), (Outcome::Complete, 4096));
    assert!(found.warnings[0].starts_with("none of 128 hosts answers"), "{:?}", found.warnings);
});

lab_test!(a_stop_is_heard_meanwhile, |lab| {
    let _responder = phantoms(lab, &scenario());
    let running = builder(plan(HOSTS, PORTS)).start().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    running.stopper().stop();
    let found = halfopen_lab::read(running);
    assert_eq!((found.summary.outcome, found.summary.unclassified), (Outcome::Stopped, 128 * 32));
    assert!(found.summary.elapsed < Duration::from_secs(20), "{:?}", found.summary.elapsed);
});

lab_test!(xdp_takes_none_of_the_discoverys_answers, |lab| {
    needs_xdp();
    let responder = phantoms(lab, &scenario());
    for receive in [Receive::XdpNative, Receive::XdpGeneric] {
        let found = scan(builder(plan(HOSTS, PORTS)).link(LinkKind::AfPacket).receive(receive));
        assert_only_the_known(&found);
    }
    drop(responder);
});

lab_test!(behind_a_tun_device, |lab| {
    let tun = match tun(lab) {
        Ok(tun) => tun,
        Err(error) => return skip(&format!("no tun device: {error}")),
    };
    let responder = Responder::on_tun(tun, scenario());
    lab.route("10.80.0.0/24", Route::Via([10, 7, 0, 1].into()));
    lab.route("fd80::/112", Route::Via("fd07::1".parse().unwrap()));
    let found = scan(builder(plan(HOSTS, PORTS)));
    assert_only_the_known(&found);
    assert_clean(&responder, &found);
});

fn tun(lab: &Namespace) -> std::io::Result<Tun> {
    Tun::open(&halfopen_lab::End::new(lab, "tun0").address("10.7.0.100/24").address("fd07::100/64"))
}

lab_test!(without_effect_on_a_connect_scan, |lab| {
    let _ = lab;
    let plan = plan("127.0.0.1", "1");
    let found = scan(Scan::builder(plan).method(Method::Connect).discover(Discover::On));
    assert_eq!(found.summary.discovery, None);
    assert!(found.warnings[0].contains("the discovery of hosts has no effect"), "{:?}", found.warnings);
});
