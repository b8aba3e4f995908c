//! `halfopen completion`: what shells need to complete its command lines, made from their definition.

use clap::builder::PossibleValuesParser;
use clap::{Arg, Args, Command};
use clap_complete::{Shell, generate};

use crate::args;
use crate::failure::{self, DONE, Failure};
use crate::layers;
use crate::screen;
use halfopen_results::Form;

/// `halfopen completion`, as typed.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct CompletionArgs {
    /// For which shell
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  bash, for this user:
    halfopen completion bash > ~/.local/share/bash-completion/completions/halfopen
  zsh, into a folder of $fpath:
    halfopen completion zsh > ~/.zfunc/_halfopen
  fish:
    halfopen completion fish > ~/.config/fish/completions/halfopen.fish
  Only in this shell:
    source <(halfopen completion bash)";

/// Prints the script.
pub(crate) fn run(args: &CompletionArgs) -> Result<u8, Failure> {
    let mut script = Vec::new();
    generate(args.shell, &mut with_known_values(args::definition()), "halfopen", &mut script);
    screen::print(&String::from_utf8_lossy(&script)).map_err(failure::stdout)?;
    Ok(DONE)
}

/// A definition that names the forms and the profiles of the program, which its own lets be followed by more: a file, or names of
/// one's own.
fn with_known_values(definition: Command) -> Command {
    definition.mut_subcommands(|command| command.mut_args(with_known))
}

fn with_known(arg: Arg) -> Arg {
    let takes_form = arg.get_value_names().is_some_and(|names| names.iter().any(|name| name.ends_with("[=FILE]")));
    match arg.get_long() {
        Some("output") if takes_form => {
            arg.value_parser(PossibleValuesParser::new(["human"].into_iter().chain(Form::ALL.map(Form::name))))
        }
        Some("profile") => arg.value_parser(PossibleValuesParser::new(layers::built_in_profiles())),
        _ => arg,
    }
}
