//! An assessment as SARIF 2.1.0, as code scanning services read it: every violation is a result at the line of the policy that it
//! breaks, what is excepted is a result that is suppressed, and what is not known is open. What complies is left out.

use serde_json::{Value, json};

use super::assessment::{Assessment, Check, Outcome};
use super::words;
use super::{Exception, Rule};
use crate::incident::Severity;

/// The document.
pub fn sarif(assessment: &Assessment<'_>) -> String {
    let told = [Outcome::Violated, Outcome::Excepted, Outcome::Unknown];
    let checks = assessment.checks.iter().filter(|check| told.contains(&check.outcome));
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
            "results": checks.map(|check| result(assessment, check)).collect::<Vec<_>>(),
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
        "locations": [{
            "physicalLocation": {
                "artifactLocation": { "uri": uri(assessment.policy.name()) },
                "region": { "startLine": rule.line },
            },
            "logicalLocations": [{ "fullyQualifiedName": place, "kind": "resource" }],
        }],
        "partialFingerprints": { "rule/place/v1": format!("{} {place}", rule.id) },
    });
    if let (Outcome::Excepted, Some(exception)) = (check.outcome, assessment.exception(check)) {
        result["suppressions"] = json!([suppression(exception)]);
    }
    result
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
