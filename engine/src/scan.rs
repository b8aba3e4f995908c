//! A scan as its owner sees it: settings, start, events, progress, stop, summary.
//!
//! How it is brought up (routes, ports, links, neighbours) and down again is `launch.rs`; what the threads do meanwhile
//! is `drive.rs`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Receiver as Channel;

use crate::checkpoint::Checkpoint;
use crate::counters::{MAX_PASSES, Shared};
use crate::discover::Discover;
use crate::error::Error;
use crate::event::{Event, Progress};
use crate::link::{Clock, LinkKind, Receive};
use crate::pace::{Pps, Rate};
use crate::permute::Permutation;
use crate::plan::{Plan, Shard};
use crate::progress;
use crate::random;
use crate::sender::Cooldown;
use crate::summary::Summary;
use crate::table::VerdictTable;
use crate::target::{Position, Target};
use crate::verdict::State;
use crate::wire::MacAddr;
use crate::{connect, launch};

/// How a port is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Method {
    /// `Syn` where raw sockets may be opened; else `Connect`, with a [`Event::Warning`] that says so.
    #[default]
    Auto,
    /// Half-open: a SYN, and whatever comes back. Needs CAP_NET_RAW.
    Syn,
    /// By the kernel's connect(2): needs no rights, is slower, leaves traces in the targets' logs, and does not see
    /// every reason.
    Connect,
}

impl Method {
    /// `auto`, `syn`, `connect`.
    pub fn name(self) -> &'static str {
        match self {
            Method::Auto => "auto",
            Method::Syn => "syn",
            Method::Connect => "connect",
        }
    }
}

/// More than any device has queues that one machine could fill.
const MAX_SENDERS: u8 = 16;

/// A scan.
///
/// ```no_run
/// use halfopen::{Event, Plan, Scan};
///
/// let plan = Plan::builder().targets("192.0.2.0/24")?.ports("1-1024")?.exclude("192.0.2.7")?.build()?;
/// let running = Scan::builder(plan).start()?;
/// for event in running.events() {
///     if let Event::Verdict(verdict) = event {
///         println!("{} is {} ({})", verdict.target, verdict.state, verdict.reason);
///     }
/// }
/// println!("{} open", running.wait()?.open);
/// # Ok::<(), halfopen::Error>(())
/// ```
#[derive(Debug)]
pub struct Scan;

impl Scan {
    /// A scan of this plan, with default settings.
    pub fn builder(plan: Plan) -> ScanBuilder {
        ScanBuilder { plan, settings: Settings::default(), resumed: None }
    }
}

