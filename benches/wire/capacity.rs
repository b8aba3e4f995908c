//! How much the far end can take: asked faster than it can answer, so that what it takes is all that it can.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use halfopen_bench::beside::child;
use halfopen_bench::beside::plan::Plan;
use halfopen_lab::Namespace;

use crate::contender::Programs;
use crate::network::{Key, Network};
use crate::stage::Stage;

/// Enough to be busy with for as long as it is looked at.
const HOSTS: u32 = 1 << 22;

/// How long it is looked at.
const LOOK: Duration = Duration::from_secs(3);

/// Probes a second that the far end takes while the scanner is busy beside it, on the network with 1 % loss.
///
/// # Errors
/// The scanner cannot be started, or fails.
pub(crate) fn measure(home: &Namespace, programs: &Programs) -> io::Result<Option<f64>> {
    let stage = Stage::new(home, Network::of(Key::Loss1).scenario(0))?;
    let place = tempfile::tempdir()?;
    let mut command = programs.scan(&Plan::wide(HOSTS));
    command.args(["--rate", "max", "--link", "af_packet", "--quiet"]).stdout(Stdio::null());
    let errors = place.path().join("errors");
    let run = child::run(&mut command, &errors, LOOK, &|| stage.tick())?;
    match run.failure(&errors).filter(|_| run.status.is_some()) {
        Some(failure) => Err(io::Error::other(failure)),
        None => Ok(stage.arrived().rate),
    }
}
