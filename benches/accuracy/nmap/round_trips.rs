//! Round-trip times and the timeout that follows from them (adjust_timeouts2 in timing.cc), with the bounds of `-T4`.

use std::time::Duration;

const INITIAL: i64 = 500_000;
const LEAST: i64 = 100_000;
const MOST: i64 = 1_250_000;

/// An estimate, in microseconds.
#[derive(Debug, Clone)]
pub(super) struct RoundTrips {
    /// Smoothed, and its variance; none before the first.
    estimate: Option<(i64, i64)>,
    timeout: i64,
}

impl RoundTrips {
    pub(super) fn new() -> RoundTrips {
        RoundTrips { estimate: None, timeout: INITIAL }
    }

    pub(super) fn is_taught(&self) -> bool {
        self.estimate.is_some()
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_micros(self.timeout as u64)
    }

    /// An answer took so long; `scan_delay` is the least time between probes.
    pub(super) fn learn(&mut self, took: Duration, scan_delay: Duration) {
        let took = took.as_micros() as i64;
        let Some((srtt, rttvar)) = self.next(took) else { return };
        let rttvar = if rttvar > 2_300_000 { 2_000_000 } else { rttvar };
        self.estimate = Some((srtt, rttvar));
        self.timeout = (srtt + 4 * rttvar).clamp(LEAST, MOST).max(scan_delay.as_micros() as i64);
    }

    /// None for what is too far off to be believed.
    fn next(&self, took: i64) -> Option<(i64, i64)> {
        let Some((srtt, rttvar)) = self.estimate else { return Some((took, took.clamp(5_000, 2_000_000))) };
        let off = took - srtt;
        let wild = took >= 8_000_000 || off > 1_500_000 && off > 3 * srtt + 2 * rttvar;
        (!wild).then(|| (srtt + off / 8, rttvar + (off.abs() - rttvar) / 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_within_its_bounds() {
        let mut round_trips = RoundTrips::new();
        let mut learn = |milliseconds| {
            round_trips.learn(Duration::from_millis(milliseconds), Duration::ZERO);
            round_trips.timeout().as_millis()
        };
        // 40 + 4 x 40, then 45 + 4 x 40, then too far off, then nothing but the bounds.
        assert_eq!([learn(40), learn(80), learn(5000), learn(2)], [200, 205, 205, 202]);
        assert_eq!((0..100).map(|_| learn(1)).last(), Some(100));
        assert_eq!((0..100).map(|_| learn(1400)).last(), Some(1250));
    }
}
