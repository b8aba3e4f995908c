//! Hours of the week: `Mon-Fri 22:00-06:00` in a time zone, in which scans may be made, people be told, or windows be open. A window that goes past midnight belongs
//! to the day on which it begins. Clocks that are set forward or back are the time zone's business (jiff's).

use jiff::civil::{Date, Time, Weekday};
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Hours of the week.
#[derive(Debug, Clone)]
pub struct Hours {
    windows: Vec<Window>,
    zone: TimeZone,
}

/// Hours of some days of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    days: Vec<Weekday>,
    from: Time,
    to: Time,
}

/// A moment, seen by the hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Within them, until then; none where no end is near.
    Open(Option<Timestamp>),
    /// Outside, until then; none where they never come.
    Closed(Option<Timestamp>),
}

/// How far ahead windows are looked for: a week, and a day for those that have begun the day before.
const DAYS: i64 = 8;
const WEEK: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

impl Hours {
    /// These windows in this time zone.
    pub fn new(windows: Vec<Window>, zone: TimeZone) -> Hours {
        Hours { windows, zone }
    }

    /// Whether a moment is within them, and until when that holds.
    pub fn at(&self, now: Timestamp) -> Moment {
        let open = self.merged(now);
        let horizon = open.last().map(|&(_, end)| end);
        match open.iter().find(|&&(start, end)| start <= now && now < end) {
            Some(&(_, end)) => Moment::Open(Some(end).filter(|_| horizon != Some(end) || !self.never_ends(end, now))),
            None => Moment::Closed(open.iter().map(|&(start, _)| start).find(|&start| start > now)),
        }
    }

    /// A moment as it is in the hours' time zone.
    pub fn local(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string()
    }

    /// Whether a window that reaches the last day looked at goes on beyond it.
    fn never_ends(&self, end: Timestamp, now: Timestamp) -> bool {
        end.duration_since(now).as_hours() >= (DAYS - 1) * 24
    }

    /// The windows about now, ascending, joined where they touch.
    fn merged(&self, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let today = now.to_zoned(self.zone.clone()).date();
        let days = (-1..=DAYS).filter_map(|day| today.checked_add(day.days()).ok());
        let mut open: Vec<_> =
            days.flat_map(|day| self.windows.iter().filter_map(move |window| self.on(day, window))).collect();
        open.sort_unstable();
        open.into_iter().fold(Vec::new(), |mut merged: Vec<(Timestamp, Timestamp)>, (start, end)| {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
            merged
        })
    }

    /// The window that begins on a day.
    fn on(&self, day: Date, window: &Window) -> Option<(Timestamp, Timestamp)> {
        let last = if window.to <= window.from { day.tomorrow().ok()? } else { day };
        let at = |day: Date, time: Time| self.zone.to_timestamp(day.to_datetime(time)).ok();
        let (start, end) = (at(day, window.from)?, at(last, window.to)?);
        (window.days.contains(&day.weekday()) && start < end).then_some((start, end))
    }
}

/// `Mon-Fri 22:00-06:00`, `Sat,Sun`, `01:00-05:30`: days, hours, or both.
pub fn window(text: &str) -> Result<Window, String> {
    let all = WEEK.map(|(_, day)| day).to_vec();
    let midnight = Time::midnight();
    let read = match text.split_whitespace().collect::<Vec<_>>().as_slice() {
        [hours] if hours.contains(':') => times(hours).map(|(from, to)| Window { days: all, from, to }),
        [days] => weekdays(days).map(|days| Window { days, from: midnight, to: midnight }),
        [days, hours] => weekdays(days).and_then(|days| times(hours).map(|(from, to)| Window { days, from, to })),
        _ => None,
    };
    read.ok_or_else(|| "expected days and hours such as Mon-Fri 22:00-06:00, Sat,Sun, or 01:00-05:30".into())
}

/// A name of the time zone database, an offset such as +02:00, or a rule in POSIX's form.
pub fn zone(text: &str) -> Result<TimeZone, String> {
    let unknown = "no such time zone on this machine; expected a name such as Europe/Berlin (which needs the system's time \
                   zone data), UTC, or an offset such as +02:00";
    DateTimeParser::new().parse_time_zone(text).map_err(|_| unknown.into())
}

fn weekdays(text: &str) -> Option<Vec<Weekday>> {
    text.split(',').map(days).collect::<Option<Vec<_>>>().map(|days| days.concat())
}

/// `Fri`, `Fri-Mon`.
fn days(text: &str) -> Option<Vec<Weekday>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (weekday(first)?, weekday(last)?);
    let until = (0..7).find(|&days| first.wrapping_add(days) == last)?;
    Some((0..=until).map(|days| first.wrapping_add(days)).collect())
}

fn weekday(text: &str) -> Option<Weekday> {
    WEEK.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)).map(|&(_, day)| day)
}