/// The settings of a scan, as they take effect.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// How ports are asked. After the start never `Auto`.
    pub method: Method,
    /// How fast. Default [`Rate::Auto`]: as fast as nothing is lost.
    pub rate: Rate,
    /// The highest rate that is tried by [`Rate::Auto`]; none for as fast as the machine can.
    pub max_rate: Option<Pps>,
    /// The lowest rate that [`Rate::Auto`] falls to; none for no such bound.
    pub min_rate: Option<Pps>,
    /// What a single host receives at most.
    pub host_rate: HostRate,
    /// Whether the hosts that answer anything are looked for first, and only those scanned. No effect on a connect scan.
    pub discover: Discover,
    /// How many threads send, each its own part of the targets at its share of the rate: 1 to 16, default 1. After the
    /// start as many as there are: never more than targets, or probes a second, or than the links have room for. A
    /// connect scan has one.
    pub senders: u8,
    /// The share of all answers that is to be found: passes stop when a tenth of the rest is expected to be missing, and no
    /// more than the rest, or a single one, by the upper end of a 95 % interval. 1 never stops for that. Default 0.999.
    pub completeness: f64,
    /// How many passes at most: all targets in the first, in each further one the unanswered where answers are missing.
    /// Default 10, as nmap's.
    pub max_passes: u8,
    /// Whether hosts whose answers are questionable are asked at a few random high ports that need not be in the plan: what
    /// is open there is no server, see [`crate::Suspect`]. (Ports that an exclusion names are never asked.) Default true.
    pub controls: bool,
    /// What fixes the order. Default: drawn at random when the builder is made.
    pub seed: u64,
    /// Which part of a plan is scanned; none for all of it.
    pub shard: Option<Shard>,
    /// How long to listen after the last probe.
    pub cooldown: Cooldown,
    /// The states that are reported as events; the summary counts all. Default: all.
    pub report: Vec<State>,
    /// The only interface to leave through; none lets the kernel's routes decide.
    pub interface: Option<String>,
    /// Source addresses, at most one of each family; none lets the kernel decide.
    pub source_ip: Vec<IpAddr>,
    /// The first source port. None draws one; after the start it is the one in use (none for connect).
    pub source_port: Option<u16>,
    /// The link address of every gateway; none asks for it.
    pub gateway_mac: Option<MacAddr>,
    /// The kind of link.
    pub link: LinkKind,
    /// How replies are received.
    pub receive: Receive,
    /// The most memory for the table of verdicts, in bytes. Default 256 MiB, for 2^30 targets at a time.
    pub memory_limit: u64,
    /// After the start: the links in use, as `kind@interface`; `sends+receives@interface` where those are two kinds, with
    /// the mode of AF_XDP and XDP: `af_xdp(copy)+xdp(native)@eth0`.
    pub links: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            method: Method::Auto,
            rate: Rate::default(),
            max_rate: None,
            min_rate: None,
            host_rate: HostRate::Auto,
            discover: Discover::Auto,
            senders: 1,
            completeness: 0.999,
            max_passes: 10,
            controls: true,
            seed: random::number(),
            shard: None,
            cooldown: Cooldown::Auto,
            report: State::ALL.to_vec(),
            interface: None,
            source_ip: Vec::new(),
            source_port: None,
            gateway_mac: None,
            link: LinkKind::Auto,
            receive: Receive::Auto,
            memory_limit: 256 << 20,
            links: Vec::new(),
        }
    }
}

impl Settings {
    /// How many targets are worked on at one time.
    pub(crate) fn cells(&self, targets: u64) -> u64 {
        VerdictTable::cells(self.memory_limit).min(targets.max(1))
    }

    /// Source ports: one for each pass, one for canaries, and one for control probes.
    pub(crate) fn ports(&self) -> u16 {
        u16::from(self.max_passes) + 2
    }

    /// What a host of this plan may get, if there is a bound.
    pub(crate) fn host_cap(&self, plan: &Plan) -> Option<HostCap> {
        match self.host_rate {
            HostRate::Limit(Pps(pps)) => Some(HostCap(pps)),
            HostRate::Auto if self.rate == Rate::Auto && !is_loopback(plan) => Some(HostCap(GENTLE)),
            HostRate::Auto | HostRate::Unlimited => None,
        }
    }

    /// The rate to prepare for. Where it will be found while scanning, and nobody said how far it may go, that is what
    /// packet sockets are good for: more takes programs in the kernel, and whoever wants those says so.
    pub(crate) fn highest_rate(&self) -> Rate {
        match (self.rate, self.max_rate) {
            (Rate::Auto, most) => Rate::Fixed(most.unwrap_or(AS_FAR)),
            (rate, _) => rate,
        }
    }

