//! What queues put into the committer's inbox.
//!
//! | Change | in the log |
//! |---|---|
//! | `PublishRun` | the batch as a chunk (once, whatever number of queues took it) and one index entry; or several small batches as one |
//! | `Flush` | index entries rewritten or deleted: all acknowledgements since the last flush |
//! | `Acknowledge` | acknowledgements that belong to a larger Change |
//! | `Moved` | index entries of what is dead-lettered with the same Change |
//! | `NoteReturns` | how often a quorum queue's messages came back |
//! | `NotesOf` | the same, with the Change that gives them another place |
//! | `Reserve` | "messages below may have been delivered" |
//! | `Forget` | that key removed, with its queue |
//!
//! A Change locks its queue while it is staged, on the committer's thread; nobody waits for the committer with a
//! queue's lock held, so this cannot deadlock.

use std::{
    any::Any,
    sync::{Arc, OnceLock},
};

use smallvec::SmallVec;

use super::{
    ConsumerId, Entry, Queue, QueueId, Seq,
    returns::{NOTE_BYTES, Note, Return},
    runs::{self, ENTRY_BYTES, IndexChange},
    state::State,
};
use crate::{
    broker::{
        message::{Blob, Hold},
        receipt::Receipt,
    },
    store::{Change, Place, Space, Store, StoreError, Turn},
};

/// What one flush writes at most.
const FLUSH_BYTES_MAX: usize = 512 * 1024;

/// Room for acknowledgements that come between a flush's submission and its turn.
const ROOM_BYTES: usize = 4 * 1024;

/// A run of a publish batch; or several, of batches that were published one after the other and go into one turn.
pub(super) struct PublishRun {
    queue: Arc<Queue>,
    first: Seq,
    blob: Arc<Blob>,
    count: usize,
    pub(super) receipt: Option<Arc<Receipt>>,
    /// The batch goes to other queues, too.
    pub(super) hold: Option<Hold>,
    /// Those that it has taken in.
    joined: Vec<PublishRun>,
    joined_bytes: usize,
}

/// Batches are joined into chunks of this size: a client that publishes one by one must not cost an entry for each
/// message, and one that is read back must not bring too many others along.
const JOINED_BYTES_MAX: usize = if cfg!(test) { 512 } else { 64 * 1024 };

impl PublishRun {
    pub(super) fn new(queue: Arc<Queue>, first: Seq, blob: Arc<Blob>, count: usize) -> Self {
        let joined_bytes = blob.bytes_len();
        Self { queue, first, blob, count, receipt: None, hold: None, joined: Vec::new(), joined_bytes }
    }

    fn parts(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.joined)
    }

    fn write(&self, turn: &mut Turn) -> Place {
        self.blob.place_or_write(|bytes| {
            let place = turn.chunk_of(&[bytes]);
            self.hold.iter().for_each(|hold| hold.written(place));
            place
        })
    }

    /// One batch, which other queues may share.
    fn stage_one(&self, turn: &mut Turn) {
        // Copying the chunk needs no lock; whether it is needed at all does.
        let wanted =
            self.queue.with_state(|state| state.runs.of(self.first).is_some_and(|run| run.left() > 0));
        let place = wanted.then(|| self.write(turn));
        let entry = self.queue.with_state(|state| {
            let unused = Place { segment: 0, offset: 0, len: 0 };
            state.runs.stage(self.first, || place.unwrap_or(unused))
        });
        if let (Some(_), Some((place, value))) = (place, entry) {
            self.queue.core().store.retain(place);
            turn.insert(Space::Index, &runs::key(self.queue.id, self.first), &value);
        }
    }

    /// Several batches as one chunk: laid end to end they are a batch.
    fn stage_joined<'a>(&'a self, turn: &mut Turn) {
        let mut bytes: Vec<&[u8]> = Vec::with_capacity(self.joined.len() + 1);
        let befores: Vec<_> = self.queue.with_state(|state| {
            let mut messages = 0;
            let mut last: Option<(&Arc<Blob>, u32)> = None;
            let mut before = |part: &'a Self| {
                state.runs.of(part.first).filter(|run| run.left() > 0)?;
                // A batch of persistent and transient messages by turns is several runs.
                if let Some((_, before)) = last.filter(|(blob, _)| Arc::ptr_eq(blob, &part.blob)) {
                    return Some(before);
                }
                last = Some((&part.blob, messages));
                bytes.push(part.blob.bytes());
                messages += u32::try_from(part.blob.len()).unwrap_or(u32::MAX);
                last.map(|(_, before)| before)
            };
            self.parts().map(|part| (part.first, before(part))).collect()
        });
        let place =
            if bytes.is_empty() { Place { segment: 0, offset: 0, len: 0 } } else { turn.chunk(&bytes) };
        let entries = self.queue.with_state(|state| state.runs.stage_joined(&befores, place));
        for (first, value) in entries {
            self.queue.core().store.retain(place);
            turn.insert(Space::Index, &runs::key(self.queue.id, first), &value);
        }
    }
}

