//! A list: a deque whose elements have signed positions, so that each lies in the store under a key of its own and an
//! element that goes from the middle moves no other.
//!
//! Pure state: what changes is told to [`Slots`]. Indexes count from the left, negative ones from the right, as Redis
//! has them.

pub mod queue;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::keyspace::journal::Slots;

/// One end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Left,
    Right,
}

/// On which side of an element another goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Before,
    After,
}

/// A list.
#[derive(Debug, Default)]
pub struct List {
    elements: VecDeque<Element>,
    /// Positions between these have been given; none is given twice.
    lowest: i64,
    highest: i64,
    bytes: usize,
}

#[derive(Debug)]
struct Element {
    position: i64,
    bytes: Box<[u8]>,
}

/// How a search for elements goes (`LPOS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Search {
    /// The first match to tell, counted from the left, or from the right when negative; never 0.
    pub rank: i64,
    /// Matches to tell at most; 0: all.
    pub count: usize,
    /// Elements to compare at most; 0: all.
    pub compared_max: usize,
}

/// What an element costs beside its bytes.
const ELEMENT_BYTES: usize = size_of::<Element>() + 8;

/// Positions skipped on either side by a restart, which has forgotten which were given.
const SKIPPED: i64 = 1 << 32;

/// Positions sort as their slots do.
fn slot(position: i64) -> u64 {
    position.cast_unsigned() ^ (1 << 63)
}

