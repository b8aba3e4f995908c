//! TOML files that people write: reading them, and saying on which line something is wrong. What the keys mean is for
//! those who ask: settings here, the command's own settings and scopes.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be read.
    #[error("cannot open {name}: {source}")]
    Open {
        /// The file.
        name: String,
        /// The system's word.
        source: io::Error,
    },
    /// Something in it is wrong: `file:line: what, and what instead`.
    #[error("{0}")]
    Wrong(String),
}

/// The text of a file, and its name in messages.
#[derive(Debug, Clone)]
pub struct Document {
    name: String,
    text: String,
}

/// Longer values are cut in messages.
const SHOWN: usize = 60;

impl Document {
    /// A text that is at hand.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Document {
        Document { name: name.into(), text: text.into() }
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Document, Error> {
        let name = path.to_string_lossy().into_owned();
        match fs::read_to_string(path) {
            Ok(text) => Ok(Document { name, text }),
            Err(source) => Err(Error::Open { name, source }),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its keys and values.
    pub fn table(&self) -> Result<DeTable<'_>, Error> {
        DeTable::parse(&self.text).map(Spanned::into_inner).map_err(|error| self.unreadable(&error))
    }

    /// The line of a byte, counted from 1.
    pub fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|&byte| byte == b'\n').count()
    }

    /// A value as it was written, on one line and not too long.
    pub fn written(&self, value: &Spanned<DeValue<'_>>) -> String {
        let text = self.text.get(value.span()).unwrap_or_default();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.chars().count() <= SHOWN { text } else { text.chars().take(SHOWN).chain("...".chars()).collect() }
    }

    /// What is wrong, with its line.
    pub fn wrong(&self, place: Range<usize>, what: &str) -> Error {
        Error::Wrong(format!("{}:{}: {what}", self.name, self.line(place.start)))
    }

    /// What the reader of the format says.
    pub fn unreadable(&self, error: &toml::de::Error) -> Error {
        let what = error.message().lines().collect::<Vec<_>>().join("; ");
        self.wrong(error.span().unwrap_or_default(), &what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one() {
        let document = Document::new("f", "a = 1\nb = 2\n");
        assert_eq!([0, 5, 6, 11].map(|at| document.line(at)), [1, 1, 2, 2]);
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let said = Document::new("f.toml", "a = 1\nb = \n").table().unwrap_err().to_string();
        assert!(said.starts_with("f.toml:2: ") && said.lines().count() == 1, "{said}");
        let said = Document::new("f.toml", "a = 1\na = 2\n").table().unwrap_err().to_string();
        assert!(said.starts_with("f.toml:2: duplicate key"), "{said}");
    }

    #[test]
    fn long_values_are_cut() {
        let document = Document::new("f", format!("a = [1,\n2]\nb = {:?}", "x".repeat(100)));
        let table = document.table().unwrap();
        let written: Vec<_> = table.values().map(|value| document.written(value)).collect();
        assert_eq!(written[0], "[1, 2]");
        assert!(written[1].len() < 70 && written[1].ends_with("x..."), "{}", written[1]);
    }
}
