//! The monitor as a state machine: a scan comes in, and all that follows from it is written in one transaction: states,
//! events, incidents, what is to be told, and what must be remembered. Time is an argument. Who scans, who is told and by
//! what means is for others (`Surroundings`).

mod compliance;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use halfopen_results::Coverage;
use halfopen_results::scan::Scan;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::Connection;

use crate::detect::{Detection, Memory};
use crate::docket::{Docket, Draft, Notice};
use crate::incident::{Severity, Trigger};
use crate::policy::Policy;
use crate::snapshot::Snapshot;
use crate::store::{self, Account, Error, Happening, Known, Store};
use compliance::Told;
pub use compliance::{Violations, violations};
use step::{Step, cause_of_silence, forget};

/// A scan that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Which.
    pub id: u64,
    /// Of which group.
    pub group: String,
    /// What for.
    pub purpose: Purpose,
    /// What to ask; nothing for a regular scan, which asks what its group is about.
    pub targets: Coverage,
    /// Not earlier than this.
    pub not_before: Timestamp,
}

/// What a scan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To see the whole group.
    Regular,
    /// To see again what seemed to have changed.
    Confirmation,
}

/// What came of a scan.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// What it says.
    Scan(Box<Scan>),
    /// Nothing: why.
    Failed(String),
}

/// What the monitor must know of a group.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Watched {
    /// How sure it must be.
    pub detection: Detection,
    /// Without a scan for that long, somebody is told.
    pub late_after: Option<Duration>,
}

/// What is around the monitor.
pub trait Surroundings: Send {
    /// These may be told, to whomever it concerns: in the transaction of what they follow from.
    fn announce(&mut self, connection: &Connection, notices: &[Notice], now: Timestamp) -> Result<(), Error>;

    /// Whether changes of that group are somebody's work at this time, and not to be told before that is over.
    fn is_in_maintenance(&self, group: &str, now: Timestamp) -> bool;
}

/// The monitor.
pub struct Watch {
    store: Store,
    groups: BTreeMap<String, Watched>,
    zone: TimeZone,
    surroundings: Box<dyn Surroundings>,
    known: Known,
    memories: BTreeMap<String, Memory>,
    coverages: BTreeMap<String, Coverage>,
    policy: Option<Policy>,
    judges: bool,
    told: Told,
    /// Groups that must be held against the policy again, though no scan brings it about,
    unjudged: BTreeSet<String>,
    /// and when an exception begins to end, or ends, so that all must.
    turns: Option<Timestamp>,
    /// For how long each group has not been scanned, as far as somebody has looked at the clock meanwhile,
    unscanned: BTreeMap<String, Duration>,
    /// and when that was last.
    looked: Option<Timestamp>,
    /// What the history has come to: its clock never goes back, whatever the machine's does. What is told and asked again goes by
    /// the machine's, as do those who wait for it.
    last: Timestamp,
    requests: u64,
    /// Settings may have changed while nobody watched.
    is_new: bool,
}

/// Whoever is at work looks at the clock more often. If more time has passed, the clock was set or the machine slept: no scan
/// could have been made in that time.
const LONGEST_LOOK: Duration = Duration::from_secs(60);

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("store", &self.store).field("groups", &self.groups).finish_non_exhaustive()
    }
}

impl Purpose {
    /// `regular`, `confirmation`.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Regular => "regular",
            Purpose::Confirmation => "confirmation",
        }
    }
}

impl Watch {
    /// Goes on where the database says that it was left.
    pub fn open(
        store: Store,
        groups: BTreeMap<String, Watched>,
        zone: TimeZone,
        surroundings: Box<dyn Surroundings>,
    ) -> Result<Watch, Error> {
        let (known, memories, coverages, told) = Default::default();
        let (last, requests, unjudged) = (store::last_time(store.connection())?, 0, groups.keys().cloned().collect());
        let (policy, turns) = (None, None);
        let mut watch = Watch {
            store,
            groups,
            zone,
            surroundings,
            known,
            memories,
            coverages,
            policy,
            judges: true,
            told,
            unjudged,
            turns,
            unscanned: BTreeMap::new(),
            looked: None,
            last,
            requests,
            is_new: true,
        };
        watch.recall()?;
        Ok(watch)
    }

    /// From now on this is expected. What that makes of what is known is told by the next `tick`.
    pub fn expect(&mut self, policy: Option<Policy>) {
        (self.policy, self.judges) = (policy, true);
        self.unjudged = self.groups.keys().cloned().collect();
    }

