//! Every call a door makes on a group's offsets: commits, transactions' commits, deletion, expiry.
//!
//! Whether somebody may commit is the machine's decision; what is committed is in `offsets.rs`.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use uuid::Uuid;

use super::{
    Answer, Group, GroupKey, Groups, answer,
    error::GroupError,
    machine::Machine,
    offsets::{Committed, TopicPartition},
};
use crate::{
    broker::topic::{
        keys,
        writes::{Outcome, Writes},
    },
    store::Space,
};

/// Who commits offsets: a member of a generation (or member epoch), or (-1 and empty) somebody outside the group
/// protocol.
#[derive(Debug, Clone, Copy)]
pub struct Committer<'a> {
    pub member_id: &'a str,
    pub group_instance_id: Option<&'a str>,
    pub generation_id: i32,
    /// It speaks a version that knows member epochs (OffsetCommit v9, and every transaction).
    pub knows_epochs: bool,
}

impl Committer<'_> {
    /// Somebody outside the group protocol.
    pub const NOBODY: Self =
        Self { member_id: "", group_instance_id: None, generation_id: -1, knows_epochs: false };
}

/// What a commit of several partitions comes to: refused as a whole, or each by itself.
pub type CommitResult = Result<Vec<Result<(), GroupError>>, GroupError>;

impl Groups {
    /// OffsetCommit. Durable, and visible to OffsetFetch, when the answer comes.
    pub fn commit(
        &self,
        now: Instant,
        key: &GroupKey,
        by: Committer<'_>,
        offsets: Vec<(TopicPartition, Committed)>,
    ) -> Answer<CommitResult> {
        let (sender, later) = answer(Err(GroupError::CoordinatorNotAvailable));
        let group = match self.find(key) {
            Some(group) => Ok(group),
            None if by.generation_id < 0 => self.find_or_make(key),
            None if by.knows_epochs => Err(GroupError::GroupIdNotFound),
            None => Err(GroupError::IllegalGeneration),
        };
        let group = match group {
            Ok(group) => group,
            Err(error) => {
                _ = sender.send(Err(error));
                return later;
            }
        };
        let mut inner = group.inner.lock();
        let allowed = inner.machine.validate_commit(now, by, &mut offsets.iter().map(|(at, _)| *at));
        if let Err(error) = allowed {
            _ = sender.send(Err(error));
            return later;
        }
        let (mut writes, mut accepted, mut outcomes) = (Writes::default(), Vec::new(), Vec::new());
        for (at, committed) in offsets {
            if committed.metadata.len() > self.settings.offset_metadata_bytes_max {
                outcomes.push(Err(GroupError::OffsetMetadataTooLarge));
                continue;
            }
            writes.put(Space::State, keys::committed_offset(key, at), committed.encode());
            inner.offsets.on_submitted(at);
            accepted.push((at, committed));
            outcomes.push(Ok(()));
        }
        let owner = group.clone();
        // Still under the lock, so that commits reach the log in the order in which the machine allowed them.
        writes.submit(&self.store, move |outcome: Outcome| {
            let result = outcome.map_err(|_| GroupError::CoordinatorNotAvailable).map(|()| {
                let mut inner = owner.inner.lock();
                accepted.into_iter().for_each(|(at, committed)| inner.offsets.on_committed(at, committed));
                outcomes
            });
            _ = sender.send(result);
        });
        later
    }

    /// TxnOffsetCommit: whether `by` may commit, and what it commits. The group is made if need be.
    ///
    /// # Errors
    /// As OffsetCommit; a stale member epoch is a wrong generation here.
    pub fn check_transactional(
        &self,
        now: Instant,
        key: &GroupKey,
        by: Committer<'_>,
        offsets: &[(TopicPartition, Committed)],
    ) -> Result<(), GroupError> {
        let group = match self.find(key) {
            Some(group) => group,
            None if by.generation_id >= 0 => return Err(GroupError::IllegalGeneration),
            None => self.find_or_make(key)?,
        };
        let bytes_max = self.settings.offset_metadata_bytes_max;
        if offsets.iter().any(|(_, committed)| committed.metadata.len() > bytes_max) {
            return Err(GroupError::OffsetMetadataTooLarge);
        }
        let mut inner = group.inner.lock();
        // A transaction may be in no generation: its producer may be older than KIP-447 (TxnOffsetCommit v3).
        if by.generation_id < 0 && by.member_id.is_empty() && by.group_instance_id.is_none() {
            return Ok(());
        }
        let allowed = inner.machine.validate_commit(now, by, &mut offsets.iter().map(|(at, _)| *at));
        allowed.map_err(|error| {
            if error == GroupError::StaleMemberEpoch { GroupError::IllegalGeneration } else { error }
        })
    }

    /// A transaction's offsets are on their way to disk with its end: they are the group's from here on.
    pub(in crate::broker) fn on_transaction_submitted(
        &self,
        key: &GroupKey,
        offsets: impl Iterator<Item = TopicPartition>,
    ) {
        let made = || Arc::new(Group::new(key.clone(), self.empty_machine(), false));
        // Under the table's lock, so that no expiry takes the group away in between.
        let mut table = self.table.lock();
        let group = table.entry(key.clone()).or_insert_with(made).clone();
        let mut inner = group.inner.lock();
        offsets.for_each(|at| inner.offsets.on_submitted(at));
    }

