//! `grepable`: nmap's `-oG`, a line or two for each host that has answered or of which something is shown, in the order of addresses. What
//! halfopen knows more of the scan, and of states that are not listed (nmap names one a host), stands in comments, as JSON:
//! readers of the form pass over them.

use std::io::{self, Write};
use std::net::IpAddr;

use super::hosts::{Extra, Told};
use super::{Document, ServiceNames, on_one_line};
use crate::record::{Record, Rest, Verdict};
use crate::scan::Host;

/// Before the records of the scan in comments.
pub(crate) const COMMENT: &str = "# halfopen: ";

/// Lines of hosts.
#[derive(Debug, Clone)]
pub struct Grepable {
    names: ServiceNames,
}

impl Grepable {
    /// With the names of ports.
    pub fn new(names: ServiceNames) -> Grepable {
        Grepable { names }
    }

    /// `443/open/tcp//https///`.
    fn port(&self, verdict: &Verdict) -> String {
        let service = (self.names)(verdict.port).unwrap_or_default();
        let protocol = on_one_line(&verdict.protocol).replace(['/', ','], " ");
        format!("{}/{}/{protocol}//{service}///", verdict.port, verdict.state)
    }

    fn ports(&self, host: &Host) -> String {
        let ports: Vec<_> = host.ports.values().map(|verdict| self.port(verdict)).collect();
        let ignored = host.extra().first().map(|extra| format!("\tIgnored State: {} ({})", extra.state, extra.count));
        format!("Ports: {}{}", ports.join(", "), ignored.unwrap_or_default())
    }
}

impl Document for Grepable {
    fn write(&self, records: &mut dyn Iterator<Item = io::Result<Record>>, out: &mut dyn Write) -> io::Result<()> {
        let told = Told::new(records)?;
        let (version, command) = (on_one_line(told.version()), on_one_line(&told.command()));
        writeln!(out, "# halfopen {version} scan initiated {} as: {command}", told.started_text())?;
        let ports = told.ports();
        writeln!(out, "# Ports scanned: TCP({};{ports}) UDP(0;) SCTP(0;) PROTOCOLS(0;)", ports.len())?;
        if let Some(header) = &told.scan.header {
            comment(&Record::Scan(Box::new(header.clone())), out)?;
        }
        for (address, host) in told.scan.hosts.iter().filter(|(_, host)| host.is_told()) {
            let status = if host.down.is_some() { "Down" } else { "Up" };
            writeln!(out, "Host: {address} ()\tStatus: {status}")?;
            if host.down.is_none() {
                writeln!(out, "Host: {address} ()\t{}", self.ports(host))?;
                unnamed(*address, host).iter().try_for_each(|rest| comment(rest, out))?;
            }
        }
        if let Some(summary) = &told.scan.summary {
            comment(&Record::Summary(Box::new(summary.clone())), out)?;
        }
        match &told.scan.error {
            Some(error) => writeln!(out, "# halfopen failed at {}: {}", told.ended_text(), on_one_line(error)),
            None => writeln!(out, "# halfopen {} -- {}", told.end(), told.account()),
        }
    }
}

/// How many ports of a host are in states that are not listed, but for the one that nmap's form names.
fn unnamed(address: IpAddr, host: &Host) -> Vec<Record> {
    let rest = |extra: Extra<'_>| Rest { address, state: extra.state, reason: "".into(), count: extra.count };
    host.extra().into_iter().skip(1).map(|extra| Record::Rest(rest(extra))).collect()
}

fn comment(record: &Record, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{COMMENT}{}", serde_json::to_string(record)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::samples;

    fn name(port: u16) -> Option<&'static str> {
        [(22, "ssh"), (443, "https")].into_iter().find(|&(known, _)| known == port).map(|(_, name)| name)
    }

    #[test]
    fn hosts_in_their_order() {
        let records = samples::records().into_iter().chain([samples::rest()]);
        let mut out = Vec::new();
        Grepable::new(name).write(&mut records.map(Ok), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with(COMMENT)).collect();
        let expected = [
            "# halfopen 1.2.3 scan initiated Tue Nov 14 22:13:20 2023 as: halfopen scan 192.0.2.0/24 2001:db8::7 -p 22-26,443,444",
            "# Ports scanned: TCP(7;22-26,443-444) UDP(0;) SCTP(0;) PROTOCOLS(0;)",
            "Host: 192.0.2.7 ()\tStatus: Up",
            "Host: 192.0.2.7 ()\tPorts: 443/open/tcp//https///, 444/closed/tcp/////\tIgnored State: closed (5)",
            "Host: 192.0.2.9 ()\tStatus: Up",
            "Host: 192.0.2.9 ()\tPorts: 25/filtered/tcp/////, 26/filtered/tcp/////",
            "Host: 192.0.2.77 ()\tStatus: Down",
            "Host: 2001:db8::7 ()\tStatus: Up",
            "Host: 2001:db8::7 ()\tPorts: 22/open/tcp//ssh///",
            "# halfopen done at Tue Nov 14 22:13:26 2023 -- 257 IP addresses (256 hosts up) scanned in 6.60 seconds",
        ];
        assert_eq!(lines, expected);
        assert_eq!(text.lines().count(), expected.len() + 2);
    }

    #[test]
    fn a_scan_that_was_stopped() {
        let summary = crate::record::Summary { outcome: "stopped".into(), ..samples::summary() };
        let mut out = Vec::new();
        Grepable::new(name).write(&mut [Ok(Record::Summary(Box::new(summary)))].into_iter(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("# halfopen stopped at ") && !text.contains("done at"), "{text}");
    }

    #[test]
    fn a_scan_that_was_resumed_the_next_day_ended_then() {
        let late = Verdict { time: "2023-11-15T08:00:00Z".parse().unwrap(), ..samples::open() };
        let records = [Record::Verdict(late), Record::Summary(Box::new(samples::summary()))];
        let mut out = Vec::new();
        Grepable::new(name).write(&mut records.into_iter().map(Ok), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("# halfopen done at Wed Nov 15 08:00:00 2023 -- "), "{text}");
        assert!(text.contains(" scanned in 6.60 seconds"), "{text}");
    }

    #[test]
    fn a_scan_that_failed() {
        let mut out = Vec::new();
        Grepable::new(name).write(&mut [Ok(samples::error())].into_iter(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("# halfopen failed at Thu Jan  1 00:00:00 1970: eth0 is gone\n"), "{text}");
    }
}
