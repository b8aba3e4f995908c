//! Hosts that are scanned together (UltraScanInfo and GroupScanStats in scan_engine.cc), and the loop that scans them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use halfopen::link::sim::Network;
use halfopen::{State, Target, Time};

use super::host::{Host, Sent};
use super::round_trips::RoundTrips;
use super::window::Window;
use crate::prober::{Answer, Prober};

/// Probes between two waits.
const BURST: u64 = 50;
/// Silence after which a port that is known to answer is asked again.
const PING_AFTER: Duration = Duration::from_millis(1250);
/// No longer than this between two looks at everything.
const LOOK: Duration = Duration::from_millis(250);
/// Between two looks when nothing could be sent.
const PAUSE: Duration = Duration::from_micros(100);

pub(super) struct Group {
    now: Time,
    hosts: Vec<Host>,
    by_address: HashMap<IpAddr, usize>,
    incomplete: Vec<usize>,
    /// Where in `incomplete` the next fresh probe is looked for.
    turn: usize,
    window: Window,
    round_trips: RoundTrips,
    in_flight: usize,
    sent: u64,
    sent_before_wait: u64,
    last_heard: Time,
    /// A host that answers, and when it was last asked for the group's sake, after how many probes.
    ping_host: Option<usize>,
    last_ping: (Time, u64),
}

impl Group {
    pub(super) fn new(now: Time, addresses: &[IpAddr], ports: &Rc<[u16]>) -> Group {
        Group {
            now,
            hosts: addresses.iter().map(|&address| Host::new(address, ports, now)).collect(),
            by_address: addresses.iter().copied().zip(0..).collect(),
            incomplete: (0..addresses.len()).collect(),
            turn: 0,
            window: Window::new(),
            round_trips: RoundTrips::new(),
            in_flight: 0,
            sent: 0,
            sent_before_wait: 0,
            last_heard: now,
            ping_host: None,
            last_ping: (now, 0),
        }
    }

    pub(super) fn now(&self) -> Time {
        self.now
    }

    pub(super) fn found(&self) -> impl Iterator<Item = (Target, State)> {
        self.hosts.iter().flat_map(Host::found)
    }

    /// Scans until every host is complete (ultra_scan).
    pub(super) fn scan(&mut self, prober: &mut Prober, network: &mut impl Network) {
        while !self.incomplete.is_empty() {
            let mut send = |now, target, channel| prober.probe(network, now, target, channel);
            self.send_pings(&mut send);
            self.send_retransmits(&mut send);
            self.send_fresh(&mut send);
            self.wait(network);
            self.hear(prober, network);
            self.look_at_the_time();
        }
    }

    // Sending.

    /// Whether the group lets a probe go (GroupScanStats::sendOK). With one host left, its own window does.
    fn may_send(&self) -> bool {
        let burst_over = self.sent - self.sent_before_wait >= BURST;
        !burst_over && (self.incomplete.len() < 2 || self.window.has_room(self.in_flight))
    }

    fn host_may_send(&self, host: usize) -> bool {
        self.may_send() && self.hosts[host].may_send(self.now, &self.window)
    }

    fn send(&mut self, host: usize, sent: Option<Sent>, send: &mut impl FnMut(Time, Target, u16)) {
        let Some(sent) = sent else { return };
        send(self.now, self.hosts[host].target(sent.port), sent.channel);
        self.in_flight += 1;
        self.sent += 1;
    }

    fn send_pings(&mut self, send: &mut impl FnMut(Time, Target, u16)) {
        for host in self.incomplete.clone() {
            if self.hosts[host].wants_ping(self.now, PING_AFTER) && self.host_may_send(host) {
                let ping = self.hosts[host].send_ping(self.now);
                self.send(host, ping, send);
            }
        }
        let (last, sent) = self.last_ping;
        let quiet = self.now > self.last_heard + PING_AFTER && self.now > last + PING_AFTER;
        let Some(host) = self.ping_host.filter(|_| quiet && self.sent >= sent + 20 && self.may_send()) else { return };
        let ping = self.hosts[host].send_ping(self.now);
        self.send(host, ping, send);
        self.last_ping = (self.now, self.sent);
    }

    /// What is overdue, and then what tries were granted to later.
    fn send_retransmits(&mut self, send: &mut impl FnMut(Time, Target, u16)) {
        self.in_turns(Host::has_overdue, Host::send_overdue, send);
        self.in_turns(Host::has_stack, Host::send_from_stack, send);
    }

