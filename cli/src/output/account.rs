//! The account of a scan as the program gives it: the records of the results' crate, with what only the program knows. JSON
//! prints it as it is (`results/JSONL.md` is its schema); people get it as text (`summary`).

use std::env;

use halfopen::{HostRate, Plan, Rate, Running};
pub(crate) use halfopen_results::record::Summary as Account;
use halfopen_results::record::{Header, RateLimit, Settings as Effective};
use halfopen_results::{Coverage, time};
use jiff::SignedDuration;

use crate::args::CooldownArg;
use crate::settings::Settings;

/// How large a plan is, and what was removed from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlanSize {
    /// Pairs of address and port to scan.
    pub(crate) targets: u64,
    /// Addresses to scan.
    pub(crate) hosts: u64,
    /// Addresses removed by the built-in blocklist.
    pub(crate) blocked: u64,
    /// Addresses removed by exclusions.
    pub(crate) excluded: u64,
}

impl PlanSize {
    /// The size of a plan.
    pub(crate) fn of(plan: &Plan) -> PlanSize {
        let narrow = |addresses: u128| u64::try_from(addresses).unwrap_or(u64::MAX);
        let [hosts, blocked, excluded] = [plan.hosts(), plan.blocked(), plan.excluded()].map(narrow);
        PlanSize { targets: plan.len(), hosts, blocked, excluded }
    }
}

/// The first record of a scan that has begun.
pub(crate) fn header(asked: &Settings, running: &Running, size: PlanSize, coverage: Coverage) -> Header {
    Header {
        version: env!("CARGO_PKG_VERSION").into(),
        command: env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
        started: time::timestamp(running.started()),
        targets: size.targets,
        hosts: size.hosts,
        blocked: size.blocked,
        excluded: size.excluded,
        scanner: None,
        shard: asked.args.targets.shard.map(|shard| shard.to_string()),
        authorisation: None,
        settings: effective(asked, running.settings()),
        coverage,
    }
}

/// The settings in effect.
fn effective(asked: &Settings, used: &halfopen::Settings) -> Effective {
    let (targets, probing, network) = (&asked.args.targets, &asked.args.probing, &asked.args.network);
    let names = |files: &[std::path::PathBuf]| files.iter().map(|f| f.to_string_lossy().into_owned()).collect();
    Effective {
        targets: targets.targets.clone(),
        input: names(&targets.input),
        ports: targets.ports.clone(),
        top_ports: targets.top_ports,
        exclude_ports: targets.exclude_ports.clone(),
        exclude: targets.exclude.clone(),
        exclude_file: names(&targets.exclude_file),
        blocklist: !targets.no_blocklist,
        rate: rate(used.rate),
        max_rate: used.max_rate.map(|rate| rate.0),
        min_rate: used.min_rate.map(|rate| rate.0),
        host_rate: host_rate(used.host_rate),
        senders: used.senders,
        completeness: (used.completeness * 1e6).round() / 1e6,
        max_passes: used.max_passes,
        discover: used.discover.name().into(),
        seed: used.seed.to_string(),
        cooldown: cooldown(probing.cooldown),
        method: used.method.name().into(),
        links: used.links.clone(),
        interface: network.interface.clone(),
        source_ip: network.source_ip.clone(),
        source_port: used.source_port,
        gateway_mac: network.gateway_mac.map(|mac| mac.to_string()),
        memory_limit: probing.memory_limit,
        show: asked.show,
        controls: used.controls,
        hide_suspect: asked.args.output.hide_suspect,
        filter: asked.wanted.filter.as_ref().map(ToString::to_string),
    }
}

fn rate(rate: Rate) -> RateLimit {
    match rate {
        Rate::Fixed(pps) => RateLimit::Pps(pps.0),
        Rate::Auto => RateLimit::Word("auto".into()),
        Rate::Max => RateLimit::Word("max".into()),
        _ => RateLimit::Word("other".into()),
    }
}

fn host_rate(rate: HostRate) -> RateLimit {
    match rate {
        HostRate::Auto => RateLimit::Word("auto".into()),
        HostRate::Limit(pps) => RateLimit::Pps(pps.0),
        HostRate::Unlimited => RateLimit::Word("none".into()),
        _ => RateLimit::Word("other".into()),
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
    use super::*;
    use crate::values;

    #[test]
    fn a_cooldown_reads_back() {
        for text in ["auto", "500ms", "2s", "1m 30s", "0s", "1.5s"] {
            let typed = values::cooldown(text).unwrap();
            assert_eq!(values::cooldown(&cooldown(typed)), Ok(typed), "{text}");
        }
    }
}
