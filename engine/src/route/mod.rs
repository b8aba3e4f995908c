//! How each address of a plan is reached: through which interface, from which source address, by which next hop, and
//! under which link address. The kernel decides, as it would for any program; this folder asks it and remembers.
//!
//! ```text
//! ranges ─▶ resolve ─▶ egresses, runs        resolve: one question per cell of the routing tables
//!             │  └─ cells, number             cells:   where the tables' prefixes cut the address space
//!             ▼
//!          kernel ─▶ netlink                  kernel:  the answers in our words;  netlink: the conversation
//!             ▲
//!         interface                           interface: what interfaces there are
//!
//! on-link ranges, gateways ─▶ sweep ─▶ neighbours      who answers ARP and NDP, under which link address
//! ```
//!
//! Nothing here sends a packet: the sweep's frames are handed to whoever drives it.

mod cells;
mod interface;
mod kernel;
mod neighbours;
mod netlink;
mod number;
mod resolve;
mod sweep;

use std::net::IpAddr;
use std::sync::Arc;

pub use interface::{Interface, InterfaceAddress, InterfaceKind, interfaces};
pub(crate) use kernel::DeviceLosses;
pub(crate) use neighbours::Neighbours;
pub(crate) use sweep::{Asker, Step, Sweep};

use crate::error::Error;
use crate::plan::{AddressRange, EgressId};
use crate::wire::MacAddr;
use number::Family;

/// Where packets leave from, and to whom on the link they go first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Egress {
    /// The interface.
    pub(crate) interface: Arc<Interface>,
    /// The address they are sent from.
    pub(crate) source: IpAddr,
    /// Who takes them on.
    pub(crate) next_hop: NextHop,
}

/// Who takes a packet on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum NextHop {
    /// A router, which may be of the other family than the packet.
    Gateway(IpAddr),
    /// The target itself: it has its own link address, which must be found first. The broadcast addresses of a link
    /// leave so too, on any kind of interface: nobody answers for them, so they are never probed.
    OnLink,
    /// Nobody needs to be named: loopback, and devices without Ethernet.
    Direct,
}

/// What the user wants other than the kernel would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Overrides {
    /// Leave through this interface only.
    pub(crate) interface: Option<String>,
    /// Send from these addresses of this machine, at most one of each family.
    pub(crate) source: Vec<IpAddr>,
    /// The link address of every gateway.
    pub(crate) gateway_mac: Option<MacAddr>,
}

/// How every address of a plan is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Routed {
    /// The egresses; an [`EgressId`] is a place in this list.
    pub(crate) egresses: Vec<Egress>,
    /// Ascending, disjoint, exactly the addresses asked for, as long as they can be.
    pub(crate) runs: Vec<(AddressRange, EgressId)>,
}

/// Asks the kernel how to reach every address of `ranges`, which do not overlap.
///
/// Policy rules by destination, source and interface, several tables, and routes that refuse hold as they do for a
/// program that connects. Of several next hops of one route (multipath) the one is taken that the kernel names for the
/// first address; IPv6 source addresses likewise, one for all of a cell. Rules by port, mark or type of service do not
/// hold.
///
/// Fails with [`Error::NoRoute`] on the first address that cannot be reached, with [`Error::NoSource`] on the first
/// that can be reached from no address, and with the error of an override that cannot be had.
pub(crate) fn resolve(ranges: impl Iterator<Item = AddressRange>, overrides: &Overrides) -> Result<Routed, Error> {
    resolve::resolve(&mut kernel::Kernel::open()?, interfaces()?, ranges, overrides)
}

/// Addresses that cannot be reached, for one reason.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unreachable {
    /// Ascending, disjoint.
    pub ranges: Vec<AddressRange>,
    /// What is said of the first of them.
    pub error: Error,
}

/// Which of `ranges`, which do not overlap, [`resolve`] would fail on.
pub(crate) fn unreachable(
    ranges: impl Iterator<Item = AddressRange>,
    overrides: &Overrides,
) -> Result<Vec<Unreachable>, Error> {
    resolve::unreachable(&mut kernel::Kernel::open()?, interfaces()?, ranges, overrides)
}

/// A gateway's link address, as far as it is known without asking the gateway: the override's, or the one in the
/// kernel's neighbour table. `None` too for an egress that has no gateway.
pub(crate) fn known_gateway(egress: &Egress, overrides: &Overrides) -> Result<Option<MacAddr>, Error> {
    let NextHop::Gateway(gateway) = egress.next_hop else { return Ok(None) };
    if overrides.gateway_mac.is_some() {
        return Ok(overrides.gateway_mac);
    }
    let known = kernel::neighbours(egress.interface.index, Family::of(gateway))?;
    Ok(known.get(&gateway).copied())
}

