//! A network's runs as a table in Markdown.

use std::fmt::{self, Display};

use halfopen_bench::beside::series::{number, percent};

use crate::contender::Contender;
use crate::measure::Series;
use crate::network::Network;

/// A network and its runs.
pub(crate) struct Table {
    pub(crate) network: Network,
    pub(crate) rows: Vec<Series>,
}

const HEAD: &str = "\
| | open found, % | false open | closed found, % | false closed | whole command, s | × nmap | probes a target | lost on the way out, % |
|---|---|---|---|---|---|---|---|---|";

impl Table {
    /// Somebody's runs.
    pub(crate) fn row(&self, contender: Contender) -> Option<&Series> {
        self.rows.iter().find(|row| row.contender == contender)
    }

    /// How many times somebody is as fast as nmap, by the medians.
    pub(crate) fn faster(&self, row: &Series) -> Option<f64> {
        Some(wall(self.row(Contender::Nmap)?)? / wall(row)?)
    }

    fn line(&self, row: &Series) -> String {
        let cells = [
            row.contender.name(),
            row.cell(2, |run| run.open.share.map(percent)),
            row.cell(0, |run| run.open.wrong),
            row.cell(2, |run| run.closed.share.map(percent)),
            row.cell(0, |run| run.closed.wrong),
            wall_cell(row),
            number(self.faster(row), 2),
            row.cell(2, |run| Some(run.probes)),
            row.cell(1, |run| Some(run.lost * 100.0)),
        ];
        format!("| {} |", cells.join(" | "))
    }
}

/// The middle of the times, with that of the limit for a run that was ended.
pub(crate) fn wall(row: &Series) -> Option<f64> {
    row.median(|run| Some(run.wall))
}

/// A run that was ended took longer than it says.
fn wall_cell(row: &Series) -> String {
    let cell = row.cell(2, |run| Some(run.wall));
    if row.runs.iter().any(|run| run.ended) { format!("> {cell}") } else { cell }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n\n{}\n\n{HEAD}", self.network.title(), self.network.remark())?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{}", self.line(row)))?;
        for row in &self.rows {
            for remark in row.remarks(|run| run.remark.as_deref()) {
                writeln!(f, "\n{}: {remark}", row.contender.name())?;
            }
        }
        Ok(())
    }
}
