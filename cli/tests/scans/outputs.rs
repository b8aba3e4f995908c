//! Several outputs at once: what is in the files, also when the program is killed, and what other programs make of them.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use halfopen_lab::lab_test;
use rustix::process::Signal;

use super::{OPEN, Scan, halfopen, listeners, records, run, sorted, text};

const NMAPS_DTD: &str = "/usr/share/nmap/nmap.dtd";

fn read(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The exit code of a comparison of two files.
fn diff(one: &Path, other: &Path) -> i32 {
    let output = run(&format!("diff {} {}", one.display(), other.display()));
    output.status.code().unwrap_or_else(|| panic!("{}", text(&output.stderr)))
}

/// Whether a program is there; if not, says so aloud.
fn installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        halfopen_lab::skip(&format!("{program} is not installed"));
    }
    found
}

lab_test!(every_form_at_once, |lab| {
    let _listeners = listeners(lab);
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().join("all");
    let output = run(&format!("scan 127.0.0.1 ::1 -p 1-1024 --output-all {} -o csv --fields port", base.display()));
    assert_eq!(text(&output.stdout).lines().next(), Some("port"));
    assert_eq!(sorted(&read(directory.path(), "all.list")), OPEN);
    assert_eq!(records(&read(directory.path(), "all.jsonl")).len(), 1 + OPEN.len() + 1);
    let mut names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = ["csv", "gnmap", "json", "jsonl", "list", "sqlite", "xml"];
    assert_eq!(names, expected.map(|suffix| format!("all.{suffix}")), "nothing else is left");
    let database = directory.path().join("all.sqlite");
    for suffix in ["gnmap", "list", "xml"] {
        assert_eq!(diff(&database, &directory.path().join(format!("all.{suffix}"))), 0, "{suffix}");
    }
});

lab_test!(first_and_last_record_say_the_same_of_the_beginning, |_lab| {
    for method in ["syn", "connect"] {
        let records = records(&text(&run(&format!("scan 127.0.0.1 -p 80 --method {method} -o jsonl")).stdout));
        let [first, last] = [records.first(), records.last()].map(|record| &record.unwrap()["started"]);
        assert!(first.is_string() && first == last, "{method}: {first}, {last}");
    }
});

lab_test!(standard_output_by_its_name_in_dev_is_standard_output, |lab| {
    let _listeners = listeners(lab);
    for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let printed = text(&run(&format!("scan 127.0.0.1 ::1 -p 1-1024 -q -o list={name}")).stdout);
        assert_eq!(sorted(&printed), OPEN, "{name}");
    }
});

lab_test!(a_filter_chooses_findings, |lab| {
    let _listeners = listeners(lab);
    let output = run("scan 127.0.0.1 ::1 -p 1-1024 -o list --filter port<100");
    let expected: Vec<_> = OPEN.iter().filter(|open| !open.ends_with(":443")).copied().collect();
    assert_eq!(sorted(&text(&output.stdout)), expected);
    let output = run("scan 127.0.0.1 -p 1 --filter prot<100");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("prot"), "{}", text(&output.stderr));
});

lab_test!(a_filter_that_speaks_of_states_needs_no_show, |lab| {
    let _listeners = listeners(lab);
    let ports = |options: &str| {
        let output = run(&format!("scan 127.0.0.1 -p 21,22,80 -o csv --fields port {options}"));
        text(&output.stdout).lines().skip(1).map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(ports("--filter state==closed"), ["21".into()].into());
    assert_eq!(ports("--filter state!=filtered"), ["21", "22", "80"].map(String::from).into());
    assert_eq!(ports("--filter port<80"), ["22".into()].into(), "open is what is usual");
    assert!(ports("--filter state==closed --show open").is_empty(), "as typed");
    let human = text(&run("scan 127.0.0.1 -p 21,22 --filter state==closed").stdout);
    assert_eq!(human, "127.0.0.1 21/tcp closed rst ftp\n");
    let refused = run("scan 127.0.0.1 -p 21 -o list --filter state==closed");
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("--show or --filter leaves those out"), "{}", text(&refused.stderr));
});

