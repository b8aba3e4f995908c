//! What is scanned: a prefix of 10.0.0.0/8 and a range of ports, in the words of each program.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use halfopen::Target;

/// Hosts, a power of two of them, and ports.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many, a power of two.
    pub hosts: u32,
    /// The same of each of them.
    pub ports: RangeInclusive<u16>,
}

/// Its first address.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);

impl Plan {
    /// One port of so many hosts.
    pub fn wide(hosts: u32) -> Plan {
        Plan { hosts, ports: 80..=80 }
    }

    /// A /24 by 256 ports.
    pub fn small() -> Plan {
        Plan { hosts: 256, ports: 1..=256 }
    }

    /// `10.0.0.0/11`
    pub fn prefix(&self) -> String {
        format!("{FIRST}/{}", 32 - self.hosts.ilog2())
    }

    /// `80`, `1-256`
    pub fn ports(&self) -> String {
        match (self.ports.start(), self.ports.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        }
    }

    /// How many targets.
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> u32 {
        self.hosts * self.ports.len() as u32
    }

    /// Every target.
    pub fn targets(&self) -> impl Iterator<Item = Target> + '_ {
        let address = |host| Ipv4Addr::from_bits(FIRST.to_bits() + host).into();
        (0..self.hosts)
            .flat_map(move |host| self.ports.clone().map(move |port| Target { address: address(host), port }))
    }

    /// Whether it has a target.
    pub fn contains(&self, target: Target) -> bool {
        let std::net::IpAddr::V4(address) = target.address else { return false };
        address.to_bits().wrapping_sub(FIRST.to_bits()) < self.hosts && self.ports.contains(&target.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_in_the_words_of_programs() {
        let (wide, small) = (Plan::wide(1 << 21), Plan::small());
        assert_eq!((wide.prefix(), wide.ports(), wide.len()), ("10.0.0.0/11".into(), "80".into(), 1 << 21));
        assert_eq!((small.prefix(), small.ports(), small.len()), ("10.0.0.0/24".into(), "1-256".into(), 1 << 16));
        assert_eq!(small.targets().count(), 1 << 16);
        assert!(small.targets().all(|target| small.contains(target)));
        assert!(!small.contains(Target { address: [10, 0, 1, 0].into(), port: 1 }));
    }
}
