//! `halfopen report`: the page and the pictures from stored scans, where they go, and what is said when they cannot.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::{halfopen, run, run_with_input, text};

/// A scan as `--output jsonl` wrote it.
const SCAN: &str = r#"{"type":"scan","version":"0.1.0","command":["halfopen","scan","192.0.2.1"],"started":"2026-01-31T12:00:00Z","targets":3,"hosts":1,"settings":{"targets":["192.0.2.1"],"ports":["22,23,80"],"method":"syn","seed":"1","show":["open","closed","filtered","down"]},"coverage":[{"addresses":["192.0.2.1"],"ports":"22-23,80"}]}
{"type":"verdict","address":"192.0.2.1","port":22,"state":"open","reason":"syn-ack","rtt_us":1200,"time":"2026-01-31T12:00:00.1Z"}
{"type":"verdict","address":"192.0.2.1","port":23,"state":"open","reason":"syn-ack","rtt_us":1300,"time":"2026-01-31T12:00:00.2Z"}
{"type":"verdict","address":"192.0.2.1","port":80,"state":"closed","reason":"rst","rtt_us":1250,"time":"2026-01-31T12:00:00.3Z"}
{"type":"summary","outcome":"complete","started":"2026-01-31T12:00:00Z","elapsed_us":700000,"targets":3,"hosts":1,"counts":{"open":2,"closed":1}}
"#;

/// A directory with the scan in it, as `scan.jsonl`.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("scan.jsonl"), SCAN).expect("it can be written");
    directory
}

/// Runs `halfopen report` there. Gives the exit code and what was said.
fn report(directory: &Path, line: &str) -> (i32, String) {
    let output =
        halfopen().arg("report").args(line.split_whitespace()).current_dir(directory).output().expect("it starts");
    (output.status.code().expect("it ends"), text(&output.stderr))
}

/// The names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_page() {
    let directory = directory();
    assert_eq!(report(directory.path(), "scan.jsonl -o report.html"), (0, String::new()));
    let page = fs::read_to_string(directory.path().join("report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    for said in ["Scan of 192.0.2.1", "2 open ports on 1 host.", "Telnet", "scan.jsonl"] {
        assert!(page.contains(said), "{said}");
    }
    assert!(!page.contains(&directory.path().display().to_string()));
    assert_eq!(names(directory.path()), ["report.html", "scan.jsonl"]);
}

#[test]
fn the_same_files_give_the_same_page() {
    let directory = directory();
    let file = directory.path().join("scan.jsonl");
    let pages = [(); 2].map(|()| halfopen().arg("report").arg(&file).args(["-o", "-"]).output().unwrap().stdout);
    assert!(!pages[0].is_empty() && pages[0] == pages[1]);
}

#[test]
fn from_standard_input_to_standard_output() {
    let output = run_with_input(["report", "-", "-o", "-"], SCAN);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("from standard input"));
}

#[test]
fn pictures() {
    let directory = directory();
    assert_eq!(report(directory.path(), "scan.jsonl --png a/charts"), (0, String::new()));
    let charts = directory.path().join("a/charts");
    assert_eq!(names(&charts), ["found.png", "ports.png", "round-trips.png", "states.png"]);
    for chart in names(&charts) {
        assert!(fs::read(charts.join(&chart)).unwrap().starts_with(b"\x89PNG\r\n\x1a\n"), "{chart}");
    }
}

/// Nothing is written when not all of it can be.
#[test]
fn pictures_without_a_place() {
    let directory = directory();
    fs::write(directory.path().join("file"), "").unwrap();
    for (place, said) in [
        ("/dev/full", "/dev/full is no directory"),
        ("file", "file is no directory"),
        ("file/charts", "cannot write to file/charts: "),
    ] {
        let (code, text) = report(directory.path(), &format!("scan.jsonl -o report.html --png {place}"));
        assert!(code != 0 && text.starts_with("error: ") && text.contains(said), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!directory.path().join("report.html").exists());
    }
}

