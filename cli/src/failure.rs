//! What can go wrong in the program, what is said about it, and with which code the program ends. The library's own
//! errors already name the operation, its subject and what to do; they are passed on as they are.

use std::io;
use std::process::ExitCode;

use crate::screen;

/// The scan could not be done, or not to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The library's word.
    #[error(transparent)]
    Engine(#[from] halfopen::Error),
    /// Neither targets nor files were named.
    #[error("nothing to scan: give targets, or a file of them with -i")]
    NoTargets,
    /// A file on the command line could not be opened.
    #[error("cannot open {name}: {source}")]
    Open {
        /// The file.
        name: String,
        /// The system's word.
        source: io::Error,
    },
    /// Results could not be written.
    #[error("cannot write to standard output: {0}")]
    Results(io::Error),
    /// Signal handlers could not be installed.
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
}

/// The exit code for "done".
pub(crate) const DONE: u8 = 0;
const RUNTIME: u8 = 1;
const USAGE: u8 = 2;
/// As the shell reports a program that SIGPIPE (13) ended: the reader of the results went away.
const READER_GONE: u8 = 128 + 13;

impl Failure {
    /// Says it on standard error and gives the code to leave with. When the reader of the results has gone away
    /// nobody is told: that is how `| head` ends.
    pub(crate) fn report(&self) -> ExitCode {
        if self.code() != READER_GONE {
            screen::error(&self.to_string(), self.hint());
        }
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Failure::Engine(error) => engine_code(error),
            Failure::NoTargets | Failure::Open { .. } => USAGE,
            Failure::Results(error) if error.kind() == io::ErrorKind::BrokenPipe => READER_GONE,
            Failure::Results(_) | Failure::Signals(_) => RUNTIME,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Failure::NoTargets => Some("for example: halfopen scan 192.0.2.0/24 -p 22,80,443"),
            _ => None,
        }
    }
}

/// What cannot work however often it is tried was asked wrongly; the rest depends on the machine and the moment.
fn engine_code(error: &halfopen::Error) -> u8 {
    use halfopen::Error::{EmptyPlan, NoSuchInterface, Parse, PlanTooLarge, Setting, SourceNotOurs};
    match error {
        Parse { .. }
        | EmptyPlan(_)
        | PlanTooLarge { .. }
        | NoSuchInterface { .. }
        | SourceNotOurs { .. }
        | Setting { .. } => USAGE,
        _ => RUNTIME,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        let results = |kind| Failure::Results(io::Error::from(kind)).code();
        assert_eq!(results(io::ErrorKind::BrokenPipe), 141);
        assert_eq!(results(io::ErrorKind::StorageFull), 1);
        assert_eq!(Failure::NoTargets.code(), 2);
        assert_eq!(Failure::Engine(halfopen::Error::EmptyPlan(String::new())).code(), 2);
        let system = halfopen::Error::System { operation: String::new(), source: io::Error::other("") };
        assert_eq!(Failure::Engine(system).code(), 1);
    }
}
