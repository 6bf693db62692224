//! The catalog: what the checkpoints wrote, in fjall, or in a map for the simulation.
//!
//! Each of the three keyspaces carries its own position of the log. fjall writes their memtables out one by one, so after
//! damage to its journals they may have come to different points; the log is replayed from the least of them.

use std::{
    collections::BTreeMap,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, config::CompressionPolicy,
};
use parking_lot::Mutex;

use super::{
    Options, Space,
    dirty::{Entry, Maps},
    error::OpenError,
    journal,
    key::{OWN, POS},
    log::Pos,
};

/// Where checkpoints go.
pub(super) enum Catalog {
    Fjall(Box<Fjall>),
    Memory(MemoryCatalog),
    /// It failed and could not be opened again yet.
    Broken(Failure),
    /// `--ephemeral`: the dirty map is all there is.
    None,
    /// Of a new directory: the first checkpoint makes it. Making it costs some seventy syncs, which the first client
    /// need not wait for.
    Unmade,
}

/// What could not be done, in fjall's words.
pub(super) type Failure = String;

impl Catalog {
    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Fjall(fjall) => {
                Ok(fjall.keyspace(space).get(key).map_err(|e| e.to_string())?.map(Bytes::from))
            }
            Self::Memory(memory) => Ok(memory.0.lock().space(space).get(key).cloned()),
            Self::Broken(reason) => Err(reason.clone()),
            Self::None | Self::Unmade => Ok(None),
        }
    }

    /// All keys with that prefix but the store's own.
    pub(super) fn scan(&self, space: Space, prefix: &[u8]) -> Result<BTreeMap<Bytes, Bytes>, Failure> {
        let mut found = BTreeMap::new();
        self.scan_each(space, prefix, &mut |key, value| {
            found.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        })?;
        Ok(found)
    }

    /// As [`Catalog::scan`], one after the other.
    pub(super) fn scan_each(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), Failure> {
        let mut each = |key: &[u8], value: &[u8]| {
            if key.first() != Some(&OWN) {
                each(key, value);
            }
        };
        match self {
            Self::Fjall(fjall) => {
                for pair in fjall.keyspace(space).prefix(prefix) {
                    let (key, value) = pair.into_inner().map_err(|e| e.to_string())?;
                    each(&key, &value);
                }
            }
            Self::Memory(memory) => {
                let maps = memory.0.lock();
                let range = maps.space(space).range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
                let pairs = range.take_while(|(key, _)| key.starts_with(prefix));
                pairs.for_each(|(key, value)| each(key, value));
            }
            Self::Broken(reason) => return Err(reason.clone()),
            Self::None | Self::Unmade => {}
        }
        Ok(())
    }

    /// How far the log is in it, and whether the store was closed there.
    pub(super) fn pos(&self) -> Result<(Pos, bool), Failure> {
        let mut least: Option<(Pos, bool)> = None;
        for space in Space::ALL {
            let pos = match self.get(space, POS)? {
                Some(value) => Pos::decode(&value).ok_or("its log position cannot be read")?,
                None => (Pos::default(), false),
            };
            least = Some(least.map_or(pos, |least| if pos.0.turn < least.0.turn { pos } else { least }));
        }
        Ok(least.unwrap_or_default())
    }

    /// Writes a checkpoint, in batches; the last carries the position and is synced. A crash before it leaves what the log
    /// says again.
    pub(super) fn write(&self, maps: &Maps, pos: Pos, clean: bool, options: &Options) -> Result<(), Failure> {
        let pos = Bytes::copy_from_slice(&pos.encode(clean));
        match self {
            Self::Fjall(fjall) => fjall.write(maps, &pos, options).map_err(|e| e.to_string()),
            Self::Memory(memory) => memory.write(maps, &pos),
            Self::Broken(reason) => Err(reason.clone()),
            Self::None => Ok(()),
            Self::Unmade => Err("the catalog has not been made".into()),
        }
    }
}

pub(super) struct Fjall {
    db: Database,
    meta: Keyspace,
    index: Keyspace,
    state: Keyspace,
}

/// fjall's database, opened; and where its journal was cut, if the last batches of it were torn.
pub(super) struct Opened {
    pub(super) catalog: Catalog,
    pub(super) cut: Option<journal::Cut>,
}

/// Opens the catalog, or makes a new one. The journals are checked first: fjall refuses a torn one, and passes over a
/// damaged tag in silence.
pub(super) fn open(dir: &Path) -> Result<Opened, OpenError> {
    let cut = journal::check(dir)?;
    let error = |reason: String| OpenError::Catalog { dir: dir.into(), reason };
    // A flipped bit in one of its files can make fjall panic.
    match catch_unwind(AssertUnwindSafe(|| Fjall::open(dir))) {
        Ok(Ok(fjall)) => Ok(Opened { catalog: Catalog::Fjall(Box::new(fjall)), cut }),
        Ok(Err(reason)) => Err(error(reason.to_string())),
        Err(_) => Err(error("fjall panicked on it".into())),
    }
}

