//! Space: how much of each segment lives, and when a segment may be used again.
//!
//! A segment is recycled when nothing in it lives AND the catalog on disk is at a position in a later segment. Both are
//! needed: replay after a crash reads frames whose chunks are long gone. The later segment then holds at least one frame,
//! so the log always shows how far it came, and a catalog that went back in time is found out.

use std::sync::atomic::Ordering;

use super::{Place, frame::CHUNK_HEAD_BYTES, shared::Shared};

/// A segment that is mostly dead: its last chunks are worth moving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SparseSegment {
    pub segment: u32,
    pub live_bytes: u64,
    pub bytes: u64,
}

fn weight(place: Place) -> u64 {
    u64::from(place.len) + CHUNK_HEAD_BYTES as u64
}

pub(super) fn retain(shared: &Shared, place: Place) {
    match &shared.pool {
        Some(pool) => pool.retain(place.segment, weight(place)),
        None => shared.chunks.retain(place),
    }
}

pub(super) fn release(shared: &Shared, place: Place) {
    match &shared.pool {
        Some(pool) => {
            if pool.release(place.segment, weight(place)) {
                shared.signal.freed();
            }
        }
        None => shared.chunks.release(place),
    }
}

/// Recycles what can be recycled.
pub(super) fn run(shared: &Shared) {
    let Some(pool) = &shared.pool else { return };
    if !shared.reclaiming.load(Ordering::Acquire) {
        return;
    }
    let pos = *shared.checkpointed.lock();
    for segment in pool.segments() {
        if segment.id >= pos.segment || segment.live_bytes.load(Ordering::Relaxed) > 0 {
            continue;
        }
        if let Err(error) = pool.recycle(segment.id) {
            tracing::warn!(%error, segment = segment.id, "a segment could not be recycled");
        }
    }
}

/// Sealed segments that live to less than `percent`, the sparsest first.
pub(super) fn sparse(shared: &Shared, percent: u64) -> Vec<SparseSegment> {
    let Some(pool) = &shared.pool else { return Vec::new() };
    let active = shared.dirty.lock().pos().segment;
    let mut found: Vec<_> = pool
        .segments()
        .into_iter()
        .filter(|segment| segment.id < active)
        .map(|segment| SparseSegment {
            segment: segment.id,
            live_bytes: segment.live_bytes.load(Ordering::Relaxed),
            bytes: segment.end.load(Ordering::Relaxed).into(),
        })
        .filter(|s| s.live_bytes > 0 && s.live_bytes * 100 < s.bytes * percent)
        .collect();
    found.sort_by_key(|s| (s.live_bytes * 1_000 / s.bytes.max(1), s.segment));
    found
}
