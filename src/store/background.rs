//! The background thread: checkpoints, recycling, the next segment, trimming. It sleeps while nothing is dirty.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::{checkpoint, reclaim, shared::Shared};

/// Spares deleted at one time while busy.
const TRIM_BUSY: usize = 4;

/// How the others wake the background thread.
#[derive(Debug, Default)]
pub(super) struct Signal {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct Wanted {
    /// Something was written since the last checkpoint began.
    dirty: bool,
    /// So much was written that the checkpoint must not wait.
    urgent: bool,
    /// The next segment is to be made ready.
    prepare: bool,
    /// Nothing lives in a segment any more.
    freed: bool,
    stop: bool,
}

impl Signal {
    /// A turn was written.
    pub(super) fn wrote(&self, urgent: bool, prepare: bool) {
        let mut wanted = self.wanted.lock();
        let wake = !wanted.dirty || (urgent && !wanted.urgent) || (prepare && !wanted.prepare);
        wanted.dirty = true;
        wanted.urgent |= urgent;
        wanted.prepare |= prepare;
        drop(wanted);
        if wake {
            self.changed.notify_one();
        }
    }

    /// The store was opened: the first segment is to be made ready, and what was replayed is to be checkpointed.
    pub(super) fn opened(&self, replayed: bool) {
        let mut wanted = self.wanted.lock();
        wanted.prepare = true;
        wanted.dirty |= replayed;
    }

    pub(super) fn freed(&self) {
        let mut wanted = self.wanted.lock();
        if !std::mem::replace(&mut wanted.freed, true) {
            drop(wanted);
            self.changed.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        self.wanted.lock().stop = true;
        self.changed.notify_one();
    }

    fn is_dirty(&self) -> bool {
        self.wanted.lock().dirty
    }
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Checkpoint,
    Prepare,
    Reclaim,
    Trim,
    Stop,
}

/// What the thread remembers between two works; the simulation keeps one too.
#[derive(Debug, Default)]
pub(super) struct Background {
    /// When the next checkpoint is due.
    checkpoint_at: Option<Instant>,
    /// When the pool is trimmed, if nothing happens until then.
    trim_at: Option<Instant>,
}

impl Background {
    pub(super) fn run(mut self, shared: &Arc<Shared>) {
        loop {
            match self.next(shared) {
                Work::Stop => return,
                Work::Checkpoint => self.checkpoint(shared, shared.clock.now()),
                Work::Prepare => prepare(shared),
                Work::Reclaim => reclaim::run(shared),
                Work::Trim => trim(shared, shared.options.spare_segments_idle, usize::MAX),
            }
        }
    }

    /// Waits for work.
    fn next(&mut self, shared: &Shared) -> Work {
        let mut wanted = shared.signal.wanted.lock();
        loop {
            let now = shared.clock.now();
            if wanted.stop {
                return Work::Stop;
            }
            if std::mem::take(&mut wanted.prepare) {
                return Work::Prepare;
            }
            if wanted.dirty && self.due(shared, now, wanted.urgent) {
                return Work::Checkpoint;
            }
            if wanted.freed && !wanted.dirty {
                wanted.freed = false;
                return Work::Reclaim;
            }
            if self.trim_at.is_some_and(|at| at <= now) {
                self.trim_at = None;
                return Work::Trim;
            }
            match self.checkpoint_at.into_iter().chain(self.trim_at).min() {
                Some(at) => {
                    shared.signal.changed.wait_until(&mut wanted, at);
                }
                None => shared.signal.changed.wait(&mut wanted),
            }
        }
    }

    /// Whether a checkpoint is due; the first turn after one starts the clock.
    fn due(&mut self, shared: &Shared, now: Instant, urgent: bool) -> bool {
        let at = *self.checkpoint_at.get_or_insert_with(|| now + shared.options.checkpoint_every());
        // After a failure there is no hurry that would help.
        at <= now || (urgent && !shared.catalog_failed.load(Ordering::Relaxed))
    }

    fn checkpoint(&mut self, shared: &Shared, now: Instant) {
        {
            let mut wanted = shared.signal.wanted.lock();
            wanted.dirty = false;
            wanted.urgent = false;
            wanted.freed = false;
        }
        self.checkpoint_at = None;
        match checkpoint::run(shared, false) {
            Ok(_) => {
                reclaim::run(shared);
                trim(shared, shared.options.spare_segments_busy, TRIM_BUSY);
                self.trim_at = Some(now + shared.options.idle_after());
            }
            Err(_) => {
                shared.signal.wanted.lock().dirty = true;
                self.checkpoint_at = Some(now + RETRY.max(shared.options.checkpoint_every()));
            }
        }
    }

    /// For a store without threads: does what is due at `now`.
    pub(super) fn step(&mut self, shared: &Shared, now: Instant) {
        let wanted = *shared.signal.wanted.lock();
        if wanted.prepare {
            shared.signal.wanted.lock().prepare = false;
            prepare(shared);
        }
        if wanted.dirty && self.due(shared, now, wanted.urgent) {
            self.checkpoint(shared, now);
        }
        if wanted.freed && !shared.signal.is_dirty() {
            shared.signal.wanted.lock().freed = false;
            reclaim::run(shared);
        }
        if self.trim_at.is_some_and(|at| at <= now) {
            self.trim_at = None;
            trim(shared, shared.options.spare_segments_idle, usize::MAX);
        }
    }
}

/// How long after a failed checkpoint the next is tried.
const RETRY: Duration = Duration::from_secs(1);

fn prepare(shared: &Shared) {
    if let Some(pool) = &shared.pool
        && let Err(error) = pool.prepare()
    {
        // The committer tries again itself, and says so when it has to wait.
        tracing::debug!(%error, "no segment could be made ready");
    }
}

fn trim(shared: &Shared, keep: usize, most: usize) {
    if let Some(pool) = &shared.pool
        && let Err(error) = pool.trim(keep, most)
    {
        tracing::warn!(%error, "a spare segment could not be deleted");
    }
}
