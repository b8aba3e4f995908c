//! What sender, walkers and receiver share, and all that they share: the table, the send log, counters, and whose turn
//! it is.
//!
//! Each counter has one writer: each walker's stand on cache lines of its own, so do the receiver's, and counting costs
//! none of them anything. Readers (progress, summary) see each counter exactly and the set of them roughly.
//!
//! **The turn** hands the table back and forth at a stripe's end:
//!
//! ```text
//!          sender: cooldown is over        receiver: silent targets reported
//!   Open ----------------------------> Closing ----------------------------> Closed
//!    ^                                                                         |
//!    +-------------------- sender: table reset, next stripe -------------------+----> Done (sender: no next stripe)
//! ```
//!
//! In `Open` the receiver records answers and the walkers read; in `Closing` the receiver alone uses the table; in
//! `Closed` the sender alone. Each store of the turn is a release and each load an acquire, so whoever takes the table
//! over sees all that the other did to it, the bounds of the next stripe included.
//!
//! **The lap** hands the slices of a stripe to the walkers and back, once for every leg (a pass, or a part of one), while
//! the turn is `Open`: the sender cuts the slices, says which groups of targets the leg is about, and raises the lap
//! (release); a walker that sees a new lap (acquire) walks its slice, and when it is done stores that lap in its own block
//! (release), where the sender finds it (acquire). Between the two, what a block says of the slice is the walker's to
//! write; else it is the sender's.
//!
//! **Drops** are counted by whoever sees them, and then the receiver's thread stores the time until which the counts are
//! complete (release); a walker reads that time first (acquire) and then the counts, so that they can only be newer.
//!
//! **Questions** about hosts go from receiver to walker through a channel (`controls.rs`).
//!
//! **Checkpoints** (`checkpoint.rs`) are taken by anybody at any time: `shift` is a sequence lock, odd while the sender
//! changes stripe or leg, so that whoever reads both can see whether they belong together.
//!
//! **The rate** is the sender's to set, for all walkers together, at any time.
//!
//! `Relaxed` is enough for the rest: a counter publishes nothing but itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use crate::canary::Canaries;
use crate::checkpoint::{AtWork, Basis, runs};
use crate::controls::Questions;
use crate::event::{Phase, RateBound};
use crate::loss::Ledger;
use crate::permute::Stripe;
use crate::plan::AddressRange;
use crate::prefix::Groups;
#[cfg(test)]
use crate::prefix::Prefixes;
use crate::rtt::{SendLog, WAIT_UNHEARD};
use crate::summary::{Completeness, Strays};
use crate::suspects::Ranges;
use crate::table::{Recorded, VerdictTable};
use crate::target::Position;
use crate::time::Time;
use crate::trail::Trail;
use crate::verdict::{State, Suspicion};

/// A change that checkpoints must see all or nothing of.
#[derive(Debug)]
#[must_use = "it lasts as long as this lives"]
pub(crate) struct Shift<'a> {
    /// With which version it ends, if it is not part of another.
    ends: Option<(&'a AtomicU64, u64)>,
}

impl Drop for Shift<'_> {
    fn drop(&mut self) {
        if let Some((shift, version)) = self.ends {
            shift.store(version, Ordering::Release);
        }
    }
}

/// Shared by one scan's sender, receiver and owner.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) table: VerdictTable,
    pub(crate) log: SendLog,
    pub(crate) ledger: Ledger,
    pub(crate) canaries: Canaries,
    pub(crate) sender: CachePadded<SenderCounters>,
    pub(crate) walkers: Box<[CachePadded<WalkerCounters>]>,
    pub(crate) receiver: CachePadded<ReceiverCounters>,
    pub(crate) questions: Questions,
    turn: AtomicU8,
    /// Counts the legs that were begun.
    lap: AtomicU64,
    leg: LegCell,
    stripe: [AtomicU64; 2],
    /// Probes a second for all walkers together; `u64::MAX` for as many as the links take.
    rate: AtomicU64,
    /// How long an answer may take, in nanoseconds, by the receiver's estimate.
    wait: AtomicU64,
    /// The same for one that is waited for only to see whether it comes: without a floor, and without the slowest.
    answer: AtomicU64,
    stop: AtomicBool,
    abort: AtomicBool,
    congested: AtomicBool,
    /// Whether what is silent stays so when the scan is stopped, because it will be resumed.
    suspend: AtomicBool,
    /// Odd while stripe or leg change.
    pub(crate) shift: AtomicU64,
    pub(crate) basis: Mutex<Basis>,
    closing: Mutex<Closing>,
    /// In a stripe that was begun in another run: what its first leg is about, and that leg's lap.
    rest: Mutex<Option<(u64, Arc<Ranges>)>>,
    /// The sender's last word.
    completeness: Mutex<Option<Completeness>>,
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

