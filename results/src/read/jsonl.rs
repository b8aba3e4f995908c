//! `jsonl` and `json`, and what a killed scan left of a document (FILE.part).

use std::io::BufRead;

use super::{Malformed, cut, each_line};
use crate::record::Record;
use crate::scan::Scan;
use crate::write::jsonl;

/// One record a line.
pub(super) fn lines(from: &mut dyn BufRead) -> Result<Scan, Malformed> {
    let mut scan = Scan::default();
    each_line(from, |number, line, whole| match jsonl::parse(line) {
        Ok(record) => {
            scan.add(record);
            Ok(())
        }
        Err(_) if !whole => {
            cut(&mut scan);
            Ok(())
        }
        Err(error) => Err(Malformed::at(number, error)),
    })?;
    Ok(scan)
}

/// An array of records.
pub(super) fn array(from: &mut dyn BufRead) -> Result<Scan, Malformed> {
    let mut text = Vec::new();
    from.read_to_end(&mut text).map_err(|error| Malformed::at(0, error))?;
    let records: Vec<Record> = serde_json::from_slice(&text).map_err(|error| Malformed::at(0, error))?;
    let mut scan = Scan::default();
    records.into_iter().for_each(|record| scan.add(record));
    Ok(scan)
}
