//! Where probes lie until the driver has them: a ring of slots in shared memory, and who may use which of them.
//!
//! ```text
//!        ours again          with the kernel           waiting         laid down      free
//!   ────────────────────┼────────────────────┼────────────────────┼──────────────┼──────────
//!                     free                CONSUMED            published      produced
//! ```
//!
//! Numbers count up for ever; a number's slot is its rest by [`SLOTS`]. What the driver left lies in slots that are ours
//! again: it is laid down once more behind the others, in the order in which it was left.
//!
//! The carrier and the accountant of `program.rs` are the other side; the words through which the two speak are drawn
//! there. Slots are written before the word that publishes them (release), and read by the kernel after it (acquire);
//! FLUSHED and LEFT are stored by the kernel after it is done with the slots, and loaded here before they are reused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use halfopen_bpf::{ByteMap, WordMap};

use super::program::{CONSUMED, FLUSHED, LEFT, LEFT_RING, PRODUCED, SLOT, SLOTS};
use crate::link::TemplateId;
use crate::wire::syn::{Probe, SynTemplate};

/// The two pieces of memory.
pub(super) trait Memory {
    /// Words that both sides use.
    fn words(&self) -> &[AtomicU64];
    /// The slots.
    fn bytes(&mut self) -> &mut [u8];
}

/// The kernel's.
pub(super) struct Shared {
    pub(super) words: Arc<WordMap>,
    pub(super) slots: ByteMap,
}

impl Memory for Shared {
    #[inline]
    fn words(&self) -> &[AtomicU64] {
        self.words.words()
    }

    #[inline]
    fn bytes(&mut self) -> &mut [u8] {
        self.slots.bytes()
    }
}

/// The ring.
pub(super) struct Slots<M> {
    memory: M,
    /// Which template a slot's bytes are a probe of.
    laid: Box<[Option<TemplateId>]>,
    produced: u64,
    published: u64,
    free: u64,
    /// Entries of what was left that were read.
    read: u64,
    retries: u64,
}

impl<M: Memory> Slots<M> {
    /// A ring in memory that is all zero.
    pub(super) fn new(memory: M) -> Self {
        let laid = vec![None; SLOTS as usize].into_boxed_slice();
        Slots { memory, laid, produced: 0, published: 0, free: 0, read: 0, retries: 0 }
    }

    /// How many more can be laid down.
    #[inline]
    pub(super) fn room(&self) -> u64 {
        SLOTS - (self.produced - self.free)
    }

    /// How many are laid down and not published.
    #[inline]
    pub(super) fn unpublished(&self) -> u64 {
        self.produced - self.published
    }

    /// Whether the driver has all that was laid down, as far as is known.
    pub(super) fn is_empty(&self) -> bool {
        self.free == self.produced
    }

    /// How many probes the driver has taken, as far as is known.
    pub(super) fn taken(&self) -> u64 {
        self.free - self.retries
    }

    /// How many times something was laid down again.
    pub(super) fn retries(&self) -> u64 {
        self.retries
    }

    /// Lays down a probe; there must be room. The template is copied only if the slot held another one's.
    #[inline]
    pub(super) fn probe(&mut self, id: TemplateId, template: &SynTemplate, probe: &Probe) {
        let laid = &mut self.laid[(self.produced % SLOTS) as usize];
        let frame = slot(&mut self.memory, self.produced);
        if *laid != Some(id) {
            frame[..template.frame().len()].copy_from_slice(template.frame());
            *laid = Some(id);
        }
        template.patch(frame, probe);
        self.produced += 1;
    }

    /// Lays down a frame that is no probe.
    pub(super) fn frame(&mut self, frame: &[u8]) {
        self.laid[(self.produced % SLOTS) as usize] = None;
        slot(&mut self.memory, self.produced)[..frame.len()].copy_from_slice(frame);
        self.produced += 1;
    }

    /// Gives the carrier all that is laid down. Whether there was anything new.
    pub(super) fn publish(&mut self) -> bool {
        let anything = self.published != self.produced;
        self.published = self.produced;
        if anything {
            self.memory.words()[PRODUCED].store(self.produced, Ordering::Release);
        }
        anything
    }

