//! The outbox: what is to be told, in rows that are written in the transaction in which it happened, and are there until somebody
//! has taken them or nobody will. It is a state machine without a clock: [`due`] says what to send, [`answered`] what became of
//! it. What was taken but not recorded, because the power failed in between, is sent again with the same id: at least once.
//!
//! A channel that asks for time has it for all messages; one that takes a message again gets soon what waited for it. What has been
//! overtaken while it waited, such as a reminder of what is over, is not sent any more.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use super::{Error, millis, time, told};
use crate::channel::{Answer, ChannelName, Settings, alertmanager};
use crate::message::{Message, Occasion};

/// Waits before the second attempt and those after it (Standard Webhooks 1.0.0, "Deliverability and reliability", and half a minute:
/// most failures are short, and an alert is urgent). Who has failed once more than there are waits is given up.
const BACKOFF: [SignedDuration; 7] = [
    SignedDuration::from_secs(5),
    SignedDuration::from_secs(30),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(30),
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(5),
    SignedDuration::from_hours(10),
];
/// The same where the channel takes other messages: then it is no use to wait long for it, and none to try at once what fails by itself.
const BACKOFF_AT_WORK: [SignedDuration; 7] = [
    SignedDuration::from_secs(5),
    SignedDuration::from_secs(5),
    SignedDuration::from_secs(30),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(30),
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(5),
];
/// Waits differ by up to a tenth, so that what failed together does not come back together.
const JITTER: f64 = 0.1;
/// How long a channel may be missing from the settings.
const NAMED_WITHIN: SignedDuration = SignedDuration::from_mins(1);
/// Told again in one go; the rest a moment later.
const MOST_STANDING: i64 = 1000;

/// Which delivery: counted up from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct DeliveryId(pub i64);

/// What has become of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is tried, now or later.
    Pending,
    /// It was taken.
    Sent,
    /// It was given up.
    Dead,
    /// A later message has made it idle before it was taken.
    Overtaken,
}

impl State {
    /// `pending`, `sent`, `dead`, `overtaken`.
    pub fn name(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Sent => "sent",
            State::Dead => "dead",
            State::Overtaken => "overtaken",
        }
    }

    fn named(name: &str) -> State {
        match name {
            "sent" => State::Sent,
            "dead" => State::Dead,
            "overtaken" => State::Overtaken,
            _ => State::Pending,
        }
    }
}

/// A message on its way to a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Which.
    pub id: DeliveryId,
    /// To whom.
    pub channel: ChannelName,
    /// What.
    pub message: Message,
    /// The number of the next attempt, from 1.
    pub attempt: u32,
    /// How often it failed in a row.
    failures: u32,
}

/// An attempt that was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tried {
    /// From 1.
    pub number: u32,
    /// When.
    pub at: Timestamp,
    /// For so long.
    pub took_ms: u64,
    /// `accepted`, `later`, `never`, `gone`.
    pub result: String,
    /// What the other end said, in one line.
    pub answer: String,
}

/// A delivery with its history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Which.
    pub id: DeliveryId,
    /// To whom.
    pub channel: ChannelName,
    /// What has become of it.
    pub state: State,
    /// When it was made.
    pub made: Timestamp,
    /// When it is tried next, if it is.
    pub due: Option<Timestamp>,
    /// When it was taken, given up or overtaken.
    pub ended: Option<Timestamp>,
    /// The delivery to another channel that failed.
    pub stands_in_for: Option<DeliveryId>,
    /// What.
    pub message: Message,
    /// What was tried.
    pub attempts: Vec<Tried>,
}

/// What somebody should know of deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// It will not be tried again by itself.
    GivenUp {
        /// Which,
        id: DeliveryId,
        /// to whom,
        channel: ChannelName,
        /// what it would have said,
        title: String,
        /// and why not.
        why: String,
    },
    /// The other end is gone: nothing is sent there until a test succeeds.
    Disabled {
        /// To whom,
        channel: ChannelName,
        /// and why.
        why: String,
    },
    /// Another channel is told instead.
    FailedOver {
        /// Instead of whom,
        from: ChannelName,
        /// and who.
        to: ChannelName,
        /// What.
        title: String,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::GivenUp { id, channel, title, why } => write!(
                f,
                "message {} to {channel} was given up ({title}): {why}; `halfopen alert replay {0}` tries again",
                id.0
            ),
            Trouble::Disabled { channel, why } => {
                write!(f, "channel {channel} is not used any more: {why}; `halfopen alert test {channel}` enables it")
            }
            Trouble::FailedOver { from, to, title } => write!(f, "{to} is told instead of {from}: {title}"),
        }
    }
}

/// The channels that there are.
pub type Channels = BTreeMap<ChannelName, Settings>;

/// Adds a message for a channel. Part of the transaction in which it happened.
pub fn enqueue(
    connection: &Connection,
    channel: &ChannelName,
    message: &Message,
    due: Timestamp,
) -> Result<DeliveryId, Error> {
    overtake(connection, channel, message)?;
    insert(connection, channel, message, due, None)
}

/// What waits in the thread of a new message, and says nothing any more that this one does not.
fn overtake(connection: &Connection, channel: &ChannelName, message: &Message) -> Result<(), Error> {
    let mut rows = connection.prepare_cached(
        "SELECT id, message FROM delivery WHERE state = 'pending' AND channel = ?1 AND thread = ?2 ORDER BY id",
    )?;
    let row = |row: &Row<'_>| Ok((DeliveryId(row.get(0)?), row.get::<_, String>(1)?));
    let waiting: Vec<_> = rows.query_map(params![channel.as_str(), message.thread], row)?.collect::<Result<_, _>>()?;
    for (id, earlier) in waiting {
        if is_overtaken(&parsed(&earlier)?, message) {
            end(connection, id, State::Overtaken, message.at)?;
        }
    }
    Ok(())
}

/// That something began is told even if it is over by then: who is told only of its end wonders, and machines know nothing to end.
fn is_overtaken(earlier: &Message, later: &Message) -> bool {
    use Occasion::{Acknowledged, Reminder, Resolved, Updated};
    let is_in_it = |id| later.incidents.iter().any(|incident| incident.id == id);
    let says_all = || earlier.incidents.iter().all(|incident| is_in_it(incident.id));
    match (earlier.occasion, later.occasion) {
        (Reminder, Reminder | Acknowledged | Resolved) | (Updated | Acknowledged, Resolved) => true,
        (Updated | Reminder, Updated) => says_all(),
        _ => false,
    }
}

