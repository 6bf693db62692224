//! Appending: what is checked by the caller, what the committer decides, and what follows when it is durable.
//!
//! Offsets are given in [`Change::stage`], on the committer's thread: their order is the order on disk, and no crash
//! leaves a gap. A Change may append to many partitions and write other keys too; it is all or nothing.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Offset,
    config::TopicConfig,
    entry::{Entry, entry_bytes_max},
    keys,
    partition::{LEADER_EPOCH, Partition, State},
    tail::CachedBatch,
    validate::{self, RecordsRefused},
    writes::DELTA_OVERHEAD_BYTES,
};
use crate::{
    broker::txn::producer::{Claim, Part as TxnPart, ProducedBatch, Verdict},
    data::record::{Batch, BatchError},
    store::{Change, Space, StoreError, Ticket, Turn},
};

/// Batches that have passed every check that needs no lock: only [`Partition::check`] and its like make one.
#[derive(Debug)]
pub struct Checked {
    batches: Vec<Batch>,
    log_append_time_ms: i64,
}

impl Checked {
    fn new(batches: Vec<Batch>, config: &TopicConfig, now_ms: i64) -> Self {
        // Stamped here once for the copy this makes of bytes that others hold too (a request's frame): the committer's
        // thread then stamps in place, and the tail does not keep whole frames alive.
        let batches = batches.into_iter().map(|batch| batch.stamped(0, LEADER_EPOCH)).collect();
        Self { batches, log_append_time_ms: if config.log_append_time { now_ms } else { -1 } }
    }
}

/// An append that is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: Offset,
    /// -1 with CreateTime, unless the batch was there already.
    pub log_append_time_ms: i64,
    pub log_start_offset: Offset,
}

/// Why records are not in the log. Kafka's error names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("{0}")]
    CorruptMessage(BatchError),
    #[error("{0}")]
    InvalidRecord(String),
    /// Single records of it are not as they must be.
    #[error("{0}")]
    Records(RecordsRefused),
    /// Kafka's UNKNOWN_SERVER_ERROR.
    #[error("{0}")]
    Unexpected(String),
    #[error("a batch of {bytes} bytes is over the topic's max.message.bytes of {bytes_max}")]
    MessageTooLarge { bytes: usize, bytes_max: usize },
    #[error("acks=all with min.insync.replicas over 1, and there is one node")]
    NotEnoughReplicas,
    #[error("the topic has been deleted")]
    UnknownTopicOrPartition,
    #[error("the sequence number is not the next one of its producer")]
    OutOfOrderSequence,
    #[error("a newer epoch of this producer has written")]
    InvalidProducerEpoch,
    #[error("the batch does not belong to a transaction that its partition is part of")]
    InvalidTxnState,
    #[error("{0}")]
    Storage(String),
}

/// What the callback of an append to several partitions gets: one outcome for each, in order.
pub type AllAppended = Result<Vec<Appended>, Refused>;

/// Other keys that belong to the same atomic Change: a job's epoch writes its offsets and state with its outputs.
pub type Extra = Box<dyn FnMut(&mut Turn) + Send>;

impl Partition {
    /// Checks a producer's record set: exactly one batch, as Kafka asks since Produce v3. `acks_all`: the producer wants all in-sync replicas.
    pub fn check(&self, record_set: Bytes, now_ms: i64, acks_all: bool) -> Result<Checked, Refused> {
        let config = self.config();
        if acks_all && config.min_insync_replicas > 1 {
            return Err(Refused::NotEnoughReplicas);
        }
        let batch = validate::only_batch(record_set, config.max_message_bytes)?;
        let batch = validate::validated(batch, &config, now_ms)?;
        Ok(Checked::new(vec![batch], &config, now_ms))
    }

    /// For batches of the broker's own making.
    pub fn check_built(&self, batches: Vec<Batch>, now_ms: i64) -> Checked {
        let config = self.config();
        let batches = batches.into_iter().map(|batch| validate::own(batch, &config, now_ms)).collect();
        Checked::new(batches, &config, now_ms)
    }

