//! A program of one's own that is posted JSON, signed by Standard Webhooks 1.0.0: the signature is over the very bytes that are
//! sent. On request GitHub's header beside it, or the message as a CloudEvent.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::http::{self, Address, Client, Request, Way};
use super::payload::{Data, Payload, port_subject};
use super::secret::{Environment, Place, Secret};
use super::{Answer, Attempt, Channel, Checked, event_type, plain_warning};
use crate::message::Message;

/// `[channel.NAME]` of `kind = "webhook"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    url: Option<String>,
    url_file: Option<PathBuf>,
    url_env: Option<String>,
    /// With several secrets, one a line, each signs: the old one until everybody has the new.
    secret_file: Option<PathBuf>,
    secret_env: Option<String>,
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    #[serde(default)]
    github_signature: bool,
    #[serde(default)]
    style: Style,
    /// Of whom CloudEvents say that they come.
    #[serde(default = "default_source")]
    source: String,
    ca_file: Option<PathBuf>,
    proxy: Option<String>,
}

/// What the body looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// `{"type": ..., "timestamp": ..., "data": ...}`.
    #[default]
    Standard,
    /// A CloudEvent 1.0 in structured mode.
    CloudEvents,
}

fn default_source() -> String {
    "urn:halfopen".into()
}

impl Settings {
    fn url_place(&self) -> Place<'_> {
        Place::new("url", self.url_file.as_ref(), self.url_env.as_ref())
    }

    fn secret_place(&self) -> Place<'_> {
        Place::new("secret", self.secret_file.as_ref(), self.secret_env.as_ref())
    }

    fn token_place(&self) -> Place<'_> {
        Place::new("token", self.token_file.as_ref(), self.token_env.as_ref())
    }

    /// What makes requests of messages.
    pub fn webhook(&self, environment: &Environment<'_>) -> Result<Webhook, String> {
        let secrets = self.secret_place().read(environment)?;
        let keys = secrets.iter().flat_map(|text| text.expose().split_whitespace()).map(Key::new);
        Ok(Webhook {
            url: http::address(self.url.as_ref(), self.url_place(), environment)?,
            keys: keys.collect::<Result<_, _>>()?,
            token: self.token_place().read(environment)?,
            github_signature: self.github_signature,
            style: self.style,
            source: self.source.clone(),
            client: Client::new(&Way { ca_file: self.ca_file.clone(), proxy: self.proxy.clone(), patience: None })?,
        })
    }
}

impl Checked for Settings {
    fn check(&self) -> Result<(), String> {
        http::check_address(self.url.as_ref(), self.url_place())?;
        self.secret_place().check()?;
        self.token_place().check()?;
        match self.github_signature && self.secret_place().is_nowhere() {
            true => Err("github-signature needs secret-file or secret-env: there is nothing to sign with".into()),
            false => Ok(()),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let places = [self.url_place(), self.secret_place(), self.token_place()];
        let url = self.url.as_deref().and_then(|url| Address::new(url).ok());
        let plain = url.filter(|_| !self.token_place().is_nowhere()).and_then(|url| plain_warning("the token", &url));
        places.iter().filter_map(Place::warning).chain(plain).collect()
    }

    fn open(&self, environment: &Environment<'_>) -> Result<Box<dyn Channel>, String> {
        Ok(Box::new(self.webhook(environment)?))
    }
}

/// What a message is signed with.
#[derive(Clone)]
pub struct Key(Vec<u8>);

impl Key {
    /// `whsec_` and base64, as Standard Webhooks writes it; or a text whose bytes are the key.
    pub fn new(text: &str) -> Result<Key, String> {
        let bytes = match text.strip_prefix("whsec_") {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| "secret: what follows whsec_ is not base64")?,
            None => text.as_bytes().to_vec(),
        };
        match (24..=64).contains(&bytes.len()) {
            true => Ok(Key(bytes)),
            false => Err(format!("secret: has {} bytes; a key for signatures has 24 to 64", bytes.len())),
        }
    }

