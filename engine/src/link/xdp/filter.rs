//! The XDP program that hands over to our sockets what could be an answer to us, and leaves everything else to the
//! kernel, which is everybody else's too.
//!
//! Handed over, on plain Ethernet and to the addresses that we probe from: TCP to our source ports in IPv4 that is no fragment and in IPv6, there also behind
//! one extension header of options or routing; ICMP errors (3, 11) and ICMPv6 errors (1, 3) that quote TCP from our
//! source ports. So one filter does what `link/filter.rs` does, with two differences: it looks into what an error
//! quotes, since what it takes the kernel does not see (the error may be about another program's packet); and it leaves
//! ARP and neighbour discovery to the kernel. What is cut short is the kernel's, too.

use std::net::IpAddr;

use halfopen_bpf::assembler::{Alu, Helper, R0, R1, R2, R3, R4, R5, R6, Register, Size, When};
use halfopen_bpf::{Assembler, Instruction, Label, SocketMap, action};

/// Offsets into `struct xdp_md` (linux/bpf.h).
const DATA: i16 = 0;
const DATA_END: i16 = 4;
const RX_QUEUE: i16 = 16;

const ETHERNET: i32 = 14;
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
const TCP: i32 = 6;
const ICMP: i32 = 1;
const ICMPV6: i32 = 58;
/// Hop-by-hop options, routing, destination options (RFC 8200 section 4): their second byte says how long they are.
const EXTENSIONS: [i32; 3] = [0, 43, 60];
/// "More fragments" and the offset; the offset alone.
const FRAGMENT: u16 = 0x3fff;
const OFFSET: u16 = 0x1fff;

/// The context, over the call.
const CONTEXT: Register = R6;
const START: Register = R2;
const END: Register = R3;
/// Where the header in question begins.
const AT: Register = R4;
/// A length, for a while.
const LENGTH: Register = R5;
/// What was read last.
const VALUE: Register = R0;

/// The program for these source addresses and source ports `first..=last`: answers go to the socket of the queue that they
/// arrived in, and to the kernel if there is none.
pub(super) fn program(sources: &[IpAddr], ports: (u16, u16), sockets: &SocketMap) -> Vec<Instruction> {
    assemble(sources, ports, |code| {
        code.mov_map(R1, sockets).load(Size::Word, R2, CONTEXT, RX_QUEUE).mov(R3, action::PASS);
        code.call(Helper::RedirectMap).exit();
    })
}

/// The program; `ours` ends it for what is an answer.
fn assemble(sources: &[IpAddr], (first, last): (u16, u16), ours: impl FnOnce(&mut Assembler)) -> Vec<Instruction> {
    let mut filter = Filter::new();
    filter.begin();
    filter.ipv4(sources);
    filter.ipv6(sources);
    filter.tcp();
    filter.ports(first.into(), last.into());
    ours(&mut filter.code);
    let pass = filter.pass;
    filter.code.place(pass).give(action::PASS);
    filter.code.assemble()
}

/// The program in the making, and the places that its parts jump to.
struct Filter {
    code: Assembler,
    ipv6: Label,
    /// `AT` is where a TCP header begins.
    tcp: Label,
    /// `VALUE` is the port that decides, as it was read.
    port: Label,
    pass: Label,
}

impl Filter {
    fn new() -> Self {
        let mut code = Assembler::new();
        let [ipv6, tcp, port, pass] = [(); 4].map(|()| code.label());
        Filter { code, ipv6, tcp, port, pass }
    }

    /// By protocol; `AT` is where the IP header begins.
    fn begin(&mut self) {
        self.code.mov(CONTEXT, R1).load(Size::Word, START, CONTEXT, DATA).load(Size::Word, END, CONTEXT, DATA_END);
        self.code.mov(AT, START).alu(Alu::Add, AT, ETHERNET);
        self.unless_holds(20);
        self.code.load(Size::Half, VALUE, START, 12);
        self.code.jump_when(VALUE, When::Equal, network_order(ETH_P_IPV6), self.ipv6);
        self.code.jump_when(VALUE, When::NotEqual, network_order(ETH_P_IP), self.pass);
    }

