//! An assessment as JUnit's XML, as build servers read it: a suite for each rule, a case for neighbouring ports of a host. What
//! is not known is an error and no failure, so that a scan that did not look can be told from a firewall that is wrong.

use super::Rule;
use super::assessment::{Assessment, Check, Outcome};
use super::words;

/// The document.
pub fn junit(assessment: &Assessment<'_>) -> String {
    let rules = assessment.policy.rules().iter().enumerate();
    let suites: String = rules.map(|(index, rule)| suite(assessment, index, rule)).collect();
    let counts = counts(&assessment.checks.iter().collect::<Vec<_>>());
    let name = escaped(assessment.policy.name());
    let exceptions = (0..assessment.exceptions.len()).filter_map(|index| words::exception(assessment, index));
    let notes: String = exceptions.map(|(_, text)| format!("{text}\n")).collect();
    let notes = if notes.is_empty() { notes } else { format!("  <system-out>{}</system-out>\n", escaped(&notes)) };
    let notes = exceptions_suite(&notes);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{name}\" {counts}>\n{suites}{notes}</testsuites>\n"
    )
}

/// Only a suite may say something.
fn exceptions_suite(notes: &str) -> String {
    if notes.is_empty() {
        return String::new();
    }
    format!(
        "  <testsuite name=\"exceptions\" tests=\"0\" failures=\"0\" errors=\"0\" skipped=\"0\">\n  {notes}  </testsuite>\n"
    )
}

fn suite(assessment: &Assessment<'_>, index: usize, rule: &Rule) -> String {
    let checks: Vec<&Check> = assessment.checks.iter().filter(|check| check.rule == index).collect();
    let cases: String = checks.iter().map(|check| case(assessment, rule, check)).collect();
    let (id, at, counts) = (escaped(&rule.id), assessment.at, counts(&checks));
    format!("  <testsuite name=\"{id}\" {counts} timestamp=\"{at}\">\n{cases}  </testsuite>\n")
}

fn counts(checks: &[&Check]) -> String {
    let of = |outcomes: &[Outcome]| checks.iter().filter(|check| outcomes.contains(&check.outcome)).count();
    let (failures, errors) = (of(&[Outcome::Violated]), of(&[Outcome::Unknown]));
    let skipped = of(&[Outcome::Excepted, Outcome::Absent]);
    format!("tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"", checks.len())
}

fn case(assessment: &Assessment<'_>, rule: &Rule, check: &Check) -> String {
    let (host, ports, expected) = (check.host, words::ports(check), check.expected);
    let head = format!("    <testcase classname=\"{}\" name=\"{host} {ports} {expected}\"", escaped(&rule.id));
    let said = escaped(&words::sentence(assessment, check));
    let why = escaped(rule.why.as_deref().unwrap_or_default());
    match check.outcome {
        Outcome::Compliant => format!("{head}/>\n"),
        Outcome::Excepted | Outcome::Absent => format!("{head}><skipped message=\"{said}\"/></testcase>\n"),
        Outcome::Violated => {
            let severity = rule.severity;
            format!("{head}><failure type=\"{severity}\" message=\"{said}\">{why}</failure></testcase>\n")
        }
        Outcome::Unknown => format!("{head}><error type=\"unknown\" message=\"{said}\">{why}</error></testcase>\n"),
    }
}

/// As XML 1.0 allows it, in a text or an attribute.
fn escaped(text: &str) -> String {
    let mut to = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => to.push_str("&amp;"),
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '"' => to.push_str("&quot;"),
            '\n' | '\t' => to.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => to.push('\u{fffd}'),
            c => to.push(c),
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out() {
        assert_eq!(escaped("<a b=\"&\">\u{1}"), "&lt;a b=&quot;&amp;&quot;&gt;\u{fffd}");
    }
}
