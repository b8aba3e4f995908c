//! halfopen beside nmap, masscan and zmap on bad networks: real packets of real programs cross a wire in user space that
//! loses, delays and queues them, to the lab's phantoms behind it.
//!
//! ```text
//! network -> for every round, for every contender:
//!              stage (two namespaces, a veth pair, phantoms and the wire at the far end)
//!              contender -> child (run, bounded) -> measure (findings against the truth) -> table -> goals
//! ```
//!
//! A round's seed decides who is open and what is lost, so all contenders of a round meet the same hosts. Nothing it
//! starts can send a packet out of these namespaces.

mod args;
mod capacity;
mod contender;
mod goals;
mod measure;
mod network;
mod report;
mod stage;
mod table;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use halfopen_bench::beside::commands;
use halfopen_bench::beside::versions::versions;
use halfopen_bench::machine::machine;
use halfopen_lab::Namespace;

use args::Args;
use contender::{Contender, Programs};
use measure::{Measure, Series, measure};
use network::Network;
use report::Report;
use stage::Stage;
use table::Table;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wire: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> io::Result<()> {
    let programs = Programs { halfopen: commands::halfopen()? };
    let (machine, versions) = (machine(), versions(&programs.halfopen));
    let home = halfopen_lab::enter_isolation()?;
    let contenders: Vec<Contender> = args.contenders().into_iter().filter(|&contender| is_there(contender)).collect();
    let capacity = capacity::measure(&home, &programs)?;
    let mut report = Report { machine, versions, args, capacity, tables: Vec::new() };
    for network in args.networks() {
        report.tables.push(play(args, &programs, &home, network, &contenders)?);
    }
    print!("{report}");
    if args.save { report.save() } else { Ok(()) }
}

/// Says who is missing.
fn is_there(contender: Contender) -> bool {
    let there = contender.program().is_none_or(commands::is_there);
    if !there {
        eprintln!("{}: not here, left out", contender.name());
    }
    there
}

/// Every round has every contender, so that what else the machine does falls on all of them.
fn play(
    args: &Args,
    programs: &Programs,
    home: &Namespace,
    network: Network,
    contenders: &[Contender],
) -> io::Result<Table> {
    let admitted = contenders.iter().filter(|&&contender| network.plan_of(contender).is_some());
    let mut rows: Vec<Series> = admitted.map(|&contender| Series { contender, runs: Vec::new() }).collect();
    for round in 1..=args.rounds {
        for row in &mut rows {
            let stage = Stage::new(home, network.scenario(round.into()))?;
            let measured = measure(&stage, programs, row.contender, &network, args.limit())?;
            tell(&network, round, row.contender, &measured);
            row.runs.push(measured);
        }
    }
    Ok(Table { network, rows })
}

fn tell(network: &Network, round: u32, contender: Contender, measured: &Measure) {
    let Measure { wall, open, probes, remark, .. } = measured;
    let share = open.share.unwrap_or_default() * 100.0;
    let remark = remark.as_deref().unwrap_or_default();
    let name = contender.name();
    eprintln!(
        "{}, round {round}: {name}: {share:.2} % found in {wall:.2} s, {probes:.2} probes a target {remark}",
        network.key
    );
}
