//! The network interfaces of this machine, in its present network namespace. Addresses come from pnet, the kind of
//! link and its state from the kernel over netlink, which pnet does not tell. Which of them a scan leaves through is
//! `resolve`'s question.

use std::fmt;
use std::net::IpAddr;

use super::kernel::{self, Link};
use crate::error::Error;
use crate::wire::MacAddr;

/// A network interface, as it was when it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name, such as `eth0`.
    pub name: String,
    /// Its number in this network namespace, from 1.
    pub index: u32,
    /// Its link address, where it is an Ethernet device.
    pub mac: Option<MacAddr>,
    /// What stands under its packets.
    pub kind: InterfaceKind,
    /// It has been brought up.
    pub up: bool,
    /// Something is at its other end: the cable is in, the peer is up. False while it is not brought up.
    pub carrier: bool,
    /// The largest packet it carries, in octets, without the link's header.
    pub mtu: u32,
    /// Its own addresses, of both families.
    pub addresses: Vec<InterfaceAddress>,
}

/// What stands under an interface's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InterfaceKind {
    /// Ethernet, with neighbours found by ARP and NDP.
    Ethernet,
    /// This machine itself.
    Loopback,
    /// No link address is needed: tun, ppp, wireguard, tunnels, Ethernet devices that do no ARP; also links whose
    /// addresses only the kernel knows to write (InfiniBand).
    Plain,
}

/// An address of an interface, with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// How many of its leading bits are the network's.
    pub prefix: u8,
}

/// Lists the interfaces there are, by index.
///
/// Fails with [`Error::System`] when the kernel cannot be asked.
pub fn interfaces() -> Result<Vec<Interface>, Error> {
    let addresses = pnet::datalink::interfaces();
    let mut list: Vec<_> = kernel::links()?.into_iter().map(|link| interface(link, &addresses)).collect();
    list.sort_unstable_by_key(|interface| interface.index);
    Ok(list)
}

impl Interface {
    /// Whether an address is one of its own.
    pub fn owns(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }
}

/// `eth0`.
impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

/// `192.0.2.1/24`.
impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Joins what the kernel and pnet know of one interface. pnet lists labelled addresses (`eth0:1`) as interfaces of
/// their own, so the index joins, not the name.
fn interface(link: Link, listed: &[pnet::datalink::NetworkInterface]) -> Interface {
    let same = listed.iter().filter(|other| other.index == link.index);
    let addresses = same
        .flat_map(|other| &other.ips)
        .map(|network| InterfaceAddress { address: network.ip(), prefix: network.prefix() });
    Interface {
        addresses: addresses.collect(),
        mac: link.mac.filter(|_| link.kind == InterfaceKind::Ethernet),
        name: link.name,
        index: link.index,
        kind: link.kind,
        up: link.up,
        carrier: link.carrier,
        mtu: link.mtu,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_listed() {
        let all = interfaces().unwrap();
        let lo = all.iter().find(|interface| interface.kind == InterfaceKind::Loopback).unwrap();
        assert_eq!((lo.name.as_str(), lo.index, lo.mac), ("lo", 1, None));
        assert!(!lo.up || lo.owns([127, 0, 0, 1].into()));
    }

    #[test]
    fn labelled_addresses_join_their_interface() {
        let listed = |name: &str, index, ip: [u8; 4]| pnet::datalink::NetworkInterface {
            name: name.into(),
            description: String::new(),
            index,
            mac: None,
            ips: vec![pnet::ipnetwork::IpNetwork::new(ip.into(), 24).unwrap()],
            flags: 0,
        };
        let link = Link {
            name: "eth0".into(),
            index: 2,
            mac: Some(MacAddr([2, 0, 0, 0, 0, 1])),
            kind: InterfaceKind::Ethernet,
            up: true,
            carrier: true,
            mtu: 1500,
            losses: Default::default(),
            lower: None,
            master: None,
            xdp_program: None,
        };
        let all =
            [listed("eth0", 2, [192, 0, 2, 1]), listed("eth1", 3, [10, 0, 0, 1]), listed("eth0:1", 2, [192, 0, 2, 2])];
        let joined = interface(link, &all);
        let texts: Vec<_> = joined.addresses.iter().map(InterfaceAddress::to_string).collect();
        assert_eq!(texts, ["192.0.2.1/24", "192.0.2.2/24"]);
    }
}
