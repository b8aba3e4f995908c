//! Numbers for Prometheus: what the database says now, and what has been counted since the service began, whenever somebody asks on the
//! loopback. `METRICS.md` lists them. The format is `exposition`'s, the server is `responder`'s. Whoever asks reads by a connection of
//! its own, and holds up nobody.

mod exposition;
mod responder;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use halfopen_results::Coverage;
use halfopen_results::record::State;
use jiff::{SignedDuration, Timestamp};

use crate::incident::PortChange;
use crate::policy::Policy;
use crate::store::{self, Error, Happening, KnownHost, Selection, Store, outbox};
use crate::subscription::Subscription;
use crate::watch;
use exposition::{Exposition, Kind};
use responder::Responder;

/// `[metrics]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Where; of the loopback.
    pub listen: SocketAddr,
    /// Ports have no more time series than this.
    pub most_port_series: usize,
}

/// Of most sites all ports that matter.
pub const MOST_PORT_SERIES: usize = 2_000;

/// What was built.
#[derive(Debug, Clone, Default)]
pub struct Build {
    /// `0.1.0`.
    pub version: String,
    /// Of which commit; empty if that is not known.
    pub commit: String,
}

/// The numbers under way.
#[derive(Debug)]
pub struct Metrics {
    settings: Settings,
    policy: Arc<Mutex<Option<Policy>>>,
    responder: Responder,
}

impl Metrics {
    /// Answers from now on, of the database there. What is counted is counted from now on.
    pub fn open(settings: Settings, store: &Path, policy: Option<Policy>, build: Build) -> Result<Metrics, String> {
        let said = |what: &dyn std::fmt::Display| format!("[metrics] listen = \"{}\": {what}", settings.listen);
        let policy = Arc::new(Mutex::new(policy));
        let expected = Arc::clone(&policy);
        let mut counts = Counts::new(store, Timestamp::now()).map_err(|error| said(&error))?;
        let page = move || {
            let policy = expected.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let site = Site { policy: policy.as_ref(), most_port_series: settings.most_port_series, build: &build };
            counts.page(&site, Timestamp::now()).map_err(|error| error.to_string())
        };
        let responder = Responder::start(settings.listen, page).map_err(|error: io::Error| said(&error))?;
        Ok(Metrics { settings, policy, responder })
    }

    /// What it was opened with.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Where it answers: with the port that was given for port 0.
    pub fn address(&self) -> SocketAddr {
        self.responder.address()
    }

    /// That is expected from now on.
    pub fn expect(&self, policy: Option<Policy>) {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = policy;
    }
}

/// What is not in the database.
struct Site<'a> {
    policy: Option<&'a Policy>,
    most_port_series: usize,
    build: &'a Build,
}

/// What has been counted, and up to where.
struct Counts {
    store: Store,
    events: Subscription,
    began: Timestamp,
    last_scan: i64,
    changes: BTreeMap<(IpAddr, &'static str), u64>,
    probes: BTreeMap<String, u64>,
}

impl Counts {
    fn new(path: &Path, began: Timestamp) -> Result<Counts, Error> {
        let store = Store::read_only(path)?;
        let events =
            Subscription::from_now(Store::read_only(path)?, Selection { changes: true, ..Selection::default() })?;
        let last_scan = store::newest_scan(store.connection())?;
        Ok(Counts { store, events, began, last_scan, changes: BTreeMap::new(), probes: BTreeMap::new() })
    }

    /// All numbers, as of one moment.
    fn page(&mut self, site: &Site<'_>, now: Timestamp) -> Result<String, Error> {
        self.count()?;
        // What is written in the middle of it is not seen by half of it.
        let moment = self.store.connection().unchecked_transaction()?;
        let mut all = Exposition::default();
        self.ports(&mut all, site)?;
        self.policy(&mut all, site)?;
        self.changes(&mut all);
        self.scans(&mut all)?;
        self.alerts(&mut all, now)?;
        let labels = [("version", site.build.version.as_str()), ("commit", site.build.commit.as_str())];
        all.family("halfopen_build_info", Kind::Gauge, "The program that says this.").sample(&labels, 1.0);
        drop(moment);
        Ok(all.text())
    }

