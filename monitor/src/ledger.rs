//! What is known of the ports of one host: runs of neighbouring ports that have been the same since the same moment. Setting a
//! port cuts the run that it was part of. Time past is not kept here: each change says which rows of the history it cuts
//! and which it adds.

use halfopen_results::record::{Name, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a port is, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Open, closed, filtered.
    pub state: State,
    /// `syn-ack`, `rst`, `no-response`, ...
    pub reason: Name,
    /// TTL of the answer; of open ports only, so that others can share a run.
    pub ttl: Option<u8>,
    /// Time of the answer, microseconds; of open ports only.
    pub rtt_us: Option<u64>,
}

/// Neighbouring ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The lowest,
    pub first: u16,
    /// and the highest.
    pub last: u16,
    /// Since when.
    pub since: Timestamp,
    /// What they are.
    pub fact: Fact,
}

/// The ports of one host and protocol.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger(Vec<Run>);

/// What a change does to the history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cut {
    /// Runs that were written and are so no more: they become these that follow.
    pub removed: Vec<Run>,
    /// Parts of them that end now.
    pub ended: Vec<Run>,
    /// What goes on or begins.
    pub begun: Vec<Run>,
}

impl Cut {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.begun.is_empty()
    }
}

impl Ledger {
    /// Of runs in any order that do not overlap.
    pub fn new(mut runs: Vec<Run>) -> Ledger {
        runs.sort_unstable_by_key(|run| run.first);
        Ledger(runs)
    }

    /// The runs, ascending and apart.
    pub fn runs(&self) -> &[Run] {
        &self.0
    }

    /// What is known of a port.
    pub fn at(&self, port: u16) -> Option<&Run> {
        let at = self.0.partition_point(|run| run.last < port);
        self.0.get(at).filter(|run| run.first <= port)
    }

    /// How many ports are in that state.
    pub fn count(&self, state: State) -> u32 {
        let of = |run: &&Run| run.fact.state == state;
        self.0.iter().filter(of).map(|run| u32::from(run.last - run.first) + 1).sum()
    }

    /// From now on these ports are so; without a fact, nothing is known of them any more.
    pub fn set(&mut self, first: u16, last: u16, fact: Option<Fact>, now: Timestamp) -> Cut {
        let from = self.0.partition_point(|run| run.last < first);
        let to = from + self.0[from..].partition_point(|run| run.first <= last);
        let removed = self.0[from..to].to_vec();
        let part = |run: &Run, first, last| Run { first, last, ..run.clone() };
        // What began in this very moment has never been.
        let lasted = removed.iter().filter(|run| run.since < now);
        let ended = lasted.map(|run| part(run, run.first.max(first), run.last.min(last))).collect();
        let before = removed.first().filter(|run| run.first < first).map(|run| part(run, run.first, first - 1));
        let after = removed.last().filter(|run| run.last > last).map(|run| part(run, last + 1, run.last));
        let new = fact.map(|fact| Run { first, last, since: now, fact });
        let begun: Vec<Run> = before.into_iter().chain(new).chain(after).collect();
        self.0.splice(from..to, begun.iter().cloned());
        Cut { removed, ended, begun }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fact(state: State) -> Fact {
        Fact { state, reason: "x".into(), ttl: None, rtt_us: None }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_port_cuts_the_run_that_it_was_part_of() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.set(0, 65535, Some(fact(State::Filtered)), at(1)).begun.len(), 1);
        let cut = ledger.set(443, 443, Some(fact(State::Open)), at(2));
        assert_eq!(cut.removed.len(), 1);
        assert_eq!(cut.ended.iter().map(|run| (run.first, run.last)).collect::<Vec<_>>(), [(443, 443)]);
        let begun: Vec<_> = cut.begun.iter().map(|run| (run.first, run.last, run.since)).collect();
        assert_eq!(begun, [(0, 442, at(1)), (443, 443, at(2)), (444, 65535, at(1))]);
        assert_eq!(ledger.count(State::Filtered), 65535);
        assert_eq!(ledger.set(0, 65535, None, at(3)).ended.len(), 3);
        assert!(ledger.runs().is_empty() && ledger.at(443).is_none());
    }

    proptest! {
        /// Ledger and written rows say the same as an array of states, at any time.
        #[test]
        fn agrees_with_an_array(steps in prop::collection::vec((0u16..40, 0u16..12, 0usize..4), 1..40)) {
            let mut ledger = Ledger::default();
            let mut rows: Vec<(Run, Option<Timestamp>)> = Vec::new();
            let mut past = vec![[None; 64]];
            for (number, &(first, more, state)) in steps.iter().enumerate() {
                let now = at(number as i64 + 1);
                let state = State::ALL.get(state).copied();
                let cut = ledger.set(first, first + more, state.map(fact), now);
                rows.retain(|(run, until)| until.is_some() || !cut.removed.contains(run));
                rows.extend(cut.ended.into_iter().map(|run| (run, Some(now))));
                rows.extend(cut.begun.into_iter().map(|run| (run, None)));
                let mut array = *past.last().unwrap();
                array[usize::from(first)..=usize::from(first + more)].fill(state);
                past.push(array);
            }
            for (second, array) in past.iter().enumerate() {
                for (port, &state) in array.iter().enumerate() {
                    let holds = |(run, until): &&(Run, Option<Timestamp>)| {
                        usize::from(run.first) <= port && port <= usize::from(run.last)
                            && run.since <= at(second as i64) && until.is_none_or(|until| at(second as i64) < until)
                    };
                    let rows: Vec<_> = rows.iter().filter(holds).map(|(run, _)| run.fact.state).collect();
                    prop_assert_eq!(rows, Vec::from_iter(state));
                }
            }
            for (port, &state) in past.last().unwrap().iter().enumerate() {
                prop_assert_eq!(ledger.at(port as u16).map(|run| run.fact.state), state);
            }
        }
    }
}
