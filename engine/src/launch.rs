//! Brings a SYN scan up and down: routes, source ports, links; then gateways; then the thread that asks for neighbours,
//! runs the sender and accounts for it all. The only file that knows every part.
//!
//! Everything that can be wrong with the settings or the machine is found before [`Ready::start`] returns. All that needs
//! rights is done by [`open`]; no packet is read before [`Ready::start`], so that whoever wants to can give up the rights
//! in between. (What is asked for while the scan runs, the devices' counters, the kernel tells anybody.)

mod links;

use std::net::IpAddr;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Sender as Channel, bounded};

use crate::canary;
use crate::checkpoint::{Basis, Checkpoint, Identity};
use crate::cookie::Cookie;
use crate::counters::{Shared, add, load, set};
use crate::crew::{Crew, Ear, Hand};
use crate::discover::party::Party;
use crate::discover::{self, survey::Way};
use crate::drive::{self, Lookout, Outbox};
use crate::error::Error;
use crate::event::{Event, Phase, Progress};
use crate::link::{Clock, LinkKind};
use crate::pace::{Pps, Rate};
use crate::permute::Permutation;
use crate::plan::{EgressId, Plan, Subset};
use crate::prefix::Groups;
use crate::progress;
use crate::random;
use crate::receiver::Receiver;
use crate::route::{
    self, Asker, DeviceLosses, Egress, Interface, InterfaceKind, Neighbours, NextHop, Overrides, Routed, Sweep,
};
use crate::scan::{Method, Running, Settings, is_loopback};
use crate::sender::{Lead, Sender};
use crate::source_ports::{Families, SourcePorts};
use crate::summary::{Discovery, Drops, Outcome, Summary};
use crate::sys::PacketSocket;
use crate::time::Time;
use crate::walker::{Lost, Manner, Walker};
use crate::wire::MacAddr;
use crate::wire::reply::Layer;
use crate::wire::syn::LinkHeader;
use crate::work::{Path, Report, Work, down_reason};
use links::Links;

/// Events under way between the scan and its reader.
pub(crate) const EVENTS: usize = 1 << 14;
/// ARP and NDP requests a second at most: a switch's and a host's slow path handles them.
const SWEEP_RATE: u64 = 10_000;

/// Whether this process may open raw sockets.
pub(crate) fn permitted() -> Result<(), Error> {
    match PacketSocket::new(Layer::Ip) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(Error::Privilege { operation: "opening a packet socket" })
        }
        _ => Ok(()),
    }
}

/// A SYN scan with all that it takes from the system: source ports, sockets, rings, programs. Nothing has been sent. What
/// comes after this needs no rights.
pub(crate) struct Ready {
    plan: Plan,
    routed: Routed,
    links: Links,
    /// By egress: the gateway's link address, where the kernel knows it or somebody gave it.
    gateways: Vec<Option<MacAddr>>,
    ports: SourcePorts,
    party: Option<Party>,
    pub(crate) settings: Settings,
    pub(crate) shared: Arc<Shared>,
    /// What the devices had lost before.
    before: DeviceLosses,
    resumed: Option<Checkpoint>,
}

/// Opens what a SYN scan takes.
pub(crate) fn open(mut plan: Plan, mut settings: Settings, resumed: Option<Checkpoint>) -> Result<Ready, Error> {
    let basis = basis(&plan, &settings, resumed.as_ref());
    let overrides = Overrides {
        interface: settings.interface.clone(),
        source: settings.source_ip.clone(),
        gateway_mac: settings.gateway_mac,
    };
    let routed = route::resolve(plan.ranges(), &overrides)?;
    plan.assign(&routed.runs);
    let families = Families { v4: plan.has_v4(), v6: plan.has_v6() };
    let ports = SourcePorts::hold(settings.source_port, settings.ports() as u8, families, random::number)?;
    settings.senders = settings.useful_senders(plan.len());
    let mut links = Links::open(&routed, &settings, ports.first)?;
    let gateways: Vec<_> =
        routed.egresses.iter().map(|egress| route::known_gateway(egress, &overrides)).collect::<Result<_, _>>()?;
    links.open_asking(&routed, &gateways, ports.first, &settings)?;
    let is_known = resumed.as_ref().is_some_and(Checkpoint::has_begun);
    let wanted = || discover::wanted(settings.discover, &plan, |egress| is_far(&routed, egress));
    let hosts = if is_known { None } else { wanted() };
    let party = hosts.map(|hosts| Party::open(hosts, &links.interfaces, &settings)).transpose()?;

    settings.method = Method::Syn;
    settings.source_port = Some(ports.first);
    settings.links.clone_from(&links.names);
    settings.senders = links.senders();
    let shared = Arc::new(shared(&settings, &plan, basis));
    let before = device_losses(&links.interfaces)?;
    Ok(Ready { plan, routed, links, gateways, ports, party, settings, shared, before, resumed })
}

