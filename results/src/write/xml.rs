//! `xml`: nmap's XML (version 1.05, valid by nmap.dtd), a `host` for each that has answered or of which something is shown, in the order of
//! addresses. What halfopen knows more of the scan stands in processing instructions `<?halfopen ...?>` as JSON records:
//! the DTD allows them anywhere, and other readers pass over them.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::IpAddr;

use super::hosts::{Extra, Told, nmap_reason};
use super::{Document, ServiceNames};
use crate::record::{Record, Verdict};
use crate::scan::Host;

/// The target of our processing instructions.
pub(crate) const INSTRUCTION: &str = "halfopen";

/// nmap's word for a service that it has no name for.
const NAMELESS: &str = "unknown";
/// nmap's confidence in a service that it knows by the port alone.
const BY_PORT: u8 = 3;

/// An `nmaprun`.
#[derive(Debug, Clone)]
pub struct Xml {
    names: ServiceNames,
}

impl Xml {
    /// With the names of ports.
    pub fn new(names: ServiceNames) -> Xml {
        Xml { names }
    }

    fn host(&self, address: IpAddr, host: &Host, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "<host{}{}>", times(host), suspect(host))?;
        writeln!(out, "{}", status(host))?;
        let kind = if address.is_ipv4() { "ipv4" } else { "ipv6" };
        writeln!(out, "<address addr=\"{address}\" addrtype=\"{kind}\"/>\n<hostnames>\n</hostnames>")?;
        if !host.ports.is_empty() || !host.rest.is_empty() {
            self.ports(host, out)?;
        }
        writeln!(out, "</host>")
    }

    fn ports(&self, host: &Host, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "<ports>")?;
        for Extra { state, count, reasons } in host.extra() {
            writeln!(out, "<extraports state=\"{state}\" count=\"{count}\">")?;
            for (reason, count) in reasons {
                writeln!(
                    out,
                    "<extrareasons reason=\"{}\" count=\"{count}\" proto=\"tcp\"/>",
                    text(nmap_reason(reason))
                )?;
            }
            writeln!(out, "</extraports>")?;
        }
        for verdict in host.ports.values() {
            writeln!(out, "{}", self.port(verdict))?;
        }
        writeln!(out, "</ports>")
    }

    fn port(&self, verdict: &Verdict) -> String {
        let Verdict { port, protocol, state, ttl, .. } = verdict;
        let mut line = format!("<port protocol=\"{}\" portid=\"{port}\">", text(protocol));
        let reason = text(nmap_reason(&verdict.reason));
        put(
            &mut line,
            format_args!("<state state=\"{state}\" reason=\"{reason}\" reason_ttl=\"{}\"", ttl.unwrap_or(0)),
        );
        if let Some(sender) = verdict.sender {
            put(&mut line, format_args!(" reason_ip=\"{sender}\""));
        }
        let service = text((self.names)(*port).unwrap_or(NAMELESS));
        put(&mut line, format_args!("/><service name=\"{service}\" method=\"table\" conf=\"{BY_PORT}\"/>"));
        if let Some(suspect) = &verdict.suspect {
            put(&mut line, format_args!("<script id=\"halfopen-suspect\" output=\"{}\"/>", text(suspect)));
        }
        line + "</port>"
    }
}

impl Document for Xml {
    fn write(&self, records: &mut dyn Iterator<Item = io::Result<Record>>, out: &mut dyn Write) -> io::Result<()> {
        let told = Told::new(records)?;
        head(&told, out)?;
        if let Some(header) = &told.scan.header {
            instruction(&Record::Scan(Box::new(header.clone())), out)?;
        }
        told.scan
            .hosts
            .iter()
            .filter(|(_, host)| host.is_told())
            .try_for_each(|(&at, host)| self.host(at, host, out))?;
        if let Some(summary) = &told.scan.summary {
            instruction(&Record::Summary(Box::new(summary.clone())), out)?;
        }
        tail(&told, out)
    }
}

