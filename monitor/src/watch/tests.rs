//! A network that changes by a script, scanned every five minutes in virtual time: the exact list of what is told, no more,
//! no less.

use std::sync::{Arc, Mutex};

use halfopen_results::record::{Header, HostDown, Record, Settings, Show, Summary, Verdict};

use std::collections::BTreeSet;
use std::net::IpAddr;

use halfopen_results::record::State;

use super::step::cause_of_unrest;
use super::*;
use crate::endpoint::Endpoint;
use crate::store::{Selection, events};
use crate::wording::title;

pub(crate) const PORTS: std::ops::RangeInclusive<u16> = 20..=29;

pub(crate) fn host(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

pub(crate) fn endpoint(last: u8, port: u16) -> Endpoint {
    Endpoint::tcp(host(last), port)
}

/// What is true of the network.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// Hosts with their open ports; of the others, those in `walled` are silent, and the rest closed.
    pub(crate) open: BTreeMap<IpAddr, BTreeSet<u16>>,
    pub(crate) walled: BTreeMap<IpAddr, BTreeSet<u16>>,
    /// Nobody answers; and whether hosts are known by their link addresses.
    pub(crate) cut: Option<bool>,
    pub(crate) down: BTreeSet<IpAddr>,
    /// A scan cannot be made.
    pub(crate) error: Option<&'static str>,
    pub(crate) ports: Coverage,
}

/// What was told, and whether there is maintenance.
#[derive(Clone, Default)]
struct Desk {
    told: Arc<Mutex<Vec<String>>>,
    maintenance: Arc<Mutex<bool>>,
}

impl Surroundings for Desk {
    fn announce(&mut self, _: &Connection, notices: &[Notice], now: Timestamp) -> Result<(), Error> {
        let titles = notices.iter().map(|notice| title(&notice.incident, notice.occasion, now));
        self.told.lock().unwrap().extend(titles);
        Ok(())
    }

    fn is_in_maintenance(&self, _: &str, _: Timestamp) -> bool {
        *self.maintenance.lock().unwrap()
    }
}

struct Play {
    site: Site,
    desk: Desk,
    watch: Watch,
    now: Timestamp,
    /// Scans of suspects alone.
    confirmations: usize,
}

impl Site {
    pub(crate) fn new(hosts: &[(u8, &[u16])]) -> Site {
        let open = hosts.iter().map(|&(last, open)| (host(last), open.iter().copied().collect())).collect();
        let all = hosts.iter().flat_map(|&(last, _)| PORTS.map(move |port| (host(last), port)));
        let ports = all.chain(PORTS.map(|port| (host(99), port))).collect();
        let (walled, down) = Default::default();
        Site { open, walled, cut: None, down, error: None, ports }
    }

    pub(crate) fn state(&self, host: IpAddr, port: u16) -> State {
        let is_silent = self.cut.is_some() || self.down.contains(&host) || !self.open.contains_key(&host);
        let is_walled = self.walled.get(&host).is_some_and(|walled| walled.contains(&port));
        match () {
            () if is_silent || is_walled => State::Filtered,
            () if self.open[&host].contains(&port) => State::Open,
            () => State::Closed,
        }
    }

    pub(crate) fn scan(&self, asked: &Coverage, at: Timestamp) -> Outcome {
        if let Some(error) = self.error {
            return Outcome::Failed(error.to_owned());
        }
        let mut scan = Scan::default();
        self.records(asked, at).into_iter().for_each(|record| scan.add(record));
        Outcome::Scan(Box::new(scan))
    }

    /// What a scan says.
    pub(crate) fn records(&self, asked: &Coverage, at: Timestamp) -> Vec<Record> {
        let settings = Settings { show: Show::ALL, ..Settings::default() };
        let mut records =
            vec![Record::Scan(Box::new(Header { settings, coverage: asked.clone(), ..Header::default() }))];
        let hosts = (0..=255).map(host).filter_map(|address| Some((address, asked.ports(address)?)));
        for (address, ports) in hosts {
            if self.cut == Some(true) {
                records.push(Record::HostDown(HostDown { address, reason: "no-arp".into() }));
                continue;
            }
            for port in ports.runs().iter().flat_map(|&(first, last)| first..=last) {
                let state = self.state(address, port);
                let reason = ["syn-ack", "rst", "no-response"][state as usize].into();
                records.push(Record::Verdict(Verdict { reason, time: at, ..Verdict::bare(address, port, state) }));
            }
        }
        records.push(Record::Summary(Box::new(Summary { outcome: "complete".into(), ..Summary::default() })));
        records
    }
}

fn groups() -> BTreeMap<String, Watched> {
    let late_after = Some(Duration::from_secs(900));
    BTreeMap::from([("lan".to_owned(), Watched { detection: Detection::default(), late_after })])
}

impl Play {
    fn new(hosts: &[(u8, &[u16])]) -> Play {
        let desk = Desk::default();
        let store = Store::in_memory().unwrap();
        let watch = Watch::open(store, groups(), TimeZone::UTC, Box::new(desk.clone())).unwrap();
        let now = "2026-01-05T08:00:00Z".parse().unwrap();
        let mut play = Play { site: Site::new(hosts), desk, watch, now, confirmations: 0 };
        play.scan();
        play
    }

    /// A regular scan with whatever it takes to be sure, five minutes later.
    fn scan(&mut self) {
        self.now += Duration::from_secs(300);
        let mut request = self.watch.regular("lan", self.now);
        let mut asked = self.site.ports.clone();
        let mut at = self.now;
        loop {
            let outcome = self.site.scan(&asked, at);
            let Some(next) = self.watch.scanned(at + Duration::from_secs(1), at, &request, &outcome).unwrap() else {
                return;
            };
            assert!(next.not_before > at && next.purpose == Purpose::Confirmation);
            (asked, at, request) = (next.targets.clone(), next.not_before, next);
            self.confirmations += 1;
        }
    }

