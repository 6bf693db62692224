//! The table of groups of all vhosts, and every call a door makes on a group.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::{
    Answer, Description, Group, GroupKey, Waiter, answer,
    classic::{Classic, Limits},
    config::{Defaults, GroupConfig},
    consumer::{Beat, ConsumerDescription, Heartbeat, Moment, Terms},
    error::{GroupError, Refused},
    machine::Machine,
    member::{JoinRefused, JoinRequest, JoinResult, MemberId, SyncRequest, SyncResult},
    offsets::Committed,
    share::{ShareDescription, ShareHeartbeat, Shares},
    topics::VhostTopics,
};
use crate::{
    broker::topic::{
        Topics, VhostName, keys,
        writes::{Outcome, Writes},
    },
    store::{Space, Store, StoreError},
};

/// What groups are held to.
#[derive(Debug, Clone)]
pub struct Settings {
    pub limits: Limits,
    /// Of consumer groups, where a group sets nothing itself.
    pub defaults: Defaults,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// A peer makes a group by naming it; here it ends.
    pub groups_max: usize,
    /// `group.share.max.share.sessions`.
    pub share_sessions_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            defaults: Defaults::default(),
            offsets_retention_ms: Duration::from_secs(7 * 24 * 3_600)
                .as_millis()
                .try_into()
                .unwrap_or(i64::MAX),
            offset_metadata_bytes_max: 4_096,
            groups_max: 100_000,
            share_sessions_max: 2_000,
        }
    }
}

/// All groups.
pub struct Groups {
    pub(super) table: Mutex<HashMap<GroupKey, Arc<Group>>>,
    pub(super) configs: RwLock<HashMap<GroupKey, Arc<GroupConfig>>>,
    pub(super) topics: Arc<Topics>,
    /// What share groups are lent.
    pub shares: Shares,
    pub(super) store: Store,
    pub(super) settings: Settings,
    /// The earliest deadline the timer knows of; `earlier` says that there is a new one.
    armed: Mutex<Option<Instant>>,
    earlier: Notify,
}

impl Groups {
    #[must_use]
    pub fn new(store: Store, topics: Arc<Topics>, settings: Settings) -> Self {
        let (armed, earlier) = (Mutex::new(None), Notify::new());
        let (table, configs) = (Mutex::default(), RwLock::default());
        let shares = Shares::new(store.clone(), settings.share_sessions_max);
        Self { table, configs, topics, shares, store, settings, armed, earlier }
    }

    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Rebuilds all groups. Members keep their place; their sessions begin anew.
    pub fn recover(
        store: Store,
        topics: Arc<Topics>,
        settings: Settings,
        now: Instant,
    ) -> Result<Self, StoreError> {
        let groups = Self::new(store, topics, settings);
        for (key, value) in groups.store.scan(Space::State, keys::GROUP_CONFIGS)? {
            keys::parse_group_config(&key).into_iter().for_each(|key| groups.recover_config(key, &value));
        }
        {
            let mut table = groups.table.lock();
            for (key, value) in groups.store.scan(Space::State, keys::GROUPS)? {
                let Some(key) = keys::parse_group(&key) else { continue };
                let Some(machine) = Machine::decode(&value, now, &groups.settings.limits) else { continue };
                table.insert(key.clone(), Arc::new(Group::new(key, machine, true)));
            }
            for (key, value) in groups.store.scan(Space::State, keys::GROUP_MEMBERS)? {
                let Some((key, id)) = keys::parse_group_member(&key) else { continue };
                let Some(group) = table.get(&key) else { continue };
                let session = groups.terms(&key).session_timeout;
                if !group.inner.lock().machine.recover_member(&id, &value, now, session) {
                    tracing::warn!(group = &*key.id, member = &*id.0, "a group's member cannot be read back");
                }
            }
            for (key, value) in groups.store.scan(Space::State, keys::SHARE_PARTITIONS)? {
                groups.shares.recover(&key, &value);
            }
            for (key, value) in groups.store.scan(Space::State, keys::COMMITTED_OFFSETS)? {
                let Some((key, at)) = keys::parse_committed_offset(&key) else { continue };
                let Some(committed) = Committed::decode(&value) else { continue };
                let made = || Arc::new(Group::new(key.clone(), groups.empty_machine(), false));
                let group = table.entry(key.clone()).or_insert_with(made);
                group.inner.lock().offsets.recover(at, committed);
            }
        }
        Ok(groups)
    }

    pub(super) fn empty_machine(&self) -> Machine {
        Machine::Classic(Classic::new(self.settings.limits.clone()))
    }

    /// What a consumer group is held to at the moment.
    #[must_use]
    pub fn terms(&self, key: &GroupKey) -> Terms {
        self.config(key).terms(&self.settings.defaults)
    }

