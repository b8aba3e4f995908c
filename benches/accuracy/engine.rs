//! halfopen itself, with its defaults: the engine's own simulation.

use halfopen::{Event, Plan, Scan, State, simulate};
use halfopen_lab::gateway_place;

use crate::observed::Observed;
use crate::outcome::Said;
use crate::truth::States;

/// Scans.
pub(crate) fn scan(plan: &Plan, network: Observed, seed: u64) -> Said {
    let builder = Scan::builder(plan.clone()).seed(seed).report(&[State::Open, State::Closed]);
    let (events, summary) = simulate(builder, gateway_place(), network).expect("the defaults are sound");
    let mut states = States::silent(plan);
    for event in events {
        if let Event::Verdict(verdict) = event
            && let Some(index) = plan.index(verdict.target)
        {
            states.set(index, verdict.state);
        }
    }
    Said { states, elapsed: summary.elapsed, stated: summary.completeness.and_then(|stated| stated.missing_open) }
}
