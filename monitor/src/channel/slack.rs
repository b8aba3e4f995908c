//! Slack's incoming webhooks: text, and the same as blocks.

use serde::{Deserialize, Serialize};

use super::answer::{cut, one_line};
use super::hook::Hook;
use super::http::{Address, Client, Request};
use super::secret::Environment;
use super::{Answer, Attempt, Channel, Checked};
use crate::message::Message;

/// Of the text of a section (Slack, Block Kit reference).
const LONGEST_SECTION: usize = 3000;
const LONGEST_TITLE: usize = 250;

/// `[channel.NAME]` of `kind = "slack"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Settings(Hook);

impl Settings {
    /// What makes requests of messages.
    pub fn slack(&self, environment: &Environment<'_>) -> Result<Slack, String> {
        Ok(Slack { url: self.0.address(environment)?, client: self.0.client()? })
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
        Ok(Box::new(self.slack(environment)?))
    }
}

/// A webhook of Slack's.
#[derive(Debug)]
pub struct Slack {
    url: Address,
    client: Client,
}

impl Slack {
    /// What is posted; no attempt differs from another.
    pub fn request(&self, message: &Message) -> Request {
        let title = cut(&escaped(&one_line(&message.title)), LONGEST_TITLE);
        let lines = message.lines.iter().map(|line| format!("*{}:* {}", escaped(&line.name), escaped(&line.text)));
        let link = message.link.iter().map(|link| format!("<{}|Open>", escaped(link)));
        let section = |text: String| Block { r#type: "section", text: Text { r#type: "mrkdwn", text } };
        let told = lines.chain(link).collect::<Vec<_>>().join("\n");
        let blocks = [format!("{} *{title}*", picture(message)), cut(&told, LONGEST_SECTION)];
        let blocks = blocks.into_iter().filter(|text| !text.is_empty()).map(section).collect();
        Request::json(&self.url, &Post { text: title, blocks })
    }
}

impl Channel for Slack {
    fn send(&self, message: &Message, attempt: Attempt) -> Answer {
        self.client.send(&self.request(message), attempt.at)
    }
}

/// Three characters are markup; unescaped, `<!channel>` would call everybody.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn picture(message: &Message) -> &'static str {
    use crate::incident::Severity::{Critical, Info, Warning};
    use crate::message::Occasion::{Acknowledged, Resolved};
    match (message.occasion, message.severity) {
        (Resolved, _) => ":white_check_mark:",
        (Acknowledged, _) => ":eyes:",
        (_, Critical) => ":rotating_light:",
        (_, Warning) => ":warning:",
        (_, Info) => ":information_source:",
    }
}

#[derive(Debug, Serialize)]
struct Post {
    text: String,
    blocks: Vec<Block>,
}

#[derive(Debug, Serialize)]
struct Block {
    r#type: &'static str,
    text: Text,
}

#[derive(Debug, Serialize)]
struct Text {
    r#type: &'static str,
    text: String,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::channel::tests::{file, message, nothing};
    use crate::channel::{Kind, tests};
    use crate::message::Occasion;

    fn slack() -> Slack {
        let (_folder, url) = file("https://hooks.slack.com/services/T/B/x");
        match tests::settings(&format!("kind='slack'\nurl-file='{url}'")).unwrap().kind {
            Kind::Slack(settings) => settings.slack(&nothing).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_post() {
        let request = slack().request(&message(Occasion::Opened));
        let title = "Port 23 (Telnet) opened on &lt;printer-2&gt;";
        let told = "*What:* Port 23 was closed &amp; is open.\n*What to do:* Close it, or use SSH.\n<https://mon.example.org/incidents/7|Open>";
        let section = |text: &str| json!({"type": "section", "text": {"type": "mrkdwn", "text": text}});
        let known = json!({"text": title, "blocks": [section(&format!(":rotating_light: *{title}*")), section(told)]});
        assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), known);
        assert_eq!(request.to.expose(), "https://hooks.slack.com/services/T/B/x");
    }

    #[test]
    fn nobody_is_called_by_the_name_of_a_host() {
        let mut message = message(Occasion::Opened);
        message.title = "Port 1 opened on <!channel>\n<@U1>".into();
        let body = String::from_utf8(slack().request(&message).body).unwrap();
        assert!(!body.contains("<!") && !body.contains("<@"), "{body}");
    }
}