    /// Puts the records into the committer's inbox; `done` runs on its thread once they are durable, or refused.
    pub fn append(
        self: &Arc<Self>,
        checked: Checked,
        done: impl FnOnce(Result<Appended, Refused>) + Send + 'static,
    ) -> Ticket {
        let one = move |all: AllAppended| {
            done(all.and_then(|a| a.first().copied().ok_or(Refused::UnknownTopicOrPartition)));
        };
        append_all(&self.store, vec![(self.clone(), checked)], None, one)
    }

    fn committed_state(self: &Arc<Self>, staged: Staged) -> Appended {
        let mut fired = Vec::new();
        let bases: Vec<Offset> = staged.batches.iter().map(|b| b.base).collect();
        let bytes = staged.batches.iter().map(|b| b.bytes.len()).sum();
        let ended = staged.producers.iter().any(|p| matches!(p.part, TxnPart::Commit | TxnPart::Abort));
        let (overfull_bytes, segment_limits, compact) = {
            let config = self.config.read();
            (config.overfull_bytes(), config.segment_limits(), config.cleanup.compact)
        };
        let (appended, overfull, rolled) = {
            let mut state = self.state.lock();
            state.index.push(staged.entry);
            let rolled = state.newest.on_appended(&staged.entry, segment_limits);
            let overfull = overfull_bytes.is_some_and(|max| state.index.bytes() > max);
            state.high_watermark = Offset(staged.entry.last().0 + 1);
            staged.producers.iter().for_each(|p| state.transactions.on_committed(p));
            state.find_last_stable_offset();
            staged.batches.into_iter().for_each(|b| state.tail.push(b));
            let offsets = state.offsets();
            state.waiters.on_committed(offsets, bytes, ended, &mut fired);
            let appended = Appended {
                base_offset: staged.entry.base,
                log_append_time_ms: staged.log_append_time_ms,
                log_start_offset: state.log_start,
            };
            (appended, overfull, rolled || ended)
        };
        self.budget.on_pushed(self, bases.into_iter());
        fired.iter().for_each(|w| w.fire());
        if rolled && compact {
            self.cleaner.notify_one();
        }
        if overfull {
            self.enforce_size();
        }
        appended
    }
}

/// Appends to all of these partitions, and writes `extra`, in one atomic Change.
pub fn append_all(
    store: &crate::store::Store,
    parts: Vec<(Arc<Partition>, Checked)>,
    extra: Option<(usize, Extra)>,
    done: impl FnOnce(AllAppended) + Send + 'static,
) -> Ticket {
    store.submit(change_all(parts, extra, done))
}

/// As [`append_all`], for what is part of a larger Change.
pub fn change_all(
    parts: Vec<(Arc<Partition>, Checked)>,
    extra: Option<(usize, Extra)>,
    done: impl FnOnce(AllAppended) + Send + 'static,
) -> Box<dyn Change> {
    let parts =
        parts.into_iter().map(|(partition, checked)| Part { partition, input: Input::Checked(checked) });
    all(parts.collect(), extra, done)
}

/// Ends a producer's transaction: `markers` in all of its partitions, and `extra`, in one atomic Change.
pub(in crate::broker) fn append_markers(
    store: &crate::store::Store,
    markers: Vec<(Arc<Partition>, Checked)>,
    committed: bool,
    extra: (usize, Extra),
    done: impl FnOnce(AllAppended) + Send + 'static,
) -> Ticket {
    let kind = if committed { TxnPart::Commit } else { TxnPart::Abort };
    let parts =
        markers.into_iter().map(|(partition, marker)| Part { partition, input: Input::Marker(marker, kind) });
    store.submit(all(parts.collect(), Some(extra), done))
}

fn all(
    parts: Vec<Part>,
    extra: Option<(usize, Extra)>,
    done: impl FnOnce(AllAppended) + Send + 'static,
) -> Box<dyn Change> {
    let (extra_bytes_max, extra) = extra.map_or((0, None), |(bytes, extra)| (bytes, Some(extra)));
    Box::new(AppendChange { parts, extra, extra_bytes_max, decision: Decision::None, done })
}

/// An append to one partition as part of a larger Change; nobody hears of its outcome.
pub(in crate::broker) fn change(partition: Arc<Partition>, checked: Checked) -> Box<dyn Change> {
    change_all(vec![(partition, checked)], None, drop)
}

/// What a part brings: batches, or the partition's own gathered records, which are taken when the turn is formed.
pub(super) enum Input {
    Checked(Checked),
    Gathered {
        bytes_max: usize,
    },
    /// The end of a producer's transaction, in a control batch; nothing if the topic is gone.
    Marker(Checked, TxnPart),
}

