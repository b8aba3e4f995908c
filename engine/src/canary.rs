//! Canaries: targets that have answered, probed again now and then to see whether they still do. What they lose, everybody
//! loses; and unlike silence, theirs means something.
//!
//! [`Canaries`] is the sample, shared: the receiver puts targets in as they answer, spread over hosts by hashing, at most
//! [`OF_A_HOST`] of a host and kind; walkers probe them in turn, about one for every hundred probes, from a source port of
//! their own, none more often than every [`INTERVAL`]; the receiver notes their answers. Who misses several in a row is
//! gone for a reason of its own and leaves; who has served for long makes place for another.
//!
//! [`Epochs`] says when canaries were sent, and of each moment's how many were answered, so that an answer counts for the
//! rate at which its probe was sent, however late it comes.
//!
//! **Who writes what.** A slot's target is the receiver's to set where there is none, and its walker's to clear; `sent` and
//! the clearing of `answered` are its walker's, the noting of an answer the receiver's. A slot belongs to one walker.
//! `sent` is stored with release and loaded with acquire, so that who sees a time sees the slot as it was then. All else
//! is `Relaxed`: a mix-up between two rounds of a slot makes one sample wrong.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::loss::{Evidence, Kind};
use crate::permute::splitmix64;
use crate::target::Index;
use crate::time::Time;

/// Slots for each kind of answer: at four canaries a second each enough for one in a hundred of 800,000 probes a second;
/// beyond, more would not make the estimate better.
const SLOTS: usize = 2048;
/// Slots of one host and kind.
const OF_A_HOST: u16 = 4;
/// Between two probes of a canary: with eight slots, a host gets no more than 32 a second.
const INTERVAL: Duration = Duration::from_millis(250);
/// The same where the host is this machine, which nobody has to be polite to.
const INTERVAL_AT_HOME: Duration = Duration::from_millis(10);
/// A host's canaries take at most one in so many of what it may get.
const SHARE_OF_HOST: u64 = 25;
/// Probes for each canary.
const PROBES_EACH: f64 = 100.0;
/// Canaries a second that are sent at any rate, for as long as they are less than a tenth of the probes: what is slow has
/// to learn, too.
const AT_LEAST: f64 = 200.0;
const MOST_SHARE: f64 = 0.1;
/// What may be owed at once.
const MOST_OWED: f64 = 32.0;
/// Missed in a row, it is not the way.
const MISSES: u8 = 6;
/// After so many probes another target takes the place.
const SERVICE: u8 = 40;
/// Slots looked at for one that may be probed.
const LOOKED_AT: usize = 16;

/// Between two probes of a canary, where a host gets so many probes a second at most, if there is a bound.
pub(crate) fn interval(host_rate: Option<u64>, at_home: bool) -> Duration {
    match host_rate {
        None if at_home => INTERVAL_AT_HOME,
        None => INTERVAL,
        // Of two kinds.
        Some(rate) => {
            INTERVAL.max(Duration::from_secs(2 * u64::from(OF_A_HOST) * SHARE_OF_HOST) / rate.clamp(1, 1 << 31) as u32)
        }
    }
}

/// The sample.
#[derive(Debug)]
pub(crate) struct Canaries {
    /// Open ones first.
    slots: Box<[Slot]>,
    /// The slots that have been filled, in the order in which they were, by kind.
    filled: [Box<[AtomicU32]>; 2],
    count: [AtomicUsize; 2],
    pub(crate) epochs: Epochs,
    interval: Duration,
}

#[derive(Debug, Default)]
struct Slot {
    /// The target's index, plus one; 0 for none.
    target: AtomicU64,
    /// When it was probed last; 0 for never.
    sent: AtomicU64,
    /// When that was answered; 0 for not.
    answered: AtomicU64,
}

impl Canaries {
    /// None yet; each is probed no more often than that.
    pub(crate) fn new(interval: Duration) -> Self {
        Canaries {
            slots: (0..2 * SLOTS).map(|_| Slot::default()).collect(),
            filled: [(); 2].map(|()| (0..SLOTS).map(|_| AtomicU32::new(0)).collect()),
            count: Default::default(),
            epochs: Epochs::new(),
            interval,
        }
    }

