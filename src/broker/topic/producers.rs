//! What a partition does with its producers: shows them, forgets them, and writes them down when the log lets go of
//! what they have written.

use std::sync::Arc;

use super::{
    Offset, keys,
    partition::Partition,
    writes::{Sweep, Writes},
};
use crate::{
    broker::txn::producer::{ProducerIdentity, Producers},
    store::Space,
};

/// Producers that one Change writes down.
const SAVED_PER_CHANGE: usize = 1_000;

/// A producer as a partition knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveProducer {
    pub id: i64,
    pub epoch: i16,
    /// Of its last batch of this epoch.
    pub last_sequence: Option<i32>,
    pub last_timestamp_ms: i64,
    /// Of the coordinator that ended its last transaction here.
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction begins.
    pub transaction_start: Option<Offset>,
}

impl Partition {
    /// Who has written to it lately, by id.
    #[must_use]
    pub fn active_producers(&self) -> Vec<ActiveProducer> {
        let state = self.state.lock();
        let active = |(id, epoch, last_sequence, last_timestamp_ms, coordinator_epoch)| ActiveProducer {
            id,
            epoch,
            last_sequence,
            last_timestamp_ms,
            coordinator_epoch,
            transaction_start: state.transactions.start_of(id),
        };
        let mut all: Vec<ActiveProducer> = state.producers.each().map(active).collect();
        all.sort_by_key(|producer| producer.id);
        all
    }

    /// The committer's: this partition is part of that producer's transaction from here on.
    pub(in crate::broker) fn add_to_transaction(&self, producer: ProducerIdentity) {
        self.state.lock().producers.on_added(producer);
    }

    /// Into the inbox, ahead of the Change that lets go of what lies before `to`. Whatever is appended meanwhile lies
    /// behind that. The state stays locked until then: what is known of a producer later comes into the log later.
    pub(super) fn save_producers(&self, to: Offset, which: impl Fn(i64) -> bool) {
        let mut state = self.state.lock();
        let mut saved = state.producers.save(to, which).into_iter().peekable();
        while saved.peek().is_some() {
            let mut writes = Writes::default();
            for (id, value) in saved.by_ref().take(SAVED_PER_CHANGE) {
                writes.put(Space::State, keys::producer(self.id, id).to_vec(), value);
            }
            writes.submit_unwatched(&self.store);
        }
    }

    /// Forgets producers that have written nothing since `before_ms` (`producer.id.expiration.ms`).
    pub fn expire_producers(&self, before_ms: i64) {
        self.forget_saved(|producers| producers.expire(before_ms));
    }

    /// Forgets all of them: the topic is gone.
    pub(super) fn forget_producers(self: &Arc<Self>) {
        self.forget_saved(Producers::clear);
    }

    fn forget_saved(&self, forget: impl FnOnce(&mut Producers) -> Vec<i64>) {
        let mut state = self.state.lock();
        let mut sweep = Sweep::new(&self.store);
        let ids = forget(&mut state.producers).into_iter();
        ids.for_each(|id| sweep.delete(Space::State, keys::producer(self.id, id).to_vec()));
    }
}
