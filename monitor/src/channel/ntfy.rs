//! ntfy: a message to a topic, as JSON to the server's root (headers cannot carry every character).

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::answer::{cut, cut_bytes, one_line};
use super::http::{Address, Client, Request, Way};
use super::secret::{Environment, Place, Secret};
use super::{Answer, Attempt, Channel, Checked, plain_warning};
use crate::incident::Severity;
use crate::message::{Message, Occasion};

/// Longer messages become attachments (ntfy, docs/publish.md "Limitations").
const LONGEST_BYTES: usize = 4096;
/// Longer titles are cut by phones anyway.
const LONGEST_TITLE: usize = 200;

/// `[channel.NAME]` of `kind = "ntfy"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The server, without the topic.
    #[serde(default = "public_server")]
    url: String,
    topic: Option<String>,
    topic_file: Option<PathBuf>,
    topic_env: Option<String>,
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    /// Whether to say where something happened: whoever guesses the name of a public topic reads it.
    #[serde(default = "yes")]
    details: bool,
    ca_file: Option<PathBuf>,
    proxy: Option<String>,
}

fn public_server() -> String {
    "https://ntfy.sh".into()
}

fn yes() -> bool {
    true
}

impl Settings {
    fn topic_place(&self) -> Place<'_> {
        Place::new("topic", self.topic_file.as_ref(), self.topic_env.as_ref())
    }

    fn token_place(&self) -> Place<'_> {
        Place::new("token", self.token_file.as_ref(), self.token_env.as_ref())
    }

    fn password_place(&self) -> Place<'_> {
        Place::new("password", self.password_file.as_ref(), self.password_env.as_ref())
    }

    fn authorization(&self, environment: &Environment<'_>) -> Result<Option<Secret>, String> {
        if let Some(token) = self.token_place().read(environment)? {
            return Ok(Some(Secret::new(format!("Bearer {}", token.expose()))));
        }
        let password = self.password_place().read(environment)?;
        let basic = |(user, password): (&String, Secret)| STANDARD.encode(format!("{user}:{}", password.expose()));
        Ok(self.user.as_ref().zip(password).map(basic).map(|basic| Secret::new(format!("Basic {basic}"))))
    }

    /// What makes requests of messages.
    pub fn ntfy(&self, environment: &Environment<'_>) -> Result<Ntfy, String> {
        let written = self.topic.as_deref().map(Secret::new);
        let topic = self.topic_place().read(environment)?.or(written);
        Ok(Ntfy {
            url: Address::new(&self.url).map_err(|why| format!("url {why}"))?,
            topic: topic.ok_or("needs topic")?,
            authorization: self.authorization(environment)?,
            details: self.details,
            client: Client::new(&Way { ca_file: self.ca_file.clone(), proxy: self.proxy.clone(), patience: None })?,
        })
    }
}

impl Checked for Settings {
    fn check(&self) -> Result<(), String> {
        Address::new(&self.url).map_err(|why| format!("url {why}"))?;
        [self.topic_place(), self.token_place(), self.password_place()].iter().try_for_each(Place::check)?;
        match (&self.topic, self.topic_place().is_nowhere()) {
            (None, true) => return Err("needs topic, or topic-file or topic-env if its name is a secret".into()),
            (Some(_), false) => return Err("has topic and also topic-file or topic-env: one is enough".into()),
            _ => {}
        }
        match (&self.user, self.password_place().is_nowhere(), self.token_place().is_nowhere()) {
            (Some(_), true, _) => Err("user needs password-file or password-env".into()),
            (None, false, _) => Err("a password needs user".into()),
            (Some(_), _, false) => Err("has a token and also user and password: one is enough".into()),
            _ => Ok(()),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let places = [self.topic_place(), self.token_place(), self.password_place()];
        let secret = places.iter().any(|place| !place.is_nowhere());
        let plain =
            Address::new(&self.url).ok().filter(|_| secret).and_then(|url| plain_warning("what opens it", &url));
        let public = self.details && self.url.trim_end_matches('/') == public_server() && places[1].is_nowhere();
        let public = public.then(|| {
            "a topic of ntfy.sh can be read by whoever guesses its name: details = false leaves addresses out".into()
        });
        places.iter().filter_map(Place::warning).chain(plain).chain(public).collect()
    }

    fn open(&self, environment: &Environment<'_>) -> Result<Box<dyn Channel>, String> {
        Ok(Box::new(self.ntfy(environment)?))
    }
}

/// A topic that messages can be published to.
#[derive(Debug)]
pub struct Ntfy {
    url: Address,
    topic: Secret,
    authorization: Option<Secret>,
    details: bool,
    client: Client,
}

impl Ntfy {
    /// What is posted; no attempt differs from another.
    pub fn request(&self, message: &Message) -> Request {
        let request = Request::json(&self.url, &self.publication(message));
        match &self.authorization {
            Some(authorization) => request.header("authorization", authorization.expose()),
            None => request,
        }
    }

