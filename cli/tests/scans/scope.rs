//! Scans under a scope, and without one: what is refused before the first packet, what is recorded, when a scan must end,
//! and who is asked. The networks have no way out, so that a scan that should have been refused reaches nobody.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::Output;

use halfopen_lab::lab_test;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use tempfile::TempDir;

use super::{Scan, halfopen, listeners, number, records, run, text};

/// A folder with a scope of the loopback.
struct Scope(TempDir);

impl Scope {
    fn new(more: &str) -> Scope {
        let scope = Scope(tempfile::tempdir().unwrap());
        let head = "reference = \"R-1\"\ncontact = \"soc@example.org\"\nnetworks = [\"127.0.0.0/28\", \"::1\"]\n";
        fs::write(scope.0.path().join("scope.toml"), format!("{head}{more}\n")).unwrap();
        scope
    }

    fn line(&self, line: &str) -> String {
        format!("{line} --scope {}", self.0.path().join("scope.toml").display())
    }

    fn run(&self, line: &str) -> Output {
        run(&self.line(line))
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("scope.audit.jsonl")
    }

    fn recorded(&self) -> Vec<Value> {
        records(&fs::read_to_string(self.log()).unwrap_or_default())
    }

    /// What is said of a scan that is refused.
    fn refused(&self, line: &str) -> String {
        let output = self.run(line);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{line}: {said}");
        assert!(output.stdout.is_empty(), "{line}");
        said.replace(&*self.0.path().to_string_lossy(), "HERE")
    }
}

fn events(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["event"].as_str().unwrap()).collect()
}

lab_test!(a_scan_is_recorded_when_it_begins_and_when_it_ends, |lab| {
    let _listeners = listeners(lab);
    let scope = Scope::new("");
    let output = scope.run("scan 127.0.0.1 ::1 -p 1-1024 --seed 7 --rate 50k --output list");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 4);
    let recorded = scope.recorded();
    assert_eq!(events(&recorded), ["start", "end"]);
    let (start, end) = (&recorded[0], &recorded[1]);
    for record in &recorded {
        assert_eq!((&record["reference"], &record["contact"]), (&"R-1".into(), &"soc@example.org".into()));
        assert_eq!(record["scan"], start["scan"]);
        assert_eq!(record["user"]["uid"], rustix::process::getuid().as_raw());
        assert!(record["command"].as_array().unwrap().contains(&"--seed".into()), "{record}");
        assert!(record["time"].as_str().unwrap().parse::<Timestamp>().is_ok(), "{record}");
    }
    assert_eq!(start["targets"], serde_json::json!(["127.0.0.1", "::1"]));
    assert_eq!((number(&start["pairs"]), number(&start["seed"]), number(&start["rate"])), (2048, 7, 50_000));
    assert_eq!((&end["outcome"], number(&end["counts"]["open"])), (&"complete".into(), 4));
    assert_eq!((&end["hours_over"], &end["error"]), (&false.into(), &Value::Null));
    scope.run("scan 127.0.0.1 -p 80 --quiet");
    let recorded = scope.recorded();
    assert_eq!(events(&recorded), ["start", "end", "start", "end"], "it is appended");
    assert_ne!(recorded[0]["scan"], recorded[2]["scan"]);
});

lab_test!(what_is_out_of_scope_is_refused_and_told, |_lab| {
    let scope = Scope::new("never = [\"127.0.0.5\"]");
    assert_eq!(
        scope.refused("scan 127.0.0.0/27 -p 80"),
        "error: the scope HERE/scope.toml does not allow 17 of 32 addresses; never to be touched: 127.0.0.5; \
         outside its networks: 127.0.0.16/28\n\
         hint: leave them out with --exclude 127.0.0.5 --exclude 127.0.0.16/28\n"
    );
    let recorded = scope.recorded();
    assert_eq!(events(&recorded), ["refused"]);
    assert!(recorded[0]["reason"].as_str().unwrap().contains("127.0.0.16/28"), "{recorded:?}");
    assert_eq!(recorded[0]["targets"], serde_json::json!(["127.0.0.0/27"]));
    // What it says to do is what helps.
    let mended = scope.run("scan 127.0.0.0/27 -p 80 --exclude 127.0.0.5 --exclude 127.0.0.16/28 --quiet");
    assert_eq!(mended.status.code(), Some(0), "{}", text(&mended.stderr));
    assert!(scope.refused("scan 127.0.0.0/27 -p 80 --dry-run").contains("does not allow 17 of 32"));
});

