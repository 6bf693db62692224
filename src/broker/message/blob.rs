//! A sealed batch of messages, and what keeps its chunk in the log.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;

use super::{Message, read_u32};
use crate::store::{Place, Store};

/// A sealed batch: its bytes, where each message starts, and where it lies on disk once it does.
#[derive(Debug)]
pub struct Blob {
    pub(super) bytes: Bytes,
    starts: Vec<u32>,
    place: OnceLock<Place>,
    holds: AtomicUsize,
}

impl Blob {
    pub(super) fn new(bytes: Bytes, starts: Vec<u32>) -> Self {
        Self { bytes, starts, place: OnceLock::new(), holds: AtomicUsize::new(0) }
    }

    /// A batch read back from the log.
    ///
    /// # Errors
    /// `None` when the bytes are not a batch.
    #[must_use]
    pub fn read(bytes: Bytes, place: Place) -> Option<Arc<Self>> {
        let blob = Self::of(bytes)?;
        let _ = blob.place.set(place);
        Some(blob)
    }

    /// A batch that has no place of its own.
    #[must_use]
    pub fn of(bytes: Bytes) -> Option<Arc<Self>> {
        let mut starts = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            starts.push(u32::try_from(at).ok()?);
            at = at.checked_add(4)?.checked_add(read_u32(&bytes, at)? as usize)?;
        }
        (at == bytes.len()).then(|| Arc::new(Self::new(bytes, starts)))
    }

    /// Where the batch lies; set by the first Change that writes it.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.place.get().copied()
    }

    /// The place, written by `write` if nobody has yet. Only the committer's thread calls this.
    pub fn place_or_write(&self, write: impl FnOnce(&Bytes) -> Place) -> Place {
        *self.place.get_or_init(|| write(&self.bytes))
    }

    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// The batch as it lies on disk.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The bytes of the message of that ordinal: a batch of its own.
    #[must_use]
    pub fn bytes_of(&self, ordinal: u32) -> &[u8] {
        let at = |ordinal: usize| self.starts.get(ordinal).map(|&start| start as usize);
        let Some(start) = at(ordinal as usize) else { return &[] };
        let end = at(ordinal as usize + 1).unwrap_or(self.bytes.len());
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// The message of that ordinal.
    #[must_use]
    pub fn message(self: &Arc<Self>, ordinal: u32) -> Option<Message> {
        let start = *self.starts.get(ordinal as usize)?;
        Message::parse(self, start)
    }
}

/// Keeps a batch's chunk while more queues may still get an entry that points at it. Without one, the first queue's
/// acknowledgements could free the chunk before the last queue's entry is staged, in a later turn.
pub struct Hold {
    blob: Arc<Blob>,
    store: Store,
}

impl Hold {
    #[must_use]
    pub fn new(blob: Arc<Blob>, store: Store) -> Self {
        blob.holds.fetch_add(1, Ordering::Relaxed);
        Self { blob, store }
    }

    /// The chunk has just been written: all holds together keep it.
    pub fn written(&self, place: Place) {
        self.store.retain(place);
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        Self::new(self.blob.clone(), self.store.clone())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // The last one: no other can be made any more, as they are made from one another.
        if self.blob.holds.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(place) = self.blob.place()
        {
            self.store.release(place);
        }
    }
}