    /// The receiver's: a target that has answered may become one.
    #[inline]
    pub(crate) fn offer(&self, kind: Kind, index: Index, address: u128, port: u16) {
        let at = slot(kind, address, port);
        let slot = &self.slots[at];
        if slot.target.load(Ordering::Relaxed) == 0 {
            self.adopt(kind, at, index);
        }
    }

    #[cold]
    fn adopt(&self, kind: Kind, at: usize, index: Index) {
        let slot = &self.slots[at];
        let is_new = slot.sent.load(Ordering::Relaxed) == 0 && slot.answered.load(Ordering::Relaxed) == 0;
        slot.target.store(index.0 + 1, Ordering::Relaxed);
        if is_new {
            // Marks the slot as listed.
            slot.answered.store(1, Ordering::Relaxed);
            let count = self.count[kind as usize].load(Ordering::Relaxed);
            self.filled[kind as usize][count].store(at as u32, Ordering::Relaxed);
            self.count[kind as usize].store(count + 1, Ordering::Release);
        }
    }

    /// The receiver's: a canary has answered. Its kind and round-trip time, if it was waited for.
    pub(crate) fn answered(&self, index: Index, target: (u128, u16), at: Time) -> Option<(Kind, Duration)> {
        let kind = Kind::ALL.into_iter().find(|kind| {
            let slot = &self.slots[slot(*kind, target.0, target.1)];
            slot.target.load(Ordering::Relaxed) == index.0 + 1
        })?;
        let slot = &self.slots[slot(kind, target.0, target.1)];
        let sent = slot.sent.load(Ordering::Acquire);
        if sent == 0 || slot.answered.load(Ordering::Relaxed) != 0 {
            return None;
        }
        slot.answered.store(at.0.max(1), Ordering::Relaxed);
        self.epochs.answered(kind, Time(sent), at);
        Some((kind, at.since(Time(sent))))
    }

    /// How many slots are filled.
    pub(crate) fn len(&self, kind: Kind) -> usize {
        self.count[kind as usize].load(Ordering::Acquire)
    }

    /// How many can be probed in a second.
    pub(crate) fn rate(&self) -> f64 {
        let slots: usize = Kind::ALL.into_iter().map(|kind| self.len(kind)).sum();
        slots as f64 / self.interval.as_secs_f64()
    }
}

#[inline]
fn slot(kind: Kind, address: u128, port: u16) -> usize {
    let host = (address as u64 ^ (address >> 64) as u64).wrapping_mul(4) + u64::from(port % OF_A_HOST);
    // Fibonacci hashing: neighbours lie apart.
    let hashed = host.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS.ilog2());
    kind as usize * SLOTS + hashed as usize
}

/// One walker's canaries: which is next, and how many are due.
#[derive(Debug)]
pub(crate) struct Turns {
    number: usize,
    of: usize,
    /// By kind: which of the filled slots is next.
    next: [usize; 2],
    turn: u32,
    owed: f64,
    /// By slot: probes missed in a row, and probes.
    record: Box<[(u8, u8)]>,
    since: Time,
    chance: u64,
}

impl Turns {
    /// Of the walker of this number of so many.
    pub(crate) fn new(number: usize, of: usize) -> Self {
        let record = vec![(0, 0); 2 * SLOTS].into_boxed_slice();
        Turns { number, of, next: [0; 2], turn: 0, owed: 0.0, record, since: Time::ZERO, chance: number as u64 }
    }

    /// So many probes have been sent by now. Some canaries more are due for them, and for the time, if the scan has to
    /// `learn` how fast it may be.
    pub(crate) fn earn(&mut self, probes: u64, now: Time, learn: bool) {
        let elapsed = now.since(self.since).as_secs_f64().min(0.1);
        self.since = now;
        let least = if learn { (AT_LEAST / self.of as f64 * elapsed).min(probes as f64 * MOST_SHARE) } else { 0.0 };
        self.owed = (self.owed + (probes as f64 / PROBES_EACH).max(least)).min(MOST_OWED);
    }

    /// Before which of so many probes, that leave at once, the canaries that are due should leave. Any: what comes last meets
    /// a full queue more often than what comes first.
    pub(crate) fn place(&mut self, probes: u64) -> u64 {
        splitmix64(&mut self.chance) % probes.max(1)
    }

    /// So many are to be sent now, whatever was owed.
    pub(crate) fn owe(&mut self, canaries: u64) {
        self.owed = canaries as f64;
    }

