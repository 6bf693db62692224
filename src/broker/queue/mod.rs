//! Queues: a pure state behind one short lock, and what follows from a change of it.
//!
//! Durable work is put into the committer's inbox while the lock is held (lock order: queue, then outlet or inbox),
//! so that no acknowledgement overtakes its publish. Everything else that follows ([`state::Effects`]) happens once
//! the lock is free. Never are two queues locked at once.

mod arriving;
pub mod change;
pub mod consumers;
pub mod deadline;
pub mod delayed;
pub mod drops;
pub mod figures;
pub mod flow;
mod gather;
pub mod kept;
pub mod levels;
pub mod limits;
pub mod load;
pub mod paging;
mod parcel;
pub mod positions;
mod reading;
pub mod ready;
pub mod requeue;
mod reserving;
mod returned;
pub mod returns;
mod run;
pub mod runs;
pub mod serving;
pub mod state;
pub mod taking;
pub mod unsubmitted;
mod upkeep;

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use self::{
    change::{Flush, Forget, NoteReturns, PublishRun, Reserve},
    consumers::ConsumerSpec,
    flow::Flow,
    returns::Count,
    serving::Got,
    state::{Effects, State},
    taking::Overflow,
    unsubmitted::BatchId,
};
use super::{
    Core,
    arguments::{self, QueueKind},
    dead_letter,
    message::{Blob, Hold, Message},
    outlet::{Event, Outlet, Server},
    policy::Applied,
    receipt::Receipt,
    refusal::Refusal,
    vhost::Vhost,
};
use crate::{data::value::Table, store::Change};

/// Names a queue for ever: never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub u64);

/// A message's position in its queue: its level of priority in the highest eight bits, then its position there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Seq(pub u64);

impl Seq {
    const LEVEL_SHIFT: u32 = 56;

    /// The first position of a level.
    #[must_use]
    pub fn first_of(level: usize) -> Self {
        Self((level as u64) << Self::LEVEL_SHIFT)
    }

    /// Behind every position of the level.
    #[must_use]
    pub fn end_of(level: usize) -> Self {
        Self(Self::first_of(level).0 | ((1 << Self::LEVEL_SHIFT) - 1))
    }

    #[must_use]
    #[inline]
    pub fn level(self) -> usize {
        (self.0 >> Self::LEVEL_SHIFT) as usize
    }

    /// The position within its level.
    #[must_use]
    #[inline]
    pub fn in_level(self) -> u64 {
        self.0 & ((1 << Self::LEVEL_SHIFT) - 1)
    }
}

/// Names a consumer of the whole broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerId(pub u64);

/// Names a connection of the whole broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// A message in a queue, or on its way to a consumer.
#[derive(Debug, Clone)]
pub struct Entry {
    pub seq: Seq,
    pub message: Message,
    /// When it expires; `i64::MAX` = never.
    pub expires_ms: i64,
    pub redelivered: bool,
    /// How often a quorum queue got it back.
    pub returns: Count,
}

/// What a queue was declared with.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueOptions {
    /// As declared; an exclusive queue is not durable whatever this says.
    pub durable: bool,
    pub auto_delete: bool,
    pub exclusive: Option<ConnectionId>,
    pub arguments: Table,
}

impl QueueOptions {
    /// Survives a restart.
    #[must_use]
    pub fn survives(&self) -> bool {
        self.durable && self.exclusive.is_none()
    }
}

/// The queue is deleted: whoever routed to it routes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// What came of a batch that is part of a larger Change.
#[derive(Debug)]
pub(super) struct Taken {
    /// Until that Change is submitted.
    pub(super) id: BatchId,
    pub(super) overflow: Overflow,
    /// The caller is to move what this queue let go.
    pub(super) moves: bool,
}

/// A queue.
#[derive(Debug)]
pub struct Queue {
    pub id: QueueId,
    pub name: Arc<str>,
    pub vhost: Arc<str>,
    pub options: QueueOptions,
    pub kind: QueueKind,
    core: Arc<Core>,
    home: Weak<Vhost>,
    /// What policies say of it.
    applied: Mutex<Arc<Applied>>,
    state: Mutex<State>,
    flow: Flow,
}

impl Queue {
    #[must_use]
    pub fn new(
        core: Arc<Core>,
        id: QueueId,
        (home, vhost): (Weak<Vhost>, Arc<str>),
        name: Arc<str>,
        options: QueueOptions,
        state: State,
    ) -> Arc<Self> {
        let applied = Mutex::default();
        let (kind, state) = (arguments::kind_of(&options.arguments), Mutex::new(state));
        let flow = Flow::default();
        Arc::new(Self { id, name, vhost, options, kind, core, home, applied, state, flow })
    }

