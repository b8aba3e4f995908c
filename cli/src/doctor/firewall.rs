//! Rules of the firewall that would eat replies or keep an entry for each probe, as `nft` and `iptables-save` print them
//! where they are installed; and how full the table of connections is.
//!
//! Packet sockets and XDP see replies before any of these rules, and packet sockets send past them. What rules still do to
//! a SYN scan: a reply that is dropped on its way in is not closed by the kernel, so the connection stays half open at the
//! other end; raw_ip (loopback, tunnels) sends through the output chain; a connect scan depends on all of them.

use std::fs;
use std::io;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::finding::{Finding, Grade, numbers};

/// Where system administration has its programs; a scanner's PATH often lacks them, and root's should not choose others.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin"];
/// From this share on, in percent, the table of connections is nearly full.
const NEARLY_FULL: u64 = 80;

/// On which way a rule meets packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// What matters of a set of rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rules {
    /// Where TCP may be dropped or rejected.
    drops: Vec<(Way, String)>,
    /// Some rule looks at connections, so the kernel keeps them.
    tracks: bool,
}

pub(super) fn findings() -> Vec<Finding> {
    let read = |name| fs::read_to_string(format!("/proc/sys/net/netfilter/nf_conntrack_{name}")).ok();
    let number = |name| read(name).and_then(|text| numbers(&text).first().copied());
    let table = number("count").zip(number("max"));
    match rules() {
        Ok(Some(rules)) => judge(&rules, table),
        Ok(None) => {
            vec![unknown("neither nft nor iptables-save is installed, so rules cannot be read"), entries(table, None)]
        }
        Err(why) => vec![unknown(&why), entries(table, None)],
    }
}

fn unknown(why: &str) -> Finding {
    Finding::new(Grade::Unknown, "firewall", why).advise("run as root where these are installed")
}

/// All rules that there are; none without a program that tells.
fn rules() -> Result<Option<Rules>, String> {
    let nft = output("nft", &["-t", "-j", "list", "ruleset"])?.map(|text| read_nft(&text)).transpose()?;
    let mut all = nft;
    for program in ["iptables-save", "ip6tables-save"] {
        if let Some(text) = output(program, &[])? {
            let rules = all.get_or_insert_default();
            read_iptables(&text, rules);
        }
    }
    Ok(all)
}

fn output(program: &str, arguments: &[&str]) -> Result<Option<String>, String> {
    let found = DIRECTORIES.iter().map(|directory| format!("{directory}/{program}"));
    let Some(path) = found.into_iter().find(|path| fs::metadata(path).is_ok()) else { return Ok(None) };
    let ran = Command::new(path).args(arguments).stdin(Stdio::null()).output();
    let failed = |error: io::Error| format!("{program} cannot be run: {error}");
    let output = ran.map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} does not tell: {}", said.lines().next().unwrap_or("no reason given")));
    }
    Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// As `nft -j list ruleset` prints them (libnftables-json(5)).
fn read_nft(text: &str) -> Result<Rules, String> {
    let told: Value =
        serde_json::from_str(text).map_err(|error| format!("nft printed what cannot be read: {error}"))?;
    let items = told["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    let chains: Vec<(String, Option<Way>)> = items.iter().filter_map(|item| chain(&item["chain"])).collect();
    let mut rules = Rules::default();
    for item in items {
        let (chain, rule) = (&item["chain"], &item["rule"]);
        if let (Some(way), Some("drop")) = (hook(chain), chain["policy"].as_str()) {
            rules.drops.push((way, format!("policy of {}", place(chain, "name"))));
        }
        let expressions = rule["expr"].as_array().map(Vec::as_slice).unwrap_or_default();
        rules.tracks |= expressions.iter().any(looks_at_connections) || chain["type"] == "nat";
        let drops =
            expressions.iter().any(|expression| expression.get("drop").is_some() || expression.get("reject").is_some());
        if drops && !expressions.iter().any(is_about_others) {
            let name = place(rule, "chain");
            let way = chains.iter().find(|(chain, _)| *chain == name).map_or(Some(Way::In), |(_, way)| *way);
            rules.drops.extend(way.map(|way| (way, format!("rule {} of {name}", rule["handle"]))));
        }
    }
    Ok(rules)
}

/// A chain's name, and on which way it meets our packets. One without a hook is called by others, on the way in mostly.
fn chain(chain: &Value) -> Option<(String, Option<Way>)> {
    chain.get("name")?;
    let way = if chain.get("hook").is_some() { hook(chain) } else { Some(Way::In) };
    Some((place(chain, "name"), way))
}

fn hook(chain: &Value) -> Option<Way> {
    match chain["hook"].as_str()? {
        "ingress" | "prerouting" | "input" => Some(Way::In),
        "output" | "postrouting" | "egress" => Some(Way::Out),
        _ => None,
    }
}

fn place(item: &Value, name: &str) -> String {
    [&item["family"], &item["table"], &item[name]].map(|part| part.as_str().unwrap_or("?")).join(" ")
}

fn looks_at_connections(expression: &Value) -> bool {
    let left = &expression["match"]["left"];
    left.get("ct").is_some()
        || ["dnat", "snat", "masquerade", "redirect", "ct helper"].iter().any(|key| expression.get(key).is_some())
}

/// Whether a match leaves TCP alone.
fn is_about_others(expression: &Value) -> bool {
    let (left, right) = (&expression["match"]["left"], &expression["match"]["right"]);
    let protocol =
        left["payload"]["protocol"].as_str().filter(|name| !["ip", "ip6", "ether", "th", "tcp"].contains(name));
    let named = (left["meta"]["key"] == "l4proto").then(|| right.as_str()).flatten().filter(|name| *name != "tcp");
    protocol.is_some() || named.is_some()
}

/// As `iptables-save` prints them.
fn read_iptables(text: &str, rules: &mut Rules) {
    let mut table = "";
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [name, ..] if name.starts_with('*') => table = &name[1..],
            [chain, "DROP", ..] if chain.starts_with(':') => {
                rules
                    .drops
                    .extend(iptables_way(&chain[1..]).map(|way| (way, format!("policy of {table} {}", &chain[1..]))));
            }
            ["-A", chain, ..] => iptables_rule(table, chain, &words, rules),
            _ => {}
        }
    }
}

