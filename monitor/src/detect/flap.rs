//! How restless a port is: Nagios's measure. Of the last 21 scans, each pair of neighbours that differ counts, the newest
//! half as much again as the oldest (1.2 against 0.8); the sum as a share of all pairs. Two thresholds, so that it is
//! not the measure that flaps. (Nagios Core documentation, "Detection and Handling of State Flapping".)

use serde::{Deserialize, Serialize};

/// What the last scans saw of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Flap {
    /// The newest scan is the lowest bit; set where the port differed from the scan before.
    changes: u32,
    /// Whether it was open in the newest.
    is_open: bool,
    /// Whether it counts as unstable.
    pub unstable: bool,
}

/// Pairs of neighbours among 21 scans.
const PAIRS: u32 = 20;

impl Flap {
    /// Of a port that has been so for long.
    pub fn new(is_open: bool) -> Flap {
        Flap { changes: 0, is_open, unstable: false }
    }

    /// Another scan saw it.
    pub fn saw(&mut self, is_open: bool, above: f64, below: f64) {
        self.changes = (self.changes << 1 | u32::from(is_open != self.is_open)) & ((1 << PAIRS) - 1);
        self.is_open = is_open;
        self.unstable = self.percent() >= if self.unstable { below } else { above };
    }

    /// How restless it is, in percent.
    pub fn percent(&self) -> f64 {
        let weight = |age: u32| 1.2 - 0.4 * f64::from(age) / f64::from(PAIRS - 1);
        let sum: f64 = (0..PAIRS).filter(|age| self.changes >> age & 1 == 1).map(weight).sum();
        sum * 100.0 / f64::from(PAIRS)
    }

    /// Whether nothing has changed in all these scans.
    pub fn is_calm(&self) -> bool {
        self.changes == 0 && !self.unstable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(states: &[bool]) -> Flap {
        let mut flap = Flap::new(false);
        states.iter().for_each(|&is_open| flap.saw(is_open, 20.0, 5.0));
        flap
    }

    #[test]
    fn the_newest_changes_weigh_most() {
        let always: Vec<bool> = (0..40).map(|scan| scan % 2 == 0).collect();
        assert!((played(&always).percent() - 100.0).abs() < 1e-9);
        assert!((played(&[true]).percent() - 6.0).abs() < 1e-9);
        let mut long_ago = vec![true; 20];
        assert!((played(&long_ago).percent() - 4.0).abs() < 1e-9);
        long_ago.push(true);
        assert!(played(&long_ago).is_calm());
    }

    #[test]
    fn unstable_begins_high_and_ends_low() {
        assert!(!played(&[true, false, true]).unstable);
        assert!(played(&[true, false, true, false]).unstable);
        let mut calming = vec![true, false, true, false];
        calming.extend([false; 17]);
        assert!(played(&calming).unstable, "{}", played(&calming).percent());
        calming.extend([false; 2]);
        assert!(!played(&calming).unstable, "{}", played(&calming).percent());
    }
}
