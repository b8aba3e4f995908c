//! Values of single keys: times with their units, moments, names. Each function reads one text and says what it would accept.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

const UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
/// Longer is for ever.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);
/// Names stand in messages, labels and addresses.
const LONGEST_NAME: usize = 64;

/// `90s`, `1h30m`, `7d`; more than none. Days have 24 hours, weeks seven days.
pub fn time(text: &str) -> Result<Duration, String> {
    match parts(text) {
        Some(0) => Err("expected a time that is more than none".into()),
        Some(millis) if Duration::from_millis(millis) <= LONGEST => Ok(Duration::from_millis(millis)),
        Some(_) => Err("expected at most a hundred years".into()),
        None => Err("expected a time with its unit (ms, s, m, h, d, w) such as 90s, 1h30m or 7d".into()),
    }
}

/// The sum of all parts, in milliseconds.
fn parts(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut sum = (!rest.is_empty()).then_some(0_u64)?;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(*scale)?)?;
        rest = after.trim_start();
    }
    Some(sum)
}

/// A time as it is written: `1h30m`.
pub fn told(time: Duration) -> String {
    let mut millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    // Weeks are for writing: 14d is easier to grasp than 2w.
    for (unit, scale) in UNITS.into_iter().skip(1) {
        let count = millis / scale;
        millis %= scale;
        if count > 0 {
            text += &format!("{count}{unit}");
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// `2026-12-24 18:00` in a time zone, a day (its beginning), or with an offset of its own `2026-12-24T18:00:00+01:00`.
pub fn moment(text: &str, zone: &TimeZone) -> Result<Timestamp, String> {
    let wrong = || "expected a date and time such as 2026-12-24 18:00 or 2026-12-24T18:00:00+01:00".to_owned();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let civil = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(DateTime::from)).map_err(|_| wrong())?;
    zone.to_timestamp(civil).map_err(|_| wrong())
}

/// Letters, digits, `-`, `_` and `.`, and spaces within: what people call a group or a channel.
pub fn name(text: &str) -> Result<String, String> {
    let part = |c: char| c.is_alphanumeric() || "-_. ".contains(c);
    let ends = text.trim() == text && !text.starts_with('-');
    match !text.is_empty() && text.chars().count() <= LONGEST_NAME && ends && text.chars().all(part) {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("expected a name of at most {LONGEST_NAME} letters, digits, '-', '_', '.' or spaces within"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, seconds, shown) in [
            ("90s", 90, "1m30s"),
            ("5m", 300, "5m"),
            ("1h30m", 5400, "1h30m"),
            ("1h 30m", 5400, "1h30m"),
            ("7d", 604_800, "7d"),
            ("2w", 1_209_600, "14d"),
        ] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
            assert_eq!(told(Duration::from_secs(seconds)), shown);
        }
        assert_eq!(time("250ms").map(told), Ok("250ms".into()));
        for text in ["", "5", "m", "5 m", "1.5h", "-5m", "5min", "5m-", "0s", "99999999999999999999s", "200000d"] {
            assert!(time(text).unwrap_err().starts_with("expected"), "{text}");
        }
    }

    #[test]
    fn moments() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let at = |text| moment(text, &berlin).unwrap().to_string();
        assert_eq!(at("2026-12-24 18:00"), "2026-12-24T17:00:00Z");
        assert_eq!(at("2026-07-24T18:00:30"), "2026-07-24T16:00:30Z");
        assert_eq!(at("2026-07-24"), "2026-07-23T22:00:00Z");
        assert_eq!(at("2026-12-24T18:00:00+05:00"), "2026-12-24T13:00:00Z");
        for text in ["", "tomorrow", "2026-13-01", "18:00"] {
            assert!(moment(text, &berlin).is_err(), "{text}");
        }
    }

    #[test]
    fn names() {
        for text in ["dmz", "patch night", "Büro-2", "web.example_1"] {
            assert_eq!(name(text).as_deref(), Ok(text));
        }
        for text in ["", " a", "a/b", "a\nb", "-a", "\"", &"x".repeat(65)] {
            assert!(name(text).is_err(), "{text}");
        }
    }
}
