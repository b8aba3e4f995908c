//! PagerDuty's Events API v2: trigger, acknowledge and resolve by one key a thread.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::answer::{cut, one_line};
use super::http::{Address, Client, Request, Way};
use super::payload::Data;
use super::secret::{Environment, Place, Secret};
use super::{Answer, Attempt, Channel, Checked, event_type};
use crate::message::{Message, Occasion};

// PagerDuty, "Send an alert event".
const LONGEST_KEY: usize = 255;
const LONGEST_SUMMARY: usize = 1024;

/// `[channel.NAME]` of `kind = "pagerduty"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Of Europe: `https://events.eu.pagerduty.com/v2/enqueue`.
    #[serde(default = "worldwide")]
    url: String,
    routing_key_file: Option<PathBuf>,
    routing_key_env: Option<String>,
    ca_file: Option<PathBuf>,
    proxy: Option<String>,
}

fn worldwide() -> String {
    "https://events.pagerduty.com/v2/enqueue".into()
}

impl Settings {
    fn key_place(&self) -> Place<'_> {
        Place::new("routing-key", self.routing_key_file.as_ref(), self.routing_key_env.as_ref())
    }

    /// What makes requests of messages.
    pub fn pagerduty(&self, environment: &Environment<'_>) -> Result<PagerDuty, String> {
        Ok(PagerDuty {
            url: Address::new(&self.url).map_err(|why| format!("url {why}"))?,
            routing_key: self.key_place().read_required(environment)?,
            client: Client::new(&Way { ca_file: self.ca_file.clone(), proxy: self.proxy.clone(), patience: None })?,
        })
    }
}

impl Checked for Settings {
    fn check(&self) -> Result<(), String> {
        Address::new(&self.url).map_err(|why| format!("url {why}"))?;
        self.key_place().require()
    }

    fn warnings(&self) -> Vec<String> {
        self.key_place().warning().into_iter().collect()
    }

    fn open(&self, environment: &Environment<'_>) -> Result<Box<dyn Channel>, String> {
        Ok(Box::new(self.pagerduty(environment)?))
    }
}

/// An integration of PagerDuty's.
#[derive(Debug)]
pub struct PagerDuty {
    url: Address,
    routing_key: Secret,
    client: Client,
}

impl PagerDuty {
    /// What is posted; no attempt differs from another.
    pub fn request(&self, message: &Message) -> Request {
        let action = action(message.occasion);
        let link = message.link.as_deref();
        let event = Event {
            routing_key: self.routing_key.expose(),
            event_action: action,
            dedup_key: cut(&format!("halfopen/{}", message.thread), LONGEST_KEY),
            payload: (action == "trigger").then(|| Payload::of(message)),
            links: link.map(|href| [Link { href, text: "Open" }]),
            client: "halfopen",
            client_url: link,
        };
        Request::json(&self.url, &event)
    }
}

impl Channel for PagerDuty {
    fn send(&self, message: &Message, attempt: Attempt) -> Answer {
        self.client.send(&self.request(message), attempt.at)
    }
}

fn action(occasion: Occasion) -> &'static str {
    match occasion {
        Occasion::Opened | Occasion::Updated | Occasion::Reminder | Occasion::Test => "trigger",
        Occasion::Acknowledged => "acknowledge",
        Occasion::Resolved => "resolve",
    }
}

#[derive(Debug, Serialize)]
struct Event<'a> {
    routing_key: &'a str,
    event_action: &'static str,
    dedup_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<[Link<'a>; 1]>,
    client: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_url: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Payload<'a> {
    summary: String,
    source: String,
    severity: &'static str,
    timestamp: jiff::Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    class: String,
    custom_details: Data<'a>,
}

impl<'a> Payload<'a> {
    fn of(message: &'a Message) -> Payload<'a> {
        let first = message.incidents.first();
        let host = first.and_then(|incident| incident.host).map(|host| host.to_string());
        let port = first.and_then(|incident| incident.changes.first()).map(|change| change.endpoint.port.to_string());
        Payload {
            summary: cut(&one_line(&message.title), LONGEST_SUMMARY),
            source: host.or(first.map(|incident| incident.group.clone())).unwrap_or_else(|| "halfopen".into()),
            severity: message.severity.name(),
            timestamp: message.at,
            component: port,
            group: first.map(|incident| incident.group.as_str()),
            class: event_type(message),
            custom_details: Data::of(message),
        }
    }
}

#[derive(Debug, Serialize)]
struct Link<'a> {
    href: &'a str,
    text: &'static str,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::channel::tests::{file, message, nothing};
    use crate::channel::{Kind, tests};

    fn body(message: &Message) -> Value {
        let (_folder, key) = file("0123456789abcdef0123456789abcdef");
        let text = format!("kind='pagerduty'\nrouting-key-file='{key}'");
        let Kind::PagerDuty(settings) = tests::settings(&text).unwrap().kind else { panic!("pagerduty") };
        serde_json::from_slice(&settings.pagerduty(&nothing).unwrap().request(message).body).unwrap()
    }

    #[test]
    fn a_trigger() {
        let mut event = body(&message(Occasion::Opened));
        let details = event["payload"]["custom_details"].take();
        assert_eq!(details["incidents"][0]["cause"], "opened/192.0.2.10:23/tcp/7");
        let known = json!({
            "routing_key": "0123456789abcdef0123456789abcdef", "event_action": "trigger", "dedup_key": "halfopen/incident-7",
            "payload": {
                "summary": "Port 23 (Telnet) opened on <printer-2>", "source": "192.0.2.10", "severity": "critical",
                "timestamp": "2026-03-01T12:00:00Z", "component": "23/tcp", "group": "dmz", "class": "port.opened",
                "custom_details": null,
            },
            "links": [{"href": "https://mon.example.org/incidents/7", "text": "Open"}],
            "client": "halfopen", "client_url": "https://mon.example.org/incidents/7",
        });
        assert_eq!(event, known);
    }

    #[test]
    fn what_follows_has_the_same_key_and_no_payload() {
        for (occasion, action) in [(Occasion::Acknowledged, "acknowledge"), (Occasion::Resolved, "resolve")] {
            let event = body(&message(occasion));
            assert_eq!((&event["event_action"], &event["dedup_key"]), (&json!(action), &json!("halfopen/incident-7")));
            assert_eq!(event.get("payload"), None);
        }
        assert_eq!(body(&message(Occasion::Reminder))["event_action"], "trigger");
        assert_eq!(body(&message(Occasion::Test))["payload"]["source"], "halfopen");
    }
}
