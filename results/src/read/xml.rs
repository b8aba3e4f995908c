//! `xml`: ours, and nmap's. The plan and the account are in processing instructions of ours. What nmap's covers is the hosts
//! that are up by the ports of `scaninfo`; hosts that it does not list are unknown, because it says nothing of those that
//! are down unless asked to (`-v`). States that are no verdict (`open|filtered`) and other protocols are passed over.

use std::io::BufRead;
use std::net::IpAddr;
use std::sync::Arc;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};

use super::Malformed;
use crate::address::Range;
use crate::coverage::Ports;
use crate::record::{Header, HostDown, Record, Rest, Settings, Show, State, Summary, Suspect, Verdict};
use crate::scan::Scan;
use crate::write::jsonl;
use crate::write::xml::INSTRUCTION;

#[derive(Default)]
struct Reader {
    scan: Scan,
    scanner: String,
    version: String,
    started: i64,
    /// Of all hosts.
    ports: Ports,
    covered: Vec<(Range, Arc<Ports>)>,
    host: Option<Host>,
}

/// A host on the way.
#[derive(Default)]
struct Host {
    address: Option<IpAddr>,
    down: Option<String>,
    suspect: Option<String>,
    /// Of it: port, state, and what else is known.
    ports: Vec<Port>,
    extra: Vec<(Option<State>, u32)>,
}

#[derive(Default)]
struct Port {
    number: Option<u16>,
    state: Option<State>,
    reason: String,
    ttl: Option<u8>,
    sender: Option<IpAddr>,
    suspect: Option<String>,
}

pub(super) fn read(from: &mut dyn BufRead) -> Result<Scan, Malformed> {
    let mut xml = quick_xml::Reader::from_reader(from);
    xml.config_mut().check_end_names = true;
    let (mut buffer, mut reader, mut root) = (Vec::new(), Reader::default(), false);
    loop {
        let place = |xml: &quick_xml::Reader<_>| format!("byte {}", xml.buffer_position());
        buffer.clear();
        match xml.read_event_into(&mut buffer) {
            // What is not closed was not finished: hosts that are whole count.
            Ok(Event::Eof) => break,
            Ok(Event::Start(tag) | Event::Empty(tag)) if !root => {
                root = true;
                expect_root(&tag)?;
                reader.open(&tag).map_err(|problem| Malformed::at(0, problem))?;
            }
            Ok(Event::Start(tag) | Event::Empty(tag)) => {
                reader.open(&tag).map_err(|problem| Malformed::at(0, format_args!("{}: {problem}", place(&xml))))?;
            }
            Ok(Event::End(tag)) if tag.name().as_ref() == "host" => reader.close_host(),
            Ok(Event::PI(instruction)) if instruction.target() == INSTRUCTION => {
                let record = jsonl::parse(instruction.content().as_bytes());
                reader.scan.add(record.map_err(|error| Malformed::at(0, format_args!("{}: {error}", place(&xml))))?);
            }
            Ok(_) => {}
            Err(error) => return Err(Malformed::at(0, format_args!("{}: {error}", place(&xml)))),
        }
    }
    Ok(reader.done())
}

fn expect_root(tag: &BytesStart<'_>) -> Result<(), Malformed> {
    let name = tag.name().as_ref().to_owned();
    let problem = format!("expected nmaprun, found {name}");
    if name == "nmaprun" { Ok(()) } else { Err(Malformed::at(0, problem)) }
}

/// An attribute's value, if it has it.
fn value(tag: &BytesStart<'_>, name: &str) -> Result<Option<String>, String> {
    let found = tag.try_get_attribute(name).map_err(|error| error.to_string())?;
    let text = found.map(|found| found.normalized_value(XmlVersion::Explicit1_0).map(std::borrow::Cow::into_owned));
    text.transpose().map_err(|error| error.to_string())
}

