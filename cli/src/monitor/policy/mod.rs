//! `halfopen policy`: whether the network is as a file says it should be. What the file means and what a scan makes of it is for
//! `halfopen_monitor::policy`; here are the commands, the sources (`source`) and the text for people (`text`).

mod explain;
mod source;
mod text;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use halfopen_monitor::Severity;
use halfopen_monitor::policy::{self, Assessment, Policy, Verdict, system_resolver};
use jiff::Timestamp;

use crate::failure::{self, DONE, Failure};
use crate::screen;
use crate::values;
use explain::ExplainArgs;
use source::SourceArgs;

const EXAMPLES: &str = "\
Examples:
  A policy to begin with, from what is so now:
    halfopen policy init --from-scan scan.jsonl > policy.toml
  Whether the network is as the policy says, by a scan that is made now:
    halfopen policy check
  Which rule a port falls under:
    halfopen policy explain 192.0.2.7 8080

monitor/POLICY.md describes the file.";

const CHECK_EXAMPLES: &str = "\
Examples:
  Scan what the policy names, and say what is not as it should be:
    halfopen policy check
  The same of a scan that is there, for a build server:
    halfopen policy check scan.jsonl --format junit > report.xml
  By what the monitor knows:
    halfopen policy check --history /var/lib/halfopen/monitor.db
  Under a scope, with only the thousand most telling of the ports that no rule names:
    halfopen policy check --unlisted-ports 1-1000 -- --scope scope.toml

Exit codes: 0 compliant, 1 violated at or above --fail-on, 2 the command line or the policy is wrong, 3 the scan did not run or \
something else went wrong, 4 inconclusive (less is known than --min-coverage, or hosts are down), 5 nothing but exceptions that \
have ended or are stale; 130 interrupted.";

const INIT_EXAMPLES: &str = "\
Examples:
  halfopen policy init --from-scan scan.jsonl > policy.toml
  halfopen policy init --from-history monitor.db > policy.toml";

const TEST_EXAMPLES: &str = "\
Examples:
  A scan from before the firewall was set up breaks exactly these rules:
    halfopen policy test before.jsonl --expect violated --violates web-public --violates db
  And one from after it none:
    halfopen policy test after.jsonl

Exit codes: 0 as expected, 1 not, 2 the command line or the policy is wrong, 3 something else went wrong.";

/// `halfopen policy`, as typed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Draft a policy from what is so now, to be read and corrected
    Init(InitArgs),
    /// Say what is not as the policy says: by a scan made now, a stored scan, or the history
    Check(CheckArgs),
    /// Say which rule a port falls under, and why
    Explain(ExplainArgs),
    /// Try a policy on a stored scan, and say whether it comes out as expected
    Test(TestArgs),
}

/// Which policy.
#[derive(Debug, Args)]
struct FileArgs {
    /// The policy
    #[arg(short, long, value_name = "FILE", default_value = "policy.toml")]
    policy: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = INIT_EXAMPLES)]
struct InitArgs {
    /// From this stored scan
    #[arg(long, value_name = "FILE", required_unless_present = "from_history")]
    from_scan: Option<PathBuf>,

    /// From what the monitor knows: its database
    #[arg(long, value_name = "FILE", conflicts_with = "from_scan")]
    from_history: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
struct CheckArgs {
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    source: SourceArgs,

    /// How it is told
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Which violations count: of this severity or a worse one
    #[arg(long, value_name = "SEVERITY", value_enum, default_value_t = FailOn::Warning)]
    fail_on: FailOn,

    /// How much must be known of the ports that rules name: 95% or 0.95
    #[arg(long, value_name = "SHARE", default_value = "100%", value_parser = values::share)]
    min_coverage: f64,

    /// End with 0 whatever comes out; errors are errors all the same
    #[arg(long)]
    exit_zero: bool,
}

#[derive(Debug, Args)]
#[command(after_help = TEST_EXAMPLES)]
struct TestArgs {
    #[command(flatten)]
    file: FileArgs,

    /// The stored scan: a file of any form but human
    #[arg(value_name = "SCAN")]
    scan: PathBuf,

    /// What is expected to come out, whatever the severity
    #[arg(long, value_name = "OUTCOME", value_enum, default_value_t = Expected::Compliant)]
    expect: Expected,

    /// A rule that is expected to be violated: these and no others (repeatable)
    #[arg(long, value_name = "RULE")]
    violates: Vec<String>,
}

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: what is wrong, and what was not looked at
    Text,
    /// One object with every check
    Json,
    /// JUnit's XML, for build servers
    Junit,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

/// `--fail-on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Info,
    Warning,
    Critical,
}

