//! Many incidents in one message: what they have in common as a title, where and which ports in a line a host, and not one
//! line each. Whoever wants each by itself has the list of incidents.

use std::collections::{BTreeMap, BTreeSet};

use halfopen_results::record::State;
use halfopen_services::{Port, by_port};
use jiff::Timestamp;

use super::{Reader, advice, headline, host, named, span, title};
use crate::incident::{Incident, Severity, Trigger};
use crate::message::{Line, Message, Occasion};

/// Lines of a message that list hosts, or matters.
const LISTED: usize = 12;
/// Of the ports of a host, so many with their names, and so many runs of others.
const NAMED_PORTS: usize = 8;
const RUNS: usize = 8;
/// So many of those to act on first.
const URGENT: usize = 3;

/// A matter that is told together with others: one incident, or several that are one thread.
pub type Matter<'a> = (Occasion, &'a [Incident]);

impl Reader {
    /// What to say of several incidents that were told of together; there are at least two.
    pub fn thread(&self, occasion: Occasion, incidents: &[Incident], now: Timestamp) -> Message {
        let title = titled((occasion, incidents), now);
        self.about(occasion, incidents.to_vec(), title, self.of_thread(occasion, incidents, now), now)
    }

    /// What to say of several matters at once, some of which may be over and others begin; there are at least two.
    pub fn summary(&self, matters: &[Matter<'_>], now: Timestamp) -> Message {
        let is = |occasion| matters.iter().filter(|matter| matter.0 == occasion).count();
        let all = [Occasion::Opened, Occasion::Updated, Occasion::Reminder, Occasion::Resolved];
        let occasion = all.into_iter().find(|&it| is(it) > 0).unwrap_or(Occasion::Updated);
        let incidents: Vec<Incident> = matters.iter().flat_map(|(_, incidents)| incidents.iter().cloned()).collect();
        let (begun, over, groups) = (is(Occasion::Opened), is(Occasion::Resolved), groups(&incidents));
        let title = match () {
            () if over == matters.len() => format!("Over: {over} matters in {groups}"),
            () if over > 0 => format!("{} matters in {groups}: {begun} new, {over} over", matters.len()),
            () => format!("{} matters in {groups}", matters.len()),
        };
        let line = |matter: &Matter<'_>| line(matter.0.name(), titled(*matter, now));
        let lines = shortened(matters.iter().map(line).collect(), "matters");
        self.about(occasion, incidents, title, lines, now)
    }

    fn about(
        &self,
        occasion: Occasion,
        incidents: Vec<Incident>,
        title: String,
        lines: Vec<Line>,
        now: Timestamp,
    ) -> Message {
        // Of what is left, as long as anything is.
        let left = incidents.iter().filter(|incident| incident.is_open()).map(|incident| incident.severity).max();
        let worst = || incidents.iter().map(|incident| incident.severity).max();
        let severity = left.or_else(worst).unwrap_or(Severity::Info);
        let (id, thread, link) = (String::new(), String::new(), self.link.clone());
        Message { id, at: now, occasion, thread, severity, title, lines, incidents, link }
    }

    fn of_thread(&self, occasion: Occasion, incidents: &[Incident], now: Timestamp) -> Vec<Line> {
        let (open, over): (Vec<_>, Vec<_>) = incidents.iter().partition(|incident| incident.is_open());
        let shown = if open.is_empty() { &over } else { &open };
        let mut lines = places(shown);
        lines.push(line("Since", self.since_first(incidents, now)));
        lines.extend((!over.is_empty()).then(|| line("Over", endings(&over))));
        if occasion == Occasion::Resolved {
            lines.extend(in_hand("Was in hand", shown));
            return lines;
        }
        lines.extend(in_hand("In hand", shown));
        lines.push(line("Expected", expected(shown)));
        lines.extend(urgent(shown));
        lines.push(line("What to do", TO_DO.to_owned()));
        lines
    }

    fn since_first(&self, incidents: &[Incident], now: Timestamp) -> String {
        let first = incidents.iter().min_by_key(|incident| incident.since).cloned();
        let end = last_end(incidents);
        first.map_or_else(String::new, |first| self.since(&Incident { resolved: end, ..first }, now))
    }
}

const TO_DO: &str = "What changes at once mostly has one cause: a machine that was started or set up anew, a changed firewall. \
                     `halfopen incidents` lists all.";

/// The title of a matter, by itself.
fn titled((occasion, incidents): Matter<'_>, now: Timestamp) -> String {
    if let [one] = incidents {
        return title(one, occasion, now);
    }
    let (text, all) = (in_common(incidents), incidents.len());
    let over = incidents.iter().filter(|incident| !incident.is_open()).count();
    let since = incidents.iter().map(|incident| incident.since).min().unwrap_or(now);
    let after = |end: Timestamp| span(end.duration_since(since));
    match occasion {
        Occasion::Resolved => format!("Over after {}: {text}", after(last_end(incidents).unwrap_or(now))),
        Occasion::Reminder if over > 0 => format!("Still {} of {all}, after {}: {text}", all - over, after(now)),
        Occasion::Reminder => format!("Still, after {}: {text}", after(now)),
        Occasion::Acknowledged => format!("In hand: {text}"),
        Occasion::Updated if over > 0 => format!("{over} of {all} over: {text}"),
        Occasion::Updated => format!("Now: {text}"),
        Occasion::Opened | Occasion::Test => text,
    }
}

/// When the last of them was over, if all are.
fn last_end(incidents: &[Incident]) -> Option<Timestamp> {
    let ends: Option<Vec<Timestamp>> = incidents.iter().map(|incident| incident.resolved).collect();
    ends?.into_iter().max()
}

/// `30 ports opened on 192.0.2.7`.
fn in_common(incidents: &[Incident]) -> String {
    let (all, groups) = (incidents.len(), groups(incidents));
    let hosts: BTreeSet<String> = incidents.iter().map(host).collect();
    let place = match hosts.iter().next() {
        Some(one) if hosts.len() == 1 => format!("on {one}"),
        _ => format!("on {} hosts of {groups}", hosts.len()),
    };
    let kinds: BTreeSet<&str> = incidents.iter().map(|incident| kind(incident.trigger)).collect();
    match kinds.first() {
        Some(&OTHER) | None => format!("{all} changes in {groups}"),
        Some(kind) if kinds.len() == 1 => match incidents[0].trigger {
            Trigger::NewHost => format!("{all} new hosts in {groups}"),
            Trigger::HostDown => format!("{all} hosts of {groups} do not answer any more"),
            Trigger::PolicyViolated => format!("Against policy: {all} matters {place}"),
            Trigger::FirewallChanged => format!("Firewall changes at {all} hosts of {groups}"),
            _ => format!("{all} ports {kind} {place}"),
        },
        Some(_) => format!("{all} changes {place}"),
    }
}

const OTHER: &str = "";

/// What became of the ports; or what sets it apart from others.
fn kind(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Opened | Trigger::PlaintextExposed => "opened",
        Trigger::Closed => "closed",
        Trigger::Filtered => "fell silent",
        Trigger::Unstable => "keep changing",
        Trigger::NewHost | Trigger::HostDown | Trigger::PolicyViolated | Trigger::FirewallChanged => trigger.name(),
        _ => OTHER,
    }
}

