//! What sender and receiver share, and all that they share: the table, the send log, counters, and the phase.
//!
//! Each counter has one writer: the sender's stand on one cache line, the receiver's on another, so that counting costs
//! neither of them anything. Readers (progress, summary) see each counter exactly and the set of them roughly.
//!
//! **The phase** hands the table back and forth at a stripe's end:
//!
//! ```text
//!          sender: cooldown is over        receiver: silent targets reported
//!   Open ----------------------------> Closing ----------------------------> Closed
//!    ^                                                                         |
//!    +-------------------- sender: table reset, next stripe -------------------+----> Done (sender: no next stripe)
//! ```
//!
//! In `Open` the receiver records answers and the sender reads; in `Closing` the receiver alone uses the table; in
//! `Closed` the sender alone. Each store of the phase is a release and each load an acquire, so whoever takes the table
//! over sees all that the other did to it, the bounds of the next stripe included. `Relaxed` is enough for the rest: a
//! counter publishes nothing but itself.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::event::Phase;
use crate::permute::Stripe;
use crate::rtt::{SendLog, WAIT_UNHEARD};
use crate::summary::Strays;
use crate::table::VerdictTable;
use crate::target::Position;
use crate::verdict::State;

/// Shared by one scan's sender, receiver and owner.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) table: VerdictTable,
    pub(crate) log: SendLog,
    pub(crate) sender: CachePadded<SenderCounters>,
    pub(crate) receiver: CachePadded<ReceiverCounters>,
    turn: AtomicU8,
    stripe: [AtomicU64; 2],
    /// How many positions of the stripe pass 0 has walked: only those can be called silent.
    walked: AtomicU64,
    /// The last pass begun in this stripe.
    pass: AtomicU8,
    /// How long an answer may take, in nanoseconds, by the receiver's estimate.
    wait: AtomicU64,
    stop: AtomicBool,
    abort: AtomicBool,
    congested: AtomicBool,
}

/// Whose turn it is with the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Turn {
    Open = 0,
    Closing = 1,
    Closed = 2,
    Done = 3,
}

/// Written by the sender alone.
#[derive(Debug, Default)]
pub(crate) struct SenderCounters {
    /// Probes sent, by pass.
    pub(crate) sent: [AtomicU64; MAX_PASSES as usize],
    /// Positions of whole scan walked in pass 0.
    pub(crate) walked: AtomicU64,
    /// Targets passed over because their host is down.
    pub(crate) skipped: AtomicU64,
    /// On-link hosts that did not answer.
    pub(crate) hosts_down: AtomicU64,
    /// Nanoseconds spent in passes.
    pub(crate) sending: AtomicU64,
    pub(crate) send_errors: AtomicU64,
    pub(crate) send_retries: AtomicU64,
    /// Dropped by the device after the link had taken them.
    pub(crate) send_drops: AtomicU64,
    phase: AtomicU8,
}

/// Written by the receiver alone.
#[derive(Debug, Default)]
pub(crate) struct ReceiverCounters {
    pub(crate) open: AtomicU64,
    pub(crate) closed: AtomicU64,
    pub(crate) filtered: AtomicU64,
    pub(crate) silent: AtomicU64,
    pub(crate) replies: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) ring_drops: AtomicU64,
    /// Smoothed RTT in nanoseconds; 0 while there is none.
    pub(crate) srtt: AtomicU64,
    /// Probes a second over the last second or so, in thousandths.
    pub(crate) recent_rate: AtomicU64,
    pub(crate) strays: StrayCounters,
}

/// `Strays`, counting.
#[derive(Debug, Default)]
pub(crate) struct StrayCounters {
    pub(crate) malformed: AtomicU64,
    pub(crate) unrelated: AtomicU64,
    pub(crate) wrong_port: AtomicU64,
    pub(crate) foreign: AtomicU64,
    pub(crate) bad_ack: AtomicU64,
    pub(crate) bad_quote: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) own: AtomicU64,
}

/// Source ports are base+pass, and nobody needs more passes than nmap's ten; sixteen leave room.
pub(crate) const MAX_PASSES: u8 = 16;

impl Shared {
    /// For stripes of at most `cells` positions and so many passes.
    pub(crate) fn new(cells: u64, passes: u8) -> Self {
        Shared {
            table: VerdictTable::new(cells),
            log: SendLog::new(cells, passes),
            sender: CachePadded::default(),
            receiver: CachePadded::default(),
            turn: AtomicU8::new(Turn::Closed as u8),
            stripe: [AtomicU64::new(0), AtomicU64::new(0)],
            walked: AtomicU64::new(0),
            pass: AtomicU8::new(0),
            wait: AtomicU64::new(WAIT_UNHEARD.as_nanos() as u64),
            stop: AtomicBool::new(false),
            abort: AtomicBool::new(false),
            congested: AtomicBool::new(false),
        }
    }

    pub(crate) fn turn(&self) -> Turn {
        match self.turn.load(Ordering::Acquire) {
            0 => Turn::Open,
            1 => Turn::Closing,
            2 => Turn::Closed,
            _ => Turn::Done,
        }
    }

