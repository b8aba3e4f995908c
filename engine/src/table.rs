//! What is known of each target of the current stripe: two bits a position, shared by the sender, which skips what has
//! answered, and the receiver, which records answers. Lock-free.
//!
//! ```text
//!                 +--------------------------------+
//!                 |                                v
//! unanswered --> filtered --> closed ----------> open          each arrow is one compare-and-swap, or one
//!     |                         ^                  ^           store; there is none back within a stripe
//!     +-------------------------+------------------+
//! ```
//!
//! A TCP answer beats ICMP, open beats closed, the first of equals wins: a cell only ever climbs, in the order
//! unanswered, filtered, closed, open.
//!
//! **Orderings.** All but one are `Relaxed`. A cell says everything there is to say about its target, no other memory is
//! published through it, and a compare-and-swap of one word is atomic in any ordering: two recorders of the same cell
//! are ordered by that word's modification order, so exactly one of them sees the change as its own. Who records alone
//! needs no compare-and-swap: what a word held at the load, it holds at the store. A sender that
//! reads a stale "unanswered" sends one probe too many, which is harmless. One store is a `Release`: a checkpoint, which
//! reads the table while answers come in, has to see the count of events that goes before each answer (`checkpoint.rs`). `reset` needs exclusive use (`&mut self`
//! is not available through the sharing pointer, so the phase protocol in `counters.rs` provides it: its
//! acquire/release pair orders the reset before every later record).

use crate::sync::{AtomicU64, Ordering};
use crate::verdict::State;

const CELLS_PER_WORD: u64 = 32;
/// The lower bit of every cell.
const LOW_BITS: u64 = 0x5555_5555_5555_5555;

/// Two bits a position of the current stripe.
pub struct VerdictTable {
    words: Box<[AtomicU64]>,
}

/// What recording an answer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It was the first answer.
    First,
    /// It is stronger than what was known until now.
    Stronger {
        /// What was known until now.
        than: State,
    },
    /// It changed nothing.
    Duplicate,
}

impl Recorded {
    /// What was known before, if anything was and it changed.
    pub(crate) fn than(self) -> Option<State> {
        match self {
            Recorded::Stronger { than } => Some(than),
            Recorded::First | Recorded::Duplicate => None,
        }
    }
}

impl VerdictTable {
    /// Bytes that a table of so many cells takes.
    pub fn bytes(cells: u64) -> u64 {
        cells.div_ceil(CELLS_PER_WORD) * 8
    }

    /// The most cells that fit into so many bytes; at least one word's.
    pub fn cells(bytes: u64) -> u64 {
        (bytes / 8).max(1).saturating_mul(CELLS_PER_WORD)
    }

