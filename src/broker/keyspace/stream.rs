//! A stream: entries under ids that only rise, and groups of consumers that share them.
//!
//! Parts: slot 0 is the stream's own record; every entry, group, consumer and pending delivery has a slot of its own.
//! The first byte says which it is.

use std::collections::BTreeMap;

use super::{fields::SKIPPED, journal::Slots, waiters::Name};

/// An entry's id: a moment and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Id {
    pub ms: u64,
    pub seq: u64,
}

impl Id {
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// The one behind it, if there is one.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => Some(Self { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    #[must_use]
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => Some(Self { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// An entry: names and values by turns.
#[derive(Debug)]
pub struct Entry {
    slot: u64,
    fields: Box<[u8]>,
}

impl Entry {
    /// Names and values by turns.
    pub fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let mut parts = Reader(&self.fields);
        std::iter::from_fn(move || parts.bytes())
    }
}

/// A stream.
#[derive(Debug, Default)]
pub struct Stream {
    entries: BTreeMap<Id, Entry>,
    /// The last id given.
    pub last: Id,
    /// Entries ever added.
    pub added: u64,
    /// The highest id that was deleted.
    pub max_deleted: Id,
    pub groups: BTreeMap<Name, Group>,
    next: u64,
    bytes: usize,
}

/// Consumers that share a stream.
#[derive(Debug, Default)]
pub struct Group {
    slot: u64,
    /// The last entry that was delivered.
    pub last: Id,
    /// Entries delivered so far, where that is known.
    pub read: Option<u64>,
    /// Delivered and not acknowledged.
    pub pending: BTreeMap<Id, Pending>,
    pub consumers: BTreeMap<Name, Consumer>,
}

/// A delivery that nobody has acknowledged.
#[derive(Debug)]
pub struct Pending {
    slot: u64,
    pub consumer: Name,
    pub delivered_at_ms: i64,
    pub deliveries: u64,
}

/// One of a group.
#[derive(Debug)]
pub struct Consumer {
    slot: u64,
    pub seen_at_ms: i64,
}

/// What an entry, a pending delivery and a name cost beside their bytes.
const ENTRY_BYTES: usize = 80;
const PENDING_BYTES: usize = 96;

const OWN: u64 = 0;

/// Writes parts: numbers as they are, bytes behind their length.
#[derive(Debug, Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn of(letter: u8) -> Self {
        Self(vec![letter])
    }

    fn u64(mut self, n: u64) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }

    fn id(self, id: Id) -> Self {
        self.u64(id.ms).u64(id.seq)
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }
}

/// Reads them back.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn u64(&mut self) -> Option<u64> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*head))
    }

    fn id(&mut self) -> Option<Id> {
        Some(Id { ms: self.u64()?, seq: self.u64()? })
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_first_chunk()?;
        let (bytes, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*head)).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }
}

impl Stream {
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[must_use]
    pub fn get(&self, id: Id) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// Entries between two ids, both ends in it.
    pub fn range(&self, from: Id, to: Id) -> impl DoubleEndedIterator<Item = (Id, &Entry)> {
        let is_range = from <= to;
        let range = is_range.then(|| self.entries.range(from..=to));
        range.into_iter().flatten().map(|(id, entry)| (*id, entry))
    }

