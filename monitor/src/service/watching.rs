//! Whoever makes something of scans, as the conductor sees it; and the real one: the monitor's state machine (`watch`) with what
//! the settings put around it: windows, those who are told (`alert`), and how long what is kept. What it has to tell the
//! journal is put into lines for people here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::Connection;

use super::journal::{Level, Line};
use crate::agenda::Skip;
use crate::alert::{Alerting, DeadMan, Desk, Errands, PostOffice, Speaker};
use crate::docket::Notice;
use crate::incident::Severity;
use crate::message::Occasion;
use crate::settings::{Group, Retention, Settings};
use crate::store::outbox;
use crate::store::{self, Account, Error, Horizon, Store};
use crate::watch::{Outcome, Purpose, Request, Surroundings, Watch, Watched};
use crate::windows::{self, Kind, Window};
use crate::wording::{self, Reader};

/// Whoever makes something of scans. An error is the store's: nothing of that call counts.
pub trait Watching {
    /// When a group's last regular scan was begun.
    fn last_begun(&self, group: &str) -> Result<Option<Timestamp>, Error>;

    /// Groups in which something looked different when this process was ended, and nobody knows whether it was so.
    fn undecided(&self) -> Vec<String>;

    /// Other settings hold from now on.
    fn reload(&mut self, settings: &Settings, now: Timestamp) -> Result<(), Error>;

    /// A scan ended, which began then. What must be probed again to be sure.
    fn scanned(
        &mut self,
        now: Timestamp,
        began: Timestamp,
        request: &Request,
        outcome: &Outcome,
    ) -> Result<Option<Request>, Error>;

    /// A regular scan was not made.
    fn skipped(&mut self, now: Timestamp, skip: &Skip) -> Result<(), Error>;

    /// What time alone brings. When to be asked again.
    fn tick(&mut self, now: Timestamp) -> Result<Timestamp, Error>;

    /// Nothing more comes: waits, within bounds, until those who are to be told have been.
    fn deliver(&mut self) -> Result<(), Error>;

    /// How many incidents are open.
    fn open_incidents(&self) -> Result<usize, Error>;

    /// What people are to know since it was last asked.
    fn lines(&mut self, now: Timestamp) -> Vec<Line>;
}

/// The monitor, with what is around it.
#[derive(Debug)]
pub struct Watcher {
    watch: Watch,
    around: Around,
    /// None where nothing leaves this process.
    post_office: Option<PostOffice>,
    dead_man: Option<DeadMan>,
    retention: Retention,
    /// When what is too old is deleted next.
    prunes: Timestamp,
}

/// Shared with the state machine, which asks for it in the middle of a transaction.
#[derive(Debug, Clone)]
struct Around {
    windows: Arc<Mutex<Vec<Window>>>,
    desk: Arc<Mutex<Desk>>,
    told: Arc<Mutex<Vec<Notice>>>,
    /// Lines of the post office's threads.
    heard: Arc<Mutex<Vec<Line>>>,
}

/// Late scans and reminders are not looked for more seldom.
const TICK: Duration = Duration::from_secs(30);
/// What is too old is deleted so often.
const PRUNES: Duration = Duration::from_secs(6 * 3600);
/// How long deliveries are waited for at the end.
const FAREWELL: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

impl Watcher {
    /// Goes on where the store says that it was left. What is to be told waits in the outbox until somebody takes it from there.
    pub fn open(store: Store, settings: &Settings, now: Timestamp) -> Result<Watcher, Error> {
        let around = Around::of(settings);
        let mut watch = Watch::open(store, watched(settings, now), settings.zone.clone(), Box::new(around.clone()))?;
        match &settings.expected {
            None if settings.policy.is_some() => watch.await_policy(),
            expected => watch.expect(expected.clone()),
        }
        let dead_man = dead_man(settings);
        let (post_office, retention) = (None, settings.retention);
        Ok(Watcher { watch, around, post_office, dead_man, retention, prunes: now })
    }

    /// The same, and what is to be told is sent, by threads of their own, and commands by this process.
    pub fn with_post_office(mut self, settings: &Settings) -> Result<Watcher, Error> {
        let path = self.watch.store().path().to_owned();
        self.post_office = Some(PostOffice::open(&path, settings.alerting.clone(), self.speaker())?);
        Ok(self)
    }

