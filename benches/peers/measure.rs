//! What one run of one program came to, and what several came to together.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::child::{self, Run};
use crate::contender::{Contender, Programs};
use crate::findings;
use crate::plan::Plan;
use crate::stage::Stage;

/// One run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measure {
    /// A second, while they arrived at the far end.
    pub(crate) rate: Option<f64>,
    /// For each target.
    pub(crate) probes: Option<f64>,
    /// Of the whole command, in seconds.
    pub(crate) wall: Option<f64>,
    /// The share of the open targets.
    pub(crate) found: Option<f64>,
    /// Targets said to be open that are not.
    pub(crate) false_opens: Option<f64>,
    /// User and system, in seconds.
    pub(crate) processor: Option<f64>,
    /// The most, in MiB.
    pub(crate) memory: Option<f64>,
    /// Why there is nothing.
    pub(crate) failure: Option<String>,
}

/// A program that takes longer hangs, or is of no use here: nmap takes a minute and a half for its share.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs a program once on the stage.
pub(crate) fn measure(stage: &Stage, programs: &Programs, contender: Contender, plan: &Plan) -> io::Result<Measure> {
    let place = tempfile::tempdir()?;
    let (results, errors) = (place.path().join("results"), place.path().join("errors"));
    stage.reset();
    let mut command = programs.command(contender, plan, &results)?;
    let run = child::run(&mut command, &errors, LIMIT, &|| stage.tick())?;
    let mut measure = cost(stage, &run, plan);
    match failure(&run, &errors) {
        None if contender.is_scanner() => judge(&mut measure, stage, contender, plan, &results),
        None => {}
        failure => measure = Measure { failure, ..Measure::default() },
    }
    Ok(measure)
}

fn cost(stage: &Stage, run: &Run, plan: &Plan) -> Measure {
    let arrived = stage.arrived();
    Measure {
        rate: arrived.rate,
        probes: Some(arrived.probes as f64 / f64::from(plan.len())),
        wall: Some(run.wall.as_secs_f64()),
        processor: Some(run.usage.processor.as_secs_f64()),
        memory: Some(run.usage.memory as f64 / f64::from(1 << 20)),
        ..Measure::default()
    }
}

fn failure(run: &Run, errors: &Path) -> Option<String> {
    let said = std::fs::read_to_string(errors).unwrap_or_default();
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    match run.status {
        None => Some("took too long and was ended".into()),
        Some(status) if status.success() => None,
        Some(status) => Some(format!("{status}: {last}")),
    }
}

fn judge(measure: &mut Measure, stage: &Stage, contender: Contender, plan: &Plan, results: &Path) {
    let text = std::fs::read_to_string(results).unwrap_or_default();
    let said = findings::opens(contender, &text);
    let right = said.iter().filter(|&&target| plan.contains(target) && stage.is_open(target)).count();
    let open = plan.targets().filter(|&target| stage.is_open(target)).count();
    measure.found = (open > 0).then(|| right as f64 / open as f64);
    measure.false_opens = Some((said.len() - right) as f64);
}

/// Several runs of one program.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) contender: Contender,
    pub(crate) runs: Vec<Measure>,
}

/// Least, middle and greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) greatest: f64,
}

impl Series {
    /// Of a figure; none if no run has it.
    pub(crate) fn spread(&self, figure: impl Fn(&Measure) -> Option<f64>) -> Option<Spread> {
        let mut values: Vec<f64> = self.runs.iter().filter_map(figure).collect();
        values.sort_by(f64::total_cmp);
        let (&least, &greatest) = (values.first()?, values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Spread { least, median: (low + high) / 2.0, greatest })
    }

    /// The middle one.
    pub(crate) fn median(&self, figure: impl Fn(&Measure) -> Option<f64>) -> Option<f64> {
        Some(self.spread(figure)?.median)
    }

    /// Why runs failed, each reason once.
    pub(crate) fn failures(&self) -> Vec<&str> {
        let mut failures: Vec<&str> = self.runs.iter().filter_map(|run| run.failure.as_deref()).collect();
        failures.sort_unstable();
        failures.dedup();
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_odd_and_even_series() {
        let series = |values: &[f64]| {
            let runs = values.iter().map(|&wall| Measure { wall: Some(wall), ..Measure::default() });
            Series { contender: Contender::Masscan, runs: runs.chain([Measure::default()]).collect() }
        };
        let spread = |values| series(values).spread(|run| run.wall);
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { least: 1.0, median: 2.0, greatest: 3.0 }));
        assert_eq!(spread(&[4.0, 1.0]), Some(Spread { least: 1.0, median: 2.5, greatest: 4.0 }));
        assert_eq!(spread(&[]), None);
    }
}
