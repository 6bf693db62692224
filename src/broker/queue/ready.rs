//! The ready messages of one level of a queue, in order, of which only a bounded window need be in memory.
//!
//! ```text
//! returned (requeued, by position) → head (in memory) → middle (in the log only) → tail (in memory, newest)
//! ```
//!
//! Publishes go to the head while it is small and nothing lies behind it; otherwise to the tail. A run at the tail's
//! front moves to the middle once it is durable; a transient message, which no log will ever hold, is kept beside the
//! middle, so that the durable ones behind it can go. The head is refilled from the middle, then from the tail. The
//! middle is everything from one sequence number to another that the level's runs still have. What the levels of a
//! queue are is `levels.rs`'s.

use std::collections::{BTreeMap, VecDeque};

use super::{Entry, Seq};
use crate::broker::message::Message;

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

/// Where a message is besides in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// In a run that is durable, and ends there.
    Durable { end: Seq },
    /// In a run that is on its way into the log.
    NotYet,
    /// Nowhere: the message is transient.
    Never,
}

/// The ready messages of one level.
#[derive(Debug, Default)]
pub struct Ready {
    returned: BTreeMap<Seq, Entry>,
    head: VecDeque<Entry>,
    middle: Middle,
    /// Transient messages among the middle's.
    kept: VecDeque<Entry>,
    tail: VecDeque<Entry>,
    head_bytes: usize,
    tail_bytes: usize,
    /// Of what was returned, and of what is kept.
    other_bytes: usize,
    body_bytes: usize,
}

impl Ready {
    #[must_use]
    pub fn len(&self) -> usize {
        self.returned.len() + self.head.len() + self.middle.count + self.kept.len() + self.tail.len()
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
        self.head_bytes + self.tail_bytes + self.other_bytes
    }

    /// Adds the newest message.
    #[inline]
    pub fn push(&mut self, entry: Entry, window_bytes: usize) {
        self.body_bytes += entry.message.body_len();
        let held = entry.message.held_bytes();
        if self.middle.count == 0 && self.tail.is_empty() && self.head_bytes < window_bytes {
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
        self.other_bytes += entry.message.held_bytes();
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

    /// Messages that were put back have been read back, with the time at which they expire; those for which there is no
    /// body are lost.
    pub fn restore(&mut self, from: Seq, end: Seq, message: impl Fn(Seq) -> Option<(Message, i64)>) {
        let mut lost = Vec::new();
        for (&seq, entry) in self.returned.range_mut(from..end) {
            match message(seq) {
                Some((message, expires_ms)) if entry.message.is_paged() => {
                    self.other_bytes += message.held_bytes() - entry.message.held_bytes();
                    (entry.message, entry.expires_ms) = (message, expires_ms);
                }
                None if entry.message.is_paged() => lost.push(seq),
                Some(_) | None => {}
            }
        }
        for entry in lost.iter().filter_map(|seq| self.returned.remove(seq)) {
            self.body_bytes -= entry.message.body_len();
            self.other_bytes -= entry.message.held_bytes();
        }
    }

    /// The oldest message, if it is in memory.
    #[must_use]
    #[inline]
    pub fn front(&self) -> Option<&Entry> {
        let front = match (self.returned.first_key_value(), self.head.front()) {
            (Some((_, back)), Some(head)) if head.seq < back.seq => Some(head),
            (Some((_, back)), _) => Some(back),
            (None, head) => head,
        };
        front.filter(|entry| !entry.message.is_paged())
    }

    /// Takes the oldest message, if it is in memory.
    #[inline]
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
            let entry = self.returned.pop_first().map(|(_, entry)| entry)?;
            self.other_bytes -= entry.message.held_bytes();
            entry
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
    pub fn tail_full(&self, window_bytes: usize) -> bool {
        self.tail_bytes > window_bytes
    }

    /// Forgets durable runs at the tail's front while the tail is over its window.
    pub fn page_out(&mut self, window_bytes: usize, written: &impl Fn(Seq) -> Written) {
        while self.tail_full(window_bytes) {
            let Some(from) = self.tail.front().map(|entry| entry.seq) else { return };
            let end = match written(from) {
                Written::Durable { end } => end,
                Written::NotYet => return,
                Written::Never => {
                    self.keep_front();
                    continue;
                }
            };
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

    fn keep_front(&mut self) {
        let Some(entry) = self.tail.pop_front() else { return };
        let held = entry.message.held_bytes();
        self.tail_bytes -= held;
        if self.middle.count == 0 {
            self.head_bytes += held;
            self.head.push_back(entry);
        } else {
            self.other_bytes += held;
            self.kept.push_back(entry);
        }
    }

    /// What was kept goes to the head, as far as it lies before `end`.
    fn take_kept(&mut self, end: Seq) {
        while self.kept.front().is_some_and(|entry| entry.seq < end) {
            let Some(entry) = self.kept.pop_front() else { return };
            let held = entry.message.held_bytes();
            self.other_bytes -= held;
            self.head_bytes += held;
            self.head.push_back(entry);
        }
    }

    /// From where messages should be read back, when the head runs low.
    #[must_use]
    pub fn wanted(&self, window_bytes: usize) -> Option<Seq> {
        (self.paged() && self.head_bytes <= window_bytes / 2).then_some(self.middle.from)
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
            self.take_kept(entry.seq);
            body_bytes += entry.message.body_len();
            self.head_bytes += entry.message.held_bytes();
            self.head.push_back(entry);
        }
        self.body_bytes += body_bytes;
        // After a restart it is a guess how much of a run is left.
        self.skip(end, count, body_bytes);
        self.take_kept(if self.middle.count == 0 { Seq(u64::MAX) } else { end });
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

    /// Something of it is in the log only.
    #[must_use]
    pub fn paged(&self) -> bool {
        self.middle.count > 0
    }

    /// Drops everything; returns the sequence numbers that were in memory, and what was not.
    pub fn clear(&mut self) -> (Vec<Seq>, Option<Middle>) {
        let mut seqs: Vec<_> = std::mem::take(&mut self.returned).into_keys().collect();
        let in_memory = self.head.drain(..).chain(self.kept.drain(..)).chain(self.tail.drain(..));
        seqs.extend(in_memory.map(|entry| entry.seq));
        let middle = self.middle();
        *self = Self::default();
        (seqs, middle)
    }
}
