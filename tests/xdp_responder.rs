//! Hosts that answer in the kernel: every answer is a sound packet that acknowledges its probe, and a real scan finds
//! exactly those that answer. Needs root: what an ordinary user's namespace offers is no XDP.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TcpOptionElement, TcpSlice, TransportSlice};
use halfopen::{LinkKind, Pps, Rate, Reason, Scan, State, Target};
use halfopen_bpf::action;
use halfopen_lab::{
    Answering, Expected, Namespace, XdpResponder, lab_test, plan, scan, skip_without_root, xdp_phantoms,
};

fn responder(lab: &Namespace, answering: Answering) -> XdpResponder {
    xdp_phantoms(lab, answering).unwrap_or_else(|error| {
        skip_without_root(&format!("no XDP: {error}"));
        unreachable!("a lab test that is skipped has ended")
    })
}

/// A SYN as they come: with these options, to a target, with a number.
fn syn(options: &[TcpOptionElement], target: (Ipv4Addr, u16), seq: u32) -> Vec<u8> {
    let step = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 100], [2, 0, 0, 0, 0, 1])
        .ipv4([10, 99, 0, 100], target.0.octets(), 255)
        .tcp(40_000, target.1, seq, 1024)
        .syn()
        .options(options)
        .unwrap();
    let mut frame = Vec::new();
    step.write(&mut frame, &[]).unwrap();
    frame
}

/// Reads an answer: its TCP header, after both checksums, addresses and link addresses were found right.
fn check<'a>(answer: &'a [u8], target: (Ipv4Addr, u16), seq: u32) -> TcpSlice<'a> {
    assert_eq!(answer[..12], [2, 0, 0, 0, 0, 100, 2, 0, 0, 0, 0, 1]);
    let sliced = SlicedPacket::from_ethernet(answer).unwrap();
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) = (sliced.net, sliced.transport) else {
        panic!("{answer:02x?}");
    };
    let header = ip.header();
    assert_eq!(header.to_header().calc_header_checksum(), header.header_checksum());
    assert_eq!((header.source_addr(), header.destination_addr()), (target.0, Ipv4Addr::new(10, 99, 0, 100)));
    assert_eq!((tcp.source_port(), tcp.destination_port()), (target.1, 40_000));
    assert!(tcp.ack() && tcp.acknowledgment_number() == seq.wrapping_add(1), "{seq}: {tcp:?}");
    let sum = tcp.calc_checksum_ipv4(header.source(), header.destination()).unwrap();
    // One's complement has two zeros (RFC 1624 section 3).
    assert_eq!(sum % 0xffff, tcp.checksum() % 0xffff, "{seq}");
    tcp
}

/// The shapes of SYN that scanners and stacks send.
fn shapes() -> [Vec<TcpOptionElement>; 3] {
    use TcpOptionElement::{
        MaximumSegmentSize as Mss, Noop, SelectiveAcknowledgementPermitted, Timestamp, WindowScale,
    };
    let linux = vec![Mss(1460), SelectiveAcknowledgementPermitted, Timestamp(77, 0), Noop, WindowScale(7)];
    [vec![], vec![Mss(1460)], linux]
}

lab_test!(answers_are_sound_and_acknowledge, |lab| {
    let responder = responder(lab, Answering::Every);
    let numbers = (0..500_u32).map(|i| i.wrapping_mul(0x0193_70b1)).chain([u32::MAX, u32::MAX - 1, 0xffff, 0xfffe]);
    let mut expected = [0, 0];
    for (i, seq) in numbers.enumerate() {
        for options in shapes() {
            let target = (Ipv4Addr::from_bits(0x0a00_0000 + i as u32), 80);
            let outcome = responder.program().run(&syn(&options, target, seq)).unwrap();
            assert_eq!(outcome.result, action::REDIRECT as u32);
            let tcp = check(&outcome.frame, target, seq);
            let address = target.0.into();
            let open = Answering::Every.answer(Target { address, port: 80 }) == Some(State::Open);
            assert_eq!((tcp.syn(), tcp.rst()), (open, !open), "{target:?}");
            expected[usize::from(!open)] += 1;
        }
    }
    let tally = responder.tally();
    assert_eq!([tally.syn_acks, tally.rsts_sent], expected);
    assert!(expected.iter().all(|&count| count > 0), "{expected:?}");
});

