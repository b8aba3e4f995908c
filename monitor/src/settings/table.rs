//! A table of a settings file while it is read: whoever the table is for takes the keys it knows, one by one; what is left in
//! the end nobody knows, and is refused with its line and the name that was probably meant. So each key stands in one place.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::values;
use crate::document::{Document, Error};

/// A table, and where it is.
#[derive(Debug)]
pub struct Table<'a> {
    document: &'a Document,
    /// As in messages: `[[group]]`.
    name: String,
    place: Range<usize>,
    left: Vec<(Range<usize>, &'a str, &'a Spanned<DeValue<'a>>)>,
    known: Vec<&'static str>,
    taken: Vec<(&'static str, Range<usize>)>,
}

/// A value that was read, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Its bytes in the file.
    pub place: Range<usize>,
}

/// Names that are less alike are no slips of one another.
const ALIKE: f64 = 0.75;

impl<'a> Table<'a> {
    /// A table of a document.
    pub fn new(
        document: &'a Document,
        name: impl Into<String>,
        place: Range<usize>,
        table: &'a DeTable<'a>,
    ) -> Table<'a> {
        let entries = table.iter().map(|(key, value)| (key.span(), key.get_ref().as_ref(), value));
        Table { document, name: name.into(), place, left: entries.collect(), known: Vec::new(), taken: Vec::new() }
    }

    /// Where it begins.
    pub fn place(&self) -> Range<usize> {
        self.place.clone()
    }

    /// Where a key stands that has been taken, or else the table.
    pub fn place_of(&self, key: &str) -> Range<usize> {
        self.taken.iter().find(|(name, _)| *name == key).map_or_else(|| self.place(), |(_, place)| place.clone())
    }

    /// What is written at a place.
    pub fn written(&self, place: Range<usize>) -> &'a str {
        self.document.text().get(place).unwrap_or_default()
    }

    /// What is wrong at a place of the file.
    pub fn wrong(&self, place: Range<usize>, what: &str) -> Error {
        self.document.wrong(place, what)
    }

    /// What is wrong with the table as a whole. A key that was meant and written wrongly explains it better.
    pub fn lacking(&self, what: &str) -> Error {
        let slip = |(place, key, _): &(Range<usize>, &'a str, _)| Some((place.clone(), *key, self.nearest(key)?));
        match self.left.iter().find_map(slip) {
            Some((place, key, near)) => self.unknown(place, key, &format!("did you mean {near}?")),
            None => self.wrong(self.place(), &format!("{}: {what}", self.name)),
        }
    }

    /// A value of any kind; the key is known from now on.
    pub fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        let at = self.left.iter().position(|(_, name, _)| *name == key)?;
        let (place, _, value) = self.left.swap_remove(at);
        self.taken.push((key, place));
        Some(value)
    }

    /// A text that is made something of.
    pub fn parsed<T, E: ToString>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<Placed<T>>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let text = value.get_ref().as_str().ok_or_else(|| self.expected(key, value, "a text in quotes"))?;
        let read = parse(text).map_err(|what| self.expected_by(key, value, &what.to_string()))?;
        Ok(Some(Placed { value: read, place: value.span() }))
    }

    /// A text that is not empty.
    pub fn text(&mut self, key: &'static str) -> Result<Option<Placed<String>>, Error> {
        self.parsed(key, |text| match text.trim() {
            "" => Err("expected a text that is not empty"),
            _ => Ok(text.to_owned()),
        })
    }

    /// A list of texts that are made something of; a single text is a list of one.
    pub fn list<T, E: ToString>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<Vec<Placed<T>>>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let items: Vec<_> = value.get_ref().as_array().map_or_else(|| vec![value], |items| items.iter().collect());
        let one = |item: &'a Spanned<DeValue<'a>>| {
            let text = item.get_ref().as_str().ok_or_else(|| self.expected(key, item, "a list of texts in quotes"))?;
            let read = parse(text).map_err(|what| self.expected_by(key, item, &what.to_string()))?;
            Ok(Placed { value: read, place: item.span() })
        };
        items.into_iter().map(one).collect::<Result<Vec<_>, Error>>().map(Some)
    }

    /// A list of texts that are not empty.
    pub fn texts(&mut self, key: &'static str) -> Result<Option<Vec<Placed<String>>>, Error> {
        self.list(key, |text| match text.trim() {
            "" => Err("expected texts that are not empty"),
            _ => Ok(text.to_owned()),
        })
    }

    /// A time such as `5m`, `1h30m`, `7d`, more than none.
    pub fn time(&mut self, key: &'static str) -> Result<Option<Duration>, Error> {
        Ok(self.parsed(key, values::time)?.map(|time| time.value))
    }

    /// A whole number within bounds.
    pub fn number(&mut self, key: &'static str, bounds: Range<u64>) -> Result<Option<u64>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let number = match value.get_ref() {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let what = format!("a number from {} to {}", bounds.start, bounds.end - 1);
        number.filter(|number| bounds.contains(number)).map(Some).ok_or_else(|| self.expected(key, value, &what))
    }

    /// A table within: `[KEY]`.
    pub fn table(&mut self, key: &'static str) -> Result<Option<Table<'a>>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let table = value.get_ref().as_table().ok_or_else(|| self.expected(key, value, &format!("a table [{key}]")))?;
        Ok(Some(Table::new(self.document, format!("[{key}]"), value.span(), table)))
    }

    /// Tables of the same kind: `[[KEY]]`.
    pub fn tables(&mut self, key: &'static str) -> Result<Vec<Table<'a>>, Error> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let each = |item: &'a Spanned<DeValue<'a>>| {
            let table = item.get_ref().as_table()?;
            Some(Table::new(self.document, format!("[[{key}]]"), item.span(), table))
        };
        let tables = value.get_ref().as_array().and_then(|items| items.iter().map(each).collect());
        tables.ok_or_else(|| self.expected(key, value, &format!("tables, each under [[{key}]]")))
    }

    /// Every key has been taken by somebody.
    pub fn finish(mut self) -> Result<(), Error> {
        self.left.sort_by_key(|(place, ..)| place.start);
        let Some((place, key, _)) = self.left.first() else { return Ok(()) };
        let instead = match self.nearest(key) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("known here: {}", self.known.join(", ")),
        };
        Err(self.unknown(place.clone(), key, &instead))
    }

    /// The key that was probably meant.
    fn nearest(&self, key: &str) -> Option<&'static str> {
        let alike = |known: &&'static str| (strsim::jaro(known, key), *known);
        let near = self.known.iter().map(alike).filter(|(alike, _)| *alike >= ALIKE);
        near.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, near)| near)
    }

    fn unknown(&self, place: Range<usize>, key: &str, instead: &str) -> Error {
        self.wrong(place, &format!("{}: no such key: {key}; {instead}", self.name))
    }

    fn expected(&self, key: &str, value: &Spanned<DeValue<'_>>, what: &str) -> Error {
        self.expected_by(key, value, &format!("expected {what}"))
    }

    fn expected_by(&self, key: &str, value: &Spanned<DeValue<'_>>, what: &str) -> Error {
        self.wrong(value.span(), &format!("{key} = {}: {what}", self.document.written(value)))
    }
}

