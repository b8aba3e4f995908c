//! What programs are sent of a message: the JSON that webhooks and commands get, and the names of what happened.

use jiff::Timestamp;
use serde::Serialize;

use crate::incident::{Incident, PortChange, Severity, Trigger};
use crate::message::{Line, Message, Occasion};

/// Standard Webhooks 1.0.0 asks for less than 20 kB; headers of CloudEvents count, too.
const LONGEST_BYTES: usize = 19_000;

/// The name of what happened, for programs: `port.opened`, `port.opened.resolved`; of several at once `incidents.opened`.
pub fn event_type(message: &Message) -> String {
    match (message.occasion, &message.incidents[..]) {
        (Occasion::Test, _) => "test".into(),
        (occasion, []) => format!("incidents.{}", occasion.name()),
        (Occasion::Opened, [one]) => subject(one.trigger).into(),
        (occasion, [one]) => format!("{}.{}", subject(one.trigger), occasion.name()),
        (occasion, _) => format!("incidents.{}", occasion.name()),
    }
}

fn subject(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Opened => "port.opened",
        Trigger::Closed => "port.closed",
        Trigger::Filtered => "port.filtered",
        Trigger::NewHost => "host.new",
        Trigger::HostDown => "host.down",
        Trigger::FirewallChanged => "firewall.changed",
        Trigger::PolicyViolated => "policy.violated",
        Trigger::ExceptionExpiring => "policy.exception_expiring",
        Trigger::Unstable => "port.unstable",
        Trigger::PlaintextExposed => "port.plaintext_exposed",
        Trigger::ScanFailed => "scan.failed",
        Trigger::ScanLate => "scan.late",
        Trigger::ScannerOffline => "scanner.offline",
        Trigger::GatewayGone => "gateway.gone",
    }
}

/// The body of a webhook, in the order in which its fields are sent.
#[derive(Debug, Serialize)]
pub(super) struct Payload<'a> {
    r#type: String,
    timestamp: Timestamp,
    data: Data<'a>,
}

/// A message, for programs.
#[derive(Debug, Serialize)]
pub(super) struct Data<'a> {
    id: &'a str,
    occasion: Occasion,
    thread: &'a str,
    severity: Severity,
    title: &'a str,
    lines: &'a [Line],
    link: Option<&'a str>,
    incidents: &'a [Incident],
    /// How many there are that found no room.
    incidents_left_out: usize,
}

impl<'a> Payload<'a> {
    /// All that fits into a request.
    pub(super) fn of(message: &'a Message) -> Payload<'a> {
        Payload { r#type: event_type(message), timestamp: message.at, data: Data::of(message) }
    }
}

impl<'a> Data<'a> {
    /// As many incidents as fit.
    pub(super) fn of(message: &'a Message) -> Data<'a> {
        let all = &message.incidents[..];
        let mut data = Data {
            id: &message.id,
            occasion: message.occasion,
            thread: &message.thread,
            severity: message.severity,
            title: &message.title,
            lines: &message.lines,
            link: message.link.as_deref(),
            incidents: &[],
            incidents_left_out: 0,
        };
        let mut left = LONGEST_BYTES.saturating_sub(length(&data));
        let fitting = all.iter().take_while(|incident| {
            let taken = length(incident) + 1;
            let fits = taken <= left;
            left = left.saturating_sub(taken);
            fits
        });
        let count = fitting.count();
        (data.incidents, data.incidents_left_out) = (&all[..count], all.len() - count);
        data
    }
}

fn length(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |bytes| bytes.len())
}

/// What an incident is about, in a few words for machines' lists: `opened 192.0.2.10:23/tcp`.
pub(super) fn brief(incident: &Incident) -> String {
    let place = match (incident.changes.as_slice(), incident.host) {
        ([one], _) => one.endpoint.to_string(),
        ([], Some(host)) => host.to_string(),
        ([], None) => incident.group.clone(),
        (several, Some(host)) => format!("{host}, {} ports", several.len()),
        (several, None) => format!("{}, {} ports", incident.group, several.len()),
    };
    format!("{} {place}", incident.trigger)
}

/// `tcp/192.0.2.10:23`, of an incident about one port.
pub(super) fn port_subject(change: &PortChange) -> String {
    let endpoint = change.endpoint;
    let socket = std::net::SocketAddr::new(endpoint.address, endpoint.port.number);
    format!("{}/{socket}", endpoint.port.protocol)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::tests::{incident, message};

    #[test]
    fn names_are_dotted_words() {
        let mut message = message(Occasion::Opened);
        assert_eq!(event_type(&message), "port.opened");
        message.occasion = Occasion::Resolved;
        assert_eq!(event_type(&message), "port.opened.resolved");
        for trigger in Trigger::ALL {
            let fits = |c: char| c.is_ascii_lowercase() || c == '.' || c == '_';
            assert!(subject(trigger).chars().all(fits), "{trigger}");
        }
        message.incidents.push(incident(8));
        assert_eq!(event_type(&message), "incidents.resolved");
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut message = message(Occasion::Opened);
        message.incidents = (0..500).map(incident).collect();
        let body = serde_json::to_vec(&Payload::of(&message)).unwrap();
        assert!((15_000..20_000).contains(&body.len()), "{}", body.len());
        let data = Data::of(&message);
        assert_eq!(data.incidents.len() + data.incidents_left_out, 500);
        assert!(data.incidents.len() > 20);
    }

    #[test]
    fn in_a_few_words() {
        let mut incident = incident(1);
        assert_eq!(brief(&incident), "opened 192.0.2.10:23/tcp");
        assert_eq!(port_subject(&incident.changes[0]), "tcp/192.0.2.10:23");
        incident.changes.push(incident.changes[0]);
        assert_eq!(brief(&incident), "opened 192.0.2.10, 2 ports");
        incident.changes.clear();
        assert_eq!(brief(&incident), "opened 192.0.2.10");
        incident.host = None;
        assert_eq!(brief(&incident), "opened dmz");
    }
}
