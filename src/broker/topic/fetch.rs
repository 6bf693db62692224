//! Reading: batches from an offset on, and offsets by time.
//!
//! What is asked for is planned under the lock (bytes of the tail, places in the store) and loaded without it. Batches
//! are always whole: an offset inside a batch gets all of it, and the first one is given however large it is.

use bytes::Bytes;

use super::{
    Offset,
    entry::Entry,
    partition::{LEADER_EPOCH, Offsets, Partition, State},
    transactions::Aborted,
};
use crate::{
    data::record::{Batch, Batches, DECOMPRESSED_BYTES_MAX},
    store::{Place, StoreError},
};

/// Which records a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

impl Offsets {
    /// Where reading ends.
    #[must_use]
    pub fn end(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable_offset,
        }
    }
}

/// Why nothing can be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    #[error("offset is not within {} to {}", .0.log_start.0, .0.high_watermark.0)]
    OutOfRange(Offsets),
    #[error("the topic has been deleted")]
    UnknownTopicOrPartition,
    #[error(transparent)]
    Storage(#[from] StoreError),
    #[error("a stored batch is damaged: {0}")]
    Damaged(String),
}

/// What was read: whole batches in order, each as it is sent.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub batches: Vec<Bytes>,
    pub offsets: Offsets,
    /// Read committed: what of it belongs to aborted transactions, by their first offsets.
    pub aborted: Vec<Aborted>,
}

impl Fetched {
    /// No records.
    #[must_use]
    pub fn nothing(offsets: Offsets) -> Self {
        Self { batches: Vec::new(), offsets, aborted: Vec::new() }
    }

    /// For readers that know nothing of transactions: batches that were aborted have no records.
    ///
    /// # Errors
    /// When a batch is damaged.
    pub fn without_aborted(mut self) -> Result<Self, FetchError> {
        if self.aborted.is_empty() {
            return Ok(self);
        }
        for bytes in &mut self.batches {
            let batch = Batch::decode(bytes.clone()).map_err(|e| FetchError::Damaged(e.to_string()))?;
            let header = batch.header();
            let covers = |a: &Aborted| {
                a.producer_id == header.producer_id
                    && (a.first_offset.0..a.last_offset.0).contains(&header.base_offset)
            };
            if header.attributes.is_transactional() && self.aborted.iter().any(covers) {
                *bytes = batch.emptied().into_bytes();
            }
        }
        self.aborted.clear();
        Ok(self)
    }

    #[must_use]
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(Bytes::len).sum()
    }
}

/// What is to be read, and what of it is in memory.
#[derive(Debug)]
pub struct Read {
    pieces: Vec<Piece>,
    from: Offset,
    bytes_max: usize,
    isolation: Isolation,
    pub offsets: Offsets,
    aborted: Vec<Aborted>,
}

#[derive(Debug)]
enum Piece {
    Cached(Bytes),
    Stored(Place),
}

impl Piece {
    fn bytes(&self) -> usize {
        match self {
            Self::Cached(bytes) => bytes.len(),
            Self::Stored(place) => usize::try_from(place.len).unwrap_or(usize::MAX),
        }
    }
}

impl Read {
    /// Bytes that it will give, at most.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pieces.iter().map(Piece::bytes).sum()
    }

    /// The answer, if nothing has to be read from the store; else the plan again.
    pub fn into_cached(self) -> Result<Fetched, Self> {
        if self.places().next().is_some() {
            return Err(self);
        }
        let bytes = |piece| match piece {
            Piece::Cached(bytes) => Some(bytes),
            Piece::Stored(_) => None,
        };
        let batches = self.pieces.into_iter().filter_map(bytes).collect();
        Ok(Fetched { batches, offsets: self.offsets, aborted: self.aborted })
    }

    /// What of it lies in the store, in order.
    fn places(&self) -> impl Iterator<Item = Place> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Stored(place) => Some(*place),
            Piece::Cached(_) => None,
        })
    }

    /// The batches, with the chunks of its places.
    fn filled(
        self,
        mut chunks: impl Iterator<Item = Result<Bytes, StoreError>>,
    ) -> Result<Fetched, FetchError> {
        let (mut batches, mut left) = (Vec::with_capacity(self.pieces.len()), self.bytes_max);
        for piece in self.pieces {
            let chunk = match piece {
                Piece::Cached(bytes) => {
                    take_batch(bytes, &mut left, &mut batches);
                    continue;
                }
                Piece::Stored(_) => chunks.next(),
            };
            let Some(chunk) = chunk else { break };
            for batch in Batches::new(chunk?) {
                let batch = batch.map_err(|e| FetchError::Damaged(e.to_string()))?;
                if batch.header().last_offset() >= self.from.0 {
                    take_batch(batch.into_bytes(), &mut left, &mut batches);
                }
            }
        }
        Ok(Fetched { batches, offsets: self.offsets, aborted: self.aborted })
    }
}

