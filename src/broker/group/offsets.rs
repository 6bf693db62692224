//! The offsets a group has committed. Who may commit is `classic.rs`'s decision; the writing is `mod.rs`'s.

use std::collections::HashMap;

use uuid::Uuid;

use crate::broker::topic::{
    Offset,
    keys::{Reader, Writer},
};

/// A topic's partition, by the topic's id: a topic that is made again under the same name has no offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: Uuid,
    pub partition: i32,
}

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub offset: Offset,
    /// -1: not given.
    pub leader_epoch: i32,
    pub metadata: String,
    pub commit_ms: i64,
    /// OffsetCommit v2–4 could ask for a retention of its own.
    pub expire_ms: Option<i64>,
}

impl Committed {
    pub(in crate::broker) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.i64(self.offset.0);
        w.i32(self.leader_epoch);
        w.i64(self.commit_ms);
        w.i64(self.expire_ms.unwrap_or(-1));
        w.bytes(self.metadata.as_bytes());
        w.finish()
    }

    pub(in crate::broker) fn decode(value: &bytes::Bytes) -> Option<Self> {
        let r = &mut Reader::new(value.clone());
        let (offset, leader_epoch, commit_ms) = (Offset(r.i64()?), r.i32()?, r.i64()?);
        let expire_ms = Some(r.i64()?).filter(|ms| *ms >= 0);
        let metadata = r.string()?;
        r.is_done().then_some(Self { offset, leader_epoch, metadata, commit_ms, expire_ms })
    }
}

/// All offsets of one group. A key is here as soon as its commit is on its way to disk, so that deleting the group
/// deletes it too; its value only when it is there.
#[derive(Debug, Default)]
pub struct Offsets(HashMap<TopicPartition, Option<Committed>>);

impl Offsets {
    pub(super) fn on_submitted(&mut self, at: TopicPartition) {
        self.0.entry(at).or_default();
    }

    pub(super) fn on_committed(&mut self, at: TopicPartition, committed: Committed) {
        // Removed meanwhile: then its deletion is behind this commit in the same order.
        if let Some(slot) = self.0.get_mut(&at) {
            *slot = Some(committed);
        }
    }

    pub(super) fn recover(&mut self, at: TopicPartition, committed: Committed) {
        self.0.insert(at, Some(committed));
    }

    #[must_use]
    pub fn committed(&self, at: TopicPartition) -> Option<&Committed> {
        self.0.get(&at)?.as_ref()
    }

    /// Everything committed, in the order of topic and partition.
    #[must_use]
    pub fn all(&self) -> Vec<(TopicPartition, Committed)> {
        let mut all: Vec<_> = self.0.iter().filter_map(|(at, c)| Some((*at, c.clone()?))).collect();
        all.sort_by_key(|(at, _)| *at);
        all
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = TopicPartition> {
        self.0.keys().copied()
    }

    pub(super) fn remove(&mut self, at: TopicPartition) -> bool {
        self.0.remove(&at).is_some()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What has outlived its retention in a group that has been empty since `empty_since_ms`.
    pub(super) fn expired(&self, now_ms: i64, empty_since_ms: i64, retention_ms: i64) -> Vec<TopicPartition> {
        let is_over = |c: &Committed| match c.expire_ms {
            Some(expire_ms) => now_ms >= expire_ms,
            None => now_ms.saturating_sub(c.commit_ms.max(empty_since_ms)) >= retention_ms,
        };
        self.0.iter().filter(|(_, c)| c.as_ref().is_some_and(is_over)).map(|(at, _)| *at).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(commit_ms: i64, expire_ms: Option<i64>) -> Committed {
        Committed { offset: Offset(7), leader_epoch: 3, metadata: "näh".into(), commit_ms, expire_ms }
    }

    #[test]
    fn an_offset_survives_its_encoding() {
        for c in [committed(5, None), committed(6, Some(9))] {
            assert_eq!(Committed::decode(&c.encode().into()), Some(c));
        }
        assert_eq!(Committed::decode(&bytes::Bytes::from_static(b"short")), None);
    }

    #[test]
    fn retention_counts_from_the_commit_or_from_when_the_group_became_empty_or_as_asked() {
        fn check(commit_ms: i64, expire_ms: Option<i64>, empty_since_ms: i64, now_ms: i64, expected: bool) {
            let mut offsets = Offsets::default();
            let at = TopicPartition { topic: Uuid::nil(), partition: 0 };
            offsets.recover(at, committed(commit_ms, expire_ms));
            assert_eq!(!offsets.expired(now_ms, empty_since_ms, 100).is_empty(), expected);
        }
        check(1_000, None, 0, 1_099, false);
        check(1_000, None, 0, 1_100, true);
        check(1_000, None, 1_050, 1_100, false);
        check(1_000, None, 1_050, 1_150, true);
        check(1_000, Some(1_010), 1_050, 1_010, true);
        check(1_000, Some(5_000), 0, 1_100, false);
    }

    #[test]
    fn an_offset_on_its_way_is_known_but_not_shown() {
        let mut offsets = Offsets::default();
        let at = TopicPartition { topic: Uuid::nil(), partition: 0 };
        offsets.on_submitted(at);
        assert!(offsets.committed(at).is_none() && !offsets.is_empty());
        offsets.on_committed(at, committed(1, None));
        assert_eq!(offsets.committed(at).map(|c| c.offset), Some(Offset(7)));
    }
}
