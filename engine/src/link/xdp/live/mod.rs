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
//! - `program`: the two programs, and the words that they and we share.
//! - `slots`: the ring of probes.
//! - `runner`: the thread that the carrier runs on.
//!
//! What the driver left (its queue was full) is laid down again behind the others and counted as a retry, so the link's
//! promise is that of a socket: what is not refused, leaves. The program sends what it finds and so keeps the pace at
//! which it is fed; it spins meanwhile, so this link takes a whole processor, and it is made for rates that no other
//! reaches.

mod program;
mod runner;
mod slots;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use halfopen_bpf::{ByteMap, Kind, Program, Tracepoint, WordMap};

use self::program::{ERROR, LEFT, LEFT_RING, Lengths, NOBODY, PidNamespace, SLOT, SLOTS, THREAD};
use self::runner::{Carrier, Runner};
use self::slots::{Shared, Slots};
use crate::cores;
use crate::link::{LinkSettings, LinkTx, TemplateId, TxLosses};
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

/// For so long after a RST the runner does not rest: where there was one there are more, and waking it takes longer than a
/// half-open connection should stay open.
const CLOSING: Duration = Duration::from_millis(100);

/// Opens sending halves on an Ethernet device: programs, memory and a thread of its own for each sender; for fewer than are
/// asked for, where there are not that many cores and one more.
pub(super) fn open(interface: &Interface, settings: LinkSettings) -> Result<Vec<Box<dyn LinkTx>>, Unable> {
    let (v4, v6) = (settings.sources.iter().any(IpAddr::is_ipv4), settings.sources.iter().any(IpAddr::is_ipv6));
    // A runner keeps a core busy, and something else has to run as well.
    let cores = cores::allowed().map_or(1, |cores| cores.len());
    (0..settings.senders.min(cores.saturating_sub(1)).max(1))
        .map(|nth| Ok(Box::new(LiveTx::open(interface, v4, v6, cores::to_spin_on(nth))?) as Box<dyn LinkTx>))
        .collect()
}

/// Sends through a device that can.
struct LiveTx {
    slots: Slots<Shared>,
    words: Arc<WordMap>,
    templates: Vec<SynTemplate>,
    /// How many had left at the last look.
    moved: u64,
    /// Since when the carrier has taken more than the accountant knows of, and how much that knew then.
    unaccounted: Option<(u64, Instant)>,
    /// When the last RST was laid down.
    closed: Option<Instant>,
    // In this order: the runner ends before its programs go.
    runner: Option<Runner>,
    carrier: Arc<Carrier>,
    _accountant: Tracepoint,
}

impl LiveTx {
    /// A sending half on an Ethernet device, for probes of one family or both. Tries with a few frames whether the
    /// device, and what is behind it, takes such frames at all.
    fn open(interface: &Interface, v4: bool, v6: bool, core: Option<usize>) -> Result<Self, Unable> {
        let lengths = Lengths::of(v4, v6);
        let words = Arc::new(WordMap::new(LEFT_RING + SLOTS as usize)?);
        words.words()[THREAD].store(NOBODY, Ordering::Relaxed);
        let slots = ByteMap::new((SLOTS * SLOT) as usize)?;
        let accountant = Program::load(
            Kind::RawTracepoint,
            "halfopen_count",
            &program::accountant(&words, PidNamespace::of_this_thread()?),
        )?;
        let accountant = Tracepoint::attach(&accountant, "xdp_devmap_xmit")?;
        let carrier = program::carrier(&words, &slots, interface.index, lengths);
        let program = Program::load(Kind::Xdp, "halfopen_send", &carrier)?;
        let frame = vec![0; lengths.longest()];
        let carrier = Arc::new(Carrier { program, words: Arc::clone(&words), frame, core });
        let slots = Slots::new(Shared { words: Arc::clone(&words), slots });
        let mut link = LiveTx {
            slots,
            words,
            templates: Vec::new(),
            moved: 0,
            unaccounted: None,
            closed: None,
            runner: None,
            carrier,
            _accountant: accountant,
        };
        link.try_out(interface.mac.unwrap_or(MacAddr::ZERO))?;
        Ok(link)
    }

    /// Sends a few frames to nobody: to our own address, of an EtherType for local experiments (IEEE 802, 0x88b5).
    fn try_out(&mut self, own: MacAddr) -> Result<(), Unable> {
        let mut frame = [0; 14];
        frame[..6].copy_from_slice(&own.0);
        frame[6..12].copy_from_slice(&own.0);
        frame[12..].copy_from_slice(&0x88b5_u16.to_be_bytes());
        (0..TRIAL).for_each(|_| self.slots.frame(&frame));
        self.publish()?;
        self.wait_for_trial();
        self.hold();
        if let Some(error) = self.error() {
            return Err(Unable::Run(error));
        }
        self.runner = None;
        let (taken, left) = (self.slots.flushed(), self.word(LEFT));
        self.slots.collect();
        match (taken, left) {
            (TRIAL, 0) => Ok(()),
            (0, _) => Err(Unable::Refused),
            _ => Err(Unable::Left(io::Error::from_raw_os_error(-(self.word(ERROR) as i32)))),
        }
    }

