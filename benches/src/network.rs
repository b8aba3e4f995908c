//! A network that answers as cheaply as can be: a SYN becomes its own answer by changing bytes in place, and both
//! checksums follow by addition (RFC 1624). No hosts, no delay, no loss: it is there to be subtracted from what the
//! pipeline costs.
//!
//! What it answers hangs on the probe's sequence number, which is a keyed hash and so as good as a draw.

use halfopen::Time;
use halfopen::link::sim::Network;

/// Which probes are answered, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// None.
    Silent,
    /// One in a hundred: SYN-ACK.
    Percent,
    /// All: 1 in 128 SYN-ACK, the others RST.
    Every,
}

/// Where an answer lies until it is taken: a SYN over IPv6 on Ethernet is the longest frame.
type Slot = [u8; 14 + 40 + 24];

/// The network.
#[derive(Debug)]
pub struct Answering {
    answers: Answers,
    waiting: Vec<(Slot, usize)>,
}

const ETHERNET: usize = 14;
/// TCP's data offset of six and five words, and flags.
const SYN: u16 = 0x6002;
const SYN_ACK: u16 = 0x6012;
const RST_ACK: u16 = 0x5014;
const OPTIONS: usize = 4;

impl Answering {
    /// A network that answers these.
    pub fn new(answers: Answers) -> Self {
        Answering { answers, waiting: Vec::with_capacity(256) }
    }

    /// Whether a probe with this sequence number is answered, and if so whether by SYN-ACK.
    #[inline]
    fn answer(&self, seq: u32) -> Option<bool> {
        match self.answers {
            Answers::Silent => None,
            Answers::Percent => (seq < u32::MAX / 100).then_some(true),
            Answers::Every => Some(seq.is_multiple_of(128)),
        }
    }
}

impl Network for Answering {
    #[inline]
    fn send(&mut self, _: Time, frame: &[u8]) {
        let tcp = if frame[12..14] == [0x08, 0x00] { ETHERNET + 20 } else { ETHERNET + 40 };
        let Some(open) = self.answer(u32_at(frame, tcp + 4)) else { return };
        let mut slot = [0; size_of::<Slot>()];
        slot[..frame.len()].copy_from_slice(frame);
        let cut = if open { 0 } else { OPTIONS };
        turn_round(&mut slot, tcp, open);
        self.waiting.push((slot, frame.len() - cut));
    }

    fn next_arrival(&self) -> Option<Time> {
        (!self.waiting.is_empty()).then_some(Time::ZERO)
    }

    #[inline]
    fn receive(&mut self, now: Time, sink: &mut dyn FnMut(Time, &[u8])) {
        self.waiting.drain(..).for_each(|(slot, len)| sink(now, &slot[..len]));
    }
}

/// Makes the answer of the SYN whose TCP header lies at `tcp`.
#[inline]
fn turn_round(frame: &mut Slot, tcp: usize, open: bool) {
    swap(frame, 0, 6, 6);
    let (addresses, len) = if tcp == ETHERNET + 20 { (ETHERNET + 12, 4) } else { (ETHERNET + 8, 16) };
    swap(frame, addresses, addresses + len, len);
    swap(frame, tcp, tcp + 2, 2);
    // The checksum's complement is the sum of all that it covers; what changes is taken out and put in. The sequence
    // number stays: nobody reads the answer's own.
    let seq = u32_at(frame, tcp + 4);
    let mut sum = u64::from(!u16_at(frame, tcp + 16));
    sum += words(seq.wrapping_add(1)) + u64::from(!SYN);
    put(frame, tcp + 8, &seq.wrapping_add(1).to_be_bytes());
    let flags = if open { SYN_ACK } else { RST_ACK };
    put(frame, tcp + 12, &flags.to_be_bytes());
    sum += u64::from(flags);
    if !open {
        sum += u64::from(!u16_at(frame, tcp + 14)) + u64::from(!(OPTIONS as u16));
        sum += u64::from(!u16_at(frame, tcp + 20)) + u64::from(!u16_at(frame, tcp + 22));
        put(frame, tcp + 14, &[0, 0]);
        shorten(frame, tcp);
    }
    put(frame, tcp + 16, &fold(sum).to_be_bytes());
}

