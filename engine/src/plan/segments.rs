//! The plan of one address family as a flat list of segments: runs of addresses that share one block, ascending, each
//! with the index of its first target. A segment's length follows from the index of the next, so a segment takes 16
//! bytes for IPv4 and 28 for IPv6. What a block is, and how the families follow one another, is the plan's business.

use super::directory::Directory;
use super::number::Address;
use super::ports::PortSet;
use super::ranges::Range;
use super::{Block, EgressId};

/// All segments of one family, with a directory each way.
#[derive(Debug, Clone)]
pub(crate) struct Segments<A: Address> {
    list: Vec<Segment<A>>,
    start: u64,
    end: u64,
    by_index: Directory<u64>,
    by_address: Directory<A>,
}

/// A run of addresses with the same block. In words of four bytes, so that there is no padding.
#[derive(Debug, Clone, Copy)]
struct Segment<A: Address> {
    first: A::Packed,
    index: [u32; 2],
    block: u32,
}

impl<A: Address> Segments<A> {
    /// The index of the first target.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// The index behind the last target.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The address, port and egress of a target; `index` lies in `start..end`.
    pub(crate) fn locate(&self, index: u64, blocks: &[Block]) -> Option<(A, u16, EgressId)> {
        let segment = self.list.get(self.by_index.find(index, |at| self.list[at].index()))?;
        let block = blocks.get(segment.block as usize)?;
        let (host, port) = block.ports.split(index.checked_sub(segment.index())?);
        Some((segment.first().plus(host), port, block.egress))
    }

    /// The indices of all targets at the address of this one; `index` lies in `start..end`.
    pub(crate) fn siblings(&self, index: u64, blocks: &[Block]) -> Option<std::ops::Range<u64>> {
        let segment = self.list.get(self.by_index.find(index, |at| self.list[at].index()))?;
        let ports = u64::from(blocks.get(segment.block as usize)?.ports.len());
        let first = index - index.checked_sub(segment.index())?.checked_rem(ports)?;
        Some(first..first + ports)
    }

    /// The index of a target, if it is one.
    pub(crate) fn index(&self, address: A, port: u16, blocks: &[Block]) -> Option<u64> {
        let at = self.by_address.find(address, |at| self.list[at].first());
        let segment = self.list.get(at)?;
        let ports = &blocks.get(segment.block as usize)?.ports;
        let index = segment.index_of(address, ports)?.checked_add(u64::from(ports.rank(port)?))?;
        (index < self.end_of(at)).then_some(index)
    }

    /// The addresses of each segment, ascending.
    pub(crate) fn ranges<'a>(&'a self, blocks: &'a [Block]) -> impl Iterator<Item = Range<A>> + 'a {
        (0..self.list.len()).map(|at| self.range(at, blocks))
    }

    /// The addresses of each segment and its block, ascending.
    pub(crate) fn pieces<'a>(&'a self, blocks: &'a [Block]) -> impl DoubleEndedIterator<Item = (Range<A>, u32)> + 'a {
        (0..self.list.len()).map(|at| (self.range(at, blocks), self.list[at].block))
    }

    /// Cuts the segments where runs begin and gives each piece the block that `relabel` has for its old block and its
    /// run's egress. `runs` are ascending and disjoint and cover every segment; the numbering stays.
    pub(crate) fn assign(
        &mut self,
        runs: &[(Range<A>, EgressId)],
        blocks: &[Block],
        mut relabel: impl FnMut(u32, EgressId) -> u32,
    ) {
        let mut runs = runs.iter().peekable();
        let mut egress = EgressId::default();
        let mut pieces = Vec::new();
        for at in 0..self.list.len() {
            let (segment, range) = (self.list[at], self.range(at, blocks));
            while let Some(run) = runs.next_if(|run| run.0.first <= range.first) {
                egress = run.1;
            }
            self.list[at].block = relabel(segment.block, egress);
            while let Some(run) = runs.next_if(|run| run.0.first <= range.last) {
                egress = run.1;
                let index = segment.index_of(run.0.first, &blocks[segment.block as usize].ports);
                let piece = |index| Segment::new(run.0.first, index, relabel(segment.block, egress));
                pieces.extend(index.map(piece));
            }
        }
        self.add(pieces);
    }

