//! Keeps a scan so that it can be resumed whatever happens: a checkpoint every few seconds, and between them a journal.
//!
//! ```text
//! events --> journal part n --> outputs          (written down first, then told)
//!    every few seconds: outputs flushed, their lengths noted, part n+1 begun; in a thread of its own:
//!    checkpoint taken --> once the journal has all that it claims: outputs, journal, checkpoint to the disk
//!                     --> renamed to FILE; older parts removed
//! ```
//! Resumed, outputs are cut back to the lengths in FILE and get what the journal's parts from there on say. So every finding
//! stands in every output file once: what was found before the lengths were noted is in front of them, all later findings
//! are in the journal, and nothing else was told. A checkpoint that cannot be written leaves the one before as it is, with
//! all parts since.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use halfopen::{Checkpoint, Checkpointer, Event};
use halfopen_results::sink::{Error, Mark};

use crate::checkpoint::{Header, Hold};
use crate::failure::Failure;
use crate::journal::{self, Journal};
use crate::output::Output;
use crate::output::told::Told;
use crate::screen::Screen;

/// A checkpoint may cost a twentieth of the time at most.
const SHARE: u32 = 20;
/// How soon to look again whether the journal has come so far.
const GLANCE: Duration = Duration::from_millis(2);

/// Where a scan is to be kept. Nothing is made there yet.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) path: PathBuf,
    pub(crate) every: Duration,
    pub(crate) header: Header,
    /// What is resumed is there, and ours.
    pub(crate) hold: Option<Hold>,
}

/// Where a scan is kept that has not begun.
#[derive(Debug)]
pub(crate) struct Place {
    every: Duration,
    header: Header,
    hold: Hold,
    journal: Journal,
    fresh: Fresh,
}

/// Files that were made for a scan that may never begin.
#[derive(Debug)]
struct Fresh(Vec<PathBuf>);

impl Drop for Fresh {
    fn drop(&mut self) {
        self.0.iter().for_each(|path| drop(fs::remove_file(path)));
    }
}

impl Fresh {
    fn keep(mut self) {
        self.0.clear();
    }
}

impl Wish {
    /// Makes sure that checkpoints can be written there, before anything is sent.
    pub(crate) fn open(self) -> Result<Place, Failure> {
        let Wish { path, every, header, hold } = self;
        let mut fresh = Fresh(Vec::new());
        let hold = match hold {
            Some(hold) => hold,
            None => {
                let hold = Hold::make(&path)?;
                fresh.0.push(path.clone());
                journal::remove_all(&path);
                hold
            }
        };
        let part = journal::part(&path, header.generation);
        let failed = |source| Failure::Open { name: part.display().to_string(), source };
        let journal = Journal::create(&path, header.generation).map_err(failed)?;
        fresh.0.push(part);
        Ok(Place { every, header, hold, journal, fresh })
    }
}

/// Keeps a scan.
pub(crate) struct Keeper {
    hold: Arc<Hold>,
    every: Duration,
    /// As it will be in the next checkpoint, but for what is said of the outputs.
    header: Header,
    screen: Screen,
    /// None since it could not be written.
    journal: Option<Journal>,
    /// Events of this run that count.
    taken: u64,
    shared: Arc<Shared>,
    checkpointer: Checkpointer,
    jobs: Option<Sender<Job>>,
    done: Receiver<io::Result<Duration>>,
    writer: Option<JoinHandle<()>>,
    is_busy: bool,
    is_warned: bool,
    next: Instant,
}

/// What keeper and writer share.
#[derive(Debug, Default)]
struct Shared {
    /// Events of this run that are in the journal, or in the outputs before it.
    journaled: AtomicU64,
    /// No more are coming.
    ended: AtomicBool,
    /// The part that is being written is incomplete.
    broken: AtomicBool,
}

/// A checkpoint to be taken and written.
struct Job {
    header: Header,
    journal: File,
}

impl Keeper {
    /// Of a scan that has begun: its outputs are as they should be without any event of this run.
    pub(crate) fn new(place: Place, checkpointer: Checkpointer, screen: Screen) -> io::Result<Keeper> {
        let Place { every, header, hold, journal, fresh } = place;
        let hold = Arc::new(hold);
        let (jobs, waiting) = channel();
        let (outcomes, done) = channel();
        let shared = Arc::<Shared>::default();
        let writer =
            Writer { hold: Arc::clone(&hold), shared: Arc::clone(&shared), checkpointer: checkpointer.clone() };
        let thread = thread::Builder::new().name("checkpoint".into());
        let writer =
            thread.spawn(move || waiting.into_iter().for_each(|job| drop(outcomes.send(writer.write(&job)))))?;
        fresh.keep();
        Ok(Keeper {
            hold,
            every,
            header,
            screen,
            journal: Some(journal),
            taken: 0,
            shared,
            checkpointer,
            jobs: Some(jobs),
            done,
            writer: Some(writer),
            is_busy: false,
            is_warned: false,
            next: Instant::now(),
        })
    }

    /// Writes events down that are about to be told.
    pub(crate) fn note(&mut self, events: &[Event]) {
        self.taken += events.iter().filter(|event| event.counts()).count() as u64;
        match self.journal.as_mut().map(|journal| journal.append(events)) {
            Some(Ok(())) => self.shared.journaled.store(self.taken, Ordering::Release),
            Some(Err(error)) => self.give_up(&error),
            None => {}
        }
    }

