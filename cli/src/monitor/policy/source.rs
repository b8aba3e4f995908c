//! From where it is known what ports are: a stored scan, the monitor's history, or a scan that is made now. That one is this very
//! program's `scan`, so that scopes, rights and limits are what they always are.

use std::collections::BTreeMap;
use std::io::{BufReader, IsTerminal};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use halfopen_monitor::Store;
use halfopen_monitor::policy::{Knowledge, OfHistory, OfScan, Policy};
use halfopen_monitor::store::{self, Known};
use halfopen_results::address::Range;
use halfopen_results::coverage::Ports;
use halfopen_results::{Coverage, Scan, read};

use crate::args;
use crate::failure::{CUT_SHORT, DONE, Failure};

/// By what it is checked.
#[derive(Debug, Args)]
pub(super) struct SourceArgs {
    /// A stored scan: a file of any form but human, or nmap's XML; - is standard input [default: scan now]
    #[arg(value_name = "SCAN", conflicts_with = "history")]
    scan: Option<PathBuf>,

    /// Check what the monitor knows: its database
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,

    /// Which of the ports that no rule names a scan asks: 1-1024; - is all of them
    ///
    /// Where the policy ignores them, none is asked.
    #[arg(long, value_name = "PORTS", default_value = "-", allow_hyphen_values = true, conflicts_with_all = ["scan", "history"])]
    unlisted_ports: String,

    /// Options of `halfopen scan` for a scan that is made now, after --
    #[arg(last = true, value_name = "SCAN OPTIONS", conflicts_with_all = ["scan", "history"])]
    options: Vec<String>,
}

/// What is known.
pub(super) enum Source {
    /// By a scan.
    Scan(Box<Scan>),
    /// By the monitor: what is so, and where it looks.
    History(Known, Vec<Coverage>),
}

/// A source, or the code to end with.
pub(super) enum Found {
    Source(Source),
    Ended(u8),
}

/// The exit code of a scan that is not permitted.
const REFUSED: u8 = 3;
/// The program itself, whatever has become of its file.
const PROGRAM: &str = "/proc/self/exe";
/// How it scans: silent hosts are asked, too, because to be silent may be what is expected of them.
const MANNER: [&str; 6] = ["--output", "jsonl", "--show", "all", "--discover", "off"];

/// The one that was asked for.
pub(super) fn of(args: &SourceArgs, policy: &Policy) -> Result<Found, Failure> {
    match (&args.scan, &args.history) {
        (Some(scan), _) => stored(scan).map(Found::Source),
        (None, Some(database)) => history(database).map(Found::Source),
        (None, None) => live(args, policy),
    }
}

/// A stored scan.
pub(super) fn stored(path: &Path) -> Result<Source, Failure> {
    Ok(Source::Scan(Box::new(read::load(path)?)))
}

/// What the monitor knows.
pub(super) fn history(path: &Path) -> Result<Source, Failure> {
    let wrong = |error: store::Error| match error {
        store::Error::Missing { .. } | store::Error::Open { .. } | store::Error::Later { .. } => {
            Failure::Setting(error.to_string())
        }
        other => Failure::Machine(other.to_string()),
    };
    let store = Store::read_only(path).map_err(wrong)?;
    let known = store::known(store.connection()).map_err(wrong)?;
    let asked = store::remembered_coverage(store.connection()).map_err(wrong)?;
    Ok(Source::History(known, asked.into_iter().map(|(_, coverage)| coverage).collect()))
}

impl Source {
    /// What is known of ports.
    pub(super) fn knowledge(&self) -> Box<dyn Knowledge + '_> {
        match self {
            Source::Scan(scan) => Box::new(OfScan::new(scan)),
            Source::History(known, asked) => Box::new(OfHistory::new(known.clone(), asked.iter().cloned())),
        }
    }

    /// What was asked.
    pub(super) fn asked(&self) -> Coverage {
        match self {
            Source::Scan(scan) => scan.plan().cloned().unwrap_or_default(),
            Source::History(_, asked) => {
                let spans = asked.iter().flat_map(|coverage| coverage.spans().iter().cloned());
                spans.map(|span| (span.addresses, span.ports)).collect()
            }
        }
    }

    /// The hosts that something is known of.
    pub(super) fn hosts(&self) -> Vec<IpAddr> {
        match self {
            Source::Scan(scan) => scan.hosts.keys().copied().collect(),
            Source::History(known, _) => known.keys().copied().collect(),
        }
    }
}

