//! The receiving half: takes frames, asks whether they answer one of our probes, and if so what they mean.
//!
//! A state machine without clock, thread or socket. Two questions, two functions:
//!
//! **Ours?** A TCP segment is ours when its acknowledgement proves that its sender saw our SYN: it acknowledges the
//! cookie plus one; a RST may also acknowledge the cookie itself, as some stacks do. A bare SYN (split handshake) that
//! acknowledges nothing has no proof to offer; it is taken only from a target to the very port that probed it, for a
//! position that has been probed. An ICMP error is ours when it quotes our ports and the cookie. Whatever is not ours is
//! counted by kind.
//!
//! **What does it mean?** nmap's rules (`nmap -sS --reason`):
//!
//! | what came | state, reason |
//! |---|---|
//! | SYN-ACK; bare SYN | open, syn-ack; open, syn |
//! | RST, RST-ACK | closed, rst |
//! | ICMP 3 codes 0 1 2 3 9 10 13; ICMPv6 1 codes 0 to 6 | filtered, by its code |
//! | ICMP 11, ICMPv6 3 | filtered, time-exceeded |
//! | nothing, when the stripe is closed | filtered, no-response |

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use crate::counters::{ReceiverCounters, Shared, Turn, add, load, set};
use crate::permute::Stripe;
use crate::rtt::RttEstimator;
use crate::table::Recorded;
use crate::target::{Seq, Target};
use crate::time::Time;
use crate::verdict::{Reason, State, Verdict};
use crate::wire::reply::{self, IcmpReply, Layer, Quote, Reply, Segment, TcpReply, Unusable};
use crate::work::Work;

/// Receives a scan's answers.
pub(crate) struct Receiver {
    work: Arc<Work>,
    shared: Arc<Shared>,
    started: SystemTime,
    rtt: RttEstimator,
    /// The stripe that is open; none while the sender has the table.
    stripe: Option<Stripe>,
    /// How far the closing walk has come.
    closing: u64,
    /// Positions passed over as down in earlier stripes.
    skipped: u64,
}

/// An answer that was proved to be ours.
struct Answer {
    target: Target,
    pass: u8,
    offset: u64,
    meaning: (State, Reason),
    sender: Option<IpAddr>,
    ttl: u8,
}

/// Why a frame is no answer, as the counter that counts it.
type Stray = fn(&ReceiverCounters) -> &AtomicU64;

impl Receiver {
    pub(crate) fn new(work: Arc<Work>, shared: Arc<Shared>, started: SystemTime) -> Self {
        Receiver { work, shared, started, rtt: RttEstimator::default(), stripe: None, closing: 0, skipped: 0 }
    }

    /// Looks whose turn it is with the table; to be called before each batch of frames.
    pub(crate) fn turn(&mut self) -> Turn {
        let turn = self.shared.turn();
        self.stripe = matches!(turn, Turn::Open | Turn::Closing).then(|| self.shared.stripe());
        turn
    }

    /// Takes in one frame; gives the verdict if it brought one that is to be reported.
    pub(crate) fn frame(&mut self, at: Time, layer: Layer, frame: &[u8], verify: bool) -> Option<Verdict> {
        let answer = match reply::read(layer, frame, verify) {
            Ok(Reply::Tcp(tcp)) => self.tcp_is_ours(&tcp, at),
            Ok(Reply::Icmp(icmp)) => self.icmp_is_ours(&icmp),
            Err(_) if reply::is_neighbour_traffic(layer, frame) => return None,
            Err(Unusable::Malformed) => Err(malformed as Stray),
            Err(Unusable::Unrelated) => Err(unrelated as Stray),
        };
        match answer {
            Ok(answer) => self.record(&answer, at),
            Err(stray) => {
                add(stray(&self.shared.receiver), 1);
                None
            }
        }
    }

