//! A scan in parts: started again after an interruption, a kill or a power cut, it goes on where it was.
//!
//! ```text
//! cargo run --release -p halfopen --example resume -- scan.checkpoint 127.0.0.1 1-3000
//! ```
//!
//! Each run interrupts itself after 1,000 findings; the last says that the scan is complete. What is found belongs to
//! whoever is given it ([`run`]'s `keep`): it has to be as safe as the checkpoint by the time that one is written.

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;

use halfopen::{Checkpoint, Event, Outcome, Plan, Pps, Rate, Scan, Summary, Verdict};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().unwrap_or("scan.checkpoint".into());
    let targets = arguments.next().unwrap_or("127.0.0.1".into());
    let ports = arguments.next().unwrap_or("1-3000".into());

    let plan = Plan::builder().targets(&targets)?.ports(&ports)?.build()?;
    let mut print = |found: &Verdict| println!("{} {}", found.target, found.state);
    match run(plan, Path::new(&file), 1_000, &mut print)? {
        Some(summary) => eprintln!("complete: {} open of {} targets", summary.open, summary.targets),
        None => eprintln!("interrupted; start it again to go on"),
    }
    Ok(())
}

/// Begins a scan, or goes on with the one that is kept in this file. After so many findings it is interrupted, and gives none.
pub(crate) fn run(
    plan: Plan,
    file: &Path,
    most: usize,
    keep: &mut dyn FnMut(&Verdict),
) -> Result<Option<Summary>, Box<dyn Error>> {
    let builder = Scan::builder(plan).rate(Rate::Fixed(Pps(20_000)));
    let builder = match fs::read(file) {
        Ok(bytes) => builder.resume(Checkpoint::from_bytes(&bytes)?)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => builder,
        Err(error) => return Err(error.into()),
    };
    let running = builder.start()?;
    let (mut taken, mut found) = (0, 0);
    // For the case of a kill: one that was taken, and claims events that have not come yet.
    let mut pending: Option<Checkpoint> = None;
    for event in running.events() {
        taken += u64::from(event.counts());
        pending.iter_mut().for_each(|checkpoint| note(checkpoint, &event));
        if let Event::Verdict(verdict) = &event {
            keep(verdict);
            found += 1;
            if found == most {
                running.stopper().suspend();
            }
        }
        match pending.take_if(|checkpoint| taken >= checkpoint.events()) {
            Some(complete) => replace(file, &complete)?,
            None if pending.is_none() && taken % 256 == 0 => pending = Some(running.checkpoint()),
            None => {}
        }
    }
    let last = running.checkpoint();
    let summary = running.wait()?;
    if summary.outcome == Outcome::Stopped {
        replace(file, &last)?;
        return Ok(None);
    }
    // A short scan may have written none.
    let _ = fs::remove_file(file);
    Ok(Some(summary))
}

/// What came after a checkpoint was taken is not told again.
fn note(checkpoint: &mut Checkpoint, event: &Event) {
    match event {
        Event::Verdict(verdict) => checkpoint.note(verdict),
        Event::HostDown { address, .. } => checkpoint.note_down(*address),
        Event::Suspect(suspicion) => checkpoint.note_suspect(*suspicion),
        _ => {}
    }
}

/// As a whole: at any moment the one before is there, or the new one.
fn replace(file: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
    let made = file.with_extension("new");
    fs::write(&made, checkpoint.to_bytes())?;
    fs::rename(made, file)
}
