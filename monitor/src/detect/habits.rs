//! What a site is used to: which ports are ever open there, and at which hours. From the history alone; a site of which little
//! is known has no habits.

use std::collections::BTreeSet;

use halfopen_results::record::State;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{Detection, Sure};
use crate::incident::Mark;
use crate::store::Past;

/// A habit takes that long,
const LONG_ENOUGH: SignedDuration = SignedDuration::from_hours(14 * 24);
/// and so many times.
const OFTEN_ENOUGH: usize = 5;

/// What is unusual about a port that opened. `ever_open` are the ports that were ever open in the group, `past` is this one's history.
pub fn marks(
    sure: &Sure,
    changes: usize,
    ever_open: &BTreeSet<u16>,
    past: &[Past],
    settings: &Detection,
    zone: &TimeZone,
) -> Vec<Mark> {
    let mut marks = Vec::new();
    marks.extend((changes >= settings.many as usize).then_some(Mark::ManyAtOnce));
    if sure.change.is == State::Open {
        marks.extend((!ever_open.contains(&sure.change.endpoint.port.number)).then_some(Mark::NeverSeen));
        marks.extend(is_unusual_hour(sure.since, past, zone).then_some(Mark::UnusualHour));
    }
    marks
}

/// Whether a port that opens and closes habitually was never open at that hour of the day.
fn is_unusual_hour(now: Timestamp, past: &[Past], zone: &TimeZone) -> bool {
    let open = || past.iter().filter(|past| past.state == State::Open && past.until.is_some());
    let is_long = open().map(|past| past.since).min().is_some_and(|first| now.duration_since(first) >= LONG_ENOUGH);
    if !is_long || open().count() < OFTEN_ENOUGH {
        return false;
    }
    let hour = |time: Timestamp| time.to_zoned(zone.clone()).hour();
    let mut usual = BTreeSet::new();
    for past in open() {
        let until = past.until.unwrap_or(now);
        let hours = until.duration_since(past.since).as_hours().clamp(0, 23);
        usual.extend((0..=hours).map(|hours| hour(past.since + SignedDuration::from_hours(hours))));
        usual.insert(hour(until));
    }
    !usual.contains(&hour(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;
    use crate::incident::PortChange;
    use crate::ledger::Fact;

    fn hour(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * 3600).unwrap()
    }

    /// Open from nine to seventeen on that many days.
    fn office(days: i64) -> Vec<Past> {
        let past = |day: i64| Past {
            host: "192.0.2.1".parse().unwrap(),
            protocol: "tcp",
            first: 22,
            last: 22,
            state: State::Open,
            reason: "syn-ack".into(),
            ttl: None,
            rtt_us: None,
            since: hour(day * 24 + 9),
            until: Some(hour(day * 24 + 17)),
        };
        (0..days).map(past).collect()
    }

    fn opened(since: Timestamp) -> Sure {
        let endpoint = Endpoint::tcp("192.0.2.1".parse().unwrap(), 22);
        let fact = Fact { state: State::Open, reason: "syn-ack".into(), ttl: None, rtt_us: None };
        Sure { change: PortChange { endpoint, was: Some(State::Closed), is: State::Open }, fact, since, sights: 2 }
    }

    #[test]
    fn a_port_of_office_hours_is_unusual_at_night() {
        let settings = Detection::default();
        let marks =
            |since, days| marks(&opened(since), 1, &BTreeSet::from([22]), &office(days), &settings, &TimeZone::UTC);
        assert_eq!(marks(hour(20 * 24 + 3), 20), [Mark::UnusualHour]);
        assert_eq!(marks(hour(20 * 24 + 10), 20), []);
        assert_eq!(marks(hour(4 * 24 + 3), 4), [], "four days are no habit");
        assert_eq!(marks(hour(20 * 24 + 3), 0), []);
    }

    #[test]
    fn new_to_the_group_and_many_at_once() {
        let settings = Detection::default();
        let marks = marks(&opened(hour(1)), 9, &BTreeSet::from([80]), &[], &settings, &TimeZone::UTC);
        assert_eq!(marks, [Mark::ManyAtOnce, Mark::NeverSeen]);
    }
}
