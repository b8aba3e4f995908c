//! `halfopen completion`: what shells need to complete its command lines, made from their definition.

use clap::Args;
use clap_complete::{Shell, generate};

use crate::args;
use crate::failure::{self, DONE, Failure};
use crate::screen;

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
    generate(args.shell, &mut args::definition(), "halfopen", &mut script);
    screen::print(&String::from_utf8_lossy(&script)).map_err(failure::stdout)?;
    Ok(DONE)
}
