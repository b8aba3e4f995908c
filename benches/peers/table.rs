//! A scenario's runs as a table in Markdown.

use std::fmt::{self, Display};

use halfopen_bench::beside::series::{number, percent};

use crate::measure::Series;
use crate::scenario::Scenario;

/// A scenario and its runs.
pub(crate) struct Table {
    pub(crate) scenario: Scenario,
    pub(crate) rows: Vec<Series>,
}

const HEAD: &str = "\
| | 1000 probes/s | × best peer | probes a target | whole command, s | × best peer | open ports found, % | false opens | processor, s | memory, MiB |
|---|---|---|---|---|---|---|---|---|---|";

impl Table {
    /// The best peer's rate.
    pub(crate) fn best_rate(&self) -> Option<(&Series, f64)> {
        let peers = self.rows.iter().filter(|row| row.contender.is_peer());
        let rates = peers.filter_map(|row| Some((row, row.median(|run| run.rate)?)));
        rates.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The best peer's time.
    pub(crate) fn best_wall(&self) -> Option<(&Series, f64)> {
        let peers = self.rows.iter().filter(|row| row.contender.is_peer());
        let walls = peers.filter_map(|row| Some((row, row.median(|run| run.wall)?)));
        walls.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn line(&self, row: &Series) -> String {
        let rate = row.median(|run| run.rate).zip(self.best_rate()).map(|(own, (_, best))| own / best);
        let wall = row.median(|run| run.wall).zip(self.best_wall()).map(|(own, (_, best))| best / own);
        let wall = wall.filter(|_| row.contender.is_scanner());
        let cells = [
            row.contender.name(),
            row.cell(0, |run| Some(run.rate? / 1000.0)),
            number(rate, 2),
            row.cell(2, |run| run.probes),
            row.cell(2, |run| run.wall),
            number(wall, 2),
            row.cell(2, |run| run.found.map(percent)),
            row.cell(0, |run| run.false_opens),
            row.cell(2, |run| run.processor),
            row.cell(0, |run| run.memory),
        ];
        format!("| {} |", cells.join(" | "))
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n\n{HEAD}", self.scenario.title())?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{}", self.line(row)))?;
        for row in &self.rows {
            for failure in row.remarks(|run| run.failure.as_deref()) {
                writeln!(f, "\n{} failed: {failure}", row.contender.name())?;
            }
        }
        Ok(())
    }
}
