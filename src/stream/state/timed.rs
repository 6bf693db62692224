//! State that waits for a time: windows with their keys, and timers. In memory whole, read when a job is opened.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    encode::{damaged, split, take_time, time_key},
    keyed::{Changes, StateRead, StateValue, Stored},
};
use crate::stream::expr::EvalError;

/// Values by time and key. All keys of a time are taken together.
pub struct Timed<V> {
    prefix: Vec<u8>,
    /// How many values a key is, and how many stand behind it.
    values: usize,
    more_values: usize,
    times: BTreeMap<i64, HashMap<Box<[u8]>, Slot<V>>>,
    dirty: Vec<(i64, Box<[u8]>)>,
    /// Taken out since the last flush, to be deleted.
    taken: Vec<(i64, Box<[u8]>, V)>,
}

struct Slot<V> {
    value: V,
    dirty: bool,
    stored: bool,
}

impl<V: StateValue> Timed<V> {
    /// For keys of so many values, by which they belong to a shard, and some more.
    #[must_use]
    pub fn new(prefix: Vec<u8>, values: usize, more_values: usize) -> Self {
        Self { prefix, values, more_values, times: BTreeMap::new(), dirty: Vec::new(), taken: Vec::new() }
    }

    /// The value of a key at a time, empty if there is none, to be changed.
    pub fn value(&mut self, at: i64, key: &[u8]) -> &mut V {
        let keys = self.times.entry(at).or_default();
        if !keys.contains_key(key) {
            let slot = Slot { value: V::default(), dirty: false, stored: false };
            keys.insert(key.into(), slot);
        }
        let slot = keys.get_mut(key).expect("it is there: it was put there above");
        if !slot.dirty {
            slot.dirty = true;
            self.dirty.push((at, key.into()));
        }
        &mut slot.value
    }

    #[must_use]
    pub fn get(&self, at: i64, key: &[u8]) -> Option<&V> {
        self.times.get(&at)?.get(key).map(|slot| &slot.value)
    }

    /// The first time there is.
    #[must_use]
    pub fn first(&self) -> Option<i64> {
        self.times.keys().next().copied()
    }

    /// The keys of a time, sorted: what comes out must not depend on how they lie in memory.
    #[must_use]
    pub fn keys(&self, at: i64) -> BTreeSet<Box<[u8]>> {
        self.times.get(&at).map(|keys| keys.keys().cloned().collect()).unwrap_or_default()
    }

    /// Takes out all keys of a time, sorted, with their values; they will be deleted.
    pub fn take(&mut self, at: i64) -> Vec<(Box<[u8]>, &mut V)> {
        let start = self.taken.len();
        let mut keys: Vec<(Box<[u8]>, Slot<V>)> =
            self.times.remove(&at).map(|keys| keys.into_iter().collect()).unwrap_or_default();
        keys.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        self.taken.extend(keys.into_iter().map(|(key, slot)| (at, key, slot.value)));
        let taken = self.taken.get_mut(start..).unwrap_or_default();
        taken.iter_mut().map(|(_, key, value)| (key.clone(), value)).collect()
    }

    /// The times there are between these, both included.
    pub fn times_within(&self, from: i64, to: i64) -> impl Iterator<Item = i64> {
        self.times.range(from..=to.max(from)).map(|(at, _)| *at)
    }

    /// The times there are.
    pub fn times(&self) -> impl Iterator<Item = i64> {
        self.times.keys().copied()
    }
}