fn insert(
    connection: &Connection,
    channel: &ChannelName,
    message: &Message,
    due: Timestamp,
    stands_in_for: Option<DeliveryId>,
) -> Result<DeliveryId, Error> {
    let body = serde_json::to_string(message).map_err(|error| Error::Row("a message", error))?;
    connection
        .prepare_cached(
            "INSERT INTO delivery (channel, thread, message, state, made, due, stands_in_for)
             VALUES (?1, ?2, ?3, 'pending', ?4, ?5, ?6)",
        )?
        .execute(params![
            channel.as_str(),
            message.thread,
            body,
            millis(message.at),
            millis(due),
            stands_in_for.map(|id| id.0)
        ])?;
    Ok(DeliveryId(connection.last_insert_rowid()))
}

/// What to send to a channel now. Of a thread that has waited longest comes first, and nothing before what it follows: that
/// something is over never overtakes that it began.
pub fn due(connection: &Connection, channel: &ChannelName, now: Timestamp) -> Result<Option<Delivery>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT id, channel, message, failures, (SELECT COUNT(*) FROM attempt WHERE delivery = id) FROM delivery AS it
         WHERE state = 'pending' AND channel = ?1 AND due <= ?2 AND NOT EXISTS (
             SELECT 1 FROM delivery AS earlier WHERE earlier.state = 'pending' AND earlier.channel = it.channel
             AND earlier.thread = it.thread AND earlier.id < it.id)
         ORDER BY due, id LIMIT 1",
    )?;
    if pause(connection, channel)?.is_some_and(|until| until > now) {
        return Ok(None);
    }
    rows.query_row(params![channel.as_str(), millis(now)], delivery).optional()?.transpose()
}

/// Until when a channel has asked for time.
fn pause(connection: &Connection, channel: &ChannelName) -> Result<Option<Timestamp>, Error> {
    let mut rows = connection.prepare_cached("SELECT until FROM pause WHERE channel = ?1")?;
    Ok(rows.query_row([channel.as_str()], |row| row.get(0).map(time)).optional()?)
}

/// When there is something to send to a channel next: deliveries that wait for none before them, and what is told again.
pub fn next_due(connection: &Connection, channel: &ChannelName) -> Result<Option<Timestamp>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT MIN(due) FROM (
             SELECT due FROM delivery AS it WHERE state = 'pending' AND channel = ?1 AND NOT EXISTS (
                 SELECT 1 FROM delivery AS earlier WHERE earlier.state = 'pending' AND earlier.channel = it.channel
                 AND earlier.thread = it.thread AND earlier.id < it.id)
             UNION ALL SELECT due FROM standing WHERE channel = ?1)",
    )?;
    let next: Option<i64> = rows.query_row([channel.as_str()], |row| row.get(0))?;
    let pause = pause(connection, channel)?;
    Ok(next.map(time).map(|next| pause.map_or(next, |pause| pause.max(next))))
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<Result<Delivery, Error>> {
    let (message, attempts): (String, u32) = (row.get(2)?, row.get(4)?);
    let (id, channel, failures) = (DeliveryId(row.get(0)?), name(&row.get::<_, String>(1)?), row.get(3)?);
    let message = parsed(&message);
    Ok(message.map(|message| Delivery { id, channel, message, attempt: attempts + 1, failures }))
}

/// Names are checked when settings are read, so what is stored is one.
fn name(text: &str) -> ChannelName {
    text.parse().unwrap_or_else(|_| "unknown".parse().expect("letters make a name"))
}

fn parsed(message: &str) -> Result<Message, Error> {
    serde_json::from_str(message).map_err(|error| Error::Row("a message", error))
}

/// Records what became of an attempt, and what follows from that.
pub fn answered(
    connection: &Connection,
    channels: &Channels,
    delivery: &Delivery,
    answer: &Answer,
    took: Duration,
    now: Timestamp,
) -> Result<Vec<Trouble>, Error> {
    record(connection, delivery, answer, took, now)?;
    if !answer.is_accepted() && is_overtaken_since(connection, delivery.id)? {
        return Ok(Vec::new());
    }
    match answer {
        Answer::Accepted(_) => {
            end(connection, delivery.id, State::Sent, now)?;
            works(connection, &delivery.channel, now)?;
            stand(connection, channels, delivery, now)?;
            Ok(Vec::new())
        }
        Answer::Later(why, wait) => {
            wait_for(connection, &delivery.channel, *wait, now)?;
            match backoff(&BACKOFF, delivery.failures, seed(delivery)) {
                Some(usual) => {
                    again(connection, delivery, now + usual)?;
                    fail_over(connection, channels, delivery, false, now)
                }
                None => give_up(connection, channels, delivery, why, now),
            }
        }
        Answer::Never(why) => give_up(connection, channels, delivery, why, now),
        Answer::Gone(why) => gone(connection, channels, delivery, why, now),
    }
}

/// Whether it was overtaken while it was on its way.
fn is_overtaken_since(connection: &Connection, id: DeliveryId) -> Result<bool, Error> {
    let mut row = connection.prepare_cached("SELECT 1 FROM delivery WHERE id = ?1 AND state = 'overtaken'")?;
    Ok(row.exists([id.0])?)
}

/// A channel that asks for time gets nothing before then, whatever it is.
fn wait_for(
    connection: &Connection,
    channel: &ChannelName,
    wait: Option<Duration>,
    now: Timestamp,
) -> Result<(), Error> {
    let Some(wait) = wait.and_then(|wait| SignedDuration::try_from(wait).ok()) else { return Ok(()) };
    connection
        .prepare_cached("INSERT OR REPLACE INTO pause (channel, until) VALUES (?1, ?2)")?
        .execute(params![channel.as_str(), millis(now + wait)])?;
    Ok(())
}

