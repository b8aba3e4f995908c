//! Times of day as they stand in every form: RFC 3339 in UTC with microseconds, and nmap's words for them.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serializer};

/// The time of day to the microsecond. A clock beyond the year 9999 is taken for 1970.
pub fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).and_then(|time| Timestamp::from_microsecond(time.as_microsecond())).unwrap_or_default()
}

/// Whole microseconds.
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// `2026-01-31T12:00:00.123456Z`.
pub fn text(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// `Sat Jan 31 12:00:00 2026`, as asctime(3) has it, in UTC.
pub(crate) fn asctime(time: Timestamp) -> String {
    time.strftime("%a %b %e %H:%M:%S %Y").to_string()
}

/// For serde: as [`text`].
pub(crate) mod rfc3339 {
    use super::{Deserialize, Deserializer, Serializer, Timestamp};

    pub(crate) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{time:.6}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day() {
        assert_eq!(text(timestamp(SystemTime::UNIX_EPOCH)), "1970-01-01T00:00:00.000000Z");
        let later = timestamp(SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789));
        assert_eq!(text(later), "2023-11-14T22:13:20.123456Z");
        assert_eq!(text(later).parse::<Timestamp>().unwrap(), later);
        assert_eq!(asctime(later), "Tue Nov 14 22:13:20 2023");
        let beyond = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(text(timestamp(beyond)), "1970-01-01T00:00:00.000000Z");
    }
}
