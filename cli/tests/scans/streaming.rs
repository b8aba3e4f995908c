//! Scans that begin while the program that names their targets is still at work. Nothing is fed before the finding of what was
//! fed before has been read, so that every piece is a batch of its own.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ChildStdin;

use halfopen_lab::{Namespace, lab_test};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::dropped::has_only_opener_rights;
use super::{Scan, assert_adds_up, number, records, run, text};

fn feed(stdin: &mut ChildStdin, lines: &str) {
    writeln!(stdin, "{lines}").expect("it reads");
}

/// Reads records as far as one of this type, and gives that.
fn read_to(scan: &mut Scan, kind: &str) -> Value {
    loop {
        let line = scan.line();
        assert!(!line.is_empty(), "no {kind} came");
        let record: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if record["type"] == kind {
            return record;
        }
    }
}

/// Where the finding was made.
fn found(scan: &mut Scan) -> String {
    let verdict = read_to(scan, "verdict");
    format!("{}:{} {}", verdict["address"].as_str().unwrap(), verdict["port"], verdict["state"].as_str().unwrap())
}

fn listening(lab: &Namespace) -> [std::net::TcpListener; 2] {
    ["127.0.0.1:80", "127.0.0.2:80"].map(|address| lab.listen(address))
}

lab_test!(findings_come_while_targets_do, |lab| {
    let _listeners = listening(lab);
    let directory = tempfile::tempdir().unwrap();
    let base = |name: &str| directory.path().join(name).display().to_string();
    let line = format!("scan -i - -p 80-81 --show all -o jsonl --output-all {}", base("fed"));
    let (mut scan, mut stdin) = Scan::fed(&line);
    feed(&mut stdin, "127.0.0.1");
    let header = read_to(&mut scan, "scan");
    assert_eq!(header["coverage"], json!([{ "addresses": ["127.0.0.1"], "ports": "80-81" }]));
    let mut first = [found(&mut scan), found(&mut scan)];
    first.sort();
    assert_eq!(first, ["127.0.0.1:80 open", "127.0.0.1:81 closed"]);
    assert!(scan.is_running(), "its standard input is open");
    // What is wrong costs its line; what has been scanned is not scanned again, and one new port is no new host.
    feed(&mut stdin, "127.0.0.999 127.0.0.9\n127.0.0.0/30:80\n127.0.0.1:80 127.0.0.2:80,443 # again");
    let batch = read_to(&mut scan, "batch");
    let added = json!([
        { "addresses": ["127.0.0.0", "127.0.0.3"], "ports": "80" },
        { "addresses": ["127.0.0.2"], "ports": "80,443" },
    ]);
    assert_eq!(batch["coverage"], added);
    assert_eq!((number(&batch["targets"]), number(&batch["hosts"])), (4, 3));
    drop(stdin);
    let (rest, said, status) = scan.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("warning: standard input:2: cannot read \"127.0.0.999\": "), "{said}");
    assert!(
        said.contains("standard input is still open: scanning 2 targets so far, and others as they come"),
        "{said}"
    );
    let records = records(&rest);
    let summary = records.last().unwrap();
    assert_adds_up(summary);
    assert_eq!((number(&summary["targets"]), number(&summary["hosts"])), (6, 4));
    assert_eq!((number(&summary["counts"]["open"]), number(&summary["counts"]["closed"])), (2, 4));
    assert_eq!((&summary["outcome"], number(&summary["probes"]["by_pass"][0])), (&"complete".into(), 6));
    let verdicts = records.iter().filter(|record| record["type"] == "verdict").count();
    assert_eq!(verdicts, 4, "the other two have been read");
    // In every form that has a plan it is as if all had been known before.
    let whole =
        format!("scan 127.0.0.1 127.0.0.0/30:80 127.0.0.2:443 -p 80-81 --show all -q --output-all {}", base("whole"));
    assert!(run(&whole).status.success());
    for form in ["jsonl", "json", "gnmap", "xml", "sqlite"] {
        let compared = run(&format!("diff {}.{form} {}.{form} --json", base("whole"), base("fed")));
        let said: Value = serde_json::from_slice(&compared.stdout).unwrap();
        assert_eq!((compared.status.code(), &said["compared"]), (Some(0), &json!(6)), "{form}: {said}");
    }
    let hosts = fs::read_to_string(base("fed.xml")).unwrap();
    assert!(hosts.contains("<hosts up=\"4\" down=\"0\" total=\"4\"/>"), "{hosts}");
});