    /// As many senders as asked for, but not more than there is to do for.
    pub(crate) fn useful_senders(&self, targets: u64) -> u8 {
        let rate = if let Rate::Fixed(pps) = self.highest_rate() { pps.0 } else { u64::MAX };
        u64::from(self.senders).min(rate).min(targets).max(1) as u8
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = |setting, problem: String| Err(Error::Setting { setting, problem });
        if self.max_passes == 0 || self.max_passes > MAX_PASSES {
            return wrong("passes", format!("{} is not between 1 and {MAX_PASSES}", self.max_passes));
        }
        if !(0.0..=1.0).contains(&self.completeness) {
            return wrong("completeness", format!("{} is not a share between 0 and 1", self.completeness));
        }
        let zero = |rate| rate == Some(Pps(0));
        if zero(self.max_rate) || zero(self.min_rate) || self.host_rate == HostRate::Limit(Pps(0)) {
            return wrong("rate", "0 probes a second never ends; give at least 1".into());
        }
        if let (Some(Pps(least)), Some(Pps(most))) = (self.min_rate, self.max_rate)
            && least > most
        {
            return wrong("rate", format!("the lowest, {least}, is above the highest, {most}"));
        }
        if self.rate != Rate::Auto && (self.max_rate.is_some() || self.min_rate.is_some()) {
            return wrong("rate", "bounds are for a rate that is found while scanning; this one is fixed".into());
        }
        if self.senders == 0 || self.senders > MAX_SENDERS {
            return wrong("senders", format!("{} is not between 1 and {MAX_SENDERS}", self.senders));
        }
        if let Some(port) = self.source_port
            && (port == 0 || port.checked_add(self.ports() - 1).is_none())
        {
            let ports = self.ports();
            let problem =
                format!("{port} leaves no room for {ports} ports, one for each pass and two more, below 65536");
            return wrong("source port", problem);
        }
        if self.source_ip.iter().filter(|ip| ip.is_ipv4()).count() > 1
            || self.source_ip.iter().filter(|ip| ip.is_ipv6()).count() > 1
        {
            return wrong("source address", "more than one of a family; give one for IPv4 and one for IPv6".into());
        }
        if self.rate == Rate::Fixed(Pps(0)) {
            return wrong("rate", "0 probes a second never ends; give at least 1".into());
        }
        Ok(())
    }
}

/// What a single host receives at most, in probes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HostRate {
    /// 1,000 where the rate is [`Rate::Auto`], unless the plan is all loopback; where a rate is given, nothing but that.
    #[default]
    Auto,
    /// This many.
    Limit(Pps),
    /// Whatever comes of the scan's rate.
    Unlimited,
}

/// How far a rate may go that nobody has bounded, as far as preparations are concerned.
const AS_FAR: Pps = Pps(500_000);
/// Gentle enough not to freeze a home router.
const GENTLE: u64 = 1_000;

/// A host's bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostCap(pub(crate) u64);

impl HostCap {
    /// The rate at which a plan's hosts get no more than this each: the order spreads a host's targets evenly over it, so
    /// that a host gets its share of the rate.
    pub(crate) fn for_all(self, plan: &Plan) -> u64 {
        let most = plan.most_ports().max(1);
        u64::try_from(u128::from(self.0) * u128::from(plan.len()) / u128::from(most)).unwrap_or(u64::MAX).max(1)
    }
}

pub(crate) fn is_loopback(plan: &Plan) -> bool {
    plan.ranges().all(|range| range.first().is_loopback() && range.last().is_loopback())
}

/// Settings on their way to a scan. Every method changes one setting, see [`Settings`].
#[derive(Debug)]
#[must_use = "a builder does nothing before it is started"]
pub struct ScanBuilder {
    plan: Plan,
    settings: Settings,
    resumed: Option<Checkpoint>,
}

impl ScanBuilder {
    /// How ports are asked.
    pub fn method(mut self, method: Method) -> Self {
        self.settings.method = method;
        self
    }

    /// How fast.
    pub fn rate(mut self, rate: Rate) -> Self {
        self.settings.rate = rate;
        self
    }

    /// How many threads send, 1 to 16.
    pub fn senders(mut self, senders: u8) -> Self {
        self.settings.senders = senders;
        self
    }

    /// The highest rate that is tried by [`Rate::Auto`].
    pub fn max_rate(mut self, rate: Pps) -> Self {
        self.settings.max_rate = Some(rate);
        self
    }

