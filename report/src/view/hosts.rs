//! The table of hosts with open ports, in the order of addresses, and the others by name only.

use std::net::IpAddr;

use super::left_out;
use crate::advice;
use crate::subject::Subject;
use crate::tally::{Host, Tally};
use crate::text::{count, counted, millis};

/// Hosts with open ports, and those without.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hosts {
    pub(crate) caption: String,
    /// Whether they are so many that the reader may want to fold them.
    pub(crate) collapsible: bool,
    pub(crate) rows: Vec<Row>,
    pub(crate) more: Option<String>,
    pub(crate) others: Vec<Others>,
}

/// A host with open ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) address: IpAddr,
    pub(crate) open: Vec<Port>,
    pub(crate) more_open: Option<String>,
    pub(crate) closed: String,
    pub(crate) filtered: String,
    pub(crate) answers: String,
}

/// An open port of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) label: String,
    /// The service under which there is advice, if it needs attention.
    pub(crate) concern: Option<&'static str>,
    /// Whether something speaks against it.
    pub(crate) doubtful: bool,
}

/// Hosts of which nothing is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Others {
    pub(crate) title: String,
    pub(crate) addresses: String,
    pub(crate) more: Option<String>,
}

/// A page of 10,000 rows is some 4 MB.
const MOST_ROWS: usize = 10_000;
/// A tarpit has 65,535.
const MOST_PORTS: usize = 48;
/// Of all rows together.
const MOST_PORTS_IN_ALL: usize = 60_000;
const MOST_OTHERS: usize = 5_000;
const FOLDED_FROM: usize = 40;

impl Hosts {
    pub(super) fn of(tally: &Tally, subject: &Subject<'_>) -> Hosts {
        let known = Known::of(tally, subject);
        let with_open: Vec<_> = tally.hosts.iter().filter(|(_, host)| !host.open.is_empty()).collect();
        let mut room = MOST_PORTS_IN_ALL;
        let shown = with_open.iter().take(MOST_ROWS).take_while(|(_, host)| {
            let fits = room > 0;
            room = room.saturating_sub(host.open.len().min(MOST_PORTS));
            fits
        });
        let rows: Vec<Row> = shown.map(|&(&address, host)| Row::of(address, host, known)).collect();
        Hosts {
            caption: format!("{} with open ports, by address", counted(with_open.len() as u64, "host")),
            collapsible: rows.len() >= FOLDED_FROM,
            more: left_out(with_open.len(), rows.len(), "hosts with open ports"),
            others: others(tally),
            rows,
        }
    }
}

/// Whether the files tell of ports that are not open.
#[derive(Clone, Copy)]
struct Known {
    closed: bool,
    filtered: bool,
}

impl Known {
    fn of(tally: &Tally, subject: &Subject<'_>) -> Known {
        let shown = |state: fn(&halfopen_results::record::Show) -> bool| {
            let mut headers = subject.headers().peekable();
            headers.peek().is_some() && headers.all(|header| state(&header.settings.show))
        };
        Known {
            closed: tally.recorded.closed > 0 || shown(|show| show.closed),
            filtered: tally.recorded.filtered > 0 || shown(|show| show.filtered),
        }
    }
}

impl Row {
    fn of(address: IpAddr, host: &Host, known: Known) -> Row {
        let number = |known, ports| if known { count(ports) } else { "–".to_owned() };
        let left = host.open.len().saturating_sub(MOST_PORTS) as u64;
        Row {
            address,
            open: host.open.iter().take(MOST_PORTS).map(|(&port, doubt)| Port::of(port, doubt.as_deref())).collect(),
            more_open: (left > 0).then(|| format!("and {} more", count(left))),
            closed: number(known.closed, host.states.closed),
            filtered: number(known.filtered, host.states.filtered),
            answers: answers(host.answers_us),
        }
    }
}

impl Port {
    fn of(port: u16, doubt: Option<&str>) -> Port {
        let concern =
            advice::service(port).filter(|_| doubt.is_none() && advice::is_alarming(port)).map(|service| service.name);
        Port { label: advice::label(port), concern, doubtful: doubt.is_some() }
    }
}

/// `2 ms`, `2 ms to 41 ms`.
fn answers(range: Option<(u64, u64)>) -> String {
    match range.map(|(least, most)| (millis(least), millis(most))) {
        None => "–".into(),
        Some((least, most)) if least == most => least,
        Some((least, most)) => format!("{least} to {most}"),
    }
}

/// Whether a host is of a kind.
type Is = fn(&Host) -> bool;

fn others(tally: &Tally) -> Vec<Others> {
    let kinds: [(Is, &str); 3] = [
        (|host| host.down.is_none() && host.states.closed > 0, "answered, with no open port"),
        (
            |host| host.down.is_none() && host.states.closed == 0 && host.states.filtered > 0,
            "of which every port is filtered, or that are not there",
        ),
        (|host| host.down.is_some(), "of the local network down: no answer to ARP or neighbour discovery"),
    ];
    let of = |(is_such, what): (Is, &str)| {
        let such: Vec<_> = tally
            .hosts
            .iter()
            .filter(|(_, host)| host.open.is_empty() && is_such(host))
            .map(|(address, _)| address.to_string())
            .collect();
        (!such.is_empty()).then(|| Others {
            title: format!("{} {what}", counted(such.len() as u64, "host")),
            addresses: such[..such.len().min(MOST_OTHERS)].join(", "),
            more: left_out(such.len(), MOST_OTHERS, "addresses"),
        })
    };
    kinds.into_iter().filter_map(of).collect()
}
