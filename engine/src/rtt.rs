//! Round-trip times: when which position was probed, and what the answers say of the way there and back.
//!
//! [`SendLog`] holds at most 2^20 send times of each of the last two passes, whatever the stripe's size: beyond that, one for
//! every 2^k neighbouring positions, taken when the first of them is sent. A reply names its pass by its port and its position by
//! its target, so its round-trip time is exact under retransmission, and nothing is stored per probe. Where positions
//! share a stamp, only the first of them has a round-trip time.
//!
//! [`RttEstimator`] is Jacobson's (RFC 6298) with nmap's constants (nmap's timing.cc, `adjust_timeouts2`).

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use crate::time::Time;

/// The most send times kept for one pass.
const STAMPS: u64 = 1 << 20;

/// Send times of the current stripe, by pass and position. Written by the sender, read by both.
///
/// A stamp is the low 32 bits of the time in microseconds: it is good for 71 minutes, far longer than any answer is
/// waited for. Zero means "not sent". `Relaxed` throughout: a stamp is written before its probe is handed to the kernel
/// and read after its answer came back, and a stale one could only make one RTT sample wrong.
pub struct SendLog {
    shift: u32,
    /// The last two passes: answers to older ones have had their time.
    passes: [Box<[AtomicU32]>; 2],
    /// Which pass each of them is of.
    which: [AtomicU8; 2],
}

impl SendLog {
    /// A log for stripes of at most `cells` positions.
    pub fn new(cells: u64) -> Self {
        let shift = (0..64).find(|shift| cells.div_ceil(1 << shift) <= STAMPS).unwrap_or(63);
        let stamps = cells.div_ceil(1 << shift);
        let pass = || (0..stamps).map(|_| AtomicU32::new(0)).collect();
        SendLog { shift, passes: [pass(), pass()], which: [AtomicU8::new(0), AtomicU8::new(1)] }
    }

    /// Begins a pass, and forgets the one before the last. Nobody else may write meanwhile.
    pub fn begin(&self, pass: u8) {
        let place = usize::from(pass % 2);
        if self.which[place].load(Ordering::Relaxed) != pass {
            self.which[place].store(pass, Ordering::Relaxed);
            self.passes[place].iter().for_each(|stamp| stamp.store(0, Ordering::Relaxed));
        }
    }

    /// Notes that the position at `offset` is probed now.
    #[inline]
    pub fn note(&self, pass: u8, offset: u64, now: Time) {
        let Some(stamp) = self.slot(pass, offset) else { return };
        if self.is_exact(offset) || stamp.load(Ordering::Relaxed) == 0 {
            stamp.store(micros(now).max(1), Ordering::Relaxed);
        }
    }

    /// Notes that the position at `offset` is probed once more in the same pass. The stamp of a group stays its first
    /// position's while that waits for an answer (`first_waits`): its round-trip time hangs on it.
    pub fn note_again(&self, pass: u8, offset: u64, now: Time, first_waits: impl FnOnce(u64) -> bool) {
        let Some(stamp) = self.slot(pass, offset) else { return };
        if self.is_exact(offset) || !first_waits(offset >> self.shift << self.shift) {
            stamp.store(micros(now).max(1), Ordering::Relaxed);
        }
    }

    /// When the position at `offset` was probed in `pass`, seen from `now`; none if it was not.
    #[inline]
    pub fn sent(&self, pass: u8, offset: u64, now: Time) -> Option<Time> {
        let stamp = self.stamp(pass, offset).filter(|&stamp| stamp != 0)?;
        let ago = micros(now).wrapping_sub(stamp);
        // A stamp that seems to lie ahead is one of this very microsecond.
        let ago = if ago > u32::MAX - 1_000_000 { 0 } else { ago };
        Some(Time(now.0.saturating_sub(u64::from(ago) * 1000)))
    }

    /// Whether the position's send time is its own, and not the one of the group that it shares a stamp with.
    #[inline]
    pub fn is_exact(&self, offset: u64) -> bool {
        offset & ((1 << self.shift) - 1) == 0
    }

    /// How many neighbouring positions share a stamp.
    pub fn granule(&self) -> u64 {
        1 << self.shift
    }

    /// Forgets everything, and begins pass 0. Nobody else may use the log meanwhile.
    pub fn reset(&self) {
        self.passes.iter().flatten().for_each(|stamp| stamp.store(0, Ordering::Relaxed));
        (0..2).for_each(|pass| self.which[usize::from(pass)].store(pass, Ordering::Relaxed));
    }

    #[inline]
    fn stamp(&self, pass: u8, offset: u64) -> Option<u32> {
        self.slot(pass, offset).map(|stamp| stamp.load(Ordering::Relaxed))
    }