/// The same as something else; none if it is none.
fn parsed<T: std::str::FromStr>(tag: &BytesStart<'_>, name: &str) -> Result<Option<T>, String> {
    Ok(value(tag, name)?.and_then(|text| text.parse().ok()))
}

impl Reader {
    fn open(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
        let name = tag.name();
        match (name.as_ref(), &mut self.host) {
            ("nmaprun", _) => {
                self.scanner = value(tag, "scanner")?.unwrap_or_else(|| "nmap".into());
                self.version = value(tag, "version")?.unwrap_or_default();
                self.started = parsed(tag, "start")?.unwrap_or_default();
            }
            ("scaninfo", _) if value(tag, "protocol")?.as_deref() == Some("tcp") => {
                self.ports = self.ports.union(&value(tag, "services")?.unwrap_or_default().parse()?);
            }
            ("host", _) => {
                let suspect = value(tag, "comment")?.and_then(|text| text.strip_prefix("suspect: ").map(str::to_owned));
                self.host = Some(Host { suspect, ..Host::default() });
            }
            // What stopped a scan of our own, its account says.
            ("finished", _) if self.scan.summary.is_none() && value(tag, "exit")?.as_deref() == Some("error") => {
                self.scan.error = Some(value(tag, "errormsg")?.unwrap_or_default());
            }
            (_, Some(host)) => host.open(tag)?,
            _ => {}
        }
        Ok(())
    }

    fn close_host(&mut self) {
        let Some((host, address)) = self.host.take().and_then(|host| host.address.map(|address| (host, address)))
        else {
            return;
        };
        if let Some(reason) = host.down {
            self.scan.add(Record::HostDown(HostDown { address, reason: reason.into() }));
            return;
        }
        self.covered.push((Range::single(address), Arc::new(host.covered(&self.ports))));
        for port in &host.ports {
            port.verdict(address).into_iter().for_each(|verdict| self.scan.add(Record::Verdict(verdict)));
        }
        for (state, count) in host.extra {
            let rest = state.map(|state| Rest { address, state, reason: "".into(), count });
            rest.into_iter().for_each(|rest| self.scan.add(Record::Rest(rest)));
        }
        if let Some(reason) = host.suspect {
            self.scan.add(Record::Suspect(Suspect { address, reason: reason.into(), usual_ttl: None }));
        }
    }

    /// nmap lists a host when it is done with it, so what is covered does not depend on how the scan ended.
    fn done(mut self) -> Scan {
        if self.scan.header.is_none() {
            let header = Header {
                scanner: Some(self.scanner.into()),
                version: self.version.into(),
                started: jiff::Timestamp::from_second(self.started).unwrap_or_default(),
                settings: Settings { show: Show::ALL, ..Settings::default() },
                coverage: self.covered.into_iter().collect(),
                ..Header::default()
            };
            self.scan.header = Some(header);
            self.scan.summary = Some(Summary { outcome: "complete".into(), ..Summary::default() });
        }
        self.scan
    }
}

impl Host {
    fn open(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
        match tag.name().as_ref() {
            "status" if value(tag, "state")?.as_deref() == Some("down") => {
                self.down = Some(value(tag, "reason")?.unwrap_or_default());
            }
            "address" if value(tag, "addrtype")?.as_deref() != Some("mac") => {
                self.address = self.address.or(parsed(tag, "addr")?);
            }
            "extraports" => {
                let state = value(tag, "state")?.as_deref().and_then(State::named);
                self.extra.push((state, parsed(tag, "count")?.unwrap_or_default()));
            }
            "port" => {
                let tcp = value(tag, "protocol")?.as_deref() == Some("tcp");
                let number = if tcp { parsed(tag, "portid")? } else { None };
                self.ports.push(Port { number, ..Port::default() });
            }
            "state" | "script" => self.ports.last_mut().map_or(Ok(()), |port| port.open(tag))?,
            _ => {}
        }
        Ok(())
    }

