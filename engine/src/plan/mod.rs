//! What is to be scanned, as arithmetic: targets in natural order (IPv4 before IPv6, then by address, then by port),
//! each with its rank, the index; from index to target and back without anything stored per target. The order in which
//! they are probed is `permute`'s business, and through which interface they are reached is `route`'s: it gives each
//! address its egress by `Plan::assign`.
//!
//! Data path: text -> `tokens` -> `grammar` -> `layers` (address sets by ports) -> `sweep` -> `assembly` (exclusions,
//! blocklist, blocks) -> `segments` (what an index is looked up in).

mod address_range;
mod assembly;
mod blocklist;
mod builder;
mod directory;
mod divider;
mod grammar;
mod intake;
mod layers;
mod lines;
mod list;
mod malformed;
mod number;
mod octets;
mod port_names;
mod ports;
mod ranges;
mod segments;
mod shard;
mod subset;
mod sweep;
mod tally;
mod tokens;

pub use address_range::AddressRange;
pub use builder::PlanBuilder;
pub use intake::Resolve;
pub use list::{TargetList, Targets};
pub use port_names::PortNames;
pub use ports::PortSet;
pub use shard::{NoShard, Shard};
pub(crate) use subset::Subset;

use crate::target::Family;
use crate::{Index, Target};
use number::Address;
use ranges::Range;
use segments::{Segments, Unnumbered};
use std::collections::HashMap;
use std::fmt;
use tally::Tally;

/// The targets of one scan: at least one, at most 2^63. Made by [`Plan::builder`].
///
/// Takes 18 bytes (IPv4) or 30 bytes (IPv6) for each run of neighbouring addresses with the same ports and egress,
/// however many addresses the run has.
#[derive(Clone)]
pub struct Plan {
    v4: Segments<u32>,
    v6: Segments<u128>,
    blocks: Vec<Block>,
    tally: Tally,
    /// Every port that an exclusion names, whatever the address.
    spared: Option<PortSet>,
}

/// What the addresses of a block have in common. The addresses are in the plan; two blocks differ in ports or egress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The ports that are probed at each address.
    pub ports: PortSet,
    /// Through which the addresses are reached.
    pub egress: EgressId,
}

/// The number of an egress (interface, source address and next hop) in the scan's list; 0 until routing has assigned
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EgressId(pub u16);

/// A target, and through which egress it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Located {
    /// The target.
    pub target: Target,
    /// Its block's egress.
    pub egress: EgressId,
}

/// [`Located`] with the address as a number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) family: Family,
    pub(crate) address: u128,
    pub(crate) port: u16,
    pub(crate) egress: EgressId,
}

impl Plan {
    /// An empty builder.
    pub fn builder() -> PlanBuilder {
        PlanBuilder::new()
    }

    /// How many targets; at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a plan is never empty")]
    pub fn len(&self) -> u64 {
        self.v6.end()
    }

    /// The target of that rank; none from [`len`](Self::len) on.
    pub fn target(&self, index: Index) -> Option<Target> {
        self.locate(index).map(|located| located.target)
    }

    /// The target of that rank and its egress; none from [`len`](Self::len) on. Takes some ten nanoseconds in a plan of
    /// few segments; in one of millions, the time of two or three reads from memory.
    #[inline]
    pub fn locate(&self, index: Index) -> Option<Located> {
        self.find(index).map(Located::from)
    }

    /// [`locate`](Self::locate) with the address as a number.
    #[inline]
    pub(crate) fn find(&self, index: Index) -> Option<Found> {
        let Index(index) = index;
        if index < self.v6.start() {
            let (address, port, egress) = self.v4.locate(index, &self.blocks)?;
            Some(Found { family: Family::V4, address: address.into(), port, egress })
        } else if index < self.v6.end() {
            let (address, port, egress) = self.v6.locate(index, &self.blocks)?;
            Some(Found { family: Family::V6, address, port, egress })
        } else {
            None
        }
    }

    /// A target's rank, if it is in the plan.
    #[inline]
    pub fn index(&self, target: Target) -> Option<Index> {
        let (family, address) = Family::number(target.address);
        self.index_of(family, address, target.port)
    }

