//! What one run of one program came to, and what several came to together.

use std::io;
use std::path::Path;
use std::time::Duration;

use halfopen_bench::beside::child::{self, Run};
use halfopen_bench::beside::plan::Plan;
use halfopen_bench::beside::series;

use crate::contender::{Contender, Programs};
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
    match run.failure(&errors) {
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

fn judge(measure: &mut Measure, stage: &Stage, contender: Contender, plan: &Plan, results: &Path) {
    let text = std::fs::read_to_string(results).unwrap_or_default();
    let said = contender.findings(&text).open;
    let right = said.iter().filter(|&&target| plan.contains(target) && stage.is_open(target)).count();
    let open = plan.targets().filter(|&target| stage.is_open(target)).count();
    measure.found = (open > 0).then(|| right as f64 / open as f64);
    measure.false_opens = Some((said.len() - right) as f64);
}

/// Several runs of one program.
pub(crate) type Series = series::Series<Contender, Measure>;
