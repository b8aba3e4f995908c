//! The proof that a reply is ours: a probe's sequence number is a keyed hash of its addresses and ports, so that a
//! reply's acknowledgement can be checked with no memory of the probe.
//!
//! The hash is SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012, with the reduced rounds
//! that its authors call fast and conservative enough for short-lived secrets), cut to 32 bits. Its input: source
//! address, source port, zeros up to a multiple of eight bytes, destination address, destination port; as in the packet.
//! What is the same for all probes of an egress and a pass comes first, so that it is taken in once ([`Origin`]). The
//! hash is written out here for its two input lengths because it runs once for every probe and every reply; the tests
//! hold it against an independent implementation. The key is drawn anew for every scan.
//!
//! Left to others: what acknowledgement which kind of reply must carry (`receiver.rs`).

use std::net::IpAddr;

use crate::target::{Family, Seq, Target};

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

    /// The cookies of the probes that leave from this address and port.
    pub fn origin(&self, source: IpAddr, source_port: u16) -> Origin {
        let (mut state, port) = (self.start, source_port.swap_bytes());
        match source {
            IpAddr::V4(from) => absorb(&mut state, u64::from(from.to_bits().swap_bytes()) | u64::from(port) << 32),
            IpAddr::V6(from) => {
                absorb_address(&mut state, from.to_bits());
                absorb(&mut state, port.into());
            }
        }
        Origin { state, prefix: if source.is_ipv4() { 8 } else { 24 } }
    }

    /// The sequence number of the probe from `source`:`source_port` to `target`.
    pub fn seq(&self, source: IpAddr, source_port: u16, target: Target) -> Seq {
        self.origin(source, source_port).seq(target)
    }
}

/// The cookies of the probes that leave from one address and port: the hash with these two taken in already, which is
/// half of it over IPv6.
#[derive(Clone, Copy)]
pub struct Origin {
    state: [u64; 4],
    /// How many bytes it has taken in.
    prefix: u64,
}

impl Origin {
    /// The sequence number of the probe to `target`. A target of the other family, which no packet from here can have,
    /// gets one that no probe carries.
    #[inline]
    pub fn seq(&self, target: Target) -> Seq {
        let (family, to) = Family::number(target.address);
        self.seq_of(family, to, target.port)
    }

    /// [`Origin::seq`] with the address as a number.
    #[inline]
    pub(crate) fn seq_of(&self, family: Family, to: u128, port: u16) -> Seq {
        match family {
            Family::V4 => self.seq_v4(to as u32, port),
            Family::V6 => self.seq_v6(to, port),
        }
    }

    #[inline]
    fn seq_v4(&self, to: u32, port: u16) -> Seq {
        let last = u64::from(to.swap_bytes()) | u64::from(port.swap_bytes()) << 32;
        finish(self.state, last | (self.prefix + 6) << 56)
    }

    #[inline]
    fn seq_v6(&self, to: u128, port: u16) -> Seq {
        let mut state = self.state;
        absorb_address(&mut state, to);
        finish(state, u64::from(port.swap_bytes()) | (self.prefix + 18) << 56)
    }
}

/// Never shows the key.
impl std::fmt::Debug for Cookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookie(..)")
    }
}

/// Nor what follows from it.
impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Origin(..)")
    }
}

#[inline]
fn absorb_address(state: &mut [u64; 4], address: u128) {
    let bytes = address.swap_bytes();
    absorb(state, bytes as u64);
    absorb(state, (bytes >> 64) as u64);
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
            let expected = oracle(k0, k1, &[&from, &sport.to_be_bytes(), &[0; 2], &to, &port.to_be_bytes()]);
            prop_assert_eq!(Cookie::new(k0, k1).seq(IpAddr::from(from), sport, target), expected);
        }

        #[test]
        fn is_siphash_of_the_packets_bytes_v6(k0: u64, k1: u64, from: [u8; 16], to: [u8; 16], sport: u16, port: u16) {
            let target = Target { address: IpAddr::from(to), port };
            let expected = oracle(k0, k1, &[&from, &sport.to_be_bytes(), &[0; 6], &to, &port.to_be_bytes()]);
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
        assert_eq!(format!("{:?}", Cookie::new(1, 2).origin([0; 4].into(), 3)), "Origin(..)");
    }
}
