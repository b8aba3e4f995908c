//! Taking frames off a TPACKET_V3 ring: walks the blocks that the kernel hands over. The memory itself is `sys::ring`'s;
//! here it is bytes at the offsets of linux/if_packet.h.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime};

use libc::{tpacket_block_desc, tpacket_hdr_v1, tpacket3_hdr};

use super::{Clock, LinkRx, LinkSettings, Received, filter};
use crate::route::Interface;
use crate::sys::{PacketSocket, RxRing};
use crate::wire::reply::{Checksum, Layer};

const BLOCK_HEADER: usize = offset_of!(tpacket_block_desc, hdr);
const FRAMES: usize = BLOCK_HEADER + offset_of!(tpacket_hdr_v1, num_pkts);
const FIRST: usize = BLOCK_HEADER + offset_of!(tpacket_hdr_v1, offset_to_first_pkt);

/// Blocks handed over in one go at most, so that the receiver comes back to its other duties.
const TURN: usize = 16;

/// No frame stays in the ring for longer: what seems to have is one that the system's clock was set while it lay there.
const LONGEST_STAY: Duration = Duration::from_secs(5);

/// The receiving half of `af_packet` and `raw_ip`.
pub(super) struct RingRx {
    ring: RxRing,
    layer: Layer,
    drops: u64,
}

impl RingRx {
    /// Opens a ring on a device. The filter is in place before the first frame can come.
    pub(super) fn open(interface: &Interface, layer: Layer, settings: LinkSettings) -> io::Result<Self> {
        let socket = PacketSocket::new(layer)?;
        let program: Vec<_> =
            filter::program(layer, settings.ports, settings.echo).into_iter().map(Into::into).collect();
        socket.filter(&program)?;
        // Older kernels do not know the option; the filter drops outgoing frames there.
        let _ = socket.ignore_outgoing();
        RingRx::bound(socket, interface, layer, settings.ring_bytes())
    }

    /// Opens a ring that takes every frame that arrives at an Ethernet device.
    pub(super) fn open_unfiltered(interface: &Interface, bytes: usize) -> io::Result<Self> {
        let socket = PacketSocket::new(Layer::Ethernet)?;
        socket.ignore_outgoing()?;
        RingRx::bound(socket, interface, Layer::Ethernet, bytes)
    }

    /// The socket that fills it.
    pub(super) fn socket(&self) -> &PacketSocket {
        self.ring.socket()
    }

    fn bound(socket: PacketSocket, interface: &Interface, layer: Layer, bytes: usize) -> io::Result<Self> {
        let ring = RxRing::new(socket, bytes)?;
        ring.socket().bind_to_receive(interface.index)?;
        Ok(RingRx { ring, layer, drops: 0 })
    }
}

impl LinkRx for RingRx {
    fn layer(&self) -> Layer {
        self.layer
    }

    fn receive(&mut self, clock: &Clock, sink: &mut dyn FnMut(Received<'_>)) -> io::Result<()> {
        for _ in 0..TURN {
            let layer = self.layer;
            let Some(block) = self.ring.block() else { break };
            walk(block, layer, clock, sink);
            self.ring.release();
        }
        // A device that went down says so here, once.
        self.ring.socket().take_error()?.map_or(Ok(()), Err)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.ring.socket().as_fd())
    }

    fn drops(&mut self) -> u64 {
        self.drops += self.ring.socket().take_drops().unwrap_or(0);
        self.drops
    }
}

