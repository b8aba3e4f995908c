//! The incidents that are going on: opened once a cause, brought up to date, resolved. Each step is written with the event
//! that says so, in the transaction of whatever it follows from, and noted for those who are to be told.

use jiff::Timestamp;
use rusqlite::Connection;

use crate::incident::{Acknowledgement, Detail, Incident, IncidentId, Mark, PortChange, Severity, Trigger};
use crate::message::Occasion;
use crate::store::{self, Error, Happening};

/// What somebody may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Of which incident, as it is now.
    pub incident: Incident,
    /// What has become of it.
    pub occasion: Occasion,
}

impl Notice {
    /// That this has become of it.
    pub fn of(incident: &Incident, occasion: Occasion) -> Notice {
        Notice { incident: incident.clone(), occasion }
    }
}

/// Incidents under way, in a transaction. Each is looked up in the database when it is asked for: thousands may be open that
/// nobody has ever resolved, and a step is about a few.
#[derive(Debug)]
pub struct Docket<'a> {
    connection: &'a Connection,
    now: Timestamp,
    notices: Vec<Notice>,
}

impl<'a> Docket<'a> {
    /// As the database has it.
    pub fn new(connection: &'a Connection, now: Timestamp) -> Docket<'a> {
        Docket { connection, now, notices: Vec::new() }
    }

    /// The open incidents of a group that are about one of these, the oldest first.
    pub fn about(&self, group: &str, triggers: &[Trigger]) -> Result<Vec<Incident>, Error> {
        store::open_about(self.connection, group, triggers)
    }

    /// The open incident of a cause.
    pub fn of_cause(&self, cause: &str) -> Result<Option<Incident>, Error> {
        store::open_of_cause(self.connection, cause)
    }

    /// An incident begins, unless one of its cause is going on.
    pub fn begin(&mut self, mut incident: Incident) -> Result<(), Error> {
        if self.of_cause(&incident.cause)?.is_some() {
            return Ok(());
        }
        store::insert(self.connection, &mut incident)?;
        self.say(incident, Occasion::Opened, |incident| Happening::IncidentOpened { incident })
    }

    /// More is known of an incident.
    pub fn revise(&mut self, cause: &str, change: impl FnOnce(&mut Incident)) -> Result<(), Error> {
        let Some(before) = self.of_cause(cause)? else { return Ok(()) };
        let mut incident = before.clone();
        change(&mut incident);
        if incident == before {
            return Ok(());
        }
        store::update(self.connection, &incident)?;
        self.say(incident, Occasion::Updated, |incident| Happening::IncidentUpdated { incident })
    }

    /// It is over; those who were told that it began are told.
    pub fn resolve(&mut self, cause: &str, why: &str) -> Result<(), Error> {
        let Some(incident) = self.take(cause, why)? else { return Ok(()) };
        self.say(incident, Occasion::Resolved, |incident| Happening::IncidentResolved { incident })
    }

    /// What is known of it now, that is no news.
    pub fn restate(&mut self, cause: &str, change: impl FnOnce(&mut Incident)) -> Result<(), Error> {
        let Some(mut incident) = self.of_cause(cause)? else { return Ok(()) };
        change(&mut incident);
        store::update(self.connection, &incident)
    }

    /// It goes on as part of another: people are not told of its end by itself.
    pub fn absorb(&mut self, cause: &str, into: &str) -> Result<(), Error> {
        self.restate(cause, |incident| incident.part_of = Some(into.to_owned()))?;
        let Some(incident) = self.take(cause, &format!("it is part of {into} now"))? else { return Ok(()) };
        let happening = Happening::IncidentResolved { incident: Box::new(incident.clone()) };
        store::append(self.connection, self.now, Some(&incident.group), &happening).map(|_| ())
    }

    /// Somebody takes care of it.
    pub fn acknowledge(&mut self, id: IncidentId, by: &str, note: &str) -> Result<bool, Error> {
        let acknowledgement = Acknowledgement { at: self.now, by: by.to_owned(), note: note.to_owned() };
        self.amend(
            id,
            Occasion::Acknowledged,
            |incident| Happening::IncidentAcknowledged { incident },
            |incident| {
                incident.acknowledged = Some(acknowledgement);
            },
        )
    }

    /// Nobody is told of it before then.
    pub fn mute(&mut self, id: IncidentId, until: Timestamp, by: &str) -> Result<bool, Error> {
        let Some(mut incident) = self.open(id)? else { return Ok(false) };
        (incident.muted_until, incident.muted_by) = (Some(until), Some(by.to_owned()));
        store::update(self.connection, &incident)?;
        let happening = Happening::IncidentMuted { incident: Box::new(incident.clone()) };
        store::append(self.connection, self.now, Some(&incident.group), &happening)?;
        Ok(true)
    }

    /// Somebody says that it is over, or that things are to be as they are now.
    pub fn settle(&mut self, id: IncidentId, why: &str) -> Result<bool, Error> {
        let Some(incident) = self.open(id)? else { return Ok(false) };
        self.resolve(&incident.cause, why).map(|()| true)
    }

    /// Who may be told what, in order.
    pub fn notices(self) -> Vec<Notice> {
        self.notices
    }

    fn open(&self, id: IncidentId) -> Result<Option<Incident>, Error> {
        Ok(store::find(self.connection, id)?.filter(Incident::is_open))
    }

    fn amend(
        &mut self,
        id: IncidentId,
        occasion: Occasion,
        happening: fn(Box<Incident>) -> Happening,
        change: impl FnOnce(&mut Incident),
    ) -> Result<bool, Error> {
        let Some(mut incident) = self.open(id)? else { return Ok(false) };
        change(&mut incident);
        store::update(self.connection, &incident)?;
        self.say(incident, occasion, happening)?;
        Ok(true)
    }

    fn take(&mut self, cause: &str, why: &str) -> Result<Option<Incident>, Error> {
        let Some(mut incident) = self.of_cause(cause)? else { return Ok(None) };
        incident.resolved = Some(self.now);
        incident.resolution = Some(why.to_owned());
        store::update(self.connection, &incident)?;
        Ok(Some(incident))
    }

    fn say(
        &mut self,
        incident: Incident,
        occasion: Occasion,
        happening: fn(Box<Incident>) -> Happening,
    ) -> Result<(), Error> {
        let event = happening(Box::new(incident.clone()));
        store::append(self.connection, self.now, Some(&incident.group), &event)?;
        self.notices.push(Notice { incident, occasion });
        Ok(())
    }
}

/// What an incident begins as.
#[derive(Debug)]
pub struct Draft<'a> {
    /// In which group.
    pub group: &'a str,
    /// What it is about.
    pub trigger: Trigger,
    /// What tells its cause from others.
    pub cause: String,
    /// How much it matters.
    pub severity: Severity,
    /// When it came about.
    pub since: Timestamp,
}

