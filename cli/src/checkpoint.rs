//! The file that `halfopen resume` goes on from: a line of JSON (the command as typed, how far its outputs had come), and
//! behind it the library's checkpoint. It is replaced as a whole, so that at any moment the one before or the new one is
//! there. When one is written, and what came since, is for `keeper` and `journal`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use halfopen::Checkpoint;
use halfopen_results::sink::Mark;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

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
}

/// A scan as it was kept.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) header: Header,
    pub(crate) checkpoint: Checkpoint,
}

/// Reads the file.
pub(crate) fn read(path: &Path) -> Result<Kept, Failure> {
    let name = path.display();
    let bytes = fs::read(path).map_err(|source| Failure::Open { name: name.to_string(), source })?;
    let said = |problem: &dyn std::fmt::Display| Failure::Setting(format!("cannot resume from {name}: {problem}"));
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| said(&"this is no checkpoint of a scan"))?;
    let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    let header = serde_json::from_slice(&rest[..end]);
    let header = header.map_err(|_| said(&"this checkpoint is damaged: it was cut short or altered"))?;
    let checkpoint = Checkpoint::from_bytes(rest.get(end + 1..).unwrap_or_default()).map_err(|error| said(&error))?;
    Ok(Kept { header, checkpoint })
}

/// Replaces the file. The one before is there until the new one is on the disk.
pub(crate) fn write(path: &Path, header: &Header, checkpoint: &Checkpoint) -> io::Result<()> {
    let made = with_suffix(path, ".tmp");
    let written = fill(&made, header, checkpoint).and_then(|()| fs::rename(&made, path));
    if written.is_err() {
        let _ = fs::remove_file(&made);
    }
    written?;
    sync_directory(path);
    Ok(())
}

fn fill(made: &Path, header: &Header, checkpoint: &Checkpoint) -> io::Result<()> {
    let mut file = File::create(made)?;
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
