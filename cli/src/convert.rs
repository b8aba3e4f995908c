//! `halfopen convert`: a stored scan in another form. Reading and writing are for `halfopen-results`; here is only what goes
//! from the one to the other.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use halfopen_results::record::{Message, Record, Show};
use halfopen_results::sink::{Choice, Destination, Sinks, Wanted};
use halfopen_results::{Scan, read};
use halfopen_services::tcp_name;

use crate::args::{FormArg, OutputArg};
use crate::failure::{DONE, Failure};
use crate::values;

const LONG: &str = "\
Examples:
  What a scan that was killed had found, for nmap's tools:
    halfopen convert scan.xml.part -o xml=scan.xml
  The open ports of a stored scan, for other programs:
    halfopen convert scan.jsonl -o list
  The third scan of a database:
    halfopen convert scans.sqlite#3 -o jsonl=third.jsonl

What the file has is what is written: nothing is added, and in a list only open ports stand. A scan that did not end is \
marked as failed.

Exit codes: 0 done, 1 runtime error, 2 usage error (a file that cannot be read is one).";

/// `halfopen convert`, as typed.
#[derive(Debug, Args)]
#[command(after_long_help = LONG)]
pub(crate) struct ConvertArgs {
    /// A scan: any form of `halfopen scan`, what a killed one has left, or nmap's XML; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The form, and the file that it goes to, if not standard output
    ///
    /// jsonl, json, csv, list, grepable, xml or sqlite, perhaps with =FILE. A file that is there is replaced; to a database
    /// the scan is added.
    #[arg(short, long, value_name = "FORM[=FILE]", value_parser = values::output)]
    output: OutputArg,
}

/// Reads all of it, then writes.
pub(crate) fn run(args: &ConvertArgs) -> Result<u8, Failure> {
    let FormArg::Of(form) = args.output.form else {
        return Err(Failure::Setting("convert writes no human form; `halfopen report` makes a page for people".into()));
    };
    let to = args.output.file.clone();
    if to.as_deref().is_some_and(|to| is_same(&args.file, to)) {
        return Err(Failure::Setting(format!("{} cannot be read and replaced at once", args.file.display())));
    }
    let scan = read::load(&args.file)?;
    let choice = Choice { form, to: to.map_or(Destination::Stdout, Destination::File) };
    write(&scan, choice)?;
    Ok(DONE)
}

/// Whether both are one file: if it could not be written, nothing would be left. A number may follow a database.
fn is_same(from: &Path, to: &Path) -> bool {
    let name = from.to_string_lossy();
    let database = name.rsplit_once('#').map_or(from, |(file, _)| Path::new(file));
    let real = |path: &Path| fs::canonicalize(path).ok();
    real(to).is_some_and(|to| [from, database].into_iter().filter_map(real).any(|from| from == to))
}

fn write(scan: &Scan, choice: Choice) -> Result<(), Failure> {
    let wanted = Wanted { show: Some(recorded(scan)), ..Wanted::default() };
    let mut sinks = Sinks::open(&[choice], &wanted, tcp_name, || Box::new(std::io::stdout()))?;
    sinks.begin(&scan.header.clone().unwrap_or_default())?;
    let mut last = Record::Error(Message { message: unended(scan).into() });
    for record in scan.records() {
        match record {
            Record::Scan(_) => {}
            Record::Verdict(verdict) => sinks.verdict(&verdict)?,
            Record::Summary(_) | Record::Error(_) => last = record,
            other => sinks.record(&other)?,
        }
    }
    Ok(sinks.end(&last)?)
}

/// Which findings there are.
fn recorded(scan: &Scan) -> Show {
    scan.header.as_ref().map_or(Show::ALL, |header| header.settings.show)
}

/// Why a scan has no account.
fn unended(scan: &Scan) -> &'static str {
    match scan.header {
        Some(_) => "the scan did not end: this is what it had found",
        None => "made of a form that has no account of the scan",
    }
}
