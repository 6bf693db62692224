//! Back-pressure: whether a queue is ahead of its consumers, and who is held up until they have caught up.
//!
//! A queue is *behind* while much waits in it for a consumer that would take more at once, if only its connection wrote
//! faster. Who publishes to such a queue is not read for a moment: until consumers have taken twice as many as the last
//! read brought, or the queue is nearly empty. So a backlog that nobody asked for stays small, and what is published
//! is delivered soon. Those who are held up go on in turn; what one of them adds counts for the next.
//!
//! A backlog that somebody did ask for is nobody's business here: without a consumer, or with one that has all the
//! messages it wants unacknowledged (`basic.qos`), the queue takes what comes as fast as it comes. Neither is a consumer
//! waited for that takes nothing for [`PATIENCE`]: its client may be the one that is held up here. It counts again when it
//! has taken something. (RabbitMQ: credit flow, `{credit_flow, 400, 200}` from channel to queue.)
//!
//! A queue that refuses what it has no room for (`x-overflow` = `reject-publish`) is waited for by publishers that do not
//! give up what was refused: they hear [`Event::GoOn`] once it has some.
//!
//! Dead letters pass it on: the queue that let go of them is behind when the queue that they go to is.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::{Queue, state::State};
use crate::broker::outlet::{Event, Outlet};

/// More ready messages than this, or more bytes of them, are too many while a consumer waits for room.
const AHEAD_MAX: usize = if cfg!(test) { 16 } else { 4 * 1024 };
const AHEAD_BYTES_MAX: usize = if cfg!(test) { 16 * 1024 } else { 4 * 1024 * 1024 };

/// How long a consumer may take nothing before nobody waits for it any more.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// What a queue knows of its consumers' pace.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// It is behind, and its consumers move.
    behind: AtomicBool,
    /// There is somebody in `beyond`.
    passes_on: AtomicBool,
    /// There is somebody in `for_room`.
    room_wanted: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Messages that consumers have taken.
    taken: u64,
    /// Consumers took nothing although somebody waited for them; that was at `taken`.
    stuck: bool,
    /// Who goes on once that many are taken, in order.
    held_up: Vec<HeldUp>,
    /// Who waits for the queue to have room, and for a body of how many bytes.
    for_room: Vec<(Arc<Outlet>, usize)>,
    /// A queue that takes this one's dead letters, and is behind.
    beyond: Weak<Queue>,
}

#[derive(Debug)]
struct HeldUp {
    until: u64,
    outlet: Arc<Outlet>,
}

/// A connection is held up by a queue.
#[derive(Debug)]
pub struct Hold {
    queue: Arc<Queue>,
    outlet: Arc<Outlet>,
    taken: u64,
}

impl Flow {
    /// Looks again; the queue's lock is held.
    #[inline]
    pub(super) fn judge(&self, state: &State) {
        let was = self.behind.load(Ordering::Relaxed);
        // Nearly always there is nothing to look at.
        if was || state.ready.len() > AHEAD_MAX / 2 || state.consumers.any_stalled() {
            self.judge_closely(state, was);
        }
        if self.room_wanted.load(Ordering::Relaxed) {
            self.tell_of_room(state);
        }
    }

    #[cold]
    fn tell_of_room(&self, state: &State) {
        let mut inner = self.inner.lock();
        let told: Vec<_> = inner.for_room.extract_if(.., |(_, bytes)| !state.has_no_room(*bytes)).collect();
        self.room_wanted.store(!inner.for_room.is_empty(), Ordering::Relaxed);
        drop(inner);
        told.into_iter().for_each(|(outlet, _)| outlet.push(Event::GoOn));
    }

    #[cold]
    fn judge_closely(&self, state: &State, was: bool) {
        let mut inner = self.inner.lock();
        let taken = state.totals.taken();
        inner.stuck &= inner.taken == taken;
        inner.taken = taken;
        let behind = !inner.stuck && is_behind(state, was);
        if behind != was {
            self.behind.store(behind, Ordering::Relaxed);
        }
        let go_on =
            if behind { inner.held_up.partition_point(|h| h.until <= taken) } else { inner.held_up.len() };
        let go_on: Vec<_> = inner.held_up.drain(..go_on).collect();
        drop(inner);
        go_on.into_iter().for_each(|held_up| held_up.outlet.push(Event::GoOn));
    }
}

