//! Asks every host whether it is there: an echo request and a few telling ports, in rounds. A state machine
//! without sockets and clocks: time and frames come in, frames go out.
//!
//! ```text
//!            all asked             answers had their time          second round, last stripe
//!   Asking ───────────▶ Listening ────────────────────────▶ Asking ... ───────────────────▶ Done
//! ```
//!
//! A round after the first finds who lost a question or an answer: nobody, where nothing is lost. So the rounds go on for
//! as long as they find more than a small share of all that are there, and until the last two have found nobody and hardly
//! anybody is to be expected missing still, by the share of echoes that some hosts known to be there fail to answer; up to
//! ten. Of the rounds that find nobody in the end, all but the first ask many hosts the first question alone. Every round
//! has an order of its own: a burst takes neighbours, and who is asked side by side again can be lost side by side again, in
//! rounds that seem to find nobody.
//!
//! A round puts one question to all hosts before the next, and no question to a host that has answered; so who is there
//! mostly costs a probe or two, and only the dark cost all of them. Between the rounds it listens
//! as long as an answer may take by the measured round-trip times, and after the last at least 1 s: some hosts are further
//! away than all that have answered. Hosts are worked on in stripes of 2^24: a bit for each of them is all that is kept, and runs of
//! those that answered.
//!
//! A host is there when it proves that it has seen a question of ours: by a SYN-ACK or RST that acknowledges the cookie,
//! an echo reply that returns one, or an ICMP error that quotes one and was sent by the host itself. What a router says in
//! its place means nothing.

use std::net::IpAddr;
use std::time::Duration;

use crate::cookie::Cookie;
use crate::permute::Permutation;
use crate::plan::{EgressId, Plan, Subset};
use crate::rtt::{RttEstimator, WAIT_UNHEARD};
use crate::target::{Family, Index, Position, Seq, Target};
use crate::time::Time;
use crate::wire::echo::{self, Echo, EchoReply, Request};
use crate::wire::reply::{self, Checksum, IcmpReply, Layer, Reply, Segment, TcpReply};
use crate::wire::syn::{LinkHeader, MAX_FRAME, Probe, SynTemplate};

/// What is asked, the most telling first: hosts that let themselves be asked at all mostly answer an echo request; then
/// the ports that are most often open or refused with a RST through firewalls (web, remote access, Windows, mail, names),
/// which answer for hosts whose firewall drops echo requests. The last is one where hardly anything listens: it draws RSTs
/// from hosts whose firewall guards known services only.
pub(crate) const QUESTIONS: [Question; 10] = [
    Question::Echo,
    Question::Syn(443),
    Question::Syn(80),
    Question::Syn(22),
    Question::Syn(445),
    Question::Syn(3389),
    Question::Syn(8080),
    Question::Syn(25),
    Question::Syn(53),
    Question::Syn(40_125),
];

/// The questions that no exclusion forbids. A port that one names, be it for another address, is asked of nobody: what is
/// excluded is never probed.
fn allowed(hosts: &Plan) -> Vec<Question> {
    let is_allowed = |question: &Question| match question {
        Question::Echo => true,
        Question::Syn(port) => !hosts.spares(*port),
    };
    QUESTIONS.into_iter().filter(is_allowed).collect()
}

/// A lost probe, or a lost answer, is asked for again so often at most.
const MOST_ROUNDS: u16 = 10;
/// So many rounds in which no more answer than one in so many of those that are there are the last ..
const QUIET: u16 = 2;
const FEW: u64 = 4000;
/// .. if no more hosts are to be expected missing: all targets of a host are lost with it, and of a thousand hosts not one
/// in a thousand scans is to be.
const MISSING: f64 = 1e-3;
const OF: f64 = 1e3;
/// Hosts that are asked for an echo again in later rounds although they have answered, at most.
const CANARIES: u64 = 128;
/// More hosts than are lost in one burst.
const MANY: u64 = 1000;
/// Rounds where nothing is lost, as far as progress is concerned.
const ROUNDS: u16 = 2;
/// Hosts that are worked on at a time: a bit for each is 2 MiB.
const STRIPE: u64 = 1 << 24;
/// After a stall, this much of it is caught up with at once and the rest forgotten.
const BURST: Duration = Duration::from_millis(10);
/// When a link has no room for a frame, it is tried again after this.
const BUSY: Duration = Duration::from_millis(1);
/// Hosts looked at in one poll at most: the wish to stop must not wait for a walk over hosts that have answered.
const LOOKED_AT: u32 = 4096;

