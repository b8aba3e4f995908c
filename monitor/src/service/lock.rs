//! One service a store: a file beside it that is locked as long as the service runs, however it ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Held until dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why it cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Somebody has it.
    #[error("{}: another halfopen watch (process {holder}) keeps this store; end it, or name another store", store.display())]
    Held {
        /// The store.
        store: PathBuf,
        /// Its process number, as it has written it.
        holder: String,
    },
    /// It cannot be made.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

impl Lock {
    /// Takes it.
    pub fn take(store: &Path) -> Result<Lock, Error> {
        let path = Lock::path(store);
        let failed = |source| Error::Write { path: path.clone(), source };
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(Error::Held { store: store.to_owned(), holder: holder.trim().to_owned() });
            }
            Err(error) => return Err(failed(error.into())),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", process::id())
        };
        write(&mut file).map_err(failed)?;
        Ok(Lock { _file: file })
    }

    /// The file that is locked.
    pub fn path(store: &Path) -> PathBuf {
        let mut name = store.as_os_str().to_owned();
        name.push(".lock");
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("monitor.db");
        let lock = Lock::take(&store).unwrap();
        let said = Lock::take(&store).unwrap_err().to_string();
        assert!(said.contains(&format!("another halfopen watch (process {})", process::id())), "{said}");
        drop(lock);
        assert!(Lock::take(&store).is_ok());
        let nowhere = Lock::take(Path::new("/nowhere/monitor.db")).unwrap_err().to_string();
        assert!(nowhere.starts_with("cannot write /nowhere/monitor.db.lock: "), "{nowhere}");
    }
}
