//! `halfopen report`: scans as one page for people, and its charts as pictures. What stands in the page is for
//! `halfopen-report`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use halfopen_report::{Report, Source};
use halfopen_results::sink::Error;
use halfopen_results::{Scan, read};

use crate::failure::{DONE, Failure};

const SHORT: &str = "`halfopen report --help` explains what becomes of several files, and gives examples.";

const LONG: &str = "\
Several files: scans of different targets, and shards of one scan, are shown as one. Scans that have targets in common \
follow each other in time: the page is about the last one, and says what has changed since the first.

The page loads nothing and runs nothing; it can be sent by mail, printed, and read in ten years. The same files give the \
same page.

Examples:
  A scan, and a page of it:
    halfopen scan 192.0.2.0/24 -p 1-1024 --show all -o jsonl=scan.jsonl
    halfopen report scan.jsonl -o report.html
  What has changed since last week:
    halfopen report last-week.jsonl today.jsonl -o report.html
  The charts as pictures, too:
    halfopen report scan.jsonl -o report.html --png charts

Exit codes: 0 done, 1 runtime error, 2 usage error (a file that cannot be read is one).";

/// `halfopen report`, as typed.
#[derive(Debug, Args)]
#[command(after_help = SHORT, after_long_help = LONG)]
pub(crate) struct ReportArgs {
    /// Files of scans in any form that `halfopen scan` writes, or nmap's XML; - is standard input
    #[arg(value_name = "FILES", required = true)]
    files: Vec<PathBuf>,

    /// Where the page goes; - is standard output
    ///
    /// A file that is there is replaced when the page is whole.
    #[arg(short, long, value_name = "FILE", required_unless_present = "png")]
    output: Option<PathBuf>,

    /// Also write the charts into this directory, as PNG: states, ports, round-trips, found
    ///
    /// It is made if it is not there. A chart that there is nothing for is not written.
    #[arg(long, value_name = "DIR")]
    png: Option<PathBuf>,
}

/// Reads the files and writes what was asked for.
pub(crate) fn run(args: &ReportArgs) -> Result<u8, Failure> {
    read_once(args.files.iter().map(PathBuf::as_path))?;
    let scans = args.files.iter().map(|file| read::load(file)).collect::<Result<Vec<Scan>, read::Error>>()?;
    let names: Vec<String> = args.files.iter().map(|file| name(file)).collect();
    let sources: Vec<Source<'_>> = names.iter().zip(&scans).map(|(file, scan)| Source { file, scan }).collect();
    let report = Report::of(&sources);
    args.png.as_deref().map_or(Ok(()), make_directory)?;
    if let Some(output) = &args.output {
        put(output, report.html().as_bytes())?;
    }
    if let Some(directory) = &args.png {
        pictures(&report, directory)?;
    }
    Ok(DONE)
}

/// Standard input is there once.
pub(crate) fn read_once<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    let again = files.into_iter().filter(|&file| file == Path::new("-")).nth(1);
    again.map_or(Ok(()), |_| Err(Failure::Setting("standard input is one scan; give a file for the other".into())))
}

fn make_directory(path: &Path) -> Result<(), Failure> {
    if path.exists() && !path.is_dir() {
        return Err(Failure::Setting(format!(
            "--png wants a directory for the charts, and {} is no directory",
            path.display()
        )));
    }
    fs::create_dir_all(path).map_err(|source| unwritable(path, source))
}

/// The name that the page shows: of the file alone, for its directories are nobody's business.
fn name(file: &Path) -> String {
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    if name == "-" { "standard input".into() } else { name.into_owned() }
}

fn pictures(report: &Report, directory: &Path) -> Result<(), Failure> {
    report.charts().iter().try_for_each(|chart| put(&directory.join(chart.name()).with_extension("png"), &chart.png()))
}

fn put(to: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if to == Path::new("-") {
        return print(bytes).map_err(|source| Error::Write { name: "standard output".into(), source }.into());
    }
    write(to, bytes).map_err(|source| unwritable(to, source))
}

fn print(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

fn unwritable(file: &Path, source: io::Error) -> Failure {
    Error::Write { name: file.display().to_string(), source }.into()
}

/// Replaces a file as a whole, and leaves it as it was when that fails. Pipes and devices are written directly.
fn write(to: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link stays one, and what it leads to is replaced.
    let to = fs::canonicalize(to).unwrap_or_else(|_| to.into());
    if fs::metadata(&to).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return fs::write(&to, bytes);
    }
    replace(&to, bytes)
}

fn replace(to: &Path, bytes: &[u8]) -> io::Result<()> {
    if to.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let temporary = Temporary::beside(to);
    temporary.fill(bytes, fs::metadata(to).ok())?;
    fs::rename(&temporary.path, to)
}

/// A file in the making: if it has not got its name by the end, it is removed.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// Hidden, in the same directory, so that it can take the other's place at once.
    fn beside(file: &Path) -> Temporary {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        Temporary { path: file.with_file_name(format!(".{name}.{}.tmp", std::process::id())) }
    }

    /// Makes it, with the permissions of the file that it replaces.
    fn fill(&self, bytes: &[u8], replaced: Option<fs::Metadata>) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&self.path)?;
        replaced.map_or(Ok(()), |replaced| file.set_permissions(replaced.permissions()))?;
        file.write_all(bytes)?;
        file.sync_all()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It is not there any more if all went well.
        let _ = fs::remove_file(&self.path);
    }
}
