//! Prometheus' Alertmanager, API v2. An alert is its labels: what may change while it goes on is kept out of them, but for its
//! severity, by which people route. An Alertmanager forgets what it is not told again, so the outbox repeats what goes on every
//! [`RESEND`], and what is over for [`FAREWELL`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::http::{Address, Client, Request, Way};
use super::payload::brief;
use super::secret::{Environment, Place, Secret};
use super::{Answer, Attempt, Channel, Checked, plain_warning};
use crate::incident::{Incident, Trigger};
use crate::message::{Message, Occasion};

/// How often what goes on is said again.
pub const RESEND: Duration = Duration::from_secs(60);
/// For how long it is said that something is over (alertmanager, docs/alerts_api.md).
pub const FAREWELL: Duration = Duration::from_secs(5 * 60);
/// An alert that was not repeated for so long is over: nobody watches any more. Several repeats may be lost before.
const HOLDS: SignedDuration = SignedDuration::from_mins(4);
/// Alerts in one request.
const BATCH: usize = 64;

/// `[channel.NAME]` of `kind = "alertmanager"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Each of a cluster: they leave out doubles by themselves.
    urls: Vec<String>,
    /// Put on every alert.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    ca_file: Option<PathBuf>,
    proxy: Option<String>,
}

impl Settings {
    fn token_place(&self) -> Place<'_> {
        Place::new("token", self.token_file.as_ref(), self.token_env.as_ref())
    }

    fn addresses(&self) -> Result<Vec<Address>, String> {
        self.urls.iter().map(|url| Address::new(url).map_err(|why| format!("urls: one {why}"))).collect()
    }

    /// What makes requests of messages.
    pub fn alertmanager(&self, environment: &Environment<'_>) -> Result<Alertmanager, String> {
        Ok(Alertmanager {
            urls: self.addresses()?.iter().map(|url| url.join("/api/v2/alerts")).collect(),
            labels: self.labels.clone(),
            token: self.token_place().read(environment)?,
            client: Client::new(&Way { ca_file: self.ca_file.clone(), proxy: self.proxy.clone(), patience: None })?,
        })
    }
}

impl Checked for Settings {
    fn check(&self) -> Result<(), String> {
        self.token_place().check()?;
        let reserved = |name: &&String| OWN_LABELS.contains(&name.as_str());
        if let Some(name) = self.labels.keys().find(reserved) {
            return Err(format!("labels: {name} is set by halfopen itself"));
        }
        match self.addresses()?.is_empty() {
            true => Err("urls needs at least one address, such as http://127.0.0.1:9093".into()),
            false => Ok(()),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let token = self.token_place();
        let urls = self.addresses().unwrap_or_default().into_iter().filter(|_| !token.is_nowhere());
        token.warning().into_iter().chain(urls.filter_map(|url| plain_warning("the token", &url))).collect()
    }

    fn open(&self, environment: &Environment<'_>) -> Result<Box<dyn Channel>, String> {
        Ok(Box::new(self.alertmanager(environment)?))
    }
}

const OWN_LABELS: [&str; 9] =
    ["alertname", "instance", "port", "proto", "severity", "source", "group", "cause", "trigger"];

/// Alertmanagers that alerts can be posted to.
#[derive(Debug)]
pub struct Alertmanager {
    urls: Vec<Address>,
    labels: BTreeMap<String, String>,
    token: Option<Secret>,
    client: Client,
}

impl Alertmanager {
    /// What is posted: to every address all incidents, some at a time.
    pub fn requests(&self, message: &Message, attempt: Attempt) -> Vec<Request> {
        let alerts = self.alerts(message, attempt.at);
        let to_one = |url| alerts.chunks(BATCH).map(move |some| self.request(url, some));
        self.urls.iter().flat_map(to_one).collect()
    }

    fn request(&self, url: &Address, alerts: &[Alert<'_>]) -> Request {
        let request = Request::json(url, &alerts);
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {}", token.expose())),
            None => request,
        }
    }

    fn alerts<'a>(&'a self, message: &'a Message, now: Timestamp) -> Vec<Alert<'a>> {
        match message.occasion {
            Occasion::Test => vec![self.test(message, now)],
            _ => message.incidents.iter().map(|incident| self.alert(message, incident, now)).collect(),
        }
    }

