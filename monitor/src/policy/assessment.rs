//! What is known of all ports held against a policy: a list of checks, and what they come to. Nothing is taken from anywhere but
//! the arguments, the time among them.

use std::net::IpAddr;

use halfopen_results::address::{Addresses, Range};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::knowledge::{Knowledge, Known};
use super::{Demand, Exception, Expectation, Policy, Rule, Weight};
use crate::incident::Severity;

/// A policy, and how things stand to it.
#[derive(Debug)]
pub struct Assessment<'a> {
    /// What was expected.
    pub policy: &'a Policy,
    /// When.
    pub at: Timestamp,
    /// By host; of a host, what rules name comes first.
    pub checks: Vec<Check>,
    /// How exceptions stand, in the file's order.
    pub exceptions: Vec<Standing>,
}

/// Neighbouring ports of a host of which the same is expected and known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// By which rule.
    pub rule: usize,
    /// Which exception there is.
    pub exception: Option<usize>,
    /// Which host.
    pub host: IpAddr,
    /// The lowest port,
    pub first: u16,
    /// and the highest.
    pub last: u16,
    /// What they are to be.
    pub expected: Expectation,
    /// Whether the rule names them.
    pub listed: bool,
    /// What is known of them.
    pub known: Known,
    /// What that comes to.
    pub outcome: Outcome,
}

/// What a check comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is as it is to be.
    Compliant,
    /// It is not, and that is let be.
    Excepted,
    /// The host is down, and may be.
    Absent,
    /// Nobody can tell.
    Unknown,
    /// It is not as it is to be.
    Violated,
}

/// How an exception stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How long it still lasts; less than nothing, if it has ended.
    pub left: SignedDuration,
    /// Whether it ends within the longest notice.
    pub ends_soon: bool,
    /// Whether it has ended.
    pub ended: bool,
    /// Whether there is nothing that it excepts: no port of its rule, or none that breaks it.
    pub stale: bool,
}

/// How many ports are known, of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// Known.
    pub known: u64,
    /// Of so many.
    pub of: u64,
}

/// What of an assessment counts, by what was asked for: every form of a report goes by it, as does the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    fail_on: Severity,
    /// Less is known of the ports that rules name than was asked for.
    lacks: bool,
    /// Nothing may be down.
    minds_down: bool,
    /// Nothing at all was looked at.
    is_blind: bool,
}

/// What it all comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything is as it is to be, as far as was asked for.
    Compliant,
    /// Something is not, and matters enough.
    Violated,
    /// Too little is known.
    Inconclusive,
    /// There is nothing but exceptions that have ended, or are of no use.
    Exceptions,
}

impl<'a> Assessment<'a> {
    /// Holds what is known against a policy.
    pub fn of(policy: &'a Policy, knowledge: &dyn Knowledge, now: Timestamp) -> Assessment<'a> {
        let mut checks = Vec::new();
        for host in each(&policy.hosts()) {
            for demand in policy.demands(host) {
                let runs = knowledge.runs(host, &demand.ports);
                checks.extend(runs.into_iter().map(|run| check(policy, host, &demand, run, now)));
            }
        }
        let standing = |(index, exception)| standing(index, exception, &checks, now);
        let exceptions = policy.exceptions.iter().enumerate().map(standing).collect();
        Assessment { policy, at: now, checks, exceptions }
    }

    /// The rule of a check.
    pub fn rule(&self, check: &Check) -> &'a Rule {
        &self.policy.rules[check.rule]
    }

    /// The exception of a check.
    pub fn exception(&self, check: &Check) -> Option<&'a Exception> {
        check.exception.map(|exception| &self.policy.exceptions[exception])
    }

    /// The checks that come to this.
    pub fn with(&self, outcome: Outcome) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(move |check| check.outcome == outcome)
    }

    /// How many ports come to this.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.with(outcome).map(Check::ports).sum()
    }

    /// How much is known of the ports that rules name.
    pub fn listed(&self) -> Tally {
        tally(self.checks.iter().filter(|check| check.listed))
    }

    /// How much is known of all other ports.
    pub fn unlisted(&self) -> Tally {
        tally(self.checks.iter().filter(|check| !check.listed))
    }

    /// Hosts of which something had to be known, and that are down.
    pub fn hosts_down(&self) -> Vec<IpAddr> {
        let down = self.with(Outcome::Unknown).filter(|check| check.known == Known::Down);
        let mut hosts: Vec<_> = down.map(|check| check.host).collect();
        hosts.dedup();
        hosts
    }

    /// What counts: violations of this severity or a worse one, and what is not known as long as less than this share is known of the
    /// ports that rules name.
    pub fn measure(&self, fail_on: Severity, min_coverage: f64) -> Measure {
        let lacks = self.listed().share() < min_coverage;
        // Where no rule names a port, what is said of all others is all there is.
        let is_blind = self.listed().of == 0 && self.unlisted().known == 0;
        Measure { fail_on, lacks, minds_down: min_coverage >= 1.0, is_blind }
    }

    /// What it all comes to.
    pub fn verdict(&self, measure: &Measure) -> Verdict {
        match () {
            () if self.checks.iter().any(|check| self.is_failure(check, measure)) => Verdict::Violated,
            () if measure.is_blind || self.checks.iter().any(|check| check.is_gap(measure)) => Verdict::Inconclusive,
            () if self.exceptions.iter().any(Standing::is_over) => Verdict::Exceptions,
            () => Verdict::Compliant,
        }
    }

    /// Whether a check is why the policy is violated.
    pub fn is_failure(&self, check: &Check, measure: &Measure) -> bool {
        check.outcome == Outcome::Violated && self.rule(check).severity >= measure.fail_on
    }
}

