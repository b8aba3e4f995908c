//! The versions of the schema. A database says in `user_version` how many of them it has been through.

use rusqlite::Connection;

/// Each is run once, in this order, and never changed afterwards.
const STEPS: &[&str] = &[
    include_str!("migrations/001-history.sql"),
    include_str!("migrations/002-outbox.sql"),
    include_str!("migrations/004-lookups.sql"),
];

/// The version that this program knows.
pub(super) const LATEST: i64 = STEPS.len() as i64;

/// The version of a database; 0 for an empty one.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
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
