//! Listeners for people: a table that fits the terminal, then what deserves a look: services that anybody on the way can
//! read, services that strangers should not reach, and what the policy does not allow.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anstyle::Style;
use halfopen_monitor::listeners::{AlsoV4, Listener, Reach, Sight, Unexplained, reach::Sighted};
use halfopen_services::{Port, Risk, Service};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::View;
use crate::output::text::count;

/// The cells of a line.
type Row = Vec<String>;

const HEADINGS: [&str; 8] = ["PROTO", "LISTENS ON", "PROCESS", "USER", "RUNS IN", "OUTSIDE", "SERVICE", "COMMAND"];
/// How many of them there are where not all are wanted.
const NARROW: usize = 6;
/// Those that are cut to fit: process, user, place, outside. The address is what nobody can do without.
const CUT: [usize; 4] = [2, 3, 4, 5];
/// No column is cut further.
const LEAST: usize = 8;
const GAP: usize = 2;
/// How many numbers of processes a cell names.
const PIDS: usize = 3;

/// Everything, in at most so many columns.
pub(super) fn page(view: &View<'_>, room: Option<usize>, wide: bool) -> String {
    let columns = if wide { HEADINGS.len() } else { NARROW };
    let listeners = view.listeners().map(|(_, listener, reach)| row(view, listener, reach));
    let rows = listeners.chain(view.unexplained.iter().map(|it| unexplained(view, it)));
    let rows: Vec<Row> = rows.map(|row| row.into_iter().take(columns).map(|cell| plain(&cell)).collect()).collect();
    let table =
        if rows.is_empty() { "nothing listens here that was asked for\n".into() } else { table(&rows, columns, room) };
    let remarks: String = remarks(view).iter().map(|line| format!("{line}\n")).collect();
    let gap = if remarks.is_empty() { "" } else { "\n" };
    format!("{table}{gap}{remarks}")
}

fn row(view: &View<'_>, listener: &Listener, reach: &Reach) -> Row {
    vec![
        listener.port.protocol.name().into(),
        listens_on(listener),
        processes(listener),
        listener.user.shown(),
        place(view, listener),
        outside(reach),
        listener.service().map_or("-", |service| service.name).into(),
        listener.processes.first().map_or("-", |process| process.command.as_str()).into(),
    ]
}

/// `[::]:80 +IPv4`.
fn listens_on(listener: &Listener) -> String {
    let also = match listener.also_v4 {
        AlsoV4::No => "",
        AlsoV4::Yes => " +IPv4",
        AlsoV4::Usually => " +IPv4?",
    };
    format!("{}{also}", listener.socket())
}

/// `nginx 900,901`, `docker-proxy 900 -> 172.17.0.2:80`.
fn processes(listener: &Listener) -> String {
    let mut by_name: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    listener.processes.iter().for_each(|process| by_name.entry(&process.name).or_default().push(process.pid));
    let named: Vec<_> = by_name.iter().map(|(name, pids)| format!("{name} {}", numbers(pids))).collect();
    let to = listener.published.as_ref().and_then(|published| published.to);
    let to = to.map_or(String::new(), |to| format!(" -> {to}"));
    if named.is_empty() { "-".into() } else { named.join(" ") + &to }
}

fn numbers(pids: &[i32]) -> String {
    let shown: Vec<_> = pids.iter().take(PIDS).map(i32::to_string).collect();
    let more = pids.len().saturating_sub(PIDS);
    shown.join(",") + &if more > 0 { format!("+{more}") } else { String::new() }
}

/// `ssh.service`, `docker 0123456789ab`, `for docker 0123456789ab`, `netns 4026532999`.
fn place(view: &View<'_>, listener: &Listener) -> String {
    if let Some(place) = view.destination(listener).and_then(Listener::place) {
        return format!("for {place}");
    }
    let foreign = (listener.namespace != view.listening.own).then(|| format!("netns {}", listener.namespace.0));
    match (listener.place(), foreign) {
        (Some(place), _) if place.is_container() => place.to_string(),
        (_, Some(foreign)) => foreign,
        (Some(place), None) => place.to_string(),
        (None, None) => {
            listener.published.as_ref().map_or("-".into(), |published| format!("for {}", published.by.name()))
        }
    }
}

fn outside(reach: &Reach) -> String {
    let when = reach.verified().map_or(String::new(), |at| format!(" ({})", moment(at)));
    match reach {
        Reach::Local => "local only".into(),
        Reach::Reachable(sights) => format!("reachable{}{when}", partly(sights)),
        Reach::Blocked(sights) => {
            let how = sights.first().map_or("not open", |sight| sight.state.name());
            format!("blocked: {how}{when}")
        }
        Reach::Unknown(why) => why.words().into(),
    }
}

