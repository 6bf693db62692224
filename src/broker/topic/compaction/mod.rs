//! Compaction (`cleanup.policy=compact`): of each key only the last record stays, at its offset.
//!
//! A round reads the part of the log that has not been compacted, up to what may be (`Partition::plan`), and remembers
//! the last offset of each key (`latest.rs`). Then it reads the log from its start and decides of every batch
//! (`round.rs`), a bite at a time: each bite is one Change (`change.rs`), so that a crash at any point leaves the last
//! value of every key. Small entries of the index become one by the way.
//!
//! ```text
//!   log start        clean to                  newest segment, or open transaction, or too young
//!       │  compacted    │  read for its keys       │
//!   ────┼───────────────┼──────────────────────────┼──────────────
//!       └── rewritten, from left to right ────────▶│   left alone
//! ```

mod change;
mod latest;
mod round;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;

use self::{
    change::{Replacement, Rewrite},
    latest::Latest,
    round::{Fate, Round, damaged},
};
use super::{
    Offset,
    config::SegmentLimits,
    entry::Entry,
    fetch::FetchError,
    keys,
    partition::{Partition, State},
    writes::{Outcome, Writes},
};
use crate::{
    broker::txn::producer::Part,
    data::record::{Batch, Batches},
    store::{Space, Ticket},
};

/// Bytes of batches that one Change rewrites, if they are not larger one by one.
const BITE_BYTES: u64 = 512 * 1024;
/// So many entries of one bite become one, even if nothing of them goes.
const ENTRIES_MERGED_FROM: usize = 8;
/// Entries of one bite, at most.
const BITE_ENTRIES: usize = 4_096;

/// What a partition knows of its compaction.
#[derive(Debug, Default)]
pub(super) struct Cleaning {
    /// Everything before this has been compacted.
    pub(super) clean_to: Offset,
    /// From the base of its first entry to the end of its last: what the turn being formed replaces. The committer's.
    pub(super) rewriting: Option<(Offset, Offset)>,
}

impl Cleaning {
    pub(super) fn is_rewriting(&self, offset: Offset) -> bool {
        self.rewriting.is_some_and(|(first, last)| (first..=last).contains(&offset))
    }
}

/// The newest of Kafka's segments, which compaction leaves alone: there are no files, but it begins where one would.
#[derive(Debug, Default)]
pub(super) struct Newest {
    pub(super) base: Offset,
    bytes: u64,
    first_timestamp: i64,
}

impl Newest {
    /// Whether a new one begins.
    pub(super) fn on_appended(&mut self, entry: &Entry, limits: SegmentLimits) -> bool {
        let too_large = self.bytes + entry.bytes() > limits.bytes;
        let too_old = entry.max_timestamp.saturating_sub(self.first_timestamp) > limits.ms;
        let begins = self.bytes == 0 || too_large || too_old;
        if begins {
            *self = Self { base: entry.base, bytes: 0, first_timestamp: entry.max_timestamp };
        }
        self.bytes += entry.bytes();
        begins
    }
}

/// One round over one partition.
#[derive(Debug)]
pub struct Compaction {
    partition: Arc<Partition>,
    round: Round,
    next: Offset,
    end: Offset,
}

/// What a step of a round has come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing of the bite has to change.
    Left,
    /// Go on when this is durable.
    Rewriting(Ticket),
    /// The round is over when this is durable.
    Done(Ticket),
}

impl Partition {
    /// From where to where there is something to compact now.
    fn plan(&self, now_ms: i64) -> Option<(Offset, Offset)> {
        let config = self.config();
        if !config.cleanup.compact {
            return None;
        }
        let rules = config.compaction;
        let state = self.state.lock();
        let from = state.cleaning.clean_to.max(state.log_start);
        let end = state.cleanable_end(from, now_ms.saturating_sub(rules.min_lag_ms), rules.min_lag_ms > 0);
        if state.gone || end <= from {
            return None;
        }
        let (mut clean, mut dirty, mut oldest) = (0, 0, i64::MAX);
        for entry in state.index.iter().take_while(|e| e.base < end) {
            if entry.last() < from {
                clean += entry.bytes();
            } else {
                dirty += entry.bytes();
                oldest = oldest.min(entry.max_timestamp);
            }
        }
        let enough = u128::from(dirty) * 1_000_000
            > u128::from(rules.min_cleanable_millionths) * u128::from(clean + dirty);
        let overdue = dirty > 0 && now_ms.saturating_sub(oldest) > rules.max_lag_ms;
        (enough || overdue).then_some((from, end))
    }

    /// Begins a round, if one is due: reads what has not been compacted, for its keys. Blocks while it reads.
    ///
    /// # Errors
    /// When a batch cannot be read.
    pub fn compaction(self: &Arc<Self>, now_ms: i64, seed: u64) -> Result<Option<Compaction>, FetchError> {
        let Some((from, end)) = self.plan(now_ms) else { return Ok(None) };
        let delete_retention_ms = self.config.read().compaction.delete_retention_ms;
        let mut round = Round::new(now_ms, delete_retention_ms, Latest::new(seed));
        let (log_start, dirty) = {
            let state = self.state.lock();
            round.aborted = state.transactions.aborted(state.log_start, end);
            round.producers = state.producers.last_batches();
            let dirty: Vec<Entry> = state.index.since_offset(from).take_while(|e| e.base < end).collect();
            (state.log_start, dirty)
        };
        let mut end = end;
        for entry in dirty {
            if round.latest.is_full() {
                end = entry.base;
                break;
            }
            for batch in batches(self.store.read(entry.place)?)? {
                if batch.header().attributes.is_control() || round.is_aborted(&batch) {
                    continue;
                }
                let payload = batch.payload(crate::data::record::DECOMPRESSED_BYTES_MAX).map_err(damaged)?;
                for record in &payload {
                    let record = record.map_err(damaged)?;
                    record.key.into_iter().for_each(|key| round.latest.note(key, record.offset));
                }
            }
        }
        let partition = self.clone();
        Ok(Some(Compaction { partition, round, next: log_start, end }))
    }

