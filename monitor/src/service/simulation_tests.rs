//! The service over weeks of virtual time: conductor, watch, desk and outbox, before a network that changes by chance, with
//! channels that fail, deaths, and a clock that is set. Whatever happens, what is told must have been seen often enough, be told
//! once to each whom it concerns, and agree in the end with what is true.
//!
//! Ports are open or closed here: then it can be said from outside which incidents there must be. Firewalls, unrest and windows have
//! scripts of their own (`watch/tests.rs`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use halfopen_results::Coverage;
use halfopen_results::record::State;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::conductor::Conductor;
use super::watching::Watcher;
use crate::channel::{Answer, ChannelName};
use crate::detect::Detection;
use crate::endpoint::Endpoint;
use crate::incident::{Incident, IncidentId, Trigger};
use crate::message::Occasion;
use crate::schedule::seed_of;
use crate::settings::Settings;
use crate::store::{self, Happening, Selection, Store, outbox};
use crate::watch::tests::{PORTS, Site, host};
use crate::watch::{Purpose, Request};

const SETTINGS: &str = "store = \"monitor.db\"\ntime-zone = \"UTC\"\n\
    [[group]]\nname = \"lan\"\ntargets = \"192.0.2.0/24\"\nports = \"20-29\"\nevery = \"30m\"\njitter = \"10s\"\n\
    [[alert]]\nto = [\"all\"]\n[[alert]]\non = [\"host-down\", \"new-host\"]\nto = [\"hosts\"]\n\
    [channel.all]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/\"\n\
    [channel.hosts]\nkind = \"command\"\ncommand = [\"/bin/true\"]\n";

/// Who has nothing to do is not asked more often: ticks are most of the work.
const IDLE: SignedDuration = SignedDuration::from_mins(10);
/// A port does not change again before: often enough, and it would count as unstable.
const SELDOM: SignedDuration = SignedDuration::from_hours(16);
/// Regular scans do not leave off for longer, whatever happens to the clock: two intervals, where it was set back and then we
/// died, and twice what we are slow by.
const LONGEST_GAP: SignedDuration = SignedDuration::from_mins(2 * 30 + 2 * 10);
/// From the scan that sees a change until it is sure.
const LONGEST_ROUND: SignedDuration = SignedDuration::from_mins(3);
/// Scans that are remembered here.
const KEPT: usize = 40;
/// Attempts until a channel takes a message at the latest: nothing is given up here.
const PATIENCE: u32 = 5;

/// What happens next, beside scans.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    Port,
    Host,
    NewHost,
    Uplink,
    Failing,
    Death,
    Clock,
}

const EVENTS: [(Event, u32); 7] = [
    (Event::Port, 50),
    (Event::Host, 15),
    (Event::NewHost, 1),
    (Event::Uplink, 4),
    (Event::Failing, 4),
    (Event::Death, 18),
    (Event::Clock, 8),
];

/// Something that was received.
#[derive(Debug, Clone, PartialEq)]
struct Receipt {
    channel: ChannelName,
    id: String,
    occasion: Occasion,
    incidents: Vec<IncidentId>,
}

struct World {
    random: u64,
    /// Time as it passes, and what the clock shows beyond it.
    time: Timestamp,
    ahead: SignedDuration,
    end: Timestamp,
    next_event: Timestamp,
    site: Site,
    first: Site,
    changed: BTreeMap<Endpoint, Timestamp>,
    folder: TempDir,
    settings: Settings,
    conductor: Option<Conductor<Watcher>>,
    /// The connection of the post office.
    post: Store,
    /// Scans under way, with when they end.
    underway: BTreeMap<u64, (Timestamp, Request)>,
    /// What was asked last, and how the network was then: the newest is the last.
    asked: VecDeque<(Coverage, Site)>,
    round_began: Timestamp,
    last_regular: Timestamp,
    seen_events: i64,
    received: Vec<Receipt>,
    deaths: u32,
}

impl World {
    fn new(seed: u64, days: i64) -> World {
        // In memory, where there is such a place: the disk's time is not what is tried here.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let path = folder.path().join("halfopen.toml");
        fs::write(&path, SETTINGS).unwrap();
        let settings = Settings::read(&path, &|_| Ok(())).unwrap();
        let time: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        let post = Store::open(&settings.store).unwrap();
        let site = Site::new(&[(1, &[22, 24]), (2, &[22]), (3, &[22, 25, 26]), (4, &[22])]);
        let mut world = World {
            random: seed,
            time,
            ahead: SignedDuration::ZERO,
            end: time + SignedDuration::from_hours(24 * days),
            next_event: time + SignedDuration::from_hours(1),
            first: site.clone(),
            site,
            changed: BTreeMap::new(),
            folder,
            settings,
            conductor: None,
            post,
            underway: BTreeMap::new(),
            asked: VecDeque::new(),
            round_began: time,
            last_regular: time,
            seen_events: 0,
            received: Vec::new(),
            deaths: 0,
        };
        world.start();
        world
    }

