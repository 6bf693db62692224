//! State by key: what an operator holds in memory, backed by the store, written with the epoch.
//!
//! [`Keyed`] is a cache: what it does not hold is read when it is asked for, so a restart restores nothing, and what
//! has been written may leave memory. Keys are values written by `encode`, so that none is the beginning of another.

use std::collections::{BTreeSet, HashMap};

use super::{
    encode::{damaged, split, take_time, time_key},
    left::Left,
};
use crate::stream::{expr::EvalError, plan::physical::OperatorId};

/// More keys than this do not stay in memory once they are written.
const CACHED_KEYS_MAX: usize = 200_000;

/// Keys and values.
pub type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// What the job's last commit left in the store.
pub trait StateRead {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EvalError>;
    /// All keys with this prefix, in order.
    fn scan(&self, prefix: &[u8]) -> Result<Entries, EvalError>;
    /// Whether the state of that key is for whoever asks: it is not when another shard of the job has it.
    fn owns(&self, _key: &[u8]) -> bool {
        true
    }
}

/// What an epoch changes in the store: first the deletes, then the puts.
#[derive(Debug, Default)]
pub struct Changes {
    pub puts: Entries,
    pub deletes: Vec<Vec<u8>>,
}

/// A part of an operator's state.
pub trait Stored {
    /// Reads what must be in memory, once, before the first row.
    fn open(&mut self, store: &dyn StateRead) -> Result<(), EvalError>;

    /// Writes what has changed since the last commit.
    fn flush(&mut self, now_ms: i64, changes: &mut Changes);

    /// Keys in memory.
    fn keys(&self) -> usize;
}

/// What can be written as one value.
pub trait Encoded: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(bytes: &mut &[u8]) -> Result<Self, EvalError>;
}

/// A value of keyed state, empty by default. It lies in the store in one piece under its key, or in parts under
/// longer keys, and knows which of them have changed.
pub trait StateValue: Default {
    /// Whether there are parts under longer keys.
    const PARTS: bool;
    /// Writes what has changed since the last time.
    fn save(&mut self, key: &[u8], changes: &mut Changes);
    fn clear(&mut self);
    fn is_empty(&self) -> bool;
    /// From what lies under the key itself and under longer ones.
    fn load(whole: Option<&[u8]>, parts: &[(&[u8], &[u8])]) -> Result<Self, EvalError>;
}

/// The first bytes of all keys of an operator's state. The tag tells kinds of state apart.
#[must_use]
pub fn prefix_of(id: OperatorId, tag: u8) -> Vec<u8> {
    let mut prefix = operator_prefix(id);
    prefix.push(tag);
    prefix
}

/// What all state of an operator begins with.
#[must_use]
pub fn operator_prefix(id: OperatorId) -> Vec<u8> {
    [b"o".as_slice(), &id.0.to_be_bytes()].concat()
}

/// A value in one piece.
#[derive(Debug)]
pub struct Whole<T> {
    pub value: Option<T>,
    stored: bool,
}

impl<T> Default for Whole<T> {
    fn default() -> Self {
        Self { value: None, stored: false }
    }
}

impl<T: Encoded> StateValue for Whole<T> {
    const PARTS: bool = false;

    fn save(&mut self, key: &[u8], changes: &mut Changes) {
        match &self.value {
            Some(value) => {
                let mut out = Vec::new();
                value.put(&mut out);
                changes.puts.push((key.to_vec(), out));
            }
            None if self.stored => changes.deletes.push(key.to_vec()),
            None => {}
        }
        self.stored = self.value.is_some();
    }

    fn clear(&mut self) {
        self.value = None;
    }

    fn is_empty(&self) -> bool {
        self.value.is_none()
    }

    fn load(whole: Option<&[u8]>, _parts: &[(&[u8], &[u8])]) -> Result<Self, EvalError> {
        let value = whole.map(|mut bytes| T::take(&mut bytes)).transpose()?;
        Ok(Self { stored: value.is_some(), value })
    }
}

struct Slot<V> {
    value: V,
    dirty: bool,
    written_ms: i64,
}

