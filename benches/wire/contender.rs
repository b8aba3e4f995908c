//! Who takes part, with the defaults of each but for the rate where it has none that suits, and how its results are read.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use halfopen_bench::beside::commands;
use halfopen_bench::beside::findings::Findings;
use halfopen_bench::beside::plan::Plan;

/// Who takes part; where there is a number, it is the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    Halfopen,
    Nmap,
    Masscan(u32),
    Zmap(u32),
}

impl Contender {
    /// All, in the order of the tables.
    pub(crate) const ALL: [Contender; 5] = [
        Contender::Halfopen,
        Contender::Nmap,
        Contender::Masscan(10_000),
        Contender::Masscan(100_000),
        Contender::Zmap(10_000),
    ];

    /// Its name in the tables.
    pub(crate) fn name(self) -> String {
        match self {
            Contender::Halfopen => "halfopen".into(),
            Contender::Nmap => "nmap -T4".into(),
            Contender::Masscan(rate) => format!("masscan {}k", rate / 1000),
            Contender::Zmap(rate) => format!("zmap {}k", rate / 1000),
        }
    }

    /// The program to look for; none for the one that is built beside this.
    pub(crate) fn program(self) -> Option<&'static str> {
        match self {
            Contender::Halfopen => None,
            Contender::Nmap => Some("nmap"),
            Contender::Masscan(_) => Some("masscan"),
            Contender::Zmap(_) => Some("zmap"),
        }
    }

    /// What its results say.
    pub(crate) fn findings(self, results: &str) -> Findings {
        match self {
            Contender::Halfopen => Findings::of_jsonl(results),
            Contender::Nmap => Findings::of_nmap(results),
            Contender::Masscan(_) => Findings::of_masscan(results),
            Contender::Zmap(_) => Findings::of_zmap(results),
        }
    }
}

/// Where the programs are that are not installed.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) halfopen: PathBuf,
}

impl Programs {
    /// The command line for a plan; findings go to `results`. All are asked for closed ports too.
    pub(crate) fn command(&self, contender: Contender, plan: &Plan, results: &Path) -> io::Result<Command> {
        let mut command = match contender {
            Contender::Halfopen => {
                let mut command = self.scan(plan);
                command.args(["--output", "jsonl", "--show", "open,closed"]).stdout(File::create(results)?);
                return Ok(command);
            }
            Contender::Nmap => commands::nmap(plan, results),
            Contender::Masscan(rate) => {
                let mut command = commands::masscan(plan, rate, results);
                command.args(["--show", "closed"]);
                command
            }
            Contender::Zmap(rate) => commands::zmap(plan, rate, "repeat = 0", "saddr,sport,classification", results),
        };
        command.stdout(Stdio::null());
        Ok(command)
    }

    /// halfopen, with its defaults; but every target is probed, as by the others: hosts of these networks need not answer
    /// what discovery asks.
    pub(crate) fn scan(&self, plan: &Plan) -> Command {
        let mut command = Command::new(&self.halfopen);
        command.args(["scan", &plan.prefix(), "-p", &plan.ports(), "--discover", "off"]);
        command
    }
}
