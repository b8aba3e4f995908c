//! A finding: what it is about, how bad it is, what was found, and what to do.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grade {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// A scan works, but less well.
    Warning,
    /// A scan cannot work.
    Problem,
    /// Could not be looked at.
    Unknown,
}

impl Grade {
    fn name(self) -> &'static str {
        match self {
            Grade::Ok => "ok",
            Grade::Note => "note",
            Grade::Warning => "warning",
            Grade::Problem => "problem",
            Grade::Unknown => "unknown",
        }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) grade: Grade,
    /// A word: `rights`, `eth0`, `firewall`.
    pub(super) about: String,
    pub(super) found: String,
    /// What to do, where there is something to do.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
}

impl Finding {
    pub(super) fn new(grade: Grade, about: &str, found: impl Into<String>) -> Finding {
        Finding { grade, about: about.into(), found: found.into(), advice: None }
    }

    pub(super) fn advise(self, advice: impl Into<String>) -> Finding {
        Finding { advice: Some(advice.into()), ..self }
    }
}

/// One a line, for people and for grep.
pub(super) fn lines(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let Finding { grade, about, found, advice } = finding;
        let advice = advice.iter().map(|advice| format!("; {advice}")).collect::<String>();
        format!("{:<8} {about}: {found}{advice}\n", grade.name())
    };
    findings.iter().map(line).collect()
}

/// One object, on one line.
pub(super) fn json(findings: &[Finding]) -> String {
    let can_scan = findings.iter().all(|finding| finding.grade != Grade::Problem);
    format!("{}\n", serde_json::json!({ "can_scan": can_scan, "findings": findings }))
}

/// A file of the kernel's that holds one number or more.
pub(super) fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().map_while(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_line_with_what_to_do() {
        let findings = [
            Finding::new(Grade::Ok, "clock", "synchronised"),
            Finding::new(Grade::Problem, "route", "no route to 192.0.2.1").advise("add one"),
        ];
        assert_eq!(lines(&findings), "ok       clock: synchronised\nproblem  route: no route to 192.0.2.1; add one\n");
        assert_eq!(
            json(&findings),
            "{\"can_scan\":false,\"findings\":[{\"about\":\"clock\",\"found\":\"synchronised\",\"grade\":\"ok\"},\
             {\"about\":\"route\",\"do\":\"add one\",\"found\":\"no route to 192.0.2.1\",\"grade\":\"problem\"}]}\n"
        );
    }
}