    fn count(&mut self) -> Result<(), Error> {
        loop {
            let events = self.events.poll()?;
            if events.is_empty() {
                break;
            }
            for event in events {
                let counted = event.what.host().and_then(|host| Some((host, change(&event.what)?)));
                counted.into_iter().for_each(|key| *self.changes.entry(key).or_default() += 1);
            }
        }
        for (id, group, probes) in store::probes_after(self.store.connection(), self.last_scan)? {
            self.last_scan = id;
            *self.probes.entry(group).or_default() += probes;
        }
        Ok(())
    }

    fn ports(&self, all: &mut Exposition, site: &Site<'_>) -> Result<(), Error> {
        let connection = self.store.connection();
        let known = store::known(connection)?;
        let covered: Vec<Coverage> = store::remembered_coverage(connection)?.into_iter().map(|it| it.1).collect();
        let ports = self.told_ports(site, &covered)?;
        let most = site.most_port_series / STATES.len();
        let mut states =
            all.family("halfopen_port_state", Kind::Gauge, "1 for the state that the port is in, 0 for the others.");
        for &(host, port) in ports.iter().take(most) {
            let (address, number, now) = (host.to_string(), port.to_string(), state(known.get(&host), port));
            for state in STATES {
                let labels = [
                    ("host", address.as_str()),
                    ("address", &address),
                    ("proto", "tcp"),
                    ("port", &number),
                    ("halfopen_port_state", state),
                ];
                states.sample(&labels, f64::from(u8::from(state == now)));
            }
        }
        let left_out = ports.len().saturating_sub(most);
        all.family(
            "halfopen_port_state_left_out",
            Kind::Gauge,
            "Ports without halfopen_port_state: beyond max-port-series.",
        )
        .sample(&[], left_out as f64);
        let mut counts = all.family("halfopen_ports", Kind::Gauge, "Ports of a host that answers, by state.");
        for (host, known) in known.iter().filter(|(_, known)| known.up) {
            for state in State::ALL {
                let labels = [("host", &*host.to_string()), ("proto", "tcp"), ("state", state.name())];
                counts.sample(&labels, f64::from(known.tcp.count(state)));
            }
        }
        Ok(())
    }

    /// Ports that a rule names, and those that were ever open, as far as scans cover them: those of rules first.
    fn told_ports(&self, site: &Site<'_>, covered: &[Coverage]) -> Result<Vec<(IpAddr, u16)>, Error> {
        let open = store::ever_open_ports(self.store.connection())?;
        let is_covered = |&(host, port): &(IpAddr, u16)| covered.iter().any(|it| it.contains(host, port));
        let open: BTreeSet<_> = open.into_iter().filter(is_covered).collect();
        let listed = site.policy.map(Policy::listed).unwrap_or_default();
        let hosts = store::known(self.store.connection())?;
        let mut first = Vec::new();
        for &host in hosts.keys() {
            let named = listed.ports(host).into_iter().flat_map(|ports| ports.runs().iter().copied());
            let room = site.most_port_series.saturating_sub(first.len());
            let named = named.flat_map(|(first, last)| first..=last).map(|port| (host, port));
            first.extend(named.filter(is_covered).take(room));
        }
        let listed: BTreeSet<_> = first.iter().copied().collect();
        first.extend(open.difference(&listed));
        Ok(first)
    }

    fn policy(&self, all: &mut Exposition, site: &Site<'_>) -> Result<(), Error> {
        let violated = watch::violations(self.store.connection())?;
        let mut family = all.family(
            "halfopen_policy_violations",
            Kind::Gauge,
            "Ports of a host that are not what a rule of the policy wants.",
        );
        for it in violated {
            let labels = [("host", &*it.host.to_string()), ("policy", &*it.rule), ("severity", it.severity.name())];
            family.sample(&labels, f64::from(it.ports));
        }
        let mut family = all.family(
            "halfopen_policy_exception_expiry_timestamp_seconds",
            Kind::Gauge,
            "When an exception of the policy ends.",
        );
        for it in site.policy.into_iter().flat_map(Policy::exceptions) {
            family.sample(&[("policy", &it.rule), ("exception", &it.id)], it.until.as_second() as f64);
        }
        Ok(())
    }