/// How far the stripe is closed, and what is known of its beginning.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Closing {
    /// What lies before is done with.
    pub(crate) offset: u64,
    /// Of that, what was called silent.
    pub(crate) silent: u64,
    /// Open, closed, filtered and silent targets that are not in the table.
    pub(crate) base: [u64; 4],
}

/// What a leg is about.
#[derive(Debug)]
struct LegCell {
    pass: AtomicU8,
    /// The bits of the highest rate.
    most: AtomicU64,
    /// Canaries to be sent instead of probes; 0 for a walk.
    vouchers: AtomicU64,
    all: AtomicBool,
    /// Bits, by group.
    groups: Box<[AtomicU64]>,
}

/// A leg, as a walker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lap {
    pub(crate) number: u64,
    pub(crate) pass: u8,
    pub(crate) vouchers: u64,
    /// Whether it is about all groups.
    pub(crate) all: bool,
}

/// Written by the sender, which leads the walkers, alone.
#[derive(Debug, Default)]
pub(crate) struct SenderCounters {
    /// Probes that the passes begun so far are expected to take.
    pub(crate) planned: AtomicU64,
    /// Targets of the stripes begun so far.
    pub(crate) begun: AtomicU64,
    /// Targets of hosts that were skipped because they answered nothing.
    pub(crate) spared: AtomicU64,
    /// On-link hosts that did not answer.
    pub(crate) hosts_down: AtomicU64,
    phase: AtomicU8,
    bound: AtomicU8,
}

/// Written by one walker alone, save between two laps.
#[derive(Debug, Default)]
pub(crate) struct WalkerCounters {
    /// Probes sent, by pass.
    pub(crate) sent: [AtomicU64; MAX_PASSES as usize],
    /// Probes sent once more within their pass, because our own side had dropped something.
    pub(crate) again: AtomicU64,
    /// Canaries sent.
    pub(crate) canaries: AtomicU64,
    /// Control probes sent.
    pub(crate) controls: AtomicU64,
    /// Silent targets that our own drops may have silenced to the end.
    pub(crate) doubtful: AtomicU64,
    /// Positions of the whole scan walked in pass 0.
    pub(crate) walked: AtomicU64,
    /// Targets passed over because their host is down.
    pub(crate) skipped: AtomicU64,
    /// Nanoseconds spent in passes.
    pub(crate) sending: AtomicU64,
    pub(crate) send_errors: AtomicU64,
    pub(crate) send_retries: AtomicU64,
    /// Dropped by the device after the link had taken them.
    pub(crate) send_drops: AtomicU64,
    /// First and last offset of its slice of the stripe, the last excluded, and how far pass 0 has come in it.
    slice: [AtomicU64; 3],
    /// How far the last leg has come in the slice.
    cursor: AtomicU64,
    /// The last pass begun in this slice.
    pass: AtomicU8,
    phase: AtomicU8,
    /// When the last probe left, in nanoseconds.
    last_sent: AtomicU64,
    /// The last lap that it has done with.
    done: AtomicU64,
    /// Where the last leg has come to, and when.
    pub(crate) trail: Trail,
    /// What our own side may have silenced and is still to be probed again.
    pub(crate) suspects: Mutex<Ranges>,
}

