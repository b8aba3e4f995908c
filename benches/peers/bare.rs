//! Bare loops: one constant frame sent over and over by the same means as the links, with no plan, cookie, patch or
//! receiver. They are the limit of what the means allow on this machine.

use std::fmt;
use std::io::{self, IoSlice};

use clap::ValueEnum;
use halfopen::wire::syn::{LinkHeader, Probe, SynTemplate};
use halfopen::{MacAddr, Seq, Target};
use halfopen_bench::beside::place::{DEVICE, SCANNER, interface};
use halfopen_bench::beside::sys::packet_socket;
use halfopen_bpf::assembler::{Alu, Helper, R0, R1, R2, R3, R4, Size, When};
use halfopen_bpf::{Assembler, Kind, Program, action};
use halfopen_lab::{GATEWAY_MAC, SCANNER_MAC};
use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

use crate::sys::XdpSender;

/// By which means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Loop {
    /// sendmmsg on a packet socket.
    Sendmmsg,
    /// An AF_XDP ring in copy mode.
    AfXdp,
    /// Live frames of an XDP program.
    LiveFrames,
}

impl fmt::Display for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loop::Sendmmsg => "sendmmsg",
            Loop::AfXdp => "af-xdp",
            Loop::LiveFrames => "live-frames",
        })
    }
}

/// Messages of one sendmmsg, frames of one batch of the program: what the links use too.
const BATCH: usize = 64;

/// Sends so many frames through the stage's device.
pub(crate) fn run(means: Loop, count: u32) -> io::Result<()> {
    let device = interface(DEVICE)?;
    let frame = frame();
    match means {
        Loop::Sendmmsg => packets(device, &frame, count),
        Loop::AfXdp => ring(device, &frame, count),
        Loop::LiveFrames => live(device, &frame, count),
    }
}

/// The engine's own SYN, to one target.
fn frame() -> Vec<u8> {
    let header = LinkHeader::Ethernet { source: MacAddr(SCANNER_MAC), destination: MacAddr(GATEWAY_MAC) };
    let template = SynTemplate::new(header, SCANNER.into(), 40_000);
    let mut frame = template.frame().to_vec();
    let target = Target { address: [10, 0, 0, 1].into(), port: 80 };
    template.patch(&mut frame, &Probe { target, seq: Seq(1), mac: None });
    frame
}

fn packets(device: u32, frame: &[u8], count: u32) -> io::Result<()> {
    let socket = packet_socket(device)?;
    let slices = [IoSlice::new(frame)];
    let mut ancillary: [SendAncillaryBuffer<'_, '_, '_>; BATCH] =
        std::array::from_fn(|_| SendAncillaryBuffer::default());
    let mut messages: Vec<MMsgHdr<'_>> = ancillary.iter_mut().map(|none| MMsgHdr::new(&slices, none)).collect();
    let mut left = count as usize;
    while left > 0 {
        let batch = left.min(BATCH);
        match sendmmsg(&socket, &mut messages[..batch], SendFlags::empty()) {
            Ok(sent) => left -= sent,
            Err(Errno::NOBUFS | Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn ring(device: u32, frame: &[u8], count: u32) -> io::Result<()> {
    let mut sender = XdpSender::open(device, frame, BATCH as u32)?;
    let mut left = count;
    while left > 0 {
        left -= sender.send(left.min(BATCH as u32))?;
    }
    while sender.in_flight() > 0 {
        sender.kick()?;
    }
    Ok(())
}

fn live(device: u32, frame: &[u8], count: u32) -> io::Result<()> {
    let program = constant(device, frame).map_err(io::Error::other)?;
    program.transmit(frame, count, BATCH as u32)
}

/// Writes the frame anew each time (the far end has changed it) and sends it on.
fn constant(device: u32, frame: &[u8]) -> Result<Program, halfopen_bpf::Error> {
    let mut code = Assembler::new();
    let short = code.label();
    code.load(Size::Word, R2, R1, 0).load(Size::Word, R3, R1, 4).mov(R4, R2).alu(Alu::Add, R4, frame.len() as i32);
    code.jump_when(R4, When::Greater, R3, short);
    let (words, rest) = frame.as_chunks::<8>();
    for (word, at) in words.iter().zip((0..).step_by(8)) {
        code.mov_wide(R0, u64::from_ne_bytes(*word)).store(Size::Double, R2, at, R0);
    }
    for (&byte, at) in rest.iter().zip(words.len() as i16 * 8..) {
        code.store(Size::Byte, R2, at, i32::from(byte));
    }
    code.mov(R1, device as i32).mov(R2, 0).call(Helper::Redirect).exit();
    code.place(short).give(action::DROP);
    Program::load(Kind::Xdp, "constant", &code.assemble())
}
