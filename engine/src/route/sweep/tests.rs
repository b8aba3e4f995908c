//! Sweeps of networks that this file plays, in virtual time and from a seed.

use super::*;
use crate::route::InterfaceAddress;
use crate::wire::ndp;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const RATE: u32 = 10_000;

fn us6() -> Ipv6Addr {
    "fe80::1".parse().unwrap()
}

fn asker() -> Asker {
    Asker { mac: Some(OURS), v4: Some(US), v6: Some(us6()) }
}

fn range(text: &str) -> AddressRange {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    AddressRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap()
}

fn sweep(ranges: &[&str]) -> Sweep {
    Sweep::new(asker(), ranges.iter().map(|text| range(text)), RATE)
}

fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// A host's link address.
fn mac_of(address: IpAddr) -> MacAddr {
    let [a, b, c, d] = (number(address) as u32).to_be_bytes();
    MacAddr([2, 1, a, b, c, d])
}

/// Who is asked for in a request, and the frame that answers it.
fn asked_for(request: &[u8]) -> IpAddr {
    match Arp::parse(request) {
        Ok(arp) => arp.target_ip.into(),
        Err(_) => Solicitation::parse(request).unwrap().target.into(),
    }
}

fn answer_to(request: &[u8], mac: MacAddr) -> Vec<u8> {
    match Arp::parse(request) {
        Ok(arp) => reply(arp.target_ip, mac, arp.sender_ip),
        Err(_) => Solicitation::parse(request).unwrap().answer(mac),
    }
}

fn reply(address: Ipv4Addr, mac: MacAddr, to: Ipv4Addr) -> Vec<u8> {
    let reply = Arp {
        ethernet_destination: OURS,
        ethernet_source: mac,
        operation: Operation::Reply,
        sender_mac: mac,
        sender_ip: address,
        target_mac: OURS,
        target_ip: to,
    };
    reply.emit().to_vec()
}

/// What the network does to one request: answers, each after a delay.
type Behaviour<'a> = dyn FnMut(IpAddr, &[u8]) -> Vec<(Duration, Vec<u8>)> + 'a;

/// A link between the sweep and a behaviour; time moves from event to event.
struct Network {
    now: Time,
    on_the_way: BTreeMap<(Time, u64), Vec<u8>>,
    sent: Vec<(Time, IpAddr)>,
}

impl Network {
    fn new() -> Network {
        Network { now: Time(1_000_000), on_the_way: BTreeMap::new(), sent: Vec::new() }
    }

    /// Runs a sweep to its end; tells how long it took.
    fn run(&mut self, sweep: &mut Sweep, behaviour: &mut Behaviour) -> Duration {
        let begin = self.now;
        loop {
            let now = self.now;
            let mut requests = Vec::new();
            let step = sweep.poll(now, &mut |frame| {
                requests.push(frame.to_vec());
                true
            });
            for request in requests {
                let target = asked_for(&request);
                self.sent.push((now, target));
                for (delay, frame) in behaviour(target, &request) {
                    self.on_the_way.insert((now + delay, self.on_the_way.len() as u64 + (now.0 << 8)), frame);
                }
            }
            let Step::Until(until) = step else { return now.since(begin) };
            assert!(until > now, "poll must move time");
            self.now = until;
            if let Some((&key, _)) = self.on_the_way.iter().next()
                && key.0 <= until
            {
                self.now = key.0.max(now);
                sweep.frame(self.now, &self.on_the_way.remove(&key).unwrap());
            }
        }
    }

    fn requests_for(&self, address: &str) -> usize {
        let address: IpAddr = address.parse().unwrap();
        self.sent.iter().filter(|(_, target)| *target == address).count()
    }
}

/// A generator good enough to lose packets with (Knuth's MMIX multiplier).
struct Dice(u64);

impl Dice {
    fn percent(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % 100
    }
}

#[test]
fn everybody_answers_at_once_and_the_sweep_ends_early() {
    let mut sweep = sweep(&["10.0.0.2-10.0.0.254", "2001:db8::1-2001:db8::ff"]);
    let took = Network::new().run(&mut sweep, &mut |target, request| vec![(ms(1), answer_to(request, mac_of(target)))]);
    assert_eq!(sweep.heard(), Heard { answers: 253 + 255, ..Heard::default() });
    assert_eq!(sweep.requests(), 253 + 255);
    // 508 requests at 10 000 a second, 1 ms for the last answer.
    assert!(took < ms(53), "{took:?}");
    let found = sweep.into_neighbours();
    let one: IpAddr = "2001:db8::7".parse().unwrap();
    assert_eq!(found.lookup(one), Some(mac_of(one)));
    assert_eq!(found.silent().count(), 0);
}

