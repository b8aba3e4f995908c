//! The threads of a scan: each walker and the receiver have one of their own. The first walker's is the scan's own, and
//! leads.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::counters::Shared;
use crate::drive::{self, Lookout, Outbox};
use crate::error::Error;
use crate::event::Phase;
use crate::launch::spawn;
use crate::link::{Clock, LinkRx, LinkTx};
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
    pub(crate) fn run(mut self, lead: Sender, hands: Vec<Hand>, ear: Ear) -> Result<Result<(), Lost>, Error> {
        let _guard = AbortOnPanic(Arc::clone(&self.shared));
        let (shared, clock) = (Arc::clone(&self.shared), self.clock);
        let mut hands = hands.into_iter();
        let first = hands.next();
        self.start("halfopen-receive", move || receive(ear, clock, &shared))?;
        for (i, hand) in hands.enumerate() {
            let shared = Arc::clone(&self.shared);
            self.start(&format!("halfopen-send{}", i + 1), move || send(None, hand, clock, &shared))?;
        }
        let sent = first.map_or(Ok(()), |hand| send(Some(lead), hand, clock, &self.shared));
        self.shared.sender.set_phase(Phase::Done);
        Ok(sent.and(self.join()?))
    }

    /// One that does not start ends the others.
    fn start(&mut self, name: &str, body: impl FnOnce() -> Result<(), Lost> + Send + 'static) -> Result<(), Error> {
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
    let sent = drive::send(lead, &mut hand.walker, &mut hand.links, &clock);
    if sent.is_err() {
        shared.abort();
    }
    sent
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