    /// Takes back what the driver took, and lays down again what it left.
    pub(super) fn collect(&mut self) {
        let flushed = self.load(FLUSHED);
        let left = self.load(LEFT);
        while self.read < left {
            let entry = self.load(LEFT_RING + (self.read % SLOTS) as usize);
            let (first, count) = (entry >> 16, entry & 0xffff);
            // Left after FLUSHED was read: for the next time.
            if first + count > flushed {
                break;
            }
            self.read += 1;
            self.again(first, count);
        }
        self.free = flushed;
    }

    /// What the carrier took and the accountant has not seen: not the driver's yet, or nobody's for ever.
    pub(super) fn unaccounted(&self) -> u64 {
        self.load(CONSUMED).saturating_sub(self.load(FLUSHED))
    }

    /// Numbers accounted for so far.
    pub(super) fn flushed(&self) -> u64 {
        self.load(FLUSHED)
    }

    /// Lays down again what is unaccounted for. The programs must not run.
    pub(super) fn recount(&mut self) {
        self.collect();
        let (flushed, consumed) = (self.load(FLUSHED), self.load(CONSUMED));
        if flushed < consumed {
            self.again(flushed, consumed - flushed);
            self.memory.words()[FLUSHED].store(consumed, Ordering::Release);
            self.free = consumed;
        }
    }

    /// There is room: each slot is itself free from here on.
    fn again(&mut self, first: u64, count: u64) {
        for number in first..first + count {
            self.free = number + 1;
            let (from, to) = (start(number), start(self.produced));
            self.memory.bytes().copy_within(from..from + SLOT as usize, to);
            self.laid[(self.produced % SLOTS) as usize] = self.laid[(number % SLOTS) as usize];
            self.produced += 1;
        }
        self.retries += count;
    }

    fn load(&self, word: usize) -> u64 {
        self.memory.words()[word].load(Ordering::Acquire)
    }
}

#[inline]
fn slot(memory: &mut impl Memory, number: u64) -> &mut [u8] {
    &mut memory.bytes()[start(number)..][..SLOT as usize]
}

