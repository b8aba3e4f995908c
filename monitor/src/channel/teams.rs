//! Microsoft Teams, by a workflow that posts what it gets: an adaptive card of version 1.4, the newest that Teams shows.

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{cut, one_line};
use super::hook::Hook;
use super::http::{Address, Client, Request};
use super::secret::Environment;
use super::{Answer, Attempt, Channel, Checked};
use crate::incident::Severity;
use crate::message::{Message, Occasion};

// A message has 28 kB at most.
const LONGEST_TITLE: usize = 300;
const LONGEST_FACT: usize = 1500;
const MOST_FACTS: usize = 10;

/// `[channel.NAME]` of `kind = "teams"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Settings(Hook);

impl Settings {
    /// What makes requests of messages.
    pub fn teams(&self, environment: &Environment<'_>) -> Result<Teams, String> {
        Ok(Teams { url: self.0.address(environment)?, client: self.0.client()? })
    }
}

impl Checked for Settings {
    fn check(&self) -> Result<(), String> {
        self.0.check()
    }

    fn warnings(&self) -> Vec<String> {
        self.0.warnings()
    }

    fn open(&self, environment: &Environment<'_>) -> Result<Box<dyn Channel>, String> {
        Ok(Box::new(self.teams(environment)?))
    }
}

/// A workflow of Teams'.
#[derive(Debug)]
pub struct Teams {
    url: Address,
    client: Client,
}

impl Teams {
    /// What is posted; no attempt differs from another.
    pub fn request(&self, message: &Message) -> Request {
        let attachment = json!({"contentType": "application/vnd.microsoft.card.adaptive", "content": card(message)});
        Request::json(&self.url, &json!({"type": "message", "attachments": [attachment]}))
    }
}

impl Channel for Teams {
    fn send(&self, message: &Message, attempt: Attempt) -> Answer {
        self.client.send(&self.request(message), attempt.at)
    }
}

fn card(message: &Message) -> Value {
    let title = cut(&plain(&one_line(&message.title)), LONGEST_TITLE);
    let fact = |name: &str, text: &str| json!({"title": plain(name), "value": cut(&plain(text), LONGEST_FACT)});
    let more = message.lines.len().saturating_sub(MOST_FACTS);
    let more = (more > 0).then(|| fact("and", &format!("{more} more")));
    let facts = message.lines.iter().take(MOST_FACTS).map(|line| fact(&line.name, &line.text));
    let facts: Vec<_> = facts.chain(more).collect();
    let mut card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {"type": "TextBlock", "text": title, "weight": "Bolder", "size": "Medium", "wrap": true, "color": colour(message)},
            {"type": "FactSet", "facts": facts},
        ],
    });
    if let Some(link) = &message.link {
        card["actions"] = json!([{"type": "Action.OpenUrl", "title": "Open", "url": link}]);
    }
    card
}

/// Cards read Markdown: a name is made no link by what it is made of.
fn plain(text: &str) -> String {
    text.replace("](", "] (")
}

fn colour(message: &Message) -> &'static str {
    match (message.occasion, message.severity) {
        (Occasion::Resolved, _) => "Good",
        (_, Severity::Critical) => "Attention",
        (_, Severity::Warning) => "Warning",
        (_, Severity::Info) => "Accent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::tests::{file, message, nothing};
    use crate::channel::{Kind, tests};

    fn body(message: &Message) -> Value {
        let (_folder, url) = file("https://example.logic.azure.com/workflows/x?sig=secret");
        let Kind::Teams(settings) = tests::settings(&format!("kind='teams'\nurl-file='{url}'")).unwrap().kind else {
            panic!("teams")
        };
        serde_json::from_slice(&settings.teams(&nothing).unwrap().request(message).body).unwrap()
    }

    #[test]
    fn a_card() {
        let known = json!({"type": "message", "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard", "version": "1.4",
                "body": [
                    {"type": "TextBlock", "text": "Port 23 (Telnet) opened on <printer-2>", "weight": "Bolder",
                     "size": "Medium", "wrap": true, "color": "Good"},
                    {"type": "FactSet", "facts": [
                        {"title": "What", "value": "Port 23 was closed & is open."},
                        {"title": "What to do", "value": "Close it, or use SSH."},
                    ]},
                ],
                "actions": [{"type": "Action.OpenUrl", "title": "Open", "url": "https://mon.example.org/incidents/7"}],
            },
        }]});
        assert_eq!(body(&message(Occasion::Resolved)), known);
    }

    #[test]
    fn long_ones_fit() {
        let mut message = message(Occasion::Opened);
        message.lines = vec![crate::message::Line { name: "n".into(), text: "[x](http://y)".repeat(5000) }; 30];
        let text = body(&message).to_string();
        assert!(text.len() < 28_000 && !text.contains("]("), "{}", text.len());
        assert!(text.contains("20 more"));
    }
}
