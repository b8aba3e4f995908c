//! What happened that somebody may want to know: one incident a cause, from when it begins until it is over.

use std::fmt;
use std::net::IpAddr;

use halfopen_results::record::State;
use halfopen_services::{Risk, plaintext};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;

/// Which incident: counted up from 1, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IncidentId(pub i64);

/// What an incident is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Trigger {
    /// A port is open that was not.
    Opened,
    /// An open port is closed.
    Closed,
    /// A port that answered is silent.
    Filtered,
    /// A host answers that never did before.
    NewHost,
    /// A host does not answer any more.
    HostDown,
    /// Many ports of a host, or of many hosts, fell silent or began to answer together.
    FirewallChanged,
    /// A port is not what the policy says.
    PolicyViolated,
    /// An exception of the policy ends soon, or has ended.
    ExceptionExpiring,
    /// A port changes to and fro.
    Unstable,
    /// A service that anybody on the way can read is reachable.
    PlaintextExposed,
    /// Scans of a group fail.
    ScanFailed,
    /// Scans of a group are overdue.
    ScanLate,
    /// The scanner itself has no network.
    ScannerOffline,
    /// What lies behind a gateway cannot be seen.
    GatewayGone,
}

impl Trigger {
    /// All of them.
    pub const ALL: [Trigger; 14] = [
        Trigger::Opened,
        Trigger::Closed,
        Trigger::Filtered,
        Trigger::NewHost,
        Trigger::HostDown,
        Trigger::FirewallChanged,
        Trigger::PolicyViolated,
        Trigger::ExceptionExpiring,
        Trigger::Unstable,
        Trigger::PlaintextExposed,
        Trigger::ScanFailed,
        Trigger::ScanLate,
        Trigger::ScannerOffline,
        Trigger::GatewayGone,
    ];

    /// `opened`, `policy-violated`, ...: as in settings, JSON and labels.
    pub fn name(self) -> &'static str {
        match self {
            Trigger::Opened => "opened",
            Trigger::Closed => "closed",
            Trigger::Filtered => "filtered",
            Trigger::NewHost => "new-host",
            Trigger::HostDown => "host-down",
            Trigger::FirewallChanged => "firewall-changed",
            Trigger::PolicyViolated => "policy-violated",
            Trigger::ExceptionExpiring => "exception-expiring",
            Trigger::Unstable => "unstable",
            Trigger::PlaintextExposed => "plaintext-exposed",
            Trigger::ScanFailed => "scan-failed",
            Trigger::ScanLate => "scan-late",
            Trigger::ScannerOffline => "scanner-offline",
            Trigger::GatewayGone => "gateway-gone",
        }
    }

    /// The trigger of that name.
    pub fn named(name: &str) -> Option<Trigger> {
        Trigger::ALL.into_iter().find(|trigger| trigger.name() == name)
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How much an incident matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Worth checking.
    Warning,
    /// Act now.
    Critical,
}

impl Severity {
    /// `info`, `warning`, `critical`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What became different at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortChange {
    /// Where.
    pub endpoint: Endpoint,
    /// What it was, if that was known.
    pub was: Option<State>,
    /// What it is.
    pub is: State,
}

impl PortChange {
    /// What it is called.
    pub fn trigger(&self) -> Trigger {
        match self.is {
            State::Open if self.is_plaintext() => Trigger::PlaintextExposed,
            State::Open => Trigger::Opened,
            State::Closed => Trigger::Closed,
            State::Filtered => Trigger::Filtered,
        }
    }

    /// Whether what is usually there sends everything in the clear, and is no harmless thing: web pages often only say where they are
    /// encrypted. Messages name what is better in any case.
    pub fn is_plaintext(&self) -> bool {
        plaintext(self.endpoint.port).is_some_and(|service| service.risk != Risk::Low)
    }
}

/// What is unusual about a change, by this site's own habit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Mark {
    /// Many ports changed in the same scan.
    ManyAtOnce,
    /// This port was never open on any host of the group.
    NeverSeen,
    /// It is open at a time at which it never is.
    UnusualHour,
}

/// Somebody has seen it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// When,
    pub at: Timestamp,
    /// who,
    pub by: String,
    /// and what they said.
    pub note: String,
}

