//! Counts and times of the store, for metrics and tests.

use std::sync::atomic::Ordering;

use super::shared::Shared;

/// A reading of all counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Syncs of the log by the committer.
    pub syncs: u64,
    pub turns: u64,
    /// The last turn that is in the log; turns are counted over all starts of a data directory.
    pub last_turn: u64,
    pub changes: u64,
    /// Written to the log.
    pub bytes_written: u64,
    pub turn_us_last: u64,
    pub checkpoints: u64,
    pub checkpoint_us_last: u64,
    /// Keys that are not in the catalog yet.
    pub dirty_keys: usize,
    pub segments: usize,
    pub spare_segments: usize,
    /// Chunks that something points at.
    pub live_bytes: u64,
    pub inbox_changes: usize,
    pub inbox_bytes: usize,
}

impl Stats {
    pub(super) fn of(shared: &Shared) -> Self {
        let counters = &shared.counters;
        let (inbox_changes, inbox_bytes) = shared.inbox.waiting();
        let segments = shared.pool.as_ref().map(|pool| pool.segments()).unwrap_or_default();
        let in_segments: u64 = segments.iter().map(|s| s.live_bytes.load(Ordering::Relaxed)).sum();
        Self {
            syncs: counters.syncs.load(Ordering::Acquire),
            turns: counters.turns.load(Ordering::Relaxed),
            last_turn: counters.last_turn.load(Ordering::Relaxed),
            changes: counters.changes.load(Ordering::Relaxed),
            bytes_written: counters.bytes_written.load(Ordering::Relaxed),
            turn_us_last: counters.turn_us_last.load(Ordering::Relaxed),
            checkpoints: counters.checkpoints.load(Ordering::Relaxed),
            checkpoint_us_last: counters.checkpoint_us_last.load(Ordering::Relaxed),
            dirty_keys: shared.dirty.lock().keys(),
            segments: segments.len(),
            spare_segments: shared.pool.as_ref().map_or(0, |pool| pool.spares()),
            live_bytes: in_segments + shared.chunks.live_bytes(),
            inbox_changes,
            inbox_bytes,
        }
    }
}
