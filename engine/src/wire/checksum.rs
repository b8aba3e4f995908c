//! The Internet checksum (RFC 1071) as a running sum: 16-bit words in network order are added up in 64 bits, carries
//! are folded in at the end. Words are taken by twos, as one 32-bit number: what goes over 16 bits is a carry like any
//! other. Sums can be taken in parts and added, which is what makes patching a template cheap.

/// The sum of the bytes as 16-bit words; a last odd byte counts as a word's high half.
#[inline]
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks();
    let whole: u64 = pairs.iter().map(|&pair| u64::from(u32::from_be_bytes(pair))).sum();
    whole + rest.iter().zip([24, 16, 8]).map(|(&byte, place)| u64::from(byte) << place).sum::<u64>()
}

/// The same sum in the machine's order of bytes, for checking alone: whether all adds up to nothing does not depend on it
/// (RFC 1071 section 2 (B)), and no word has to be turned round. It must not be added to sums in network order.
#[inline]
pub(crate) fn native_sum(bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks();
    let whole: u64 = pairs.iter().map(|&pair| u64::from(u32::from_ne_bytes(pair))).sum();
    let last = match *rest {
        [a] => [a, 0, 0, 0],
        [a, b] => [a, b, 0, 0],
        [a, b, c] => [a, b, c, 0],
        _ => return whole,
    };
    whole + u64::from(u32::from_ne_bytes(last))
}

/// The sum of a 32-bit value's two words.
#[inline]
pub(crate) fn sum_u32(value: u32) -> u64 {
    u64::from(value)
}

/// The sum of a 128-bit value's eight words.
#[inline]
pub(crate) fn sum_u128(value: u128) -> u64 {
    (0..4).map(|i| sum_u32((value >> (32 * i)) as u32)).sum()
}

/// Folds a sum and complements it: the value of the checksum field.
#[inline]
pub(crate) fn fold(sum: u64) -> u16 {
    let (halves, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
    let halves = halves + u32::from(carry);
    // Each half plus the other: the upper one then has the carry of the lower.
    !((halves.wrapping_add(halves.rotate_left(16)) >> 16) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(!fold(sum(&bytes)), 0xddf2);
        assert_eq!(!fold(sum(&[0x12, 0x34, 0x56])), 0x1234 + 0x5600);
        assert_eq!(fold(0), 0xffff);
    }

    #[test]
    fn the_order_of_bytes_does_not_matter() {
        for len in 0..40 {
            let bytes: Vec<u8> = (0..len).map(|i: u8| i.wrapping_mul(97) ^ 0xa5).collect();
            assert_eq!(u16::from_be(fold(native_sum(&bytes))), fold(sum(&bytes)), "{len}");
        }
    }

    #[test]
    fn parts_add_up() {
        let value = 0x0123_4567_89ab_cdef_ffff_ffff_0000_0001_u128;
        assert_eq!(fold(sum_u128(value)), fold(sum(&value.to_be_bytes())));
        assert_eq!(fold(sum_u32(0xffff_0002)), fold(sum(&[0xff, 0xff, 0, 2])));
        assert_eq!(fold(u64::MAX), fold(sum(&[0xff; 8])));
    }
}
