//! `[channel.*]`, `[[alert]]` and `[dead-man]` of the settings: read from the text of the file, with the line of what is wrong.

use std::ops::Range;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::rules::{Ports, Rule};
use crate::channel::http;
use crate::channel::secret::Place;
use crate::channel::{ChannelName, Settings};
use crate::hours::{Hours, window};
use crate::incident::{Severity, Trigger};
use crate::settings::known_group;
use crate::store::outbox::Channels;

/// More often is a nuisance, and nobody waits for it.
const SHORTEST_REMINDER: SignedDuration = SignedDuration::from_mins(1);
const SHORTEST_PING: SignedDuration = SignedDuration::from_secs(10);

/// Who is told, as settings say.
#[derive(Debug, Clone, Default)]
pub struct Alerting {
    /// By what.
    pub channels: Channels,
    /// Who.
    pub rules: Vec<Rule>,
    /// Who misses us.
    pub dead_man: Option<DeadManSettings>,
}

/// `[dead-man]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DeadManSettings {
    pub(super) url: Option<String>,
    url_file: Option<PathBuf>,
    url_env: Option<String>,
    /// How often.
    pub every: SignedDuration,
    /// By POST, not GET.
    #[serde(default)]
    pub(super) post: bool,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) proxy: Option<String>,
}

impl DeadManSettings {
    pub(crate) fn place(&self) -> Place<'_> {
        Place::new("url", self.url_file.as_ref(), self.url_env.as_ref())
    }

    fn check(&self) -> Result<(), String> {
        http::check_address(self.url.as_ref(), self.place())?;
        match self.every < SHORTEST_PING {
            true => Err(format!("every is at least {SHORTEST_PING:#}")),
            false => Ok(()),
        }
    }
}

/// `[[alert]]`, as typed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Typed {
    #[serde(default)]
    on: Vec<Trigger>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    ports: Vec<Port>,
    #[serde(default = "least")]
    severity: Severity,
    #[serde(default)]
    hours: Vec<String>,
    to: Vec<ChannelName>,
    remind: Option<SignedDuration>,
}

/// A number, or what reads like ports.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Port {
    Number(u16),
    Text(String),
}

fn least() -> Severity {
    Severity::Info
}

/// What is wrong, and where in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// From which byte to which.
    pub place: Range<usize>,
    /// What, and what instead.
    pub what: String,
}

impl Wrong {
    /// `halfopen.toml:7: channel.ops: needs url`.
    pub fn named(&self, file: &str, text: &str) -> String {
        let line = 1 + text.bytes().take(self.place.start).filter(|&byte| byte == b'\n').count();
        format!("{file}:{line}: {}", self.what)
    }
}

impl Alerting {
    /// Reads these tables and no other.
    pub fn read(text: &str, zone: &TimeZone) -> Result<Alerting, Wrong> {
        Alerting::read_in(text, zone, Path::new(""))
    }

    /// The same of a file in this folder, which the files that it names are relative to.
    pub fn read_in(text: &str, zone: &TimeZone, folder: &Path) -> Result<Alerting, Wrong> {
        let table = DeTable::parse(text)
            .map_err(|error| Wrong { place: error.span().unwrap_or_default(), what: error.message().to_owned() })?;
        let table = table.get_ref();
        let channels = channels(table, folder)?;
        let rules = rules(table, zone, &channels)?;
        let dead_man = table.get("dead-man").map(|value| dead_man(&rooted(value, folder))).transpose()?;
        Ok(Alerting { channels, rules, dead_man })
    }

    /// Makes sure that each group that an alert names is one of these.
    pub(crate) fn check_groups(text: &str, names: &[&str]) -> Result<(), Wrong> {
        let Ok(table) = DeTable::parse(text) else { return Ok(()) };
        let alerts = table.get_ref().get("alert").and_then(|all| all.get_ref().as_array()).into_iter().flatten();
        let groups = alerts.filter_map(|alert| alert.get_ref().as_table()?.get("groups")?.get_ref().as_array());
        for (group, name) in groups.flatten().filter_map(|group| Some((group, group.get_ref().as_str()?))) {
            let wrong = |what| Wrong { place: group.span(), what: format!("alert: groups = {name:?}: {what}") };
            known_group(name, names).map_err(wrong)?;
        }
        Ok(())
    }

    /// What is dangerous, or of no use.
    pub fn warnings(&self) -> Vec<String> {
        let of_channel = |(name, settings): (&ChannelName, &Settings)| {
            settings.warnings().into_iter().map(|it| format!("channel.{name}: {it}")).collect::<Vec<_>>()
        };
        let dead_man = self.dead_man.as_ref().and_then(|it| it.place().warning());
        let unused = self.channels.keys().filter(|name| !self.uses(name));
        let unused = unused.map(|name| format!("channel.{name}: no alert goes there; name it in an [[alert]]'s to"));
        self.channels.iter().flat_map(of_channel).chain(dead_man).chain(unused).collect()
    }

