//! Resolving against a table that this file plays: longest prefix first, one table for each source it knows.

use super::*;
use crate::route::InterfaceAddress;
use crate::route::cells::Prefix;
use crate::route::kernel::Prefixes;
use crate::route::number::number;
use crate::wire::MacAddr;
use proptest::prelude::*;

/// A route: what it covers, what is said of it, and for whom.
#[derive(Clone)]
struct Route {
    prefix: Prefix,
    answer: Result<Answer, Refusal>,
    /// Only for questions from this source.
    from: Option<IpAddr>,
}

#[derive(Default)]
struct Table {
    routes: Vec<Route>,
    asked: Vec<Question>,
}

impl RoutingTable for Table {
    fn prefixes(&mut self, family: Family) -> Result<Prefixes, Error> {
        let all = self.routes.iter().map(|route| route.prefix).filter(|prefix| Family::of(prefix.address) == family);
        Ok(Prefixes { all: all.collect(), by_source: self.routes.iter().any(|route| route.from.is_some()) })
    }

    fn route(&mut self, question: Question) -> Result<Result<Answer, Refusal>, Error> {
        self.asked.push(question);
        let fits = |route: &&Route| {
            covers(route.prefix, question.destination)
                && (route.from.is_none() || route.from == question.source)
                && question.through.is_none_or(|index| route.answer.is_ok_and(|answer| answer.interface == index))
        };
        let best = self.routes.iter().filter(fits).max_by_key(|route| (route.from.is_some(), route.prefix.length));
        Ok(best.map_or(Err(Refusal::NoRoute), |route| route.answer))
    }
}

fn covers(prefix: Prefix, address: IpAddr) -> bool {
    let family = Family::of(address);
    let host = family.last().checked_shr(prefix.length.into()).unwrap_or(0);
    Family::of(prefix.address) == family && number(prefix.address) | host == number(address) | host
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix { address: ip(address), length: length.parse().unwrap() }
}

fn range(text: &str) -> AddressRange {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    AddressRange::new(ip(first), ip(last)).unwrap()
}

fn answer(delivery: Delivery, interface: u32, gateway: &str, source: &str) -> Answer {
    Answer { delivery, interface, gateway: gateway.parse().ok(), source: source.parse().ok(), assumed: false }
}

/// lo 1, eth0 2 (192.0.2.1/24), eth1 3 (198.51.100.1/24, 2001:db8::1/64), tun0 4, eth2 5 (down), eth3 6 (no cable).
fn interfaces() -> Vec<Interface> {
    let interface = |name: &str, index, kind, addresses: &[&str]| Interface {
        name: name.into(),
        index,
        mac: (kind == InterfaceKind::Ethernet).then_some(MacAddr([2, 0, 0, 0, 0, index as u8])),
        kind,
        up: name != "eth2",
        carrier: name != "eth2" && name != "eth3",
        mtu: 1500,
        addresses: addresses
            .iter()
            .map(|text| prefix(text))
            .map(|p| InterfaceAddress { address: p.address, prefix: p.length })
            .collect(),
    };
    vec![
        interface("lo", 1, InterfaceKind::Loopback, &["127.0.0.1/8", "::1/128"]),
        interface("eth0", 2, InterfaceKind::Ethernet, &["192.0.2.1/24"]),
        interface("eth1", 3, InterfaceKind::Ethernet, &["198.51.100.1/24", "2001:db8::1/64"]),
        interface("tun0", 4, InterfaceKind::Plain, &["10.9.0.1/24"]),
        interface("eth2", 5, InterfaceKind::Ethernet, &["203.0.113.1/24"]),
        interface("eth3", 6, InterfaceKind::Ethernet, &[]),
    ]
}