#[test]
fn the_silent_are_asked_three_times_and_the_others_once() {
    let mut sweep = sweep(&["10.0.0.2-10.0.0.9"]);
    let mut network = Network::new();
    let took = network.run(&mut sweep, &mut |target, request| match target.to_string().as_str() {
        "10.0.0.5" => vec![],
        _ => vec![(ms(1), answer_to(request, mac_of(target)))],
    });
    assert_eq!(network.requests_for("10.0.0.5"), 3);
    assert_eq!(network.requests_for("10.0.0.4"), 1);
    assert_eq!(sweep.neighbours().silent().collect::<Vec<_>>(), [IpAddr::from([10, 0, 0, 5])]);
    assert!(took > ms(900) && took < ms(905), "{took:?}");
}

#[test]
fn a_silent_gateway_costs_less_than_a_second() {
    let mut sweep = sweep(&["10.0.0.254"]);
    let took = Network::new().run(&mut sweep, &mut |_, _| vec![]);
    assert_eq!(took, ms(900));
    assert!(sweep.into_neighbours().is_empty());
}

#[test]
fn a_gateway_of_the_other_family_is_found() {
    let mut sweep = sweep(&["fe80::254"]);
    Network::new().run(&mut sweep, &mut |target, request| vec![(ms(3), answer_to(request, mac_of(target)))]);
    assert_eq!(sweep.requests(), 1);
    assert!(sweep.neighbours().lookup("fe80::254".parse().unwrap()).is_some());
}

#[test]
fn losses_are_made_up_for() {
    for seed in 0..50 {
        let mut dice = Dice(seed);
        let mut sweep = sweep(&["10.0.4.0-10.0.4.255", "2001:db8::-2001:db8::ff"]);
        Network::new().run(&mut sweep, &mut |target, request| {
            let lost = dice.percent() < 10 || dice.percent() < 10;
            let delay = ms(dice.percent());
            if lost { vec![] } else { vec![(delay, answer_to(request, mac_of(target)))] }
        });
        // 19 % of exchanges fail: three in a row 0.7 %, of 512 addresses 3.5 in the mean.
        let found = sweep.into_neighbours();
        assert!(found.silent().count() <= 14, "seed {seed}: {}", found.silent().count());
        assert!(found.len() + found.silent().count() == 512);
    }
}

#[test]
fn the_same_seed_is_the_same_sweep() {
    let run = || {
        let (mut dice, mut network) = (Dice(7), Network::new());
        let mut sweep = sweep(&["10.0.4.0-10.0.4.255"]);
        network.run(&mut sweep, &mut |target, request| match dice.percent() {
            0..50 => vec![],
            delay => vec![(ms(delay), answer_to(request, mac_of(target)))],
        });
        (network.sent, sweep.heard())
    };
    assert_eq!(run(), run());
}

#[test]
fn late_answers_count_while_the_sweep_runs() {
    // 450 ms: within the third pass's silence for the last request, long after the second pass began for the first.
    let mut sweep = sweep(&["10.0.0.2-10.0.0.9"]);
    Network::new().run(&mut sweep, &mut |target, request| vec![(ms(450), answer_to(request, mac_of(target)))]);
    assert_eq!(sweep.heard().answers, 8);
    assert_eq!(sweep.neighbours().silent().count(), 0);
}

#[test]
fn a_trickle_of_answers_does_not_hold_a_pass_for_ever() {
    // One answer each 100 ms would reset the silence again and again.
    let mut sweep = sweep(&["10.0.0.2-10.0.0.250"]);
    let mut order = 0;
    let took = Network::new().run(&mut sweep, &mut |target, request| {
        order += 1;
        vec![(ms(100 * order), answer_to(request, mac_of(target)))]
    });
    assert!(took <= ms(3 * 1000 + 3 * 25), "{took:?}");
}

