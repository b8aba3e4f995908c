//! Instructions by name, and jumps to labels. (RFC 9669 is the instruction set.)
//!
//! A program is written as a straight list of calls; registers are [`R0`] to [`R10`]. `R1` is the context at the start,
//! `R0` the result at the end, `R10` the stack's upper end; calls take `R1` to `R5`, spoil them, and answer in `R0`.

use std::os::fd::{AsFd, AsRawFd};

/// A register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register(u8);

/// Result of calls and of the program.
pub const R0: Register = Register(0);
/// First argument; the context at the start.
pub const R1: Register = Register(1);
/// Second argument.
pub const R2: Register = Register(2);
/// Third argument.
pub const R3: Register = Register(3);
/// Fourth argument.
pub const R4: Register = Register(4);
/// Fifth argument.
pub const R5: Register = Register(5);
/// Kept over calls.
pub const R6: Register = Register(6);
/// Kept over calls.
pub const R7: Register = Register(7);
/// Kept over calls.
pub const R8: Register = Register(8);
/// Kept over calls.
pub const R9: Register = Register(9);
/// The stack's upper end; cannot be written.
pub const R10: Register = Register(10);

/// What an operation or a jump compares with: a register, or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// A register.
    Register(Register),
    /// A number; extended with its sign to 64 bits.
    Number(i32),
}

impl From<Register> for Operand {
    fn from(register: Register) -> Self {
        Operand::Register(register)
    }
}

impl From<i32> for Operand {
    fn from(number: i32) -> Self {
        Operand::Number(number)
    }
}

/// How much a load or store moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Size {
    /// One byte.
    Byte = 0x10,
    /// Two bytes.
    Half = 0x08,
    /// Four bytes.
    Word = 0x00,
    /// Eight bytes.
    Double = 0x18,
}

/// An operation on 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Alu {
    /// `+=`
    Add = 0x00,
    /// `-=`
    Sub = 0x10,
    /// `*=`
    Mul = 0x20,
    /// `|=`
    Or = 0x40,
    /// `&=`
    And = 0x50,
    /// `<<=`
    Shl = 0x60,
    /// `>>=`, without sign
    Shr = 0x70,
    /// `^=`
    Xor = 0xa0,
    /// `=`
    Mov = 0xb0,
}

/// A comparison without sign, over 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum When {
    /// `==`
    Equal = 0x10,
    /// `>`
    Greater = 0x20,
    /// `>=`
    NotLess = 0x30,
    /// `& != 0`
    AnyBit = 0x40,
    /// `!=`
    NotEqual = 0x50,
    /// `<`
    Less = 0xa0,
    /// `<=`
    NotGreater = 0xb0,
}

/// A function of the kernel (linux/bpf.h, `___BPF_FUNC_MAPPER`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Helper {
    /// `u64 bpf_ktime_get_ns()`: CLOCK_MONOTONIC in nanoseconds.
    Nanoseconds = 5,
    /// `long bpf_redirect(ifindex, flags)`: the action that sends the frame out of a device.
    Redirect = 23,
    /// `long bpf_redirect_map(map, key, flags)`: the action that hands the frame to the map's entry, or else `flags`.
    RedirectMap = 51,
    /// `long bpf_get_ns_current_pid_tgid(dev, ino, info, size)`: the current thread's numbers in a namespace of processes,
    /// into `struct bpf_pidns_info` (Linux 5.7); not 0 if it is in another.
    ThreadInNamespace = 120,
    /// `long bpf_xdp_adjust_tail(context, delta)`: makes the frame longer or shorter.
    AdjustTail = 65,
}

/// One instruction as the kernel reads it (`struct bpf_insn`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    number: i32,
}

/// A place in a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(usize);

/// A program in the making.
#[derive(Debug, Default)]
pub struct Assembler {
    code: Vec<Instruction>,
    /// Where labels were placed.
    places: Vec<Option<usize>>,
    /// Which instructions jump to which label.
    jumps: Vec<(usize, Label)>,
}