impl<V: StateValue> Stored for Timed<V> {
    fn open(&mut self, store: &dyn StateRead) -> Result<(), EvalError> {
        let found = store.scan(&self.prefix)?;
        let mut rest = found.as_slice();
        while let Some((first, _)) = rest.first() {
            let mut key = first.get(self.prefix.len()..).ok_or_else(damaged)?;
            let at = take_time(&mut key)?;
            let (key, _) = split(key, self.values + self.more_values)?;
            let length = self.prefix.len() + time_key(at).len() + key.len();
            let same = rest.iter().take_while(|(k, _)| k.get(..length) == first.get(..length)).count();
            let (own, others) = rest.split_at_checked(same).ok_or_else(damaged)?;
            if !store.owns(split(key, self.values)?.0) {
                rest = others;
                continue;
            }
            let whole = own.iter().find(|(k, _)| k.len() == length).map(|(_, v)| v.as_slice());
            let parts: Vec<(&[u8], &[u8])> = own
                .iter()
                .filter(|(k, _)| k.len() > length)
                .map(|(k, v)| (k.get(length..).unwrap_or_default(), v.as_slice()))
                .collect();
            let slot = Slot { value: V::load(whole, &parts)?, dirty: false, stored: true };
            self.times.entry(at).or_default().insert(key.into(), slot);
            rest = others;
        }
        Ok(())
    }

    fn flush(&mut self, _now_ms: i64, changes: &mut Changes) {
        let key_of = |prefix: &[u8], at: i64, key: &[u8]| [prefix, time_key(at).as_slice(), key].concat();
        for (at, key, mut value) in self.taken.drain(..) {
            value.clear();
            value.save(&key_of(&self.prefix, at, &key), changes);
        }
        for (at, key) in self.dirty.drain(..) {
            let Some(slot) = self.times.get_mut(&at).and_then(|keys| keys.get_mut(&key)) else { continue };
            slot.dirty = false;
            slot.stored = true;
            slot.value.save(&key_of(&self.prefix, at, &key), changes);
        }
    }

    fn keys(&self) -> usize {
        self.times.values().map(HashMap::len).sum()
    }
}

/// Times at which a key must be looked at.
pub struct Timers {
    prefix: Vec<u8>,
    due: BTreeSet<(i64, Box<[u8]>)>,
    changed: BTreeMap<(i64, Box<[u8]>), bool>,
}

impl Timers {
    #[must_use]
    pub fn new(prefix: Vec<u8>) -> Self {
        Self { prefix, due: BTreeSet::new(), changed: BTreeMap::new() }
    }

    pub fn add(&mut self, at: i64, key: &[u8]) {
        let timer = (at, Box::from(key));
        if self.due.insert(timer.clone()) {
            self.changed.insert(timer, true);
        }
    }

    pub fn remove(&mut self, at: i64, key: &[u8]) {
        let timer = (at, Box::from(key));
        if self.due.remove(&timer) {
            self.changed.insert(timer, false);
        }
    }

    /// Takes the first timer that is due at this time.
    pub fn next(&mut self, now: i64) -> Option<(i64, Box<[u8]>)> {
        self.next_if(|at| at <= now)
    }

    /// Takes the first timer, if it is due.
    pub fn next_if(&mut self, is_due: impl FnOnce(i64) -> bool) -> Option<(i64, Box<[u8]>)> {
        if !is_due(self.due.first()?.0) {
            return None;
        }
        let timer = self.due.pop_first()?;
        self.changed.insert(timer.clone(), false);
        Some(timer)
    }

    #[must_use]
    pub fn first(&self) -> Option<i64> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl Stored for Timers {
    fn open(&mut self, store: &dyn StateRead) -> Result<(), EvalError> {
        for (key, _) in store.scan(&self.prefix)? {
            let mut key = key.get(self.prefix.len()..).ok_or_else(damaged)?;
            let at = take_time(&mut key)?;
            // Without a key it concerns all keys, and so all shards.
            if key.is_empty() || store.owns(key) {
                self.due.insert((at, key.into()));
            }
        }
        Ok(())
    }

    fn flush(&mut self, _now_ms: i64, changes: &mut Changes) {
        for ((at, key), there) in std::mem::take(&mut self.changed) {
            let full = [self.prefix.as_slice(), &time_key(at), &key].concat();
            if there {
                changes.puts.push((full, Vec::new()));
            } else {
                changes.deletes.push(full);
            }
        }
    }

    /// Those that have a timer are counted where their values are.
    fn keys(&self) -> usize {
        0
    }
}
