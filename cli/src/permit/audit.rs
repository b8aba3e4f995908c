//! The audit log of a scope: one JSON line when a scan begins, gets more targets, ends or is refused, only ever appended. `SCOPE.md` is its
//! schema. A line is on the disk before the scan goes on.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process;

use jiff::Timestamp;
use rustix::fs::OFlags;
use serde_json::{Map, Value, json};

use super::scope::Scope;
use crate::failure::Failure;

/// The log, open for as long as the scan runs: who drops rights on the way can still write the last line.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    name: String,
    /// What every line of this scan has.
    common: Map<String, Value>,
}

/// So much of a log says what it is.
const HEAD: u64 = 1 << 16;
const EVENTS: [&str; 4] = ["start", "batch", "end", "refused"];
/// How a line begins: names are in the order of the alphabet.
const BEGINNING: &[u8] = b"{\"command\":[";
/// Readable for its owner alone: it says who scans what.
const MODE: u32 = 0o600;
/// What the kernel has for "nobody logged in".
const NO_LOGIN: u32 = u32::MAX;

impl Log {
    /// Opens the log of a scope, and makes it if it is not there.
    pub(crate) fn open(scope: &Scope, scan: u64) -> Result<Log, Failure> {
        let path = &scope.audit_log;
        let name = path.to_string_lossy().into_owned();
        let file = ours(path).map_err(|source| Failure::Audit { name: name.clone(), source })?;
        Ok(Log { file, name, common: common(scope, scan) })
    }

    /// Appends a line.
    pub(crate) fn write(&mut self, event: &str, what: Map<String, Value>) -> Result<(), Failure> {
        let mut record = Map::from_iter([("event".to_owned(), event.into()), ("time".to_owned(), now().into())]);
        record.extend(self.common.clone());
        record.extend(what);
        self.append(&Value::Object(record)).map_err(|source| Failure::Audit { name: self.name.clone(), source })
    }

    /// In one piece, so that lines of scans at the same time do not mix; after a line that a full disk has torn, on a new
    /// one.
    fn append(&mut self, record: &Value) -> io::Result<()> {
        let torn = if self.ends_in_a_line()? { "" } else { "\n" };
        self.file.write_all(format!("{torn}{record}\n").as_bytes())?;
        self.file.sync_data()
    }

    fn ends_in_a_line(&mut self) -> io::Result<bool> {
        if self.file.metadata()?.len() == 0 {
            return Ok(true);
        }
        let mut last = [0];
        self.file.seek(SeekFrom::End(-1))?;
        self.file.read_exact(&mut last)?;
        Ok(last == [b'\n'])
    }
}

/// A log that nobody but root and the user who scans can alter, and not a file of something else: it is empty, or begins as
/// a log does.
fn ours(path: &Path) -> io::Result<File> {
    let file = regular(path)?;
    let (owner, us) = (file.metadata()?.uid(), rustix::process::geteuid().as_raw());
    if ![0, us].contains(&owner) {
        return Err(io::Error::other(format!("it belongs to another user ({owner}); name another file, or remove it")));
    }
    let mut head = Vec::new();
    (&file).take(HEAD).read_to_end(&mut head)?;
    match is_log(&head) {
        true => Ok(file),
        false => Err(io::Error::other("it has something else in it; name another file, or remove it")),
    }
}

/// By the first line; of one that is long, or that a full disk has torn, by its beginning.
fn is_log(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    match serde_json::from_slice::<Value>(line) {
        Ok(record) => EVENTS.iter().any(|event| record["event"] == *event),
        Err(_) if line.is_empty() => head.is_empty(),
        Err(_) => line.starts_with(BEGINNING) || BEGINNING.starts_with(line),
    }
}

/// No link, which could lead the log of a privileged scan elsewhere, and no pipe, which would forget it.
fn regular(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let mut options = OpenOptions::new();
    let file = options.read(true).append(true).create(true).mode(MODE).custom_flags(flags.cast_signed()).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("not a regular file")),
    }
}

