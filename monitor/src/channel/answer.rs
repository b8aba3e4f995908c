//! What became of an attempt to deliver, and what that means for the next: the same words for every channel.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use serde::{Deserialize, Serialize};

/// No more of what a stranger answers is kept.
const EXCERPT_CHARACTERS: usize = 200;
/// A server that wants to be left alone for longer is asked again all the same.
const LONGEST_WAIT: Duration = Duration::from_secs(12 * 60 * 60);

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It was taken.
    Accepted(String),
    /// Not this time: later it may be, and not before so long.
    Later(String, Option<Duration>),
    /// Never: what is sent, or to where, is wrong.
    Never(String),
    /// There is nobody there any more, and nothing should be sent there again.
    Gone(String),
}

impl Answer {
    /// What an HTTP server's answer means (Standard Webhooks 1.0.0, "Webhook delivery"; RFC 9110 section 15).
    pub fn of_http(status: u16, retry_after: Option<&str>, body: &str, now: Timestamp) -> Answer {
        let what = described(status, body);
        match status {
            200..=299 => Answer::Accepted(what),
            300..=399 => Answer::Later(format!("{what}; redirections are not followed: name the final address"), None),
            410 => Answer::Gone(what),
            408 | 409 | 425 | 429 => Answer::Later(what, retry_after.and_then(|text| wait(text, now))),
            400..=499 => Answer::Never(what),
            _ => Answer::Later(what, retry_after.and_then(|text| wait(text, now))),
        }
    }

    /// In one line.
    pub fn text(&self) -> &str {
        match self {
            Answer::Accepted(text) | Answer::Later(text, _) | Answer::Never(text) | Answer::Gone(text) => text,
        }
    }

    /// Whether it was taken.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Answer::Accepted(_))
    }
}

/// `429 Too Many Requests: slow down`.
fn described(status: u16, body: &str) -> String {
    let reason = ureq::http::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason());
    let head = format!("{status} {}", reason.unwrap_or_default());
    let body = excerpt(body);
    if body.is_empty() { head.trim_end().to_owned() } else { format!("{}: {body}", head.trim_end()) }
}

/// The beginning of a text, in one line, without what would move a terminal's cursor.
pub(super) fn excerpt(text: &str) -> String {
    cut(&one_line(text), EXCERPT_CHARACTERS)
}

/// A text as one line: whatever controls a terminal or ends a line is a space.
pub(super) fn one_line(text: &str) -> String {
    let plain = text.split(|c: char| c.is_control() || c.is_whitespace());
    plain.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// At most so many characters, the last of them an ellipsis if there were more.
pub(super) fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some(_) => text.chars().take(characters.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// At most so many bytes, in whole characters.
pub(super) fn cut_bytes(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes.saturating_sub('…'.len_utf8()));
    format!("{}…", &text[..end])
}

/// Seconds, or a date (RFC 9110 section 10.2.3).
fn wait(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = DateTimeParser::new().parse_zoned(text).ok()?.timestamp();
            until.duration_since(now).try_into().unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn statuses() {
        let of = |status| Answer::of_http(status, None, "", now());
        for status in [200, 201, 202, 204] {
            assert!(of(status).is_accepted(), "{status}");
        }
        for status in [301, 302, 307, 308, 408, 409, 425, 429, 500, 502, 503, 504] {
            assert!(matches!(of(status), Answer::Later(_, None)), "{status}");
        }
        for status in [400, 401, 403, 404, 413, 422] {
            assert!(matches!(of(status), Answer::Never(_)), "{status}");
        }
        assert_eq!(of(410), Answer::Gone("410 Gone".into()));
    }

    #[test]
    fn how_long_to_wait() {
        let after = |text| match Answer::of_http(429, Some(text), "", now()) {
            Answer::Later(_, wait) => wait.map(|wait| wait.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("Sun, 01 Mar 2026 12:00:30 GMT"), Some(30));
        assert_eq!(after("Sun, 01 Mar 2026 11:00:00 GMT"), Some(0), "that is over");
        assert_eq!(after("99999999"), Some(12 * 3600), "nobody waits for years");
        assert_eq!(after("soon"), None);
        assert!(
            matches!(Answer::of_http(503, Some("7"), "", now()), Answer::Later(_, Some(wait)) if wait.as_secs() == 7)
        );
    }

    #[test]
    fn answers_are_cut_and_harmless() {
        let answer = Answer::of_http(500, None, &format!("a\u{1b}[31m\r\nb {}", "x".repeat(500)), now());
        assert!(answer.text().starts_with("500 Internal Server Error: a [31m b xxx"), "{answer:?}");
        assert_eq!(answer.text().chars().count(), "500 Internal Server Error: ".len() + 200);
        assert_eq!(cut_bytes("aäö", 4), "a…");
        assert_eq!((cut("abc", 3), cut("abcd", 3)), ("abc".into(), "ab…".into()));
    }
}
