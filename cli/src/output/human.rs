//! `--output human`. In a pipe: one line a finding, `address port/tcp state reason service`, for grep and awk. On a
//! terminal: aligned columns as findings come, and the table of `hosts` at the end.

use std::fmt::Write as _;
use std::net::IpAddr;

use anstyle::{AnsiColor, Style};
use halfopen::{DownReason, State, Suspicion, Verdict};
use halfopen_services::tcp_name;

use halfopen_results::record::{self, Record};
use halfopen_results::write;

use super::account::Account;
use super::hosts::{Hosts, MOST};
use super::text::{grouped, round_trip};
use super::{Format, put};
use crate::screen::paint;

/// Stands where there is nothing to say, so that columns can be counted on.
const NOTHING: &str = "-";

/// One line a finding, for other programs. What not every finding has comes last, as `name=value`.
pub(super) struct Lines {
    hosts: Option<Hosts>,
}

impl Lines {
    /// With `counts`, verdicts that are not shown come too (`hidden`), and there is an account by host.
    pub(super) fn new(counts: bool) -> Lines {
        Lines { hosts: counts.then(Hosts::default) }
    }
}

impl Format for Lines {
    fn verdict(&mut self, verdict: &Verdict, out: &mut Vec<u8>) {
        file_verdict(&verdict.into(), out);
        self.hosts = self.hosts.take().and_then(|hosts| hosts.with(verdict));
    }

    fn hidden(&mut self, verdict: &Verdict) {
        if let Some(hosts) = &mut self.hosts {
            hosts.count(verdict);
        }
    }

    fn host_down(&mut self, address: IpAddr, reason: DownReason, out: &mut Vec<u8>) {
        put(out, format_args!("{address} {NOTHING} down {reason} {NOTHING}\n"));
    }

    fn suspect(&mut self, suspicion: &Suspicion, out: &mut Vec<u8>) {
        put(out, format_args!("{} {NOTHING} suspect {} {NOTHING}", suspicion.address, suspicion.reason));
        if let Some(usual) = suspicion.usual_ttl {
            put(out, format_args!(" usual-ttl={usual}"));
        }
        out.push(b'\n');
        self.hosts.iter_mut().for_each(|hosts| hosts.suspect(suspicion));
    }

    fn by_host(&self) -> Option<String> {
        self.hosts.as_ref().and_then(Hosts::lines)
    }

    fn hosts(&self) -> Option<&Hosts> {
        self.hosts.as_ref()
    }

    fn recall(&mut self, hosts: Option<Hosts>) {
        self.hosts = self.hosts.take().and(hosts);
    }
}

/// The lines of [`Lines`] for a file.
pub(super) struct FileLines;

impl write::Lines for FileLines {
    fn record(&mut self, record: &Record, out: &mut Vec<u8>) {
        match record {
            Record::Verdict(verdict) => file_verdict(verdict, out),
            Record::HostDown(down) => {
                put(out, format_args!("{} {NOTHING} down {} {NOTHING}\n", down.address, down.reason));
            }
            Record::Suspect(suspect) => {
                put(out, format_args!("{} {NOTHING} suspect {} {NOTHING}", suspect.address, suspect.reason));
                extra("usual-ttl", suspect.usual_ttl, out);
                out.push(b'\n');
            }
            _ => {}
        }
    }
}

fn file_verdict(verdict: &record::Verdict, out: &mut Vec<u8>) {
    let record::Verdict { address, port, state, reason, .. } = verdict;
    let service = tcp_name(*port).unwrap_or(NOTHING);
    put(out, format_args!("{address} {port}/tcp {state} {reason} {service}"));
    extra("from", verdict.sender, out);
    extra("was", verdict.supersedes, out);
    extra("suspect", verdict.suspect.as_ref(), out);
    out.push(b'\n');
}

/// ` name=value`, if there is one.
fn extra(name: &str, value: Option<impl std::fmt::Display>, out: &mut Vec<u8>) {
    value.into_iter().for_each(|value| put(out, format_args!(" {name}={value}")));
}

/// Aligned columns, and a table by host at the end. Columns that are flush right stand one space off, so that an open
/// port of any IPv4 address fits on a line of 79.
pub(super) struct Table {
    colours: bool,
    /// Width of the address column: that of the longest seen.
    address: usize,
    /// None once there is too much to hold.
    hosts: Option<Hosts>,
}