    /// There is a policy, and nobody can read it yet: until then what was told of it stands.
    pub fn await_policy(&mut self) {
        (self.policy, self.judges) = (None, false);
    }

    /// What is expected.
    pub fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    /// What each group's last complete scan was about.
    pub fn coverages(&self) -> &BTreeMap<String, Coverage> {
        &self.coverages
    }

    /// From now on these groups are watched. What is not watched any more is unknown from now on.
    pub fn reload(&mut self, groups: BTreeMap<String, Watched>, zone: TimeZone, now: Timestamp) -> Result<(), Error> {
        self.unwatch_all_but(&groups, now)?;
        self.unjudged = groups.keys().cloned().collect();
        (self.groups, self.zone) = (groups, zone);
        Ok(())
    }

    /// The database, to read by.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The database, for what else is to be written.
    pub fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// The database, when nothing is watched any more.
    #[cfg(test)]
    pub(crate) fn into_store(self) -> Store {
        self.store
    }

    /// What is known now.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// Groups in which something looked different, and it is not sure yet.
    pub fn undecided(&self) -> Vec<String> {
        let is_undecided = |(name, watched): &(&String, &Watched)| {
            self.memories.get(*name).is_some_and(|memory| memory.is_undecided(&watched.detection))
        };
        self.groups.iter().filter(is_undecided).map(|(name, _)| name.clone()).collect()
    }

    /// A request for a regular scan.
    pub fn regular(&mut self, group: &str, now: Timestamp) -> Request {
        let (group, targets) = (group.to_owned(), Coverage::default());
        Request { id: self.number(), group, purpose: Purpose::Regular, targets, not_before: now }
    }

    /// A scan is over: commits all that follows from it, and says what must be asked again, to be sure.
    pub fn scanned(
        &mut self,
        now: Timestamp,
        started: Timestamp,
        request: &Request,
        outcome: &Outcome,
    ) -> Result<Option<Request>, Error> {
        if !self.groups.contains_key(&request.group) {
            return Ok(None);
        }
        let done = match outcome {
            Outcome::Scan(scan) => self.saw(now, started, request, scan),
            Outcome::Failed(error) => self.failed(now, started, request, error).map(|()| None),
        };
        self.or_recall(done)
    }

    /// Whatever time alone brings: groups that are not being scanned, maintenance that is over, words that people left.
    pub fn tick(&mut self, now: Timestamp) -> Result<(), Error> {
        let done = self.pass_on(now);
        self.or_recall(done)?;
        if std::mem::take(&mut self.is_new) {
            let groups = self.groups.clone();
            self.unwatch_all_but(&groups, now)?;
        }
        self.turn(now);
        self.look_at_the_clock(now);
        for group in self.groups.keys().cloned().collect::<Vec<_>>() {
            let done = self.pass_time(&group, now);
            self.or_recall(done)?;
        }
        Ok(())
    }

    fn saw(
        &mut self,
        wall: Timestamp,
        started: Timestamp,
        request: &Request,
        scan: &Scan,
    ) -> Result<Option<Request>, Error> {
        let (now, snapshot) = (self.later(wall), Snapshot::of(scan));
        let (watched, transaction, number) =
            (&self.groups[&request.group], self.store.transaction()?, self.requests + 1);
        store::add_scan(&transaction, &account(request, started, now, &snapshot), scan.plan())?;
        let mut step = Step {
            group: &request.group,
            settings: &watched.detection,
            zone: &self.zone,
            is_deferred: self.surroundings.is_in_maintenance(&request.group, wall),
            known: &mut self.known,
            memory: self.memories.entry(request.group.clone()).or_default(),
            docket: Docket::new(&transaction, now),
            connection: &transaction,
            now,
            policy: self.policy.as_ref(),
            told: &mut self.told,
            fresh: BTreeMap::new(),
            is_different: false,
        };
        match request.purpose {
            Purpose::Regular => {
                step.regular(&snapshot)?;
                if snapshot.complete {
                    step.cover(&mut self.coverages, &snapshot.asked)?;
                }
            }
            Purpose::Confirmation => step.memory.confirmation(step.known, &snapshot, now),
        }
        let covered = self.coverages.get(&request.group).cloned().unwrap_or_default();
        let questions =
            step.memory.is_undecided(step.settings).then(|| step.memory.questions(step.known, &covered, step.settings));
        if questions.is_none() {
            step.conclude(&snapshot, &covered)?;
        }
        step.compare_with_before()?;
        if questions.is_none() && self.judges {
            step.comply(&self.coverages)?;
        }
        step.memory.has_baseline |= snapshot.complete;
        store::remember(&transaction, &memory_name(&request.group), step.memory)?;
        if step.is_deferred {
            self.unjudged.insert(request.group.clone());
        }
        let notices = step.docket.notices();
        self.surroundings.announce(&transaction, &notices, wall)?;
        transaction.commit()?;
        if snapshot.complete && request.purpose == Purpose::Regular {
            self.unscanned.remove(&request.group);
        }
        let not_before = wall + watched.detection.confirm_every;
        Ok(questions.map(|targets| {
            self.requests = number;
            let (group, purpose) = (request.group.clone(), Purpose::Confirmation);
            Request { id: number, group, purpose, targets, not_before }
        }))
    }