/// Carries planned reads out. One hop to a reader thread for all of them: a hop for each costs more than reading some
/// batches. What has been moved or removed meanwhile is planned anew, once.
pub async fn load(reads: Vec<(&Partition, Read)>) -> Vec<Result<Fetched, FetchError>> {
    let places: Vec<Place> = reads.iter().flat_map(|(_, read)| read.places()).collect();
    let mut chunks = match reads.first() {
        Some((partition, _)) => partition.store.read_all(places).await.into_iter(),
        None => return Vec::new(),
    };
    let mut loaded = Vec::with_capacity(reads.len());
    for (partition, read) in reads {
        let (from, bytes_max, isolation, count) =
            (read.from, read.bytes_max, read.isolation, read.places().count());
        let own: Vec<_> = chunks.by_ref().take(count).collect();
        loaded.push(match read.filled(own.into_iter()) {
            Err(FetchError::Storage(_)) => partition.load_anew(from, bytes_max, isolation).await,
            done => done,
        });
    }
    loaded
}

impl Partition {
    /// Plans a read from `offset` on, of at most `bytes_max` bytes, but never less than one batch if there is one.
    pub fn read(&self, offset: Offset, bytes_max: usize, isolation: Isolation) -> Result<Read, FetchError> {
        let state = self.state.lock();
        if state.gone {
            return Err(FetchError::UnknownTopicOrPartition);
        }
        let offsets = state.offsets();
        if offset < offsets.log_start || offset > offsets.high_watermark {
            return Err(FetchError::OutOfRange(offsets));
        }
        let (pieces, end) = state.plan(offset, offsets.end(isolation), bytes_max);
        let aborted = match isolation {
            Isolation::ReadCommitted => state.transactions.aborted(offset, end),
            Isolation::ReadUncommitted => Vec::new(),
        };
        Ok(Read { pieces, from: offset, bytes_max, isolation, offsets, aborted })
    }

    /// Reads from `offset` on, from memory or from the store.
    pub async fn fetch(
        &self,
        offset: Offset,
        bytes_max: usize,
        isolation: Isolation,
    ) -> Result<Fetched, FetchError> {
        let read = self.read(offset, bytes_max, isolation)?;
        self.load(read).await
    }

    /// As [`load`], for one partition alone.
    pub async fn load(&self, read: Read) -> Result<Fetched, FetchError> {
        load(vec![(self, read)]).await.pop().unwrap_or(Err(FetchError::UnknownTopicOrPartition))
    }

    async fn load_anew(
        &self,
        from: Offset,
        bytes_max: usize,
        isolation: Isolation,
    ) -> Result<Fetched, FetchError> {
        let read = self.read(from, bytes_max, isolation)?;
        let chunks = self.store.read_all(read.places().collect()).await;
        read.filled(chunks.into_iter())
    }