/// Values by key.
pub struct Keyed<V> {
    prefix: Vec<u8>,
    /// How many values a key is.
    values: usize,
    slots: HashMap<Box<[u8]>, Slot<V>>,
    dirty: Vec<Box<[u8]>>,
    beyond: Beyond,
    ttl: Option<Ttl>,
    scratch: Vec<u8>,
}

/// Whether the store may have keys that are not in memory.
enum Beyond {
    /// Any: it was written by another run of the job.
    Any,
    /// Those that have left memory.
    Left(Left),
    None,
}

/// When keys that nobody writes are forgotten. (Flink: `table.exec.state.ttl`, renewed by writes.)
struct Ttl {
    ms: i64,
    /// Times of writes, in order, and whose.
    due: BTreeSet<(i64, Box<[u8]>)>,
}

impl<V: StateValue> Keyed<V> {
    /// For keys of so many values. `fresh` says that the store has nothing of this operator.
    #[must_use]
    pub fn new(prefix: Vec<u8>, values: usize, fresh: bool, ttl_ms: Option<i64>) -> Self {
        Self {
            prefix,
            values,
            slots: HashMap::new(),
            dirty: Vec::new(),
            beyond: if fresh { Beyond::None } else { Beyond::Any },
            ttl: ttl_ms.map(|ms| Ttl { ms, due: BTreeSet::new() }),
            scratch: Vec::new(),
        }
    }

    /// The value of a key, empty if there is none, to be looked at and changed.
    pub fn value(&mut self, key: &[u8], now_ms: i64, store: &dyn StateRead) -> Result<&mut V, EvalError> {
        if !self.slots.contains_key(key) {
            let slot = self.read(key, store)?;
            self.slots.insert(key.into(), slot);
        }
        let slot = self.slots.get_mut(key).ok_or_else(damaged)?;
        if let Some(ttl) = &mut self.ttl {
            if now_ms.saturating_sub(slot.written_ms) >= ttl.ms {
                slot.value.clear();
            }
            ttl.due.remove(&(slot.written_ms, key.into()));
            ttl.due.insert((now_ms, key.into()));
            slot.written_ms = now_ms;
        }
        if !slot.dirty {
            slot.dirty = true;
            self.dirty.push(key.into());
        }
        Ok(&mut slot.value)
    }

    /// The same without the intent to change it.
    pub fn peek(&mut self, key: &[u8], now_ms: i64, store: &dyn StateRead) -> Result<&V, EvalError> {
        if self.ttl.is_some() {
            let expired = |slot: &Slot<V>, ttl: &Ttl| now_ms.saturating_sub(slot.written_ms) >= ttl.ms;
            if let (Some(slot), Some(ttl)) = (self.slots.get_mut(key), &self.ttl)
                && expired(slot, ttl)
            {
                slot.value.clear();
                if !slot.dirty {
                    slot.dirty = true;
                    self.dirty.push(key.into());
                }
            }
        }
        if !self.slots.contains_key(key) {
            let mut slot = self.read(key, store)?;
            if slot.value.is_empty() {
                // What is not there does not stay in memory beyond the epoch.
                slot.dirty = true;
                self.dirty.push(key.into());
            }
            self.slots.insert(key.into(), slot);
        }
        self.slots.get(key).map(|slot| &slot.value).ok_or_else(damaged)
    }

