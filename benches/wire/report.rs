//! The whole account: where and how it was made, what the figures mean, the tables, and what was reached.

use std::fmt::{self, Display};
use std::io;

use halfopen_bench::machine;

use crate::args::Args;
use crate::goals::Goals;
use crate::table::Table;

/// A run of this program.
pub(crate) struct Report<'a> {
    pub(crate) machine: String,
    pub(crate) versions: String,
    pub(crate) args: &'a Args,
    /// Probes a second that the far end can take.
    pub(crate) capacity: Option<f64>,
    pub(crate) tables: Vec<Table>,
}

const MEANING: &str = "\
Figures are the median of all rounds, with the least and the greatest in brackets. Each round has another seed, which
decides who is open and what is lost; within a round all programs meet the same hosts, each on a stage of its own.

- open found, closed found: of all that are so, with the retransmissions that are the program's default. False: targets
  said to be so that are not.
- whole command: from the start of the program to its end, with the waits that are its default. A run that takes longer
  than the limit is ended, and `>` stands before the time; what it found is then not known.
- × nmap: how many times as fast as nmap, by the medians.
- probes a target: SYNs that came through the wire for each target. Lost on the way out: of the frames that left, RSTs
  and ARP included.
- Delay is of the whole round trip; loss falls on each packet by itself, each way, unless it says otherwise.
- halfopen has its defaults but `--discover off`, as nmap has `-Pn`. nmap has `-sS -T4 -n -Pn`, masscan and zmap the rate in their names, all else is default.
";

impl Report<'_> {
    /// Keeps it among the recorded runs.
    pub(crate) fn save(&self) -> io::Result<()> {
        machine::record("wire", &self.to_string())
    }
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { machine, versions, args, capacity, tables } = self;
        writeln!(f, "# {}, on bad networks beside other scanners\n", machine::date())?;
        writeln!(f, "Machine: {machine}. Programs: {versions}.")?;
        writeln!(f, "Command: `{}`.", args.command())?;
        let capacity = capacity.unwrap_or_default() / 1000.0;
        writeln!(
            f,
            "Scanner and targets are namespaces joined by a veth pair; at its far end the lab's phantoms answer, in user space, \
             and what happens to packets on the way happens there. They take {capacity:.0}k probes a second of a scanner that \
             is busy beside them.\n"
        )?;
        writeln!(f, "{MEANING}")?;
        tables.iter().try_for_each(|table| writeln!(f, "{table}"))?;
        write!(f, "{}", Goals::of(tables))
    }
}
