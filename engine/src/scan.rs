//! A scan as its owner begins it: built from settings, opened, started.
//!
//! How it is brought up (routes, ports, links, neighbours) and down again is `launch.rs`; what the threads do meanwhile
//! is `drive.rs`.

mod running;
mod settings;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::checkpoint::Checkpoint;
use crate::discover::Discover;
use crate::error::Error;
use crate::link::{LinkKind, Receive};
use crate::pace::{Pps, Rate};
use crate::permute::Permutation;
use crate::plan::{Plan, Shard};
use crate::route::{self, Overrides, Unreachable};
use crate::sender::Cooldown;
use crate::target::{Position, Target};
use crate::verdict::State;
use crate::wire::MacAddr;
use crate::{connect, launch};

pub use running::{Checkpointer, Quiet, Running, Stopper};
pub(crate) use settings::is_loopback;
pub use settings::{HostRate, Method, Settings};

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

    /// The targets that [`open`](Self::open) would fail on, because this machine has no way to them. Asks the kernel, and takes no rights.
    ///
    /// # Errors
    /// An interface or a source address that cannot be had; a kernel that does not answer.
    pub fn unreachable(&self) -> Result<Vec<Unreachable>, Error> {
        let Settings { interface, source_ip, gateway_mac, .. } = &self.settings;
        let overrides =
            Overrides { interface: interface.clone(), source: source_ip.clone(), gateway_mac: *gateway_mac };
        route::unreachable(self.plan.ranges(), &overrides)
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
