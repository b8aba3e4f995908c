//! `--output jsonl`: one JSON record a line, told apart by `type`; the last one is the summary (or the error that ended
//! the scan). The mirror types of the library's events are here and in `account`; `JSONL.md` is their schema.

use std::net::IpAddr;

use halfopen::{DownReason, Suspect, Suspicion, Verdict};
use serde::Serialize;

use super::Format;
use super::account::{Account, micros, timestamp};

/// Records, one a line.
pub(super) struct Jsonl;

impl Format for Jsonl {
    fn verdict(&mut self, verdict: &Verdict, out: &mut Vec<u8>) {
        record(&Record::Verdict(VerdictRecord::from(verdict)), out);
    }

    fn host_down(&mut self, address: IpAddr, reason: DownReason, out: &mut Vec<u8>) {
        record(&Record::HostDown { address, reason: reason.name() }, out);
    }

    fn suspect(&mut self, suspicion: &Suspicion, out: &mut Vec<u8>) {
        let Suspicion { address, reason, usual_ttl } = *suspicion;
        record(&Record::Suspect { address, reason: reason.name(), usual_ttl }, out);
    }

    fn warning(&mut self, message: &str, out: &mut Vec<u8>) {
        record(&Record::Warning { message }, out);
    }

    fn end(&mut self, account: &Account, out: &mut Vec<u8>) {
        record(&Record::Summary(account), out);
    }

    fn failure(&mut self, message: &str, out: &mut Vec<u8>) {
        record(&Record::Error { message }, out);
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Record<'a> {
    Verdict(VerdictRecord),
    HostDown {
        address: IpAddr,
        reason: &'static str,
    },
    Suspect {
        address: IpAddr,
        reason: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        usual_ttl: Option<u8>,
    },
    Warning {
        message: &'a str,
    },
    Error {
        message: &'a str,
    },
    Summary(&'a Account),
}

#[derive(Serialize)]
struct VerdictRecord {
    address: IpAddr,
    port: u16,
    protocol: &'static str,
    state: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_us: Option<u64>,
    pass: u8,
    probes: u8,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    supersedes: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suspect: Option<&'static str>,
}

impl From<&Verdict> for VerdictRecord {
    fn from(verdict: &Verdict) -> VerdictRecord {
        VerdictRecord {
            address: verdict.target.address,
            port: verdict.target.port,
            protocol: "tcp",
            state: verdict.state.name(),
            reason: verdict.reason.name(),
            sender: verdict.sender,
            ttl: verdict.ttl,
            rtt_us: verdict.rtt.map(micros),
            pass: verdict.pass,
            probes: verdict.probes,
            time: timestamp(verdict.time),
            supersedes: verdict.supersedes.map(halfopen::State::name),
            suspect: verdict.suspect.map(Suspect::name),
        }
    }
}

/// Appends a record; one that cannot be serialised (there is none) leaves no half line behind.
fn record(record: &Record<'_>, out: &mut Vec<u8>) {
    let before = out.len();
    match serde_json::to_writer(&mut *out, record) {
        Ok(()) => out.push(b'\n'),
        Err(_) => out.truncate(before),
    }
}

#[cfg(test)]
mod tests {
    use halfopen::{Event, State};
    use serde_json::{Value, json};

    use super::super::samples;
    use super::*;

    fn parsed(events: &[Event]) -> Vec<Value> {
        let text = samples::printed(crate::settings::Form::Jsonl, "all", events);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_verdict_with_everything() {
        let verdict = Verdict { supersedes: Some(State::Closed), ..samples::by_icmp() };
        let expected = json!({
            "type": "verdict", "address": "192.0.2.9", "port": 25, "protocol": "tcp", "state": "filtered",
            "reason": "admin-prohibited", "sender": "192.0.2.254", "ttl": 63, "rtt_us": 1500, "pass": 1, "probes": 2,
            "time": "2023-11-14T22:13:20.123456Z", "supersedes": "closed",
        });
        assert_eq!(parsed(&[Event::Verdict(verdict)]), [expected]);
    }

    #[test]
    fn suspects() {
        let verdict = Verdict { suspect: Some(Suspect::Forged), ..samples::open() };
        let records = parsed(&[Event::Verdict(verdict), samples::suspect(), samples::suspect_ttl()]);
        assert_eq!(records[0]["suspect"], "forged");
        assert_eq!(records[1], json!({"type": "suspect", "address": "192.0.2.7", "reason": "every-port"}));
        let ttl = json!({"type": "suspect", "address": "2001:db8::7", "reason": "ttl", "usual_ttl": 50});
        assert_eq!(records[2], ttl);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let expected = json!({
            "type": "verdict", "address": "192.0.2.9", "port": 26, "protocol": "tcp", "state": "filtered",
            "reason": "no-response", "pass": 1, "probes": 2, "time": "2023-11-14T22:13:20.123456Z",
        });
        assert_eq!(parsed(&[Event::Verdict(samples::silent())]), [expected]);
    }

    #[test]
    fn hosts_down_and_warnings() {
        let records = parsed(&[samples::down(), Event::Warning("a \"quoted\"\nword".into())]);
        assert_eq!(records[0], json!({"type": "host_down", "address": "192.0.2.77", "reason": "no-arp"}));
        assert_eq!(records[1], json!({"type": "warning", "message": "a \"quoted\"\nword"}));
    }

    #[test]
    fn the_end() {
        let mut out = Vec::new();
        Jsonl.end(&samples::account(), &mut out);
        Jsonl.failure("eth0 is gone", &mut out);
        let text = String::from_utf8(out).unwrap();
        let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        insta::assert_snapshot!(serde_json::to_string_pretty(&samples::account()).unwrap());
        assert_eq!(records[0]["type"], "summary");
        assert_eq!(records[1], json!({"type": "error", "message": "eth0 is gone"}));
    }

    /// Every field that a record can have is in the schema's tables.
    #[test]
    fn the_schema_names_every_field() {
        let schema = include_str!("../../JSONL.md");
        let mut out = Vec::new();
        Jsonl.end(&samples::account(), &mut out);
        let summary: Value = serde_json::from_slice(&out).unwrap();
        let (supersedes, suspect) = (Some(State::Closed), Some(Suspect::Forged));
        let verdict = Verdict { supersedes, suspect, ..samples::by_icmp() };
        let events = [Event::Verdict(verdict), samples::down(), samples::suspect_ttl(), Event::Warning(String::new())];
        let parts = ["settings", "counts", "probes", "completeness"];
        for record in parsed(&events).iter().chain([&summary]).chain(parts.map(|part| &summary[part])) {
            for field in record.as_object().unwrap().keys() {
                assert!(schema.contains(&format!("`{field}`")), "{field} is not in JSONL.md");
            }
        }
    }
}
