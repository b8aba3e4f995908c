//! Phantoms and the way to them, tried over the simulated network.

use std::net::IpAddr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use halfopen::{Reason, State, Target};

use super::*;
use crate::frames::{self, Macs, Reply, Way};
use crate::phantoms::mac_of;

const SCANNER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SOURCE_PORT: u16 = 40_000;
const SEQ: u32 = 0x0102_0304;
const MILLISECOND: u64 = 1_000_000;

fn probe_from(target: Target, mac: [u8; 6], seq: u32, rst: bool) -> Vec<u8> {
    let source: IpAddr =
        if target.address.is_ipv4() { [10, 7, 0, 100].into() } else { [0xFD07, 0, 0, 0, 0, 0, 0, 100].into() };
    let macs = Some(Macs { source: SCANNER_MAC, destination: mac });
    let way = Way { macs, source, destination: target.address, ttl: 64 };
    let (destination_port, bare) = (target.port, false);
    let header = Reply { source_port: SOURCE_PORT, destination_port, seq, ack: None, syn: !rst, rst, bare };
    frames::tcp(&way, &header)
}

fn probe(target: Target) -> Vec<u8> {
    probe_from(target, mac_of(target.address), SEQ, false)
}

fn target(text: &str) -> Target {
    text.parse::<std::net::SocketAddr>().unwrap().into()
}

fn network(toml: &str) -> SimNetwork {
    SimNetwork::of(Phantoms::new(Scenario::parse(toml).unwrap(), Medium::Ethernet).recording())
}

fn host(rule: &str) -> String {
    format!("[[host]]\naddresses = [\"10.7.0.2\", \"fd07::2\"]\nrules = [{{ ports = \"-\", {rule} }}]\n")
}

fn drain(network: &mut SimNetwork) -> Vec<(u64, Vec<u8>)> {
    std::iter::from_fn(|| network.receive(u64::MAX)).collect()
}

/// The verdict that one reply proves, read by rules written down here once more.
fn verdict(frame: &[u8], probe: &[u8]) -> (State, Reason, Option<IpAddr>) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let (source, ipv4): (IpAddr, bool) = match packet.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), true),
        NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), false),
        NetSlice::Arp(_) => panic!("nobody asked for a link address"),
    };
    match packet.transport.unwrap() {
        TransportSlice::Tcp(tcp) if tcp.rst() => (State::Closed, Reason::Rst, None),
        TransportSlice::Tcp(tcp) if tcp.ack() => (State::Open, Reason::SynAck, None),
        TransportSlice::Tcp(_) => (State::Open, Reason::Syn, None),
        TransportSlice::Icmpv4(icmp) if ipv4 => {
            assert!(probe[14..].starts_with(icmp.payload()) && icmp.payload().len() >= 28);
            (State::Filtered, Reason::Icmp { kind: icmp.type_u8(), code: icmp.code_u8() }, Some(source))
        }
        TransportSlice::Icmpv6(icmp) => {
            assert!(probe[14..].starts_with(icmp.payload()) && icmp.payload().len() >= 48);
            (State::Filtered, Reason::Icmpv6 { kind: icmp.type_u8(), code: icmp.code_u8() }, Some(source))
        }
        other => panic!("no answer to a SYN: {other:?}"),
    }
}

#[test]
fn every_reply_proves_the_verdict_that_the_scenario_expects() {
    let scenario = Scenario::named("verdicts");
    let mut network = SimNetwork::new(scenario.clone(), Medium::Ethernet);
    let mut seen = std::collections::HashSet::new();
    for (target, expected) in scenario.expected_all("1-28,80,100-107,120-127") {
        let probe = probe(target);
        network.send(0, &probe);
        let replies = drain(&mut network);
        let found =
            replies.first().map_or((State::Filtered, Reason::NoResponse, None), |(_, reply)| verdict(reply, &probe));
        assert_eq!(found, (expected.state, expected.reason, expected.sender), "{target}");
        seen.insert(found.1);
    }
    assert_eq!(seen.len(), 4 + 8 + 8, "syn-ack, syn, rst, nothing; eight errors in each family");
}

