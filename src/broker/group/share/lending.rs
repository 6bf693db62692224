//! The shell around share partitions: which there are, their records in the store, who waits for what is given back; and
//! the share sessions of members.
//!
//! A lending itself is not written: after a crash it never was. What comes of it is written before it is answered, with
//! how often each record has been lent. Locks end when somebody looks: whoever waits for them knows when.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;
use uuid::Uuid;

use super::partition::{
    Acknowledgement, Acquired, NotAcknowledged, ReadBatch, SharePartition, ShareTerms, Wanted,
};
use crate::{
    broker::{
        group::{
            Answer, GroupKey, Groups, answer, error::GroupError, member::MemberId, offsets::TopicPartition,
        },
        topic::{
            keys,
            waiters::Waiter,
            writes::{Outcome, Writes},
        },
    },
    store::{Space, Store},
};

/// All share partitions and share sessions.
pub struct Shares {
    partitions: Mutex<HashMap<(GroupKey, TopicPartition), Arc<SharedPartition>>>,
    sessions: Mutex<HashMap<(GroupKey, MemberId), Session>>,
    sessions_max: usize,
    store: Store,
}

/// What a member reads, said once, and the number of its next request.
#[derive(Debug)]
struct Session {
    partitions: Vec<TopicPartition>,
    epoch: i32,
}

/// Why a request does not fit its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionError {
    NotFound,
    InvalidEpoch,
    LimitReached,
}

/// How far a share group is in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareOffset {
    pub at: TopicPartition,
    pub start: i64,
    /// Records done with behind the start.
    pub done_ahead: i64,
}

/// What an acquisition of one partition came to.
pub type Lent = Vec<Acquired>;

/// One share partition, shared by those who fetch.
pub struct SharedPartition {
    key: Vec<u8>,
    at: TopicPartition,
    store: Store,
    inner: Mutex<Inner>,
}

struct Inner {
    state: SharePartition,
    waiters: Vec<Weak<Waiter>>,
    /// Its group or its topic has been deleted, or its offset set anew: nothing more is written.
    gone: bool,
}

impl Inner {
    fn wake(&mut self) -> Vec<Arc<Waiter>> {
        std::mem::take(&mut self.waiters).iter().filter_map(Weak::upgrade).collect()
    }
}

impl SharedPartition {
    /// Looks at it as it is now: locks whose time is over have ended, and the log may begin later.
    pub fn look(&self, now: Instant, log_start: i64, terms: &ShareTerms) -> SharePartition {
        let mut inner = self.inner.lock();
        let expired = inner.state.expire(now, terms);
        let trimmed = inner.state.trim(log_start);
        if expired || trimmed {
            self.write(&inner).submit_unwatched(&self.store);
        }
        let state = inner.state.clone();
        let waiting = if expired { inner.wake() } else { Vec::new() };
        drop(inner);
        waiting.iter().for_each(|waiter| waiter.fire());
        state
    }

    /// Lends records of what was read.
    pub fn acquire(
        &self,
        now: Instant,
        member: &MemberId,
        from: i64,
        batches: &[ReadBatch],
        wanted: Wanted,
        terms: &ShareTerms,
    ) -> Lent {
        let mut inner = self.inner.lock();
        if inner.gone { Vec::new() } else { inner.state.acquire(now, member, from, batches, wanted, terms) }
    }

    /// Fires `waiter` once something is given back (at once, if something has been).
    pub fn wait(&self, waiter: &Arc<Waiter>) {
        let mut inner = self.inner.lock();
        if inner.state.has_available() {
            drop(inner);
            waiter.fire();
        } else {
            inner.waiters.retain(|other| other.strong_count() > 0);
            inner.waiters.push(Arc::downgrade(waiter));
        }
    }

    /// Acknowledges; durable when the answer comes.
    pub fn acknowledge(
        &self,
        now: Instant,
        member: &MemberId,
        acknowledgements: &[Acknowledgement],
        terms: &ShareTerms,
    ) -> Result<Answer<Result<(), GroupError>>, NotAcknowledged> {
        let (sender, later) = answer(Err(GroupError::CoordinatorNotAvailable));
        let mut inner = self.inner.lock();
        inner.state.expire(now, terms);
        inner.state.acknowledge(now, member, acknowledgements, terms)?;
        // Under the lock, so that the newest state is the last to be written.
        self.write(&inner).submit(&self.store, |outcome: Outcome| {
            _ = sender.send(outcome.map_err(|_| GroupError::CoordinatorNotAvailable));
        });
        let waiting = if inner.state.has_available() { inner.wake() } else { Vec::new() };
        drop(inner);
        waiting.iter().for_each(|waiter| waiter.fire());
        Ok(later)
    }

