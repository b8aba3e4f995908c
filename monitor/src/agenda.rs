//! Which groups are to be scanned now: those whose time has come, a few at a time. A group is never scanned twice at once: a
//! time that comes while it waits or is scanned is skipped, and that is told with its reason. Whatever was missed, because the
//! machine slept or its clock was set, is made up for once. Pure: the time comes in as an argument.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::schedule::{Due, Schedule, seed_of};

/// All groups, and what each is at.
#[derive(Debug)]
pub struct Agenda {
    groups: BTreeMap<String, Entry>,
    /// Those whose time has come, in that order.
    queue: VecDeque<String>,
    parallel: usize,
    seed: u64,
    /// The last time that was heard of.
    seen: Timestamp,
    skipped: Vec<Skip>,
}

#[derive(Debug)]
struct Entry {
    schedule: Schedule,
    /// None where there is no next time.
    due: Option<Due>,
    /// The time that was kept last, as it was planned.
    kept: Option<Timestamp>,
    activity: Activity,
}

/// What a group is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Nothing.
    Idle,
    /// Its time has come, and others come first.
    Waiting {
        /// Since when.
        since: Timestamp,
    },
    /// It is scanned.
    Scanned {
        /// Since when.
        since: Timestamp,
    },
}

/// A time that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// Of which group.
    pub group: String,
    /// When it would have been.
    pub due: Timestamp,
    /// What it was at instead.
    pub why: Activity,
}

/// A group that has waited for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// Which.
    pub group: String,
    /// When it was due.
    pub due: Timestamp,
}

/// A group may wait as long as its period, within these bounds.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15 * 60));

impl Agenda {
    /// No groups yet. The seed is the jitter's.
    pub fn new(seed: u64, now: Timestamp) -> Agenda {
        Agenda { groups: BTreeMap::new(), queue: VecDeque::new(), parallel: 1, seed, seen: now, skipped: Vec::new() }
    }

    /// These groups from now on, each with when it was last begun, so many at a time. What a group is at stays; so does its
    /// next time if its schedule does.
    pub fn set(
        &mut self,
        groups: impl IntoIterator<Item = (String, Schedule, Option<Timestamp>)>,
        parallel: usize,
        now: Timestamp,
    ) {
        let mut before = std::mem::take(&mut self.groups);
        let entry = |(name, schedule, last): (String, Schedule, Option<Timestamp>)| {
            let old = before.remove(&name);
            let seed = seed_of(&name, self.seed);
            let entry = match old {
                Some(old) if old.schedule == schedule => old,
                Some(old) => Entry { due: schedule.first(last.or(old.kept), now, seed), schedule, ..old },
                None => Entry { due: schedule.first(last, now, seed), schedule, kept: last, activity: Activity::Idle },
            };
            (name, entry)
        };
        self.groups = groups.into_iter().map(entry).collect();
        self.queue.retain(|name| self.groups.contains_key(name));
        self.parallel = parallel.max(1);
    }

    /// The groups to be scanned from now on.
    pub fn due(&mut self, now: Timestamp) -> Vec<String> {
        self.look_at_the_clock(now);
        let mut come: Vec<_> =
            self.groups.iter().filter_map(|(name, entry)| Some((entry.due?, name.clone()))).collect();
        come.retain(|(due, _)| due.at <= now);
        come.sort_unstable();
        come.into_iter().for_each(|(due, name)| self.comes(&name, due, now));
        self.begin(now)
    }

    /// Every group is due, whatever its schedule says.
    pub fn all(&mut self, now: Timestamp) {
        let names: Vec<_> = self.groups.keys().cloned().collect();
        names.iter().for_each(|name| self.at_once(name, now));
    }

    /// A group is due, whatever its schedule says; one that waits already goes on waiting.
    pub fn at_once(&mut self, name: &str, now: Timestamp) {
        if !matches!(self.activity(name), Activity::Waiting { .. }) {
            self.comes(name, Due { at: now, planned: now }, now);
        }
    }

    /// The scan of a group is over, however it ended.
    pub fn ended(&mut self, group: &str) {
        if let Some(entry) = self.groups.get_mut(group) {
            entry.activity = Activity::Idle;
        }
    }

    /// When it is to be asked again at the latest.
    pub fn next(&self) -> Option<Timestamp> {
        let free = self.scanned() < self.parallel && !self.queue.is_empty();
        if free {
            return Some(self.seen);
        }
        self.groups.values().filter_map(|entry| Some(entry.due?.at)).min()
    }

