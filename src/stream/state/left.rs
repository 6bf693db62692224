//! Which keys have left memory for the store: so that a key that never was there need not be looked for, which costs more
//! than all else that is done for a row.
//!
//! A Bloom filter for each lot of keys that left together: some 1.3 bytes a key, and about one key in a hundred that is
//! looked for in vain.

use std::hash::{DefaultHasher, Hasher};

/// Of a lot of 200,000 keys a filter has 256 KiB.
const BITS_PER_KEY: usize = 8;
/// Probes of a key.
const PROBES: u64 = 6;
/// With more lots than this, looking into all of them takes as long as looking into the store.
const LOTS_MAX: usize = 64;

/// The keys, each of which may be in the store.
#[derive(Default)]
pub(super) struct Left {
    lots: Vec<Filter>,
}

impl Left {
    /// Some more keys; `None` when it is no use any more to know them.
    #[must_use]
    pub(super) fn with<'k>(mut self, keys: impl ExactSizeIterator<Item = &'k Box<[u8]>>) -> Option<Self> {
        if self.lots.len() >= LOTS_MAX {
            return None;
        }
        let mut lot = Filter::for_keys(keys.len());
        keys.for_each(|key| lot.add(hash(key)));
        self.lots.push(lot);
        Some(self)
    }

    /// `false` if the key is certainly not among them.
    #[must_use]
    pub(super) fn may_have(&self, key: &[u8]) -> bool {
        let hash = hash(key);
        self.lots.iter().any(|lot| lot.may_have(hash))
    }
}

/// A set of hashes; its size is a power of two.
struct Filter(Vec<u64>);

impl Filter {
    fn for_keys(keys: usize) -> Self {
        let bits = (keys * BITS_PER_KEY).next_power_of_two().max(64);
        Self(vec![0; bits / 64])
    }

    /// Where a hash has its bits: word and mask.
    #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
    fn probes(&self, hash: u64) -> impl Iterator<Item = (usize, u64)> + use<> {
        let (words, step) = (self.0.len(), hash.rotate_left(32) | 1);
        (0..PROBES).map(move |probe| {
            let at = hash.wrapping_add(step.wrapping_mul(probe)) as usize;
            (at / 64 % words, 1 << (at % 64))
        })
    }

    fn add(&mut self, hash: u64) {
        for (word, mask) in self.probes(hash) {
            if let Some(word) = self.0.get_mut(word) {
                *word |= mask;
            }
        }
    }

    fn may_have(&self, hash: u64) -> bool {
        self.probes(hash).all(|(word, mask)| self.0.get(word).is_some_and(|word| word & mask != 0))
    }
}

fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_left_may_be_there_and_hardly_anything_else() {
        let keys = |from: u32| (from..from + 10_000).map(|n| Box::from(n.to_be_bytes())).collect::<Vec<_>>();
        let (first, second, never) = (keys(0), keys(50_000), keys(100_000));
        let left = Left::default().with(first.iter()).and_then(|left| left.with(second.iter())).unwrap();
        assert!(first.iter().chain(&second).all(|key| left.may_have(key)));
        assert!(never.iter().filter(|key| left.may_have(key)).count() < 500);
    }

    #[test]
    fn too_many_lots_are_no_use() {
        let mut left = Some(Left::default());
        for lot in 0..=LOTS_MAX {
            assert_eq!(left.is_some(), lot <= LOTS_MAX);
            left = left.and_then(|left| left.with([].iter()));
        }
        assert!(left.is_none());
    }
}
