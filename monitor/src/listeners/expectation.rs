//! What may listen here: the table `[listeners]` of a policy file.
//!
//! ```toml
//! [listeners]
//! allow = [
//!     { proto = "tcp", port = 22, process = "sshd" },
//!     { proto = "tcp", port = "5432-5433", bind = "127.0.0.1" },
//!     { proto = "udp", port = 68, bind = "any", user = "systemd-network" },
//! ]
//! unlisted = "warn"       # or "ignore": then only ports that are listed for something else are told
//! ```
//!
//! It is about our own network namespace: what listens inside containers is reached only where it is published. The rest of
//! the file is for others.

use std::net::IpAddr;
use std::ops::Range;

use halfopen_results::coverage::Ports;
use halfopen_services::Protocol;
use serde::Deserialize;
use toml::Spanned;

use super::{Listener, Listening};

/// What may listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// The entries, in their order.
    pub allow: Vec<Allowed>,
    /// What becomes of ports that no entry names.
    pub unlisted: Unlisted,
}

/// An entry: what it does not name may be anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// On which line it stands.
    pub line: usize,
    /// TCP, UDP.
    pub protocol: Option<Protocol>,
    /// Which ports.
    pub ports: Ports,
    /// Of which process, by its name.
    pub process: Option<String>,
    /// Bound to what.
    pub bind: Option<Bind>,
    /// As which user, by name or number.
    pub user: Option<String>,
}

/// To which address something is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bind {
    /// To all, `0.0.0.0` or `::`.
    Any,
    /// To one of the loopback.
    Loopback,
    /// To this one.
    Address(IpAddr),
}

/// What becomes of ports that no entry names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unlisted {
    /// They are told, as is what is listed otherwise.
    #[default]
    #[serde(alias = "warning")]
    Warn,
    /// Nothing.
    Ignore,
}

/// Something listens that may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which listener, by its place in the list.
    pub listener: usize,
    /// Why it may not.
    pub why: String,
    /// The line that it fails, if there is one for its port.
    pub line: Option<usize>,
}

/// What is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct Error {
    /// Which file.
    pub file: String,
    /// On which line, counted from 1.
    pub line: usize,
    /// What it is.
    pub what: String,
}

/// As written. The rest of the file is not looked at.
#[derive(Deserialize)]
struct File {
    listeners: Option<Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    allow: Vec<Spanned<Entry>>,
    #[serde(default)]
    unlisted: Unlisted,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    proto: Option<Spanned<String>>,
    port: Spanned<Port>,
    process: Option<String>,
    bind: Option<Spanned<String>>,
    user: Option<User>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a port such as 22, or ports such as \"22,8000-8100\"")]
enum Port {
    Number(u16),
    List(String),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a user's name or number")]
enum User {
    Number(u32),
    Name(String),
}

impl Expectation {
    /// Of a policy's text; `file` is its name in messages.
    pub fn parse(file: &str, text: &str) -> Result<Expectation, Error> {
        let wrong =
            |place: Range<usize>, what: String| Error { file: file.into(), line: line(text, place.start), what };
        let read: File = toml::from_str(text).map_err(|error| {
            wrong(error.span().unwrap_or_default(), error.message().lines().collect::<Vec<_>>().join("; "))
        })?;
        let missing =
            || wrong(0..0, "has no table [listeners]; add one with allow = [{ port = 22, process = \"sshd\" }]".into());
        let table = read.listeners.ok_or_else(missing)?;
        let allow = table.allow.into_iter().map(|entry| {
            let line = line(text, entry.span().start);
            allowed(entry.into_inner(), line).map_err(|(place, what)| wrong(place, what))
        });
        Ok(Expectation { allow: allow.collect::<Result<_, _>>()?, unlisted: table.unlisted })
    }

    /// What listens in our own namespace and may not.
    pub fn violations(&self, listening: &Listening) -> Vec<Violation> {
        let all = listening.listeners.iter().enumerate();
        let own = all.filter(|(_, listener)| listener.namespace == listening.own);
        own.filter_map(|(place, listener)| self.violation(place, listener)).collect()
    }

    /// Entries that nothing answers to.
    pub fn idle<'a>(&'a self, listening: &'a Listening) -> impl Iterator<Item = &'a Allowed> {
        let own = || listening.listeners.iter().filter(|listener| listener.namespace == listening.own);
        self.allow.iter().filter(move |allowed| !own().any(|listener| allowed.complaint(listener).is_none()))
    }