    fn release(&self, member: &MemberId) {
        let mut inner = self.inner.lock();
        if inner.state.release(member) {
            self.write(&inner).submit_unwatched(&self.store);
            let waiting = inner.wake();
            drop(inner);
            waiting.iter().for_each(|waiter| waiter.fire());
        }
    }

    fn write(&self, inner: &Inner) -> Writes {
        let mut writes = Writes::default();
        if !inner.gone {
            writes.put(Space::State, self.key.clone(), inner.state.encode());
        }
        writes
    }

    fn end(&self, writes: &mut Writes) {
        let mut inner = self.inner.lock();
        inner.gone = true;
        writes.delete(Space::State, self.key.clone());
        let waiting = inner.wake();
        drop(inner);
        waiting.iter().for_each(|waiter| waiter.fire());
    }
}

impl Shares {
    pub(in crate::broker::group) fn new(store: Store, sessions_max: usize) -> Self {
        Self { partitions: Mutex::default(), sessions: Mutex::default(), sessions_max, store }
    }

    pub(in crate::broker::group) fn recover(&self, key: &[u8], value: &Bytes) {
        let Some((group, at)) = keys::parse_share_partition(key) else { return };
        match SharePartition::decode(value) {
            Some(state) => self.insert(group, at, state),
            None => tracing::warn!(group = &*group.id, "a share partition cannot be read back"),
        }
    }

    fn insert(&self, group: GroupKey, at: TopicPartition, state: SharePartition) {
        let shared = self.make(&group, at, state);
        self.partitions.lock().insert((group, at), shared);
    }

    fn make(&self, group: &GroupKey, at: TopicPartition, state: SharePartition) -> Arc<SharedPartition> {
        Arc::new(SharedPartition {
            key: keys::share_partition(group, at),
            at,
            store: self.store.clone(),
            inner: Mutex::new(Inner { state, waiters: Vec::new(), gone: false }),
        })
    }

    #[must_use]
    pub fn find(&self, group: &GroupKey, at: TopicPartition) -> Option<Arc<SharedPartition>> {
        self.partitions.lock().get(&(group.clone(), at)).cloned()
    }

    /// A partition that a group begins to read at `start`, unless it has begun meanwhile.
    pub fn begin(&self, group: &GroupKey, at: TopicPartition, start: i64) -> Arc<SharedPartition> {
        let mut partitions = self.partitions.lock();
        let made = || {
            let shared = self.make(group, at, SharePartition::new(start));
            shared.write(&shared.inner.lock()).submit_unwatched(&self.store);
            shared
        };
        partitions.entry((group.clone(), at)).or_insert_with(made).clone()
    }

    /// How far a group is, by topic and partition.
    #[must_use]
    pub fn offsets(&self, group: &GroupKey) -> Vec<ShareOffset> {
        let partitions = self.partitions.lock();
        let of_group = partitions.iter().filter(|((key, _), _)| key == group);
        let mut all: Vec<ShareOffset> = of_group
            .map(|((_, at), shared)| {
                let inner = shared.inner.lock();
                ShareOffset { at: *at, start: inner.state.start(), done_ahead: inner.state.done_ahead() }
            })
            .collect();
        all.sort_by_key(|offset| offset.at);
        all
    }

    /// Begins anew at the given offsets; durable when the answer comes.
    pub fn alter(&self, group: &GroupKey, to: &[(TopicPartition, i64)]) -> Answer<Result<(), GroupError>> {
        let (sender, later) = answer(Err(GroupError::CoordinatorNotAvailable));
        let mut writes = Writes::default();
        let mut partitions = self.partitions.lock();
        for (at, start) in to {
            let shared = self.make(group, *at, SharePartition::new(*start));
            if let Some(old) = partitions.insert((group.clone(), *at), shared.clone()) {
                old.end(&mut writes);
            }
            let state = shared.inner.lock().state.encode();
            writes.put(Space::State, shared.key.clone(), state);
        }
        writes.submit(&self.store, |outcome: Outcome| {
            _ = sender.send(outcome.map_err(|_| GroupError::CoordinatorNotAvailable));
        });
        later
    }

