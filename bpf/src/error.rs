//! What the kernel refused.

use std::io;

/// A refused operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The verifier did not accept a program.
    #[error("the kernel's verifier refused the program {program}: {source}\n{log}")]
    Verifier {
        /// Which program.
        program: String,
        /// What the verifier says of it.
        log: String,
        /// The error itself.
        source: io::Error,
    },
    /// Something else.
    #[error("cannot {operation}: {source}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// The error itself.
        source: io::Error,
    },
}

impl Error {
    /// Whether a capability is missing. Without CAP_PERFMON the verifier takes a program for an ordinary user's, and refuses
    /// what those may not do.
    pub fn is_for_want_of_rights(&self) -> bool {
        match self {
            Error::Verifier { log, .. } => log.contains("!root"),
            Error::System { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
        }
    }

    /// The system's error behind it.
    pub fn source(&self) -> &io::Error {
        match self {
            Error::Verifier { source, .. } | Error::System { source, .. } => source,
        }
    }
}

/// Names the operation that failed.
pub(crate) fn failed(operation: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::System { operation, source }
}
