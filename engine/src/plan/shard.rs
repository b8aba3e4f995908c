//! Shards: a plan cut into parts of equal size for several shells or machines. A shard is a run of targets in natural order
//! and a plan of its own.
//!
//! Runs of targets and not of the shuffled order, for three reasons: a host belongs to one shard, so what it may get holds
//! for all shards together; looking for hosts costs each shard its own hosts only; and shards are disjoint and complete
//! whatever their seeds. Within a shard the order is shuffled as ever.
//!
//! The plan's fingerprint is here too: what tells that a plan is the one that a part of a scan was made of.

use std::fmt;
use std::str::FromStr;

use super::number::Address;
use super::ranges::Range;
use super::segments::{Segments, Unnumbered};
use super::{Block, Plan, PortSet, Tally};
use crate::error::Error;
use crate::permute::splitmix64;

/// One of so many parts of a plan: the `number`th, from 1, `of` so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shard {
    number: u64,
    of: u64,
}

impl Shard {
    /// The `number`th of so many shards, counted from 1; none if there is no such shard.
    pub fn new(number: u64, of: u64) -> Option<Shard> {
        (1..=of).contains(&number).then_some(Shard { number, of })
    }

    /// Which it is, from 1.
    pub fn number(self) -> u64 {
        self.number
    }

    /// How many there are.
    pub fn of(self) -> u64 {
        self.of
    }

    /// Its share of `0..len`: sizes differ by one at most.
    fn share(self, len: u64) -> std::ops::Range<u64> {
        let cut = |at: u64| (u128::from(len) * u128::from(at) / u128::from(self.of)) as u64;
        cut(self.number - 1)..cut(self.number)
    }
}

/// `2/5`.
impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// No shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected i/n with i from 1 to n, such as 2/5 for the second of five shards")]
pub struct NoShard;

impl FromStr for Shard {
    type Err = NoShard;

    fn from_str(text: &str) -> Result<Shard, NoShard> {
        let (number, of) = text.split_once('/').ok_or(NoShard)?;
        let parse = |text: &str| text.trim().parse::<u64>().map_err(|_| NoShard);
        Shard::new(parse(number)?, parse(of)?).ok_or(NoShard)
    }
}

impl Plan {
    /// The part of this plan that a shard is. All shards of a plan together hold every target once, and their sizes differ
    /// by one at most.
    ///
    /// # Errors
    /// [`Error::Setting`] if there are more shards than targets.
    pub fn shard(&self, shard: Shard) -> Result<Plan, Error> {
        if shard.of > self.len() {
            let problem = format!("{shard} of {} targets leaves shards empty; give at most as many shards", self.len());
            return Err(Error::Setting { setting: "shard", problem });
        }
        let share = shard.share(self.len());
        let mut cut = Cut { blocks: self.blocks.clone(), tally: Tally { hosts: 0, targets: 0, ..self.tally.clone() } };
        let v4 = cut.within(&self.v4, &share);
        let v6 = cut.within(&self.v6, &share);
        Ok(Plan::new((v4, v6), cut.blocks, cut.tally, self.spared.clone()))
    }

    /// What this plan's targets come to as one number: the same for the same targets, however they were named and through
    /// whatever interface they are reached.
    pub fn fingerprint(&self) -> u64 {
        let mut state = splitmix64(&mut self.len().clone());
        let mut mix = |value: u64| {
            state ^= value;
            state = splitmix64(&mut state);
        };
        let ports: Vec<u64> = self.blocks.iter().map(|block| fingerprint(&block.ports)).collect();
        let v4 = self.v4.pieces(&self.blocks).map(|(range, block)| (range.into(), block));
        let v6 = self.v6.pieces(&self.blocks).map(|(range, block)| (range.into(), block));
        for (first, last, block) in merged(v4.chain(v6), &ports) {
            [first as u64, (first >> 64) as u64, last as u64, (last >> 64) as u64, block]
                .into_iter()
                .for_each(&mut mix);
        }
        state
    }
}

/// Neighbouring runs with the same ports as one: routing cuts them.
fn merged(
    pieces: impl Iterator<Item = (super::AddressRange, u32)>,
    ports: &[u64],
) -> impl Iterator<Item = (u128, u128, u64)> {
    let number = |ip| crate::target::Family::number(ip).1;
    let mut runs: Vec<(u128, u128, u64)> = Vec::new();
    for (range, block) in pieces {
        let (first, last, ports) = (number(range.first()), number(range.last()), ports[block as usize]);
        match runs.last_mut() {
            Some(run) if run.2 == ports && run.1.checked_add(1) == Some(first) => run.1 = last,
            _ => runs.push((first, last, ports)),
        }
    }
    runs.into_iter()
}

fn fingerprint(ports: &PortSet) -> u64 {
    ports.ranges().fold(0, |state, (first, last)| splitmix64(&mut (state ^ (u64::from(first) << 16 | u64::from(last)))))
}

/// What a shard is cut out with: hosts at its ends may get blocks of their own.
struct Cut {
    blocks: Vec<Block>,
    tally: Tally,
}

impl Cut {
    /// What of the segments lies in a share of the indices.
    fn within<A: Address>(&mut self, segments: &Segments<A>, share: &std::ops::Range<u64>) -> Unnumbered<A> {
        let mut left = Unnumbered::default();
        let mut end = segments.end();
        let blocks = self.blocks.clone();
        for (range, block) in segments.pieces(&blocks).rev() {
            let ports = u64::from(blocks[block as usize].ports.len());
            let start = end - range.len() as u64 * ports;
            let (from, to) = (share.start.clamp(start, end) - start, share.end.clamp(start, end) - start);
            if from < to {
                self.piece(&mut left, (range.first, block), (from / ports, from % ports), (to / ports, to % ports));
            }
            end = start;
        }
        left
    }

