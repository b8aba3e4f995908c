use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TcpHeader, TransportSlice};

use super::*;
use crate::wire::MacAddr;

const US: [u8; 4] = [192, 0, 2, 1];
const US_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const ROUTER: [u8; 4] = [192, 0, 2, 254];
const PORT: u16 = 50_000;

fn survey_at(targets: &str, rate: u64) -> Survey {
    let plan = Plan::builder().targets(targets).unwrap().ports("1").unwrap().build().unwrap();
    let source = if plan.has_v4() { US.into() } else { US_V6.into() };
    let header = LinkHeader::Ethernet { source: MacAddr([2; 6]), destination: MacAddr([4; 6]) };
    Survey::new(plan, vec![Way { link: 0, source, header }], Cookie::new(1, 2), (PORT, 7), rate)
}

fn survey(targets: &str) -> Survey {
    survey_at(targets, 1_000_000)
}

/// A probe that left: to whom, to which port (none: an echo request), and the packet.
#[derive(Debug, Clone)]
struct Sent {
    to: IpAddr,
    port: Option<u16>,
    packet: Vec<u8>,
}

fn sent(frame: &[u8]) -> Sent {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let to = match packet.net.unwrap() {
        NetSlice::Ipv4(ip) => ip.header().destination_addr().into(),
        NetSlice::Ipv6(ip) => ip.header().destination_addr().into(),
        other => panic!("{other:?}"),
    };
    let port = match packet.transport.unwrap() {
        TransportSlice::Tcp(tcp) => Some(tcp.destination_port()),
        TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) => None,
        other => panic!("{other:?}"),
    };
    Sent { to, port, packet: frame[14..].to_vec() }
}

/// Runs a survey before hosts that answer as `hosts` say, at once; gives what was sent and when it was over.
fn run(survey: &mut Survey, hosts: impl Fn(&Sent) -> Option<Vec<u8>>) -> (Vec<Sent>, Time) {
    let (mut now, mut all) = (Time::ZERO, Vec::new());
    loop {
        let mut probes = Vec::new();
        let step = survey.poll(now, &mut |link, frame| {
            assert_eq!(link, 0);
            probes.push(sent(frame));
            true
        });
        for answer in probes.iter().filter_map(&hosts) {
            survey.frame(now + Duration::from_millis(10), Layer::Ip, &answer, Checksum::Unknown);
        }
        all.extend(probes);
        match step {
            Step::Until(until) => now = until,
            Step::Done => return (all, now),
        }
    }
}

fn v4(to: IpAddr) -> [u8; 4] {
    let IpAddr::V4(to) = to else { panic!("{to}") };
    to.octets()
}

fn echo_reply(probe: &Sent) -> Vec<u8> {
    let mut frame = Vec::new();
    match probe.to {
        IpAddr::V4(host) => {
            let rest = probe.packet[24..28].try_into().unwrap();
            let builder = PacketBuilder::ipv4(host.octets(), US, 60).icmpv4_raw(0, 0, rest);
            builder.write(&mut frame, &probe.packet[28..]).unwrap();
        }
        IpAddr::V6(host) => {
            let rest = probe.packet[44..48].try_into().unwrap();
            let builder = PacketBuilder::ipv6(host.octets(), US_V6, 60).icmpv6_raw(129, 0, rest);
            builder.write(&mut frame, &probe.packet[48..]).unwrap();
        }
    }
    frame
}

fn tcp_reply(probe: &Sent, change: impl FnOnce(&mut TcpHeader, u32)) -> Vec<u8> {
    let seq = u32::from_be_bytes(probe.packet[24..28].try_into().unwrap());
    let mut header = TcpHeader::new(probe.port.unwrap(), PORT, 99, 1024);
    change(&mut header, seq);
    let mut frame = Vec::new();
    PacketBuilder::ipv4(v4(probe.to), US, 60).tcp_header(header).write(&mut frame, &[]).unwrap();
    frame
}

fn error(probe: &Sent, from: [u8; 4]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ipv4(from, US, 60).icmpv4_raw(3, 3, [0; 4]).write(&mut frame, &probe.packet).unwrap();
    frame
}

fn alive(survey: Survey) -> u64 {
    survey.into_alive().hosts()
}