#[test]
fn the_same_seed_gives_the_same_frames_and_another_does_not() {
    let run = |seed| {
        let scenario = Scenario::named("lossy").with_seed(seed);
        let targets = scenario.expected_all("22,25,80").into_keys().take(3000);
        let mut network = SimNetwork::new(scenario, Medium::Ethernet);
        for (number, target) in targets.enumerate() {
            network.send(number as u64 * 1000, &probe(target));
        }
        drain(&mut network)
    };
    let first = run(1);
    assert!(first.windows(2).all(|pair| pair[0].0 <= pair[1].0), "arrivals come in order");
    assert!(first == run(1));
    assert!(first != run(2));
}

#[test]
fn loss_and_duplicates_have_their_shares() {
    let toml = "[network]\nloss_out = 0.1\nloss_back = 0.2\nduplicate_back = 0.05\n".to_owned();
    let mut network = network(&(toml + &host("behaviour = \"open\"")));
    (1..=10_000).for_each(|port| network.send(0, &probe(Target { address: [10, 7, 0, 2].into(), port })));
    let tally = network.effects_tally();
    assert!((900..1100).contains(&tally.lost_out), "{tally:?}");
    assert!((1700..1900).contains(&tally.lost_back), "{tally:?}");
    assert!((300..420).contains(&tally.duplicated_back), "{tally:?}");
    let arrived = 10_000 - tally.lost_out - tally.lost_back + tally.duplicated_back;
    assert_eq!(drain(&mut network).len() as u64, arrived);
}

#[test]
fn delay_and_jitter_let_replies_overtake_each_other() {
    let toml = "[network]\ndelay = \"10ms\"\njitter = \"5ms\"\n".to_owned();
    let mut network = network(&(toml + &host("behaviour = \"closed\"")));
    (1..=100).for_each(|port| network.send(u64::from(port), &probe(Target { address: [10, 7, 0, 2].into(), port })));
    assert_eq!(network.receive(10 * MILLISECOND), None, "nothing is there before its time");
    let replies = drain(&mut network);
    assert!(replies.iter().all(|(at, _)| (10 * MILLISECOND..16 * MILLISECOND).contains(at)));
    let ports: Vec<u8> = replies.iter().map(|(_, frame)| frame[35]).collect();
    assert!(!ports.is_sorted(), "the order of sending");
}

#[test]
fn a_narrow_link_delays_what_waits_and_loses_what_does_not_fit() {
    let toml = "[network]\nbandwidth = 1000\nqueue = 10\n".to_owned();
    let mut network = network(&(toml + &host("behaviour = \"open\"")));
    (1..=100).for_each(|port| network.send(0, &probe(Target { address: [10, 7, 0, 2].into(), port })));
    let replies = drain(&mut network);
    assert_eq!(network.effects_tally().queue_full, 100 - 11);
    assert_eq!(replies.last().unwrap().0, 10 * MILLISECOND);
}

const OPEN: &str = "behaviour = \"open\"";

/// Sends a probe to each of these ports, so far apart.
fn sweep(network: &mut SimNetwork, address: [u8; 4], ports: std::ops::RangeInclusive<u16>, apart: u64) {
    for (number, port) in (0..).zip(ports) {
        network.send(number * apart, &probe(Target { address: address.into(), port }));
    }
}

/// Source ports of frames in order, which are the ports that answer.
fn ports(replies: &[(u64, Vec<u8>)]) -> Vec<u16> {
    replies.iter().map(|(_, frame)| u16::from_be_bytes([frame[34], frame[35]])).collect()
}

#[test]
fn bursts_take_probes_that_follow_each_other() {
    let mut network = network(&("[network]\nloss_out = 0.1\nburst_out = 10\n".to_owned() + &host(OPEN)));
    sweep(&mut network, [10, 7, 0, 2], 1..=60_000, 1000);
    let lost = network.effects_tally().lost_out;
    assert!((5_000..7_000).contains(&lost), "{lost}");
    let heard = ports(&drain(&mut network));
    let gaps = heard.windows(2).filter(|pair| pair[1] != pair[0] + 1).count() as f64;
    let mean = lost as f64 / gaps;
    assert!((9.0..11.0).contains(&mean), "{mean} in a row");
}

