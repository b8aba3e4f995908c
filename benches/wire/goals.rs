//! What halfopen is meant to reach beside nmap on bad networks, held against the tables.

use std::fmt::{self, Display};

use crate::contender::Contender;
use crate::measure::{Measure, Series};
use crate::table::{Table, wall};

/// A goal and what came of it.
struct Goal {
    what: String,
    wanted: String,
    measured: String,
    /// None: not measured.
    reached: Option<bool>,
}

/// All goals, network by network.
pub(crate) struct Goals(Vec<Goal>);

/// How many times faster than nmap.
const FASTER: f64 = 5.0;

/// Of the time that a limit of resets forces.
const FORCED: f64 = 1.2;

impl Goals {
    /// Held against these tables.
    pub(crate) fn of(tables: &[Table]) -> Goals {
        Goals(tables.iter().flat_map(of_table).collect())
    }
}

fn of_table(table: &Table) -> Vec<Goal> {
    let Some(own) = table.row(Contender::Halfopen) else { return Vec::new() };
    let forced = table.network.forced();
    let beside = match forced {
        None => vec![found_beside(table, own), faster(table, own)],
        Some(forced) => vec![all_found(table, own), within(table, own, forced)],
    };
    beside.into_iter().chain([none_false(table, own)]).collect()
}

fn found(row: &Series) -> Option<f64> {
    row.median(|run| run.open.share)
}

fn found_beside(table: &Table, own: &Series) -> Goal {
    let shares = found(own).zip(table.row(Contender::Nmap).and_then(found));
    Goal {
        what: format!("{}: open targets found", table.network.key),
        wanted: "at least nmap's share".into(),
        measured: said(shares.map(|(own, nmap)| format!("{:.3} %, nmap {:.3} %", own * 100.0, nmap * 100.0))),
        reached: shares.map(|(own, nmap)| own >= nmap),
    }
}

fn faster(table: &Table, own: &Series) -> Goal {
    let ratio = table.faster(own);
    let nmap = table.row(Contender::Nmap);
    let ended = nmap.is_some_and(|row| row.runs.iter().any(|run| run.ended));
    let at_least = if ended { "at least " } else { "" };
    Goal {
        what: format!("{}: time of nmap / halfopen", table.network.key),
        wanted: format!("at least {FASTER}"),
        measured: said(ratio.map(|ratio| format!("{at_least}{ratio:.2}"))),
        reached: ratio.map(|ratio| ratio >= FASTER),
    }
}

fn all_found(table: &Table, own: &Series) -> Goal {
    let least = own.spread(|run| run.open.share).map(|spread| spread.least);
    Goal {
        what: format!("{}: open targets found in the worst run", table.network.key),
        wanted: "all".into(),
        measured: said(least.map(|share| format!("{:.3} %", share * 100.0))),
        reached: least.map(|share| share >= 1.0),
    }
}

fn within(table: &Table, own: &Series, forced: f64) -> Goal {
    let ratio = wall(own).map(|wall| wall / forced);
    Goal {
        what: format!("{}: time / the {forced:.0} s that the limit of resets forces", table.network.key),
        wanted: format!("at most {FORCED}"),
        measured: said(ratio.map(|ratio| format!("{ratio:.2}"))),
        reached: ratio.map(|ratio| ratio <= FORCED),
    }
}

fn none_false(table: &Table, own: &Series) -> Goal {
    let wrong = |run: &Measure| Some(run.open.wrong? + run.closed.wrong?);
    let most = own.spread(wrong).map(|spread| spread.greatest);
    Goal {
        what: format!("{}: targets called open or closed that are not, in the worst run", table.network.key),
        wanted: "none".into(),
        measured: said(most.map(|most| most.to_string())),
        reached: most.map(|most| most == 0.0),
    }
}

fn said(measured: Option<String>) -> String {
    measured.unwrap_or_else(|| "–".into())
}

impl Display for Goals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## Reached?\n\n| goal | wanted | measured | |\n|---|---|---|---|")?;
        self.0.iter().try_for_each(|goal| writeln!(f, "{goal}"))
    }
}

impl Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Goal { what, wanted, measured, reached } = self;
        let verdict = match reached {
            None => "not measured",
            Some(true) => "yes",
            Some(false) => "no",
        };
        write!(f, "| {what} | {wanted} | {measured} | {verdict} |")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Judged;
    use crate::network::{Key, Network};

    fn series(contender: Contender, wall: f64, share: Option<f64>) -> Series {
        let judged = |share| Judged { share, wrong: share.map(|_| 0.0) };
        let run =
            Measure { wall, ended: share.is_none(), open: judged(share), closed: judged(share), ..Measure::default() };
        Series { contender, runs: vec![run] }
    }

    fn verdicts(key: Key, own: (f64, f64), nmap: (f64, Option<f64>)) -> Vec<String> {
        let rows = vec![series(Contender::Halfopen, own.0, Some(own.1)), series(Contender::Nmap, nmap.0, nmap.1)];
        let goals = Goals::of(&[Table { network: Network::of(key), rows }]).to_string();
        let verdict = |line: &str| line.trim_end_matches(" |").rsplit("| ").next().unwrap().to_string();
        goals.lines().skip(4).map(verdict).collect()
    }

    #[test]
    fn nmap_is_to_be_outdone_in_both() {
        assert_eq!(verdicts(Key::Loss5, (10.0, 0.99), (50.0, Some(0.99))), ["yes", "yes", "yes"]);
        assert_eq!(verdicts(Key::Loss5, (10.1, 0.98), (50.0, Some(0.99))), ["no", "no", "yes"]);
    }

    #[test]
    fn what_nmap_found_when_it_was_ended_is_not_known() {
        assert_eq!(verdicts(Key::Loss5, (10.0, 0.99), (600.0, None)), ["not measured", "yes", "yes"]);
    }

    #[test]
    fn a_limit_of_resets_is_the_measure_of_time() {
        assert_eq!(verdicts(Key::Resets, (157.0, 1.0), (600.0, None)), ["yes", "yes", "yes"]);
        assert_eq!(verdicts(Key::Resets, (158.0, 0.999), (600.0, None)), ["no", "no", "yes"]);
    }
}
