//! `halfopen config`: the settings that count for a scan and where each is from; where the file of settings is; an
//! example of one.

use clap::{Arg, Args, Command};
use serde_json::json;

use crate::args::{self, ScanArgs};
use crate::failure::{self, DONE, Failure};
use crate::layers::{self, Effective, Location, Variables};
use crate::screen;
use crate::settings;

const EXAMPLES: &str = "\
Examples:
  What counts, and why:
    halfopen config
  What a profile makes of it:
    halfopen config --profile gentle
  A file to begin with, every setting in it as a comment:
    halfopen config --example > ~/.config/halfopen/config.toml
  For programs:
    halfopen config --json | jq -r '.settings[] | select(.from != \"default\") | .name'

Order: what is typed, the environment, the file, the defaults. The variable of --max-rate is HALFOPEN_MAX_RATE; one that \
is empty counts as unset; several values are separated by spaces. The file is named by --config or HALFOPEN_CONFIG \
(`none` for none), else it is halfopen/config.toml in $XDG_CONFIG_HOME or ~/.config. Under sudo the home is usually \
root's, and so is the file. Exclusions of all places add up. A profile counts a little less than the place that chooses it.

Not for files or the environment, because they are for once: targets, --checkpoint, --dry-run, --input, --then, --yes.";

const SHORT: &str = "`halfopen config --help` explains the order in which they count, and gives examples.";
/// What `halfopen config --help` lists; the options of a scan have their own help.
const SHOWN: [&str; 3] = ["Form", "Settings", "Help"];

/// `halfopen config`, as typed.
#[derive(Debug, Args)]
#[command(after_help = SHORT, after_long_help = EXAMPLES, mut_args(without_scan))]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    scan: ScanArgs,

    /// Print a JSON object: the file, and each setting with its values and their origin
    #[arg(long, help_heading = "Form", conflicts_with_all = ["path", "example"])]
    json: bool,

    /// Print where the file of settings is, or would be
    #[arg(long, help_heading = "Form", conflicts_with = "example")]
    path: bool,

    /// Print a file with every setting as a comment
    #[arg(long, help_heading = "Form")]
    example: bool,
}

fn without_scan(arg: Arg) -> Arg {
    let shown = arg.get_help_heading().is_some_and(|heading| SHOWN.contains(&heading));
    arg.hide(!shown)
}

/// Prints what was asked for.
pub(crate) fn run(args: &ConfigArgs, settings: &[Effective]) -> Result<u8, Failure> {
    if !args.path && !args.example {
        settings::check(&args.scan.targets).map_err(|failure| layers::located(failure, settings))?;
    }
    let location = Location::find(args.scan.layers.config.as_deref(), &Variables::of_process());
    let settings: Vec<_> = settings.iter().cloned().map(|setting| in_effect(setting, settings)).collect();
    let text = match args {
        ConfigArgs { path: true, .. } => format!("{location}\n"),
        ConfigArgs { example: true, .. } => example(&args::definition()),
        ConfigArgs { json: true, .. } => json(&location, &settings),
        _ => lines(&settings),
    };
    screen::print(&text).map_err(failure::stdout)?;
    Ok(DONE)
}

/// With what holds where nobody has said anything. What is shown then depends on the form: it is told of the one for people.
fn in_effect(setting: Effective, all: &[Effective]) -> Effective {
    let is_set = |name| all.iter().any(|one| one.name == name && !one.values.is_empty());
    let usual = match setting.name.as_str() {
        "output" => "human",
        "show" if !is_set("output") && !is_set("output-all") => "open",
        _ => return setting,
    };
    if setting.values.is_empty() { Effective { values: vec![usual.into()], ..setting } } else { setting }
}

/// One setting a line: name, values, origin.
fn lines(settings: &[Effective]) -> String {
    let value = |setting: &Effective| match setting.values.as_slice() {
        [] => "-".into(),
        values => values.join(" "),
    };
    let names = settings.iter().map(|setting| setting.name.len()).max().unwrap_or(0);
    let values = settings.iter().map(|setting| value(setting).len()).filter(|&width| width <= WIDE).max().unwrap_or(0);
    let line = |one: &Effective| format!("{:names$}  {:values$}  {}\n", one.name, value(one), one.origin);
    settings.iter().map(line).collect()
}

/// Values that are longer do not widen the column.
const WIDE: usize = 32;

fn json(location: &Location, settings: &[Effective]) -> String {
    let settings: Vec<_> = settings
        .iter()
        .map(|one| json!({ "name": one.name, "values": one.values, "from": one.origin.to_string() }))
        .collect();
    format!("{:#}\n", json!({ "type": "settings", "file": location.to_string(), "settings": settings }))
}

/// A file with every setting of a scan as a comment, from the definition of the command line.
fn example(definition: &Command) -> String {
    let mut text = String::from(INTRODUCTION);
    let mut heading = None;
    for arg in layers::settings_of(definition, "scan") {
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            text += &format!("\n# {}\n", heading.unwrap_or_default());
        }
        text += &format!("\n{}#{} = {}\n", comment(arg), layers::long(arg), sample(arg));
    }
    text
}

const INTRODUCTION: &str = "\
# Settings of halfopen. The keys are the long names of its options; `halfopen scan --help` explains them.
# Profiles of your own are tables: [profiles.NAME], chosen by --profile NAME or profile = \"NAME\".
";

fn comment(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let names: Vec<_> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let names =
        if layers::is_flag(arg) || names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    format!("# {help}{names}\n")
}

/// The default, or else what kind of value it takes.
fn sample(arg: &Arg) -> String {
    let kind =
        || arg.get_value_names().map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    let default = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
    let value = match default.or_else(kind).unwrap_or_default() {
        _ if layers::is_flag(arg) => "false".into(),
        number if number.parse::<u64>().is_ok() => number,
        text => format!("\"{text}\""),
    };
    if layers::takes_many(arg) { format!("[{value}]") } else { value }
}
