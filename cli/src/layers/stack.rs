//! The layers one upon the other: what each gives, which of them counts, and which profile is among them.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::LazyLock;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::catalogue::{Catalogue, adds_up, fault, long, normal};
use super::file::{File, Location};
use super::{Origin, Variables};
use crate::failure::Failure;

/// A setting as one layer gives it.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) name: String,
    pub(super) values: Vec<OsString>,
    /// As it was written there, for messages.
    pub(super) written: String,
    pub(super) origin: Origin,
}

/// What environment, file and profiles give.
#[derive(Debug)]
pub(super) struct Layers {
    /// The most important first.
    layers: Vec<Vec<Given>>,
    /// The file's profiles, chosen or not.
    profiles: Vec<Vec<Given>>,
}

/// Read once.
static BUILT_IN: LazyLock<File> = LazyLock::new(File::built_in);

impl Layers {
    pub(super) fn collect(definition: &Command, typed: &ArgMatches, variables: &Variables) -> Result<Layers, Failure> {
        let catalogue = Catalogue::new(definition);
        let file = Location::find(typed_path(typed), variables).read()?;
        let environment = variables.settings(catalogue)?;
        let settings = file.as_ref().map_or_else(|| Ok(Vec::new()), |file| file.settings(catalogue))?;
        let profile = match typed_profile(typed) {
            Some(name) => Some((0, name.into(), "--profile".into())),
            None => chosen(&environment, 1).or_else(|| chosen(&settings, 2)),
        };
        let profiles = file.as_ref().map_or_else(|| Ok(Vec::new()), |file| file.profiles(catalogue))?;
        let mut layers = vec![environment, settings];
        if let Some((rank, name, by)) = profile {
            layers.insert(rank, find_profile(&name, &by, file.as_ref(), catalogue)?);
        }
        Ok(Layers { layers, profiles })
    }

    /// Reads every value as if it had been typed, also those that do not count in the end.
    pub(super) fn check(&self, command: &Command) -> Result<(), Failure> {
        self.layers.iter().chain(&self.profiles).flatten().try_for_each(|given| given.check(command))
    }

    /// What counts: each setting from the first layer that has it, what was typed before all.
    pub(super) fn merge(&self, command: &Command, typed: &ArgMatches) -> Result<Vec<Given>, Failure> {
        let mut above = typed_options(command, typed);
        for layer in &self.layers {
            let counted: Vec<_> = layer.iter().filter(|given| given.counts(&above, command)).cloned().collect();
            refuse_rivals(&counted, command)?;
            above.extend(counted);
        }
        Ok(above)
    }
}

/// What was typed, as a layer. Whether it contradicts itself clap has told.
fn typed_options(command: &Command, typed: &ArgMatches) -> Vec<Given> {
    let options = command.get_arguments().filter(|arg| arg.get_long().is_some() && is_typed(typed, arg));
    let given = |arg: &Arg| Given {
        name: long(arg).to_owned(),
        values: raw(typed, arg).map(|value| normal(arg, value)).collect(),
        written: format!("--{}", long(arg)),
        origin: Origin::CommandLine,
    };
    options.map(given).collect()
}

/// A layer that contradicts itself.
fn refuse_rivals(layer: &[Given], command: &Command) -> Result<(), Failure> {
    layer.iter().try_for_each(|given| match layer.iter().find(|other| given.contradicts(other, command)) {
        Some(rival) => Err(given.wrong(&format!("cannot be together with {}", rival.written))),
        None => Ok(()),
    })
}

impl Given {
    /// Where it stands, to keep the order of a file.
    pub(super) fn line(&self) -> usize {
        if let Origin::File { line, .. } = self.origin { line } else { 0 }
    }

    /// Not a flag that is turned off.
    fn is_on(&self) -> bool {
        self.values.iter().all(|value| value != "false")
    }