fn head(told: &Told, out: &mut dyn Write) -> io::Result<()> {
    let (version, args) = (text(told.version()), text(&told.command()));
    let (start, ports) = (told.started(), told.ports());
    let method = told.scan.header.as_ref().map(|header| &*header.settings.method);
    let kind = if method == Some("connect") { "connect" } else { "syn" };
    // A reader tells what it has by the first two lines.
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE nmaprun>")?;
    write!(out, "<nmaprun scanner=\"nmap\" args=\"{args}\" start=\"{}\" ", start.as_second())?;
    writeln!(out, "startstr=\"{}\" version=\"{version}\" xmloutputversion=\"1.05\">", told.started_text())?;
    let services = ports.len();
    writeln!(out, "<scaninfo type=\"{kind}\" protocol=\"tcp\" numservices=\"{services}\" services=\"{ports}\"/>")?;
    writeln!(out, "<verbose level=\"0\"/>\n<debugging level=\"0\"/>")
}

fn tail(told: &Told, out: &mut dyn Write) -> io::Result<()> {
    let (ended, at) = (told.ended().as_second(), told.ended_text());
    let (up, down, total) = told.tally();
    let exit = match told.trouble() {
        Some(error) => format!("exit=\"error\" errormsg=\"{}\"", text(&error)),
        None => "exit=\"success\"".into(),
    };
    let summary = format!("halfopen {}; {}", told.end(), told.account());
    write!(out, "<runstats><finished time=\"{ended}\" timestr=\"{at}\" summary=\"{summary}\" ")?;
    writeln!(out, "elapsed=\"{:.2}\" {exit}/><hosts up=\"{up}\" down=\"{down}\" total=\"{total}\"/>", told.elapsed())?;
    writeln!(out, "</runstats>\n</nmaprun>")
}

/// When its first answer came, and the last.
fn times(host: &Host) -> String {
    let seconds = || host.ports.values().map(|verdict| verdict.time.as_second());
    let (first, last) = (seconds().min(), seconds().max());
    first.zip(last).map(|(first, last)| format!(" starttime=\"{first}\" endtime=\"{last}\"")).unwrap_or_default()
}

fn suspect(host: &Host) -> String {
    host.suspect.as_ref().map(|suspect| format!(" comment=\"suspect: {}\"", text(&suspect.reason))).unwrap_or_default()
}

/// What was heard of it first: nmap, too, takes a host for up that nobody has asked whether it is.
fn status(host: &Host) -> String {
    let heard = host.ports.values().filter(|verdict| verdict.ttl.is_some() && verdict.sender.is_none());
    let heard = heard.min_by_key(|verdict| verdict.time);
    let (state, reason, ttl) = match (&host.down, heard) {
        (Some(reason), _) => ("down", &**reason, None),
        (None, Some(verdict)) => ("up", nmap_reason(&verdict.reason), verdict.ttl),
        (None, None) => ("up", "user-set", None),
    };
    format!("<status state=\"{state}\" reason=\"{}\" reason_ttl=\"{}\"/>", text(reason), ttl.unwrap_or(0))
}

/// A record as a processing instruction. Its end must not come before it is over, and some characters must not come
/// at all: both can only be within texts, where JSON has another way to write them.
fn instruction(record: &Record, out: &mut dyn Write) -> io::Result<()> {
    let json = serde_json::to_string(record)?.replace("?>", "?\\u003e");
    let mut plain = String::with_capacity(json.len());
    for c in json.chars() {
        if is_legal(c) { plain.push(c) } else { put(&mut plain, format_args!("\\u{:04x}", u32::from(c))) }
    }
    writeln!(out, "<?{INSTRUCTION} {plain}?>")
}

/// The value of an attribute.
fn text(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\r' | '\t' => put(&mut escaped, format_args!("&#{};", u32::from(c))),
            c => escaped.push(if is_legal(c) { c } else { char::REPLACEMENT_CHARACTER }),
        }
    }
    escaped
}

