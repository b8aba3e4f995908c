//! Windows: times in which people are not disturbed, or in which changes are expected. In a quiet one alerts wait, and come as
//! one summary when it ends; in one of maintenance changes are recorded and not alerted, and what still differs when it ends
//! is told then. Scans go on in both. Who acts on that is for `watch` and `alert`.

use std::time::Duration;

use jiff::Timestamp;

use crate::hours::{Hours, Moment};
use crate::schedule::Times;

/// A window.
#[derive(Debug, Clone)]
pub struct Window {
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// The groups that it is about; none for all.
    pub groups: Vec<String>,
    /// When it is open.
    pub when: When,
}

/// What a window is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Alerts wait for its end.
    Quiet,
    /// Changes are expected.
    Maintenance,
}

/// When a window is open.
#[derive(Debug, Clone)]
pub enum When {
    /// In these hours of the week.
    Hours(Hours),
    /// Once.
    Once {
        /// From then,
        from: Timestamp,
        /// until before then.
        until: Timestamp,
    },
    /// For so long from each of these times on.
    Recurring {
        /// When it begins.
        times: Box<Times>,
        /// How long it stays open.
        lasts: Duration,
    },
}

/// Windows of a cron line that run into one another are looked at so often; then there is no end in sight.
const FAR: usize = 1000;

impl Window {
    /// Whether it is open, and until when that holds.
    pub fn at(&self, now: Timestamp) -> Moment {
        match &self.when {
            When::Hours(hours) => hours.at(now),
            &When::Once { from, until } => match now {
                _ if now < from => Moment::Closed(Some(from)),
                _ if now < until => Moment::Open(Some(until)),
                _ => Moment::Closed(None),
            },
            When::Recurring { times, lasts } => recurring(times, *lasts, now),
        }
    }

    /// Whether it is about a group.
    pub fn is_about(&self, group: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|name| name == group)
    }
}

/// The window of a kind that is open for a group now, and until when; of several the one that is open longest.
pub fn open<'a>(
    windows: &'a [Window],
    kind: Kind,
    group: &str,
    now: Timestamp,
) -> Option<(&'a Window, Option<Timestamp>)> {
    let about = windows.iter().filter(|window| window.kind == kind && window.is_about(group));
    let open = about.filter_map(|window| match window.at(now) {
        Moment::Open(until) => Some((window, until)),
        Moment::Closed(_) => None,
    });
    open.max_by_key(|(_, until)| until.unwrap_or(Timestamp::MAX))
}

/// When any window opens or closes next.
pub fn next_change(windows: &[Window], now: Timestamp) -> Option<Timestamp> {
    let change = |window: &Window| match window.at(now) {
        Moment::Open(until) => until,
        Moment::Closed(from) => from,
    };
    windows.iter().filter_map(change).min()
}

impl Kind {
    /// `quiet`, `maintenance`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Quiet => "quiet",
            Kind::Maintenance => "maintenance",
        }
    }
}

fn recurring(times: &Times, lasts: Duration, now: Timestamp) -> Moment {
    let end_of = |from: Timestamp| from.checked_add(lasts).unwrap_or(Timestamp::MAX);
    let begun = times.until(now).filter(|&from| now < end_of(from));
    let Some(mut end) = begun.map(end_of) else { return Moment::Closed(times.after(now)) };
    let mut last = now;
    for _ in 0..FAR {
        match times.after(last) {
            Some(next) if next <= end => (last, end) = (next, end_of(next)),
            _ => return Moment::Open(Some(end)),
        }
    }
    Moment::Open(None)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::hours;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn window(name: &str, groups: &[&str], when: When) -> Window {
        Window {
            name: name.into(),
            kind: Kind::Maintenance,
            groups: groups.iter().map(|&name| name.into()).collect(),
            when,
        }
    }

    fn cron(text: &str, minutes: u64) -> Window {
        let times = Times::new(text, TimeZone::UTC, at("2026-01-01T00:00:00Z")).unwrap();
        window("cron", &[], When::Recurring { times: Box::new(times), lasts: Duration::from_secs(60 * minutes) })
    }

    #[test]
    fn once() {
        let once =
            window("once", &[], When::Once { from: at("2026-12-24T18:00:00Z"), until: at("2026-12-25T06:00:00Z") });
        assert_eq!(once.at(at("2026-12-24T17:59:59Z")), Moment::Closed(Some(at("2026-12-24T18:00:00Z"))));
        assert_eq!(once.at(at("2026-12-24T18:00:00Z")), Moment::Open(Some(at("2026-12-25T06:00:00Z"))));
        assert_eq!(once.at(at("2026-12-25T06:00:00Z")), Moment::Closed(None));
    }

    #[test]
    fn by_a_cron_line() {
        // The second Tuesday of each month.
        let patches = cron("0 22 * * TUE#2", 240);
        assert_eq!(patches.at(at("2026-11-10T21:59:59Z")), Moment::Closed(Some(at("2026-11-10T22:00:00Z"))));
        assert_eq!(patches.at(at("2026-11-11T01:00:00Z")), Moment::Open(Some(at("2026-11-11T02:00:00Z"))));
        assert_eq!(patches.at(at("2026-11-11T02:00:00Z")), Moment::Closed(Some(at("2026-12-08T22:00:00Z"))));
    }

    #[test]
    fn times_that_run_into_one_another_are_one_window() {
        let mornings = cron("0,30 8-9 * * *", 30);
        assert_eq!(mornings.at(at("2026-11-10T08:10:00Z")), Moment::Open(Some(at("2026-11-10T10:00:00Z"))));
        assert_eq!(cron("* * * * *", 2).at(at("2026-11-10T08:10:00Z")), Moment::Open(None));
    }

    #[test]
    fn of_several_the_longest_counts_for_a_group() {
        let hours = Hours::new(vec![hours::window("Sat 22:00-04:00").unwrap()], TimeZone::UTC);
        let from = at("2026-11-21T20:00:00Z");
        let windows = [
            window("patch night", &["dmz"], When::Hours(hours)),
            window("once", &["dmz", "lan"], When::Once { from, until: at("2026-11-21T23:00:00Z") }),
        ];
        let now = at("2026-11-21T22:30:00Z");
        let open_for =
            |group| open(&windows, Kind::Maintenance, group, now).map(|(window, until)| (&*window.name, until));
        assert_eq!(open_for("dmz"), Some(("patch night", Some(at("2026-11-22T04:00:00Z")))));
        assert_eq!(open_for("lan"), Some(("once", Some(at("2026-11-21T23:00:00Z")))));
        assert_eq!((open_for("web"), open(&windows, Kind::Quiet, "dmz", now).is_none()), (None, true));
        assert_eq!(next_change(&windows, now), Some(at("2026-11-21T23:00:00Z")));
    }
}
