//! What a port may be: the four things that a rule can ask for, and whether what is known of a port meets them.

use std::fmt;

use halfopen_results::record::State;
use serde::{Deserialize, Serialize};

/// What a rule asks of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expectation {
    /// Something accepts connections.
    Open,
    /// The host answers that nothing listens.
    Closed,
    /// Silence, or an ICMP error: a firewall is before it.
    Filtered,
    /// Closed or filtered.
    NotOpen,
}

impl Expectation {
    /// All of them.
    pub const ALL: [Expectation; 4] =
        [Expectation::Open, Expectation::Closed, Expectation::Filtered, Expectation::NotOpen];

    /// `open`, `not-open`, ...: as in the file.
    pub fn name(self) -> &'static str {
        match self {
            Expectation::Open => "open",
            Expectation::Closed => "closed",
            Expectation::Filtered => "filtered",
            Expectation::NotOpen => "not-open",
        }
    }

    /// Whether a state meets it.
    pub fn is_met_by(self, state: State) -> bool {
        match self {
            Expectation::Open => state == State::Open,
            Expectation::Closed => state == State::Closed,
            Expectation::Filtered => state == State::Filtered,
            Expectation::NotOpen => state != State::Open,
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The states that a port may have, as far as is known. Of none nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Possible {
    open: bool,
    closed: bool,
    filtered: bool,
}

impl Possible {
    /// The states.
    pub fn states(self) -> impl Iterator<Item = State> {
        State::ALL.into_iter().filter(move |&state| self.has(state))
    }

    /// Whether nothing is known.
    pub fn is_empty(self) -> bool {
        self == Possible::default()
    }

    fn has(self, state: State) -> bool {
        match state {
            State::Open => self.open,
            State::Closed => self.closed,
            State::Filtered => self.filtered,
        }
    }

    /// Whether what it may be is all right: yes, no, or nobody can tell.
    pub fn meets(self, is_met: impl Fn(State) -> bool) -> Option<bool> {
        let (any, all) = (self.states().any(&is_met), self.states().all(&is_met));
        (any == all && !self.is_empty()).then_some(all)
    }
}

impl FromIterator<State> for Possible {
    fn from_iter<I: IntoIterator<Item = State>>(states: I) -> Possible {
        states.into_iter().fold(Possible::default(), |possible, state| match state {
            State::Open => Possible { open: true, ..possible },
            State::Closed => Possible { closed: true, ..possible },
            State::Filtered => Possible { filtered: true, ..possible },
        })
    }
}

impl From<State> for Possible {
    fn from(state: State) -> Possible {
        [state].into_iter().collect()
    }
}

/// `closed or filtered`.
impl fmt::Display for Possible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.states().map(State::name).collect();
        f.pad(&if names.is_empty() { "unknown".to_owned() } else { names.join(" or ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_what_they_meet() {
        use State::{Closed, Filtered, Open};
        let met = |of: Expectation| State::ALL.into_iter().filter(|&state| of.is_met_by(state)).collect::<Vec<_>>();
        let expected = [vec![Open], vec![Closed], vec![Filtered], vec![Closed, Filtered]];
        assert_eq!(Expectation::ALL.map(met), expected);
        for of in Expectation::ALL {
            assert_eq!(serde_json::to_value(of).unwrap(), of.name());
        }
    }

    #[test]
    fn what_may_be_either_is_no_answer() {
        use State::{Closed, Filtered, Open};
        let meets = |states: &[State], of: Expectation| {
            states.iter().copied().collect::<Possible>().meets(|state| of.is_met_by(state))
        };
        assert_eq!(meets(&[], Expectation::NotOpen), None);
        assert_eq!(meets(&[Closed, Filtered], Expectation::NotOpen), Some(true));
        assert_eq!(meets(&[Closed, Filtered], Expectation::Open), Some(false));
        assert_eq!(meets(&[Closed, Filtered], Expectation::Closed), None);
        assert_eq!(meets(&[Open], Expectation::Closed), Some(false));
        assert_eq!(Possible::from_iter([Closed, Filtered]).to_string(), "closed or filtered");
    }
}