/// How a host is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// ICMP or ICMPv6 echo.
    Echo,
    /// A SYN to this port.
    Syn(u16),
}

/// How the hosts of one egress are reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) link: usize,
    pub(crate) source: IpAddr,
    pub(crate) header: LinkHeader,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Poll again at this time; feed every frame that comes until then.
    Until(Time),
    /// All have been asked and had their time to answer.
    Done,
}

/// A survey of hosts.
pub(crate) struct Survey {
    /// One target a host, so that its index is its rank.
    hosts: Plan,
    /// By egress.
    ways: Vec<Way>,
    templates: Vec<SynTemplate>,
    cookie: Cookie,
    questions: Vec<Question>,
    /// Our source port, and the identifier of echo requests.
    port: u16,
    seed: u64,
    /// The time between two probes.
    interval: Duration,
    stage: Stage,
    /// The rank of the stripe's first host.
    start: u64,
    order: Permutation,
    /// By rank in the stripe.
    answered: Vec<u64>,
    dark: u64,
    /// How many had answered before this round, whom each round found, and rounds that found nobody new since the last that
    /// did.
    before: u64,
    found: [u64; MOST_ROUNDS as usize],
    quiet: u16,
    canaries: Vec<Canary>,
    /// How many of them this round has asked, and all rounds.
    next_canary: usize,
    canaries_asked: u64,
    canaries_heard: u64,
    round: u16,
    question: usize,
    /// A place in the order.
    cursor: u64,
    due: Time,
    last_sent: Time,
    rtt: RttEstimator,
    probes: u64,
    /// Of stripes that are over.
    alive: Subset,
}

/// A host that has answered an echo request of the first round.
#[derive(Debug, Clone, Copy)]
struct Canary {
    rank: u64,
    /// The last round whose echo request it has answered.
    heard: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Asking,
    Listening,
    Leaving,
    Done,
}

impl Survey {
    /// Will ask the hosts of a plan with one port, at `rate` probes a second (at least one), from this source port.
    pub(crate) fn new(hosts: Plan, ways: Vec<Way>, cookie: Cookie, (port, seed): (u16, u64), rate: u64) -> Survey {
        let templates = ways.iter().map(|way| SynTemplate::new(way.header, way.source, port)).collect();
        let mut survey = Survey {
            questions: allowed(&hosts),
            hosts,
            ways,
            templates,
            cookie,
            port,
            seed,
            interval: Duration::from_nanos(1_000_000_000 / rate.max(1)),
            stage: Stage::Asking,
            start: 0,
            order: Permutation::new(0, seed),
            answered: Vec::new(),
            dark: 0,
            before: 0,
            found: [0; MOST_ROUNDS as usize],
            quiet: 0,
            canaries: Vec::new(),
            next_canary: 0,
            canaries_asked: 0,
            canaries_heard: 0,
            round: 0,
            question: 0,
            cursor: 0,
            due: Time::ZERO,
            last_sent: Time::ZERO,
            rtt: RttEstimator::default(),
            probes: 0,
            alive: Subset::default(),
        };
        survey.begin_stripe(0);
        survey
    }

    /// Sends what is due. `emit` takes a frame for a link, or says that there is no room for it now.
    pub(crate) fn poll(&mut self, now: Time, emit: &mut dyn FnMut(usize, &[u8]) -> bool) -> Step {
        loop {
            if self.dark == 0 && self.stage != Stage::Done {
                self.end_stripe();
            }
            let wait = match self.stage {
                Stage::Asking => self.ask(now, emit),
                Stage::Listening => self.listen(now),
                Stage::Leaving => self.leave(now),
                Stage::Done => return Step::Done,
            };
            if let Some(until) = wait {
                return Step::Until(until);
            }
        }
    }