    fn ipv4(&mut self, sources: &[IpAddr]) {
        if !sources.iter().any(IpAddr::is_ipv4) {
            // The verifier does not accept what nobody can reach.
            self.code.jump(self.pass);
            return;
        }
        self.unless_version(0, 4);
        self.unless_to_one_of(sources.iter().filter_map(|source| match source {
            IpAddr::V4(source) => Some(source.octets()),
            IpAddr::V6(_) => None,
        }));
        self.header_length(0);
        self.unless_zero(6, FRAGMENT);
        self.code.load(Size::Byte, VALUE, AT, 9);
        self.code.alu(Alu::Add, AT, LENGTH);
        self.code.jump_when(VALUE, When::Equal, TCP, self.tcp).jump_when(VALUE, When::NotEqual, ICMP, self.pass);
        self.icmp();
    }

    /// The port that a quoted segment was sent from (RFC 792).
    fn icmp(&mut self) {
        let error = self.code.label();
        self.unless_holds(8 + 20);
        self.code.load(Size::Byte, VALUE, AT, 0);
        self.code.jump_when(VALUE, When::Equal, 3, error).jump_when(VALUE, When::NotEqual, 11, self.pass);
        self.code.place(error).alu(Alu::Add, AT, 8);
        self.unless_version(0, 4);
        self.header_length(0);
        self.unless_zero(6, OFFSET);
        self.code.load(Size::Byte, VALUE, AT, 9).jump_when(VALUE, When::NotEqual, TCP, self.pass);
        self.code.alu(Alu::Add, AT, LENGTH);
        self.unless_holds(4);
        self.code.load(Size::Half, VALUE, AT, 0).jump(self.port);
    }

    fn ipv6(&mut self, sources: &[IpAddr]) {
        let [icmp, extension] = [(); 2].map(|()| self.code.label());
        let ipv6 = self.ipv6;
        self.code.place(ipv6);
        if !sources.iter().any(IpAddr::is_ipv6) {
            self.code.jump(self.pass);
            return;
        }
        self.unless_holds(40);
        self.unless_version(0, 6);
        self.unless_to_one_of(sources.iter().filter_map(|source| match source {
            IpAddr::V4(_) => None,
            IpAddr::V6(source) => Some(source.octets()),
        }));
        self.code.load(Size::Byte, VALUE, AT, 6).alu(Alu::Add, AT, 40);
        self.code.jump_when(VALUE, When::Equal, TCP, self.tcp).jump_when(VALUE, When::Equal, ICMPV6, icmp);
        for number in EXTENSIONS {
            self.code.jump_when(VALUE, When::Equal, number, extension);
        }
        self.code.jump(self.pass).place(extension);
        self.extension();
        self.code.place(icmp);
        self.icmpv6();
    }

    fn extension(&mut self) {
        self.unless_holds(2);
        self.code.load(Size::Byte, VALUE, AT, 0).load(Size::Byte, LENGTH, AT, 1);
        self.code.alu(Alu::Add, LENGTH, 1).alu(Alu::Shl, LENGTH, 3).alu(Alu::Add, AT, LENGTH);
        self.code.jump_when(VALUE, When::Equal, TCP, self.tcp).jump(self.pass);
    }

    /// The port that a quoted segment was sent from (RFC 4443). Our probes have no extension headers.
    fn icmpv6(&mut self) {
        let error = self.code.label();
        self.unless_holds(8 + 40 + 4);
        self.code.load(Size::Byte, VALUE, AT, 0);
        self.code.jump_when(VALUE, When::Equal, 1, error).jump_when(VALUE, When::NotEqual, 3, self.pass);
        self.code.place(error);
        self.unless_version(8, 6);
        self.code.load(Size::Byte, VALUE, AT, 8 + 6).jump_when(VALUE, When::NotEqual, TCP, self.pass);
        self.code.load(Size::Half, VALUE, AT, 8 + 40).jump(self.port);
    }

    /// The port that a segment is sent to.
    fn tcp(&mut self) {
        let tcp = self.tcp;
        self.code.place(tcp);
        self.unless_holds(4);
        self.code.load(Size::Half, VALUE, AT, 2);
    }

