//! Which options are settings: those of the commands that take `--config`, read off the definition of the command
//! line, so that a new option is one without being listed again. Names, variables and kinds are theirs.

use std::ffi::{OsStr, OsString};

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

/// Options that only the command line has: what is done once, what a person answers for, where settings are from, and
/// how `halfopen config` shows them. Targets have no name, and so are none either.
const TYPED_ONLY: [&str; 10] =
    ["checkpoint", "config", "dry-run", "example", "help", "input", "json", "path", "then", "yes"];
/// Before the names of environment variables.
pub(crate) const PREFIX: &str = "HALFOPEN_";
/// As clap has it for its own suggestions: the least similarity of a slip of the fingers.
const SIMILAR: f64 = 0.7;

/// The commands that have settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Catalogue<'a> {
    definition: &'a Command,
}

/// What a name stands for.
#[derive(Debug)]
pub(crate) enum Named<'a> {
    /// A setting.
    Setting(&'a Arg),
    /// An option that only the command line has.
    TypedOnly,
    /// Nothing; perhaps the name that was meant.
    Unknown(Option<&'a str>),
}

impl<'a> Catalogue<'a> {
    /// Of this definition of the command line.
    pub(crate) fn new(definition: &'a Command) -> Catalogue<'a> {
        Catalogue { definition }
    }

    /// What this name stands for, in any command; hyphens and underscores are the same.
    pub(crate) fn named(self, name: &str) -> Named<'a> {
        let name = name.replace('_', "-");
        match self.options().find(|arg| arg.get_long() == Some(&name)) {
            Some(arg) if is_setting(arg) => Named::Setting(arg),
            Some(_) => Named::TypedOnly,
            None => Named::Unknown(self.nearest(&name)),
        }
    }

    /// The settings of all commands.
    pub(crate) fn settings(self) -> impl Iterator<Item = &'a Arg> {
        self.options().filter(|arg| is_setting(arg))
    }

    fn options(self) -> impl Iterator<Item = &'a Arg> {
        let commands = self.definition.get_subcommands().filter(|command| has_settings(command));
        commands.flat_map(Command::get_arguments).filter(|arg| arg.get_long().is_some())
    }

    fn nearest(self, name: &str) -> Option<&'a str> {
        let near = self.settings().filter_map(|arg| Some((similarity(arg.get_long()?, name), arg.get_long()?)));
        near.filter(|(near, _)| *near > SIMILAR).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, long)| long)
    }
}

fn similarity(a: &str, b: &str) -> f64 {
    strsim::jaro(a, b)
}

/// Whether environment and files count for this command.
pub(crate) fn has_settings(command: &Command) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == "config")
}

/// Whether this option can be set elsewhere than on the command line.
pub(crate) fn is_setting(arg: &Arg) -> bool {
    let answers =
        matches!(arg.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version);
    arg.get_long().is_some_and(|long| !TYPED_ONLY.contains(&long)) && !answers
}

/// Whether its values of all layers count: what is to be left out is never forgotten because more is.
pub(crate) fn adds_up(arg: &Arg) -> bool {
    long(arg).starts_with("exclude")
}

/// Its name on the command line and in files.
pub(crate) fn long(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

/// Its name in the environment.
pub(crate) fn variable(arg: &Arg) -> String {
    format!("{PREFIX}{}", long(arg).replace('-', "_").to_ascii_uppercase())
}

/// Whether it takes several values.
pub(crate) fn takes_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// Whether it is on or off.
pub(crate) fn is_flag(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::SetFalse)
}

/// A value in the form in which it is compared and shown: flags are `true` or `false`.
pub(crate) fn normal(arg: &Arg, value: OsString) -> OsString {
    match value.to_str().map(str::to_ascii_lowercase).as_deref() {
        Some("1" | "y" | "yes" | "t" | "true" | "on") if is_flag(arg) => "true".into(),
        Some("0" | "n" | "no" | "f" | "false" | "off") if is_flag(arg) => "false".into(),
        _ => value,
    }
}

