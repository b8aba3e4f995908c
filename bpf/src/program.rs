//! A program that the kernel has verified, and ways to run it at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::assembler::Instruction;
use crate::error::{Error, failed};
use crate::sys::{self, TestRun};

/// What a program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// On a device's receive path, and for live frames: `struct xdp_md` in, an [`action`] out.
    Xdp = 6,
    /// At a tracepoint: its raw arguments in, 64 bits each.
    RawTracepoint = 17,
}

/// What an XDP program says is to become of a frame (`enum xdp_action`).
pub mod action {
    /// Something went wrong; dropped, and seen in the tracepoint xdp:xdp_exception.
    pub const ABORTED: i32 = 0;
    /// Dropped.
    pub const DROP: i32 = 1;
    /// To the kernel's own stack.
    pub const PASS: i32 = 2;
    /// Back out of the device that it came from.
    pub const TX: i32 = 3;
    /// To where the call of a redirect helper said.
    pub const REDIRECT: i32 = 4;
}

/// A loaded program. It lives as long as this value, or longer where it is attached.
#[derive(Debug)]
pub struct Program {
    descriptor: OwnedFd,
}

/// What a run of a program on one frame came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The program's result.
    pub result: u32,
    /// The frame as the program left it.
    pub frame: Vec<u8>,
}

/// The verifier's account of a refused program, and how many of its lines are told.
const LOG: usize = 1 << 20;
const TOLD: usize = 8;

impl Program {
    /// Has the kernel verify and take a program. The name, of at most 15 letters, digits and `_`, is what `bpftool prog`
    /// shows.
    ///
    /// # Errors
    /// No right to, or the verifier found fault with it.
    pub fn load(kind: Kind, name: &str, code: &[Instruction]) -> Result<Self, Error> {
        match sys::load_program(kind as u32, name, code, None) {
            Ok(descriptor) => Ok(Program { descriptor }),
            // Not the verifier's doing: it says EINVAL and EACCES; EPERM is a matter of rights.
            Err(source) if source.raw_os_error() == Some(libc::EPERM) => Err(failed("load a BPF program")(source)),
            Err(source) => {
                let mut log = vec![0; LOG];
                let _ = sys::load_program(kind as u32, name, code, Some(&mut log));
                let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
                let log = String::from_utf8_lossy(&log[..end]);
                if log.is_empty() {
                    return Err(failed("load a BPF program")(source));
                }
                // What was wrong stands at the end.
                let lines: Vec<&str> = log.trim_end().lines().collect();
                let log = lines[lines.len().saturating_sub(TOLD)..].join("\n");
                Err(Error::Verifier { program: name.into(), log, source })
            }
        }
    }

    /// Runs an XDP program once on this frame (at least 14 bytes). Nothing leaves the machine.
    ///
    /// # Errors
    /// The frame is too short or too long.
    pub fn run(&self, frame: &[u8]) -> Result<Outcome, Error> {
        let mut out = vec![0; frame.len() + 256];
        let (result, len) =
            sys::test_run(self.as_fd(), TestRun { frame, out: Some(&mut out), repeat: 1, live_batch: None })
                .map_err(failed("run a BPF program"))?;
        out.truncate(len);
        Ok(Outcome { result, frame: out })
    }

    /// Runs an XDP program on `repeat` frames of this length, in batches, and does with each what the program says: what
    /// it redirects, leaves (`BPF_F_TEST_XDP_LIVE_FRAMES`, Linux 5.18). Frames are used again and come with what was left
    /// in them. Returns when all are done, or when the calling thread has a signal to take.
    ///
    /// # Errors
    /// [`io::ErrorKind::Interrupted`] for a signal; else what the kernel cannot do.
    pub fn transmit(&self, frame: &[u8], repeat: u32, batch: u32) -> io::Result<()> {
        sys::test_run(self.as_fd(), TestRun { frame, out: None, repeat, live_batch: Some(batch) }).map(drop)
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