#[test]
fn replies_do_not_decide_which_probes_are_lost() {
    let heard = |behaviour: &str, more: &str| {
        let network_table = format!("[network]\nloss_out = 0.2\nburst_out = 3\n{more}\n");
        let mut network = network(&(network_table + &host(behaviour)));
        sweep(&mut network, [10, 7, 0, 2], 1..=1000, 1000);
        let mut heard = ports(&drain(&mut network));
        heard.sort_unstable();
        heard.dedup();
        heard
    };
    let first = heard(OPEN, "");
    assert!((700..900).contains(&first.len()), "{}", first.len());
    assert_eq!(heard(OPEN, "reorder = 0.5\nreorder_by = \"1ms\"\nduplicate_back = 0.3"), first);
    assert_eq!(heard("behaviour = \"open\", copies = 2", ""), first);
    let closed = heard("behaviour = \"population\", open = 0.5, closed = 0.0", "");
    assert!(closed.len() < 500 && closed.iter().all(|port| first.contains(port)), "half of them are silent");
}

#[test]
fn each_host_has_a_distance_of_its_own() {
    let toml = "[network]\ndelay = \"5ms\"\ndistance = \"40ms\"\ndistance_spread = \"long-tailed\"\n\
        [[host]]\naddresses = \"10.7.0.0/24\"\nrules = [{ ports = \"-\", behaviour = \"open\" }]\n";
    let mut network = network(toml);
    let mut distance = |last, port| {
        network.send(0, &probe(Target { address: [10, 7, 0, last].into(), port }));
        drain(&mut network)[0].0
    };
    let mut all: Vec<u64> = (0..=255).map(|last| distance(last, 80)).collect();
    assert!((0..=255).all(|last| distance(last, 81) == all[usize::from(last)]), "the same at every probe");
    all.sort_unstable();
    assert!((35 * MILLISECOND..60 * MILLISECOND).contains(&all[128]), "{}", all[128]);
    assert!(all[0] < 20 * MILLISECOND && all[255] > 200 * MILLISECOND, "{} {}", all[0], all[255]);
}

#[test]
fn what_is_held_back_is_overtaken() {
    let mut network = network(&("[network]\nreorder = 0.1\nreorder_by = \"10ms\"\n".to_owned() + &host(OPEN)));
    sweep(&mut network, [10, 7, 0, 2], 1..=1000, MILLISECOND);
    let held = network.effects_tally().held_back;
    assert!((70..130).contains(&held), "{held}");
    let heard = ports(&drain(&mut network));
    assert_eq!(heard.len(), 1000);
    // Almost every one that is held lets ten pass; a few come out together with others that were.
    let overtaken = heard.windows(2).filter(|pair| pair[1] < pair[0]).count() as u64;
    assert!(overtaken > held / 2, "{overtaken} of {held}");
}

#[test]
fn a_path_does_more_to_the_packets_of_its_targets_alone() {
    let toml = "[network]\ndelay = \"10ms\"\n\
        [[path]]\ntargets = \"10.7.1.0/24\"\nloss_out = 0.5\ndelay = \"7ms\"\n\
        [[host]]\naddresses = \"10.7.0.0/16\"\nrules = [{ ports = \"-\", behaviour = \"open\" }]\n";
    let mut network = network(toml);
    sweep(&mut network, [10, 7, 0, 9], 1..=1000, 0);
    assert_eq!(drain(&mut network).iter().filter(|(at, _)| *at == 10 * MILLISECOND).count(), 1000);
    sweep(&mut network, [10, 7, 1, 9], 1..=1000, 0);
    let replies = drain(&mut network);
    assert!((440..560).contains(&replies.len()) && replies.iter().all(|(at, _)| *at == 17 * MILLISECOND));
    assert_eq!(network.effects_tally().lost_out, 1000 - replies.len() as u64);
}