impl<T> Placed<T> {
    /// The values alone.
    pub fn values(placed: Option<Vec<Placed<T>>>) -> Vec<T> {
        placed.into_iter().flatten().map(|placed| placed.value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(text: &str, take: impl Fn(&mut Table<'_>) -> Result<T, Error>) -> Result<T, String> {
        let document = Document::new("f", text);
        let table = document.table().unwrap();
        let mut table = Table::new(&document, "file", 0..0, &table);
        let taken = take(&mut table).map_err(|error| error.to_string())?;
        table.finish().map(|()| taken).map_err(|error| error.to_string())
    }

    #[test]
    fn what_nobody_takes_is_refused_with_the_nearest_name() {
        let take = |table: &mut Table<'_>| Ok((table.text("time-zone")?, table.text("store")?));
        assert_eq!(
            read("\ntimezone = 1\nx = 2", take).unwrap_err(),
            "f:2: file: no such key: timezone; did you mean time-zone?"
        );
        let strange = read("store = \"a\"\nq = 2", take).unwrap_err();
        assert_eq!(strange, "f:2: file: no such key: q; known here: time-zone, store");
    }

    #[test]
    fn values_of_the_wrong_kind_are_named() {
        let text = |table: &mut Table<'_>| table.text("a");
        assert_eq!(read("a = 1", text).unwrap_err(), "f:1: a = 1: expected a text in quotes");
        assert_eq!(read("a = \" \"", text).unwrap_err(), "f:1: a = \" \": expected a text that is not empty");
        let number = |table: &mut Table<'_>| table.number("a", 1..10);
        assert_eq!(read("a = 10", number).unwrap_err(), "f:1: a = 10: expected a number from 1 to 9");
        assert_eq!((read("a = 0x9", number), read("", number)), (Ok(Some(9)), Ok(None)));
        let tables = |table: &mut Table<'_>| table.tables("a").map(|tables| tables.len());
        assert_eq!(read("[a]\n", tables).unwrap_err(), "f:1: a = [a]: expected tables, each under [[a]]");
        assert_eq!(read("[[a]]\n[[a]]\n", tables), Ok(2));
    }

    #[test]
    fn one_text_is_a_list_of_one() {
        let list = |table: &mut Table<'_>| table.texts("a").map(Placed::values);
        assert_eq!(
            (read("a = \"b\"", list), read("a = [\"b\", \"c\"]", list)),
            (Ok(vec!["b".into()]), Ok(vec!["b".into(), "c".into()]))
        );
        assert_eq!(read("a = [\n\"b\",\n2]", list).unwrap_err(), "f:3: a = 2: expected a list of texts in quotes");
    }
}
