//! What a scan says, one record after the other: the settings first, then what is found, then the account. These types are
//! the JSON records (`JSONL.md` is their schema) and what every other form is made of. Fields that a reader does not know
//! are ignored, and those that an older program did not write have defaults.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::address::{Addresses, Range};
use crate::coverage::Coverage;
use crate::time::rfc3339;

/// A word from a list that may grow: a reason, a layer.
pub type Name = Cow<'static, str>;

/// One thing that a scan says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Record {
    /// What is scanned, and how: the first record.
    Scan(Box<Header>),
    /// More targets have come in, and are scanned from here on.
    Batch(Box<Batch>),
    /// A target was classified.
    Verdict(Verdict),
    /// A host of the link does not answer.
    HostDown(HostDown),
    /// Something speaks against open ports of a host.
    Suspect(Suspect),
    /// How many ports of a host are in states that are not shown.
    Rest(Rest),
    /// A command that was run for a host is over.
    Command(Command),
    /// Something to know that does not end the scan.
    Warning(Message),
    /// What ended the scan: the last record of one that failed.
    Error(Message),
    /// The account: the last record.
    Summary(Box<Summary>),
    /// Of a type that came later than this program.
    #[serde(other)]
    Unknown,
}

/// What a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Something accepts connections there.
    Open,
    /// The host answers, and nothing listens there.
    Closed,
    /// Nothing came back, or an ICMP error.
    Filtered,
}

impl State {
    /// All of them, in the order in which they are listed.
    pub const ALL: [State; 3] = [State::Open, State::Closed, State::Filtered];

    /// `open`, `closed`, `filtered`.
    pub fn name(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Closed => "closed",
            State::Filtered => "filtered",
        }
    }

    /// The state of that name.
    pub fn named(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What is said of one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Of which host,
    pub address: IpAddr,
    /// and which port.
    pub port: u16,
    /// `tcp`.
    #[serde(default = "tcp")]
    pub protocol: Name,
    /// What it is.
    pub state: State,
    /// Why: `syn-ack`, `rst`, `no-response`, the ICMP error.
    #[serde(default)]
    pub reason: Name,
    /// Who sent the ICMP error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<IpAddr>,
    /// TTL or hop limit of the answer as it arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// From the probe to its answer, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<u64>,
    /// The pass whose probe was answered, from 0.
    #[serde(default)]
    pub pass: u8,
    /// How often it was probed until then.
    #[serde(default)]
    pub probes: u8,
    /// When the answer arrived.
    #[serde(default, with = "rfc3339")]
    pub time: Timestamp,
    /// The state reported before, if this corrects it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<State>,
    /// What speaks against the answer, as far as that was known when it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspect: Option<Name>,
}

/// The only protocol there is.
pub(crate) fn tcp() -> Name {
    "tcp".into()
}

impl Verdict {
    /// A verdict of which no more is known than this.
    pub fn bare(address: IpAddr, port: u16, state: State) -> Verdict {
        Verdict {
            address,
            port,
            protocol: tcp(),
            state,
            reason: Name::default(),
            sender: None,
            ttl: None,
            rtt_us: None,
            pass: 0,
            probes: 0,
            time: Timestamp::UNIX_EPOCH,
            supersedes: None,
            suspect: None,
        }
    }
}

/// A host of the link that does not answer: its ports were not probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDown {
    /// The host.
    pub address: IpAddr,
    /// `no-arp`, `no-nd`.
    #[serde(default)]
    pub reason: Name,
}

/// What speaks against open ports of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// The host.
    pub address: IpAddr,
    /// `every-port`, `forged`, `ttl`.
    #[serde(default)]
    pub reason: Name,
    /// Under `ttl`: the TTL of its other answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_ttl: Option<u8>,
}

/// How many ports of a host are in a state that is not shown, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest {
    /// The host.
    pub address: IpAddr,
    /// Their state.
    pub state: State,
    /// The reason for it.
    #[serde(default)]
    pub reason: Name,
    /// How many.
    pub count: u32,
}

/// A command that was run for a host, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The host.
    pub address: IpAddr,
    /// The ports that it was about.
    pub ports: Vec<u16>,
    /// The command with its arguments.
    pub words: Vec<String>,
    /// Its exit code, if it ended by itself.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// How it ended, in words.
    #[serde(default)]
    pub end: String,
    /// How long it took.
    #[serde(default)]
    pub elapsed_us: u64,
    /// What it printed.
    #[serde(default)]
    pub printed: String,
}

