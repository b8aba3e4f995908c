//! How many probes may leave now: holds a fixed rate over time, in short bursts.
//!
//! Two limits at once. The *schedule* is what is owed since the start: `elapsed x rate`, less what was sent. It makes
//! the mean exact, because time lost to a late wake-up is made good. The *bucket* keeps making good from becoming a
//! burst: it fills at 5/4 of the rate and holds at most one burst (1 ms worth, or one batch if that is more). What is
//! owed is forgotten beyond 50 ms worth, so that a machine that slept does not come back with a flood.
//!
//! Pure: time comes in as an argument. What the rate should be is decided elsewhere.

use crate::time::Time;

/// Probes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pps(pub u64);

/// How fast a scan sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Rate {
    /// The highest at which answers are not lost, found while scanning.
    #[default]
    Auto,
    /// This many probes a second, whatever is lost; only hosts that ration their answers are asked more slowly in later passes.
    Fixed(Pps),
    /// As fast as the link takes them.
    Max,
}

impl Rate {
    /// The share of one of so many senders: an even one, what does not divide spread over the first.
    pub(crate) fn share(self, number: usize, of: usize) -> Rate {
        let (number, of) = (number as u64, of as u64);
        match self {
            Rate::Fixed(Pps(pps)) => Rate::Fixed(Pps(pps / of + u64::from(number < pps % of))),
            other => other,
        }
    }
}

/// Time worth of probes that a burst may hold.
const BURST_NANOS: u64 = 1_000_000;
/// Time worth of probes that may be owed before they are forgotten.
const DEBT_NANOS: u64 = 50_000_000;
const NANOS: u64 = 1_000_000_000;
/// Probes more than allowed that are remembered when the rate changes: what was sent without one is nobody's debt.
const MOST_OVERDRAWN: f64 = 64.0;

/// Says how many probes may leave now.
#[derive(Debug, Clone)]
pub struct Pace {
    rate: Option<u64>,
    batch: u64,
    origin: Time,
    sent: u64,
    bucket: f64,
    filled: Time,
}

impl Pace {
    /// A pace that starts at `now`; without a number, as fast as it is asked. A batch may always leave whole: asking for
    /// less would only cost system calls.
    pub fn new(rate: Rate, batch: usize, now: Time) -> Self {
        let rate = match rate {
            Rate::Fixed(Pps(pps)) => Some(pps.max(1)),
            Rate::Auto | Rate::Max => None,
        };
        Pace { rate, batch: batch.max(1) as u64, origin: now, sent: 0, bucket: 1.0, filled: now }
    }

    /// Goes on at another rate from `now`.
    pub fn change(&mut self, rate: Rate, now: Time) {
        if let Some(rate) = self.rate {
            self.fill(rate, now);
        }
        self.rate = match rate {
            Rate::Fixed(Pps(pps)) => Some(pps.max(1)),
            Rate::Auto | Rate::Max => None,
        };
        self.bucket = self.bucket.min(self.rate.map_or(f64::MAX, |rate| self.burst(rate) as f64)).max(-MOST_OVERDRAWN);
        self.filled = self.filled.max(now);
        self.restart(now);
    }

    /// How many probes may leave now, at most one burst.
    pub fn allowance(&mut self, now: Time) -> u64 {
        let Some(rate) = self.rate else { return self.batch };
        self.fill(rate, now);
        self.owed(rate, now).min(self.bucket as u64)
    }

    /// Says that `probes` have left.
    #[inline]
    pub fn spend(&mut self, probes: u64) {
        self.sent += probes;
        self.bucket -= probes as f64;
    }

    /// When the next probe is due; not later than that it makes sense to ask again.
    pub fn next(&self, now: Time) -> Time {
        let Some(rate) = self.rate else { return now };
        let scheduled = Time(self.origin.0 + duration_of(self.sent, rate));
        let missing = (1.0 - self.bucket).max(0.0) * NANOS as f64 * 0.8 / rate as f64;
        // A nanosecond more, or rounding could leave the bucket not quite full for ever.
        let filled = Time(self.filled.0 + missing.ceil() as u64 + u64::from(missing > 0.0));
        scheduled.max(filled)
    }

