//! `halfopen watch`: scans groups of targets again and again, by the file that says which and when. The process that scans is
//! started first, because it keeps the rights; everything else is done without.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use halfopen::Plan;
use halfopen_monitor::Store;
use halfopen_monitor::alert::Errands;
use halfopen_monitor::document;
use halfopen_monitor::metrics::Build;
use halfopen_monitor::policy::{Error, system_resolver};
use halfopen_monitor::service::conductor::Tally;
use halfopen_monitor::service::lock::{self, Lock};
use halfopen_monitor::service::watching::Watcher;
use halfopen_monitor::service::{self, End, Link, Notifier, Parts, scanner};
use halfopen_monitor::settings::{Group, Settings, Sound};
use jiff::Timestamp;
use toml::de::DeValue;

use super::{runner, sound, understood};
use crate::args::{self, ScanArgs, ShowArg, TargetArgs};
use crate::failure::{self, DONE, Failure};
use crate::port_names::ServiceNames;
use crate::privileges::{self, Keep};
use crate::screen;
use crate::settings;
use crate::version;

const EXAMPLES: &str = "\
Examples:
  Watch as the file says, until it is ended:
    halfopen watch -c /etc/halfopen/halfopen.toml
  Whether the file is sound, and when what is due:
    halfopen watch -c halfopen.toml --check
  From a timer, every group once:
    halfopen watch -c halfopen.toml --once

A file to begin with:
  store = \"monitor.db\"
  [[group]]
  name = \"this machine\"
  targets = [\"127.0.0.1\", \"::1\"]
  ports = [\"1-1024\"]
  every = \"5m\"

Signals: SIGHUP reads the file and its policy again, as does a change of it; a file that is not sound is refused, and what was before stays in \
force. SIGTERM and SIGINT end it; scans under way are made again the next time.

Exit codes: 0 ended by a signal (--once: every group was scanned, and no incident is open; --check: the file is sound), 1 runtime \
error (--once: a scan failed), 2 usage error, or something is wrong in the file, 5 with --once: every group was scanned, and \
incidents are open; 130 and 143 with --once: interrupted.

Rights: as `halfopen scan`. Only the process that scans keeps them; what keeps the history and talks to others gives them up. Commands of \
channels are run by a third process, as the user that the monitor becomes, without any capability, and without a way to get one.";

/// `halfopen watch`, as typed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WatchArgs {
    /// The file that says what is watched, when, and who is told
    #[arg(short = 'c', long, visible_alias = "config", value_name = "FILE", default_value = "halfopen.toml")]
    settings: PathBuf,

    /// Scan every group once, now, confirm what looks different, and end
    #[arg(long, conflicts_with = "check")]
    once: bool,

    /// Only say whether the file is sound, and what it says
    #[arg(long)]
    check: bool,

    /// Keep all rights in the monitor and the commands of channels, too, and not only in the process that scans
    #[arg(long)]
    no_drop: bool,
}

/// Every group was scanned, and something is not as it should be.
pub(super) const INCIDENTS: u8 = 5;
const FAILED: u8 = 1;

/// Watches.
pub(crate) fn run(args: &WatchArgs) -> Result<u8, Failure> {
    let path = std::path::absolute(&args.settings).unwrap_or_else(|_| args.settings.clone());
    let load = || sound::read(&path);
    let Sound { mut settings, warnings } = load()?;
    warnings.iter().for_each(|warning| screen::warning(warning));
    match settings.read_policy(&system_resolver) {
        // A service that scans is better than none; it tries again.
        Err(Error::Resolve(what)) if !args.check && !args.once => {
            screen::warning(&format!("the policy is not in force yet: {what}"));
        }
        read => read.map_err(super::policy::failed)?,
    }
    if args.check {
        screen::print(&understood::told(&settings, Timestamp::now())).map_err(failure::stdout)?;
        return Ok(DONE);
    }
    make_folder(&settings.store, args.no_drop)?;
    // Before anything else: what it takes to scan and to start programs goes with the next step.
    let link = Link::start(guard(&settings.path)).map_err(|source| system("start the scanner", source))?;
    let errands = Errands::start(runner::guard(&settings.path, args.no_drop));
    let errands = errands.map_err(|source| system("start the process that runs commands", source))?;
    let notifier = Notifier::from_env().map_err(|source| system("reach NOTIFY_SOCKET", source))?;
    give_up_rights(args, &settings);
    let _lock = Lock::take(&settings.store).map_err(|error| match error {
        lock::Error::Write { path, source } => Failure::Write { name: path.display().to_string(), source },
        error => Failure::Setting(error.to_string()),
    })?;
    let store = Store::open(&settings.store)?;
    let once = args.once;
    let watching = Watcher::open(store, &settings, Timestamp::now())?.with_errands(&settings, errands)?;
    let build =
        Build { version: env!("CARGO_PKG_VERSION").into(), commit: version::commit().unwrap_or_default().into() };
    let parts = Parts { settings, load: &load, watching, link, notifier, once, build };
    let end = service::run(parts)?;
    Ok(code(end, once))
}

/// The file, with every group held against what `halfopen scan` takes, and without a look at what it names: that is for `sound`, and
/// not for the process that scans. Absolute: who looks at it later may be elsewhere.
pub(super) fn read(path: &Path) -> Result<Settings, document::Error> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Settings::read(&absolute, &check)
}