/// ` at 192.0.2.2`, where other addresses did not answer.
fn partly(sights: &[Sight]) -> String {
    let open: Vec<_> = sights.iter().filter(|sight| sight.state == Sighted::Open).collect();
    let addresses: Vec<_> = open.iter().map(|sight| sight.address.to_string()).collect();
    if open.len() == sights.len() { String::new() } else { format!(" at {}", addresses.join(", ")) }
}

fn unexplained(view: &View<'_>, it: &Unexplained) -> Row {
    let candidate = it.candidates.iter().find_map(|&place| view.listening.listeners[place].place());
    let by = candidate.map_or("-".into(), |place| format!("perhaps {place}"));
    let socket = std::net::SocketAddr::new(it.endpoint.address, it.endpoint.port.number);
    let service = halfopen_services::by_port(it.endpoint.port).map_or("-", |service| service.name);
    let when = it.sight.at.map_or(String::new(), |at| format!(" ({})", moment(at)));
    let said = format!("reachable, nothing listens here{when}");
    let cells = [it.endpoint.port.protocol.name(), &socket.to_string(), "-", "-", &by, &said, service, "-"];
    cells.map(str::to_owned).into()
}

/// In the zone of this machine.
fn moment(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// Names of processes are whatever somebody chose: nothing in them is obeyed by a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn table(rows: &[Row], columns: usize, room: Option<usize>) -> String {
    let headings: Row = HEADINGS[..columns].iter().map(|&heading| heading.to_owned()).collect();
    let widths = widths(&headings, rows, room);
    let bold = Style::new().bold();
    let mut text = format!("{bold}{}{bold:#}\n", line(&headings, &widths));
    rows.iter().for_each(|row| _ = writeln!(text, "{}", line(row, &widths)));
    text
}

/// As wide as what stands in them; the widest give way until all fit.
fn widths(headings: &Row, rows: &[Row], room: Option<usize>) -> Vec<usize> {
    let widest = |column: usize| rows.iter().chain([headings]).map(|row| row[column].chars().count()).max();
    let mut widths: Vec<usize> = (0..headings.len()).map(|column| widest(column).unwrap_or_default()).collect();
    let Some(room) = room else { return widths };
    while widths.iter().sum::<usize>() + GAP * (widths.len() - 1) > room {
        let Some(widest) =
            CUT.into_iter().filter(|&column| widths[column] > LEAST).max_by_key(|&column| widths[column])
        else {
            return widths;
        };
        widths[widest] -= 1;
    }
    widths
}

fn line(row: &Row, widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, &width)| format!("{:width$}", cut(cell, width)));
    cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
}

fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    cell.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn remarks(view: &View<'_>) -> Vec<String> {
    [account(view)].into_iter().chain(plaintext(view)).chain(exposed(view)).chain(policy(view)).collect()
}

/// `8 listeners: 1 reachable, 1 blocked, 2 local only, 4 not asked`.
fn account(view: &View<'_>) -> String {
    let number = |name: &str| view.listeners().filter(|(_, _, reach)| reach.name() == name).count();
    let words = [("reachable", "reachable"), ("blocked", "blocked"), ("local", "local only"), ("unknown", "not asked")];
    let parts = words.into_iter().map(|(name, word)| (number(name), word)).filter(|&(number, _)| number > 0);
    let parts: Vec<_> = parts.map(|(number, word)| format!("{number} {word}")).collect();
    let colon = if parts.is_empty() { "" } else { ": " };
    let how =
        if view.outside.is_none() && number("unknown") > 0 { "; --against FILE says who can reach them" } else { "" };
    format!("{}{colon}{}{how}", count(view.chosen.len() as u64, "listener"), parts.join(", "))
}