    fn read(&mut self, key: &[u8], store: &dyn StateRead) -> Result<Slot<V>, EvalError> {
        let mut slot = Slot { value: V::default(), dirty: false, written_ms: 0 };
        match &self.beyond {
            Beyond::None => return Ok(slot),
            Beyond::Left(left) if !left.may_have(key) => return Ok(slot),
            Beyond::Any | Beyond::Left(_) => {}
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(&self.prefix);
        self.scratch.extend_from_slice(key);
        let found = if V::PARTS {
            store.scan(&self.scratch)?
        } else {
            store.get(&self.scratch)?.map(|value| (self.scratch.clone(), value)).into_iter().collect()
        };
        let mut whole = None;
        let mut parts: Vec<(&[u8], &[u8])> = Vec::with_capacity(found.len());
        for (found_key, value) in &found {
            let mut value = value.as_slice();
            if self.ttl.is_some() {
                // With a TTL each value begins with the time of its writing.
                slot.written_ms = take_time(&mut value)?.max(slot.written_ms);
            }
            let sub = found_key.get(self.scratch.len()..).ok_or_else(damaged)?;
            if sub.is_empty() {
                whole = Some(value);
            } else {
                parts.push((sub, value));
            }
        }
        if !found.is_empty() {
            slot.value = V::load(whole, &parts)?;
        }
        Ok(slot)
    }

    fn expire(&mut self, now_ms: i64) {
        let Some(ttl) = &mut self.ttl else { return };
        let before = now_ms.saturating_sub(ttl.ms);
        while let Some((written_ms, key)) = ttl.due.pop_first() {
            if written_ms > before {
                ttl.due.insert((written_ms, key));
                break;
            }
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.value.clear();
                if !slot.dirty {
                    slot.dirty = true;
                    self.dirty.push(key);
                }
            }
        }
    }
}

impl<V: StateValue> Stored for Keyed<V> {
    /// Learns which stored keys will expire.
    fn open(&mut self, store: &dyn StateRead) -> Result<(), EvalError> {
        if self.ttl.is_none() || matches!(self.beyond, Beyond::None) {
            return Ok(());
        }
        let mut keys: BTreeSet<Box<[u8]>> = BTreeSet::new();
        for (key, _) in store.scan(&self.prefix)? {
            let key = key.get(self.prefix.len()..).ok_or_else(damaged)?;
            keys.insert(split(key, self.values)?.0.into());
        }
        for key in keys.into_iter().filter(|key| store.owns(key)) {
            let slot = self.read(&key, store)?;
            if let Some(ttl) = &mut self.ttl {
                ttl.due.insert((slot.written_ms, key.clone()));
            }
            self.slots.insert(key, slot);
        }
        self.beyond = Beyond::None;
        Ok(())
    }

    /// Forgets what has not been written for the TTL, writes what has changed; then memory may be given back.
    fn flush(&mut self, now_ms: i64, changes: &mut Changes) {
        self.expire(now_ms);
        for key in self.dirty.drain(..) {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            let before = changes.puts.len();
            slot.value.save(&[self.prefix.as_slice(), &key].concat(), changes);
            slot.dirty = false;
            if self.ttl.is_some() {
                for (_, value) in changes.puts.iter_mut().skip(before) {
                    value.splice(0..0, time_key(slot.written_ms));
                }
            }
            if slot.value.is_empty() {
                self.slots.remove(&key);
            }
        }
        if self.slots.len() > CACHED_KEYS_MAX && self.ttl.is_none() {
            let gone = std::mem::take(&mut self.slots);
            self.beyond = match std::mem::replace(&mut self.beyond, Beyond::Any) {
                Beyond::Any => Beyond::Any,
                Beyond::None => Left::default().with(gone.keys()).map_or(Beyond::Any, Beyond::Left),
                Beyond::Left(left) => left.with(gone.keys()).map_or(Beyond::Any, Beyond::Left),
            };
        }
    }

    fn keys(&self) -> usize {
        self.slots.len()
    }
}