impl List {
    #[must_use]
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// What it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes of its elements, without what else they cost.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.bytes - self.len() * ELEMENT_BYTES
    }

    /// An element that recovery found; they come in the order of their slots.
    pub(crate) fn recover(&mut self, at: u64, bytes: &[u8]) {
        let position = (at ^ (1 << 63)).cast_signed();
        if self.elements.is_empty() {
            self.lowest = position.saturating_sub(SKIPPED);
        }
        self.highest = position.saturating_add(SKIPPED);
        self.bytes += bytes.len() + ELEMENT_BYTES;
        self.elements.push_back(Element { position, bytes: bytes.into() });
    }

    /// The slots in use.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u64> {
        self.elements.iter().map(|element| slot(element.position))
    }

    /// The slot of the element at an end.
    #[must_use]
    pub fn end_slot(&self, end: End) -> Option<u64> {
        let element = match end {
            End::Left => self.elements.front(),
            End::Right => self.elements.back(),
        };
        element.map(|element| slot(element.position))
    }

    /// Takes out the element that has that slot.
    pub(crate) fn take_slot(&mut self, at: u64, slots: &mut Slots<'_>) -> Option<Box<[u8]>> {
        let found = self.elements.binary_search_by_key(&at, |element| slot(element.position)).ok()?;
        let element = self.elements.remove(found)?;
        self.drop_of(&element, slots);
        Some(element.bytes)
    }

    /// An index as the peer gave it; `None` when there is no such element.
    fn index(&self, index: i64) -> Option<usize> {
        let len = i64::try_from(self.len()).unwrap_or(i64::MAX);
        let index = if index < 0 { index.checked_add(len)? } else { index };
        usize::try_from(index).ok().filter(|&at| at < self.len())
    }

    /// A range of indexes as the peer gave it, both ends in it, as a range of ours.
    fn range_of(&self, start: i64, stop: i64) -> std::ops::Range<usize> {
        let len = i64::try_from(self.len()).unwrap_or(i64::MAX);
        let from_left = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
        let (start, stop) = (from_left(start).max(0), from_left(stop).min(len - 1));
        match (usize::try_from(start), usize::try_from(stop)) {
            (Ok(start), Ok(stop)) if start <= stop => start..stop + 1,
            (Ok(_) | Err(_), Ok(_) | Err(_)) => 0..0,
        }
    }

    #[must_use]
    pub fn get(&self, index: i64) -> Option<&[u8]> {
        self.elements.get(self.index(index)?).map(|element| &*element.bytes)
    }

    /// The elements between two indexes, both of them too.
    pub fn range(&self, start: i64, stop: i64) -> impl ExactSizeIterator<Item = &[u8]> {
        self.elements.range(self.range_of(start, stop)).map(|element| &*element.bytes)
    }

    pub fn push(&mut self, end: End, bytes: &[u8], slots: &mut Slots<'_>) {
        self.bytes += bytes.len() + ELEMENT_BYTES;
        let position = match end {
            End::Left => {
                self.lowest -= 1;
                self.lowest
            }
            End::Right => {
                self.highest += 1;
                self.highest
            }
        };
        slots.insert(slot(position), bytes);
        let element = Element { position, bytes: bytes.into() };
        match end {
            End::Left => self.elements.push_front(element),
            End::Right => self.elements.push_back(element),
        }
    }

    pub fn pop(&mut self, end: End, slots: &mut Slots<'_>) -> Option<Box<[u8]>> {
        let element = match end {
            End::Left => self.elements.pop_front(),
            End::Right => self.elements.pop_back(),
        }?;
        self.drop_of(&element, slots);
        Some(element.bytes)
    }

    fn drop_of(&mut self, element: &Element, slots: &mut Slots<'_>) {
        slots.free(slot(element.position));
        self.bytes -= element.bytes.len() + ELEMENT_BYTES;
    }

    /// Replaces an element; false when there is none of that index.
    pub fn set(&mut self, index: i64, bytes: &[u8], slots: &mut Slots<'_>) -> bool {
        let Some(element) = self.index(index).and_then(|at| self.elements.get_mut(at)) else { return false };
        self.bytes = self.bytes - element.bytes.len() + bytes.len();
        element.bytes = bytes.into();
        slots.put(slot(element.position), bytes);
        true
    }

    /// Puts an element beside the first that is `pivot`; false when there is none.
    pub fn insert(&mut self, side: Side, pivot: &[u8], bytes: &[u8], slots: &mut Slots<'_>) -> bool {
        let Some(at) = self.elements.iter().position(|element| *element.bytes == *pivot) else {
            return false;
        };
        let at = match side {
            Side::Before => at,
            Side::After => at + 1,
        };
        if at == 0 || at == self.len() {
            self.push(if at == 0 { End::Left } else { End::Right }, bytes, slots);
            return true;
        }
        let position = self.make_room(at, slots);
        slots.put(slot(position), bytes);
        self.bytes += bytes.len() + ELEMENT_BYTES;
        self.elements.insert(at, Element { position, bytes: bytes.into() });
        true
    }

    /// A free position before the element at `at`, which has one before it. Where there is none, the shorter side makes
    /// way.
    fn make_room(&mut self, at: usize, slots: &mut Slots<'_>) -> i64 {
        let position = |list: &Self, at: usize| list.elements.get(at).map_or(0, |element| element.position);
        let (before, after) = (position(self, at - 1), position(self, at));
        if after - before > 1 {
            return before + (after - before) / 2;
        }
        if at <= self.len() / 2 {
            self.shift(&mut (0..at).rev(), -1, slots);
            self.lowest = self.lowest.min(position(self, 0));
            before
        } else {
            self.shift(&mut (at..self.len()), 1, slots);
            self.highest = self.highest.max(position(self, self.len() - 1));
            after
        }
    }

    /// Moves elements by one position, one after the other, until one need not.
    fn shift(&mut self, indexes: &mut dyn Iterator<Item = usize>, by: i64, slots: &mut Slots<'_>) {
        let mut taken = None;
        for at in indexes {
            let Some(element) = self.elements.get_mut(at) else { return };
            if taken.is_some_and(|taken| taken != element.position) {
                return;
            }
            element.position += by;
            slots.put(slot(element.position), &element.bytes);
            taken = Some(element.position);
        }
    }

    /// Removes elements that are `bytes`: the first `count` of them, the last when negative, all when 0. Returns how
    /// many went.
    pub fn remove(&mut self, count: i64, bytes: &[u8], slots: &mut Slots<'_>) -> usize {
        let most = match usize::try_from(count.unsigned_abs()) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(most) => most,
        };
        let is_it = |&at: &usize| self.elements.get(at).is_some_and(|element| *element.bytes == *bytes);
        let mut found: Vec<usize> = if count < 0 {
            (0..self.len()).rev().filter(is_it).take(most).collect()
        } else {
            (0..self.len()).filter(is_it).take(most).collect()
        };
        found.sort_unstable();
        self.remove_all(&found, slots);
        found.len()
    }

    /// Removes the elements at these indexes, which are in order.
    fn remove_all(&mut self, indexes: &[usize], slots: &mut Slots<'_>) {
        if let [at] = *indexes {
            // One from a long list: only the shorter side moves up.
            if let Some(element) = self.elements.remove(at) {
                self.drop_of(&element, slots);
            }
            return;
        }
        let (mut at, mut next) = (0, indexes.iter().peekable());
        let mut bytes = self.bytes;
        self.elements.retain(|element| {
            let goes = next.next_if(|&&index| index == at).is_some();
            at += 1;
            if goes {
                slots.free(slot(element.position));
                bytes -= element.bytes.len() + ELEMENT_BYTES;
            }
            !goes
        });
        self.bytes = bytes;
    }

    /// Keeps what is between two indexes.
    pub fn trim(&mut self, start: i64, stop: i64, slots: &mut Slots<'_>) {
        let kept = self.range_of(start, stop);
        for _ in kept.end..self.len() {
            self.pop(End::Right, slots);
        }
        for _ in 0..kept.start.min(self.len()) {
            self.pop(End::Left, slots);
        }
    }

    /// The indexes of elements that are `bytes`.
    #[must_use]
    pub fn positions(&self, bytes: &[u8], search: Search) -> Vec<usize> {
        let compared = if search.compared_max == 0 { self.len() } else { search.compared_max };
        let told = if search.count == 0 { usize::MAX } else { search.count };
        let skipped = usize::try_from(search.rank.unsigned_abs()).unwrap_or(usize::MAX) - 1;
        let is_it = |&at: &usize| self.elements.get(at).is_some_and(|element| *element.bytes == *bytes);
        let all = 0..self.len();
        if search.rank < 0 {
            all.rev().take(compared).filter(is_it).skip(skipped).take(told).collect()
        } else {
            all.take(compared).filter(is_it).skip(skipped).take(told).collect()
        }
    }
}
