//! Hashes and sets: names, each with a value or without, in the order of their coming.
//!
//! A field has a slot of its own, `len u32 | name | value`, and keeps it when its value changes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{journal::Slots, waiters::Name};

/// Names with values.
#[derive(Debug, Default)]
pub struct Hash(Fields);

/// Names.
#[derive(Debug, Default)]
pub struct Set(Fields);

/// What both are made of.
#[derive(Debug, Default)]
struct Fields {
    by_name: HashMap<Name, u64>,
    by_slot: BTreeMap<u64, (Name, Box<[u8]>)>,
    next: u64,
    bytes: usize,
}

/// What a field costs beside its name and its value.
const FIELD_BYTES: usize = 2 * size_of::<Name>() + size_of::<Box<[u8]>>() + 48;

/// Slots skipped by a restart, which has forgotten which were given.
pub(super) const SKIPPED: u64 = 1 << 32;

/// A name and what belongs to it, as one part.
pub(super) fn part(name: &[u8], value: &[u8]) -> Vec<u8> {
    let len = u32::try_from(name.len()).unwrap_or(u32::MAX);
    [&len.to_be_bytes(), name, value].concat()
}

pub(super) fn read_part(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = part.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
}

impl Fields {
    fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let slot = self.by_name.get(name)?;
        self.by_slot.get(slot).map(|(_, value)| &**value)
    }

    /// Sets a field; whether it is new.
    fn set(&mut self, name: &[u8], value: &[u8], slots: &mut Slots<'_>) -> bool {
        let part = part(name, value);
        if let Some(&slot) = self.by_name.get(name) {
            if let Some((_, old)) = self.by_slot.get_mut(&slot) {
                self.bytes = self.bytes - old.len() + value.len();
                *old = value.into();
                slots.put(slot, &part);
            }
            return false;
        }
        let slot = self.next;
        slots.insert(slot, &part);
        self.put(slot, name, value);
        true
    }

    fn put(&mut self, slot: u64, name: &[u8], value: &[u8]) {
        self.next = self.next.max(slot + 1);
        self.bytes += name.len() + value.len() + FIELD_BYTES;
        let name: Name = Arc::from(name);
        self.by_name.insert(name.clone(), slot);
        self.by_slot.insert(slot, (name, value.into()));
    }

    fn remove(&mut self, name: &[u8], slots: &mut Slots<'_>) -> bool {
        let Some(slot) = self.by_name.remove(name) else { return false };
        if let Some((name, value)) = self.by_slot.remove(&slot) {
            self.bytes -= name.len() + value.len() + FIELD_BYTES;
        }
        slots.free(slot);
        true
    }

    fn recover(&mut self, slot: u64, part: &[u8]) {
        if let Some((name, value)) = read_part(part) {
            self.put(slot, name, value);
            self.next = slot.saturating_add(SKIPPED);
        }
    }
}

macro_rules! of_fields {
    ($($type:ident)*) => {
        $(impl $type {
            #[must_use]
            pub fn len(&self) -> usize {
                self.0.by_name.len()
            }

            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.by_name.is_empty()
            }

            #[must_use]
            pub fn contains(&self, name: &[u8]) -> bool {
                self.0.by_name.contains_key(name)
            }

            /// False when there is none of that name.
            pub fn remove(&mut self, name: &[u8], slots: &mut Slots<'_>) -> bool {
                self.0.remove(name, slots)
            }

            pub(super) fn bytes(&self) -> usize {
                self.0.bytes
            }

            pub(super) fn slots(&self) -> impl Iterator<Item = u64> {
                self.0.by_slot.keys().copied()
            }

            pub(super) fn recover(&mut self, slot: u64, part: &[u8]) {
                self.0.recover(slot, part);
            }
        })*
    };
}

of_fields! { Hash Set }

impl Hash {
    #[must_use]
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        self.0.get(field)
    }

    /// Whether the field is new.
    pub fn set(&mut self, field: &[u8], value: &[u8], slots: &mut Slots<'_>) -> bool {
        self.0.set(field, value, slots)
    }

    /// Fields with their values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.0.by_slot.values().map(|(name, value)| (&**name, &**value))
    }
}

impl Set {
    /// Whether the member is new.
    pub fn add(&mut self, member: &[u8], slots: &mut Slots<'_>) -> bool {
        !self.contains(member) && self.0.set(member, b"", slots)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.0.by_slot.values().map(|(name, _)| &**name)
    }
}
