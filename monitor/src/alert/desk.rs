//! Makes messages of what happened: who is told, of how much at once, and when not. It has no clock and no memory but the database:
//! what it does belongs to the transaction in which things happened.
//!
//! - Whoever was told that something began is told that it is over, in the same thread, whatever rules say by then.
//! - Many at once are one message, and over when the last of them is.
//! - What may not be told now (a quiet window, hours, a mute) is told when it may be, if it still goes on; what began and
//!   ended in a quiet window is told at its end.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::rules::{Rule, recipients};
use crate::channel::{ChannelName, Settings};
use crate::docket::Notice;
use crate::incident::{Incident, IncidentId, Severity};
use crate::message::{Line, Message, Occasion};
use crate::store::outbox::{self, Channels};
use crate::store::{self, Error, millis, time};
use crate::wording::{Reader, SINGLY};

/// Who is told, and in which words.
#[derive(Debug, Clone)]
pub struct Desk {
    /// Who.
    pub rules: Vec<Rule>,
    /// By what.
    pub channels: Channels,
    /// In which words.
    pub reader: Reader,
}

/// Whether people are not to be disturbed about a group.
pub type Quiet<'a> = &'a dyn Fn(&str) -> bool;

/// What a channel has been told of an incident.
#[derive(Debug, Clone)]
struct Told {
    channel: ChannelName,
    thread: String,
    at: Timestamp,
}

impl Desk {
    /// Puts into the outbox what is to be told of this. Part of the transaction in which it happened.
    pub fn announce(
        &self,
        connection: &Connection,
        notices: &[Notice],
        quiet: Quiet<'_>,
        now: Timestamp,
    ) -> Result<(), Error> {
        for channel in self.channels.keys() {
            let mut news = Vec::new();
            for notice in notices {
                news.extend(self.news(connection, channel, notice, quiet, now)?);
            }
            self.tell(connection, channel, news, now)?;
        }
        Ok(())
    }

    /// Tells what could not be told before, and reminds of what goes on.
    pub fn tick(&self, connection: &Connection, quiet: Quiet<'_>, now: Timestamp) -> Result<(), Error> {
        let open = store::open_incidents(connection)?;
        for channel in self.channels.keys() {
            let mut news = self.after_quiet(connection, channel, quiet, now)?;
            if news.len() > 1 && self.is_read_by_people(channel) {
                self.tell_together(connection, channel, &std::mem::take(&mut news), now)?;
            }
            for incident in open.iter().filter(|it| may_be_told(it, quiet, now)) {
                if !news.iter().any(|it| it.incident.id == incident.id) {
                    news.extend(self.overdue(connection, channel, incident, now)?);
                }
            }
            self.tell(connection, channel, news, now)?;
        }
        Ok(())
    }

    /// The shortest time between reminders: for whoever wants to know when to come back.
    pub fn shortest_reminder(&self) -> Option<SignedDuration> {
        self.rules.iter().filter_map(|rule| rule.remind).min()
    }

    /// What one channel is to be told of a notice now, if anything.
    fn news(
        &self,
        connection: &Connection,
        channel: &ChannelName,
        notice: &Notice,
        quiet: Quiet<'_>,
        now: Timestamp,
    ) -> Result<Option<Notice>, Error> {
        let Notice { incident, occasion } = notice;
        let told = told(connection, channel, incident.id)?.is_some();
        let concerned = recipients(&self.rules, incident, *occasion, now).contains(&channel);
        let counts = self.counts_incidents(channel);
        let is_muted = is_muted(incident, now);
        match (occasion, told) {
            // A mute is for people, to the end; machines keep count.
            (Occasion::Resolved, true) if is_muted && self.is_read_by_people(channel) => {
                mark_over(connection, channel, incident.id, now)?;
            }
            // A machine that keeps count is told at once that it is over: that disturbs nobody.
            (Occasion::Resolved, true) if quiet(&incident.group) && !counts => {
                wait(connection, channel, incident, now)?;
            }
            (Occasion::Resolved | Occasion::Acknowledged, true) => return Ok(Some(notice.clone())),
            (Occasion::Resolved | Occasion::Acknowledged, false) => {}
            _ if !concerned => {}
            _ if quiet(&incident.group) => wait(connection, channel, incident, now)?,
            _ if is_muted => {}
            (Occasion::Updated, false) => return Ok(Some(Notice { occasion: Occasion::Opened, ..notice.clone() })),
            _ => return Ok(Some(notice.clone())),
        }
        Ok(None)
    }

