//! Interfaces: their state, what is behind them, and which links would work there. What the kernel and the driver say is
//! all that is asked for, but of interfaces that were named to be tried.

use std::net::IpAddr;

use halfopen::machine::{self, Device, RingSize};
use halfopen::{Discover, Interface, InterfaceKind, LinkKind, Method, Plan, Pps, Rate, Receive, Scan};

use super::finding::{Finding, Grade};
use crate::failure::Failure;

pub(super) fn findings(interfaces: &[Interface]) -> Vec<Finding> {
    let look = |interface: &Interface| match machine::device(interface) {
        Ok(device) => judge(interface, &device),
        Err(error) => vec![Finding::new(Grade::Unknown, &interface.name, error.to_string())],
    };
    let usable = interfaces.iter().filter(|interface| interface.up && interface.carrier).count();
    let none = (usable == 0)
        .then(|| Finding::new(Grade::Problem, "interfaces", "none is up").advise("bring one up (ip link set NAME up)"));
    none.into_iter().chain(interfaces.iter().flat_map(look)).collect()
}

fn judge(interface: &Interface, device: &Device) -> Vec<Finding> {
    let name = &interface.name;
    if !interface.up {
        let advice = format!("bring it up to scan through it (ip link set {name} up)");
        return vec![Finding::new(Grade::Note, name, "down").advise(advice)];
    }
    if !interface.carrier {
        return vec![Finding::new(Grade::Note, name, "no carrier").advise("plug it in, or see to its other end")];
    }
    let mut findings = vec![Finding::new(Grade::Ok, name, describe(interface, device))];
    if let Some(number) = device.xdp_program {
        let text =
            format!("the XDP program {number} is attached to it, and is left alone: replies come by packet socket");
        let advice = format!(
            "see what it is with `bpftool prog show id {number}`; it may drop replies before anybody sees them"
        );
        findings.push(Finding::new(Grade::Warning, name, text).advise(advice));
    }
    findings.extend(device.rx_ring.filter(|ring| ring.frames < SMALL.min(ring.most)).map(|ring| small(name, ring)));
    findings
}

/// Frames of a receive ring that a fast scan's replies may fill between two looks of the kernel.
const SMALL: u32 = 1024;

fn small(name: &str, ring: RingSize) -> Finding {
    let RingSize { frames, most } = ring;
    let text =
        format!("its receive ring holds {frames} frames and could hold {most}: replies in a burst are lost there");
    let advice = format!(
        "for fast scans make it larger (ethtool -G {name} rx {most}); some drivers take the link down for a moment"
    );
    Finding::new(Grade::Note, name, text).advise(advice)
}

fn describe(interface: &Interface, device: &Device) -> String {
    let mut parts = vec![format!("up, MTU {}", interface.mtu)];
    parts.extend(device.driver.iter().map(|driver| format!("driver {driver}")));
    if interface.kind == InterfaceKind::Ethernet {
        parts.push(format!("queues {} in, {} out", device.rx_queues, device.tx_queues));
        let rings = device.rx_ring.zip(device.tx_ring);
        parts.extend(rings.map(|(rx, tx)| format!("rings {} in, {} out", rx.frames, tx.frames)));
    }
    parts.push(format!("links: {}", links(interface, device)));
    parts.join(", ")
}

/// Drivers with `ndo_xdp_xmit` and native XDP in the kernel's own tree, by their documentation.
const LIVE: [&str; 14] = [
    "veth",
    "ixgbe",
    "i40e",
    "ice",
    "igc",
    "igb",
    "mlx5_core",
    "bnxt_en",
    "ena",
    "virtio_net",
    "tun",
    "mvneta",
    "stmmac",
    "sfc",
];

fn links(interface: &Interface, device: &Device) -> String {
    if interface.kind != InterfaceKind::Ethernet {
        return "raw_ip (no Ethernet, so no other)".into();
    }
    let known = device.driver.as_deref().is_some_and(|driver| LIVE.contains(&driver));
    let live = match (known, device.driver.as_deref()) {
        (true, Some("veth")) => "xdp_live if its peer polls",
        (true, _) => "xdp_live should work",
        (false, _) => "xdp_live is not known to",
    };
    let receive = match (device.xdp_program, device.carries_default) {
        (Some(_), _) => "not received by XDP, which another program has",
        (None, true) => "received by XDP only when asked for, because a default route leads here",
        (None, false) => "received by XDP",
    };
    format!(
        "af_packet, raw_ip and af_xdp work, {live} (--try-links {} finds out); replies can be {receive}",
        interface.name
    )
}

/// Opens every kind of link on these interfaces.
pub(super) fn tried(interfaces: &[Interface], names: &[String]) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for name in names {
        let known = interfaces.iter().find(|interface| interface.name == *name);
        let there = interfaces.iter().map(|interface| interface.name.as_str()).collect::<Vec<_>>().join(", ");
        let interface = known.ok_or(halfopen::Error::NoSuchInterface { name: name.clone(), available: there })?;
        findings.extend(kinds(interface).iter().map(|&(kind, receive)| try_link(interface, kind, receive)));
    }
    Ok(findings)
}

fn kinds(interface: &Interface) -> &'static [(LinkKind, Receive)] {
    match interface.kind {
        InterfaceKind::Ethernet => &[
            (LinkKind::AfPacket, Receive::AfPacket),
            (LinkKind::AfXdp, Receive::XdpGeneric),
            (LinkKind::AfXdp, Receive::XdpNative),
            (LinkKind::XdpLive, Receive::XdpNative),
        ],
        _ => &[(LinkKind::RawIp, Receive::AfPacket)],
    }
}