    /// Takes on what policies say of it, live; `None` when they say what they said before. What follows from it is to be
    /// done (`follow`) once no lock is held.
    #[must_use]
    pub fn apply(self: &Arc<Self>, applied: Applied) -> Option<Effects> {
        if **self.applied.lock() == applied {
            return None;
        }
        let arguments = applied.arguments(&self.options.arguments);
        *self.applied.lock() = Arc::new(applied);
        Some(self.reconfigure(&arguments))
    }

    /// What policies say of it.
    #[must_use]
    pub fn applied(&self) -> Arc<Applied> {
        self.applied.lock().clone()
    }

    /// Takes messages of a batch; the receipt, if any, waits for those that must be durable. The hold keeps the batch's
    /// chunk for other queues.
    ///
    /// # Errors
    /// [`Gone`] when the queue has been deleted.
    pub fn publish(
        self: &Arc<Self>,
        now_ms: i64,
        blob: &Arc<Blob>,
        ordinals: &[u32],
        receipt: Option<&Arc<Receipt>>,
        hold: Option<&Hold>,
    ) -> Result<Overflow, Gone> {
        self.take(now_ms, blob, ordinals, |first| {
            if let Some(receipt) = receipt {
                receipt.expect();
            }
            let mut change = PublishRun::new(self.clone(), first, blob.clone(), ordinals.len());
            change.receipt = receipt.cloned();
            change.hold = hold.cloned();
            self.core.store.submit(Box::new(change));
        })
    }

    /// As [`Queue::publish`], but what must last is added to `changes`, of which the caller makes one Change sooner or later.
    pub(super) fn publish_into(
        self: &Arc<Self>,
        now_ms: i64,
        blob: &Arc<Blob>,
        ordinals: &[u32],
        changes: &mut Vec<Box<dyn Change>>,
    ) -> Result<Overflow, Gone> {
        self.take(now_ms, blob, ordinals, |first| {
            changes.push(Box::new(PublishRun::new(self.clone(), first, blob.clone(), ordinals.len())));
        })
    }

    /// As [`Queue::publish_into`], for a Change that the caller submits without waiting for anything; then it says so
    /// ([`Queue::submitted`]). What this queue let go is the caller's to move, when its own move is done, and not from within
    /// it, however long a chain of queues is.
    pub(super) fn publish_with(
        self: &Arc<Self>,
        now_ms: i64,
        blob: &Arc<Blob>,
        ordinals: &[u32],
        changes: &mut Vec<Box<dyn Change>>,
    ) -> Result<Taken, Gone> {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        if state.gone {
            return Err(Gone);
        }
        let id = state.unsubmitted.open();
        let overflow = state.publish(now_ms, blob, ordinals, &mut effects, |first| {
            changes.push(Box::new(PublishRun::new(self.clone(), first, blob.clone(), ordinals.len())));
        });
        state.unsubmitted.close();
        self.deliver_locked(&mut state, now_ms, &mut effects);
        drop(state);
        let moves = std::mem::take(&mut effects.move_dead);
        self.follow(effects);
        Ok(Taken { id, overflow, moves })
    }

    /// `lasting` hears of each run that must go into the log, while the lock is held.
    fn take(
        self: &Arc<Self>,
        now_ms: i64,
        blob: &Arc<Blob>,
        ordinals: &[u32],
        lasting: impl FnMut(Seq),
    ) -> Result<Overflow, Gone> {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        if state.gone {
            return Err(Gone);
        }
        let overflow = state.publish(now_ms, blob, ordinals, &mut effects, lasting);
        self.deliver_locked(&mut state, now_ms, &mut effects);
        drop(state);
        self.follow(effects);
        Ok(overflow)
    }

    /// Serves consumers, and puts into the inbox what the log must learn of it.
    fn deliver_locked(self: &Arc<Self>, state: &mut State, now_ms: i64, effects: &mut Effects) {
        state.deliver(now_ms, effects);
        self.flow.judge(state);
        self.inbox(effects);
    }

    fn inbox(self: &Arc<Self>, effects: &mut Effects) {
        for to in effects.reserve.drain(..) {
            self.core.store.submit(Box::new(Reserve { queue: self.clone(), to }));
        }
        if let Some(bytes_max) = effects.counts.take() {
            self.core.store.submit(Box::new(NoteReturns { queue: self.clone(), bytes_max }));
        }
        if let Some(bytes) = effects.flush.take() {
            self.core.store.submit(Box::new(Flush::new(self.clone(), bytes)));
        }
        if let Some(earlier) = effects.deadline.take() {
            self.core.deadlines.arm(self, earlier);
        }
    }

