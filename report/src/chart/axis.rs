//! Axes: where their ticks are and what is written at them. Counts and times go in steps of 1, 2 or 5; round trips lie on
//! a logarithmic axis, because they spread over powers of ten.

use crate::text::{count, millis};

/// Ticks of an axis from zero: at most `most` steps, the last at or beyond `greatest`.
pub(crate) fn count_ticks(greatest: u64, most: u64) -> Vec<u64> {
    let step = (0..20).flat_map(|power| [1, 2, 5].map(|digit| digit * 10u64.saturating_pow(power)));
    let step = step.into_iter().find(|&step| greatest.div_ceil(step) <= most).unwrap_or(u64::MAX);
    (0..=greatest.max(1).div_ceil(step)).map(|tick| tick * step).collect()
}

/// `1,200`; long ones short: `12k`, `3M`.
pub(crate) fn count_label(value: u64) -> String {
    match value {
        _ if value >= 1_000_000 && value.is_multiple_of(100_000) => tenths(value / 100_000, "M"),
        _ if value >= 10_000 && value.is_multiple_of(100) => tenths(value / 100, "k"),
        _ => count(value),
    }
}

fn tenths(value: u64, unit: &str) -> String {
    match (value / 10, value % 10) {
        (whole, 0) => format!("{}{unit}", count(whole)),
        (whole, tenth) => format!("{}.{tenth}{unit}", count(whole)),
    }
}

/// Steps in which people count time, in milliseconds: to 5 s, then as on a clock.
const TIME_STEPS_MS: [u64; 22] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000,
    1_800_000, 3_600_000, 7_200_000, 21_600_000,
];

/// Ticks of a time axis from zero to its end, in milliseconds.
pub(crate) fn time_ticks_ms(end: u64, most: u64) -> Vec<u64> {
    let day = 86_400_000;
    let step =
        TIME_STEPS_MS.into_iter().find(|step| end / step <= most).unwrap_or((end / most).div_ceil(day).max(1) * day);
    (0..=end / step).map(|tick| tick * step).collect()
}

/// `250 ms`, `20 s`, `5 min`, `2 h`, `3 d`, all in the unit of the greatest.
pub(crate) fn time_label(ms: u64, greatest: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let fitting = units.into_iter().find(|&(unit, _)| greatest >= 2 * unit && ms.is_multiple_of(unit / 10));
    match fitting {
        Some((unit, name)) => format!("{} {name}", tenths(ms * 10 / unit, "")),
        None => format!("{} ms", count(ms)),
    }
}

/// A logarithmic axis of microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LogAxis {
    low: f64,
    high: f64,
}

impl LogAxis {
    /// From the least to the greatest, and never narrower than a factor of two.
    pub(crate) fn over(least: u64, greatest: u64) -> LogAxis {
        let (low, high) = (least.max(1) as f64, greatest.max(1) as f64);
        let widen = (2.0 / (high / low)).sqrt().max(1.0);
        LogAxis { low: (low / widen).ln(), high: (high * widen).ln() }
    }

    /// Where a value lies, from 0 to 1.
    pub(crate) fn place(self, value: u64) -> f64 {
        (((value.max(1) as f64).ln() - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// The value at a place.
    pub(crate) fn value(self, place: f64) -> f64 {
        (self.low + place * (self.high - self.low)).exp()
    }

    /// Powers of ten, and between them 2 and 5 where the axis is short.
    pub(crate) fn ticks(self) -> Vec<u64> {
        let decades = (self.high - self.low) / std::f64::consts::LN_10;
        let digits: &[u64] = if decades > 3.0 { &[1] } else { &[1, 2, 5] };
        let all = (0..12).flat_map(|power| digits.iter().map(move |digit| digit * 10u64.pow(power)));
        all.filter(|&tick| self.low <= (tick as f64).ln() && (tick as f64).ln() <= self.high).collect()
    }
}

/// `50 µs`, `20 ms`, `2 s`.
pub(crate) fn round_trip_label(micros: u64) -> String {
    millis(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_counts() {
        assert_eq!(count_ticks(0, 4), [0, 1]);
        assert_eq!(count_ticks(1, 4), [0, 1]);
        assert_eq!(count_ticks(3, 4), [0, 1, 2, 3]);
        assert_eq!(count_ticks(7, 4), [0, 2, 4, 6, 8]);
        assert_eq!(count_ticks(100_000, 4), [0, 50_000, 100_000]);
        let large = count_ticks(u64::from(u32::MAX), 4);
        assert!(large.len() <= 5 && *large.last().unwrap() >= u64::from(u32::MAX), "{large:?}");
    }

    #[test]
    fn labels_of_counts() {
        let labels = [0, 1_200, 9_999, 12_000, 12_500, 50_000, 2_000_000, 2_500_000, 1_234_567].map(count_label);
        assert_eq!(labels, ["0", "1,200", "9,999", "12k", "12.5k", "50k", "2M", "2.5M", "1,234,567"]);
    }

    #[test]
    fn times() {
        assert_eq!(time_ticks_ms(0, 5), [0]);
        assert_eq!(time_ticks_ms(900, 5), [0, 200, 400, 600, 800]);
        assert_eq!(time_ticks_ms(125_000, 5), [0, 30_000, 60_000, 90_000, 120_000]);
        assert_eq!(time_ticks_ms(40 * 86_400_000, 5).len(), 6);
        let labels = [(400, 900), (2_000, 9_000), (1_500, 9_000), (90_000, 125_000), (7_200_000, 9_000_000)];
        let labels = labels.map(|(ms, greatest)| time_label(ms, greatest));
        assert_eq!(labels, ["400 ms", "2 s", "1.5 s", "1.5 min", "2 h"]);
    }

    #[test]
    fn a_logarithmic_axis() {
        let axis = LogAxis::over(10, 100_000);
        assert_eq!((axis.place(10), axis.place(100_000)), (0.0, 1.0));
        assert!((axis.place(1_000) - 0.5).abs() < 1e-9 && (axis.value(0.5) - 1_000.0).abs() < 1e-6);
        assert_eq!(axis.ticks(), [10, 100, 1_000, 10_000, 100_000]);
        assert_eq!(LogAxis::over(18_000, 60_000).ticks(), [20_000, 50_000]);
        let same = LogAxis::over(700, 700);
        assert!((same.place(700) - 0.5).abs() < 1e-9);
        assert!(LogAxis::over(0, 0).place(0).is_finite());
    }
}
