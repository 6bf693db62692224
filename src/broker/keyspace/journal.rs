//! What the commands of one read have changed, on its way into the log as one Change.
//!
//! A value has an id that is never given twice. Its parts (a list's elements, a hash's fields) have slots under that id.
//! What a command does is absolute: a record or a slot is set, or it is gone.
//!
//! ```text
//! space  key                         value
//! state  'k' | id u64                vhost str | db u8 | kind u8 | expires_at_ms i64 (0: never) | name
//! state  'v' | id u64 | slot u64     one part, as its kind writes it
//! ```

use super::value::Kind;
use crate::{
    broker::queue::QueueId,
    store::{
        Change, Space, StoreError, Turn,
        key::{Key, Parts},
    },
};

/// A value's id. It comes from where queues have theirs.
pub type ValueId = QueueId;

/// Records of values begin with this.
pub(crate) const RECORDS: &[u8] = b"k";

/// Parts of values begin with this.
pub(crate) const PARTS: &[u8] = b"v";

/// Parts that one Change removes when a large value goes: the rest follows in Changes of its own.
const REMOVED_MAX: usize = 4_096;

/// What a delta adds to its value in the log: the key, and what the store puts around it.
const DELTA_BYTES: usize = 40;

/// A value's record, as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub vhost: &'a str,
    pub db: u8,
    pub kind: Kind,
    pub expires_at_ms: Option<i64>,
    pub name: &'a [u8],
}

impl<'a> Record<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(Key::new(1).str(self.vhost).as_bytes().get(1..).unwrap_or_default());
        out.push(self.db);
        out.push(self.kind.letter());
        out.extend_from_slice(&self.expires_at_ms.unwrap_or(0).to_be_bytes());
        out.extend_from_slice(self.name);
    }

    pub(crate) fn decode(value: &'a [u8]) -> Option<Self> {
        let mut parts = Parts(value);
        Some(Self {
            vhost: parts.str()?,
            db: parts.u8()?,
            kind: Kind::of_letter(parts.u8()?)?,
            expires_at_ms: Some(parts.u64()?.cast_signed()).filter(|&at| at != 0),
            name: parts.0,
        })
    }
}

/// The id in a record's key.
pub(crate) fn record_id(key: &[u8]) -> Option<ValueId> {
    let mut parts = Parts(key.strip_prefix(RECORDS)?);
    parts.u64().map(QueueId)
}

/// The id and the slot in a part's key.
pub(crate) fn part_id(key: &[u8]) -> Option<(ValueId, u64)> {
    let mut parts = Parts(key.strip_prefix(PARTS)?);
    Some((QueueId(parts.u64()?), parts.u64()?))
}

fn record_key(id: ValueId) -> Vec<u8> {
    [RECORDS, &id.0.to_be_bytes()].concat()
}

fn part_key(id: ValueId, slot: u64) -> [u8; 17] {
    let mut key = [0; 17];
    let (prefix, rest) = key.split_at_mut(PARTS.len());
    prefix.copy_from_slice(PARTS);
    let (first, second) = rest.split_at_mut(8);
    first.copy_from_slice(&id.0.to_be_bytes());
    second.copy_from_slice(&slot.to_be_bytes());
    key
}

/// One thing that is to be in the log.
#[derive(Debug, Clone, Copy)]
struct Op {
    id: ValueId,
    /// `None`: the record itself.
    slot: Option<u64>,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// The key has never been set before.
    Insert {
        from: usize,
        to: usize,
    },
    Put {
        from: usize,
        to: usize,
    },
    Delete,
}

/// A new part or not and its bytes, or that it is gone.
#[cfg(test)]
type Part = Option<(bool, Vec<u8>)>;

/// Gathers what one read changes.
#[derive(Debug, Default)]
pub struct Journal {
    /// Nothing survives a restart, so nothing is gathered.
    forgetful: bool,
    ops: Vec<Op>,
    bytes: Vec<u8>,
    /// Parts of values that are gone: nothing points at them any more, and there may be many.
    leftover: Vec<(ValueId, Vec<u64>)>,
}

impl Journal {
    pub(super) fn forgetful() -> Self {
        Self { forgetful: true, ..Self::default() }
    }

    fn set(&mut self, id: ValueId, slot: Option<u64>, new: bool, write: impl FnOnce(&mut Vec<u8>)) {
        if self.forgetful {
            return;
        }
        let from = self.bytes.len();
        write(&mut self.bytes);
        let to = self.bytes.len();
        let what = if new { What::Insert { from, to } } else { What::Put { from, to } };
        self.ops.push(Op { id, slot, what });
    }

    fn delete(&mut self, id: ValueId, slot: Option<u64>) {
        if !self.forgetful {
            self.ops.push(Op { id, slot, what: What::Delete });
        }
    }

    /// A value came to be, or has another name or another time to go.
    pub(super) fn record(&mut self, id: ValueId, new: bool, record: &Record<'_>) {
        self.set(id, None, new, |out| record.encode(out));
    }