impl Change for PublishRun {
    fn bytes_max(&self) -> usize {
        self.blob.bytes_len() + ENTRY_BYTES + self.count * 5
    }

    fn join(&mut self, next: Box<dyn Change>) -> Option<Box<dyn Change>> {
        let joins = |other: &Self| {
            Arc::ptr_eq(&other.queue, &self.queue)
                && other.hold.is_none()
                && other.joined_bytes + self.joined_bytes <= JOINED_BYTES_MAX
        };
        if self.hold.is_some() || !(&*next as &dyn Any).downcast_ref().is_some_and(joins) {
            return Some(next);
        }
        if let Ok(other) = (next as Box<dyn Any>).downcast::<Self>() {
            self.joined_bytes += other.joined_bytes;
            self.joined.push(*other);
        }
        None
    }

    fn stage(&mut self, turn: &mut Turn) {
        if self.joined.is_empty() {
            self.stage_one(turn);
        } else {
            self.stage_joined(turn);
        }
    }

    fn committed(self: Box<Self>) {
        for part in self.parts() {
            self.queue.run_durable(part.first);
            if let Some(receipt) = &part.receipt {
                receipt.done();
            }
        }
    }

    fn refused(self: Box<Self>, _: &StoreError) {
        for part in self.parts() {
            self.queue.run_refused(part.first);
            part.receipt.iter().for_each(|receipt| receipt.refuse());
        }
    }
}

/// All acknowledgements of a queue since its last flush, as far as they go into `bytes_max`; the rest make another.
pub(super) struct Flush {
    queue: Arc<Queue>,
    bytes_max: usize,
    released: Vec<Place>,
}

impl Flush {
    /// A flush of what waits now, with some room for what joins it before it is staged.
    pub(super) fn new(queue: Arc<Queue>, unflushed_bytes: usize) -> Self {
        let bytes_max = unflushed_bytes.saturating_add(ROOM_BYTES).min(FLUSH_BYTES_MAX);
        Self { queue, bytes_max, released: Vec::new() }
    }
}

impl Change for Flush {
    fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// No client waits for an acknowledgement to be on disk: it goes with the next publish, or soon.
    fn lazy(&self) -> bool {
        true
    }

    fn stage(&mut self, turn: &mut Turn) {
        let changes = self.queue.with_state(|state| state.take_flush(self.bytes_max));
        write(turn, self.queue.id, changes, &mut self.released);
    }

    fn committed(self: Box<Self>) {
        let store = &self.queue.core().store;
        self.released.iter().for_each(|&place| store.release(place));
        let again = self.queue.with_state(State::flush_again);
        if let Some(bytes) = again {
            store.submit(Box::new(Self::new(self.queue.clone(), bytes)));
        }
    }

    fn refused(self: Box<Self>, _: &StoreError) {}
}

fn write(turn: &mut Turn, queue: QueueId, changes: Vec<IndexChange>, released: &mut Vec<Place>) {
    for change in changes {
        match change {
            IndexChange::Delete(first, place) => {
                turn.delete(Space::Index, &runs::key(queue, first));
                released.push(place);
            }
            IndexChange::Put(first, value) => turn.put(Space::Index, &runs::key(queue, first), &value),
        }
    }
}

/// Deliveries to one consumer (`None`: to `basic.get`) that are settled with a transaction. The queue counts them as
/// unacknowledged until it is committed.
pub(in crate::broker) struct Acknowledge {
    queue: Arc<Queue>,
    consumer: Option<ConsumerId>,
    entries: Vec<Entry>,
    acknowledged: bool,
    bytes_max: usize,
    released: Vec<Place>,
}

