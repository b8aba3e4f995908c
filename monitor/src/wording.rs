//! Incidents in words, for people who are no specialists: what happened, since when, whether that was expected, why it
//! matters, what to do. A port number is a convention and no proof, so services are named as what a port usually is.

mod many;

use std::collections::BTreeSet;
use std::net::IpAddr;

use halfopen_results::record::State;
use halfopen_services::{Port, Service, by_port, plaintext, registered};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::docket::Notice;
use crate::incident::{Acknowledgement, Incident, KEPT_AGAIN, Mark, POLICY, PortChange, Trigger};
use crate::message::{Line, Message, Occasion};
pub use many::Matter;

/// Where and how messages are to be read.
#[derive(Debug, Clone)]
pub struct Reader {
    /// Times are in this.
    pub zone: TimeZone,
    /// Where more is to be seen.
    pub link: Option<String>,
}

/// So many incidents of one scan are still told one by one.
pub const SINGLY: usize = 5;

impl Reader {
    /// What to say of an incident.
    pub fn message(&self, id: String, notice: &Notice, now: Timestamp) -> Message {
        let Notice { incident, occasion } = notice;
        Message {
            id,
            at: now,
            occasion: *occasion,
            thread: format!("incident-{}", incident.id.0),
            severity: incident.severity,
            title: title(incident, *occasion, now),
            lines: self.lines(incident, *occasion, now),
            incidents: vec![incident.clone()],
            link: self.link.clone(),
        }
    }

    fn lines(&self, incident: &Incident, occasion: Occasion, now: Timestamp) -> Vec<Line> {
        let line = |name: &str, text: String| Line { name: name.to_owned(), text };
        let mut lines = vec![line("What", what(incident)), line("Since", self.since(incident, now))];
        if occasion == Occasion::Resolved {
            lines.extend(incident.resolution.as_ref().map(|why| line("Over", format!("{why}."))));
            lines.extend(incident.acknowledged.as_ref().map(|it| line("Was in hand", said(it))));
            return lines;
        }
        lines.extend(incident.acknowledged.as_ref().map(|it| line("In hand", said(it))));
        lines.extend(incident.detail("evidence").map(|text| line("Evidence", text.to_owned())));
        lines.push(line("Expected", expected(incident)));
        lines.extend(unusual(incident).map(|text| line("Unusual", text)));
        lines.extend(matters(incident).map(|text| line("Why it matters", text)));
        lines.push(line("What to do", advice(incident)));
        lines.extend(unencrypted(incident).map(|text| line("Unencrypted", text)));
        lines.extend(incident.detail("owner").map(|text| line("Owner", text.to_owned())));
        lines
    }

    fn since(&self, incident: &Incident, now: Timestamp) -> String {
        let since = incident.since.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
        match incident.resolved {
            Some(over) => format!("{since}, for {}.", span(over.duration_since(incident.since))),
            None => format!("{since}, {} ago.", span(now.duration_since(incident.since))),
        }
    }
}

/// `kim: I have a look`.
pub fn said(Acknowledgement { by, note, .. }: &Acknowledgement) -> String {
    if note.trim().is_empty() { by.clone() } else { format!("{by}: {}", note.trim()) }
}

/// Most important first, in a line.
pub fn title(incident: &Incident, occasion: Occasion, now: Timestamp) -> String {
    let text = headline(incident);
    match occasion {
        Occasion::Resolved => {
            format!("Over after {}: {text}", span(incident.resolved.unwrap_or(now).duration_since(incident.since)))
        }
        Occasion::Reminder => format!("Still, after {}: {text}", span(now.duration_since(incident.since))),
        Occasion::Acknowledged => format!("In hand: {text}"),
        Occasion::Updated => format!("Now: {text}"),
        Occasion::Opened | Occasion::Test => text,
    }
}