/// As wide as any IPv4 address.
const ADDRESS: usize = 15;

impl Table {
    /// Verdicts that are not shown may come too (`hidden`); they are counted by host.
    pub(super) fn new(colours: bool) -> Table {
        Table { colours, address: ADDRESS, hosts: Some(Hosts::default()) }
    }

    fn address(&mut self, address: IpAddr, out: &mut Vec<u8>) {
        let text = address.to_string();
        self.address = self.address.max(text.len());
        put(out, format_args!("{text:<width$}", width = self.address));
    }

    fn dim(&self) -> Style {
        paint(self.colours, Style::new().dimmed())
    }

    fn state(&self, state: State) -> Style {
        let colour = match state {
            State::Open => AnsiColor::Green.on_default().bold(),
            State::Closed => AnsiColor::Red.on_default(),
            State::Filtered => AnsiColor::Yellow.on_default(),
        };
        paint(self.colours, colour)
    }
}

impl Format for Table {
    fn verdict(&mut self, verdict: &Verdict, out: &mut Vec<u8>) {
        let (dim, style) = (self.dim(), self.state(verdict.state));
        self.address(verdict.target.address, out);
        let port = format!("{}/tcp", verdict.target.port);
        let service = tcp_name(verdict.target.port).unwrap_or(NOTHING);
        put(out, format_args!(" {port:>9}  {style}{:<8}{style:#}  {service:<15}", verdict.state));
        put(out, format_args!(" {dim}{}{dim:#}\n", evidence(verdict)));
        self.hosts = self.hosts.take().and_then(|hosts| hosts.with(verdict));
    }

    fn hidden(&mut self, verdict: &Verdict) {
        if let Some(hosts) = &mut self.hosts {
            hosts.count(verdict);
        }
    }

    fn host_down(&mut self, address: IpAddr, reason: DownReason, out: &mut Vec<u8>) {
        let dim = self.dim();
        self.address(address, out);
        let answer = " ".repeat(ANSWER);
        put(out, format_args!(" {:>9}  {:<8}  {:<15} {answer}{dim}{reason}{dim:#}\n", NOTHING, "down", NOTHING));
    }

    fn suspect(&mut self, suspicion: &Suspicion, out: &mut Vec<u8>) {
        let (dim, style) = (self.dim(), paint(self.colours, AnsiColor::Yellow.on_default()));
        self.address(suspicion.address, out);
        let usual = suspicion.usual_ttl.map(|ttl| format!(", its usual one is {ttl}")).unwrap_or_default();
        let reason = suspicion.reason;
        put(out, format_args!(" {NOTHING:>9}  {style}{:<8}{style:#}  {NOTHING:<15}", "suspect"));
        put(out, format_args!(" {}{dim}{reason}{usual}{dim:#}\n", " ".repeat(ANSWER)));
        self.hosts.iter_mut().for_each(|hosts| hosts.suspect(suspicion));
    }

    fn end(&mut self, _account: &Account, out: &mut Vec<u8>) {
        let bold = paint(self.colours, Style::new().bold());
        match &self.hosts {
            Some(hosts) => hosts.print(bold, out),
            None => {
                put(out, format_args!("\nMore than {} findings or hosts: no table by host.\n", grouped(MOST as u64)));
            }
        }
        // The summary follows, on the same terminal.
        out.push(b'\n');
    }

    fn hosts(&self) -> Option<&Hosts> {
        self.hosts.as_ref()
    }

    fn recall(&mut self, hosts: Option<Hosts>) {
        self.hosts = self.hosts.take().and(hosts);
    }
}

/// Width of what is known of an answer: its round trip and TTL.
const ANSWER: usize = 8 + 2 + 7 + 2;

