//! What happened, in the order in which it became known. The feed of changes and every subscriber read these rows by number.

use std::net::IpAddr;

use halfopen_results::record::State;
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::{Error, millis, time};
use crate::incident::{Incident, PortChange};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number: later events have higher ones.
    pub id: i64,
    /// When it became known.
    pub at: Timestamp,
    /// In which group, if in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What it was.
    #[serde(flatten)]
    pub what: Happening,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum Happening {
    /// A port became different, and that is sure.
    #[serde(rename = "port.changed")]
    Port {
        /// Where, what it was, and what it is.
        #[serde(flatten)]
        change: PortChange,
        /// When it was first seen so; an earlier version did not write it down.
        #[serde(default)]
        since: Option<Timestamp>,
    },
    /// A host answered for the first time, with what was open then.
    #[serde(rename = "host.appeared")]
    Appeared {
        /// Which.
        host: IpAddr,
        /// Its open ports.
        open: Vec<u16>,
    },
    /// A host does not answer any more.
    #[serde(rename = "host.down")]
    Down {
        /// Which.
        host: IpAddr,
        /// When it was first missed; an earlier version did not write it down.
        #[serde(default)]
        since: Option<Timestamp>,
    },
    /// A host answers again.
    #[serde(rename = "host.up")]
    Up {
        /// Which.
        host: IpAddr,
    },
    /// Ports were seen different, and were as before when they were asked again.
    #[serde(rename = "port.blinked")]
    Blinked {
        /// Where, what it is, and what it seemed to be.
        #[serde(flatten)]
        change: PortChange,
    },
    /// A scan was made for the first time: what it found is what later ones are held against.
    #[serde(rename = "group.baseline")]
    Baseline {
        /// How many hosts answered.
        hosts: u64,
        /// How many ports are open.
        open: u64,
    },
    /// A scan did not take place, or ended early.
    #[serde(rename = "scan.failed")]
    ScanFailed {
        /// Why.
        error: String,
    },
    /// An incident began.
    #[serde(rename = "incident.opened")]
    IncidentOpened {
        /// As it was then.
        incident: Box<Incident>,
    },
    /// More is known of one.
    #[serde(rename = "incident.updated")]
    IncidentUpdated {
        /// As it was then.
        incident: Box<Incident>,
    },
    /// Somebody takes care of it.
    #[serde(rename = "incident.acknowledged")]
    IncidentAcknowledged {
        /// As it was then.
        incident: Box<Incident>,
    },
    /// Nobody is told of it for some time.
    #[serde(rename = "incident.muted")]
    IncidentMuted {
        /// As it was then.
        incident: Box<Incident>,
    },
    /// It is over.
    #[serde(rename = "incident.resolved")]
    IncidentResolved {
        /// As it was then.
        incident: Box<Incident>,
    },
}

impl Event {
    /// When it came about, as far as is known: a change is seen before it is sure.
    pub fn since(&self) -> Timestamp {
        match self.what {
            Happening::Port { since, .. } | Happening::Down { since, .. } => since.unwrap_or(self.at),
            _ => self.at,
        }
    }
}

impl Happening {
    /// `port.changed`, `incident.opened`, ...
    pub fn name(&self) -> &'static str {
        match self {
            Happening::Port { .. } => "port.changed",
            Happening::Appeared { .. } => "host.appeared",
            Happening::Down { .. } => "host.down",
            Happening::Up { .. } => "host.up",
            Happening::Blinked { .. } => "port.blinked",
            Happening::Baseline { .. } => "group.baseline",
            Happening::ScanFailed { .. } => "scan.failed",
            Happening::IncidentOpened { .. } => "incident.opened",
            Happening::IncidentUpdated { .. } => "incident.updated",
            Happening::IncidentAcknowledged { .. } => "incident.acknowledged",
            Happening::IncidentMuted { .. } => "incident.muted",
            Happening::IncidentResolved { .. } => "incident.resolved",
        }
    }

    /// At which host, if at one.
    pub fn host(&self) -> Option<IpAddr> {
        match self {
            Happening::Port { change, .. } | Happening::Blinked { change } => Some(change.endpoint.address),
            Happening::Appeared { host, .. } | Happening::Down { host, .. } | Happening::Up { host } => Some(*host),
            Happening::Baseline { .. } | Happening::ScanFailed { .. } => None,
            Happening::IncidentOpened { incident }
            | Happening::IncidentUpdated { incident }
            | Happening::IncidentAcknowledged { incident }
            | Happening::IncidentMuted { incident }
            | Happening::IncidentResolved { incident } => incident.host,
        }
    }

    fn port(&self) -> Option<u16> {
        match self {
            Happening::Port { change, .. } | Happening::Blinked { change } => Some(change.endpoint.port.number),
            _ => None,
        }
    }

    /// Whether a port or a host became different.
    pub fn is_change(&self) -> bool {
        matches!(
            self,
            Happening::Port { .. } | Happening::Appeared { .. } | Happening::Down { .. } | Happening::Up { .. }
        )
    }

    /// What the port has become, if it is about one.
    pub fn state(&self) -> Option<State> {
        if let Happening::Port { change, .. } = self { Some(change.is) } else { None }
    }
}

