//! Has groups scanned when their time has come, and what looked different scanned again, and hands on what came of it. Pure: the
//! time, and what scans say, come in as arguments; scans to be begun and lines for people go out.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::Duration;

use halfopen_results::record::{Record, State};
use halfopen_results::{Coverage, Scan};
use jiff::{SignedDuration, Timestamp};

use super::journal::{Level, Line};
use super::watching::Watching;
use crate::agenda::{self, Agenda};
use crate::settings::{Settings, values};
use crate::store;
use crate::watch::{Outcome, Purpose, Request};

/// All that is under way.
#[derive(Debug)]
pub struct Conductor<W> {
    watching: W,
    agenda: Agenda,
    names: BTreeMap<String, Duration>,
    underway: BTreeMap<u64, Underway>,
    /// What is to be probed again, and when.
    pending: Vec<Request>,
    late: BTreeSet<String>,
    next_id: u64,
    next_tick: Timestamp,
    seen: Timestamp,
    lines: Vec<Line>,
    tally: Tally,
}

#[derive(Debug)]
struct Underway {
    request: Request,
    began: Timestamp,
    /// How much of the time since then has only been the clock's.
    leapt: SignedDuration,
    scan: Scan,
}

/// What came of all scans so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Those that ended well.
    pub done: u64,
    /// Those that did not, or whose results could not be kept.
    pub failed: u64,
}

/// Suspicions wait for seconds, and regular scans may take hours: these go beside them.
const CONFIRMATIONS: usize = 4;
/// Whoever cannot say when to be asked again, because of the store, is asked after this.
const SOON: Duration = Duration::from_secs(10);
/// A confirmation is not put off for longer, whatever the clock says.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// The process that scans ends a scan at its deadline; when even that fails, it is that process that hangs.
const BEYOND_DEADLINE: Duration = Duration::from_secs(120);

impl<W: Watching> Conductor<W> {
    /// These settings hold. The seed is the jitter's.
    pub fn new(watching: W, settings: &Settings, seed: u64, now: Timestamp) -> Result<Conductor<W>, store::Error> {
        let mut conductor = Conductor {
            watching,
            agenda: Agenda::new(seed, now),
            names: BTreeMap::new(),
            underway: BTreeMap::new(),
            pending: Vec::new(),
            late: BTreeSet::new(),
            next_id: 1,
            next_tick: now,
            seen: now,
            lines: Vec::new(),
            tally: Tally::default(),
        };
        conductor.plan(settings, now)?;
        // Only what a whole scan was about may be asked by itself, and this process has made none yet.
        let undecided = conductor.watching.undecided();
        undecided.iter().for_each(|group| conductor.agenda.at_once(group, now));
        Ok(conductor)
    }

    /// Other settings hold from now on; if that cannot be, those before stay.
    pub fn reload(&mut self, settings: &Settings, now: Timestamp) -> Result<(), store::Error> {
        self.watching.reload(settings, now)?;
        self.plan(settings, now)?;
        self.pending.retain(|request| self.names.contains_key(&request.group));
        self.lines.extend(self.watching.lines(now));
        Ok(())
    }

    /// Every group is to be scanned now, whatever its schedule says.
    pub fn all(&mut self, now: Timestamp) {
        self.agenda.all(now);
    }

    /// Does what the time brings: the scans to be begun, each with a number of its own.
    pub fn step(&mut self, now: Timestamp) -> Vec<(u64, Request)> {
        self.look_at_the_clock(now);
        let due = self.agenda.due(now);
        let mut begin: Vec<_> = due.into_iter().map(|group| self.regular(group, now)).collect();
        begin.extend(self.confirmations(now));
        self.tell_skipped(now);
        self.tell_late(now);
        if now >= self.next_tick {
            self.tick(now);
        }
        begin.into_iter().map(|request| self.begin(request, now)).collect()
    }

    /// When it is to be asked again at the latest.
    pub fn next(&self) -> Timestamp {
        let pending = self.pending.iter().map(|request| request.not_before).min();
        let free = self.confirming() < CONFIRMATIONS;
        [self.agenda.next(), pending.filter(|_| free)].into_iter().flatten().fold(self.next_tick, Timestamp::min)
    }

    /// A scan says something.
    pub fn heard(&mut self, id: u64, record: Record) {
        // One that was given up is not listened to.
        if let Some(underway) = self.underway.get_mut(&id) {
            underway.scan.add(record);
        }
    }

