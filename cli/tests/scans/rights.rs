//! Without the right to raw sockets: what is said, and what still works.

use std::process::Output;
use std::thread;

use halfopen_lab::lab_test;
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use super::{OPEN, assert_adds_up, listeners, records, run, sorted, text};

/// Runs it where nobody can have CAP_NET_RAW, root included. A thread's children can have what it can.
fn run_without_rights(line: &str) -> Output {
    thread::scope(|scope| {
        let run = || {
            remove_capability_from_bounding_set(CapabilitySet::NET_RAW).unwrap();
            run(line)
        };
        scope.spawn(run).join().unwrap()
    })
}

/// What it said, with a name in the place of the program's path.
fn said(output: &Output) -> String {
    text(&output.stderr).replace(env!("CARGO_BIN_EXE_halfopen"), "PROGRAM")
}

lab_test!(syn_says_what_is_missing_and_how_to_get_it, |_lab| {
    let output = run_without_rights("scan 127.0.0.1 -p 80 --method syn");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    insta::assert_snapshot!(said(&output), @r"
    error: opening a raw socket needs the capability CAP_NET_RAW; run as root (sudo), or grant it to the program (setcap cap_net_raw+ep)
    hint: for a SYN scan run `sudo PROGRAM ...`, or grant the right once: `sudo setcap cap_net_raw+ep PROGRAM`
    ");
});

lab_test!(auto_falls_back_aloud, |lab| {
    let _listeners = listeners(lab);
    let output = run_without_rights("scan 127.0.0.1 ::1 -p 1-1024 --output list --seed 1");
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(sorted(&text(&output.stdout)), OPEN);
    let lines: Vec<_> = said.lines().collect();
    insta::assert_snapshot!(lines[0], @"warning: opening a packet socket needs the capability CAP_NET_RAW; run as root (sudo), or grant it to the program (setcap cap_net_raw+ep); falling back to a connect() scan, which sees less");
    assert!(lines[1].ends_with(" s: 4 open, 2,044 closed"), "{said}");
    insta::assert_snapshot!(lines[3..].join("\n"), @r"
    connect() scan, seed 1
    hint: for a SYN scan run `sudo PROGRAM ...`, or grant the right once: `sudo setcap cap_net_raw+ep PROGRAM`
    plaintext: 80 http on 2 hosts, use https; see halfopen explain 80
    ");
});

lab_test!(the_records_tell_of_the_fallback, |lab| {
    let _listeners = listeners(lab);
    let records = records(&text(&run_without_rights("scan 127.0.0.1 -p 80-81 --output jsonl --show all").stdout));
    assert_eq!((&records[0]["type"], &records[1]["type"]), (&"scan".into(), &"warning".into()));
    assert!(records[1]["message"].as_str().unwrap().contains("CAP_NET_RAW"));
    let found: Vec<_> = records.iter().filter(|record| record["type"] == "verdict").collect();
    let of = |port: u16| found.iter().find(|record| record["port"] == port).unwrap();
    assert_eq!((&of(80)["state"], &of(80)["reason"]), (&"open".into(), &"syn-ack".into()));
    assert_eq!((&of(81)["state"], &of(81)["reason"]), (&"closed".into(), &"conn-refused".into()));
    let summary = records.last().unwrap();
    assert_adds_up(summary);
    assert_eq!(summary["settings"]["method"], "connect");
});

lab_test!(connect_by_choice_is_no_fallback, |_lab| {
    let output = run_without_rights("scan 127.0.0.1 -p 80 --method connect");
    let said = said(&output);
    assert!(output.status.success() && !said.contains("warning") && !said.contains("hint"), "{said}");
});
