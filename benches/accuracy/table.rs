//! A network's scans as a table in Markdown.

use std::fmt::{self, Display};

use halfopen::Interval;

use crate::outcome::Outcome;
use crate::scene::Scene;
use crate::series::Series;

/// A network and who scanned it.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) scene: Scene,
    pub(crate) rows: Vec<Series>,
}

const HEAD: &str = "| | open found, % | worst, % | false open | false closed | missed closed | probes | a target | \
                    time, s | open missed | stated | interval held |";
const RULE: &str = "|---|---|---|---|---|---|---|---|---|---|---|---|";
const HEAD_NARROW: &str = " 1000 probes/s after 5 s | lost then, % |";

impl Table {
    fn line(&self, row: &Series) -> String {
        let count = |figure: fn(&Outcome) -> u64| number(row.mean(|outcome| Some(figure(outcome) as f64)), 1);
        let mut cells = vec![
            row.contender.name(),
            percent(row.mean(|outcome| Some(outcome.found()))),
            percent(row.least(Outcome::found)),
            count(|outcome| outcome.differences.false_open),
            count(|outcome| outcome.differences.false_closed),
            count(|outcome| outcome.differences.missed_closed),
            number(row.mean(|outcome| Some(outcome.probes as f64)), 0),
            number(row.mean(|outcome| Some(outcome.probes as f64 / outcome.targets as f64)), 2),
            number(row.mean(|outcome| Some(outcome.elapsed.as_secs_f64())), 2),
            count(Outcome::missing),
            stated(row).unwrap_or_else(nothing),
            row.held().map_or_else(nothing, |(held, of)| format!("{held} of {of}")),
        ];
        if self.scene.narrow {
            cells.push(number(row.mean(|outcome| Some(outcome.later?.rate / 1000.0)), 1));
            cells.push(number(row.mean(|outcome| Some(outcome.later?.loss * 100.0)), 2));
        }
        format!("| {} |", cells.join(" | "))
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (head, rule) = if self.scene.narrow { (HEAD_NARROW, "---|---|") } else { ("", "") };
        writeln!(f, "## {}: {}\n\n{HEAD}{head}\n{RULE}{rule}", self.scene.name, self.scene.title)?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{}", self.line(row)))
    }
}

/// `1.5 (0.2–4.1)`: the means of what was expected and of both ends of the interval.
fn stated(row: &Series) -> Option<String> {
    let mean = |part: fn(Interval) -> f64| row.mean(|outcome| outcome.stated.map(part));
    let (expected, low, high) = (mean(|it| it.expected)?, mean(|it| it.low)?, mean(|it| it.high)?);
    Some(format!("{expected:.1} ({low:.1}–{high:.1})"))
}

/// Cut off, not rounded: 100 means all.
fn percent(share: Option<f64>) -> String {
    number(share.map(|share| (share * 100_000.0).floor() / 1000.0), 3)
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(nothing, |value| format!("{value:.digits$}"))
}

fn nothing() -> String {
    "–".into()
}