    /// A scan is over.
    pub fn ended(&mut self, id: u64, failed: Option<String>, now: Timestamp) {
        let Some(Underway { request, began, scan, .. }) = self.underway.remove(&id) else { return };
        if request.purpose == Purpose::Regular {
            self.agenda.ended(&request.group);
        }
        if !self.names.contains_key(&request.group) {
            return self
                .say(Level::Info, format!("{}: not watched any more; its scan counts for nothing", request.group));
        }
        let failed = failed.or_else(|| scan.error.clone());
        let failed = failed.or_else(|| scan.header.is_none().then(|| "it said nothing".into()));
        self.tell_end(&request, &scan, failed.as_deref(), now.duration_since(began));
        let outcome = failed.map_or_else(|| Outcome::Scan(Box::new(scan)), Outcome::Failed);
        let good = matches!(outcome, Outcome::Scan(_));
        match self.watching.scanned(now, began, &request, &outcome) {
            Ok(more) => {
                self.count(good);
                // What was to be asked before is asked again, or is decided.
                self.pending.retain(|pending| pending.group != request.group);
                self.pending.extend(more);
            }
            Err(error) => {
                self.count(false);
                let group = &request.group;
                self.say(Level::Error, format!("{group}: its scan could not be kept and counts for nothing: {error}"));
            }
        }
        self.lines.extend(self.watching.lines(now));
        self.next_tick = self.next_tick.min(now);
    }

    /// Everything under way has failed.
    pub fn lost(&mut self, why: &str, now: Timestamp) {
        let ids: Vec<_> = self.underway.keys().copied().collect();
        ids.into_iter().for_each(|id| self.ended(id, Some(why.to_owned()), now));
    }

    /// A scan that should have been ended long ago: whoever ends scans does not do so any more.
    pub fn hung(&self, now: Timestamp) -> Option<String> {
        let beyond = |underway: &&Underway| {
            let deadline = self.names.get(&underway.request.group).copied().unwrap_or_default();
            let most =
                SignedDuration::try_from(deadline.saturating_add(BEYOND_DEADLINE)).unwrap_or(SignedDuration::MAX);
            now.duration_since(underway.began) - underway.leapt > most
        };
        let hung = self.underway.values().find(beyond)?;
        Some(format!("the scan of {} was not ended at its deadline: the scanner does not answer", hung.request.group))
    }

    /// Whether nothing is under way or waits.
    pub fn is_done(&self) -> bool {
        self.agenda.is_idle() && self.underway.is_empty() && self.pending.is_empty()
    }

    /// What came of all scans so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Nothing more comes: waits until those who are to be told have been.
    pub fn deliver(&mut self) -> Result<(), store::Error> {
        self.watching.deliver()
    }

    /// How many incidents are open.
    pub fn open_incidents(&self) -> Result<usize, store::Error> {
        self.watching.open_incidents()
    }

    /// What people are to know since it was last asked.
    pub fn lines(&mut self) -> Vec<Line> {
        mem::take(&mut self.lines)
    }

    /// How things are, in a line.
    pub fn status(&self) -> String {
        let scanning: Vec<_> = self.underway.values().map(|underway| underway.request.group.as_str()).collect();
        let next = self.names.keys().filter_map(|name| Some((self.agenda.next_of(name)?, name))).min();
        let groups = match self.names.len() {
            1 => "1 group".to_owned(),
            count => format!("{count} groups"),
        };
        match (scanning.as_slice(), next) {
            ([], Some((at, name))) => format!("{groups}; next: {name} at {at:.0}"),
            ([], None) => format!("{groups}; nothing is due"),
            (scanning, _) => format!("{groups}; scanning {}", scanning.join(", ")),
        }
    }

    fn plan(&mut self, settings: &Settings, now: Timestamp) -> Result<(), store::Error> {
        let begun = |name: &str| self.watching.last_begun(name);
        let groups =
            settings.groups.iter().map(|group| Ok((group.name.clone(), group.schedule.clone(), begun(&group.name)?)));
        let groups = groups.collect::<Result<Vec<_>, store::Error>>()?;
        self.names = settings.groups.iter().map(|group| (group.name.clone(), group.deadline)).collect();
        self.agenda.set(groups, settings.parallel, now);
        Ok(())
    }