#[inline]
fn start(number: u64) -> usize {
    (number % SLOTS * SLOT) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permute::splitmix64;

    struct Plain {
        words: Vec<AtomicU64>,
        bytes: Vec<u8>,
    }

    impl Memory for Plain {
        fn words(&self) -> &[AtomicU64] {
            &self.words
        }

        fn bytes(&mut self) -> &mut [u8] {
            &mut self.bytes
        }
    }

    fn slots() -> Slots<Plain> {
        let words = (0..LEFT_RING + SLOTS as usize).map(|_| AtomicU64::new(0)).collect();
        Slots::new(Plain { words, bytes: vec![0; (SLOTS * SLOT) as usize] })
    }

    /// Both programs and the driver, as `program.rs` says.
    struct Kernel {
        random: u64,
        taken: Vec<u64>,
    }

    impl Kernel {
        fn word(slots: &Slots<Plain>, word: usize) -> &AtomicU64 {
            &slots.memory.words()[word]
        }

        /// A number below `bound`.
        fn draw(&mut self, bound: u64) -> u64 {
            splitmix64(&mut self.random) % bound
        }

        /// The carrier takes up to `most`.
        fn carry(&mut self, slots: &Slots<Plain>, most: u64) {
            let consumed = Self::word(slots, CONSUMED).load(Ordering::Relaxed);
            let waiting = Self::word(slots, PRODUCED).load(Ordering::Relaxed) - consumed;
            Self::word(slots, CONSUMED).store(consumed + waiting.min(most), Ordering::Relaxed);
        }

        /// One bulk is flushed, of which the driver leaves `left` at most.
        fn flush(&mut self, slots: &mut Slots<Plain>, left: u64) {
            let flushed = Self::word(slots, FLUSHED).load(Ordering::Relaxed);
            let bulk = (Self::word(slots, CONSUMED).load(Ordering::Relaxed) - flushed).min(16);
            let left = left.min(bulk);
            for number in flushed..flushed + bulk - left {
                let bytes: [u8; 8] = slot(&mut slots.memory, number)[..8].try_into().unwrap();
                self.taken.push(u64::from_ne_bytes(bytes));
            }
            if left > 0 {
                let entries = Self::word(slots, LEFT).load(Ordering::Relaxed);
                let entry = (flushed + bulk - left) << 16 | left;
                Self::word(slots, LEFT_RING + (entries % SLOTS) as usize).store(entry, Ordering::Relaxed);
                Self::word(slots, LEFT).store(entries + 1, Ordering::Relaxed);
            }
            Self::word(slots, FLUSHED).store(flushed + bulk, Ordering::Relaxed);
        }
    }

    /// Lays down so many numbered frames before a driver that leaves what `left` says; gives what it took.
    fn carried(frames: u64, seed: u64, left: impl Fn(&mut Kernel) -> u64) -> Vec<u64> {
        let (mut slots, mut kernel) = (slots(), Kernel { random: seed, taken: Vec::new() });
        let mut next = 0;
        while next < frames || !slots.is_empty() {
            let batch = kernel.draw(200).min(frames - next).min(slots.room());
            (next..next + batch).for_each(|number| slots.frame(&number.to_ne_bytes()));
            next += batch;
            if kernel.draw(3) > 0 {
                slots.publish();
            }
            let most = kernel.draw(300);
            kernel.carry(&slots, most);
            for _ in 0..kernel.draw(20) {
                let left = left(&mut kernel);
                kernel.flush(&mut slots, left);
            }
            if kernel.draw(4) > 0 {
                slots.collect();
            }
        }
        assert_eq!(slots.taken(), frames);
        kernel.taken
    }

    #[test]
    fn a_driver_that_takes_all_gets_all_in_order() {
        let taken = carried(20_000, 1, |_| 0);
        assert!(taken.into_iter().eq(0..20_000));
    }

    #[test]
    fn what_is_left_is_sent_again_and_nothing_twice() {
        for seed in 0..20 {
            let mut taken = carried(20_000, seed, |kernel| if kernel.draw(4) == 0 { kernel.draw(17) } else { 0 });
            taken.sort_unstable();
            assert!(taken.into_iter().eq(0..20_000), "seed {seed}");
        }
    }

    #[test]
    fn a_driver_that_leaves_nearly_everything_gets_it_in_the_end() {
        let mut taken = carried(3 * SLOTS, 7, |kernel| if kernel.draw(8) == 0 { 0 } else { 16 });
        taken.sort_unstable();
        assert!(taken.into_iter().eq(0..3 * SLOTS));
    }

    #[test]
    fn what_nobody_accounts_for_is_sent_again() {
        let (mut slots, mut kernel) = (slots(), Kernel { random: 1, taken: Vec::new() });
        (0..100_u64).for_each(|number| slots.frame(&number.to_ne_bytes()));
        assert!(slots.publish() && !slots.publish());
        kernel.carry(&slots, 50);
        kernel.flush(&mut slots, 3);
        assert_eq!((slots.unaccounted(), slots.flushed()), (34, 16));
        // The other 34 were refused before the driver saw them.
        slots.recount();
        assert_eq!((slots.unaccounted(), slots.retries(), slots.is_empty()), (0, 37, false));
        slots.publish();
        kernel.carry(&slots, 1000);
        (0..10).for_each(|_| kernel.flush(&mut slots, 0));
        slots.collect();
        assert!(slots.is_empty());
        kernel.taken.sort_unstable();
        assert!(kernel.taken.into_iter().eq(0..100));
    }

    #[test]
    fn a_full_ring_has_no_room_until_the_driver_took_something() {
        let (mut slots, mut kernel) = (slots(), Kernel { random: 1, taken: Vec::new() });
        (0..SLOTS).for_each(|number| slots.frame(&number.to_ne_bytes()));
        assert_eq!((slots.room(), slots.unpublished()), (0, SLOTS));
        slots.publish();
        kernel.carry(&slots, 16);
        kernel.flush(&mut slots, 16);
        slots.collect();
        assert_eq!(slots.room(), 0, "all sixteen are laid down again");
        kernel.carry(&slots, 16);
        kernel.flush(&mut slots, 0);
        slots.collect();
        assert_eq!(slots.room(), 16);
    }
}