    /// Forgets how far a group is in a topic. `None`: it never read it. Durable when the answer comes.
    pub fn forget(&self, group: &GroupKey, topic: Uuid) -> Option<Answer<Result<(), GroupError>>> {
        let (sender, later) = answer(Err(GroupError::CoordinatorNotAvailable));
        let mut writes = Writes::default();
        if !self.end(&mut writes, |key, at| key == group && at.topic == topic) {
            return None;
        }
        writes.submit(&self.store, |outcome: Outcome| {
            _ = sender.send(outcome.map_err(|_| GroupError::CoordinatorNotAvailable));
        });
        Some(later)
    }

    /// Ends share partitions. Whether there were any.
    pub(in crate::broker::group) fn end(
        &self,
        writes: &mut Writes,
        which: impl Fn(&GroupKey, TopicPartition) -> bool,
    ) -> bool {
        let mut partitions = self.partitions.lock();
        let before = partitions.len();
        partitions.retain(|(key, at), shared| {
            let ends = which(key, *at);
            if ends {
                shared.end(writes);
            }
            !ends
        });
        partitions.len() < before
    }

    /// Topics that some group reads.
    pub(in crate::broker::group) fn topics(&self) -> HashSet<Uuid> {
        self.partitions.lock().values().map(|shared| shared.at.topic).collect()
    }

    /// A member begins a session (epoch 0).
    ///
    /// # Errors
    /// When there are too many.
    pub fn open_session(
        &self,
        group: &GroupKey,
        member: &MemberId,
        partitions: Vec<TopicPartition>,
    ) -> Result<Vec<TopicPartition>, SessionError> {
        let mut sessions = self.sessions.lock();
        let key = (group.clone(), member.clone());
        if sessions.len() >= self.sessions_max && !sessions.contains_key(&key) {
            return Err(SessionError::LimitReached);
        }
        sessions.insert(key, Session { partitions: partitions.clone(), epoch: 1 });
        Ok(partitions)
    }

    /// The next request of a session, which may add partitions and forget others: what it reads from here on.
    ///
    /// # Errors
    /// When there is no such session, or it is not its next request.
    pub fn next_in_session(
        &self,
        group: &GroupKey,
        member: &MemberId,
        epoch: i32,
        add: &[TopicPartition],
        forget: &[TopicPartition],
    ) -> Result<Vec<TopicPartition>, SessionError> {
        let mut sessions = self.sessions.lock();
        let session = sessions.get_mut(&(group.clone(), member.clone())).ok_or(SessionError::NotFound)?;
        if session.epoch != epoch {
            return Err(SessionError::InvalidEpoch);
        }
        session.epoch = session.epoch.checked_add(1).unwrap_or(1);
        for at in add {
            if !session.partitions.contains(at) {
                session.partitions.push(*at);
            }
        }
        session.partitions.retain(|at| !forget.contains(at));
        // Another one is first the next time, so that none starves.
        let now = session.partitions.clone();
        if !session.partitions.is_empty() {
            session.partitions.rotate_left(1);
        }
        Ok(now)
    }

    #[must_use]
    pub fn has_session(&self, group: &GroupKey, member: &MemberId) -> bool {
        self.sessions.lock().contains_key(&(group.clone(), member.clone()))
    }

    /// A session ends, and what its member was lent is given back.
    pub fn close_session(&self, group: &GroupKey, member: &MemberId) {
        self.sessions.lock().remove(&(group.clone(), member.clone()));
        let of_group: Vec<Arc<SharedPartition>> = {
            let partitions = self.partitions.lock();
            partitions.iter().filter(|((key, _), _)| key == group).map(|(_, shared)| shared.clone()).collect()
        };
        of_group.iter().for_each(|shared| shared.release(member));
    }
}

/// The sessions that a connection began. They end with it.
pub struct ShareSessions {
    groups: Arc<Groups>,
    open: Mutex<HashSet<(GroupKey, MemberId)>>,
}

impl ShareSessions {
    #[must_use]
    pub fn new(groups: Arc<Groups>) -> Self {
        Self { groups, open: Mutex::default() }
    }

    pub fn began(&self, group: &GroupKey, member: &MemberId) {
        self.open.lock().insert((group.clone(), member.clone()));
    }

    pub fn ended(&self, group: &GroupKey, member: &MemberId) {
        self.open.lock().remove(&(group.clone(), member.clone()));
    }
}

impl Drop for ShareSessions {
    fn drop(&mut self) {
        for (group, member) in self.open.get_mut().drain() {
            self.groups.shares.close_session(&group, &member);
        }
    }
}
