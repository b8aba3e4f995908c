//! The other driver: a whole scan on a virtual network under a virtual clock, in one thread, reproducible from its seed.
//! The state machines are the same as on the wire.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crossbeam_channel::unbounded;

use crate::checkpoint::Checkpoint;
use crate::cookie::Cookie;
use crate::counters::{Shared, Turn, add, set};
use crate::discover;
use crate::discover::survey::{Survey, Way};
use crate::drive::{self, Lookout, Outbox, Timekeeper};
use crate::error::Error;
use crate::event::{Event, Phase};
use crate::launch::{self, host_down, summarize};
use crate::link::sim::{Network, SimWorld};
use crate::link::{Clock, Halves, LinkRx, LinkTx};
use crate::permute::{Permutation, splitmix64};
use crate::plan::{AddressRange, EgressId, Plan};
use crate::progress;
use crate::receiver::Receiver;
use crate::route::{Asker, DeviceLosses, Neighbours, Sweep};
use crate::scan::{ScanBuilder, Settings};
use crate::sender::{Lead, Sender, Step};
use crate::summary::{Discovery, Summary};
use crate::time::Time;
use crate::walker::Walker;
use crate::wire::MacAddr;
use crate::wire::syn::LinkHeader;
use crate::work::{Path, Report, Work};

/// Where the scanner stands in the virtual network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
    /// Its MAC.
    pub mac: MacAddr,
    /// The MAC of the gateway to everything; none puts all targets on the scanner's own link.
    pub gateway: Option<MacAddr>,
}

impl Default for Place {
    /// 192.0.2.1 and 2001:db8::1, behind a gateway.
    fn default() -> Self {
        Place {
            v4: Ipv4Addr::new(192, 0, 2, 1),
            v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            gateway: Some(MacAddr([2, 0, 0, 0, 0, 2])),
        }
    }
}

/// Runs a scan on a virtual network; gives every event and the summary. Two runs with the same arguments are equal.
///
/// Routes, interfaces and rights do not matter here, nor do the settings about them. The sweep for on-link hosts is run
/// if there is no gateway.
///
/// # Errors
/// A setting out of range.
pub fn simulate(
    builder: ScanBuilder,
    place: Place,
    network: impl Network + 'static,
) -> Result<(Vec<Event>, Summary), Error> {
    simulate_until(builder, place, network, Time::NEVER)
}

/// The same, stopped at this time as [`crate::Stopper::stop`] does it.
///
/// # Errors
/// A setting out of range.
pub fn simulate_until(
    builder: ScanBuilder,
    place: Place,
    network: impl Network + 'static,
    stop: Time,
) -> Result<(Vec<Event>, Summary), Error> {
    let (plan, settings, resumed) = builder.into_parts()?;
    Ok(Simulation::new(plan, settings, resumed, place, SimWorld::new(network)).run(stop))
}

/// How a scan ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// As [`crate::Stopper::suspend`] does it at this time; the checkpoint is taken after the last event.
    Suspended(Time),
    /// All at once, some time after a checkpoint was taken.
    Killed {
        /// When it is taken.
        taken: Time,
        /// When the scan dies.
        at: Time,
    },
}

/// The same for a scan that is interrupted. Gives its events until then, its checkpoint, and how many events had been taken
/// when that was asked for. A scan that comes to its end before is asked then.
///
/// # Errors
/// A setting out of range.
pub fn simulate_interrupted(
    builder: ScanBuilder,
    place: Place,
    network: impl Network + 'static,
    how: Interruption,
) -> Result<(Vec<Event>, Checkpoint, usize), Error> {
    let (plan, settings, resumed) = builder.into_parts()?;
    let simulation = Simulation::new(plan, settings, resumed, place, SimWorld::new(network));
    let (shared, world) = (Arc::clone(&simulation.shared), simulation.world.clone());
    let mut simulation = Simulation { how: Some(how), ..simulation };
    let stop = if let Interruption::Suspended(stop) = how { stop } else { Time::NEVER };
    simulation.play(stop);
    let taken = simulation.taken.unwrap_or_else(|| (Checkpoint::take(&shared, world.now()), simulation.events.len()));
    Ok((simulation.events, taken.0, taken.1))
}