/// What happened, and what has become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Which.
    pub id: IncidentId,
    /// What tells its cause from others: while it is open there is no second incident of the same.
    pub cause: String,
    /// What it is about.
    pub trigger: Trigger,
    /// In which group.
    pub group: String,
    /// At which host, if at one.
    pub host: Option<IpAddr>,
    /// How much it matters.
    pub severity: Severity,
    /// What became different.
    pub changes: Vec<PortChange>,
    /// What is unusual about that.
    pub marks: Vec<Mark>,
    /// In words what a machine cannot know otherwise: the rule of the policy, the error of a scan, an answer's evidence.
    pub details: Vec<Detail>,
    /// When it came about, as far as is known: the scan that first saw it.
    pub since: Timestamp,
    /// When it was sure.
    pub opened: Timestamp,
    /// Who takes care of it.
    pub acknowledged: Option<Acknowledgement>,
    /// Nobody is told before then.
    pub muted_until: Option<Timestamp>,
    /// Who has said so.
    #[serde(default)]
    pub muted_by: Option<String>,
    /// When it was over.
    pub resolved: Option<Timestamp>,
    /// Why it was over: `as before`, `accepted by NAME`, `compliant`.
    pub resolution: Option<String>,
    /// What it goes on as part of, if it is over only for that: `a port that keeps changing`.
    #[serde(default)]
    pub part_of: Option<String>,
}

/// Something to know, with its name: `rule`, `why`, `evidence`, `error`, `owner`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// What it is.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// The detail that says how a wider incident, such as a new host, stands to the policy: one of these.
pub const POLICY: &str = "policy";
/// The policy is broken by it,
pub const VIOLATED: &str = "violated";
/// or was, and is not any more.
pub const KEPT_AGAIN: &str = "kept again";

impl Incident {
    /// Whether it is still going on.
    pub fn is_open(&self) -> bool {
        self.resolved.is_none()
    }

    /// Whether somebody who asks for that trigger means it. What breaks the policy means its own trigger and that of its change, so
    /// that one incident serves both.
    pub fn is_about(&self, trigger: Trigger) -> bool {
        match trigger {
            _ if trigger == self.trigger => true,
            Trigger::PolicyViolated => self.breaks_policy(),
            _ if self.trigger == Trigger::PolicyViolated => {
                let is_it = |change: &PortChange| {
                    change.trigger() == trigger && (change.was.is_some() || trigger == Trigger::PlaintextExposed)
                };
                self.changes.iter().any(is_it)
            }
            _ => false,
        }
    }

    /// Whether something in it is not as the policy wants it.
    pub fn breaks_policy(&self) -> bool {
        self.trigger == Trigger::PolicyViolated || self.detail(POLICY) == Some(VIOLATED)
    }

    /// The text of that name.
    pub fn detail(&self, name: &str) -> Option<&str> {
        self.details.iter().find(|detail| detail.name == name).map(|detail| detail.text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docket::Draft;

    #[test]
    fn what_breaks_the_policy_is_meant_by_both_triggers() {
        let draft = |trigger| {
            let (cause, severity, since) = ("x".into(), Severity::Warning, Timestamp::UNIX_EPOCH);
            Draft { group: "dmz", trigger, cause, severity, since }.at(since)
        };
        let change = |was, port| {
            vec![PortChange { endpoint: Endpoint::tcp("192.0.2.1".parse().unwrap(), port), was, is: State::Open }]
        };
        let meant = |incident: &Incident| {
            Trigger::ALL.into_iter().filter(|&trigger| incident.is_about(trigger)).collect::<Vec<_>>()
        };
        use Trigger::{NewHost, Opened, PlaintextExposed, PolicyViolated};
        assert_eq!(meant(&draft(PolicyViolated).about(change(Some(State::Closed), 22))), [Opened, PolicyViolated]);
        assert_eq!(meant(&draft(PolicyViolated).about(change(None, 22))), [PolicyViolated], "it has not opened now");
        assert_eq!(meant(&draft(PolicyViolated).about(change(None, 23))), [PolicyViolated, PlaintextExposed]);
        assert_eq!(meant(&draft(NewHost)), [NewHost]);
        assert_eq!(meant(&draft(NewHost).with(POLICY, VIOLATED)), [NewHost, PolicyViolated]);
        assert_eq!(meant(&draft(NewHost).with(POLICY, KEPT_AGAIN)), [NewHost]);
    }

    #[test]
    fn names_are_those_of_json() {
        for trigger in Trigger::ALL {
            assert_eq!(serde_json::to_value(trigger).unwrap(), trigger.name());
            assert_eq!(Trigger::named(trigger.name()), Some(trigger));
        }
    }
}