    #[inline]
    fn slot(&self, pass: u8, offset: u64) -> Option<&AtomicU32> {
        let place = usize::from(pass % 2);
        let stamp = self.passes[place].get((offset >> self.shift) as usize)?;
        (self.which[place].load(Ordering::Relaxed) == pass).then_some(stamp)
    }
}

impl std::fmt::Debug for SendLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SendLog({} stamps a pass)", self.passes[0].len())
    }
}

fn micros(time: Time) -> u32 {
    (time.0 / 1000) as u32
}

/// A smoothed round-trip time and its variation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RttEstimator {
    /// Both in nanoseconds: a [`Duration`] would be divided into seconds and rest at every step.
    smoothed: Option<(u64, u64)>,
    slowest: u64,
}

impl RttEstimator {
    /// Samples of this and more are not believed: the answer belongs to something else.
    const IMPLAUSIBLE: u64 = 8000 * MILLISECOND;
    /// Bounds of the first variation.
    const FIRST_VARIATION: (u64, u64) = (5 * MILLISECOND, 2000 * MILLISECOND);
    /// Above `LOUD`, the variation is taken to be `FIRST_VARIATION.1`.
    const LOUD: u64 = 2300 * MILLISECOND;
    /// When a system repeats its SYN-ACK for the first time, and what the way adds.
    const REPETITION: std::ops::Range<u64> = 950 * MILLISECOND..1250 * MILLISECOND;
    /// A jump by more than this, and beyond `3 srtt + 2 rttvar`, is an outlier.
    const JUMP: u64 = 1500 * MILLISECOND;

