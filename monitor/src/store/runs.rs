//! States of ports as intervals of time, and when hosts were up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use halfopen_results::record::{Name, State};
use halfopen_services::Protocol;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use super::{Error, FOREVER, millis, time};
use crate::ledger::{Cut, Fact, Ledger, Run};

/// What is known of all hosts now.
pub type Known = BTreeMap<IpAddr, KnownHost>;

/// What is known of a host now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownHost {
    /// Whether it answers anything.
    pub up: bool,
    /// Since when.
    pub since: Timestamp,
    /// Its TCP ports, as they were when they were last seen.
    pub tcp: Ledger,
}

/// An interval in the history of ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Past {
    /// Of which host.
    pub host: IpAddr,
    /// `tcp`.
    pub protocol: &'static str,
    /// The lowest port,
    pub first: u16,
    /// and the highest.
    pub last: u16,
    /// What they were,
    pub state: State,
    /// and why.
    pub reason: Name,
    /// TTL of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// Time of the answer, microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<u64>,
    /// From when
    pub since: Timestamp,
    /// until when; none if it still is so.
    pub until: Option<Timestamp>,
}

/// An interval in which a host was up, or down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Presence {
    /// Which host.
    pub host: IpAddr,
    /// Whether it answered anything.
    pub up: bool,
    /// From when
    pub since: Timestamp,
    /// until when; none if it still is so.
    pub until: Option<Timestamp>,
}

/// What is known now.
pub fn known(connection: &Connection) -> Result<Known, Error> {
    let mut hosts: BTreeMap<IpAddr, Vec<Run>> = BTreeMap::new();
    let mut all = connection.prepare(&format!("{PAST} WHERE run.until = {FOREVER}"))?;
    for past in all.query_map([], past)? {
        let Past { host, first, last, state, reason, ttl, rtt_us, since, .. } = past?;
        hosts.entry(host).or_default().push(Run { first, last, since, fact: Fact { state, reason, ttl, rtt_us } });
    }
    let mut known = Known::new();
    let mut all = connection.prepare(&format!("{PRESENCE} WHERE presence.until = {FOREVER}"))?;
    for presence in all.query_map([], presence)? {
        let Presence { host, up, since, .. } = presence?;
        let tcp = Ledger::new(hosts.remove(&host).unwrap_or_default());
        known.insert(host, KnownHost { up, since, tcp });
    }
    Ok(known)
}

/// The history of a host's ports that overlaps an interval, by port and time; of one port, if asked.
pub fn history(connection: &Connection, host: IpAddr, port: Option<u16>, from: Timestamp) -> Result<Vec<Past>, Error> {
    let (low, high) = port.map_or((0, u16::MAX), |port| (port, port));
    let query = format!(
        "{PAST} WHERE run.host = ?1 AND run.first <= ?3 AND run.last >= ?2 AND run.until > ?4 ORDER BY run.first, run.since"
    );
    let Some(id) = host_id(connection, host)? else { return Ok(Vec::new()) };
    let mut rows = connection.prepare_cached(&query)?;
    Ok(rows.query_map(params![id, low, high, millis(from)], past)?.collect::<Result<_, _>>()?)
}

