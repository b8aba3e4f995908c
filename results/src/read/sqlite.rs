//! `sqlite`: one scan of a database of ours.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};

use super::Malformed;
use crate::address::Range;
use crate::coverage::{Coverage, Ports};
use crate::record::{Header, HostDown, Message, Record, State, Summary, Suspect, Verdict};
use crate::scan::Scan;
use crate::write::sqlite::{APPLICATION, VERSION, versions};

/// How such files begin.
pub(super) const MAGIC: &[u8] = b"SQLite format 3\0";

/// Of this number, or the last.
pub(super) fn load(path: &Path, number: Option<i64>) -> Result<Scan, Malformed> {
    // Not for reading only: what a killed program left in the middle must be taken back first.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags);
    let connection = opened.or_else(|_| Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY));
    connection.map_err(wrong).and_then(|connection| scan(&connection, number))
}

fn wrong(error: impl ToString) -> Malformed {
    Malformed::at(0, error)
}

fn scan(from: &Connection, number: Option<i64>) -> Result<Scan, Malformed> {
    match versions(from).map_err(wrong)? {
        (APPLICATION, VERSION) => {}
        (APPLICATION, version) => {
            return Err(wrong(format!("its tables are of version {version}, and this program's of {VERSION}")));
        }
        _ => return Err(wrong("it is a database of something else")),
    }
    let last = || from.query_row("SELECT max(id) FROM scans", [], |row| row.get::<_, Option<i64>>(0));
    let number = number.map_or_else(last, |number| Ok(Some(number))).map_err(wrong)?;
    let number = number.ok_or_else(|| wrong("there is no scan in it"))?;
    let mut scan = Scan::default();
    about(from, number, &mut scan)?;
    each(from, "SELECT * FROM verdicts WHERE scan = ?1", number, |row| {
        verdict(row).map(|verdict| scan.add(Record::Verdict(verdict)))
    })?;
    each(from, "SELECT * FROM hosts WHERE scan = ?1", number, |row| host(row, &mut scan))?;
    each(from, "SELECT message FROM warnings WHERE scan = ?1 ORDER BY rowid", number, |row| {
        let message = row.get(0).map_err(wrong)?;
        scan.add(Record::Warning(Message { message }));
        Ok(())
    })?;
    Ok(scan)
}

fn each(
    from: &Connection,
    sql: &str,
    scan: i64,
    mut take: impl FnMut(&Row<'_>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut statement = from.prepare(sql).map_err(wrong)?;
    let mut rows = statement.query([scan]).map_err(wrong)?;
    while let Some(row) = rows.next().map_err(wrong)? {
        take(row)?;
    }
    Ok(())
}

/// The settings, the plan, and the account.
fn about(from: &Connection, number: i64, scan: &mut Scan) -> Result<(), Malformed> {
    let texts = from.query_row("SELECT header, summary, error FROM scans WHERE id = ?1", [number], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, Option<String>>(2)?))
    });
    let (header, summary, error) =
        texts.optional().map_err(wrong)?.ok_or_else(|| wrong(format!("it has no scan {number}")))?;
    let mut parts = Vec::new();
    each(from, "SELECT first, last, ports FROM coverage WHERE scan = ?1", number, |row| {
        part(row).map(|part| parts.push(part))
    })?;
    let header: Header = serde_json::from_str(&header).map_err(wrong)?;
    scan.header = Some(Header { coverage: parts.into_iter().collect::<Coverage>(), ..header });
    scan.summary = summary.map(|text| serde_json::from_str::<Summary>(&text)).transpose().map_err(wrong)?;
    scan.error = error;
    Ok(())
}

fn part(row: &Row<'_>) -> Result<(Range, Arc<Ports>), Malformed> {
    let (first, last): (String, String) = (text(row, "first")?, text(row, "last")?);
    let range =
        Range::new(parsed(&first)?, parsed(&last)?).ok_or_else(|| wrong(format!("{first} to {last} is no range")))?;
    Ok((range, Arc::new(parsed(&text(row, "ports")?)?)))
}

fn text(row: &Row<'_>, column: &str) -> Result<String, Malformed> {
    row.get(column).map_err(wrong)
}

fn optional<T: rusqlite::types::FromSql>(row: &Row<'_>, column: &str) -> Result<Option<T>, Malformed> {
    row.get(column).map_err(wrong)
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, Malformed> {
    text.parse().map_err(|_| wrong(format!("{text:?} is none of what its column has")))
}

fn state(name: &str) -> Result<State, Malformed> {
    State::named(name).ok_or_else(|| wrong(format!("{name:?} is no state")))
}

fn verdict(row: &Row<'_>) -> Result<Verdict, Malformed> {
    let port = row.get("port").map_err(wrong)?;
    let mut verdict = Verdict::bare(parsed(&text(row, "address")?)?, port, state(&text(row, "state")?)?);
    verdict.protocol = text(row, "protocol")?.into();
    verdict.reason = text(row, "reason")?.into();
    verdict.sender = optional::<String>(row, "sender")?.map(|text| parsed(&text)).transpose()?;
    verdict.ttl = optional(row, "ttl")?;
    verdict.rtt_us = optional::<i64>(row, "rtt_us")?.map(i64::unsigned_abs);
    verdict.pass = row.get("pass").map_err(wrong)?;
    verdict.probes = row.get("probes").map_err(wrong)?;
    verdict.time = parsed(&text(row, "time")?)?;
    verdict.supersedes = optional::<String>(row, "supersedes")?.map(|name| state(&name)).transpose()?;
    verdict.suspect = optional::<String>(row, "suspect")?.map(Into::into);
    Ok(verdict)
}

fn host(row: &Row<'_>, scan: &mut Scan) -> Result<(), Malformed> {
    let address = parsed(&text(row, "address")?)?;
    if let Some(reason) = optional::<String>(row, "down")? {
        scan.add(Record::HostDown(HostDown { address, reason: reason.into() }));
    }
    if let Some(reason) = optional::<String>(row, "suspect")? {
        let usual_ttl = optional(row, "usual_ttl")?;
        scan.add(Record::Suspect(Suspect { address, reason: reason.into(), usual_ttl }));
    }
    Ok(())
}