    /// The ports of which something is known: all, unless some are counted under a state that is no verdict.
    fn covered(&self, all: &Ports) -> Ports {
        let known = |port: &&Port| port.state.is_some();
        let single = |port: &Port| port.number.map(|number| (number, number));
        if self.extra.iter().any(|(state, _)| state.is_none()) {
            return self.ports.iter().filter(known).filter_map(single).collect();
        }
        let doubtful: Ports = self.ports.iter().filter(|port| port.state.is_none()).filter_map(single).collect();
        all.without(&doubtful)
    }
}

impl Port {
    fn open(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
        if tag.name().as_ref() == "script" {
            if value(tag, "id")?.as_deref() == Some("halfopen-suspect") {
                self.suspect = value(tag, "output")?;
            }
            return Ok(());
        }
        self.state = value(tag, "state")?.as_deref().and_then(State::named);
        self.reason = value(tag, "reason")?.unwrap_or_default();
        self.ttl = parsed(tag, "reason_ttl")?.filter(|&ttl| ttl > 0);
        self.sender = parsed(tag, "reason_ip")?;
        Ok(())
    }

    fn verdict(&self, address: IpAddr) -> Option<Verdict> {
        let mut verdict = Verdict::bare(address, self.number?, self.state?);
        verdict.reason = if self.reason == "reset" { "rst".into() } else { self.reason.clone().into() };
        (verdict.ttl, verdict.sender) = (self.ttl, self.sender);
        verdict.suspect = self.suspect.clone().map(Into::into);
        Some(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NMAP: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE nmaprun>
<!-- Nmap 7.93 scan initiated -->
<nmaprun scanner="nmap" args="nmap -sS" start="1700000000" version="7.93" xmloutputversion="1.05">
<scaninfo type="syn" protocol="tcp" numservices="5" services="22,80-83"/>
<scaninfo type="udp" protocol="udp" numservices="1" services="53"/>
<verbose level="0"/>
<host><status state="up" reason="arp-response" reason_ttl="0"/><address addr="192.0.2.7" addrtype="ipv4"/>
<address addr="00:11:22:33:44:55" addrtype="mac" vendor="A &amp; B"/>
<ports><extraports state="closed" count="3"><extrareasons reason="reset" count="3"/></extraports>
<port protocol="tcp" portid="22"><state state="open" reason="syn-ack" reason_ttl="64"/><service name="ssh" method="table" conf="3"/></port>
<port protocol="tcp" portid="80"><state state="open|filtered" reason="no-response" reason_ttl="0"/></port>
<port protocol="udp" portid="53"><state state="open" reason="udp-response" reason_ttl="64"/></port>
</ports></host>
<host><status state="down" reason="no-response" reason_ttl="0"/><address addr="192.0.2.8" addrtype="ipv4"/></host>
<host><status state="up" reason="x" reason_ttl="0"/><address addr="192.0.2.9" addrtype="ipv4"/>
<ports><extraports state="unfiltered" count="5"/></ports>"#;

    #[test]
    fn nmaps_own() {
        for end in ["", "</host></nmaprun>"] {
            let text = format!("{NMAP}{end}");
            let scan = read(&mut text.as_bytes()).unwrap();
            assert_eq!(scan.hosts.len(), 2);
            let header = scan.header.as_ref().unwrap();
            assert_eq!((header.scanner.as_deref(), &*header.version), (Some("nmap"), "7.93"));
            let host = &scan.hosts[&"192.0.2.7".parse().unwrap()];
            assert_eq!(host.ports.keys().copied().collect::<Vec<_>>(), [22]);
            assert_eq!((host.rest[0].state, host.rest[0].count), (State::Closed, 3));
            assert_eq!(scan.hosts[&"192.0.2.8".parse().unwrap()].down.as_deref(), Some("no-response"));
            let plan = scan.plan().unwrap();
            assert_eq!(plan.ports("192.0.2.7".parse().unwrap()).unwrap().to_string(), "22,81-83");
            assert_eq!(plan.targets(), 4, "neither the host that is down nor unfiltered ports are covered");
        }
    }
}
