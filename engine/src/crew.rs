//! The threads of a scan: each walker and the receiver have one of their own, and where it helps a core (`cores.rs`). The
//! first walker's is the scan's own, and leads.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver as Arriving, Sender as Channel, bounded};
use rustix::thread::set_current_timer_slack;

use crate::cores::{Cores, keep_off, stay_on};
use crate::counters::Shared;
use crate::drive::{self, Lookout, Outbox, Resets};
use crate::error::Error;
use crate::event::Phase;
use crate::launch::spawn;
use crate::link::{Clock, LinkRx, LinkTx};
use crate::pace::Rate;
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::walker::{Lost, Walker};
use crate::wire::rst::Rst;

/// RSTs under way from receiver to sender, at most.
const RESETS: usize = 1 << 16;

/// A walker and its halves of the links.
pub(crate) struct Hand {
    pub(crate) walker: Walker,
    pub(crate) links: Vec<Box<dyn LinkTx>>,
}

impl Hand {
    /// The cores that its links spin on.
    fn cores(&self) -> impl Iterator<Item = usize> + '_ {
        self.links.iter().filter_map(|link| link.spins_on())
    }
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
        let taken: Vec<usize> = hands.iter().flat_map(Hand::cores).collect();
        let cores = if taken.is_empty() { Cores::of(rate, hands.len()) } else { None };
        let cores = cores.as_ref();
        // Threads inherit their starter's cores.
        keep_off(&taken);
        let mut hands = hands.into_iter();
        let first = hands.next();
        let core = Cores::receiver(cores);
        let (closing, arriving) = bounded(RESETS);
        self.start("halfopen-receive", core, move || receive(ear, &closing, clock, &shared))?;
        for (number, hand) in (1..).zip(hands) {
            let (shared, core) = (Arc::clone(&self.shared), Cores::sender(cores, number));
            self.start(&format!("halfopen-send{number}"), core, move || send(None, hand, None, clock, &shared))?;
        }
        // Last, for the same reason.
        stay_on(Cores::sender(cores, 0));
        let sent = first.map_or(Ok(()), |hand| send(Some(lead), hand, Some(arriving), clock, &self.shared));
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

fn send(
    lead: Option<Sender>,
    mut hand: Hand,
    arriving: Option<Arriving<(usize, Rst)>>,
    clock: Clock,
    shared: &Arc<Shared>,
) -> Result<(), Lost> {
    let _guard = AbortOnPanic(Arc::clone(shared));
    be_punctual();
    let mut resets = Resets { arriving, waiting: None };
    let sent = drive::send(lead, &mut hand.walker, &mut hand.links, &mut resets, &clock);
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

fn receive(ear: Ear, closing: &Channel<(usize, Rst)>, clock: Clock, shared: &Arc<Shared>) -> Result<(), Lost> {
    let _guard = AbortOnPanic(Arc::clone(shared));
    be_punctual();
    let Ear { mut receiver, mut links, mut outbox, mut lookout } = ear;
    // A sender that is so far behind has worse to do than to be polite.
    let mut closing = |link, rst| {
        let _ = closing.try_send((link, rst));
    };
    let received = drive::receive(&mut receiver, &mut links, &clock, shared, &mut outbox, &mut lookout, &mut closing);
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