    /// The same, and another process runs commands.
    pub fn with_errands(mut self, settings: &Settings, errands: Errands) -> Result<Watcher, Error> {
        let path = self.watch.store().path().to_owned();
        let (errands, alerting) = ((errands, self.speaker()), settings.alerting.clone());
        self.post_office = Some(PostOffice::with_errands(&path, alerting, self.speaker(), errands)?);
        Ok(self)
    }

    /// Puts down what threads have to say, for the next look.
    fn speaker(&self) -> Speaker {
        let heard = Arc::clone(&self.around.heard);
        Box::new(move |text: &str| locked(&heard).push(Line { level: Level::Warning, text: text.to_owned() }))
    }

    /// Reminders, and what had to wait.
    fn remind(&mut self, now: Timestamp) -> Result<(), Error> {
        let around = self.around.clone();
        let transaction = self.watch.store_mut().transaction()?;
        locked(&around.desk).tick(&transaction, &|group| around.is_quiet(group, now), now)?;
        Ok(transaction.commit()?)
    }

    fn prune(&mut self, now: Timestamp) -> Result<(), Error> {
        if now < self.prunes {
            return Ok(());
        }
        self.prunes = now + PRUNES;
        let before = |kept: Option<Duration>| kept.and_then(|kept| now.checked_sub(kept).ok());
        let Retention { scans, states, incidents, deliveries } = self.retention;
        let horizon = Horizon {
            scans: before(scans),
            states: before(states),
            incidents: before(incidents),
            deliveries: before(deliveries),
        };
        self.watch.store_mut().prune(&horizon).map(|_| ())
    }

    fn wake(&self) {
        self.post_office.iter().for_each(PostOffice::wake);
    }

    /// What was not committed is not told.
    fn or_silent<T>(&self, done: Result<T, Error>) -> Result<T, Error> {
        if done.is_err() {
            locked(&self.around.told).clear();
        }
        done
    }
}

impl Watching for Watcher {
    fn last_begun(&self, group: &str) -> Result<Option<Timestamp>, Error> {
        store::last_begun(self.watch.store().connection(), group)
    }

    fn undecided(&self) -> Vec<String> {
        self.watch.undecided()
    }

    fn reload(&mut self, settings: &Settings, now: Timestamp) -> Result<(), Error> {
        let done = self.watch.reload(watched(settings, now), settings.zone.clone(), now);
        self.or_silent(done)?;
        self.around.change(settings);
        self.dead_man = dead_man(settings);
        self.retention = settings.retention;
        self.post_office.iter().for_each(|office| office.reload(settings.alerting.clone()));
        self.watch.expect(settings.expected.clone());
        let done = self.watch.tick(now);
        self.or_silent(done)
    }

    fn scanned(
        &mut self,
        now: Timestamp,
        began: Timestamp,
        request: &Request,
        outcome: &Outcome,
    ) -> Result<Option<Request>, Error> {
        let done = self.watch.scanned(now, began, request, outcome);
        if let (Purpose::Regular, Some(dead_man)) = (request.purpose, &mut self.dead_man) {
            // One that could not be kept tells nobody anything.
            let is_whole = matches!(outcome, Outcome::Scan(scan) if scan.summary.is_some());
            dead_man.scanned(&request.group, is_whole && done.is_ok());
        }
        let next = self.or_silent(done)?;
        self.wake();
        Ok(next)
    }

    fn skipped(&mut self, now: Timestamp, skip: &Skip) -> Result<(), Error> {
        let transaction = self.watch.store_mut().transaction()?;
        store::add_scan(&transaction, &skipped(now, skip), None)?;
        Ok(transaction.commit()?)
    }

    fn tick(&mut self, now: Timestamp) -> Result<Timestamp, Error> {
        let done = self.watch.tick(now);
        self.or_silent(done)?;
        self.remind(now)?;
        self.prune(now)?;
        self.wake();
        if self.dead_man.as_mut().is_some_and(|dead_man| dead_man.is_due(now)) {
            self.post_office.iter().for_each(PostOffice::ping);
        }
        let change = windows::next_change(&locked(&self.around.windows), now);
        Ok(change.map_or(now + TICK, |change| change.min(now + TICK)))
    }

    fn deliver(&mut self) -> Result<(), Error> {
        let end = Instant::now() + FAREWELL;
        let is_waiting = |watcher: &Watcher| -> Result<bool, Error> {
            let connection = watcher.watch.store().connection();
            let channels: Vec<_> = locked(&watcher.around.desk).channels.keys().cloned().collect();
            let due = channels.iter().map(|channel| outbox::next_due(connection, channel));
            let due = due.collect::<Result<Vec<_>, _>>()?;
            Ok(due.into_iter().flatten().any(|due| due <= Timestamp::now()))
        };
        self.wake();
        while self.post_office.is_some() && Instant::now() < end && is_waiting(self)? {
            thread::sleep(LOOK);
        }
        // Waits for what is under way.
        self.post_office = None;
        Ok(())
    }