lab_test!(a_scope_from_the_environment_counts, |_lab| {
    let scope = Scope::new("");
    let file = scope.0.path().join("scope.toml");
    let output = halfopen("scan 127.0.1.1 -p 80").env("HALFOPEN_SCOPE", file).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
});

lab_test!(the_highest_rate_of_the_scope_is_kept, |_lab| {
    let scope = Scope::new("max-rate = \"20k\"");
    assert_eq!(
        scope.refused("scan 127.0.0.1 -p 80 --rate 50k"),
        "error: the scope HERE/scope.toml allows 20,000 probes/s at most; --rate asks for 50,000 probes/s\n\
         hint: --rate 20000\n"
    );
    assert!(scope.refused("scan 127.0.0.1 -p 80 --rate max").contains("--rate asks for as fast as this machine can"));
    assert!(scope.refused("scan 127.0.0.1 -p 80 --max-rate 50k").contains("--max-rate asks for 50,000 probes/s"));
    assert_eq!(scope.run("scan 127.0.0.1 -p 80 --rate 20k").status.code(), Some(0));
    let output = scope.run("scan 127.0.0.1 -p 80 --output jsonl");
    assert!(text(&output.stderr).starts_with("the scope allows 20,000 probes/s at most\n"), "{}", text(&output.stderr));
    let records = records(&text(&output.stdout));
    let by = serde_json::json!({ "reference": "R-1", "contact": "soc@example.org" });
    assert_eq!(records[0]["authorisation"], by);
    assert_eq!(number(&records.last().unwrap()["settings"]["max_rate"]), 20_000);
    assert_eq!(
        number(&scope.recorded().last().unwrap()["probes"]),
        number(&records.last().unwrap()["probes"]["total"])
    );
});

/// Hours that begin and end so many seconds from now.
fn hours(from: i64, to: i64) -> String {
    let at =
        |seconds: i64| (Timestamp::now() + seconds.seconds()).to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string();
    format!("hours = [\"{}-{}\"]\ntime-zone = \"UTC\"", at(from), at(to))
}

lab_test!(outside_the_hours_nothing_is_scanned, |_lab| {
    let said = Scope::new(&hours(3600, 7200)).refused("scan 127.0.0.1 -p 80");
    assert!(said.starts_with("error: the scope HERE/scope.toml does not allow scans at "), "{said}");
    assert!(said.contains("\nhint: its next hours begin at "), "{said}");
    assert_eq!(Scope::new(&hours(-3600, 3600)).run("scan 127.0.0.1 -p 80").status.code(), Some(0));
});

lab_test!(a_scan_that_runs_past_the_hours_is_stopped, |_lab| {
    let scope = Scope::new(&hours(-3600, 5));
    // It would take ten minutes.
    let output = scope.run("scan 127.0.0.1 -p- --rate 100 --output jsonl");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.starts_with("warning: the scope's hours end at "), "{said}");
    assert_eq!(records(&text(&output.stdout)).last().unwrap()["outcome"], "stopped");
    let recorded = scope.recorded();
    assert_eq!((&recorded[1]["outcome"], &recorded[1]["hours_over"]), (&"stopped".into(), &true.into()));
});

lab_test!(a_scan_that_runs_past_the_hours_can_be_resumed, |_lab| {
    let scope = Scope::new(&hours(-3600, 5));
    let checkpoint = scope.0.path().join("kept");
    let output = scope.run(&format!("scan 127.0.0.1 -p- --rate 100 -o list --checkpoint {}", checkpoint.display()));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains(&format!("to go on with this scan: halfopen resume {}", checkpoint.display())), "{said}");
    assert!(checkpoint.exists());
});

