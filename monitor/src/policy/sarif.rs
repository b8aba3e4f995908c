//! An assessment as SARIF 2.1.0, as code scanning services read it: every violation is a result at the line of the policy that it
//! breaks, what is excepted is a result that is suppressed, and what is not known is open, unless nobody asked for it. What is plaintext is
//! a remark (informational), whether it is permitted or not. What else complies is left out.

use serde_json::{Value, json};

use super::assessment::{Assessment, Check, Measure, Outcome};
use super::words;
use super::{Exception, Rule};
use crate::incident::Severity;

/// The document.
pub fn sarif(assessment: &Assessment<'_>, measure: &Measure) -> String {
    let is_told = |check: &&Check| match check.outcome {
        Outcome::Violated | Outcome::Excepted => true,
        Outcome::Unknown => check.listed || check.is_gap(measure),
        Outcome::Compliant | Outcome::Absent => false,
    };
    let results = assessment.checks.iter().filter(is_told).map(|check| result(assessment, check));
    let remarks = assessment.checks.iter().flat_map(|check| remarks(assessment, check));
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "halfopen",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": assessment.policy.rules().iter().map(rule).collect::<Vec<_>>(),
            } },
            "invocations": [{
                "executionSuccessful": true,
                "endTimeUtc": assessment.at,
                "toolExecutionNotifications": notifications(assessment),
            }],
            "results": results.chain(remarks).collect::<Vec<_>>(),
        }],
    });
    format!("{document:#}\n")
}

fn rule(rule: &Rule) -> Value {
    let text = rule.why.clone().unwrap_or_else(|| format!("Ports as rule {} has them", rule.id));
    json!({
        "id": rule.id,
        "shortDescription": { "text": text },
        "defaultConfiguration": { "level": level(rule.severity) },
        "properties": { "severity": rule.severity },
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "note",
        Severity::Warning => "warning",
        Severity::Critical => "error",
    }
}

fn notifications(assessment: &Assessment<'_>) -> Vec<Value> {
    let told = (0..assessment.exceptions.len()).filter_map(|index| words::exception(assessment, index));
    told.map(|(severity, text)| json!({ "level": level(severity), "message": { "text": text } })).collect()
}

fn result(assessment: &Assessment<'_>, check: &Check) -> Value {
    let rule = assessment.rule(check);
    let unknown = check.outcome == Outcome::Unknown;
    let place = format!("{} {}", check.host, words::ports(check));
    let mut result = json!({
        "ruleId": rule.id,
        "ruleIndex": check.rule,
        "kind": if unknown { "open" } else { "fail" },
        // Only what fails has a level.
        "level": if unknown { "none" } else { level(rule.severity) },
        "message": { "text": words::sentence(assessment, check) },
        "locations": [location(assessment, rule, &place)],
        "partialFingerprints": { "rule/place/v1": format!("{} {place}", rule.id) },
    });
    if let (Outcome::Excepted, Some(exception)) = (check.outcome, assessment.exception(check)) {
        result["suppressions"] = json!([suppression(exception)]);
    }
    result
}

/// What of a check is plaintext.
fn remarks(assessment: &Assessment<'_>, check: &Check) -> Vec<Value> {
    let rule = assessment.rule(check);
    let ports = words::in_plaintext(check).into_iter().map(|(port, _)| format!("{} tcp/{port}", check.host));
    let remark = |(place, text): (String, String)| {
        json!({
            "ruleId": rule.id,
            "ruleIndex": check.rule,
            "kind": "informational",
            "level": "none",
            "message": { "text": format!("{}: {text}", check.host) },
            "locations": [location(assessment, rule, &place)],
            "partialFingerprints": { "plaintext/place/v1": place },
        })
    };
    ports.zip(words::remarks(check)).map(remark).collect()
}

fn location(assessment: &Assessment<'_>, rule: &Rule, place: &str) -> Value {
    json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(assessment.policy.name()) },
            "region": { "startLine": rule.line },
        },
        "logicalLocations": [{ "fullyQualifiedName": place, "kind": "resource" }],
    })
}

fn suppression(exception: &Exception) -> Value {
    let Exception { id, owner, reason, until, .. } = exception;
    json!({ "kind": "external", "status": "accepted", "justification": format!("{id}, {owner}, until {until}: {reason}") })
}

/// A path as a reference that is a URI: with what has a meaning there in hexadecimal.
fn uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    path.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_uris() {
        assert_eq!(uri("a b/pölicy#1.toml"), "a%20b/p%C3%B6licy%231.toml");
    }
}
