//! `halfopen diff` of forms that say more or less of what they covered, and what it refuses.

use std::fs;
use std::path::Path;

use super::{halfopen, text};

/// Runs `halfopen diff` there. Gives the exit code and what was printed and said.
fn diff(directory: &Path, line: &str) -> (i32, String, String) {
    let mut command = halfopen();
    let output = command.arg("diff").args(line.split_whitespace()).current_dir(directory).output().unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| fs::write(directory.path().join(name), text).unwrap());
    directory
}

/// A list that a killed scan has left ends like a whole one.
#[test]
fn a_list_is_whole_when_somebody_says_so() {
    let directory =
        directory(&[("a", "192.0.2.1:80\n192.0.2.1:81\n"), ("b", "address,port,state\n192.0.2.1,80,open\n")]);
    let (code, printed, _) = diff(directory.path(), "a b");
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("not compared: 1 finding of the first scan, of which the second knows nothing\n"),
        "{printed}"
    );
    let why = "note: the second scan does not say what it covered, nor whether it is whole";
    assert!(printed.contains(why), "{printed}");
    let (code, printed, _) = diff(directory.path(), "--whole a b");
    assert!(code == 1 && printed.contains("  - 81/tcp ") && printed.contains("1 port gone"), "{printed}");
}

#[test]
fn what_cannot_be_compared() {
    let xml = "<nmaprun scanner=\"nmap\"></nmaprun>\n";
    let directory = directory(&[("a.xml", xml), ("a.list", "192.0.2.1:80\n")]);
    for (line, said) in [
        ("- -", "error: standard input is one scan; give a file for the other\n"),
        ("a.xml a.xml#3", "error: a.xml is one scan: only a database has several with numbers, so leave #3 out\n"),
        ("a.list#1 a.list", "error: a.list is one scan: only a database has several with numbers, so leave #1 out\n"),
    ] {
        assert_eq!(diff(directory.path(), line), (2, String::new(), said.into()), "{line}");
    }
}

/// A job that watches for changes must not take it for peace.
#[test]
fn nothing_compared_is_no_peace() {
    let directory = directory(&[("a", "192.0.2.1:80\n"), ("b", "192.0.2.2:80\n")]);
    let (code, printed, said) = diff(directory.path(), "a b");
    assert_eq!((code, printed.lines().next()), (2, Some("nothing compared")), "{printed}");
    assert!(said.starts_with("error: nothing was compared: ") && said.lines().count() == 1, "{said}");
    let (code, printed, _) = diff(directory.path(), "--json a b");
    assert!(code == 2 && printed.contains("\"same\": null"), "{printed}");
    // Both are whole: what is on one only has come or gone.
    assert_eq!(diff(directory.path(), "--whole a b").0, 1);
}
