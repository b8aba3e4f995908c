//! Phantom hosts: machines that exist only as rules. They answer ARP, neighbour solicitations and SYNs for any number
//! of addresses without a word of memory for each. Sans-IO: a frame comes in with the time, replies go out with their
//! delays. What carries the frames, and what is lost on the way, is left to `responder.rs` and `network.rs`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use halfopen::Target;

use crate::frames::{self, Checksums, EchoRequest, Flow, Macs, Received, Segment};
use crate::random::{address_part, hash};
use crate::replies::{Replies, Sent};
use crate::scenario::{Behaviour, Host, Rule, Scenario};
use crate::tally::{Tally, TargetTally};

/// What frames look like on the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// They begin with an Ethernet header.
    Ethernet,
    /// They are IP packets (tun).
    Ip,
}

/// The hosts of a scenario.
#[derive(Debug)]
pub struct Phantoms {
    scenario: Arc<Scenario>,
    medium: Medium,
    checksums: Checksums,
    tally: Tally,
    recorded: Option<HashMap<Target, TargetTally>>,
    /// Of targets whose rule ignores the first SYNs: how many came.
    ignored: HashMap<Target, u32>,
    rst_limits: HashMap<IpAddr, Limit>,
    syn_limits: HashMap<IpAddr, Limit>,
    /// By who sends the errors, which may be a router for many hosts.
    icmp_limits: HashMap<IpAddr, Limit>,
}

/// The link address of a phantom: locally administered, different for every IPv4 address, and in practice for every
/// IPv6 address.
pub fn mac_of(address: IpAddr) -> [u8; 6] {
    let (kind, bytes) = match address {
        IpAddr::V4(address) => (4, address.octets()),
        IpAddr::V6(_) => (6, (hash(&[address_part(address)]) as u32).to_be_bytes()),
    };
    [0x02, kind, bytes[0], bytes[1], bytes[2], bytes[3]]
}

impl Phantoms {
    /// The hosts of a scenario, on a link of this kind.
    pub fn new(scenario: Scenario, medium: Medium) -> Phantoms {
        Phantoms {
            scenario: Arc::new(scenario),
            medium,
            checksums: Checksums::Checked,
            tally: Tally::default(),
            recorded: None,
            ignored: HashMap::new(),
            rst_limits: HashMap::new(),
            syn_limits: HashMap::new(),
            icmp_limits: HashMap::new(),
        }
    }

    /// Keeps counts of every target that is probed, for small plans.
    pub fn recording(mut self) -> Phantoms {
        self.recorded = Some(HashMap::new());
        self
    }

    /// Takes frames with whatever checksums: over a veth pair a kernel leaves its own unfinished.
    pub fn trusting_checksums(mut self) -> Phantoms {
        self.checksums = Checksums::Trusted;
        self
    }

    /// The scenario they follow.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// What they saw and did.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// What came for one target, if recording.
    pub fn target_tally(&self, target: Target) -> Option<&TargetTally> {
        self.recorded.as_ref()?.get(&target)
    }

    /// What came for every target that was probed, if recording.
    pub fn target_tallies(&self) -> impl Iterator<Item = (&Target, &TargetTally)> {
        self.recorded.iter().flatten()
    }

    /// A frame arrives at `now_ns` on a clock of the caller's: calls `out` for each reply, with the time by which it
    /// is to be held back.
    pub fn respond(&mut self, now_ns: u64, frame: &[u8], out: &mut impl FnMut(u64, Vec<u8>)) {
        let received = match self.medium {
            Medium::Ethernet => frames::read_ethernet(frame, self.checksums),
            Medium::Ip => frames::read_ip(frame, self.checksums),
        };
        match received {
            Received::ArpRequest { asker_mac, asker, wanted } => self.arp(asker_mac, asker, wanted, out),
            Received::Solicitation { asker_mac, asker, wanted } => self.solicited(asker_mac, asker, wanted, out),
            Received::Tcp(segment) => self.segment(now_ns, &segment, out),
            Received::Echo(request) => self.echo(&request, out),
            Received::Malformed => self.tally.malformed += 1,
            Received::BadChecksum => self.tally.bad_checksum += 1,
            Received::Other => self.tally.other += 1,
        }
    }

