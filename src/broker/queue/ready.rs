//! The ready messages of one queue, in order, of which only a bounded window need be in memory.
//!
//! ```text
//! returned (requeued, by position) → head (in memory) → middle (in the log only) → tail (in memory, newest)
//! ```
//!
//! Publishes go to the head while it is small and nothing lies behind it; otherwise to the tail. A run at the tail's
//! front moves to the middle once it is durable. The head is refilled from the middle, then from the tail. The middle is
//! everything from one sequence number to another that the queue's runs still have.

use std::collections::{BTreeMap, VecDeque};

use super::{Entry, Seq};
use crate::broker::message::Message;

/// Bytes of ready messages in memory at a queue's head, and again at its tail, beyond which durable ones are paged.
/// Small under test, so that a simulated queue is paged too.
pub const WINDOW_BYTES: usize = if cfg!(test) { 1024 } else { 1024 * 1024 };

/// What is in the log only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Middle {
    /// The first message: those before it in its run may be in the head, or gone.
    pub from: Seq,
    /// Behind the last message.
    pub end: Seq,
    pub count: usize,
    pub body_bytes: usize,
}

/// The ready messages.
#[derive(Debug, Default)]
pub struct Ready {
    returned: BTreeMap<Seq, Entry>,
    head: VecDeque<Entry>,
    middle: Middle,
    tail: VecDeque<Entry>,
    head_bytes: usize,
    tail_bytes: usize,
    body_bytes: usize,
}

