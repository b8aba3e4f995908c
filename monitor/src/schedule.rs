//! When a group is to be scanned again: so long after it was scanned last, or at the times of a cron line in a time zone; and
//! perhaps a little later than that, by a jitter that comes from a seed. What is done about it, and what happens when that
//! takes too long, is `agenda`'s.
//!
//! Where clocks are set forward, a cron time that is skipped comes as soon as there is time again (02:30 at 03:00), unless the
//! line has steps or stars in its hours and minutes: those go on by the new clock. Where clocks are set back, a time that
//! comes twice is kept the first time; steps and stars run through both hours. Intervals know nothing of clocks on walls.

use std::fmt;
use std::time::Duration;

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::settings::values;

/// Enough times of a cron line to know its longest gap: more than those of a week, at five minutes.
const ENOUGH: usize = 2500;
/// Leap days may be eight years apart.
const FAR: SignedDuration = SignedDuration::from_hours(24 * 366 * 9);

/// When it is time again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    rhythm: Rhythm,
    jitter: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rhythm {
    Every(Duration),
    Cron(Box<Times>),
}

/// The times of a cron line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    written: String,
    cron: Cron,
    zone: TimeZone,
}

/// A time at which something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// With its jitter.
    pub at: Timestamp,
    /// Without.
    pub planned: Timestamp,
}

impl Schedule {
    /// So long after the last start.
    pub fn every(interval: Duration) -> Schedule {
        Schedule { rhythm: Rhythm::Every(interval), jitter: Duration::ZERO }
    }

    /// At the times of a cron line.
    pub fn cron(times: Times) -> Schedule {
        Schedule { rhythm: Rhythm::Cron(Box::new(times)), jitter: Duration::ZERO }
    }

    /// Each time later by up to this much.
    pub fn jitter(self, jitter: Duration) -> Schedule {
        Schedule { jitter, ..self }
    }

    /// The first time since the program runs. What was missed meanwhile is due now, once; an interval that has never begun
    /// begins now, a cron line waits for its time.
    pub fn first(&self, last: Option<Timestamp>, now: Timestamp, seed: u64) -> Option<Due> {
        // A last start that is still to come was by a clock that was wrong.
        let last = last.map(|last| last.min(now));
        let planned = match (&self.rhythm, last) {
            (Rhythm::Every(_), None) => now,
            (_, last) => self.planned_after(last.unwrap_or(now))?,
        };
        Some(if planned <= now { Due { at: now, planned: now } } else { self.due(planned, seed) })
    }

    /// The time after one that began now.
    pub fn after(&self, due: Due, now: Timestamp, seed: u64) -> Option<Due> {
        // Without its jitter, which would otherwise add up.
        let late = now.duration_since(due.planned).min(due.at.duration_since(due.planned));
        let began = now.checked_sub(late).unwrap_or(now);
        let planned = self.planned_after(began)?;
        let next = self.due(planned, seed);
        Some(if next.at > now { next } else { Due { at: self.due(self.planned_after(now)?, seed).at, planned } })
    }

    /// The same after the clock was set back from `was`: as long to wait as before, or the next time by the new clock, but
    /// not again the one that was just kept.
    pub fn set_back(
        &self,
        due: Due,
        kept: Option<Timestamp>,
        was: Timestamp,
        now: Timestamp,
        seed: u64,
    ) -> Option<Due> {
        match &self.rhythm {
            Rhythm::Every(_) => {
                let back = was.duration_since(now);
                Some(Due { at: due.at.checked_sub(back).ok()?, planned: due.planned.checked_sub(back).ok()? })
            }
            Rhythm::Cron(times) => {
                let next = times.after(now)?;
                let next = if Some(next) == kept { times.after(next)? } else { next };
                Some(self.due(next, seed))
            }
        }
    }

    /// How long it is from one time to the next, roughly.
    pub fn period(&self, now: Timestamp) -> Duration {
        let between = |times: &Times| {
            let first = times.after(now)?;
            Duration::try_from(times.after(first)?.duration_since(first)).ok()
        };
        match &self.rhythm {
            Rhythm::Every(interval) => *interval,
            Rhythm::Cron(times) => between(times).unwrap_or(Duration::MAX),
        }
    }

    /// The longest time from one to the next, nights and weekends among it.
    pub fn longest_gap(&self, now: Timestamp) -> Duration {
        match &self.rhythm {
            Rhythm::Every(interval) => *interval,
            Rhythm::Cron(times) => times.longest_gap(now),
        }
    }

    fn planned_after(&self, at: Timestamp) -> Option<Timestamp> {
        match &self.rhythm {
            Rhythm::Every(interval) => at.checked_add(*interval).ok(),
            Rhythm::Cron(times) => times.after(at),
        }
    }

    fn due(&self, planned: Timestamp, seed: u64) -> Due {
        let most = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX);
        let millis = mixed(seed ^ planned.as_millisecond().cast_unsigned()).checked_rem(most).unwrap_or(0);
        Due { at: planned.checked_add(Duration::from_millis(millis)).unwrap_or(planned), planned }
    }
}

