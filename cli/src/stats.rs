//! `--stats-json`: how the scan goes, for programs: one JSON line a second and one at the end (`STATS.md` is the schema). A
//! thread of its own writes them, so that whoever reads slowly, or not at all, never holds up the scan: lines that find no
//! room are left out, with one warning.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use halfopen::{Phase, Progress};
use halfopen_results::disk;
use jiff::Timestamp;
use rustix::fs::OFlags;
use serde::Serialize;

use crate::failure::Failure;

/// How often a line is written.
const EVERY: Duration = Duration::from_secs(1);
/// The phase of a scan that waits for targets.
const IDLE: &str = "input";
/// Lines under way to a slow disk.
const WAITING: usize = 8;
/// How long the end waits for the last line to be written.
const FAREWELL: Duration = Duration::from_secs(1);

/// Lines on their way to a file.
#[derive(Debug)]
pub(crate) struct Stats {
    lines: Option<SyncSender<Vec<u8>>>,
    /// Says what went wrong, and ends when the last line is written.
    troubles: Receiver<String>,
    name: String,
    due: Instant,
    /// A line was left out because others still wait.
    full: bool,
    warned: bool,
}

/// The file, before there is a scan.
#[derive(Debug)]
pub(crate) struct StatsFile {
    file: File,
    name: String,
}

impl StatsFile {
    /// This file, which is emptied; a FIFO or a device is written to as it is.
    pub(crate) fn open(path: &Path) -> Result<StatsFile, Failure> {
        let name = path.to_string_lossy().into_owned();
        let file = open(path).map_err(|source| Failure::Open { name: name.clone(), source })?;
        Ok(StatsFile { file, name })
    }

    /// Has a thread write to it.
    pub(crate) fn start(self) -> Result<Stats, Failure> {
        let StatsFile { file, name } = self;
        let (lines, arriving) = sync_channel(WAITING);
        let (trouble, troubles) = sync_channel(WAITING);
        let writer = move || write(file, &arriving, &trouble);
        thread::Builder::new().name("stats".into()).spawn(writer).map_err(Failure::Stats)?;
        Ok(Stats { lines: Some(lines), troubles, name, due: Instant::now(), full: false, warned: false })
    }
}

impl Stats {
    /// How long until the next line is due.
    pub(crate) fn due_in(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// Writes a line, if one is due. What went wrong since the last one, once.
    pub(crate) fn tick(&mut self, progress: &Progress) -> Option<String> {
        self.tick_as(&Line::of(progress, None))
    }

    /// The same while nothing is known that could be scanned.
    pub(crate) fn tick_idle(&mut self, progress: &Progress) -> Option<String> {
        self.tick_as(&Line { phase: IDLE, pass: None, rate: 0.0, remaining_us: None, ..Line::of(progress, None) })
    }

    fn tick_as(&mut self, line: &Line) -> Option<String> {
        if !self.due_in().is_zero() {
            return None;
        }
        // A second that was missed is not made up for.
        self.due = (self.due + EVERY).max(Instant::now());
        self.send(line);
        self.warning()
    }

    /// Writes the last line. What went wrong, if that is new.
    pub(crate) fn end(&mut self, progress: &Progress, outcome: &str) -> Option<String> {
        self.send(&Line::of(progress, Some(outcome)));
        self.lines = None;
        let deadline = Instant::now() + FAREWELL;
        let mut last = None;
        while let Ok(trouble) = self.troubles.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            last = Some(trouble);
        }
        self.warn(last)
    }

    fn send(&mut self, line: &Line) {
        let Ok(mut text) = serde_json::to_vec(line) else { return };
        text.push(b'\n');
        match self.lines.as_ref().map(|lines| lines.try_send(text)) {
            Some(Err(TrySendError::Full(_))) => self.full = true,
            Some(Err(TrySendError::Disconnected(_))) => self.lines = None,
            _ => {}
        }
    }

    fn warning(&mut self) -> Option<String> {
        let full = self.full.then(|| "it takes no more for the time being".into());
        let trouble = self.troubles.try_recv().ok().or(full);
        self.warn(trouble)
    }

    fn warn(&mut self, trouble: Option<String>) -> Option<String> {
        let trouble = trouble.filter(|_| !self.warned)?;
        self.warned = true;
        Some(format!("not all statistics could be written to {}: {trouble}", self.name))
    }
}

/// A FIFO is opened as its own reader, too: so there is no wait for one, and one that goes away is no error.
fn open(path: &Path) -> io::Result<File> {
    match path.metadata().map(|file| file.file_type()) {
        Ok(kind) if kind.is_fifo() => {
            let flags = OFlags::NONBLOCK.bits() as i32;
            let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
            // Somebody else's, and open already: its thread waits for room then, and what comes meanwhile is left out.
            opened.or_else(|error| disk::inherited(path).ok_or(error))
        }
        Ok(kind) if !kind.is_file() => disk::special(path),
        _ => {
            let (file, _) = disk::open(&disk::behind(path)?)?;
            file.set_len(0).map(|()| file)
        }
    }
}

