//! Hosts whose open ports may not be what they seem: tarpits and SYN proxies that accept any connection, forgers on the
//! way, ports that somebody else answers for. What is odd raises a question; control probes to a few random high ports
//! of the host decide it; what then speaks against a host is told once, and marks its answers from then on.
//!
//! | what is odd | what decides |
//! |---|---|
//! | 8 open ports, and four fifths of what has answered are open | two of three control ports open: `every-port` |
//! | a SYN-ACK with window 0 and no options, as no stack sends it | itself: `forged`; the host, if a control port answers so |
//! | a SYN-ACK whose TTL is more than 3 away from the host's others | the majority, if the control ports are not open: `ttl` |
//!
//! SYN-ACKs are held against SYN-ACKs alone: a RST may come from another part of a stack, with another TTL, and honestly.
//!
//! **Memory** is bounded: hosts with open ports are kept in sets of [`WAYS`] places by a hash of their address, at most
//! [`MOST`] in all. In a full set a newcomer counts down the host with the fewest open ports, and takes its place once
//! that has come to nothing (Misra and Gries, "Finding repeated elements", 1982): hosts with many open ports stay. Hosts
//! about which there is a question, or an answer to one, stay for good; where they fill a set, others of that set are
//! marked by nothing but the look of their own answers.
//!
//! A state machine without clock or link: answers and the time come in, control probes and suspicions go out. How a probe
//! is made and sent is `controls.rs`, which of the plan's targets have answered is the receiver's to know.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::permute::splitmix64;
use crate::target::{Family, Target};
use crate::time::Time;
use crate::verdict::{Suspect, Suspicion};

/// Watches for impostors.
#[derive(Debug)]
pub(crate) struct Impostors {
    hosts: Hosts,
    /// Where the random ports come from.
    random: u64,
    /// Whether control probes may be sent.
    may_ask: bool,
    /// When the next control probe may leave.
    free: Time,
    /// Hosts that are to be examined.
    queue: VecDeque<usize>,
    exams: Vec<Exam>,
    /// What is to be told.
    told: VecDeque<Suspicion>,
    suspects: u64,
}

/// An open answer, the first of its target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenAnswer {
    pub(crate) target: Target,
    pub(crate) ttl: u8,
    /// Whether it is a SYN-ACK with window 0 and no options.
    pub(crate) is_bare: bool,
}

/// What is known of some of a host's targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sample {
    pub(crate) answered: u32,
    pub(crate) open: u32,
}

/// What a control port said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// A SYN-ACK, with window 0 and no options or not.
    Open { is_bare: bool },
    /// A RST, or an ICMP error.
    NotOpen,
}

/// How well a port serves as a control port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fitness {
    /// It is not in the plan.
    Good,
    /// It is: probed anyway, so it may be if there is no better.
    Fair,
    /// It must not be probed.
    Unfit,
}

/// When something is to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    now: Time,
    /// How long an answer may take.
    wait: Duration,
    /// Between two control probes.
    every: Duration,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Send a control probe to this port of the host of a target of the plan.
    Ask { host: Target, port: u16 },
    /// Say this of a host.
    Tell(Suspicion),
}

/// Hosts watched at one time at most: about 4 MiB.
const MOST: usize = 1 << 16;
/// Places for each host of a plan, so that full sets are rare; and in any case.
const ROOM: usize = 4;
const LEAST: usize = 1 << 8;
/// Places that a host may have.
const WAYS: usize = 8;
/// Hosts examined at one time at most: so many as have three answers in a batch or so.
const TOGETHER: usize = 256;
/// Open ports from which on a host can be questionable for their number. Fewer may be all there is to scan.
const MANY: u32 = 8;
/// Control ports of a host.
const CONTROLS: usize = 3;
/// As many open control ports make an impostor: one may be chance.
const CONVICTING: usize = 2;
/// Control ports are drawn from the dynamic ones (RFC 6335 section 6), on which servers seldom listen.
const LOWEST: u16 = 49_152;
/// Ports drawn at most in search of good ones.
const DRAWS: usize = 64;
/// Control probes have this part of the rate, so that a scan that meets nothing but tarpits still gets on.
const SHARE: u64 = 4;
/// And are no more than this a second.
const MOST_ASKED: u64 = 100_000;
/// How often a control port is asked.
const TRIES: u8 = 2;

/// Hosts by the hash of their address.
#[derive(Debug)]
struct Hosts {
    places: Box<[Option<Host>]>,
    key: u64,
}

