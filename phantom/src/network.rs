//! Phantoms in memory, under virtual time: what is sent at one moment arrives, answered, at later ones, and the same
//! seed gives the same frames at the same times. The clock is the caller's.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use halfopen::Time;
use halfopen::link::sim::Network;

use crate::effects::{Effects, EffectsTally};
use crate::phantoms::{Medium, Phantoms};
use crate::scenario::Scenario;
use crate::schedule::{Waiting, answer};

/// A simulated network, seen from the scanner's end.
#[derive(Debug)]
pub struct SimNetwork {
    phantoms: Phantoms,
    effects: Effects,
    arrivals: BinaryHeap<Reverse<Waiting>>,
    made: u64,
}

impl SimNetwork {
    /// The network of a scenario, with frames of this kind.
    pub fn new(scenario: Scenario, medium: Medium) -> SimNetwork {
        SimNetwork::of(Phantoms::new(scenario, medium))
    }

    /// The network of these phantoms.
    pub fn of(phantoms: Phantoms) -> SimNetwork {
        let effects = Effects::of(phantoms.scenario());
        SimNetwork { phantoms, effects, arrivals: BinaryHeap::new(), made: 0 }
    }

    /// The scanner sends a frame. Times must not go back from one call to the next.
    pub fn send(&mut self, now_ns: u64, frame: &[u8]) {
        let SimNetwork { phantoms, effects, arrivals, made } = self;
        answer(phantoms, effects, now_ns, frame, &mut |delay, frame| {
            *made += 1;
            arrivals.push(Reverse(Waiting { due: now_ns + delay, sequence: *made, frame }));
        });
    }

    /// When the next frame reaches the scanner; none if nothing is on its way.
    pub fn next_arrival(&self) -> Option<u64> {
        self.arrivals.peek().map(|Reverse(first)| first.due)
    }

    /// The next frame that has reached the scanner by now, and when it did.
    pub fn receive(&mut self, now_ns: u64) -> Option<(u64, Vec<u8>)> {
        let arrived = self.next_arrival().is_some_and(|due| due <= now_ns);
        let Reverse(first) = arrived.then(|| self.arrivals.pop()).flatten()?;
        Some((first.due, first.frame))
    }

    /// The hosts, and what they saw.
    pub fn phantoms(&self) -> &Phantoms {
        &self.phantoms
    }

    /// What the way did to packets so far.
    pub fn effects_tally(&self) -> EffectsTally {
        self.effects.tally()
    }
}

impl Network for SimNetwork {
    fn send(&mut self, now: Time, frame: &[u8]) {
        SimNetwork::send(self, now.0, frame);
    }

    fn next_arrival(&self) -> Option<Time> {
        SimNetwork::next_arrival(self).map(Time)
    }

    fn receive(&mut self, now: Time, sink: &mut dyn FnMut(Time, &[u8])) {
        while let Some((at, frame)) = SimNetwork::receive(self, now.0) {
            sink(Time(at), &frame);
        }
    }
}

#[cfg(test)]
mod tests;
