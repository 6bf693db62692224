//! One partition: an append-only log of record batches with offsets, as a state under one short lock.
//!
//! The committer alone gives offsets (`append.rs`); readers see only what is committed (`fetch.rs`); the start of the
//! log moves by retention and DeleteRecords (`trim.rs`).
//!
//! ```text
//!      log start               tail begins             high watermark     log end
//!          │                        │                        │               │
//!   ───────┼────────────────────────┼────────────────────────┼───────────────┤
//!  removed │   in the store, by the index                    │  in the turn  │ next offset
//!          │                        │   and in memory        │  being synced │
//! ```

use std::{collections::VecDeque, fmt, sync::Arc};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::{
    Offset, PartitionId,
    compaction::{Cleaning, Newest},
    config::TopicConfig,
    fetch::Isolation,
    gather::Gathering,
    index::Index,
    tail::{Budget, Tail},
    transactions::Transactions,
    waiters::{Waiter, Waiters},
};
use crate::{broker::txn::producer::Producers, store::Store};

/// One node leads everything, always.
pub const LEADER_EPOCH: i32 = 0;

/// A topic's configuration, shared with its partitions, which see a change at once.
pub(super) type SharedConfig = Arc<RwLock<Arc<TopicConfig>>>;

/// One partition of a topic.
pub struct Partition {
    /// Unique for ever, in this data directory.
    pub id: PartitionId,
    /// Its number in its topic.
    pub number: i32,
    pub(super) state: Mutex<State>,
    /// Records that wait for the next turn; locked before the inbox, never together with `state`.
    pub(super) gathering: Mutex<VecDeque<Gathering>>,
    pub(super) config: SharedConfig,
    pub(super) store: Store,
    pub(super) budget: Arc<Budget>,
    /// Woken when there may be something to compact.
    pub(super) cleaner: Arc<Notify>,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition")
            .field("id", &self.id)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// What the lock holds.
#[derive(Debug)]
pub(super) struct State {
    pub(super) log_start: Offset,
    pub(super) index: Index,
    /// Everything before this is committed and may be read.
    pub(super) high_watermark: Offset,
    /// The first offset of the oldest open transaction; without transactions, the high watermark.
    pub(super) last_stable_offset: Offset,
    /// The next offset to give: the committer's.
    pub(super) log_end: Offset,
    /// Everything before this is removed once the turn being formed is committed: the committer's.
    pub(super) removed_to: Offset,
    /// The log's start once that turn is committed: the committer's.
    pub(super) next_log_start: Offset,
    /// As of `log_end`: the committer's.
    pub(super) producers: Producers,
    /// As of the high watermark.
    pub(super) transactions: Transactions,
    /// Where the newest segment begins, which is not compacted.
    pub(super) newest: Newest,
    pub(super) cleaning: Cleaning,
    pub(super) tail: Tail,
    pub(super) waiters: Waiters,
    /// The topic has been deleted.
    pub(super) gone: bool,
}

/// The offsets of a partition at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    pub log_start: Offset,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
}

impl State {
    /// Moves the last stable offset to where it now is.
    pub(super) fn find_last_stable_offset(&mut self) {
        let first_open = self.transactions.first_open().map(|first| first.max(self.log_start));
        self.last_stable_offset =
            first_open.map_or(self.high_watermark, |first| first.min(self.high_watermark));
    }

    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self {
            log_start: Offset(0),
            index: Index::default(),
            high_watermark: Offset(0),
            last_stable_offset: Offset(0),
            log_end: Offset(0),
            removed_to: Offset(0),
            next_log_start: Offset(0),
            producers: Producers::default(),
            transactions: Transactions::default(),
            newest: Newest::default(),
            cleaning: Cleaning::default(),
            tail: Tail::new(budget),
            waiters: Waiters::default(),
            gone: false,
        }
    }

    pub(super) fn offsets(&self) -> Offsets {
        Offsets {
            log_start: self.log_start,
            high_watermark: self.high_watermark,
            last_stable_offset: self.last_stable_offset,
        }
    }
}

impl Partition {
    pub(super) fn new(
        id: PartitionId,
        number: i32,
        config: SharedConfig,
        store: Store,
        budget: Arc<Budget>,
        cleaner: Arc<Notify>,
        state: State,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            number,
            state: Mutex::new(state),
            gathering: Mutex::default(),
            config,
            store,
            budget,
            cleaner,
        })
    }

    #[must_use]
    pub fn offsets(&self) -> Offsets {
        self.state.lock().offsets()
    }

    /// Bytes of all batches in the log.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state.lock().index.bytes()
    }

    /// Whether the topic has been deleted.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.state.lock().gone
    }

    #[must_use]
    pub fn config(&self) -> Arc<TopicConfig> {
        self.config.read().clone()
    }

    /// Fires `waiter` once there is more to read from `offset` on (at once, if there is already).
    pub fn wait(&self, offset: Offset, isolation: Isolation, waiter: &Arc<Waiter>) {
        let mut state = self.state.lock();
        if state.gone || offset < state.offsets().end(isolation) {
            drop(state);
            waiter.fire();
        } else {
            state.waiters.add(offset, isolation, waiter);
        }
    }

    pub(super) fn forget_tail_to(&self, base: Offset) {
        self.state.lock().tail.forget_to(base);
    }
}
