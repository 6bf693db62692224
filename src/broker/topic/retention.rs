//! What a partition no longer keeps (`cleanup.policy=delete`): a pure rule over its index.
//!
//! Kafka removes whole segments; here the unit is the append, so that a small topic obeys too.

use super::{Offset, index::Index};

/// What retention looks at, from the topic's configuration. -1: without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) retention_ms: i64,
    pub(super) retention_bytes: i64,
}

/// Where the log must start now; `None`: nothing has to go.
pub(super) fn log_start(now_ms: i64, limits: Limits, index: &Index) -> Option<Offset> {
    let mut bytes = index.bytes();
    let bytes_max = u64::try_from(limits.retention_bytes).unwrap_or(u64::MAX);
    let mut start = None;
    for entry in index.iter() {
        // By size, what is left must still be at least the limit, as in Kafka.
        let too_much = bytes.saturating_sub(entry.bytes()) >= bytes_max;
        let too_old =
            limits.retention_ms >= 0 && now_ms.saturating_sub(entry.max_timestamp) > limits.retention_ms;
        if !too_much && !too_old {
            break;
        }
        bytes -= entry.bytes();
        start = Some(Offset(entry.last().0 + 1));
    }
    start
}

#[cfg(test)]
mod tests {
    use super::{
        super::{entry::entry, index::Index},
        *,
    };

    #[test]
    fn what_is_too_old_or_too_much_goes_from_the_front() {
        fn check(now_ms: i64, retention_ms: i64, retention_bytes: i64, expected: Option<i64>) {
            let mut index = Index::default();
            for (base, last, time) in [(0, 4, 100), (5, 5, 200), (6, 9, 150)] {
                index.push(entry(base, last, time, 10));
            }
            let limits = Limits { retention_ms, retention_bytes };
            assert_eq!(log_start(now_ms, limits, &index), expected.map(Offset), "{now_ms} {limits:?}");
        }
        check(1_000_000, -1, -1, None);
        check(200, 100, -1, None);
        check(201, 100, -1, Some(5));
        check(300, 100, -1, Some(5));
        check(301, 100, -1, Some(10));
        check(0, -1, 30, None);
        check(0, -1, 21, None);
        check(0, -1, 20, Some(5));
        check(0, -1, 15, Some(5));
        check(0, -1, 0, Some(10));
    }
}