impl Ready {
    /// What became less than was asked for.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.links.warnings
    }

    /// Asks gateways that the kernel does not know, and starts.
    pub(crate) fn start(self) -> Result<Running, Error> {
        let clock = Clock::new();
        let Ready { plan, routed, mut links, gateways, ports, party, settings, shared, before, resumed } = self;
        shared.basis.lock().started.get_or_insert(clock.started);
        let headers = links.headers(&routed, &gateways, &clock)?;
        let (events, reader) = bounded(EVENTS);
        let targets = plan.len();
        let launch =
            Launch { plan, routed, links, headers, ports, party, settings, clock, shared, events, before, resumed };
        let (shared, settings) = (Arc::clone(&launch.shared), launch.settings.clone());
        let thread = spawn("halfopen-send", move || launch.run())?;
        Ok(Running { events: Some(reader), shared, clock, targets, settings, thread: Some(thread) })
    }
}

/// Whether an egress leads to hosts that nobody has asked for yet: neither on-link, nor this machine.
fn is_far(routed: &Routed, egress: EgressId) -> bool {
    let egress = routed.egresses.get(usize::from(egress.0));
    egress.is_some_and(|egress| egress.next_hop != NextHop::OnLink && egress.interface.kind != InterfaceKind::Loopback)
}

/// What the parts of a scan share.
pub(crate) fn shared(settings: &Settings, plan: &Plan, basis: Basis) -> Shared {
    let host_rate = settings.host_cap(plan).map(|cap| cap.0);
    // A stripe that was begun is brought to its end as it is.
    let begun = basis.resumed.as_ref().and_then(|resumed| Some(resumed.at_work.as_ref()?.len));
    let cells = settings.cells(plan.len()).max(begun.unwrap_or(0));
    let canaries = canary::interval(host_rate, is_loopback(plan));
    let shared = Shared::of(cells, settings.max_passes, settings.senders.into(), Groups::of(plan), canaries);
    *shared.basis.lock() = basis;
    shared
}

/// What checkpoints of a scan begin with.
pub(crate) fn basis(plan: &Plan, settings: &Settings, resumed: Option<&Checkpoint>) -> Basis {
    let identity =
        Identity { fingerprint: plan.fingerprint(), targets: plan.len(), seed: settings.seed, shard: settings.shard };
    let new = Basis { identity, ..Basis::default() };
    resumed.map_or(new, |resumed| resumed.basis(identity))
}

/// The plan without the hosts that discovery has skipped in another run.
pub(crate) fn known_hosts(plan: Plan, shared: &Shared, resumed: Option<&Checkpoint>) -> Plan {
    let Some(resumed) = resumed else { return plan };
    set(&shared.sender.spared, resumed.discovery.map_or(0, |found| found.skipped_targets));
    let left = resumed.kept.as_ref().and_then(|kept| plan.restricted(&Subset::of(kept), |_| false));
    if resumed.discovery.is_some_and(|found| found.skipped_hosts > 0) {
        shared.basis.lock().skipped = plan.without(left.as_ref(), MOST_SKIPPED).unwrap_or_default();
    }
    left.unwrap_or(plan)
}

/// Ranges of skipped hosts that are told: 2 MiB.
const MOST_SKIPPED: usize = 1 << 16;

/// Keeps for checkpoints what discovery has come to.
pub(crate) fn keep_found(shared: &Shared, found: Discovery, plan: &Plan, left: Option<&Plan>) {
    let skipped = plan.without(left, MOST_SKIPPED);
    let mut basis = shared.basis.lock();
    // Those that another run had skipped are not in this plan any more, and are told with the others or not at all.
    let untold = basis.skipped.is_empty() && basis.discovery.is_some_and(|found| found.skipped_hosts > 0);
    match skipped.filter(|_| !untold) {
        Some(skipped) => basis.skipped.extend(skipped),
        None => basis.skipped.clear(),
    }
    basis.discovery = Some(found);
    basis.kept = left.filter(|_| found.skipped_targets > 0).map(|left| left.ranges().collect());
}

