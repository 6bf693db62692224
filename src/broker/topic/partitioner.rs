//! Which partition a record goes to when its producer does not say.
//!
//! A routing key that is a partition's number goes there, as to a RabbitMQ super stream; any other key goes where
//! Kafka's default partitioner would put it; no key is spread evenly.

use std::sync::atomic::{AtomicU32, Ordering};

/// Where records without a key go next.
#[derive(Debug, Default)]
pub struct Spread(AtomicU32);

impl Spread {
    /// The partition for a routing key, of `partitions` (at least 1).
    pub fn partition(&self, routing_key: &[u8], partitions: u32) -> u32 {
        let partitions = partitions.max(1);
        if routing_key.is_empty() {
            return self.0.fetch_add(1, Ordering::Relaxed) % partitions;
        }
        by_number(routing_key, partitions).unwrap_or_else(|| by_key(routing_key, partitions))
    }
}

/// The routing key as a partition's number, in the one way that RabbitMQ writes it.
fn by_number(routing_key: &[u8], partitions: u32) -> Option<u32> {
    let text = std::str::from_utf8(routing_key).ok()?;
    let number: u32 = text.parse().ok().filter(|n| *n < partitions)?;
    (text == number.to_string()).then_some(number)
}

/// Kafka's default partitioner for a record with a key.
#[must_use]
pub fn by_key(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// The 32-bit MurmurHash2 with Kafka's seed.
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut h = SEED ^ length;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0, |k, byte| (k << 8) | u32::from(*byte));
        h = (h ^ last).wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_agrees_with_kafkas_own_test_values() {
        fn check(data: &[u8], expected: i32) {
            assert_eq!(murmur2(data).cast_signed(), expected, "{data:?}");
        }
        check(b"21", -973_932_308);
        check(b"foobar", -790_332_482);
        check(b"a-little-bit-long-string", -985_981_536);
        check(b"a-little-bit-longer-string", -1_486_304_829);
        check(b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971);
        check(b"abc", 479_470_107);
    }

    #[test]
    fn numbers_name_partitions_and_other_keys_are_hashed() {
        let spread = Spread::default();
        assert_eq!(spread.partition(b"2", 3), 2);
        for hashed in [&b"3"[..], b"02", b"+1", b"abc"] {
            assert_eq!(spread.partition(hashed, 3), by_key(hashed, 3));
        }
    }

    #[test]
    fn records_without_a_key_are_spread_evenly() {
        let spread = Spread::default();
        let seen: Vec<u32> = (0..6).map(|_| spread.partition(b"", 3)).collect();
        assert_eq!(seen, [0, 1, 2, 0, 1, 2]);
    }
}
