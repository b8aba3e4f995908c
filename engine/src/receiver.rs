//! The receiving half: takes frames, asks whether they answer one of our probes, and if so what they mean.
//!
//! A state machine without clock, thread or socket. Two questions, two functions:
//!
//! **Ours?** A TCP segment is ours when its acknowledgement proves that its sender saw our SYN: it acknowledges the
//! cookie plus one; a RST may also acknowledge the cookie itself, as some stacks do. A bare SYN (split handshake) that
//! acknowledges nothing has no proof to offer; it is taken only from a target to the very address and port that probed
//! it, for a position that has been probed, and never against a proved answer. An ICMP error is ours when it quotes our
//! ports and the cookie. Whatever is not ours is counted by kind.
//!
//! **What does it mean?** nmap's rules (`nmap -sS --reason`):
//!
//! | what came | state, reason |
//! |---|---|
//! | SYN-ACK; bare SYN | open, syn-ack; open, syn |
//! | RST, RST-ACK | closed, rst |
//! | ICMP 3 codes 0 1 2 3 9 10 13; ICMPv6 1 codes 0 to 6 | filtered, by its code |
//! | ICMP 11, ICMPv6 3 | filtered, time-exceeded |
//! | nothing, when the stripe is closed | filtered, no-response |

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use crate::counters::{ReceiverCounters, Shared, Turn, add, load, set};
use crate::event::Event;
use crate::impostors::{Act, Impostors, OpenAnswer, Said, Sample, Timing};
use crate::loss::Kind;
use crate::permute::Stripe;
use crate::rtt::RttEstimator;
use crate::table::Recorded;
use crate::target::{Family, Index, Position, Seq, Target};
use crate::time::Time;
use crate::verdict::{Reason, State, Suspect, Verdict};
use crate::wire::plain::{self, PlainTcp};
use crate::wire::reply::{self, Checksum, IcmpReply, Layer, Quote, Reply, Segment, Unusable};
use crate::wire::rst::{self, Rst};
use crate::work::{Origins, Work};

/// Receives a scan's answers.
pub(crate) struct Receiver {
    work: Arc<Work>,
    shared: Arc<Shared>,
    started: SystemTime,
    origins: Origins,
    rtt: RttEstimator,
    /// By group of networks.
    network_rtt: Box<[RttEstimator]>,
    impostors: Impostors,
    /// Segments that were read and not yet judged; at most [`TOGETHER`].
    waiting: Vec<Waiting>,
    /// The stripe that is open; none while the sender has the table.
    stripe: Option<Stripe>,
    /// How far the closing walk has come.
    closing: u64,
    /// Positions passed over as down in earlier stripes.
    skipped: u64,
}

/// Segments are judged so many at a time. To find a segment's place and cookie is arithmetic that mostly waits for
/// itself; that of several overlaps.
const TOGETHER: usize = 16;

/// One position in so many is a sample of its prefix, once the prefix has been heard from.
const SAMPLED: u64 = 8;
/// With as many canaries, not every answer has to become one.
const MANY_CANARIES: usize = 256;

/// A segment, and when it came.
#[derive(Clone, Copy)]
struct Waiting {
    at: Time,
    tcp: PlainTcp,
}

/// What is worked out of a segment before it is judged.
#[derive(Clone, Copy)]
struct Place {
    /// None if its sender is no target.
    index: Option<Index>,
    position: Option<Position>,
    /// The cookie of the probe that it would answer; none if no probe left from where it went to.
    cookie: Option<Seq>,
}

/// An answer that was proved to be ours.
struct Answer {
    pass: u8,
    offset: u64,
    meaning: (State, Reason),
}

/// What an answer changed that is to be reported.
struct Change {
    supersedes: Option<State>,
    /// In nanoseconds.
    rtt: Option<u64>,
}

/// Why a frame is no answer, as the counter that counts it.
type Stray = fn(&ReceiverCounters) -> &AtomicU64;

impl Receiver {
    pub(crate) fn new(work: Arc<Work>, shared: Arc<Shared>, started: SystemTime) -> Self {
        let (origins, waiting) = (work.origins(), Vec::with_capacity(TOGETHER));
        let rtt = RttEstimator::default();
        let network_rtt = vec![rtt; shared.ledger.groups.networks.len()].into_boxed_slice();
        let impostors = Impostors::new(work.plan.hosts(), work.seed, work.controls);
        let (stripe, closing, skipped) = (None, 0, 0);
        Receiver { work, shared, started, origins, rtt, network_rtt, impostors, waiting, stripe, closing, skipped }
    }

    /// Looks whose turn it is with the table; to be called before each batch of frames.
    pub(crate) fn turn(&mut self) -> Turn {
        let turn = self.shared.turn();
        self.stripe = matches!(turn, Turn::Open | Turn::Closing).then(|| self.shared.stripe());
        turn
    }

    /// Takes in one frame. The verdict that it brings, if it is to be reported, goes to `sink` now or in a later call, at
    /// the latest in [`Receiver::settle`]; the order is that of the frames.
    #[inline]
    pub(crate) fn frame(
        &mut self,
        at: Time,
        layer: Layer,
        frame: &[u8],
        checksum: Checksum,
        sink: &mut impl FnMut(Verdict),
    ) {
        match plain::read(layer, frame, checksum) {
            Some(tcp) => self.tcp(at, tcp, sink),
            None => self.unusual(at, layer, frame, checksum, sink),
        }
    }

    /// The RST that closes what an Ethernet frame half opens, if that answers one of our probes, whatever has become of its
    /// target: early or late, for the first time or again. The kernel's task, where the kernel sees the frame.
    pub(crate) fn reset(&self, frame: &[u8], checksum: Checksum) -> Option<Rst> {
        let Some(Ok(Reply::Tcp(tcp))) = rst::may_be_due(frame).then(|| reply::read(Layer::Ethernet, frame, checksum))
        else {
            return None;
        };
        if !self.work.is_source_port(tcp.destination_port) {
            return None;
        }
        let target = Target { address: tcp.source, port: tcp.source_port };
        let is_due = match tcp.kind {
            Segment::SynAck => tcp.ack == self.work.cookie.seq(tcp.destination, tcp.destination_port, target).next(),
            Segment::Syn => self.work.source(target) == Some(tcp.destination),
            Segment::Rst | Segment::Other => false,
        };
        is_due.then(|| Rst::answering(frame, &tcp))?
    }

    #[inline]
    fn tcp(&mut self, at: Time, tcp: PlainTcp, sink: &mut impl FnMut(Verdict)) {
        self.waiting.push(Waiting { at, tcp });
        if self.waiting.len() == TOGETHER {
            self.settle(sink);
        }
    }