    /// [`index`](Self::index) with the address as a number.
    #[inline]
    pub(crate) fn index_of(&self, family: Family, address: u128, port: u16) -> Option<Index> {
        let index = match family {
            Family::V4 => self.v4.index(address as u32, port, &self.blocks),
            Family::V6 => self.v6.index(address, port, &self.blocks),
        };
        index.map(Index)
    }

    /// Whether the target is in the plan.
    pub fn contains(&self, target: Target) -> bool {
        self.index(target).is_some()
    }

    /// The indices of all targets at the address of the target of this index.
    pub(crate) fn siblings(&self, index: Index) -> Option<std::ops::Range<u64>> {
        match index.0 {
            index if index < self.v4.end() => self.v4.siblings(index, &self.blocks),
            index if index < self.v6.end() => self.v6.siblings(index, &self.blocks),
            _ => None,
        }
    }

    /// Whether some exclusion names this port, be it of another address. (Which addresses is no longer known, and need
    /// not be: this is for probes that can do without any one port.)
    pub(crate) fn spares(&self, port: u16) -> bool {
        self.spared.as_ref().is_some_and(|ports| ports.contains(port))
    }

    /// How many addresses.
    pub fn hosts(&self) -> u128 {
        self.tally.hosts
    }

    /// The most ports that are probed at one address.
    pub(crate) fn most_ports(&self) -> u32 {
        self.blocks.iter().map(|block| block.ports.len()).max().unwrap_or(0)
    }

    /// Whether there are IPv4 targets.
    pub fn has_v4(&self) -> bool {
        self.v4.end() > self.v4.start()
    }

    /// Whether there are IPv6 targets.
    pub fn has_v6(&self) -> bool {
        self.v6.end() > self.v6.start()
    }

    /// The addresses, as ranges: ascending, IPv4 first, disjoint. Neighbouring ranges may touch where ports or egress
    /// change.
    pub fn ranges(&self) -> impl Iterator<Item = AddressRange> + '_ {
        let v4 = self.v4.ranges(&self.blocks).map(AddressRange::from);
        v4.chain(self.v6.ranges(&self.blocks).map(AddressRange::from))
    }

    /// The addresses, as [`ranges`](Self::ranges) has them, each range with the ports that are probed there.
    pub fn parts(&self) -> impl Iterator<Item = (AddressRange, &PortSet)> + '_ {
        let ports = |block: u32| &self.blocks[block as usize].ports;
        let v4 = self.v4.pieces(&self.blocks).map(move |(range, block)| (AddressRange::from(range), ports(block)));
        v4.chain(self.v6.pieces(&self.blocks).map(move |(range, block)| (AddressRange::from(range), ports(block))))
    }

    /// The blocks, in no particular order, each once.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// How many addresses were asked for and left out because they are on the built-in blocklist.
    pub fn blocked(&self) -> u128 {
        self.tally.blocked()
    }

    /// How many addresses were asked for and left out because exclusions took all their ports.
    pub fn excluded(&self) -> u128 {
        self.tally.excluded
    }

    /// Gives every address the egress of its run. `runs` are ascending (IPv4 first), disjoint, and cover
    /// [`ranges`](Self::ranges). Indices stay as they are.
    pub(crate) fn assign(&mut self, runs: &[(AddressRange, EgressId)]) {
        let mut labels = Labels::new(&self.blocks);
        self.v4.assign(&of_family(runs), &self.blocks, |block, egress| labels.label(block, egress));
        self.v6.assign(&of_family(runs), &self.blocks, |block, egress| labels.label(block, egress));
        self.blocks = labels.blocks;
        self.v4.join(&self.blocks);
        self.v6.join(&self.blocks);
    }

    fn new(
        (v4, v6): (Unnumbered<u32>, Unnumbered<u128>),
        blocks: Vec<Block>,
        tally: Tally,
        spared: Option<PortSet>,
    ) -> Self {
        let v4 = v4.number(0);
        let v6 = v6.number(v4.end());
        Plan { v4, v6, blocks, tally, spared }
    }
}

impl From<Found> for Located {
    #[inline]
    fn from(Found { family, address, port, egress }: Found) -> Self {
        Located { target: Target { address: family.address(address), port }, egress }
    }
}

/// In one line: a plan can have millions of ranges.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut plan = f.debug_struct("Plan");
        plan.field("targets", &self.len()).field("hosts", &self.hosts()).field("blocks", &self.blocks.len());
        plan.finish_non_exhaustive()
    }
}

