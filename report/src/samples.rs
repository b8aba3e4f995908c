//! Scans for tests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use halfopen_results::Scan;
use halfopen_results::record::{
    Authorisation, Completeness, Counts, Discovery, Estimate, Header, HostDown, Message, Probes, RateLimit, Record,
    Settings, Show, State, Summary, Suspect, Verdict,
};
use jiff::Timestamp;

pub(crate) fn started() -> Timestamp {
    "2026-01-31T12:00:00Z".parse().unwrap()
}

/// A verdict that came `ms` after the start.
pub(crate) fn verdict(address: &str, port: u16, state: State, ms: u64) -> Record {
    let (reason, rtt_us) = match state {
        State::Open => ("syn-ack", Some(1_000 + 37 * u64::from(port % 100))),
        State::Closed => ("rst", Some(900 + u64::from(port % 100))),
        State::Filtered => ("no-response", None),
    };
    Record::Verdict(Verdict {
        reason: reason.into(),
        rtt_us,
        ttl: rtt_us.map(|_| 63),
        time: started() + Duration::from_millis(ms),
        ..Verdict::bare(address.parse().unwrap(), port, state)
    })
}

pub(crate) fn scan(records: impl IntoIterator<Item = Record>) -> Scan {
    Scan::from_records(records.into_iter().map(Ok)).unwrap()
}

fn settings() -> Settings {
    Settings {
        targets: vec!["192.0.2.0/29".into(), "10.0.0.5".into(), "2001:db8::7".into()],
        ports: vec!["22,23,443,445,3389".into()],
        exclude: vec!["192.0.2.6".into()],
        rate: RateLimit::Word("auto".into()),
        completeness: 0.999,
        discover: "auto".into(),
        seed: "6427309683940046759".into(),
        method: "syn".into(),
        links: vec!["af_packet@eth0".into()],
        show: Show::ALL,
        ..Settings::default()
    }
}

pub(crate) fn header() -> Header {
    Header {
        version: "1.2.3".into(),
        command: ["halfopen", "scan", "192.0.2.0/29", "10.0.0.5", "2001:db8::7"].map(Into::into).into(),
        started: started(),
        targets: 45,
        hosts: 9,
        excluded: 1,
        settings: settings(),
        authorisation: Some(Authorisation { reference: "R-1".into(), contact: "soc@example.org".into() }),
        ..Header::default()
    }
}

pub(crate) fn summary() -> Summary {
    Summary {
        version: "1.2.3".into(),
        outcome: "complete".into(),
        started: started(),
        elapsed_us: 3_200_000,
        targets: 45,
        hosts: 9,
        hosts_down: 1,
        discovery: Some(Discovery {
            hosts: 9,
            alive: 7,
            skipped_hosts: 2,
            skipped_targets: 10,
            ..Discovery::default()
        }),
        suspect_hosts: 1,
        excluded: 1,
        counts: Counts { open: 8, closed: 3, filtered: 19, silent: 18, unclassified: 15 },
        probes: Probes { total: 68, by_pass: vec![45, 23], canaries: 4, ..Probes::default() },
        rate: 21.0,
        completeness: Some(Completeness {
            asked: 0.999,
            loss: Some(Estimate { expected: 0.019, low: 0.001, high: 0.05 }),
            missing_open: Some(Estimate { expected: 0.02, low: 0.0, high: 0.6 }),
            passes: 2,
            ended: "complete".into(),
            ..Completeness::default()
        }),
        replies: 11,
        srtt_us: Some(1_400),
        drops: [("ring".into(), 0), ("device_rx".into(), 17)].into(),
        settings: settings(),
        ..Summary::default()
    }
}

/// Two public hosts, a private one, IPv6, one that is to be doubted, one that is down.
pub(crate) fn small_records() -> Vec<Record> {
    use State::{Closed, Filtered, Open};
    let verdicts = [
        verdict("192.0.2.1", 22, Open, 120),
        verdict("192.0.2.1", 23, Open, 340),
        verdict("192.0.2.1", 443, Closed, 350),
        verdict("192.0.2.2", 443, Open, 1_200),
        verdict("192.0.2.2", 22, Filtered, 3_000),
        verdict("10.0.0.5", 23, Open, 2_100),
        verdict("10.0.0.5", 445, Open, 400),
        verdict("2001:db8::7", 443, Open, 2_900),
        verdict("2001:db8::7", 22, Closed, 700),
        verdict("192.0.2.4", 3389, Open, 800),
        verdict("192.0.2.4", 445, Open, 810),
        verdict("192.0.2.3", 22, Closed, 820),
    ];
    let others = [
        Record::Suspect(Suspect {
            address: "192.0.2.4".parse().unwrap(),
            reason: "every-port".into(),
            usual_ttl: None,
        }),
        Record::HostDown(HostDown { address: "192.0.2.5".parse().unwrap(), reason: "no-arp".into() }),
        Record::Warning(Message { message: "eth0 dropped 17 packets".into() }),
        Record::Summary(Box::new(summary())),
    ];
    [Record::Scan(Box::new(header()))].into_iter().chain(verdicts).chain(others).collect()
}

pub(crate) fn small() -> Scan {
    scan(small_records())
}

/// Everything that a file may say in words, said by somebody who means harm.
pub(crate) fn hostile(words: &str) -> Scan {
    let texts = || vec![words.to_owned()];
    let settings = Settings {
        targets: texts(),
        input: texts(),
        ports: texts(),
        exclude: texts(),
        links: texts(),
        seed: words.into(),
        interface: Some(words.into()),
        filter: Some(words.into()),
        ..settings()
    };
    let shard = Some(words.to_owned());
    let authorisation = Some(Authorisation { reference: words.to_owned(), contact: words.to_owned() });
    let scanner = Some(words.to_owned().into());
    let header = Header {
        scanner,
        version: words.to_owned().into(),
        command: texts(),
        shard,
        settings,
        authorisation,
        ..header()
    };
    let drops = [(words.to_owned().into(), 1)].into();
    let suspect = Suspect { address: "192.0.2.1".parse().unwrap(), reason: words.to_owned().into(), usual_ttl: None };
    let more = [
        Record::Scan(Box::new(header)),
        Record::Suspect(suspect),
        Record::Warning(Message { message: words.into() }),
        Record::Error(Message { message: words.into() }),
        Record::Summary(Box::new(Summary { drops, ..summary() })),
    ];
    scan(small_records().into_iter().chain(more))
}

/// So many findings, most on IPv4, five to a host.
pub(crate) fn large(findings: u32) -> Scan {
    let found = (0..findings).map(|number| {
        let host = number / 5;
        let address: IpAddr = match host % 16 {
            0 => Ipv6Addr::from_bits((0x2001_0db8 << 96) | u128::from(host)).into(),
            _ => Ipv4Addr::from_bits(0x0a00_0000 + host).into(),
        };
        let port = [22, 23, 443, 8080, 40_000 + (host % 1_000) as u16][(number % 5) as usize];
        verdict(&address.to_string(), port, State::Open, u64::from(number % 60_000))
    });
    scan(found)
}