    /// Looks at a received frame.
    pub(crate) fn frame(&mut self, at: Time, layer: Layer, frame: &[u8], checksum: Checksum) {
        let host = match reply::read(layer, frame, checksum) {
            Ok(Reply::Tcp(tcp)) => self.tcp(&tcp),
            Ok(Reply::Icmp(icmp)) => self.icmp(&icmp),
            Err(_) => echo::read(layer, frame).and_then(|reply| self.echo(&reply, at)),
        };
        host.into_iter().for_each(|host| self.heard(host));
    }

    /// How many hosts there are to ask.
    pub(crate) fn hosts(&self) -> u64 {
        self.hosts.len()
    }

    /// Probes sent so far.
    pub(crate) fn probes(&self) -> u64 {
        self.probes
    }

    /// Share of the work that is done, 0 to 1.
    pub(crate) fn done(&self) -> f64 {
        if self.stage == Stage::Done {
            return 1.0;
        }
        let round =
            (self.question as f64 + self.cursor as f64 / self.order.len().max(1) as f64) / self.questions.len() as f64;
        let stripe = (f64::from(self.round) + round.min(1.0)) / f64::from(ROUNDS.max(self.round + 1));
        (self.start as f64 + stripe * self.order.len() as f64) / self.hosts.len() as f64
    }

    /// Ends the survey: who has answered.
    pub(crate) fn into_alive(mut self) -> Subset {
        self.keep();
        self.alive
    }
}

// Asking.
impl Survey {
    fn begin_stripe(&mut self, start: u64) {
        let len = (self.hosts.len() - start).min(STRIPE);
        self.start = start;
        self.answered.clear();
        self.answered.resize(len.div_ceil(64) as usize, 0);
        (self.dark, self.before, self.quiet, self.found) = (len, 0, 0, [0; MOST_ROUNDS as usize]);
        self.canaries.clear();
        (self.canaries_asked, self.canaries_heard) = (0, 0);
        self.begin_round(0, len);
    }

    /// In an order that no other round or stripe has.
    fn begin_round(&mut self, round: u16, len: u64) {
        self.order = Permutation::new(len, self.seed ^ self.start ^ (u64::from(round) << 48));
        (self.round, self.question, self.cursor, self.next_canary) = (round, 0, 0, 0);
        self.stage = Stage::Asking;
    }

    fn end_stripe(&mut self) {
        self.keep();
        let next = self.start + self.order.len();
        if next < self.hosts.len() {
            self.begin_stripe(next);
        } else {
            self.order = Permutation::new(0, self.seed);
            (self.start, self.dark, self.stage) = (next, 0, Stage::Done);
        }
    }

    /// Turns the stripe's bits into runs of addresses.
    fn keep(&mut self) {
        for (word, at) in std::mem::take(&mut self.answered).into_iter().zip((self.start..).step_by(64)) {
            let mut bits = word;
            while bits != 0 {
                if let Some(found) = self.hosts.find(Index(at + u64::from(bits.trailing_zeros()))) {
                    self.alive.push(found.family, found.address);
                }
                bits &= bits - 1;
            }
        }
    }

    /// Asks what is due; a time to wait for, or nothing when the round is through.
    fn ask(&mut self, now: Time, emit: &mut dyn FnMut(usize, &[u8]) -> bool) -> Option<Time> {
        self.due = self.due.max(now - BURST);
        for _ in 0..LOOKED_AT {
            let Some(rank) = self.next_host() else {
                self.stage = Stage::Listening;
                return None;
            };
            if let Some(rank) = rank {
                if self.due > now {
                    return Some(self.due);
                }
                if !self.put(rank, now, emit) {
                    return Some(now + BUSY);
                }
                self.due = self.due + self.interval;
                self.last_sent = now;
                self.probes += 1;
            }
            self.go_on();
        }
        Some(now)
    }