#[test]
fn the_way_changes_at_its_time_after_the_first_packet() {
    let toml = "[network]\ndelay = \"1ms\"\nchanges = [{ at = \"1s\", loss_out = 1.0 }, \
        { at = \"2s\", loss_out = 0.0, bandwidth = 100, queue = 5, delay = \"2ms\" }]\n";
    let mut network = network(&(toml.to_owned() + &host(OPEN)));
    let begin = 77_000 * MILLISECOND;
    let mut heard = |at, probes| {
        (0..probes).for_each(|_| network.send(begin + at * MILLISECOND, &probe(target("10.7.0.2:80"))));
        drain(&mut network).iter().map(|(due, _)| due - begin - at * MILLISECOND).collect::<Vec<_>>()
    };
    assert_eq!(heard(0, 3), [MILLISECOND; 3]);
    assert_eq!(heard(999, 1), [MILLISECOND]);
    assert_eq!(heard(1000, 3), []);
    assert_eq!(heard(2000, 10), [2, 12, 22, 32, 42, 52].map(|at| at * MILLISECOND));
}

#[test]
fn a_full_firewall_lets_no_flow_begin() {
    let toml = "[[firewall]]\ntargets = \"10.7.0.0/24\"\nentries = 100\ntimeout = \"1s\"\n";
    let mut network = network(&(toml.to_owned() + &host(OPEN)));
    sweep(&mut network, [10, 7, 0, 2], 1..=300, 0);
    assert_eq!((drain(&mut network).len(), network.effects_tally().table_full), (100, 200));
    network.send(999 * MILLISECOND, &probe(target("10.7.0.2:100")));
    network.send(999 * MILLISECOND, &probe(target("10.7.0.2:101")));
    assert_eq!(ports(&drain(&mut network)), [100], "a flow that it knows");
    network.send(1000 * MILLISECOND, &probe(target("10.7.0.2:101")));
    assert_eq!(ports(&drain(&mut network)), [101], "the others have ended");
    sweep(&mut network, [10, 7, 1, 2], 1..=300, 0);
    assert_eq!(network.effects_tally().table_full, 201, "not its targets");
}

#[test]
fn a_router_limits_its_errors_for_all_hosts_together_and_a_host_its_own() {
    let rule =
        "{ ports = \"1-99\", behaviour = \"icmp 3/13\", from = \"gw\" }, { ports = 100, behaviour = \"icmp 3/3\" }";
    let toml = format!(
        "[[router]]\nname = \"gw\"\naddresses = \"10.7.0.1\"\nicmp_rate = 50\n\
        [[host]]\naddresses = \"10.7.0.0/24\"\nicmp_rate = 20\nrules = [{rule}]\n"
    );
    let mut network = network(&toml);
    // Two hosts by turns, 100 probes a second to each: a tenth of a second's worth may come at once.
    let mut heard = |port| {
        for number in 0..200_u64 {
            let address = [10, 7, 0, 2 + (number % 2) as u8].into();
            network.send(
                u64::from(port) * 1000 * MILLISECOND + number * 5 * MILLISECOND,
                &probe(Target { address, port }),
            );
        }
        drain(&mut network).len()
    };
    assert!((50..=56).contains(&heard(13)), "the router's, for both");
    assert!((40..=46).contains(&heard(100)), "each its own");
}

