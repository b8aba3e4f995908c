//! Findings by host: which ports are shown, how many are in each state, how fast the host answers. On a terminal it is
//! the table at the end; beside a pipe, a line for each of a few hosts. One finding a line is for `human`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anstyle::Style;
use halfopen::{State, Suspect, Suspicion, Verdict};
use halfopen_services::tcp_name;
use serde::{Deserialize, Serialize};

use super::text::{count, counted_states, round_trip};
use super::{put, told};

/// What a scan found, by host.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct Hosts {
    findings: usize,
    by_address: BTreeMap<IpAddr, Host>,
}

/// Of one host: the ports shown, and how many are in each state. Small, for there may be a million.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Host {
    shown: BTreeMap<u16, Shown>,
    counts: [u32; 3],
    answers: Option<Answers>,
    #[serde(with = "told::suspicion")]
    suspicion: Option<Suspicion>,
}

/// Of one port.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Shown {
    #[serde(with = "told::state")]
    state: State,
    #[serde(with = "told::suspect")]
    suspect: Option<Suspect>,
    ttl: Option<u8>,
}

/// The fastest and the slowest answer, in microseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Answers {
    fastest: u32,
    slowest: u32,
}

/// A longer table is for files, not for a terminal; and what is kept of more hosts, for no checkpoint.
pub(super) const MOST: usize = 1 << 16;
/// Hosts of which nothing is shown: more get one line together.
const FEW: usize = 16;
/// Where lines of ports are broken.
const WIDTH: usize = 96;

impl Hosts {
    /// Takes a finding that is shown; none when there are too many.
    pub(super) fn with(mut self, verdict: &Verdict) -> Option<Hosts> {
        self.count(verdict);
        self.findings += 1;
        let host = self.by_address.entry(verdict.target.address).or_default();
        let Verdict { state, suspect, ttl, .. } = *verdict;
        host.shown.insert(verdict.target.port, Shown { state, suspect, ttl });
        (self.findings <= MOST).then_some(self)
    }

    /// Takes a finding that is not shown.
    pub(super) fn count(&mut self, verdict: &Verdict) {
        let host = self.by_address.entry(verdict.target.address).or_default();
        if let Some(before) = verdict.supersedes {
            let before = &mut host.counts[before as usize];
            *before = before.saturating_sub(1);
        }
        host.counts[verdict.state as usize] += 1;
        host.answers = Answers::join(host.answers, verdict.rtt.map(Answers::one));
    }

    /// Takes what speaks against a host.
    pub(super) fn suspect(&mut self, suspicion: &Suspicion) {
        self.by_address.entry(suspicion.address).or_default().suspicion = Some(*suspicion);
    }

    /// The same for a checkpoint, if it is not too much for one.
    pub(super) fn kept(&self) -> Option<Hosts> {
        (self.by_address.len() <= MOST).then(|| self.clone())
    }

    /// The table: hosts with what is shown of them, then the others.
    pub(super) fn print(&self, bold: Style, out: &mut Vec<u8>) {
        for (address, host) in self.by_address.iter().filter(|(_, host)| !host.shown.is_empty()) {
            put(out, format_args!("\n{bold}{address}{bold:#}  {}\n", host.text()));
            host.print_ports(out);
        }
        self.print_others(bold, out);
    }

    /// The hosts of which nothing is shown: a line each, or one for all.
    fn print_others(&self, bold: Style, out: &mut Vec<u8>) {
        let others: Vec<_> = self.by_address.iter().filter(|(_, host)| host.shown.is_empty()).collect();
        if self.findings > 0 && !others.is_empty() {
            out.push(b'\n');
        }
        if others.len() <= FEW {
            for (address, host) in others {
                put(out, format_args!("{bold}{address}{bold:#}  {}\n", host.text()));
            }
        } else {
            let noun = if self.findings > 0 { "other host" } else { "host" };
            let sum = others.iter().fold(Host::default(), |sum, (_, host)| sum.joined(host));
            put(out, format_args!("{bold}{}{bold:#}  {}\n", count(others.len() as u64, noun), sum.text()));
        }
    }

    /// A line for each host, if they are few.
    pub(super) fn lines(&self) -> Option<String> {
        let few = (1..=FEW).contains(&self.by_address.len());
        let lines = self.by_address.iter().map(|(address, host)| format!("{address}: {}", host.text()));
        few.then(|| lines.collect::<Vec<_>>().join("\n"))
    }
}

