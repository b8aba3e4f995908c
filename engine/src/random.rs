//! Numbers that nobody can guess: keys, seeds, the first source port.

use std::hash::{BuildHasher, Hasher, RandomState};

/// 64 bits from the system, by the standard library's randomly keyed hasher.
pub(crate) fn number() -> u64 {
    RandomState::new().build_hasher().finish()
}
