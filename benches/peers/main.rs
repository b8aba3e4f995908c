//! halfopen beside other scanners: the same targets, in namespaces that this program makes, one table a scenario.
//!
//! ```text
//! scenario -> stage (two namespaces, a veth pair, a responder at the far end)
//!    for every round, for every contender:
//!    contender -> child (run, bounded) -> measure (rate by the far end, findings against the truth) -> table -> goals
//! ```
//!
//! Nothing it starts can send a packet out of these namespaces.

mod args;
mod bare;
mod contender;
mod goals;
mod measure;
mod report;
mod scenario;
mod stage;
mod sys;
mod table;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use halfopen_bench::beside::commands;
use halfopen_bench::beside::versions::versions;
use halfopen_bench::machine::machine;

use args::Args;
use contender::{Contender, Programs};
use measure::{Measure, Series, measure};
use report::Report;
use scenario::Scenario;
use stage::Stage;
use table::Table;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.bare {
        Some(means) => bare::run(means, args.targets),
        None => run(&args),
    };
    done.map_or_else(
        |error| {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn run(args: &Args) -> io::Result<()> {
    let programs = Programs { halfopen: commands::halfopen()?, own: std::env::current_exe()? };
    let (machine, versions) = (machine(), versions(&programs.halfopen));
    let home = halfopen_lab::enter_isolation()?;
    let contenders: Vec<Contender> =
        args.contenders().into_iter().filter(|&contender| is_there(&programs, contender)).collect();
    let mut report = Report { machine, versions, args, responder: String::new(), tables: Vec::new() };
    for scenario in args.scenarios() {
        let stage = Stage::new(&home, scenario.answering)?;
        report.responder = stage.responder().into();
        report.tables.push(play(args, &programs, &stage, &scenario, &contenders)?);
    }
    print!("{report}");
    if args.save { report.save() } else { Ok(()) }
}

/// Says who is missing.
fn is_there(programs: &Programs, contender: Contender) -> bool {
    let there = programs.have(contender);
    if !there {
        eprintln!("{}: not here, left out", contender.name());
    }
    there
}

/// Every round has every contender, so that what else the machine does falls on all of them.
fn play(
    args: &Args,
    programs: &Programs,
    stage: &Stage,
    scenario: &Scenario,
    contenders: &[Contender],
) -> io::Result<Table> {
    let admitted = contenders.iter().filter(|&&contender| scenario.admits(contender));
    let mut rows: Vec<Series> = admitted.map(|&contender| Series { contender, runs: Vec::new() }).collect();
    for round in 1..=args.rounds {
        for row in &mut rows {
            let measured = measure(stage, programs, row.contender, &scenario.plan)?;
            tell(scenario, round, row.contender, &measured);
            row.runs.push(measured);
        }
    }
    Ok(Table { scenario: scenario.clone(), rows })
}

fn tell(scenario: &Scenario, round: u32, contender: Contender, measured: &Measure) {
    let Measure { rate, wall, failure, .. } = measured;
    let (rate, wall) = (rate.unwrap_or_default() / 1000.0, wall.unwrap_or_default());
    let failure = failure.as_deref().unwrap_or_default();
    eprintln!("{}, round {round}: {}: {rate:.0}k/s, {wall:.2} s {failure}", scenario.answering, contender.name());
}