    fn scans(&mut self, number: usize) {
        (0..number).for_each(|_| self.scan());
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.desk.told.lock().unwrap())
    }

    fn going_on(&self) -> Vec<String> {
        let open = store::open_incidents(self.watch.store().connection()).unwrap();
        open.into_iter().map(|incident| incident.cause).collect()
    }

    fn names(&self) -> Vec<&'static str> {
        let all = events(self.watch.store().connection(), &Selection::default()).unwrap();
        all.iter().map(|event| event.what.name()).collect()
    }

    /// As after a crash.
    fn restart(self) -> Play {
        let Play { site, desk, watch, now, confirmations } = self;
        let Watch { store, groups, zone, known, memories, coverages, .. } = watch;
        let watch = Watch::open(store, groups, zone, Box::new(desk.clone())).unwrap();
        assert_eq!((&watch.known, &watch.memories, &watch.coverages), (&known, &memories, &coverages));
        Play { site, desk, watch, now, confirmations }
    }
}

#[test]
fn a_network_that_keeps_still_is_no_news() {
    let mut play = Play::new(&[(1, &[22]), (2, &[22, 23])]);
    assert_eq!(play.told(), ["Unencrypted port 23 (Telnet) is open on 192.0.2.2"]);
    play.scans(20);
    assert_eq!((play.told(), play.confirmations), (Vec::new(), 0));
    let runs = store::history(play.watch.store().connection(), host(2), None, Timestamp::MIN).unwrap();
    assert!(runs.iter().all(|run| run.until.is_none()), "{runs:?}");
    assert_eq!(play.names(), ["group.baseline", "incident.opened"]);
}

#[test]
fn a_port_opens_and_closes_and_is_told_once_each() {
    let mut play = Play::new(&[(1, &[22])]);
    play.site.open.get_mut(&host(1)).unwrap().insert(23);
    play.scan();
    assert_eq!(play.told(), ["Unencrypted port 23 (Telnet) is open on 192.0.2.1"]);
    play.scans(5);
    assert_eq!(play.told(), [""; 0]);
    let mut play = play.restart();
    play.site.open.get_mut(&host(1)).unwrap().remove(&23);
    play.scan();
    assert_eq!(play.told(), ["Over after 30 min: Unencrypted port 23 (Telnet) is open on 192.0.2.1"]);
    assert!(play.going_on().is_empty());
    let past = store::history(play.watch.store().connection(), host(1), Some(23), Timestamp::MIN).unwrap();
    assert_eq!(past.iter().map(|past| past.state).collect::<Vec<_>>(), [State::Closed, State::Open, State::Closed]);
}

#[test]
fn a_service_that_goes_and_comes_back() {
    let mut play = Play::new(&[(1, &[22, 24])]);
    play.site.open.get_mut(&host(1)).unwrap().remove(&22);
    play.scan();
    assert_eq!(play.told(), ["Port 22 (Secure Shell) closed on 192.0.2.1"]);
    play.site.walled.insert(host(1), BTreeSet::from([22]));
    play.scan();
    assert_eq!(play.told(), ["Now: Port 22 (Secure Shell) on 192.0.2.1 does not answer any more"]);
    play.site.walled.clear();
    play.site.open.get_mut(&host(1)).unwrap().insert(22);
    play.scan();
    assert_eq!(play.told(), ["Over after 10 min: Port 22 (Secure Shell) on 192.0.2.1 does not answer any more"]);
}

#[test]
fn a_firewall_is_one_matter_and_so_is_its_end() {
    let mut play = Play::new(&[(1, &[22, 24, 26, 28]), (2, &[22])]);
    play.site.walled.insert(host(1), (20..=27).collect());
    play.scan();
    assert_eq!(play.told(), ["Firewall change at 192.0.2.1: 8 ports fell silent"]);
    play.site.walled.clear();
    play.scan();
    assert_eq!(play.told(), ["Over after 5 min: Firewall change at 192.0.2.1: 8 ports fell silent"]);
    for last in [1, 2] {
        play.site.walled.insert(host(last), (20..=27).collect());
    }
    play.scan();
    assert_eq!(play.told().len(), 2, "two hosts are two matters");
}

#[test]
fn what_a_firewall_does_next_belongs_to_the_same_matter() {
    let mut play = Play::new(&[(1, &[22, 24, 26, 28])]);
    play.site.walled.insert(host(1), (20..=24).collect());
    play.scan();
    assert_eq!(play.told(), ["Firewall change at 192.0.2.1: 5 ports fell silent"]);
    play.site.walled.insert(host(1), (20..=28).collect());
    play.scan();
    assert_eq!(play.told(), ["Now: Firewall change at 192.0.2.1: 9 ports fell silent"]);
    play.site.walled.clear();
    play.scan();
    assert_eq!(play.told().len(), 1);
    assert!(play.going_on().is_empty());
}

#[test]
fn a_host_that_goes_takes_its_ports_with_it() {
    let mut play = Play::new(&[(1, &[22, 24]), (2, &[22])]);
    play.site.down.insert(host(1));
    play.scans(3);
    assert_eq!(play.told(), ["192.0.2.1 does not answer any more"]);
    play.site.down.clear();
    play.scan();
    assert_eq!(play.told(), ["Over after 15 min: 192.0.2.1 does not answer any more"]);
    assert_eq!(play.names().iter().filter(|name| **name == "port.changed").count(), 0);
}

