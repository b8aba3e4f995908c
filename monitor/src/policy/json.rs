//! An assessment as one JSON object, for programs.

use halfopen_services::Service;
use serde_json::{Value, json as object};

use super::assessment::{Assessment, Check, Outcome, Verdict};
use super::words;

/// The object, with what it all comes to.
pub fn json(assessment: &Assessment<'_>, verdict: Verdict) -> String {
    let count = |outcome: Outcome| assessment.count(outcome);
    let report = object!({
        "version": 1,
        "policy": assessment.policy.name(),
        "at": assessment.at,
        "verdict": verdict,
        "coverage": { "listed": assessment.listed(), "unlisted": assessment.unlisted() },
        "ports": {
            "compliant": count(Outcome::Compliant),
            "violated": count(Outcome::Violated),
            "excepted": count(Outcome::Excepted),
            "absent": count(Outcome::Absent),
            "unknown": count(Outcome::Unknown),
        },
        "checks": assessment.checks.iter().map(|it| check(assessment, it)).collect::<Vec<_>>(),
        "exceptions": (0..assessment.exceptions.len()).map(|index| exception(assessment, index)).collect::<Vec<_>>(),
    });
    format!("{report:#}\n")
}

fn check(assessment: &Assessment<'_>, check: &Check) -> Value {
    let rule = assessment.rule(check);
    let states: Vec<_> = check.known.possible().states().map(halfopen_results::record::State::name).collect();
    object!({
        "host": check.host,
        "ports": words::ports(check),
        "outcome": check.outcome,
        "expected": check.expected,
        "states": states,
        "unknown": check.known.unknown(),
        "listed": check.listed,
        "rule": rule.id,
        "severity": rule.severity,
        "why": rule.why,
        "exception": assessment.exception(check).map(|exception| &exception.id),
        "plaintext": words::in_plaintext(check).into_iter().map(plaintext).collect::<Vec<_>>(),
    })
}

fn plaintext((port, service): (u16, &Service)) -> Value {
    object!({ "port": port, "service": service.name, "instead": service.instead })
}

fn exception(assessment: &Assessment<'_>, index: usize) -> Value {
    let (it, standing) = (&assessment.policy.exceptions()[index], &assessment.exceptions[index]);
    object!({
        "id": it.id,
        "rule": it.rule,
        "owner": it.owner,
        "reason": it.reason,
        "until": it.until,
        "left_seconds": standing.left.as_secs(),
        "ends_soon": standing.ends_soon,
        "ended": standing.ended,
        "stale": standing.stale,
    })
}
