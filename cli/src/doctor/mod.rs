//! `halfopen doctor`: what on this machine helps or hinders scans, and what to do about it. Each file beside this one asks
//! about one thing, and judges what it is told by a function of text and numbers alone; `finding` says what a finding is.
//!
//! Nothing is sent, and nothing is attached to an interface, but with `--try-links` to those that are named there.

mod finding;
mod firewall;
mod limits;
mod links;
mod rights;
mod routes;
mod surroundings;

use std::io::{self, Write};

use clap::Args;

use crate::failure::{self, DONE, Failure};
use finding::{Finding, Grade};

const EXAMPLES: &str = "\
Examples:
  What could be better, before the first scan:
    sudo halfopen doctor
  What a scan of these would meet, routes and gateways above all:
    halfopen doctor 192.0.2.0/24 2001:db8::7
  Which links an interface can do, by opening them:
    sudo halfopen doctor --try-links eth1

Grades: ok; note (good to know); warning (a scan works, but less well); problem (a scan cannot work); unknown (could not be \
looked at). Exit codes: 0 scans work, 1 something prevents them, 2 usage error.";

const SHORT: &str = "`halfopen doctor --help` explains the grades and gives examples.";

/// `halfopen doctor`, as typed.
#[derive(Debug, Args)]
#[command(after_help = SHORT, after_long_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    /// Look at the ways to these targets [default: to all the world]
    #[arg(value_name = "TARGETS")]
    targets: Vec<String>,

    /// Try which links an interface can do, by opening them (repeatable)
    ///
    /// Attaches XDP programs to it for a moment, and has xdp_live send eight frames from the interface to itself. Some drivers take
    /// the link down for seconds meanwhile. Interfaces that are not named are only looked at.
    #[arg(long, value_name = "INTERFACE")]
    try_links: Vec<String>,

    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Looks at everything, prints what was found, and gives the exit code.
pub(crate) fn run(args: &DoctorArgs) -> Result<u8, Failure> {
    let findings = examine(args)?;
    let text = if args.json { finding::json(&findings) } else { finding::lines(&findings) };
    print(&text).map_err(failure::stdout)?;
    Ok(if findings.iter().any(|finding| finding.grade == Grade::Problem) { PREVENTED } else { DONE })
}

/// The exit code where a scan cannot work.
const PREVENTED: u8 = 1;

fn examine(args: &DoctorArgs) -> Result<Vec<Finding>, Failure> {
    let interfaces = halfopen::interfaces()?;
    let tried = links::tried(&interfaces, &args.try_links)?;
    let mut findings = rights::findings();
    findings.extend(links::findings(&interfaces));
    findings.extend(tried);
    findings.extend(routes::findings(&args.targets)?);
    findings.extend(limits::findings());
    findings.extend(firewall::findings());
    findings.extend(surroundings::findings());
    // Last: what is tried in it is this process's own hide from others.
    findings.extend(rights::confinement());
    Ok(findings)
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
