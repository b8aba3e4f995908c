//! A part of a plan: the addresses that leave through some egresses, and the plan that is left when only some addresses
//! are kept. Both are made of runs of neighbouring addresses, like plans themselves: what they cost grows with the gaps
//! between addresses and not with their ports. Who is kept, and why, is for `discover` to say.

use std::collections::HashMap;

use super::number::Address;
use super::ranges::Range;
use super::segments::{Segments, Unnumbered};
use super::{AddressRange, Block, EgressId, Plan, PortSet, Tally};
use crate::target::Family;

/// A set of addresses, as runs, that grows upwards: IPv4 before IPv6, then by address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subset {
    v4: Vec<Range<u32>>,
    v6: Vec<Range<u128>>,
    hosts: u64,
}

impl Subset {
    /// Adds an address above all others of its family.
    pub(crate) fn push(&mut self, family: Family, address: u128) {
        self.hosts += 1;
        match family {
            Family::V4 => extend(&mut self.v4, address as u32),
            Family::V6 => extend(&mut self.v6, address),
        }
    }

    /// The addresses of these ranges, which are disjoint and grow upwards in each family.
    pub(crate) fn of(ranges: &[AddressRange]) -> Subset {
        let hosts = ranges.iter().map(AddressRange::len).fold(0, u128::saturating_add);
        let (v4, v6) = (ranges.iter().filter_map(AddressRange::range), ranges.iter().filter_map(AddressRange::range));
        Subset { v4: v4.collect(), v6: v6.collect(), hosts: u64::try_from(hosts).unwrap_or(u64::MAX) }
    }

    /// How many addresses.
    pub(crate) fn hosts(&self) -> u64 {
        self.hosts
    }
}

fn extend<A: Address>(ranges: &mut Vec<Range<A>>, address: A) {
    match ranges.last_mut() {
        Some(range) if range.last.after() == Some(address) => range.last = address,
        _ => ranges.push(Range::single(address)),
    }
}

impl Plan {
    /// The addresses that leave through the egresses that `through` accepts, each with this one port: a host's rank is
    /// then its index. None if there are none.
    pub(crate) fn hosts_through(&self, through: impl Fn(EgressId) -> bool, port: u16) -> Option<Plan> {
        let mut labels = HashMap::new();
        let mut blocks = Vec::new();
        for block in self.blocks.iter().filter(|block| through(block.egress)) {
            labels.entry(block.egress).or_insert_with(|| {
                blocks.push(Block { ports: PortSet::single(port), egress: block.egress });
                blocks.len() as u32 - 1
            });
        }
        let label = |block: &Block| labels.get(&block.egress).copied();
        let mut tally = Tally::default();
        let v4 = each(&self.v4, &self.blocks, &mut tally, |block| label(block).map(|label| (label, 1)));
        let v6 = each(&self.v6, &self.blocks, &mut tally, |block| label(block).map(|label| (label, 1)));
        (tally.hosts > 0).then(|| Plan::new((v4, v6), blocks, tally, self.spared.clone()))
    }

    /// This plan without the addresses that are not in `kept`, save those that leave through the egresses that `exempt`
    /// accepts. None if nothing is left.
    pub(crate) fn restricted(&self, kept: &Subset, exempt: impl Fn(EgressId) -> bool) -> Option<Plan> {
        let mut tally = Tally { hosts: 0, targets: 0, ..self.tally.clone() };
        let v4 = within(&self.v4, &self.blocks, &kept.v4, &exempt, &mut tally);
        let v6 = within(&self.v6, &self.blocks, &kept.v6, &exempt, &mut tally);
        (tally.hosts > 0).then(|| Plan::new((v4, v6), self.blocks.clone(), tally, self.spared.clone()))
    }
}

impl Plan {
    /// The addresses of this plan that are not in `left`, which is a part of it (none: nothing is left), as ranges: ascending,
    /// IPv4 first, apart. None if they are more than `most` ranges.
    pub(crate) fn without(&self, left: Option<&Plan>, most: usize) -> Option<Vec<AddressRange>> {
        let (v4, v6) = (Gaps::new(most), Gaps::new(most));
        let of_v4 = left.into_iter().flat_map(|left| left.v4.ranges(&left.blocks));
        let of_v6 = left.into_iter().flat_map(|left| left.v6.ranges(&left.blocks));
        let v4 = v4.between(self.v4.ranges(&self.blocks), of_v4)?.into_iter().map(AddressRange::from);
        let v6 = v6.between(self.v6.ranges(&self.blocks), of_v6)?.into_iter().map(AddressRange::from);
        let gaps: Vec<_> = v4.chain(v6).collect();
        (gaps.len() <= most).then_some(gaps)
    }
}

