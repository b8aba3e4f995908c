//! A line swept over many address sets at once, from the highest address down: it visits every stretch of addresses
//! that lie in the same sets, with those sets' numbers. Sets are consumed as the line passes, so their memory shrinks
//! while the result grows. With n ranges in k sets: O(n (log k + sets at one place)).

use super::number::Address;
use super::ranges::{Range, RangeSet};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A sweep that has not begun.
pub(crate) struct Sweep<A> {
    sets: Vec<RangeSet<A>>,
    /// The highest range of every set that the line has not reached: last, set (the lowest first), first.
    waiting: BinaryHeap<(A, Reverse<u32>, A)>,
    /// The sets under the line, ascending, and where each one's range ends.
    layers: Vec<u32>,
    firsts: Vec<A>,
}

impl<A: Address> Sweep<A> {
    /// Over these sets; their places in the list are their numbers.
    pub(crate) fn new(mut sets: Vec<RangeSet<A>>) -> Self {
        sets.iter_mut().for_each(RangeSet::settle);
        let mut sweep = Sweep { waiting: BinaryHeap::new(), layers: Vec::new(), firsts: Vec::new(), sets };
        (0..sweep.sets.len() as u32).for_each(|set| sweep.advance(set));
        sweep
    }

    /// Visits the stretches, the highest first; the set numbers of each are ascending and at least one.
    pub(crate) fn run(mut self, mut visit: impl FnMut(Range<A>, &[u32])) {
        let mut line = None;
        while let Some(last) = self.highest(line) {
            self.enter(last);
            let first = self.lowest_in_common(last);
            visit(Range { first, last }, &self.layers);
            self.leave(first);
            line = first.before();
        }
    }

    /// Where the next stretch ends: at the line if a set reaches down to it, else at the next range.
    fn highest(&self, line: Option<A>) -> Option<A> {
        if self.layers.is_empty() { self.waiting.peek().map(|next| next.0) } else { line }
    }

    fn enter(&mut self, line: A) {
        while let Some(&(last, Reverse(set), first)) = self.waiting.peek()
            && last == line
        {
            self.waiting.pop();
            let place = self.layers.partition_point(|&other| other < set);
            self.layers.insert(place, set);
            self.firsts.insert(place, first);
        }
    }

    fn lowest_in_common(&self, last: A) -> A {
        let below = self.waiting.peek().and_then(|next| next.0.after());
        self.firsts.iter().copied().chain(below).max().unwrap_or(last)
    }

    fn leave(&mut self, first: A) {
        for place in (0..self.layers.len()).rev() {
            if self.firsts[place] == first {
                self.firsts.remove(place);
                let set = self.layers.remove(place);
                self.advance(set);
            }
        }
    }

    fn advance(&mut self, set: u32) {
        let next = self.sets[set as usize].pop_last();
        self.waiting.extend(next.map(|range| (range.last, Reverse(set), range.first)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn swept(sets: &[Vec<(u32, u32)>]) -> Vec<(u32, Vec<u32>)> {
        let range_set = |ranges: &Vec<(u32, u32)>| {
            let mut set = RangeSet::default();
            ranges.iter().for_each(|&(first, last)| set.insert(Range { first, last }));
            set
        };
        let mut found = Vec::new();
        Sweep::new(sets.iter().map(range_set).collect()).run(|range, layers| {
            found.extend((range.first..=range.last).rev().map(|address| (address, layers.to_vec())));
        });
        found.reverse();
        found
    }

    #[test]
    fn reaches_both_ends() {
        let found = swept(&[vec![(0, 1), (u32::MAX, u32::MAX)], vec![(0, 0), (u32::MAX - 1, u32::MAX)]]);
        let expected = [(0, vec![0, 1]), (1, vec![0]), (u32::MAX - 1, vec![1]), (u32::MAX, vec![0, 1])];
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn agrees_with_asking_every_set(
            sets in prop::collection::vec(prop::collection::vec((0u32..80, 0u32..9), 0..8), 0..6),
        ) {
            let sets: Vec<Vec<_>> = sets.iter().map(|set| set.iter().map(|r| (r.0, r.0 + r.1 % 5)).collect()).collect();
            let has = |set: &Vec<(u32, u32)>, address| set.iter().any(|r| (r.0..=r.1).contains(&address));
            let layers = |at| (0..sets.len() as u32).filter(|&set| has(&sets[set as usize], at)).collect::<Vec<_>>();
            let mut expected: Vec<_> = (0..100).map(|at| (at, layers(at))).collect();
            expected.retain(|(_, layers)| !layers.is_empty());
            prop_assert_eq!(swept(&sets), expected);
        }
    }
}
