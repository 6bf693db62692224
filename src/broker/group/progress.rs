//! How far groups are: what they have committed, or are lent, against the ends of the logs.

use std::sync::Arc;

use super::{GroupKey, Groups, offsets::TopicPartition};

/// How far a group is in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub topic: Arc<str>,
    pub partition: i32,
    /// The next record it wants; of a share group, the first that is not done with.
    pub offset: i64,
    pub log_end: i64,
    /// Records that it has not done with.
    pub lag: i64,
}

impl Groups {
    /// By topic and partition; topics that are gone are left out.
    #[must_use]
    pub fn progress(&self, key: &GroupKey) -> Vec<Progress> {
        let committed =
            self.all_committed(key).into_iter().map(|(at, committed)| (at, committed.offset.0, 0));
        let shared = self.shares.offsets(key).into_iter().map(|o| (o.at, o.start, o.done_ahead));
        committed.chain(shared).filter_map(|(at, offset, done)| self.progress_at(at, offset, done)).collect()
    }

    fn progress_at(&self, at: TopicPartition, offset: i64, done_ahead: i64) -> Option<Progress> {
        let topic = self.topics.by_id(at.topic)?;
        let log_end = topic.partition(at.partition)?.offsets().high_watermark.0;
        let lag = (log_end - offset - done_ahead).max(0);
        Some(Progress { topic: topic.name.clone(), partition: at.partition, offset, log_end, lag })
    }
}
