//! An assessment for people: what is wrong first, by rule, then what nobody can tell, and in the end the account.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

use halfopen_monitor::Severity;
use halfopen_monitor::policy::{Assessment, Check, Outcome, Tally, Verdict, exception, left, remarks, sentence};

use crate::output::text::{count, grouped};

/// More lines of one kind under one rule are counted.
const SHOWN: usize = 20;

/// The report.
pub(super) fn report(assessment: &Assessment<'_>, verdict: Verdict) -> String {
    let mut text = String::new();
    for outcome in [Outcome::Violated, Outcome::Excepted, Outcome::Unknown] {
        text.push_str(&part(assessment, outcome));
    }
    text.push_str(&plaintext(assessment));
    let notes = (0..assessment.exceptions.len()).filter_map(|index| exception(assessment, index));
    notes.for_each(|(_, note)| _ = writeln!(text, "{note}"));
    text + &account(assessment, verdict)
}

/// What comes to the same, by rule.
fn part(assessment: &Assessment<'_>, outcome: Outcome) -> String {
    let mut text = String::new();
    for (index, rule) in assessment.policy.rules().iter().enumerate() {
        // That not all of 65,535 ports were asked is in the account.
        let told = |check: &&Check| check.rule == index && (outcome != Outcome::Unknown || check.listed);
        let checks: Vec<_> = assessment.with(outcome).filter(told).collect();
        if checks.is_empty() {
            continue;
        }
        let severity = if outcome == Outcome::Violated { format!(" ({})", rule.severity) } else { String::new() };
        let why = rule.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        _ = writeln!(text, "{} {}{severity}{why}", outcome.name(), rule.id);
        checks.iter().take(SHOWN).for_each(|check| text.push_str(&line(assessment, check)));
        if let Some(more) = checks.len().checked_sub(SHOWN).filter(|&more| more > 0) {
            _ = writeln!(text, "  and {} more; --format json has all of them", grouped(more as u64));
        }
    }
    text
}

/// A check, what is left of its exception, and what would be better than plaintext.
fn line(assessment: &Assessment<'_>, check: &Check) -> String {
    let remains = match (check.outcome, check.exception) {
        (Outcome::Excepted, Some(index)) => format!(" ({} left)", left(assessment.exceptions[index].left)),
        _ => String::new(),
    };
    let plain: String = remarks(check).iter().map(|remark| format!("    {remark}\n")).collect();
    format!("  {}{remains}\n{plain}", sentence(assessment, check))
}

/// What the policy permits, and would be better encrypted.
fn plaintext(assessment: &Assessment<'_>) -> String {
    let of = |(host, remark): (IpAddr, String)| format!("  {host}: {remark}\n");
    let permitted = assessment.with(Outcome::Compliant);
    let found = permitted.flat_map(|check| remarks(check).into_iter().map(|remark| (check.host, remark)));
    let lines: Vec<_> = found.map(of).collect();
    if lines.is_empty() {
        return String::new();
    }
    let more = lines.len().checked_sub(SHOWN).filter(|&more| more > 0);
    let more = more.map(|more| format!("  and {} more; --format json has all of them\n", grouped(more as u64)));
    let shown: String = lines.into_iter().take(SHOWN).chain(more).collect();
    format!("permitted, and plaintext\n{shown}")
}

fn account(assessment: &Assessment<'_>, verdict: Verdict) -> String {
    let parts = [Outcome::Violated, Outcome::Excepted, Outcome::Absent].into_iter();
    let parts = parts.map(|outcome| (assessment.count(outcome), outcome)).filter(|(ports, _)| *ports > 0);
    let parts: String =
        parts.map(|(ports, outcome)| format!(", {} {}", count(ports, "port"), outcome.name())).collect();
    let unlisted = match (assessment.policy.unlisted(), assessment.unlisted()) {
        (Some(_), tally) => format!("; of all others {}", share(tally)),
        (None, _) => String::new(),
    };
    let down = assessment.hosts_down();
    let named: Vec<_> = down.iter().take(3).map(ToString::to_string).collect();
    let more = if down.len() > named.len() { ", ..." } else { "" };
    let down = match down.len() {
        0 => String::new(),
        hosts => format!(
            "{} down, so nothing is known of what is expected there: {}{more}\n",
            count(hosts as u64, "host"),
            named.join(", ")
        ),
    };
    format!(
        "{down}{}: {}{parts}\nknown: of the ports that rules name {}{unlisted}\n",
        assessment.policy.name(),
        verdict.name(),
        share(assessment.listed()),
    )
}

fn share(tally: Tally) -> String {
    format!("{} of {}", grouped(tally.known), grouped(tally.of))
}

/// Whether it came out as expected, and otherwise what did not.
pub(super) fn differences(assessment: &Assessment<'_>, expected: Verdict, violates: &[String]) -> String {
    let found = match assessment.verdict(&assessment.measure(Severity::Info, 1.0)) {
        Verdict::Exceptions => Verdict::Compliant,
        found => found,
    };
    let broken: BTreeSet<&str> =
        assessment.with(Outcome::Violated).map(|check| assessment.rule(check).id.as_str()).collect();
    let named: BTreeSet<&str> = violates.iter().map(String::as_str).collect();
    // Who names rules expects them to be violated.
    let expected = if named.is_empty() { expected } else { Verdict::Violated };
    let list = |rules: &BTreeSet<&str>| Vec::from_iter(rules.iter().copied()).join(", ");
    if found == expected && (named.is_empty() || named == broken) {
        return format!("as expected: {}\n", found.name());
    }
    let mut text = format!("expected {}, and it is {}\n", expected.name(), found.name());
    if !named.is_empty() {
        _ = writeln!(text, "rules expected to be violated: {}; violated: {}", list(&named), list(&broken));
    }
    text + &report(assessment, found)
}
