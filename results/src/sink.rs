//! Where the results go: any number of outputs at once, each to a file or to standard output, and what becomes of those
//! files when the program is killed.
//!
//! | form | while the scan runs | at its end | killed in between |
//! |---|---|---|---|
//! | jsonl, csv, list | FILE grows by whole lines, as found | the last line | FILE has what was found; at worst its last line is cut off, and has no line break |
//! | json, grepable, xml | FILE.part grows, as JSON records | FILE.tmp is written from it and renamed to FILE, FILE.part is removed | FILE is what it was before; FILE.part is read like any JSON lines |
//! | sqlite | FILE gets transactions, twice a second | the account | FILE is sound, with what was written before |
//!
//! A file that is there is replaced (but a database, to which the scan is added): streams begin anew, documents when the new one is whole. Files are locked, so that no
//! two scans mix. They are opened before the first probe, and touched when the scan has begun. Pipes and devices are
//! written directly; documents on their way to them wait in memory, and are lost with the program. One on its way to a standard
//! output that is a file waits in FILE.part, if that can be made.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk;
use crate::field::Field;
use crate::filter::Filter;
use crate::record::{Header, Record, Rest, Show, Verdict};
use crate::write::sqlite::Database;
use crate::write::{Document, Form, Lines, ServiceNames, Writer, jsonl};

/// An output that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// In which form.
    pub form: Form,
    /// Where.
    pub to: Destination,
}

/// Where an output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// Standard output, which leads to this file.
    StdoutTo(PathBuf),
    /// A file.
    File(PathBuf),
}

/// What of a scan is wanted, of every output.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Which findings; none for those of the states that the filter speaks of, or else what is usual for the form.
    pub show: Option<Show>,
    /// Which fields of a verdict, in forms that have fields; all if none are named.
    pub fields: Vec<Field>,
    /// Which verdicts of those shown.
    pub filter: Option<Filter>,
}

impl Wanted {
    /// Which findings an output of this form has.
    pub fn show(&self, form: Form) -> Show {
        let usual = form.usual();
        let states = self.filter.as_ref().and_then(Filter::states);
        let usual = states.map_or(usual, |states| Show { down: usual.down, ..states });
        form.holds(self.show.unwrap_or(usual))
    }
}

/// What went wrong with an output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be opened.
    #[error("cannot open {path} for writing: {source}")]
    Open {
        /// The file.
        path: String,
        /// The system's word.
        source: io::Error,
    },
    /// Somebody else writes it.
    #[error("{path} is being written by another output; give each a file of its own")]
    Busy {
        /// The file.
        path: String,
    },
    /// It cannot be written.
    #[error("cannot write to {name}: {source}")]
    Write {
        /// The file, or standard output.
        name: String,
        /// The system's word.
        source: io::Error,
    },
    /// It is not what the scan left there.
    #[error("cannot go on in {path}: it has {found} bytes, and had {expected} when the scan was interrupted")]
    Changed {
        /// The file.
        path: String,
        /// How long it is.
        found: u64,
        /// How long it was.
        expected: u64,
    },
}

