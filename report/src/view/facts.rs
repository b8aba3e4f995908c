//! The summary in plain words: what was found, when, of what, how complete it is, and what was not looked at. What the
//! files do not say is not guessed, and its absence is said.

use std::collections::BTreeSet;
use std::time::Duration;

use halfopen_results::address::{Addresses, Range};
use halfopen_results::record::{Authorisation, Completeness, Estimate, Header, Summary};
use jiff::Timestamp;

use super::Fact;
use super::concerns::Concerns;
use crate::subject::{Subject, started};
use crate::tally::{States, Tally};
use crate::text::{count, counted, few, foreign, lasting, listed, moment, percent, period};

/// Targets as typed, in the title and in the summary.
const TITLE_TARGETS: usize = 3;
const TARGETS: usize = 24;
/// Completeness is told scan by scan, of so many.
const SCANS: usize = 12;
const AUTHORISATIONS: usize = 12;
/// When so much may be lost by what is known, there was too little to go by.
const UNSURE: f64 = 0.1;

/// What the page is called.
pub(super) fn title(subject: &Subject<'_>, tally: &Tally) -> String {
    let typed = typed(subject, |header| &header.settings.targets);
    let hosts = tally.hosts.len() as u64;
    match (typed.is_empty(), hosts, tally.hosts.keys().next()) {
        (false, ..) => format!("Scan of {}", few(&typed, TITLE_TARGETS)),
        (true, 1, Some(host)) => format!("Scan of {host}"),
        (true, 0, _) => "Scan report".into(),
        (true, ..) => format!("Scan of {}", counted(hosts, "host")),
    }
}

/// What stands under the title.
pub(super) fn subtitle(subject: &Subject<'_>) -> String {
    let files: Vec<String> = subject.sources().iter().map(|source| foreign(source.file)).collect();
    let from = format!("TCP ports, from {}", few(&files, TITLE_TARGETS));
    match subject.sequence() {
        Some(all) => format!("{from}: the last of {}", counted(all.len() as u64, "scan")),
        None => from,
    }
}

/// The result in a sentence.
pub(super) fn lead(tally: &Tally, concerns: &Concerns) -> String {
    let (open, hosts) = (tally.trusted(), tally.hosts_with_open());
    match (open, tally.doubted()) {
        (0, 0) => return "No open port was found.".into(),
        (0, doubted) => {
            return format!("{}, and something speaks against every one of them.", counted(doubted, "open port"));
        }
        _ => {}
    }
    let found = format!("{} on {}.", counted(open, "open port"), counted(hosts, "host"));
    match (concerns.ports, concerns.services) {
        (0, _) => format!("{found} None is known to need attention."),
        (1, _) => format!("{found} One of them needs attention."),
        (ports, 1) => format!("{found} {} of them need attention.", count(ports)),
        (ports, services) => {
            format!("{found} {} of them need attention; they belong to {} services.", count(ports), count(services))
        }
    }
}

/// The summary box.
pub(super) fn all(subject: &Subject<'_>, tally: &Tally) -> Vec<Fact> {
    let facts = [
        ("When", when(subject)),
        ("What", what(subject)),
        ("How", how(subject)),
        ("By whose authorisation", authorised(subject)),
        ("Found", found(subject, tally)),
        ("How complete", complete(subject)),
        ("Not covered", not_covered(subject, tally)),
    ];
    let facts = facts.into_iter().map(|(term, sentences)| Fact { term, sentences });
    facts.filter(|fact| !fact.sentences.is_empty()).collect()
}

/// Who made the page.
pub(super) fn footer(subject: &Subject<'_>) -> String {
    let files = counted(subject.sequence().unwrap_or(subject.sources()).len() as u64, "file");
    format!("Made by halfopen {} from {files}. Times are in UTC.", env!("CARGO_PKG_VERSION"))
}