    /// Until the next checkpoint, no part is complete.
    fn give_up(&mut self, error: &io::Error) {
        self.remove_empty();
        self.journal = None;
        self.shared.broken.store(true, Ordering::Release);
        self.warn(error);
    }

    fn warn(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_warned, true) {
            let path = self.hold.path().display();
            self.screen.warn(&format!(
                "cannot write a checkpoint to {path}: {error}; the scan goes on, and what was written before stays"
            ));
        }
    }

    /// How long until there is something to be done.
    pub(crate) fn patience(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now()).max(GLANCE)
    }

    /// Begins a checkpoint, if it is time to.
    pub(crate) fn tick<W: Write>(&mut self, output: &mut Output<W>) -> Result<(), Error> {
        while let Ok(outcome) = self.done.try_recv() {
            self.conclude(outcome);
        }
        if self.is_busy || Instant::now() < self.next {
            return Ok(());
        }
        let (marks, told) = (output.marks()?, output.told());
        self.next = Instant::now() + self.every;
        if let Err(error) = self.begin(marks, told) {
            self.give_up(&error);
        }
        Ok(())
    }

    fn conclude(&mut self, outcome: io::Result<Duration>) {
        self.is_busy = false;
        match outcome {
            Ok(took) => {
                self.is_warned = false;
                self.next = self.next.max(Instant::now() + took * SHARE);
            }
            Err(error) => self.warn(&error),
        }
    }

    /// The next part of the journal, and the checkpoint that it follows.
    fn begin(&mut self, marks: Vec<Mark>, told: Told) -> io::Result<()> {
        let next = self.header.generation + 1;
        let journal = Journal::create(self.hold.path(), next)?;
        self.remove_empty();
        self.header.generation = next;
        let job = Job { header: Header { marks, told, ..self.header.clone() }, journal: journal.handle()? };
        self.journal = Some(journal);
        self.shared.broken.store(false, Ordering::Release);
        self.shared.journaled.store(self.taken, Ordering::Release);
        self.is_busy = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        Ok(())
    }

    /// Takes the part that is being written away if it says nothing: on a full disk there would be one for every attempt.
    fn remove_empty(&self) {
        if self.journal.as_ref().is_some_and(Journal::is_empty) {
            journal::remove(self.hold.path(), self.header.generation);
        }
    }

    /// The scan was interrupted, all its events are taken, and no output has an end yet: writes the last checkpoint, and
    /// gives the file if it can be resumed from.
    pub(crate) fn suspend<W: Write>(mut self, output: &mut Output<W>) -> Result<PathBuf, Failure> {
        self.stop_writer();
        let checkpoint = self.checkpointer.checkpoint();
        let (marks, told) = (output.marks()?, output.told());
        // A scan that died may have promised what it never told; the journal has the rest.
        // And an output that has failed has no length to be cut back to: the checkpoint before has one.
        if checkpoint.events() == self.taken && !output.has_failed() {
            let generation = self.header.generation + 1;
            let header = Header { generation, marks, told, ..self.header.clone() };
            match sync(&header.marks).and_then(|()| self.hold.replace(&header, &checkpoint)) {
                Ok(()) => journal::remove_before(self.hold.path(), generation),
                Err(error) => self.warn(&error),
            }
        }
        Ok(self.hold.path().into())
    }

    /// The scan has come to its end: there is nothing to resume.
    pub(crate) fn complete(mut self) {
        self.stop_writer();
        journal::remove_all(self.hold.path());
        self.hold.remove();
    }

    fn stop_writer(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // It has nothing to tell, and a panic of its own has been printed.
            let _ = writer.join();
        }
    }
}

/// Takes and writes checkpoints.
struct Writer {
    hold: Arc<Hold>,
    shared: Arc<Shared>,
    checkpointer: Checkpointer,
}

impl Writer {
    /// How long it took, waiting apart.
    fn write(&self, job: &Job) -> io::Result<Duration> {
        let began = Instant::now();
        let checkpoint = self.checkpointer.checkpoint();
        let taken = began.elapsed();
        self.wait(&checkpoint)?;
        let began = Instant::now();
        // Outputs and journal have to hold what the checkpoint says that they do, also after a power cut.
        sync(&job.header.marks)?;
        job.journal.sync_data()?;
        self.hold.replace(&job.header, &checkpoint)?;
        journal::remove_before(self.hold.path(), job.header.generation);
        Ok(taken + began.elapsed())
    }

    /// Until all that the checkpoint claims is written down.
    fn wait(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        while self.shared.journaled.load(Ordering::Acquire) < checkpoint.events() {
            if self.shared.broken.load(Ordering::Acquire) || self.shared.ended.load(Ordering::Acquire) {
                return Err(io::Error::other("what was found since the last one could not be written down"));
            }
            thread::sleep(GLANCE);
        }
        Ok(())
    }
}

/// What may be written and no longer read is left to the system.
fn sync(marks: &[Mark]) -> io::Result<()> {
    let file = |mark: &Mark| File::options().append(true).open(&mark.file);
    marks.iter().filter_map(|mark| file(mark).ok()).try_for_each(|file| file.sync_data())
}
