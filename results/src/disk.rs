//! Files that are written where others may write, too. In a folder like /tmp somebody may have laid a link, or a file of
//! his own, under a name that can be foreseen, and waits for a program with more rights to write there.
//!
//! | what is there | what becomes of it |
//! |---|---|
//! | a link on the way to a file that was named | followed, unless somebody else has laid it in a folder where anybody may write |
//! | a link under a name that is made up here (FILE.part, FILE.tmp) | refused |
//! | an ordinary file | written, unless it is somebody else's, or has a second name, in such a folder |
//! | an ordinary file where one is to be made anew (FILE.tmp) | a leftover of a program that was killed: removed, under the same condition |
//! | a folder, a pipe, a device where a file is to be | refused |
//!
//! These are the rules of the kernel's `protected_symlinks`, `protected_regular` and `protected_hardlinks` (proc(5)), also
//! where they are switched off. Who owns a folder decides what is in it: against him there is no help, and none is needed.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fcntl_getfl};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, geteuid, getpid, pidfd_getfd, pidfd_open};

/// As many links as the kernel follows (path_resolution(7)).
const LINKS: u8 = 40;
/// Everybody may write there, and only owners remove.
const SHARED: u32 = Mode::SVTX.bits() | Mode::WOTH.bits();

/// The file that a name stands for, with its full name, whether it is there or not.
///
/// # Errors
/// A link that somebody else has laid in a folder where anybody may write.
pub fn behind(path: &Path) -> io::Result<PathBuf> {
    let file = resolved(&std::path::absolute(path)?, &mut { LINKS })?;
    // What a link in /proc leads to may have no name of its own.
    let nameless = fs::symlink_metadata(&file).is_err() && fs::metadata(path).is_ok();
    Ok(if nameless { path.into() } else { file })
}

fn resolved(path: &Path, links: &mut u8) -> io::Result<PathBuf> {
    let Some(folder) = path.parent() else { return Ok(path.into()) };
    let folder = resolved(folder, links)?;
    let Some(name) = path.file_name() else { return Ok(folder.parent().unwrap_or(&folder).into()) };
    let here = folder.join(name);
    match fs::symlink_metadata(&here) {
        Ok(link) if link.is_symlink() => {
            trust(&link, &folder, None)?;
            *links = links.checked_sub(1).ok_or(Errno::LOOP)?;
            resolved(&folder.join(fs::read_link(&here)?), links)
        }
        _ => Ok(here),
    }
}

/// Opens an ordinary file to be written and read, and makes it if it is not there; whether it was made. It keeps what it
/// holds.
///
/// # Errors
/// The system's, and what the table above refuses.
pub fn open(path: &Path) -> io::Result<(File, bool)> {
    match make(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok((existing(path, true, None)?, false)),
        made => Ok((made?, true)),
    }
}

/// Makes a file that is nobody's but ours; what has stayed there of a program that was killed is removed.
///
/// # Errors
/// The system's, and what the table above refuses.
pub fn anew(path: &Path) -> io::Result<File> {
    match make(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            existing(path, true, None)?;
            fs::remove_file(path)?;
            make(path)
        }
        made => made,
    }
}

/// Reads an ordinary file of ours, or of a user that we are when we write.
///
/// # Errors
/// The system's, and what the table above refuses.
pub fn read(path: &Path, writer: Option<u32>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    existing(path, false, writer)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens an ordinary file that is there, to be read and written: ours, or of a user that we are when we write.
///
/// # Errors
/// The system's, and what the table above refuses.
pub fn found(path: &Path, writer: Option<u32>) -> io::Result<File> {
    existing(path, true, writer)
}

/// Whether something is there that only its descriptor leads to, like a pipe behind /dev/fd/3: it is in no folder.
pub fn is_nameless(path: &Path) -> bool {
    fs::metadata(path).is_ok() && fs::canonicalize(path).is_err()
}

/// Opens a pipe or a device to be written. What is open in this process already, and somebody else's, is its descriptor once
/// more.
///
/// # Errors
/// The system's.
pub fn special(path: &Path) -> io::Result<File> {
    match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => inherited(path).ok_or(error),
        opened => opened,
    }
}

/// What this process has open to be written under a name like /dev/fd/3, where that leads to nothing with a name of its own:
/// whose it is does not matter for who has it open.
pub fn inherited(path: &Path) -> Option<File> {
    if !is_nameless(path) {
        return None;
    }
    let open = match descriptor(path, LINKS)? {
        1 => io::stdout().as_fd().try_clone_to_owned().ok()?,
        2 => io::stderr().as_fd().try_clone_to_owned().ok()?,
        number => {
            let this = pidfd_open(getpid(), PidfdFlags::empty()).ok()?;
            pidfd_getfd(this, number, PidfdGetfdFlags::empty()).ok()?
        }
    };
    let writes = fcntl_getfl(&open).ok()?.intersects(OFlags::WRONLY | OFlags::RDWR);
    writes.then(|| open.into())
}

/// The number of the descriptor that a name stands for.
fn descriptor(path: &Path, links: u8) -> Option<i32> {
    let folder = fs::canonicalize(path.parent()?).ok()?;
    if folder == fs::canonicalize("/proc/self/fd").ok()? {
        return path.file_name()?.to_str()?.parse().ok();
    }
    descriptor(&folder.join(fs::read_link(path).ok()?), links.checked_sub(1)?)
}