    /// Takes in one sample.
    #[inline]
    pub fn sample(&mut self, rtt: Duration) {
        self.sample_nanos(u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Takes in one sample, in nanoseconds.
    #[inline]
    pub(crate) fn sample_nanos(&mut self, rtt: u64) {
        if rtt >= Self::IMPLAUSIBLE {
            return;
        }
        if self.is_repetition(rtt) {
            return;
        }
        self.slowest = self.slowest.max(rtt);
        self.smoothed = match self.smoothed {
            None => Some((rtt, rtt.clamp(Self::FIRST_VARIATION.0, Self::FIRST_VARIATION.1))),
            Some((smoothed, variation)) if rtt > Self::JUMP && rtt > smoothed * 3 + variation * 2 => {
                Some((smoothed, variation))
            }
            Some((smoothed, variation)) => Some(Self::adjusted(smoothed, variation, rtt)),
        };
    }

    /// Whether it looks like an answer that its sender repeated, because the first was lost: that is a second later
    /// (RFC 6298, section 2), and says nothing of the way.
    fn is_repetition(&self, rtt: u64) -> bool {
        let usual = self.smoothed.map(|(smoothed, variation)| smoothed + variation * 4);
        Self::REPETITION.contains(&rtt) && usual.is_some_and(|usual| rtt > usual * 8)
    }

    fn adjusted(smoothed: u64, variation: u64, rtt: u64) -> (u64, u64) {
        let deviation = rtt.abs_diff(smoothed);
        let variation = (variation * 3 + deviation) / 4;
        let variation = if variation > Self::LOUD { Self::FIRST_VARIATION.1 } else { variation };
        ((smoothed * 7 + rtt) / 8, variation)
    }

    /// The smoothed round-trip time, once there was a sample.
    #[inline]
    pub fn smoothed(&self) -> Option<Duration> {
        self.smoothed.map(|(smoothed, _)| Duration::from_nanos(smoothed))
    }

    /// How long an answer may take: srtt + 4 rttvar, and no less than the slowest took, in
    /// [`WAIT_FLOOR`]`..=`[`WAIT_CEILING`]; [`WAIT_UNHEARD`] while nothing was heard. The slowest counts because one
    /// estimate serves all hosts: many near ones must not hide a far one.
    #[inline]
    pub fn wait(&self) -> Duration {
        self.smoothed.map_or(WAIT_UNHEARD, |(smoothed, variation)| {
            Duration::from_nanos((smoothed + variation * 4).max(self.slowest)).clamp(WAIT_FLOOR, WAIT_CEILING)
        })
    }
}

impl RttEstimator {
    /// Within which an answer comes, almost always, by srtt + 4 rttvar and what a queue may add: for who only wants to
    /// know whether it does.
    pub(crate) fn answer(&self) -> Duration {
        self.smoothed.map_or(WAIT_UNHEARD, |(smoothed, variation)| {
            let queued = QUEUED.max(smoothed / 4);
            Duration::from_nanos(smoothed + queued + variation * 4).min(WAIT_CEILING)
        })
    }
}

const MILLISECOND: u64 = 1_000_000;
/// What queues and scheduling may add at any time.
const QUEUED: u64 = 30 * MILLISECOND;

/// Below this, scheduling on either side decides and not the network.
pub const WAIT_FLOOR: Duration = Duration::from_millis(100);
/// Nobody waits longer for a SYN-ACK.
pub const WAIT_CEILING: Duration = Duration::from_secs(10);
/// nmap's initial timeout: what to assume of a network from which nothing came yet.
pub const WAIT_UNHEARD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn small_stripes_log_every_position() {
        let log = SendLog::new(1000);
        log.note(0, 7, Time::from(ms(3)));
        log.note(1, 7, Time::from(ms(5)));
        assert_eq!(log.sent(0, 7, Time::from(ms(9))), Some(Time::from(ms(3))));
        assert_eq!(log.sent(1, 7, Time::from(ms(9))), Some(Time::from(ms(5))));
        assert_eq!(log.sent(0, 8, Time::from(ms(9))), None);
        assert_eq!(log.sent(2, 7, Time::from(ms(9))), None);
        assert_eq!(log.sent(0, 5000, Time::from(ms(9))), None);
        log.reset();
        assert_eq!(log.sent(0, 7, Time::from(ms(9))), None);
    }

    #[test]
    fn large_stripes_share_a_stamp_and_memory_stays_bounded() {
        let log = SendLog::new(1 << 30);
        assert_eq!(log.passes[0].len(), 1 << 20);
        log.note(0, 1024, Time::from(ms(3)));
        log.note(0, 1030, Time::from(ms(4)));
        assert!(log.is_exact(1024) && !log.is_exact(1030));
        assert_eq!(log.sent(0, 2047, Time::from(ms(9))), Some(Time::from(ms(3))));
        assert_eq!(log.sent(0, 2048, Time::from(ms(9))), None);
        // A later pass may skip the first of a group.
        log.note(0, 3000, Time::from(ms(6)));
        assert_eq!(log.sent(0, 3001, Time::from(ms(9))), Some(Time::from(ms(6))));
    }

    #[test]
    fn what_is_probed_again_is_stamped_anew() {
        let log = SendLog::new(1 << 30);
        for offset in [1024, 1030] {
            log.note(0, offset, Time::from(ms(3)));
        }
        log.note_again(0, 1030, Time::from(ms(4)), |first| first == 1024);
        assert_eq!(log.sent(0, 1024, Time::from(ms(9))), Some(Time::from(ms(3))), "its first still waits");
        log.note_again(0, 1030, Time::from(ms(5)), |_| false);
        assert_eq!(log.sent(0, 1030, Time::from(ms(9))), Some(Time::from(ms(5))));
        log.note_again(0, 1024, Time::from(ms(6)), |_| true);
        assert_eq!(log.sent(0, 1024, Time::from(ms(9))), Some(Time::from(ms(6))));
    }

    #[test]
    fn stamps_survive_the_wrap_of_32_bits() {
        let log = SendLog::new(1);
        let near = Time(u64::from(u32::MAX) * 1000);
        log.note(0, 0, near);
        assert_eq!(log.sent(0, 0, near + ms(20)), Some(near));
        assert_eq!(log.sent(0, 0, near - Duration::from_micros(1)), Some(near - Duration::from_micros(1)));
    }

    #[test]
    fn estimator_follows_jacobson() {
        let mut rtt = RttEstimator::default();
        assert_eq!((rtt.smoothed(), rtt.wait()), (None, WAIT_UNHEARD));
        rtt.sample(ms(40));
        assert_eq!((rtt.smoothed(), rtt.wait()), (Some(ms(40)), ms(200)));
        rtt.sample(ms(80));
        assert_eq!(rtt.smoothed(), Some(ms(45)));
        assert_eq!(rtt.wait(), ms(45 + 4 * 40));
    }

    #[test]
    fn a_repeated_answer_says_nothing_of_the_way() {
        let mut estimator = RttEstimator::default();
        (0..20).for_each(|_| estimator.sample(ms(10)));
        estimator.sample(ms(1010));
        assert!(estimator.wait() < ms(1000), "{:?}", estimator.wait());
    }

    #[test]
    fn estimator_ignores_the_implausible_and_bounds_the_wait() {
        let mut rtt = RttEstimator::default();
        rtt.sample(Duration::from_secs(8));
        assert_eq!(rtt.smoothed(), None);
        rtt.sample(Duration::from_micros(50));
        assert_eq!(rtt.wait(), WAIT_FLOOR);
        rtt.sample(Duration::from_secs(3));
        assert_eq!(rtt.smoothed(), Some(Duration::from_micros(50)));
        assert_eq!(rtt.wait(), Duration::from_secs(3), "one answer did take so long");
        let mut slow = RttEstimator::default();
        (0..50).for_each(|i| slow.sample(Duration::from_secs(if i % 2 == 0 { 1 } else { 7 })));
        assert!(slow.wait() <= WAIT_CEILING);
    }
}
