//! The file of settings, and the profiles in it and in the program: which keys they have, and that every one is known.
//! The keys are the options' long names.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::catalogue::{Catalogue, Named, long, normal, takes_many};
use super::stack::Given;
use super::{Origin, Variables};
use crate::failure::Failure;
use halfopen_monitor::document::Document;

/// The profiles that every halfopen knows.
static BUILT_IN: &str = include_str!("profiles.toml");
/// The table of profiles. (`profile`, the setting, chooses one.)
const PROFILES: &str = "profiles";
/// The setting that a profile cannot have.
const PROFILE: &str = "profile";
/// In place of a file's name: none at all.
const NONE: &str = "none";

/// A file with settings.
#[derive(Debug)]
pub(super) struct File {
    document: Document,
    built_in: bool,
}

/// Where the file is: named, or where such files usually are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// Somebody named it, and so it must be there.
    Named(PathBuf),
    /// It may be there.
    Usual(PathBuf),
    /// None is to be read, or there is no home.
    None,
}

impl Location {
    /// By `--config`, `HALFOPEN_CONFIG`, or the conventions for such files.
    pub(crate) fn find(typed: Option<&Path>, variables: &Variables) -> Location {
        let named = typed.map(Path::to_owned).or_else(|| variables.get("HALFOPEN_CONFIG").map(PathBuf::from));
        match named {
            Some(none) if none == Path::new(NONE) => Location::None,
            Some(path) => Location::Named(path),
            None => usual(variables).map_or(Location::None, Location::Usual),
        }
    }

    /// The file there, if one is.
    pub(super) fn read(&self) -> Result<Option<File>, Failure> {
        match self {
            Location::Named(path) => File::read(path).map(Some),
            Location::Usual(path) if path.exists() => File::read(path).map(Some),
            Location::Usual(_) | Location::None => Ok(None),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Named(path) | Location::Usual(path) => absolute(path).display().fmt(f),
            Location::None => f.write_str(NONE),
        }
    }
}

/// As the XDG Base Directory Specification says: a folder that is not absolute does not count.
fn usual(variables: &Variables) -> Option<PathBuf> {
    let folder = |name| variables.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(config.join("halfopen/config.toml"))
}

/// So that the origin of a setting says where it is, wherever it is read.
fn absolute(path: &Path) -> PathBuf {
    env::current_dir().map_or_else(|_| path.to_owned(), |folder| folder.join(path))
}

impl File {
    fn read(path: &Path) -> Result<File, Failure> {
        Ok(File { document: Document::read(&absolute(path))?, built_in: false })
    }

    /// The profiles that every halfopen knows.
    pub(super) fn built_in() -> File {
        File { document: Document::new("built-in profiles", BUILT_IN), built_in: true }
    }

    /// What it sets outside of profiles.
    pub(super) fn settings(&self, catalogue: Catalogue<'_>) -> Result<Vec<Given>, Failure> {
        self.given(&self.document.table()?, catalogue, None)
    }

    /// What one of its profiles sets, if it has that profile.
    pub(super) fn profile(&self, name: &str, catalogue: Catalogue<'_>) -> Result<Option<Vec<Given>>, Failure> {
        let table = self.document.table()?;
        let Some(profile) = self.tables(&table)?.and_then(|profiles| profiles.get(name)) else { return Ok(None) };
        self.given(self.table(profile, "a table of settings")?, catalogue, Some(name)).map(Some)
    }

    /// What each of its profiles sets.
    pub(super) fn profiles(&self, catalogue: Catalogue<'_>) -> Result<Vec<Vec<Given>>, Failure> {
        let each = |name: String| Ok(self.profile(&name, catalogue)?.unwrap_or_default());
        self.profile_names()?.into_iter().map(each).collect()
    }

