//! `halfopen policy` on stored scans: what is told, in which form, and with which exit code it ends.

use std::fs;
use std::path::Path;

use super::{halfopen, run_with_input, text};

/// A scan of two hosts as `--output jsonl --show all` wrote it: the web is open, and so is telnet on one of them.
const SCAN: &str = r#"{"type":"scan","version":"0.1.0","command":["halfopen","scan","192.0.2.1-192.0.2.2"],"started":"2026-01-31T12:00:00Z","targets":6,"hosts":2,"settings":{"targets":["192.0.2.1-192.0.2.2"],"ports":["22,23,80"],"method":"syn","seed":"1","show":["open","closed","filtered","down"]},"coverage":[{"addresses":["192.0.2.1-192.0.2.2"],"ports":"22-23,80"}]}
{"type":"verdict","address":"192.0.2.1","port":22,"state":"filtered","reason":"no-response","time":"2026-01-31T12:00:00.1Z"}
{"type":"verdict","address":"192.0.2.1","port":23,"state":"open","reason":"syn-ack","time":"2026-01-31T12:00:00.2Z"}
{"type":"verdict","address":"192.0.2.1","port":80,"state":"open","reason":"syn-ack","time":"2026-01-31T12:00:00.3Z"}
{"type":"verdict","address":"192.0.2.2","port":22,"state":"closed","reason":"rst","time":"2026-01-31T12:00:00.4Z"}
{"type":"verdict","address":"192.0.2.2","port":23,"state":"closed","reason":"rst","time":"2026-01-31T12:00:00.4Z"}
{"type":"verdict","address":"192.0.2.2","port":80,"state":"open","reason":"syn-ack","time":"2026-01-31T12:00:00.4Z"}
{"type":"summary","outcome":"complete","started":"2026-01-31T12:00:00Z","elapsed_us":700000,"targets":6,"hosts":2,"counts":{"open":3,"closed":2,"filtered":1}}
"#;

const GOOD: &str = "version = 1\n[[rule]]\nid = \"web\"\nhosts = [\"192.0.2.2\"]\nopen = [\"tcp/80\"]\n";
const BAD: &str = "version = 1\n[[rule]]\nid = \"web\"\nhosts = [\"192.0.2.1\"]\nopen = [\"tcp/80\"]\nfiltered = [\"tcp/22\"]\nwhy = \"Only the web.\"\n";

fn exception(until: &str) -> String {
    format!(
        "[[exception]]\nid = \"EX-1\"\nrule = \"web\"\nhosts = [\"192.0.2.1\"]\nports = [\"tcp/23\"]\nexpect = \"open\"\nuntil = {until}\nowner = \"netops\"\nreason = \"Ticket 7\"\n"
    )
}

fn folder(policy: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("scan.jsonl"), SCAN).expect("it can be written");
    fs::write(folder.path().join("policy.toml"), policy).expect("it can be written");
    folder
}

/// Runs `halfopen policy` there: the exit code, and what is on both outputs.
fn policy(folder: &Path, line: &str) -> (i32, String, String) {
    let output =
        halfopen().arg("policy").args(line.split_whitespace()).current_dir(folder).output().expect("it starts");
    (output.status.code().expect("it ends"), text(&output.stdout), text(&output.stderr))
}

fn code(of: &str, line: &str) -> i32 {
    policy(folder(of).path(), line).0
}

#[test]
fn exit_codes_tell_what_came_out() {
    let unknown = GOOD.replace("\"tcp/80\"", "\"tcp/80\", \"tcp/81\"");
    let ended = format!("{BAD}{}", exception("2020-01-01T00:00:00Z"));
    let excepted = format!("{BAD}{}", exception("2999-01-01T00:00:00Z"));
    let idle = format!("{GOOD}{}", exception("2999-01-01T00:00:00Z"));
    for (of, options, expected) in [
        (GOOD, "", 0),
        (BAD, "", 1),
        (BAD, "--fail-on critical", 0),
        (BAD, "--exit-zero", 0),
        (&unknown, "", 4),
        (&unknown, "--min-coverage 0", 0),
        (&unknown, "--exit-zero", 0),
        (&ended, "", 1),
        (&excepted, "", 0),
        (&idle, "", 5),
        (&idle, "--exit-zero", 0),
        (GOOD, "--policy none.toml", 2),
        (GOOD, "--fail-on high", 2),
        (GOOD, "--unlisted-ports 1-10", 2),
        ("version = 1", "", 2),
    ] {
        assert_eq!(code(of, &format!("check scan.jsonl {options}")), expected, "{options}\n{of}");
    }
    assert_eq!(code(GOOD, "check none.jsonl"), 2);
    assert_eq!(code(GOOD, "check --history none.db"), 2);
}

