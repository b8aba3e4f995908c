//! From ranges of addresses to egresses and runs. The method: cut the ranges at every prefix the kernel's tables and
//! rules have, ask the kernel for one address of each piece, and join neighbouring pieces that leave alike. So the
//! kernel's own logic decides, and a table of a million routes costs only the questions that the plan touches.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::cells::Cells;
use super::kernel::{Answer, Delivery, Question, Refusal, RoutingTable};
use super::number::{Family, Span, spans};
use super::{Egress, Interface, InterfaceKind, NextHop, Overrides, Routed, Unreachable};
use crate::error::Error;
use crate::plan::{AddressRange, EgressId};

/// Resolves `ranges` against a routing table and the interfaces there are.
pub(super) fn resolve(
    table: &mut impl RoutingTable,
    interfaces: Vec<Interface>,
    ranges: impl Iterator<Item = AddressRange>,
    overrides: &Overrides,
) -> Result<Routed, Error> {
    let mut resolver = Resolver::new(table, interfaces, overrides)?;
    let mut runs = Runs::default();
    let spans = spans(ranges);
    for of_family in spans.chunk_by(|a, b| a.family == b.family) {
        resolver.family(of_family, &mut runs)?;
    }
    Ok(runs.finish())
}

/// Which of `ranges` cannot be reached, and why. Those that fail for one reason are together.
pub(super) fn unreachable(
    table: &mut impl RoutingTable,
    interfaces: Vec<Interface>,
    ranges: impl Iterator<Item = AddressRange>,
    overrides: &Overrides,
) -> Result<Vec<Unreachable>, Error> {
    let mut resolver = Resolver::new(table, interfaces, overrides)?;
    let mut refused = Vec::new();
    let spans = spans(ranges);
    for of_family in spans.chunk_by(|a, b| a.family == b.family) {
        resolver.refused(of_family, &mut refused)?;
    }
    Ok(refused)
}

/// The overrides, found to be possible.
struct Wanted {
    /// The interface's index and name.
    interface: Option<(u32, String)>,
    sources: Vec<IpAddr>,
}

impl Wanted {
    fn check(table: &mut impl RoutingTable, all: &[Interface], overrides: &Overrides) -> Result<Wanted, Error> {
        let named = overrides.interface.as_deref().map(|name| usable(name, all)).transpose()?;
        for &source in &overrides.source {
            ours(table, all, source)?;
        }
        if let [first, second, ..] = overrides.source[..]
            && (overrides.source.len() > 2 || first.is_ipv4() == second.is_ipv4())
        {
            let problem = format!("{first} and {second}: give at most one IPv4 and one IPv6 address");
            return Err(Error::Setting { setting: "source address", problem });
        }
        Ok(Wanted { interface: named, sources: overrides.source.clone() })
    }

    fn source(&self, family: Family) -> Option<IpAddr> {
        self.sources.iter().copied().find(|&source| Family::of(source) == family)
    }
}

/// The interface of that name, if it is there and can send.
fn usable(name: &str, all: &[Interface]) -> Result<(u32, String), Error> {
    let found = all.iter().find(|interface| interface.name == name).ok_or_else(|| Error::NoSuchInterface {
        name: name.into(),
        available: all.iter().map(|interface| interface.name.as_str()).collect::<Vec<_>>().join(", "),
    })?;
    can_send(found)?;
    Ok((found.index, found.name.clone()))
}

/// Without a carrier a device refuses every packet for as long as one likes to try.
fn can_send(interface: &Interface) -> Result<(), Error> {
    let name = || interface.name.clone();
    match (interface.up, interface.carrier) {
        (true, true) => Ok(()),
        (true, false) => Err(Error::NoCarrier { name: name() }),
        (false, _) => Err(Error::InterfaceDown { name: name() }),
    }
}

/// An address is ours when an interface has it, or when a route says that it is delivered here (`ip route add local`).
/// It need not be an address of the interface that packets leave through: Linux owns its addresses as a whole.
fn ours(table: &mut impl RoutingTable, all: &[Interface], source: IpAddr) -> Result<(), Error> {
    if all.iter().any(|interface| interface.owns(source)) || is_delivered_here(table, source)? {
        return Ok(());
    }
    Err(Error::SourceNotOurs { address: source, on: String::new() })
}

