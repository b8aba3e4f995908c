//! The account of a scan as the program gives it: the mirror of the library's summary and settings, with what only the
//! program knows. JSON prints it as it is (`JSONL.md` is its schema); people get it as text (`summary`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use halfopen::{Completeness, Discovery, HostRate, Interval, Method, Outcome, Plan, Rate, Summary};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::args::CooldownArg;
use crate::settings::Settings;

/// How large a plan is, and what was removed from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlanSize {
    /// Addresses to scan.
    pub(crate) hosts: u64,
    /// Addresses removed by the built-in blocklist.
    pub(crate) blocked: u64,
    /// Addresses removed by exclusions.
    pub(crate) excluded: u64,
}

/// The summary record.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Account {
    pub(crate) version: &'static str,
    /// `complete` or `stopped`.
    pub(crate) outcome: &'static str,
    pub(crate) started: String,
    pub(crate) elapsed_us: u64,
    pub(crate) sending_us: u64,
    pub(crate) targets: u64,
    pub(crate) hosts: u64,
    pub(crate) hosts_down: u64,
    pub(crate) discovery: Option<DiscoveryRecord>,
    /// Hosts with open ports that something speaks against.
    pub(crate) suspect_hosts: u64,
    /// Open ports that were left out because of that.
    pub(crate) suspects_hidden: u64,
    /// Addresses removed by the blocklist.
    pub(crate) blocked: u64,
    /// Addresses removed by exclusions.
    pub(crate) excluded: u64,
    pub(crate) counts: Counts,
    pub(crate) probes: Probes,
    /// Probes a second while sending.
    pub(crate) rate: f64,
    /// None for a connect scan.
    pub(crate) completeness: Option<CompletenessRecord>,
    pub(crate) replies: u64,
    pub(crate) duplicates: u64,
    pub(crate) srtt_us: Option<u64>,
    pub(crate) strays: BTreeMap<&'static str, u64>,
    pub(crate) drops: BTreeMap<&'static str, u64>,
    pub(crate) settings: Effective,
}

/// The hosts that were looked for first.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DiscoveryRecord {
    pub(crate) hosts: u64,
    pub(crate) alive: u64,
    pub(crate) skipped_hosts: u64,
    /// They are among the unclassified.
    pub(crate) skipped_targets: u64,
    pub(crate) probes: u64,
    pub(crate) elapsed_us: u64,
}

impl From<&Discovery> for DiscoveryRecord {
    fn from(found: &Discovery) -> DiscoveryRecord {
        DiscoveryRecord {
            hosts: found.hosts,
            alive: found.alive,
            skipped_hosts: found.skipped_hosts,
            skipped_targets: found.skipped_targets,
            probes: found.probes,
            elapsed_us: micros(found.elapsed),
        }
    }
}

/// Targets by what was found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Counts {
    pub(crate) open: u64,
    pub(crate) closed: u64,
    pub(crate) filtered: u64,
    /// Of the filtered: those that said nothing.
    pub(crate) silent: u64,
    pub(crate) unclassified: u64,
}

/// Probes sent.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Probes {
    pub(crate) total: u64,
    pub(crate) by_pass: Vec<u64>,
    /// Once more within a pass, because something was dropped on this side.
    pub(crate) again: u64,
    /// To control ports of questionable hosts.
    pub(crate) controls: u64,
    /// To targets that had answered, to measure the loss.
    pub(crate) canaries: u64,
}

/// How complete the result is, by what was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CompletenessRecord {
    pub(crate) asked: f64,
    /// Of the probes to targets that answer: the share that was lost.
    pub(crate) loss: Option<Estimate>,
    pub(crate) missing_open: Option<Estimate>,
    pub(crate) missing: Option<Estimate>,
    pub(crate) gone: u64,
    pub(crate) passes: u8,
    pub(crate) ended: &'static str,
    pub(crate) canaries: u64,
    pub(crate) canaries_lost: u64,
}

