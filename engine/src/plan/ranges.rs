//! Sets of addresses while they are being collected: what one layer of a plan is made of. Single addresses and wider
//! ranges are kept apart, so that a list of single addresses costs four (IPv4) or sixteen (IPv6) bytes each. Duplicates
//! and overlaps are merged in place whenever the buffer is full and before it would grow, so they do not add up.
//! A settled set is taken apart from its highest range down, giving memory back on the way: what is built from it grows
//! into the room that it leaves. What the ranges mean is the business of `layers` and `assembly`.

use super::number::Address;

/// An inclusive range of addresses; `first <= last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range<A> {
    pub(crate) first: A,
    pub(crate) last: A,
}

impl<A: Address> Range<A> {
    /// The range of one address.
    pub(crate) fn single(address: A) -> Self {
        Range { first: address, last: address }
    }

    /// The network with that many leading bits of this address.
    pub(crate) fn network(address: A, prefix: u32) -> Self {
        let (first, last) = address.network(prefix);
        Range { first, last }
    }

    /// How many addresses; saturates at `u128::MAX` for all of IPv6.
    pub(crate) fn len(self) -> u128 {
        self.last.above(self.first).map_or(0, |distance| distance.saturating_add(1))
    }

    /// Whether `other`, which does not begin below this range, overlaps or touches it.
    fn reaches(self, other: Self) -> bool {
        other.first <= self.last || self.last.after() == Some(other.first)
    }
}

/// A growing set of addresses.
#[derive(Debug, Clone)]
pub(crate) struct RangeSet<A> {
    singles: Vec<A>,
    ranges: Vec<Range<A>>,
}

impl<A> Default for RangeSet<A> {
    fn default() -> Self {
        RangeSet { singles: Vec::new(), ranges: Vec::new() }
    }
}

/// Below this many entries, merging or shrinking a buffer costs more than the room it saves.
const WORTH_WHILE: usize = 1 << 12;

impl<A: Address> RangeSet<A> {
    /// Adds a range, in amortised logarithmic time.
    pub(crate) fn insert(&mut self, range: Range<A>) {
        if range.first == range.last { self.insert_single(range.first) } else { self.insert_wide(range) }
    }

    /// Adds all of another set.
    pub(crate) fn append(&mut self, other: RangeSet<A>) {
        other.ranges.into_iter().for_each(|range| self.insert_wide(range));
        other.singles.into_iter().for_each(|single| self.insert_single(single));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.singles.is_empty() && self.ranges.is_empty()
    }

    /// Any one address of the set.
    pub(crate) fn any(&self) -> Option<A> {
        self.singles.first().copied().or_else(|| self.ranges.first().map(|range| range.first))
    }

    /// Sorts, merges and removes duplicates, all in place.
    pub(crate) fn settle(&mut self) {
        self.settle_ranges();
        self.settle_singles();
    }

    /// Takes out the highest range of a settled set. Two taken one after the other may touch, but never overlap.
    pub(crate) fn pop_last(&mut self) -> Option<Range<A>> {
        match (self.singles.last(), self.ranges.last()) {
            (Some(&single), Some(range)) if single < range.first => pop(&mut self.ranges),
            (None, _) => pop(&mut self.ranges),
            _ => pop(&mut self.singles).map(Range::single),
        }
    }

    fn insert_single(&mut self, address: A) {
        if is_full(&self.singles) {
            self.settle();
            make_room(&mut self.singles);
        }
        self.singles.push(address);
    }

    fn insert_wide(&mut self, range: Range<A>) {
        if is_full(&self.ranges) {
            self.settle_ranges();
            make_room(&mut self.ranges);
        }
        self.ranges.push(range);
    }

    fn settle_ranges(&mut self) {
        self.ranges.sort_unstable();
        self.ranges.dedup_by(|next, kept| {
            let reached = kept.reaches(*next);
            if reached {
                kept.last = kept.last.max(next.last);
            }
            reached
        });
    }