lab_test!(what_cannot_be_recorded_does_not_begin, |_lab| {
    for log in ["/dev/full", "/nowhere/log", "/"] {
        let output = Scope::new(&format!("audit-log = {log:?}")).run("scan 127.0.0.1 -p 80 --show all");
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{said}");
        assert!(said.starts_with(&format!("error: cannot write the audit log {log}: ")), "{said}");
        assert!(said.contains("hint: under a scope nothing is scanned without a record"), "{said}");
    }
});

lab_test!(scans_that_fail_or_are_interrupted_have_an_end, |_lab| {
    let scope = Scope::new("");
    assert_eq!(scope.run("scan 127.0.0.1 -p 80 --interface nosuch0").status.code(), Some(2));
    let mut scan = Scan::start(&scope.line("scan 127.0.0.1 -p- --rate 100 --show all"));
    scan.line();
    scan.signal(Signal::INT);
    assert_eq!(scan.end().2.code(), Some(130));
    let recorded = scope.recorded();
    assert_eq!(events(&recorded), ["start", "end", "start", "end"]);
    assert_eq!(recorded[1]["outcome"], "failed");
    assert!(recorded[1]["error"].as_str().unwrap().starts_with("no such interface: nosuch0"), "{recorded:?}");
    assert_eq!((&recorded[3]["outcome"], &recorded[3]["hours_over"]), (&"stopped".into(), &false.into()));
});

lab_test!(a_dry_run_is_no_scan, |_lab| {
    let scope = Scope::new(&hours(3600, 7200));
    assert_eq!(scope.run("scan 127.0.0.1 -p 80 --dry-run").status.code(), Some(0));
    assert!(!scope.log().exists());
    assert_eq!(run("scan 11.0.0.0/15 -p 80 --dry-run --quiet").status.code(), Some(0));
});

/// More than a /16 that is neither private nor documentation. There is no route to it.
const LARGE: &str = "scan 11.0.0.0/15 -p 80 --rate 1k";

lab_test!(a_large_scan_without_a_scope_needs_a_word, |_lab| {
    let output = run(LARGE);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        text(&output.stderr),
        "error: refusing to probe 131,072 public addresses (131,072 targets), 1,000 probes/s (2m11s a pass), without a scope, unasked\n\
         hint: --scope FILE names what you are authorised to scan; --yes if you are sure\n"
    );
    let said = text(&run(&format!("{LARGE} --yes")).stderr);
    assert!(said.starts_with("error: no route"), "{said}");
    let scope = Scope::new("");
    assert!(scope.refused(&format!("{LARGE} --yes")).contains("does not allow 131,072 of 131,072 addresses"));
    let said = text(&run("scan 11.0.0.0/16 -p 80").stderr);
    assert!(said.starts_with("error: no route"), "a /16 needs none: {said}");
});

/// What a person is asked at a terminal, and the exit code after this answer.
fn answered(answer: &str) -> (String, Option<i32>) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = OpenOptions::new().read(true).write(true).open(name).unwrap();
    let mut command = halfopen(LARGE);
    command.stdin(terminal.try_clone().unwrap()).stdout(terminal.try_clone().unwrap()).stderr(terminal);
    let mut child = command.spawn().unwrap();
    drop(command);
    File::from(master.try_clone().unwrap()).write_all(answer.as_bytes()).unwrap();
    let said = super::terminal::read_all(master.into());
    (said, child.wait().unwrap().code())
}

lab_test!(a_person_is_asked, |_lab| {
    let (said, code) = answered("n\n");
    let question = "About to probe 131,072 public addresses (131,072 targets), 1,000 probes/s (2m11s a pass), without a scope.\n\
                    Are you authorised to do that? [y/N] ";
    assert!(said.contains(question), "{said}");
    assert!(said.contains("nothing was sent"), "{said}");
    assert_eq!(code, Some(3), "{said}");
    let (said, code) = answered("yes\n");
    assert!(said.contains(question) && said.contains("no route"), "{said}");
    assert_eq!(code, Some(1), "{said}");
});
