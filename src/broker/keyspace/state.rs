//! The keys of one vhost, pure: numbered name spaces, values, times to go, and what watches them.
//!
//! Every change of a value goes through [`State::change`]: it makes the key, counts memory, tells the journal, wakes who
//! waits, and lets a key go that holds nothing any more.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    journal::{Journal, Record, Slots, ValueId},
    lending::Lending,
    value::{Kind, OfKind, Value},
    waiters::{Db, Name, Served, Waiters},
};

/// The key holds a value of another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongType;

/// Raised when a watched key is touched.
pub type Watch = Arc<AtomicBool>;

/// One key.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: ValueId,
    expires_at_ms: Option<i64>,
    pub(super) value: Value,
}

/// One name space.
#[derive(Debug, Default)]
struct Names {
    by_name: HashMap<Name, Entry>,
    /// For walks that go on where they stopped: ids rise with time, and a key keeps its own.
    by_id: BTreeMap<ValueId, Name>,
}

/// The keys of one vhost.
#[derive(Debug)]
pub struct State {
    pub(super) vhost: Arc<str>,
    dbs: Vec<Names>,
    pub(super) journal: Journal,
    expiring: BTreeSet<(i64, Db, Name)>,
    watches: HashMap<(Db, Name), Vec<Weak<AtomicBool>>>,
    pub(super) waiters: Waiters,
    pub(super) lending: Lending,
    /// Those among the keys that are lists.
    lists: BTreeSet<(Db, Name)>,
    pub(super) served: Vec<(Arc<super::Outlet>, Served)>,
    /// What is held in memory.
    pub(super) bytes: usize,
    /// Streams that are gone, or have another name: their topics go, too.
    pub(super) gone_streams: Vec<(Db, Name)>,
    /// Keys that went because their time had come.
    pub(super) expired: u64,
}

/// What a key costs beside its name and its value.
const KEY_BYTES: usize = size_of::<Entry>() + 2 * size_of::<Name>() + 48;

impl State {
    pub(super) fn new(vhost: Arc<str>, journal: Journal) -> Self {
        Self {
            vhost,
            dbs: (0..super::SPACES).map(|_| Names::default()).collect(),
            journal,
            expiring: BTreeSet::new(),
            watches: HashMap::new(),
            waiters: Waiters::default(),
            lending: Lending::default(),
            lists: BTreeSet::new(),
            served: Vec::new(),
            bytes: 0,
            gone_streams: Vec::new(),
            expired: 0,
        }
    }

    fn names(&self, db: Db) -> Option<&Names> {
        self.dbs.get(usize::from(db))
    }

    pub(super) fn entry(&self, db: Db, key: &[u8]) -> Option<&Entry> {
        self.names(db)?.by_name.get(key)
    }

    /// The value of a key, of that kind.
    ///
    /// # Errors
    /// [`WrongType`].
    pub fn get<T: OfKind>(&self, db: Db, key: &[u8]) -> Result<Option<&T>, WrongType> {
        match self.entry(db, key) {
            None => Ok(None),
            Some(entry) => T::of(&entry.value).map(Some).ok_or(WrongType),
        }
    }

    #[must_use]
    pub fn kind(&self, db: Db, key: &[u8]) -> Option<Kind> {
        self.entry(db, key).map(|entry| entry.value.kind())
    }

    /// When a key goes; `None`: there is none, or never.
    #[must_use]
    pub fn expires_at_ms(&self, db: Db, key: &[u8]) -> Option<i64> {
        self.entry(db, key)?.expires_at_ms
    }

    /// Keys of a name space.
    #[must_use]
    pub fn len(&self, db: Db) -> usize {
        self.names(db).map_or(0, |names| names.by_name.len())
    }

    /// The first and the last place of a walk; `None`: there is no key.
    #[must_use]
    pub fn ids(&self, db: Db) -> Option<(u64, u64)> {
        let ids = &self.names(db)?.by_id;
        Some((ids.first_key_value()?.0.0, ids.last_key_value()?.0.0))
    }

    /// What a key takes in memory, with its value; `None` when there is none.
    #[must_use]
    pub fn key_bytes(&self, db: Db, key: &[u8]) -> Option<usize> {
        self.entry(db, key).map(|entry| KEY_BYTES + key.len() + entry.value.bytes())
    }