/// The base of source ports: nothing else lives in the virtual network.
const SOURCE_PORT: u16 = 40_000;
/// Requests a second of the sweep.
const SWEEP_RATE: u32 = 10_000;
/// Nobody is woken more finely: so a fast scan sends in batches here too, and not probe by probe.
const GRAIN: Duration = Duration::from_micros(2);
/// Silent targets reported in one go.
const CLOSING: usize = 1 << 16;

/// Each family leaves from an address of its own.
fn egress_of(range: AddressRange) -> EgressId {
    EgressId(u16::from(range.first().is_ipv6()))
}

struct Simulation {
    settings: Settings,
    world: SimWorld,
    clock: Clock,
    shared: Arc<Shared>,
    events: Vec<Event>,
    place: Place,
    plan: Plan,
    /// By sender; each has the one link.
    tx: Vec<Vec<Box<dyn LinkTx>>>,
    rx: Vec<Box<dyn LinkRx>>,
    resumed: Option<Checkpoint>,
    how: Option<Interruption>,
    /// With how many events had been taken before.
    taken: Option<(Checkpoint, usize)>,
}

impl Timekeeper for SimWorld {
    fn now(&self) -> Time {
        SimWorld::now(self)
    }

    /// Time passes until the next frame arrives, or until `until`.
    fn wait(&self, _: &[Box<dyn LinkRx>], until: Time) {
        let now = SimWorld::now(self);
        let until = if until > now { until.max(now + GRAIN) } else { until };
        let next = self.next_arrival().map_or(until, |arrival| arrival.min(until));
        self.set_now(next.max(SimWorld::now(self)));
    }
}

impl Simulation {
    fn new(mut plan: Plan, mut settings: Settings, resumed: Option<Checkpoint>, place: Place, world: SimWorld) -> Self {
        let basis = launch::basis(&plan, &settings, resumed.as_ref());
        let runs: Vec<_> = plan.ranges().map(|range| (range, egress_of(range))).collect();
        plan.assign(&runs);
        settings.source_port = Some(settings.source_port.unwrap_or(SOURCE_PORT));
        settings.links = vec!["sim".into()];
        settings.senders = settings.useful_senders(plan.len());
        let senders = usize::from(settings.senders);
        let shared = Arc::new(launch::shared(&settings, &plan, basis));
        let clock = Clock::new().dated(SystemTime::UNIX_EPOCH);
        let Halves { tx, rx } = world.link(senders);
        let tx = tx.into_iter().map(|half| vec![half]).collect();
        Simulation {
            settings,
            world,
            clock,
            shared,
            events: Vec::new(),
            place,
            plan,
            tx,
            rx: vec![rx],
            resumed,
            how: None,
            taken: None,
        }
    }

    fn run(mut self, stop: Time) -> (Vec<Event>, Summary) {
        let summary = self.play(stop);
        (self.events, summary)
    }

