//! `halfopen history HOST[:PORT]`: what a host's ports were, and when.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use clap::Args;
use halfopen_monitor::store::{self, Past, Presence};
use halfopen_monitor::wording::round_trip;
use halfopen_services::tcp_name;
use jiff::Timestamp;
use serde::Serialize;

use super::{PAGE, StoreArgs, check_host, json, moment, print_pages, shown};
use crate::failure::{self, DONE, Failure};
use crate::screen;

const LONG_HELP: &str = "\
Examples:
  halfopen history 192.0.2.7
  halfopen history 192.0.2.7:443 --since 30d
  halfopen history '[2001:db8::7]:22' --csv > history.csv

Exit codes: 0 done, 1 runtime error, 2 usage error (no such database is one).";

/// `halfopen history`, as typed.
#[derive(Debug, Args)]
#[command(after_long_help = LONG_HELP)]
pub(crate) struct HistoryArgs {
    /// The host, perhaps with a port: 192.0.2.7, 192.0.2.7:443, [2001:db8::7]:443
    #[arg(value_name = "HOST[:PORT]", value_parser = subject)]
    subject: Subject,

    /// Only what was so after this: how long ago (1d), or a time (2026-01-31T12:00)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,

    /// Print JSON, an object a line
    #[arg(long, conflicts_with = "csv")]
    json: bool,

    /// Print CSV with a header
    #[arg(long)]
    csv: bool,

    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Clone, Copy)]
struct Subject {
    host: IpAddr,
    port: Option<u16>,
}

/// Something to print: an interval of ports, or of the host.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    Ports(Past),
    Host(Presence),
}

/// Prints what is known.
pub(crate) fn run(args: &HistoryArgs) -> Result<u8, Failure> {
    let store = args.store.read()?;
    let Subject { host, port } = args.subject;
    check_host(&store, host)?;
    let since = args.since.unwrap_or(Timestamp::MIN);
    if args.csv {
        screen::print(CSV_HEADER).map_err(failure::stdout)?;
    }
    let form = match () {
        () if args.json => json,
        () if args.csv => csv,
        () => text,
    };
    let mut hosts = store::presences(store.connection(), host)?;
    hosts.retain(|presence| presence.until.is_none_or(|until| until > since));
    let mut hosts: Vec<Line> = hosts.into_iter().map(Line::Host).collect();
    let mut last = None;
    let page = || {
        if !hosts.is_empty() {
            return Ok(std::mem::take(&mut hosts));
        }
        let ports = store::history_after(store.connection(), host, port, since, last.as_ref(), PAGE)?;
        last = ports.last().cloned().or(last.take());
        Ok(ports.into_iter().map(Line::Ports).collect())
    };
    let count = print_pages(page, form)?;
    if count == 0 && !args.json && !args.csv {
        let port = port.map_or_else(String::new, |port| format!(", tcp/{port}"));
        screen::print(&format!("nothing is known of {host}{port} for that time\n")).map_err(failure::stdout)?;
    }
    Ok(DONE)
}

fn subject(text: &str) -> Result<Subject, String> {
    let both = |socket: SocketAddr| Subject { host: socket.ip(), port: Some(socket.port()) };
    let alone = || text.trim_matches(['[', ']']).parse().ok().map(|host| Subject { host, port: None });
    let subject = text.parse().ok().map(both).or_else(alone);
    subject.ok_or_else(|| "expected an address such as 192.0.2.7, perhaps with a port: 192.0.2.7:443".into())
}

fn text(lines: &[Line]) -> String {
    let mut out = String::new();
    for line in lines {
        let (what, state, since, until, why) = match line {
            Line::Host(it) => ("host".to_owned(), if it.up { "up" } else { "down" }, it.since, it.until, String::new()),
            Line::Ports(it) => (ports(it), it.state.name(), it.since, it.until, why(it)),
        };
        let until = until.map_or_else(|| "now".to_owned(), shown);
        let _ = writeln!(out, "{what:<22} {state:<8}  {} to {until:<19}  {why}", shown(since));
    }
    out.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// `443/tcp https`, `1-21/tcp`.
fn ports(past: &Past) -> String {
    if past.first == past.last {
        let name = tcp_name(past.first).unwrap_or_default();
        format!("{}/{} {name}", past.first, past.protocol).trim_end().to_owned()
    } else {
        format!("{}-{}/{}", past.first, past.last, past.protocol)
    }
}

fn why(past: &Past) -> String {
    let ttl = past.ttl.map_or_else(String::new, |ttl| format!(", ttl {ttl}"));
    let rtt = past.rtt_us.map_or_else(String::new, |rtt| format!(", {}", round_trip(rtt)));
    format!("{}{ttl}{rtt}", past.reason)
}

const CSV_HEADER: &str = "host,protocol,first,last,state,reason,ttl,rtt_us,since,until\n";

fn csv(lines: &[Line]) -> String {
    let mut out = String::new();
    let or_nothing = |it: Option<String>| it.unwrap_or_default();
    for line in lines {
        let _ = match line {
            Line::Host(Presence { host, up, since, until }) => {
                let state = if *up { "up" } else { "down" };
                writeln!(out, "{host},,,,{state},,,,{since},{}", or_nothing(until.map(|it| it.to_string())))
            }
            Line::Ports(Past { host, protocol, first, last, state, reason, ttl, rtt_us, since, until }) => writeln!(
                out,
                "{host},{protocol},{first},{last},{state},{reason},{},{},{since},{}",
                or_nothing(ttl.map(|it| it.to_string())),
                or_nothing(rtt_us.map(|it| it.to_string())),
                or_nothing(until.map(|it| it.to_string())),
            ),
        };
    }
    out
}