    /// A canary that is due, or the host at the cursor, which moves on to the next question at the end: `Some(None)` is one
    /// that has answered, and `None` the end of the round.
    #[expect(clippy::option_option, reason = "two questions: is there one, and does it need to be asked")]
    fn next_host(&mut self) -> Option<Option<u64>> {
        if let Some(canary) = self.due_canary() {
            return Some(Some(canary.rank));
        }
        if self.cursor >= self.order.len() {
            (self.cursor, self.question) = (0, self.question + 1);
        }
        self.questions.get(self.question).filter(|_| self.question == 0 || !self.is_check())?;
        let Index(rank) = self.order.index(Position(self.cursor));
        Some((!self.has_answered(rank)).then_some(rank))
    }

    /// Later rounds ask some hosts again between the dark ones: it shows what is lost, and a burst of losses does not last
    /// for as long as only the dark are asked.
    fn due_canary(&self) -> Option<Canary> {
        let apart = self.order.len() / CANARIES + 1;
        let is_due =
            self.question == 0 && self.questions[0] == Question::Echo && self.next_canary as u64 * apart <= self.cursor;
        self.canaries.get(self.next_canary).filter(|_| is_due && self.round > 0).copied()
    }

    fn go_on(&mut self) {
        if self.due_canary().is_some() {
            self.next_canary += 1;
            self.canaries_asked += 1;
        } else {
            self.cursor += 1;
        }
    }

    /// Puts the question to a host; whether the link took it.
    fn put(&self, rank: u64, now: Time, emit: &mut dyn FnMut(usize, &[u8]) -> bool) -> bool {
        let Some(found) = self.hosts.find(Index(self.start + rank)) else { return true };
        let (address, egress) = (found.family.address(found.address), found.egress);
        let Some(way) = self.way(egress) else { return true };
        match self.questions[self.question] {
            Question::Echo => emit(way.link, self.request(way, address, now).frame()),
            Question::Syn(port) => {
                let (mut frame, template) = ([0; MAX_FRAME], &self.templates[usize::from(egress.0)]);
                let target = Target { address, port };
                let seq = self.cookie.seq(way.source, self.port, target);
                let frame = &mut frame[..template.frame().len()];
                frame.copy_from_slice(template.frame());
                template.patch(frame, &Probe { target, seq, mac: None });
                emit(way.link, frame)
            }
        }
    }

    fn request(&self, way: &Way, address: IpAddr, now: Time) -> Request {
        let proof = self.proof(way.source, address, self.round);
        let echo = Echo { id: self.port, number: self.round, proof, sent: now.0 };
        Request::new(way.header, way.source, address, echo)
    }

    /// A round stands where a port would: no question's port is so low, so that no SYN has this cookie.
    fn proof(&self, source: IpAddr, address: IpAddr, round: u16) -> u32 {
        self.cookie.seq(source, self.port, Target { address, port: round }).0
    }

    fn way(&self, egress: EgressId) -> Option<&Way> {
        self.ways.get(usize::from(egress.0))
    }

    /// Waits for the round's answers; then the next round.
    fn listen(&mut self, now: Time) -> Option<Time> {
        let end = self.last_sent + self.rtt.wait();
        if now < end {
            return Some(end);
        }
        if self.has_next_round() {
            (self.before, self.due) = (self.alive_here(), now);
            self.begin_round(self.round + 1, self.order.len());
        } else {
            self.stage = Stage::Leaving;
        }
        None
    }

    /// Waits for those that are further away than all that have answered; then the end of the stripe.
    fn leave(&mut self, now: Time) -> Option<Time> {
        let end = self.last_sent + self.rtt.wait().max(WAIT_UNHEARD);
        if now < end {
            return Some(end);
        }
        self.end_stripe();
        None
    }
}

// Rounds.
impl Survey {
    fn alive_here(&self) -> u64 {
        self.order.len() - self.dark
    }

    /// A round that finds nobody may have met a burst: it takes another one. Of many hosts, of the first question alone:
    /// that is more than any burst. And one that finds nobody where others are found late may have missed those who are left.
    fn has_next_round(&mut self) -> bool {
        let alive = self.alive_here();
        let found = alive - self.before;
        self.found[usize::from(self.round)] = found;
        if self.round == 0 {
            return true;
        }
        self.quiet = if found <= alive / FEW { self.quiet + 1 } else { 0 };
        let is_enough = self.quiet >= QUIET && self.missing() <= MISSING * (alive as f64 / OF).max(1.0);
        self.round + 1 < MOST_ROUNDS && !is_enough && alive > 0
    }

