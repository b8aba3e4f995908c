//! The threads of a scan: each walker and the receiver have one of their own, and where it helps a core (`cores.rs`). The
//! first walker's is the scan's own, and leads.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::thread::set_current_timer_slack;

use crate::cores::{Cores, stay_on};
use crate::counters::Shared;
use crate::drive::{self, Lookout, Outbox};
use crate::error::Error;
use crate::event::Phase;
use crate::launch::spawn;
use crate::link::{Clock, LinkRx, LinkTx};
use crate::pace::Rate;
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::walker::{Lost, Walker};

/// A walker and its halves of the links.
pub(crate) struct Hand {
    pub(crate) walker: Walker,
    pub(crate) links: Vec<Box<dyn LinkTx>>,
}

/// The receiver, its halves, the way out for events, and the watch for drops.
pub(crate) struct Ear {
    pub(crate) receiver: Receiver,
    pub(crate) links: Vec<Box<dyn LinkRx>>,
    pub(crate) outbox: Outbox,
    pub(crate) lookout: Lookout,
}

/// The threads of a scan beside the scan's own.
pub(crate) struct Crew {
    shared: Arc<Shared>,
    clock: Clock,
    threads: Vec<JoinHandle<Result<(), Lost>>>,
}

impl Crew {
    pub(crate) fn new(shared: &Arc<Shared>, clock: Clock) -> Self {
        Crew { shared: Arc::clone(shared), clock, threads: Vec::new() }
    }

    /// Runs a scan to its end, and gives back the thread.
    ///
    /// # Errors
    /// A thread that does not start, or that failed; within, the link that was lost.
    pub(crate) fn run(
        mut self,
        rate: Rate,
        lead: Sender,
        hands: Vec<Hand>,
        ear: Ear,
    ) -> Result<Result<(), Lost>, Error> {
        let _guard = AbortOnPanic(Arc::clone(&self.shared));
        let (shared, clock) = (Arc::clone(&self.shared), self.clock);
        let cores = Cores::of(rate, hands.len());
        let cores = cores.as_ref();
        let mut hands = hands.into_iter();
        let first = hands.next();
        let core = Cores::receiver(cores);
        self.start("halfopen-receive", core, move || receive(ear, clock, &shared))?;
        for (number, hand) in (1..).zip(hands) {
            let (shared, core) = (Arc::clone(&self.shared), Cores::sender(cores, number));
            self.start(&format!("halfopen-send{number}"), core, move || send(None, hand, clock, &shared))?;
        }
        // Last, for threads inherit their starter's core.
        stay_on(Cores::sender(cores, 0));
        let sent = first.map_or(Ok(()), |hand| send(Some(lead), hand, clock, &self.shared));
        self.shared.sender.set_phase(Phase::Done);
        Ok(sent.and(self.join()?))
    }

    /// One that does not start ends the others.
    fn start(
        &mut self,
        name: &str,
        core: Option<usize>,
        body: impl FnOnce() -> Result<(), Lost> + Send + 'static,
    ) -> Result<(), Error> {
        let body = move || {
            stay_on(core);
            body()
        };
        self.threads.push(spawn(name, body).inspect_err(|_| self.shared.abort())?);
        Ok(())
    }

    /// Waits for all, and gives the first loss.
    fn join(self) -> Result<Result<(), Lost>, Error> {
        let ended: Vec<_> = self.threads.into_iter().map(JoinHandle::join).collect();
        let ended: Result<Vec<_>, _> = ended.into_iter().collect();
        Ok(ended.map_err(|_| failed())?.into_iter().collect())
    }
}

fn failed() -> Error {
    Error::System {
        operation: "bring the scan to its end".into(),
        source: std::io::Error::other("one of its threads failed"),
    }
}

fn send(lead: Option<Sender>, mut hand: Hand, clock: Clock, shared: &Arc<Shared>) -> Result<(), Lost> {
    let _guard = AbortOnPanic(Arc::clone(shared));
    be_punctual();
    let sent = drive::send(lead, &mut hand.walker, &mut hand.links, &clock);
    if sent.is_err() {
        shared.abort();
    }
    sent
}

/// Lets this thread's naps end when they are due: the kernel would add 50 µs, to wake several threads at once (prctl(2),
/// PR_SET_TIMERSLACK). Where it does not, the pace makes up for it.
fn be_punctual() {
    let _ = set_current_timer_slack(NonZeroU64::new(1));
}

fn receive(ear: Ear, clock: Clock, shared: &Arc<Shared>) -> Result<(), Lost> {
    let _guard = AbortOnPanic(Arc::clone(shared));
    let Ear { mut receiver, mut links, mut outbox, mut lookout } = ear;
    let received = drive::receive(&mut receiver, &mut links, &clock, shared, &mut outbox, &mut lookout);
    if received.is_err() {
        shared.abort();
    }
    outbox.finish(shared, clock.now());
    received
}

/// Senders and receiver wait for each other at the end of each stripe; one that failed must not be waited for.
struct AbortOnPanic(Arc<Shared>);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.abort();
        }
    }
}