fn headline(incident: &Incident) -> String {
    let group = &incident.group;
    let port = incident.changes.last().map(|change| change.endpoint);
    let (at, host) = (port.map_or_else(String::new, |port| named(port.port)), host(incident));
    match incident.trigger {
        Trigger::Opened => format!("Port {at} opened on {host}"),
        Trigger::PlaintextExposed if incident.changes.len() > 1 => {
            format!("{} unencrypted services can be reached in {group}", incident.changes.len())
        }
        Trigger::PlaintextExposed => format!("Unencrypted port {at} is open on {host}"),
        Trigger::Closed => format!("Port {at} closed on {host}"),
        Trigger::Filtered => format!("Port {at} on {host} does not answer any more"),
        Trigger::NewHost => format!("New host {host} in {group}"),
        Trigger::HostDown => format!("{host} does not answer any more"),
        Trigger::FirewallChanged => format!("Firewall change at {host}: {}", tally(&incident.changes)),
        Trigger::PolicyViolated => match &incident.changes[..] {
            [change] => format!("Against policy: port {at} {} {host}", became(change)),
            changes => format!(
                "Against policy: {} ports on {host}",
                incident.detail("count").map_or(changes.len(), |it| it.parse().unwrap_or(changes.len()))
            ),
        },
        Trigger::ExceptionExpiring => {
            format!("Exception {} ends soon", incident.detail("exception").unwrap_or("of the policy"))
        }
        Trigger::Unstable => format!("Port {at} on {host} keeps changing"),
        Trigger::ScanFailed => format!("Scans of {group} fail"),
        Trigger::ScanLate => format!("{group} is not being scanned"),
        Trigger::ScannerOffline => format!("The monitor hears nobody in {group}: its own network is gone"),
        Trigger::GatewayGone => format!("Nobody in {group} answers: the way there is cut"),
    }
}

/// What a port did, or is if nobody saw it become so.
fn became(change: &PortChange) -> &'static str {
    match (change.was.is_some(), change.is) {
        (true, State::Open) => "opened on",
        (true, State::Closed) => "closed on",
        (true, State::Filtered) => "fell silent on",
        (false, State::Open) => "is open on",
        (false, State::Closed) => "is closed on",
        (false, State::Filtered) => "is silent on",
    }
}

fn host(incident: &Incident) -> String {
    incident.host.map_or_else(|| incident.group.clone(), |host: IpAddr| host.to_string())
}

fn what(incident: &Incident) -> String {
    let group = &incident.group;
    if let Some(error) = incident.detail("error") {
        return format!("The last scan of {group} ended with: {error}.");
    }
    let listed = list(&incident.changes);
    match incident.trigger {
        Trigger::NewHost if listed.is_empty() => format!("A host of {group} that never answered before does. No port of it is open."),
        Trigger::NewHost => format!("A host of {group} that never answered before does. Open: {listed}."),
        Trigger::HostDown => "None of the ports that answered before does. The host is down, or something before it lets nothing through.".to_owned(),
        Trigger::ScannerOffline => format!("No host of {group} answers, and none has a link address any more. What the hosts are now is not known."),
        Trigger::GatewayGone => format!("No host of {group} answers. What the hosts are now is not known."),
        Trigger::ScanLate => format!("The scan of {group} is overdue."),
        Trigger::ExceptionExpiring => expiry(incident),
        Trigger::Unstable if incident.is_open() => {
            format!("It has changed several times within the last 21 scans. Last seen: {listed}.")
        }
        Trigger::Unstable => format!("It changed several times, and then kept still: {listed}."),
        _ if incident.changes.is_empty() => format!("{}.", headline(incident)),
        _ => format!("{listed}."),
    }
}

/// What an exception lets be, and until when.
fn expiry(incident: &Incident) -> String {
    let detail = |name| incident.detail(name).unwrap_or("?");
    let last = incident.detail("notice").map_or_else(String::new, |notice| format!(" This notice is {notice}."));
    format!(
        "Until {} rule {} does not hold for ports {}; from then on they break it.{last}",
        detail("until"),
        detail("rule"),
        detail("ports")
    )
}

/// `23 (Telnet): closed -> open`, at most ten of them.
fn list(changes: &[PortChange]) -> String {
    let one_host = changes.iter().all(|change| change.endpoint.address == changes[0].endpoint.address);
    let one = |change: &PortChange| {
        let host = if one_host { String::new() } else { format!("{} ", change.endpoint.address) };
        let was = change.was.map_or_else(String::new, |was| format!("{} \u{2192} ", state(was)));
        format!("{host}port {}: {was}{}", named(change.endpoint.port), state(change.is))
    };
    let more = changes.len().saturating_sub(10);
    let listed: Vec<String> = changes.iter().take(10).map(one).collect();
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    listed.join(", ") + &more
}

