//! Targets from a standard input that stays open: a thread reads and resolves them, and whoever scans takes what has come in,
//! one batch after the other (`batching` says when). A line that cannot be read is told with its number, and the next one
//! follows; only a list that ends before the scan begins is refused for it, like any other.

mod batching;

use std::io::{self, BufRead};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use halfopen::{Error, TargetList, Targets};

use crate::output::text::count;
use crate::screen::Screen;
use batching::{Batching, Step};

/// What a pipe is called in messages.
pub(crate) const NAME: &str = "standard input";
/// Lines that are told of one by one; somebody may have piped a film.
const TOLD: u64 = 20;

/// A list that is being read.
pub(crate) struct Intake {
    shared: Arc<Shared>,
}

/// Ends the wait for targets, from any thread.
#[derive(Clone)]
pub(crate) struct Waker(Arc<Shared>);

/// What has come in first.
pub(crate) enum First {
    /// All there is.
    Whole(Targets),
    /// What there is so far.
    Batch(Targets),
}

/// What has come in next.
pub(crate) enum Next {
    /// More targets.
    Batch(Targets),
    /// Nothing in this time.
    Quiet,
    /// There will be no more.
    Over,
    /// Nobody wants any more.
    Halted,
}

struct Shared {
    opened: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    batching: Batching,
    targets: Targets,
    complaints: Complaints,
    is_halted: bool,
}

/// Lines that could not be read.
struct Complaints {
    screen: Screen,
    /// Of a list that may be refused yet.
    held: Vec<Error>,
    is_aloud: bool,
    /// For the results.
    texts: Vec<String>,
    count: u64,
}

impl Intake {
    /// Reads a list in a thread of its own, which first of all does what `prepare` says. `has_others`: there are targets beside it.
    pub(crate) fn start<R: BufRead + Send + 'static>(
        list: TargetList<R>,
        has_others: bool,
        screen: Screen,
        prepare: impl FnOnce() + Send + 'static,
    ) -> io::Result<Intake> {
        let complaints = Complaints { screen, held: Vec::new(), is_aloud: false, texts: Vec::new(), count: 0 };
        let batching = Batching::new(Duration::ZERO, has_others);
        let state = State { batching, targets: Targets::default(), complaints, is_halted: false };
        let shared = Arc::new(Shared { opened: Instant::now(), state: Mutex::new(state), changed: Condvar::new() });
        let reader = Arc::clone(&shared);
        let read = move || {
            prepare();
            reader.read(list);
        };
        thread::Builder::new().name("targets".into()).spawn(read)?;
        Ok(Intake { shared })
    }

    /// All of the list if it ends in time, else what has come in by then; it waits until there is something.
    pub(crate) fn first(&self) -> Result<First, Error> {
        let mut state = self.shared.lock();
        loop {
            let now = self.shared.now();
            if state.batching.is_stream(now) {
                state.complaints.speak();
            }
            match state.batching.step(now) {
                Step::Whole | Step::Over => {
                    let refused = state.complaints.held.drain(..).next();
                    return refused.map_or_else(|| Ok(First::Whole(state.take())), Err);
                }
                Step::Batch => return Ok(First::Batch(state.take())),
                Step::Wait(until) => state = self.shared.wait(state, until),
            }
        }
    }

    /// The next batch, if there is one within this time.
    pub(crate) fn next(&self, patience: Duration) -> Next {
        let mut state = self.shared.lock();
        let end = self.shared.now().saturating_add(patience);
        loop {
            let now = self.shared.now();
            if state.is_halted {
                return Next::Halted;
            }
            match state.batching.step(now) {
                Step::Whole | Step::Over => return Next::Over,
                Step::Batch => return Next::Batch(state.take()),
                Step::Wait(_) if now >= end => return Next::Quiet,
                Step::Wait(until) => state = self.shared.wait(state, Some(until.unwrap_or(end).min(end))),
            }
        }
    }

    /// What was told of lines since it was asked last.
    pub(crate) fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().complaints.texts)
    }

    /// The last word on lines that could not be read, if there were any; whether there were.
    pub(crate) fn conclude(&self) -> bool {
        let state = self.shared.lock();
        state.complaints.conclude();
        state.complaints.count > 0
    }

    /// What ends the wait.
    pub(crate) fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.shared))
    }
}

impl Waker {
    /// Ends it.
    pub(crate) fn halt(&self) {
        self.0.lock().is_halted = true;
        self.0.changed.notify_all();
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waker")
    }
}

impl Shared {
    fn read<R: BufRead>(&self, list: TargetList<R>) {
        for item in list {
            self.take(item);
        }
        self.lock().batching.end();
        self.changed.notify_all();
    }

    fn take(&self, item: Result<Targets, Error>) {
        let mut state = self.lock();
        match item {
            Ok(targets) => {
                state.targets.append(targets);
                if state.batching.came(self.now()) {
                    self.changed.notify_all();
                }
            }
            Err(error) => state.complaints.take(error),
        }
    }