impl Acknowledge {
    pub(in crate::broker) fn new(
        queue: Arc<Queue>,
        consumer: Option<ConsumerId>,
        entries: Vec<Entry>,
        acknowledged: bool,
    ) -> Self {
        let seqs = entries.iter().map(|entry| entry.seq);
        let bytes_max = queue.with_state(|state| state.runs.acknowledge_bytes_max(seqs));
        Self { queue, consumer, entries, acknowledged, bytes_max, released: Vec::new() }
    }
}

impl Change for Acknowledge {
    fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    fn stage(&mut self, turn: &mut Turn) {
        let changes = self.queue.with_state(|state| {
            let seqs = self.entries.iter().map(|entry| entry.seq);
            // A deleted queue has let go of them already.
            if state.gone { Vec::new() } else { state.runs.acknowledge_now(seqs) }
        });
        write(turn, self.queue.id, changes, &mut self.released);
    }

    fn committed(self: Box<Self>) {
        let store = &self.queue.core().store;
        self.released.iter().for_each(|&place| store.release(place));
        self.queue.settle(self.consumer, self.entries.iter(), self.acknowledged);
    }

    fn refused(self: Box<Self>, _: &StoreError) {
        // The channel has let go of them: they are delivered again.
        self.queue.requeue(self.consumer, self.entries.into_iter(), Return::Undone);
    }
}

/// Messages that the queue has let go, and that are elsewhere with the same Change: in other queues, or behind the others of
/// this one. It has forgotten them itself.
pub(in crate::broker) struct Moved {
    queue: Arc<Queue>,
    seqs: Vec<Seq>,
    bytes_max: usize,
    released: Vec<Place>,
}

impl Moved {
    pub(in crate::broker) fn new(queue: Arc<Queue>, seqs: Vec<Seq>) -> Self {
        let bytes_max = queue.with_state(|state| state.runs.acknowledge_bytes_max(seqs.iter().copied()));
        Self { queue, seqs, bytes_max, released: Vec::new() }
    }

    /// As [`Moved::new`], with the queue's lock held.
    pub(super) fn locked(queue: Arc<Queue>, state: &State, seqs: Vec<Seq>) -> Self {
        let bytes_max = state.runs.acknowledge_bytes_max(seqs.iter().copied());
        Self { queue, seqs, bytes_max, released: Vec::new() }
    }
}

impl Change for Moved {
    fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    fn stage(&mut self, turn: &mut Turn) {
        let changes = self.queue.with_state(|state| {
            // A deleted queue has let go of them already.
            if state.gone { Vec::new() } else { state.runs.acknowledge_now(self.seqs.iter().copied()) }
        });
        write(turn, self.queue.id, changes, &mut self.released);
    }

    fn committed(self: Box<Self>) {
        let store = &self.queue.core().store;
        self.released.iter().for_each(|&place| store.release(place));
    }

    /// The log keeps them where they were: after a restart they die again.
    fn refused(self: Box<Self>, _: &StoreError) {}
}

/// Messages of a queue below `to` may have been delivered from now on.
pub(super) struct Reserve {
    pub(super) queue: Arc<Queue>,
    pub(super) to: Seq,
}

impl Change for Reserve {
    fn bytes_max(&self) -> usize {
        ENTRY_BYTES
    }

    fn stage(&mut self, turn: &mut Turn) {
        turn.put(Space::State, &delivered_key(self.queue.id, self.to.level()), &self.to.0.to_be_bytes());
    }

    fn committed(self: Box<Self>) {
        self.queue.with_state(|state| state.reserved(self.to));
        self.queue.pump();
    }

    fn refused(self: Box<Self>, _: &StoreError) {
        // Reads go on when the store is poisoned: what was read back may be delivered, unflagged at worst.
        self.queue.with_state(|state| state.reserved(Seq::end_of(self.to.level())));
        self.queue.pump();
    }
}

/// The queue is gone: so is what the log knows of its deliveries. A restart would clean up as well; but queues that come
/// and go would fill the catalog until then.
pub(super) struct Forget(pub(super) QueueId, pub(super) Vec<usize>);

impl Change for Forget {
    fn bytes_max(&self) -> usize {
        self.1.len() * ENTRY_BYTES
    }

    fn lazy(&self) -> bool {
        true
    }

    fn stage(&mut self, turn: &mut Turn) {
        self.1.iter().for_each(|&level| turn.delete(Space::State, &delivered_key(self.0, level)));
    }

    fn committed(self: Box<Self>) {}

    fn refused(self: Box<Self>, _: &StoreError) {}
}