    /// The names of its profiles.
    pub(super) fn profile_names(&self) -> Result<Vec<String>, Failure> {
        let table = self.document.table()?;
        let profiles = self.tables(&table)?;
        Ok(profiles.into_iter().flat_map(|all| all.keys()).map(|name| name.get_ref().to_string()).collect())
    }

    fn tables<'a>(&self, table: &'a DeTable<'a>) -> Result<Option<&'a DeTable<'a>>, Failure> {
        table.get(PROFILES).map(|value| self.table(value, "tables of settings, [profiles.NAME]")).transpose()
    }

    fn table<'a>(&self, value: &'a Spanned<DeValue<'a>>, what: &str) -> Result<&'a DeTable<'a>, Failure> {
        let wrong = || self.document.wrong(value.span(), &format!("expected {what}"));
        Ok(value.get_ref().as_table().ok_or_else(wrong)?)
    }

    fn given(
        &self,
        table: &DeTable<'_>,
        catalogue: Catalogue<'_>,
        profile: Option<&str>,
    ) -> Result<Vec<Given>, Failure> {
        let settings = table.iter().filter(|(key, _)| profile.is_some() || key.get_ref() != PROFILES);
        let given = settings.map(|(key, value)| self.one(key, value, catalogue, profile));
        let mut all = given.collect::<Result<Vec<_>, _>>()?;
        all.sort_by_key(Given::line);
        Ok(all)
    }

    fn one(
        &self,
        key: &Spanned<impl AsRef<str>>,
        value: &Spanned<DeValue<'_>>,
        catalogue: Catalogue<'_>,
        profile: Option<&str>,
    ) -> Result<Given, Failure> {
        let name = key.get_ref().as_ref();
        let wrong = |what: &str| Failure::from(self.document.wrong(key.span(), what));
        let arg = match catalogue.named(name) {
            Named::Setting(_) if profile.is_some() && name == PROFILE => {
                return Err(wrong("a profile cannot choose a profile"));
            }
            Named::Setting(arg) => arg,
            Named::TypedOnly => return Err(wrong(&format!("{name} is for the command line only"))),
            Named::Unknown(Some(near)) => return Err(wrong(&format!("no such setting: {name}; did you mean {near}?"))),
            Named::Unknown(None) => {
                return Err(wrong(&format!("no such setting: {name}; `halfopen config` lists them")));
            }
        };
        let written = format!("{name} = {}", self.document.written(value));
        let values = texts(value.get_ref()).map_err(|what| wrong(&format!("{written}: {what}")))?;
        if value.get_ref().is_array() && !takes_many(arg) {
            return Err(wrong(&format!("{written}: expected one value, not a list")));
        }
        let origin = self.origin(self.document.line(key.span().start), profile);
        let values = values.into_iter().map(|value| normal(arg, value)).collect();
        Ok(Given { name: long(arg).to_owned(), values, written, origin })
    }

    fn origin(&self, line: usize, profile: Option<&str>) -> Origin {
        match profile {
            Some(name) if self.built_in => Origin::BuiltIn { profile: name.to_owned() },
            profile => {
                Origin::File { name: self.document.name().to_owned(), line, profile: profile.map(str::to_owned) }
            }
        }
    }
}

/// A value as it would be typed.
fn texts(value: &DeValue<'_>) -> Result<Vec<OsString>, &'static str> {
    match value {
        DeValue::Array(items) => items.iter().map(|item| text(item.get_ref())).collect(),
        one => Ok(vec![text(one)?]),
    }
}

fn text(value: &DeValue<'_>) -> Result<OsString, &'static str> {
    match value {
        DeValue::String(text) => Ok(text.as_ref().into()),
        DeValue::Integer(number) if number.radix() == 16 => Ok(format!("0x{}", number.as_str()).into()),
        DeValue::Integer(number) => Ok(number.as_str().into()),
        DeValue::Float(number) => Ok(number.as_str().into()),
        DeValue::Boolean(on) => Ok(on.to_string().into()),
        _ => Err("expected a text, a number, true or false, or a list of them"),
    }
}