/// With its 95 % interval.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Estimate {
    pub(crate) expected: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// More digits are not worth anything.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

impl From<Interval> for Estimate {
    fn from(interval: Interval) -> Estimate {
        let Interval { expected, low, high } = interval;
        Estimate { expected: rounded(expected), low: rounded(low), high: rounded(high) }
    }
}

impl From<&Completeness> for CompletenessRecord {
    fn from(completeness: &Completeness) -> CompletenessRecord {
        CompletenessRecord {
            asked: rounded(completeness.asked),
            loss: completeness.loss.map(Estimate::from),
            missing_open: completeness.missing_open.map(Estimate::from),
            missing: completeness.missing.map(Estimate::from),
            gone: completeness.gone,
            passes: completeness.passes,
            ended: completeness.ended.name(),
            canaries: completeness.canaries,
            canaries_lost: completeness.canaries_lost,
        }
    }
}

/// The settings in effect.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Effective {
    /// As typed.
    pub(crate) targets: Vec<String>,
    pub(crate) input: Vec<String>,
    pub(crate) ports: Vec<String>,
    pub(crate) exclude: Vec<String>,
    pub(crate) exclude_file: Vec<String>,
    pub(crate) blocklist: bool,
    pub(crate) rate: RateLimit,
    pub(crate) max_rate: Option<u64>,
    pub(crate) min_rate: Option<u64>,
    pub(crate) host_rate: RateLimit,
    pub(crate) senders: u8,
    pub(crate) completeness: f64,
    pub(crate) max_passes: u8,
    pub(crate) discover: &'static str,
    /// A text: numbers in JSON are exact to 2^53 only.
    pub(crate) seed: String,
    pub(crate) cooldown: String,
    pub(crate) method: &'static str,
    pub(crate) links: Vec<String>,
    pub(crate) interface: Option<String>,
    pub(crate) source_ip: Vec<IpAddr>,
    pub(crate) source_port: Option<u16>,
    pub(crate) gateway_mac: Option<String>,
    pub(crate) memory_limit: u64,
    pub(crate) show: Vec<&'static str>,
    pub(crate) controls: bool,
    pub(crate) hide_suspect: bool,
}

/// Probes a second, or a word: `"auto"`, `"max"`, `"none"`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum RateLimit {
    Pps(u64),
    Word(&'static str),
}

impl PlanSize {
    /// The size of a plan.
    pub(crate) fn of(plan: &Plan) -> PlanSize {
        let narrow = |addresses: u128| u64::try_from(addresses).unwrap_or(u64::MAX);
        PlanSize { hosts: narrow(plan.hosts()), blocked: narrow(plan.blocked()), excluded: narrow(plan.excluded()) }
    }
}

impl Account {
    /// The account of a scan that is over.
    pub(crate) fn new(asked: &Settings, used: &halfopen::Settings, size: PlanSize, summary: &Summary) -> Account {
        Account {
            version: env!("CARGO_PKG_VERSION"),
            outcome: outcome(summary.outcome),
            started: timestamp(summary.started),
            elapsed_us: micros(summary.elapsed),
            sending_us: micros(summary.sending),
            targets: summary.targets,
            hosts: size.hosts,
            hosts_down: summary.hosts_down,
            discovery: summary.discovery.as_ref().map(DiscoveryRecord::from),
            suspect_hosts: summary.suspect_hosts,
            suspects_hidden: 0,
            blocked: size.blocked,
            excluded: size.excluded,
            counts: Counts::new(summary),
            probes: Probes::new(summary),
            rate: (summary.rate() * 10.0).round() / 10.0,
            completeness: summary.completeness.as_ref().map(CompletenessRecord::from),
            replies: summary.replies,
            duplicates: summary.duplicates,
            srtt_us: summary.srtt.map(micros),
            strays: summary.strays.by_kind().into_iter().collect(),
            drops: summary.drops.by_layer().into_iter().collect(),
            settings: Effective::new(asked, used),
        }
    }
}

