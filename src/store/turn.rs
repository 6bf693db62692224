//! What Changes write themselves into: the frame of the log, or plain memory for `--ephemeral`.

use bytes::{Bytes, BytesMut};

use super::{
    Place, Space,
    chunks::NextSlot,
    frame::{self, Delta, Deltas, Frame, HEADER_BYTES},
    shared::Shared,
};

/// What the committer has gathered for one frame.
pub struct Turn {
    sink: Sink,
}

enum Sink {
    Log { frame: Frame },
    Memory { deltas: Vec<u8>, chunks: Vec<(Place, Bytes)>, next: NextSlot },
}

impl Turn {
    pub(super) fn for_log() -> Self {
        Self { sink: Sink::Log { frame: Frame::default() } }
    }

    pub(super) fn for_memory() -> Self {
        Self { sink: Sink::Memory { deltas: Vec::new(), chunks: Vec::new(), next: NextSlot::default() } }
    }

    /// Appends a chunk made of `parts`, and says where it will lie.
    pub fn chunk(&mut self, parts: &[&[u8]]) -> Place {
        match &mut self.sink {
            Sink::Log { frame } => frame.chunk(parts),
            Sink::Memory { chunks, next, .. } => {
                let len = parts.iter().map(|part| part.len()).sum();
                let mut bytes = BytesMut::with_capacity(len);
                for part in parts {
                    bytes.extend_from_slice(part);
                }
                let place = next.take(frame::len_u32(len));
                chunks.push((place, bytes.freeze()));
                place
            }
        }
    }

    /// As [`Turn::chunk`]; in the log large parts are written from where they lie, and held until then.
    pub fn chunk_of(&mut self, parts: &[&Bytes]) -> Place {
        match &mut self.sink {
            Sink::Log { frame } => frame.chunk_of(parts),
            Sink::Memory { .. } => self.chunk(&parts.iter().map(|part| &part[..]).collect::<Vec<_>>()),
        }
    }

    /// Sets a key (an absolute value, so that replaying it twice does no harm).
    ///
    /// # Panics
    /// When the key is over [`super::key::KEY_BYTES_MAX`].
    pub fn put(&mut self, space: Space, key: &[u8], value: &[u8]) {
        self.delta(Delta::Put { space, key, value });
    }

    /// Sets a key that has not existed since the store was made: deleting it soon costs fjall nothing.
    ///
    /// # Panics
    /// When the key is over [`super::key::KEY_BYTES_MAX`].
    pub fn insert(&mut self, space: Space, key: &[u8], value: &[u8]) {
        self.delta(Delta::Insert { space, key, value });
    }

    /// Removes a key.
    ///
    /// # Panics
    /// When the key is over [`super::key::KEY_BYTES_MAX`].
    pub fn delete(&mut self, space: Space, key: &[u8]) {
        self.delta(Delta::Delete { space, key });
    }

    fn delta(&mut self, delta: Delta<'_>) {
        match &mut self.sink {
            Sink::Log { frame } => frame.delta(delta),
            Sink::Memory { deltas, .. } => delta.encode(deltas),
        }
    }

    pub(super) fn begin(&mut self, segment: u32, offset: u32) {
        match &mut self.sink {
            Sink::Log { frame } => frame.begin(segment, offset),
            Sink::Memory { .. } => {}
        }
    }

    /// The frame's length by now.
    pub(super) fn frame_bytes(&self) -> usize {
        match &self.sink {
            Sink::Log { frame } => frame.len(),
            Sink::Memory { .. } => HEADER_BYTES,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match &self.sink {
            Sink::Log { frame } => frame.is_empty(),
            Sink::Memory { deltas, chunks, .. } => deltas.is_empty() && chunks.is_empty(),
        }
    }

    pub(super) fn seal(&mut self, turn: u64, flags: u32) {
        match &mut self.sink {
            Sink::Log { frame } => frame.seal(turn, flags),
            Sink::Memory { .. } => {}
        }
    }

    /// The sealed frame, piece by piece.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let frame = match &self.sink {
            Sink::Log { frame } => Some(frame),
            Sink::Memory { .. } => None,
        };
        frame.into_iter().flat_map(Frame::pieces)
    }

    /// How long the sealed frame is.
    pub(super) fn sealed_len(&self) -> usize {
        match &self.sink {
            Sink::Log { frame } => frame.sealed_len(),
            Sink::Memory { .. } => 0,
        }
    }

    pub(super) fn deltas(&self) -> Deltas<'_> {
        match &self.sink {
            Sink::Log { frame } => frame.deltas(),
            Sink::Memory { deltas, .. } => Deltas(deltas),
        }
    }

    /// Hands chunks that are only in memory to the store, and forgets the turn (the rest of a frame is forgotten by `begin`).
    pub(super) fn keep_chunks(&mut self, shared: &Shared) {
        match &mut self.sink {
            Sink::Log { frame } => frame.release(),
            Sink::Memory { deltas, chunks, .. } => {
                deltas.clear();
                shared.chunks.keep(chunks.drain(..));
            }
        }
    }

    /// The turn will not be.
    pub(super) fn discard(&mut self) {
        match &mut self.sink {
            Sink::Log { frame } => frame.begin(0, 0),
            Sink::Memory { deltas, chunks, .. } => {
                deltas.clear();
                chunks.clear();
            }
        }
    }
}