fn is_delivered_here(table: &mut impl RoutingTable, address: IpAddr) -> Result<bool, Error> {
    let answer = table.route(Question { destination: address, through: None, source: None })?;
    Ok(!address.is_unspecified() && answer.is_ok_and(|answer| answer.delivery == Delivery::Local))
}

struct Resolver<'a, T> {
    table: &'a mut T,
    interfaces: Vec<Arc<Interface>>,
    wanted: Wanted,
    /// Rules of the family at hand choose by source address.
    by_source: bool,
}

impl<'a, T: RoutingTable> Resolver<'a, T> {
    fn new(table: &'a mut T, interfaces: Vec<Interface>, overrides: &Overrides) -> Result<Self, Error> {
        let wanted = Wanted::check(table, &interfaces, overrides)?;
        Ok(Resolver { table, interfaces: interfaces.into_iter().map(Arc::new).collect(), wanted, by_source: false })
    }

    fn cells(&mut self, family: Family) -> Result<Cells, Error> {
        let prefixes = self.table.prefixes(family)?;
        self.by_source = prefixes.by_source;
        Ok(Cells::new(family, prefixes.all.into_iter()))
    }

    /// Those of ascending ranges of one family that cannot be reached; cell by cell, as in [`Self::family`].
    fn refused(&mut self, spans: &[Span], refused: &mut Vec<Unreachable>) -> Result<(), Error> {
        let Some(family) = spans.first().map(|span| span.family) else { return Ok(()) };
        let cells = self.cells(family)?;
        // The last cell, and whether it is refused.
        let mut last = None;
        for (cell, piece) in spans.iter().flat_map(|&span| cells.split(span)) {
            if last.is_none_or(|(asked, _)| asked != cell) {
                let reason = self.egress(family.address(piece.first)).err();
                last = Some((cell, reason.is_some()));
                refused.extend(reason.map(to_one_target).transpose()?);
            }
            if let (Some((_, true)), Some(refused)) = (last, refused.last_mut()) {
                refused.ranges.extend(piece.range());
            }
        }
        Ok(())
    }

    /// Resolves ascending ranges of one family. A cell is asked about once, however many ranges lie in it.
    fn family(&mut self, spans: &[Span], runs: &mut Runs) -> Result<(), Error> {
        let Some(family) = spans.first().map(|span| span.family) else { return Ok(()) };
        let cells = self.cells(family)?;
        let mut last = None;
        for (cell, piece) in spans.iter().flat_map(|&span| cells.split(span)) {
            let egress = match last {
                Some((asked, egress)) if asked == cell => egress,
                _ => runs.egress(self.egress(family.address(piece.first))?)?,
            };
            last = Some((cell, egress));
            runs.push(piece, egress);
        }
        Ok(())
    }

    /// How one address is reached.
    fn egress(&mut self, destination: IpAddr) -> Result<Egress, Error> {
        self.refuse_scopeless(destination)?;
        let (answer, asked_from) = self.answer(destination)?;
        let interface = self.interface(&answer)?;
        can_send(&interface)?;
        self.refuse_senseless(destination, &answer, &interface)?;
        let source = self.wanted.source(Family::of(destination)).or(answer.source).or(asked_from);
        let source = source.filter(|&source| reaches(source, destination, &answer, &interface));
        let next_hop = next_hop(&answer, interface.kind);
        match source {
            Some(source) => Ok(Egress { interface, source, next_hop }),
            None => Err(no_source(destination, &interface)),
        }
    }

