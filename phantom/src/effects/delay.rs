//! Delays as chance has them: none, a range, a bell, a long tail.

use crate::random::Random;

/// How a delay is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spread {
    /// `uniform`: anything from nothing to this much.
    #[default]
    Uniform,
    /// `normal`: a bell around nothing with this standard deviation, cut off where time would run backwards.
    Normal,
    /// `long-tailed`: log-normal with this median; one in a hundred takes ten times as long, one in a thousand twenty.
    LongTailed,
}

/// A delay of some spread. Times in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Delay {
    /// What is always there.
    pub(crate) least: u64,
    /// How much chance adds.
    pub(crate) jitter: u64,
    pub(crate) spread: Spread,
}

/// The logarithm's standard deviation.
const TAIL: f64 = 1.0;

impl Delay {
    /// The next packet's.
    pub(crate) fn draw(&self, random: &mut Random) -> u64 {
        if self.jitter == 0 {
            return self.least;
        }
        let jitter = self.jitter as f64;
        match self.spread {
            Spread::Uniform => self.least + random.below(self.jitter),
            Spread::Normal => (self.least as f64 + jitter * bell(random)).max(0.0) as u64,
            // To the microsecond: the last digits of exp differ between machines.
            Spread::LongTailed => self.least + (jitter * (TAIL * bell(random)).exp()) as u64 / 1000 * 1000,
        }
    }
}

/// Standard normal, nearly: a sum of twelve uniform numbers has variance one (Irwin and Hall), and is the same on every
/// machine.
fn bell(random: &mut Random) -> f64 {
    (0..12).map(|_| random.share()).sum::<f64>() - 6.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 100_000;

    fn sorted(spread: Spread) -> Vec<u64> {
        let delay = Delay { least: 50_000_000, jitter: 10_000_000, spread };
        let mut random = Random::new(1);
        let mut draws: Vec<u64> = (0..DRAWS).map(|_| delay.draw(&mut random)).collect();
        draws.sort_unstable();
        draws
    }

    /// Whether a quantile is so many milliseconds, give or take 4 % (the sum of twelve has thinner tails than a bell).
    fn assert_quantile(draws: &[u64], share: f64, milliseconds: f64) {
        let found = draws[(share * DRAWS as f64) as usize] as f64 / 1e6;
        assert!((found / milliseconds - 1.0).abs() < 0.04, "{share}: {found} ms, expected {milliseconds}");
    }

    #[test]
    fn spreads_have_their_quantiles() {
        let uniform = sorted(Spread::Uniform);
        for (share, is) in [(0.0, 50.0), (0.5, 55.0), (0.99, 59.9)] {
            assert_quantile(&uniform, share, is);
        }
        let normal = sorted(Spread::Normal);
        for (share, is) in [(0.023, 30.0), (0.5, 50.0), (0.977, 70.0)] {
            assert_quantile(&normal, share, is);
        }
        let tailed = sorted(Spread::LongTailed);
        for (share, is) in [(0.5, 60.0), (0.9, 86.0), (0.99, 152.4)] {
            assert_quantile(&tailed, share, is);
        }
    }

    #[test]
    fn without_jitter_nothing_is_drawn() {
        let (mut random, delay) = (Random::new(1), Delay { least: 7, ..Delay::default() });
        assert_eq!(delay.draw(&mut random), 7);
        assert_eq!(random.share().to_bits(), Random::new(1).share().to_bits());
    }
}