    fn alert<'a>(&'a self, message: &'a Message, incident: &Incident, now: Timestamp) -> Alert<'a> {
        let ends = incident.resolved.map_or(now + HOLDS, |resolved| resolved.min(now));
        Alert {
            labels: self.labels_of(incident),
            annotations: annotations(message, incident),
            starts_at: incident.since.min(ends),
            ends_at: ends,
            generator_url: message.link.as_deref(),
        }
    }

    fn test<'a>(&'a self, message: &'a Message, now: Timestamp) -> Alert<'a> {
        let labels = [("alertname", "HalfopenTest"), ("severity", message.severity.name()), ("source", "halfopen")];
        Alert {
            labels: self.with_own(labels.map(|(name, value)| (name, value.to_owned()))),
            annotations: BTreeMap::from([("summary", message.title.clone()), ("description", message.text())]),
            starts_at: message.at.min(now),
            ends_at: now + SignedDuration::from_mins(1),
            generator_url: message.link.as_deref(),
        }
    }

    fn labels_of(&self, incident: &Incident) -> BTreeMap<&str, String> {
        let first = incident.changes.first().filter(|_| is_of_a_port(incident.trigger)).map(|change| change.endpoint);
        let labels = [
            ("alertname", Some(alert_name(incident.trigger))),
            ("trigger", Some(incident.trigger.to_string())),
            ("group", Some(incident.group.clone())),
            ("cause", Some(incident.cause.clone())),
            ("instance", incident.host.map(|host| host.to_string())),
            ("port", first.map(|it| it.port.number.to_string())),
            ("proto", first.map(|it| it.port.protocol.to_string())),
            ("severity", Some(incident.severity.to_string())),
            ("source", Some("halfopen".into())),
        ];
        self.with_own(labels.into_iter().filter_map(|(name, value)| Some((name, value?))))
    }

    fn with_own<'a>(&'a self, labels: impl IntoIterator<Item = (&'a str, String)>) -> BTreeMap<&'a str, String> {
        let own = self.labels.iter().map(|(name, value)| (name.as_str(), value.clone()));
        own.chain(labels).collect()
    }
}

impl Channel for Alertmanager {
    /// Taken when one of them has it: whoever missed it hears of it again within a minute.
    fn send(&self, message: &Message, attempt: Attempt) -> Answer {
        let requests = self.requests(message, attempt);
        let answers: Vec<_> = requests.iter().map(|request| self.client.send(request, attempt.at)).collect();
        together(answers)
    }
}

/// The best of several answers, with what the others said.
fn together(answers: Vec<Answer>) -> Answer {
    let rank = |answer: &Answer| match answer {
        Answer::Accepted(_) => 0,
        Answer::Later(..) => 1,
        Answer::Never(_) => 2,
        Answer::Gone(_) => 3,
    };
    let troubles: Vec<_> = answers.iter().filter(|it| !it.is_accepted()).map(|it| it.text().to_owned()).collect();
    match answers.into_iter().min_by_key(rank) {
        None => Answer::Accepted("nothing to say".into()),
        Some(Answer::Accepted(text)) if troubles.is_empty() => Answer::Accepted(text),
        Some(Answer::Accepted(text)) => Answer::Accepted(format!("{text}; others: {}", troubles.join("; "))),
        Some(worse) => worse,
    }
}

/// `PortOpened`, `PolicyViolated`, ...
fn alert_name(trigger: Trigger) -> String {
    let name = match trigger {
        Trigger::Opened => "PortOpened",
        Trigger::Closed => "PortClosed",
        Trigger::Filtered => "PortFiltered",
        Trigger::NewHost => "NewHost",
        Trigger::HostDown => "HostDown",
        Trigger::FirewallChanged => "FirewallChanged",
        Trigger::PolicyViolated => "PolicyViolated",
        Trigger::ExceptionExpiring => "PolicyExceptionExpiring",
        Trigger::Unstable => "PortUnstable",
        Trigger::PlaintextExposed => "PlaintextExposed",
        Trigger::ScanFailed => "ScanFailed",
        Trigger::ScanLate => "ScanLate",
        Trigger::ScannerOffline => "ScannerOffline",
        Trigger::GatewayGone => "GatewayGone",
    };
    format!("Halfopen{name}")
}

/// Whether a cause of this kind begins with one port. Ports that join it later come behind the first, so that is no label to change.
fn is_of_a_port(trigger: Trigger) -> bool {
    use Trigger::{Closed, Filtered, Opened, PlaintextExposed, PolicyViolated, Unstable};
    matches!(trigger, Opened | Closed | Filtered | Unstable | PlaintextExposed | PolicyViolated)
}

fn annotations(message: &Message, incident: &Incident) -> BTreeMap<&'static str, String> {
    let alone = message.incidents.len() == 1;
    let summary = if alone { message.title.clone() } else { brief(incident) };
    BTreeMap::from([("summary", summary), ("description", message.text()), ("incident", incident.id.0.to_string())])
}

/// An alert of API v2.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    labels: BTreeMap<&'a str, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::channel::tests::{at, first, incident, message, nothing};
    use crate::channel::{Kind, tests};