fn make(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

/// Opened without waiting for whoever may be at the other end, and looked at afterwards: so it cannot be exchanged in between.
fn existing(path: &Path, writes: bool, writer: Option<u32>) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = OpenOptions::new().read(true).write(writes).custom_flags(flags).open(path);
    let file = opened.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => io::Error::other("it is a symbolic link, which is not followed here; remove it"),
        _ => error,
    })?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    trust(&found, path.parent().unwrap_or(Path::new("/")), writer)?;
    Ok(file)
}

/// In a folder where anybody may write, what is there must be ours or the folder's owner's, and have no other name.
fn trust(found: &Metadata, folder: &Path, writer: Option<u32>) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let shared = fs::metadata(folder).ok().filter(|folder| folder.mode() & SHARED == SHARED);
    let Some(shared) = shared else { return Ok(()) };
    let (us, kind) = (geteuid().as_raw(), if found.is_symlink() { "a symbolic link" } else { "a file" });
    if ![Some(us), Some(shared.uid()), writer].contains(&Some(found.uid())) {
        let owner = found.uid();
        return Err(io::Error::other(format!(
            "it is {kind} of another user ({owner}) in a folder where anybody may write; remove it, or name another folder"
        )));
    }
    match found.nlink() {
        0 | 1 => Ok(()),
        _ => {
            Err(io::Error::other("it has a second name (a hard link), in a folder where anybody may write; remove it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    /// A folder like /tmp.
    fn shared() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        folder
    }

    /// What is refused, and a word of why.
    fn refused<T>(result: io::Result<T>, why: &str) {
        let error = result.err().expect("it is refused").to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn links_are_followed_to_what_was_named_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| fs::canonicalize(folder.path()).unwrap().join(name);
        fs::create_dir(at("d")).unwrap();
        symlink("d/../later", at("link")).unwrap();
        symlink("link", at("second")).unwrap();
        symlink("loop", at("loop")).unwrap();
        assert_eq!(behind(&at("second")).unwrap(), at("later"), "where it is to be made");
        assert_eq!(behind(&at("d/./../d/new")).unwrap(), at("d/new"));
        assert!(behind(&at("loop")).is_err());
        refused(open(&at("second")), "it is a symbolic link");
        refused(anew(&at("second")), "it is a symbolic link");
        refused(read(&at("second"), None), "it is a symbolic link");
        assert!(!at("later").exists() && fs::symlink_metadata(at("second")).is_ok());
        let (reader, writer) = io::pipe().unwrap();
        let name = PathBuf::from(format!("/dev/fd/{}", writer.as_raw_fd()));
        assert_eq!(behind(&name).unwrap(), name, "a pipe has no name of its own");
        drop(reader);
    }

    #[test]
    fn leftovers_are_removed_and_nothing_else() {
        let folder = shared();
        let path = folder.path().join("file.tmp");
        fs::write(&path, "left over").unwrap();
        assert_eq!(anew(&path).unwrap().metadata().unwrap().len(), 0);
        fs::write(&path, "kept").unwrap();
        let (file, made) = open(&path).unwrap();
        assert_eq!((file.metadata().unwrap().len(), made, read(&path, None).unwrap()), (4, false, b"kept".to_vec()));
        let second = folder.path().join("second");
        fs::hard_link(&path, &second).unwrap();
        refused(anew(&path), "it has a second name");
        refused(anew(folder.path()), "");
        assert_eq!(fs::read(&second).unwrap(), b"kept");
    }

    #[test]
    fn what_is_open_already_is_had_by_its_number() {
        let (mut reader, writer) = io::pipe().unwrap();
        let name = |of: i32| PathBuf::from(format!("/dev/fd/{of}"));
        let mut again = inherited(&name(writer.as_raw_fd())).unwrap();
        assert!(is_nameless(&name(writer.as_raw_fd())) && inherited(&name(reader.as_raw_fd())).is_none());
        again.write_all(b"line").unwrap();
        drop((again, writer));
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, "line");
        assert!(!is_nameless(Path::new("/dev/null")) && inherited(Path::new("/dev/null")).is_none());
        assert!(!is_nameless(Path::new("/nowhere/file")));
    }

    /// Needs root to make files of others: an ordinary user could not be harmed by them.
    #[test]
    fn files_and_links_of_others_are_refused_where_anybody_may_write() {
        if !geteuid().is_root() {
            eprintln!("SKIPPED: only root can make files of others");
            return;
        }
        let folder = shared();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "theirs").unwrap();
        symlink("file", &link).unwrap();
        assert!(behind(&link).is_ok() && open(&file).is_ok());
        chown(&file, Some(1000), None).unwrap();
        std::os::unix::fs::lchown(&link, Some(1000), None).unwrap();
        for refusal in [open(&file).map(drop), anew(&file).map(drop), read(&file, Some(7)).map(drop)] {
            refused(refusal, "it is a file of another user (1000)");
        }
        assert_eq!(read(&file, Some(1000)).unwrap(), b"theirs", "who is who writes for us");
        refused(behind(&link), "it is a symbolic link of another user (1000)");
        refused(behind(&link.join("below")), "it is a symbolic link of another user (1000)");
        assert_eq!(fs::read(&file).unwrap(), b"theirs");
        // In a folder of their own everything is theirs to decide.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(behind(&link).is_ok() && open(&file).is_ok());
    }
}
