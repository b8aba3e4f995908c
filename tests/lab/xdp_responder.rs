//! Hosts that answer in the kernel: an XDP program on the far end of a veth pair turns each SYN round where it lies and
//! sends it back, several millions a second on one core. It is there for speed: no ARP, no IPv6, no delay, no loss, one
//! rule for all addresses. Whatever needs more is for [`Responder`](crate::Responder).

mod program;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use halfopen::{State, Target};
use halfopen_bpf::{Error, Mode, Program, WordMap, XdpLink};

use halfopen_phantom::netlink;

use crate::namespace::Namespace;
use program::Word;

/// Which targets answer, and how: a function of address and port alone, known to both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answering {
    /// None.
    Silent,
    /// One in a hundred, and it is open.
    Percent,
    /// All: one in a hundred is open, the others are closed.
    Every,
}

impl Answering {
    /// All kinds.
    pub const ALL: [Answering; 3] = [Answering::Silent, Answering::Percent, Answering::Every];

    /// What a target says; none if it is silent. IPv4 alone.
    pub fn answer(self, target: Target) -> Option<State> {
        let IpAddr::V4(address) = target.address else { return None };
        match (self, program::hash(address, target.port) < program::OPEN_BELOW) {
            (Answering::Silent, _) | (Answering::Percent, false) => None,
            (Answering::Percent | Answering::Every, true) => Some(State::Open),
            (Answering::Every, false) => Some(State::Closed),
        }
    }
}

impl fmt::Display for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Answering::Silent => "none answers",
            Answering::Percent => "1 % answer",
            Answering::Every => "every answers",
        })
    }
}

/// What the responder saw and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct XdpTally {
    /// SYNs received.
    pub syns: u64,
    /// SYN-ACKs sent.
    pub syn_acks: u64,
    /// RSTs sent.
    pub rsts_sent: u64,
    /// RSTs received.
    pub rsts: u64,
    /// Other frames received, and dropped.
    pub other: u64,
    /// The SYNs received up to the last one whose time was taken, which is every 64th.
    pub timed: u64,
    /// From the first SYN to that one, without pauses.
    pub sending: Duration,
    /// How long no 64 SYNs came within 50 ms.
    pub pauses: Duration,
}

impl XdpTally {
    /// SYNs a second while they came; none if they were too few or too slow to be timed.
    pub fn rate(&self) -> Option<f64> {
        (!self.sending.is_zero()).then(|| self.timed as f64 / self.sending.as_secs_f64())
    }
}

/// A responder at work. It stops when this is dropped, and its namespace goes.
#[derive(Debug)]
pub struct XdpResponder {
    words: WordMap,
    program: Program,
    _link: XdpLink,
    namespace: Namespace,
}

impl XdpResponder {
    /// Answers behind `device`, the far end of a [`phantom_link`](crate::phantom_link) whose near end is
    /// [polling](crate::End::polling).
    ///
    /// # Errors
    /// No right to load BPF programs (CAP_BPF, CAP_NET_ADMIN), or no native XDP.
    pub fn on_veth(namespace: Namespace, device: &str, answering: Answering) -> Result<XdpResponder, Error> {
        let words = WordMap::new(Word::COUNT)?;
        let index = namespace.run(|| netlink::index_of(device));
        let index = index.unwrap_or_else(|error| panic!("no {device} in {}: {error}", namespace.name()));
        let program = program::load(answering, index, &words)?;
        let link = namespace.run(|| XdpLink::attach(&program, index, Mode::Native))?;
        Ok(XdpResponder { words, program, _link: link, namespace })
    }

    /// What it saw and did so far.
    pub fn tally(&self) -> XdpTally {
        tally(self.words.words())
    }

    /// Counts from zero again. Nothing may be under way.
    pub fn reset(&self) {
        self.words.words().iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// Where its device is.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its program, to be run on single frames.
    pub fn program(&self) -> &Program {
        &self.program
    }
}

/// The words are counters that stand for themselves: none says anything about other memory, so no order is needed.
fn tally(words: &[AtomicU64]) -> XdpTally {
    let word = |word: Word| words[word as usize].load(Ordering::Relaxed);
    let pauses = word(Word::Pauses);
    let span = word(Word::LastTime).saturating_sub(word(Word::FirstTime));
    XdpTally {
        syns: word(Word::Syns),
        syn_acks: word(Word::SynAcks),
        rsts_sent: word(Word::RstsSent),
        rsts: word(Word::Rsts),
        other: word(Word::Other),
        timed: word(Word::Timed),
        sending: Duration::from_nanos(span.saturating_sub(pauses)),
        pauses: Duration::from_nanos(pauses),
    }
}
