//! The classic BPF program that the kernel runs on every frame of a receive socket: it lets through what could be an
//! answer to us, so that a busy machine's other traffic costs us nothing.
//!
//! Let through: TCP to our source ports; ICMP errors (3, 11) and ICMPv6 errors (1, 3); TCP behind one IPv6 extension
//! header (but not what else stands there: every link has its multicast listener reports); on Ethernet ARP replies and neighbour advertisements (136), which the sweep waits for;
//! and where hosts are looked for, echo replies (ICMP 0, ICMPv6 129). Whether an error quotes one of our probes is looked at in user space: it takes the cookie.
//!
//! Loads are relative to where the socket's frames begin; the protocol comes from the kernel's own field, so that a
//! stripped VLAN tag does not matter. Numbers: linux/filter.h, linux/if_packet.h, linux/if_ether.h, linux/in.h.

use socket2::SockFilter;

use crate::wire::reply::Layer;

/// Where ancillary data begins (`SKF_AD_OFF`); the protocol and the packet type are at 0 and 4 from there.
const ANCILLARY: u32 = 0xffff_f000;
const PROTOCOL: u32 = ANCILLARY;
const PACKET_TYPE: u32 = ANCILLARY + 4;
/// `PACKET_OUTGOING`: a frame that this machine sent.
const OUTGOING: u32 = 4;

const ETH_P_IP: u32 = 0x0800;
const ETH_P_ARP: u32 = 0x0806;
const ETH_P_IPV6: u32 = 0x86dd;

/// As much of a frame as there is.
const WHOLE: u32 = 0x0004_0000;

/// The program for frames that begin at `layer`, and source ports `first..=last`; with `echo` for echo replies, too.
pub(crate) fn program(layer: Layer, (first, last): (u16, u16), echo: bool) -> Vec<Op> {
    let ip = if layer == Layer::Ethernet { 14 } else { 0 };
    let mut code = Assembler::default();
    code.load_word(PACKET_TYPE).if_equal(OUTGOING, "drop");
    code.load_word(PROTOCOL).if_equal(ETH_P_IP, "ipv4").if_equal(ETH_P_IPV6, "ipv6");
    if layer == Layer::Ethernet {
        code.if_equal(ETH_P_ARP, "arp");
    }
    code.jump("drop");

    code.label("arp").load_half(ip + 6).if_equal(2, "accept").jump("drop");

    code.label("ipv4").load_half(ip + 6).if_bits(0x1fff, "drop");
    code.load_byte(ip + 9).if_equal(6, "tcp4").if_equal(1, "icmp4").jump("drop");
    code.label("tcp4").load_header_length(ip).load_half_after_header(ip + 2).jump("port");
    code.label("icmp4").load_header_length(ip).load_byte_after_header(ip);
    if echo {
        code.if_equal(0, "accept");
    }
    code.if_equal(3, "accept").if_equal(11, "accept").jump("drop");

    code.label("ipv6").load_byte(ip + 6).if_equal(6, "tcp6").if_equal(58, "icmp6");
    // Hop-by-hop options, routing, destination options: their first byte says what follows.
    code.if_equal(0, "extension").if_equal(43, "extension").if_equal(60, "extension").jump("drop");
    code.label("extension").load_byte(ip + 40).if_equal(6, "accept").jump("drop");
    code.label("icmp6").load_byte(ip + 40);
    code.if_equal(1, "accept").if_equal(3, "accept");
    if echo {
        code.if_equal(129, "accept");
    }
    if layer == Layer::Ethernet {
        code.if_equal(136, "accept");
    }
    code.jump("drop");
    code.label("tcp6").load_half(ip + 42);

    code.label("port").if_less(first.into(), "drop").if_greater(last.into(), "drop");
    code.label("accept").give(WHOLE);
    code.label("drop").give(0);
    code.assemble()
}

/// The program that lets nothing through.
pub(crate) fn nothing() -> Vec<Op> {
    Assembler::default().give(0).assemble()
}

/// One instruction: operation, jumps if true and false, operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Op {
    code: u16,
    if_true: u8,
    if_false: u8,
    k: u32,
}

impl From<Op> for SockFilter {
    fn from(op: Op) -> SockFilter {
        SockFilter::new(op.code, op.if_true, op.if_false, op.k)
    }
}

