//! Checks and exceptions in words, the same in every form of a report.

use std::borrow::Cow;

use halfopen_results::record::State;
use halfopen_services::{Port, Service, plaintext, services};
use jiff::SignedDuration;

use super::assessment::{Assessment, Check, Outcome, Standing};
use super::knowledge::Known;
use crate::incident::Severity;
use crate::wording::named;

/// `tcp/22`, `tcp/6000-6063`: as in the file.
pub fn ports(check: &Check) -> String {
    let Check { first, last, .. } = check;
    if first == last { format!("tcp/{first}") } else { format!("tcp/{first}-{last}") }
}

/// What a check comes to: `192.0.2.7 tcp/23 (Telnet) is open, and must be closed or filtered`.
pub fn sentence(assessment: &Assessment<'_>, check: &Check) -> String {
    let (host, ports) = (check.host, ports(check));
    let name = service(check).map_or(String::new(), |name| format!(" ({name})"));
    let must = match check.expected {
        super::Expectation::NotOpen => Cow::from("must not be open"),
        expected => Cow::from(format!("must be {expected}")),
    };
    let named = if check.listed { "" } else { ", as no rule names it" };
    let is = check.known.possible();
    match (check.outcome, assessment.exception(check)) {
        (Outcome::Unknown, _) => {
            let why = check.known.unknown().map_or_else(|| format!("it may be {is}"), str::to_owned);
            format!("{host} {ports}{name} is unknown: {why}; it {must}{named}")
        }
        (Outcome::Absent, _) => format!("{host} {ports}{name}: the host is down, and may be"),
        (Outcome::Excepted, Some(exception)) => {
            let (id, owner, until) = (&exception.id, &exception.owner, exception.until);
            format!("{host} {ports}{name} is {is}; {must}{named}, but for exception {id} of {owner} until {until}")
        }
        (Outcome::Compliant, _) => format!("{host} {ports}{name} is {is}, as it {must}{named}"),
        (_, Some(exception)) if exception.has_ended(assessment.at) => {
            format!(
                "{host} {ports}{name} is {is}, and {must}{named}; exception {} ended at {}",
                exception.id, exception.until
            )
        }
        _ => format!("{host} {ports}{name} is {is}, and {must}{named}"),
    }
}

/// What usually is on a single port.
fn service(check: &Check) -> Option<String> {
    let name = named(Port::tcp(check.first));
    let (_, name) = name.split_once(" (").filter(|_| check.first == check.last)?;
    Some(name.trim_end_matches(')').to_owned())
}

/// What an exception comes to, if it is worth a word.
pub fn exception(assessment: &Assessment<'_>, index: usize) -> Option<(Severity, String)> {
    let (it, standing) = (assessment.policy.exceptions().get(index)?, assessment.exceptions.get(index)?);
    let (id, owner, until) = (&it.id, &it.owner, it.until);
    let Standing { left: remaining, ends_soon, ended, stale } = *standing;
    match () {
        () if ended => Some((
            Severity::Warning,
            format!("exception {id} of {owner} has ended, at {until}: mend what it was for, or renew it"),
        )),
        () if stale => {
            Some((Severity::Warning, format!("exception {id} of {owner} excepts nothing any more: take it out")))
        }
        () if ends_soon => {
            Some((Severity::Info, format!("exception {id} of {owner} ends in {}, at {until}", left(remaining))))
        }
        () => None,
    }
}

/// `13 days`, `1 hour`.
pub fn left(left: SignedDuration) -> String {
    let (count, unit) = match (left.as_hours() / 24, left.as_hours(), left.as_mins()) {
        (days @ 2.., ..) => (days, "day"),
        (_, hours @ 1.., _) => (hours, "hour"),
        (.., minutes) => (minutes.max(0), "minute"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// What of a check's open ports is usually plaintext, and has something better: port and service.
pub fn in_plaintext(check: &Check) -> Vec<(u16, &'static Service)> {
    let open = check.known == Known::May(State::Open.into());
    let ports = services().iter().flat_map(Service::tcp_ports).filter(|port| (check.first..=check.last).contains(port));
    let mut found: Vec<_> =
        ports.filter(|_| open).filter_map(|port| Some((port, plaintext(Port::tcp(port))?))).collect();
    found.sort_by_key(|(port, _)| *port);
    found.dedup_by_key(|(port, _)| *port);
    found
}

/// `telnet (tcp/23) usually is unencrypted: use ssh`, for each.
pub fn remarks(check: &Check) -> Vec<String> {
    let remark = |(port, service): &(u16, &Service)| {
        let instead = service.instead.unwrap_or_default();
        format!("{} (tcp/{port}) usually is unencrypted: use {instead}", service.name)
    };
    in_plaintext(check).iter().map(remark).collect()
}