const CLASS_LD: u8 = 0x00;
const CLASS_LDX: u8 = 0x01;
const CLASS_ST: u8 = 0x02;
const CLASS_STX: u8 = 0x03;
const CLASS_ALU32: u8 = 0x04;
const CLASS_JMP: u8 = 0x05;
const CLASS_ALU64: u8 = 0x07;
const MODE_MEM: u8 = 0x60;
const MODE_ATOMIC: u8 = 0xc0;
const SOURCE_REGISTER: u8 = 0x08;
const OP_END: u8 = 0xd0;
const OP_CALL: u8 = 0x80;
const OP_EXIT: u8 = 0x90;
const TO_BIG_ENDIAN: u8 = 0x08;
/// `BPF_FETCH`, on `BPF_ADD` which is zero.
const FETCH_ADD: i32 = 0x01;
/// `BPF_PSEUDO_MAP_FD` and `BPF_PSEUDO_MAP_VALUE`: what the source field of a 64-bit load says.
const MAP: Register = Register(1);
const MAP_VALUE: Register = Register(2);

impl Assembler {
    /// An empty program.
    pub fn new() -> Self {
        Assembler::default()
    }

    /// A label, to be placed once.
    pub fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    /// The label stands for the next instruction.
    pub fn place(&mut self, label: Label) -> &mut Self {
        self.places[label.0] = Some(self.code.len());
        self
    }

    /// `to op= operand`, over 64 bits.
    pub fn alu(&mut self, op: Alu, to: Register, operand: impl Into<Operand>) -> &mut Self {
        self.operation(CLASS_ALU64 | op as u8, to, operand.into())
    }

    /// `to op= operand`, over the lower 32 bits; the upper become zero.
    pub fn alu32(&mut self, op: Alu, to: Register, operand: impl Into<Operand>) -> &mut Self {
        self.operation(CLASS_ALU32 | op as u8, to, operand.into())
    }

    /// `to = operand`.
    pub fn mov(&mut self, to: Register, operand: impl Into<Operand>) -> &mut Self {
        self.alu(Alu::Mov, to, operand)
    }

    /// Between network order and the machine's: the lower 16, 32 or 64 bits of a register; the others become zero.
    pub fn big_endian(&mut self, to: Register, bits: i32) -> &mut Self {
        self.push(CLASS_ALU32 | OP_END | TO_BIG_ENDIAN, to, R0, 0, bits)
    }

    /// `to = *(from + offset)`.
    pub fn load(&mut self, size: Size, to: Register, from: Register, offset: i16) -> &mut Self {
        self.push(CLASS_LDX | MODE_MEM | size as u8, to, from, offset, 0)
    }

    /// `*(to + offset) = value`.
    pub fn store(&mut self, size: Size, to: Register, offset: i16, value: impl Into<Operand>) -> &mut Self {
        match value.into() {
            Operand::Register(from) => self.push(CLASS_STX | MODE_MEM | size as u8, to, from, offset, 0),
            Operand::Number(number) => self.push(CLASS_ST | MODE_MEM | size as u8, to, R0, offset, number),
        }
    }

    /// `*(to + offset) += value` over 64 bits, whole even when other processors do the same.
    pub fn atomic_add(&mut self, to: Register, offset: i16, value: Register) -> &mut Self {
        self.push(CLASS_STX | MODE_ATOMIC | Size::Double as u8, to, value, offset, 0)
    }

    /// The same, and `value` becomes what was there before (Linux 5.12).
    pub fn fetch_add(&mut self, to: Register, offset: i16, value: Register) -> &mut Self {
        self.push(CLASS_STX | MODE_ATOMIC | Size::Double as u8, to, value, offset, FETCH_ADD)
    }

    /// `to = number`, all 64 bits of it.
    pub fn mov_wide(&mut self, to: Register, number: u64) -> &mut Self {
        self.wide(to, R0, number as u32 as i32, (number >> 32) as u32 as i32)
    }

    /// `to =` a map, for calls that take one.
    pub fn mov_map(&mut self, to: Register, map: impl AsFd) -> &mut Self {
        self.wide(to, MAP, map.as_fd().as_raw_fd(), 0)
    }

    /// `to =` the address of a byte of a map's memory.
    pub fn mov_memory(&mut self, to: Register, map: impl AsFd, offset: u32) -> &mut Self {
        self.wide(to, MAP_VALUE, map.as_fd().as_raw_fd(), offset as i32)
    }

    /// Goes on at the label.
    pub fn jump(&mut self, label: Label) -> &mut Self {
        self.jumps.push((self.code.len(), label));
        self.push(CLASS_JMP, R0, R0, 0, 0)
    }

    /// Goes on at the label if the comparison holds.
    pub fn jump_when(&mut self, left: Register, when: When, right: impl Into<Operand>, label: Label) -> &mut Self {
        self.jumps.push((self.code.len(), label));
        self.operation(CLASS_JMP | when as u8, left, right.into())
    }