    /// What the clock shows.
    fn now(&self) -> Timestamp {
        self.time + self.ahead
    }

    fn below(&mut self, most: u64) -> u64 {
        self.random = self.random.wrapping_add(1);
        seed_of("simulation", self.random) % most
    }

    fn conductor(&mut self) -> &mut Conductor<Watcher> {
        self.conductor.as_mut().expect("it runs")
    }

    /// Begins, or goes on where the database says.
    fn start(&mut self) {
        self.conductor = None;
        self.underway.clear();
        let now = self.now();
        if store::last_begun(self.post.connection(), "lan").unwrap().is_some_and(|last| last > now) {
            // Nobody can say how long ago that was: the next one is an interval from now.
            self.last_regular = self.time;
        }
        let store = Store::open(&self.settings.store).unwrap();
        let watcher = Watcher::open(store, &self.settings, now).unwrap();
        self.conductor = Some(Conductor::new(watcher, &self.settings, 7, now).unwrap());
    }

    fn play(&mut self) {
        while self.time < self.end {
            self.turn();
            self.advance();
        }
    }

    /// All that is to be done now.
    fn turn(&mut self) {
        let ended: Vec<u64> =
            self.underway.iter().filter(|(_, (end, _))| *end <= self.time).map(|(&id, _)| id).collect();
        ended.into_iter().for_each(|id| self.scanned(id));
        if self.time >= self.next_event {
            self.happen();
        }
        let now = self.now();
        for (id, request) in self.conductor().step(now) {
            self.begin(id, request);
        }
        self.conductor().lines();
        self.deliver();
    }

    fn advance(&mut self) {
        let wall = self.now();
        let is_idle = self.conductor().is_done();
        let least = if is_idle { IDLE } else { SignedDuration::from_secs(1) };
        let asked = self.conductor().next().duration_since(wall).max(least);
        let ends = self.underway.values().map(|&(end, _)| end);
        let next = ends.chain([self.time + asked, self.next_event.max(self.time + SignedDuration::from_millis(1))]);
        self.time = next.min().expect("there is something").max(self.time);
    }

    fn begin(&mut self, id: u64, request: Request) {
        if request.purpose == Purpose::Regular {
            let gap = self.time.duration_since(self.last_regular);
            assert!(gap <= LONGEST_GAP, "no scan for {gap:#} until {}", self.time);
            self.last_regular = self.time;
        }
        let takes = SignedDuration::from_millis(500 + self.below(8000) as i64);
        self.underway.insert(id, (self.time + takes, request));
    }

    fn scanned(&mut self, id: u64) {
        let Some((_, request)) = self.underway.remove(&id) else { return };
        let (now, wall) = (self.time, self.now());
        let asked = if request.purpose == Purpose::Regular { self.site.ports.clone() } else { request.targets };
        if let Some(error) = self.site.error {
            self.conductor().ended(id, Some(error.to_owned()), wall);
            return self.look_at_events();
        }
        if request.purpose == Purpose::Regular {
            self.round_began = now;
        }
        self.asked.push_back((asked.clone(), self.site.clone()));
        if self.asked.len() > KEPT {
            self.asked.pop_front();
        }
        for record in self.site.records(&asked, wall) {
            self.conductor().heard(id, record);
        }
        self.conductor().ended(id, None, wall);
        self.look_at_events();
    }

    /// Whatever is said to have changed was seen so, and often enough.
    fn look_at_events(&mut self) {
        let wanted = Selection { after: self.seen_events, ..Selection::default() };
        let detection = Detection::default();
        for event in store::events(self.post.connection(), &wanted).unwrap() {
            self.seen_events = event.id;
            let (sights, needed) = match &event.what {
                Happening::Port { change, .. } => {
                    let at = change.endpoint;
                    let is_open = change.is == State::Open;
                    let needed = if is_open { detection.open_after } else { detection.close_after };
                    (self.sights(at.address, at.port.number, change.is), needed)
                }
                Happening::Down { host, .. } => (self.silences(*host), detection.down_after),
                _ => continue,
            };
            assert!(sights >= needed.into(), "{:?} at {}: seen {sights} times", event.what, self.time);
            let took = self.time.duration_since(self.round_began);
            assert!(took <= LONGEST_ROUND, "{:?} at {}: sure after {took:#}", event.what, self.time);
        }
    }

    /// How often a port was seen so, in a row.
    fn sights(&self, address: IpAddr, port: u16, state: State) -> usize {
        let asked = self.asked.iter().rev().filter(|(asked, _)| asked.contains(address, port));
        asked.take_while(|(_, site)| site.state(address, port) == state).count()
    }