fn common(scope: &Scope, scan: u64) -> Map<String, Value> {
    let fields = json!({
        "scan": format!("{scan:016x}"),
        "version": env!("CARGO_PKG_VERSION"),
        "host": rustix::system::uname().nodename().to_string_lossy(),
        "process": process::id(),
        "user": user(),
        "command": env::args_os().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "scope": absolute(&scope.path),
        "expires": scope.expires(),
        "reference": scope.reference,
        "contact": scope.contact,
    });
    if let Value::Object(fields) = fields { fields } else { Map::new() }
}

/// Who it is by the kernel, who logged in by the kernel, and who it was by sudo's word.
fn user() -> Value {
    let uid = rustix::process::getuid().as_raw();
    let login =
        text("/proc/self/loginuid").and_then(|text| text.trim().parse().ok()).filter(|&uid: &u32| uid != NO_LOGIN);
    json!({
        "uid": uid,
        "name": name(uid),
        "login_uid": login,
        "login_name": login.and_then(name),
        "sudo_user": env::var("SUDO_USER").ok(),
        "sudo_uid": env::var("SUDO_UID").ok(),
    })
}

/// From the file of users; those of a directory service have only numbers.
fn name(uid: u32) -> Option<String> {
    let uid = uid.to_string();
    let users = text("/etc/passwd")?;
    let line = users.lines().find(|line| line.split(':').nth(2) == Some(&uid))?;
    line.split(':').next().map(str::to_owned)
}

fn text(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

fn now() -> String {
    Timestamp::now().to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn log(path: &Path) -> Log {
        Log { file: regular(path).unwrap(), name: String::new(), common: Map::new() }
    }

    fn one(log: &mut Log, event: &str) {
        log.write(event, Map::from_iter([("n".to_owned(), 1.into())])).unwrap();
    }

    #[test]
    fn lines_are_appended_by_all_who_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut a, mut b) = (log(&path), log(&path));
        one(&mut a, "start");
        one(&mut b, "start");
        one(&mut a, "end");
        let lines = fs::read_to_string(&path).unwrap();
        let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            events.iter().map(|event| event["event"].as_str().unwrap()).collect::<Vec<_>>(),
            ["start", "start", "end"]
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
    }

    #[test]
    fn a_torn_line_stays_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "{\"event\":\"sta").unwrap();
        one(&mut log(&path), "start");
        let lines = fs::read_to_string(&path).unwrap();
        assert!(lines.starts_with("{\"event\":\"sta\n{") && lines.ends_with("}\n"), "{lines}");
    }

    #[test]
    fn links_pipes_and_folders_are_no_logs() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        symlink(folder.path().join("elsewhere"), &link).unwrap();
        assert!(regular(&link).is_err() && !folder.path().join("elsewhere").exists());
        assert!(regular(folder.path()).is_err());
        assert_eq!(regular(Path::new("/dev/null")).unwrap_err().to_string(), "not a regular file");
    }

    #[test]
    fn files_of_something_else_are_no_logs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for (text, is_log) in [
            ("", true),
            ("{\"command\":[\"halfopen\"],\"event\":\"start\"}\n", true),
            ("{\"command\":[\"halfopen\"],\"event\":\"batch\"}\n", true),
            ("{\"command\":[\"half", true),
            ("{\"command\":[\"halfopen\"],\"type\":\"scan\"}\n", false),
            ("192.0.2.1\n", false),
            ("\n", false),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(ours(&path).is_ok(), is_log, "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        if rustix::process::geteuid().is_root() {
            fs::write(&path, "").unwrap();
            std::os::unix::fs::chown(&path, Some(1000), None).unwrap();
            assert!(ours(&path).unwrap_err().to_string().contains("another user (1000)"));
        } else {
            eprintln!("SKIPPED: only root can make files of others");
        }
    }

    #[test]
    fn users_are_known_by_number_and_name() {
        assert_eq!(name(0).as_deref(), Some("root"));
        assert_eq!(user()["uid"], rustix::process::getuid().as_raw());
    }
}
