//! What a scan is to be: the arguments resolved with the terminal and the environment, and from there the library's
//! builders. `args` is what was typed, `scan` does it; the formats learn from here what to show.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::env;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use halfopen::{Cooldown, Discover, LinkKind, Method, Plan, PlanBuilder, Receive, Resolve, Scan, ScanBuilder, State};
use halfopen_results::record::{self, Show};
use halfopen_results::sink::{self, Wanted};
use halfopen_results::{Choice, Destination, Field, Filter, Form, disk};
use halfopen_services::top_ports;

use crate::args::{
    CooldownArg, DiscoverArg, FormArg, LinkArg, MethodArg, OutputArg, ReceiveArg, ResolveArg, ScanArgs, ShowArg,
    TargetArgs,
};
use crate::failure::Failure;
use crate::intake;
use crate::port_names::ServiceNames;
use crate::screen::Style;

/// Plans up to this size get the verdicts of all states from the library when the account by host wants to say what is
/// not shown; larger ones only those that are printed.
const COUNT_BY_HOST: u64 = 1 << 20;

/// A scan as it will be made.
#[derive(Debug)]
pub(crate) struct Settings {
    /// As typed; what needs no resolving is read from here.
    pub(crate) args: ScanArgs,
    /// The seed: as given, or drawn.
    pub(crate) seed: u64,
    /// The form for people on standard output, unless another form goes there.
    pub(crate) human: Option<Human>,
    /// The files with the form for people.
    pub(crate) human_files: Vec<PathBuf>,
    /// The other outputs.
    pub(crate) outputs: Vec<Choice>,
    /// What of the scan is wanted.
    pub(crate) wanted: Wanted,
    /// Which findings people get.
    pub(crate) show: Show,
    /// How standard error is used.
    pub(crate) style: Style,
    /// Whether the account goes to standard error: JSON has it in the results, but a person who sends those elsewhere
    /// waits for it.
    pub(crate) summary: bool,
    /// Whether somebody beside the output wants to know what is open.
    pub(crate) observed: bool,
}

/// The form of the results for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Human {
    /// A table on a terminal, with or without colours.
    Table {
        /// Whether escape codes may be used.
        colours: bool,
    },
    /// One line a finding.
    Lines,
}

impl Settings {
    /// Resolves the arguments with the terminal and the environment.
    pub(crate) fn new(args: ScanArgs) -> Result<Settings, Failure> {
        let (typed, style) = (&args.output, style(&args));
        let outputs = outputs(&typed.output, typed.output_all.as_deref());
        let on_stdout = only_one_on_stdout(&typed.output)?;
        if !typed.fields.is_empty() && !outputs.iter().any(|output| output.form.has_fields()) {
            return Err(Failure::NoFields);
        }
        if let Some(field) = doubled(&typed.fields) {
            return Err(Failure::Setting(format!("--fields names {} twice", field.name())));
        }
        let wanted = Wanted { show: shown(&typed.show), fields: typed.fields.clone(), filter: typed.filter.clone() };
        let chosen = wanted.show.or_else(|| wanted.filter.as_ref().and_then(Filter::states));
        let chosen_open = chosen.is_none_or(|show| show.open);
        if !chosen_open && args.then.command.is_some() {
            return Err(Failure::ClosedThen);
        }
        if !chosen_open && outputs.iter().any(|output| output.form == Form::List) {
            return Err(Failure::ClosedList);
        }
        let has_summary = matches!(on_stdout, Some(FormArg::Of(form)) if form.has_summary());
        let settings = Settings {
            seed: args.probing.seed.unwrap_or_else(draw_seed),
            human: (!matches!(on_stdout, Some(FormArg::Of(_)))).then(Human::new),
            human_files: human_files(&typed.output),
            outputs,
            show: chosen.unwrap_or(Show::OPEN),
            wanted,
            style,
            summary: !has_summary || (style.person && !io::stdout().is_terminal()),
            observed: args.then.command.is_some(),
            args,
        };
        settings.spares(settings.reads())?;
        match twice(settings.writes()) {
            Some(path) => Err(sink::Error::Busy { path: path.display().to_string() }.into()),
            None => Ok(settings),
        }
    }