    /// The lowest rate that [`Rate::Auto`] falls to.
    pub fn min_rate(mut self, rate: Pps) -> Self {
        self.settings.min_rate = Some(rate);
        self
    }

    /// What a single host receives at most.
    pub fn host_rate(mut self, rate: HostRate) -> Self {
        self.settings.host_rate = rate;
        self
    }

    /// Whether the hosts that answer anything are looked for first.
    pub fn discover(mut self, discover: Discover) -> Self {
        self.settings.discover = discover;
        self
    }

    /// The share of all answers that is to be found, 0 to 1.
    pub fn completeness(mut self, share: f64) -> Self {
        self.settings.completeness = share;
        self
    }

    /// How many passes at most, 1 to 15.
    pub fn max_passes(mut self, passes: u8) -> Self {
        self.settings.max_passes = passes;
        self
    }

    /// So many passes over what has not answered, 1 to 15, whatever the evidence says: a completeness of 1 and so many
    /// passes at most.
    pub fn passes(self, passes: u8) -> Self {
        self.max_passes(passes).completeness(1.0)
    }

    /// Whether questionable hosts are asked at a few random high ports that need not be in the plan.
    pub fn controls(mut self, controls: bool) -> Self {
        self.settings.controls = controls;
        self
    }

    /// What fixes the order: the same seed, the same order.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// Scans a part of the plan only, see [`Plan::shard`]: all shards together scan every target once, whatever their
    /// seeds.
    ///
    /// # Errors
    /// [`Error::Setting`] if there are more shards than targets, or if this already is a shard.
    pub fn shard(mut self, shard: Shard) -> Result<Self, Error> {
        if let Some(other) = self.settings.shard {
            return Err(Error::Setting { setting: "shard", problem: format!("{shard} of shard {other}; give one") });
        }
        self.plan = self.plan.shard(shard)?;
        self.settings.shard = Some(shard);
        Ok(self)
    }

    /// Goes on from a checkpoint of a scan of the same plan, with its seed and its shard (which need not be given again): what
    /// has been told is not told again, what has not answered is probed. All other settings may differ: rate, passes,
    /// senders, links, report. The memory limit takes effect once the stripe at work is done, and discovery is
    /// done again only if it had not come to its end.
    ///
    /// # Errors
    /// [`Error::OtherPlan`] if the plan has other targets than the checkpoint's.
    pub fn resume(self, checkpoint: Checkpoint) -> Result<Self, Error> {
        let mut builder = match checkpoint.shard() {
            Some(shard) if self.settings.shard.is_none() => self.shard(shard)?,
            _ => self,
        };
        checkpoint.check(&builder.plan)?;
        builder.settings.seed = checkpoint.seed();
        builder.resumed = Some(checkpoint);
        Ok(builder)
    }

    /// How long to listen after the last probe.
    pub fn cooldown(mut self, cooldown: Cooldown) -> Self {
        self.settings.cooldown = cooldown;
        self
    }

    /// The states that are reported as events.
    pub fn report(mut self, states: &[State]) -> Self {
        self.settings.report = states.to_vec();
        self
    }

    /// The only interface to leave through.
    pub fn interface(mut self, name: impl Into<String>) -> Self {
        self.settings.interface = Some(name.into());
        self
    }

    /// A source address; once for each family.
    pub fn source_ip(mut self, address: IpAddr) -> Self {
        self.settings.source_ip.push(address);
        self
    }

    /// The first source port; pass p leaves from this plus p.
    pub fn source_port(mut self, port: u16) -> Self {
        self.settings.source_port = Some(port);
        self
    }

    /// The link address of every gateway.
    pub fn gateway_mac(mut self, mac: MacAddr) -> Self {
        self.settings.gateway_mac = Some(mac);
        self
    }

    /// The kind of link.
    pub fn link(mut self, kind: LinkKind) -> Self {
        self.settings.link = kind;
        self
    }