fn code(end: End, once: bool) -> u8 {
    match end {
        End::Signal(signal) if once => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        End::Signal(_) => DONE,
        End::Done { tally: Tally { failed: 1.., .. }, .. } => FAILED,
        End::Done { incidents: 1.., .. } => INCIDENTS,
        End::Done { .. } => DONE,
    }
}

/// The program itself, whatever has become of its file.
pub(super) const PROGRAM: &str = "/proc/self/exe";

fn guard(file: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg0(scanner::NAME).arg("watch-scanner").arg(file);
    command
}

fn system(what: &'static str, source: io::Error) -> service::Error {
    service::Error::System { what, source }
}

/// Where the history is to be, for its owner alone: whom the monitor is about to become, if that user can make it.
fn make_folder(store: &Path, no_drop: bool) -> Result<(), Failure> {
    let folder = store.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let make = || DirBuilder::new().recursive(true).mode(0o700).create(folder);
    if !no_drop && privileges::as_caller(|| make().is_ok()) {
        return Ok(());
    }
    make().map_err(|source| Failure::Write { name: folder.display().to_string(), source })
}

fn give_up_rights(args: &WatchArgs, settings: &Settings) {
    if args.no_drop {
        return;
    }
    let keep = keep(settings);
    let account = privileges::become_nobody(&keep).and(privileges::confine(&keep));
    account.warning().iter().for_each(|warning| screen::warning(warning));
    privileges::stays_root(&account).iter().for_each(|who| screen::warning(&format!("the monitor is {who}")));
}

/// What the monitor does, which says who can do it.
pub(super) fn keep(settings: &Settings) -> Keep {
    // Where SQLite puts what it cannot hold in memory.
    let temporary = ["/var/tmp/halfopen", "/tmp/halfopen"].map(PathBuf::from);
    let writes = [settings.store.clone(), Lock::path(&settings.store)].into_iter().chain(temporary);
    Keep { writes: writes.collect(), connects: true, service: Some(files(settings)), ..Keep::default() }
}

/// Files that are read again while it runs.
fn files(settings: &Settings) -> Vec<PathBuf> {
    let folder = settings.path.parent().unwrap_or(Path::new(""));
    let named = each_of_a_channel(settings, |key, value| key.ends_with("-file").then(|| folder.join(value)));
    let tops = [&settings.scope, &settings.policy].into_iter().flatten().cloned();
    [settings.path.clone()].into_iter().chain(tops).chain(named).collect()
}