    fn settle_singles(&mut self) {
        self.singles.sort_unstable();
        self.singles.dedup();
        let mut ranges = self.ranges.iter().peekable();
        self.singles.retain(|&single| {
            while ranges.next_if(|range| range.last < single).is_some() {}
            ranges.peek().is_none_or(|range| single < range.first)
        });
    }
}

fn is_full<T>(buffer: &Vec<T>) -> bool {
    buffer.len() == buffer.capacity() && buffer.len() >= WORTH_WHILE
}

/// Doubles a buffer that merging has left more than half full, so that the next merge is as far away as this one was.
fn make_room<T>(buffer: &mut Vec<T>) {
    if buffer.len() > buffer.capacity() / 2 {
        buffer.reserve_exact(buffer.capacity());
    }
}

/// Pops, and gives back the unused half of a large buffer.
fn pop<T>(buffer: &mut Vec<T>) -> Option<T> {
    if buffer.len() < buffer.capacity() / 2 && buffer.capacity() > WORTH_WHILE {
        buffer.shrink_to_fit();
    }
    buffer.pop()
}

/// Ranges of small numbers (octets, ports), which may overlap and stand in any order: ascending and apart.
pub(crate) fn merged<N: Copy + Ord + Into<u32>>(mut ranges: Vec<(N, N)>) -> Vec<(N, N)> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let reached = next.0.into() <= kept.1.into() + 1;
        if reached {
            kept.1 = kept.1.max(next.1);
        }
        reached
    });
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn taken_apart(mut set: RangeSet<u32>) -> Vec<Range<u32>> {
        set.settle();
        let mut ranges: Vec<_> = std::iter::from_fn(|| set.pop_last()).collect();
        ranges.reverse();
        ranges
    }

    fn set(ranges: &[(u32, u32)]) -> RangeSet<u32> {
        let mut set = RangeSet::default();
        ranges.iter().for_each(|&(first, last)| set.insert(Range { first, last }));
        set
    }

    #[test]
    fn overlaps_and_duplicates_merge() {
        let ranges = taken_apart(set(&[(5, 9), (1, 1), (7, 20), (1, 1), (8, 8), (21, 30), (40, 41)]));
        let expected = [(1, 1), (5, 30), (40, 41)].map(|(first, last)| Range { first, last });
        assert_eq!(ranges, expected);
    }

    #[test]
    fn both_ends_of_the_number_line() {
        let ranges = taken_apart(set(&[(0, 0), (u32::MAX, u32::MAX), (0, 3), (u32::MAX - 1, u32::MAX)]));
        let expected = [(0, 3), (u32::MAX - 1, u32::MAX)].map(|(first, last)| Range { first, last });
        assert_eq!(ranges, expected);
    }

    #[test]
    fn duplicates_do_not_accumulate() {
        let mut set = RangeSet::<u32>::default();
        for round in 0..100 * WORTH_WHILE {
            set.insert(Range::single((round % 1000) as u32 * 7));
            set.insert(Range { first: round as u32 % 5000 * 10, last: round as u32 % 5000 * 10 + 4 });
        }
        assert!(set.singles.capacity() <= 2 * WORTH_WHILE, "{}", set.singles.capacity());
        assert!(set.ranges.capacity() <= 4 * WORTH_WHILE, "{}", set.ranges.capacity());
    }

    #[test]
    fn taking_apart_gives_memory_back() {
        let mut set = RangeSet::<u32>::default();
        (0..100_000).for_each(|number| set.insert(Range::single(number * 2)));
        set.settle();
        (0..90_000).for_each(|_| assert!(set.pop_last().is_some()));
        assert!(set.singles.capacity() < 30_000);
    }

    proptest! {
        #[test]
        fn agrees_with_a_tree(ranges in prop::collection::vec((0u32..300, 0u32..12), 0..60)) {
            let ranges: Vec<_> = ranges.into_iter().map(|(first, more)| (first, first + more % 7)).collect();
            let expected: BTreeSet<u32> = ranges.iter().flat_map(|&(first, last)| first..=last).collect();
            let parts = taken_apart(set(&ranges));
            let found: Vec<u32> = parts.iter().flat_map(|range| range.first..=range.last).collect();
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