    /// They are on disk.
    pub(in crate::broker) fn on_transaction_committed(
        &self,
        key: &GroupKey,
        offsets: impl Iterator<Item = (TopicPartition, Committed)>,
    ) {
        let Some(group) = self.find(key) else { return };
        let mut inner = group.inner.lock();
        offsets.for_each(|(at, committed)| inner.offsets.on_committed(at, committed));
    }

    /// OffsetFetch from version 9 on: whether a member may ask, as the epoch that it names.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH
    pub fn check_fetch(&self, key: &GroupKey, member_id: Option<&str>, epoch: i32) -> Result<(), GroupError> {
        self.find(key).map_or(Ok(()), |group| group.inner.lock().machine.validate_fetch(member_id, epoch))
    }

    /// OffsetFetch of one partition. Unknown group, or nothing committed: `None` (offset -1, no error).
    #[must_use]
    pub fn committed(&self, key: &GroupKey, at: TopicPartition) -> Option<Committed> {
        self.find(key)?.committed(at)
    }

    /// OffsetFetch of everything.
    #[must_use]
    pub fn all_committed(&self, key: &GroupKey) -> Vec<(TopicPartition, Committed)> {
        self.find(key).map(|g| g.inner.lock().offsets.all()).unwrap_or_default()
    }

    /// OffsetDelete: of topics that no member subscribes to. A classic group of another protocol than the consumers'
    /// does not say what it subscribes to, so it must be empty.
    pub fn delete_offsets(&self, key: &GroupKey, partitions: &[TopicPartition]) -> Answer<CommitResult> {
        let (sender, later) = answer(Err(GroupError::CoordinatorNotAvailable));
        let Some(group) = self.find(key) else {
            _ = sender.send(Err(GroupError::GroupIdNotFound));
            return later;
        };
        let mut inner = group.inner.lock();
        if matches!(inner.machine, Machine::Share(_)) {
            _ = sender.send(Err(GroupError::GroupIdNotFound));
            return later;
        }
        if let Machine::Classic(classic) = &inner.machine
            && !classic.members.is_empty()
            && !classic.speaks_consumer_protocol()
        {
            _ = sender.send(Err(GroupError::NonEmptyGroup));
            return later;
        }
        let mut writes = Writes::default();
        let mut outcomes = Vec::new();
        for at in partitions {
            let topic = self.topics.by_id(at.topic);
            if topic.is_some_and(|topic| inner.machine.subscribes(&topic.name)) {
                outcomes.push(Err(GroupError::GroupSubscribedToTopic));
                continue;
            }
            if inner.offsets.remove(*at) {
                writes.delete(Space::State, keys::committed_offset(key, *at));
            }
            outcomes.push(Ok(()));
        }
        writes.submit(&self.store, move |outcome: Outcome| {
            let result = outcome.map(|()| outcomes).map_err(|_| GroupError::CoordinatorNotAvailable);
            _ = sender.send(result);
        });
        later
    }

    /// Drops what outlived `offsets.retention.minutes`, and groups without members in which nothing is left. What a
    /// member subscribes to does not expire; in a group without members nothing does before that has lasted as long.
    pub fn expire_offsets(&self, now_ms: i64) {
        for group in self.all() {
            let mut inner = group.inner.lock();
            let is_empty = inner.machine.state() == super::GroupState::Empty;
            let empty_since_ms = is_empty.then(|| *inner.empty_since_ms.get_or_insert(now_ms));
            inner.empty_since_ms = empty_since_ms;
            let mut writes = Writes::default();
            for at in
                inner.offsets.expired(now_ms, empty_since_ms.unwrap_or(0), self.settings.offsets_retention_ms)
            {
                let topic = self.topics.by_id(at.topic);
                if topic.is_some_and(|topic| inner.machine.may_want(&topic.name)) {
                    continue;
                }
                inner.offsets.remove(at);
                writes.delete(Space::State, keys::committed_offset(&group.key, at));
            }
            writes.submit_unwatched(&self.store);
            drop(inner);
            if empty_since_ms.is_some_and(|since| since < now_ms) {
                let unused = |inner: &super::Inner| inner.offsets.is_empty() && inner.machine.is_unused();
                if let Ok(Some(writes)) = self.end(&group, unused) {
                    writes.submit_unwatched(&self.store);
                }
            }
        }
    }

    /// Forgets the offsets of topics that are gone, through whichever door.
    pub fn forget_deleted_topics(&self) {
        let all = self.all();
        let topics = all.iter().flat_map(|group| {
            let inner = group.inner.lock();
            inner.offsets.keys().map(|at| at.topic).collect::<BTreeSet<Uuid>>()
        });
        let topics = topics.chain(self.shares.topics());
        let gone: BTreeSet<Uuid> = topics.filter(|topic| self.topics.by_id(*topic).is_none()).collect();
        gone.into_iter().for_each(|topic| self.topic_deleted(topic));
    }

    /// A topic is gone: so are all offsets in it.
    pub fn topic_deleted(&self, topic: Uuid) {
        let mut writes = Writes::default();
        self.shares.end(&mut writes, |_, at| at.topic == topic);
        writes.submit_unwatched(&self.store);
        for group in self.all() {
            let mut inner = group.inner.lock();
            let theirs: Vec<TopicPartition> = inner.offsets.keys().filter(|at| at.topic == topic).collect();
            let mut writes = Writes::default();
            for at in theirs {
                inner.offsets.remove(at);
                writes.delete(Space::State, keys::committed_offset(&group.key, at));
            }
            writes.submit_unwatched(&self.store);
        }
    }
}
