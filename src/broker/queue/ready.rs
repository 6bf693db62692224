//! The ready messages of one queue, in order, of which only a bounded window need be in memory.
//!
//! ```text
//! returned (requeued, by position) → head (in memory) → middle (runs, in the log only) → tail (in memory, newest)
//! ```
//!
//! Publishes go to the head while it is small and nothing lies behind it; otherwise to the tail. A run at the tail's
//! front moves to the middle once it is durable. The head is refilled from the middle, then from the tail.

use std::collections::{BTreeMap, VecDeque};

use super::{Entry, Seq};

/// Bytes of ready messages in memory at a queue's head, and again at its tail, beyond which durable ones are paged.
/// Small under test, so that a simulated queue is paged too.
pub const WINDOW_BYTES: usize = if cfg!(test) { 1024 } else { 1024 * 1024 };

/// A stretch of the middle: one run, with how many of its messages are ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paged {
    /// The run's first message.
    pub first: Seq,
    /// The first that is paged: those before it may have gone to the head when the run came.
    pub from: Seq,
    pub count: usize,
    pub body_bytes: usize,
}

/// The ready messages.
#[derive(Debug, Default)]
pub struct Ready {
    returned: BTreeMap<Seq, Entry>,
    head: VecDeque<Entry>,
    middle: VecDeque<Paged>,
    tail: VecDeque<Entry>,
    head_bytes: usize,
    tail_bytes: usize,
    middle_count: usize,
    body_bytes: usize,
}

impl Ready {
    #[must_use]
    pub fn len(&self) -> usize {
        self.returned.len() + self.head.len() + self.middle_count + self.tail.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of bodies, in memory or not.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Bytes held in memory.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.head_bytes + self.tail_bytes
    }

    /// Adds the newest message.
    pub fn push(&mut self, entry: Entry) {
        self.body_bytes += entry.message.body_len();
        let held = entry.message.held_bytes();
        if self.middle.is_empty() && self.tail.is_empty() && self.head_bytes < WINDOW_BYTES {
            self.head_bytes += held;
            self.head.push_back(entry);
        } else {
            self.tail_bytes += held;
            self.tail.push_back(entry);
        }
    }

    /// Puts a message back where it was.
    pub fn put_back(&mut self, entry: Entry) {
        self.body_bytes += entry.message.body_len();
        self.returned.insert(entry.seq, entry);
    }

    /// The oldest message, if it is in memory.
    #[must_use]
    pub fn front(&self) -> Option<&Entry> {
        match (self.returned.first_key_value(), self.head.front()) {
            (Some((_, back)), Some(head)) if head.seq < back.seq => Some(head),
            (Some((_, back)), _) => Some(back),
            (None, head) => head,
        }
    }

