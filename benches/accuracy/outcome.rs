//! What one scan came to.

use std::time::Duration;

use halfopen::Plan;

use crate::contender::Contender;
use crate::observed::{Later, Observed};
use crate::scene::Scene;
use crate::truth::{Differences, States};

/// What a contender said at its end.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) states: States,
    /// Virtual time, waits included.
    pub(crate) elapsed: Duration,
    /// The interval that it stated for the open targets still missing, if it did.
    pub(crate) held: Option<(f64, f64)>,
}

/// One scan, judged.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) differences: Differences,
    pub(crate) targets: u64,
    pub(crate) probes: u64,
    pub(crate) elapsed: Duration,
    pub(crate) later: Option<Later>,
    /// Whether the stated interval held the truth.
    pub(crate) held: Option<bool>,
}

impl Outcome {
    /// Plays a scene.
    pub(crate) fn of(scene: &Scene, contender: Contender, seed: u64) -> Outcome {
        let (plan, scenario) = (scene.plan(), scene.scenario(seed));
        let truth = States::of(&scenario, &plan);
        let network = Observed::new(scenario);
        let said = contender.scan(&plan, &network, seed);
        Outcome::judged(&plan, &truth, &network, &said)
    }

    fn judged(plan: &Plan, truth: &States, network: &Observed, said: &Said) -> Outcome {
        let differences = truth.judge(&said.states);
        let missing = (differences.open - differences.found) as f64;
        let holds = |(least, most): (f64, f64)| (least..=most).contains(&missing);
        Outcome {
            differences,
            targets: plan.len(),
            probes: network.probes(),
            elapsed: said.elapsed,
            later: network.later(),
            held: said.held.map(holds),
        }
    }

    /// The share of the open targets that was found.
    pub(crate) fn found(&self) -> f64 {
        self.differences.found as f64 / self.differences.open.max(1) as f64
    }
}
