//! The lab's own tests: what it builds is there, and what its phantoms say is understood by stacks that are not ours
//! (the kernel's, nmap's).

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::thread::sleep;
use std::time::Duration;

use halfopen_lab::{
    End, Namespace, Responder, Route, Scenario, Tun, lab_test, link, mac_of, nmap, nmap_installed, phantom_link, skip,
};

/// Far longer than anything here takes; only a broken lab waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

fn connect(address: &str) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&address.parse::<SocketAddr>().unwrap(), PATIENCE)
}

fn refusal(address: &str) -> ErrorKind {
    connect(address).expect_err("nothing listens there").kind()
}

lab_test!(a_lab_test_runs_in_a_network_of_its_own, |_lab| {
    let devices = std::fs::read_to_string("/proc/self/net/dev").unwrap();
    let names: Vec<&str> = devices.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    assert!(names.contains(&"lo"));
    assert!(!names.contains(&"eth0"), "{names:?}");
});

lab_test!(loopback_is_up, |lab| {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = lab.listen(address);
        TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    }
});

lab_test!(real_stacks_talk_over_a_veth_pair, |lab| {
    let target = Namespace::new("target");
    link(
        &End::new(lab, "scan0").address("10.1.0.1/24").address("fd01::1/64"),
        &End::new(&target, "target0").address("10.1.0.2/24").address("fd01::2/64").mac([2, 0, 0, 0, 0, 7]),
    );
    let _listeners = [target.listen("10.1.0.2:80"), target.listen("[fd01::2]:80")];
    for address in ["10.1.0.2", "[fd01::2]"] {
        connect(&format!("{address}:80")).unwrap();
        assert_eq!(refusal(&format!("{address}:81")), ErrorKind::ConnectionRefused);
    }
});

lab_test!(a_router_forwards_and_rejects, |lab| {
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
    for (to, gateway) in [("default", "10.1.0.254"), ("default6", "fd01::fe")] {
        lab.route(to, Route::Via(gateway.parse().unwrap()));
    }
    for (to, gateway) in [("default", "10.2.0.254"), ("default6", "fd02::fe")] {
        server.route(to, Route::Via(gateway.parse().unwrap()));
    }
    router.route("10.3.0.0/24", Route::Unreachable);
    router.route("10.4.0.0/24", Route::Prohibit);
    router.route("fd04::/64", Route::Prohibit);

    let _listeners = [server.listen("10.2.0.2:80"), server.listen("[fd02::2]:80")];
    connect("10.2.0.2:80").unwrap();
    connect("[fd02::2]:80").unwrap();
    assert_eq!(refusal("[fd02::2]:81"), ErrorKind::ConnectionRefused);
    assert_eq!(refusal("10.3.0.1:80"), ErrorKind::HostUnreachable);
    assert_eq!(refusal("10.4.0.1:80"), ErrorKind::HostUnreachable);
    assert_eq!(refusal("[fd04::1]:80"), ErrorKind::PermissionDenied);
});

fn verdicts_on_a_veth(lab: &Namespace) -> Responder {
    let far = Namespace::new("phantoms");
    let near = End::new(lab, "scan0").address("10.7.0.100/24").address("fd07::100/64");
    phantom_link(&near, &far, "phantom0");
    Responder::recording_on_veth(&far, "phantom0", Scenario::named("verdicts"))
}

lab_test!(the_kernel_understands_phantoms, |lab| {
    let responder = verdicts_on_a_veth(lab);
    for host in ["10.7.0.2", "[fd07::2]"] {
        connect(&format!("{host}:80")).unwrap_or_else(|error| panic!("{host}: {error}"));
        assert_eq!(refusal(&format!("{host}:1")), ErrorKind::ConnectionRefused);
    }
    // Linux takes these errors for final: tcp(7), RFC 1122 section 4.2.3.9.
    assert_eq!(refusal("10.7.0.2:103"), ErrorKind::ConnectionRefused, "port unreachable");
    assert_eq!(refusal("10.7.0.2:126"), ErrorKind::HostUnreachable, "administratively prohibited");
    assert_eq!(refusal("[fd07::2]:101"), ErrorKind::PermissionDenied, "administratively prohibited");
    assert_eq!(refusal("[fd07::2]:124"), ErrorKind::ConnectionRefused, "port unreachable");
    let tally = responder.tally();
    assert_eq!((tally.bad_checksum, tally.malformed, tally.wrong_mac), (0, 0, 0), "{tally:?}");
    assert_eq!(responder.drops(), 0);
});

lab_test!(a_host_that_is_down_has_no_link_address, |lab| {
    let responder = verdicts_on_a_veth(lab);
    lab.sysctl("net/ipv4/neigh/scan0/retrans_time_ms", "100");
    assert_eq!(refusal("10.7.0.9:80"), ErrorKind::HostUnreachable);
    assert!(responder.tally().neighbours_not_found > 0);
});

