//! The kernel's answers in our words: its links, its routing decisions, the prefixes in its tables and rules, its
//! neighbours (rtnetlink(7), linux/rtnetlink.h). How a conversation goes is `netlink`'s business; what follows from
//! the answers is `resolve`'s.
//!
//! Headers are read by netlink-packet-route. Of the attributes only those named here are looked at, so that a newer
//! kernel with attributes of other shapes is no reason to fail.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use netlink_packet_core::{Emitable, NlasIterator};
use netlink_packet_route::link::{LinkFlags, LinkHeader, LinkLayerType, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourHeader, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::rule::{RuleHeader, RuleMessage};
use netlink_packet_route::{AddressFamily, IpProtocol, RouteNetlinkMessage};

use super::cells::Prefix;
use super::interface::InterfaceKind;
use super::netlink::{self, Failure, Netlink};
use super::number::Family;
use crate::error::Error;
use crate::wire::MacAddr;

/// Attribute numbers (linux/if_link.h, linux/rtnetlink.h, linux/neighbour.h, linux/fib_rules.h).
mod attribute {
    pub(super) const IFLA_ADDRESS: u16 = 1;
    pub(super) const IFLA_IFNAME: u16 = 3;
    pub(super) const IFLA_MTU: u16 = 4;
    pub(super) const IFLA_LINK: u16 = 5;
    pub(super) const IFLA_MASTER: u16 = 10;
    pub(super) const IFLA_STATS64: u16 = 23;
    pub(super) const IFLA_LINK_NETNSID: u16 = 37;
    pub(super) const IFLA_XDP: u16 = 43;
    pub(super) const IFLA_XDP_PROG_ID: u16 = 4;
    pub(super) const RTA_DST: u16 = 1;
    pub(super) const RTA_OIF: u16 = 4;
    pub(super) const RTA_GATEWAY: u16 = 5;
    pub(super) const RTA_PREFSRC: u16 = 7;
    pub(super) const RTA_MULTIPATH: u16 = 9;
    pub(super) const RTA_TABLE: u16 = 15;
    pub(super) const RTA_VIA: u16 = 18;
    pub(super) const NDA_DST: u16 = 1;
    pub(super) const NDA_LLADDR: u16 = 2;
    pub(super) const FRA_DST: u16 = 1;
}

/// A link: an interface without its addresses.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) mac: Option<MacAddr>,
    pub(super) kind: InterfaceKind,
    pub(super) up: bool,
    pub(super) carrier: bool,
    pub(super) mtu: u32,
    pub(super) losses: DeviceLosses,
    /// The interface under it, as a VLAN's or macvlan's.
    pub(super) lower: Option<u32>,
    /// The interface that it is a member of, a bond or bridge.
    pub(super) master: Option<u32>,
    /// The XDP program on it; the first of several, where they are in different modes.
    pub(super) xdp_program: Option<u32>,
}

/// What a device says it lost since it came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DeviceLosses {
    /// Received and not passed on: dropped, or missed for want of a buffer.
    pub(crate) rx: u64,
    /// Not sent: dropped, or failed with an error.
    pub(crate) tx: u64,
}

impl DeviceLosses {
    /// What came since. A device that was reset in between counts from zero again, and has nothing to say.
    pub(crate) fn since(self, before: DeviceLosses) -> DeviceLosses {
        DeviceLosses { rx: self.rx.saturating_sub(before.rx), tx: self.tx.saturating_sub(before.tx) }
    }
}

/// A question to the routing tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) destination: IpAddr,
    /// Only through the interface of this index.
    pub(super) through: Option<u32>,
    /// From this address of ours.
    pub(super) source: Option<IpAddr>,
}

/// How the kernel would send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) delivery: Delivery,
    /// The interface's index.
    pub(super) interface: u32,
    pub(super) gateway: Option<IpAddr>,
    /// The address it would send from, where the question left that open and there is one.
    pub(super) source: Option<IpAddr>,
    /// No route said so: the question named an interface, and IPv4 then takes every destination to be on its link.
    pub(super) assumed: bool,
}

/// To whom a packet would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// To one host elsewhere.
    Unicast,
    /// To this machine.
    Local,
    /// To all hosts of a link.
    Broadcast,
    /// To a group.
    Multicast,
}

