//! `--output human`. In a pipe: one line a finding, `address port/tcp state reason service`, for grep and awk. On a
//! terminal: aligned columns as findings come, and a table by host at the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use anstyle::{AnsiColor, Style};
use halfopen::{DownReason, State, Verdict};

use super::account::Account;
use super::text::{count, grouped, round_trip};
use super::{Format, put};
use crate::screen::paint;
use crate::services;

/// Stands where there is nothing to say, so that columns can be counted on.
const NOTHING: &str = "-";

/// One line a finding, for other programs. What not every finding has comes last, as `name=value`.
pub(super) struct Lines;

impl Format for Lines {
    fn verdict(&mut self, verdict: &Verdict, out: &mut Vec<u8>) {
        let Verdict { target, state, reason, .. } = verdict;
        let service = services::name(target.port).unwrap_or(NOTHING);
        put(out, format_args!("{} {}/tcp {state} {reason} {service}", target.address, target.port));
        if let Some(sender) = verdict.sender {
            put(out, format_args!(" from={sender}"));
        }
        if let Some(before) = verdict.supersedes {
            put(out, format_args!(" was={before}"));
        }
        out.push(b'\n');
    }

    fn host_down(&mut self, address: IpAddr, reason: DownReason, out: &mut Vec<u8>) {
        put(out, format_args!("{address} {NOTHING} down {reason} {NOTHING}\n"));
    }
}

/// Aligned columns, and a table by host at the end.
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
    /// With `counts`, verdicts that are not shown come too (`hidden`), and are counted by host.
    pub(super) fn new(colours: bool, counts: bool) -> Table {
        Table { colours, address: ADDRESS, hosts: Some(Hosts { counts, ..Hosts::default() }) }
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
        let service = services::name(verdict.target.port).unwrap_or(NOTHING);
        put(out, format_args!("  {port:>9}  {style}{:<8}{style:#}  {service:<15}  ", verdict.state));
        put(out, format_args!("{dim}{}{dim:#}\n", evidence(verdict)));
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
        put(out, format_args!("  {:>9}  {:<8}  {:<15}  {dim}{reason}{dim:#}\n", NOTHING, "down", NOTHING));
    }

    fn end(&mut self, _account: &Account, out: &mut Vec<u8>) {
        let bold = paint(self.colours, Style::new().bold());
        match &self.hosts {
            Some(hosts) => hosts.print(bold, out),
            None => put(out, format_args!("\nMore than {} findings: no table by host.\n", grouped(MOST as u64))),
        }
        // The summary follows, on the same terminal.
        out.push(b'\n');
    }
}

/// What the scan goes by: the reason, and what is known of the answer.
fn evidence(verdict: &Verdict) -> String {
    let mut text = format!("{:<8}", verdict.reason);
    if let Some(ttl) = verdict.ttl {
        let _ = write!(text, "  ttl {ttl:<3}");
    }
    if let Some(rtt) = verdict.rtt {
        let _ = write!(text, "  {:>8}", round_trip(rtt));
    }
    if let Some(sender) = verdict.sender {
        let _ = write!(text, "  from {sender}");
    }
    if let Some(before) = verdict.supersedes {
        let _ = write!(text, "  (was {before})");
    }
    text.truncate(text.trim_end().len());
    text
}

/// Findings by host, for the table at the end.
#[derive(Default)]
struct Hosts {
    /// Whether what is not shown is counted too.
    counts: bool,
    findings: usize,
    by_address: BTreeMap<IpAddr, Host>,
}

/// Of one host: the ports shown, and how many are in each state.
#[derive(Default)]
struct Host {
    shown: BTreeMap<u16, State>,
    counts: [u64; 3],
}

/// A longer table is for files, not for a terminal.
const MOST: usize = 1 << 16;
/// Where lines of ports are broken.
const WIDTH: usize = 96;

impl Hosts {
    /// Takes a finding; none when there are too many.
    fn with(mut self, verdict: &Verdict) -> Option<Hosts> {
        self.count(verdict);
        self.findings += 1;
        let host = self.by_address.entry(verdict.target.address).or_default();
        host.shown.insert(verdict.target.port, verdict.state);
        (self.findings <= MOST).then_some(self)
    }

    fn count(&mut self, verdict: &Verdict) {
        let counts = &mut self.by_address.entry(verdict.target.address).or_default().counts;
        if let Some(before) = verdict.supersedes {
            counts[before as usize] = counts[before as usize].saturating_sub(1);
        }
        counts[verdict.state as usize] += 1;
    }

    fn print(&self, bold: Style, out: &mut Vec<u8>) {
        for (address, host) in self.by_address.iter().filter(|(_, host)| !host.shown.is_empty()) {
            put(out, format_args!("\n{bold}{address}{bold:#}"));
            host.print(self.counts, out);
        }
        self.print_others(out);
    }

    /// The hosts of which nothing is shown, in one line.
    fn print_others(&self, out: &mut Vec<u8>) {
        let others: Vec<_> = self.by_address.values().filter(|host| host.shown.is_empty()).collect();
        if self.counts && !others.is_empty() {
            let sum = others.iter().fold([0; 3], |sum, host| add(sum, host.counts));
            let hosts = count(others.len() as u64, if self.findings > 0 { "other host" } else { "host" });
            put(out, format_args!("\n{hosts}, not shown: {}\n", states(sum)));
        }
    }
}

impl Host {
    fn print(&self, counted: bool, out: &mut Vec<u8>) {
        let hidden = subtract(self.counts, self.shown_counts());
        if counted && hidden != [0; 3] {
            put(out, format_args!("  (not shown: {})", states(hidden)));
        }
        out.push(b'\n');
        for state in State::ALL {
            print_ports(state, self.shown.iter().filter(|&(_, s)| *s == state).map(|(&port, _)| port), out);
        }
    }

