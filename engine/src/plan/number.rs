//! Addresses as numbers, so that sets, sweeps and lookups are written once for IPv4 (`u32`) and IPv6 (`u128`).

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A key that a [`Directory`](super::directory::Directory) can look up.
pub(crate) trait Number: Copy + Ord + Default + Debug {
    /// `(self - base) >> shift`; 0 below `base`, `usize::MAX` where it does not fit.
    fn bucket(self, base: Self, shift: u32) -> usize;
}

/// An address of one family.
pub(crate) trait Address: Number {
    /// The same number in four-byte words, so that a segment needs no padding.
    type Packed: Copy + Debug;

    /// The next lower address, unless this is the lowest.
    fn before(self) -> Option<Self>;
    /// The next higher address, unless this is the highest.
    fn after(self) -> Option<Self>;
    /// How far this lies above `base`, or nothing if it lies below.
    fn above(self, base: Self) -> Option<u128>;
    /// The address this far above; wraps, which no address inside a plan does.
    fn plus(self, hosts: u64) -> Self;
    /// The first and the last address of the network with that many leading bits of this address.
    fn network(self, prefix: u32) -> (Self, Self);
    /// As the standard library has it.
    fn ip(self) -> IpAddr;
    /// From the standard library's, if the family is this one.
    fn from_ip(ip: IpAddr) -> Option<Self>;
    /// Into four-byte words.
    fn pack(self) -> Self::Packed;
    /// From four-byte words.
    fn unpack(packed: Self::Packed) -> Self;
}

macro_rules! number {
    ($($kind:ty),*) => {$(
        impl Number for $kind {
            #[inline]
            fn bucket(self, base: Self, shift: u32) -> usize {
                let bucket = self.saturating_sub(base).checked_shr(shift).unwrap_or(0);
                usize::try_from(bucket).unwrap_or(usize::MAX)
            }
        }
    )*};
}

number!(u32, u64, u128);

macro_rules! address_arithmetic {
    ($kind:ty) => {
        fn before(self) -> Option<Self> {
            self.checked_sub(1)
        }

        fn after(self) -> Option<Self> {
            self.checked_add(1)
        }

        fn above(self, base: Self) -> Option<u128> {
            self.checked_sub(base).map(u128::from)
        }

        fn plus(self, hosts: u64) -> Self {
            self.wrapping_add(hosts as $kind)
        }

        fn network(self, prefix: u32) -> (Self, Self) {
            let host_bits = <$kind>::MAX.checked_shr(prefix).unwrap_or(0);
            (self & !host_bits, self | host_bits)
        }
    };
}

impl Address for u32 {
    type Packed = u32;

    address_arithmetic!(u32);

    fn ip(self) -> IpAddr {
        Ipv4Addr::from_bits(self).into()
    }

    fn from_ip(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(v4) => Some(v4.to_bits()),
            IpAddr::V6(_) => None,
        }
    }

    fn pack(self) -> u32 {
        self
    }

    fn unpack(packed: u32) -> Self {
        packed
    }
}

impl Address for u128 {
    type Packed = [u32; 4];

    address_arithmetic!(u128);

    fn ip(self) -> IpAddr {
        Ipv6Addr::from_bits(self).into()
    }

    fn from_ip(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(v6.to_bits()),
        }
    }

    fn pack(self) -> [u32; 4] {
        [self as u32, (self >> 32) as u32, (self >> 64) as u32, (self >> 96) as u32]
    }

    fn unpack([a, b, c, d]: [u32; 4]) -> Self {
        u128::from(a) | u128::from(b) << 32 | u128::from(c) << 64 | u128::from(d) << 96
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_is_reversible() {
        for number in [0, 1, u128::MAX, 0x2001_0db8_0000_0001_0203_0405_0607_0809] {
            assert_eq!(u128::unpack(number.pack()), number);
        }
    }

    #[test]
    fn networks_at_both_ends_of_the_prefix() {
        assert_eq!(0xc000_0207_u32.network(24), (0xc000_0200, 0xc000_02ff));
        assert_eq!(0xc000_0207_u32.network(32), (0xc000_0207, 0xc000_0207));
        assert_eq!(0xc000_0207_u32.network(0), (0, u32::MAX));
        assert_eq!(7_u128.network(0), (0, u128::MAX));
        assert_eq!(7_u128.network(128), (7, 7));
    }

    #[test]
    fn buckets_saturate() {
        assert_eq!(5_u32.bucket(6, 0), 0);
        assert_eq!(u32::MAX.bucket(0, 32), 0);
        assert_eq!(u128::MAX.bucket(0, 1), usize::MAX);
        assert_eq!(0x1234_u64.bucket(0x34, 8), 0x12);
    }
}
