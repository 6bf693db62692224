//! What was committed and is not in the catalog yet: one map per keyspace, swapped out whole by a checkpoint.

use std::{
    collections::{BTreeMap, btree_map},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;

use super::{
    Space,
    frame::{Delta, Deltas},
    log::Pos,
    pool::Segment,
};

/// What is to become of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Put(Bytes),
    /// Not in the catalog before: deleting it leaves nothing to do.
    Insert(Bytes),
    Delete,
}

impl Entry {
    pub(super) fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Put(value) | Self::Insert(value) => Some(value),
            Self::Delete => None,
        }
    }
}

/// One map per [`Space`].
#[derive(Debug, Default)]
pub(super) struct Maps([BTreeMap<Bytes, Entry>; 3]);

impl Maps {
    pub(super) fn space(&self, space: Space) -> &BTreeMap<Bytes, Entry> {
        let [meta, index, state] = &self.0;
        match space {
            Space::Meta => meta,
            Space::Index => index,
            Space::State => state,
        }
    }

    fn space_mut(&mut self, space: Space) -> &mut BTreeMap<Bytes, Entry> {
        let [meta, index, state] = &mut self.0;
        match space {
            Space::Meta => meta,
            Space::Index => index,
            Space::State => state,
        }
    }

    pub(super) fn keys(&self) -> usize {
        self.0.iter().map(BTreeMap::len).sum()
    }
}

/// How deltas are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The catalog follows.
    Committing,
    /// The catalog may already know what is replayed, so no insert is taken for new.
    Replaying,
    /// There is no catalog (`--ephemeral`): this is all there is.
    Everything,
}

/// What one checkpoint writes.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) maps: Arc<Maps>,
    /// The log up to here is in it.
    pub(super) pos: Pos,
    /// Segments to be synced before (`durability = "os"` only: the catalog must not know what the log may lose).
    pub(super) unsynced: Vec<Arc<Segment>>,
}

#[derive(Debug)]
pub(super) struct Dirty {
    mode: Mode,
    now: Maps,
    /// The part a checkpoint is writing.
    flushing: Option<Arc<Maps>>,
    pos: Pos,
    unsynced: Vec<Arc<Segment>>,
    /// Log written since the last checkpoint began.
    log_bytes: u64,
}

impl Dirty {
    pub(super) fn new(mode: Mode, pos: Pos) -> Self {
        Self { mode, now: Maps::default(), flushing: None, pos, unsynced: Vec::new(), log_bytes: 0 }
    }

    pub(super) fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// Takes in what a turn changed. Its keys and values share one copy, which costs less than two for each and is freed
    /// by the checkpoint at the latest; where there is none, each must be able to go by itself.
    pub(super) fn apply(&mut self, deltas: Deltas<'_>) {
        if self.mode == Mode::Everything {
            deltas.for_each(|delta| self.apply_one(delta, Bytes::copy_from_slice));
        } else {
            let copy = Bytes::copy_from_slice(deltas.0);
            Deltas(&copy).for_each(|delta| self.apply_one(delta, |part| copy.slice_ref(part)));
        }
    }

    /// `own`: a key or a value of the delta, to be kept.
    fn apply_one(&mut self, delta: Delta<'_>, own: impl Fn(&[u8]) -> Bytes) {
        let mode = self.mode;
        match delta {
            Delta::Put { space, key, value } => match self.now.space_mut(space).entry(own(key)) {
                btree_map::Entry::Occupied(mut known) => {
                    let is_new = matches!(known.get(), Entry::Insert(_));
                    known.insert(if is_new { Entry::Insert(own(value)) } else { Entry::Put(own(value)) });
                }
                btree_map::Entry::Vacant(unknown) => {
                    unknown.insert(Entry::Put(own(value)));
                }
            },
            Delta::Insert { space, key, value } => match self.now.space_mut(space).entry(own(key)) {
                btree_map::Entry::Vacant(unknown) if mode != Mode::Replaying => {
                    unknown.insert(Entry::Insert(own(value)));
                }
                entry @ (btree_map::Entry::Occupied(_) | btree_map::Entry::Vacant(_)) => {
                    entry.insert_entry(Entry::Put(own(value)));
                }
            },
            Delta::Delete { space, key } => match self.now.space_mut(space).entry(own(key)) {
                btree_map::Entry::Occupied(known)
                    if mode == Mode::Everything || matches!(known.get(), Entry::Insert(_)) =>
                {
                    known.remove();
                }
                btree_map::Entry::Vacant(_) if mode == Mode::Everything => {}
                entry @ (btree_map::Entry::Occupied(_) | btree_map::Entry::Vacant(_)) => {
                    entry.insert_entry(Entry::Delete);
                }
            },
        }
    }