    /// Of what had to wait for the end of a quiet window: that it goes on, or that it is over.
    fn after_quiet(
        &self,
        connection: &Connection,
        channel: &ChannelName,
        quiet: Quiet<'_>,
        now: Timestamp,
    ) -> Result<Vec<Notice>, Error> {
        let mut news = Vec::new();
        for id in waiting(connection, channel)? {
            let Some(incident) = store::find(connection, id)?.filter(|it| !quiet(&it.group)) else { continue };
            wait_no_more(connection, channel, id)?;
            match (incident.is_open(), told(connection, channel, id)?) {
                (false, _) => news.push(Notice { incident, occasion: Occasion::Resolved }),
                (true, None) if !is_muted(&incident, now) => {
                    news.extend(self.overdue(connection, channel, &incident, now)?);
                }
                _ => {}
            }
        }
        Ok(news)
    }

    /// What a channel should have been told of an open incident by now.
    fn overdue(
        &self,
        connection: &Connection,
        channel: &ChannelName,
        incident: &Incident,
        now: Timestamp,
    ) -> Result<Option<Notice>, Error> {
        let rules =
            || self.rules.iter().filter(|it| it.to.contains(channel) && it.is_about(incident) && it.is_open(now));
        let notice = |occasion| Notice { incident: incident.clone(), occasion };
        let Some(told) = told(connection, channel, incident.id)? else {
            return Ok(rules().next().map(|_| notice(Occasion::Opened)));
        };
        let again = rules().filter_map(|rule| rule.remind).min();
        let due = again.is_some_and(|every| told.at + every <= now) && incident.acknowledged.is_none();
        let leads = due && leads(connection, &told, incident.id)?;
        Ok(leads.then(|| notice(Occasion::Reminder)))
    }

    /// Makes messages of what a channel is to be told, and puts them into the outbox.
    fn tell(
        &self,
        connection: &Connection,
        channel: &ChannelName,
        news: Vec<Notice>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (fresh, rest): (Vec<_>, Vec<_>) = news.into_iter().partition(|it| it.occasion == Occasion::Opened);
        // Who counts incidents gets each in a thread of its own: else the end of one could overtake the beginning of many.
        match fresh.len() > SINGLY && !self.counts_incidents(channel) {
            true => self.tell_together(connection, channel, &fresh, now)?,
            false => fresh.iter().try_for_each(|notice| self.tell_of(connection, channel, notice, None, now))?,
        }
        let (over, rest): (Vec<_>, Vec<_>) = rest.into_iter().partition(|it| it.occasion == Occasion::Resolved);
        match over.len() > SINGLY && self.is_read_by_people(channel) {
            true => self.tell_together(connection, channel, &over, now)?,
            false => over.iter().try_for_each(|notice| self.follow_up(connection, channel, notice, now))?,
        }
        rest.iter().try_for_each(|notice| self.follow_up(connection, channel, notice, now))
    }

    fn counts_incidents(&self, channel: &ChannelName) -> bool {
        self.channels.get(channel).is_some_and(Settings::counts_incidents)
    }

    fn is_read_by_people(&self, channel: &ChannelName) -> bool {
        self.channels.get(channel).is_some_and(Settings::is_read_by_people)
    }

