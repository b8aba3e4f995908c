//! `halfopen watch-runner`, which only `halfopen watch` starts: the process that runs commands of channels, which gives up its
//! rights before it takes an order, and the guard that keeps it alive.

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use halfopen_monitor::alert::runner;
use halfopen_monitor::service::guard;
use halfopen_monitor::service::scanner::NAME;

use super::watch::{self, PROGRAM};
use crate::failure::{DONE, Failure};
use crate::privileges;
use crate::screen;

/// `halfopen watch-runner`, as `halfopen watch` writes it.
#[derive(Debug, Args)]
pub(crate) struct RunnerArgs {
    /// The file that says which commands there are
    settings: PathBuf,
    /// Take orders; otherwise guard the one that does
    #[arg(long)]
    serve: bool,
    /// Keep all rights
    #[arg(long)]
    no_drop: bool,
}

/// What starts the guard.
pub(super) fn guard(file: &Path, no_drop: bool) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg0(NAME).arg("watch-runner").args(no_drop.then_some("--no-drop")).arg(file);
    command
}

/// Guards, or serves.
pub(crate) fn run(args: &RunnerArgs) -> Result<u8, Failure> {
    if args.serve { serve(args) } else { keep(args) }
}

fn keep(args: &RunnerArgs) -> Result<u8, Failure> {
    let command = || {
        let mut command = guard(&args.settings, args.no_drop);
        command.arg("--serve");
        command
    };
    guard::keep(command).map_err(|source| Failure::Write { name: "the runner's pipe".into(), source })?;
    Ok(DONE)
}

fn serve(args: &RunnerArgs) -> Result<u8, Failure> {
    if !args.no_drop {
        let account = privileges::become_runner(&watch::keep(&watch::read(&args.settings)?));
        account.warning().iter().for_each(|warning| screen::warning(&format!("commands of channels: {warning}")));
    }
    runner::serve(&args.settings, io::stdin().lock(), io::stdout(), &|name| env::var(name).ok())?;
    Ok(DONE)
}
