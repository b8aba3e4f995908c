//! An assessment as JUnit's XML, as build servers read it: a suite for each rule, a case for neighbouring ports of a host. What
//! is not known is an error and no failure, so that a scan that did not look can be told from a firewall that is wrong. There are failures and
//! errors where the exit code says so, and nowhere else: what does not count is skipped, with the reason.

use super::Rule;
use super::assessment::{Assessment, Check, Measure, Outcome, Standing};
use super::words;

/// The document.
pub fn junit(assessment: &Assessment<'_>, measure: &Measure) -> String {
    let report = Report { assessment, measure };
    let rules = assessment.policy.rules().iter().enumerate();
    let mut suites: Vec<_> = rules.map(|(index, rule)| report.suite(index, rule)).collect();
    suites.extend(exceptions(assessment));
    let (text, counts) = (suites.iter().map(|(text, _)| text.as_str()).collect::<String>(), sum(&suites));
    let name = escaped(assessment.policy.name());
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{name}\" {counts}>\n{text}</testsuites>\n")
}

struct Report<'a> {
    assessment: &'a Assessment<'a>,
    measure: &'a Measure,
}

/// What a case comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Result {
    Passed,
    Failure,
    Error,
    Skipped,
}

/// How many cases come to what.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

impl Report<'_> {
    fn suite(&self, index: usize, rule: &Rule) -> (String, Counts) {
        let checks: Vec<&Check> = self.assessment.checks.iter().filter(|check| check.rule == index).collect();
        let cases: String = checks.iter().map(|check| self.case(rule, check)).collect();
        let counts: Counts = checks.iter().map(|check| self.result(check)).collect();
        let (id, at) = (escaped(&rule.id), self.assessment.at);
        (format!("  <testsuite name=\"{id}\" {counts} timestamp=\"{at}\">\n{cases}  </testsuite>\n"), counts)
    }

    fn result(&self, check: &Check) -> Result {
        match check.outcome {
            Outcome::Compliant => Result::Passed,
            Outcome::Violated if self.assessment.is_failure(check, self.measure) => Result::Failure,
            Outcome::Unknown if check.is_gap(self.measure) => Result::Error,
            Outcome::Violated | Outcome::Unknown | Outcome::Excepted | Outcome::Absent => Result::Skipped,
        }
    }

    fn case(&self, rule: &Rule, check: &Check) -> String {
        let (host, ports, expected) = (check.host, words::ports(check), check.expected);
        let head = format!("    <testcase classname=\"{}\" name=\"{host} {ports} {expected}\"", escaped(&rule.id));
        let said = escaped(&words::sentence(self.assessment, check));
        let why = escaped(rule.why.as_deref().unwrap_or_default());
        let severity = rule.severity;
        let said = match self.result(check) {
            Result::Passed => String::new(),
            Result::Failure => format!("<failure type=\"{severity}\" message=\"{said}\">{why}</failure>"),
            Result::Error => format!("<error type=\"unknown\" message=\"{said}\">{why}</error>"),
            Result::Skipped => format!("<skipped message=\"{said}\"/>"),
        };
        match said + &remarks(check) {
            nothing if nothing.is_empty() => format!("{head}/>\n"),
            said => format!("{head}>{said}</testcase>\n"),
        }
    }
}

/// What is plaintext is a remark, whatever else is said of it.
fn remarks(check: &Check) -> String {
    let remarks = words::remarks(check).join("\n");
    if remarks.is_empty() { remarks } else { format!("<system-out>{}</system-out>", escaped(&remarks)) }
}

/// Exceptions that are of no use fail; what else there is to say of some is said.
fn exceptions(assessment: &Assessment<'_>) -> Option<(String, Counts)> {
    let standings = assessment.exceptions.iter().enumerate();
    let told: Vec<_> =
        standings.filter_map(|(index, it)| Some((index, it, words::exception(assessment, index)?.1))).collect();
    let result = |it: &Standing| if it.is_over() { Result::Failure } else { Result::Passed };
    let case = |(index, it, text): &(usize, &Standing, String)| {
        let (id, text) = (escaped(&assessment.policy.exceptions()[*index].id), escaped(text));
        let said = match result(it) {
            Result::Failure => format!("<failure type=\"warning\" message=\"{text}\"/>"),
            _ => format!("<system-out>{text}</system-out>"),
        };
        format!("    <testcase classname=\"exceptions\" name=\"{id}\">{said}</testcase>\n")
    };
    let (cases, counts) =
        (told.iter().map(case).collect::<String>(), told.iter().map(|(_, it, _)| result(it)).collect());
    (!told.is_empty()).then(|| (format!("  <testsuite name=\"exceptions\" {counts}>\n{cases}  </testsuite>\n"), counts))
}

fn sum(suites: &[(String, Counts)]) -> Counts {
    suites.iter().fold(Counts::default(), |sum, (_, it)| Counts {
        tests: sum.tests + it.tests,
        failures: sum.failures + it.failures,
        errors: sum.errors + it.errors,
        skipped: sum.skipped + it.skipped,
    })
}

impl FromIterator<Result> for Counts {
    fn from_iter<I: IntoIterator<Item = Result>>(results: I) -> Counts {
        results.into_iter().fold(Counts::default(), |counts, result| Counts {
            tests: counts.tests + 1,
            failures: counts.failures + usize::from(result == Result::Failure),
            errors: counts.errors + usize::from(result == Result::Error),
            skipped: counts.skipped + usize::from(result == Result::Skipped),
        })
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { tests, failures, errors, skipped } = self;
        write!(f, "tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"")
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
