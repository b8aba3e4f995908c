//! How much scanners find on bad networks: simulated ones, whose truth is known, in virtual time.
//!
//! ```text
//! scene (network, hosts, plan) x seed x contender, on all cores:
//!    contender (fixed | nmap | halfopen) <--> observed <--> the lab's simulated network
//!        said, held against the truth -> outcome -> series -> table
//! ```
//!
//! Nothing here sends a packet. `--internet` is another question: what the engine itself takes for 2^32 targets.

mod args;
mod contender;
mod fixed;
mod engine;
mod internet;
mod nmap;
mod observed;
mod outcome;
mod plays;
mod prober;
mod report;
mod scene;
mod series;
mod table;
mod truth;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use args::Args;
use report::Report;

fn main() -> ExitCode {
    let args = Args::parse();
    run(&args).map_or_else(
        |error| {
            eprintln!("accuracy: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn run(args: &Args) -> io::Result<()> {
    if args.internet {
        println!("{}", internet::play(args.bits, args.passes)?);
        return Ok(());
    }
    let report = Report { args, tables: plays::tables(args) };
    print!("{report}");
    if args.save { report.save() } else { Ok(()) }
}
