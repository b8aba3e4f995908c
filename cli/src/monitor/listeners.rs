//! `halfopen listeners`: what listens on this machine, who can reach it, and whether it may. What listens and what was seen
//! from outside is for `halfopen_monitor::listeners`; here it is chosen, and shown as a table (`table`) or as data (`record`).

mod record;
mod table;

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use halfopen_monitor::document::Document;
use halfopen_monitor::listeners::expectation::Violation;
use halfopen_monitor::listeners::{Expectation, Listener, Listening, Outside, Reach, Unexplained, reach};
use halfopen_results::coverage::Ports;
use halfopen_services::{Port, Protocol, registry};

use crate::failure::{self, DONE, Failure};
use crate::values;

const SHORT_HELP: &str = "\
Examples:
  halfopen listeners -tu
  halfopen listeners --against scan.jsonl

`halfopen listeners --help` says what the words mean, and gives more examples.";

const LONG_HELP: &str = "\
Examples:
  All that listens, as ss -tulpn shows it, with processes of others:
    sudo halfopen listeners
  What of it can be reached: from another machine, then here
    halfopen scan 192.0.2.7 -p- -o jsonl=scan.jsonl
    halfopen listeners --against scan.jsonl
  What may not listen, in a script:
    halfopen listeners --check policy.toml --exposed || echo 'somebody should look'
  The programs that strangers can reach:
    halfopen listeners --against scan.jsonl --json | jq -r '.listeners[] | select(.reach == \"reachable\") | .processes[0].name'

What stands under OUTSIDE:
  local only   it is bound to the loopback
  reachable    the scan has reached it, at that time
  blocked      the scan asked, and was refused or not answered: a firewall
  not asked    nobody knows; scans ask TCP only
  reachable, nothing listens here: NAT, a container, or something on the way answers

[::]:80 +IPv4 takes IPv4 as well. With a question mark the kernel does not say so of sockets in other network namespaces, but
nearly all do. Sockets of UDP that are not connected are listed; some of them are clients that wait for an answer.

