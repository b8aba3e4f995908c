//! The link addresses that a sweep found, and who kept silent. Nothing is stored for the silent: they are the asked
//! addresses without an entry.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;

use super::number::Span;
use crate::wire::MacAddr;

/// Who answered, under which link address.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    asked: Vec<Span>,
    v4: HashMap<u32, MacAddr, BuildHasherDefault<Fold>>,
    v6: HashMap<u128, MacAddr, BuildHasherDefault<Fold>>,
}

impl Neighbours {
    /// Nobody yet, of these addresses.
    pub(super) fn new(asked: Vec<Span>) -> Neighbours {
        Neighbours { asked, ..Neighbours::default() }
    }

    /// A neighbour's link address, if it answered. Called once per probe.
    pub(crate) fn lookup(&self, address: IpAddr) -> Option<MacAddr> {
        match address {
            IpAddr::V4(address) => self.v4.get(&address.to_bits()).copied(),
            IpAddr::V6(address) => self.v6.get(&address.to_bits()).copied(),
        }
    }

    /// How many answered.
    pub(crate) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Nobody answered.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The asked addresses that did not answer, in ascending order.
    pub(crate) fn silent(&self) -> impl Iterator<Item = IpAddr> {
        let asked = self.asked.iter().flat_map(|span| span.addresses());
        asked.filter(|&address| self.lookup(address).is_none())
    }

    /// Keeps a neighbour's link address, unless there is one already.
    pub(super) fn learn(&mut self, address: IpAddr, mac: MacAddr) {
        match address {
            IpAddr::V4(address) => *self.v4.entry(address.to_bits()).or_insert(mac),
            IpAddr::V6(address) => *self.v6.entry(address.to_bits()).or_insert(mac),
        };
    }
}

/// Hashes one number by folding a product. It need not stand up to chosen keys: only addresses of the plan are kept,
/// and the plan is the user's.
#[derive(Debug, Default)]
struct Fold(u64);

impl Fold {
    fn mix(&mut self, word: u64) {
        // The golden ratio's bits: odd, and without pattern.
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        octets.iter().for_each(|&octet| self.mix(octet.into()));
    }

    fn write_u32(&mut self, number: u32) {
        self.mix(number.into());
    }

    fn write_u128(&mut self, number: u128) {
        self.mix((number >> 64) as u64);
        self.mix(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::AddressRange;
    use crate::route::number::spans;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn asked(first: &str, last: &str) -> AddressRange {
        AddressRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap()
    }

    #[test]
    fn who_did_not_answer_is_silent() {
        let ranges = [asked("192.0.2.1", "192.0.2.3"), asked("2001:db8::1", "2001:db8::2")];
        let mut found = Neighbours::new(spans(ranges.into_iter()));
        found.learn("192.0.2.2".parse().unwrap(), MAC);
        found.learn("2001:db8::1".parse().unwrap(), MAC);
        let silent: Vec<_> = found.silent().map(|address| address.to_string()).collect();
        assert_eq!(silent, ["192.0.2.1", "192.0.2.3", "2001:db8::2"]);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn the_first_answer_wins() {
        let mut found = Neighbours::default();
        found.learn([192, 0, 2, 1].into(), MAC);
        found.learn([192, 0, 2, 1].into(), MacAddr::ZERO);
        assert_eq!(found.lookup([192, 0, 2, 1].into()), Some(MAC));
    }

    /// hashbrown takes the bucket from the low bits and a tag from the high ones.
    #[test]
    fn neighbouring_addresses_spread_over_low_and_high_bits() {
        let hash = |number: u32| {
            let mut fold = Fold::default();
            fold.write_u32(number);
            fold.finish()
        };
        let distinct = |bits: fn(u64) -> u64| {
            (0..4096).map(|i| bits(hash(0x0a00_0000 + i))).collect::<std::collections::HashSet<_>>().len()
        };
        // A random function hits 63 % of 4096 buckets with 4096 keys.
        assert!(distinct(|hash| hash % 4096) > 2300, "{}", distinct(|hash| hash % 4096));
        assert_eq!(distinct(|hash| hash >> 57), 128);
    }
}