lab_test!(a_killed_scan_leaves_sound_files, |_lab| {
    for lines in [1, 30, 500, 3_000] {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("t");
        fs::write(directory.path().join("t.json"), "[]\n").unwrap();
        let mut scan =
            Scan::start(&format!("scan 127.0.0.1 -p 1-20000 --rate 3000 --show all --output-all {}", base.display()));
        for _ in 0..lines {
            assert!(scan.line().contains("127.0.0.1"));
        }
        scan.signal(Signal::KILL);
        scan.end();
        assert_eq!(read(directory.path(), "t.json"), "[]\n", "as it was");
        assert!(!directory.path().join("t.xml").exists() && !directory.path().join("t.gnmap").exists());
        assert_eq!(read(directory.path(), "t.list"), "", "nothing is open");
        for name in ["t.jsonl", "t.csv", "t.sqlite", "t.json.part", "t.xml.part", "t.gnmap.part"] {
            let file = directory.path().join(name);
            let output = run(&format!("diff {0} {0}", file.display()));
            // A database gets what was found once a second.
            let may_be_empty = lines == 1 || name == "t.sqlite";
            let is_empty = may_be_empty && text(&output.stderr).contains("nothing was compared");
            assert!(output.status.code() == Some(0) || is_empty, "{name} after {lines} lines: {output:?}");
        }
        // What people were shown was written to the other outputs at most a batch later.
        let whole = read(directory.path(), "t.jsonl").lines().count();
        assert!(whole >= lines / 2, "{whole} of {lines}");
    }
});

lab_test!(a_document_on_standard_output_is_not_lost_with_the_scan, |_lab| {
    let directory = tempfile::tempdir().unwrap();
    let (file, part) = (directory.path().join("f"), directory.path().join("f.part"));
    let begin = |line: &str| halfopen(line).stdout(fs::File::create(&file).unwrap()).stderr(Stdio::piped()).spawn();
    let line = "scan 127.0.0.1 -p 1-9000 --rate 3000 --show all --no-drop -o xml -o jsonl=/dev/stderr";
    let mut child = begin(line).unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    assert_eq!(told.by_ref().filter(|line| line.as_ref().unwrap().contains("\"verdict\"")).take(50).count(), 50);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((diff(&part, &part), fs::read(&file).unwrap().len()), (0, 0));
    assert!(fs::read_to_string(&part).unwrap().lines().count() > 50);
    let output = begin("scan 127.0.0.1 -p 1-9 --no-drop -q -o xml").unwrap().wait_with_output().unwrap();
    assert_eq!((output.status.code(), &text(&output.stderr)[..]), (Some(0), ""));
    assert!(!part.exists() && diff(&file, &file) == 0);
});

