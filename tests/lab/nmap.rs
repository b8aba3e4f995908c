//! nmap as an oracle: runs `nmap -sS` in the caller's network, reads its XML, and compares it with what halfopen says
//! or what a scenario expects. nmap's words differ from ours in places; the table is here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::process::{Command, Stdio};

use halfopen::{Reason, State, Target};
use serde::Deserialize;

use crate::isolate::skip;
use halfopen_phantom::Expected;

/// What nmap says of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `open`, `closed`, `filtered`.
    pub state: String,
    /// In nmap's words.
    pub reason: String,
    /// Who sent the answer, where it was not the target.
    pub sender: Option<IpAddr>,
}

/// What nmap found.
#[derive(Debug, Clone, Default)]
pub struct NmapReport {
    /// Every target that it probed.
    pub findings: BTreeMap<Target, Finding>,
    /// Hosts that answered neither ARP nor neighbour discovery.
    pub down: BTreeSet<IpAddr>,
}

/// Whether there is an nmap to ask. If not, says so aloud, and ends a lab test as skipped.
pub fn nmap_installed() -> bool {
    let version = Command::new("nmap").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let installed = version.is_ok_and(|status| status.success());
    if !installed {
        skip("nmap is not installed");
    }
    installed
}

/// Runs nmap's SYN scan with further arguments (`-6`, `-p 1-100`, targets) and reads what it found.
pub fn nmap(arguments: &[&str]) -> NmapReport {
    let report = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    let mut command = Command::new("nmap");
    // -v: also hosts that are down; -d3: every port by itself, and not "993 closed ports".
    command.args(["-sS", "-n", "-Pn", "--reason", "-v", "-d3", "-oX"]).arg(report.path()).args(arguments);
    let output = command.stdin(Stdio::null()).output().expect("nmap can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nmap {arguments:?} failed: {}: {said}", output.status);
    let xml = std::fs::read_to_string(report.path()).expect("nmap has written its report");
    NmapReport::read(&xml).unwrap_or_else(|error| panic!("cannot read nmap's report: {error}"))
}

impl Finding {
    /// Whether nmap says the same as this verdict on a target, in its own words.
    pub fn agrees(&self, target: Target, state: State, reason: Reason, sender: Option<IpAddr>) -> bool {
        let (reason, sender) = in_nmaps_words(reason, sender);
        let elsewhere = sender.filter(|&sender| sender != target.address);
        self.state == state.name() && self.reason == reason && self.sender == elsewhere
    }
}

impl NmapReport {
    /// Reads what `nmap -oX` has written, ports that it only sums up (`extraports`) included.
    pub fn read(xml: &str) -> Result<NmapReport, impl std::error::Error + use<>> {
        quick_xml::de::from_str(xml).map(of_run)
    }

    /// Where nmap and these expectations differ, one line each; targets that only one of them has included.
    pub fn differences(&self, expected: &BTreeMap<Target, Expected>) -> Vec<String> {
        let targets: BTreeSet<_> = self.findings.keys().chain(expected.keys()).copied().collect();
        targets.into_iter().filter_map(|target| self.difference(target, expected.get(&target))).collect()
    }

    fn difference(&self, target: Target, expected: Option<&Expected>) -> Option<String> {
        let found = self.findings.get(&target);
        let same = match (found, expected) {
            (Some(found), Some(expected)) => found.agrees(target, expected.state, expected.reason, expected.sender),
            _ => false,
        };
        (!same).then(|| format!("{target}: nmap says {found:?}, expected {expected:?}"))
    }
}

/// What nmap 7.93 says where we give a reason and a sender. It takes ICMPv6 time exceeded for silence.
fn in_nmaps_words(reason: Reason, sender: Option<IpAddr>) -> (&'static str, Option<IpAddr>) {
    let word = match reason {
        Reason::Rst => "reset",
        Reason::Syn => "split-handshake-syn",
        Reason::Icmpv6 { kind: 1, code: 3 } => "host-unreach",
        Reason::Icmpv6 { kind: 1, code: 5 } => "admin-prohibited",
        Reason::Icmpv6 { kind: 3, .. } => return (Reason::NoResponse.name(), None),
        _ => reason.name(),
    };
    (word, sender)
}

#[derive(Deserialize)]
struct Run {
    #[serde(rename = "host", default)]
    hosts: Vec<HostElement>,
}

#[derive(Deserialize)]
struct HostElement {
    status: StatusElement,
    #[serde(rename = "address", default)]
    addresses: Vec<AddressElement>,
    #[serde(default)]
    ports: PortsElement,
}

#[derive(Deserialize)]
struct StatusElement {
    #[serde(rename = "@state")]
    state: String,
}

#[derive(Deserialize)]
struct AddressElement {
    #[serde(rename = "@addr")]
    address: String,
}

