use std::collections::BTreeMap;
use std::sync::Arc;

use halfopen_results::Scan;
use halfopen_results::record::{Header, HostDown, Record, Rest, Settings, Show, Summary, Verdict as Found};
use halfopen_services::Port;
use proptest::prelude::*;

use super::*;
use crate::ledger::{Fact, Ledger, Run};
use crate::store::KnownHost;

use State::{Closed, Filtered, Open};

const NOW: &str = "2026-12-20T00:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn policy(text: &str) -> Policy {
    let nobody: Resolve<'_> = &|_| Err("nobody knows it".into());
    Policy::of(&Document::new("policy.toml", format!("version = 1\n{text}")), nobody)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn host(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// A complete scan of some hosts and ports that shows this.
fn scan(hosts: &str, ports: &str, show: Show, findings: &[(u8, u16, State)]) -> Scan {
    let coverage = [(hosts.parse().unwrap(), Arc::new(ports.parse().unwrap()))].into_iter().collect();
    let settings = Settings { show, ..Settings::default() };
    let mut scan = Scan::default();
    scan.add(Record::Scan(Box::new(Header { coverage, settings, ..Header::default() })));
    findings.iter().for_each(|&(last, port, state)| scan.add(Record::Verdict(Found::bare(host(last), port, state))));
    scan.add(Record::Summary(Box::new(Summary { outcome: "complete".into(), ..Summary::default() })));
    scan
}

fn judged(policy: &Policy, last: u8, port: u16, state: State) -> String {
    let endpoint = Endpoint::tcp(host(last), port);
    match policy.judge(endpoint, state, now()) {
        Judgement::Compliant { rule } => format!("compliant {}", rule.id),
        Judgement::Violated { rule, expected, listed, ended } => {
            let listed = if listed { "" } else { " unlisted" };
            let ended = ended.map_or(String::new(), |it| format!(" after {}", it.id));
            format!("violated {} {expected}{listed}{ended}", rule.id)
        }
        Judgement::Excepted { rule, exception } => format!("excepted {} {}", rule.id, exception.id),
        Judgement::Unlisted => "unlisted".into(),
    }
}

const NESTED: &str = r#"
[groups.net]
hosts = ["192.0.2.0/24"]
exclude = ["192.0.2.99"]
[groups.web]
hosts = ["192.0.2.0/28"]
[groups.spare]
hosts = ["192.0.2.200"]
[[rule]]
id = "one"
hosts = ["192.0.2.7"]
closed = ["tcp/80"]
[[rule]]
id = "net"
group = "net"
filtered = ["tcp/22", "tcp/80"]
severity = "critical"
[[rule]]
id = "web"
group = "web"
open = ["tcp/80"]
not-open = ["tcp/443"]
"#;

#[test]
fn the_most_specific_host_counts_wherever_it_stands() {
    let policy = policy(NESTED);
    for (last, port, state, expected) in [
        (7, 80, Closed, "compliant one"),
        (7, 80, Open, "violated one closed"),
        (8, 80, Open, "compliant web"),
        (8, 80, Filtered, "violated web open"),
        (40, 80, Filtered, "compliant net"),
        (40, 80, Closed, "violated net filtered"),
        // What the more specific rule does not name, the less specific one may.
        (7, 22, Filtered, "compliant net"),
        (8, 22, Open, "violated net filtered"),
        (7, 443, Closed, "compliant web"),
        // What none names is the most specific one's.
        (7, 8080, Open, "violated one not-open unlisted"),
        (40, 8080, Open, "violated net not-open unlisted"),
        (40, 8080, Closed, "compliant net"),
        // In a group, and in no rule of that group.
        (200, 8080, Open, "violated unlisted not-open unlisted"),
        (99, 80, Open, "unlisted"),
    ] {
        assert_eq!(judged(&policy, last, port, state), expected, ".{last}:{port} {state:?}");
    }
    let other = Endpoint { address: host(8), port: Port::udp(80) };
    assert_eq!(policy.judge(other, Open, now()), Judgement::Unlisted);
}

#[test]
fn of_equally_specific_hosts_the_later_rule_counts() {
    let overlapping = |first: &str, second: &str| {
        policy(&format!(
            "[[rule]]\nid = \"a\"\nhosts = [\"{first}\"]\nopen = [\"tcp/80\"]\n[[rule]]\nid = \"b\"\nhosts = [\"{second}\"]\nclosed = [\"tcp/80\"]\n"
        ))
    };
    let both = ["192.0.2.1-192.0.2.4", "192.0.2.3-192.0.2.6"];
    assert_eq!(judged(&overlapping(both[0], both[1]), 3, 80, Closed), "compliant b");
    assert_eq!(judged(&overlapping(both[1], both[0]), 3, 80, Closed), "compliant b");
    assert_eq!(judged(&overlapping(both[0], both[1]), 2, 80, Open), "compliant a");
}

#[test]
fn what_is_unlisted() {
    let with = |unlisted: &str| {
        policy(&format!(
            "[defaults]\nunlisted = \"{unlisted}\"\n[[rule]]\nid = \"a\"\nhosts = [\"192.0.2.1\"]\nopen = [\"tcp/80\"]\n"
        ))
    };
    for (unlisted, state, expected) in [
        ("not-open", Closed, "compliant a"),
        ("filtered", Closed, "violated a filtered unlisted"),
        ("closed", Closed, "compliant a"),
        ("ignore", Open, "unlisted"),
    ] {
        assert_eq!(judged(&with(unlisted), 1, 8080, state), expected, "{unlisted}");
    }
}

fn exception(id: &str, until: &str, ports: &str, expect: &str) -> String {
    format!(
        "[[exception]]\nid = \"{id}\"\nrule = \"a\"\nhosts = [\"192.0.2.1\"]\nports = [\"{ports}\"]\nexpect = \"{expect}\"\nuntil = {until}\nowner = \"netops\"\nreason = \"Ticket 4711\"\n"
    )
}

const RULE: &str = "[[rule]]\nid = \"a\"\nhosts = [\"192.0.2.1\"]\nopen = [\"tcp/80\"]\nfiltered = [\"tcp/22\"]\nseverity = \"critical\"\nwhy = \"Only the web.\"\n";

#[test]
fn exceptions_hold_until_they_end() {
    let with = |until: &str| policy(&format!("{RULE}{}", exception("E", until, "tcp/8080", "open")));
    let (later, before) = (with("2026-12-20T00:00:01Z"), with(NOW));
    assert_eq!(judged(&later, 1, 8080, Open), "excepted a E");
    assert_eq!(judged(&later, 1, 8080, Closed), "compliant a");
    assert_eq!(judged(&later, 1, 8081, Open), "violated a not-open unlisted");
    assert_eq!(judged(&before, 1, 8080, Open), "violated a not-open unlisted after E");
    // One that allows something else allows nothing.
    let other = policy(&format!("{RULE}{}", exception("E", "2027-01-01T00:00:00Z", "tcp/22", "closed")));
    assert_eq!(judged(&other, 1, 22, Closed), "excepted a E");
    assert_eq!(judged(&other, 1, 22, Open), "violated a filtered");
    // Of two the one that lasts longer.
    let two =
        [exception("E", NOW, "tcp/8080", "open"), exception("F", "2027-01-01T00:00:00Z", "tcp/8080-8081", "open")];
    assert_eq!(judged(&policy(&format!("{RULE}{}{}", two[0], two[1])), 1, 8080, Open), "excepted a F");
}

#[test]
fn incidents_are_told_the_rule_and_why() {
    let policy = policy(&format!("{RULE}{}", exception("E", NOW, "tcp/8080", "open")));
    let details = |port| {
        let judgement = policy.judge(Endpoint::tcp(host(1), port), Open, now());
        judgement.details().into_iter().map(|detail| format!("{}: {}", detail.name, detail.text)).collect::<Vec<_>>()
    };
    assert_eq!(details(22), ["rule: Rule a expects filtered", "why: Only the web."]);
    let ended = [
        "rule: Rule a expects not-open",
        "why: Only the web.",
        "exception: E until 2026-12-20T00:00:00Z",
        "owner: netops",
    ];
    assert_eq!(details(8080), ended);
    assert!(policy.judge(Endpoint::tcp(host(9), 22), Open, now()).details().is_empty());
}

#[test]
fn exceptions_are_told_before_they_end() {
    let of = |until: &str| {
        let policy = policy(&format!("{RULE}{}", exception("E", until, "tcp/8080", "open")));
        policy.expiring(now()).first().map(|expiring| (expiring.within_days, expiring.left.as_hours()))
    };
    assert_eq!(of("2027-01-03T00:00:01Z"), None);
    assert_eq!(of("2027-01-03T00:00:00Z"), Some((14, 14 * 24)));
    assert_eq!(of("2026-12-23T00:00:01Z"), Some((14, 3 * 24)));
    assert_eq!(of("2026-12-23T00:00:00Z"), Some((3, 3 * 24)));
    assert_eq!(of(NOW), Some((0, 0)));
    assert_eq!(of("2026-12-19T00:00:00Z"), Some((0, -24)));
}

/// `HOST PORTS OUTCOME`, of what does not comply.
fn verdict(assessment: &Assessment<'_>, fail_on: Severity, min_coverage: f64) -> Verdict {
    assessment.verdict(&assessment.measure(fail_on, min_coverage))
}

fn outcomes(assessment: &Assessment<'_>) -> Vec<String> {
    let told = assessment.checks.iter().filter(|check| check.outcome != Outcome::Compliant);
    told.map(|check| format!("{} {} {}", check.host, ports_in_words(check), check.outcome.name())).collect()
}

#[test]
fn what_was_not_looked_at_is_unknown() {
    let policy = policy(RULE);
    let whole = scan("192.0.2.1", "1-65535", Show::ALL, &[(1, 80, Open), (1, 22, Filtered)]);
    let of = |scan: &Scan| outcomes(&Assessment::of(&policy, &OfScan::new(scan), now()));
    // Nothing else is shown, and so nobody knows what it is.
    assert_eq!(of(&whole).len(), 3);
    let mut counted = whole.clone();
    counted.add(Record::Rest(Rest { address: host(1), state: Closed, reason: "rst".into(), count: 65533 }));
    assert_eq!(of(&counted), [] as [&str; 0]);
    let open_only = scan("192.0.2.1", "1-65535", Show::OPEN, &[(1, 80, Open)]);
    assert_eq!(of(&open_only), ["192.0.2.1 tcp/22 unknown"]);
    let narrow = scan("192.0.2.1", "80-90", Show::OPEN, &[(1, 81, Open)]);
    let expected = [
        "192.0.2.1 tcp/80 violated",
        "192.0.2.1 tcp/22 unknown",
        "192.0.2.1 tcp/1-21 unknown",
        "192.0.2.1 tcp/23-79 unknown",
        "192.0.2.1 tcp/81 violated",
        "192.0.2.1 tcp/91-65535 unknown",
    ];
    assert_eq!(of(&narrow), expected);
    // A list says nothing of what is not in it.
    let mut list = Scan::default();
    list.add(Record::Verdict(Found::bare(host(1), 80, Open)));
    assert_eq!(of(&list).len(), 4);
    let mut stopped = open_only;
    stopped.summary = stopped.summary.map(|summary| Summary { outcome: "stopped".into(), ..summary });
    assert_eq!(of(&stopped)[0], "192.0.2.1 tcp/22 unknown");
    assert!(of(&stopped).len() > 1);
}

#[test]
fn suspect_answers_are_unknown() {
    let policy = policy(RULE);
    let mut forged = scan("192.0.2.1", "1-65535", Show::OPEN, &[(1, 80, Open)]);
    let host = forged.hosts.get_mut(&host(1)).unwrap();
    host.ports.get_mut(&80).unwrap().suspect = Some("every-port".into());
    let assessment = Assessment::of(&policy, &OfScan::new(&forged), now());
    assert_eq!(assessment.checks[0].known, Known::Suspect);
    assert_eq!(verdict(&assessment, Severity::Info, 1.0), Verdict::Inconclusive);
}

#[test]
fn hosts_that_are_down_are_unknown_unless_they_may_be() {
    let mut down = scan("192.0.2.1", "1-65535", Show::OPEN, &[]);
    down.add(Record::HostDown(HostDown { address: host(1), reason: "no-arp".into() }));
    down.summary = down
        .summary
        .map(|summary| Summary { unprobed: ["192.0.2.1".parse().unwrap()].into_iter().collect(), ..summary });
    let of = |text: &str| {
        let policy = policy(text);
        let assessment = Assessment::of(&policy, &OfScan::new(&down), now());
        (outcomes(&assessment)[0].clone(), assessment.hosts_down(), verdict(&assessment, Severity::Info, 1.0))
    };
    assert_eq!(of(RULE), ("192.0.2.1 tcp/80 unknown".into(), vec![host(1)], Verdict::Inconclusive));
    let absent = ("192.0.2.1 tcp/80 absent".into(), vec![], Verdict::Compliant);
    assert_eq!(of(&format!("{RULE}may-be-down = true\n")), absent);
}

#[test]
fn the_history_is_known_where_it_is_looked_at() {
    let policy = policy(RULE);
    let fact = |state| Fact { state, reason: "x".into(), ttl: None, rtt_us: None };
    let run = |first, last, state| Run { first, last, since: now(), fact: fact(state) };
    let tcp = Ledger::new(vec![run(1, 79, Filtered), run(80, 80, Open), run(81, 90, Closed)]);
    let asked: Coverage = [("192.0.2.0/24".parse().unwrap(), Arc::new("1-100".parse().unwrap()))].into_iter().collect();
    let of = |up: bool, asked: Option<&Coverage>| {
        let known = BTreeMap::from([(host(1), KnownHost { up, since: now(), tcp: tcp.clone() })]);
        outcomes(&Assessment::of(&policy, &OfHistory::new(known, asked.cloned()), now()))
    };
    assert_eq!(of(true, Some(&asked)), ["192.0.2.1 tcp/91-65535 unknown"]);
    assert_eq!(of(false, Some(&asked)).len(), 6);
    assert_eq!(
        of(true, None),
        [
            "192.0.2.1 tcp/80 unknown",
            "192.0.2.1 tcp/22 unknown",
            "192.0.2.1 tcp/1-21 unknown",
            "192.0.2.1 tcp/23-79 unknown",
            "192.0.2.1 tcp/81-65535 unknown"
        ]
    );
}

#[test]
fn what_it_all_comes_to() {
    let of = |more: &str, findings: &[(u8, u16, State)], fail_on, min_coverage| {
        let policy = policy(&format!("{RULE}{more}"));
        let scan = scan("192.0.2.1", "1-65535", Show { closed: true, ..Show::OPEN }, findings);
        verdict(&Assessment::of(&policy, &OfScan::new(&scan), now()), fail_on, min_coverage)
    };
    let good = [(1, 80, Open)];
    let bad = [(1, 80, Open), (1, 22, Closed)];
    let ended = exception("E", NOW, "tcp/8080", "open");
    let idle = exception("E", "2028-01-01T00:00:00Z", "tcp/8080", "open");
    let elsewhere = idle.replace("192.0.2.1", "192.0.2.77");
    for (more, findings, fail_on, min_coverage, expected) in [
        ("", &good[..], Severity::Warning, 1.0, Verdict::Compliant),
        ("", &bad, Severity::Warning, 1.0, Verdict::Violated),
        ("severity-is-lower", &bad, Severity::Critical, 1.0, Verdict::Compliant),
        ("", &[(1, 80, Open), (1, 22, Open)], Severity::Critical, 1.0, Verdict::Violated),
        (&ended, &good, Severity::Warning, 1.0, Verdict::Exceptions),
        (&idle, &good, Severity::Warning, 1.0, Verdict::Exceptions),
        (&elsewhere, &good, Severity::Warning, 1.0, Verdict::Exceptions),
        (&idle, &[(1, 80, Open), (1, 8080, Open)], Severity::Warning, 1.0, Verdict::Compliant),
        (&ended, &[(1, 80, Open), (1, 8080, Open)], Severity::Warning, 1.0, Verdict::Violated),
    ] {
        let found = if more == "severity-is-lower" {
            let policy = policy(&RULE.replace("critical", "warning"));
            let scan = scan("192.0.2.1", "1-65535", Show { closed: true, ..Show::OPEN }, findings);
            verdict(&Assessment::of(&policy, &OfScan::new(&scan), now()), fail_on, min_coverage)
        } else {
            of(more, findings, fail_on, min_coverage)
        };
        assert_eq!(found, expected, "{more} {findings:?}");
    }
    let policy = policy(RULE);
    let half = scan("192.0.2.1", "80", Show::OPEN, &[(1, 80, Open)]);
    let assessment = Assessment::of(&policy, &OfScan::new(&half), now());
    assert_eq!(assessment.listed(), Tally { known: 1, of: 2 });
    assert_eq!(verdict(&assessment, Severity::Warning, 0.5), Verdict::Compliant);
    assert_eq!(verdict(&assessment, Severity::Warning, 0.51), Verdict::Inconclusive);
}

/// A policy and a scan in which everything occurs that can be told.
fn everything() -> (Policy, Scan) {
    let exceptions = [
        exception("EX-1", "2026-12-31T00:00:00Z", "tcp/8080", "open"),
        exception("EX-2", "2026-12-01T00:00:00Z", "tcp/23", "open"),
        exception("EX-3", "2028-01-01T00:00:00Z", "tcp/9", "open"),
    ];
    let policy = policy(&format!(
        "{}{RULE}{}[[rule]]\nid = \"b\"\nhosts = [\"192.0.2.2\"]\nopen = [\"tcp/443\"]\nwhy = \"<a> & \\\"b\\\"\"\n[[rule]]\nid = \"c\"\nhosts = [\"192.0.2.3\"]\nopen = [\"tcp/25\"]\nmay-be-down = true\n",
        "[defaults]\nseverity = \"info\"\n",
        exceptions.concat()
    ));
    let findings = [(1, 80, Open), (1, 22, Open), (1, 8080, Open), (1, 23, Open), (2, 443, Filtered)];
    let mut scan = scan("192.0.2.1-192.0.2.3", "1-10000", Show::OPEN, &findings);
    scan.add(Record::HostDown(HostDown { address: host(3), reason: "no-arp".into() }));
    (policy, scan)
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/policy/golden").join(name);
    let text = &text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(*text, expected, "{name}");
}

#[test]
fn the_forms_of_a_report() {
    let (policy, scan) = everything();
    let assessment = Assessment::of(&policy, &OfScan::new(&scan), now());
    let measure = assessment.measure(Severity::Warning, 1.0);
    let verdict = assessment.verdict(&measure);
    assert_eq!(verdict, Verdict::Violated);
    golden("report.json", &json(&assessment, verdict));
    golden("report.xml", &junit(&assessment, &measure));
    golden("report.sarif", &sarif(&assessment, &measure));
    let sentences: String = assessment.checks.iter().map(|check| sentence(&assessment, check) + "\n").collect();
    golden("sentences.txt", &sentences);
}

/// Failures and errors, by the numbers at the top of the document.
fn complaints(assessment: &Assessment<'_>, measure: &Measure) -> (bool, bool) {
    let junit = junit(assessment, measure);
    let head = junit.lines().nth(1).unwrap().to_owned();
    (!head.contains("failures=\"0\""), !head.contains("errors=\"0\""))
}

#[test]
fn forms_complain_where_the_exit_code_does() {
    let policy =
        policy("[[rule]]\nid = \"a\"\nhosts = [\"192.0.2.1\"]\nopen = [\"tcp/80\"]\nnot-open = [\"tcp/22\"]\n");
    let of = |ports: &str, findings: &[(u8, u16, State)], fail_on, min_coverage| {
        let scan = scan("192.0.2.1", ports, Show::OPEN, findings);
        let knowledge = OfScan::new(&scan);
        let assessment = Assessment::of(&policy, &knowledge, now());
        let measure = assessment.measure(fail_on, min_coverage);
        (assessment.verdict(&measure), complaints(&assessment, &measure))
    };
    let sound = (1, 80, Open);
    // Ports that were never asked, and that no rule names, are no error.
    assert_eq!(of("22,80,113", &[sound], Severity::Warning, 1.0), (Verdict::Compliant, (false, false)));
    assert_eq!(of("80,113", &[sound], Severity::Warning, 1.0), (Verdict::Inconclusive, (false, true)));
    assert_eq!(of("80,113", &[sound], Severity::Warning, 0.0), (Verdict::Compliant, (false, false)));
    let broken = [sound, (1, 22, Open)];
    assert_eq!(of("22,80,113", &broken, Severity::Warning, 1.0), (Verdict::Violated, (true, false)));
    assert_eq!(of("22,80,113", &broken, Severity::Critical, 1.0), (Verdict::Compliant, (false, false)));
}

#[test]
fn what_is_plaintext_is_remarked_where_it_is_permitted() {
    let policy = policy("[[rule]]\nid = \"a\"\nhosts = [\"192.0.2.1\"]\nopen = [\"tcp/22-23\"]\n");
    let scan = scan("192.0.2.1", "22-23", Show::OPEN, &[(1, 22, Open), (1, 23, Open)]);
    let knowledge = OfScan::new(&scan);
    let assessment = Assessment::of(&policy, &knowledge, now());
    let measure = assessment.measure(Severity::Info, 1.0);
    assert_eq!(assessment.verdict(&measure), Verdict::Compliant);
    let remark = "telnet (tcp/23) usually is unencrypted: use ssh";
    let (junit, sarif) = (junit(&assessment, &measure), sarif(&assessment, &measure));
    assert!(
        junit.contains(&format!("<system-out>{remark}</system-out>")) && junit.contains("failures=\"0\""),
        "{junit}"
    );
    assert!(
        sarif.contains(&format!("192.0.2.1: {remark}")) && sarif.contains("\"kind\": \"informational\""),
        "{sarif}"
    );
    assert!(!sarif.contains("\"kind\": \"fail\""), "{sarif}");
    let json: serde_json::Value = serde_json::from_str(&json(&assessment, Verdict::Compliant)).unwrap();
    assert_eq!(json["checks"][0]["plaintext"][0]["instead"], "ssh");
}

#[test]
fn a_draft_is_a_policy_that_what_it_is_from_meets() {
    let mut scan = scan(
        "192.0.2.0/28",
        "1-1024",
        Show { closed: true, ..Show::OPEN },
        &[(1, 22, Open), (1, 23, Open), (2, 22, Open), (2, 23, Open), (3, 80, Closed), (4, 80, Open), (5, 7, Open)],
    );
    scan.hosts.get_mut(&host(5)).unwrap().ports.get_mut(&7).unwrap().suspect = Some("every-port".into());
    let knowledge = OfScan::new(&scan);
    let text = draft("scan.jsonl", scan.hosts.keys().copied(), scan.plan().unwrap(), &knowledge);
    golden("draft.toml", &text);
    let policy = Policy::of(&Document::new("draft.toml", text), &|_| Err(String::new())).unwrap();
    let assessment = Assessment::of(&policy, &knowledge, now());
    assert_eq!(verdict(&assessment, Severity::Info, 1.0), Verdict::Compliant);
    assert_eq!(assessment.listed(), Tally { known: 5, of: 5 });
}

#[test]
fn the_example_of_the_document_is_a_policy() {
    let document = include_str!("../../POLICY.md");
    let (_, example) = document.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let resolve: Resolve<'_> = &|name| if name == "www.example.org" { Ok(vec![host(80)]) } else { Err("no".into()) };
    let policy = Policy::of(&Document::new("POLICY.md", example), resolve).unwrap_or_else(|error| panic!("{error}"));
    assert!(policy.rules().len() > 2 && policy.exceptions().len() == 1 && policy.listeners().is_some());
}

fn states() -> impl Strategy<Value = State> {
    prop_oneof![Just(Open), Just(Closed), Just(Filtered)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever passes was looked at, and every port is judged once.
    #[test]
    fn nothing_passes_that_was_not_covered(
        findings in proptest::collection::vec((1u8..6, 1u16..40, states()), 0..12),
        runs in proptest::collection::vec((1u16..40, 0u16..9), 0..4),
        shown in proptest::array::uniform3(any::<bool>()),
        ended in any::<bool>(),
        named in any::<bool>(),
    ) {
        let [open, closed, filtered] = shown;
        let show = Show { open, closed, filtered, down: false };
        let ports: Ports = runs.iter().map(|&(first, more)| (first, first + more)).collect();
        let covered: Vec<_> = findings.iter().filter(|(_, port, _)| ports.contains(*port)).copied().collect();
        let mut scan = scan("192.0.2.1-192.0.2.4", &ports.to_string(), show, &covered);
        if !ended { scan.summary = None; }
        if !named { scan.header = None; }
        let policy = policy("[groups.all]\nhosts = [\"192.0.2.0/29\"]\n[[rule]]\nid = \"a\"\ngroup = \"all\"\nopen = [\"tcp/5-9\"]\nfiltered = [\"tcp/20-22\"]\nnot-open = [\"tcp/30\"]\n[[rule]]\nid = \"b\"\nhosts = [\"192.0.2.2\"]\nclosed = [\"tcp/7-25\"]\n");
        let assessment = Assessment::of(&policy, &OfScan::new(&scan), now());
        let found = |host: IpAddr, port: u16| scan.hosts.get(&host).is_some_and(|it| it.ports.contains_key(&port));
        let mut judged: BTreeMap<IpAddr, u64> = BTreeMap::new();
        for check in &assessment.checks {
            *judged.entry(check.host).or_default() += check.ports();
            if check.outcome == Outcome::Unknown { continue }
            for port in check.first..=check.last {
                let asked = named && ended && scan.plan().is_some_and(|plan| plan.contains(check.host, port));
                prop_assert!(asked || found(check.host, port), "{} {port} {:?}", check.host, check.outcome);
            }
        }
        prop_assert!(judged.len() == 8 && judged.values().all(|&ports| ports == 65535));
    }
}