    /// One message about one incident.
    fn tell_of(
        &self,
        connection: &Connection,
        channel: &ChannelName,
        notice: &Notice,
        thread: Option<String>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let message = self.reader.message(String::new(), notice, now);
        let thread = thread.unwrap_or_else(|| message.thread.clone());
        let message = identified(Message { thread, ..message });
        outbox::enqueue(connection, channel, &message, now)?;
        remember(connection, channel, &notice.incident, &message.thread, now)
    }

    /// One message about several.
    fn tell_together(
        &self,
        connection: &Connection,
        channel: &ChannelName,
        notices: &[Notice],
        now: Timestamp,
    ) -> Result<(), Error> {
        let first = notices.first().map_or(0, |first| first.incident.id.0);
        self.tell_thread(connection, channel, notices, format!("many-{first}"), now)
    }

    /// What has become of an incident of which they know; of those who were told of together when it is true of all.
    fn follow_up(
        &self,
        connection: &Connection,
        channel: &ChannelName,
        notice: &Notice,
        now: Timestamp,
    ) -> Result<(), Error> {
        let Some(told) = told(connection, channel, notice.incident.id)? else {
            return self.tell_of(connection, channel, notice, None, now);
        };
        let all = together(connection, &told)?;
        if all.len() <= 1 {
            return self.tell_of(connection, channel, notice, Some(told.thread), now);
        }
        let notices = all.into_iter().map(|incident| Notice { incident, occasion: notice.occasion });
        let (open, over): (Vec<_>, Vec<_>) = notices.partition(|it| it.incident.is_open());
        match notice.occasion {
            Occasion::Resolved => {
                mark_over(connection, channel, notice.incident.id, now)?;
                if open.is_empty() { self.tell_thread(connection, channel, &over, told.thread, now) } else { Ok(()) }
            }
            Occasion::Acknowledged if open.iter().any(|it| it.incident.acknowledged.is_none()) => Ok(()),
            Occasion::Acknowledged | Occasion::Reminder => {
                self.tell_thread(connection, channel, &open, told.thread, now)
            }
            _ => self.tell_of(connection, channel, notice, Some(told.thread), now),
        }
    }

    /// One message about all of a thread that this is true of.
    fn tell_thread(
        &self,
        connection: &Connection,
        channel: &ChannelName,
        notices: &[Notice],
        thread: String,
        now: Timestamp,
    ) -> Result<(), Error> {
        let summary = self.reader.summary(String::new(), notices, now);
        let message = identified(Message { thread, ..summary });
        outbox::enqueue(connection, channel, &message, now)?;
        notices.iter().try_for_each(|notice| remember(connection, channel, &notice.incident, &message.thread, now))
    }
}

/// A message to try a channel with.
pub fn trial(channel: &ChannelName, reader: &Reader, now: Timestamp) -> Message {
    let text = format!("Somebody tries the channel {channel}. Nothing happened, and nothing is to be done.");
    identified(Message {
        id: String::new(),
        at: now,
        occasion: Occasion::Test,
        thread: format!("test-{channel}-{}", millis(now)),
        severity: Severity::Info,
        title: format!("halfopen: a test of {channel}"),
        lines: vec![Line { name: "What".into(), text }],
        incidents: Vec::new(),
        link: reader.link.clone(),
    })
}

fn identified(message: Message) -> Message {
    Message { id: message_id(&message), ..message }
}

/// `msg_` and 26 characters: the same for the same thread, occasion and time, and for no other.
pub fn message_id(message: &Message) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let named = format!("{}\n{}\n{}\n{}", message.thread, message.occasion.name(), message.at, message.title);
    let digest = Sha256::digest(named.as_bytes());
    let characters = digest.iter().take(26).map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    format!("msg_{}", characters.collect::<String>())
}

fn may_be_told(incident: &Incident, quiet: Quiet<'_>, now: Timestamp) -> bool {
    !quiet(&incident.group) && !is_muted(incident, now)
}