/// Scans what the policy is about.
fn live(args: &SourceArgs, policy: &Policy) -> Result<Found, Failure> {
    let unlisted = unlisted(&args.unlisted_ports)?;
    // What is wrong with the options is better said before than by another process.
    args::scan(MANNER.iter().map(ToString::to_string).chain(args.options.iter().cloned()).collect())?;
    let mut command = Command::new(PROGRAM);
    command.arg("scan").args(MANNER).args(["--input", "-"]).args(&args.options).args(bar());
    let (scan, code) = run(command.stdin(Stdio::piped()), &targets(policy, &unlisted))?;
    match (code, scan) {
        // At the end of the scope's hours, what was found until then counts.
        (DONE | CUT_SHORT, Some(scan)) => Ok(Found::Source(Source::Scan(Box::new(scan)))),
        (code @ (2 | 130 | 143), _) => Ok(Found::Ended(code)),
        (REFUSED, _) => Ok(Found::Ended(REFUSED)),
        (code, _) => Err(Failure::Machine(format!("the scan ended with exit code {code}: nothing was checked"))),
    }
}

/// There is a bar when standard error is a terminal; the scan cannot know, because its output goes to us.
fn bar() -> Option<&'static str> {
    std::io::stderr().is_terminal().then_some("--progress")
}

/// All ports, or some.
fn unlisted(text: &str) -> Result<Ports, Failure> {
    match text {
        "-" => Ok([(1, u16::MAX)].into_iter().collect()),
        text => text.parse().map_err(|what| Failure::Setting(format!("--unlisted-ports: {what}"))),
    }
}

/// Targets, one a line: each range of hosts with its ports.
fn targets(policy: &Policy, unlisted: &Ports) -> String {
    let mut ports: BTreeMap<Range, Ports> =
        policy.listed().spans().iter().map(|span| (span.addresses, (*span.ports).clone())).collect();
    if policy.unlisted().is_some() {
        for range in policy.hosts().ranges() {
            let of = ports.entry(*range).or_default();
            *of = of.union(unlisted);
        }
    }
    ports.iter().filter(|(_, ports)| !ports.is_empty()).map(|(range, ports)| target(range, ports)).collect()
}

fn target(range: &Range, ports: &Ports) -> String {
    if range.first().is_ipv6() { format!("[{range}]:{ports}\n") } else { format!("{range}:{ports}\n") }
}

/// The scan that another process makes, and how it ended.
fn run(command: &mut Command, targets: &str) -> Result<(Option<Scan>, u8), Failure> {
    let system = |what: &str, source: std::io::Error| Failure::Machine(format!("cannot {what} the scan: {source}"));
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| system("start", error))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    // It reads all of its targets before it says anything; one that does not want them says why by itself.
    if let Some(mut stdin) = stdin {
        _ = std::io::Write::write_all(&mut stdin, targets.as_bytes());
    }
    let read = stdout.map(|stdout| read::parse(&mut BufReader::new(stdout)));
    let status = child.wait().map_err(|error| system("wait for", error))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    let scan = match read {
        Some(Ok(scan)) => scan,
        Some(Err(problem)) if code == DONE => return Err(Failure::Machine(format!("the scan's results: {problem}"))),
        _ => None,
    };
    Ok((scan, code))
}

#[cfg(test)]
mod tests {
    use halfopen_monitor::document::Document;

    use super::*;

    fn policy(unlisted: &str) -> Policy {
        let text = format!(
            "version = 1\n[defaults]\nunlisted = \"{unlisted}\"\n[groups.g]\nhosts = [\"192.0.2.0/30\"]\nexclude = [\"192.0.2.0\"]\n\
             [[rule]]\nid = \"a\"\nhosts = [\"192.0.2.2\", \"2001:db8::/127\"]\nopen = [\"tcp/80\", \"tcp/443\"]\n"
        );
        Policy::of(&Document::new("p", text), &|_| Err(String::new())).unwrap()
    }

    #[test]
    fn what_is_scanned() {
        let few = "1-9".parse().unwrap();
        let ignoring = "192.0.2.2:80,443\n[2001:db8::-2001:db8::1]:80,443\n";
        assert_eq!(targets(&policy("ignore"), &few), ignoring);
        let all = "192.0.2.1-192.0.2.3:1-9\n192.0.2.2:80,443\n[2001:db8::-2001:db8::1]:1-9,80,443\n";
        assert_eq!(targets(&policy("not-open"), &few), all);
        // And the engine takes it so.
        let plan = halfopen::Plan::builder().target_lines("t", all.as_bytes()).unwrap().build().unwrap();
        assert_eq!(plan.len(), 3 * 9 + 2 + 2 * 11);
    }
}
