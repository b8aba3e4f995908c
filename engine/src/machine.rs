//! What of this machine a scan depends on, for whoever wants to know before there is one: the ways that the routing tables
//! have for a plan, what an interface's driver is and has, whether the clock is right. Nothing here sends a packet, opens a
//! link or needs a right.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use crate::error::Error;
use crate::plan::Plan;
use crate::route::{self, Interface, NextHop, Overrides};
use crate::sys;
use crate::wire::MacAddr;

/// How some of a plan's targets are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Through this interface.
    pub interface: Arc<Interface>,
    /// From this address.
    pub source: IpAddr,
    /// To whom packets are handed.
    pub next: Next,
}

/// To whom packets are handed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// To this router; with its link address, if the kernel knows it.
    Gateway(IpAddr, Option<MacAddr>),
    /// To each target itself, which is on this link.
    OnLink,
    /// To nobody else: this machine, or an interface without neighbours.
    Direct,
}

/// The ways that the kernel has for the targets of a plan, each once.
///
/// # Errors
/// What would keep a scan of it from starting: no route, an interface that is down.
pub fn ways(plan: &Plan) -> Result<Vec<Way>, Error> {
    let overrides = Overrides::default();
    let routed = route::resolve(plan.ranges(), &overrides)?;
    let way = |egress: route::Egress| {
        let next = match egress.next_hop {
            NextHop::Gateway(gateway) => Next::Gateway(gateway, route::known_gateway(&egress, &overrides)?),
            NextHop::OnLink => Next::OnLink,
            NextHop::Direct => Next::Direct,
        };
        Ok(Way { interface: egress.interface, source: egress.source, next })
    };
    routed.egresses.into_iter().map(way).collect()
}

/// What is behind an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The name of its driver; none for those that have none, such as the loopback.
    pub driver: Option<String>,
    /// Queues in use to receive from.
    pub rx_queues: u32,
    /// Queues in use to send from.
    pub tx_queues: u32,
    /// Its ring for what it has received, if the driver tells.
    pub rx_ring: Option<RingSize>,
    /// Its ring for what it is to send.
    pub tx_ring: Option<RingSize>,
    /// The kernel's number of the XDP program that is attached to it.
    pub xdp_program: Option<u32>,
    /// Whether a default route leads through it, itself or under a VLAN, macvlan, bond or bridge.
    pub carries_default: bool,
}

/// How much fits into a ring of a device, of each queue: what comes faster than it is fetched is lost there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingSize {
    /// Frames that it holds.
    pub frames: u32,
    /// Frames that it could.
    pub most: u32,
}

/// What is behind an interface.
///
/// # Errors
/// The kernel cannot be asked.
pub fn device(interface: &Interface) -> Result<Device, Error> {
    let queues = sys::Channels::of(&interface.name);
    let ring = |(frames, most)| RingSize { frames, most };
    let [rx_ring, tx_ring] = sys::rings(&interface.name).map_or([None; 2], |rings| rings.map(ring).map(Some));
    Ok(Device {
        driver: sys::driver(&interface.name),
        rx_queues: queues.rx,
        tx_queues: queues.tx,
        rx_ring,
        tx_ring,
        xdp_program: route::xdp_program(interface.index)?,
        carries_default: route::carries_default(interface.index)?,
    })
}

/// Whether the system's clock is kept right by somebody. A scan measures by a clock that does not jump; the times that
/// results are marked with are the system's.
///
/// # Errors
/// The system does not tell.
pub fn clock_is_synchronised() -> io::Result<bool> {
    sys::is_synchronised()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::InterfaceKind;

    #[test]
    fn the_loopback_is_itself() {
        let lo = crate::interfaces().unwrap().into_iter().find(|own| own.kind == InterfaceKind::Loopback).unwrap();
        let device = device(&lo).unwrap();
        assert_eq!((device.driver, device.rx_queues, device.tx_queues), (None, 1, 1));
        assert_eq!((device.xdp_program, device.carries_default), (None, false));
        let plan = Plan::builder().targets("127.0.0.1").unwrap().ports("80").unwrap().build().unwrap();
        if lo.up {
            let ways = ways(&plan).unwrap();
            assert_eq!((ways.len(), ways[0].next), (1, Next::Direct));
        }
    }
}