#[test]
fn without_network_nothing_is_said_of_hosts() {
    for (on_link, title) in [
        (true, "The monitor hears nobody in lan: its own network is gone"),
        (false, "Nobody in lan answers: the way there is cut"),
    ] {
        let mut play = Play::new(&[(1, &[22]), (2, &[22]), (3, &[22])]);
        play.site.cut = Some(on_link);
        play.scans(3);
        assert_eq!(play.told(), [title]);
        assert!(play.watch.known().values().all(|host| host.up), "nobody knows");
        let mut play = play.restart();
        play.site.cut = None;
        play.scan();
        assert_eq!(play.told(), [format!("Over after 15 min: {title}")]);
        assert!(play.going_on().is_empty());
    }
}

#[test]
fn scans_that_fail_are_told_when_they_keep_failing() {
    let mut play = Play::new(&[(1, &[22])]);
    play.site.error = Some("permission denied");
    play.scan();
    assert_eq!(play.told(), [""; 0]);
    play.scans(3);
    assert_eq!(play.told(), ["Scans of lan fail"]);
    play.site.error = None;
    play.scan();
    assert_eq!(play.told(), ["Over after 20 min: Scans of lan fail"]);
    play.site.error = Some("cannot send: Network is unreachable");
    play.scans(2);
    assert_eq!(play.told(), ["The monitor hears nobody in lan: its own network is gone"]);
}

impl Play {
    /// Nothing happens but that the clock is looked at.
    fn idle(&mut self, seconds: u64) {
        for _ in 0..seconds / 30 {
            self.now += Duration::from_secs(30);
            self.watch.tick(self.now).unwrap();
        }
    }
}

#[test]
fn a_group_that_is_not_scanned_is_told() {
    let mut play = Play::new(&[(1, &[22])]);
    play.idle(900);
    assert_eq!(play.told(), [""; 0]);
    play.idle(300);
    assert_eq!(play.told(), ["lan is not being scanned"]);
    play.scan();
    assert_eq!(play.told().len(), 1);
    play.idle(600);
    assert_eq!(play.told(), [""; 0]);
}

#[test]
fn a_clock_that_is_set_makes_nobody_late() {
    let mut play = Play::new(&[(1, &[22])]);
    play.idle(60);
    for step in [3600, 86_400, -7200] {
        play.now += jiff::SignedDuration::from_secs(step);
        play.idle(270);
        assert_eq!(play.told(), [""; 0], "{step}");
    }
    // It counts on from what it has seen pass.
    play.idle(60);
    assert_eq!(play.told(), ["lan is not being scanned"]);
}

#[test]
fn a_port_that_flaps_is_one_incident() {
    let mut play = Play::new(&[(1, &[22, 24])]);
    for scan in 0..20 {
        let open = play.site.open.get_mut(&host(1)).unwrap();
        if scan % 2 == 0 {
            open.remove(&24)
        } else {
            open.insert(24)
        };
        play.scan();
    }
    let told = play.told();
    let unstable = told.iter().filter(|title| title.contains("keeps changing")).count();
    assert_eq!((unstable, told.len()), (1, 4), "{told:?}");
    assert_eq!(play.going_on(), [cause_of_unrest(endpoint(1, 24))]);
    play.scans(25);
    assert_eq!(play.told().len(), 1, "it keeps still");
    assert!(play.going_on().is_empty());
}

#[test]
fn what_only_blinks_is_kept_and_not_told() {
    let mut play = Play::new(&[(1, &[22, 24])]);
    play.now += Duration::from_secs(300);
    let request = play.watch.regular("lan", play.now);
    play.site.open.get_mut(&host(1)).unwrap().remove(&24);
    let outcome = play.site.scan(&play.site.ports, play.now);
    let next = play.watch.scanned(play.now, play.now, &request, &outcome).unwrap().unwrap();
    play.site.open.get_mut(&host(1)).unwrap().insert(24);
    let outcome = play.site.scan(&next.targets, next.not_before);
    assert_eq!(play.watch.scanned(next.not_before, play.now, &next, &outcome).unwrap(), None);
    assert_eq!((play.told(), play.names().last()), (Vec::new(), Some(&"port.blinked")));
}

#[test]
fn what_was_in_doubt_when_the_service_died_is_asked_again_and_told_once() {
    let mut play = Play::new(&[(1, &[22, 24]), (2, &[22])]);
    assert_eq!(play.watch.undecided(), [""; 0]);
    play.site.open.get_mut(&host(1)).unwrap().remove(&24);
    play.now += Duration::from_secs(300);
    let request = play.watch.regular("lan", play.now);
    let outcome = play.site.scan(&play.site.ports, play.now);
    let next = play.watch.scanned(play.now, play.now, &request, &outcome).unwrap().unwrap();
    let outcome = play.site.scan(&next.targets, next.not_before);
    assert!(play.watch.scanned(next.not_before, play.now, &next, &outcome).unwrap().is_some(), "twice is not enough");
    let mut play = play.restart();
    assert_eq!((play.watch.undecided(), play.told()), (vec!["lan".to_owned()], vec![]));
    // The sight of the scan that is made at once is the third.
    let before = play.confirmations;
    play.scan();
    assert_eq!((play.told(), play.confirmations), (vec!["Port 24 closed on 192.0.2.1".to_owned()], before));
    assert_eq!(play.watch.undecided(), [""; 0]);
}

