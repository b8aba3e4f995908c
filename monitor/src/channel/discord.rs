//! Discord's webhooks: an embed, in which nobody is mentioned whatever a host is called.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::answer::{cut, one_line};
use super::hook::Hook;
use super::http::{Address, Client, Request};
use super::secret::Environment;
use super::{Answer, Attempt, Channel, Checked};
use crate::incident::Severity;
use crate::message::{Message, Occasion};

// Of an embed (Discord, "Message Resource", "Embed Limits").
const LONGEST_TITLE: usize = 256;
const LONGEST_DESCRIPTION: usize = 4096;

/// `[channel.NAME]` of `kind = "discord"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Settings(Hook);

impl Settings {
    /// What makes requests of messages.
    pub fn discord(&self, environment: &Environment<'_>) -> Result<Discord, String> {
        // Without it a message that could not be kept is no error.
        Ok(Discord { url: self.0.address(environment)?.with_query("wait=true"), client: self.0.client()? })
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
        Ok(Box::new(self.discord(environment)?))
    }
}

/// A webhook of Discord's.
#[derive(Debug)]
pub struct Discord {
    url: Address,
    client: Client,
}

impl Discord {
    /// What is posted; no attempt differs from another.
    pub fn request(&self, message: &Message) -> Request {
        let lines = message.lines.iter().map(|line| format!("**{}:** {}", escaped(&line.name), escaped(&line.text)));
        let embed = Embed {
            title: cut(&escaped(&one_line(&message.title)), LONGEST_TITLE),
            url: message.link.as_deref(),
            color: colour(message),
            timestamp: message.at,
            description: cut(&lines.collect::<Vec<_>>().join("\n"), LONGEST_DESCRIPTION),
        };
        Request::json(&self.url, &Post { embeds: [embed], allowed_mentions: Mentions { parse: [] } })
    }
}

impl Channel for Discord {
    fn send(&self, message: &Message, attempt: Attempt) -> Answer {
        self.client.send(&self.request(message), attempt.at)
    }
}

/// Without markup: a name is no link.
fn escaped(text: &str) -> String {
    let special = |c: char| "\\*_~`|<>[]()#".contains(c);
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

fn colour(message: &Message) -> u32 {
    match (message.occasion, message.severity) {
        (Occasion::Resolved, _) => 0x002e_7d32,
        (_, Severity::Critical) => 0x00c6_2828,
        (_, Severity::Warning) => 0x00ef_6c00,
        (_, Severity::Info) => 0x0015_65c0,
    }
}

#[derive(Debug, Serialize)]
struct Post<'a> {
    embeds: [Embed<'a>; 1],
    allowed_mentions: Mentions,
}

#[derive(Debug, Serialize)]
struct Mentions {
    parse: [&'static str; 0],
}

#[derive(Debug, Serialize)]
struct Embed<'a> {
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    color: u32,
    timestamp: Timestamp,
    description: String,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::channel::tests::{file, message, nothing};
    use crate::channel::{Kind, tests};

    fn discord() -> Discord {
        let (_folder, url) = file("https://discord.com/api/webhooks/1/token");
        match tests::settings(&format!("kind='discord'\nurl-file='{url}'")).unwrap().kind {
            Kind::Discord(settings) => settings.discord(&nothing).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_post() {
        let request = discord().request(&message(Occasion::Opened));
        let known = json!({
            "embeds": [{
                "title": "Port 23 \\(Telnet\\) opened on \\<printer-2\\>",
                "url": "https://mon.example.org/incidents/7",
                "color": 0x00c6_2828, "timestamp": "2026-03-01T12:00:00Z",
                "description": "**What:** Port 23 was closed & is open.\n**What to do:** Close it, or use SSH.",
            }],
            "allowed_mentions": {"parse": []},
        });
        assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), known);
        assert_eq!(request.to.expose(), "https://discord.com/api/webhooks/1/token?wait=true");
    }

    #[test]
    fn an_embed_keeps_within_its_limits() {
        let mut message = message(Occasion::Opened);
        message.title = "*".repeat(1000);
        message.lines = vec![crate::message::Line { name: "n".repeat(500), text: "t".repeat(5000) }; 30];
        let body: Value = serde_json::from_slice(&discord().request(&message).body).unwrap();
        let embed = &body["embeds"][0];
        let length = |value: &Value| value.as_str().unwrap().chars().count();
        assert_eq!((length(&embed["title"]), length(&embed["description"])), (256, 4096));
    }
}
