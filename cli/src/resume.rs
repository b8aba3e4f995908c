//! `halfopen resume`: goes on with a scan that was interrupted, as its checkpoint has it, at another rate if need be.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use halfopen::{Checkpoint, Event, HostRate, Pps, Rate};
use halfopen_results::sink::Mark;
use halfopen_results::{Destination, disk};

use crate::args::{self, Command, LinkArg, ReceiveArg, ScanArgs};
use crate::checkpoint::{self, Header, Hold, Kept};
use crate::failure::Failure;
use crate::journal;
use crate::keeper::Wish;
use crate::layers::{Effective, Origin, Unresolved, Variables};
use crate::output::told::Told;
use crate::scan;
use crate::settings::Settings;
use crate::values;

const EXAMPLES: &str = "\
Examples:
  A scan that can be resumed, whatever happens to it:
    halfopen scan 192.0.2.0/24 -p- -o jsonl=scan.jsonl --checkpoint scan.checkpoint
  Going on with it, more slowly:
    halfopen resume scan.checkpoint --rate 1k

Outputs that are files go on where they were: every finding stands in them once. What went to standard output in the \
last seconds before the scan was killed may be printed again. Settings and files of targets are those of the scan; \
if targets have changed meanwhile, nothing is sent. A scope that is set now binds the scan beside the one it began with. \
After a kill, probes sent since the last checkpoint are not counted, and the account says \"at least\". One program at a time \
can go on with a scan.";

/// `halfopen resume`, as typed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ResumeArgs {
    /// What --checkpoint has written
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Probes a second: auto, 500, 10k, 1.5M, or max
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = values::rate)]
    rate: Option<Rate>,

    /// The highest rate that auto tries
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = values::pps)]
    max_rate: Option<Pps>,

    /// The lowest rate that auto falls to
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = values::pps)]
    min_rate: Option<Pps>,

    /// Probes a second that any single host gets at most: auto, a number, or none
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = values::host_rate)]
    host_rate: Option<HostRate>,

    /// How many threads send
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    senders: Option<u8>,

    /// How often a target is probed at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=15))]
    max_passes: Option<u8>,

    /// Send through this interface
    #[arg(short = 'e', long, value_name = "NAME")]
    interface: Option<String>,

    /// How packets are put on the wire
    #[arg(long, value_name = "LINK", value_enum)]
    link: Option<LinkArg>,

    /// How replies are received
    #[arg(long, value_name = "WAY", value_enum)]
    receive: Option<ReceiveArg>,

    /// Print findings, warnings and errors only
    #[arg(short, long)]
    quiet: bool,

    /// Show no progress bar
    #[arg(long)]
    no_progress: bool,
}

/// What a scan goes on from.
pub(crate) struct Past {
    pub(crate) checkpoint: Checkpoint,
    /// How far its outputs had come.
    pub(crate) marks: Vec<Mark>,
    /// What the account is to say of what was found before.
    pub(crate) told: Told,
    /// What was found since, and is to be told again where outputs were cut back.
    pub(crate) events: Vec<Event>,
}

/// Does it.
pub(crate) fn run(args: &ResumeArgs) -> Result<u8, Failure> {
    let failed = |name: &Path, source| Failure::Open { name: name.display().to_string(), source };
    let path = disk::behind(&args.file).map_err(|source| failed(&args.file, source))?;
    let hold = Hold::take(&path)?;
    let Kept { header, mut checkpoint } = hold.read()?;
    let scope = configured_scope()?;
    let (events, generation) = journal::read(&path, header.generation).map_err(|source| failed(&path, source))?;
    events.iter().for_each(|event| note(&mut checkpoint, event));
    if generation > header.generation {
        // A part that follows: whoever began it did not come to an end.
        checkpoint.note_kill();
    }
    env::set_current_dir(&header.directory).map_err(|source| failed(&header.directory, source))?;
    let mut scan = scan_args(&header.words)?;
    args.change(&mut scan);
    scan.permit.also = scope;
    scan.probing.seed = Some(checkpoint.seed());
    // Written on, and so no business of what is given up.
    scan.output.checkpoint = Some(path.clone());
    let settings = Settings::new(scan)?;
    let every = settings.args.output.checkpoint_every;
    let Header { directory, words, marks, told, .. } = header;
    let header = Header { program: version(), generation, directory, words, marks: Vec::new(), told: Told::default() };
    let wish = Wish { path, every, header, hold: Some(hold) };
    scan::go_on(&settings, wish, Past { checkpoint, marks, told, events })
}

/// The scope that every scan of this user has to keep to now, by the environment or the file of settings: it binds one that
/// goes on as well, whatever held when it began.
fn configured_scope() -> Result<Option<PathBuf>, Failure> {
    let words = ["halfopen", "scan"].map(OsString::from);
    match args::parse(&words, &Variables::of_process()) {
        Ok(args::Parsed { command: Command::Scan(scan), .. }) => Ok(scan.permit.scope.map(|scope| full_name(&scope))),
        Err(Unresolved::Failure(failure)) => Err(*failure),
        Ok(_) | Err(Unresolved::Answer(_)) => Ok(None),
    }
}

fn note(checkpoint: &mut Checkpoint, event: &Event) {
    match event {
        Event::Verdict(verdict) => checkpoint.note(verdict),
        Event::HostDown { address, .. } => checkpoint.note_down(*address),
        Event::Suspect(suspicion) => checkpoint.note_suspect(*suspicion),
        _ => {}
    }
}