#[test]
fn an_uplink_that_is_lost_while_something_is_confirmed_takes_no_host_down() {
    let mut play = Play::new(&[(1, &[22]), (2, &[22]), (3, &[22])]);
    play.site.down.insert(host(1));
    play.now += Duration::from_secs(300);
    let mut request = play.watch.regular("lan", play.now);
    let mut outcome = play.site.scan(&play.site.ports, play.now);
    play.site.cut = Some(false);
    while let Some(next) = play.watch.scanned(play.now, play.now, &request, &outcome).unwrap() {
        (outcome, request) = (play.site.scan(&next.targets, play.now), next);
    }
    assert_eq!(play.told(), [""; 0]);
    assert!(play.watch.known()[&host(1)].up, "nobody knows");
    play.site.cut = None;
    play.scan();
    assert_eq!(play.told(), ["192.0.2.1 does not answer any more"]);
}

#[test]
fn ports_that_come_back_from_behind_a_firewall_are_held_against_what_they_were() {
    let mut play = Play::new(&[(1, &[22, 24, 28])]);
    play.site.open.get_mut(&host(1)).unwrap().insert(26);
    play.scan();
    assert_eq!(play.told(), ["Port 26 opened on 192.0.2.1"]);
    play.site.walled.insert(host(1), (20..=27).collect());
    play.scan();
    let wall = "Firewall change at 192.0.2.1: 8 ports fell silent";
    assert_eq!(play.told(), [wall]);
    // Behind it 26 closes, as it was, and so does 24; 27 opens.
    let open = play.site.open.get_mut(&host(1)).unwrap();
    open.retain(|port| ![26, 24].contains(port));
    open.insert(27);
    play.site.walled.clear();
    play.scan();
    let expected = [
        "Port 24 closed on 192.0.2.1",
        "Over after 10 min: Port 26 opened on 192.0.2.1",
        "Port 27 (nsw-fe) opened on 192.0.2.1",
        "Over after 5 min: Firewall change at 192.0.2.1: 8 ports fell silent",
    ];
    assert_eq!(play.told(), expected);
    assert_eq!(play.going_on(), ["port/192.0.2.1:24/tcp", "port/192.0.2.1:27/tcp"]);
}

#[test]
fn an_unsafe_port_that_a_firewall_hid_is_told_again() {
    let mut play = Play::new(&[(1, &[22, 23])]);
    let exposed = "Unencrypted port 23 (Telnet) is open on 192.0.2.1";
    assert_eq!(play.told(), [exposed]);
    play.site.walled.insert(host(1), (20..=29).filter(|port| *port != 22).collect());
    play.scan();
    assert_eq!(play.told().last().unwrap(), &format!("Over after 5 min: {exposed}"));
    play.site.walled.clear();
    play.scan();
    assert_eq!(play.told()[0], exposed);
}

#[test]
fn single_ports_that_come_back_together_are_over_one_by_one() {
    let mut play = Play::new(&[(1, &[20, 21, 22, 23, 24, 25, 26, 27, 28, 29])]);
    play.told();
    for ports in [20..=21, 22..=22, 24..=25] {
        play.site.walled.entry(host(1)).or_default().extend(ports);
        play.scan();
    }
    assert_eq!(play.told().len(), 5);
    assert_eq!(play.going_on().iter().filter(|cause| cause.starts_with("port/")).count(), 5);
    play.site.walled.clear();
    play.scan();
    let told = play.told();
    assert!(told.len() == 5 && told.iter().all(|title| title.starts_with("Over after ")), "{told:?}");
    assert!(!play.going_on().iter().any(|cause| cause.starts_with("port/")));
}

#[test]
fn a_new_host_is_one_incident_with_its_ports() {
    let mut play = Play::new(&[(1, &[22])]);
    play.site.open.insert(host(99), BTreeSet::from([22, 23, 24]));
    play.scans(3);
    assert_eq!(play.told(), ["New host 192.0.2.99 in lan"]);
    let open = store::open_incidents(play.watch.store().connection()).unwrap();
    assert_eq!(open[0].changes.len(), 3);
}

#[test]
fn what_changes_during_maintenance_is_told_if_it_stays() {
    let mut play = Play::new(&[(1, &[22, 24]), (2, &[22])]);
    *play.desk.maintenance.lock().unwrap() = true;
    play.site.open.get_mut(&host(1)).unwrap().remove(&24);
    play.site.down.insert(host(2));
    play.site.open.insert(host(99), BTreeSet::from([22]));
    play.scan();
    play.site.open.get_mut(&host(1)).unwrap().extend([24, 26]);
    play.scans(2);
    assert_eq!(play.told(), [""; 0]);
    let mut play = play.restart();
    *play.desk.maintenance.lock().unwrap() = false;
    play.watch.tick(play.now).unwrap();
    assert_eq!(
        play.told(),
        ["Port 26 opened on 192.0.2.1", "192.0.2.2 does not answer any more", "New host 192.0.2.99 in lan",]
    );
    play.scans(2);
    assert_eq!(play.told(), [""; 0]);
}

#[test]
fn what_is_not_asked_any_more_is_unknown_and_what_is_new_is_no_change() {
    let mut play = Play::new(&[(1, &[22, 24])]);
    let all = play.site.ports.clone();
    play.site.ports = [(host(1), 22)].into_iter().collect();
    play.scans(2);
    assert!(play.watch.known()[&host(1)].tcp.at(24).is_none());
    play.site.open.get_mut(&host(1)).unwrap().insert(26);
    play.site.ports = all;
    play.scans(2);
    assert_eq!(play.told(), [""; 0]);
    assert_eq!(play.watch.known()[&host(1)].tcp.at(26).map(|run| run.fact.state), Some(State::Open));
    play.watch.reload(BTreeMap::new(), TimeZone::UTC, play.now).unwrap();
    assert!(play.watch.known()[&host(1)].tcp.runs().is_empty());
}