    fn tcp_is_ours(&self, tcp: &TcpReply, at: Time) -> Result<Answer, Stray> {
        let meaning = tcp_meaning(tcp.kind).ok_or(unrelated as Stray)?;
        let pass = self.work.pass(tcp.destination_port).ok_or(wrong_port as Stray)?;
        if tcp.kind == Segment::Syn && self.is_own_probe(tcp) {
            return Err(own);
        }
        let target = Target { address: tcp.source, port: tcp.source_port };
        let offset = self.offset(target)?;
        let cookie = self.work.cookie.seq(tcp.destination, tcp.destination_port, target);
        let proved = match tcp.kind {
            Segment::Rst => tcp.ack == cookie.next() || tcp.ack == cookie,
            Segment::Syn if tcp.ack == Seq(0) => self.shared.log.sent(pass, offset, at).is_some(),
            _ => tcp.ack == cookie.next(),
        };
        if !proved {
            return Err(bad_ack);
        }
        Ok(Answer { target, pass, offset, meaning, sender: None, ttl: tcp.ttl })
    }

    fn icmp_is_ours(&self, icmp: &IcmpReply) -> Result<Answer, Stray> {
        let meaning = icmp_meaning(icmp).ok_or(unrelated as Stray)?;
        let quote = icmp.quote.ok_or(bad_quote as Stray)?;
        let pass = self.work.pass(quote.source_port).ok_or(bad_quote as Stray)?;
        let target = Target { address: quote.destination, port: quote.destination_port };
        let offset = self.offset(target)?;
        if quote.source != icmp.destination || !self.quotes_the_cookie(&quote, target) {
            return Err(bad_quote);
        }
        Ok(Answer { target, pass, offset, meaning, sender: Some(icmp.sender), ttl: icmp.ttl })
    }

    fn quotes_the_cookie(&self, quote: &Quote, target: Target) -> bool {
        quote.seq == self.work.cookie.seq(quote.source, quote.source_port, target)
    }

    /// On the loopback, a probe to one of our own source ports looks like a bare SYN to us.
    fn is_own_probe(&self, tcp: &TcpReply) -> bool {
        let target = Target { address: tcp.destination, port: tcp.destination_port };
        self.work.pass(tcp.source_port).is_some()
            && tcp.seq == self.work.cookie.seq(tcp.source, tcp.source_port, target)
    }

    /// Where a target stands in the open stripe. What the closing walk has passed is closed.
    fn offset(&self, target: Target) -> Result<u64, Stray> {
        let index = self.work.plan.index(target).ok_or(foreign as Stray)?;
        let position = self.work.permutation.position(index);
        let offset = self.stripe.and_then(|stripe| stripe.offset(position));
        offset.filter(|offset| *offset >= self.closing).ok_or(late as Stray)
    }

    fn record(&mut self, answer: &Answer, at: Time) -> Option<Verdict> {
        let counters = &self.shared.receiver;
        let (state, reason) = answer.meaning;
        add(&counters.replies, 1);
        let supersedes = match self.shared.table.record(answer.offset, state) {
            Recorded::Duplicate => {
                add(&counters.duplicates, 1);
                return None;
            }
            Recorded::First => None,
            Recorded::Stronger { than } => {
                set(counters.of(than), load(counters.of(than)) - 1);
                Some(than)
            }
        };
        add(counters.of(state), 1);
        let sent = self.shared.log.sent(answer.pass, answer.offset, at);
        let rtt = sent.map(|sent| at.since(sent));
        if let (Some(rtt), None) = (rtt, answer.sender) {
            self.learn(rtt);
        }
        // A correction is reported to whoever was told what it corrects.
        let wanted = [Some(state), supersedes].into_iter().flatten().any(|state| self.work.report.wants(state));
        wanted.then(|| Verdict {
            target: answer.target,
            state,
            reason,
            sender: answer.sender,
            ttl: Some(answer.ttl),
            rtt,
            pass: answer.pass,
            time: self.wall(at),
            supersedes,
        })
    }

