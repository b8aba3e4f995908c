//! The demo's scene: which hosts there are, how each of them makes a scanner's life hard, and what is true of them. The
//! addresses are of networks that are kept for documentation and benchmarks (RFC 5737, RFC 3849, RFC 2544).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use halfopen_phantom::{Behaviour, Enclosure, EnclosureError, HostKind, Scenario, Spread, Stretch};

/// Decides everything that looks like chance: the scene is the same every time.
const SEED: u64 = 7;
/// The network behind the lossy line, as large as `--hosts` says.
const LOSSY: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// What the lossy line loses in each direction.
const LOSS: f64 = 0.03;
/// One address in so many there is a host.
const ONE_IN: u32 = 16;

/// A host of the scene that is worth a word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Character {
    pub(super) address: &'static str,
    /// What it does, for people.
    pub(super) does: &'static str,
    /// Whether its open ports are not worth much, and the scan should say so.
    pub(super) suspicious: bool,
    kind: fn() -> HostKind,
}

/// The characters, in order of address.
pub(super) const CHARACTERS: [Character; 8] = [
    Character { address: "192.0.2.10", does: "a web server on this link", suspicious: false, kind: web },
    Character {
        address: "192.0.2.20",
        does: "a firewall: it answers nothing at all",
        suspicious: false,
        kind: HostKind::silent,
    },
    Character { address: "192.0.2.30", does: "rejects by ICMP, all but port 443", suspicious: false, kind: rejecting },
    Character { address: "192.0.2.50", does: "a tarpit: every port is open", suspicious: true, kind: tarpit },
    Character {
        address: "192.0.2.60",
        does: "a SYN proxy: it forges answers for every port",
        suspicious: true,
        kind: forging,
    },
    Character { address: "203.0.113.40", does: "rations its RSTs, 400 a second", suspicious: false, kind: rationing },
    Character { address: "2001:db8::10", does: "a web server, by IPv6", suspicious: false, kind: web },
    Character { address: "2001:db8:1::25", does: "a mail server, by IPv6", suspicious: false, kind: mail },
];

/// Nobody has this address.
pub(super) const DOWN: &str = "192.0.2.70";

/// Hosts, and where they are.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) scenario: Scenario,
    /// Addresses behind the lossy line.
    hosts: u32,
}

impl Scene {
    /// With so many addresses behind the lossy line, at most 65,536.
    pub(super) fn new(hosts: u32) -> Scene {
        let line = Stretch::new()
            .loss(LOSS, LOSS)
            .delay(Duration::from_millis(15))
            .jitter(Duration::from_millis(10), Spread::Uniform);
        let scenario = Scenario::seeded(SEED)
            .path("198.18.0.0/15", line)
            .router("router", "192.0.2.1")
            .router("router6", "2001:db8::1");
        let scenario = CHARACTERS.iter().fold(scenario, |scenario, host| scenario.hosts(host.address, (host.kind)()));
        let up = (0..hosts).filter(|host| host % ONE_IN == host / ONE_IN % ONE_IN);
        let scenario = up.fold(scenario, |scenario, host| scenario.hosts(&lossy(host).to_string(), ordinary(host)));
        Scene { scenario, hosts }
    }

    /// Gives the scanner its addresses and routers. Whether there is IPv6.
    pub(super) fn furnish(enclosure: &Enclosure) -> Result<bool, EnclosureError> {
        enclosure.add_address([192, 0, 2, 2].into(), 24)?;
        enclosure.add_router([192, 0, 2, 1].into())?;
        let with_ipv6 = enclosure.add_address([0x2001, 0xdb8, 0, 0, 0, 0, 0, 2].into(), 64);
        let routed = with_ipv6.and_then(|()| enclosure.add_router([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()));
        Ok(routed.is_ok())
    }

    /// The lossy network, as targets.
    pub(super) fn lossy(&self) -> String {
        format!("{LOSSY}-{}", lossy(self.hosts - 1))
    }

    /// All targets, as a person would type them.
    pub(super) fn targets(&self, ipv6: bool) -> Vec<String> {
        let characters = CHARACTERS.iter().map(|host| host.address).chain([DOWN]);
        let usable = characters.filter(|address| ipv6 || !address.contains(':')).map(str::to_owned);
        [self.lossy()].into_iter().chain(usable).collect()
    }

    /// What of it is not worth much where it is open.
    pub(super) fn suspicious() -> impl Iterator<Item = IpAddr> {
        CHARACTERS.iter().filter(|host| host.suspicious).filter_map(|host| host.address.parse().ok())
    }

    /// The share of probes to the lossy network of which the probe or the answer is lost.
    pub(super) fn loss() -> f64 {
        1.0 - (1.0 - LOSS) * (1.0 - LOSS)
    }
}

fn lossy(host: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(LOSSY.to_bits() + host)
}

/// A host of the many: one of four kinds.
fn ordinary(host: u32) -> HostKind {
    match host / ONE_IN % 4 {
        0 => web(),
        1 => mail(),
        2 => serving("22,53,853"),
        _ => serving("139,445,515,631"),
    }
}

/// These ports open, the others closed.
fn serving(ports: &str) -> HostKind {
    HostKind::silent().echo().ports(ports, Behaviour::Open).ports("-", Behaviour::Closed)
}

fn web() -> HostKind {
    serving("22,80,443")
}

fn mail() -> HostKind {
    serving("22,25,143,465,587,993")
}

fn rejecting() -> HostKind {
    HostKind::silent().ports("443", Behaviour::Open).ports("-", Behaviour::Icmp { kind: 3, code: 13 })
}

fn rationing() -> HostKind {
    serving("22,80").rst_rate(400)
}

fn tarpit() -> HostKind {
    HostKind::silent().ports("-", Behaviour::Open)
}

fn forging() -> HostKind {
    HostKind::silent().ports("-", Behaviour::ForgedWindow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_hosts_of_any_network_are_there() {
        for hosts in [1, 256, 1000] {
            let scene = Scene::new(hosts);
            let up = (0..hosts).filter(|&host| !scene.scenario.is_down(lossy(host).into())).count();
            assert!(up >= 1 && up <= hosts.div_ceil(ONE_IN) as usize, "{up} of {hosts}");
        }
        assert_eq!(Scene::new(256).lossy(), "198.18.0.0-198.18.0.255");
        assert_eq!(Scene::new(65_536).lossy(), "198.18.0.0-198.18.255.255");
    }

    #[test]
    fn characters_are_where_they_are_said_to_be() {
        let scene = Scene::new(1);
        for host in CHARACTERS {
            assert!(!scene.scenario.is_down(host.address.parse().unwrap()), "{}", host.address);
        }
        assert!(scene.scenario.is_down(DOWN.parse().unwrap()));
        assert_eq!(Scene::suspicious().count(), 2);
        assert!(scene.targets(false).iter().all(|target| !target.contains(':')));
    }
}