fn iptables_rule(table: &str, chain: &str, words: &[&str], rules: &mut Rules) {
    let after = |option: &str| words.iter().position(|word| *word == option).and_then(|at| words.get(at + 1)).copied();
    rules.tracks |= table == "nat" || words.iter().any(|word| ["--ctstate", "--state"].contains(word));
    let drops = matches!(after("-j"), Some("DROP" | "REJECT"));
    if drops && after("-p").is_none_or(|protocol| protocol == "tcp" || protocol == "all") {
        rules.drops.extend(iptables_way(chain).map(|way| (way, format!("a rule of {table} {chain}"))));
    }
}

fn iptables_way(chain: &str) -> Option<Way> {
    match chain {
        "OUTPUT" | "POSTROUTING" => Some(Way::Out),
        "FORWARD" => None,
        _ => Some(Way::In),
    }
}

fn judge(rules: &Rules, table: Option<(u64, u64)>) -> Vec<Finding> {
    let mut findings: Vec<_> = [Way::In, Way::Out].into_iter().filter_map(|way| dropping(rules, way)).collect();
    if findings.is_empty() {
        findings.push(Finding::new(Grade::Ok, "firewall", "no rule of this machine drops TCP"));
    }
    findings.push(entries(table, Some(rules.tracks)));
    findings
}

/// How many places are named.
const NAMED: usize = 3;

fn dropping(rules: &Rules, way: Way) -> Option<Finding> {
    let places: Vec<_> = rules.drops.iter().filter(|(at, _)| *at == way).map(|(_, place)| place.as_str()).collect();
    if places.is_empty() {
        return None;
    }
    let more = if places.len() > NAMED { format!(" and {} more", places.len() - NAMED) } else { String::new() };
    let places = format!("{}{more}", places[..places.len().min(NAMED)].join(", "));
    Some(match way {
        Way::In => {
            let text = format!(
                "{places} may drop replies: packet sockets see them all the same, but the kernel does not close what is half open, and connect scans see nothing"
            );
            Finding::new(Grade::Warning, "firewall", text)
                .advise("let TCP in to the source ports of the scan: choose the first with --source-port N, and accept dport N to N+12")
        }
        Way::Out => {
            let text = format!(
                "{places} may drop probes of raw_ip and connect scans, and the kernel's resets; packet sockets send past it"
            );
            Finding::new(Grade::Warning, "firewall", text)
                .advise("let TCP out from the source ports of the scan (--source-port)")
        }
    })
}