#[test]
fn the_history_begins_when_a_change_was_first_seen() {
    let mut play = Play::new(&[(1, &[22, 24]), (2, &[22])]);
    play.told();
    play.site.open.get_mut(&host(1)).unwrap().insert(26);
    play.site.down.insert(host(2));
    play.scan();
    let (first_seen, connection) = (play.now + Duration::from_secs(1), play.watch.store().connection());
    let incidents = store::open_incidents(connection).unwrap();
    assert!(incidents.iter().all(|it| it.since == first_seen && it.opened > first_seen), "{incidents:?}");
    let past = store::history(connection, host(1), Some(26), Timestamp::MIN).unwrap();
    assert_eq!((past[0].until, past[1].since), (Some(first_seen), first_seen));
    let presences = store::presences(connection, host(2)).unwrap();
    assert_eq!((presences[0].until, presences[1].since), (Some(first_seen), first_seen));
    let changes = events(connection, &Selection { changes: true, ..Selection::default() }).unwrap();
    assert!(changes.iter().all(|event| event.since() == first_seen && event.at > first_seen), "{changes:?}");
    assert_eq!(changes.len(), 2);
    play.restart();
}

#[test]
fn a_port_that_kept_changing_is_said_to_be_what_it_is() {
    let mut play = Play::new(&[(1, &[22, 24])]);
    let unrest = |play: &Play| {
        let all = store::latest(play.watch.store().connection(), Timestamp::MIN).unwrap();
        all.into_iter().find(|incident| incident.trigger == Trigger::Unstable)
    };
    for scan in 0..9 {
        let open = play.site.open.get_mut(&host(1)).unwrap();
        if scan % 2 == 0 {
            open.remove(&24)
        } else {
            open.insert(24)
        };
        play.scan();
        let seen = unrest(&play).map(|incident| incident.changes[0].is);
        assert!(seen.is_none_or(|seen| seen == play.site.state(host(1), 24)), "scan {scan}");
    }
    let before = unrest(&play).unwrap();
    play.site.walled.insert(host(1), BTreeSet::from([24]));
    play.scans(25);
    let over = unrest(&play).unwrap();
    assert_eq!((before.changes[0].is, over.changes[0].is), (State::Closed, State::Filtered));
    assert_eq!(over.resolution.as_deref(), Some("it keeps still, and is filtered"));
}

#[test]
fn what_is_not_watched_any_more_is_over() {
    let mut play = Play::new(&[(1, &[22, 24]), (2, &[22]), (3, &[22])]);
    play.site.open.get_mut(&host(1)).unwrap().insert(26);
    play.site.down.insert(host(2));
    play.site.walled.insert(host(3), (20..=27).collect());
    play.scan();
    assert_eq!(play.told().len(), 3);
    // Of the third host a part goes on to be watched.
    play.site.ports = PORTS.filter(|&port| port > 24).map(|port| (host(3), port)).collect();
    play.scan();
    let mut told = play.told();
    told.sort();
    assert_eq!(
        told,
        ["Over after 5 min: 192.0.2.2 does not answer any more", "Over after 5 min: Port 26 opened on 192.0.2.1"]
    );
    play.site.walled.clear();
    play.scan();
    assert_eq!(play.told(), ["Over after 10 min: Firewall change at 192.0.2.3: 3 ports fell silent"]);
}

#[test]
fn a_group_that_was_never_scanned_ends_with_all_that_was_told_of_it() {
    for while_it_runs in [true, false] {
        let (desk, store) = (Desk::default(), Store::in_memory().unwrap());
        let mut watch = Watch::open(store, groups(), TimeZone::UTC, Box::new(desk.clone())).unwrap();
        let now: Timestamp = "2026-01-05T08:00:00Z".parse().unwrap();
        for _ in 0..3 {
            let request = watch.regular("lan", now);
            watch.scanned(now, now, &request, &Outcome::Failed("permission denied".into())).unwrap();
        }
        if while_it_runs {
            watch.reload(BTreeMap::new(), TimeZone::UTC, now).unwrap();
        } else {
            let store = watch.into_store();
            let mut watch = Watch::open(store, BTreeMap::new(), TimeZone::UTC, Box::new(desk.clone())).unwrap();
            watch.tick(now).unwrap();
        }
        assert_eq!(*desk.told.lock().unwrap(), ["Scans of lan fail", "Over after 0 s: Scans of lan fail"]);
    }
}

#[test]
fn a_clock_that_goes_back_does_no_harm() {
    let mut play = Play::new(&[(1, &[22])]);
    play.now -= Duration::from_secs(86400);
    play.site.open.get_mut(&host(1)).unwrap().insert(24);
    play.scan();
    assert_eq!(play.told().len(), 1);
    let past = store::history(play.watch.store().connection(), host(1), Some(24), Timestamp::MIN).unwrap();
    assert!(past.iter().all(|past| past.until.is_none_or(|until| until >= past.since)), "{past:?}");
}

#[test]
fn what_cannot_be_written_has_not_happened() {
    let mut play = Play::new(&[(1, &[22])]);
    play.site.open.get_mut(&host(1)).unwrap().insert(24);
    let before = play.watch.known().clone();
    play.watch.store().connection().execute_batch("ALTER TABLE scan RENAME TO gone").unwrap();
    let request = play.watch.regular("lan", play.now);
    let outcome = play.site.scan(&play.site.ports, play.now);
    assert!(play.watch.scanned(play.now, play.now, &request, &outcome).is_err());
    assert_eq!(play.watch.known(), &before);
    play.watch.store().connection().execute_batch("ALTER TABLE gone RENAME TO scan").unwrap();
    play.scan();
    assert_eq!(play.told().len(), 1);
}