lab_test!(phantoms_answer_behind_a_tun_device, |lab| {
    let end = End::new(lab, "tun0").address("10.7.0.100/24").address("fd07::100/64");
    let tun = match Tun::open(&end) {
        Ok(tun) => tun,
        Err(error) => return skip(&format!("no tun device: {error}")),
    };
    let _responder = Responder::on_tun(tun, Scenario::named("verdicts"));
    connect("10.7.0.2:80").unwrap();
    connect("[fd07::2]:80").unwrap();
    assert_eq!(refusal("10.7.0.2:1"), ErrorKind::ConnectionRefused);
    assert_eq!(refusal("[fd07::2]:1"), ErrorKind::ConnectionRefused);
});

lab_test!(routes_and_neighbours_are_what_they_were_said_to_be, |lab| {
    let responder = verdicts_on_a_veth(lab);
    lab.route("10.7.0.2", Route::Blackhole);
    assert_eq!(refusal("10.7.0.2:80"), ErrorKind::InvalidInput, "a local blackhole: EINVAL");
    lab.route("10.7.0.2", Route::Device("scan0"));
    lab.neighbour("scan0", "10.7.0.2", mac_of([10, 7, 0, 2].into()));
    connect("10.7.0.2:80").unwrap();
    assert_eq!(responder.tally().arp_requests, 0, "the link address was known");
    lab.neighbour("scan0", "10.7.0.3", [2, 9, 9, 9, 9, 9]);
    let address = "10.7.0.3:80".parse().unwrap();
    assert!(TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err());
    assert!(responder.wait_for(|tally| tally.wrong_mac > 0).wrong_mac > 0);
    lab.down("scan0");
    assert_eq!(refusal("10.7.0.2:80"), ErrorKind::NetworkUnreachable);
});

lab_test!(a_probe_that_is_lost_is_sent_again_and_answered, |lab| {
    let far = Namespace::new("phantoms");
    phantom_link(&End::new(lab, "scan0").address("10.7.0.100/24"), &far, "phantom0");
    let responder = Responder::recording_on_veth(&far, "phantom0", Scenario::named("limits"));
    connect("10.7.0.4:80").unwrap();
    let target = "10.7.0.4:80".parse::<SocketAddr>().unwrap().into();
    let syns = responder.with(|phantoms| phantoms.target_tally(target).unwrap().syns.clone());
    assert_eq!(syns.len(), 2, "the first is ignored, the kernel's second answered: {syns:?}");
    assert_eq!(syns[0], syns[1]);
});

lab_test!(frames_that_wait_for_the_responder_do_not_crowd_a_narrow_link, |lab| {
    let far = Namespace::new("phantoms");
    phantom_link(&End::new(lab, "scan0").address("10.7.0.100/24").silent(), &far, "phantom0");
    lab.neighbour("scan0", "10.7.0.4", mac_of([10, 7, 0, 4].into()));
    let scenario = Scenario::parse("[network]\nbandwidth = 1000\nqueue = 0").unwrap();
    let responder = Responder::on_veth(&far, "phantom0", scenario);
    let sender = UdpSocket::bind("10.7.0.100:0").unwrap();
    // While somebody looks, the phantoms wait.
    responder.with(|_| {
        for _ in 0..10 {
            sender.send_to(b"?", "10.7.0.4:9").unwrap();
            sleep(Duration::from_millis(5));
        }
    });
    assert_eq!(responder.wait_for(|tally| tally.other == 10).other, 10, "{:?}", responder.effects_tally());
    for _ in 0..10 {
        sender.send_to(b"?", "10.7.0.4:9").unwrap();
    }
    assert!(responder.wait_for(|_| responder.effects_tally().queue_full > 0).other < 20, "a burst does not fit");
});

lab_test!(nmap_says_what_the_scenario_expects, |lab| {
    if !nmap_installed() {
        return;
    }
    let _responder = verdicts_on_a_veth(lab);
    let ports = "1-28,80,100-107,120-127,443";
    let scenario = Scenario::named("verdicts");
    let mut report = nmap(&["-p", ports, "10.7.0.2-3", "10.7.0.9"]);
    let of_ipv6 = nmap(&["-6", "-p", ports, "fd07::2", "fd07::3", "fd07::9"]);
    report.findings.extend(of_ipv6.findings);
    report.down.extend(of_ipv6.down);
    assert_eq!(report.differences(&scenario.expected_all(ports)), Vec::<String>::new());
    assert_eq!(report.down, scenario.down());
});

#[test]
fn a_child_that_does_not_run_the_test_is_a_failure() {
    let outcome = std::panic::catch_unwind(|| halfopen_lab::isolated("crate::no_such_test", |_| ()));
    assert!(!matches!(outcome, Ok(true)));
}

#[test]
fn a_test_that_hangs_is_ended() {
    let hang = |_: &Namespace| loop {
        std::thread::park();
    };
    let limit = Duration::from_secs(1);
    let name = concat!(module_path!(), "::a_test_that_hangs_is_ended");
    let outcome = std::panic::catch_unwind(|| halfopen_lab::isolated_for(limit, name, hang));
    assert!(!matches!(outcome, Ok(true)));
}