    /// How often a host was not heard, in a row.
    fn silences(&self, address: IpAddr) -> usize {
        let asked = self.asked.iter().rev().filter(|(asked, _)| asked.ports(address).is_some());
        asked.take_while(|(_, site)| site.cut.is_some() || site.down.contains(&address)).count()
    }

    /// Takes what is due to channels that fail as they like. What was made is tried at once.
    fn deliver(&mut self) {
        for name in ["all", "hosts"].map(|name| name.parse::<ChannelName>().unwrap()) {
            let now = self.now();
            while let Some(delivery) = outbox::due(self.post.connection(), &name, now).unwrap() {
                let chance = self.below(100);
                let answer = match chance {
                    0..60 => Answer::Accepted("200".into()),
                    60.. if delivery.attempt >= PATIENCE => Answer::Accepted("200".into()),
                    60..98 => Answer::Later("503".into(), None),
                    // Taken, and then we died before that was written down.
                    _ => {
                        self.receive(&delivery);
                        self.deaths += 1;
                        return self.start();
                    }
                };
                if answer.is_accepted() {
                    self.receive(&delivery);
                }
                let transaction = self.post.transaction().unwrap();
                let channels = &self.settings.alerting.channels;
                outbox::answered(&transaction, channels, &delivery, &answer, std::time::Duration::ZERO, now).unwrap();
                transaction.commit().unwrap();
            }
        }
        assert_eq!(self.forgotten(), 0, "made, and not tried at {}", self.time);
    }

    fn receive(&mut self, delivery: &outbox::Delivery) {
        let message = &delivery.message;
        let incidents = message.incidents.iter().map(|incident| incident.id).collect();
        let (channel, id) = (delivery.channel.clone(), message.id.clone());
        self.received.push(Receipt { channel, id, occasion: message.occasion, incidents });
    }

    /// Deliveries that wait for nothing and were never tried.
    fn forgotten(&self) -> i64 {
        let query = "SELECT COUNT(*) FROM delivery AS it WHERE state = 'pending'
             AND NOT EXISTS (SELECT 1 FROM attempt WHERE delivery = it.id)
             AND NOT EXISTS (SELECT 1 FROM delivery AS earlier WHERE earlier.state = 'pending'
                 AND earlier.channel = it.channel AND earlier.thread = it.thread AND earlier.id < it.id)";
        self.post.connection().query_row(query, [], |row| row.get(0)).unwrap()
    }

    fn happen(&mut self) {
        self.next_event = self.time + SignedDuration::from_secs(600 + self.below(12_000) as i64);
        if self.site.cut.take().is_some() || self.site.error.take().is_some() {
            return;
        }
        let all: u32 = EVENTS.iter().map(|(_, weight)| weight).sum();
        let mut chance = self.below(all.into()) as u32;
        let chosen = EVENTS.iter().find(|(_, weight)| {
            let is_it = chance < *weight;
            chance = chance.saturating_sub(*weight);
            is_it
        });
        match chosen.expect("the weights add up").0 {
            Event::Port => self.change_a_port(),
            Event::Host => self.change_a_host(),
            Event::NewHost => _ = self.site.open.entry(host(99)).or_insert_with(|| BTreeSet::from([22])),
            // On a link of our own, or beyond a gateway.
            Event::Uplink => self.site.cut = Some(self.below(2) == 0),
            Event::Failing => self.site.error = Some("permission denied"),
            Event::Death => {
                self.deaths += 1;
                self.start();
            }
            Event::Clock => self.set_the_clock(),
        }
        // Long enough to be told.
        if self.site.cut.is_some() || self.site.error.is_some() {
            self.next_event = self.time + SignedDuration::from_mins(100);
        }
    }

    fn change_a_port(&mut self) {
        let at = Endpoint::tcp(host(1 + self.below(4) as u8), [24, 25, 26, 27, 28, 29][self.below(6) as usize]);
        if self.changed.get(&at).is_some_and(|before| self.time.duration_since(*before) < SELDOM) {
            return;
        }
        self.changed.insert(at, self.time);
        let open = self.site.open.get_mut(&at.address).expect("a host of the first day");
        if !open.remove(&at.port.number) {
            open.insert(at.port.number);
        }
    }

    /// One is down at a time, so that it is never all of them.
    fn change_a_host(&mut self) {
        if self.site.down.pop_first().is_none() {
            let last = 1 + self.below(4) as u8;
            self.site.down.insert(host(last));
        }
    }

    /// By up to three hours, forwards or backwards; now and then while nobody looks.
    fn set_the_clock(&mut self) {
        let by = self.below(6 * 3600) as i64 - 3 * 3600;
        self.ahead += SignedDuration::from_secs(by);
        if self.below(3) == 0 {
            self.deaths += 1;
            self.start();
        }
    }

