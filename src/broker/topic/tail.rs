//! The newest batches of each partition in memory, so that whoever follows the log never reads the store.
//!
//! One budget of bytes is shared by all partitions; over it, the oldest batch of all goes first, whosesoever it is.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Offset, partition::Partition};

/// The bytes that tails may hold together.
#[derive(Debug)]
pub struct Budget {
    bytes_max: usize,
    held: AtomicUsize,
    /// Every batch in a tail, in the order in which it came.
    order: Mutex<VecDeque<(Weak<Partition>, Offset)>>,
}

impl Budget {
    #[must_use]
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, held: AtomicUsize::new(0), order: Mutex::default() })
    }

    /// Bytes held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Notes the batches that a partition has just put into its tail, and drops the oldest of all while there is too
    /// much. No partition may be locked by the caller.
    pub(super) fn on_pushed(&self, partition: &Arc<Partition>, bases: impl Iterator<Item = Offset>) {
        let weak = Arc::downgrade(partition);
        self.order.lock().extend(bases.map(|base| (weak.clone(), base)));
        while self.held() > self.bytes_max {
            let Some((victim, base)) = self.order.lock().pop_front() else { return };
            if let Some(victim) = victim.upgrade() {
                victim.forget_tail_to(base);
            }
        }
    }
}

/// What a server's tails hold, all partitions together. Whoever follows the log is a few batches behind. A reader further
/// back than this reads the log's files, which the kernel has in its cache, in pieces as large as it asks for.
pub const BYTES_MAX: usize = 16 << 20;

/// A batch as it is stored and sent.
#[derive(Debug, Clone)]
pub(super) struct CachedBatch {
    pub(super) base: Offset,
    pub(super) last: Offset,
    pub(super) bytes: Bytes,
}

/// One partition's newest batches: without gaps, up to the high watermark.
#[derive(Debug)]
pub(super) struct Tail {
    batches: VecDeque<CachedBatch>,
    budget: Arc<Budget>,
}

impl Tail {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self { batches: VecDeque::new(), budget }
    }

    pub(super) fn push(&mut self, batch: CachedBatch) {
        self.budget.held.fetch_add(batch.bytes.len(), Ordering::Relaxed);
        self.batches.push_back(batch);
    }

    /// Where the tail begins; `None` when it is empty.
    pub(super) fn start(&self) -> Option<Offset> {
        self.batches.front().map(|b| b.base)
    }

    /// The batch that holds `offset` (or the first behind it), and all that follow.
    pub(super) fn since_offset(&self, offset: Offset) -> impl Iterator<Item = &CachedBatch> {
        let at = self.batches.partition_point(|b| b.last < offset);
        self.batches.range(at..)
    }

    /// Drops the batches up to the one that begins at `base`.
    pub(super) fn forget_to(&mut self, base: Offset) {
        while let Some(batch) = self.batches.pop_front_if(|b| b.base <= base) {
            self.budget.give_back(batch.bytes.len());
        }
    }

    pub(super) fn clear(&mut self) {
        self.forget_to(Offset(i64::MAX));
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.clear();
    }
}