#[test]
fn what_people_say_is_passed_on_once() {
    let mut play = Play::new(&[(1, &[22])]);
    play.site.open.get_mut(&host(1)).unwrap().insert(24);
    play.scan();
    let incident = store::open_incidents(play.watch.store().connection()).unwrap().remove(0);
    store::leave_word(play.watch.store().connection(), incident.id, crate::message::Occasion::Acknowledged).unwrap();
    play.told();
    (0..2).for_each(|_| play.watch.tick(play.now).unwrap());
    assert_eq!(play.told(), ["In hand: Port 24 opened on 192.0.2.1"]);
}

mod policy {
    use super::*;
    use crate::document::Document;
    use crate::incident::Incident;

    const HERE: &str = "[[rule]]\nid = \"here\"\nhosts = [\"192.0.2.0/24\"]\n";
    const WHY: &str = "severity = \"critical\"\nwhy = \"Nobody else.\"\n";

    fn policy(text: &str) -> Option<Policy> {
        let document = Document::new("policy.toml", format!("version = 1\n{text}"));
        Some(Policy::of(&document, &|_| Err("no names here".into())).unwrap())
    }

    fn exception(port: u16, until: &str) -> String {
        format!(
            "[[exception]]\nid = \"EX-1\"\nrule = \"here\"\nhosts = [\"192.0.2.1\"]\nports = [\"tcp/{port}\"]\nexpect = \"open\"\n\
             until = {until}\nowner = \"netops\"\nreason = \"Ticket 7\"\n"
        )
    }

    impl Play {
        /// A network that is known already, and a policy for it.
        fn under(hosts: &[(u8, &[u16])], text: &str) -> Play {
            let mut play = Play::new(hosts);
            play.told();
            play.expect(text);
            play
        }

        fn expect(&mut self, text: &str) {
            self.watch.expect(policy(text));
            self.watch.tick(self.now).unwrap();
        }

        fn set(&mut self, last: u8, port: u16, is_open: bool) {
            let open = self.site.open.get_mut(&host(last)).unwrap();
            if is_open {
                open.insert(port)
            } else {
                open.remove(&port)
            };
        }

        fn incidents(&self) -> Vec<Incident> {
            store::open_incidents(self.watch.store().connection()).unwrap()
        }
    }

    #[test]
    fn a_port_that_opens_against_it_is_one_incident_with_its_rule() {
        let mut play = Play::under(&[(1, &[22])], &format!("{HERE}open = [\"tcp/22\"]\n{WHY}"));
        assert_eq!(play.told(), [""; 0]);
        play.set(1, 23, true);
        play.scan();
        assert_eq!(play.told(), ["Against policy: port 23 (Telnet) opened on 192.0.2.1"]);
        let [incident] = &play.incidents()[..] else { panic!() };
        assert_eq!((incident.trigger, incident.severity), (Trigger::PolicyViolated, Severity::Critical));
        assert_eq!(incident.detail("rule"), Some("here: port 23 must not be open"));
        assert_eq!(incident.detail("why"), Some("Nobody else."));
        assert!(incident.detail("evidence").unwrap().starts_with("seen 2 times"));
        play.scans(3);
        let mut play = play.restart_under();
        play.watch.tick(play.now).unwrap();
        assert_eq!(play.told(), [""; 0]);
        play.set(1, 23, false);
        play.scan();
        assert_eq!(play.told(), ["Over after 20 min: Against policy: port 23 (Telnet) opened on 192.0.2.1"]);
        play.set(1, 22, false);
        play.scan();
        assert_eq!(play.told(), ["Against policy: port 22 (Secure Shell) closed on 192.0.2.1"]);
        play.set(1, 22, true);
        play.scan();
        assert_eq!(play.told(), ["Over after 5 min: Against policy: port 22 (Secure Shell) closed on 192.0.2.1"]);
        assert!(play.incidents().is_empty());
    }

    impl Play {
        /// As after a crash, with the same policy.
        fn restart_under(self) -> Play {
            let policy = self.watch.policy().cloned();
            let mut play = self.restart();
            play.watch.expect(policy);
            play
        }
    }

    #[test]
    fn what_is_only_suspected_is_no_violation() {
        let mut play = Play::under(&[(1, &[22])], &format!("{HERE}open = [\"tcp/22\"]\n"));
        play.now += Duration::from_secs(300);
        let request = play.watch.regular("lan", play.now);
        play.set(1, 24, true);
        let outcome = play.site.scan(&play.site.ports, play.now);
        let next = play.watch.scanned(play.now, play.now, &request, &outcome).unwrap().unwrap();
        play.watch.tick(play.now).unwrap();
        assert_eq!(play.told(), [""; 0]);
        play.set(1, 24, false);
        let outcome = play.site.scan(&next.targets, next.not_before);
        assert_eq!(play.watch.scanned(next.not_before, play.now, &next, &outcome).unwrap(), None);
        assert_eq!(play.told(), [""; 0]);
    }