/// Less is enough to stay so than to become so.
fn is_behind(state: &State, was: bool) -> bool {
    let part = if was { 2 } else { 1 };
    state.consumers.any_stalled()
        && !state.gone
        && (state.ready.len() > AHEAD_MAX / part || state.ready.body_bytes() > AHEAD_BYTES_MAX / part)
}

impl Queue {
    /// The queue that whoever publishes to this one should wait for: this one, or one that takes its dead letters.
    #[must_use]
    #[inline]
    pub fn behind(self: &Arc<Self>) -> Option<Arc<Queue>> {
        if self.flow.behind.load(Ordering::Relaxed) {
            return Some(self.clone());
        }
        if self.flow.passes_on.load(Ordering::Relaxed) { self.behind_beyond() } else { None }
    }

    #[cold]
    fn behind_beyond(&self) -> Option<Arc<Queue>> {
        let beyond = self.flow.inner.lock().beyond.clone();
        // The last handle of that queue may end here: not under the lock.
        let beyond = beyond.upgrade().filter(|queue| queue.flow.behind.load(Ordering::Relaxed));
        if beyond.is_none() {
            self.flow.passes_on.store(false, Ordering::Relaxed);
        }
        beyond
    }

    /// Dead letters of this queue went to `target`.
    pub(in crate::broker) fn died_into(&self, target: &Arc<Queue>) {
        if let Some(behind) = target.behind() {
            self.flow.inner.lock().beyond = Arc::downgrade(&behind);
            self.flow.passes_on.store(true, Ordering::Relaxed);
        }
    }

    /// Tells the connection, by [`Event::GoOn`], when the queue would take a message with such a body; false when it does
    /// already.
    #[must_use]
    pub fn wait_for_room(&self, outlet: &Arc<Outlet>, body_bytes: usize) -> bool {
        let state = self.state.lock();
        if !state.has_no_room(body_bytes) {
            return false;
        }
        let mut inner = self.flow.inner.lock();
        inner.for_room.retain(|(waiting, _)| !Arc::ptr_eq(waiting, outlet));
        inner.for_room.push((outlet.clone(), body_bytes));
        self.flow.room_wanted.store(true, Ordering::Relaxed);
        true
    }

    /// Holds a connection up that has published so many messages; it hears [`Event::GoOn`]. Not for a consumer of its
    /// own, which takes nothing while it is not read.
    #[must_use]
    pub fn hold_up(self: &Arc<Self>, outlet: &Arc<Outlet>, messages: usize) -> Option<Hold> {
        let state = self.state.lock();
        if state.consumers.stalled().any(|consumer| Arc::ptr_eq(&consumer.spec.outlet, outlet)) {
            return None;
        }
        let mut inner = self.flow.inner.lock();
        if !self.flow.behind.load(Ordering::Relaxed) {
            return None;
        }
        let taken = inner.taken;
        let before = inner.held_up.last().map_or(taken, |last| last.until);
        let until = before.saturating_add(2 * messages as u64);
        inner.held_up.push(HeldUp { until, outlet: outlet.clone() });
        Some(Hold { queue: self.clone(), outlet: outlet.clone(), taken })
    }
}

impl Hold {
    /// [`PATIENCE`] is over: whether the connection waits on, as consumers have moved meanwhile.
    #[must_use]
    pub fn goes_on(&mut self) -> bool {
        let mut inner = self.queue.flow.inner.lock();
        if !inner.held_up.iter().any(|held_up| Arc::ptr_eq(&held_up.outlet, &self.outlet)) {
            return false; // told so already
        }
        if inner.taken != self.taken {
            self.taken = inner.taken;
            return true;
        }
        inner.stuck = true;
        self.queue.flow.behind.store(false, Ordering::Relaxed);
        let go_on = std::mem::take(&mut inner.held_up);
        drop(inner);
        go_on.into_iter().for_each(|held_up| held_up.outlet.push(Event::GoOn));
        false
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.queue.flow.inner.lock().held_up.retain(|held_up| !Arc::ptr_eq(&held_up.outlet, &self.outlet));
    }
}
