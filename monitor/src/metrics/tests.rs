//! A database with something of everything, and what is said of it, parsed as strictly as Prometheus does.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use super::*;
use crate::document::Document;
use crate::endpoint::Endpoint;
use crate::ledger::Fact;
use crate::store::Account;

type Series = BTreeMap<String, f64>;

/// Reads an exposition, and checks it: each family once with HELP and TYPE before its samples, names, escapes, no series twice.
fn parse(text: &str) -> Series {
    let (mut series, mut families, mut current) = (Series::new(), BTreeSet::new(), String::new());
    assert!(text.ends_with('\n'), "the last line ends");
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a text");
            assert!(is_name(name) && !help.is_empty() && families.insert(name.to_owned()), "{line}");
            let kind =
                lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} "))).expect("TYPE follows");
            assert!(["counter", "gauge"].contains(&kind), "{kind}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            name.clone_into(&mut current);
            continue;
        }
        let (name, rest) = line.split_at(line.find(['{', ' ']).expect("a value"));
        assert_eq!(name, current, "{line}");
        let (labels, value) = rest.rsplit_once(' ').expect("a value");
        check_labels(labels);
        assert!(series.insert(format!("{name}{labels}"), value.parse().expect("a number")).is_none(), "twice: {line}");
    }
    series
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn check_labels(text: &str) {
    let Some(mut rest) = text.strip_prefix('{') else { return assert_eq!(text, "") };
    loop {
        let (name, value) = rest.split_once("=\"").expect("a label");
        assert!(is_name(name), "{name}");
        let mut escaped = false;
        let end = value.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        rest = &value[end.expect("it is closed") + 1..];
        match rest {
            "}" => return,
            more => rest = more.strip_prefix(',').expect("another label"),
        }
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));

fn account(group: &str, outcome: &str, second: i64) -> Account {
    Account {
        group: group.into(),
        purpose: "regular".into(),
        started: at(second - 2),
        ended: at(second),
        outcome: outcome.into(),
        probes: 40,
        hosts_up: 1,
        open_ports: 1,
        error: None,
    }
}

fn policy() -> Policy {
    let text = "version = 1\n[[rule]]\nid = \"dmz\"\nhosts = [\"192.0.2.10\"]\nclosed = [\"tcp/25\"]\n[[exception]]\nid = \"EX-12\"\n\
                rule = \"dmz\"\nhosts = [\"192.0.2.10\"]\nports = [\"tcp/443\"]\nexpect = \"open\"\nuntil = 2026-06-01T00:00:00Z\n\
                owner = \"netops\"\nreason = \"x\"\n";
    Policy::of(&Document::new("p", text), &|_| Err("no names".into())).unwrap()
}

/// A host with some ports, of which one was open and one is.
fn database(path: &Path) -> Store {
    let mut store = Store::open(path).unwrap();
    let transaction = store.transaction().unwrap();
    let mut ledger = crate::ledger::Ledger::default();
    let fact = |state| Some(Fact { state, reason: "x".into(), ttl: None, rtt_us: None });
    for (first, last, state, second) in
        [(20, 30, State::Filtered, 1), (22, 22, State::Open, 2), (22, 22, State::Closed, 3), (443, 443, State::Open, 3)]
    {
        let cut = ledger.set(first, last, fact(state), at(second));
        store::write_runs(&transaction, HOST, &cut, at(second)).unwrap();
    }
    store::write_presence(&transaction, HOST, true, at(1)).unwrap();
    let coverage: Coverage = (20..=30).chain([443]).map(|port| (HOST, port)).collect();
    store::add_scan(&transaction, &account("dmz", "complete", 10), Some(&coverage)).unwrap();
    store::remember_coverage(&transaction, "dmz", &coverage).unwrap();
    transaction.commit().unwrap();
    store
}