/// Why the kernel would not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No table has a route.
    NoRoute,
    /// A route of type unreachable.
    Unreachable,
    /// A route of type prohibit.
    Prohibited,
    /// A route of type blackhole.
    Blackhole,
    /// Another errno.
    Other(i32),
}

/// What is needed to cut a family into cells.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    /// Destinations of all routes of all tables, and of the rules.
    pub(super) all: Vec<Prefix>,
    /// Some rule chooses by source address.
    pub(super) by_source: bool,
}

/// All that `resolve` asks, so that its tests can answer in the kernel's stead.
pub(super) trait RoutingTable {
    fn prefixes(&mut self, family: Family) -> Result<Prefixes, Error>;
    fn route(&mut self, question: Question) -> Result<Result<Answer, Refusal>, Error>;
}

/// The running kernel.
pub(super) struct Kernel(Netlink);

impl Kernel {
    pub(super) fn open() -> Result<Kernel, Error> {
        Netlink::open().map(Kernel).map_err(|source| system("open a netlink socket", source))
    }
}

impl RoutingTable for Kernel {
    fn prefixes(&mut self, family: Family) -> Result<Prefixes, Error> {
        let mut all = routes(family)?;
        let rules = rules(family)?;
        all.extend(rules.iter().filter_map(|rule| rule.destination));
        Ok(Prefixes { all, by_source: rules.iter().any(|rule| rule.by_source) })
    }

    fn route(&mut self, question: Question) -> Result<Result<Answer, Refusal>, Error> {
        match self.0.ask(RouteNetlinkMessage::GetRoute(question.message()), read_answer) {
            Ok(answer) => Ok(answer),
            Err(Failure::Refused(errno)) => Ok(Err(Refusal::from_errno(errno))),
            Err(Failure::Broken(source)) => {
                Err(system(format!("ask the kernel for the route to {}", question.destination), source))
            }
        }
    }
}

/// Lists all links.
pub(super) fn links() -> Result<Vec<Link>, Error> {
    let question = RouteNetlinkMessage::GetLink(LinkMessage::default());
    netlink::dump(&question, |payload, list| list.extend(read_link(payload)))
        .map_err(|failure| system("list the network interfaces", failure.into_io()))
}

/// The kernel's neighbours on one interface whose link address it believes.
pub(super) fn neighbours(interface: u32, family: Family) -> Result<HashMap<IpAddr, MacAddr>, Error> {
    let mut question = NeighbourMessage::default();
    question.header.family = family.into();
    question.header.ifindex = interface;
    let list = netlink::dump(&RouteNetlinkMessage::GetNeighbour(question), |payload, list| {
        list.extend(read_neighbour(payload, interface));
    });
    Ok(list.map_err(|failure| system("list the kernel's neighbours", failure.into_io()))?.into_iter().collect())
}

/// Destinations of the routes of all tables.
fn routes(family: Family) -> Result<Vec<Prefix>, Error> {
    let mut question = RouteMessage::default();
    question.header.address_family = family.into();
    netlink::dump(&RouteNetlinkMessage::GetRoute(question), |payload, list| list.extend(read_route(payload, family)))
        .map_err(|failure| system(format!("list the {} routes", family.name()), failure.into_io()))
}

/// The interfaces that default routes lead out of, in all tables.
pub(super) fn default_interfaces(family: Family) -> Result<Vec<u32>, Error> {
    let mut question = RouteMessage::default();
    question.header.address_family = family.into();
    netlink::dump(&RouteNetlinkMessage::GetRoute(question), |payload, list| {
        list.extend(read_default(payload, family).into_iter().flatten());
    })
    .map_err(|failure| system(format!("list the {} routes", family.name()), failure.into_io()))
}

/// The policy rules; none where the kernel knows no rules.
fn rules(family: Family) -> Result<Vec<Rule>, Error> {
    let mut question = RuleMessage::default();
    question.header.family = family.into();
    match netlink::dump(&RouteNetlinkMessage::GetRule(question), |payload, list| {
        list.extend(read_rule(payload, family));
    }) {
        Err(Failure::Refused(libc::EOPNOTSUPP | libc::EAFNOSUPPORT)) => Ok(Vec::new()),
        rules => rules.map_err(|failure| system(format!("list the {} rules", family.name()), failure.into_io())),
    }
}

