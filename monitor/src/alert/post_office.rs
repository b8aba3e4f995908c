//! Takes messages from the outbox to the channels: a thread for each channel, so that one that hangs holds up no other, and one that
//! keeps the books. Clocks are here, and nowhere else in this folder.
//!
//! What a channel took and the books do not say, because the program ended in between, is sent again with the same id.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::dead_man::ping;
use super::errands::{Errands, Runner};
use super::settings::Alerting;
use crate::channel::secret::Environment;
use crate::channel::{Answer, Attempt, ChannelName, Settings};
use crate::message::Message;
use crate::store::outbox::{self, Delivery, Trouble};
use crate::store::{Error, Store};

/// How long at most until what another process put into the outbox is seen.
const LOOK: Duration = Duration::from_secs(2);
const SHORTEST_LOOK: Duration = Duration::from_millis(10);
/// How long to wait for answers at the end.
const FAREWELL: Duration = Duration::from_secs(3);

/// The post office, at work in threads of its own.
#[derive(Debug)]
pub struct PostOffice {
    orders: Sender<Order>,
    clerk: Option<JoinHandle<()>>,
}

/// Says what somebody should know.
pub type Speaker = Box<dyn Fn(&str) + Send>;

enum Order {
    /// There may be something to do.
    Look,
    Reload(Alerting),
    Ping,
    Pinged(Answer),
    Done(Done),
    Stop,
}

/// An attempt that was made.
struct Done {
    channel: ChannelName,
    job: Job,
    answer: Answer,
    took: Duration,
}

/// What a channel's thread is to send.
#[derive(Debug, Clone)]
enum Job {
    Delivery(Delivery),
    Standing(Message),
}

impl PostOffice {
    /// Opens the books at this place and begins. Commands are run by this very process.
    pub fn open(store: &Path, alerting: Alerting, speaker: Speaker) -> Result<PostOffice, Error> {
        PostOffice::begin(store, alerting, speaker, None)
    }

    /// The same, and others run the commands.
    pub fn with_errands(
        store: &Path,
        alerting: Alerting,
        speaker: Speaker,
        (errands, of_errands): (Errands, Speaker),
    ) -> Result<PostOffice, Error> {
        PostOffice::begin(store, alerting, speaker, Some(errands.open(of_errands)))
    }

    fn begin(
        store: &Path,
        alerting: Alerting,
        speaker: Speaker,
        runner: Option<Arc<Runner>>,
    ) -> Result<PostOffice, Error> {
        let store = Store::open(store)?;
        let (orders, incoming) = channel();
        let back = orders.clone();
        let clerk = thread::Builder::new().name("post office".into()).spawn(move || {
            let mut clerk = Clerk {
                store,
                alerting,
                speaker,
                runner,
                back,
                carriers: BTreeMap::new(),
                unrecorded: Vec::new(),
                complained: false,
                missed: false,
            };
            clerk.work(&incoming);
        });
        Ok(PostOffice { orders, clerk: Some(clerk.expect("a process at its start can start a thread")) })
    }

    /// There is something new in the outbox.
    pub fn wake(&self) {
        let _ = self.orders.send(Order::Look);
    }

    /// Settings have changed.
    pub fn reload(&self, alerting: Alerting) {
        let _ = self.orders.send(Order::Reload(alerting));
    }

    /// Pings whoever misses us.
    pub fn ping(&self) {
        let _ = self.orders.send(Order::Ping);
    }
}

/// Waits a moment for what is under way; what hangs is sent again the next time.
impl Drop for PostOffice {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Stop);
        if let Some(clerk) = self.clerk.take() {
            let _ = clerk.join();
        }
    }
}

/// Keeps the books.
struct Clerk {
    store: Store,
    alerting: Alerting,
    speaker: Speaker,
    /// Who runs commands, if that is another process.
    runner: Option<Arc<Runner>>,
    back: Sender<Order>,
    carriers: BTreeMap<ChannelName, Carrier>,
    /// What could not be written down yet. Its channels have no time until it is: what is not recorded would be sent again.
    unrecorded: Vec<Done>,
    complained: bool,
    missed: bool,
}

/// The thread of a channel.
struct Carrier {
    jobs: Sender<(Settings, Job)>,
    is_busy: bool,
}

