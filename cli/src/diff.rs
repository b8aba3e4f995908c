//! `halfopen diff A B`: what changed between two scans, for people or as JSON. What counts as a change is for
//! `halfopen-results`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use halfopen_results::diff::{Change, Difference, HostChange, PortChange, UpOrDown};
use halfopen_results::read;
use halfopen_results::record::State;
use halfopen_services::tcp_name;

use crate::failure::{self, DONE, Failure};
use crate::output::text::{count, grouped};
use crate::report;

const LONG_HELP: &str = "\
Examples:
  halfopen diff monday.jsonl tuesday.jsonl
  halfopen diff --json scans.sqlite#1 scans.sqlite
  halfopen diff nmap.xml halfopen.xml || echo 'something changed'
  halfopen diff --whole monday.list tuesday.list

A csv or a list says neither what was covered nor whether it is whole: what only the other scan lists may have been \
missed or cut off, and is not compared unless --whole vouches for it.

Exit codes: 0 nothing changed, 1 something did, 2 error, or there was nothing to compare.";

/// `halfopen diff`, as typed.
#[derive(Debug, Args)]
#[command(after_long_help = LONG_HELP)]
pub(crate) struct DiffArgs {
    /// The first scan: a file of any form but human, or nmap's XML; - is standard input
    ///
    /// Of a database with several scans it is the last one, or that of the number after #: scans.sqlite#3.
    #[arg(value_name = "A")]
    before: PathBuf,

    /// The second scan
    #[arg(value_name = "B")]
    after: PathBuf,

    /// Take a csv or a list for all that was found where the other scan looked
    #[arg(long)]
    whole: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The exit code for "something changed".
const DIFFERENT: u8 = 1;

/// Compares, prints, and gives the exit code.
pub(crate) fn run(args: &DiffArgs) -> Result<u8, Failure> {
    report::read_once([&*args.before, &args.after])?;
    let (before, after) = (read::load(&args.before)?, read::load(&args.after)?);
    let compare = if args.whole { Difference::of_wholes } else { Difference::between };
    let difference = compare(&before, &after);
    let printed = if args.json { json(&difference) } else { text(&difference) };
    io::stdout().write_all(printed.as_bytes()).and_then(|()| io::stdout().flush()).map_err(failure::stdout)?;
    match difference.same {
        Some(same) => Ok(if same { DONE } else { DIFFERENT }),
        None => Err(Failure::NothingCompared),
    }
}

fn json(difference: &Difference) -> String {
    // There is nothing in it that cannot be serialised.
    serde_json::to_string_pretty(difference).unwrap_or_default() + "\n"
}

fn text(difference: &Difference) -> String {
    let hosts: String = difference.hosts.iter().map(host).collect();
    let notes: String = difference.notes.iter().map(|note| format!("note: {note}\n")).collect();
    let gap = if hosts.is_empty() { "" } else { "\n" };
    format!("{hosts}{gap}{}\n{}{notes}", account(difference), uncompared(difference))
}

fn host(host: &HostChange) -> String {
    let it = host.host.as_ref().map(up_or_down).unwrap_or_default();
    let ports: String = host.ports.iter().map(port).collect();
    format!("{}{it}\n{ports}", host.address)
}

fn up_or_down(it: &UpOrDown) -> String {
    let ports: Vec<_> = it.open.iter().map(u16::to_string).collect();
    let open =
        |verb: &str| if ports.is_empty() { String::new() } else { format!("; {verb} open: {}", ports.join(", ")) };
    match it.change {
        Change::Appeared => format!("  appeared: it was down ({}){}", it.reason, open("now")),
        _ => format!("  gone: it is down ({}){}", it.reason, open("was")),
    }
}

/// `  + 443/tcp    open                  was closed or filtered  https`.
fn port(port: &PortChange) -> String {
    let sign = match port.change {
        Change::Appeared => '+',
        Change::Gone => '-',
        Change::Changed => '~',
    };
    let number = format!("{}/tcp", port.port);
    let service = tcp_name(port.port).unwrap_or("-");
    format!("  {sign} {number:<9}  {service:<15}  {}, was {}\n", states(&port.after), states(&port.before))
}

/// `closed or filtered`.
fn states(states: &[State]) -> String {
    let names: Vec<_> = states.iter().map(|state| state.name()).collect();
    names.join(" or ")
}

/// `2 ports appeared, 1 went, 1 changed, 1 host went; 2,560 targets compared`.
fn account(difference: &Difference) -> String {
    let ([came, went, changed], [up, down]) = (difference.ports(), difference.hosts());
    let parts = [
        (came, "port", "appeared"),
        (went, "port", "gone"),
        (changed, "port", "changed"),
        (up, "host", "appeared"),
        (down, "host", "gone"),
    ];
    let parts =
        parts.into_iter().filter(|&(n, ..)| n > 0).map(|(n, what, how)| format!("{} {how}", count(n as u64, what)));
    let parts: Vec<_> = parts.collect();
    let found = match difference.same {
        None => return "nothing compared".into(),
        Some(true) => "nothing changed".into(),
        Some(false) => parts.join(", "),
    };
    let compared = difference.compared.map(|targets| format!("; {} compared", count(targets, "target")));
    found + &compared.unwrap_or_default()
}

fn uncompared(difference: &Difference) -> String {
    let of = |n: u64, which: &str, other: &str| match n {
        0 => String::new(),
        n => format!("not compared: {} of the {which} scan, of which the {other} knows nothing\n", findings(n)),
    };
    of(difference.unknown_in_b, "first", "second") + &of(difference.unknown_in_a, "second", "first")
}

fn findings(n: u64) -> String {
    if n == 1 { "1 finding".into() } else { format!("{} findings", grouped(n)) }
}

#[cfg(test)]
mod tests {
    use halfopen_results::Scan;
    use halfopen_results::record::{Header, HostDown, Record, Settings, Show, Summary, Verdict};

    use super::*;

    fn scan(hosts: &str, findings: &[(&str, u16, State)]) -> Scan {
        let coverage = [(hosts.parse().unwrap(), std::sync::Arc::new("1-1024".parse().unwrap()))].into_iter().collect();
        let settings = Settings { show: Show::ALL, ..Settings::default() };
        let mut scan = Scan::default();
        scan.add(Record::Scan(Box::new(Header { coverage, settings, ..Header::default() })));
        for (host, port, state) in findings {
            scan.add(Record::Verdict(Verdict::bare(host.parse().unwrap(), *port, *state)));
        }
        scan.add(Record::Summary(Box::new(Summary { outcome: "complete".into(), ..Summary::default() })));
        scan
    }

    #[test]
    fn by_host() {
        use State::{Closed, Filtered, Open};
        let (one, two, three) = ("192.0.2.1", "192.0.2.2", "192.0.2.200");
        let before = scan(
            "192.0.2.0/24",
            &[(one, 22, Open), (one, 80, Closed), (one, 443, Closed), (two, 23, Open), (three, 1, Open)],
        );
        let mut after = scan("192.0.2.0/25", &[(one, 22, Closed), (one, 80, Filtered), (one, 443, Open)]);
        after.add(Record::HostDown(HostDown { address: two.parse().unwrap(), reason: "no-arp".into() }));
        insta::assert_snapshot!("text", text(&Difference::between(&before, &after)));
        insta::assert_snapshot!("json", json(&Difference::between(&before, &after)));
    }

    #[test]
    fn nothing() {
        let one = scan("192.0.2.0/24", &[]);
        assert_eq!(text(&Difference::between(&one, &one)), "nothing changed; 262,144 targets compared\n");
    }
}