    /// Compacts what is due, to its end. Reads on reader threads.
    ///
    /// # Errors
    /// When a batch cannot be read, or nothing can be written any more.
    pub async fn compact(self: &Arc<Self>, now_ms: i64, seed: u64) -> Result<bool, FetchError> {
        let partition = self.clone();
        let begun = blocking(move || partition.compaction(now_ms, seed)).await?;
        let Some(mut compaction) = begun else { return Ok(false) };
        loop {
            let (next, step) = blocking(move || {
                let step = compaction.step()?;
                Ok((compaction, step))
            })
            .await?;
            compaction = next;
            match step {
                Step::Left => {}
                Step::Rewriting(ticket) => self.store.durable(ticket).await?,
                Step::Done(ticket) => {
                    self.store.durable(ticket).await?;
                    return Ok(true);
                }
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    let failed = |error: tokio::task::JoinError| FetchError::Damaged(error.to_string());
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

impl State {
    /// Up to where compaction may go: not into the newest segment, nor an open transaction, nor what is too young.
    fn cleanable_end(&self, from: Offset, before_ms: i64, lags: bool) -> Offset {
        let end = self.newest.base.min(self.last_stable_offset);
        let too_young = |e: &Entry| lags && e.max_timestamp > before_ms;
        let young = self.index.since_offset(from).take_while(|e| e.base < end).find(too_young);
        young.map_or(end, |e| e.base)
    }
}

impl Compaction {
    /// Takes the next bite. Blocks while it reads.
    ///
    /// # Errors
    /// When a batch cannot be read.
    pub fn step(&mut self) -> Result<Step, FetchError> {
        let bite = self.bite();
        let Some(last) = bite.last() else { return Ok(Step::Done(self.finish())) };
        self.next = Offset(last.last().0 + 1);
        let (mut changed, mut markers) = (false, Vec::new());
        let (mut kept, mut producers, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        // Who has written batches that go: a retry of one of them must still find its offset.
        let mut writers = BTreeSet::new();
        let mut max_timestamp = i64::MIN;
        for entry in &bite {
            let key = keys::batch(self.partition.id, entry.base);
            let value = self.partition.store.get(Space::Index, &key)?.unwrap_or_default();
            let known = Entry::decode(entry.base, &value).map(|(_, producers)| producers).unwrap_or_default();
            let mut known = known.into_iter().peekable();
            for batch in batches(self.partition.store.read(entry.place)?)? {
                let header = *batch.header();
                let fate = self.round.fate(&batch)?;
                changed |= fate != Fate::Stays;
                let batch = match fate {
                    Fate::Stays => Some(batch),
                    Fate::Becomes(rebuilt) => Some(rebuilt),
                    Fate::Goes => None,
                };
                if let Some(produced) = known.next_if(|p| p.base_offset.0 == header.base_offset) {
                    if batch.is_some() {
                        producers.push(produced);
                    } else {
                        writers.insert(produced.producer_id);
                        if matches!(produced.part, Part::Commit | Part::Abort) {
                            markers.push(produced.last_offset);
                        }
                    }
                }
                if let Some(batch) = batch {
                    ends.push((batch.header().base_offset, batch.header().last_offset()));
                    max_timestamp = max_timestamp.max(batch.header().max_timestamp);
                    kept.push(batch.into_bytes());
                }
            }
        }
        if !changed && bite.len() < ENTRIES_MERGED_FROM {
            return Ok(Step::Left);
        }
        let new = match (ends.first(), ends.last()) {
            (Some((base, _)), Some((_, last))) => Some(Replacement {
                entry: Entry {
                    base: Offset(*base),
                    last_offset_delta: u32::try_from(last - base).unwrap_or(u32::MAX),
                    max_timestamp,
                    place: Entry::NOWHERE,
                },
                batches: kept,
                producers,
            }),
            _ => None,
        };
        self.partition.save_producers(self.next, |id| writers.contains(&id));
        let (partition, old) = (self.partition.clone(), bite);
        let rewrite = Rewrite { partition, old, new, markers, staged: false };
        Ok(Step::Rewriting(self.partition.store.submit(Box::new(rewrite))))
    }

    /// The next entries, as they are now.
    fn bite(&self) -> Vec<Entry> {
        let state = self.partition.state.lock();
        let mut bite: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        for entry in state.index.since_offset(self.next).take_while(|e| e.base < self.end) {
            bytes += entry.bytes();
            let base = bite.first().map_or(entry.base, |first| first.base);
            let spans = u32::try_from(entry.last().0 - base.0).is_ok();
            if !bite.is_empty() && (bytes > BITE_BYTES || bite.len() == BITE_ENTRIES || !spans) {
                break;
            }
            bite.push(entry);
        }
        bite
    }

    /// Remembers how far it has come.
    fn finish(&self) -> Ticket {
        let (partition, end) = (self.partition.clone(), self.end);
        let mut writes = Writes::default();
        if !partition.is_gone() {
            writes.put(Space::State, keys::clean_to(partition.id).to_vec(), end.0.to_be_bytes().to_vec());
        }
        writes.submit(&self.partition.store, move |outcome: Outcome| {
            if outcome.is_ok() {
                partition.state.lock().cleaning.clean_to = end;
            }
        })
    }
}

fn batches(chunk: Bytes) -> Result<Vec<Batch>, FetchError> {
    Batches::new(chunk).collect::<Result<_, _>>().map_err(damaged)
}