/// Takes the options' length out of the IP header.
#[inline]
fn shorten(frame: &mut Slot, tcp: usize) {
    let at = if tcp == ETHERNET + 20 { ETHERNET + 2 } else { ETHERNET + 4 };
    let len = u16_at(frame, at) - OPTIONS as u16;
    put(frame, at, &len.to_be_bytes());
    if tcp == ETHERNET + 20 {
        let sum = u64::from(!u16_at(frame, ETHERNET + 10)) + u64::from(!(OPTIONS as u16));
        put(frame, ETHERNET + 10, &fold(sum).to_be_bytes());
    }
}

#[inline]
fn swap(frame: &mut Slot, one: usize, other: usize, len: usize) {
    let (front, back) = frame.split_at_mut(other);
    front[one..one + len].swap_with_slice(&mut back[..len]);
}

#[inline]
fn put(frame: &mut [u8], at: usize, bytes: &[u8]) {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
}

#[inline]
fn u16_at(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

#[inline]
fn u32_at(frame: &[u8], at: usize) -> u32 {
    u32::from(u16_at(frame, at)) << 16 | u32::from(u16_at(frame, at + 2))
}

#[inline]
fn words(value: u32) -> u64 {
    u64::from(value >> 16) + u64::from(value & 0xffff)
}

#[inline]
fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use halfopen::wire::reply::{Checksum, Layer, Reply, Segment, read};
    use halfopen::wire::syn::{LinkHeader, Probe, SynTemplate};
    use halfopen::{MacAddr, Seq, Target};

    use super::*;

    fn answer(answers: Answers, source: &str, target: &str, seq: u32) -> Option<Vec<u8>> {
        let header = LinkHeader::Ethernet { source: MacAddr([2; 6]), destination: MacAddr([4; 6]) };
        let template = SynTemplate::new(header, source.parse().unwrap(), 40_000);
        let mut frame = template.frame().to_vec();
        let address = target.parse().unwrap();
        template.patch(&mut frame, &Probe { target: Target { address, port: 443 }, seq: Seq(seq), mac: None });
        let mut network = Answering::new(answers);
        network.send(Time(5), &frame);
        let mut received = None;
        network.receive(Time(7), &mut |_, frame| received = Some(frame.to_vec()));
        received
    }

    #[test]
    fn its_answers_are_sound_and_acknowledge() {
        for (source, target) in [("192.0.2.1", "198.51.100.7"), ("2001:db8::1", "2001:db8:5::ffff")] {
            for (seq, kind) in (0..2000)
                .map(|i| i * 0x0010_0401)
                .map(|seq: u32| (seq, if seq.is_multiple_of(128) { Segment::SynAck } else { Segment::Rst }))
            {
                let frame = answer(Answers::Every, source, target, seq).unwrap();
                let Ok(Reply::Tcp(tcp)) = read(Layer::Ethernet, &frame, Checksum::Unknown) else {
                    panic!("{seq}: {frame:x?}")
                };
                assert_eq!((tcp.kind, tcp.ack), (kind, Seq(seq.wrapping_add(1))));
                assert_eq!((tcp.source, tcp.destination), (target.parse().unwrap(), source.parse().unwrap()));
                assert_eq!((tcp.source_port, tcp.destination_port), (443, 40_000));
            }
        }
    }

    #[test]
    fn answers_as_many_as_it_says() {
        let answered = |answers| {
            let seqs = (0..1000).map(|i| i * (u32::MAX / 1000) + 1000);
            seqs.filter(|&seq| answer(answers, "192.0.2.1", "192.0.2.2", seq).is_some()).count()
        };
        assert_eq!([Answers::Silent, Answers::Percent, Answers::Every].map(answered), [0, 10, 1000]);
    }
}
