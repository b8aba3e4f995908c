//! Options as they take effect: what was asked for is what the account says was done.

use std::fs::OpenOptions;
use std::process::Stdio;

use halfopen_lab::lab_test;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

use super::{halfopen, number, records, run, text};

/// The summary of a scan of this machine.
fn summary(options: &str) -> Value {
    let output = run(&format!("scan 127.0.0.1 -p 1-64 --output jsonl {options}"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    records(&text(&output.stdout)).pop().unwrap()
}

lab_test!(what_is_asked_for_takes_effect, |_lab| {
    for (options, setting, value) in [
        ("--completeness 90%", "completeness", json!(0.9)),
        ("--discover off", "discover", json!("off")),
        ("--host-rate 5k", "host_rate", json!(5000)),
        ("--min-rate 2k", "min_rate", json!(2000)),
        ("--max-rate 20k", "max_rate", json!(20_000)),
        ("--max-passes 3", "max_passes", json!(3)),
        ("--no-control-probes", "controls", json!(false)),
        ("--senders 2", "senders", json!(2)),
    ] {
        assert_eq!(summary(options)["settings"][setting], value, "{options}");
    }
    assert_eq!(summary("")["settings"]["controls"], json!(true));
    assert_eq!(summary("--completeness 90%")["completeness"]["asked"], json!(0.9));
});

lab_test!(a_host_gets_no_more_than_asked, |_lab| {
    let summary = summary("--host-rate 100");
    assert!(number(&summary["elapsed_us"]) > 500_000, "64 probes at 100 a second: {summary}");
    let said = |options: &str| text(&run(&format!("scan 127.0.0.1 -p 1-8 --host-rate {options}")).stderr);
    let word = "the lowest rate, 10000/s, is out of reach: 1 host at 1000/s each get 1000/s";
    assert!(said("1k --min-rate 10k").contains(word), "{}", said("1k --min-rate 10k"));
    assert!(
        !said("1k --min-rate 1k").contains("out of reach") && !said("none --min-rate 10k").contains("out of reach")
    );
});

/// The probes of a dry run.
fn probes(line: &str) -> usize {
    text(&run(&format!("scan --dry-run -p 80 {line}")).stdout).lines().count()
}

lab_test!(names_have_as_many_addresses_as_asked_for, |_lab| {
    assert_eq!(probes("localhost --resolve first"), 1);
    assert!(probes("localhost --resolve all") >= 1);
});

lab_test!(what_is_never_a_host_needs_a_word, |_lab| {
    assert_eq!(probes("224.0.0.0/30 127.0.0.1"), 1);
    assert_eq!(probes("224.0.0.0/30 127.0.0.1 --no-blocklist"), 5);
});

lab_test!(a_bar_beside_a_pipe_when_it_is_wanted, |_lab| {
    for (options, bar) in [("--progress", true), ("", false)] {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let terminal = OpenOptions::new().read(true).write(true).open(name).unwrap();
        let mut command = halfopen(&format!("scan 127.0.0.1 -p 1-100 --rate 100 {options}"));
        command.env("TERM", "xterm").stdout(Stdio::piped()).stderr(terminal);
        let child = command.spawn().unwrap();
        drop(command);
        let written = super::terminal::read_all(master.into());
        assert!(child.wait_with_output().unwrap().status.success(), "{written}");
        assert_eq!(written.contains("pass 1  "), bar, "{options}: {written}");
    }
});