/// The services of listeners that others may reach, each once, with how sure that is; by port.
fn services(view: &View<'_>, is_meant: impl Fn(Port, &Service) -> bool) -> Vec<(String, &'static Service, bool)> {
    let mut found: BTreeMap<_, (&'static Service, bool)> = BTreeMap::new();
    for (_, listener, reach) in
        view.listeners().filter(|(_, _, reach)| !matches!(reach, Reach::Local | Reach::Blocked(_)))
    {
        let service =
            listener.service().filter(|service| service.is_usual_at(listener.port) && is_meant(listener.port, service));
        let reached = matches!(reach, Reach::Reachable(_));
        service.into_iter().for_each(|service| found.entry(listener.port).or_insert((service, false)).1 |= reached);
    }
    let port = |port: Port| match port.protocol {
        halfopen_services::Protocol::Tcp => port.number.to_string(),
        halfopen_services::Protocol::Udp => port.to_string(),
    };
    found.into_iter().map(|(at, (service, reached))| (port(at), service, reached)).collect()
}

/// `plaintext: 23 telnet (reachable), use ssh; see halfopen explain 23`.
fn plaintext(view: &View<'_>) -> Option<String> {
    let found = services(view, |port, _| halfopen_services::plaintext(port).is_some());
    let item = |(port, service, reached): &(String, &Service, bool)| {
        format!("{port} {}{}, use {}", service.name, certainty(*reached), service.instead.unwrap_or_default())
    };
    told("plaintext", &found, item)
}

/// `high risk if strangers reach it: 6379 redis (reachable); see halfopen explain 6379`.
fn exposed(view: &View<'_>) -> Option<String> {
    let found = services(view, |_, service| service.risk == Risk::High && !service.is_plaintext());
    told("high risk if strangers reach it", &found, |(port, service, reached)| {
        format!("{port} {}{}", service.name, certainty(*reached))
    })
}

fn certainty(reached: bool) -> &'static str {
    if reached { " (reachable)" } else { "" }
}

type Found = (String, &'static Service, bool);

fn told(what: &str, found: &[Found], item: impl Fn(&Found) -> String) -> Option<String> {
    let items: Vec<_> = found.iter().map(item).collect();
    let ports: Vec<_> = found.iter().map(|(port, ..)| port.as_str()).collect();
    (!found.is_empty()).then(|| format!("{what}: {}; see halfopen explain {}", items.join("; "), ports.join(" ")))
}

/// `not allowed: 0.0.0.0:23/tcp is not in the policy`, and entries that nothing answers to.
fn policy(view: &View<'_>) -> Vec<String> {
    let Some(expectation) = view.expectation else { return Vec::new() };
    let violation = |it: &halfopen_monitor::listeners::expectation::Violation| {
        let listener = &view.listening.listeners[it.listener];
        let line = it.line.map_or(String::new(), |line| format!(" (line {line})"));
        let process =
            listener.processes.first().map_or(String::new(), |process| format!(" ({})", plain(&process.name)));
        format!("not allowed: {}/{}{process} {}{line}", listener.socket(), listener.port.protocol, plain(&it.why))
    };
    let mut lines: Vec<_> = view.violations.iter().map(violation).collect();
    if lines.is_empty() {
        lines.push("policy: everything that listens here is allowed".into());
    }
    lines.extend(idle(expectation.idle(&view.listening).map(|allowed| allowed.line)));
    lines
}

/// Several entries may stand on a line of the policy.
fn idle(lines: impl Iterator<Item = usize>) -> Option<String> {
    let lines = Vec::from_iter(lines.collect::<BTreeSet<_>>().iter().map(usize::to_string));
    let word = if lines.len() == 1 { "line" } else { "lines" };
    (!lines.is_empty()).then(|| format!("policy: nothing listens for {word} {}", lines.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_nothing_listens_for_is_named_once() {
        assert_eq!(idle([3, 3].into_iter()).as_deref(), Some("policy: nothing listens for line 3"));
        assert_eq!(idle([7, 3, 3].into_iter()).as_deref(), Some("policy: nothing listens for lines 3, 7"));
        assert_eq!(idle([].into_iter()), None);
    }

    fn rows() -> Vec<Row> {
        let row = |cells: [&str; 6]| cells.map(str::to_owned).into();
        vec![
            row(["tcp", "0.0.0.0:22", "sshd 812", "root", "ssh.service", "reachable (2026-01-31 12:00)"]),
            row([
                "tcp",
                "[2001:db8::1234:5678]:8080",
                "docker-proxy 900 -> 172.17.0.2:80",
                "root",
                "for docker 0123456789ab",
                "not asked",
            ]),
        ]
    }

    #[test]
    fn it_fits() {
        let long = table(&rows(), NARROW, None);
        assert!(long.contains("docker-proxy 900 -> 172.17.0.2:80  root") && !long.contains('…'), "{long}");
        let fitting = table(&rows(), NARROW, Some(80));
        for text in anstream::adapter::strip_str(&fitting).to_string().lines() {
            assert!(text.chars().count() <= 80, "{text}");
        }
        assert!(fitting.contains("[2001:db8::1234:5678]:8080") && fitting.contains('…'), "{fitting}");
        // What cannot be cut any further stays whole: a terminal of no width is no reason to hang.
        assert!(table(&rows(), NARROW, Some(1)).contains("0.0.0.0:22"));
    }

    #[test]
    fn nothing_is_obeyed() {
        assert_eq!(plain("a\x1b[31mb\n"), "a?[31mb?");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(numbers(&[1, 2, 3, 4, 5]), "1,2,3+2");
    }
}
