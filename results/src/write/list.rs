//! `list`: `address:port` or `[address]:port`, one a line, and nothing else: what other tools read. A target is listed
//! once: a correction of what has been listed says nothing new here.

use std::net::SocketAddr;

use super::{Lines, put};
use crate::record::{Record, Show};

/// `192.0.2.7:443`, `[2001:db8::7]:22`.
#[derive(Debug, Clone)]
pub struct List {
    /// What is listed.
    show: Show,
}

impl List {
    /// Of what has these states.
    pub fn new(show: Show) -> List {
        List { show }
    }
}

impl Lines for List {
    fn record(&mut self, record: &Record, out: &mut Vec<u8>) {
        if let Record::Verdict(verdict) = record
            && !verdict.supersedes.is_some_and(|before| self.show.state(before))
        {
            put(out, format_args!("{}\n", SocketAddr::new(verdict.address, verdict.port)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{State, Verdict};
    use crate::scan::samples;

    fn listed(show: Show, records: &[Record]) -> String {
        let (mut list, mut out) = (List::new(show), Vec::new());
        records.iter().for_each(|record| list.record(record, &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn targets_alone() {
        let expected = "192.0.2.7:443\n192.0.2.7:444\n[2001:db8::7]:22\n192.0.2.9:25\n192.0.2.9:26\n";
        assert_eq!(listed(Show::ALL, &samples::records()), expected);
    }

    #[test]
    fn a_target_is_listed_once() {
        let filtered = Verdict { state: State::Filtered, ..samples::open() };
        let corrected = Verdict { supersedes: Some(State::Filtered), ..samples::open() };
        let records = [filtered, corrected].map(Record::Verdict);
        assert_eq!(listed(Show::ALL, &records), "192.0.2.7:443\n");
        assert_eq!(listed(Show::OPEN, &records[1..]), "192.0.2.7:443\n");
    }
}