    fn alertmanager(text: &str) -> Alertmanager {
        match tests::settings(text).unwrap().kind {
            Kind::Alertmanager(settings) => settings.alertmanager(&nothing).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn body(request: &Request) -> Value {
        serde_json::from_slice(&request.body).unwrap()
    }

    #[test]
    fn an_alert() {
        let manager = alertmanager("kind='alertmanager'\nurls=['http://127.0.0.1:9093/']\nlabels={team='net'}");
        let requests = manager.requests(&message(Occasion::Opened), first());
        assert_eq!(requests[0].to.expose(), "http://127.0.0.1:9093/api/v2/alerts");
        let alert = &body(&requests[0])[0];
        let labels = json!({
            "alertname": "HalfopenPortOpened", "trigger": "opened", "group": "dmz", "cause": "opened/192.0.2.10:23/tcp/7",
            "instance": "192.0.2.10", "port": "23", "proto": "tcp", "severity": "critical", "source": "halfopen", "team": "net",
        });
        assert_eq!(alert["labels"], labels);
        assert_eq!(alert["annotations"]["summary"], "Port 23 (Telnet) opened on <printer-2>");
        assert_eq!(
            (&alert["startsAt"], &alert["endsAt"]),
            (&json!("2026-03-01T11:59:00Z"), &json!("2026-03-01T12:04:00Z"))
        );
        assert_eq!(alert["generatorURL"], "https://mon.example.org/incidents/7");
    }

    #[test]
    fn labels_stay_the_same_until_it_is_over() {
        let manager = alertmanager("kind='alertmanager'\nurls=['http://127.0.0.1:9093']");
        let later = Attempt { number: 3, at: at("2026-03-01T12:09:00Z") };
        let (open, over) = (message(Occasion::Opened), message(Occasion::Resolved));
        let mut more = open.clone();
        more.incidents[0].changes.push(incident(9).changes[0]);
        more.incidents[0].since = at("2026-03-01T11:58:00Z");
        let labels = |message, attempt| body(&manager.requests(message, attempt)[0])[0]["labels"].clone();
        assert_eq!(labels(&open, first()), labels(&over, later));
        assert_eq!(labels(&open, first()), labels(&more, later));
        let alert = body(&manager.requests(&over, later)[0])[0].clone();
        assert_eq!(alert["endsAt"], "2026-03-01T12:00:00Z", "it was over then, not when it is said again");
    }

    #[test]
    fn each_address_gets_every_incident_some_at_a_time() {
        let manager = alertmanager("kind='alertmanager'\nurls=['http://127.0.0.1:1','http://127.0.0.1:2']");
        let mut message = message(Occasion::Opened);
        message.incidents = (0..100).map(incident).collect();
        let requests = manager.requests(&message, first());
        let lengths: Vec<_> = requests.iter().map(|request| body(request).as_array().unwrap().len()).collect();
        assert_eq!(lengths, [64, 36, 64, 36]);
        assert_eq!(body(&requests[0])[1]["annotations"]["summary"], "opened 192.0.2.10:23/tcp");
    }

    #[test]
    fn one_of_them_is_enough() {
        let (yes, no) = (Answer::Accepted("200 OK".into()), Answer::Later("refused".into(), None));
        assert_eq!(together(vec![no.clone(), yes]), Answer::Accepted("200 OK; others: refused".into()));
        assert_eq!(together(vec![Answer::Never("400".into()), no.clone()]), no);
    }

    #[test]
    fn wrong_settings() {
        let wrong = |text: &str| tests::settings(&format!("kind='alertmanager'\n{text}")).unwrap_err();
        assert!(wrong("urls=[]").contains("at least one"));
        assert!(wrong("urls=['127.0.0.1:9093']").contains("begins with https:// or http://"));
        assert!(wrong("urls=['http://a']\nlabels={severity='x'}").contains("severity is set by halfopen"));
    }
}