fn table() -> Table {
    use Delivery::{Broadcast, Local, Unicast};
    let route = |text, answer| Route { prefix: prefix(text), answer: Ok(answer), from: None };
    let refuse = |text, refusal| Route { prefix: prefix(text), answer: Err(refusal), from: None };
    let routes = vec![
        route("0.0.0.0/0", answer(Unicast, 2, "192.0.2.254", "192.0.2.1")),
        route("127.0.0.0/8", answer(Local, 1, "", "127.0.0.1")),
        route("127.255.255.255/32", answer(Broadcast, 1, "", "127.0.0.1")),
        route("192.0.2.0/24", answer(Unicast, 2, "", "192.0.2.1")),
        route("192.0.2.1/32", answer(Local, 1, "", "192.0.2.1")),
        route("192.0.2.255/32", answer(Broadcast, 2, "", "192.0.2.1")),
        route("198.51.100.0/24", answer(Unicast, 3, "", "198.51.100.1")),
        route("10.0.0.0/8", answer(Unicast, 3, "198.51.100.254", "198.51.100.1")),
        route("10.9.0.0/24", answer(Unicast, 4, "", "10.9.0.1")),
        route("10.8.0.0/16", answer(Unicast, 3, "fe80::1", "198.51.100.1")),
        route("203.0.113.0/24", answer(Unicast, 5, "", "203.0.113.1")),
        refuse("172.16.0.0/16", Refusal::Blackhole),
        refuse("172.17.0.0/16", Refusal::Prohibited),
        refuse("172.18.0.0/16", Refusal::Unreachable),
        route("2001:db8::/64", answer(Unicast, 3, "", "2001:db8::1")),
        route("2001:db8:1::/64", answer(Unicast, 2, "", "")),
        route("2001:db8:2::/64", answer(Unicast, 2, "fe80::1", "fe80::2")),
        route("fe80::/64", answer(Unicast, 3, "", "fe80::3")),
    ];
    Table { routes, asked: Vec::new() }
}

fn resolved(ranges: &[&str], overrides: &Overrides) -> Result<Routed, Error> {
    resolve(&mut table(), interfaces(), ranges.iter().map(|text| range(text)), overrides)
}

/// Each run as `first-last interface source next-hop`.
fn said(ranges: &[&str], overrides: &Overrides) -> Vec<String> {
    let routed = resolved(ranges, overrides).unwrap();
    let say = |&(range, id): &(AddressRange, EgressId)| {
        let egress = &routed.egresses[usize::from(id.0)];
        let hop = match egress.next_hop {
            NextHop::Gateway(gateway) => gateway.to_string(),
            other => format!("{other:?}"),
        };
        format!("{}-{} {} {} {hop}", range.first(), range.last(), egress.interface, egress.source)
    };
    routed.runs.iter().map(say).collect()
}

fn refused(target: &str, overrides: &Overrides) -> String {
    resolved(&[target], overrides).unwrap_err().to_string()
}

fn through(interface: &str) -> Overrides {
    Overrides { interface: Some(interface.into()), ..Overrides::default() }
}

fn from(sources: &[&str]) -> Overrides {
    Overrides { source: sources.iter().map(|text| ip(text)).collect(), ..Overrides::default() }
}

#[test]
fn every_kind_of_next_hop() {
    let none = Overrides::default();
    for (target, expected) in [
        ("1.1.1.1", "eth0 192.0.2.1 192.0.2.254"),
        ("192.0.2.9", "eth0 192.0.2.1 OnLink"),
        ("192.0.2.1", "lo 192.0.2.1 Direct"),
        ("127.0.0.9", "lo 127.0.0.1 Direct"),
        ("10.9.0.7", "tun0 10.9.0.1 Direct"),
        ("10.8.0.7", "eth1 198.51.100.1 fe80::1"),
        ("2001:db8::7", "eth1 2001:db8::1 OnLink"),
    ] {
        assert_eq!(said(&[target], &none), [format!("{target}-{target} {expected}")]);
    }
}

#[test]
fn broadcast_addresses_are_on_link_on_any_interface() {
    let none = Overrides::default();
    assert_eq!(said(&["192.0.2.250-192.0.2.255"], &none), ["192.0.2.250-192.0.2.255 eth0 192.0.2.1 OnLink"]);
    assert_eq!(said(&["127.255.255.255"], &none), ["127.255.255.255-127.255.255.255 lo 127.0.0.1 OnLink"]);
}

#[test]
fn runs_break_where_the_egress_changes_and_nowhere_else() {
    let lines = said(&["192.0.1.0-192.0.3.0", "192.0.3.1-192.0.3.9"], &Overrides::default());
    assert_eq!(
        lines,
        [
            "192.0.1.0-192.0.1.255 eth0 192.0.2.1 192.0.2.254",
            "192.0.2.0-192.0.2.0 eth0 192.0.2.1 OnLink",
            "192.0.2.1-192.0.2.1 lo 192.0.2.1 Direct",
            "192.0.2.2-192.0.2.255 eth0 192.0.2.1 OnLink",
            "192.0.3.0-192.0.3.9 eth0 192.0.2.1 192.0.2.254",
        ]
    );
}

#[test]
fn equal_egresses_are_one() {
    let routed = resolved(&["1.0.0.0", "1.0.0.2", "192.0.2.7", "192.0.2.9"], &Overrides::default()).unwrap();
    assert_eq!((routed.egresses.len(), routed.runs.len()), (2, 4));
}

#[test]
fn a_cell_is_asked_about_once() {
    let mut table = table();
    let ranges = (0..100).map(|i| range(&format!("192.0.2.{}", 2 * i + 2)));
    resolve(&mut table, interfaces(), ranges, &Overrides::default()).unwrap();
    assert_eq!(table.asked.len(), 1);
}

