//! `json`: one array of the records that `jsonl` has, one on each line.

use std::io::{self, Write};

use super::{Document, jsonl::Jsonl};
use crate::field::Field;
use crate::record::Record;

/// An array of records.
#[derive(Debug, Clone)]
pub struct Json {
    records: Jsonl,
}

impl Json {
    /// With these fields of a verdict, or all of them if none are named.
    pub fn new(fields: &[Field]) -> Json {
        Json { records: Jsonl::new(fields) }
    }
}

impl Document for Json {
    fn write(&self, records: &mut dyn Iterator<Item = io::Result<Record>>, out: &mut dyn Write) -> io::Result<()> {
        let mut text = Vec::new();
        let mut before: &[u8] = b"[\n";
        for record in records {
            text.clear();
            if self.records.put(&record?, &mut text) {
                out.write_all(before)?;
                out.write_all(&text)?;
                before = b",\n";
            }
        }
        out.write_all(if before == b"[\n" { b"[]\n" } else { b"\n]\n" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::samples;

    #[test]
    fn an_array_of_records() {
        let written = |records: Vec<Record>| {
            let mut out = Vec::new();
            Json::new(&[]).write(&mut records.into_iter().map(Ok), &mut out).unwrap();
            out
        };
        let all = samples::records();
        assert_eq!(serde_json::from_slice::<Vec<Record>>(&written(all.clone())).unwrap(), all);
        assert_eq!(written(vec![]), b"[]\n");
        assert_eq!(written(vec![samples::error()]), b"[\n{\"type\":\"error\",\"message\":\"eth0 is gone\"}\n]\n");
    }
}
