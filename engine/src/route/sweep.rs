//! Finds the link addresses of a link's hosts by asking for each one, with ARP or neighbour solicitation, and tells who
//! answered. A state machine without sockets and clocks: time and frames come in, frames go out.
//!
//! ```text
//!            all asked             silence               third pass
//!   Asking ───────────▶ Listening ─────────▶ Asking ... ───────────▶ Done
//!      └──────────────────── everybody has answered ─────────────────▲
//! ```
//!
//! The first pass asks for every address, the second and third only for those that have not answered. Between passes it
//! listens until nothing new has come for 200 ms, and never longer than 1 s: hosts on a link answer within
//! milliseconds, those on a sleeping radio within some hundreds, and while answers keep coming more may follow. After
//! the last pass it listens for 500 ms in the same way. One silent gateway thus costs 0.9 s. (The kernel's own pace is
//! three requests, 1 s apart: arp(7) `retrans_time_ms`, RFC 4861 section 10.)
//!
//! An answer counts when it comes from an address that has been asked for, and to the address that asked. The first one
//! wins; a later one with another link address is counted, not believed. There is an entry for each host that answers
//! and nothing for one that does not, so a sweep of 10.0.0.0/8 costs the memory of those who are there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::number::{Family, Span, number, spans};
use super::{Interface, InterfaceKind, Neighbours};
use crate::plan::AddressRange;
use crate::time::Time;
use crate::wire::MacAddr;
use crate::wire::arp::{Arp, ArpError, Operation};
use crate::wire::ndp::{Advertisement, NdpError, Solicitation};

/// How often an address is asked for.
const PASSES: u32 = 3;
/// Without a new answer for this long, a pass is over.
const QUIET: Duration = Duration::from_millis(200);
/// The same for the last pass, after which there is no other chance.
const LAST_QUIET: Duration = Duration::from_millis(500);
/// A pass is over this long after its last request, whatever comes.
const PATIENCE: Duration = Duration::from_secs(1);
/// After a stall, this much of it is caught up with at once and the rest forgotten: a burst would overrun the link.
const BURST: Duration = Duration::from_millis(10);
/// When the link has no room for a frame, it is tried again after this.
const BUSY: Duration = Duration::from_millis(1);

/// Who asks: the link address, and an address of each family that may be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Asker {
    /// Without it nobody can be asked, and everybody is silent.
    pub(crate) mac: Option<MacAddr>,
    /// Without it no IPv4 address can be asked for.
    pub(crate) v4: Option<Ipv4Addr>,
    /// Without it no IPv6 address can be asked for.
    pub(crate) v6: Option<Ipv6Addr>,
}

impl Asker {
    /// An interface asks: from the first of `sources` of each family; from an address of its own where there is none,
    /// or where it is IPv6 and not the interface's (RFC 4861 section 7.2.2 wants one that is).
    pub(crate) fn on(interface: &Interface, sources: &[IpAddr]) -> Asker {
        let own = || interface.addresses.iter().map(|own| own.address);
        let v4 = sources.iter().copied().chain(own()).find_map(v4);
        let link_local = |address: &Ipv6Addr| address.is_unicast_link_local();
        let fitting = sources.iter().copied().filter(|&source| interface.owns(source)).find_map(v6);
        let v6 = fitting.or_else(|| own().filter_map(v6).find(link_local)).or_else(|| own().find_map(v6));
        let mac = interface.mac.filter(|_| interface.kind == InterfaceKind::Ethernet);
        Asker { mac, v4, v6 }
    }

    fn can_ask(&self, family: Family) -> bool {
        self.mac.is_some()
            && match family {
                Family::V4 => self.v4.is_some(),
                Family::V6 => self.v6.is_some(),
            }
    }

    fn is_asker(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4 == Some(address),
            IpAddr::V6(address) => self.v6 == Some(address),
        }
    }

    /// Gives the frame that asks for an address to `emit`; tells whether the link took it.
    fn ask(&self, target: IpAddr, emit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        match (target, self.mac, self.v4, self.v6) {
            (IpAddr::V4(target), Some(mac), Some(source), _) => emit(&Arp::request(mac, source, target).emit()),
            (IpAddr::V6(target), Some(source_mac), _, Some(source)) => {
                emit(&Solicitation { source_mac, source, target }.emit())
            }
            _ => true, // never asked: `can_ask` has left these out
        }
    }
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    if let IpAddr::V4(address) = address { Some(address) } else { None }
}

fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    if let IpAddr::V6(address) = address { Some(address) } else { None }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Poll again at this time; feed every frame that comes until then.
    Until(Time),
    /// The sweep is over.
    Done,
}

/// What was heard, by kind. All but `answers` change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Heard {
    /// First answers of hosts.
    pub(crate) answers: u64,
    /// The same answer again.
    pub(crate) duplicates: u64,
    /// An answer with another link address than the first: two hosts claim one address, or one of them lies.
    pub(crate) conflicts: u64,
    /// Answers that nobody had asked for, or that were not for us.
    pub(crate) unasked: u64,
    /// Answers that break the protocol's rules, or name a link address that no host can have.
    pub(crate) invalid: u64,
    /// Any other traffic.
    pub(crate) other: u64,
}

/// A sweep of addresses on one interface.
#[derive(Debug)]
pub(crate) struct Sweep {
    asker: Asker,
    /// The time between two requests.
    interval: Duration,
    /// What is asked for, ascending.
    spans: Vec<Span>,
    asked: u128,
    phase: Phase,
    /// 0 is the first.
    pass: u32,
    cursor: Cursor,
    /// When the next request may leave.
    due: Time,
    last_request: Time,
    /// When a request left or a new answer came last.
    last_news: Time,
    neighbours: Neighbours,
    heard: Heard,
    requests: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Asking,
    Listening,
    Done,
}

/// The next address to ask for: a place in the spans, and a number in that span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cursor {
    span: usize,
    number: u128,
}

impl Sweep {
    /// Will ask for every address of `ranges`, which do not overlap, at `rate` requests a second (at least one).
    /// Addresses that `asker` cannot ask for are silent from the start.
    pub(crate) fn new(asker: Asker, ranges: impl Iterator<Item = AddressRange>, rate: u32) -> Sweep {
        let all = spans(ranges);
        let spans: Vec<_> = all.iter().copied().filter(|span| asker.can_ask(span.family)).collect();
        Sweep {
            asker,
            interval: Duration::from_secs(1) / rate.max(1),
            asked: spans.iter().fold(0, |sum, span| span.len().saturating_add(sum)),
            phase: Phase::Asking,
            pass: 0,
            cursor: start(&spans),
            spans,
            due: Time::ZERO,
            last_request: Time::ZERO,
            last_news: Time::ZERO,
            neighbours: Neighbours::new(all),
            heard: Heard::default(),
            requests: 0,
        }
    }

    /// Sends what is due. `emit` takes a frame, or says that there is no room for it now.
    pub(crate) fn poll(&mut self, now: Time, emit: &mut dyn FnMut(&[u8]) -> bool) -> Step {
        loop {
            if self.everybody_answered() {
                self.phase = Phase::Done;
            }
            let wait = match self.phase {
                Phase::Asking => self.ask(now, emit),
                Phase::Listening => self.listen(now),
                Phase::Done => return Step::Done,
            };
            if let Some(until) = wait {
                return Step::Until(until);
            }
        }
    }

    /// Looks at a received Ethernet frame. Answers count even after the last pass, as long as somebody feeds them.
    pub(crate) fn frame(&mut self, now: Time, frame: &[u8]) {
        let counter = match read(frame) {
            Read::Answer(answer) => self.answer(now, &answer),
            Read::Invalid => &mut self.heard.invalid,
            Read::Other => &mut self.heard.other,
        };
        *counter += 1;
    }

    /// Who has answered so far.
    pub(crate) fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }

    /// What has been heard so far.
    pub(crate) fn heard(&self) -> Heard {
        self.heard
    }

    /// Requests sent so far.
    #[cfg(test)]
    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// Ends the sweep.
    pub(crate) fn into_neighbours(self) -> Neighbours {
        self.neighbours
    }
}

impl Sweep {
    /// Asks for what is due; a time to wait for, or nothing when the pass is through.
    fn ask(&mut self, now: Time, emit: &mut dyn FnMut(&[u8]) -> bool) -> Option<Time> {
        self.due = self.due.max(now - BURST);
        while let Some(target) = self.next_target() {
            if self.due > now {
                return Some(self.due);
            }
            if !self.asker.ask(target, emit) {
                return Some(now + BUSY);
            }
            self.cursor.number = self.cursor.number.wrapping_add(1);
            self.due = self.due + self.interval;
            (self.last_request, self.last_news) = (now, now);
            self.requests += 1;
        }
        self.phase = Phase::Listening;
        None
    }