impl Error {
    /// Whether nobody reads any more what is written.
    pub fn is_reader_gone(&self) -> bool {
        matches!(self, Error::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// How far an output had come: what a scan that is resumed goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The file that grows while the scan runs.
    pub file: PathBuf,
    /// How many bytes it had; of a database, the number of the scan.
    pub at: u64,
}

/// All outputs of a scan.
#[derive(Default)]
pub struct Sinks {
    sinks: Vec<Sink>,
    filter: Option<Filter>,
    warnings: Vec<String>,
}

impl Sinks {
    /// Opens them all; nothing is written yet. `stdout` is for those that go to standard output.
    pub fn open(
        choices: &[Choice],
        wanted: &Wanted,
        names: ServiceNames,
        mut stdout: impl FnMut() -> Box<dyn Write>,
    ) -> Result<Sinks, Error> {
        let mut warnings = Vec::new();
        let open = |choice: &Choice| {
            let show = wanted.show(choice.form);
            let writer = Writer::new(choice.form, &wanted.fields, names);
            let (name, way) = match &choice.to {
                Destination::Stdout => (STDOUT.into(), way(&writer, Place::Direct(stdout()))),
                Destination::StdoutTo(path) => {
                    let way = way(&writer, Place::Direct(stdout()));
                    (STDOUT.into(), beside(way, path, &mut warnings)?)
                }
                Destination::File(path) => (path.display().to_string(), Sink::open_file(&writer, path)?),
            };
            let counts = (choice.form.counts() && wanted.filter.is_none()).then(BTreeMap::new);
            Ok(Sink { name, show, writer, way, waiting: Vec::new(), counts, failed: false, keeps: false })
        };
        let sinks = choices.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Sinks { sinks, filter: wanted.filter.clone(), warnings })
    }

    /// What whoever opened them should know.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Adds an output of somebody else's form, one finding a line, to a file.
    pub fn add(&mut self, lines: Box<dyn Lines>, path: &Path, show: Show) -> Result<(), Error> {
        let writer = Writer::Lines(lines);
        let (name, way) = (path.display().to_string(), Sink::open_file(&writer, path)?);
        self.sinks.push(Sink {
            name,
            show,
            writer,
            way,
            waiting: Vec::new(),
            counts: None,
            failed: false,
            keeps: false,
        });
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sinks.is_empty()
    }

    /// Begins the results of a scan.
    pub fn begin(&mut self, header: &Header) -> Result<(), Error> {
        self.each(|sink| sink.begin(header))
    }

    /// Whether these are the files that a scan has left, and can be gone on with. Changes none of them.
    pub fn check(&self, marks: &[Mark]) -> Result<(), Error> {
        self.sinks.iter().try_for_each(|sink| sink.check(marks))
    }

    /// Goes on with the results of a scan that was interrupted, from where they were.
    pub fn resume(&mut self, marks: &[Mark]) -> Result<(), Error> {
        self.each_with(|sink| sink.resume(marks))
    }

    /// Forgets how many ports of each host are not shown, for who does not hear of all of them any more.
    pub fn stop_counting(&mut self) {
        self.sinks.iter_mut().for_each(|sink| sink.counts = None);
    }

    /// How far they have come, those that are files.
    pub fn marks(&mut self) -> Result<Vec<Mark>, Error> {
        self.each(Sink::write_all)?;
        Ok(self.sinks.iter_mut().filter_map(Sink::mark).collect())
    }

    /// Whether one of them could not be written, and has no mark any more.
    pub fn has_failed(&self) -> bool {
        self.sinks.iter().any(|sink| sink.failed)
    }

    /// Takes a verdict: it is for each output to show it or not.
    pub fn verdict(&mut self, verdict: &Verdict) -> Result<(), Error> {
        if self.sinks.is_empty() {
            return Ok(());
        }
        let wanted = self.filter.as_ref().is_none_or(|filter| filter.accepts(verdict));
        let mut record = None;
        self.each(|sink| {
            if wanted && sink.show.verdict(verdict) {
                sink.record(record.get_or_insert_with(|| Record::Verdict(verdict.clone())))
            } else {
                sink.count(verdict);
                Ok(())
            }
        })
    }

    /// Takes anything else but the end. What it says may wait until `flush`.
    pub fn record(&mut self, record: &Record) -> Result<(), Error> {
        self.each(|sink| if sink.shows(record) { sink.record(record) } else { Ok(()) })
    }

    /// From now on keeps what documents are made of when they end, for who resumes the scan.
    pub fn keep_spools(&mut self) {
        self.sinks.iter_mut().for_each(|sink| sink.keeps = true);
    }

    /// Writes what waits.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.each(Sink::flush)
    }

    /// Ends the results with the summary, or the error that ended the scan: all of them, also when one fails.
    pub fn end(&mut self, last: &Record) -> Result<(), Error> {
        self.each(|sink| sink.end(last))
    }

    /// Does it with all of them that have not failed. One that fails is left alone from then on, and the others go on.
    fn each(&mut self, mut act: impl FnMut(&mut Sink) -> io::Result<()>) -> Result<(), Error> {
        self.each_with(|sink| act(sink).map_err(|source| Error::Write { name: sink.name.clone(), source }))
    }

    fn each_with(&mut self, mut act: impl FnMut(&mut Sink) -> Result<(), Error>) -> Result<(), Error> {
        let mut first = Ok(());
        for sink in self.sinks.iter_mut().filter(|sink| !sink.failed) {
            let done = act(sink);
            sink.failed = done.is_err();
            first = first.and(done);
        }
        first
    }
}

/// One output.
struct Sink {
    name: String,
    show: Show,
    writer: Writer,
    way: Way,
    waiting: Vec<u8>,
    /// Ports by host that are not shown.
    counts: Option<BTreeMap<IpAddr, Vec<Rest>>>,
    failed: bool,
    /// What a document was made of stays.
    keeps: bool,
}

/// How its bytes get there.
enum Way {
    /// As they come.
    Stream(Place),
    /// Into a database.
    Database(Box<Database>),
    /// Kept until the end, as JSON records.
    Document { spool: Spool, to: Place },
}