impl Clerk {
    fn work(&mut self, incoming: &Receiver<Order>) {
        loop {
            let wait = self.hand_out();
            match incoming.recv_timeout(wait) {
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return self.close(incoming),
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Look | Order::Stop => {}
            Order::Ping => self.ping(),
            Order::Pinged(answer) => self.pinged(&answer),
            Order::Done(done) => self.done(done),
            Order::Reload(alerting) => {
                self.alerting = alerting;
                self.runner.iter().for_each(|runner| runner.reload());
                self.carriers.retain(|name, _| self.alerting.channels.contains_key(name));
            }
        }
    }

    /// Gives each channel that has time what is due for it. How long until there is more to do.
    fn hand_out(&mut self) -> Duration {
        self.catch_up();
        let unusable = outbox::unusable(self.store.connection(), &self.alerting.channels, Timestamp::now());
        if self.heard(unusable).is_some_and(|channels| !channels.is_empty()) {
            self.sweep();
        }
        let names: Vec<_> = self.alerting.channels.keys().cloned().collect();
        names.iter().map(|name| self.hand_to(name)).min().unwrap_or(LOOK)
    }

    /// Gives a channel what is due for it, if it has time. How long until there is more for it.
    fn hand_to(&mut self, name: &ChannelName) -> Duration {
        if self.carriers.get(name).is_some_and(|carrier| carrier.is_busy) {
            return LOOK;
        }
        let job = self.job(name);
        if let Some(job) = self.heard(job).flatten() {
            self.send(name, job);
            return LOOK;
        }
        let next = outbox::next_due(self.store.connection(), name).ok().flatten();
        let wait = next.and_then(|next| Duration::try_from(next.duration_since(Timestamp::now())).ok());
        wait.unwrap_or(LOOK).clamp(SHORTEST_LOOK, LOOK)
    }

    fn job(&self, channel: &ChannelName) -> Result<Option<Job>, Error> {
        let (connection, now) = (self.store.connection(), Timestamp::now());
        if let Some(delivery) = outbox::due(connection, channel, now)? {
            return Ok(Some(Job::Delivery(delivery)));
        }
        Ok(outbox::standing(connection, channel, now)?.map(Job::Standing))
    }

    fn send(&mut self, name: &ChannelName, job: Job) {
        let Some(settings) = self.alerting.channels.get(name).cloned() else { return };
        let new = || carrier(name.clone(), self.back.clone(), self.runner.clone());
        let carrier = self.carriers.entry(name.clone()).or_insert_with(new);
        carrier.is_busy = carrier.jobs.send((settings, job)).is_ok();
        if !carrier.is_busy {
            // Its thread could not be started: the next look tries again.
            self.carriers.remove(name);
        }
    }

    fn done(&mut self, done: Done) {
        let recorded = self.record(&done);
        match self.heard(recorded) {
            Some(troubles) => {
                self.complained = false;
                if let Some(carrier) = self.carriers.get_mut(&done.channel) {
                    carrier.is_busy = false;
                }
                troubles.iter().for_each(|trouble| (self.speaker)(&trouble.to_string()));
            }
            None => self.unrecorded.push(done),
        }
    }

    /// Writes down what could not be before.
    fn catch_up(&mut self) {
        std::mem::take(&mut self.unrecorded).into_iter().for_each(|done| self.done(done));
    }

    fn record(&mut self, done: &Done) -> Result<Vec<Trouble>, Error> {
        let (channels, now) = (&self.alerting.channels, Timestamp::now());
        let transaction = self.store.transaction()?;
        let troubles = match &done.job {
            Job::Delivery(delivery) => {
                outbox::answered(&transaction, channels, delivery, &done.answer, done.took, now)?
            }
            Job::Standing(message) => {
                let every = channels.get(&done.channel).and_then(Settings::repeats).unwrap_or(LOOK);
                outbox::stood(&transaction, &done.channel, message, every, now)?;
                Vec::new()
            }
        };
        transaction.commit()?;
        Ok(troubles)
    }

    /// What waits for channels that are not there any more is given up.
    fn sweep(&mut self) {
        let swept = (|| {
            let transaction = self.store.transaction()?;
            let troubles = outbox::sweep(&transaction, &self.alerting.channels, Timestamp::now())?;
            transaction.commit()?;
            Ok(troubles)
        })();
        let troubles = self.heard(swept).unwrap_or_default();
        troubles.iter().for_each(|trouble| (self.speaker)(&trouble.to_string()));
    }

    fn ping(&self) {
        let Some(settings) = self.alerting.dead_man.clone() else { return };
        let back = self.back.clone();
        thread::spawn(move || {
            let answer = ping(&settings, &process_environment, Timestamp::now());
            let _ = back.send(Order::Pinged(answer));
        });
    }

    /// That a ping was not taken is said once until one is.
    fn pinged(&mut self, answer: &Answer) {
        let failed = !answer.is_accepted();
        if failed && !self.missed {
            (self.speaker)(&format!("dead-man: {}", answer.text()));
        }
        self.missed = failed;
    }

    /// What a step brought; that the database fails is said once until something can be recorded.
    fn heard<T>(&mut self, step: Result<T, Error>) -> Option<T> {
        match step {
            Ok(done) => Some(done),
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    (self.speaker)(&format!("the outbox cannot be used: {error}"));
                }
                thread::sleep(LOOK / 10);
                None
            }
        }
    }

    /// Waits for what is under way; commands that still are then end, too.
    fn close(&mut self, incoming: &Receiver<Order>) {
        self.say_farewell(incoming);
        self.runner.iter().for_each(|runner| runner.close());
    }

    fn say_farewell(&mut self, incoming: &Receiver<Order>) {
        let deadline = Instant::now() + FAREWELL;
        while self.carriers.values().any(|carrier| carrier.is_busy) && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            match incoming.recv_timeout(left.min(LOOK)) {
                Ok(Order::Done(done)) => self.done(done),
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(_) | Err(RecvTimeoutError::Timeout) => self.catch_up(),
            }
        }
    }
}

fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A thread that sends what it is given, one after the other.
fn carrier(channel_name: ChannelName, back: Sender<Order>, runner: Option<Arc<Runner>>) -> Carrier {
    let (jobs, incoming) = channel::<(Settings, Job)>();
    let name = format!("to {channel_name}");
    let work = move || {
        for (settings, job) in incoming {
            let began = Instant::now();
            let (message, attempt) = match &job {
                Job::Delivery(delivery) => (&delivery.message, delivery.attempt),
                Job::Standing(message) => (message, 1),
            };
            let answer = match runner.as_ref().filter(|_| settings.runs_programs()) {
                Some(runner) => runner.run(&channel_name, message, attempt),
                None => deliver(&settings, message, attempt, &process_environment),
            };
            let done = Done { channel: channel_name.clone(), job, answer, took: began.elapsed() };
            if back.send(Order::Done(done)).is_err() {
                return;
            }
        }
    };
    let _ = thread::Builder::new().name(name).spawn(work);
    Carrier { jobs, is_busy: false }
}

/// Sends a message once, with the secrets as they are now. That they cannot be read may be mended: it is tried again.
pub fn deliver(settings: &Settings, message: &Message, attempt: u32, environment: &Environment<'_>) -> Answer {
    match settings.open(environment) {
        Ok(channel) => channel.send(message, Attempt { number: attempt, at: Timestamp::now() }),
        Err(why) => Answer::Later(why, None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::channel::tests::{message, settings};
    use crate::message::Occasion;
    use crate::store::outbox::{Channels, Entry, Filter, State};

    /// Waits until the log is so, for a bounded time.
    fn until(path: &Path, holds: impl Fn(&[Entry]) -> bool) -> Vec<Entry> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let entries = outbox::log(Store::open(path).unwrap().connection(), &Filter::default()).unwrap();
            if holds(&entries) {
                return entries;
            }
            assert!(Instant::now() < deadline, "{entries:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn alerting(channels: &[(&str, &str)]) -> Alerting {
        let channels: Channels =
            channels.iter().map(|(name, text)| (name.parse().unwrap(), settings(text).unwrap())).collect();
        Alerting { channels, ..Alerting::default() }
    }

    fn add(path: &Path, channel: &str) {
        let store = Store::open(path).unwrap();
        let minutes_ago = Timestamp::now() - jiff::SignedDuration::from_mins(2);
        outbox::enqueue(store.connection(), &channel.parse().unwrap(), &message(Occasion::Opened), minutes_ago)
            .unwrap();
    }

    #[test]
    fn one_that_hangs_holds_up_no_other_and_what_is_gone_from_the_settings_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("monitor.db");
        let release = folder.path().join("release");
        let shell = format!("shell='until test -e {}; do sleep 0.01; done; exit 3'", release.display());
        let hangs = ("hangs", format!("kind='command'\n{shell}\ntimeout='1m'"));
        let works = ("works", "kind='command'\ncommand=['/bin/true']");
        ["hangs", "works", "unknown"].iter().for_each(|channel| add(&path, channel));
        let said = Arc::new(Mutex::new(Vec::new()));
        let ear = said.clone();
        let speaker = Box::new(move |text: &str| ear.lock().unwrap().push(text.to_owned()));
        let office = PostOffice::open(&path, alerting(&[(hangs.0, &hangs.1), works]), speaker).unwrap();
        let entries = until(&path, |entries| entries[1].state == State::Sent);
        assert_eq!(entries[0].attempts.len(), 0, "it hangs still");
        assert_eq!(entries[2].state, State::Dead);
        add(&path, "works");
        office.wake();
        until(&path, |entries| entries[3].state == State::Sent);
        // What is under way is waited for, and recorded.
        std::fs::write(&release, "").unwrap();
        drop(office);
        let entries = until(&path, |entries| entries[0].attempts.len() == 1);
        assert!(entries[0].attempts[0].answer.contains("exit status: 3"), "{entries:?}");
        assert!(said.lock().unwrap()[0].contains("no such channel any more"), "{said:?}");
    }

    #[test]
    fn what_cannot_be_recorded_is_not_sent_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, told) = (folder.path().join("monitor.db"), folder.path().join("told"));
        add(&path, "ops");
        let store = Store::open(&path).unwrap();
        let full = "CREATE TRIGGER full BEFORE INSERT ON attempt BEGIN SELECT RAISE(ABORT, 'full'); END";
        store.connection().execute_batch(full).unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let ear = said.clone();
        let speaker = Box::new(move |text: &str| ear.lock().unwrap().push(text.to_owned()));
        let shell = format!("kind='command'\nshell='echo told >> {}'", told.display());
        let office = PostOffice::open(&path, alerting(&[("ops", &shell)]), speaker).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while said.lock().unwrap().is_empty() {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(10));
        }
        // Looks again and again, and does not send.
        for _ in 0..5 {
            office.wake();
            thread::sleep(Duration::from_millis(50));
        }
        store.connection().execute_batch("DROP TRIGGER full").unwrap();
        office.wake();
        until(&path, |entries| entries[0].state == State::Sent);
        assert_eq!(std::fs::read_to_string(&told).unwrap(), "told\n");
        assert_eq!(said.lock().unwrap().len(), 1, "{said:?}");
    }

    #[test]
    fn who_is_gone_gets_nothing_and_another_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("monitor.db");
        add(&path, "gone");
        let store = Store::open(&path).unwrap();
        store.connection().execute("INSERT INTO disabled_channel VALUES ('gone', 0, '410 Gone')", []).unwrap();
        let gone = ("gone", "kind='command'\ncommand=['/bin/false']\nfailover='ops'");
        let ops = ("ops", "kind='command'\ncommand=['/bin/true']");
        let _office = PostOffice::open(&path, alerting(&[gone, ops]), Box::new(|_| {})).unwrap();
        let entries = until(&path, |entries| entries.len() == 2 && entries[1].state == State::Sent);
        assert_eq!((entries[0].state, entries[0].attempts.len()), (State::Dead, 0));
    }

    #[test]
    fn a_channel_that_comes_later_gets_what_comes_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("monitor.db");
        let office = PostOffice::open(&path, alerting(&[]), Box::new(|_| {})).unwrap();
        let known = ("known", "kind='command'\ncommand=['/bin/true']");
        office.reload(alerting(&[known]));
        // What waits for a channel is given up by a look that does not know it: this one is added in time to be new.
        let store = Store::open(&path).unwrap();
        let now = Timestamp::now();
        outbox::enqueue(store.connection(), &"known".parse().unwrap(), &message(Occasion::Opened), now).unwrap();
        office.wake();
        until(&path, |entries| entries[0].state == State::Sent);
    }
}
