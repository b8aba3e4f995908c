//! Values of single options: rates, times, seeds, sizes, addresses. Each function reads one text and says in one
//! half sentence what it would accept; which option it was is clap's to say.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use halfopen::{HostRate, Pps, Rate};
use halfopen_results::Form;
use jiff::SignedDuration;

use crate::args::{CooldownArg, FormArg, OutputArg};

const RATE_UNITS: &[(&str, u64)] = &[("", 1), ("k", 1_000), ("K", 1_000), ("M", 1_000_000)];
const SIZE_UNITS: &[(&str, u64)] = &[("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
/// No reply is a day late; a longer wait is a slip of the unit.
const LONGEST_COOLDOWN: Duration = Duration::from_secs(24 * 60 * 60);

/// `auto`, `500`, `10k`, `1.5M`, `max`.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    match text.to_ascii_lowercase().as_str() {
        "auto" => Ok(Rate::Auto),
        "max" => Ok(Rate::Max),
        _ => counted(text, ", auto, or max").map(Rate::Fixed),
    }
}

/// `500`, `10k`, `1.5M`.
pub(crate) fn pps(text: &str) -> Result<Pps, String> {
    counted(text, "")
}

/// `auto`, `none`, `500`, `10k`.
pub(crate) fn host_rate(text: &str) -> Result<HostRate, String> {
    match text.to_ascii_lowercase().as_str() {
        "auto" => Ok(HostRate::Auto),
        "none" => Ok(HostRate::Unlimited),
        _ => counted(text, ", auto, or none").map(HostRate::Limit),
    }
}

fn counted(text: &str, others: &str) -> Result<Pps, String> {
    match quantity(text, RATE_UNITS) {
        Some(0) => Err("no probe would ever be sent; the smallest rate is 1".into()),
        Some(pps) => Ok(Pps(pps)),
        None => Err(format!("expected probes a second such as 500, 10k or 1.5M{others}")),
    }
}

/// `99.9%`, `0.999`, `1`, as a share of one.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let (number, of) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let plain = number.chars().all(|c| c.is_ascii_digit() || c == '.');
    let share = number.parse::<f64>().ok().filter(|_| plain).map(|number| number / of);
    share.filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "expected a share such as 99.9% or 0.999".into())
}

/// `auto`, `500ms`, `2s`, `1m 30s`.
pub(crate) fn cooldown(text: &str) -> Result<CooldownArg, String> {
    if text == "auto" {
        return Ok(CooldownArg::Auto);
    }
    let time = text.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    match time {
        Some(time) if time <= LONGEST_COOLDOWN => Ok(CooldownArg::Fixed(time)),
        Some(_) => Err("a day is the longest cooldown".into()),
        None => Err("expected auto, or a time with its unit such as 500ms or 2s".into()),
    }
}

/// A file for something else than results, which have standard output.
pub(crate) fn beside_results(text: &str) -> Result<PathBuf, String> {
    match text {
        "-" => {
            Err("standard output has the results; give a file, /dev/stderr, or a descriptor such as /dev/fd/3".into())
        }
        file => Ok(file.into()),
    }
}

/// How many at one time.
pub(crate) fn jobs(text: &str) -> Result<NonZeroU8, String> {
    text.parse().map_err(|_| "expected a number from 1 to 255".into())
}

/// `500ms`, `5s`, `1m`: often enough to be of use, and not so often that there is time for nothing else.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let time = text.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    let bounds = Duration::from_millis(100)..=LONGEST_COOLDOWN;
    time.filter(|time| bounds.contains(time))
        .ok_or_else(|| "expected a time from 100ms to 24h, such as 5s or 1m".into())
}

/// `90s`, `10m`; some time, and not for ever.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let time = text.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    match time.filter(|time| !time.is_zero()) {
        Some(time) if time <= LONGEST_TIME => Ok(time),
        Some(_) => Err("a year is the longest time".into()),
        None => Err("expected a time with its unit such as 90s or 10m".into()),
    }
}

/// Longer is for ever.
const LONGEST_TIME: Duration = Duration::from_secs(365 * 86_400);

/// `42`, `0x2a`.
pub(crate) fn seed(text: &str) -> Result<u64, String> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    u64::from_str_radix(digits, radix)
        .ok()
        .filter(|_| !digits.starts_with('+'))
        .ok_or_else(|| "expected a number of at most 64 bits, decimal or 0x hexadecimal".into())
}

/// `268435456`, `256MiB`, `1.5GiB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    quantity(text, SIZE_UNITS)
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| "expected a size such as 64MiB or 1GiB (units: B, KiB, MiB, GiB)".into())
}

/// `jsonl`, `xml=scan.xml`, `csv=-`.
pub(crate) fn output(text: &str) -> Result<OutputArg, String> {
    let (name, file) = text.split_once('=').map_or((text, None), |(name, file)| (name, Some(file)));
    let form = match name {
        "human" => FormArg::Human,
        name => FormArg::Of(name.parse::<Form>().map_err(|_| format!("expected one of {}", forms()))?),
    };
    match file.filter(|file| !is_stdout(file)) {
        None if form == FormArg::Of(Form::Sqlite) => Err("sqlite needs a file: sqlite=FILE".into()),
        Some("") => Err(format!("the name of a file is missing after {name}=")),
        None => Ok(OutputArg { form, file: None }),
        Some(file) => Ok(OutputArg { form, file: Some(file.into()) }),
    }
}

