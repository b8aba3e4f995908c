//! HTTP as every channel of the web speaks it: one request, no redirection followed, no proxy but the one that is named, and an
//! end to waiting. Of what is answered, a line is kept.

use std::error::Error;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use ureq::http::Uri;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::answer::{Answer, excerpt};
use super::secret::{Environment, Place, Secret};

/// From resolving the name to the last byte of the answer (Standard Webhooks asks for 15 to 30 s).
pub const PATIENCE: Duration = Duration::from_secs(20);
/// What is read of an answer: enough for 200 characters of four bytes.
const READ_BYTES: u64 = 800;
const USER_AGENT: &str = concat!("halfopen/", env!("CARGO_PKG_VERSION"));

/// Where a request goes. Paths of such addresses are often secrets: shown are scheme and host alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// An address that can be sent to.
    pub fn new(text: &str) -> Result<Address, String> {
        let uri: Uri = text.trim().parse().map_err(|_| wrong(text))?;
        let authority = uri.authority().ok_or_else(|| wrong(text))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return Err(wrong(text));
        }
        match authority.as_str().contains('@') {
            true => Err("a name or password in an address would be shown in logs: use the keys for a token".into()),
            false => Ok(Address(text.trim().to_owned())),
        }
    }

    /// Its text, for what is sent.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The same with something behind its path.
    pub fn join(&self, path: &str) -> Address {
        Address(format!("{}{path}", self.0.trim_end_matches('/')))
    }

    /// The same with something in its query.
    pub fn with_query(&self, query: &str) -> Address {
        let separator = if self.0.contains('?') { '&' } else { '?' };
        Address(format!("{}{separator}{query}", self.0))
    }

    /// Whether somebody on the way can read what goes there: no TLS, and not to this machine.
    pub fn is_plain(&self) -> bool {
        let uri: Uri = self.0.parse().unwrap_or_default();
        let here = matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
        uri.scheme_str() == Some("http") && !here
    }
}

/// Nothing of the text is repeated: it may be a secret that went into the wrong key.
fn wrong(text: &str) -> String {
    let hint = if text.contains("://") { "" } else { ": it begins with https:// or http://" };
    format!("is no address of the web{hint}")
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri: Uri = self.0.parse().unwrap_or_default();
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        write!(f, "{}://{host}", uri.scheme_str().unwrap_or_default())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}/…")
    }
}

/// An address that settings name, or that a file or the environment holds because it is a secret.
pub fn address(
    written: Option<&String>,
    elsewhere: Place<'_>,
    environment: &Environment<'_>,
) -> Result<Address, String> {
    let secret = elsewhere.read(environment)?;
    let text = secret.as_ref().map(Secret::expose).or(written.map(String::as_str));
    Address::new(text.ok_or("needs url, url-file or url-env")?).map_err(|why| format!("url {why}"))
}

/// That there is exactly one of `url`, `url-file` and `url-env`.
pub fn check_address(written: Option<&String>, elsewhere: Place<'_>) -> Result<(), String> {
    elsewhere.check()?;
    match (written, elsewhere.is_nowhere()) {
        (None, true) => Err("needs url, or url-file or url-env if the address is a secret".into()),
        (Some(_), false) => Err("has url and also url-file or url-env: one is enough".into()),
        (Some(url), true) => Address::new(url).map(drop).map_err(|why| format!("url {why}")),
        (None, false) => Ok(()),
    }
}

/// Where the address of a service stands that lets in whoever knows it.
pub fn check_secret_address(written: Option<&String>, elsewhere: Place<'_>) -> Result<(), String> {
    match written {
        Some(_) => Err("url: this address is a secret, whoever knows it can write there; put it into a file and name that as url-file".into()),
        None => elsewhere.require(),
    }
}

/// A request.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// `POST`, or `GET` without a body.
    pub method: Method,
    /// To where.
    pub to: Address,
    /// What stands before the body.
    pub headers: Vec<(&'static str, String)>,
    /// The bytes that are sent, and signed.
    pub body: Vec<u8>,
}

/// How something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// With a body.
    Post,
    /// Without one.
    Get,
}

impl Request {
    /// JSON, posted.
    pub fn json(to: &Address, body: &impl serde::Serialize) -> Request {
        // Strings, numbers and lists of them: nothing in a message can fail to be JSON.
        let body = serde_json::to_vec(body).unwrap_or_default();
        let headers = vec![("content-type", "application/json".to_owned())];
        Request { method: Method::Post, to: to.clone(), headers, body }
    }

    /// With a header more.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Request {
        self.headers.push((name, value.into()));
        self
    }
}

/// Without what may be secret: values of headers, the body, the address's path.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| *name).collect();
        write!(f, "{:?} {:?} {names:?} {} bytes", self.method, self.to, self.body.len())
    }
}

