//! `halfopen changes`: which ports and hosts became different, in the order in which that became sure, with when it was first seen.

use std::fmt::Write as _;
use std::net::IpAddr;

use clap::Args;
use halfopen_monitor::store::{self, Event, Happening, Selection};
use halfopen_monitor::{Store, Subscription};
use halfopen_services::tcp_name;
use jiff::Timestamp;

use super::{StoreArgs, check_host, json, moment, print_pages, shown, unknown};
use crate::failure::{self, DONE, Failure};
use crate::screen;

const LONG_HELP: &str = "\
Examples:
  halfopen changes --since 1d
  halfopen changes --group dmz --host 192.0.2.7 --json
  halfopen changes --since 2026-01-01 --csv > changes.csv

Exit codes: 0 done, 1 runtime error, 2 usage error (no such database is one).";

/// `halfopen changes`, as typed.
#[derive(Debug, Args)]
#[command(after_long_help = LONG_HELP)]
pub(crate) struct ChangesArgs {
    /// Only after this: how long ago (1d), or a time (2026-01-31T12:00)
    #[arg(long, value_name = "TIME", value_parser = moment, default_value = "7d")]
    since: Timestamp,

    /// Only of this group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,

    /// Only at this host
    #[arg(long, value_name = "ADDRESS")]
    host: Option<IpAddr>,

    /// Print JSON, an object a line, as `halfopen events` does
    #[arg(long, conflicts_with = "csv")]
    json: bool,

    /// Print CSV with a header
    #[arg(long)]
    csv: bool,

    #[command(flatten)]
    store: StoreArgs,
}

/// Prints them.
pub(crate) fn run(args: &ChangesArgs) -> Result<u8, Failure> {
    let store = args.store.read()?;
    args.group.iter().try_for_each(|name| check_group(&store, name))?;
    args.host.iter().try_for_each(|&host| check_host(&store, host))?;
    let wanted = Selection {
        since: Some(args.since),
        group: args.group.clone(),
        host: args.host,
        changes: true,
        ..Selection::default()
    };
    let mut changes = Subscription::new(store, wanted);
    if args.csv {
        screen::print(CSV_HEADER).map_err(failure::stdout)?;
    }
    let form = match () {
        () if args.json => json,
        () if args.csv => csv,
        () => text,
    };
    let count = print_pages(|| changes.poll(), form)?;
    if count == 0 && !args.json && !args.csv {
        let nothing = format!("nothing changed since {}\n", shown(args.since));
        screen::print(&nothing).map_err(failure::stdout)?;
    }
    Ok(DONE)
}

fn check_group(store: &Store, name: &str) -> Result<(), Failure> {
    let known = store::groups(store.connection())?;
    if known.iter().any(|group| group == name) { Ok(()) } else { Err(unknown("group", name, &known)) }
}

fn text(events: &[Event]) -> String {
    let mut out = String::new();
    for event in events {
        let group = event.group.as_deref().unwrap_or_default();
        let _ = writeln!(out, "{}  {group:<12}  {}", shown(event.since()), words(&event.what));
    }
    out
}

/// `192.0.2.7  23/tcp telnet  closed -> open`.
fn words(what: &Happening) -> String {
    match what {
        Happening::Port { change, .. } => {
            let port = change.endpoint.port;
            let name = tcp_name(port.number).unwrap_or_default();
            let was = change.was.map_or("unknown", |was| was.name());
            format!("{}  {}  {was} -> {}", change.endpoint.address, format!("{port} {name}").trim_end(), change.is)
        }
        Happening::Appeared { host, open } => {
            let ports: Vec<_> = open.iter().map(u16::to_string).collect();
            let open = if ports.is_empty() { "no open port".to_owned() } else { format!("open: {}", ports.join(", ")) };
            format!("{host}  appeared, {open}")
        }
        Happening::Down { host, .. } => format!("{host}  does not answer any more"),
        Happening::Up { host } => format!("{host}  answers again"),
        other => other.name().to_owned(),
    }
}

const CSV_HEADER: &str = "time,group,type,host,port,was,is\n";

fn csv(events: &[Event]) -> String {
    let mut out = String::new();
    for event in events {
        let (Event { group, what, .. }, time) = (event, event.since());
        let (host, name) = (what.host().map(|host| host.to_string()).unwrap_or_default(), what.name());
        let group = quoted(group.as_deref().unwrap_or_default());
        let rest = match what {
            Happening::Port { change, .. } => {
                let was = change.was.map_or("", |was| was.name());
                format!("{},{was},{}", change.endpoint.port.number, change.is)
            }
            _ => ",,".to_owned(),
        };
        let _ = writeln!(out, "{time},{group},{name},{host},{rest}");
    }
    out
}

/// A field of CSV (RFC 4180).
fn quoted(text: &str) -> String {
    let is_plain = !text.contains([',', '"', '\n', '\r']);
    if is_plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}
