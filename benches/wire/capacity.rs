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

/// Enough for a second or more at full speed.
const HOSTS: u32 = 1 << 20;

const LIMIT: Duration = Duration::from_secs(60);

/// Probes a second that the far end takes while the scanner is busy beside it, on the network with 1 % loss.
pub(crate) fn measure(home: &Namespace, programs: &Programs) -> io::Result<Option<f64>> {
    let stage = Stage::new(home, Network::of(Key::Loss1).scenario(0))?;
    let place = tempfile::tempdir()?;
    let mut command = programs.scan(&Plan::wide(HOSTS));
    command.args(["--rate", "max", "--passes", "1", "--quiet", "--link", "af_packet"]).stdout(Stdio::null());
    child::run(&mut command, &place.path().join("errors"), LIMIT, &|| stage.tick())?;
    Ok(stage.arrived().rate)
}
