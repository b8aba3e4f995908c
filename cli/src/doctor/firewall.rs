//! Rules of the firewall that would eat replies or keep an entry for each probe, as `nft` and `iptables-save` print them
//! where they are installed; and how full the table of connections is.
//!
//! Packet sockets and XDP see replies before any of these rules, and packet sockets send past them. What rules still do to
//! a SYN scan: a reply that is dropped on its way in is not closed by the kernel, so the connection stays half open at the
//! other end; raw_ip (loopback, tunnels) sends through the output chain; a connect scan depends on all of them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::finding::{Finding, Grade, numbers};
use super::limits::PORTS;

/// Where system administration has its programs; a scanner's PATH often lacks them, and root's should not choose others.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin"];
/// From this share on, in percent, the table of connections is nearly full.
const NEARLY_FULL: u64 = 80;

/// On which way a rule meets packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    In,
    Out,
}

impl Way {
    const ALL: [Way; 2] = [Way::In, Way::Out];

    /// What the port of this machine is called in a packet on that way.
    fn own_port(self) -> &'static str {
        match self {
            Way::In => "dport",
            Way::Out => "sport",
        }
    }
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
    let hooked = items.iter().filter_map(|item| Some((place(&item["chain"], "name"), hook(&item["chain"])?)));
    let reached = reached(hooked.collect(), &items.iter().flat_map(|item| jumps(&item["rule"])).collect::<Vec<_>>());
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
            let meets = |&way: &Way| {
                reached.contains(&(name.clone(), way)) && !expressions.iter().any(|one| is_about_other_ports(one, way))
            };
            // A handle is what `nft delete rule` takes; it says nothing of the order.
            let told = format!("the rule with handle {} of {name}", rule["handle"]);
            rules.drops.extend(Way::ALL.into_iter().filter(meets).map(|way| (way, told.clone())));
        }
    }
    Ok(rules)
}

/// On which ways packets come to the chains: through hooks, and by jumps from chain to chain.
fn reached(hooked: BTreeSet<(String, Way)>, jumps: &[(String, String)]) -> BTreeSet<(String, Way)> {
    let called = |(chain, way): &(String, Way)| {
        let targets = jumps.iter().filter(|(from, _)| from == chain).map(|(_, to)| (to.clone(), *way));
        targets.collect::<Vec<_>>()
    };
    let more: BTreeSet<_> = hooked.iter().flat_map(called).chain(hooked.iter().cloned()).collect();
    if more.len() == hooked.len() { hooked } else { reached(more, jumps) }
}

/// From which chain to which ones a rule leads.
fn jumps(rule: &Value) -> Vec<(String, String)> {
    let mut item = rule.clone();
    let name_of = |target: &str| {
        item["chain"] = target.into();
        (place(rule, "chain"), place(&item, "chain"))
    };
    called(&rule["expr"]).into_iter().map(name_of).collect()
}

/// The chains that an expression calls, also for some values of a map only.
fn called(expression: &Value) -> Vec<&str> {
    match expression {
        Value::Array(parts) => parts.iter().flat_map(called).collect(),
        Value::Object(parts) => parts
            .iter()
            .flat_map(|(key, part)| match part["target"].as_str() {
                Some(target) if key == "jump" || key == "goto" => vec![target],
                _ => called(part),
            })
            .collect(),
        _ => Vec::new(),
    }
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

/// Whether a match is of ports of this machine that a scan does not send from.
fn is_about_other_ports(expression: &Value, way: Way) -> bool {
    let told = &expression["match"];
    let field = &told["left"]["payload"];
    let is_ours = field["protocol"] == "tcp" || field["protocol"] == "th";
    let equal = told["op"] == "==" || told["op"] == "in";
    is_ours
        && equal
        && field["field"] == way.own_port()
        && spans(&told["right"]).is_some_and(|all| all.iter().all(misses))
}

/// Ports from the first to the last; nothing if these are not numbers.
fn spans(right: &Value) -> Option<Vec<(u64, u64)>> {
    let number = |value: &Value| value.as_u64();
    if let Some(parts) = right["set"].as_array() {
        return parts.iter().map(spans).collect::<Option<Vec<_>>>().map(|all| all.concat());
    }
    match right["range"].as_array().map(Vec::as_slice) {
        Some([first, last]) => Some(vec![(number(first)?, number(last)?)]),
        _ => number(right).map(|port| vec![(port, port)]),
    }
}

/// Whether a scan's source ports lie elsewhere, as long as nobody chooses others.
fn misses(&(first, last): &(u64, u64)) -> bool {
    last < PORTS.0 || PORTS.1 < first
}

/// As `iptables-save` prints them.
fn read_iptables(text: &str, rules: &mut Rules) {
    let mut tables: Vec<(&str, Vec<Vec<&str>>)> = Vec::new();
    for words in text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()) {
        match (words.first().and_then(|first| first.strip_prefix('*')), tables.last_mut()) {
            (Some(table), _) => tables.push((table, Vec::new())),
            (None, Some((_, lines))) => lines.push(words),
            (None, None) => {}
        }
    }
    tables.iter().for_each(|(table, lines)| iptables_table(table, lines, rules));
}

