//! The forms in which a scan is written, one file each. Those that stand one finding a line are written while the scan
//! runs ([`Lines`]); documents come from all its records at the end ([`Document`]). Where the bytes go is for `sink`.

pub mod csv;
pub mod grepable;
mod hosts;
pub mod json;
pub mod jsonl;
pub mod list;
pub(crate) mod sqlite;
pub mod xml;

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use crate::field::Field;
use crate::record::{Record, Show};

/// A port's registered name; `record::Verdict` has none, because it says nothing of what listens there.
pub type ServiceNames = fn(u16) -> Option<&'static str>;

/// A form of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// One JSON record a line.
    Jsonl,
    /// One JSON array of records.
    Json,
    /// A table of verdicts.
    Csv,
    /// `address:port`, one a line.
    List,
    /// nmap's grepable output.
    Grepable,
    /// nmap's XML.
    Xml,
    /// A database, to which each scan adds itself.
    Sqlite,
}

impl Form {
    /// All of them.
    pub const ALL: [Form; 7] =
        [Form::Jsonl, Form::Json, Form::Csv, Form::List, Form::Grepable, Form::Xml, Form::Sqlite];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Form::Jsonl => "jsonl",
            Form::Json => "json",
            Form::Csv => "csv",
            Form::List => "list",
            Form::Grepable => "grepable",
            Form::Xml => "xml",
            Form::Sqlite => "sqlite",
        }
    }

    /// How files of it are named, as nmap's are where it has the form.
    pub fn suffix(self) -> &'static str {
        match self {
            Form::Grepable => "gnmap",
            form => form.name(),
        }
    }

    /// Which findings it has when nobody says: the JSON forms and the database also have hosts that are down.
    pub fn usual(self) -> Show {
        match self {
            Form::Jsonl | Form::Json | Form::Sqlite => Show::OPEN_DOWN,
            Form::Csv | Form::List | Form::Grepable | Form::Xml => Show::OPEN,
        }
    }

    /// Which of these findings it has a place for: a list is of open ports, whatever else is asked for.
    pub fn holds(self, show: Show) -> Show {
        match self {
            Form::List => Show { open: show.open, ..Show::NONE },
            _ => show,
        }
    }

    /// Whether it has a place for the account of the scan.
    pub fn has_summary(self) -> bool {
        !matches!(self, Form::Csv | Form::List)
    }

    /// Whether it can go to standard output.
    pub fn streams(self) -> bool {
        self != Form::Sqlite
    }

    /// Whether `--fields` chooses what it has of a verdict.
    pub fn has_fields(self) -> bool {
        matches!(self, Form::Jsonl | Form::Json | Form::Csv)
    }

    /// Whether it is written as a whole when the scan ends.
    pub fn ends_whole(self) -> bool {
        matches!(self, Form::Json | Form::Grepable | Form::Xml)
    }

    /// Whether it counts ports by host that are not shown.
    pub fn counts(self) -> bool {
        matches!(self, Form::Grepable | Form::Xml)
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Form {
    type Err = String;

    fn from_str(name: &str) -> Result<Form, String> {
        let found = Form::ALL.into_iter().find(|form| form.name() == name);
        found.ok_or_else(|| format!("there is no form {name:?}; there are {}", Form::ALL.map(Form::name).join(", ")))
    }
}

/// A form that stands one finding a line. Each record appends whole lines, or nothing.
pub trait Lines {
    /// Appends what the form has to say of a record.
    fn record(&mut self, record: &Record, out: &mut Vec<u8>);
}

/// A form that is written when everything is known.
pub trait Document {
    /// Writes all of it. `records` are those of one scan, its header first and its summary or error last, as far as it got.
    fn write(&self, records: &mut dyn Iterator<Item = io::Result<Record>>, out: &mut dyn Write) -> io::Result<()>;
}

/// How a form is written.
pub(crate) enum Writer {
    /// By the database itself.
    Database,
    Lines(Box<dyn Lines>),
    Document(Box<dyn Document>),
}

impl Writer {
    /// Of a form, with these fields of a verdict (all if none are named).
    pub(crate) fn new(form: Form, fields: &[Field], names: ServiceNames) -> Writer {
        match form {
            Form::Sqlite => Writer::Database,
            Form::Jsonl => Writer::Lines(Box::new(jsonl::Jsonl::new(fields))),
            Form::Csv => Writer::Lines(Box::new(csv::Csv::new(fields))),
            Form::List => Writer::Lines(Box::new(list::List)),
            Form::Json => Writer::Document(Box::new(json::Json::new(fields))),
            Form::Grepable => Writer::Document(Box::new(grepable::Grepable::new(names))),
            Form::Xml => Writer::Document(Box::new(xml::Xml::new(names))),
        }
    }
}

/// A text without line breaks and other control characters, for forms in which a line is a finding.
pub(crate) fn on_one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Appends formatted text; a vector takes everything.
pub(crate) fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}
