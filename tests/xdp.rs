//! AF_XDP and XDP: the same verdicts as by any other link, in each way to receive; what is taken away from the kernel is
//! closed all the same; and whatever cannot be had is done another way, and said.

use halfopen::{LinkKind, Plan, Pps, Rate, Receive, Scan, ScanBuilder};
use halfopen_lab::{Found, Namespace, Scenario, lab_test, neighbours, plan, scan};

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
    assert_eq!(found.warnings, Vec::<String>::new());
    found.assert_is(&scenario.expected_all(PORTS));
    assert!(found.down.keys().copied().eq(scenario.down()));
    assert_eq!(found.summary.strays.total(), 0, "{:?}", found.summary.strays);
    assert!(found.reported.iter().filter(|verdict| verdict.ttl.is_some()).all(|verdict| verdict.rtt.is_some()));
    let tally = responder.wait_for(|tally| tally.rsts >= tally.syn_acks + tally.split_syns);
    assert_eq!((tally.bad_checksum, tally.malformed, tally.wrong_mac, tally.syns_without_mss), (0, 0, 0, 0));
    assert_eq!(tally.syns, found.summary.sent.iter().sum::<u64>());
    found
}

lab_test!(af_xdp_native, |lab| {
    let found = small_network(lab, LinkKind::AfXdp, Receive::XdpNative);
    assert_eq!(found.summary.links, ["af_xdp(copy)+xdp(native)@scan0"]);
});

lab_test!(af_xdp_generic, |lab| {
    let found = small_network(lab, LinkKind::AfXdp, Receive::XdpGeneric);
    assert_eq!(found.summary.links, ["af_xdp(copy)+xdp(generic)@scan0"]);
});

lab_test!(af_xdp_and_a_packet_socket, |lab| {
    let found = small_network(lab, LinkKind::AfXdp, Receive::AfPacket);
    assert_eq!(found.summary.links, ["af_xdp(copy)+af_packet@scan0"]);
});

lab_test!(a_packet_socket_and_xdp, |lab| {
    let found = small_network(lab, LinkKind::AfPacket, Receive::XdpNative);
    assert_eq!(found.summary.links, ["af_packet+xdp(native)@scan0"]);
});
