//! `halfopen man`: the manual pages, made from the definition of the command line and so never behind it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::args;
use crate::failure::{self, DONE, Failure};
use crate::screen;

/// `halfopen man`, as typed.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ManArgs {
    /// The command whose page is printed [default: halfopen itself]
    #[arg(value_name = "COMMAND")]
    command: Option<String>,

    /// Write all pages into this folder, for a package
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    to: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  Read the page of scan:
    halfopen man scan | man -l -
  All pages where man finds them:
    halfopen man --to ~/.local/share/man/man1";

/// Prints one page, or writes all.
pub(crate) fn run(args: &ManArgs) -> Result<u8, Failure> {
    match &args.to {
        Some(folder) => write_all(folder)?,
        None => screen::print(&page_of(args.command.as_deref())?).map_err(failure::stdout)?,
    }
    Ok(DONE)
}

/// A page for the program and each of its commands.
fn commands() -> Vec<Command> {
    let mut definition = args::definition().disable_help_subcommand(true);
    definition.build();
    with_own(&definition)
}

fn with_own(command: &Command) -> Vec<Command> {
    let own = command.get_subcommands().filter(|command| !command.is_hide_set()).flat_map(with_own);
    own.chain([command.clone()]).collect()
}

fn page_of(name: Option<&str>) -> Result<String, Failure> {
    let commands = commands();
    let name = name.unwrap_or("halfopen");
    match commands.iter().find(|command| short(command) == name) {
        Some(command) => page(command).map_err(|source| failure::stdout(source).into()),
        None => {
            let names: Vec<_> = commands.iter().map(short).collect();
            Err(Failure::Setting(format!("no page for {name}; there are {}", names.join(", "))))
        }
    }
}

/// As its page is asked for: `scan`, `policy-check`.
fn short(command: &Command) -> &str {
    let full = command.get_display_name().unwrap_or_else(|| command.get_name());
    full.strip_prefix("halfopen-").unwrap_or(full)
}

fn write_all(folder: &Path) -> Result<(), Failure> {
    let failure = |path: &Path| {
        let name = path.to_string_lossy().into_owned();
        move |source| Failure::Write { name, source }
    };
    fs::create_dir_all(folder).map_err(failure(folder))?;
    for command in commands() {
        let path = folder.join(Man::new(command.clone()).get_filename());
        let text = page(&command).map_err(failure(&path))?;
        fs::write(&path, text).map_err(failure(&path))?;
    }
    Ok(())
}

/// clap_mangen's, but for the text after the options: its lines stay lines.
fn page(command: &Command) -> io::Result<String> {
    let man = Man::new(command.clone()).manual("halfopen").source(concat!("halfopen ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    after(command).to_writer(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Examples as they are typed, and the notes behind them.
fn after(command: &Command) -> Roff {
    let text = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string).unwrap_or_default();
    let (titled, notes): (Vec<_>, Vec<_>) = text.split("\n\n").partition(|paragraph| paragraph.contains(":\n"));
    let mut roff = Roff::new();
    for (title, lines) in titled.into_iter().filter_map(|paragraph| paragraph.split_once(":\n")) {
        roff.control("SH", [title.to_ascii_uppercase().as_str()]);
        roff.control("nf", []).text([roman(lines)]).control("fi", []);
    }
    let notes: Vec<_> = notes.into_iter().filter(|note| !note.is_empty()).collect();
    if !notes.is_empty() {
        roff.control("SH", ["NOTES"]);
    }
    for note in notes {
        roff.control("PP", []).text([roman(note)]);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As roff has it.
    fn escaped(option: &str) -> String {
        format!("\\-\\-{}", option.replace('-', "\\-"))
    }

    #[test]
    fn every_page_has_every_option_of_its_command() {
        let commands = commands();
        assert!(commands.iter().any(|command| command.get_name() == "scan"));
        for command in commands {
            let page = page(&command).unwrap();
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let option = arg.get_long().map(escaped).unwrap_or_default();
                assert!(page.contains(&option), "{} {option}", command.get_name());
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let beginning = help.split([' ', '-', '\'', '[']).next().unwrap_or_default();
                assert!(page.contains(beginning), "{} {option} {beginning}", command.get_name());
            }
        }
    }

    #[test]
    fn every_command_is_on_the_first_page() {
        let first = page_of(None).unwrap();
        for command in args::definition().get_subcommands().filter(|command| !command.is_hide_set()) {
            assert!(first.contains(&format!("halfopen\\-{}(1)", command.get_name())), "{}", command.get_name());
        }
        assert!(first.contains(".SH EXAMPLES\n.nf\n") && first.contains(".SH FILES\n"), "{first}");
    }
}
