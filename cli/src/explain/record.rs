//! Explanations as data: one JSON object. Its shape is that of `halfopen_services`, which serialises nothing itself.

use halfopen_services::{Answer, CONVENTION, Port, Registered, Service};
use serde::Serialize;

#[derive(Serialize)]
struct Explanation {
    r#type: &'static str,
    note: &'static str,
    answers: Vec<AnswerRecord>,
}

#[derive(Serialize)]
struct AnswerRecord {
    ports: Vec<String>,
    registered: Vec<RegisteredRecord>,
    /// Null where there is no text.
    service: Option<ServiceRecord>,
}

#[derive(Serialize)]
struct RegisteredRecord {
    port: String,
    name: &'static str,
    description: &'static str,
}

#[derive(Serialize)]
struct ServiceRecord {
    name: &'static str,
    title: &'static str,
    aliases: &'static [&'static str],
    ports: Vec<String>,
    alternates: Vec<String>,
    /// `plaintext`, `optional` or `encrypted`.
    wire: &'static str,
    plaintext: bool,
    instead: Option<&'static str>,
    /// `low`, `medium` or `high`, if it can be reached from the Internet.
    risk: &'static str,
    purpose: &'static str,
    locally: &'static str,
    exposed: &'static str,
    advice: &'static str,
}

/// The object, on lines.
pub(super) fn object(answers: &[Answer]) -> String {
    let answers = answers.iter().map(AnswerRecord::from).collect();
    let explanation = Explanation { r#type: "explanation", note: CONVENTION, answers };
    // Texts and lists of texts can always be written.
    let text = serde_json::to_string_pretty(&explanation).unwrap_or_default();
    text + "\n"
}

impl From<&Answer> for AnswerRecord {
    fn from(answer: &Answer) -> AnswerRecord {
        AnswerRecord {
            ports: listed(&answer.ports),
            registered: answer.registered.iter().map(RegisteredRecord::from).collect(),
            service: answer.service.map(ServiceRecord::from),
        }
    }
}

impl From<&Registered> for RegisteredRecord {
    fn from(entry: &Registered) -> RegisteredRecord {
        RegisteredRecord { port: entry.port.to_string(), name: entry.name, description: entry.description }
    }
}

impl From<&'static Service> for ServiceRecord {
    fn from(service: &'static Service) -> ServiceRecord {
        ServiceRecord {
            name: service.name,
            title: service.title,
            aliases: service.aliases,
            ports: listed(service.ports),
            alternates: listed(service.alternates),
            wire: service.wire.name(),
            plaintext: service.is_plaintext(),
            instead: service.instead,
            risk: service.risk.name(),
            purpose: service.purpose,
            locally: service.locally,
            exposed: service.exposed,
            advice: service.advice,
        }
    }
}

fn listed(ports: &[Port]) -> Vec<String> {
    ports.iter().map(Port::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use halfopen_services::explain;
    use serde_json::{Value, json};

    fn parsed(word: &str) -> Value {
        serde_json::from_str(&object(&explain(word).unwrap())).unwrap()
    }

    #[test]
    fn a_service_has_everything() {
        let object = parsed("telnet");
        assert_eq!((&object["type"], &object["note"]), (&json!("explanation"), &json!(CONVENTION)));
        let answer = &object["answers"][0];
        assert_eq!(answer["ports"], json!(["23/tcp"]));
        assert_eq!(answer["registered"], json!([{ "port": "23/tcp", "name": "telnet", "description": "Telnet" }]));
        let service = &answer["service"];
        assert_eq!(service["alternates"], json!(["2323/tcp"]));
        for (key, value) in [("plaintext", json!(true)), ("wire", json!("plaintext")), ("risk", json!("high"))] {
            assert_eq!(service[key], value, "{key}");
        }
        for key in ["title", "instead", "purpose", "locally", "exposed", "advice"] {
            assert!(service[key].as_str().is_some_and(|text| !text.is_empty()), "{key}");
        }
    }

    #[test]
    fn a_port_without_a_text_has_null() {
        assert_eq!(parsed("4")["answers"], json!([{ "ports": ["4/tcp"], "registered": [], "service": null }]));
    }
}