/// A walker's share of a stripe: offsets `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Slice {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Written by the receiver alone, but for `wanted`.
#[derive(Debug, Default)]
pub(crate) struct ReceiverCounters {
    /// Events that checkpoints count, told or about to be; before the scan proper, whoever brings it up counts here.
    pub(crate) promised: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) closed: AtomicU64,
    pub(crate) filtered: AtomicU64,
    pub(crate) silent: AtomicU64,
    pub(crate) replies: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    /// Hosts that something speaks against.
    pub(crate) suspect_hosts: AtomicU64,
    pub(crate) ring_drops: AtomicU64,
    /// What the devices lost while the scan ran, but for what was sent at a later try.
    pub(crate) device_drops: AtomicU64,
    /// Until when (nanoseconds) the counts of drops are complete.
    looked: AtomicU64,
    /// Until when somebody waits for them to be.
    wanted: AtomicU64,
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

/// Source ports are base+pass, and nobody needs more passes than nmap's ten; fifteen leave room, and one for canaries.
pub(crate) const MAX_PASSES: u8 = 15;

impl Shared {
    /// For stripes of at most `cells` positions, so many passes, one walker, and one group of targets.
    #[cfg(test)]
    pub(crate) fn new(cells: u64, passes: u8) -> Self {
        Shared::with_walkers(cells, passes, 1)
    }

    /// The same for so many walkers.
    #[cfg(test)]
    pub(crate) fn with_walkers(cells: u64, passes: u8, walkers: usize) -> Self {
        Shared::of(cells, passes, walkers, Prefixes::new(1).into(), Duration::from_millis(250))
    }