struct Part {
    partition: Arc<Partition>,
    input: Input,
}

/// A part with its place in the log.
struct Staged {
    entry: Entry,
    producers: Vec<ProducedBatch>,
    batches: Vec<CachedBatch>,
    log_append_time_ms: i64,
}

enum PartDecision {
    Append(Staged),
    /// All of it is in the log already.
    Duplicate(Appended),
    /// Nothing was gathered.
    Nothing,
}

enum Decision {
    None,
    Taken(Vec<PartDecision>),
    Refused(Refused),
}

struct AppendChange<F> {
    parts: Vec<Part>,
    extra: Option<Extra>,
    extra_bytes_max: usize,
    decision: Decision,
    done: F,
}

/// Submits the Change that will take what `partition` has gathered by then.
pub(super) fn submit_gathered(partition: &Arc<Partition>, bytes_max: usize) -> Ticket {
    let parts = vec![Part { partition: partition.clone(), input: Input::Gathered { bytes_max } }];
    let (extra, extra_bytes_max, decision) = (None, 0, Decision::None);
    partition.store.submit(Box::new(AppendChange { parts, extra, extra_bytes_max, decision, done: drop }))
}

impl<F: FnOnce(AllAppended) + Send> AppendChange<F> {
    /// Decided once: a turn that is staged again (its write failed and was rolled back) keeps its offsets.
    fn decide(&mut self) -> Decision {
        // The committer's thread is the only one to stage, so what is checked in the first round holds in the second.
        for part in &self.parts {
            let state = part.partition.state.lock();
            if let Err(refused) = part.examine(&state) {
                return Decision::Refused(refused);
            }
        }
        Decision::Taken(self.parts.iter_mut().map(Part::decide).collect())
    }
}

impl Part {
    fn examine(&self, state: &State) -> Result<(), Refused> {
        let checked = match &self.input {
            // The end of a transaction is not kept up by a topic that is gone.
            Input::Marker(..) => return Ok(()),
            Input::Checked(_) | Input::Gathered { .. } if state.gone => {
                return Err(Refused::UnknownTopicOrPartition);
            }
            Input::Gathered { .. } => return Ok(()),
            Input::Checked(checked) => checked,
        };
        match checked.batches.first().and_then(claim).map(|c| state.producers.verdict(c)) {
            None | Some(Verdict::Append | Verdict::Duplicate(_)) => Ok(()),
            Some(Verdict::OutOfOrderSequence) => Err(Refused::OutOfOrderSequence),
            Some(Verdict::InvalidProducerEpoch) => Err(Refused::InvalidProducerEpoch),
            Some(Verdict::InvalidTxnState) => Err(Refused::InvalidTxnState),
        }
    }

    /// Each Change takes one gathered batch from its partition, even one that comes to nothing.
    fn forget_gathered(&self) {
        if let Input::Gathered { .. } = self.input {
            drop(self.partition.take_gathered());
        }
    }

    fn decide(&mut self) -> PartDecision {
        let checked = match &mut self.input {
            Input::Marker(..) if self.partition.is_gone() => return PartDecision::Nothing,
            Input::Checked(checked) | Input::Marker(checked, _) => {
                std::mem::replace(checked, Checked { batches: Vec::new(), log_append_time_ms: -1 })
            }
            Input::Gathered { .. } => match self.partition.take_gathered() {
                Some(checked) => checked,
                None => return PartDecision::Nothing,
            },
        };
        let mut state = self.partition.state.lock();
        if let Some(Verdict::Duplicate(known)) =
            checked.batches.first().and_then(claim).map(|c| state.producers.verdict(c))
        {
            return PartDecision::Duplicate(Appended {
                base_offset: known.base_offset,
                // Kafka's own answer, whatever the topic's time is.
                log_append_time_ms: known.timestamp,
                log_start_offset: state.log_start,
            });
        }
        let marker = match &self.input {
            Input::Marker(_, part) => Some(*part),
            Input::Checked(_) | Input::Gathered { .. } => None,
        };
        PartDecision::Append(stage_batches(&mut state, checked, marker))
    }
}