    /// A value is gone, with what it has.
    pub(super) fn gone(&mut self, id: ValueId, slots: impl Iterator<Item = u64>) {
        if self.forgetful {
            return;
        }
        self.delete(id, None);
        let slots: Vec<u64> = slots.collect();
        if slots.len() <= REMOVED_MAX {
            slots.into_iter().for_each(|slot| self.delete(id, Some(slot)));
        } else {
            self.leftover.push((id, slots));
        }
    }

    /// The parts of a value.
    pub fn slots(&mut self, id: ValueId) -> Slots<'_> {
        Slots { journal: self, id }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// What was said of the parts of a value, in order.
    #[cfg(test)]
    pub(in crate::broker) fn parts(&self) -> Vec<(u64, Part)> {
        let part = |op: &Op| {
            let written = match op.what {
                What::Insert { from, to } => Some((true, self.bytes[from..to].to_vec())),
                What::Put { from, to } => Some((false, self.bytes[from..to].to_vec())),
                What::Delete => None,
            };
            op.slot.map(|slot| (slot, written))
        };
        self.ops.iter().filter_map(part).collect()
    }

    /// Bytes gathered by now.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.ops.len() * DELTA_BYTES
    }

    /// What was gathered, as Changes: the first is what was done, whole, and `lazy` when nobody waits for it; those behind
    /// it tidy up.
    pub(super) fn take(&mut self, lazy: bool) -> Vec<JournalChange> {
        let (ops, bytes) = (std::mem::take(&mut self.ops), std::mem::take(&mut self.bytes));
        let mut changes = vec![JournalChange { ops, bytes, lazy }];
        for (id, slots) in self.leftover.drain(..) {
            changes.extend(slots.chunks(REMOVED_MAX).map(|slots| JournalChange::removing(id, slots)));
        }
        changes
    }
}

/// The parts of one value, as they change.
#[derive(Debug)]
pub struct Slots<'a> {
    journal: &'a mut Journal,
    id: ValueId,
}

impl Slots<'_> {
    /// A slot that has never been used.
    pub fn insert(&mut self, slot: u64, part: &[u8]) {
        self.journal.set(self.id, Some(slot), true, |out| out.extend_from_slice(part));
    }

    pub fn put(&mut self, slot: u64, part: &[u8]) {
        self.journal.set(self.id, Some(slot), false, |out| out.extend_from_slice(part));
    }

    pub fn free(&mut self, slot: u64) {
        self.journal.delete(self.id, Some(slot));
    }
}

/// What the commands of one read did.
#[derive(Debug)]
pub(super) struct JournalChange {
    ops: Vec<Op>,
    bytes: Vec<u8>,
    lazy: bool,
}

impl JournalChange {
    fn removing(id: ValueId, slots: &[u64]) -> Self {
        let op = |&slot: &u64| Op { id, slot: Some(slot), what: What::Delete };
        Self { ops: slots.iter().map(op).collect(), bytes: Vec::new(), lazy: true }
    }

    /// Parts of values that no record speaks of.
    pub(super) fn orphans(parts: &[(ValueId, u64)]) -> Self {
        let op = |&(id, slot): &(ValueId, u64)| Op { id, slot: Some(slot), what: What::Delete };
        Self { ops: parts.iter().map(op).collect(), bytes: Vec::new(), lazy: true }
    }
}

impl Change for JournalChange {
    fn bytes_max(&self) -> usize {
        self.bytes.len() + self.ops.len() * DELTA_BYTES
    }

    fn lazy(&self) -> bool {
        self.lazy
    }

    fn stage(&mut self, turn: &mut Turn) {
        for Op { id, slot, what } in &self.ops {
            let (record, part);
            let key: &[u8] = match slot {
                None => {
                    record = record_key(*id);
                    &record
                }
                Some(slot) => {
                    part = part_key(*id, *slot);
                    &part
                }
            };
            let written = |from: usize, to: usize| self.bytes.get(from..to).unwrap_or_default();
            match *what {
                What::Insert { from, to } => turn.insert(Space::State, key, written(from, to)),
                What::Put { from, to } => turn.put(Space::State, key, written(from, to)),
                What::Delete => turn.delete(Space::State, key),
            }
        }
    }

    fn committed(self: Box<Self>) {}

    fn refused(self: Box<Self>, _error: &StoreError) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_keys_read_back() {
        let record =
            Record { vhost: "/", db: 3, kind: Kind::List, expires_at_ms: Some(7), name: b"task\0queue" };
        let mut value = Vec::new();
        record.encode(&mut value);
        assert_eq!(Record::decode(&value), Some(record));
        assert_eq!(record_id(&record_key(QueueId(9))), Some(QueueId(9)));
        assert_eq!(part_id(&part_key(QueueId(9), 4)), Some((QueueId(9), 4)));
    }

    #[test]
    fn a_large_value_goes_at_once_and_its_parts_bit_by_bit() {
        let mut journal = Journal::default();
        journal.gone(QueueId(1), 0..10_000);
        let sizes: Vec<_> =
            journal.take(false).iter().map(|change| (change.ops.len(), change.lazy)).collect();
        assert_eq!(sizes, [(1, false), (4_096, true), (4_096, true), (1_808, true)]);
    }
}
