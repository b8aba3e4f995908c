//! Results that nobody takes: a reader that goes away ends the program quietly, a full disk is an error.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, pipe};
use std::process::Stdio;

use super::{halfopen, text};

/// What a shell reports for a program that SIGPIPE ended.
const READER_GONE: i32 = 141;

/// Reads a line of a program's output, then no more. Gives its exit code and what it said.
fn read_one_line(args: &[&str]) -> (Option<i32>, String) {
    let mut child = halfopen().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::with_capacity(16, child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    (output.status.code(), text(&output.stderr))
}

#[test]
fn a_reader_that_goes_away() {
    let ended = read_one_line(&["scan", "127.0.0.0/28", "-p-", "--dry-run"]);
    assert_eq!(ended, (Some(READER_GONE), String::new()));
}

/// It fits into the pipe, so that only a reader who has gone before is missed.
#[test]
fn an_answer_in_a_pipe_that_is_closed() {
    for line in ["--help", "scan --help", "--version", "version", "explain 22"] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let output = halfopen().args(line.split(' ')).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), &*text(&output.stderr)), (Some(READER_GONE), ""), "{line}");
    }
}

/// Whatever the program is asked about itself: an answer that cannot be written is none.
#[test]
fn an_answer_on_a_full_disk() {
    let lines = ["--help", "-h", "scan --help", "--version", "version", "version --json", "completion bash", "man"];
    for line in lines.into_iter().chain(["man scan", "explain 22", "config", "config --example", "help scan"]) {
        let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else {
            eprintln!("skipped: no /dev/full here");
            return;
        };
        let output = halfopen().args(line.split(' ')).stdout(full).output().unwrap();
        let said = "error: cannot write to standard output: No space left on device (os error 28)\n";
        assert_eq!((output.status.code(), &*text(&output.stderr)), (Some(1), said), "{line}");
    }
}

#[test]
fn a_full_disk() {
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else {
        eprintln!("skipped: no /dev/full here");
        return;
    };
    let output = halfopen().args(["scan", "127.0.0.1", "-p", "80", "--dry-run"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = "error: cannot write to standard output: No space left on device (os error 28)\n";
    assert_eq!(text(&output.stderr), said);
}