    /// How many are still to be expected. Who is found later than in the first round had one answer to give in each, mostly;
    /// what a round leaves of those is what is lost on the way.
    fn missing(&self) -> f64 {
        let late = self.found[1..].iter().sum::<u64>().max(1) as f64;
        late * self.lost().max(self.left()).powi(i32::from(self.round))
    }

    /// The share of echoes that canaries have not answered.
    fn lost(&self) -> f64 {
        let lost = self.canaries_asked.saturating_sub(self.canaries_heard);
        lost as f64 / self.canaries_asked.max(1) as f64
    }

    /// The share of late hosts that a round has left to those after it, by Laplace's rule of succession: where nobody answers
    /// echoes, a few hosts are no proof that all are found.
    fn left(&self) -> f64 {
        let (second, later) = (self.found[1] as f64, self.found[2..].iter().sum::<u64>() as f64);
        if second + later > 0.0 { (later + 1.0) / (second + later + 2.0) } else { 0.0 }
    }

    fn is_check(&self) -> bool {
        self.quiet > 0 && self.dark > MANY
    }
}

// Hearing: who has proved to be there.
impl Survey {
    fn tcp(&self, tcp: &TcpReply) -> Option<IpAddr> {
        let target = Target { address: tcp.source, port: tcp.source_port };
        let cookie = self.cookie.seq(tcp.destination, tcp.destination_port, target);
        let proved = match tcp.kind {
            Segment::SynAck => tcp.ack == cookie.next(),
            Segment::Rst => tcp.ack == cookie.next() || tcp.ack == cookie,
            Segment::Syn | Segment::Other => false,
        };
        (proved && tcp.destination_port == self.port).then_some(tcp.source)
    }

    fn icmp(&self, icmp: &IcmpReply) -> Option<IpAddr> {
        let quote = icmp.quote?;
        let target = Target { address: quote.destination, port: quote.destination_port };
        let is_ours = quote.source_port == self.port
            && quote.source == icmp.destination
            && quote.seq == self.cookie.seq(quote.source, quote.source_port, target);
        (is_ours && icmp.sender == quote.destination).then_some(icmp.sender)
    }

    fn echo(&mut self, reply: &EchoReply, at: Time) -> Option<IpAddr> {
        let EchoReply { source, destination, echo } = *reply;
        let is_ours = echo.id == self.port
            && echo.number < MOST_ROUNDS
            && Seq(echo.proof) == Seq(self.proof(destination, source, echo.number));
        if is_ours && echo.sent <= at.0 {
            self.rtt.sample_nanos(at.0 - echo.sent);
        }
        if is_ours && let Some(rank) = self.rank(source) {
            self.heard_echo(rank, echo.number);
        }
        is_ours.then_some(source)
    }

    fn heard_echo(&mut self, rank: u64, round: u16) {
        if round == 0 && !self.has_answered(rank) && (self.canaries.len() as u64) < CANARIES {
            self.canaries.push(Canary { rank, heard: 0 });
        }
        let canary = self.canaries.iter_mut().find(|canary| canary.rank == rank && canary.heard < round);
        if let Some(canary) = canary {
            canary.heard = round;
            self.canaries_heard += 1;
        }
    }

    /// The rank of a host in the stripe.
    fn rank(&self, host: IpAddr) -> Option<u64> {
        let (family, address) = Family::number(host);
        let Index(rank) = self.hosts.index_of(family, address, PLACE)?;
        rank.checked_sub(self.start).filter(|&rank| rank < self.order.len())
    }

    fn heard(&mut self, host: IpAddr) {
        let Some(rank) = self.rank(host) else { return };
        if !self.has_answered(rank) {
            self.answered[(rank / 64) as usize] |= 1 << (rank % 64);
            self.dark -= 1;
        }
    }

    fn has_answered(&self, rank: u64) -> bool {
        self.answered.get((rank / 64) as usize).is_some_and(|word| word >> (rank % 64) & 1 == 1)
    }
}

/// The port of a plan in which a host is one target.
pub(crate) const PLACE: u16 = 1;

#[cfg(test)]
mod tests;