impl Host {
    /// `3 open, 1,021 closed; answers in 2 µs to 41 µs`.
    fn text(&self) -> String {
        let counts = self.counts.map(u64::from);
        let suspect = self.suspicion.map(|told| format!("; suspect: {}", told.reason)).unwrap_or_default();
        match (counts, self.answers) {
            ([0, 0, 0], _) if self.suspicion.is_some() => format!("its open ports left out{suspect}"),
            ([0, 0, _], None) => format!("no answer: {}", counted_states(counts)),
            ([0, ..], answers) => format!("no open port: {}{}", counted_states(counts), in_time(answers)),
            (_, answers) => format!("{}{}{suspect}", counted_states(counts), in_time(answers)),
        }
    }

    fn print_ports(&self, out: &mut Vec<u8>) {
        for state in State::ALL {
            let shown = self.shown.iter().filter(|&(_, shown)| shown.state == state);
            print_ports(state, shown.map(|(&port, shown)| self.item(port, shown)), out);
        }
    }

    /// `22 ssh`, and what speaks against this port if not against all of the host.
    fn item(&self, port: u16, shown: &Shown) -> String {
        let item = tcp_name(port).map_or_else(|| port.to_string(), |service| format!("{port} {service}"));
        match self.suspicion {
            Some(told) if told.usual_ttl.is_none() => item,
            Some(told) if shown.state == State::Open && told.concerns_ttl(shown.ttl) => {
                format!("{item} ({})", told.reason)
            }
            _ => match shown.suspect {
                Some(reason) => format!("{item} ({reason})"),
                None => item,
            },
        }
    }

    /// Both together, without what is shown.
    fn joined(self, other: &Host) -> Host {
        let counts = [0, 1, 2].map(|at| self.counts[at].saturating_add(other.counts[at]));
        Host { shown: self.shown, counts, answers: Answers::join(self.answers, other.answers), suspicion: None }
    }
}

impl Answers {
    fn one(rtt: Duration) -> Answers {
        let micros = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
        Answers { fastest: micros, slowest: micros }
    }

    fn join(one: Option<Answers>, other: Option<Answers>) -> Option<Answers> {
        let (Some(a), Some(b)) = (one, other) else { return one.or(other) };
        Some(Answers { fastest: a.fastest.min(b.fastest), slowest: a.slowest.max(b.slowest) })
    }
}

fn in_time(answers: Option<Answers>) -> String {
    let Some(Answers { fastest, slowest }) = answers else { return String::new() };
    let [fastest, slowest] = [fastest, slowest].map(|micros| round_trip(Duration::from_micros(micros.into())));
    if fastest == slowest { format!("; answers in {fastest}") } else { format!("; answers in {fastest} to {slowest}") }
}

