//! The settings of a scan: what each is, which values there are, and what follows from them together. How they are set
//! is the builder's.

use std::net::IpAddr;

use crate::counters::MAX_PASSES;
use crate::discover::Discover;
use crate::error::Error;
use crate::link::{LinkKind, Receive};
use crate::pace::{Pps, Rate};
use crate::plan::{Plan, Shard};
use crate::random;
use crate::sender::Cooldown;
use crate::table::VerdictTable;
use crate::verdict::State;
use crate::wire::MacAddr;

/// How a port is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Method {
    /// `Syn` where raw sockets may be opened; else `Connect`, with a [`Event::Warning`](crate::Event::Warning) that says so.
    #[default]
    Auto,
    /// Half-open: a SYN, and whatever comes back. Needs CAP_NET_RAW.
    Syn,
    /// By the kernel's connect(2): needs no rights, is slower, leaves traces in the targets' logs, and does not see
    /// every reason.
    Connect,
}

impl Method {
    /// `auto`, `syn`, `connect`.
    pub fn name(self) -> &'static str {
        match self {
            Method::Auto => "auto",
            Method::Syn => "syn",
            Method::Connect => "connect",
        }
    }
}

/// More than any device has queues that one machine could fill.
const MAX_SENDERS: u8 = 16;

/// The settings of a scan, as they take effect.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// How ports are asked. After the start never `Auto`.
    pub method: Method,
    /// How fast. Default [`Rate::Auto`]: as fast as nothing is lost.
    pub rate: Rate,
    /// The highest rate that is tried by [`Rate::Auto`]; none for as fast as the machine can.
    pub max_rate: Option<Pps>,
    /// The lowest rate that [`Rate::Auto`] falls to; none for no such bound.
    pub min_rate: Option<Pps>,
    /// What a single host receives at most.
    pub host_rate: HostRate,
    /// Whether the hosts that answer anything are looked for first, and only those scanned. No effect on a connect scan.
    pub discover: Discover,
    /// How many threads send, each its own part of the targets at its share of the rate: 1 to 16, default 1. After the
    /// start as many as there are: never more than targets, or probes a second, or than the links have room for. A
    /// connect scan has one.
    pub senders: u8,
    /// The share of all answers that is to be found: passes stop when a tenth of the rest is expected to be missing, and no
    /// more than the rest, or a single one, by the upper end of a 95 % interval. 1 never stops for that. Default 0.999.
    pub completeness: f64,
    /// How many passes at most: all targets in the first, in each further one the unanswered where answers are missing.
    /// Default 10, as nmap's.
    pub max_passes: u8,
    /// Whether hosts whose answers are questionable are asked at a few random high ports that need not be in the plan: what
    /// is open there is no server, see [`crate::Suspect`]. (Ports that an exclusion names are never asked.) Default true.
    pub controls: bool,
    /// What fixes the order. Default: drawn at random when the builder is made.
    pub seed: u64,
    /// Which part of a plan is scanned; none for all of it.
    pub shard: Option<Shard>,
    /// How long to listen after the last probe.
    pub cooldown: Cooldown,
    /// The states that are reported as events; the summary counts all. Default: all.
    pub report: Vec<State>,
    /// The only interface to leave through; none lets the kernel's routes decide.
    pub interface: Option<String>,
    /// Source addresses, at most one of each family; none lets the kernel decide.
    pub source_ip: Vec<IpAddr>,
    /// The first source port. None draws one; after the start it is the one in use (none for connect).
    pub source_port: Option<u16>,
    /// The link address of every gateway; none asks for it.
    pub gateway_mac: Option<MacAddr>,
    /// The kind of link.
    pub link: LinkKind,
    /// How replies are received.
    pub receive: Receive,
    /// The most memory for the table of verdicts, in bytes. Default 256 MiB, for 2^30 targets at a time.
    pub memory_limit: u64,
    /// After the start: the links in use, as `kind@interface`; `sends+receives@interface` where those are two kinds, with
    /// the mode of AF_XDP and XDP: `af_xdp(copy)+xdp(native)@eth0`.
    pub links: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            method: Method::Auto,
            rate: Rate::default(),
            max_rate: None,
            min_rate: None,
            host_rate: HostRate::Auto,
            discover: Discover::Auto,
            senders: 1,
            completeness: 0.999,
            max_passes: 10,
            controls: true,
            seed: random::number(),
            shard: None,
            cooldown: Cooldown::Auto,
            report: State::ALL.to_vec(),
            interface: None,
            source_ip: Vec::new(),
            source_port: None,
            gateway_mac: None,
            link: LinkKind::Auto,
            receive: Receive::Auto,
            memory_limit: 256 << 20,
            links: Vec::new(),
        }
    }
}

impl Settings {
    /// How many targets are worked on at one time.
    pub(crate) fn cells(&self, targets: u64) -> u64 {
        VerdictTable::cells(self.memory_limit).min(targets.max(1))
    }

    /// Source ports: one for each pass, one for canaries, and one for control probes.
    pub(crate) fn ports(&self) -> u16 {
        u16::from(self.max_passes) + 2
    }