    fn failed(&mut self, wall: Timestamp, started: Timestamp, request: &Request, error: &str) -> Result<(), Error> {
        let (now, group) = (self.later(wall), &request.group);
        let (watched, transaction) = (&self.groups[group], self.store.transaction()?);
        let account = Account {
            outcome: "failed".into(),
            error: Some(error.to_owned()),
            ..account(request, started, now, &Snapshot::of(&Scan::default()))
        };
        store::add_scan(&transaction, &account, None)?;
        let what = Happening::ScanFailed { error: error.to_owned() };
        store::append(&transaction, now, Some(group), &what)?;
        let memory = self.memories.entry(group.clone()).or_default();
        memory.failures += 1;
        let since = *memory.failing_since.get_or_insert(started);
        let mut docket = Docket::new(&transaction, now);
        if memory.failures >= watched.detection.fail_after && docket.of_cause(&cause_of_silence(group))?.is_none() {
            let cause = format!("scan/{group}");
            let (trigger, severity) = if is_offline(error) {
                (Trigger::ScannerOffline, Severity::Critical)
            } else {
                (Trigger::ScanFailed, Severity::Warning)
            };
            docket.begin(Draft { group, trigger, cause, severity, since }.at(now).with("error", error))?;
        }
        store::remember(&transaction, &memory_name(group), memory)?;
        self.surroundings.announce(&transaction, &docket.notices(), wall)?;
        Ok(transaction.commit()?)
    }

    fn pass_time(&mut self, group: &str, wall: Timestamp) -> Result<(), Error> {
        let now = self.later(wall);
        let (watched, is_deferred) = (&self.groups[group], self.surroundings.is_in_maintenance(group, wall));
        let Some(memory) = self.memories.get_mut(group) else { return Ok(()) };
        let unscanned = self.unscanned.get(group).copied().unwrap_or_default();
        let is_late = watched.late_after.is_some_and(|late| unscanned >= late);
        let is_late = is_late && memory.last_success.is_some() && memory.failures == 0;
        let settles = !is_deferred && memory.has_deferred();
        let judges = self.judges && !is_deferred && self.unjudged.contains(group);
        if !is_late && !settles && !judges {
            return Ok(());
        }
        let transaction = self.store.transaction()?;
        let docket = Docket::new(&transaction, now);
        let (settings, zone, connection) = (&watched.detection, &self.zone, &*transaction);
        let (policy, told, known) = (self.policy.as_ref(), &mut self.told, &mut self.known);
        let fresh = BTreeMap::new();
        let mut step = Step {
            group,
            settings,
            zone,
            is_deferred,
            known,
            memory,
            docket,
            connection,
            now,
            policy,
            told,
            fresh,
            is_different: false,
        };
        if is_late {
            step.late()?;
        }
        if settles {
            step.settle_deferred()?;
        }
        if self.judges && (settles || judges) {
            step.comply(&self.coverages)?;
        }
        store::remember(&transaction, &memory_name(group), step.memory)?;
        self.surroundings.announce(&transaction, &step.docket.notices(), wall)?;
        transaction.commit()?;
        self.unjudged.retain(|name| name != group || !judges);
        Ok(())
    }

    /// A clock that was set says nothing of how long a group has not been scanned.
    fn look_at_the_clock(&mut self, wall: Timestamp) {
        let passed =
            self.looked.map_or(Duration::ZERO, |looked| wall.duration_since(looked).try_into().unwrap_or_default());
        self.looked = Some(wall);
        for group in self.groups.keys() {
            *self.unscanned.entry(group.clone()).or_default() += passed.min(LONGEST_LOOK);
        }
    }

