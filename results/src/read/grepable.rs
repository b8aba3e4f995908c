//! `grepable`: ours, and nmap's. The plan and the account are in comments of ours; what nmap's covers is the hosts that are
//! up by the ports it says it scanned (`-v`), or else only what is listed.

use std::io::BufRead;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Malformed, cut, each_line};
use crate::address::Range;
use crate::coverage::{Coverage, Ports};
use crate::record::{Header, HostDown, Record, Rest, Settings, Show, State, Summary, Verdict};
use crate::scan::Scan;
use crate::write::grepable::COMMENT;
use crate::write::jsonl;

#[derive(Default)]
struct Reader {
    scan: Scan,
    /// What nmap says it scanned.
    ports: Option<Arc<Ports>>,
    up: Vec<IpAddr>,
}

pub(super) fn read(from: &mut dyn BufRead) -> Result<Scan, Malformed> {
    let mut reader = Reader::default();
    each_line(from, |number, line, whole| {
        let line = String::from_utf8_lossy(line);
        match reader.line(&line) {
            Err(_) if !whole => cut(&mut reader.scan),
            read => read.map_err(|problem| Malformed::at(number, problem))?,
        }
        Ok(())
    })?;
    Ok(reader.done())
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(json) = line.strip_prefix(COMMENT) {
            self.scan.add(jsonl::parse(json.as_bytes()).map_err(|error| error.to_string())?);
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("# Ports scanned: TCP(") {
            let ports = rest.split_once(';').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(ports, _)| ports);
            self.ports = Some(Arc::new(ports.parse()?));
            return Ok(());
        }
        match line.strip_prefix("Host: ") {
            Some(rest) => self.host(rest),
            None if line.starts_with('#') => Ok(()),
            None => Err("expected Host: or a comment".into()),
        }
    }

    fn host(&mut self, line: &str) -> Result<(), String> {
        let mut parts = line.split('\t');
        let name = parts.next().and_then(|name| name.split(' ').next()).unwrap_or_default();
        let address: IpAddr = name.parse().map_err(|_| format!("{name:?} is no address"))?;
        for part in parts {
            match part.split_once(": ") {
                Some(("Status", "Down")) => {
                    self.scan.add(Record::HostDown(HostDown { address, reason: "unknown".into() }));
                }
                Some(("Status", _)) => self.up.push(address),
                Some(("Ports", ports)) => self.listed(address, ports)?,
                Some(("Ignored State", ignored)) => self.ignored(address, ignored),
                _ => {}
            }
        }
        Ok(())
    }

    fn listed(&mut self, address: IpAddr, ports: &str) -> Result<(), String> {
        for port in ports.split(", ").map(str::trim).filter(|port| !port.is_empty()) {
            let mut parts = port.split('/');
            let number = parts.next().and_then(|number| number.parse().ok());
            let (state, protocol) = (parts.next(), parts.next());
            let (Some(number), Some(state), Some(protocol)) = (number, state, protocol) else {
                return Err(format!("expected port/state/protocol/, found {port}"));
            };
            // Other protocols and nmap's doubtful states are no verdicts of ours.
            if let (Some(state), "tcp") = (State::named(state), protocol) {
                self.scan.add(Record::Verdict(Verdict::bare(address, number, state)));
            }
        }
        Ok(())
    }

    /// `closed (98)`.
    fn ignored(&mut self, address: IpAddr, ignored: &str) {
        let (state, count) = ignored.split_once(' ').unwrap_or((ignored, ""));
        let count = count.trim_matches(['(', ')']).parse().ok();
        if let (Some(state), Some(count)) = (State::named(state), count) {
            self.scan.add(Record::Rest(Rest { address, state, reason: "".into(), count }));
        }
    }

    fn done(mut self) -> Scan {
        if let (None, Some(ports)) = (&self.scan.header, &self.ports) {
            let spans = self.up.iter().map(|&address| (Range::single(address), Arc::clone(ports)));
            let (coverage, settings) =
                (spans.collect::<Coverage>(), Settings { show: Show::ALL, ..Settings::default() });
            self.scan.header = Some(Header { coverage, settings, ..Header::default() });
            self.scan.summary = Some(Summary { outcome: "complete".into(), ..Summary::default() });
        }
        self.scan
    }
}
