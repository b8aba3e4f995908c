//! The shuffled order: a keyed bijection between positions and indices, and the ranges of positions that are worked on.
//!
//! [`Permutation`] is a generalised Feistel network (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002,
//! method 3) with cycle walking. The domain `0..n` is laid out on a grid of `2^k` columns and `rows` rows, the smallest
//! that holds it, with `2^k` the power of two next below the square root of `n`. A round adds a keyed hash of one
//! coordinate to the other, modulo that one's size; rounds alternate. Adding is undone by subtracting, so every round,
//! and so the whole, is a bijection of the grid, whatever the hash. The grid is larger than `n` by less than one row;
//! what falls there is sent round again until it falls inside, which keeps the map a bijection of `0..n`.
//!
//! Columns being a power of two, and rows being reached by multiply-and-shift, there is no division. The order must
//! look random to the networks that are probed, so that no subnet takes a burst; it is not meant to be a secret.
//!
//! Left to others: what an index means (`plan`), which positions are still to be probed (`table`).

use crate::target::{Index, Position};

/// Six rounds: the fewest at which the avalanche test below finds every output bit to depend evenly on every input bit.
const ROUNDS: usize = 6;

/// A keyed bijection of `0..len`.
#[derive(Debug, Clone)]
pub struct Permutation {
    len: u64,
    column_bits: u32,
    rows: u64,
    keys: [RoundKey; ROUNDS],
}

/// What one round mixes in.
#[derive(Debug, Clone, Copy)]
struct RoundKey {
    mask: u64,
    /// Odd, so that multiplying loses nothing.
    multiplier: u64,
}

impl Permutation {
    /// The permutation of `0..len` that `seed` chooses. `len` must be at most 2^63.
    pub fn new(len: u64, seed: u64) -> Self {
        let column_bits = if len < 2 { 0 } else { (len.ilog2() / 2).max(1) };
        let rows = len.div_ceil(1 << column_bits).max(1);
        let mut state = seed;
        Permutation { len, column_bits, rows, keys: std::array::from_fn(|_| RoundKey::new(splitmix64(&mut state))) }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The index at a position. A position past the end has none; it is given back unchanged.
    #[inline]
    pub fn index(&self, position: Position) -> Index {
        Index(self.walk(position.0, Self::forward))
    }

    /// The position of an index; the inverse of [`Permutation::index`].
    #[inline]
    pub fn position(&self, index: Index) -> Position {
        Position(self.walk(index.0, Self::backward))
    }

    /// Applies `step` until the result is inside the domain.
    #[inline]
    fn walk(&self, from: u64, step: fn(&Self, u64) -> u64) -> u64 {
        if from >= self.len {
            return from;
        }
        self.inside(step(self, from), step)
    }

    /// Applies `step` for as long as the result is outside the domain. Ends: a bijection of the grid that started inside
    /// must come back inside, at the latest at its own starting point.
    #[inline]
    fn inside(&self, mut at: u64, step: fn(&Self, u64) -> u64) -> u64 {
        while at >= self.len {
            at = step(self, at);
        }
        at
    }

    /// The indices from a position on, if all of them lie in one row: the first round's hash is then the same for all.
    #[inline]
    fn fill(&self, from: u64, indices: &mut [Index; AHEAD]) -> bool {
        let (row, column) = self.split(from);
        if self.column_mask() - column < AHEAD as u64 - 1 || self.len - from.min(self.len) < AHEAD as u64 {
            return false;
        }
        let shift = self.column_hash(row, self.keys[0]);
        for (ahead, index) in (0..).zip(indices) {
            *index = Index(self.inside(self.rounds(row, column + ahead, shift), Self::forward));
        }
        true
    }

    #[inline]
    fn forward(&self, at: u64) -> u64 {
        let (row, column) = self.split(at);
        self.rounds(row, column, self.column_hash(row, self.keys[0]))
    }

    /// All rounds, of which the first adds `shift`.
    #[inline]
    fn rounds(&self, mut row: u64, mut column: u64, mut shift: u64) -> u64 {
        let [_, keys @ .., last] = &self.keys;
        for pair in keys.chunks_exact(2) {
            column = column.wrapping_add(shift) & self.column_mask();
            row = add_modulo(row, self.row_hash(column, pair[0]), self.rows);
            shift = self.column_hash(row, pair[1]);
        }
        column = column.wrapping_add(shift) & self.column_mask();
        row = add_modulo(row, self.row_hash(column, *last), self.rows);
        self.join(row, column)
    }

    #[inline]
    fn backward(&self, at: u64) -> u64 {
        let (mut row, mut column) = self.split(at);
        for pair in self.keys.chunks_exact(2).rev() {
            row = subtract_modulo(row, self.row_hash(column, pair[1]), self.rows);
            column = column.wrapping_sub(self.column_hash(row, pair[0])) & self.column_mask();
        }
        self.join(row, column)
    }

    #[inline]
    fn split(&self, at: u64) -> (u64, u64) {
        (at >> self.column_bits, at & self.column_mask())
    }

    #[inline]
    fn join(&self, row: u64, column: u64) -> u64 {
        row << self.column_bits | column
    }

    #[inline]
    fn column_mask(&self) -> u64 {
        (1 << self.column_bits) - 1
    }

    /// Any 64 bits will do: the sum is masked.
    #[inline]
    fn column_hash(&self, row: u64, key: RoundKey) -> u64 {
        mix(row, key)
    }

    /// A hash below `rows`: the high half of the product with it. That half hangs on the highest bits of what is
    /// multiplied, and they on every bit of the column; there is nothing to fold.
    #[inline]
    fn row_hash(&self, column: u64, key: RoundKey) -> u64 {
        high_half((column ^ key.mask).wrapping_mul(key.multiplier), self.rows)
    }
}

/// The indices of positions that are asked for one after the other. They are worked out eight at a time: one alone
/// spends most of its time waiting for its own multiplications, several fill one another's waits.
#[derive(Debug, Clone)]
pub struct Walk {
    /// The position of the first of `indices`.
    start: Position,
    known: usize,
    indices: [Index; AHEAD],
}

/// With more, the gain is below what can be measured.
const AHEAD: usize = 8;

impl Default for Walk {
    fn default() -> Self {
        Walk { start: Position(0), known: 0, indices: [Index(0); AHEAD] }
    }
}

impl Walk {
    /// [`Permutation::index`] of `position`; always of the same permutation. Cheap if it follows the position asked for
    /// before, and right in any case.
    #[inline]
    pub fn index(&mut self, permutation: &Permutation, position: Position) -> Index {
        let at = position.0.wrapping_sub(self.start.0);
        if at >= self.known as u64 {
            self.go_to(permutation, position, at == self.known as u64);
            return self.indices[0];
        }
        self.indices[at as usize]
    }

