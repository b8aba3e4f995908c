//! Which scans there were, and what they covered.

use halfopen_results::Coverage;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use super::{Error, millis, time};

/// A scan, as far as the history keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Of which group.
    pub group: String,
    /// `regular`, `confirmation`.
    pub purpose: String,
    /// From when
    pub started: Timestamp,
    /// until when.
    pub ended: Timestamp,
    /// `complete`, `stopped`, `failed`, `skipped`.
    pub outcome: String,
    /// How many probes were sent.
    pub probes: u64,
    /// How many hosts answered.
    pub hosts_up: u64,
    /// How many ports were open.
    pub open_ports: u64,
    /// What went wrong.
    pub error: Option<String>,
}

/// Adds a scan, with what it covered if that is known.
pub fn add_scan(connection: &Connection, account: &Account, coverage: Option<&Coverage>) -> Result<(), Error> {
    let group = group_id(connection, &account.group)?;
    let coverage = coverage.map(|coverage| coverage_id(connection, coverage)).transpose()?;
    connection
        .prepare_cached(
            "INSERT INTO scan (watched_group, purpose, started, ended, outcome, coverage, probes, hosts_up, open_ports, error)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            group,
            account.purpose,
            millis(account.started),
            millis(account.ended),
            account.outcome,
            coverage,
            whole(account.probes),
            whole(account.hosts_up),
            whole(account.open_ports),
            account.error,
        ])?;
    Ok(())
}

/// The last scans of a group, or of all, the newest first.
pub fn last_scans(connection: &Connection, group: Option<&str>, limit: u32) -> Result<Vec<Account>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT name, purpose, started, ended, outcome, probes, hosts_up, open_ports, error
         FROM scan JOIN watched_group ON watched_group.id = scan.watched_group
         WHERE ?1 IS NULL OR name = ?1 ORDER BY scan.id DESC LIMIT ?2",
    )?;
    Ok(rows.query_map(params![group, limit], account)?.collect::<Result<_, _>>()?)
}

/// When the last regular scan of a group was begun.
pub fn last_begun(connection: &Connection, group: &str) -> Result<Option<Timestamp>, Error> {
    let mut row = connection.prepare_cached(
        "SELECT started FROM scan JOIN watched_group ON watched_group.id = scan.watched_group
         WHERE name = ?1 AND purpose = 'regular' AND outcome <> 'skipped' ORDER BY ended DESC, scan.id DESC LIMIT 1",
    )?;
    Ok(row.query_row([group], |row| row.get(0)).optional()?.map(time))
}

/// The last regular scans of a group that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// Which group.
    pub group: String,
    /// The last that went to its end.
    pub complete: Option<Account>,
    /// Whether that is the last of all.
    pub is_whole: bool,
}

/// The last regular scans of each group that is watched, or whose first scan did not succeed.
pub fn last_regular(connection: &Connection) -> Result<Vec<Last>, Error> {
    const GROUPS: &str = "SELECT name FROM watched_group LEFT JOIN coverage ON coverage.id = watched_group.coverage
         WHERE spans IS NULL OR spans <> '[]' ORDER BY name";
    let groups: Vec<String> =
        connection.prepare_cached(GROUPS)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut rows = connection.prepare_cached(
        "SELECT name, purpose, started, ended, outcome, probes, hosts_up, open_ports, error
         FROM scan JOIN watched_group ON watched_group.id = scan.watched_group
         WHERE name = ?1 AND purpose = 'regular' AND (NOT ?2 OR outcome = 'complete') ORDER BY ended DESC, scan.id DESC LIMIT 1",
    )?;
    let mut last = |group: &str, complete: bool| rows.query_row(params![group, complete], account).optional();
    let each = |group: String| {
        let (complete, all) = (last(&group, true)?, last(&group, false)?);
        let is_whole = complete.is_some() && complete == all;
        Ok(Last { group, complete, is_whole })
    };
    groups.into_iter().map(each).collect()
}

/// The number of the newest scan.
pub fn newest_scan(connection: &Connection) -> Result<i64, Error> {
    Ok(connection.query_row("SELECT COALESCE(MAX(id), 0) FROM scan", [], |row| row.get(0))?)
}

/// Of scans with higher numbers than this: the number, the group, and how many probes they sent.
pub fn probes_after(connection: &Connection, after: i64) -> Result<Vec<(i64, String, u64)>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT scan.id, name, probes FROM scan JOIN watched_group ON watched_group.id = scan.watched_group
         WHERE scan.id > ?1 ORDER BY scan.id",
    )?;
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs()));
    Ok(rows.query_map([after], row)?.collect::<Result<_, _>>()?)
}

