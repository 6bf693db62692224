//! What the sources of a job with several shards have read in an epoch: gathered first, in order, and worked off by all
//! shards together.

use bytes::Bytes;

use super::{
    OutRecord,
    input::{Input, InputKind, Key},
};
use crate::{
    data::record::{Payload, Record, Records},
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
    /// A line of the last batch, which is a file: where it lies, and when the file was changed.
    Line(i64, i64, Bytes),
    /// From the node of a source.
    Msg(usize, Msg),
    /// The record of the last batch at that offset.
    Record(i64),
    /// A generated row, and its watermark.
    Row(usize, i64, Box<Row>, Option<i64>),
    /// The next batch.
    Turn,
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
        self.events.push(Event::Turn);
    }

    /// A record of it.
    pub(super) fn record(&mut self, record: &Record<'_>) {
        let in_batch = self.batches.last().is_some_and(|batch| batch.payload.is_some());
        self.events.push(if in_batch {
            Event::Record(record.offset)
        } else {
            let line = Bytes::copy_from_slice(record.value.unwrap_or_default());
            Event::Line(record.offset, record.timestamp, line)
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

    /// All of it, in order.
    pub(super) fn items(&self) -> Vec<Item<'_>> {
        let mut items = Vec::with_capacity(self.events.len());
        let mut batches = self.batches.iter();
        let mut current: Option<(&Taken, Option<Records<'_>>)> = None;
        for event in &self.events {
            match (event, &mut current) {
                (Event::Turn, _) => {
                    current = batches.next().map(|taken| (taken, taken.payload.as_ref().map(Payload::iter)));
                }
                (Event::Aside(aside), _) => items.push(Item::Aside(&aside.0, &aside.1)),
                (Event::End(source, key), _) => items.push(Item::End(*source, key)),
                (Event::Msg(node, msg), _) => items.push(Item::Msg(*node, msg)),
                (Event::Row(source, position, row, watermark), _) => {
                    items.push(Item::Row { source: *source, position: *position, row, watermark: *watermark })
                }
                (Event::Record(offset), Some((taken, Some(records)))) => {
                    let found = records.filter_map(Result::ok).find(|record| record.offset == *offset);
                    items.extend(found.map(|record| taken.item(record)));
                }
                (Event::Line(at, timestamp, line), Some((taken, _))) => {
                    items.push(taken.item(Record::plain(*at, *timestamp, Some(line))));
                }
                (Event::Record(_), Some((_, None)) | None) | (Event::Line(..), None) => {}
            }
        }
        items
    }
}

impl Taken {
    fn item<'e>(&'e self, record: Record<'e>) -> Item<'e> {
        Item::Record { source: self.source, key: &self.key, place: &self.place, record }
    }
}

/// What decodes the records of each input.
pub(super) fn readers(inputs: &[Input]) -> Vec<Option<&RecordReader>> {
    inputs.iter().map(|input| reader(&input.kind)).collect()
}

fn reader(kind: &InputKind) -> Option<&RecordReader> {
    match kind {
        InputKind::Datagen(_) => None,
        InputKind::Files(files) => Some(&files.reader),
        InputKind::Kafka { reader, .. } => Some(reader),
    }
}
