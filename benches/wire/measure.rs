//! What one run of one program came to.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use halfopen::Target;
use halfopen_bench::beside::child::{self, Run};
use halfopen_bench::beside::plan::Plan;
use halfopen_bench::beside::series;
use halfopen_lab::Behaviour;

use crate::contender::{Contender, Programs};
use crate::network::Network;
use crate::stage::Stage;

/// One run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measure {
    /// Of the whole command, in seconds; the limit's where it was ended.
    pub(crate) wall: f64,
    /// It took too long.
    pub(crate) ended: bool,
    pub(crate) open: Judged,
    /// None where the program says nothing of closed ports, or did not end.
    pub(crate) closed: Judged,
    /// That came through the wire, for each target.
    pub(crate) probes: f64,
    /// Frames lost on the way out, of all that left.
    pub(crate) lost: f64,
    /// What is to be known of the run.
    pub(crate) remark: Option<String>,
}

/// Findings of one state held against the truth.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Judged {
    /// Found, of all that are so.
    pub(crate) share: Option<f64>,
    /// Said to be so that are not.
    pub(crate) wrong: Option<f64>,
}

/// Several runs of one program.
pub(crate) type Series = series::Series<Contender, Measure>;

/// Runs a program once on a stage that nobody has used.
pub(crate) fn measure(
    stage: &Stage,
    programs: &Programs,
    contender: Contender,
    network: &Network,
    limit: Duration,
) -> io::Result<Measure> {
    let plan = network.plan_of(contender).ok_or_else(|| io::Error::other("nothing to scan"))?;
    let place = tempfile::tempdir()?;
    let (results, errors) = (place.path().join("results"), place.path().join("errors"));
    let mut command = programs.command(contender, &plan, &results)?;
    let run = child::run(&mut command, &errors, limit, &|| stage.tick())?;
    let mut measure = cost(stage, &run, &plan);
    measure.remark = remark(stage, &run, &errors);
    if run.failure(&errors).is_none() {
        judge(&mut measure, stage, contender, &plan, &results);
    }
    Ok(measure)
}

fn cost(stage: &Stage, run: &Run, plan: &Plan) -> Measure {
    let (arrived, way) = (stage.arrived().probes as f64, stage.way());
    let lost = (way.lost_out + way.queue_full) as f64;
    Measure {
        wall: run.wall.as_secs_f64(),
        ended: run.status.is_none(),
        probes: arrived / f64::from(plan.len()),
        lost: lost / (lost + arrived).max(1.0),
        ..Measure::default()
    }
}

fn remark(stage: &Stage, run: &Run, errors: &Path) -> Option<String> {
    let of = |count: u64, what| (count > 0).then(|| format!("{what}: {count}"));
    // Either is a fault of the lab, and not of whoever runs on it.
    let missed = of(stage.missed(), "frames that the far end was too slow for");
    let refused = of(stage.refused(), "replies that the scanner's end of the link did not take");
    let remarks: Vec<String> = run.failure(errors).into_iter().chain(missed).chain(refused).collect();
    (!remarks.is_empty()).then(|| remarks.join("; "))
}

fn judge(measure: &mut Measure, stage: &Stage, contender: Contender, plan: &Plan, results: &Path) {
    let said = contender.findings(&std::fs::read_to_string(results).unwrap_or_default());
    measure.open = judged(&said.open, stage, plan, Behaviour::Open);
    measure.closed = judged(&said.closed, stage, plan, Behaviour::Closed);
}

fn judged(said: &HashSet<Target>, stage: &Stage, plan: &Plan, state: Behaviour) -> Judged {
    let is = |target: Target| stage.is(target) == Some(state);
    let right = said.iter().filter(|&&target| plan.contains(target) && is(target)).count();
    let all = plan.targets().filter(|&target| is(target)).count();
    Judged { share: (all > 0).then(|| right as f64 / all as f64), wrong: Some((said.len() - right) as f64) }
}