    fn violation(&self, place: usize, listener: &Listener) -> Option<Violation> {
        let mut named = self.allow.iter().filter(|allowed| allowed.names(listener)).peekable();
        let Some(&first) = named.peek() else {
            let why = "is not in the policy".into();
            return (self.unlisted == Unlisted::Warn).then_some(Violation { listener: place, why, line: None });
        };
        let complaints: Vec<_> = named.map(|allowed| allowed.complaint(listener)).collect();
        // Of several entries for a port, what the first says is told.
        let why = complaints.into_iter().collect::<Option<Vec<_>>>()?.into_iter().next()?;
        Some(Violation { listener: place, why, line: Some(first.line) })
    }
}

impl Allowed {
    fn names(&self, listener: &Listener) -> bool {
        let protocol = self.protocol.is_none_or(|protocol| protocol == listener.port.protocol);
        protocol && self.ports.contains(listener.port.number)
    }

    /// What of a listener is not as it may be.
    fn complaint(&self, listener: &Listener) -> Option<String> {
        if !self.names(listener) {
            return Some("is another port".into());
        }
        self.bind_complaint(listener)
            .or_else(|| self.process_complaint(listener))
            .or_else(|| self.user_complaint(listener))
    }

    fn bind_complaint(&self, listener: &Listener) -> Option<String> {
        let address = listener.address.to_canonical();
        let (fits, wanted) = match self.bind? {
            Bind::Any => (address.is_unspecified(), "all addresses".into()),
            Bind::Loopback => (address.is_loopback(), "the loopback".into()),
            Bind::Address(wanted) => (address == wanted.to_canonical(), wanted.to_string()),
        };
        (!fits).then(|| format!("is bound to {}, and may be to {wanted} only", listener.address))
    }

    fn process_complaint(&self, listener: &Listener) -> Option<String> {
        let wanted = self.process.as_deref()?;
        let kept = wanted.get(..KEPT).unwrap_or(wanted);
        let names: Vec<_> = listener.processes.iter().map(|process| process.name.as_str()).collect();
        match names.first() {
            None => Some(format!("may be {wanted}'s only, and its process cannot be seen (root can)")),
            // systemd holds the sockets that it has opened for others.
            Some(_) if names.contains(&kept) => None,
            Some(name) => Some(format!("is {name}'s, and may be {wanted}'s only")),
        }
    }

    fn user_complaint(&self, listener: &Listener) -> Option<String> {
        let wanted = self.user.as_deref()?;
        let user = &listener.user;
        let fits = user.name.as_deref() == Some(wanted) || user.id.to_string() == wanted;
        (!fits).then(|| format!("runs as {}, and may as {wanted} only", user.shown()))
    }
}

/// So many bytes of a process's name the kernel keeps.
const KEPT: usize = 15;

type Wrong = (Range<usize>, String);

fn allowed(entry: Entry, line: usize) -> Result<Allowed, Wrong> {
    let protocol = entry.proto.map(|text| {
        let wrong = |_| (text.span(), format!("{:?}: expected \"tcp\" or \"udp\"", text.get_ref()));
        text.get_ref().parse().map_err(wrong)
    });
    let user = entry.user.map(|user| match user {
        User::Number(number) => number.to_string(),
        User::Name(name) => name,
    });
    Ok(Allowed {
        line,
        protocol: protocol.transpose()?,
        ports: ports(&entry.port)?,
        process: entry.process,
        bind: entry.bind.map(|text| bind(&text)).transpose()?,
        user,
    })
}

fn ports(port: &Spanned<Port>) -> Result<Ports, Wrong> {
    match port.get_ref() {
        Port::Number(number) => Ok([(*number, *number)].into_iter().collect()),
        Port::List(text) => text.parse().map_err(|what| (port.span(), what)),
    }
}

fn bind(text: &Spanned<String>) -> Result<Bind, Wrong> {
    match text.get_ref().as_str() {
        "any" => Ok(Bind::Any),
        "loopback" => Ok(Bind::Loopback),
        address => address.parse().map(Bind::Address).map_err(|_| {
            (text.span(), format!("{address:?}: expected an address, \"any\" (all of them) or \"loopback\""))
        }),
    }
}

/// The line of a byte, counted from 1.
fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count()
}