/// A definition in which every flag can also be given as `--flag=false`, so that what a file turns on can be turned off.
/// Help is not made from it.
pub(crate) fn with_values(definition: Command) -> Command {
    let commands: Vec<_> = definition.get_subcommands().filter(|c| has_settings(c)).map(name).collect();
    commands.into_iter().fold(definition, |all, command| all.mut_subcommand(command, |c| c.mut_args(with_value)))
}

fn name(command: &Command) -> String {
    command.get_name().to_owned()
}

fn with_value(arg: Arg) -> Arg {
    if !is_flag(&arg) || !is_setting(&arg) {
        return arg;
    }
    let (given, not) =
        if matches!(arg.get_action(), ArgAction::SetTrue) { ("true", "false") } else { ("false", "true") };
    let arg = arg.action(ArgAction::Set).num_args(0..=1).require_equals(true).value_name("true|false");
    arg.value_parser(BoolishValueParser::new()).default_missing_value(given).default_value(not)
}

/// What is wrong with a value, by the option's own reader; none if it is fine, or if this command does not have the
/// option.
pub(crate) fn fault(command: &Command, arg: &Arg, value: &OsStr) -> Option<String> {
    command.get_arguments().find(|own| own.get_id() == arg.get_id())?;
    let mut word = OsString::from(format!("--{}=", long(arg)));
    word.push(value);
    let error = command.clone().no_binary_name(true).try_get_matches_from([word]).err()?;
    match error.kind() {
        // What is missing or conflicts beside it is no fault of this value.
        ErrorKind::MissingRequiredArgument | ErrorKind::ArgumentConflict | ErrorKind::MissingSubcommand => None,
        _ => Some(reason(&error)),
    }
}

/// The reader's own half sentence.
fn reason(error: &clap::Error) -> String {
    if let Some(ContextValue::Strings(names)) = error.get(ContextKind::ValidValue) {
        return format!("expected one of {}", names.join(", "));
    }
    let whole = || error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    match std::error::Error::source(error).map(ToString::to_string) {
        Some(source) if source == "value was not a boolean" => "expected true or false".into(),
        source => source.unwrap_or_else(whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    fn settings() -> Vec<String> {
        let definition = args::definition();
        Catalogue::new(&definition).settings().map(|arg| long(arg).to_owned()).collect()
    }

    #[test]
    fn options_are_settings_unless_they_are_for_once() {
        let settings = settings();
        for name in ["rate", "ports", "exclude", "quiet", "show", "interface", "profile", "scope"] {
            assert!(settings.iter().any(|setting| setting == name), "{name}");
        }
        for name in TYPED_ONLY {
            assert!(!settings.iter().any(|setting| setting == name), "{name}");
        }
    }

    #[test]
    fn what_only_the_command_line_has_is_there() {
        let definition = args::definition();
        for name in TYPED_ONLY {
            assert!(matches!(Catalogue::new(&definition).named(name), Named::TypedOnly), "{name}");
        }
    }

    #[test]
    fn names_near_by_are_found() {
        let definition = args::definition();
        let nearest = |name| match Catalogue::new(&definition).named(name) {
            Named::Unknown(near) => near,
            other => panic!("{name} is {other:?}"),
        };
        assert_eq!(nearest("raet"), Some("rate"));
        assert_eq!(nearest("max_passs"), Some("max-passes"));
        assert_eq!(nearest("zzz"), None);
        assert!(matches!(Catalogue::new(&definition).named("max_passes"), Named::Setting(_)));
    }

    #[test]
    fn only_exclusions_add_up() {
        let definition = args::definition();
        let adding: Vec<_> = Catalogue::new(&definition).settings().filter(|arg| adds_up(arg)).map(long).collect();
        assert!(adding.contains(&"exclude") && adding.contains(&"exclude-file"), "{adding:?}");
        assert!(Catalogue::new(&definition).settings().filter(|arg| adds_up(arg)).all(takes_many));
    }
}
