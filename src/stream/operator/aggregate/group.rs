//! The state of one group.

use std::{cmp::Ordering, collections::BTreeMap, collections::BTreeSet};

use super::{Acc, Aggregates};
use crate::stream::{
    datum::Datum,
    expr::EvalError,
    state::{
        encode::{put, put_int, put_length, take, take_int, take_length},
        keyed::{Changes, StateValue},
    },
};

/// Accumulators, counted values, and how many rows there are.
#[derive(Debug, Default)]
pub struct Group {
    /// Rows added less rows taken back.
    pub rows: i64,
    pub(super) accs: Vec<Acc>,
    pub(super) sets: Sets,
    stored: bool,
}

/// How often each value is there, for the calls that must know.
#[derive(Debug, Default)]
pub(super) struct Sets {
    values: Vec<BTreeMap<Ordered, i64>>,
    changed: BTreeSet<(usize, Ordered)>,
}

/// A value with an order of its own, whatever its type.
#[derive(Debug, Clone)]
pub(super) struct Ordered(Datum);

impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.compare(&other.0).unwrap_or_else(|| {
            // What SQL gives no order still needs one to be found again.
            let bytes = |value: &Datum| {
                let mut out = Vec::new();
                put(&mut out, value);
                out
            };
            bytes(&self.0).cmp(&bytes(&other.0))
        })
    }
}

impl Sets {
    /// Whether the value is new.
    pub(super) fn enter(&mut self, set: usize, value: &Datum) -> bool {
        self.enter_many(set, value, 1)
    }

    /// As [`Sets::enter`] where nothing is ever taken back: how often the value comes is not counted, and nothing is
    /// written when it comes again.
    pub(super) fn enter_once(&mut self, set: usize, value: &Datum) -> bool {
        let value = Ordered(value.clone());
        let Some(values) = self.values.get_mut(set).filter(|values| !values.contains_key(&value)) else {
            return false;
        };
        self.changed.insert((set, value.clone()));
        values.insert(value, 1);
        true
    }

    pub(super) fn enter_many(&mut self, set: usize, value: &Datum, times: i64) -> bool {
        let value = Ordered(value.clone());
        let Some(values) = self.values.get_mut(set) else { return false };
        self.changed.insert((set, value.clone()));
        let count = values.entry(value).or_insert(0);
        *count += times;
        *count == times
    }

    /// Whether the value is gone.
    pub(super) fn withdraw(&mut self, set: usize, value: &Datum) -> bool {
        let value = Ordered(value.clone());
        let Some(values) = self.values.get_mut(set) else { return false };
        let Some(count) = values.get_mut(&value) else { return false };
        *count -= 1;
        let gone = *count <= 0;
        if gone {
            values.remove(&value);
        }
        self.changed.insert((set, value));
        gone
    }

    pub(super) fn values(&self, set: usize) -> impl Iterator<Item = (&Datum, &i64)> {
        self.values.get(set).into_iter().flatten().map(|(value, count)| (&value.0, count))
    }

    pub(super) fn first(&self, set: usize) -> Datum {
        self.values.get(set).and_then(BTreeMap::first_key_value).map_or(Datum::Null, |(v, _)| v.0.clone())
    }

    pub(super) fn last(&self, set: usize) -> Datum {
        self.values.get(set).and_then(BTreeMap::last_key_value).map_or(Datum::Null, |(v, _)| v.0.clone())
    }
}

impl Group {
    pub(super) fn fit(&mut self, aggregates: &Aggregates) {
        if self.accs.is_empty() {
            self.accs = aggregates.calls.iter().map(Acc::new).collect();
        }
        if self.sets.values.is_empty() {
            self.sets.values.resize_with(aggregates.sets(), BTreeMap::new);
        }
    }

    /// A copy, not yet stored.
    #[must_use]
    pub fn copy(&self) -> Self {
        let changed = self.sets.values.iter().enumerate();
        let changed =
            changed.flat_map(|(set, values)| values.keys().map(move |v| (set, v.clone()))).collect();
        Self {
            rows: self.rows,
            accs: self.accs.clone(),
            sets: Sets { values: self.sets.values.clone(), changed },
            stored: false,
        }
    }
}

impl StateValue for Group {
    const PARTS: bool = true;

    fn save(&mut self, key: &[u8], changes: &mut Changes) {
        for (set, value) in std::mem::take(&mut self.sets.changed) {
            let mut sub = key.to_vec();
            put_length(&mut sub, set);
            put(&mut sub, &value.0);
            match self.sets.values.get(set).and_then(|values| values.get(&value)) {
                Some(count) => {
                    let mut out = Vec::new();
                    put_int(&mut out, *count);
                    changes.puts.push((sub, out));
                }
                None => changes.deletes.push(sub),
            }
        }
        if self.is_empty() {
            if self.stored {
                changes.deletes.push(key.to_vec());
            }
            self.stored = false;
            return;
        }
        let mut out = Vec::new();
        put_int(&mut out, self.rows);
        put_length(&mut out, self.sets.values.len());
        put_length(&mut out, self.accs.len());
        self.accs.iter().for_each(|acc| acc.put(&mut out));
        changes.puts.push((key.to_vec(), out));
        self.stored = true;
    }

    fn clear(&mut self) {
        self.rows = 0;
        self.accs.clear();
        for (set, values) in self.sets.values.drain(..).enumerate() {
            self.sets.changed.extend(values.into_keys().map(|value| (set, value)));
        }
    }

    fn is_empty(&self) -> bool {
        self.accs.is_empty() && self.rows == 0
    }

    fn load(whole: Option<&[u8]>, parts: &[(&[u8], &[u8])]) -> Result<Self, EvalError> {
        let Some(mut bytes) = whole else { return Ok(Self::default()) };
        let rows = take_int(&mut bytes)?;
        let mut group = Self { rows, stored: true, ..Self::default() };
        let sets = take_length(&mut bytes)?;
        group.sets.values.resize_with(sets.min(parts.len() + 64), BTreeMap::new);
        for _ in 0..take_length(&mut bytes)? {
            group.accs.push(Acc::take(&mut bytes)?);
        }
        for (mut sub, mut value) in parts.iter().copied() {
            let set = take_length(&mut sub)?;
            let member = Ordered(take(&mut sub)?);
            let count = take_int(&mut value)?;
            if let Some(values) = group.sets.values.get_mut(set) {
                values.insert(member, count);
            }
        }
        Ok(group)
    }
}
