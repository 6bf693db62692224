//! One bite of a compaction as one Change: some entries of the index give way to one, or to none.
//!
//! It is decided on the committer's thread whether the entries are still what was read; if anything else has removed or
//! moved one of them, nothing happens, and the next round looks again.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    broker::{
        topic::{
            Offset,
            entry::{Entry, entry_bytes_max},
            keys,
            partition::{Partition, State},
            writes::DELTA_OVERHEAD_BYTES,
        },
        txn::producer::ProducedBatch,
    },
    store::{Change, Space, StoreError, Turn},
};

/// What takes the place of the entries.
#[derive(Debug)]
pub(super) struct Replacement {
    /// Without its place.
    pub(super) entry: Entry,
    pub(super) batches: Vec<Bytes>,
    pub(super) producers: Vec<ProducedBatch>,
}

pub(super) struct Rewrite {
    pub(super) partition: Arc<Partition>,
    /// As they were read, at least one.
    pub(super) old: Vec<Entry>,
    pub(super) new: Option<Replacement>,
    /// End markers that are no longer in the log.
    pub(super) markers: Vec<Offset>,
    pub(super) staged: bool,
}

impl Rewrite {
    fn range(&self) -> Option<(Offset, Offset)> {
        Some((self.old.first()?.base, self.old.last()?.last()))
    }

    fn is_as_it_was(&self, state: &State, first: Offset) -> bool {
        // A key removed in this turn by another Change would come back, or the other way round.
        let untouched = !state.gone && first >= state.removed_to && state.cleaning.rewriting.is_none();
        untouched && state.index.since_offset(first).take(self.old.len()).eq(self.old.iter().copied())
    }
}

impl Change for Rewrite {
    fn bytes_max(&self) -> usize {
        let new = self.new.as_ref().map_or(0, |new| {
            let batches: usize = new.batches.iter().map(Bytes::len).sum();
            batches + entry_bytes_max(new.producers.len())
        });
        new + self.old.len() * (17 + DELTA_OVERHEAD_BYTES) + 2 * DELTA_OVERHEAD_BYTES
    }

    fn stage(&mut self, turn: &mut Turn) {
        let Some((first, last)) = self.range() else { return };
        let id = self.partition.id;
        let mut state = self.partition.state.lock();
        // Staged again after a write that failed, it goes by what it decided the first time.
        if !self.staged && !self.is_as_it_was(&state, first) {
            return;
        }
        self.staged = true;
        state.cleaning.rewriting = Some((first, last));
        for entry in &self.old {
            turn.delete(Space::Index, &keys::batch(id, entry.base));
        }
        if let Some(new) = &mut self.new {
            let chunk: Vec<&[u8]> = new.batches.iter().map(|bytes| &bytes[..]).collect();
            new.entry.place = turn.chunk(&chunk);
            turn.put(Space::Index, &keys::batch(id, new.entry.base), &new.entry.encode(&new.producers));
        }
    }

    fn committed(self: Box<Self>) {
        let Some((first, last)) = self.range().filter(|_| self.staged) else { return };
        let new: Vec<Entry> = self.new.iter().map(|new| new.entry).collect();
        let mut removed = Vec::new();
        new.iter().for_each(|entry| self.partition.store.retain(entry.place));
        {
            let mut state = self.partition.state.lock();
            state.cleaning.rewriting = None;
            state.index.replace(first, last, &new, &mut removed);
            state.tail.forget_to(last);
            state.transactions.forget(&self.markers);
        }
        // Moved meanwhile, perhaps: it is the place where they were last that is given back.
        removed.iter().for_each(|entry| self.partition.store.release(entry.place));
    }

    fn refused(self: Box<Self>, _: &StoreError) {
        if self.staged {
            self.partition.state.lock().cleaning.rewriting = None;
        }
    }
}