/// The commands that were run for hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Commands {
    /// Those that were run.
    pub run: u64,
    /// Of these, those that failed.
    pub failed: u64,
    /// Those that were not begun, because of an interruption.
    pub left: u64,
}

/// One sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The sentence.
    pub message: String,
}

/// Which findings an output has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Show {
    /// Open ports.
    pub open: bool,
    /// Closed ports.
    pub closed: bool,
    /// Filtered ports.
    pub filtered: bool,
    /// Hosts that are down.
    pub down: bool,
}

impl Show {
    /// Nothing.
    pub const NONE: Show = Show { open: false, closed: false, filtered: false, down: false };
    /// What is open.
    pub const OPEN: Show = Show { open: true, ..Show::NONE };
    /// What is open, and hosts that are down.
    pub const OPEN_DOWN: Show = Show { open: true, down: true, ..Show::NONE };
    /// Everything.
    pub const ALL: Show = Show { open: true, closed: true, filtered: true, down: true };

    /// Whether targets of this state are shown.
    pub fn state(self, state: State) -> bool {
        match state {
            State::Open => self.open,
            State::Closed => self.closed,
            State::Filtered => self.filtered,
        }
    }

    /// What is shown by either.
    pub fn with(self, other: Show) -> Show {
        Show {
            open: self.open || other.open,
            closed: self.closed || other.closed,
            filtered: self.filtered || other.filtered,
            down: self.down || other.down,
        }
    }

    /// Whether a verdict is shown: a correction is when what it corrects was.
    pub fn verdict(self, verdict: &Verdict) -> bool {
        self.state(verdict.state) || verdict.supersedes.is_some_and(|before| self.state(before))
    }

    /// What is shown, by name.
    pub fn names(self) -> Vec<&'static str> {
        let states = State::ALL.into_iter().filter(|&state| self.state(state)).map(State::name);
        states.chain(self.down.then_some("down")).collect()
    }
}

/// That of the JSON forms.
impl Default for Show {
    fn default() -> Show {
        Show::OPEN_DOWN
    }
}

/// A list of names.
impl Serialize for Show {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.names().serialize(to)
    }
}

impl<'de> Deserialize<'de> for Show {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Show, D::Error> {
        let names = Vec::<Name>::deserialize(from)?;
        let has = |name: &str| names.iter().any(|listed| listed == name);
        Ok(Show { open: has("open"), closed: has("closed"), filtered: has("filtered"), down: has("down") })
    }
}

/// What is scanned, and how.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// Which program it was, where it was not halfopen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scanner: Option<Name>,
    /// Of the program.
    pub version: Name,
    /// The command line.
    pub command: Vec<String>,
    /// When the scan began.
    #[serde(with = "rfc3339")]
    pub started: Timestamp,
    /// (address, port) pairs in the plan.
    pub targets: u64,
    /// Addresses in the plan.
    pub hosts: u64,
    /// Addresses removed by the built-in blocklist,
    pub blocked: u64,
    /// and by exclusions.
    pub excluded: u64,
    /// Which part of the plan this scan is about, as `--shard` takes it, where it is not all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// The settings in effect.
    pub settings: Settings,
    /// By whose authorisation it is made, where a scope says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorisation: Option<Authorisation>,
    /// The plan: which ports of which addresses.
    pub coverage: Coverage,
}

/// Targets that came in while the scan was running: they add to those of the header.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Batch {
    /// When their scan began.
    #[serde(with = "rfc3339")]
    pub started: Timestamp,
    /// (address, port) pairs; none of them was in the plan before.
    pub targets: u64,
    /// Addresses that were not in the plan before.
    pub hosts: u64,
    /// Addresses removed by the built-in blocklist,
    pub blocked: u64,
    /// and by exclusions.
    pub excluded: u64,
    /// Which ports of which addresses.
    pub coverage: Coverage,
}

impl Header {
    /// Takes in what has come later.
    pub fn extend(&mut self, batch: &Batch) {
        self.targets = self.targets.saturating_add(batch.targets);
        self.hosts = self.hosts.saturating_add(batch.hosts);
        self.blocked = self.blocked.saturating_add(batch.blocked);
        self.excluded = self.excluded.saturating_add(batch.excluded);
        self.coverage = self.coverage.union(&batch.coverage);
    }
}