fn iptables_table(table: &str, lines: &[Vec<&str>], rules: &mut Rules) {
    let jump = |words: &Vec<&str>| match words[..] {
        ["-A", chain, ..] => Some((chain.to_owned(), after(words, "-j").or(after(words, "-g"))?.to_owned())),
        _ => None,
    };
    let hooked = HOOKS.map(|(chain, way)| (chain.to_owned(), way)).into_iter().collect();
    let reached = reached(hooked, &lines.iter().filter_map(jump).collect::<Vec<_>>());
    let ways = |chain: &str| Way::ALL.into_iter().filter(|&way| reached.contains(&(chain.to_owned(), way))).collect();
    for words in lines {
        let (ways, place): (Vec<Way>, _) = match words[..] {
            [chain, "DROP", ..] if chain.starts_with(':') => {
                (ways(&chain[1..]), format!("policy of {table} {}", &chain[1..]))
            }
            ["-A", chain, ..] => {
                rules.tracks |= table == "nat" || words.iter().any(|word| ["--ctstate", "--state"].contains(word));
                let ways: Vec<_> = ways(chain);
                (ways.into_iter().filter(|&way| may_drop(words, way)).collect(), format!("a rule of {table} {chain}"))
            }
            _ => continue,
        };
        rules.drops.extend(ways.into_iter().map(|way| (way, place.clone())));
    }
}

/// The chains through which our packets come.
const HOOKS: [(&str, Way); 4] =
    [("PREROUTING", Way::In), ("INPUT", Way::In), ("OUTPUT", Way::Out), ("POSTROUTING", Way::Out)];

fn after<'a>(words: &[&'a str], option: &str) -> Option<&'a str> {
    words.iter().position(|word| *word == option).and_then(|at| words.get(at + 1)).copied()
}

/// Whether it drops TCP that is ours.
fn may_drop(words: &[&str], way: Way) -> bool {
    let drops = matches!(after(words, "-j"), Some("DROP" | "REJECT"));
    let tcp = after(words, "-p").is_none_or(|protocol| protocol == "tcp" || protocol == "all");
    drops && tcp && !names_other_ports(words, way)
}

