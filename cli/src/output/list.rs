//! `--output list`: `address:port` or `[address]:port`, one a line, and nothing else. The form that other tools read.
//! A target is listed once: a correction of what has been listed says nothing new here.

use halfopen::Verdict;

use super::{Format, put};
use crate::settings::Show;

/// `192.0.2.7:443`, `[2001:db8::7]:22`.
pub(super) struct List {
    /// What is listed.
    pub(super) show: Show,
}

impl Format for List {
    fn verdict(&mut self, verdict: &Verdict, out: &mut Vec<u8>) {
        if !verdict.supersedes.is_some_and(|before| self.show.state(before)) {
            put(out, format_args!("{}\n", verdict.target));
        }
    }
}