/// What allows a scan, as its scope names it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Authorisation {
    /// Of the authorisation: a contract, a ticket.
    pub reference: String,
    /// Whom to ask.
    pub contact: String,
}

/// The settings in effect.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// As typed, as are the next six.
    pub targets: Vec<String>,
    /// Files of targets.
    pub input: Vec<String>,
    /// Ports.
    pub ports: Vec<String>,
    /// How many of the ranked ports.
    pub top_ports: Option<u16>,
    /// Ports that were left out everywhere.
    pub exclude_ports: Vec<String>,
    /// Exclusions.
    pub exclude: Vec<String>,
    /// Files of exclusions.
    pub exclude_file: Vec<String>,
    /// Whether the built-in blocklist was in effect.
    pub blocklist: bool,
    /// The limit.
    pub rate: RateLimit,
    /// Bounds of `auto`, probes a second.
    pub max_rate: Option<u64>,
    /// The lower one.
    pub min_rate: Option<u64>,
    /// What a host gets at most.
    pub host_rate: RateLimit,
    /// Threads that send.
    pub senders: u8,
    /// The share of answers that is asked for.
    pub completeness: f64,
    /// How often a target is probed at most.
    pub max_passes: u8,
    /// `auto`, `on`, `off`.
    pub discover: Name,
    /// A text: numbers in JSON are exact to 2^53 only.
    pub seed: String,
    /// `auto`, or a time.
    pub cooldown: String,
    /// `syn`, `connect`.
    pub method: Name,
    /// `kind@interface`.
    pub links: Vec<String>,
    /// As typed, as are the next.
    pub interface: Option<String>,
    /// Source addresses.
    pub source_ip: Vec<IpAddr>,
    /// Of pass 0.
    pub source_port: Option<u16>,
    /// The gateway's link address.
    pub gateway_mac: Option<String>,
    /// In bytes.
    pub memory_limit: u64,
    /// Which findings there are.
    pub show: Show,
    /// Whether questionable hosts are asked at random ports.
    pub controls: bool,
    /// Whether suspect ports are left out.
    pub hide_suspect: bool,
    /// Which verdicts there are, if not all of those shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

/// Probes a second, or a word: `auto`, `max`, `none`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RateLimit {
    /// Probes a second.
    Pps(u64),
    /// What else there is.
    Word(Name),
}

impl Default for RateLimit {
    fn default() -> RateLimit {
        RateLimit::Word("auto".into())
    }
}

/// The account of a scan that is over.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Of the program.
    pub version: Name,
    /// `complete` or `stopped`.
    pub outcome: Name,
    /// Which part of the plan it was about, as in the header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// When the scan began.
    #[serde(with = "rfc3339")]
    pub started: Timestamp,
    /// From the beginning to the end.
    pub elapsed_us: u64,
    /// Of this, in passes.
    pub sending_us: u64,
    /// (address, port) pairs in the plan.
    pub targets: u64,
    /// Addresses in the plan.
    pub hosts: u64,
    /// Hosts of the link that do not answer.
    pub hosts_down: u64,
    /// What looking for hosts came to.
    pub discovery: Option<Discovery>,
    /// Hosts with open ports that something speaks against.
    pub suspect_hosts: u64,
    /// Open ports that were left out because of that.
    pub suspects_hidden: u64,
    /// Commands that were run for hosts; none where none were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commands: Option<Commands>,
    /// Addresses removed by the blocklist.
    pub blocked: u64,
    /// Addresses removed by exclusions.
    pub excluded: u64,
    /// Addresses of which no port was probed: hosts that are down, or were skipped (those unless there are too many ranges).
    pub unprobed: Addresses,
    /// Targets by what was found.
    pub counts: Counts,
    /// Probes sent.
    pub probes: Probes,
    /// Probes a second while sending.
    pub rate: f64,
    /// None for a connect scan.
    pub completeness: Option<Completeness>,
    /// Answers to our probes, duplicates included.
    pub replies: u64,
    /// Of these, those that changed nothing.
    pub duplicates: u64,
    /// Smoothed round-trip time.
    pub srtt_us: Option<u64>,
    /// What arrived and was not ours, by kind.
    pub strays: BTreeMap<Name, u64>,
    /// What was lost on this side, by layer.
    pub drops: BTreeMap<Name, u64>,
    /// The settings in effect.
    pub settings: Settings,
}