What --check reads: the table [listeners] of the file, about this network namespace.
  [listeners]
  allow = [
      { proto = \"tcp\", port = 22, process = \"sshd\" },
      { port = \"5432-5433\", bind = \"loopback\" },
  ]
  unlisted = \"warn\"

Exit codes: 0 done, 1 with --check when something listens that may not, 2 error. monitor/LISTENERS.md has the shape of the JSON.";

/// `halfopen listeners`, as typed.
#[derive(Debug, Args)]
#[command(after_help = SHORT_HELP, after_long_help = LONG_HELP)]
pub(crate) struct ListenersArgs {
    /// Only TCP
    #[arg(short, long)]
    tcp: bool,

    /// Only UDP
    #[arg(short, long)]
    udp: bool,

    /// Only what takes IPv4 (sockets of IPv6 that take both, too)
    #[arg(short = '4', long)]
    ipv4: bool,

    /// Only what takes IPv6
    #[arg(short = '6', long)]
    ipv6: bool,

    /// Only these ports: 22,http,8000-8100
    #[arg(short, long, value_name = "PORTS", value_delimiter = ',', value_parser = ports)]
    ports: Vec<Ports>,

    /// Only what this process holds, by its name (repeatable)
    #[arg(long, value_name = "NAME")]
    process: Vec<String>,

    /// Only what is not bound to the loopback
    #[arg(long)]
    exposed: bool,

    /// Only what the scan has reached
    #[arg(long, requires = "against")]
    reachable: bool,

    /// Say what can be reached from outside, by a saved scan or the monitor's database
    ///
    /// A scan of this machine's addresses that was made from another machine, in any form but human, or nmap's XML. A scan that
    /// this machine made of itself passed no firewall, and tells nothing.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,

    /// Others reach this machine by that address, which it does not have: NAT (repeatable)
    #[arg(long, value_name = "ADDRESS", requires = "against", value_parser = values::address)]
    address: Vec<IpAddr>,

    /// Tell what listens that the table [listeners] of this policy does not allow
    #[arg(long, value_name = "POLICY")]
    check: Option<PathBuf>,

    /// Also print services and command lines, and cut nothing to fit the terminal
    #[arg(short, long)]
    wide: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// For fingers that know ss: only listeners are shown anyway.
    #[arg(short, long, hide = true)]
    listening: bool,

    /// And addresses and ports as numbers.
    #[arg(short, long, hide = true)]
    numeric: bool,
}

/// The exit code for "something listens that may not".
const VIOLATED: u8 = 1;

/// Looks, compares, prints, and gives the exit code.
pub(crate) fn run(args: &ListenersArgs) -> Result<u8, Failure> {
    let expectation = args.check.as_deref().map(Document::read).transpose()?;
    let expectation = expectation.as_ref().map(expected).transpose()?;
    let view = View::of(args, expectation.as_ref())?;
    let printed = if args.json { record::object(&view) } else { table::page(&view, room(args), args.wide) };
    print(&printed).map_err(failure::stdout)?;
    if !args.json {
        view.notes().iter().for_each(|note| _ = writeln!(anstream::stderr(), "note: {note}"));
    }
    Ok(if view.violations.is_empty() { DONE } else { VIOLATED })
}

fn expected(policy: &Document) -> Result<Expectation, Failure> {
    Expectation::parse(policy.name(), policy.text()).map_err(|error| Failure::Setting(error.to_string()))
}

/// With colours on a terminal.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Columns that there are; none where nothing is to be cut.
fn room(args: &ListenersArgs) -> Option<usize> {
    let stdout = io::stdout();
    let size = (!args.wide && stdout.is_terminal()).then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten();
    size.map(|size| usize::from(size.ws_col)).filter(|&columns| columns > 0)
}

/// What is shown.
#[derive(Debug)]
struct View<'a> {
    listening: Listening,
    /// How far each listener can be reached.
    reaches: Vec<Reach>,
    outside: Option<Outside>,
    /// The places of those that were asked for.
    chosen: BTreeSet<usize>,
    unexplained: Vec<Unexplained>,
    expectation: Option<&'a Expectation>,
    violations: Vec<Violation>,
}

impl<'a> View<'a> {
    fn of(args: &ListenersArgs, expectation: Option<&'a Expectation>) -> Result<View<'a>, Failure> {
        let outside = args.against.as_deref().map(Outside::load).transpose()?;
        let outside = outside.map(|outside| outside.also(args.address.iter().copied()));
        let listening = Listening::now()?;
        outside.as_ref().map_or(Ok(()), |outside| outside.require(&listening))?;
        Ok(View::new(args, listening, outside, expectation))
    }

    fn new(
        args: &ListenersArgs,
        listening: Listening,
        outside: Option<Outside>,
        expectation: Option<&'a Expectation>,
    ) -> View<'a> {
        let reaches = reach::reaches(&listening, outside.as_ref());
        let meant = |(listener, reach): (&Listener, &Reach)| args.means(listener, reach);
        let all = listening.listeners.iter().zip(&reaches).enumerate();
        let chosen: BTreeSet<_> = all.filter(|&(_, it)| meant(it)).map(|(place, _)| place).collect();
        let mut unexplained = outside.as_ref().map_or_else(Vec::new, |outside| reach::unexplained(&listening, outside));
        unexplained.retain(|it| args.process.is_empty() && args.means_port(it.endpoint.port, &[it.endpoint.address]));
        let mut violations = expectation.map_or_else(Vec::new, |expectation| expectation.violations(&listening));
        violations.retain(|violation| chosen.contains(&violation.listener));
        View { listening, reaches, outside, chosen, unexplained, expectation, violations }
    }

    /// Those that were asked for, with their places.
    fn listeners(&self) -> impl Iterator<Item = (usize, &Listener, &Reach)> {
        self.chosen.iter().map(|&place| (place, &self.listening.listeners[place], &self.reaches[place]))
    }

    /// The listener that a published port leads to.
    fn destination(&self, listener: &Listener) -> Option<&Listener> {
        let to = listener.published.as_ref()?.to?;
        let namespace = self.listening.namespace_of(to.ip()).filter(|&id| id != listener.namespace)?;
        let port = Port { number: to.port(), ..listener.port };
        let leads = |it: &&Listener| it.namespace == namespace && it.port == port && it.serves(to.ip());
        self.listening.listeners.iter().find(leads)
    }

    /// What limits what was said.
    fn notes(&self) -> Vec<String> {
        let unseen = self.listening.without_process();
        let hidden = self.listening.hidden_processes;
        let rights = (hidden > 0 && unseen > 0).then(|| {
            format!(
                "{unseen} of {} listeners belong to processes that are not visible, and other network namespaces may be hidden, too; \
                 root sees all (sudo halfopen listeners)",
                self.listening.listeners.len()
            )
        });
        let itself = self.outside.as_ref().filter(|outside| outside.from_itself).map(|outside| {
            format!(
                "{} was made by a machine of itself (over lo), so nothing in it passed a firewall; scan from another",
                outside.source
            )
        });
        rights.into_iter().chain(itself).collect()
    }
}

impl ListenersArgs {
    fn means(&self, listener: &Listener, reach: &Reach) -> bool {
        let reached = !self.reachable || matches!(reach, Reach::Reachable(_));
        let exposed = !self.exposed || *reach != Reach::Local;
        let held = |name: &String| listener.processes.iter().any(|process| process.name == *name);
        let process = self.process.is_empty() || self.process.iter().any(held);
        let families = [listener.address, std::net::Ipv4Addr::UNSPECIFIED.into()];
        let both = usize::from(listener.address.is_ipv6() && listener.serves(IpAddr::from([192, 0, 2, 1])));
        reached && exposed && process && self.means_port(listener.port, &families[..=both])
    }

    fn means_port(&self, port: Port, addresses: &[IpAddr]) -> bool {
        let protocol = self.tcp == self.udp || self.udp == (port.protocol == Protocol::Udp);
        let family = self.ipv4 == self.ipv6 || addresses.iter().any(|address| address.is_ipv6() == self.ipv6);
        let number = self.ports.is_empty() || self.ports.iter().any(|ports| ports.contains(port.number));
        protocol && family && number
    }
}

/// A port, a range, or the name of a service.
fn ports(text: &str) -> Result<Ports, String> {
    let named = || registry().filter(|entry| entry.name.eq_ignore_ascii_case(text)).map(|entry| entry.port.number);
    let usual = halfopen_services::named(text).into_iter().flat_map(|service| service.ports).map(|port| port.number);
    let named: Ports = named().chain(usual).map(|port| (port, port)).collect();
    let wrong = "expected ports such as 22,http,8000-8100 (-p is for ports here, as in a scan; processes and numbers are always shown)";
    match text.parse::<Ports>() {
        Ok(ports) if !ports.is_empty() => Ok(ports),
        _ if !named.is_empty() => Ok(named),
        _ => Err(wrong.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_names() {
        let shown = |text| ports(text).map(|ports| ports.to_string());
        assert_eq!(shown("8000-8100").unwrap(), "8000-8100");
        assert!(shown("HTTP").unwrap().split(',').any(|port| port == "80"));
        assert_eq!(shown("telnet").unwrap(), "23");
        for wrong in ["n", "an", "", "22-", "70000"] {
            assert!(shown(wrong).unwrap_err().contains("always shown"), "{wrong}");
        }
    }
}
