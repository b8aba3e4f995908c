//! The way from the post office to the process that runs commands (`runner`), and back: two pipes, of which a guard hands on its ends.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::post_office::Speaker;
use super::runner::{Order, Word};
use crate::channel::{Answer, ChannelName};
use crate::message::Message;

/// A running guard, with the runner that it keeps.
#[derive(Debug)]
pub struct Errands {
    orders: ChildStdin,
    words: ChildStdout,
    guard: Child,
}

/// What post office and channels' threads share of it.
#[derive(Debug)]
pub(super) struct Runner {
    /// None when there are no more.
    orders: Mutex<Option<ChildStdin>>,
    guard: Mutex<Child>,
    waiting: Mutex<Waiting>,
}

/// Who waits for which answer.
#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    answers: BTreeMap<u64, Sender<Answer>>,
    is_gone: bool,
}

/// No command takes as long: the longest that settings allow, and what it takes to end it.
const PATIENCE: Duration = Duration::from_secs(11 * 60);
/// Longer than the grace that it gives its commands.
const FAREWELL: Duration = Duration::from_secs(7);
const LOOK: Duration = Duration::from_millis(5);
const GONE: &str = "the process that runs commands is gone: start the service again";

impl Errands {
    /// Starts it, with the rights of this moment.
    pub fn start(mut command: Command) -> io::Result<Errands> {
        // A terminal's Ctrl-C is for the monitor, which ends everything in order.
        let mut guard = command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn()?;
        let (orders, words) = (guard.stdin.take(), guard.stdout.take());
        let (orders, words) = orders.zip(words).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Errands { orders, words, guard })
    }

    /// From now on it can be asked; what it says of itself is passed on.
    pub(super) fn open(self, speaker: Speaker) -> Arc<Runner> {
        let (orders, guard) = (Mutex::new(Some(self.orders)), Mutex::new(self.guard));
        let runner = Arc::new(Runner { orders, guard, waiting: Mutex::default() });
        let shared = Arc::downgrade(&runner);
        let listen = move || {
            let lines = BufReader::new(self.words).lines().map_while(Result::ok);
            // What is no word was cut off when somebody died, which is told next.
            for word in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
                let Some(runner) = shared.upgrade() else { return };
                runner.take(word, &speaker);
            }
            if let Some(runner) = shared.upgrade() {
                runner.waiting().is_gone = true;
                runner.give_up(GONE);
            }
        };
        // Without it nobody hears an answer, as without the runner.
        if thread::Builder::new().name("errands".into()).spawn(listen).is_err() {
            runner.waiting().is_gone = true;
        }
        runner
    }
}

impl Runner {
    /// Has a channel's command take a message, and waits for it.
    pub(super) fn run(&self, channel: &ChannelName, message: &Message, attempt: u32) -> Answer {
        let (answer, answered) = mpsc::channel();
        let Some(id) = self.waiting().add(answer) else { return Answer::Later(GONE.into(), None) };
        let order = Order::Run { id, channel: channel.clone(), message: Box::new(message.clone()), attempt };
        if self.send(&order).is_err() {
            self.waiting().answers.remove(&id);
            return Answer::Later(GONE.into(), None);
        }
        let nothing = || Answer::Later("the process that runs commands does not answer".into(), None);
        answered.recv_timeout(PATIENCE).unwrap_or_else(|_| nothing())
    }

    /// Has it read the settings again. That it is gone is told by whatever it is asked next.
    pub(super) fn reload(&self) {
        let _ = self.send(&Order::Reload);
    }

    /// No more orders: its commands end, and then it does. Waits for that, within bounds.
    pub(super) fn close(&self) {
        drop(locked(&self.orders).take());
        let until = Instant::now() + FAREWELL;
        while Instant::now() < until && matches!(locked(&self.guard).try_wait(), Ok(None)) {
            thread::sleep(LOOK);
        }
    }

    fn send(&self, order: &Order) -> io::Result<()> {
        let line = serde_json::to_string(order)? + "\n";
        locked(&self.orders).as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_all(line.as_bytes())
    }

    fn take(&self, word: Word, speaker: &Speaker) {
        match word {
            Word::Done { id, answer } => {
                let waits = self.waiting().answers.remove(&id);
                // Whoever has waited for too long has asked again.
                waits.map(|waits| waits.send(answer));
            }
            Word::Refused { why } => {
                speaker(&format!("the process that runs commands keeps the settings before: {why}"));
            }
            Word::Restarted { why } => {
                speaker(&format!("the process that runs commands died ({why}); another one takes its place"));
                self.give_up(&format!("the process that runs commands died: {why}"));
            }
        }
    }

    fn give_up(&self, why: &str) {
        let all = std::mem::take(&mut self.waiting().answers);
        all.into_values().for_each(|waits| _ = waits.send(Answer::Later(why.to_owned(), None)));
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        locked(&self.waiting)
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiting {
    fn add(&mut self, answer: Sender<Answer>) -> Option<u64> {
        self.last += 1;
        self.answers.insert(self.last, answer);
        (!self.is_gone).then_some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::tests::message;
    use crate::message::Occasion;

    /// Stands in for guard and runner.
    fn runner(script: &str) -> (Arc<Runner>, Arc<Mutex<Vec<String>>>) {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        let said = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&said);
        let speaker = Box::new(move |text: &str| ear.lock().unwrap().push(text.to_owned()));
        (Errands::start(command).unwrap().open(speaker), said)
    }

    fn run(runner: &Runner) -> Answer {
        runner.run(&"ops".parse().unwrap(), &message(Occasion::Opened), 1)
    }

    #[test]
    fn each_hears_its_own_answer() {
        let (runner, _) = runner(
            "read one; read two; for id in 2 1; do echo \"{\\\"done\\\":{\\\"id\\\":$id,\\\"answer\\\":{\\\"accepted\\\":\\\"$id\\\"}}}\"; done; read none",
        );
        let answers: Vec<_> = thread::scope(|scope| {
            let both = [(); 2].map(|()| scope.spawn(|| run(&runner)));
            both.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let mut texts: Vec<_> = answers.iter().map(Answer::text).collect();
        texts.sort_unstable();
        assert_eq!(texts, ["1", "2"]);
    }

    #[test]
    fn one_that_died_is_told_and_one_that_is_gone_too() {
        let (runner, said) =
            runner("read one; echo '{\"do'; echo '{\"restarted\":{\"why\":\"killed by signal 9\"}}'; read two");
        let died = Answer::Later("the process that runs commands died: killed by signal 9".into(), None);
        assert_eq!(run(&runner), died);
        assert_eq!(said.lock().unwrap().len(), 1);
        // After the second order there is nobody any more.
        assert_eq!(run(&runner), Answer::Later(GONE.into(), None));
        assert_eq!(run(&runner), Answer::Later(GONE.into(), None));
    }
}