/// What is made of the texts in the tables of channels.
fn each_of_a_channel<T>(settings: &Settings, each: impl Fn(&str, &str) -> Option<T>) -> Vec<T> {
    let Ok(tables) = settings.document().table() else { return Vec::new() };
    let channels = tables.get("channel").and_then(|value| value.get_ref().as_table());
    let tables = channels.into_iter().flat_map(|all| all.values()).filter_map(|value| value.get_ref().as_table());
    let texts = tables.flatten().filter_map(|(key, value)| match value.get_ref() {
        DeValue::String(text) => each(key.get_ref(), text),
        _ => None,
    });
    texts.collect()
}

/// Whether `halfopen scan` takes a group, without looking up any name.
pub(super) fn check(group: &Group) -> Result<(), (&'static str, String)> {
    check_options(group).map_err(|what| ("options", what))?;
    let builder = Plan::builder().port_names(&ServiceNames);
    let said = |error: halfopen::Error| error.to_string();
    group.ports.iter().try_fold(builder, |plan, text| plan.ports(text)).map_err(|error| ("ports", said(error)))?;
    for (key, texts) in [("targets", &group.targets), ("exclude", &group.exclude)] {
        let numeric = texts.iter().filter(|text| is_numeric(text));
        numeric
            .clone()
            .try_fold(Plan::builder().port_names(&ServiceNames), |plan, text| plan.targets(text))
            .map_err(|error| (key, said(error)))?;
    }
    let has_ports = !group.ports.is_empty() || group.top_ports.is_some();
    if !has_ports && !group.targets.iter().all(|target| names_a_port(target)) {
        return Err(("name", "ports are missing; give ports, top-ports, or address:port pairs as targets".into()));
    }
    check_plan(group)
}

/// Something is left to scan, as far as that can be told without looking up names.
fn check_plan(group: &Group) -> Result<(), (&'static str, String)> {
    if group.targets.iter().any(|target| !is_numeric(target)) {
        return Ok(());
    }
    let mut without_exclude = group.clone();
    without_exclude.exclude.clear();
    match (plan(group), plan(&without_exclude)) {
        (Some(Err(_)), Some(Ok(_))) => {
            Err(("exclude", "nothing of the targets is left to scan; leave out less, or take the group out".into()))
        }
        (Some(Err(error @ Failure::Engine(halfopen::Error::EmptyPlan(_)))), _) => Err(("targets", error.to_string())),
        _ => Ok(()),
    }
}

/// What a group is about, of addresses alone: names are looked up when it is scanned.
pub(super) fn plan(group: &Group) -> Option<Result<Plan, Failure>> {
    let args = scan_args(group).ok()?.targets;
    let numeric = |texts: &[String]| texts.iter().filter(|text| is_numeric(text)).cloned().collect::<Vec<_>>();
    let targets = numeric(&group.targets);
    let built = || {
        let builder = settings::ports(&args)?.blocklist(!args.no_blocklist);
        let builder = numeric(&group.exclude).iter().try_fold(builder, |plan, text| plan.exclude(text))?;
        Ok(targets.iter().try_fold(builder, |plan, text| plan.targets(text))?.build()?)
    };
    (!targets.is_empty()).then(built)
}

fn names_a_port(target: &str) -> bool {
    target.contains("]:") || target.matches(':').count() == 1
}

/// No host name, so that reading it asks nobody.
fn is_numeric(text: &str) -> bool {
    let (letters, colons) = (text.chars().any(|c| c.is_ascii_alphabetic()), text.matches(':').count());
    if letters { colons >= 2 } else { !text.is_empty() }
}

