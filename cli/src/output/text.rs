//! Numbers and times as people read them.

use std::time::Duration;

use halfopen::State;

/// `65,535`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 host`, `1,024 hosts`; `address` gets its `es`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = match number {
        1 => "",
        _ if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {noun}{plural}", grouped(number))
}

/// `3 open, 997 closed`, in the order of `State::ALL`, without those that are not there; `0 open` if none is.
pub(crate) fn counted_states(counts: [u64; 3]) -> String {
    let there = State::ALL.into_iter().zip(counts).filter(|&(_, n)| n > 0);
    let parts: Vec<_> = there.map(|(state, n)| format!("{} {state}", grouped(n))).collect();
    if parts.is_empty() { "0 open".into() } else { parts.join(", ") }
}

/// `0.2 s`, `6.6 s`, `42 s`, `1m15s`, `2h07m`, `3d04h`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// `<1 µs`, `41 µs`, `12.3 ms`, `1.20 s`.
pub(crate) fn round_trip(time: Duration) -> String {
    match time.as_micros() {
        0 => "<1 µs".into(),
        micros @ 1..1_000 => format!("{micros} µs"),
        micros @ 1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (65_535, "65,535"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(count(1, "host"), "1 host");
        assert_eq!(count(0, "address"), "0 addresses");
        assert_eq!(counted_states([1, 2_000, 3]), "1 open, 2,000 closed, 3 filtered");
        assert_eq!(counted_states([0, 0, 1]), "1 filtered");
        assert_eq!(counted_states([0; 3]), "0 open");
    }

    #[test]
    fn times() {
        let of = |seconds| duration(Duration::from_secs_f64(seconds));
        assert_eq!([of(0.0), of(6.62), of(42.9), of(75.0)], ["0.0 s", "6.6 s", "42 s", "1m15s"]);
        assert_eq!([of(7_620.0), of(273_600.0)], ["2h07m", "3d04h"]);
        let rtt = |micros| round_trip(Duration::from_micros(micros));
        assert_eq!([rtt(0), rtt(999), rtt(12_345), rtt(1_200_000)], ["<1 µs", "999 µs", "12.3 ms", "1.20 s"]);
    }
}