    /// Calls the kernel.
    pub fn call(&mut self, helper: Helper) -> &mut Self {
        self.push(CLASS_JMP | OP_CALL, R0, R0, 0, helper as i32)
    }

    /// Ends with this result.
    pub fn give(&mut self, result: i32) -> &mut Self {
        self.mov(R0, result).exit()
    }

    /// Ends; the result is in `R0`.
    pub fn exit(&mut self) -> &mut Self {
        self.push(CLASS_JMP | OP_EXIT, R0, R0, 0, 0)
    }

    /// The program.
    ///
    /// # Panics
    /// If a jump's label was never placed, or is too far away: mistakes of whoever wrote the program.
    pub fn assemble(mut self) -> Vec<Instruction> {
        for (at, label) in std::mem::take(&mut self.jumps) {
            let place = self.places[label.0].expect("every label that is jumped to is placed");
            let distance = place as i64 - at as i64 - 1;
            self.code[at].offset = i16::try_from(distance).expect("a jump goes no further than 2^15 instructions");
        }
        self.code
    }

    fn operation(&mut self, code: u8, to: Register, operand: Operand) -> &mut Self {
        match operand {
            Operand::Register(from) => self.push(code | SOURCE_REGISTER, to, from, 0, 0),
            Operand::Number(number) => self.push(code, to, R0, 0, number),
        }
    }

    /// A load of 64 bits takes two instructions.
    fn wide(&mut self, to: Register, kind: Register, low: i32, high: i32) -> &mut Self {
        self.push(CLASS_LD | Size::Double as u8, to, kind, 0, low).push(0, R0, R0, 0, high)
    }

    fn push(&mut self, code: u8, to: Register, from: Register, offset: i16, number: i32) -> &mut Self {
        // linux/bpf.h: dst_reg and src_reg are bit fields, so their order is the machine's.
        let registers = if cfg!(target_endian = "little") { from.0 << 4 | to.0 } else { to.0 << 4 | from.0 };
        self.code.push(Instruction { code, registers, offset, number });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(code: &[Instruction]) -> Vec<String> {
        let text = |i: &Instruction| format!("{:02x} {:02x} {:04x} {:08x}", i.code, i.registers, i.offset, i.number);
        code.iter().map(text).collect()
    }

    /// Encodings from RFC 9669 and its appendix of opcodes.
    #[test]
    #[cfg(target_endian = "little")]
    fn instructions_are_encoded() {
        let mut code = Assembler::new();
        code.mov(R0, 2).alu(Alu::Add, R1, R2).alu32(Alu::And, R3, 0xff).big_endian(R4, 16);
        code.load(Size::Half, R5, R1, 12).store(Size::Double, R10, -8, R6).store(Size::Byte, R1, 3, 7);
        code.atomic_add(R1, 16, R2).fetch_add(R1, 24, R2);
        code.mov_wide(R7, 0x1122_3344_5566_7788).call(Helper::Redirect).exit();
        let expected = [
            "b7 00 0000 00000002",
            "0f 21 0000 00000000",
            "54 03 0000 000000ff",
            "dc 04 0000 00000010",
            "69 15 000c 00000000",
            "7b 6a fff8 00000000",
            "72 01 0003 00000007",
            "db 21 0010 00000000",
            "db 21 0018 00000001",
            "18 07 0000 55667788",
            "00 00 0000 11223344",
            "85 00 0000 00000017",
            "95 00 0000 00000000",
        ];
        assert_eq!(hex(&code.assemble()), expected);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn jumps_go_to_their_labels() {
        let mut code = Assembler::new();
        let (start, end) = (code.label(), code.label());
        code.place(start).jump_when(R1, When::Greater, R2, end).jump_when(R1, When::Equal, 5, start);
        code.jump(end).mov(R0, 1).place(end).exit();
        let code = code.assemble();
        assert_eq!(code.iter().map(|i| i.offset).collect::<Vec<_>>(), [3, -2, 1, 0, 0]);
        assert_eq!(hex(&code)[..3], ["2d 21 0003 00000000", "15 01 fffe 00000005", "05 00 0001 00000000"]);
    }

    #[test]
    #[should_panic(expected = "every label that is jumped to is placed")]
    fn a_label_must_be_placed() {
        let mut code = Assembler::new();
        let nowhere = code.label();
        code.jump(nowhere);
        code.assemble();
    }
}
