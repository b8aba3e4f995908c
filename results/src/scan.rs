//! A scan as a whole, made of its records: findings by host, the settings, the account. Holds what is shown, so it takes
//! some 300 bytes a finding.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use crate::coverage::Coverage;
use crate::record::{Header, HostDown, Name, Record, Rest, State, Summary, Suspect, Verdict};

/// What a reader says of a last line that it left out.
pub(crate) const CUT: &str = "its last line has no line break, and was left out: it may have been cut off";

/// All that is known of a scan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scan {
    /// What was scanned, and how.
    pub header: Option<Header>,
    /// The findings.
    pub hosts: BTreeMap<IpAddr, Host>,
    /// What there was to know.
    pub warnings: Vec<String>,
    /// The account; none of a scan that failed, or was killed.
    pub summary: Option<Summary>,
    /// What ended it, if it failed.
    pub error: Option<String>,
}

/// What is known of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// The last verdict on each port that has one.
    pub ports: BTreeMap<u16, Verdict>,
    /// How many ports are in states that are not shown, where that is known.
    pub rest: Vec<Rest>,
    /// Why it is down, if it is.
    pub down: Option<Name>,
    /// What speaks against its open ports.
    pub suspect: Option<Suspect>,
}

impl Scan {
    /// Of its records, one after the other.
    pub fn from_records(records: impl IntoIterator<Item = io::Result<Record>>) -> io::Result<Scan> {
        let mut scan = Scan::default();
        records.into_iter().try_for_each(|record| record.map(|record| scan.add(record)))?;
        Ok(scan)
    }

    /// Takes a record.
    pub fn add(&mut self, record: Record) {
        match record {
            Record::Scan(header) => self.header = Some(*header),
            Record::Batch(batch) => self.header.get_or_insert_default().extend(&batch),
            Record::Verdict(verdict) => {
                self.host(verdict.address).ports.insert(verdict.port, verdict);
            }
            Record::HostDown(HostDown { address, reason }) => self.host(address).down = Some(reason),
            Record::Suspect(suspect) => {
                let address = suspect.address;
                self.host(address).suspect = Some(suspect);
            }
            Record::Rest(rest) => self.host(rest.address).rest.push(rest),
            Record::Warning(warning) => self.warnings.push(warning.message),
            Record::Error(error) => self.error = Some(error.message),
            Record::Summary(summary) => self.summary = Some(*summary),
            // What was done with a finding afterwards is no part of the scan.
            Record::Command(_) | Record::Unknown => {}
        }
    }

    fn host(&mut self, address: IpAddr) -> &mut Host {
        self.hosts.entry(address).or_default()
    }

    /// Its records again, in an order of their own: by host.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let header = self.header.iter().map(|header| Record::Scan(Box::new(header.clone())));
        let hosts = self.hosts.iter().flat_map(|(&address, host)| host.records(address));
        let message = |message: &String| crate::record::Message { message: message.clone() };
        let warnings = self.warnings.iter().map(move |text| Record::Warning(message(text)));
        let error = self.error.iter().map(move |text| Record::Error(message(text)));
        let summary = self.summary.iter().map(|summary| Record::Summary(Box::new(summary.clone())));
        header.chain(hosts).chain(warnings).chain(error).chain(summary)
    }

    /// Whether the last line of its file was cut off.
    pub(crate) fn is_cut(&self) -> bool {
        self.warnings.iter().any(|warning| warning == CUT)
    }

    /// The plan; none where the form has no place for it.
    pub fn plan(&self) -> Option<&Coverage> {
        self.header.as_ref().map(|header| &header.coverage)
    }

    /// How many targets are recorded as this.
    pub fn count(&self, state: State) -> u64 {
        let of = |host: &Host| host.ports.values().filter(|verdict| verdict.state == state).count() as u64;
        self.hosts.values().map(of).sum()
    }
}

