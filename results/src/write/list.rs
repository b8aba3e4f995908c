//! `list`: `address:port` or `[address]:port` of each open port, one a line, and nothing else: what other tools read. There is no
//! place for a state, so whatever else is shown elsewhere, here it is not. Once a target is listed, it stays listed.

use std::net::SocketAddr;

use super::{Lines, put};
use crate::record::{Record, State};

/// `192.0.2.7:443`, `[2001:db8::7]:22`.
#[derive(Debug, Clone, Default)]
pub struct List;

impl Lines for List {
    fn record(&mut self, record: &Record, out: &mut Vec<u8>) {
        if let Record::Verdict(verdict) = record
            && verdict.state == State::Open
            && verdict.supersedes != Some(State::Open)
        {
            put(out, format_args!("{}\n", SocketAddr::new(verdict.address, verdict.port)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Verdict;
    use crate::scan::samples;

    fn listed(records: &[Record]) -> String {
        let mut out = Vec::new();
        records.iter().for_each(|record| List.record(record, &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn open_targets_alone() {
        assert_eq!(listed(&samples::records()), "192.0.2.7:443\n[2001:db8::7]:22\n");
    }

    #[test]
    fn a_target_is_listed_once() {
        let filtered = Verdict { state: State::Filtered, ..samples::open() };
        let corrected = Verdict { supersedes: Some(State::Filtered), ..samples::open() };
        let again = Verdict { supersedes: Some(State::Open), ..samples::open() };
        assert_eq!(listed(&[filtered, corrected, again].map(Record::Verdict)), "192.0.2.7:443\n");
    }
}