    /// When a group is due next.
    pub fn next_of(&self, group: &str) -> Option<Timestamp> {
        self.groups.get(group)?.due.map(|due| due.at)
    }

    /// What a group is at.
    pub fn activity(&self, group: &str) -> Activity {
        self.groups.get(group).map_or(Activity::Idle, |entry| entry.activity)
    }

    /// Whether nothing waits or is scanned.
    pub fn is_idle(&self) -> bool {
        self.groups.values().all(|entry| entry.activity == Activity::Idle)
    }

    /// The times that were not kept since it was last asked.
    pub fn skipped(&mut self) -> Vec<Skip> {
        std::mem::take(&mut self.skipped)
    }

    /// The groups that wait for longer than they should.
    pub fn late(&self, now: Timestamp) -> Vec<Late> {
        let late = |(name, entry): (&String, &Entry)| match entry.activity {
            Activity::Waiting { since } if now.duration_since(since) > entry.patience(now) => {
                Some(Late { group: name.clone(), due: since })
            }
            _ => None,
        };
        self.groups.iter().filter_map(late).collect()
    }

    /// A clock that was set back would have everything wait for what it has shown before.
    fn look_at_the_clock(&mut self, now: Timestamp) {
        let was = std::mem::replace(&mut self.seen, now);
        if let Some(leap) = leap(was, now) {
            self.groups.values_mut().for_each(|entry| entry.activity = entry.activity.waiting_later(leap));
        }
        if now >= was {
            return;
        }
        for (name, entry) in &mut self.groups {
            let seed = seed_of(name, self.seed);
            let set_back = |due| entry.schedule.set_back(due, entry.kept, was, now, seed);
            entry.due = entry.due.and_then(set_back);
            entry.activity = entry.activity.no_later_than(now);
        }
    }

    /// The time of a group has come.
    fn comes(&mut self, name: &str, due: Due, now: Timestamp) {
        let seed = seed_of(name, self.seed);
        let Some(entry) = self.groups.get_mut(name) else { return };
        entry.due = entry.schedule.after(due, now, seed);
        match entry.activity {
            Activity::Idle => {
                entry.activity = Activity::Waiting { since: due.at.min(now) };
                entry.kept = Some(due.planned);
                self.queue.push_back(name.to_owned());
            }
            why => self.skipped.push(Skip { group: name.to_owned(), due: due.at, why }),
        }
    }

    fn begin(&mut self, now: Timestamp) -> Vec<String> {
        let mut begun = Vec::new();
        while self.scanned() < self.parallel {
            let Some(name) = self.queue.pop_front() else { break };
            let seed = seed_of(&name, self.seed);
            if let Some(entry) = self.groups.get_mut(&name) {
                entry.begin(now, seed);
                begun.push(name);
            }
        }
        begun
    }

    fn scanned(&self) -> usize {
        self.groups.values().filter(|entry| matches!(entry.activity, Activity::Scanned { .. })).count()
    }
}

/// Whoever is at work looks at the clock more often than that: if more time has passed, it was set, or the machine slept.
const LONGEST_LOOK: SignedDuration = SignedDuration::from_secs(60);

/// By how much the clock was set forward, as far as can be told.
pub(crate) fn leap(was: Timestamp, now: Timestamp) -> Option<SignedDuration> {
    Some(now.duration_since(was)).filter(|passed| *passed > LONGEST_LOOK)
}

impl Entry {
    fn begin(&mut self, now: Timestamp, seed: u64) {
        let waited = matches!(self.activity, Activity::Waiting { since } if since < now);
        self.activity = Activity::Scanned { since: now };
        if waited {
            // An interval counts from when it really began; a cron line keeps to its times.
            let began = Due { at: now, planned: now };
            self.due = self.schedule.after(began, now, seed);
        }
    }

    fn patience(&self, now: Timestamp) -> SignedDuration {
        let (least, most) = PATIENCE;
        SignedDuration::try_from(self.schedule.period(now).clamp(least, most)).unwrap_or(SignedDuration::MAX)
    }
}

impl Activity {
    /// Nobody has waited while the clock leapt.
    fn waiting_later(self, leap: SignedDuration) -> Activity {
        match self {
            Activity::Waiting { since } => Activity::Waiting { since: since + leap },
            other => other,
        }
    }

