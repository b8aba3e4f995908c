//! Makes messages of what happened: who is told, of how much at once, and when not. It has no clock and no memory but the database:
//! what it does belongs to the transaction in which things happened.
//!
//! - An incident is in one thread of a channel, from when it is told to its end; many that begin at once are one thread.
//! - Whoever was told that something began is told once that it is over, whatever rules say by then: which ends are still to be told is
//!   asked of the database (`store::told`), not of whoever brought them about. A thread is over when the last of its incidents is.
//! - What may not be told now (a quiet window, hours, a mute) is told when it may be, if it still goes on; what began and
//!   ended in a quiet window is told at its end, to people.
//! - Machines want to know of each end. People do not, where it was muted, or goes on as part of another.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use sha2::{Digest, Sha256};

use super::rules::{Rule, recipients};
use crate::channel::{ChannelName, Settings};
use crate::docket::Notice;
use crate::incident::{Incident, IncidentId, Severity};
use crate::message::{Line, Message, Occasion};
use crate::store::outbox::{self, Channels};
use crate::store::told::{self, Told};
use crate::store::{self, Error, millis};
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

/// What is to be said in a thread.
#[derive(Debug, Clone)]
struct Story {
    occasion: Occasion,
    thread: String,
    /// At least one.
    incidents: Vec<Incident>,
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
        if notices.is_empty() {
            return Ok(());
        }
        for teller in self.tellers(connection, quiet, now) {
            teller.announce(notices)?;
        }
        Ok(())
    }

    /// Tells what could not be told before, and reminds of what goes on.
    pub fn tick(&self, connection: &Connection, quiet: Quiet<'_>, now: Timestamp) -> Result<(), Error> {
        let open = store::open_incidents(connection)?;
        for teller in self.tellers(connection, quiet, now) {
            teller.tick(&open)?;
        }
        Ok(())
    }

    /// The shortest time between reminders: for whoever wants to know when to come back.
    pub fn shortest_reminder(&self) -> Option<SignedDuration> {
        self.rules.iter().filter_map(|rule| rule.remind).min()
    }

    fn tellers<'a>(
        &'a self,
        connection: &'a Connection,
        quiet: Quiet<'a>,
        now: Timestamp,
    ) -> impl Iterator<Item = Teller<'a>> {
        let teller = move |(channel, settings)| Teller { desk: self, connection, channel, settings, quiet, now };
        self.channels.iter().map(teller)
    }
}

/// What one channel is told at one time.
struct Teller<'a> {
    desk: &'a Desk,
    connection: &'a Connection,
    channel: &'a ChannelName,
    settings: &'a Settings,
    quiet: Quiet<'a>,
    now: Timestamp,
}

