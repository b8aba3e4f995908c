//! `halfopen watch-scanner`, which only `halfopen watch` starts: the process that keeps the rights and scans, and the guard that
//! keeps it alive.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use halfopen_monitor::service::guard;
use halfopen_monitor::service::scanner::{NAME, Scanner};

use super::watch::{self, PROGRAM};
use crate::failure::{DONE, Failure};

/// `halfopen watch-scanner`, as `halfopen watch` writes it.
#[derive(Debug, Args)]
pub(crate) struct ScannerArgs {
    /// The file that says what may be scanned
    settings: PathBuf,
    /// Take orders; otherwise guard the one that does
    #[arg(long)]
    serve: bool,
}

/// Guards, or serves.
pub(crate) fn run(args: &ScannerArgs) -> Result<u8, Failure> {
    if args.serve { serve(args) } else { keep(args) }
}

fn keep(args: &ScannerArgs) -> Result<u8, Failure> {
    let command = || {
        let mut command = Command::new(PROGRAM);
        command.arg0(NAME).arg("watch-scanner").arg("--serve").arg(&args.settings);
        command
    };
    guard::keep(command).map_err(|source| Failure::Write { name: "the scanner's pipe".into(), source })?;
    Ok(DONE)
}

fn serve(args: &ScannerArgs) -> Result<u8, Failure> {
    let scanner = Scanner { program: PROGRAM.into(), words: vec!["scan".into()] };
    scanner.serve(io::stdin().lock(), io::stdout(), &|| watch::read(&args.settings))?;
    Ok(DONE)
}