    /// After a step back everything that waits for a time waits no longer than it would have; after one forward nothing has hung.
    fn look_at_the_clock(&mut self, now: Timestamp) {
        let was = mem::replace(&mut self.seen, now);
        if now < was {
            self.next_tick = now;
            self.underway.values_mut().for_each(|underway| underway.began = underway.began.min(now));
        }
        if let Some(leap) = agenda::leap(was, now) {
            self.underway.values_mut().for_each(|underway| underway.leapt += leap);
        }
        let latest = now + LONGEST_WAIT;
        self.pending.iter_mut().for_each(|request| request.not_before = request.not_before.min(latest));
    }

    fn regular(&self, group: String, now: Timestamp) -> Request {
        Request { id: 0, group, purpose: Purpose::Regular, targets: Coverage::default(), not_before: now }
    }

    fn confirming(&self) -> usize {
        self.underway.values().filter(|underway| underway.request.purpose == Purpose::Confirmation).count()
    }

    /// Those whose time has come, the longest waiting first.
    fn confirmations(&mut self, now: Timestamp) -> Vec<Request> {
        let room = CONFIRMATIONS.saturating_sub(self.confirming());
        self.pending.sort_by_key(|request| request.not_before);
        let come = self.pending.iter().take_while(|request| request.not_before <= now).count();
        self.pending.drain(..come.min(room)).collect()
    }

    fn begin(&mut self, request: Request, now: Timestamp) -> (u64, Request) {
        let id = self.next_id;
        self.next_id += 1;
        let request = if request.purpose == Purpose::Regular { Request { id, ..request } } else { request };
        self.underway.insert(
            id,
            Underway { request: request.clone(), began: now, leapt: SignedDuration::ZERO, scan: Scan::default() },
        );
        (id, request)
    }

    fn tick(&mut self, now: Timestamp) {
        self.next_tick = match self.watching.tick(now) {
            // Never at once again.
            Ok(next) => next.max(now + Duration::from_secs(1)),
            Err(error) => {
                self.say(Level::Error, error.to_string());
                now + SOON
            }
        };
        self.lines.extend(self.watching.lines(now));
    }

    fn tell_skipped(&mut self, now: Timestamp) {
        for skip in self.agenda.skipped() {
            self.say(Level::Warning, format!("{}: not scanned at {:.0}: {}", skip.group, skip.due, skip.why));
            if let Err(error) = self.watching.skipped(now, &skip) {
                self.say(Level::Error, error.to_string());
            }
        }
    }

    /// Once when it begins and once when it is over.
    fn tell_late(&mut self, now: Timestamp) {
        let late = self.agenda.late(now);
        let names: BTreeSet<_> = late.iter().map(|late| late.group.clone()).collect();
        if names == self.late {
            return;
        }
        for late in late.iter().filter(|late| !self.late.contains(&late.group)) {
            let text =
                format!("{}: its scan is late: due since {:.0}, and others have not ended", late.group, late.due);
            self.lines.push(Line { level: Level::Warning, text });
        }
        self.late = names;
    }

    fn tell_end(&mut self, request: &Request, scan: &Scan, failed: Option<&str>, took: SignedDuration) {
        let took = Duration::try_from(took).unwrap_or_default();
        let took = values::told(Duration::from_millis(took.as_millis() as u64 / 100 * 100));
        let Request { group, purpose, targets, .. } = request;
        let what = match purpose {
            Purpose::Regular => "scanned".to_owned(),
            Purpose::Confirmation => format!("asked {} again", plural(targets.targets(), "target")),
        };
        let open = plural(scan.count(State::Open).into(), "port");
        match failed {
            Some(why) => self.say(Level::Error, format!("{group}: the scan failed: {why}")),
            None => self.say(Level::Info, format!("{group}: {what} in {took}: {open} open")),
        }
    }

    fn count(&mut self, good: bool) {
        let Tally { done, failed } = &mut self.tally;
        *if good { done } else { failed } += 1;
    }

    fn say(&mut self, level: Level, text: String) {
        self.lines.push(Line { level, text });
    }
}