    /// Joins neighbours that [`assign`](Self::assign) has given the same block; `blocks` are the new ones.
    pub(crate) fn join(&mut self, blocks: &[Block]) {
        self.list.dedup_by(|next, kept| {
            let follows = || kept.index_of(next.first(), &blocks[kept.block as usize].ports) == Some(next.index());
            next.block == kept.block && follows()
        });
        self.list.shrink_to_fit();
        self.index_anew();
    }

    fn add(&mut self, pieces: Vec<Segment<A>>) {
        if !pieces.is_empty() {
            self.list.extend(pieces);
            self.list.sort_unstable_by_key(Segment::index);
        }
    }

    fn index_anew(&mut self) {
        self.by_index = Directory::new(self.list.len(), |at| self.list[at].index());
        self.by_address = Directory::new(self.list.len(), |at| self.list[at].first());
    }

    fn range(&self, at: usize, blocks: &[Block]) -> Range<A> {
        let segment = &self.list[at];
        let hosts = blocks[segment.block as usize].ports.hosts(self.end_of(at) - segment.index());
        Range { first: segment.first(), last: segment.first().plus(hosts.saturating_sub(1)) }
    }

    #[inline]
    fn end_of(&self, at: usize) -> u64 {
        self.list.get(at + 1).map_or(self.end, Segment::index)
    }
}

impl<A: Address> Segment<A> {
    fn new(first: A, index: u64, block: u32) -> Self {
        Segment { first: first.pack(), index: [index as u32, (index >> 32) as u32], block }
    }

    #[inline]
    fn first(&self) -> A {
        A::unpack(self.first)
    }

    #[inline]
    fn index(&self) -> u64 {
        u64::from(self.index[0]) | u64::from(self.index[1]) << 32
    }

    /// The index of the address's first port, if the segment reaches that far.
    #[inline]
    fn index_of(&self, address: A, ports: &PortSet) -> Option<u64> {
        let hosts = u64::try_from(address.above(self.first())?).ok()?;
        hosts.checked_mul(u64::from(ports.len()))?.checked_add(self.index())
    }
}

/// Segments as they come from a sweep: the highest first, and not numbered yet.
#[derive(Debug)]
pub(crate) struct Unnumbered<A: Address> {
    /// With the number of targets in the place of the index.
    list: Vec<Segment<A>>,
}

impl<A: Address> Default for Unnumbered<A> {
    fn default() -> Self {
        Unnumbered { list: Vec::new() }
    }
}

impl<A: Address> Unnumbered<A> {
    /// Adds a run that lies below all others; `ports` is the size of the block's port set.
    pub(crate) fn push(&mut self, range: Range<A>, block: u32, ports: u32) {
        let targets = u64::try_from(range.len().saturating_mul(u128::from(ports))).unwrap_or(u64::MAX);
        match self.list.last_mut() {
            Some(above) if above.block == block && range.last.after() == Some(above.first()) => {
                *above = Segment::new(range.first, above.index().saturating_add(targets), block);
            }
            _ => self.list.push(Segment::new(range.first, targets, block)),
        }
    }

    /// Numbers the targets from `start`; the caller has seen that the sum fits.
    pub(crate) fn number(self, start: u64) -> Segments<A> {
        let mut list = self.list;
        list.reverse();
        list.shrink_to_fit();
        let mut end = start;
        for segment in &mut list {
            let targets = segment.index();
            *segment = Segment::new(segment.first(), end, segment.block);
            end = end.saturating_add(targets);
        }
        let (by_index, by_address) = (Directory::new(0, |_| 0), Directory::new(0, |_| A::default()));
        let mut segments = Segments { list, start, end, by_index, by_address };
        segments.index_anew();
        segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_has_no_padding() {
        assert_eq!(size_of::<Segment<u32>>(), 16);
        assert_eq!(size_of::<Segment<u128>>(), 28);
    }
}