/// Hands over every frame of a block. What does not add up ends the block.
fn walk(block: &[u8], layer: Layer, clock: &Clock, sink: &mut dyn FnMut(Received<'_>)) {
    // Both clocks are read once a block: the distance between a stamp and now is what counts.
    let (now, wall) = (clock.now(), SystemTime::now());
    let mut at = word(block, FIRST).unwrap_or(0) as usize;
    for _ in 0..word(block, FRAMES).unwrap_or(0) {
        let Some(header) = Header::at(block, at) else { return };
        let Some(frame) = header.frame(block, at, layer) else { return };
        let age = wall.duration_since(header.stamp()).ok().filter(|age| *age < LONGEST_STAY).unwrap_or_default();
        sink(Received { frame, at: now - age, checksum: header.checksum() });
        if header.next == 0 {
            return;
        }
        at += header.next as usize;
    }
}

/// What matters of a `tpacket3_hdr`.
struct Header {
    next: u32,
    seconds: u32,
    nanos: u32,
    captured: u32,
    status: u32,
    link: u16,
    network: u16,
}

impl Header {
    fn at(block: &[u8], at: usize) -> Option<Self> {
        let field = |offset| word(block, at + offset);
        let offsets = field(offset_of!(tpacket3_hdr, tp_mac))?.to_ne_bytes();
        Some(Header {
            next: field(offset_of!(tpacket3_hdr, tp_next_offset))?,
            seconds: field(offset_of!(tpacket3_hdr, tp_sec))?,
            nanos: field(offset_of!(tpacket3_hdr, tp_nsec))?,
            captured: field(offset_of!(tpacket3_hdr, tp_snaplen))?,
            status: field(offset_of!(tpacket3_hdr, tp_status))?,
            link: u16::from_ne_bytes([offsets[0], offsets[1]]),
            network: u16::from_ne_bytes([offsets[2], offsets[3]]),
        })
    }

    fn frame<'a>(&self, block: &'a [u8], at: usize, layer: Layer) -> Option<&'a [u8]> {
        let start = at + usize::from(if layer == Layer::Ethernet { self.link } else { self.network });
        block.get(start..start + self.captured as usize)
    }

    fn stamp(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::new(self.seconds.into(), self.nanos.min(999_999_999))
    }

    /// Trusted if the device or the kernel has verified it, or if it is still to be filled in.
    fn checksum(&self) -> Checksum {
        match self.status & (libc::TP_STATUS_CSUM_VALID | libc::TP_STATUS_CSUMNOTREADY) {
            0 => Checksum::Unknown,
            _ => Checksum::Trusted,
        }
    }
}

fn word(block: &[u8], at: usize) -> Option<u32> {
    block.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &[u8] = b"a frame of twenty-four b";

    fn block(frames: u32, next: u32, captured: u32) -> Vec<u8> {
        let mut block = vec![0; 4096];
        let mut put = |at: usize, value: u32| block[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        put(FRAMES, frames);
        put(FIRST, 128);
        for i in 0..frames.min(3) as usize {
            let at = 128 + i * next as usize;
            put(at + offset_of!(tpacket3_hdr, tp_next_offset), next);
            put(at + offset_of!(tpacket3_hdr, tp_snaplen), captured);
            put(at + offset_of!(tpacket3_hdr, tp_mac), u32::from_ne_bytes([82, 0, 96, 0]));
        }
        for i in 0..frames.min(3) as usize {
            let at = 128 + i * next as usize + 82;
            block[at..at + FRAME.len()].copy_from_slice(FRAME);
        }
        block
    }

    fn frames(block: &[u8], layer: Layer) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        walk(block, layer, &Clock::new(), &mut |received| frames.push(received.frame.to_vec()));
        frames
    }

    #[test]
    fn every_frame_of_a_block() {
        assert_eq!(frames(&block(3, 256, 24), Layer::Ethernet), [FRAME; 3]);
        assert_eq!(frames(&block(1, 0, 10), Layer::Ip), [&FRAME[14..24]]);
        assert_eq!(frames(&block(3, 0, 24), Layer::Ethernet), [FRAME], "the last says that there is no next");
        assert!(frames(&block(0, 256, 24), Layer::Ethernet).is_empty());
    }

    #[test]
    fn nonsense_ends_the_block() {
        assert!(frames(&block(1, 256, 1 << 30), Layer::Ethernet).is_empty());
        assert!(frames(&[0xff; 200], Layer::Ethernet).is_empty());
        assert!(frames(&[], Layer::Ethernet).is_empty());
        assert!(frames(&block(u32::MAX, 1024, 24), Layer::Ethernet).len() <= 4);
    }
}
