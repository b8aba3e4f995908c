//! Layers into segments: every address takes part in one or more layers (asked for with some ports, excluded, blocked);
//! addresses with the same layers share a fate, and equal port sets share a block. The blocklist goes before the
//! exclusions, and both before what was asked for. Reading and numbering are done elsewhere.

use super::number::Address;
use super::ports::PortSet;
use super::ranges::{Range, RangeSet};
use super::segments::Unnumbered;
use super::sweep::Sweep;
use super::tally::Tally;
use super::{Block, EgressId};
use std::collections::HashMap;

/// What a layer does to the addresses in it.
#[derive(Debug, Clone)]
pub(crate) enum Role {
    /// These ports are to be scanned.
    Scan(PortSet),
    /// These ports, or all, are not.
    Exclude(Option<PortSet>),
    /// These ports are of an earlier plan.
    Known(PortSet),
    /// The address is on this line of the blocklist.
    Block(usize),
}

/// What becomes of an address.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Unasked,
    Known,
    Blocked(usize),
    Excluded,
    Scanned(u32),
}

/// Blocks and counts, growing with each family that is assembled.
#[derive(Debug)]
pub(crate) struct Assembly {
    roles: Vec<Role>,
    /// Each combination of layers seen, and the latest one apart: neighbours mostly share it.
    fates: HashMap<Box<[u32]>, Fate>,
    latest: (Vec<u32>, Fate),
    places: HashMap<PortSet, u32>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) tally: Tally,
}

impl Assembly {
    /// With these layers' roles.
    pub(crate) fn new(roles: Vec<Role>) -> Self {
        Assembly {
            roles,
            fates: HashMap::new(),
            latest: (Vec::new(), Fate::Unasked),
            places: HashMap::new(),
            blocks: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// One family's addresses, a set for each layer.
    pub(crate) fn family<A: Address>(&mut self, sets: Vec<RangeSet<A>>) -> Unnumbered<A> {
        let mut segments = Unnumbered::default();
        Sweep::new(sets).run(|range, layers| match self.fate(layers) {
            Fate::Unasked => {}
            Fate::Known => add(&mut self.tally.known, range.len()),
            Fate::Blocked(line) => add(&mut self.tally.blocked[line], range.len()),
            Fate::Excluded => add(&mut self.tally.excluded, range.len()),
            Fate::Scanned(block) => {
                let ports = self.blocks[block as usize].ports.len();
                self.count(range, ports);
                segments.push(range, block, ports);
            }
        });
        segments
    }

    fn count<A: Address>(&mut self, range: Range<A>, ports: u32) {
        add(&mut self.tally.hosts, range.len());
        add(&mut self.tally.targets, range.len().saturating_mul(u128::from(ports)));
    }

    fn fate(&mut self, layers: &[u32]) -> Fate {
        if self.latest.0 != layers {
            let fate = self.fates.get(layers).copied().unwrap_or_else(|| self.decide(layers));
            self.latest.0.clear();
            self.latest.0.extend_from_slice(layers);
            self.latest.1 = fate;
        }
        self.latest.1
    }

    fn decide(&mut self, layers: &[u32]) -> Fate {
        let fate = match (self.wanted(layers), self.blocked(layers)) {
            (None, _) => Fate::Unasked,
            (Some(_), Some(line)) => Fate::Blocked(line),
            (Some(wanted), None) => self.spare(wanted, layers),
        };
        self.fates.insert(layers.into(), fate);
        fate
    }

    /// What is left of the wanted ports after the exclusions.
    fn spare(&mut self, wanted: PortSet, layers: &[u32]) -> Fate {
        let mut left = Some(wanted);
        for &layer in layers {
            if let Role::Exclude(ports) = &self.roles[layer as usize] {
                left = left.zip(ports.as_ref()).and_then(|(left, ports)| left.without(ports));
            }
        }
        match left {
            Some(ports) => self.news(ports, layers),
            None => Fate::Excluded,
        }
    }

    /// What is left of these ports without those of earlier plans.
    fn news(&mut self, ports: PortSet, layers: &[u32]) -> Fate {
        let mut left = Some(ports);
        for &layer in layers {
            if let Role::Known(ports) = &self.roles[layer as usize] {
                left = left.and_then(|left| left.without(ports));
            }
        }
        left.map_or(Fate::Known, |ports| Fate::Scanned(self.block(ports)))
    }

    fn wanted(&self, layers: &[u32]) -> Option<PortSet> {
        let ports = layers.iter().filter_map(|&layer| match &self.roles[layer as usize] {
            Role::Scan(ports) => Some(ports.ranges()),
            _ => None,
        });
        PortSet::from_ranges(ports.flatten().collect())
    }

    fn blocked(&self, layers: &[u32]) -> Option<usize> {
        layers.iter().find_map(|&layer| match self.roles[layer as usize] {
            Role::Block(line) => Some(line),
            _ => None,
        })
    }

    fn block(&mut self, ports: PortSet) -> u32 {
        let next = self.blocks.len() as u32;
        let place = *self.places.entry(ports.clone()).or_insert(next);
        if place == next {
            self.blocks.push(Block { ports, egress: EgressId::default() });
        }
        place
    }
}

fn add(sum: &mut u128, count: u128) {
    *sum = sum.saturating_add(count);
}
