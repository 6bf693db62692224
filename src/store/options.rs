//! Every limit and setting of the store.

use std::{path::PathBuf, time::Duration};

/// What confirmed means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After fdatasync: survives a loss of power.
    Fsync,
    /// Memory only (`--ephemeral`).
    None,
    /// After write: survives kill -9, not a loss of power.
    Os,
}

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    pub dir: PathBuf,
    pub durability: Durability,
    /// A turn takes at least one Change, and more up to this.
    pub turn_bytes_max: usize,
    /// Above one of these two the inbox is congested.
    pub inbox_bytes_max: usize,
    pub inbox_changes_max: usize,
    pub segment_bytes: u32,
    /// The first segment of a start when no spare is there.
    pub first_segment_bytes: u32,
    pub spare_segments_busy: usize,
    pub spare_segments_idle: usize,
    /// After so long without a turn the pool is trimmed.
    pub idle_after_ms: u64,
    pub checkpoint_every_ms: u64,
    /// A checkpoint is due after that much log, however soon.
    pub checkpoint_log_bytes: u64,
    /// Keys in one batch of fjall.
    pub checkpoint_batch_keys: usize,
    /// So many keys of a keyspace become a table of fjall's at once, past its journal.
    pub checkpoint_table_keys: usize,
    /// Segments that live to less than this, in percent, are worth rewriting.
    pub sparse_percent: u64,
}

impl Options {
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, durability: Durability) -> Self {
        Self {
            dir: dir.into(),
            durability,
            turn_bytes_max: 1 << 20,
            inbox_bytes_max: 64 << 20,
            inbox_changes_max: 4096,
            segment_bytes: 64 << 20,
            first_segment_bytes: 4 << 20,
            spare_segments_busy: 4,
            spare_segments_idle: 1,
            idle_after_ms: 60_000,
            checkpoint_every_ms: 500,
            checkpoint_log_bytes: 64 << 20,
            checkpoint_batch_keys: 2_000,
            checkpoint_table_keys: 50_000,
            sparse_percent: 20,
        }
    }

    /// A store in memory, for `--ephemeral`.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self::new("", Durability::None)
    }

    /// For a [`super::Store::manual`] of a test: its disk copies every segment at a sync and at a crash, written or not.
    #[cfg(test)]
    #[must_use]
    pub fn small_disk() -> Self {
        Self { segment_bytes: 512 << 10, first_segment_bytes: 256 << 10, ..Self::new("", Durability::Fsync) }
    }

    pub(super) fn idle_after(&self) -> Duration {
        Duration::from_millis(self.idle_after_ms)
    }

    pub(super) fn checkpoint_every(&self) -> Duration {
        Duration::from_millis(self.checkpoint_every_ms)
    }
}