fn try_link(interface: &Interface, kind: LinkKind, receive: Receive) -> Finding {
    let asked = format!("{kind} with {receive}");
    match open(interface, kind, receive) {
        Ok((name, warnings)) if warnings.is_empty() => {
            Finding::new(Grade::Ok, &interface.name, format!("{asked}: works, as {name}"))
        }
        Ok((name, warnings)) => {
            let text = format!("{asked}: becomes {name}, because {}", warnings.join("; "));
            Finding::new(Grade::Note, &interface.name, text)
        }
        Err(error) => Finding::new(Grade::Warning, &interface.name, format!("{asked}: {error}")),
    }
}

/// Opens a link as a scan would, and closes it.
fn open(interface: &Interface, kind: LinkKind, receive: Receive) -> Result<(String, Vec<String>), halfopen::Error> {
    let target = neighbour(interface).to_string();
    let plan = Plan::builder().blocklist(false).targets(&target)?.ports("9")?.build()?;
    let scan = Scan::builder(plan).method(Method::Syn).link(kind).receive(receive).interface(interface.name.clone());
    let ready = scan.discover(Discover::Off).rate(Rate::Fixed(Pps(1_000_000))).open()?;
    Ok((ready.settings().links.join(", "), ready.warnings().to_vec()))
}

/// Some address that an interface leads to: the next one to its own.
fn neighbour(interface: &Interface) -> IpAddr {
    let own = interface.addresses.iter().map(|own| own.address).min_by_key(|own| !own.is_ipv4());
    match own {
        Some(IpAddr::V4(own)) if own.is_loopback() => own.into(),
        Some(IpAddr::V4(own)) => std::net::Ipv4Addr::from(u32::from(own) ^ 1).into(),
        Some(IpAddr::V6(own)) => std::net::Ipv6Addr::from(u128::from(own) ^ 1).into(),
        None => [192, 0, 2, 1].into(),
    }
}

#[cfg(test)]
mod tests {
    use halfopen::MacAddr;

    use super::*;
    use crate::doctor::finding::lines;

    fn interface(kind: InterfaceKind, up: bool, carrier: bool) -> Interface {
        let mac = Some(MacAddr([2, 0, 0, 0, 0, 1]));
        Interface { name: "eth0".into(), index: 2, mac, kind, up, carrier, mtu: 1500, addresses: Vec::new() }
    }

    fn device(driver: &str) -> Device {
        let driver = Some(driver.into());
        let (rx_ring, tx_ring) = (None, None);
        Device { driver, rx_queues: 4, tx_queues: 2, rx_ring, tx_ring, xdp_program: None, carries_default: false }
    }

    fn judged(interface: &Interface, device: &Device) -> String {
        lines(&judge(interface, device))
    }

    #[test]
    fn what_would_work() {
        let eth = interface(InterfaceKind::Ethernet, true, true);
        assert_eq!(
            judged(&eth, &device("ixgbe")),
            "ok       eth0: up, MTU 1500, driver ixgbe, queues 4 in, 2 out, links: af_packet, raw_ip and af_xdp work, xdp_live \
             should work (--try-links eth0 finds out); replies can be received by XDP\n"
        );
        let default = Device { carries_default: true, ..device("e1000") };
        let said = judged(&eth, &default);
        assert!(said.contains("xdp_live is not known to") && said.contains("only when asked for"), "{said}");
        let tun = judged(&interface(InterfaceKind::Plain, true, true), &device("tun"));
        assert_eq!(tun, "ok       eth0: up, MTU 1500, driver tun, links: raw_ip (no Ethernet, so no other)\n");
    }

    #[test]
    fn a_ring_that_could_be_larger() {
        let eth = interface(InterfaceKind::Ethernet, true, true);
        let rings = |rx, most| {
            let [rx_ring, tx_ring] = [rx, 512].map(|frames| Some(RingSize { frames, most }));
            judged(&eth, &Device { rx_ring, tx_ring, ..device("ixgbe") })
        };
        let said = rings(256, 4096);
        assert!(
            said.contains(", rings 256 in, 512 out, links: ") && said.contains("(ethtool -G eth0 rx 4096)"),
            "{said}"
        );
        assert!(
            !rings(2048, 4096).contains("note") && !rings(512, 512).contains("note"),
            "large enough, or all there is"
        );
    }

    #[test]
    fn what_would_not() {
        let down = judged(&interface(InterfaceKind::Ethernet, false, false), &device("ixgbe"));
        assert_eq!(down, "note     eth0: down; bring it up to scan through it (ip link set eth0 up)\n");
        let unplugged = judged(&interface(InterfaceKind::Ethernet, true, false), &device("ixgbe"));
        assert_eq!(unplugged, "note     eth0: no carrier; plug it in, or see to its other end\n");
        let taken = Device { xdp_program: Some(7), ..device("ixgbe") };
        let said = judged(&interface(InterfaceKind::Ethernet, true, true), &taken);
        assert!(said.contains("\nwarning  eth0: the XDP program 7 is attached to it"), "{said}");
    }

    #[test]
    fn an_address_next_to_ones_own() {
        let mut eth = interface(InterfaceKind::Ethernet, true, true);
        eth.addresses.push(halfopen::InterfaceAddress { address: [10, 1, 0, 1].into(), prefix: 24 });
        assert_eq!(neighbour(&eth), IpAddr::from([10, 1, 0, 0]));
    }
}