    /// Runs the machine of a group, with everything it must know.
    fn step<R>(
        &self,
        now: Instant,
        group: &Group,
        act: impl FnOnce(&mut super::Inner, Moment<'_>, &mut super::Effects) -> R,
    ) -> R {
        let key = &group.key;
        let topics = VhostTopics { topics: &self.topics, vhost: &key.vhost };
        let terms = self.terms(key);
        let at = Moment { now, group: &key.id, topics: &topics, terms: &terms };
        let result = group.step(&self.store, |inner, effects| act(inner, at, effects));
        self.arm(group);
        result
    }

    pub(super) fn find(&self, key: &GroupKey) -> Option<Arc<Group>> {
        self.table.lock().get(key).cloned()
    }

    pub(super) fn find_or_make(&self, key: &GroupKey) -> Result<Arc<Group>, GroupError> {
        let mut table = self.table.lock();
        if let Some(group) = table.get(key) {
            return Ok(group.clone());
        }
        if table.len() >= self.settings.groups_max {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        let group = Arc::new(Group::new(key.clone(), self.empty_machine(), false));
        table.insert(key.clone(), group.clone());
        Ok(group)
    }

    /// A group that was made for a request which was then refused goes again: nobody sees it.
    fn forget_unused(&self, group: &Arc<Group>) {
        let unused =
            |inner: &super::Inner| !inner.persisted && inner.offsets.is_empty() && inner.machine.is_unused();
        if unused(&group.inner.lock())
            && let Ok(Some(writes)) = self.end(group, unused)
        {
            writes.submit_unwatched(&self.store);
        }
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
                self.step(now, &group, |inner, at, effects| {
                    let token = inner.wait(Waiter::Join(sender));
                    inner.machine.join(at, &self.settings.limits, request, token, effects);
                });
                self.forget_unused(&group);
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
            self.step(now, &group, |inner, at, effects| {
                let token = inner.wait(Waiter::Sync(sender));
                inner.machine.sync(at, request, token, effects);
            });
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
        self.step(now, &group, |inner, at, _| {
            inner.machine.heartbeat(at, member_id, group_instance_id, generation_id)
        })
    }

    /// The group of a heartbeat: one that joins makes it where there is none.
    fn heard_from(&self, key: &GroupKey, member_epoch: i32, kind: &str) -> Result<Arc<Group>, Refused> {
        match self.find(key) {
            Some(group) => Ok(group),
            None if member_epoch == 0 => self.find_or_make(key).map_err(Refused::from),
            None => {
                // Kafka says it otherwise to one that leaves.
                let kind = if member_epoch < 0 { "Group".to_owned() } else { format!("{kind} group") };
                let text = format!("{kind} {} not found.", key.id);
                Err(Refused::new(GroupError::GroupIdNotFound, text))
            }
        }
    }

    /// ConsumerGroupHeartbeat. The answer comes when what it says is durable.
    pub fn consumer_heartbeat(
        &self,
        now: Instant,
        key: &GroupKey,
        request: Heartbeat,
    ) -> Answer<Result<Beat, Refused>> {
        let (sender, later) = answer(Err(GroupError::CoordinatorNotAvailable.into()));
        match self.heard_from(key, request.member_epoch, "Consumer") {
            Ok(group) => {
                self.step(now, &group, |inner, at, effects| {
                    let result =
                        inner.machine.consumer_heartbeat(at, &self.settings.limits, request, effects);
                    inner.answer_beat(sender, result);
                });
                self.forget_unused(&group);
            }
            Err(refused) => _ = sender.send(Err(refused)),
        }
        later
    }

    /// ShareGroupHeartbeat. The answer comes when what it says is durable.
    pub fn share_heartbeat(
        &self,
        now: Instant,
        key: &GroupKey,
        request: ShareHeartbeat,
    ) -> Answer<Result<Beat, Refused>> {
        let (sender, later) = answer(Err(GroupError::CoordinatorNotAvailable.into()));
        match self.heard_from(key, request.member_epoch, "Share") {
            Ok(group) => {
                self.step(now, &group, |inner, at, effects| {
                    let has_offsets = !inner.offsets.is_empty();
                    let result = match &inner.machine {
                        Machine::Classic(_) if has_offsets => {
                            let text = format!("Group {} is not a share group.", at.group);
                            Err(Refused::new(GroupError::GroupIdNotFound, text))
                        }
                        Machine::Classic(_) | Machine::Consumer(_) | Machine::Share(_) => {
                            inner.machine.share_heartbeat(at, request, effects)
                        }
                    };
                    inner.answer_beat(sender, result);
                });
                self.forget_unused(&group);
            }
            Err(refused) => _ = sender.send(Err(refused)),
        }
        later
    }

    /// ShareGroupDescribe. `Some(None)`: it is a group of another type.
    #[must_use]
    pub fn describe_share(&self, key: &GroupKey) -> Option<Option<ShareDescription>> {
        self.find(key).map(|group| group.describe_share())
    }

    /// ConsumerGroupDescribe. `Some(None)`: it is a group of another type.
    #[must_use]
    pub fn describe_consumer(&self, key: &GroupKey) -> Option<Option<ConsumerDescription>> {
        self.find(key).map(|group| group.describe_consumer())
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
        Ok(self.step(now, &group, |inner, at, effects| {
            inner.machine.leave(at, &self.settings.limits, leaving, effects)
        }))
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
    pub(super) fn end(
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
        inner.machine.delete()?;
        table.remove(&group.key);
        let mut writes = group.delete_all(&mut inner);
        self.shares.end(&mut writes, |key, _| *key == group.key);
        Ok(Some(writes))
    }

    pub(super) fn all(&self) -> Vec<Arc<Group>> {
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
                self.step(now, &group, |inner, at, effects| {
                    inner.machine.on_deadline(at, &self.settings.limits, effects);
                });
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