/// What some ranges have and others have not, in at most so many ranges.
struct Gaps<A> {
    found: Vec<Range<A>>,
    most: usize,
}

impl<A: Address> Gaps<A> {
    fn new(most: usize) -> Self {
        Gaps { found: Vec::new(), most }
    }

    /// Both grow upwards.
    fn between(
        mut self,
        all: impl Iterator<Item = Range<A>>,
        taken: impl Iterator<Item = Range<A>>,
    ) -> Option<Vec<Range<A>>> {
        let mut taken = taken.peekable();
        for range in all {
            let mut next = Some(range.first);
            while let Some(first) = next {
                while taken.next_if(|taken| taken.last < first).is_some() {}
                let Some(taken) = taken.peek().filter(|taken| taken.first <= range.last) else { break };
                let before = taken.first.before().filter(|&last| first <= last && taken.first > first);
                before.into_iter().for_each(|last| self.add(Range { first, last }));
                next = taken.last.after().filter(|&next| next <= range.last);
            }
            next.into_iter().for_each(|first| self.add(Range { first, last: range.last }));
            if self.found.len() > self.most {
                return None;
            }
        }
        Some(self.found)
    }

    fn add(&mut self, gap: Range<A>) {
        match self.found.last_mut() {
            Some(last) if last.last.after() == Some(gap.first) => last.last = gap.last,
            _ => self.found.push(gap),
        }
    }
}

/// Every segment that `label` gives a block and a number of ports.
fn each<A: Address>(
    segments: &Segments<A>,
    blocks: &[Block],
    tally: &mut Tally,
    label: impl Fn(&Block) -> Option<(u32, u32)>,
) -> Unnumbered<A> {
    let mut chosen = Unnumbered::default();
    for (range, block) in segments.pieces(blocks).rev() {
        if let Some((block, ports)) = label(&blocks[block as usize]) {
            push(&mut chosen, tally, range, block, ports);
        }
    }
    chosen
}

/// What of the segments lies in `kept`, or is exempt.
fn within<A: Address>(
    segments: &Segments<A>,
    blocks: &[Block],
    kept: &[Range<A>],
    exempt: &impl Fn(EgressId) -> bool,
    tally: &mut Tally,
) -> Unnumbered<A> {
    let mut left = Unnumbered::default();
    for (range, number) in segments.pieces(blocks).rev() {
        let block = &blocks[number as usize];
        let ports = block.ports.len();
        if exempt(block.egress) {
            push(&mut left, tally, range, number, ports);
            continue;
        }
        let end = kept.partition_point(|other| other.first <= range.last);
        for other in kept[..end].iter().rev().take_while(|other| other.last >= range.first) {
            let common = Range { first: other.first.max(range.first), last: other.last.min(range.last) };
            push(&mut left, tally, common, number, ports);
        }
    }
    left
}

