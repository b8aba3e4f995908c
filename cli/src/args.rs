//! The command line and its help; the options of a scan are in the file behind it. Values are checked one by one (`values`); environment and files count as if they had
//! been typed (`layers`); what the arguments mean together, and with the terminal, is for `settings`.

mod scan;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::completion::CompletionArgs;
use crate::config::ConfigArgs;
use crate::convert::ConvertArgs;
use crate::demo::DemoArgs;
use crate::diff::DiffArgs;
use crate::doctor::DoctorArgs;
use crate::explain::ExplainArgs;
use crate::failure::Failure;
use crate::layers::{self, Effective, Resolved, Unresolved, Variables};
use crate::man::ManArgs;
use crate::monitor::alert::AlertArgs;
use crate::monitor::changes::ChangesArgs;
use crate::monitor::database::DatabaseArgs;
use crate::monitor::events::EventsArgs;
use crate::monitor::history::HistoryArgs;
use crate::monitor::incidents::{AckArgs, IncidentsArgs, MuteArgs, ResolveArgs};
use crate::monitor::listeners::ListenersArgs;
use crate::monitor::policy::PolicyArgs;
use crate::monitor::scanner::ScannerArgs;
use crate::monitor::watch::WatchArgs;
use crate::report::ReportArgs;
use crate::resume::ResumeArgs;
use crate::version::VersionArgs;
use crate::{monitor, then};

pub(crate) use scan::{
    CooldownArg, DiscoverArg, FormArg, LinkArg, MethodArg, OutputArg, ReceiveArg, ResolveArg, ScanArgs, ShowArg,
    TargetArgs,
};

/// A command line, with what else counts.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// What to do.
    pub(crate) command: Command,
    /// The settings of that command, and where each is from.
    pub(crate) settings: Vec<Effective>,
    /// What looks like a mistake, but does no harm.
    pub(crate) warnings: Vec<String>,
}

/// Reads the program's arguments. What clap answers by itself (help, version, usage errors) is the error, like what is
/// wrong in the environment or a file.
pub(crate) fn parse(words: &[OsString], variables: &Variables) -> Result<Parsed, Unresolved> {
    let help = plea(words);
    match (read(words, variables), help.map(|words| definition().try_get_matches_from(words))) {
        // It is that of the very command, which may be one of a command's own.
        (Err(Unresolved::Answer(answer)), _) if answer.kind() == ErrorKind::DisplayHelp => {
            Err(Unresolved::Answer(answer))
        }
        // Help that was asked for comes before any complaint.
        (Err(_), Some(Err(help))) if help.kind() == ErrorKind::DisplayHelp => Err(Unresolved::Answer(help)),
        (parsed, _) => parsed,
    }
}

/// The whole command line: for reading, help, completions and manual pages.
pub(crate) fn definition() -> clap::Command {
    Cli::command()
}

/// A scan's arguments that were not typed as such; only the program's own defaults stand behind them.
pub(crate) fn scan(words: Vec<String>) -> Result<ScanArgs, Failure> {
    let words: Vec<_> = ["halfopen".into(), "scan".into()].into_iter().chain(words).map(OsString::from).collect();
    match read(&words, &Variables::default()) {
        Ok(Parsed { command: Command::Scan(args), .. }) => Ok(*args),
        Ok(_) => unreachable!("the second word is scan"),
        Err(Unresolved::Answer(answer)) => Err(Failure::Arguments(answer)),
        Err(Unresolved::Failure(failure)) => Err(*failure),
    }
}

fn read(words: &[OsString], variables: &Variables) -> Result<Parsed, Unresolved> {
    let Resolved { matches, settings, warnings } = layers::resolve(&definition(), words, variables)?;
    let Cli { command } = Cli::from_arg_matches(&matches).map_err(Unresolved::Answer)?;
    Ok(Parsed { command, settings, warnings })
}

/// The command line with nothing left of it but the command, with what belongs to it, and the wish for help, if it has one.
fn plea(words: &[OsString]) -> Option<Vec<OsString>> {
    let flag = words.iter().take_while(|word| *word != "--").find(|word| *word == "--help" || *word == "-h")?;
    Some(words.iter().take(1).chain(command_words(words)).chain([flag]).cloned().collect())
}

/// `alert` and `test`, of `halfopen alert test ops`.
pub(crate) fn command_words(words: &[OsString]) -> Vec<&OsString> {
    let (mut at, mut found) = (definition(), Vec::new());
    for word in words.iter().skip(1) {
        let next = word.to_str().and_then(|word| at.find_subcommand(word)).cloned();
        if let Some(next) = next {
            found.push(word);
            at = next;
        }
    }
    found
}

