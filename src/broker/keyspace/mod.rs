//! Keys and their values, for clients that know no exchanges: lists that are queues, and what a user of queues has
//! beside them. Each vhost has [`DBS`] name spaces of them.
//!
//! [`state`] is pure, [`Keyspace`] the lock around it. Whoever comes in by [`Keyspace::enter`] sees nobody else's changes
//! until it leaves, and what it changed goes into the log as one Change. [`waiters`] are served behind every operation.

pub mod blocking;
pub mod fields;
pub mod journal;
pub mod lending;
pub mod place;
mod records;
mod recovery;
pub mod sorted;
pub mod state;
pub mod stream;
pub mod text;
pub mod value;
pub mod waiters;

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Weak},
};

use parking_lot::{Mutex, MutexGuard};

pub(super) use recovery::recover;

use self::{
    journal::{Journal, Slots},
    state::{State, WrongType},
    value::OfKind,
    waiters::{Db, Name, ServedWith, WaiterId, Wants},
};
use super::{
    Core,
    outlet::{Event, Outlet},
    queue::{ConsumerId, QueueId, deadline::Earlier},
    vhost::Vhost,
};
use crate::store::{Durability, Ticket};

/// Name spaces of a vhost.
pub const DBS: Db = 16;

/// With those of what is lent.
const SPACES: Db = 2 * DBS;

/// The keys of one vhost.
#[derive(Debug)]
pub struct Keyspace {
    core: Arc<Core>,
    home: Weak<Vhost>,
    /// Among the deadlines.
    id: QueueId,
    me: Weak<Self>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// What the alarms know of.
    told_bytes: usize,
    /// What the deadlines know of.
    told_ms: Option<i64>,
}

impl Keyspace {
    #[must_use]
    pub fn new(core: &Arc<Core>, vhost: Arc<str>, home: Weak<Vhost>) -> Arc<Self> {
        let forgetful = core.store.durability() == Durability::None;
        let journal = if forgetful { Journal::forgetful() } else { Journal::default() };
        let state = State::new(vhost, journal);
        Arc::new_cyclic(|me| Self {
            core: core.clone(),
            home,
            id: core.ids.queue(),
            me: me.clone(),
            inner: Mutex::new(Inner { state, told_bytes: 0, told_ms: None }),
        })
    }

    /// Comes in: what has had its time is gone, and nobody else changes anything until [`Access::leave`].
    pub fn enter(&self, now_ms: i64) -> Access<'_> {
        let mut inner = self.inner.lock();
        inner.state.expire_due(now_ms);
        Access { keyspace: self, inner, now_ms }
    }

    /// Domain time.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.core.clock.now_ms()
    }

    pub(super) fn new_consumer(&self) -> ConsumerId {
        self.core.ids.consumer()
    }

    /// The deadline has come.
    pub(super) fn on_deadline(&self, now_ms: i64) {
        let mut access = self.enter(now_ms);
        access.inner.told_ms = None;
        access.leave();
    }

    /// Everything goes: the vhost is gone.
    pub(super) fn clear(&self, now_ms: i64) -> Option<Ticket> {
        let mut access = self.enter(now_ms);
        (0..SPACES).for_each(|db| access.flush(db));
        access.leave()
    }
}

/// The keys of a vhost, and nobody else among them.
#[derive(Debug)]
pub struct Access<'a> {
    keyspace: &'a Keyspace,
    inner: MutexGuard<'a, Inner>,
    /// The moment of the visit: nothing expires during it.
    pub now_ms: i64,
}

impl Access<'_> {
    /// Changes the value of a key, and makes the key where there is none.
    ///
    /// # Errors
    /// [`WrongType`].
    pub fn change_or_make<T: OfKind, R>(
        &mut self,
        db: Db,
        key: &[u8],
        change: impl FnOnce(&mut T, &mut Slots<'_>) -> R,
    ) -> Result<R, WrongType> {
        let ids = &self.keyspace.core.ids;
        let changed = self.inner.state.change_or_make(|| ids.queue(), db, key, change)?;
        changed.ok_or(WrongType)
    }

    /// Bytes that were changed in this visit and will go into the log together.
    #[must_use]
    pub fn changed_bytes(&self) -> usize {
        self.inner.state.journal.len()
    }

    /// Clients that wait for a key.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.state.waiters.len() - self.inner.state.lending.waiting()
    }

    /// Keys that went because their time had come.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.inner.state.expired
    }

    /// What all keys take in memory.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.inner.state.bytes
    }

    /// Goes: what was changed is in the committer's inbox, in the order of the visits. The ticket says when it lasts. The
    /// topics of streams that are gone go behind it, for which the topology is locked: whoever has that, or another lock
    /// before the keys', goes by [`Access::leave_within`].
    pub fn leave(mut self) -> Option<Ticket> {
        let (keyspace, gone) = (self.keyspace, std::mem::take(&mut self.inner.state.gone_streams));
        let ticket = self.end(false);
        keyspace.drop_topics(gone);
        ticket
    }

    /// As [`Access::leave`], for whoever may hold a lock. What it found gone had had its time, and its topics go when the
    /// deadline of the keys is looked at.
    pub fn leave_within(self) -> Option<Ticket> {
        self.end(false)
    }

    /// As [`Access::leave_within`], when nobody waits for it: it waits for somebody else's turn.
    pub fn leave_lazily(self) {
        self.end(true);
    }

    fn end(mut self, lazy: bool) -> Option<Ticket> {
        self.serve();
        let ticket = self.submit(lazy);
        for (outlet, mut served) in std::mem::take(&mut self.inner.state.served) {
            served.ticket = ticket;
            outlet.push(Event::Served(served));
        }
        self.tell_alarms();
        self.tell_deadlines();
        ticket
    }

    fn submit(&mut self, lazy: bool) -> Option<Ticket> {
        let journal = &mut self.inner.state.journal;
        if journal.is_empty() {
            return None;
        }
        let store = &self.keyspace.core.store;
        let mut changes = journal.take(lazy).into_iter();
        let ticket = changes.next().map(|change| store.submit(Box::new(change)));
        for tidying in changes {
            store.submit(Box::new(tidying));
        }
        ticket
    }

    fn tell_alarms(&mut self) {
        let Inner { state, told_bytes, .. } = &mut *self.inner;
        if state.bytes != *told_bytes {
            self.keyspace.core.memory.add(state.bytes.cast_signed() - told_bytes.cast_signed());
            *told_bytes = state.bytes;
        }
    }

    fn tell_deadlines(&mut self) {
        let Inner { state, told_ms, .. } = &mut *self.inner;
        if let Some(at_ms) = state.next_expiry_ms()
            && told_ms.is_none_or(|told| at_ms < told)
            && let Some(keyspace) = self.keyspace.me.upgrade()
        {
            let earlier = Earlier { told_ms: told_ms.replace(at_ms), at_ms };
            self.keyspace.core.deadlines.arm_keyspace(keyspace.id, &keyspace, earlier);
        }
    }
}

impl Deref for Access<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.inner.state
    }
}

impl DerefMut for Access<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.inner.state
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        self.core.memory.add(-inner.told_bytes.cast_signed());
        if let Some(told_ms) = inner.told_ms {
            self.core.deadlines.disarm(self.id, told_ms);
        }
    }
}
