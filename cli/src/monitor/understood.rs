//! What the monitor's settings say, in words for whoever checks them: what is scanned and when next, who is told of what and by what,
//! and when which window is open.

use std::fmt::Write as _;

use halfopen_monitor::alert::Rule;
use halfopen_monitor::channel::ChannelName;
use halfopen_monitor::hours::Moment;
use halfopen_monitor::settings::{Group, Settings};
use halfopen_monitor::store::{self, Store};
use halfopen_monitor::windows::Window;
use halfopen_monitor::{Severity, channel};
use jiff::Timestamp;
use toml::de::DeTable;

/// The whole file.
pub(super) fn told(settings: &Settings, now: Timestamp) -> String {
    let view = View { settings, now };
    let head = format!("{}: sound\nstore: {}\n", settings.path.display(), settings.store.display());
    let scope = settings.scope.as_ref().map_or_else(|| "none".into(), |scope| scope.display().to_string());
    let parts = [
        head,
        format!("scope: {scope}\n"),
        view.policy(),
        view.metrics(),
        list("groups", &view.groups()),
        list("alerts", &view.alerts()),
        list("channels", &view.channels()),
        view.dead_man(),
        list("windows", &settings.windows.iter().map(|window| view.window(window)).collect::<Vec<_>>()),
    ];
    parts.concat()
}

struct View<'a> {
    settings: &'a Settings,
    now: Timestamp,
}

impl View<'_> {
    fn policy(&self) -> String {
        self.settings.expected.as_ref().map_or_else(String::new, |policy| {
            let (rules, exceptions) = (policy.rules().len(), policy.exceptions().len());
            format!("policy: {} (rules: {rules}, exceptions: {exceptions})\n", policy.name())
        })
    }

    fn metrics(&self) -> String {
        let metrics = self.settings.metrics;
        metrics.map_or_else(String::new, |metrics| format!("metrics: http://{}/metrics\n", metrics.listen))
    }

    fn groups(&self) -> Vec<String> {
        let store = Store::read_only(&self.settings.store).ok();
        let last = |name: &str| store::last_begun(store.as_ref()?.connection(), name).ok().flatten();
        let group = |group: &Group| {
            let what = format!("{}{}; {}", group.targets.join(" "), without(&group.exclude), ports(group));
            format!("{}  {what}\n    {}; next {}", group.name, group.schedule, self.next(group, last(&group.name)))
        };
        self.settings.groups.iter().map(group).collect()
    }

    /// By what the history says of the last scan.
    fn next(&self, group: &Group, last: Option<Timestamp>) -> String {
        let due = |last| group.schedule.first(last, self.now, 0).map(|due| due.at);
        let then = due(Some(self.now)).map_or_else(|| "never".into(), |at| self.shown(at));
        match due(last) {
            Some(at) if at <= self.now => format!("at the start, then {then}"),
            Some(at) => self.shown(at),
            None => then,
        }
    }

    fn alerts(&self) -> Vec<String> {
        let tables = self.settings.document().table().unwrap_or_default();
        let written = tables.get("alert").and_then(|all| all.get_ref().as_array());
        let tables = written.into_iter().flatten().map(|table| table.get_ref().as_table());
        let rules = self.settings.alerting.rules.iter().zip(tables);
        let told: Vec<_> = rules.map(|(rule, table)| self.alert(rule, table)).collect();
        if told.is_empty() { vec!["none: nobody is told of anything".into()] } else { told }
    }

    /// Ports and hours as they are written, the rest as it was understood.
    fn alert(&self, rule: &Rule, table: Option<&DeTable<'_>>) -> String {
        let written = |key| {
            let value = table?.get(key)?;
            Some(format!("; {key} {}", self.settings.document().written(value)))
        };
        let mut text = match &rule.on[..] {
            [] => "everything".to_owned(),
            on => on.iter().map(|trigger| trigger.name()).collect::<Vec<_>>().join(", "),
        };
        text.push_str(&of(&rule.groups));
        [written("ports"), written("hours")].into_iter().flatten().for_each(|part| text.push_str(&part));
        if rule.severity > Severity::Info {
            _ = write!(text, "; {} or worse", rule.severity);
        }
        rule.remind.iter().for_each(|every| _ = write!(text, "; again every {every:#}"));
        let to: Vec<_> = rule.to.iter().map(ChannelName::as_str).collect();
        format!("{text}: to {}", to.join(", "))
    }

    fn channels(&self) -> Vec<String> {
        let channel = |(name, settings): (&ChannelName, &channel::Settings)| {
            let failover = settings.failover.as_ref();
            let instead = failover.map_or_else(String::new, |other| format!("; {other} if it fails"));
            format!("{name}  {}{instead}", settings.kind.name())
        };
        self.settings.alerting.channels.iter().map(channel).collect()
    }

    fn dead_man(&self) -> String {
        let dead_man = self.settings.alerting.dead_man.as_ref();
        dead_man.map_or_else(String::new, |it| format!("dead-man: asked for every {:#}\n", it.every))
    }

    fn window(&self, window: &Window) -> String {
        let until =
            |at: Option<Timestamp>| at.map_or_else(|| "for ever".into(), |at| format!("until {}", self.shown(at)));
        let when = match window.at(self.now) {
            Moment::Open(end) => format!("open now, {}", until(end)),
            Moment::Closed(None) => "never open again".to_owned(),
            Moment::Closed(Some(next)) => {
                let end = if let Moment::Open(end) = window.at(next) { end } else { None };
                format!("next {} {}", self.shown(next), until(end))
            }
        };
        format!("{}  {}{}; {when}", window.name, window.kind.name(), of(&window.groups))
    }

    fn shown(&self, at: Timestamp) -> String {
        at.to_zoned(self.settings.zone.clone()).strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string()
    }
}

/// A heading and what is below it, if there is something.
fn list(name: &str, items: &[String]) -> String {
    let lines: String = items.iter().map(|item| format!("  {item}\n")).collect();
    if lines.is_empty() { lines } else { format!("{name}:\n{lines}") }
}

fn of(groups: &[String]) -> String {
    if groups.is_empty() { String::new() } else { format!(" of {}", groups.join(", ")) }
}

fn without(excluded: &[String]) -> String {
    if excluded.is_empty() { String::new() } else { format!(" without {}", excluded.join(" ")) }
}

fn ports(group: &Group) -> String {
    let top = group.top_ports.map(|count| format!("the top {count}"));
    let named = (!group.ports.is_empty()).then(|| group.ports.join(","));
    let all: Vec<_> = named.into_iter().chain(top).collect();
    let all = if all.is_empty() { "those of the targets".to_owned() } else { all.join(" and ") };
    format!("ports {all}{}", without(&group.exclude_ports))
}