    /// Canaries are due.
    pub(crate) fn are_due(&self) -> bool {
        self.owed >= 1.0
    }

    /// The next canary that may be probed now: its target's index. To be asked for once for each that is due.
    pub(crate) fn next(&mut self, canaries: &Canaries, wait: Duration, now: Time) -> Option<(Kind, usize, Index)> {
        self.owed -= 1.0;
        self.turn += 1;
        // Hosts limit what they refuse, not what they accept: two of three are open.
        let order = if self.turn.is_multiple_of(3) { [Kind::Closed, Kind::Open] } else { [Kind::Open, Kind::Closed] };
        order.into_iter().find_map(|kind| self.next_of(kind, canaries, wait, now))
    }

    fn next_of(&mut self, kind: Kind, canaries: &Canaries, wait: Duration, now: Time) -> Option<(Kind, usize, Index)> {
        let count = canaries.len(kind);
        for _ in 0..LOOKED_AT.min(count / self.of + 1) {
            let i = self.next[kind as usize];
            self.next[kind as usize] = if i + self.of < count { i + self.of } else { self.number };
            if i % self.of != self.number || i >= count {
                self.next[kind as usize] = self.number;
                continue;
            }
            let at = canaries.filled[kind as usize][i].load(Ordering::Relaxed) as usize;
            if let Some(index) = self.may_be_probed(canaries, at, wait, now) {
                return Some((kind, at, index));
            }
        }
        None
    }

    /// Judges what became of the last probe, too.
    fn may_be_probed(&mut self, canaries: &Canaries, at: usize, wait: Duration, now: Time) -> Option<Index> {
        let slot = &canaries.slots[at];
        let target = slot.target.load(Ordering::Relaxed).checked_sub(1)?;
        let sent = Time(slot.sent.load(Ordering::Relaxed));
        let is_answered = sent == Time::ZERO || slot.answered.load(Ordering::Relaxed) != 0;
        if now < sent + canaries.interval || (!is_answered && now < sent + wait) {
            return None;
        }
        let (misses, probes) = &mut self.record[at];
        *misses = if is_answered { 0 } else { *misses + 1 };
        if *misses >= MISSES || *probes >= SERVICE {
            self.record[at] = (0, 0);
            slot.target.store(0, Ordering::Relaxed);
            return None;
        }
        *probes += 1;
        Some(Index(target))
    }

    /// Notes that the canary of this slot is probed now: before the probe leaves.
    pub(crate) fn sent(canaries: &Canaries, kind: Kind, at: usize, now: Time) {
        let slot = &canaries.slots[at];
        slot.answered.store(0, Ordering::Relaxed);
        slot.sent.store(now.0.max(1), Ordering::Release);
        canaries.epochs.sent(kind, now);
    }
}

/// How finely the times are told apart at which canaries were sent.
pub(crate) const EPOCH: Duration = Duration::from_millis(10);
/// Epochs that are remembered: twenty seconds, twice as long as any answer is waited for.
const EPOCHS: u64 = 2048;

/// Canaries sent and answered, by the time of their sending.
#[derive(Debug)]
pub(crate) struct Epochs {
    /// By kind.
    sent: [Box<[AtomicU32]>; 2],
    answered: [Box<[AtomicU32]>; 2],
}

impl Epochs {
    pub(crate) fn new() -> Self {
        let ring = |()| (0..EPOCHS).map(|_| AtomicU32::new(0)).collect();
        Epochs { sent: [(); 2].map(ring), answered: [(); 2].map(ring) }
    }

