//! Channels against real counterparts: an HTTP server that behaves in every bad way, TLS, an Alertmanager, a mail server.
//! All of it on this machine's loopback. What is not installed is said aloud, and is a failure where HALFOPEN_LAB_REQUIRED is set.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::{Address, Client, Method, Request, Way};
use super::tests::{file, first, message, noon, nothing, settings};
use super::{Answer, Attempt};
use crate::message::Occasion;

/// A server on the loopback that gives each connection the next of these answers.
struct Server {
    address: SocketAddr,
    received: Receiver<Received>,
}

/// A request, as far as it came.
#[derive(Debug)]
pub(crate) struct Received {
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn is_whole(&self) -> bool {
        self.head.ends_with("\r\n\r\n") && self.header("content-length") == self.body.len().to_string()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_once(": ")).map_or("", |(_, value)| value)
    }
}

impl Server {
    fn new(answers: Vec<&'static str>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (send, received) = channel();
        thread::spawn(move || {
            for answer in answers {
                let Ok((mut stream, _)) = listener.accept() else { return };
                let _ = send.send(request(&mut stream));
                let _ = stream.write_all(answer.as_bytes());
                if answer.is_empty() {
                    // Nothing is said until the other end has gone.
                    let _ = stream.read(&mut [0; 1]);
                }
            }
        });
        Server { address, received }
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    fn received(&self) -> Received {
        self.received.recv_timeout(Duration::from_secs(10)).expect("a request")
    }
}

pub(crate) fn request(stream: &mut TcpStream) -> Received {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
    let received = Received { head, body: Vec::new() };
    let length = received.header("content-length").parse().unwrap_or(0);
    let mut body = Vec::new();
    let _ = reader.take(length).read_to_end(&mut body);
    Received { body, ..received }
}

/// What is made of an answer, with little patience.
fn asked(answer: &'static str) -> (Answer, Received) {
    let server = Server::new(vec![answer]);
    let way = Way { patience: Some(Duration::from_millis(300)), ..Way::default() };
    let request = Request::json(&Address::new(&server.url()).unwrap(), &"x");
    (Client::new(&way).unwrap().send(&request, noon()), server.received())
}

#[test]
fn every_answer_has_a_meaning() {
    let of = |answer| asked(answer).0;
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(of(ok), Answer::Accepted("200 OK: ok".into()));
    assert_eq!(of("HTTP/1.1 204 No Content\r\n\r\n"), Answer::Accepted("204 No Content".into()));
    assert_eq!(of("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"), Answer::Gone("410 Gone".into()));
    let slow = of("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(slow, Answer::Later("429 Too Many Requests".into(), Some(Duration::from_secs(7))));
    let date = of("HTTP/1.1 503 Busy\r\nRetry-After: Sun, 01 Mar 2026 12:02:00 GMT\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(date, Answer::Later("503 Service Unavailable".into(), Some(Duration::from_secs(120))));
    let broken = of("HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nsick");
    assert_eq!(broken, Answer::Later("500 Internal Server Error: sick".into(), None));
    assert!(matches!(of("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), Answer::Never(_)));
}

#[test]
fn answers_that_are_none_are_tried_again() {
    for broken in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Le", "220 mail.example.org ESMTP\r\n"] {
        let (answer, received) = asked(broken);
        assert!(matches!(answer, Answer::Later(_, None)), "{broken:?}: {answer:?}");
        assert_eq!(received.body, b"\"x\"", "it was sent all the same");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let to = Address::new(&format!("http://{nobody}/secret-path")).unwrap();
    let answer = Client::new(&Way::default()).unwrap().send(&Request::json(&to, &"x"), noon());
    assert!(
        matches!(&answer, Answer::Later(why, None) if why.contains("refused") && !why.contains("secret")),
        "{answer:?}"
    );
}

#[test]
fn what_was_taken_is_taken_though_the_rest_is_lost() {
    let (answer, _) = asked("HTTP/1.1 202 Accepted\r\nContent-Length: 5000\r\n\r\nqueued, and");
    assert_eq!(answer, Answer::Accepted("202 Accepted: queued, and".into()));
}

#[test]
fn redirections_are_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let answer = format!(
        "HTTP/1.1 307 Moved\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
        elsewhere.local_addr().unwrap()
    );
    let (answer, _) = asked(answer.leak());
    assert!(matches!(&answer, Answer::Later(why, None) if why.contains("not followed")), "{answer:?}");
    elsewhere.set_nonblocking(true).unwrap();
    assert!(elsewhere.accept().is_err(), "somebody came");
}

/// As a receiver would check it, over the bytes that came.
#[test]
fn a_webhook_is_signed_over_the_very_bytes_that_arrive() {
    let (_folder, secret) = file("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    let server = Server::new(vec!["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
    let text = format!("kind='webhook'\nurl='{}'\nsecret-file='{secret}'\ngithub-signature=true", server.url());
    let attempt = Attempt { number: 2, at: noon() };
    let answer = settings(&text).unwrap().open(&nothing).unwrap().send(&message(Occasion::Opened), attempt);
    assert!(answer.is_accepted(), "{answer:?}");
    let received = server.received();
    let signed = [received.header("webhook-id"), received.header("webhook-timestamp")].join(".") + ".";
    let mac = |parts: &[&[u8]]| {
        use hmac::{Hmac, KeyInit, Mac};
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"0123456789abcdef0123456789abcdef").unwrap();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes()
    };
    use base64::Engine;
    let expected = base64::engine::general_purpose::STANDARD.encode(mac(&[signed.as_bytes(), &received.body]));
    assert_eq!(received.header("webhook-signature"), format!("v1,{expected}"));
    let hex: String = mac(&[&received.body]).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(received.header("x-hub-signature-256"), format!("sha256={hex}"));
    assert!(received.header("user-agent").starts_with("halfopen/"), "{}", received.head);
}

#[test]
fn channels_of_the_web_reach_their_servers() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let server = Server::new(vec![ok; 5]);
    let (_a, url) = file(&server.url());
    let (_b, key) = file("0123456789abcdef0123456789abcdef");
    let texts = [
        format!("kind='slack'\nurl-file='{url}'"),
        format!("kind='discord'\nurl-file='{url}'"),
        format!("kind='teams'\nurl-file='{url}'"),
        format!("kind='ntfy'\nurl='{}'\ntopic='ports'", server.url()),
        format!("kind='pagerduty'\nurl='{}'\nrouting-key-file='{key}'", server.url()),
    ];
    for (text, member) in texts.iter().zip(["blocks", "embeds", "attachments", "topic", "routing_key"]) {
        let answer = settings(text).unwrap().open(&nothing).unwrap().send(&message(Occasion::Opened), first());
        assert_eq!(answer, Answer::Accepted("200 OK: ok".into()), "{text}");
        let received = server.received();
        let body: Value = serde_json::from_slice(&received.body).unwrap();
        assert!(body.get(member).is_some() && received.header("content-type") == "application/json", "{text}: {body}");
    }
}

/// Whether a test that needs these programs can be made.
fn installed(programs: &[&str]) -> bool {
    let folders: Vec<_> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    let there = |program: &&&str| folders.iter().any(|folder| folder.join(program).exists());
    let missing: Vec<_> = programs.iter().filter(|program| !there(program)).collect();
    if !missing.is_empty() {
        assert!(env::var_os("HALFOPEN_LAB_REQUIRED").is_none(), "not installed: {missing:?}");
        eprintln!("SKIPPED: not installed: {missing:?}");
    }
    missing.is_empty()
}

/// A program that a test has started, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port of the loopback that nobody has for now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(command: &mut Command, port: u16) -> Running {
    let running = Running(command.stdin(Stdio::null()).spawn().expect("it starts"));
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "{command:?} does not listen on {port}");
        thread::sleep(Duration::from_millis(20));
    }
    running
}

/// A certificate for localhost that signs itself, and its key.
fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
                 -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
    let made = Command::new("openssl")
        .args(words.split_whitespace())
        .args(["-keyout".as_ref(), key.as_os_str(), "-out".as_ref(), certificate.as_os_str()])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

#[test]
fn tls_is_believed_by_the_file_of_authorities_alone() {
    if !installed(&["openssl"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let port = free_port();
    let mut server = Command::new("openssl");
    server.args(["s_server", "-quiet", "-www", "-accept"]).arg(format!("127.0.0.1:{port}"));
    server.arg("-cert").arg(&certificate).arg("-key").arg(&key).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = start(&mut server, port);
    let ask = |ca_file: Option<PathBuf>| {
        let way = Way { ca_file, ..Way::default() };
        let to = Address::new(&format!("https://localhost:{port}/")).unwrap();
        let request = Request { method: Method::Get, to, headers: vec![], body: vec![] };
        Client::new(&way).unwrap().send(&request, noon())
    };
    let known = ask(Some(certificate));
    assert!(matches!(&known, Answer::Accepted(said) if said.starts_with("200 OK")), "{known:?}");
    let unknown = ask(None);
    assert!(matches!(&unknown, Answer::Later(why, None) if why.contains("certificate")), "{unknown:?}");
}

#[test]
fn a_real_alertmanager_fires_and_resolves() {
    if !installed(&["prometheus-alertmanager"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("alertmanager.yml");
    std::fs::write(&config, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n").unwrap();
    let port = free_port();
    let mut manager = Command::new("prometheus-alertmanager");
    manager.arg(format!("--config.file={}", config.display()));
    manager.arg(format!("--storage.path={}", folder.path().join("data").display()));
    manager.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--cluster.listen-address=");
    let _manager = start(manager.stdout(Stdio::null()).stderr(Stdio::null()), port);
    let url = format!("http://127.0.0.1:{port}");
    let nobody = free_port();
    let text = format!("kind='alertmanager'\nurls=['{url}', 'http://127.0.0.1:{nobody}']\nlabels={{team='net'}}");
    let channel = settings(&text).unwrap().open(&nothing).unwrap();
    // An Alertmanager compares with its own clock, so the incident is of today.
    let now = jiff::Timestamp::now();
    let send = |occasion| {
        let mut message = message(occasion);
        let incident = &mut message.incidents[0];
        (incident.since, incident.opened) = (now - jiff::SignedDuration::from_mins(1), now);
        incident.resolved = (occasion == Occasion::Resolved).then_some(now);
        channel.send(&message, Attempt { number: 1, at: now })
    };
    let alerts = || {
        let (mut stream, mut answer) = (TcpStream::connect(("127.0.0.1", port)).unwrap(), String::new());
        stream.write_all(b"GET /api/v2/alerts HTTP/1.0\r\n\r\n").unwrap();
        stream.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        serde_json::from_str::<Vec<Value>>(&body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    };
    let answer = send(Occasion::Opened);
    assert!(matches!(&answer, Answer::Accepted(said) if said.starts_with("200 OK; others: ")), "{answer:?}");
    assert!(send(Occasion::Reminder).is_accepted(), "told again");
    let firing = alerts();
    assert_eq!(firing.len(), 1, "the same labels are the same alert: {firing:?}");
    assert_eq!((&firing[0]["labels"]["team"], &firing[0]["labels"]["port"]), (&"net".into(), &"23".into()));
    assert_eq!(firing[0]["generatorURL"], "https://mon.example.org/incidents/7");
    assert!(send(Occasion::Resolved).is_accepted());
    assert_eq!(alerts(), [Value::Null; 0], "it is over");
}

/// aiosmtpd, which prints what it gets.
struct MailServer {
    _running: Running,
    port: u16,
    lines: Receiver<String>,
}

impl MailServer {
    fn start(arguments: &[&str]) -> MailServer {
        let port = free_port();
        let mut server = Command::new("aiosmtpd");
        server.args(["-n", "-l"]).arg(format!("127.0.0.1:{port}")).args(arguments);
        server.args(["-c", "aiosmtpd.handlers.Debugging", "stdout"]).env("PYTHONUNBUFFERED", "1");
        let mut running = start(server.stdout(Stdio::piped()).stderr(Stdio::null()), port);
        let (send, lines) = channel();
        let output = BufReader::new(running.0.stdout.take().unwrap());
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        MailServer { _running: running, port, lines }
    }

    /// The next mail.
    fn mail(&self) -> String {
        let mut mail = String::new();
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(10)) {
            mail += &(line.clone() + "\n");
            if line.contains("END MESSAGE") {
                return mail;
            }
        }
        panic!("no mail: {mail}")
    }
}

fn send_mail(server: &MailServer, more: &str, occasion: Occasion) -> Answer {
    let text = format!(
        "kind='smtp'\nhost='localhost'\nport={}\nfrom='halfopen@example.org'\nto=['ops@example.org']\n{more}",
        server.port
    );
    settings(&text).unwrap().open(&nothing).unwrap().send(&message(occasion), first())
}

#[test]
fn a_real_mail_server_gets_a_mail_only_by_starttls() {
    if !installed(&["aiosmtpd", "openssl"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let server = MailServer::start(&["--tlscert", certificate.to_str().unwrap(), "--tlskey", key.to_str().unwrap()]);
    let known = format!("ca-file='{}'", certificate.display());
    let answer = send_mail(&server, &known, Occasion::Resolved);
    assert!(matches!(&answer, Answer::Accepted(said) if said.starts_with("250")), "{answer:?}");
    let mail = server.mail();
    assert!(mail.contains("Subject: Port 23 (Telnet) opened on <printer-2>"), "{mail}");
    assert!(mail.contains("Auto-Submitted: auto-generated") && mail.contains("References: <thread."), "{mail}");
    assert!(mail.contains("multipart/alternative") && mail.contains("text/html"), "{mail}");
    let answer = send_mail(&server, "", Occasion::Opened);
    assert!(matches!(&answer, Answer::Later(why, None) if why.contains("certificate")), "{answer:?}");
}

#[test]
fn a_mail_server_without_starttls_gets_nothing_unless_it_may() {
    if !installed(&["aiosmtpd"]) {
        return;
    }
    let server = MailServer::start(&[]);
    let answer = send_mail(&server, "", Occasion::Opened);
    assert!(matches!(&answer, Answer::Later(why, None) if why.contains("STARTTLS")), "{answer:?}");
    let answer = send_mail(&server, "tls='none'", Occasion::Opened);
    assert!(answer.is_accepted(), "{answer:?}");
    assert!(server.mail().contains("Message-ID: <thread."));
}