/// Standard output by any of its names: what goes there is one output, whatever it was called.
fn is_stdout(file: &str) -> bool {
    ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].contains(&file)
}

/// The names of all forms, for messages.
fn forms() -> String {
    format!("human, {}, perhaps with =FILE", Form::ALL.map(Form::name).join(", "))
}

/// `192.0.2.7`, `2001:db8::7`.
pub(crate) fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "expected an address of this machine such as 192.0.2.7 or 2001:db8::7".into())
}

/// A decimal number, perhaps with a fraction, and its unit; none if it is neither, or does not fit. What is below one
/// is cut off.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (_, unit) = units.iter().find(|(name, _)| *name == suffix.trim_start())?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(*unit) / u128::from(scale);
    whole.parse::<u64>().ok()?.checked_mul(*unit)?.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for (text, pps) in
            [("1", 1), ("500", 500), ("10k", 10_000), ("10K", 10_000), ("1M", 1_000_000), ("1.5M", 1_500_000)]
        {
            assert_eq!(rate(text), Ok(Rate::Fixed(Pps(pps))), "{text}");
        }
        assert_eq!((rate("max"), rate("auto")), (Ok(Rate::Max), Ok(Rate::Auto)));
        assert_eq!((host_rate("none"), host_rate("2k")), (Ok(HostRate::Unlimited), Ok(HostRate::Limit(Pps(2000)))));
        assert_eq!((pps("5M"), pps("auto").is_err()), (Ok(Pps(5_000_000)), true));
        assert_eq!(rate("18446744073709551615"), Ok(Rate::Fixed(Pps(u64::MAX))));
    }

    #[test]
    fn outputs() {
        let of = |form, file: Option<&str>| Ok(OutputArg { form, file: file.map(Into::into) });
        assert_eq!(output("human"), of(FormArg::Human, None));
        assert_eq!(output("csv=-"), of(FormArg::Of(Form::Csv), None));
        assert_eq!(output("csv=/dev/stdout"), of(FormArg::Of(Form::Csv), None));
        assert_eq!(output("csv=/dev/fd/1"), of(FormArg::Of(Form::Csv), None));
        assert!(output("sqlite=/dev/stdout").is_err());
        assert_eq!(output("xml=a=b.xml"), of(FormArg::Of(Form::Xml), Some("a=b.xml")));
        for form in Form::ALL.into_iter().filter(|form| form.streams()) {
            assert_eq!(output(form.name()), of(FormArg::Of(form), None));
        }
        assert_eq!(output("sqlite").unwrap_err(), "sqlite needs a file: sqlite=FILE");
        assert_eq!(output("xml=").unwrap_err(), "the name of a file is missing after xml=");
        let known = "expected one of human, jsonl, json, csv, list, grepable, xml, sqlite, perhaps with =FILE";
        for text in ["", "=x", "XML", "toml=x"] {
            assert_eq!(output(text).unwrap_err(), known, "{text}");
        }
    }

    #[test]
    fn shares() {
        for (text, expected) in [("99.9%", 0.999), ("0.999", 0.999), ("1", 1.0), ("100%", 1.0), ("0", 0.0), (".5", 0.5)]
        {
            assert!(share(text).is_ok_and(|share| (share - expected).abs() < 1e-12), "{text}");
        }
        for text in ["", "%", "101%", "1.1", "-1", "+1", "1e-1", "NaN", "inf", "half"] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_rate() {
        for text in [
            "",
            "k",
            "fast",
            "-1",
            "+1",
            "1m",
            "1G",
            ".5k",
            "1.",
            "1.5.5k",
            "1e3",
            "99999999999999999999",
            "18446744073709551615k",
        ] {
            assert!(rate(text).unwrap_err().starts_with("expected probes a second"), "{text}");
        }
        for text in ["0", "0k", "0.1", "0.0001k"] {
            assert!(rate(text).unwrap_err().contains("no probe would ever be sent"), "{text}");
        }
    }

    #[test]
    fn cooldowns() {
        let fixed = |ms| Ok(CooldownArg::Fixed(Duration::from_millis(ms)));
        assert_eq!(cooldown("auto"), Ok(CooldownArg::Auto));
        for (text, ms) in
            [("500ms", 500), ("2s", 2_000), ("1.5s", 1_500), ("0s", 0), ("1m", 60_000), ("1m 30s", 90_000)]
        {
            assert_eq!(cooldown(text), fixed(ms), "{text}");
        }
        for text in ["", "2", "soon", "-1s", "25h", "99999999999h", "2 s ago"] {
            assert!(cooldown(text).is_err(), "{text}");
        }
    }

    #[test]
    fn intervals() {
        assert_eq!(interval("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(interval("1m"), Ok(Duration::from_secs(60)));
        for text in ["", "5", "99ms", "25h", "-5s", "auto"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }

    #[test]
    fn seeds() {
        assert_eq!(seed("42"), Ok(42));
        assert_eq!(seed("0x2A"), Ok(42));
        assert_eq!(seed("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(seed("0xffffffffffffffff"), Ok(u64::MAX));
        for text in ["", "0x", "2a", "-1", "+1", "0x+1", "18446744073709551616", "0x10000000000000000"] {
            assert!(seed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("4096", 4096), ("64KiB", 1 << 16), ("256MiB", 1 << 28), ("256 MiB", 1 << 28), ("1.5GiB", 3 << 29)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "MiB", "1MB", "1TiB", "-1MiB", "99999999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
