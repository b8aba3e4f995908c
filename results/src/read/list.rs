//! `list`: every target on it is open; of others it says nothing.

use std::io::BufRead;
use std::net::SocketAddr;

use super::{Malformed, cut, each_line};
use crate::record::{Record, State, Verdict};
use crate::scan::Scan;

/// Whether a line is `address:port`.
pub(super) fn is_target(line: &[u8]) -> bool {
    target(line).is_some()
}

fn target(line: &[u8]) -> Option<SocketAddr> {
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

pub(super) fn read(from: &mut dyn BufRead) -> Result<Scan, Malformed> {
    let mut scan = Scan::default();
    each_line(from, |number, line, whole| match target(line) {
        // 192.0.2.7:44 may be all that is left of 192.0.2.7:443.
        _ if !whole => {
            cut(&mut scan);
            Ok(())
        }
        Some(target) => {
            scan.add(Record::Verdict(Verdict::bare(target.ip(), target.port(), State::Open)));
            Ok(())
        }
        None => {
            let found = String::from_utf8_lossy(line);
            Err(Malformed::at(number, format_args!("expected address:port, found {found}")))
        }
    })?;
    Ok(scan)
}
