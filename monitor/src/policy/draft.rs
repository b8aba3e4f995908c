//! A policy to begin with, from what is so now: as text that somebody reads and corrects before it is one. Hosts with the same
//! open ports are a group, each port stands on a line of its own with what it usually is, and everything else must not be open.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use halfopen_results::Coverage;
use halfopen_results::record::State;
use halfopen_services::{Port, plaintext};

use super::MOST_HOSTS;
use super::knowledge::{Knowledge, Known};
use crate::wording::named;

/// The open ports of hosts of which something is known; those whose answers are suspect; and whether all fits a policy.
#[derive(Debug, Default)]
struct Seen {
    open: BTreeMap<IpAddr, Vec<u16>>,
    suspect: Vec<(IpAddr, u16, u16)>,
}

/// The text, of hosts of which something was heard; `source` says where that is from.
pub fn draft(
    source: &str,
    hosts: impl IntoIterator<Item = IpAddr>,
    asked: &Coverage,
    knowledge: &dyn Knowledge,
) -> String {
    let seen = seen(hosts, asked, knowledge);
    let mut text = head(source, asked);
    for (host, first, last) in &seen.suspect {
        let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
        _ = writeln!(text, "# Left out: {host} tcp/{ports}, because the host's answers are suspect.");
    }
    for (number, (ports, hosts)) in groups(&seen.open).into_iter().enumerate() {
        text.push_str(&group(number + 1, ports, &hosts));
    }
    text
}

fn seen(hosts: impl IntoIterator<Item = IpAddr>, asked: &Coverage, knowledge: &dyn Knowledge) -> Seen {
    let mut seen = Seen::default();
    for host in hosts.into_iter().take(usize::try_from(MOST_HOSTS).unwrap_or(usize::MAX)) {
        let Some(ports) = asked.ports(host) else { continue };
        for (first, last, known) in knowledge.runs(host, ports) {
            match known {
                Known::May(possible) if possible == State::Open.into() => {
                    seen.open.entry(host).or_default().extend(first..=last);
                }
                Known::May(_) => _ = seen.open.entry(host).or_default(),
                Known::Suspect => seen.suspect.push((host, first, last)),
                Known::Down | Known::Uncovered => {}
            }
        }
    }
    seen
}

fn groups(open: &BTreeMap<IpAddr, Vec<u16>>) -> BTreeMap<&[u16], Vec<IpAddr>> {
    let mut groups: BTreeMap<&[u16], Vec<IpAddr>> = BTreeMap::new();
    open.iter().for_each(|(&host, ports)| groups.entry(ports).or_default().push(host));
    groups
}

fn head(source: &str, asked: &Coverage) -> String {
    let ports = asked.all_ports();
    let source = source.replace(['\n', '\r'], " ");
    format!(
        "# A policy drafted from {source}. It says what was so then, and not what ought to be:\n\
         # read every line, take out what must not be open, name the groups, and say why.\n\
         # {} of 65535 ports were asked of each host at most; what is said of the others was never looked at.\n\
         version = 1\n\n\
         [defaults]\n\
         unlisted = \"not-open\"          # what no rule names must not be open\n\
         severity = \"warning\"\n",
        ports.len()
    )
}

fn group(number: usize, ports: &[u16], hosts: &[IpAddr]) -> String {
    let hosts: String = hosts.iter().map(|host| format!("  \"{host}\",\n")).collect();
    let group = format!("\n[groups.hosts-{number}]\nhosts = [\n{hosts}]\n");
    if ports.is_empty() {
        return format!("{group}# Nothing was open there: no rule, and so nothing may be.\n");
    }
    let ports: String = ports.iter().map(|&port| line(port)).collect();
    format!("{group}\n[[rule]]\nid = \"as-found-{number}\"\ngroup = \"hosts-{number}\"\nopen = [\n{ports}]\n")
}

/// `  "tcp/23",  # Telnet; unencrypted: use ssh`.
fn line(port: u16) -> String {
    let (port, quoted) = (Port::tcp(port), format!("\"tcp/{port}\","));
    let name = named(port);
    let name = name.split_once(" (").map_or("no usual service", |(_, name)| name.trim_end_matches(')'));
    let instead = plaintext(port).and_then(|service| service.instead);
    let warning = instead.map_or_else(String::new, |instead| format!("; unencrypted: use {instead}"));
    format!("  {quoted:<12} # {name}{warning}\n")
}
