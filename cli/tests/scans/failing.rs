//! Scans that cannot begin, or lose their link: the library's errors as the program prints them.

use halfopen_lab::{End, Namespace, lab_test, link};

use super::{Scan, records, run, text};

/// The text of a scan that cannot begin.
fn refusal(line: &str, code: i32) -> String {
    let output = run(line);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{line}: {said}");
    assert!(output.stdout.is_empty(), "{line}");
    said
}

lab_test!(no_route, |_lab| {
    insta::assert_snapshot!(refusal("scan 192.0.2.1 -p 80", 1), @"error: no route to 192.0.2.1: the routing table has neither a route to it nor a default route; add one (ip route add)");
    insta::assert_snapshot!(refusal("scan 127.0.0.1 2001:db8::1 -p 80", 1), @"error: no route to 2001:db8::1: the routing table has neither a route to it nor a default route; add one (ip route add)");
    insta::assert_snapshot!(refusal("scan 192.0.2.1 -p 80 --method connect", 1), @"error: no route to 192.0.2.1: the routing table has neither a route to it nor a default route; add one (ip route add)");
});

lab_test!(interfaces_that_will_not_do, |lab| {
    insta::assert_snapshot!(refusal("scan 127.0.0.1 -p 80 --interface nosuch0", 2), @"error: no such interface: nosuch0; this machine has lo");
    let far = Namespace::new("far");
    link(&End::new(lab, "scan0").address("10.1.0.1/24"), &End::new(&far, "far0"));
    far.down("far0");
    insta::assert_snapshot!(refusal("scan 10.1.0.2 -p 80", 1), @"error: interface scan0 has no carrier: nothing is plugged in, or the other end is down; connect it or choose another");
    lab.down("scan0");
    insta::assert_snapshot!(refusal("scan 10.1.0.2 -p 80 --interface scan0", 1), @"error: interface scan0 is down; bring it up (ip link set scan0 up) or choose another");
});

lab_test!(sources_that_are_not_ours, |_lab| {
    insta::assert_snapshot!(refusal("scan 127.0.0.1 -p 80 --source-ip 192.0.2.7", 2), @"error: 192.0.2.7 is not an address of this machine; halfopen sends only from its own addresses (ip address show)");
    insta::assert_snapshot!(refusal("scan 127.0.0.1 -p 80 --source-port 65535", 2), @"error: source port: 65535 leaves no room for 12 ports, one for each pass and two more, below 65536");
});

lab_test!(a_source_port_that_is_taken, |lab| {
    let _listener = lab.listen("127.0.0.1:40000");
    insta::assert_snapshot!(refusal("scan 127.0.0.1 -p 80 --source-port 40000", 1), @"error: cannot hold source ports 40000-40011: Address already in use (os error 98); choose another first port with --source-port");
});

lab_test!(a_gateway_that_is_silent, |lab| {
    let far = Namespace::new("far");
    link(&End::new(lab, "scan0").address("10.1.0.1/24"), &End::new(&far, "far0"));
    lab.route("default", halfopen_lab::Route::Via([10, 1, 0, 254].into()));
    insta::assert_snapshot!(refusal("scan 192.0.2.1 -p 80", 1), @"error: gateway 10.1.0.254 on scan0 does not answer ARP; check the cable and the route, or give its address with --gateway-mac");
});

lab_test!(a_host_that_is_down_is_reported, |lab| {
    let far = Namespace::new("far");
    link(&End::new(lab, "scan0").address("10.1.0.1/24"), &End::new(&far, "far0").address("10.1.0.2/24"));
    let output = run("scan 10.1.0.2-3 -p 80 --show all --seed 1");
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), "10.1.0.3 - down no-arp -\n10.1.0.2 80/tcp closed rst http\n");
    let said = text(&output.stderr);
    assert!(said.ends_with("\nnot probed: 1 target of 1 host that is down (no answer to ARP or NDP)\n"), "{said}");
});

/// A scan over a link that is lost when it has begun: the last record and the end.
fn losing(lab: &Namespace, lose: impl FnOnce(&Namespace)) -> (String, String) {
    let far = Namespace::new("far");
    link(&End::new(lab, "scan0").address("10.1.0.1/24"), &End::new(&far, "far0").address("10.1.0.2/24"));
    let mut scan = Scan::start("scan 10.1.0.2 -p- --rate 1000 --show all --output jsonl");
    assert!(scan.line().contains(r#""type":"scan""#) && scan.line().contains("10.1.0.2"));
    lose(&far);
    let (rest, said, status) = scan.end();
    assert_eq!(status.code(), Some(1), "{said}");
    let records = records(&rest);
    let last = records.last().unwrap();
    assert_eq!(last["type"], "error", "{last}");
    (last["message"].as_str().unwrap().into(), said)
}

lab_test!(a_device_that_goes_down, |lab| {
    let (message, said) = losing(lab, |_| lab.down("scan0"));
    assert!(message.starts_with("af_packet@scan0 failed after "), "{message}");
    assert!(message.contains("Network is down (os error 100)"), "{message}");
    assert_eq!(said, format!("error: {message}\n"));
});

lab_test!(a_cable_that_is_pulled, |lab| {
    let (message, said) = losing(lab, |far| far.down("far0"));
    assert!(message.starts_with("af_packet@scan0 failed after "), "{message}");
    assert_eq!(said, format!("error: {message}\n"));
});
