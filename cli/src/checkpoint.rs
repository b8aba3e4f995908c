//! The file that `halfopen resume` goes on from: a line of JSON (the command as typed, how far its outputs had come), and
//! behind it the library's checkpoint. It is replaced as a whole, so that at any moment the one before or the new one is
//! there. When one is written, and what came since, is for `keeper` and `journal`.
//!
//! It is locked by whoever keeps or resumes the scan. A scan makes it when it begins, empty; if it is killed before its first
//! checkpoint, the empty file counts as none. FILE.tmp, which a kill in mid-write leaves, is removed by the next checkpoint.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use halfopen::Checkpoint;
use halfopen_results::disk;
use halfopen_results::sink::Mark;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::output::told::Told;
use crate::privileges;

/// The first line.
const MAGIC: &[u8] = b"halfopen scan, interrupted; `halfopen resume` goes on with it\n";

/// What the library does not know of a scan.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The program's version.
    pub(crate) program: String,
    /// How many checkpoints there were before: the journal's parts from this number on came since.
    pub(crate) generation: u64,
    /// Where the command was typed.
    pub(crate) directory: PathBuf,
    /// The command, with all settings that count.
    pub(crate) words: Vec<String>,
    /// How far the outputs had come.
    pub(crate) marks: Vec<Mark>,
    /// What the account says in the end of what had been found.
    pub(crate) told: Told,
}

/// A scan as it was kept.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) header: Header,
    pub(crate) checkpoint: Checkpoint,
}

/// The file, which is ours alone as long as this lives: nobody else goes on with its scan, or keeps another there. It is
/// locked (flock(2)), and so is every file that takes its place, before it does.
#[derive(Debug)]
pub(crate) struct Hold {
    path: PathBuf,
    file: Mutex<File>,
}

impl Hold {
    /// For a new scan: it is empty until the first checkpoint. One that is empty already has been left by a scan that was
    /// killed before.
    pub(crate) fn make(path: &Path) -> Result<Hold, Failure> {
        let file = locked(path, || disk::open(path).map(|(file, _)| file))?;
        vacant(path, &file)?;
        Ok(Hold { path: path.into(), file: Mutex::new(file) })
    }

    /// For the scan that is kept there.
    pub(crate) fn take(path: &Path) -> Result<Hold, Failure> {
        let file = locked(path, || disk::found(path, privileges::becomes()))?;
        Ok(Hold { path: path.into(), file: Mutex::new(file) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file.
    pub(crate) fn read(&self) -> Result<Kept, Failure> {
        let name = self.path.display();
        let mut bytes = Vec::new();
        let read = self.held().read_to_end(&mut bytes);
        read.map_err(|source| Failure::Open { name: name.to_string(), source })?;
        let said = |problem: &dyn std::fmt::Display| Failure::Setting(format!("cannot resume from {name}: {problem}"));
        if bytes.is_empty() {
            return Err(said(&"it is empty: its scan ended before the first checkpoint, and can only be made again"));
        }
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| said(&"this is no checkpoint of a scan"))?;
        let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        let header = serde_json::from_slice(&rest[..end]);
        let header = header.map_err(|_| said(&"this checkpoint is damaged: it was cut short or altered"))?;
        let checkpoint =
            Checkpoint::from_bytes(rest.get(end + 1..).unwrap_or_default()).map_err(|error| said(&error))?;
        Ok(Kept { header, checkpoint })
    }

    /// Replaces the file. The one before is there until the new one is on the disk.
    pub(crate) fn replace(&self, header: &Header, checkpoint: &Checkpoint) -> io::Result<()> {
        let made = with_suffix(&self.path, ".tmp");
        let mut file = disk::anew(&made)?;
        let written = fill(&mut file, header, checkpoint).and_then(|()| fs::rename(&made, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&made);
        }
        written?;
        *self.held() = file;
        sync_directory(&self.path);
        Ok(())
    }

    /// There is nothing to go on with any more.
    pub(crate) fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }

    fn held(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a new scan could be kept there, as far as can be told without making anything.
pub(crate) fn is_free(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(_) => vacant(path, &locked(path, || disk::found(path, privileges::becomes()))?),
        Err(_) => Ok(()),
    }
}

fn vacant(path: &Path, file: &File) -> Result<(), Failure> {
    if file.metadata().is_ok_and(|found| found.len() == 0) {
        return Ok(());
    }
    let name = path.display();
    let problem = format!("{name} is there already; go on with that scan by `halfopen resume {name}`, or remove it");
    Err(Failure::Setting(problem))
}

/// The file of that name, locked. One that was replaced before it could be is not the one any more.
fn locked(path: &Path, open: impl Fn() -> io::Result<File>) -> Result<File, Failure> {
    let failed = |source| Failure::Open { name: path.display().to_string(), source };
    loop {
        let file = open().map_err(failed)?;
        match file.try_lock() {
            Ok(()) if is_still(path, &file).map_err(failed)? => return Ok(file),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(path)),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
}

fn is_still(path: &Path, file: &File) -> io::Result<bool> {
    let (named, held) = (fs::symlink_metadata(path)?, file.metadata()?);
    Ok((named.dev(), named.ino()) == (held.dev(), held.ino()))
}

fn in_use(path: &Path) -> Failure {
    let name = path.display();
    Failure::Setting(format!("{name} is in use: another halfopen keeps its scan there, and is still at it"))
}

fn fill(file: &mut File, header: &Header, checkpoint: &Checkpoint) -> io::Result<()> {
    file.try_lock()?;
    let mut head = [MAGIC, &serde_json::to_vec(header)?].concat();
    head.push(b'\n');
    file.write_all(&head)?;
    file.write_all(&checkpoint.to_bytes())?;
    file.sync_all()
}

/// A rename that is not on the disk may be undone by a power cut: then the one before is there. Who has given up the
/// right to read the directory has to live with that.
fn sync_directory(path: &Path) {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
}

/// A file beside this one.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
