//! The scan without rights: connect(2) and the kernel's word for what came back. One thread, many sockets at a time.
//!
//! It shares plan, order, pace, table, passes and events with the SYN scan, and gives the same verdicts where the kernel
//! tells them: connected is open, refused is closed, unreachable and forbidden are filtered with their reason, silence is
//! filtered. It cannot tell an ICMP port-unreachable from a RST, nor who sent an error.
//!
//! A connection is closed with a RST (SO_LINGER 0): the port was only asked for, and TIME_WAIT would use up our ports.
//! A socket that found itself (the kernel may choose the very port as source that we connect to) has found nobody.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crossbeam_channel::bounded;
use rustix::event::{Timespec, epoll};
use rustix::process::{Resource, getrlimit};
use socket2::{Domain, Protocol, Socket, Type};

use crate::counters::{Shared, Turn, add, set};
use crate::drive::Outbox;
use crate::error::Error;
use crate::event::{Event, Phase};
use crate::launch::{EVENTS, spawn, summarize};
use crate::link::Clock;
use crate::pace::Pace;
use crate::permute::{Permutation, Stripe};
use crate::plan::Plan;
use crate::progress::RateMeter;
use crate::route::{self, DeviceLosses, Overrides};
use crate::rtt::RttEstimator;
use crate::scan::{Method, Running, Settings};
use crate::summary::Summary;
use crate::table::Recorded;
use crate::target::{Position, Target};
use crate::time::Time;
use crate::verdict::{Reason, State, Verdict};
use crate::work::Report;

/// Sockets at a time at most: more only fill the queues of the machine that is asked.
const MOST: u64 = 1000;
/// Descriptors left to the rest of the process.
const SPARE: u64 = 64;
/// Nobody sleeps longer: it is how soon a wish to stop, or an expiry, is noticed.
const NAP: Duration = Duration::from_millis(5);
/// No attempt is given up before the kernel has asked a second time, for the host's link address (1 s, RFC 4861
/// RetransTimer) or with another SYN (1 s, RFC 6298): it is not told which of its packets was lost.
const LEAST_WAIT: Duration = Duration::from_millis(1500);
/// Attempts begun between two looks at what came back.
const BATCH: usize = 64;

/// Starts a connect scan; `instead_of` is why it is not a SYN scan.
pub(crate) fn start(plan: Plan, mut settings: Settings, instead_of: Option<Error>) -> Result<Running, Error> {
    let clock = Clock::new();
    let overrides =
        Overrides { interface: settings.interface.clone(), source: settings.source_ip.clone(), gateway_mac: None };
    // Only to fail early and in the same words: the kernel routes each connection by itself.
    route::resolve(plan.ranges(), &overrides)?;
    settings.method = Method::Connect;
    settings.source_port = None;
    settings.links = vec!["connect".into()];
    let targets = plan.len();
    let shared = Arc::new(Shared::new(settings.cells(targets), settings.passes));
    let (events, reader) = bounded(EVENTS);
    let mut outbox = Outbox::new(events, targets, settings.passes);
    if let Some(why) = instead_of {
        outbox.send(Event::Warning(format!("{why}; falling back to a connect() scan, which sees less")));
    }
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)
        .map_err(|error| Error::System { operation: "create an epoll".into(), source: error.into() })?;
    let scan = ConnectScan::new(plan, settings.clone(), clock, Arc::clone(&shared), outbox, poll);
    let thread = spawn("halfopen-connect", move || Ok(scan.run()))?;
    Ok(Running { events: Some(reader), shared, clock, targets, settings, thread: Some(thread) })
}

struct ConnectScan {
    plan: Plan,
    permutation: Permutation,
    settings: Settings,
    report: Report,
    clock: Clock,
    shared: Arc<Shared>,
    outbox: Outbox,
    pace: Pace,
    rtt: RttEstimator,
    meter: RateMeter,
    reported: Time,
    poll: OwnedFd,
    /// A slot's number is its socket's name to epoll.
    slots: Vec<Option<Attempt>>,
    free: Vec<usize>,
}