    fn shown_counts(&self) -> [u64; 3] {
        self.shown.values().fold([0; 3], |mut counts, &state| {
            counts[state as usize] += 1;
            counts
        })
    }
}

/// `  open      22 ssh, 80 http`, broken into lines.
fn print_ports(state: State, ports: impl Iterator<Item = u16>, out: &mut Vec<u8>) {
    let mut width = 0;
    for port in ports {
        let item = services::name(port).map_or_else(|| port.to_string(), |service| format!("{port} {service}"));
        match width {
            0 => put(out, format_args!("  {state:<8}  {item}")),
            _ if width + item.len() > WIDTH => put(out, format_args!(",\n            {item}")),
            _ => put(out, format_args!(", {item}")),
        }
        width = if width == 0 || width + item.len() > WIDTH { 12 } else { width + 2 } + item.len();
    }
    if width > 0 {
        out.push(b'\n');
    }
}

/// `997 closed, 3 filtered`, in the order of `State::ALL`, without those that are not there.
fn states(counts: [u64; 3]) -> String {
    let parts = State::ALL.into_iter().zip(counts).filter(|&(_, n)| n > 0);
    parts.map(|(state, n)| format!("{} {state}", grouped(n))).collect::<Vec<_>>().join(", ")
}

fn add(a: [u64; 3], b: [u64; 3]) -> [u64; 3] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

fn subtract(a: [u64; 3], b: [u64; 3]) -> [u64; 3] {
    [a[0].saturating_sub(b[0]), a[1].saturating_sub(b[1]), a[2].saturating_sub(b[2])]
}

#[cfg(test)]
mod tests {
    use halfopen::{Event, Target};

    use super::super::samples;
    use super::*;
    use crate::settings::Form;

    #[test]
    fn lines() {
        let corrected = Verdict { supersedes: Some(State::Closed), ..samples::open() };
        let events: Vec<_> = samples::events().into_iter().chain([Event::Verdict(corrected)]).collect();
        insta::assert_snapshot!(samples::printed(Form::Lines, "all", &events), @r"
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
    fn every_line_has_five_words_before_what_is_optional() {
        let text = samples::printed(Form::Lines, "all", &samples::events());
        for line in text.lines() {
            assert_eq!(line.split(' ').filter(|word| !word.contains('=')).count(), 5, "{line}");
        }
    }

    #[test]
    fn columns() {
        insta::assert_snapshot!(samples::printed(Form::Table { colours: false }, "all", &samples::events()), @r"
        192.0.2.7          443/tcp  open      https            syn-ack   ttl 63     1.5 ms
        192.0.2.7          444/tcp  closed    snpp             rst       ttl 63     1.5 ms
        2001:db8::7         22/tcp  open      ssh              syn-ack   ttl 63     1.5 ms
        192.0.2.9           25/tcp  filtered  smtp             admin-prohibited  ttl 63     1.5 ms  from 192.0.2.254
        192.0.2.9           26/tcp  filtered  -                no-response
        192.0.2.77               -  down      -                no-arp
        ");
    }

    #[test]
    fn colours_only_when_asked_for() {
        let with = |colours| samples::printed(Form::Table { colours }, "all", &samples::events());
        assert!(with(true).contains("\x1b["));
        assert!(!with(false).contains('\x1b'));
    }

    fn table(show: &str, verdicts: impl IntoIterator<Item = Verdict>) -> String {
        let mut table = Table::new(false, true);
        let show = samples::show(show);
        for verdict in verdicts {
            if show.state(verdict.state) { table.verdict(&verdict, &mut Vec::new()) } else { table.hidden(&verdict) }
        }
        let mut out = Vec::new();
        table.end(&samples::account(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn at(port: u16, verdict: &Verdict) -> Verdict {
        Verdict { target: Target { port, ..verdict.target }, ..verdict.clone() }
    }

    #[test]
    fn by_host() {
        let closed = (1000..2000).map(|port| at(port, &samples::closed()));
        let open = [80, 22, 443].map(|port| at(port, &samples::open()));
        let others = [samples::open_v6(), samples::by_icmp(), samples::silent()];
        insta::assert_snapshot!(table("open", closed.chain(open).chain(others)), @r"
        192.0.2.7  (not shown: 1,000 closed)
          open      22 ssh, 80 http, 443 https

        2001:db8::7
          open      22 ssh

        1 other host, not shown: 2 filtered
        ");
    }

    #[test]
    fn by_host_with_several_states() {
        let verdicts = [samples::open(), samples::closed(), samples::by_icmp()];
        insta::assert_snapshot!(table("all", verdicts), @r"
        192.0.2.7
          open      443 https
          closed    444 snpp

        192.0.2.9
          filtered  25 smtp
        ");
    }

    #[test]
    fn a_correction_is_counted_once() {
        let first = at(443, &samples::closed());
        let then = Verdict { supersedes: Some(State::Closed), ..samples::open() };
        insta::assert_snapshot!(table("open", [first, then]), @r"
        192.0.2.7
          open      443 https
        ");
    }

    #[test]
    fn long_lists_of_ports_are_broken() {
        let text = table("open", (1..200).map(|port| at(port, &samples::open())));
        assert!(text.lines().count() > 10);
        assert!(text.lines().all(|line| line.len() <= WIDTH + 2), "{text}");
    }

    #[test]
    fn too_many_findings_for_a_table() {
        let findings = (0..=1).flat_map(|host| {
            (1..=u16::MAX).map(move |port| {
                let target = Target { address: IpAddr::from([192, 0, 2, host]), port };
                Verdict { target, ..samples::open() }
            })
        });
        assert_eq!(table("open", findings), "\nMore than 65,536 findings: no table by host.\n\n");
    }
}