    fn wait_for_trial(&self) {
        let mut end = Instant::now() + TRIAL_TIME;
        while self.slots.flushed() < TRIAL && Instant::now() < end && self.error().is_none() {
            if self.slots.unaccounted() == TRIAL {
                end = end.min(Instant::now() + UNACCOUNTED);
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    fn word(&self, word: usize) -> u64 {
        self.words.words()[word].load(Ordering::Acquire)
    }

    fn publish(&mut self) -> io::Result<()> {
        if self.slots.publish() { self.wake() } else { Ok(()) }
    }

    /// The runner is started by whoever has something to send, with no more rights than that thread has.
    #[inline]
    fn wake(&mut self) -> io::Result<()> {
        if self.runner.is_none() {
            self.runner = Some(Runner::start(&self.carrier)?);
        }
        self.runner.iter().for_each(Runner::wake);
        Ok(())
    }

    fn hold(&self) {
        self.runner.iter().for_each(Runner::hold);
    }

    fn error(&self) -> Option<io::Error> {
        self.runner.as_ref().and_then(Runner::error)
    }

    /// Frames that never reached the driver (the device went down, or its ability went) are in nobody's account. Once
    /// the carrier rests, what it took and nobody saw leave was left.
    fn reconcile(&mut self) -> io::Result<()> {
        if self.slots.unaccounted() == 0 {
            self.unaccounted = None;
            return Ok(());
        }
        let flushed = self.slots.flushed();
        match self.unaccounted {
            Some((known, since)) if known == flushed => {
                if since.elapsed() > UNACCOUNTED {
                    self.hold();
                    self.slots.recount();
                    self.slots.publish();
                    // Also if there was nothing new after all: something may have waited before.
                    self.wake()?;
                    self.unaccounted = None;
                }
            }
            _ => self.unaccounted = Some((flushed, Instant::now())),
        }
        Ok(())
    }
}

impl LinkTx for LiveTx {
    fn prepare(&mut self, template: &SynTemplate) -> TemplateId {
        self.templates.push(template.clone());
        TemplateId(self.templates.len() - 1)
    }

    /// No more than a batch, so that what is laid down is soon published.
    #[inline]
    fn room(&self) -> usize {
        BATCH.saturating_sub(self.slots.unpublished()).min(self.slots.room()) as usize
    }

    #[inline]
    fn probe(&mut self, id: TemplateId, probe: &Probe) {
        let Some(template) = self.templates.get(id.0) else { return };
        if self.slots.room() > 0 {
            self.slots.probe(id, template, probe);
        }
    }

    fn flush(&mut self) -> io::Result<bool> {
        self.slots.collect();
        self.publish()?;
        if let Some(error) = self.error() {
            return Err(error);
        }
        self.reconcile()?;
        Ok(self.slots.is_empty())
    }

    fn moves(&mut self) -> bool {
        let taken = self.slots.taken();
        std::mem::replace(&mut self.moved, taken) != taken
    }

    fn rest(&mut self) {
        self.slots.collect();
        // What fails here fails again at the next flush, and is said there.
        let _ = self.publish();
        let more_to_close = self.closed.is_some_and(|closed| closed.elapsed() < CLOSING);
        if self.slots.is_empty() && !more_to_close {
            self.hold();
        }
    }

    fn spins_on(&self) -> Option<usize> {
        self.carrier.core
    }

    /// A probe, or a RST as `wire/rst.rs` makes it: the carrier knows no other lengths.
    fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        if self.slots.room() == 0 {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
        self.slots.frame(frame);
        self.closed = Some(Instant::now());
        Ok(())
    }

    fn losses(&self) -> TxLosses {
        TxLosses { retries: self.slots.retries(), ..TxLosses::default() }
    }
}

impl From<halfopen_bpf::Error> for Unable {
    fn from(error: halfopen_bpf::Error) -> Self {
        if error.is_for_want_of_rights() { Unable::Rights } else { Unable::Bpf(error) }
    }
}

impl Unable {
    /// Whether it is for the device to do better.
    pub(super) fn is_the_devices(&self) -> bool {
        matches!(self, Unable::Refused | Unable::Left(_))
    }
}

/// Why a device cannot send live frames.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unable {
    /// The rights to it are missing.
    #[error("it needs the capabilities CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON")]
    Rights,
    /// A program was refused.
    #[error(transparent)]
    Bpf(halfopen_bpf::Error),
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