/// A host with an open port.
#[derive(Debug, Clone, Copy)]
struct Host {
    address: IpAddr,
    /// One of its open ports.
    port: u16,
    stage: Stage,
    /// Whether a forged-looking answer came.
    is_bare: bool,
    /// What was told of it.
    told: Option<Suspect>,
    /// The TTL of most answers, and how many those are; the first that departs from it, and how many do.
    usual: (u8, u32),
    departing: (u8, u32),
    opens: u32,
    /// What keeps its place.
    weight: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There is no question.
    Watched,
    /// To be examined.
    Waiting,
    Examined,
    /// The control ports have said what they have to say.
    Done,
}

/// A host's control ports, and what they said.
#[derive(Debug)]
struct Exam {
    place: usize,
    ports: Vec<(u16, Option<Said>)>,
    tries: u8,
    /// Until when answers are waited for.
    due: Time,
}

impl Impostors {
    /// For a plan of so many hosts. If it may not ask, nothing is examined.
    pub(crate) fn new(hosts: u128, seed: u64, may_ask: bool) -> Self {
        let mut random = seed;
        let hosts = Hosts::new(hosts, splitmix64(&mut random));
        Impostors {
            hosts,
            random,
            may_ask,
            free: Time::ZERO,
            queue: VecDeque::new(),
            exams: Vec::new(),
            told: VecDeque::new(),
            suspects: 0,
        }
    }

    /// Takes in an open answer; says what speaks against it, as far as that is known. `sample` tells of the host's targets.
    pub(crate) fn open(&mut self, answer: &OpenAnswer, sample: impl FnOnce() -> Sample) -> Option<Suspect> {
        let forged = answer.is_bare.then_some(Suspect::Forged);
        let Some(place) = self.hosts.place(answer.target) else { return forged };
        let Some(host) = &mut self.hosts.places[place] else { return forged };
        self.suspects += u64::from(answer.is_bare && !host.is_suspect());
        host.take(answer);
        match host.stage {
            Stage::Watched if host.is_questionable(sample) => self.question(place),
            Stage::Done => self.weigh(place, Host::is_clear),
            _ => {}
        }
        forged.or_else(|| self.hosts.places[place].as_ref()?.speaks_against(answer.ttl))
    }

    /// Takes in what a control port said.
    pub(crate) fn control(&mut self, target: Target, said: Said) {
        let hosts = &self.hosts;
        let of_host = |exam: &&mut Exam| hosts.places[exam.place].is_some_and(|host| host.address == target.address);
        let Some(exam) = self.exams.iter_mut().find(of_host) else { return };
        for (port, answer) in &mut exam.ports {
            if *port == target.port {
                answer.get_or_insert(said);
            }
        }
    }

    /// Does what is to be done; says when it wants to be asked again.
    pub(crate) fn poll(
        &mut self,
        timing: Timing,
        fitness: impl Fn(Target) -> Fitness,
        act: &mut impl FnMut(Act),
    ) -> Time {
        self.go_on(timing, act);
        self.begin(timing, fitness, act);
        self.told.drain(..).for_each(|suspicion| act(Act::Tell(suspicion)));
        let begin = if self.may_begin() { self.free } else { Time::NEVER };
        self.exams.iter().map(|exam| exam.due).fold(begin, Time::min)
    }

    /// Whether a host is being examined, or to be.
    pub(crate) fn is_busy(&self) -> bool {
        !(self.queue.is_empty() && self.exams.is_empty())
    }

    /// Examines nobody any more.
    pub(crate) fn give_up(&mut self) {
        let places: Vec<usize> = self.queue.drain(..).chain(self.exams.drain(..).map(|exam| exam.place)).collect();
        places.into_iter().for_each(|place| self.hosts.set(place, Stage::Done));
    }

    /// No more answers come for now: what is likely is taken for true.
    pub(crate) fn conclude(&mut self) {
        for place in 0..self.hosts.places.len() {
            if self.hosts.places[place].is_some_and(|host| host.stage == Stage::Done) {
                self.weigh(place, Host::is_likely);
            }
        }
    }

    /// Hosts that something speaks against.
    pub(crate) fn suspects(&self) -> u64 {
        self.suspects
    }

    fn question(&mut self, place: usize) {
        if self.may_ask {
            self.hosts.set(place, Stage::Waiting);
            self.queue.push_back(place);
        } else {
            self.hosts.set(place, Stage::Done);
        }
    }

    fn may_begin(&self) -> bool {
        !self.queue.is_empty() && self.exams.len() < TOGETHER
    }