fn state(state: State) -> &'static str {
    match state {
        State::Open => "open",
        State::Closed => "closed",
        State::Filtered => "silent",
    }
}

fn tally(changes: &[PortChange]) -> String {
    let hosts: BTreeSet<IpAddr> = changes.iter().map(|change| change.endpoint.address).collect();
    let at = if hosts.len() > 1 { format!(" of {} hosts", hosts.len()) } else { String::new() };
    let fell = changes.iter().filter(|change| change.is == State::Filtered).count();
    let became = if fell * 2 > changes.len() { "fell silent" } else { "began to answer" };
    format!("{} ports{at} {became}", changes.len())
}

/// `23 (Telnet)`; for a port of no name, its number.
pub fn named(port: Port) -> String {
    let name = by_port(port).and_then(Service::short_title).or_else(|| registered(port).map(|it| it.name));
    name.map_or_else(|| port.number.to_string(), |name| format!("{} ({name})", port.number))
}

fn expected(incident: &Incident) -> String {
    let (rule, why) =
        (incident.detail("rule"), incident.detail("why").map_or_else(String::new, |why| format!(" {why}")));
    let exception = incident.detail("exception");
    match rule {
        _ if incident.trigger == Trigger::ExceptionExpiring => format!("It was made for this:{why}."),
        _ if incident.detail(POLICY) == Some(KEPT_AGAIN) => "The policy is kept again.".to_owned(),
        Some(rule) if incident.breaks_policy() => {
            let ended = exception.map_or_else(String::new, |it| format!(" Exception {it}."));
            format!("No. The policy says: {rule}.{why}{ended}")
        }
        Some(rule) => format!("{rule}{}.{why}", exception.map_or_else(String::new, |it| format!(", exception {it}"))),
        _ => "Nothing is laid down for it in a policy.".to_owned(),
    }
}

fn unusual(incident: &Incident) -> Option<String> {
    let text = |mark: &Mark| match mark {
        Mark::ManyAtOnce => "many ports changed in the same scan",
        Mark::NeverSeen => "this port was never open on any host of the group",
        Mark::UnusualHour => "it was never open at this time of day",
    };
    let texts: Vec<_> = incident.marks.iter().map(text).collect();
    (!texts.is_empty()).then(|| texts.join("; ") + ".")
}

fn service(incident: &Incident) -> Option<&'static Service> {
    incident.changes.last().and_then(|change| by_port(change.endpoint.port))
}

/// `telnet (port 23): use ssh.`: what of the ports that are open is usually plaintext.
fn unencrypted(incident: &Incident) -> Option<String> {
    let open = incident.changes.iter().filter(|change| change.is == State::Open).map(|change| change.endpoint.port);
    let instead = |port: Port| {
        let service = plaintext(port)?;
        Some(format!("{} (port {}): use {}", service.name, port.number, service.instead?))
    };
    let ports: BTreeSet<Port> = open.collect();
    let texts: Vec<_> = ports.into_iter().filter_map(instead).take(10).collect();
    (!texts.is_empty()).then(|| texts.join("; ") + ".")
}

fn matters(incident: &Incident) -> Option<String> {
    let is_open = incident.changes.last().is_some_and(|change| change.is == State::Open);
    match incident.trigger {
        Trigger::Closed | Trigger::Filtered | Trigger::HostDown => {
            Some("Whoever uses it cannot reach it now.".to_owned())
        }
        Trigger::FirewallChanged => {
            Some("Rules that change by themselves, or by mistake, let in too much or lock people out.".to_owned())
        }
        Trigger::ScanFailed | Trigger::ScanLate | Trigger::ScannerOffline | Trigger::GatewayGone => {
            Some("As long as this lasts, nobody would notice a port that opens.".to_owned())
        }
        Trigger::PolicyViolated if !is_open => {
            Some("Either something that must work does not, or a firewall is not as it was laid down.".to_owned())
        }
        Trigger::NewHost => Some("A device that nobody knows of is looked after by nobody.".to_owned()),
        _ if is_open => service(incident).map(|service| service.exposed.to_owned()),
        _ => None,
    }
}