#[test]
fn routes_that_refuse_are_named() {
    let none = Overrides::default();
    assert!(
        refused("172.16.0.1", &none).starts_with("no route to 172.16.0.1: the kernel has a route of type blackhole")
    );
    assert!(refused("172.17.0.1", &none).contains("type prohibit"));
    assert!(refused("172.18.0.1", &none).contains("type unreachable"));
    assert!(refused("2001:db9::1", &none).contains("nor a default route"));
}

#[test]
fn the_first_address_without_a_route_is_named() {
    let error = refused("172.15.255.0-172.16.0.9", &Overrides::default());
    assert!(error.contains("172.16.0.0:"), "{error}");
}

#[test]
fn a_chosen_interface_must_be_there_be_up_and_have_a_route() {
    assert_eq!(
        refused("1.1.1.1", &through("eth9")),
        "no such interface: eth9; this machine has lo, eth0, eth1, tun0, eth2, eth3"
    );
    assert!(refused("1.1.1.1", &through("eth2")).starts_with("interface eth2 is down"));
    assert!(refused("1.1.1.1", &through("eth3")).starts_with("interface eth3 has no carrier"));
    assert!(refused("1.1.1.1", &through("eth1")).contains("(looked for through eth1 only)"));
    assert_eq!(said(&["10.9.0.7"], &through("eth1")), ["10.9.0.7-10.9.0.7 eth1 198.51.100.1 198.51.100.254"]);
}

#[test]
fn what_cannot_be_reached_is_told_with_its_reason_and_nothing_else() {
    let ranges = ["10.9.0.7", "203.0.113.8-203.0.113.9", "203.0.113.11", "2001:db8:ffff::1"].map(range);
    let lost = unreachable(&mut table(), interfaces(), ranges.into_iter(), &Overrides::default()).unwrap();
    let said: Vec<_> = lost.iter().map(|lost| (lost.error.to_string(), &lost.ranges[..])).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].0.starts_with("interface eth2 is down") && said[0].1 == &ranges[1..3], "{said:?}");
    assert!(said[1].0.starts_with("no route to 2001:db8:ffff::1: ") && said[1].1 == &ranges[3..], "{said:?}");
    let missing = unreachable(&mut table(), interfaces(), ranges.into_iter(), &through("eth9"));
    assert!(matches!(missing, Err(Error::NoSuchInterface { .. })));
}

#[test]
fn an_assumed_route_is_none() {
    let mut table = table();
    for route in &mut table.routes {
        route.answer = route.answer.map(|answer| Answer { assumed: true, ..answer });
    }
    let target = std::iter::once(range("198.51.100.9"));
    let error = resolve(&mut table, interfaces(), target, &through("eth1")).unwrap_err();
    assert!(matches!(error, Error::NoRoute { .. }), "{error}");
}

#[test]
fn a_routed_interface_that_is_down_is_an_error() {
    assert!(refused("203.0.113.9", &Overrides::default()).starts_with("interface eth2 is down"));
}

#[test]
fn a_chosen_source_must_be_ours() {
    assert!(refused("1.1.1.1", &from(&["192.0.2.77"])).starts_with("192.0.2.77 is not an address of this machine"));
    assert!(refused("1.1.1.1", &from(&["0.0.0.0"])).contains("not an address of this machine"));
    assert!(refused("1.1.1.1", &from(&["192.0.2.1", "198.51.100.1"])).contains("at most one IPv4"));
    assert_eq!(said(&["1.1.1.1"], &from(&["198.51.100.1"])), ["1.1.1.1-1.1.1.1 eth0 198.51.100.1 192.0.2.254"]);
    assert_eq!(said(&["127.0.0.9"], &from(&["127.0.0.3"])), ["127.0.0.9-127.0.0.9 lo 127.0.0.3 Direct"]);
}

#[test]
fn a_chosen_source_that_cannot_send_there_is_named() {
    let mut table = table();
    let from_loopback = Some(ip("127.0.0.1"));
    table.routes.push(Route { prefix: prefix("0.0.0.0/0"), answer: Err(Refusal::Blackhole), from: from_loopback });
    let mut said = |target| {
        let error = resolve(&mut table, interfaces(), std::iter::once(range(target)), &from(&["127.0.0.1"]));
        error.unwrap_err().to_string()
    };
    assert!(said("1.1.1.1").contains("cannot send from 127.0.0.1 to 1.1.1.1"), "{}", said("1.1.1.1"));
    assert!(said("172.16.0.1").contains("type blackhole"), "a blackhole for every source");
}

