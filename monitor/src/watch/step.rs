//! What follows from one scan of a group, within its transaction: what is learnt, what is told of it and what is not, because
//! it follows from something wider, takes back what was told, or happens in maintenance.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use halfopen_results::Coverage;
use halfopen_results::record::State;
use halfopen_services::{Risk, by_port};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::Connection;

use super::compliance::Told;
use crate::Incident;
use crate::detect::causes::{self, Cause};
use crate::detect::{Detection, Findings, Memory, Sure, habits};
use crate::docket::{Docket, Draft};
use crate::endpoint::Endpoint;
use crate::incident::{Mark, PortChange, Severity, Trigger};
use crate::ledger::{Fact, Ledger};
use crate::policy::Policy;
use crate::snapshot::{Seen, Snapshot};
use crate::store::{self, Error, Happening, Known, KnownHost};
use crate::wording::round_trip;

/// What follows from one scan, within its transaction.
pub(super) struct Step<'a> {
    pub(super) group: &'a str,
    pub(super) settings: &'a Detection,
    pub(super) zone: &'a TimeZone,
    /// Whether changes are not to be told yet.
    pub(super) is_deferred: bool,
    pub(super) known: &'a mut Known,
    pub(super) memory: &'a mut Memory,
    pub(super) docket: Docket<'a>,
    pub(super) connection: &'a Connection,
    pub(super) now: Timestamp,
    /// What is expected, what has been told of that, by whichever incident,
    pub(super) policy: Option<&'a Policy>,
    pub(super) told: &'a mut Told,
    /// and changes that break it, with what is unusual about them.
    pub(super) fresh: BTreeMap<Endpoint, (Sure, Vec<Mark>)>,
    /// Whether a port is something else now than at the beginning of the step.
    pub(super) is_different: bool,
}

