//! Where the batches of a partition lie: one entry for each append, in memory and in the store.
//!
//! ```text
//! value   last offset delta u32 | max timestamp i64 | segment u32 | offset u32 | length u32 | producers u32 | producer… | part…
//! part    of each producer's batch in a transaction u8, all of them or none (then all are of no transaction)
//! producer (one for each batch that has one: recovery needs no chunk)
//!         id i64 | epoch i16 | base sequence i32 | last sequence i32 | base offset i64 | last offset i64 | timestamp i64
//! ```

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    Offset,
    keys::{Reader, Writer},
};
use crate::{
    broker::txn::producer::{Part, ProducedBatch},
    store::Place,
};

/// One append: one chunk of whole batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) base: Offset,
    pub(super) last_offset_delta: u32,
    pub(super) max_timestamp: i64,
    pub(super) place: Place,
}

impl Entry {
    /// The place of an entry that has none yet.
    pub(super) const NOWHERE: Place = Place { segment: 0, offset: 0, len: 0 };

    pub(super) fn last(&self) -> Offset {
        Offset(self.base.0 + i64::from(self.last_offset_delta))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.place.len.into()
    }

    pub(super) fn encode(&self, producers: &[ProducedBatch]) -> Vec<u8> {
        let mut w = Writer::default();
        w.u32(self.last_offset_delta);
        w.i64(self.max_timestamp);
        w.u32(self.place.segment);
        w.u32(self.place.offset);
        w.u32(self.place.len);
        w.count(producers.len());
        for p in producers {
            w.i64(p.producer_id);
            w.i16(p.producer_epoch);
            w.i32(p.base_sequence);
            w.i32(p.last_sequence);
            w.i64(p.base_offset.0);
            w.i64(p.last_offset.0);
            w.i64(p.timestamp);
        }
        if producers.iter().any(|p| p.part != Part::None) {
            producers.iter().for_each(|p| w.u8(p.part.number()));
        }
        w.finish()
    }

    pub(super) fn decode(base: Offset, value: &Bytes) -> Option<(Self, Vec<ProducedBatch>)> {
        let r = &mut Reader::new(value.clone());
        let (last_offset_delta, max_timestamp) = (r.u32()?, r.i64()?);
        let place = Place { segment: r.u32()?, offset: r.u32()?, len: r.u32()? };
        let mut producers = Vec::new();
        for _ in 0..r.u32()? {
            producers.push(ProducedBatch {
                producer_id: r.i64()?,
                producer_epoch: r.i16()?,
                base_sequence: r.i32()?,
                last_sequence: r.i32()?,
                base_offset: Offset(r.i64()?),
                last_offset: Offset(r.i64()?),
                timestamp: r.i64()?,
                part: Part::None,
            });
        }
        if !r.is_done() {
            for producer in &mut producers {
                producer.part = Part::from_number(r.u8()?)?;
            }
        }
        r.is_done().then_some((Self { base, last_offset_delta, max_timestamp, place }, producers))
    }
}

/// The bytes of one entry in a turn, at most, for `batches` batches.
pub(super) fn entry_bytes_max(batches: usize) -> usize {
    17 + 28 + batches * 47
}

/// The entries of one partition.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: VecDeque<Slot>,
    bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    entry: Entry,
    /// The largest timestamp up to here: never falls, so that time can be looked up by halving.
    max_timestamp_so_far: i64,
}