/// A connection being made.
struct Attempt {
    socket: Socket,
    target: Target,
    offset: u64,
    pass: u8,
    since: Time,
}

/// What became of beginning an attempt.
enum Begun {
    Yes,
    /// No socket or port to be had just now.
    NotNow,
}

impl ConnectScan {
    fn new(plan: Plan, settings: Settings, clock: Clock, shared: Arc<Shared>, outbox: Outbox, poll: OwnedFd) -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let slots = limit.saturating_sub(SPARE).clamp(1, MOST) as usize;
        ConnectScan {
            permutation: Permutation::new(plan.len(), settings.seed),
            plan,
            report: Report::of(&settings.report),
            pace: Pace::new(settings.rate, BATCH, clock.now()),
            settings,
            clock,
            shared,
            outbox,
            rtt: RttEstimator::default(),
            meter: RateMeter::default(),
            reported: Time::ZERO,
            poll,
            slots: (0..slots).map(|_| None).collect(),
            free: (0..slots).rev().collect(),
        }
    }

    fn run(mut self) -> Summary {
        let most = self.settings.cells(self.plan.len());
        for stripe in Stripe::cut(self.plan.len(), most) {
            if self.shared.stopped() {
                break;
            }
            self.stripe(stripe);
        }
        self.shared.sender.set_phase(Phase::Done);
        self.shared.set_turn(Turn::Done);
        let summary = summarize(&self.shared, self.plan.len(), &self.settings, &self.clock, DeviceLosses::default());
        self.outbox.finish(&self.shared, self.clock.now());
        summary
    }

    fn stripe(&mut self, stripe: Stripe) {
        self.shared.open(stripe);
        for pass in 0..self.settings.passes {
            if self.shared.stopped() {
                break;
            }
            self.shared.set_pass(pass);
            self.shared.sender.set_phase(Phase::Probing { pass });
            self.pass(stripe, pass);
        }
        self.close(stripe);
    }

    /// Begins what may begin and takes in what has ended, until all of the pass has.
    fn pass(&mut self, stripe: Stripe, pass: u8) {
        let (mut cursor, mut last) = (0, self.clock.now());
        self.pace.restart(last);
        while !self.shared.aborted() {
            let more = !self.shared.stopped() && self.begin_some(stripe, pass, &mut cursor);
            if more {
                let now = self.clock.now();
                add(&self.shared.sender.sending, now.since(last).as_nanos() as u64);
                last = now;
            }
            if !more && self.free.len() == self.slots.len() {
                return;
            }
            self.wait();
            self.expire();
            self.outbox.flush();
            self.tick();
        }
        (0..self.slots.len()).for_each(|slot| drop(self.take(slot)));
    }

    /// Begins as many attempts as may begin now; false once there are no more.
    fn begin_some(&mut self, stripe: Stripe, pass: u8, cursor: &mut u64) -> bool {
        let mut allowed = self.pace.allowance(self.clock.now()).min(BATCH as u64);
        while allowed > 0 && !self.free.is_empty() && !self.outbox.congested() {
            let Some(offset) = self.next(stripe, pass, *cursor) else { return false };
            let Some(target) = self.plan.target(self.permutation.index(stripe.position(offset))) else { return false };
            if let Begun::NotNow = self.begin(target, offset, pass) {
                return true;
            }
            *cursor = offset + 1;
            if pass == 0 {
                self.shared.set_walked(*cursor);
            }
            self.pace.spend(1);
            allowed -= 1;
        }
        self.next(stripe, pass, *cursor).is_some()
    }

    fn next(&self, stripe: Stripe, pass: u8, cursor: u64) -> Option<u64> {
        if pass == 0 {
            return (cursor < stripe.len).then_some(cursor);
        }
        self.shared.table.next_unanswered(cursor, self.shared.walked())
    }

    fn begin(&mut self, target: Target, offset: u64, pass: u8) -> Begun {
        let since = self.clock.now();
        let socket = match self.socket(target.address) {
            Ok(socket) => socket,
            Err(error) if is_shortage(&error) => return self.not_now(),
            Err(_) => return self.failed(),
        };
        let connected = socket.connect(&SocketAddr::from(target).into());
        let attempt = Attempt { socket, target, offset, pass, since };
        match connected {
            Ok(()) => self.connected(&attempt),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => return self.register(attempt),
            Err(error) if is_shortage(&error) => return self.not_now(),
            Err(error) => self.refused(&attempt, &error),
        }
        self.count(pass)
    }

    fn socket(&self, to: IpAddr) -> io::Result<Socket> {
        let domain = Domain::for_address(SocketAddr::new(to, 0));
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_linger(Some(Duration::ZERO))?;
        if let Some(name) = &self.settings.interface {
            socket.bind_device(Some(name.as_bytes()))?;
        }
        if let Some(&source) = self.settings.source_ip.iter().find(|own| own.is_ipv4() == to.is_ipv4()) {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        Ok(socket)
    }

    fn register(&mut self, attempt: Attempt) -> Begun {
        let Some(slot) = self.free.pop() else { return Begun::NotNow };
        let name = epoll::EventData::new_u64(slot as u64);
        let pass = attempt.pass;
        if epoll::add(&self.poll, &attempt.socket, name, epoll::EventFlags::OUT).is_err() {
            self.free.push(slot);
            return self.not_now();
        }
        self.slots[slot] = Some(attempt);
        self.count(pass)
    }

    fn count(&self, pass: u8) -> Begun {
        add(&self.shared.sender.sent[usize::from(pass)], 1);
        Begun::Yes
    }

    fn not_now(&self) -> Begun {
        add(&self.shared.sender.send_retries, 1);
        Begun::NotNow
    }

    fn failed(&self) -> Begun {
        add(&self.shared.sender.send_errors, 1);
        Begun::Yes
    }

    /// Waits a little while for attempts to end, and takes in those that have.
    fn wait(&mut self) {
        let now = self.clock.now();
        let idle = if self.free.is_empty() { NAP } else { self.pace.next(now).since(now).min(NAP) };
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::try_from(idle.as_nanos()).unwrap_or(0) };
        let mut ready = Vec::with_capacity(BATCH);
        // An interrupted wait is a short one.
        let _ = epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut ready), Some(&timeout));
        for event in ready {
            let event: epoll::Event = event;
            let slot = event.data.u64() as usize;
            if let Some(attempt) = self.take(slot) {
                match attempt.socket.take_error() {
                    Ok(None) => self.connected(&attempt),
                    Ok(Some(error)) | Err(error) => self.refused(&attempt, &error),
                }
            }
        }
    }

    /// Empties a slot. Closing the socket takes it out of the epoll.
    fn take(&mut self, slot: usize) -> Option<Attempt> {
        let attempt = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(attempt)
    }

    /// Gives up attempts to which no answer can come any more.
    fn expire(&mut self) {
        let (now, wait) = (self.clock.now(), self.rtt.wait().max(LEAST_WAIT));
        for slot in 0..self.slots.len() {
            if self.slots[slot].as_ref().is_some_and(|attempt| now.since(attempt.since) > wait) {
                self.take(slot);
            }
        }
    }

    fn connected(&mut self, attempt: &Attempt) {
        let found_itself = match (attempt.socket.local_addr(), attempt.socket.peer_addr()) {
            (Ok(local), Ok(peer)) => local.as_socket() == peer.as_socket(),
            _ => false,
        };
        if found_itself {
            return self.record(attempt, State::Closed, Reason::Refused);
        }
        self.record(attempt, State::Open, Reason::SynAck);
    }

    fn refused(&mut self, attempt: &Attempt, error: &io::Error) {
        if let Some((state, reason)) = meaning(error) {
            self.record(attempt, state, reason);
        }
    }

    fn record(&mut self, attempt: &Attempt, state: State, reason: Reason) {
        let counters = &self.shared.receiver;
        add(&counters.replies, 1);
        if self.shared.table.record(attempt.offset, state) == Recorded::Duplicate {
            return add(&counters.duplicates, 1);
        }
        add(counters.of(state), 1);
        let now = self.clock.now();
        let rtt = now.since(attempt.since);
        if state != State::Filtered {
            self.rtt.sample(rtt);
            self.shared.set_wait(self.rtt.wait());
            set(&counters.srtt, self.rtt.smoothed().map_or(0, |srtt| srtt.as_nanos() as u64));
        }
        self.emit(attempt.target, (state, reason), Some(rtt), attempt.pass, self.wall(now));
    }

    fn emit(&mut self, target: Target, meaning: (State, Reason), rtt: Option<Duration>, pass: u8, time: SystemTime) {
        let (state, reason) = meaning;
        if self.report.wants(state) {
            let verdict = Verdict { target, state, reason, sender: None, ttl: None, rtt, pass, time, supersedes: None };
            self.outbox.send(Event::Verdict(verdict));
        }
    }

    fn wall(&self, now: Time) -> SystemTime {
        self.clock.started + now.since(Time::ZERO)
    }

    /// What has not answered is filtered.
    fn close(&mut self, stripe: Stripe) {
        let walked = self.shared.walked();
        if !self.report.filtered {
            return self.count_silent(self.shared.table.unanswered(walked));
        }
        let mut from = 0;
        while let Some(offset) = self.shared.table.next_unanswered(from, walked) {
            from = offset + 1;
            while self.outbox.room() == 0 && !self.shared.aborted() {
                self.outbox.flush();
                std::thread::sleep(NAP / 5);
            }
            if self.shared.aborted() {
                return;
            }
            self.silent(stripe.position(offset));
        }
    }

    fn silent(&mut self, position: Position) {
        let Some(target) = self.plan.target(self.permutation.index(position)) else { return };
        let (pass, time) = (self.shared.pass(), self.wall(self.clock.now()));
        self.count_silent(1);
        self.emit(target, (State::Filtered, Reason::NoResponse), None, pass, time);
    }

    fn count_silent(&self, targets: u64) {
        add(&self.shared.receiver.filtered, targets);
        add(&self.shared.receiver.silent, targets);
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        if now.since(self.reported) >= crate::drive::REPORT {
            self.reported = now;
            set(&self.shared.receiver.recent_rate, self.meter.mark(now, self.shared.sender.total_sent()));
            self.outbox.progress(&self.shared, now);
        }
    }
}

/// What the kernel's error says of the port; nothing where it means silence (ETIMEDOUT) or trouble of our own.
fn meaning(error: &io::Error) -> Option<(State, Reason)> {
    match error.raw_os_error()? {
        libc::ECONNREFUSED => Some((State::Closed, Reason::Refused)),
        libc::ECONNRESET => Some((State::Closed, Reason::Rst)),
        libc::EHOSTUNREACH | libc::EHOSTDOWN | libc::ENOPROTOOPT => Some((State::Filtered, Reason::HostUnreachable)),
        libc::ENETUNREACH | libc::ENETDOWN => Some((State::Filtered, Reason::NetUnreachable)),
        libc::EACCES | libc::EPERM => Some((State::Filtered, Reason::Prohibited)),
        _ => None,
    }
}

/// Errors that pass once other attempts have ended: descriptors, ports, memory.
fn is_shortage(error: &io::Error) -> bool {
    let shortages =
        [libc::EMFILE, libc::ENFILE, libc::EADDRNOTAVAIL, libc::EADDRINUSE, libc::EAGAIN, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| shortages.contains(&code))
}