/// How its walkers walk.
pub(crate) fn manner(settings: &Settings, plan: &Plan) -> Manner {
    let host_rate = settings.host_cap(plan).map(|cap| cap.0);
    Manner { cooldown: settings.cooldown, host_rate, learns: settings.rate == Rate::Auto }
}

/// A named thread.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, Error> {
    let builder = thread::Builder::new().name(name.into());
    builder.spawn(body).map_err(|source| Error::System { operation: format!("start the thread {name}"), source })
}

/// What the devices say they lost so far.
fn device_losses(interfaces: &[(Arc<Interface>, LinkKind)]) -> Result<DeviceLosses, Error> {
    let indices: Vec<u32> = interfaces.iter().map(|(interface, _)| interface.index).collect();
    route::device_losses(&indices)
}

/// Watches the devices.
fn lookout(interfaces: Vec<(Arc<Interface>, LinkKind)>, before: DeviceLosses) -> Lookout {
    Lookout::new(move || {
        let lost = device_losses(&interfaces).ok()?.since(before);
        Some((lost.rx, lost.tx))
    })
}

/// Everything that the scan's own thread needs.
struct Launch {
    plan: Plan,
    routed: Routed,
    links: Links,
    headers: Vec<LinkHeader>,
    ports: SourcePorts,
    party: Option<Party>,
    settings: Settings,
    clock: Clock,
    shared: Arc<Shared>,
    events: Channel<Event>,
    /// What the devices had lost before.
    before: DeviceLosses,
    resumed: Option<Checkpoint>,
}

impl Launch {
    fn run(mut self) -> Result<Summary, Error> {
        std::mem::take(&mut self.links.warnings).into_iter().for_each(|text| self.warn(text));
        self.settings.out_of_reach(&self.plan).into_iter().for_each(|text| self.warn(text));
        let neighbours = self.neighbours()?;
        let targets = self.plan.len();
        self.plan = known_hosts(self.plan, &self.shared, self.resumed.as_ref());
        let discovery = match &self.resumed {
            Some(resumed) if resumed.has_begun() => resumed.discovery,
            _ => self.discover()?,
        };
        if let Some(found) = discovery.filter(|found| found.skipped_targets == targets) {
            return self.nobody(found);
        }
        let Launch { plan, routed, links, headers, ports, settings, clock, shared, events, before, resumed, .. } = self;
        let Links { tx, rx, interfaces, .. } = links;
        let paths = routed.egresses.iter().zip(headers).enumerate().map(|(id, (egress, header))| Path {
            link: interfaces.iter().position(|(own, _)| own.index == egress.interface.index).unwrap_or(0),
            source: egress.source,
            header,
            neighbours: neighbours[id].clone(),
        });
        let work = Arc::new(Work {
            permutation: Permutation::new(plan.len(), settings.seed),
            plan,
            cookie: Cookie::new(random::number(), random::number()),
            paths: paths.collect(),
            source_port: ports.first,
            passes: settings.max_passes,
            seed: settings.seed,
            controls: settings.controls,
            report: Report::of(&settings.report),
        });
        let begun = resumed.and_then(|resumed| resumed.restore(&work.plan, &work.permutation, &shared));
        begun.iter().for_each(|begun| begun.offer_canaries(&work, &shared));
        let (manner, lead) = (manner(&settings, &work.plan), Lead::of(&settings, &work.plan));
        let hands = Links::by_sender(tx, settings.senders).into_iter().enumerate().map(|(number, mut links)| {
            let (work, shared) = (Arc::clone(&work), Arc::clone(&shared));
            let walker = Walker::new(number, work, shared, manner, &mut links, clock.now());
            Hand { walker, links }
        });
        let (hands, lead) = (hands.collect(), Sender::new(Arc::clone(&shared), lead, begun, clock.now()));
        let receiver = Receiver::new(work, Arc::clone(&shared), clock.started);
        let outbox = Outbox::new(events, targets);
        let ear = Ear { receiver, links: rx, outbox, lookout: lookout(interfaces.clone(), before) };
        let ran = Crew::new(&shared, clock).run(settings.highest_rate(), lead, hands, ear)?;
        ran.map_err(|lost| lost_link(lost, &settings, shared.total_sent()))?;
        let device = device_losses(&interfaces)?.since(before);
        Ok(Summary { discovery, ..summarize(&shared, targets, &settings, (&clock, clock.now()), device) })
    }