/// What was typed on the command lines, each once.
fn typed(subject: &Subject<'_>, list: impl Fn(&Header) -> &Vec<String>) -> Vec<String> {
    let mut typed: Vec<String> = Vec::new();
    for word in subject.headers().flat_map(|header| list(header).clone()) {
        let word = foreign(&word);
        if !typed.contains(&word) {
            typed.push(word);
        }
    }
    typed
}

fn when(subject: &Subject<'_>) -> Vec<String> {
    let starts: Vec<Timestamp> = subject.sources().iter().filter_map(|source| started(source.scan)).collect();
    let Some((&first, ends)) = starts.iter().min().zip(ends(subject)) else {
        return vec![
            starts.iter().min().map_or("The file does not say.".into(), |&time| format!("Begun on {}.", moment(time))),
        ];
    };
    let (end, took) = ends;
    vec![format!("{}; {took}.", period(first, end))]
}

/// When the last scan ended, and how long they took; none where one does not say.
fn ends(subject: &Subject<'_>) -> Option<(Timestamp, String)> {
    let end = |summary: &Summary| summary.started.checked_add(Duration::from_micros(summary.elapsed_us)).ok();
    let last = subject.summaries().filter_map(end).max()?;
    let took: u64 = subject.summaries().map(|summary| summary.elapsed_us).sum();
    let scans = subject.sources().len() as u64;
    let took = if scans == 1 { lasting(took) } else { format!("{} in all, {}", lasting(took), counted(scans, "scan")) };
    subject.is_accounted().then_some((last, took))
}

fn what(subject: &Subject<'_>) -> Vec<String> {
    let Some(size) = size(subject) else {
        return vec!["The file does not say what was scanned, only what was found.".into()];
    };
    let targets = typed(subject, |header| &header.settings.targets);
    let files = typed(subject, |header| &header.settings.input);
    let ports = typed(subject, |header| &header.settings.ports);
    let named = [
        (!targets.is_empty()).then(|| few(&targets, TARGETS)),
        (!files.is_empty()).then(|| format!("those of {}", few(&files, TITLE_TARGETS))),
    ];
    let named: Vec<String> = named.into_iter().flatten().collect();
    let lines = [
        Some(size),
        (!named.is_empty()).then(|| format!("Addresses: {}.", listed(&named))),
        (!ports.is_empty()).then(|| format!("Ports: {}.", few(&ports, TARGETS))),
        shards(subject),
    ];
    lines.into_iter().flatten().collect()
}

/// `768 targets (a port of an address each) on 256 hosts.`
fn size(subject: &Subject<'_>) -> Option<String> {
    let targets = targets(subject)?;
    let hosts = hosts(subject);
    let on = if hosts == 0 { String::new() } else { format!(" on {}", counted(hosts, "host")) };
    Some(format!("{}{on}: a target is a port of an address.", counted(targets, "target")))
}

/// Targets of all scans; none where the files do not say.
pub(super) fn targets(subject: &Subject<'_>) -> Option<u64> {
    let by_accounts = subject.is_accounted().then(|| subject.summaries().map(|summary| summary.targets).sum());
    let by_headers = || subject.headers().map(|header| header.targets).sum();
    by_accounts.or_else(|| Some(by_headers())).filter(|&targets| targets > 0)
}

/// Addresses of all scans; shards may have one in common, whose ports the cut has divided.
fn hosts(subject: &Subject<'_>) -> u64 {
    let cut: u64 = subject.headers().map(|header| header.hosts).sum();
    let spans = subject.headers().filter(|header| header.shard.is_some()).flat_map(|header| header.coverage.spans());
    let (mut lists, mut all) = (0u128, Vec::new());
    for span in spans {
        lists = lists.saturating_add(span.addresses.len());
        all.push(span.addresses);
    }
    let once = all.into_iter().collect::<Addresses>().ranges().iter().map(Range::len).fold(0, u128::saturating_add);
    cut.saturating_sub(u64::try_from(lists - once).unwrap_or(0))
}

