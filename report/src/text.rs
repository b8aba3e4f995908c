//! Numbers, times and foreign words as text for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A time in microseconds, short: `850 µs`, `12 ms`, `1.5 s`.
pub(crate) fn millis(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000 => trimmed(micros as f64 / 1e3, "ms"),
        10_000..999_500 => format!("{} ms", (micros as f64 / 1e3).round()),
        _ => trimmed(micros as f64 / 1e6, "s"),
    }
}

/// With a tenth, unless it is zero.
fn trimmed(value: f64, unit: &str) -> String {
    let text = format!("{value:.1}");
    format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
}

/// Text as it stands in markup and in quoted attributes.
pub(crate) fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, letter| {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
        escaped
    })
}

/// `1 host`, `2,000 hosts`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {}", count(number), plural(number, noun))
}

/// The noun as it stands behind a number.
pub(crate) fn plural(number: u64, noun: &str) -> String {
    match noun {
        noun if number == 1 => noun.into(),
        noun if noun.ends_with("ss") || noun.ends_with('x') => format!("{noun}es"),
        noun => format!("{noun}s"),
    }
}

/// `31 January 2026, 12:00:00 UTC`.
pub(crate) fn moment(time: Timestamp) -> String {
    format!("{} UTC", time.to_zoned(TimeZone::UTC).strftime("%-d %B %Y, %H:%M:%S"))
}

/// From one moment to a later one, the date said once if it is the same: `31 January 2026, 12:00:00 to 12:05:10 UTC`.
pub(crate) fn period(from: Timestamp, to: Timestamp) -> String {
    let [start, end] = [from, to].map(|time| time.to_zoned(TimeZone::UTC));
    if start.date() == end.date() {
        format!("{} to {} UTC", start.strftime("%-d %B %Y, %H:%M:%S"), end.strftime("%H:%M:%S"))
    } else {
        format!("{} to {}", moment(from), moment(to))
    }
}

/// How long something took: `0.4 s`, `27 s`, `5 min 3 s`, `2 h 10 min`.
pub(crate) fn lasting(micros: u64) -> String {
    let seconds = (micros + 500_000) / 1_000_000;
    match seconds {
        _ if micros < 9_950_000 => trimmed(micros as f64 / 1e6, "s"),
        0..60 => format!("{seconds} s"),
        60..3_600 => with_rest(seconds / 60, "min", seconds % 60, "s"),
        _ => with_rest(seconds / 3_600, "h", seconds / 60 % 60, "min"),
    }
}

fn with_rest(whole: u64, unit: &str, rest: u64, smaller: &str) -> String {
    if rest == 0 { format!("{} {unit}", count(whole)) } else { format!("{} {unit} {rest} {smaller}", count(whole)) }
}

/// A share: `1.9 %`, `under 0.01 %`; the blank does not break.
pub(crate) fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent <= 0.0 => "0\u{a0}%".into(),
        percent if percent < 0.01 => "under 0.01\u{a0}%".into(),
        percent if percent < 1.0 => format!("{percent:.2}\u{a0}%"),
        percent => format!("{percent:.1}\u{a0}%"),
    }
}

/// Words in a row: `a`, `a and b`, `a, b and c`.
pub(crate) fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The first few words, and how many there are beside them.
pub(crate) fn few(words: &[String], most: usize) -> String {
    if words.len() <= most + 1 {
        return words.join(", ");
    }
    format!("{} and {} more", words[..most].join(", "), count((words.len() - most) as u64))
}

/// Words from elsewhere (names of files and hosts, warnings) without what could not stand in a page or would change how
/// the rest of it is read: control characters, and those that turn the direction of writing.
pub(crate) fn foreign(text: &str) -> String {
    let harmful = |letter: char| {
        letter.is_control() && !matches!(letter, '\n' | '\t')
            || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
    };
    text.chars().map(|letter| if harmful(letter) { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn numbers() {
        assert_eq!([0, 999, 1_000, 65_535, 1_234_567].map(count), ["0", "999", "1,000", "65,535", "1,234,567"]);
        assert_eq!(
            (counted(1, "pass"), counted(2, "pass"), counted(0, "host")),
            ("1 pass".into(), "2 passes".into(), "0 hosts".into())
        );
        assert_eq!(
            [0.0, 0.000_01, 0.005, 0.019, 1.0].map(percent),
            ["0\u{a0}%", "under 0.01\u{a0}%", "0.50\u{a0}%", "1.9\u{a0}%", "100.0\u{a0}%"]
        );
    }

    #[test]
    fn times() {
        assert_eq!(
            [0, 850, 1_000, 1_500, 12_345, 999_600, 1_500_000].map(millis),
            ["0 µs", "850 µs", "1 ms", "1.5 ms", "12 ms", "1 s", "1.5 s"]
        );
        let lasted = [0, 400_000, 27_400_000, 303_000_000, 7_800_000_000].map(lasting);
        assert_eq!(lasted, ["0 s", "0.4 s", "27 s", "5 min 3 s", "2 h 10 min"]);
        let (noon, later) = (at("2026-01-31T12:00:00Z"), at("2026-01-31T12:05:10.9Z"));
        assert_eq!(period(noon, later), "31 January 2026, 12:00:00 to 12:05:10 UTC");
        let next_day = period(noon, at("2026-02-01T00:00:00Z"));
        assert_eq!(next_day, "31 January 2026, 12:00:00 UTC to 1 February 2026, 00:00:00 UTC");
    }

    #[test]
    fn lists() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        assert_eq!(listed(&words(&["a", "b", "c"])), "a, b and c");
        assert_eq!(few(&words(&["a", "b", "c"]), 2), "a, b, c");
        assert_eq!(few(&words(&["a", "b", "c", "d"]), 2), "a, b and 2 more");
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escaped("<a href=\"x\">&'</a>"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;&lt;/a&gt;");
    }

    #[test]
    fn nothing_foreign_changes_the_page() {
        assert_eq!(foreign("a\u{0}b\u{1b}[31m\u{202e}c\u{7f}"), "a\u{fffd}b\u{fffd}[31m\u{fffd}c\u{fffd}");
        assert_eq!(foreign("münchen.example\nzwei"), "münchen.example\nzwei");
    }
}