    /// Looks for the hosts that answer anything, and leaves the others out of the plan.
    fn discover(&mut self) -> Result<Option<Discovery>, Error> {
        let Some(party) = self.party.take().filter(|_| !self.shared.stopped()) else { return Ok(None) };
        self.shared.sender.set_phase(Phase::Discovery);
        let ways = self.ways();
        let (shared, clock, events, targets) = (Arc::clone(&self.shared), self.clock, &self.events, self.plan.len());
        let rx = &mut self.links.rx;
        let mut look = |progress: Progress| {
            // What they hear meanwhile is about the survey's probes.
            rx.iter_mut().for_each(|rx| drop(rx.receive(&clock, &mut |_| {})));
            let _ = events.try_send(Event::Progress(progress));
        };
        let ended = party.run(ways, &shared, targets, &clock, &mut look);
        let ended = ended.map_err(|lost| lost_link(lost, &self.settings, 0))?;
        ended.warning.into_iter().for_each(|text| self.warn(text));
        let stopped = shared.stopped();
        let routed = &self.routed;
        let (found, left) =
            discover::conclude(ended.survey, &self.plan, (stopped, ended.elapsed), |egress| is_far(routed, egress));
        set(&shared.sender.spared, found.skipped_targets);
        if !stopped {
            keep_found(&shared, found, &self.plan, left.as_ref());
        }
        left.into_iter().for_each(|left| self.plan = left);
        Ok(Some(found))
    }

    /// How the survey reaches each egress's hosts.
    fn ways(&self) -> Vec<Way> {
        let egresses = self.routed.egresses.iter().zip(&self.headers);
        let way = |(egress, &header): (&Egress, &LinkHeader)| Way {
            link: self.links.find(&egress.interface).unwrap_or(0),
            source: egress.source,
            header,
        };
        egresses.map(way).collect()
    }

    /// Ends a scan that nobody is left to be scanned in.
    fn nobody(self, found: Discovery) -> Result<Summary, Error> {
        self.warn(discover::nobody(&found));
        self.shared.sender.set_phase(Phase::Done);
        let targets = self.plan.len();
        let end = progress::snapshot(&self.shared, targets, self.clock.now());
        let _ = self.events.send(Event::Progress(end));
        let device = device_losses(&self.links.interfaces)?.since(self.before);
        let summary = summarize(&self.shared, targets, &self.settings, (&self.clock, self.clock.now()), device);
        Ok(Summary { discovery: Some(found), ..summary })
    }

    /// Asks all on-link targets of each interface for their link addresses; by egress, where there are any to ask.
    fn neighbours(&mut self) -> Result<Vec<Option<Arc<Neighbours>>>, Error> {
        let mut by_egress = vec![None; self.routed.egresses.len()];
        for link in 0..self.links.tx.len() {
            let on_link = self.on_link(link);
            if on_link.is_empty() {
                continue;
            }
            let found = Arc::new(self.sweep(link, &on_link)?);
            // Stopped in the middle, it cannot say who is down.
            let silent = found.silent().take_while(|_| !self.shared.stopped());
            let silent: Vec<IpAddr> = silent.collect();
            add(&self.shared.sender.hosts_down, silent.len() as u64);
            for address in self.shared.news_of_down(silent.into_iter()) {
                if self.events.send(host_down(address)).is_err() {
                    break;
                }
            }
            on_link.into_iter().for_each(|egress| by_egress[usize::from(egress.0)] = Some(Arc::clone(&found)));
        }
        self.links.asking.clear();
        Ok(by_egress)
    }

    /// The egresses of a link whose targets have link addresses of their own.
    fn on_link(&self, link: usize) -> Vec<EgressId> {
        let index = self.links.interfaces[link].0.index;
        let mine = |egress: &Egress| egress.interface.index == index && egress.next_hop == NextHop::OnLink;
        let egresses = self.routed.egresses.iter().enumerate();
        egresses.filter(|(_, egress)| mine(egress)).map(|(id, _)| EgressId(id as u16)).collect()
    }