// The answer's sums were made by hand, from scratch; the number wraps.
lab_test!(a_golden_frame_and_its_answer, |lab| {
    let responder = responder(lab, Answering::Every);
    let outcome = responder.program().run(&hex(PROBE)).unwrap();
    assert_eq!(outcome.frame, hex(ANSWER), "{:02x?}", outcome.frame);
});

const PROBE: &str = "020000000001 020000000064 0800 4500002c d4310000 ff06 d2d2 0a630064 0a000001 \
                     9c40 0050 ffffffff 00000000 6002 0400 e2ce 0000 020405b4";
const ANSWER: &str = "020000000064 020000000001 0800 4500002c d4310000 ff06 d2d2 0a000001 0a630064 \
                      0050 9c40 00000000 00000000 6014 0400 e2bc 0000 020405b4";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

lab_test!(what_is_no_syn_is_dropped_and_counted, |lab| {
    let responder = responder(lab, Answering::Every);
    let probe = syn(&[], (Ipv4Addr::new(10, 0, 0, 1), 80), 7);
    let with = |at: usize, value: u8| {
        let mut frame = probe.clone();
        frame[at] = value;
        frame
    };
    let (reset, ack, ipv6, udp, fragment) = (with(47, 4), with(47, 16), with(12, 0x86), with(23, 17), with(20, 0x20));
    let frames = [&reset, &ack, &ipv6, &udp, &fragment, &probe[..53].to_vec()];
    for frame in frames {
        assert_eq!(responder.program().run(frame).unwrap().result, action::DROP as u32, "{frame:02x?}");
    }
    let tally = responder.tally();
    assert_eq!((tally.syns, tally.rsts, tally.other), (0, 1, 5), "{tally:?}");
});

fn expected(answering: Answering) -> BTreeMap<Target, Expected> {
    let targets = (0..1 << 14).map(|i| Target { address: Ipv4Addr::from_bits(0x0a00_0000 + i).into(), port: 80 });
    let expected = |target| match answering.answer(target) {
        None => Expected::SILENCE,
        Some(State::Open) => Expected::of(State::Open, Reason::SynAck),
        Some(_) => Expected::of(State::Closed, Reason::Rst),
    };
    targets.map(|target| (target, expected(target))).collect()
}

/// Slow enough that nothing is lost on a busy machine either.
const RATE: Rate = Rate::Fixed(Pps(50_000));

fn scan_finds_exactly_those(lab: &Namespace, answering: Answering) {
    let responder = responder(lab, answering);
    let builder = Scan::builder(plan("10.0.0.0/18", "80")).seed(1).rate(RATE).link(LinkKind::AfPacket);
    let found = scan(builder);
    found.assert_is(&expected(answering));
    assert_eq!(found.summary.strays.total(), 0, "{:?}", found.summary.strays);
    let tally = responder.tally();
    assert_eq!(tally.syns, found.summary.syns());
    let canaries = found.summary.completeness.map_or(0, |completeness| completeness.canaries);
    let open = found.summary.open..=found.summary.open + canaries;
    assert!(open.contains(&tally.syn_acks), "{tally:?}");
    let (rate, sent) = (tally.rate().expect("it was long enough"), tally.timed as f64);
    assert!(tally.syns - tally.timed <= 64 && rate < 100_000.0 && sent > 16_000.0, "{tally:?}");
}

lab_test!(a_scan_finds_all_silent, |lab| scan_finds_exactly_those(lab, Answering::Silent));
lab_test!(a_scan_finds_the_percent_that_answers, |lab| scan_finds_exactly_those(lab, Answering::Percent));
lab_test!(a_scan_finds_all_that_answer, |lab| scan_finds_exactly_those(lab, Answering::Every));

#[test]
fn one_in_a_hundred_is_open() {
    let open = |target: &Target| Answering::Percent.answer(*target) == Some(State::Open);
    let count = |targets: &mut dyn Iterator<Item = Target>| targets.filter(open).count();
    let hosts = &mut (0..1 << 20).map(|i| Target { address: Ipv4Addr::from_bits(0x0a00_0000 + i).into(), port: 80 });
    let ports = &mut (0..=u16::MAX).map(|port| Target { address: [10, 0, 0, 1].into(), port });
    let (hosts, ports) = (count(hosts), count(ports));
    assert!((9_900..11_100).contains(&hosts) && (550..760).contains(&ports), "{hosts} {ports}");
}