fn write(mut file: File, lines: &Receiver<Vec<u8>>, trouble: &SyncSender<String>) {
    for line in lines {
        // A pipe takes a line whole or not at all (pipe(7), PIPE_BUF).
        if let Err(error) = file.write_all(&line) {
            let why = match error.kind() {
                io::ErrorKind::WouldBlock => "nobody reads them".into(),
                _ => error.to_string(),
            };
            let _ = trouble.try_send(why);
        }
    }
}

/// A line.
#[derive(Debug, Serialize)]
struct Line {
    r#type: &'static str,
    time: String,
    elapsed_us: u64,
    phase: &'static str,
    pass: Option<u8>,
    done: f64,
    remaining_us: Option<u64>,
    targets: u64,
    open: u64,
    closed: u64,
    filtered: u64,
    hosts_down: u64,
    sent: u64,
    again: u64,
    replies: u64,
    drops: u64,
    rate: f64,
    bound: &'static str,
    loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
}

impl Line {
    fn of(progress: &Progress, outcome: Option<&str>) -> Line {
        let (phase, pass) = phase(progress.phase);
        Line {
            r#type: if outcome.is_some() { "end" } else { "progress" },
            time: format!("{:.6}", Timestamp::now()),
            elapsed_us: micros(progress.elapsed),
            phase,
            pass,
            done: (progress.done * 1e4).round() / 1e4,
            remaining_us: progress.remaining.map(micros),
            targets: progress.targets,
            open: progress.open,
            closed: progress.closed,
            filtered: progress.filtered,
            hosts_down: progress.hosts_down,
            sent: progress.sent,
            again: progress.again,
            replies: progress.replies,
            drops: progress.drops,
            rate: progress.rate.round(),
            bound: progress.bound.name(),
            loss: progress.loss.map(|loss| (loss * 1e4).round() / 1e4),
            outcome: outcome.map(str::to_owned),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn phase(phase: Phase) -> (&'static str, Option<u8>) {
    match phase {
        Phase::Neighbours => ("neighbours", None),
        Phase::Discovery => ("discovery", None),
        Phase::Probing { pass } => ("probing", Some(pass)),
        Phase::Spacing { pass } => ("spacing", Some(pass)),
        Phase::Cooldown => ("cooldown", None),
        _ => ("done", None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn progress() -> Progress {
        let mut progress = Progress::default();
        (progress.phase, progress.loss, progress.rate) = (Phase::Probing { pass: 1 }, Some(0.059_449), 999.7);
        progress
    }

    /// All that was said of so many lines and the last one. The writer is a thread: which of them hears of a trouble is
    /// nobody's to say.
    fn said(path: &Path, lines: usize) -> Vec<String> {
        let mut stats = StatsFile::open(path).and_then(StatsFile::start).unwrap();
        let mut said = Vec::new();
        for _ in 0..lines {
            stats.due = Instant::now();
            said.extend(stats.tick(&progress()));
        }
        said.extend(stats.end(&progress(), "complete"));
        said
    }

    #[test]
    fn a_line_a_second_and_one_at_the_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "what was there").unwrap();
        let mut stats = StatsFile::open(file.path()).and_then(StatsFile::start).unwrap();
        // The first at once, the second in a second.
        (0..5).for_each(|_| assert_eq!(stats.tick(&progress()), None));
        assert!(stats.due_in() > EVERY / 2);
        assert_eq!(stats.end(&progress(), "stopped"), None);
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), &lines[0]["type"], &lines[1]["type"]), (2, &"progress".into(), &"end".into()));
        assert_eq!((&lines[0]["loss"], &lines[0]["rate"]), (&0.0594.into(), &1000.0.into()));
        assert_eq!((&lines[0]["phase"], &lines[0]["pass"]), (&"probing".into(), &1.into()));
        assert_eq!((lines[0].get("outcome"), &lines[1]["outcome"]), (None, &"stopped".into()));
    }

    #[test]
    fn the_schema_names_every_field() {
        let schema = include_str!("../STATS.md");
        let line = serde_json::to_value(Line::of(&progress(), Some("complete"))).unwrap();
        for field in line.as_object().unwrap().keys() {
            assert!(schema.contains(&format!("`{field}`")), "{field} is not in STATS.md");
        }
        for bound in halfopen::RateBound::ALL {
            assert!(schema.contains(&format!("`{}`", bound.name())), "{} is not in STATS.md", bound.name());
        }
    }

    #[test]
    fn a_full_disk_is_one_warning() {
        let warning = "not all statistics could be written to /dev/full: No space left on device (os error 28)";
        assert_eq!(said(Path::new("/dev/full"), 3), [warning]);
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_nothing_up() {
        let place = tempfile::tempdir().unwrap();
        let fifo = place.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(said(&fifo, 3).is_empty(), "there is room for a few");
        let began = Instant::now();
        let said = said(&fifo, 2000);
        assert!(said.len() <= 1, "{said:?}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