    /// A table of `cells` unanswered cells.
    pub fn new(cells: u64) -> Self {
        VerdictTable { words: (0..cells.div_ceil(CELLS_PER_WORD)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Makes every cell unanswered. Nobody else may use the table meanwhile.
    pub fn reset(&self) {
        self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// What is known of the cell at `offset`; nothing if there is no such cell.
    #[inline]
    pub fn state(&self, offset: u64) -> Option<State> {
        let (word, shift) = self.cell(offset)?;
        decode(word.load(Ordering::Relaxed) >> shift & 3)
    }

    /// Records an answer. An offset outside the table changes nothing.
    #[inline]
    pub fn record(&self, offset: u64, state: State) -> Recorded {
        let Some((word, shift)) = self.cell(offset) else { return Recorded::Duplicate };
        let new = encode(state);
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let old = seen >> shift & 3;
            if old >= new {
                return Recorded::Duplicate;
            }
            let next = seen & !(3 << shift) | new << shift;
            match word.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return decode(old).map_or(Recorded::First, |than| Recorded::Stronger { than }),
                Err(now) => seen = now,
            }
        }
    }

    /// [`VerdictTable::record`] for who knows that nobody else records meanwhile: a load and a store, where a
    /// compare-and-swap would hold up every load behind it. Others may read.
    #[inline]
    pub fn record_alone(&self, offset: u64, state: State) -> Recorded {
        self.record_after(offset, state, |_| {})
    }

    /// [`VerdictTable::record_alone`] that says what it will have done before it is done, if that changes anything:
    /// whoever sees the answer sees what was written then, too.
    #[inline]
    pub(crate) fn record_after(&self, offset: u64, state: State, before: impl FnOnce(Recorded)) -> Recorded {
        let Some((word, shift)) = self.cell(offset) else { return Recorded::Duplicate };
        let (seen, new) = (word.load(Ordering::Relaxed), encode(state));
        let old = seen >> shift & 3;
        if old >= new {
            return Recorded::Duplicate;
        }
        let recorded = decode(old).map_or(Recorded::First, |than| Recorded::Stronger { than });
        before(recorded);
        word.store(seen & !(3 << shift) | new << shift, Ordering::Release);
        recorded
    }

    /// The cells from `32 * word` on, two bits each; who reads several and then fences (acquire) sees what was written
    /// before the answers in them.
    pub(crate) fn word(&self, word: u64) -> u64 {
        self.words.get(word as usize).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// The first unanswered offset in `from..to`; answered ones are skipped a word at a time.
    #[inline]
    pub fn next_unanswered(&self, from: u64, to: u64) -> Option<u64> {
        let mut offset = from;
        while offset < to {
            let (word, shift) = self.cell(offset)?;
            let left = unanswered_bits(word.load(Ordering::Relaxed)) >> shift;
            if left != 0 {
                let found = offset + u64::from(left.trailing_zeros() / 2);
                return (found < to).then_some(found);
            }
            offset = (offset / CELLS_PER_WORD + 1) * CELLS_PER_WORD;
        }
        None
    }

    /// How many of the cells `from..to` are unanswered.
    pub fn unanswered(&self, from: u64, to: u64) -> u64 {
        let words = from / CELLS_PER_WORD..to.div_ceil(CELLS_PER_WORD).min(self.words.len() as u64);
        let count = |word: u64| {
            let cells = cells_between(from.saturating_sub(word * CELLS_PER_WORD), to - word * CELLS_PER_WORD);
            let unanswered = unanswered_bits(self.words[word as usize].load(Ordering::Relaxed));
            u64::from((unanswered & cells).count_ones())
        };
        words.map(count).sum()
    }

    #[inline]
    fn cell(&self, offset: u64) -> Option<(&AtomicU64, u32)> {
        let word = self.words.get(usize::try_from(offset / CELLS_PER_WORD).ok()?)?;
        Some((word, (offset % CELLS_PER_WORD * 2) as u32))
    }
}

impl std::fmt::Debug for VerdictTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerdictTable({} words)", self.words.len())
    }
}

/// The lower bit of every cell that is unanswered.
#[inline]
fn unanswered_bits(word: u64) -> u64 {
    !(word | word >> 1) & LOW_BITS
}

/// The bits of a word's cells `from..to`.
#[inline]
fn cells_between(from: u64, to: u64) -> u64 {
    let below = |cell: u64| if cell < CELLS_PER_WORD { (1 << (cell * 2)) - 1 } else { u64::MAX };
    below(to) & !below(from)
}

/// The codes grow with the strength of the answer; 0 is unanswered.
#[inline]
fn encode(state: State) -> u64 {
    match state {
        State::Filtered => 1,
        State::Closed => 2,
        State::Open => 3,
    }
}

/// The code of a state, as it is kept over versions.
pub(crate) fn code_of(state: State) -> u64 {
    encode(state)
}

/// The state of a code, if it is one's.
pub(crate) fn of_code(code: u64) -> Option<State> {
    decode(code)
}

#[inline]
fn decode(code: u64) -> Option<State> {
    match code {
        1 => Some(State::Filtered),
        2 => Some(State::Closed),
        3 => Some(State::Open),
        _ => None,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn strength(state: State) -> u8 {
        [State::Filtered, State::Closed, State::Open].iter().position(|s| *s == state).unwrap() as u8
    }

    fn any_state() -> impl Strategy<Value = State> {
        prop_oneof![Just(State::Open), Just(State::Closed), Just(State::Filtered)]
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(
            cells in 1u64..200,
            answers in prop::collection::vec((0u64..220, any_state()), 0..300),
            alone: bool,
            bounds in (0u64..200, 0u64..200),
        ) {
            let (from_cell, to_cell) = (bounds.0.min(bounds.1).min(cells), bounds.0.max(bounds.1).min(cells));
            let table = VerdictTable::new(cells);
            let record = if alone { VerdictTable::record_alone } else { VerdictTable::record };
            let mut oracle: BTreeMap<u64, State> = BTreeMap::new();
            let rounded_up = cells.div_ceil(CELLS_PER_WORD) * CELLS_PER_WORD;
            for (offset, state) in answers {
                let known = oracle.get(&offset).copied();
                let expected = match known {
                    _ if offset >= rounded_up => Recorded::Duplicate,
                    None => Recorded::First,
                    Some(than) if strength(state) > strength(than) => Recorded::Stronger { than },
                    Some(_) => Recorded::Duplicate,
                };
                prop_assert_eq!(record(&table, offset, state), expected);
                if expected != Recorded::Duplicate {
                    oracle.insert(offset, state);
                }
            }
            for offset in 0..cells {
                prop_assert_eq!(table.state(offset), oracle.get(&offset).copied());
            }
            let mut unanswered = Vec::new();
            let mut from = 0;
            while let Some(offset) = table.next_unanswered(from, cells) {
                unanswered.push(offset);
                from = offset + 1;
            }
            let expected: Vec<u64> = (0..cells).filter(|o| !oracle.contains_key(o)).collect();
            prop_assert_eq!(table.unanswered(0, cells), expected.len() as u64);
            let between = expected.iter().filter(|offset| (from_cell..to_cell).contains(*offset)).count();
            prop_assert_eq!(table.unanswered(from_cell, to_cell), between as u64);
            prop_assert_eq!(unanswered, expected);
        }
    }

    #[test]
    fn reset_forgets() {
        let table = VerdictTable::new(100);
        (0..100).for_each(|o| assert_eq!(table.record(o, State::Open), Recorded::First));
        assert_eq!(table.next_unanswered(0, 100), None);
        table.reset();
        assert_eq!(table.next_unanswered(0, 100), Some(0));
        assert_eq!(table.state(99), None);
    }

    #[test]
    fn memory_and_cells() {
        assert_eq!(VerdictTable::cells(256 << 20), 1 << 30);
        assert_eq!(VerdictTable::bytes(1 << 30), 256 << 20);
        assert_eq!(VerdictTable::cells(0), 32);
        assert_eq!(VerdictTable::bytes(33), 16);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// Two threads record different answers for the same cell, a third for its neighbour in the same word: each change
    /// is seen by exactly one recorder, the strongest stays, and the neighbour is not disturbed.
    #[test]
    fn loom_every_change_is_somebodys_and_the_strongest_stays() {
        loom::model(|| {
            let table = Arc::new(VerdictTable::new(32));
            let spawn = |offset, state| {
                let table = Arc::clone(&table);
                thread::spawn(move || table.record(offset, state))
            };
            let threads = [spawn(3, State::Closed), spawn(3, State::Open), spawn(4, State::Filtered)];
            let [closed, open, neighbour] = threads.map(|t| t.join().unwrap());
            match (closed, open) {
                (Recorded::First, Recorded::Stronger { than: State::Closed }) => {}
                (Recorded::Duplicate, Recorded::First) => {}
                other => panic!("{other:?}"),
            }
            assert_eq!(neighbour, Recorded::First);
            assert_eq!(table.state(3), Some(State::Open));
            assert_eq!(table.state(4), Some(State::Filtered));
        });
    }

    /// Equal answers from two threads: one is the first, the other a duplicate.
    #[test]
    fn loom_equals_are_reported_once() {
        loom::model(|| {
            let table = Arc::new(VerdictTable::new(32));
            let other = {
                let table = Arc::clone(&table);
                thread::spawn(move || table.record(0, State::Open))
            };
            let here = table.record(0, State::Open);
            let there = other.join().unwrap();
            assert!(matches!(
                (here, there),
                (Recorded::First, Recorded::Duplicate) | (Recorded::Duplicate, Recorded::First)
            ));
        });
    }

    /// A sender that walks while the receiver records sees each cell as unanswered or not, never anything else, and a
    /// cell that it saw answered stays so.
    #[test]
    fn loom_walker_beside_recorder() {
        [VerdictTable::record, VerdictTable::record_alone].into_iter().for_each(walker_beside);
    }

    fn walker_beside(record: fn(&VerdictTable, u64, State) -> Recorded) {
        loom::model(move || {
            let table = Arc::new(VerdictTable::new(32));
            let recorder = {
                let table = Arc::clone(&table);
                thread::spawn(move || {
                    record(&table, 0, State::Closed);
                    record(&table, 1, State::Open);
                })
            };
            let first = table.next_unanswered(0, 3);
            assert!(matches!(first, Some(0..=2)));
            recorder.join().unwrap();
            assert_eq!(table.next_unanswered(0, 3), Some(2));
        });
    }
}