    /// How replies are received.
    pub fn receive(mut self, receive: Receive) -> Self {
        self.settings.receive = receive;
        self
    }

    /// The most memory for the table of verdicts, in bytes.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.settings.memory_limit = bytes;
        self
    }

    /// The settings as they stand.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The targets in the order in which a scan with these settings would probe them. Sends nothing.
    pub fn order(&self) -> Order<'_> {
        let permutation = Permutation::new(self.plan.len(), self.settings.seed);
        Order { plan: &self.plan, permutation, next: 0 }
    }

    /// Opens all that the scan takes from the system, and sends nothing. Whoever has rights to give up does it then, before
    /// [`Ready::start`]: the scan needs none of them any more.
    ///
    /// # Errors
    /// What cannot work is said here: a setting out of range, no route, an interface that is missing or down, a source
    /// address that is not this machine's, missing rights.
    pub fn open(self) -> Result<Ready, Error> {
        self.settings.check()?;
        let ScanBuilder { plan, settings, resumed } = self;
        let method = settings.method;
        let syn = |plan, settings, resumed| {
            launch::open(plan, settings, resumed).map(|ready| Ready(Kind::Syn(Box::new(ready))))
        };
        let connect = |plan, settings, resumed, why: Option<&Error>| {
            connect::open(plan, settings, resumed, why).map(|ready| Ready(Kind::Connect(Box::new(ready))))
        };
        match method {
            Method::Syn => syn(plan, settings, resumed),
            Method::Connect => connect(plan, settings, resumed, None),
            Method::Auto => match launch::permitted() {
                Ok(()) => syn(plan, settings, resumed),
                Err(why @ Error::Privilege { .. }) => connect(plan, settings, resumed, Some(&why)),
                Err(other) => Err(other),
            },
        }
    }

    /// Starts: [`ScanBuilder::open`] and [`Ready::start`] in one.
    ///
    /// # Errors
    /// Theirs.
    pub fn start(self) -> Result<Running, Error> {
        self.open()?.start()
    }

    #[doc(hidden)]
    pub fn into_parts(self) -> Result<(Plan, Settings, Option<Checkpoint>), Error> {
        self.settings.check()?;
        Ok((self.plan, self.settings, self.resumed))
    }
}

/// The targets of a plan in sending order.
#[derive(Debug)]
pub struct Order<'a> {
    plan: &'a Plan,
    permutation: Permutation,
    next: u64,
}

impl Iterator for Order<'_> {
    type Item = Target;

    fn next(&mut self) -> Option<Target> {
        let index = self.permutation.index(Position(self.next));
        let target = self.plan.target(index)?;
        self.next += 1;
        Some(target)
    }
}

/// A scan that has opened what it takes, and has sent nothing yet. Dropping it releases everything.
///
/// ```no_run
/// # fn give_up_rights() {}
/// let plan = halfopen::Plan::builder().targets("192.0.2.0/24")?.ports("443")?.build()?;
/// let ready = halfopen::Scan::builder(plan).open()?;
/// give_up_rights();
/// let running = ready.start()?;
/// # Ok::<(), halfopen::Error>(())
/// ```
///
/// Rights belong to a thread: those of the thread that calls [`Ready::start`] are the ones that the scan's threads have.
#[must_use = "nothing happens before it is started"]
pub struct Ready(Kind);

enum Kind {
    Syn(Box<launch::Ready>),
    Connect(Box<connect::Ready>),
}

impl Ready {
    /// The settings in effect.
    pub fn settings(&self) -> &Settings {
        match &self.0 {
            Kind::Syn(ready) => &ready.settings,
            Kind::Connect(ready) => &ready.settings,
        }
    }

    /// What its owner should know of what was opened: where it is less than was asked for. They are also the first events.
    pub fn warnings(&self) -> &[String] {
        match &self.0 {
            Kind::Syn(ready) => ready.warnings(),
            Kind::Connect(ready) => &ready.warnings,
        }
    }

