//! Which partition a record goes to: Kafka's own choice. (Kafka: BuiltInPartitioner, Utils.murmur2)

/// By the key's hash; without a key, one partition for the whole epoch, the next for the next.
#[must_use]
pub fn partition_of(key: Option<&[u8]>, partitions: i32, epoch: u64) -> i32 {
    let count = i64::from(partitions.max(1));
    let chosen = match key {
        Some(key) => i64::from(murmur2(key) & 0x7fff_ffff) % count,
        None => i64::try_from(epoch % count.unsigned_abs()).unwrap_or_default(),
    };
    i32::try_from(chosen).unwrap_or_default()
}

fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = word.iter().rev().fold(0u32, |k, b| (k << 8) | u32::from(*b));
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        h ^= rest.iter().rev().fold(0u32, |k, b| (k << 8) | u32::from(*b));
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_kafkas() {
        // Kafka's UtilsTest.testMurmur2.
        let rows: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, expected) in rows {
            assert_eq!(murmur2(key).cast_signed(), expected);
        }
    }
}