#[test]
fn dark_hosts_are_asked_everything_twice_and_given_time() {
    let mut survey = survey("10.0.0.0/28");
    let (probes, end) = run(&mut survey, |_| None);
    assert_eq!((probes.len(), survey.probes()), (16 * 20, 16 * 20));
    let mut counts = BTreeMap::new();
    probes.iter().for_each(|probe| *counts.entry((probe.to, probe.port)).or_insert(0) += 1);
    assert!(counts.len() == 160 && counts.values().all(|&count| count == 2), "{counts:?}");
    assert!((end.since(Time::ZERO)) >= 2 * WAIT_UNHEARD, "{end}");
    assert_eq!((survey.done(), alive(survey)), (1.0, 0));
}

#[test]
fn hosts_that_answer_echo_are_asked_nothing_more() {
    for targets in ["10.0.0.0/28", "2001:db8::10/124"] {
        let mut survey = survey_at(targets, 1_000);
        let (probes, end) = run(&mut survey, |probe| probe.port.is_none().then(|| echo_reply(probe)));
        assert_eq!(probes.len(), 16, "{targets}");
        assert!(end.since(Time::ZERO) < Duration::from_millis(100), "nobody is waited for: {end}");
        assert_eq!(survey.rtt.smoothed(), Some(Duration::from_millis(10)));
        assert_eq!(alive(survey), 16);
    }
}

#[test]
fn one_port_that_answers_is_enough() {
    for port in
        QUESTIONS.iter().filter_map(|question| if let Question::Syn(port) = question { Some(*port) } else { None })
    {
        let mut found = survey("10.0.0.0/30");
        run(&mut found, |probe| {
            (probe.port == Some(port)).then(|| {
                tcp_reply(probe, |h, seq| {
                    (h.syn, h.ack, h.acknowledgment_number) = (true, true, seq.wrapping_add(1));
                })
            })
        });
        assert_eq!(alive(found), 4, "{port}");
    }
}

#[test]
fn resets_and_errors_of_the_host_itself_count() {
    for same in [0, 1] {
        let mut found = survey("10.0.0.0/30");
        run(&mut found, |probe| {
            let reset = |h: &mut TcpHeader, seq: u32| {
                (h.rst, h.ack, h.acknowledgment_number) = (true, true, seq.wrapping_add(same));
            };
            probe.port.map(|_| tcp_reply(probe, reset))
        });
        assert_eq!(alive(found), 4);
    }
    let mut found = survey("10.0.0.0/30");
    run(&mut found, |probe| probe.port.map(|_| error(probe, v4(probe.to))));
    assert_eq!(alive(found), 4);
}

#[test]
fn what_proves_nothing_counts_for_nothing() {
    let dark = |answer: &dyn Fn(&Sent) -> Option<Vec<u8>>| {
        let mut survey = survey("10.0.0.0/30");
        run(&mut survey, answer);
        assert_eq!(alive(survey), 0);
    };
    dark(&|probe| probe.port.map(|_| error(probe, ROUTER)));
    dark(&|probe| {
        let wrong = |h: &mut TcpHeader, seq: u32| {
            (h.syn, h.ack, h.acknowledgment_number) = (true, true, seq);
        };
        probe.port.map(|_| tcp_reply(probe, wrong))
    });
    dark(&|probe| probe.port.map(|_| tcp_reply(probe, |h, seq| (h.rst, h.acknowledgment_number) = (true, seq ^ 8))));
    dark(&|probe| {
        let other_port = |h: &mut TcpHeader, seq: u32| {
            (h.rst, h.acknowledgment_number, h.destination_port) = (true, seq, PORT + 1);
        };
        probe.port.map(|_| tcp_reply(probe, other_port))
    });
    // A reply from another host of the plan, with the first one's proof.
    dark(&|probe| {
        let [a, b, c, d] = v4(probe.to);
        probe.port.is_none().then(|| echo_reply(&Sent { to: Ipv4Addr::new(a, b, c, d ^ 1).into(), ..probe.clone() }))
    });
    // The quotation of a probe that we never sent.
    dark(&|probe| {
        let mut forged = probe.clone();
        forged.packet[24] ^= 1;
        probe.port.map(|_| error(&forged, v4(probe.to)))
    });
}

#[test]
fn a_lost_answer_has_a_second_chance() {
    let mut survey = survey_at("10.0.0.0/30", 1_000);
    let seen = std::cell::Cell::new(0);
    let (probes, _) = run(&mut survey, |probe| {
        seen.set(seen.get() + u32::from(probe.port.is_none()));
        (probe.port.is_none() && seen.get() > 4).then(|| echo_reply(probe))
    });
    assert_eq!((probes.len(), alive(survey)), (4 * 10 + 4, 4));
}