/// `every 5m`, `at */5 8-18 * * Mon-Fri`.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rhythm {
            Rhythm::Every(interval) => write!(f, "every {}", values::told(*interval)),
            Rhythm::Cron(times) => write!(f, "at {}", times.written),
        }
    }
}

impl Times {
    /// Those of a cron line of five fields, or six with seconds first.
    pub fn new(text: &str, zone: TimeZone, now: Timestamp) -> Result<Times, String> {
        let expected = |what: &str| {
            format!("{what}; expected minute, hour, day of month, month, day of week, such as \"*/5 8-18 * * Mon-Fri\"")
        };
        let cron: Cron = text.parse().map_err(|error: croner::errors::CronError| expected(&error.to_string()))?;
        let times = Times { written: text.to_owned(), cron, zone };
        match times.after(now) {
            Some(_) => Ok(times),
            None => Err(expected("there is no such time")),
        }
    }

    /// The first one after a moment.
    pub fn after(&self, at: Timestamp) -> Option<Timestamp> {
        let next = self.cron.find_next_occurrence(&at.to_zoned(self.zone.clone()), false);
        next.ok().map(|next| next.timestamp())
    }

    fn longest_gap(&self, now: Timestamp) -> Duration {
        let series = std::iter::successors(self.after(now), |&last| self.after(last));
        let series: Vec<_> = series.take(ENOUGH).take_while(|at| at.duration_since(now) < FAR).collect();
        let gap = |pair: &[Timestamp]| Duration::try_from(pair[1].duration_since(pair[0])).ok();
        series.windows(2).filter_map(gap).max().unwrap_or(Duration::MAX)
    }

    /// The last one that is not after a moment.
    pub fn until(&self, at: Timestamp) -> Option<Timestamp> {
        let last = self.cron.find_previous_occurrence(&at.to_zoned(self.zone.clone()), true);
        last.ok().map(|last| last.timestamp())
    }
}

/// A seed for each name, from one for all.
pub fn seed_of(name: &str, seed: u64) -> u64 {
    name.bytes().fold(mixed(seed), |seed, byte| mixed(seed ^ u64::from(byte)))
}

