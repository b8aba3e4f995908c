//! The process that runs commands for channels of that kind. The monitor has given up the rights to start programs; the runner
//! has them, and nothing else that the monitor has: no store, no network of its own, no rights that a program could inherit.
//! It reads the settings by itself, and takes of an order only the name of a channel and a message: whoever takes over
//! the monitor can have the commands of the file run, and no others. When the monitor is gone, so are its commands.

use std::fs;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::settings::Alerting;
use crate::channel::command::Command;
use crate::channel::secret::Environment;
use crate::channel::{Answer, Attempt, ChannelName, Kind};
use crate::document::Error;
use crate::message::Message;
use crate::store::outbox::Channels;

/// What the runner is asked for: an object a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Order {
    /// To give a message to a channel's command.
    Run {
        /// What the answer is told apart by.
        id: u64,
        channel: ChannelName,
        message: Box<Message>,
        attempt: u32,
    },
    /// To read the settings again.
    Reload,
}

/// What it says: an object a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Word {
    /// What became of an order.
    Done { id: u64, answer: Answer },
    /// The settings were not taken; those before are in force.
    Refused { why: String },
    /// The process has died, and what it was about to do with it; there is another. Its guard says so.
    Restarted { why: String },
}

/// From the monitor's end to that of its commands.
const GRACE: Duration = Duration::from_secs(5);

/// Takes orders until there are no more. What these settings say of channels holds, of each moment in which the monitor
/// has taken them.
pub fn serve(
    settings: &Path,
    orders: impl BufRead,
    words: impl Write + Send + 'static,
    environment: &Environment<'_>,
) -> Result<(), Error> {
    let mut channels = read(settings)?;
    let words = Arc::new(Mutex::new(words));
    let over = Arc::new(Over::default());
    let mut running = Vec::new();
    for line in orders.lines().map_while(Result::ok) {
        running.retain(|thread: &thread::JoinHandle<()>| !thread.is_finished());
        match serde_json::from_str(&line) {
            Ok(Order::Run { id, channel, message, attempt }) => match command(&channels, &channel, environment) {
                Ok(command) => running.extend(begin(&words, &over, command, (id, *message, attempt))),
                Err(why) => say(&words, &Word::Done { id, answer: Answer::Later(why, None) }),
            },
            Ok(Order::Reload) => match read(settings) {
                Ok(read) => channels = read,
                Err(error) => say(&words, &Word::Refused { why: error.to_string() }),
            },
            Err(error) => say(&words, &Word::Refused { why: format!("an order that is none: {error}") }),
        }
    }
    over.begin();
    // A panic of its own has been printed.
    running.into_iter().for_each(|thread| _ = thread.join());
    Ok(())
}

fn read(path: &Path) -> Result<Channels, Error> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|source| Error::Open { name: name.clone(), source })?;
    let alerting = Alerting::read(&text, &TimeZone::UTC).map_err(|wrong| Error::Wrong(wrong.named(&name, &text)))?;
    Ok(alerting.channels)
}

fn command(channels: &Channels, name: &ChannelName, environment: &Environment<'_>) -> Result<Command, String> {
    match channels.get(name).map(|settings| &settings.kind) {
        Some(Kind::Command(settings)) => Ok(settings.command(environment)),
        _ => Err(format!("the process that runs commands knows of none for {name}: reload the settings")),
    }
}

/// Runs one in a thread of its own, so that it holds up no other.
fn begin<W: Write + Send + 'static>(
    words: &Arc<Mutex<W>>,
    over: &Arc<Over>,
    command: Command,
    (id, message, attempt): (u64, Message, u32),
) -> Option<thread::JoinHandle<()>> {
    let (shared, ended) = (Arc::clone(words), Arc::clone(over));
    let run = move || {
        let attempt = Attempt { number: attempt, at: Timestamp::now() };
        let answer = command.send_unless(&message, attempt, &|| ended.has_been_for(GRACE));
        say(&shared, &Word::Done { id, answer });
    };
    let failed = |error: io::Error| Answer::Later(format!("no thread for the command: {error}"), None);
    let started = thread::Builder::new().name(format!("command {id}")).spawn(run);
    started.map_err(|error| say(words, &Word::Done { id, answer: failed(error) })).ok()
}

/// Whoever does not listen any more ends this process by closing the other pipe.
fn say(words: &Mutex<impl Write>, word: &Word) {
    // Texts and numbers: there is nothing that could not be written.
    let line = serde_json::to_string(word).unwrap_or_default() + "\n";
    let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = words.write_all(line.as_bytes()).and_then(|()| words.flush());
}

