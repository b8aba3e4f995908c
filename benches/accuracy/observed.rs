//! A simulated network with somebody who looks on: how many probes enter it, how fast they come once a scanner should have
//! found its rate, and how many are then lost on the way out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use halfopen::Time;
use halfopen::link::sim::Network;
use halfopen_lab::{Medium, Scenario, SimNetwork};

use crate::scene::SETTLED;

/// The network; its copies are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Observed(Arc<Mutex<Watch>>);

#[derive(Debug)]
struct Watch {
    network: SimNetwork,
    probes: u64,
    settled: Settled,
}

/// What is counted after [`SETTLED`].
#[derive(Debug, Default)]
struct Settled {
    probes: u64,
    /// Lost on the way out when it began.
    lost_before: Option<u64>,
    /// Pieces of time in which probes came, and the last of them: a pause is no slow sending.
    busy: u64,
    last: u64,
}

/// In nanoseconds: longer than a scanner's bursts are apart, shorter than its pauses.
const PIECE: u64 = 10_000_000;

/// What was seen after [`SETTLED`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Later {
    /// Probes a second, pauses left out.
    pub(crate) rate: f64,
    /// The share of them that was lost on the way out.
    pub(crate) loss: f64,
}

impl Observed {
    pub(crate) fn new(scenario: Scenario) -> Observed {
        let network = SimNetwork::new(scenario, Medium::Ethernet);
        Observed(Arc::new(Mutex::new(Watch { network, probes: 0, settled: Settled::default() })))
    }

    /// Probes that entered the network.
    pub(crate) fn probes(&self) -> u64 {
        self.lock().probes
    }

    /// What came later; none if nothing did.
    pub(crate) fn later(&self) -> Option<Later> {
        let watch = self.lock();
        let settled = &watch.settled;
        let lost = watch.lost() - settled.lost_before?;
        let seconds = (settled.busy * PIECE) as f64 / 1e9;
        Some(Later { rate: settled.probes as f64 / seconds, loss: lost as f64 / settled.probes as f64 })
    }

    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    fn lost(&self) -> u64 {
        let tally = self.network.effects_tally();
        tally.lost_out + tally.queue_full
    }

    fn count(&mut self, now: Time) {
        self.probes += 1;
        if now >= Time::from(SETTLED) {
            let (lost, piece) = (self.lost(), now.0 / PIECE);
            self.settled.lost_before.get_or_insert(lost);
            self.settled.probes += 1;
            self.settled.busy += u64::from(piece != self.settled.last);
            self.settled.last = piece;
        }
    }
}

impl Network for Observed {
    /// Only probes are sent here: nobody closes connections in a simulation.
    fn send(&mut self, now: Time, frame: &[u8]) {
        let mut watch = self.lock();
        watch.count(now);
        Network::send(&mut watch.network, now, frame);
    }

    fn next_arrival(&self) -> Option<Time> {
        Network::next_arrival(&self.lock().network)
    }

    fn receive(&mut self, now: Time, sink: &mut dyn FnMut(Time, &[u8])) {
        Network::receive(&mut self.lock().network, now, sink);
    }
}
