//! Scans that end before their end: by signals, and because nobody takes the results.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;

use halfopen_lab::{End, Namespace, lab_test, link, needs_xdp, skip};
use rustix::process::Signal;

use super::{Scan, assert_adds_up, halfopen, number, records, text};

/// A scan that has begun, and would take ten minutes.
fn begun(output: &str) -> Scan {
    let mut scan = Scan::start(&format!("scan 127.0.0.1 -p- --rate 100 --show all --output {output}"));
    assert!(scan.line().contains("127.0.0.1"));
    scan
}

fn ends_with_an_account(signal: Signal, code: i32) {
    let scan = begun("human");
    scan.signal(signal);
    let (_, said, status) = scan.end();
    assert_eq!(status.code(), Some(code), "{said}");
    assert!(said.starts_with("stopping: waiting for late replies; another "), "{said}");
    assert!(said.contains("\nstopped early: 65,535 targets on 1 host in "), "{said}");
    assert!(said.contains("\nwithout a verdict: "), "{said}");
}

lab_test!(an_interrupt_ends_with_an_account_and_130, |_lab| ends_with_an_account(Signal::INT, 130));

lab_test!(a_termination_ends_with_an_account_and_143, |_lab| ends_with_an_account(Signal::TERM, 143));

lab_test!(an_interrupt_ends_with_the_summary_record, |_lab| {
    let scan = begun("jsonl");
    scan.signal(Signal::INT);
    let (rest, _, status) = scan.end();
    assert_eq!(status.code(), Some(130));
    let records = records(&rest);
    let summary = records.last().unwrap();
    assert_adds_up(summary);
    assert_eq!(summary["outcome"], "stopped");
    assert!(number(&summary["counts"]["unclassified"]) > 0);
    let verdicts = records.iter().filter(|record| record["type"] == "verdict").count() as u64;
    // What has been read is the first record.
    let probed = number(&summary["targets"]) - number(&summary["counts"]["unclassified"]);
    assert_eq!(verdicts, probed);
});

lab_test!(an_interrupted_scan_is_no_success_in_nmaps_forms, |_lab| {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().join("all");
    let mut scan = Scan::start(&format!("scan 127.0.0.1 -p- --rate 100 --show all --output-all {}", base.display()));
    assert!(scan.line().contains("127.0.0.1"));
    scan.signal(Signal::INT);
    assert_eq!(scan.end().2.code(), Some(130));
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    let (xml, grepable) = (read("all.xml"), read("all.gnmap"));
    assert!(xml.contains("exit=\"error\" errormsg=\"stopped before its end: ") && !xml.contains("success"), "{xml}");
    assert!(grepable.contains("# halfopen stopped at ") && !grepable.contains("done at"), "{grepable}");
});

lab_test!(a_killed_scan_leaves_no_program_on_the_device, |lab| {
    needs_xdp();
    let far = Namespace::new("far");
    link(&End::new(lab, "scan0").address("10.1.0.1/24"), &End::new(&far, "far0").address("10.1.0.2/24"));
    for way in ["xdp_native", "xdp_generic"] {
        let line = format!("scan 10.1.0.2 -p- --rate 100 --show all --link af_xdp --receive {way}");
        let mut scan = Scan::start(&line);
        assert!(scan.line().contains("10.1.0.2"));
        assert!(lab.xdp_program("scan0").is_some(), "{way}");
        scan.signal(Signal::KILL);
        let (_, said, status) = scan.end();
        assert_eq!((status.signal(), &said[..]), (Some(9), ""));
        assert_eq!(lab.xdp_program("scan0"), None, "{way}");
    }
});

lab_test!(a_second_signal_does_not_wait_for_the_cooldown, |_lab| {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut scan = Scan::start("scan 127.0.0.1 -p 80 --cooldown 1h --show all");
        scan.line();
        scan.signal(signal);
        scan.wait_for_note("stopping: ");
        assert!(scan.is_running(), "the first signal keeps the cooldown");
        scan.signal(signal);
        let (_, said, status) = scan.end();
        assert_eq!(status.code(), Some(code));
        assert!(said.contains("stopped early: 1 target on 1 host"), "{said}");
    }
});

lab_test!(a_reader_that_goes_away_ends_the_scan_in_silence, |_lab| {
    for output in ["human", "jsonl"] {
        let (said, status) = begun(output).abandon();
        assert_eq!((status.code(), said.as_str()), (Some(141), ""), "{output}");
    }
});

lab_test!(a_full_disk_ends_the_scan, |_lab| {
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else {
        return skip("no /dev/full here");
    };
    let ended = halfopen("scan 127.0.0.1 -p- --rate 100 --show all").stdout(full).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = "error: cannot write to standard output: No space left on device (os error 28)\n";
    assert_eq!(text(&ended.stderr), said);
});