    /// Begins anew at `now`, owing nothing: time in which nothing was to be sent is not made good.
    pub fn restart(&mut self, now: Time) {
        (self.origin, self.sent) = (now, 0);
    }

    fn fill(&mut self, rate: u64, now: Time) {
        let gained = now.since(self.filled).as_secs_f64() * rate as f64 * 1.25;
        self.bucket = (self.bucket + gained).min(self.burst(rate) as f64);
        self.filled = self.filled.max(now);
    }

    fn burst(&self, rate: u64) -> u64 {
        let millisecond = (u128::from(rate) * u128::from(BURST_NANOS) / u128::from(NANOS)) as u64;
        // A batch of 64 at 10 probes a second would be a burst of six seconds. But two, or a late one is never made good.
        if rate < 64_000 { millisecond.max(2) } else { millisecond.max(self.batch) }
    }

    /// Probes due by `now` and not sent; the first is due at the origin.
    fn owed(&mut self, rate: u64, now: Time) -> u64 {
        let debt = now.0.saturating_sub(self.origin.0).saturating_sub(duration_of(self.sent, rate));
        if debt > DEBT_NANOS {
            self.origin = self.origin + std::time::Duration::from_nanos(debt - DEBT_NANOS);
        }
        let elapsed = now.0.saturating_sub(self.origin.0);
        let due = (u128::from(elapsed) * u128::from(rate) / u128::from(NANOS)) as u64 + 1;
        due.saturating_sub(self.sent)
    }
}

