//! Deliveries that wait for the log, which must know that a message may have been delivered before it is; and those of what
//! has come with a Change that is not in the inbox yet (`unsubmitted.rs`).
//!
//! They are their consumers' already, as if they were on their way: they count against the prefetch and against no limit
//! of the queue, do not expire, and nothing that comes meanwhile goes before them. So nobody sees whether the log had to
//! be asked, but for the time it takes.

use std::collections::VecDeque;

use super::{
    ConsumerId, Entry, Seq,
    levels::WINDOW_BYTES,
    parcel::Parcel,
    positions::DELIVERED_AHEAD,
    state::{Effects, State},
};

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

impl State {
    /// Whether the next message must wait until the log knows that it may have been delivered, or will know of it at all.
    pub(super) fn must_reserve(&mut self, (seq, lasts): (Seq, bool), effects: &mut Effects) -> bool {
        if !lasts {
            return false;
        }
        if self.unsubmitted.has(seq) {
            return true;
        }
        let reservation = self.positions.reserve(seq);
        effects.reserve.extend(reservation.ask);
        reservation.wait
    }

    /// The log knows the reservation.
    pub fn reserved(&mut self, to: Seq) {
        self.positions.reserved(to);
    }

    /// What the log should say at a clean end: messages below have been delivered.
    #[must_use]
    pub fn delivered_to(&self) -> Vec<Seq> {
        self.positions.delivered_to()
    }

    /// The levels of whose deliveries the log knows, or will.
    #[must_use]
    pub fn noted(&self) -> Vec<usize> {
        self.positions.noted()
    }

    /// What waited for the log goes, as far as that knows.
    pub(super) fn go_on_reserved(&mut self, now_ms: i64, parcel: &mut Parcel, effects: &mut Effects) {
        while let Some(next) = self.reserving.next() {
            let next = (next.seq, self.lasts(&next.message));
            if self.must_reserve(next, effects) {
                return;
            }
            let Some((id, entry)) = self.reserving.pop() else { return };
            self.hand_over(now_ms, id, entry, parcel);
        }
    }

    /// What waits for the log is ready again: nobody has seen it.
    pub(super) fn take_reserving(&mut self) {
        while let Some((id, entry)) = self.reserving.pop() {
            if let Some(consumer) = self.consumers.find(id)
                && !consumer.spec.no_ack
            {
                self.unacked.remove(&entry.message);
                consumer.unacked = consumer.unacked.saturating_sub(1);
                consumer.spec.credit.give_back(1);
                self.consumers.resume(id);
            }
            self.ready.put_back(entry);
        }
    }
}