/// `  open      22 ssh, 80 http`, broken into lines.
fn print_ports(state: State, items: impl Iterator<Item = String>, out: &mut Vec<u8>) {
    let mut width = 0;
    for item in items {
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

#[cfg(test)]
mod tests {
    use halfopen::{Event, Target};

    use super::super::samples;
    use super::*;

    fn hosts(show: &str, verdicts: impl IntoIterator<Item = Verdict>) -> Hosts {
        let show = samples::show(show);
        verdicts.into_iter().fold(Hosts::default(), |mut hosts, verdict| {
            if show.state(verdict.state.into()) {
                return hosts.with(&verdict).unwrap();
            }
            hosts.count(&verdict);
            hosts
        })
    }

    fn table(show: &str, verdicts: impl IntoIterator<Item = Verdict>) -> String {
        let mut out = Vec::new();
        hosts(show, verdicts).print(Style::new(), &mut out);
        // A blank line stands before each host; a snapshot cannot begin with one.
        String::from_utf8(out).unwrap().trim_start_matches('\n').into()
    }

    fn at(port: u16, verdict: &Verdict) -> Verdict {
        Verdict { target: Target { port, ..verdict.target }, ..verdict.clone() }
    }

    fn of(host: u8, verdict: &Verdict) -> Verdict {
        let address = IpAddr::from([192, 0, 2, host]);
        Verdict { target: Target { address, ..verdict.target }, ..verdict.clone() }
    }

    fn after(micros: u64, verdict: &Verdict) -> Verdict {
        Verdict { rtt: Some(Duration::from_micros(micros)), ..verdict.clone() }
    }

    #[test]
    fn by_host() {
        let closed = (1000..2000).map(|port| after(u64::from(port) - 990, &at(port, &samples::closed())));
        let open = [80, 22, 443].map(|port| at(port, &samples::open()));
        let others = [samples::open_v6(), samples::by_icmp(), samples::silent()];
        insta::assert_snapshot!(table("open", closed.chain(open).chain(others)), @r"
        192.0.2.7  3 open, 1,000 closed; answers in 10 µs to 1.5 ms
          open      22 ssh, 80 http, 443 https

        2001:db8::7  1 open; answers in 1.5 ms
          open      22 ssh

        192.0.2.9  no open port: 2 filtered; answers in 1.5 ms
        ");
    }

    #[test]
    fn a_suspect_whose_ports_are_left_out() {
        let Event::Suspect(every) = samples::suspect() else { panic!("an event of suspicion") };
        let mut hosts = Hosts::default();
        hosts.suspect(&every);
        let said = format!("{}: its open ports left out; suspect: {}", every.address, every.reason);
        assert_eq!(hosts.lines(), Some(said));
    }

    #[test]
    fn suspects() {
        let Event::Suspect(every) = samples::suspect() else { panic!("an event of suspicion") };
        let forged = Verdict { suspect: Some(Suspect::Forged), ..samples::open() };
        let with = |suspicion: &[Suspicion]| {
            let v6 = [22, 80].map(|port| Verdict { ttl: Some(50), ..at(port, &samples::open_v6()) });
            let verdicts =
                v6.into_iter().chain([at(443, &samples::open_v6()), forged.clone(), at(80, &samples::open())]);
            let mut hosts = hosts("open", verdicts);
            suspicion.iter().for_each(|suspicion| hosts.suspect(suspicion));
            let mut out = Vec::new();
            hosts.print(Style::new(), &mut out);
            String::from_utf8(out).unwrap().trim_start_matches('\n').to_owned()
        };
        let usual = Suspicion { reason: Suspect::Ttl, usual_ttl: Some(50), address: samples::open_v6().target.address };
        insta::assert_snapshot!(with(&[usual]), @r"
        192.0.2.7  2 open; answers in 1.5 ms
          open      80 http, 443 https (forged)

        2001:db8::7  3 open; answers in 1.5 ms; suspect: ttl
          open      22 ssh, 80 http, 443 https (ttl)
        ");
        insta::assert_snapshot!(with(&[every]), @r"
        192.0.2.7  2 open; answers in 1.5 ms; suspect: every-port
          open      80 http, 443 https

        2001:db8::7  3 open; answers in 1.5 ms
          open      22 ssh, 80 http, 443 https
        ");
    }

    #[test]
    fn by_host_with_several_states() {
        let verdicts = [samples::open(), samples::closed(), samples::by_icmp()];
        insta::assert_snapshot!(table("all", verdicts), @r"
        192.0.2.7  1 open, 1 closed; answers in 1.5 ms
          open      443 https
          closed    444 snpp

        192.0.2.9  no open port: 1 filtered; answers in 1.5 ms
          filtered  25 smtp
        ");
    }

    #[test]
    fn nothing_to_show() {
        let closed = (1..=1024).map(|port| at(port, &samples::closed()));
        insta::assert_snapshot!(table("open", closed), @"192.0.2.7  no open port: 1,024 closed; answers in 1.5 ms");
        let silent = (1..=1024).map(|port| at(port, &samples::silent()));
        insta::assert_snapshot!(table("open", silent), @"192.0.2.9  no answer: 1,024 filtered");
        assert_eq!(table("open", []), "");
    }

    #[test]
    fn what_is_open_and_not_asked_for_is_counted() {
        let verdicts = [samples::open(), at(80, &samples::open())];
        insta::assert_snapshot!(table("filtered", verdicts), @"192.0.2.7  2 open; answers in 1.5 ms");
    }

    #[test]
    fn many_hosts_without_findings_share_a_line() {
        let quiet = (0..200).map(|host| of(host, &samples::closed()));
        insta::assert_snapshot!(table("open", quiet.clone()), @"200 hosts  no open port: 200 closed; answers in 1.5 ms");
        let one = of(200, &samples::open());
        insta::assert_snapshot!(table("open", quiet.chain([one])), @r"
        192.0.2.200  1 open; answers in 1.5 ms
          open      443 https

        200 other hosts  no open port: 200 closed; answers in 1.5 ms
        ");
    }

    #[test]
    fn beside_a_pipe() {
        let few = hosts("open", [samples::open(), samples::closed(), samples::silent()]);
        insta::assert_snapshot!(few.lines().unwrap(), @r"
        192.0.2.7: 1 open, 1 closed; answers in 1.5 ms
        192.0.2.9: no answer: 1 filtered
        ");
        assert_eq!(hosts("open", (0..17).map(|host| of(host, &samples::closed()))).lines(), None);
        assert_eq!(Hosts::default().lines(), None);
    }

    #[test]
    fn a_correction_is_counted_once() {
        let first = at(443, &samples::closed());
        let then = Verdict { supersedes: Some(State::Closed), ..samples::open() };
        insta::assert_snapshot!(table("open", [first, then]), @r"
        192.0.2.7  1 open; answers in 1.5 ms
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
    fn too_many_findings() {
        let mut findings =
            (0..=1).flat_map(|host| (1..=u16::MAX).map(move |port| at(port, &of(host, &samples::open()))));
        assert!(findings.try_fold(Hosts::default(), |hosts, verdict| hosts.with(&verdict)).is_none());
    }
}