/// Scenarios made in code are the scenarios of files.
#[test]
fn code_and_file_say_the_same() {
    use std::time::Duration;

    use crate::{Behaviour, Change, HostKind, Spread, Stretch};
    let (ms, second) = (Duration::from_millis(1), Duration::from_secs(1));
    let network = Stretch::new().loss(0.1, 0.2).bursts(3.0).duplicates(0.1, 0.1).delay(10 * ms);
    let network = network.jitter(5 * ms, Spread::Normal).distance(40 * ms, Spread::LongTailed).reorder(0.1, 2 * ms);
    let network =
        network.bandwidth(5000, 50).change(Change::at(second / 2).bandwidth(1000).delay(20 * ms).loss(0.3, 0.3));
    let code = Scenario::seeded(9)
        .network(network)
        .path("10.65.1.0/24", Stretch::new().loss(0.5, 0.5))
        .firewall("10.65.2.0/24", 10, second)
        .hosts(
            "10.65.0.0/22",
            HostKind::silent().ports("1-80", Behaviour::Open).ports("81", Behaviour::Closed).rst_rate(9),
        );
    let file = Scenario::parse(
        r#"
        seed = 9
        [network]
        loss_out = 0.1
        loss_back = 0.2
        burst_out = 3
        burst_back = 3
        duplicate_out = 0.1
        duplicate_back = 0.1
        delay = "10ms"
        jitter = "5ms"
        spread = "normal"
        distance = "40ms"
        distance_spread = "long-tailed"
        reorder = 0.1
        reorder_by = "2ms"
        bandwidth = 5000
        queue = 50
        changes = [{ at = "500ms", bandwidth = 1000, delay = "20ms", loss_out = 0.3, loss_back = 0.3 }]
        [[path]]
        targets = "10.65.1.0/24"
        loss_out = 0.5
        loss_back = 0.5
        [[firewall]]
        targets = "10.65.2.0/24"
        entries = 10
        timeout = "1s"
        [[host]]
        addresses = "10.65.0.0/22"
        rst_rate = 9
        rules = [{ ports = "1-80", behaviour = "open" }, { ports = 81, behaviour = "closed" }]
        "#,
    );
    let played = |scenario: Scenario| {
        let mut network = SimNetwork::new(scenario, Medium::Ethernet);
        for number in 0..6000_u64 {
            let address = [10, 65, (number % 4) as u8, (number / 4 % 100) as u8].into();
            network.send(number * 200_000, &probe(Target { address, port: 60 + (number % 30) as u16 }));
        }
        (network.effects_tally(), drain(&mut network))
    };
    let (tally, frames) = played(code);
    assert!(tally.lost_out > 0 && tally.queue_full > 0 && tally.table_full > 0 && tally.held_back > 0, "{tally:?}");
    assert!((tally, frames) == played(file.unwrap()));
}

#[test]
fn late_copies_and_ignored_probes() {
    let mut network = network(&host("behaviour = \"open\", late = \"300ms\", copies = 3, ignore = 1"));
    let target = target("10.7.0.2:80");
    network.send(0, &probe(target));
    assert_eq!(network.next_arrival(), None);
    network.send(MILLISECOND, &probe(target));
    assert_eq!(drain(&mut network).iter().map(|(at, _)| *at).collect::<Vec<_>>(), [301 * MILLISECOND; 3]);
    let tally = network.phantoms().target_tally(target).unwrap();
    assert_eq!((tally.syns.len(), tally.syn_acks), (2, 3));
}

#[test]
fn resets_are_matched_to_the_probe_they_close() {
    let mut network = network(&host("behaviour = \"open\""));
    let target = target("[fd07::2]:80");
    network.send(0, &probe(target));
    network.send(1, &probe_from(target, mac_of(target.address), SEQ + 1, true));
    network.send(2, &probe_from(target, mac_of(target.address), SEQ + 2, true));
    let tally = network.phantoms().target_tally(target).unwrap();
    assert_eq!((tally.syn_acks, tally.rsts, tally.stray_rsts), (1, 1, 1));
}

#[test]
fn a_rate_limit_answers_at_its_rate() {
    let toml = host("behaviour = \"closed\"") + "rst_rate = 100\n";
    let mut network = network(&toml);
    for number in 0..10_000_u64 {
        network.send(number * MILLISECOND / 10, &probe(target("10.7.0.2:80")));
    }
    // Not quite one second at 100 a second, and a tenth of a second's worth at once.
    assert_eq!(drain(&mut network).len(), 99 + 11);
    assert_eq!(network.phantoms().tally().rate_limited, 10_000 - 110);
}

#[test]
fn probes_that_are_wrong_are_counted_and_not_answered() {
    let mut network = network(&host("behaviour = \"open\""));
    for address in ["10.7.0.2:80", "[fd07::2]:80"] {
        let target = target(address);
        let mut broken = probe(target);
        *broken.last_mut().unwrap() ^= 1;
        network.send(0, &broken);
        network.send(0, &probe_from(target, [2, 9, 9, 9, 9, 9], SEQ, false));
        network.send(0, &probe(target)[..40]);
    }
    let tally = network.phantoms().tally();
    assert_eq!((tally.bad_checksum, tally.wrong_mac, tally.malformed, tally.syns), (2, 2, 2, 0));
    let mut broken = probe(target("10.7.0.2:80"));
    // The TTL, and with it the IP header's checksum.
    broken[22] ^= 1;
    network.send(0, &broken);
    assert_eq!(network.phantoms().tally().bad_checksum, 3);
    assert!(drain(&mut network).is_empty());
}

