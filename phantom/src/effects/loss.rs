//! Loss of packets: each by itself, or in bursts.
//!
//! Bursts are Gilbert and Elliott's model (Gilbert, "Capacity of a burst-noise channel", Bell System Technical Journal
//! 39, 1960) in its simplest form: a chain of two states, all lost in one and nothing in the other, that takes a step with
//! every packet. The mean loss and the mean length of a burst decide both of its probabilities.

use crate::random::Random;

/// How much is lost, and how much of it at a time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Loss {
    /// The share of packets.
    pub(crate) mean: f64,
    /// Packets that are lost in a row, on average; none loses each by itself.
    pub(crate) burst: Option<f64>,
}

impl Loss {
    /// Whether there is a chain with these figures: bursts of less than a packet are none, and between two of them there
    /// must be a packet that arrives.
    pub(crate) fn is_possible(&self) -> bool {
        (0.0..=1.0).contains(&self.mean) && self.burst.is_none_or(|burst| burst >= 1.0 && self.begins(burst) <= 1.0)
    }

    /// The probability with which a packet begins a burst: the chain loses `begins / (begins + 1 / burst)` of all.
    fn begins(&self, burst: f64) -> f64 {
        self.mean / ((1.0 - self.mean) * burst)
    }
}

/// Where the chain of one direction stands.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Burst {
    lasts: bool,
}

impl Burst {
    /// Whether the next packet is lost.
    pub(crate) fn takes(&mut self, loss: &Loss, random: &mut Random) -> bool {
        let Some(burst) = loss.burst else { return random.chance(loss.mean) };
        self.lasts = match self.lasts {
            true => !random.chance(1.0 / burst),
            false => random.chance(loss.begins(burst)),
        };
        self.lasts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Share lost, and mean length of what is lost in a row.
    fn played(loss: Loss) -> (f64, f64) {
        const PACKETS: usize = 1_000_000;
        let (mut burst, mut random) = (Burst::default(), Random::new(3));
        let lost: Vec<bool> = (0..PACKETS).map(|_| burst.takes(&loss, &mut random)).collect();
        let all = lost.iter().filter(|&&lost| lost).count() as f64;
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
        (all / PACKETS as f64, all / bursts)
    }

    #[test]
    fn bursts_have_the_mean_and_the_length_that_was_asked_for() {
        for (mean, burst) in [(0.01, 10.0), (0.1, 10.0), (0.1, 2.0), (0.3, 50.0)] {
            let (share, length) = played(Loss { mean, burst: Some(burst) });
            assert!((share / mean - 1.0).abs() < 0.05, "{share} is lost, {mean} asked for");
            assert!((length / burst - 1.0).abs() < 0.05, "{length} in a row, {burst} asked for");
        }
    }

    #[test]
    fn each_by_itself_has_the_bursts_of_chance() {
        let (share, length) = played(Loss { mean: 0.1, burst: None });
        assert!((share - 0.1).abs() < 0.002 && (length - 1.0 / 0.9).abs() < 0.01, "{share}, {length}");
    }

    #[test]
    fn figures_without_a_chain_are_known() {
        let possible = |mean, burst| Loss { mean, burst: Some(burst) }.is_possible();
        assert!(possible(0.5, 1.0) && possible(0.0, 1.0) && possible(0.9, 10.0));
        assert!(!possible(0.6, 1.0) && !possible(0.1, 0.5) && !possible(1.0, 10.0) && !possible(-0.1, 2.0));
        assert!(Loss { mean: 1.0, burst: None }.is_possible());
    }
}