    fn uses(&self, name: &ChannelName) -> bool {
        let told = self.rules.iter().any(|rule| rule.to.contains(name));
        told || self.channels.values().any(|settings| settings.failover.as_ref() == Some(name))
    }
}

/// The table with its files (`NAME-file`) where they are, seen from a folder.
fn rooted<'de>(value: &Spanned<DeValue<'de>>, folder: &Path) -> Spanned<DeValue<'de>> {
    let mut value = value.clone();
    if let DeValue::Table(table) = value.get_mut() {
        for (_, file) in table.iter_mut().filter(|(key, _)| key.get_ref().ends_with("-file")) {
            if let DeValue::String(text) = file.get_mut() {
                *text = folder.join(&**text).to_string_lossy().into_owned().into();
            }
        }
    }
    value
}

fn channels(table: &DeTable<'_>, folder: &Path) -> Result<Channels, Wrong> {
    let Some(all) = table.get("channel") else { return Ok(Channels::new()) };
    let wrong = || Wrong { place: all.span(), what: "channel: each has a name, as in [channel.ops]".into() };
    let named = all.get_ref().as_table().ok_or_else(wrong)?;
    let one = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
        let name: ChannelName = key.get_ref().parse().map_err(|what| Wrong { place: key.span(), what })?;
        let settings = read::<Settings>(&rooted(value, folder), &format!("channel.{name}"))?;
        Ok((name, settings))
    };
    let channels: Channels = named.iter().map(one).collect::<Result<_, _>>()?;
    for (name, settings) in &channels {
        if let Some(other) = settings.failover.as_ref().filter(|other| !channels.contains_key(*other) || *other == name)
        {
            let what = format!("channel.{name}: failover names {other}, which is no other channel");
            let place = named.get(name.as_str()).map(Spanned::span).unwrap_or_default();
            return Err(Wrong { place, what });
        }
    }
    Ok(channels)
}

fn rules(table: &DeTable<'_>, zone: &TimeZone, channels: &Channels) -> Result<Vec<Rule>, Wrong> {
    let Some(all) = table.get("alert") else { return Ok(Vec::new()) };
    let wrong = || Wrong { place: all.span(), what: "alert: each begins with [[alert]]".into() };
    let rules = all.get_ref().as_array().ok_or_else(wrong)?;
    let one = |value: &Spanned<DeValue<'_>>| {
        let typed = read::<Typed>(value, "alert")?;
        rule(typed, zone, channels).map_err(|what| Wrong { place: place(value, &what), what: format!("alert: {what}") })
    };
    rules.iter().map(one).collect()
}

fn rule(typed: Typed, zone: &TimeZone, channels: &Channels) -> Result<Rule, String> {
    if typed.to.is_empty() {
        return Err("to names nobody: give the name of a channel".into());
    }
    if let Some(name) = typed.to.iter().find(|name| !channels.contains_key(*name)) {
        return Err(format!("to names {name}, and there is no [channel.{name}]"));
    }
    if typed.remind.is_some_and(|every| every < SHORTEST_REMINDER) {
        return Err(format!("remind is at least {SHORTEST_REMINDER:#}"));
    }
    let hours = typed.hours.iter().map(|text| window(text).map_err(|why| format!("hours: {text:?}: {why}")));
    let hours: Vec<_> = hours.collect::<Result<_, _>>()?;
    let ports = typed.ports.iter().map(|port| match port {
        Port::Number(number) => Ports::read(&number.to_string()),
        Port::Text(text) => Ports::read(text),
    });
    let ports = ports.collect::<Result<Vec<_>, _>>().map_err(|why| format!("ports: {why}"))?.concat();
    Ok(Rule {
        on: typed.on,
        groups: typed.groups,
        ports,
        severity: typed.severity,
        hours: (!hours.is_empty()).then(|| Hours::new(hours, zone.clone())),
        to: typed.to,
        remind: typed.remind,
    })
}

fn dead_man(value: &Spanned<DeValue<'_>>) -> Result<DeadManSettings, Wrong> {
    let settings = read::<DeadManSettings>(value, "dead-man")?;
    let wrong = |what: String| Wrong { place: place(value, &what), what: format!("dead-man: {what}") };
    settings.check().map_err(wrong)?;
    Ok(settings)
}

