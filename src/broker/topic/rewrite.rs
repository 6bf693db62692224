//! Moves the last living batches out of a mostly dead segment, so that it can be used again.
//!
//! Blocks while it reads: for a reader thread. The batches go through ordinary Changes, a bite at a time; whatever was
//! removed meanwhile is left alone.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Offset,
    entry::{Entry, entry_bytes_max},
    keys,
    partition::Partition,
    writes::DELTA_OVERHEAD_BYTES,
};
use crate::store::{Change, Place, Space, StoreError, Turn};

/// Bytes of batches that one Change moves, if they are not larger one by one.
const BITE_BYTES: usize = 512 * 1024;

impl Partition {
    /// Moves every batch that lies in `segment`. Returns how many are on their way.
    ///
    /// # Errors
    /// When a batch cannot be read.
    pub fn move_out_of(self: &Arc<Self>, segment: u32) -> Result<usize, StoreError> {
        let entries: Vec<Entry> = {
            let state = self.state.lock();
            state.index.in_segment(segment).collect()
        };
        let (count, mut bite, mut bite_bytes) = (entries.len(), Vec::new(), 0);
        for entry in entries {
            let key = keys::batch(self.id, entry.base);
            let Some(value) = self.store.get(Space::Index, &key)? else { continue };
            let chunk = self.store.read(entry.place)?;
            bite_bytes += chunk.len();
            bite.push(Moved { base: entry.base, from: entry.place, value, chunk, to: None });
            if bite_bytes >= BITE_BYTES {
                self.submit_move(std::mem::take(&mut bite));
                bite_bytes = 0;
            }
        }
        if !bite.is_empty() {
            self.submit_move(bite);
        }
        Ok(count)
    }

    fn submit_move(self: &Arc<Self>, moved: Vec<Moved>) {
        self.store.submit(Box::new(Move { partition: self.clone(), moved }));
    }
}

struct Move {
    partition: Arc<Partition>,
    moved: Vec<Moved>,
}

struct Moved {
    base: Offset,
    from: Place,
    /// The index entry as it is stored, with what it says of producers.
    value: Bytes,
    chunk: Bytes,
    to: Option<Place>,
}

impl Change for Move {
    fn bytes_max(&self) -> usize {
        let one = |m: &Moved| m.chunk.len() + m.value.len() + entry_bytes_max(0) + 2 * DELTA_OVERHEAD_BYTES;
        self.moved.iter().map(one).sum()
    }

    fn stage(&mut self, turn: &mut Turn) {
        let state = self.partition.state.lock();
        for moved in &mut self.moved {
            let mut entries = state.index.since_offset(moved.base);
            let still_there = moved.base >= state.removed_to
                && !state.cleaning.is_rewriting(moved.base)
                && entries.next().is_some_and(|e| e.place == moved.from);
            let decoded = Entry::decode(moved.base, &moved.value);
            if let (true, Some((entry, producers))) = (still_there, decoded) {
                let place = turn.chunk(&[&moved.chunk]);
                let entry = Entry { place, ..entry };
                turn.put(
                    Space::Index,
                    &keys::batch(self.partition.id, moved.base),
                    &entry.encode(&producers),
                );
                moved.to = Some(place);
            }
        }
    }

    fn committed(self: Box<Self>) {
        let mut released = Vec::new();
        {
            let mut state = self.partition.state.lock();
            for moved in &self.moved {
                if let Some(to) = moved.to {
                    self.partition.store.retain(to);
                    // Removed meanwhile: then nothing points at the new place.
                    let old = if state.index.relocate(moved.base, moved.from, to) { moved.from } else { to };
                    released.push(old);
                }
            }
        }
        released.into_iter().for_each(|place| self.partition.store.release(place));
    }

    fn refused(self: Box<Self>, _: &StoreError) {}
}
