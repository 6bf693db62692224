//! The table of groups of all vhosts, and every call a door makes on a group.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    Answer, Description, Group, GroupKey, Waiter, answer,
    classic::{Classic, Limits},
    error::GroupError,
    member::{JoinRefused, JoinRequest, JoinResult, MemberId, SyncRequest, SyncResult},
    offsets::{Committed, TopicPartition},
};
use crate::{
    broker::topic::{
        VhostName, keys,
        writes::{Outcome, Writes},
    },
    store::{Space, Store, StoreError},
};

/// What groups are held to.
#[derive(Debug, Clone)]
pub struct Settings {
    pub limits: Limits,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// A peer makes a group by naming it; here it ends.
    pub groups_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            offsets_retention_ms: Duration::from_secs(7 * 24 * 3_600)
                .as_millis()
                .try_into()
                .unwrap_or(i64::MAX),
            offset_metadata_bytes_max: 4_096,
            groups_max: 100_000,
        }
    }
}

/// All groups.
pub struct Groups {
    table: Mutex<HashMap<GroupKey, Arc<Group>>>,
    store: Store,
    settings: Settings,
    /// The earliest deadline the timer knows of; `earlier` says that there is a new one.
    armed: Mutex<Option<Instant>>,
    earlier: Notify,
}

/// What a commit of several partitions comes to: refused as a whole, or each by itself.
pub type CommitResult = Result<Vec<Result<(), GroupError>>, GroupError>;

impl Groups {
    #[must_use]
    pub fn new(store: Store, settings: Settings) -> Self {
        let (armed, earlier) = (Mutex::new(None), Notify::new());
        Self { table: Mutex::default(), store, settings, armed, earlier }
    }

    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Rebuilds all groups. Members keep their place; their sessions begin anew.
    pub fn recover(store: Store, settings: Settings, now: Instant) -> Result<Self, StoreError> {
        let groups = Self::new(store, settings);
        {
            let mut table = groups.table.lock();
            for (key, value) in groups.store.scan(Space::State, keys::GROUPS)? {
                let Some(key) = keys::parse_group(&key) else { continue };
                let Some(classic) = Classic::decode(&value, now, groups.settings.limits.clone()) else {
                    continue;
                };
                table.insert(key.clone(), Arc::new(Group::new(key, classic, true)));
            }
            for (key, value) in groups.store.scan(Space::State, keys::COMMITTED_OFFSETS)? {
                let Some((key, at)) = keys::parse_committed_offset(&key) else { continue };
                let Some(committed) = Committed::decode(&value) else { continue };
                let limits = &groups.settings.limits;
                let group = table
                    .entry(key.clone())
                    .or_insert_with(|| Arc::new(Group::new(key, Classic::new(limits.clone()), false)));
                group.inner.lock().offsets.recover(at, committed);
            }
        }
        Ok(groups)
    }

    fn find(&self, key: &GroupKey) -> Option<Arc<Group>> {
        self.table.lock().get(key).cloned()
    }