impl Check {
    /// Whether it is why nobody can tell. That not all of 65,535 ports were asked is no reason, unless nothing else was.
    pub fn is_gap(&self, measure: &Measure) -> bool {
        let matters =
            self.listed && measure.lacks || self.known == Known::Down && measure.minds_down || measure.is_blind;
        self.outcome == Outcome::Unknown && matters
    }
}

impl Standing {
    /// Whether it is of no use any more.
    pub fn is_over(&self) -> bool {
        self.ended || self.stale
    }
}

impl Check {
    /// How many ports.
    pub fn ports(&self) -> u64 {
        u64::from(self.last - self.first) + 1
    }
}

impl Tally {
    /// From 0 to 1; of nothing everything is known.
    pub fn share(self) -> f64 {
        if self.of == 0 { 1.0 } else { self.known as f64 / self.of as f64 }
    }
}

impl Outcome {
    /// `compliant`, `violated`, ...
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Compliant => "compliant",
            Outcome::Excepted => "excepted",
            Outcome::Absent => "absent",
            Outcome::Unknown => "unknown",
            Outcome::Violated => "violated",
        }
    }
}

impl Verdict {
    /// `compliant`, `violated`, ...
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Compliant => "compliant",
            Verdict::Violated => "violated",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Exceptions => "exceptions",
        }
    }
}

fn check(
    policy: &Policy,
    host: IpAddr,
    demand: &Demand,
    (first, last, known): (u16, u16, Known),
    now: Timestamp,
) -> Check {
    let &Demand { rule, exception, expected, listed, .. } = demand;
    let outcome = match known {
        Known::May(possible) => match policy.weigh(demand, possible, now) {
            Some(Weight::Met) => Outcome::Compliant,
            Some(Weight::Excepted) => Outcome::Excepted,
            Some(Weight::Broken) => Outcome::Violated,
            None => Outcome::Unknown,
        },
        Known::Down if policy.rules[rule].may_be_down => Outcome::Absent,
        Known::Down | Known::Uncovered | Known::Suspect => Outcome::Unknown,
    };
    Check { rule, exception, host, first, last, expected, listed, known, outcome }
}

fn standing(index: usize, exception: &Exception, checks: &[Check], now: Timestamp) -> Standing {
    let mut own = checks.iter().filter(|check| check.exception == Some(index)).peekable();
    let matches_nothing = own.peek().is_none();
    let is_idle = |check: &Check| check.outcome == Outcome::Compliant;
    let (left, ended) = (exception.until.duration_since(now), exception.has_ended(now));
    let ends_soon = !ended && exception.expiring(now).is_some();
    Standing { left, ends_soon, ended, stale: matches_nothing || own.all(is_idle) }
}

fn tally<'c>(checks: impl Iterator<Item = &'c Check>) -> Tally {
    checks.fold(Tally::default(), |tally, check| {
        let known = if check.outcome == Outcome::Unknown { 0 } else { check.ports() };
        Tally { known: tally.known + known, of: tally.of + check.ports() }
    })
}

/// The addresses of a set that is small enough.
fn each(addresses: &Addresses) -> impl Iterator<Item = IpAddr> + '_ {
    addresses.ranges().iter().flat_map(addresses_of)
}

fn addresses_of(range: &Range) -> Box<dyn Iterator<Item = IpAddr>> {
    match (range.first(), range.last()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Box::new((first..=last).map(IpAddr::V4)),
        (IpAddr::V6(first), IpAddr::V6(last)) => Box::new((first..=last).map(IpAddr::V6)),
        _ => Box::new([range.first()].into_iter()),
    }
}