impl Fjall {
    fn open(dir: &Path) -> fjall::Result<Self> {
        let db = Database::builder(dir)
            .manual_journal_persist(true)
            .journal_compression(CompressionType::None)
            .max_journaling_size(64 << 20)
            .worker_threads(1)
            .cache_size(8 << 20)
            .max_cached_files(Some(64))
            .open()?;
        let keyspace = |name| {
            db.keyspace(name, || {
                KeyspaceCreateOptions::default()
                    .manual_journal_persist(true)
                    .max_memtable_size(8 << 20)
                    .data_block_compression_policy(CompressionPolicy::disabled())
                    .index_block_compression_policy(CompressionPolicy::disabled())
            })
        };
        let (meta, index, state) = (keyspace("meta")?, keyspace("index")?, keyspace("state")?);
        Ok(Self { db, meta, index, state })
    }

    /// Writes the memtables out, as fjall does when they are large.
    #[cfg(test)]
    pub(super) fn write_tables(&self, spaces: &[Space]) {
        for space in spaces {
            self.keyspace(*space).rotate_memtable_and_wait().expect("a test's directory is writable");
        }
    }

    fn keyspace(&self, space: Space) -> &Keyspace {
        match space {
            Space::Meta => &self.meta,
            Space::Index => &self.index,
            Space::State => &self.state,
        }
    }

    fn write(&self, maps: &Maps, pos: &Bytes, options: &Options) -> fjall::Result<()> {
        let mut batch = self.db.batch();
        for space in Space::ALL {
            let (keyspace, entries) = (self.keyspace(space), maps.space(space));
            if entries.len() >= options.checkpoint_table_keys {
                write_table(keyspace, entries)?;
                continue;
            }
            for (key, entry) in entries {
                // Copied: fjall keeps them for long, and they share their memory with all of their turn.
                match entry {
                    Entry::Put(value) | Entry::Insert(value) => batch.insert(keyspace, &key[..], &value[..]),
                    Entry::Delete => batch.remove(keyspace, &key[..]),
                }
                if batch.len() >= options.checkpoint_batch_keys {
                    let full = std::mem::replace(&mut batch, self.db.batch());
                    full.durability(Some(PersistMode::Buffer)).commit()?;
                }
            }
        }
        for space in Space::ALL {
            batch.insert(self.keyspace(space), POS, pos.clone());
        }
        batch.durability(Some(PersistMode::SyncData)).commit()
    }
}

/// Writes a table, synced, without fjall's journal and memtable: half of what so many keys would cost there, where they
/// are sorted that already are.
fn write_table(keyspace: &Keyspace, entries: &BTreeMap<Bytes, Entry>) -> fjall::Result<()> {
    let mut table = keyspace.start_ingestion()?;
    for (key, entry) in entries {
        match entry {
            Entry::Put(value) | Entry::Insert(value) => table.write(key.clone(), value.clone())?,
            Entry::Delete => table.write_tombstone(key.clone())?,
        }
    }
    table.finish()
}

/// The catalog of the simulation; clones share it. What is written is durable.
#[derive(Debug, Clone, Default)]
pub(super) struct MemoryCatalog(Arc<Mutex<MemoryMaps>>);

#[derive(Debug, Clone, Default)]
struct MemoryMaps {
    maps: [BTreeMap<Bytes, Bytes>; 3],
    /// Tests let checkpoints stop after so many keys, as a crash would.
    fail_after: Option<usize>,
}

impl MemoryMaps {
    fn space(&self, space: Space) -> &BTreeMap<Bytes, Bytes> {
        let [meta, index, state] = &self.maps;
        match space {
            Space::Meta => meta,
            Space::Index => index,
            Space::State => state,
        }
    }

    fn space_mut(&mut self, space: Space) -> &mut BTreeMap<Bytes, Bytes> {
        let [meta, index, state] = &mut self.maps;
        match space {
            Space::Meta => meta,
            Space::Index => index,
            Space::State => state,
        }
    }
}

impl MemoryCatalog {
    /// What is left after a crash: all of it.
    pub(super) fn after_crash(&self) -> Self {
        let maps = self.0.lock().maps.clone();
        Self(Arc::new(Mutex::new(MemoryMaps { maps, fail_after: None })))
    }

    /// Every checkpoint fails after that many keys; `None`: no more.
    pub(super) fn fail_after(&self, keys: Option<usize>) {
        self.0.lock().fail_after = keys;
    }

    fn write(&self, maps: &Maps, pos: &Bytes) -> Result<(), Failure> {
        let mut to = self.0.lock();
        let mut left = to.fail_after;
        for space in Space::ALL {
            for (key, entry) in maps.space(space) {
                if let Some(left) = &mut left {
                    *left = left.checked_sub(1).ok_or("injected failure")?;
                }
                match entry {
                    Entry::Put(value) | Entry::Insert(value) => {
                        to.space_mut(space).insert(key.clone(), value.clone());
                    }
                    Entry::Delete => {
                        to.space_mut(space).remove(key);
                    }
                }
            }
        }
        if left.is_some() {
            return Err("injected failure".into());
        }
        for space in Space::ALL {
            to.space_mut(space).insert(Bytes::from_static(POS), pos.clone());
        }
        Ok(())
    }
}