    /// The flow that a frame belongs to; none unless it is a segment.
    pub(crate) fn flow(&self, frame: &[u8]) -> Option<Flow> {
        match self.medium {
            Medium::Ethernet => frames::flow_of(frame.get(14..)?),
            Medium::Ip => frames::flow_of(frame),
        }
    }

    fn arp(&mut self, asker_mac: [u8; 6], asker: Ipv4Addr, wanted: Ipv4Addr, out: &mut impl FnMut(u64, Vec<u8>)) {
        if !self.is_neighbour(wanted.into()) {
            self.tally.neighbours_not_found += 1;
            return;
        }
        self.tally.arp_requests += 1;
        out(0, frames::arp_reply(mac_of(wanted.into()), wanted, asker_mac, asker));
    }

    fn solicited(&mut self, asker_mac: [u8; 6], asker: Ipv6Addr, wanted: Ipv6Addr, out: &mut impl FnMut(u64, Vec<u8>)) {
        // From no address: a machine that looks whether an address is free. It is.
        if !self.is_neighbour(wanted.into()) || asker.is_unspecified() {
            self.tally.neighbours_not_found += 1;
            return;
        }
        self.tally.solicitations += 1;
        out(0, frames::advertisement(mac_of(wanted.into()), wanted, asker_mac, asker));
    }

    fn echo(&mut self, request: &EchoRequest<'_>, out: &mut impl FnMut(u64, Vec<u8>)) {
        self.tally.echo_requests += 1;
        if !self.reaches(request.macs, request.destination) {
            self.tally.wrong_mac += 1;
        } else if self.scenario.host(request.destination).is_some_and(|host| host.echo) {
            self.tally.echo_replies += 1;
            out(0, frames::echo_reply(request));
        }
    }

    fn is_neighbour(&self, address: IpAddr) -> bool {
        self.is_router(address) || self.scenario.host(address).is_some()
    }

    fn is_router(&self, address: IpAddr) -> bool {
        self.scenario.routers.iter().any(|router| router.addresses.contains(&address))
    }

    fn segment(&mut self, now: u64, segment: &Segment<'_>, out: &mut impl FnMut(u64, Vec<u8>)) {
        if !self.reaches(segment.macs, segment.destination) {
            self.tally.wrong_mac += 1;
        } else if segment.rst {
            self.reset_received(segment);
        } else if segment.syn && !segment.ack {
            self.syn_received(now, segment, out);
        } else {
            self.tally.other_tcp += 1;
        }
    }

    /// A real host would not see a frame sent to another link address.
    fn reaches(&self, macs: Option<Macs>, host: IpAddr) -> bool {
        let Some(macs) = macs else { return true };
        let routers = || self.scenario.routers.iter().flat_map(|router| &router.addresses);
        macs.destination == mac_of(host) || routers().any(|&router| mac_of(router) == macs.destination)
    }

    fn reset_received(&mut self, segment: &Segment<'_>) {
        self.tally.rsts += 1;
        let Some(tally) = self.record(target_of(segment)) else { return };
        let fits = |&(port, seq): &(u16, u32)| port == segment.source_port && seq.wrapping_add(1) == segment.seq;
        match tally.syns.iter().any(fits) {
            true => tally.rsts += 1,
            false => tally.stray_rsts += 1,
        }
    }