/// Where bytes end up.
enum Place {
    /// Standard output, a pipe, a device.
    Direct(Box<dyn Write>),
    /// A file that grows.
    Growing(Growing),
    /// A file that is replaced as a whole.
    Replaced(PathBuf),
}

enum Spool {
    Memory(Vec<u8>),
    File(Growing),
}

/// Lines are written together when there are many; more than this does not wait.
const BATCH: usize = 1 << 16;
const STDOUT: &str = "standard output";

fn way(writer: &Writer, to: Place) -> Way {
    match writer {
        Writer::Lines(_) | Writer::Database => Way::Stream(to),
        Writer::Document(_) => Way::Document { spool: Spool::Memory(Vec::new()), to },
    }
}

/// Has a document wait in a file beside this one, if it can; else it waits in memory, and somebody should know.
fn beside(way: Way, path: &Path, warnings: &mut Vec<String>) -> Result<Way, Error> {
    let Way::Document { to, .. } = way else { return Ok(way) };
    let spool = match Growing::open(&with_suffix(path, ".part")) {
        Ok(file) => Spool::File(file),
        Err(Error::Open { path, source }) => {
            let lost = "what is found waits in memory, and is lost if the scan is killed";
            warnings.push(format!("{lost}: cannot open {path} for writing: {source}"));
            Spool::Memory(Vec::new())
        }
        Err(error) => return Err(error),
    };
    Ok(Way::Document { spool, to })
}

impl Sink {
    fn open_file(writer: &Writer, path: &Path) -> Result<Way, Error> {
        // What is behind a link is replaced, not the link.
        let path = disk::behind(path).map_err(|source| refused(path, source))?;
        if fs::metadata(&path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            let opened = disk::special(&path).map_err(|source| refused(&path, source))?;
            return Ok(way(writer, Place::Direct(Box::new(opened))));
        }
        match writer {
            Writer::Database => {
                Ok(Way::Database(Box::new(Database::open(&path).map_err(|source| refused(&path, source))?)))
            }
            Writer::Lines(_) => Ok(Way::Stream(Place::Growing(Growing::open(&path)?))),
            Writer::Document(_) => {
                // A directory would only be in the way at the end.
                let directory = fs::metadata(&path).is_ok_and(|found| found.is_dir());
                let free = if directory { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(()) };
                free.map_err(|source| refused(&path, source))?;
                let spool = Growing::open(&with_suffix(&path, ".part")).map_err(|error| match error {
                    // Where there is no such folder, what was asked for cannot be, and not only what is beside it.
                    Error::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => refused(&path, source),
                    error => error,
                })?;
                let spool = Spool::File(spool);
                Ok(Way::Document { spool, to: Place::Replaced(path) })
            }
        }
    }

    fn begin(&mut self, header: &Header) -> io::Result<()> {
        match &mut self.way {
            Way::Stream(Place::Growing(file)) | Way::Document { spool: Spool::File(file), .. } => file.begin()?,
            _ => {}
        }
        let settings = crate::record::Settings { show: self.show, ..header.settings.clone() };
        let header = Header { settings, ..header.clone() };
        if let Way::Database(database) = &mut self.way {
            return database.begin(&header);
        }
        self.record(&Record::Scan(Box::new(header)))?;
        self.flush()
    }

    fn resume(&mut self, marks: &[Mark]) -> Result<(), Error> {
        // What was counted before is not known any more, and half a count says what is not so.
        self.counts = None;
        if let Way::Database(database) = &mut self.way {
            let mark = marks.iter().find(|mark| mark.file == database.path());
            let scan = id(mark.map_or(0, |mark| mark.at));
            return database.resume(scan).map_err(|source| Error::Write { name: self.name.clone(), source });
        }
        let Some(file) = self.growing() else { return Ok(()) };
        let mark = marks.iter().find(|mark| mark.file == file.path);
        file.resume(mark.map_or(0, |mark| mark.at))
    }

    fn check(&self, marks: &[Mark]) -> Result<(), Error> {
        let at = |path: &Path| marks.iter().find(|mark| mark.file == path).map_or(0, |mark| mark.at);
        match &self.way {
            Way::Stream(Place::Growing(file)) | Way::Document { spool: Spool::File(file), .. } => {
                file.reaches(at(&file.path))
            }
            Way::Database(database) => {
                let has = database.has(id(at(database.path())));
                has.map_err(|source| Error::Write { name: self.name.clone(), source })
            }
            _ => Ok(()),
        }
    }

