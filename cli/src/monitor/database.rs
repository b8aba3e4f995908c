//! `halfopen db`: the monitor's database as a file: whether it is whole, copies of it, and its size.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use halfopen_monitor::Store;
use halfopen_monitor::store::Horizon;
use jiff::Timestamp;

use super::{StoreArgs, moment};
use crate::failure::{self, DONE, Failure};
use crate::output::text::count;
use crate::screen;

const LONG_HELP: &str = "\
Examples:
  halfopen db check
  halfopen db backup /var/backups/monitor.db
  halfopen db prune --before 400d
  halfopen db vacuum

All of it may be done while `halfopen watch` runs.

Exit codes: 0 done, 1 runtime error, or the file is damaged, 2 usage error (no such database is one).";

/// `halfopen db`, as typed.
#[derive(Debug, Args)]
#[command(after_long_help = LONG_HELP)]
pub(crate) struct DatabaseArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether the file is whole
    Check {
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Write a copy to a file
    Backup {
        /// The file; one that is there is replaced
        #[arg(value_name = "FILE")]
        to: PathBuf,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Delete what ended before some time; what still holds is kept
    Prune {
        /// The time: how long ago (400d), or a time (2026-01-31T12:00)
        #[arg(long, value_name = "TIME", value_parser = moment)]
        before: Timestamp,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Give back the space of what was deleted
    Vacuum {
        #[command(flatten)]
        store: StoreArgs,
    },
}

/// The exit code for "damaged".
const DAMAGED: u8 = 1;

/// Does what was asked.
pub(crate) fn run(args: &DatabaseArgs) -> Result<u8, Failure> {
    match &args.command {
        Command::Check { store } => check(&store.as_it_is()?),
        Command::Backup { to, store } => {
            store.as_it_is()?.back_up(to)?;
            Ok(DONE)
        }
        Command::Prune { before, store } => {
            let rows = store.write()?.prune(&Horizon::of(*before))?;
            screen::print(&format!("{} deleted\n", count(rows, "row"))).map_err(failure::stdout)?;
            Ok(DONE)
        }
        Command::Vacuum { store } => {
            store.write()?.vacuum()?;
            Ok(DONE)
        }
    }
}

fn check(store: &Store) -> Result<u8, Failure> {
    let faults = store.faults()?;
    let said: String = faults.iter().map(|fault| format!("{fault}\n")).collect();
    screen::print(if faults.is_empty() { "whole\n" } else { &said }).map_err(failure::stdout)?;
    Ok(if faults.is_empty() { DONE } else { DAMAGED })
}
