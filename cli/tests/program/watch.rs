//! `halfopen watch --check`, and the unit file: what can be said of them without scanning.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{halfopen, text};

const SETTINGS: &str = r#"
store = "/var/lib/halfopen/monitor.db"
time-zone = "UTC"

[[group]]
name = "dmz"
targets = ["192.0.2.0/28", "www.example.org"]
ports = ["1-1024", "https"]
every = "5m"
exclude-ports = ["22"]
options = ["--max-rate", "1k"]

[[alert]]
on = ["opened", "policy-violated"]
groups = ["dmz"]
ports = ["1-1024"]
severity = "warning"
remind = "4h"
to = ["ops"]

[channel.ops]
kind = "command"
command = ["/bin/true"]

[[window]]
name = "patch night"
kind = "maintenance"
hours = ["Sat 22:00-04:00"]
"#;

/// The exit code of a check, and what was said, without the folder.
fn check(settings: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("halfopen.toml");
    fs::write(&file, settings).unwrap();
    let output = halfopen().args(["watch", "--check", "--settings"]).arg(&file).output().expect("the program starts");
    let said = text(&output.stdout) + &text(&output.stderr);
    (output.status.code(), said.replace(&*folder.path().to_string_lossy(), "HERE"))
}

#[test]
fn a_sound_file_is_told_in_short() {
    let (code, said) = check(SETTINGS);
    assert_eq!(code, Some(0), "{said}");
    let lines: Vec<_> = said.lines().collect();
    let head = ["HERE/halfopen.toml: sound", "store: /var/lib/halfopen/monitor.db", "scope: none", "groups:"];
    assert_eq!(lines[..4], head);
    assert_eq!(lines[4], "  dmz  192.0.2.0/28 www.example.org; ports 1-1024,https without 22");
    let next = "    every 5m; next at the start, then ";
    assert!(lines[5].starts_with(next) && lines[5].ends_with(" UTC"), "{said}");
    assert_eq!(
        lines[6..11],
        [
            "alerts:",
            "  opened, policy-violated of dmz; ports [\"1-1024\"]; warning or worse; again every 4h: to ops",
            "channels:",
            "  ops  command",
            "windows:"
        ]
    );
    let window = lines[11];
    assert!(window.starts_with("  patch night  maintenance; ") && window.contains(" until Sun "), "{said}");
}

/// What the file names must be there, and a running service refuses what a check refuses.
#[test]
fn what_the_file_names_is_looked_at() {
    for (from, to, expected) in [
        (
            "time-zone",
            "scope = \"none.toml\"\ntime-zone",
            "error: HERE/halfopen.toml:3: scope = \"none.toml\": cannot open HERE/none.toml: ",
        ),
        (
            "time-zone",
            "policy = \"none.toml\"\ntime-zone",
            "error: HERE/halfopen.toml:3: policy = \"none.toml\": cannot open HERE/none.toml: ",
        ),
        ("\"/bin/true\"", "\"/nowhere/x\"", "error: HERE/halfopen.toml:23: channel.ops: command: /nowhere/x: "),
        (
            "kind = \"command\"\ncommand = [\"/bin/true\"]",
            "kind = \"slack\"\nurl-file = \"hook\"",
            "error: HERE/halfopen.toml:23: channel.ops: url-file HERE/hook: No such file",
        ),
        (
            "[[window]]",
            "[channel.other]\nkind = \"command\"\ncommand = [\"/bin/true\"]\n[[window]]",
            "warning: channel.other: no alert goes there",
        ),
        (
            "\"--max-rate\", \"1k\"",
            "\"-e\", \"nosuch0\"",
            "warning: group dmz: there is no interface nosuch0 now; there are ",
        ),
    ] {
        let (code, said) = check(&SETTINGS.replace(from, to));
        let is_warning = expected.starts_with("warning");
        assert_eq!(code, Some(if is_warning { 0 } else { 2 }), "{said}");
        assert!(said.lines().any(|line| line.starts_with(expected)), "{said}\nexpected: {expected}");
    }
}