fn push<A: Address>(into: &mut Unnumbered<A>, tally: &mut Tally, range: Range<A>, block: u32, ports: u32) {
    tally.hosts = tally.hosts.saturating_add(range.len());
    tally.targets = tally.targets.saturating_add(range.len().saturating_mul(ports.into()));
    into.push(range, block, ports);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::Index;

    fn plan(targets: &str, ports: &str) -> Plan {
        Plan::builder().targets(targets).unwrap().ports(ports).unwrap().build().unwrap()
    }

    fn subset(addresses: impl IntoIterator<Item = IpAddr>) -> Subset {
        let mut subset = Subset::default();
        addresses.into_iter().map(Family::number).for_each(|(family, number)| subset.push(family, number));
        subset
    }

    fn shown(plan: &Plan) -> String {
        let targets = (0..plan.len()).map(|index| {
            let target = plan.target(Index(index)).unwrap();
            assert_eq!(plan.index(target), Some(Index(index)));
            target.to_string()
        });
        targets.collect::<Vec<_>>().join(" ")
    }

    /// Egress 1 for the addresses of these ranges, 0 for all others.
    fn routed(mut plan: Plan, others: &[(&str, &str)]) -> Plan {
        let range = |first: &str, last: &str| AddressRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap();
        let others: Vec<_> = others.iter().map(|(first, last)| range(first, last)).collect();
        let runs: Vec<_> = plan
            .ranges()
            .flat_map(|range| range.addresses().collect::<Vec<_>>())
            .map(|address| (address.into(), EgressId(others.iter().any(|range| range.contains(address)).into())))
            .collect();
        plan.assign(&runs);
        plan
    }

    #[test]
    fn what_is_kept_is_numbered_anew() {
        let plan = plan("10.0.0.0/29 10.0.0.9:22 2001:db8::/126", "80-81");
        let kept = ["10.0.0.1", "10.0.0.2", "10.0.0.7", "10.0.0.8", "10.0.0.9", "2001:db8::3", "2001:db8::4"];
        let kept = subset(kept.map(|address| address.parse().unwrap()));
        let left = plan.restricted(&kept, |_| false).unwrap();
        assert_eq!(
            shown(&left),
            "10.0.0.1:80 10.0.0.1:81 10.0.0.2:80 10.0.0.2:81 10.0.0.7:80 10.0.0.7:81 10.0.0.9:22 [2001:db8::3]:80 \
             [2001:db8::3]:81"
        );
        assert_eq!((left.hosts(), left.len(), kept.hosts()), (5, 9, 7));
        assert!(plan.restricted(&Subset::default(), |_| false).is_none());
    }

    #[test]
    fn exempt_egresses_stay_whole() {
        let plan = routed(plan("10.0.0.0/29", "80"), &[("10.0.0.4", "10.0.0.5")]);
        let left = plan.restricted(&subset(["10.0.0.1".parse().unwrap()]), |egress| egress == EgressId(1)).unwrap();
        assert_eq!(shown(&left), "10.0.0.1:80 10.0.0.4:80 10.0.0.5:80");
        assert_eq!(left.locate(Index(1)).unwrap().egress, EgressId(1));
    }

    #[test]
    fn hosts_of_some_egresses_once_each() {
        let plan = routed(plan("10.0.0.0/30 10.0.0.2:22 2001:db8::1", "80-99"), &[("10.0.0.1", "10.0.0.1")]);
        let hosts = plan.hosts_through(|egress| egress == EgressId(0), 7).unwrap();
        assert_eq!(shown(&hosts), "10.0.0.0:7 10.0.0.2:7 10.0.0.3:7 [2001:db8::1]:7");
        assert!(plan.hosts_through(|egress| egress == EgressId(9), 7).is_none());
    }

    #[test]
    fn what_is_left_out_takes_no_more_ranges_than_it_may() {
        let plan = plan("10.0.0.0/29 2001:db8::/126", "80");
        let kept = ["10.0.0.2", "2001:db8::1"].map(|address| address.parse().unwrap());
        let left = plan.restricted(&subset(kept), |_| false);
        let shown = |most| {
            let ranges = plan.without(left.as_ref(), most)?;
            Some(ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(shown(4).unwrap(), "10.0.0.0/31 10.0.0.3-10.0.0.7 2001:db8:: 2001:db8::2/127");
        assert_eq!((shown(3), shown(1)), (None, None));
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(kept in prop::collection::btree_set(0u8..64, 0..40), exempt in 0u8..64) {
            let address = |last: u8| IpAddr::from([10, 0, 0, last]);
            let last = format!("10.0.0.{exempt}");
            let plan = routed(plan("10.0.0.0/26 10.0.0.16/28:7", "80,443"), &[("10.0.0.0", &last)]);
            let left = plan.restricted(&subset(kept.iter().map(|&last| address(last))), |egress| egress == EgressId(1));
            let expected: BTreeSet<_> = kept.iter().copied().chain(0..=exempt).map(address).collect();
            let left = left.unwrap();
            let named = |ranges: Vec<AddressRange>| ranges.iter().flat_map(AddressRange::addresses).collect::<BTreeSet<_>>();
            let skipped = named(plan.without(Some(&left), 64).unwrap());
            let hosts = named(plan.ranges().collect());
            prop_assert_eq!(&skipped, &hosts.difference(&expected).copied().collect());
            prop_assert_eq!(named(plan.without(None, 1).unwrap()), hosts);
            let all: Vec<_> = (0..plan.len()).filter_map(|index| plan.target(Index(index))).collect();
            let expected: Vec<_> = all.into_iter().filter(|target| expected.contains(&target.address)).collect();
            let found: Vec<_> = (0..left.len()).filter_map(|index| left.target(Index(index))).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
