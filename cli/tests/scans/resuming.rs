//! Scans that are killed, interrupted and resumed: every finding stands once in every file.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use halfopen_lab::{Namespace, lab_test};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{OPEN, Scan, assert_adds_up, listeners, number, records, run, text};

const TARGETS: u64 = 8_000;
const SCAN: &str = "scan 127.0.0.1 ::1 -p 1-4000 --show all --quiet --checkpoint-every 100ms";

/// Numbers that are the same in every run of the test.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// Reads so many findings, and on until there is a checkpoint; then kills it. That is in time, however late this thread is:
/// what is not read holds the scan up, so that a run gets no further than what was read of it and 500 findings more.
pub(super) fn kill(line: &str, findings: u64, checkpoint: &Path) {
    let mut scan = Scan::start_held(line);
    let is_kept = || fs::metadata(checkpoint).is_ok_and(|file| file.len() > 0);
    let mut read = 0;
    while read < findings || !is_kept() {
        assert_ne!(scan.line(), "", "{line}: it ended before it was killed");
        read += 1;
    }
    scan.signal(Signal::KILL);
    let (_, said, status) = scan.end();
    assert_eq!((status.signal(), &said[..]), (Some(9), ""));
}

/// What a JSON record says of which target.
fn said(record: &Value) -> Option<(String, String)> {
    let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
    (record["type"] == "verdict").then(|| (format!("{} {}", text("address"), record["port"]), text("state")))
}

/// Every target once, and what it is.
fn assert_whole(findings: impl Iterator<Item = (String, String)>) {
    let mut all = BTreeMap::new();
    for (target, state) in findings {
        assert_eq!(all.insert(target.clone(), state), None, "{target} stands there twice");
    }
    assert_eq!(all.len() as u64, TARGETS);
    let open: Vec<_> = all.iter().filter(|(_, state)| *state == "open").map(|(target, _)| target.clone()).collect();
    let mut expected = OPEN.map(|address| address.replace(['[', ']'], "").replace(":80", " 80"));
    expected.iter_mut().for_each(|address| *address = address.replace(":443", " 443").replace(":22", " 22"));
    expected.sort();
    assert_eq!(open, expected);
    assert!(all.values().all(|state| state == "open" || state == "closed"), "{all:?}");
}

/// With the word of whether more was sent than is counted.
fn assert_files(directory: &Path, at_least: bool) {
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let jsonl = records(&read("scan.jsonl"));
    assert_whole(jsonl.iter().filter_map(said));
    let summary = jsonl.last().unwrap();
    assert_adds_up(summary);
    assert_eq!((&summary["outcome"], number(&summary["counts"]["unclassified"])), (&"complete".into(), 0));
    assert_eq!(summary["probes"]["at_least"] == true, at_least, "{summary}");
    assert_eq!(jsonl.iter().filter(|record| record["type"] == "summary").count(), 1);
    let csv = read("scan.csv");
    let mut lines = csv.lines();
    let names: Vec<_> = lines.next().unwrap().split(',').collect();
    let at = |name: &str| names.iter().position(|other| *other == name).unwrap();
    let (address, port, state) = (at("address"), at("port"), at("state"));
    assert_whole(lines.map(|line| {
        let fields: Vec<_> = line.split(',').collect();
        (format!("{} {}", fields[address], fields[port]), fields[state].to_owned())
    }));
    let json: Vec<Value> = serde_json::from_str(&read("scan.json")).unwrap();
    assert_whole(json.iter().filter_map(said));
    let mut left: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["scan.csv", "scan.json", "scan.jsonl"], "nothing else is left behind");
}

/// The outputs, and where the scan is kept.
fn files(directory: &Path) -> String {
    let path = directory.display();
    format!("-o jsonl={path}/scan.jsonl -o csv={path}/scan.csv -o json={path}/scan.json --checkpoint {path}/scan")
}

pub(super) fn resumed(checkpoint: &Path, more: &str) -> String {
    format!("resume {} {more}", checkpoint.display())
}

lab_test!(killed_at_twenty_moments_every_finding_stands_once_in_every_file, |lab| {
    let _listeners = listeners(lab);
    let mut chance = Chance(17);
    for _ in 0..2 {
        let directory = tempfile::tempdir().unwrap();
        let checkpoint = directory.path().join("scan");
        kill(&format!("{SCAN} --rate 1k {}", files(directory.path())), chance.below(150), &checkpoint);
        for _ in 0..9 {
            let rate = format!("--rate {} --senders {}", 3_000 + chance.below(20_000), 1 + chance.below(3));
            kill(&resumed(&checkpoint, &rate), 1 + chance.below(150), &checkpoint);
        }
        let ended = run(&resumed(&checkpoint, "--rate 20k"));
        assert!(ended.status.success(), "{}", text(&ended.stderr));
        assert_files(directory.path(), true);
    }
});

/// After its first line. A scan would have to be a hundred times as fast to be over by then.
pub(super) fn interrupt(line: &str) -> (String, String, i32) {
    let mut scan = Scan::start_held(line);
    scan.line();
    scan.signal(Signal::INT);
    let (rest, said, status) = scan.end();
    (rest, said, status.code().unwrap())
}

