//! The smallest server that Prometheus can ask: GET /metrics over HTTP/1, on an address of the loopback, one connection at a time, with
//! bounds on how much it reads and for how long. Whoever names another host than the loopback is refused: a page in a browser on this
//! machine could otherwise have its own name resolve to it, and read along.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Answers until it is dropped.
#[derive(Debug)]
pub(super) struct Responder {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A longer request is none.
const MOST_HEADER: usize = 8 * 1024;
/// A request, and taking the answer, may take so long each.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a connection that could not be accepted, such as for lack of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

impl Responder {
    /// Answers at that address with whatever `page` says then.
    pub(super) fn start(
        address: SocketAddr,
        mut page: impl FnMut() -> Result<String, String> + Send + 'static,
    ) -> io::Result<Responder> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let ends = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ends);
        let serve = move || {
            // Relaxed: nothing else is handed over by it, and the connection that wakes us comes after.
            while !until.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => _ = attend(stream, &mut page),
                    Err(_) => thread::sleep(PAUSE),
                }
            }
        };
        let thread = thread::Builder::new().name("metrics".into()).spawn(serve)?;
        Ok(Responder { address, ends, thread: Some(thread) })
    }

    /// Where.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // Whoever waits for a connection sees it then. If there is none to be had, it goes with the process.
        if TcpStream::connect_timeout(&self.address, PATIENCE).is_ok() {
            self.thread.take().map(JoinHandle::join);
        }
    }
}

/// An answer that is no page.
type Refusal = (&'static str, &'static str);

fn attend(mut stream: TcpStream, page: &mut impl FnMut() -> Result<String, String>) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let answer = match header(&mut stream)?.as_deref().ok_or(TOO_LONG).and_then(asked) {
        Ok(()) => match page() {
            Ok(text) => written("200 OK", "", "text/plain; version=0.0.4; charset=utf-8", &text),
            Err(why) => written("503 Service Unavailable", "", "text/plain; charset=utf-8", &format!("{why}\n")),
        },
        Err((status, why)) => {
            let allow = if status.starts_with("405") { "Allow: GET\r\n" } else { "" };
            written(status, allow, "text/plain; charset=utf-8", &format!("{why}\n"))
        }
    };
    stream.write_all(answer.as_bytes())?;
    stream.shutdown(Shutdown::Write)
}

const TOO_LONG: Refusal = ("431 Request Header Fields Too Large", "the request is too long");
const NONSENSE: Refusal = ("400 Bad Request", "expected GET /metrics HTTP/1.1");

/// The request as far as the empty line; nothing if it is too long. An error ends the connection without a word.
fn header(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let end = Instant::now() + PATIENCE;
    let (mut all, mut part) = (Vec::new(), [0; 1024]);
    while all.len() > MOST_HEADER || !all.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if all.len() > MOST_HEADER {
            return Ok(None);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => all.extend_from_slice(&part[..count]),
        }
    }
    Ok(Some(String::from_utf8_lossy(&all).into_owned()))
}

/// Whether it is our page that is asked for.
fn asked(header: &str) -> Result<(), Refusal> {
    let mut lines = header.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(NONSENSE);
    };
    let host = lines.filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("host"));
    match () {
        () if !version.starts_with("HTTP/1.") => Err(NONSENSE),
        () if host.is_some_and(|(_, host)| !is_loopback(host.trim())) => {
            Err(("421 Misdirected Request", "this is for the loopback alone: ask for 127.0.0.1, [::1] or localhost"))
        }
        () if method != "GET" => Err(("405 Method Not Allowed", "only GET is answered")),
        () if target.split('?').next() != Some("/metrics") => {
            Err(("404 Not Found", "there is /metrics, and nothing else"))
        }
        () => Ok(()),
    }
}

/// `localhost:9464`, `127.0.0.1`, `[::1]:9464`.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn written(status: &str, more: &str, kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{more}Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is answered to these bytes.
    fn answered(to: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        // What was not read before the end is a reset, after the answer.
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut part) {
            answer.extend_from_slice(&part[..count]);
        }
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn only_our_page_is_answered() {
        let mut count = 0;
        let page = move || {
            count += 1;
            if count == 2 { Err("the database is locked".to_owned()) } else { Ok(format!("n {count}\n")) }
        };
        let responder = Responder::start("127.0.0.1:0".parse().unwrap(), page).unwrap();
        let status = |request: &str| {
            let answer = answered(responder.address(), request.as_bytes());
            answer.lines().next().unwrap_or_default().to_owned()
        };
        let answer = answered(responder.address(), b"GET /metrics HTTP/1.1\r\nHost: localhost:9464\r\n\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
        assert!(head.contains("Content-Length: 4\r\n") && body == "n 1\n", "{answer}");
        for (request, expected) in [
            ("GET /metrics HTTP/1.0\r\n\r\n", "HTTP/1.1 503 Service Unavailable"),
            ("GET /metrics?x=y HTTP/1.1\r\nHost: [::1]:1\r\n\r\n", "HTTP/1.1 200 OK"),
            ("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "HTTP/1.1 404 Not Found"),
            ("POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
            ("GET /metrics HTTP/1.1\r\nhost: evil.example:9464\r\n\r\n", "HTTP/1.1 421 Misdirected Request"),
            ("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n", "HTTP/1.1 421 Misdirected Request"),
            ("GET /metrics\r\n\r\n", "HTTP/1.1 400 Bad Request"),
            ("PRI * HTTP/2.0\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        ] {
            assert_eq!(status(request), expected, "{request}");
        }
        let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(MOST_HEADER));
        assert_eq!(status(&long), "HTTP/1.1 431 Request Header Fields Too Large");
    }

    #[test]
    fn it_is_gone_when_it_is_dropped() {
        let responder = Responder::start("127.0.0.1:0".parse().unwrap(), || Ok(String::new())).unwrap();
        let address = responder.address();
        assert!(Responder::start(address, || Ok(String::new())).is_err(), "one at a time");
        drop(responder);
        assert!(TcpStream::connect(address).is_err());
    }
}