    /// For at least one walker, and for these groups of targets. No canary is probed more often than that.
    pub(crate) fn of(cells: u64, passes: u8, walkers: usize, groups: Groups, canaries: Duration) -> Self {
        let ledger = Ledger::new(groups, passes);
        let groups = (0..ledger.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Shared {
            table: VerdictTable::new(cells),
            log: SendLog::new(cells),
            ledger,
            canaries: Canaries::new(canaries),
            sender: CachePadded::default(),
            walkers: (0..walkers.max(1)).map(|_| CachePadded::default()).collect(),
            receiver: CachePadded::default(),
            questions: Questions::default(),
            turn: AtomicU8::new(Turn::Closed as u8),
            lap: AtomicU64::new(0),
            leg: LegCell {
                pass: AtomicU8::new(0),
                most: AtomicU64::new(f64::INFINITY.to_bits()),
                vouchers: AtomicU64::new(0),
                all: AtomicBool::new(true),
                groups,
            },
            stripe: [AtomicU64::new(0), AtomicU64::new(0)],
            rate: AtomicU64::new(u64::MAX),
            wait: AtomicU64::new(WAIT_UNHEARD.as_nanos() as u64),
            answer: AtomicU64::new(WAIT_UNHEARD.as_nanos() as u64),
            stop: AtomicBool::new(false),
            abort: AtomicBool::new(false),
            congested: AtomicBool::new(false),
            suspend: AtomicBool::new(false),
            shift: AtomicU64::new(0),
            basis: Mutex::default(),
            closing: Mutex::default(),
            rest: Mutex::default(),
            completeness: Mutex::new(None),
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

    /// Opens a stripe: to be called by the sender in `Closed` only. A leg over all of it begins it, or what is left of one
    /// that was begun in another run.
    pub(crate) fn open(&self, stripe: Stripe, begun: Option<&AtWork>) {
        let _shift = self.shifting();
        self.prepare(stripe, begun);
        self.set_turn(Turn::Open);
    }

    /// Keeps checkpoints away for as long as the guard lives; the sender's. One within another is part of it: a stripe and
    /// its first leg are begun in one.
    pub(crate) fn shifting(&self) -> Shift<'_> {
        let version = self.shift.load(Ordering::Relaxed);
        if !version.is_multiple_of(2) {
            return Shift { ends: None };
        }
        self.shift.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        Shift { ends: Some((&self.shift, version + 2)) }
    }

    fn prepare(&self, stripe: Stripe, begun: Option<&AtWork>) {
        self.table.reset();
        self.log.reset();
        self.ledger.reset();
        self.stripe[0].store(stripe.start.0, Ordering::Relaxed);
        self.stripe[1].store(stripe.len, Ordering::Relaxed);
        for (walker, slice) in self.walkers.iter().zip(slices(stripe.len, self.walkers.len(), self.log.granule())) {
            walker.take_over(slice);
            walker.trail.clear(slice.start);
        }
        let known = begun.map(|begun| self.remember(begun)).unwrap_or_default();
        let whole = Ranges::of(0, stripe.len);
        let rest = begun.map(|begun| Ranges::from_iter(begun.leg.todo.iter().copied()).within(&whole));
        // Known from elsewhere, before it was probed here.
        let noted = self.note_ahead(stripe, known);
        let rest = rest.or_else(|| noted.then_some(whole));
        *self.rest.lock() = rest.map(|rest| (self.lap() + 1, Arc::new(rest)));
    }

    /// Takes over what another run knows of the stripe; how many targets of each kind that is.
    fn remember(&self, begun: &AtWork) -> [u64; 3] {
        let mut known = [0; 3];
        for (offset, state) in begun.cells.iter() {
            if self.table.record_alone(offset, state) == Recorded::First {
                known[place(state)] += 1;
            }
        }
        self.ledger.restore(&begun.ledger, begun.leg.pass);
        if begun.leg.pass > 0 {
            self.walkers.iter().for_each(|walker| walker.set_walked(walker.slice().end));
        }
        self.basis.lock().resumed = None;
        known
    }

    /// Takes over what was noted of the stripe's targets. The counters stand for all that was known before; what of that is
    /// in the table is none of the stripe's base. Whether there was anything.
    fn note_ahead(&self, stripe: Stripe, known: [u64; 3]) -> bool {
        let counters = &self.receiver;
        let counts = [&counters.open, &counters.closed, &counters.filtered];
        let [open, closed, filtered] = [0, 1, 2].map(|at: usize| load(counts[at]).wrapping_sub(known[at]));
        let base = [open, closed, filtered, load(&counters.silent)];
        *self.closing.lock() = Closing { base, ..Closing::default() };
        let mut basis = self.basis.lock();
        let within = |&mut (position, _): &mut (u64, _)| stripe.offset(Position(position)).is_some();
        let noted: Vec<_> = basis.ahead.extract_if(.., within).collect();
        for &(position, (state, silent)) in &noted {
            let offset = position - stripe.start.0;
            match self.table.record_alone(offset, state) {
                Recorded::Duplicate => continue,
                Recorded::First => add(&counters.silent, silent.into()),
                Recorded::Stronger { than } => set(counters.of(than), load(counters.of(than)).wrapping_sub(1)),
            }
            add(counters.of(state), 1);
            add(&counters.replies, (!silent).into());
        }
        !noted.is_empty()
    }

    /// What the leg of this lap is about, where that is not all of the stripe.
    pub(crate) fn rest(&self, lap: u64) -> Option<Arc<Ranges>> {
        self.rest.lock().as_ref().filter(|(of, _)| *of == lap).map(|(_, rest)| Arc::clone(rest))
    }

    /// How far the stripe is closed.
    pub(crate) fn closing(&self) -> Closing {
        *self.closing.lock()
    }

    /// The receiver's: what lies before `offset` is done with, and so many more targets of it are silent. After a stop
    /// somewhere in pass 0 nothing is: what was not walked lies in between.
    pub(crate) fn close_to(&self, offset: u64, silent: u64) {
        if self.walkers.iter().any(|walker| walker.walked_slice().end < walker.slice().end) {
            return;
        }
        let mut closing = self.closing.lock();
        (closing.offset, closing.silent) = (offset, closing.silent + silent);
    }

    /// An event that checkpoints count is about to be told: to be called before whatever shows that it was.
    #[inline]
    pub(crate) fn promise(&self) {
        add(&self.receiver.promised, 1);
    }

    /// Whether something that is about to be told of a host was not told before, in whatever run.
    pub(crate) fn is_news(&self, suspicion: Suspicion) -> bool {
        let mut basis = self.basis.lock();
        let is_news = basis.suspects.iter().all(|told| told.address != suspicion.address);
        if is_news {
            self.promise();
            basis.suspects.push(suspicion);
        }
        is_news
    }

    /// Which of these hosts, that are down, were not told to be before, in whatever run: to be told now.
    pub(crate) fn news_of_down(&self, hosts: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
        let mut basis = self.basis.lock();
        let known: Vec<IpAddr> = basis.down.iter().flat_map(AddressRange::addresses).collect();
        let news: Vec<IpAddr> = hosts.filter(|host| known.binary_search(host).is_err()).collect();
        let mut all = [known, news.clone()].concat();
        all.sort_unstable();
        basis.down = runs(all.into_iter()).into();
        news.iter().for_each(|_| self.promise());
        news
    }

    /// The offsets that the leg has not come to, or not by then; and those that are to be probed again.
    pub(crate) fn left(&self, then: Time) -> Vec<(u64, u64)> {
        let rest = self.rest(self.lap());
        let of = |walker: &WalkerCounters| {
            let slice = walker.slice();
            let from = walker.trail.by(then).unwrap_or(slice.start).clamp(slice.start, slice.end);
            let left = Ranges::of(from, slice.end);
            let left = rest.as_ref().map_or(left.clone(), |rest| left.within(rest));
            let suspects = walker.suspects.lock().clone();
            left.from(0).chain(suspects.from(0)).collect::<Vec<_>>()
        };
        self.walkers.iter().flat_map(|walker| of(walker)).collect()
    }

    /// The groups that the leg is about; none for all.
    pub(crate) fn chosen(&self) -> Option<Vec<u32>> {
        let all = self.leg.all.load(Ordering::Relaxed);
        (!all)
            .then(|| (0..self.ledger.len()).filter(|&group| self.is_chosen(group)).map(|group| group as u32).collect())
    }

    /// The highest rate that the leg may have, if it is bounded.
    pub(crate) fn most(&self) -> Option<f64> {
        Some(f64::from_bits(load(&self.leg.most))).filter(|most| most.is_finite())
    }

    /// Begins a leg of a pass over these groups, or over all, no faster than that: the sender's, while no walker walks.
    pub(crate) fn begin(&self, pass: u8, groups: Option<&[usize]>, most: f64) {
        let _shift = self.shifting();
        set(&self.leg.most, most.to_bits());
        self.walkers.iter().for_each(|walker| walker.trail.clear(walker.slice().start));
        self.choose(pass, groups);
    }

    fn choose(&self, pass: u8, groups: Option<&[usize]>) {
        self.leg.pass.store(pass, Ordering::Relaxed);
        self.leg.vouchers.store(0, Ordering::Relaxed);
        self.leg.all.store(groups.is_none(), Ordering::Relaxed);
        self.leg.groups.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        for &group in groups.unwrap_or_default() {
            let word = &self.leg.groups[group / 64];
            word.store(load(word) | 1 << (group % 64), Ordering::Relaxed);
        }
        self.lap.store(self.lap() + 1, Ordering::Release);
    }

    /// Begins a leg of so many canaries and no probes.
    pub(crate) fn vouch(&self, canaries: u64) {
        self.leg.vouchers.store(canaries, Ordering::Relaxed);
        self.lap.store(self.lap() + 1, Ordering::Release);
    }

    /// Which leg is under way, counted from 1; 0 before the first. Who sees it sees its slices and groups too.
    pub(crate) fn lap(&self) -> u64 {
        self.lap.load(Ordering::Acquire)
    }

    /// The leg that is under way.
    pub(crate) fn leg(&self) -> Lap {
        let number = self.lap();
        let LegCell { pass, vouchers, all, .. } = &self.leg;
        let (pass, all) = (pass.load(Ordering::Relaxed), all.load(Ordering::Relaxed));
        Lap { number, pass, vouchers: load(vouchers), all }
    }

    /// Whether the leg is about this group, where it is not about all.
    #[inline]
    pub(crate) fn is_chosen(&self, group: usize) -> bool {
        load(&self.leg.groups[group / 64]) >> (group % 64) & 1 == 1
    }

    /// Probes a second for all walkers together.
    pub(crate) fn rate(&self) -> u64 {
        load(&self.rate)
    }

    pub(crate) fn set_rate(&self, rate: u64) {
        set(&self.rate, rate);
    }

    /// How long an answer is waited for by who only wants to know whether it comes.
    pub(crate) fn answer(&self) -> Duration {
        Duration::from_nanos(load(&self.answer))
    }

    pub(crate) fn set_answer(&self, answer: Duration) {
        set(&self.answer, answer.as_nanos() as u64);
    }

    /// Whether all walkers are done with the open stripe.
    pub(crate) fn walked_through(&self) -> bool {
        let lap = self.lap();
        self.walkers.iter().all(|walker| walker.done.load(Ordering::Acquire) == lap)
    }

    pub(crate) fn stripe(&self) -> Stripe {
        let [start, len] = &self.stripe;
        Stripe { start: Position(start.load(Ordering::Relaxed)), len: len.load(Ordering::Relaxed) }
    }

    /// The first unanswered offset from `from` on that pass 0 has walked: only those can be called silent.
    pub(crate) fn next_silent(&self, from: u64) -> Option<u64> {
        self.walkers.iter().find_map(|walker| {
            let slice = walker.walked_slice();
            self.table.next_unanswered(from.max(slice.start), slice.end)
        })
    }

    /// Whether the last leg has come to this offset: not, if the scan was stopped before.
    pub(crate) fn was_walked(&self, offset: u64) -> bool {
        let of = |walker: &&CachePadded<WalkerCounters>| (walker.slice().start..walker.slice().end).contains(&offset);
        self.walkers.iter().find(of).is_none_or(|walker| offset < load(&walker.cursor))
    }

    /// How many offsets have been walked and not answered.
    pub(crate) fn silent(&self) -> u64 {
        let slices = self.walkers.iter().map(|walker| walker.walked_slice());
        slices.map(|slice| self.table.unanswered(slice.start, slice.end)).sum()
    }

    /// The last pass begun in this stripe by any walker.
    pub(crate) fn pass(&self) -> u8 {
        self.walkers.iter().map(|walker| walker.pass.load(Ordering::Relaxed)).max().unwrap_or(0)
    }

    /// What the scan is doing: while the walkers walk, what the hindmost of them does.
    pub(crate) fn phase(&self) -> Phase {
        let code = self.sender.phase.load(Ordering::Relaxed);
        let hindmost = || self.walkers.iter().map(|walker| walker.phase.load(Ordering::Relaxed)).min();
        decode(if code == AS_WALKERS { hindmost().unwrap_or(code) } else { code })
    }

    /// Probes sent in a pass.
    pub(crate) fn sent(&self, pass: u8) -> u64 {
        self.sum(|walker| &walker.sent[usize::from(pass)])
    }

    /// Probes sent, canaries and those that were sent again apart.
    pub(crate) fn total_sent(&self) -> u64 {
        self.walkers.iter().flat_map(|walker| &walker.sent).map(load).sum()
    }

    /// One counter of all walkers.
    pub(crate) fn sum(&self, counter: impl Fn(&WalkerCounters) -> &AtomicU64) -> u64 {
        self.walkers.iter().map(|walker| load(counter(walker))).sum()
    }

    /// What our own side is known to have dropped: answers, and probes after they were sent.
    pub(crate) fn dropped(&self) -> u64 {
        load(&self.receiver.ring_drops) + load(&self.receiver.device_drops) + self.sum(|walker| &walker.send_drops)
    }

    /// Until when the counts of drops are complete. To be read before them.
    pub(crate) fn looked(&self) -> Time {
        Time(self.receiver.looked.load(Ordering::Acquire))
    }

    /// Asks for the counts of drops until then: who waits for them should not wait for long.
    pub(crate) fn want_look(&self, until: Time) {
        self.receiver.wanted.fetch_max(until.0, Ordering::Relaxed);
    }

    /// Whether somebody waits for counts that could be had now.
    pub(crate) fn is_look_wanted(&self, now: Time) -> bool {
        let wanted = load(&self.receiver.wanted);
        wanted <= now.0 && wanted > self.receiver.looked.load(Ordering::Relaxed)
    }

    /// Says that the counts of drops are complete until then.
    pub(crate) fn set_looked(&self, at: Time) {
        self.receiver.looked.store(at.0, Ordering::Release);
    }

    /// When any walker sent its last probe.
    pub(crate) fn last_sent(&self) -> Time {
        Time(self.walkers.iter().map(|walker| load(&walker.last_sent)).max().unwrap_or(0))
    }

    /// Time spent in passes: the walkers' at the same time, so that it is the longest.
    pub(crate) fn sending(&self) -> Duration {
        Duration::from_nanos(self.walkers.iter().map(|walker| load(&walker.sending)).max().unwrap_or(0))
    }

    /// How long an answer may take.
    pub(crate) fn wait(&self) -> Duration {
        Duration::from_nanos(self.wait.load(Ordering::Relaxed))
    }

    /// How long to wait after the last probe of a pass: as long as an answer from any prefix that was probed in it may take.
    pub(crate) fn listening(&self, pass: u8) -> Duration {
        self.ledger.listening(pass, self.wait())
    }

    pub(crate) fn set_wait(&self, wait: Duration) {
        self.wait.store(wait.as_nanos() as u64, Ordering::Relaxed);
    }

    /// How complete the scan was, once it is over.
    pub(crate) fn completeness(&self) -> Option<Completeness> {
        *self.completeness.lock()
    }

    pub(crate) fn set_completeness(&self, completeness: Completeness) {
        *self.completeness.lock() = Some(completeness);
    }

    /// Stops, and leaves what is silent to whoever resumes the scan.
    pub(crate) fn suspend(&self) {
        self.suspend.store(true, Ordering::Relaxed);
        self.stop();
    }

    pub(crate) fn suspended(&self) -> bool {
        self.suspend.load(Ordering::Relaxed)
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

/// Cuts `0..len` into as many contiguous slices as there are walkers, as even as whole granules allow: positions that
/// share a stamp of the send log stay together.
fn slices(len: u64, walkers: usize, granule: u64) -> impl Iterator<Item = Slice> {
    let cut = move |i: usize| {
        let at = (u128::from(len) * i as u128 / walkers as u128) as u64;
        if i == walkers { len } else { at / granule * granule }
    };
    (0..walkers).map(move |i| Slice { start: cut(i), end: cut(i + 1) })
}

impl SenderCounters {
    /// What keeps the rate from being higher.
    pub(crate) fn bound(&self) -> RateBound {
        RateBound::ALL[usize::from(self.bound.load(Ordering::Relaxed))]
    }

    pub(crate) fn set_bound(&self, bound: RateBound) {
        self.bound.store(bound as u8, Ordering::Relaxed);
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.store(encode(phase), Ordering::Relaxed);
    }

    /// From now on the phase is the hindmost walker's.
    pub(crate) fn follow_walkers(&self) {
        self.phase.store(AS_WALKERS, Ordering::Relaxed);
    }
}

impl WalkerCounters {
    /// The sender's, between two laps.
    fn take_over(&self, slice: Slice) {
        set(&self.slice[0], slice.start);
        set(&self.slice[1], slice.end);
        set(&self.slice[2], slice.start);
        self.pass.store(0, Ordering::Relaxed);
        self.phase.store(encode(Phase::Probing { pass: 0 }), Ordering::Relaxed);
    }

    pub(crate) fn slice(&self) -> Slice {
        Slice { start: load(&self.slice[0]), end: load(&self.slice[1]) }
    }

    /// The part of the slice that pass 0 has walked.
    pub(crate) fn walked_slice(&self) -> Slice {
        Slice { start: load(&self.slice[0]), end: load(&self.slice[2]) }
    }

    /// Pass 0 has come as far as `offset`.
    pub(crate) fn set_walked(&self, offset: u64) {
        add(&self.walked, offset - load(&self.slice[2]));
        set(&self.slice[2], offset);
    }

    /// The last leg has come as far as `offset`.
    pub(crate) fn set_cursor(&self, offset: u64) {
        set(&self.cursor, offset);
    }

    pub(crate) fn set_pass(&self, pass: u8) {
        self.pass.store(pass, Ordering::Relaxed);
    }

    /// Goes on to a phase; never back in a slice.
    pub(crate) fn enter(&self, phase: Phase) {
        let code = encode(phase).max(self.phase.load(Ordering::Relaxed));
        self.phase.store(code, Ordering::Relaxed);
    }

    pub(crate) fn set_last_sent(&self, at: Time) {
        set(&self.last_sent, at.0);
    }

    /// Gives the slice back to the sender.
    pub(crate) fn set_done(&self, lap: u64) {
        self.done.store(lap, Ordering::Release);
    }
}

fn place(state: State) -> usize {
    match state {
        State::Open => 0,
        State::Closed => 1,
        State::Filtered => 2,
    }
}

/// The code for "see the walkers".
const AS_WALKERS: u8 = u8::MAX;
const DISCOVERY: u8 = 99;
const COOLDOWN: u8 = 100;
const DONE: u8 = 101;

/// Codes grow in the order in which a stripe goes through its phases.
fn encode(phase: Phase) -> u8 {
    match phase {
        Phase::Neighbours => 0,
        Phase::Discovery => DISCOVERY,
        Phase::Probing { pass } => 1 + 2 * pass,
        Phase::Spacing { pass } => 2 + 2 * pass,
        Phase::Cooldown => COOLDOWN,
        Phase::Done => DONE,
    }
}

fn decode(code: u8) -> Phase {
    match code {
        0 => Phase::Neighbours,
        DISCOVERY => Phase::Discovery,
        COOLDOWN => Phase::Cooldown,
        DONE => Phase::Done,
        code if code % 2 == 1 => Phase::Probing { pass: code / 2 },
        code => Phase::Spacing { pass: code / 2 - 1 },
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

/// Raises a counter that only the caller writes; it never falls.
pub(crate) fn raise(counter: &AtomicU64, to: u64) {
    set(counter, to.max(load(counter)));
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
        let shared = Shared::new(1, 1);
        assert_eq!(shared.phase(), Phase::Neighbours);
        let passes = (0..MAX_PASSES).flat_map(|pass| [Phase::Probing { pass }, Phase::Spacing { pass }]);
        for phase in passes.chain([Phase::Neighbours, Phase::Discovery, Phase::Cooldown, Phase::Done]) {
            shared.sender.set_phase(phase);
            assert_eq!(shared.phase(), phase);
        }
    }

    #[test]
    fn the_hindmost_walker_says_what_is_done() {
        let shared = Shared::with_walkers(100, 2, 2);
        shared.open(Stripe { start: Position(0), len: 100 }, None);
        shared.sender.follow_walkers();
        shared.walkers[0].enter(Phase::Cooldown);
        assert_eq!(shared.phase(), Phase::Probing { pass: 0 });
        shared.walkers[1].enter(Phase::Spacing { pass: 0 });
        shared.walkers[1].enter(Phase::Probing { pass: 0 });
        assert_eq!(shared.phase(), Phase::Spacing { pass: 0 }, "and never goes back");
    }

    #[test]
    fn walking_counts_over_stripes() {
        let shared = Shared::new(100, 1);
        for _ in 0..2 {
            shared.open(Stripe { start: Position(0), len: 100 }, None);
            shared.walkers[0].set_walked(60);
            shared.walkers[0].set_walked(100);
        }
        assert_eq!(shared.sum(|walker| &walker.walked), 200);
    }

    #[test]
    fn slices_are_a_partition_in_whole_granules() {
        for (len, walkers, granule) in [(100, 3, 1), (3, 8, 1), (1, 1, 1), (0, 2, 1), (5000, 7, 16), (u64::MAX, 16, 4)]
        {
            let mut at = 0;
            for (i, slice) in slices(len, walkers, granule).enumerate() {
                assert_eq!((slice.start, slice.start % granule), (at, 0));
                assert!(slice.end >= slice.start && (i + 1 == walkers || slice.end % granule == 0));
                at = slice.end;
            }
            assert_eq!(at, len);
        }
    }

    #[test]
    fn only_what_was_walked_is_silent() {
        let shared = Shared::with_walkers(100, 1, 4);
        shared.open(Stripe { start: Position(0), len: 100 }, None);
        shared.walkers[0].set_walked(2);
        shared.walkers[2].set_walked(53);
        shared.table.record(51, State::Open);
        let silent: Vec<u64> =
            std::iter::successors(shared.next_silent(0), |offset| shared.next_silent(offset + 1)).collect();
        assert_eq!((silent, shared.silent()), (vec![0, 1, 50, 52], 4));
    }
}
