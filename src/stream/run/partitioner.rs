//! Which partition a record goes to: Kafka's own choice. (Kafka: BuiltInPartitioner)

use crate::broker::topic::partitioner::by_key;

/// By the key's hash; without a key, one partition for the whole epoch, the next for the next.
#[must_use]
pub fn partition_of(key: Option<&[u8]>, partitions: i32, epoch: u64) -> i32 {
    let count = partitions.max(1).unsigned_abs();
    let chosen = match key {
        Some(key) => by_key(key, count),
        None => u32::try_from(epoch % u64::from(count)).unwrap_or_default(),
    };
    i32::try_from(chosen).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_partition_and_what_has_none_goes_on_with_each_epoch() {
        let with_key: Vec<i32> = (0..3).map(|epoch| partition_of(Some(b"foobar"), 4, epoch)).collect();
        assert_eq!(with_key, [2; 3]);
        let without: Vec<i32> = (0..5).map(|epoch| partition_of(None, 3, epoch)).collect();
        assert_eq!(without, [0, 1, 2, 0, 1]);
    }
}