/// Whether the monitor is gone, and since when.
#[derive(Debug, Default)]
struct Over {
    is_over: AtomicBool,
    since: Mutex<Option<Instant>>,
}

impl Over {
    fn begin(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.is_over.store(true, Ordering::Release);
    }

    fn has_been_for(&self, time: Duration) -> bool {
        // Nearly always asked in vain.
        let since = || *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_over.load(Ordering::Acquire) && since().is_some_and(|since| since.elapsed() >= time)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::channel::tests::message;
    use crate::message::Occasion;

    /// A runner with these settings, and what it says to these orders.
    fn served(folder: &tempfile::TempDir, settings: &str, orders: &[Order]) -> Vec<Word> {
        let (path, said) = (written(folder, settings), folder.path().join("said"));
        let orders: String = orders.iter().map(|order| serde_json::to_string(order).unwrap() + "\n").collect();
        let words = fs::File::create(&said).unwrap();
        serve(&path, orders.as_bytes(), words, &|_| None).unwrap();
        fs::read_to_string(said).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn written(folder: &tempfile::TempDir, settings: &str) -> PathBuf {
        let path = folder.path().join("halfopen.toml");
        fs::write(&path, settings).unwrap();
        path
    }

    fn run(id: u64, channel: &str) -> Order {
        let message = Box::new(message(Occasion::Opened));
        Order::Run { id, channel: channel.parse().unwrap(), message, attempt: 2 }
    }

    fn answer(words: &[Word], of: u64) -> &Answer {
        let answer = |word: &'_ Word| matches!(word, Word::Done { id, .. } if *id == of);
        match words.iter().find(|word| answer(word)) {
            Some(Word::Done { answer, .. }) => answer,
            other => panic!("{other:?} in {words:?}"),
        }
    }

    #[test]
    fn commands_of_the_settings_are_run_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let settings = "[channel.ops]\nkind = 'command'\nshell = 'cat >/dev/null; echo $HALFOPEN_ATTEMPT $HALFOPEN_OCCASION'\n\
                        [channel.web]\nkind = 'webhook'\nurl = 'https://example.org/x'\n";
        let words = served(&folder, settings, &[run(1, "ops"), run(2, "web"), run(3, "others")]);
        assert_eq!(answer(&words, 1), &Answer::Accepted("exit code 0: 2 opened".into()));
        for (id, name) in [(2, "web"), (3, "others")] {
            let Answer::Later(why, None) = answer(&words, id) else { panic!("{words:?}") };
            assert!(why.contains(&format!("knows of none for {name}")), "{why}");
        }
        // A command is no part of an order.
        for text in [r#"{"run":{"id":1,"channel":"ops","command":["/bin/sh"]}}"#, "\"stop\""] {
            assert!(serde_json::from_str::<Order>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn settings_are_read_again_and_bad_ones_are_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(&folder, "");
        let (orders, mut say) = io::pipe().unwrap();
        let (heard, words) = io::pipe().unwrap();
        let mut heard = io::BufReader::new(heard).lines();
        let served = {
            let path = path.clone();
            thread::spawn(move || serve(&path, io::BufReader::new(orders), words, &|_| None).unwrap())
        };
        let mut ask = |order: &Order| say.write_all((serde_json::to_string(order).unwrap() + "\n").as_bytes()).unwrap();
        let mut word = || serde_json::from_str::<Word>(&heard.next().unwrap().unwrap()).unwrap();
        ask(&run(1, "ops"));
        assert!(matches!(word(), Word::Done { id: 1, answer: Answer::Later(..) }));
        written(&folder, "[channel.ops]\nkind = 'command'\n");
        ask(&Order::Reload);
        let Word::Refused { why } = word() else { panic!() };
        assert!(why.contains("halfopen.toml:1: channel.ops: needs command"), "{why}");
        written(&folder, "[channel.ops]\nkind = 'command'\ncommand = ['/bin/true']\n");
        ask(&Order::Reload);
        ask(&run(2, "ops"));
        assert_eq!(word(), Word::Done { id: 2, answer: Answer::Accepted("exit code 0".into()) });
        drop(say);
        served.join().unwrap();
    }

    #[test]
    fn commands_end_with_the_monitor() {
        let folder = tempfile::tempdir().unwrap();
        let settings = "[channel.ops]\nkind = 'command'\nshell = 'sleep 300'\ntimeout = '10m'\n";
        let words = served(&folder, settings, &[run(1, "ops")]);
        let Answer::Later(why, None) = answer(&words, 1) else { panic!("{words:?}") };
        assert!(why.contains("ended with the monitor"), "{why}");
        assert!(!Over::default().has_been_for(Duration::ZERO));
    }
}