/// XML 1.0, 2.2: what a document may have.
fn is_legal(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Appends formatted text; a string takes everything.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

#[cfg(test)]
pub(crate) mod tests {
    use quick_xml::XmlVersion;
    use quick_xml::events::Event;

    use super::*;
    use crate::record::Message;
    use crate::scan::samples;

    fn name(port: u16) -> Option<&'static str> {
        [(22, "ssh"), (443, "https")].into_iter().find(|&(known, _)| known == port).map(|(_, name)| name)
    }

    pub(crate) fn document(records: impl IntoIterator<Item = Record>) -> String {
        let mut out = Vec::new();
        Xml::new(name).write(&mut records.into_iter().map(Ok), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_element() {
        let text = document(samples::records().into_iter().chain([samples::rest()]));
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("<?halfopen ")).collect();
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE nmaprun>
<nmaprun scanner="nmap" args="halfopen scan 192.0.2.0/24 2001:db8::7 -p 22-26,443,444" start="1700000000" startstr="Tue Nov 14 22:13:20 2023" version="1.2.3" xmloutputversion="1.05">
<scaninfo type="syn" protocol="tcp" numservices="7" services="22-26,443-444"/>
<verbose level="0"/>
<debugging level="0"/>
<host starttime="1700000000" endtime="1700000000" comment="suspect: every-port"><status state="up" reason="syn-ack" reason_ttl="63"/>
<address addr="192.0.2.7" addrtype="ipv4"/>
<hostnames>
</hostnames>
<ports><extraports state="closed" count="5">
<extrareasons reason="reset" count="5" proto="tcp"/>
</extraports>
<port protocol="tcp" portid="443"><state state="open" reason="syn-ack" reason_ttl="63"/><service name="https" method="table" conf="3"/></port>
<port protocol="tcp" portid="444"><state state="closed" reason="reset" reason_ttl="63"/><service name="unknown" method="table" conf="3"/></port>
</ports>
</host>
<host starttime="1700000000" endtime="1700000000"><status state="up" reason="user-set" reason_ttl="0"/>
<address addr="192.0.2.9" addrtype="ipv4"/>
<hostnames>
</hostnames>
<ports><port protocol="tcp" portid="25"><state state="filtered" reason="admin-prohibited" reason_ttl="63" reason_ip="192.0.2.254"/><service name="unknown" method="table" conf="3"/></port>
<port protocol="tcp" portid="26"><state state="filtered" reason="no-response" reason_ttl="0"/><service name="unknown" method="table" conf="3"/></port>
</ports>
</host>
<host><status state="down" reason="no-arp" reason_ttl="0"/>
<address addr="192.0.2.77" addrtype="ipv4"/>
<hostnames>
</hostnames>
</host>
<host starttime="1700000000" endtime="1700000000" comment="suspect: ttl"><status state="up" reason="syn-ack" reason_ttl="63"/>
<address addr="2001:db8::7" addrtype="ipv6"/>
<hostnames>
</hostnames>
<ports><port protocol="tcp" portid="22"><state state="open" reason="syn-ack" reason_ttl="63"/><service name="ssh" method="table" conf="3"/></port>
</ports>
</host>
<runstats><finished time="1700000006" timestr="Tue Nov 14 22:13:26 2023" summary="halfopen done at Tue Nov 14 22:13:26 2023; 257 IP addresses (256 hosts up) scanned in 6.60 seconds" elapsed="6.60" exit="success"/><hosts up="256" down="1" total="257"/>
</runstats>
</nmaprun>"#;
        assert_eq!(lines, Vec::from_iter(expected.lines()), "{text}");
    }

    /// What a database of hosts and services (as Metasploit's is) takes from nmap's XML: of each host its status and its
    /// addresses by type, of each port its number, protocol, state and service.
    #[derive(Debug, Default, PartialEq)]
    struct Imported {
        state: String,
        addresses: Vec<(String, String)>,
        ports: Vec<[String; 4]>,
    }

    fn imported(text: &str) -> Vec<Imported> {
        let mut xml = quick_xml::Reader::from_str(text);
        let mut hosts: Vec<Imported> = Vec::new();
        loop {
            let (Event::Start(tag) | Event::Empty(tag)) = (match xml.read_event().unwrap() {
                Event::Eof => return hosts,
                event => event,
            }) else {
                continue;
            };
            let value = |name: &str| {
                let found = tag.try_get_attribute(name).unwrap();
                let found = found.unwrap_or_else(|| panic!("no {name} in {tag:?}"));
                found.normalized_value(XmlVersion::Explicit1_0).unwrap().into_owned()
            };
            let name = tag.name().as_ref().to_owned();
            if name == "host" {
                hosts.push(Imported::default());
            }
            let Some(host) = hosts.last_mut() else { continue };
            match (name.as_str(), host.ports.last_mut()) {
                ("status", _) => host.state = value("state"),
                ("address", _) => host.addresses.push((value("addrtype"), value("addr"))),
                ("port", _) => host.ports.push([value("portid"), value("protocol"), String::new(), String::new()]),
                ("state", Some(port)) => port[2] = value("state"),
                ("service", Some(port)) => port[3] = value("name"),
                _ => {}
            }
        }
    }

    #[test]
    fn importers_of_hosts_and_services_find_them() {
        let host = |state: &str, kind: &str, address: &str, ports: &[[&str; 4]]| Imported {
            state: state.into(),
            addresses: vec![(kind.into(), address.into())],
            ports: ports.iter().map(|port| port.map(String::from)).collect(),
        };
        let expected = [
            host("up", "ipv4", "192.0.2.7", &[["443", "tcp", "open", "https"], ["444", "tcp", "closed", NAMELESS]]),
            host(
                "up",
                "ipv4",
                "192.0.2.9",
                &[["25", "tcp", "filtered", NAMELESS], ["26", "tcp", "filtered", NAMELESS]],
            ),
            host("down", "ipv4", "192.0.2.77", &[]),
            host("up", "ipv6", "2001:db8::7", &[["22", "tcp", "open", "ssh"]]),
        ];
        assert_eq!(imported(&document(samples::records())), expected);
    }

    #[test]
    fn a_scan_that_was_stopped_is_no_success() {
        let mut summary = samples::summary();
        summary.outcome = "stopped".into();
        summary.counts.unclassified = 9;
        let text = document([Record::Scan(Box::new(samples::header())), Record::Summary(Box::new(summary))]);
        assert!(text.contains("summary=\"halfopen stopped at Tue Nov 14 22:13:26 2023; "), "{text}");
        let why = "exit=\"error\" errormsg=\"stopped before its end: 9 of 1799 targets have no verdict\"";
        assert!(text.contains(why) && !text.contains("success"), "{text}");
        let read = crate::read::parse(&mut text.as_bytes()).unwrap().unwrap();
        assert_eq!((read.error, &*read.summary.unwrap().outcome), (None, "stopped"));
    }

    #[test]
    fn texts_that_would_end_it() {
        let header = crate::record::Header {
            command: vec!["--exclude".into(), "<&\"'>?>\u{1}\n-->\u{ffff}".into()],
            ..samples::header()
        };
        let error = Record::Error(Message { message: "a < b\u{0}".into() });
        let text = document([Record::Scan(Box::new(header.clone())), error]);
        assert!(text.contains("args=\"--exclude &lt;&amp;&quot;'&gt;?&gt;\u{fffd}&#10;--&gt;\u{fffd}\""), "{text}");
        assert!(text.contains("exit=\"error\" errormsg=\"a &lt; b\u{fffd}\""), "{text}");
        let line = text.lines().find_map(|line| line.strip_prefix("<?halfopen ")).unwrap();
        let json = line.strip_suffix("?>").unwrap();
        assert!(!json.contains("?>") && json.chars().all(is_legal), "{json}");
        assert_eq!(serde_json::from_str::<Record>(json).unwrap(), Record::Scan(Box::new(header)));
    }
}