/// Options that would take the results away from the monitor, or change what a scan is about.
fn check_options(group: &Group) -> Result<(), String> {
    let mut alone = group.clone();
    [&mut alone.exclude, &mut alone.ports, &mut alone.exclude_ports].into_iter().for_each(Vec::clear);
    alone.top_ports = None;
    let args = scan_args(&alone)?;
    if let Some((option, key)) = owned(&args.targets) {
        return Err(format!("{option} has no place here; the group's own `{key}` says that"));
    }
    if args.targets.targets.len() != group.targets.len() {
        return Err("there is a word that belongs to no option; targets have a key of their own".into());
    }
    match refused(&args) {
        Some("--scope") => Err("--scope has no place here; `scope` at the top of the file holds for all groups".into()),
        Some(option) => Err(format!("{option} has no place here: the monitor reads the results by itself")),
        None => check_interface(args.network.interface.as_deref())
            .and_then(|()| settings::Settings::new(scan_args(group)?).map(drop).map_err(|failure| failure.to_string())),
    }
}

/// An option of which the group has a key.
fn owned(targets: &TargetArgs) -> Option<(&'static str, &'static str)> {
    let owned = [
        ("--ports", "ports", !targets.ports.is_empty()),
        ("--top-ports", "top-ports", targets.top_ports.is_some()),
        ("--exclude", "exclude", !targets.exclude.is_empty()),
        ("--exclude-ports", "exclude-ports", !targets.exclude_ports.is_empty()),
    ];
    owned.into_iter().find(|(.., is_there)| *is_there).map(|(option, key, _)| (option, key))
}

/// An option that is the monitor's own.
fn refused(args: &ScanArgs) -> Option<&'static str> {
    let ScanArgs { targets, probing, output, permit, then, .. } = args;
    let refused = [
        ("--output", output.output.len() != 1 || output.output_all.is_some()),
        ("--show", output.show != [ShowArg::All]),
        ("--fields", !output.fields.is_empty()),
        ("--filter", output.filter.is_some()),
        ("--hide-suspect", output.hide_suspect),
        ("--checkpoint", output.checkpoint.is_some()),
        ("--then", then.command.is_some()),
        ("--dry-run", probing.dry_run),
        ("--shard", targets.shard.is_some()),
        ("--input", !targets.input.is_empty()),
        ("--scope", permit.scope.is_some()),
    ];
    refused.into_iter().find(|(_, is_there)| *is_there).map(|(option, _)| option)
}

/// One that Linux could have (IFNAMSIZ, `dev_valid_name` of net/core/dev.c): whether there is one now is another matter.
fn check_interface(name: Option<&str>) -> Result<(), String> {
    let possible = |name: &str| {
        (1..16).contains(&name.len())
            && ![".", ".."].contains(&name)
            && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace())
    };
    match name.filter(|name| !possible(name)) {
        Some(name) => Err(format!("--interface {name:?} can be none; give a name such as eth0, as `ip link` shows it")),
        None => Ok(()),
    }
}

