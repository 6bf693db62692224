//! What the sources of a job with several shards have read in an epoch: gathered first, in order, and worked off by all
//! shards together. Each record has been found once; what its bytes say is for the shards.

use std::ops::Range;

use bytes::Bytes;

use super::{
    OutRecord,
    input::{InputKind, Key},
};
use crate::{
    data::record::{Located, Payload, Record},
    stream::{
        datum::Row,
        operator::{Msg, metadata::Place, source::RecordReader},
    },
};

/// What was read, in the order of reading.
#[derive(Default)]
pub(super) struct Later {
    batches: Vec<Taken>,
    events: Vec<Event>,
}

/// A batch or a file of which records are taken.
struct Taken {
    /// Which of the inputs.
    source: usize,
    key: Key,
    place: Place,
    /// `None` for a file.
    payload: Option<Payload>,
}

enum Event {
    /// For the dead letters.
    Aside(Box<(String, OutRecord)>),
    End(usize, Key),
    /// A line of a batch which is a file: where it lies, and when the file was changed.
    Line(usize, i64, i64, Bytes),
    /// From the node of a source.
    Msg(usize, Msg),
    /// A record of a batch.
    Record(usize, Located),
    /// A generated row, and its watermark.
    Row(usize, i64, Box<Row>, Option<i64>),
}

/// One of them, with what belongs to it.
pub(super) enum Item<'e> {
    Aside(&'e str, &'e OutRecord),
    End(usize, &'e Key),
    Msg(usize, &'e Msg),
    Record { source: usize, key: &'e Key, place: &'e Place, record: Record<'e> },
    Row { source: usize, position: i64, row: &'e Row, watermark: Option<i64> },
}

impl Later {
    /// A batch is begun, or a file.
    pub(super) fn turn(&mut self, source: usize, key: &Key, place: &Place, payload: Option<&Payload>) {
        self.batches.push(Taken {
            source,
            key: key.clone(),
            place: place.clone(),
            payload: payload.cloned(),
        });
    }

    /// A record of it.
    pub(super) fn record(&mut self, record: &Record<'_>) {
        let Some(batch) = self.batches.len().checked_sub(1) else { return };
        let payload = self.batches.last().and_then(|taken| taken.payload.as_ref());
        self.events.push(match payload {
            Some(payload) => Event::Record(batch, payload.locate(record)),
            None => {
                let line = Bytes::copy_from_slice(record.value.unwrap_or_default());
                Event::Line(batch, record.offset, record.timestamp, line)
            }
        });
    }

    pub(super) fn row(&mut self, source: usize, position: i64, row: Row, watermark: Option<i64>) {
        self.events.push(Event::Row(source, position, Box::new(row), watermark));
    }

    pub(super) fn msg(&mut self, node: usize, msg: Msg) {
        self.events.push(Event::Msg(node, msg));
    }

    /// A partition has been read to its end.
    pub(super) fn end(&mut self, source: usize, key: &Key) {
        self.events.push(Event::End(source, key.clone()));
    }

    pub(super) fn aside(&mut self, topic: &str, record: OutRecord) {
        self.events.push(Event::Aside(Box::new((topic.to_owned(), record))));
    }

    /// How much it is.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// As many pieces of it, which follow each other.
    pub(super) fn pieces(&self, count: usize) -> Vec<Range<usize>> {
        let len = self.len().div_ceil(count.max(1));
        let end = |piece: usize| (piece * len).min(self.len());
        (0..count).map(|piece| end(piece)..end(piece + 1)).collect()
    }

    pub(super) fn item(&self, index: usize) -> Option<Item<'_>> {
        let taken = |batch: &usize| self.batches.get(*batch);
        match self.events.get(index)? {
            Event::Aside(aside) => Some(Item::Aside(&aside.0, &aside.1)),
            Event::End(source, key) => Some(Item::End(*source, key)),
            Event::Line(batch, at, timestamp, line) => {
                taken(batch).map(|taken| taken.item(Record::plain(*at, *timestamp, Some(line))))
            }
            Event::Msg(node, msg) => Some(Item::Msg(*node, msg)),
            Event::Record(batch, at) => {
                let taken = taken(batch)?;
                taken.payload.as_ref().map(|payload| taken.item(payload.record(at)))
            }
            Event::Row(source, position, row, watermark) => {
                Some(Item::Row { source: *source, position: *position, row, watermark: *watermark })
            }
        }
    }
}

impl Item<'_> {
    /// Which of the inputs a row comes from.
    pub(super) fn source(&self) -> Option<usize> {
        match self {
            Self::Record { source, .. } | Self::Row { source, .. } => Some(*source),
            Self::Aside(..) | Self::End(..) | Self::Msg(..) => None,
        }
    }
}

impl Taken {
    fn item<'e>(&'e self, record: Record<'e>) -> Item<'e> {
        Item::Record { source: self.source, key: &self.key, place: &self.place, record }
    }
}

/// What decodes the records of an input; a generator's rows need none.
pub(super) fn reader(kind: &InputKind) -> Option<&RecordReader> {
    match kind {
        InputKind::Datagen(_) => None,
        InputKind::Files(files) => Some(&files.reader),
        InputKind::Kafka { reader, .. } => Some(reader),
    }
}
