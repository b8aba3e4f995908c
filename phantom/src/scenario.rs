//! A scenario: hosts, what each of their ports does with a SYN, what the network does to packets, and so which verdict
//! is right for every target. Read from TOML (`file.rs` has the grammar); the same scenario drives phantoms on a real
//! link and in the simulator.
//!
//! ```toml
//! seed = 7                                    # decides everything that looks like chance
//!
//! [network]                                   # what all packets cross; all optional
//! loss_out = 0.05                             # of probes
//! loss_back = 0.05                            # of replies
//! burst_out = 10                              # so many probes are lost in a row, on average (Gilbert-Elliott);
//! burst_back = 10                             # without these each is lost by itself
//! delay = "10ms"                              # added to every reply
//! jitter = "5ms"                              # and this much more or less, so that replies overtake each other:
//! spread = "long-tailed"                      # uniform (0 to jitter, the default), normal (jitter is the standard
//!                                             # deviation), long-tailed (log-normal, jitter is the median)
//! distance = "40ms"                           # each host is further away by its own draw of this,
//! distance_spread = "long-tailed"             # spread as jitter may be
//! reorder = 0.01                              # this share of the replies is held back
//! reorder_by = "5ms"                          # for so long, on top of all other delay
//! duplicate_out = 0.01
//! duplicate_back = 0.01
//! bandwidth = 50000                           # probes a second that fit through; more wait in the queue
//! queue = 1000                                # probes that may wait; more are lost
//! changes = [                                 # in mid-scan, counted from the first packet, in order of time
//!   { at = "5s", bandwidth = 12500, loss_out = 0.1, loss_back = 0.1, delay = "50ms", queue = 100 },
//! ]
//!
//! [[path]]                                    # leads from the network on to some of the targets (the first that fits),
//! targets = "10.1.2.0/24"                     # and does more to their packets: every key of [network]
//! loss_out = 0.2
//!
//! [[firewall]]                                # stands before some of the targets, behind their path, and remembers
//! targets = ["10.1.4.0/24", "2001:db8:4::/48"] # every flow that begins
//! entries = 10000                             # this many at most: with a full table no flow begins
//! timeout = "30s"                             # each for so long
//!
//! [[router]]                                  # answers ARP and NDP for itself, and forwards to every host
//! name = "gw"
//! addresses = ["10.0.0.1", "2001:db8::1"]
//! icmp_rate = 1000                            # ICMP errors a second that it is willing to send
//!
//! [[host]]
//! addresses = ["10.0.0.2", "10.1.0.0/16"]     # a single address goes before a prefix, else the first that fits
//! rules = [                                   # the first whose ports fit; no rule: silent
//!   { ports = 80, behaviour = "open" },
//!   { ports = "22,8000-8100", behaviour = "closed", late = "300ms", copies = 2, ignore = 1 },
//!   { ports = 25, behaviour = "icmp 3/13", from = "gw", quote = "short" },
//!   { ports = "-", behaviour = "population", open = 0.01, closed = 0.3 },
//! ]
//! rst_rate = 100                              # RSTs a second that the host is willing to send
//! echo = true                                 # answers ICMP echo requests
//! syn_rate = 1000                             # SYNs a second that it takes notice of
//! icmp_rate = 10                              # ICMP errors a second that it is willing to send itself
//!
//! [[host]]
//! addresses = "10.0.0.9"
//! down = true                                 # does not even answer ARP or NDP
//! ```
//!
//! An address in no host is down too. A `tarpit` is `{ ports = "-", behaviour = "open" }`. The same can be said in code:
//! [`Scenario::seeded`] begins it, `builder.rs` has the rest.

mod behaviour;
mod builder;
mod file;
mod hosts;

pub use behaviour::{Behaviour, Forgery, Garbage};
pub use builder::HostKind;
pub(crate) use hosts::{Host, Prefix, Rule};

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use halfopen::{Reason, State, Target};

use crate::effects::EffectsSetting;
use hosts::Hosts;

/// Hosts, network and expected verdicts.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub(crate) seed: u64,
    pub(crate) effects: EffectsSetting,
    pub(crate) routers: Vec<Router>,
    pub(crate) hosts: Hosts,
}

/// A machine on the link that forwards to the hosts, and may send ICMP errors in their place.
#[derive(Debug, Clone)]
pub(crate) struct Router {
    pub(crate) name: String,
    pub(crate) addresses: Vec<IpAddr>,
    /// ICMP errors a second.
    pub(crate) icmp_rate: Option<u32>,
}

impl Router {
    /// Its address of the same family as `other`.
    pub(crate) fn address_towards(&self, other: IpAddr) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| address.is_ipv4() == other.is_ipv4())
    }
}

