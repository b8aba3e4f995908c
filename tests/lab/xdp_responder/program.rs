//! The program of the XDP responder, instruction by instruction.
//!
//! A SYN becomes its own answer by swapping: link addresses, addresses, ports, sequence and acknowledgement number. None
//! of that changes a sum of 16-bit words, so the IPv4 checksum stays and the TCP checksum follows by what is added: one
//! to the acknowledgement, and the flags (RFC 1624). Length and options stay too; a RST with an MSS option is unusual
//! and valid. A SYN whose checksum is wrong gets an answer whose checksum is as wrong.
//!
//! It leaves by a redirection to the device that it came from. That is XDP_TX by another name, except on veth: there what
//! XDP_TX sends wakes the other end only if that one has an XDP program too (drivers/net/veth.c, `veth_xdp_flush`).

use std::net::Ipv4Addr;

use halfopen_bpf::assembler::{Alu, Assembler, Helper, Label, R0, R1, R2, R3, R4, R6, R7, R8, R9, Size, When};
use halfopen_bpf::{Error, Kind, Program, WordMap, action};

use super::Answering;

/// What stands where in the words that the program shares.
#[derive(Debug, Clone, Copy)]
pub(super) enum Word {
    Syns,
    SynAcks,
    RstsSent,
    Rsts,
    Other,
    /// When the first SYN came, by CLOCK_MONOTONIC in nanoseconds.
    FirstTime,
    LastTime,
    Timed,
    Pauses,
}

impl Word {
    pub(super) const COUNT: usize = Word::Pauses as usize + 1;

    fn offset(self) -> i16 {
        self as i16 * 8
    }
}

/// Hashes below this are open: one in a hundred of 2^32.
pub(super) const OPEN_BELOW: u32 = u32::MAX / 100;
/// An odd number without pattern: 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// Time is taken of every 64th SYN: taking it costs a quarter of what an answer does.
const TIMED_EVERY: i32 = 64;
/// Longer than any scanner's hiccup while it sends (a few milliseconds), shorter than what lies between two passes.
const PAUSE_NS: i32 = 50_000_000;

// Offsets in an IPv4 TCP frame on Ethernet, no IP options.
const MAC_TO: i16 = 0;
const MAC_FROM: i16 = 6;
const ETHERTYPE: i16 = 12;
const IP_VERSION: i16 = 14;
const IP_FRAGMENT: i16 = 20;
const IP_PROTOCOL: i16 = 23;
const IP_FROM: i16 = 26;
const IP_TO: i16 = 30;
const PORT_FROM: i16 = 34;
const PORT_TO: i16 = 36;
const SEQ: i16 = 38;
const ACK: i16 = 42;
const FLAGS: i16 = 47;
const CHECKSUM: i16 = 50;
const HEADERS: i32 = 54;

const SYN: i32 = 0x02;
const RST: i32 = 0x04;
const SYN_ACK: i32 = 0x12;
const RST_ACK: i32 = 0x14;

/// What decides about a target: 32 bits without pattern.
pub(super) fn hash(address: Ipv4Addr, port: u16) -> u32 {
    let target = u64::from(address.to_bits()) << 16 | u64::from(port);
    let mixed = target.wrapping_mul(FACTOR);
    ((mixed ^ mixed >> 32).wrapping_mul(FACTOR) >> 32) as u32
}

/// For a device by its index.
pub(super) fn load(answering: Answering, device: u32, words: &WordMap) -> Result<Program, Error> {
    Program::load(Kind::Xdp, "responder", &Writer::new(device, words).write(answering))
}

/// R6 is the frame, R9 the words, all the way through.
struct Writer<'a> {
    code: Assembler,
    device: u32,
    words: &'a WordMap,
    not_tcp: Label,
    not_syn: Label,
    silent: Label,
    closed: Label,
}