    /// The files that are read.
    fn reads(&self) -> impl Iterator<Item = &Path> {
        let (targets, permit) = (&self.args.targets, &self.args.permit);
        let lists = targets.input.iter().chain(&targets.exclude_file).filter(|file| *file != Path::new("-"));
        lists.chain(&permit.scope).chain(&permit.also).map(PathBuf::as_path)
    }

    /// Whether no output is written over one of these files, which the scan needs.
    pub(crate) fn spares<'a>(&self, needed: impl Iterator<Item = &'a Path>) -> Result<(), Failure> {
        let writes = self.writes();
        let mut needed = needed.filter(|file| writes.iter().any(|written| is_same(file, written)));
        match needed.next() {
            Some(file) => {
                let name = file.display();
                Err(Failure::Setting(format!("{name} would be written over: this scan needs it; name another output")))
            }
            None => Ok(()),
        }
    }

    /// The same for a scan of which somebody beside the output wants to know what is open.
    pub(crate) fn observed(self) -> Settings {
        Settings { observed: true, ..self }
    }

    /// The files that are written, by their real names.
    pub(crate) fn writes(&self) -> Vec<PathBuf> {
        let file = |choice: &Choice| match &choice.to {
            Destination::File(path) => Some(path.clone()),
            Destination::Stdout | Destination::StdoutTo(_) => None,
        };
        let all = self.outputs.iter().filter_map(file).chain(self.human_files.iter().cloned());
        let all = all.chain(self.args.output.stats_json.clone()).chain(self.args.output.checkpoint.clone());
        all.map(|path| fs::canonicalize(&path).unwrap_or(path)).collect()
    }

    /// The files beside which something waits for standard output.
    pub(crate) fn beside_stdout(&self) -> Vec<PathBuf> {
        let file = |choice: &Choice| match &choice.to {
            Destination::StdoutTo(path) => Some(path.clone()),
            _ => None,
        };
        self.outputs.iter().filter_map(file).collect()
    }

    /// Reads the targets, ports and exclusions: all that was named, also where a shard of it is to be scanned.
    pub(crate) fn plan(&self) -> Result<Plan, Failure> {
        let args = &self.args.targets;
        if args.targets.is_empty() && args.input.is_empty() {
            return Err(Failure::NoTargets);
        }
        Ok(self.named(self.rules()?, &args.input)?.build()?)
    }

    /// The targets, ports and exclusions but those that come from standard input.
    pub(crate) fn plan_without_stdin(&self, rules: PlanBuilder) -> Result<PlanBuilder, Failure> {
        let files: Vec<_> = self.args.targets.input.iter().filter(|file| !is_stdin(file)).cloned().collect();
        self.named(rules, &files)
    }

    /// Whether there are targets beside those from standard input.
    pub(crate) fn has_other_targets(&self) -> bool {
        let args = &self.args.targets;
        !args.targets.is_empty() || !args.input.iter().all(|file| is_stdin(file))
    }

    /// Whether the scan may begin before all of its targets are known: they come from a standard input that may stay open, and
    /// nothing needs to know all of them.
    pub(crate) fn may_stream(&self) -> bool {
        let args = &self.args.targets;
        let is_read = |files: &[PathBuf]| files.iter().any(|file| is_stdin(file));
        let needs_all = args.shard.is_some() || self.args.probing.dry_run || self.args.output.checkpoint.is_some();
        is_read(&args.input) && !is_read(&args.exclude_file) && !needs_all && is_pipe(&io::stdin())
    }

    /// The builder of a plan with all that holds for any target.
    pub(crate) fn rules(&self) -> Result<PlanBuilder, Failure> {
        let args = &self.args.targets;
        let mut plan = ports(args)?.resolve(args.resolve.into()).blocklist(!args.no_blocklist);
        plan = each(plan, &args.exclude, |plan, text| Ok(plan.exclude(text)?))?;
        each(plan, &args.exclude_file, |plan, file| exclude_file(plan, file))
    }

    /// With the targets that were typed, and those of these files.
    fn named(&self, plan: PlanBuilder, files: &[PathBuf]) -> Result<PlanBuilder, Failure> {
        let plan = each(plan, &self.args.targets.targets, |plan, text| Ok(plan.targets(text)?))?;
        each(plan, files, |plan, file| input(plan, file))
    }

    /// The part of it that is to be scanned.
    pub(crate) fn part(&self, whole: Plan) -> Result<Plan, Failure> {
        match self.args.targets.shard {
            Some(shard) => Ok(whole.shard(shard)?),
            None => Ok(whole),
        }
    }

    /// The scan of a plan, ready to start.
    pub(crate) fn scan(&self, plan: Plan) -> ScanBuilder {
        let (probing, network) = (&self.args.probing, &self.args.network);
        let report = self.reported(plan.len());
        let mut scan = Scan::builder(plan)
            .rate(probing.rate)
            .senders(probing.senders)
            .host_rate(probing.host_rate)
            .completeness(probing.completeness)
            .max_passes(probing.max_passes)
            .discover(probing.discover.into())
            .controls(!probing.no_control_probes)
            .seed(self.seed)
            .cooldown(probing.cooldown.into())
            .method(probing.method.into())
            .link(network.link.into())
            .receive(network.receive.into())
            .memory_limit(probing.memory_limit)
            .report(&report);
        scan = probing.max_rate.iter().fold(scan, |scan, &rate| scan.max_rate(rate));
        scan = probing.min_rate.iter().fold(scan, |scan, &rate| scan.min_rate(rate));
        scan = network.interface.iter().fold(scan, |scan, name| scan.interface(name.clone()));
        scan = network.source_ip.iter().fold(scan, |scan, &address| scan.source_ip(address));
        scan = network.source_port.iter().fold(scan, |scan, &port| scan.source_port(port));
        network.gateway_mac.iter().fold(scan, |scan, &mac| scan.gateway_mac(mac))
    }

    /// Whether the verdicts of all states are asked for, so that what is not shown can be counted by host.
    pub(crate) fn counts_by_host(&self, targets: u64) -> bool {
        let counts = self.human.is_some() || self.outputs.iter().any(|output| output.form.counts());
        counts && targets <= COUNT_BY_HOST
    }

    /// The states of which a scan of so many targets has to know every target.
    pub(crate) fn reported(&self, targets: u64) -> Vec<State> {
        let all = self.counts_by_host(targets);
        let shows = self.outputs.iter().map(|output| self.wanted.show(output.form));
        let people = (self.human.is_some() || !self.human_files.is_empty()).then_some(self.show);
        let show = shows.chain(people).fold(Show::NONE, Show::with);
        State::ALL
            .into_iter()
            .filter(|&state| all || self.observed && state == State::Open || show.state(record::State::from(state)))
            .collect()
    }
}

