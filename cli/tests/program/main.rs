//! The program as its users meet it: help, settings, error texts, exit codes, dry runs, and results nobody takes. Nothing here
//! sends a packet.

mod about;
#[path = "../shared/command.rs"]
mod command;
mod convert;
mod diff;
mod dry_run;
mod errors;
mod explain;
mod help;
mod monitor;
mod ports;
mod report;
mod results;
mod settings;

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Output, Stdio};

use command::{halfopen, text};

/// Runs it with these arguments, separated by spaces.
fn run(line: &str) -> Output {
    halfopen().args(line.split_whitespace()).output().expect("the program starts")
}

/// Runs it with this text on standard input.
fn run_with_input<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, input: &str) -> Output {
    let mut command = halfopen();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("it reads its input");
    child.wait_with_output().expect("the program ends")
}
