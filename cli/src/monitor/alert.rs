//! `halfopen alert`: tries a channel, shows what was delivered and what was not, and has it tried again.

use std::collections::BTreeSet;
use std::env;
use std::path::Path;
use std::thread;

use clap::{Args, Subcommand};
use halfopen_monitor::Store;
use halfopen_monitor::alert::{self, Alerting};
use halfopen_monitor::channel::{self, Answer, ChannelName};
use halfopen_monitor::message::Message;
use halfopen_monitor::store::outbox::{self, DeliveryId, Entry, Filter, State};
use halfopen_monitor::wording::Reader;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{StoreArgs, moment, shown};
use crate::failure::{self, DONE, Failure};
use crate::output::text::count;
use crate::privileges::{self, Keep};
use crate::screen;

const LONG_HELP: &str = "\
Examples:
  Whether a channel works:
    halfopen alert test ops
  What was not delivered, and why:
    halfopen alert log --failed --since 7d
  All of that once more:
    halfopen alert replay --dead

Exit codes: 0 done, 1 the channel did not take the test, or runtime error, 2 usage error.";

/// `halfopen alert`, as typed.
#[derive(Debug, Args)]
#[command(after_long_help = LONG_HELP)]
pub(crate) struct AlertArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send a message that says it is a test, now and once
    ///
    /// The channel is that of --settings, else of halfopen.toml in this folder. One that was not used any more because its other end
    /// said that it is gone is used again when it takes this.
    Test {
        /// The channel: NAME of [channel.NAME]
        #[arg(value_name = "CHANNEL")]
        channel: ChannelName,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Show deliveries and what became of them, the oldest first
    Log {
        /// Only those to this channel
        #[arg(long, value_name = "CHANNEL")]
        channel: Option<ChannelName>,
        /// Only those that were given up, or have failed and are tried again
        #[arg(long)]
        failed: bool,
        /// Only those since then: how long ago (1d), or a time (2026-01-31T12:00)
        #[arg(long, value_name = "TIME", value_parser = moment)]
        since: Option<Timestamp>,
        /// Print JSON, an object a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Deliver once more what was given up, or what was taken
    ///
    /// The service does it, within seconds. The message and its id are those of the first time.
    Replay {
        /// The number of a delivery in the log
        #[arg(value_name = "ID", required_unless_present = "dead")]
        id: Option<i64>,
        /// All that was given up
        #[arg(long, conflicts_with = "id")]
        dead: bool,
        /// Of these only those to this channel
        #[arg(long, value_name = "CHANNEL", requires = "dead")]
        channel: Option<ChannelName>,
        #[command(flatten)]
        store: StoreArgs,
    },
}

/// The exit code for "not taken".
const NOT_TAKEN: u8 = 1;

/// Does what was asked.
pub(crate) fn run(args: &AlertArgs) -> Result<u8, Failure> {
    match &args.command {
        Command::Test { channel, store } => test(channel, store),
        Command::Log { channel, failed, since, json, store } => {
            let filter = Filter { channel: channel.clone(), failed: *failed, since: *since };
            let open = store.read()?;
            filter.channel.iter().try_for_each(|name| check_channel(&open, store, name))?;
            log(&open, &filter, *json)
        }
        Command::Replay { id, dead: _, channel, store } => {
            let open = store.write()?;
            channel.iter().try_for_each(|name| check_channel(&open, store, name))?;
            replay(open, id.map(DeliveryId), channel.as_ref())
        }
    }
}

/// Where settings are if nobody says.
const SETTINGS: &str = "halfopen.toml";

fn test(name: &ChannelName, store: &StoreArgs) -> Result<u8, Failure> {
    let path = store.settings.as_deref().unwrap_or(Path::new(SETTINGS));
    let file = path.to_string_lossy();
    let text =
        std::fs::read_to_string(path).map_err(|source| Failure::Open { name: file.clone().into_owned(), source })?;
    let zone = TimeZone::system();
    let folder = path.parent().unwrap_or(Path::new(""));
    let alerting =
        Alerting::read_in(&text, &zone, folder).map_err(|wrong| Failure::Setting(wrong.named(&file, &text)))?;
    let Some(settings) = alerting.channels.get(name) else { return Err(unknown(name, &alerting, &file)) };
    settings.warnings().iter().for_each(|warning| screen::warning(&format!("channel.{name}: {warning}")));
    let message = alert::trial(name, &Reader { zone, link: None }, Timestamp::now());
    let answer = tried(settings, &message, &store.path_by(Some(path))?, path);
    let taken = answer.is_accepted();
    if taken {
        enable(name, &store.path_by(Some(path))?)?;
    }
    let verdict = if taken { "took it" } else { verdict(&answer) };
    screen::print(&format!("{name} {verdict}: {}\n", answer.text())).map_err(failure::stdout)?;
    Ok(if taken { DONE } else { NOT_TAKEN })
}

/// A command is run with the rights that it has with the service: in a thread that is gone afterwards.
fn tried(settings: &channel::Settings, message: &Message, store: &Path, file: &Path) -> Answer {
    let send = || alert::deliver(settings, message, 1, &|variable| env::var(variable).ok());
    if !settings.runs_programs() {
        return send();
    }
    let keep = Keep { writes: vec![store.to_owned()], service: Some(vec![file.to_owned()]), ..Keep::default() };
    let without_rights = || {
        privileges::become_runner(&keep);
        send()
    };
    let ended = thread::scope(|scope| scope.spawn(without_rights).join());
    ended.unwrap_or_else(|_| Answer::Later("the thread for the command died".into(), None))
}

fn verdict(answer: &Answer) -> &'static str {
    match answer {
        Answer::Gone(_) => "is gone",
        Answer::Never(_) => "refused it",
        _ => "did not take it",
    }
}