    fn changes(&self, all: &mut Exposition) {
        let help = "Changes that are sure, since the service began.";
        let mut family = all.family("halfopen_changes_total", Kind::Counter, help);
        for (&(host, what), &count) in &self.changes {
            family.sample(&[("host", &host.to_string()), ("type", what)], count as f64);
        }
    }

    fn scans(&self, all: &mut Exposition) -> Result<(), Error> {
        let last = store::last_regular(self.store.connection())?;
        let mut family = all.family(
            "halfopen_scan_duration_seconds",
            Kind::Gauge,
            "How long the last scan took that went to its end.",
        );
        for it in last.iter().filter_map(|it| it.complete.as_ref()) {
            family.sample(&[("target", &it.group)], seconds(it.ended.duration_since(it.started)));
        }
        let mut family =
            all.family("halfopen_scan_probes_total", Kind::Counter, "Probes sent, since the service began.");
        for it in &last {
            family.sample(&[("target", &it.group)], self.probes.get(&it.group).map_or(0.0, |&probes| probes as f64));
        }
        let help = "When the last scan ended that went to its end.";
        let mut family = all.family("halfopen_scan_last_success_timestamp_seconds", Kind::Gauge, help);
        for it in last.iter().filter_map(|it| it.complete.as_ref()) {
            family.sample(&[("target", &it.group)], it.ended.as_millisecond() as f64 / 1000.0);
        }
        let help = "1 if the last scan looked at all of its targets, 0 if it failed, ended early or was skipped.";
        let mut family = all.family("halfopen_scan_coverage_ratio", Kind::Gauge, help);
        for it in &last {
            family.sample(&[("target", &it.group)], f64::from(u8::from(it.is_whole)));
        }
        Ok(())
    }

    fn alerts(&self, all: &mut Exposition, now: Timestamp) -> Result<(), Error> {
        let connection = self.store.connection();
        let mut counts = BTreeMap::from([("firing", 0), ("acknowledged", 0), ("suppressed", 0)]);
        for incident in store::open_incidents(connection)? {
            let state = match () {
                () if incident.muted_until.is_some_and(|until| now < until) => "suppressed",
                () if incident.acknowledged.is_some() => "acknowledged",
                () => "firing",
            };
            *counts.entry(state).or_default() += 1;
        }
        let mut family = all.family("halfopen_alerts", Kind::Gauge, "Incidents that are going on.");
        for (state, count) in counts {
            family.sample(&[("state", state)], f64::from(count));
        }
        let help = "Attempts to deliver a message, by what came of them, since the service began.";
        let mut family = all.family("halfopen_notifications_total", Kind::Counter, help);
        for (channel, result, count) in outbox::tried(connection, self.began)? {
            family.sample(&[("channel", &channel), ("result", &result)], count as f64);
        }
        let (pending, oldest) = outbox::backlog(connection)?;
        all.family("halfopen_outbox_pending", Kind::Gauge, "Messages that were not delivered yet.")
            .sample(&[], pending as f64);
        let age = oldest.map_or(0.0, |oldest| seconds(now.duration_since(oldest)).max(0.0));
        all.family("halfopen_outbox_oldest_age_seconds", Kind::Gauge, "For how long the oldest of them has waited.")
            .sample(&[], age);
        Ok(())
    }
}

/// Of whole milliseconds, as the database has them.
fn seconds(time: SignedDuration) -> f64 {
    time.as_millis() as f64 / 1000.0
}

/// What a port is.
const STATES: [&str; 4] = ["open", "closed", "filtered", "unknown"];

fn state(host: Option<&KnownHost>, port: u16) -> &'static str {
    let run = host.filter(|host| host.up).and_then(|host| host.tcp.at(port));
    run.map_or("unknown", |run| run.fact.state.name())
}

fn change(what: &Happening) -> Option<&'static str> {
    match what {
        Happening::Port { change: PortChange { is: State::Open, .. }, .. } => Some("port_opened"),
        Happening::Port { change: PortChange { is: State::Closed, .. }, .. } => Some("port_closed"),
        Happening::Port { change: PortChange { is: State::Filtered, .. }, .. } => Some("port_filtered"),
        Happening::Appeared { .. } => Some("host_appeared"),
        Happening::Down { .. } => Some("host_down"),
        Happening::Up { .. } => Some("host_up"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
