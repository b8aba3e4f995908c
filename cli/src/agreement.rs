//! Tests that the command line, its help, the manual pages, the documents and the tests speak of the same options.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};

use crate::args;

/// Every command that a user sees, the program itself among them, and commands of commands.
fn commands() -> Vec<Command> {
    let mut definition = args::definition().disable_help_subcommand(true);
    definition.build();
    with_own(&definition)
}

fn with_own(command: &Command) -> Vec<Command> {
    let own = command.get_subcommands().filter(|command| !command.is_hide_set()).flat_map(with_own);
    own.chain([command.clone()]).collect()
}

fn visible(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_hide_set())
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(here(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All Rust files of a folder, in one text.
fn rust_files(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| match path.extension() {
        _ if path.is_dir() => rust_files(&path),
        Some(extension) if extension == "rs" => fs::read_to_string(path).unwrap(),
        _ => String::new(),
    };
    paths.map(text).collect()
}

/// Whether a word of command lines stands in a text, and not as part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), text[at + word.len()..].chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

#[test]
fn every_option_has_a_test() {
    let tests = rust_files(&here("tests"));
    let mut untested = BTreeSet::new();
    for command in commands() {
        for arg in visible(&command).filter(|arg| arg.get_long().is_some()) {
            let long = format!("--{}", arg.get_long().unwrap());
            let short = arg.get_short().is_some_and(|short| tests.contains(&format!(" -{short}")));
            if !short && !has_word(&tests, &long) {
                untested.insert(long);
            }
        }
    }
    assert_eq!(untested, BTreeSet::new(), "no test under cli/tests has these");
}

#[test]
fn every_command_gives_examples_of_itself() {
    // Those of a command's own commands stand there.
    let definition = args::definition();
    let own = definition.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    for command in own.chain([definition.clone()]) {
        let help = command.clone().render_long_help().to_string();
        assert!(help.contains("Examples:\n"), "{}", command.get_name());
        assert!(help.contains(command.get_bin_name().unwrap_or("halfopen")), "{help}");
    }
}

/// Nobody scrolls for the short help: what an option is fits a line or two.
#[test]
fn short_help_is_short() {
    for command in commands() {
        for arg in visible(&command) {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!((1..=110).contains(&help.len()), "{} {}: {help}", command.get_name(), arg.get_id());
            assert!(!help.ends_with('.'), "{} {}: {help}", command.get_name(), arg.get_id());
        }
    }
}

#[test]
fn options_in_the_documents_exist() {
    let longs =
        |command: &Command| command.get_arguments().filter_map(Arg::get_long).map(str::to_owned).collect::<Vec<_>>();
    let known: BTreeSet<_> = commands().iter().flat_map(longs).chain(["help".into(), "version".into()]).collect();
    for document in [
        "../README.md",
        "SCOPE.md",
        "STATS.md",
        "WATCH.md",
        "../results/JSONL.md",
        "../CHANGELOG.md",
        "../capabilities.md",
        "../monitor/ALERTS.md",
        "../monitor/POLICY.md",
    ] {
        // What follows cargo, nmap and others is theirs; the change log also names what is gone.
        let text = read(document).replace("Replaces `--passes`", "");
        let ours = text
            .lines()
            .filter(|line| !["cargo ", "git ", "unshare ", "nmap -sS"].iter().any(|other| line.contains(other)));
        for option in ours.flat_map(options) {
            assert!(known.contains(&option), "{document} has --{option}, which is no option");
        }
    }
}

/// The long options in a line.
fn options(line: &str) -> Vec<String> {
    let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let starts = line.match_indices("--").filter(|&(at, _)| !line[..at].ends_with(|c: char| part(c) || c == '|'));
    let names = starts.map(|(at, _)| line[at + 2..].chars().take_while(|&c| part(c)).collect::<String>());
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())).collect()
}

#[test]
fn words_are_whole() {
    assert!(has_word("scan --rate 5", "--rate") && has_word("--rate=5", "--rate"));
    assert!(!has_word("--rates --max-rate --rate-limit", "--rate"));
    assert_eq!(options("`--rate 5`, (--no-progress) --- a--b |---|"), ["rate", "no-progress"]);
}
