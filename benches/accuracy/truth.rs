//! What is so, and what was said, target by target.

use halfopen::{Index, Plan, State};
use halfopen_lab::Scenario;

/// A state for every target of a plan, by its index.
#[derive(Debug, Clone)]
pub(crate) struct States(Vec<State>);

/// How what was said differs from what is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Differences {
    pub(crate) open: u64,
    pub(crate) found: u64,
    pub(crate) false_open: u64,
    pub(crate) false_closed: u64,
    pub(crate) missed_closed: u64,
}

impl States {
    /// As they are in a scenario.
    pub(crate) fn of(scenario: &Scenario, plan: &Plan) -> States {
        let targets = (0..plan.len()).filter_map(|index| plan.target(Index(index)));
        States(targets.map(|target| scenario.expected(target).state).collect())
    }

    /// As they are for somebody who has heard nothing.
    pub(crate) fn silent(plan: &Plan) -> States {
        States(vec![State::Filtered; plan.len() as usize])
    }

    pub(crate) fn set(&mut self, index: Index, state: State) {
        self.0[index.0 as usize] = state;
    }

    pub(crate) fn at(&self, index: Index) -> State {
        self.0[index.0 as usize]
    }

    /// Holds what was said against this truth.
    pub(crate) fn judge(&self, said: &States) -> Differences {
        let mut differences = Differences::default();
        for pair in self.0.iter().zip(&said.0) {
            match pair {
                (State::Open, State::Open) => differences.found += 1,
                (_, State::Open) => differences.false_open += 1,
                (State::Closed, State::Closed) => {}
                (_, State::Closed) => differences.false_closed += 1,
                (State::Closed, State::Filtered) => differences.missed_closed += 1,
                (_, State::Filtered) => {}
            }
            differences.open += u64::from(*pair.0 == State::Open);
        }
        differences
    }

    /// Those that are open and were not said to be.
    pub(crate) fn missed<'a>(&'a self, said: &'a States) -> impl Iterator<Item = Index> + 'a {
        let pairs = self.0.iter().zip(&said.0).zip(0..);
        pairs.filter(|((is, said), _)| **is == State::Open && **said != State::Open).map(|(_, index)| Index(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_is_told_apart() {
        use State::{Closed, Filtered, Open};
        let pairs = [Open, Closed, Filtered].map(|is| [Open, Closed, Filtered].map(|said| (is, said))).concat();
        let (is, said) = pairs.into_iter().unzip();
        let (is, said) = (States(is), States(said));
        assert_eq!(is.missed(&said).collect::<Vec<_>>(), [Index(1), Index(2)]);
        let differences = is.judge(&said);
        let expected = Differences { open: 3, found: 1, false_open: 2, false_closed: 2, missed_closed: 1 };
        assert_eq!(differences, expected);
    }
}
