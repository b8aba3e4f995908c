//! `jsonl`: one JSON record a line, told apart by `type`. `JSONL.md` is the schema.

use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::Lines;
use crate::field::{Field, Value};
use crate::record::{Record, Verdict};

/// Records, one a line.
#[derive(Debug, Clone, Default)]
pub struct Jsonl {
    /// Of a verdict; all if there are none.
    fields: Vec<Field>,
}

impl Jsonl {
    /// With these fields of a verdict, or all of them if none are named.
    pub fn new(fields: &[Field]) -> Jsonl {
        Jsonl { fields: fields.into() }
    }

    /// Appends a record without its line break.
    pub(crate) fn put(&self, record: &Record, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        let written = match record {
            Record::Verdict(verdict) if !self.fields.is_empty() => {
                serde_json::to_writer(&mut *out, &Chosen { verdict, fields: &self.fields })
            }
            // How many ports of a host are not shown is for documents that have a place for it.
            Record::Unknown | Record::Rest(_) => return false,
            record => serde_json::to_writer(&mut *out, record),
        };
        // One that cannot be serialised (there is none) leaves no half line behind.
        if written.is_err() {
            out.truncate(before);
        }
        written.is_ok()
    }
}

impl Lines for Jsonl {
    fn record(&mut self, record: &Record, out: &mut Vec<u8>) {
        if self.put(record, out) {
            out.push(b'\n');
        }
    }
}

/// Some fields of a verdict.
struct Chosen<'a> {
    verdict: &'a Verdict,
    fields: &'a [Field],
}

impl Serialize for Chosen<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("type", "verdict")?;
        for field in self.fields {
            match field.of(self.verdict) {
                None => {}
                Some(Value::Number(number)) => map.serialize_entry(field.name(), &number)?,
                Some(value) => map.serialize_entry(field.name(), &value.to_string())?,
            }
        }
        map.end()
    }
}

/// A record for the spool of a document: everything that there is.
pub(crate) fn spool(record: &Record, out: &mut Vec<u8>) {
    let before = out.len();
    match serde_json::to_writer(&mut *out, record) {
        Ok(()) => out.push(b'\n'),
        Err(_) => out.truncate(before),
    }
}

/// A record from its line.
pub(crate) fn parse(line: &[u8]) -> Result<Record, serde_json::Error> {
    let mut from = serde_json::Deserializer::from_slice(line);
    let record = Record::deserialize(&mut from)?;
    from.end().map(|()| record)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::scan::samples;

    fn printed(fields: &[Field], records: &[Record]) -> Vec<Value> {
        let (mut jsonl, mut out) = (Jsonl::new(fields), Vec::new());
        records.iter().for_each(|record| jsonl.record(record, &mut out));
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_verdict_with_everything() {
        let expected = json!({
            "type": "verdict", "address": "192.0.2.9", "port": 25, "protocol": "tcp", "state": "filtered",
            "reason": "admin-prohibited", "sender": "192.0.2.254", "ttl": 63, "rtt_us": 1500, "pass": 1, "probes": 2,
            "time": "2023-11-14T22:13:20.123456Z", "supersedes": "closed", "suspect": "ttl",
        });
        assert_eq!(printed(&[], &[Record::Verdict(samples::full())]), [expected]);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let expected = json!({
            "type": "verdict", "address": "192.0.2.9", "port": 26, "protocol": "tcp", "state": "filtered",
            "reason": "no-response", "pass": 1, "probes": 2, "time": "2023-11-14T22:13:20.123456Z",
        });
        assert_eq!(printed(&[], &[Record::Verdict(samples::bare())]), [expected]);
    }

    #[test]
    fn chosen_fields_in_their_order() {
        let (mut jsonl, mut out) = (Jsonl::new(&[Field::Port, Field::Address, Field::RttUs]), Vec::new());
        samples::records().iter().for_each(|record| jsonl.record(record, &mut out));
        let text = String::from_utf8(out).unwrap();
        let verdicts: Vec<_> = text.lines().filter(|line| line.contains("verdict")).collect();
        assert_eq!(verdicts[0], r#"{"type":"verdict","port":443,"address":"192.0.2.7","rtt_us":1500}"#);
        assert!(text.lines().last().unwrap().starts_with(r#"{"type":"summary","#), "other records are whole");
    }

    #[test]
    fn the_other_records() {
        let records = printed(&[], &samples::records());
        let kinds: Vec<_> = records.iter().map(|record| record["type"].as_str().unwrap()).collect();
        let expected = [
            "scan",
            "verdict",
            "verdict",
            "verdict",
            "verdict",
            "verdict",
            "host_down",
            "suspect",
            "suspect",
            "warning",
            "summary",
        ];
        assert_eq!(kinds, expected);
        assert_eq!(records[6], json!({"type": "host_down", "address": "192.0.2.77", "reason": "no-arp"}));
        assert_eq!(records[7], json!({"type": "suspect", "address": "192.0.2.7", "reason": "every-port"}));
        let ttl = json!({"type": "suspect", "address": "2001:db8::7", "reason": "ttl", "usual_ttl": 50});
        assert_eq!(records[8], ttl);
        assert_eq!(records[9], json!({"type": "warning", "message": "a \"quoted\"\nword"}));
        assert_eq!(printed(&[], &[samples::error()]), [json!({"type": "error", "message": "eth0 is gone"})]);
    }

    #[test]
    fn every_record_reads_back() {
        for record in samples::records().into_iter().chain([samples::error()]) {
            let mut line = Vec::new();
            spool(&record, &mut line);
            assert_eq!(parse(&line).unwrap(), record);
        }
    }

    /// Every field that a record can have is in the schema's tables.
    #[test]
    fn the_schema_names_every_field() {
        let schema = include_str!("../../JSONL.md");
        let mut records = printed(&[], &samples::records());
        let batch = Record::Batch(Box::default());
        records.extend(printed(&[], &[Record::Verdict(samples::full()), batch]));
        let parts = ["settings", "counts", "probes", "completeness", "discovery"];
        let parts: Vec<_> = records.iter().flat_map(|record| parts.map(|part| record[part].clone())).collect();
        for record in records.iter().chain(&parts).filter_map(Value::as_object) {
            for field in record.keys() {
                assert!(schema.contains(&format!("`{field}`")), "{field} is not in JSONL.md");
            }
        }
    }
}