    fn publication<'a>(&'a self, message: &'a Message) -> Publication<'a> {
        let (title, text) = match self.details {
            true => (one_line(&message.title), message.text()),
            false => vague(message),
        };
        Publication {
            topic: self.topic.expose(),
            title: cut(&title, LONGEST_TITLE),
            message: cut_bytes(&text, LONGEST_BYTES),
            priority: priority(message),
            tags: [tag(message)],
            click: message.link.as_deref(),
            actions: message.link.iter().map(|url| Action { action: "view", label: "Open", url }).collect(),
        }
    }
}

impl Channel for Ntfy {
    fn send(&self, message: &Message, attempt: Attempt) -> Answer {
        self.client.send(&self.request(message), attempt.at)
    }
}

/// That there is something, not where.
fn vague(message: &Message) -> (String, String) {
    let what = message.trigger().map_or("test", |trigger| trigger.name());
    let several = message.incidents.len();
    let title = format!("halfopen: {what}, {}", message.severity);
    (title, format!("{several} incidents, {}. Details are where halfopen runs.", message.occasion.name()))
}

fn priority(message: &Message) -> u8 {
    match (message.occasion, message.severity) {
        (Occasion::Resolved | Occasion::Acknowledged, _) => 2,
        (_, Severity::Critical) => 5,
        (_, Severity::Warning) => 4,
        (_, Severity::Info) => 3,
    }
}

/// Names of pictures that ntfy shows.
fn tag(message: &Message) -> &'static str {
    match (message.occasion, message.severity) {
        (Occasion::Resolved, _) => "white_check_mark",
        (Occasion::Acknowledged, _) => "eyes",
        (_, Severity::Critical) => "rotating_light",
        (_, Severity::Warning) => "warning",
        (_, Severity::Info) => "information_source",
    }
}

#[derive(Debug, Serialize)]
struct Publication<'a> {
    topic: &'a str,
    title: String,
    message: String,
    priority: u8,
    tags: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    click: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Action<'a>>,
}

#[derive(Debug, Serialize)]
struct Action<'a> {
    action: &'static str,
    label: &'static str,
    url: &'a str,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::channel::tests::{file, message, nothing};
    use crate::channel::{Kind, tests};

    fn ntfy(text: &str) -> Ntfy {
        match tests::settings(&format!("kind='ntfy'\n{text}")).unwrap().kind {
            Kind::Ntfy(settings) => settings.ntfy(&nothing).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn body(request: &Request) -> Value {
        serde_json::from_slice(&request.body).unwrap()
    }

    #[test]
    fn a_publication() {
        let request = ntfy("topic='ports'\nurl='http://127.0.0.1:8080'").request(&message(Occasion::Opened));
        let known = json!({
            "topic": "ports", "title": "Port 23 (Telnet) opened on <printer-2>",
            "message": "What: Port 23 was closed & is open.\nWhat to do: Close it, or use SSH.\n",
            "priority": 5, "tags": ["rotating_light"], "click": "https://mon.example.org/incidents/7",
            "actions": [{"action": "view", "label": "Open", "url": "https://mon.example.org/incidents/7"}],
        });
        assert_eq!((request.to.expose(), body(&request)), ("http://127.0.0.1:8080", known));
        let over = body(&ntfy("topic='ports'").request(&message(Occasion::Resolved)));
        assert_eq!((&over["priority"], &over["tags"][0]), (&json!(2), &json!("white_check_mark")));
    }

    #[test]
    fn who_may() {
        let (_folder, secret) = file("tk_secret");
        let header = |text: &str| ntfy(text).request(&message(Occasion::Opened)).headers[1].1.clone();
        assert_eq!(header(&format!("topic='p'\ntoken-file='{secret}'")), "Bearer tk_secret");
        let basic = format!("topic='p'\nuser='phil'\npassword-file='{secret}'");
        assert_eq!(header(&basic), format!("Basic {}", STANDARD.encode("phil:tk_secret")));
    }

    #[test]
    fn nothing_that_is_secret_on_public_topics() {
        let said = body(&ntfy("topic='p'\ndetails=false").request(&message(Occasion::Opened)));
        assert!(
            !said["message"].to_string().contains("23") && !said["title"].to_string().contains("printer"),
            "{said}"
        );
        assert_eq!(said["title"], "halfopen: opened, critical");
        let warned = tests::settings("kind='ntfy'\ntopic='p'").unwrap().warnings();
        assert!(warned[0].contains("details = false"), "{warned:?}");
    }

    #[test]
    fn long_messages_are_cut() {
        let mut message = message(Occasion::Opened);
        message.lines[0].text = "ö".repeat(5000);
        let length = body(&ntfy("topic='p'").request(&message))["message"].as_str().unwrap().len();
        assert!((4090..=4096).contains(&length), "{length}");
    }

    #[test]
    fn wrong_settings() {
        let wrong = |text: &str| tests::settings(&format!("kind='ntfy'\n{text}")).unwrap_err();
        assert!(wrong("").contains("needs topic"));
        assert!(wrong("topic='p'\nuser='phil'").contains("user needs password-file"));
        assert!(wrong("topic='p'\npassword-env='P'").contains("needs user"));
    }
}
