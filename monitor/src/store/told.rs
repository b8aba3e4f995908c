//! Who has been told of what: each incident that a channel knows of is in one thread there, for good, and is marked when the channel has
//! taken notice that it is over. What a channel still has to be told is a question to these rows and to the incidents', so that
//! nobody has to remember to tell: however an incident came to its end, who knows of it and not of its end is found.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Error, find, millis, time};
use crate::channel::ChannelName;
use crate::incident::{Incident, IncidentId};

/// What a channel has been told of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// In which thread.
    pub thread: String,
    /// When that thread was last told anything.
    pub at: Timestamp,
    /// Whether its end is known there.
    pub is_over: bool,
}

/// What a channel knows of an incident; nothing, if it has not been told.
pub fn told(connection: &Connection, channel: &ChannelName, id: IncidentId) -> Result<Option<Told>, Error> {
    let row = |row: &rusqlite::Row<'_>| Ok(Told { thread: row.get(0)?, at: time(row.get(1)?), is_over: row.get(2)? });
    let found = connection
        .prepare_cached("SELECT thread, at, is_over FROM told WHERE channel = ?1 AND incident = ?2")?
        .query_row(params![channel.as_str(), id.0], row)
        .optional()?;
    Ok(found)
}

/// A channel is told that an incident has begun. Once told, its thread stays the same.
pub fn begin(
    connection: &Connection,
    channel: &ChannelName,
    id: IncidentId,
    thread: &str,
    now: Timestamp,
) -> Result<(), Error> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO told (channel, incident, thread, at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![channel.as_str(), id.0, thread, millis(now)])?;
    Ok(())
}

/// A channel is told something in a thread.
pub fn touch(connection: &Connection, channel: &ChannelName, thread: &str, now: Timestamp) -> Result<(), Error> {
    connection.prepare_cached("UPDATE told SET at = ?3 WHERE channel = ?1 AND thread = ?2")?.execute(params![
        channel.as_str(),
        thread,
        millis(now)
    ])?;
    Ok(())
}

/// What is over, of what a channel knows of and not that it is over: with its thread, the oldest first.
pub fn ended(connection: &Connection, channel: &ChannelName) -> Result<Vec<(Incident, String)>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT told.incident, thread FROM told JOIN incident ON incident.id = told.incident
         WHERE channel = ?1 AND is_over = 0 AND is_open = 0 ORDER BY told.incident",
    )?;
    let rows = rows.query_map([channel.as_str()], |row| Ok((IncidentId(row.get(0)?), row.get(1)?)))?;
    let rows: Vec<(IncidentId, String)> = rows.collect::<Result<_, _>>()?;
    let with_thread = |(id, thread)| Ok(find(connection, id)?.map(|incident| (incident, thread)));
    rows.into_iter().filter_map(|row| with_thread(row).transpose()).collect()
}

/// A channel takes notice that an incident is over.
pub fn end(connection: &Connection, channel: &ChannelName, id: IncidentId, now: Timestamp) -> Result<(), Error> {
    connection
        .prepare_cached("UPDATE told SET is_over = 1, at = ?3 WHERE channel = ?1 AND incident = ?2")?
        .execute(params![channel.as_str(), id.0, millis(now)])?;
    Ok(())
}

/// Whether something goes on of what was told in a thread.
pub fn goes_on(connection: &Connection, channel: &ChannelName, thread: &str) -> Result<bool, Error> {
    let found = connection
        .prepare_cached("SELECT 1 FROM told WHERE channel = ?1 AND thread = ?2 AND is_over = 0")?
        .exists(params![channel.as_str(), thread])?;
    Ok(found)
}

/// All that was told in a thread, the oldest first.
pub fn members(connection: &Connection, channel: &ChannelName, thread: &str) -> Result<Vec<Incident>, Error> {
    let mut rows =
        connection.prepare_cached("SELECT incident FROM told WHERE channel = ?1 AND thread = ?2 ORDER BY incident")?;
    let rows = rows.query_map(params![channel.as_str(), thread], |row| row.get(0).map(IncidentId))?;
    let ids: Vec<IncidentId> = rows.collect::<Result<_, _>>()?;
    ids.into_iter().filter_map(|id| find(connection, id).transpose()).collect()
}

/// From now on another channel knows what this one does of a thread.
pub fn share(connection: &Connection, from: &ChannelName, to: &ChannelName, thread: &str) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO told (channel, incident, thread, at, is_over)
             SELECT ?2, incident, thread, at, is_over FROM told WHERE channel = ?1 AND thread = ?3",
        )?
        .execute(params![from.as_str(), to.as_str(), thread])?;
    Ok(())
}

/// What is to be told of an incident waits for the end of a quiet window.
pub fn wait(connection: &Connection, channel: &ChannelName, id: IncidentId, now: Timestamp) -> Result<(), Error> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO waiting (channel, incident, since) VALUES (?1, ?2, ?3)")?
        .execute(params![channel.as_str(), id.0, millis(now)])?;
    Ok(())
}

/// It does not any more.
pub fn wait_no_more(connection: &Connection, channel: &ChannelName, id: IncidentId) -> Result<(), Error> {
    connection
        .prepare_cached("DELETE FROM waiting WHERE channel = ?1 AND incident = ?2")?
        .execute(params![channel.as_str(), id.0])?;
    Ok(())
}

/// The incidents that something waits to be told of.
pub fn waiting(connection: &Connection, channel: &ChannelName) -> Result<Vec<IncidentId>, Error> {
    let mut rows = connection.prepare_cached("SELECT incident FROM waiting WHERE channel = ?1 ORDER BY incident")?;
    let rows = rows.query_map([channel.as_str()], |row| row.get(0).map(IncidentId))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets what ended before then, with the whole of its thread, and what was told of incidents that are not kept any more.
pub fn retire(connection: &Connection, before: Timestamp) -> Result<(), Error> {
    connection
        .prepare_cached(
            "DELETE FROM told WHERE is_over = 1 AND at < ?1 AND NOT EXISTS (SELECT 1 FROM told AS other
             WHERE other.channel = told.channel AND other.thread = told.thread AND other.is_over = 0)",
        )?
        .execute([millis(before)])?;
    connection
        .prepare_cached("DELETE FROM told WHERE NOT EXISTS (SELECT 1 FROM incident WHERE incident.id = told.incident)")?
        .execute([])?;
    Ok(())
}