    fn play(&mut self, stop: Time) -> Summary {
        let neighbours = self.place.gateway.is_none().then(|| Arc::new(self.sweep()));
        let targets = self.plan.len();
        self.plan = launch::known_hosts(self.plan.clone(), &self.shared, self.resumed.as_ref());
        let discovery = match &self.resumed {
            Some(resumed) if resumed.has_begun() => resumed.discovery,
            _ => self.discover(stop),
        };
        if let Some(found) = discovery.filter(|found| found.skipped_targets == targets) {
            return self.nobody(found);
        }
        let work = Arc::new(self.work(neighbours.as_ref()));
        let resumed = self.resumed.take();
        let begun = resumed.and_then(|resumed| resumed.restore(&work.plan, &work.permutation, &self.shared));
        begun.iter().for_each(|begun| begun.offer_canaries(&work, &self.shared));
        let lead = Lead::of(&self.settings, &work.plan);
        let mut walkers = self.walkers(&work);
        let mut sender = Sender::new(Arc::clone(&self.shared), lead, begun, self.world.now());
        let mut receiver = Receiver::new(work, Arc::clone(&self.shared), self.clock.started);
        let (channel, reader) = unbounded();
        let mut outbox = Outbox::new(channel, targets);
        let mut lookout = self.lookout();
        while let Some(until) = self.poll(&mut sender, &mut walkers, stop) {
            let turn = receiver.turn();
            let _ = drive::take_off(&mut receiver, &mut self.rx, &self.clock, &mut outbox, &mut |_, _| {});
            lookout.look(self.world.now(), &mut self.rx, &self.shared);
            let again = receiver.examine(self.world.now(), &mut |event| outbox.send(event));
            if turn == Turn::Closing {
                receiver.close(self.world.now(), CLOSING, |verdict| outbox.send(Event::Verdict(verdict)));
            } else {
                self.world.wait(&self.rx, until.min(again));
            }
            self.events.extend(reader.try_iter());
            if self.is_dead() {
                return self.summary(targets, discovery);
            }
        }
        receiver.examine(self.world.now(), &mut |event| outbox.send(event));
        self.events.extend(reader.try_iter());
        let end = progress::snapshot(&self.shared, targets, self.world.now());
        self.events.extend(drive::doubts(&self.shared));
        self.events.push(Event::Progress(end));
        self.summary(targets, discovery)
    }

    /// Takes the checkpoint when it is time to. Whether the scan is to die now.
    fn is_dead(&mut self) -> bool {
        let Some(Interruption::Killed { taken, at }) = self.how else { return false };
        let now = self.world.now();
        if now >= taken && self.taken.is_none() {
            self.taken = Some((Checkpoint::take(&self.shared, now), self.events.len()));
        }
        now >= at
    }

    fn summary(&self, targets: u64, discovery: Option<Discovery>) -> Summary {
        let dropped = self.world.own_drops();
        let device = DeviceLosses { rx: dropped.device_rx, tx: dropped.device_tx };
        let summary = summarize(&self.shared, targets, &self.settings, (&self.clock, self.world.now()), device);
        Summary { discovery, ..summary }
    }

    /// Looks for the hosts that answer anything, and leaves the others out of the plan. Behind the gateway: on the link
    /// all have been asked.
    fn discover(&mut self, stop: Time) -> Option<Discovery> {
        let (gateway, began) = (self.place.gateway?, self.world.now());
        let hosts = discover::wanted(self.settings.discover, &self.plan, |_| true)?;
        let header = LinkHeader::Ethernet { source: self.place.mac, destination: gateway };
        let ways = [self.place.v4.into(), self.place.v6.into()].map(|source| Way { link: 0, source, header });
        let (cookie, port) = (self.cookie(1), self.settings.source_port.unwrap_or(SOURCE_PORT) + self.settings.ports());
        let rate = discover::rate(&self.settings);
        let mut survey = Survey::new(hosts, ways.to_vec(), cookie, (port, self.settings.seed), rate);
        self.shared.sender.set_phase(Phase::Discovery);
        let mut watch = |_: &Survey| {
            if self.world.now() >= stop {
                match self.how {
                    Some(Interruption::Suspended(_)) => self.shared.suspend(),
                    _ => self.shared.stop(),
                }
            }
            !self.shared.stopped()
        };
        // A link in memory cannot be lost.
        let _ = discover::run(&mut survey, &mut self.tx[0], &mut self.rx, (&self.world, &self.clock), &mut watch);
        let elapsed = self.world.now().since(began);
        let (found, left) = discover::conclude(survey, &self.plan, (self.shared.stopped(), elapsed), |_| true);
        set(&self.shared.sender.spared, found.skipped_targets);
        if !self.shared.stopped() {
            launch::keep_found(&self.shared, found, &self.plan, left.as_ref());
        }
        left.into_iter().for_each(|left| self.plan = left);
        Some(found)
    }