    pub(crate) fn sent(&self, kind: Kind, at: Time) {
        self.sent[kind as usize][place(epoch(at))].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self, kind: Kind, sent: Time, at: Time) {
        if at.since(sent) < EPOCH * (EPOCHS / 2) as u32 {
            self.answered[kind as usize][place(epoch(sent))].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Forgets what stands in the places of these epochs, which are to come.
    pub(crate) fn clear(&self, from: u64, to: u64) {
        for epoch in from..to.min(from + EPOCHS) {
            self.sent.iter().chain(&self.answered).for_each(|ring| ring[place(epoch)].store(0, Ordering::Relaxed));
        }
    }

    /// What became of the canaries sent in `from..to`.
    pub(crate) fn between(&self, kind: Kind, from: u64, to: u64) -> Evidence {
        let sum = |ring: &[AtomicU32]| {
            (from..to.min(from + EPOCHS))
                .map(|epoch| u64::from(ring[place(epoch)].load(Ordering::Relaxed)))
                .sum::<u64>()
        };
        let answered = sum(&self.answered[kind as usize]);
        let sent = sum(&self.sent[kind as usize]).max(answered);
        Evidence { answered: answered as f64, lost: (sent - answered) as f64 }
    }
}

/// The epoch of a time.
pub(crate) fn epoch(at: Time) -> u64 {
    at.0 / EPOCH.as_nanos() as u64
}

fn place(epoch: u64) -> usize {
    (epoch % EPOCHS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Time {
        Time::from(Duration::from_millis(ms))
    }

    const WAIT: Duration = Duration::from_millis(100);

    fn with(open: u16) -> Canaries {
        let canaries = Canaries::new(INTERVAL);
        (0..open).for_each(|host| canaries.offer(Kind::Open, Index(host.into()), host.into(), 80));
        canaries
    }

    #[test]
    fn a_host_has_few_places() {
        let canaries = Canaries::new(INTERVAL);
        for port in 0..1000 {
            canaries.offer(Kind::Open, Index(port.into()), 7, port);
            canaries.offer(Kind::Closed, Index(port.into()), 7, port);
        }
        assert_eq!((canaries.len(Kind::Open), canaries.len(Kind::Closed)), (4, 4));
    }

    #[test]
    fn one_probe_in_a_hundred_and_none_too_often() {
        let (canaries, mut turns) = (with(10), Turns::new(0, 1));
        let mut sent = Vec::new();
        for t in 0..10_000 {
            turns.earn(10, ms(t), false);
            while turns.are_due() {
                let Some((kind, at, index)) = turns.next(&canaries, WAIT, ms(t)) else { continue };
                Turns::sent(&canaries, kind, at, ms(t));
                assert!(canaries.answered(index, (index.0.into(), 80), ms(t)).is_some());
                assert!(canaries.answered(index, (index.0.into(), 80), ms(t)).is_none(), "twice");
                sent.push((index.0, t));
                // A new one comes for one that has served.
                canaries.offer(Kind::Open, index, index.0.into(), 80);
            }
        }
        assert!((200..=400).contains(&sent.len()), "{}", sent.len());
        for host in 0..10 {
            let times: Vec<u64> = sent.iter().filter(|(index, _)| *index == host).map(|(_, t)| *t).collect();
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 250) && times.len() > 10, "{host}: {times:?}");
        }
    }

    #[test]
    fn walkers_share_them() {
        let canaries = with(9);
        let mut all = Vec::new();
        for number in 0..3 {
            let mut turns = Turns::new(number, 3);
            turns.earn(3000, ms(1000), false);
            while turns.are_due() {
                all.extend(turns.next(&canaries, WAIT, ms(1000)).map(|(_, at, index)| {
                    Turns::sent(&canaries, Kind::Open, at, ms(1000));
                    index.0
                }));
            }
        }
        all.sort_unstable();
        assert_eq!(all, (0..canaries.len(Kind::Open) as u64).collect::<Vec<_>>());
    }

    #[test]
    fn who_misses_many_leaves() {
        let (canaries, mut turns) = (with(1), Turns::new(0, 1));
        let mut probes = 0;
        for t in (0..10_000).step_by(300) {
            turns.earn(100, ms(t), false);
            if let Some((kind, at, _)) = turns.next(&canaries, WAIT, ms(t)) {
                Turns::sent(&canaries, kind, at, ms(t));
                probes += 1;
            }
        }
        assert_eq!(probes, u32::from(MISSES));
    }

    #[test]
    fn epochs_count_by_the_time_of_sending() {
        let epochs = Epochs::new();
        epochs.sent(Kind::Open, ms(5));
        epochs.sent(Kind::Open, ms(15));
        epochs.answered(Kind::Open, ms(5), ms(95));
        assert_eq!(epochs.between(Kind::Open, 0, 1), Evidence { answered: 1.0, lost: 0.0 });
        assert_eq!(epochs.between(Kind::Open, 0, 2), Evidence { answered: 1.0, lost: 1.0 });
        epochs.clear(EPOCHS, EPOCHS + 2);
        assert_eq!(epochs.between(Kind::Open, 0, 2), Evidence::default());
    }
}