/// What of a policy rule matters here.
struct Rule {
    destination: Option<Prefix>,
    by_source: bool,
}

impl Question {
    /// As RTM_GETROUTE: for TCP, so that rules by protocol hold; ports are left out, so that rules by port do not.
    /// The table is asked for, because only it tells a route from an assumption.
    fn message(&self) -> RouteMessage {
        let family = Family::of(self.destination);
        let mut message = RouteMessage::default();
        message.header.address_family = family.into();
        message.header.destination_prefix_length = family.bits() as u8;
        message.header.flags = RouteFlags::LookupTable;
        message.attributes.push(RouteAttribute::Destination(self.destination.into()));
        message.attributes.push(RouteAttribute::IpProto(IpProtocol::Tcp.into()));
        if let Some(source) = self.source {
            message.header.source_prefix_length = family.bits() as u8;
            message.attributes.push(RouteAttribute::Source(source.into()));
        }
        message.attributes.extend(self.through.map(RouteAttribute::Oif));
        message
    }
}

impl Refusal {
    /// The errno of each route type (net/ipv4/fib_semantics.c `fib_props`; net/ipv6/route.c `ip6_rt_type_to_error`).
    fn from_errno(errno: i32) -> Refusal {
        match errno {
            libc::ENETUNREACH => Refusal::NoRoute,
            libc::EHOSTUNREACH => Refusal::Unreachable,
            libc::EACCES => Refusal::Prohibited,
            libc::EINVAL => Refusal::Blackhole,
            other => Refusal::Other(other),
        }
    }
}

impl From<Family> for AddressFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        }
    }
}

fn read_link(payload: &[u8]) -> Option<Link> {
    let header = LinkHeader::parse(payload).ok()?;
    let mut link = Link {
        name: String::new(),
        index: header.index,
        mac: None,
        kind: kind(&header),
        up: header.flags.contains(LinkFlags::Up),
        carrier: header.flags.contains(LinkFlags::LowerUp),
        mtu: 0,
        losses: DeviceLosses::default(),
        lower: None,
        master: None,
        xdp_program: None,
    };
    // A veth's "link" is its peer, and no number of ours if that is elsewhere.
    let mut elsewhere = false;
    for (kind, value) in attributes(payload, &header) {
        match kind {
            attribute::IFLA_IFNAME => link.name = text(value),
            attribute::IFLA_MTU => link.mtu = word(value).unwrap_or(0),
            attribute::IFLA_ADDRESS => link.mac = value.try_into().ok().map(MacAddr),
            attribute::IFLA_STATS64 => link.losses = losses(value),
            attribute::IFLA_LINK => link.lower = word(value),
            attribute::IFLA_MASTER => link.master = word(value),
            attribute::IFLA_LINK_NETNSID => elsewhere = true,
            attribute::IFLA_XDP => link.xdp_program = xdp_program(value),
            _ => {}
        }
    }
    link.lower = link.lower.filter(|_| !elsewhere);
    Some(link)
}

