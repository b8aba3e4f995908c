//! Links, addresses, routes and neighbours, made and changed by requests to the kernel's routing socket (rtnetlink(7)). Every
//! request goes to the network namespace of the calling thread.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST};
use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// To a router.
    Via(IpAddr),
    /// Out of an interface, every address being a neighbour there.
    Device(&'a str),
    /// Nowhere: the router answers with host unreachable (3/1), or no route (1/0).
    Unreachable,
    /// Nowhere: the router answers with administratively prohibited (3/13, 1/1).
    Prohibit,
    /// Nowhere, in silence.
    Blackhole,
}

/// One end of a veth pair to be made.
#[derive(Debug, Clone, Copy)]
pub struct VethEnd<'a> {
    /// The interface's name.
    pub name: &'a str,
    /// The network namespace in which it will lie.
    pub namespace: BorrowedFd<'a>,
    /// Its link address; the kernel chooses one otherwise.
    pub mac: Option<[u8; 6]>,
    /// Queues in each direction; the other end needs as many.
    pub queues: u32,
}

/// Sends a request that makes or changes something, and waits for the kernel's word on it.
///
/// # Errors
/// The kernel's.
pub fn change(message: RouteNetlinkMessage) -> io::Result<()> {
    let flags = NLM_F_REQUEST | NLM_F_ACK | creation(&message);
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&exchange(message, flags)?);
    match answer.map_err(io::Error::other)?.payload {
        NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        other => Err(io::Error::other(format!("the kernel answered with {other:?}"))),
    }
}

/// Sends a question that has one answer.
///
/// # Errors
/// The kernel's.
pub fn ask(question: RouteNetlinkMessage) -> io::Result<RouteNetlinkMessage> {
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&exchange(question, NLM_F_REQUEST)?);
    match answer.map_err(io::Error::other)?.payload {
        NetlinkPayload::InnerMessage(answer) => Ok(answer),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        other => Err(io::Error::other(format!("the kernel answered with {other:?}"))),
    }
}

/// The index of an interface, by name.
///
/// # Errors
/// There is none of this name.
pub fn index_of(name: &str) -> io::Result<u32> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(&socket, name)?)
}

/// Makes a veth pair; both ends are down.
///
/// # Errors
/// The kernel's: an interface of that name exists, or the rights are missing.
pub fn make_veth(left: &VethEnd<'_>, right: &VethEnd<'_>) -> io::Result<()> {
    let mut message = link_message(left);
    let info = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(link_message(right))));
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), info]));
    change(RouteNetlinkMessage::NewLink(message))
}

/// Brings an interface up, or takes it down.
///
/// # Errors
/// The kernel's.
pub fn set_up(device: &str, up: bool) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index_of(device)?;
    message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    message.header.change_mask = LinkFlags::Up;
    change(RouteNetlinkMessage::SetLink(message))
}

/// Gives an interface an address with the length of its prefix; usable at once.
///
/// # Errors
/// The kernel's.
pub fn add_address(device: &str, address: IpAddr, length: u8) -> io::Result<()> {
    let mut message = AddressMessage::default();
    message.header.family = family_of(address);
    message.header.prefix_len = length;
    message.header.index = index_of(device)?;
    message.header.flags = AddressHeaderFlags::Nodad;
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    change(RouteNetlinkMessage::NewAddress(message))
}

/// Adds a route to the addresses of a prefix.
///
/// # Errors
/// The kernel's.
pub fn add_route(destination: IpAddr, length: u8, route: Route<'_>) -> io::Result<()> {
    change(RouteNetlinkMessage::NewRoute(route_message(destination, length, route)?))
}

/// Enters a neighbour's link address, for good.
///
/// # Errors
/// The kernel's.
pub fn add_neighbour(device: &str, address: IpAddr, mac: [u8; 6]) -> io::Result<()> {
    let mut message = NeighbourMessage::default();
    message.header.family = family_of(address);
    message.header.ifindex = index_of(device)?;
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::Destination(match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    }));
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    change(RouteNetlinkMessage::NewNeighbour(message))
}

fn exchange(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<u8>> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&encode(message, flags), 0)?;
    Ok(socket.recv_from_full()?.0)
}

fn encode(message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    bytes
}

/// A link is made or changed, by the message's kind of use; everything else replaces what is there.
fn creation(message: &RouteNetlinkMessage) -> u16 {
    match message {
        RouteNetlinkMessage::SetLink(_) => 0,
        RouteNetlinkMessage::NewLink(_) => NLM_F_CREATE,
        _ => NLM_F_CREATE | NLM_F_REPLACE,
    }
}

fn link_message(end: &VethEnd<'_>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(end.name.into()));
    message.attributes.push(LinkAttribute::NetNsFd(end.namespace.as_raw_fd()));
    message.attributes.extend([LinkAttribute::NumTxQueues(end.queues), LinkAttribute::NumRxQueues(end.queues)]);
    message.attributes.extend(end.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
    message
}

fn family_of(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn route_message(address: IpAddr, length: u8, route: Route<'_>) -> io::Result<RouteMessage> {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family_of(address),
        destination_prefix_length: length,
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Static,
        scope: if matches!(route, Route::Device(_)) { RouteScope::Link } else { RouteScope::Universe },
        kind: route_type(route),
        ..RouteHeader::default()
    };
    message.attributes.push(RouteAttribute::Destination(RouteAddress::from(address)));
    match route {
        Route::Via(gateway) => message.attributes.push(RouteAttribute::Gateway(RouteAddress::from(gateway))),
        Route::Device(name) => message.attributes.push(RouteAttribute::Oif(index_of(name)?)),
        Route::Unreachable | Route::Prohibit | Route::Blackhole => {}
    }
    Ok(message)
}

fn route_type(route: Route<'_>) -> RouteType {
    match route {
        Route::Via(_) | Route::Device(_) => RouteType::Unicast,
        Route::Unreachable => RouteType::Unreachable,
        Route::Prohibit => RouteType::Prohibit,
        Route::Blackhole => RouteType::BlackHole,
    }
}