    fn mark(&mut self) -> Option<Mark> {
        if self.failed {
            return None;
        }
        if let Way::Database(database) = &self.way {
            return Some(Mark { file: database.path().into(), at: u64::try_from(database.scan()?).ok()? });
        }
        self.growing().map(|file| Mark { file: file.path.clone(), at: file.length })
    }

    fn growing(&mut self) -> Option<&mut Growing> {
        match &mut self.way {
            Way::Stream(Place::Growing(file)) | Way::Document { spool: Spool::File(file), .. } => Some(file),
            _ => None,
        }
    }

    /// What is no verdict.
    fn shows(&self, record: &Record) -> bool {
        match record {
            Record::HostDown(_) => self.show.down,
            Record::Suspect(_) => self.show.open,
            _ => true,
        }
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        match (&mut self.writer, &mut self.way) {
            (_, Way::Database(database)) => database.record(record)?,
            (Writer::Lines(lines), _) => lines.record(record, &mut self.waiting),
            (Writer::Document(_) | Writer::Database, _) => jsonl::spool(record, &mut self.waiting),
        }
        if let Record::Verdict(verdict) = record {
            self.uncount(verdict);
        }
        if self.waiting.len() < BATCH { Ok(()) } else { self.flush() }
    }

    /// Takes a verdict that is not shown.
    fn count(&mut self, verdict: &Verdict) {
        self.uncount(verdict);
        let Some(counts) = &mut self.counts else { return };
        let Verdict { address, state, ref reason, .. } = *verdict;
        let rests = counts.entry(address).or_default();
        match rests.iter_mut().find(|rest| rest.state == state && rest.reason == *reason) {
            Some(rest) => rest.count += 1,
            None => rests.push(Rest { address, state, reason: reason.clone(), count: 1 }),
        }
    }

    /// What a verdict corrects is no longer counted.
    fn uncount(&mut self, verdict: &Verdict) {
        let Some((counts, before)) = self.counts.as_mut().zip(verdict.supersedes) else { return };
        let rests = counts.get_mut(&verdict.address).filter(|_| !self.show.state(before));
        let rest = rests.and_then(|rests| rests.iter_mut().find(|rest| rest.state == before && rest.count > 0));
        rest.into_iter().for_each(|rest| rest.count -= 1);
    }

    /// Writes what waits, also what could wait longer.
    fn write_all(&mut self) -> io::Result<()> {
        if let Way::Database(database) = &mut self.way { database.commit() } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Way::Database(database) = &mut self.way {
            return database.flush();
        }
        if self.waiting.is_empty() {
            return Ok(());
        }
        match &mut self.way {
            Way::Stream(Place::Direct(out)) => out.write_all(&self.waiting).and_then(|()| out.flush())?,
            Way::Stream(Place::Growing(file)) | Way::Document { spool: Spool::File(file), .. } => {
                file.append(&self.waiting)?;
            }
            Way::Document { spool: Spool::Memory(kept), .. } => kept.extend_from_slice(&self.waiting),
            Way::Stream(Place::Replaced(_)) | Way::Database(_) => {}
        }
        self.waiting.clear();
        Ok(())
    }

    fn end(&mut self, last: &Record) -> io::Result<()> {
        let shown = match last {
            Record::Summary(summary) => {
                let settings = crate::record::Settings { show: self.show, ..summary.settings.clone() };
                Record::Summary(Box::new(crate::record::Summary { settings, ..(**summary).clone() }))
            }
            other => other.clone(),
        };
        for rest in std::mem::take(&mut self.counts).into_iter().flatten().flat_map(|(_, rests)| rests) {
            self.record(&Record::Rest(rest))?;
        }
        self.record(&shown)?;
        self.write_all()?;
        match (&self.writer, &mut self.way) {
            (Writer::Document(document), Way::Document { spool, to }) => conclude(&**document, spool, to, self.keeps),
            _ => Ok(()),
        }
    }
}

/// The number of a scan in a database.
fn id(at: u64) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

/// Makes a document of what was kept.
fn conclude(document: &dyn Document, spool: &mut Spool, to: &mut Place, keeps: bool) -> io::Result<()> {
    match to {
        Place::Direct(out) => document_to(document, spool, out)?,
        Place::Growing(_) => {}
        Place::Replaced(path) => {
            let made = with_suffix(path, ".tmp");
            let replaced = replace(path, &made, |out| document_to(document, spool, out));
            // The findings are in the spool; half a document is of no use to anybody.
            replaced?;
        }
    }
    match spool {
        Spool::File(file) if !keeps => file.remove(),
        _ => Ok(()),
    }
}

