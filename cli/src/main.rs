//! The program `halfopen`: SYN scans from the command line.
//!
//! The way of a command: `args` (as typed) -> `layers` (over environment and file) -> `run` (which subcommand). A scan goes
//! on: `settings` (resolved with the terminal) -> `permit` (whether it may be done) -> `scan` (drives the library's) ->
//! `output` (findings, on standard output) and `screen` (everything else, on standard error). `failure` says what each
//! error is worth as a text and an exit code.

#[cfg(test)]
mod agreement;
mod args;
mod completion;
mod checkpoint;
mod config;
mod convert;
mod diff;
mod doctor;
mod demo;
mod explain;
mod failure;
mod halt;
mod intake;
mod journal;
mod keeper;
mod layers;
mod man;
mod monitor;
mod output;
mod port_names;
mod permit;
mod privileges;
mod report;
mod resume;
mod run;
mod scan;
mod screen;
mod settings;
mod signals;
mod stats;
mod terminal;
mod then;
mod usage;
mod values;
mod version;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use failure::Failure;
use layers::{Unresolved, Variables};

fn main() -> ExitCode {
    if let Err(failure) = privileges::check_lent() {
        return failure.report();
    }
    let words: Vec<_> = env::args_os().collect();
    let parsed = match args::parse(&words, &Variables::of_process()) {
        Ok(parsed) => parsed,
        Err(Unresolved::Answer(answer)) => return say(&answer, &words),
        Err(Unresolved::Failure(failure)) => return failure.report(),
    };
    parsed.warnings.iter().for_each(|warning| screen::warning(warning));
    match run::command(parsed.command, &parsed.settings) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(),
    }
}

/// Prints what clap answers by itself: help, the version, usage errors.
fn say(answer: &clap::Error, words: &[OsString]) -> ExitCode {
    if let Some(line) = usage::line(answer, words) {
        screen::error(&line, None);
        return ExitCode::from(failure::USAGE);
    }
    let printed = answer.print().and_then(|()| io::stdout().flush());
    match printed {
        Err(error) if !answer.use_stderr() => Failure::from(failure::stdout(error)).report(),
        // A usage error is one, whoever can read what it is about.
        _ => ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(2)),
    }
}