lab_test!(what_is_typed_when_it_goes_on_takes_effect, |_lab| {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let resume = |options: &str| {
        let _ = fs::remove_file(&kept);
        let scan = "scan 127.0.0.1 -p 1-64 --rate 100 --max-passes 2 -o jsonl --quiet";
        assert_eq!(interrupt(&format!("{scan} --checkpoint {}", kept.display())).2, 130);
        run(&resumed(&kept, options))
    };
    for (options, setting, value) in [
        ("--rate 5k", "rate", json!(5000)),
        ("--max-rate 20k", "max_rate", json!(20_000)),
        ("--min-rate 2k", "min_rate", json!(2000)),
        ("--host-rate 5k --rate 5k", "host_rate", json!(5000)),
        ("--senders 2 --rate 5k", "senders", json!(2)),
        ("--max-passes 3 --rate 5k", "max_passes", json!(3)),
        ("--interface lo --rate 5k", "interface", json!("lo")),
    ] {
        let output = resume(options);
        let summary = records(&text(&output.stdout)).pop();
        assert_eq!(summary.map(|summary| summary["settings"][setting].clone()), Some(value), "{options}");
    }
    for (options, says) in [
        ("--link pnet", "link: pnet needs an Ethernet device and lo is none"),
        ("--receive xdp_generic", "receive: raw_ip on lo does not receive by XDP"),
    ] {
        let output = resume(options);
        assert!(text(&output.stderr).contains(says), "{options}: {}", text(&output.stderr));
    }
});

lab_test!(interrupted_it_says_how_to_go_on_and_files_are_whole_in_between, |lab| {
    let _listeners = listeners(lab);
    let directory = tempfile::tempdir().unwrap();
    let checkpoint = directory.path().join("scan");
    let scan = format!("{SCAN} --rate 300 {}", files(directory.path())).replace("--quiet", "");
    let (_, said, code) = interrupt(&scan);
    assert_eq!(code, 130);
    assert!(said.ends_with(&format!("to go on with this scan: halfopen resume {}\n", checkpoint.display())), "{said}");
    let json: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(directory.path().join("scan.json")).unwrap()).unwrap();
    assert_eq!(json.last().unwrap()["outcome"], "stopped");
    let again = run(&scan);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("is there already; go on with that scan by `halfopen resume "));
    assert_eq!(interrupt(&resumed(&checkpoint, "--rate 300")).2, 130);
    assert!(run(&resumed(&checkpoint, "--rate 20k --max-passes 3")).status.success());
    assert_files(directory.path(), false);
});

lab_test!(a_connect_scan_goes_on_too, |lab| {
    let _listeners = listeners(lab);
    let directory = tempfile::tempdir().unwrap();
    let checkpoint = directory.path().join("scan");
    kill(&format!("{SCAN} --method connect --rate 1k {}", files(directory.path())), 100, &checkpoint);
    assert_eq!(interrupt(&resumed(&checkpoint, "--rate 300")).2, 130);
    assert!(run(&resumed(&checkpoint, "--rate 8k")).status.success());
    assert_files(directory.path(), true);
});

fn refused(lab: &Namespace, change: impl FnOnce(&Path), says: &str) {
    let _listeners = listeners(lab);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("targets"), "127.0.0.1").unwrap();
    let kept = path.join("scan");
    let scan =
        format!("scan -i {}/targets -p 1-3000 --show all --rate 100 --checkpoint {}", path.display(), kept.display());
    assert_eq!(interrupt(&scan).2, 130);
    change(path);
    let resumed = run(&resumed(&kept, ""));
    assert_eq!((resumed.status.code(), &text(&resumed.stdout)[..]), (Some(2), ""));
    let said = text(&resumed.stderr);
    assert!(said.contains(says) && said.lines().count() == 1, "{said}");
}

lab_test!(what_is_torn_or_of_other_targets_is_refused_in_a_line, |lab| {
    let cut = |path: &Path| {
        let bytes = fs::read(path.join("scan")).unwrap();
        fs::write(path.join("scan"), &bytes[..bytes.len() - 9]).unwrap();
    };
    refused(lab, cut, "damaged: it was cut short or altered");
    refused(lab, |path| fs::write(path.join("scan"), "anything").unwrap(), "this is no checkpoint of a scan");
    refused(lab, |path| fs::write(path.join("targets"), "127.0.0.2").unwrap(), "the checkpoint is of another plan");
});

lab_test!(shards_have_all_targets_between_them, |_lab| {
    let probes = |line: &str| {
        let said = run(&format!("scan 127.0.0.1 ::1 -p 1-100 --dry-run --seed 1 {line}"));
        text(&said.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut parts: Vec<_> = (1..=7).flat_map(|number| probes(&format!("--shard {number}/7"))).collect();
    let mut whole = probes("");
    parts.sort();
    whole.sort();
    assert_eq!((parts, whole.len()), (whole, 200));
});

lab_test!(what_cannot_be_had_again_is_refused, |_lab| {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kept");
    for options in ["-o json", "-o xml=/dev/null", "-i -", "--then true"] {
        let output = run(&format!("scan 127.0.0.1 -p 80 {options} --checkpoint {}", path.display()));
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{options}: {said}");
        assert!(said.starts_with("error: ") && said.contains("--checkpoint"), "{options}: {said}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "{options}");
    }
});

// Killed before its first checkpoint, a scan leaves an empty file.
lab_test!(an_empty_file_is_no_checkpoint, |lab| {
    let _listeners = listeners(lab);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kept");
    fs::write(&path, "").unwrap();
    let output = run(&resumed(&path, ""));
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("it is empty: its scan ended before the first checkpoint"));
    let output = run(&format!("scan 127.0.0.1 -p 80 --checkpoint {}", path.display()));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!path.exists(), "it is over");
});

// Of a scan that was kept under this name before, and given up.
lab_test!(parts_of_another_scan_are_not_read, |lab| {
    let _listeners = listeners(lab);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kept");
    let stale = directory.path().join("kept.journal-2");
    fs::write(&stale, "{}\n").unwrap();
    let output = run(&format!("scan 127.0.0.1 -p 80 --checkpoint {}", path.display()));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!stale.exists());
});
