//! A host of a group (HostScanStats in scan_engine.cc): its ports, its probes and where each of them stands, and how
//! carefully it is to be treated.
//!
//! ```text
//! fresh port -> in flight -> answered
//!                   |  timed out
//!                   v
//!                overdue -> retransmitted: in flight again, and the old one late, which may still be answered
//!                   |  no try left, while more may be granted
//!                   v
//!                bench -> retry stack -> in flight
//! ```

use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use halfopen::{State, Target, Time};

use super::round_trips::RoundTrips;
use super::window::Window;
use super::{MAX_RETRIES, PING_CHANNEL, PINGS};

/// Before a try of a number that the host has not seen yet: are answers being limited in rate?
const RATE_LIMIT_WAIT: Duration = Duration::from_secs(1);
/// The first delay between two probes; it doubles up to the limit for TCP at `-T4`.
const FIRST_DELAY: Duration = Duration::from_millis(5);
const MOST_DELAY: Duration = Duration::from_millis(10);
/// Drops, and their share, beyond which the delay grows at `-T4`; and the try whose success makes it grow.
const MANY_DROPS: u32 = 10;
const DROP_SHARE: f64 = 0.4;
const LATE_SUCCESS: u8 = 4;
/// With fewer probes sent its own window is the one to go by.
const FEW_PROBES: u64 = 80;

/// A probe that was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) port: usize,
    pub(super) channel: u16,
    pub(super) at: Time,
}

impl Sent {
    pub(super) fn is_ping(&self) -> bool {
        self.channel >= PING_CHANNEL
    }

    /// The how manieth repetition it is; a ping is none.
    pub(super) fn repetition(&self) -> u8 {
        if self.is_ping() { 0 } else { self.channel as u8 }
    }
}

#[derive(Debug)]
pub(super) struct Host {
    address: IpAddr,
    ports: Rc<[u16]>,
    /// By the ports' order.
    states: Vec<Option<State>>,
    fresh: usize,
    in_flight: VecDeque<Sent>,
    overdue: VecDeque<Sent>,
    late: VecDeque<Sent>,
    bench: Vec<Sent>,
    retry_stack: Vec<Sent>,
    pub(super) window: Window,
    pub(super) round_trips: RoundTrips,
    pub(super) sent: u64,
    last_sent: Option<Time>,
    pub(super) last_heard: Time,
    /// A port that answers.
    ping_port: Option<usize>,
    pings: u16,
    last_ping: (Time, u64),
    /// The highest repetition that was answered, and that was sent.
    best: u8,
    highest: u8,
    may_rise: bool,
    rate_limit_wait: Option<Time>,
    delay: Duration,
    dropped: u32,
    good: u32,
}

impl Host {
    pub(super) fn new(address: IpAddr, ports: &Rc<[u16]>, now: Time) -> Host {
        Host {
            address,
            ports: Rc::clone(ports),
            states: vec![None; ports.len()],
            fresh: 0,
            in_flight: VecDeque::new(),
            overdue: VecDeque::new(),
            late: VecDeque::new(),
            bench: Vec::new(),
            retry_stack: Vec::new(),
            window: Window::new(),
            round_trips: RoundTrips::new(),
            sent: 0,
            last_sent: None,
            last_heard: now,
            ping_port: None,
            pings: 0,
            last_ping: (now, 0),
            best: 0,
            highest: 0,
            may_rise: true,
            rate_limit_wait: None,
            delay: Duration::ZERO,
            dropped: 0,
            good: 0,
        }
    }

    pub(super) fn target(&self, port: usize) -> Target {
        Target { address: self.address, port: self.ports[port] }
    }

    pub(super) fn found(&self) -> impl Iterator<Item = (Target, State)> {
        self.states.iter().enumerate().filter_map(|(port, state)| Some((self.target(port), (*state)?)))
    }

    pub(super) fn is_complete(&self) -> bool {
        self.in_flight.is_empty()
            && self.overdue.is_empty()
            && self.bench.is_empty()
            && self.retry_stack.is_empty()
            && !self.has_fresh_ports()
    }

