//! The program as its users meet it: help, settings, error texts, exit codes, dry runs, and results nobody takes. Nothing here
//! sends a packet.

mod about;
mod convert;
mod dry_run;
mod errors;
mod explain;
mod help;
mod policy;
mod ports;
mod report;
mod results;
mod settings;

use std::env;
use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// The program, as if no terminal were near.
fn halfopen() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_halfopen"));
    for name in ["COLUMNS", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM"] {
        command.env_remove(name);
    }
    without_settings(&mut command);
    command.stdin(Stdio::null());
    command
}

/// Takes away what the machine's user has set.
fn without_settings(command: &mut Command) {
    let ours = env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"HALFOPEN_"));
    ours.for_each(|(name, _)| _ = command.env_remove(name));
    command.env("HALFOPEN_CONFIG", "none");
}

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

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it prints UTF-8")
}