fn shards(subject: &Subject<'_>) -> Option<String> {
    let shards: Vec<String> =
        subject.headers().filter_map(|header| header.shard.clone()).map(|shard| foreign(&shard)).collect();
    (!shards.is_empty()).then(|| format!("Parts of the whole plan that are shown here: {}.", few(&shards, TARGETS)))
}

fn how(subject: &Subject<'_>) -> Vec<String> {
    let mut ways: Vec<String> = subject.headers().map(way).filter(|way| !way.is_empty()).collect();
    ways.sort_unstable();
    ways.dedup();
    ways
}

fn way(header: &Header) -> String {
    let program = program(header).map_or(String::new(), |program| format!(" by {program}"));
    match (&*header.settings.method, program.as_str()) {
        ("syn", _) => format!("Half-open (SYN) probes{program}."),
        ("connect", _) => format!("Full connections (the program had no right to raw sockets){program}."),
        (_, "") => String::new(),
        _ => format!("Scanned{program}."),
    }
}

/// `halfopen 1.2.3`, `nmap 7.93`; none where the file does not say.
fn program(header: &Header) -> Option<String> {
    let version = foreign(&header.version);
    match &header.scanner {
        Some(scanner) => Some(format!("{} {version}", foreign(scanner)).trim().to_owned()),
        None => (!version.is_empty()).then(|| format!("halfopen {version}")),
    }
}

/// By whose authorisation, where the files say so; each once.
fn authorised(subject: &Subject<'_>) -> Vec<String> {
    let named = subject.headers().filter_map(|header| header.authorisation.as_ref()).map(authorisation);
    let named: BTreeSet<String> = named.collect();
    named.into_iter().take(AUTHORISATIONS).collect()
}

fn authorisation(by: &Authorisation) -> String {
    format!("{}; to ask: {}.", foreign(&by.reference), foreign(&by.contact))
}

/// The states of all targets: from the accounts where there are, else as recorded.
pub(super) fn states(subject: &Subject<'_>, tally: &Tally) -> States {
    if !subject.is_accounted() {
        return tally.recorded;
    }
    subject.summaries().fold(States::default(), |sum, summary| States {
        open: sum.open + summary.counts.open,
        closed: sum.closed + summary.counts.closed,
        filtered: sum.filtered + summary.counts.filtered,
        silent: sum.silent + summary.counts.silent,
    })
}

fn found(subject: &Subject<'_>, tally: &Tally) -> Vec<String> {
    let states = states(subject, tally);
    let silent =
        if states.silent > 0 { format!(" ({} without any answer)", count(states.silent)) } else { String::new() };
    let [open, closed, filtered] = [states.open, states.closed, states.filtered].map(count);
    let known = format!("{open} open, {closed} closed, {filtered} filtered{silent}.");
    let hidden: u64 = subject.summaries().map(|summary| summary.suspects_hidden).sum();
    let lines = [
        Some(known),
        (!subject.is_accounted()).then(|| {
            "Counted from what the file lists: it has no account of the scan, so there may have been more.".into()
        }),
        doubted(tally),
        (hidden > 0).then(|| {
            format!("{} that something speaks against were left out of the file.", counted(hidden, "open port"))
        }),
    ];
    lines.into_iter().flatten().collect()
}

fn doubted(tally: &Tally) -> Option<String> {
    let doubted = tally.doubted();
    let them = if doubted == 1 { "It is" } else { "They are" };
    (doubted > 0).then(|| {
        format!(
            "Something speaks against {} of the open ports. {them} listed with the host, and counted nowhere else.",
            count(doubted)
        )
    })
}

fn complete(subject: &Subject<'_>) -> Vec<String> {
    let several = subject.sources().len() > 1;
    let said = subject.sources().iter().filter_map(|source| {
        let sentence = completeness(source.scan.summary.as_ref())?;
        Some(if several { format!("{}: {sentence}", foreign(source.file)) } else { sentence })
    });
    said.take(SCANS).collect()
}