/// A channel has taken something: what failed before, and waits for it, comes soon.
fn works(connection: &Connection, channel: &ChannelName, now: Timestamp) -> Result<(), Error> {
    connection.prepare_cached("DELETE FROM pause WHERE channel = ?1")?.execute([channel.as_str()])?;
    let mut rows = connection.prepare_cached(
        "SELECT id, failures, (SELECT MAX(at) FROM attempt WHERE delivery = id) FROM delivery
         WHERE state = 'pending' AND channel = ?1 AND failures > 0 AND due > ?2",
    )?;
    let row = |row: &Row<'_>| Ok((DeliveryId(row.get(0)?), row.get::<_, u32>(1)?, row.get::<_, Option<i64>>(2)?));
    let waiting: Vec<_> = rows.query_map(params![channel.as_str(), millis(now)], row)?.collect::<Result<_, _>>()?;
    for (id, failures, tried) in waiting {
        let wait = backoff(&BACKOFF_AT_WORK, failures - 1, spread(id, failures)).unwrap_or_default();
        let due = (tried.map_or(now, time) + wait).max(now);
        connection
            .prepare_cached("UPDATE delivery SET due = MIN(due, ?2) WHERE id = ?1")?
            .execute(params![id.0, millis(due)])?;
    }
    Ok(())
}

/// How long to wait after so many failures and one more; none when that was the last attempt.
fn backoff(waits: &[SignedDuration], failures: u32, seed: u64) -> Option<SignedDuration> {
    let usual = waits.get(failures as usize)?;
    // From 1 - JITTER to 1 + JITTER.
    let factor = 1.0 + JITTER * (2.0 * (seed >> 11) as f64 / (1_u64 << 53) as f64 - 1.0);
    Some(SignedDuration::from_millis((usual.as_millis() as f64 * factor) as i64))
}

/// The same for the same delivery and failure (SplitMix64), so that a test can tell what will be.
fn seed(delivery: &Delivery) -> u64 {
    spread(delivery.id, delivery.failures)
}

fn spread(id: DeliveryId, failures: u32) -> u64 {
    let mut z = (id.0 as u64) << 8 | u64::from(failures);
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn record(
    connection: &Connection,
    delivery: &Delivery,
    answer: &Answer,
    took: Duration,
    now: Timestamp,
) -> Result<(), Error> {
    let result = match answer {
        Answer::Accepted(_) => "accepted",
        Answer::Later(..) => "later",
        Answer::Never(_) => "never",
        Answer::Gone(_) => "gone",
    };
    let took = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "INSERT INTO attempt (delivery, number, at, took_ms, result, answer) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![delivery.id.0, delivery.attempt, millis(now), took, result, answer.text()])?;
    Ok(())
}

fn end(connection: &Connection, id: DeliveryId, state: State, now: Timestamp) -> Result<(), Error> {
    connection.prepare_cached("UPDATE delivery SET state = ?2, ended = ?3 WHERE id = ?1")?.execute(params![
        id.0,
        state.name(),
        millis(now)
    ])?;
    Ok(())
}

fn again(connection: &Connection, delivery: &Delivery, due: Timestamp) -> Result<(), Error> {
    connection
        .prepare_cached("UPDATE delivery SET due = ?2, failures = failures + 1 WHERE id = ?1")?
        .execute(params![delivery.id.0, millis(due)])?;
    Ok(())
}

fn give_up(
    connection: &Connection,
    channels: &Channels,
    delivery: &Delivery,
    why: &str,
    now: Timestamp,
) -> Result<Vec<Trouble>, Error> {
    end(connection, delivery.id, State::Dead, now)?;
    let given_up = Trouble::GivenUp {
        id: delivery.id,
        channel: delivery.channel.clone(),
        title: delivery.message.title.clone(),
        why: why.to_owned(),
    };
    let failed_over = fail_over(connection, channels, delivery, true, now)?;
    Ok([given_up].into_iter().chain(failed_over).collect())
}

/// The channel is not used any more, and what waits for it will not be taken either.
fn gone(
    connection: &Connection,
    channels: &Channels,
    delivery: &Delivery,
    why: &str,
    now: Timestamp,
) -> Result<Vec<Trouble>, Error> {
    let channel = &delivery.channel;
    connection
        .prepare_cached("INSERT OR IGNORE INTO disabled_channel (channel, since, why) VALUES (?1, ?2, ?3)")?
        .execute(params![channel.as_str(), millis(now), why])?;
    let mut troubles = vec![Trouble::Disabled { channel: channel.clone(), why: why.to_owned() }];
    troubles.extend(give_up(connection, channels, delivery, why, now)?);
    for other in pending(connection, channel)? {
        troubles.extend(give_up(connection, channels, &other, why, now)?);
    }
    Ok(troubles)
}

fn pending(connection: &Connection, channel: &ChannelName) -> Result<Vec<Delivery>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT id, channel, message, failures, (SELECT COUNT(*) FROM attempt WHERE delivery = id) FROM delivery
         WHERE state = 'pending' AND channel = ?1 ORDER BY id",
    )?;
    let rows = rows.query_map([channel.as_str()], delivery)?;
    rows.map(|row| row.map_err(Error::from).and_then(|row| row)).collect()
}

/// Tells the channel that stands in: when this one is given up, or after as many failures as settings say; once.
fn fail_over(
    connection: &Connection,
    channels: &Channels,
    delivery: &Delivery,
    is_dead: bool,
    now: Timestamp,
) -> Result<Vec<Trouble>, Error> {
    let settings = channels.get(&delivery.channel);
    let enough = settings.and_then(|it| it.failover_after).is_some_and(|after| delivery.failures + 1 >= after);
    let Some(other) = settings.and_then(|it| it.failover.as_ref()).filter(|_| is_dead || enough) else {
        return Ok(Vec::new());
    };
    let first = connection
        .prepare_cached("UPDATE delivery SET failed_over = 1 WHERE id = ?1 AND failed_over = 0")?
        .execute([delivery.id.0])?
        == 1;
    if !first || has_stood_in(connection, delivery.id, other)? || !channels.contains_key(other) {
        return Ok(Vec::new());
    }
    if !stand_in(connection, delivery, other, now)? {
        return Ok(Vec::new());
    }
    let title = delivery.message.title.clone();
    Ok(vec![Trouble::FailedOver { from: delivery.channel.clone(), to: other.clone(), title }])
}