impl Writer<'_> {
    fn new(device: u32, words: &WordMap) -> Writer<'_> {
        let mut code = Assembler::new();
        let [not_tcp, not_syn, silent, closed] = [(); 4].map(|()| code.label());
        Writer { code, device, words, not_tcp, not_syn, silent, closed }
    }

    fn write(mut self, answering: Answering) -> Vec<halfopen_bpf::Instruction> {
        self.is_tcp();
        self.is_syn();
        self.count_syn();
        self.decide(answering);
        if answering != Answering::Silent {
            self.answer(SYN_ACK, Word::SynAcks);
        }
        if answering == Answering::Every {
            self.code.place(self.closed);
            self.answer(RST_ACK, Word::RstsSent);
        }
        self.drop_others();
        self.code.assemble()
    }

    /// Goes on for unfragmented TCP over IPv4 alone.
    fn is_tcp(&mut self) {
        let Writer { code, words, not_tcp, .. } = self;
        // struct xdp_md: data, data_end.
        code.load(Size::Word, R6, R1, 0).load(Size::Word, R7, R1, 4).mov_memory(R9, words, 0);
        code.mov(R2, R6).alu(Alu::Add, R2, HEADERS).jump_when(R2, When::Greater, R7, *not_tcp);
        let ipv4 = i32::from(u16::from_ne_bytes([0x08, 0x00]));
        code.load(Size::Half, R2, R6, ETHERTYPE).jump_when(R2, When::NotEqual, ipv4, *not_tcp);
        code.load(Size::Byte, R2, R6, IP_VERSION).jump_when(R2, When::NotEqual, 0x45, *not_tcp);
        code.load(Size::Byte, R2, R6, IP_PROTOCOL).jump_when(R2, When::NotEqual, 6, *not_tcp);
        let fragment = i32::from(u16::from_ne_bytes([0x3f, 0xff]));
        code.load(Size::Half, R2, R6, IP_FRAGMENT).jump_when(R2, When::AnyBit, fragment, *not_tcp);
    }

    fn is_syn(&mut self) {
        self.code.load(Size::Byte, R2, R6, FLAGS).jump_when(R2, When::NotEqual, SYN, self.not_syn);
    }

    fn count_syn(&mut self) {
        let [first, later, done] = [(); 3].map(|()| self.code.label());
        let code = &mut self.code;
        code.mov(R8, 1).fetch_add(R9, Word::Syns.offset(), R8).alu(Alu::Add, R8, 1);
        // The first, the 65th, ...: R8 is how many there were with this one.
        code.mov(R2, R8).alu(Alu::And, R2, TIMED_EVERY - 1).jump_when(R2, When::NotEqual, 1, done);
        code.call(Helper::Nanoseconds);
        code.load(Size::Double, R1, R9, Word::LastTime.offset()).jump_when(R1, When::Equal, 0, first);
        code.mov(R2, R0).alu(Alu::Sub, R2, R1).jump_when(R2, When::Less, PAUSE_NS, later);
        code.atomic_add(R9, Word::Pauses.offset(), R2).jump(later);
        code.place(first).store(Size::Double, R9, Word::FirstTime.offset(), R0);
        // Those before the one that is timed, so that first and last time span as many.
        code.place(later).store(Size::Double, R9, Word::LastTime.offset(), R0);
        code.alu(Alu::Sub, R8, 1).store(Size::Double, R9, Word::Timed.offset(), R8).place(done);
    }

    /// Goes on for open targets; [`hash`] is the same in Rust.
    fn decide(&mut self, answering: Answering) {
        let otherwise = match answering {
            Answering::Silent => {
                self.code.jump(self.silent);
                return;
            }
            Answering::Percent => self.silent,
            Answering::Every => self.closed,
        };
        let code = &mut self.code;
        code.load(Size::Word, R1, R6, IP_TO).big_endian(R1, 32).alu(Alu::Shl, R1, 16);
        code.load(Size::Half, R2, R6, PORT_TO).big_endian(R2, 16).alu(Alu::Or, R1, R2);
        code.mov_wide(R3, FACTOR).alu(Alu::Mul, R1, R3);
        code.mov(R2, R1).alu(Alu::Shr, R2, 32).alu(Alu::Xor, R1, R2).alu(Alu::Mul, R1, R3).alu(Alu::Shr, R1, 32);
        code.jump_when(R1, When::NotLess, OPEN_BELOW as i32, otherwise);
    }

    /// Turns the frame round, counts it, sends it back.
    fn answer(&mut self, flags: i32, count: Word) {
        self.swap(Size::Word, MAC_TO, MAC_FROM);
        self.swap(Size::Half, MAC_TO + 4, MAC_FROM + 4);
        self.swap(Size::Word, IP_FROM, IP_TO);
        self.swap(Size::Half, PORT_FROM, PORT_TO);
        self.acknowledge(flags);
        let code = &mut self.code;
        code.store(Size::Byte, R6, FLAGS, flags);
        code.mov(R1, 1).atomic_add(R9, count.offset(), R1);
        code.mov(R1, self.device as i32).mov(R2, 0).call(Helper::Redirect).exit();
    }

    fn swap(&mut self, size: Size, one: i16, other: i16) {
        let code = &mut self.code;
        code.load(size, R1, R6, one).load(size, R2, R6, other).store(size, R6, one, R2).store(size, R6, other, R1);
    }

    /// Swaps the numbers, adds one to the acknowledgement, and what changed to the checksum.
    fn acknowledge(&mut self, flags: i32) {
        let no_carry = self.code.label();
        let code = &mut self.code;
        code.load(Size::Word, R1, R6, SEQ).load(Size::Word, R2, R6, ACK).store(Size::Word, R6, SEQ, R2);
        code.big_endian(R1, 32).alu32(Alu::Add, R1, 1);
        // 2^32 is 1 in one's complement of 16 bits: a number that wraps to zero changes no sum.
        code.mov(R3, flags - SYN).jump_when(R1, When::Equal, 0, no_carry).alu(Alu::Add, R3, 1).place(no_carry);
        code.big_endian(R1, 32).store(Size::Word, R6, ACK, R1);
        code.load(Size::Half, R4, R6, CHECKSUM).big_endian(R4, 16).alu(Alu::Xor, R4, 0xffff).alu(Alu::Add, R4, R3);
        code.mov(R3, R4).alu(Alu::Shr, R3, 16).alu(Alu::And, R4, 0xffff).alu(Alu::Add, R4, R3);
        code.alu(Alu::Xor, R4, 0xffff).big_endian(R4, 16).store(Size::Half, R6, CHECKSUM, R4);
    }

    fn drop_others(&mut self) {
        let reset = self.code.label();
        let Writer { code, not_tcp, not_syn, silent, .. } = self;
        code.place(*not_syn).jump_when(R2, When::AnyBit, RST, reset).place(*not_tcp);
        code.mov(R1, 1).atomic_add(R9, Word::Other.offset(), R1).give(action::DROP);
        code.place(reset).mov(R1, 1).atomic_add(R9, Word::Rsts.offset(), R1);
        code.place(*silent).give(action::DROP);
    }
}