    #[test]
    fn what_is_wrong_from_the_beginning_is_one_incident_a_host_and_rule() {
        let desk = Desk::default();
        let store = Store::in_memory().unwrap();
        let mut watch = Watch::open(store, groups(), TimeZone::UTC, Box::new(desk.clone())).unwrap();
        watch.expect(policy(&format!("{HERE}open = [\"tcp/22\", \"tcp/25\"]\n")));
        let now = "2026-01-05T08:00:00Z".parse().unwrap();
        let site = Site::new(&[(1, &[22, 23]), (2, &[22, 25]), (3, &[22, 25])]);
        let mut play = Play { site, desk, watch, now, confirmations: 0 };
        play.scan();
        assert_eq!(play.told(), ["Against policy: 2 ports on 192.0.2.1"], "and telnet is not told twice");
        let [incident] = &play.incidents()[..] else { panic!() };
        let rule = "here: port 25 must be open; here: port 23 must not be open";
        assert_eq!(incident.detail("rule"), Some(rule));
        play.set(1, 25, true);
        play.scan();
        assert_eq!(play.told(), ["Now: Against policy: port 23 (Telnet) is open on 192.0.2.1"]);
        play.set(1, 23, false);
        play.scan();
        assert_eq!(play.told(), ["Over after 10 min: Against policy: port 23 (Telnet) is open on 192.0.2.1"]);
    }

    #[test]
    fn the_policy_and_exceptions_can_make_it_right() {
        let strict = format!("{HERE}open = [\"tcp/22\"]\n");
        let mut play = Play::under(&[(1, &[22, 24])], &strict);
        let violated = "Against policy: port 24 is open on 192.0.2.1";
        assert_eq!(play.told(), [violated]);
        play.expect(&format!("{HERE}open = [\"tcp/22\", \"tcp/24\"]\n"));
        assert_eq!(play.told(), [format!("Over after 0 s: {violated}")]);
        play.expect(&strict);
        assert_eq!(play.told(), [violated]);
        // 30 days later the exception ends, with notices 14 and 3 days before.
        play.expect(&format!("{strict}{}", exception(24, "2026-02-04T00:00:00Z")));
        assert_eq!(play.told(), [format!("Over after 0 s: {violated}")]);
        assert_eq!(play.next_told(15), [""; 0]);
        let soon = "Exception EX-1 ends soon";
        assert_eq!(play.next_told(17 - 15), [soon]);
        assert_eq!(play.next_told(26 - 17), [""; 0]);
        assert_eq!(play.next_told(28 - 26), [format!("Now: {soon}")]);
        assert_eq!(play.incidents()[0].severity, Severity::Warning);
        let told = play.next_told(31 - 28);
        assert_eq!(told, [violated.to_owned(), format!("Over after 14 days: {soon}")]);
        let [incident] = &play.incidents()[..] else { panic!() };
        assert_eq!(incident.detail("exception"), Some("EX-1 ended at 2026-02-04T00:00:00Z"));
        assert_eq!(incident.detail("owner"), Some("netops"));
        play.watch.expect(None);
        play.watch.tick(play.now).unwrap();
        assert_eq!(play.told(), [format!("Over after 1 day: {violated}")]);
    }

    impl Play {
        /// What is told until so many days from now, scanned now and then.
        fn next_told(&mut self, days: u64) -> Vec<String> {
            for _ in 0..days * 4 {
                self.now += Duration::from_secs(6 * 3600 - 300);
                self.scan();
                self.watch.tick(self.now).unwrap();
            }
            self.told()
        }
    }

    #[test]
    fn an_exception_that_is_renewed_is_over_and_is_told_of_again_before_its_end() {
        let text = |until| format!("{HERE}open = [\"tcp/22\"]\n{}", exception(24, until));
        let play = Play::under(&[(1, &[22, 24])], &text("2026-01-10T00:00:00Z"));
        assert_eq!(play.told(), ["Exception EX-1 ends soon"]);
        let mut play = play.restart_under();
        play.scans(3);
        assert_eq!(play.told(), [""; 0]);
        play.expect(&text("2026-03-10T00:00:00Z"));
        assert_eq!(play.told(), ["Over after 15 min: Exception EX-1 ends soon"]);
        play.expect(&text("2026-01-10T00:00:00Z"));
        assert_eq!(play.told(), ["Exception EX-1 ends soon"]);
    }