    /// Goes on if the port is ours.
    fn ports(&mut self, first: i32, last: i32) {
        self.code.place(self.port).big_endian(VALUE, 16);
        self.code.jump_when(VALUE, When::Less, first, self.pass).jump_when(VALUE, When::Greater, last, self.pass);
    }

    /// To the kernel unless the packet is to one of these addresses, of 4 or of 16 bytes: it may be a neighbour's that
    /// passes through, or another address of this machine's.
    fn unless_to_one_of<const LEN: usize>(&mut self, addresses: impl Iterator<Item = [u8; LEN]>) {
        let at = if LEN == 4 { 16 } else { 24 };
        let known = self.code.label();
        for address in addresses {
            let other = self.code.label();
            let (words, _) = address.as_chunks::<4>();
            for (word, offset) in words.iter().zip((at..).step_by(4)) {
                self.code.load(Size::Word, VALUE, AT, offset).mov_wide(LENGTH, u32::from_ne_bytes(*word).into());
                self.code.jump_when(VALUE, When::NotEqual, LENGTH, other);
            }
            self.code.jump(known).place(other);
        }
        self.code.jump(self.pass).place(known);
    }

    /// To the kernel unless so many bytes are there, from `AT` on.
    fn unless_holds(&mut self, bytes: i32) {
        self.code.mov(VALUE, AT).alu(Alu::Add, VALUE, bytes).jump_when(VALUE, When::Greater, END, self.pass);
    }

    /// To the kernel unless a header is of this version of IP.
    fn unless_version(&mut self, offset: i16, version: i32) {
        self.code.load(Size::Byte, VALUE, AT, offset).alu(Alu::Shr, VALUE, 4);
        self.code.jump_when(VALUE, When::NotEqual, version, self.pass);
    }

    /// An IPv4 header's length, in bytes.
    fn header_length(&mut self, offset: i16) {
        self.code.load(Size::Byte, LENGTH, AT, offset).alu(Alu::And, LENGTH, 15).alu(Alu::Shl, LENGTH, 2);
        self.code.jump_when(LENGTH, When::Less, 20, self.pass);
    }

    /// To the kernel unless these bits of a half word are all zero.
    fn unless_zero(&mut self, offset: i16, bits: u16) {
        self.code.load(Size::Half, VALUE, AT, offset);
        self.code.jump_when(VALUE, When::AnyBit, network_order(bits), self.pass);
    }
}

