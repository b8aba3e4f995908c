//! The key figures, and the charts: what they show, and what they say in words.

use super::concerns::Concerns;
use super::{Figure, facts, ports};
use crate::advice;
use crate::chart::bars::{self, Row};
use crate::chart::ink::Ink;
use crate::chart::{Chart, growth, histogram};
use crate::subject::{Subject, started};
use crate::tally::Tally;
use crate::text::{count, counted, few, lasting, millis};

/// Bars in the chart of ports.
const PORTS: usize = 15;

/// The numbers at the top.
pub(super) fn key(subject: &Subject<'_>, tally: &Tally, concerns: &Concerns) -> Vec<Figure> {
    let figure = |number, noun: &str, alarming| Figure { number: count(number), meaning: noun.into(), alarming };
    let named = |number, one: &'static str, many: &'static str| if number == 1 { one } else { many };
    let (hosts, open, grave) = (tally.hosts_with_open(), tally.trusted(), concerns.ports);
    let probed = facts::targets(subject).map(|targets| figure(targets, named(targets, "target", "targets"), false));
    let found = [
        figure(hosts, named(hosts, "host with open ports", "hosts with open ports"), false),
        figure(open, named(open, "open port", "open ports"), false),
        figure(grave, named(grave, "open port needs attention", "open ports need attention"), grave > 0),
    ];
    probed.into_iter().chain(found).collect()
}

/// The charts that there is something for, and why others are missing.
pub(super) fn charts(tally: &Tally, subject: &Subject<'_>) -> (Vec<Chart>, Vec<&'static str>) {
    let charts = [
        (states(tally, subject), "No chart of states: the file has no verdict."),
        (frequency(tally), "No chart of ports: no open port was found."),
        (round_trips(tally), "No chart of round-trip times: the file has none."),
        (found(tally, subject), "No chart of what was found when: the file has no times."),
    ];
    let (drawn, absent): (Vec<_>, Vec<_>) = charts.into_iter().partition(|(chart, _)| chart.is_some());
    // Without open ports it needs no explanation that none were found over time.
    let absent = absent.into_iter().map(|(_, why)| why).filter(|why| tally.recorded.open > 0 || !why.contains("when"));
    (drawn.into_iter().filter_map(|(chart, _)| chart).collect(), absent.collect())
}

fn states(tally: &Tally, subject: &Subject<'_>) -> Option<Chart> {
    let states = facts::states(subject, tally);
    let rows = [
        ("open", states.open, Ink::Open),
        ("closed", states.closed, Ink::Closed),
        ("filtered, by an error", states.filtered.saturating_sub(states.silent), Ink::Filtered),
        ("filtered, no answer", states.silent, Ink::Silent),
    ];
    let said: Vec<String> = rows.iter().map(|(state, targets, _)| format!("{} {state}", count(*targets))).collect();
    let rows = rows.map(|(label, value, ink)| Row { label: label.into(), value, ink, note: "" });
    let any = rows.iter().any(|row| row.value > 0);
    any.then(|| Chart::new("states", "Targets by state", format!("{}.", said.join("; ")), bars::draw(&rows)))
}

fn frequency(tally: &Tally) -> Option<Chart> {
    let ranked = ports::ranked(tally);
    let row = |&(port, hosts): &(u16, u64)| {
        let (ink, note) = if advice::is_alarming(port) { (Ink::Attention, "attention") } else { (Ink::Open, "") };
        Row { label: advice::label(port), value: hosts, ink, note }
    };
    let rows: Vec<Row> = ranked.iter().take(PORTS).map(row).collect();
    let first: Vec<String> =
        rows.iter().take(3).map(|row| format!("{} on {}", row.label, counted(row.value, "host"))).collect();
    let cut = if ranked.len() > PORTS {
        format!(" The {PORTS} most frequent of {}.", count(ranked.len() as u64))
    } else {
        String::new()
    };
    let said = format!("Hosts on which a port is open: {}.{cut}", few(&first, 3));
    (!rows.is_empty()).then(|| Chart::new("ports", "Open ports by frequency", said, bars::draw(&rows)))
}

fn round_trips(tally: &Tally) -> Option<Chart> {
    let times = &tally.round_trips_us;
    let (least, most) = (*times.first()?, *times.last()?);
    let quantile = |share: f64| millis(times[((times.len() - 1) as f64 * share).round() as usize]);
    let said = format!(
        "{} recorded, from {} to {}; half of them within {}, 95\u{a0}% within {}.",
        counted(times.len() as u64, "answer"),
        millis(least),
        millis(most),
        quantile(0.5),
        quantile(0.95)
    );
    Some(Chart::new("round-trips", "Round-trip times", said, histogram::draw(times)))
}

fn found(tally: &Tally, subject: &Subject<'_>) -> Option<Chart> {
    let first = *tally.found_us.first()?;
    let begun = subject.sources().iter().filter_map(|source| started(source.scan)).min();
    let begun = begun.and_then(|time| u64::try_from(time.as_microsecond()).ok()).unwrap_or(first).min(first);
    let since_ms: Vec<u64> = tally.found_us.iter().map(|time| (time - begun) / 1_000).collect();
    let last_us = tally.found_us.last()? - begun;
    let end_us = end_us(subject).map_or(last_us, |end| end.saturating_sub(begun).max(last_us));
    let said = format!(
        "{} found; the last after {}, the scan took {}.",
        counted(since_ms.len() as u64, "open port"),
        lasting(last_us),
        lasting(end_us)
    );
    Some(Chart::new("found", "Found over time", said, growth::draw(&since_ms, end_us / 1_000)))
}

/// When the last scan ended, in microseconds since 1970.
fn end_us(subject: &Subject<'_>) -> Option<u64> {
    let end = |summary: &halfopen_results::record::Summary| {
        Some(u64::try_from(summary.started.as_microsecond()).ok()? + summary.elapsed_us)
    };
    subject.summaries().filter_map(end).max()
}
