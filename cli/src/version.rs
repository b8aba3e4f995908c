//! `halfopen version`: which program this is, what it was built with, and on what it runs.

use clap::{Arg, Args, Command};
use serde_json::{Value, json};

use crate::args;
use crate::failure::{self, DONE, Failure};
use crate::screen;

/// `halfopen version`, as typed.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct VersionArgs {
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  For a report of a fault:
    halfopen version
  For programs:
    halfopen version --json | jq -r .version";

/// Prints it.
pub(crate) fn run(args: &VersionArgs) -> Result<u8, Failure> {
    let text = if args.json { format!("{:#}\n", json()) } else { lines() };
    screen::print(&text).map_err(failure::stdout)?;
    Ok(DONE)
}

/// The commit, where it was known when this was built.
pub(crate) fn commit() -> Option<&'static str> {
    Some(env!("HALFOPEN_COMMIT")).filter(|commit| !commit.is_empty())
}

fn json() -> Value {
    let definition = args::definition();
    let kernel = rustix::system::uname();
    json!({
        "type": "version",
        "name": "halfopen",
        "version": env!("CARGO_PKG_VERSION"),
        "commit": commit(),
        "target": env!("HALFOPEN_TARGET"),
        "debug": cfg!(debug_assertions),
        "links": choices(&definition, "link"),
        "receive": choices(&definition, "receive"),
        "kernel": {
            "name": kernel.sysname().to_string_lossy(),
            "release": kernel.release().to_string_lossy(),
            "machine": kernel.machine().to_string_lossy(),
        },
    })
}

fn lines() -> String {
    let definition = args::definition();
    let kernel = rustix::system::uname();
    let commit = commit().map_or_else(String::new, |commit| format!(" ({commit})"));
    let debug = if cfg!(debug_assertions) { ", for debugging" } else { "" };
    format!(
        "halfopen {}{commit}\nbuilt for {}{debug}\nlinks: {}\nreceive: {}\nrunning on {} {} {}\n",
        env!("CARGO_PKG_VERSION"),
        env!("HALFOPEN_TARGET"),
        choices(&definition, "link").join(", "),
        choices(&definition, "receive").join(", "),
        kernel.sysname().to_string_lossy(),
        kernel.release().to_string_lossy(),
        kernel.machine().to_string_lossy(),
    )
}

/// What an option of a scan can be, but for `auto`.
fn choices(definition: &Command, option: &str) -> Vec<String> {
    let scan = definition.find_subcommand("scan").into_iter();
    let option = scan.flat_map(Command::get_arguments).filter(|arg| arg.get_long() == Some(option));
    let values = option.flat_map(Arg::get_possible_values).map(|value| value.get_name().to_owned());
    values.filter(|value| value != "auto").collect()
}
