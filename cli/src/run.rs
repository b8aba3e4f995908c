//! Which part of the program does what was asked.

use crate::args::Command;
use crate::failure::Failure;
use crate::layers::{self, Effective};
use crate::{
    completion, config, convert, demo, diff, doctor, explain, man, monitor, report, resume, scan, then, version,
};

/// Does what was asked and gives the exit code.
pub(crate) fn command(command: Command, effective: &[Effective]) -> Result<u8, Failure> {
    match command {
        Command::Scan(args) => scan::run(*args, effective).map_err(|failure| layers::located(failure, effective)),
        Command::Resume(args) => resume::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Config(args) => config::run(&args, effective),
        Command::Diff(args) => diff::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Completion(args) => completion::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Version(args) => version::run(&args),
        Command::Report(args) => report::run(&args),
        Command::History(args) => monitor::history::run(&args),
        Command::Changes(args) => monitor::changes::run(&args),
        Command::Events(args) => monitor::events::run(&args),
        Command::Incidents(args) => monitor::incidents::run(&args),
        Command::Ack(args) => monitor::incidents::ack(&args),
        Command::Mute(args) => monitor::incidents::mute(&args),
        Command::Resolve(args) => monitor::incidents::resolve(&args),
        Command::Db(args) => monitor::database::run(&args),
        Command::Watch(args) => monitor::watch::run(&args),
        Command::Scanner(args) => monitor::scanner::run(&args),
        Command::WatchRunner(args) => monitor::runner::run(&args),
        Command::ThenRunner(args) => then::runner::run(&args),
        Command::Alert(args) => monitor::alert::run(&args),
        Command::Listeners(args) => monitor::listeners::run(&args),
        Command::Policy(args) => monitor::policy::run(&args),
    }
}