/// The command that was kept. Environment and files of settings had their say when it was typed.
fn scan_args(words: &[String]) -> Result<ScanArgs, Failure> {
    let head = ["halfopen", "scan", "--config=none"].map(OsString::from);
    let words: Vec<OsString> = head.into_iter().chain(words.iter().map(OsString::from)).collect();
    let damaged =
        |why: String| Failure::Setting(format!("cannot resume: the command that was kept is not understood: {why}"));
    match args::parse(&words, &Variables::default()) {
        Ok(args::Parsed { command: Command::Scan(scan), .. }) => Ok(*scan),
        Ok(_) => Err(damaged("it is no scan".into())),
        Err(Unresolved::Failure(failure)) => Err(*failure),
        Err(Unresolved::Answer(answer)) => Err(damaged(answer.to_string().lines().next().unwrap_or_default().into())),
    }
}

impl ResumeArgs {
    /// What is typed now counts more than what was. A new rate makes the old one's bounds void, and the other way round.
    fn change(&self, scan: &mut ScanArgs) {
        let (probing, network, output) = (&mut scan.probing, &mut scan.network, &mut scan.output);
        if self.rate.is_some() {
            (probing.max_rate, probing.min_rate) = (None, None);
        }
        if self.max_rate.is_some() || self.min_rate.is_some() {
            probing.rate = Rate::Auto;
        }
        set(&mut probing.rate, self.rate);
        set(&mut probing.host_rate, self.host_rate);
        set(&mut probing.senders, self.senders);
        set(&mut probing.max_passes, self.max_passes);
        set(&mut network.link, self.link);
        set(&mut network.receive, self.receive);
        probing.max_rate = self.max_rate.or(probing.max_rate);
        probing.min_rate = self.min_rate.or(probing.min_rate);
        network.interface = self.interface.clone().or(network.interface.take());
        output.quiet |= self.quiet;
        output.no_progress |= self.no_progress;
    }
}

fn set<T>(old: &mut T, new: Option<T>) {
    new.into_iter().for_each(|new| *old = new);
}

/// Where a new scan is kept, if that is wished for.
pub(crate) fn wish(settings: &Settings, effective: &[Effective]) -> Result<Option<Wish>, Failure> {
    let output = &settings.args.output;
    let Some(path) = output.checkpoint.as_deref().map(full_name) else { return Ok(None) };
    checkpoint::is_free(&path)?;
    resumable(settings)?;
    let directory = env::current_dir().map_err(|source| Failure::Open { name: ".".into(), source })?;
    let words = words(&settings.args, effective);
    let (marks, told) = (Vec::new(), Told::default());
    let header = Header { program: version(), generation: 0, directory, words, marks, told };
    Ok(Some(Wish { path, every: output.checkpoint_every, header, hold: None }))
}

/// Whether all that it takes is there again when the scan is resumed.
fn resumable(settings: &Settings) -> Result<(), Failure> {
    let refused = |what: &str, instead: &str| {
        Err(Failure::Setting(format!("--checkpoint: {what} cannot be had again when the scan is resumed; {instead}")))
    };
    if settings.args.targets.input.iter().any(|file| file == Path::new("-")) {
        return refused("standard input", "write the targets to a file, and give that with -i");
    }
    if settings.args.output.hide_suspect {
        return refused("what --hide-suspect holds back until the end", "leave suspects out afterwards");
    }
    let lost = settings.outputs.iter().find(|output| output.form.ends_whole() && !goes_to_a_file(&output.to));
    match lost {
        Some(output) => refused(
            &format!("what {} has gathered for a pipe or standard output", output.form),
            &format!("give it a file: -o {}=FILE", output.form),
        ),
        None => Ok(()),
    }
}

/// Whether it is an ordinary file, or will be one.
fn goes_to_a_file(to: &Destination) -> bool {
    match to {
        Destination::File(path) => fs::metadata(path).map_or(true, |found| found.is_file()),
        Destination::Stdout | Destination::StdoutTo(_) => false,
    }
}

/// The command as it would be typed with all that counts.
fn words(scan: &ScanArgs, effective: &[Effective]) -> Vec<String> {
    // What was taken from a profile stands there itself, and no commands follow a scan that is kept.
    let counts = |setting: &&Effective| {
        setting.origin != Origin::Default && setting.name != "profile" && !setting.name.starts_with("then-")
    };
    let settings = effective.iter().filter(counts);
    let options = settings.flat_map(|setting| setting.values.iter().map(|value| format!("--{}={value}", setting.name)));
    let inputs = scan.targets.input.iter().map(|file| format!("--input={}", file.display()));
    let yes = scan.permit.yes.then(|| "--yes".into());
    options.chain(inputs).chain(yes).chain(["--".into()]).chain(scan.targets.targets.iter().cloned()).collect()
}

fn version() -> String {
    env!("CARGO_PKG_VERSION").into()
}

/// The file under a name that stays right in another directory.
fn full_name(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_typed_again() {
        let typed = "halfopen scan 10.0.0.0/24 -p 22,80 -p 443 --rate 500 --exclude 10.0.0.1 -i list --show open,closed \
                     --quiet --yes --shard 1/3 --config none 2001:db8::1";
        let words: Vec<OsString> = typed.split_whitespace().map(OsString::from).collect();
        let parsed = args::parse(&words, &Variables::default()).unwrap();
        let Command::Scan(scan) = parsed.command else { panic!("a scan") };
        let again = scan_args(&self::words(&scan, &parsed.settings)).unwrap();
        assert_eq!(format!("{again:?}"), format!("{scan:?}"));
    }
}
