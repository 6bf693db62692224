//! What a quorum queue got back, in the order it came back: before all that was never delivered.
//!
//! Some of it may be in the log only, as its consumer had let go of the body. Where those stand is known by their
//! numbers, so that a run that is read back costs its own messages and not all that wait.

use std::collections::{BTreeMap, VecDeque};

use super::{Entry, Seq};
use crate::broker::message::Message;

#[derive(Debug, Default)]
pub(super) struct Returned {
    entries: VecDeque<Entry>,
    /// How many have left.
    gone: usize,
    /// Of those without their bodies: how many came back before.
    paged: BTreeMap<Seq, usize>,
    held_bytes: usize,
    body_bytes: usize,
}

impl Returned {
    pub(super) fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.body_bytes += entry.message.body_len();
        self.held_bytes += entry.message.held_bytes();
        if entry.message.is_paged() {
            self.paged.insert(entry.seq, self.gone + self.entries.len());
        }
        self.entries.push_back(entry);
    }

    /// The first, with its body or without.
    #[inline]
    pub(super) fn front(&self) -> Option<&Entry> {
        self.entries.front()
    }

    /// Whether the first is in the log only.
    #[inline]
    pub(super) fn front_paged(&self) -> bool {
        self.front().is_some_and(|entry| entry.message.is_paged())
    }

    /// Takes the first, if it has its body.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front_if(|entry| !entry.message.is_paged())?;
        self.gone += 1;
        self.body_bytes -= entry.message.body_len();
        self.held_bytes -= entry.message.held_bytes();
        Some(entry)
    }

    /// The first ones, until their bodies come to `bytes_max`.
    pub(super) fn first(&self, bytes_max: usize) -> Vec<Seq> {
        let mut bytes = 0;
        let within = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += entry.message.body_len().max(1);
            first || bytes <= bytes_max
        };
        self.entries.iter().take_while(within).map(|entry| entry.seq).collect()
    }

    /// Messages have been read, with the time at which they expire; those for which there is no body are lost. Says how
    /// many.
    pub(super) fn restore(
        &mut self,
        from: Seq,
        end: Seq,
        message: impl Fn(Seq) -> Option<(Message, i64)>,
    ) -> usize {
        let here: Vec<_> = self.paged.range(from..end).map(|(&seq, &number)| (seq, number)).collect();
        let mut lost = 0;
        for (seq, number) in here {
            let Some(entry) = self.entries.get_mut(number - self.gone) else { continue };
            match message(seq) {
                Some((message, expires_ms)) => {
                    self.held_bytes += message.held_bytes() - entry.message.held_bytes();
                    self.body_bytes = self.body_bytes + message.body_len() - entry.message.body_len();
                    (entry.message, entry.expires_ms) = (message, expires_ms);
                    self.paged.remove(&seq);
                }
                None => lost += 1,
            }
        }
        if lost > 0 {
            self.lose(from, end);
        }
        lost
    }

    fn lose(&mut self, from: Seq, end: Seq) {
        let (mut body_bytes, mut held_bytes) = (0, 0);
        self.entries.retain(|entry| {
            let lost = from <= entry.seq && entry.seq < end && entry.message.is_paged();
            if lost {
                body_bytes += entry.message.body_len();
                held_bytes += entry.message.held_bytes();
            }
            !lost
        });
        self.body_bytes -= body_bytes;
        self.held_bytes -= held_bytes;
        let paged = self.entries.iter().enumerate().filter(|(_, entry)| entry.message.is_paged());
        self.paged = paged.map(|(n, entry)| (entry.seq, self.gone + n)).collect();
    }

    pub(super) fn into_seqs(self) -> impl Iterator<Item = Seq> {
        self.entries.into_iter().map(|entry| entry.seq)
    }
}
