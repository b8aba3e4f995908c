//! `services/update`, on a few lines as IANA and the package have them.

use std::io::Write;
use std::process::{Command, Stdio};

const UPDATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/update");

const CSV: &str = "\u{feff}Service Name,Port Number,Transport Protocol,Description,Assignee\r\n\
    ,4,tcp,Unassigned,\r\n\
    x11,6000-6002,udp,X Window System,\r\n\
    whoispp,63,tcp,whois++,\r\n\
    whois++,63,tcp,whois++,\r\n\
    http,80,tcp,\"World Wide\r\n   Web \"\"HTTP\"\"\",x\r\n\
    http,80,udp,\"World Wide Web \"\"HTTP\"\"\",x\r\n\
    http,80,sctp,HTTP,\r\n\
    www,80,tcp,Web,\r\n\
    sql*net,66,tcp,Oracle,\r\n";

const INDEX: &str =
    r#"{"80/tcp": ["www-http", "Web"], "80/udp": ["", ""], "25/tcp": ["smtp", "Mail"], "9/dccp": ["discard", ""]}"#;

/// Standard output without its note, and whether it worked; nothing where Python is missing.
fn update(input: &str, args: &[&str]) -> Option<(String, bool)> {
    let piped = || Stdio::piped();
    let Ok(mut child) = Command::new(UPDATE).args(args).stdin(piped()).stdout(piped()).stderr(piped()).spawn() else {
        eprintln!("skipped: no python3 here");
        return None;
    };
    // It may not have wanted to read.
    let _ = child.stdin.take()?.write_all(input.as_bytes());
    let output = child.wait_with_output().ok()?;
    if output.status.code() == Some(127) {
        eprintln!("skipped: no python3 here");
        return None;
    }
    let text = String::from_utf8(output.stdout).ok()?;
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n"));
    Some((lines.collect(), output.status.success()))
}

#[test]
fn the_registrys_own_form() {
    let Some((lines, worked)) = update(CSV, &["2026-09-17"]) else { return };
    let expected = "63\ttcp\twhoispp\twhois++\n66\ttcp\tsql-net\tOracle\n\
        80\ttcp,udp\thttp\tWorld Wide Web \"HTTP\"\n80\ttcp\twww\tWeb\n\
        6000\tudp\tx11\tX Window System\n6001\tudp\tx11\tX Window System\n6002\tudp\tx11\tX Window System\n";
    assert_eq!((lines.as_str(), worked), (expected, true));
}

#[test]
fn the_packages_form() {
    let Some((lines, worked)) = update(INDEX, &["2026-09-17"]) else { return };
    let ranges = lines.lines().filter(|line| line.ends_with("\tX Window System")).count();
    assert_eq!((ranges, worked), (64, true));
    assert!(
        lines.starts_with("25\ttcp\tsmtp\tMail\n80\ttcp\thttp\tWeb\n80\ttcp\twww-http\tWeb\n80\ttcp\twww\tWeb\n"),
        "{lines}"
    );
}

#[test]
fn what_it_cannot_use() {
    for (input, args) in [("", &["2026-09-17"][..]), ("{}", &["soon"]), (CSV, &[]), ("Service Name\n", &["2026-09-17"])]
    {
        let Some((lines, worked)) = update(input, args) else { return };
        assert_eq!((lines.lines().filter(|line| line.contains("\ttcp\t")).count(), worked), (0, false), "{args:?}");
    }
}
