//! `grepable`: ours, and nmap's. The plan, the account and all ignored states are in comments of ours. What nmap's covers is the
//! hosts whose ports it lists by the ports it says it scanned (`-v`), or else only what is listed: it names one ignored state a
//! host and is silent about more, and of a host whose second line was cut off it says nothing.

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
    /// The hosts whose ports are listed, with those of which nothing is known all the same.
    listed: Vec<(IpAddr, Doubtful)>,
}

/// Ports of a host in nmap's doubtful states.
#[derive(Default)]
struct Doubtful {
    listed: Vec<u16>,
    /// Those that are not listed are in such a state, too.
    ignored: bool,
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
                Some(("Ports", ports)) => {
                    let listed = self.listed(address, ports)?;
                    self.listed.push((address, Doubtful { listed, ignored: false }));
                }
                Some(("Ignored State", ignored)) => self.ignored(address, ignored),
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes what is listed, and gives the ports in doubtful states.
    fn listed(&mut self, address: IpAddr, ports: &str) -> Result<Vec<u16>, String> {
        let mut doubtful = Vec::new();
        for port in ports.split(", ").map(str::trim).filter(|port| !port.is_empty()) {
            let mut parts = port.split('/');
            let number = parts.next().and_then(|number| number.parse().ok());
            let (state, protocol) = (parts.next(), parts.next());
            let (Some(number), Some(state), Some(protocol)) = (number, state, protocol) else {
                return Err(format!("expected port/state/protocol/, found {port}"));
            };
            // Other protocols and nmap's doubtful states are no verdicts of ours.
            match (State::named(state), protocol) {
                (Some(state), "tcp") => self.scan.add(Record::Verdict(Verdict::bare(address, number, state))),
                (None, "tcp") => doubtful.push(number),
                _ => {}
            }
        }
        Ok(doubtful)
    }

    /// `closed (98)`.
    fn ignored(&mut self, address: IpAddr, ignored: &str) {
        let (state, count) = ignored.split_once(' ').unwrap_or((ignored, ""));
        let count = count.trim_matches(['(', ')']).parse().ok();
        match (State::named(state), count) {
            (Some(state), Some(count)) => {
                self.scan.add(Record::Rest(Rest { address, state, reason: "".into(), count }));
            }
            _ => self.listed.last_mut().into_iter().for_each(|(_, doubtful)| doubtful.ignored = true),
        }
    }

    fn done(mut self) -> Scan {
        if let (None, Some(ports)) = (&self.scan.header, &self.ports) {
            let spans = self
                .listed
                .iter()
                .map(|(address, doubtful)| (Range::single(*address), self.covered(*address, doubtful, ports)));
            let coverage = spans.collect::<Coverage>();
            // What is open is listed always.
            let settings = Settings { show: Show::OPEN_DOWN, ..Settings::default() };
            self.scan.header = Some(Header { coverage, settings, ..Header::default() });
            self.scan.summary = Some(Summary { outcome: "complete".into(), ..Summary::default() });
        }
        self.scan
    }

    /// The ports of a host of which something is known.
    fn covered(&self, address: IpAddr, doubtful: &Doubtful, all: &Arc<Ports>) -> Arc<Ports> {
        let single = |port: u16| (port, port);
        match doubtful {
            Doubtful { ignored: true, .. } => {
                let known = self.scan.hosts.get(&address).into_iter().flat_map(|host| host.ports.keys());
                Arc::new(known.copied().map(single).collect())
            }
            Doubtful { listed, .. } if listed.is_empty() => Arc::clone(all),
            Doubtful { listed, .. } => Arc::new(all.without(&listed.iter().copied().map(single).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(hosts: &str) -> Scan {
        let text = format!("# Nmap 7.93 scan initiated as: nmap\n# Ports scanned: TCP(5;22,80-83) UDP(0;)\n{hosts}");
        read(&mut text.as_bytes()).unwrap()
    }

    fn covered(scan: &Scan) -> Option<String> {
        scan.plan().unwrap().ports("192.0.2.7".parse().unwrap()).map(ToString::to_string)
    }

    #[test]
    fn nmap_covers_the_hosts_whose_ports_it_lists() {
        let up = "Host: 192.0.2.7 ()\tStatus: Up\n";
        assert_eq!(covered(&scan(up)), None, "the line of ports may have been cut off");
        let listed = scan(&format!("{up}Host: 192.0.2.7 ()\tPorts: 22/open/tcp//ssh///\tIgnored State: closed (4)\n"));
        assert_eq!(covered(&listed).as_deref(), Some("22,80-83"));
        let ignored = scan(&format!("{up}Host: 192.0.2.7 ()\tPorts: \tIgnored State: closed (5)\n"));
        assert_eq!(covered(&ignored).as_deref(), Some("22,80-83"));
    }

    #[test]
    fn doubtful_states_are_not_covered() {
        let host = |ports: &str| scan(&format!("Host: 192.0.2.7 ()\tPorts: {ports}\n"));
        let one = host("22/open/tcp/////, 80/open|filtered/tcp/////\tIgnored State: closed (3)");
        assert_eq!(covered(&one).as_deref(), Some("22,81-83"));
        let others = host("22/open/tcp/////\tIgnored State: unfiltered (4)");
        assert_eq!(covered(&others).as_deref(), Some("22"));
    }
}