    /// Ends a scan that nobody is left to be scanned in.
    fn nobody(&mut self, found: Discovery) -> Summary {
        self.shared.sender.set_phase(Phase::Done);
        self.events.push(Event::Warning(discover::nobody(&found)));
        let end = progress::snapshot(&self.shared, self.plan.len(), self.world.now());
        self.events.push(Event::Progress(end));
        self.summary(self.plan.len(), Some(found))
    }

    /// The key of the scan, or of what comes before it.
    fn cookie(&self, which: u64) -> Cookie {
        let mut state = self.settings.seed ^ which;
        Cookie::new(splitmix64(&mut state), splitmix64(&mut state))
    }

    fn lookout(&self) -> Lookout {
        let world = self.world.clone();
        Lookout::new(move || {
            let dropped = world.own_drops();
            Some((dropped.device_rx, dropped.device_tx))
        })
    }

    fn walkers(&mut self, work: &Arc<Work>) -> Vec<Walker> {
        let (manner, now) = (launch::manner(&self.settings, &work.plan), self.world.now());
        let walkers = self.tx.iter_mut().enumerate().map(|(number, links)| {
            let (work, shared) = (Arc::clone(work), Arc::clone(&self.shared));
            Walker::new(number, work, shared, manner, links, now)
        });
        walkers.collect()
    }

    fn stop(&self) {
        match self.how {
            Some(Interruption::Suspended(_)) => self.shared.suspend(),
            _ => self.shared.stop(),
        }
    }

    /// Asks the sender and every walker in turn; until when there is nothing to do, none at the end.
    fn poll(&mut self, sender: &mut Sender, walkers: &mut [Walker], stop: Time) -> Option<Time> {
        let now = self.world.now();
        if now >= stop {
            self.stop();
        }
        let Step::Until(mut until) = sender.poll(now) else { return None };
        until = if now < stop { until.min(stop) } else { until };
        for (walker, links) in walkers.iter_mut().zip(&mut self.tx) {
            // A link in memory cannot be lost.
            if let Ok(Step::Until(next)) = walker.poll(now, links) {
                until = until.min(next);
            }
        }
        Some(until)
    }

    fn work(&self, neighbours: Option<&Arc<Neighbours>>) -> Work {
        let header =
            LinkHeader::Ethernet { source: self.place.mac, destination: self.place.gateway.unwrap_or(MacAddr::ZERO) };
        let path = |source: IpAddr| Path { link: 0, source, header, neighbours: neighbours.cloned() };
        Work {
            permutation: Permutation::new(self.plan.len(), self.settings.seed),
            cookie: self.cookie(0),
            plan: self.plan.clone(),
            // In the order of `egress_of`.
            paths: vec![path(self.place.v4.into()), path(self.place.v6.into())],
            source_port: self.settings.source_port.unwrap_or(SOURCE_PORT),
            passes: self.settings.max_passes,
            seed: self.settings.seed,
            controls: self.settings.controls,
            report: Report::of(&self.settings.report),
        }
    }

    fn sweep(&mut self) -> Neighbours {
        let asker = Asker { mac: Some(self.place.mac), v4: Some(self.place.v4), v6: Some(self.place.v6) };
        let mut sweep = Sweep::new(asker, self.plan.ranges(), SWEEP_RATE);
        let (tx, rx) = (&mut *self.tx[0][0], &mut self.rx[0]);
        // A link in memory cannot be lost.
        let _ = drive::sweep(&mut sweep, tx, rx, &self.world, &self.clock, &|| false);
        let found = sweep.into_neighbours();
        let silent: Vec<IpAddr> = found.silent().collect();
        add(&self.shared.sender.hosts_down, silent.len() as u64);
        self.events.extend(self.shared.news_of_down(silent.into_iter()).into_iter().map(host_down));
        found
    }
}
