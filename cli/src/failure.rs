//! What can go wrong in the program, what is said about it, and with which code the program ends. The library's own
//! errors already name the operation, its subject and what to do; they are passed on as they are.

use std::env;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use halfopen_monitor::{document, listeners, service, store};
use halfopen_phantom::EnclosureError;
use halfopen_results::{read, sink};

use crate::{screen, usage};

/// The scan could not be done, or not to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The library's word.
    #[error(transparent)]
    Engine(#[from] halfopen::Error),
    /// Neither targets nor files were named.
    #[error("nothing to scan: give targets, or a file of them with -i")]
    NoTargets,
    /// A word is neither a port nor a service.
    #[error("{word:?} is neither a port nor the name of a service")]
    NoService {
        /// The word.
        word: String,
        /// What was probably meant.
        near: Vec<&'static str>,
    },
    /// A file on the command line could not be opened.
    #[error("cannot open {name}: {source}")]
    Open {
        /// The file.
        name: String,
        /// The system's word.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {name}: {source}")]
    Write {
        /// The file.
        name: String,
        /// The system's word.
        source: io::Error,
    },
    /// Something is wrong in a file of settings or the environment: where, what, and what instead.
    #[error("{0}")]
    Setting(String),
    /// Something that was set in a file or the environment cannot be used.
    #[error("{place}: {failure}")]
    At {
        /// The line or variable.
        place: String,
        /// What is wrong with it.
        failure: Box<Failure>,
    },
    /// Arguments that were put together wrongly.
    #[error("{0}")]
    Arguments(clap::Error),
    /// The demo's network could not be made.
    #[error("{0}")]
    Demo(EnclosureError),
    /// The demo was asked for more than it can know.
    #[error(
        "the demo looks up what is true of every target, and {targets} are too many: at most {most}; ask for fewer hosts or ports"
    )]
    DemoTooLarge {
        /// Targets asked for.
        targets: u64,
        /// Targets at most.
        most: u64,
    },
    /// Nobody to write the statistics.
    #[error("cannot start the thread that writes statistics: {0}")]
    Stats(io::Error),
    /// Nothing allows the scan.
    #[error("{what}")]
    Refused {
        /// What is not allowed.
        what: String,
        /// What to do instead.
        instead: String,
    },
    /// A scan could not be recorded.
    #[error("cannot write the audit log {name}: {source}")]
    Audit {
        /// The log.
        name: String,
        /// The system's word.
        source: io::Error,
    },
    /// The end of the hours could not be watched for.
    #[error("cannot watch the clock: {0}")]
    Curfew(io::Error),
    /// Results could not be written.
    #[error(transparent)]
    Results(#[from] sink::Error),
    /// A scan could not be read.
    #[error(transparent)]
    Scan(#[from] read::Error),
    /// The monitor's database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What listens could not be read.
    #[error(transparent)]
    Listeners(#[from] listeners::Error),
    /// Nor what was seen of it from outside.
    #[error(transparent)]
    Outside(#[from] listeners::reach::Error),
    /// More than one form for standard output.
    #[error("{one} and {other} cannot both go to standard output; give one a file, such as -o {other}=FILE")]
    TwoOnStdout {
        /// One form.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// Fields of forms that have none.
    #[error("--fields is for jsonl, json and csv, and none of them was asked for; add one, such as -o csv")]
    NoFields,
    /// Nobody to read targets while the scan runs, or to open what it takes then.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// A list of what is not open.
    #[error(
        "a list is of open ports, and --show or --filter leaves those out; add open, or take a form that has states, such as -o csv"
    )]
    ClosedList,
    /// Commands for nothing.
    #[error("--then hands over open ports, and --show or --filter leaves those out; add open")]
    ClosedThen,
    /// Two scans that know of no target in common.
    #[error(
        "nothing was compared: there is no target that both scans know of; take scans of the same targets, or --whole for a csv \
         or a list that is whole"
    )]
    NothingCompared,
    /// The monitor had to end.
    #[error(transparent)]
    Monitor(#[from] service::Error),
    /// Something that depends on the machine and the moment.
    #[error("{0}")]
    Machine(String),
    /// Signal handlers could not be installed.
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
}

/// The exit code for "done".
pub(crate) const DONE: u8 = 0;
const RUNTIME: u8 = 1;
pub(crate) const USAGE: u8 = 2;
/// Nothing allows the scan; nothing was sent.
const REFUSED: u8 = 3;
/// The hours of the scope ended before the scan did.
pub(crate) const CUT_SHORT: u8 = 4;
/// As the shell reports a program that SIGPIPE (13) ended: the reader of the results went away.
const READER_GONE: u8 = 128 + 13;

impl From<document::Error> for Failure {
    fn from(error: document::Error) -> Failure {
        match error {
            document::Error::Open { name, source } => Failure::Open { name, source },
            wrong => Failure::Setting(wrong.to_string()),
        }
    }
}

impl Failure {
    /// Says it on standard error and gives the code to leave with. When the reader of the results has gone away
    /// nobody is told: that is how `| head` ends.
    pub(crate) fn report(&self) -> ExitCode {
        if let Failure::Arguments(error) = self {
            match usage::line(error, &["halfopen".into(), "scan".into()]) {
                Some(line) => screen::error(&line, None),
                None => _ = error.print(),
            }
        } else if self.code() != READER_GONE {
            screen::error(&self.to_string(), self.hint().as_deref());
        }
        ExitCode::from(self.code())
    }

    /// Whether it was asked rightly, and could not be done.
    pub(crate) fn is_runtime(&self) -> bool {
        self.code() == RUNTIME
    }

    fn code(&self) -> u8 {
        match self {
            Failure::Engine(error) => engine_code(error),
            Failure::At { failure, .. } => failure.code(),
            Failure::Arguments(error) => u8::try_from(error.exit_code()).unwrap_or(USAGE),
            Failure::NoTargets
            | Failure::NoService { .. }
            | Failure::Open { .. }
            | Failure::Setting(_)
            | Failure::DemoTooLarge { .. } => USAGE,
            Failure::TwoOnStdout { .. }
            | Failure::NoFields
            | Failure::ClosedList
            | Failure::ClosedThen
            | Failure::NothingCompared
            | Failure::Scan(_) => USAGE,
            Failure::Store(
                store::Error::Open { .. }
                | store::Error::Missing { .. }
                | store::Error::Later { .. }
                | store::Error::Earlier { .. }
                | store::Error::Foreign { .. }
                | store::Error::Occupied { .. },
            ) => USAGE,
            Failure::Demo(_) | Failure::Store(_) => RUNTIME,
            Failure::Listeners(_) | Failure::Outside(_) => USAGE,
            Failure::Results(sink::Error::Open { .. } | sink::Error::Busy { .. }) => USAGE,
            Failure::Results(error) if error.is_reader_gone() => READER_GONE,
            Failure::Refused { .. } => REFUSED,
            Failure::Results(_)
            | Failure::Signals(_)
            | Failure::Monitor(_)
            | Failure::Machine(_)
            | Failure::Thread(_)
            | Failure::Stats(_)
            | Failure::Audit { .. }
            | Failure::Curfew(_)
            | Failure::Write { .. } => RUNTIME,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Failure::NoTargets => Some("for example: halfopen scan 192.0.2.0/24 -p 22,80,443".into()),
            Failure::Engine(halfopen::Error::Privilege { .. }) => Some(grant()),
            Failure::At { failure, .. } => failure.hint(),
            Failure::Demo(EnclosureError::Forbidden { remedy, .. }) => Some(allow(*remedy)),
            Failure::NoService { near, .. } if near.is_empty() => {
                Some("give ports such as 443 or 53/udp, or names such as telnet".into())
            }
            Failure::NoService { near, .. } => Some(format!("did you mean {}?", near.join(" or "))),
            Failure::Refused { instead, .. } => Some(instead.clone()).filter(|instead| !instead.is_empty()),
            Failure::Audit { .. } => {
                Some("under a scope nothing is scanned without a record; `audit-log` names its file".into())
            }
            _ => None,
        }
    }
}

/// Standard output cannot be written.
pub(crate) fn stdout(source: io::Error) -> sink::Error {
    sink::Error::Write { name: "standard output".into(), source }
}

/// How the demo gets a network of its own.
fn allow(remedy: Option<&str>) -> String {
    let instead = "run `sudo halfopen demo`, or scan this machine itself: `halfopen scan 127.0.0.1 -p 1-1024`";
    remedy.map_or(instead.into(), |remedy| format!("{instead}; root would allow it by `{remedy}`"))
}

/// How this very program gets the right to raw sockets.
pub(crate) fn grant() -> String {
    let program = env::current_exe().unwrap_or_else(|_| "halfopen".into());
    grant_to(&program)
}

fn grant_to(program: &Path) -> String {
    let file = shell_word(&program.to_string_lossy());
    format!("for a SYN scan run `sudo {file} ...`, or grant the right once: `sudo setcap cap_net_raw+ep {file}`")
}

/// A word that a shell takes as it is.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.into() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// What cannot work however often it is tried was asked wrongly; the rest depends on the machine and the moment.
fn engine_code(error: &halfopen::Error) -> u8 {
    use halfopen::Error::{EmptyPlan, NoSuchInterface, OtherPlan, Parse, PlanTooLarge, Setting, SourceNotOurs};
    match error {
        Parse { .. }
        | EmptyPlan(_)
        | PlanTooLarge { .. }
        | OtherPlan { .. }
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
        let results = |kind| Failure::Results(stdout(io::Error::from(kind))).code();
        let open = |source| Failure::Results(sink::Error::Open { path: "x".into(), source }).code();
        assert_eq!(open(io::ErrorKind::NotFound.into()), 2);
        assert_eq!(results(io::ErrorKind::BrokenPipe), 141);
        assert_eq!(results(io::ErrorKind::StorageFull), 1);
        assert_eq!(Failure::NoTargets.code(), 2);
        assert_eq!(Failure::Engine(halfopen::Error::EmptyPlan(String::new())).code(), 2);
        let system = halfopen::Error::System { operation: String::new(), source: io::Error::other("") };
        assert_eq!(Failure::Engine(system).code(), 1);
    }

    #[test]
    fn a_grant_can_be_pasted() {
        let said = grant_to(Path::new("/opt/half open/it's"));
        assert!(said.ends_with(r"`sudo setcap cap_net_raw+ep '/opt/half open/it'\''s'`"), "{said}");
        assert!(grant_to(Path::new("/usr/bin/halfopen")).ends_with("cap_net_raw+ep /usr/bin/halfopen`"));
    }
}
