//! `--dry-run`: the probes of the first pass in sending order, and nothing sent.

use std::io::{self, BufWriter, Write};

use halfopen::ScanBuilder;

use crate::failure::{self, DONE, Failure};
use crate::output::account::PlanSize;
use crate::output::summary;
use crate::screen::Screen;

/// Prints them.
pub(super) fn run(scan: &ScanBuilder, size: PlanSize, screen: &Screen) -> Result<u8, Failure> {
    print_probes(scan).map_err(failure::stdout)?;
    screen.note(&summary::dry_run(size, scan.settings().seed));
    Ok(DONE)
}

fn print_probes(scan: &ScanBuilder) -> io::Result<()> {
    let mut stdout = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    for target in scan.order() {
        writeln!(stdout, "{} {}", target.address, target.port)?;
    }
    stdout.flush()
}