    /// Nothing has begun in the future.
    fn no_later_than(self, now: Timestamp) -> Activity {
        match self {
            Activity::Idle => Activity::Idle,
            Activity::Waiting { since } => Activity::Waiting { since: since.min(now) },
            Activity::Scanned { since } => Activity::Scanned { since: since.min(now) },
        }
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Activity::Idle => f.write_str("nothing"),
            Activity::Waiting { since } => write!(f, "it waits for its turn since {since:.0}"),
            Activity::Scanned { since } => write!(f, "its scan since {since:.0} has not ended"),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::schedule::Times;

    const START: &str = "2026-11-20T12:00:00Z";

    fn at(seconds: i64) -> Timestamp {
        START.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
    }

    fn every(name: &str, seconds: u64) -> (String, Schedule, Option<Timestamp>) {
        (name.into(), Schedule::every(Duration::from_secs(seconds)), None)
    }

    fn cron(text: &str) -> (String, Schedule, Option<Timestamp>) {
        let times = Times::new(text, TimeZone::UTC, at(0)).unwrap();
        ("cron".into(), Schedule::cron(times), None)
    }

    fn agenda(groups: impl IntoIterator<Item = (String, Schedule, Option<Timestamp>)>, parallel: usize) -> Agenda {
        let mut agenda = Agenda::new(7, at(0));
        agenda.set(groups, parallel, at(0));
        agenda
    }

    #[test]
    fn one_at_a_time_in_the_order_in_which_they_came() {
        let mut agenda = agenda([every("a", 60), every("b", 60), every("c", 600)], 1);
        assert_eq!(agenda.due(at(0)), ["a"]);
        assert_eq!(agenda.due(at(1)), [""; 0]);
        agenda.ended("a");
        assert_eq!((agenda.next(), agenda.due(at(5))), (Some(at(1)), vec!["b".into()]));
        agenda.ended("b");
        assert_eq!(agenda.due(at(6)), ["c"]);
        agenda.ended("c");
        // From its start, not from when it should have been.
        assert_eq!(
            (agenda.next_of("a"), agenda.next_of("b"), agenda.next_of("c")),
            (Some(at(60)), Some(at(65)), Some(at(606)))
        );
        assert!(agenda.skipped().is_empty() && agenda.is_idle());
    }

    #[test]
    fn several_at_a_time() {
        let mut agenda = agenda([every("a", 60), every("b", 60), every("c", 60)], 2);
        assert_eq!(agenda.due(at(0)), ["a", "b"]);
        agenda.ended("b");
        assert_eq!(agenda.due(at(1)), ["c"]);
    }

    #[test]
    fn a_scan_that_takes_too_long_is_not_joined_by_another() {
        let mut agenda = agenda([every("a", 60)], 2);
        assert_eq!(agenda.due(at(0)), ["a"]);
        for second in 1..=150 {
            assert_eq!(agenda.due(at(second)), [""; 0]);
        }
        let skip = |seconds| Skip { group: "a".into(), due: at(seconds), why: Activity::Scanned { since: at(0) } };
        assert_eq!(agenda.skipped(), [skip(60), skip(120)]);
        agenda.ended("a");
        assert_eq!((agenda.due(at(179)).len(), agenda.due(at(180)).len()), (0, 1));
        assert_eq!(skip(60).why.to_string(), "its scan since 2026-11-20T12:00:00Z has not ended");
    }

    #[test]
    fn who_waits_too_long_is_late() {
        let mut agenda = agenda([every("a", 3600), every("b", 120)], 1);
        assert_eq!(agenda.due(at(0)), ["a"]);
        for second in 1..=120 {
            agenda.due(at(second));
            assert_eq!(agenda.late(at(second)), [], "{second}");
        }
        assert_eq!(agenda.late(at(121)), [Late { group: "b".into(), due: at(0) }]);
        assert_eq!(agenda.skipped()[0].why, Activity::Waiting { since: at(0) });
        agenda.ended("a");
        assert_eq!((agenda.due(at(122)), agenda.late(at(122))), (vec!["b".into()], vec![]));
    }

    #[test]
    fn what_was_slept_through_is_made_up_for_once() {
        let mut agenda = agenda([every("a", 60), cron("* * * * *")], 2);
        agenda.due(at(0));
        agenda.ended("a");
        assert_eq!(agenda.due(at(60)), ["a", "cron"]);
        agenda.ended("a");
        agenda.ended("cron");
        let night = 8 * 3600 + 17;
        assert_eq!(agenda.due(at(night)), ["a", "cron"]);
        agenda.ended("a");
        agenda.ended("cron");
        assert_eq!(agenda.due(at(night + 1)), [""; 0]);
        assert_eq!((agenda.next_of("a"), agenda.next_of("cron")), (Some(at(night + 60)), Some(at(8 * 3600 + 60))));
        assert!(agenda.skipped().is_empty());
    }

    /// Every second for an hour by the clock's steps; how often a group was begun.
    fn begun(agenda: &mut Agenda, from: i64, seconds: i64) -> usize {
        let each = |second| {
            let due = agenda.due(at(from + second));
            due.iter().for_each(|name| agenda.ended(name));
            due.len()
        };
        (0..seconds).map(each).sum()
    }

    #[test]
    fn steps_of_the_clock_neither_stop_nor_storm_it() {
        for step in [-86_400 * 365, -3600, -61, -1, 1, 61, 3600, 86_400 * 365] {
            for group in [every("a", 60), cron("* * * * *")] {
                let mut agenda = agenda([group], 1);
                let before = begun(&mut agenda, 0, 600);
                let after = begun(&mut agenda, 600 + step, 3600);
                assert!((9..=11).contains(&before), "{step}: {before}");
                assert!((59..=62).contains(&after), "{step}: {after}");
            }
        }
    }

    #[test]
    fn nobody_is_late_because_the_clock_was_set_forward() {
        let mut agenda = agenda([every("a", 3600), every("b", 120)], 1);
        agenda.due(at(0));
        for second in 7200..7320 {
            agenda.due(at(second));
            assert_eq!(agenda.late(at(second)), [], "{second}");
        }
        agenda.due(at(7321));
        assert_eq!(agenda.late(at(7321)).len(), 1);
    }

    #[test]
    fn what_is_to_be_at_once_waits_once() {
        let mut agenda = agenda([("a".into(), Schedule::every(Duration::from_secs(60)), Some(at(-20)))], 1);
        assert_eq!(agenda.due(at(0)), [""; 0]);
        agenda.at_once("a", at(0));
        agenda.all(at(0));
        assert_eq!((agenda.due(at(0)), agenda.skipped()), (vec!["a".into()], vec![]));
    }

    #[test]
    fn a_time_that_was_just_kept_is_not_kept_again() {
        let mut agenda = agenda([cron("0 13 * * *")], 1);
        assert_eq!(begun(&mut agenda, 3590, 20), 1);
        // Ten seconds back, before 13:00 again.
        assert_eq!(begun(&mut agenda, 3595, 7200), 0);
        assert_eq!(agenda.next_of("cron"), Some(at(3600 + 86_400)));
    }

    #[test]
    fn new_settings_keep_what_stays() {
        let mut agenda = agenda([every("a", 60), every("b", 60), every("c", 60)], 1);
        assert_eq!(agenda.due(at(0)), ["a"]);
        let slower = (String::from("b"), Schedule::every(Duration::from_secs(600)), None);
        agenda.set([every("a", 60), slower, every("d", 60)], 2, at(10));
        // b waits still, c is gone, d is new; a is being scanned.
        assert_eq!(agenda.due(at(10)), ["b"]);
        agenda.ended("c");
        agenda.ended("a");
        assert_eq!(agenda.due(at(11)), ["d"]);
        assert_eq!(
            (agenda.next_of("a"), agenda.next_of("b"), agenda.next_of("c")),
            (Some(at(60)), Some(at(610)), None)
        );
    }

    #[test]
    fn a_group_that_was_scanned_before_waits_for_its_time() {
        let known = |last| ("a".into(), Schedule::every(Duration::from_secs(60)), Some(at(last)));
        assert_eq!(agenda([known(-20)], 1).next_of("a"), Some(at(40)));
        assert_eq!(agenda([known(-2000)], 1).next_of("a"), Some(at(0)));
    }

    #[test]
    fn all_at_once_whatever_the_schedule_says() {
        let mut agenda = agenda([cron("0 0 1 1 *"), every("a", 60)], 2);
        agenda.all(at(0));
        let mut due = agenda.due(at(0));
        due.sort_unstable();
        assert_eq!(due, ["a", "cron"]);
    }
}
