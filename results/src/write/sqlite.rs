//! `sqlite`: a database to which each scan adds itself (`SQLITE.md` describes its tables). Findings are written at least
//! once a second while the scan runs, in transactions: a kill leaves a sound database with what was written before.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, Transaction, params};

use crate::coverage::Coverage;
use crate::disk;
use crate::record::{Batch, Header, Record, Summary, Verdict};
use crate::time;

/// Says that a database is ours: `half` in ASCII.
pub(crate) const APPLICATION: i32 = 0x6861_6c66;
/// The version of its tables.
pub(crate) const VERSION: i32 = 1;
const SCHEMA: &str = include_str!("sqlite.sql");

/// Findings are written together: commits cost a few milliseconds each.
const BATCH: usize = 1 << 12;
/// The longest that a finding waits while others come.
const LONGEST: Duration = Duration::from_millis(500);
/// For another scan that writes into the same file.
const PATIENCE: Duration = Duration::from_secs(10);

/// A scan on its way into a database.
pub(crate) struct Database {
    path: PathBuf,
    connection: Connection,
    /// Made for this scan, which has not begun.
    made: bool,
    scan: Option<i64>,
    waiting: Vec<Record>,
    committed: Instant,
}

fn failed(error: rusqlite::Error) -> io::Error {
    io::Error::other(error)
}

impl Database {
    /// Opens the file, which is a database of ours, or empty, or not there.
    pub(crate) fn open(path: &Path) -> io::Result<Database> {
        // The system's words are better than the library's.
        let (_, made) = disk::open(path)?;
        let flags = OpenFlags::default() | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        let database = Database {
            path: fs::canonicalize(path).unwrap_or_else(|_| path.into()),
            connection,
            made,
            scan: None,
            waiting: Vec::new(),
            committed: Instant::now(),
        };
        database.check()?;
        Ok(database)
    }