/// A program whose jumps still name labels. Jumps go forward only, as classic BPF's do.
#[derive(Default)]
struct Assembler {
    code: Vec<(u16, u32, Option<Jump>)>,
    labels: Vec<(&'static str, usize)>,
}

#[derive(Clone, Copy)]
enum Jump {
    Always(&'static str),
    IfTrue(&'static str),
    IfFalse(&'static str),
}

// linux/bpf_common.h: instruction class | size or operation | mode or source.
const LD_W_ABS: u16 = 0x20;
const LD_H_ABS: u16 = 0x28;
const LD_B_ABS: u16 = 0x30;
const LD_H_IND: u16 = 0x48;
const LD_B_IND: u16 = 0x50;
const LDX_B_MSH: u16 = 0xb1;
const JA: u16 = 0x05;
const JEQ_K: u16 = 0x15;
const JGT_K: u16 = 0x25;
const JGE_K: u16 = 0x35;
const JSET_K: u16 = 0x45;
const RET_K: u16 = 0x06;

impl Assembler {
    fn op(&mut self, code: u16, k: u32, jump: Option<Jump>) -> &mut Self {
        self.code.push((code, k, jump));
        self
    }

    fn load_word(&mut self, at: u32) -> &mut Self {
        self.op(LD_W_ABS, at, None)
    }

    fn load_half(&mut self, at: u32) -> &mut Self {
        self.op(LD_H_ABS, at, None)
    }

    fn load_byte(&mut self, at: u32) -> &mut Self {
        self.op(LD_B_ABS, at, None)
    }

    /// The IPv4 header's length in bytes, into the index register.
    fn load_header_length(&mut self, at: u32) -> &mut Self {
        self.op(LDX_B_MSH, at, None)
    }

    fn load_half_after_header(&mut self, at: u32) -> &mut Self {
        self.op(LD_H_IND, at, None)
    }

    fn load_byte_after_header(&mut self, at: u32) -> &mut Self {
        self.op(LD_B_IND, at, None)
    }

    fn if_equal(&mut self, k: u32, to: &'static str) -> &mut Self {
        self.op(JEQ_K, k, Some(Jump::IfTrue(to)))
    }

    fn if_bits(&mut self, k: u32, to: &'static str) -> &mut Self {
        self.op(JSET_K, k, Some(Jump::IfTrue(to)))
    }

    fn if_greater(&mut self, k: u32, to: &'static str) -> &mut Self {
        self.op(JGT_K, k, Some(Jump::IfTrue(to)))
    }

    fn if_less(&mut self, k: u32, to: &'static str) -> &mut Self {
        self.op(JGE_K, k, Some(Jump::IfFalse(to)))
    }

    fn jump(&mut self, to: &'static str) -> &mut Self {
        self.op(JA, 0, Some(Jump::Always(to)))
    }

    fn give(&mut self, bytes: u32) -> &mut Self {
        self.op(RET_K, bytes, None)
    }

    fn label(&mut self, name: &'static str) -> &mut Self {
        self.labels.push((name, self.code.len()));
        self
    }

    fn assemble(&self) -> Vec<Op> {
        self.code.iter().enumerate().map(|(at, op)| self.resolve(at, *op)).collect()
    }

    fn resolve(&self, at: usize, (code, k, jump): (u16, u32, Option<Jump>)) -> Op {
        let far = |to| (self.place(to) - at - 1) as u8;
        let (if_true, if_false, k) = match jump {
            None => (0, 0, k),
            Some(Jump::Always(to)) => (0, 0, far(to).into()),
            Some(Jump::IfTrue(to)) => (far(to), 0, k),
            Some(Jump::IfFalse(to)) => (0, far(to), k),
        };
        Op { code, if_true, if_false, k }
    }

    fn place(&self, name: &str) -> usize {
        let label = self.labels.iter().find(|(label, _)| *label == name);
        label.map_or(0, |(_, at)| *at)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    /// Runs the assembled program the way the kernel does, on the opcodes that the assembler has.
    pub(in crate::link) fn accepts(layer: Layer, protocol: u32, packet_type: u32, frame: &[u8]) -> bool {
        runs(&program(layer, (40_000, 40_003), false), protocol, packet_type, frame)
    }

    fn runs(program: &[Op], protocol: u32, packet_type: u32, frame: &[u8]) -> bool {
        let (mut at, mut a, mut x) = (0, 0u32, 0u32);
        let byte = |at: u32| frame.get(at as usize).map(|b| u32::from(*b));
        let half = |at: u32| Some(byte(at)? << 8 | byte(at + 1)?);
        for _ in 0..1000 {
            let Op { code, if_true, if_false, k } = program[at];
            at += 1;
            let loaded = match code {
                LD_W_ABS if k == PROTOCOL => Some(protocol),
                LD_W_ABS if k == PACKET_TYPE => Some(packet_type),
                LD_H_ABS => half(k),
                LD_B_ABS => byte(k),
                LD_H_IND => half(x + k),
                LD_B_IND => byte(x + k),
                LDX_B_MSH => {
                    let Some(byte) = byte(k) else { return false };
                    x = (byte & 15) * 4;
                    continue;
                }
                JA => {
                    at += k as usize;
                    continue;
                }
                RET_K => return k != 0,
                _ => {
                    let holds = match code {
                        JEQ_K => a == k,
                        JGT_K => a > k,
                        JGE_K => a >= k,
                        JSET_K => a & k != 0,
                        _ => panic!("opcode {code:#x}"),
                    };
                    at += usize::from(if holds { if_true } else { if_false });
                    continue;
                }
            };
            // A load past the frame's end makes the kernel drop it.
            let Some(value) = loaded else { return false };
            a = value;
        }
        panic!("does not end");
    }

    pub(in crate::link) fn tcp4(port: u16, options: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let mut header = etherparse::Ipv4Header::new(20, 64, etherparse::IpNumber::TCP, [1; 4], [2; 4]).unwrap();
        header.options = options.try_into().unwrap();
        let builder =
            PacketBuilder::ethernet2([1; 6], [2; 6]).ip(etherparse::IpHeaders::Ipv4(header, Default::default()));
        builder.tcp(80, port, 1, 1).write(&mut frame, &[]).unwrap();
        frame
    }

    fn both(protocol: u32, frame: &[u8]) -> bool {
        let ethernet = accepts(Layer::Ethernet, protocol, 0, frame);
        assert_eq!(ethernet, accepts(Layer::Ip, protocol, 0, &frame[14..]));
        ethernet
    }

    #[test]
    fn tcp_to_our_ports_only() {
        for options in [&[][..], &[1; 4], &[1; 40]] {
            for (port, expected) in [(39_999, false), (40_000, true), (40_003, true), (40_004, false), (80, false)] {
                assert_eq!(both(ETH_P_IP, &tcp4(port, options)), expected, "{port} {}", options.len());
            }
        }
        for (port, expected) in [(39_999, false), (40_000, true), (40_003, true), (40_004, false)] {
            let mut frame = Vec::new();
            let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv6([1; 16], [2; 16], 64);
            builder.tcp(80, port, 1, 1).write(&mut frame, &[]).unwrap();
            assert_eq!(both(ETH_P_IPV6, &frame), expected, "{port}");
        }
    }

    #[test]
    fn icmp_errors_only() {
        for kind in 0..=255 {
            let mut frame = Vec::new();
            let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([1; 4], [2; 4], 64);
            builder.icmpv4_raw(kind, 0, [0; 4]).write(&mut frame, &[0; 28]).unwrap();
            assert_eq!(both(ETH_P_IP, &frame), matches!(kind, 3 | 11), "{kind}");
            let mut frame = Vec::new();
            let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv6([1; 16], [2; 16], 64);
            builder.icmpv6_raw(kind, 0, [0; 4]).write(&mut frame, &[0; 48]).unwrap();
            assert_eq!(accepts(Layer::Ethernet, ETH_P_IPV6, 0, &frame), matches!(kind, 1 | 3 | 136), "{kind}");
            assert_eq!(accepts(Layer::Ip, ETH_P_IPV6, 0, &frame[14..]), matches!(kind, 1 | 3), "{kind}");
        }
    }

    #[test]
    fn echo_replies_where_they_are_waited_for() {
        for kind in 0..=255 {
            let mut v4 = Vec::new();
            let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([1; 4], [2; 4], 64);
            builder.icmpv4_raw(kind, 0, [0; 4]).write(&mut v4, &[0; 28]).unwrap();
            let mut v6 = Vec::new();
            let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv6([1; 16], [2; 16], 64);
            builder.icmpv6_raw(kind, 0, [0; 4]).write(&mut v6, &[0; 48]).unwrap();
            for (layer, start) in [(Layer::Ethernet, 0), (Layer::Ip, 14)] {
                let program = program(layer, (40_000, 40_003), true);
                assert_eq!(runs(&program, ETH_P_IP, 0, &v4[start..]), matches!(kind, 0 | 3 | 11), "{kind}");
                let neighbours = kind == 136 && layer == Layer::Ethernet;
                let expected = matches!(kind, 1 | 3 | 129) || neighbours;
                assert_eq!(runs(&program, ETH_P_IPV6, 0, &v6[start..]), expected, "{kind}");
            }
        }
    }

    #[test]
    fn tcp_behind_an_extension_header_but_no_listener_reports() {
        for (extension, behind, expected) in
            [(0, 6, true), (60, 6, true), (0, 58, false), (0, 17, false), (50, 6, false)]
        {
            let mut frame = Vec::new();
            let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv6([1; 16], [2; 16], 64);
            builder.tcp(80, 40_000, 1, 1).write(&mut frame, &[]).unwrap();
            frame[14 + 6] = extension;
            frame.splice(14 + 40..14 + 40, [behind, 0, 1, 4, 0, 0, 0, 0]);
            assert_eq!(both(ETH_P_IPV6, &frame), expected, "{extension} {behind}");
        }
    }

    #[test]
    fn fragments_our_own_frames_and_other_protocols_are_dropped() {
        let frame = tcp4(40_000, &[]);
        assert!(!accepts(Layer::Ethernet, ETH_P_IP, OUTGOING, &frame));
        let mut fragment = frame.clone();
        fragment[14 + 7] = 1;
        assert!(!both(ETH_P_IP, &fragment));
        let mut udp = frame.clone();
        udp[14 + 9] = 17;
        assert!(!both(ETH_P_IP, &udp));
        assert!(!both(0x8100, &frame));
        assert!(!both(ETH_P_IP, &frame[..30]));
    }

    #[test]
    fn arp_replies_where_there_is_arp() {
        let mut arp = vec![0; 42];
        arp[14 + 7] = 2;
        assert!(accepts(Layer::Ethernet, ETH_P_ARP, 0, &arp));
        arp[14 + 7] = 1;
        assert!(!accepts(Layer::Ethernet, ETH_P_ARP, 0, &arp));
        assert!(!accepts(Layer::Ip, ETH_P_ARP, 0, &arp));
    }
}
