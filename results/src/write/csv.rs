//! `csv`: a table of verdicts (RFC 4180, but lines end in a line feed alone); the first line has the names of the columns.

use super::{Lines, on_one_line};
use crate::field::Field;
use crate::record::{Record, Verdict};

/// A row for each verdict.
#[derive(Debug, Clone)]
pub struct Csv {
    fields: Vec<Field>,
}

impl Csv {
    /// With these columns, or all of them if none are named.
    pub fn new(fields: &[Field]) -> Csv {
        Csv { fields: if fields.is_empty() { Field::ALL.into() } else { fields.into() } }
    }

    fn row(&self, verdict: &Verdict) -> Vec<String> {
        let cell = |field: &Field| field.of(verdict).map(|value| on_one_line(&value.to_string())).unwrap_or_default();
        self.fields.iter().map(cell).collect()
    }
}

impl Lines for Csv {
    fn record(&mut self, record: &Record, out: &mut Vec<u8>) {
        let row = match record {
            Record::Scan(_) => self.fields.iter().map(|field| field.name().to_owned()).collect(),
            Record::Verdict(verdict) => self.row(verdict),
            _ => return,
        };
        // A vector takes everything.
        let mut writer = csv::Writer::from_writer(out);
        let _ = writer.write_record(row);
        let _ = writer.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::samples;

    fn table(fields: &[Field], records: &[Record]) -> String {
        let (mut csv, mut out) = (Csv::new(fields), Vec::new());
        records.iter().for_each(|record| csv.record(record, &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_row_for_each_verdict() {
        let mut records = samples::records();
        records[2] = Record::Verdict(samples::full());
        let text = table(&[], &records);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "address,port,protocol,state,reason,sender,ttl,rtt_us,pass,probes,time,supersedes,suspect"
        );
        assert_eq!(lines[1], "192.0.2.7,443,tcp,open,syn-ack,,63,1500,1,2,2023-11-14T22:13:20.123456Z,,");
        let full =
            "192.0.2.9,25,tcp,filtered,admin-prohibited,192.0.2.254,63,1500,1,2,2023-11-14T22:13:20.123456Z,closed,ttl";
        assert_eq!(lines[2], full);
        assert_eq!(lines.len(), 1 + 5);
    }

    #[test]
    fn chosen_columns() {
        let text = table(&[Field::Port, Field::Address], &samples::records());
        assert!(text.starts_with("port,address\n443,192.0.2.7\n"), "{text}");
    }
}
