//! Opening a store: the data directory, the catalog, the replay, the threads.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;

use super::{
    Durability, Options,
    background::Background,
    catalog::{self, Catalog},
    committer::Committer,
    dirty::{Dirty, Mode},
    disk::Disk,
    error::OpenError,
    log::{Pos, Writer},
    manual::Manual,
    pool::Pool,
    recovery::{self, Recovered},
    shared::Shared,
    version::{self, DataDir},
};

/// The store behind all its handles. Dropping it stops the threads.
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) recovered: Recovered,
    /// Reads may wait for a disk.
    pub(super) reads_block: bool,
    pub(super) driver: Driver,
}

pub(super) enum Driver {
    /// The caller steps it.
    Manual(Box<Mutex<Manual>>),
    Threads(Vec<JoinHandle<()>>),
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.inbox.stop();
        self.shared.signal.stop();
        if let Driver::Threads(threads) = &mut self.driver {
            for thread in threads.drain(..) {
                // A Change may have held the last handle; then it is the committer that is here.
                if thread.thread().id() != thread::current().id() {
                    let _ = thread.join();
                }
            }
        }
    }
}

/// A store that is recovered, and where to write next.
pub(super) struct Recovery {
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Option<Writer>,
    pub(super) recovered: Recovered,
}

pub(super) fn open(options: Options) -> Result<Handle, OpenError> {
    let recovery = match options.durability {
        Durability::None => ephemeral(options),
        Durability::Fsync | Durability::Os => open_dir(options)?,
    };
    start(recovery)
}

/// A store without a directory: the dirty map is all there is.
pub(super) fn ephemeral(options: Options) -> Recovery {
    let dirty = Dirty::new(Mode::Everything, Pos::default());
    let shared = Shared::new(options, dirty, Catalog::None, None, Pos::default(), None, None);
    Recovery { shared, writer: None, recovered: Recovered::default() }
}

fn open_dir(options: Options) -> Result<Recovery, OpenError> {
    let dir = options.dir.clone();
    let data_dir = version::claim(&dir)?;
    let is_new = data_dir.is_new;
    let catalog_dir = version::catalog_dir(&dir);
    let opened = if version::has_catalog(&dir)? {
        catalog::open(&catalog_dir)?
    } else {
        catalog::Opened { catalog: Catalog::Unmade, cut: None }
    };
    let mut recovered = Recovered::default();
    if let Some(cut) = opened.cut {
        tracing::warn!(file = %cut.file.display(), position = cut.position, "the catalog's journal was torn and was cut");
        recovered.catalog_cut = Some((cut.file, cut.position));
    }
    let disk = Disk::real(&version::log_dir(&dir));
    let parts = Parts { disk, catalog: opened.catalog, data_dir: Some(data_dir), recovered };
    let recovery = recover(options, parts, Some(&catalog_dir))?;
    if is_new {
        version::finish(&dir)?;
    }
    Ok(recovery)
}

/// What a store is recovered from.
pub(super) struct Parts {
    pub(super) disk: Disk,
    pub(super) catalog: Catalog,
    pub(super) data_dir: Option<DataDir>,
    pub(super) recovered: Recovered,
}

pub(super) fn recover(
    options: Options,
    parts: Parts,
    catalog_dir: Option<&Path>,
) -> Result<Recovery, OpenError> {
    let Parts { disk, catalog, data_dir, mut recovered } = parts;
    let (pos, clean) = catalog.pos().map_err(|reason| OpenError::Catalog {
        dir: catalog_dir.unwrap_or(Path::new("memory")).into(),
        reason,
    })?;
    let pool = Pool::new(disk, &options);
    let mut dirty = Dirty::new(Mode::Replaying, pos);
    let end = recovery::replay(&pool, pos, clean, &mut recovered, |deltas, at| {
        dirty.apply(deltas);
        dirty.advance(at, 0, None);
    })?;
    dirty.set_mode(Mode::Committing);
    let writer = Writer::new(end.turn);
    let catalog_dir = catalog_dir.map(Path::to_path_buf);
    let shared = Shared::new(options, dirty, catalog, catalog_dir, pos, Some(pool), data_dir);
    shared.counters.last_turn.store(end.turn, Ordering::Relaxed);
    shared.signal.opened(recovered.replayed_turns > 0);
    Ok(Recovery { shared, writer: Some(writer), recovered })
}

fn start(recovery: Recovery) -> Result<Handle, OpenError> {
    let Recovery { shared, writer, recovered } = recovery;
    let reads_block = writer.is_some();
    let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().name(name.into()).spawn(run).map_err(OpenError::io(&shared.options.dir))
    };
    let mut handle =
        Handle { shared: shared.clone(), recovered, reads_block, driver: Driver::Threads(Vec::new()) };
    let committer = Committer::new(shared.clone(), writer);
    let mut threads = vec![spawn("committer", Box::new(move || committer.run()))?];
    if reads_block {
        let shared = shared.clone();
        threads.push(spawn("checkpoint", Box::new(move || Background::default().run(&shared)))?);
    }
    handle.driver = Driver::Threads(threads);
    Ok(handle)
}
