//! The two programs that the kernel runs, and the memory they share with us.
//!
//! The *carrier* runs once for every frame of a BPF_PROG_TEST_RUN with live frames (linux/bpf.h). It copies the next
//! waiting slot over the whole frame, because frames come back with whatever the other end left in them, and redirects
//! it to the device. Nothing waiting: the frame is dropped, which costs nobody anything.
//!
//! The *accountant* sits at the tracepoint xdp:xdp_devmap_xmit (trace/events/xdp.h), which tells after every bulk how
//! many of it the driver took. A driver takes the first of a bulk and leaves the last, and bulks go in the order of the
//! slots, so what was left is known by its number: it is sent again, and nothing is lost without a word.
//!
//! Words of the shared memory, a cache line apart where different sides write them:
//!
//! | word | written by | what |
//! |---|---|---|
//! | `PRODUCED` | us | probes laid down so far |
//! | `CONSUMED` | carrier | probes copied into frames so far |
//! | `FLUSHED` | accountant | probes that the driver took or left so far |
//! | `LEFT` | accountant | entries in the ring of what was left, so far |
//! | `ERROR` | accountant | what the driver said last when it left something |
//! | `DEVICE` | accountant | the kernel's address of our device: that of the first bulk |
//! | `RESUME` | both programs | when to go on after something was left; 0 for now |
//! | `THREAD` | us | the thread whose bulks are ours |
//! | `LEFT_RING..` | accountant | `first << 16 \| how many`, for every bulk of which something was left |

use std::io;
use std::os::unix::fs::MetadataExt;

use halfopen_bpf::assembler::{
    Alu, Assembler, Helper, Instruction, Label, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, Register, Size, When,
};
use halfopen_bpf::{ByteMap, WordMap, action};

pub(super) const PRODUCED: usize = 0;
pub(super) const CONSUMED: usize = 8;
pub(super) const FLUSHED: usize = 16;
pub(super) const LEFT: usize = 17;
pub(super) const ERROR: usize = 18;
const DEVICE: usize = 19;
const RESUME: usize = 24;
pub(super) const THREAD: usize = 32;
pub(super) const LEFT_RING: usize = 40;

/// What `THREAD` holds before there is one. (Zero is the idle task.)
pub(super) const NOBODY: u64 = u64::MAX;

/// Probes that can wait. At 8 million a second it is half a millisecond's worth: enough that a pause of the thread that
/// fills it does not show, and too little to matter to a round-trip time.
pub(super) const SLOTS: u64 = 4096;

/// Room for the longest frame, in whole cache lines.
pub(super) const SLOT: u64 = 128;

/// How long to wait after the driver left something: its queue needs time to empty. veth's holds 256 frames.
const PAUSE: i32 = 50_000;

/// Frames of IPv4 and IPv6: Ethernet, IP, TCP with one option.
pub(super) const LEN_V4: usize = 58;
pub(super) const LEN_V6: usize = 78;

/// The option that makes a probe longer than a RST.
const MSS_OPTION: usize = 4;

/// Which lengths the frames have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lengths {
    /// All alike.
    One(usize),
    /// Both of them, told apart by the EtherType.
    Both,
}

impl Lengths {
    pub(super) fn of(v4: bool, v6: bool) -> Self {
        match (v4, v6) {
            (true, true) => Lengths::Both,
            (_, false) => Lengths::One(LEN_V4),
            (false, true) => Lengths::One(LEN_V6),
        }
    }

    /// The length of the frame that a run is started with.
    pub(super) fn longest(self) -> usize {
        match self {
            Lengths::One(len) => len,
            Lengths::Both => LEN_V6,
        }
    }
}

