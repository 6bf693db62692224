//! The last offset of every key, by a seeded hash of 128 bits: some 25 bytes for each key, however long it is.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Keys that one round can know; what comes behind them waits for the next. Kafka's buffer has room for 5 million.
pub(super) const KEYS_MAX: usize = 458_752;

#[derive(Debug)]
pub(super) struct Latest {
    seed: u64,
    /// In bytes, because a `u128` would be aligned to 16.
    offsets: HashMap<[u8; 16], i64>,
}

impl Latest {
    /// The seed is a secret from whoever chooses keys.
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, offsets: HashMap::new() }
    }

    pub(super) fn note(&mut self, key: &[u8], offset: i64) {
        let latest = self.offsets.entry(self.hash(key)).or_insert(offset);
        *latest = offset.max(*latest);
    }

    pub(super) fn of(&self, key: &[u8]) -> Option<i64> {
        self.offsets.get(&self.hash(key)).copied()
    }

    pub(super) fn is_full(&self) -> bool {
        self.offsets.len() >= KEYS_MAX
    }

    fn hash(&self, key: &[u8]) -> [u8; 16] {
        xxh3_128_with_seed(key, self.seed).to_ne_bytes()
    }
}