#[test]
fn forgeries_are_wrong_in_what_they_are_named_for_alone() {
    let scenario = Scenario::named("forgeries");
    let mut network = SimNetwork::new(scenario.clone(), Medium::Ethernet);
    for host in ["10.7.0.2", "[fd07::2]"] {
        let mut wrong_in = |port| {
            let target = target(&format!("{host}:{port}"));
            assert_eq!(scenario.expected(target).reason == Reason::NoResponse, port < 80, "{target}");
            let sent = probe(target);
            network.send(0, &sent);
            wrong_parts(&drain(&mut network)[0].1, &sent, target)
        };
        assert_eq!([wrong_in(80), wrong_in(81)], [[""; 0]; 2], "the true ones");
        assert_eq!([wrong_in(1), wrong_in(2)], [["acknowledgement"], ["acknowledgement"]]);
        assert_eq!([wrong_in(3), wrong_in(8)], [["quoted number"], ["quoted number"]]);
        assert_eq!([wrong_in(4), wrong_in(9)], [["quoted port"], ["quoted port"]]);
        assert_eq!([wrong_in(5), wrong_in(6), wrong_in(7)], [["port"], ["sender"], ["flags"]]);
        assert_eq!([wrong_in(11), wrong_in(12)], [["length"], ["checksum"]]);
        assert!(!wrong_in(13).is_empty());
    }
    assert_eq!(network.phantoms().tally().forged, 24);
}

/// In which parts a frame is no answer to a probe.
fn wrong_parts(frame: &[u8], probe: &[u8], target: Target) -> Vec<&'static str> {
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return vec!["length"] };
    let (ports, number) = match packet.transport.as_ref().unwrap() {
        TransportSlice::Tcp(_) => return wrong_parts_of_tcp(frame, target),
        TransportSlice::Icmpv4(icmp) => (&icmp.payload()[20..22], &icmp.payload()[24..28]),
        TransportSlice::Icmpv6(icmp) => (&icmp.payload()[40..42], &icmp.payload()[44..48]),
        other => panic!("no answer to a SYN: {other:?}"),
    };
    let mut wrong = Vec::new();
    let header = if target.address.is_ipv4() { 14 + 20 } else { 14 + 40 };
    wrong.extend((*ports != probe[header..header + 2]).then_some("quoted port"));
    wrong.extend((*number != probe[header + 4..header + 8]).then_some("quoted number"));
    wrong
}

fn wrong_parts_of_tcp(frame: &[u8], target: Target) -> Vec<&'static str> {
    let segment = match frames::read_ethernet(frame, frames::Checksums::Checked) {
        frames::Received::Tcp(segment) => segment,
        frames::Received::BadChecksum => return vec!["checksum"],
        other => panic!("no TCP: {other:?}"),
    };
    let acknowledged = u32::from_be_bytes(segment.packet[segment.header_length + 8..][..4].try_into().unwrap());
    let mut wrong = Vec::new();
    wrong.extend((acknowledged != SEQ + 1).then_some("acknowledgement"));
    wrong.extend((segment.destination_port != SOURCE_PORT).then_some("port"));
    wrong.extend((segment.source != target.address).then_some("sender"));
    wrong.extend((!segment.ack || !(segment.syn || segment.rst)).then_some("flags"));
    wrong
}

#[test]
fn without_ethernet_the_answer_has_none() {
    let mut network = SimNetwork::new(Scenario::named("verdicts"), Medium::Ip);
    for address in ["10.7.0.2:80", "[fd07::2]:80"] {
        network.send(0, &probe(target(address))[14..]);
        let reply = drain(&mut network).remove(0).1;
        assert!(SlicedPacket::from_ip(&reply).is_ok_and(|packet| packet.transport.is_some()));
    }
}
