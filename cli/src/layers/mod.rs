//! Settings as typed, over the environment, over a file, over defaults. Which options are settings and how their values
//! are read is the command line's definition (`catalogue`): what the layers give becomes its defaults, so that the
//! arguments come out as if they had been typed, and every value knows its origin.
//!
//! A profile is a set of settings with a name. It ranks directly below the place that chooses it: one that is typed
//! counts more than the file's other settings, one that the file chooses less.

mod blame;
mod catalogue;
mod file;
mod stack;
mod variables;

use std::ffi::{OsStr, OsString};
use std::fmt;

use clap::builder::OsStr as Default;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Command};

use crate::failure::Failure;
use catalogue::{Catalogue, adds_up, has_settings, is_setting};
use stack::{Given, Layers};

pub(crate) use blame::located;
pub(crate) use catalogue::{is_flag, long, takes_many};
use file::File;
pub(crate) use file::Location;
pub(crate) use variables::Variables;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was typed.
    CommandLine,
    /// A variable of this name.
    Environment(String),
    /// A line of a file.
    File {
        /// The file.
        name: String,
        /// Counted from 1.
        line: usize,
        /// The profile it stands in.
        profile: Option<String>,
    },
    /// A profile of the program's own.
    BuiltIn {
        /// Its name.
        profile: String,
    },
    /// Nobody set it.
    Default,
}

/// A setting as it counts.
#[derive(Debug, Clone)]
pub(crate) struct Effective {
    /// Its name on the command line and in files.
    pub(crate) name: String,
    /// As they would be typed; none where nothing is set.
    pub(crate) values: Vec<String>,
    /// Where they come from.
    pub(crate) origin: Origin,
}

/// A command line with everything that counts.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The arguments, as if all had been typed.
    pub(crate) matches: ArgMatches,
    /// The settings, in the order of the help. What adds up is there once for each place that gives some.
    pub(crate) settings: Vec<Effective>,
    /// What looks like a mistake, but does no harm.
    pub(crate) warnings: Vec<String>,
}

/// Why a command line could not be resolved.
#[derive(Debug)]
pub(crate) enum Unresolved {
    /// Clap's answer to what was typed: an error, help, or the version.
    Answer(clap::Error),
    /// Something is wrong in the environment or the file.
    Failure(Box<Failure>),
}

impl From<Failure> for Unresolved {
    fn from(failure: Failure) -> Unresolved {
        Unresolved::Failure(Box::new(failure))
    }
}

/// Reads a command line by this definition, in this environment.
pub(crate) fn resolve(definition: &Command, words: &[OsString], variables: &Variables) -> Result<Resolved, Unresolved> {
    let lenient = catalogue::with_values(definition.clone());
    let typed = lenient.clone().try_get_matches_from(words).map_err(|answer| plain(answer, definition, words))?;
    let command = typed.subcommand_name().and_then(|name| definition.find_subcommand(name));
    let (Some(command), Some((_, own))) = (command.filter(|command| has_settings(command)), typed.subcommand()) else {
        return Ok(Resolved { matches: typed, settings: Vec::new(), warnings: Vec::new() });
    };
    let layers = Layers::collect(definition, own, variables)?;
    let lenient_command = lenient.find_subcommand(command.get_name()).unwrap_or(command);
    layers.check(lenient_command)?;
    let given = layers.merge(command, own)?;
    let settings = effective(lenient_command, &given);
    let words = with_additions(words, command, &given);
    let completed = lenient.mut_subcommand(command.get_name(), |command| with_defaults(command, &given));
    let matches = completed.try_get_matches_from(words).map_err(Unresolved::Answer)?;
    Ok(Resolved { matches, settings, warnings: variables.warnings(Catalogue::new(definition)) })
}

/// Help says how flags are usually given.
fn plain(answer: clap::Error, definition: &Command, words: &[OsString]) -> Unresolved {
    let help = answer.kind() == ErrorKind::DisplayHelp;
    let plain = help.then(|| definition.clone().try_get_matches_from(words).err()).flatten();
    Unresolved::Answer(plain.unwrap_or(answer))
}

/// The names of the program's own profiles.
pub(crate) fn built_in_profiles() -> Vec<String> {
    File::built_in().profile_names().unwrap_or_default()
}

/// The settings of a command, in the order of its help.
pub(crate) fn settings_of<'a>(definition: &'a Command, command: &str) -> impl Iterator<Item = &'a Arg> {
    let command = definition.find_subcommand(command).into_iter();
    command.flat_map(Command::get_arguments).filter(|arg| is_setting(arg))
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::CommandLine => f.write_str("command line"),
            Origin::Environment(variable) => f.write_str(variable),
            Origin::File { name, line, profile: None } => write!(f, "{name}:{line}"),
            Origin::File { name, line, profile: Some(profile) } => write!(f, "{name}:{line} (profile {profile})"),
            Origin::BuiltIn { profile } => write!(f, "profile {profile}"),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// The command with what was given elsewhere in place of its defaults.
fn with_defaults(command: Command, given: &[Given]) -> Command {
    command.mut_args(|arg| {
        let values: Vec<Default> = elsewhere(&arg, given).cloned().map(Default::from).collect();
        if values.is_empty() { arg } else { arg.required(false).default_values(values) }
    })
}

/// Defaults do not count where something was typed; what adds up is typed, too.
fn with_additions(words: &[OsString], command: &Command, given: &[Given]) -> Vec<OsString> {
    let adding = command.get_arguments().filter(|arg| is_setting(arg) && adds_up(arg) && is_typed(arg, given));
    let additions = adding.flat_map(|arg| elsewhere(arg, given).map(|value| word(arg, value)));
    let after = words.iter().position(|word| word == command.get_name()).map_or(words.len(), |at| at + 1);
    let (head, tail) = words.split_at(after);
    head.iter().cloned().chain(additions).chain(tail.iter().cloned()).collect()
}

fn of<'a>(arg: &Arg, given: &'a [Given]) -> impl Iterator<Item = &'a Given> {
    let name = arg.get_long();
    given.iter().filter(move |given| Some(given.name.as_str()) == name)
}

fn is_typed(arg: &Arg, given: &[Given]) -> bool {
    of(arg, given).any(|given| given.origin == Origin::CommandLine)
}

fn elsewhere<'a>(arg: &Arg, given: &'a [Given]) -> impl Iterator<Item = &'a OsString> {
    of(arg, given).filter(|given| given.origin != Origin::CommandLine).flat_map(|given| &given.values)
}

fn word(arg: &Arg, value: &OsStr) -> OsString {
    let mut word = OsString::from(format!("--{}=", long(arg)));
    word.push(value);
    word
}

fn effective(command: &Command, given: &[Given]) -> Vec<Effective> {
    command.get_arguments().filter(|arg| is_setting(arg)).flat_map(|arg| places(arg, given)).collect()
}

/// A setting, from each place that has some of it.
fn places(arg: &Arg, given: &[Given]) -> Vec<Effective> {
    let entry = |values, origin| Effective { name: long(arg).to_owned(), values, origin };
    let places: Vec<_> =
        of(arg, given).map(|given| entry(given.values.iter().map(lossy).collect(), given.origin.clone())).collect();
    if !places.is_empty() {
        return places;
    }
    let default = arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    vec![entry(default, Origin::Default)]
}

fn lossy(value: &OsString) -> String {
    value.to_string_lossy().into_owned()
}