    /// ICMP errors teach nothing: they come from elsewhere, and rate limits delay them.
    fn learn(&mut self, rtt: std::time::Duration) {
        self.rtt.sample(rtt);
        self.shared.set_wait(self.rtt.wait());
        set(&self.shared.receiver.srtt, self.rtt.smoothed().map_or(0, |srtt| srtt.as_nanos() as u64));
    }

    /// In `Closing`: what has not answered is filtered. Reports at most `most` targets, and hands the table back to the
    /// sender once there are none left.
    pub(crate) fn close(&mut self, now: Time, most: usize, mut emit: impl FnMut(Verdict)) {
        let walked = self.shared.walked();
        if self.work.report.filtered {
            for _ in 0..most {
                match self.shared.table.next_unanswered(self.closing, walked) {
                    Some(offset) => self.close_one(offset, now, &mut emit),
                    None => return self.closed(),
                }
            }
        } else {
            let unanswered = self.shared.table.unanswered(walked);
            let skipped = load(&self.shared.sender.skipped) - self.skipped;
            self.count_silent(unanswered.saturating_sub(skipped));
            self.closed();
        }
    }

    fn close_one(&mut self, offset: u64, now: Time, emit: &mut impl FnMut(Verdict)) {
        self.closing = offset + 1;
        let Some(stripe) = self.stripe else { return };
        let Some((target, egress)) = self.work.target(stripe.position(offset)) else { return };
        if self.work.is_down(target, egress) {
            return;
        }
        self.count_silent(1);
        emit(Verdict {
            target,
            state: State::Filtered,
            reason: Reason::NoResponse,
            sender: None,
            ttl: None,
            rtt: None,
            pass: self.shared.pass(),
            time: self.wall(now),
            supersedes: None,
        });
    }

    fn closed(&mut self) {
        self.closing = 0;
        self.skipped = load(&self.shared.sender.skipped);
        self.stripe = None;
        self.shared.set_turn(Turn::Closed);
    }

    fn count_silent(&self, targets: u64) {
        add(&self.shared.receiver.filtered, targets);
        add(&self.shared.receiver.silent, targets);
    }

    fn wall(&self, at: Time) -> SystemTime {
        self.started + at.since(Time::ZERO)
    }
}

fn tcp_meaning(kind: Segment) -> Option<(State, Reason)> {
    match kind {
        Segment::SynAck => Some((State::Open, Reason::SynAck)),
        Segment::Syn => Some((State::Open, Reason::Syn)),
        Segment::Rst => Some((State::Closed, Reason::Rst)),
        Segment::Other => None,
    }
}

fn icmp_meaning(icmp: &IcmpReply) -> Option<(State, Reason)> {
    let (kind, code) = (icmp.kind, icmp.code);
    let reason = match (icmp.sender, kind, code) {
        (IpAddr::V4(_), 3, 0..=3 | 9 | 10 | 13) | (IpAddr::V4(_), 11, _) => Reason::Icmp { kind, code },
        (IpAddr::V6(_), 1, 0..=6) | (IpAddr::V6(_), 3, _) => Reason::Icmpv6 { kind, code },
        _ => return None,
    };
    Some((State::Filtered, reason))
}

fn malformed(counters: &ReceiverCounters) -> &AtomicU64 {
    &counters.strays.malformed
}

fn unrelated(counters: &ReceiverCounters) -> &AtomicU64 {
    &counters.strays.unrelated
}

fn wrong_port(counters: &ReceiverCounters) -> &AtomicU64 {
    &counters.strays.wrong_port
}

fn foreign(counters: &ReceiverCounters) -> &AtomicU64 {
    &counters.strays.foreign
}

fn bad_ack(counters: &ReceiverCounters) -> &AtomicU64 {
    &counters.strays.bad_ack
}

fn bad_quote(counters: &ReceiverCounters) -> &AtomicU64 {
    &counters.strays.bad_quote
}

fn late(counters: &ReceiverCounters) -> &AtomicU64 {
    &counters.strays.late
}

fn own(counters: &ReceiverCounters) -> &AtomicU64 {
    &counters.strays.own
}