#[test]
fn a_file_that_is_there_is_replaced_as_a_whole() {
    let directory = directory();
    let (page, link) = (directory.path().join("page.html"), directory.path().join("link.html"));
    fs::write(&page, "before").unwrap();
    fs::set_permissions(&page, fs::Permissions::from_mode(0o600)).unwrap();
    symlink("page.html", &link).unwrap();
    assert_eq!(report(directory.path(), "scan.jsonl -o link.html").0, 0);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "the link stays");
    assert!(fs::read_to_string(&page).unwrap().starts_with("<!DOCTYPE"));
    assert_eq!(fs::metadata(&page).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(directory.path()), ["link.html", "page.html", "scan.jsonl"]);
}

#[test]
fn what_cannot_be_read() {
    let directory = directory();
    fs::write(directory.path().join("page.html"), "before").unwrap();
    let (code, said) = report(directory.path(), "scan.jsonl none.jsonl -o page.html");
    assert_eq!((code, said.as_str()), (2, "error: cannot open none.jsonl: No such file or directory (os error 2)\n"));
    let broken = SCAN.replace("\"port\":23", "\"port\":99999");
    fs::write(directory.path().join("broken.jsonl"), broken).unwrap();
    let (code, said) = report(directory.path(), "broken.jsonl -o page.html");
    assert_eq!(code, 2);
    insta::assert_snapshot!(said, @r"
    error: broken.jsonl: line 3: invalid value: integer `99999`, expected u16
    ");
    assert_eq!(fs::read_to_string(directory.path().join("page.html")).unwrap(), "before");
}

/// What was found before the end is shown, and that the end is missing.
#[test]
fn a_scan_that_was_killed() {
    let (whole, _) = SCAN.split_once("{\"type\":\"summary\"").unwrap();
    let output = run_with_input(["report", "-", "-o", "-"], &whole[..whole.len() - 20]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let page = text(&output.stdout);
    assert!(page.contains("2 open ports on 1 host.") && page.contains("no account of the scan"));
}

#[test]
fn what_is_no_scan() {
    for (input, said) in [("hello\n", "standard input is no scan: expected"), ("{}\n", "line 1: missing field `type`")]
    {
        let output = run_with_input(["report", "-", "-o", "-"], input);
        assert_eq!(output.status.code(), Some(2), "{input:?}");
        assert!(output.stdout.is_empty() && text(&output.stderr).contains(said), "{}", text(&output.stderr));
    }
}

#[test]
fn two_scans_of_the_same_say_what_changed() {
    let directory = directory();
    let later = SCAN.replace("01-31", "02-01").replace(r#""port":23,"state":"open""#, r#""port":23,"state":"closed""#);
    fs::write(directory.path().join("later.jsonl"), later).unwrap();
    assert_eq!(report(directory.path(), "later.jsonl scan.jsonl -o page.html"), (0, String::new()));
    let page = fs::read_to_string(directory.path().join("page.html")).unwrap();
    for said in [
        "What changed",
        "0 ports opened, and 1 port is no longer open",
        "23 telnet",
        "from later.jsonl: the last of 2 scans",
    ] {
        assert!(page.contains(said), "{said}");
    }
}

#[test]
fn what_cannot_be_written() {
    let directory = directory();
    let (code, said) = report(directory.path(), "scan.jsonl -o none/page.html");
    assert_eq!(
        (code, said.as_str()),
        (1, "error: cannot write to none/page.html: No such file or directory (os error 2)\n")
    );
    let (code, said) = report(directory.path(), "scan.jsonl --png scan.jsonl");
    let no_directory = "error: --png wants a directory for the charts, and scan.jsonl is no directory\n";
    assert_eq!((code, said.as_str()), (2, no_directory));
    let (code, said) = report(directory.path(), "scan.jsonl -o .");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("cannot write to .: is a directory"), "{said}");
    assert_eq!(names(directory.path()), ["scan.jsonl"]);
}

#[test]
fn a_full_disk() {
    if !Path::new("/dev/full").exists() {
        eprintln!("skipped: no /dev/full here");
        return;
    }
    let directory = directory();
    let (code, said) = report(directory.path(), "scan.jsonl -o /dev/full");
    assert_eq!((code, said.as_str()), (1, "error: cannot write to /dev/full: No space left on device (os error 28)\n"));
}

#[test]
fn it_must_know_what_to_do() {
    let said = |line| text(&run(line).stderr);
    assert!(said("report scan.jsonl").contains("--output <FILE>"), "{}", said("report scan.jsonl"));
    assert!(said("report -o page.html").contains("<FILES>"));
}