    /// What a host of this plan may get, if there is a bound.
    pub(crate) fn host_cap(&self, plan: &Plan) -> Option<HostCap> {
        match self.host_rate {
            HostRate::Limit(Pps(pps)) => Some(HostCap(pps)),
            HostRate::Auto if self.rate == Rate::Auto && !is_loopback(plan) => Some(HostCap(GENTLE)),
            HostRate::Auto | HostRate::Unlimited => None,
        }
    }

    /// What keeps the scan of this plan from the lowest rate that was asked for, if something does: no host gets more than
    /// its own.
    pub(crate) fn out_of_reach(&self, plan: &Plan) -> Option<String> {
        let (Pps(least), HostCap(cap)) = (self.min_rate?, self.host_cap(plan)?);
        let most = u64::try_from(plan.hosts()).unwrap_or(u64::MAX).saturating_mul(cap);
        (most < least).then(|| {
            let (hosts, what) = (plan.hosts(), if plan.hosts() == 1 { "host" } else { "hosts" });
            format!(
                "the lowest rate, {least}/s, is out of reach: {hosts} {what} at {cap}/s each get {most}/s; a higher host rate, \
                 or none, lifts that"
            )
        })
    }

    /// The rate to prepare for. Where it will be found while scanning, and nobody said how far it may go, that is what
    /// packet sockets are good for: more takes programs in the kernel, and whoever wants those says so.
    pub(crate) fn highest_rate(&self) -> Rate {
        match (self.rate, self.max_rate) {
            (Rate::Auto, most) => Rate::Fixed(most.unwrap_or(AS_FAR)),
            (rate, _) => rate,
        }
    }

    /// As many senders as asked for, but not more than there is to do for.
    pub(crate) fn useful_senders(&self, targets: u64) -> u8 {
        let rate = if let Rate::Fixed(pps) = self.highest_rate() { pps.0 } else { u64::MAX };
        u64::from(self.senders).min(rate).min(targets).max(1) as u8
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let wrong = |setting, problem: String| Err(Error::Setting { setting, problem });
        if self.max_passes == 0 || self.max_passes > MAX_PASSES {
            return wrong("passes", format!("{} is not between 1 and {MAX_PASSES}", self.max_passes));
        }
        if !(0.0..=1.0).contains(&self.completeness) {
            return wrong("completeness", format!("{} is not a share between 0 and 1", self.completeness));
        }
        let zero = |rate| rate == Some(Pps(0));
        if zero(self.max_rate) || zero(self.min_rate) || self.host_rate == HostRate::Limit(Pps(0)) {
            return wrong("rate", "0 probes a second never ends; give at least 1".into());
        }
        if let (Some(Pps(least)), Some(Pps(most))) = (self.min_rate, self.max_rate)
            && least > most
        {
            return wrong("rate", format!("the lowest, {least}, is above the highest, {most}"));
        }
        if self.rate != Rate::Auto && (self.max_rate.is_some() || self.min_rate.is_some()) {
            return wrong("rate", "bounds are for a rate that is found while scanning; this one is fixed".into());
        }
        if self.senders == 0 || self.senders > MAX_SENDERS {
            return wrong("senders", format!("{} is not between 1 and {MAX_SENDERS}", self.senders));
        }
        if let Some(port) = self.source_port
            && (port == 0 || port.checked_add(self.ports() - 1).is_none())
        {
            let ports = self.ports();
            let problem =
                format!("{port} leaves no room for {ports} ports, one for each pass and two more, below 65536");
            return wrong("source port", problem);
        }
        if self.source_ip.iter().filter(|ip| ip.is_ipv4()).count() > 1
            || self.source_ip.iter().filter(|ip| ip.is_ipv6()).count() > 1
        {
            return wrong("source address", "more than one of a family; give one for IPv4 and one for IPv6".into());
        }
        if self.rate == Rate::Fixed(Pps(0)) {
            return wrong("rate", "0 probes a second never ends; give at least 1".into());
        }
        Ok(())
    }
}

/// What a single host receives at most, in probes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum HostRate {
    /// 1,000 where the rate is [`Rate::Auto`], unless the plan is all loopback; where a rate is given, nothing but that.
    #[default]
    Auto,
    /// This many.
    Limit(Pps),
    /// Whatever comes of the scan's rate.
    Unlimited,
}

/// How far a rate may go that nobody has bounded, as far as preparations are concerned.
const AS_FAR: Pps = Pps(500_000);
/// Gentle enough not to freeze a home router.
const GENTLE: u64 = 1_000;

/// A host's bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostCap(pub(crate) u64);

impl HostCap {
    /// The rate at which a plan's hosts get no more than this each: the order spreads a host's targets evenly over it, so
    /// that a host gets its share of the rate.
    pub(crate) fn for_all(self, plan: &Plan) -> u64 {
        let most = plan.most_ports().max(1);
        u64::try_from(u128::from(self.0) * u128::from(plan.len()) / u128::from(most)).unwrap_or(u64::MAX).max(1)
    }
}

pub(crate) fn is_loopback(plan: &Plan) -> bool {
    plan.ranges().all(|range| range.first().is_loopback() && range.last().is_loopback())
}