impl Host {
    /// Whether there is anything to list of it: that it is down, a finding, or that it has answered.
    pub fn is_told(&self) -> bool {
        let answered = |rest: &Rest| rest.count > 0 && rest.reason != "no-response";
        self.down.is_some() || !self.ports.is_empty() || self.rest.iter().any(answered)
    }

    /// How many of its ports are known to be in this state and are not listed.
    pub(crate) fn counted(&self, state: State) -> u64 {
        self.rest.iter().filter(|rest| rest.state == state).map(|rest| u64::from(rest.count)).sum()
    }

    fn records(&self, address: IpAddr) -> impl Iterator<Item = Record> + '_ {
        let down = self.down.iter().map(move |reason| Record::HostDown(HostDown { address, reason: reason.clone() }));
        let ports = self.ports.values().cloned().map(Record::Verdict);
        let suspect = self.suspect.iter().cloned().map(Record::Suspect);
        down.chain(ports).chain(suspect).chain(self.rest.iter().cloned().map(Record::Rest))
    }
}

#[cfg(test)]
pub(crate) mod samples {
    //! Records for tests.

    use std::sync::Arc;

    use super::*;
    use crate::coverage::Ports;
    use crate::record::{
        Authorisation, Completeness, Counts, Discovery, Estimate, Message, Probes, RateLimit, Settings, Show,
    };

    const TIME: &str = "2023-11-14T22:13:20.123456Z";

    fn verdict(address: &str, port: u16, state: State, reason: &'static str) -> Verdict {
        Verdict {
            reason: reason.into(),
            ttl: Some(63),
            rtt_us: Some(1500),
            pass: 1,
            probes: 2,
            time: TIME.parse().unwrap(),
            ..Verdict::bare(address.parse().unwrap(), port, state)
        }
    }

    pub(crate) fn open() -> Verdict {
        verdict("192.0.2.7", 443, State::Open, "syn-ack")
    }

    /// Nothing came of it.
    pub(crate) fn bare() -> Verdict {
        Verdict { ttl: None, rtt_us: None, ..verdict("192.0.2.9", 26, State::Filtered, "no-response") }
    }

    /// With every field.
    pub(crate) fn full() -> Verdict {
        Verdict { supersedes: Some(State::Closed), suspect: Some("ttl".into()), ..by_icmp() }
    }

    fn by_icmp() -> Verdict {
        let sender = Some("192.0.2.254".parse().unwrap());
        Verdict { sender, ..verdict("192.0.2.9", 25, State::Filtered, "admin-prohibited") }
    }

    pub(crate) fn error() -> Record {
        Record::Error(Message { message: "eth0 is gone".into() })
    }

    pub(crate) fn settings() -> Settings {
        Settings {
            targets: vec!["192.0.2.0/24".into(), "2001:db8::7".into()],
            ports: vec!["22-26,443,444".into()],
            blocklist: true,
            rate: RateLimit::Pps(10_000),
            senders: 1,
            completeness: 0.999,
            max_passes: 10,
            discover: "auto".into(),
            seed: u64::MAX.to_string(),
            cooldown: "auto".into(),
            method: "syn".into(),
            links: vec!["raw_ip@lo".into()],
            source_port: Some(40_000),
            memory_limit: 256 << 20,
            show: Show::ALL,
            controls: true,
            filter: Some("port < 1024".into()),
            ..Settings::default()
        }
    }

    pub(crate) fn header() -> Header {
        let ports: Arc<Ports> = Arc::new("22-26,443-444".parse().unwrap());
        let part = |range: &str| (range.parse().unwrap(), Arc::clone(&ports));
        let authorisation = Authorisation { reference: "R-1".into(), contact: "soc@example.org".into() };
        Header {
            scanner: None,
            version: "1.2.3".into(),
            command: ["halfopen", "scan", "192.0.2.0/24", "2001:db8::7", "-p", "22-26,443,444"].map(Into::into).into(),
            started: TIME.parse().unwrap(),
            targets: 257 * 7,
            hosts: 257,
            blocked: 0,
            excluded: 1,
            shard: Some("1/2".into()),
            settings: settings(),
            authorisation: Some(authorisation),
            coverage: [part("192.0.2.0/24"), part("2001:db8::7")].into_iter().collect(),
        }
    }