/// How to reach the web from here; part of the settings of each channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Way {
    /// Whom to believe instead of the usual authorities: a file of PEM certificates.
    pub ca_file: Option<PathBuf>,
    /// Through whom: `http://HOST:PORT`.
    pub proxy: Option<String>,
    /// An end to waiting, if it is not the usual one.
    pub patience: Option<Duration>,
}

/// Sends requests.
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
}

impl Client {
    /// One that goes this way.
    pub fn new(way: &Way) -> Result<Client, String> {
        let proxy = way.proxy.as_deref().map(ureq::Proxy::new).transpose();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // Messages are rare: a connection from minutes ago is more likely dead than useful.
            .max_idle_connections(0)
            .timeout_global(Some(way.patience.unwrap_or(PATIENCE)))
            .user_agent(USER_AGENT)
            .proxy(proxy.map_err(|_| "proxy is no address such as http://proxy.example.org:3128")?)
            .tls_config(tls(way.ca_file.as_deref())?)
            .build();
        Ok(Client { agent: config.new_agent() })
    }

    /// Sends it, and waits for the answer.
    pub fn send(&self, request: &Request, now: Timestamp) -> Answer {
        match self.answer(request) {
            Ok((status, retry_after, body)) => Answer::of_http(status, retry_after.as_deref(), &body, now),
            Err(error) => Answer::Later(format!("{}: {}", request.to, reason(&error)), None),
        }
    }

    fn answer(&self, request: &Request) -> Result<(u16, Option<String>, String), ureq::Error> {
        let mut response = match request.method {
            Method::Post => {
                let builder = self.agent.post(request.to.expose());
                let with =
                    |builder: ureq::RequestBuilder<_>, (name, value): &(&str, String)| builder.header(*name, value);
                request.headers.iter().fold(builder, with).send(&request.body[..])?
            }
            Method::Get => self.agent.get(request.to.expose()).call()?,
        };
        let retry_after =
            response.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
        // The status says what became of it: a body that breaks off changes nothing.
        let mut body = Vec::new();
        let _ = response.body_mut().as_reader().take(READ_BYTES).read_to_end(&mut body);
        Ok((response.status().as_u16(), retry_after, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// Why nothing was answered, without the address: it may be a secret.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::BadUri(_) | ureq::Error::RequireHttpsOnly(_) => "the address cannot be used".into(),
        ureq::Error::HostNotFound => "there is no such host".into(),
        ureq::Error::Timeout(_) => format!("no answer in time ({error})"),
        other => excerpt(&chain(other)),
    }
}

/// An error and what caused it.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        cause = next.source();
    }
    text
}

fn tls(ca_file: Option<&Path>) -> Result<TlsConfig, String> {
    let Some(path) = ca_file else { return Ok(TlsConfig::default()) };
    let certificates = certificates(path)?;
    Ok(TlsConfig::builder().root_certs(RootCerts::from(certificates)).build())
}

fn certificates(path: &Path) -> Result<Vec<ureq::tls::Certificate<'static>>, String> {
    let pem = read_pem(path)?;
    let found = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let found: Vec<_> = found.collect();
    if found.is_empty() {
        Err(format!("ca-file {}: has no certificate in PEM form", path.display()))
    } else {
        Ok(found)
    }
}

/// The bytes of a file of certificates.
pub(super) fn read_pem(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("ca-file {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_not_shown() {
        let address = Address::new("https://hooks.example.org:8443/services/T0/B0/secret?x=1").unwrap();
        assert_eq!(address.to_string(), "https://hooks.example.org:8443");
        assert_eq!(format!("{address:?}"), "https://hooks.example.org:8443/…");
        assert_eq!(address.with_query("wait=true").expose(), format!("{}&wait=true", address.expose()));
        for wrong in ["", "hooks.example.org/x", "ftp://example.org/", "https://", "/x", "https://user:pw@example.org/"]
        {
            let why = Address::new(wrong).unwrap_err();
            assert!(!why.contains("example.org") && !why.contains("pw"), "{wrong}: {why}");
        }
        assert!(Address::new("http://192.0.2.1/x").unwrap().is_plain());
        assert!(!Address::new("http://127.0.0.1:80/x").unwrap().is_plain());
        assert!(!Address::new("https://192.0.2.1/x").unwrap().is_plain());
    }

    #[test]
    fn requests_show_no_secret() {
        let to = Address::new("https://example.org/secret").unwrap();
        let request = Request::json(&to, &"secret").header("authorization", "Bearer secret");
        let shown = format!("{request:?}");
        assert_eq!(shown, r#"Post https://example.org/… ["content-type", "authorization"] 8 bytes"#);
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let way = Way { ca_file: Some(file.path().into()), ..Way::default() };
        assert!(Client::new(&way).unwrap_err().contains("no certificate"));
        let way = Way { ca_file: Some("/nowhere/ca.pem".into()), ..Way::default() };
        assert!(Client::new(&way).unwrap_err().contains("/nowhere/ca.pem: No such file"));
        let way = Way { proxy: Some("what is this".into()), ..Way::default() };
        assert!(Client::new(&way).unwrap_err().contains("proxy"));
    }
}