    fn check(&self) -> io::Result<()> {
        self.connection.busy_timeout(PATIENCE).map_err(failed)?;
        let (application, version) = versions(&self.connection).map_err(failed)?;
        let tables: i64 =
            self.connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
        match (application, version, tables) {
            (APPLICATION, VERSION, _) | (0, 0, 0) => Ok(()),
            (APPLICATION, version, _) => {
                Err(io::Error::other(format!("its tables are of version {version}, and this program's of {VERSION}")))
            }
            _ => Err(io::Error::other("it is a database of something else")),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the scan in the database.
    pub(crate) fn scan(&self) -> Option<i64> {
        self.scan
    }

    pub(crate) fn begin(&mut self, header: &Header) -> io::Result<()> {
        self.made = false;
        self.scan = Some(begin(&mut self.connection, header).map_err(failed)?);
        Ok(())
    }

    /// Goes on with a scan that was interrupted. What comes twice is there once.
    pub(crate) fn resume(&mut self, scan: i64) -> io::Result<()> {
        self.has(scan)?;
        self.made = false;
        let again = "UPDATE scans SET outcome = 'running', error = NULL, summary = NULL WHERE id = ?1";
        self.connection.execute(again, [scan]).map_err(failed)?;
        self.scan = Some(scan);
        Ok(())
    }

    /// Whether there is a scan of that number.
    pub(crate) fn has(&self, scan: i64) -> io::Result<()> {
        let found = self.connection.prepare("SELECT 1 FROM scans WHERE id = ?1").and_then(|mut all| all.exists([scan]));
        match found {
            Ok(true) => Ok(()),
            // Without tables there is none either.
            Ok(false) | Err(_) => Err(io::Error::other(format!("it has no scan {scan}"))),
        }
    }

    pub(crate) fn record(&mut self, record: &Record) -> io::Result<()> {
        self.waiting.push(record.clone());
        if self.waiting.len() < BATCH { Ok(()) } else { self.commit() }
    }

    /// Writes what has waited long enough.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.committed.elapsed() < LONGEST { Ok(()) } else { self.commit() }
    }

    /// Writes what waits.
    pub(crate) fn commit(&mut self) -> io::Result<()> {
        let Some(scan) = self.scan.filter(|_| !self.waiting.is_empty()) else { return Ok(()) };
        write(&mut self.connection, scan, &self.waiting).map_err(failed)?;
        self.waiting.clear();
        self.committed = Instant::now();
        Ok(())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.made {
            // It is empty, and nobody waits for it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whose it is, and of which version.
pub(crate) fn versions(connection: &Connection) -> rusqlite::Result<(i32, i32)> {
    let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0));
    Ok((pragma("application_id")?, pragma("user_version")?))
}

fn begin(connection: &mut Connection, header: &Header) -> rusqlite::Result<i64> {
    connection.pragma_update(None, "foreign_keys", true)?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    if versions(&transaction)? == (0, 0) {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    let scan = insert_scan(&transaction, header)?;
    transaction.commit()?;
    Ok(scan)
}

fn insert_scan(to: &Transaction<'_>, header: &Header) -> rusqlite::Result<i64> {
    let without = Header { coverage: Coverage::default(), ..header.clone() };
    to.execute(
        "INSERT INTO scans (outcome, version, started, targets, hosts, header) VALUES ('running', ?1, ?2, ?3, ?4, ?5)",
        params![
            header.version,
            time::text(header.started),
            number(header.targets),
            number(header.hosts),
            json(&without)
        ],
    )?;
    let scan = to.last_insert_rowid();
    insert_coverage(to, scan, &header.coverage)?;
    Ok(scan)
}

fn insert_coverage(to: &Transaction<'_>, scan: i64, coverage: &Coverage) -> rusqlite::Result<()> {
    let mut insert = to.prepare("INSERT INTO coverage (scan, first, last, ports) VALUES (?1, ?2, ?3, ?4)")?;
    for span in coverage.spans() {
        let (first, last) = (span.addresses.first().to_string(), span.addresses.last().to_string());
        insert.execute(params![scan, first, last, span.ports.to_string()])?;
    }
    Ok(())
}

/// The row of a scan says what it would, had all targets been known when the scan began.
fn extend(to: &Transaction<'_>, scan: i64, batch: &Batch) -> rusqlite::Result<()> {
    let text: String = to.query_row("SELECT header FROM scans WHERE id = ?1", [scan], |row| row.get(0))?;
    let mut header: Header = serde_json::from_str(&text).unwrap_or_default();
    header.extend(&Batch { coverage: Coverage::default(), ..batch.clone() });
    let sql = "UPDATE scans SET targets = ?2, hosts = ?3, header = ?4 WHERE id = ?1";
    to.execute(sql, params![scan, number(header.targets), number(header.hosts), json(&header)])?;
    insert_coverage(to, scan, &batch.coverage)
}

/// Numbers of SQLite have a sign.
fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn json(value: &impl serde::Serialize) -> String {
    // There is none that cannot be serialised.
    serde_json::to_string(value).unwrap_or_default()
}

fn write(connection: &mut Connection, scan: i64, records: &[Record]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    records.iter().try_for_each(|record| insert(&transaction, scan, record))?;
    transaction.commit()
}

fn insert(to: &Transaction<'_>, scan: i64, record: &Record) -> rusqlite::Result<()> {
    match record {
        Record::Verdict(verdict) => insert_verdict(to, scan, verdict),
        Record::HostDown(host) => {
            let sql = "INSERT INTO hosts (scan, address, down) VALUES (?1, ?2, ?3)
                       ON CONFLICT DO UPDATE SET down = excluded.down";
            to.prepare_cached(sql)?.execute(params![scan, host.address.to_string(), host.reason]).map(drop)
        }
        Record::Suspect(host) => {
            let sql = "INSERT INTO hosts (scan, address, suspect, usual_ttl) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT DO UPDATE SET suspect = excluded.suspect, usual_ttl = excluded.usual_ttl";
            let values = params![scan, host.address.to_string(), host.reason, host.usual_ttl];
            to.prepare_cached(sql)?.execute(values).map(drop)
        }
        Record::Warning(warning) => {
            // A scan that goes on after a kill is told some of them again.
            let sql = "INSERT INTO warnings (scan, message) SELECT ?1, ?2
                       WHERE NOT EXISTS (SELECT 1 FROM warnings WHERE scan = ?1 AND message = ?2)";
            to.prepare_cached(sql)?.execute(params![scan, warning.message]).map(drop)
        }
        Record::Error(error) => {
            let sql = "UPDATE scans SET outcome = 'failed', error = ?2 WHERE id = ?1";
            to.execute(sql, params![scan, error.message]).map(drop)
        }
        Record::Summary(summary) => end(to, scan, summary),
        Record::Batch(batch) => extend(to, scan, batch),
        Record::Scan(_) | Record::Command(_) | Record::Rest(_) | Record::Unknown => Ok(()),
    }
}

fn insert_verdict(to: &Transaction<'_>, scan: i64, verdict: &Verdict) -> rusqlite::Result<()> {
    let sql =
        "INSERT OR REPLACE INTO verdicts (scan, address, port, protocol, state, reason, sender, ttl, rtt_us, pass,
               probes, time, supersedes, suspect) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    let mut insert = to.prepare_cached(sql)?;
    insert
        .execute(params![
            scan,
            verdict.address.to_string(),
            verdict.port,
            verdict.protocol,
            verdict.state.name(),
            verdict.reason,
            verdict.sender.map(|sender| sender.to_string()),
            verdict.ttl,
            verdict.rtt_us.map(number),
            verdict.pass,
            verdict.probes,
            time::text(verdict.time),
            verdict.supersedes.map(crate::record::State::name),
            verdict.suspect,
        ])
        .map(drop)
}

fn end(to: &Transaction<'_>, scan: i64, summary: &Summary) -> rusqlite::Result<()> {
    let sql = "UPDATE scans SET outcome = ?2, elapsed_us = ?3, summary = ?4 WHERE id = ?1";
    let outcome = if summary.outcome == "complete" { "complete" } else { "stopped" };
    to.execute(sql, params![scan, outcome, number(summary.elapsed_us), json(summary)]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::samples;

    #[test]
    fn several_scans_in_one_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("scans.sqlite");
        for number in 1..=3 {
            let mut database = Database::open(&path).unwrap();
            database.begin(&samples::header()).unwrap();
            assert_eq!(database.scan(), Some(number));
            samples::records().iter().try_for_each(|record| database.record(record)).unwrap();
            database.commit().unwrap();
        }
        let connection = Connection::open(&path).unwrap();
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count("SELECT count(*) FROM scans WHERE outcome = 'complete'"), 3);
        assert_eq!(count("SELECT count(*) FROM verdicts WHERE state = 'open'"), 3 * 2);
        assert_eq!(count("SELECT count(*) FROM hosts WHERE down = 'no-arp'"), 3);
        assert_eq!(count("SELECT count(*) FROM coverage"), 3 * 2);
        connection.pragma_update(None, "foreign_keys", true).unwrap();
        connection.execute("DELETE FROM scans WHERE id = 2", []).unwrap();
        assert_eq!(count("SELECT count(DISTINCT scan) FROM verdicts"), 2);
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("other");
        let refused = |path: &Path| Database::open(path).err().unwrap().to_string();
        fs::write(&path, "some text, long enough to be no empty database, and then some").unwrap();
        assert_eq!(refused(&path), "file is not a database");
        let other = directory.path().join("other.sqlite");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
        assert_eq!(refused(&other), "it is a database of something else");
        let newer = directory.path().join("newer.sqlite");
        Database::open(&newer).unwrap().begin(&samples::header()).unwrap();
        Connection::open(&newer).unwrap().pragma_update(None, "user_version", 9).unwrap();
        assert_eq!(refused(&newer), "its tables are of version 9, and this program's of 1");
    }

    #[test]
    fn one_that_never_began_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("scans.sqlite");
        drop(Database::open(&path).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_scan_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("scans.sqlite");
        let mut first = Database::open(&path).unwrap();
        first.begin(&samples::header()).unwrap();
        let warning = |text: &str| Record::Warning(crate::record::Message { message: text.into() });
        [Record::Verdict(samples::open()), warning("one")].iter().try_for_each(|record| first.record(record)).unwrap();
        first.commit().unwrap();
        drop(first);
        let mut second = Database::open(&path).unwrap();
        assert_eq!(second.resume(7).unwrap_err().to_string(), "it has no scan 7");
        second.resume(1).unwrap();
        for record in
            [Record::Verdict(samples::open()), Record::Verdict(samples::full()), warning("one"), warning("two")]
        {
            second.record(&record).unwrap();
        }
        second.commit().unwrap();
        let connection = Connection::open(&path).unwrap();
        let count = |table: &str| {
            let sql = format!("SELECT count(*) FROM {table}");
            connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!((count("verdicts"), count("warnings")), (2, 2), "what was told again is there once");
    }
}
