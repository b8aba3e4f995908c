//! What a scan is to be: the arguments resolved with the terminal and the environment, and from there the library's
//! builders. `args` is what was typed, `run` does it; the formats learn from here what to show.

use std::collections::hash_map::RandomState;
use std::env;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use halfopen::{Cooldown, Discover, LinkKind, Method, Plan, PlanBuilder, Receive, Resolve, Scan, ScanBuilder, State};

use crate::args::{CooldownArg, DiscoverArg, FormatArg, LinkArg, MethodArg, ReceiveArg, ResolveArg, ScanArgs, ShowArg};
use crate::failure::Failure;
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
    /// The form of the results.
    pub(crate) form: Form,
    /// Which findings are printed.
    pub(crate) show: Show,
    /// How standard error is used.
    pub(crate) style: Style,
    /// Whether the account goes to standard error: JSON has it in the results, but a person who sends those elsewhere
    /// waits for it.
    pub(crate) summary: bool,
    /// Whether somebody beside the output wants to know what is open.
    pub(crate) observed: bool,
}

/// The form of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A table on a terminal, with or without colours.
    Table {
        /// Whether escape codes may be used.
        colours: bool,
    },
    /// One line a finding.
    Lines,
    /// JSON records.
    Jsonl,
    /// `address:port`.
    List,
}

/// Which findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Show {
    open: bool,
    closed: bool,
    filtered: bool,
    /// Hosts that are down.
    pub(crate) down: bool,
}

impl Settings {
    /// Resolves the arguments with the terminal and the environment.
    pub(crate) fn new(args: ScanArgs) -> Settings {
        let (form, style) = (Form::new(args.output.output), style(&args));
        Settings {
            seed: args.probing.seed.unwrap_or_else(draw_seed),
            form,
            show: Show::new(&args.output.show, args.output.output),
            style,
            summary: form != Form::Jsonl || (style.person && !io::stdout().is_terminal()),
            observed: false,
            args,
        }
    }

    /// The same for a scan of which somebody beside the output wants to know what is open.
    pub(crate) fn observed(self) -> Settings {
        Settings { observed: true, ..self }
    }

    /// Reads the targets, ports and exclusions.
    pub(crate) fn plan(&self) -> Result<Plan, Failure> {
        let args = &self.args.targets;
        if args.targets.is_empty() && args.input.is_empty() {
            return Err(Failure::NoTargets);
        }
        let mut plan = Plan::builder().resolve(args.resolve.into()).blocklist(!args.no_blocklist);
        plan = each(plan, &args.ports, |plan, text| Ok(plan.ports(text)?))?;
        plan = each(plan, &args.targets, |plan, text| Ok(plan.targets(text)?))?;
        plan = each(plan, &args.input, |plan, file| input(plan, file))?;
        plan = each(plan, &args.exclude, |plan, text| Ok(plan.exclude(text)?))?;
        plan = each(plan, &args.exclude_file, |plan, file| exclude_file(plan, file))?;
        Ok(plan.build()?)
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
        matches!(self.form, Form::Table { .. } | Form::Lines) && targets <= COUNT_BY_HOST
    }

    fn reported(&self, targets: u64) -> Vec<State> {
        let all = self.counts_by_host(targets);
        let wanted = |state| all || self.show.state(state) || self.observed && state == State::Open;
        State::ALL.into_iter().filter(|&state| wanted(state)).collect()
    }
}

impl Form {
    fn new(format: FormatArg) -> Form {
        match format {
            FormatArg::Human if io::stdout().is_terminal() => Form::Table { colours: colours(&io::stdout()) },
            FormatArg::Human => Form::Lines,
            FormatArg::Jsonl => Form::Jsonl,
            FormatArg::List => Form::List,
        }
    }
}

impl Show {
    /// What was asked for, or what is usual for the format.
    pub(crate) fn new(asked: &[ShowArg], format: FormatArg) -> Show {
        let default: &[ShowArg] = match format {
            FormatArg::Jsonl => &[ShowArg::Open, ShowArg::Down],
            FormatArg::Human | FormatArg::List => &[ShowArg::Open],
        };
        let asked = if asked.is_empty() { default } else { asked };
        let has = |what| asked.contains(&what) || asked.contains(&ShowArg::All);
        Show {
            open: has(ShowArg::Open),
            closed: has(ShowArg::Closed),
            filtered: has(ShowArg::Filtered),
            down: has(ShowArg::Down),
        }
    }

    /// Whether targets of this state are printed.
    pub(crate) fn state(self, state: State) -> bool {
        match state {
            State::Open => self.open,
            State::Closed => self.closed,
            State::Filtered => self.filtered,
        }
    }

    /// What is printed, by name.
    pub(crate) fn names(self) -> Vec<&'static str> {
        let states = State::ALL.into_iter().filter(|&state| self.state(state)).map(State::name);
        states.chain(self.down.then_some("down")).collect()
    }
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
    if file == Path::new("-") {
        return Ok(("standard input".into(), Box::new(io::stdin().lock())));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown() {
        assert_eq!(Show::new(&[], FormatArg::Human).names(), ["open"]);
        assert_eq!(Show::new(&[], FormatArg::List).names(), ["open"]);
        assert_eq!(Show::new(&[], FormatArg::Jsonl).names(), ["open", "down"]);
        assert_eq!(Show::new(&[ShowArg::Filtered, ShowArg::Closed], FormatArg::Jsonl).names(), ["closed", "filtered"]);
        assert_eq!(Show::new(&[ShowArg::All], FormatArg::List).names(), ["open", "closed", "filtered", "down"]);
    }

    #[test]
    fn drawn_seeds_differ() {
        assert_ne!(draw_seed(), draw_seed());
    }
}