/// Which events are wanted.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// With higher numbers than this.
    pub after: i64,
    /// Not before this.
    pub since: Option<Timestamp>,
    /// Of this group.
    pub group: Option<String>,
    /// At this host.
    pub host: Option<IpAddr>,
    /// At this port.
    pub port: Option<u16>,
    /// Changes of ports and hosts alone.
    pub changes: bool,
    /// At most so many, the oldest first.
    pub limit: Option<u32>,
}

/// Adds an event and gives its number.
pub fn append(connection: &Connection, at: Timestamp, group: Option<&str>, what: &Happening) -> Result<i64, Error> {
    let body = serde_json::to_string(what).map_err(|error| Error::Row("an event", error))?;
    let host = what.host().map(|host| host.to_string());
    connection
        .prepare_cached(
            "INSERT INTO event (at, type, watched_group, host, port, body)
             VALUES (MAX(?1, COALESCE((SELECT MAX(at) FROM event), ?1)), ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![millis(at), what.name(), group, host, what.port(), body])?;
    Ok(connection.last_insert_rowid())
}

/// The events that are wanted, in their order.
pub fn events(connection: &Connection, wanted: &Selection) -> Result<Vec<Event>, Error> {
    const CHANGES: &str = "'port.changed', 'host.appeared', 'host.down', 'host.up'";
    let mut rows = connection.prepare_cached(&format!(
        "SELECT id, at, watched_group, body FROM event
         WHERE id > ?1 AND (?2 IS NULL OR at >= ?2) AND (?3 IS NULL OR watched_group = ?3)
           AND (?4 IS NULL OR host = ?4) AND (?5 IS NULL OR port = ?5) AND (NOT ?6 OR type IN ({CHANGES}))
         ORDER BY id LIMIT ?7"
    ))?;
    let host = wanted.host.map(|host| host.to_string());
    let limit = wanted.limit.map_or(-1, i64::from);
    let since = wanted.since.map(millis);
    let rows =
        rows.query_map(params![wanted.after, since, wanted.group, host, wanted.port, wanted.changes, limit], event)?;
    rows.map(|row| row.map_err(Error::from).and_then(|row| row)).collect()
}

/// The highest number so far.
pub fn newest(connection: &Connection) -> Result<i64, Error> {
    Ok(connection.query_row("SELECT COALESCE(MAX(id), 0) FROM event", [], |row| row.get(0))?)
}

fn event(row: &Row<'_>) -> rusqlite::Result<Result<Event, Error>> {
    let (id, at, group, body) = (row.get(0)?, time(row.get(1)?), row.get(2)?, row.get::<_, String>(3)?);
    let what = serde_json::from_str(&body).map_err(|error| Error::Row("an event", error));
    Ok(what.map(|what| Event { id, at, group, what }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;
    use crate::store::Store;

    #[test]
    fn events_are_found_again_by_what_they_are_about() {
        let store = Store::in_memory().unwrap();
        let host: IpAddr = "192.0.2.7".parse().unwrap();
        let change = PortChange { endpoint: Endpoint::tcp(host, 23), was: Some(State::Closed), is: State::Open };
        let all = [
            Happening::Baseline { hosts: 1, open: 2 },
            Happening::Port { change, since: Some(Timestamp::UNIX_EPOCH) },
            Happening::Down { host, since: None },
            Happening::ScanFailed { error: "no route".into() },
        ];
        for (second, what) in all.iter().enumerate() {
            let at = Timestamp::from_second(second as i64).unwrap();
            assert_eq!(append(store.connection(), at, Some("dmz"), what).unwrap(), second as i64 + 1);
        }
        let found = |wanted: Selection| {
            events(store.connection(), &wanted).unwrap().into_iter().map(|event| event.id).collect::<Vec<_>>()
        };
        assert_eq!(found(Selection::default()), [1, 2, 3, 4]);
        assert_eq!(found(Selection { after: 2, ..Selection::default() }), [3, 4]);
        assert_eq!(found(Selection { host: Some(host), ..Selection::default() }), [2, 3]);
        assert_eq!(found(Selection { port: Some(23), ..Selection::default() }), [2]);
        assert_eq!(found(Selection { changes: true, limit: Some(1), ..Selection::default() }), [2]);
        assert_eq!(found(Selection { group: Some("lan".into()), ..Selection::default() }), [] as [i64; 0]);
        assert_eq!(newest(store.connection()).unwrap(), 4);
        let back = events(store.connection(), &Selection { after: 1, limit: Some(1), ..Selection::default() }).unwrap();
        assert_eq!(back[0].what, all[1]);
        let json = serde_json::to_value(&back[0]).unwrap();
        assert_eq!((&json["type"], &json["endpoint"]), (&"port.changed".into(), &"192.0.2.7:23/tcp".into()));
    }
}
