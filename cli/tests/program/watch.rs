//! `halfopen watch --check`, and the unit file: what can be said of them without scanning.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{halfopen, text};

const SETTINGS: &str = r#"
store = "/var/lib/halfopen/monitor.db"
scope = "scope.toml"
time-zone = "UTC"

[[group]]
name = "dmz"
targets = ["192.0.2.0/28", "www.example.org"]
ports = ["1-1024", "https"]
every = "5m"
options = ["--max-rate", "1k"]

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
    assert_eq!(
        lines[..3],
        ["HERE/halfopen.toml: sound", "store: /var/lib/halfopen/monitor.db", "scope: HERE/scope.toml"]
    );
    assert!(lines[4].starts_with("  dmz  every 5m; scanned now, next at ") && lines[4].ends_with(" UTC"), "{said}");
    assert_eq!(lines[5..], ["windows:", "  patch night  maintenance"]);
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
            "error: HERE/halfopen.toml:10: [[group]]: no such key: evry; did you mean every?",
        ),
        ("\"--max-rate\"", "\"--max-rat\"", "error: HERE/halfopen.toml:11: options: unexpected argument '--max-rat'"),
        ("192.0.2.0/28", "192.0.2.0/33", "error: HERE/halfopen.toml:8: targets: "),
        (
            "[[window]]",
            "[[windows]]",
            "error: HERE/halfopen.toml:13: settings: no such key: windows; did you mean window?",
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
