//! The sending half of `xdp_live`: probes are laid down in memory that a program in the kernel shares, and leave as XDP
//! frames (BPF_PROG_TEST_RUN with BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18), in bulk, through the driver's `ndo_xdp_xmit`,
//! without socket buffer, and without a system call a batch.
//!
//! ```text
//!   LinkTx::probe          carrier (runner's thread, in the kernel)        accountant (tracepoint)
//!   patches a slot ──────▶ copies it into a frame, redirects ──▶ driver ──▶ counts what was taken
//!        ▲                                                                      │ left
//!        └──────────────────────── laid down again ◀────────────────────────────┘
//! ```
//!
//! A slot is ours again once the driver took it. What it left (its queue was full) is laid down again behind the others
//! and counted as a retry, so the link's promise is that of a socket: what is not refused, leaves. The program sends what
//! it finds and so keeps the pace at which it is fed; it spins meanwhile, so this link takes a whole processor, and it
//! is made for rates that no other reaches.

mod program;
mod runner;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use halfopen_bpf::{ByteMap, Kind, Program, Tracepoint, WordMap};

use self::program::{CONSUMED, ERROR, FLUSHED, LEFT, LEFT_RING, Lengths, PRODUCED, SLOT, SLOTS};
use self::runner::Runner;
use super::{LinkTx, TemplateId, TxLosses};
use crate::route::Interface;
use crate::wire::MacAddr;
use crate::wire::syn::{Probe, SynTemplate};

/// Probes between two looks at what the kernel did.
const BATCH: u64 = 64;
/// Frames that must have left before a device is believed to be able.
const TRIAL: u64 = 8;
/// How long they may take. The first call loads code and makes memory ready.
const TRIAL_TIME: Duration = Duration::from_millis(500);
/// For so long a frame may be under way between the two programs; it is a matter of microseconds.
const UNACCOUNTED: Duration = Duration::from_millis(20);

/// Sends through a device that can.
pub(super) struct LiveTx {
    words: Arc<WordMap>,
    slots: ByteMap,
    templates: Vec<SynTemplate>,
    /// Which template a slot's bytes are a probe of.
    laid: Box<[Option<TemplateId>]>,
    /// Probes laid down, counted from the start; those up to `published` the carrier may take.
    produced: u64,
    published: u64,
    /// Slots up to here are ours again.
    free: u64,
    /// Entries of what was left that were read.
    read: u64,
    losses: TxLosses,
    /// Since when the carrier has taken more than the accountant knows of.
    unaccounted: Option<(u64, Instant)>,
    // In this order: the runner ends before its programs go.
    runner: Runner,
    _accountant: Tracepoint,
}

impl LiveTx {
    /// A sending half on an Ethernet device, for probes of one family or both. Tries with a few frames whether the
    /// device, and what is behind it, takes such frames at all.
    pub(super) fn open(interface: &Interface, v4: bool, v6: bool) -> Result<Self, Unable> {
        let lengths = Lengths::of(v4, v6);
        let words = Arc::new(WordMap::new(LEFT_RING + SLOTS as usize)?);
        let slots = ByteMap::new((SLOTS * SLOT) as usize)?;
        let accountant = Program::load(Kind::RawTracepoint, "halfopen_count", &program::accountant(&words))?;
        let accountant = Tracepoint::attach(&accountant, "xdp_devmap_xmit")?;
        let carrier = program::carrier(&words, &slots, interface.index, lengths);
        let carrier = Program::load(Kind::Xdp, "halfopen_send", &carrier)?;
        let runner = Runner::start(carrier, &words, vec![0; lengths.longest()])?;
        let mut link = LiveTx {
            words,
            slots,
            templates: Vec::new(),
            laid: vec![None; SLOTS as usize].into_boxed_slice(),
            produced: 0,
            published: 0,
            free: 0,
            read: 0,
            losses: TxLosses::default(),
            unaccounted: None,
            runner,
            _accountant: accountant,
        };
        link.try_out(interface.mac.unwrap_or(MacAddr::ZERO))?;
        Ok(link)
    }

    /// Sends a few frames to nobody: to our own address, of an EtherType for local experiments (IEEE 802, 0x88b5).
    fn try_out(&mut self, own: MacAddr) -> Result<(), Unable> {
        for _ in 0..TRIAL {
            let frame = self.slot(self.produced);
            frame[..6].copy_from_slice(&own.0);
            frame[6..12].copy_from_slice(&own.0);
            frame[12..14].copy_from_slice(&0x88b5_u16.to_be_bytes());
            self.produced += 1;
        }
        self.publish();
        let end = Instant::now() + TRIAL_TIME;
        while self.load(FLUSHED) < TRIAL && Instant::now() < end && self.runner.error().is_none() {
            std::thread::sleep(Duration::from_micros(100));
        }
        self.runner.hold();
        if let Some(error) = self.runner.error() {
            return Err(Unable::Run(error));
        }
        match (self.load(FLUSHED), self.load(LEFT)) {
            (TRIAL, 0) => {
                self.free = TRIAL;
                Ok(())
            }
            (0, _) => Err(Unable::Refused),
            _ => Err(Unable::Left(io::Error::from_raw_os_error(-(self.load(ERROR) as i32)))),
        }
    }