    fn find_or_make(&self, key: &GroupKey) -> Result<Arc<Group>, GroupError> {
        let mut table = self.table.lock();
        if let Some(group) = table.get(key) {
            return Ok(group.clone());
        }
        if table.len() >= self.settings.groups_max {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        let classic = Classic::new(self.settings.limits.clone());
        let group = Arc::new(Group::new(key.clone(), classic, false));
        table.insert(key.clone(), group.clone());
        Ok(group)
    }

    /// JoinGroup. The answer comes when the rebalance completes.
    pub fn join(&self, now: Instant, key: &GroupKey, request: JoinRequest) -> Answer<JoinResult> {
        let asked = MemberId::from(request.member_id.as_str());
        let lost = JoinRefused { error: GroupError::CoordinatorNotAvailable, member_id: asked.clone() };
        let (sender, later) = answer(Err(lost));
        let found = if key.id.is_empty() {
            Err(GroupError::InvalidGroupId)
        } else if request.member_id.is_empty() {
            self.find_or_make(key)
        } else {
            self.find(key).ok_or(GroupError::UnknownMemberId)
        };
        match found {
            Ok(group) => {
                group.step(&self.store, |inner, effects| {
                    let token = inner.wait(Waiter::Join(sender));
                    inner.classic.join(now, request, token, effects);
                });
                self.arm(&group);
            }
            Err(error) => _ = sender.send(Err(JoinRefused { error, member_id: asked })),
        }
        later
    }

    /// SyncGroup. A follower's answer comes with the leader's.
    pub fn sync(&self, now: Instant, key: &GroupKey, request: SyncRequest) -> Answer<SyncResult> {
        let (sender, later) = answer(Err(GroupError::CoordinatorNotAvailable));
        if key.id.is_empty() {
            _ = sender.send(Err(GroupError::InvalidGroupId));
        } else if let Some(group) = self.find(key) {
            group.step(&self.store, |inner, effects| {
                let token = inner.wait(Waiter::Sync(sender));
                inner.classic.sync(now, request, token, effects);
            });
            self.arm(&group);
        } else {
            _ = sender.send(Err(GroupError::UnknownMemberId));
        }
        later
    }

    pub fn heartbeat(
        &self,
        now: Instant,
        key: &GroupKey,
        member_id: &str,
        group_instance_id: Option<&str>,
        generation_id: i32,
    ) -> Result<(), GroupError> {
        if key.id.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let group = self.find(key).ok_or(GroupError::UnknownMemberId)?;
        group.inner.lock().classic.heartbeat(now, member_id, group_instance_id, generation_id)
    }

    /// LeaveGroup: (member id, group.instance.id) of each that leaves.
    pub fn leave(
        &self,
        now: Instant,
        key: &GroupKey,
        leaving: &[(String, Option<String>)],
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        if key.id.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let Some(group) = self.find(key) else {
            return Ok(vec![Err(GroupError::UnknownMemberId); leaving.len()]);
        };
        let outcomes = group.step(&self.store, |inner, effects| inner.classic.leave(now, leaving, effects));
        self.arm(&group);
        Ok(outcomes)
    }

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
            None if by.generation_id >= 0 => Err(GroupError::IllegalGeneration),
            None => self.find_or_make(key),
        };
        let group = match group {
            Ok(group) => group,
            Err(error) => {
                _ = sender.send(Err(error));
                return later;
            }
        };
        let mut inner = group.inner.lock();
        let allowed =
            inner.classic.validate_commit(now, by.member_id, by.group_instance_id, by.generation_id);
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
    /// As OffsetCommit.
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
        inner.classic.validate_commit(now, by.member_id, by.group_instance_id, by.generation_id)
    }

    /// A transaction's offsets are on their way to disk with its end: they are the group's from here on.
    pub(in crate::broker) fn on_transaction_submitted(
        &self,
        key: &GroupKey,
        offsets: impl Iterator<Item = TopicPartition>,
    ) {
        let made = || Arc::new(Group::new(key.clone(), Classic::new(self.settings.limits.clone()), false));
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

    /// OffsetDelete. `subscribes` reads a member's subscription (opaque here) for a topic.
    pub fn delete_offsets(
        &self,
        key: &GroupKey,
        partitions: &[TopicPartition],
        subscribes: &dyn Fn(&Bytes, Uuid) -> bool,
    ) -> Answer<CommitResult> {
        let (sender, later) = answer(Err(GroupError::CoordinatorNotAvailable));
        let Some(group) = self.find(key) else {
            _ = sender.send(Err(GroupError::GroupIdNotFound));
            return later;
        };
        let mut inner = group.inner.lock();
        let mut writes = Writes::default();
        let mut outcomes = Vec::new();
        for at in partitions {
            let c = &inner.classic;
            let taken =
                c.members.values().any(|m| subscribes(&m.metadata(c.protocol_name.as_deref()), at.topic));
            if taken {
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

    /// DescribeGroups.
    #[must_use]
    pub fn describe(&self, key: &GroupKey) -> Option<Description> {
        self.find(key).map(|g| g.describe())
    }

    /// ListGroups: every group of a vhost, by name.
    #[must_use]
    pub fn list(&self, vhost: &VhostName) -> Vec<Description> {
        let groups: Vec<Arc<Group>> =
            self.table.lock().iter().filter(|(k, _)| k.vhost == *vhost).map(|(_, g)| g.clone()).collect();
        let mut all: Vec<Description> = groups.iter().map(|g| g.describe()).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// DeleteGroups.
    pub fn delete(&self, key: &GroupKey) -> Answer<Result<(), GroupError>> {
        let (sender, later) = answer(Err(GroupError::CoordinatorNotAvailable));
        let outcome = match self.find(key) {
            None => Err(GroupError::GroupIdNotFound),
            Some(group) => self.end(&group, |_| true),
        };
        match outcome {
            Ok(Some(writes)) => {
                writes.submit(&self.store, move |outcome: Outcome| {
                    _ = sender.send(outcome.map_err(|_| GroupError::CoordinatorNotAvailable));
                });
            }
            Ok(None) => _ = sender.send(Err(GroupError::NonEmptyGroup)),
            Err(error) => _ = sender.send(Err(error)),
        }
        later
    }

    /// Marks a group dead if it has no members and `also` agrees; it leaves the table.
    fn end(
        &self,
        group: &Arc<Group>,
        also: impl FnOnce(&super::Inner) -> bool,
    ) -> Result<Option<Writes>, GroupError> {
        // Table, then group: nobody takes them the other way round.
        let mut table = self.table.lock();
        let mut inner = group.inner.lock();
        if !also(&inner) {
            return Ok(None);
        }
        inner.classic.delete()?;
        table.remove(&group.key);
        Ok(Some(group.delete_all(&mut inner)))
    }

    /// Drops what outlived `offsets.retention.minutes` in groups without members, and groups with nothing left.
    pub fn expire_offsets(&self, now_ms: i64) {
        for group in self.all() {
            let mut inner = group.inner.lock();
            if inner.classic.group_state() != super::GroupState::Empty {
                inner.empty_since_ms = None;
                continue;
            }
            let empty_since_ms = *inner.empty_since_ms.get_or_insert(now_ms);
            let mut writes = Writes::default();
            for at in inner.offsets.expired(now_ms, empty_since_ms, self.settings.offsets_retention_ms) {
                inner.offsets.remove(at);
                writes.delete(Space::State, keys::committed_offset(&group.key, at));
            }
            writes.submit_unwatched(&self.store);
            drop(inner);
            if empty_since_ms < now_ms {
                let unused =
                    |inner: &super::Inner| inner.offsets.is_empty() && inner.classic.pending.is_empty();
                if let Ok(Some(writes)) = self.end(&group, unused) {
                    writes.submit_unwatched(&self.store);
                }
            }
        }
    }

    /// A topic is gone: so are all offsets in it.
    pub fn topic_deleted(&self, topic: Uuid) {
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

    fn all(&self) -> Vec<Arc<Group>> {
        self.table.lock().values().cloned().collect()
    }

    /// When [`Groups::on_deadline`] wants to be called. The timer task sleeps until then, or until
    /// [`Groups::earlier_deadline`] says that it must look again.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        // Armed first, so that a deadline set meanwhile compares with nothing and wakes the timer.
        *self.armed.lock() = None;
        let next = self.all().iter().filter_map(|g| g.deadline()).min();
        let mut armed = self.armed.lock();
        *armed = match (*armed, next) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        *armed
    }

    /// Returns when a deadline appeared that is nearer than the one `next_deadline` gave.
    pub async fn earlier_deadline(&self) {
        self.earlier.notified().await;
    }

    pub fn on_deadline(&self, now: Instant) {
        for group in self.all() {
            if group.deadline().is_some_and(|at| at <= now) {
                group.step(&self.store, |inner, effects| inner.classic.on_deadline(now, effects));
            }
        }
    }

    fn arm(&self, group: &Group) {
        let Some(deadline) = group.deadline() else { return };
        let mut armed = self.armed.lock();
        if armed.is_none_or(|at| deadline < at) {
            *armed = Some(deadline);
            self.earlier.notify_one();
        }
    }
}

/// Who commits offsets: a member of a generation, or (-1 and empty) somebody outside the group protocol.
#[derive(Debug, Clone, Copy)]
pub struct Committer<'a> {
    pub member_id: &'a str,
    pub group_instance_id: Option<&'a str>,
    pub generation_id: i32,
}