lab_test!(an_interruption_between_two_batches_keeps_what_was_found, |lab| {
    let _listeners = listening(lab);
    let stats = tempfile::NamedTempFile::new().unwrap();
    let line = format!("scan -i - -p 80 -o jsonl --stats-json {}", stats.path().display());
    let (mut scan, mut stdin) = Scan::fed(&line);
    feed(&mut stdin, "127.0.0.1");
    assert_eq!(found(&mut scan), "127.0.0.1:80 open");
    feed(&mut stdin, "127.0.0.2");
    assert_eq!(found(&mut scan), "127.0.0.2:80 open");
    // One that waits for targets says so.
    while !fs::read_to_string(stats.path()).unwrap().contains(r#""phase":"input""#) {
        assert!(scan.is_running());
        std::thread::yield_now();
    }
    scan.signal(Signal::INT);
    let (rest, said, status) = scan.end();
    assert_eq!(status.code(), Some(130), "{said}");
    let summary = records(&rest).pop().unwrap();
    assert_adds_up(&summary);
    assert_eq!((&summary["outcome"], number(&summary["counts"]["open"])), (&"stopped".into(), 2));
    drop(stdin);
    let last = fs::read_to_string(stats.path()).unwrap().lines().last().map(str::to_owned).unwrap();
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!((number(&last["targets"]), number(&last["open"]), &last["outcome"]), (2, 2, &"stopped".into()));
});

lab_test!(an_interruption_within_a_batch_ends_all, |lab| {
    let _listeners = listening(lab);
    let (mut scan, mut stdin) = Scan::fed("scan -i - -p 80 --show all --rate 100 -o jsonl");
    feed(&mut stdin, "127.0.0.1");
    assert_eq!(found(&mut scan), "127.0.0.1:80 open");
    feed(&mut stdin, "127.0.0.2-127.0.255.254");
    read_to(&mut scan, "batch");
    found(&mut scan);
    scan.signal(Signal::TERM);
    let (rest, _, status) = scan.end();
    assert_eq!(status.code(), Some(143));
    let summary = records(&rest).pop().unwrap();
    assert_adds_up(&summary);
    assert_eq!((&summary["outcome"], number(&summary["targets"])), (&"stopped".into(), 65_534));
    drop(stdin);
});

lab_test!(what_cannot_be_reached_costs_itself_alone, |lab| {
    let _listeners = listening(lab);
    let (mut scan, mut stdin) = Scan::fed("scan -i - -p 80 -o jsonl --then true");
    feed(&mut stdin, "127.0.0.1");
    assert_eq!(found(&mut scan), "127.0.0.1:80 open");
    feed(&mut stdin, "198.51.100.7");
    let warning = read_to(&mut scan, "warning");
    let expected = "some targets of standard input were not scanned: no route to 198.51.100.7: ";
    assert!(warning["message"].as_str().unwrap().starts_with(expected), "{warning}");
    // In the midst of others it costs none of them.
    feed(&mut stdin, "198.51.100.7\n127.0.0.2\n2001:db8::7");
    assert_eq!(found(&mut scan), "127.0.0.2:80 open");
    drop(stdin);
    let (rest, said, status) = scan.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(" were not scanned: no route to 2001:db8::7: "), "{said}");
    let summary = records(&rest).pop().unwrap();
    assert_eq!((number(&summary["targets"]), number(&summary["commands"]["run"])), (2, 2), "{summary}");
});

