//! E-mail: one a message, as text and as HTML, threaded by incident. Without STARTTLS nothing is sent unless settings say that it
//! may be.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, MultiPartKind, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{SmtpTransport, Transport};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::answer::{cut, excerpt, one_line};
use super::http::{chain, read_pem};
use super::secret::{Environment, Place, Secret};
use super::{Answer, Attempt, Channel, Checked};
use crate::message::{Message, Occasion};

/// For each command and its answer; a delivery is some seven of them.
const PATIENCE: Duration = Duration::from_secs(20);
const LONGEST_SUBJECT: usize = 150;

/// `[channel.NAME]` of `kind = "smtp"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    host: String,
    /// By default that of the way: 587 with STARTTLS, 465 with TLS, 25 without.
    port: Option<u16>,
    #[serde(default)]
    tls: Security,
    from: String,
    to: Vec<String>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    ca_file: Option<PathBuf>,
}

/// How the way is kept from being read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// STARTTLS, or nothing is sent.
    #[default]
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// STARTTLS if the server offers it: whoever sits in between can take the offer away.
    Opportunistic,
    /// Not at all.
    None,
}

impl Security {
    fn port(self) -> u16 {
        match self {
            Security::StartTls | Security::Opportunistic => 587,
            Security::Tls => 465,
            Security::None => 25,
        }
    }

    fn is_certain(self) -> bool {
        matches!(self, Security::StartTls | Security::Tls)
    }
}

impl Settings {
    fn password_place(&self) -> Place<'_> {
        Place::new("password", self.password_file.as_ref(), self.password_env.as_ref())
    }

    fn recipients(&self) -> Result<Vec<Mailbox>, String> {
        self.to.iter().map(|text| mailbox("to", text)).collect()
    }

    /// What makes mails of messages.
    pub fn smtp(&self, environment: &Environment<'_>) -> Result<Smtp, String> {
        Ok(Smtp {
            from: mailbox("from", &self.from)?,
            to: self.recipients()?,
            password: self.password_place().read(environment)?,
            roots: self.ca_file.as_deref().map(read_pem).transpose()?,
            settings: self.clone(),
        })
    }
}

impl Checked for Settings {
    fn check(&self) -> Result<(), String> {
        mailbox("from", &self.from)?;
        if self.recipients()?.is_empty() {
            return Err("to needs at least one address".into());
        }
        self.password_place().check()?;
        match (&self.user, self.password_place().is_nowhere()) {
            (Some(_), true) => Err("user needs password-file or password-env".into()),
            (None, false) => Err("a password needs user".into()),
            (Some(_), false) if !self.tls.is_certain() => {
                Err("a password is not sent where anybody may read it: tls = \"starttls\" or \"tls\"".into())
            }
            _ => Ok(()),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let local = matches!(self.host.as_str(), "localhost" | "127.0.0.1" | "::1");
        let plain = !local && !self.tls.is_certain();
        let plain =
            plain.then(|| format!("mail goes to {} without certain TLS: anybody on the way may read it", self.host));
        self.password_place().warning().into_iter().chain(plain).collect()
    }

    fn open(&self, environment: &Environment<'_>) -> Result<Box<dyn Channel>, String> {
        Ok(Box::new(self.smtp(environment)?))
    }
}

fn mailbox(key: &str, text: &str) -> Result<Mailbox, String> {
    text.parse()
        .map_err(|_| format!("{key}: {text:?} is no address such as halfopen@example.org or Name <name@example.org>"))
}

/// A server that mail can be given to.
#[derive(Debug)]
pub struct Smtp {
    settings: Settings,
    from: Mailbox,
    to: Vec<Mailbox>,
    password: Option<Secret>,
    roots: Option<Vec<u8>>,
}

impl Smtp {
    /// The mail; no attempt differs from another.
    pub(crate) fn mail(&self, message: &Message) -> Result<lettre::Message, String> {
        let root = self.id(&format!("thread.{}", digest(&message.thread)));
        let builder = self.to.iter().cloned().fold(lettre::Message::builder(), lettre::message::MessageBuilder::to);
        let builder = builder
            .from(self.from.clone())
            .date(SystemTime::from(whole_seconds(message.at)))
            .subject(cut(&one_line(&message.title), LONGEST_SUBJECT))
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .raw_header(header("X-Halfopen-Message", &message.id));
        let builder = match message.occasion {
            Occasion::Opened => builder.message_id(Some(root)),
            Occasion::Test => builder.message_id(Some(self.id(&message.id))),
            // What follows in a thread points at its first mail.
            _ => builder.message_id(Some(self.id(&message.id))).in_reply_to(root.clone()).references(root),
        };
        builder.multipart(parts(message)).map_err(|error| error.to_string())
    }