    /// The kernel's answer, and the source address with which it was asked.
    ///
    /// Where rules look at the source, the answer for the source that was found is the one that counts, as in
    /// `connect` (net/ipv4: `ip_route_connect` looks up again once it has a source).
    fn answer(&mut self, destination: IpAddr) -> Result<(Answer, Option<IpAddr>), Error> {
        let wanted = self.wanted.source(Family::of(destination));
        let first = self.ask(destination, wanted)?;
        match first.source {
            Some(found) if self.by_source && wanted.is_none() && first.delivery == Delivery::Unicast => {
                Ok((self.ask(destination, Some(found))?, Some(found)))
            }
            _ => Ok((first, wanted)),
        }
    }

    /// Asks, through the wanted interface if there is one. IPv6 looks at the interface strictly only if the source is
    /// left open (net/ipv6/route.c `ip6_route_output_flags`), so an answer through another one is asked again.
    ///
    /// The kernel's EINVAL is that of a blackhole, and also that of a source which cannot send there (127.0.0.1 to
    /// another machine); without the source it only is the first.
    fn ask(&mut self, destination: IpAddr, source: Option<IpAddr>) -> Result<Answer, Error> {
        let through = self.wanted.interface.as_ref().map(|(index, _)| *index);
        let mut question = Question { destination, through, source };
        let mut answer = self.table.route(question)?;
        let strays = |answer: Answer| answer.delivery == Delivery::Unicast && through != Some(answer.interface);
        if through.is_some() && source.is_some() && answer.is_ok_and(strays) {
            question.source = None;
            answer = self.table.route(question)?;
        }
        match (answer, question.source) {
            (Ok(answer), _) => Ok(answer),
            (Err(Refusal::Blackhole), Some(source)) if self.wanted.sources.contains(&source) => {
                let open = self.table.route(Question { source: None, ..question })?;
                Err(self.no_route(destination, open.err().map_or_else(|| unfit(source, destination), Refusal::hint)))
            }
            (Err(refusal), _) => Err(self.no_route(destination, refusal.hint())),
        }
    }

    /// The interface of an answer. What is delivered here goes over loopback, whichever device the answer names (its
    /// owner's, in IPv6 also that of a VRF).
    fn interface(&self, answer: &Answer) -> Result<Arc<Interface>, Error> {
        let wanted = |interface: &&Arc<Interface>| match answer.delivery {
            Delivery::Local => interface.kind == InterfaceKind::Loopback,
            _ => interface.index == answer.interface,
        };
        self.interfaces.iter().find(wanted).cloned().ok_or_else(|| Error::System {
            operation: format!("find the interface with index {}, which a route names", answer.interface),
            source: std::io::ErrorKind::NotFound.into(),
        })
    }

    /// Addresses that mean nothing without an interface, or are no host's.
    fn refuse_scopeless(&self, destination: IpAddr) -> Result<(), Error> {
        if destination.is_unspecified() {
            return Err(self.no_route(destination, "it is no host's address; exclude it".into()));
        }
        if is_link_local(destination) && self.wanted.interface.is_none() {
            let hint = "a link-local address is meant on one link only; name its interface with --interface";
            return Err(self.no_route(destination, hint.into()));
        }
        Ok(())
    }

    /// Answers that the kernel gives although no packet should leave so.
    fn refuse_senseless(&self, destination: IpAddr, answer: &Answer, interface: &Interface) -> Result<(), Error> {
        let through = self.wanted.interface.as_ref().is_some_and(|(index, _)| *index != answer.interface);
        let elsewhere = answer.delivery != Delivery::Local;
        let hint = if answer.delivery == Delivery::Multicast {
            "it is a group's address, not a host's; exclude it".into()
        } else if elsewhere && destination.is_loopback() && interface.kind != InterfaceKind::Loopback {
            format!(
                "loopback addresses stay on this machine, but it would go out through {}; exclude it",
                interface.name
            )
        } else if elsewhere && (answer.assumed || through) {
            Refusal::NoRoute.hint()
        } else {
            return Ok(());
        };
        Err(self.no_route(destination, hint))
    }

    fn no_route(&self, address: IpAddr, mut hint: String) -> Error {
        if let Some((_, name)) = &self.wanted.interface {
            hint.push_str(&format!(" (looked for through {name} only)"));
        }
        Error::NoRoute { address, hint }
    }
}

