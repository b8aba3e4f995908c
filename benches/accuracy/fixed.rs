//! Scanning without looking back: one probe a target in a shuffled order at a fixed rate, then ten seconds for late
//! answers. No state, no second probe, no reaction: as masscan and zmap do by default (`--wait 10`, `-c 8`).

use std::time::Duration;

use halfopen::link::sim::Network;
use halfopen::permute::Permutation;
use halfopen::{Plan, Position, Time};

use crate::outcome::Said;
use crate::prober::Prober;
use crate::truth::States;

const WAIT: Duration = Duration::from_secs(10);

/// Scans at so many probes a second.
pub(crate) fn scan(rate: u32, plan: &Plan, mut network: impl Network, seed: u64) -> Said {
    let (order, mut prober) = (Permutation::new(plan.len(), seed), Prober::new(1, seed));
    let mut states = States::silent(plan);
    let mut now = Time::ZERO;
    for position in 0..plan.len() {
        now = Time((u128::from(position) * 1_000_000_000 / u128::from(rate)) as u64);
        listen(&prober, &mut network, now, plan, &mut states);
        if let Some(target) = plan.target(order.index(Position(position))) {
            prober.probe(&mut network, now, target, 0);
        }
    }
    let end = now + WAIT;
    listen(&prober, &mut network, end, plan, &mut states);
    Said { states, elapsed: end.since(Time::ZERO), stated: None }
}

/// The first answer counts.
fn listen(prober: &Prober, network: &mut impl Network, now: Time, plan: &Plan, states: &mut States) {
    network.receive(now, &mut |_, frame| {
        let Some(answer) = prober.read(frame) else { return };
        if let Some(index) = plan.index(answer.target)
            && states.at(index) == halfopen::State::Filtered
        {
            states.set(index, answer.state);
        }
    });
}