    /// Out of sequence, where the next position asked for is anybody's guess, only this one is worked out.
    fn go_to(&mut self, permutation: &Permutation, position: Position, in_sequence: bool) {
        (self.start, self.known) = (position, if in_sequence { AHEAD } else { 1 });
        if in_sequence && permutation.fill(position.0, &mut self.indices) {
            return;
        }
        let positions = (0..).map(|ahead| Position(position.0.wrapping_add(ahead)));
        let indices = self.indices[..self.known].iter_mut().zip(positions);
        indices.for_each(|(index, position)| *index = permutation.index(position));
    }
}

/// A contiguous run of positions that is worked on at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stripe {
    /// Its first position.
    pub start: Position,
    /// How many positions it has.
    pub len: u64,
}

impl Stripe {
    /// Cuts `0..len` into stripes of at most `most` positions each, in order.
    pub fn cut(len: u64, most: u64) -> impl Iterator<Item = Stripe> {
        let most = most.max(1);
        (0..len.div_ceil(most)).map(move |i| Stripe { start: Position(i * most), len: most.min(len - i * most) })
    }

    /// Where a position lies in this stripe; none if it lies outside.
    #[inline]
    pub fn offset(&self, position: Position) -> Option<u64> {
        let offset = position.0.wrapping_sub(self.start.0);
        (offset < self.len).then_some(offset)
    }

    /// The position at an offset.
    #[inline]
    pub fn position(&self, offset: u64) -> Position {
        Position(self.start.0 + offset)
    }
}

impl RoundKey {
    /// The constant is the 64-bit golden ratio, odd and without pattern.
    fn new(mask: u64) -> Self {
        RoundKey { mask, multiplier: mask.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15 | 1 }
    }
}

/// Multiplies to 128 bits and folds the halves: every input bit reaches every output bit.
#[inline]
fn mix(value: u64, key: RoundKey) -> u64 {
    let product = u128::from(value ^ key.mask) * u128::from(key.multiplier);
    (product as u64) ^ (product >> 64) as u64
}

#[inline]
fn high_half(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 64) as u64
}

#[inline]
fn add_modulo(a: u64, b: u64, modulus: u64) -> u64 {
    let sum = a + b;
    if sum >= modulus { sum - modulus } else { sum }
}

#[inline]
fn subtract_modulo(a: u64, b: u64, modulus: u64) -> u64 {
    if a >= b { a - b } else { a + modulus - b }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): spreads one seed over many keys.