/// `d` | queue id u64 | level u8, if it is not 0 → sequence number u64, which says its level
#[must_use]
pub fn delivered_key(queue: QueueId, level: usize) -> SmallVec<[u8; 10]> {
    let mut key = SmallVec::from_slice(b"d");
    key.extend_from_slice(&queue.0.to_be_bytes());
    key.extend((level > 0).then(|| u8::try_from(level).unwrap_or(u8::MAX)));
    key
}

/// Counts of a quorum queue's returns; the rest make another.
pub(super) struct NoteReturns {
    pub(super) queue: Arc<Queue>,
    pub(super) bytes_max: usize,
}

impl Change for NoteReturns {
    fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    fn lazy(&self) -> bool {
        true
    }

    fn stage(&mut self, turn: &mut Turn) {
        note(turn, &self.queue.with_state(|state| state.counts.take(self.queue.id, self.bytes_max)));
    }

    fn committed(self: Box<Self>) {
        if let Some(bytes_max) = self.queue.with_state(|state| state.counts.flush()) {
            let store = &self.queue.core().store;
            store.submit(Box::new(Self { queue: self.queue.clone(), bytes_max }));
        }
    }

    fn refused(self: Box<Self>, _: &StoreError) {}
}

/// Notes that are in the log with a Change of which this is a part.
pub(super) struct NotesOf(pub(super) Vec<Note>);

impl Change for NotesOf {
    fn bytes_max(&self) -> usize {
        self.0.len() * NOTE_BYTES
    }

    fn stage(&mut self, turn: &mut Turn) {
        note(turn, &self.0);
    }

    fn committed(self: Box<Self>) {}

    fn refused(self: Box<Self>, _: &StoreError) {}
}

fn note(turn: &mut Turn, notes: &[Note]) {
    for (key, count) in notes {
        match count {
            Some(count) => turn.put(Space::State, key, count),
            None => turn.delete(Space::State, key),
        }
    }
}

/// A chunk that is moved out of a segment that is mostly dead, for all runs that lie in it: it is written once, and kept
/// while more runs may come to point at it.
pub struct MovedChunk {
    bytes: bytes::Bytes,
    to: OnceLock<Place>,
    store: Store,
}

impl MovedChunk {
    #[must_use]
    pub fn new(bytes: bytes::Bytes, store: Store) -> Arc<Self> {
        Arc::new(Self { bytes, to: OnceLock::new(), store })
    }

    fn write(&self, turn: &mut Turn) -> Place {
        *self.to.get_or_init(|| {
            let to = turn.chunk_of(&[&self.bytes]);
            self.store.retain(to);
            to
        })
    }
}

impl Drop for MovedChunk {
    fn drop(&mut self) {
        if let Some(&to) = self.to.get() {
            self.store.release(to);
        }
    }
}

/// A run whose chunk is moved.
pub(super) struct MoveRun {
    pub(super) queue: Arc<Queue>,
    pub(super) first: Seq,
    pub(super) from: Place,
    pub(super) chunk: Arc<MovedChunk>,
    /// Where it was copied to, once it was.
    pub(super) to: Option<Place>,
}

impl Change for MoveRun {
    fn bytes_max(&self) -> usize {
        self.chunk.bytes.len() * 2 + ENTRY_BYTES
    }

    fn stage(&mut self, turn: &mut Turn) {
        let here = |run: &runs::Run| run.left() > 0 && run.place == Some(self.from);
        if !self.queue.with_state(|state| state.runs.of_mut(self.first).is_some_and(|run| here(run))) {
            return; // acknowledged, purged or moved meanwhile
        }
        let to = self.chunk.write(turn);
        let entry = self.queue.with_state(|state| {
            let run = state.runs.of_mut(self.first)?;
            (run.place, run.moving) = (Some(to), true);
            Some(run.encode(to))
        });
        if let Some(value) = entry {
            self.queue.core().store.retain(to);
            turn.put(Space::Index, &runs::key(self.queue.id, self.first), &value);
            self.to = Some(to);
        }
    }

    fn committed(self: Box<Self>) {
        if let Some(to) = self.to {
            self.queue.core().store.release(self.from);
            self.queue.moved(self.first, to);
        }
    }

    fn refused(self: Box<Self>, _: &StoreError) {
        // Reads go on when the store is poisoned: from where it still lies.
        if self.to.is_some() {
            self.queue.moved(self.first, self.from);
        }
    }
}
