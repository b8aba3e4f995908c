//! What is known of a stripe's targets, written small: the table's two bits a position, with what has not answered left
//! out where that is most of it.
//!
//! The table is cut into chunks of [`CHUNK`] words. Each chunk that is not empty is written as the number of empty ones
//! before it; then either the number of its answers and for each the distance from the one before with its state in the
//! lowest two bits, or 0 and its words as they are, whichever is shorter. Numbers are LEB128. A stripe of 2^30 with one
//! target in a hundred answering takes some 20 MB, and none takes more than the table.

use super::bytes::{Malformed, Reader, number};
use crate::table::{VerdictTable, of_code};
use crate::verdict::State;

/// Words in a chunk: 2048 cells, or 512 bytes.
const CHUNK: usize = 64;
/// Cells in a word, and in a chunk.
const CELLS: u64 = 32;
const CHUNK_CELLS: u64 = CHUNK as u64 * CELLS;
/// The lower bit of every cell.
const LOW: u64 = 0x5555_5555_5555_5555;

/// The answered cells of a stripe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cells(Vec<u8>);

impl Cells {
    /// What the table holds of the first `len` cells, of which those before `done` are done with: they are left out, or
    /// are filtered where they share a chunk with others. Gives the offset that the first cell written has in the table,
    /// and how many cells of each state the table has, those left out included.
    pub(crate) fn of(table: &VerdictTable, done: u64, len: u64) -> (Cells, u64, Counts) {
        let (mut bytes, mut counts, mut empty) = (Vec::new(), Counts::default(), 0);
        let mut chunk = Vec::with_capacity(CHUNK);
        let (words, start) = (len.div_ceil(CELLS), done / CHUNK_CELLS * CHUNK_CELLS);
        for first in (0..words).step_by(CHUNK) {
            chunk.clear();
            chunk.extend((first..words.min(first + CHUNK as u64)).map(|word| table.word(word)));
            counts.add(&chunk);
            if first * CELLS < start {
                continue;
            }
            fill(&mut chunk, done.saturating_sub(first * CELLS));
            if chunk.iter().all(|&word| word == 0) {
                empty += 1;
                continue;
            }
            number(&mut bytes, std::mem::take(&mut empty));
            write(&mut bytes, &chunk);
        }
        (Cells(bytes), start, counts)
    }

    /// Each answered cell's offset and state, ascending. What is malformed ends it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, State)> + '_ {
        let mut reader = Reader::new(&self.0);
        let mut at = 0;
        std::iter::from_fn(move || {
            if reader.is_empty() {
                return None;
            }
            let (first, words) = read(&mut reader, at).ok()?;
            at = first + 1;
            Some(answers(first * CHUNK as u64 * CELLS, words))
        })
        .flatten()
    }

    /// Whether it can be read, and lies below `len`.
    pub(crate) fn check(&self, len: u64) -> Result<(), Malformed> {
        let (mut reader, mut at) = (Reader::new(&self.0), 0);
        while !reader.is_empty() {
            let (first, _) = read(&mut reader, at)?;
            at = first + 1;
        }
        let beyond = self.iter().last().is_some_and(|(offset, _)| offset >= len);
        if beyond { Err(Malformed) } else { Ok(()) }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Cells {
        Cells(bytes)
    }
}

/// How many cells there are of each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) open: u64,
    pub(crate) closed: u64,
    pub(crate) filtered: u64,
}

impl Counts {
    fn add(&mut self, words: &[u64]) {
        for word in words {
            let (low, high) = (word & LOW, word >> 1 & LOW);
            self.open += u64::from((low & high).count_ones());
            self.closed += u64::from((high & !low).count_ones());
            self.filtered += u64::from((low & !high).count_ones());
        }
    }
}

/// Makes those of the first cells of a chunk filtered that have not answered.
fn fill(chunk: &mut [u64], done: u64) {
    for (word, cell) in chunk.iter_mut().zip((0..done).step_by(CELLS as usize)) {
        let below = if done - cell >= CELLS { u64::MAX } else { (1 << ((done - cell) * 2)) - 1 };
        *word |= !(*word | *word >> 1) & LOW & below;
    }
}

