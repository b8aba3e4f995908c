//! What whoever decides must know again after a restart: values by name.

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;

/// Keeps a value in place of what had that name.
pub fn remember<T: Serialize>(connection: &Connection, name: &str, value: &T) -> Result<(), Error> {
    let body = serde_json::to_string(value).map_err(|error| Error::Row("a memory", error))?;
    connection
        .prepare_cached("INSERT INTO memory (name, body) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET body = ?2")?
        .execute(params![name, body])?;
    Ok(())
}

/// The value of that name.
pub fn recall<T: DeserializeOwned>(connection: &Connection, name: &str) -> Result<Option<T>, Error> {
    let body: Option<String> =
        connection.query_row("SELECT body FROM memory WHERE name = ?1", [name], |row| row.get(0)).optional()?;
    body.map(|body| serde_json::from_str(&body).map_err(|error| Error::Row("a memory", error))).transpose()
}