    /// What lies between two (host, rank) of a run, the second excluded; the highest comes first.
    fn piece<A: Address>(
        &mut self,
        left: &mut Unnumbered<A>,
        (first, block): (A, u32),
        (from, from_rank): (u64, u64),
        (to, to_rank): (u64, u64),
    ) {
        let all = u64::from(self.blocks[block as usize].ports.len());
        if from == to {
            return self.part(left, first.plus(from), block, from_rank..to_rank);
        }
        self.part(left, first.plus(to), block, 0..to_rank);
        let whole = if from_rank == 0 { from } else { from + 1 };
        if whole < to {
            self.push(left, Range { first: first.plus(whole), last: first.plus(to - 1) }, block);
        }
        if from_rank > 0 {
            self.part(left, first.plus(from), block, from_rank..all);
        }
    }

    /// Some of a host's ports, by their ranks.
    fn part<A: Address>(&mut self, left: &mut Unnumbered<A>, host: A, block: u32, ranks: std::ops::Range<u64>) {
        let Block { ports, egress } = &self.blocks[block as usize];
        let ports = ranks.filter_map(|rank| ports.port(rank as u32)).map(|port| (port, port)).collect();
        let Some(ports) = PortSet::from_ranges(ports) else { return };
        self.blocks.push(Block { ports, egress: *egress });
        self.push(left, Range::single(host), self.blocks.len() as u32 - 1);
    }

    fn push<A: Address>(&mut self, left: &mut Unnumbered<A>, range: Range<A>, block: u32) {
        let ports = self.blocks[block as usize].ports.len();
        self.tally.hosts = self.tally.hosts.saturating_add(range.len());
        self.tally.targets = self.tally.targets.saturating_add(range.len().saturating_mul(ports.into()));
        left.push(range, block, ports);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Index, Target};

    fn plan(targets: &str, ports: &str) -> Plan {
        Plan::builder().targets(targets).unwrap().ports(ports).unwrap().build().unwrap()
    }

    fn targets(plan: &Plan) -> Vec<Target> {
        let target = |index| {
            let target = plan.target(Index(index)).unwrap();
            assert_eq!(plan.index(target), Some(Index(index)));
            target
        };
        (0..plan.len()).map(target).collect()
    }

    fn parts(plan: &Plan, of: u64) -> Vec<Plan> {
        (1..=of).map(|number| plan.shard(Shard::new(number, of).unwrap()).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn shards_partition_a_plan(hosts in 1u8..60, ports in 1u16..40, extra in 0u8..5, of in 1u64..3000) {
            let last = format!("10.0.0.0-10.0.0.{} 10.0.1.7:9,443 2001:db8::-2001:db8::{extra:x}", hosts - 1);
            let plan = plan(&last, &format!("20-{},7000", 20 + ports));
            let of = of.min(plan.len());
            let parts = parts(&plan, of);
            let all: Vec<Target> = parts.iter().flat_map(targets).collect();
            prop_assert_eq!(all, targets(&plan));
            let sizes = || parts.iter().map(Plan::len);
            prop_assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1);
            let hosts = |plan: &Plan| plan.ranges().map(|range| range.len()).sum::<u128>();
            prop_assert!(parts.iter().all(|part| part.hosts() == hosts(part)));
        }
    }

    #[test]
    fn as_many_shards_as_targets_and_no_more() {
        let plan = plan("10.0.0.0/30 2001:db8::1", "1-3");
        assert_eq!(parts(&plan, 15).iter().map(Plan::len).collect::<Vec<_>>(), [1; 15]);
        let error = plan.shard(Shard::new(1, 16).unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("shard: 1/16 of 15 targets"), "{error}");
    }

    #[test]
    fn shards_as_they_are_written() {
        assert_eq!("2/5".parse::<Shard>().unwrap().to_string(), "2/5");
        for wrong in ["", "2", "0/5", "6/5", "1/0", "a/2", "1/2/3", "-1/2"] {
            assert_eq!(wrong.parse::<Shard>(), Err(NoShard), "{wrong}");
        }
    }

    #[test]
    fn fingerprints_are_of_the_targets_and_nothing_else() {
        let one = plan("10.0.0.0/24", "80,443").fingerprint();
        let mut routed = plan("10.0.0.128/25 10.0.0.0/25", "443,80");
        assert_eq!(routed.fingerprint(), one);
        let range =
            |first: &str, last: &str| crate::AddressRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap();
        let (low, high) = (range("10.0.0.0", "10.0.0.9"), range("10.0.0.10", "10.0.0.255"));
        routed.assign(&[(low, crate::EgressId(0)), (high, crate::EgressId(1))]);
        assert_eq!(routed.fingerprint(), one);
        for other in [("10.0.0.0/24", "80,444"), ("10.0.0.0/25", "80,443"), ("10.0.1.0/24", "80,443")] {
            assert_ne!(plan(other.0, other.1).fingerprint(), one, "{other:?}");
        }
        let parts = parts(&plan("10.0.0.0/24", "80,443"), 2);
        assert_ne!(parts[0].fingerprint(), parts[1].fingerprint());
    }
}
