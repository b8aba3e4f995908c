//! The cells into which the kernel's prefixes cut an address family. Within one cell every address is covered by the
//! same prefixes of all routing tables and rules, so the kernel routes all of a cell as it routes any one address of
//! it. How it does that is `resolve`'s question.

use std::net::IpAddr;

use super::number::{Family, Span, number};

/// Where cells begin that no route shows: addresses that the kernel treats apart before it looks into a table
/// (net/ipv4/route.c `ip_route_output_key_hash_rcu`, net/ipv6/route.c `rt6_need_strict`) and those `resolve` does.
const ALWAYS_V4: [u128; 6] = [0x0000_0001, 0x7f00_0000, 0x8000_0000, 0xe000_0000, 0xf000_0000, 0xffff_ffff];
const ALWAYS_V6: [u128; 5] = [1, 2, 0xfe80 << 112, 0xfec0 << 112, 0xff00 << 112];

/// A prefix of a route or a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) address: IpAddr,
    pub(super) length: u8,
}

/// The cells of one family.
#[derive(Debug)]
pub(super) struct Cells {
    family: Family,
    /// First address of every cell but the lowest; ascending, no two alike.
    cuts: Vec<u128>,
}

impl Cells {
    /// Cuts a family at both ends of each prefix; prefixes of the other family are left out.
    pub(super) fn new(family: Family, prefixes: impl Iterator<Item = Prefix>) -> Cells {
        let always = match family {
            Family::V4 => ALWAYS_V4.as_slice(),
            Family::V6 => ALWAYS_V6.as_slice(),
        };
        let ours = prefixes.filter(|prefix| Family::of(prefix.address) == family);
        let mut cuts: Vec<u128> = ours.flat_map(ends).chain(always.iter().copied()).collect();
        cuts.retain(|&cut| cut != 0 && cut <= family.last());
        cuts.sort_unstable();
        cuts.dedup();
        Cells { family, cuts }
    }

    /// Which cell an address lies in, by its rank.
    pub(super) fn cell(&self, number: u128) -> usize {
        self.cuts.partition_point(|&cut| cut <= number)
    }

    /// Splits a range where cells meet; every piece comes with its cell.
    pub(super) fn split(&self, span: Span) -> impl Iterator<Item = (usize, Span)> {
        let cells = self.cell(span.first)..=self.cell(span.last);
        cells.map(move |cell| {
            let first = cell.checked_sub(1).map_or(0, |below| self.cuts[below]);
            let last = self.cuts.get(cell).map_or(self.family.last(), |above| above - 1);
            (cell, Span { first: first.max(span.first), last: last.min(span.last), ..span })
        })
    }
}

/// A prefix's first address, and the one after its last (one too high for the family at its very end).
fn ends(prefix: Prefix) -> [u128; 2] {
    let family = Family::of(prefix.address);
    let host = family.last().checked_shr(prefix.length.into()).unwrap_or(0);
    let first = number(prefix.address) & !host;
    [first, (first | host).wrapping_add(1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(address: impl Into<IpAddr>, length: u8) -> Prefix {
        Prefix { address: address.into(), length }
    }

    #[test]
    fn a_prefix_cuts_before_its_first_and_after_its_last() {
        assert_eq!(ends(prefix([10, 1, 2, 3], 24)), [0x0a01_0200, 0x0a01_0300]);
        assert_eq!(ends(prefix([10, 1, 2, 3], 32)), [0x0a01_0203, 0x0a01_0204]);
        assert_eq!(ends(prefix([0, 0, 0, 0], 0)), [0, 1 << 32]);
        assert_eq!(ends(prefix([0u8; 16], 0)), [0, 0]);
        assert_eq!(ends(prefix([10, 1, 2, 3], 77)), [0x0a01_0203, 0x0a01_0204]);
    }

    #[test]
    fn a_range_is_split_where_cells_meet() {
        let cells = Cells::new(Family::V4, [prefix([10, 0, 0, 0], 8), prefix([10, 0, 5, 0], 24)].into_iter());
        let span = Span { family: Family::V4, first: 0x0a00_04f0, last: 0x0a00_0710 };
        let pieces: Vec<_> = cells.split(span).map(|(_, piece)| (piece.first, piece.last)).collect();
        assert_eq!(pieces, [(0x0a00_04f0, 0x0a00_04ff), (0x0a00_0500, 0x0a00_05ff), (0x0a00_0600, 0x0a00_0710)]);
    }

    #[test]
    fn the_highest_addresses_belong_to_a_cell() {
        for family in [Family::V4, Family::V6] {
            let cells = Cells::new(family, std::iter::empty());
            let all = Span { family, first: 0, last: family.last() };
            assert_eq!(cells.split(all).last().unwrap().1.last, family.last());
        }
    }

    proptest! {
        #[test]
        fn pieces_partition_the_range_and_share_their_prefixes(
            prefixes in proptest::collection::vec((any::<[u8; 4]>(), 0u8..=32), 0..20),
            ends: [u32; 2],
        ) {
            let prefixes: Vec<_> = prefixes.into_iter().map(|(address, length)| prefix(address, length)).collect();
            let cells = Cells::new(Family::V4, prefixes.iter().copied());
            let (first, last) = (ends[0].min(ends[1]).into(), ends[0].max(ends[1]).into());
            let mut next = first;
            for (cell, piece) in cells.split(Span { family: Family::V4, first, last }) {
                prop_assert_eq!(piece.first, next);
                prop_assert!(piece.last >= piece.first);
                prop_assert_eq!(cells.cell(piece.last), cell);
                for [begin, end] in prefixes.iter().map(|&prefix| super::ends(prefix)) {
                    prop_assert_eq!((begin..end).contains(&piece.first), (begin..end).contains(&piece.last));
                }
                next = piece.last + 1;
            }
            prop_assert_eq!(next, last + 1);
        }
    }
}