fn is_of_a_port(incident: &Incident) -> bool {
    use Trigger::{Closed, Filtered, Opened, PlaintextExposed, Unstable};
    matches!(incident.trigger, Opened | PlaintextExposed | Closed | Filtered | Unstable) && incident.changes.len() == 1
}

/// A line for each host: `192.0.2.7: opened 23 (Telnet), 7001-7028`.
fn places(incidents: &[&Incident]) -> Vec<Line> {
    let mut hosts: Vec<(String, Vec<&Incident>)> = Vec::new();
    for incident in incidents {
        let host = host(incident);
        match hosts.iter_mut().find(|(name, _)| *name == host) {
            Some((_, all)) => all.push(incident),
            None => hosts.push((host, vec![incident])),
        }
    }
    shortened(hosts.into_iter().map(|(host, all)| line(&host, at_host(&all))).collect(), "hosts")
}

fn at_host(incidents: &[&Incident]) -> String {
    let mut by_kind: BTreeMap<&str, Vec<Port>> = BTreeMap::new();
    let (ports, others): (Vec<&Incident>, Vec<&Incident>) =
        incidents.iter().partition(|incident| is_of_a_port(incident));
    for incident in ports {
        by_kind.entry(kind(incident.trigger)).or_default().push(incident.changes[0].endpoint.port);
    }
    let ports = by_kind.into_iter().map(|(kind, ports)| format!("{kind}: {}", listed(ports)));
    let others = others.into_iter().map(headline);
    ports.chain(others).collect::<Vec<_>>().join("; ") + "."
}