impl Index {
    pub(super) fn push(&mut self, entry: Entry) {
        let so_far = self.entries.back().map_or(i64::MIN, |s| s.max_timestamp_so_far);
        self.bytes += entry.bytes();
        self.entries.push_back(Slot { entry, max_timestamp_so_far: so_far.max(entry.max_timestamp) });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all batches.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn last(&self) -> Option<&Entry> {
        self.entries.back().map(|s| &s.entry)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter().map(|s| &s.entry)
    }

    /// The entry that holds `offset` (or the first one behind it), and all that follow.
    pub(super) fn since_offset(&self, offset: Offset) -> impl Iterator<Item = &Entry> {
        let at = self.entries.partition_point(|s| s.entry.last() < offset);
        self.entries.range(at..).map(|s| &s.entry)
    }

    /// The entries that may hold the first record with a timestamp of at least `timestamp`, in order.
    pub(super) fn since_time(&self, timestamp: i64) -> impl Iterator<Item = &Entry> {
        let at = self.entries.partition_point(|s| s.max_timestamp_so_far < timestamp);
        // What made the largest timestamp so far may have been removed since.
        self.entries.range(at..).map(|s| &s.entry).filter(move |e| e.max_timestamp >= timestamp)
    }

    /// The first entry with the largest timestamp of all.
    pub(super) fn newest(&self) -> Option<&Entry> {
        self.iter().rev().max_by_key(|e| e.max_timestamp)
    }

    /// The entry at `base` has moved. False: it is not there (any more).
    pub(super) fn relocate(&mut self, base: Offset, from: Place, to: Place) -> bool {
        let at = self.entries.partition_point(|s| s.entry.last() < base);
        match self.entries.get_mut(at) {
            Some(slot) if slot.entry.base == base && slot.entry.place == from => {
                slot.entry.place = to;
                true
            }
            Some(_) | None => false,
        }
    }

    /// The entries that lie wholly before `offset`, from the front, at most `max`.
    pub(super) fn before(&self, offset: Offset, max: usize) -> impl Iterator<Item = &Entry> {
        self.iter().take_while(move |e| e.last() < offset).take(max)
    }

    /// Removes what lies wholly before `offset`.
    pub(super) fn remove_before(&mut self, offset: Offset, removed: &mut Vec<Entry>) {
        while let Some(slot) = self.entries.pop_front_if(|s| s.entry.last() < offset) {
            self.bytes -= slot.entry.bytes();
            removed.push(slot.entry);
        }
    }
}

#[cfg(test)]
pub(super) fn entry(base: i64, last: i64, max_timestamp: i64, len: u32) -> Entry {
    let last_offset_delta = u32::try_from(last - base).unwrap();
    let place = Place { segment: 1, offset: u32::try_from(base).unwrap(), len };
    Entry { base: Offset(base), last_offset_delta, max_timestamp, place }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<i64> {
        entries.map(|e| e.base.0).collect()
    }

    fn index() -> Index {
        let mut index = Index::default();
        for (base, last, time) in [(0, 4, 100), (5, 5, 90), (6, 9, 120), (12, 12, 110)] {
            index.push(entry(base, last, time, 10));
        }
        index
    }

    #[test]
    fn an_offset_is_found_in_its_batch_and_a_hole_leads_to_the_next() {
        fn check(offset: i64, expected: &[i64]) {
            assert_eq!(bases(index().since_offset(Offset(offset))), expected, "from {offset}");
        }
        check(0, &[0, 5, 6, 12]);
        check(4, &[0, 5, 6, 12]);
        check(5, &[5, 6, 12]);
        check(10, &[12]);
        check(13, &[]);
    }

    #[test]
    fn a_time_is_found_in_the_first_batch_that_reaches_it() {
        fn check(index: &Index, time: i64, expected: Option<i64>) {
            assert_eq!(bases(index.since_time(time)).first().copied(), expected, "at {time}");
        }
        let mut index = index();
        check(&index, 80, Some(0));
        check(&index, 100, Some(0));
        check(&index, 101, Some(6));
        check(&index, 121, None);
        index.remove_before(Offset(5), &mut Vec::new());
        check(&index, 95, Some(6));
        check(&index, 90, Some(5));
        assert_eq!(index.newest().map(|e| e.base.0), Some(6));
    }

    #[test]
    fn removal_takes_whole_batches_only_and_counts_bytes() {
        let mut index = index();
        let mut removed = Vec::new();
        index.remove_before(Offset(3), &mut removed);
        assert!(removed.is_empty());
        assert_eq!(bases(index.before(Offset(7), 1)), [0]);
        index.remove_before(Offset(7), &mut removed);
        assert_eq!((bases(removed.iter()), index.bytes(), index.len()), (vec![0, 5], 20, 2));
    }

    #[test]
    fn an_entry_survives_its_encoding() {
        let produced = ProducedBatch {
            producer_id: 9,
            producer_epoch: 2,
            base_sequence: 5,
            last_sequence: 7,
            base_offset: Offset(40),
            last_offset: Offset(42),
            timestamp: 1_000,
            part: Part::None,
        };
        let e = entry(40, 42, 1_000, 99);
        for part in [Part::None, Part::Data, Part::Commit, Part::Abort] {
            let produced = ProducedBatch { part, ..produced };
            let value = Bytes::from(e.encode(&[produced]));
            assert!(value.len() + 17 <= entry_bytes_max(1));
            assert_eq!(Entry::decode(Offset(40), &value), Some((e, vec![produced])));
            assert_eq!(Entry::decode(Offset(40), &value.slice(1..)), None);
        }
    }
}