/// What the scan goes by: what is known of the answer, and the reason.
fn evidence(verdict: &Verdict) -> String {
    let rtt = verdict.rtt.map(round_trip).unwrap_or_default();
    let ttl = verdict.ttl.map(|ttl| format!("ttl {ttl}")).unwrap_or_default();
    let mut text = format!("{rtt:>8}  {ttl:<7}  {}", verdict.reason);
    if let Some(sender) = verdict.sender {
        let _ = write!(text, " from {sender}");
    }
    if let Some(before) = verdict.supersedes {
        let _ = write!(text, " (was {before})");
    }
    if let Some(reason) = verdict.suspect {
        let _ = write!(text, " (suspect: {reason})");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use halfopen::{Event, Target};

    use super::super::samples;
    use super::*;
    use crate::settings::Human;

    #[test]
    fn lines() {
        let corrected = Verdict { supersedes: Some(State::Closed), ..samples::open() };
        let events: Vec<_> = samples::events().into_iter().chain([Event::Verdict(corrected)]).collect();
        insta::assert_snapshot!(samples::printed(Human::Lines, "all", &events), @r"
        192.0.2.7 443/tcp open syn-ack https
        192.0.2.7 444/tcp closed rst snpp
        2001:db8::7 22/tcp open syn-ack ssh
        192.0.2.9 25/tcp filtered admin-prohibited smtp from=192.0.2.254
        192.0.2.9 26/tcp filtered no-response -
        192.0.2.77 - down no-arp -
        192.0.2.7 443/tcp open syn-ack https was=closed
        ");
    }

    #[test]
    fn suspects() {
        let forged = Verdict { suspect: Some(halfopen::Suspect::Forged), ..samples::open() };
        let events = [Event::Verdict(forged), samples::suspect(), samples::suspect_ttl()];
        insta::assert_snapshot!(samples::printed(Human::Lines, "open", &events), @r"
        192.0.2.7 443/tcp open syn-ack https suspect=forged
        192.0.2.7 - suspect every-port -
        2001:db8::7 - suspect ttl - usual-ttl=50
        ");
        insta::assert_snapshot!(samples::printed(Human::Table { colours: false }, "open", &events), @r"
        192.0.2.7         443/tcp  open      https             1.5 ms  ttl 63   syn-ack (suspect: forged)
        192.0.2.7               -  suspect   -                                  every-port
        2001:db8::7             -  suspect   -                                  ttl, its usual one is 50
        ");
        assert_eq!(samples::printed(Human::Lines, "closed", &events), "", "they concern open ports alone");
    }

    #[test]
    fn every_line_has_five_words_before_what_is_optional() {
        let text = samples::printed(Human::Lines, "all", &samples::events());
        for line in text.lines() {
            assert_eq!(line.split(' ').filter(|word| !word.contains('=')).count(), 5, "{line}");
        }
    }

    #[test]
    fn columns() {
        insta::assert_snapshot!(samples::printed(Human::Table { colours: false }, "all", &samples::events()), @r"
        192.0.2.7         443/tcp  open      https             1.5 ms  ttl 63   syn-ack
        192.0.2.7         444/tcp  closed    snpp              1.5 ms  ttl 63   rst
        2001:db8::7        22/tcp  open      ssh               1.5 ms  ttl 63   syn-ack
        192.0.2.9          25/tcp  filtered  smtp              1.5 ms  ttl 63   admin-prohibited from 192.0.2.254
        192.0.2.9          26/tcp  filtered  -                                  no-response
        192.0.2.77              -  down      -                                  no-arp
        ");
    }

    #[test]
    fn an_open_port_of_an_ipv4_address_does_not_wrap() {
        let target = Target { address: IpAddr::from([255; 4]), port: 22_333 };
        assert_eq!(tcp_name(target.port).map(str::len), Some(15), "as long as names are");
        let widest = Verdict { target, ttl: Some(255), rtt: Some(Duration::from_micros(999_900)), ..samples::open() };
        let text = samples::printed(Human::Table { colours: false }, "all", &[Event::Verdict(widest)]);
        assert_eq!(text.trim_end().chars().count(), 79, "{text}");
    }

    #[test]
    fn colours_only_when_asked_for() {
        let with = |colours| samples::printed(Human::Table { colours }, "all", &samples::events());
        assert!(with(true).contains("\x1b["));
        assert!(!with(false).contains('\x1b'));
    }

    #[test]
    fn too_many_findings_for_a_table() {
        let mut table = Table::new(false);
        for (host, port) in (0..=1).flat_map(|host| (1..=u16::MAX).map(move |port| (host, port))) {
            let target = Target { address: IpAddr::from([192, 0, 2, host]), port };
            table.verdict(&Verdict { target, ..samples::open() }, &mut Vec::new());
        }
        let mut out = Vec::new();
        table.end(&samples::account(), &mut out);
        assert_eq!(out, b"\nMore than 65,536 findings or hosts: no table by host.\n\n");
    }
}