fn is_muted(incident: &Incident, now: Timestamp) -> bool {
    incident.muted_until.is_some_and(|until| now < until)
}

fn told(connection: &Connection, channel: &ChannelName, id: IncidentId) -> Result<Option<Told>, Error> {
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, time(row.get(1)?)));
    let found = connection
        .prepare_cached("SELECT thread, at FROM told WHERE channel = ?1 AND incident = ?2")?
        .query_row(params![channel.as_str(), id.0], row)
        .optional()?;
    Ok(found.map(|(thread, at)| Told { channel: channel.clone(), thread, at }))
}

fn remember(
    connection: &Connection,
    channel: &ChannelName,
    incident: &Incident,
    thread: &str,
    now: Timestamp,
) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO told (channel, incident, thread, at, is_over) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![channel.as_str(), incident.id.0, thread, millis(now), !incident.is_open()])?;
    Ok(())
}

fn mark_over(connection: &Connection, channel: &ChannelName, id: IncidentId, now: Timestamp) -> Result<(), Error> {
    connection
        .prepare_cached("UPDATE told SET is_over = 1, at = ?3 WHERE channel = ?1 AND incident = ?2")?
        .execute(params![channel.as_str(), id.0, millis(now)])?;
    Ok(())
}

/// All that was told in a thread.
fn together(connection: &Connection, told: &Told) -> Result<Vec<Incident>, Error> {
    let ids = thread(connection, told)?;
    let found: Vec<_> = ids.into_iter().map(|id| store::find(connection, id)).collect::<Result<_, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

fn thread(connection: &Connection, told: &Told) -> Result<Vec<IncidentId>, Error> {
    let mut rows =
        connection.prepare_cached("SELECT incident FROM told WHERE channel = ?1 AND thread = ?2 ORDER BY incident")?;
    let rows = rows.query_map(params![told.channel.as_str(), told.thread], |row| row.get(0).map(IncidentId))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether an incident speaks for its thread: the first in it that is not over. Only that one is reminded of.
fn leads(connection: &Connection, told: &Told, id: IncidentId) -> Result<bool, Error> {
    let first: Option<i64> = connection
        .prepare_cached("SELECT MIN(incident) FROM told WHERE channel = ?1 AND thread = ?2 AND is_over = 0")?
        .query_row(params![told.channel.as_str(), told.thread], |row| row.get(0))?;
    Ok(first == Some(id.0))
}

fn wait(connection: &Connection, channel: &ChannelName, incident: &Incident, now: Timestamp) -> Result<(), Error> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO waiting (channel, incident, since) VALUES (?1, ?2, ?3)")?
        .execute(params![channel.as_str(), incident.id.0, millis(now)])?;
    Ok(())
}

fn wait_no_more(connection: &Connection, channel: &ChannelName, id: IncidentId) -> Result<(), Error> {
    connection
        .prepare_cached("DELETE FROM waiting WHERE channel = ?1 AND incident = ?2")?
        .execute(params![channel.as_str(), id.0])?;
    Ok(())
}

fn waiting(connection: &Connection, channel: &ChannelName) -> Result<Vec<IncidentId>, Error> {
    let mut rows = connection.prepare_cached("SELECT incident FROM waiting WHERE channel = ?1 ORDER BY incident")?;
    let rows = rows.query_map([channel.as_str()], |row| row.get(0).map(IncidentId))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::rules::tests::to;
    use crate::channel::tests::{at, incident, noon, settings};
    use crate::incident::{Acknowledgement, Trigger};
    use crate::store::Store;
    use crate::store::outbox::{Filter, log};

    const PEOPLE: &str = "kind='ntfy'\ntopic='ports'";
    const PAGER: &str = "kind='command'\ncommand=['/bin/true']";
    const COUNTING: &str = "kind='alertmanager'\nurls=['http://127.0.0.1:9093']";

    /// A desk, its database, and what was said so far.
    struct Bench {
        desk: Desk,
        store: Store,
        seen: usize,
    }

    impl Bench {
        fn new(rules: Vec<Rule>, channels: &[(&str, &str)]) -> Bench {
            let channels = channels.iter().map(|(name, text)| (name.parse().unwrap(), settings(text).unwrap()));
            let reader = Reader { zone: jiff::tz::TimeZone::UTC, link: None };
            let desk = Desk { rules, channels: channels.collect(), reader };
            Bench { desk, store: Store::in_memory().unwrap(), seen: 0 }
        }

        /// One channel of this kind, that is told everything.
        fn with(channel: &str) -> Bench {
            Bench::new(vec![to("ops")], &[("ops", channel)])
        }

        fn begun(&self, count: i64) -> Vec<Incident> {
            let new = |id| {
                let mut incident = incident(id);
                store::insert(self.store.connection(), &mut incident).unwrap();
                incident
            };
            (1..=count).map(new).collect()
        }

        fn ended(&self, incident: &mut Incident, now: &str) {
            incident.resolved = Some(at(now));
            store::update(self.store.connection(), incident).unwrap();
        }

        fn announce(&mut self, incidents: &[Incident], occasion: Occasion, quiet: bool, now: &str) -> Vec<Message> {
            let notice = |incident: &Incident| Notice { incident: incident.clone(), occasion };
            let notices: Vec<_> = incidents.iter().map(notice).collect();
            self.desk.announce(self.store.connection(), &notices, &|_| quiet, at(now)).unwrap();
            self.said()
        }

        fn tick(&mut self, quiet: bool, now: &str) -> Vec<Message> {
            self.desk.tick(self.store.connection(), &|_| quiet, at(now)).unwrap();
            self.said()
        }

        /// What is new in the outbox.
        fn said(&mut self) -> Vec<Message> {
            let all = log(self.store.connection(), &Filter::default()).unwrap();
            let new = all.iter().skip(self.seen).map(|entry| entry.message.clone()).collect();
            self.seen = all.len();
            new
        }
    }

    fn occasions(messages: &[Message]) -> Vec<(Occasion, usize)> {
        messages.iter().map(|message| (message.occasion, message.incidents.len())).collect()
    }

    #[test]
    fn one_is_told_and_its_end_in_the_same_thread() {
        let mut bench = Bench::with(PEOPLE);
        let mut one = bench.begun(1);
        let opened = bench.announce(&one, Occasion::Opened, false, "2026-03-01T12:00:00Z");
        assert_eq!(occasions(&opened), [(Occasion::Opened, 1)]);
        bench.ended(&mut one[0], "2026-03-01T13:00:00Z");
        // Whatever the rules say by then.
        bench.desk.rules[0].on = vec![Trigger::HostDown];
        let over = bench.announce(&one, Occasion::Resolved, false, "2026-03-01T13:00:00Z");
        assert_eq!((occasions(&over), &over[0].thread), (vec![(Occasion::Resolved, 1)], &opened[0].thread));
        assert_ne!(over[0].id, opened[0].id);
        assert!(over[0].id.len() == 30 && over[0].id.starts_with("msg_"), "{}", over[0].id);
    }

    #[test]
    fn whom_no_rule_names_is_not_told_nor_that_it_is_over() {
        let mut bench = Bench::with(PEOPLE);
        bench.desk.rules[0].groups = vec!["lan".into()];
        let mut one = bench.begun(1);
        assert_eq!(bench.announce(&one, Occasion::Opened, false, "2026-03-01T12:00:00Z"), []);
        bench.ended(&mut one[0], "2026-03-01T13:00:00Z");
        bench.desk.rules[0].groups.clear();
        assert_eq!(bench.announce(&one, Occasion::Resolved, false, "2026-03-01T13:00:00Z"), []);
    }

    #[test]
    fn many_are_one_message_and_over_when_the_last_is() {
        let mut bench = Bench::with(PAGER);
        let mut many = bench.begun(6);
        let opened = bench.announce(&many, Occasion::Opened, false, "2026-03-01T12:00:00Z");
        assert_eq!(occasions(&opened), [(Occasion::Opened, 6)]);
        for incident in &mut many[..5] {
            bench.ended(incident, "2026-03-01T13:00:00Z");
        }
        assert_eq!(bench.announce(&many[..5], Occasion::Resolved, false, "2026-03-01T13:00:00Z"), []);
        bench.ended(&mut many[5], "2026-03-01T14:00:00Z");
        let over = bench.announce(&many[5..], Occasion::Resolved, false, "2026-03-01T14:00:00Z");
        assert_eq!((occasions(&over), &over[0].thread), (vec![(Occasion::Resolved, 6)], &opened[0].thread));
    }

    #[test]
    fn five_are_told_one_by_one() {
        let mut bench = Bench::with(PEOPLE);
        let five = bench.begun(5);
        assert_eq!(bench.announce(&five, Occasion::Opened, false, "2026-03-01T12:00:00Z").len(), 5);
    }

    #[test]
    fn many_that_end_together_are_one_message_for_people_and_one_each_for_machines() {
        for (channel, expected) in [(PEOPLE, 1), (PAGER, 8), (COUNTING, 8)] {
            let mut bench = Bench::with(channel);
            let mut many = bench.begun(8);
            for incident in &many {
                bench.announce(std::slice::from_ref(incident), Occasion::Opened, false, "2026-03-01T12:00:00Z");
            }
            many.iter_mut().for_each(|incident| bench.ended(incident, "2026-03-01T13:00:00Z"));
            let over = bench.announce(&many, Occasion::Resolved, false, "2026-03-01T13:00:00Z");
            let incidents: usize = over.iter().map(|message| message.incidents.len()).sum();
            assert_eq!((over.len(), incidents), (expected, 8), "{channel}");
        }
    }

    #[test]
    fn who_counts_incidents_is_told_of_each_end_at_once() {
        let mut bench = Bench::with(COUNTING);
        let mut many = bench.begun(6);
        let opened = bench.announce(&many, Occasion::Opened, false, "2026-03-01T12:00:00Z");
        assert_eq!(occasions(&opened), [(Occasion::Opened, 1); 6]);
        bench.ended(&mut many[2], "2026-03-01T13:00:00Z");
        let over = bench.announce(&many[2..3], Occasion::Resolved, true, "2026-03-01T13:00:00Z");
        assert_eq!(occasions(&over), [(Occasion::Resolved, 1)], "even in a quiet window");
    }

    #[test]
    fn a_quiet_window_ends_with_one_summary() {
        let mut bench = Bench::with(PEOPLE);
        let mut three = bench.begun(3);
        assert_eq!(bench.announce(&three, Occasion::Opened, true, "2026-03-01T01:00:00Z"), []);
        bench.ended(&mut three[0], "2026-03-01T02:00:00Z");
        assert_eq!(bench.announce(&three[..1], Occasion::Resolved, true, "2026-03-01T02:00:00Z"), []);
        assert_eq!(bench.tick(true, "2026-03-01T03:00:00Z"), []);
        let summary = bench.tick(false, "2026-03-01T06:00:00Z");
        assert_eq!(summary.len(), 1, "{summary:?}");
        assert_eq!(summary[0].incidents.len(), 3);
        let names: Vec<_> = summary[0].lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["resolved", "opened", "opened"]);
        assert_eq!(bench.tick(false, "2026-03-01T07:00:00Z"), [], "that is all");
    }

    #[test]
    fn one_that_waited_is_told_as_usual() {
        let mut bench = Bench::with(PEOPLE);
        let one = bench.begun(1);
        bench.announce(&one, Occasion::Opened, true, "2026-03-01T01:00:00Z");
        let told = bench.tick(false, "2026-03-01T06:00:00Z");
        assert_eq!((occasions(&told), told[0].thread.as_str()), (vec![(Occasion::Opened, 1)], "incident-1"));
    }

    #[test]
    fn hours_and_mutes_are_waited_for() {
        let mut bench = Bench::with(PEOPLE);
        let office = crate::hours::window("Mon-Fri 08:00-18:00").unwrap();
        bench.desk.rules[0].hours = Some(crate::hours::Hours::new(vec![office], jiff::tz::TimeZone::UTC));
        let mut one = bench.begun(1);
        // 2026-03-01 is a Sunday.
        assert_eq!(bench.announce(&one, Occasion::Opened, false, "2026-03-01T12:00:00Z"), []);
        one[0].muted_until = Some(at("2026-03-02T09:00:00Z"));
        store::update(bench.store.connection(), &one[0]).unwrap();
        assert_eq!(bench.tick(false, "2026-03-02T08:30:00Z"), []);
        assert_eq!(occasions(&bench.tick(false, "2026-03-02T09:00:00Z")), [(Occasion::Opened, 1)]);
    }

    #[test]
    fn what_goes_on_is_reminded_of_until_it_is_acknowledged() {
        let mut bench = Bench::with(PEOPLE);
        bench.desk.rules[0].remind = Some(SignedDuration::from_hours(4));
        let mut one = bench.begun(1);
        bench.announce(&one, Occasion::Opened, false, "2026-03-01T12:00:00Z");
        assert_eq!(bench.tick(false, "2026-03-01T15:59:59Z"), []);
        assert_eq!(occasions(&bench.tick(false, "2026-03-01T16:00:00Z")), [(Occasion::Reminder, 1)]);
        assert_eq!(bench.tick(false, "2026-03-01T19:00:00Z"), []);
        one[0].acknowledged = Some(Acknowledgement { at: noon(), by: "kim".into(), note: String::new() });
        store::update(bench.store.connection(), &one[0]).unwrap();
        let known = bench.announce(&one, Occasion::Acknowledged, false, "2026-03-01T19:30:00Z");
        assert_eq!(occasions(&known), [(Occasion::Acknowledged, 1)]);
        assert_eq!(bench.tick(false, "2026-03-02T16:00:00Z"), []);
    }

    #[test]
    fn many_are_reminded_of_once() {
        let mut bench = Bench::with(PEOPLE);
        bench.desk.rules[0].remind = Some(SignedDuration::from_hours(4));
        let many = bench.begun(7);
        bench.announce(&many, Occasion::Opened, false, "2026-03-01T12:00:00Z");
        assert_eq!(occasions(&bench.tick(false, "2026-03-01T16:00:00Z")), [(Occasion::Reminder, 7)]);
        assert_eq!(bench.tick(false, "2026-03-01T16:00:01Z").len(), 0);
    }

    #[test]
    fn what_becomes_worse_is_told_to_those_who_did_not_care_before() {
        let mut bench = Bench::new(
            vec![to("ops"), Rule { severity: Severity::Critical, ..to("pager") }],
            &[("ops", PEOPLE), ("pager", PAGER)],
        );
        let mut one = bench.begun(1);
        one[0].severity = Severity::Info;
        assert_eq!(bench.announce(&one, Occasion::Opened, false, "2026-03-01T12:00:00Z").len(), 1);
        one[0].severity = Severity::Critical;
        let told = bench.announce(&one, Occasion::Updated, false, "2026-03-01T12:05:00Z");
        assert_eq!(occasions(&told), [(Occasion::Updated, 1), (Occasion::Opened, 1)]);
    }

    #[test]
    fn a_test_is_about_nothing() {
        let reader = Reader { zone: jiff::tz::TimeZone::UTC, link: None };
        let message = trial(&"ops".parse().unwrap(), &reader, noon());
        assert_eq!((message.occasion, message.severity, message.incidents.len()), (Occasion::Test, Severity::Info, 0));
        assert_eq!(message.title, "halfopen: a test of ops");
    }
}