/// Nanoseconds that so many probes take.
fn duration_of(probes: u64, rate: u64) -> u64 {
    u64::try_from((u128::from(probes) * u128::from(NANOS)).div_ceil(u128::from(rate))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends for `seconds` of virtual time, asking when `next` says plus a delay, and returns (sent, largest burst).
    fn run(rate: u64, seconds: f64, delay: impl Fn(u64) -> u64) -> (u64, u64) {
        let mut pace = Pace::new(Rate::Fixed(Pps(rate)), 64, Time::ZERO);
        let (mut now, mut sent, mut largest, mut turn) = (Time::ZERO, 0, 0, 0);
        while now.0 < (seconds * 1e9) as u64 {
            let allowed = pace.allowance(now);
            pace.spend(allowed);
            (sent, largest, turn) = (sent + allowed, largest.max(allowed), turn + 1);
            now = Time(pace.next(now).0.max(now.0 + 1) + delay(turn));
        }
        (sent, largest)
    }

    #[test]
    fn holds_the_rate_within_one_percent() {
        for rate in [10, 100, 1_000, 10_000, 123_457, 1_000_000, 14_880_000] {
            let seconds = if rate < 1000 { 20.0 } else { 2.0 };
            for lateness in [0, 50_000, 900_000] {
                let (sent, _) = run(rate, seconds, |_| lateness);
                let wanted = rate as f64 * seconds;
                assert!((sent as f64 - wanted).abs() <= wanted / 100.0 + 1.0, "{rate} {lateness}: {sent}");
            }
        }
    }

    /// Late wake-ups as a busy machine has them: most by some microseconds, one in ten by up to a millisecond, one in a
    /// hundred by up to five.
    fn jitter(state: &mut u64) -> u64 {
        let drawn = crate::permute::splitmix64(state);
        let most = match drawn % 100 {
            0 => 5_000_000,
            1..=10 => 1_000_000,
            _ => 60_000,
        };
        (drawn >> 32) % most
    }

    /// Against jitter: the mean over a long time, and what leaves within any millisecond.
    #[test]
    fn jitter_moves_neither_the_mean_nor_the_burst_bound() {
        for rate in [10, 100, 1_000, 10_000, 100_000, 1_000_000, 5_000_000] {
            for mut seed in 1..4 {
                let end = Time(if rate < 1000 { 20 * NANOS } else { 3 * NANOS });
                let mut pace = Pace::new(Rate::Fixed(Pps(rate)), 64, Time::ZERO);
                let burst = pace.burst(rate);
                let (mut now, mut sent) = (Time::ZERO, 0);
                let mut window: std::collections::VecDeque<(Time, u64)> = [].into();
                while now < end {
                    let allowed = pace.allowance(now);
                    assert!(allowed <= burst, "{rate}: {allowed}");
                    pace.spend(allowed);
                    sent += allowed;
                    window.push_back((now, allowed));
                    window.retain(|(at, _)| now.since(*at).as_nanos() < u128::from(BURST_NANOS));
                    let within: u64 = window.iter().map(|(_, probes)| probes).sum();
                    // A full bucket, and what flows in meanwhile at 5/4 of the rate.
                    assert!(within <= burst + rate / 800 + 1, "{rate}: {within} within a millisecond");
                    now = Time(pace.next(now).0.max(now.0 + 1) + jitter(&mut seed));
                }
                let wanted = (u128::from(now.0) * u128::from(rate) / u128::from(NANOS)) as f64;
                assert!((sent as f64 - wanted).abs() <= wanted / 100.0 + 1.0, "{rate}, {seed}: {sent} of {wanted}");
            }
        }
    }

    #[test]
    fn bursts_stay_within_a_millisecond_or_a_batch() {
        for (rate, most) in [(10, 2), (10_000, 10), (64_000, 64), (1_000_000, 1_000)] {
            // Every hundredth wake-up is 20 ms late.
            let (_, largest) = run(rate, 2.0, |turn| if turn % 100 == 0 { 20_000_000 } else { 0 });
            assert!(largest <= most, "{rate}: {largest}");
        }
    }

    #[test]
    fn a_late_wake_up_is_made_good_but_sleep_is_not() {
        let (sent, _) = run(10_000, 2.0, |turn| if turn == 5_000 { 30_000_000 } else { 0 });
        assert!((19_900..=20_001).contains(&sent), "{sent}");
        let (sent, _) = run(10_000, 2.0, |turn| if turn == 5_000 { 1_000_000_000 } else { 0 });
        assert!((10_000..=10_600).contains(&sent), "{sent}");
    }

    #[test]
    fn shares_add_up() {
        for (pps, of) in [(10, 3), (10, 10), (1_000_001, 16), (7, 1)] {
            let shares = (0..of).map(|number| Rate::Fixed(Pps(pps)).share(number, of));
            let shares: Vec<u64> =
                shares.map(|share| if let Rate::Fixed(Pps(pps)) = share { pps } else { 0 }).collect();
            assert_eq!(shares.iter().sum::<u64>(), pps);
            assert!(shares.iter().all(|share| share.abs_diff(pps / of as u64) <= 1), "{shares:?}");
        }
        assert_eq!(Rate::Max.share(1, 3), Rate::Max);
    }

    #[test]
    fn time_goes_on_whatever_the_rates() {
        let (mut state, mut now) = (7, Time(1));
        let mut pace = Pace::new(Rate::Max, 64, now);
        for _ in 0..1000 {
            pace.spend(crate::permute::splitmix64(&mut state) % 100);
            pace.change(Rate::Fixed(Pps(1 + crate::permute::splitmix64(&mut state) % 3_000_000)), now);
            for _ in 0..50 {
                let allowed = pace.allowance(now);
                pace.spend(allowed);
                let next = pace.next(now);
                assert!(allowed > 0 || next > now, "{pace:?}");
                now = next.max(now);
            }
        }
    }

    #[test]
    fn a_restart_owes_nothing() {
        let mut pace = Pace::new(Rate::Fixed(Pps(1000)), 64, Time::ZERO);
        pace.spend(1);
        pace.restart(Time(40_000_000));
        assert_eq!(pace.allowance(Time(40_000_000)), 1);
    }

    #[test]
    fn max_is_a_batch_at_any_time() {
        let mut pace = Pace::new(Rate::Max, 64, Time::ZERO);
        pace.spend(1 << 40);
        assert_eq!(pace.allowance(Time::ZERO), 64);
        assert_eq!(pace.next(Time(5)), Time(5));
    }
}