/// What a scan's own measurements say of what it may have missed.
fn completeness(summary: Option<&Summary>) -> Option<String> {
    let Some(summary) = summary else {
        return Some(
            "The file has no account of the scan: it may have been cut short, and how complete it is nobody can say."
                .into(),
        );
    };
    if summary.outcome == "stopped" {
        return Some("The scan was stopped before its end: what it had not reached by then is missing here.".into());
    }
    let Some(measured) = &summary.completeness else {
        return Some("The scan did not measure what it may have missed.".into());
    };
    Some(vouched(summary, measured))
}

fn vouched(summary: &Summary, measured: &Completeness) -> String {
    let after = format!("after {}", counted(measured.passes.into(), "pass"));
    match measured.missing_open {
        _ if summary.counts.silent == 0 => "Every target that was probed has answered.".into(),
        None => format!(
            "Nothing answered {after}. There is nothing to measure losses by, so nobody can vouch for what was silent."
        ),
        Some(_) if measured.gone > 0 => format!(
            "{} stopped answering while the scan was under way: nobody can vouch for what was silent there.",
            counted(measured.gone, "network")
        ),
        Some(open) => format!("{} {after}{}.", missing(open), lost(measured.loss)),
    }
}

fn missing(open: Estimate) -> String {
    let most = open.high.max(0.0) as u64;
    match most {
        0 => "By the scan's own measurement no open port was missed (97.5\u{a0}% sure)".into(),
        _ => format!(
            "By the scan's own measurement about {} of the open ports may have been missed, at most {} (97.5\u{a0}% sure)",
            decimal(open.expected),
            count(most)
        ),
    }
}

fn decimal(number: f64) -> String {
    if number < 10.0 { format!("{number:.1}") } else { count(number.round() as u64) }
}

fn lost(loss: Option<Estimate>) -> String {
    match loss {
        None => String::new(),
        Some(loss) if loss.high > UNSURE && loss.expected <= UNSURE => {
            ", as far as can be told from so few answers".into()
        }
        Some(loss) if loss.expected <= 0.0 => "; no probe was seen lost".into(),
        Some(loss) => format!("; {} of the probes were lost on the way and repeated", percent(loss.expected)),
    }
}

fn not_covered(subject: &Subject<'_>, tally: &Tally) -> Vec<String> {
    let sum = |part: fn(&Summary) -> u64| subject.summaries().map(part).sum::<u64>();
    let down = tally.hosts.values().filter(|host| host.down.is_some()).count() as u64;
    let down = down.max(sum(|summary| summary.hosts_down));
    let skipped = sum(|summary| summary.discovery.as_ref().map_or(0, |found| found.skipped_hosts));
    let skipped_targets = sum(|summary| summary.discovery.as_ref().map_or(0, |found| found.skipped_targets));
    let unclassified = sum(|summary| summary.counts.unclassified).saturating_sub(skipped_targets);
    let (excluded, blocked) = (sum(|summary| summary.excluded), sum(|summary| summary.blocked));
    let lines = [
        (excluded > 0, format!("{} excluded by request.", counted(excluded, "address"))),
        (blocked > 0, format!("{} that no host can have (reserved ones).", counted(blocked, "address"))),
        (skipped > 0, format!("{} that answered nothing when looked for: their {} were not probed.", counted(skipped, "host"), counted(skipped_targets, "target"))),
        (down > 0, format!("{} of the local network that did not answer: not probed.", counted(down, "host"))),
        (unclassified > 0, format!("{} without a verdict, those of hosts that are down among them.", counted(unclassified, "target"))),
        (true, "UDP, and TCP ports other than those named above. Whether a service is up to date or has a weak password was not tested.".into()),
    ];
    lines.into_iter().filter_map(|(holds, line)| holds.then_some(line)).collect()
}
