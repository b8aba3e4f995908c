//! The service: what has clocks, threads and processes. Everything that decides is elsewhere, and gets the time as an argument.
//!
//! ```text
//!  signals ─────────────┐
//!  settings' file ──────┤
//!  clock ───────────────▼
//!                   conductor ── orders ──▶ guard ▶ scanner ─▶ halfopen scan
//!                       ▲ │                            │
//!                       │ └─▶ watching (store)         │
//!                       └────────── words ─────────────┘
//! ```
//!
//! The scanner (`scanner`) and what keeps it alive (`guard`) are processes of their own, because they keep the rights that
//! the monitor gives up; the pipes to them are `link`. systemd is told by `notify`, people by `journal`.

pub mod conductor;
#[cfg(test)]
mod crash_tests;
mod file;
pub mod guard;
pub mod journal;
mod link;
pub mod lock;
mod notify;
mod protocol;
pub mod scanner;
#[cfg(test)]
mod simulation_tests;
pub mod watching;

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::metrics::{Build, Metrics};
use crate::policy::system_resolver;
use crate::schedule;
use crate::settings::{Load, Settings, Sound};
use crate::store;
use conductor::{Conductor, Tally};
use file::Watched;
use journal::{Journal, Level, Line};
use protocol::Word;
use watching::Watching;

pub use link::Link;
pub use notify::Notifier;

/// What the service is told from outside.
#[derive(Debug)]
enum Event {
    /// The scanner says something.
    Word(Word),
    /// There is no scanner any more, and nobody to start one.
    ScannerGone,
    /// A signal.
    Signal(i32),
}

/// What it takes to run.
pub struct Parts<'a, W> {
    /// The settings in force.
    pub settings: Settings,
    /// How they are read again.
    pub load: Load<'a>,
    /// Who makes something of the scans.
    pub watching: W,
    /// The way to the scanner.
    pub link: Link,
    /// The way to systemd.
    pub notifier: Notifier,
    /// Scan every group once, and end.
    pub once: bool,
    /// What says its numbers.
    pub build: Build,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A signal asked for it.
    Signal(i32),
    /// Every group has been scanned.
    Done {
        /// What came of it.
        tally: Tally,
        /// How many incidents are open now.
        incidents: usize,
    },
}

/// Why it had to end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Signals, threads.
    #[error("cannot {what}: {source}")]
    System {
        /// What it could not do.
        what: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// The history cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The numbers cannot be had where they are wanted.
    #[error("{0}")]
    Metrics(String),
    /// The scanner, and what would start another one, are gone.
    #[error("the scanner is gone, and the rights to start another one were given up: start the service again")]
    ScannerGone,
    /// The scanner does not answer.
    #[error("{0}")]
    Hung(String),
}

/// So often a policy is tried again whose host names had no address.
const TRY_AGAIN: Duration = Duration::from_secs(60);
/// So often the clock and the settings' file are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Words that wait; a scanner that has more to say waits itself, and so do its scans.
const WAITING: usize = 1024;

/// Runs until it is told to end. There must be no other thread yet, where rights were given up for one thread alone.
pub fn run<W: Watching>(parts: Parts<'_, W>) -> Result<End, Error> {
    let (events, heard) = sync_channel(WAITING);
    let Parts { settings, load, watching, mut link, mut notifier, once, build } = parts;
    let journal = Journal::new(settings.zone.clone());
    let watched = files(&settings);
    let mut conductor = Conductor::new(watching, &settings, seed(&settings.store), Timestamp::now())?;
    obey(events.clone()).map_err(|source| Error::System { what: "watch for signals", source })?;
    link.listen(events).map_err(|source| Error::System { what: "listen to the scanner", source })?;
    if once {
        conductor.all(Timestamp::now());
    }
    notifier.ready();
    let looked = Instant::now();
    let metrics = if once { None } else { numbers(&settings, &build)? };
    let mut service = Service {
        settings,
        load,
        conductor,
        link,
        notifier,
        journal,
        watched,
        looked,
        tried: looked,
        once,
        metrics,
        build,
    };
    let end = service.attend(&heard);
    // Whoever waits to say something must not hold up the end.
    drop(heard);
    service.close();
    end
}

struct Service<'a, W> {
    settings: Settings,
    load: Load<'a>,
    conductor: Conductor<W>,
    link: Link,
    notifier: Notifier,
    journal: Journal,
    /// The settings, and the policy.
    watched: Vec<Watched>,
    looked: Instant,
    /// When the policy was last read.
    tried: Instant,
    once: bool,
    metrics: Option<Metrics>,
    build: Build,
}