/// `23 (Telnet), 80 (World Wide Web), 7001-7028`.
fn listed(mut ports: Vec<Port>) -> String {
    ports.sort_unstable_by_key(|port| port.number);
    let (known, rest): (Vec<Port>, Vec<Port>) = ports.into_iter().partition(|&port| by_port(port).is_some());
    let names: Vec<String> = known.iter().take(NAMED_PORTS).map(|&port| named(port)).collect();
    let rest: Vec<u16> = known.iter().skip(NAMED_PORTS).chain(&rest).map(|port| port.number).collect();
    let runs = runs(rest);
    let left: usize = runs.iter().skip(RUNS).map(|&(first, last)| usize::from(last - first) + 1).sum();
    let run = |&(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let more = (left > 0).then(|| format!("and {left} more"));
    names.into_iter().chain(runs.iter().take(RUNS).map(run)).chain(more).collect::<Vec<_>>().join(", ")
}

fn runs(mut ports: Vec<u16>) -> Vec<(u16, u16)> {
    ports.sort_unstable();
    ports.into_iter().fold(Vec::new(), |mut runs, port| {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(port) => *last = port,
            _ => runs.push((port, port)),
        }
        runs
    })
}

/// `it is closed again (28), accepted by kim (1).`
fn endings(over: &[&Incident]) -> String {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for incident in over {
        *reasons.entry(incident.resolution.as_deref().unwrap_or("it is over")).or_default() += 1;
    }
    let mut reasons: Vec<(&str, usize)> = reasons.into_iter().collect();
    reasons.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let more = reasons.len().saturating_sub(LISTED);
    let one = |&(why, count): &(&str, usize)| format!("{why} ({count})");
    let more = (more > 0).then(|| format!("and {more} other reasons"));
    reasons.iter().take(LISTED).map(one).chain(more).collect::<Vec<_>>().join(", ") + "."
}

/// `1 of 21: kim: I have a look`.
fn in_hand(name: &str, incidents: &[&Incident]) -> Option<Line> {
    let said: Vec<String> = incidents.iter().filter_map(|it| it.acknowledged.as_ref()).map(super::said).collect();
    let (count, all) = (said.len(), incidents.len());
    let some = if count < all { format!("{count} of {all}: ") } else { String::new() };
    let words = Vec::from_iter(BTreeSet::from_iter(said)).join("; ");
    (count > 0).then(|| line(name, some + &words))
}

fn expected(incidents: &[&Incident]) -> String {
    let broken = incidents.iter().filter(|incident| incident.breaks_policy()).count();
    let rules: BTreeSet<&str> = incidents.iter().filter_map(|incident| incident.detail("rule")).collect();
    match (broken, rules.first()) {
        (0, None) => "Nothing is laid down for them in a policy.".to_owned(),
        (0, Some(_)) => "Yes, by the policy.".to_owned(),
        (_, Some(rule)) if rules.len() == 1 => format!("No. The policy says: {rule}."),
        _ => format!("No. The policy is broken by {broken} of them."),
    }
}