    /// ListOffsets by time: the first record with at least that timestamp, and its timestamp.
    pub async fn offset_for_time(
        &self,
        timestamp: i64,
        isolation: Isolation,
    ) -> Result<Option<TimedOffset>, FetchError> {
        let (places, from, end) = {
            let state = self.state.lock();
            let end = state.offsets().end(isolation);
            let places: Vec<Place> = state
                .index
                .since_time(timestamp)
                .take_while(|e| e.base < end)
                .map(|e| e.place)
                .take(2)
                .collect();
            (places, state.log_start, end)
        };
        // The first entry may hold the matching record before the log's start only; then the second has one.
        for place in places {
            let wanted = |r: &TimedOffset| r.timestamp >= timestamp && r.offset >= from && r.offset < end;
            if let Some(found) = self.records_at(place).await?.into_iter().find(wanted) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// ListOffsets -3: the record with the largest timestamp (the first of them, in the newest batch that has it).
    pub async fn max_timestamp(&self) -> Result<Option<TimedOffset>, FetchError> {
        let (place, from) = {
            let state = self.state.lock();
            let Some(entry) = state.index.newest() else { return Ok(None) };
            (entry.place, state.log_start)
        };
        let records = self.records_at(place).await?;
        let newest = records.iter().filter(|r| r.offset >= from).map(|r| r.timestamp).max();
        Ok(records.into_iter().find(|r| r.offset >= from && Some(r.timestamp) == newest))
    }

    async fn records_at(&self, place: Place) -> Result<Vec<TimedOffset>, FetchError> {
        let chunk = self.store.read_async(place).await?;
        let mut records = Vec::new();
        for batch in Batches::new(chunk) {
            let batch = batch.map_err(|e| FetchError::Damaged(e.to_string()))?;
            read_times(&batch, &mut records)?;
        }
        Ok(records)
    }
}

/// A record's offset and timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedOffset {
    pub offset: Offset,
    pub timestamp: i64,
    pub leader_epoch: i32,
}

fn read_times(batch: &Batch, records: &mut Vec<TimedOffset>) -> Result<(), FetchError> {
    let damaged = |e: crate::data::record::BatchError| FetchError::Damaged(e.to_string());
    let payload = batch.payload(DECOMPRESSED_BYTES_MAX).map_err(damaged)?;
    for record in &payload {
        let record = record.map_err(damaged)?;
        let offset = Offset(record.offset);
        records.push(TimedOffset { offset, timestamp: record.timestamp, leader_epoch: LEADER_EPOCH });
    }
    Ok(())
}

fn take_batch(bytes: Bytes, left: &mut usize, batches: &mut Vec<Bytes>) {
    if batches.is_empty() || bytes.len() <= *left {
        *left = left.saturating_sub(bytes.len());
        batches.push(bytes);
    } else {
        // Nothing may follow a batch that was left out.
        *left = 0;
    }
}

impl State {
    /// What to read, and before which offset it ends.
    fn plan(&self, offset: Offset, end: Offset, bytes_max: usize) -> (Vec<Piece>, Offset) {
        // The log may have been cut inside a batch of an open transaction: that begins before where reading ends.
        if offset >= end {
            return (Vec::new(), offset);
        }
        let tail_start = self.tail.start().unwrap_or(self.high_watermark);
        let mut planned = Planned { pieces: Vec::new(), left: bytes_max, next: offset };
        if offset < tail_start {
            let before = |e: &Entry| e.base < tail_start && e.base < end;
            let mut stored = self.index.since_offset(offset).take_while(before);
            if !stored.all(|entry| planned.take(Piece::Stored(entry.place), entry.last())) {
                return (planned.pieces, planned.next);
            }
        }
        // An append of several batches may be in the tail in part only: its place covers the rest.
        let mut cached = self.tail.since_offset(planned.next).take_while(|b| b.base < end);
        _ = cached.all(|batch| planned.take(Piece::Cached(batch.bytes.clone()), batch.last));
        (planned.pieces, planned.next)
    }
}

struct Planned {
    pieces: Vec<Piece>,
    left: usize,
    /// Where it goes on behind the pieces.
    next: Offset,
}

impl Planned {
    /// Takes what ends at `last`, if there is room for it; the first is taken in any case. Whether it was.
    fn take(&mut self, piece: Piece, last: Offset) -> bool {
        let bytes = piece.bytes();
        let fits = self.pieces.is_empty() || bytes <= self.left;
        if fits {
            self.left = self.left.saturating_sub(bytes);
            self.pieces.push(piece);
            self.next = Offset(last.0 + 1);
        }
        fits
    }
}