impl Human {
    fn new() -> Human {
        match io::stdout().is_terminal() {
            true => Human::Table { colours: colours(&io::stdout()) },
            false => Human::Lines,
        }
    }
}

/// Whether these can be read, as far as it can be known without asking for the addresses of host names.
pub(crate) fn check(args: &TargetArgs) -> Result<(), Failure> {
    ports(args)?;
    args.exclude_file.iter().try_for_each(|file| open(file).map(drop))
}

/// The builder of a plan with the ports.
pub(crate) fn ports(args: &TargetArgs) -> Result<PlanBuilder, Failure> {
    let plan = Plan::builder().port_names(&ServiceNames);
    let plan = each(plan, &args.ports, |plan, text| Ok(plan.ports(text)?))?;
    let plan = each(plan, args.top_ports.as_slice(), |plan, &count| Ok(plan.ports(&top(count))?))?;
    each(plan, &args.exclude_ports, |plan, text| Ok(plan.exclude_ports(text)?))
}

/// The outputs for programs.
fn outputs(typed: &[OutputArg], all: Option<&Path>) -> Vec<Choice> {
    let choice = |output: &OutputArg| match output.form {
        FormArg::Human => None,
        FormArg::Of(form) => {
            Some(Choice { form, to: output.file.clone().map_or_else(|| stdout(form), Destination::File) })
        }
    };
    let of_base = |base: &Path, form: Form| {
        let mut file = base.as_os_str().to_owned();
        file.push(".");
        file.push(form.suffix());
        Choice { form, to: Destination::File(file.into()) }
    };
    let all = all.into_iter().flat_map(|base| Form::ALL.map(|form| of_base(base, form)));
    typed.iter().filter_map(choice).chain(all).collect()
}

/// Standard output; for what is written at the end, with the file that it leads to, if it is one that has a name.
fn stdout(form: Form) -> Destination {
    let leads_to = || fs::canonicalize("/dev/stdout").ok().filter(|path| path.is_file());
    let file = form.ends_whole().then(leads_to).flatten();
    file.map_or(Destination::Stdout, Destination::StdoutTo)
}

