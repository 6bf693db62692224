//! The commit log: frames appended to the active segment, chunks read from any.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;

use super::{
    Place, StoreError,
    frame::{self, CHUNK_HEAD_BYTES, HEADER_BYTES},
    key::Parts,
    pool::{Pool, Segment},
};

/// A position in the log: the end of a turn's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pos {
    pub(super) turn: u64,
    pub(super) segment: u32,
    pub(super) offset: u32,
}

impl Pos {
    /// As the catalog keeps it. `clean`: the store was closed here.
    pub(super) fn encode(self, clean: bool) -> [u8; 17] {
        let mut out = [0; 17];
        let fields = self
            .turn
            .to_be_bytes()
            .into_iter()
            .chain(self.segment.to_be_bytes())
            .chain(self.offset.to_be_bytes())
            .chain([clean.into()]);
        for (to, from) in out.iter_mut().zip(fields) {
            *to = from;
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, bool)> {
        let mut parts = Parts(bytes);
        let pos = Self { turn: parts.u64()?, segment: parts.u32()?, offset: parts.u32()? };
        let clean = parts.u8()? == 1;
        parts.0.is_empty().then_some((pos, clean))
    }
}

/// Where the committer writes.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` until the first turn: opening a store waits for no file to be made.
    active: Option<Active>,
    /// The last turn that was written.
    pub(super) turn: u64,
}

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    /// Where the next frame begins.
    pub(super) offset: u32,
    bytes: u64,
}

impl Writer {
    /// Continues behind `turn`, in a new segment.
    pub(super) fn new(turn: u64) -> Self {
        Self { active: None, turn }
    }

    pub(super) fn active(&self) -> Option<&Active> {
        self.active.as_ref()
    }

    /// Whether a frame of that length surely stays inside the segment. A frame that outgrows what its Changes promised,
    /// or a Change larger than a whole segment, makes the file longer instead: slower, and right.
    pub(super) fn fits(&self, frame_bytes: usize) -> bool {
        self.active.as_ref().is_some_and(|active| {
            active.offset == 0 || u64::from(active.offset) + frame_bytes as u64 <= active.bytes
        })
    }

    pub(super) fn roll(&mut self, pool: &Pool) -> io::Result<()> {
        let segment = pool.take()?;
        let bytes = segment.file.len()?;
        self.active = Some(Active { segment, offset: 0, bytes });
        Ok(())
    }

    /// The frame just written counts.
    pub(super) fn advance(&mut self, frame_bytes: usize) -> Option<Pos> {
        let active = self.active.as_mut()?;
        active.offset = frame::aligned(active.offset.saturating_add(frame::len_u32(frame_bytes)));
        self.turn += 1;
        active.segment.end.store(active.offset, Ordering::Release);
        Some(Pos { turn: self.turn, segment: active.segment.id, offset: active.offset })
    }
}

impl Active {
    /// How much of the segment is used, in percent.
    pub(super) fn used_percent(&self) -> u64 {
        u64::from(self.offset) * 100 / self.bytes.max(1)
    }

    pub(super) fn write<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        let mut offset = u64::from(self.offset);
        for piece in pieces {
            self.segment.file.write_all_at(piece, offset)?;
            offset += piece.len() as u64;
        }
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.segment.file.sync()
    }
}

/// Reads a chunk and checks its sum.
pub(super) fn read(pool: &Pool, place: Place) -> Result<Bytes, StoreError> {
    let bytes = span(pool, place, end(place)).map_err(|reason| StoreError::Read { place, reason })?;
    checked(place, bytes)
}

/// Reads chunks; those that lie close to each other by one call.
pub(super) fn read_all(pool: &Pool, places: &[Place]) -> Vec<Result<Bytes, StoreError>> {
    let mut sorted: Vec<(usize, Place)> = places.iter().copied().enumerate().collect();
    sorted.sort_unstable_by_key(|(_, place)| (place.segment, place.offset));
    let mut chunks = Vec::with_capacity(places.len());
    for run in sorted.chunk_by(|(_, a), (_, b)| are_close(*a, *b)) {
        let (Some((_, first)), Some((_, last))) = (run.first(), run.last()) else { continue };
        let bytes = span(pool, *first, end(*last)).ok();
        chunks.extend(run.iter().map(|&(at, place)| {
            let from = (place.offset - first.offset) as usize;
            let to = from + CHUNK_HEAD_BYTES + place.len as usize;
            match &bytes {
                Some(bytes) if to <= bytes.len() => (at, checked(place, bytes.slice(from..to))),
                // Each says for itself what is wrong with it.
                Some(_) | None => (at, read(pool, place)),
            }
        }));
    }
    chunks.sort_unstable_by_key(|(at, _)| *at);
    chunks.into_iter().map(|(_, chunk)| chunk).collect()
}

/// Where a chunk ends.
fn end(place: Place) -> u64 {
    u64::from(place.offset) + CHUNK_HEAD_BYTES as u64 + u64::from(place.len)
}

/// Whether two that follow each other are read together.
fn are_close(a: Place, b: Place) -> bool {
    a.segment == b.segment
        && a.offset / WINDOW_BYTES == b.offset / WINDOW_BYTES
        && u64::from(b.offset) <= end(a) + GAP_BYTES_MAX
}

/// What is read by one call begins in one window of this size: little enough to stay in a processor's cache until it has
/// been checked.
const WINDOW_BYTES: u32 = 256 << 10;

/// What may lie between two chunks that are read together: frames' heads, and keys.
const GAP_BYTES_MAX: u64 = 1_024;

/// From a chunk's place up to `end`, as it lies in the segment.
fn span(pool: &Pool, from: Place, end: u64) -> Result<Bytes, String> {
    let segment =
        pool.segment(from.segment).ok_or_else(|| format!("there is no segment {}", from.segment))?;
    let len = end.checked_sub(from.offset.into()).and_then(|len| usize::try_from(len).ok());
    match len {
        Some(len)
            if (from.offset as usize) >= HEADER_BYTES
                && end <= segment.end.load(Ordering::Acquire).into() =>
        {
            let bytes = segment.file.read_at(len, from.offset.into()).map_err(|e| e.to_string())?;
            Ok(bytes.into())
        }
        Some(_) | None => Err("it lies outside of what was written".into()),
    }
}

/// The payload of a chunk that was read with its head.
fn checked(place: Place, bytes: Bytes) -> Result<Bytes, StoreError> {
    match frame::check_chunk(place, &bytes) {
        Some(payload) => Ok(bytes.slice(payload)),
        None => Err(StoreError::Read { place, reason: "its checksum is wrong".into() }),
    }
}