/// The latest time in the history.
pub fn last_time(connection: &Connection) -> Result<Timestamp, Error> {
    let query = "SELECT MAX(at) FROM (SELECT MAX(ended) AS at FROM scan UNION ALL SELECT MAX(at) FROM event)";
    let last: Option<i64> = connection.query_row(query, [], |row| row.get(0))?;
    Ok(last.map_or(Timestamp::MIN, time))
}

/// Groups that anything is known of, by name: scanned, or with events.
pub fn groups(connection: &Connection) -> Result<Vec<String>, Error> {
    let sql = "SELECT name FROM watched_group UNION SELECT watched_group FROM event WHERE watched_group IS NOT NULL ORDER BY 1";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

/// The group's scans are about this now.
pub fn remember_coverage(connection: &Connection, group: &str, coverage: &Coverage) -> Result<(), Error> {
    let (group, coverage) = (group_id(connection, group)?, coverage_id(connection, coverage)?);
    connection.prepare_cached("UPDATE watched_group SET coverage = ?2 WHERE id = ?1")?.execute([group, coverage])?;
    Ok(())
}

/// What each group's last complete scan was about.
pub fn remembered_coverage(connection: &Connection) -> Result<Vec<(String, Coverage)>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT name, spans FROM watched_group JOIN coverage ON coverage.id = watched_group.coverage",
    )?;
    let rows = rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let parse = |spans: &str| serde_json::from_str(spans).map_err(|error| Error::Row("a coverage", error));
    rows.map(|row| row.map_err(Error::from).and_then(|(name, spans)| Ok((name, parse(&spans)?)))).collect()
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        group: row.get(0)?,
        purpose: row.get(1)?,
        started: time(row.get(2)?),
        ended: time(row.get(3)?),
        outcome: row.get(4)?,
        probes: row.get::<_, i64>(5)?.unsigned_abs(),
        hosts_up: row.get::<_, i64>(6)?.unsigned_abs(),
        open_ports: row.get::<_, i64>(7)?.unsigned_abs(),
        error: row.get(8)?,
    })
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn group_id(connection: &Connection, name: &str) -> Result<i64, Error> {
    let mut row = connection.prepare_cached("SELECT id FROM watched_group WHERE name = ?1")?;
    if let Some(id) = row.query_row([name], |row| row.get(0)).optional()? {
        return Ok(id);
    }
    connection.prepare_cached("INSERT INTO watched_group (name) VALUES (?1)")?.execute([name])?;
    Ok(connection.last_insert_rowid())
}

fn coverage_id(connection: &Connection, coverage: &Coverage) -> Result<i64, Error> {
    let spans = serde_json::to_string(coverage).map_err(|error| Error::Row("a coverage", error))?;
    let mut row = connection.prepare_cached("SELECT id FROM coverage WHERE spans = ?1")?;
    if let Some(id) = row.query_row([&spans], |row| row.get(0)).optional()? {
        return Ok(id);
    }
    connection.prepare_cached("INSERT INTO coverage (spans) VALUES (?1)")?.execute([&spans])?;
    Ok(connection.last_insert_rowid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn scans_of_a_group_share_their_coverage() {
        let store = Store::in_memory().unwrap();
        let coverage: Coverage = [("192.0.2.1".parse().unwrap(), 22)].into_iter().collect();
        let account = |ended| Account {
            group: "dmz".into(),
            purpose: "regular".into(),
            started: Timestamp::UNIX_EPOCH,
            ended: Timestamp::from_second(ended).unwrap(),
            outcome: "complete".into(),
            probes: 7,
            hosts_up: 1,
            open_ports: 1,
            error: None,
        };
        for ended in 1..=3 {
            add_scan(store.connection(), &account(ended), Some(&coverage)).unwrap();
        }
        remember_coverage(store.connection(), "dmz", &coverage).unwrap();
        assert_eq!(remembered_coverage(store.connection()).unwrap(), [("dmz".to_owned(), coverage)]);
        assert_eq!(last_scans(store.connection(), Some("dmz"), 2).unwrap(), [account(3), account(2)]);
        assert!(last_scans(store.connection(), Some("lan"), 2).unwrap().is_empty());
        let rows: i64 = store.connection().query_row("SELECT COUNT(*) FROM coverage", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1);
    }
}