fn unknown(name: &ChannelName, alerting: &Alerting, file: &str) -> Failure {
    let names: Vec<_> = alerting.channels.keys().map(ChannelName::as_str).collect();
    let known =
        if names.is_empty() { "it has no channels".to_owned() } else { format!("there are {}", names.join(", ")) };
    Failure::Setting(format!("{file}: no channel is named {name}; {known}"))
}

/// It was written to, or the settings have it.
fn check_channel(open: &Store, store: &StoreArgs, name: &ChannelName) -> Result<(), Failure> {
    let mut known: BTreeSet<ChannelName> = outbox::channels(open.connection())?.into_iter().collect();
    let settings = store.settings.as_deref().and_then(|path| std::fs::read_to_string(path).ok());
    let alerting = settings.and_then(|text| Alerting::read(&text, &TimeZone::system()).ok());
    known.extend(alerting.into_iter().flat_map(|alerting| alerting.channels.into_keys()));
    match known.contains(name) {
        true => Ok(()),
        false => Err(super::unknown("channel", name.as_str(), &Vec::from_iter(known.iter().map(ToString::to_string)))),
    }
}

/// Where there is no database yet, nothing is disabled.
fn enable(name: &ChannelName, path: &Path) -> Result<(), Failure> {
    if !path.exists() {
        return Ok(());
    }
    let mut store = Store::existing(path)?;
    let transaction = store.transaction()?;
    let again = outbox::enable(&transaction, name)?;
    transaction.commit().map_err(halfopen_monitor::store::Error::from)?;
    if again {
        screen::print(&format!("{name} is used again\n")).map_err(failure::stdout)?;
    }
    Ok(())
}

fn log(store: &Store, filter: &Filter, json: bool) -> Result<u8, Failure> {
    let entries = outbox::log(store.connection(), filter)?;
    // There is nothing in them that cannot be serialised.
    let line = |entry: &Entry| serde_json::to_string(entry).unwrap_or_default() + "\n";
    let printed: String = entries.iter().map(|entry| if json { line(entry) } else { told(entry) }).collect();
    screen::print(&printed).map_err(failure::stdout)?;
    if !json {
        for (channel, since, why) in outbox::disabled(store.connection())? {
            let text = format!(
                "channel {channel} is not used since {}: {why}; `halfopen alert test {channel}` enables it",
                shown(since)
            );
            screen::warning(&text);
        }
    }
    Ok(DONE)
}

/// A line for the delivery, and one for its last attempt if that was no success.
fn told(entry: &Entry) -> String {
    let attempts = entry.attempts.len();
    let head = format!(
        "{:<5} {}  {:<12} {:<9} {}\n",
        entry.id.0,
        shown(entry.made),
        entry.channel,
        entry.state.name(),
        entry.message.title
    );
    let failed = entry.attempts.last().filter(|_| entry.state != State::Sent);
    let next = entry.due.filter(|_| attempts > 0).map(|due| format!("; again at {}", shown(due)));
    let after = failed.map(|last| {
        format!("      after {}: {}{}\n", count(attempts as u64, "attempt"), last.answer, next.unwrap_or_default())
    });
    head + &after.unwrap_or_default()
}

fn replay(mut store: Store, id: Option<DeliveryId>, channel: Option<&ChannelName>) -> Result<u8, Failure> {
    let transaction = store.transaction()?;
    let now = Timestamp::now();
    let replayed = match id {
        Some(id) => usize::from(outbox::replay(&transaction, id, now)?),
        None => outbox::replay_dead(&transaction, channel, now)?,
    };
    transaction.commit().map_err(halfopen_monitor::store::Error::from)?;
    if let Some(id) = id.filter(|_| replayed == 0) {
        return Err(Failure::Setting(format!("there is no delivery {}; `halfopen alert log` lists them", id.0)));
    }
    let text = format!("{} will be delivered once more\n", count(replayed as u64, "message"));
    screen::print(&text).map_err(failure::stdout)?;
    Ok(DONE)
}