pub(crate) fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(len: u64, seed: u64) -> Vec<u64> {
        let permutation = Permutation::new(len, seed);
        (0..len).map(|p| permutation.index(Position(p)).0).collect()
    }

    #[test]
    fn every_index_once_and_back_for_awkward_sizes() {
        let powers = (0..17).map(|k| 1u64 << k);
        let sizes = powers.flat_map(|p| [p - 1, p, p + 1]).chain(1..300).chain([65_521, 65_537, 100_003]);
        for len in sizes {
            let permutation = Permutation::new(len, len ^ 0xabcd);
            let mut seen = vec![false; len as usize];
            for p in 0..len {
                let index = permutation.index(Position(p));
                assert!(!std::mem::replace(&mut seen[index.0 as usize], true), "{len}: index {index:?} twice");
                assert_eq!(permutation.position(index), Position(p), "{len}");
            }
        }
    }

    #[test]
    fn same_seed_same_order_and_another_seed_another() {
        for len in [2, 3, 4, 5, 100, 65_536] {
            assert_eq!(order(len, 7), order(len, 7));
        }
        for len in [5, 100, 65_536] {
            let orders: Vec<_> = (0..20).map(|seed| order(len, seed)).collect();
            assert!(orders.iter().any(|o| *o != orders[0]), "{len}");
        }
        assert_ne!(order(1000, 1), order(1000, 2));
    }

    #[test]
    fn a_walk_gives_the_same_indices_in_and_out_of_sequence() {
        let permutation = Permutation::new(1000, 3);
        let mut walk = Walk::default();
        let jumps = [0, 1, 5, 6, 6, 5, 999, 0, 998, 999, 1000, u64::MAX, 0, 985, 986].into_iter().chain(987..1010);
        for position in (0..1000).chain(jumps).chain((0..1000).step_by(3)).map(Position) {
            assert_eq!(walk.index(&permutation, position), permutation.index(position), "{position:?}");
        }
    }

    #[test]
    fn past_the_end_is_given_back() {
        assert_eq!(Permutation::new(10, 1).index(Position(10)), Index(10));
        assert_eq!(Permutation::new(0, 1).index(Position(0)), Index(0));
    }

    /// A burst that stays in one /24 is what the shuffle is there to prevent: of any 256 consecutive positions of a
    /// /16, few fall into the same /24.
    #[test]
    fn neighbours_in_order_are_strangers_in_address() {
        for seed in 0..10 {
            for window in order(1 << 16, seed).chunks(256) {
                let mut hits = [0u32; 256];
                window.iter().for_each(|index| hits[(index >> 8) as usize] += 1);
                assert!(hits.iter().all(|&h| h <= 10), "seed {seed}: {} in one /24", hits.iter().max().unwrap());
            }
        }
    }

    /// Flipping any input bit flips every output bit in about half of the cases.
    #[test]
    fn avalanche() {
        const BITS: u32 = 32;
        const SAMPLES: u64 = 2000;
        let permutation = Permutation::new(1 << BITS, 99);
        let mut state = 5;
        for input_bit in 0..BITS {
            let mut flips = [0u64; BITS as usize];
            for _ in 0..SAMPLES {
                let at = splitmix64(&mut state) >> (64 - BITS);
                let difference =
                    permutation.index(Position(at)).0 ^ permutation.index(Position(at ^ (1 << input_bit))).0;
                (0..BITS).for_each(|bit| flips[bit as usize] += difference >> bit & 1);
            }
            for (bit, &n) in flips.iter().enumerate() {
                let share = n as f64 / SAMPLES as f64;
                assert!((0.44..0.56).contains(&share), "input {input_bit}, output {bit}: {share}");
            }
        }
    }

    #[test]
    fn stripes_cover_everything_once() {
        for (len, most) in [(0, 5), (1, 5), (5, 5), (6, 5), (10, 5), (11, 1), (7, 0)] {
            let positions: Vec<u64> = Stripe::cut(len, most).flat_map(|s| s.start.0..s.start.0 + s.len).collect();
            assert_eq!(positions, (0..len).collect::<Vec<_>>(), "{len} by {most}");
        }
        let stripe = Stripe { start: Position(10), len: 5 };
        assert_eq!(stripe.offset(Position(9)), None);
        assert_eq!(stripe.offset(Position(14)), Some(4));
        assert_eq!(stripe.offset(Position(15)), None);
        assert_eq!(stripe.position(4), Position(14));
    }

    proptest! {
        #[test]
        fn inverse_at_any_size(len in 1u64..=1 << 63, seed: u64, at: u64) {
            let permutation = Permutation::new(len, seed);
            let position = Position(at % len);
            let index = permutation.index(position);
            prop_assert!(index.0 < len);
            prop_assert_eq!(permutation.position(index), position);
        }
    }
}