fn plural(count: u128, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::fs;

    use halfopen_results::record::Verdict;

    use super::*;
    use crate::agenda::Skip;

    /// Asks for what it is told to, and remembers what it heard.
    #[derive(Debug, Default)]
    struct Fake {
        heard: Vec<String>,
        wants: VecDeque<Option<Request>>,
        undecided: Vec<String>,
        full: bool,
        begun: Option<Timestamp>,
    }

    fn full() -> store::Error {
        store::Error::Missing { path: "full".into() }
    }

    impl Watching for Fake {
        fn last_begun(&self, _: &str) -> Result<Option<Timestamp>, store::Error> {
            Ok(self.begun)
        }

        fn undecided(&self) -> Vec<String> {
            self.undecided.clone()
        }

        fn reload(&mut self, settings: &Settings, _: Timestamp) -> Result<(), store::Error> {
            self.heard.push(format!("reload {}", settings.groups.len()));
            if self.full { Err(full()) } else { Ok(()) }
        }

        fn scanned(
            &mut self,
            now: Timestamp,
            began: Timestamp,
            request: &Request,
            outcome: &Outcome,
        ) -> Result<Option<Request>, store::Error> {
            let what = match outcome {
                Outcome::Scan(scan) => format!("{} open", scan.count(State::Open)),
                Outcome::Failed(why) => why.clone(),
            };
            let took = now.duration_since(began).as_secs();
            self.heard.push(format!("{} {} {took}s {what}", request.group, request.purpose.name()));
            if self.full { Err(full()) } else { Ok(self.wants.pop_front().unwrap_or_default()) }
        }

        fn skipped(&mut self, _: Timestamp, skip: &Skip) -> Result<(), store::Error> {
            self.heard.push(format!("{} skipped", skip.group));
            Ok(())
        }

        fn tick(&mut self, now: Timestamp) -> Result<Timestamp, store::Error> {
            Ok(now + Duration::from_secs(3600))
        }

        fn deliver(&mut self) -> Result<(), store::Error> {
            Ok(())
        }

        fn open_incidents(&self) -> Result<usize, store::Error> {
            Ok(0)
        }

        fn lines(&mut self, _: Timestamp) -> Vec<Line> {
            Vec::new()
        }
    }

    fn at(seconds: i64) -> Timestamp {
        "2026-11-20T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
    }

    fn settings(groups: &[(&str, &str)], parallel: usize) -> Settings {
        let groups = groups.iter().map(|(name, every)| {
            format!("[[group]]\nname = \"{name}\"\ntargets = \"192.0.2.1\"\nports = \"22\"\nevery = \"{every}\"\ndeadline = \"10m\"\n")
        });
        let text = format!("store = \"s\"\nparallel = {parallel}\n{}", groups.collect::<String>());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, text).unwrap();
        Settings::read(&path, &|_| Ok(())).unwrap()
    }

    fn conductor(groups: &[(&str, &str)], parallel: usize) -> Conductor<Fake> {
        Conductor::new(Fake::default(), &settings(groups, parallel), 1, at(0)).unwrap()
    }

    fn confirmation(group: &str, seconds: i64) -> Request {
        let targets = [("192.0.2.1".parse().unwrap(), 22)].into_iter().collect();
        Request { id: 77, group: group.into(), purpose: Purpose::Confirmation, targets, not_before: at(seconds) }
    }

    /// What it begins, as group and purpose.
    fn begun(conductor: &mut Conductor<Fake>, seconds: i64) -> Vec<(u64, String)> {
        let begun = conductor.step(at(seconds));
        begun.into_iter().map(|(id, request)| (id, format!("{} {}", request.group, request.purpose.name()))).collect()
    }

    fn found(conductor: &mut Conductor<Fake>, id: u64, seconds: i64) {
        conductor.heard(id, Record::Scan(Box::default()));
        conductor.heard(id, Record::Verdict(Verdict::bare("192.0.2.1".parse().unwrap(), 22, State::Open)));
        conductor.ended(id, None, at(seconds));
    }

    #[test]
    fn what_looked_different_is_asked_again_beside_a_long_scan() {
        let mut conductor = conductor(&[("a", "5m"), ("b", "5m")], 1);
        conductor.watching.wants = [Some(confirmation("a", 5)), Some(confirmation("a", 8))].into();
        assert_eq!(begun(&mut conductor, 0), [(1, "a regular".into())]);
        found(&mut conductor, 1, 3);
        assert_eq!(begun(&mut conductor, 3), [(2, "b regular".into())]);
        assert_eq!((conductor.next(), begun(&mut conductor, 4)), (at(5), vec![]));
        assert_eq!(begun(&mut conductor, 5), [(3, "a confirmation".into())]);
        found(&mut conductor, 3, 6);
        assert_eq!(begun(&mut conductor, 8), [(4, "a confirmation".into())]);
        conductor.ended(4, Some("no route".into()), at(9));
        assert!(!conductor.is_done());
        found(&mut conductor, 2, 10);
        assert!(conductor.is_done() && begun(&mut conductor, 10).is_empty());
        let expected =
            ["a regular 3s 1 open", "a confirmation 1s 1 open", "a confirmation 1s no route", "b regular 7s 1 open"];
        assert_eq!(conductor.watching.heard, expected);
        assert_eq!(conductor.tally(), Tally { done: 3, failed: 1 });
        let lines: Vec<_> = conductor.lines().into_iter().map(|line| line.text).collect();
        let expected = [
            "a: scanned in 3s: 1 port open",
            "a: asked 1 target again in 1s: 1 port open",
            "a: the scan failed: no route",
            "b: scanned in 7s: 1 port open",
        ];
        assert_eq!(lines, expected);
        // Again after their intervals.
        assert_eq!(begun(&mut conductor, 300), [(5, "a regular".into())]);
    }

    #[test]
    fn a_regular_scan_takes_the_place_of_what_was_to_be_asked() {
        let mut conductor = conductor(&[("a", "1m")], 1);
        conductor.watching.wants = [Some(confirmation("a", 70)), Some(confirmation("a", 65))].into();
        begun(&mut conductor, 0);
        found(&mut conductor, 1, 1);
        begun(&mut conductor, 60);
        found(&mut conductor, 2, 61);
        assert_eq!(begun(&mut conductor, 70), [(3, "a confirmation".into())]);
        assert!(begun(&mut conductor, 71).is_empty());
    }

    #[test]
    fn confirmations_do_not_crowd_the_network() {
        let groups = ["a", "b", "c", "d", "e", "f"];
        let mut conductor = conductor(&groups.map(|name| (name, "5m")), 6);
        conductor.watching.wants =
            groups.iter().zip((0..6).rev()).map(|(name, at)| Some(confirmation(name, at))).collect();
        assert_eq!(begun(&mut conductor, 0).len(), 6);
        (1..=6).for_each(|id| found(&mut conductor, id, 1));
        let asked: Vec<_> = begun(&mut conductor, 6).into_iter().map(|(_, what)| what).collect();
        // Those that have waited longest.
        assert_eq!(asked, ["f confirmation", "e confirmation", "d confirmation", "c confirmation"]);
        assert!(begun(&mut conductor, 7).is_empty());
        found(&mut conductor, 7, 8);
        assert_eq!(begun(&mut conductor, 8), [(11, "b confirmation".into())]);
    }

    #[test]
    fn a_scanner_that_dies_takes_its_scans_with_it_and_no_more() {
        let mut conductor = conductor(&[("a", "1m"), ("b", "1m")], 2);
        assert_eq!(begun(&mut conductor, 0).len(), 2);
        conductor.lost("killed by signal 9", at(2));
        assert_eq!(conductor.watching.heard, ["a regular 2s killed by signal 9", "b regular 2s killed by signal 9"]);
        // Too late.
        found(&mut conductor, 1, 3);
        assert_eq!((conductor.watching.heard.len(), begun(&mut conductor, 60).len()), (2, 2));
    }

    #[test]
    fn a_scan_that_says_nothing_or_cannot_be_kept_has_failed() {
        let mut conductor = conductor(&[("a", "1m")], 1);
        begun(&mut conductor, 0);
        conductor.ended(1, None, at(1));
        assert_eq!(conductor.watching.heard, ["a regular 1s it said nothing"]);
        conductor.watching.full = true;
        begun(&mut conductor, 60);
        found(&mut conductor, 2, 61);
        let last = conductor.lines().pop().unwrap();
        assert!(
            last.level == Level::Error
                && last.text.starts_with("a: its scan could not be kept and counts for nothing: "),
            "{last:?}"
        );
        assert_eq!((conductor.tally(), begun(&mut conductor, 120).len()), (Tally { done: 0, failed: 2 }, 1));
    }

    #[test]
    fn skipped_and_late_scans_are_told_once() {
        let mut conductor = conductor(&[("a", "10m"), ("b", "1m")], 1);
        begun(&mut conductor, 0);
        (1..=130).for_each(|second| assert!(begun(&mut conductor, second).is_empty()));
        assert_eq!(conductor.watching.heard, ["b skipped", "b skipped"]);
        found(&mut conductor, 1, 131);
        assert_eq!(begun(&mut conductor, 131).len(), 1);
        let told = conductor.lines().into_iter().filter(|line| line.text.contains("is late")).count();
        assert_eq!(told, 1);
    }

    #[test]
    fn other_settings_end_what_is_not_watched_any_more() {
        let mut conductor = conductor(&[("a", "1m"), ("b", "1m")], 2);
        conductor.watching.wants = [Some(confirmation("b", 50))].into();
        begun(&mut conductor, 0);
        found(&mut conductor, 2, 1);
        conductor.reload(&settings(&[("a", "1m"), ("c", "1m")], 2), at(2)).unwrap();
        assert_eq!(begun(&mut conductor, 2), [(3, "c regular".into())]);
        assert!(begun(&mut conductor, 50).is_empty());
        conductor.reload(&settings(&[("c", "1m")], 2), at(51)).unwrap();
        found(&mut conductor, 1, 52);
        assert_eq!(conductor.watching.heard, ["b regular 1s 1 open", "reload 2", "reload 1"]);
    }

    #[test]
    fn settings_that_cannot_be_taken_change_nothing() {
        let mut conductor = conductor(&[("a", "1m")], 1);
        conductor.watching.full = true;
        assert!(conductor.reload(&settings(&[("b", "1m")], 1), at(0)).is_err());
        assert_eq!(begun(&mut conductor, 0), [(1, "a regular".into())]);
    }

    #[test]
    fn a_clock_that_is_set_back_puts_nothing_off() {
        let mut conductor = conductor(&[("a", "1h")], 1);
        conductor.watching.wants = [Some(confirmation("a", 5))].into();
        begun(&mut conductor, 0);
        found(&mut conductor, 1, 1);
        let day = -86_400;
        assert!(begun(&mut conductor, day).is_empty());
        assert!(conductor.next() <= at(day + 300));
        assert_eq!(begun(&mut conductor, day + 300), [(2, "a confirmation".into())]);
    }

    #[test]
    fn who_does_not_end_a_scan_at_its_deadline_hangs() {
        let mut conductor = conductor(&[("a", "1h")], 1);
        begun(&mut conductor, 0);
        assert_eq!(conductor.hung(at(600)), None);
        assert!(conductor.hung(at(721)).unwrap().contains("does not answer"));
    }

    #[test]
    fn a_clock_that_is_set_forward_hangs_nobody() {
        let mut conductor = conductor(&[("a", "1h")], 1);
        begun(&mut conductor, 0);
        begun(&mut conductor, 86_400);
        assert_eq!(conductor.hung(at(86_400)), None);
        assert!(conductor.hung(at(86_400 + 721)).is_some());
    }

    #[test]
    fn who_died_in_doubt_looks_again_at_once() {
        let undecided = vec!["a".into()];
        let watching = Fake { begun: Some(at(-60)), undecided, ..Fake::default() };
        let mut conductor = Conductor::new(watching, &settings(&[("a", "1h"), ("b", "1h")], 2), 1, at(0)).unwrap();
        assert_eq!(begun(&mut conductor, 0), [(1, "a regular".into())]);
    }

    #[test]
    fn once_for_all() {
        let mut conductor = conductor(&[("a", "1h"), ("b", "1h")], 2);
        conductor.watching.begun = Some(at(-60));
        conductor.reload(&settings(&[("a", "1h"), ("b", "1h")], 2), at(0)).unwrap();
        conductor.all(at(0));
        let ids: Vec<_> = begun(&mut conductor, 0).into_iter().map(|(id, _)| id).collect();
        assert!(conductor.status().starts_with("2 groups; scanning a, b"));
        ids.into_iter().for_each(|id| found(&mut conductor, id, 5));
        assert!(conductor.is_done());
        assert!(conductor.status().starts_with("2 groups; next: a at 2026-11-20T13:"), "{}", conductor.status());
    }

    #[test]
    fn a_header_alone_is_a_scan() {
        let mut conductor = conductor(&[("a", "1h")], 1);
        begun(&mut conductor, 0);
        conductor.heard(1, Record::Scan(Box::default()));
        conductor.ended(1, None, at(1));
        assert_eq!(conductor.watching.heard, ["a regular 1s 0 open"]);
    }
}