/// The same, at most so many behind that one.
pub fn history_after(
    connection: &Connection,
    host: IpAddr,
    port: Option<u16>,
    from: Timestamp,
    after: Option<&Past>,
    limit: u32,
) -> Result<Vec<Past>, Error> {
    let (low, high) = port.map_or((0, u16::MAX), |port| (port, port));
    let query = format!(
        "{PAST} WHERE run.host = ?1 AND run.protocol = ?2 AND run.first <= ?3 AND run.last >= ?4 AND run.until > ?5
         AND (run.first, run.since) > (?6, ?7) ORDER BY run.first, run.since LIMIT ?8"
    );
    let Some(id) = host_id(connection, host)? else { return Ok(Vec::new()) };
    let (first, since) = after.map_or((-1, i64::MIN), |past| (i64::from(past.first), millis(past.since)));
    let mut rows = connection.prepare_cached(&query)?;
    let rows = rows.query_map(params![id, TCP, high, low, millis(from), first, since, limit], past)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// When a host was up and down.
pub fn presences(connection: &Connection, host: IpAddr) -> Result<Vec<Presence>, Error> {
    let Some(id) = host_id(connection, host)? else { return Ok(Vec::new()) };
    let mut rows =
        connection.prepare_cached(&format!("{PRESENCE} WHERE presence.host = ?1 ORDER BY presence.since"))?;
    Ok(rows.query_map([id], presence)?.collect::<Result<_, _>>()?)
}

/// Hosts that anything is known of, in order.
pub fn hosts(connection: &Connection) -> Result<BTreeSet<IpAddr>, Error> {
    let mut statement = connection.prepare("SELECT address FROM host")?;
    let texts = statement.query_map([], |row| row.get::<_, String>(0))?;
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    Ok(texts.iter().filter_map(|text| text.parse().ok()).collect())
}

/// The ports that have ever been open, of these hosts.
pub fn ever_open(connection: &Connection, is_meant: impl Fn(IpAddr) -> bool) -> Result<BTreeSet<u16>, Error> {
    let all = ever_open_ports(connection)?.into_iter();
    Ok(all.filter(|(host, _)| is_meant(*host)).map(|(_, port)| port).collect())
}

/// The same of all hosts, by host.
pub fn ever_open_ports(connection: &Connection) -> Result<BTreeSet<(IpAddr, u16)>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT address, first, last FROM (SELECT DISTINCT host, first, last FROM run WHERE state = 0) AS it
         JOIN host ON host.id = it.host",
    )?;
    let rows = rows.query_map([], |row| Ok((address(row, 0)?, row.get::<_, u16>(1)?, row.get::<_, u16>(2)?)))?;
    let mut ports = BTreeSet::new();
    for row in rows {
        let (host, first, last) = row?;
        ports.extend((first..=last).map(|port| (host, port)));
    }
    Ok(ports)
}

/// Writes what a change did to the history of a host.
pub fn write_runs(connection: &Connection, host: IpAddr, cut: &Cut, now: Timestamp) -> Result<(), Error> {
    if cut.is_empty() {
        return Ok(());
    }
    let id = host_id_or_new(connection, host)?;
    let mut delete =
        connection.prepare_cached("DELETE FROM run WHERE host = ?1 AND protocol = ?2 AND first = ?3 AND since = ?4")?;
    for run in &cut.removed {
        delete.execute(params![id, TCP, run.first, millis(run.since)])?;
    }
    let ended = cut.ended.iter().map(|run| (run, millis(now)));
    let begun = cut.begun.iter().map(|run| (run, FOREVER));
    let mut insert = connection.prepare_cached(
        "INSERT INTO run (host, protocol, first, since, last, until, state, reason, ttl, rtt_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for (Run { first, last, since, fact }, until) in ended.chain(begun) {
        let reason = reason_id(connection, &fact.reason)?;
        let rtt = fact.rtt_us.map(|rtt| i64::try_from(rtt).unwrap_or(i64::MAX));
        let state = fact.state as u8;
        insert.execute(params![id, TCP, first, millis(*since), last, until, state, reason, fact.ttl, rtt])?;
    }
    Ok(())
}

/// From now on the host is up, or down.
pub fn write_presence(connection: &Connection, host: IpAddr, up: bool, now: Timestamp) -> Result<(), Error> {
    let id = host_id_or_new(connection, host)?;
    connection.prepare_cached("UPDATE presence SET until = ?2 WHERE host = ?1 AND until = ?3")?.execute(params![
        id,
        millis(now),
        FOREVER
    ])?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO presence (host, since, until, up) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id, millis(now), FOREVER, up])?;
    Ok(())
}

/// IANA's number of the only protocol that is scanned.
const TCP: u8 = 6;

const PAST: &str = "SELECT host.address, run.protocol, run.first, run.last, run.state, reason.name, run.ttl, run.rtt_us, \
    run.since, run.until FROM run JOIN host ON host.id = run.host JOIN reason ON reason.id = run.reason";

const PRESENCE: &str = "SELECT host.address, presence.up, presence.since, presence.until FROM presence \
    JOIN host ON host.id = presence.host";

fn past(row: &Row<'_>) -> rusqlite::Result<Past> {
    let protocol = if row.get::<_, u8>(1)? == TCP { Protocol::Tcp } else { Protocol::Udp };
    Ok(Past {
        host: address(row, 0)?,
        protocol: protocol.name(),
        first: row.get(2)?,
        last: row.get(3)?,
        state: State::ALL.get(usize::from(row.get::<_, u8>(4)?)).copied().unwrap_or(State::Filtered),
        reason: row.get::<_, String>(5)?.into(),
        ttl: row.get(6)?,
        rtt_us: row.get::<_, Option<i64>>(7)?.and_then(|rtt| u64::try_from(rtt).ok()),
        since: time(row.get(8)?),
        until: ended(row.get(9)?),
    })
}