fn advice(incident: &Incident) -> String {
    let is_open = incident.changes.last().is_none_or(|change| change.is == State::Open);
    let text = match incident.trigger {
        Trigger::PolicyViolated if !is_open => {
            "See whether the service runs and whether a firewall was changed. If it is to be like this from now on, change the policy."
        }
        Trigger::PolicyViolated if service(incident).is_none() || incident.changes.len() > 1 => {
            "Find out which program listens there (`halfopen listeners` on that machine), and end it. If it belongs there, add it to the policy, or an exception that ends."
        }
        Trigger::Closed | Trigger::Filtered => {
            "See whether the service runs and whether a firewall was changed. If it was switched off on purpose, resolve the incident."
        }
        Trigger::HostDown => "See whether the host is switched on and connected.",
        Trigger::FirewallChanged => "Ask who changed the rules. If that was on purpose, resolve the incident.",
        Trigger::NewHost => "Find out whose device it is. If it belongs there, resolve the incident.",
        Trigger::Unstable => "Look whether the service is restarted again and again, or two hosts share the address.",
        Trigger::ScanFailed | Trigger::ScanLate => "See `halfopen doctor`, and the log of `halfopen watch`.",
        Trigger::ScannerOffline => "See whether the machine of the monitor has network.",
        Trigger::GatewayGone => "See whether the gateway, and the line behind it, works.",
        Trigger::ExceptionExpiring => "Close the port, or have the exception renewed.",
        Trigger::Opened | Trigger::PolicyViolated | Trigger::PlaintextExposed => match service(incident) {
            Some(service) => service.advice,
            None => {
                "Find out which program listens there (`halfopen listeners` on that machine). If it belongs there, resolve the incident."
            }
        },
    };
    text.to_owned()
}

/// `41 µs`, `1.5 ms`: neighbours answer within a small part of a millisecond.
pub fn round_trip(micros: u64) -> String {
    if micros < 1000 { format!("{micros} \u{b5}s") } else { format!("{:.1} ms", micros as f64 / 1000.0) }
}

