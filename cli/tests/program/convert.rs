//! `halfopen convert`: from one form to another, of scans that ended and of those that did not.

use std::fs;
use std::path::Path;

use super::{halfopen, run_with_input, text};

const SCAN: &str = r#"{"type":"scan","version":"0.1.0","started":"2026-01-31T12:00:00Z","targets":3,"hosts":1,"settings":{"ports":["22,23,80"],"show":["open","closed"]},"coverage":[{"addresses":["192.0.2.1"],"ports":"22-23,80"}]}
{"type":"verdict","address":"192.0.2.1","port":22,"state":"open","reason":"syn-ack"}
{"type":"verdict","address":"192.0.2.1","port":80,"state":"closed","reason":"rst"}
"#;
const END: &str = "{\"type\":\"summary\",\"outcome\":\"complete\",\"started\":\"2026-01-31T12:00:00Z\"}\n";

/// Runs `halfopen convert` there. Gives the exit code and what was printed and said.
fn convert(directory: &Path, line: &str) -> (i32, String, String) {
    let mut command = halfopen();
    let output = command.arg("convert").args(line.split_whitespace()).current_dir(directory).output().unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn directory(scan: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("scan"), scan).unwrap();
    directory
}

#[test]
fn through_every_form_and_back() {
    let directory = directory(&[SCAN, END].concat());
    for form in ["jsonl", "json", "csv", "grepable", "xml", "sqlite"] {
        let made = format!("scan -o {form}={form}");
        assert_eq!(convert(directory.path(), &made), (0, String::new(), String::new()), "{form}");
        let (code, list, said) = convert(directory.path(), &format!("{form} --output list"));
        assert_eq!((code, &*list), (0, "192.0.2.1:22\n"), "{form}: what is closed is not listed: {said}");
        let (_, csv, _) = convert(directory.path(), &format!("{form} -o csv"));
        let closed = csv.lines().filter(|line| line.contains(",80,") && line.contains("closed")).count();
        assert_eq!(closed, 1, "{form}: {csv}");
    }
}

#[test]
fn a_scan_that_did_not_end_is_not_said_to_have() {
    let whole = SCAN.len() - 2;
    let directory = directory(&SCAN[..whole]);
    assert_eq!(convert(directory.path(), "scan -o xml=scan.xml").0, 0);
    let xml = fs::read_to_string(directory.path().join("scan.xml")).unwrap();
    assert!(xml.contains("exit=\"error\"") && xml.contains("the scan did not end"), "{xml}");
    assert!(xml.trim_end().ends_with("</nmaprun>") && xml.contains("portid=\"22\""), "{xml}");
    let output = run_with_input(["convert", "-", "-o", "json"], SCAN);
    let records: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is whole");
    assert_eq!(records.as_array().unwrap().last().unwrap()["type"], "error");
}

#[test]
fn what_cannot_be_converted() {
    let directory = directory(SCAN);
    let refused = |line: &str| {
        let (code, printed, said) = convert(directory.path(), line);
        assert_eq!((code, &*printed), (2, ""), "{line}: {said}");
        said
    };
    assert!(refused("scan -o human").contains("convert writes no human form"));
    assert!(refused("scan -o jsonl=./scan").contains("cannot be read and replaced at once"));
    assert!(refused("scan -o sqlite").contains("sqlite needs a file"));
    assert!(refused("nothing -o list").contains("cannot open nothing"));
    assert_eq!(fs::read_to_string(directory.path().join("scan")).unwrap(), SCAN);
    let (code, _, said) = convert(directory.path(), "scan -o csv=/dev/full");
    assert_eq!(code, 1, "{said}");
    assert!(said.starts_with("error: cannot write to /dev/full: "), "{said}");
}
