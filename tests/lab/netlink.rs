//! One request to the kernel's routing socket, and its answer. Requests go to the namespace of the calling thread.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST};
use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Sends a request that makes or changes something, and waits for the kernel's word on it.
pub(crate) fn change(message: RouteNetlinkMessage) -> io::Result<()> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let flags = NLM_F_REQUEST | NLM_F_ACK | creation(&message);
    socket.send(&encode(message, flags), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    read_acknowledgement(&answer)
}

/// The index of an interface, by name.
pub(crate) fn index_of(name: &str) -> io::Result<u32> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(&socket, name)?)
}

/// The XDP program on an interface, by its number in the kernel.
pub(crate) fn xdp_program(index: u32) -> io::Result<Option<u32>> {
    let mut question = LinkMessage::default();
    question.header.index = index;
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&encode(RouteNetlinkMessage::GetLink(question), NLM_F_REQUEST), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) = message.payload else {
        return Err(io::Error::other(format!("the kernel answered with {:?}", message.payload)));
    };
    let number = |xdp: &LinkXdp| if let LinkXdp::ProgId(number) = xdp { Some(*number) } else { None };
    let of = |attribute: &LinkAttribute| match attribute {
        LinkAttribute::Xdp(told) => told.iter().find_map(number),
        _ => None,
    };
    Ok(link.attributes.iter().find_map(of))
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

fn read_acknowledgement(answer: &[u8]) -> io::Result<()> {
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(answer).map_err(io::Error::other)?;
    match message.payload {
        NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        other => Err(io::Error::other(format!("the kernel answered with {other:?}"))),
    }
}
