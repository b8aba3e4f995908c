//! `halfopen listeners` as it is typed wrongly, and when nobody takes what it prints.

use std::fs::OpenOptions;

use super::{halfopen, run, text};

fn refused(line: &str) -> String {
    let output = run(line);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()), "{line}");
    text(&output.stderr)
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        ("listeners --check /nonexistent/policy.toml", "cannot open /nonexistent/policy.toml: No such file"),
        ("listeners --against /nonexistent/scan", "/nonexistent/scan"),
        ("listeners --reachable", "--against"),
        ("listeners --address 192.0.2.1", "--against"),
        // Whoever is used to ss gets an answer that helps.
        ("listeners -tulpn", "processes and numbers are always shown"),
        ("listeners -p 70000", "expected ports such as 22,http,8000-8100"),
    ];
    for (line, expected) in cases {
        let said = refused(line);
        assert!(said.contains(expected), "{line}: {said}");
    }
}

#[test]
fn what_is_no_scan_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "neither a scan nor a database").unwrap();
    let said = refused(&format!("listeners --against {}", file.path().display()));
    assert!(said.contains(&file.path().display().to_string()), "{said}");
}

#[test]
fn a_full_disk_is_an_error() {
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else {
        eprintln!("skipped: no /dev/full here");
        return;
    };
    let output = halfopen().arg("listeners").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("No space left on device"), "{}", text(&output.stderr));
}
