//! A scenario's TOML, as it is written, and its translation. Keys and values that mean nothing are errors: a rule that
//! is silently not applied would make a test pass for the wrong reason.

use std::ops::RangeInclusive;

use halfopen::{Reason, State};
use serde::Deserialize;

use super::behaviour::icmp_reason;
use super::hosts::{Hosts, Prefix};
use super::{Behaviour, Host, Router, Rule, Scenario, ScenarioError};
use crate::effects::{Change, Delay, EffectsSetting, FirewallSetting, Loss, Spread, Stretch};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    network: StretchTable,
    #[serde(default, rename = "path")]
    paths: Vec<StretchTable>,
    #[serde(default, rename = "firewall")]
    firewalls: Vec<FirewallTable>,
    #[serde(default, rename = "router")]
    routers: Vec<RouterTable>,
    #[serde(default, rename = "host")]
    hosts: Vec<HostTable>,
}

/// `[network]`, and `[[path]]` with targets.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct StretchTable {
    targets: Option<Several>,
    loss_out: f64,
    loss_back: f64,
    burst_out: Option<f64>,
    burst_back: Option<f64>,
    duplicate_out: f64,
    duplicate_back: f64,
    delay: Option<String>,
    jitter: Option<String>,
    spread: Option<String>,
    distance: Option<String>,
    distance_spread: Option<String>,
    reorder: f64,
    reorder_by: Option<String>,
    bandwidth: Option<u32>,
    queue: Option<u32>,
    changes: Vec<ChangeTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeTable {
    at: String,
    loss_out: Option<f64>,
    loss_back: Option<f64>,
    delay: Option<String>,
    bandwidth: Option<u32>,
    queue: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirewallTable {
    targets: Several,
    entries: u32,
    timeout: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouterTable {
    name: String,
    addresses: Several,
    icmp_rate: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostTable {
    addresses: Several,
    #[serde(default)]
    down: bool,
    #[serde(default)]
    echo: bool,
    #[serde(default)]
    rules: Vec<RuleTable>,
    rst_rate: Option<u32>,
    syn_rate: Option<u32>,
    icmp_rate: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    ports: PortsValue,
    behaviour: String,
    from: Option<String>,
    late: Option<String>,
    #[serde(default = "one")]
    copies: u32,
    #[serde(default)]
    ignore: u32,
    quote: Option<String>,
    open: Option<f64>,
    closed: Option<f64>,
    expect: Option<ExpectTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectTable {
    state: String,
    reason: String,
}

/// `"a"` or `["a", "b"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Several {
    One(String),
    Many(Vec<String>),
}

/// `80` or `"80,443"`.
#[derive(Deserialize)]
#[serde(untagged)]
enum PortsValue {
    One(u16),
    List(String),
}

fn one() -> u32 {
    1
}

impl Several {
    fn as_slice(&self) -> &[String] {
        match self {
            Several::One(value) => std::slice::from_ref(value),
            Several::Many(values) => values,
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Scenario, ScenarioError> {
    let file: File = toml::from_str(text)?;
    let routers = file.routers.iter().map(router).collect::<Result<Vec<_>, _>>()?;
    let mut hosts = Hosts::default();
    for (number, table) in file.hosts.iter().enumerate() {
        let place = format!("host {}", number + 1);
        let prefixes = prefixes(&place, &table.addresses)?;
        hosts.add(&prefixes, host(&place, table, &prefixes, &routers)?);
    }
    Ok(Scenario { seed: file.seed, effects: effects(&file)?, routers, hosts })
}

fn effects(file: &File) -> Result<EffectsSetting, ScenarioError> {
    if file.network.targets.is_some() {
        return Err(value("network", "targets", "expected targets in a [[path]] only: all packets cross the network"));
    }
    let paths = file.paths.iter().zip(1..).map(|(table, number)| path(&format!("path {number}"), table));
    let firewalls =
        file.firewalls.iter().zip(1..).map(|(table, number)| firewall(&format!("firewall {number}"), table));
    Ok(EffectsSetting {
        network: stretch("network", &file.network)?,
        paths: paths.collect::<Result<_, _>>()?,
        firewalls: firewalls.collect::<Result<_, _>>()?,
    })
}

fn path(place: &str, table: &StretchTable) -> Result<(Vec<Prefix>, Stretch), ScenarioError> {
    let targets = table.targets.as_ref();
    let targets = targets.ok_or_else(|| value(place, "", "expected targets, an address or a prefix (10.0.0.0/8)"))?;
    Ok((prefixes(place, targets)?, stretch(place, table)?))
}

fn firewall(place: &str, table: &FirewallTable) -> Result<FirewallSetting, ScenarioError> {
    Ok(FirewallSetting {
        targets: prefixes(place, &table.targets)?,
        entries: positive(place, table.entries)? as usize,
        timeout: duration(place, Some(&table.timeout))?,
    })
}

fn stretch(place: &str, table: &StretchTable) -> Result<Stretch, ScenarioError> {
    let at = |key| format!("{place}.{key}");
    let changes = table.changes.iter().map(|table| change(&at("changes"), table)).collect::<Result<Vec<_>, _>>()?;
    if !changes.is_sorted_by_key(|change| change.at) {
        return Err(value(&at("changes"), "at", "expected changes in order of time"));
    }
    Ok(Stretch {
        loss_out: loss(&at("loss_out"), table.loss_out, table.burst_out)?,
        loss_back: loss(&at("loss_back"), table.loss_back, table.burst_back)?,
        duplicate_out: probability(&at("duplicate_out"), table.duplicate_out)?,
        duplicate_back: probability(&at("duplicate_back"), table.duplicate_back)?,
        delay: Delay {
            least: duration(&at("delay"), table.delay.as_deref())?,
            jitter: duration(&at("jitter"), table.jitter.as_deref())?,
            spread: spread(&at("spread"), table.spread.as_deref())?,
        },
        distance: Delay {
            least: 0,
            jitter: duration(&at("distance"), table.distance.as_deref())?,
            spread: spread(&at("distance_spread"), table.distance_spread.as_deref())?,
        },
        reorder: probability(&at("reorder"), table.reorder)?,
        reorder_by: duration(&at("reorder_by"), table.reorder_by.as_deref())?,
        bandwidth: table.bandwidth.map(|rate| positive(&at("bandwidth"), rate)).transpose()?,
        queue: table.queue,
        changes,
    })
}

fn change(place: &str, table: &ChangeTable) -> Result<Change, ScenarioError> {
    let share = |share: Option<f64>| share.map(|share| probability(place, share)).transpose();
    Ok(Change {
        at: duration(place, Some(&table.at))?,
        loss_out: share(table.loss_out)?,
        loss_back: share(table.loss_back)?,
        delay: table.delay.as_deref().map(|text| duration(place, Some(text))).transpose()?,
        bandwidth: table.bandwidth.map(|rate| positive(place, rate)).transpose()?,
        queue: table.queue,
    })
}

fn loss(place: &str, mean: f64, burst: Option<f64>) -> Result<Loss, ScenarioError> {
    let loss = Loss { mean: probability(place, mean)?, burst };
    let accepted = "expected bursts of at least one packet, and long enough for packets to arrive between them";
    if loss.is_possible() { Ok(loss) } else { Err(value(place, &burst.unwrap_or_default().to_string(), accepted)) }
}

fn spread(place: &str, name: Option<&str>) -> Result<Spread, ScenarioError> {
    match name {
        None | Some("uniform") => Ok(Spread::Uniform),
        Some("normal") => Ok(Spread::Normal),
        Some("long-tailed") => Ok(Spread::LongTailed),
        Some(other) => Err(value(place, other, "expected uniform, normal or long-tailed")),
    }
}

fn router(table: &RouterTable) -> Result<Router, ScenarioError> {
    let place = format!("router {}", table.name);
    let addresses = table.addresses.as_slice().iter();
    let addresses = addresses.map(|text| text.parse().map_err(|_| value(&place, text, "expected an address")));
    Ok(Router {
        name: table.name.clone(),
        addresses: addresses.collect::<Result<_, _>>()?,
        icmp_rate: table.icmp_rate.map(|rate| positive(&place, rate)).transpose()?,
    })
}

fn prefixes(place: &str, addresses: &Several) -> Result<Vec<Prefix>, ScenarioError> {
    let parse = |text: &String| {
        Prefix::parse(text).ok_or_else(|| value(place, text, "expected an address or a prefix (10.0.0.0/8)"))
    };
    addresses.as_slice().iter().map(parse).collect()
}

fn host(place: &str, table: &HostTable, prefixes: &[Prefix], routers: &[Router]) -> Result<Host, ScenarioError> {
    let rules = table.rules.iter().enumerate();
    let rules = rules.map(|(number, table)| rule(&format!("{place}, rule {}", number + 1), table, prefixes, routers));
    Ok(Host {
        down: table.down,
        echo: table.echo,
        rules: rules.collect::<Result<_, _>>()?,
        rst_rate: table.rst_rate.map(|rate| positive(place, rate)).transpose()?,
        syn_rate: table.syn_rate.map(|rate| positive(place, rate)).transpose()?,
        icmp_rate: table.icmp_rate.map(|rate| positive(place, rate)).transpose()?,
    })
}

fn rule(place: &str, table: &RuleTable, prefixes: &[Prefix], routers: &[Router]) -> Result<Rule, ScenarioError> {
    Ok(Rule {
        ports: ports(place, &table.ports)?,
        behaviour: behaviour(place, table, prefixes)?,
        router: table.from.as_deref().map(|name| router_index(place, name, routers)).transpose()?,
        late: duration(place, table.late.as_deref())?,
        copies: positive(place, table.copies)?,
        ignore: table.ignore,
        short_quote: short_quote(place, table.quote.as_deref())?,
        expect: table.expect.as_ref().map(|expect| expectation(place, expect, prefixes)).transpose()?,
    })
}

fn ports(place: &str, ports: &PortsValue) -> Result<Vec<RangeInclusive<u16>>, ScenarioError> {
    match ports {
        PortsValue::One(port) => Ok(vec![*port..=*port]),
        PortsValue::List(text) => parse_ports(text).map_err(|accepted| value(place, text, accepted)),
    }
}

/// `80`, `22,8000-8100`, `-`.
pub(super) fn parse_ports(text: &str) -> Result<Vec<RangeInclusive<u16>>, &'static str> {
    if text == "-" {
        return Ok(vec![1..=u16::MAX]);
    }
    let parts = text.split(',').map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last).then_some(first..=last)
    });
    parts.collect::<Option<_>>().ok_or("expected ports as 80, 22,8000-8100 or - for all")
}

fn behaviour(place: &str, table: &RuleTable, prefixes: &[Prefix]) -> Result<Behaviour, ScenarioError> {
    let name = table.behaviour.as_str();
    let shares = [("open", table.open), ("closed", table.closed)];
    if name == "population" {
        let share = |(key, share): (&str, Option<f64>)| probability(&format!("{place}, {key}"), share.unwrap_or(0.0));
        return Ok(Behaviour::Population { open: share(shares[0])?, closed: share(shares[1])? });
    }
    if let Some((key, _)) = shares.iter().find(|(_, share)| share.is_some()) {
        return Err(value(place, key, "expected a share of open or closed ports with behaviour = \"population\" only"));
    }
    let behaviour = Behaviour::named(name).ok_or_else(|| value(place, name, BEHAVIOURS))?;
    check_family(place, name, behaviour, prefixes)?;
    Ok(behaviour)
}

const BEHAVIOURS: &str = "expected open, closed, closed-same-ack, silent, split, open-then-closed, closed-then-open, \
    icmp TYPE/CODE, population, forged-{syn-ack,rst,icmp-seq,icmp-port,port,sender,ack} or \
    garbage-{short,checksum,noise}";

/// Errors have other numbers in ICMP (RFC 792: 3, 4, 5, 11, 12) than in ICMPv6 (RFC 4443: 1 to 4).
fn check_family(place: &str, name: &str, behaviour: Behaviour, prefixes: &[Prefix]) -> Result<(), ScenarioError> {
    let Behaviour::Icmp { kind, .. } = behaviour else { return Ok(()) };
    let fits = |prefix: &Prefix| match prefix.is_ipv4() {
        true => matches!(kind, 3 | 4 | 5 | 11 | 12),
        false => matches!(kind, 1..=4),
    };
    let accepted =
        "expected an ICMP error's type for IPv4 hosts (3, 4, 5, 11, 12), an ICMPv6 one's for IPv6 hosts (1-4)";
    if prefixes.iter().all(fits) { Ok(()) } else { Err(value(place, name, accepted)) }
}

fn router_index(place: &str, name: &str, routers: &[Router]) -> Result<usize, ScenarioError> {
    let index = routers.iter().position(|router| router.name == name);
    index.ok_or_else(|| value(place, name, "expected the name of a [[router]]"))
}

fn short_quote(place: &str, quote: Option<&str>) -> Result<bool, ScenarioError> {
    match quote {
        None | Some("full") => Ok(false),
        Some("short") => Ok(true),
        Some(other) => Err(value(place, other, "expected quote = \"short\" or \"full\"")),
    }
}

fn expectation(place: &str, expect: &ExpectTable, prefixes: &[Prefix]) -> Result<(State, Reason), ScenarioError> {
    let state = State::ALL.into_iter().find(|state| state.name() == expect.state);
    let state = state.ok_or_else(|| value(place, &expect.state, "expected state = open, closed or filtered"))?;
    let ipv4 = prefixes.first().is_none_or(Prefix::is_ipv4);
    let reason = reasons(ipv4).find(|reason| reason.name() == expect.reason);
    let reason = reason.ok_or_else(|| value(place, &expect.reason, "expected a reason's name as halfopen gives it"))?;
    Ok((state, reason))
}

/// The reasons that a packet can give, in one family.
fn reasons(ipv4: bool) -> impl Iterator<Item = Reason> {
    let example: std::net::IpAddr = if ipv4 { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let kinds = [1_u8, 3, 11].into_iter().flat_map(|kind| (0..=13).map(move |code| (kind, code)));
    let icmp = kinds.filter_map(move |(kind, code)| icmp_reason(example, kind, code));
    [Reason::SynAck, Reason::Syn, Reason::Rst, Reason::NoResponse].into_iter().chain(icmp)
}

fn probability(place: &str, share: f64) -> Result<f64, ScenarioError> {
    let accepted = "expected a number from 0 to 1";
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(value(place, &share.to_string(), accepted)) }
}

fn positive(place: &str, number: u32) -> Result<u32, ScenarioError> {
    if number > 0 { Ok(number) } else { Err(value(place, "0", "expected a number above 0")) }
}

/// Nanoseconds from `300ms`, `2s`, `50us`.
fn duration(place: &str, text: Option<&str>) -> Result<u64, ScenarioError> {
    let Some(text) = text else { return Ok(0) };
    let units = [("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
    let parsed = units.iter().find_map(|(unit, nanoseconds)| {
        let number: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        number.checked_mul(*nanoseconds)
    });
    parsed.ok_or_else(|| value(place, text, "expected a duration as 300ms, 2s or 50us"))
}

fn value(place: &str, value: &str, accepted: &'static str) -> ScenarioError {
    ScenarioError::Value { place: place.into(), value: value.into(), accepted }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use halfopen::Target;

    use super::*;

    fn with_rule(rule: &str) -> Result<Scenario, ScenarioError> {
        parse(&format!("[[host]]\naddresses = \"10.0.0.1\"\nrules = [{{ {rule} }}]\n"))
    }

    fn problem(rule: &str) -> String {
        with_rule(rule).expect_err("it means nothing").to_string()
    }

    #[test]
    fn errors_name_place_value_and_what_would_be_accepted() {
        assert_eq!(
            problem("ports = \"80-22\", behaviour = \"open\""),
            "host 1, rule 1: cannot use \"80-22\": expected ports as 80, 22,8000-8100 or - for all"
        );
        assert!(problem("ports = 80, behaviour = \"opne\"").contains("cannot use \"opne\": expected open, closed"));
        assert!(problem("ports = 80, behaviour = \"icmp 1/4\"").contains("expected an ICMP error's type for IPv4"));
        assert!(problem("ports = 80, behaviour = \"open\", from = \"gw\"").contains("the name of a [[router]]"));
        assert!(problem("ports = 80, behaviour = \"open\", late = \"300\"").contains("expected a duration"));
        assert!(problem("ports = 80, behaviour = \"open\", copies = 0").contains("above 0"));
        assert!(problem("ports = 80, behaviour = \"open\", open = 0.5").contains("\"population\" only"));
        assert!(problem("ports = 80, behaviour = \"population\", open = 1.5").contains("from 0 to 1"));
        assert!(problem("ports = 80, behaviour = \"open\", quote = \"long\"").contains("quote = \"short\""));
    }

    #[test]
    fn unknown_keys_are_errors() {
        assert!(problem("ports = 80, behaviour = \"open\", colour = \"red\"").contains("colour"));
        assert!(parse("speed = 1").is_err());
        assert!(parse("[[host]]\naddresses = \"10.0.0.0/33\"").is_err());
    }

    #[test]
    fn ways_that_cannot_be_are_errors() {
        let problem = |text: &str| parse(text).expect_err("it means nothing").to_string();
        assert!(problem("[network]\nloss_out = 0.5\nburst_out = 0.5").contains("network.loss_out: cannot use \"0.5\""));
        assert!(problem("[network]\ntargets = \"10.0.0.0/8\"").contains("[[path]] only"));
        assert!(problem("[network]\nspread = \"wide\"").contains("expected uniform, normal or long-tailed"));
        let backwards = "[network]\nchanges = [{ at = \"2s\", loss_out = 0.1 }, { at = \"1s\", loss_out = 0.0 }]";
        assert!(problem(backwards).contains("in order of time"));
        assert!(problem("[[path]]\nloss_out = 0.1").contains("path 1: cannot use \"\": expected targets"));
        assert!(problem("[[firewall]]\ntargets = \"10.0.0.0/8\"\nentries = 0\ntimeout = \"1s\"").contains("above 0"));
    }

    #[test]
    fn a_single_address_goes_before_a_prefix_and_the_first_rule_that_fits_decides() {
        let scenario = parse(
            "[[host]]\naddresses = \"10.0.0.0/24\"\nrules = [{ ports = \"-\", behaviour = \"closed\" }]\n\
             [[host]]\naddresses = \"10.0.0.7\"\nrules = [{ ports = \"1-80\", behaviour = \"open\" }, \
             { ports = 80, behaviour = \"closed\" }]",
        )
        .unwrap();
        let state = |last, port| scenario.expected(Target { address: [10, 0, 0, last].into(), port }).state;
        assert_eq!([state(7, 80), state(7, 81), state(8, 80)], [State::Open, State::Filtered, State::Closed]);
        assert!(scenario.is_down([10, 0, 1, 0].into()));
        assert_eq!(scenario.addresses().len(), 256);
    }

    #[test]
    fn an_expectation_overrides_what_follows_from_the_behaviour() {
        let rule = "ports = 80, behaviour = \"silent\", expect = { state = \"closed\", reason = \"rst\" }";
        let expected = with_rule(rule).unwrap().expected(Target { address: [10, 0, 0, 1].into(), port: 80 });
        assert_eq!((expected.state, expected.reason), (State::Closed, Reason::Rst));
    }

    #[test]
    fn reasons_are_named_in_the_hosts_family() {
        let named = |ipv4, name: &str| reasons(ipv4).find(|reason| reason.name() == name);
        assert_eq!(named(true, "port-unreach"), Some(Reason::Icmp { kind: 3, code: 3 }));
        assert_eq!(named(false, "port-unreach"), Some(Reason::Icmpv6 { kind: 1, code: 4 }));
        assert_eq!(named(false, "host-prohibited"), None);
    }

    #[test]
    fn a_population_has_the_shares_it_was_given_and_another_seed_has_another() {
        let scenario = Scenario::named("prefix16");
        let open = |scenario: &Scenario| -> Vec<IpAddr> {
            let all = scenario.expected_all("80").into_iter();
            all.filter(|(_, expected)| expected.state == State::Open).map(|(target, _)| target.address).collect()
        };
        let first = open(&scenario);
        let share = first.len() as f64 / (2.0 * 65_536.0);
        assert!((0.048..0.052).contains(&share), "{share}");
        assert_eq!(first, open(&scenario));
        assert_ne!(first, open(&scenario.with_seed(17)));
    }

    #[test]
    fn the_grammar_as_documented_can_be_read() {
        let lines = include_str!("../scenario.rs").lines().filter_map(|line| line.strip_prefix("//!"));
        let example: Vec<&str> = lines
            .skip_while(|line| !line.contains("```toml"))
            .skip(1)
            .take_while(|line| !line.contains("```"))
            .collect();
        let scenario = parse(&example.join("\n")).unwrap();
        assert_eq!(scenario.expected(Target { address: [10, 1, 2, 3].into(), port: 80 }).state, State::Open);
    }

    #[test]
    fn every_scenario_of_the_lab_can_be_read() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            Scenario::load(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}
