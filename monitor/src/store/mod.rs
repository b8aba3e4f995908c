//! The database: one file of SQLite with a write-ahead log. The service writes it, a transaction for each scan; commands that
//! people type add short transactions of their own. Whoever reads sees what was committed last and waits for nobody.
//! Which tables there are stands in `migrations/`; each file here has what is said to some of them.

mod events;
mod incidents;
mod memory;
mod migrations;
pub mod outbox;
mod runs;
mod scans;
pub mod told;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, backup};

pub use events::{Event, Happening, Selection, append, events, newest};
pub use incidents::{
    count_open, find, incidents_after, insert, latest, leave_word, open_about, open_incidents, open_of_cause,
    take_words, update,
};
pub use memory::{recall, remember};
pub use runs::{
    Known, KnownHost, Past, Presence, ever_open, ever_open_ports, history, history_after, hosts, known, presences,
    write_presence, write_runs,
};
pub use scans::{
    Account, Last, add_scan, groups, last_begun, last_regular, last_scans, last_time, newest_scan, probes_after,
    remember_coverage, remembered_coverage,
};

/// What an open interval ends with.
pub(crate) const FOREVER: i64 = i64::MAX;

/// A database under way.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

/// What went wrong with the database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be opened, or is none.
    #[error("{}: cannot be opened as a monitor's database: {source}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
    /// There is none yet.
    #[error("{}: there is no such database; `halfopen watch` makes it", path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// A later program has written it.
    #[error("{}: was written by a later version of halfopen (schema {found}, this one knows {known})", path.display())]
    Later {
        /// Which file.
        path: PathBuf,
        /// Its version,
        found: i64,
        /// and ours.
        known: i64,
    },
    /// An earlier program has written it, and nobody may change it now.
    #[error(
        "{}: was written by an earlier version of halfopen (schema {found}, this one knows {known}); \
         `halfopen watch` converts it when it starts again",
        path.display()
    )]
    Earlier {
        /// Which file.
        path: PathBuf,
        /// Its version,
        found: i64,
        /// and ours.
        known: i64,
    },
    /// There are other things in it.
    #[error("{}: is no monitor's database, or one that is just being made", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// What a copy would replace is no copy.
    #[error("{}: {why}; give the copy another name", path.display())]
    Occupied {
        /// Which file.
        path: PathBuf,
        /// What it is.
        why: &'static str,
    },
    /// A copy cannot be written there.
    #[error("{}: a copy cannot be written there: {source}", path.display())]
    Copy {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
    /// A copy is whole, and could not be given its name.
    #[error("{}: cannot be replaced: {source}", path.display())]
    Rename {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A statement failed: a full disk, a lock that was not let go.
    #[error("the monitor's database: {0}")]
    Sql(#[from] rusqlite::Error),
    /// A row that no version of this program has written.
    #[error("the monitor's database: {0} cannot be read: {1}")]
    Row(&'static str, serde_json::Error),
}

/// Before when what is not kept; none: all is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Horizon {
    /// Scans.
    pub scans: Option<Timestamp>,
    /// What ports and hosts were.
    pub states: Option<Timestamp>,
    /// Incidents that are over, and events.
    pub incidents: Option<Timestamp>,
    /// What was sent.
    pub deliveries: Option<Timestamp>,
}

impl Horizon {
    /// The same for all.
    pub fn of(before: Timestamp) -> Horizon {
        let all = Some(before);
        Horizon { scans: all, states: all, incidents: all, deliveries: all }
    }
}

/// What SQLite takes for no file.
const MEMORY: &str = ":memory:";
/// How long a transaction waits for another.
const PATIENCE: Duration = Duration::from_secs(10);

impl Store {
    /// Opens a database to write, and makes it if there is none, for its owner alone.
    pub fn open(path: &Path) -> Result<Store, Error> {
        let wrong = |source| Error::Open { path: path.to_owned(), source };
        make_for_owner(path);
        let mut connection = Connection::open(path).map_err(wrong)?;
        set_up(&connection).map_err(wrong)?;
        let found = migrations::version(&connection).map_err(wrong)?;
        if found > migrations::LATEST {
            return Err(Error::Later { path: path.to_owned(), found, known: migrations::LATEST });
        }
        if found == 0 && !migrations::is_empty(&connection).map_err(wrong)? {
            return Err(Error::Foreign { path: path.to_owned() });
        }
        migrations::migrate(&mut connection).map_err(wrong)?;
        Ok(Store { connection, path: path.to_owned() })
    }

    /// Opens one that is there: to be read, or for a short transaction.
    pub fn existing(path: &Path) -> Result<Store, Error> {
        Store::as_it_is(path)?;
        Store::open(path)
    }

    /// Opens one that is there and changes nothing, whoever may write to it.
    pub fn read_only(path: &Path) -> Result<Store, Error> {
        let store = Store::as_it_is(path)?;
        match migrations::version(&store.connection)? {
            found if found < migrations::LATEST => {
                Err(Error::Earlier { path: path.to_owned(), found, known: migrations::LATEST })
            }
            _ => Ok(store),
        }
    }

    /// The same for one that an earlier program has written, too: as a file, whatever is in its tables.
    pub fn as_it_is(path: &Path) -> Result<Store, Error> {
        if !path.exists() {
            return Err(Error::Missing { path: path.to_owned() });
        }
        let wrong = |source| Error::Open { path: path.to_owned(), source };
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(wrong)?;
        connection.busy_timeout(PATIENCE).map_err(wrong)?;
        match migrations::version(&connection).map_err(wrong)? {
            0 => Err(Error::Foreign { path: path.to_owned() }),
            found if found > migrations::LATEST => {
                Err(Error::Later { path: path.to_owned(), found, known: migrations::LATEST })
            }
            _ => Ok(Store { connection, path: path.to_owned() }),
        }
    }

    /// One that is gone afterwards: for tests, and for what is only tried out.
    pub fn in_memory() -> Result<Store, Error> {
        Store::open(Path::new(MEMORY))
    }

    /// Writes a copy to another file, while others read and write; a copy that was there is replaced when the new one is whole.
    pub fn back_up(&self, to: &Path) -> Result<(), Error> {
        self.check_place(to)?;
        let part = to.with_added_extension("part");
        make_for_owner(&part);
        self.copy_to(&part).map_err(|source| Error::Copy { path: to.to_owned(), source })?;
        std::fs::rename(&part, to).map_err(|source| Error::Rename { path: to.to_owned(), source })
    }

    fn copy_to(&self, part: &Path) -> rusqlite::Result<()> {
        let mut copy = Connection::open(part)?;
        let pages = 1000;
        backup::Backup::new(&self.connection, &mut copy)?.run_to_completion(pages, Duration::ZERO, None)?;
        // The copy is one file, for whoever moves it elsewhere.
        copy.pragma_update(None, "journal_mode", "DELETE")
    }

    fn check_place(&self, to: &Path) -> Result<(), Error> {
        let occupied = |why| Err(Error::Occupied { path: to.to_owned(), why });
        let Ok(there) = to.canonicalize() else { return Ok(()) };
        if self.path.canonicalize().is_ok_and(|own| own == there) {
            return occupied("is the database itself");
        }
        match Store::as_it_is(to) {
            Ok(_) | Err(Error::Later { .. }) => Ok(()),
            Err(_) => occupied("is there already, and is no copy of a monitor's database"),
        }
    }

    /// What is wrong with the file; nothing if it is whole.
    pub fn faults(&self) -> Result<Vec<String>, Error> {
        let mut rows = self.connection.prepare("PRAGMA integrity_check")?;
        let faults: Vec<String> = rows.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let mut rows = self.connection.prepare("PRAGMA foreign_key_check")?;
        let table = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        let strays: Vec<String> = rows.query_map([], table)?.collect::<Result<_, _>>()?;
        let strays = strays.into_iter().map(|table| format!("a row of {table} refers to one that is not there"));
        Ok(faults.into_iter().filter(|fault| fault != "ok").chain(strays).collect())
    }

    /// Gives back the space of what was deleted.
    pub fn vacuum(&self) -> Result<(), Error> {
        Ok(self.connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")?)
    }

    /// Deletes what ended before the horizon. What still holds is kept, however old.
    pub fn prune(&mut self, before: &Horizon) -> Result<u64, Error> {
        let transaction = self.transaction()?;
        let mut rows = 0;
        for (statement, before) in [
            ("DELETE FROM run WHERE until < ?1", before.states),
            ("DELETE FROM presence WHERE until < ?1", before.states),
            ("DELETE FROM scan WHERE ended < ?1", before.scans),
            ("DELETE FROM event WHERE at < ?1", before.incidents),
            ("DELETE FROM said WHERE incident IN (SELECT id FROM incident WHERE resolved < ?1)", before.incidents),
            ("DELETE FROM incident WHERE resolved < ?1", before.incidents),
        ] {
            let Some(before) = before else { continue };
            rows += transaction.execute(statement, [millis(before)])? as u64;
        }
        rows += before.deliveries.map_or(Ok(0), |before| outbox::retire(&transaction, before))? as u64;
        transaction.commit()?;
        Ok(rows)
    }

    /// Which file it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// To read by.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// To write by: all of it counts with `commit`, or nothing.
    pub fn transaction(&mut self) -> Result<Transaction<'_>, Error> {
        Ok(self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

/// A map of a network is nobody else's business. The log and the index beside a database have the rights of the database
/// (sqlite.org/wal.html); one that is there keeps those that somebody has given it. What cannot be made, SQLite says.
fn make_for_owner(path: &Path) {
    if path != Path::new(MEMORY) {
        let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    }
}

/// What holds for every connection that writes.
fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // Of what was committed nothing is lost when the machine loses power, which NORMAL would allow.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)
}

/// As it is stored.
pub(crate) fn millis(time: Timestamp) -> i64 {
    time.as_millisecond()
}

/// As it was stored.
pub(crate) fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_made_once_and_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("monitor.db");
        assert!(matches!(Store::existing(&path), Err(Error::Missing { .. })));
        remember(Store::open(&path).unwrap().connection(), "x", &7).unwrap();
        let again = Store::open(&path).unwrap();
        assert_eq!(recall::<u8>(again.connection(), "x").unwrap(), Some(7));
        let reader = Store::read_only(&path).unwrap();
        assert!(remember(reader.connection(), "x", &8).is_err());
    }

    #[test]
    fn nobody_else_reads_it_unless_its_owner_lets_them() {
        use std::fs::{Permissions, metadata, set_permissions};
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("monitor.db"), folder.path().join("copy.db"));
        let mode = |name: &str| metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        let store = Store::open(&path).unwrap();
        remember(store.connection(), "x", &7).unwrap();
        store.back_up(&copy).unwrap();
        for name in ["monitor.db", "monitor.db-wal", "monitor.db-shm", "copy.db"] {
            assert_eq!(mode(name), 0o600, "{name}");
        }
        drop(store);
        set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        remember(Store::open(&path).unwrap().connection(), "x", &8).unwrap();
        assert_eq!(mode("monitor.db"), 0o640);
        assert!(!Path::new(MEMORY).exists());
    }

    #[test]
    fn what_a_later_program_wrote_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("monitor.db");
        Store::open(&path).unwrap().connection().pragma_update(None, "user_version", 1000).unwrap();
        for opened in [Store::open(&path), Store::read_only(&path)] {
            assert!(opened.unwrap_err().to_string().contains("later version"));
        }
    }

    #[test]
    fn somebody_elses_database_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.db");
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE theirs (x)").unwrap();
        for opened in [Store::open(&path), Store::existing(&path), Store::read_only(&path)] {
            assert!(opened.unwrap_err().to_string().contains("other.db: is no monitor's database"));
        }
        assert_eq!(other.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0)), Ok(1));
    }

    #[test]
    fn what_is_no_database_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "not a database, but some text of somebody's own, and long enough").unwrap();
        let error = Store::open(&path).unwrap_err().to_string();
        assert!(error.contains("notes.txt") && error.contains("not a database"), "{error}");
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("not a database"));
    }

    #[test]
    fn a_copy_is_whole_and_what_is_old_can_go() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("monitor.db"), folder.path().join("copy.db"));
        let mut store = Store::open(&path).unwrap();
        for second in [1, 5] {
            let what = Happening::ScanFailed { error: "x".into() };
            append(store.connection(), Timestamp::from_second(second).unwrap(), None, &what).unwrap();
        }
        store.back_up(&copy).unwrap();
        store.back_up(&copy).unwrap();
        let refused = |to: &Path| store.back_up(to).unwrap_err().to_string();
        assert!(refused(store.path.as_path()).contains("is the database itself; give the copy another name"));
        let text = folder.path().join("text");
        std::fs::write(&text, "something else").unwrap();
        assert!(refused(&text).contains("is no copy of a monitor's database"));
        std::fs::remove_file(text).unwrap();
        let nowhere = refused(&folder.path().join("nowhere/copy"));
        assert!(nowhere.contains("nowhere/copy: a copy cannot be written there: unable to open"), "{nowhere}");
        assert_eq!(store.prune(&Horizon::of(Timestamp::from_second(3).unwrap())).unwrap(), 1);
        store.vacuum().unwrap();
        let left =
            |path: &Path| events(Store::read_only(path).unwrap().connection(), &Selection::default()).unwrap().len();
        assert_eq!((left(&path), left(&copy)), (1, 2));
        assert_eq!(store.faults().unwrap(), [""; 0]);
        let mut names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        names.retain(|name| !name.to_string_lossy().starts_with("monitor.db"));
        assert_eq!(names, ["copy.db"], "nothing half-written is left");
    }

    #[test]
    fn a_transaction_that_is_dropped_leaves_nothing() {
        let mut store = Store::in_memory().unwrap();
        let transaction = store.transaction().unwrap();
        remember(&transaction, "x", &1).unwrap();
        drop(transaction);
        assert_eq!(recall::<u8>(store.connection(), "x").unwrap(), None);
    }
}