impl Step<'_> {
    /// Takes a scan of the whole group.
    pub(super) fn regular(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        self.memory.regular(self.known, snapshot, self.settings, self.now);
        if !self.is_deferred && self.memory.has_deferred() {
            self.settle_deferred()?;
        }
        if snapshot.complete {
            self.succeeded()?;
        }
        for (&host, seen) in &snapshot.hosts {
            match self.known.get(&host).map(|known| known.up) {
                Some(up) => {
                    if !up {
                        self.came_back(host)?;
                    }
                    self.learn(host, seen)?;
                }
                None => self.appeared(host, seen)?,
            }
        }
        if !snapshot.hosts.is_empty() {
            self.docket.resolve(&cause_of_silence(self.group), "hosts answer again")?;
        }
        if !self.memory.has_baseline && snapshot.complete {
            self.baseline(snapshot)?;
        }
        self.restless(snapshot)
    }

    /// All suspicions are decided.
    pub(super) fn conclude(&mut self, snapshot: &Snapshot, covered: &Coverage) -> Result<(), Error> {
        let findings = self.memory.conclude(self.known, self.settings);
        for &change in &findings.blinked {
            self.append(&Happening::Blinked { change })?;
        }
        let down: Vec<IpAddr> = findings.down.iter().map(|&(host, _)| host).collect();
        match causes::of_silence(self.known, covered, snapshot, &down) {
            Some(cause) => self.fell_silent(&cause, findings.down.iter().map(|&(_, since)| since).min())?,
            None => findings.down.iter().try_for_each(|&(host, since)| self.went_down(host, since))?,
        }
        let count = findings.changes.len();
        let opened = findings.changes.iter().any(|sure| sure.change.is == State::Open);
        let is_ours = |host: IpAddr| covered.ports(host).is_some();
        let ever_open = if opened { store::ever_open(self.connection, is_ours)? } else { BTreeSet::new() };
        let walled = if count > 0 { self.walled()? } else { Walled::new() };
        for cause in causes::of_changes(self.known, findings, self.settings) {
            self.changed(cause, count, &ever_open, &walled)?;
        }
        self.refresh_unrest()
    }

    fn changed(&mut self, cause: Cause, count: usize, ever_open: &BTreeSet<u16>, walled: &Walled) -> Result<(), Error> {
        match cause {
            Cause::Port(sure) => {
                let endpoint = sure.change.endpoint;
                let past =
                    store::history(self.connection, endpoint.address, Some(endpoint.port.number), Timestamp::MIN)?;
                let marks = habits::marks(&sure, count, ever_open, &past, self.settings, self.zone);
                self.write(&sure)?;
                self.tell_of_port(&sure, marks, walled)
            }
            Cause::Firewall { host, changes } => {
                changes.iter().try_for_each(|sure| self.write(sure))?;
                self.tell_of_firewall(host, &changes, walled)
            }
            Cause::Offline | Cause::GatewayGone => Ok(()),
        }
    }

    /// The port is so since it was first seen so.
    fn write(&mut self, sure: &Sure) -> Result<(), Error> {
        let Endpoint { address, port } = sure.change.endpoint;
        self.set(address, port.number, port.number, Some(sure.fact.clone()), sure.since)?;
        self.append(&Happening::Port { change: sure.change, since: Some(sure.since) })
    }

    fn tell_of_port(&mut self, sure: &Sure, marks: Vec<Mark>, walled: &Walled) -> Result<(), Error> {
        let endpoint = sure.change.endpoint;
        if self.is_deferred {
            self.memory.deferred.entry(endpoint).or_insert(sure.change.was);
            return Ok(());
        }
        if self.is_breach(endpoint, sure.change.is) {
            self.fresh.insert(endpoint, (sure.clone(), marks));
            return self.absorb_port(endpoint);
        }
        // Behind a firewall it was not seen: it is held against what it was before.
        let was = match returned(&sure.change, walled) {
            Some(before) if !self.is_exposed_again(&sure.change)? => before.was,
            _ => sure.change.was,
        };
        let change = PortChange { was, ..sure.change };
        let cause = cause_of_port(endpoint);
        if let Some(incident) = self.docket.of_cause(&cause)? {
            return self.tell_more_of_port(&incident, sure);
        }
        // That a violation is over is told as its end.
        let is_mended = was.is_some_and(|was| self.is_breach(endpoint, was));
        let rejects_only = was == Some(State::Filtered) && change.is == State::Closed;
        if was == Some(change.is) || is_mended || rejects_only || self.memory.is_unstable(endpoint) {
            return Ok(());
        }
        let (trigger, severity) = graded(&change);
        let draft = Draft { group: self.group, trigger, cause, severity, since: sure.since };
        let mut incident = draft.at(self.now).about(vec![change]).marked(marks).with("evidence", evidence(sure));
        let judged = self.policy.map(|policy| policy.judge(endpoint, change.is, self.now).details());
        incident.details.extend(judged.unwrap_or_default());
        self.docket.begin(incident)
    }

    /// Whether a port is unsafe and open, and nobody is told any more that it is.
    fn is_exposed_again(&self, change: &PortChange) -> Result<bool, Error> {
        if change.trigger() != Trigger::PlaintextExposed {
            return Ok(false);
        }
        let first = self.docket.of_cause(&cause_of_exposure(self.group))?;
        let is_told = first.is_some_and(|it| it.changes.iter().any(|told| told.endpoint == change.endpoint));
        Ok(!is_told)
    }

    /// It is again what it was when its incident began, or something else.
    fn tell_more_of_port(&mut self, incident: &Incident, sure: &Sure) -> Result<(), Error> {
        let was = incident.changes.first().and_then(|change| change.was);
        if was == Some(sure.change.is) {
            return self.docket.resolve(&incident.cause, as_before(sure.change.is));
        }
        let change = PortChange { was, ..sure.change };
        let (trigger, severity) = graded(&change);
        self.docket.revise(&incident.cause, |incident| {
            incident.changes = vec![change];
            (incident.trigger, incident.severity) = (trigger, severity);
            incident.details.retain(|detail| detail.name != "evidence");
            *incident = incident.clone().with("evidence", evidence(sure));
        })
    }

    fn tell_of_firewall(&mut self, host: Option<IpAddr>, changes: &[Sure], walled: &Walled) -> Result<(), Error> {
        if self.is_deferred {
            for sure in changes {
                self.memory.deferred.entry(sure.change.endpoint).or_insert(sure.change.was);
            }
            return Ok(());
        }
        // What it takes back is over with it; a port that is not what it was before is a matter of its own.
        let mut new = Vec::new();
        for sure in changes {
            if self.takes_back(&sure.change, walled)? {
                self.tell_of_port(sure, Vec::new(), walled)?;
            } else {
                new.push(sure.change);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let since = changes.iter().map(|sure| sure.since).min().unwrap_or(self.now);
        let cause = cause_of_firewall(host, self.group);
        let (trigger, severity) = (Trigger::FirewallChanged, Severity::Warning);
        if let Some(mut incident) = self.docket.of_cause(&cause)? {
            extend(&mut incident.changes, &new);
            let incident = self.burdened(incident)?;
            return self.docket.revise(&cause, |it| *it = incident);
        }
        let mut incident = Draft { group: self.group, trigger, cause, severity, since }.at(self.now).about(new);
        incident.host = host;
        let incident = self.burdened(incident)?;
        self.docket.begin(incident)
    }

    /// Whether a port that fell silent by a firewall answers again, or the other way round, or is again what its own incident
    /// says that it was.
    fn takes_back(&self, change: &PortChange, walled: &Walled) -> Result<bool, Error> {
        if returned(change, walled).is_some() {
            return Ok(true);
        }
        let host = change.endpoint.address;
        let own = self.docket.of_cause(&cause_of_port(change.endpoint))?;
        let broken = self.told.causes_at(host).map(|cause| self.docket.of_cause(cause));
        let told = own.into_iter().map(|it| Ok(Some(it))).chain(broken);
        let is_it = |before: &PortChange| before.endpoint == change.endpoint && before.was == Some(change.is);
        for incident in told {
            if incident?.is_some_and(|incident| incident.changes.iter().any(is_it)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What open incidents of firewalls are about.
    fn walled(&self) -> Result<Walled, Error> {
        let wide = self.docket.about(self.group, &[Trigger::FirewallChanged])?;
        let changes = wide.into_iter().flat_map(|incident| incident.changes);
        Ok(changes.map(|change| (change.endpoint, change)).collect())
    }

    /// Incidents whose ports are again what they were are over.
    pub(super) fn compare_with_before(&mut self) -> Result<(), Error> {
        if !self.is_different {
            return Ok(());
        }
        for incident in self.docket.about(self.group, &[Trigger::FirewallChanged, Trigger::PlaintextExposed])? {
            let is_back =
                |change: &PortChange| self.state(change.endpoint).is_some_and(|state| is_returned(change, state));
            let unexposed = |change: &PortChange| self.state(change.endpoint).is_some_and(|state| state != State::Open);
            let is_over = match incident.trigger {
                Trigger::FirewallChanged => incident.changes.iter().all(is_back),
                _ => incident.changes.iter().all(unexposed),
            };
            if is_over && !incident.changes.is_empty() {
                self.docket.resolve(&incident.cause, "as before")?;
            }
        }
        Ok(())
    }

    /// What was found when nothing was known is what later scans are held against. Only what is unsafe anyway is told.
    fn baseline(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        self.append(&Happening::Baseline { hosts: snapshot.hosts.len() as u64, open: snapshot.open() })?;
        let mut changes = Vec::new();
        for (&host, seen) in &snapshot.hosts {
            let open = seen.0.iter().filter(|(_, _, fact)| fact.state == State::Open);
            let ports = open.flat_map(|&(first, last, _)| first..=last).map(|port| Endpoint::tcp(host, port));
            let change = |endpoint| PortChange { endpoint, was: None, is: State::Open };
            // What breaks the policy is told as that.
            let is_told = |change: &PortChange| self.is_breach(change.endpoint, State::Open);
            changes.extend(ports.map(change).filter(|change| change.is_plaintext() && !is_told(change)));
        }
        if changes.is_empty() {
            return Ok(());
        }
        let (trigger, severity) = (Trigger::PlaintextExposed, Severity::Warning);
        let cause = cause_of_exposure(self.group);
        let draft = Draft { group: self.group, trigger, cause, severity, since: self.now };
        self.docket.begin(draft.at(self.now).about(changes))
    }

    fn appeared(&mut self, host: IpAddr, seen: &Seen) -> Result<(), Error> {
        self.known.insert(host, KnownHost { up: true, since: self.now, tcp: Ledger::default() });
        store::write_presence(self.connection, host, true, self.now)?;
        self.learn(host, seen)?;
        let open = seen.0.iter().filter(|(_, _, fact)| fact.state == State::Open);
        let open: Vec<u16> = open.flat_map(|&(first, last, _)| first..=last).collect();
        if !self.memory.has_baseline {
            return Ok(());
        }
        self.append(&Happening::Appeared { host, open: open.clone() })?;
        if self.is_deferred {
            self.memory.deferred_new.insert(host);
            return Ok(());
        }
        self.tell_of_new(host, &open, self.now)
    }

    fn tell_of_new(&mut self, host: IpAddr, open: &[u16], since: Timestamp) -> Result<(), Error> {
        let (trigger, severity, cause) = (Trigger::NewHost, Severity::Warning, format!("new-host/{host}"));
        let change = |&port: &u16| PortChange { endpoint: Endpoint::tcp(host, port), was: None, is: State::Open };
        let draft = Draft { group: self.group, trigger, cause, severity, since };
        let mut incident = draft.at(self.now).about(open.iter().map(change).collect());
        incident.host = Some(host);
        let incident = self.burdened(incident)?;
        self.docket.begin(incident)
    }

    fn came_back(&mut self, host: IpAddr) -> Result<(), Error> {
        if let Some(known) = self.known.get_mut(&host) {
            (known.up, known.since) = (true, self.now);
        }
        store::write_presence(self.connection, host, true, self.now)?;
        self.memory.deferred_hosts.remove(&host);
        self.append(&Happening::Up { host })?;
        self.docket.resolve(&cause_of_host(host), "it answers again")
    }

    fn went_down(&mut self, host: IpAddr, since: Timestamp) -> Result<(), Error> {
        if let Some(known) = self.known.get_mut(&host) {
            (known.up, known.since) = (false, since);
        }
        store::write_presence(self.connection, host, false, since)?;
        self.append(&Happening::Down { host, since: Some(since) })?;
        if self.is_deferred {
            self.memory.deferred_hosts.insert(host);
            return Ok(());
        }
        self.tell_of_host(host, since)
    }

    fn tell_of_host(&mut self, host: IpAddr, since: Timestamp) -> Result<(), Error> {
        let (trigger, severity, cause) = (Trigger::HostDown, Severity::Warning, cause_of_host(host));
        let mut incident = Draft { group: self.group, trigger, cause, severity, since }.at(self.now);
        incident.host = Some(host);
        self.docket.begin(incident)
    }

    fn fell_silent(&mut self, cause: &Cause, since: Option<Timestamp>) -> Result<(), Error> {
        let trigger = if *cause == Cause::Offline { Trigger::ScannerOffline } else { Trigger::GatewayGone };
        let (severity, since) = (Severity::Critical, since.unwrap_or(self.now));
        let draft = Draft { group: self.group, trigger, cause: cause_of_silence(self.group), severity, since };
        self.docket.begin(draft.at(self.now))
    }

    fn succeeded(&mut self) -> Result<(), Error> {
        (self.memory.failures, self.memory.failing_since) = (0, None);
        self.memory.last_success = Some(self.now);
        self.docket.resolve(&format!("scan/{}", self.group), "a scan went to its end")?;
        self.docket.resolve(&format!("late/{}", self.group), "a scan went to its end")
    }

    pub(super) fn late(&mut self) -> Result<(), Error> {
        let since = self.memory.last_success.unwrap_or(self.now);
        let (trigger, severity, cause) = (Trigger::ScanLate, Severity::Warning, format!("late/{}", self.group));
        self.docket.begin(Draft { group: self.group, trigger, cause, severity, since }.at(self.now))
    }

    /// Ports that became unstable, and those that are not any more.
    fn restless(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        for endpoint in self.memory.unstable().collect::<Vec<_>>() {
            let cause = cause_of_unrest(endpoint);
            if self.is_deferred || self.docket.of_cause(&cause)?.is_some() {
                continue;
            }
            let seen = snapshot.fact(endpoint.address, endpoint.port.number).map(|fact| fact.state);
            let is = seen.or(self.state(endpoint)).unwrap_or(State::Filtered);
            self.docket.absorb(&cause_of_port(endpoint), "a port that keeps changing")?;
            let (trigger, severity) = (Trigger::Unstable, Severity::Warning);
            let draft = Draft { group: self.group, trigger, cause, severity, since: self.now };
            let incident = draft.at(self.now).about(vec![PortChange { endpoint, was: None, is }]);
            let incident = self.restless_and_wrong(incident, endpoint);
            self.docket.begin(incident)?;
        }
        let is_calm =
            |incident: &Incident| incident.changes.iter().all(|change| !self.memory.is_unstable(change.endpoint));
        let mut calm = self.docket.about(self.group, &[Trigger::Unstable])?;
        calm.retain(is_calm);
        for incident in calm {
            let is = incident.changes.first().and_then(|change| self.state(change.endpoint));
            let why = is.map_or_else(|| "it keeps still".to_owned(), |is| format!("it keeps still, and is {is}"));
            self.docket.resolve(&incident.cause, &why)?;
        }
        Ok(())
    }

    /// What is said of a port that keeps changing is what it is now, not what it was when that began.
    fn refresh_unrest(&mut self) -> Result<(), Error> {
        for Incident { cause, mut changes, .. } in self.docket.about(self.group, &[Trigger::Unstable])? {
            let before = changes.clone();
            changes.iter_mut().for_each(|change| change.is = self.state(change.endpoint).unwrap_or(change.is));
            if changes != before {
                self.docket.restate(&cause, |incident| incident.changes = changes)?;
            }
        }
        Ok(())
    }

    /// Maintenance is over: what still differs from before it is told.
    pub(super) fn settle_deferred(&mut self) -> Result<(), Error> {
        let mut findings = Findings::default();
        for (endpoint, was) in std::mem::take(&mut self.memory.deferred) {
            let host = self.known.get(&endpoint.address);
            let run = host.and_then(|host| host.tcp.at(endpoint.port.number)).cloned();
            let Some(run) = run.filter(|run| Some(run.fact.state) != was) else { continue };
            let change = PortChange { endpoint, was, is: run.fact.state };
            findings.changes.push(Sure { change, fact: run.fact, since: run.since, sights: self.settings.open_after });
        }
        let walled = self.walled()?;
        for cause in causes::of_changes(self.known, findings, self.settings) {
            match cause {
                Cause::Port(sure) => self.tell_of_port(&sure, Vec::new(), &walled)?,
                Cause::Firewall { host, changes } => self.tell_of_firewall(host, &changes, &walled)?,
                Cause::Offline | Cause::GatewayGone => {}
            }
        }
        for host in std::mem::take(&mut self.memory.deferred_hosts) {
            let down = self.known.get(&host).filter(|known| !known.up).map(|known| known.since);
            down.into_iter().try_for_each(|since| self.tell_of_host(host, since))?;
        }
        for host in std::mem::take(&mut self.memory.deferred_new) {
            let Some(known) = self.known.get(&host).filter(|known| known.up) else { continue };
            let open = known.tcp.runs().iter().filter(|run| run.fact.state == State::Open);
            let (open, since) = (open.flat_map(|run| run.first..=run.last).collect::<Vec<_>>(), known.since);
            self.tell_of_new(host, &open, since)?;
        }
        Ok(())
    }

    /// What was not known of a host's ports before is taken as it is seen.
    fn learn(&mut self, host: IpAddr, seen: &Seen) -> Result<(), Error> {
        for (first, last, fact) in &seen.0 {
            let runs = self.known.get(&host).map_or(&[][..], |known| known.tcp.runs());
            let from = runs.partition_point(|run| run.last < *first);
            let meet = runs[from..].iter().take_while(|run| run.first <= *last);
            let mut gaps = Vec::new();
            let mut next = Some(*first);
            for run in meet {
                gaps.extend(next.filter(|&next| next < run.first).map(|next| (next, run.first - 1)));
                next = run.last.checked_add(1);
            }
            gaps.extend(next.filter(|&next| next <= *last).map(|next| (next, *last)));
            for (first, last) in gaps {
                self.set(host, first, last, Some(fact.clone()), self.now)?;
            }
        }
        Ok(())
    }

    /// The group is about this now; of what it was about before nothing is known any more, unless another group asks it.
    pub(super) fn cover(&mut self, coverages: &mut BTreeMap<String, Coverage>, asked: &Coverage) -> Result<(), Error> {
        let before = coverages.insert(self.group.to_owned(), asked.clone());
        if before.as_ref() == Some(asked) {
            return Ok(());
        }
        store::remember_coverage(self.connection, self.group, asked)?;
        let Some(before) = before else { return Ok(()) };
        forget(self.connection, self.known, &before, coverages, self.now)?;
        let is_watched = |host, port| coverages.values().any(|coverage| coverage.contains(host, port));
        self.memory.forget(is_watched);
        self.lose_sight(coverages)
    }

    /// Of what is not watched any more nobody can say when it is over. Violations of the policy are judged by themselves.
    fn lose_sight(&mut self, coverages: &BTreeMap<String, Coverage>) -> Result<(), Error> {
        let is_port = |change: &PortChange| {
            let Endpoint { address, port } = change.endpoint;
            coverages.values().any(|coverage| coverage.contains(address, port.number))
        };
        let is_host = |host| coverages.values().any(|coverage| coverage.ports(host).is_some());
        let is_ours = |it: &Incident| it.trigger != Trigger::PolicyViolated;
        for incident in self.docket.about(self.group, &Trigger::ALL)?.into_iter().filter(is_ours) {
            let seen: Vec<PortChange> = incident.changes.iter().copied().filter(is_port).collect();
            let is_lost = match incident.host {
                _ if !incident.changes.is_empty() => seen.is_empty(),
                host => host.is_some_and(|host| !is_host(host)),
            };
            match is_lost {
                true => self.docket.resolve(&incident.cause, "it is not watched any more")?,
                false if seen != incident.changes => self.docket.restate(&incident.cause, |it| it.changes = seen)?,
                false => {}
            }
        }
        Ok(())
    }

    fn set(&mut self, host: IpAddr, first: u16, last: u16, fact: Option<Fact>, since: Timestamp) -> Result<(), Error> {
        let Some(known) = self.known.get_mut(&host) else { return Ok(()) };
        let cut = known.tcp.set(first, last, fact, since);
        self.is_different |= !cut.is_empty();
        store::write_runs(self.connection, host, &cut, since)
    }

    pub(super) fn state(&self, endpoint: Endpoint) -> Option<State> {
        self.known.get(&endpoint.address)?.tcp.at(endpoint.port.number).map(|run| run.fact.state)
    }

    fn append(&self, what: &Happening) -> Result<(), Error> {
        store::append(self.connection, self.now, Some(self.group), what).map(|_| ())
    }
}

/// Of what was covered and is not by any group, nothing is known from now on.
pub(super) fn forget(
    connection: &Connection,
    known: &mut Known,
    before: &Coverage,
    now_covered: &BTreeMap<String, Coverage>,
    now: Timestamp,
) -> Result<(), Error> {
    for (&host, it) in known.iter_mut() {
        let Some(asked) = before.ports(host) else { continue };
        let still = now_covered.values().filter_map(|coverage| coverage.ports(host));
        let left = still.fold(asked.clone(), |left, ports| left.without(ports));
        for &(first, last) in left.runs() {
            let cut = it.tcp.set(first, last, None, now);
            store::write_runs(connection, host, &cut, now)?;
        }
    }
    Ok(())
}

/// Ports that a firewall made fall silent, or answer, with what they were before.
type Walled = BTreeMap<Endpoint, PortChange>;

/// The change by a firewall that this one takes back, whatever the port's answer is.
fn returned<'a>(change: &PortChange, walled: &'a Walled) -> Option<&'a PortChange> {
    walled.get(&change.endpoint).filter(|before| is_returned(before, change.is))
}

/// Whether a port that fell silent answers, or one that began to answer is silent.
fn is_returned(before: &PortChange, now: State) -> bool {
    (now == State::Filtered) == (before.was == Some(State::Filtered))
}

/// Adds changes to those of an incident, which keeps what each port was at first.
fn extend(all: &mut Vec<PortChange>, more: &[PortChange]) {
    for change in more {
        match all.iter_mut().find(|before| before.endpoint == change.endpoint) {
            Some(before) => before.is = change.is,
            None => all.push(*change),
        }
    }
}

/// What a change is called, and how much it matters.
fn graded(change: &PortChange) -> (Trigger, Severity) {
    let is_risky = by_port(change.endpoint.port).is_some_and(|service| service.risk == Risk::High);
    let severity = match change.is {
        State::Open if is_risky => Severity::Critical,
        State::Filtered if change.was != Some(State::Open) => Severity::Info,
        _ => Severity::Warning,
    };
    (change.trigger(), severity)
}

fn as_before(state: State) -> &'static str {
    match state {
        State::Open => "it is open again",
        State::Closed => "it is closed again",
        State::Filtered => "it is silent again",
    }
}

/// `seen 3 times: syn-ack, TTL 63, 1.2 ms`.
pub(super) fn evidence(sure: &Sure) -> String {
    let ttl = sure.fact.ttl.map_or_else(String::new, |ttl| format!(", TTL {ttl}"));
    let rtt = sure.fact.rtt_us.map_or_else(String::new, |rtt| format!(", {}", round_trip(rtt)));
    let reason = if sure.fact.reason.is_empty() { "an answer" } else { &sure.fact.reason };
    format!("seen {} times: {reason}{ttl}{rtt}", sure.sights)
}

pub(super) fn cause_of_port(endpoint: Endpoint) -> String {
    format!("port/{endpoint}")
}

pub(super) fn cause_of_unrest(endpoint: Endpoint) -> String {
    format!("unstable/{endpoint}")
}

fn cause_of_exposure(group: &str) -> String {
    format!("plaintext/{group}")
}

fn cause_of_host(host: IpAddr) -> String {
    format!("host/{host}")
}

pub(super) fn cause_of_silence(group: &str) -> String {
    format!("silence/{group}")
}

fn cause_of_firewall(host: Option<IpAddr>, group: &str) -> String {
    host.map_or_else(|| format!("firewall/group {group}"), |host| format!("firewall/{host}"))
}