    /// Takes the oldest message, if it is in memory.
    pub fn pop(&mut self) -> Option<Entry> {
        let from_returned = match (self.returned.first_key_value(), self.head.front()) {
            (Some((seq, _)), Some(head)) => *seq < head.seq,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let entry = if from_returned {
            self.returned.pop_first().map(|(_, entry)| entry)?
        } else {
            let entry = self.head.pop_front()?;
            self.head_bytes -= entry.message.held_bytes();
            if self.head.is_empty() && self.middle.is_empty() {
                self.refill_from_tail();
            }
            entry
        };
        self.body_bytes -= entry.message.body_len();
        Some(entry)
    }

    fn refill_from_tail(&mut self) {
        std::mem::swap(&mut self.head, &mut self.tail);
        self.head_bytes = std::mem::take(&mut self.tail_bytes);
    }

    /// Whether the tail is over its window.
    #[must_use]
    pub fn tail_full(&self) -> bool {
        self.tail_bytes > WINDOW_BYTES
    }

    /// Forgets durable runs at the tail's front while the tail is over its window. `run` says, for a sequence number,
    /// the first one of its run and how many messages it has, if it is durable.
    pub fn page_out(&mut self, run: impl Fn(Seq) -> Option<(Seq, u32)>) {
        while self.tail_full() {
            let Some(from) = self.tail.front().map(|entry| entry.seq) else { return };
            let Some((first, count)) = run(from) else { return };
            let end = first.0 + u64::from(count);
            let mut paged = Paged { first, from, count: 0, body_bytes: 0 };
            while self.tail.front().is_some_and(|entry| entry.seq.0 < end) {
                let Some(entry) = self.tail.pop_front() else { break };
                self.tail_bytes -= entry.message.held_bytes();
                paged.count += 1;
                paged.body_bytes += entry.message.body_len();
            }
            self.middle_count += paged.count;
            self.middle.push_back(paged);
        }
    }

    /// The next runs to read back, up to about `bytes_max`, when the head runs low.
    pub fn wanted(&self, bytes_max: usize) -> Vec<Seq> {
        if self.head_bytes > WINDOW_BYTES / 2 {
            return Vec::new();
        }
        let mut bytes = 0;
        let within = |paged: &&Paged| {
            let first = bytes == 0;
            bytes += paged.body_bytes.max(1);
            first || bytes <= bytes_max
        };
        self.middle.iter().take_while(within).map(|paged| paged.first).collect()
    }

    /// The first message wanted of a run that is to be read back next; `None` when it is not (it was purged).
    #[must_use]
    pub fn wanted_from(&self, first: Seq) -> Option<Seq> {
        self.middle.front().filter(|paged| paged.first == first).map(|paged| paged.from)
    }

    /// A run has been read back; it must be the middle's first.
    pub fn loaded(&mut self, first: Seq, entries: impl Iterator<Item = Entry>) {
        if self.middle.front().is_none_or(|paged| paged.first != first) {
            return; // purged meanwhile
        }
        if let Some(paged) = self.middle.pop_front() {
            self.middle_count -= paged.count;
            self.body_bytes -= paged.body_bytes;
        }
        for entry in entries {
            self.body_bytes += entry.message.body_len();
            self.head_bytes += entry.message.held_bytes();
            self.head.push_back(entry);
        }
        if self.middle.is_empty() {
            self.head_bytes += std::mem::take(&mut self.tail_bytes);
            self.head.append(&mut self.tail);
        }
    }

    /// A run that recovery found: it lies in the log only.
    pub fn push_paged(&mut self, paged: Paged) {
        self.middle_count += paged.count;
        self.body_bytes += paged.body_bytes;
        self.middle.push_back(paged);
    }

    /// The head of the queue is in the log only.
    #[must_use]
    pub fn paged(&self) -> bool {
        !self.middle.is_empty()
    }

    /// Drops everything; returns the sequence numbers that were in memory and the stretches that were not.
    pub fn clear(&mut self) -> (Vec<Seq>, Vec<Paged>) {
        let mut seqs: Vec<_> = std::mem::take(&mut self.returned).into_keys().collect();
        seqs.extend(self.head.drain(..).chain(self.tail.drain(..)).map(|entry| entry.seq));
        let paged = self.middle.drain(..).collect();
        *self = Self::default();
        (seqs, paged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::message::{Draft, Publish, Traits};

    fn entry(seq: u64) -> Entry {
        let mut draft = Draft::default();
        let publish =
            Publish { exchange: "", routing_key: "q", properties: &[0, 0], traits: Traits::default() };
        draft.open(&publish, 0, WINDOW_BYTES / 4);
        draft.body(&vec![0; WINDOW_BYTES / 4]);
        let message = draft.seal().message(0).unwrap();
        Entry { seq: Seq(seq), message, expires_ms: i64::MAX, redelivered: false }
    }

    #[test]
    fn a_run_that_begins_in_the_head_is_paged_from_where_the_head_ends() {
        let mut ready = Ready::default();
        (0..12).for_each(|n| ready.push(entry(n)));
        // One run of twelve messages; some of them fitted into the head.
        ready.page_out(|_| Some((Seq(0), 12)));
        let from = ready.wanted_from(Seq(0)).unwrap();
        assert!(from > Seq(0) && ready.len() == 12);
        ready.loaded(Seq(0), (from.0..12).map(entry));
        let order: Vec<u64> = std::iter::from_fn(|| ready.pop()).map(|e| e.seq.0).collect();
        assert_eq!(order, (0..12).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_put_back_comes_first_in_its_old_order() {
        let mut ready = Ready::default();
        (0..4).for_each(|n| ready.push(entry(n)));
        let (a, b) = (ready.pop().unwrap(), ready.pop().unwrap());
        ready.put_back(b);
        ready.put_back(a);
        let order: Vec<u64> = std::iter::from_fn(|| ready.pop()).map(|e| e.seq.0).collect();
        assert_eq!(order, [0, 1, 2, 3]);
    }
}
