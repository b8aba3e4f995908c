//! The whole account: where and how it was made, what the figures mean, the tables.

use std::fmt::{self, Display};
use std::io;

use halfopen_bench::machine;

use crate::args::Args;
use crate::table::Table;

/// A run of this program.
pub(crate) struct Report<'a> {
    pub(crate) args: &'a Args,
    pub(crate) tables: Vec<Table>,
}

const MEANING: &str = "\
Simulated networks, whose truth is known, in virtual time. 1,000 hosts x 100 ports (1,000 ports before a narrow link), 2 %
of the ports open, 23 % closed, the others silent, 20 ms away, unless the title says otherwise. Figures are means over the
seeds; a seed decides hosts, chance and order, and is the same for all contenders.

- open found: of all that are open; worst: with the worst seed. Cut off, not rounded: 100 means all.
- false open, false closed: targets said to be so that are not. missed closed: closed ones called filtered.
- probes: SYNs sent. time: until the last verdict, waits included.
- open missed: open targets not found. stated: how many that are by halfopen's own word, with its 95 % interval. interval
  held: how often the interval held the true number.
- after 5 s: probes a second without pauses, and the share of them that was lost on the way out.
- fixed: one probe a target at that rate, then 10 s for late answers, as masscan and zmap do. nmap -T4: the algorithm of
  `nmap -sS -T4 -n -Pn` (host groups, congestion windows, timeouts, tries, timing pings, scan delay, rate limit
  detection), played without what its own processing takes. halfopen: its defaults.
";

impl Report<'_> {
    /// Keeps it among the recorded runs.
    pub(crate) fn save(&self) -> io::Result<()> {
        machine::record("accuracy", &self.to_string())
    }
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {}, how much is found on bad networks\n", machine::date())?;
        writeln!(f, "Command: `{}`.\n\n{MEANING}", self.args.command())?;
        self.tables.iter().try_for_each(|table| writeln!(f, "{table}"))
    }
}