/// SplitMix64's finaliser (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Europe/Berlin, without needing the system's data.
    const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
    const NEW_YORK: &str = "EST5EDT,M3.2.0,M11.1.0";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn times(text: &str, zone: &str) -> Times {
        Times::new(text, TimeZone::posix(zone).unwrap(), at("2026-01-01T00:00:00Z")).unwrap()
    }

    /// So many times after a moment.
    fn series(times: &Times, from: &str, count: usize) -> Vec<String> {
        std::iter::successors(times.after(at(from)), |&last| times.after(last))
            .take(count)
            .map(|at| at.to_string())
            .collect()
    }

    #[test]
    fn hours_that_are_skipped() {
        // 2026-03-29, 02:00 becomes 03:00 (01:00 UTC).
        let fixed = times("30 2 * * *", BERLIN);
        assert_eq!(
            series(&fixed, "2026-03-27T12:00:00Z", 3),
            ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        let steps = times("*/30 * * * *", BERLIN);
        assert_eq!(
            series(&steps, "2026-03-29T00:10:00Z", 3),
            ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]
        );
        // 2026-03-08, 02:00 becomes 03:00 (07:00 UTC).
        let fixed = times("15 2 * * *", NEW_YORK);
        assert_eq!(series(&fixed, "2026-03-08T00:00:00Z", 2), ["2026-03-08T07:00:00Z", "2026-03-09T06:15:00Z"]);
    }

    #[test]
    fn hours_that_come_twice() {
        // 2026-10-25, 03:00 becomes 02:00 (01:00 UTC).
        let fixed = times("30 2 * * *", BERLIN);
        assert_eq!(series(&fixed, "2026-10-24T12:00:00Z", 2), ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        let steps = times("*/30 * * * *", BERLIN);
        let expected = [
            "2026-10-25T00:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-25T02:00:00Z",
        ];
        assert_eq!(series(&steps, "2026-10-24T23:59:00Z", 5), expected);
    }

    #[test]
    fn working_hours_and_odd_days() {
        let office = times("*/30 8-9 * * Mon-Fri", "UTC0");
        // Friday to Monday.
        let expected = ["2026-11-20T09:00:00Z", "2026-11-20T09:30:00Z", "2026-11-23T08:00:00Z"];
        assert_eq!(series(&office, "2026-11-20T08:30:00Z", 3), expected);
        assert_eq!(series(&times("0 0 29 2 *", "UTC0"), "2026-01-01T00:00:00Z", 1), ["2028-02-29T00:00:00Z"]);
        assert_eq!(times("0 8 * * *", "UTC0").until(at("2026-11-20T08:00:00Z")), Some(at("2026-11-20T08:00:00Z")));
        assert_eq!(times("0 8 * * *", "UTC0").until(at("2026-11-20T07:00:00Z")), Some(at("2026-11-19T08:00:00Z")));
    }

    #[test]
    fn the_longest_gap_is_the_weekend() {
        let office = Schedule::cron(times("*/5 8-17 * * Mon-Fri", "UTC0"));
        let now = at("2026-11-18T09:00:00Z");
        assert_eq!(office.longest_gap(now), Duration::from_secs((2 * 24 + 14) * 3600 + 300));
        assert_eq!(office.period(now), Duration::from_secs(300));
        let seldom = Schedule::cron(times("0 0 29 2 *", "UTC0"));
        assert_eq!(seldom.longest_gap(now), Duration::from_secs(1461 * 86_400));
    }

    #[test]
    fn what_is_no_cron_line() {
        for text in ["", "* * * *", "60 * * * *", "soon", "0 0 30 2 *"] {
            let wrong = Times::new(text, TimeZone::UTC, at("2026-01-01T00:00:00Z")).unwrap_err();
            assert!(wrong.ends_with("such as \"*/5 8-18 * * Mon-Fri\""), "{text}: {wrong}");
        }
    }

    #[test]
    fn intervals_go_on_from_the_last_start_and_catch_up_once() {
        let hourly = Schedule::every(Duration::from_secs(3600));
        let now = at("2026-11-20T12:00:00Z");
        let first = |last: &str| hourly.first(Some(at(last)), now, 1).unwrap().at.to_string();
        assert_eq!(first("2026-11-20T11:30:00Z"), "2026-11-20T12:30:00Z");
        assert_eq!(first("2026-11-01T00:00:00Z"), "2026-11-20T12:00:00Z");
        // By a clock that was a year ahead.
        assert_eq!(first("2027-11-20T12:00:00Z"), "2026-11-20T13:00:00Z");
        assert_eq!(hourly.first(None, now, 1).unwrap().at, now);
        let due = hourly.first(None, now, 1).unwrap();
        let late = at("2026-11-20T20:17:00Z");
        assert_eq!(hourly.after(due, late, 1).unwrap().at, at("2026-11-20T21:17:00Z"));
    }

    #[test]
    fn cron_lines_catch_up_once() {
        let daily = Schedule::cron(times("0 2 * * *", "UTC0"));
        let now = at("2026-11-20T12:00:00Z");
        assert_eq!(daily.first(Some(at("2026-11-18T02:00:00Z")), now, 1).unwrap().at, now);
        assert_eq!(daily.first(Some(at("2026-11-20T02:00:00Z")), now, 1).unwrap().at, at("2026-11-21T02:00:00Z"));
        assert_eq!(daily.first(None, now, 1).unwrap().at, at("2026-11-21T02:00:00Z"));
        let due = daily.first(Some(at("2026-11-18T02:00:00Z")), now, 1).unwrap();
        assert_eq!(daily.after(due, now, 1).unwrap().at, at("2026-11-21T02:00:00Z"));
    }

    #[test]
    fn jitter_comes_from_the_seed_and_does_not_add_up() {
        let jitter = Duration::from_secs(30);
        let schedule = Schedule::every(Duration::from_secs(300)).jitter(jitter);
        let start = at("2026-11-20T12:00:00Z");
        let run = |seed| {
            let next = |due: &Due| schedule.after(*due, due.at, seed);
            let first = Due { at: start, planned: start };
            std::iter::successors(Some(first), next).take(101).collect::<Vec<_>>()
        };
        let (one, again, other) = (run(1), run(1), run(2));
        assert!(one == again && one != other);
        for (number, due) in one.iter().enumerate() {
            assert_eq!(due.planned, start + Duration::from_secs(300 * number as u64));
            assert!(due.at >= due.planned && due.at < due.planned + jitter);
        }
        let distinct: std::collections::BTreeSet<_> =
            one.iter().map(|due| due.at.duration_since(due.planned)).collect();
        assert!(distinct.len() > 90);
        assert_ne!(seed_of("a", 1), seed_of("b", 1));
    }

    #[test]
    fn after_the_clock_was_set_back() {
        let (was, now) = (at("2026-11-20T12:00:10Z"), at("2026-11-20T11:59:50Z"));
        let hourly = Schedule::every(Duration::from_secs(3600));
        let due = Due { at: at("2026-11-20T13:00:00Z"), planned: at("2026-11-20T13:00:00Z") };
        assert_eq!(hourly.set_back(due, None, was, now, 1).unwrap().at, at("2026-11-20T12:59:40Z"));
        let noon = Schedule::cron(times("0 12 * * *", "UTC0"));
        let due = Due { at: at("2026-11-21T12:00:00Z"), planned: at("2026-11-21T12:00:00Z") };
        let again = |kept| noon.set_back(due, kept, was, now, 1).unwrap().at;
        assert_eq!(again(Some(at("2026-11-20T12:00:00Z"))), at("2026-11-21T12:00:00Z"));
        assert_eq!(again(None), at("2026-11-20T12:00:00Z"));
    }
}