    fn id(&self, local: &str) -> String {
        format!("<{local}@{}>", self.from.email.domain())
    }

    fn transport(&self) -> Result<SmtpTransport, String> {
        let security = self.settings.tls;
        let builder = SmtpTransport::builder_dangerous(&self.settings.host)
            .port(self.settings.port.unwrap_or(security.port()))
            .timeout(Some(PATIENCE))
            .tls(self.tls()?);
        let credentials = self.settings.user.as_ref().zip(self.password.as_ref());
        let credentials =
            credentials.map(|(user, password)| Credentials::new(user.clone(), password.expose().to_owned()));
        Ok(match credentials {
            Some(credentials) => builder.credentials(credentials).build(),
            None => builder.build(),
        })
    }

    fn tls(&self) -> Result<Tls, String> {
        Ok(match self.settings.tls {
            Security::StartTls => Tls::Required(self.parameters()?),
            Security::Tls => Tls::Wrapper(self.parameters()?),
            Security::Opportunistic => Tls::Opportunistic(self.parameters()?),
            Security::None => Tls::None,
        })
    }

    fn parameters(&self) -> Result<TlsParameters, String> {
        let mut builder = TlsParameters::builder(self.settings.host.clone());
        if let Some(pem) = &self.roots {
            let certificate = Certificate::from_pem(pem).map_err(|error| format!("ca-file: {}", chain(&error)))?;
            builder = builder.certificate_store(CertificateStore::None).add_root_certificate(certificate);
        }
        builder.build().map_err(|error| chain(&error))
    }
}

impl Channel for Smtp {
    fn send(&self, message: &Message, _: Attempt) -> Answer {
        let (mail, transport) = match self.mail(message).and_then(|mail| Ok((mail, self.transport()?))) {
            Ok(both) => both,
            Err(why) => return Answer::Never(why),
        };
        match transport.send(&mail) {
            Ok(response) => {
                let said: Vec<_> = response.message().collect();
                Answer::Accepted(excerpt(&format!("{} {}", response.code(), said.join(" "))))
            }
            Err(error) => failed(&self.settings.host, &error),
        }
    }
}

/// A refusal for good is 5yz; but for what the server thinks of us (530, 535, 538), which people mend.
fn failed(host: &str, error: &lettre::transport::smtp::Error) -> Answer {
    let text = format!("{host}: {}", excerpt(&chain(error)));
    let status = error.status().map(|code| code.to_string());
    let mendable = matches!(status.as_deref(), Some("530" | "534" | "535" | "538"));
    match error.is_permanent() && !mendable {
        true => Answer::Never(text),
        false => Answer::Later(text, None),
    }
}

/// Dates of mails have no fractions.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// A name for a thing, of characters that stand in any header.
fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// The boundary is the message's own: mails that say the same are the same.
fn parts(message: &Message) -> MultiPart {
    MultiPart::builder()
        .kind(MultiPartKind::Alternative)
        .boundary(format!("=_{}", digest(&message.id)))
        .singlepart(SinglePart::builder().header(ContentType::TEXT_PLAIN).body(text(message)))
        .singlepart(SinglePart::builder().header(ContentType::TEXT_HTML).body(html(message)))
}

fn text(message: &Message) -> String {
    let link = message.link.iter().map(|link| format!("\n{link}\n"));
    format!("{}\n\n{}{}", message.title, message.text(), link.collect::<String>())
}

fn html(message: &Message) -> String {
    let row = |name: &str, text: &str| {
        format!("<tr><th align=\"left\" valign=\"top\">{}</th><td>{}</td></tr>\n", escaped(name), escaped(text))
    };
    let rows: String = message.lines.iter().map(|line| row(&line.name, &line.text)).collect();
    let link = message.link.iter().map(|link| format!("<p><a href=\"{0}\">{0}</a></p>\n", escaped(link)));
    format!(
        "<!doctype html>\n<html><body>\n<h2>{}</h2>\n<table cellpadding=\"4\">\n{rows}</table>\n{}</body></html>\n",
        escaped(&message.title),
        link.collect::<String>()
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::tests::{file, message, nothing};
    use crate::channel::{Kind, tests};

    fn smtp(text: &str) -> Smtp {
        let text = format!(
            "kind='smtp'\nhost='mail.example.org'\nfrom='halfopen <halfopen@example.org>'\nto=['ops@example.org']\n{text}"
        );
        match tests::settings(&text).unwrap().kind {
            Kind::Smtp(settings) => settings.smtp(&nothing).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn mail(message: &Message) -> String {
        String::from_utf8(smtp("").mail(message).unwrap().formatted()).unwrap().replace("\r\n", "\n")
    }

    #[test]
    fn a_mail() {
        let known = r#"To: ops@example.org
From: halfopen <halfopen@example.org>
Date: Sun, 01 Mar 2026 12:00:00 +0000
Subject: Port 23 (Telnet) opened on <printer-2>
Auto-Submitted: auto-generated
X-Halfopen-Message: msg_2KWPBgLlAfxdpx2AI54pPJ85f4W
Message-ID: <thread.THREAD@example.org>
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="=_BOUNDARY"

--=_BOUNDARY
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 7bit

Port 23 (Telnet) opened on <printer-2>

What: Port 23 was closed & is open.
What to do: Close it, or use SSH.

https://mon.example.org/incidents/7

--=_BOUNDARY
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<!doctype html>
<html><body>
<h2>Port 23 (Telnet) opened on &lt;printer-2&gt;</h2>
<table cellpadding=3D"4">
<tr><th align=3D"left" valign=3D"top">What</th><td>Port 23 was closed &amp;=
 is open.</td></tr>
<tr><th align=3D"left" valign=3D"top">What to do</th><td>Close it, or use S=
SH.</td></tr>
</table>
<p><a href=3D"https://mon.example.org/incidents/7">https://mon.example.org/=
incidents/7</a></p>
</body></html>

--=_BOUNDARY--
"#;
        let message = message(Occasion::Opened);
        let known = known.replace("THREAD", &digest(&message.thread)).replace("BOUNDARY", &digest(&message.id));
        assert_eq!(mail(&message), known);
    }

    #[test]
    fn what_follows_refers_to_the_first() {
        let root = format!("<thread.{}@example.org>", digest("incident-7"));
        for occasion in [Occasion::Updated, Occasion::Reminder, Occasion::Acknowledged, Occasion::Resolved] {
            let mail = mail(&message(occasion));
            assert!(mail.contains("Message-ID: <msg_2KWPBgLlAfxdpx2AI54pPJ85f4W@example.org>\n"), "{mail}");
            assert!(
                mail.contains(&format!("References: {root}\n")) && mail.contains(&format!("In-Reply-To: {root}\n"))
            );
        }
    }

    #[test]
    fn a_name_adds_no_header() {
        let mut message = message(Occasion::Opened);
        message.title = "Port 1 opened on x\r\nBcc: everybody@example.org".into();
        let mail = mail(&message);
        let (head, _) = mail.split_once("\n\n").unwrap();
        assert!(!head.contains("\nBcc"), "{head}");
    }

    #[test]
    fn wrong_settings() {
        let wrong = |text: &str| tests::settings(&format!("kind='smtp'\nhost='h'\n{text}")).unwrap_err();
        assert!(wrong("from='x'\nto=['a@b.org']").contains("no address such as"));
        assert!(wrong("from='x@y.org'\nto=[]").contains("at least one"));
        let known = "from='x@y.org'\nto=['a@b.org']\n";
        assert!(wrong(&format!("{known}user='u'")).contains("needs password-file"));
        assert!(wrong(&format!("{known}user='u'\npassword-env='P'\ntls='none'")).contains("anybody may read it"));
        assert!(wrong(&format!("{known}tls='perhaps'")).contains("expected one of `starttls`, `tls`"));
    }

    #[test]
    fn the_password_is_shown_nowhere() {
        let (_folder, password) = file("hunter2");
        let smtp = smtp(&format!("user='u'\npassword-file='{password}'"));
        assert!(!format!("{smtp:?} {:?}", smtp.transport().unwrap()).contains("hunter2"));
    }
}