fn names_other_ports(words: &[&str], way: Way) -> bool {
    let option = format!("--{}", way.own_port());
    let at = words.iter().position(|word| word.strip_suffix('s').unwrap_or(word) == option);
    let Some(at) = at.filter(|&at| at > 0 && words[at - 1] != "!") else { return false };
    let span = |text: &str| {
        let (first, last) = text.split_once(':').unwrap_or((text, text));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    let spans = words.get(at + 1).and_then(|text| text.split(',').map(span).collect::<Option<Vec<_>>>());
    spans.is_some_and(|all| all.iter().all(misses))
}

fn judge(rules: &Rules, table: Option<(u64, u64)>) -> Vec<Finding> {
    let mut findings: Vec<_> = Way::ALL.into_iter().filter_map(|way| dropping(rules, way)).collect();
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
        let expected = [
            (Way::In, "policy of inet f in"),
            (Way::In, "the rule with handle 8 of inet f in"),
            (Way::Out, "the rule with handle 7 of inet f out"),
        ];
        assert_eq!(rules.drops, expected.map(|(way, place)| (way, place.to_owned())));
        assert!(rules.tracks);
        assert_eq!(read_nft(r#"{"nftables": [{"metainfo": {}}]}"#).unwrap(), Rules::default());
        assert!(read_nft("table inet f {").unwrap_err().starts_with("nft printed what cannot be read"));
    }

    #[test]
    fn what_iptables_prints() {
        let text = "# Generated\n*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n\
            -A INPUT -p udp -j DROP\n-A INPUT -p tcp -m tcp --dport 40000 -j REJECT --reject-with tcp-reset\n\
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

    /// The places of a chain that others call, `x`, with one rule, and of a chain with this hook that calls it.
    fn called_from(hook: &str, rule: &str) -> Vec<(Way, String)> {
        let item = |what: &str| format!(r#"{{"family": "ip", "table": "f", {what}}}"#);
        let chains = [
            format!(r#"{{"chain": {}}}"#, item(&format!(r#""name": "a", "hook": "{hook}", "policy": "accept""#))),
            format!(r#"{{"chain": {}}}"#, item(r#""name": "x""#)),
            format!(r#"{{"chain": {}}}"#, item(r#""name": "unused""#)),
            format!(r#"{{"rule": {}}}"#, item(r#""chain": "a", "handle": 3, "expr": [{"jump": {"target": "x"}}]"#)),
            format!(
                r#"{{"rule": {}}}"#,
                item(&format!(r#""chain": "x", "handle": 4, "expr": [{rule}{{"drop": null}}]"#))
            ),
            format!(r#"{{"rule": {}}}"#, item(r#""chain": "unused", "handle": 5, "expr": [{"drop": null}]"#)),
        ];
        read_nft(&format!(r#"{{"nftables": [{}]}}"#, chains.join(", "))).unwrap().drops
    }

    #[test]
    fn a_chain_is_on_the_way_of_those_that_call_it() {
        let dropped = |way| vec![(way, "the rule with handle 4 of ip f x".to_owned())];
        assert_eq!(called_from("input", ""), dropped(Way::In));
        assert_eq!(called_from("output", ""), dropped(Way::Out));
        assert_eq!(called_from("forward", ""), []);
        let mut rules = Rules::default();
        let text = "*filter\n:INPUT ACCEPT [0:0]\n:x - [0:0]\n:unused - [0:0]\n-A OUTPUT -g x\n-A x -j DROP\n-A unused -j DROP\n";
        read_iptables(text, &mut rules);
        assert_eq!(rules.drops, [(Way::Out, "a rule of filter x".to_owned())]);
    }

    #[test]
    fn rules_on_other_ports_of_this_machine_are_not_about_scans() {
        let rule = |field: &str, right: &str| {
            let left = format!(r#"{{"payload": {{"protocol": "tcp", "field": "{field}"}}}}"#);
            format!(r#"{{"match": {{"op": "==", "left": {left}, "right": {right}}}}}, "#)
        };
        for (hook, field, right, meets) in [
            ("input", "dport", "22", false),
            ("input", "dport", r#"{"set": [22, {"range": [80, 90]}]}"#, false),
            ("input", "dport", r#"{"set": [22, 40000]}"#, true),
            ("input", "dport", r#"{"range": [1024, 32768]}"#, true),
            ("input", "dport", r#""@names""#, true),
            // A reply may come from any port, and a probe go to any.
            ("input", "sport", "22", true),
            ("output", "dport", "22", true),
            ("output", "sport", "22", false),
        ] {
            assert_eq!(!called_from(hook, &rule(field, right)).is_empty(), meets, "{hook} {field} {right}");
        }
        for (line, meets) in [
            ("INPUT -p tcp -m tcp --dport 22", false),
            ("INPUT -p tcp -m multiport --dports 22,80:90", false),
            ("INPUT -p tcp -m tcp ! --dport 22", true),
            ("INPUT -p tcp -m tcp --dport 1:40000", true),
            ("OUTPUT -p tcp -m tcp --dport 22", true),
        ] {
            let mut rules = Rules::default();
            read_iptables(&format!("*filter\n-A {line} -j DROP\n"), &mut rules);
            assert_eq!(!rules.drops.is_empty(), meets, "{line}");
        }
    }

    #[test]
    fn what_is_said_of_it() {
        let said = lines(&judge(&read_nft(NFT).unwrap(), Some((10, 100))));
        assert!(
            said.starts_with(
                "warning  firewall: policy of inet f in, the rule with handle 8 of inet f in may drop replies"
            ),
            "{said}"
        );
        assert!(said.contains("\nwarning  firewall: the rule with handle 7 of inet f out may drop probes"), "{said}");
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