    /// Nothing happens any more, for long enough that all is told.
    fn calm_down(&mut self) {
        (self.site.cut, self.site.error) = (None, None);
        self.end = self.time + SignedDuration::from_hours(40);
        self.next_event = self.end + SignedDuration::from_hours(1);
        self.play();
    }
}

impl World {
    fn incidents(&self, wanted: impl Fn(&Happening) -> Option<Incident>) -> Vec<Incident> {
        let events = store::events(self.post.connection(), &Selection::default()).unwrap();
        events.iter().filter_map(|event| wanted(&event.what)).collect()
    }

    /// What is known is true, and what is open is what differs.
    fn assert_true(&self) {
        let known = store::known(self.post.connection()).unwrap();
        let hosts: Vec<IpAddr> = self.site.open.keys().copied().filter(|it| !self.site.down.contains(it)).collect();
        let mut expected: Vec<String> = self.site.down.iter().map(|host| format!("host/{host}")).collect();
        for &address in self.site.open.keys() {
            expected.extend((address == host(99)).then(|| format!("new-host/{address}")));
            for port in PORTS {
                let last = known[&address].tcp.at(port).map(|run| run.fact.state);
                if hosts.contains(&address) {
                    assert_eq!(last, Some(self.site.state(address, port)), "{address}:{port}");
                }
                let first = if address == host(99) { last } else { Some(self.first.state(address, port)) };
                if last != first {
                    expected.push(format!("port/{}", Endpoint::tcp(address, port)));
                }
            }
        }
        let open = store::open_incidents(self.post.connection()).unwrap();
        let mut open: Vec<String> = open.into_iter().map(|incident| incident.cause).collect();
        expected.sort();
        open.sort();
        assert_eq!(open, expected);
    }

    /// The history never goes back, whatever the clock did.
    fn assert_in_order(&self) {
        let events = store::events(self.post.connection(), &Selection::default()).unwrap();
        for pair in events.windows(2) {
            assert!(pair[0].at <= pair[1].at, "{} before {}", pair[0].at, pair[1].at);
        }
        for &address in self.site.open.keys() {
            let past = store::history(self.post.connection(), address, None, Timestamp::MIN).unwrap();
            assert!(past.iter().all(|past| past.until.is_none_or(|until| until >= past.since)), "{past:?}");
        }
        assert_eq!(self.post.faults().unwrap(), [""; 0]);
    }

    /// Each beginning and each end was told once to each whom it concerns, and in that order.
    fn assert_told_once(&self) {
        let opened = self.incidents(|what| match what {
            Happening::IncidentOpened { incident } => Some((**incident).clone()),
            _ => None,
        });
        let resolved = self.incidents(|what| match what {
            Happening::IncidentResolved { incident } => Some((**incident).clone()),
            _ => None,
        });
        assert!(opened.len() > 40, "{} incidents in weeks", opened.len());
        let for_hosts = |incident: &&Incident| matches!(incident.trigger, Trigger::HostDown | Trigger::NewHost);
        for (channel, is_told) in [("all", None), ("hosts", Some(for_hosts))] {
            let concerned = |all: &[Incident], occasion: Occasion| -> Vec<(IncidentId, Occasion)> {
                let told = all.iter().filter(|it| is_told.is_none_or(|is_told| is_told(it)));
                told.map(|it| (it.id, occasion)).collect()
            };
            let mut expected = concerned(&opened, Occasion::Opened);
            expected.extend(concerned(&resolved, Occasion::Resolved));
            expected.sort_by_key(|(id, occasion)| (*id, *occasion == Occasion::Resolved));
            let mut told = self.told(channel);
            // Stable: an end that was told before its beginning stays before it.
            told.sort_by_key(|(id, _)| *id);
            assert_eq!(told, expected, "{channel}");
        }
    }

    /// What a channel was told, repetitions under the same id left out.
    fn told(&self, channel: &str) -> Vec<(IncidentId, Occasion)> {
        let mut ids = BTreeSet::new();
        let new = self.received.iter().filter(|it| it.channel.as_str() == channel && ids.insert(&it.id));
        new.flat_map(|it| it.incidents.iter().map(|&id| (id, it.occasion))).collect()
    }
}

fn weeks(seed: u64) {
    let mut world = World::new(seed, 14);
    world.play();
    world.calm_down();
    assert!(world.deaths > 5 && world.folder.path().exists(), "{} deaths", world.deaths);
    world.assert_in_order();
    world.assert_true();
    world.assert_told_once();
}

#[test]
fn two_weeks_from_seed_1() {
    weeks(1 << 32);
}

#[test]
fn two_weeks_from_seed_2() {
    weeks(2 << 32);
}

#[test]
fn two_weeks_from_seed_3() {
    weeks(3 << 32);
}
