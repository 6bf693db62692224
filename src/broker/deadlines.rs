//! The deadlines of all queues, of what delayed exchanges hold and of keys, on domain time: one entry each, the earliest first.
//!
//! A leaf: it calls nobody while its lock is held, so queues tell it under their own (lock order: queue, then this).
//! Nothing here asks a clock; `housekeeping.rs` does, and simulation says what time it is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    Broker,
    holding::Holding,
    keyspace::Keyspace,
    queue::{Queue, QueueId, deadline::Earlier},
};

/// Who waits; their ids come from one place.
#[derive(Debug)]
enum Waiter {
    Queue(Weak<Queue>),
    Holding(Weak<Holding>),
    Keyspace(Weak<Keyspace>),
}

/// Who must be looked at when.
#[derive(Debug, Default)]
pub struct Deadlines {
    waiting: Mutex<BTreeMap<(i64, QueueId), Waiter>>,
    earlier: Notify,
}

impl Deadlines {
    /// A queue's deadline, in place of a later one.
    pub(super) fn arm(&self, queue: &Arc<Queue>, earlier: Earlier) {
        self.put(queue.id, earlier, Waiter::Queue(Arc::downgrade(queue)));
    }

    /// As [`Deadlines::arm`], for what a delayed exchange holds; in place of any other deadline of it.
    pub(super) fn arm_holding(&self, holding: &Arc<Holding>, earlier: Earlier) {
        self.put(holding.id, earlier, Waiter::Holding(Arc::downgrade(holding)));
    }

    /// As [`Deadlines::arm`], for the keys of a vhost.
    pub(super) fn arm_keyspace(&self, id: QueueId, keyspace: &Arc<Keyspace>, earlier: Earlier) {
        self.put(id, earlier, Waiter::Keyspace(Arc::downgrade(keyspace)));
    }

    fn put(&self, id: QueueId, Earlier { told_ms, at_ms }: Earlier, waiter: Waiter) {
        let first = {
            let mut waiting = self.waiting.lock();
            if let Some(told) = told_ms {
                waiting.remove(&(told, id));
            }
            waiting.insert((at_ms, id), waiter);
            waiting.first_key_value().is_some_and(|(first, _)| *first == (at_ms, id))
        };
        if first {
            self.earlier.notify_one();
        }
    }

    /// The queue is gone.
    pub(super) fn disarm(&self, queue: QueueId, told_ms: i64) {
        self.waiting.lock().remove(&(told_ms, queue));
    }

    /// When the next one comes.
    #[must_use]
    pub fn next_ms(&self) -> Option<i64> {
        self.waiting.lock().first_key_value().map(|((at, _), _)| *at)
    }

    /// Waits until a deadline comes before all others, or time jumps.
    pub async fn earlier(&self) {
        self.earlier.notified().await;
    }

    /// Domain time has jumped: whoever sleeps until a deadline looks again.
    pub fn time_jumped(&self) {
        self.earlier.notify_one();
    }

    fn take_due(&self, now_ms: i64) -> Option<Waiter> {
        let mut waiting = self.waiting.lock();
        let first = waiting.first_entry()?;
        (first.key().0 <= now_ms).then(|| first.remove())
    }
}

impl Broker {
    /// Looks at everybody whose deadline has come.
    pub fn on_deadlines(&self, now_ms: i64) {
        self.transactions.on_deadlines(now_ms);
        while let Some(waiter) = self.core.deadlines.take_due(now_ms) {
            match waiter {
                Waiter::Queue(queue) => {
                    queue.upgrade().into_iter().for_each(|queue| queue.on_deadline(now_ms));
                }
                Waiter::Holding(holding) => {
                    holding.upgrade().into_iter().for_each(|holding| holding.release_due(now_ms));
                }
                Waiter::Keyspace(keyspace) => {
                    keyspace.upgrade().into_iter().for_each(|keyspace| keyspace.on_deadline(now_ms));
                }
            }
        }
    }
}