fn presence(row: &Row<'_>) -> rusqlite::Result<Presence> {
    Ok(Presence { host: address(row, 0)?, up: row.get(1)?, since: time(row.get(2)?), until: ended(row.get(3)?) })
}

fn ended(until: i64) -> Option<Timestamp> {
    (until != FOREVER).then(|| time(until))
}

fn address(row: &Row<'_>, column: usize) -> rusqlite::Result<IpAddr> {
    let text: String = row.get(column)?;
    let wrong = |error| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error));
    text.parse().map_err(wrong)
}

fn host_id(connection: &Connection, host: IpAddr) -> Result<Option<i64>, Error> {
    let mut row = connection.prepare_cached("SELECT id FROM host WHERE address = ?1")?;
    Ok(row.query_row([host.to_string()], |row| row.get(0)).optional()?)
}

fn host_id_or_new(connection: &Connection, host: IpAddr) -> Result<i64, Error> {
    if let Some(id) = host_id(connection, host)? {
        return Ok(id);
    }
    connection.prepare_cached("INSERT INTO host (address) VALUES (?1)")?.execute([host.to_string()])?;
    Ok(connection.last_insert_rowid())
}

fn reason_id(connection: &Connection, name: &str) -> Result<i64, Error> {
    let mut row = connection.prepare_cached("SELECT id FROM reason WHERE name = ?1")?;
    if let Some(id) = row.query_row([name], |row| row.get(0)).optional()? {
        return Ok(id);
    }
    connection.prepare_cached("INSERT INTO reason (name) VALUES (?1)")?.execute([name])?;
    Ok(connection.last_insert_rowid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn fact(state: State) -> Fact {
        Fact { state, reason: "syn-ack".into(), ttl: Some(64), rtt_us: Some(1500) }
    }

    #[test]
    fn what_was_written_is_known_after_a_restart() {
        let store = Store::in_memory().unwrap();
        let mut ledger = Ledger::default();
        for (first, last, state, second) in
            [(0, 100, State::Filtered, 1), (22, 22, State::Open, 2), (22, 22, State::Closed, 3)]
        {
            let cut = ledger.set(first, last, Some(fact(state)), at(second));
            write_runs(store.connection(), HOST, &cut, at(second)).unwrap();
        }
        write_presence(store.connection(), HOST, true, at(1)).unwrap();
        let expected = KnownHost { up: true, since: at(1), tcp: ledger };
        assert_eq!(known(store.connection()).unwrap(), Known::from([(HOST, expected)]));
        let past = history(store.connection(), HOST, Some(22), at(0)).unwrap();
        let mut pages = Vec::new();
        while let Some(next) = history_after(store.connection(), HOST, Some(22), at(0), pages.last(), 1).unwrap().pop()
        {
            pages.push(next);
        }
        assert_eq!(pages, past);
        let past: Vec<_> = past.iter().map(|past| (past.state, past.since, past.until)).collect();
        let expected =
            [(State::Filtered, at(1), Some(at(2))), (State::Open, at(2), Some(at(3))), (State::Closed, at(3), None)];
        assert_eq!(past, expected);
        assert_eq!(ever_open(store.connection(), |_| true).unwrap(), BTreeSet::from([22]));
        assert_eq!(ever_open(store.connection(), |_| false).unwrap(), BTreeSet::new());
    }

    #[test]
    fn a_host_goes_and_comes_back() {
        let store = Store::in_memory().unwrap();
        for (up, second) in [(true, 1), (false, 5), (true, 9)] {
            write_presence(store.connection(), HOST, up, at(second)).unwrap();
        }
        let all: Vec<_> = presences(store.connection(), HOST).unwrap();
        let all: Vec<_> = all.iter().map(|presence| (presence.up, presence.since, presence.until)).collect();
        assert_eq!(all, [(true, at(1), Some(at(5))), (false, at(5), Some(at(9))), (true, at(9), None)]);
        assert!(presences(store.connection(), "192.0.2.9".parse().unwrap()).unwrap().is_empty());
    }
}
