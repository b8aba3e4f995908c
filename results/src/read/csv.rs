//! `csv`: a verdict a row. The first line names the columns; address, port and state must be among them.

use std::io::BufRead;
use std::str::FromStr;

use super::{Malformed, cut, each_line};
use crate::field::Field;
use crate::record::{Record, State, Verdict};
use crate::scan::Scan;

/// Whether a line names columns of ours.
pub(super) fn is_header(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    text.trim().split(',').any(|name| name.trim_matches('"').parse::<Field>().is_ok())
}

/// Values have no line breaks, so that each line is a row.
pub(super) fn read(from: &mut dyn BufRead) -> Result<Scan, Malformed> {
    let mut columns: Vec<String> = Vec::new();
    let mut scan = Scan::default();
    each_line(from, |number, line, whole| {
        let cells = cells(line).map_err(|error| Malformed::at(number, error))?;
        match columns.is_empty() {
            true => columns = cells,
            false if !whole => cut(&mut scan),
            false => {
                scan.add(Record::Verdict(verdict(&columns, &cells).map_err(|error| Malformed::at(number, error))?));
            }
        }
        Ok(())
    })?;
    Ok(scan)
}

fn cells(line: &[u8]) -> Result<Vec<String>, String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line);
    let row =
        reader.records().next().unwrap_or_else(|| Ok(csv::StringRecord::new())).map_err(|error| error.to_string())?;
    Ok(row.iter().map(str::to_owned).collect())
}

fn verdict(columns: &[String], cells: &[String]) -> Result<Verdict, String> {
    if cells.len() != columns.len() {
        return Err(format!("{} cells, and {} columns", cells.len(), columns.len()));
    }
    let cell = |field: Field| {
        let at = columns.iter().position(|column| column == field.name());
        at.map(|at| cells[at].as_str()).filter(|text| !text.is_empty())
    };
    let state = cell(Field::State).and_then(State::named).ok_or("no column of states, or none in it")?;
    let mut verdict = Verdict::bare(needed(cell(Field::Address))?, needed(cell(Field::Port))?, state);
    verdict.reason = cell(Field::Reason).unwrap_or_default().to_owned().into();
    verdict.sender = optional(cell(Field::Sender))?;
    verdict.ttl = optional(cell(Field::Ttl))?;
    verdict.rtt_us = optional(cell(Field::RttUs))?;
    verdict.pass = optional(cell(Field::Pass))?.unwrap_or_default();
    verdict.probes = optional(cell(Field::Probes))?.unwrap_or_default();
    verdict.time = optional(cell(Field::Time))?.unwrap_or_default();
    verdict.supersedes = cell(Field::Supersedes).and_then(State::named);
    verdict.suspect = cell(Field::Suspect).map(|word| word.to_owned().into());
    Ok(verdict)
}

fn needed<T: FromStr>(cell: Option<&str>) -> Result<T, String> {
    optional(cell)?.ok_or_else(|| "no address, or no port: both columns are needed".into())
}

fn optional<T: FromStr>(cell: Option<&str>) -> Result<Option<T>, String> {
    cell.map(|text| text.parse().map_err(|_| format!("{text:?} is none of what its column has"))).transpose()
}
