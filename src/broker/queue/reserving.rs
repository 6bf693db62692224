//! Deliveries that wait for the log, which must know that a message may have been delivered before it is.
//!
//! They are their consumers' already, as if they were on their way: they count against the prefetch and against no limit
//! of the queue, do not expire, and nothing that comes meanwhile goes before them. So nobody sees whether the log had to
//! be asked, but for the time it takes.

use std::collections::VecDeque;

use super::{ConsumerId, Entry, levels::WINDOW_BYTES, positions::DELIVERED_AHEAD};

/// In the order in which they were served.
#[derive(Debug, Default)]
pub(super) struct Reserving {
    entries: VecDeque<(ConsumerId, Entry)>,
    held_bytes: usize,
}

impl Reserving {
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the queue must stand still until some have gone: consumers may have no limit.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() as u64 >= DELIVERED_AHEAD || self.held_bytes >= WINDOW_BYTES
    }

    pub(super) fn push(&mut self, id: ConsumerId, entry: Entry) {
        self.held_bytes += entry.message.held_bytes();
        self.entries.push_back((id, entry));
    }

    pub(super) fn next(&self) -> Option<&Entry> {
        self.entries.front().map(|(_, entry)| entry)
    }

    pub(super) fn pop(&mut self) -> Option<(ConsumerId, Entry)> {
        let (id, entry) = self.entries.pop_front()?;
        self.held_bytes -= entry.message.held_bytes();
        Some((id, entry))
    }

    /// Whether a message waits to go to that consumer.
    pub(super) fn has(&self, id: ConsumerId) -> bool {
        self.entries.iter().any(|(of, _)| *of == id)
    }
}
