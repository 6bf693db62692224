//! What several rows of one key are kept in: values in the order of their own keys, each written alone.

use std::{
    collections::{BTreeMap, btree_map},
    ops::Bound,
};

use super::keyed::{Changes, Encoded, StateValue};
use crate::stream::expr::EvalError;

/// Most keys have few rows; the smallest tree would take some 400 bytes.
const FEW_MAX: usize = 12;

/// The values of a bucket, and which of them have changed.
#[derive(Debug)]
pub struct Bucket<T> {
    entries: Entries<T>,
    /// Some of them more than once.
    changed: Vec<Box<[u8]>>,
}

/// Sorted by key.
#[derive(Debug)]
enum Entries<T> {
    Few(Vec<(Box<[u8]>, T)>),
    Many(BTreeMap<Box<[u8]>, T>),
}

/// Values with their keys, in order.
pub enum Iter<'a, T> {
    Few(std::slice::Iter<'a, (Box<[u8]>, T)>),
    Many(btree_map::Range<'a, Box<[u8]>, T>),
}

impl<T> Default for Bucket<T> {
    fn default() -> Self {
        Self { entries: Entries::Few(Vec::new()), changed: Vec::new() }
    }
}

impl<T> Entries<T> {
    fn of(entries: Vec<(Box<[u8]>, T)>) -> Self {
        if entries.len() > FEW_MAX {
            return Self::Many(entries.into_iter().collect());
        }
        let mut few = entries;
        few.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Self::Few(few)
    }

    fn get_mut(&mut self, sub: &[u8]) -> Option<&mut T> {
        match self {
            Self::Few(few) => {
                let at = place(few, sub).ok()?;
                few.get_mut(at).map(|(_, value)| value)
            }
            Self::Many(many) => many.get_mut(sub),
        }
    }

    fn insert(&mut self, sub: &[u8], value: T) -> Option<T> {
        match self {
            Self::Few(few) => match place(few, sub) {
                Ok(at) => few.get_mut(at).map(|(_, old)| std::mem::replace(old, value)),
                Err(at) => {
                    few.insert(at, (sub.into(), value));
                    if few.len() > FEW_MAX {
                        *self = Self::of(std::mem::take(few));
                    }
                    None
                }
            },
            Self::Many(many) => many.insert(sub.into(), value),
        }
    }

    fn remove(&mut self, sub: &[u8]) -> Option<T> {
        match self {
            Self::Few(few) => place(few, sub).ok().map(|at| few.remove(at).1),
            Self::Many(many) => many.remove(sub),
        }
    }
}

/// Where a key is, or would be.
fn place<T>(few: &[(Box<[u8]>, T)], sub: &[u8]) -> Result<usize, usize> {
    few.binary_search_by(|(key, _)| (**key).cmp(sub))
}

impl<T> Bucket<T> {
    #[must_use]
    pub fn get(&self, sub: &[u8]) -> Option<&T> {
        match &self.entries {
            Entries::Few(few) => few.get(place(few, sub).ok()?).map(|(_, value)| value),
            Entries::Many(many) => many.get(sub),
        }
    }

    /// For changing; it will be written again.
    pub fn get_mut(&mut self, sub: &[u8]) -> Option<&mut T> {
        let entry = self.entries.get_mut(sub)?;
        self.changed.push(sub.into());
        Some(entry)
    }

    pub fn insert(&mut self, sub: &[u8], value: T) -> Option<T> {
        self.changed.push(sub.into());
        self.entries.insert(sub, value)
    }

    pub fn remove(&mut self, sub: &[u8]) -> Option<T> {
        let gone = self.entries.remove(sub)?;
        self.changed.push(sub.into());
        Some(gone)
    }

    pub fn iter(&self) -> Iter<'_, T> {
        self.from(&[])
    }

    /// Those from a key on.
    pub fn from(&self, sub: &[u8]) -> Iter<'_, T> {
        match &self.entries {
            Entries::Few(few) => {
                let at = few.partition_point(|(key, _)| **key < *sub);
                Iter::Few(few.get(at..).unwrap_or_default().iter())
            }
            Entries::Many(many) => {
                Iter::Many(many.range::<[u8], _>((Bound::Included(sub), Bound::Unbounded)))
            }
        }
    }

    /// Those before a key.
    pub fn before(&self, sub: &[u8]) -> Iter<'_, T> {
        match &self.entries {
            Entries::Few(few) => {
                let at = few.partition_point(|(key, _)| **key < *sub);
                Iter::Few(few.get(..at).unwrap_or_default().iter())
            }
            Entries::Many(many) => {
                Iter::Many(many.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(sub))))
            }
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        match &self.entries {
            Entries::Few(few) => few.len(),
            Entries::Many(many) => many.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = (&'a Box<[u8]>, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Few(few) => few.next().map(|(key, value)| (key, value)),
            Self::Many(many) => many.next(),
        }
    }
}

impl<T> DoubleEndedIterator for Iter<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::Few(few) => few.next_back().map(|(key, value)| (key, value)),
            Self::Many(many) => many.next_back(),
        }
    }
}

impl<'a, T> IntoIterator for &'a Bucket<T> {
    type Item = (&'a Box<[u8]>, &'a T);
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Encoded> StateValue for Bucket<T> {
    const PARTS: bool = true;

    fn save(&mut self, key: &[u8], changes: &mut Changes) {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        for sub in changed {
            let full = [key, &sub].concat();
            match self.get(&sub) {
                Some(value) => {
                    let mut out = Vec::new();
                    value.put(&mut out);
                    changes.puts.push((full, out));
                }
                None => changes.deletes.push(full),
            }
        }
    }

    fn clear(&mut self) {
        self.changed.extend(match std::mem::replace(&mut self.entries, Entries::Few(Vec::new())) {
            Entries::Few(few) => few.into_iter().map(|(key, _)| key).collect::<Vec<_>>(),
            Entries::Many(many) => many.into_keys().collect(),
        });
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn load(_whole: Option<&[u8]>, parts: &[(&[u8], &[u8])]) -> Result<Self, EvalError> {
        let part = |(sub, value): &(&[u8], &[u8])| Ok((Box::from(*sub), T::take(&mut { *value })?));
        let entries = parts.iter().map(part).collect::<Result<_, EvalError>>()?;
        Ok(Self { entries: Entries::of(entries), changed: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bucket_is_a_sorted_map_however_many_it_holds(steps: Vec<(u8, Option<i64>)>, from: u8) {
            let (mut bucket, mut model) = (Bucket::default(), BTreeMap::new());
            for (key, value) in steps {
                // Few keys, so that they come again; more than are few.
                let key = [key % 40];
                match value {
                    Some(value) => prop_assert_eq!(bucket.insert(&key, value), model.insert(key, value)),
                    None => prop_assert_eq!(bucket.remove(&key), model.remove(&key)),
                }
                prop_assert_eq!(bucket.get(&key), model.get(&key));
            }
            let from = [from % 40];
            let pairs =
                |entries: Iter<'_, i64>| entries.map(|(key, value)| ([key[0]], *value)).collect::<Vec<_>>();
            let all: Vec<_> = model.iter().map(|(key, value)| (*key, *value)).collect();
            let (before, behind): (Vec<_>, Vec<_>) = all.iter().copied().partition(|(key, _)| *key < from);
            prop_assert_eq!(pairs(bucket.iter()), all);
            prop_assert_eq!(pairs(bucket.from(&from)), behind);
            prop_assert_eq!(bucket.before(&from).next_back().map(|(_, value)| *value), before.last().map(|l| l.1));
            prop_assert_eq!(pairs(bucket.before(&from)), before);
        }
    }
}
