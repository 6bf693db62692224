//! What a holding puts into the committer's inbox: messages held, removed, and moved out of a sparse segment.

use std::sync::Arc;

use super::{Due, Holding, key, value};
use crate::{
    broker::{message::Blob, receipt::Receipt, topic::writes::DELTA_OVERHEAD_BYTES},
    store::{Change, Place, Space, StoreError, Turn},
};

/// A key with its value.
const KEY_BYTES: usize = 25 + 12 + DELTA_OVERHEAD_BYTES;

/// Messages to be held.
pub(super) struct Hold {
    holding: Arc<Holding>,
    blob: Arc<Blob>,
    messages: Vec<(u32, Due)>,
    receipt: Option<Arc<Receipt>>,
    held: Vec<(Due, Place)>,
}

impl Hold {
    pub(super) fn new(
        holding: Arc<Holding>,
        blob: Arc<Blob>,
        messages: Vec<(u32, Due)>,
        receipt: Option<Arc<Receipt>>,
    ) -> Self {
        Self { holding, blob, messages, receipt, held: Vec::new() }
    }
}

impl Change for Hold {
    fn bytes_max(&self) -> usize {
        let bytes =
            |(ordinal, _): &(u32, Due)| self.blob.bytes_of(*ordinal).len() + DELTA_OVERHEAD_BYTES + KEY_BYTES;
        self.messages.iter().map(bytes).sum()
    }

    fn stage(&mut self, turn: &mut Turn) {
        for &(ordinal, due) in &self.messages {
            // A chunk each: they are read one by one, in another order.
            let place = turn.chunk(&[self.blob.bytes_of(ordinal)]);
            self.holding.core().store.retain(place);
            turn.insert(Space::Index, &key(self.holding.id, due), &value(place));
            self.held.push((due, place));
        }
    }

    fn committed(self: Box<Self>) {
        self.holding.held(self.held);
        if let Some(receipt) = &self.receipt {
            receipt.done();
        }
    }

    fn refused(self: Box<Self>, _: &StoreError) {
        if let Some(receipt) = &self.receipt {
            receipt.refuse();
        }
    }
}

/// Messages that have gone on, or are dropped with their exchange.
pub(super) struct Remove {
    holding: Arc<Holding>,
    messages: Vec<(Due, Place)>,
    /// They have gone on: the next may.
    released: bool,
}

impl Remove {
    pub(super) fn new(holding: Arc<Holding>, messages: Vec<(Due, Place)>, released: bool) -> Self {
        Self { holding, messages, released }
    }
}

impl Change for Remove {
    fn bytes_max(&self) -> usize {
        self.messages.len() * KEY_BYTES
    }

    fn stage(&mut self, turn: &mut Turn) {
        for &(due, _) in &self.messages {
            turn.delete(Space::Index, &key(self.holding.id, due));
        }
    }

    fn committed(self: Box<Self>) {
        let store = &self.holding.core().store;
        self.messages.iter().for_each(|&(_, place)| store.release(place));
        if self.released {
            self.holding.released(self.messages.len());
        }
    }

    /// Nothing more goes on; what was not removed waits in the log for the next start.
    fn refused(self: Box<Self>, _: &StoreError) {}
}

/// A message copied out of a segment that is mostly dead.
pub(super) struct Move {
    holding: Arc<Holding>,
    due: Due,
    from: Place,
    chunk: bytes::Bytes,
    to: Option<Place>,
}

impl Move {
    pub(super) fn new(holding: Arc<Holding>, due: Due, from: Place, chunk: bytes::Bytes) -> Self {
        Self { holding, due, from, chunk, to: None }
    }
}

impl Change for Move {
    fn bytes_max(&self) -> usize {
        self.chunk.len() + DELTA_OVERHEAD_BYTES + KEY_BYTES
    }

    fn stage(&mut self, turn: &mut Turn) {
        // Who takes it from now on removes it where it will lie; so it must not be read before it does.
        let mut pending = self.holding.pending.lock();
        if pending.waiting.get(&self.due) == Some(&self.from) {
            pending.waiting.remove(&self.due);
            drop(pending);
            let to = turn.chunk(&[&self.chunk]);
            self.holding.core().store.retain(to);
            turn.put(Space::Index, &key(self.holding.id, self.due), &value(to));
            self.to = Some(to);
        }
    }

    fn committed(self: Box<Self>) {
        let Some(to) = self.to else { return };
        self.holding.core().store.release(self.from);
        self.holding.moved(self.due, to);
    }

    fn refused(self: Box<Self>, _: &StoreError) {
        if self.to.is_some() {
            self.holding.moved(self.due, self.from);
        }
    }
}