lab_test!(nmaps_readers_take_the_xml, |lab| {
    let _listeners = listeners(lab);
    let directory = tempfile::tempdir().unwrap();
    let scan = |name: &str, ports: &str| {
        let file = directory.path().join(name);
        let output = run(&format!("scan 127.0.0.1 ::1 -p {ports} -o xml={}", file.display()));
        assert!(output.status.success(), "{}", text(&output.stderr));
        file
    };
    let (one, other) = (scan("one.xml", "1-1024"), scan("other.xml", "100-1024"));
    if installed("xmllint") && Path::new(NMAPS_DTD).exists() {
        let output =
            Command::new("xmllint").args(["--noout", "--dtdvalid", NMAPS_DTD]).args([&one, &other]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    if installed("ndiff") {
        let ndiff = |other| Command::new("ndiff").args([&one, other]).output().unwrap().status.code();
        assert_eq!((ndiff(&one), ndiff(&other)), (Some(0), Some(1)));
    }
});

/// What python-libnmap makes of a file: `address status`, and `address port/protocol state`.
const LIBNMAP: &str = "
import sys
from libnmap.parser import NmapParser
for host in NmapParser.parse_fromfile(sys.argv[1]).hosts:
    print(host.address, host.status)
    for port, protocol in host.get_ports():
        print(host.address, f'{port}/{protocol}', host.get_service(port, protocol).state)
";

/// A Python that has the library, which `.ci/run` makes where the network allows it.
fn libnmap() -> Option<OsString> {
    let python = env::var_os("HALFOPEN_LIBNMAP").filter(|python| !python.is_empty());
    if python.is_none() {
        eprintln!("SKIPPED: HALFOPEN_LIBNMAP names no Python that has python-libnmap");
    }
    python
}

lab_test!(libnmap_takes_the_xml, |lab| {
    let Some(python) = libnmap() else { return };
    let _listeners = listeners(lab);
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().join("all");
    let output = run(&format!("scan 127.0.0.1 ::1 -p 20-23,80,443 --show all --output-all {}", base.display()));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = Command::new(python).args(["-c", LIBNMAP]).arg(directory.path().join("all.xml")).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let verdicts = records(&read(directory.path(), "all.jsonl"));
    let verdicts = verdicts.iter().filter(|record| record["type"] == "verdict");
    let word = |record: &serde_json::Value, field: &str| record[field].as_str().unwrap_or_default().to_owned();
    let mut expected: Vec<_> = verdicts
        .map(|one| format!("{} {}/tcp {}", word(one, "address"), one["port"], word(one, "state")))
        .chain(["127.0.0.1 up".into(), "::1 up".into()])
        .collect();
    expected.sort();
    assert_eq!(
        (expected.len(), sorted(&text(&output.stdout))),
        (2 * 6 + 2, expected.iter().map(String::as_str).collect())
    );
});

lab_test!(an_output_that_fails_ends_the_scan_and_not_the_others, |lab| {
    let _listeners = listeners(lab);
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("t.json");
    let output = run(&format!("scan 127.0.0.1 -p 1-1024 -o list=/dev/full -o json={}", json.display()));
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.ends_with("error: cannot write to /dev/full: No space left on device (os error 28)\n"), "{said}");
    let records: Vec<serde_json::Value> = serde_json::from_str(&read(directory.path(), "t.json")).unwrap();
    assert_eq!(records.last().unwrap()["type"], "summary");
});

lab_test!(two_outputs_to_one_file_are_refused, |_lab| {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("t");
    let output = run(&format!("scan 127.0.0.1 -p 80 -o csv={0} -o list={0}", file.display()));
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("is being written by another output"), "{}", text(&output.stderr));
    assert!(!file.exists(), "nothing is left behind");
    for others in ["-o jsonl={0} -o xml={0}", "-o jsonl={0} --checkpoint {0}", "-o sqlite={0} --stats-json {0}"] {
        let output = run(&format!("scan 127.0.0.1 -p 80 {}", others.replace("{0}", &file.display().to_string())));
        assert!(
            text(&output.stderr).contains("is being written by another output"),
            "{others}: {}",
            text(&output.stderr)
        );
        assert!(output.status.code() == Some(2) && !file.exists(), "{others}");
    }
});

lab_test!(changes_are_found, |lab| {
    let directory = tempfile::tempdir().unwrap();
    let [before, after] = ["before.jsonl", "after.xml"].map(|name| directory.path().join(name));
    let kept = lab.listen("127.0.0.1:22");
    let gone = lab.listen("127.0.0.1:80");
    run(&format!("scan 127.0.0.1 -p 1-1024 -o jsonl={}", before.display()));
    drop(gone);
    run(&format!("scan 127.0.0.1 -p 1-1024 -o xml={}", after.display()));
    drop(kept);
    let output = run(&format!("diff {} {}", before.display(), after.display()));
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("- 80/tcp") && said.ends_with("1 port gone; 1,024 targets compared\n"), "{said}");
    let output = run(&format!("diff --json {0} {0}", after.display()));
    assert_eq!(output.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    assert_eq!((&json["same"], &json["compared"]), (&true.into(), &1024.into()));
    assert_eq!(run(&format!("diff {} /nonexistent", after.display())).status.code(), Some(2));
});

lab_test!(a_document_on_its_way_into_a_pipe_is_lost_as_a_whole, |_lab| {
    for form in ["xml", "json", "grepable"] {
        let mut scan = Scan::start(&format!(
            "scan 127.0.0.1 -p 1-9000 --rate 3000 --show all --no-progress -o {form} -o jsonl=/dev/stderr"
        ));
        scan.wait_for_note("{\"type\":\"verdict\"");
        scan.signal(Signal::KILL);
        let (rest, _, status) = scan.end();
        assert_eq!((rest.as_str(), status.signal()), ("", Some(9)), "{form}: nothing half-written");
    }
});
