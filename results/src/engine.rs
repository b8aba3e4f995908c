//! From the engine's words to records.

use halfopen::{Completeness, DownReason, Interval, Outcome};
use std::net::IpAddr;

use crate::address::Range;
use crate::record::{self, Name, State};
use crate::time::{micros, timestamp};

impl From<halfopen::State> for State {
    fn from(state: halfopen::State) -> State {
        match state {
            halfopen::State::Open => State::Open,
            halfopen::State::Closed => State::Closed,
            halfopen::State::Filtered => State::Filtered,
        }
    }
}

impl From<State> for halfopen::State {
    fn from(state: State) -> halfopen::State {
        match state {
            State::Open => halfopen::State::Open,
            State::Closed => halfopen::State::Closed,
            State::Filtered => halfopen::State::Filtered,
        }
    }
}

impl From<&halfopen::Verdict> for record::Verdict {
    fn from(verdict: &halfopen::Verdict) -> record::Verdict {
        record::Verdict {
            address: verdict.target.address,
            port: verdict.target.port,
            protocol: record::tcp(),
            state: verdict.state.into(),
            reason: verdict.reason.name().into(),
            sender: verdict.sender,
            ttl: verdict.ttl,
            rtt_us: verdict.rtt.map(micros),
            pass: verdict.pass,
            probes: verdict.probes,
            time: timestamp(verdict.time),
            supersedes: verdict.supersedes.map(State::from),
            suspect: verdict.suspect.map(|suspect| suspect.name().into()),
        }
    }
}

impl From<(IpAddr, DownReason)> for record::HostDown {
    fn from((address, reason): (IpAddr, DownReason)) -> record::HostDown {
        record::HostDown { address, reason: reason.name().into() }
    }
}

impl From<&halfopen::Suspicion> for record::Suspect {
    fn from(suspicion: &halfopen::Suspicion) -> record::Suspect {
        let halfopen::Suspicion { address, reason, usual_ttl } = *suspicion;
        record::Suspect { address, reason: reason.name().into(), usual_ttl }
    }
}

/// More digits are not worth anything.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

impl From<Interval> for record::Estimate {
    fn from(interval: Interval) -> record::Estimate {
        let Interval { expected, low, high } = interval;
        record::Estimate { expected: rounded(expected), low: rounded(low), high: rounded(high) }
    }
}

impl From<&Completeness> for record::Completeness {
    fn from(completeness: &Completeness) -> record::Completeness {
        record::Completeness {
            asked: rounded(completeness.asked),
            loss: completeness.loss.map(Into::into),
            missing_open: completeness.missing_open.map(Into::into),
            missing: completeness.missing.map(Into::into),
            gone: completeness.gone,
            passes: completeness.passes,
            ended: completeness.ended.name().into(),
            canaries: completeness.canaries,
            canaries_lost: completeness.canaries_lost,
        }
    }
}

impl From<&halfopen::Discovery> for record::Discovery {
    fn from(found: &halfopen::Discovery) -> record::Discovery {
        record::Discovery {
            hosts: found.hosts,
            alive: found.alive,
            skipped_hosts: found.skipped_hosts,
            skipped_targets: found.skipped_targets,
            probes: found.probes,
            elapsed_us: micros(found.elapsed),
        }
    }
}

fn counts(summary: &halfopen::Summary) -> record::Counts {
    let halfopen::Summary { open, closed, filtered, silent, unclassified, .. } = *summary;
    record::Counts { open, closed, filtered, silent, unclassified }
}

fn probes(summary: &halfopen::Summary) -> record::Probes {
    let halfopen::Summary { again, controls, .. } = *summary;
    let canaries = summary.completeness.map_or(0, |completeness| completeness.canaries);
    let (total, at_least) = (summary.syns(), summary.sent_at_least);
    record::Probes { total, at_least, by_pass: summary.sent.clone(), again, controls, canaries }
}

fn named(counts: &[(&'static str, u64)]) -> std::collections::BTreeMap<Name, u64> {
    counts.iter().map(|&(name, count)| (name.into(), count)).collect()
}

/// With what the header of the scan says.
impl From<(&record::Header, &halfopen::Summary)> for record::Summary {
    fn from((header, summary): (&record::Header, &halfopen::Summary)) -> record::Summary {
        let outcome = match summary.outcome {
            Outcome::Complete => "complete",
            // Whatever else it is, it is not whole.
            _ => "stopped",
        };
        record::Summary {
            version: header.version.clone(),
            outcome: outcome.into(),
            shard: header.shard.clone(),
            started: timestamp(summary.started),
            elapsed_us: micros(summary.elapsed),
            sending_us: micros(summary.sending),
            targets: summary.targets,
            hosts: header.hosts,
            hosts_down: summary.hosts_down,
            discovery: summary.discovery.as_ref().map(Into::into),
            suspect_hosts: summary.suspect_hosts,
            suspects_hidden: 0,
            commands: None,
            blocked: header.blocked,
            excluded: header.excluded,
            unprobed: summary.skipped.iter().filter_map(|range| Range::new(range.first(), range.last())).collect(),
            counts: counts(summary),
            probes: probes(summary),
            rate: (summary.rate() * 10.0).round() / 10.0,
            completeness: summary.completeness.as_ref().map(Into::into),
            replies: summary.replies,
            duplicates: summary.duplicates,
            srtt_us: summary.srtt.map(micros),
            strays: named(&summary.strays.by_kind()),
            drops: named(&summary.drops.by_layer()),
            settings: header.settings.clone(),
        }
    }
}
