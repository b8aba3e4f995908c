//! The Internet in as few instructions as will do: a hash of the address says whether it answers, and how far it is. Only
//! what answers is looked at closely, and becomes a frame when it arrives.

use halfopen::link::sim::Network;
use halfopen::{Index, Plan, Time};

use super::wheel::Wheel;

// Where things lie in a probe without IP options, and in its answer.
const ADDRESSES: usize = 14 + 12;
const PORTS: usize = 14 + 20;
const SEQ: usize = PORTS + 4;
const ACK: usize = PORTS + 8;
const FLAGS: usize = PORTS + 12;
const CHECKSUM: usize = PORTS + 16;
const SYN: u16 = 0x002;
const SYN_ACK: u16 = 0x012;
const FRAME: usize = 14 + 20 + 24;

/// Hashes below this answer: one in a hundred.
const ANSWERING: u32 = u32::MAX / 100;

/// The hosts, and their answers on the way.
pub(super) struct Internet {
    seed: u64,
    under_way: Wheel<[u8; FRAME]>,
}

/// A keyed hash of an address: a multiplication and a fold (Lemire, "Strongly universal string hashing is fast", 2014),
/// twice.
#[inline]
fn hash(seed: u64, address: u32) -> u64 {
    let one = (seed ^ u64::from(address)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (one ^ one >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

#[inline]
fn answers(hash: u64) -> bool {
    ((hash >> 32) as u32) < ANSWERING
}

/// A round trip in nanoseconds: 5 to 400 ms, the logarithm spread evenly, so that half are below 45 ms.
fn distance(hash: u64) -> u64 {
    const LEAST: f64 = 5e6;
    const MOST: f64 = 400e6;
    (LEAST * (MOST / LEAST).powf(f64::from(hash as u32) / f64::from(u32::MAX))) as u64
}

/// How many targets of a plan answer.
pub(super) fn open(seed: u64, plan: &Plan) -> u64 {
    let address = |index| match plan.target(Index(index))?.address {
        std::net::IpAddr::V4(address) => Some(address.to_bits()),
        std::net::IpAddr::V6(_) => None,
    };
    (0..plan.len()).filter_map(address).filter(|&address| answers(hash(seed, address))).count() as u64
}

impl Internet {
    pub(super) fn new(seed: u64) -> Internet {
        Internet { seed, under_way: Wheel::new() }
    }

    /// The probe's own bytes, turned into its answer.
    #[cold]
    fn answer(&mut self, now: Time, frame: &[u8], hash: u64) {
        let Ok(mut frame) = <[u8; FRAME]>::try_from(frame) else { return };
        if u16_at(&frame, FLAGS) & 0x3f == SYN {
            turn_round(&mut frame);
            self.under_way.put(now.0 + distance(hash), frame);
        }
    }
}

impl Network for Internet {
    #[inline]
    fn send(&mut self, now: Time, frame: &[u8]) {
        let Some(address) = frame.get(ADDRESSES + 4..ADDRESSES + 8) else { return };
        let hash = hash(self.seed, address.iter().fold(0, |bits, &byte| bits << 8 | u32::from(byte)));
        if answers(hash) {
            self.answer(now, frame, hash);
        }
    }

    fn next_arrival(&self) -> Option<Time> {
        self.under_way.first().map(Time)
    }

    fn receive(&mut self, now: Time, sink: &mut dyn FnMut(Time, &[u8])) {
        self.under_way.take(now.0, |at, frame| sink(Time(at), &frame));
    }
}

/// Swaps both ends and acknowledges. Sums do not care for order, so the checksums change by the flags and the numbers
/// alone (RFC 1624).
fn turn_round(frame: &mut [u8; FRAME]) {
    swap(frame, 0, 6);
    swap(frame, ADDRESSES, 4);
    swap(frame, PORTS, 2);
    let seq = u32::from(u16_at(frame, SEQ)) << 16 | u32::from(u16_at(frame, SEQ + 2));
    let ack = seq.wrapping_add(1);
    let flags = u16_at(frame, FLAGS);
    let mut sum = u64::from(!u16_at(frame, CHECKSUM)) + u64::from(ack >> 16) + u64::from(ack & 0xffff);
    sum += u64::from(!flags) + u64::from(flags & !0x3f | SYN_ACK);
    frame[ACK..ACK + 4].copy_from_slice(&ack.to_be_bytes());
    frame[FLAGS..FLAGS + 2].copy_from_slice(&(flags & !0x3f | SYN_ACK).to_be_bytes());
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[CHECKSUM..CHECKSUM + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// Swaps two neighbours of this length.
fn swap(frame: &mut [u8; FRAME], at: usize, len: usize) {
    let (one, other) = frame[at..at + 2 * len].split_at_mut(len);
    one.swap_with_slice(other);
}

fn u16_at(frame: &[u8; FRAME], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

#[cfg(test)]
mod tests {
    use halfopen::wire::reply::{Checksum, Layer, Reply, Segment, read};
    use halfopen::wire::syn::{LinkHeader, Probe, SynTemplate};
    use halfopen::{MacAddr, Seq, Target};

    use super::*;

    #[test]
    fn one_in_a_hundred_answers_soundly_and_after_its_time() {
        let header = LinkHeader::Ethernet { source: MacAddr([2; 6]), destination: MacAddr([4; 6]) };
        let template = SynTemplate::new(header, [192, 0, 2, 1].into(), 40_000);
        let (mut frame, mut network) = (template.frame().to_vec(), Internet::new(1));
        for bits in 0..100_000_u32 {
            let target = Target { address: std::net::Ipv4Addr::from_bits(bits * 40_000).into(), port: 443 };
            template.patch(&mut frame, &Probe { target, seq: Seq(bits), mac: None });
            network.send(Time::ZERO, &frame);
        }
        let mut times = Vec::new();
        network.receive(Time(500_000_000), &mut |at, frame| {
            let Ok(Reply::Tcp(tcp)) = read(Layer::Ethernet, frame, Checksum::Unknown) else { panic!("{frame:x?}") };
            assert_eq!((tcp.kind, tcp.destination_port, tcp.source_port), (Segment::SynAck, 40_000, 443));
            let std::net::IpAddr::V4(source) = tcp.source else { panic!("{}", tcp.source) };
            assert_eq!(source.to_bits(), (tcp.ack.0 - 1) * 40_000);
            times.push(at.0 as f64 / 1e6);
        });
        assert!((900..1100).contains(&times.len()), "{}", times.len());
        assert!(times[0] >= 5.0 && times[times.len() - 1] <= 400.2, "{times:?}");
        assert!((38.0..52.0).contains(&times[times.len() / 2]), "{}", times[times.len() / 2]);
    }

    #[test]
    fn answers_are_counted_as_they_are_given() {
        let plan = super::super::plan(16).unwrap();
        let open = open(1, &plan);
        assert!((550..760).contains(&open), "{open}");
    }
}