    fn now(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Nothing is left half done by who panics with it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, until: Option<Duration>) -> MutexGuard<'a, State> {
        match until.map(|until| until.saturating_sub(self.now())) {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(left) => {
                self.changed.wait_timeout(state, left).map_or_else(|error| error.into_inner().0, |woken| woken.0)
            }
        }
    }
}

impl State {
    fn take(&mut self) -> Targets {
        std::mem::take(&mut self.targets)
    }
}

impl Complaints {
    fn take(&mut self, error: Error) {
        self.count += 1;
        if self.count > TOLD {
            return;
        }
        if self.is_aloud { self.tell(&error) } else { self.held.push(error) }
    }

    /// From now on nothing is refused any more: the scan begins, or has.
    fn speak(&mut self) {
        self.is_aloud = true;
        for error in std::mem::take(&mut self.held) {
            self.tell(&error);
        }
    }

    fn tell(&mut self, error: &Error) {
        let text = format!("{error}; the line is left out");
        self.screen.warn(&text);
        self.texts.push(text);
    }

    fn conclude(&self) {
        match self.count.saturating_sub(TOLD) {
            0 => {}
            more => self.screen.warn(&format!("{NAME}: {} could not be read, either", count(more, "more line"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use halfopen::{Plan, PlanBuilder};

    use super::*;
    use crate::screen::Style;

    /// The reading end of a pipe that a test holds open; it ends when the other end is dropped.
    struct Pipe {
        pieces: Receiver<&'static str>,
        rest: &'static [u8],
    }

    impl io::Read for Pipe {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            if self.rest.is_empty() {
                self.rest = self.pieces.recv().unwrap_or_default().as_bytes();
            }
            io::Read::read(&mut self.rest, to)
        }
    }

    fn builder() -> PlanBuilder {
        Plan::builder().ports("80").unwrap()
    }

    fn piped(has_others: bool) -> (Sender<&'static str>, Intake) {
        let (writer, pieces) = channel();
        let list = builder().list(NAME, BufReader::new(Pipe { pieces, rest: b"" }));
        let screen = Screen::new(Style { quiet: true, bar: false, colours: false, person: false });
        (writer, Intake::start(list, has_others, screen, || {}).unwrap())
    }

    fn addresses(targets: Targets) -> Vec<String> {
        let plan = builder().with(targets).build();
        plan.map(|plan| plan.ranges().map(|range| range.to_string()).collect()).unwrap_or_default()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_list_that_ends_at_once_is_whole_or_refused() {
        let (writer, intake) = piped(false);
        writer.send("10.0.0.1\n10.0.0.2").unwrap();
        drop(writer);
        let Ok(First::Whole(targets)) = intake.first() else { panic!("it has ended") };
        assert_eq!(addresses(targets), ["10.0.0.1-10.0.0.2"]);
        let (writer, intake) = piped(false);
        writer.send("10.0.0.1\n10.0.0.256\nnonsense/\n").unwrap();
        drop(writer);
        let Err(error) = intake.first() else { panic!("it cannot be read") };
        assert!(error.to_string().starts_with("standard input:2: cannot read \"10.0.0.256\""), "{error}");
    }

    #[test]
    fn one_that_stays_open_comes_in_batches() {
        let (writer, intake) = piped(false);
        writer.send("10.0.0.1\n10.0.0.256\n10.0.0.9").unwrap();
        let Ok(First::Batch(targets)) = intake.first() else { panic!("it is open") };
        assert_eq!(addresses(targets), ["10.0.0.1"], "the last line is not whole");
        assert_eq!(intake.told().len(), 1);
        assert!(matches!(intake.next(Duration::ZERO), Next::Quiet));
        writer.send("\nwrong:port\n10.0.0.3\n").unwrap();
        let mut found = Vec::new();
        while found.len() < 2 {
            let Next::Batch(targets) = intake.next(LONG) else { panic!("there is more") };
            found.extend(addresses(targets));
        }
        found.sort();
        assert_eq!(found, ["10.0.0.3", "10.0.0.9"]);
        drop(writer);
        assert!(matches!(intake.next(LONG), Next::Over));
        assert!(intake.told()[0].starts_with("standard input:4: cannot read"));
        assert!(intake.conclude());
    }

    #[test]
    fn whoever_waits_can_be_woken() {
        let (_writer, intake) = piped(true);
        let Ok(First::Batch(targets)) = intake.first() else { panic!("it is open") };
        assert!(targets.is_empty(), "there are others beside it");
        let waker = intake.waker();
        let woken = thread::spawn(move || waker.halt());
        assert!(matches!(intake.next(LONG), Next::Halted));
        woken.join().unwrap();
        assert!(!intake.conclude());
    }

    #[test]
    fn a_film_is_not_told_line_by_line() {
        let (writer, intake) = piped(true);
        let Ok(First::Batch(_)) = intake.first() else { panic!("it is open") };
        (0..100).for_each(|_| writer.send("///\n").unwrap());
        drop(writer);
        assert!(matches!(intake.next(LONG), Next::Over));
        assert_eq!(intake.told().len() as u64, TOLD);
        assert_eq!(intake.shared.lock().complaints.count, 100);
    }
}
