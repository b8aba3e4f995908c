//! What halfopen is meant to reach beside others, held against the tables.

use std::fmt::{self, Display};

use crate::bare::Loop;
use crate::contender::Contender;
use crate::measure::Series;
use crate::scenario::Key;
use crate::table::Table;

/// A goal and what came of it.
struct Goal {
    what: &'static str,
    least: f64,
    /// The ratio, and of whom.
    reached: Option<(f64, String)>,
    /// What else must hold.
    but: Option<String>,
}

/// All goals.
pub(crate) struct Goals(Vec<Goal>);

impl Goals {
    /// Held against these tables.
    pub(crate) fn of(tables: &[Table]) -> Goals {
        let table = |key| tables.iter().find(|table| table.scenario.key == key);
        let (none, percent, every) = (table(Key::None), table(Key::Percent), table(Key::Every));
        let goal = |what, least, reached| Goal { what, least, reached, but: None };
        let every_rate = every.and_then(best_link_by_rate);
        Goals(vec![
            goal("1 % answer: probes/s of the best link / best peer", 8.0, percent.and_then(fastest)),
            Goal {
                what: "every answers: probes/s of the best link / best peer, all open ports found, none false",
                least: 4.0,
                reached: every.and_then(fastest),
                but: every_rate.and_then(incomplete),
            },
            goal("none answers: af_xdp / best peer", 1.5, none.and_then(|table| to_peer(table, "af_xdp"))),
            goal("none answers: af_xdp / bare loop", 0.9, none.and_then(|table| to_bare(table, "af_xdp", Loop::AfXdp))),
            goal("none answers: af_packet / best peer", 1.1, none.and_then(|table| to_peer(table, "af_packet"))),
            goal(
                "none answers: xdp_live / bare loop",
                0.8,
                none.and_then(|table| to_bare(table, "xdp_live", Loop::LiveFrames)),
            ),
            goal("whole command: time of the best peer / best link", 5.0, table(Key::Whole).and_then(quickest)),
            goal(
                "small plan, 1 % answer: time of nmap / best link",
                10.0,
                table(Key::Small).and_then(quicker_than_nmap),
            ),
            goal(
                "small plan, every answers: time of nmap / best link",
                10.0,
                table(Key::SmallEvery).and_then(quicker_than_nmap),
            ),
        ])
    }
}

fn links(table: &Table) -> impl Iterator<Item = &Series> {
    table.rows.iter().filter(|row| matches!(row.contender, Contender::Halfopen(_)))
}

fn link<'a>(table: &'a Table, name: &str) -> Option<&'a Series> {
    links(table).find(|row| matches!(row.contender, Contender::Halfopen(link) if link.name == name))
}

fn rate(row: &Series) -> Option<f64> {
    row.median(|run| run.rate)
}

fn wall(row: &Series) -> Option<f64> {
    row.median(|run| run.wall)
}

fn best_link_by_rate(table: &Table) -> Option<&Series> {
    let rated = links(table).filter_map(|row| Some((row, rate(row)?)));
    rated.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(row, _)| row)
}

fn ratio(own: &Series, other: &Series, of: fn(&Series) -> Option<f64>) -> Option<(f64, String)> {
    let ratio = of(own)? / of(other)?;
    Some((ratio, format!("{} / {}", own.contender.name(), other.contender.name())))
}

fn fastest(table: &Table) -> Option<(f64, String)> {
    ratio(best_link_by_rate(table)?, table.best_rate()?.0, rate)
}

fn to_peer(table: &Table, name: &str) -> Option<(f64, String)> {
    ratio(link(table, name)?, table.best_rate()?.0, rate)
}

fn to_bare(table: &Table, name: &str, means: Loop) -> Option<(f64, String)> {
    let bare = table.rows.iter().find(|row| row.contender == Contender::Bare(means))?;
    ratio(link(table, name)?, bare, rate)
}

fn quickest_link(table: &Table) -> Option<&Series> {
    let timed = links(table).filter_map(|row| Some((row, wall(row)?)));
    timed.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(row, _)| row)
}

fn quickest(table: &Table) -> Option<(f64, String)> {
    ratio(table.best_wall()?.0, quickest_link(table)?, wall)
}

fn quicker_than_nmap(table: &Table) -> Option<(f64, String)> {
    let nmap = table.rows.iter().find(|row| row.contender == Contender::Nmap)?;
    ratio(nmap, quickest_link(table)?, wall)
}

/// What a series lacks of finding all open ports and no others, in its worst run.
fn incomplete(row: &Series) -> Option<String> {
    let found = row.spread(|run| run.found)?.least;
    let wrong = row.spread(|run| run.false_opens)?.greatest;
    (found < 1.0 || wrong > 0.0).then(|| format!("only {:.3} % found, {wrong} false, in the worst run", found * 100.0))
}

impl Display for Goals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## Reached?\n\n| goal | at least | measured | |\n|---|---|---|---|")?;
        self.0.iter().try_for_each(|goal| writeln!(f, "{goal}"))
    }
}

impl Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Goal { what, least, reached, but } = self;
        let (measured, verdict) = match (reached, but) {
            (None, _) => ("–".into(), "not measured".into()),
            (Some((ratio, of)), None) if ratio >= least => (format!("{ratio:.2} ({of})"), "yes".into()),
            (Some((ratio, of)), None) => (format!("{ratio:.2} ({of})"), "no".into()),
            (Some((ratio, of)), Some(but)) => (format!("{ratio:.2} ({of})"), format!("no: {but}")),
        };
        write!(f, "| {what} | {least} | {measured} | {verdict} |")
    }
}

#[cfg(test)]
mod tests {
    use halfopen_bench::beside::plan::Plan;
    use halfopen_lab::Answering;

    use super::*;
    use crate::contender::LINKS;
    use crate::measure::Measure;
    use crate::scenario::Scenario;

    fn every(found: f64) -> Table {
        let series = |contender, rate, found| {
            let (rate, found) = (Some(rate), Some(found));
            let run = Measure { rate, found, wall: Some(1.0), false_opens: Some(0.0), ..Measure::default() };
            Series { contender, runs: vec![run] }
        };
        let rows = vec![
            series(Contender::Halfopen(LINKS[0]), 3e6, found),
            series(Contender::Masscan, 0.5e6, 0.9),
            series(Contender::Zmap, 0.3e6, 1.0),
        ];
        let scenario = Scenario { key: Key::Every, answering: Answering::Every, plan: Plan::wide(256) };
        Table { scenario, rows }
    }

    fn line(found: f64) -> String {
        Goals::of(&[every(found)])
            .to_string()
            .lines()
            .find(|line| line.contains("every answers: probes"))
            .unwrap()
            .into()
    }

    #[test]
    fn a_goal_is_reached_by_the_best_against_the_best() {
        assert!(line(1.0).ends_with("| 4 | 6.00 (halfopen af_packet / masscan) | yes |"), "{}", line(1.0));
    }

    #[test]
    fn speed_that_misses_ports_reaches_nothing() {
        assert!(line(0.999).ends_with("| no: only 99.900 % found, 0 false, in the worst run |"), "{}", line(0.999));
    }

    #[test]
    fn what_was_not_measured_is_not_reached() {
        let goals = Goals::of(&[]).to_string();
        assert_eq!(goals.lines().skip(4).filter(|line| line.ends_with("| – | not measured |")).count(), 9);
    }
}