/// The table of connections; whether rules make the kernel keep one, if that is known.
fn entries(table: Option<(u64, u64)>, tracks: Option<bool>) -> Finding {
    let about = "conntrack";
    match (table, tracks) {
        (_, Some(false)) => Finding::new(Grade::Ok, about, "no rule asks for connections, so probes leave no entries"),
        (None, Some(true)) => Finding::new(
            Grade::Unknown,
            about,
            "rules ask for connections, and the kernel does not tell how many it has",
        ),
        (None, None) => Finding::new(Grade::Ok, about, "not loaded"),
        (Some((count, most)), tracks) => {
            let text = format!("{count} of {most} connections in the table");
            let whose = if tracks.is_some() { ", and rules add every probe of raw_ip and connect scans" } else { "" };
            if count.saturating_mul(100) >= most.saturating_mul(NEARLY_FULL) {
                let advice =
                    "raise net.netfilter.nf_conntrack_max, or have the scan's source ports not tracked (notrack)";
                return Finding::new(Grade::Warning, about, format!("{text}: nearly full{whose}")).advise(advice);
            }
            let grade = if tracks.is_some() { Grade::Note } else { Grade::Ok };
            let finding = Finding::new(grade, about, format!("{text}{whose}"));
            if tracks.is_some() {
                finding.advise("for large scans over these, have the source ports not tracked (notrack)")
            } else {
                finding
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::lines;

    const NFT: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
        {"table": {"family": "inet", "name": "f", "handle": 1}},
        {"chain": {"family": "inet", "table": "f", "name": "in", "handle": 1, "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},
        {"chain": {"family": "inet", "table": "f", "name": "out", "handle": 6, "type": "filter", "hook": "output", "prio": 0, "policy": "accept"}},
        {"chain": {"family": "inet", "table": "f", "name": "through", "handle": 9, "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
        {"rule": {"family": "inet", "table": "f", "chain": "in", "handle": 2, "expr": [{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}, {"accept": null}]}},
        {"rule": {"family": "inet", "table": "f", "chain": "in", "handle": 4, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 53}}, {"drop": null}]}},
        {"rule": {"family": "inet", "table": "f", "chain": "in", "handle": 8, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": {"range": [40000, 50000]}}}, {"counter": {"packets": 0, "bytes": 0}}, {"drop": null}]}},
        {"rule": {"family": "inet", "table": "f", "chain": "out", "handle": 7, "expr": [{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "tcp"}}, {"reject": {"type": "icmpx", "expr": "port-unreachable"}}]}},
        {"rule": {"family": "inet", "table": "f", "chain": "through", "handle": 10, "expr": [{"drop": null}]}}]}"#;

    #[test]
    fn what_nft_prints() {
        let rules = read_nft(NFT).unwrap();
        let expected =
            [(Way::In, "policy of inet f in"), (Way::In, "rule 8 of inet f in"), (Way::Out, "rule 7 of inet f out")];
        assert_eq!(rules.drops, expected.map(|(way, place)| (way, place.to_owned())));
        assert!(rules.tracks);
        assert_eq!(read_nft(r#"{"nftables": [{"metainfo": {}}]}"#).unwrap(), Rules::default());
        assert!(read_nft("table inet f {").unwrap_err().starts_with("nft printed what cannot be read"));
    }

    #[test]
    fn what_iptables_prints() {
        let text = "# Generated\n*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n\
            -A INPUT -p udp -j DROP\n-A INPUT -p tcp -m tcp --dport 22 -j REJECT --reject-with tcp-reset\n\
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A OUTPUT -j DROP\nCOMMIT\n";
        let mut rules = Rules::default();
        read_iptables(text, &mut rules);
        let places: Vec<_> = rules.drops.iter().map(|(_, place)| place.as_str()).collect();
        assert_eq!(places, ["policy of filter INPUT", "a rule of filter INPUT", "a rule of filter OUTPUT"]);
        assert!(rules.tracks);
        let mut none = Rules::default();
        read_iptables("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n", &mut none);
        assert_eq!(none, Rules::default());
    }

    #[test]
    fn what_is_said_of_it() {
        let said = lines(&judge(&read_nft(NFT).unwrap(), Some((10, 100))));
        assert!(
            said.starts_with("warning  firewall: policy of inet f in, rule 8 of inet f in may drop replies"),
            "{said}"
        );
        assert!(said.contains("\nwarning  firewall: rule 7 of inet f out may drop probes"), "{said}");
        assert!(said.contains("\nnote     conntrack: 10 of 100 connections in the table, and rules add"), "{said}");
        assert_eq!(
            lines(&judge(&Rules::default(), Some((10, 100)))),
            "ok       firewall: no rule of this machine drops TCP\n\
             ok       conntrack: no rule asks for connections, so probes leave no entries\n"
        );
    }

    #[test]
    fn a_table_that_is_nearly_full() {
        let full = entries(Some((80, 100)), Some(true));
        assert!(full.grade == Grade::Warning && full.found.contains("nearly full"), "{full:?}");
        assert_eq!(entries(Some((79, 100)), None).grade, Grade::Ok);
        assert_eq!(entries(None, Some(true)).grade, Grade::Unknown);
    }
}