/// Gives the batches their offsets. The place is not known yet.
fn stage_batches(state: &mut State, checked: Checked, marker: Option<TxnPart>) -> Staged {
    let base = state.log_end;
    let (mut producers, mut batches, mut max_timestamp) = (Vec::new(), Vec::new(), i64::MIN);
    for batch in checked.batches {
        let has_producer = batch.header().producer_id >= 0;
        let batch = batch.stamped(state.log_end.0, LEADER_EPOCH);
        let header = batch.header();
        let (first, last) = (Offset(header.base_offset), Offset(header.last_offset()));
        max_timestamp = max_timestamp.max(header.max_timestamp);
        if has_producer {
            let part = if header.attributes.is_transactional() { TxnPart::Data } else { TxnPart::None };
            let produced = ProducedBatch {
                producer_id: header.producer_id,
                producer_epoch: header.producer_epoch,
                base_sequence: header.base_sequence,
                last_sequence: header.last_sequence(),
                base_offset: first,
                last_offset: last,
                timestamp: header.max_timestamp,
                part: marker.unwrap_or(part),
            };
            state.producers.on_appended(produced);
            producers.push(produced);
        }
        state.log_end = Offset(last.0 + 1);
        batches.push(CachedBatch { base: first, last, bytes: batch.into_bytes() });
    }
    let last_offset_delta = u32::try_from(state.log_end.0 - 1 - base.0).unwrap_or_default();
    let entry = Entry { base, last_offset_delta, max_timestamp, place: Entry::NOWHERE };
    Staged { entry, producers, batches, log_append_time_ms: checked.log_append_time_ms }
}

fn claim(batch: &Batch) -> Option<Claim> {
    let header = batch.header();
    (header.producer_id >= 0 && !header.attributes.is_control()).then(|| Claim {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        last_sequence: header.last_sequence(),
        is_transactional: header.attributes.is_transactional(),
    })
}

impl<F: FnOnce(AllAppended) + Send + 'static> Change for AppendChange<F> {
    fn bytes_max(&self) -> usize {
        let part = |part: &Part| match &part.input {
            Input::Checked(checked) | Input::Marker(checked, _) => {
                let bytes: usize = checked.batches.iter().map(|b| b.bytes().len()).sum();
                bytes + entry_bytes_max(checked.batches.len()) + 2 * DELTA_OVERHEAD_BYTES
            }
            Input::Gathered { bytes_max } => bytes_max + entry_bytes_max(1) + 2 * DELTA_OVERHEAD_BYTES,
        };
        self.parts.iter().map(part).sum::<usize>() + self.extra_bytes_max
    }

    fn stage(&mut self, turn: &mut Turn) {
        if matches!(self.decision, Decision::None) {
            self.decision = self.decide();
        }
        let Decision::Taken(parts) = &mut self.decision else { return };
        for (part, decision) in self.parts.iter().zip(parts) {
            let PartDecision::Append(staged) = decision else { continue };
            let chunk: Vec<&Bytes> = staged.batches.iter().map(|b| &b.bytes).collect();
            staged.entry.place = turn.chunk_of(&chunk);
            let key = keys::batch(part.partition.id, staged.entry.base);
            turn.insert(Space::Index, &key, &staged.entry.encode(&staged.producers));
        }
        if let Some(extra) = &mut self.extra {
            extra(turn);
        }
    }

    fn committed(self: Box<Self>) {
        let this = *self;
        let outcome = match this.decision {
            Decision::Taken(decisions) => {
                let settle = |(part, decision): (Part, PartDecision)| match decision {
                    PartDecision::Append(staged) => {
                        part.partition.store.retain(staged.entry.place);
                        Some(part.partition.committed_state(staged))
                    }
                    PartDecision::Duplicate(appended) => Some(appended),
                    PartDecision::Nothing => None,
                };
                Ok(this.parts.into_iter().zip(decisions).filter_map(settle).collect())
            }
            Decision::Refused(refused) => {
                this.parts.iter().for_each(Part::forget_gathered);
                Err(refused)
            }
            Decision::None => Err(Refused::Storage("the turn was never formed".to_owned())),
        };
        (this.done)(outcome);
    }

    fn refused(self: Box<Self>, error: &StoreError) {
        self.parts.iter().for_each(Part::forget_gathered);
        (self.done)(Err(Refused::Storage(error.to_string())));
    }
}
