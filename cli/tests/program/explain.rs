//! `halfopen explain`: answers on standard output, for people and as data; what is unknown is an error alone.

use std::fs::OpenOptions;

use super::{halfopen, run, text};

fn said(line: &str) -> String {
    let output = run(line);
    assert!(output.status.success() && output.stderr.is_empty(), "{line}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// What it says on standard error, and nothing else.
fn refused(line: &str) -> String {
    let output = run(line);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{line}");
    text(&output.stderr)
}

#[test]
fn ports_and_names() {
    let page = said("explain 443 telnet 53/udp");
    let headings: Vec<_> = page.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert_eq!(headings.len(), 3, "{page}");
    for (heading, start) in headings.iter().zip(["443/tcp  https: ", "23/tcp  telnet: ", "53/udp  dns: "]) {
        assert!(heading.starts_with(start), "{heading}");
    }
    assert_eq!(page.matches("A port number is a convention, not proof").count(), 1, "{page}");
    assert!(!page.contains('\x1b'), "no terminal is near");
}

#[test]
fn each_thing_once_however_it_is_named() {
    assert_eq!(said("explain telnet 23,TELNET 23/tcp"), said("explain 23"));
}

#[test]
fn as_data() {
    let object: serde_json::Value = serde_json::from_str(&said("explain --json 3389 4")).unwrap();
    assert_eq!(object["answers"][0]["service"]["name"], "rdp");
    assert_eq!(object["answers"][0]["service"]["risk"], "high");
    assert!(object["answers"][1]["service"].is_null());
    assert!(object["note"].as_str().is_some_and(|note| note.contains("not proof")));
}

#[test]
fn what_is_unknown() {
    insta::assert_snapshot!(refused("explain 443 telent"), @r#"
    error: "telent" is neither a port nor the name of a service
    hint: did you mean telnet?
    "#);
    insta::assert_snapshot!(refused("explain 65536"), @r#"
    error: "65536" is neither a port nor the name of a service
    hint: give ports such as 443 or 53/udp, or names such as telnet
    "#);
}

#[test]
fn nothing_asked() {
    let said = refused("explain");
    assert_eq!(said, "error: halfopen explain needs <PORT|NAME>...; see `halfopen explain --help`\n");
}

#[test]
fn a_full_disk() {
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else {
        eprintln!("skipped: no /dev/full here");
        return;
    };
    let output = halfopen().args(["explain", "22"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: cannot write to standard output: "));
}
