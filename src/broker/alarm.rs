//! Resource alarms: above the memory watermark, or with the disk nearly full, publishers are not read.
//!
//! Memory is counted where it is held. Consumers go on, so the alarm clears as queues drain or page out.

use std::sync::{
    Weak,
    atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::{Notify, futures::Notified};

use super::outlet::{Event, Outlet};

/// What raises an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    Disk,
    Memory,
}

impl Resource {
    /// As RabbitMQ's events call it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Memory => "memory",
        }
    }
}

/// What an empty broker may take, threads and buffers and all.
const EMPTY_BROKER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The alarms of the broker.
#[derive(Debug)]
pub struct Alarms {
    held: AtomicIsize,
    /// What counts beside it: the process itself, from the moment that somebody moves the watermark.
    process_bytes: AtomicUsize,
    limit_bytes: AtomicUsize,
    memory: AtomicBool,
    disk: AtomicBool,
    publishers: Mutex<Vec<Weak<Outlet>>>,
    changed: Notify,
}

impl Alarms {
    /// Alarms with a memory watermark of that many bytes.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            held: AtomicIsize::new(0),
            process_bytes: AtomicUsize::new(0),
            limit_bytes: AtomicUsize::new(limit_bytes),
            memory: AtomicBool::new(false),
            disk: AtomicBool::new(false),
            publishers: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Bytes of messages held in memory.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        usize::try_from(self.held.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// The watermark, in bytes.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    /// Moves the watermark, in a process that takes so many bytes in all.
    ///
    /// RabbitMQ counts the whole process, so that clients' suites raise the alarm with a watermark that no process stays
    /// below (amqp091-go's `TestConnection_Close_WhenMemoryAlarmIsActive`). What an allocator keeps for later would hold
    /// an alarm up for ever: more than an empty broker takes does not count.
    pub fn set_limit(&self, bytes: usize, process_bytes: usize) {
        let process_bytes = process_bytes.saturating_sub(self.held_bytes()).min(EMPTY_BROKER_BYTES_MAX);
        self.process_bytes.store(process_bytes, Ordering::Relaxed);
        self.limit_bytes.store(bytes, Ordering::Relaxed);
        self.add(0);
    }

    /// So many bytes more (or less) are held.
    pub fn add(&self, delta: isize) {
        self.held.fetch_add(delta, Ordering::SeqCst);
        // Looked at again behind every change of the alarm: what others took away meanwhile saw it as it was before,
        // and may have been the last there was to take away.
        while let Some(raised) = self.memory_alarm_due() {
            self.set(Resource::Memory, raised);
        }
    }

    /// What the memory alarm must become, if it must change.
    fn memory_alarm_due(&self) -> Option<bool> {
        let limit = self.limit_bytes();
        let held = usize::try_from(self.held.load(Ordering::SeqCst)).unwrap_or(0);
        let held = held.saturating_add(self.process_bytes.load(Ordering::Relaxed));
        // Cleared a little below, so that one message does not raise and clear it by turns.
        match self.memory.load(Ordering::SeqCst) {
            false if held > limit => Some(true),
            true if held < limit - limit / 16 => Some(false),
            false | true => None,
        }
    }

    /// Raises or clears an alarm and tells the publishers.
    pub fn set(&self, resource: Resource, raised: bool) {
        let flag = match resource {
            Resource::Disk => &self.disk,
            Resource::Memory => &self.memory,
        };
        if flag.swap(raised, Ordering::SeqCst) == raised {
            return;
        }
        tracing::warn!(?resource, raised, "resource alarm");
        let mut publishers = self.publishers.lock();
        // Asked for under the lock: whoever tells last tells what is true.
        let reason = self.reason();
        self.changed.notify_waiters();
        publishers.retain(|outlet| outlet.strong_count() > 0);
        let outlets: Vec<_> = publishers.iter().filter_map(Weak::upgrade).collect();
        for outlet in &outlets {
            outlet.push(Event::Alarm(reason));
        }
        drop(publishers);
        // The last handle of an outlet may end here, and queues with it: not under the lock.
        drop(outlets);
    }

    /// Whether that alarm is on.
    #[must_use]
    pub fn is_on(&self, resource: Resource) -> bool {
        match resource {
            Resource::Disk => self.disk.load(Ordering::Acquire),
            Resource::Memory => self.memory.load(Ordering::Acquire),
        }
    }

    /// Waits for an alarm to come or go, from the moment that it is enabled.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Why publishers are blocked, in RabbitMQ's words; `None` when they are not.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match (self.memory.load(Ordering::Acquire), self.disk.load(Ordering::Acquire)) {
            (false, false) => None,
            (true, false) => Some("low on memory"),
            (false, true) => Some("low on disk"),
            (true, true) => Some("low on memory & disk"),
        }
    }

    /// Waits until no alarm is on.
    pub async fn cleared(&self) {
        while self.reason().is_some() {
            let changed = self.changed.notified();
            if self.reason().is_some() {
                changed.await;
            }
        }
    }

    /// A connection publishes: it hears of alarms from now on. Returns the current one.
    pub fn subscribe(&self, outlet: Weak<Outlet>) -> Option<&'static str> {
        let mut publishers = self.publishers.lock();
        if publishers.len() == publishers.capacity() {
            publishers.retain(|outlet| outlet.strong_count() > 0);
        }
        publishers.push(outlet);
        self.reason()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watermark_below_the_process_itself_raises_the_alarm_and_one_above_clears_it() {
        let alarms = Alarms::new(1_000_000);
        alarms.add(900_000);
        assert_eq!(alarms.reason(), None, "only what is held counts until the watermark is moved");
        alarms.set_limit(20_000_000, 30_900_000);
        assert_eq!(alarms.reason(), Some("low on memory"));
        alarms.set_limit(40_000_000, 30_900_000);
        assert_eq!(alarms.reason(), None);
        alarms.set_limit(200_000_000, 10_000_000_000);
        assert_eq!(alarms.reason(), None, "what an allocator keeps is no reason");
    }
}