/// Tells another channel, and whatever has followed in that thread since, unless it was told the same; from now on it is told by itself
/// what becomes of it. Whether there was anything that it had not been told.
fn stand_in(connection: &Connection, delivery: &Delivery, other: &ChannelName, now: Timestamp) -> Result<bool, Error> {
    let (channel, thread) = (&delivery.channel, &delivery.message.thread);
    let mut rows = connection.prepare_cached(
        "SELECT id, message FROM delivery WHERE channel = ?1 AND thread = ?2 AND id >= ?3 AND state <> 'overtaken'
         AND NOT EXISTS (SELECT 1 FROM delivery AS told WHERE told.channel = ?4 AND told.thread = delivery.thread
             AND told.message ->> '$.id' = delivery.message ->> '$.id') ORDER BY id",
    )?;
    let row = |row: &Row<'_>| Ok((DeliveryId(row.get(0)?), row.get::<_, String>(1)?));
    let values = params![channel.as_str(), thread, delivery.id.0, other.as_str()];
    let untold: Vec<_> = rows.query_map(values, row)?.collect::<Result<_, _>>()?;
    for (id, message) in &untold {
        insert(connection, other, &parsed(message)?, now, Some(*id))?;
    }
    told::share(connection, channel, other, thread)?;
    Ok(!untold.is_empty())
}

/// Whether a channel is among those that a delivery goes back to: channels that stand in for each other do so once.
fn has_stood_in(connection: &Connection, id: DeliveryId, channel: &ChannelName) -> Result<bool, Error> {
    let found = connection
        .prepare_cached(
            "WITH RECURSIVE chain (id, channel, before) AS (
                 SELECT id, channel, stands_in_for FROM delivery WHERE id = ?1
                 UNION ALL SELECT d.id, d.channel, d.stands_in_for FROM delivery AS d JOIN chain ON d.id = chain.before)
             SELECT 1 FROM chain WHERE channel = ?2",
        )?
        .exists(params![id.0, channel.as_str()])?;
    Ok(found)
}

/// Gives up what waits for channels that are not to be used: those that are gone, and those that settings no longer name.
pub fn sweep(connection: &Connection, channels: &Channels, now: Timestamp) -> Result<Vec<Trouble>, Error> {
    let mut troubles = Vec::new();
    for (channel, why) in unusable(connection, channels, now)? {
        for delivery in pending(connection, &channel)? {
            troubles.extend(give_up(connection, channels, &delivery, &why, now)?);
        }
        connection.prepare_cached("DELETE FROM standing WHERE channel = ?1")?.execute([channel.as_str()])?;
    }
    Ok(troubles)
}

/// Channels that something waits for in vain, with the reason. One that settings do not name may be named by those that are
/// just being read: that is waited for a while.
pub fn unusable(
    connection: &Connection,
    channels: &Channels,
    now: Timestamp,
) -> Result<Vec<(ChannelName, String)>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT it.channel, MIN(due), why FROM (SELECT channel, due FROM delivery WHERE state = 'pending'
             UNION ALL SELECT channel, due FROM standing) AS it
         LEFT JOIN disabled_channel AS gone ON gone.channel = it.channel GROUP BY it.channel",
    )?;
    let row =
        |row: &Row<'_>| Ok((name(&row.get::<_, String>(0)?), time(row.get(1)?), row.get::<_, Option<String>>(2)?));
    let all: Vec<_> = rows.query_map([], row)?.collect::<Result<_, _>>()?;
    let reason = |(channel, due, why): (ChannelName, Timestamp, Option<String>)| match (why, channels.get(&channel)) {
        (_, None) if due + NAMED_WITHIN > now => None,
        (_, None) => Some((channel, "the settings name no such channel any more".to_owned())),
        (Some(why), Some(_)) => Some((channel, format!("not used any more: {why}"))),
        (None, Some(_)) => None,
    };
    Ok(all.into_iter().filter_map(reason).collect())
}

/// A channel that was gone is there again.
pub fn enable(connection: &Connection, channel: &ChannelName) -> Result<bool, Error> {
    let found =
        connection.prepare_cached("DELETE FROM disabled_channel WHERE channel = ?1")?.execute([channel.as_str()])?;
    Ok(found > 0)
}

/// Channels that are not used any more, since when, and why.
pub fn disabled(connection: &Connection) -> Result<Vec<(ChannelName, Timestamp, String)>, Error> {
    let mut rows = connection.prepare_cached("SELECT channel, since, why FROM disabled_channel ORDER BY channel")?;
    let row = |row: &Row<'_>| Ok((name(&row.get::<_, String>(0)?), time(row.get(1)?), row.get(2)?));
    Ok(rows.query_map([], row)?.collect::<Result<_, _>>()?)
}

/// What a channel that forgets has taken is told again from now on: each incident by itself, so that each can end by itself.
fn stand(connection: &Connection, channels: &Channels, delivery: &Delivery, now: Timestamp) -> Result<(), Error> {
    let Some(every) = channels.get(&delivery.channel).and_then(Settings::repeats) else { return Ok(()) };
    for incident in &delivery.message.incidents {
        let alone = Message { incidents: vec![incident.clone()], ..delivery.message.clone() };
        let body = serde_json::to_string(&alone).map_err(|error| Error::Row("a message", error))?;
        let until = incident.resolved.map(|_| millis(now + after(alertmanager::FAREWELL)));
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO standing (channel, incident, message, due, until) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![delivery.channel.as_str(), incident.id.0, body, millis(now + after(every)), until])?;
    }
    Ok(())
}

fn after(wait: Duration) -> SignedDuration {
    SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX)
}

/// What a channel is to be told again now, as one message.
pub fn standing(connection: &Connection, channel: &ChannelName, now: Timestamp) -> Result<Option<Message>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT message FROM standing WHERE channel = ?1 AND due <= ?2 ORDER BY due, incident LIMIT ?3",
    )?;
    if pause(connection, channel)?.is_some_and(|until| until > now) {
        return Ok(None);
    }
    let rows = rows.query_map(params![channel.as_str(), millis(now), MOST_STANDING], |row| row.get::<_, String>(0))?;
    let messages: Vec<Message> = rows.map(|row| parsed(&row?)).collect::<Result<_, Error>>()?;
    Ok(messages.into_iter().reduce(|mut all, mut more| {
        all.incidents.append(&mut more.incidents);
        all
    }))
}

/// It was told again, or it was tried: the next time is a while later, whatever the answer was. What is over long enough is not
/// told any more.
pub fn stood(
    connection: &Connection,
    channel: &ChannelName,
    message: &Message,
    every: Duration,
    now: Timestamp,
) -> Result<(), Error> {
    for incident in &message.incidents {
        connection
            .prepare_cached("UPDATE standing SET due = ?3 WHERE channel = ?1 AND incident = ?2")?
            .execute(params![channel.as_str(), incident.id.0, millis(now + after(every))])?;
    }
    connection
        .prepare_cached("DELETE FROM standing WHERE channel = ?1 AND until <= ?2")?
        .execute(params![channel.as_str(), millis(now)])?;
    Ok(())
}

