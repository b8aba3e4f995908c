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

use crate::checkpoint::{AtWork, Checkpoint};
use crate::counters::{Shared, Turn, WalkerCounters, add, set};
use crate::discover::Discover;
use crate::drive::Outbox;
use crate::error::Error;
use crate::event::{Event, Phase, RateBound};
use crate::launch::{self, EVENTS, spawn, summarize};
use crate::link::{Clock, LinkKind, PATIENCE};
use crate::pace::{Pace, Pps, Rate};
use crate::permute::{Permutation, Stripe};
use crate::plan::Plan;
use crate::progress::RateMeter;
use crate::route::{self, DeviceLosses, Overrides};
use crate::rtt::RttEstimator;
use crate::scan::{Method, Running, Settings};
use crate::sender::Cooldown;
use crate::summary::Summary;
use crate::suspects::Ranges;
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

/// A connect scan that has been found to have a way to everybody.
pub(crate) struct Ready {
    plan: Plan,
    pub(crate) settings: Settings,
    pub(crate) shared: Arc<Shared>,
    /// What is to be said first.
    pub(crate) warnings: Vec<String>,
    poll: OwnedFd,
    resumed: Option<Checkpoint>,
}

/// Opens what a connect scan takes; `instead_of` is why it is not a SYN scan.
pub(crate) fn open(
    plan: Plan,
    mut settings: Settings,
    resumed: Option<Checkpoint>,
    instead_of: Option<&Error>,
) -> Result<Ready, Error> {
    let basis = launch::basis(&plan, &settings, resumed.as_ref());
    let overrides =
        Overrides { interface: settings.interface.clone(), source: settings.source_ip.clone(), gateway_mac: None };
    // Only to fail early and in the same words: the kernel routes each connection by itself.
    route::resolve(plan.ranges(), &overrides)?;
    settings.method = Method::Connect;
    settings.senders = 1;
    settings.links = vec!["connect".into()];
    let fallen = instead_of.map(|why| format!("{why}; falling back to a connect() scan, which sees less"));
    let warnings = fallen.into_iter().chain(without_effect(&settings)).collect();
    (settings.gateway_mac, settings.link) = (None, LinkKind::Auto);
    settings.source_port = None;
    let shared = Arc::new(launch::shared(&settings, &plan, basis));
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)
        .map_err(|error| Error::System { operation: "create an epoll".into(), source: error.into() })?;
    Ok(Ready { plan, settings, shared, warnings, poll, resumed })
}

impl Ready {
    /// Starts.
    pub(crate) fn start(self) -> Result<Running, Error> {
        let clock = Clock::new();
        let Ready { plan, settings, shared, warnings, poll, resumed } = self;
        let targets = plan.len();
        let (events, reader) = bounded(EVENTS);
        let mut outbox = Outbox::new(events, targets);
        warnings.into_iter().for_each(|warning| outbox.send(Event::Warning(warning)));
        shared.basis.lock().started.get_or_insert(clock.started);
        shared.set_wait(LEAST_WAIT);
        let plan = launch::known_hosts(plan, &shared, resumed.as_ref());
        let mut scan = ConnectScan::new(plan, settings.clone(), clock, Arc::clone(&shared), outbox, poll);
        scan.begun = resumed.and_then(|resumed| resumed.restore(&scan.plan, &scan.permutation, &shared));
        let thread = spawn("halfopen-connect", move || scan.run())?;
        Ok(Running { events: Some(reader), shared, clock, targets, settings, thread: Some(thread) })
    }
}