    pub(super) fn has_fresh_ports(&self) -> bool {
        self.fresh < self.ports.len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether it may be sent something now (HostScanStats::sendOK), as far as it is a matter of the host.
    pub(super) fn may_send(&self, now: Time, group: &Window) -> bool {
        if let Some(until) = self.rate_limit_wait {
            return now >= until;
        }
        let delayed = self.delay > Duration::ZERO && self.last_sent.is_some_and(|last| now < last + self.delay);
        !delayed && self.own_window(group).has_room(self.in_flight.len())
    }

    /// Its own, where it is known to answer or hardly probed; else the group's, once that has learnt something.
    fn own_window<'a>(&'a self, group: &'a Window) -> &'a Window {
        let own = self.ping_port.is_some() || self.sent < FEW_PROBES || !group.is_taught();
        if own { &self.window } else { group }
    }

    /// How often a port may be tried again: once, and once more than has been answered.
    fn allowed(&self) -> u8 {
        (self.best + 1).clamp(1, MAX_RETRIES)
    }

    pub(super) fn timeout(&self, group: &RoundTrips) -> Duration {
        if self.round_trips.is_taught() { self.round_trips.timeout() } else { group.timeout() }
    }

    /// When something is to be done without an answer: a timeout, the end of a wait.
    pub(super) fn next_time(&self, group: &RoundTrips) -> Time {
        let timeout = self.in_flight.front().map(|first| first.at + self.timeout(group));
        let delayed = self.last_sent.filter(|_| self.delay > Duration::ZERO).map(|last| last + self.delay);
        let times = [timeout, delayed, self.rate_limit_wait];
        times.into_iter().flatten().min().unwrap_or(Time::NEVER)
    }

    // Probes.

    fn note_sent(&mut self, port: usize, channel: u16, now: Time) -> Sent {
        let sent = Sent { port, channel, at: now };
        self.in_flight.push_back(sent);
        (self.sent, self.last_sent) = (self.sent + 1, Some(now));
        sent
    }

    pub(super) fn send_fresh(&mut self, now: Time) -> Sent {
        self.fresh += 1;
        self.note_sent(self.fresh - 1, 0, now)
    }

    /// The next overdue probe again, if one may be. A repetition of a number that is new to the host waits a second first.
    pub(super) fn send_overdue(&mut self, now: Time) -> Option<Sent> {
        let allowed = self.allowed();
        let place = self.overdue.iter().position(|sent| sent.repetition() < allowed)?;
        let repetition = self.overdue[place].repetition() + 1;
        if repetition > self.highest && self.ports.len() > 1 {
            (self.highest, self.rate_limit_wait) = (repetition, Some(now + RATE_LIMIT_WAIT));
            return None;
        }
        self.rate_limit_wait = None;
        let old = self.overdue.remove(place)?;
        self.late.push_back(old);
        Some(self.note_sent(old.port, repetition.into(), now))
    }

    pub(super) fn send_from_stack(&mut self, now: Time) -> Option<Sent> {
        let old = self.retry_stack.pop()?;
        Some(self.note_sent(old.port, old.channel + 1, now))
    }

    pub(super) fn has_stack(&self) -> bool {
        !self.retry_stack.is_empty()
    }

    pub(super) fn has_overdue(&self) -> bool {
        !self.overdue.is_empty()
    }

    pub(super) fn is_known_to_answer(&self) -> bool {
        self.ping_port.is_some()
    }

    /// Whether it is time to ask whether it is still there: nothing heard for so long, and ten probes sent meanwhile.
    pub(super) fn wants_ping(&self, now: Time, every: Duration) -> bool {
        let (last, sent) = self.last_ping;
        let quiet = now > self.last_heard + every && now > last + every;
        self.is_known_to_answer() && self.rate_limit_wait.is_none() && self.sent >= sent + 10 && quiet
    }

    pub(super) fn send_ping(&mut self, now: Time) -> Option<Sent> {
        let port = self.ping_port?;
        self.pings = (self.pings + 1) % PINGS;
        let sent = self.note_sent(port, PING_CHANNEL + self.pings, now);
        self.last_ping = (now, self.sent);
        Some(sent)
    }

    // Answers.

    /// The probe that is answered, which is then done with; none for one that nobody waits for any more.
    pub(super) fn take_answered(&mut self, port: u16, channel: u16) -> Option<Sent> {
        let ports = Rc::clone(&self.ports);
        let is_it = |sent: &Sent| sent.channel == channel && ports[sent.port] == port;
        [&mut self.in_flight, &mut self.overdue, &mut self.late].into_iter().find_map(|probes| {
            let place = probes.iter().position(is_it)?;
            probes.remove(place)
        })
    }

    /// A port has this state: open beats closed, and any answer beats an ICMP error.
    pub(super) fn set(&mut self, port: usize, state: State) {
        let better = match self.states[port] {
            None | Some(State::Filtered) => true,
            Some(State::Closed) => state == State::Open,
            Some(State::Open) => false,
        };
        if better {
            self.states[port] = Some(state);
        }
    }

    /// What an answer by TCP teaches beyond its port's state.
    pub(super) fn learn(&mut self, sent: &Sent, now: Time) {
        self.round_trips.learn(now.since(sent.at), self.delay);
        self.ping_port = self.ping_port.or(Some(sent.port));
        if sent.repetition() > self.best {
            self.best = sent.repetition();
            if self.best > LATE_SUCCESS {
                self.delay_more();
            }
        }
        match sent.repetition() {
            0 => self.good += 1,
            _ => self.dropped += 1,
        }
        let share = f64::from(self.dropped) / f64::from(self.dropped + self.good);
        if self.dropped > MANY_DROPS && share > DROP_SHARE {
            self.delay_more();
        }
    }

    fn delay_more(&mut self) {
        self.delay = (self.delay * 2).clamp(FIRST_DELAY, MOST_DELAY);
        (self.dropped, self.good) = (0, 0);
    }

    // Time.

    /// Probes in flight that have timed out, one at a call.
    pub(super) fn time_out(&mut self, now: Time, group: &RoundTrips) -> Option<Sent> {
        let timeout = self.timeout(group);
        let sent = self.in_flight.front().copied().filter(|first| now > first.at + timeout)?;
        self.in_flight.pop_front();
        if !sent.is_ping() && self.states[sent.port].is_none() {
            self.overdue.push_back(sent);
        }
        Some(sent)
    }

    /// Gives up, benches, or brings back what has timed out, as tries are left.
    pub(super) fn sort_out(&mut self, now: Time, group: &RoundTrips) {
        let allowed = self.allowed();
        self.consider_rise(allowed);
        let states = &self.states;
        self.overdue.retain(|sent| states[sent.port].is_none());
        let (spent, tries_left): (Vec<Sent>, Vec<Sent>) =
            self.overdue.drain(..).partition(|sent| sent.repetition() >= allowed);
        self.overdue.extend(tries_left);
        if self.may_rise && allowed < MAX_RETRIES {
            self.bench.extend(spent);
        }
        match self.bench.first().is_some_and(|sent| sent.repetition() < allowed) {
            true => self.retry_stack.append(&mut self.bench),
            false if !self.may_rise => self.bench.clear(),
            false => {}
        }
        let keep = (self.timeout(group) * 10).min(Duration::from_secs(10));
        while self.late.front().is_some_and(|sent| now > sent.at + keep) {
            self.late.pop_front();
        }
    }

    /// No answer can raise the number of tries any more once nothing is under way and nothing is to be sent.
    fn consider_rise(&mut self, allowed: u8) {
        let under_way = !self.in_flight.is_empty() || self.has_fresh_ports() || self.has_stack();
        let to_send = self.overdue.iter().any(|sent| sent.repetition() < allowed);
        self.may_rise = self.may_rise && (under_way || to_send);
    }
}
