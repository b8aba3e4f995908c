//! Incidents: written when they begin, and whenever something becomes of them. That there is one open incident a cause is
//! the database's own rule.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Error, millis};
use crate::incident::{Incident, IncidentId, Trigger};
use crate::message::Occasion;

/// Adds an incident that begins, and gives it its number.
pub fn insert(connection: &Connection, incident: &mut Incident) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO incident (cause, is_open, opened, resolved, body) VALUES (?1, ?2, ?3, NULL, '{}')",
        )?
        .execute(params![incident.cause, incident.is_open(), millis(incident.opened)])?;
    incident.id = IncidentId(connection.last_insert_rowid());
    update(connection, incident)
}

/// Writes what has become of an incident.
pub fn update(connection: &Connection, incident: &Incident) -> Result<(), Error> {
    let body = serde_json::to_string(incident).map_err(|error| Error::Row("an incident", error))?;
    let resolved = incident.resolved.map(millis);
    connection
        .prepare_cached("UPDATE incident SET is_open = ?2, resolved = ?3, body = ?4 WHERE id = ?1")?
        .execute(params![incident.id.0, incident.is_open(), resolved, body])?;
    Ok(())
}

/// Those that are going on, the oldest first.
pub fn open_incidents(connection: &Connection) -> Result<Vec<Incident>, Error> {
    select(connection, "WHERE is_open = 1 ORDER BY id", [])
}

/// How many are going on.
pub fn count_open(connection: &Connection) -> Result<u64, Error> {
    let mut row = connection.prepare_cached("SELECT COUNT(*) FROM incident WHERE is_open = 1")?;
    Ok(row.query_row([], |row| row.get::<_, i64>(0))?.unsigned_abs())
}

/// The one of that cause that is going on.
pub fn open_of_cause(connection: &Connection, cause: &str) -> Result<Option<Incident>, Error> {
    let mut row = connection.prepare_cached("SELECT body FROM incident WHERE is_open = 1 AND cause = ?1")?;
    row.query_row([cause], incident).optional()?.transpose()
}

/// Those of a group that are going on and about one of these, the oldest first.
pub fn open_about(connection: &Connection, group: &str, triggers: &[Trigger]) -> Result<Vec<Incident>, Error> {
    let mut all = Vec::new();
    for trigger in triggers {
        let which = "WHERE is_open = 1 AND watched_group = ?1 AND about = ?2";
        all.extend(select(connection, which, params![group, trigger.name()])?);
    }
    all.sort_unstable_by_key(|incident| incident.id);
    Ok(all)
}

/// Those that are going on, and those that ended since then, the oldest first.
pub fn latest(connection: &Connection, since: Timestamp) -> Result<Vec<Incident>, Error> {
    select(connection, "WHERE is_open = 1 OR resolved >= ?1 ORDER BY id", [millis(since)])
}

/// The next after that number of those that are going on, or ended since then if that is asked: at most so many.
pub fn incidents_after(
    connection: &Connection,
    after: IncidentId,
    since: Option<Timestamp>,
    limit: u32,
) -> Result<Vec<Incident>, Error> {
    let which = "WHERE id > ?1 AND (is_open = 1 OR resolved >= ?2) ORDER BY id LIMIT ?3";
    select(connection, which, params![after.0, since.map(millis), limit])
}

/// The incident of that number.
pub fn find(connection: &Connection, id: IncidentId) -> Result<Option<Incident>, Error> {
    let mut rows = connection.prepare_cached("SELECT body FROM incident WHERE id = ?1")?;
    rows.query_row([id.0], incident).optional()?.transpose()
}

/// Leaves word of what a person has done, with the incident as it is now, for the service to pass on.
pub fn leave_word(connection: &Connection, id: IncidentId, occasion: Occasion) -> Result<(), Error> {
    let occasion = serde_json::to_string(&occasion).map_err(|error| Error::Row("an occasion", error))?;
    let statement = "INSERT INTO said (incident, occasion, body) SELECT id, ?2, body FROM incident WHERE id = ?1";
    connection.execute(statement, params![id.0, occasion])?;
    Ok(())
}

/// Takes the word that was left, in its order.
pub fn take_words(connection: &Connection) -> Result<Vec<(Incident, Occasion)>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT COALESCE(said.body, incident.body), occasion FROM said JOIN incident ON incident.id = said.incident
         ORDER BY said.id",
    )?;
    let rows = rows.query_map([], |row| Ok((incident(row)?, row.get::<_, String>(1)?)))?;
    let mut words = Vec::new();
    for row in rows {
        let (incident, occasion) = row?;
        let occasion = serde_json::from_str(&occasion).map_err(|error| Error::Row("an occasion", error))?;
        words.push((incident?, occasion));
    }
    if !words.is_empty() {
        connection.execute("DELETE FROM said", [])?;
    }
    Ok(words)
}