    /// The next address that has not answered; the cursor stands on it.
    fn next_target(&mut self) -> Option<IpAddr> {
        loop {
            let span = *self.spans.get(self.cursor.span)?;
            let target = span.family.address(self.cursor.number);
            let in_span = span.contains(span.family, self.cursor.number);
            if in_span && self.neighbours.lookup(target).is_none() {
                return Some(target);
            }
            if in_span && self.cursor.number < span.last {
                self.cursor.number += 1;
            } else {
                let next = self.cursor.span + 1;
                self.cursor = Cursor { span: next, number: self.spans.get(next).map_or(0, |span| span.first) };
            }
        }
    }

    /// Waits for the pass's answers; then the next pass, or the end.
    fn listen(&mut self, now: Time) -> Option<Time> {
        let last = self.pass + 1 == PASSES;
        let quiet = if last { LAST_QUIET } else { QUIET };
        let end = (self.last_news + quiet).min(self.last_request + PATIENCE);
        if now < end {
            return Some(end);
        }
        if last {
            self.phase = Phase::Done;
        } else {
            self.phase = Phase::Asking;
            self.pass += 1;
            self.cursor = start(&self.spans);
        }
        None
    }

    fn everybody_answered(&self) -> bool {
        self.neighbours.len() as u128 >= self.asked
    }

    /// Believes an answer, or says which counter it belongs to.
    fn answer(&mut self, now: Time, answer: &Answer) -> &mut u64 {
        if !self.was_asked(answer.address) || !self.asker.is_asker(answer.to) {
            return &mut self.heard.unasked;
        }
        match self.neighbours.lookup(answer.address) {
            Some(known) if known == answer.mac => &mut self.heard.duplicates,
            Some(_) => &mut self.heard.conflicts,
            None => {
                self.neighbours.learn(answer.address, answer.mac);
                self.last_news = now;
                &mut self.heard.answers
            }
        }
    }

    /// Whether a request for this address has left.
    fn was_asked(&self, address: IpAddr) -> bool {
        let (family, number) = (Family::of(address), number(address));
        let after = self.spans.partition_point(|span| (span.family, span.first) <= (family, number));
        let Some(span) = after.checked_sub(1) else { return false };
        self.spans[span].contains(family, number) && (self.pass > 0 || Cursor { span, number } < self.cursor)
    }
}

fn start(spans: &[Span]) -> Cursor {
    Cursor { span: 0, number: spans.first().map_or(0, |span| span.first) }
}

/// An answer to a request.
struct Answer {
    address: IpAddr,
    mac: MacAddr,
    /// To whom it was given.
    to: IpAddr,
}

enum Read {
    Answer(Answer),
    Invalid,
    Other,
}

/// What a frame says: ARP, else neighbour discovery.
fn read(frame: &[u8]) -> Read {
    match Arp::parse(frame) {
        Ok(Arp { operation: Operation::Request, .. }) => Read::Other,
        Ok(arp) => believable(arp.sender_ip.into(), arp.sender_mac, arp.target_ip.into()),
        Err(ArpError::NotArp(_)) => read_advertisement(frame),
        Err(_) => Read::Invalid,
    }
}

/// An unsolicited advertisement is news to others, not an answer.
fn read_advertisement(frame: &[u8]) -> Read {
    match Advertisement::parse(frame) {
        Ok(told) if told.solicited => believable(told.target.into(), told.mac, told.destination.into()),
        Ok(_) | Err(NdpError::Other) => Read::Other,
        Err(_) => Read::Invalid,
    }
}

/// RFC 1812 section 3.3.2 forbids routers to believe in the broadcast or a multicast address. Only broadcast (and
/// nothing at all) is refused here: clusters that share one address do answer with a multicast link address.
fn believable(address: IpAddr, mac: MacAddr, to: IpAddr) -> Read {
    match mac {
        MacAddr::BROADCAST | MacAddr::ZERO => Read::Invalid,
        mac => Read::Answer(Answer { address, mac, to }),
    }
}

#[cfg(test)]
mod tests;