fn times(text: &str) -> Option<(Time, Time)> {
    let (from, to) = text.split_once('-')?;
    let (from, to) = (time(from)?, if to == "24:00" { Time::midnight() } else { time(to)? });
    (from != to || from == Time::midnight()).then_some((from, to))
}

/// `22:00`, or with seconds.
fn time(text: &str) -> Option<Time> {
    let shape = |c: char| c.is_ascii_digit() || c == ':';
    (text.contains(':') && text.chars().all(shape)).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Central European Time by its rule, so that no time zone data are needed.
    const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

    fn hours(zone_name: &str, windows: &[&str]) -> Hours {
        Hours::new(windows.iter().map(|text| window(text).unwrap()).collect(), zone(zone_name).unwrap())
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn open(until: &str) -> Moment {
        Moment::Open(Some(at(until)))
    }

    fn closed(until: &str) -> Moment {
        Moment::Closed(Some(at(until)))
    }

    #[test]
    fn nights_of_working_days() {
        // 2026-11-20 is a Friday.
        let hours = hours("UTC", &["Mon-Fri 22:00-06:00"]);
        assert_eq!(hours.at(at("2026-11-20T21:59:59Z")), closed("2026-11-20T22:00:00Z"));
        assert_eq!(hours.at(at("2026-11-20T22:00:00Z")), open("2026-11-21T06:00:00Z"));
        assert_eq!(hours.at(at("2026-11-21T05:59:59Z")), open("2026-11-21T06:00:00Z"));
        assert_eq!(hours.at(at("2026-11-21T06:00:00Z")), closed("2026-11-23T22:00:00Z"));
        // Sunday's night is none, so that Monday before six is closed.
        assert_eq!(hours.at(at("2026-11-23T03:00:00Z")), closed("2026-11-23T22:00:00Z"));
    }

    #[test]
    fn windows_that_touch_are_one() {
        let hours = hours("UTC", &["Sat,Sun", "Fri 20:00-24:00", "Mon 00:00-01:00"]);
        assert_eq!(hours.at(at("2026-11-20T21:00:00Z")), open("2026-11-23T01:00:00Z"));
        assert_eq!(hours.at(at("2026-11-23T01:00:00Z")), closed("2026-11-27T20:00:00Z"));
    }

    #[test]
    fn always() {
        for windows in
            [&["Mon-Sun"][..], &["00:00-24:00"], &["00:00-12:00", "12:00-24:00"], &["06:00-18:00", "18:00-06:00"]]
        {
            assert_eq!(hours("UTC", windows).at(at("2026-11-20T21:00:00Z")), Moment::Open(None), "{windows:?}");
        }
    }

    #[test]
    fn one_day_a_week_comes_again() {
        let hours = hours("UTC", &["Fri 20:00-21:00"]);
        assert_eq!(hours.at(at("2026-11-20T21:00:00Z")), closed("2026-11-27T20:00:00Z"));
        assert_eq!(hours.at(at("2026-11-20T20:30:00Z")), open("2026-11-20T21:00:00Z"));
    }

    #[test]
    fn clocks_are_set_forward_and_back() {
        let hours = hours(BERLIN, &["22:00-06:00"]);
        assert_eq!(hours.at(at("2026-07-01T19:59:00Z")), closed("2026-07-01T20:00:00Z"));
        // The night to 2026-03-29 has seven hours, the one to 2026-10-25 nine.
        assert_eq!(hours.at(at("2026-03-28T21:00:00Z")), open("2026-03-29T04:00:00Z"));
        assert_eq!(hours.at(at("2026-10-24T20:00:00Z")), open("2026-10-25T05:00:00Z"));
    }

    #[test]
    fn what_people_write() {
        let days = |text| window(text).unwrap().days.len();
        assert_eq!(
            ["mon", "Mon-Fri", "Fri-Mon", "Sat,Sun", "Mon-Wed,Fri", "10:00-11:00"].map(days),
            [1, 5, 4, 2, 4, 7]
        );
        assert_eq!(window("Sat"), window("sat 00:00-24:00"));
        assert!(window("10:00-10:00:01").is_ok());
        for text in
            ["", "Monday", "Mon-", "10:00", "10-11", "24:00-10:00", "10:00-10:00", "Mon 10:00-11:00 UTC", "25:00-26:00"]
        {
            assert!(window(text).unwrap_err().starts_with("expected days and hours"), "{text}");
        }
    }

    #[test]
    fn time_zones() {
        for text in ["UTC", "+02:00", "-03:30", BERLIN] {
            assert!(zone(text).is_ok(), "{text}");
        }
        assert!(zone("Middle-earth/Hobbiton").unwrap_err().starts_with("no such time zone"));
    }

    #[test]
    fn moments_are_told_in_the_zone() {
        assert_eq!(hours(BERLIN, &[]).local(at("2026-07-01T20:00:00Z")), "Wed 2026-07-01 22:00:00 CEST");
    }
}
