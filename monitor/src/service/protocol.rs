//! What the monitor and the process that scans say to one another: a JSON object a line, orders one way, words the other.

use halfopen_results::{Coverage, Record};
use serde::{Deserialize, Serialize};

/// What is to be scanned: a group whole, or some of its targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Order {
    /// A scan.
    Scan {
        /// What its records are told apart by.
        id: u64,
        /// Which group.
        group: String,
        /// Which of its targets; none for all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        targets: Option<Coverage>,
    },
    /// The settings have changed: they are to be read again.
    Reload,
}

/// What is told of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Word {
    /// A record of a scan.
    Record {
        /// Of which.
        id: u64,
        /// The record.
        record: Box<Record>,
    },
    /// A scan is over.
    End {
        /// Which.
        id: u64,
        /// Why it failed, if it did.
        failed: Option<String>,
    },
    /// The settings were not taken; those before are in force.
    Refused {
        /// Why.
        why: String,
    },
    /// The process that scans has died, and all scans under way with it; there is another.
    Restarted {
        /// How it died.
        why: String,
    },
}

impl Order {
    /// As a line.
    pub(super) fn line(&self) -> String {
        line(self)
    }
}

impl Word {
    /// As a line.
    pub(super) fn line(&self) -> String {
        line(self)
    }
}

/// A record as the program has written it, tagged and otherwise as it is. None if it is not JSON.
pub(super) fn tagged(id: u64, record: &str) -> Option<String> {
    serde_json::from_str::<serde::de::IgnoredAny>(record).ok()?;
    Some(format!("{{\"record\":{{\"id\":{id},\"record\":{}}}}}\n", record.trim()))
}

fn line(what: &impl Serialize) -> String {
    // Maps have texts as keys, and numbers are finite: there is nothing that could not be written.
    serde_json::to_string(what).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use halfopen_results::record::{State, Verdict};

    use super::*;

    #[test]
    fn as_lines_and_back() {
        let targets: Coverage = [("192.0.2.1".parse().unwrap(), 22)].into_iter().collect();
        let order = Order::Scan { id: 7, group: "dmz".into(), targets: Some(targets) };
        let expected =
            "{\"scan\":{\"id\":7,\"group\":\"dmz\",\"targets\":[{\"addresses\":[\"192.0.2.1\"],\"ports\":\"22\"}]}}\n";
        assert_eq!(order.line(), expected);
        for order in [order, Order::Scan { id: 1, group: "a".into(), targets: None }, Order::Reload] {
            assert_eq!(serde_json::from_str::<Order>(&order.line()).unwrap(), order);
        }
        for word in [
            Word::End { id: 7, failed: Some("x".into()) },
            Word::Refused { why: "f:1: x".into() },
            Word::Restarted { why: "signal 9".into() },
        ] {
            assert_eq!(serde_json::from_str::<Word>(&word.line()).unwrap(), word);
        }
    }

    #[test]
    fn records_are_passed_on_as_they_are() {
        let record = Record::Verdict(Verdict::bare("192.0.2.1".parse().unwrap(), 22, State::Open));
        let text = serde_json::to_string(&record).unwrap() + "\n";
        let word = serde_json::from_str::<Word>(&tagged(3, &text).unwrap()).unwrap();
        assert_eq!(word, Word::Record { id: 3, record: Box::new(record) });
        assert_eq!((tagged(3, "{\"type\":"), tagged(3, "}} {")), (None, None));
    }

    #[test]
    fn strange_orders_are_none() {
        for text in ["{}", "{\"scan\":{\"id\":1}}", "{\"scan\":{\"id\":1,\"group\":\"a\",\"options\":[]}}", "\"stop\""]
        {
            assert!(serde_json::from_str::<Order>(text).is_err(), "{text}");
        }
    }
}
