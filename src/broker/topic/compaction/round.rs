//! What of each batch stays in one round of compaction: Kafka's LogCleaner, as a pure rule.
//!
//! A round looks at the log from its start, batch by batch. A record stays if no later one has its key; the mark of a
//! deleted key (a null value) stays until its batch's delete horizon, which the first round that meets it sets. Of
//! transactions that were aborted nothing stays, and an end marker goes, after a horizon of its own, once no data of its
//! transaction is left. The last batch of a producer stays even if it is empty, for its sequence number.

use std::collections::{HashMap, HashSet};

use super::latest::Latest;
use crate::{
    broker::topic::{Offset, fetch::FetchError, transactions::Aborted},
    data::record::{Batch, BatchError, DECOMPRESSED_BYTES_MAX, Record},
};

/// What a round knows, and what it has seen so far.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) now_ms: i64,
    pub(super) delete_retention_ms: i64,
    /// The last offset of every key that the round knows.
    pub(super) latest: Latest,
    pub(super) aborted: Vec<Aborted>,
    /// By producer: the last offset of its last batch, `None` if only markers are known, and its epoch.
    pub(super) producers: HashMap<i64, (Option<Offset>, i16)>,
    /// Producers with data in the transaction that their next marker ends.
    with_data: HashSet<i64>,
}

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    /// It stays with fewer records, none perhaps, or with a delete horizon.
    Becomes(Batch),
    Goes,
}

impl Round {
    pub(super) fn new(now_ms: i64, delete_retention_ms: i64, latest: Latest) -> Self {
        Self {
            now_ms,
            delete_retention_ms,
            latest,
            aborted: Vec::new(),
            producers: HashMap::new(),
            with_data: HashSet::new(),
        }
    }

    /// Whether the batch belongs to a transaction that was aborted.
    pub(super) fn is_aborted(&self, batch: &Batch) -> bool {
        let header = batch.header();
        header.attributes.is_transactional()
            && !header.attributes.is_control()
            && self.aborted.iter().any(|a| {
                a.producer_id == header.producer_id
                    && (a.first_offset.0..a.last_offset.0).contains(&header.base_offset)
            })
    }

    pub(super) fn fate(&mut self, batch: &Batch) -> Result<Fate, FetchError> {
        let header = batch.header();
        let is_control = header.attributes.is_control();
        let horizon = batch.delete_horizon_ms();
        let mut ends_nothing = false;
        let all_go = if is_control {
            ends_nothing = !self.with_data.remove(&header.producer_id);
            ends_nothing && horizon.is_some_and(|horizon| horizon <= self.now_ms)
        } else {
            if header.attributes.is_transactional() {
                self.with_data.insert(header.producer_id);
            }
            self.is_aborted(batch)
        };
        let payload = batch.payload(DECOMPRESSED_BYTES_MAX).map_err(damaged)?;
        let all: Vec<Record<'_>> = payload.iter().collect::<Result<_, _>>().map_err(damaged)?;
        let stays = |record: &&Record<'_>| !all_go && (is_control || self.record_stays(record, horizon));
        let kept: Vec<Record<'_>> = all.iter().filter(stays).copied().collect();
        if kept.is_empty() {
            return Ok(match (self.is_last_of_its_producer(batch), all.is_empty()) {
                (false, _) => Fate::Goes,
                (true, true) => Fate::Stays,
                (true, false) => Fate::Becomes(batch.emptied()),
            });
        }
        let marks = !is_control && kept.iter().any(|record| record.value.is_none());
        let new_horizon = (horizon.is_none() && (marks || ends_nothing))
            .then_some(self.now_ms.saturating_add(self.delete_retention_ms));
        if kept.len() == all.len() && new_horizon.is_none() {
            return Ok(Fate::Stays);
        }
        let rebuilt = batch.rebuilt(&kept, new_horizon);
        rebuilt.map(Fate::Becomes).map_err(|error| FetchError::Damaged(error.to_string()))
    }

    fn record_stays(&self, record: &Record<'_>, horizon: Option<i64>) -> bool {
        // A topic that was not always compacted may have records without a key: Kafka lets them go.
        let Some(key) = record.key else { return false };
        let is_latest = self.latest.of(key).is_none_or(|latest| record.offset >= latest);
        is_latest && (record.value.is_some() || horizon.is_none_or(|horizon| self.now_ms < horizon))
    }

    fn is_last_of_its_producer(&self, batch: &Batch) -> bool {
        let header = batch.header();
        match self.producers.get(&header.producer_id) {
            Some((Some(last), _)) => last.0 == header.last_offset(),
            Some((None, epoch)) => header.attributes.is_control() && *epoch == header.producer_epoch,
            None => false,
        }
    }
}

pub(super) fn damaged(error: BatchError) -> FetchError {
    FetchError::Damaged(error.to_string())
}