    /// A turn ended at `pos`. Gives the log bytes since the last checkpoint.
    pub(super) fn advance(&mut self, pos: Pos, bytes: u64, unsynced: Option<&Arc<Segment>>) -> u64 {
        self.pos = pos;
        self.log_bytes += bytes;
        if let Some(segment) = unsynced
            && self.unsynced.last().is_none_or(|last| last.id != segment.id)
        {
            self.unsynced.push(segment.clone());
        }
        self.log_bytes
    }

    pub(super) fn pos(&self) -> Pos {
        self.pos
    }

    pub(super) fn keys(&self) -> usize {
        self.now.keys() + self.flushing.as_ref().map_or(0, |maps| maps.keys())
    }

    /// Swaps out what a checkpoint is to write.
    pub(super) fn begin(&mut self) -> Part {
        let maps = Arc::new(std::mem::take(&mut self.now));
        self.flushing = Some(maps.clone());
        self.log_bytes = 0;
        Part { maps, pos: self.pos, unsynced: std::mem::take(&mut self.unsynced) }
    }

    /// The checkpoint is durable. Gives the maps, so that they are freed outside of the lock.
    pub(super) fn done(&mut self) -> Option<Arc<Maps>> {
        self.flushing.take()
    }

    /// The checkpoint failed: what it was to write is dirty again, below what came since.
    pub(super) fn failed(&mut self, part: Part) {
        self.flushing = None;
        for space in Space::ALL {
            for (key, old) in part.maps.space(space) {
                // The catalog may have got a part of it, so nothing is known to be new any more.
                let old = match old {
                    Entry::Put(value) | Entry::Insert(value) => Entry::Put(value.clone()),
                    Entry::Delete => Entry::Delete,
                };
                self.now.space_mut(space).entry(key.clone()).or_insert(old);
            }
        }
        let since = std::mem::replace(&mut self.unsynced, part.unsynced);
        self.unsynced.extend(since);
    }

    /// What is known here of a key: `None` is nothing, `Some(None)` that it is deleted.
    pub(super) fn get(&self, space: Space, key: &[u8]) -> Option<Option<Bytes>> {
        let flushing = self.flushing.as_ref().and_then(|maps| maps.space(space).get(key));
        self.now.space(space).get(key).or(flushing).map(|entry| entry.value().cloned())
    }

    /// What is known here of all keys with that prefix.
    pub(super) fn scan(&self, space: Space, prefix: &[u8]) -> BTreeMap<Bytes, Option<Bytes>> {
        let mut found = BTreeMap::new();
        for maps in self.flushing.iter().map(Arc::as_ref).chain([&self.now]) {
            let range = maps.space(space).range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
            for (key, entry) in range.take_while(|(key, _)| key.starts_with(prefix)) {
                found.insert(key.clone(), entry.value().cloned());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"k";

    fn dirty(mode: Mode, deltas: &[Delta<'_>]) -> Option<Entry> {
        let mut dirty = Dirty::new(mode, Pos::default());
        let mut turn = Vec::new();
        deltas.iter().for_each(|delta| delta.encode(&mut turn));
        dirty.apply(Deltas(&turn));
        dirty.now.space(Space::State).get(KEY).cloned()
    }

    #[test]
    fn an_insert_that_is_deleted_leaves_nothing() {
        let insert = Delta::Insert { space: Space::State, key: KEY, value: b"1" };
        let put = Delta::Put { space: Space::State, key: KEY, value: b"2" };
        let delete = Delta::Delete { space: Space::State, key: KEY };
        let rows: [(Mode, &[Delta<'_>], Option<Entry>); 7] = [
            (Mode::Committing, &[insert, delete], None),
            (Mode::Committing, &[insert, put, delete], None),
            (Mode::Committing, &[put, delete], Some(Entry::Delete)),
            (Mode::Committing, &[delete, insert], Some(Entry::Put(Bytes::from_static(b"1")))),
            (Mode::Committing, &[insert, put], Some(Entry::Insert(Bytes::from_static(b"2")))),
            (Mode::Replaying, &[insert, delete], Some(Entry::Delete)),
            (Mode::Everything, &[put, delete], None),
        ];
        for (mode, deltas, expected) in rows {
            assert_eq!(dirty(mode, deltas), expected, "{mode:?} {deltas:?}");
        }
    }
}