/// Which deliveries somebody wants to see.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// To this channel.
    pub channel: Option<ChannelName>,
    /// Those that were given up, or have failed and are tried again.
    pub failed: bool,
    /// Made since then.
    pub since: Option<Timestamp>,
}

/// Channels that anything was written to, or that are not used any more.
pub fn channels(connection: &Connection) -> Result<Vec<ChannelName>, Error> {
    let mut statement =
        connection.prepare("SELECT channel FROM delivery UNION SELECT channel FROM disabled_channel")?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let names = names.collect::<Result<Vec<_>, _>>()?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Deliveries with what became of them, the oldest first.
pub fn log(connection: &Connection, filter: &Filter) -> Result<Vec<Entry>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT id, channel, state, made, due, ended, stands_in_for, message FROM delivery
         WHERE (?1 IS NULL OR channel = ?1) AND (NOT ?2 OR state = 'dead' OR failures > 0) AND made >= ?3 ORDER BY id",
    )?;
    let channel = filter.channel.as_ref().map(ChannelName::as_str);
    let since = filter.since.map_or(i64::MIN, millis);
    let rows = rows.query_map(params![channel, filter.failed, since], entry)?;
    let mut entries: Vec<Entry> =
        rows.map(|row| row.map_err(Error::from).and_then(|row| row)).collect::<Result<_, Error>>()?;
    for entry in &mut entries {
        entry.attempts = attempts(connection, entry.id)?;
    }
    Ok(entries)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Result<Entry, Error>> {
    let state = State::named(&row.get::<_, String>(2)?);
    let message: String = row.get(7)?;
    let due = (state == State::Pending).then(|| row.get(4).map(time)).transpose()?;
    let (id, channel, made) = (DeliveryId(row.get(0)?), name(&row.get::<_, String>(1)?), time(row.get(3)?));
    let ended: Option<i64> = row.get(5)?;
    let stands_in_for: Option<i64> = row.get(6)?;
    Ok(parsed(&message).map(|message| Entry {
        id,
        channel,
        state,
        made,
        due,
        ended: ended.map(time),
        stands_in_for: stands_in_for.map(DeliveryId),
        message,
        attempts: Vec::new(),
    }))
}

fn attempts(connection: &Connection, id: DeliveryId) -> Result<Vec<Tried>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT number, at, took_ms, result, answer FROM attempt WHERE delivery = ?1 ORDER BY number",
    )?;
    let tried = |row: &Row<'_>| {
        let took: i64 = row.get(2)?;
        Ok(Tried {
            number: row.get(0)?,
            at: time(row.get(1)?),
            took_ms: took.unsigned_abs(),
            result: row.get(3)?,
            answer: row.get(4)?,
        })
    };
    Ok(rows.query_map([id.0], tried)?.collect::<Result<_, _>>()?)
}

/// Tries a delivery again from the beginning, whether it was given up or taken. Whether there is such a one.
pub fn replay(connection: &Connection, id: DeliveryId, now: Timestamp) -> Result<bool, Error> {
    let found = connection
        .prepare_cached("UPDATE delivery SET state = 'pending', due = ?2, ended = NULL, failures = 0, failed_over = 0 WHERE id = ?1")?
        .execute(params![id.0, millis(now)])?;
    Ok(found > 0)
}

/// Tries all that was given up again; how many these are.
pub fn replay_dead(connection: &Connection, channel: Option<&ChannelName>, now: Timestamp) -> Result<usize, Error> {
    let found = connection
        .prepare_cached(
            "UPDATE delivery SET state = 'pending', due = ?1, ended = NULL, failures = 0, failed_over = 0
             WHERE state = 'dead' AND (?2 IS NULL OR channel = ?2)",
        )?
        .execute(params![millis(now), channel.map(ChannelName::as_str)])?;
    Ok(found)
}

/// Forgets what ended before then; how many these were.
pub fn retire(connection: &Connection, before: Timestamp) -> Result<usize, Error> {
    let gone = connection.prepare_cached("DELETE FROM delivery WHERE ended < ?1")?.execute([millis(before)])?;
    told::retire(connection, before)?;
    Ok(gone)
}

/// How many attempts there were since then, by channel and result.
pub fn tried(connection: &Connection, since: Timestamp) -> Result<Vec<(String, String, u64)>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT channel, result, COUNT(*) FROM attempt JOIN delivery ON delivery.id = attempt.delivery
         WHERE at >= ?1 GROUP BY channel, result ORDER BY channel, result",
    )?;
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs()));
    Ok(rows.query_map([millis(since)], row)?.collect::<Result<_, _>>()?)
}

