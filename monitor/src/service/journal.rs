//! Lines for people on standard error: on a terminal with the time, under systemd with their priority in front, as
//! sd-daemon(3) has it (the journal knows the time by itself).

use std::env;
use std::io::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Something to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How much it matters.
    pub level: Level,
    /// The sentence.
    pub text: String,
}

/// How much something matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Info,
    /// Worth knowing.
    Warning,
    /// Something did not work.
    Error,
}

/// Where lines go.
#[derive(Debug, Clone)]
pub struct Journal {
    systemd: bool,
    zone: TimeZone,
}

impl Journal {
    /// Standard error, as it is here.
    pub fn new(zone: TimeZone) -> Journal {
        Journal { systemd: env::var_os("JOURNAL_STREAM").is_some(), zone }
    }

    /// Times are in this zone from now on.
    pub fn set_zone(&mut self, zone: TimeZone) {
        self.zone = zone;
    }

    /// Says something. That nobody listens stops nothing.
    pub fn say(&self, level: Level, text: &str) {
        let line = self.line(level, text, Timestamp::now());
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }

    fn line(&self, level: Level, text: &str, now: Timestamp) -> String {
        let text: Vec<_> = text.lines().collect();
        let text = text.join("; ");
        if self.systemd {
            return format!("<{}>{text}\n", level.priority());
        }
        let time = now.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S");
        format!("{time} {}{text}\n", level.word())
    }
}

impl Level {
    /// Of syslog(3).
    fn priority(self) -> u8 {
        match self {
            Level::Info => 6,
            Level::Warning => 4,
            Level::Error => 3,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Level::Info => "",
            Level::Warning => "warning: ",
            Level::Error => "error: ",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_terminals_and_for_the_journal() {
        let now = Timestamp::UNIX_EPOCH;
        let journal = |systemd| Journal { systemd, zone: TimeZone::UTC };
        assert_eq!(journal(false).line(Level::Info, "up", now), "1970-01-01 00:00:00 up\n");
        assert_eq!(journal(false).line(Level::Error, "a\nb", now), "1970-01-01 00:00:00 error: a; b\n");
        assert_eq!(journal(true).line(Level::Warning, "slow", now), "<4>slow\n");
    }
}