/// `45 s`, `12 min`, `3 h 20 min`, `2 days`.
pub fn span(time: SignedDuration) -> String {
    let seconds = time.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match () {
        () if seconds < 60 => format!("{seconds} s"),
        () if hours < 1 => format!("{minutes} min"),
        () if days < 1 && minutes % 60 == 0 => format!("{hours} h"),
        () if days < 1 => format!("{hours} h {} min", minutes % 60),
        () if days == 1 => "1 day".to_owned(),
        () => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docket::Draft;
    use crate::endpoint::Endpoint;
    use crate::incident::Severity;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn incident(trigger: Trigger) -> Incident {
        let change = PortChange {
            endpoint: Endpoint::tcp("192.0.2.7".parse().unwrap(), 23),
            was: Some(State::Closed),
            is: State::Open,
        };
        let draft = Draft { group: "dmz", trigger, cause: "x".into(), severity: Severity::Warning, since: at(0) };
        draft.at(at(4)).about(vec![change])
    }

    fn reader() -> Reader {
        Reader { zone: TimeZone::UTC, link: None }
    }

    #[test]
    fn round_trips_have_figures_that_tell() {
        assert_eq!([41, 999, 1500].map(round_trip), ["41 \u{b5}s", "999 \u{b5}s", "1.5 ms"]);
    }

    #[test]
    fn an_opened_port_in_plain_words() {
        let mut incident = incident(Trigger::Opened).with("evidence", "seen 2 times, syn-ack");
        incident.marks = vec![Mark::NeverSeen];
        let notice = Notice { incident, occasion: Occasion::Opened };
        let message = reader().message("msg_1".into(), &notice, at(5));
        assert_eq!(message.title, "Port 23 (Telnet) opened on 192.0.2.7");
        assert!(message.title.len() <= 60);
        let text = message.text();
        for part in [
            "What: port 23 (Telnet): closed \u{2192} open.",
            "Since: 2023-11-14 22:13:20 UTC, 5 s ago.",
            "Evidence: seen 2 times, syn-ack",
            "Expected: Nothing is laid down",
            "Unusual: this port was never open",
            "Why it matters: Worms",
            "What to do: Switch it off and use ssh.",
            "Unencrypted: telnet (port 23): use ssh.",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
    }

    #[test]
    fn what_is_over_says_how_long_it_took_and_why() {
        let mut incident = incident(Trigger::Opened);
        incident.resolved = Some(at(3600 + 720));
        incident.resolution = Some("closed again".into());
        let message = reader().message("m".into(), &Notice { incident, occasion: Occasion::Resolved }, at(9999));
        assert_eq!(message.title, "Over after 1 h 12 min: Port 23 (Telnet) opened on 192.0.2.7");
        assert!(message.text().contains("Over: closed again.") && !message.text().contains("What to do"));
    }

    #[test]
    fn what_breaks_the_policy_says_what_was_expected_and_why() {
        let rule = "web: port 23 must not be open";
        let violated = |exception: &str| {
            let it = incident(Trigger::PolicyViolated).with("rule", rule).with("why", "Only the web.");
            let it = if exception.is_empty() { it } else { it.with("exception", exception).with("owner", "netops") };
            reader().message("m".into(), &Notice { incident: it, occasion: Occasion::Opened }, at(5))
        };
        assert_eq!(violated("").title, "Against policy: port 23 (Telnet) opened on 192.0.2.7");
        assert!(
            violated("")
                .text()
                .contains("Expected: No. The policy says: web: port 23 must not be open. Only the web.\n")
        );
        let ended = violated("EX-1 ended at 2026-12-31T00:00:00Z").text();
        assert!(
            ended.contains("Only the web. Exception EX-1 ended at 2026-12-31T00:00:00Z.\n")
                && ended.contains("Owner: netops")
        );
        let mut excepted =
            incident(Trigger::Opened).with("rule", "Rule web").with("exception", "EX-1 until 2027-01-01");
        excepted.changes.truncate(1);
        assert_eq!(expected(&excepted), "Rule web, exception EX-1 until 2027-01-01.");
        assert_eq!(expected(&incident(Trigger::NewHost).with(POLICY, KEPT_AGAIN)), "The policy is kept again.");
    }

    #[test]
    fn an_exception_that_ends_says_of_what_and_when() {
        let it = incident(Trigger::ExceptionExpiring).about(Vec::new());
        let told = [
            ("exception", "EX-1"),
            ("until", "2026-12-31"),
            ("rule", "web"),
            ("ports", "24 at 192.0.2.1"),
            ("why", "Ticket 7"),
        ];
        let it = told.into_iter().fold(it, |it, (name, text)| it.with(name, text));
        let message = reader().message("m".into(), &Notice { incident: it, occasion: Occasion::Opened }, at(5));
        assert_eq!(message.title, "Exception EX-1 ends soon");
        let text = message.text();
        assert!(
            text.contains(
                "Until 2026-12-31 rule web does not hold for ports 24 at 192.0.2.1; from then on they break it."
            ),
            "{text}"
        );
        assert!(text.contains("Expected: It was made for this: Ticket 7.\n"), "{text}");
    }

    #[test]
    fn every_trigger_has_words() {
        for trigger in Trigger::ALL {
            let message = reader().message(
                "m".into(),
                &Notice { incident: incident(trigger), occasion: Occasion::Opened },
                at(5),
            );
            assert!(!message.title.is_empty() && message.title.len() <= 76, "{}", message.title);
            assert!(message.lines.iter().all(|line| !line.text.is_empty()), "{message:?}");
        }
    }

    #[test]
    fn spans_of_time() {
        let of = |seconds| span(SignedDuration::from_secs(seconds));
        let all = [-5, 59, 60, 3599, 3600, 7260, 86400, 200_000].map(of);
        assert_eq!(all, ["0 s", "59 s", "1 min", "59 min", "1 h", "2 h 1 min", "1 day", "2 days"]);
    }
}
