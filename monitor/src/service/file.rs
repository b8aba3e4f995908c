//! The settings' file as it lies there: whether it is another one than before. Editors write anew or replace, and whoever reads
//! too early reads half of it; so a change counts once the file has been the same for two looks.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Looks at a file now and then.
#[derive(Debug)]
pub(super) struct Watched {
    path: PathBuf,
    known: Option<Mark>,
    last: Option<Mark>,
}

/// What differs when a file was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    length: u64,
}

impl Watched {
    /// The file as it is now is known.
    pub(super) fn new(path: &Path) -> Watched {
        let known = Mark::of(path).ok();
        Watched { path: path.to_owned(), known, last: known }
    }

    /// Whether it has changed, and not only just now. A file that is gone has not: it may be on its way.
    pub(super) fn has_changed(&mut self) -> bool {
        let Ok(mark) = Mark::of(&self.path) else { return false };
        let settled = self.last.replace(mark) == Some(mark);
        let changed = settled && self.known != Some(mark);
        if changed {
            self.known = Some(mark);
        }
        changed
    }

    /// As it is now it is known: somebody has read it.
    pub(super) fn read(&mut self) {
        self.known = Mark::of(&self.path).ok();
        self.last = self.known;
    }
}

impl Mark {
    fn of(path: &Path) -> io::Result<Mark> {
        let found = fs::metadata(path)?;
        let modified = (found.mtime(), found.mtime_nsec());
        Ok(Mark { device: found.dev(), inode: found.ino(), modified, length: found.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_or_replaced_is_seen_once_it_is_at_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, "a").unwrap();
        let mut watched = Watched::new(&path);
        assert!(!watched.has_changed());
        fs::write(&path, "ab").unwrap();
        assert_eq!([watched.has_changed(), watched.has_changed(), watched.has_changed()], [false, true, false]);
        let beside = folder.path().join("g");
        fs::write(&beside, "cd").unwrap();
        fs::rename(&beside, &path).unwrap();
        assert_eq!([watched.has_changed(), watched.has_changed()], [false, true]);
        fs::remove_file(&path).unwrap();
        assert_eq!([watched.has_changed(), watched.has_changed()], [false, false]);
        fs::write(&path, "new one").unwrap();
        watched.read();
        assert!(!watched.has_changed());
    }
}
