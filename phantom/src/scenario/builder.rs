//! Scenarios made in code: the same parts as in a file, each a call. What means nothing panics: it is the caller's mistake.
//!
//! ```
//! use halfopen_phantom::{HostKind, Scenario, Stretch};
//!
//! let scenario = Scenario::seeded(7)
//!     .network(Stretch::new().loss(0.01, 0.01).bursts(10.0))
//!     .path("10.65.1.0/24", Stretch::new().loss(0.3, 0.3))
//!     .router("gateway", "10.7.0.1")
//!     .hosts("10.65.0.0/22", HostKind::population(0.02, 0.3).rst_rate(100));
//! # assert!(!scenario.is_down([10, 65, 3, 255].into()));
//! ```

use std::time::Duration;

use super::file::parse_ports;
use super::hosts::Hosts;
use super::{Behaviour, Host, Prefix, Router, Rule, Scenario};
use crate::effects::{EffectsSetting, FirewallSetting, Stretch};

impl Scenario {
    /// Nobody, on a network that does nothing.
    pub fn seeded(seed: u64) -> Scenario {
        Scenario { seed, effects: EffectsSetting::default(), routers: Vec::new(), hosts: Hosts::default() }
    }

    /// What all packets cross.
    pub fn network(mut self, stretch: Stretch) -> Scenario {
        self.effects.network = stretch;
        self
    }

    /// What packets to these targets (an address or a prefix) cross as well; the first path that leads to one counts.
    pub fn path(mut self, targets: &str, stretch: Stretch) -> Scenario {
        self.effects.paths.push((vec![prefix(targets)], stretch));
        self
    }

    /// A firewall before these targets that has room for so many flows, and keeps each for so long.
    pub fn firewall(mut self, targets: &str, entries: usize, timeout: Duration) -> Scenario {
        let timeout = timeout.as_nanos() as u64;
        self.effects.firewalls.push(FirewallSetting { targets: vec![prefix(targets)], entries, timeout });
        self
    }

    /// A machine that forwards to every host.
    pub fn router(mut self, name: &str, address: &str) -> Scenario {
        let address = address.parse().unwrap_or_else(|_| panic!("not an address: {address:?}"));
        self.routers.push(Router { name: name.into(), addresses: vec![address], icmp_rate: None });
        self
    }

    /// Hosts of one kind at these addresses (an address or a prefix); the first that fit an address count.
    pub fn hosts(mut self, addresses: &str, kind: HostKind) -> Scenario {
        self.hosts.add(&[prefix(addresses)], kind.0);
        self
    }
}

fn prefix(text: &str) -> Prefix {
    Prefix::parse(text).unwrap_or_else(|| panic!("not an address or a prefix: {text:?}"))
}

/// What hosts of one kind do: nothing, but for what is said.
#[derive(Debug, Clone)]
pub struct HostKind(Host);

impl HostKind {
    /// Silent on every port.
    pub fn silent() -> HostKind {
        HostKind(Host { down: false, echo: false, rules: Vec::new(), rst_rate: None, syn_rate: None, icmp_rate: None })
    }

    /// These shares of its ports are open and closed, as chance has it for each, and the others silent. A hash decides:
    /// any number of such hosts takes no memory.
    pub fn population(open: f64, closed: f64) -> HostKind {
        HostKind::silent().ports("-", Behaviour::Population { open, closed })
    }

    /// What further ports do (`80`, `22,8000-8100`, `-`); the first rule that speaks of a port counts.
    pub fn ports(mut self, ports: &str, behaviour: Behaviour) -> HostKind {
        let ports = parse_ports(ports).unwrap_or_else(|accepted| panic!("{ports:?}: {accepted}"));
        self.0.rules.push(Rule {
            ports,
            behaviour,
            router: None,
            late: 0,
            copies: 1,
            ignore: 0,
            short_quote: false,
            expect: None,
        });
        self
    }

    /// Answers ICMP echo requests.
    pub fn echo(mut self) -> HostKind {
        self.0.echo = true;
        self
    }

    /// RSTs a second that it is willing to send.
    pub fn rst_rate(mut self, rate: u32) -> HostKind {
        self.0.rst_rate = Some(rate.max(1));
        self
    }

    /// SYNs a second that it takes notice of.
    pub fn syn_rate(mut self, rate: u32) -> HostKind {
        self.0.syn_rate = Some(rate.max(1));
        self
    }

    /// ICMP errors a second that it is willing to send.
    pub fn icmp_rate(mut self, rate: u32) -> HostKind {
        self.0.icmp_rate = Some(rate.max(1));
        self
    }
}
