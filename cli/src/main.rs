//! The program `halfopen`: SYN scans from the command line.
//!
//! The way of a command: `args` (as typed) -> `settings` (resolved with the terminal and the environment) -> `run`
//! (drives the library's scan) -> `output` (findings, on standard output) and `screen` (everything else, on standard
//! error). `failure` says what each error is worth as a text and an exit code.

mod args;
mod failure;
mod output;
mod run;
mod screen;
mod services;
mod settings;
mod signals;
mod values;

use std::process::ExitCode;

fn main() -> ExitCode {
    let command = match args::parse() {
        Ok(command) => command,
        Err(exit) => return exit,
    };
    match run::command(command) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(),
    }
}