impl Refusal {
    /// What the kernel says, and what to do.
    fn hint(self) -> String {
        let route =
            |kind| format!("the kernel has a route of type {kind} for it; exclude it, or see: ip route show table all");
        match self {
            Refusal::NoRoute => {
                "the routing table has neither a route to it nor a default route; add one (ip route add)".into()
            }
            Refusal::Unreachable => route("unreachable"),
            Refusal::Prohibited => route("prohibit"),
            Refusal::Blackhole => route("blackhole"),
            Refusal::Other(errno) => format!("the kernel says: {}", std::io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Why there is no route from a source that was asked for, although there is one from others.
fn unfit(source: IpAddr, destination: IpAddr) -> String {
    format!("the kernel cannot send from {source} to {destination}; choose another source address, or leave it open")
}

/// Who takes the packet on, by what the kernel says and the kind of link.
fn next_hop(answer: &Answer, kind: InterfaceKind) -> NextHop {
    match (answer.delivery, kind, answer.gateway) {
        (Delivery::Broadcast, _, _) => NextHop::OnLink,
        (Delivery::Local, _, _) | (_, InterfaceKind::Loopback | InterfaceKind::Plain, _) => NextHop::Direct,
        (_, InterfaceKind::Ethernet, Some(gateway)) => NextHop::Gateway(gateway),
        (_, InterfaceKind::Ethernet, None) => NextHop::OnLink,
    }
}

/// Whether answers to this source can come back: a link-local address means nothing behind a router, and a loopback
/// address nothing outside of this machine. The kernel names both when an interface has no better one.
fn reaches(source: IpAddr, destination: IpAddr, answer: &Answer, interface: &Interface) -> bool {
    let local = answer.delivery == Delivery::Local || interface.kind == InterfaceKind::Loopback;
    let routed = answer.gateway.is_some() && !is_link_local(destination);
    local || !(source.is_loopback() || source.is_unspecified() || routed && is_link_local(source))
}

/// fe80::/10 (RFC 4291 section 2.5.6). IPv4's 169.254.0.0/16 is routed like any other prefix.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn no_source(address: IpAddr, interface: &Interface) -> Error {
    Error::NoSource { address, family: Family::of(address).name(), interface: interface.name.clone() }
}

/// What keeps packets from one target, and not from others. Other errors are the system's.
fn to_one_target(error: Error) -> Result<Unreachable, Error> {
    match error {
        Error::NoRoute { .. } | Error::NoSource { .. } | Error::InterfaceDown { .. } | Error::NoCarrier { .. } => {
            Ok(Unreachable { ranges: Vec::new(), error })
        }
        error => Err(error),
    }
}

/// Egresses without repetition, and runs as long as they can be.
#[derive(Default)]
struct Runs {
    egresses: Vec<Egress>,
    known: HashMap<(u32, IpAddr, NextHop), EgressId>,
    runs: Vec<(Span, EgressId)>,
}

impl Runs {
    fn egress(&mut self, egress: Egress) -> Result<EgressId, Error> {
        let key = (egress.interface.index, egress.source, egress.next_hop);
        if let Some(&id) = self.known.get(&key) {
            return Ok(id);
        }
        let id = u16::try_from(self.egresses.len()).map(EgressId).map_err(|_| Error::Setting {
            setting: "targets",
            problem: "they leave in more than 65536 ways; split them over several scans".into(),
        })?;
        self.known.insert(key, id);
        self.egresses.push(egress);
        Ok(id)
    }

    fn push(&mut self, piece: Span, egress: EgressId) {
        match self.runs.last_mut() {
            Some((run, same))
                if *same == egress && run.family == piece.family && run.last.checked_add(1) == Some(piece.first) =>
            {
                run.last = piece.last;
            }
            _ => self.runs.push((piece, egress)),
        }
    }

    fn finish(self) -> Routed {
        let runs = self.runs.into_iter().filter_map(|(span, egress)| Some((span.range()?, egress))).collect();
        Routed { egresses: self.egresses, runs }
    }
}

#[cfg(test)]
mod tests;
