//! Plans and orders through the library's door: every target exactly once whatever the size, the same seed the same
//! order and another another, and sizes that nobody can walk, by samples and back.

use std::collections::BTreeSet;

use halfopen::permute::Permutation;
use halfopen::{Index, Plan, Position, Scan, Target};
use halfopen_lab::plan;

fn order(plan: &Plan, seed: u64) -> Vec<Target> {
    Scan::builder(plan.clone()).seed(seed).order().collect()
}

fn assert_every_target_once(plan: &Plan) {
    let natural: Vec<Target> = (0..plan.len()).map(|index| plan.target(Index(index)).unwrap()).collect();
    assert!(natural.windows(2).all(|pair| pair[0] < pair[1]), "natural order is ascending");
    assert_eq!(plan.target(Index(plan.len())), None);
    let order = order(plan, 7);
    assert_eq!(order.len() as u64, plan.len());
    assert_eq!(order.into_iter().collect::<BTreeSet<_>>(), natural.into_iter().collect());
}

#[test]
fn every_target_once_for_awkward_sizes() {
    let powers = (2..=13).flat_map(|k| [(1 << k) - 1, 1 << k, (1 << k) + 1]);
    for size in [1, 2, 3, 5, 7, 11, 13, 97, 997, 7919].into_iter().chain(powers) {
        let plan = plan("192.0.2.7", &format!("1-{size}"));
        assert_eq!(plan.len(), size);
        assert_every_target_once(&plan);
    }
}

#[test]
fn every_target_once_with_exclusions_and_both_families() {
    let builder =
        Plan::builder().targets("192.0.2.0/26 2001:db8::/122 198.51.100.1:9,10 192.0.2.200-192.0.2.230").unwrap();
    let builder = builder.ports("1-20,443").unwrap().exclude("192.0.2.5 2001:db8::10/125 192.0.2.32/29:7-30").unwrap();
    let plan = builder.build().unwrap();
    let v4 = (64 - 1) * 21 - 8 * 14 + 31 * 21 + 2;
    assert_eq!(plan.len(), v4 + (64 - 8) * 21);
    assert_every_target_once(&plan);
    for out in ["192.0.2.5:1", "[2001:db8::17]:443", "192.0.2.39:20", "198.51.100.1:11"] {
        assert!(!plan.contains(out.parse::<std::net::SocketAddr>().unwrap().into()), "{out}");
    }
}

#[test]
fn the_same_seed_gives_the_same_order_and_another_another() {
    let plan = plan("192.0.2.0/24 2001:db8::/120", "1-10");
    assert_eq!(order(&plan, 1), order(&plan, 1));
    let distinct: BTreeSet<_> = (0..50).map(|seed| order(&plan, seed)).collect();
    assert_eq!(distinct.len(), 50);
}

#[test]
fn the_whole_of_ipv4_by_every_port_there_and_back() {
    let builder = Plan::builder().targets("0.0.0.0/0").unwrap().ports("0-65535").unwrap();
    let plan = builder.blocklist(false).build().unwrap();
    assert_eq!(plan.len(), 1 << 48);
    let permutation = Permutation::new(plan.len(), 7);
    // A stride that is prime, and so meets no pattern of addresses and ports.
    let samples = (0..200_000_u64).map(|n| n * 1_407_374_881).chain([1, plan.len() - 1]);
    let mut seen = BTreeSet::new();
    for position in samples.map(Position) {
        let index = permutation.index(position);
        let target = plan.target(index).unwrap();
        assert_eq!(plan.index(target), Some(index));
        assert_eq!(permutation.position(index), position);
        assert!(seen.insert(target), "{target} stands at two positions");
    }
    let first: Vec<Target> = Scan::builder(plan.clone()).seed(7).order().take(1000).collect();
    assert!((0..1000).all(|n| plan.target(permutation.index(Position(n))) == Some(first[n as usize])));
    let networks: BTreeSet<_> =
        first.iter().map(|target| target.address.to_string().split('.').next().unwrap().to_owned()).collect();
    // Of 256 networks, 1,000 fair draws miss 5.
    assert!(networks.len() > 240, "{} of 256", networks.len());
}
