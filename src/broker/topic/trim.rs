//! The start of the log moves: by retention, by DeleteRecords, and to the very end when the topic is dropped.
//!
//! The new start is one key; the index entries before it go in bites, one Change each, so that a large log does not
//! hold a turn up. After a crash in between, recovery finds entries before the start and goes on.

use std::sync::Arc;

use super::{Offset, entry::Entry, keys, partition::Partition, retention, writes::DELTA_OVERHEAD_BYTES};
use crate::store::{Change, Space, StoreError, Turn};

/// Why DeleteRecords is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrimRefused {
    #[error("the offset is beyond the high watermark")]
    OffsetOutOfRange,
    /// A topic that is compacted only is not to be deleted from.
    #[error("the records of the topic are not deleted")]
    PolicyViolation,
    #[error("the topic has been deleted")]
    UnknownTopicOrPartition,
    #[error("{0}")]
    Storage(String),
}

/// Index entries that one Change removes.
const ENTRIES_PER_TURN: usize = 1_000;

impl Partition {
    /// DeleteRecords: everything before `offset` (`None`: the high watermark). `done` gets the new low watermark, on
    /// the committer's thread.
    pub fn delete_records(
        self: &Arc<Self>,
        offset: Option<Offset>,
        done: impl FnOnce(Result<Offset, TrimRefused>) + Send + 'static,
    ) {
        let offsets = self.offsets();
        let to = offset.unwrap_or(offsets.high_watermark);
        if self.is_gone() {
            done(Err(TrimRefused::UnknownTopicOrPartition));
        } else if !self.config.read().cleanup.delete {
            done(Err(TrimRefused::PolicyViolation));
        } else if to < Offset(0) || to > offsets.high_watermark {
            done(Err(TrimRefused::OffsetOutOfRange));
        } else {
            self.save_producers(to, |_| true);
            self.submit_trim(to, false, Some(Box::new(done)));
        }
    }

    /// Applies retention as of `now_ms` (domain time). Returns where the log will start, if that moves.
    pub fn enforce_retention(self: &Arc<Self>, now_ms: i64) -> Option<Offset> {
        let limits = self.config.read().retention();
        let to = {
            let state = self.state.lock();
            if state.gone { None } else { retention::log_start(now_ms, limits, &state.index) }
        }?;
        self.save_producers(to, |_| true);
        self.submit_trim(to, false, None);
        Some(to)
    }

    /// Applies retention by size only: the log has just grown.
    pub(super) fn enforce_size(self: &Arc<Self>) {
        // No record is too old at the beginning of time.
        self.enforce_retention(i64::MIN);
    }

    /// Removes what lies before the start already, after a crash.
    pub(super) fn finish_trim(self: &Arc<Self>) {
        let (start, unfinished) = {
            let state = self.state.lock();
            (state.log_start, state.index.before(state.log_start, 1).next().is_some())
        };
        if unfinished {
            self.submit_trim(start, false, None);
        }
    }

    /// Removes every trace of a partition whose topic is gone.
    pub(super) fn drop_entries(self: &Arc<Self>) {
        self.forget_producers();
        self.submit_trim(Offset(i64::MAX), true, None);
    }

    fn submit_trim(self: &Arc<Self>, to: Offset, dropping: bool, done: Option<Done>) {
        self.store.submit(Box::new(Trim {
            partition: self.clone(),
            to,
            dropping,
            upto: None,
            finished: false,
            done,
        }));
    }
}

type Done = Box<dyn FnOnce(Result<Offset, TrimRefused>) + Send>;

struct Trim {
    partition: Arc<Partition>,
    to: Offset,
    /// The partition itself goes: its keys too, once its entries are gone.
    dropping: bool,
    /// Entries before this are removed in this Change.
    upto: Option<Offset>,
    /// No entries are left for another Change.
    finished: bool,
    done: Option<Done>,
}

impl Change for Trim {
    fn bytes_max(&self) -> usize {
        (ENTRIES_PER_TURN + 4) * (17 + DELTA_OVERHEAD_BYTES)
    }

    fn stage(&mut self, turn: &mut Turn) {
        let id = self.partition.id;
        let mut state = self.partition.state.lock();
        let mut removed = 0;
        let mut upto = state.log_start;
        // What is being rewritten in this very turn has its new entries only when that is committed.
        let before = state.cleaning.rewriting.map_or(self.to, |(first, _)| first.min(self.to));
        let complete = before == self.to;
        for entry in state.index.before(before, ENTRIES_PER_TURN) {
            turn.delete(Space::Index, &keys::batch(id, entry.base));
            upto = Offset(entry.last().0 + 1);
            removed += 1;
        }
        state.removed_to = state.removed_to.max(upto);
        self.upto = Some(upto);
        self.finished = removed < ENTRIES_PER_TURN && complete;
        if !self.dropping && self.to > state.next_log_start {
            state.next_log_start = self.to;
            turn.put(Space::State, &keys::log_start(id), &self.to.0.to_be_bytes());
        } else if self.dropping && self.finished {
            turn.delete(Space::State, &keys::log_start(id));
            turn.delete(Space::State, &keys::clean_to(id));
            turn.delete(Space::Meta, &keys::dropped_partition(id));
        }
    }

    fn committed(self: Box<Self>) {
        let this = *self;
        let mut removed: Vec<Entry> = Vec::new();
        let low_watermark = {
            let mut state = this.partition.state.lock();
            if let Some(upto) = this.upto {
                state.index.remove_before(upto, &mut removed);
            }
            if !this.dropping {
                state.log_start = state.log_start.max(this.to);
                let log_start = state.log_start;
                state.transactions.remove_before(log_start);
                state.find_last_stable_offset();
            }
            state.log_start
        };
        removed.iter().for_each(|entry| this.partition.store.release(entry.place));
        if let Some(done) = this.done {
            done(Ok(low_watermark));
        }
        if !this.finished {
            this.partition.submit_trim(this.to, this.dropping, None);
        }
    }

    fn refused(self: Box<Self>, error: &StoreError) {
        if let Some(done) = self.done {
            done(Err(TrimRefused::Storage(error.to_string())));
        }
    }
}
