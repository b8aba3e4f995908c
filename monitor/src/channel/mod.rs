//! Ways by which people and programs are told: one file each. A channel makes of a message what it sends, as a function of
//! message and attempt alone, and sends it once: when to try again is for the outbox.
//!
//! Settings of a channel name where its secrets are (`secret`), never the secrets. They are read anew for every attempt, so that
//! one that was replaced needs no restart.

mod answer;
mod hook;
mod payload;

pub mod alertmanager;
pub mod command;
pub mod discord;
pub mod http;
pub mod ntfy;
pub mod pagerduty;
pub mod secret;
pub mod slack;
pub mod smtp;
pub mod teams;
pub mod webhook;

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::message::Message;
use secret::Environment;

pub use answer::Answer;
pub use payload::event_type;

/// The name of a channel: `ops` of `[channel.ops]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ChannelName(String);

impl ChannelName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ChannelName {
    type Err = String;

    fn from_str(text: &str) -> Result<ChannelName, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match (1..=64).contains(&text.len()) && text.chars().all(fits) {
            true => Ok(ChannelName(text.to_owned())),
            false => Err(format!("{text:?} is no name for a channel: letters, digits, - _ and . make one")),
        }
    }
}

impl<'de> Deserialize<'de> for ChannelName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<ChannelName, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Which attempt to deliver a message this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Counted from 1.
    pub number: u32,
    /// When it is made.
    pub at: Timestamp,
}

/// Delivers messages.
pub trait Channel: fmt::Debug + Send {
    /// Tries to, once; it ends within a bounded time.
    fn send(&self, message: &Message, attempt: Attempt) -> Answer;
}

/// `[channel.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Which kind, with all that is its own.
    pub kind: Kind,
    /// Who is told instead when this one fails for good,
    pub failover: Option<ChannelName>,
    /// or has failed so often.
    pub failover_after: Option<u32>,
}

/// The kinds of channels, by the key `kind`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[expect(missing_docs, reason = "their modules say what they are")]
#[non_exhaustive]
pub enum Kind {
    Webhook(webhook::Settings),
    Alertmanager(alertmanager::Settings),
    Ntfy(ntfy::Settings),
    Smtp(smtp::Settings),
    Slack(slack::Settings),
    Discord(discord::Settings),
    Teams(teams::Settings),
    PagerDuty(pagerduty::Settings),
    Command(command::Settings),
}

/// The names of the kinds, as in settings.
pub const KINDS: [&str; 9] =
    ["webhook", "alertmanager", "ntfy", "smtp", "slack", "discord", "teams", "pagerduty", "command"];

/// What each kind's settings can do.
trait Checked {
    /// What is wrong with them, that types do not say.
    fn check(&self) -> Result<(), String>;
    /// What is dangerous about them.
    fn warnings(&self) -> Vec<String>;
    /// Reads the secrets, and makes a channel of it.
    fn open(&self, environment: &Environment<'_>) -> Result<Box<dyn Channel>, String>;
}

impl Settings {
    /// Reads the secrets and makes a channel of it. The error says in one line what is missing.
    pub fn open(&self, environment: &Environment<'_>) -> Result<Box<dyn Channel>, String> {
        self.kind.checked().open(environment)
    }

    /// What is dangerous about them: secrets that others can read, tokens that go out in plain text.
    pub fn warnings(&self) -> Vec<String> {
        self.kind.checked().warnings()
    }

    /// Whether it tells by starting a program of this machine.
    pub fn runs_programs(&self) -> bool {
        matches!(self.kind, Kind::Command(_))
    }

    /// How often it wants to hear again of what goes on, if it forgets otherwise.
    pub fn repeats(&self) -> Option<Duration> {
        match &self.kind {
            Kind::Alertmanager(_) => Some(alertmanager::RESEND),
            _ => None,
        }
    }

    /// Whether people read it as it comes: they want one message of what came together. Machines want to know of each thread what
    /// became of it.
    pub fn is_read_by_people(&self) -> bool {
        matches!(self.kind, Kind::Ntfy(_) | Kind::Smtp(_) | Kind::Slack(_) | Kind::Discord(_) | Kind::Teams(_))
    }

    /// Whether it shows as going on what it was not told to be over, so that to be told is no disturbance.
    pub fn keeps_state(&self) -> bool {
        matches!(self.kind, Kind::Alertmanager(_) | Kind::PagerDuty(_))
    }

    /// Whether it keeps incidents apart by itself and groups them for people, so that nothing is to be summed up for it.
    pub fn counts_incidents(&self) -> bool {
        matches!(self.kind, Kind::Alertmanager(_))
    }
}

impl Kind {
    /// `webhook`, `smtp`, ...: as in settings.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Webhook(_) => "webhook",
            Kind::Alertmanager(_) => "alertmanager",
            Kind::Ntfy(_) => "ntfy",
            Kind::Smtp(_) => "smtp",
            Kind::Slack(_) => "slack",
            Kind::Discord(_) => "discord",
            Kind::Teams(_) => "teams",
            Kind::PagerDuty(_) => "pagerduty",
            Kind::Command(_) => "command",
        }
    }

    fn checked(&self) -> &dyn Checked {
        match self {
            Kind::Webhook(settings) => settings,
            Kind::Alertmanager(settings) => settings,
            Kind::Ntfy(settings) => settings,
            Kind::Smtp(settings) => settings,
            Kind::Slack(settings) => settings,
            Kind::Discord(settings) => settings,
            Kind::Teams(settings) => settings,
            Kind::PagerDuty(settings) => settings,
            Kind::Command(settings) => settings,
        }
    }
}

