//! The versions of the schema. A database says in `user_version` how many of them it has been through.

use rusqlite::Connection;

/// Each is run once, in this order, and never changed afterwards.
const STEPS: &[&str] = &[
    include_str!("migrations/001-history.sql"),
    include_str!("migrations/002-outbox.sql"),
    include_str!("migrations/003-threads.sql"),
    include_str!("migrations/004-lookups.sql"),
];

/// The version that this program knows.
pub(super) const LATEST: i64 = STEPS.len() as i64;

/// The version of a database; 0 for an empty one.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Whether there is nothing in it.
pub(super) fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))
}

/// Brings a database to the latest version, all of it or nothing.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let done = usize::try_from(version(&transaction)?).unwrap_or(0);
    for step in STEPS.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", LATEST.max(done as i64))?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Occasion;
    use crate::store::{Store, outbox, take_words};

    #[test]
    fn what_an_earlier_version_wrote_is_taken_on() {
        let mut connection = Connection::open_in_memory().unwrap();
        STEPS[..2].iter().for_each(|step| connection.execute_batch(step).unwrap());
        connection.pragma_update(None, "user_version", 2).unwrap();
        let incident = crate::channel::tests::incident(1);
        let body = serde_json::to_string(&incident).unwrap();
        let earlier = body.replace(",\"muted_by\":null", "").replace(",\"part_of\":null", "");
        assert_ne!(earlier, body);
        let add = "INSERT INTO incident (cause, is_open, opened, body) VALUES ('x', 1, 0, ?1)";
        connection.execute(add, [earlier]).unwrap();
        connection.execute("INSERT INTO said (incident, occasion) VALUES (1, '\"resolved\"')", []).unwrap();
        migrate(&mut connection).unwrap();
        assert_eq!(version(&connection).unwrap(), LATEST);
        assert_eq!(take_words(&connection).unwrap(), [(incident, Occasion::Resolved)]);
        assert_eq!(outbox::backlog(&connection).unwrap().0, 0);
    }

    #[test]
    fn until_it_is_converted_an_earlier_one_can_be_checked_and_copied() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("monitor.db"), folder.path().join("copy.db"));
        let connection = Connection::open(&path).unwrap();
        STEPS[..2].iter().for_each(|step| connection.execute_batch(step).unwrap());
        connection.pragma_update(None, "user_version", 2).unwrap();
        drop(connection);
        let refused = Store::read_only(&path).unwrap_err().to_string();
        assert!(refused.contains("earlier version of halfopen (schema 2"), "{refused}");
        let store = Store::as_it_is(&path).unwrap();
        assert_eq!(store.faults().unwrap(), [""; 0]);
        (0..2).for_each(|_| store.back_up(&copy).unwrap());
        Store::existing(&path).unwrap();
        assert!(Store::read_only(&path).is_ok() && Store::read_only(&copy).is_err());
    }
}