    /// A probe from each host that has one, round after round, until nobody may or wants to.
    fn in_turns(
        &mut self,
        has: fn(&Host) -> bool,
        next: fn(&mut Host, Time) -> Option<Sent>,
        send: &mut impl FnMut(Time, Target, u16),
    ) {
        let mut asked: Vec<usize> = self.incomplete.iter().copied().filter(|&host| has(&self.hosts[host])).collect();
        while !asked.is_empty() && self.may_send() {
            asked.retain(|&host| {
                let may = has(&self.hosts[host]) && self.host_may_send(host);
                let sent = if may { next(&mut self.hosts[host], self.now) } else { None };
                let goes_on = sent.is_some();
                self.send(host, sent, send);
                goes_on
            });
        }
    }

    /// A probe to each host in turn, from where the turn was left (doAnyNewProbes).
    fn send_fresh(&mut self, send: &mut impl FnMut(Time, Target, u16)) {
        let mut unable = 0;
        while unable < self.incomplete.len() && self.may_send() {
            self.turn %= self.incomplete.len();
            let host = self.incomplete[self.turn];
            self.turn += 1;
            unable += 1;
            if self.hosts[host].has_fresh_ports() && self.host_may_send(host) {
                let sent = self.hosts[host].send_fresh(self.now);
                self.send(host, Some(sent), send);
                unable = 0;
            }
        }
    }

    // Waiting and hearing.

    /// Until an answer comes, or it is time for something (waitForResponses).
    fn wait(&mut self, network: &impl Network) {
        let burst_over = self.sent - self.sent_before_wait >= BURST;
        let until = if burst_over { self.now } else { self.next_time().max(self.now + PAUSE) };
        let arrival = network.next_arrival().unwrap_or(Time::NEVER);
        self.now = until.min(arrival).max(self.now);
        self.sent_before_wait = self.sent;
    }

    fn next_time(&self) -> Time {
        let hosts = self.incomplete.iter().map(|&host| self.hosts[host].next_time(&self.round_trips));
        // A nanosecond later it is over.
        Time(hosts.min().unwrap_or(Time::NEVER).0.saturating_add(1)).min(self.now + LOOK)
    }

    fn hear(&mut self, prober: &Prober, network: &mut impl Network) {
        network.receive(self.now, &mut |_, frame| {
            prober.read(frame).into_iter().for_each(|answer| self.answered(answer));
        });
    }

    fn answered(&mut self, answer: Answer) {
        let Some(&host) = self.by_address.get(&answer.target.address) else { return };
        let before = self.hosts[host].in_flight();
        let Some(sent) = self.hosts[host].take_answered(answer.target.port, answer.channel) else { return };
        self.in_flight -= before - self.hosts[host].in_flight();
        self.hosts[host].set(sent.port, answer.state);
        // An ICMP error teaches nothing: it may be limited in rate, and another machine's.
        if answer.state != State::Filtered {
            self.learn(host, &sent);
        }
    }

    /// (ultrascan_adjust_timing.) An answer to a repetition means that the first probe was lost; it counts as an answer
    /// all the same.
    fn learn(&mut self, host: usize, sent: &Sent) {
        self.round_trips.learn(self.now.since(sent.at), Duration::ZERO);
        self.expect(host);
        if sent.repetition() > 0 {
            self.dropped(host, sent);
        }
        self.window.answered(sent.is_ping());
        self.hosts[host].window.answered(sent.is_ping());
        self.hosts[host].learn(sent, self.now);
        (self.hosts[host].last_heard, self.last_heard) = (self.now, self.now);
        self.ping_host = self.ping_host.or(Some(host));
    }

    fn expect(&mut self, host: usize) {
        self.window.expect();
        self.hosts[host].window.expect();
    }

    fn dropped(&mut self, host: usize, sent: &Sent) {
        let of_host = self.hosts[host].in_flight();
        self.hosts[host].window.host_dropped(sent.at, of_host, self.now);
        self.window.group_dropped(sent.at, self.in_flight, self.now);
    }

    /// Timeouts, tries that are used up, hosts that are complete (processData).
    fn look_at_the_time(&mut self) {
        // A ping for the group's sake may have gone to a host that is complete.
        for host in 0..self.hosts.len() {
            while let Some(sent) = self.hosts[host].time_out(self.now, &self.round_trips) {
                self.in_flight -= 1;
                self.expect(host);
                if sent.is_ping() {
                    self.dropped(host, &sent);
                }
            }
        }
        for &host in &self.incomplete {
            self.hosts[host].sort_out(self.now, &self.round_trips);
        }
        let hosts = &self.hosts;
        self.incomplete.retain(|&host| !hosts[host].is_complete());
    }
}