impl Encoded for i64 {
    fn put(&self, out: &mut Vec<u8>) {
        super::encode::put_int(out, *self);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, EvalError> {
        super::encode::take_int(bytes)
    }
}

impl Encoded for Vec<crate::stream::datum::Datum> {
    fn put(&self, out: &mut Vec<u8>) {
        super::encode::put_all(out, self);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, EvalError> {
        super::encode::take_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{super::bucket::Bucket, *};

    /// A store that takes changes.
    #[derive(Default)]
    struct Plain(BTreeMap<Vec<u8>, Vec<u8>>);

    impl Plain {
        fn take(&mut self, changes: Changes) {
            for key in changes.deletes {
                self.0.remove(&key);
            }
            self.0.extend(changes.puts);
        }
    }

    impl StateRead for Plain {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EvalError> {
            Ok(self.0.get(key).cloned())
        }

        fn scan(&self, prefix: &[u8]) -> Result<Entries, EvalError> {
            Ok(self
                .0
                .iter()
                .filter(|(k, _)| k.starts_with(prefix))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect())
        }
    }

    #[derive(Debug, Clone)]
    enum Act {
        Put(i64, u8, i64),
        Remove(i64, u8),
        Clear(i64),
        Commit,
        /// A crash: what was not committed is gone.
        Reopen,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (0..3i64, 0..3u8, any::<i64>()).prop_map(|(k, s, v)| Act::Put(k, s, v)),
            2 => (0..3i64, 0..3u8).prop_map(|(k, s)| Act::Remove(k, s)),
            1 => (0..3i64).prop_map(Act::Clear),
            2 => Just(Act::Commit),
            1 => Just(Act::Reopen),
        ]
    }

    fn bytes(key: i64) -> Vec<u8> {
        let mut out = Vec::new();
        super::super::encode::put(&mut out, &crate::stream::datum::Datum::Int(key));
        out
    }

    proptest! {
        #[test]
        fn buckets_are_what_a_plain_map_would_be(acts in prop::collection::vec(act(), 0..60)) {
            let mut store = Plain::default();
            let mut state: Keyed<Bucket<i64>> = Keyed::new(b"p".to_vec(), 1, true, None);
            let mut model: BTreeMap<(i64, u8), i64> = BTreeMap::new();
            let mut committed = model.clone();
            for act in acts {
                match act {
                    Act::Put(key, sub, value) => {
                        state.value(&bytes(key), 0, &store).unwrap().insert(&[sub], value);
                        model.insert((key, sub), value);
                    }
                    Act::Remove(key, sub) => {
                        state.value(&bytes(key), 0, &store).unwrap().remove(&[sub]);
                        model.remove(&(key, sub));
                    }
                    Act::Clear(key) => {
                        state.value(&bytes(key), 0, &store).unwrap().clear();
                        model.retain(|(k, _), _| *k != key);
                    }
                    Act::Commit => {
                        let mut changes = Changes::default();
                        state.flush(0, &mut changes);
                        store.take(changes);
                        committed = model.clone();
                    }
                    Act::Reopen => {
                        state = Keyed::new(b"p".to_vec(), 1, false, None);
                        model = committed.clone();
                    }
                }
                for key in 0..3 {
                    let found: Vec<(u8, i64)> = state
                        .peek(&bytes(key), 0, &store)
                        .unwrap()
                        .iter()
                        .map(|(sub, value)| (sub[0], *value))
                        .collect();
                    let expected: Vec<(u8, i64)> =
                        model.iter().filter(|((k, _), _)| *k == key).map(|((_, s), v)| (*s, *v)).collect();
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }

    #[test]
    fn what_nobody_writes_is_forgotten_after_the_ttl() {
        let mut store = Plain::default();
        let (a, b) = (bytes(1), bytes(2));
        let mut state: Keyed<Whole<i64>> = Keyed::new(b"p".to_vec(), 1, true, Some(100));
        state.value(&a, 0, &store).unwrap().value = Some(1);
        state.value(&b, 60, &store).unwrap().value = Some(2);
        let mut changes = Changes::default();
        state.flush(60, &mut changes);
        store.take(changes);
        // Opened anew it knows what will expire.
        let mut state: Keyed<Whole<i64>> = Keyed::new(b"p".to_vec(), 1, false, Some(100));
        state.open(&store).unwrap();
        assert_eq!(state.peek(&a, 99, &store).unwrap().value, Some(1));
        assert_eq!(state.peek(&a, 100, &store).unwrap().value, None);
        let mut changes = Changes::default();
        state.flush(120, &mut changes);
        assert_eq!(changes.deletes, [[b"p", a.as_slice()].concat()]);
        store.take(changes);
        assert_eq!(state.peek(&b, 120, &store).unwrap().value, Some(2));
        let mut changes = Changes::default();
        state.flush(160, &mut changes);
        assert_eq!(changes.deletes, [[b"p", b.as_slice()].concat()]);
    }
}
