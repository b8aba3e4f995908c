//! The environment as a layer: `HALFOPEN_` and the option's name in capitals. Several values are separated by white space;
//! a variable that is empty counts as unset.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::{OsStr, OsString};

use clap::Arg;

use super::catalogue::{Catalogue, Named, PREFIX, long, normal, takes_many, variable};
use super::{Given, Origin};
use crate::failure::Failure;

/// The environment's variables.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables(BTreeMap<OsString, OsString>);

impl Variables {
    /// Those of this process.
    pub(crate) fn of_process() -> Variables {
        Variables(env::vars_os().collect())
    }

    /// A variable that is set, and not to nothing.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// What it sets.
    pub(super) fn settings(&self, catalogue: Catalogue<'_>) -> Result<Vec<Given>, Failure> {
        let mut seen = BTreeSet::new();
        let settings = catalogue.settings().filter(|arg| seen.insert(long(arg)));
        let given = settings.filter_map(|arg| Some(given_by(arg, self.get(&variable(arg))?))).collect();
        match self.ours().find(|name| matches!(catalogue.named(name), Named::TypedOnly) && name != "config") {
            None => Ok(given),
            Some(name) => {
                let what = format!("{}: --{name} is for the command line only", variable_of(&name));
                Err(Failure::Setting(what))
            }
        }
    }

    /// A variable that nearly has the name of a setting is a slip; others may be somebody else's.
    pub(super) fn warnings(&self, catalogue: Catalogue<'_>) -> Vec<String> {
        let slip = |name: String| match catalogue.named(&name) {
            Named::Unknown(Some(near)) => Some((variable_of(&name), variable_of(near))),
            _ => None,
        };
        self.ours().filter_map(slip).map(|(name, near)| format!("{name} sets nothing; did you mean {near}?")).collect()
    }

    /// The names of settings after which variables are called.
    fn ours(&self) -> impl Iterator<Item = String> {
        let names = self.0.iter().filter(|(_, value)| !value.is_empty()).filter_map(|(name, _)| name.to_str());
        names.filter_map(|name| name.strip_prefix(PREFIX)).map(|name| name.to_ascii_lowercase().replace('_', "-"))
    }
}

fn variable_of(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('-', "_").to_ascii_uppercase())
}

/// Several values are separated by white space.
fn given_by(arg: &Arg, value: &OsStr) -> Given {
    let name = variable(arg);
    let values = match value.to_str().filter(|_| takes_many(arg)) {
        Some(text) => text.split_whitespace().map(OsString::from).collect(),
        None => vec![normal(arg, value.to_owned())],
    };
    let written = format!("{name}={}", value.to_string_lossy());
    Given { name: long(arg).to_owned(), values, written, origin: Origin::Environment(name) }
}
