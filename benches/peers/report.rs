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
    pub(crate) responder: String,
    pub(crate) tables: Vec<Table>,
}

const MEANING: &str = "\
Figures are the median of all rounds, with the least and the greatest in brackets.

- probes/s: SYNs that arrived at the far end, divided by the time from the first to the last of them without pauses (50 ms
  in which fewer than 64 came: what lies between two passes).
- whole command: from the start of the program to its end, with the waits that are its default.
- probes a target: SYNs that arrived for each target. What did not arrive was lost on the way, in a full ring of the link.
- open ports found: of all that are open, with the retransmissions that are the program's default. False opens: targets
  called open that are not.
- processor, memory: user and system time, and the largest resident set, as wait4(2) gives them, children included. What
  the kernel does for the far end falls on whoever is running.
- × best peer: how many times the best median among masscan, zmap and nmap.
- Everybody sends as fast as it can: halfopen `--rate max`, masscan `--rate 100000000`, zmap `--rate 0`, nmap `-T4 -n -Pn`;
  all else is default. The bare loops send one constant frame, once for each target, and listen to nothing.
";

impl Report<'_> {
    /// Keeps it among the recorded runs.
    pub(crate) fn save(&self) -> io::Result<()> {
        machine::record("peers", &self.to_string())
    }
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { machine, versions, args, responder, tables } = self;
        writeln!(f, "# {}, side by side with other scanners\n", machine::date())?;
        writeln!(f, "Machine: {machine}. Programs: {versions}.")?;
        writeln!(f, "Command: `{}`.", args.command())?;
        writeln!(
            f,
            "Scanner and targets are namespaces joined by a veth pair. What answers at the far end: {responder}.\n"
        )?;
        writeln!(f, "{MEANING}")?;
        tables.iter().try_for_each(|table| writeln!(f, "{table}"))?;
        write!(f, "{}", Goals::of(tables))
    }
}