/// How many messages wait, and since when the first of them does: for whoever watches us.
pub fn backlog(connection: &Connection) -> Result<(u64, Option<Timestamp>), Error> {
    let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, Option<i64>>(1)?.map(time)));
    let mut rows = connection.prepare_cached("SELECT COUNT(*), MIN(made) FROM delivery WHERE state = 'pending'")?;
    Ok(rows.query_row([], row)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::tests::{at, message, noon, settings};
    use crate::message::Occasion;
    use crate::store::Store;

    const OPS: &str = "kind='webhook'\nurl='https://example.org/x'\nfailover='pager'";
    const PAGER: &str = "kind='command'\ncommand=['/bin/true']\nfailover='ops'";
    const PROMETHEUS: &str = "kind='alertmanager'\nurls=['http://127.0.0.1:9093']";

    fn ops() -> ChannelName {
        "ops".parse().unwrap()
    }

    fn channels(text: &[(&str, &str)]) -> Channels {
        text.iter().map(|(name, text)| (name.parse().unwrap(), settings(text).unwrap())).collect()
    }

    fn usual() -> Channels {
        channels(&[("ops", "kind='webhook'\nurl='https://example.org/x'")])
    }

    fn store() -> Store {
        Store::in_memory().unwrap()
    }

    fn add(store: &Store, occasion: Occasion) -> DeliveryId {
        enqueue(store.connection(), &ops(), &message(occasion), noon()).unwrap()
    }

    fn later(why: &str) -> Answer {
        Answer::Later(why.into(), None)
    }

    fn ok() -> Answer {
        Answer::Accepted("200 OK".into())
    }

    /// Takes what is due, answers so, and gives what was due.
    fn step(store: &Store, channels: &Channels, answer: &Answer, now: Timestamp) -> (Delivery, Vec<Trouble>) {
        let delivery = due(store.connection(), &ops(), now).unwrap().expect("something is due");
        let took = Duration::from_millis(7);
        let troubles = answered(store.connection(), channels, &delivery, answer, took, now).unwrap();
        (delivery, troubles)
    }

    fn is_due(store: &Store, now: Timestamp) -> bool {
        due(store.connection(), &ops(), now).unwrap().is_some()
    }

    fn all(store: &Store) -> Vec<Entry> {
        log(store.connection(), &Filter::default()).unwrap()
    }

    #[test]
    fn what_is_taken_is_sent_once() {
        let store = store();
        add(&store, Occasion::Opened);
        let (delivery, troubles) = step(&store, &usual(), &ok(), noon());
        assert_eq!((delivery.attempt, delivery.message, troubles), (1, message(Occasion::Opened), vec![]));
        assert!(!is_due(&store, at("2027-01-01T00:00:00Z")));
        let entry = &all(&store)[0];
        assert_eq!((entry.state, entry.ended, entry.due), (State::Sent, Some(noon()), None));
        assert_eq!((entry.attempts[0].took_ms, entry.attempts[0].answer.as_str()), (7, "200 OK"));
    }

    #[test]
    fn what_was_taken_and_not_recorded_is_sent_again_with_the_same_id() {
        let store = store();
        add(&store, Occasion::Opened);
        let once = due(store.connection(), &ops(), noon()).unwrap().unwrap();
        // The power fails here.
        let again = due(store.connection(), &ops(), noon()).unwrap().unwrap();
        assert_eq!((once.message.id, once.attempt), (again.message.id, again.attempt));
    }

    #[test]
    fn a_failure_is_tried_again_ever_later_and_then_given_up() {
        let store = store();
        add(&store, Occasion::Opened);
        let mut now = noon();
        for (number, usual_wait) in BACKOFF.iter().enumerate() {
            let (delivery, troubles) = step(&store, &usual(), &later("500"), now);
            assert_eq!((delivery.attempt as usize, troubles), (number + 1, vec![]));
            let due = next_due(store.connection(), &ops()).unwrap().unwrap();
            let (wait, usual_wait) = (due.duration_since(now).as_secs_f64(), usual_wait.as_secs_f64());
            assert!((usual_wait * 0.9..=usual_wait * 1.1).contains(&wait), "{number}: {wait} {usual_wait}");
            assert!(!is_due(&store, due - SignedDuration::from_millis(1)));
            now = due;
        }
        let (delivery, troubles) = step(&store, &usual(), &later("500 once more"), now);
        assert_eq!(delivery.attempt, 8);
        assert!(troubles[0].to_string().contains("500 once more; `halfopen alert replay 1`"), "{troubles:?}");
        assert_eq!((all(&store)[0].state, next_due(store.connection(), &ops()).unwrap()), (State::Dead, None));
    }

    #[test]
    fn waits_differ_from_delivery_to_delivery() {
        let wait = |id| {
            let delivery = Delivery {
                id: DeliveryId(id),
                channel: ops(),
                message: message(Occasion::Opened),
                attempt: 1,
                failures: 1,
            };
            backoff(&BACKOFF, 1, seed(&delivery)).unwrap().as_millis()
        };
        let waits: std::collections::BTreeSet<_> = (1..=100).map(wait).collect();
        assert!(waits.len() > 90, "{waits:?}");
        assert_eq!(wait(1), wait(1), "each has its own");
    }

    #[test]
    fn who_asks_for_more_time_gets_it() {
        let store = store();
        add(&store, Occasion::Opened);
        let answer = Answer::Later("429".into(), Some(Duration::from_secs(600)));
        step(&store, &usual(), &answer, noon());
        assert!(!is_due(&store, at("2026-03-01T12:09:59Z")) && is_due(&store, at("2026-03-01T12:10:00Z")));
    }

    /// In a thread of its own.
    fn add_to(store: &Store, thread: &str, occasion: Occasion, now: &str) -> DeliveryId {
        let message = Message { thread: thread.into(), at: at(now), ..message(occasion) };
        enqueue(store.connection(), &ops(), &message, at(now)).unwrap()
    }

    #[test]
    fn who_asks_for_time_has_it_for_all_messages() {
        let store = store();
        add(&store, Occasion::Opened);
        step(&store, &usual(), &Answer::Later("429".into(), Some(Duration::from_secs(600))), noon());
        add_to(&store, "incident-8", Occasion::Opened, "2026-03-01T12:01:00Z");
        assert!(!is_due(&store, at("2026-03-01T12:09:59Z")));
        assert_eq!(next_due(store.connection(), &ops()).unwrap(), Some(at("2026-03-01T12:10:00Z")));
        step(&store, &usual(), &ok(), at("2026-03-01T12:10:00Z"));
        assert!(is_due(&store, at("2026-03-01T12:10:00Z")), "and then all come at once");
        let forgetful = channels(&[("ops", PROMETHEUS)]);
        let (delivery, _) = step(&store, &forgetful, &ok(), at("2026-03-01T12:10:00Z"));
        wait_for(store.connection(), &ops(), Some(Duration::from_secs(600)), at("2026-03-01T12:11:00Z")).unwrap();
        let again = |now| standing(store.connection(), &ops(), at(now)).unwrap().map(|message| message.thread);
        assert_eq!(again("2026-03-01T12:20:59Z"), None);
        assert_eq!(again("2026-03-01T12:21:00Z"), Some(delivery.message.thread));
    }

    #[test]
    fn a_channel_that_works_again_gets_soon_what_waits() {
        let store = store();
        add(&store, Occasion::Opened);
        let mut now = noon();
        for _ in 0..4 {
            step(&store, &usual(), &later("500"), now);
            now = next_due(store.connection(), &ops()).unwrap().unwrap();
        }
        // The next attempt is half an hour after the last one, which was some five minutes after noon.
        assert!(now > at("2026-03-01T12:30:00Z"), "{now}");
        let ten = at("2026-03-01T12:10:00Z");
        let other = add_to(&store, "incident-8", Occasion::Opened, "2026-03-01T12:10:00Z");
        let (delivery, _) = step(&store, &usual(), &ok(), ten);
        assert_eq!(delivery.id, other);
        assert!(next_due(store.connection(), &ops()).unwrap().unwrap() < at("2026-03-01T12:12:00Z"));
    }

    #[test]
    fn what_fails_by_itself_is_not_tried_whenever_others_are_taken() {
        let store = store();
        add(&store, Occasion::Opened);
        let mut attempts = 0;
        for second in 0..600 {
            let now = noon() + SignedDuration::from_secs(second);
            add_to(&store, &format!("other-{second}"), Occasion::Opened, &now.to_string());
            while let Some(delivery) = due(store.connection(), &ops(), now).unwrap() {
                let is_bad = delivery.message.thread == "incident-7";
                attempts += usize::from(is_bad);
                let answer = if is_bad { later("500") } else { ok() };
                answered(store.connection(), &usual(), &delivery, &answer, Duration::ZERO, now).unwrap();
            }
        }
        assert_eq!(attempts, 5, "at once, after 5 s, 5 s, 30 s and 5 min");
    }

    #[test]
    fn what_was_overtaken_while_it_waited_is_not_sent() {
        let store = store();
        add(&store, Occasion::Opened);
        step(&store, &usual(), &ok(), noon());
        for (occasion, now) in [(Occasion::Reminder, "13"), (Occasion::Reminder, "14"), (Occasion::Acknowledged, "15")]
        {
            add_to(&store, "incident-7", occasion, &format!("2026-03-01T{now}:00:00Z"));
        }
        let other = add_to(&store, "incident-8", Occasion::Reminder, "2026-03-01T15:30:00Z");
        let states = || all(&store).iter().map(|entry| entry.state).collect::<Vec<_>>();
        use State::{Overtaken, Pending, Sent};
        assert_eq!(states(), [Sent, Overtaken, Overtaken, Pending, Pending]);
        // It is on its way just then, and fails.
        let four = at("2026-03-01T16:00:00Z");
        let on_its_way = due(store.connection(), &ops(), four).unwrap().unwrap();
        add_to(&store, "incident-7", Occasion::Resolved, "2026-03-01T16:00:00Z");
        answered(store.connection(), &usual(), &on_its_way, &later("500"), Duration::ZERO, four).unwrap();
        assert_eq!(states(), [Sent, Overtaken, Overtaken, Overtaken, Pending, Pending]);
        assert_eq!(all(&store)[3].ended, Some(four));
        let next = [step(&store, &usual(), &ok(), four).0, step(&store, &usual(), &ok(), four).0];
        assert_eq!((next[0].id, next[1].message.occasion), (other, Occasion::Resolved));
    }

    #[test]
    fn that_something_began_is_told_though_it_is_over() {
        let store = store();
        add(&store, Occasion::Opened);
        add(&store, Occasion::Updated);
        add(&store, Occasion::Resolved);
        let order = [(); 2].map(|()| step(&store, &usual(), &ok(), noon()).0.message.occasion);
        assert_eq!((order, is_due(&store, noon())), ([Occasion::Opened, Occasion::Resolved], false));
    }

    #[test]
    fn a_thread_keeps_its_order_and_holds_up_no_other() {
        let store = store();
        add(&store, Occasion::Opened);
        add(&store, Occasion::Resolved);
        let other = Message { thread: "incident-8".into(), ..message(Occasion::Opened) };
        enqueue(store.connection(), &ops(), &other, noon()).unwrap();
        let (first, _) = step(&store, &usual(), &later("500"), noon());
        assert_eq!(first.message.occasion, Occasion::Opened);
        let (next, _) = step(&store, &usual(), &ok(), noon());
        assert_eq!(next.message.thread, "incident-8");
        assert!(!is_due(&store, noon()), "what is over does not overtake its beginning");
        let next = next_due(store.connection(), &ops()).unwrap().unwrap();
        assert!(next > at("2026-03-01T12:00:04Z"), "nobody looks for what has to wait: {next}");
        let now = at("2026-03-01T12:01:00Z");
        let order = [(); 2].map(|()| step(&store, &usual(), &ok(), now).0.message.occasion);
        assert_eq!(order, [Occasion::Opened, Occasion::Resolved]);
    }

    #[test]
    fn what_was_given_up_holds_up_nothing() {
        let store = store();
        add(&store, Occasion::Opened);
        add(&store, Occasion::Resolved);
        step(&store, &usual(), &Answer::Never("404 Not Found".into()), noon());
        assert_eq!(step(&store, &usual(), &ok(), noon()).0.message.occasion, Occasion::Resolved);
    }

    #[test]
    fn another_channel_is_told_instead_once() {
        let both = channels(&[("ops", OPS), ("pager", PAGER)]);
        let store = store();
        add(&store, Occasion::Opened);
        let (_, troubles) = step(&store, &both, &Answer::Never("400".into()), noon());
        assert_eq!(troubles.len(), 2, "{troubles:?}");
        let pager = "pager".parse().unwrap();
        let instead = due(store.connection(), &pager, noon()).unwrap().unwrap();
        assert_eq!(instead.message, message(Occasion::Opened));
        // They stand in for each other: that ends here.
        let never = Answer::Never("no".into());
        let troubles = answered(store.connection(), &both, &instead, &never, Duration::ZERO, noon()).unwrap();
        assert!(matches!(&troubles[..], [Trouble::GivenUp { .. }]), "{troubles:?}");
        let entries = all(&store);
        assert_eq!((entries.len(), entries[1].stands_in_for), (2, Some(entries[0].id)));
    }

    #[test]
    fn after_some_failures_another_channel_is_told_while_this_one_is_still_tried() {
        let both = channels(&[("ops", &format!("{OPS}\nfailover-after=2")), ("pager", PAGER)]);
        let store = store();
        add(&store, Occasion::Opened);
        assert_eq!(step(&store, &both, &later("1"), noon()).1, []);
        let now = at("2026-03-01T12:01:00Z");
        assert!(matches!(&step(&store, &both, &later("2"), now).1[..], [Trouble::FailedOver { .. }]));
        let now = at("2026-03-01T13:00:00Z");
        assert_eq!(step(&store, &both, &later("3"), now).1, [], "once is enough");
        assert_eq!(all(&store).len(), 2);
    }

    #[test]
    fn who_is_gone_gets_nothing_more_until_they_are_back() {
        let store = store();
        add(&store, Occasion::Opened);
        add(&store, Occasion::Resolved);
        let (_, troubles) = step(&store, &usual(), &Answer::Gone("410 Gone".into()), noon());
        assert_eq!(troubles[0], Trouble::Disabled { channel: ops(), why: "410 Gone".into() });
        assert!(all(&store).iter().all(|entry| entry.state == State::Dead));
        add(&store, Occasion::Reminder);
        let swept = sweep(store.connection(), &usual(), noon()).unwrap();
        assert!(swept[0].to_string().contains("not used any more: 410 Gone"), "{swept:?}");
        assert_eq!(disabled(store.connection()).unwrap(), [(ops(), noon(), "410 Gone".into())]);
        assert!(enable(store.connection(), &ops()).unwrap() && !enable(store.connection(), &ops()).unwrap());
        assert_eq!(replay_dead(store.connection(), None, noon()).unwrap(), 3);
        assert_eq!(sweep(store.connection(), &usual(), noon()).unwrap(), []);
        assert_eq!(step(&store, &usual(), &ok(), noon()).0.attempt, 2);
    }

    #[test]
    fn channels_that_are_gone_from_the_settings_wait_for_nothing() {
        let store = store();
        add(&store, Occasion::Opened);
        assert_eq!(sweep(store.connection(), &Channels::new(), noon()).unwrap(), [], "it may come back");
        let swept = sweep(store.connection(), &Channels::new(), at("2026-03-01T12:01:00Z")).unwrap();
        assert!(swept[0].to_string().contains("no such channel any more"), "{swept:?}");
        assert_eq!(next_due(store.connection(), &ops()).unwrap(), None);
    }

    #[test]
    fn a_replay_begins_anew() {
        let store = store();
        let id = add(&store, Occasion::Opened);
        step(&store, &usual(), &Answer::Never("400".into()), noon());
        assert!(replay(store.connection(), id, noon()).unwrap());
        assert!(!replay(store.connection(), DeliveryId(99), noon()).unwrap());
        let (delivery, troubles) = step(&store, &usual(), &later("500"), noon());
        assert_eq!((delivery.attempt, troubles), (2, vec![]));
        let failed = Filter { failed: true, ..Filter::default() };
        let tried: Vec<_> = log(store.connection(), &failed).unwrap()[0].attempts.iter().map(|it| it.number).collect();
        assert_eq!(tried, [1, 2]);
    }

    #[test]
    fn the_log_is_filtered_and_old_rows_go() {
        let store = store();
        add(&store, Occasion::Opened);
        step(&store, &usual(), &ok(), noon());
        add(&store, Occasion::Updated);
        let count = |filter: &Filter| log(store.connection(), filter).unwrap().len();
        assert_eq!(count(&Filter { failed: true, ..Filter::default() }), 0);
        assert_eq!(count(&Filter { channel: Some("pager".parse().unwrap()), ..Filter::default() }), 0);
        assert_eq!(count(&Filter { since: Some(at("2026-03-01T12:00:01Z")), ..Filter::default() }), 0);
        assert_eq!(count(&Filter { since: Some(noon()), channel: Some(ops()), failed: false }), 2);
        assert_eq!(backlog(store.connection()).unwrap(), (1, Some(noon())));
        assert_eq!(retire(store.connection(), at("2026-03-02T12:00:00Z")).unwrap(), 1, "what is pending stays");
        let attempts: i64 = store.connection().query_row("SELECT COUNT(*) FROM attempt", [], |row| row.get(0)).unwrap();
        assert_eq!((all(&store).len(), attempts), (1, 0));
    }

    #[test]
    fn alertmanagers_are_told_again_until_five_minutes_after_the_end() {
        let channels = channels(&[("ops", PROMETHEUS)]);
        let store = store();
        add(&store, Occasion::Opened);
        step(&store, &channels, &ok(), noon());
        let again = |now: &str| standing(store.connection(), &ops(), at(now)).unwrap();
        let said = |now: &str| {
            let message = again(now).expect("it is said again");
            stood(store.connection(), &ops(), &message, alertmanager::RESEND, at(now)).unwrap();
            message
        };
        assert_eq!(again("2026-03-01T12:00:59Z"), None);
        assert_eq!(said("2026-03-01T12:01:00Z").incidents.len(), 1);
        assert_eq!(again("2026-03-01T12:01:59Z"), None);
        assert_eq!(next_due(store.connection(), &ops()).unwrap(), Some(at("2026-03-01T12:02:00Z")));
        enqueue(store.connection(), &ops(), &message(Occasion::Resolved), at("2026-03-01T12:02:00Z")).unwrap();
        step(&store, &channels, &ok(), at("2026-03-01T12:02:00Z"));
        for minute in 3..=7 {
            let message = said(&format!("2026-03-01T12:0{minute}:00Z"));
            assert!(message.incidents[0].resolved.is_some());
        }
        assert_eq!((again("2026-03-01T13:00:00Z"), next_due(store.connection(), &ops()).unwrap()), (None, None));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]

        /// Nothing is handed out before what it follows in its thread, and nothing twice once it was taken.
        #[test]
        fn whatever_is_answered_threads_keep_their_order(answers in proptest::collection::vec(0..4_u8, 1..80)) {
            let store = store();
            for number in 0..9 {
                let message = Message { thread: format!("incident-{}", number % 3), ..message(Occasion::Opened) };
                enqueue(store.connection(), &ops(), &message, noon()).unwrap();
            }
            let (mut now, mut taken) = (noon(), std::collections::BTreeSet::new());
            for answer in answers {
                let Some(next) = next_due(store.connection(), &ops()).unwrap() else { break };
                now = now.max(next);
                let answer = match answer {
                    0 => ok(),
                    1 => later("500"),
                    2 => Answer::Later("429".into(), Some(Duration::from_secs(90))),
                    _ => Answer::Never("400".into()),
                };
                let (delivery, _) = step(&store, &usual(), &answer, now);
                let before = |it: &&Entry| it.message.thread == delivery.message.thread && it.id < delivery.id;
                assert!(all(&store).iter().filter(before).all(|it| it.state != State::Pending));
                assert!(!answer.is_accepted() || taken.insert(delivery.id), "twice: {:?}", delivery.id);
            }
        }
    }
}