    pub(crate) fn summary() -> Summary {
        let estimate = |expected| Some(Estimate { expected, low: 0.0, high: 2.0 });
        Summary {
            version: "1.2.3".into(),
            outcome: "complete".into(),
            shard: Some("1/2".into()),
            started: TIME.parse().unwrap(),
            elapsed_us: 6_600_000,
            sending_us: 6_555_000,
            targets: 257 * 7,
            hosts: 257,
            hosts_down: 1,
            discovery: Some(Discovery {
                hosts: 250,
                alive: 250,
                probes: 300,
                elapsed_us: 1_000_000,
                ..Discovery::default()
            }),
            suspect_hosts: 2,
            excluded: 1,
            unprobed: ["192.0.2.77".parse().unwrap()].into_iter().collect(),
            counts: Counts { open: 2, closed: 1, filtered: 1789, silent: 1788, unclassified: 7 },
            probes: Probes { total: 1_805, by_pass: vec![1_799, 6], ..Probes::default() },
            rate: 9_998.5,
            completeness: Some(Completeness {
                asked: 0.999,
                loss: estimate(0.000_08),
                missing_open: estimate(0.0),
                missing: estimate(0.4),
                passes: 2,
                ended: "complete".into(),
                canaries: 131,
                ..Completeness::default()
            }),
            replies: 4,
            srtt_us: Some(312),
            strays: [("bad_ack".into(), 0), ("own".into(), 65_540)].into(),
            drops: [("ring".into(), 0), ("send_retries".into(), 0)].into(),
            settings: settings(),
            ..Summary::default()
        }
    }

    /// One of each.
    pub(crate) fn records() -> Vec<Record> {
        let closed = verdict("192.0.2.7", 444, State::Closed, "rst");
        let v6 = verdict("2001:db8::7", 22, State::Open, "syn-ack");
        let verdicts = [open(), closed, v6, by_icmp(), bare()].map(Record::Verdict);
        let every = Suspect { address: open().address, reason: "every-port".into(), usual_ttl: None };
        let ttl = Suspect { address: "2001:db8::7".parse().unwrap(), reason: "ttl".into(), usual_ttl: Some(50) };
        let down = HostDown { address: "192.0.2.77".parse().unwrap(), reason: "no-arp".into() };
        let others = [
            Record::HostDown(down),
            Record::Suspect(every),
            Record::Suspect(ttl),
            Record::Warning(Message { message: "a \"quoted\"\nword".into() }),
            Record::Summary(Box::new(summary())),
        ];
        [Record::Scan(Box::new(header()))].into_iter().chain(verdicts).chain(others).collect()
    }

    /// What was counted, and not shown.
    pub(crate) fn rest() -> Record {
        Record::Rest(Rest { address: open().address, state: State::Closed, reason: "rst".into(), count: 5 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_make_a_scan_and_come_back() {
        let records: Vec<_> = samples::records().into_iter().chain([samples::rest()]).collect();
        let scan = Scan::from_records(records.clone().into_iter().map(Ok)).unwrap();
        assert_eq!([State::Open, State::Closed, State::Filtered].map(|state| scan.count(state)), [2, 1, 2]);
        assert_eq!(scan.records().count(), records.len());
        assert_eq!(Scan::from_records(scan.records().map(Ok)).unwrap(), scan);
        assert!(records.iter().all(|record| scan.records().any(|again| again == *record)));
    }

    #[test]
    fn a_correction_counts() {
        let mut scan = Scan::default();
        scan.add(Record::Verdict(Verdict { state: State::Filtered, ..samples::open() }));
        scan.add(Record::Verdict(Verdict { supersedes: Some(State::Filtered), ..samples::open() }));
        assert_eq!([scan.count(State::Open), scan.count(State::Filtered)], [1, 0]);
    }
}