#[test]
fn keeps_its_rate_and_waits_for_room() {
    let mut survey = survey_at("10.0.0.0/24", 1_000);
    let (mut now, mut count) = (Time::ZERO, 0);
    while count < 200 {
        let mut burst = 0;
        let step = survey.poll(now, &mut |_, _| {
            burst += 1;
            burst <= 5
        });
        assert!(burst <= 6);
        count += burst.min(5);
        let Step::Until(until) = step else { panic!("it is not over") };
        now = until.max(now + Duration::from_micros(1));
    }
    assert!((195..=215).contains(&(now.0 / 1_000_000)), "200 probes at 1,000 a second: {now}");
}

#[test]
fn one_run_each_of_both_families() {
    let plan = Plan::builder().targets("10.0.0.0/30 2001:db8::10/126").unwrap().ports("1").unwrap().build().unwrap();
    let v6: Vec<_> = plan.ranges().filter(|range| range.first().is_ipv6()).map(|range| (range, EgressId(1))).collect();
    let mut runs: Vec<_> = plan.ranges().filter(|range| range.first().is_ipv4()).map(|r| (r, EgressId(0))).collect();
    runs.extend(v6);
    let mut plan = plan;
    plan.assign(&runs);
    let way = |source| Way {
        link: 0,
        source,
        header: LinkHeader::Ethernet { source: MacAddr([2; 6]), destination: MacAddr([4; 6]) },
    };
    let ways = vec![way(US.into()), way(Ipv6Addr::from(US_V6).into())];
    let mut survey = Survey::new(plan.clone(), ways, Cookie::new(1, 2), (PORT, 7), 1_000_000);
    let there = |host: IpAddr| matches!(host.to_string().as_str(), "10.0.0.1" | "10.0.0.2" | "2001:db8::13");
    run(&mut survey, |probe| (probe.port.is_none() && there(probe.to)).then(|| echo_reply(probe)));
    let left = plan.restricted(&survey.into_alive(), |_| false).unwrap();
    let ranges: Vec<_> = left.ranges().map(|range| range.to_string()).collect();
    assert_eq!(ranges, ["10.0.0.1-10.0.0.2", "2001:db8::13"]);
}

/// The round of an echo request.
fn round(probe: &Sent) -> u16 {
    u16::from_be_bytes(probe.packet[26..28].try_into().unwrap())
}

#[test]
fn neighbours_of_a_round_are_apart_in_the_next() {
    let is_dark = |probe: &Sent| v4(probe.to)[3] < 128;
    let (probes, _) =
        run(&mut survey("10.0.0.0/24"), |probe| (probe.port.is_none() && !is_dark(probe)).then(|| echo_reply(probe)));
    let order = |number| {
        let asked = probes.iter().filter(|probe| probe.port.is_none() && is_dark(probe));
        asked.filter(|probe| round(probe) == number).map(|probe| v4(probe.to)).collect::<Vec<_>>()
    };
    let rounds = [order(0), order(1), order(2)];
    assert!(rounds.iter().all(|order| order.len() == 128));
    for pair in rounds.windows(2) {
        let is_pair_still = |one: &[[u8; 4]]| pair[1].windows(2).any(|other| other[0] == one[0] && other[1] == one[1]);
        let still = pair[0].windows(2).filter(|one| is_pair_still(one)).count();
        assert!(still < 8, "{still} of 127 pairs");
    }
}

/// A host that is lost so often that two rounds before it find nobody.
#[test]
fn the_more_others_were_late_the_longer_it_goes_on() {
    for (late, found, rounds) in [([0, 0], 255, 3), ([20, 0], 255, 5), ([1, 0], 256, 6), ([20, 4], 256, 6)] {
        let mut survey = survey("10.0.0.0/24");
        // The first host is lost in the first rounds, so many in the first one, and of these so many in the second.
        let is_lost = |probe: &Sent| match u16::from(v4(probe.to)[3]) {
            0 => round(probe) < 5,
            host if host <= late[1] => round(probe) < 2,
            host => round(probe) < 1 && host <= late[0],
        };
        let (probes, _) =
            run(&mut survey, |probe| (probe.port.is_none() && !is_lost(probe)).then(|| echo_reply(probe)));
        let asked = probes.iter().filter(|probe| probe.port.is_none()).map(round).max().unwrap() + 1;
        assert_eq!((alive(survey), asked), (found, rounds), "{late:?} were late");
    }
}
