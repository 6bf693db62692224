//! The store without threads, for the simulation: the caller steps it, and may let it crash.

use std::time::Instant;

use parking_lot::Mutex;

use super::{
    Options, Store,
    background::Background,
    catalog::{Catalog, MemoryCatalog},
    committer::{Committer, Step},
    disk::Disk,
    error::OpenError,
    open::{self, Driver, Handle, Parts},
    recovery::Recovered,
};

/// What a [`Store::manual`] runs on.
pub(super) struct Manual {
    committer: Committer,
    background: Background,
    pub(super) disk: Disk,
    pub(super) catalog: MemoryCatalog,
}

/// What is left on the disk after a crash.
pub struct Image {
    disk: Disk,
    catalog: MemoryCatalog,
}

impl Image {
    pub(super) fn empty() -> Self {
        Self { disk: Disk::memory(), catalog: MemoryCatalog::default() }
    }
}

impl Store {
    /// A store on a memory disk, without threads: nothing happens but in [`Store::step`].
    ///
    /// # Panics
    /// Never: an empty disk can be opened.
    #[must_use]
    pub fn manual(options: Options) -> Self {
        Self::open_on(Image::empty(), options).expect("an empty memory disk opens")
    }

    /// As [`Store::manual`], on what a crash left.
    ///
    /// # Errors
    /// When the image is damaged.
    pub fn open_on(image: Image, options: Options) -> Result<Self, OpenError> {
        let Image { disk, catalog } = image;
        let parts = Parts {
            disk: disk.clone(),
            catalog: Catalog::Memory(catalog.clone()),
            data_dir: None,
            recovered: Recovered::default(),
        };
        let recovery = open::recover(options, parts, None)?;
        let committer = Committer::new(recovery.shared.clone(), recovery.writer);
        let manual = Manual { committer, background: Background::default(), disk, catalog };
        Ok(Self(std::sync::Arc::new(Handle {
            shared: recovery.shared,
            recovered: recovery.recovered,
            reads_block: false,
            driver: Driver::Manual(Box::new(Mutex::new(manual))),
        })))
    }

    /// Commits one turn, if anything waits, and does what the background thread would do by `now`. True when a turn was
    /// committed (or refused). Only for a [`Store::manual`]; others have their threads.
    pub fn step(&self, now: Instant) -> bool {
        let Driver::Manual(manual) = &self.0.driver else { return false };
        let mut manual = manual.lock();
        let step = manual.committer.step();
        manual.background.step(self.shared(), now);
        match step {
            Step::Committed | Step::Refused => true,
            Step::Idle | Step::Stuck => false,
        }
    }

    /// The power fails: gives what the disk still holds, chosen by `seed` where it was not synced. What still waits in
    /// this store is never told. `None` for a store that is not [`Store::manual`].
    #[must_use]
    pub fn crash(&self, seed: u64) -> Option<Image> {
        let Driver::Manual(manual) = &self.0.driver else { return None };
        let image = {
            let manual = manual.lock();
            Image { disk: manual.disk.crash(seed)?, catalog: manual.catalog.after_crash() }
        };
        self.abandon();
        Some(image)
    }

    /// Drops what waits in this store, and tells nobody: it holds the broker that waits for it, and that the store, for
    /// ever (`Store::manual` only).
    pub fn abandon(&self) {
        if let Driver::Manual(manual) = &self.0.driver {
            // Dropped without the lock: it may call the store.
            let lost = manual.lock().committer.forget();
            drop(lost);
        }
    }

    /// From now on every sync fails (`Store::manual` only).
    pub fn fail_syncs(&self) {
        self.set_fault(|disk| disk.faults.sync_fails.store(true, std::sync::atomic::Ordering::Relaxed));
    }

    /// The disk has no room, or has it again (`Store::manual` only).
    pub fn fill_disk(&self, full: bool) {
        self.set_fault(|disk| disk.faults.no_space.store(full, std::sync::atomic::Ordering::Relaxed));
    }

    /// Every checkpoint fails after that many keys (`Store::manual` only).
    pub fn fail_checkpoints(&self, after_keys: Option<usize>) {
        if let Driver::Manual(manual) = &self.0.driver {
            manual.lock().catalog.fail_after(after_keys);
        }
    }

    fn set_fault(&self, set: impl FnOnce(&Disk)) {
        if let Driver::Manual(manual) = &self.0.driver {
            set(&manual.lock().disk);
        }
    }
}