/// The keys that all kinds have, and the others to their kind.
impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Settings, D::Error> {
        let mut table = toml::Table::deserialize(from)?;
        let failover = taken(&mut table, "failover").map_err(D::Error::custom)?;
        let failover_after = taken(&mut table, "failover-after").map_err(D::Error::custom)?;
        let kind = Kind::deserialize(toml::Value::Table(table)).map_err(|error| D::Error::custom(error.message()))?;
        kind.checked().check().map_err(D::Error::custom)?;
        check_failover(failover.as_ref(), failover_after).map_err(D::Error::custom)?;
        Ok(Settings { kind, failover, failover_after })
    }
}

/// The value of a key, which is no longer in the table.
fn taken<'de, T: Deserialize<'de>>(table: &mut toml::Table, key: &str) -> Result<Option<T>, String> {
    let value = table.remove(key);
    value.map(T::deserialize).transpose().map_err(|error: toml::de::Error| format!("{key}: {}", error.message()))
}

fn check_failover(failover: Option<&ChannelName>, after: Option<u32>) -> Result<(), String> {
    match (failover, after) {
        (None, Some(_)) => Err("failover-after needs failover, the channel that is to be told then".into()),
        (_, Some(0)) => Err("failover-after is at least 1, the number of attempts that failed".into()),
        _ => Ok(()),
    }
}

/// That something secret goes where others can read it.
fn plain_warning(what: &str, to: &http::Address) -> Option<String> {
    to.is_plain().then(|| format!("{what} goes to {to} without TLS: anybody on the way can read it"))
}

#[cfg(test)]
pub(crate) mod delivery_tests;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::endpoint::Endpoint;
    use crate::incident::{Detail, Incident, IncidentId, PortChange, Severity, Trigger};
    use crate::message::{Line, Occasion};
    use halfopen_results::record::State;

    pub(crate) fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// `2026-03-01T12:00:00Z`.
    pub(crate) fn noon() -> Timestamp {
        at("2026-03-01T12:00:00Z")
    }

    pub(crate) fn first() -> Attempt {
        Attempt { number: 1, at: noon() }
    }

    /// Telnet, newly open on 192.0.2.10.
    pub(crate) fn incident(id: i64) -> Incident {
        let host = [192, 0, 2, 10].into();
        let change = PortChange { endpoint: Endpoint::tcp(host, 23), was: Some(State::Closed), is: State::Open };
        Incident {
            id: IncidentId(id),
            cause: format!("opened/192.0.2.10:23/tcp/{id}"),
            trigger: Trigger::Opened,
            group: "dmz".into(),
            host: Some(host),
            severity: Severity::Critical,
            changes: vec![change],
            marks: vec![],
            details: vec![Detail { name: "evidence".into(), text: "syn-ack".into() }],
            since: at("2026-03-01T11:59:00Z"),
            opened: at("2026-03-01T11:59:10Z"),
            acknowledged: None,
            muted_until: None,
            muted_by: None,
            resolved: None,
            resolution: None,
            part_of: None,
        }
    }

    pub(crate) fn message(occasion: Occasion) -> Message {
        let mut incident = incident(7);
        if occasion == Occasion::Resolved {
            incident.resolved = Some(noon());
        }
        let line = |name: &str, text: &str| Line { name: name.into(), text: text.into() };
        Message {
            id: "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W".into(),
            at: noon(),
            occasion,
            thread: "incident-7".into(),
            severity: Severity::Critical,
            title: "Port 23 (Telnet) opened on <printer-2>".into(),
            lines: vec![line("What", "Port 23 was closed & is open."), line("What to do", "Close it, or use SSH.")],
            incidents: if occasion == Occasion::Test { vec![] } else { vec![incident] },
            link: Some("https://mon.example.org/incidents/7".into()),
        }
    }

    pub(crate) fn settings(text: &str) -> Result<Settings, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    /// A file with this in it, and the folder that it lives as long as.
    pub(crate) fn file(text: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, text).unwrap();
        (folder, path.display().to_string())
    }

    pub(crate) fn nothing(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn keys_that_all_have_and_their_own() {
        let ops = settings("kind = 'webhook'\nurl = 'https://example.org/x'\nfailover = 'pager'\nfailover-after = 3")
            .unwrap();
        assert_eq!((ops.kind.name(), ops.failover_after), ("webhook", Some(3)));
        assert_eq!(ops.failover.unwrap().as_str(), "pager");
    }

    #[test]
    fn wrong_settings_say_what_is_wrong() {
        for (text, why) in [
            ("url = 'https://example.org/'", "missing field `kind`"),
            ("kind = 'telegram'", "unknown variant `telegram`, expected one of `webhook`"),
            ("kind = 'webhook'\nurl = 'https://example.org/'\nsekret = 1", "unknown field `sekret`, expected one of"),
            ("kind = 'webhook'", "needs url"),
            ("kind = 'webhook'\nurl = 'example.org'", "begins with https://"),
            ("kind = 'webhook'\nurl = 'https://example.org/'\nfailover = 'a b'", "no name for a channel"),
            ("kind = 'webhook'\nurl = 'https://example.org/'\nfailover-after = 3", "needs failover"),
            ("kind = 'slack'\nurl = 'https://hooks.slack.com/services/T/B/x'", "this address is a secret"),
            ("kind = 'pagerduty'", "needs routing-key-file"),
            ("kind = 'command'", "needs command"),
        ] {
            let error = settings(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn kinds_have_the_names_of_settings() {
        for kind in KINDS {
            let error = settings(&format!("kind = '{kind}'\nnonsense = 1")).unwrap_err();
            assert!(error.contains("unknown field `nonsense`"), "{kind}: {error}");
        }
    }
}