impl Probes {
    fn new(summary: &Summary) -> Probes {
        let Summary { again, controls, .. } = *summary;
        let canaries = summary.completeness.map_or(0, |completeness| completeness.canaries);
        Probes { total: summary.syns(), by_pass: summary.sent.clone(), again, controls, canaries }
    }
}

impl Counts {
    fn new(summary: &Summary) -> Counts {
        let Summary { open, closed, filtered, silent, unclassified, .. } = *summary;
        Counts { open, closed, filtered, silent, unclassified }
    }
}

impl Effective {
    fn new(asked: &Settings, used: &halfopen::Settings) -> Effective {
        let (targets, probing, network) = (&asked.args.targets, &asked.args.probing, &asked.args.network);
        let names = |files: &[std::path::PathBuf]| files.iter().map(|f| f.to_string_lossy().into_owned()).collect();
        Effective {
            targets: targets.targets.clone(),
            input: names(&targets.input),
            ports: targets.ports.clone(),
            exclude: targets.exclude.clone(),
            exclude_file: names(&targets.exclude_file),
            blocklist: !targets.no_blocklist,
            rate: RateLimit::new(used.rate),
            max_rate: used.max_rate.map(|rate| rate.0),
            min_rate: used.min_rate.map(|rate| rate.0),
            host_rate: RateLimit::of_host(used.host_rate),
            senders: used.senders,
            completeness: rounded(used.completeness),
            max_passes: used.max_passes,
            discover: used.discover.name(),
            seed: used.seed.to_string(),
            cooldown: cooldown(probing.cooldown),
            method: method(used.method),
            links: used.links.clone(),
            interface: network.interface.clone(),
            source_ip: network.source_ip.clone(),
            source_port: used.source_port,
            gateway_mac: network.gateway_mac.map(|mac| mac.to_string()),
            memory_limit: probing.memory_limit,
            show: asked.show.names(),
            controls: used.controls,
            hide_suspect: asked.args.output.hide_suspect,
        }
    }
}

impl RateLimit {
    fn new(rate: Rate) -> RateLimit {
        match rate {
            Rate::Fixed(pps) => RateLimit::Pps(pps.0),
            Rate::Auto => RateLimit::Word("auto"),
            Rate::Max => RateLimit::Word("max"),
            _ => RateLimit::Word("other"),
        }
    }

    fn of_host(rate: HostRate) -> RateLimit {
        match rate {
            HostRate::Auto => RateLimit::Word("auto"),
            HostRate::Limit(pps) => RateLimit::Pps(pps.0),
            HostRate::Unlimited => RateLimit::Word("none"),
        }
    }
}

/// RFC 3339 in UTC with microseconds: `2026-01-31T12:00:00.123456Z`. A clock beyond the year 9999 is taken for 1970.
pub(crate) fn timestamp(time: std::time::SystemTime) -> String {
    format!("{:.6}", Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Whole microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Complete => "complete",
        Outcome::Stopped => "stopped",
    }
}

fn method(method: Method) -> &'static str {
    match method {
        Method::Auto => "auto",
        Method::Syn => "syn",
        Method::Connect => "connect",
    }
}

/// As `--cooldown` takes it.
fn cooldown(cooldown: CooldownArg) -> String {
    match cooldown {
        CooldownArg::Auto => "auto".into(),
        CooldownArg::Fixed(time) => SignedDuration::try_from(time).map(|time| format!("{time:#}")).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::values;

    #[test]
    fn times_of_day() {
        assert_eq!(timestamp(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00.000000Z");
        let later = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
        assert_eq!(timestamp(later), "2023-11-14T22:13:20.123456Z");
        assert_eq!(timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40)), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn a_cooldown_reads_back() {
        for text in ["auto", "500ms", "2s", "1m 30s", "0s", "1.5s"] {
            let typed = values::cooldown(text).unwrap();
            assert_eq!(values::cooldown(&cooldown(typed)), Ok(typed), "{text}");
        }
    }
}
