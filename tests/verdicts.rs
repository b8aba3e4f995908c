//! The verdict table, row by row: every state and reason for IPv4 and IPv6, in the simulator, from the wire, and as real
//! Linux stacks answer; and nmap's word on the same networks, target by target.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;

use halfopen::{Plan, Pps, Rate, Reason, Scan, ScanBuilder, State, Target};
use halfopen_lab::{
    End, Expected, Found, Namespace, NmapReport, Route, Scenario, Watched, lab_test, link, neighbours, nmap,
    nmap_installed, plan, scan, simulated, simulated_on_link,
};

/// Every port that the scenario has a rule for, and 443.
const PORTS: &str = "1-28,80,100-107,120-127,443";
const HOSTS: &str = "10.7.0.2-10.7.0.3 fd07::2-fd07::3";

fn builder(plan: Plan) -> ScanBuilder {
    Scan::builder(plan).seed(1).rate(Rate::Fixed(Pps(5_000)))
}

fn assert_every_row(found: &Found) {
    let scenario = Scenario::named("verdicts");
    found.assert_is(&scenario.expected_all(PORTS));
    let rows: BTreeSet<_> = found.reported.iter().map(|verdict| (verdict.state, verdict.reason.name())).collect();
    let of = |state| rows.iter().filter(|row| row.0 == state).count();
    // syn-ack, syn; rst; 8 words for the errors of each family, of which 3 are the same, and no-response.
    assert_eq!(State::ALL.map(of), [2, 1, 14], "{rows:?}");
    let senders: BTreeSet<_> = found.reported.iter().filter_map(|verdict| verdict.sender).collect();
    assert_eq!(senders.len(), 6, "two hosts and a router of each family: {senders:?}");
    assert_eq!(found.summary.strays.total(), 0, "{:?}", found.summary.strays);
}

#[test]
fn every_row_in_the_simulator() {
    let network = Watched::new(&Scenario::named("verdicts"));
    assert_every_row(&simulated(builder(plan(HOSTS, PORTS)), &network));
    let network = Watched::new(&Scenario::named("verdicts"));
    assert_every_row(&simulated_on_link(builder(plan(HOSTS, PORTS)), &network));
}

lab_test!(every_row_from_the_wire, |lab| {
    let responder = neighbours(lab, &Scenario::named("verdicts"));
    let found = scan(builder(plan(HOSTS, PORTS)));
    assert_every_row(&found);
    assert!(found.reported.iter().all(|verdict| verdict.ttl.is_some() != (verdict.reason == Reason::NoResponse)));
    assert!(found.reported.iter().all(|verdict| verdict.rtt.is_some() != (verdict.reason == Reason::NoResponse)));
    let tally = responder.wait_for(|tally| tally.rsts >= tally.syn_acks + tally.split_syns);
    assert_eq!(tally.syns, found.summary.syns());
    assert_eq!((tally.wrong_mac, tally.malformed, tally.bad_checksum, tally.syns_without_mss), (0, 0, 0, 0));
});

lab_test!(nmap_says_the_same_of_phantoms, |lab| {
    if !nmap_installed() {
        return;
    }
    let _responder = neighbours(lab, &Scenario::named("verdicts"));
    let found = scan(builder(plan(&format!("{HOSTS} 10.7.0.9 fd07::9"), PORTS)));
    let mut report = nmap(&["-p", PORTS, "10.7.0.2-3", "10.7.0.9"]);
    let of_ipv6 = nmap(&["-6", "-p", PORTS, "fd07::2", "fd07::3", "fd07::9"]);
    report.findings.extend(of_ipv6.findings);
    report.down.extend(of_ipv6.down);
    assert_eq!(report.differences(&found.verdicts), Vec::<String>::new());
    assert_eq!(report.down, found.down.keys().copied().collect());
    assert_eq!(found.down.len(), 2);
});

/// scanner - router - server, all of them Linux; behind the router also networks that it refuses to route to.
struct RealNetwork {
    _router: Namespace,
    _server: Namespace,
    _listeners: [TcpListener; 3],
}

const ANSWERING: &str = "10.1.0.254 10.2.0.2 fd01::fe fd02::2";
const REFUSED: &str = "10.3.0.7 10.4.0.7 10.5.0.7 fd03::7 fd04::7 fd05::7";
const REAL_PORTS: [u16; 4] = [79, 80, 81, 443];
/// One, because Linux sends at most five route errors in a row to the same address, whatever its sysctls for ICMP say
/// (net/ipv4/route.c, `ip_error`; `error_burst` can be set for the machine alone): two scans of two hosts fit.
const REFUSED_PORT: u16 = 80;