impl Teller<'_> {
    fn announce(&self, notices: &[Notice]) -> Result<(), Error> {
        let mut news = Vec::new();
        for notice in notices {
            news.extend(self.news(notice)?);
        }
        let stories = self.stories(news)?;
        self.tell(&stories)?;
        let over = self.ends()?;
        match over.len() > SINGLY && self.settings.is_read_by_people() {
            true => self.tell_together(&over),
            false => self.tell(&over),
        }
    }

    fn tick(&self, open: &[Incident]) -> Result<(), Error> {
        let late = self.after_quiet()?;
        let mut told: BTreeSet<IncidentId> = late.iter().map(|notice| notice.incident.id).collect();
        let (fresh, rest) = parted(late, Occasion::Opened);
        let mut stories = self.ends()?;
        match self.settings.is_read_by_people() && stories.len() + fresh.len() + rest.len() > 1 {
            true => {
                stories.extend(self.stories(rest)?);
                stories.extend(fresh.into_iter().map(single));
                self.tell_together(&stories)?;
            }
            false => {
                self.tell(&self.stories([fresh, rest].concat())?)?;
                self.tell(&stories)?;
            }
        }
        let mut due = Vec::new();
        for incident in open.iter().filter(|it| self.may_be_told(it)) {
            if told.insert(incident.id) {
                due.extend(self.overdue(incident)?);
            }
        }
        self.tell(&self.stories(due)?)
    }

    /// What is to be told of a notice now, if anything.
    fn news(&self, notice: &Notice) -> Result<Option<Notice>, Error> {
        let Notice { incident, occasion } = notice;
        let told = told::told(self.connection, self.channel, incident.id)?;
        let concerned = recipients(&self.desk.rules, incident, *occasion, self.now).contains(&self.channel);
        match occasion {
            // What is over is found by itself.
            Occasion::Resolved => {}
            Occasion::Acknowledged if told.is_none() || self.is_muted(incident) => {}
            Occasion::Acknowledged => return Ok(Some(notice.clone())),
            _ if !concerned => {}
            _ if (self.quiet)(&incident.group) => {
                told::wait(self.connection, self.channel, incident.id, self.now)?;
            }
            _ if self.is_muted(incident) => {}
            Occasion::Updated if told.is_none() => {
                return Ok(Some(Notice { occasion: Occasion::Opened, ..notice.clone() }));
            }
            _ => return Ok(Some(notice.clone())),
        }
        Ok(None)
    }

    /// Of what had to wait for the end of a quiet window: that it goes on, or has been.
    fn after_quiet(&self) -> Result<Vec<Notice>, Error> {
        let mut news = Vec::new();
        for id in told::waiting(self.connection, self.channel)? {
            let found = store::find(self.connection, id)?;
            let Some(incident) = found.filter(|it| !(self.quiet)(&it.group)) else { continue };
            told::wait_no_more(self.connection, self.channel, id)?;
            let is_known = told::told(self.connection, self.channel, id)?.is_some();
            let has_been = !is_known && self.settings.is_read_by_people() && !is_silent(&incident);
            match (incident.is_open(), is_known) {
                (false, _) if has_been => news.push(Notice { incident, occasion: Occasion::Resolved }),
                (true, _) if self.is_muted(&incident) => {}
                (true, false) => news.extend(self.overdue(&incident)?),
                (true, true) => news.push(Notice { incident, occasion: Occasion::Updated }),
                (false, _) => {}
            }
        }
        Ok(news)
    }

    /// What should have been told of an open incident by now.
    fn overdue(&self, incident: &Incident) -> Result<Option<Notice>, Error> {
        let is_meant = |it: &&Rule| it.to.contains(self.channel) && it.is_about(incident) && it.is_open(self.now);
        let rules = || self.desk.rules.iter().filter(is_meant);
        let notice = |occasion| Notice { incident: incident.clone(), occasion };
        let Some(told) = told::told(self.connection, self.channel, incident.id)? else {
            return Ok(rules().next().map(|_| notice(Occasion::Opened)));
        };
        let again = rules().filter_map(|rule| rule.remind).min();
        let due = again.is_some_and(|every| told.at + every <= self.now) && incident.acknowledged.is_none();
        Ok(due.then(|| notice(Occasion::Reminder)))
    }

    /// What is said of these, each in its thread.
    fn stories(&self, news: Vec<Notice>) -> Result<Vec<Story>, Error> {
        let (fresh, rest) = parted(news, Occasion::Opened);
        // Who counts incidents gets each in a thread of its own, and groups them for people by itself.
        let mut stories = match fresh.len() > SINGLY && !self.settings.counts_incidents() {
            true => vec![together(fresh)],
            false => fresh.into_iter().map(single).collect(),
        };
        for notice in rest {
            let Some(Told { thread, .. }) = told::told(self.connection, self.channel, notice.incident.id)? else {
                stories.push(single(notice));
                continue;
            };
            // Who says two things of one incident has said them one after the other.
            let is_new = |it: &Story| it.incidents.iter().all(|incident| incident.id != notice.incident.id);
            let is_same = |it: &&mut Story| it.thread == thread && it.occasion == notice.occasion && is_new(it);
            match stories.iter_mut().find(is_same) {
                Some(story) => story.incidents.push(notice.incident),
                None => stories.push(Story { thread, ..single(notice) }),
            }
        }
        let whole = stories.into_iter().map(|story| self.whole(story));
        Ok(whole.collect::<Result<Vec<_>, Error>>()?.into_iter().flatten().collect())
    }

    /// What several were told of together is told of all of them, and that somebody takes care of it when it is true of all.
    fn whole(&self, story: Story) -> Result<Option<Story>, Error> {
        let is_of_all = |story: &Story| match story.occasion {
            Occasion::Acknowledged | Occasion::Reminder => true,
            Occasion::Updated => story.incidents.len() > 1,
            _ => false,
        };
        if self.settings.counts_incidents() || !is_of_all(&story) {
            return Ok(Some(story));
        }
        let incidents = told::members(self.connection, self.channel, &story.thread)?;
        if incidents.len() <= 1 {
            return Ok(Some(story));
        }
        let is_loose = |it: &Incident| it.is_open() && it.acknowledged.is_none();
        let is_early = story.occasion == Occasion::Acknowledged && incidents.iter().any(is_loose);
        Ok((!is_early).then_some(Story { incidents, ..story }))
    }

    /// What is over and was not told so. Of a thread that goes on, machines are told what is left of it.
    fn ends(&self) -> Result<Vec<Story>, Error> {
        let mut over: Vec<Story> = Vec::new();
        for (incident, thread) in told::ended(self.connection, self.channel)? {
            if self.waits_to_end(&incident) {
                continue;
            }
            told::end(self.connection, self.channel, incident.id, self.now)?;
            match over.iter_mut().find(|story| story.thread == thread && !self.settings.counts_incidents()) {
                Some(story) => story.incidents.push(incident),
                None => over.push(Story { occasion: Occasion::Resolved, thread, incidents: vec![incident] }),
            }
        }
        let ends = over.into_iter().map(|story| self.end_of(story));
        Ok(ends.collect::<Result<Vec<_>, Error>>()?.into_iter().flatten().collect())
    }

    /// A machine that keeps count is told at once: that disturbs nobody.
    fn waits_to_end(&self, incident: &Incident) -> bool {
        let is_silent = self.settings.is_read_by_people() && is_silent(incident);
        (self.quiet)(&incident.group) && !self.settings.keeps_state() && !is_silent
    }

    fn end_of(&self, story: Story) -> Result<Option<Story>, Error> {
        if self.settings.counts_incidents() {
            return Ok(Some(story));
        }
        let incidents = told::members(self.connection, self.channel, &story.thread)?;
        let is_for_people = self.settings.is_read_by_people();
        match told::goes_on(self.connection, self.channel, &story.thread)? {
            true if is_for_people => Ok(None),
            true => Ok(Some(Story { occasion: Occasion::Updated, incidents, ..story })),
            false if is_for_people && incidents.iter().all(is_silent) => Ok(None),
            false => Ok(Some(Story { incidents, ..story })),
        }
    }

    /// A message for each, but none word for word as another.
    fn tell(&self, stories: &[Story]) -> Result<(), Error> {
        let mut ids = BTreeSet::new();
        stories.iter().try_for_each(|story| {
            let message = self.message(story);
            if ids.insert(message.id.clone()) {
                self.post(&message)?;
            }
            self.remember(story, &story.thread)
        })
    }

    fn message(&self, story: &Story) -> Message {
        let message = match &story.incidents[..] {
            [one] => self.desk.reader.message(String::new(), &Notice::of(one, story.occasion), self.now),
            several => self.desk.reader.thread(story.occasion, several, self.now),
        };
        identified(Message { thread: story.thread.clone(), ..message })
    }

    /// One message for all: what begins in it is one thread from now on.
    fn tell_together(&self, stories: &[Story]) -> Result<(), Error> {
        let [_, _, ..] = stories else { return self.tell(stories) };
        let begun = stories.iter().filter(|story| story.occasion == Occasion::Opened);
        let begun: Vec<&Incident> = begun.flat_map(|story| &story.incidents).collect();
        let thread = match &begun[..] {
            [] => format!("summary-{}", millis(self.now)),
            [one] => own_thread(one),
            [first, ..] => shared_thread(first),
        };
        let told: Vec<_> = stories.iter().map(|story| (story.occasion, &story.incidents[..])).collect();
        let message = self.desk.reader.summary(&told, self.now);
        self.post(&identified(Message { thread: thread.clone(), ..message }))?;
        stories.iter().try_for_each(|story| self.remember(story, &thread))
    }

    fn post(&self, message: &Message) -> Result<(), Error> {
        outbox::enqueue(self.connection, self.channel, message, self.now).map(|_| ())
    }

    fn remember(&self, story: &Story, thread: &str) -> Result<(), Error> {
        match story.occasion {
            Occasion::Opened => story
                .incidents
                .iter()
                .try_for_each(|incident| told::begin(self.connection, self.channel, incident.id, thread, self.now)),
            _ => told::touch(self.connection, self.channel, &story.thread, self.now),
        }
    }

    fn may_be_told(&self, incident: &Incident) -> bool {
        !(self.quiet)(&incident.group) && !self.is_muted(incident)
    }

    fn is_muted(&self, incident: &Incident) -> bool {
        incident.muted_until.is_some_and(|until| self.now < until)
    }
}

