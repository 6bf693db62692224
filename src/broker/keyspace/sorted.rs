//! Sorted sets: members in the order of their scores, those of one score in the order of their bytes.
//!
//! A member has a slot of its own, `len u32 | member | score f64`.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use super::{
    fields::{SKIPPED, part, read_part},
    journal::Slots,
    waiters::Name,
};

/// A sorted set.
#[derive(Debug, Default)]
pub struct Sorted {
    by_name: HashMap<Name, (u64, f64)>,
    by_score: BTreeSet<Place>,
    next: u64,
    bytes: usize,
}

/// Where a member stands.
#[derive(Debug, Clone)]
struct Place {
    score: f64,
    name: Name,
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        // No score is NaN; minus zero is zero.
        let scores = self.score.partial_cmp(&other.score).unwrap_or(Ordering::Equal);
        scores.then_with(|| self.name.cmp(&other.name))
    }
}

/// A range of scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    pub min: Bound<f64>,
    pub max: Bound<f64>,
}

impl Scores {
    fn has(&self, score: f64) -> bool {
        self.is_above_min(score)
            && match self.max {
                Bound::Included(max) => score <= max,
                Bound::Excluded(max) => score < max,
                Bound::Unbounded => true,
            }
    }

    fn is_above_min(&self, score: f64) -> bool {
        match self.min {
            Bound::Included(min) => score >= min,
            Bound::Excluded(min) => score > min,
            Bound::Unbounded => true,
        }
    }
}

/// What a member costs beside its name.
const MEMBER_BYTES: usize = 2 * size_of::<Place>() + 64;

impl Sorted {
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    #[must_use]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.by_name.get(member).map(|(_, score)| *score)
    }

    /// Sets a member's score; what it was, if it was there.
    pub fn set(&mut self, member: &[u8], score: f64, slots: &mut Slots<'_>) -> Option<f64> {
        let written = part(member, &score.to_be_bytes());
        let (slot, name, old) = match self.by_name.get_key_value(member) {
            Some((_, (_, old))) if *old == score => return Some(*old),
            Some((name, (slot, old))) => {
                slots.put(*slot, &written);
                (*slot, name.clone(), Some(*old))
            }
            None => {
                slots.insert(self.next, &written);
                (self.next, Arc::from(member), None)
            }
        };
        if let Some(old) = old {
            self.by_score.remove(&Place { score: old, name: name.clone() });
            self.by_score.insert(Place { score, name: name.clone() });
            self.by_name.insert(name, (slot, score));
        } else {
            self.put(slot, name, score);
        }
        old
    }

    fn put(&mut self, slot: u64, name: Name, score: f64) {
        self.next = self.next.max(slot + 1);
        self.bytes += name.len() + MEMBER_BYTES;
        self.by_score.insert(Place { score, name: name.clone() });
        self.by_name.insert(name, (slot, score));
    }

    /// False when there is no such member.
    pub fn remove(&mut self, member: &[u8], slots: &mut Slots<'_>) -> bool {
        let Some((name, (slot, score))) = self.by_name.remove_entry(member) else { return false };
        slots.free(slot);
        self.bytes -= name.len() + MEMBER_BYTES;
        self.by_score.remove(&Place { score, name });
        true
    }

    /// Members with their scores, the lowest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], f64)> {
        self.by_score.iter().map(|place| (&*place.name, place.score))
    }

    /// Those whose scores are in a range, the lowest first.
    pub fn in_range(&self, scores: Scores) -> impl DoubleEndedIterator<Item = (&[u8], f64)> {
        let from = match scores.min {
            Bound::Included(min) | Bound::Excluded(min) => min,
            Bound::Unbounded => f64::NEG_INFINITY,
        };
        let first = Place { score: from, name: Arc::from(&b""[..]) };
        let up_to = match scores.max {
            Bound::Included(max) | Bound::Excluded(max) => max,
            Bound::Unbounded => f64::INFINITY,
        };
        // No member sorts behind the next score's first; an empty range is one, too.
        let end = if up_to < f64::INFINITY {
            Bound::Excluded(Place { score: up_to.next_up(), name: first.name.clone() })
        } else {
            Bound::Unbounded
        };
        let is_range = from <= up_to;
        let range = is_range.then(|| self.by_score.range((Bound::Included(first), end)));
        let members = range.into_iter().flatten().map(|place| (&*place.name, place.score));
        members.filter(move |(_, score)| scores.has(*score))
    }

    /// How many stand before a member.
    #[must_use]
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        let (name, (_, score)) = self.by_name.get_key_value(member)?;
        Some(self.by_score.range(..Place { score: *score, name: name.clone() }).count())
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = u64> {
        self.by_name.values().map(|(slot, _)| *slot)
    }

    pub(super) fn recover(&mut self, slot: u64, part: &[u8]) {
        let Some((name, score)) = read_part(part) else { return };
        if let Ok(score) = score.try_into().map(f64::from_be_bytes) {
            self.put(slot, Arc::from(name), score);
            self.next = slot.saturating_add(SKIPPED);
        }
    }
}