    fn new_slot(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The stream itself, as it is now.
    pub fn note(&self, slots: &mut Slots<'_>) {
        slots.put(OWN, &Writer::of(b's').id(self.last).u64(self.added).id(self.max_deleted).0);
    }

    /// Adds an entry; its id is above the last.
    pub fn add(&mut self, id: Id, fields: &[&[u8]], slots: &mut Slots<'_>) {
        let fields = fields.iter().fold(Writer::default(), |out, field| out.bytes(field)).0;
        let slot = self.new_slot();
        slots.insert(slot, &[&Writer::of(b'e').id(id).0[..], &fields].concat());
        self.last = id;
        self.added += 1;
        self.note(slots);
        self.put(id, slot, &fields);
    }

    fn put(&mut self, id: Id, slot: u64, fields: &[u8]) {
        self.bytes += fields.len() + ENTRY_BYTES;
        self.entries.insert(id, Entry { slot, fields: fields.into() });
    }

    /// Deletes an entry; false when there is none.
    pub fn delete(&mut self, id: Id, slots: &mut Slots<'_>) -> bool {
        let Some(entry) = self.entries.remove(&id) else { return false };
        self.bytes -= entry.fields.len() + ENTRY_BYTES;
        slots.free(entry.slot);
        if id > self.max_deleted {
            self.max_deleted = id;
        }
        true
    }

    /// Deletes the oldest entries until there are at most so many.
    pub fn trim_to_len(&mut self, len: usize, slots: &mut Slots<'_>) -> usize {
        let mut deleted = 0;
        while self.entries.len() > len
            && let Some((&id, _)) = self.entries.first_key_value()
        {
            deleted += usize::from(self.trim(id, slots));
        }
        deleted
    }

    /// Deletes every entry below an id.
    pub fn trim_to_id(&mut self, min: Id, slots: &mut Slots<'_>) -> usize {
        let mut deleted = 0;
        while let Some((&id, _)) = self.entries.first_key_value()
            && id < min
        {
            deleted += usize::from(self.trim(id, slots));
        }
        deleted
    }

    /// Trimming is no deletion: what was highest stays so.
    fn trim(&mut self, id: Id, slots: &mut Slots<'_>) -> bool {
        let before = self.max_deleted;
        let deleted = self.delete(id, slots);
        self.max_deleted = before;
        deleted
    }

    /// Makes a group; false when there is one of that name.
    pub fn make_group(&mut self, name: &[u8], last: Id, read: Option<u64>, slots: &mut Slots<'_>) -> bool {
        if self.groups.contains_key(name) {
            return false;
        }
        let slot = self.new_slot();
        self.groups.insert(name.into(), Group { slot, last, read, ..Group::default() });
        self.bytes += name.len() + PENDING_BYTES;
        self.note_group(name, slots);
        true
    }

    /// A group, as it is now.
    pub fn note_group(&self, name: &[u8], slots: &mut Slots<'_>) {
        if let Some(group) = self.groups.get(name) {
            let read = group.read.map_or(u64::MAX, |read| read);
            slots.put(group.slot, &Writer::of(b'g').bytes(name).id(group.last).u64(read).0);
        }
    }

    /// A group has got an entry, and counts it where it can.
    pub fn advance(&mut self, name: &[u8], id: Id) {
        let estimate = self.entries_up_to(id);
        let has_gaps = self.has_gaps_from(id);
        let Some(group) = self.groups.get_mut(name) else { return };
        group.last = id;
        group.read = match group.read {
            Some(read) if !has_gaps => Some(read + 1),
            Some(_) | None => estimate,
        };
    }

    /// Entries that a group has not got; `None`: nobody knows, because some were deleted.
    #[must_use]
    pub fn lag(&self, group: &Group) -> Option<u64> {
        let read = group.read.filter(|_| !self.has_gaps_from(group.last));
        read.or_else(|| self.entries_up_to(group.last)).map(|read| self.added.saturating_sub(read))
    }

    /// Whether an entry behind that id may have been deleted.
    fn has_gaps_from(&self, id: Id) -> bool {
        !self.entries.is_empty() && self.max_deleted != Id::MIN && id <= self.max_deleted
    }

    /// Entries ever added up to an id, as far as that can be told.
    fn entries_up_to(&self, id: Id) -> Option<u64> {
        if self.added == 0 || id >= self.last {
            return Some(self.added);
        }
        let Some((first, _)) = self.entries.first_key_value() else { return Some(self.added) };
        let before = self.added.saturating_sub(self.entries.len() as u64);
        let is_whole = self.max_deleted < *first;
        match id.cmp(first) {
            std::cmp::Ordering::Less if is_whole => Some(before),
            std::cmp::Ordering::Equal if is_whole => Some(before + 1),
            std::cmp::Ordering::Less | std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => None,
        }
    }

    /// Removes a group with its consumers; false when there is none.
    pub fn remove_group(&mut self, name: &[u8], slots: &mut Slots<'_>) -> bool {
        let Some(group) = self.groups.remove(name) else { return false };
        slots.free(group.slot);
        self.bytes -= name.len() + PENDING_BYTES;
        for pending in group.pending.values() {
            slots.free(pending.slot);
            self.bytes -= PENDING_BYTES;
        }
        for (name, consumer) in &group.consumers {
            slots.free(consumer.slot);
            self.bytes -= name.len() + PENDING_BYTES;
        }
        true
    }

    /// A consumer asks for something; true when it is new.
    pub fn see_consumer(&mut self, group: &[u8], name: &[u8], now_ms: i64, slots: &mut Slots<'_>) -> bool {
        let next = self.next + 1;
        let Some(of) = self.groups.get_mut(group) else { return false };
        if let Some(consumer) = of.consumers.get_mut(name) {
            consumer.seen_at_ms = now_ms;
            return false;
        }
        of.consumers.insert(name.into(), Consumer { slot: next, seen_at_ms: now_ms });
        self.next = next;
        self.bytes += name.len() + PENDING_BYTES;
        slots.put(next, &Writer::of(b'c').bytes(group).bytes(name).u64(now_ms.cast_unsigned()).0);
        true
    }

    /// Removes a consumer, and what it has not acknowledged; how much that was.
    pub fn remove_consumer(&mut self, group: &[u8], name: &[u8], slots: &mut Slots<'_>) -> usize {
        let Some(of) = self.groups.get_mut(group) else { return 0 };
        let Some(consumer) = of.consumers.remove(name) else { return 0 };
        slots.free(consumer.slot);
        self.bytes -= name.len() + PENDING_BYTES;
        let before = of.pending.len();
        of.pending.retain(|_, pending| {
            let stays = *pending.consumer != *name;
            if !stays {
                slots.free(pending.slot);
            }
            stays
        });
        let removed = before - of.pending.len();
        self.bytes -= removed * PENDING_BYTES;
        removed
    }

    /// An entry is delivered to a consumer, perhaps instead of another.
    pub fn deliver(
        &mut self,
        group: &[u8],
        id: Id,
        (consumer, delivered_at_ms, deliveries): (&[u8], i64, u64),
        slots: &mut Slots<'_>,
    ) {
        let next = self.next + 1;
        let Some(of) = self.groups.get_mut(group) else { return };
        let slot = match of.pending.get(&id) {
            Some(pending) => pending.slot,
            None => {
                self.next = next;
                self.bytes += PENDING_BYTES;
                next
            }
        };
        let part = Writer::of(b'p').bytes(group).id(id).bytes(consumer).u64(delivered_at_ms.cast_unsigned());
        slots.put(slot, &part.u64(deliveries).0);
        let known = of.consumers.get_key_value(consumer).map(|(name, _)| name.clone());
        let consumer = known.unwrap_or_else(|| consumer.into());
        of.pending.insert(id, Pending { slot, consumer, delivered_at_ms, deliveries });
    }

    /// Acknowledges a delivery; false when there is none.
    pub fn acknowledge(&mut self, group: &[u8], id: Id, slots: &mut Slots<'_>) -> bool {
        let Some(pending) = self.groups.get_mut(group).and_then(|of| of.pending.remove(&id)) else {
            return false;
        };
        slots.free(pending.slot);
        self.bytes -= PENDING_BYTES;
        true
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = u64> {
        let entries = self.entries.values().map(|entry| entry.slot);
        let of_groups = self.groups.values().flat_map(|group| {
            let pending = group.pending.values().map(|pending| pending.slot);
            let consumers = group.consumers.values().map(|consumer| consumer.slot);
            std::iter::once(group.slot).chain(pending).chain(consumers)
        });
        std::iter::once(OWN).chain(entries).chain(of_groups)
    }

    /// Parts come in the order of their slots, so a group comes before its consumers.
    pub(super) fn recover(&mut self, slot: u64, part: &[u8]) {
        self.next = slot.saturating_add(SKIPPED);
        let Some((letter, rest)) = part.split_first() else { return };
        if self.recovered(slot, *letter, &mut Reader(rest)).is_none() {
            tracing::warn!(slot, "a part of a stream makes no sense and is left alone");
        }
    }

    fn recovered(&mut self, slot: u64, letter: u8, part: &mut Reader<'_>) -> Option<()> {
        match letter {
            b's' => (self.last, self.added, self.max_deleted) = (part.id()?, part.u64()?, part.id()?),
            b'e' => {
                let id = part.id()?;
                self.put(id, slot, part.0);
            }
            b'g' => {
                let (name, last, read) = (part.bytes()?, part.id()?, part.u64()?);
                self.bytes += name.len() + PENDING_BYTES;
                let read = Some(read).filter(|&read| read != u64::MAX);
                self.groups.insert(name.into(), Group { slot, last, read, ..Group::default() });
            }
            b'c' => {
                let (group, name, seen_at_ms) = (part.bytes()?, part.bytes()?, part.u64()?.cast_signed());
                self.bytes += name.len() + PENDING_BYTES;
                self.groups.get_mut(group)?.consumers.insert(name.into(), Consumer { slot, seen_at_ms });
            }
            b'p' => {
                let (group, id, consumer) = (part.bytes()?, part.id()?, part.bytes()?);
                let (delivered_at_ms, deliveries) = (part.u64()?.cast_signed(), part.u64()?);
                self.bytes += PENDING_BYTES;
                let pending = Pending { slot, consumer: consumer.into(), delivered_at_ms, deliveries };
                self.groups.get_mut(group)?.pending.insert(id, pending);
            }
            _ => return None,
        }
        Some(())
    }
}
