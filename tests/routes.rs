//! How targets are reached: neighbours and who is down among them, gateways, two egresses in one scan, loopback, this
//! machine's own addresses, a tun device; what is named by hand; and what cannot be reached, said before the first probe.

use std::collections::BTreeMap;
use std::net::IpAddr;

use halfopen::{Error, MacAddr, Plan, Pps, Rate, Scan, ScanBuilder, State, Target};
use halfopen_lab::{
    End, Expected, Found, Namespace, Responder, Route, Scenario, Tun, lab_test, link, mac_of, neighbours, phantom_link,
    phantoms, plan, refused, scan, skip, target,
};

fn builder(plan: Plan) -> ScanBuilder {
    Scan::builder(plan).seed(1).rate(Rate::Fixed(Pps(10_000)))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What the scenario expects of the targets of a plan.
fn expected(scenario: &Scenario, plan: &Plan, ports: &str) -> BTreeMap<Target, Expected> {
    let all = scenario.expected_all(ports).into_iter();
    all.filter(|(target, _)| plan.contains(*target)).collect()
}

// Neighbours.

lab_test!(neighbours_that_do_not_answer_are_down_and_unclassified, |lab| {
    let scenario = Scenario::named("verdicts");
    let responder = neighbours(lab, &scenario);
    let plan = plan("10.7.0.2-10.7.0.15 fd07::2-fd07::f", "80,81");
    let found = scan(builder(plan.clone()));
    found.assert_is(&expected(&scenario, &plan, "80,81"));
    assert_eq!((found.down.len(), found.summary.unclassified), (24, 48));
    assert!(found.down.keys().all(|&address| scenario.is_down(address)));
    let tally = responder.wait_for(|tally| tally.syns >= found.summary.syns());
    assert_eq!((tally.syns_to_nobody, tally.wrong_mac), (0, 0));
    responder.with(|phantoms| assert!(phantoms.target_tallies().all(|(target, _)| !scenario.is_down(target.address))));
});

lab_test!(the_broadcast_address_of_a_link_is_unclassified, |lab| {
    let responder = neighbours(lab, &Scenario::named("verdicts"));
    let found = scan(builder(plan("10.7.0.254-10.7.0.255 10.7.0.2", "80")));
    let down: Vec<_> = found.down.keys().copied().collect();
    assert_eq!(down, [address("10.7.0.254"), address("10.7.0.255")]);
    assert_eq!(found.verdicts.len(), 1);
    let tally = responder.wait_for(|tally| tally.syns >= 1);
    assert_eq!((tally.syns, tally.syns_to_nobody, tally.wrong_mac), (1, 0, 0));
});

// Gateways.

const BEHIND: &str = "10.64.0.0/28 fd64::/124";
const PORTS: &str = "22,80,443";

/// Ports of which none is open there: for the RST that closes a half-open connection the kernel would ask for the
/// gateway too.
const NOT_OPEN: &str = "22";

fn assert_behind(found: &Found, responder: &Responder) {
    found.assert_is(&expected(&Scenario::named("prefix16"), &plan(BEHIND, NOT_OPEN), NOT_OPEN));
    assert_eq!(found.summary.open, 0);
    let tally = responder.wait_for(|tally| tally.syns >= found.summary.syns());
    assert_eq!((tally.wrong_mac, tally.syns_to_nobody), (0, 0));
}

lab_test!(a_gateway_is_asked_for_its_link_address_when_the_kernel_does_not_know_it, |lab| {
    let responder = phantoms(lab, &Scenario::named("prefix16"));
    assert_behind(&scan(builder(plan(BEHIND, NOT_OPEN))), &responder);
    let tally = responder.tally();
    assert_eq!((tally.arp_requests, tally.solicitations), (1, 1));
});

lab_test!(a_gateway_that_the_kernel_knows_is_not_asked, |lab| {
    let responder = phantoms(lab, &Scenario::named("prefix16"));
    for gateway in ["10.7.0.1", "fd07::1"] {
        lab.neighbour("scan0", gateway, mac_of(address(gateway)));
    }
    assert_behind(&scan(builder(plan(BEHIND, NOT_OPEN))), &responder);
    let tally = responder.tally();
    assert_eq!((tally.arp_requests, tally.solicitations), (0, 0));
});

lab_test!(a_silent_gateway_is_an_error_before_the_first_probe, |lab| {
    let responder = neighbours(lab, &Scenario::named("prefix16"));
    for (to, gateway, plan, word) in [
        ("10.64.0.0/16", "10.7.0.9", plan("10.64.0.0/28", "80"), "ARP"),
        ("fd64::/112", "fd07::9", plan("fd64::/124", "80"), "NDP"),
    ] {
        lab.route(to, Route::Via(address(gateway)));
        match refused(builder(plan)) {
            Error::GatewaySilent { gateway: silent, interface, protocol } => {
                assert_eq!((silent, interface.as_str(), protocol), (address(gateway), "scan0", word));
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(responder.tally().syns, 0);
});

lab_test!(a_gateways_link_address_can_be_given, |lab| {
    let responder = neighbours(lab, &Scenario::named("prefix16"));
    lab.route("default", Route::Via(address("10.7.0.9")));
    lab.route("default6", Route::Via(address("fd07::9")));
    let given = MacAddr(mac_of(address("10.7.0.1")));
    assert_behind(&scan(builder(plan(BEHIND, NOT_OPEN)).gateway_mac(given)), &responder);
    let tally = responder.tally();
    assert_eq!((tally.arp_requests + tally.solicitations, tally.neighbours_not_found), (0, 0));
});

/// Another router, with other hosts behind it.
const ELSEWHERE: &str = r#"
    [[router]]
    name = "gateway"
    addresses = ["10.8.0.1", "fd08::1"]
    [[host]]
    addresses = ["10.66.0.0/24", "fd66::/120"]
    rules = [{ ports = "22,80,443", behaviour = "closed" }]
"#;

fn elsewhere(lab: &Namespace) -> Responder {
    let far = Namespace::new("elsewhere");
    phantom_link(&End::new(lab, "scan1").address("10.8.0.100/24").address("fd08::100/64"), &far, "phantom1");
    Responder::recording_on_veth(&far, "phantom1", Scenario::parse(ELSEWHERE).unwrap())
}

lab_test!(one_scan_leaves_through_two_interfaces_and_four_next_hops, |lab| {
    let (here, there) = (phantoms(lab, &Scenario::named("prefix16")), elsewhere(lab));
    lab.route("10.66.0.0/24", Route::Via(address("10.8.0.1")));
    lab.route("fd66::/120", Route::Via(address("fd08::1")));
    let found = scan(builder(plan(&format!("{BEHIND} 10.66.0.0/28 fd66::/124"), PORTS)));
    let mut verdicts = expected(&Scenario::named("prefix16"), &plan(BEHIND, PORTS), PORTS);
    let there_plan = plan("10.66.0.0/28 fd66::/124", PORTS);
    verdicts.extend(expected(&Scenario::parse(ELSEWHERE).unwrap(), &there_plan, PORTS));
    found.assert_is(&verdicts);
    let mut links = found.summary.links.clone();
    links.sort();
    assert_eq!(links, ["af_packet@scan0", "af_packet@scan1"]);
    let tally = there.wait_for(|tally| tally.syns >= there_plan.len());
    assert_eq!((tally.syns, tally.wrong_mac, tally.syns_to_nobody), (there_plan.len(), 0, 0));
    assert_eq!((here.tally().wrong_mac, here.tally().syns_to_nobody), (0, 0));
});

lab_test!(an_interface_can_be_named_against_the_routes, |lab| {
    let (here, _there) = (phantoms(lab, &Scenario::named("prefix16")), elsewhere(lab));
    lab.route("10.66.0.0/16", Route::Via(address("10.8.0.1")));
    lab.route("10.66.0.0/24", Route::Via(address("10.7.0.1")));
    let found = scan(builder(plan("10.66.0.0/28", "80")).interface("scan1"));
    assert_eq!(found.summary.links, ["af_packet@scan1"]);
    assert_eq!(found.summary.closed, 16, "{:?}", found.summary);
    assert_eq!(here.tally().syns, 0);
    match refused(builder(plan("10.64.0.0/28", "80")).interface("scan1")) {
        Error::NoRoute { address: to, hint } => {
            assert_eq!(to, address("10.64.0.0"));
            assert!(hint.contains("scan1"), "{hint}");
        }
        other => panic!("{other}"),
    }
});

// This machine.

lab_test!(every_port_of_the_loopback_our_own_source_ports_among_them, |lab| {
    let ports = [1, 22, 80, 8080, 40_000, 50_001, 65_535];
    let mut _listeners = lab.listen_all("127.0.0.1", ports);
    _listeners.extend(lab.listen_all("::1", ports));
    let found = scan(builder(plan("127.0.0.1 ::1", "-")).rate(Rate::Fixed(Pps(60_000))));
    let open =
        ["127.0.0.1", "::1"].into_iter().flat_map(|host| ports.map(|port| Target { address: address(host), port }));
    assert_eq!(found.targets(State::Open), open.collect());
    assert_eq!((found.summary.closed, found.summary.filtered), (2 * (65_535 - 7), 0), "{:?}", found.summary);
    assert_eq!(
        found.summary.strays.own, 24,
        "our source ports of each family (ten passes', the canaries', the control probes') were asked, by ourselves"
    );
    assert_eq!(found.summary.strays.total(), 24, "{:?}", found.summary.strays);
    assert_eq!(found.summary.links, ["raw_ip@lo"]);
});

lab_test!(our_own_addresses_are_reached_by_the_loopback, |lab| {
    let responder = neighbours(lab, &Scenario::named("verdicts"));
    let _listeners = [lab.listen("10.7.0.100:80"), lab.listen("[fd07::100]:80")];
    let found = scan(builder(plan("10.7.0.100 fd07::100 10.7.0.2", "79-81")));
    let open = ["10.7.0.100:80", "[fd07::100]:80", "10.7.0.2:80"].map(target);
    assert_eq!(found.targets(State::Open), open.into());
    assert_eq!((found.summary.closed, found.summary.filtered), (2 * 2, 2), "{:?}", found.summary);
    let mut links = found.summary.links.clone();
    links.sort();
    assert_eq!(links, ["af_packet@scan0", "raw_ip@lo"]);
    responder
        .with(|phantoms| assert!(phantoms.target_tallies().all(|(target, _)| target.address == address("10.7.0.2"))));
});

lab_test!(a_tun_device_carries_probes_without_ethernet, |lab| {
    let tun = match Tun::open(&End::new(lab, "tun0").address("10.7.0.100/24").address("fd07::100/64")) {
        Ok(tun) => tun,
        Err(error) => return skip(&format!("no tun device: {error}")),
    };
    let scenario = Scenario::named("verdicts");
    let responder = Responder::on_tun(tun, scenario.clone());
    let (hosts, ports) = ("10.7.0.2-10.7.0.3 fd07::2-fd07::3", "1-28,80,100-107,120-127");
    let found = scan(builder(plan(hosts, ports)));
    found.assert_is(&scenario.expected_all(ports));
    assert_eq!(found.summary.links, ["raw_ip@tun0"]);
    let tally = responder.wait_for(|tally| tally.rsts >= tally.syn_acks + tally.split_syns);
    assert_eq!((tally.bad_checksum, tally.malformed, tally.syns_without_mss), (0, 0, 0));
    assert_eq!(tally.syns, found.summary.syns());
});

// What is named by hand.

lab_test!(a_source_address_can_be_chosen, |lab| {
    let far = Namespace::new("far");
    link(
        &End::new(lab, "scan0")
            .address("10.1.0.1/24")
            .address("10.9.0.1/32")
            .address("fd01::1/64")
            .address("fd09::1/128"),
        &End::new(&far, "far0").address("10.1.0.2/24").address("fd01::2/64"),
    );
    let listeners = [far.listen("10.1.0.2:80"), far.listen("[fd01::2]:80")];
    lab.reach(&listeners);
    // Without a way back to the chosen addresses nothing is heard: the probes do come from them.
    far.route("10.9.0.1", Route::Blackhole);
    far.route("fd09::1", Route::Blackhole);
    let chosen = || {
        let builder = builder(plan("10.1.0.2 fd01::2", "80,81"));
        scan(builder.passes(1).source_ip(address("10.9.0.1")).source_ip(address("fd09::1")))
    };
    let open = |found: &Found| (found.summary.open, found.summary.closed, found.summary.silent);
    assert_eq!(open(&scan(builder(plan("10.1.0.2 fd01::2", "80,81")))), (2, 2, 0));
    assert_eq!(open(&chosen()), (0, 0, 4));
    let sources = ["10.9.0.2", "fd09::2"];
    link(&End::new(lab, "scan1").address("10.9.0.2/32").address("fd09::2/128"), &End::new(&far, "far1"));
    far.route("10.9.0.2", Route::Via(address("10.1.0.1")));
    far.route("fd09::2", Route::Via(address("fd01::1")));
    let builder = builder(plan("10.1.0.2 fd01::2", "80,81"));
    let found = sources.into_iter().fold(builder, |builder, source| builder.source_ip(address(source)));
    assert_eq!(open(&scan(found)), (2, 2, 0), "an address of another interface is ours too");
});

lab_test!(what_cannot_work_is_said_before_the_first_probe, |lab| {
    let responder = neighbours(lab, &Scenario::named("verdicts"));
    let known = || builder(plan("10.7.0.2", "80"));
    let no_route = refused(builder(plan("10.7.0.2 203.0.113.7", "80")));
    assert!(matches!(no_route, Error::NoRoute { address: to, .. } if to == address("203.0.113.7")), "{no_route}");
    let no_route = refused(builder(plan("10.7.0.2 2001:db8::7", "80")));
    assert!(matches!(no_route, Error::NoRoute { address: to, .. } if to == address("2001:db8::7")), "{no_route}");
    match refused(known().interface("scan7")) {
        Error::NoSuchInterface { name, available } => {
            assert_eq!(name, "scan7");
            assert!(available.contains("scan0"), "{available}");
        }
        other => panic!("{other}"),
    }
    let not_ours = refused(known().source_ip(address("10.7.0.99")));
    assert!(matches!(not_ours, Error::SourceNotOurs { address: of, .. } if of == address("10.7.0.99")), "{not_ours}");
    lab.down("scan0");
    let down = refused(known().interface("scan0"));
    assert!(matches!(&down, Error::InterfaceDown { name } if name == "scan0"), "{down}");
    assert_eq!(responder.tally().syns, 0);
});

lab_test!(routes_that_refuse_are_errors, |lab| {
    let _responder = phantoms(lab, &Scenario::named("prefix16"));
    for (route, word) in
        [(Route::Unreachable, "unreachable"), (Route::Prohibit, "prohibit"), (Route::Blackhole, "blackhole")]
    {
        let to = format!("10.64.{}.0/24", word.len());
        lab.route(&to, route);
        match refused(builder(plan(&to, "80"))) {
            Error::NoRoute { hint, .. } => assert!(hint.contains(word), "{hint}"),
            other => panic!("{other}"),
        }
    }
});
