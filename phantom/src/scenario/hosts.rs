//! The hosts of a scenario, found by address: single addresses in a table, prefixes in the order of the file.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use halfopen::{Reason, State};

use super::Behaviour;

/// Hosts that behave alike.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) down: bool,
    pub(crate) rules: Vec<Rule>,
    /// Whether it answers ICMP echo requests.
    pub(crate) echo: bool,
    /// RSTs a second.
    pub(crate) rst_rate: Option<u32>,
    /// SYNs a second.
    pub(crate) syn_rate: Option<u32>,
    /// ICMP errors a second that it sends itself.
    pub(crate) icmp_rate: Option<u32>,
}

/// What some ports do.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) ports: Vec<RangeInclusive<u16>>,
    pub(crate) behaviour: Behaviour,
    /// The router that sends the ICMP error, by its place in the scenario.
    pub(crate) router: Option<usize>,
    /// Nanoseconds by which replies are held back.
    pub(crate) late: u64,
    /// How often each reply is sent.
    pub(crate) copies: u32,
    /// How many SYNs to a target are passed over before the first is answered.
    pub(crate) ignore: u32,
    /// ICMP errors quote 8 bytes after the IP header, and not the whole packet.
    pub(crate) short_quote: bool,
    /// The verdict, where it does not follow from the behaviour.
    pub(crate) expect: Option<(State, Reason)>,
}

impl Host {
    /// The first rule that speaks of a port.
    pub(crate) fn rule(&self, port: u16) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.ports.iter().any(|range| range.contains(&port)))
    }
}

/// A network prefix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// `10.0.0.0/8`, or a whole address; none if it cannot be read.
    pub(crate) fn parse(text: &str) -> Option<Prefix> {
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().ok()?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let length = if length.is_empty() { whole } else { length.parse().ok()? };
        (length <= whole).then_some(Prefix { address, length })
    }

    pub(super) fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    fn is_single(&self) -> bool {
        self.free_bits() == 0
    }

    fn free_bits(&self) -> u32 {
        (if self.is_ipv4() { 32 } else { 128 }) - u32::from(self.length)
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let differing = bits(self.address) ^ bits(address);
        self.is_ipv4() == address.is_ipv4() && differing.checked_shr(self.free_bits()).unwrap_or(0) == 0
    }

    /// Every address of it; panics for more than a million, which nobody means to list.
    fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        assert!(self.free_bits() <= 20, "{self:?} is too large to be listed");
        let first = bits(self.address) >> self.free_bits() << self.free_bits();
        let ipv4 = self.is_ipv4();
        (0..1_u128 << self.free_bits()).map(move |offset| address(ipv4, first + offset))
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn address(ipv4: bool, bits: u128) -> IpAddr {
    if ipv4 { IpAddr::V4((bits as u32).into()) } else { IpAddr::V6(bits.into()) }
}

/// All hosts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    hosts: Vec<Host>,
    singles: HashMap<IpAddr, usize>,
    prefixes: Vec<(Prefix, usize)>,
}

impl Hosts {
    pub(super) fn add(&mut self, prefixes: &[Prefix], host: Host) {
        let index = self.hosts.len();
        self.hosts.push(host);
        for &prefix in prefixes {
            if prefix.is_single() {
                self.singles.entry(prefix.address).or_insert(index);
            } else {
                self.prefixes.push((prefix, index));
            }
        }
    }

    pub(super) fn at(&self, address: IpAddr) -> Option<&Host> {
        let single = (!self.singles.is_empty()).then(|| self.singles.get(&address)).flatten();
        let index = single.or_else(|| Some(&self.prefixes.iter().find(|(prefix, _)| prefix.contains(address))?.1));
        index.map(|&index| &self.hosts[index])
    }

    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let in_prefixes = self.prefixes.iter().flat_map(|(prefix, _)| prefix.addresses());
        self.singles.keys().copied().chain(in_prefixes).collect::<BTreeSet<_>>().into_iter().collect()
    }
}