    fn open_incidents(&self) -> Result<usize, Error> {
        Ok(store::count_open(self.watch.store().connection())? as usize)
    }

    fn lines(&mut self, now: Timestamp) -> Vec<Line> {
        let told = std::mem::take(&mut *locked(&self.around.told));
        let heard = std::mem::take(&mut *locked(&self.around.heard));
        told.iter().map(|notice| line(notice, now)).chain(heard).collect()
    }
}

impl Surroundings for Around {
    fn announce(&mut self, connection: &Connection, notices: &[Notice], now: Timestamp) -> Result<(), Error> {
        locked(&self.told).extend_from_slice(notices);
        locked(&self.desk).announce(connection, notices, &|group| self.is_quiet(group, now), now)
    }

    fn is_in_maintenance(&self, group: &str, now: Timestamp) -> bool {
        windows::open(&locked(&self.windows), Kind::Maintenance, group, now).is_some()
    }
}

impl Around {
    fn of(settings: &Settings) -> Around {
        let windows = Arc::new(Mutex::new(settings.windows.clone()));
        let desk = Arc::new(Mutex::new(desk(settings)));
        Around { windows, desk, told: Arc::default(), heard: Arc::default() }
    }

    fn change(&self, settings: &Settings) {
        locked(&self.windows).clone_from(&settings.windows);
        *locked(&self.desk) = desk(settings);
    }

    fn is_quiet(&self, group: &str, now: Timestamp) -> bool {
        windows::open(&locked(&self.windows), Kind::Quiet, group, now).is_some()
    }
}

fn desk(settings: &Settings) -> Desk {
    let Alerting { channels, rules, .. } = settings.alerting.clone();
    let reader = Reader { zone: settings.zone.clone(), link: settings.link.clone() };
    Desk { rules, channels, reader }
}