    #[cold]
    fn unusual(&mut self, at: Time, layer: Layer, frame: &[u8], checksum: Checksum, sink: &mut impl FnMut(Verdict)) {
        self.settle(sink);
        match reply::read_any(layer, frame, checksum) {
            Ok(Reply::Tcp(tcp)) => match tcp.try_into() {
                Ok(tcp) => self.tcp(at, tcp, sink),
                Err(()) => self.count(malformed),
            },
            Ok(Reply::Icmp(icmp)) => self.icmp(&icmp, at).into_iter().for_each(sink),
            Err(_) if reply::is_neighbour_traffic(layer, frame) => {}
            Err(Unusable::Malformed) => self.count(malformed),
            Err(Unusable::Unrelated) => self.count(unrelated),
        }
    }

    /// Judges what waits; to be called after each batch of frames.
    pub(crate) fn settle(&mut self, sink: &mut impl FnMut(Verdict)) {
        if self.stripe.is_none() {
            // The sender may have opened one since: its store came before the probe, so an answer's reader sees it.
            self.turn();
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        let places = self.places(&waiting);
        for (Waiting { at, tcp }, place) in waiting.iter().zip(&places) {
            match self.tcp_is_ours(tcp, place, *at) {
                Ok(answer) if answer.pass == self.work.canary() => self.canary(tcp, place, *at),
                Ok(answer) => self.answered(&answer, tcp, place, *at).into_iter().for_each(&mut *sink),
                Err(stray) => self.stray(tcp, stray),
            }
        }
        if !waiting.is_empty() {
            self.publish();
        }
        waiting.clear();
        self.waiting = waiting;
    }

    /// One step for all, then the next: so it is one step's instructions that overlap.
    #[inline]
    fn places(&self, waiting: &[Waiting]) -> [Place; TOGETHER] {
        let mut places = [Place { index: None, position: None, cookie: None }; TOGETHER];
        for (place, Waiting { tcp, .. }) in places.iter_mut().zip(waiting) {
            place.index = self.work.plan.index_of(tcp.family, tcp.source, tcp.source_port);
        }
        for place in &mut places[..waiting.len()] {
            place.position = place.index.map(|index| self.work.permutation.position(index));
        }
        for (place, Waiting { tcp, .. }) in places.iter_mut().zip(waiting) {
            place.cookie = self.cookie(tcp);
        }
        places
    }

    #[inline]
    fn cookie(&self, tcp: &PlainTcp) -> Option<Seq> {
        let pass = self.work.pass(tcp.destination_port)?;
        let origin = self.origins.from((tcp.family, tcp.destination), pass)?;
        Some(origin.seq_of(tcp.family, tcp.source, tcp.source_port))
    }

    #[inline]
    fn tcp_is_ours(&self, tcp: &PlainTcp, place: &Place, at: Time) -> Result<Answer, Stray> {
        let meaning = tcp_meaning(tcp.kind).ok_or(unrelated as Stray)?;
        let pass = self.work.pass(tcp.destination_port).ok_or(wrong_port as Stray)?;
        if tcp.kind == Segment::Syn && self.is_own_probe(tcp) {
            return Err(own);
        }
        // Canaries may be of any stripe.
        let offset = if pass == self.work.canary() {
            place.position.map(|_| 0).ok_or(foreign as Stray)?
        } else {
            self.offset(place.position)?
        };
        let cookie = place.cookie.ok_or(bad_ack as Stray)?;
        let proved = match tcp.kind {
            Segment::Rst => tcp.ack == cookie.next() || tcp.ack == cookie,
            Segment::Syn if tcp.ack == Seq(0) && pass == self.work.canary() => self.is_to_its_prober(tcp),
            Segment::Syn if tcp.ack == Seq(0) => self.may_be_split(tcp, pass, offset, at),
            _ => tcp.ack == cookie.next(),
        };
        if !proved {
            return Err(bad_ack);
        }
        Ok(Answer { pass, offset, meaning })
    }

    /// A bare SYN has nothing to prove itself by. It is believed where nothing that could is contradicted: to the address
    /// and port that probed its sender, and only while no proved answer says otherwise.
    fn may_be_split(&self, tcp: &PlainTcp, pass: u8, offset: u64, at: Time) -> bool {
        let known = self.shared.table.state(offset);
        known.is_none_or(|state| state == State::Open)
            && self.shared.log.sent(pass, offset, at).is_some()
            && self.is_to_its_prober(tcp)
    }

    fn is_to_its_prober(&self, tcp: &PlainTcp) -> bool {
        self.work.source(sender(tcp)) == Some(tcp.family.address(tcp.destination))
    }

    fn icmp(&mut self, icmp: &IcmpReply, at: Time) -> Option<Verdict> {
        match self.icmp_is_ours(icmp) {
            Ok((answer, target)) => {
                let rtt = self.round_trip(&answer, at);
                if self.shared.table.state(answer.offset).is_none() {
                    self.shared.ledger.error(self.group(target.address));
                }
                let change = self.record(&answer, rtt)?;
                let verdict = self.verdict(&answer, &change, target, at);
                Some(Verdict { sender: Some(icmp.sender), ttl: Some(icmp.ttl), ..verdict })
            }
            Err(stray) => {
                match icmp.quote.filter(|quote| self.quotes_a_control(icmp, quote)) {
                    Some(quote) => self.control(quote.destination, quote.destination_port, Said::NotOpen),
                    None => self.count(stray),
                }
                None
            }
        }
    }

    fn quotes_a_control(&self, icmp: &IcmpReply, quote: &Quote) -> bool {
        let target = Target { address: quote.destination, port: quote.destination_port };
        let is_ours = quote.source_port == self.work.control_port() && quote.source == icmp.destination;
        is_ours && icmp_meaning(icmp).is_some() && self.quotes_the_cookie(quote, target)
    }

    fn icmp_is_ours(&self, icmp: &IcmpReply) -> Result<(Answer, Target), Stray> {
        let meaning = icmp_meaning(icmp).ok_or(unrelated as Stray)?;
        let quote = icmp.quote.ok_or(bad_quote as Stray)?;
        let pass = self.work.pass(quote.source_port).ok_or(bad_quote as Stray)?;
        let target = Target { address: quote.destination, port: quote.destination_port };
        let index = self.work.plan.index(target);
        let offset = self.offset(index.map(|index| self.work.permutation.position(index)))?;
        if pass == self.work.canary() {
            // Its target has answered otherwise, and that is stronger.
            return Err(late);
        }
        if quote.source != icmp.destination || !self.quotes_the_cookie(&quote, target) {
            return Err(bad_quote);
        }
        Ok((Answer { pass, offset, meaning }, target))
    }

    fn quotes_the_cookie(&self, quote: &Quote, target: Target) -> bool {
        quote.seq == self.work.cookie.seq(quote.source, quote.source_port, target)
    }

    /// On the loopback, a probe to one of our own source ports looks like a bare SYN to us.
    fn is_own_probe(&self, tcp: &PlainTcp) -> bool {
        let target = Target { address: tcp.family.address(tcp.destination), port: tcp.destination_port };
        self.work.pass(tcp.source_port).is_some()
            && tcp.seq == self.work.cookie.seq(sender(tcp).address, tcp.source_port, target)
    }

    /// Where a target, by its position, stands in the open stripe. What the closing walk has passed is closed.
    #[inline]
    fn offset(&self, position: Option<Position>) -> Result<u64, Stray> {
        let position = position.ok_or(foreign as Stray)?;
        let offset = self.stripe.and_then(|stripe| stripe.offset(position));
        offset.filter(|offset| *offset >= self.closing).ok_or(late as Stray)
    }

    /// A target that has answered before answers again.
    #[cold]
    fn canary(&mut self, tcp: &PlainTcp, place: &Place, at: Time) {
        let Some(index) = place.index else { return };
        let answered = self.shared.canaries.answered(index, (tcp.source, tcp.source_port), at);
        if let Some((kind, rtt)) = answered {
            let groups = &self.shared.ledger.groups;
            let network = groups.networks.group(tcp.family, tcp.source);
            self.shared.ledger.canary_answered(kind, groups.prefixes.group(tcp.family, tcp.source));
            self.sample(network, u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    #[inline]
    fn answered(&mut self, answer: &Answer, tcp: &PlainTcp, place: &Place, at: Time) -> Option<Verdict> {
        let rtt = self.round_trip(answer, at);
        let known = self.shared.table.state(answer.offset);
        let change = self.record(answer, rtt);
        if known.is_none() {
            self.learn(answer, tcp, place, rtt);
        }
        let is_new = answer.meaning.0 == State::Open && known != Some(State::Open);
        let suspect = if is_new { self.opened(tcp) } else { None };
        let change = change?;
        Some(Verdict { ttl: Some(tcp.ttl), suspect, ..self.verdict(answer, &change, sender(tcp), at) })
    }

    /// What a target's first answer teaches of loss and round-trip times, and of whom to ask again. ICMP errors teach
    /// nothing of these: they come from elsewhere, and rate limits delay them.
    #[inline]
    fn learn(&mut self, answer: &Answer, tcp: &PlainTcp, place: &Place, rtt: Option<u64>) {
        let kind = if answer.meaning.0 == State::Open { Kind::Open } else { Kind::Closed };
        let groups = &self.shared.ledger.groups;
        let network = groups.networks.group(tcp.family, tcp.source);
        self.shared.ledger.answered(kind, answer.pass, groups.prefixes.group(tcp.family, tcp.source));
        // What is kept by prefix and by host lies all over memory: some answers say as much as all.
        let is_sample = answer.offset.is_multiple_of(SAMPLED);
        if let Some(index) = place.index
            && (is_sample || self.shared.canaries.len(kind) < MANY_CANARIES)
        {
            self.shared.canaries.offer(kind, index, tcp.source, tcp.source_port);
        }
        match rtt {
            Some(rtt) if is_sample || !self.shared.ledger.is_heard(network) => self.sample(network, rtt),
            Some(rtt) => self.rtt.sample_nanos(rtt),
            None => {}
        }
    }

    #[inline]
    fn sample(&mut self, network: usize, rtt: u64) {
        self.rtt.sample_nanos(rtt);
        let of_network = &mut self.network_rtt[network];
        of_network.sample_nanos(rtt);
        self.shared.ledger.set_wait(network, of_network.wait());
    }

    /// Records an answer, and gives what changed if that is to be reported.
    #[inline]
    fn record(&mut self, answer: &Answer, rtt: Option<u64>) -> Option<Change> {
        let counters = &self.shared.receiver;
        let (state, report) = (answer.meaning.0, self.work.report);
        add(&counters.replies, 1);
        // A correction is reported to whoever was told what it corrects.
        let wanted =
            |supersedes: Option<State>| report.wants(state) || supersedes.is_some_and(|state| report.wants(state));
        let promise = |recorded: Recorded| {
            if wanted(recorded.than()) {
                self.shared.promise();
            }
        };
        let supersedes = match self.shared.table.record_after(answer.offset, state, promise) {
            Recorded::Duplicate => {
                add(&counters.duplicates, 1);
                return None;
            }
            Recorded::First => None,
            Recorded::Stronger { than } => {
                set(counters.of(than), load(counters.of(than)) - 1);
                Some(than)
            }
        };
        add(counters.of(state), 1);
        wanted(supersedes).then_some(Change { supersedes, rtt })
    }

    /// In nanoseconds; none where the position has no send time of its own.
    #[inline]
    fn round_trip(&self, answer: &Answer, at: Time) -> Option<u64> {
        let log = &self.shared.log;
        let sent = log.is_exact(answer.offset).then(|| log.sent(answer.pass, answer.offset, at))??;
        Some(at.0.saturating_sub(sent.0))
    }

    #[cold]
    fn verdict(&self, answer: &Answer, change: &Change, target: Target, at: Time) -> Verdict {
        let (state, reason) = answer.meaning;
        Verdict {
            target,
            state,
            reason,
            sender: None,
            ttl: None,
            rtt: change.rtt.map(Duration::from_nanos),
            pass: answer.pass,
            probes: self.probes(target.address),
            time: self.wall(at),
            supersedes: change.supersedes,
            suspect: None,
        }
    }

    /// What speaks against a new open answer.
    #[cold]
    fn opened(&mut self, tcp: &PlainTcp) -> Option<Suspect> {
        let answer = OpenAnswer { target: sender(tcp), ttl: tcp.ttl, is_bare: is_bare(tcp) };
        let Receiver { impostors, work, shared, stripe, .. } = self;
        impostors.open(&answer, || sample(work, shared, *stripe, answer.target))
    }

    /// Has questionable hosts examined, and says what came of it; to be called every so often. Gives when it wants to be
    /// called again.
    pub(crate) fn examine(&mut self, now: Time, sink: &mut impl FnMut(Event)) -> Time {
        if self.shared.stopped() {
            self.impostors.give_up();
        }
        let (work, shared) = (&*self.work, &*self.shared);
        let mut asked = false;
        let timing = Timing::of(now, shared.wait(), shared.rate());
        let next = self.impostors.poll(timing, |target| work.fitness(target), &mut |act| match act {
            Act::Ask { host, port } => {
                asked = true;
                work.control(host, port).into_iter().for_each(|probe| shared.questions.ask(probe));
            }
            Act::Tell(suspicion) if work.report.open && shared.is_news(suspicion) => sink(Event::Suspect(suspicion)),
            Act::Tell(_) => {}
        });
        shared.questions.set_busy(self.impostors.is_busy());
        set(&shared.receiver.suspect_hosts, self.impostors.suspects());
        // What is asked is to be sent now.
        if asked { now } else { next }
    }

    /// What answers no probe of a pass may answer a control probe.
    #[cold]
    fn stray(&mut self, tcp: &PlainTcp, stray: Stray) {
        if tcp.destination_port != self.work.control_port() {
            return self.count(stray);
        }
        if tcp.kind == Segment::Syn && self.is_own_probe(tcp) {
            return self.count(own);
        }
        let target = sender(tcp);
        let cookie = self.work.cookie.seq(tcp.family.address(tcp.destination), tcp.destination_port, target);
        match tcp.kind {
            Segment::SynAck if tcp.ack == cookie.next() => {
                self.control(target.address, target.port, Said::Open { is_bare: is_bare(tcp) });
            }
            Segment::Rst if tcp.ack == cookie.next() || tcp.ack == cookie => {
                self.control(target.address, target.port, Said::NotOpen);
            }
            Segment::Other => self.count(unrelated),
            _ => self.count(bad_ack),
        }
    }

    fn control(&mut self, address: IpAddr, port: u16, said: Said) {
        self.impostors.control(Target { address, port }, said);
    }

    /// The same at the end: where the scan was stopped, the last leg has not come to all.
    fn probes_of_silent(&self, address: IpAddr, offset: u64) -> u8 {
        let group = self.group(address);
        let is_short = self.shared.pass() > 0
            && self.shared.ledger.took(group, self.shared.pass())
            && !self.shared.was_walked(offset);
        self.probes(address) - u8::from(is_short)
    }

    /// How often a target that has been silent until now has been probed.
    fn probes(&self, address: IpAddr) -> u8 {
        self.shared.ledger.probes(self.group(address))
    }

    fn group(&self, address: IpAddr) -> usize {
        let (family, number) = Family::number(address);
        self.shared.ledger.groups.prefixes.group(family, number)
    }

    /// Tells the sender and the readers of progress what the round-trip times say; once a batch is often enough.
    fn publish(&self) {
        self.shared.set_wait(self.rtt.wait());
        self.shared.set_answer(self.rtt.answer());
        set(&self.shared.receiver.srtt, self.rtt.smoothed().map_or(0, |srtt| srtt.as_nanos() as u64));
    }

    fn count(&self, stray: Stray) {
        add(stray(&self.shared.receiver), 1);
    }

    /// In `Closing`: what has not answered is filtered. Reports at most `most` targets, and hands the table back to the
    /// sender once there are none left.
    pub(crate) fn close(&mut self, now: Time, most: usize, mut emit: impl FnMut(Verdict)) {
        if self.work.report.filtered {
            for _ in 0..most {
                match self.shared.next_silent(self.closing) {
                    Some(offset) => self.close_one(offset, now, &mut emit),
                    None => {
                        self.shared.close_to(self.stripe.map_or(0, |stripe| stripe.len), 0);
                        return self.closed();
                    }
                }
            }
        } else {
            let unanswered = self.shared.silent();
            let skipped = self.shared.sum(|walker| &walker.skipped) - self.skipped;
            let silent = unanswered.saturating_sub(skipped);
            self.shared.close_to(self.stripe.map_or(0, |stripe| stripe.len), silent);
            self.count_silent(silent);
            self.closed();
        }
    }

    fn close_one(&mut self, offset: u64, now: Time, emit: &mut impl FnMut(Verdict)) {
        self.closing = offset + 1;
        let Some(stripe) = self.stripe else { return };
        let Some((target, egress)) = self.work.target(stripe.position(offset)) else { return };
        if self.work.is_down(target, egress) {
            return;
        }
        self.shared.promise();
        self.shared.close_to(offset + 1, 1);
        self.count_silent(1);
        let probes = self.probes_of_silent(target.address, offset);
        emit(Verdict {
            target,
            state: State::Filtered,
            reason: Reason::NoResponse,
            sender: None,
            ttl: None,
            rtt: None,
            pass: self.shared.pass(),
            probes,
            time: self.wall(now),
            supersedes: None,
            suspect: None,
        });
    }

    fn closed(&mut self) {
        self.impostors.conclude();
        self.closing = 0;
        self.skipped = self.shared.sum(|walker| &walker.skipped);
        self.stripe = None;
        self.shared.set_turn(Turn::Closed);
    }

    fn count_silent(&self, targets: u64) {
        add(&self.shared.receiver.filtered, targets);
        add(&self.shared.receiver.silent, targets);
    }

    fn wall(&self, at: Time) -> SystemTime {
        self.started + at.since(Time::ZERO)
    }
}

/// Of the host of a target, what is known of some targets in the open stripe.
fn sample(work: &Work, shared: &Shared, stripe: Option<Stripe>, target: Target) -> Sample {
    /// Enough to tell four fifths from a half.
    const SIZE: u64 = 64;
    let siblings = work.plan.index(target).and_then(|index| work.plan.siblings(index)).unwrap_or_default();
    let step = (siblings.end - siblings.start).div_ceil(SIZE).max(1);
    let offset = |index| stripe?.offset(work.permutation.position(Index(index)));
    let offsets = siblings.step_by(step as usize).filter_map(offset);
    let states = offsets.filter_map(|offset| shared.table.state(offset));
    states.fold(Sample::default(), |Sample { answered, open }, state| Sample {
        answered: answered + 1,
        open: open + u32::from(state == State::Open),
    })
}

/// A SYN-ACK as forgers send it, and no TCP stack: no room to send into, and no MSS.
fn is_bare(tcp: &PlainTcp) -> bool {
    tcp.kind == Segment::SynAck && tcp.window == 0 && !tcp.has_options
}

/// Who sent a segment: the target, if it is one of ours.
#[inline]
fn sender(tcp: &PlainTcp) -> Target {
    Target { address: tcp.family.address(tcp.source), port: tcp.source_port }
}

#[inline]
fn tcp_meaning(kind: Segment) -> Option<(State, Reason)> {
    match kind {
        Segment::SynAck => Some((State::Open, Reason::SynAck)),
        Segment::Syn => Some((State::Open, Reason::Syn)),
        Segment::Rst => Some((State::Closed, Reason::Rst)),
        Segment::Other => None,
    }
}

fn icmp_meaning(icmp: &IcmpReply) -> Option<(State, Reason)> {
    let (kind, code) = (icmp.kind, icmp.code);
    let reason = match (icmp.sender, kind, code) {
        (IpAddr::V4(_), 3, 0..=3 | 9 | 10 | 13) | (IpAddr::V4(_), 11, _) => Reason::Icmp { kind, code },
        (IpAddr::V6(_), 1, 0..=6) | (IpAddr::V6(_), 3, _) => Reason::Icmpv6 { kind, code },
        _ => return None,
    };
    Some((State::Filtered, reason))
}

fn malformed(counters: &ReceiverCounters) -> &AtomicU64 {
    &counters.strays.malformed
}

fn unrelated(counters: &ReceiverCounters) -> &AtomicU64 {
    &counters.strays.unrelated
}

fn wrong_port(counters: &ReceiverCounters) -> &AtomicU64 {
    &counters.strays.wrong_port
}

fn foreign(counters: &ReceiverCounters) -> &AtomicU64 {
    &counters.strays.foreign
}

fn bad_ack(counters: &ReceiverCounters) -> &AtomicU64 {
    &counters.strays.bad_ack
}

fn bad_quote(counters: &ReceiverCounters) -> &AtomicU64 {
    &counters.strays.bad_quote
}

fn late(counters: &ReceiverCounters) -> &AtomicU64 {
    &counters.strays.late
}

fn own(counters: &ReceiverCounters) -> &AtomicU64 {
    &counters.strays.own
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, TcpHeader};

    use super::*;
    use crate::summary::Strays;
    use crate::verdict::State::{Closed, Filtered, Open};
    use crate::work::Report;
    use crate::work::samples::{PORT, SOURCE, SOURCE_V6, work};

    const HOST: [u8; 4] = [10, 0, 0, 5];
    const HOST_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
    const ROUTER: [u8; 4] = [10, 9, 9, 9];
    const NOW: Time = Time(7_000_000);

    struct Bench {
        receiver: Receiver,
        shared: Arc<Shared>,
        work: Arc<Work>,
    }

    fn bench(targets: &str, change: impl FnOnce(&mut Work)) -> Bench {
        let mut work = work(targets, "20-29", 2);
        change(&mut work);
        let work = Arc::new(work);
        let shared = Arc::new(Shared::new(work.plan.len(), 2));
        shared.open(Stripe { start: Position(0), len: work.plan.len() }, None);
        shared.ledger.enter(0, 0);
        // All was probed at 2 ms.
        (0..work.plan.len()).for_each(|offset| (0..2).for_each(|pass| shared.log.note(pass, offset, Time(2_000_000))));
        shared.walkers[0].set_walked(work.plan.len());
        let mut receiver = Receiver::new(Arc::clone(&work), Arc::clone(&shared), SystemTime::UNIX_EPOCH);
        receiver.turn();
        Bench { receiver, shared, work }
    }

    fn v4() -> Bench {
        bench("10.0.0.0/28", |_| {})
    }

    impl Bench {
        fn cookie(&self, pass: u8, port: u16) -> u32 {
            let target = Target { address: HOST.into(), port };
            self.work.cookie.seq(SOURCE.into(), PORT + u16::from(pass), target).0
        }

        fn take(&mut self, frame: &[u8]) -> Option<Verdict> {
            let mut verdict = None;
            self.receiver.frame(NOW, Layer::Ip, frame, Checksum::Unknown, &mut |told| verdict = Some(told));
            self.receiver.settle(&mut |told| verdict = Some(told));
            verdict
        }

        fn tcp(&mut self, pass: u8, port: u16, change: impl FnOnce(&mut TcpHeader, u32)) -> Option<Verdict> {
            let mut header = TcpHeader::new(port, PORT + u16::from(pass), 1, 1024);
            change(&mut header, self.cookie(pass, port));
            self.take(&tcp_from(HOST, header))
        }

        fn syn_ack(&mut self, port: u16) -> Option<Verdict> {
            self.tcp(0, port, |h, cookie| {
                (h.syn, h.ack, h.acknowledgment_number) = (true, true, cookie.wrapping_add(1));
            })
        }

        fn rst(&mut self, port: u16) -> Option<Verdict> {
            self.tcp(0, port, |h, cookie| {
                (h.rst, h.ack, h.acknowledgment_number) = (true, true, cookie.wrapping_add(1));
            })
        }

        fn icmp(&mut self, kind: u8, code: u8, port: u16, change: impl FnOnce(&mut TcpHeader)) -> Option<Verdict> {
            let mut quoted = TcpHeader::new(PORT, port, self.cookie(0, port), 1024);
            quoted.syn = true;
            change(&mut quoted);
            let mut probe = Vec::new();
            PacketBuilder::ipv4(SOURCE, HOST, 1).tcp_header(quoted).write(&mut probe, &[]).unwrap();
            let mut frame = Vec::new();
            let builder = PacketBuilder::ipv4(ROUTER, SOURCE, 62).icmpv4_raw(kind, code, [0; 4]);
            builder.write(&mut frame, &probe).unwrap();
            self.take(&frame)
        }

        fn strays(&self) -> Strays {
            self.shared.receiver.strays.snapshot()
        }

        fn counts(&self) -> (u64, u64, u64) {
            let counters = &self.shared.receiver;
            (load(&counters.open), load(&counters.closed), load(&counters.filtered))
        }
    }

    fn tcp_from(host: [u8; 4], header: TcpHeader) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ipv4(host, SOURCE, 61).tcp_header(header).write(&mut frame, &[]).unwrap();
        frame
    }

    fn state(verdict: Option<Verdict>) -> (State, Reason) {
        let verdict = verdict.expect("a verdict");
        (verdict.state, verdict.reason)
    }

    #[test]
    fn a_syn_ack_is_open_with_all_that_is_known() {
        let mut bench = v4();
        let expected = Verdict {
            target: Target { address: HOST.into(), port: 22 },
            state: Open,
            reason: Reason::SynAck,
            sender: None,
            ttl: Some(61),
            rtt: Some(Duration::from_millis(5)),
            pass: 0,
            probes: 1,
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(7),
            supersedes: None,
            suspect: None,
        };
        assert_eq!(bench.syn_ack(22), Some(expected));
        assert_eq!((bench.counts(), bench.strays().total()), ((1, 0, 0), 0));
        assert_eq!(load(&bench.shared.receiver.srtt), 5_000_000);
    }

    #[test]
    fn what_is_half_opened_is_closed_whatever_becomes_of_the_target() {
        let mut bench = v4();
        let ethernet = |frame: &[u8]| [&[2; 12][..], &[8, 0], frame].concat();
        let cookie = bench.cookie(1, 22);
        let frame = |flags: (bool, bool, bool), ack: u32| {
            let mut header = TcpHeader::new(22, PORT + 1, 9, 1024);
            (header.syn, header.ack, header.rst, header.acknowledgment_number) = (flags.0, flags.1, flags.2, ack);
            ethernet(&tcp_from(HOST, header))
        };
        let answer = |bench: &Bench, frame: &[u8]| {
            let rst = bench.receiver.reset(frame, Checksum::Unknown)?;
            match reply::read(Layer::Ethernet, rst.frame(), Checksum::Unknown) {
                Ok(Reply::Tcp(tcp)) => Some((tcp.kind, tcp.seq, tcp.ack)),
                other => panic!("{other:?}"),
            }
        };
        let syn_ack = frame((true, true, false), cookie.wrapping_add(1));
        let expected = Some((Segment::Rst, Seq(cookie.wrapping_add(1)), Seq(0)));
        assert_eq!(answer(&bench, &syn_ack), expected);
        bench.take(&syn_ack[14..]);
        assert_eq!(answer(&bench, &syn_ack), expected, "a second one");
        bench.shared.set_turn(Turn::Closed);
        bench.receiver.turn();
        assert_eq!(answer(&bench, &syn_ack), expected, "a late one");
        let split = frame((true, false, false), 0);
        assert_eq!(answer(&bench, &split), Some((Segment::Rst, Seq(0), Seq(10))));
        for unasked in [
            frame((true, true, false), cookie),
            frame((true, true, true), cookie.wrapping_add(1)),
            frame((false, true, false), cookie.wrapping_add(1)),
            syn_ack[..40].to_vec(),
        ] {
            assert_eq!(answer(&bench, &unasked), None);
        }
    }

    #[test]
    fn resets_are_closed_by_either_acknowledgement() {
        let mut bench = v4();
        assert_eq!(state(bench.rst(20)), (Closed, Reason::Rst));
        let same = bench.tcp(1, 21, |h, cookie| (h.rst, h.ack, h.acknowledgment_number) = (true, true, cookie));
        assert_eq!(same.as_ref().map(|verdict| verdict.pass), Some(1));
        assert_eq!(state(same), (Closed, Reason::Rst));
    }

    #[test]
    fn a_bare_syn_is_a_split_handshake_only_from_what_was_probed() {
        let mut bench = v4();
        assert_eq!(state(bench.tcp(0, 20, |h, _| h.syn = true)), (Open, Reason::Syn));
        let proved = bench.tcp(0, 21, |h, cookie| (h.syn, h.acknowledgment_number) = (true, cookie.wrapping_add(1)));
        assert_eq!(state(proved), (Open, Reason::Syn));
        assert_eq!(bench.tcp(0, 22, |h, _| (h.syn, h.acknowledgment_number) = (true, 99)), None);
        bench.shared.log.reset();
        assert_eq!(bench.tcp(0, 23, |h, _| h.syn = true), None);
        assert_eq!(bench.strays().bad_ack, 2);
    }

    #[test]
    fn a_bare_syn_overrides_nothing_that_was_proved_and_comes_to_where_we_are() {
        let mut bench = v4();
        bench.rst(20).unwrap();
        bench.icmp(3, 13, 21, |_| {}).unwrap();
        assert_eq!(bench.tcp(0, 20, |h, _| h.syn = true), None);
        assert_eq!(bench.tcp(0, 21, |h, _| h.syn = true), None);
        let mut elsewhere = Vec::new();
        let builder = PacketBuilder::ipv4(HOST, [192, 0, 2, 77], 61).tcp(22, PORT, 1, 1).syn();
        builder.write(&mut elsewhere, &[]).unwrap();
        assert_eq!(bench.take(&elsewhere), None);
        assert_eq!((bench.counts(), bench.strays().bad_ack), ((0, 1, 1), 3));
        bench.tcp(0, 23, |h, _| h.syn = true).unwrap();
        assert_eq!(bench.tcp(0, 23, |h, _| h.syn = true), None, "again");
        assert_eq!(load(&bench.shared.receiver.duplicates), 1);
    }

    #[test]
    fn an_answer_that_comes_before_the_turn_was_looked_at_is_not_late() {
        let mut bench = v4();
        bench.shared.set_turn(Turn::Closed);
        bench.receiver.turn();
        bench.shared.open(Stripe { start: Position(0), len: 160 }, None);
        assert!(bench.syn_ack(22).is_some());
        assert_eq!(bench.strays().late, 0);
    }

    /// More segments than are judged together, and an ICMP error among them for a target that answers later.
    #[test]
    fn verdicts_come_in_the_order_of_the_frames() {
        let mut bench = v4();
        let hosts = |port| (0..4u8).map(move |host| Target { address: [10, 0, 0, host].into(), port });
        let targets: Vec<Target> = (20..30).flat_map(hosts).collect();
        let cookie = |target| bench.work.cookie.seq(SOURCE.into(), PORT, target).0;
        let mut frames: Vec<Vec<u8>> = targets.iter().map(|&target| rst_of(target, cookie(target))).collect();
        let last = targets[39];
        frames.insert(30, unreachable(last, cookie(last)));
        let mut told = Vec::new();
        let mut sink = |verdict: Verdict| told.push((verdict.target, verdict.supersedes));
        frames.iter().for_each(|frame| bench.receiver.frame(NOW, Layer::Ip, frame, Checksum::Unknown, &mut sink));
        bench.receiver.settle(&mut sink);
        let mut expected: Vec<_> = targets.iter().map(|&target| (target, None)).collect();
        expected.insert(30, (last, None));
        expected[40].1 = Some(Filtered);
        assert_eq!(told, expected);
    }

    fn octets(target: Target) -> [u8; 4] {
        let IpAddr::V4(host) = target.address else { panic!("an IPv4 target") };
        host.octets()
    }

    fn rst_of(target: Target, cookie: u32) -> Vec<u8> {
        let mut header = TcpHeader::new(target.port, PORT, 1, 1024);
        (header.rst, header.ack, header.acknowledgment_number) = (true, true, cookie.wrapping_add(1));
        tcp_from(octets(target), header)
    }

    /// An ICMP error of code 13 about the first pass's probe.
    fn unreachable(target: Target, cookie: u32) -> Vec<u8> {
        let (mut probe, mut frame) = (Vec::new(), Vec::new());
        let quoted = PacketBuilder::ipv4(SOURCE, octets(target), 1).tcp(PORT, target.port, cookie, 1024);
        quoted.write(&mut probe, &[]).unwrap();
        let builder = PacketBuilder::ipv4(ROUTER, SOURCE, 62).icmpv4_raw(3, 13, [0; 4]);
        builder.write(&mut frame, &probe).unwrap();
        frame
    }

    /// Answers every control probe that was asked for; gives the ports asked.
    fn controls(bench: &mut Bench, answer: impl Fn(&mut TcpHeader)) -> (Vec<u16>, Vec<Event>) {
        let (mut asked, mut events) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            bench.receiver.examine(NOW, &mut |event| events.push(event));
            while let Some(probe) = bench.shared.questions.next() {
                let target = probe.probe().target;
                let cookie = bench.work.cookie.seq(SOURCE.into(), PORT + 3, target);
                assert_eq!((target.address, probe.probe().seq), (HOST.into(), cookie));
                let mut header = TcpHeader::new(target.port, PORT + 3, 1, 1024);
                header.acknowledgment_number = cookie.next().0;
                answer(&mut header);
                assert_eq!(bench.take(&tcp_from(HOST, header)), None, "no verdict");
                asked.push(target.port);
            }
        }
        (asked, events)
    }

    #[test]
    fn a_host_whose_ports_are_all_open_is_suspect_if_its_control_ports_are_too() {
        for all_open in [false, true] {
            let mut bench = v4();
            (20..28).for_each(|port| assert_eq!(bench.syn_ack(port).unwrap().suspect, None));
            let answer = |h: &mut TcpHeader| (h.syn, h.ack, h.rst) = (all_open, true, !all_open);
            let (asked, events) = controls(&mut bench, answer);
            assert!(asked.len() == 3 && asked.iter().all(|port| *port >= 49_152), "{asked:?}");
            let reason = all_open.then_some(Suspect::EveryPort);
            let told: Vec<_> = events.iter().map(|event| matches!(event, Event::Suspect(_))).collect();
            assert_eq!(told, vec![true; usize::from(all_open)], "{events:?}");
            assert_eq!(bench.syn_ack(28).unwrap().suspect, reason);
            assert_eq!(bench.rst(29).unwrap().suspect, None, "what is closed is not in doubt");
            assert_eq!((bench.strays().total(), bench.counts()), (0, (9, 1, 0)));
            assert_eq!(load(&bench.shared.receiver.suspect_hosts), u64::from(all_open));
            assert!(!bench.shared.questions.is_busy());
        }
    }

    #[test]
    fn a_host_is_questionable_when_four_fifths_of_its_answers_are_open() {
        let mut bench = v4();
        (20..22).for_each(|port| assert!(bench.rst(port).is_some()));
        (22..30).for_each(|port| assert!(bench.syn_ack(port).is_some()));
        assert_eq!(controls(&mut bench, |_| {}).0.len(), 3, "8 of 10 are four fifths");
        let mut bench = v4();
        (20..23).for_each(|port| assert!(bench.rst(port).is_some()));
        (23..30).for_each(|port| assert!(bench.syn_ack(port).is_some()));
        assert_eq!(controls(&mut bench, |_| {}).0.len(), 0, "7 of 10 are not");
    }

    #[test]
    fn a_syn_ack_without_window_and_options_is_marked_at_once() {
        let mut bench = v4();
        let mut syn_ack = |port, window, options: &[u8]| {
            let change = |h: &mut TcpHeader, cookie: u32| {
                (h.syn, h.ack, h.acknowledgment_number) = (true, true, cookie.wrapping_add(1));
                h.window_size = window;
                h.set_options_raw(options).unwrap();
            };
            bench.tcp(0, port, change).unwrap().suspect
        };
        assert_eq!(syn_ack(20, 0, &[]), Some(Suspect::Forged));
        assert_eq!(syn_ack(21, 1, &[]), None);
        assert_eq!(syn_ack(22, 0, &[2, 4, 5, 180]), None);
        assert_eq!(load(&bench.shared.receiver.replies), 3);
    }

    #[test]
    fn only_what_proves_that_it_saw_a_control_probe_answers_one() {
        let mut bench = v4();
        (20..28).for_each(|port| assert!(bench.syn_ack(port).is_some()));
        let forged = |h: &mut TcpHeader| (h.syn, h.ack, h.acknowledgment_number) = (true, true, 5);
        let (asked, events) = controls(&mut bench, forged);
        assert_eq!((asked.len(), events.len(), bench.strays().bad_ack), (3, 0, 3));
        assert!(bench.shared.questions.is_busy());
        let quoted = |port: u16, seq: u32| {
            let (mut probe, mut frame) = (Vec::new(), Vec::new());
            PacketBuilder::ipv4(SOURCE, HOST, 1).tcp(PORT + 3, port, seq, 1).write(&mut probe, &[]).unwrap();
            PacketBuilder::ipv4(ROUTER, SOURCE, 62).icmpv4_raw(3, 13, [0; 4]).write(&mut frame, &probe).unwrap();
            frame
        };
        for &port in &asked {
            let cookie = bench.work.cookie.seq(SOURCE.into(), PORT + 3, Target { address: HOST.into(), port }).0;
            bench.take(&quoted(port, cookie ^ 1));
            bench.take(&quoted(port, cookie));
        }
        bench.receiver.examine(NOW, &mut |event| panic!("{event:?}"));
        bench.receiver.examine(NOW, &mut |event| panic!("{event:?}"));
        assert_eq!((bench.strays().bad_quote, bench.shared.questions.is_busy()), (3, false), "answered by errors");
    }

    #[test]
    fn our_own_probe_on_the_loopback_is_no_split_handshake() {
        let mut bench = bench("192.0.2.1", |_| {});
        let target = Target { address: SOURCE.into(), port: PORT };
        let mut header = TcpHeader::new(PORT + 1, PORT, bench.work.cookie.seq(SOURCE.into(), PORT + 1, target).0, 1024);
        header.syn = true;
        assert_eq!(bench.take(&tcp_from(SOURCE, header)), None);
        assert_eq!(bench.strays().own, 1);
    }

    #[test]
    fn what_does_not_prove_that_it_saw_our_syn_is_not_ours() {
        let mut bench = v4();
        let ack = |ack: fn(u32) -> u32, rst: bool| {
            move |h: &mut TcpHeader, cookie: u32| {
                (h.syn, h.rst, h.ack, h.acknowledgment_number) = (!rst, rst, true, ack(cookie));
            }
        };
        assert_eq!(bench.tcp(0, 20, ack(|cookie| cookie, false)), None, "a SYN-ACK must acknowledge the SYN");
        assert_eq!(bench.tcp(0, 20, ack(|cookie| cookie.wrapping_add(2), false)), None);
        assert_eq!(bench.tcp(0, 20, ack(|cookie| cookie.wrapping_sub(1), true)), None);
        assert_eq!(bench.tcp(0, 20, ack(|_| 0, true)), None);
        let other_pass = bench.cookie(1, 20).wrapping_add(1);
        let crossed = bench.tcp(0, 20, |h, _| (h.syn, h.ack, h.acknowledgment_number) = (true, true, other_pass));
        assert_eq!(crossed, None, "the cookie of another pass");
        assert_eq!((bench.strays().bad_ack, bench.strays().total()), (5, 5));
        assert_eq!(bench.counts(), (0, 0, 0));
    }

    #[test]
    fn strays_are_counted_by_kind() {
        let mut bench = v4();
        let wrong_port = tcp_from(HOST, TcpHeader { rst: true, ..TcpHeader::new(20, PORT + 4, 1, 1) });
        let foreign = tcp_from([10, 0, 0, 16], TcpHeader { rst: true, ..TcpHeader::new(20, PORT, 1, 1) });
        let other_target_port = tcp_from(HOST, TcpHeader { rst: true, ..TcpHeader::new(19, PORT, 1, 1) });
        let data = tcp_from(HOST, TcpHeader { ack: true, ..TcpHeader::new(20, PORT, 1, 1) });
        let mut corrupt = foreign.clone();
        corrupt[30] ^= 1;
        for frame in [wrong_port, foreign, other_target_port, data, corrupt, vec![0x45; 3]] {
            assert_eq!(bench.take(&frame), None);
        }
        let expected = Strays { wrong_port: 1, foreign: 2, unrelated: 1, malformed: 2, ..Strays::default() };
        assert_eq!(bench.strays(), expected);
        assert_eq!(load(&bench.shared.receiver.replies), 0);
    }

    #[test]
    fn icmp_errors_that_mean_filtered() {
        for (kind, code) in [(3, 0), (3, 1), (3, 2), (3, 3), (3, 9), (3, 10), (3, 13), (11, 0), (11, 1)] {
            let mut bench = v4();
            let verdict = bench.icmp(kind, code, 25, |_| {}).unwrap();
            assert_eq!((verdict.state, verdict.reason), (Filtered, Reason::Icmp { kind, code }));
            assert_eq!((verdict.sender, verdict.ttl), (Some(ROUTER.into()), Some(62)));
            assert_eq!(load(&bench.shared.receiver.srtt), 0, "errors teach no round-trip time");
        }
        for (kind, code) in [(3, 4), (3, 5), (3, 6), (3, 7), (3, 8), (3, 11), (3, 12), (3, 14)] {
            let mut bench = v4();
            assert_eq!(bench.icmp(kind, code, 25, |_| {}), None, "{kind}/{code}");
            assert_eq!((bench.strays().unrelated, bench.strays().total()), (1, 1));
        }
    }

    #[test]
    fn icmpv6_errors_that_mean_filtered() {
        for (kind, code, means) in
            [(1, 0, true), (1, 6, true), (1, 7, false), (2, 0, false), (3, 0, true), (4, 0, false)]
        {
            let mut bench = bench("fd00::/124", |_| {});
            let target = Target { address: HOST_V6.into(), port: 25 };
            let seq = bench.work.cookie.seq(SOURCE_V6.into(), PORT, target).0;
            let mut probe = Vec::new();
            PacketBuilder::ipv6(SOURCE_V6, HOST_V6, 1).tcp(PORT, 25, seq, 1).write(&mut probe, &[]).unwrap();
            let mut frame = Vec::new();
            let builder = PacketBuilder::ipv6(HOST_V6, SOURCE_V6, 60).icmpv6_raw(kind, code, [0; 4]);
            builder.write(&mut frame, &probe).unwrap();
            let expected = means.then_some((Filtered, Reason::Icmpv6 { kind, code }));
            assert_eq!(bench.take(&frame).map(|verdict| (verdict.state, verdict.reason)), expected, "{kind}/{code}");
        }
    }

    #[test]
    fn a_quote_that_is_not_our_probe_means_nothing() {
        let mut bench = v4();
        assert_eq!(bench.icmp(3, 13, 25, |quoted| quoted.sequence_number ^= 1), None);
        assert_eq!(bench.icmp(3, 13, 25, |quoted| quoted.source_port = PORT + 3), None);
        assert_eq!(bench.icmp(3, 13, 25, |quoted| quoted.source_port = PORT + 1), None, "another pass's cookie");
        assert_eq!(bench.icmp(3, 13, 25, |quoted| quoted.destination_port = 26), None);
        assert_eq!(bench.strays().bad_quote, 4);
        assert_eq!(bench.icmp(3, 13, 25, |quoted| quoted.destination_port = 99), None);
        assert_eq!(bench.strays().foreign, 1);
    }

    #[test]
    fn tcp_beats_icmp_and_open_beats_closed_and_the_first_of_equals_wins() {
        let mut bench = v4();
        bench.icmp(3, 1, 22, |_| {}).unwrap();
        assert_eq!(bench.icmp(3, 13, 22, |_| {}), None);
        let closed = bench.rst(22).unwrap();
        assert_eq!((closed.state, closed.supersedes), (Closed, Some(Filtered)));
        let open = bench.syn_ack(22).unwrap();
        assert_eq!((open.state, open.supersedes), (Open, Some(Closed)));
        assert_eq!((bench.syn_ack(22), bench.rst(22), bench.icmp(3, 1, 22, |_| {})), (None, None, None));
        assert_eq!(bench.counts(), (1, 0, 0));
        let counters = &bench.shared.receiver;
        assert_eq!((load(&counters.replies), load(&counters.duplicates)), (7, 4));
    }

    #[test]
    fn a_correction_is_told_to_whoever_was_told_the_mistake() {
        let mut bench =
            bench("10.0.0.0/28", |work| work.report = Report { open: false, closed: true, filtered: false });
        assert_eq!(bench.syn_ack(20), None, "open is not reported");
        bench.rst(21).unwrap();
        assert_eq!(bench.syn_ack(21).unwrap().supersedes, Some(Closed));
        assert_eq!(bench.counts(), (2, 0, 0), "but counted");
    }

    #[test]
    fn closing_reports_the_silent_and_nothing_after() {
        let mut bench = v4();
        bench.syn_ack(22).unwrap();
        bench.shared.walkers[0].set_pass(1);
        bench.shared.set_turn(Turn::Closing);
        assert_eq!(bench.receiver.turn(), Turn::Closing);
        let mut silent = Vec::new();
        bench.receiver.close(NOW, 100, |verdict| silent.push(verdict));
        assert_eq!((silent.len(), bench.shared.turn()), (100, Turn::Closing));
        let told = silent[0].target;
        let ours = bench.work.cookie.seq(SOURCE.into(), PORT, told).next();
        let late = TcpHeader { rst: true, acknowledgment_number: ours.0, ..TcpHeader::new(told.port, PORT, 1, 1) };
        let IpAddr::V4(host) = told.address else { panic!("{told}") };
        assert_eq!(bench.take(&tcp_from(host.octets(), late.clone())), None, "it was called silent");
        assert_eq!(bench.strays().late, 1);
        bench.receiver.close(NOW, 1000, |verdict| silent.push(verdict));
        assert_eq!((silent.len(), bench.shared.turn()), (159, Turn::Closed));
        assert!(silent.iter().all(|v| (v.state, v.reason, v.pass) == (Filtered, Reason::NoResponse, 1)));
        bench.receiver.turn();
        assert_eq!(bench.take(&tcp_from(host.octets(), late)), None);
        assert_eq!((bench.strays().late, bench.counts()), (2, (1, 0, 159)));
    }

    #[test]
    fn silent_targets_that_nobody_wants_to_hear_of_are_counted() {
        let mut bench = bench("10.0.0.0/28", |work| work.report.filtered = false);
        bench.syn_ack(22).unwrap();
        bench.shared.set_turn(Turn::Closing);
        bench.receiver.turn();
        bench.receiver.close(NOW, 1, |verdict| panic!("{verdict:?}"));
        assert_eq!((bench.counts(), bench.shared.turn()), ((1, 0, 159), Turn::Closed));
    }

    #[test]
    fn only_what_was_walked_is_called_silent() {
        let mut bench = v4();
        bench.shared.open(Stripe { start: Position(0), len: 160 }, None);
        bench.shared.walkers[0].set_walked(10);
        bench.shared.set_turn(Turn::Closing);
        bench.receiver.turn();
        let mut silent = 0;
        bench.receiver.close(NOW, 1000, |_| silent += 1);
        assert_eq!(silent, 10);
    }
}