impl<W: Watching> Service<'_, W> {
    fn attend(&mut self, heard: &Receiver<Event>) -> Result<End, Error> {
        loop {
            let now = Timestamp::now();
            self.step(now)?;
            if self.once && self.conductor.is_done() {
                self.conductor.deliver()?;
                let incidents = self.conductor.open_incidents()?;
                return Ok(End::Done { tally: self.conductor.tally(), incidents });
            }
            let wait = Duration::try_from(self.conductor.next().duration_since(now)).unwrap_or_default().min(LOOK);
            match heard.recv_timeout(wait) {
                Ok(event) => {
                    if let Some(end) = self.take(event)? {
                        return Ok(end);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Error::ScannerGone),
            }
        }
    }

    fn step(&mut self, now: Timestamp) -> Result<(), Error> {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            // Each is looked at: what they remember of the look before counts.
            let changed = self.watched.iter_mut().fold(false, |any, file| file.has_changed() | any);
            let lacks_policy = self.settings.policy.is_some() && self.settings.expected.is_none();
            match () {
                () if self.once => {}
                () if changed => self.reload("it has changed"),
                () if lacks_policy && self.tried.elapsed() >= TRY_AGAIN => self.reload("the policy is not in force"),
                () => {}
            }
            self.notifier.status(&self.conductor.status());
        }
        self.notifier.alive();
        for (id, request) in self.conductor.step(now) {
            if let Err(error) = self.link.scan(id, &request) {
                self.conductor.ended(id, Some(format!("the scanner takes no orders: {error}")), now);
            }
        }
        self.conductor.lines().iter().for_each(|Line { level, text }| self.journal.say(*level, text));
        self.conductor.hung(now).map_or(Ok(()), |why| Err(Error::Hung(why)))
    }

    fn take(&mut self, event: Event) -> Result<Option<End>, Error> {
        let now = Timestamp::now();
        match event {
            Event::Word(Word::Record { id, record }) => self.conductor.heard(id, *record),
            Event::Word(Word::End { id, failed }) => self.conductor.ended(id, failed, now),
            Event::Word(Word::Refused { why }) => {
                self.journal.say(Level::Error, &format!("the scanner keeps the settings before: {why}"));
            }
            Event::Word(Word::Restarted { why }) => {
                let text = format!("the scanner died ({why}); another one takes its place");
                self.journal.say(Level::Warning, &text);
                self.conductor.lost(&format!("the scanner died: {why}"), now);
            }
            Event::ScannerGone => return Err(Error::ScannerGone),
            Event::Signal(SIGHUP) => self.reload("SIGHUP"),
            Event::Signal(signal) => return Ok(Some(End::Signal(signal))),
        }
        Ok(None)
    }

    /// Reads the settings again; if they are not sound, those before stay.
    fn reload(&mut self, why: &str) {
        self.notifier.reloading();
        self.watched.iter_mut().for_each(Watched::read);
        self.tried = Instant::now();
        match self.change() {
            Ok(()) => {
                let policy = if self.settings.policy.is_some() { ", with its policy," } else { "" };
                let text = format!("{}{policy} was read again: {why}", self.settings.path.display());
                self.journal.say(Level::Info, &text);
            }
            Err(error) => {
                self.journal.say(Level::Error, &format!("{error}; the settings before stay in force"));
                self.keep_numbers();
            }
        }
        self.notifier.ready();
    }

    fn change(&mut self) -> Result<(), String> {
        let Sound { mut settings, warnings } = (self.load)().map_err(|error| error.to_string())?;
        settings.read_policy(&system_resolver).map_err(|error| error.to_string())?;
        if settings.store != self.settings.store {
            let (path, store) = (settings.path.display(), settings.store.display());
            return Err(format!("{path}: the store cannot become {store} while the service runs: start it again"));
        }
        let moves = settings.metrics != self.metrics.as_ref().map(Metrics::settings);
        let metrics = if moves { Some(self.other_numbers(&settings)?) } else { None };
        self.conductor.reload(&settings, Timestamp::now()).map_err(|error| error.to_string())?;
        self.metrics = metrics.unwrap_or(self.metrics.take());
        self.metrics.iter().for_each(|metrics| metrics.expect(settings.expected.clone()));
        self.link.reload().map_err(|error| format!("the scanner takes no orders: {error}"))?;
        self.journal.set_zone(settings.zone.clone());
        if settings.policy != self.settings.policy {
            self.watched = files(&settings);
        }
        self.settings = settings;
        warnings.iter().for_each(|warning| self.journal.say(Level::Warning, warning));
        Ok(())
    }

    /// At another place, or none; those before go on if it cannot be had.
    fn other_numbers(&mut self, settings: &Settings) -> Result<Option<Metrics>, String> {
        let before = self.metrics.as_ref().map(Metrics::settings);
        // One place cannot be had twice.
        if settings.metrics.map(|it| it.listen) == before.map(|it| it.listen) {
            self.metrics = None;
        }
        numbers(settings, &self.build).map_err(|error| error.to_string())
    }

    /// What was given up for settings that were not taken is taken back.
    fn keep_numbers(&mut self) {
        if self.metrics.is_none() && !self.once {
            match numbers(&self.settings, &self.build) {
                Ok(metrics) => self.metrics = metrics,
                Err(error) => self.journal.say(Level::Error, &error.to_string()),
            }
        }
    }

    fn close(mut self) {
        self.notifier.stopping();
        if !self.link.close() {
            self.journal.say(Level::Warning, "the scanner does not end; it is left to the system");
        }
    }
}

/// The numbers, if they are wanted.
fn numbers(settings: &Settings, build: &Build) -> Result<Option<Metrics>, Error> {
    let open = |wanted| Metrics::open(wanted, &settings.store, settings.expected.clone(), build.clone());
    settings.metrics.map(open).transpose().map_err(Error::Metrics)
}

/// The files that are read again when they change.
fn files(settings: &Settings) -> Vec<Watched> {
    [Some(&settings.path), settings.policy.as_ref()].into_iter().flatten().map(|path| Watched::new(path)).collect()
}

/// Signals as events, from now on.
fn obey(events: SyncSender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let pass_on = move || {
        // Until nobody listens any more.
        let _ = signals.forever().try_for_each(|signal| events.send(Event::Signal(signal)));
    };
    thread::Builder::new().name("signals".into()).spawn(pass_on).map(drop)
}

/// Of this machine and this store: the same after a restart, and another one elsewhere.
fn seed(store: &Path) -> u64 {
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    schedule::seed_of(&format!("{machine}{}", store.display()), 0)
}
