//! The ways to the targets: through which interface, from which address, by which gateway, and whether the kernel knows
//! that; strict filters of the reverse path on the way back.

use std::fs;
use std::io;

use halfopen::machine::{self, Next, Way};
use halfopen::{Error, InterfaceKind, Plan};

use super::finding::{Finding, Grade};
use crate::failure::Failure;

/// Addresses that stand for all the world: of networks for documentation (RFC 5737, RFC 3849, RFC 9637), to which nothing is
/// sent. Several, because somebody may have made one of them a network of their own.
const WORLD: [(&str, &[&str]); 2] =
    [("IPv4", &["192.0.2.1", "198.51.100.1", "203.0.113.1"]), ("IPv6", &["2001:db8::1", "3fff::1"])];

pub(super) fn findings(targets: &[String]) -> Result<Vec<Finding>, Failure> {
    if targets.is_empty() {
        return Ok(WORLD.iter().flat_map(|(family, addresses)| world(family, outward(addresses))).collect());
    }
    let mut findings = Vec::new();
    for target in targets {
        match ways(target) {
            Ok(ways) => findings.extend(ways.iter().map(|way| judge(target, way))),
            Err(error @ (Error::Parse { .. } | Error::EmptyPlan(_))) => return Err(error.into()),
            Err(error) => findings.push(Finding::new(Grade::Problem, "route", error.to_string())),
        }
    }
    findings.extend(reverse_paths(&interfaces_of(targets)));
    Ok(findings)
}

fn ways(targets: &str) -> Result<Vec<Way>, Error> {
    let plan = Plan::builder().blocklist(false).targets(targets)?;
    // A pair has its port.
    machine::ways(&plan.ports("9")?.build()?)
}

/// The ways to the first of these that is neither on a link of ours nor our own.
fn outward(addresses: &[&str]) -> Result<Vec<Way>, Error> {
    let all: Result<Vec<_>, _> = addresses.iter().map(|address| ways(address)).collect();
    let mut all = all?;
    let at = all.iter().position(|ways| ways.iter().all(is_far)).unwrap_or(0);
    Ok(all.swap_remove(at))
}

fn is_far(way: &Way) -> bool {
    way.next != Next::OnLink && way.interface.kind != InterfaceKind::Loopback
}

fn world(family: &str, ways: Result<Vec<Way>, Error>) -> Vec<Finding> {
    let all = format!("all {family}");
    match ways {
        Ok(ways) => ways.iter().map(|way| judge(&all, way)).collect(),
        Err(Error::NoRoute { .. }) => {
            let text = format!("none for {family} but to networks that are named in the routing table");
            vec![
                Finding::new(Grade::Note, "route", text)
                    .advise("add a default route to scan others (ip route add default via ...)"),
            ]
        }
        Err(error) => vec![Finding::new(Grade::Warning, "route", error.to_string())],
    }
}

fn judge(whither: &str, way: &Way) -> Finding {
    let Way { interface, source, next } = way;
    let begun = format!("{whither} through {interface} from {source}");
    match next {
        Next::Gateway(gateway, Some(mac)) => {
            Finding::new(Grade::Ok, "route", format!("{begun} by gateway {gateway}, which is {mac}"))
        }
        Next::Gateway(gateway, None) => {
            let text = format!("{begun} by gateway {gateway}, whose link address the kernel does not know");
            Finding::new(Grade::Note, "route", text)
                .advise("it is asked for when a scan starts; if that fails, see whether it is there (ping), or give --gateway-mac")
        }
        Next::OnLink => {
            Finding::new(Grade::Ok, "route", format!("{begun}, on this link: asked for by ARP or NDP first"))
        }
        Next::Direct => Finding::new(Grade::Ok, "route", format!("{begun}, directly")),
    }
}

fn interfaces_of(targets: &[String]) -> Vec<String> {
    let all = targets.iter().filter_map(|target| ways(target).ok()).flatten();
    let mut names: Vec<_> = all.map(|way| way.interface.name.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The greater of two settings counts (ip-sysctl, rp_filter).
fn reverse_paths(interfaces: &[String]) -> Vec<Finding> {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"));
    interfaces.iter().filter_map(|name| reverse_path(name, &read("all"), &read(name))).collect()
}

fn reverse_path(name: &str, all: &io::Result<String>, own: &io::Result<String>) -> Option<Finding> {
    let strict = [all, own].into_iter().flatten().map(|text| text.trim()).max() == Some("1");
    strict.then(|| {
        let text = "answers that come by another way than the kernel would send are dropped by it (rp_filter 1); packet sockets \
                    see them all the same, but what is half open then stays so";
        let advice = format!("where ways are asymmetric, sysctl -w net.ipv4.conf.{name}.rp_filter=2 (and conf.all)");
        Finding::new(Grade::Note, name, text).advise(advice)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use halfopen::{Interface, MacAddr};

    use super::*;
    use crate::doctor::finding::lines;

    fn way(kind: InterfaceKind, next: Next) -> Way {
        let interface = Interface {
            name: "eth0".into(),
            index: 2,
            mac: None,
            kind,
            up: true,
            carrier: true,
            mtu: 1500,
            addresses: Vec::new(),
        };
        Way { interface: Arc::new(interface), source: [10, 0, 0, 5].into(), next }
    }

    fn said(next: Next) -> String {
        lines(&[judge("all IPv4", &way(InterfaceKind::Ethernet, next))])
    }

    #[test]
    fn neither_neighbours_nor_this_machine_are_the_world() {
        let gateway = || Next::Gateway([10, 0, 0, 1].into(), None);
        assert!(is_far(&way(InterfaceKind::Ethernet, gateway())) && is_far(&way(InterfaceKind::Plain, Next::Direct)));
        assert!(!is_far(&way(InterfaceKind::Ethernet, Next::OnLink)));
        assert!(!is_far(&way(InterfaceKind::Loopback, Next::Direct)), "one's own address is reached through loopback");
    }

    #[test]
    fn gateways_known_and_unknown() {
        let gateway = [10, 0, 0, 1].into();
        assert_eq!(
            said(Next::Gateway(gateway, Some(MacAddr([2, 0, 0, 0, 0, 1])))),
            "ok       route: all IPv4 through eth0 from 10.0.0.5 by gateway 10.0.0.1, which is 02:00:00:00:00:01\n"
        );
        let unknown = said(Next::Gateway(gateway, None));
        assert!(unknown.starts_with("note     route: ") && unknown.contains("--gateway-mac"), "{unknown}");
        assert!(said(Next::OnLink).contains("on this link"));
    }

    #[test]
    fn the_stricter_filter_of_the_two_counts_and_loose_is_more_than_strict() {
        let text = |value: &str| Ok(format!("{value}\n"));
        let found = |all: &str, own: &str| reverse_path("eth0", &text(all), &text(own)).is_some();
        assert!(found("1", "0") && found("0", "1") && found("1", "1"));
        assert!(!found("0", "0") && !found("2", "1") && !found("1", "2"));
        assert!(reverse_path("eth0", &Err(io::ErrorKind::NotFound.into()), &text("0")).is_none());
    }
}