    fn syn_received(&mut self, now: u64, segment: &Segment<'_>, out: &mut impl FnMut(u64, Vec<u8>)) {
        let target = target_of(segment);
        self.tally.syns += 1;
        self.tally.syns_without_mss += u64::from(!segment.has_mss);
        if let Some(tally) = self.record(target) {
            tally.syns.push((segment.source_port, segment.seq));
        }
        let scenario = Arc::clone(&self.scenario);
        let Some(host) = scenario.host(target.address) else {
            self.tally.syns_to_nobody += 1;
            return;
        };
        if let Some((rule, behaviour)) = self.willing(now, &scenario, host, target) {
            self.answer(&scenario, rule, behaviour, segment, out);
        }
    }

    /// What the host does with a SYN, if it takes notice of it.
    fn willing<'a>(
        &mut self,
        now: u64,
        scenario: &Scenario,
        host: &'a Host,
        target: Target,
    ) -> Option<(&'a Rule, Behaviour)> {
        let rule = host.rule(target.port)?;
        let behaviour = rule.behaviour.settle(scenario.seed, target);
        let within = allowed(&mut self.syn_limits, host.syn_rate, target.address, now)
            && match behaviour {
                Behaviour::Closed | Behaviour::ClosedSameAck => {
                    allowed(&mut self.rst_limits, host.rst_rate, target.address, now)
                }
                Behaviour::Icmp { .. } => {
                    let rate = scenario.icmp_rate(host, rule);
                    allowed(&mut self.icmp_limits, rate, scenario.sender(target, rule), now)
                }
                _ => true,
            };
        self.tally.rate_limited += u64::from(!within);
        (within && !self.is_ignored(target, rule)).then_some((rule, behaviour))
    }

    fn is_ignored(&mut self, target: Target, rule: &Rule) -> bool {
        if rule.ignore == 0 {
            return false;
        }
        let seen = self.ignored.entry(target).or_default();
        *seen += 1;
        *seen <= rule.ignore
    }

    fn answer(
        &mut self,
        scenario: &Scenario,
        rule: &Rule,
        behaviour: Behaviour,
        segment: &Segment<'_>,
        out: &mut impl FnMut(u64, Vec<u8>),
    ) {
        let target = target_of(segment);
        let error_sender = scenario.sender(target, rule);
        let replies = Replies { seed: scenario.seed, error_sender, short_quote: rule.short_quote, probe: segment };
        replies.to(behaviour, &mut |sent, delay, frame| {
            for _ in 1..rule.copies {
                self.count(sent, target);
                out(rule.late + delay, frame.clone());
            }
            self.count(sent, target);
            out(rule.late + delay, frame);
        });
    }

    fn count(&mut self, sent: Sent, target: Target) {
        match sent {
            Sent::SynAck => self.tally.syn_acks += 1,
            Sent::Split => self.tally.split_syns += 1,
            Sent::Reset => self.tally.rsts_sent += 1,
            Sent::Icmp => self.tally.icmp_sent += 1,
            Sent::Forged => self.tally.forged += 1,
        }
        if let (Sent::SynAck, Some(tally)) = (sent, self.record(target)) {
            tally.syn_acks += 1;
        }
    }

    fn record(&mut self, target: Target) -> Option<&mut TargetTally> {
        Some(self.recorded.as_mut()?.entry(target).or_default())
    }
}

fn target_of(segment: &Segment<'_>) -> Target {
    Target { address: segment.destination, port: segment.destination_port }
}

/// A rate limit as the generic cell rate algorithm (ITU-T I.371): a tenth of a second's worth may come at once.
#[derive(Debug, Default)]
struct Limit {
    /// When the next one would be due at the exact rate.
    due: u64,
}

impl Limit {
    fn allows(&mut self, rate: u32, now: u64) -> bool {
        const BURST: u64 = 100_000_000;
        if self.due > now.saturating_add(BURST) {
            return false;
        }
        self.due = self.due.max(now) + 1_000_000_000 / u64::from(rate);
        true
    }
}

fn allowed(limits: &mut HashMap<IpAddr, Limit>, rate: Option<u32>, address: IpAddr, now: u64) -> bool {
    rate.is_none_or(|rate| limits.entry(address).or_default().allows(rate, now))
}