impl Ready {
    #[must_use]
    pub fn len(&self) -> usize {
        self.returned.len() + self.head.len() + self.middle.count + self.tail.len()
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
        if self.middle.count == 0 && self.tail.is_empty() && self.head_bytes < WINDOW_BYTES {
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

    /// Whether the oldest of what was put back is in the log only: its consumer had let go of the body.
    fn returned_paged(&self) -> bool {
        self.returned.first_key_value().is_some_and(|(_, entry)| entry.message.is_paged())
    }

    /// Messages that were put back and must be read back now, until their bodies come to `bytes_max`.
    #[must_use]
    pub fn returned_wanted(&self, bytes_max: usize) -> Vec<Seq> {
        let mut bytes = 0;
        let within = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += entry.message.body_len().max(1);
            first || bytes <= bytes_max
        };
        let returned = self.returned.values().filter(|_| self.returned_paged());
        returned.take_while(within).map(|entry| entry.seq).collect()
    }

    /// Messages that were put back have been read back; those for which there is no body are lost.
    pub fn restore(&mut self, from: Seq, end: Seq, message: impl Fn(Seq) -> Option<Message>) {
        let mut lost = Vec::new();
        for (&seq, entry) in self.returned.range_mut(from..end) {
            match message(seq) {
                Some(message) if entry.message.is_paged() => entry.message = message,
                None if entry.message.is_paged() => lost.push(seq),
                Some(_) | None => {}
            }
        }
        for entry in lost.iter().filter_map(|seq| self.returned.remove(seq)) {
            self.body_bytes -= entry.message.body_len();
        }
    }

    /// The oldest message, if it is in memory.
    #[must_use]
    pub fn front(&self) -> Option<&Entry> {
        let front = match (self.returned.first_key_value(), self.head.front()) {
            (Some((_, back)), Some(head)) if head.seq < back.seq => Some(head),
            (Some((_, back)), _) => Some(back),
            (None, head) => head,
        };
        front.filter(|entry| !entry.message.is_paged())
    }

    /// Takes the oldest message, if it is in memory.
    pub fn pop(&mut self) -> Option<Entry> {
        let from_returned = match (self.returned.first_key_value(), self.head.front()) {
            (Some((seq, _)), Some(head)) => *seq < head.seq,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let entry = if from_returned {
            if self.returned_paged() {
                return None;
            }
            self.returned.pop_first().map(|(_, entry)| entry)?
        } else {
            let entry = self.head.pop_front()?;
            self.head_bytes -= entry.message.held_bytes();
            if self.head.is_empty() && self.middle.count == 0 {
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

    /// Forgets durable runs at the tail's front while the tail is over its window. `run_end` says, for a sequence
    /// number, where its run ends, if that is durable.
    pub fn page_out(&mut self, mut run_end: impl FnMut(Seq) -> Option<Seq>) {
        while self.tail_full() {
            let Some(from) = self.tail.front().map(|entry| entry.seq) else { return };
            let Some(end) = run_end(from) else { return };
            if self.middle.count == 0 {
                self.middle = Middle { from, ..Middle::default() };
            }
            self.middle.end = end;
            while self.tail.front().is_some_and(|entry| entry.seq < end) {
                let Some(entry) = self.tail.pop_front() else { break };
                self.tail_bytes -= entry.message.held_bytes();
                self.middle.count += 1;
                self.middle.body_bytes += entry.message.body_len();
            }
        }
    }

    /// From where messages should be read back, when the head runs low.
    #[must_use]
    pub fn wanted(&self) -> Option<Seq> {
        (self.paged() && self.head_bytes <= WINDOW_BYTES / 2).then_some(self.middle.from)
    }

    /// What is in the log only.
    #[must_use]
    pub fn middle(&self) -> Option<Middle> {
        self.paged().then_some(self.middle)
    }

    /// The middle's first run, which ends at `end`, has been read back: `count` messages, or those of them that could
    /// be read.
    pub fn loaded(&mut self, end: Seq, count: usize, entries: impl Iterator<Item = Entry>) {
        let mut body_bytes = 0;
        for entry in entries {
            body_bytes += entry.message.body_len();
            self.head_bytes += entry.message.held_bytes();
            self.head.push_back(entry);
        }
        self.body_bytes += body_bytes;
        // After a restart it is a guess how much of a run is left.
        self.skip(end, count, body_bytes);
        if self.middle.count == 0 {
            self.head_bytes += std::mem::take(&mut self.tail_bytes);
            self.head.append(&mut self.tail);
        }
    }

    /// The middle goes on at `end`; `count` messages of it are not in the log only any more.
    fn skip(&mut self, end: Seq, count: usize, body_bytes: usize) {
        let last = count >= self.middle.count;
        let body_bytes = if last { self.middle.body_bytes } else { body_bytes.min(self.middle.body_bytes) };
        self.body_bytes -= body_bytes;
        self.middle.body_bytes -= body_bytes;
        self.middle.count = self.middle.count.saturating_sub(count);
        self.middle.from = end;
    }

    /// Messages that recovery found: they lie in the log only.
    pub fn push_paged(&mut self, from: Seq, end: Seq, count: usize, body_bytes: usize) {
        if self.middle.count == 0 {
            self.middle = Middle { from, ..Middle::default() };
        }
        self.middle.end = end;
        self.middle.count += count;
        self.middle.body_bytes += body_bytes;
        self.body_bytes += body_bytes;
    }

    /// The head of the queue is in the log only.
    #[must_use]
    pub fn paged(&self) -> bool {
        self.middle.count > 0
    }

    /// Drops everything; returns the sequence numbers that were in memory, and what was not.
    pub fn clear(&mut self) -> (Vec<Seq>, Option<Middle>) {
        let mut seqs: Vec<_> = std::mem::take(&mut self.returned).into_keys().collect();
        seqs.extend(self.head.drain(..).chain(self.tail.drain(..)).map(|entry| entry.seq));
        let middle = self.middle();
        *self = Self::default();
        (seqs, middle)
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
        ready.page_out(|_| Some(Seq(12)));
        let Middle { from, end, count, .. } = ready.middle().unwrap();
        assert!(from > Seq(0) && end == Seq(12) && ready.len() == 12);
        ready.loaded(end, count, (from.0..12).map(entry));
        let order: Vec<u64> = std::iter::from_fn(|| ready.pop()).map(|e| e.seq.0).collect();
        assert_eq!(order, (0..12).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_put_back_without_its_body_waits_for_it() {
        let mut ready = Ready::default();
        (0..4).for_each(|n| ready.push(entry(n)));
        for _ in 0..2 {
            let mut first = ready.pop().unwrap();
            first.message.forget();
            ready.put_back(first);
            assert!(ready.front().is_none() && ready.pop().is_none());
            let wanted = ready.returned_wanted(usize::MAX);
            assert_eq!(wanted.len(), 1);
            ready.restore(wanted[0], Seq(wanted[0].0 + 1), |seq| Some(entry(seq.0).message));
            assert_eq!(ready.pop().map(|entry| entry.seq), Some(wanted[0]));
        }
        assert_eq!((ready.len(), ready.body_bytes()), (2, 2 * (WINDOW_BYTES / 4)));
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
