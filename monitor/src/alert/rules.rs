//! Rules of who is told: each with conditions that must all hold, of which those that are not given hold always.

use std::ops::RangeInclusive;

use halfopen_services::{Protocol, tcp_ports};
use jiff::{SignedDuration, Timestamp};

use crate::channel::ChannelName;
use crate::hours::{Hours, Moment};
use crate::incident::{Incident, Severity, Trigger};
use crate::message::Occasion;

/// `[[alert]]`.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What happened; empty: anything.
    pub on: Vec<Trigger>,
    /// In which groups; empty: in any.
    pub groups: Vec<String>,
    /// At which ports; empty: anywhere.
    pub ports: Vec<Ports>,
    /// How much it matters, at least.
    pub severity: Severity,
    /// When people may be told; none: always.
    pub hours: Option<Hours>,
    /// Who is told.
    pub to: Vec<ChannelName>,
    /// How often they are told again of what goes on and nobody has acknowledged.
    pub remind: Option<SignedDuration>,
}

/// Some ports, as a rule names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    numbers: RangeInclusive<u16>,
    protocol: Option<Protocol>,
}

impl Rule {
    /// Whether it is about an incident, at whatever hour.
    pub fn is_about(&self, incident: &Incident) -> bool {
        (self.on.is_empty() || self.on.iter().any(|&trigger| incident.is_about(trigger)))
            && (self.groups.is_empty() || self.groups.contains(&incident.group))
            && incident.severity >= self.severity
            && (self.ports.is_empty() || self.ports.iter().any(|ports| ports.touch(incident)))
    }

    /// Whether people may be told now.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.hours.as_ref().is_none_or(|hours| matches!(hours.at(now), Moment::Open(_)))
    }
}

impl Ports {
    /// `22`, `1-1024`, `53/udp`, `https`: what a name means may be several ports.
    pub fn read(text: &str) -> Result<Vec<Ports>, String> {
        let wrong = || format!("{text:?} is no port, such as 22, 1-1024, 53/udp or https");
        let (ports, protocol) = match text.split_once('/') {
            Some((ports, protocol)) => (ports, Some(protocol.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        if ports.starts_with(|c: char| c.is_ascii_digit()) {
            return range(ports).map(|numbers| vec![Ports { numbers, protocol }]).ok_or_else(wrong);
        }
        let named = tcp_ports(ports);
        let of_name = named.into_iter().map(|port| Ports { numbers: port..=port, protocol });
        let found: Vec<_> = of_name.collect();
        if found.is_empty() { Err(wrong()) } else { Ok(found) }
    }

    fn touch(&self, incident: &Incident) -> bool {
        let fits = |protocol: Protocol| self.protocol.is_none_or(|it| it == protocol);
        let mut ports = incident.changes.iter().map(|change| change.endpoint.port);
        ports.any(|port| self.numbers.contains(&port.number) && fits(port.protocol))
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..=last)
}

/// Who is told that, each once, in the order of the rules. What is over or in hand is told at any hour.
pub fn recipients<'a>(
    rules: &'a [Rule],
    incident: &Incident,
    occasion: Occasion,
    now: Timestamp,
) -> Vec<&'a ChannelName> {
    let ends = matches!(occasion, Occasion::Resolved | Occasion::Acknowledged);
    let about = rules.iter().filter(|rule| rule.is_about(incident) && (ends || rule.is_open(now)));
    about.flat_map(|rule| &rule.to).fold(Vec::new(), |mut names, name| {
        if !names.contains(&name) {
            names.push(name);
        }
        names
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::channel::tests::{at, incident};
    use crate::hours::{window, zone};

    pub(in crate::alert) fn to(name: &str) -> Rule {
        let to = vec![name.parse().unwrap()];
        Rule { on: vec![], groups: vec![], ports: vec![], severity: Severity::Info, hours: None, to, remind: None }
    }

    fn names(rules: &[Rule], incident: &Incident, occasion: Occasion, now: &str) -> Vec<String> {
        recipients(rules, incident, occasion, at(now)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_conditions_of_a_rule_hold() {
        let telnet = incident(1);
        let rule = |change: fn(&mut Rule)| {
            let mut rule = to("ops");
            change(&mut rule);
            rule.is_about(&telnet)
        };
        assert!(rule(|_| {}));
        assert!(rule(|it| it.on = vec![Trigger::Closed, Trigger::Opened]) && !rule(|it| it.on = vec![Trigger::Closed]));
        assert!(rule(|it| it.groups = vec!["dmz".into()]) && !rule(|it| it.groups = vec!["lan".into()]));
        assert!(rule(|it| it.severity = Severity::Critical));
        assert!(
            rule(|it| it.ports = Ports::read("1-1024").unwrap()) && !rule(|it| it.ports = Ports::read("24").unwrap())
        );
        assert!(
            rule(|it| it.ports = Ports::read("telnet").unwrap())
                && !rule(|it| it.ports = Ports::read("23/udp").unwrap())
        );
        let mut mild = telnet.clone();
        mild.severity = Severity::Info;
        assert!(!Rule { severity: Severity::Warning, ..to("ops") }.is_about(&mild));
        let mut host = telnet.clone();
        host.changes.clear();
        assert!(!Rule { ports: Ports::read("1-65535").unwrap(), ..to("ops") }.is_about(&host), "it is about no port");
    }

    #[test]
    fn each_is_told_once_in_their_hours() {
        let office = Hours::new(vec![window("Mon-Fri 08:00-18:00").unwrap()], zone("UTC").unwrap());
        let rules = [to("ops"), Rule { hours: Some(office), to: to("pager").to, ..to("pager") }, to("ops")];
        // 2026-03-01 is a Sunday.
        assert_eq!(names(&rules, &incident(1), Occasion::Opened, "2026-03-01T12:00:00Z"), ["ops"]);
        assert_eq!(names(&rules, &incident(1), Occasion::Opened, "2026-03-02T12:00:00Z"), ["ops", "pager"]);
        assert_eq!(names(&rules, &incident(1), Occasion::Resolved, "2026-03-01T12:00:00Z"), ["ops", "pager"]);
    }

    #[test]
    fn ports_that_are_none() {
        for wrong in ["", "0x17", "70000", "9-1", "1-2-3", "nonsense", "22/sctp", "-5"] {
            assert!(Ports::read(wrong).unwrap_err().contains("is no port"), "{wrong}");
        }
    }
}