/// Whether people are not told that it is over: it was muted then, or it goes on as part of something else.
fn is_silent(incident: &Incident) -> bool {
    let was_muted = |over| incident.muted_until.is_some_and(|until| over < until);
    incident.part_of.is_some() || incident.resolved.is_some_and(was_muted)
}

fn parted(news: Vec<Notice>, occasion: Occasion) -> (Vec<Notice>, Vec<Notice>) {
    news.into_iter().partition(|notice| notice.occasion == occasion)
}

fn single(notice: Notice) -> Story {
    Story { occasion: notice.occasion, thread: own_thread(&notice.incident), incidents: vec![notice.incident] }
}

/// What begins at once.
fn together(notices: Vec<Notice>) -> Story {
    let incidents: Vec<Incident> = notices.into_iter().map(|notice| notice.incident).collect();
    let thread = incidents.first().map_or_else(String::new, shared_thread);
    Story { occasion: Occasion::Opened, thread, incidents }
}

fn own_thread(incident: &Incident) -> String {
    format!("incident-{}", incident.id.0)
}

/// An incident begins once at a channel, so no other thread there has that name.
fn shared_thread(first: &Incident) -> String {
    format!("many-{}", first.id.0)
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

/// `msg_` and 26 characters: the same for the same thread, occasion, time and text, and for no other.
pub fn message_id(message: &Message) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let named = format!("{}\n{}\n{}\n{}", message.thread, message.occasion.name(), message.at, message.title);
    let digest = Sha256::digest((named + "\n" + &message.text()).as_bytes());
    let characters = digest.iter().take(26).map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    format!("msg_{}", characters.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::rules::tests::to;
    use std::time::Duration;

    use crate::channel::Answer;
    use crate::channel::tests::{at, incident, noon, settings};
    use crate::docket::Docket;
    use crate::incident::{Acknowledgement, Trigger};
    use crate::store::Store;
    use crate::store::outbox::{Filter, State, log};

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
            (1..=count).map(|id| self.one(id)).collect()
        }

        fn one(&self, id: i64) -> Incident {
            let mut incident = incident(id);
            store::insert(self.store.connection(), &mut incident).unwrap();
            incident
        }

        /// A channel takes what is due for it, and answers so.
        fn answers(&self, channel: &str, answer: &Answer, now: &str) {
            let (connection, channel) = (self.store.connection(), channel.parse().unwrap());
            let delivery = outbox::due(connection, &channel, at(now)).unwrap().expect("something is due");
            outbox::answered(connection, &self.desk.channels, &delivery, answer, Duration::ZERO, at(now)).unwrap();
        }

        /// All that is for a channel and was not overtaken.
        fn heard(&self, channel: &str) -> Vec<Message> {
            let filter = Filter { channel: Some(channel.parse().unwrap()), ..Filter::default() };
            let all = log(self.store.connection(), &filter).unwrap().into_iter();
            all.filter(|entry| entry.state != State::Overtaken).map(|entry| entry.message).collect()
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
        let mut bench = Bench::with(PEOPLE);
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
    fn programs_are_told_what_is_left_of_many_and_once_that_all_are_over() {
        let mut bench = Bench::with(PAGER);
        let mut many = bench.begun(30);
        let opened = bench.announce(&many, Occasion::Opened, false, "2026-03-01T12:00:00Z");
        let mut end = |bench: &mut Bench, some: std::ops::Range<usize>, now: &str| {
            many[some.clone()].iter_mut().for_each(|incident| bench.ended(incident, now));
            bench.announce(&many[some], Occasion::Resolved, false, now)
        };
        let left = end(&mut bench, 0..7, "2026-03-01T13:00:00Z");
        assert_eq!(occasions(&left), [(Occasion::Updated, 30)]);
        assert_eq!(left[0].title, "7 of 30 over: 30 ports opened on 192.0.2.10");
        let over = end(&mut bench, 7..30, "2026-03-01T14:00:00Z");
        assert_eq!(occasions(&over), [(Occasion::Resolved, 30)]);
        assert_eq!(over[0].title, "Over after 2 h 1 min: 30 ports opened on 192.0.2.10");
        assert!([&left[0], &over[0]].iter().all(|message| message.thread == opened[0].thread));
        assert_eq!(bench.tick(false, "2026-03-01T15:00:00Z"), []);
    }

    #[test]
    fn what_became_part_of_another_is_over_for_programs_alone() {
        for (channel, expected) in [(PEOPLE, 0), (PAGER, 1), (COUNTING, 1)] {
            let mut bench = Bench::with(channel);
            let one = bench.begun(1);
            bench.announce(&one, Occasion::Opened, false, "2026-03-01T12:00:00Z");
            let mut docket = Docket::new(bench.store.connection(), noon());
            docket.absorb(&one[0].cause, "a port that keeps changing").unwrap();
            assert!(docket.notices().is_empty());
            let over = bench.tick(false, "2026-03-01T12:01:00Z");
            assert_eq!(over.len(), expected, "{channel}: {over:?}");
            assert!(over.iter().all(|it| it.occasion == Occasion::Resolved && it.thread == "incident-1"));
            assert!(over.iter().all(|it| it.text().contains("Over: it is part of a port that keeps changing now.")));
            assert_eq!(bench.tick(false, "2026-03-01T12:02:00Z"), []);
        }
    }

    #[test]
    fn people_hear_nothing_of_what_is_muted_and_programs_that_it_is_over() {
        for (channel, expected) in [(PEOPLE, vec![]), (PAGER, vec![(Occasion::Resolved, 1)])] {
            let mut bench = Bench::with(channel);
            let mut one = bench.begun(1);
            bench.announce(&one, Occasion::Opened, false, "2026-03-01T12:00:00Z");
            one[0].muted_until = Some(at("2026-03-01T16:00:00Z"));
            let acknowledged = Acknowledgement { at: noon(), by: "kim".into(), note: String::new() };
            one[0].acknowledged = Some(acknowledged);
            assert_eq!(bench.announce(&one, Occasion::Acknowledged, false, "2026-03-01T12:01:00Z"), []);
            bench.ended(&mut one[0], "2026-03-01T12:02:00Z");
            let over = bench.announce(&one, Occasion::Resolved, false, "2026-03-01T12:02:00Z");
            assert_eq!(occasions(&over), expected);
            assert_eq!(bench.tick(false, "2026-03-01T17:00:00Z"), [], "nor when the time is over");
        }
    }

    #[test]
    fn a_window_that_begins_meanwhile_delays_an_end_and_loses_none() {
        for channel in [PEOPLE, PAGER] {
            let mut bench = Bench::with(channel);
            let mut two = bench.begun(2);
            bench.announce(&two[..1], Occasion::Opened, false, "2026-03-01T12:00:00Z");
            bench.announce(&two[1..], Occasion::Opened, true, "2026-03-01T13:00:00Z");
            two.iter_mut().for_each(|incident| bench.ended(incident, "2026-03-01T14:00:00Z"));
            assert_eq!(bench.announce(&two, Occasion::Resolved, true, "2026-03-01T14:00:00Z"), []);
            assert_eq!(bench.tick(true, "2026-03-01T15:00:00Z"), []);
            let after = bench.tick(false, "2026-03-01T16:00:00Z");
            // What nobody was told to have begun is no news to a program.
            let incidents = if channel == PEOPLE { 2 } else { 1 };
            assert_eq!(occasions(&after), [(Occasion::Resolved, incidents)]);
            assert_eq!(bench.tick(false, "2026-03-01T17:00:00Z"), []);
        }
    }

    #[test]
    fn who_stands_in_is_told_of_the_end_once() {
        let ops = format!("{PEOPLE}\nfailover='pager'\nfailover-after=1");
        let mut bench = Bench::new(vec![to("ops")], &[("ops", &ops), ("pager", PAGER)]);
        let mut one = bench.begun(1);
        bench.announce(&one, Occasion::Opened, false, "2026-03-01T12:00:00Z");
        bench.answers("ops", &Answer::Later("500".into(), None), "2026-03-01T12:00:01Z");
        bench.ended(&mut one[0], "2026-03-01T13:00:00Z");
        bench.announce(&one, Occasion::Resolved, false, "2026-03-01T13:00:00Z");
        // It works again for one message, and then not.
        bench.answers("ops", &Answer::Accepted("200".into()), "2026-03-01T13:00:01Z");
        bench.answers("ops", &Answer::Never("400".into()), "2026-03-01T13:00:09Z");
        let heard = bench.heard("pager");
        assert_eq!(occasions(&heard), [(Occasion::Opened, 1), (Occasion::Resolved, 1)], "{heard:?}");
        assert!(heard.iter().all(|message| message.thread == "incident-1"));
    }

    #[test]
    fn who_stands_in_late_is_told_what_has_followed_since() {
        let ops = format!("{PAGER}\nfailover='pager'");
        let mut bench = Bench::new(vec![to("ops")], &[("ops", &ops), ("pager", PAGER)]);
        let mut one = bench.begun(1);
        bench.announce(&one, Occasion::Opened, false, "2026-03-01T12:00:00Z");
        bench.ended(&mut one[0], "2026-03-01T13:00:00Z");
        bench.announce(&one, Occasion::Resolved, false, "2026-03-01T13:00:00Z");
        bench.answers("ops", &Answer::Never("400".into()), "2026-03-01T13:00:01Z");
        bench.answers("ops", &Answer::Never("400".into()), "2026-03-01T13:00:02Z");
        assert_eq!(occasions(&bench.heard("pager")), [(Occasion::Opened, 1), (Occasion::Resolved, 1)]);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

        /// Whatever begins and ends in whatever way, a thread of a program begins once, ends once, and says nothing afterwards.
        #[test]
        fn each_thread_has_one_beginning_and_one_end(
            steps in proptest::collection::vec((0..5_u8, 1..9_usize, proptest::bool::weighted(0.2)), 1..30)
        ) {
            for channel in [PAGER, COUNTING, PEOPLE] {
                let mut bench = Bench::with(channel);
                let (mut hour, mut open) = (0, Vec::new());
                let mut number = 0;
                for &(step, many, quiet) in &steps {
                    hour += 1;
                    let now = (noon() + SignedDuration::from_hours(hour)).to_string();
                    let some = many.min(open.len());
                    match step {
                        0 => {
                            let new: Vec<Incident> = (0..many).map(|_| { number += 1; bench.one(number) }).collect();
                            bench.announce(&new, Occasion::Opened, quiet, &now);
                            open.extend(new);
                        }
                        1 => {
                            let mut ended: Vec<Incident> = open.drain(..some).collect();
                            ended.iter_mut().for_each(|incident| bench.ended(incident, &now));
                            bench.announce(&ended, Occasion::Resolved, quiet, &now);
                        }
                        2 => {
                            let mut docket = Docket::new(bench.store.connection(), at(&now));
                            open.drain(..some).for_each(|incident| docket.absorb(&incident.cause, "another").unwrap());
                        }
                        3 => open.iter_mut().take(some).for_each(|incident| {
                            incident.muted_until = Some(at(&now) + SignedDuration::from_hours(3));
                            store::update(bench.store.connection(), incident).unwrap();
                        }),
                        _ => { bench.announce(&open[..some], Occasion::Updated, quiet, &now); }
                    }
                    bench.tick(quiet, &now);
                }
                for mut incident in open.drain(..) {
                    bench.ended(&mut incident, "2027-01-01T00:00:00Z");
                }
                bench.tick(false, "2027-01-01T00:00:00Z");
                let mut threads: std::collections::BTreeMap<String, Vec<Occasion>> = Default::default();
                for message in bench.heard("ops") {
                    threads.entry(message.thread).or_default().push(message.occasion);
                }
                for (thread, said) in threads {
                    let count = |occasion| said.iter().filter(|&&it| it == occasion).count();
                    proptest::prop_assert!(count(Occasion::Resolved) <= 1, "{channel} {thread}: {said:?}");
                    if channel != PEOPLE {
                        proptest::prop_assert_eq!((said[0], said.last()), (Occasion::Opened, Some(&Occasion::Resolved)), "{} {}: {:?}", channel, thread, said);
                        proptest::prop_assert_eq!(count(Occasion::Opened), 1);
                    }
                }
                let going_on: i64 = bench.store.connection().query_row("SELECT COUNT(*) FROM told WHERE is_over = 0", [], |row| row.get(0)).unwrap();
                proptest::prop_assert_eq!(going_on, 0);
            }
        }
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