/// The first of these that stands there once more.
fn doubled(fields: &[Field]) -> Option<Field> {
    fields.iter().enumerate().find(|&(at, field)| fields[..at].contains(field)).map(|(_, &field)| field)
}

fn human_files(typed: &[OutputArg]) -> Vec<PathBuf> {
    typed.iter().filter(|output| output.form == FormArg::Human).filter_map(|output| output.file.clone()).collect()
}

/// What goes to standard output, if that was said.
fn only_one_on_stdout(typed: &[OutputArg]) -> Result<Option<FormArg>, Failure> {
    let mut forms = typed.iter().filter(|output| output.file.is_none()).map(|output| output.form);
    match (forms.next(), forms.next()) {
        (Some(one), Some(other)) => Err(Failure::TwoOnStdout { one: one.name(), other: other.name() }),
        (one, _) => Ok(one),
    }
}

impl FormArg {
    fn name(self) -> &'static str {
        match self {
            FormArg::Human => "human",
            FormArg::Of(form) => form.name(),
        }
    }
}

/// What was asked for, if anything was.
pub(crate) fn shown(asked: &[ShowArg]) -> Option<Show> {
    let has = |what| asked.contains(&what) || asked.contains(&ShowArg::All);
    (!asked.is_empty()).then(|| Show {
        open: has(ShowArg::Open),
        closed: has(ShowArg::Closed),
        filtered: has(ShowArg::Filtered),
        down: has(ShowArg::Down),
    })
}

impl From<ResolveArg> for Resolve {
    fn from(which: ResolveArg) -> Resolve {
        match which {
            ResolveArg::All => Resolve::All,
            ResolveArg::First => Resolve::First,
        }
    }
}

impl From<CooldownArg> for Cooldown {
    fn from(cooldown: CooldownArg) -> Cooldown {
        match cooldown {
            CooldownArg::Auto => Cooldown::Auto,
            CooldownArg::Fixed(time) => Cooldown::Fixed(time),
        }
    }
}

impl From<DiscoverArg> for Discover {
    fn from(discover: DiscoverArg) -> Discover {
        match discover {
            DiscoverArg::Auto => Discover::Auto,
            DiscoverArg::On => Discover::On,
            DiscoverArg::Off => Discover::Off,
        }
    }
}

impl From<MethodArg> for Method {
    fn from(method: MethodArg) -> Method {
        match method {
            MethodArg::Auto => Method::Auto,
            MethodArg::Syn => Method::Syn,
            MethodArg::Connect => Method::Connect,
        }
    }
}

impl From<LinkArg> for LinkKind {
    fn from(link: LinkArg) -> LinkKind {
        match link {
            LinkArg::Auto => LinkKind::Auto,
            LinkArg::AfPacket => LinkKind::AfPacket,
            LinkArg::AfXdp => LinkKind::AfXdp,
            LinkArg::XdpLive => LinkKind::XdpLive,
            LinkArg::RawIp => LinkKind::RawIp,
            LinkArg::Pnet => LinkKind::Pnet,
        }
    }
}

impl From<ReceiveArg> for Receive {
    fn from(receive: ReceiveArg) -> Receive {
        match receive {
            ReceiveArg::Auto => Receive::Auto,
            ReceiveArg::AfPacket => Receive::AfPacket,
            ReceiveArg::XdpGeneric => Receive::XdpGeneric,
            ReceiveArg::XdpNative => Receive::XdpNative,
        }
    }
}

/// The ranked ports as a list.
fn top(count: u16) -> String {
    top_ports(count.into()).iter().map(u16::to_string).collect::<Vec<_>>().join(",")
}

/// Gives a builder each item in turn.
fn each<T>(
    plan: PlanBuilder,
    items: &[T],
    add: impl Fn(PlanBuilder, &T) -> Result<PlanBuilder, Failure>,
) -> Result<PlanBuilder, Failure> {
    items.iter().try_fold(plan, add)
}

fn input(plan: PlanBuilder, file: &Path) -> Result<PlanBuilder, Failure> {
    let (name, lines) = open(file)?;
    Ok(plan.target_lines(&name, lines)?)
}

