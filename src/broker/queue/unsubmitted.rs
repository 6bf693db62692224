//! What has come into a queue while the Change that carries it is not in the inbox yet.
//!
//! A move of dead letters, like a transaction's commit, publishes to one queue after the other and then submits ONE Change
//! (`dead_letter/`, `txn/channel.rs`). Until then other threads may serve the queue, and move on what it lets go. Their Change
//! would be in the log before, and a crash between the two would leave a message where it came from and where it went on
//! to, or have an acknowledgement committed of what comes back. So such a message is its consumer's, but is not delivered yet
//! (`reserving.rs`), and what a queue lets go meanwhile goes on afterwards. That takes as long as the mover needs for its
//! other targets; it waits for nobody.
//!
//! Not for a job's epoch (`txn/epoch.rs`), which may wait for room.

use std::{collections::VecDeque, sync::Arc};

use smallvec::SmallVec;

use super::{
    Queue, Seq,
    state::{Effects, State},
};
use crate::broker::outlet::Event;

/// Names a batch of a queue: later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchId(u64);

#[derive(Debug)]
struct Batch {
    id: BatchId,
    /// What the log will have of it: the first of each run, and what is behind the last.
    runs: SmallVec<[(Seq, Seq); 1]>,
}

/// In the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Unsubmitted {
    batches: VecDeque<Batch>,
    given: u64,
    /// Whether what comes is the last one's.
    open: bool,
}

impl Unsubmitted {
    /// What comes until [`Unsubmitted::close`] is one batch.
    pub(super) fn open(&mut self) -> BatchId {
        self.given += 1;
        let id = BatchId(self.given);
        self.batches.push_back(Batch { id, runs: SmallVec::new() });
        self.open = true;
        id
    }

    pub(super) fn close(&mut self) {
        self.open = false;
    }

    /// A run has come.
    #[inline]
    pub(super) fn add(&mut self, first: Seq, end: Seq) {
        if self.open
            && let Some(batch) = self.batches.back_mut()
        {
            batch.runs.push((first, end));
        }
    }

    #[inline]
    pub(super) fn has(&self, seq: Seq) -> bool {
        let runs = || self.batches.iter().flat_map(|batch| &batch.runs);
        !self.batches.is_empty() && runs().any(|&(first, end)| first <= seq && seq < end)
    }

    /// What dies now goes on behind this one.
    pub(super) fn last(&self) -> Option<BatchId> {
        self.batches.back().map(|batch| batch.id)
    }

    /// Whether that batch, or one before it, is not submitted.
    pub(super) fn awaits(&self, last: Option<BatchId>) -> bool {
        last.is_some_and(|last| self.batches.front().is_some_and(|first| first.id <= last))
    }

    fn submitted(&mut self, id: BatchId) {
        self.batches.retain(|batch| batch.id != id);
    }
}

impl State {
    /// Whether the next dead letter may be moved on.
    pub(super) fn dead_may_go(&self) -> bool {
        self.drops.dead.front().is_some_and(|dead| !self.unsubmitted.awaits(dead.behind))
    }
}

impl Queue {
    /// The Change that carries that batch is in the inbox. True when the caller is to move what this queue has let go.
    pub(in crate::broker) fn submitted(self: &Arc<Self>, id: BatchId) -> bool {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        state.unsubmitted.submitted(id);
        if state.gone {
            // What it let go before is not the queue's any more, and waited for this.
            return state.claim_move();
        }
        self.deliver_locked(&mut state, self.core.clock.now_ms(), &mut effects);
        let getters = state.take_getters();
        drop(state);
        let moves = std::mem::take(&mut effects.move_dead);
        self.follow(effects);
        getters.into_iter().for_each(|outlet| outlet.push(Event::Loaded));
        moves
    }
}
