//! Until when a scope holds: a day, to its end, or a moment.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use toml::Value;
use toml::value::Datetime;

/// Said this long before: time to have it renewed.
const NOTICE: SignedDuration = SignedDuration::from_hours(14 * 24);
const DAY: f64 = 24.0 * 3600.0;

/// The end of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expiry {
    at: Timestamp,
    /// As it was written.
    text: String,
}

impl Expiry {
    /// As it is written in the file. A day, and a moment without an offset, are of this time zone.
    pub(crate) fn read(value: &Value, zone: &TimeZone) -> Result<Expiry, String> {
        let written = match value {
            Value::Datetime(moment) => Some(*moment),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let at = written.and_then(|written| end(written, zone));
        let expiry = written.zip(at).map(|(written, at)| Expiry { at, text: written.to_string() });
        expiry.ok_or_else(|| "expected a day such as 2027-01-31, or a moment such as 2027-01-31T18:00:00Z".into())
    }

    /// The first moment at which nothing is permitted any more.
    pub(crate) fn at(&self) -> Timestamp {
        self.at
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// `in 9 days`, if that is soon.
    pub(crate) fn soon(&self, now: Timestamp) -> Option<String> {
        let left = self.at.duration_since(now);
        let days = (left.as_secs_f64() / DAY).ceil();
        let told = if days == 1.0 { "within a day".into() } else { format!("in {days} days") };
        (left <= NOTICE).then_some(told)
    }
}

fn end(written: Datetime, zone: &TimeZone) -> Option<Timestamp> {
    let Datetime { date, time, offset } = written;
    let day: Date = date?.to_string().parse().ok()?;
    match (time, offset) {
        (None, None) => zone.to_timestamp(day.tomorrow().ok()?.to_datetime(jiff::civil::Time::midnight())).ok(),
        (_, Some(_)) => written.to_string().parse().ok(),
        (Some(_), None) => zone.to_timestamp(written.to_string().parse::<DateTime>().ok()?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str, zone: &str) -> Result<String, String> {
        let table: toml::Table = format!("it = {value}").parse().unwrap();
        Expiry::read(&table["it"], &super::super::hours::zone(zone).unwrap()).map(|expiry| expiry.at.to_string())
    }

    #[test]
    fn a_day_holds_to_its_end_and_a_moment_is_one() {
        for (value, zone, at) in [
            ("2027-01-31", "UTC", "2027-02-01T00:00:00Z"),
            ("\"2027-01-31\"", "+02:00", "2027-01-31T22:00:00Z"),
            ("2027-01-31T18:00:00", "+02:00", "2027-01-31T16:00:00Z"),
            ("2027-01-31 18:00:00-05:00", "+02:00", "2027-01-31T23:00:00Z"),
            ("\"2027-01-31T18:00:00Z\"", "UTC", "2027-01-31T18:00:00Z"),
        ] {
            assert_eq!(read(value, zone).as_deref(), Ok(at), "{value}");
        }
        for value in ["2027", "18:00:00", "\"next year\"", "true"] {
            assert!(read(value, "UTC").unwrap_err().starts_with("expected a day such as"), "{value}");
        }
    }

    #[test]
    fn the_end_is_told_two_weeks_before() {
        let expiry = Expiry::read(&Value::String("2027-01-31".into()), &TimeZone::UTC).unwrap();
        let soon = |now: &str| expiry.soon(now.parse().unwrap());
        assert_eq!(soon("2027-01-17T23:59:59Z"), None);
        assert_eq!(soon("2027-01-18T00:00:00Z").as_deref(), Some("in 14 days"));
        assert_eq!(soon("2027-01-30T12:00:00Z").as_deref(), Some("in 2 days"));
        assert_eq!(soon("2027-01-31T12:00:00Z").as_deref(), Some("within a day"));
    }
}