fn dead_man(settings: &Settings) -> Option<DeadMan> {
    settings.alerting.dead_man.as_ref().map(|it| DeadMan::new(it.every))
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watched(settings: &Settings, now: Timestamp) -> BTreeMap<String, Watched> {
    let of = |group: &Group| Watched { detection: group.detection.clone(), late_after: Some(group.late_after(now)) };
    settings.groups.iter().map(|group| (group.name.clone(), of(group))).collect()
}

/// `#7 opened: Port 23 (Telnet) opened on 192.0.2.9`.
fn line(notice: &Notice, now: Timestamp) -> Line {
    let Notice { incident, occasion } = notice;
    let over = *occasion == Occasion::Resolved;
    let level = if over || incident.severity == Severity::Info { Level::Info } else { Level::Warning };
    let title = wording::title(incident, *occasion, now);
    Line { level, text: format!("{}: incident {} {}: {title}", incident.group, incident.id.0, occasion.name()) }
}

/// What the store keeps of a scan that was not made.
fn skipped(now: Timestamp, skip: &Skip) -> Account {
    Account {
        group: skip.group.clone(),
        purpose: Purpose::Regular.name().into(),
        started: skip.due,
        ended: now,
        outcome: "skipped".into(),
        probes: 0,
        hosts_up: 0,
        open_ports: 0,
        error: Some(skip.why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use halfopen_results::record::{Header, Record, State, Summary, Verdict};
    use halfopen_results::{Coverage, Scan};

    use super::*;
    use crate::agenda::Activity;

    const SETTINGS: &str = "store = \"s\"\ntime-zone = \"UTC\"\n[detection]\nopen-after = 2\n[[group]]\nname = \"dmz\"\n\
                            targets = \"192.0.2.1\"\nports = \"22-23\"\nevery = \"5m\"\n";

    fn at(seconds: i64) -> Timestamp {
        "2026-11-20T12:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(seconds)
    }

    fn settings(more: &str) -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, format!("{SETTINGS}{more}")).unwrap();
        Settings::read(&path, &|_| Ok(())).unwrap()
    }

    fn watcher(more: &str) -> Watcher {
        Watcher::open(Store::in_memory().unwrap(), &settings(more), at(0)).unwrap()
    }

    fn request(purpose: Purpose) -> Request {
        Request { id: 1, group: "dmz".into(), purpose, targets: Coverage::default(), not_before: at(0) }
    }

    /// A scan of two ports, of which these are open.
    fn scan(open: &[u16]) -> Outcome {
        let address = "192.0.2.1".parse().unwrap();
        let mut scan = Scan::default();
        let coverage: Coverage = [(address, 22), (address, 23)].into_iter().collect();
        let show = halfopen_results::record::Show::ALL;
        let settings = halfopen_results::record::Settings { show, ..Default::default() };
        scan.add(Record::Scan(Box::new(Header { coverage, settings, targets: 2, hosts: 1, ..Header::default() })));
        for port in [22, 23] {
            let state = if open.contains(&port) { State::Open } else { State::Closed };
            let reason = if state == State::Open { "syn-ack" } else { "rst" }.into();
            scan.add(Record::Verdict(Verdict { reason, ..Verdict::bare(address, port, state) }));
        }
        scan.add(Record::Summary(Box::new(Summary { outcome: "complete".into(), ..Summary::default() })));
        Outcome::Scan(Box::new(scan))
    }

    /// Scans until nothing is asked again; how often that was.
    fn sees(watcher: &mut Watcher, open: &[u16], seconds: i64) -> usize {
        let mut next = Some(request(Purpose::Regular));
        for round in 0.. {
            let Some(request) = next else { return round };
            next = watcher.scanned(at(seconds), at(seconds), &request, &scan(open)).unwrap();
        }
        unreachable!("a range without an end")
    }

    fn told(watcher: &mut Watcher) -> Vec<String> {
        watcher.lines(at(900)).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_scan_that_could_not_be_kept_is_no_sign_of_life() {
        let mut watcher = watcher("[dead-man]\nurl = \"https://example.org/ping\"\nevery = \"10s\"\n");
        let is_due = |watcher: &mut Watcher, seconds| watcher.dead_man.as_mut().unwrap().is_due(at(seconds));
        let run = |watcher: &Watcher, sql: &str| watcher.watch.store().connection().execute_batch(sql).unwrap();
        sees(&mut watcher, &[22], 0);
        assert!(is_due(&mut watcher, 1));
        run(&watcher, "CREATE TRIGGER full BEFORE INSERT ON scan BEGIN SELECT RAISE(ABORT, 'full'); END");
        assert!(watcher.scanned(at(300), at(300), &request(Purpose::Regular), &scan(&[22])).is_err());
        assert!(!is_due(&mut watcher, 301));
        run(&watcher, "DROP TRIGGER full");
        sees(&mut watcher, &[22], 600);
        assert!(is_due(&mut watcher, 601));
    }

    #[test]
    fn what_is_sure_is_told_in_a_line() {
        let mut watcher = watcher("");
        assert_eq!(sees(&mut watcher, &[22], 0), 1);
        told(&mut watcher);
        assert_eq!(sees(&mut watcher, &[22, 23], 300), 2);
        let lines = told(&mut watcher);
        assert!(
            lines.iter().any(|line| line.starts_with("dmz: incident ")
                && line.contains("opened: ")
                && line.contains("192.0.2.1")),
            "{lines:?}"
        );
        assert!(watcher.open_incidents().unwrap() > 0);
        assert_eq!((watcher.last_begun("dmz").unwrap(), watcher.last_begun("lan").unwrap()), (Some(at(300)), None));
    }

    #[test]
    fn in_a_window_of_maintenance_nothing_is_told_before_its_end() {
        let window = "[[window]]\nname = \"w\"\nkind = \"maintenance\"\nfrom = \"2026-11-20 12:04\"\nuntil = \"2026-11-20 12:06\"\n";
        let mut watcher = watcher(window);
        sees(&mut watcher, &[22], 0);
        told(&mut watcher);
        assert_eq!(watcher.tick(at(239)).unwrap(), at(240));
        sees(&mut watcher, &[22, 23], 300);
        assert_eq!(told(&mut watcher), [""; 0]);
        assert_eq!(watcher.tick(at(345)).unwrap(), at(360));
        watcher.tick(at(360)).unwrap();
        let lines = told(&mut watcher);
        assert!(lines.iter().any(|line| line.contains("opened: ") && line.contains("192.0.2.1")), "{lines:?}");
    }

    #[test]
    fn another_policy_is_in_force_at_once() {
        let mut watcher = watcher("");
        sees(&mut watcher, &[22], 0);
        told(&mut watcher);
        let policy = "version = 1\n[[rule]]\nid = \"here\"\nhosts = [\"192.0.2.1\"]\nclosed = [\"tcp/22\"]\n";
        let document = crate::document::Document::new("policy.toml", policy);
        let mut strict = settings("");
        strict.expected = Some(crate::Policy::of(&document, &|_| Err("no names".into())).unwrap());
        watcher.reload(&strict, at(60)).unwrap();
        let opened = "dmz: incident 1 opened: Against policy: port 22 (Secure Shell) is open on 192.0.2.1";
        assert_eq!(told(&mut watcher), [opened]);
        watcher.reload(&settings(""), at(70)).unwrap();
        assert!(told(&mut watcher)[0].starts_with("dmz: incident 1 resolved: Over after 10 s: Against policy"));
        watcher.reload(&strict, at(80)).unwrap();
        assert_eq!(told(&mut watcher).len(), 1);
        // It is there, and has a name in it that has no address after a restart.
        let Watcher { watch, .. } = watcher;
        let mut unread = settings("");
        unread.policy = Some("policy.toml".into());
        let mut watcher = Watcher::open(watch.into_store(), &unread, at(90)).unwrap();
        watcher.tick(at(90)).unwrap();
        sees(&mut watcher, &[22], 100);
        assert_eq!((told(&mut watcher), watcher.open_incidents().unwrap()), (Vec::new(), 1));
    }

    #[test]
    fn scans_that_were_not_made_are_recorded_and_count_for_nothing() {
        let mut watcher = watcher("");
        let failed = Outcome::Failed("no route".into());
        watcher.scanned(at(20), at(10), &request(Purpose::Regular), &failed).unwrap();
        let skip = Skip { group: "dmz".into(), due: at(70), why: Activity::Scanned { since: at(30) } };
        watcher.skipped(at(71), &skip).unwrap();
        assert_eq!(watcher.last_begun("dmz").unwrap(), Some(at(10)));
        let kept = store::last_scans(watcher.watch.store().connection(), Some("dmz"), 9).unwrap();
        let kept: Vec<_> = kept.iter().map(|scan| (&*scan.outcome, scan.error.as_deref())).collect();
        let why = "its scan since 2026-11-20T12:00:30Z has not ended";
        assert_eq!(kept, [("skipped", Some(why)), ("failed", Some("no route"))]);
    }

    const CHANNEL: &str = "[channel.ops]\nkind = \"command\"\ncommand = [\"/bin/cat\"]\n[[alert]]\nto = [\"ops\"]\n";

    fn waiting(watcher: &Watcher) -> Vec<String> {
        let entries = outbox::log(watcher.watch.store().connection(), &outbox::Filter::default()).unwrap();
        entries.into_iter().map(|entry| entry.message.title).collect()
    }

    #[test]
    fn what_is_to_be_told_waits_in_the_outbox() {
        let mut watcher = watcher(CHANNEL);
        sees(&mut watcher, &[22], 0);
        assert_eq!(waiting(&watcher), [""; 0]);
        sees(&mut watcher, &[22, 23], 300);
        assert_eq!(waiting(&watcher), ["Unencrypted port 23 (Telnet) is open on 192.0.2.1"]);
    }

    /// What each thread was told.
    fn threads(watcher: &Watcher) -> BTreeMap<String, Vec<&'static str>> {
        let entries = outbox::log(watcher.watch.store().connection(), &outbox::Filter::default()).unwrap();
        let mut threads: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.state != outbox::State::Overtaken) {
            threads.entry(entry.message.thread.clone()).or_default().push(entry.message.occasion.name());
        }
        threads
    }

    #[test]
    fn whatever_was_told_to_have_begun_is_told_to_be_over_once() {
        let mut watcher = watcher(CHANNEL);
        let mut at_second = (0..).step_by(300);
        let mut see = |watcher: &mut Watcher, open: &[u16]| {
            let second = at_second.next().unwrap();
            sees(watcher, open, second);
            watcher.tick(at(second + 60)).unwrap();
            second
        };
        see(&mut watcher, &[22]);
        // It keeps changing: what was told of it becomes part of that.
        for round in 0..6 {
            see(&mut watcher, if round % 2 == 0 { &[22, 23] } else { &[22] });
        }
        see(&mut watcher, &[23]);
        let told = threads(&watcher);
        assert_eq!(told["incident-1"], ["opened", "resolved"]);
        assert_eq!(told["incident-2"], ["opened", "resolved"], "{told:?}");
        assert_eq!((&told["incident-3"][..], &told["incident-4"][..]), (&["opened"][..], &["opened"][..]), "{told:?}");
        // No rule names the channel any more, and then the group is gone.
        let channel_alone = CHANNEL.split("[[alert]]").next().unwrap();
        let last = see(&mut watcher, &[23]);
        watcher.reload(&settings(channel_alone), at(last + 70)).unwrap();
        let mut without = settings(channel_alone);
        without.groups.clear();
        watcher.reload(&without, at(last + 80)).unwrap();
        watcher.tick(at(last + 90)).unwrap();
        assert!(threads(&watcher).values().all(|said| said[..] == ["opened", "resolved"]), "{:?}", threads(&watcher));
    }

    #[test]
    fn who_acknowledges_and_resolves_at_once_is_told_in_one_message_with_their_words() {
        let mut watcher = watcher(CHANNEL);
        sees(&mut watcher, &[22], 0);
        sees(&mut watcher, &[22, 23], 300);
        let connection = watcher.watch.store().connection();
        let id = store::open_incidents(connection).unwrap()[0].id;
        let mut docket = crate::docket::Docket::new(connection, at(310));
        for (note, occasion) in
            [("looking", Some(Occasion::Acknowledged)), ("a new printer", Some(Occasion::Acknowledged))]
        {
            docket.acknowledge(id, "kim", note).unwrap();
            store::leave_word(connection, id, occasion.unwrap()).unwrap();
        }
        watcher.tick(at(311)).unwrap();
        let messages = |watcher: &Watcher| {
            let entries = outbox::log(watcher.watch.store().connection(), &outbox::Filter::default()).unwrap();
            let left = entries.into_iter().filter(|entry| entry.state != outbox::State::Overtaken);
            left.map(|entry| entry.message).collect::<Vec<_>>()
        };
        let told = messages(&watcher);
        assert!(
            told[1].text().contains("In hand: kim: looking\n")
                && told[2].text().contains("In hand: kim: a new printer\n")
        );
        assert_ne!(told[1].id, told[2].id);
        let connection = watcher.watch.store().connection();
        let mut docket = crate::docket::Docket::new(connection, at(312));
        docket.acknowledge(id, "somebody", "").unwrap();
        store::leave_word(connection, id, Occasion::Acknowledged).unwrap();
        docket.settle(id, "accepted by somebody").unwrap();
        store::leave_word(connection, id, Occasion::Resolved).unwrap();
        watcher.tick(at(313)).unwrap();
        let told = messages(&watcher);
        assert_eq!(threads(&watcher)["incident-1"], ["opened", "resolved"], "nobody has read the others yet");
        assert!(told[1].text().ends_with("Over: accepted by somebody.\nWas in hand: somebody\n"), "{}", told[1].text());
    }

    #[test]
    fn in_a_quiet_window_alerts_wait_for_its_end() {
        let window =
            "[[window]]\nname = \"w\"\nkind = \"quiet\"\nfrom = \"2026-11-20 12:04\"\nuntil = \"2026-11-20 12:06\"\n";
        let mut watcher = watcher(&format!("{window}{CHANNEL}"));
        sees(&mut watcher, &[22], 0);
        sees(&mut watcher, &[22, 23], 300);
        watcher.tick(at(345)).unwrap();
        assert_eq!(waiting(&watcher), [""; 0]);
        watcher.tick(at(360)).unwrap();
        assert_eq!(waiting(&watcher).len(), 1);
    }

    #[test]
    fn what_is_too_old_is_deleted() {
        let mut watcher = watcher("[retention]\nscans = \"1h\"\nstates = \"forever\"\n");
        sees(&mut watcher, &[22], 0);
        watcher.tick(at(1)).unwrap();
        let scans = |watcher: &Watcher| store::last_scans(watcher.watch.store().connection(), None, 9).unwrap().len();
        assert_eq!(scans(&watcher), 1);
        watcher.tick(at(7 * 3600)).unwrap();
        assert_eq!(scans(&watcher), 0);
        assert!(!watcher.watch.known().is_empty(), "what still holds is kept");
    }

    #[test]
    fn other_settings_are_in_force_at_once() {
        let mut watcher = watcher("");
        let window = "[[window]]\nname = \"w\"\nkind = \"maintenance\"\nhours = \"Mon-Sun\"\n";
        assert!(!watcher.around.is_in_maintenance("dmz", at(0)));
        watcher.reload(&settings(window), at(0)).unwrap();
        assert!(watcher.around.is_in_maintenance("dmz", at(0)));
    }
}