/// Writes a new file and puts it in the place of the old one, with its permissions.
fn replace(path: &Path, made: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = disk::anew(made).map_err(|error| named(made, &error))?;
    if let Ok(before) = fs::metadata(path) {
        file.set_permissions(before.permissions())?;
    }
    let written = write(&mut file).and_then(|()| file.sync_all()).and_then(|()| fs::rename(made, path));
    if written.is_err() {
        let _ = fs::remove_file(made);
    }
    written
}

/// Which file it is about, where it is not the one that was named.
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn document_to(document: &dyn Document, spool: &mut Spool, out: &mut dyn Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(BATCH, out);
    match spool {
        Spool::Memory(kept) => document.write(&mut records(&kept[..]), &mut out)?,
        Spool::File(file) => document.write(&mut records(BufReader::new(file.read_again()?)), &mut out)?,
    }
    out.flush()
}

/// The records of a spool.
fn records(from: impl BufRead) -> impl Iterator<Item = io::Result<Record>> {
    from.split(b'\n').map(|line| line.and_then(|line| jsonl::parse(&line).map_err(io::Error::from)))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn refused(path: &Path, source: io::Error) -> Error {
    Error::Open { path: path.display().to_string(), source }
}

/// A file that only grows, and is ours alone. One that was made for a scan that never began is taken away again.
struct Growing {
    path: PathBuf,
    file: File,
    length: u64,
    made: bool,
}

impl Growing {
    fn open(path: &Path) -> Result<Growing, Error> {
        let (file, made) = disk::open(path).map_err(|source| refused(path, source))?;
        // By its full name: whoever resumes may stand elsewhere.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        match file.try_lock() {
            Ok(()) => Ok(Growing { path, file, length: 0, made }),
            Err(TryLockError::WouldBlock) => Err(Error::Busy { path: path.display().to_string() }),
            Err(TryLockError::Error(source)) => Err(refused(&path, source)),
        }
    }

    /// From now on it is this scan's.
    fn begin(&mut self) -> io::Result<()> {
        self.made = false;
        self.length = 0;
        self.file.set_len(0)?;
        self.file.rewind()
    }

    /// From here on it is this scan's; what is behind is taken away.
    fn resume(&mut self, at: u64) -> Result<(), Error> {
        self.reaches(at)?;
        self.made = false;
        self.length = at;
        let cut = self.file.set_len(at).and_then(|()| self.file.seek(SeekFrom::Start(at)).map(|_| ()));
        cut.map_err(|source| Error::Write { name: self.path.display().to_string(), source })
    }

    /// Whether it has what a scan left there.
    fn reaches(&self, at: u64) -> Result<(), Error> {
        let found = self.file.metadata().map_err(|source| refused(&self.path, source))?.len();
        match found < at {
            true => Err(Error::Changed { path: self.path.display().to_string(), found, expected: at }),
            false => Ok(()),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(bytes);
        match written {
            Ok(()) => self.length += bytes.len() as u64,
            // A full disk takes half a line; it must not stay.
            Err(_) => drop(self.file.set_len(self.length)),
        }
        written
    }

    fn read_again(&mut self) -> io::Result<impl Read + '_> {
        self.file.rewind()?;
        Ok(&mut self.file)
    }

    fn remove(&mut self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        if self.made {
            // It is empty, and nobody waits for it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::samples;

    /// What is written to a standard output that is said to lead there, and what was to be known of it.
    fn printed(to: PathBuf) -> (Vec<u8>, Vec<String>) {
        let (mut reader, writer) = io::pipe().unwrap();
        let choice = Choice { form: Form::Json, to: Destination::StdoutTo(to) };
        let pipe = || -> Box<dyn Write> { Box::new(writer.try_clone().unwrap()) };
        let mut sinks = Sinks::open(&[choice], &Wanted::default(), |_| None, pipe).unwrap();
        let warnings = sinks.warnings().to_vec();
        sinks.begin(&samples::header()).unwrap();
        sinks.end(&Record::Summary(Box::new(samples::summary()))).unwrap();
        drop((sinks, writer));
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        (bytes, warnings)
    }

    #[test]
    fn a_document_for_a_file_that_is_standard_output_waits_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let (beside, warnings) = printed(folder.path().join("out"));
        assert_eq!((warnings, fs::read_dir(folder.path()).unwrap().count()), (vec![], 0), "nothing is left");
        let (in_memory, warnings) = printed(folder.path().join("nowhere/out"));
        assert!(in_memory == beside && beside.ends_with(b"]\n"));
        assert!(warnings[0].contains("is lost if the scan is killed: cannot open "), "{warnings:?}");
    }
}