impl Draft<'_> {
    /// The incident that begins now.
    pub fn at(self, now: Timestamp) -> Incident {
        Incident {
            id: IncidentId(0),
            cause: self.cause,
            trigger: self.trigger,
            group: self.group.to_owned(),
            host: None,
            severity: self.severity,
            changes: Vec::new(),
            marks: Vec::new(),
            details: Vec::new(),
            since: self.since,
            opened: now,
            acknowledged: None,
            muted_until: None,
            muted_by: None,
            resolved: None,
            resolution: None,
            part_of: None,
        }
    }
}

impl Incident {
    /// The same with these changes; it is at their host, if they have one in common.
    #[must_use]
    pub fn about(mut self, changes: Vec<PortChange>) -> Incident {
        let mut hosts: Vec<_> = changes.iter().map(|change| change.endpoint.address).collect();
        hosts.dedup();
        self.host = hosts.first().copied().filter(|_| hosts.len() == 1);
        self.changes = changes;
        self
    }

    /// The same with something to know.
    #[must_use]
    pub fn with(mut self, name: &str, text: impl Into<String>) -> Incident {
        self.details.push(Detail { name: name.to_owned(), text: text.into() });
        self
    }

    /// The same with what is unusual about it.
    #[must_use]
    pub fn marked(mut self, marks: Vec<Mark>) -> Incident {
        self.marks = marks;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Selection, Store, events};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn incident(cause: &str) -> Incident {
        let (trigger, severity) = (Trigger::Opened, Severity::Warning);
        Draft { group: "dmz", trigger, cause: cause.into(), severity, since: at(1) }.at(at(2))
    }

    #[test]
    fn an_incident_is_told_once_and_resolved_with_a_reason() {
        let store = Store::in_memory().unwrap();
        let mut docket = Docket::new(store.connection(), at(2));
        docket.begin(incident("a")).unwrap();
        docket.begin(incident("a")).unwrap();
        docket.revise("a", |_| {}).unwrap();
        docket.revise("a", |incident| incident.severity = Severity::Critical).unwrap();
        let mut docket = Docket { now: at(9), ..docket };
        docket.resolve("a", "closed again").unwrap();
        docket.resolve("a", "closed again").unwrap();
        let notices = docket.notices();
        let occasions: Vec<_> = notices.iter().map(|notice| notice.occasion).collect();
        assert_eq!(occasions, [Occasion::Opened, Occasion::Updated, Occasion::Resolved]);
        let over = &notices[2].incident;
        assert_eq!((over.resolved, over.resolution.as_deref()), (Some(at(9)), Some("closed again")));
        assert_eq!(store::find(store.connection(), over.id).unwrap().as_ref(), Some(over));
        let events = events(store.connection(), &Selection::default()).unwrap();
        let names: Vec<_> = events.iter().map(|event| event.what.name()).collect();
        assert_eq!(names, ["incident.opened", "incident.updated", "incident.resolved"]);
    }

    #[test]
    fn what_becomes_part_of_another_is_not_told() {
        let store = Store::in_memory().unwrap();
        let mut docket = Docket::new(store.connection(), at(2));
        docket.begin(incident("a")).unwrap();
        docket.absorb("a", "b").unwrap();
        assert!(store::open_incidents(store.connection()).unwrap().is_empty());
        assert_eq!(docket.notices().len(), 1);
    }

    #[test]
    fn people_acknowledge_mute_and_settle_by_number() {
        let store = Store::in_memory().unwrap();
        let mut docket = Docket::new(store.connection(), at(2));
        docket.begin(incident("a")).unwrap();
        let id = docket.of_cause("a").unwrap().unwrap().id;
        assert!(docket.acknowledge(id, "somebody", "looking").unwrap());
        assert!(docket.mute(id, at(99), "somebody").unwrap());
        assert!(docket.settle(id, "accepted").unwrap());
        for nothing in [docket.acknowledge(id, "x", ""), docket.mute(id, at(9), "x"), docket.settle(id, "x")] {
            assert!(!nothing.unwrap(), "it is over");
        }
        let kept = store::find(store.connection(), id).unwrap().unwrap();
        assert_eq!(kept.acknowledged.unwrap().note, "looking");
        assert_eq!((kept.muted_until, kept.resolution.as_deref()), (Some(at(99)), Some("accepted")));
    }
}