    fn sign(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().to_vec()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(key)")
    }
}

/// A webhook that messages can be posted to.
#[derive(Debug)]
pub struct Webhook {
    url: Address,
    keys: Vec<Key>,
    token: Option<Secret>,
    github_signature: bool,
    style: Style,
    source: String,
    client: Client,
}

impl Webhook {
    /// What is posted: the same body and id for each attempt, with the attempt's time and signature.
    pub fn request(&self, message: &Message, attempt: Attempt) -> Request {
        let mut request = match self.style {
            Style::Standard => Request::json(&self.url, &Payload::of(message)),
            Style::CloudEvents => self.cloud_event(message),
        };
        let headers = signatures(&self.keys, &message.id, attempt.at.as_second(), &request.body);
        request.headers.extend(headers);
        if let Some(key) = self.keys.first().filter(|_| self.github_signature) {
            let signature = github(key, &request.body);
            request = request.header("x-hub-signature-256", signature);
        }
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {}", token.expose())),
            None => request,
        }
    }

    fn cloud_event(&self, message: &Message) -> Request {
        let mut request = Request::json(&self.url, &CloudEvent::of(message, &self.source));
        request.headers = vec![("content-type", "application/cloudevents+json".into())];
        request
    }
}

impl Channel for Webhook {
    fn send(&self, message: &Message, attempt: Attempt) -> Answer {
        self.client.send(&self.request(message, attempt), attempt.at)
    }
}

/// `webhook-id`, `webhook-timestamp`, and with keys `webhook-signature`.
fn signatures(keys: &[Key], id: &str, second: i64, body: &[u8]) -> Vec<(&'static str, String)> {
    let head = format!("{id}.{second}.");
    let one = |key: &Key| format!("v1,{}", STANDARD.encode(key.sign(&[head.as_bytes(), body])));
    let all: Vec<_> = keys.iter().map(one).collect();
    let mut headers = vec![("webhook-id", id.to_owned()), ("webhook-timestamp", second.to_string())];
    if !all.is_empty() {
        headers.push(("webhook-signature", all.join(" ")));
    }
    headers
}

/// GitHub's signature, of the body alone.
fn github(key: &Key, body: &[u8]) -> String {
    let hex: String = key.sign(&[body]).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

/// A CloudEvent of version 1.0, with the members that it must have first.
#[derive(Debug, Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    time: jiff::Timestamp,
    datacontenttype: &'static str,
    data: Data<'a>,
}