/// Finds open, closed and filtered TCP ports with half-open (SYN) scans.
///
/// For networks that you are responsible for or are authorised to test: halfopen never hides who is asking.
#[derive(Debug, Parser)]
#[command(name = "halfopen", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Example: halfopen scan 127.0.0.1 -p 1-1024", after_long_help = PROGRAM)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Scan addresses and ports, once
    ///
    /// Sends a SYN to every port of every target and says of each whether it is open, closed or filtered, and why.
    Scan(Box<ScanArgs>),
    /// Show the settings in effect, and where each comes from
    ///
    /// Takes every option of `halfopen scan`, and shows what would count.
    Config(Box<ConfigArgs>),
    /// Scan a private network of phantom hosts: needs no rights, and nothing leaves the machine
    ///
    /// Makes a network of its own (a network namespace) with hosts that lose packets, reject, ration, forge or keep silent,
    /// scans it for real, and holds what was found against what is true. It takes some seconds and leaves nothing behind.
    Demo(DemoArgs),
    /// Say what ports and services are for, and what to do about an open one
    ///
    /// In plain words: what a port is for, whether it is encrypted, what to use instead, what an open one means on a
    /// local network and on the Internet, and what to do.
    Explain(ExplainArgs),
    /// Compare two scans: hosts and ports that appeared, went, changed
    ///
    /// Reads what `halfopen scan -o` writes (the form is recognised), and nmap's XML. Only what both scans covered is compared:
    /// what was not probed is unknown, not closed. Exit codes: 0 nothing changed, 1 something did, 2 error, or nothing to compare.
    Diff(Box<DiffArgs>),
    /// Write a stored scan in another form
    ///
    /// Reads what `halfopen scan -o` writes, also what is left of a scan that was killed, and nmap's XML.
    Convert(ConvertArgs),
    /// Print a completion script for a shell
    Completion(CompletionArgs),
    /// Print a manual page, or write all of them
    Man(ManArgs),
    /// Print the version, and what this program was built with
    Version(VersionArgs),
    /// Say what on this machine helps or hinders scans, and what to do about it
    ///
    /// Rights, interfaces and the links that would work there, routes and gateways, limits, firewall, clock, other scanners.
    /// Sends nothing.
    Doctor(DoctorArgs),
    /// Make a page of scans for people: what was found, what needs attention, charts
    ///
    /// One file that loads nothing and prints well.
    Report(ReportArgs),
    /// Go on with a scan that was interrupted
    ///
    /// Needs the file that `halfopen scan --checkpoint FILE` has written: after Ctrl-C, a kill, a power cut. Nothing that was
    /// found is lost or found twice, at whatever rate.
    Resume(Box<ResumeArgs>),
    /// What a watched host's ports were, and when
    ///
    /// From the monitor's database: each state with the interval in which it held, and the reason for it.
    History(HistoryArgs),
    /// Which watched ports and hosts became different
    ///
    /// Changes that are sure, from the monitor's database, the oldest first.
    Changes(ChangesArgs),
    /// What the monitor sees, as JSON lines
    ///
    /// Changes and incidents by number, those of the past or as they happen: for other programs.
    Events(EventsArgs),
    /// What is going on: the incidents that are open
    Incidents(IncidentsArgs),
    /// Say that somebody takes care of an incident
    Ack(AckArgs),
    /// Have nobody told of an incident for some time
    Mute(MuteArgs),
    /// Say that an incident is over, or that things are to be so
    Resolve(ResolveArgs),
    /// Check, copy, prune or shrink the monitor's database
    Db(DatabaseArgs),
    /// Watch ports: scan groups of targets on their schedules, and keep the history
    ///
    /// A service, or with --once a job for a timer. What is scanned when stands in a file; each scan is made as `halfopen scan` would.
    Watch(WatchArgs),
    /// Scan for `halfopen watch`
    #[command(hide = true, name = "watch-scanner")]
    Scanner(ScannerArgs),
    /// Run commands of channels for `halfopen watch`
    #[command(hide = true, name = "watch-runner")]
    WatchRunner(monitor::runner::RunnerArgs),
    /// Run the commands of `halfopen scan --then`
    #[command(hide = true, name = "then-runner")]
    ThenRunner(then::runner::RunnerArgs),
    /// Try the monitor's channels, and show what was delivered
    ///
    /// Who is told what by which channel stands in the monitor's settings; what could not be delivered is kept, with the reason.
    Alert(AlertArgs),
    /// Show what listens on this machine, and who can reach it
    ///
    /// Ports with processes, users, containers and network namespaces, as ss -tulpn; with --against also what a scan from outside
    /// has reached of it, with --check what the policy does not allow. Sends nothing, and needs no rights.
    Listeners(Box<ListenersArgs>),
    /// Say whether ports are as a policy has them: draft, check, explain, test
    ///
    /// A policy is a file that says which ports must be open, closed or filtered, and why; with exceptions that end. It is held
    /// against a scan that is made now, a stored one, or the monitor's history.
    Policy(Box<PolicyArgs>),
}

