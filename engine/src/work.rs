//! What a scan is about, fixed when it starts and shared by sender and receiver: which targets, in which order, under
//! which key, by which path each.

use std::net::IpAddr;
use std::sync::Arc;

use crate::canary::Canaries;
use crate::cookie::{Cookie, Origin};
use crate::impostors::Fitness;
use crate::loss::Kind;
use crate::permute::Permutation;
use crate::plan::{EgressId, Found, Located, Plan};
use crate::prefix::Prefixes;
use crate::route::Neighbours;
use crate::target::{Family, Index, Position, Seq, Target};
use crate::verdict::{DownReason, State};
use crate::wire::MacAddr;
use crate::wire::syn::{LinkHeader, Probe, SynTemplate};

/// The fixed part of a scan.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) plan: Plan,
    pub(crate) permutation: Permutation,
    pub(crate) cookie: Cookie,
    /// By egress.
    pub(crate) paths: Vec<Path>,
    /// Pass p leaves from this port plus p.
    pub(crate) source_port: u16,
    pub(crate) passes: u8,
    /// What the order and the control ports are drawn from.
    pub(crate) seed: u64,
    /// Whether control probes may be sent. They leave from the port after the canaries'.
    pub(crate) controls: bool,
    /// The states that are reported as events.
    pub(crate) report: Report,
}

/// How the targets of one egress are reached.
#[derive(Debug)]
pub(crate) struct Path {
    /// Which of the scan's links.
    pub(crate) link: usize,
    pub(crate) source: IpAddr,
    pub(crate) header: LinkHeader,
    /// The link addresses of on-link hosts; none where the header already has the next hop's.
    pub(crate) neighbours: Option<Arc<Neighbours>>,
}

/// The cookies of every pass and path, as far as they are the same for all its probes.
#[derive(Debug)]
pub(crate) struct Origins {
    /// By egress.
    sources: Vec<(Family, u128)>,
    /// By pass, then by egress.
    origins: Vec<Vec<Origin>>,
}

/// A probe and the way it takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing {
    pub(crate) egress: EgressId,
    pub(crate) link: usize,
    port: u16,
    seq: Seq,
    mac: Option<MacAddr>,
    family: Family,
    address: u128,
}

/// What becomes of a position.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    Send(Outgoing),
    /// Its host is down.
    Down,
}

/// Which states are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) open: bool,
    pub(crate) closed: bool,
    pub(crate) filtered: bool,
}

impl Work {
    /// The source port of a pass.
    pub(crate) fn port(&self, pass: u8) -> u16 {
        self.source_port + u16::from(pass)
    }

    /// The number by which canaries go: one more than the passes.
    #[inline]
    pub(crate) fn canary(&self) -> u8 {
        self.passes
    }

    /// The pass that a port belongs to, or that canaries go by.
    #[inline]
    pub(crate) fn pass(&self, port: u16) -> Option<u8> {
        let pass = port.wrapping_sub(self.source_port);
        (pass <= u16::from(self.passes)).then_some(pass as u8)
    }

    /// The source port of control probes.
    #[inline]
    pub(crate) fn control_port(&self) -> u16 {
        self.source_port + u16::from(self.passes) + 1
    }

    /// Whether a port is one that probes leave from.
    pub(crate) fn is_source_port(&self, port: u16) -> bool {
        self.pass(port).is_some() || port == self.control_port()
    }

    /// The template of the control probes that leave through an egress.
    pub(crate) fn control_template(&self, path: &Path) -> SynTemplate {
        SynTemplate::new(path.header, path.source, self.control_port())
    }

    /// The control probe to a port of the host of a target; none if the host is down.
    pub(crate) fn control(&self, host: Target, port: u16) -> Option<Outgoing> {
        let egress = self.plan.locate(self.plan.index(host)?)?.egress;
        let path = self.paths.get(usize::from(egress.0))?;
        let mac = path.mac(|| host.address)?;
        let (family, address) = Family::number(host.address);
        let seq = self.cookie.seq(path.source, self.control_port(), Target { port, ..host });
        Some(Outgoing { egress, link: path.link, port, seq, mac, family, address })
    }

    /// How well a target serves for a control probe.
    pub(crate) fn fitness(&self, target: Target) -> Fitness {
        match () {
            () if self.is_source_port(target.port) => Fitness::Unfit,
            () if self.plan.contains(target) => Fitness::Fair,
            () if self.plan.spares(target.port) => Fitness::Unfit,
            () => Fitness::Good,
        }
    }

    /// The template of the probes that leave through an egress in a pass.
    pub(crate) fn template(&self, path: &Path, pass: u8) -> SynTemplate {
        SynTemplate::new(path.header, path.source, self.port(pass))
    }

    /// The target at a position, and by which egress it is reached.
    pub(crate) fn target(&self, position: Position) -> Option<(Target, EgressId)> {
        let located = self.plan.locate(self.permutation.index(position))?;
        Some((located.target, located.egress))
    }

    /// The address that a target is probed from.
    pub(crate) fn source(&self, target: Target) -> Option<IpAddr> {
        let located = self.plan.locate(self.plan.index(target)?)?;
        Some(self.paths.get(usize::from(located.egress.0))?.source)
    }