    fn slot(&mut self, number: u64) -> &mut [u8] {
        let at = slot_at(number);
        &mut self.slots.bytes()[at..at + SLOT as usize]
    }

    fn load(&self, word: usize) -> u64 {
        self.word(word).load(Ordering::Acquire)
    }

    fn word(&self, word: usize) -> &AtomicU64 {
        &self.words.words()[word]
    }

    /// Gives the carrier all that is laid down: the slots' bytes come before the word that says so.
    fn publish(&mut self) {
        if self.published != self.produced {
            self.published = self.produced;
            self.word(PRODUCED).store(self.produced, Ordering::Release);
            self.runner.wake();
        }
    }

    /// Takes back what the driver took, and lays down again what it left.
    fn collect(&mut self) {
        let flushed = self.load(FLUSHED);
        let left = self.load(LEFT);
        while self.read < left {
            let entry = self.load(LEFT_RING + (self.read % SLOTS) as usize);
            let (first, count) = (entry >> 16, entry & 0xffff);
            if first + count > flushed {
                break;
            }
            self.read += 1;
            self.again(first, count);
        }
        self.free = flushed;
    }

    /// Lays slots down once more, behind all others. There is room: each is itself free from here on.
    fn again(&mut self, first: u64, count: u64) {
        for number in first..first + count {
            self.free = number + 1;
            let (from, to) = (slot_at(number), slot_at(self.produced));
            self.slots.bytes().copy_within(from..from + SLOT as usize, to);
            self.laid[(self.produced % SLOTS) as usize] = self.laid[(number % SLOTS) as usize];
            self.produced += 1;
        }
        self.losses.retries += count;
    }

    /// Frames that never reached the driver (the device went down, or its ability went) are in nobody's account. Once
    /// the carrier rests, what it took and nobody saw leave was left.
    fn reconcile(&mut self) {
        let (flushed, consumed) = (self.load(FLUSHED), self.load(CONSUMED));
        if flushed == consumed {
            self.unaccounted = None;
            return;
        }
        match self.unaccounted {
            Some((known, since)) if known == flushed && since.elapsed() > UNACCOUNTED => self.recount(),
            Some((known, _)) if known == flushed => {}
            _ => self.unaccounted = Some((flushed, Instant::now())),
        }
    }

    fn recount(&mut self) {
        self.unaccounted = None;
        self.runner.hold();
        self.collect();
        let (flushed, consumed) = (self.load(FLUSHED), self.load(CONSUMED));
        if flushed < consumed {
            self.word(FLUSHED).store(consumed, Ordering::Release);
            self.again(flushed, consumed - flushed);
        }
        self.free = consumed;
    }
}

fn slot_at(number: u64) -> usize {
    (number % SLOTS * SLOT) as usize
}

impl LinkTx for LiveTx {
    fn prepare(&mut self, template: &SynTemplate) -> TemplateId {
        self.templates.push(template.clone());
        TemplateId(self.templates.len() - 1)
    }

    /// No more than a batch, so that what is laid down is soon published.
    #[inline]
    fn room(&self) -> usize {
        let batch = BATCH - (self.produced - self.published).min(BATCH);
        batch.min(SLOTS - (self.produced - self.free)) as usize
    }

    #[inline]
    fn probe(&mut self, id: TemplateId, probe: &Probe) {
        let Some(template) = self.templates.get(id.0) else { return };
        let at = slot_at(self.produced);
        let Some(frame) = self.slots.bytes().get_mut(at..at + SLOT as usize) else { return };
        let laid = &mut self.laid[(self.produced % SLOTS) as usize];
        if *laid != Some(id) {
            frame[..template.frame().len()].copy_from_slice(template.frame());
            *laid = Some(id);
        }
        template.patch(frame, probe);
        self.produced += 1;
    }

    fn flush(&mut self) -> io::Result<bool> {
        self.collect();
        self.publish();
        if let Some(error) = self.runner.error() {
            return Err(error);
        }
        self.reconcile();
        Ok(self.free == self.produced)
    }

    fn frame(&mut self, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn losses(&self) -> TxLosses {
        self.losses
    }
}

/// Why a device cannot send live frames.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unable {
    /// A program was refused, or the right to it.
    #[error(transparent)]
    Bpf(#[from] halfopen_bpf::Error),
    /// The runner's thread.
    #[error("cannot start a thread for it: {0}")]
    Thread(#[from] io::Error),
    /// The kernel does not do it.
    #[error("the kernel does not run live frames: {0}")]
    Run(io::Error),
    /// No frame reached the driver.
    #[error("the driver does not take redirected frames (on veth, the peer needs an XDP program or GRO)")]
    Refused,
    /// The driver left some.
    #[error("the driver did not take all frames of a trial: {0}")]
    Left(io::Error),
}