#[test]
fn groups_keep_to_the_scope() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    fs::write(place("halfopen.toml"), SETTINGS.replace("time-zone", "scope = \"scope.toml\"\ntime-zone")).unwrap();
    let check = |networks: &str| {
        let scope = format!("networks = [{networks:?}]\ncontact = \"noc@example.org\"\nreference = \"4711\"\n");
        fs::write(place("scope.toml"), scope).unwrap();
        let output = halfopen().args(["watch", "--check", "--config"]).arg(place("halfopen.toml")).output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    assert_eq!(check("192.0.2.0/24"), (Some(0), String::new()));
    let (code, said) = check("192.0.2.0/29");
    assert!(code == Some(2) && said.contains("halfopen.toml:3: scope") && said.contains("group dmz"), "{said}");
}

#[test]
fn the_policy_is_checked_with_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name| folder.path().join(name);
    fs::write(place("halfopen.toml"), SETTINGS.replace("time-zone", "policy = \"policy.toml\"\ntime-zone")).unwrap();
    let check = |policy: &str| {
        fs::write(place("policy.toml"), policy).unwrap();
        let output = halfopen().args(["watch", "--check", "-c"]).arg(place("halfopen.toml")).output().unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        (output.status.code(), said.replace(&*folder.path().to_string_lossy(), "HERE"))
    };
    let rule = "version = 1\n[[rule]]\nid = \"web\"\nhosts = [\"192.0.2.1\"]\nopen = [\"tcp/80\"]\n";
    let (code, said) = check(rule);
    assert!(code == Some(0) && said.contains("policy: HERE/policy.toml (rules: 1, exceptions: 0)\n"), "{said}");
    let (code, said) = check(&rule.replace("tcp/80", "tcp/0"));
    assert!(code == Some(2) && said.starts_with("error: HERE/policy.toml:5: "), "{said}");
    fs::remove_file(place("policy.toml")).unwrap();
    let output = halfopen().args(["watch", "--check", "-c"]).arg(place("halfopen.toml")).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (from, to, expected) in [
        (
            "every = \"5m\"",
            "evry = \"5m\"",
            "error: HERE/halfopen.toml:9: [[group]]: no such key: evry; did you mean every?",
        ),
        ("\"--max-rate\"", "\"--max-rat\"", "error: HERE/halfopen.toml:11: options: unexpected argument '--max-rat'"),
        ("192.0.2.0/28", "192.0.2.0/33", "error: HERE/halfopen.toml:7: targets: "),
        (
            "[[window]]",
            "[[windows]]",
            "error: HERE/halfopen.toml:25: settings: no such key: windows; did you mean window?",
        ),
    ] {
        let (code, said) = check(&SETTINGS.replace(from, to));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.starts_with(expected) && said.lines().count() == 1, "{said}\nexpected: {expected}");
    }
    let output = halfopen().args(["watch", "-c", "/nowhere/halfopen.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("error: cannot open /nowhere/halfopen.toml: "));
}

#[test]
fn a_check_and_a_round_exclude_one_another() {
    let output = halfopen().args(["watch", "--check", "--once"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// By systemd itself, where it is installed.
#[test]
fn the_unit_is_sound() {
    let unit =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/halfopen-watch.service")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("halfopen-watch.service");
    fs::write(&file, unit.replace("/usr/bin/halfopen", env!("CARGO_BIN_EXE_halfopen"))).unwrap();
    let mut verify = Command::new("systemd-analyze");
    match verify.args(["verify", "--man=no", "--recursive-errors=no"]).arg(&file).output() {
        Ok(output) => {
            let said = text(&output.stderr);
            assert!(output.status.success() && !said.contains("halfopen-watch.service"), "{said}");
        }
        Err(_) => eprintln!("SKIPPED: systemd-analyze is not installed"),
    }
}