#[derive(Deserialize, Default)]
struct PortsElement {
    #[serde(rename = "port", default)]
    ports: Vec<PortElement>,
    #[serde(rename = "extraports", default)]
    extra: Vec<ExtraElement>,
}

/// Many ports in one state.
#[derive(Deserialize)]
struct ExtraElement {
    #[serde(rename = "@state")]
    state: String,
    #[serde(rename = "extrareasons", default)]
    reasons: Vec<ExtraReasonElement>,
}

#[derive(Deserialize)]
struct ExtraReasonElement {
    #[serde(rename = "@reason")]
    reason: String,
    /// `1-3,5`; since nmap 7.90.
    #[serde(rename = "@ports", default)]
    ports: String,
}

#[derive(Deserialize)]
struct PortElement {
    #[serde(rename = "@portid")]
    port: u16,
    state: StateElement,
}

#[derive(Deserialize)]
struct StateElement {
    #[serde(rename = "@state")]
    state: String,
    #[serde(rename = "@reason")]
    reason: String,
    #[serde(rename = "@reason_ip")]
    sender: Option<IpAddr>,
}

fn of_run(run: Run) -> NmapReport {
    let mut report = NmapReport::default();
    for host in run.hosts {
        // One of them is the link address.
        let address = host.addresses.iter().find_map(|address| address.address.parse().ok());
        let address: IpAddr = address.expect("nmap names every host's address");
        if host.status.state == "down" {
            report.down.insert(address);
        }
        for extra in host.ports.extra {
            report.findings.extend(summed_up(address, &extra));
        }
        for PortElement { port, state } in host.ports.ports {
            let finding = Finding { state: state.state, reason: state.reason, sender: state.sender };
            report.findings.insert(Target { address, port }, finding);
        }
    }
    report
}

fn summed_up(address: IpAddr, extra: &ExtraElement) -> impl Iterator<Item = (Target, Finding)> {
    extra.reasons.iter().flat_map(move |reason| {
        let finding = Finding { state: extra.state.clone(), reason: reason.reason.clone(), sender: None };
        ports(&reason.ports).map(move |port| (Target { address, port }, finding.clone()))
    })
}

/// The ports of `1-3,5`.
fn ports(text: &str) -> impl Iterator<Item = u16> {
    text.split(',').filter_map(range).flatten()
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const XML: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE nmaprun>
<nmaprun scanner="nmap">
<host><status state="down" reason="no-response" reason_ttl="0"/><address addr="10.7.0.9" addrtype="ipv4"/></host>
<taskend task="SYN Stealth Scan" time="1"/>
<host starttime="1" endtime="2"><status state="up" reason="arp-response" reason_ttl="0"/>
<address addr="10.7.0.2" addrtype="ipv4"/><address addr="02:04:0A:07:00:02" addrtype="mac"/>
<ports><port protocol="tcp" portid="1"><state state="closed" reason="reset" reason_ttl="64"/><service name="x"/></port>
<port protocol="tcp" portid="2"><state state="filtered" reason="net-unreach" reason_ttl="255" reason_ip="10.7.0.1"/>
</port></ports></host></nmaprun>"#;

    #[test]
    fn reads_ports_senders_and_hosts_that_are_down() {
        let report = NmapReport::read(XML).unwrap();
        let address: IpAddr = [10, 7, 0, 2].into();
        let closed = &report.findings[&Target { address, port: 1 }];
        assert!(closed.agrees(Target { address, port: 1 }, State::Closed, Reason::Rst, None));
        let sender = Some([10, 7, 0, 1].into());
        let unreachable = Finding { state: "filtered".into(), reason: "net-unreach".into(), sender };
        assert_eq!(report.findings[&Target { address, port: 2 }], unreachable);
        assert_eq!(report.findings.len(), 2);
        assert_eq!(report.down, BTreeSet::from([[10, 7, 0, 9].into()]));
    }

    #[test]
    fn ports_that_are_summed_up_count_too() {
        let extra = r#"<ports><extraports state="closed" count="4"><extrareasons reason="reset" count="4" proto="tcp"
            ports="3-5,9"/></extraports><extraports state="filtered" count="1"/>"#;
        let report = NmapReport::read(&XML.replace("<ports>", extra)).unwrap();
        let target = |port| Target { address: [10, 7, 0, 2].into(), port };
        assert!([3, 4, 5, 9].iter().all(|&port| report.findings[&target(port)].reason == "reset"));
        assert_eq!(report.findings.len(), 6, "{report:?}");
    }

    #[test]
    fn names_what_differs() {
        let report = NmapReport::read(XML).unwrap();
        let target = Target { address: [10, 7, 0, 2].into(), port: 1 };
        let differences = report.differences(&BTreeMap::from([(target, Expected::of(State::Open, Reason::SynAck))]));
        assert_eq!(differences.len(), 2, "one is wrong, one was not expected: {differences:?}");
    }
}