    /// The probe for a target, by its index, in the pass of these origins.
    #[inline]
    pub(crate) fn probe(&self, index: Index, origins: &[Origin]) -> Option<Fate> {
        self.probe_to(self.plan.find(index)?, origins)
    }

    /// The same for a target that was looked up.
    #[inline]
    pub(crate) fn probe_to(&self, target: Found, origins: &[Origin]) -> Option<Fate> {
        let Found { family, address, port, egress } = target;
        let path = self.paths.get(usize::from(egress.0))?;
        let Some(mac) = path.mac(|| family.address(address)) else { return Some(Fate::Down) };
        let seq = origins.get(usize::from(egress.0))?.seq_of(family, address, port);
        Some(Fate::Send(Outgoing { family, address, port, seq, mac, egress, link: path.link }))
    }

    /// The cookies of all paths and passes, and of canaries.
    pub(crate) fn origins(&self) -> Origins {
        let sources = || self.paths.iter().map(|path| path.source);
        let of_pass = |pass| sources().map(|source| self.cookie.origin(source, self.port(pass))).collect();
        Origins { sources: sources().map(Family::number).collect(), origins: (0..=self.passes).map(of_pass).collect() }
    }

    /// Has the target at a position, which has answered so, probed again now and then.
    pub(crate) fn offer(&self, canaries: &Canaries, position: Position, state: State) {
        let kind = match state {
            State::Open => Kind::Open,
            State::Closed => Kind::Closed,
            State::Filtered => return,
        };
        let index = self.permutation.index(position);
        let Some(found) = self.plan.find(index) else { return };
        let Located { target, egress } = found.into();
        if !self.is_down(target, egress) {
            canaries.offer(kind, index, found.address, found.port);
        }
    }

    /// Whether the target at this position belongs to a host that is down.
    pub(crate) fn is_down(&self, target: Target, egress: EgressId) -> bool {
        self.paths.get(usize::from(egress.0)).is_none_or(|path| path.mac(|| target.address).is_none())
    }
}

impl Outgoing {
    /// The group of prefixes that its target belongs to.
    pub(crate) fn group(&self, prefixes: Prefixes) -> usize {
        prefixes.group(self.family, self.address)
    }

    /// What it changes of its template.
    #[inline]
    pub(crate) fn probe(&self) -> Probe {
        let target = Target { address: self.family.address(self.address), port: self.port };
        Probe { target, seq: self.seq, mac: self.mac }
    }
}

impl Origins {
    /// Of the probes that leave in a pass, by egress.
    #[inline]
    pub(crate) fn of(&self, pass: u8) -> &[Origin] {
        self.origins.get(usize::from(pass)).map_or(&[], Vec::as_slice)
    }

    /// Of the probes that left from an address in a pass; none if none left from there.
    #[inline]
    pub(crate) fn from(&self, source: (Family, u128), pass: u8) -> Option<&Origin> {
        self.of(pass).get(self.sources.iter().position(|other| *other == source)?)
    }
}

impl Path {
    /// The MAC to put into a probe: `Some(None)` leaves the template's, `None` means that the host is down.
    #[inline]
    #[expect(clippy::option_option, reason = "two questions: can it be reached, and does the frame need its MAC")]
    fn mac(&self, address: impl FnOnce() -> IpAddr) -> Option<Option<MacAddr>> {
        match &self.neighbours {
            None => Some(None),
            Some(neighbours) => neighbours.lookup(address()).map(Some),
        }
    }
}

impl Report {
    pub(crate) fn of(states: &[State]) -> Self {
        let has = |state| states.contains(&state);
        Report { open: has(State::Open), closed: has(State::Closed), filtered: has(State::Filtered) }
    }

    pub(crate) fn wants(self, state: State) -> bool {
        match state {
            State::Open => self.open,
            State::Closed => self.closed,
            State::Filtered => self.filtered,
        }
    }
}

/// What an on-link host of this address did not answer.
pub(crate) fn down_reason(address: IpAddr) -> DownReason {
    if address.is_ipv4() { DownReason::NoArp } else { DownReason::NoNd }
}

#[cfg(test)]
pub(crate) mod samples {
    //! A scan's fixed part, for the tests of its two halves.

    use super::*;

    pub(crate) const SOURCE: [u8; 4] = [192, 0, 2, 1];
    pub(crate) const SOURCE_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    pub(crate) const PORT: u16 = 40_000;

    /// Everything behind one gateway; egress 0, and so IPv4 unless the targets are all IPv6.
    pub(crate) fn work(targets: &str, ports: &str, passes: u8) -> Work {
        let plan = Plan::builder().targets(targets).unwrap().ports(ports).unwrap().build().unwrap();
        let source = if plan.has_v4() { SOURCE.into() } else { SOURCE_V6.into() };
        let header = LinkHeader::Ethernet { source: MacAddr([2; 6]), destination: MacAddr([4; 6]) };
        Work {
            permutation: Permutation::new(plan.len(), 7),
            plan,
            cookie: Cookie::new(1, 2),
            paths: vec![Path { link: 0, source, header, neighbours: None }],
            source_port: PORT,
            passes,
            seed: 7,
            controls: true,
            report: Report::of(&State::ALL),
        }
    }
}