/// Settings that only a SYN scan can follow, in words.
fn without_effect(settings: &Settings) -> Vec<String> {
    let given = [
        ("a source port", settings.source_port.is_some()),
        ("a gateway's link address", settings.gateway_mac.is_some()),
        ("the discovery of hosts", settings.discover == Discover::On),
        ("a kind of link", settings.link != LinkKind::Auto),
    ];
    let given = given.into_iter().filter(|(_, given)| *given);
    given.map(|(what, _)| format!("{what} has no effect on a connect() scan")).collect()
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
    /// Since when no socket or port is to be had; none while they are.
    short: Option<Time>,
    /// A stripe that was begun in another run.
    begun: Option<AtWork>,
    /// What is left of its first pass.
    rest: Option<Arc<Ranges>>,
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

/// Why no more attempts were begun.
enum Pause {
    /// The pace allows the next one later.
    Paced,
    /// Attempts under way, or the reader of the events, must come along first.
    Blocked,
    /// There are no more in this pass.
    Over,
}

/// Connections a second where nobody said how many: what is lost cannot be told from what is slow here.
const MODERATE: Pps = Pps(10_000);

fn rate(settings: &Settings, plan: &Plan) -> Rate {
    let most = settings.host_cap(plan).map_or(u64::MAX, |cap| cap.for_all(plan));
    match settings.rate {
        Rate::Auto => Rate::Fixed(Pps(settings.max_rate.unwrap_or(MODERATE).0.min(most))),
        Rate::Fixed(Pps(pps)) => Rate::Fixed(Pps(pps.min(most))),
        Rate::Max if most < u64::MAX => Rate::Fixed(Pps(most)),
        Rate::Max => Rate::Max,
    }
}

/// What keeps the rate from being higher.
fn bound(settings: &Settings, plan: &Plan) -> RateBound {
    match (settings.rate, rate(settings, plan)) {
        (Rate::Fixed(asked), Rate::Fixed(used)) if used < asked => RateBound::Hosts,
        (Rate::Fixed(_), _) => RateBound::Asked,
        (Rate::Auto, Rate::Fixed(used)) if settings.max_rate == Some(used) => RateBound::Asked,
        (Rate::Auto, Rate::Fixed(used)) if settings.max_rate.is_some() || used < MODERATE => RateBound::Hosts,
        (Rate::Auto, _) => RateBound::Blind,
        (Rate::Max, Rate::Fixed(_)) => RateBound::Hosts,
        (Rate::Max, _) => RateBound::Machine,
    }
}

impl ConnectScan {
    fn new(plan: Plan, settings: Settings, clock: Clock, shared: Arc<Shared>, outbox: Outbox, poll: OwnedFd) -> Self {
        let pace = Pace::new(rate(&settings, &plan), BATCH, clock.now());
        shared.sender.set_bound(bound(&settings, &plan));
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let slots = limit.saturating_sub(SPARE).clamp(1, MOST) as usize;
        ConnectScan {
            permutation: Permutation::new(plan.len(), settings.seed),
            plan,
            report: Report::of(&settings.report),
            pace,
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
            short: None,
            begun: None,
            rest: None,
        }
    }

    fn run(mut self) -> Result<Summary, Error> {
        let (most, mut from) = (self.settings.cells(self.plan.len()), 0);
        if let Some(begun) = self.begun.take() {
            add(&self.shared.sender.begun, begun.start);
            self.stripe(Stripe { start: Position(begun.start), len: begun.len }, Some(&begun))?;
            from = begun.start + begun.len;
        }
        for stripe in Stripe::cut(self.plan.len() - from, most) {
            if self.shared.stopped() {
                break;
            }
            self.stripe(Stripe { start: Position(from + stripe.start.0), ..stripe }, None)?;
        }
        self.shared.sender.set_phase(Phase::Done);
        self.shared.set_turn(Turn::Done);
        let summary = summarize(
            &self.shared,
            self.plan.len(),
            &self.settings,
            (&self.clock, self.clock.now()),
            DeviceLosses::default(),
        );
        self.outbox.finish(&self.shared, self.clock.now());
        Ok(summary)
    }

    /// The kernel repeats its SYNs by itself, so that a second attempt is all that silence is worth.
    fn passes(&self) -> u8 {
        let most = self.settings.max_passes;
        if self.settings.completeness >= 1.0 { most } else { most.min(2) }
    }

    fn stripe(&mut self, stripe: Stripe, begun: Option<&AtWork>) -> Result<(), Error> {
        if self.shared.stopped() {
            return Ok(());
        }
        let first = begun.map_or(0, |begun| begun.leg.pass.min(self.passes() - 1));
        self.open(stripe, begun, first);
        self.pass(stripe, first)?;
        for pass in first + 1..self.passes() {
            if self.shared.stopped() {
                break;
            }
            self.begin_pass(stripe, pass);
            self.pass(stripe, pass)?;
        }
        if !self.shared.suspended() {
            self.close(stripe);
        }
        Ok(())
    }

    /// A stripe without a pass would be one that nothing is known of: checkpoints see both begun or none.
    fn open(&mut self, stripe: Stripe, begun: Option<&AtWork>, first: u8) {
        let shared = Arc::clone(&self.shared);
        let _shift = shared.shifting();
        shared.open(stripe, begun);
        add(&shared.sender.begun, stripe.len);
        self.begin_pass(stripe, first);
    }

    fn begin_pass(&mut self, stripe: Stripe, pass: u8) {
        self.walker().set_pass(pass);
        self.shared.begin(pass, None, f64::INFINITY);
        self.rest = self.shared.rest(self.shared.lap());
        let expected = if pass == 0 { stripe.len } else { self.shared.silent() };
        add(&self.shared.sender.planned, expected);
        self.shared.sender.set_phase(Phase::Probing { pass });
    }

    /// Begins what may begin and takes in what has ended, until all of the pass has.
    fn pass(&mut self, stripe: Stripe, pass: u8) -> Result<(), Error> {
        let (mut cursor, mut last) = (0, self.clock.now());
        self.pace.restart(last);
        while !self.shared.aborted() {
            let pause = if self.shared.stopped() { Pause::Over } else { self.begin_some(stripe, pass, &mut cursor)? };
            if !matches!(pause, Pause::Over) {
                let now = self.clock.now();
                add(&self.walker().sending, now.since(last).as_nanos() as u64);
                last = now;
            } else if self.free.len() == self.slots.len() {
                self.pass_is_over(stripe, pass);
                return Ok(());
            }
            self.walker().trail.mark(self.clock.now(), cursor, false);
            self.wait(&pause);
            self.expire();
            self.outbox.flush();
            self.tick();
        }
        (0..self.slots.len()).for_each(|slot| drop(self.take(slot)));
        Ok(())
    }

    /// All that was asked has had its time.
    fn pass_is_over(&self, stripe: Stripe, pass: u8) {
        if self.shared.stopped() {
            return;
        }
        // Long ago enough for whoever takes a checkpoint.
        self.walker().trail.mark(Time::ZERO, stripe.len, true);
        if pass == 0 {
            self.walker().set_walked(stripe.len);
        }
    }

    /// Begins as many attempts as may begin now.
    fn begin_some(&mut self, stripe: Stripe, pass: u8, cursor: &mut u64) -> Result<Pause, Error> {
        let mut allowed = self.pace.allowance(self.clock.now()).min(BATCH as u64);
        while let Some(offset) = self.next(stripe, pass, *cursor) {
            if allowed == 0 {
                return Ok(Pause::Paced);
            }
            if self.free.is_empty() || self.outbox.congested() {
                return Ok(Pause::Blocked);
            }
            let Some(target) = self.plan.target(self.permutation.index(stripe.position(offset))) else { break };
            if let Begun::NotNow = self.begin(target, offset, pass)? {
                return Ok(Pause::Blocked);
            }
            *cursor = offset + 1;
            if pass == 0 {
                self.walker().set_walked(*cursor);
            }
            self.pace.spend(1);
            allowed -= 1;
        }
        Ok(Pause::Over)
    }

    /// There is but one.
    fn walker(&self) -> &WalkerCounters {
        &self.shared.walkers[0]
    }

    fn next(&self, stripe: Stripe, pass: u8, cursor: u64) -> Option<u64> {
        match &self.rest {
            Some(rest) => {
                let mut ranges = rest.from(cursor);
                ranges.find_map(|(from, to)| self.shared.table.next_unanswered(from, to))
            }
            None if pass == 0 => (cursor < stripe.len).then_some(cursor),
            None => self.shared.next_silent(cursor),
        }
    }

    fn begin(&mut self, target: Target, offset: u64, pass: u8) -> Result<Begun, Error> {
        let since = self.clock.now();
        let failed = |source| Error::System { operation: format!("connect to {target}"), source };
        let socket = match self.socket(target.address) {
            Ok(socket) => socket,
            Err(error) if is_shortage(&error) => return self.not_now(error, target),
            Err(error) => return Err(failed(error)),
        };
        let connected = socket.connect(&SocketAddr::from(target).into());
        let attempt = Attempt { socket, target, offset, pass, since };
        match connected {
            Ok(()) => self.connected(&attempt),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => return self.register(attempt),
            Err(error) if is_shortage(&error) => return self.not_now(error, target),
            // Said at once and not after a packet came back, it speaks of this machine: its route or device is gone.
            Err(error) if is_our_own_network(&error) => return Err(failed(error)),
            Err(error) => self.refused(&attempt, &error),
        }
        Ok(self.count(pass))
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

    fn register(&mut self, attempt: Attempt) -> Result<Begun, Error> {
        let (pass, target) = (attempt.pass, attempt.target);
        let Some(slot) = self.free.pop() else { return Ok(Begun::NotNow) };
        let name = epoll::EventData::new_u64(slot as u64);
        if let Err(error) = epoll::add(&self.poll, &attempt.socket, name, epoll::EventFlags::OUT) {
            self.free.push(slot);
            return self.not_now(error.into(), target);
        }
        self.slots[slot] = Some(attempt);
        Ok(self.count(pass))
    }

    fn count(&mut self, pass: u8) -> Begun {
        self.short = None;
        add(&self.walker().sent[usize::from(pass)], 1);
        Begun::Yes
    }

    /// A shortage passes once attempts under way have ended; if none is, others have what we lack, and not for ever.
    fn not_now(&mut self, source: io::Error, target: Target) -> Result<Begun, Error> {
        add(&self.walker().send_retries, 1);
        let now = self.clock.now();
        let since = *self.short.get_or_insert(now);
        if now.since(since) > PATIENCE && self.free.len() == self.slots.len() {
            return Err(Error::System { operation: format!("connect to {target}"), source });
        }
        Ok(Begun::NotNow)
    }

    /// Waits a little while for attempts to end, and takes in those that have.
    fn wait(&mut self, pause: &Pause) {
        let now = self.clock.now();
        let idle = match pause {
            Pause::Paced => self.pace.next(now).since(now).min(NAP),
            Pause::Blocked | Pause::Over => NAP,
        };
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
        let now = self.clock.now();
        let wait = match self.settings.cooldown {
            Cooldown::Auto => self.rtt.wait().max(LEAST_WAIT),
            Cooldown::Fixed(time) => time,
        };
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
        let promise = |_| {
            if self.report.wants(state) {
                self.shared.promise();
            }
        };
        if self.shared.table.record_after(attempt.offset, state, promise) == Recorded::Duplicate {
            return add(&counters.duplicates, 1);
        }
        add(counters.of(state), 1);
        let now = self.clock.now();
        let rtt = now.since(attempt.since);
        if state != State::Filtered {
            self.rtt.sample(rtt);
            self.shared.set_wait(self.rtt.wait().max(LEAST_WAIT));
            set(&counters.srtt, self.rtt.smoothed().map_or(0, |srtt| srtt.as_nanos() as u64));
        }
        self.emit(attempt.target, (state, reason), Some(rtt), attempt.pass, self.wall(now));
    }

    fn emit(&mut self, target: Target, meaning: (State, Reason), rtt: Option<Duration>, pass: u8, time: SystemTime) {
        let (state, reason) = meaning;
        if self.report.wants(state) {
            let ((sender, ttl), (supersedes, suspect), probes) = ((None, None), (None, None), pass + 1);
            let verdict = Verdict { target, state, reason, sender, ttl, rtt, pass, probes, time, supersedes, suspect };
            self.outbox.send(Event::Verdict(verdict));
        }
    }

    fn wall(&self, now: Time) -> SystemTime {
        self.clock.started + now.since(Time::ZERO)
    }

    /// What has not answered is filtered.
    fn close(&mut self, stripe: Stripe) {
        if !self.report.filtered {
            let silent = self.shared.silent();
            self.shared.close_to(stripe.len, silent);
            return self.count_silent(silent);
        }
        let mut from = 0;
        while let Some(offset) = self.shared.next_silent(from) {
            from = offset + 1;
            while self.outbox.room() == 0 && !self.shared.aborted() {
                self.outbox.flush();
                std::thread::sleep(NAP / 5);
            }
            if self.shared.aborted() {
                return;
            }
            self.silent(stripe, offset);
        }
        self.shared.close_to(stripe.len, 0);
    }

    fn silent(&mut self, stripe: Stripe, offset: u64) {
        let Some(target) = self.plan.target(self.permutation.index(stripe.position(offset))) else { return };
        let (pass, time) = (self.shared.pass(), self.wall(self.clock.now()));
        self.shared.promise();
        self.shared.close_to(offset + 1, 1);
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
            set(&self.shared.receiver.recent_rate, self.meter.mark(now, self.shared.total_sent()));
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

/// Errors of this machine's own way out, when connect(2) itself gives them.
fn is_our_own_network(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENETUNREACH | libc::ENETDOWN | libc::ENODEV))
}

/// Errors that pass once other attempts have ended: descriptors, ports, memory.
fn is_shortage(error: &io::Error) -> bool {
    let shortages =
        [libc::EMFILE, libc::ENFILE, libc::EADDRNOTAVAIL, libc::EADDRINUSE, libc::EAGAIN, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| shortages.contains(&code))
}