/// The verdict that is right for a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Its state.
    pub state: State,
    /// The reason for it.
    pub reason: Reason,
    /// Who sends the ICMP error, if one is sent.
    pub sender: Option<IpAddr>,
}

impl Expected {
    /// Nothing came back.
    pub const SILENCE: Expected = Expected::of(State::Filtered, Reason::NoResponse);

    /// A state and its reason, and nobody who sent an ICMP error.
    pub const fn of(state: State, reason: Reason) -> Expected {
        Expected { state, reason, sender: None }
    }
}

/// Why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's word.
        source: std::io::Error,
    },
    /// It is not TOML, or has keys that mean nothing here.
    #[error("not a scenario: {0}")]
    Toml(#[from] toml::de::Error),
    /// A value means nothing.
    #[error("{place}: cannot use {value:?}: {accepted}")]
    Value {
        /// Which table and key.
        place: String,
        /// The value.
        value: String,
        /// What would be accepted, as `expected ...`.
        accepted: &'static str,
    },
}

impl Scenario {
    /// Reads a scenario from TOML.
    pub fn parse(text: &str) -> Result<Scenario, ScenarioError> {
        file::parse(text)
    }

    /// Reads a scenario file.
    pub fn load(path: impl AsRef<Path>) -> Result<Scenario, ScenarioError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioError::Read { path: path.display().to_string(), source })?;
        Scenario::parse(&text)
    }

    /// Reads one of the files beside the source of this crate, `phantom/scenarios/<name>.toml`, for tests. Panics where it is
    /// not one.
    pub fn named(name: &str) -> Scenario {
        let path = format!("{}/scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        Scenario::load(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The same, with chance decided by another seed.
    pub fn with_seed(mut self, seed: u64) -> Scenario {
        self.seed = seed;
        self
    }

    /// The verdict that is right for a target that is probed, and not lost on the way. For a host that is down:
    /// no response.
    pub fn expected(&self, target: Target) -> Expected {
        let Some(host) = self.host(target.address) else { return Expected::SILENCE };
        host.rule(target.port).map_or(Expected::SILENCE, |rule| self.expected_of(target, rule))
    }

    /// Whether nobody answers ARP or NDP for an address.
    pub fn is_down(&self, address: IpAddr) -> bool {
        self.host(address).is_none()
    }

    /// Every address of a host that is down.
    pub fn down(&self) -> BTreeSet<IpAddr> {
        self.addresses().into_iter().filter(|&address| self.is_down(address)).collect()
    }

    /// Every address of every host, down ones included, in order.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.hosts.addresses()
    }

    /// The verdicts of every host that is up on these ports (`80`, `22,8000-8100`, `-`).
    pub fn expected_all(&self, ports: &str) -> BTreeMap<Target, Expected> {
        let ports = file::parse_ports(ports).unwrap_or_else(|accepted| panic!("{ports:?}: {accepted}"));
        let ports = || ports.iter().cloned().flatten();
        let up = self.addresses().into_iter().filter(|&address| !self.is_down(address));
        let targets = up.flat_map(|address| ports().map(move |port| Target { address, port }));
        targets.map(|target| (target, self.expected(target))).collect()
    }

    /// What a target does with a SYN, chance included; none for a host that is down.
    pub fn behaviour(&self, target: Target) -> Option<Behaviour> {
        let rule = self.host(target.address)?.rule(target.port);
        Some(rule.map_or(Behaviour::Silent, |rule| rule.behaviour.settle(self.seed, target)))
    }

    /// The host that is up at an address.
    pub(crate) fn host(&self, address: IpAddr) -> Option<&Host> {
        self.hosts.at(address).filter(|host| !host.down)
    }

    /// Who sends an ICMP error about a target.
    pub(crate) fn sender(&self, target: Target, rule: &Rule) -> IpAddr {
        let router = rule.router.and_then(|index| self.routers[index].address_towards(target.address));
        router.unwrap_or(target.address)
    }

    /// How many ICMP errors a second their sender is willing to send.
    pub(crate) fn icmp_rate(&self, host: &Host, rule: &Rule) -> Option<u32> {
        rule.router.map_or(host.icmp_rate, |index| self.routers[index].icmp_rate)
    }

    fn expected_of(&self, target: Target, rule: &Rule) -> Expected {
        if let Some(stated) = rule.expect {
            return Expected::of(stated.0, stated.1);
        }
        let mut expected = rule.behaviour.settle(self.seed, target).expected(target.address);
        if matches!(expected.reason, Reason::Icmp { .. } | Reason::Icmpv6 { .. }) {
            expected.sender = Some(self.sender(target, rule));
        }
        expected
    }
}