#[test]
fn duplicates_and_conflicts_change_nothing() {
    let mut sweep = sweep(&["10.0.0.2-10.0.0.3"]);
    let liar = MacAddr([2, 9, 9, 9, 9, 9]);
    Network::new().run(&mut sweep, &mut |target, request| match target.to_string().as_str() {
        "10.0.0.2" => {
            let (truth, lie) = (answer_to(request, mac_of(target)), answer_to(request, liar));
            vec![(ms(1), truth.clone()), (ms(2), truth), (ms(3), lie)]
        }
        _ => vec![],
    });
    let target = IpAddr::from([10, 0, 0, 2]);
    assert_eq!(sweep.neighbours().lookup(target), Some(mac_of(target)));
    assert_eq!(sweep.heard(), Heard { answers: 1, duplicates: 1, conflicts: 1, ..Heard::default() });
}

#[test]
fn only_who_was_asked_may_answer() {
    let mut sweep = sweep(&["10.0.0.2-10.0.0.3", "10.0.0.10-10.0.0.11"]);
    let now = Time(5_000_000_000);
    // One request leaves, for 10.0.0.2; then the link has no room.
    let mut room = 1;
    sweep.poll(now, &mut |_| {
        room -= 1;
        room >= 0
    });
    assert_eq!(sweep.requests(), 1);
    let say = |sweep: &mut Sweep, address: [u8; 4], to: Ipv4Addr| {
        sweep.frame(now, &reply(address.into(), mac_of(address.into()), to));
        sweep.heard()
    };
    assert_eq!(say(&mut sweep, [10, 0, 0, 3], US).unasked, 1, "not asked yet");
    assert_eq!(say(&mut sweep, [10, 0, 0, 10], US).unasked, 2, "not asked yet, in another range");
    assert_eq!(say(&mut sweep, [10, 0, 0, 5], US).unasked, 3, "never asked");
    assert_eq!(say(&mut sweep, [10, 0, 0, 2], [10, 0, 0, 99].into()).unasked, 4, "told to somebody else");
    assert_eq!(say(&mut sweep, [10, 0, 0, 2], US), Heard { answers: 1, unasked: 4, ..Heard::default() });
}

#[test]
fn forged_and_other_frames_are_counted_by_kind() {
    let mut sweep = sweep(&["10.0.0.2", "2001:db8::2"]);
    let now = Time(5_000_000_000);
    sweep.poll(now, &mut |_| true);
    let address = Ipv4Addr::new(10, 0, 0, 2);
    sweep.frame(now, &reply(address, MacAddr::BROADCAST, US));
    sweep.frame(now, &reply(address, MacAddr::ZERO, US));
    let asked = Solicitation { source_mac: OURS, source: us6(), target: "2001:db8::2".parse().unwrap() };
    let mut routed = asked.answer(mac_of(address.into()));
    routed[21] = 254;
    ndp::testing::seal(&mut routed);
    sweep.frame(now, &routed);
    assert_eq!(sweep.heard(), Heard { invalid: 3, ..Heard::default() });
    sweep.frame(now, &Arp::request(mac_of(address.into()), address, US).emit());
    sweep.frame(now, &asked.emit());
    sweep.frame(now, &[0x45; 60]);
    assert_eq!(sweep.heard(), Heard { invalid: 3, other: 3, ..Heard::default() });
    assert!(sweep.neighbours().is_empty());
}

#[test]
fn requests_keep_to_the_rate() {
    let mut sweep = Sweep::new(asker(), std::iter::once(range("10.0.0.0-10.0.3.255")), 1000);
    let mut network = Network::new();
    network.run(&mut sweep, &mut |target, request| vec![(ms(1), answer_to(request, mac_of(target)))]);
    let (first, last) = (network.sent[0].0, network.sent[1023].0);
    assert!(last.since(first) >= ms(1023 - 10), "{:?}", last.since(first));
}

#[test]
fn after_a_stall_there_is_no_burst() {
    let mut sweep = Sweep::new(asker(), std::iter::once(range("10.0.0.0-10.0.255.255")), 1000);
    let mut sent = 0;
    let mut poll = |sweep: &mut Sweep, now| {
        sent = 0;
        let step = sweep.poll(now, &mut |_| {
            sent += 1;
            true
        });
        (sent, step)
    };
    poll(&mut sweep, Time(1_000_000_000));
    let (sent, step) = poll(&mut sweep, Time(9_000_000_000));
    assert_eq!((sent, step), (11, Step::Until(Time(9_001_000_000))));
}