impl<'a> CloudEvent<'a> {
    fn of(message: &'a Message, source: &'a str) -> CloudEvent<'a> {
        let change = match &message.incidents[..] {
            [one] => one.changes.first(),
            _ => None,
        };
        CloudEvent {
            specversion: "1.0",
            id: &message.id,
            source,
            r#type: format!("io.halfopen.{}.v1", event_type(message)),
            subject: change.map(port_subject),
            time: message.at,
            datacontenttype: "application/json",
            data: Data::of(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::channel::tests::{file, first, message, nothing};
    use crate::channel::{Kind, tests};
    use crate::message::Occasion;

    const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const BODY: &[u8] = br#"{"type":"port.opened","timestamp":"2022-11-03T20:26:10.344522Z","data":{"host":"192.0.2.10","proto":"tcp","port":23}}"#;

    fn webhook(text: &str) -> Webhook {
        match tests::settings(text).unwrap().kind {
            Kind::Webhook(settings) => settings.webhook(&nothing).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// What a receiver's own check sees.
    fn header<'a>(request: &'a Request, name: &str) -> &'a str {
        request.headers.iter().find(|(it, _)| *it == name).map_or("", |(_, value)| value)
    }

    #[test]
    fn known_answers() {
        let key = Key::new(SECRET).unwrap();
        let id = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W";
        let headers = signatures(std::slice::from_ref(&key), id, 1_674_087_231, BODY);
        assert_eq!(headers[2], ("webhook-signature", "v1,FDO9+1ec/30Y5Udu9Ni2Dptzd/dVu6gWzH23RZDV4W8=".into()));
        let known = "sha256=a655466fb11bbb283fe63e85fde74f701a59b84dee38446e4d9c0f7a2e5ada20";
        assert_eq!(github(&key, BODY), known);
        let key = Key::new("It's a Secret to Everybody").unwrap();
        let known = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(github(&key, b"Hello, World!"), known);
    }

    #[test]
    fn each_attempt_has_the_same_body_and_id_and_a_signature_of_its_own() {
        let (_folder, secret) = file(SECRET);
        let hook = webhook(&format!("kind='webhook'\nurl='https://example.org/x'\nsecret-file='{secret}'"));
        let message = message(Occasion::Opened);
        let later = Attempt { number: 2, at: tests::at("2026-03-01T12:00:05Z") };
        let (one, two) = (hook.request(&message, first()), hook.request(&message, later));
        assert_eq!((&one.body, header(&one, "webhook-id")), (&two.body, header(&two, "webhook-id")));
        assert_eq!(header(&one, "webhook-timestamp"), "1772366400");
        assert_ne!(header(&one, "webhook-signature"), header(&two, "webhook-signature"));
        let signed = Key::new(SECRET).unwrap().sign(&[b"msg_2KWPBgLlAfxdpx2AI54pPJ85f4W.1772366400.", &one.body]);
        assert_eq!(header(&one, "webhook-signature"), format!("v1,{}", STANDARD.encode(signed)));
    }

    #[test]
    fn the_body() {
        let hook = webhook("kind='webhook'\nurl='https://example.org/x'");
        let request = hook.request(&message(Occasion::Opened), first());
        let text = String::from_utf8(request.body.clone()).unwrap();
        let begin = r#"{"type":"port.opened","timestamp":"2026-03-01T12:00:00Z","data":{"id":"msg_2KWPBgLlAfxdpx2AI54pPJ85f4W","#;
        assert!(text.starts_with(begin), "{text}");
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(body["data"]["incidents"][0]["changes"][0]["endpoint"], "192.0.2.10:23/tcp");
        assert_eq!(body["data"]["lines"][1], json!({"name": "What to do", "text": "Close it, or use SSH."}));
        assert_eq!(header(&request, "webhook-signature"), "", "there is no key");
    }

    #[test]
    fn while_secrets_are_rotated_each_signs() {
        let (_folder, secrets) = file(&format!("{SECRET}\nIt's_a_Secret_to_Everybody\n"));
        let hook = webhook(&format!(
            "kind='webhook'\nurl='https://example.org/x'\nsecret-file='{secrets}'\ngithub-signature=true"
        ));
        let request = hook.request(&message(Occasion::Opened), first());
        let signatures: Vec<_> = header(&request, "webhook-signature").split(' ').collect();
        assert!(signatures.len() == 2 && signatures.iter().all(|one| one.starts_with("v1,")), "{signatures:?}");
        assert_eq!(header(&request, "x-hub-signature-256"), github(&Key::new(SECRET).unwrap(), &request.body));
    }

    #[test]
    fn as_a_cloud_event() {
        let hook = webhook(
            "kind='webhook'\nurl='https://example.org/x'\nstyle='cloudevents'\nsource='https://mon.example.org/'",
        );
        let request = hook.request(&message(Occasion::Resolved), first());
        assert_eq!(request.headers[0], ("content-type", "application/cloudevents+json".into()));
        let event: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["type"], "io.halfopen.port.opened.resolved.v1");
        assert_eq!(
            (&event["source"], &event["subject"]),
            (&json!("https://mon.example.org/"), &json!("tcp/192.0.2.10:23"))
        );
        assert_eq!(event["id"], header(&request, "webhook-id"));
    }

    #[test]
    fn keys_that_are_none() {
        assert!(Key::new("whsec_!").unwrap_err().contains("not base64"));
        assert!(Key::new("short").unwrap_err().contains("24 to 64"));
        assert!(!format!("{:?}", Key::new(SECRET)).contains("MDEy"));
    }
}
