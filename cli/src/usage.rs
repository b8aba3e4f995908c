//! What is wrong with a command line, in one line: what, and what instead. clap finds it; help that was asked for is clap's, too.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::args;

/// The line, for a command line of these words. None for what was asked for: help and the version, and all commands where
/// none was named.
pub(crate) fn line(error: &clap::Error, words: &[OsString]) -> Option<String> {
    let command = Place::of(words);
    let shows_all = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand && command.words.is_empty();
    (error.use_stderr() && !shows_all).then(|| wrong(error, &command))
}

fn wrong(error: &clap::Error, command: &Place) -> String {
    let what = match error.kind() {
        ErrorKind::MissingRequiredArgument => {
            let missing = texts(error, ContextKind::InvalidArg);
            let who = if command.can_do_without(&missing) { "one of these options".into() } else { command.name() };
            format!("{who} needs {}", listed(&missing))
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => command.lacks(),
        ErrorKind::InvalidSubcommand => {
            let word = texts(error, ContextKind::InvalidSubcommand).join(" ");
            format!("{} has no command '{word}'", command.name())
        }
        _ => first_line(error),
    };
    let instead = similar(error).or_else(|| among(error)).or_else(|| command.instead(error.kind()));
    match instead {
        // A value's own text says what would be one.
        None => what,
        Some(instead) => format!("{what}; {instead}"),
    }
}

/// A command, and the words that lead there.
struct Place {
    words: Vec<String>,
    definition: clap::Command,
}

impl Place {
    fn of(words: &[OsString]) -> Place {
        let words: Vec<_> =
            args::command_words(words).into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let found = words.iter().try_fold(args::definition(), |at, word| at.find_subcommand(word).cloned());
        Place { words, definition: found.unwrap_or_else(args::definition) }
    }

    /// `halfopen alert test`.
    fn name(&self) -> String {
        ["halfopen"].into_iter().chain(self.words.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    }

    /// Whether nobody asks for these arguments but other arguments.
    fn can_do_without(&self, missing: &[String]) -> bool {
        // An argument has its name as clap writes it only in a command that is built, which has `help` among its commands, too.
        let mut built = self.definition.clone();
        built.build();
        let is_optional = |text: &String| {
            built.get_arguments().any(|argument| !argument.is_required_set() && argument.to_string() == *text)
        };
        missing.iter().all(is_optional)
    }

    fn lacks(&self) -> String {
        let arguments = self.definition.get_positionals().map(ToString::to_string).collect::<Vec<_>>();
        let what = if self.definition.has_subcommands() { "a command".into() } else { listed(&arguments) };
        format!("{} needs {what}", self.name())
    }

    fn instead(&self, kind: ErrorKind) -> Option<String> {
        let commands: Vec<_> = self.definition.get_subcommands().filter(|command| !command.is_hide_set()).collect();
        let commands: Vec<_> =
            commands.iter().map(|command| command.get_name()).filter(|name| *name != "help").collect();
        let few = (1..10).contains(&commands.len());
        match kind {
            ErrorKind::ValueValidation => None,
            ErrorKind::InvalidSubcommand
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                if few =>
            {
                Some(format!("there are {}", commands.join(", ")))
            }
            _ => Some(format!("see `{} --help`", self.name())),
        }
    }
}

/// What was probably meant.
fn similar(error: &clap::Error) -> Option<String> {
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    let meant = kinds.into_iter().map(|kind| texts(error, kind)).find(|texts| !texts.is_empty())?;
    Some(format!("did you mean {}?", meant.join(" or ")))
}

/// What would be a value.
fn among(error: &clap::Error) -> Option<String> {
    let valid = texts(error, ContextKind::ValidValue);
    (!valid.is_empty()).then(|| format!("expected one of {}", valid.join(", ")))
}

/// Of what clap says, what comes before its advice.
fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    // The standard library's words for a number.
    first.replace("invalid digit found in string", "expected a number")
}

fn texts(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

/// `A`, `A and B`, `A, B and C`.
fn listed(texts: &[String]) -> String {
    match texts {
        [] => "more".into(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(typed: &str) -> String {
        let words: Vec<OsString> =
            ["halfopen"].into_iter().chain(typed.split_whitespace()).map(OsString::from).collect();
        let error = args::definition().try_get_matches_from(&words).unwrap_err();
        line(&error, &words).expect("it is wrong")
    }

    #[test]
    fn what_was_asked_for_is_not_wrong() {
        for typed in [&["halfopen"][..], &["halfopen", "--help"], &["halfopen", "scan", "-h"], &["halfopen", "-V"]] {
            let words: Vec<_> = typed.iter().map(OsString::from).collect();
            let answer = args::definition().try_get_matches_from(&words).unwrap_err();
            assert_eq!(line(&answer, &words), None, "{typed:?}");
        }
    }

    #[test]
    fn what_is_missing() {
        assert_eq!(said("explain"), "halfopen explain needs <PORT|NAME>...; see `halfopen explain --help`");
        assert_eq!(said("diff a"), "halfopen diff needs <B>; see `halfopen diff --help`");
        assert_eq!(
            said("convert"),
            "halfopen convert needs --output <FORM[=FILE]> and <FILE>; see `halfopen convert --help`"
        );
        assert_eq!(
            said("scan 192.0.2.1 --then-jobs 2"),
            "one of these options needs --then <COMMAND>; see `halfopen scan --help`"
        );
        assert_eq!(said("alert"), "halfopen alert needs a command; there are test, log, replay");
        assert_eq!(said("alert test"), "halfopen alert test needs <CHANNEL>; see `halfopen alert test --help`");
        assert_eq!(
            said("scan 192.0.2.1 --rate"),
            "a value is required for '--rate <RATE>' but none was supplied; see `halfopen scan --help`"
        );
    }

    #[test]
    fn what_is_not_there() {
        assert_eq!(said("scann"), "halfopen has no command 'scann'; did you mean scan?");
        assert_eq!(said("nosuch"), "halfopen has no command 'nosuch'; see `halfopen --help`");
        assert_eq!(said("alert x"), "halfopen alert has no command 'x'; there are test, log, replay");
        assert_eq!(said("scan --prots 80"), "unexpected argument '--prots' found; did you mean --ports?");
        assert_eq!(said("scan --nosuch"), "unexpected argument '--nosuch' found; see `halfopen scan --help`");
        assert_eq!(said("alert test ops x"), "unexpected argument 'x' found; see `halfopen alert test --help`");
    }

    #[test]
    fn what_does_not_go() {
        assert_eq!(
            said("scan 192.0.2.1 --checkpoint f --then true"),
            "the argument '--checkpoint <FILE>' cannot be used with '--then <COMMAND>'; see `halfopen scan --help`"
        );
        assert_eq!(
            said("scan 192.0.2.1 --show shut"),
            "invalid value 'shut' for '--show <STATES>'; expected one of open, closed, filtered, down, all"
        );
        assert!(said("completion bsh").ends_with("; did you mean bash?"), "{}", said("completion bsh"));
        assert!(said("scan 192.0.2.1 --rate fast").ends_with("auto, or max"), "{}", said("scan 192.0.2.1 --rate fast"));
        assert_eq!(
            said("ack x"),
            "invalid value 'x' for '<INCIDENT>...': expected the number of an incident, or the first and the last of \
             several: 17-46"
        );
    }
}