    /// Whether nothing more important says the same or the opposite.
    fn counts(&self, above: &[Given], command: &Command) -> bool {
        let Some(arg) = own_arg(command, &self.name) else { return false };
        let beaten = above.iter().any(|other| other.name == self.name || self.contradicts(other, command));
        adds_up(arg) || !beaten
    }

    fn contradicts(&self, other: &Given, command: &Command) -> bool {
        self.is_bounded_by(other) || other.is_bounded_by(self) || self.excludes(other, command)
    }

    /// Two options that the definition does not let be together.
    fn excludes(&self, other: &Given, command: &Command) -> bool {
        let rivals = own_arg(command, &self.name).map(|arg| rivals(command, arg)).unwrap_or_default();
        self.is_on() && other.is_on() && rivals.contains(other.name.as_str())
    }

    /// A rate that is fixed, and a bound of one that is found.
    fn is_bounded_by(&self, other: &Given) -> bool {
        let fixed = self.name == "rate" && !self.values.iter().any(|value| value.eq_ignore_ascii_case("auto"));
        fixed && ["max-rate", "min-rate"].contains(&other.name.as_str())
    }

    fn check(&self, command: &Command) -> Result<(), Failure> {
        let Some(arg) = own_arg(command, &self.name) else { return Ok(()) };
        let fault = self.values.iter().find_map(|value| fault(command, arg, value));
        fault.map_or(Ok(()), |fault| Err(self.wrong(&fault)))
    }

    fn wrong(&self, what: &str) -> Failure {
        Failure::Setting(match &self.origin {
            Origin::File { name, line, .. } => format!("{name}:{line}: {}: {what}", self.written),
            _ => format!("{}: {what}", self.written),
        })
    }
}

fn typed_path(typed: &ArgMatches) -> Option<&Path> {
    typed.get_raw("config").and_then(|mut values| values.next()).map(Path::new)
}

fn typed_profile(typed: &ArgMatches) -> Option<&OsStr> {
    typed.try_get_raw("profile").ok()?.and_then(|mut values| values.next())
}

/// The profile that a layer chooses, and by what.
fn chosen(layer: &[Given], rank: usize) -> Option<(usize, OsString, String)> {
    let given = layer.iter().find(|given| given.name == "profile")?;
    let by = match &given.origin {
        Origin::File { name, line, .. } => format!("{name}:{line}: profile"),
        origin => origin.to_string(),
    };
    Some((rank, given.values.first()?.clone(), by))
}

/// A profile of the file, or else of the program.
fn find_profile(name: &OsStr, by: &str, file: Option<&File>, catalogue: Catalogue<'_>) -> Result<Vec<Given>, Failure> {
    let name = name.to_string_lossy();
    let files = || file.into_iter().chain([&*BUILT_IN]);
    for file in files() {
        if let Some(profile) = file.profile(&name, catalogue)? {
            return Ok(profile);
        }
    }
    let known: BTreeSet<_> = files().flat_map(File::profile_names).flatten().collect();
    let known: Vec<_> = known.into_iter().collect();
    Err(Failure::Setting(format!("{by}: no such profile: {name}; there are {}", known.join(", "))))
}

fn own_arg<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(name))
}

/// The options that cannot be together with this one, whichever of the two says so.
fn rivals<'a>(command: &'a Command, arg: &Arg) -> BTreeSet<&'a str> {
    let conflict =
        |a: &Arg, b: &Arg| command.get_arg_conflicts_with(a).iter().any(|other| other.get_id() == b.get_id());
    command
        .get_arguments()
        .filter(|other| conflict(arg, other) || conflict(other, arg))
        .filter_map(Arg::get_long)
        .collect()
}

fn is_typed(typed: &ArgMatches, arg: &Arg) -> bool {
    typed.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
}

fn raw(typed: &ArgMatches, arg: &Arg) -> impl Iterator<Item = OsString> {
    typed.get_raw(arg.get_id().as_str()).into_iter().flatten().map(OsStr::to_owned)
}
