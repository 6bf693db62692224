//! An AMQP channel's transaction: what it held back becomes one Change, so that it is in the log whole or not at all.
//!
//! Publishes go into their queues at the commit, and may be delivered once its Change is in the inbox, as classic queues do.
//! Acknowledgements are marked when the Change is staged, on the committer's thread: no flush of their queue can carry them into the
//! log ahead of the publishes.

use std::sync::Arc;

use crate::{
    broker::{
        Pending,
        dead_letter::Moves,
        publish::{Publisher, Refused},
        queue::{ConsumerId, Entry, Queue, change::Acknowledge, returns::Return},
        topic::{
            Topic, append,
            mapping::{Message, Record},
            partition::Partition,
        },
    },
    data::record::BatchBuilder,
    store::{Change, StoreError, Turn},
};

/// What becomes of a delivery with the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Acknowledged,
    Dropped,
    Requeued(Return),
}

/// Deliveries of one queue to one consumer (`None`: to `basic.get`).
#[derive(Debug)]
pub struct Settled {
    pub queue: Arc<Queue>,
    pub consumer: Option<ConsumerId>,
    pub entries: Vec<Entry>,
    pub fate: Fate,
}

/// A commit on its way.
#[derive(Debug)]
pub struct Committed {
    pub refused: Refused,
    pub pending: Pending,
}

impl Publisher {
    /// Commits what was held back: publishes in their order, then deliveries.
    pub fn commit(&mut self, now_ms: i64, settled: Vec<Settled>) -> Committed {
        self.commit_all(now_ms, settled, None)
    }

    /// As [`Publisher::commit`], and one Change more in the same.
    pub(in crate::broker) fn commit_with(
        &mut self,
        now_ms: i64,
        settled: Vec<Settled>,
        more: Box<dyn Change>,
    ) -> Committed {
        self.commit_all(now_ms, settled, Some(more))
    }

    fn commit_all(&mut self, now_ms: i64, settled: Vec<Settled>, more: Option<Box<dyn Change>>) -> Committed {
        let mut moves = Moves::default();
        moves.changes = records(now_ms, &self.take_records());
        let refused = self.flush_with(now_ms, &mut moves);
        for Settled { queue, consumer, entries, fate } in settled {
            match fate {
                Fate::Requeued(how) => queue.requeue(consumer, entries.into_iter(), how),
                // What its targets do not take must stay with it.
                Fate::Dropped if queue.dead_letter().is_some_and(|to| to.at_least_once) => {
                    queue.reject(consumer, entries.into_iter());
                }
                Fate::Dropped => {
                    moves.rejected(now_ms, &queue, &entries);
                    moves.changes.push(Box::new(Acknowledge::new(queue, consumer, entries, false)));
                }
                Fate::Acknowledged => {
                    moves.changes.push(Box::new(Acknowledge::new(queue, consumer, entries, true)));
                }
            }
        }
        moves.changes.extend(more);
        let pending = moves.submit(&self.core().store);
        Committed { refused, pending }
    }
}

/// Records for topics as appends, one for each partition, in their order. A topic that is deleted meanwhile takes its
/// own records with it, and no others.
pub(in crate::broker) fn records(now_ms: i64, records: &[(Arc<Topic>, Message)]) -> Vec<Box<dyn Change>> {
    let mut parts: Vec<(Arc<Partition>, BatchBuilder)> = Vec::new();
    for (topic, message) in records {
        let Some(partition) = topic.partition_for(&message.routing_key) else { continue };
        let record = Record::from_message(message);
        let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        if !parts.iter().any(|(other, _)| Arc::ptr_eq(other, &partition)) {
            parts.push((partition.clone(), BatchBuilder::new()));
        }
        if let Some((_, builder)) = parts.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &partition)) {
            builder.push(now_ms, record.key.as_deref(), record.value.as_deref(), headers);
        }
    }
    let change = |(partition, builder): (Arc<Partition>, BatchBuilder)| {
        let checked = partition.check_built(vec![builder.build()], now_ms);
        append::change(partition, checked)
    };
    parts.into_iter().map(change).collect()
}

/// Changes that are one.
pub(in crate::broker) struct All(pub Vec<Box<dyn Change>>);

impl Change for All {
    fn bytes_max(&self) -> usize {
        self.0.iter().map(|change| change.bytes_max()).sum()
    }

    fn stage(&mut self, turn: &mut Turn) {
        self.0.iter_mut().for_each(|change| change.stage(turn));
    }

    fn committed(self: Box<Self>) {
        self.0.into_iter().for_each(|change| change.committed());
    }

    fn refused(self: Box<Self>, error: &StoreError) {
        self.0.into_iter().for_each(|change| change.refused(error));
    }
}