fn read<'de, T: Deserialize<'de>>(value: &Spanned<DeValue<'de>>, name: &str) -> Result<T, Wrong> {
    let wrong = |error: toml::de::Error| {
        let what = error.message();
        Wrong { place: place(value, what), what: format!("{name}: {what}") }
    };
    T::deserialize(toml::de::ValueDeserializer::from(value.clone())).map_err(wrong)
}

/// Where the key stands that a text is about: the first of its words that is one.
pub(crate) fn place(value: &Spanned<DeValue<'_>>, what: &str) -> Range<usize> {
    let part = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let key = |word: &str| {
        value.get_ref().as_table()?.iter().find(|(key, _)| key.get_ref() == word).map(|(key, _)| key.span())
    };
    what.split(part).find_map(key).unwrap_or_else(|| value.span())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
[[group]]
name = 'dmz'

[[alert]]
on = ['opened', 'policy-violated']
groups = ['dmz']
ports = ['1-1024', 8080, 'https']
severity = 'warning'
hours = ['Mon-Fri 08:00-18:00']
to = ['ops']
remind = '4h'

[channel.ops]
kind = 'webhook'
url = 'https://hooks.example.org/x'
failover = 'pager'

[channel.pager]
kind = 'command'
command = ['/usr/local/bin/page']

[dead-man]
url = 'https://ping.example.org/uuid'
every = '5m'
";

    fn wrong(text: &str) -> String {
        Alerting::read(text, &TimeZone::UTC).unwrap_err().named("halfopen.toml", text)
    }

    #[test]
    fn what_settings_say() {
        let alerting = Alerting::read(GOOD, &TimeZone::UTC).unwrap();
        assert_eq!(alerting.channels.len(), 2);
        let rule = &alerting.rules[0];
        assert_eq!((&rule.on[..], rule.severity), (&[Trigger::Opened, Trigger::PolicyViolated][..], Severity::Warning));
        assert!(rule.hours.is_some() && rule.ports.len() >= 3);
        assert_eq!(rule.remind, Some(SignedDuration::from_hours(4)));
        assert_eq!(alerting.dead_man.as_ref().unwrap().every, SignedDuration::from_mins(5));
        assert_eq!(alerting.warnings(), [""; 0]);
        assert!(Alerting::read("", &TimeZone::UTC).unwrap().channels.is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let change = |from: &str, to: &str| wrong(&GOOD.replace(from, to));
        assert_eq!(
            change("to = ['ops']", "to = ['opps']"),
            "halfopen.toml:11: alert: to names opps, and there is no [channel.opps]"
        );
        assert_eq!(
            change("'opened',", "'open',").split(", expected").next(),
            Some("halfopen.toml:5: alert: unknown variant `open`")
        );
        assert!(
            change("failover =", "fail-over =").starts_with("halfopen.toml:17: channel.ops: unknown field `fail-over`")
        );
        assert_eq!(
            change("failover = 'pager'", "failover = 'ops'"),
            "halfopen.toml:14: channel.ops: failover names ops, which is no other channel"
        );
        assert!(change("'https'", "'htps'").starts_with("halfopen.toml:8: alert: ports: \"htps\" is no port"));
        assert!(change("Mon-Fri", "Mon-Fry").starts_with("halfopen.toml:10: alert: hours: "));
        assert_eq!(change("'4h'", "'4s'"), "halfopen.toml:12: alert: remind is at least 1m");
        assert_eq!(change("'5m'", "'5s'"), "halfopen.toml:25: dead-man: every is at least 10s");
        assert!(wrong("x = \n").starts_with("halfopen.toml:1: "));
        assert_eq!(wrong("channel = 7"), "halfopen.toml:1: channel: each has a name, as in [channel.ops]");
    }

    #[test]
    fn files_are_relative_to_the_settings() {
        let text =
            "[channel.ops]\nkind = 'slack'\nurl-file = 'hook'\n[channel.pager]\nkind = 'slack'\nurl-file = '/x/hook'\n";
        let alerting = Alerting::read_in(text, &TimeZone::UTC, Path::new("/nowhere")).unwrap();
        let said = |name: &str| alerting.channels[name].open(&|_| None).unwrap_err();
        assert!(said("ops").contains("/nowhere/hook: "), "{}", said("ops"));
        assert!(said("pager").contains("/x/hook: "), "{}", said("pager"));
    }

    #[test]
    fn a_channel_that_nobody_uses_is_warned_of() {
        let text = "[channel.ops]\nkind = 'command'\ncommand = ['/bin/true']";
        let warnings = Alerting::read(text, &TimeZone::UTC).unwrap().warnings();
        assert_eq!(warnings, ["channel.ops: no alert goes there; name it in an [[alert]]'s to"]);
    }
}