/// What a half word in network order is when it is loaded as it lies.
fn network_order(value: u16) -> i32 {
    value.to_be().into()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use etherparse::PacketBuilder;
    use halfopen_bpf::{Kind, Program};
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;
    use crate::link::filter::tests::{accepts, tcp4};
    use crate::wire::reply::{self, Checksum, Layer, Reply};

    const PORTS: (u16, u16) = (40_000, 40_003);
    const SOURCES: [IpAddr; 4] = [
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        IpAddr::V4(Ipv4Addr::new(2, 2, 2, 2)),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::from_bits(0x0202_0202_0202_0202_0202_0202_0202_0202)),
    ];

    /// The program, loaded, with another end in place of the call, which needs sockets; none where there is no right to.
    fn loaded() -> Option<Program> {
        let code = assemble(&SOURCES, PORTS, |code| {
            code.give(action::REDIRECT);
        });
        match Program::load(Kind::Xdp, "halfopen_test", &code) {
            Err(error) if error.source().kind() == std::io::ErrorKind::PermissionDenied => {
                eprintln!("skipped: BPF programs may not be loaded here");
                None
            }
            program => Some(program.unwrap()),
        }
    }

    fn takes(program: &Program, frame: &[u8]) -> bool {
        let outcome = program.run(frame).unwrap();
        assert_eq!(outcome.frame, frame, "a filter changes nothing");
        match outcome.result as i32 {
            action::REDIRECT => true,
            action::PASS => false,
            other => panic!("action {other}"),
        }
    }

    fn tcp6(port: u16) -> Vec<u8> {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv6([1; 16], [2; 16], 64);
        builder.tcp(80, port, 1, 1).write(&mut frame, &[]).unwrap();
        frame
    }

    /// TCP behind `units` times 8 bytes of an extension header.
    fn extended(extension: u8, behind: u8, units: u8, port: u16) -> Vec<u8> {
        let mut frame = tcp6(port);
        frame[14 + 6] = extension;
        let mut header = vec![behind, units - 1];
        header.resize(usize::from(units) * 8, 0);
        let len = 20 + header.len() as u16;
        frame[14 + 4..14 + 6].copy_from_slice(&len.to_be_bytes());
        frame.splice(14 + 40..14 + 40, header);
        frame
    }

    /// An error about a packet of ours (or not), quoted with so many bytes of its TCP header.
    fn icmp4(kind: u8, from_port: u16, options: &[u8], quoted: usize) -> Vec<u8> {
        let mut probe = tcp4(80, options)[14..].to_vec();
        let tcp = 20 + options.len();
        probe[tcp..tcp + 2].copy_from_slice(&from_port.to_be_bytes());
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([9; 4], [2; 4], 64);
        builder.icmpv4_raw(kind, 1, [0; 4]).write(&mut frame, &probe[..tcp + quoted]).unwrap();
        frame
    }

    fn icmp6(kind: u8, from_port: u16, quoted: usize) -> Vec<u8> {
        let mut probe = tcp6(80)[14..].to_vec();
        probe[40..42].copy_from_slice(&from_port.to_be_bytes());
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv6([9; 16], [2; 16], 64);
        builder.icmpv6_raw(kind, 1, [0; 4]).write(&mut frame, &probe[..40 + quoted]).unwrap();
        frame
    }

    const NEAR: [(u16, bool); 5] = [(39_999, false), (40_000, true), (40_003, true), (40_004, false), (80, false)];

    #[test]
    fn tcp_to_our_ports_only() {
        let Some(program) = loaded() else { return };
        for (port, ours) in NEAR {
            for options in [&[][..], &[1; 4], &[1; 40]] {
                assert_eq!(takes(&program, &tcp4(port, options)), ours, "{port} {}", options.len());
            }
            assert_eq!(takes(&program, &tcp6(port)), ours, "{port}");
            for (extension, units) in [(0, 1), (43, 3), (60, 200)] {
                assert_eq!(takes(&program, &extended(extension, 6, units, port)), ours, "{port} {extension}");
            }
        }
        for (extension, behind) in [(0, 58), (60, 17), (44, 6), (50, 6), (0, 60)] {
            assert!(!takes(&program, &extended(extension, behind, 1, 40_000)), "{extension} {behind}");
        }
    }

    #[test]
    fn errors_about_our_probes_only() {
        let Some(program) = loaded() else { return };
        for kind in 0..=255 {
            for (port, ours) in NEAR {
                assert_eq!(takes(&program, &icmp4(kind, port, &[], 8)), ours && matches!(kind, 3 | 11), "{kind}");
                assert_eq!(takes(&program, &icmp4(kind, port, &[1; 8], 8)), ours && matches!(kind, 3 | 11), "{kind}");
                assert_eq!(takes(&program, &icmp6(kind, port, 20)), ours && matches!(kind, 1 | 3), "{kind}");
            }
        }
        let udp = |mut frame: Vec<u8>, at: usize| {
            frame[at] = 17;
            frame
        };
        assert!(!takes(&program, &udp(icmp4(3, 40_000, &[], 8), 14 + 28 + 9)));
        assert!(!takes(&program, &udp(icmp6(1, 40_000, 8), 14 + 48 + 6)));
    }

    #[test]
    fn the_kernel_keeps_what_is_not_plain_or_not_whole() {
        let Some(program) = loaded() else { return };
        let frame = tcp4(40_000, &[]);
        for (at, value) in [(12, 0x81), (14, 0x65), (14, 0x44), (14 + 6, 0x20), (14 + 7, 1), (14 + 9, 17)] {
            let mut other = frame.clone();
            other[at] = value;
            assert!(!takes(&program, &other), "{at} {value:#x}");
        }
        let arp = [&[0xff; 12][..], &[8, 6], &[0; 28]].concat();
        assert!(!takes(&program, &arp));
        for (frame, needed) in [
            (frame, 14 + 20 + 4),
            (tcp6(40_000), 14 + 40 + 4),
            (extended(0, 6, 2, 40_000), 14 + 40 + 16 + 4),
            (icmp4(3, 40_000, &[], 8), 14 + 20 + 8 + 20 + 4),
            (icmp6(1, 40_000, 8), 14 + 40 + 8 + 40 + 4),
        ] {
            for len in 14..frame.len() {
                assert_eq!(takes(&program, &frame[..len]), len >= needed, "{len} of {}", frame.len());
            }
        }
    }

    /// What the kernel's filter of a packet socket would let through, for the same ports.
    fn classic(frame: &[u8]) -> bool {
        accepts(Layer::Ethernet, u16::from_be_bytes([frame[12], frame[13]]).into(), 0, frame)
    }

    /// Whether a reader finds one of our ports where an answer has it.
    fn reads_as_ours(frame: &[u8]) -> bool {
        let ours = |port: u16| (PORTS.0..=PORTS.1).contains(&port);
        match reply::read(Layer::Ethernet, frame, Checksum::Trusted) {
            Ok(Reply::Tcp(tcp)) => SOURCES.contains(&tcp.destination) && ours(tcp.destination_port),
            Ok(Reply::Icmp(icmp)) => {
                SOURCES.contains(&icmp.destination) && icmp.quote.is_some_and(|quote| ours(quote.source_port))
            }
            Err(_) => false,
        }
    }

    /// On changed and cut frames: what is taken, the packet socket's filter lets through; and of that, what reads as ours
    /// is taken.
    #[test]
    fn random_frames_fare_as_in_the_other_filter() {
        let Some(program) = loaded() else { return };
        let frames = [
            tcp4(40_001, &[]),
            tcp4(40_001, &[1; 8]),
            tcp6(40_002),
            extended(0, 6, 1, 40_000),
            icmp4(3, 40_000, &[], 8),
            icmp4(11, 40_000, &[1; 4], 20),
            icmp6(1, 40_000, 20),
        ];
        let flips = prop::collection::vec((14usize..80, any::<u8>()), 0..3);
        let cases = (0..frames.len(), flips, prop::option::of(14usize..100));
        let mut runner = TestRunner::new(Config { cases: 20_000, ..Config::default() });
        let result = runner.run(&cases, |(which, flips, cut)| {
            let mut frame = frames[which].clone();
            let len = frame.len();
            flips.iter().for_each(|&(at, flip)| frame[at % len] ^= flip);
            frame.truncate(cut.unwrap_or(len));
            let taken = takes(&program, &frame);
            prop_assert!(!taken || classic(&frame));
            prop_assert!(taken || !(classic(&frame) && reads_as_ours(&frame)));
            Ok(())
        });
        result.unwrap();
    }

    #[test]
    fn what_passes_through_or_is_for_another_address_is_left_alone() {
        let Some(program) = loaded() else { return };
        for (frame, destination) in [
            (tcp4(40_000, &[]), 14 + 16..14 + 20),
            (icmp4(3, 40_000, &[], 8), 14 + 16..14 + 20),
            (tcp6(40_000), 14 + 24..14 + 40),
            (icmp6(1, 40_000, 20), 14 + 24..14 + 40),
        ] {
            assert!(takes(&program, &frame));
            for at in destination {
                let mut other = frame.clone();
                other[at] ^= 1;
                assert!(!takes(&program, &other), "{at}");
            }
        }
    }

    #[test]
    fn the_program_for_use_is_accepted_and_leaves_to_the_kernel_what_has_no_socket() {
        if loaded().is_none() {
            return;
        }
        let sockets = SocketMap::new(1).unwrap();
        for sources in [&SOURCES[..], &SOURCES[..2], &SOURCES[2..]] {
            let program = Program::load(Kind::Xdp, "halfopen_test", &program(sources, PORTS, &sockets)).unwrap();
            assert!(!takes(&program, &tcp4(40_000, &[])) && !takes(&program, &tcp6(40_000)));
        }
    }
}