    fn begin(&mut self, timing: Timing, fitness: impl Fn(Target) -> Fitness, act: &mut impl FnMut(Act)) {
        while self.may_begin() && self.free <= timing.now {
            let Some(place) = self.queue.pop_front() else { return };
            let Some(host) = self.hosts.places[place] else { continue };
            let ports = self.draw(host.address, &fitness);
            if ports.len() < CONVICTING {
                self.hosts.set(place, Stage::Done);
                continue;
            }
            self.hosts.set(place, Stage::Examined);
            let mut exam = Exam { place, ports, tries: 0, due: timing.now };
            self.ask(&mut exam, timing, act);
            self.exams.push(exam);
        }
    }

    /// Random high ports of a host: such as are not in the plan, as far as there are any.
    fn draw(&mut self, address: IpAddr, fitness: impl Fn(Target) -> Fitness) -> Vec<(u16, Option<Said>)> {
        let (mut good, mut fair) = (Vec::with_capacity(CONTROLS), Vec::new());
        for _ in 0..DRAWS {
            let port = LOWEST | splitmix64(&mut self.random) as u16;
            let list = match fitness(Target { address, port }) {
                Fitness::Good => &mut good,
                Fitness::Fair => &mut fair,
                Fitness::Unfit => continue,
            };
            if !list.contains(&port) {
                list.push(port);
            }
            if good.len() == CONTROLS {
                break;
            }
        }
        good.into_iter().chain(fair).take(CONTROLS).map(|port| (port, None)).collect()
    }

    /// Asks every control port that has not answered.
    fn ask(&mut self, exam: &mut Exam, timing: Timing, act: &mut impl FnMut(Act)) {
        let Timing { now, wait, every } = timing;
        let Some(host) = self.hosts.places[exam.place] else { return };
        let host = Target { address: host.address, port: host.port };
        for &(port, _) in exam.ports.iter().filter(|(_, said)| said.is_none()) {
            act(Act::Ask { host, port });
            self.free = self.free.max(now) + every;
        }
        exam.tries += 1;
        exam.due = now + wait;
    }

    /// Ends what is decided, asks again where nothing came.
    fn go_on(&mut self, timing: Timing, act: &mut impl FnMut(Act)) {
        let mut exams = std::mem::take(&mut self.exams);
        exams.retain_mut(|exam| {
            let is_late = timing.now >= exam.due;
            let is_over = exam.is_decided() || is_late && exam.tries == TRIES;
            match (is_over, is_late) {
                (true, _) => self.judge(exam),
                (false, true) => self.ask(exam, timing, act),
                (false, false) => {}
            }
            !is_over
        });
        self.exams = exams;
    }

    fn judge(&mut self, exam: &Exam) {
        self.hosts.set(exam.place, Stage::Done);
        let Some(host) = &self.hosts.places[exam.place] else { return };
        match () {
            () if exam.opens() >= CONVICTING => self.tell(exam.place, Suspect::EveryPort),
            () if host.is_bare && exam.is_bare() => self.tell(exam.place, Suspect::Forged),
            () => self.weigh(exam.place, Host::is_clear),
        }
    }

    /// Whether the TTLs speak against the host's departing answers, now that its control ports do not.
    fn weigh(&mut self, place: usize, is_enough: impl Fn(&Host) -> bool) {
        let host = self.hosts.places[place].as_ref();
        if host.is_some_and(|host| host.told.is_none() && host.departing.1 > 0 && is_enough(host)) {
            self.tell(place, Suspect::Ttl);
        }
    }

    fn tell(&mut self, place: usize, reason: Suspect) {
        let Some(host) = &mut self.hosts.places[place] else { return };
        self.suspects += u64::from(!host.is_suspect());
        host.told = Some(reason);
        let usual_ttl = (reason == Suspect::Ttl).then_some(host.usual.0);
        self.told.push_back(Suspicion { address: host.address, reason, usual_ttl });
    }
}

impl Timing {
    /// Where an answer may take `wait`, and the scan sends at `rate`.
    pub(crate) fn of(now: Time, wait: Duration, rate: u64) -> Self {
        let asked = (rate / SHARE).clamp(1, MOST_ASKED);
        Timing { now, wait, every: Duration::from_secs(1) / asked as u32 }
    }
}

impl Exam {
    fn opens(&self) -> usize {
        self.ports.iter().filter(|(_, said)| matches!(said, Some(Said::Open { .. }))).count()
    }

    fn is_bare(&self) -> bool {
        self.ports.iter().any(|(_, said)| *said == Some(Said::Open { is_bare: true }))
    }