/// From `struct rtnl_link_stats64` (linux/if_link.h): 64-bit counters in the order rx_packets, tx_packets, rx_bytes,
/// tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped, multicast, collisions, rx_length_errors, rx_over_errors,
/// rx_crc_errors, rx_frame_errors, rx_fifo_errors, rx_missed_errors, ...
fn losses(value: &[u8]) -> DeviceLosses {
    let counter = |place: usize| {
        let bytes = value.get(place * 8..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    };
    DeviceLosses { rx: [6, 15].into_iter().map(counter).sum(), tx: [5, 7].into_iter().map(counter).sum() }
}

/// An interface's kind, by its hardware type (linux/if_arp.h) and whether it does ARP (linux/if.h).
fn kind(header: &LinkHeader) -> InterfaceKind {
    match header.link_layer_type {
        LinkLayerType::Loopback => InterfaceKind::Loopback,
        LinkLayerType::Ether if !header.flags.contains(LinkFlags::Noarp) => InterfaceKind::Ethernet,
        _ => InterfaceKind::Plain,
    }
}

/// A route's destination; a route without one is the default route.
fn read_route(payload: &[u8], family: Family) -> Option<Prefix> {
    let header = RouteHeader::parse(payload).ok().filter(|header| header.address_family == family.into())?;
    let destination = attributes(payload, &header).find(|(kind, _)| *kind == attribute::RTA_DST);
    let address = destination.map_or(Some(family.address(0)), |(_, value)| address(value))?;
    Some(Prefix { address, length: header.destination_prefix_length })
}

/// The interfaces of a route, if it is a default route.
fn read_default(payload: &[u8], family: Family) -> Option<Vec<u32>> {
    let header = RouteHeader::parse(payload).ok().filter(|header| header.address_family == family.into())?;
    if header.destination_prefix_length > 0 || header.kind != RouteType::Unicast {
        return None;
    }
    let of = |(kind, value): (u16, &[u8])| match kind {
        attribute::RTA_OIF => word(value).into_iter().collect(),
        attribute::RTA_MULTIPATH => hops(value),
        _ => Vec::new(),
    };
    Some(attributes(payload, &header).flat_map(of).collect())
}

/// The interfaces of several next hops: each a `struct rtnexthop` (linux/rtnetlink.h: length, flags, hops, interface) with
/// attributes behind it, which the length includes.
fn hops(mut value: &[u8]) -> Vec<u32> {
    let mut interfaces = Vec::new();
    while let Some(&[a, b, _, _, w, x, y, z]) = value.first_chunk() {
        interfaces.push(u32::from_ne_bytes([w, x, y, z]));
        let len = usize::from(u16::from_ne_bytes([a, b])).max(8).next_multiple_of(4);
        value = value.get(len..).unwrap_or(&[]);
    }
    interfaces
}

fn read_rule(payload: &[u8], family: Family) -> Option<Rule> {
    let header = RuleHeader::parse(payload).ok().filter(|header| header.family == family.into())?;
    let destination = attributes(payload, &header).find(|(kind, _)| *kind == attribute::FRA_DST);
    let destination = destination.and_then(|(_, value)| address(value));
    Some(Rule {
        destination: destination.map(|address| Prefix { address, length: header.dst_len }),
        by_source: header.src_len > 0,
    })
}

fn read_answer(payload: &[u8]) -> io::Result<Result<Answer, Refusal>> {
    let header = RouteHeader::parse(payload).map_err(netlink::garbled)?;
    let delivery = match header.kind {
        RouteType::Local | RouteType::Anycast => Delivery::Local,
        RouteType::Broadcast => Delivery::Broadcast,
        RouteType::Multicast => Delivery::Multicast,
        RouteType::Unreachable => return Ok(Err(Refusal::Unreachable)),
        RouteType::Prohibit => return Ok(Err(Refusal::Prohibited)),
        RouteType::BlackHole => return Ok(Err(Refusal::Blackhole)),
        _ => Delivery::Unicast,
    };
    let mut answer = Answer { delivery, interface: 0, gateway: None, source: None, assumed: false };
    let mut table = header.table.into();
    for (kind, value) in attributes(payload, &header) {
        match kind {
            attribute::RTA_OIF => answer.interface = word(value).unwrap_or(0),
            attribute::RTA_GATEWAY => answer.gateway = address(value),
            attribute::RTA_VIA => answer.gateway = via(value),
            attribute::RTA_PREFSRC => answer.source = address(value),
            attribute::RTA_TABLE => table = word(value).unwrap_or(table),
            _ => {}
        }
    }
    answer.assumed = delivery == Delivery::Unicast && table == u32::from(RouteHeader::RT_TABLE_UNSPEC);
    Ok(Ok(answer))
}

/// A neighbour whose link address can be used (linux/neighbour.h `NUD_VALID`, without `NUD_NOARP`).
fn read_neighbour(payload: &[u8], interface: u32) -> Option<(IpAddr, MacAddr)> {
    use NeighbourState::{Delay, Permanent, Probe, Reachable, Stale};
    let header = NeighbourHeader::parse(payload).ok().filter(|header| header.ifindex == interface)?;
    matches!(header.state, Reachable | Stale | Delay | Probe | Permanent).then_some(())?;
    let find = |wanted| attributes(payload, &header).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let mac = find(attribute::NDA_LLADDR)?.try_into().ok()?;
    Some((address(find(attribute::NDA_DST)?)?, MacAddr(mac)))
}

/// The attributes behind a header, as number and value; what cannot be read ends them.
fn attributes<'a>(payload: &'a [u8], header: &impl Emitable) -> impl Iterator<Item = (u16, &'a [u8])> {
    let behind = payload.get(header.buffer_len()..).unwrap_or(&[]);
    NlasIterator::new(behind).map_while(Result::ok).map(|nla| {
        let whole = 4..usize::from(nla.length());
        (nla.kind(), nla.into_inner().get(whole).unwrap_or(&[]))
    })
}