fn select<P: rusqlite::Params>(connection: &Connection, which: &str, values: P) -> Result<Vec<Incident>, Error> {
    let mut rows = connection.prepare_cached(&format!("SELECT body FROM incident {which}"))?;
    let rows = rows.query_map(values, incident)?;
    rows.map(|row| row.map_err(Error::from).and_then(|row| row)).collect()
}

fn incident(row: &Row<'_>) -> rusqlite::Result<Result<Incident, Error>> {
    let body: String = row.get(0)?;
    Ok(serde_json::from_str(&body).map_err(|error| Error::Row("an incident", error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Severity;
    use crate::store::Store;

    fn incident(cause: &str) -> Incident {
        Incident {
            id: IncidentId(0),
            cause: cause.into(),
            trigger: Trigger::Opened,
            group: "dmz".into(),
            host: None,
            severity: Severity::Warning,
            changes: Vec::new(),
            marks: Vec::new(),
            details: Vec::new(),
            since: Timestamp::UNIX_EPOCH,
            opened: Timestamp::UNIX_EPOCH,
            acknowledged: None,
            muted_until: None,
            muted_by: None,
            resolved: None,
            resolution: None,
            part_of: None,
        }
    }

    #[test]
    fn there_is_one_open_incident_a_cause() {
        let store = Store::in_memory().unwrap();
        let mut first = incident("port 23");
        insert(store.connection(), &mut first).unwrap();
        assert!(insert(store.connection(), &mut incident("port 23")).is_err());
        first.resolved = Some(Timestamp::UNIX_EPOCH);
        update(store.connection(), &first).unwrap();
        let mut second = incident("port 23");
        insert(store.connection(), &mut second).unwrap();
        assert!(second.id > first.id);
        assert_eq!(open_incidents(store.connection()).unwrap(), [second.clone()]);
        assert_eq!(latest(store.connection(), Timestamp::UNIX_EPOCH).unwrap(), [first.clone(), second.clone()]);
        assert_eq!(open_of_cause(store.connection(), "port 23").unwrap(), Some(second.clone()));
        assert_eq!(open_of_cause(store.connection(), "port 24").unwrap(), None);
        let page = |after, since| incidents_after(store.connection(), after, since, 1).unwrap();
        let (epoch, none) = (Some(Timestamp::UNIX_EPOCH), IncidentId(0));
        assert_eq!((page(none, epoch), page(first.id, epoch)), (vec![first.clone()], vec![second.clone()]));
        assert_eq!((page(none, None), page(second.id, epoch)), (vec![second], vec![]));
        assert_eq!(find(store.connection(), first.id).unwrap(), Some(first));
        assert_eq!(find(store.connection(), IncidentId(99)).unwrap(), None);
    }

    #[test]
    fn open_ones_are_found_by_what_they_are_about() {
        let store = Store::in_memory().unwrap();
        for (cause, trigger, group) in [
            ("a", Trigger::Opened, "dmz"),
            ("b", Trigger::Unstable, "dmz"),
            ("c", Trigger::Unstable, "lan"),
            ("d", Trigger::NewHost, "dmz"),
        ] {
            insert(store.connection(), &mut Incident { trigger, group: group.into(), ..incident(cause) }).unwrap();
        }
        let found = |triggers: &[Trigger]| {
            let found = open_about(store.connection(), "dmz", triggers).unwrap();
            found.into_iter().map(|incident| incident.cause).collect::<Vec<_>>()
        };
        assert_eq!(
            (found(&[Trigger::NewHost, Trigger::Opened]), found(&[Trigger::Unstable])),
            (vec!["a".into(), "d".into()], vec!["b".into()])
        );
        let mut over = open_of_cause(store.connection(), "b").unwrap().unwrap();
        over.resolved = Some(Timestamp::UNIX_EPOCH);
        update(store.connection(), &over).unwrap();
        assert_eq!((found(&Trigger::ALL).len(), count_open(store.connection()).unwrap()), (2, 3));
        // However many there are: no incident is read that is about something else.
        let plan =
            "EXPLAIN QUERY PLAN SELECT body FROM incident WHERE is_open = 1 AND watched_group = ?1 AND about = ?2";
        let used: String = store.connection().query_row(plan, ["dmz", "opened"], |row| row.get(3)).unwrap();
        assert!(used.contains("incident_open_about (watched_group=? AND about=?)"), "{used}");
    }

    #[test]
    fn a_word_that_was_left_is_taken_once() {
        let store = Store::in_memory().unwrap();
        let mut it = incident("port 23");
        insert(store.connection(), &mut it).unwrap();
        leave_word(store.connection(), it.id, Occasion::Acknowledged).unwrap();
        leave_word(store.connection(), it.id, Occasion::Resolved).unwrap();
        let words = take_words(store.connection()).unwrap();
        assert_eq!(words, [(it.clone(), Occasion::Acknowledged), (it, Occasion::Resolved)]);
        assert!(take_words(store.connection()).unwrap().is_empty());
    }
}
