//! A congestion window, of a host or a group (ultra_timing_vals in timing.cc): slow start and avoidance as in TCP
//! (RFC 2581), scaled by how few of the probes are answered at all, so that mostly silent hosts let it grow as well.

use halfopen::Time;

const INITIAL: f64 = 10.0;
const INITIAL_THRESHOLD: f64 = 75.0;
const LEAST: f64 = 1.0;
const MOST: f64 = 300.0;
/// In congestion avoidance, at `-T4`.
const AVOIDANCE: f64 = 2.0;
const MOST_SCALE: f64 = 50.0;
/// What is in flight, divided by this, is the threshold after a drop, at `-T4`.
const DROP_THRESHOLD: f64 = 4.0 / 3.0;
const GROUP_DROP: f64 = 2.0;
/// An answered ping counts like so many answers.
const PING: f64 = 3.0;

/// How many probes may be on their way.
#[derive(Debug, Clone)]
pub(super) struct Window {
    size: f64,
    threshold: f64,
    expected: u64,
    received: u64,
    last_drop: Option<Time>,
}

impl Window {
    pub(super) fn new() -> Window {
        Window { size: INITIAL, threshold: INITIAL_THRESHOLD, expected: 0, received: 0, last_drop: None }
    }

    pub(super) fn has_room(&self, in_flight: usize) -> bool {
        self.size >= in_flight as f64 + 0.5
    }

    /// Whether it has learnt enough to go by.
    pub(super) fn is_taught(&self) -> bool {
        self.expected > 1
    }

    /// A probe has been answered or has timed out.
    pub(super) fn expect(&mut self) {
        self.expected += 1;
    }

    pub(super) fn answered(&mut self, is_ping: bool) {
        self.received += 1;
        let step = self.scale() * if is_ping { PING } else { 1.0 };
        self.size = match self.size < self.threshold {
            true => (self.size + step).min(self.threshold),
            false => self.size + AVOIDANCE / self.size * step,
        };
        self.size = self.size.min(MOST);
    }

    /// A probe of a host's, sent at this time, seems lost.
    pub(super) fn host_dropped(&mut self, sent: Time, in_flight: usize, now: Time) {
        if self.begins_drop(sent, in_flight, now) {
            self.size = LEAST;
        }
    }

    /// A probe of a group's.
    pub(super) fn group_dropped(&mut self, sent: Time, in_flight: usize, now: Time) {
        if self.begins_drop(sent, in_flight, now) {
            self.size = (self.size / GROUP_DROP).max(LEAST);
        }
    }

    /// Drops come in batches, of which only the first counts: what was sent before it is of the same batch.
    fn begins_drop(&mut self, sent: Time, in_flight: usize, now: Time) -> bool {
        let begins = self.last_drop.is_none_or(|last| sent > last);
        if begins {
            self.threshold = (in_flight as f64 / DROP_THRESHOLD).max(2.0);
            self.last_drop = Some(now);
        }
        begins
    }

    fn scale(&self) -> f64 {
        (self.expected as f64 / self.received.max(1) as f64).clamp(1.0, MOST_SCALE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_quickly_then_slowly_and_halves_once_a_batch() {
        let mut window = Window::new();
        let answer = |window: &mut Window| {
            window.expect();
            window.answered(false);
        };
        (0..65).for_each(|_| answer(&mut window));
        assert!((window.size - 75.0).abs() < 1e-9, "{}", window.size);
        answer(&mut window);
        assert!((window.size - 75.0 - 2.0 / 75.0).abs() < 1e-9, "{}", window.size);
        window.group_dropped(Time(5), 60, Time(10));
        window.group_dropped(Time(9), 60, Time(11));
        assert!((window.threshold - 45.0).abs() < 1e-9 && window.size > 37.0, "{window:?}");
        window.group_dropped(Time(11), 60, Time(12));
        assert!(window.size < 19.0, "{window:?}");
        window.host_dropped(Time(13), 1, Time(14));
        assert!((window.size, window.threshold) == (1.0, 2.0), "{window:?}");
    }

    #[test]
    fn one_answer_in_ten_counts_ten_times() {
        let mut window = Window::new();
        (0..10).for_each(|_| window.expect());
        window.answered(false);
        assert!((window.size - 20.0).abs() < 1e-9, "{}", window.size);
        window.expected = 1000;
        window.answered(false);
        assert!((window.size - 70.0).abs() < 1e-9, "never more than fifty times: {}", window.size);
    }
}
