//! `halfopen policy explain HOST PORT`: which rule a port falls under, what else was considered, and what is excepted.

use std::fmt::Write;
use std::net::IpAddr;

use clap::Args;
use halfopen_monitor::Endpoint;
use halfopen_monitor::policy::{Demand, Exception, Policy, Rule, left, parse_ports, system_resolver};
use halfopen_services::plaintext;
use jiff::Timestamp;

use super::{FileArgs, print, read};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  halfopen policy explain 192.0.2.7 8080
  halfopen policy explain www.example.org https --policy dmz.toml";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    file: FileArgs,

    /// An address, or a host name
    #[arg(value_name = "HOST")]
    host: String,

    /// A TCP port: 8080, tcp/8080, or the name of a service
    #[arg(value_name = "PORT")]
    port: String,
}

/// Prints it.
pub(super) fn run(args: &ExplainArgs) -> Result<u8, Failure> {
    let policy = read(&args.file)?;
    let ports = port(&args.port)?;
    let hosts = hosts(&args.host)?;
    let now = Timestamp::now();
    let endpoints = hosts.iter().flat_map(|&host| ports.iter().map(move |&port| Endpoint::tcp(host, port)));
    print(&endpoints.map(|endpoint| about(&policy, endpoint, now)).collect::<String>())
}

fn port(text: &str) -> Result<Vec<u16>, Failure> {
    let typed = if text.contains('/') { text.to_owned() } else { format!("tcp/{text}") };
    let wrong = |what: String| Failure::Setting(format!("PORT: {what}"));
    let ports = parse_ports(&typed).map_err(wrong)?;
    let all = ports.runs().iter().flat_map(|&(first, last)| first..=last);
    if ports.len() <= 16 { Ok(all.collect()) } else { Err(wrong(format!("{text} is more than 16 ports"))) }
}

fn hosts(text: &str) -> Result<Vec<IpAddr>, Failure> {
    match text.parse() {
        Ok(address) => Ok(vec![address]),
        Err(_) => system_resolver(text).map_err(|what| Failure::Machine(format!("{text:?}: {what}"))),
    }
}

fn about(policy: &Policy, endpoint: Endpoint, now: Timestamp) -> String {
    let (address, port) = (endpoint.address, endpoint.port.number);
    let Some(demand) = policy.demand_at(endpoint) else {
        let covers = policy.rules().iter().any(|rule| rule.hosts.contains(address));
        let why = if covers {
            "no rule names the port, and unlisted ports are ignored"
        } else {
            "no rule is about this host"
        };
        return format!("{address} tcp/{port}: nothing is expected; {why}\n");
    };
    let rule = &policy.rules()[demand.rule];
    let named =
        if demand.listed { "" } else { " (no rule names the port; this one is the most specific for the host)" };
    let mut text = format!("{address} tcp/{port}: expected {}, {} otherwise\n", demand.expected, rule.severity);
    _ = writeln!(text, "  by rule {}{named}, {}:{}", rule.id, policy.name(), rule.line);
    rule.why.iter().for_each(|why| _ = writeln!(text, "  why: {why}"));
    let exception = demand.exception.map(|exception| &policy.exceptions()[exception]);
    exception.iter().for_each(|exception| text.push_str(&excepted(exception, now)));
    let instead = plaintext(endpoint.port).and_then(|service| Some((service.name, service.instead?)));
    instead.iter().for_each(|(name, instead)| _ = writeln!(text, "  {name} usually is unencrypted: use {instead}"));
    text + &others(policy, &demand, address, port)
}

fn excepted(exception: &Exception, now: Timestamp) -> String {
    let Exception { id, expect, owner, reason, until, line, .. } = exception;
    let when = match exception.has_ended(now) {
        true => format!("ended at {until} and counts no more"),
        false => format!("until {until}, {} left", left(until.duration_since(now))),
    };
    format!("  exception {id} (line {line}): may be {expect}; {when}; {owner}: {reason}\n")
}

/// Rules about the same host that count less here.
fn others(policy: &Policy, demand: &Demand, address: IpAddr, port: u16) -> String {
    let other = |(index, rule): (usize, &Rule)| {
        let size = rule.hosts.size_at(address).filter(|_| index != demand.rule)?;
        let expected = rule.ports.iter().find(|(ports, _)| ports.contains(port)).map(|(_, expected)| *expected);
        let says = expected
            .map_or_else(|| "does not name the port".to_owned(), |expected| format!("would have it {expected}"));
        Some(format!("  also about this host: rule {} (line {}, {size} addresses), which {says}\n", rule.id, rule.line))
    };
    policy.rules().iter().enumerate().filter_map(other).collect()
}