    /// Whether nothing that may still come matters.
    fn is_decided(&self) -> bool {
        self.opens() >= CONVICTING || self.ports.iter().all(|(_, said)| said.is_some())
    }
}

impl Host {
    fn new(target: Target) -> Self {
        Host {
            address: target.address,
            port: target.port,
            stage: Stage::Watched,
            is_bare: false,
            told: None,
            usual: (0, 0),
            departing: (0, 0),
            opens: 0,
            weight: 0,
        }
    }

    fn take(&mut self, answer: &OpenAnswer) {
        self.opens = self.opens.saturating_add(1);
        self.weight = self.weight.saturating_add(1);
        self.is_bare |= answer.is_bare;
        if self.usual.1 == 0 {
            self.usual.0 = answer.ttl;
        }
        if self.usual.0.abs_diff(answer.ttl) <= Suspicion::NEAR {
            self.usual.1 = self.usual.1.saturating_add(1);
        } else {
            self.depart(answer.ttl);
        }
    }

    fn depart(&mut self, ttl: u8) {
        if self.departing.1 == 0 {
            self.departing.0 = ttl;
        }
        self.departing.1 = self.departing.1.saturating_add(1);
        // What was told stays.
        let is_other = self.departing.0.abs_diff(ttl) <= Suspicion::NEAR;
        if self.told.is_none() && is_other && self.departing.1 > self.usual.1 {
            std::mem::swap(&mut self.usual, &mut self.departing);
        }
    }

    fn is_questionable(&self, sample: impl FnOnce() -> Sample) -> bool {
        let is_looked_at = self.opens >= MANY && self.opens.is_power_of_two();
        self.is_bare || self.departing.1 > 0 || is_looked_at && sample().is_nearly_all_open()
    }

    /// Whether it is beyond doubt which TTL is the usual one.
    fn is_clear(&self) -> bool {
        self.usual.1 >= MANY && self.departing.1 <= self.usual.1 / 4
    }

    /// Whether it is likely.
    fn is_likely(&self) -> bool {
        self.usual.1 >= 2 && self.departing.1 <= self.usual.1 / 2
    }

    fn is_suspect(&self) -> bool {
        self.is_bare || self.told.is_some()
    }

    /// Whether it must not be forgotten.
    fn is_kept(&self) -> bool {
        self.is_suspect() || self.departing.1 > 0 || matches!(self.stage, Stage::Waiting | Stage::Examined)
    }

    fn speaks_against(&self, ttl: u8) -> Option<Suspect> {
        let departs = self.usual.0.abs_diff(ttl) > Suspicion::NEAR;
        self.told.filter(|&reason| reason != Suspect::Ttl || departs)
    }
}

impl Sample {
    /// Whether at least four fifths of what has answered are open; also where nothing of it has.
    fn is_nearly_all_open(self) -> bool {
        self.open * 5 >= self.answered * 4
    }
}

impl Hosts {
    fn new(hosts: u128, key: u64) -> Self {
        let places = usize::try_from(hosts).unwrap_or(MOST).saturating_mul(ROOM).clamp(LEAST, MOST);
        Hosts { places: vec![None; places.next_power_of_two()].into(), key }
    }

    /// The place of a target's host, which may be new; none if there is no place for it.
    fn place(&mut self, target: Target) -> Option<usize> {
        let set = self.set_of(target.address);
        let known = |host: &Option<Host>| host.is_some_and(|host| host.address == target.address);
        if let Some(at) = self.places[set..set + WAYS].iter().position(known) {
            return Some(set + at);
        }
        let place = self.free_place(set)?;
        self.places[place] = Some(Host::new(target));
        Some(place)
    }

    fn set_of(&self, address: IpAddr) -> usize {
        let (_, number) = Family::number(address);
        let mut state = self.key ^ number as u64 ^ ((number >> 64) as u64).rotate_left(32);
        splitmix64(&mut state) as usize % (self.places.len() / WAYS) * WAYS
    }

    fn free_place(&mut self, set: usize) -> Option<usize> {
        let weight = |host: &Option<Host>| host.map_or(0, |host| if host.is_kept() { u32::MAX } else { host.weight });
        let place = (set..set + WAYS).min_by_key(|&place| weight(&self.places[place]))?;
        let Some(host) = &mut self.places[place] else { return Some(place) };
        if host.is_kept() {
            return None;
        }
        host.weight = host.weight.saturating_sub(1);
        (host.weight == 0).then_some(place)
    }

    fn set(&mut self, place: usize, stage: Stage) {
        if let Some(host) = &mut self.places[place] {
            host.stage = stage;
        }
    }
}

#[cfg(test)]
mod tests;
