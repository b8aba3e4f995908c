//! eBPF programs, from instructions to the kernel: assembled in Rust with the parameters of their use built in, loaded,
//! attached, run. Building needs no clang, libbpf, ELF or kernel headers, and a program is gone with the values here that
//! hold it, however the process ends.
//!
//! ```text
//! Assembler -> instructions -> Program -> XdpLink (a device's receive path)
//!                 ^                    -> Tracepoint
//!                 |                    -> run (once, on a frame given)   transmit (live frames)
//!      WordMap, ByteMap, SocketMap
//! ```
//!
//! - [`assembler`]: instructions and labels; pure.
//! - [`WordMap`], [`ByteMap`]: memory that a program and this process share; [`SocketMap`]: which AF_XDP socket takes
//!   off what arrives in which queue.
//! - [`Program`]: what the kernel verified; [`XdpLink`], [`Tracepoint`]: where it is attached.
//!
//! Numbers and layouts are those of linux/bpf.h. Everything here needs CAP_BPF, with CAP_NET_ADMIN for XDP programs and
//! CAP_PERFMON for tracepoints.

pub mod assembler;
mod attach;
mod error;
mod map;
mod program;
mod sys;

pub use assembler::{Assembler, Instruction, Label};
pub use attach::{Mode, Tracepoint, XdpLink};
pub use error::Error;
pub use map::{ByteMap, SocketMap, WordMap};
pub use program::{Kind, Outcome, Program, action};
