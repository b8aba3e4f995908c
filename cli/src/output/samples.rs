//! Events and accounts for tests.

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use halfopen::{DownReason, Event, Reason, State, Suspect, Suspicion, Target, Verdict};

use super::Output;
use halfopen_results::Sinks;
use halfopen_results::record::{Completeness, Counts, Estimate, Probes, RateLimit, Settings, Show};

use super::account::Account;
use crate::args::ShowArg;
use crate::settings::{Human, shown};

pub(crate) fn open() -> Verdict {
    verdict("192.0.2.7:443", State::Open, Reason::SynAck)
}

pub(crate) fn closed() -> Verdict {
    verdict("192.0.2.7:444", State::Closed, Reason::Rst)
}

pub(crate) fn open_v6() -> Verdict {
    verdict("[2001:db8::7]:22", State::Open, Reason::SynAck)
}

pub(crate) fn by_icmp() -> Verdict {
    let sender = Some(address("192.0.2.254"));
    Verdict { sender, ..verdict("192.0.2.9:25", State::Filtered, Reason::Icmp { kind: 3, code: 13 }) }
}

pub(crate) fn silent() -> Verdict {
    Verdict { ttl: None, rtt: None, ..verdict("192.0.2.9:26", State::Filtered, Reason::NoResponse) }
}

pub(crate) fn down() -> Event {
    Event::HostDown { address: address("192.0.2.77"), reason: DownReason::NoArp }
}

/// The host of [`open`] accepts everything.
pub(crate) fn suspect() -> Event {
    let reason = Suspect::EveryPort;
    Event::Suspect(Suspicion { address: address("192.0.2.7"), reason, usual_ttl: None })
}

/// Most answers of the host of [`open_v6`] had another TTL.
pub(crate) fn suspect_ttl() -> Event {
    Event::Suspect(Suspicion { address: address("2001:db8::7"), reason: Suspect::Ttl, usual_ttl: Some(50) })
}

/// One of each.
pub(crate) fn events() -> Vec<Event> {
    let verdicts = [open(), closed(), open_v6(), by_icmp(), silent()].map(Event::Verdict);
    verdicts.into_iter().chain([down(), Event::Warning("something is odd".into())]).collect()
}

pub(crate) fn show(states: &str) -> Show {
    let states: Vec<_> = states.split(',').map(|name| ShowArg::from_str(name, false).unwrap()).collect();
    shown(&states).expect("states are named")
}

/// An output in lines that shows what is open.
pub(crate) fn output<W: Write>(sink: W) -> Output<W> {
    Output::of(Some((Human::Lines, sink)), show("open"), false, Sinks::default())
}

/// What a form prints of these events, without an end.
pub(crate) fn printed(form: Human, states: &str, events: &[Event]) -> String {
    let mut written = Vec::new();
    let mut output = Output::of(Some((form, &mut written)), show(states), true, Sinks::default());
    events.iter().try_for_each(|event| output.event(event)).unwrap();
    output.flush().unwrap();
    String::from_utf8(written).unwrap()
}

/// Everything happened at once.
pub(crate) fn account() -> Account {
    Account {
        version: "1.2.3".into(),
        outcome: "complete".into(),
        shard: None,
        started: halfopen_results::time::timestamp(moment()),
        elapsed_us: 6_600_000,
        sending_us: 6_555_000,
        targets: 65_535,
        hosts: 1,
        hosts_down: 0,
        discovery: None,
        suspect_hosts: 0,
        suspects_hidden: 0,
        commands: None,
        blocked: 0,
        excluded: 0,
        unprobed: Default::default(),
        counts: Counts { open: 3, closed: 65_532, filtered: 0, silent: 0, unclassified: 0 },
        probes: Probes { total: 65_540, at_least: false, by_pass: vec![65_535, 5], again: 0, controls: 0, canaries: 0 },
        rate: 9_998.5,
        completeness: Some(Completeness {
            asked: 0.999,
            loss: Some(Estimate { expected: 0.000_08, low: 0.0, high: 0.0002 }),
            missing_open: Some(Estimate { expected: 0.0, low: 0.0, high: 0.0 }),
            missing: Some(Estimate { expected: 0.4, low: 0.0, high: 2.0 }),
            gone: 0,
            passes: 2,
            ended: "complete".into(),
            canaries: 131,
            canaries_lost: 0,
        }),
        replies: 65_535,
        duplicates: 0,
        srtt_us: Some(312),
        strays: [("bad_ack".into(), 0), ("own".into(), 65_540)].into(),
        drops: [("ring".into(), 0), ("send_retries".into(), 0)].into(),
        settings: effective(),
    }
}

fn effective() -> Settings {
    Settings {
        targets: vec!["127.0.0.1".into()],
        input: vec![],
        ports: vec!["-".into()],
        top_ports: None,
        exclude_ports: vec![],
        exclude: vec![],
        exclude_file: vec![],
        blocklist: true,
        rate: RateLimit::Pps(10_000),
        max_rate: None,
        min_rate: None,
        host_rate: RateLimit::Word("auto".into()),
        senders: 1,
        completeness: 0.999,
        max_passes: 10,
        discover: "auto".into(),
        seed: u64::MAX.to_string(),
        cooldown: "auto".into(),
        method: "syn".into(),
        links: vec!["raw_ip@lo".into()],
        interface: None,
        source_ip: vec![],
        source_port: Some(40_000),
        gateway_mac: None,
        memory_limit: 256 << 20,
        show: Show::OPEN,
        controls: true,
        hide_suspect: false,
        filter: None,
    }
}

fn verdict(target: &str, state: State, reason: Reason) -> Verdict {
    let socket: std::net::SocketAddr = target.parse().unwrap();
    Verdict {
        target: Target::from(socket),
        state,
        reason,
        sender: None,
        ttl: Some(63),
        rtt: Some(Duration::from_micros(1500)),
        pass: 1,
        probes: 2,
        time: moment(),
        supersedes: None,
        suspect: None,
    }
}

fn moment() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}