    /// What happens once the lock is free.
    pub(super) fn follow(self: &Arc<Self>, effects: Effects) {
        let mut next = Some(effects);
        while let Some(effects) = next {
            let again = effects.again;
            self.follow_once(effects);
            next = again.then(|| {
                let mut effects = Effects::default();
                let mut state = self.state.lock();
                self.deliver_locked(&mut state, self.core.clock.now_ms(), &mut effects);
                effects
            });
        }
    }

    fn follow_once(self: &Arc<Self>, effects: Effects) {
        self.core.memory.add(effects.held_delta);
        // What is read may die as well, and goes with what has died.
        if !effects.load.is_empty() {
            self.load(effects.load);
        }
        if effects.move_dead {
            dead_letter::move_all(self);
        }
        if effects.retry_dead && self.retry_dead() {
            dead_letter::move_all(self);
        }
        for outlet in effects.stalled {
            if !outlet.stall(&Server::Queue(self.clone())) {
                self.resume(&outlet);
            }
        }
    }

    /// Serves whoever can be served.
    pub fn pump(self: &Arc<Self>) {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        state.consumers.resume_all();
        self.deliver_locked(&mut state, self.core.clock.now_ms(), &mut effects);
        let getters = state.take_getters();
        drop(state);
        self.follow(effects);
        getters.into_iter().for_each(|outlet| outlet.push(Event::Loaded));
    }

    /// A run's turn is durable.
    pub(super) fn run_durable(self: &Arc<Self>, first: Seq) {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        let now_ms = self.core.clock.now_ms();
        if state.run_durable(now_ms, first, &mut effects) {
            self.deliver_locked(&mut state, now_ms, &mut effects);
        }
        self.inbox(&mut effects);
        drop(state);
        self.follow(effects);
    }

    /// A run will never be in the log.
    pub(super) fn run_refused(self: &Arc<Self>, first: Seq) {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        let now_ms = self.core.clock.now_ms();
        state.run_refused(now_ms, first, &mut effects);
        self.deliver_locked(&mut state, now_ms, &mut effects);
        drop(state);
        self.follow(effects);
    }

    /// The outlet has room again.
    pub fn resume(self: &Arc<Self>, outlet: &Arc<Outlet>) {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        let waiting: Vec<_> =
            state.consumers.iter().filter(|c| Arc::ptr_eq(&c.spec.outlet, outlet)).map(|c| c.id).collect();
        waiting.into_iter().for_each(|id| state.consumers.resume(id));
        self.deliver_locked(&mut state, self.core.clock.now_ms(), &mut effects);
        drop(state);
        self.follow(effects);
    }

    /// Adds a consumer; it is served once its `consume-ok` is on its way: call [`Queue::pump`] then.
    ///
    /// # Errors
    /// [`Refusal::ExclusiveUse`] when another has the queue to itself, or this one asks for that too late.
    pub fn consume(self: &Arc<Self>, spec: ConsumerSpec) -> Result<ConsumerId, Refusal> {
        let mut state = self.state.lock();
        if state.gone {
            return Err(Refusal::NoQueue(self.name.to_string()));
        }
        // A quorum queue knows no exclusive consumers.
        let exclusive = spec.exclusive && self.kind == QueueKind::Classic;
        let spec = ConsumerSpec { exclusive, ..spec };
        let taken = !state.consumers.is_empty() && (spec.exclusive || state.consumers.exclusive());
        if taken || (spec.exclusive && state.consumers.single_active()) {
            return Err(Refusal::ExclusiveUse(self.name.to_string()));
        }
        // Only here, under the lock: the consumers of a queue are found by ids that rise.
        let id = self.core.ids.consumer();
        state.consume(id, spec);
        Ok(id)
    }

    /// Removes a consumer; true when the queue must now be deleted (auto-delete).
    #[must_use]
    pub fn cancel(self: &Arc<Self>, id: ConsumerId) -> bool {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        let last = state.cancel(id);
        state.used(self.core.clock.now_ms());
        self.deliver_locked(&mut state, self.core.clock.now_ms(), &mut effects);
        drop(state);
        self.follow(effects);
        last && self.options.auto_delete
    }

    /// `basic.get`; `outlet` hears when to ask again.
    pub fn get(self: &Arc<Self>, no_ack: bool, outlet: &Arc<Outlet>) -> Got {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        let got = state.get(self.core.clock.now_ms(), no_ack, outlet, &mut effects);
        self.flow.judge(&state);
        self.inbox(&mut effects);
        drop(state);
        self.follow(effects);
        got
    }

