//! What the committer, the background thread and the handles share.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};

use super::{
    Options, StoreError,
    background::Signal,
    bell::Bell,
    catalog::Catalog,
    chunks::Chunks,
    dirty::Dirty,
    inbox::{Inbox, Waiters},
    log::Pos,
    pool::Pool,
    version::DataDir,
};
use crate::clock::Clock;

pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) clock: Clock,
    pub(super) inbox: Inbox,
    pub(super) waiters: Waiters,
    pub(super) bell: Bell,
    pub(super) dirty: Mutex<Dirty>,
    pub(super) catalog: RwLock<Catalog>,
    /// fjall's directory; `None` for the memory catalog.
    pub(super) catalog_dir: Option<PathBuf>,
    /// The catalog on disk is at least this far.
    pub(super) checkpointed: Mutex<Pos>,
    /// Only one checkpoint at a time.
    pub(super) checkpointing: Mutex<()>,
    /// The last checkpoint failed.
    pub(super) catalog_failed: AtomicBool,
    /// `None`: nothing is written.
    pub(super) pool: Option<Pool>,
    pub(super) chunks: Chunks,
    pub(super) signal: Signal,
    pub(super) counters: Counters,
    /// The broker has counted all it points at.
    pub(super) reclaiming: AtomicBool,
    poisoned: OnceLock<StoreError>,
    closed: AtomicBool,
    full: AtomicBool,
    _data_dir: Option<DataDir>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) syncs: AtomicU64,
    pub(super) turns: AtomicU64,
    /// The number of the last turn that is in the log, over all starts.
    pub(super) last_turn: AtomicU64,
    pub(super) changes: AtomicU64,
    pub(super) bytes_written: AtomicU64,
    pub(super) turn_us_last: AtomicU64,
    pub(super) checkpoints: AtomicU64,
    pub(super) checkpoint_us_last: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        options: Options,
        dirty: Dirty,
        catalog: Catalog,
        catalog_dir: Option<PathBuf>,
        checkpointed: Pos,
        pool: Option<Pool>,
        data_dir: Option<DataDir>,
    ) -> Arc<Self> {
        Arc::new(Self {
            inbox: Inbox::new(&options),
            options,
            clock: Clock::machine(),
            waiters: Waiters::default(),
            bell: Bell::default(),
            dirty: Mutex::new(dirty),
            catalog: RwLock::new(catalog),
            catalog_dir,
            checkpointed: Mutex::new(checkpointed),
            checkpointing: Mutex::new(()),
            catalog_failed: AtomicBool::new(false),
            pool,
            chunks: Chunks::default(),
            signal: Signal::default(),
            counters: Counters::default(),
            reclaiming: AtomicBool::new(false),
            poisoned: OnceLock::new(),
            closed: AtomicBool::new(false),
            full: AtomicBool::new(false),
            _data_dir: data_dir,
        })
    }

    pub(super) fn pool(&self) -> io::Result<&Pool> {
        self.pool.as_ref().ok_or_else(|| io::Error::other("an ephemeral store has no segments"))
    }

    /// No more writes: a sync failed.
    pub(super) fn poison(&self, error: StoreError) {
        tracing::error!(%error, "nothing is confirmed any more; reads go on");
        self.waiters.fail(&error);
        let _ = self.poisoned.set(error);
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Why Changes are refused, if they are.
    pub(super) fn refusing(&self) -> Option<StoreError> {
        match self.poisoned.get() {
            Some(error) => Some(error.clone()),
            None => self.closed.load(Ordering::Acquire).then_some(StoreError::Closed),
        }
    }

    pub(super) fn poisoned(&self) -> Option<&StoreError> {
        self.poisoned.get()
    }

    /// There is no room on the disk (the reason), or there is again.
    pub(super) fn set_full(&self, reason: Option<&io::Error>) {
        let was = self.full.load(Ordering::Relaxed);
        match reason {
            Some(error) if !was => {
                tracing::error!(%error, "cannot write; nothing is confirmed until it works again");
                self.full.store(true, Ordering::Relaxed);
            }
            None if was => {
                tracing::info!("writing works again");
                self.full.store(false, Ordering::Relaxed);
            }
            Some(_) | None => {}
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }
}
