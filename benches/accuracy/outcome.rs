//! What one scan came to.

use std::time::Duration;

use halfopen::{Interval, Plan, Target};

use crate::contender::Contender;
use crate::observed::{Later, Observed};
use crate::scene::Scene;
use crate::truth::{Differences, States};

/// How many missed targets are told one by one.
const TOLD: usize = 5;

/// What a contender said at its end.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) states: States,
    /// Virtual time, waits included.
    pub(crate) elapsed: Duration,
    /// How many open targets are still missing, by its own word, if it says so.
    pub(crate) stated: Option<Interval>,
}

/// One scan, judged.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) differences: Differences,
    /// Some of the open targets that were not found.
    pub(crate) missed: Vec<Target>,
    pub(crate) targets: u64,
    pub(crate) probes: u64,
    pub(crate) elapsed: Duration,
    pub(crate) later: Option<Later>,
    pub(crate) stated: Option<Interval>,
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
        Outcome {
            differences: truth.judge(&said.states),
            missed: truth.missed(&said.states).take(TOLD).filter_map(|index| plan.target(index)).collect(),
            targets: plan.len(),
            probes: network.probes(),
            elapsed: said.elapsed,
            later: network.later(),
            stated: said.stated,
        }
    }

    /// Open targets that were not found.
    pub(crate) fn missing(&self) -> u64 {
        self.differences.open - self.differences.found
    }

    /// Whether the stated interval holds the truth; none if nothing was stated.
    pub(crate) fn holds(&self) -> Option<bool> {
        self.stated.map(|stated| stated.contains(self.missing() as f64))
    }

    /// The share of the open targets that was found.
    pub(crate) fn found(&self) -> f64 {
        self.differences.found as f64 / self.differences.open.max(1) as f64
    }
}