    /// Messages of one consumer (`None`: of `basic.get`) are acknowledged, or thrown away.
    pub fn settle<'e>(
        self: &Arc<Self>,
        consumer: Option<ConsumerId>,
        entries: impl Iterator<Item = &'e Entry>,
        acknowledged: bool,
    ) {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        if state.gone {
            return;
        }
        state.settle(consumer, entries, acknowledged);
        self.deliver_locked(&mut state, self.core.clock.now_ms(), &mut effects);
        drop(state);
        self.follow(effects);
    }

    /// Messages of one consumer (`None`: of `basic.get`) are rejected for good: they are dead-lettered, or lost.
    pub fn reject(self: &Arc<Self>, consumer: Option<ConsumerId>, entries: impl Iterator<Item = Entry>) {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        if state.gone {
            return;
        }
        state.reject(consumer, entries);
        self.deliver_locked(&mut state, self.core.clock.now_ms(), &mut effects);
        drop(state);
        self.follow(effects);
    }

    /// Drops the ready messages, and those that are delayed; returns how many there were.
    pub fn purge(self: &Arc<Self>) -> usize {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        let count = state.purge(&mut effects);
        self.flow.judge(&state);
        self.inbox(&mut effects);
        drop(state);
        self.follow(effects);
        count
    }

    /// Marks the queue as deleted if `check` allows it, and tells its consumers. Returns the ready messages that
    /// went with it.
    ///
    /// # Errors
    /// What `check` says.
    pub(super) fn end(
        self: &Arc<Self>,
        check: impl FnOnce(&State) -> Result<(), Refusal>,
    ) -> Result<usize, Refusal> {
        let mut effects = Effects::default();
        let (count, consumers, getters) = {
            let mut state = self.state.lock();
            if state.gone {
                return Ok(0);
            }
            check(&state)?;
            state.gone = true;
            if let Some(told_ms) = state.disarm() {
                self.core.deadlines.disarm(self.id, told_ms);
            }
            let count = state.ready.len();
            state.purge(&mut effects);
            state.forget();
            self.flow.judge(&state);
            effects.flush = effects.flush.take().or_else(|| state.flush_again());
            effects.counts = effects.counts.take().or_else(|| state.counts.flush());
            self.inbox(&mut effects);
            let noted = state.noted();
            if !noted.is_empty() {
                self.core.store.submit(Box::new(Forget(self.id, noted)));
            }
            (count, state.consumers.take(), state.take_getters())
        };
        self.follow(effects);
        getters.into_iter().for_each(|outlet| outlet.push(Event::Loaded));
        for consumer in consumers {
            let (channel, consumer_id) = (consumer.spec.channel, consumer.id);
            consumer.spec.outlet.push(Event::Cancelled { channel, consumer: consumer_id });
        }
        Ok(count)
    }

    /// The consumers, for the admin API.
    #[must_use]
    pub fn consumers(&self) -> Vec<ConsumerSpec> {
        self.state.lock().consumers.iter().map(|c| c.spec.clone()).collect()
    }

    /// How long a delivery may stay unacknowledged, if the queue says so itself.
    #[must_use]
    pub fn consumer_timeout_ms(&self) -> Option<u64> {
        self.state.lock().consumer_timeout_ms
    }

    /// The tag of the one that is served, where only one is (`x-single-active-consumer`).
    #[must_use]
    pub fn active_consumer_tag(&self) -> Option<Arc<str>> {
        let state = self.state.lock();
        let mut consumers = state.consumers.iter().filter(|_| state.consumers.single_active());
        let active = consumers.find(|c| state.consumers.is_active(c.id))?;
        Some(active.spec.consumer_tag.clone())
    }

    /// Whether it serves one consumer at a time.
    #[must_use]
    pub fn single_active(&self) -> bool {
        self.state.lock().consumers.single_active()
    }

    /// Whether messages of this queue can survive a restart.
    #[must_use]
    pub fn survives(&self) -> bool {
        self.options.survives()
    }

    /// Whether the queue has been deleted.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.state.lock().gone
    }

    /// A clean end: the log learns up to where messages were delivered.
    pub fn note_delivered(self: &Arc<Self>) {
        let state = self.state.lock();
        for to in state.delivered_to().into_iter().filter(|_| !state.gone) {
            self.core.store.submit(Box::new(Reserve { queue: self.clone(), to }));
        }
    }

    pub(super) fn with_state<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock())
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // What was told, not what is held: a mover may have taken dead letters since.
        let told = self.state.get_mut().held_told();
        self.core.memory.add(-told.cast_signed());
    }
}
