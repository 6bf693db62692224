//! A checkpoint: what was committed since the last one goes from the dirty map into the catalog.
//!
//! ```text
//!  committer ──▶ dirty map (now) ──swap──▶ flushing ──batches, or a table──▶ fjall
//!                                    │                            │ last batch: log position, synced
//!                                    └ the position of the log    └▶ segments behind it may be recycled
//! ```
//!
//! A failed checkpoint stops recycling, not confirming: what it was to write is dirty again, and the next one opens the
//! catalog anew (fjall takes no writes after an error).

use std::{path::Path, sync::atomic::Ordering};

use super::{
    Durability,
    catalog::{self, Catalog, Failure},
    committer::micros,
    dirty::Part,
    log::Pos,
    shared::Shared,
    version,
};

/// Writes one checkpoint. `clean`: the store is being closed, and nothing follows.
pub(super) fn run(shared: &Shared, clean: bool) -> Result<Pos, Failure> {
    let _one = shared.checkpointing.lock();
    let began = shared.clock.now();
    let part = shared.dirty.lock().begin();
    match write(shared, &part, clean) {
        Ok(()) => {
            let written = shared.dirty.lock().done();
            let pos = part.pos;
            drop((written, part));
            *shared.checkpointed.lock() = pos;
            if shared.catalog_failed.swap(false, Ordering::Relaxed) {
                tracing::info!("checkpoints work again");
            }
            let took = shared.clock.now().saturating_duration_since(began);
            shared.counters.checkpoint_us_last.store(micros(took), Ordering::Relaxed);
            shared.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
            Ok(pos)
        }
        Err(reason) => {
            shared.dirty.lock().failed(part);
            if !shared.catalog_failed.swap(true, Ordering::Relaxed) {
                tracing::error!(%reason, "a checkpoint failed; segments are not recycled until one works");
            }
            Err(reason)
        }
    }
}

fn write(shared: &Shared, part: &Part, clean: bool) -> Result<(), Failure> {
    if shared.options.durability == Durability::Os {
        for segment in &part.unsynced {
            segment.file.sync().map_err(|e| e.to_string())?;
        }
    }
    if shared.catalog_failed.load(Ordering::Relaxed)
        && let Some(dir) = &shared.catalog_dir
    {
        reopen(shared, dir)?;
    }
    if matches!(*shared.catalog.read(), Catalog::Unmade)
        && let Some(dir) = &shared.catalog_dir
    {
        version::making_catalog(&shared.options.dir).map_err(|error| error.to_string())?;
        reopen(shared, dir)?;
        version::made_catalog(&shared.options.dir).map_err(|error| error.to_string())?;
    }
    shared.catalog.read().write(&part.maps, part.pos, clean, &shared.options)
}

fn reopen(shared: &Shared, dir: &Path) -> Result<(), Failure> {
    let mut catalog = shared.catalog.write();
    // The old one must be gone before its directory can be opened again.
    *catalog = Catalog::Broken("the catalog is being opened again".into());
    match catalog::open(dir) {
        Ok(opened) => {
            *catalog = opened.catalog;
            Ok(())
        }
        Err(error) => {
            let reason = error.to_string();
            *catalog = Catalog::Broken(reason.clone());
            Err(reason)
        }
    }
}