fn real_plan() -> Plan {
    let plan = Plan::builder().targets(ANSWERING).unwrap().ports("79-81,443").unwrap();
    let refused = REFUSED.split(' ').map(|host| host.parse().unwrap());
    let refused = refused.map(|address| Target { address, port: REFUSED_PORT }.to_string());
    plan.targets(&refused.collect::<Vec<_>>().join(" ")).unwrap().build().unwrap()
}

fn real_network(lab: &Namespace) -> RealNetwork {
    let (router, server) = (Namespace::new("router"), Namespace::new("server"));
    link(
        &End::new(lab, "scan0").address("10.1.0.1/24").address("fd01::1/64"),
        &End::new(&router, "wan0").address("10.1.0.254/24").address("fd01::fe/64"),
    );
    link(
        &End::new(&router, "lan0").address("10.2.0.254/24").address("fd02::fe/64"),
        &End::new(&server, "server0").address("10.2.0.2/24").address("fd02::2/64"),
    );
    router.forward();
    for (namespace, v4, v6) in [(lab, "10.1.0.254", "fd01::fe"), (&server, "10.2.0.254", "fd02::fe")] {
        namespace.route("default", Route::Via(v4.parse().unwrap()));
        namespace.route("default6", Route::Via(v6.parse().unwrap()));
    }
    for (v4, v6, route) in [
        ("10.3.0.0/24", "fd03::/64", Route::Unreachable),
        ("10.4.0.0/24", "fd04::/64", Route::Prohibit),
        ("10.5.0.0/24", "fd05::/64", Route::Blackhole),
    ] {
        router.route(v4, route);
        router.route(v6, route);
    }
    let listeners = [server.listen("10.2.0.2:80"), server.listen("[fd02::2]:80"), router.listen("10.1.0.254:443")];
    lab.reach(&listeners);
    RealNetwork { _router: router, _server: server, _listeners: listeners }
}

/// What RFC 1812 and RFC 4443 have Linux say.
fn expected_of_linux() -> BTreeMap<Target, Expected> {
    let icmp = |code| Reason::Icmp { kind: 3, code };
    let icmpv6 = |code| Reason::Icmpv6 { kind: 1, code };
    let by = |router: &str, reason| Expected {
        sender: Some(router.parse().unwrap()),
        ..Expected::of(State::Filtered, reason)
    };
    let refused = [
        ("10.3.0.7", by("10.1.0.254", icmp(1))),
        ("10.4.0.7", by("10.1.0.254", icmp(13))),
        ("10.5.0.7", Expected::SILENCE),
        ("fd03::7", by("fd01::fe", icmpv6(0))),
        ("fd04::7", by("fd01::fe", icmpv6(1))),
        ("fd05::7", Expected::SILENCE),
    ];
    let at = |host: &str, port| Target { address: host.parse().unwrap(), port };
    let refused = refused.into_iter().map(|(host, said)| (at(host, REFUSED_PORT), said));
    let answering = ANSWERING.split(' ').flat_map(|host| REAL_PORTS.map(|port| at(host, port)));
    let closed = answering.map(|target| (target, Expected::of(State::Closed, Reason::Rst)));
    let open = [at("10.2.0.2", 80), at("fd02::2", 80), at("10.1.0.254", 443)];
    let open = open.map(|target| (target, Expected::of(State::Open, Reason::SynAck)));
    refused.chain(closed).chain(open).collect()
}

lab_test!(real_stacks_are_understood, |lab| {
    let _network = real_network(lab);
    let found = scan(builder(real_plan()));
    found.assert_is(&expected_of_linux());
    assert_eq!(found.summary.strays.total(), 0, "{:?}", found.summary.strays);
});

lab_test!(nmap_says_the_same_of_real_stacks, |lab| {
    if !nmap_installed() {
        return;
    }
    let _network = real_network(lab);
    let found = scan(builder(real_plan()));
    let mut report = NmapReport::default();
    for (hosts, ports) in [(ANSWERING, "79-81,443"), (REFUSED, "80")] {
        for family in [None, Some("-6")] {
            let hosts = hosts.split(' ').filter(|host| host.contains(':') == family.is_some());
            let of_family = nmap(&family.into_iter().chain(["-p", ports]).chain(hosts).collect::<Vec<_>>());
            report.findings.extend(of_family.findings);
        }
    }
    assert_eq!(report.differences(&found.verdicts), Vec::<String>::new());
});
