//! Chance from a seed: a hash of numbers, and a stream of numbers. Both are splitmix64 (Steele, Lea and Flood, "Fast
//! splittable pseudorandom number generators", OOPSLA 2014): small, and the same on every machine.

use std::net::IpAddr;

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A number that depends on all of `parts`.
pub(crate) fn hash(parts: &[u64]) -> u64 {
    parts.iter().fold(GOLDEN, |state, &part| mix(state ^ mix(part.wrapping_add(GOLDEN))))
}

/// An address as parts of a hash.
pub(crate) fn address_part(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            mix((bits >> 64) as u64).wrapping_add(bits as u64)
        }
    }
}

/// A hash as a number from 0 (included) to 1 (excluded).
pub(crate) fn share(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

/// A stream of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(hash(&[seed]))
    }

    /// True with this probability; draws nothing for the certain cases, so that effects that are switched off do not
    /// change the others.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && share(self.next()) < probability
    }

    /// A number below `limit`; 0 for 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { self.next() % limit }
    }

    /// A number from 0 (included) to 1 (excluded).
    pub(crate) fn share(&mut self) -> f64 {
        share(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