/// A scope of the loopback's beginning in a directory.
fn scope(directory: &Path) -> String {
    let file = directory.join("scope.toml");
    fs::write(&file, "reference = \"R\"\ncontact = \"c\"\nnetworks = [\"127.0.0.0/28\"]\n").unwrap();
    file.display().to_string()
}

lab_test!(every_batch_needs_permission, |lab| {
    let _listeners = listening(lab);
    let directory = tempfile::tempdir().unwrap();
    let (mut scan, mut stdin) = Scan::fed(&format!("scan -i - -p 80 -o jsonl --scope {}", scope(directory.path())));
    feed(&mut stdin, "127.0.0.1");
    assert_eq!(found(&mut scan), "127.0.0.1:80 open");
    feed(&mut stdin, "127.0.0.2");
    assert_eq!(found(&mut scan), "127.0.0.2:80 open");
    feed(&mut stdin, "127.0.0.3\n127.0.0.16");
    let (rest, said, status) = scan.end();
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("does not allow 1 of 2 addresses; outside its networks: 127.0.0.16"), "{said}");
    let summary = records(&rest).pop().unwrap();
    assert_eq!((&summary["outcome"], number(&summary["targets"])), (&"stopped".into(), 2));
    drop(stdin);
    let log = records(&fs::read_to_string(directory.path().join("scope.audit.jsonl")).unwrap());
    let events: Vec<_> = log.iter().map(|record| record["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["start", "batch", "refused", "end"]);
    assert_eq!((&log[1]["targets"], number(&log[1]["pairs"])), (&json!(["127.0.0.2"]), 1));
    assert_eq!((&log[2]["targets"], &log[3]["outcome"]), (&json!(["127.0.0.3", "127.0.0.16"]), &json!("stopped")));
});

lab_test!(many_public_addresses_need_a_word_however_they_come, |lab| {
    let _listeners = listening(lab);
    let (mut scan, mut stdin) = Scan::fed("scan -i - -p 80 -o jsonl");
    feed(&mut stdin, "127.0.0.1");
    assert_eq!(found(&mut scan), "127.0.0.1:80 open");
    // There is no route to it, and so it would be left out if it were allowed.
    feed(&mut stdin, "11.0.0.0/16");
    read_to(&mut scan, "warning");
    feed(&mut stdin, "11.1.0.0");
    let (_, said, status) = scan.end();
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("error: refusing to probe 65,537 public addresses (65,538 targets)"), "{said}");
    drop(stdin);
});

lab_test!(only_who_opens_keeps_rights_for_it, |lab| {
    let _listeners = listening(lab);
    let (mut scan, mut stdin) = Scan::fed("scan -i - -p 80 --show all --rate 100 -o jsonl -v");
    feed(&mut stdin, "127.0.0.1-127.0.15.254");
    found(&mut scan);
    has_only_opener_rights(&scan);
    scan.signal(Signal::INT);
    let (_, said, _) = scan.end();
    assert!(said.contains("for targets to come, one thread that reads no packet may open what they take"), "{said}");
    drop(stdin);
});

lab_test!(a_list_that_ends_in_time_is_one_plan, |lab| {
    let _listeners = listening(lab);
    let (scan, mut stdin) = Scan::fed("scan 127.0.0.2 -i - -p 80 -o jsonl");
    feed(&mut stdin, "127.0.0.1");
    drop(stdin);
    let (rest, said, status) = scan.end();
    assert!(status.success(), "{said}");
    assert_eq!(number(&records(&rest)[0]["targets"]), 2);
    assert!(!said.contains("still open"), "{said}");
    assert!(!text(&run("scan 127.0.0.1 -i - -p 80").stderr).contains("still open"), "/dev/null has ended, too");
});