#[test]
fn people_are_told_what_is_wrong_and_why() {
    let folder = folder(&format!("{BAD}{}", exception("2020-01-01T00:00:00Z")));
    let (_, said, _) = policy(folder.path(), "check scan.jsonl");
    let expected = "\
violated web (warning): Only the web.
  192.0.2.1 tcp/23 (Telnet) is open, and must not be open, as no rule names it; exception EX-1 ended at 2020-01-01T00:00:00Z
    telnet (tcp/23) usually is unencrypted: use ssh
permitted, and plaintext
  192.0.2.1: http (tcp/80) usually is unencrypted: use https
exception EX-1 of netops has ended, at 2020-01-01T00:00:00Z: mend what it was for, or renew it
policy.toml: violated, 1 port violated
known: of the ports that rules name 2 of 2; of all others 1 of 65,533
";
    assert_eq!(said, expected);
}

#[test]
fn programs_are_told_the_same() {
    let folder = folder(BAD);
    let (code, json, _) = policy(folder.path(), "check scan.jsonl --format json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["verdict"], &json["ports"]["violated"]), (1, &"violated".into(), &1.into()));
    let (code, junit, _) = policy(folder.path(), "check scan.jsonl --format junit");
    assert!(code == 1 && junit.starts_with("<?xml") && junit.contains("<failure type=\"warning\""), "{junit}");
    let (code, sarif, _) = policy(folder.path(), "check scan.jsonl --format sarif");
    let sarif: serde_json::Value = serde_json::from_str(&sarif).unwrap();
    assert_eq!((code, &sarif["version"]), (1, &"2.1.0".into()));
}

#[test]
fn a_draft_is_met_by_what_it_is_from() {
    let folder = folder("");
    let (code, draft, _) = policy(folder.path(), "init --from-scan scan.jsonl");
    assert_eq!(code, 0);
    assert!(draft.contains("\"tcp/23\",    # Telnet; unencrypted: use ssh"), "{draft}");
    fs::write(folder.path().join("policy.toml"), draft).unwrap();
    let (code, said, _) = policy(folder.path(), "check scan.jsonl --fail-on info");
    assert_eq!(code, 0, "{said}");
    fs::write(folder.path().join("list"), "192.0.2.1:80\n").unwrap();
    let (code, _, said) = policy(folder.path(), "init --from-scan list");
    assert!(code == 2 && said.contains("does not say what was covered"), "{said}");
    let (code, _, said) = policy(folder.path(), "init --from-history none.db");
    assert!(code == 2 && said.contains("there is no such database"), "{said}");
}

#[test]
fn a_port_is_explained() {
    let folder = folder(&format!(
        "{BAD}{}[[rule]]\nid = \"net\"\nhosts = [\"192.0.2.0/24\"]\nclosed = [\"tcp/80\"]\n",
        exception("2999-01-01T00:00:00Z")
    ));
    let (code, said, _) = policy(folder.path(), "explain 192.0.2.1 http");
    let expected = "\
192.0.2.1 tcp/80: expected open, warning otherwise
  by rule web, policy.toml:2
  why: Only the web.
  http usually is unencrypted: use https
  also about this host: rule net (line 17, 256 addresses), which would have it closed
";
    assert_eq!((code, said.as_str()), (0, expected));
    let (_, said, _) = policy(folder.path(), "explain 192.0.2.1 23 --policy policy.toml");
    assert!(
        said.contains("expected not-open") && said.contains("exception EX-1 (line 8): may be open; until 2999"),
        "{said}"
    );
    let (_, said, _) = policy(folder.path(), "explain 198.51.100.1 23");
    assert_eq!(said, "198.51.100.1 tcp/23: nothing is expected; no rule is about this host\n");
    assert_eq!(policy(folder.path(), "explain 192.0.2.1 udp/53").0, 2);
    assert_eq!(policy(folder.path(), "explain 192.0.2.1 1-65535").0, 2);
}

#[test]
fn a_policy_is_tried_on_stored_scans() {
    let folder = folder(BAD);
    let of = |line: &str| policy(folder.path(), &format!("test scan.jsonl {line}"));
    assert_eq!(of("--expect violated"), (0, "as expected: violated\n".into(), String::new()));
    assert_eq!(of("--violates web").0, 0);
    let (code, said, _) = of("");
    assert!(code == 1 && said.starts_with("expected compliant, and it is violated\n"), "{said}");
    assert_eq!(of("--expect inconclusive").0, 1);
    let (code, _, said) = of("--violates wbe");
    assert!(code == 2 && said.contains("has no such rule"), "{said}");
}

#[test]
fn help_is_that_of_the_very_command() {
    let folder = folder("");
    let (code, said, _) = policy(folder.path(), "check --help");
    assert!(code == 0 && said.contains("--min-coverage") && said.contains("halfopen policy check"), "{said}");
}

#[test]
fn from_standard_input() {
    let folder = folder(GOOD);
    let file = folder.path().join("policy.toml").display().to_string();
    let output = run_with_input(["policy", "check", "-", "--policy", &file], SCAN);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}
