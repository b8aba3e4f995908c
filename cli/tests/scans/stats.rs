//! `--stats-json`: what programs are told while a scan runs.

use halfopen_lab::lab_test;
use serde_json::Value;

use super::{halfopen, records, run, text};

fn stats(line: &str) -> (Vec<Value>, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = halfopen(line).arg("--stats-json").arg(file.path()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (records(&std::fs::read_to_string(&file).unwrap()), text(&output.stderr))
}

lab_test!(a_line_a_second_and_the_last_agrees_with_the_summary, |_lab| {
    let (lines, said) = stats("scan 127.0.0.1 -p 1-150 --rate 100 --show all");
    assert!((2..=5).contains(&lines.len()), "{lines:?}");
    let (last, before) = lines.split_last().unwrap();
    assert!(before.iter().all(|line| line["type"] == "progress"), "{lines:?}");
    assert_eq!((&last["type"], &last["outcome"], &last["phase"]), (&"end".into(), &"complete".into(), &"done".into()));
    assert_eq!((&last["targets"], &last["closed"], &last["bound"]), (&150.into(), &150.into(), &"asked".into()));
    assert_eq!(last["remaining_us"], 0);
    assert!(said.contains("150 closed"), "{said}");
});

lab_test!(a_scan_without_rights_tells_its_progress_too, |_lab| {
    let (lines, _) = stats("scan 127.0.0.1 -p 1-10 --method connect");
    assert_eq!((&lines.last().unwrap()["closed"], &lines.last().unwrap()["bound"]), (&10.into(), &"blind".into()));
});

lab_test!(a_full_disk_is_one_warning_and_the_scan_goes_on, |_lab| {
    let output = run("scan 127.0.0.1 -p 1-100 --rate 100 --stats-json /dev/full");
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("warning: not all statistics could be written to /dev/full: No space left").count(), 1);
});

#[test]
fn standard_output_is_for_results() {
    let output = run("scan 127.0.0.1 -p 1 --stats-json -");
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("standard output has the results; give a file, /dev/stderr, or a descriptor"), "{said}");
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_the_scan() {
    let output = run("scan 127.0.0.1 -p 1 --stats-json /nonexistent/stats");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr), "error: cannot open /nonexistent/stats: No such file or directory (os error 2)\n");
}