/// The carrier, for a device by its index.
pub(super) fn carrier(words: &WordMap, slots: &ByteMap, device: u32, lengths: Lengths) -> Vec<Instruction> {
    let mut code = Assembler::new();
    let (nothing, go) = (code.label(), code.label());
    code.mov(R9, R1).mov_memory(R7, words, 0);
    code.load(Size::Double, R8, R7, at(CONSUMED));
    acquire(&mut code, R3, PRODUCED);
    code.jump_when(R3, When::Equal, R8, nothing);

    code.load(Size::Double, R3, R7, at(RESUME)).jump_when(R3, When::Equal, 0, go);
    code.call(Helper::Nanoseconds).load(Size::Double, R3, R7, at(RESUME));
    code.jump_when(R0, When::Less, R3, nothing).store(Size::Double, R7, at(RESUME), 0);

    code.place(go).load(Size::Word, R2, R9, 0).load(Size::Word, R3, R9, 4);
    code.mov(R4, R2).alu(Alu::Add, R4, lengths.longest() as i32).jump_when(R4, When::Greater, R3, nothing);
    code.mov_memory(R6, slots, 0).mov(R3, R8).alu(Alu::And, R3, SLOTS as i32 - 1);
    code.alu(Alu::Mul, R3, SLOT as i32).alu(Alu::Add, R6, R3);
    code.alu(Alu::Add, R8, 1);
    code.store(Size::Double, R7, at(CONSUMED), R8);
    match lengths {
        Lengths::One(len) => copy_one(&mut code, len),
        Lengths::Both => copy_either(&mut code),
    }
    code.mov(R1, device as i32).mov(R2, 0).call(Helper::Redirect).exit();

    code.place(nothing).give(action::DROP);
    code.assemble()
}

/// Copies the slot's bytes `from..to` (R6) into the frame (R2), by the longest words that fit.
fn copy(code: &mut Assembler, from: usize, to: usize) {
    let mut offset = from;
    while offset < to {
        let (size, len) = match to - offset {
            8.. => (Size::Double, 8),
            4.. => (Size::Word, 4),
            2.. => (Size::Half, 2),
            _ => (Size::Byte, 1),
        };
        code.load(size, R5, R6, offset as i16).store(size, R2, offset as i16, R5);
        offset += len;
    }
}

/// Copies a frame of this length, or a RST, which has no option and so is shorter.
fn copy_one(code: &mut Assembler, len: usize) {
    let whole = code.label();
    copy(code, 0, len);
    if_reset(code, len, |code| cut(code, MSS_OPTION), whole);
    code.place(whole);
}

/// Frames come as long as IPv6's; one of IPv4 is cut.
fn copy_either(code: &mut Assembler) {
    const ETH_P_IPV6: u16 = 0x86dd;
    let (v4, v4_whole, done) = (code.label(), code.label(), code.label());
    copy(code, 0, LEN_V4);
    code.load(Size::Half, R3, R6, 12).jump_when(R3, When::NotEqual, network_order(ETH_P_IPV6), v4);
    copy(code, LEN_V4, LEN_V6);
    if_reset(code, LEN_V6, |code| cut(code, MSS_OPTION), done);
    code.jump(done).place(v4);
    if_reset(code, LEN_V4, |code| cut(code, LEN_V6 - LEN_V4 + MSS_OPTION), v4_whole);
    code.jump(done).place(v4_whole);
    cut(code, LEN_V6 - LEN_V4);
    code.place(done);
}

/// Does `then` if the slot's IP header says that there is no option, and else goes on at `otherwise`.
fn if_reset(code: &mut Assembler, len: usize, then: impl FnOnce(&mut Assembler), otherwise: Label) {
    // Total length of IPv4 (RFC 791 section 3.1), payload length of IPv6 (RFC 8200 section 3).
    let (field, without) = if len == LEN_V4 { (16, 20 + 20) } else { (18, 20) };
    code.load(Size::Half, R3, R6, field).jump_when(R3, When::NotEqual, network_order(without), otherwise);
    then(code);
}

/// Cuts bytes off the frame's end.
fn cut(code: &mut Assembler, bytes: usize) {
    code.mov(R1, R9).mov(R2, -(bytes as i32)).call(Helper::AdjustTail);
}

/// A field of two bytes, as it is loaded.
fn network_order(field: u16) -> i32 {
    field.to_be().into()
}

/// A namespace of process numbers: inside a container the numbers that we know are not those of the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct PidNamespace {
    device: u64,
    inode: u64,
}

impl PidNamespace {
    pub(super) fn of_this_thread() -> io::Result<Self> {
        let file = std::fs::metadata("/proc/thread-self/ns/pid")?;
        Ok(PidNamespace { device: file.dev(), inode: file.ino() })
    }
}