    /// What will stop it, from any thread; also before it has begun.
    pub fn stopper(&self) -> Stopper {
        let shared = match &self.0 {
            Kind::Syn(ready) => &ready.shared,
            Kind::Connect(ready) => &ready.shared,
        };
        Stopper { shared: Arc::clone(shared) }
    }

    /// Starts, and returns once the first probe is about to leave.
    ///
    /// # Errors
    /// A gateway that does not answer, or a thread that cannot be had.
    pub fn start(self) -> Result<Running, Error> {
        match self.0 {
            Kind::Syn(ready) => ready.start(),
            Kind::Connect(ready) => ready.start(),
        }
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ready").field(self.settings()).finish()
    }
}

/// A scan under way. Dropping it ends the scan at once and releases everything.
#[derive(Debug)]
#[must_use = "dropping it ends the scan"]
pub struct Running {
    pub(crate) events: Option<Channel<Event>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Clock,
    pub(crate) targets: u64,
    pub(crate) settings: Settings,
    pub(crate) thread: Option<JoinHandle<Result<Summary, Error>>>,
}

impl Running {
    /// The events, as they happen; ends when the scan does. Blocks while there is none. A reader that is slow slows the
    /// scan; nothing is lost but [`Event::Progress`].
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.events.iter().flat_map(Channel::iter)
    }

    /// The next event, if one comes within this time. `Ok(None)` is the end of the scan.
    ///
    /// # Errors
    /// [`Quiet`] when the time is over and the scan is not.
    pub fn next_event(&self, timeout: Duration) -> Result<Option<Event>, Quiet> {
        let Some(events) = &self.events else { return Ok(None) };
        match events.recv_timeout(timeout) {
            Ok(event) => Ok(Some(event)),
            Err(error) if error.is_disconnected() => Ok(None),
            Err(_) => Err(Quiet),
        }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        progress::snapshot(&self.shared, self.targets, self.clock.now())
    }

    /// What is known of it now: see [`Checkpoint`] for how to keep it so that nothing is lost or told twice. Stops nothing;
    /// it costs one look at the table (a quarter of a byte a target of the stripe at work) in the thread that asks.
    /// After the last event it is the scan's last word; of one that was stopped, and not suspended, what was called silent
    /// may be missing from it.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint::take(&self.shared, self.clock.now())
    }

    /// What takes checkpoints of it, from any thread.
    pub fn checkpointer(&self) -> Checkpointer {
        Checkpointer { shared: Arc::clone(&self.shared), clock: self.clock }
    }

    /// What stops it, from any thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { shared: Arc::clone(&self.shared) }
    }

    /// The settings in effect.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Waits for the end. Events that have not been read are dropped.
    ///
    /// # Errors
    /// What ended the scan before its end, a lost link for instance. What was found until then has been reported.
    pub fn wait(mut self) -> Result<Summary, Error> {
        self.events().for_each(drop);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Err(Error::System {
                operation: "bring the scan to its end".into(),
                source: std::io::Error::other("its thread failed"),
            }),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.abort();
        self.events = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// No event came in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no event in this time")]
pub struct Quiet;

/// Stops a scan.
#[derive(Debug, Clone)]
pub struct Stopper {
    shared: Arc<Shared>,
}

impl Stopper {
    /// Sends no more probes, waits for late replies, ends.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// The same for a scan that is to be resumed from a checkpoint taken after its last event: what is silent is called
    /// nothing yet.
    pub fn suspend(&self) {
        self.shared.suspend();
    }

    /// Ends at once.
    pub fn abort(&self) {
        self.shared.abort();
    }
}

/// Takes checkpoints of a scan.
#[derive(Debug, Clone)]
pub struct Checkpointer {
    shared: Arc<Shared>,
    clock: Clock,
}

impl Checkpointer {
    /// See [`Running::checkpoint`].
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint::take(&self.shared, self.clock.now())
    }
}