fn write(bytes: &mut Vec<u8>, chunk: &[u64]) {
    let start = bytes.len();
    let cells: u32 = chunk.iter().map(|word| ((word | word >> 1) & LOW).count_ones()).sum();
    number(bytes, cells.into());
    let mut last = 0;
    for (offset, state) in chunk.iter().enumerate().flat_map(|(at, &word)| codes(at as u64 * CELLS, word)) {
        number(bytes, (offset - last) << 2 | state);
        last = offset;
        if bytes.len() - start > CHUNK * 8 {
            break;
        }
    }
    if cells == 0 || bytes.len() - start > CHUNK * 8 {
        bytes.truncate(start);
        number(bytes, 0);
        let words = chunk.iter().copied().chain(std::iter::repeat(0)).take(CHUNK);
        words.for_each(|word| bytes.extend(word.to_le_bytes()));
    }
}

/// The next chunk's number, and its words.
fn read(reader: &mut Reader<'_>, at: u64) -> Result<(u64, [u64; CHUNK]), Malformed> {
    let first = at.checked_add(reader.number()?).filter(|first| *first < 1 << 50).ok_or(Malformed)?;
    let mut words = [0; CHUNK];
    let cells = reader.number()?;
    if cells == 0 {
        words.iter_mut().try_for_each(|word| reader.word().map(|read| *word = read))?;
    }
    let mut offset = 0;
    for _ in 0..cells {
        let cell = reader.number()?;
        offset += cell >> 2;
        let word = words.get_mut((offset / CELLS) as usize).ok_or(Malformed)?;
        *word |= (cell & 3) << (offset % CELLS * 2);
    }
    Ok((first, words))
}

fn codes(start: u64, word: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut left = word;
    std::iter::from_fn(move || {
        let cell = (left != 0).then(|| u64::from(left.trailing_zeros() / 2))?;
        let code = left >> (cell * 2) & 3;
        left &= !(3 << (cell * 2));
        Some((start + cell, code))
    })
}

fn answers(start: u64, words: [u64; CHUNK]) -> impl Iterator<Item = (u64, State)> {
    let codes = words.into_iter().enumerate().flat_map(move |(at, word)| codes(start + at as u64 * CELLS, word));
    codes.filter_map(|(offset, code)| Some((offset, of_code(code)?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_state() -> impl Strategy<Value = State> {
        prop_oneof![Just(State::Open), Just(State::Closed), Just(State::Filtered)]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            len in 1u64..20_000,
            answers in prop::collection::btree_map(0u64..20_000, any_state(), 0..600),
            dense in prop::option::of(0u64..18_000),
            done in prop_oneof![Just(0), 0u64..20_000],
        ) {
            let table = VerdictTable::new(len);
            let mut answers: std::collections::BTreeMap<_, _> = answers.into_iter().filter(|(at, _)| *at < len).collect();
            dense.into_iter().for_each(|at| answers.extend((at..len.min(at + 3000)).map(|at| (at, State::Closed))));
            let mut counts = Counts::default();
            for (&offset, &state) in &answers {
                table.record(offset, state);
                match state {
                    State::Open => counts.open += 1,
                    State::Closed => counts.closed += 1,
                    State::Filtered => counts.filtered += 1,
                }
            }
            let done = done.min(len);
            let (cells, start, counted) = Cells::of(&table, done, len);
            prop_assert_eq!(counted, counts);
            prop_assert!(start <= done && done - start < CHUNK_CELLS && cells.check(len - start).is_ok());
            let read: Vec<_> = cells.iter().collect();
            (start..done).for_each(|at| _ = answers.entry(at).or_insert(State::Filtered));
            let expected: Vec<_> = answers.range(start..).map(|(&at, &state)| (at - start, state)).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn anything_can_be_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let cells = Cells::from_bytes(bytes);
            let _ = (cells.check(1000), cells.iter().count());
        }
    }

    #[test]
    fn few_answers_take_little_and_many_no_more_than_the_table() {
        let table = VerdictTable::new(1 << 20);
        (0..1 << 20).step_by(100).for_each(|offset| _ = table.record(offset, State::Open));
        let (cells, ..) = Cells::of(&table, 0, 1 << 20);
        assert!(cells.bytes().len() < 24_000, "{}", cells.bytes().len());
        (0..1 << 20).for_each(|offset| _ = table.record(offset, State::Open));
        let (cells, ..) = Cells::of(&table, 0, 1 << 20);
        assert!(cells.bytes().len() < (1 << 18) + 2000, "{}", cells.bytes().len());
    }
}
