//! The program on networks: every test runs in a network of its own, in which nothing but the lab listens. Nothing here
//! waits for luck: a test reads what the program says, and one that hangs is ended by the lab.

#[path = "../shared/command.rs"]
mod command;
mod alerts;
mod demo;
mod doctor;
mod dropped;
mod ending;
mod failing;
mod findings;
mod keeping;
mod listeners;
mod options;
mod outputs;
mod policy;
mod resuming;
mod rights;
mod scope;
mod seed;
mod stats;
mod streaming;
mod systemd;
mod terminal;
mod then;
mod watch;

use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};

use command::text;
use halfopen_lab::Namespace;
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The program, with these arguments.
fn halfopen(line: &str) -> Command {
    let mut command = command::halfopen();
    command.args(line.split_whitespace());
    command
}

/// Runs it with these arguments, separated by spaces.
fn run(line: &str) -> Output {
    halfopen(line).output().expect("the program starts")
}

/// What a scan of `listeners`' network finds open below 1025: three ports over IPv4, one over IPv6.
const OPEN: [&str; 4] = ["127.0.0.1:22", "127.0.0.1:443", "127.0.0.1:80", "[::1]:80"];

fn listeners(lab: &Namespace) -> Vec<TcpListener> {
    OPEN.iter().map(|address| lab.listen(address)).collect()
}

/// Lines in an order of their own: findings come in the scan's.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn records(jsonl: &str) -> Vec<Value> {
    jsonl.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"))
}

/// A summary's counts are those of its targets.
fn assert_adds_up(summary: &Value) {
    assert_eq!(summary["type"], "summary", "{summary}");
    let counts = ["open", "closed", "filtered", "unclassified"].map(|name| number(&summary["counts"][name]));
    assert_eq!(counts.iter().sum::<u64>(), number(&summary["targets"]), "{summary}");
}

/// A scan under way, and its output as it comes.
struct Scan {
    child: Child,
    stdout: BufReader<PipeReader>,
}

impl Scan {
    fn start(line: &str) -> Scan {
        Scan::printing_to(io::pipe().expect("there is a pipe"), &mut halfopen(line))
    }

    /// With so little room for what it prints, some 400 lines, that it cannot come to its end before those are read.
    fn start_held(line: &str) -> Scan {
        let (reader, writer) = io::pipe().expect("there is a pipe");
        fcntl_setpipe_size(&writer, 4096).expect("a page is room enough");
        Scan::printing_to((reader, writer), &mut halfopen(line))
    }

    /// With a standard input that stays open until it is dropped.
    fn fed(line: &str) -> (Scan, ChildStdin) {
        let pipe = io::pipe().expect("there is a pipe");
        let mut scan = Scan::printing_to(pipe, halfopen(line).stdin(Stdio::piped()));
        let stdin = scan.child.stdin.take().expect("it is piped");
        (scan, stdin)
    }

    fn printing_to((reader, writer): (PipeReader, PipeWriter), command: &mut Command) -> Scan {
        let child = command.stdout(writer).stderr(Stdio::piped()).spawn().expect("it starts");
        // Small, so that it reads no further ahead than it must.
        Scan { child, stdout: BufReader::with_capacity(16, reader) }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it prints UTF-8");
        line
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_none()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is there");
    }

    /// Reads standard error as far as this line's beginning.
    fn wait_for_note(&mut self, beginning: &str) {
        let mut stderr = BufReader::with_capacity(1, self.child.stderr.take().expect("it is piped"));
        let mut line = String::new();
        while !line.starts_with(beginning) {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).expect("it prints UTF-8"), 0, "it never said {beginning:?}");
        }
        self.child.stderr = Some(stderr.into_inner());
    }

    /// The rest of both outputs, and how it ended.
    fn end(mut self) -> (String, String, ExitStatus) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("it prints UTF-8");
        let (said, status) = self.end_unread();
        (rest, said, status)
    }

    /// Goes away as a reader, and gives what was said and how it ended.
    fn abandon(self) -> (String, ExitStatus) {
        self.end_unread()
    }

    fn end_unread(self) -> (String, ExitStatus) {
        let Scan { child, stdout } = self;
        drop(stdout);
        let output = child.wait_with_output().expect("it ends");
        (text(&output.stderr), output.status)
    }
}
