//! `halfopen explain`: what ports and services are for, what an open one means, what to do. What is known is in
//! `halfopen_services`; here it is printed, for people (`text`) or as data (`record`).

mod record;
mod text;

use std::io::{self, Write};

use clap::Args;
use halfopen_services::{Answer, near};

use crate::failure::{self, DONE, Failure};

const EXAMPLES: &str = "\
Examples:
  halfopen explain 443 telnet
  halfopen explain 53/udp 5353/udp
  halfopen explain --json 3389 | jq -r '.answers[].service.advice'

A port number is a convention, not proof: any program can listen on any port.";

/// `halfopen explain`, as typed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct ExplainArgs {
    /// Ports (443, 53/udp) and names of services (telnet, postgres)
    ///
    /// A number alone is the TCP port, or the UDP port where only that one matters. Names are IANA's and the usual ones,
    /// in capitals or not.
    #[arg(value_name = "PORT|NAME", required = true, value_delimiter = ',')]
    words: Vec<String>,

    /// Print a JSON object with the same
    #[arg(long)]
    json: bool,
}

/// Prints what is known of every word, or of none if one is not known.
pub(crate) fn run(args: &ExplainArgs) -> Result<u8, Failure> {
    let answers = answers(&args.words)?;
    let text = if args.json { record::object(&answers) } else { text::page(&answers) };
    print(&text).map_err(failure::stdout)?;
    Ok(DONE)
}

/// Each thing once, in the order in which it was asked for.
fn answers(words: &[String]) -> Result<Vec<Answer>, Failure> {
    let mut answers = Vec::new();
    for word in words {
        let found = halfopen_services::explain(word).ok_or_else(|| unknown(word))?;
        for answer in found {
            if !answers.contains(&answer) {
                answers.push(answer);
            }
        }
    }
    Ok(answers)
}

fn unknown(word: &str) -> Failure {
    Failure::NoService { word: word.into(), near: near(word) }
}

/// With colours on a terminal.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
