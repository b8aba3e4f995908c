//! Whoever makes something of scans, as the conductor sees it; and the real one: the monitor's state machine (`watch`) with the
//! windows of the settings around it. What it has to tell is put into lines for people here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;

use super::journal::{Level, Line};
use crate::agenda::Skip;
use crate::docket::Notice;
use crate::incident::Severity;
use crate::message::Occasion;
use crate::settings::{Group, Settings};
use crate::store::{self, Account, Error, Store};
use crate::watch::{Outcome, Purpose, Request, Surroundings, Watch, Watched};
use crate::windows::{self, Kind, Window};
use crate::wording;

/// Whoever makes something of scans. An error is the store's: nothing of that call counts.
pub trait Watching {
    /// When a group's last regular scan was begun.
    fn last_begun(&self, group: &str) -> Result<Option<Timestamp>, Error>;

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
}

/// Shared with the state machine, which asks for it in the middle of a transaction.
#[derive(Debug, Clone, Default)]
struct Around {
    windows: Arc<Mutex<Vec<Window>>>,
    told: Arc<Mutex<Vec<Notice>>>,
}

/// Late scans and reminders are not looked for more seldom.
const TICK: Duration = Duration::from_secs(30);

impl Watcher {
    /// Goes on where the store says that it was left.
    pub fn open(store: Store, settings: &Settings, now: Timestamp) -> Result<Watcher, Error> {
        let around = Around::default();
        around.set_windows(settings);
        let watch = Watch::open(store, watched(settings, now), settings.zone.clone(), Box::new(around.clone()))?;
        Ok(Watcher { watch, around })
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

    fn reload(&mut self, settings: &Settings, now: Timestamp) -> Result<(), Error> {
        let done = self.watch.reload(watched(settings, now), settings.zone.clone(), now);
        self.or_silent(done)?;
        self.around.set_windows(settings);
        Ok(())
    }

    fn scanned(
        &mut self,
        now: Timestamp,
        began: Timestamp,
        request: &Request,
        outcome: &Outcome,
    ) -> Result<Option<Request>, Error> {
        let done = self.watch.scanned(now, began, request, outcome);
        self.or_silent(done)
    }

    fn skipped(&mut self, now: Timestamp, skip: &Skip) -> Result<(), Error> {
        let transaction = self.watch.store_mut().transaction()?;
        store::add_scan(&transaction, &skipped(now, skip), None)?;
        Ok(transaction.commit()?)
    }

    fn tick(&mut self, now: Timestamp) -> Result<Timestamp, Error> {
        let done = self.watch.tick(now);
        self.or_silent(done)?;
        let change = windows::next_change(&locked(&self.around.windows), now);
        Ok(change.map_or(now + TICK, |change| change.min(now + TICK)))
    }

    fn open_incidents(&self) -> Result<usize, Error> {
        Ok(store::open_incidents(self.watch.store().connection())?.len())
    }

    fn lines(&mut self, now: Timestamp) -> Vec<Line> {
        let told = std::mem::take(&mut *locked(&self.around.told));
        told.iter().map(|notice| line(notice, now)).collect()
    }
}

impl Surroundings for Around {
    fn announce(&mut self, _: &Connection, notices: &[Notice], _: Timestamp) -> Result<(), Error> {
        locked(&self.told).extend_from_slice(notices);
        Ok(())
    }

    fn is_in_maintenance(&self, group: &str, now: Timestamp) -> bool {
        windows::open(&locked(&self.windows), Kind::Maintenance, group, now).is_some()
    }
}

impl Around {
    fn set_windows(&self, settings: &Settings) {
        locked(&self.windows).clone_from(&settings.windows);
    }
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

    #[test]
    fn other_settings_are_in_force_at_once() {
        let mut watcher = watcher("");
        let window = "[[window]]\nname = \"w\"\nkind = \"maintenance\"\nhours = \"Mon-Sun\"\n";
        assert!(!watcher.around.is_in_maintenance("dmz", at(0)));
        watcher.reload(&settings(window), at(0)).unwrap();
        assert!(watcher.around.is_in_maintenance("dmz", at(0)));
    }
}