/// The accountant. Its context is the tracepoint's arguments: from which device, to which, sent, dropped, error.
pub(super) fn accountant(words: &WordMap, namespace: PidNamespace) -> Vec<Instruction> {
    const TO: i16 = 8;
    const SENT: i16 = 16;
    const DROPPED: i16 = 24;
    const REASON: i16 = 32;
    let mut code = Assembler::new();
    let (foreign, known, took_all) = (code.label(), code.label(), code.label());
    code.mov(R6, R1).mov_memory(R7, words, 0);
    // struct bpf_pidns_info on the stack: the thread's number, then the process's.
    code.mov_wide(R1, namespace.device).mov_wide(R2, namespace.inode).mov(R3, R10).alu(Alu::Add, R3, -8).mov(R4, 8);
    code.call(Helper::ThreadInNamespace).jump_when(R0, When::NotEqual, 0, foreign);
    code.load(Size::Word, R0, R10, -8);
    code.load(Size::Double, R1, R7, at(THREAD)).jump_when(R0, When::NotEqual, R1, foreign);

    // Bulks for other devices may be sent in our thread's name: whatever the softirq does on top of it.
    code.load(Size::Double, R1, R6, TO).load(Size::Double, R2, R7, at(DEVICE));
    code.jump_when(R2, When::NotEqual, 0, known).mov(R2, R1).store(Size::Double, R7, at(DEVICE), R1);
    code.place(known).jump_when(R1, When::NotEqual, R2, foreign);

    code.load(Size::Double, R1, R6, SENT).alu32(Alu::Mov, R1, R1);
    code.load(Size::Double, R9, R6, DROPPED).alu32(Alu::Mov, R9, R9);
    code.load(Size::Double, R8, R7, at(FLUSHED)).alu(Alu::Add, R8, R1);
    // Bulks for our device that are not ours (a softirq that forwards) would account for what was never carried; ours are
    // flushed before a softirq has its turn.
    code.mov(R2, R8).alu(Alu::Add, R2, R9).load(Size::Double, R3, R7, at(CONSUMED));
    code.jump_when(R2, When::Greater, R3, foreign);
    code.jump_when(R9, When::Equal, 0, took_all);

    // R8: the first that was left; R9: how many.
    code.load(Size::Double, R4, R7, at(LEFT)).mov(R5, R4).alu(Alu::And, R5, SLOTS as i32 - 1).alu(Alu::Shl, R5, 3);
    code.mov(R3, R7).alu(Alu::Add, R3, R5).mov(R1, R8).alu(Alu::Shl, R1, 16).alu(Alu::Or, R1, R9);
    code.store(Size::Double, R3, at(LEFT_RING), R1);
    code.alu(Alu::Add, R4, 1);
    release(&mut code, LEFT, R4);
    code.load(Size::Double, R1, R6, REASON).store(Size::Double, R7, at(ERROR), R1);
    code.call(Helper::Nanoseconds).alu(Alu::Add, R0, PAUSE).store(Size::Double, R7, at(RESUME), R0);

    code.place(took_all).alu(Alu::Add, R8, R9);
    release(&mut code, FLUSHED, R8);
    code.place(foreign).give(0);
    code.assemble()
}

/// Whether the machine keeps loads in order, and stores. Where it does not, an addition that gives back what was there
/// keeps everything in order around itself (RFC 9669 section 5.3, Linux 5.12).
const ORDERED: bool = cfg!(any(target_arch = "x86_64", target_arch = "x86"));

/// Loads a word (of R7) before anything that comes later.
fn acquire(code: &mut Assembler, to: Register, word: usize) {
    if ORDERED {
        code.load(Size::Double, to, R7, at(word));
    } else {
        code.mov(to, 0).fetch_add(R7, at(word), to);
    }
}

/// Stores a word (of R7) after everything that came before; spoils R1.
fn release(code: &mut Assembler, word: usize, value: Register) {
    if !ORDERED {
        code.mov(R1, 0).fetch_add(R7, at(word), R1);
    }
    code.store(Size::Double, R7, at(word), value);
}

/// A word's place in bytes.
fn at(word: usize) -> i16 {
    (word * 8) as i16
}