impl Summary {
    /// Whether every host that was not probed is named: those that were skipped are not, where that takes too many ranges.
    pub fn names_unprobed(&self) -> bool {
        let skipped = self.discovery.as_ref().map_or(0, |found| found.skipped_hosts);
        let named = || self.unprobed.ranges().iter().map(Range::len).fold(0, u128::saturating_add);
        skipped == 0 || named() >= u128::from(skipped) + u128::from(self.hosts_down)
    }
}

/// The hosts that were looked for first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Discovery {
    /// Hosts that were asked.
    pub hosts: u64,
    /// Of these, those that answered.
    pub alive: u64,
    /// Those that did not, and were not scanned.
    pub skipped_hosts: u64,
    /// Their targets; they are among the unclassified.
    pub skipped_targets: u64,
    /// Probes sent.
    pub probes: u64,
    /// How long it took.
    pub elapsed_us: u64,
}

/// Targets by what was found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Found open,
    pub open: u64,
    /// closed,
    pub closed: u64,
    /// filtered.
    pub filtered: u64,
    /// Of the filtered: those that said nothing.
    pub silent: u64,
    /// Without a verdict.
    pub unclassified: u64,
}

/// Probes sent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Probes {
    /// All of them.
    pub total: u64,
    /// Whether there were more: the scan was resumed after a run that was killed, and what that run sent and heard after
    /// its last checkpoint is not counted, here or elsewhere in the account.
    #[serde(skip_serializing_if = "is_false")]
    pub at_least: bool,
    /// Pass 0 first.
    pub by_pass: Vec<u64>,
    /// Once more within a pass, because something was dropped on this side.
    pub again: u64,
    /// To control ports of questionable hosts.
    pub controls: u64,
    /// To targets that had answered, to measure the loss.
    pub canaries: u64,
}

// As serde asks for it.
#[expect(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}

/// How complete the result is, by what was measured.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Completeness {
    /// The share of answers that was asked for.
    pub asked: f64,
    /// Of the probes to targets that answer: the share that was lost.
    pub loss: Option<Estimate>,
    /// Open ports not found.
    pub missing_open: Option<Estimate>,
    /// Open and closed ports not heard.
    pub missing: Option<Estimate>,
    /// Prefixes that had stopped to answer by the end.
    pub gone: u64,
    /// Passes made.
    pub passes: u8,
    /// Why there were no more.
    pub ended: Name,
    /// Probes sent to measure the loss,
    pub canaries: u64,
    /// and those not answered.
    pub canaries_lost: u64,
}

/// With its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Estimate {
    /// The likeliest value.
    pub expected: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_later_is_ignored() {
        let read = |text| serde_json::from_str::<Record>(text).unwrap();
        assert_eq!(read(r#"{"type":"banner","text":"x"}"#), Record::Unknown);
        let verdict = read(r#"{"type":"verdict","address":"192.0.2.7","port":1,"state":"open","mood":"good"}"#);
        assert_eq!(verdict, Record::Verdict(Verdict::bare("192.0.2.7".parse().unwrap(), 1, State::Open)));
        let Record::Summary(summary) = read(r#"{"type":"summary","counts":{"open":3}}"#) else { panic!() };
        assert_eq!((summary.counts.open, summary.counts.closed), (3, 0));
    }

    #[test]
    fn a_verdict_needs_a_target_and_a_state() {
        for text in [
            r#"{"type":"verdict","port":1,"state":"open"}"#,
            r#"{"type":"verdict","address":"192.0.2.7","state":"open"}"#,
            r#"{"type":"verdict","address":"192.0.2.7","port":1}"#,
            r#"{"type":"verdict","address":"192.0.2.7","port":65536,"state":"open"}"#,
            r#"{"type":"verdict","address":"192.0.2.7","port":1,"state":"ajar"}"#,
            r#"{"address":"192.0.2.7","port":1,"state":"open"}"#,
        ] {
            assert!(serde_json::from_str::<Record>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for show in [Show::NONE, Show::OPEN, Show::OPEN_DOWN, Show::ALL] {
            let text = serde_json::to_string(&show).unwrap();
            assert_eq!(serde_json::from_str::<Show>(&text).unwrap(), show, "{text}");
        }
        assert_eq!(Show::ALL.names(), ["open", "closed", "filtered", "down"]);
    }
}
