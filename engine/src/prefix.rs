//! Prefixes: what lies in one /24 of IPv4 or one /48 of IPv6 mostly shares its way, its loss and its round-trip time. Hosts are
//! prefixes, too: where a plan has few, each is one by itself, because hosts ration their answers each for itself. This file
//! says to which of a bounded number of groups an address belongs.
//!
//! A prefix's group is its number, folded and masked: prefixes that follow one another have groups of their own up to
//! [`MOST`] of them; beyond that, and now and then among scattered ones, two share a group and are judged as one.
//!
//! Pure arithmetic: it runs for every probe and every reply.

use crate::plan::Plan;
use crate::target::Family;

/// Groups at most: what is kept for each of them stays within a few megabytes.
const MOST: u64 = 1 << 16;
/// Bits of an address below its prefix, by family.
const NETWORK: (u32, u32) = (8, 80);
const HOST: (u32, u32) = (0, 0);

/// The groups that a scan's targets are judged by.
#[derive(Debug)]
pub(crate) struct Groups {
    /// By these loss is judged: hosts, where there are few.
    pub(crate) prefixes: Prefixes,
    /// By these, round-trip times: networks.
    pub(crate) networks: Prefixes,
    /// By group of the former, its group of the latter.
    network_of: Box<[u16]>,
}

impl Groups {
    /// The groups of a plan's targets.
    pub(crate) fn of(plan: &Plan) -> Groups {
        let (prefixes, networks) = (Prefixes::hosts(plan), Prefixes::networks(plan));
        if prefixes == networks {
            return networks.into();
        }
        let mut network_of = vec![0; prefixes.len()];
        for range in plan.ranges() {
            let ((family, first), (_, last)) = (Family::number(range.first()), Family::number(range.last()));
            for host in first..=last {
                network_of[prefixes.group(family, host)] = networks.group(family, host) as u16;
            }
        }
        Groups { prefixes, networks, network_of: network_of.into() }
    }

    /// The group of networks that a group belongs to.
    pub(crate) fn network_of(&self, group: usize) -> usize {
        self.network_of[group].into()
    }
}

impl From<Prefixes> for Groups {
    /// The same for both.
    fn from(prefixes: Prefixes) -> Groups {
        let network_of = (0..prefixes.len()).map(|group| group as u16).collect();
        Groups { prefixes, networks: prefixes, network_of }
    }
}

/// Groups of addresses, by what they have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefixes {
    mask: u64,
    /// Bits of an address below its prefix, by family.
    below: (u32, u32),
}

impl Prefixes {
    /// For the networks of a plan: about twice as many groups as there are, so that scattered ones rarely meet.
    pub(crate) fn networks(plan: &Plan) -> Self {
        let within = |range: crate::plan::AddressRange| {
            let ((family, first), (_, last)) = (Family::number(range.first()), Family::number(range.last()));
            let bits = bits(NETWORK, family);
            (last >> bits) - (first >> bits) + 1
        };
        let count = plan.ranges().fold(0u128, |count, range| count.saturating_add(within(range)));
        Prefixes::new(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// For the hosts of a plan, where there is a group for each, and else for its networks.
    pub(crate) fn hosts(plan: &Plan) -> Self {
        match u64::try_from(plan.hosts()) {
            Ok(hosts) if hosts <= MOST / 2 => Prefixes { below: HOST, ..Prefixes::new(hosts) },
            _ => Prefixes::networks(plan),
        }
    }

    /// For so many networks.
    pub(crate) fn new(count: u64) -> Self {
        let groups = if count <= 1 { 1 } else { count.saturating_mul(2).min(MOST).next_power_of_two() };
        Prefixes { mask: groups - 1, below: NETWORK }
    }

    /// How many groups there are.
    pub(crate) fn len(self) -> usize {
        self.mask as usize + 1
    }

    /// The group of an address.
    #[inline]
    pub(crate) fn group(self, family: Family, address: u128) -> usize {
        let prefix = address >> bits(self.below, family);
        let number = prefix as u64 ^ (prefix >> 64) as u64;
        ((number ^ number >> 16 ^ number >> 32) & self.mask) as usize
    }
}

#[inline]
fn bits(below: (u32, u32), family: Family) -> u32 {
    match family {
        Family::V4 => below.0,
        Family::V6 => below.1,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::IpAddr;

    use super::*;

    fn group(prefixes: Prefixes, address: &str) -> usize {
        let (family, number) = Family::number(address.parse::<IpAddr>().unwrap());
        prefixes.group(family, number)
    }

    fn of(targets: &str) -> Prefixes {
        Prefixes::networks(&Plan::builder().targets(targets).unwrap().ports("80").unwrap().build().unwrap())
    }

    #[test]
    fn hosts_of_a_prefix_share_a_group() {
        let prefixes = of("10.0.0.0/16");
        assert_eq!(group(prefixes, "10.0.3.1"), group(prefixes, "10.0.3.254"));
        assert_ne!(group(prefixes, "10.0.3.1"), group(prefixes, "10.0.4.1"));
        let prefixes = Prefixes::new(256);
        assert_eq!(group(prefixes, "2001:db8:7:1::1"), group(prefixes, "2001:db8:7:ffff::1"));
        assert_ne!(group(prefixes, "2001:db8:7::1"), group(prefixes, "2001:db8:8::1"));
    }

    #[test]
    fn neighbouring_prefixes_have_groups_of_their_own() {
        let prefixes = of("10.3.0.0/16");
        let groups: BTreeSet<_> = (0..=255).map(|i| group(prefixes, &format!("10.3.{i}.9"))).collect();
        assert_eq!((groups.len(), prefixes.len()), (256, 512));
    }

    #[test]
    fn their_number_is_bounded() {
        for (targets, most) in [("10.0.0.7", 1), ("10.0.0.0/24", 1), ("10.0.0.0/23", 4), ("16.0.0.0/4", 1 << 16)] {
            assert_eq!(of(targets).len(), most, "{targets}");
        }
        assert_eq!(Prefixes::new(u64::MAX).len(), 1 << 16);
    }
}