    fn sweep(&mut self, link: usize, on_link: &[EgressId]) -> Result<Neighbours, Error> {
        let interface = Arc::clone(&self.links.interfaces[link].0);
        let sources: Vec<IpAddr> =
            on_link.iter().map(|egress| self.routed.egresses[usize::from(egress.0)].source).collect();
        let ranges = self.routed.runs.iter().filter(|(_, egress)| on_link.contains(egress)).map(|(range, _)| *range);
        let rate = match self.settings.highest_rate() {
            Rate::Fixed(Pps(pps)) => pps.clamp(1, SWEEP_RATE),
            Rate::Auto | Rate::Max => SWEEP_RATE,
        };
        let mut sweep = Sweep::new(Asker::on(&interface, &sources), ranges, rate as u32);
        let (tx, rx) = self.links.asking(link);
        let shared = Arc::clone(&self.shared);
        drive::sweep(&mut sweep, tx, rx, &self.clock, &self.clock, &|| shared.stopped())
            .map_err(|source| lost_link(Lost { link, source }, &self.settings, 0))?;
        let conflicts = sweep.heard().conflicts;
        if conflicts > 0 {
            self.warn(format!(
                "on {} {conflicts} answers named another link address than the first for the same host: two hosts share \
                 an address, or one of them lies",
                interface.name
            ));
        }
        Ok(sweep.into_neighbours())
    }

    fn warn(&self, text: String) {
        // Without a reader there is nobody to warn.
        let _ = self.events.send(Event::Warning(text));
    }
}

pub(crate) fn host_down(address: IpAddr) -> Event {
    Event::HostDown { address, reason: down_reason(address) }
}

fn lost_link(lost: Lost, settings: &Settings, sent: u64) -> Error {
    let link = settings.links.get(lost.link).cloned().unwrap_or_default();
    Error::LinkLost { link, sent, source: lost.source }
}

/// Probes by pass, as far as there were any.
fn sent(shared: &Shared, most: u8) -> Vec<u64> {
    let mut sent: Vec<u64> = (0..most).map(|pass| shared.sent(pass)).collect();
    while sent.len() > 1 && sent.last() == Some(&0) {
        sent.pop();
    }
    sent
}

/// The account of a scan, from its counters.
pub(crate) fn summarize(
    shared: &Shared,
    targets: u64,
    settings: &Settings,
    (clock, now): (&Clock, Time),
    device: DeviceLosses,
) -> Summary {
    let receiver = &shared.receiver;
    let basis = shared.basis.lock();
    let [open, closed, filtered] = [&receiver.open, &receiver.closed, &receiver.filtered].map(load);
    let unclassified = targets.saturating_sub(open + closed + filtered);
    let srtt = load(&receiver.srtt);
    let summary = Summary {
        outcome: if shared.stopped() { Outcome::Stopped } else { Outcome::Complete },
        targets,
        open,
        closed,
        filtered,
        silent: load(&receiver.silent),
        unclassified,
        hosts_down: load(&shared.sender.hosts_down),
        discovery: None,
        skipped: basis.skipped.clone(),
        sent: sent(shared, settings.max_passes),
        sent_at_least: false,
        again: shared.sum(|walker| &walker.again),
        completeness: shared.completeness(),
        controls: shared.sum(|walker| &walker.controls),
        suspect_hosts: load(&receiver.suspect_hosts).max(basis.suspects.len() as u64),
        replies: load(&receiver.replies),
        duplicates: load(&receiver.duplicates),
        strays: receiver.strays.snapshot(),
        drops: Drops {
            ring: load(&receiver.ring_drops),
            device_rx: device.rx,
            device_tx: device.tx.saturating_sub(shared.sum(|walker| &walker.send_retries)),
            send_drops: shared.sum(|walker| &walker.send_drops),
            send_errors: shared.sum(|walker| &walker.send_errors),
            send_retries: shared.sum(|walker| &walker.send_retries),
        },
        srtt: (srtt > 0).then(|| std::time::Duration::from_nanos(srtt)),
        started: clock.started,
        elapsed: now.since(Time::ZERO),
        sending: shared.sending(),
        seed: settings.seed,
        source_port: settings.source_port,
        links: settings.links.clone(),
    };
    match &basis.past {
        Some(past) => past.before(summary),
        None => summary,
    }
}
