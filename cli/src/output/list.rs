//! `--output list`: `address:port` or `[address]:port`, one a line, and nothing else. The form that other tools read.

use halfopen::Verdict;

use super::{Format, put};

/// `192.0.2.7:443`, `[2001:db8::7]:22`.
pub(super) struct List;

impl Format for List {
    fn verdict(&mut self, verdict: &Verdict, out: &mut Vec<u8>) {
        put(out, format_args!("{}\n", verdict.target));
    }
}