#[test]
fn a_chosen_source_is_for_its_family() {
    let sources = from(&["198.51.100.1", "2001:db8::1"]);
    assert_eq!(
        said(&["1.1.1.1", "2001:db8::7"], &sources),
        ["1.1.1.1-1.1.1.1 eth0 198.51.100.1 192.0.2.254", "2001:db8::7-2001:db8::7 eth1 2001:db8::1 OnLink"]
    );
}

#[test]
fn rules_by_source_hold_for_the_source_that_was_found() {
    let mut table = table();
    table.routes.push(Route {
        prefix: prefix("0.0.0.0/0"),
        answer: Ok(answer(Delivery::Unicast, 3, "198.51.100.254", "")),
        from: Some(ip("192.0.2.1")),
    });
    let routed = resolve(&mut table, interfaces(), std::iter::once(range("1.1.1.1")), &Overrides::default()).unwrap();
    assert_eq!(routed.egresses[0].source, ip("192.0.2.1"));
    assert_eq!(routed.egresses[0].next_hop, NextHop::Gateway(ip("198.51.100.254")));
}

#[test]
fn an_interface_without_a_usable_source_is_an_error() {
    let none = Overrides::default();
    assert!(refused("2001:db8:1::7", &none).starts_with("eth0 has no IPv6 address from which 2001:db8:1::7"));
    assert!(refused("2001:db8:2::7", &none).starts_with("eth0 has no IPv6 address"), "link-local behind a router");
}

#[test]
fn link_local_targets_need_an_interface() {
    assert!(refused("fe80::7", &Overrides::default()).contains("--interface"));
    assert_eq!(said(&["fe80::7"], &through("eth1")), ["fe80::7-fe80::7 eth1 fe80::3 OnLink"]);
}

#[test]
fn what_is_no_hosts_address() {
    assert!(refused("0.0.0.0", &Overrides::default()).contains("no host's address"));
    let mut table = table();
    table.routes[0].answer = Ok(answer(Delivery::Multicast, 2, "", "192.0.2.1"));
    let error = resolve(&mut table, interfaces(), std::iter::once(range("224.0.0.1")), &Overrides::default());
    assert!(error.unwrap_err().to_string().contains("group's address"));
}

proptest! {
    /// Whatever the table, every address leaves as the kernel says of that very address.
    #[test]
    fn runs_agree_with_the_table_address_by_address(
        routes in proptest::collection::vec((any::<[u8; 2]>(), 16u8..=32, 0u8..4), 1..12),
        ends in proptest::collection::vec(any::<[u16; 2]>(), 1..4),
    ) {
        let mut table = Table::default();
        let routed = |text, gateway: u8| Route {
            prefix: text,
            answer: Ok(answer(Delivery::Unicast, 2, &format!("192.0.2.{}", 100 + gateway), "192.0.2.1")),
            from: None,
        };
        table.routes.push(routed(prefix("0.0.0.0/0"), 99));
        for ([c, d], length, gateway) in routes {
            table.routes.push(routed(Prefix { address: [10, 0, c, d].into(), length }, gateway));
        }
        let mut edges: Vec<u32> = ends.iter().flatten().map(|&end| 0x0a00_0000 + u32::from(end)).collect();
        edges.sort_unstable();
        edges.dedup();
        let ranges: Vec<_> = edges.chunks_exact(2).map(|pair| AddressRange::new(Family::V4.address(pair[0].into()), Family::V4.address(pair[1].into())).unwrap()).collect();
        let result = resolve(&mut table, interfaces(), ranges.iter().copied(), &Overrides::default()).unwrap();

        let flat = |ranges: &mut dyn Iterator<Item = AddressRange>| -> Vec<IpAddr> {
            spans(ranges).into_iter().flat_map(Span::addresses).collect()
        };
        let mut of_runs = result.runs.iter().map(|(range, _)| *range);
        prop_assert_eq!(flat(&mut of_runs), flat(&mut ranges.into_iter()));
        for (range, id) in &result.runs {
            for span in spans(std::iter::once(*range)) {
                for destination in span.addresses().step_by(97).chain([range.first(), range.last()]) {
                    let truth = table.route(Question { destination, through: None, source: None }).unwrap().unwrap();
                    let hop = result.egresses[usize::from(id.0)].next_hop;
                    prop_assert_eq!(hop, NextHop::Gateway(truth.gateway.unwrap()), "{}", destination);
                }
            }
        }
        for pair in result.runs.windows(2) {
            let touching = number(pair[0].0.last()) + 1 == number(pair[1].0.first());
            prop_assert!(!(touching && pair[0].1 == pair[1].1), "runs are as long as they can be");
        }
    }
}