const PROGRAM: &str = "\
Examples:
  The first 1024 ports of this machine:
    halfopen scan 127.0.0.1 -p 1-1024
  Everything about scans, with examples:
    halfopen scan --help
  What is set, and by whom:
    halfopen config

Environment:
  HALFOPEN_RATE and so on  the options of a scan, by their long names in capitals
  HALFOPEN_CONFIG          the file of settings, or none
  NO_COLOR                 no colours

Files:
  ~/.config/halfopen/config.toml  settings; $XDG_CONFIG_HOME in place of ~/.config where it is set";

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use halfopen::Rate;

    use super::*;

    fn scan(line: &str) -> Result<ScanArgs, String> {
        let words = ["halfopen", "scan"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words).map_err(|e| e.to_string())?.command {
            Command::Scan(args) => Ok(*args),
            other => panic!("{line} is {other:?}"),
        }
    }

    fn answer(words: &[&str]) -> ErrorKind {
        let words: Vec<_> = words.iter().map(OsString::from).collect();
        match parse(&words, &Variables::default()) {
            Err(Unresolved::Answer(answer)) => answer.kind(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults() {
        let args = scan("192.0.2.1").unwrap();
        assert_eq!(args.probing.rate, Rate::Auto);
        assert_eq!((args.probing.max_passes, args.probing.senders), (10, 1));
        assert_eq!(args.probing.seed, None);
        assert_eq!(args.probing.cooldown, CooldownArg::Auto);
        assert_eq!(args.probing.memory_limit, 256 << 20);
        assert!(args.output.output.is_empty() && args.output.fields.is_empty() && args.output.filter.is_none());
        assert!(args.output.show.is_empty() && args.network.source_ip.is_empty());
    }

    #[test]
    fn help_works_when_everything_else_is_broken() {
        for line in
            ["scan --rate 0 --help", "scan --nope -h", "scan -p --help --seed x", "--nope --help", "scan --help"]
        {
            let words: Vec<_> = ["halfopen"].into_iter().chain(line.split(' ')).collect();
            assert_eq!(answer(&words), ErrorKind::DisplayHelp, "{line}");
        }
        assert_eq!(answer(&["halfopen", "scan", "--rate", "0", "--", "--help"]), ErrorKind::ValueValidation);
    }

    #[test]
    fn ports_may_begin_with_a_hyphen() {
        for line in ["127.0.0.1 -p-", "127.0.0.1 -p -", "-p- 127.0.0.1", "127.0.0.1 --ports=-", "127.0.0.1 --ports -"] {
            let args = scan(line).unwrap();
            assert_eq!(
                (args.targets.targets, args.targets.ports),
                (vec!["127.0.0.1".into()], vec!["-".into()]),
                "{line}"
            );
        }
        assert_eq!(scan("::1 -p-1024 -p 8000-").unwrap().targets.ports, ["-1024", "8000-"]);
    }

    #[test]
    fn lists_and_repetitions() {
        let args = scan(
            "a b -i x -i - --exclude c --exclude d --source-ip ::1 --source-ip 127.0.0.1 --show open,closed --show down",
        );
        let args = args.unwrap();
        assert_eq!(args.targets.targets, ["a", "b"]);
        assert_eq!(args.targets.input, [PathBuf::from("x"), PathBuf::from("-")]);
        assert_eq!(args.targets.exclude, ["c", "d"]);
        assert_eq!(args.network.source_ip.len(), 2);
        assert_eq!(args.output.show, [ShowArg::Open, ShowArg::Closed, ShowArg::Down]);
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for line in [
            "--max-passes 0",
            "--max-passes 16",
            "--senders 0",
            "--senders 17",
            "--source-port 0",
            "--rate 0",
            "--seed -1",
            "--gateway-mac 1:2",
            "--show shut",
            "-o toml",
            "-o xml=",
            "--fields prot",
            "--filter port",
        ] {
            assert!(scan(line).is_err(), "{line}");
        }
    }
}