fn exclude_file(plan: PlanBuilder, file: &Path) -> Result<PlanBuilder, Failure> {
    let (name, lines) = open(file)?;
    Ok(plan.exclude_lines(&name, lines)?)
}

/// A file, or standard input for `-`, and its name in messages.
fn open(file: &Path) -> Result<(String, Box<dyn BufRead>), Failure> {
    if is_stdin(file) {
        return Ok((intake::NAME.into(), Box::new(io::stdin().lock())));
    }
    let name = file.to_string_lossy().into_owned();
    // A directory can be opened, and only fails when it is read.
    let opened = File::open(file).and_then(|opened| match opened.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(opened),
    });
    match opened {
        Ok(opened) => Ok((name, Box::new(BufReader::new(opened)))),
        Err(source) => Err(Failure::Open { name, source }),
    }
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

/// Whether it may stay open while nothing comes: a pipe or a socket, but no terminal.
fn is_pipe(stream: &impl AsFd) -> bool {
    let stream = stream.as_fd().try_clone_to_owned().map(File::from);
    stream
        .and_then(|stream| stream.metadata())
        .is_ok_and(|file| file.file_type().is_fifo() || file.file_type().is_socket())
}

fn style(args: &ScanArgs) -> Style {
    let output = &args.output;
    let person = io::stderr().is_terminal();
    let terminal = person && env::var_os("TERM").is_none_or(|term| term != "dumb");
    let free = output.progress || !into_pipe();
    Style {
        quiet: output.quiet,
        bar: terminal && free && !output.quiet && !output.no_progress,
        colours: colours(&io::stderr()),
        person,
    }
}

/// Whether another program reads the results; it may write to our terminal.
fn into_pipe() -> bool {
    let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    stdout.and_then(|stdout| stdout.metadata()).is_ok_and(|file| file.file_type().is_fifo())
}

/// By the conventions of terminals: `NO_COLOR`, `CLICOLOR_FORCE`, `TERM`.
fn colours(stream: &impl anstream::stream::RawStream) -> bool {
    anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never
}

/// A seed from the system's randomness, by way of the standard library's hasher keys.
fn draw_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Whether two names stand for the same ordinary file, or would.
fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino()),
        (Err(_), Err(_)) => disk::behind(one).ok() == disk::behind(other).ok(),
        _ => false,
    }
}

/// A file that is named more than once: each would be written over by the other. Pipes and devices take everything.
fn twice(files: Vec<PathBuf>) -> Option<PathBuf> {
    let mut seen = BTreeSet::new();
    let mut files = files.into_iter().map(|path| std::path::absolute(&path).unwrap_or(path));
    files.find(|path| fs::metadata(path).map_or(true, |found| found.is_file()) && !seen.insert(path.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown() {
        let names = |asked: &[ShowArg]| shown(asked).map(Show::names);
        assert_eq!(names(&[]), None);
        assert_eq!(names(&[ShowArg::Filtered, ShowArg::Closed]).unwrap(), ["closed", "filtered"]);
        assert_eq!(names(&[ShowArg::All]).unwrap(), ["open", "closed", "filtered", "down"]);
    }

    #[test]
    fn every_form_beside_a_base() {
        let outputs = outputs(&[], Some(Path::new("out/net.1")));
        let files: Vec<_> = outputs.iter().map(|output| format!("{:?}", output.to)).collect();
        let expected = ["jsonl", "json", "csv", "list", "gnmap", "xml", "sqlite"];
        assert_eq!(files, expected.map(|suffix| format!("File(\"out/net.1.{suffix}\")")));
    }

    #[test]
    fn standard_output_is_for_one() {
        let of = |form, file: Option<&str>| OutputArg { form, file: file.map(Into::into) };
        let (xml, csv) = (FormArg::Of(Form::Xml), FormArg::Of(Form::Csv));
        assert_eq!(only_one_on_stdout(&[of(xml, Some("x")), of(csv, None)]).unwrap(), Some(csv));
        assert_eq!(only_one_on_stdout(&[of(xml, Some("x"))]).unwrap(), None);
        let error = only_one_on_stdout(&[of(FormArg::Human, None), of(csv, None)]).unwrap_err().to_string();
        assert_eq!(error, "human and csv cannot both go to standard output; give one a file, such as -o csv=FILE");
    }

    #[test]
    fn drawn_seeds_differ() {
        assert_ne!(draw_seed(), draw_seed());
    }
}