#[test]
fn a_full_link_is_tried_again_without_loss() {
    let mut sweep = sweep(&["10.0.0.2-10.0.0.3"]);
    let now = Time(1_000_000_000);
    assert_eq!(sweep.poll(now, &mut |_| false), Step::Until(now + ms(1)));
    assert_eq!(sweep.requests(), 0);
    let mut asked = Vec::new();
    sweep.poll(now + ms(1), &mut |frame| {
        asked.push(asked_for(frame));
        true
    });
    assert_eq!(asked, [IpAddr::from([10, 0, 0, 2]), IpAddr::from([10, 0, 0, 3])]);
}

#[test]
fn who_cannot_be_asked_is_silent() {
    let ranges = || [range("10.0.0.2"), range("2001:db8::2")].into_iter();
    let nobody = Asker { mac: None, ..asker() };
    let mut sweep = Sweep::new(nobody, ranges(), RATE);
    assert_eq!(sweep.poll(Time::ZERO, &mut |_| panic!("nothing can be sent")), Step::Done);
    assert_eq!(sweep.into_neighbours().silent().count(), 2);

    let mut only_v6 = Sweep::new(Asker { v4: None, ..asker() }, ranges(), RATE);
    Network::new().run(&mut only_v6, &mut |target, request| vec![(ms(1), answer_to(request, mac_of(target)))]);
    assert_eq!(only_v6.neighbours().silent().collect::<Vec<_>>(), [IpAddr::from([10, 0, 0, 2])]);
}

#[test]
fn an_empty_sweep_is_done() {
    assert_eq!(sweep(&[]).poll(Time::ZERO, &mut |_| true), Step::Done);
}

#[test]
fn the_ends_of_both_families_can_be_asked_for() {
    let mut sweep = sweep(&[
        "255.255.255.254-255.255.255.255",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ]);
    let mut network = Network::new();
    network.run(&mut sweep, &mut |_, _| vec![]);
    assert_eq!(network.sent.len(), 12);
}

#[test]
fn an_interface_asks_from_the_source_if_it_may() {
    let own = |text: &str, prefix| InterfaceAddress { address: text.parse().unwrap(), prefix };
    let interface = Interface {
        name: "eth0".into(),
        index: 2,
        mac: Some(OURS),
        kind: InterfaceKind::Ethernet,
        up: true,
        carrier: true,
        mtu: 1500,
        addresses: vec![own("10.0.0.1", 24), own("2001:db8::1", 64), own("fe80::1", 64)],
    };
    assert_eq!(Asker::on(&interface, &[]), asker());
    // An IPv4 source of another interface is what the probes will come from, too; an IPv6 one is not asked from.
    let sources = ["192.0.2.7".parse().unwrap(), "2001:db8:9::9".parse().unwrap()];
    let elsewhere = Asker { v4: Some([192, 0, 2, 7].into()), ..asker() };
    assert_eq!(Asker::on(&interface, &sources), elsewhere);
    assert_eq!(Asker::on(&interface, &["2001:db8::1".parse().unwrap()]).v6, Some("2001:db8::1".parse().unwrap()));
    let tun = Interface { kind: InterfaceKind::Plain, ..interface };
    assert_eq!(Asker::on(&tun, &[]).mac, None);
}

proptest! {
    #[test]
    fn no_frame_panics(octets in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut sweep = sweep(&["10.0.0.0-10.0.0.255"]);
        sweep.poll(Time(1), &mut |_| true);
        sweep.frame(Time(2), &octets);
        prop_assert_eq!(sweep.heard().answers, 0);
    }

    /// Every address is asked for, in each pass, until it answers; and what was found is what answered.
    #[test]
    fn every_address_is_asked_for(here in proptest::collection::vec(any::<bool>(), 1..300)) {
        let last = IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + here.len() as u32 - 1));
        let ranges = std::iter::once(AddressRange::new([10, 0, 0, 0].into(), last).unwrap());
        let mut sweep = Sweep::new(asker(), ranges, RATE);
        let is_here = |address: IpAddr| here[(number(address) - 0x0a00_0000) as usize];
        let mut asked = HashMap::new();
        Network::new().run(&mut sweep, &mut |target, request| {
            *asked.entry(target).or_insert(0) += 1;
            if is_here(target) { vec![(ms(1), answer_to(request, mac_of(target)))] } else { vec![] }
        });
        prop_assert_eq!(asked.len(), here.len());
        for (address, times) in asked {
            prop_assert_eq!(times, if is_here(address) { 1 } else { 3 });
            prop_assert_eq!(sweep.neighbours().lookup(address).is_some(), is_here(address));
        }
    }
}