/// What is not to be overlooked among many, with what to do.
fn urgent(incidents: &[&Incident]) -> Vec<Line> {
    let is_urgent = |it: &&&Incident| {
        it.severity == Severity::Critical && it.changes.last().is_some_and(|change| change.is == State::Open)
    };
    let urgent: Vec<_> = incidents.iter().filter(is_urgent).collect();
    let mut lines: Vec<Line> = urgent
        .iter()
        .take(URGENT)
        .map(|incident| line("First", format!("{}. {}", headline(incident), advice(incident))))
        .collect();
    let more = urgent.len().saturating_sub(URGENT);
    lines.extend((more > 0).then(|| line("First", format!("and {more} more that are critical."))));
    lines
}

fn groups(incidents: &[Incident]) -> String {
    let groups: BTreeSet<&str> = incidents.iter().map(|incident| incident.group.as_str()).collect();
    Vec::from_iter(groups).join(", ")
}

fn shortened(mut lines: Vec<Line>, what: &str) -> Vec<Line> {
    let more = lines.len().saturating_sub(LISTED);
    if more > 1 {
        lines.truncate(LISTED);
        lines.push(line("More", format!("and {more} more {what}.")));
    }
    lines
}

fn line(name: &str, text: String) -> Line {
    Line { name: name.to_owned(), text }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::docket::Draft;
    use crate::endpoint::Endpoint;
    use crate::incident::{Acknowledgement, PortChange};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn incident(last: u8, port: u16, trigger: Trigger) -> Incident {
        let endpoint = Endpoint::tcp([192, 0, 2, last].into(), port);
        let change = PortChange { endpoint, was: Some(State::Closed), is: State::Open };
        let severity = if port == 23 { Severity::Critical } else { Severity::Warning };
        Draft { group: "dmz", trigger, cause: "x".into(), severity, since: at(0) }.at(at(4)).about(vec![change])
    }

    fn opened(ports: impl IntoIterator<Item = u16>) -> Vec<Incident> {
        ports.into_iter().map(|port| incident(7, port, Trigger::Opened)).collect()
    }

    fn reader() -> Reader {
        Reader { zone: TimeZone::UTC, link: None }
    }

    fn over(mut incident: Incident, second: i64, why: &str) -> Incident {
        (incident.resolved, incident.resolution) = (Some(at(second)), Some(why.to_owned()));
        incident
    }

    #[test]
    fn many_ports_of_a_host_are_a_line_and_the_worst_is_not_overlooked() {
        let message = reader().thread(Occasion::Opened, &opened((60001..=60009).chain([23, 60100])), at(5));
        assert_eq!(message.title, "11 ports opened on 192.0.2.7");
        let text = message.text();
        assert!(
            text.starts_with(
                "192.0.2.7: opened: 23 (Telnet), 60001-60009, 60100.\nSince: 2023-11-14 22:13:20 UTC, 5 s ago.\n"
            ),
            "{text}"
        );
        assert!(text.contains("First: Port 23 (Telnet) opened on 192.0.2.7. Switch it off and use ssh. "), "{text}");
        assert_eq!((message.severity, message.incidents.len()), (Severity::Critical, 11));
    }

    #[test]
    fn what_is_over_says_so_first_and_counts() {
        let mut all = opened(7001..=7006);
        all[0].severity = Severity::Critical;
        let (by, note) = ("kim".to_owned(), "looking".to_owned());
        all[5].acknowledged = Some(Acknowledgement { at: at(9), by, note });
        for incident in &mut all[..4] {
            *incident = over(incident.clone(), 60, "it is closed again");
        }
        let of = |occasion, all: &[Incident]| reader().thread(occasion, all, at(7200));
        assert_eq!(of(Occasion::Updated, &all).title, "4 of 6 over: 6 ports opened on 192.0.2.7");
        assert_eq!(of(Occasion::Reminder, &all).title, "Still 2 of 6, after 2 h: 6 ports opened on 192.0.2.7");
        assert!(of(Occasion::Reminder, &all).text().starts_with("192.0.2.7: opened: 7005-7006.\n"));
        assert!(of(Occasion::Reminder, &all).text().contains("In hand: 1 of 2: kim: looking\n"));
        assert_eq!(of(Occasion::Reminder, &all).severity, Severity::Warning, "the critical one is over");
        all[4] = over(all[4].clone(), 120, "accepted by kim");
        all[5] = over(all[5].clone(), 3600, "it is closed again");
        let end = of(Occasion::Resolved, &all);
        assert_eq!(end.title, "Over after 1 h: 6 ports opened on 192.0.2.7");
        let last = "for 1 h.\nOver: it is closed again (5), accepted by kim (1).\nWas in hand: 1 of 6: kim: looking\n";
        assert!(end.text().ends_with(last), "{}", end.text());
    }

    #[test]
    fn what_they_have_in_common() {
        let of = |all: &[(u8, u16, Trigger)]| {
            in_common(&all.iter().map(|&(last, port, trigger)| incident(last, port, trigger)).collect::<Vec<_>>())
        };
        use Trigger::{Closed, HostDown, NewHost, Opened, PlaintextExposed, ScanLate};
        assert_eq!(of(&[(1, 23, PlaintextExposed), (2, 24, Opened)]), "2 ports opened on 2 hosts of dmz");
        assert_eq!(of(&[(1, 22, Opened), (1, 24, Closed)]), "2 changes on 192.0.2.1");
        assert_eq!(of(&[(1, 22, NewHost), (2, 22, NewHost)]), "2 new hosts in dmz");
        assert_eq!(of(&[(1, 22, HostDown), (2, 22, HostDown)]), "2 hosts of dmz do not answer any more");
        assert_eq!(of(&[(1, 22, Opened), (2, 22, ScanLate)]), "2 changes in dmz");
    }

    #[test]
    fn a_message_stays_short_however_many_there_are() {
        let many: Vec<Incident> =
            (0..200).flat_map(|last| [1, 3, 5].map(|port| incident(last, port, Trigger::Opened))).collect();
        let message = reader().thread(Occasion::Opened, &many, at(5));
        assert_eq!(message.title, "600 ports opened on 200 hosts of dmz");
        assert!(
            message.lines.len() < 20 && message.text().contains("More: and 188 more hosts.\n"),
            "{}",
            message.text()
        );
        let odd = reader().thread(Occasion::Opened, &opened((60001..61000).step_by(2)), at(5));
        assert!(odd.text().contains("60015, and 492 more."), "{}", odd.text());
    }

    #[test]
    fn a_summary_says_what_began_and_what_is_over() {
        let [one, two] = [opened([24]), vec![over(incident(7, 26, Trigger::Opened), 60, "it is closed again")]];
        let of = |matters: &[Matter<'_>]| reader().summary(matters, at(90));
        let both = of(&[(Occasion::Resolved, &two), (Occasion::Opened, &one)]);
        assert_eq!((both.title.as_str(), both.occasion), ("2 matters in dmz: 1 new, 1 over", Occasion::Opened));
        assert_eq!(
            both.text(),
            "resolved: Over after 1 min: Port 26 opened on 192.0.2.7\nopened: Port 24 opened on 192.0.2.7\n"
        );
        let ends = of(&[(Occasion::Resolved, &two), (Occasion::Resolved, &two)]);
        assert_eq!((ends.title.as_str(), ends.occasion), ("Over: 2 matters in dmz", Occasion::Resolved));
    }
}