/// Whether a default route, of either family and in any table, leads out of this interface; also by way of one that lies on
/// it (a VLAN, a macvlan) or that it is a member of (a bond, a bridge).
pub(crate) fn carries_default(interface: u32) -> Result<bool, Error> {
    let mut carrying = kernel::default_interfaces(Family::V4)?;
    carrying.extend(kernel::default_interfaces(Family::V6)?);
    let links = kernel::links()?;
    carry_down(&mut carrying, &links.iter().map(|link| (link.index, link.lower, link.master)).collect::<Vec<_>>());
    Ok(carrying.contains(&interface))
}

/// Adds what lies under the interfaces in a list, and what is a member of them. Links are given as index, lower, master. The ends
/// of a veth name each other: neither lies under the other.
fn carry_down(carrying: &mut Vec<u32>, links: &[(u32, Option<u32>, Option<u32>)]) {
    let mut at = 0;
    while let Some(&index) = carrying.get(at) {
        at += 1;
        for &(link, lower, master) in links {
            let lower = lower.filter(|&lower| !links.iter().any(|other| (other.0, other.1) == (lower, Some(link))));
            let under = if link == index { lower } else { (master == Some(index)).then_some(link) };
            carrying.extend(under.filter(|under| !carrying.contains(under)));
        }
    }
}

/// The XDP program on an interface, by its number in the kernel.
pub(crate) fn xdp_program(interface: u32) -> Result<Option<u32>, Error> {
    let links = kernel::links()?;
    Ok(links.iter().find(|link| link.index == interface).and_then(|link| link.xdp_program))
}

/// What these interfaces say they lost since they came up, all together. An interface that is gone has nothing to say.
pub(crate) fn device_losses(interfaces: &[u32]) -> Result<DeviceLosses, Error> {
    let links = kernel::links()?;
    let ours = links.iter().filter(|link| interfaces.contains(&link.index)).map(|link| link.losses);
    Ok(ours.fold(DeviceLosses::default(), |sum, one| DeviceLosses { rx: sum.rx + one.rx, tx: sum.tx + one.tx }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_route_is_carried_by_all_that_lies_under_it() {
        // 5 is a VLAN on 4, a bond of 2 and 3; 7 is a bridge's member; 8 and 9 name each other, as the ends of a veth do.
        let links = [
            (2, None, Some(4)),
            (3, None, Some(4)),
            (4, None, None),
            (5, Some(4), None),
            (6, None, None),
            (7, None, Some(6)),
            (8, Some(9), None),
            (9, Some(8), None),
        ];
        let under = |first: u32| {
            let mut carrying = vec![first];
            carry_down(&mut carrying, &links);
            carrying.sort_unstable();
            carrying
        };
        assert_eq!(under(5), [2, 3, 4, 5]);
        assert_eq!((under(4), under(2), under(6), under(8)), (vec![2, 3, 4], vec![2], vec![6, 7], vec![8]));
    }

    /// Asks the running kernel, and sends nothing. In a network namespace whose loopback is down there is no route.
    #[test]
    fn the_running_kernel_reaches_loopback() {
        let range = AddressRange::new([127, 0, 0, 1].into(), [127, 0, 0, 9].into()).unwrap();
        let up = interfaces().unwrap().iter().any(|lo| lo.kind == InterfaceKind::Loopback && lo.up);
        match resolve(std::iter::once(range), &Overrides::default()) {
            Ok(routed) => {
                let [egress] = &routed.egresses[..] else { panic!("{routed:?}") };
                assert_eq!(egress.interface.kind, InterfaceKind::Loopback);
                assert_eq!((egress.source, egress.next_hop), ([127, 0, 0, 1].into(), NextHop::Direct));
                assert_eq!(routed.runs, [(range, EgressId(0))]);
                assert_eq!(known_gateway(egress, &Overrides::default()).unwrap(), None);
            }
            Err(error) => assert!(!up, "{error}"),
        }
    }

    #[test]
    fn an_override_is_every_gateways_link_address() {
        let interface = Arc::new(interfaces().unwrap().remove(0));
        let next_hop = NextHop::Gateway([192, 0, 2, 254].into());
        let egress = Egress { interface, source: [192, 0, 2, 1].into(), next_hop };
        let overrides = Overrides { gateway_mac: Some(MacAddr([2, 0, 0, 0, 0, 1])), ..Overrides::default() };
        assert_eq!(known_gateway(&egress, &overrides).unwrap(), overrides.gateway_mac);
        assert_eq!(known_gateway(&egress, &Overrides::default()).unwrap(), None);
    }
}