    /// Keys of a name space that will go by themselves.
    #[must_use]
    pub fn expiring(&self, db: Db) -> usize {
        self.expiring.iter().filter(|(_, of, _)| *of == db).count()
    }

    /// The keys behind that place, in the order of a walk, with what is the place of each.
    pub fn walk(&self, db: Db, after: u64) -> impl Iterator<Item = (u64, &Name, Kind)> {
        let names = self.names(db);
        let from = super::QueueId(after.saturating_add(1));
        let behind = names.into_iter().flat_map(move |names| names.by_id.range(from..));
        behind.filter_map(move |(id, name)| Some((id.0, name, self.kind(db, name)?)))
    }

    /// Lists, in all name spaces.
    pub(super) fn lists(&self) -> impl Iterator<Item = &(Db, Name)> {
        self.lists.iter()
    }

    /// Changes the value of a key, if there is one. A key whose value is empty afterwards goes.
    ///
    /// # Errors
    /// [`WrongType`].
    pub fn change<T: OfKind, R>(
        &mut self,
        db: Db,
        key: &[u8],
        change: impl FnOnce(&mut T, &mut Slots<'_>) -> R,
    ) -> Result<Option<R>, WrongType> {
        let names = self.dbs.get_mut(usize::from(db));
        let Some(entry) = names.and_then(|names| names.by_name.get_mut(key)) else { return Ok(None) };
        let before = entry.value.bytes();
        let held = T::of_mut(&mut entry.value).ok_or(WrongType)?;
        let result = change(held, &mut self.journal.slots(entry.id));
        self.bytes = self.bytes + entry.value.bytes() - before;
        if entry.value.is_empty() {
            self.remove(db, key);
        } else {
            self.touched(db, key);
        }
        Ok(Some(result))
    }

    /// As [`State::change`], and makes the key where there is none. `id` gives a new value's.
    ///
    /// # Errors
    /// [`WrongType`].
    pub(super) fn change_or_make<T: OfKind, R>(
        &mut self,
        id: impl FnOnce() -> ValueId,
        db: Db,
        key: &[u8],
        change: impl FnOnce(&mut T, &mut Slots<'_>) -> R,
    ) -> Result<Option<R>, WrongType> {
        if self.entry(db, key).is_none() {
            self.make(id(), db, key.into(), T::KIND);
        }
        self.change(db, key, change)
    }

    fn make(&mut self, id: ValueId, db: Db, name: Name, kind: Kind) {
        let record = Record { vhost: &self.vhost, db, kind, expires_at_ms: None, name: &name };
        self.journal.record(id, true, &record);
        self.put(db, name, Entry { id, expires_at_ms: None, value: kind.empty() });
    }

    /// Puts a key in its place, and wakes who waits for it.
    fn put(&mut self, db: Db, name: Name, entry: Entry) {
        let Some(names) = self.dbs.get_mut(usize::from(db)) else { return };
        self.bytes += KEY_BYTES + name.len() + entry.value.bytes();
        if let Some(at) = entry.expires_at_ms {
            self.expiring.insert((at, db, name.clone()));
        }
        if entry.value.kind() == Kind::List {
            self.lists.insert((db, name.clone()));
        }
        names.by_id.insert(entry.id, name.clone());
        self.waiters.look_at(db, &name);
        names.by_name.insert(name, entry);
    }

    /// Takes a key out of its place.
    fn take(&mut self, db: Db, key: &[u8]) -> Option<(Name, Entry)> {
        let names = self.dbs.get_mut(usize::from(db))?;
        let (name, entry) = names.by_name.remove_entry(key)?;
        names.by_id.remove(&entry.id);
        if let Some(at) = entry.expires_at_ms {
            self.expiring.remove(&(at, db, name.clone()));
        }
        self.bytes -= KEY_BYTES + name.len() + entry.value.bytes();
        self.touched(db, key);
        match entry.value.kind() {
            Kind::Stream => self.gone_streams.push((db, name.clone())),
            Kind::List => {
                let place = (db, name.clone());
                self.lists.remove(&place);
                self.lending.forget(&place);
            }
            Kind::Hash | Kind::Set | Kind::Sorted | Kind::String => {}
        }
        Some((name, entry))
    }

    /// Deletes a key; false when there is none.
    pub fn remove(&mut self, db: Db, key: &[u8]) -> bool {
        let Some((_, entry)) = self.take(db, key) else { return false };
        self.journal.gone(entry.id, entry.value.slots());
        true
    }

    /// Sets when a key goes, or that it stays; false when there is none.
    pub fn expire(&mut self, db: Db, key: &[u8], at_ms: Option<i64>) -> bool {
        let names = self.dbs.get_mut(usize::from(db));
        let Some(entry) = names.and_then(|names| names.by_name.get_mut(key)) else { return false };
        let name: Name = key.into();
        if let Some(before) = std::mem::replace(&mut entry.expires_at_ms, at_ms) {
            self.expiring.remove(&(before, db, name.clone()));
        }
        let (id, kind) = (entry.id, entry.value.kind());
        let record = Record { vhost: &self.vhost, db, kind, expires_at_ms: at_ms, name: key };
        self.journal.record(id, false, &record);
        if let Some(at) = at_ms {
            self.expiring.insert((at, db, name));
        }
        self.touched(db, key);
        true
    }

    /// Gives a key another name, in place of whatever has it; false when there is none.
    pub fn rename(&mut self, db: Db, from: &[u8], to: &[u8]) -> bool {
        if from == to {
            return self.entry(db, from).is_some();
        }
        let Some((_, entry)) = self.take(db, from) else { return false };
        self.remove(db, to);
        self.settle(db, to.into(), entry);
        true
    }

    /// Takes a key to another name space; false when there is none, or one of that name there.
    pub fn move_to(&mut self, from: Db, to: Db, key: &[u8]) -> bool {
        if self.entry(to, key).is_some() {
            return false;
        }
        let Some((name, entry)) = self.take(from, key) else { return false };
        self.settle(to, name, entry);
        true
    }

    fn settle(&mut self, db: Db, name: Name, entry: Entry) {
        let (kind, expires_at_ms) = (entry.value.kind(), entry.expires_at_ms);
        let record = Record { vhost: &self.vhost, db, kind, expires_at_ms, name: &name };
        self.journal.record(entry.id, false, &record);
        self.put(db, name.clone(), entry);
        self.touched(db, &name);
    }

    /// Deletes every key of a name space.
    pub fn flush(&mut self, db: Db) {
        let Some(names) = self.dbs.get_mut(usize::from(db)) else { return };
        for name in std::mem::take(&mut names.by_id).into_values() {
            self.remove(db, &name);
        }
    }

    /// Deletes what has had its time.
    pub(super) fn expire_due(&mut self, now_ms: i64) {
        while let Some((at, db, name)) = self.expiring.first().cloned() {
            if at > now_ms {
                return;
            }
            self.remove(db, &name);
            self.expired += 1;
        }
    }

    /// When the next key goes.
    pub(super) fn next_expiry_ms(&self) -> Option<i64> {
        self.expiring.first().map(|(at, _, _)| *at)
    }

    /// Raises `watch` when one of these keys is touched.
    pub fn watch(&mut self, db: Db, key: &[u8], watch: &Watch) {
        if self.watches.len() == self.watches.capacity() {
            self.watches.retain(|_, watching| watching.iter().any(|other| other.strong_count() > 0));
        }
        let watching = self.watches.entry((db, key.into())).or_default();
        if watching.len() == watching.capacity() {
            watching.retain(|other| other.strong_count() > 0);
        }
        watching.push(Arc::downgrade(watch));
    }

    /// A key was changed.
    fn touched(&mut self, db: Db, key: &[u8]) {
        if self.watches.is_empty() {
            return;
        }
        for watch in self.watches.remove(&(db, Name::from(key))).into_iter().flatten() {
            watch.upgrade().into_iter().for_each(|watch| watch.store(true, Ordering::Relaxed));
        }
    }

    /// A record that recovery found.
    pub(super) fn recover(&mut self, id: ValueId, record: &Record<'_>) {
        let entry = Entry { id, expires_at_ms: record.expires_at_ms, value: record.kind.empty() };
        self.put(record.db, record.name.into(), entry);
    }

    /// A part that recovery found.
    pub(super) fn recover_part(&mut self, (db, name): &(Db, Name), slot: u64, part: &[u8]) {
        let names = self.dbs.get_mut(usize::from(*db));
        let Some(entry) = names.and_then(|names| names.by_name.get_mut(name)) else { return };
        let before = entry.value.bytes();
        entry.value.recover(slot, part);
        self.bytes = self.bytes + entry.value.bytes() - before;
    }
}