    /// Exceptions end, and begin to end, without a scan.
    fn turn(&mut self, wall: Timestamp) {
        let now = self.later(wall);
        if self.turns.is_some_and(|turns| turns <= now) {
            self.unjudged.extend(self.groups.keys().cloned());
        }
        self.turns = self.policy.as_ref().and_then(|policy| policy.next_turn(now));
    }

    /// What people have said of incidents is told to whomever it concerns.
    fn pass_on(&mut self, now: Timestamp) -> Result<(), Error> {
        let transaction = self.store.transaction()?;
        let words = store::take_words(&transaction)?;
        let notices: Vec<_> = words.into_iter().map(|(incident, occasion)| Notice { incident, occasion }).collect();
        if !notices.is_empty() {
            self.surroundings.announce(&transaction, &notices, now)?;
        }
        Ok(transaction.commit()?)
    }

    /// Groups that there are not any more: those that were scanned, and those of which something was told.
    fn unwatch_all_but(&mut self, groups: &BTreeMap<String, Watched>, now: Timestamp) -> Result<(), Error> {
        let told = store::open_incidents(self.store.connection())?.into_iter().map(|incident| incident.group);
        let known: BTreeSet<String> = self.coverages.keys().cloned().chain(told).collect();
        for name in known.iter().filter(|name| !groups.contains_key(*name)) {
            let done = self.unwatch(name, now);
            self.or_recall(done)?;
        }
        Ok(())
    }

    /// Nothing is known any more of what only that group covered.
    fn unwatch(&mut self, group: &str, wall: Timestamp) -> Result<(), Error> {
        let now = self.later(wall);
        let transaction = self.store.transaction()?;
        let covered = self.coverages.remove(group).unwrap_or_default();
        forget(&transaction, &mut self.known, &covered, &self.coverages, now)?;
        let mut docket = Docket::new(&transaction, now);
        for incident in docket.about(group, &Trigger::ALL)? {
            docket.resolve(&incident.cause, "the group is not watched any more")?;
        }
        store::remember_coverage(&transaction, group, &Coverage::default())?;
        store::remember(&transaction, &memory_name(group), &Memory::default())?;
        self.memories.remove(group);
        self.surroundings.announce(&transaction, &docket.notices(), wall)?;
        Ok(transaction.commit()?)
    }

    /// What was not committed has not happened.
    fn or_recall<T>(&mut self, done: Result<T, Error>) -> Result<T, Error> {
        if done.is_err() {
            self.recall()?;
        }
        done
    }

    fn recall(&mut self) -> Result<(), Error> {
        let connection = self.store.connection();
        self.known = store::known(connection)?;
        let coverages = store::remembered_coverage(connection)?.into_iter();
        self.coverages = coverages.filter(|(_, coverage)| !coverage.is_empty()).collect();
        self.told = store::recall(connection, compliance::MEMORY)?.unwrap_or_default();
        self.memories.clear();
        for group in self.groups.keys() {
            let memory = store::recall(connection, &memory_name(group))?.unwrap_or_default();
            self.memories.insert(group.clone(), memory);
        }
        Ok(())
    }

    /// The time by the clock of the history.
    fn later(&mut self, now: Timestamp) -> Timestamp {
        self.last = self.last.max(now);
        self.last
    }

    fn number(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }
}

fn account(request: &Request, started: Timestamp, ended: Timestamp, snapshot: &Snapshot) -> Account {
    Account {
        group: request.group.clone(),
        purpose: request.purpose.name().to_owned(),
        started: started.min(ended),
        ended,
        outcome: if snapshot.complete { "complete" } else { "stopped" }.to_owned(),
        probes: snapshot.probes,
        hosts_up: snapshot.hosts.len() as u64,
        open_ports: snapshot.open(),
        error: None,
    }
}

/// Errors that say that this machine has no network.
fn is_offline(error: &str) -> bool {
    let error = error.to_lowercase();
    ["network is unreachable", "network is down", "no route", "no such device", "is down"]
        .iter()
        .any(|it| error.contains(it))
}

fn memory_name(group: &str) -> String {
    format!("group/{group}")
}

#[cfg(test)]
pub(crate) mod tests;