    #[test]
    fn a_new_host_and_a_firewall_tell_what_they_break() {
        let mut play = Play::under(&[(1, &[22, 24, 26, 28])], &format!("{HERE}open = [\"tcp/22\"]\n{WHY}"));
        assert_eq!(play.told(), ["Against policy: 3 ports on 192.0.2.1"]);
        play.site.open.insert(host(99), BTreeSet::from([22, 23]));
        play.scans(3);
        assert_eq!(play.told(), ["New host 192.0.2.99 in lan"]);
        let new = play.incidents().pop().unwrap();
        assert!(new.is_about(Trigger::PolicyViolated) && new.severity == Severity::Critical, "{new:?}");
        assert_eq!(new.detail("rule"), Some("here: port 23 must not be open"));
        play.set(99, 23, false);
        play.scan();
        assert_eq!(play.told(), ["Now: New host 192.0.2.99 in lan"]);
        assert!(!play.incidents().pop().unwrap().breaks_policy());
        // It makes 24, 26 and 28 right, and 22 wrong.
        play.site.walled.insert(host(1), (20..=28).collect());
        play.scan();
        let told = [
            "Firewall change at 192.0.2.1: 9 ports fell silent",
            "Over after 25 min: Against policy: 3 ports on 192.0.2.1",
        ];
        assert_eq!(play.told(), told);
        let wall = play.incidents().pop().unwrap();
        assert_eq!(wall.detail("rule"), Some("here: port 22 must be open"));
        play.site.walled.clear();
        play.scan();
        let told = play.told();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().any(|it| it == "Against policy: 3 ports on 192.0.2.1"), "{told:?}");
    }

    #[test]
    fn what_a_new_host_breaks_is_told_once_though_something_else_is_in_doubt_then() {
        let mut play = Play::under(&[(1, &[22])], &format!("{HERE}open = [\"tcp/22\"]\n"));
        play.site.open.insert(host(99), BTreeSet::from([22, 23]));
        play.set(1, 24, true);
        play.now += Duration::from_secs(300);
        let request = play.watch.regular("lan", play.now);
        let outcome = play.site.scan(&play.site.ports, play.now);
        assert!(play.watch.scanned(play.now, play.now, &request, &outcome).unwrap().is_some());
        assert_eq!(play.told(), ["New host 192.0.2.99 in lan"]);
        let mut play = play.restart_under();
        play.scans(2);
        assert_eq!(play.told(), ["Against policy: port 24 opened on 192.0.2.1"]);
        play.set(99, 23, false);
        play.scan();
        assert_eq!(play.told(), ["Now: New host 192.0.2.99 in lan"]);
    }

    #[test]
    fn a_port_that_opens_while_a_firewall_changes_is_a_matter_of_its_own() {
        let mut play = Play::under(&[(1, &[22])], &format!("{HERE}open = [\"tcp/22\"]\n"));
        play.site.walled.insert(host(1), (24..=29).collect());
        play.set(1, 21, true);
        play.scan();
        let told = [
            "Firewall change at 192.0.2.1: 6 ports fell silent",
            "Against policy: port 21 (File Transfer Protocol) opened on 192.0.2.1",
        ];
        assert_eq!(play.told(), told);
    }

    #[test]
    fn who_settles_it_by_hand_hears_no_more_until_it_was_right_again() {
        let mut play = Play::under(&[(1, &[22, 24])], &format!("{HERE}open = [\"tcp/22\"]\n"));
        assert_eq!(play.told(), ["Against policy: port 24 is open on 192.0.2.1"]);
        let id = play.incidents()[0].id;
        Docket::new(play.watch.store().connection(), play.now).settle(id, "it is known").unwrap();
        play.scans(3);
        let mut play = play.restart_under();
        play.scans(3);
        assert_eq!(play.told(), [""; 0]);
        play.set(1, 26, true);
        play.scan();
        assert_eq!(play.told(), ["Against policy: port 26 opened on 192.0.2.1"]);
        play.set(1, 26, false);
        play.set(1, 24, false);
        play.scan();
        assert_eq!(play.told(), ["Over after 5 min: Against policy: port 26 opened on 192.0.2.1"]);
        play.set(1, 24, true);
        play.scan();
        assert_eq!(play.told(), ["Against policy: port 24 opened on 192.0.2.1"]);
    }

    #[test]
    fn a_host_that_is_down_is_neither_right_nor_wrong() {
        let mut play = Play::under(&[(1, &[22, 24]), (2, &[22])], &format!("{HERE}open = [\"tcp/22\"]\n"));
        assert_eq!(play.told(), ["Against policy: port 24 is open on 192.0.2.1"]);
        play.site.down.extend([host(1), host(2)]);
        play.site.down.remove(&host(2));
        play.scans(2);
        assert_eq!(play.told(), ["192.0.2.1 does not answer any more"]);
        play.site.down.clear();
        play.scan();
        assert_eq!(play.told(), ["Over after 10 min: 192.0.2.1 does not answer any more"]);
        assert_eq!(play.going_on(), ["policy/192.0.2.1/here"]);
        // What nobody looks at any more is not wrong for all that is known.
        play.site.ports = PORTS.map(|port| (host(2), port)).collect();
        play.scan();
        assert_eq!(play.told(), ["Over after 20 min: Against policy: port 24 is open on 192.0.2.1"]);
    }

    #[test]
    fn maintenance_and_ports_that_keep_changing_are_no_violations() {
        let mut play = Play::under(&[(1, &[22])], &format!("{HERE}open = [\"tcp/22\"]\n"));
        *play.desk.maintenance.lock().unwrap() = true;
        play.set(1, 24, true);
        play.scans(2);
        play.watch.tick(play.now).unwrap();
        assert_eq!(play.told(), [""; 0]);
        *play.desk.maintenance.lock().unwrap() = false;
        play.watch.tick(play.now).unwrap();
        assert_eq!(play.told(), ["Against policy: port 24 opened on 192.0.2.1"]);
        for scan in 0..20 {
            play.set(1, 24, scan % 2 == 1);
            play.scan();
        }
        let told = play.told();
        let unstable = told.iter().filter(|title| title.contains("keeps changing")).count();
        assert_eq!((unstable, told.len()), (1, 3), "{told:?}");
        let [incident] = &play.incidents()[..] else { panic!("{told:?}") };
        assert_eq!(incident.detail("rule"), Some("here: port 24 must not be open"));
        play.scans(25);
        let told = play.told();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[1], "Against policy: port 24 is open on 192.0.2.1");
    }
}

#[test]
fn scans_that_come_more_quickly_than_confirmations_confirm_each_other() {
    let mut play = Play::new(&[(1, &[22, 24]), (2, &[22])]);
    play.site.open.get_mut(&host(1)).unwrap().remove(&24);
    play.site.down.insert(host(2));
    for second in 1..=3 {
        assert_eq!(play.told(), [""; 0], "after {second}");
        let at = play.now + Duration::from_secs(second);
        let request = play.watch.regular("lan", at);
        play.watch.scanned(at, at, &request, &play.site.scan(&play.site.ports, at)).unwrap();
    }
    assert_eq!(play.told(), ["192.0.2.2 does not answer any more", "Port 24 closed on 192.0.2.1"]);
}