    pub(crate) fn set_turn(&self, turn: Turn) {
        self.turn.store(turn as u8, Ordering::Release);
    }

    /// Begins a stripe: to be called by the sender in `Closed` only.
    pub(crate) fn open(&self, stripe: Stripe) {
        self.table.reset();
        self.log.reset();
        self.stripe[0].store(stripe.start.0, Ordering::Relaxed);
        self.stripe[1].store(stripe.len, Ordering::Relaxed);
        self.walked.store(0, Ordering::Relaxed);
        self.pass.store(0, Ordering::Relaxed);
        self.set_turn(Turn::Open);
    }

    pub(crate) fn stripe(&self) -> Stripe {
        let [start, len] = &self.stripe;
        Stripe { start: Position(start.load(Ordering::Relaxed)), len: len.load(Ordering::Relaxed) }
    }

    pub(crate) fn walked(&self) -> u64 {
        self.walked.load(Ordering::Relaxed)
    }

    /// Pass 0 has come as far as `offset` in this stripe.
    pub(crate) fn set_walked(&self, offset: u64) {
        let before = self.walked.swap(offset, Ordering::Relaxed);
        add(&self.sender.walked, offset - before);
    }

    pub(crate) fn pass(&self) -> u8 {
        self.pass.load(Ordering::Relaxed)
    }

    pub(crate) fn set_pass(&self, pass: u8) {
        self.pass.store(pass, Ordering::Relaxed);
    }

    /// How long an answer may take.
    pub(crate) fn wait(&self) -> Duration {
        Duration::from_nanos(self.wait.load(Ordering::Relaxed))
    }

    pub(crate) fn set_wait(&self, wait: Duration) {
        self.wait.store(wait.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn abort(&self) {
        self.stop();
        self.abort.store(true, Ordering::Relaxed);
    }

    pub(crate) fn aborted(&self) -> bool {
        self.abort.load(Ordering::Relaxed)
    }

    /// Whether the reader of the events is behind, so that sending has to wait for it.
    pub(crate) fn congested(&self) -> bool {
        self.congested.load(Ordering::Relaxed)
    }

    pub(crate) fn set_congested(&self, congested: bool) {
        self.congested.store(congested, Ordering::Relaxed);
    }
}

impl SenderCounters {
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Neighbours,
            1 => Phase::Cooldown,
            2 => Phase::Done,
            code if code < 64 => Phase::Probing { pass: code - 16 },
            code => Phase::Spacing { pass: code - 64 },
        }
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        let code = match phase {
            Phase::Neighbours => 0,
            Phase::Cooldown => 1,
            Phase::Done => 2,
            Phase::Probing { pass } => 16 + pass,
            Phase::Spacing { pass } => 64 + pass,
        };
        self.phase.store(code, Ordering::Relaxed);
    }

    pub(crate) fn total_sent(&self) -> u64 {
        self.sent.iter().map(load).sum()
    }
}

impl ReceiverCounters {
    /// How many targets are in a state.
    pub(crate) fn of(&self, state: State) -> &AtomicU64 {
        match state {
            State::Open => &self.open,
            State::Closed => &self.closed,
            State::Filtered => &self.filtered,
        }
    }
}

impl StrayCounters {
    pub(crate) fn snapshot(&self) -> Strays {
        Strays {
            malformed: load(&self.malformed),
            unrelated: load(&self.unrelated),
            wrong_port: load(&self.wrong_port),
            foreign: load(&self.foreign),
            bad_ack: load(&self.bad_ack),
            bad_quote: load(&self.bad_quote),
            late: load(&self.late),
            own: load(&self.own),
        }
    }
}

/// Adds to a counter that only the caller writes: a plain load and store, no locked instruction.
#[inline]
pub(crate) fn add(counter: &AtomicU64, by: u64) {
    counter.store(load(counter).wrapping_add(by), Ordering::Relaxed);
}

/// Reads a counter.
#[inline]
pub(crate) fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Sets a counter that only the caller writes.
#[inline]
pub(crate) fn set(counter: &AtomicU64, to: u64) {
    counter.store(to, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_survive_their_encoding() {
        let counters = SenderCounters::default();
        assert_eq!(counters.phase(), Phase::Neighbours);
        let passes = (0..MAX_PASSES).flat_map(|pass| [Phase::Probing { pass }, Phase::Spacing { pass }]);
        for phase in passes.chain([Phase::Neighbours, Phase::Cooldown, Phase::Done]) {
            counters.set_phase(phase);
            assert_eq!(counters.phase(), phase);
        }
    }

    #[test]
    fn walking_counts_over_stripes() {
        let shared = Shared::new(100, 1);
        for _ in 0..2 {
            shared.open(Stripe { start: Position(0), len: 100 });
            shared.set_walked(60);
            shared.set_walked(100);
        }
        assert_eq!(load(&shared.sender.walked), 200);
    }
}