#[test]
fn what_the_database_says_is_said_strictly_in_the_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("monitor.db");
    let mut store = database(&path);
    let mut counts = Counts::new(&path, at(10)).unwrap();
    let transaction = store.transaction().unwrap();
    let change = PortChange { endpoint: Endpoint::tcp(HOST, 443), was: Some(State::Filtered), is: State::Open };
    store::append(&transaction, at(11), Some("dmz"), &Happening::Port { change, since: None }).unwrap();
    store::add_scan(&transaction, &account("dmz", "failed", 20), None).unwrap();
    store::add_scan(&transaction, &account("a \"b\"\\", "skipped", 20), None).unwrap();
    transaction.commit().unwrap();
    let (policy, build) = (policy(), Build { version: "1.2.3".into(), commit: "abc".into() });
    let site = Site { policy: Some(&policy), most_port_series: 2000, build: &build };
    let text = counts.page(&site, at(30)).unwrap();
    let series = parse(&text);
    let port = |port: u16, state: &str| {
        let name = format!(
            "halfopen_port_state{{host=\"192.0.2.10\",address=\"192.0.2.10\",proto=\"tcp\",port=\"{port}\",halfopen_port_state=\"{state}\"}}"
        );
        series.get(&name).copied()
    };
    assert_eq!(STATES.map(|state| port(443, state)), [Some(1.0), Some(0.0), Some(0.0), Some(0.0)]);
    assert_eq!((port(22, "closed"), port(25, "filtered"), port(26, "filtered")), (Some(1.0), Some(1.0), None));
    for (name, expected) in [
        ("halfopen_ports{host=\"192.0.2.10\",proto=\"tcp\",state=\"filtered\"}", 10.0),
        ("halfopen_policy_exception_expiry_timestamp_seconds{policy=\"dmz\",exception=\"EX-12\"}", 1_780_272_000.0),
        ("halfopen_changes_total{host=\"192.0.2.10\",type=\"port_opened\"}", 1.0),
        ("halfopen_scan_duration_seconds{target=\"dmz\"}", 2.0),
        ("halfopen_scan_probes_total{target=\"dmz\"}", 40.0),
        ("halfopen_scan_last_success_timestamp_seconds{target=\"dmz\"}", 1_700_000_010.0),
        ("halfopen_scan_coverage_ratio{target=\"dmz\"}", 0.0),
        ("halfopen_scan_coverage_ratio{target=\"a \\\"b\\\"\\\\\"}", 0.0),
        ("halfopen_alerts{state=\"firing\"}", 0.0),
        ("halfopen_outbox_pending", 0.0),
        ("halfopen_outbox_oldest_age_seconds", 0.0),
        ("halfopen_build_info{version=\"1.2.3\",commit=\"abc\"}", 1.0),
    ] {
        assert_eq!(series.get(name), Some(&expected), "{name} in\n{text}");
    }
    promtool(&text);
    // What rules name comes first, and what is left out is said.
    let site = Site { most_port_series: 7, ..site };
    let few = parse(&counts.page(&site, at(30)).unwrap());
    let ports: Vec<_> = few.keys().filter(|name| name.starts_with("halfopen_port_state{")).collect();
    assert!(ports.len() == 4 && ports.iter().all(|name| name.contains("port=\"25\"")), "{ports:?}");
    assert_eq!(few["halfopen_port_state_left_out"], 2.0);
}

/// Prometheus's own judgement, where it can be had.
fn promtool(text: &str) {
    let started =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = started else {
        return eprintln!("skipped: promtool is not installed; the format was checked by our own parser alone");
    };
    child.stdin.take().expect("it is piped").write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_ne!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn it_is_asked_on_the_loopback_while_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("monitor.db");
    let mut store = database(&path);
    let settings = Settings { listen: "127.0.0.1:0".parse().unwrap(), most_port_series: 2000 };
    let metrics = Metrics::open(settings, &path, None, Build::default()).unwrap();
    let ask = || {
        let mut stream = TcpStream::connect(metrics.address()).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        parse(answer.split_once("\r\n\r\n").unwrap().1)
    };
    assert!(!ask().keys().any(|name| name.contains("EX-12")));
    metrics.expect(Some(policy()));
    let writing = store.transaction().unwrap();
    store::append(&writing, at(12), Some("dmz"), &Happening::Down { host: HOST, since: None }).unwrap();
    let before = ask();
    assert!(before.keys().any(|name| name.contains("EX-12")));
    writing.commit().unwrap();
    let down = "halfopen_changes_total{host=\"192.0.2.10\",type=\"host_down\"}";
    assert_eq!((before.get(down), ask().get(down)), (None, Some(&1.0)));
    drop(metrics);
    fs::remove_file(&path).unwrap();
    assert!(Metrics::open(settings, &path, None, Build::default()).unwrap_err().contains("127.0.0.1:0"));
}