fn of_family<A: Address>(runs: &[(AddressRange, EgressId)]) -> Vec<(Range<A>, EgressId)> {
    runs.iter().filter_map(|(range, egress)| Some((range.range()?, *egress))).collect()
}

/// New blocks made of old blocks' ports and new egresses.
struct Labels<'a> {
    old: &'a [Block],
    /// By the old block's number, so that the ports are looked at once and not once per segment.
    numbers: HashMap<(u32, EgressId), u32>,
    places: HashMap<(PortSet, EgressId), u32>,
    blocks: Vec<Block>,
}

impl<'a> Labels<'a> {
    fn new(old: &'a [Block]) -> Self {
        Labels { old, numbers: HashMap::new(), places: HashMap::new(), blocks: Vec::new() }
    }

    /// The number of the block with that block's ports and this egress.
    fn label(&mut self, block: u32, egress: EgressId) -> u32 {
        if let Some(&number) = self.numbers.get(&(block, egress)) {
            return number;
        }
        let number = self.place(self.old[block as usize].ports.clone(), egress);
        self.numbers.insert((block, egress), number);
        number
    }

    fn place(&mut self, ports: PortSet, egress: EgressId) -> u32 {
        let next = self.blocks.len() as u32;
        let place = *self.places.entry((ports.clone(), egress)).or_insert(next);
        if place == next {
            self.blocks.push(Block { ports, egress });
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    fn plan(targets: &str, ports: &str) -> Plan {
        Plan::builder().targets(targets).unwrap().ports(ports).unwrap().build().unwrap()
    }

    fn round_trip(plan: &Plan, index: u64) -> Target {
        let target = plan.target(Index(index)).unwrap();
        assert_eq!(plan.index(target), Some(Index(index)), "{target}");
        target
    }

    /// Every index has its own target, in natural order, and every target its index.
    fn all(plan: &Plan) -> Vec<Target> {
        let targets: Vec<Target> = (0..plan.len()).map(|index| round_trip(plan, index)).collect();
        assert!(targets.is_sorted_by(|one, next| one < next), "natural order, each once");
        assert_eq!(plan.target(Index(plan.len())), None);
        targets
    }

    fn range(first: &str, last: &str) -> AddressRange {
        AddressRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap()
    }

    #[test]
    fn every_target_once_at_awkward_sizes() {
        for hosts in [1_u32, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 127, 128, 129, 251, 257, 1009] {
            for ports in ["80", "80,443", "1-3", "1-7", "1-8", "1-9", "1,3,5,7,9,11,13", "0,65535", "100-200"] {
                let last = Ipv4Addr::from_bits(0x0a00_0000 + hosts - 1);
                let plan = plan(&format!("10.0.0.0-{last} 2001:db8::-2001:db8::{:x}", hosts - 1), ports);
                assert_eq!(all(&plan).len() as u64, plan.len());
                assert_eq!(plan.hosts(), 2 * u128::from(hosts));
                assert_eq!(plan.blocks().len(), 1);
            }
        }
    }

    #[test]
    fn siblings_are_the_targets_at_one_address() {
        let plan = plan("10.0.0.0/29 10.0.0.3:22,80 10.0.0.9:443 2001:db8::/126", "80-83");
        for (index, target) in (0..).zip(all(&plan)) {
            let same = |other: u64| plan.target(Index(other)).is_some_and(|other| other.address == target.address);
            let siblings = plan.siblings(Index(index)).unwrap();
            assert!(siblings.contains(&index) && siblings.clone().all(same), "{target}: {siblings:?}");
            assert_eq!(siblings.end - siblings.start, (0..plan.len()).filter(|&other| same(other)).count() as u64);
        }
        assert_eq!(plan.siblings(Index(plan.len())), None);
    }

    #[test]
    fn spared_is_what_an_exclusion_names() {
        let builder = Plan::builder().targets("10.0.0.0/29").unwrap().ports("80-83").unwrap();
        let plan = builder.exclude("10.0.0.1:80,50000-50010 10.0.0.7").unwrap().build().unwrap();
        assert!(plan.spares(80) && plan.spares(50_005));
        assert!(!plan.spares(81) && !plan.spares(50_011));
    }

    #[test]
    fn pairs_exclusions_and_both_families() {
        let builder = Plan::builder().targets("10.0.0.0/29 10.0.0.3:22,80 2001:db8::1:443 [2001:db8::1]:443").unwrap();
        let plan = builder
            .ports("80-81")
            .unwrap()
            .exclude("10.0.0.5-10.0.0.6 10.0.0.0/30:81 10.0.0.7:80,81")
            .unwrap()
            .build()
            .unwrap();
        let shown: Vec<String> = all(&plan).iter().map(ToString::to_string).collect();
        assert_eq!(
            shown.join(" "),
            "10.0.0.0:80 10.0.0.1:80 10.0.0.2:80 10.0.0.3:22 10.0.0.3:80 10.0.0.4:80 10.0.0.4:81 [2001:db8::1]:443 \
             [2001:db8::1:443]:80 [2001:db8::1:443]:81"
        );
        assert_eq!((plan.hosts(), plan.excluded(), plan.blocked()), (7, 3, 0));
        assert!(plan.has_v4() && plan.has_v6());
        let ranges: Vec<String> = plan.ranges().map(|range| range.to_string()).collect();
        assert_eq!(ranges.join(" "), "10.0.0.0-10.0.0.2 10.0.0.3 10.0.0.4 2001:db8::1 2001:db8::1:443");
        let parts: Vec<String> = plan.parts().map(|(range, ports)| format!("{range}:{ports}")).collect();
        assert_eq!(
            parts.join(" "),
            "10.0.0.0-10.0.0.2:80 10.0.0.3:22,80 10.0.0.4:80-81 2001:db8::1:443 2001:db8::1:443:80-81"
        );
    }

    #[test]
    fn what_is_not_in_the_plan_has_no_index() {
        let plan = plan("10.0.0.2-10.0.0.4 10.0.0.8 2001:db8::/126", "80,443");
        for stranger in [
            "10.0.0.1:80",
            "10.0.0.5:80",
            "10.0.0.7:443",
            "10.0.0.9:80",
            "10.0.0.2:81",
            "10.0.0.2:0",
            "255.255.255.255:80",
            "0.0.0.0:80",
            "[2001:db7::]:80",
            "[2001:db8::4]:80",
            "[ffff::]:80",
            "[::]:80",
            "[2001:db8::]:65535",
            "[::10.0.0.2]:80",
        ] {
            let socket: std::net::SocketAddr = stranger.parse().unwrap();
            assert!(!plan.contains(socket.into()), "{stranger}");
        }
        assert_eq!(plan.target(Index(u64::MAX)), None);
    }

    #[test]
    fn all_of_ipv4_and_all_ports() {
        let builder = Plan::builder().targets("0.0.0.0/0").unwrap().ports("0-65535").unwrap();
        let plan = builder.blocklist(false).build().unwrap();
        assert_eq!((plan.len(), plan.hosts()), (1 << 48, 1 << 32));
        let target = |index| round_trip(&plan, index).to_string();
        assert_eq!(target(0), "0.0.0.0:0");
        assert_eq!(target((1 << 48) - 1), "255.255.255.255:65535");
        assert_eq!(target(0x0a00_0001_0050), "10.0.0.1:80");
        for index in (0..1 << 48).step_by((1 << 33) + 12_345) {
            round_trip(&plan, index);
        }
    }

    #[test]
    fn what_fits_into_the_numbering() {
        let plan = plan("2001:db8::/65", "443");
        assert_eq!((plan.len(), plan.hosts()), (1 << 63, 1 << 63));
        for index in [0, 1, (1 << 62) + 3, (1 << 63) - 1] {
            round_trip(&plan, index);
        }
        let error = Plan::builder().targets("2001:db8::/64:443").unwrap().build().unwrap_err().to_string();
        assert!(error.starts_with("the plan is too large: 18446744073709551616 targets"), "{error}");
        let error = Plan::builder().targets("::/0:-").unwrap().blocklist(false).build().unwrap_err().to_string();
        assert!(error.starts_with("the plan is too large: 340282366920938463463374607431768211455 targets"), "{error}");
    }

    /// A generator that needs no crate (Marsaglia, "Xorshift RNGs", 2003).
    fn numbers() -> impl Iterator<Item = u64> {
        std::iter::successors(Some(0x9e37_79b9_7f4a_7c15_u64), |&x| {
            let x = x ^ x << 13;
            let x = x ^ x >> 7;
            Some(x ^ x << 17)
        })
    }

    #[test]
    fn a_hundred_thousand_scattered_addresses() {
        let v4: BTreeSet<u32> = numbers().map(|number| number as u32 >> (number >> 60)).take(100_000).collect();
        let v6: BTreeSet<u128> =
            numbers().map(|number| 0x2001_0db8 << 96 | u128::from(number >> (number >> 58))).take(50_000).collect();
        let addresses = v4.iter().map(|&bits| IpAddr::from(Ipv4Addr::from_bits(bits)));
        let addresses: Vec<IpAddr> = addresses.chain(v6.iter().map(|&bits| Ipv6Addr::from_bits(bits).into())).collect();
        let text: String = addresses.iter().map(|address| format!("{address}\n")).collect();
        let builder = Plan::builder().blocklist(false).target_lines("list", text.as_bytes()).unwrap();
        let plan = builder.ports("22,80").unwrap().build().unwrap();
        let expected = addresses.iter().flat_map(|&address| [22, 80].map(|port| Target { address, port }));
        assert!(all(&plan).into_iter().eq(expected));
        for number in numbers().take(20_000) {
            let address = Ipv4Addr::from_bits(number as u32);
            assert_eq!(plan.contains(Target { address: address.into(), port: 80 }), v4.contains(&address.to_bits()));
        }
    }

    #[test]
    fn egresses_are_cut_in_and_joined_again() {
        let mut plan = plan("10.0.0.0/24 10.0.1.7:22 2001:db8::/120", "80,443");
        let targets = all(&plan);
        let everything = |egress| [(range("0.0.0.0", "255.255.255.255"), egress), (range("::", "ffff::"), egress)];
        plan.assign(&[
            (range("10.0.0.0", "10.0.0.99"), EgressId(3)),
            (range("10.0.0.100", "10.0.0.100"), EgressId(1)),
            (range("10.0.0.101", "10.0.1.255"), EgressId(3)),
            (range("2001:db8::", "2001:db8::f"), EgressId(2)),
            (range("2001:db8::10", "2001:db8::ffff"), EgressId(3)),
        ]);
        assert_eq!(all(&plan), targets, "the numbering stays");
        let egress = |plan: &Plan, index| plan.locate(Index(index)).unwrap().egress.0;
        assert_eq!(
            [199, 200, 201, 202, 512, 513, 544, 545].map(|index| egress(&plan, index)),
            [3, 1, 1, 3, 3, 2, 2, 3]
        );
        assert_eq!((plan.ranges().count(), plan.blocks().len()), (6, 4));
        plan.assign(&everything(EgressId(9)));
        assert_eq!((plan.ranges().count(), plan.blocks().len()), (3, 2));
        assert!(plan.blocks().iter().all(|block| block.egress == EgressId(9)));
        assert_eq!(all(&plan), targets);
    }

    #[test]
    fn joining_looks_at_the_whole_distance() {
        // 2^64 + 1 apart: the same in the low 64 bits as neighbours.
        let mut plan = plan("2001:db8:0:1:: 2001:db8:0:2::1", "80");
        plan.assign(&[(range("::", "ffff::"), EgressId(1))]);
        assert_eq!(plan.ranges().count(), 2);
        assert_eq!(all(&plan).len(), 2);
    }

    /// Part of a target text over 2 x 24 addresses and 9 ports, and what it stands for.
    #[derive(Debug, Clone)]
    struct Piece {
        v6: bool,
        first: u16,
        more: u16,
        ports: Option<(u16, u16)>,
    }

    impl Piece {
        fn address(&self, number: u16) -> IpAddr {
            match self.v6 {
                true => Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(number)).into(),
                false => Ipv4Addr::from_bits(0xdfff_fff8 + u32::from(number)).into(),
            }
        }

        /// The IPv4 addresses cross from unicast into multicast.
        fn text(&self) -> String {
            let (first, last) = (self.address(self.first), self.address(self.first + self.more));
            let ports = self.ports.map(|(first, last)| format!(":{first}-{last}")).unwrap_or_default();
            if self.v6 { format!("[{first}]-[{last}]{ports}") } else { format!("{first}-{last}{ports}") }
        }

        fn targets(&self, default: (u16, u16)) -> BTreeSet<Target> {
            let (first, last) = self.ports.unwrap_or(default);
            let hosts = (self.first..=self.first + self.more).map(|number| self.address(number));
            hosts.flat_map(|address| (first..=last).map(move |port| Target { address, port })).collect()
        }
    }

    fn pieces(most: usize) -> impl Strategy<Value = Vec<Piece>> {
        let ports = prop::option::of((1_u16..7, 0_u16..3).prop_map(|(first, more)| (first, first + more)));
        let piece = (any::<bool>(), 0_u16..16, 0_u16..8, ports);
        prop::collection::vec(piece.prop_map(|(v6, first, more, ports)| Piece { v6, first, more, ports }), 0..most)
    }

    fn text(pieces: &[Piece]) -> String {
        pieces.iter().map(Piece::text).collect::<Vec<_>>().join("\n")
    }

    fn targets(pieces: &[Piece], default: (u16, u16)) -> BTreeSet<Target> {
        pieces.iter().flat_map(|piece| piece.targets(default)).collect()
    }

    fn is_blocked(target: &Target) -> bool {
        target.address >= IpAddr::from([224, 0, 0, 0]) && target.address.is_ipv4()
    }

    fn hosts(targets: &BTreeSet<Target>) -> BTreeSet<IpAddr> {
        targets.iter().map(|target| target.address).collect()
    }

    /// Random runs over the addresses of `Piece`: cut after each of `cuts`.
    fn runs(cuts: &BTreeSet<u16>) -> Vec<(AddressRange, EgressId)> {
        let mut runs = Vec::new();
        for v6 in [false, true] {
            let piece = Piece { v6, first: 0, more: 0, ports: None };
            let firsts = [0].into_iter().chain(cuts.iter().map(|cut| cut + 1));
            let lasts = cuts.iter().copied().chain([24]);
            for (first, last) in firsts.zip(lasts) {
                let range = AddressRange::new(piece.address(first), piece.address(last)).unwrap();
                runs.push((range, EgressId(first % 3)));
            }
        }
        runs
    }

    proptest! {
        #[test]
        fn agrees_with_a_tree_of_targets(
            wanted in pieces(7), unwanted in pieces(4), blocklist: bool,
            cuts in prop::collection::btree_set(0_u16..24, 0..5),
        ) {
            let builder = Plan::builder().blocklist(blocklist).targets(&text(&wanted)).unwrap().ports("3-4").unwrap();
            let built = builder.exclude_lines("exclusions", text(&unwanted).as_bytes()).unwrap().build();
            let asked = targets(&wanted, (3, 4));
            let mut allowed = asked.clone();
            allowed.retain(|target| !(blocklist && is_blocked(target)));
            let expected = &allowed - &targets(&unwanted, (0, 9));
            let Ok(mut plan) = built else {
                prop_assert!(expected.is_empty(), "{}", built.unwrap_err());
                return Ok(());
            };
            prop_assert_eq!(all(&plan), expected.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(plan.hosts(), hosts(&expected).len() as u128);
            prop_assert_eq!(plan.blocked(), (hosts(&asked).len() - hosts(&allowed).len()) as u128);
            prop_assert_eq!(plan.excluded(), (hosts(&allowed).len() - hosts(&expected).len()) as u128);
            let addresses: Vec<IpAddr> = plan.ranges().flat_map(|range| range.addresses()).collect();
            prop_assert_eq!(addresses, Vec::from_iter(hosts(&expected)));
            for target in &asked | &targets(&unwanted, (0, 9)) {
                prop_assert_eq!(plan.contains(target), expected.contains(&target));
            }

            let runs = runs(&cuts);
            plan.assign(&runs);
            prop_assert_eq!(all(&plan), Vec::from_iter(expected));
            for index in 0..plan.len() {
                let Located { target, egress } = plan.locate(Index(index)).unwrap();
                let run = runs.iter().find(|(range, _)| range.contains(target.address)).unwrap();
                prop_assert_eq!(egress, run.1);
            }
            let blocks: Vec<_> = plan.blocks().iter().map(|block| (block.ports.to_string(), block.egress)).collect();
            prop_assert_eq!(BTreeSet::from_iter(&blocks).len(), blocks.len(), "each block once");
        }
    }
}