/// The number of an XDP program, out of the nested attributes about it; 0 is none.
fn xdp_program(value: &[u8]) -> Option<u32> {
    let told = NlasIterator::new(value).map_while(Result::ok);
    let number = told.filter(|nla| nla.kind() == attribute::IFLA_XDP_PROG_ID);
    number.filter_map(|nla| word(nla.value())).find(|&number| number != 0)
}

/// An address of either family, by its length.
fn address(value: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from)).ok()
}

/// The next hop of another family than the destination's: `struct rtvia`, a family and an address.
fn via(value: &[u8]) -> Option<IpAddr> {
    address(value.get(2..)?)
}

fn word(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}

/// A name, which ends with a zero.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|&octet| octet == 0).next().unwrap_or(&[])).into_owned()
}

fn system(operation: impl Into<String>, source: io::Error) -> Error {
    Error::System { operation: operation.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut octets = [(value.len() as u16 + 4).to_ne_bytes(), kind.to_ne_bytes()].concat();
        octets.extend_from_slice(value);
        octets.resize(octets.len().next_multiple_of(4), 0);
        octets
    }

    #[test]
    fn losses_are_read_by_their_place() {
        let counters: Vec<u8> = (0..24u64).map(|place| 1 << place).flat_map(u64::to_ne_bytes).collect();
        assert_eq!(losses(&counters), DeviceLosses { rx: 1 << 6 | 1 << 15, tx: 1 << 5 | 1 << 7 });
        assert_eq!(losses(&counters[..48]), DeviceLosses { rx: 0, tx: 1 << 5 }, "an older kernel's are fewer");
        let (now, before) = (DeviceLosses { rx: 5, tx: 1 }, DeviceLosses { rx: 3, tx: 2 });
        assert_eq!(now.since(before), DeviceLosses { rx: 2, tx: 0 });
    }

    /// A message of `header` and attributes.
    fn payload(header: &impl Emitable, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut octets = vec![0; header.buffer_len()];
        header.emit(&mut octets);
        octets.extend(attributes.iter().flat_map(|(kind, value)| attribute(*kind, value)));
        octets
    }

    fn route(kind: RouteType, table: u8) -> RouteHeader {
        RouteHeader { address_family: AddressFamily::Inet, kind, table, ..Default::default() }
    }

    #[test]
    fn an_answer_with_a_gateway_of_the_other_family() {
        let gateway = "fe80::1".parse::<std::net::Ipv6Addr>().unwrap();
        let via = [10u16.to_ne_bytes().as_slice(), &gateway.octets()].concat();
        let octets = payload(
            &route(RouteType::Unicast, 254),
            &[(4, &7u32.to_ne_bytes()), (18, &via), (7, &[192, 0, 2, 1]), (99, &[1, 2, 3])],
        );
        let expected = Answer {
            delivery: Delivery::Unicast,
            interface: 7,
            gateway: Some(gateway.into()),
            source: Some([192, 0, 2, 1].into()),
            assumed: false,
        };
        assert_eq!(read_answer(&octets).unwrap(), Ok(expected));
    }

    #[test]
    fn an_answer_from_no_table_is_an_assumption() {
        let assumed = |table, big: u32| {
            let octets = payload(&route(RouteType::Unicast, table), &[(15, &big.to_ne_bytes())]);
            read_answer(&octets).unwrap().unwrap().assumed
        };
        assert!(assumed(0, 0));
        assert!(!assumed(254, 254));
        assert!(!assumed(0, 1000), "the number of a table above 255 stands in the attribute");
    }

    #[test]
    fn routes_that_drop_are_refusals() {
        for (kind, refusal) in [
            (RouteType::Unreachable, Refusal::Unreachable),
            (RouteType::Prohibit, Refusal::Prohibited),
            (RouteType::BlackHole, Refusal::Blackhole),
        ] {
            assert_eq!(read_answer(&payload(&route(kind, 254), &[])).unwrap(), Err(refusal));
        }
    }

    #[test]
    fn a_default_route_has_no_destination() {
        let octets = payload(&route(RouteType::Unicast, 254), &[]);
        assert_eq!(read_route(&octets, Family::V4), Some(Prefix { address: [0, 0, 0, 0].into(), length: 0 }));
        assert_eq!(read_route(&octets, Family::V6), None);
    }

    #[test]
    fn the_interfaces_of_default_routes() {
        let hop = |interface: u8| [16, 0, 0, 0, interface, 0, 0, 0, 8, 0, 5, 0, 10, 0, 0, 1];
        let several = [hop(3), hop(9)].concat();
        let default = route(RouteType::Unicast, 254);
        for (attributes, expected) in [
            (&[(attribute::RTA_OIF, &[7, 0, 0, 0][..])][..], vec![7]),
            (&[(attribute::RTA_MULTIPATH, &several)], vec![3, 9]),
            (&[(attribute::RTA_MULTIPATH, &several[..5])], vec![]),
        ] {
            assert_eq!(read_default(&payload(&default, attributes), Family::V4), Some(expected));
        }
        let mut network = default.clone();
        network.destination_prefix_length = 8;
        assert_eq!(read_default(&payload(&network, &[(attribute::RTA_OIF, &[7, 0, 0, 0])]), Family::V4), None);
        assert_eq!(read_default(&payload(&route(RouteType::Unreachable, 254), &[]), Family::V4), None);
    }

    #[test]
    fn only_neighbours_with_a_believed_link_address_count() {
        let neighbour = |state, index| {
            let header = NeighbourHeader { family: AddressFamily::Inet, ifindex: index, state, ..Default::default() };
            read_neighbour(&payload(&header, &[(1, &[192, 0, 2, 9]), (2, &[2, 0, 0, 0, 0, 9])]), 3)
        };
        let known = Some((IpAddr::from([192, 0, 2, 9]), MacAddr([2, 0, 0, 0, 0, 9])));
        assert_eq!(neighbour(NeighbourState::Stale, 3), known);
        assert_eq!(neighbour(NeighbourState::Permanent, 3), known);
        assert_eq!(neighbour(NeighbourState::Stale, 4), None);
        for state in [NeighbourState::Incomplete, NeighbourState::Failed, NeighbourState::Noarp, NeighbourState::None] {
            assert_eq!(neighbour(state, 3), None, "{state:?}");
        }
    }

    #[test]
    fn an_ethernet_device_without_arp_is_plain() {
        let kind = |link_layer_type, flags| kind(&LinkHeader { link_layer_type, flags, ..Default::default() });
        assert_eq!(kind(LinkLayerType::Ether, LinkFlags::Up), InterfaceKind::Ethernet);
        assert_eq!(kind(LinkLayerType::Ether, LinkFlags::Noarp), InterfaceKind::Plain);
        assert_eq!(kind(LinkLayerType::Loopback, LinkFlags::Up), InterfaceKind::Loopback);
        assert_eq!(kind(LinkLayerType::None, LinkFlags::Up), InterfaceKind::Plain);
        assert_eq!(kind(LinkLayerType::Infiniband, LinkFlags::Up), InterfaceKind::Plain);
    }

    #[test]
    fn the_running_kernel_routes_loopback_to_itself() {
        let question = Question { destination: [127, 0, 0, 9].into(), through: None, source: None };
        match Kernel::open().unwrap().route(question).unwrap() {
            Ok(answer) => {
                assert_eq!((answer.delivery, answer.interface), (Delivery::Local, 1));
                assert_eq!(answer.source, Some([127, 0, 0, 1].into()));
            }
            // A network namespace whose loopback is down has no such route.
            Err(refusal) => assert_eq!(refusal, Refusal::NoRoute),
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_link(&octets);
            let _ = read_route(&octets, Family::V4);
            let _ = read_rule(&octets, Family::V6);
            let _ = read_answer(&octets);
            let _ = read_neighbour(&octets, 1);
        }
    }
}
