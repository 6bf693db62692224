//! The mailbox of one connection: what the core has for it, put there by whoever causes it.
//!
//! Bounded by bytes: a full outlet makes queues stop serving its consumers, and remembers which, so that they go on
//! when the connection has written. One wake-up per batch: the waker is taken by the first event into an empty
//! mailbox and comes back with the connection's next [`Outlet::drain`].
//!
//! Lock order: queue, then outlet. Nothing is called while an outlet's lock is held.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    channels::Heard,
    keyspace::{Keyspace, waiters::Served},
    queue::{ConsumerId, Entry, Queue},
};
use crate::{data::multipart::Joined, store};

/// Bytes of deliveries a connection may have waiting before queues stop serving it.
/// Small under test, so that a simulated consumer stalls.
pub const OUTLET_BYTES_MAX: usize = if cfg!(test) { 4 * 1024 } else { 512 * 1024 };

/// More deliveries than this go into an empty mailbox with their list, not one by one.
const MOVED_MAX: usize = 16;

/// Something for a connection.
#[derive(Debug)]
pub enum Event {
    /// A delivery for a consumer of that channel.
    Deliver { channel: u16, consumer: ConsumerId, entry: Entry },
    /// The consumer's queue is gone.
    Cancelled { channel: u16, consumer: ConsumerId },
    /// Publishes with these sequence numbers are where they must be.
    Confirm { channel: u16, generation: u32, first: u64, last: u64 },
    /// Publishes with these sequence numbers will never be.
    Reject { channel: u16, generation: u32, first: u64, last: u64 },
    /// A message that had to be read from the store for `basic.get` is there: ask again.
    Loaded,
    /// The queue that held the connection up is no longer so far ahead of its consumers, or no longer full.
    GoOn,
    /// A resource alarm was raised (with its reason) or cleared.
    Alarm(Option<&'static str>),
    /// What is said in a channel that the connection listens to.
    Heard(Heard),
    /// What was published to an exchange whose first parts the connection subscribes to.
    Told(Arc<Joined>),
    /// What the connection waited for at a key.
    Served(Served),
    /// Somebody asks the connection to close.
    Close { reason: String },
}

/// Who serves a connection, and goes on when its outlet has room again.
#[derive(Debug, Clone)]
pub enum Server {
    Queue(Arc<Queue>),
    /// Lists have consumers, too.
    Keys(Arc<Keyspace>),
}

impl Server {
    /// The outlet has room again.
    pub fn resume(&self, outlet: &Arc<Outlet>) {
        match self {
            Self::Queue(queue) => queue.resume(outlet),
            Self::Keys(keyspace) => keyspace.resume(outlet),
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Queue(one), Self::Queue(other)) => Arc::ptr_eq(one, other),
            (Self::Keys(one), Self::Keys(other)) => Arc::ptr_eq(one, other),
            (Self::Queue(_), Self::Keys(_)) | (Self::Keys(_), Self::Queue(_)) => false,
        }
    }
}

/// The mailbox; the connection and everything that serves it share it.
#[derive(Debug, Default)]
pub struct Outlet {
    bytes: AtomicUsize,
    inner: Mutex<Inner>,
    drained: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    events: Vec<Event>,
    stalled: Vec<Server>,
    waker: Option<Waker>,
    closed: bool,
}

impl Outlet {
    /// Whether deliveries must stop for now.
    #[must_use]
    pub fn full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= OUTLET_BYTES_MAX
    }

    /// Bytes of deliveries that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Waits until deliveries may go in.
    pub async fn room(&self) {
        while self.full() {
            let drained = self.drained.notified();
            if self.full() {
                drained.await;
            }
        }
    }

    /// Puts deliveries in. False when the connection is gone: then they stay where they are.
    pub fn deliver(&self, deliveries: &mut Vec<Event>, bytes: usize) -> bool {
        let waker = {
            let mut inner = self.inner.lock();
            if inner.closed {
                return false;
            }
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            if inner.events.is_empty() && deliveries.len() > MOVED_MAX {
                std::mem::swap(&mut inner.events, deliveries);
            } else {
                inner.events.append(deliveries);
            }
            inner.waker.take()
        };
        wake(waker);
        true
    }

    /// Puts one event in, unless the connection is gone.
    pub fn push(&self, event: Event) {
        let waker = {
            let mut inner = self.inner.lock();
            if inner.closed {
                return;
            }
            inner.events.push(event);
            inner.waker.take()
        };
        wake(waker);
    }

    /// Asks to be resumed when there is room; false when there is room already.
    pub fn stall(&self, server: &Server) -> bool {
        let mut inner = self.inner.lock();
        if inner.closed {
            return true; // its consumers are about to be cancelled
        }
        if !self.full() {
            return false;
        }
        if !inner.stalled.iter().any(|other| other.is(server)) {
            inner.stalled.push(server.clone());
        }
        true
    }

    /// Takes everything out into `events` (which must be empty) and registers `waker` for what comes next. Returns
    /// who had stopped and may go on.
    pub fn drain(&self, events: &mut Vec<Event>, waker: &Waker) -> Vec<Server> {
        let mut inner = self.inner.lock();
        std::mem::swap(&mut inner.events, events);
        if self.bytes.swap(0, Ordering::Relaxed) >= OUTLET_BYTES_MAX {
            self.drained.notify_waiters();
        }
        if !inner.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
            inner.waker = Some(waker.clone());
        }
        std::mem::take(&mut inner.stalled)
    }

    /// Registers `waker` without taking anything out; true when something waits already.
    pub fn register(&self, waker: &Waker) -> bool {
        let mut inner = self.inner.lock();
        inner.waker = Some(waker.clone());
        !inner.events.is_empty()
    }

    /// The connection is gone: nothing more goes in, and what was not taken out comes back.
    pub fn close(&self) -> Vec<Event> {
        let (events, stalled) = {
            let mut inner = self.inner.lock();
            inner.closed = true;
            inner.waker = None;
            // Not full: a queue that is about to serve it must learn that it is gone, not wait for room.
            self.bytes.store(0, Ordering::Relaxed);
            self.drained.notify_waiters();
            (std::mem::take(&mut inner.events), std::mem::take(&mut inner.stalled))
        };
        // A queue may end with its last handle, and tells the alarms, who tell outlets: not under this one's lock.
        drop(stalled);
        events
    }
}

fn wake(waker: Option<Waker>) {
    waker.into_iter().for_each(store::wake);
}
