//! The plainest Change: some keys set, some removed, and somebody told.

use crate::store::{Change, Space, Store, StoreError, Ticket, Turn};

/// What became of a Change.
pub(crate) type Outcome = Result<(), StoreError>;

/// Keys to set and to remove in one turn.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    puts: Vec<(Space, Vec<u8>, Vec<u8>)>,
    deletes: Vec<(Space, Vec<u8>)>,
}

impl Writes {
    pub(crate) fn put(&mut self, space: Space, key: Vec<u8>, value: Vec<u8>) {
        self.puts.push((space, key, value));
    }

    pub(crate) fn delete(&mut self, space: Space, key: Vec<u8>) {
        self.deletes.push((space, key));
    }

    /// Into the inbox, even when there is nothing to write: `done` runs on the committer's thread, after everything
    /// that was submitted before.
    pub(crate) fn submit(self, store: &Store, done: impl FnOnce(Outcome) + Send + 'static) -> Ticket {
        store.submit(self.into_change(done))
    }

    /// For what is part of a larger Change.
    pub(crate) fn into_change(self, done: impl FnOnce(Outcome) + Send + 'static) -> Box<dyn Change> {
        Box::new(WritesChange { writes: self, done })
    }

    /// Into the inbox if there is anything to write, and nobody waits for it.
    pub(crate) fn submit_unwatched(self, store: &Store) {
        if !self.puts.is_empty() || !self.deletes.is_empty() {
            self.submit(store, drop);
        }
    }
}

/// Keys that are removed while recovery goes by, however many there are: a Change for every [`SWEEP_KEYS`], as one of
/// millions would be a turn of its own, larger than a segment.
pub(crate) struct Sweep<'a> {
    store: &'a Store,
    writes: Writes,
}

const SWEEP_KEYS: usize = if cfg!(test) { 4 } else { 8_192 };

impl<'a> Sweep<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store, writes: Writes::default() }
    }

    pub(crate) fn delete(&mut self, space: Space, key: Vec<u8>) {
        self.writes.delete(space, key);
        if self.writes.deletes.len() >= SWEEP_KEYS {
            std::mem::take(&mut self.writes).submit_unwatched(self.store);
        }
    }
}

impl Drop for Sweep<'_> {
    fn drop(&mut self) {
        std::mem::take(&mut self.writes).submit_unwatched(self.store);
    }
}

struct WritesChange<F> {
    writes: Writes,
    done: F,
}

impl<F: FnOnce(Outcome) + Send + 'static> Change for WritesChange<F> {
    fn bytes_max(&self) -> usize {
        let puts: usize =
            self.writes.puts.iter().map(|(_, k, v)| k.len() + v.len() + DELTA_OVERHEAD_BYTES).sum();
        let deletes: usize = self.writes.deletes.iter().map(|(_, k)| k.len() + DELTA_OVERHEAD_BYTES).sum();
        puts + deletes
    }

    fn stage(&mut self, turn: &mut Turn) {
        for (space, key, value) in &self.writes.puts {
            turn.put(*space, key, value);
        }
        for (space, key) in &self.writes.deletes {
            turn.delete(*space, key);
        }
    }

    fn committed(self: Box<Self>) {
        (self.done)(Ok(()));
    }

    fn refused(self: Box<Self>, error: &StoreError) {
        (self.done)(Err(error.clone()));
    }
}

/// What the store adds to a key and its value, or to a chunk: more than enough.
pub(crate) const DELTA_OVERHEAD_BYTES: usize = 16;