/// `--expect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Expected {
    /// Everything is known and as it should be; exceptions that are of no use do not count
    Compliant,
    /// Something is not
    Violated,
    /// Nothing is known to be wrong, but not enough is known
    Inconclusive,
}

const VIOLATED: u8 = 1;
const RUNTIME: u8 = 3;
const INCONCLUSIVE: u8 = 4;
const EXCEPTIONS: u8 = 5;

/// Does what was asked. What hinders it is told from what it finds by the exit code.
pub(crate) fn run(args: &PolicyArgs) -> Result<u8, Failure> {
    match dispatch(&args.command) {
        Err(failure) if failure.is_runtime() => {
            failure.report();
            Ok(RUNTIME)
        }
        result => result,
    }
}

fn dispatch(command: &PolicyCommand) -> Result<u8, Failure> {
    match command {
        PolicyCommand::Init(args) => init(args),
        PolicyCommand::Check(args) => check(args),
        PolicyCommand::Explain(args) => explain::run(args),
        PolicyCommand::Test(args) => test(args),
    }
}

fn init(args: &InitArgs) -> Result<u8, Failure> {
    let (name, source) = match (&args.from_scan, &args.from_history) {
        (Some(scan), _) => (scan, source::stored(scan)?),
        (None, Some(history)) => (history, source::history(history)?),
        (None, None) => return Err(Failure::Setting("init: give --from-scan FILE or --from-history FILE".into())),
    };
    let asked = source.asked();
    if asked.is_empty() {
        let what =
            "does not say what was covered, and so not what is closed; give jsonl, json, xml or sqlite of a scan";
        return Err(Failure::Setting(format!("{}: {what}", name.display())));
    }
    let text = policy::draft(&name.display().to_string(), source.hosts(), &asked, &*source.knowledge());
    print(&text)
}

fn check(args: &CheckArgs) -> Result<u8, Failure> {
    let policy = read(&args.file)?;
    let source = match source::of(&args.source, &policy)? {
        source::Found::Source(source) => source,
        source::Found::Ended(code) => return Ok(code),
    };
    let knowledge = source.knowledge();
    let assessment = Assessment::of(&policy, &*knowledge, Timestamp::now());
    let measure = assessment.measure(args.fail_on.severity(), args.min_coverage);
    let verdict = assessment.verdict(&measure);
    print(&match args.format {
        Format::Text => text::report(&assessment, verdict),
        Format::Json => policy::json(&assessment, verdict),
        Format::Junit => policy::junit(&assessment, &measure),
        Format::Sarif => policy::sarif(&assessment, &measure),
    })?;
    Ok(if args.exit_zero { DONE } else { code(verdict) })
}

fn test(args: &TestArgs) -> Result<u8, Failure> {
    let policy = read(&args.file)?;
    let known = |id: &&String| policy.rules().iter().any(|rule| rule.id == **id);
    if let Some(unknown) = args.violates.iter().find(|id| !known(id)) {
        return Err(Failure::Setting(format!("--violates {unknown}: {} has no such rule", policy.name())));
    }
    let source = source::stored(&args.scan)?;
    let knowledge = source.knowledge();
    let assessment = Assessment::of(&policy, &*knowledge, Timestamp::now());
    let differences = text::differences(&assessment, args.expect.verdict(), &args.violates);
    print(&differences)?;
    Ok(if differences.starts_with("as expected") { DONE } else { VIOLATED })
}

fn read(file: &FileArgs) -> Result<Policy, Failure> {
    Policy::read(&file.policy, &system_resolver).map_err(failed)
}

/// What is wrong with a policy is the user's to mend; that a name has no address now is not.
pub(super) fn failed(error: policy::Error) -> Failure {
    match error {
        policy::Error::File(error) => error.into(),
        policy::Error::Resolve(what) => Failure::Machine(what),
        error => Failure::Setting(error.to_string()),
    }
}

fn print(text: &str) -> Result<u8, Failure> {
    screen::print(text).map_err(failure::stdout)?;
    Ok(DONE)
}

fn code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Compliant => DONE,
        Verdict::Violated => VIOLATED,
        Verdict::Inconclusive => INCONCLUSIVE,
        Verdict::Exceptions => EXCEPTIONS,
    }
}

impl FailOn {
    fn severity(self) -> Severity {
        match self {
            FailOn::Info => Severity::Info,
            FailOn::Warning => Severity::Warning,
            FailOn::Critical => Severity::Critical,
        }
    }
}

impl Expected {
    fn verdict(self) -> Verdict {
        match self {
            Expected::Compliant => Verdict::Compliant,
            Expected::Violated => Verdict::Violated,
            Expected::Inconclusive => Verdict::Inconclusive,
        }
    }
}
