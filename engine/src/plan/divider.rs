//! Division by a number that is known beforehand, as two shifts and a multiplication: the sender divides once per
//! probe, and a hardware division would be the dearest instruction on its path. Granlund and Montgomery, "Division by
//! Invariant Integers using Multiplication" (PLDI 1994), figure 4.1: exact for every 64-bit dividend.

/// Divides by a fixed number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Divider {
    divisor: u32,
    multiplier: u64,
    /// 0 for the divisor 1, else 1: halves before the sum below, which would otherwise need 65 bits.
    first_shift: u8,
    second_shift: u8,
}

impl Divider {
    /// Divides by `divisor`; 0 is taken as 1.
    pub(crate) fn new(divisor: u32) -> Self {
        let divisor = divisor.max(1);
        let bits = u64::from(divisor).next_power_of_two().trailing_zeros();
        let excess = (1_u128 << bits) - u128::from(divisor);
        let multiplier = ((excess << 64) / u128::from(divisor) + 1) as u64;
        Divider { divisor, multiplier, first_shift: bits.min(1) as u8, second_shift: bits.saturating_sub(1) as u8 }
    }

    /// The quotient and the remainder.
    #[inline]
    pub(crate) fn divide(self, dividend: u64) -> (u64, u32) {
        let estimate = ((u128::from(self.multiplier) * u128::from(dividend)) >> 64) as u64;
        let quotient = (estimate + ((dividend - estimate) >> self.first_shift)) >> self.second_shift;
        (quotient, (dividend - quotient * u64::from(self.divisor)) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(divisor: u32, dividend: u64) {
        let expected = (dividend / u64::from(divisor), (dividend % u64::from(divisor)) as u32);
        assert_eq!(Divider::new(divisor).divide(dividend), expected, "{dividend} / {divisor}");
    }

    #[test]
    fn exact_at_every_boundary_of_every_number_of_ports() {
        for divisor in 1..=65_536 {
            let wide = u64::from(divisor);
            let highest = u64::MAX / wide * wide;
            for multiple in [0, wide, wide << 32, (1 << 63) / wide * wide, highest / wide / 3 * wide, highest] {
                check(divisor, multiple);
                check(divisor, multiple.saturating_sub(1));
                check(divisor, multiple.saturating_add(1));
            }
            check(divisor, u64::MAX);
        }
    }

    #[test]
    fn exact_around_every_power_of_two() {
        for bit in 0..64 {
            for divisor in [1, 2, 3, 5, 7, 641, 1000, 1024, 65_521, 65_535, 65_536, u32::MAX] {
                check(divisor, (1 << bit) - 1);
                check(divisor, 1 << bit);
                check(divisor, (1 << bit) + 1);
            }
        }
    }
}
