//! An index over sorted keys: the key's high bits name a bucket, the bucket names the few entries that can hold it.
//! Where keys are spread evenly a lookup costs one table read and two or three comparisons; where they are crowded into
//! few buckets it falls back to a binary search inside the bucket. One byte of memory for each key.

use super::number::Number;
use std::hint::select_unpredictable;

/// Finds the entry with the highest key that is not above a given key.
#[derive(Debug, Clone)]
pub(crate) struct Directory<K> {
    base: K,
    shift: u32,
    /// For each bucket, the last entry before it (or 0): its entries and that one are all that a lookup must see.
    /// One more bucket at the end names the last entry.
    starts: Vec<u32>,
}

/// Four-byte buckets, so a quarter of that is a byte a key.
const KEYS_PER_BUCKET: usize = 4;

impl<K: Number> Directory<K> {
    /// Indexes `count` entries (fewer than 2^32: they alone would fill 64 GB) with ascending keys.
    pub(crate) fn new(count: usize, key_at: impl Fn(usize) -> K) -> Self {
        if count == 0 {
            return Directory { base: K::default(), shift: 0, starts: vec![0, 0] };
        }
        let (base, highest, buckets) = (key_at(0), key_at(count - 1), (count / KEYS_PER_BUCKET).max(1));
        let shift = (0..128).find(|&shift| highest.bucket(base, shift) < buckets).unwrap_or(128);
        let mut starts = Vec::with_capacity(buckets + 1);
        starts.push(0);
        for at in 1..count {
            let bucket = key_at(at).bucket(base, shift);
            starts.resize(starts.len().max(bucket + 1), at as u32 - 1);
        }
        starts.resize(buckets + 1, count as u32 - 1);
        Directory { base, shift, starts }
    }

    /// The entry with the highest key not above `key`; entry 0 if all are above, or if there is none.
    #[inline]
    pub(crate) fn find(&self, key: K, key_at: impl Fn(usize) -> K) -> usize {
        // One bucket is what most plans have; a branch that is always taken costs less than shifting 128 bits.
        let last = self.starts.len() - 2;
        let bucket = if last == 0 { 0 } else { key.bucket(self.base, self.shift).min(last) };
        let (mut low, high) = (self.starts[bucket] as usize, self.starts[bucket + 1] as usize);
        let mut candidates = high - low;
        while candidates > 0 {
            let step = candidates.div_ceil(2);
            // A mispredicted branch would wait for the entry's memory and keep the next lookup's from being fetched.
            low = select_unpredictable(key_at(low + step) <= key, low + step, low);
            candidates -= step;
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(keys: &[u64], sought: impl IntoIterator<Item = u64>) {
        let directory = Directory::new(keys.len(), |at| keys[at]);
        for key in sought {
            let expected = keys.partition_point(|&other| other <= key).saturating_sub(1);
            assert_eq!(directory.find(key, |at| keys[at]), expected, "{key}");
        }
    }

    #[test]
    fn even_crowded_and_extreme_keys() {
        check(&[], [0, 7]);
        check(&[5], [0, 5, u64::MAX]);
        check(&(0..1000).map(|key| key * 10).collect::<Vec<_>>(), 0..11_000);
        let crowded: Vec<u64> = (0..1000).chain([u64::MAX - 1, u64::MAX]).collect();
        check(&crowded, (0..1100).chain([u64::MAX / 2, u64::MAX - 2, u64::MAX - 1, u64::MAX]));
    }

    proptest! {
        #[test]
        fn agrees_with_a_search(
            mut keys in prop::collection::vec(any::<u64>(), 1..200), narrow in 0u32..60, more: Vec<u64>,
        ) {
            keys.iter_mut().for_each(|key| *key >>= narrow);
            keys.sort_unstable();
            keys.dedup();
            check(&keys, keys.iter().flat_map(|&key| [key.saturating_sub(1), key, key.saturating_add(1)]).chain(more));
        }
    }
}
