//! The TCP ports most worth asking, best first. Curated, not measured: the project's own judgement of what is in use and
//! of what matters to whoever is responsible for a network. Written in `data/ranking.txt`, in groups of their kind.

include!(concat!(env!("OUT_DIR"), "/ranking.rs"));

/// How many ports are ranked.
pub const RANKED: usize = RANKING.len();

/// The first `count` of the ranked ports, best first; all of them when there are fewer.
pub fn top_ports(count: usize) -> &'static [u16] {
    &RANKING[..count.min(RANKED)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::port::Port;
    use crate::port::Protocol;
    use crate::service::services;

    #[test]
    fn no_port_twice() {
        const { assert!(RANKED >= 1_000) };
        assert_eq!(top_ports(RANKED).iter().collect::<BTreeSet<_>>().len(), RANKED);
        assert!(!top_ports(RANKED).contains(&0));
    }

    #[test]
    fn a_shorter_list_begins_a_longer_one() {
        assert_eq!(top_ports(0), [0; 0]);
        assert_eq!(top_ports(1), [80]);
        assert!(top_ports(1000).starts_with(top_ports(100)));
        assert_eq!(top_ports(usize::MAX).len(), RANKED);
    }

    /// Whoever wrote texts on a service thought that it matters; then it is worth asking for.
    #[test]
    fn every_service_with_a_text_is_ranked() {
        let missing: Vec<_> = services()
            .iter()
            .flat_map(|service| service.ports)
            .filter(|port| port.protocol == Protocol::Tcp && !top_ports(RANKED).contains(&port.number))
            .map(Port::to_string)
            .collect();
        assert_eq!(missing, [""; 0]);
    }

    #[test]
    fn the_first_hundred_are_of_every_kind() {
        for port in [22, 25, 53, 80, 443, 445, 502, 554, 631, 1883, 3306, 3389, 5060, 5900, 6379, 6443, 9100, 27017] {
            assert!(top_ports(100).contains(&port), "{port}");
        }
    }
}