pub(super) fn scan_args(group: &Group) -> Result<ScanArgs, String> {
    let words = scanner::MANNER.iter().map(ToString::to_string).chain(group.words()).collect();
    args::scan(words).map_err(|failure| {
        let text = failure.to_string();
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        first.trim_start_matches("error: ").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn group(more: &str) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, format!("store = \"s\"\n[[group]]\nname = \"dmz\"\nevery = \"5m\"\n{more}\n")).unwrap();
        read(&path).map_err(|error| error.to_string().replace(&*path.to_string_lossy(), "f"))
    }

    #[test]
    fn groups_are_held_against_the_options_of_a_scan() {
        assert!(group("targets = [\"192.0.2.0/28\", \"www.example.org\"]\nports = [\"1-1024\", \"https\"]\noptions = [\"--max-rate\", \"1k\"]").is_ok());
        assert!(group("targets = [\"192.0.2.1:443\", \"[2001:db8::1]:https\"]").is_ok());
        for (more, expected) in [
            ("targets = \"192.0.2.0/33\"\nports = \"22\"", "f:5: targets: "),
            ("targets = \"192.0.2.1\"\nports = \"0-70000\"", "f:6: ports: "),
            ("targets = \"192.0.2.1\"\nports = \"nosuchservice\"", "f:6: ports: "),
            ("targets = \"192.0.2.1\"", "f:3: name: ports are missing"),
            ("targets = \"192.0.2.1\"\nports = \"22\"\nexclude = \"192.0.2\"", "f:7: exclude: "),
            (
                "targets = \"192.0.2.1\"\nports = \"22\"\noptions = [\"--max-rat\", \"1k\"]",
                "f:7: options: unexpected argument '--max-rat'",
            ),
            (
                "targets = \"192.0.2.1\"\nports = \"22\"\noptions = [\"--rate\", \"fast\"]",
                "f:7: options: invalid value 'fast'",
            ),
            (
                "targets = \"192.0.2.1\"\nports = \"22\"\noptions = [\"-o\", \"csv\"]",
                "f:7: options: --output has no place here",
            ),
            (
                "targets = \"192.0.2.1\"\nports = \"22\"\noptions = [\"--show=open\"]",
                "f:7: options: --show has no place here",
            ),
            (
                "targets = \"192.0.2.1\"\nports = \"22\"\noptions = [\"--scope\", \"x\"]",
                "f:7: options: --scope has no place here; `scope`",
            ),
            (
                "targets = \"192.0.2.1\"\nports = \"22\"\noptions = [\"-p\", \"80\"]",
                "f:7: options: --ports has no place here; the group's own `ports` says that",
            ),
            (
                "targets = \"192.0.2.1\"\nports = \"22\"\noptions = [\"--top-ports\", \"9\"]",
                "f:7: options: --top-ports has no place here; the group's own `top-ports`",
            ),
            (
                "targets = \"192.0.2.1\"\nports = \"22\"\noptions = [\"--exclude\", \"192.0.2.1\"]",
                "f:7: options: --exclude has no place here; the group's own `exclude`",
            ),
            (
                "targets = \"192.0.2.1\"\nports = \"22\"\noptions = [\"--exclude-ports\", \"22\"]",
                "f:7: options: --exclude-ports has no place here; the group's own `exclude-ports`",
            ),
            (
                "targets = \"192.0.2.1\"\nports = \"22\"\noptions = [\"--interface\", \"eth/0\"]",
                "f:7: options: --interface \"eth/0\" can be none",
            ),
            (
                "targets = \"192.0.2.0/30\"\nports = \"22\"\nexclude = \"192.0.2.0/24\"",
                "f:7: exclude: nothing of the targets is left to scan",
            ),
            ("targets = \"192.0.2.1\"\nports = \"22\"\nexclude-ports = \"1-100\"", "f:5: targets: "),
            (
                "targets = \"192.0.2.1\"\nports = \"22\"\noptions = [\"192.0.2.9\"]",
                "f:7: options: there is a word that belongs to no option",
            ),
        ] {
            let said = group(more).unwrap_err();
            assert!(said.starts_with(expected) && said.lines().count() == 1, "{said}\nexpected: {expected}");
        }
    }

    #[test]
    fn what_channels_need_is_known() {
        let channel = "targets = \"192.0.2.1\"\nports = \"22\"\n[channel.ops]\nkind = \"webhook\"\nurl = \"https://x\"\nsecret-file = \"/s\"\n";
        let settings = group(channel).unwrap();
        assert_eq!(files(&settings)[1..], [PathBuf::from("/s")]);
    }

    #[test]
    fn exit_codes() {
        let done = |failed, incidents| code(End::Done { tally: Tally { done: 3, failed }, incidents }, true);
        assert_eq!((done(0, 0), done(0, 2), done(1, 2)), (0, 5, 1));
        assert_eq!((code(End::Signal(15), true), code(End::Signal(15), false)), (143, 0));
    }
}
