//! The proof that a reply is ours: a probe's sequence number is a keyed hash of its addresses and ports, so that a
//! reply's acknowledgement can be checked with no memory of the probe.
//!
//! The hash is SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012, with the reduced rounds
//! that its authors call fast and conservative enough for short-lived secrets), cut to 32 bits. It is written out here
//! for its two fixed input lengths because it runs once for every probe and every reply; the tests hold it against an
//! independent implementation. The key is drawn anew for every scan.
//!
//! Left to others: what acknowledgement which kind of reply must carry (`receiver.rs`).

use std::net::IpAddr;

use crate::target::{Seq, Target};

/// The key of a scan.
#[derive(Clone)]
pub struct Cookie {
    start: [u64; 4],
}

impl Cookie {
    /// A cookie under the 128-bit key `(k0, k1)`.
    pub fn new(k0: u64, k1: u64) -> Self {
        // "somepseudorandomlygeneratedbytes", the constants of the paper.
        let start = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        Cookie { start }
    }

    /// The sequence number of the probe from `source`:`source_port` to `target`. Addresses of two families, which no
    /// packet can have, hash to something that no probe carries.
    #[inline]
    pub fn seq(&self, source: IpAddr, source_port: u16, target: Target) -> Seq {
        let ports = u64::from(source_port) | u64::from(target.port) << 16;
        match (source, target.address) {
            (IpAddr::V4(from), IpAddr::V4(to)) => self.seq_v4(from.to_bits(), to.to_bits(), ports),
            (IpAddr::V6(from), IpAddr::V6(to)) => self.seq_v6(from.to_bits(), to.to_bits(), ports),
            (from, to) => self.seq_v6(mapped(from), mapped(to), ports),
        }
    }

    /// Input: source, destination, source port, destination port; 12 bytes. Out of line, so that what calls it is small
    /// and its arguments stay in registers.
    #[inline(never)]
    fn seq_v4(&self, from: u32, to: u32, ports: u64) -> Seq {
        let addresses = u64::from(from.swap_bytes()) | u64::from(to.swap_bytes()) << 32;
        let mut state = self.start;
        absorb(&mut state, addresses);
        finish(state, ports | 12 << 56)
    }

    /// The same with 16-byte addresses; 36 bytes.
    #[inline(never)]
    fn seq_v6(&self, from: u128, to: u128, ports: u64) -> Seq {
        let mut state = self.start;
        for address in [from, to] {
            let bytes = address.swap_bytes();
            absorb(&mut state, bytes as u64);
            absorb(&mut state, (bytes >> 64) as u64);
        }
        finish(state, ports | 36 << 56)
    }
}

/// Never shows the key.
impl std::fmt::Debug for Cookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookie(..)")
    }
}

fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[inline]
fn absorb(state: &mut [u64; 4], word: u64) {
    state[3] ^= word;
    round(state);
    state[0] ^= word;
}

/// The last word carries the input's length in its top byte; then three rounds close the hash.
#[inline]
fn finish(mut state: [u64; 4], last: u64) -> Seq {
    absorb(&mut state, last);
    state[2] ^= 0xff;
    (0..3).for_each(|_| round(&mut state));
    Seq((state[0] ^ state[1] ^ state[2] ^ state[3]) as u32)
}

#[inline]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;

    use super::*;

    fn oracle(k0: u64, k1: u64, parts: &[&[u8]]) -> Seq {
        let mut hasher = SipHasher13::new_with_keys(k0, k1);
        hasher.write(&parts.concat());
        Seq(hasher.finish() as u32)
    }

    proptest! {
        #[test]
        fn is_siphash_of_the_packets_bytes_v4(k0: u64, k1: u64, from: [u8; 4], to: [u8; 4], sport: u16, port: u16) {
            let target = Target { address: IpAddr::from(to), port };
            let expected = oracle(k0, k1, &[&from, &to, &sport.to_le_bytes(), &port.to_le_bytes()]);
            prop_assert_eq!(Cookie::new(k0, k1).seq(IpAddr::from(from), sport, target), expected);
        }

        #[test]
        fn is_siphash_of_the_packets_bytes_v6(k0: u64, k1: u64, from: [u8; 16], to: [u8; 16], sport: u16, port: u16) {
            let target = Target { address: IpAddr::from(to), port };
            let expected = oracle(k0, k1, &[&from, &to, &sport.to_le_bytes(), &port.to_le_bytes()]);
            prop_assert_eq!(Cookie::new(k0, k1).seq(IpAddr::from(from), sport, target), expected);
        }
    }

    #[test]
    fn every_field_and_the_key_matter() {
        let [a, b]: [IpAddr; 2] = [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
        let seq = |k, from, sport, address, port| Cookie::new(k, 2).seq(from, sport, Target { address, port });
        let all = [
            seq(1, a, 1000, b, 80),
            seq(9, a, 1000, b, 80),
            seq(1, b, 1000, b, 80),
            seq(1, a, 1001, b, 80),
            seq(1, a, 1000, a, 80),
            seq(1, a, 1000, b, 81),
            seq(1, b, 80, a, 1000),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|other| other != one), "{i}");
        }
    }

    #[test]
    fn debug_hides_the_key() {
        assert_eq!(format!("{:?}", Cookie::new(1, 2)), "Cookie(..)");
    }
}
