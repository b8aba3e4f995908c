//! The settings and measurements of each scan, small and at the end: for those who want to repeat it or to judge it.

use halfopen_results::record::{Header, Name, Settings, Summary};

use crate::subject::Subject;
use crate::text::{count, foreign, lasting, millis, percent};

/// What belongs to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) title: String,
    pub(crate) entries: Vec<(&'static str, String)>,
}

/// Files of which the settings are shown.
const MOST: usize = 16;
/// Characters of one value: a command line may hold thousands of targets.
const LONGEST: usize = 600;

/// One group a file, where it says anything.
pub(super) fn groups(subject: &Subject<'_>) -> Vec<Group> {
    let group = |source: &crate::Source<'_>| {
        let (header, summary) = (source.scan.header.as_ref(), source.scan.summary.as_ref());
        let settings = header.map(|header| &header.settings).or(summary.map(|summary| &summary.settings));
        let parts = [header.map(asked), settings.map(set), summary.map(measured)];
        let entries = parts.into_iter().flatten().flatten().filter(|(_, value)| !value.is_empty());
        Group { title: foreign(source.file), entries: entries.map(|(name, value)| (name, shortened(&value))).collect() }
    };
    subject.sources().iter().take(MOST).map(group).filter(|group| !group.entries.is_empty()).collect()
}

fn asked(header: &Header) -> Vec<(&'static str, String)> {
    vec![
        ("Command", header.command.join(" ")),
        ("Version", header.version.to_string()),
        ("Shard", header.shard.clone().unwrap_or_default()),
    ]
}

fn set(settings: &Settings) -> Vec<(&'static str, String)> {
    let optional = |number: Option<u64>| number.map_or(String::new(), count);
    let addresses: Vec<String> = settings.source_ip.iter().map(ToString::to_string).collect();
    vec![
        ("Excluded", settings.exclude.join(" ")),
        ("Exclusions from", settings.exclude_file.join(" ")),
        ("Method", settings.method.to_string()),
        ("Links", settings.links.join(", ")),
        ("Interface", settings.interface.clone().unwrap_or_default()),
        ("Source addresses", addresses.join(", ")),
        ("Source port", settings.source_port.map_or(String::new(), |port| port.to_string())),
        ("Rate a second", rate(&settings.rate)),
        ("Highest rate", optional(settings.max_rate)),
        ("Lowest rate", optional(settings.min_rate)),
        ("Rate for a host", rate(&settings.host_rate)),
        (
            "Completeness asked",
            if settings.completeness > 0.0 { percent(settings.completeness) } else { String::new() },
        ),
        ("Discovery", settings.discover.to_string()),
        ("Seed", settings.seed.clone()),
        ("Filter of the file", settings.filter.clone().unwrap_or_default()),
    ]
}

fn rate(rate: &halfopen_results::record::RateLimit) -> String {
    match rate {
        halfopen_results::record::RateLimit::Pps(pps) => count(*pps),
        halfopen_results::record::RateLimit::Word(word) => word.to_string(),
    }
}

fn measured(summary: &Summary) -> Vec<(&'static str, String)> {
    let passes: Vec<String> = summary.probes.by_pass.iter().map(|&probes| count(probes)).collect();
    let some = |number: u64| if number > 0 { count(number) } else { String::new() };
    vec![
        ("Duration", lasting(summary.elapsed_us)),
        ("Probes sent", some(summary.probes.total)),
        ("Of these by pass", passes.join(", ")),
        ("To measure losses", some(summary.probes.canaries)),
        ("Sent a second", some(summary.rate.round() as u64)),
        ("Replies", some(summary.replies)),
        ("Duplicates", some(summary.duplicates)),
        ("Round trip", summary.srtt_us.map_or(String::new(), millis)),
        ("Lost on this side", listed(&summary.drops, &["send_retries"])),
        ("Not ours", listed(&summary.strays, &["own", "unrelated"])),
    ]
}

/// Counts that are not zero, but for those that are no news.
fn listed(counts: &std::collections::BTreeMap<Name, u64>, no_news: &[&str]) -> String {
    let told = counts.iter().filter(|(name, number)| **number > 0 && !no_news.contains(&name.as_ref()));
    told.map(|(name, &number)| format!("{} {}", count(number), name.replace('_', " "))).collect::<Vec<_>>().join(", ")
}

fn shortened(value: &str) -> String {
    let value = foreign(value);
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value,
    }
}
