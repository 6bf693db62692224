//! Where the batches of a partition lie: one entry for each append, in some four bytes.
//!
//! The newest entries lie open; a hundred and some of them at a time are packed into a block. An entry of a block is
//! what differs from what its predecessor lets one expect: mostly the time, and how far the next frame of the log is.

use std::collections::VecDeque;

use super::{Offset, entry::Entry};
use crate::{
    data::record::varint::{put_varlong, varlong},
    store::Place,
};

/// Entries of a block, at most.
const BLOCK_ENTRIES: usize = 128;

/// The entries of one partition.
#[derive(Debug, Default)]
pub(super) struct Index {
    blocks: VecDeque<Block>,
    /// Behind the blocks, not packed yet.
    open: Vec<Entry>,
    bytes: u64,
}

/// Some entries that follow each other.
#[derive(Debug)]
struct Block {
    last: Offset,
    /// In the block.
    max_timestamp: i64,
    /// Up to the block's end: never falls from block to block, so that time can be looked up by halving.
    max_timestamp_so_far: i64,
    /// The first and the last of them that an entry points into.
    segments: (u32, u32),
    packed: Box<[u8]>,
}

impl Index {
    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        self.open.push(entry);
        if self.open.len() >= BLOCK_ENTRIES {
            self.blocks.push_back(Block::pack(&self.open, self.max_timestamp_so_far()));
            self.open.clear();
        }
    }

    /// Bytes of all batches.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn last(&self) -> Option<Entry> {
        self.open.last().copied().or_else(|| self.blocks.back()?.entries().last())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Entry> {
        self.blocks.iter().flat_map(Block::entries).chain(self.open.iter().copied())
    }

    /// The entry that holds `offset` (or the first one behind it), and all that follow.
    pub(super) fn since_offset(&self, offset: Offset) -> impl Iterator<Item = Entry> {
        let at = self.blocks.partition_point(|b| b.last < offset);
        let packed = self.blocks.range(at..).flat_map(Block::entries).skip_while(move |e| e.last() < offset);
        let open = self.open.partition_point(|e| e.last() < offset);
        packed.chain(self.open.get(open..).unwrap_or_default().iter().copied())
    }

    /// The entries that may hold the first record with a timestamp of at least `timestamp`, in order.
    pub(super) fn since_time(&self, timestamp: i64) -> impl Iterator<Item = Entry> {
        let at = self.blocks.partition_point(|b| b.max_timestamp_so_far < timestamp);
        // What made the largest timestamp so far may have been removed since.
        let blocks = self.blocks.range(at..).filter(move |b| b.max_timestamp >= timestamp);
        let packed = blocks.flat_map(Block::entries);
        packed.chain(self.open.iter().copied()).filter(move |e| e.max_timestamp >= timestamp)
    }

    /// The first entry with the largest timestamp of all.
    pub(super) fn newest(&self) -> Option<Entry> {
        let max = self.blocks.iter().map(|b| b.max_timestamp).max();
        let max = max.into_iter().chain(self.open.iter().map(|e| e.max_timestamp)).max()?;
        self.since_time(max).next()
    }

    /// The entries that point into that segment.
    pub(super) fn in_segment(&self, segment: u32) -> impl Iterator<Item = Entry> {
        let holds = move |b: &&Block| (b.segments.0..=b.segments.1).contains(&segment);
        let packed = self.blocks.iter().filter(holds).flat_map(Block::entries);
        packed.chain(self.open.iter().copied()).filter(move |e| e.place.segment == segment)
    }

    /// The entry at `base` has moved. False: it is not there (any more).
    pub(super) fn relocate(&mut self, base: Offset, from: Place, to: Place) -> bool {
        let found = self.since_offset(base).next().filter(|e| e.base == base && e.place == from);
        let Some(entry) = found else { return false };
        self.replace(entry.base, entry.last(), &[Entry { place: to, ..entry }], &mut Vec::new());
        true
    }

    /// The entries that lie wholly before `offset`, from the front, at most `max`.
    pub(super) fn before(&self, offset: Offset, max: usize) -> impl Iterator<Item = Entry> {
        self.iter().take_while(move |e| e.last() < offset).take(max)
    }

    /// Removes what lies wholly before `offset`.
    pub(super) fn remove_before(&mut self, offset: Offset, removed: &mut Vec<Entry>) {
        let before = removed.len();
        while let Some(block) = self.blocks.pop_front_if(|b| b.last < offset) {
            removed.extend(block.entries());
        }
        if let Some(block) = self.blocks.front_mut() {
            let mut kept: Vec<Entry> = block.entries().collect();
            let gone = kept.partition_point(|e| e.last() < offset);
            if gone > 0 {
                removed.extend(kept.drain(..gone));
                // As high as it was: what follows has counted with it.
                *block = Block::pack(&kept, block.max_timestamp_so_far);
            }
        } else {
            let gone = self.open.partition_point(|e| e.last() < offset);
            removed.extend(self.open.drain(..gone));
        }
        self.bytes -= removed.iter().skip(before).map(Entry::bytes).sum::<u64>();
    }

    /// Puts `new` in the place of the entries from the one at `first` to the one that ends at `last`.
    pub(super) fn replace(&mut self, first: Offset, last: Offset, new: &[Entry], removed: &mut Vec<Entry>) {
        let from = self.blocks.partition_point(|b| b.last < first);
        // The block in which the range ends may hold entries behind it.
        let to = (self.blocks.partition_point(|b| b.last <= last) + 1).min(self.blocks.len());
        let to_the_end = to == self.blocks.len();
        let mut entries: Vec<Entry> = self.blocks.range(from..to).flat_map(Block::entries).collect();
        if to_the_end {
            entries.append(&mut self.open);
        }
        let start = entries.partition_point(|e| e.last() < first);
        let end = entries.partition_point(|e| e.base <= last).max(start);
        let gone: Vec<Entry> = entries.splice(start..end, new.iter().copied()).collect();
        self.bytes += new.iter().map(Entry::bytes).sum::<u64>();
        self.bytes -= gone.iter().map(Entry::bytes).sum::<u64>();
        removed.extend(gone);
        let behind = self.blocks.split_off(to);
        self.blocks.truncate(from);
        for some in entries.chunks(BLOCK_ENTRIES) {
            if to_the_end && some.len() < BLOCK_ENTRIES {
                self.open = some.to_vec();
            } else {
                self.blocks.push_back(Block::pack(some, self.max_timestamp_so_far()));
            }
        }
        self.blocks.extend(behind);
    }

    /// The largest timestamp in the blocks.
    fn max_timestamp_so_far(&self) -> i64 {
        self.blocks.back().map_or(i64::MIN, |b| b.max_timestamp_so_far)
    }
}

impl Block {
    fn pack(entries: &[Entry], max_timestamp_before: i64) -> Self {
        let mut packed = Vec::with_capacity(entries.len() * 4);
        let mut expected = Expected::FIRST;
        for entry in entries {
            expected.write(entry, &mut packed);
            expected.follow(entry);
        }
        let max_timestamp = entries.iter().map(|e| e.max_timestamp).max().unwrap_or(i64::MIN);
        let segments = entries.iter().map(|e| e.place.segment);
        Self {
            last: entries.last().map_or(Offset(-1), Entry::last),
            max_timestamp,
            max_timestamp_so_far: max_timestamp.max(max_timestamp_before),
            segments: (segments.clone().min().unwrap_or(0), segments.max().unwrap_or(0)),
            packed: packed.into(),
        }
    }

    fn entries(&self) -> Entries<'_> {
        Entries { packed: &self.packed, expected: Expected::FIRST }
    }
}

/// The entries of a block.
#[derive(Debug)]
struct Entries<'a> {
    packed: &'a [u8],
    expected: Expected,
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let (entry, rest) = self.expected.read(self.packed)?;
        self.packed = rest;
        self.expected.follow(&entry);
        Some(entry)
    }
}

/// What an entry is if nothing changes: it follows its predecessor, is as large, and lies as far behind it.
#[derive(Debug)]
struct Expected {
    entry: Entry,
    /// From the end of one chunk to the next: the frame around it.
    gap: i64,
    /// The end of the chunk before.
    end: i64,
}

/// Which fields are not as expected, and follow as differences.
const BASE: u8 = 1;
const LAST_OFFSET_DELTA: u8 = 2;
const MAX_TIMESTAMP: u8 = 4;
const SEGMENT: u8 = 8;
const GAP: u8 = 16;
const LEN: u8 = 32;

impl Expected {
    /// Nothing is expected of a block's first entry.
    const FIRST: Self = Self {
        entry: Entry { base: Offset(0), last_offset_delta: 0, max_timestamp: 0, place: Entry::NOWHERE },
        gap: 0,
        end: 0,
    };

    fn follow(&mut self, entry: &Entry) {
        let in_same_segment = entry.place.segment == self.entry.place.segment;
        if in_same_segment {
            self.gap = i64::from(entry.place.offset) - self.end;
        }
        self.end = i64::from(entry.place.offset) + i64::from(entry.place.len);
        self.entry = Entry { base: Offset(entry.last().0 + 1), ..*entry };
    }

    /// The differences of each field, in the order of the flags.
    fn differences(&self, entry: &Entry) -> [i64; 6] {
        let expected = &self.entry;
        let segment = i64::from(entry.place.segment) - i64::from(expected.place.segment);
        // In another segment the offset counts from its start.
        let end = if segment == 0 { self.end + self.gap } else { 0 };
        [
            entry.base.0.wrapping_sub(expected.base.0),
            i64::from(entry.last_offset_delta) - i64::from(expected.last_offset_delta),
            entry.max_timestamp.wrapping_sub(expected.max_timestamp),
            segment,
            i64::from(entry.place.offset) - end,
            i64::from(entry.place.len) - i64::from(expected.place.len),
        ]
    }

    fn write(&self, entry: &Entry, out: &mut Vec<u8>) {
        let differences = self.differences(entry).into_iter().zip(FLAGS);
        out.push(differences.clone().filter(|(n, _)| *n != 0).fold(0, |all, (_, flag)| all | flag));
        differences.filter(|(n, _)| *n != 0).for_each(|(n, _)| put_varlong(out, n));
    }

    fn read<'a>(&self, packed: &'a [u8]) -> Option<(Entry, &'a [u8])> {
        let (&flags, mut rest) = packed.split_first()?;
        let mut differences = [0; 6];
        for (difference, flag) in differences.iter_mut().zip(FLAGS) {
            if flags & flag != 0 {
                (rest, *difference) = varlong(rest).ok()?;
            }
        }
        let [base, last_offset_delta, max_timestamp, segment, gap, len] = differences;
        let expected = &self.entry;
        let end = if segment == 0 { self.end + self.gap } else { 0 };
        let moved = |from: u32, by: i64| u32::try_from(i64::from(from) + by).ok();
        let place = Place {
            segment: moved(expected.place.segment, segment)?,
            offset: u32::try_from(end + gap).ok()?,
            len: moved(expected.place.len, len)?,
        };
        let entry = Entry {
            base: Offset(expected.base.0.wrapping_add(base)),
            last_offset_delta: moved(expected.last_offset_delta, last_offset_delta)?,
            max_timestamp: expected.max_timestamp.wrapping_add(max_timestamp),
            place,
        };
        Some((entry, rest))
    }
}

const FLAGS: [u8; 6] = [BASE, LAST_OFFSET_DELTA, MAX_TIMESTAMP, SEGMENT, GAP, LEN];

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::{super::entry::entry, *};

    fn bases(entries: impl Iterator<Item = Entry>) -> Vec<i64> {
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
        assert_eq!((bases(removed.into_iter()), index.bytes(), index.iter().count()), (vec![0, 5], 20, 2));
    }

    /// A stretch of entries as a log brings them: mostly alike, sometimes not.
    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let odd = (0..4_i64, 0..3_u32, -5..5_i64, 0..20_u32, 1..500_u32);
        vec((any::<bool>(), odd), 1..600).prop_map(|changes| {
            let (mut base, mut place, mut time) = (0, Place { segment: 1, offset: 0, len: 90 }, 1_000);
            let mut all = Vec::new();
            let mut last_offset_delta = 0;
            for (change, (hole, delta, later, gap, len)) in changes {
                if change {
                    (base, last_offset_delta, time) = (base + hole, delta, time + later);
                    place = if gap == 7 {
                        Place { segment: place.segment + 1, offset: 12, len }
                    } else {
                        Place { offset: place.offset + gap, len, ..place }
                    };
                }
                all.push(Entry { base: Offset(base), last_offset_delta, max_timestamp: time, place });
                base += i64::from(last_offset_delta) + 1;
                place.offset += place.len + 40;
            }
            all
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(11), ..ProptestConfig::default() })]
        #[test]
        fn it_answers_as_a_plain_list_does(all in entries(), steps in vec((0..5_u8, any::<prop::sample::Index>(), 1..200_usize), 0..12)) {
            let mut index = Index::default();
            all.iter().for_each(|e| index.push(*e));
            let mut plain = all.clone();
            for (step, at, count) in steps {
                if plain.is_empty() {
                    break;
                }
                let at = at.index(plain.len());
                let some = plain[at];
                let to = (at + count).min(plain.len());
                let mut removed = Vec::new();
                match step {
                    0 => {
                        index.remove_before(some.base, &mut removed);
                        prop_assert_eq!(removed, plain.drain(..at).collect::<Vec<_>>());
                    }
                    1 | 2 => {
                        let place = Place { segment: 9, offset: 3, len: 70 };
                        let merged = Entry { place, ..some };
                        let new = if step == 1 { vec![merged] } else { vec![] };
                        index.replace(some.base, plain[to - 1].last(), &new, &mut removed);
                        prop_assert_eq!(removed, plain.splice(at..to, new).collect::<Vec<_>>());
                    }
                    3 => {
                        let place = Place { segment: 8, offset: 5, len: some.place.len };
                        prop_assert!(index.relocate(some.base, some.place, place));
                        let elsewhere = Place { segment: 77, ..some.place };
                        prop_assert!(!index.relocate(some.base, elsewhere, place));
                        plain[at].place = place;
                    }
                    _ => {
                        let base = Offset(plain.last().unwrap().last().0 + 3);
                        let next = Entry { base, ..some };
                        index.push(next);
                        plain.push(next);
                    }
                }
                prop_assert_eq!(index.iter().collect::<Vec<_>>(), plain.clone());
                prop_assert_eq!(index.bytes(), plain.iter().map(Entry::bytes).sum::<u64>());
                prop_assert_eq!(index.last(), plain.last().copied());
                let since = plain.iter().copied().skip_while(|e| e.last() < some.base);
                prop_assert_eq!(index.since_offset(some.base).collect::<Vec<_>>(), since.collect::<Vec<_>>());
                let time = some.max_timestamp;
                let later = plain.iter().copied().filter(|e| e.max_timestamp >= time);
                let first = index.since_time(time).next();
                prop_assert_eq!(first, later.clone().next());
                prop_assert_eq!(index.newest(), plain.iter().rev().max_by_key(|e| e.max_timestamp).copied());
                let inside = plain.iter().copied().filter(|e| e.place.segment == 9);
                prop_assert_eq!(index.in_segment(9).collect::<Vec<_>>(), inside.collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn ten_million_appends_of_one_record_take_few_bytes_each() {
        let mut index = Index::default();
        let (mut offset, mut time) = (0_u32, 1_700_000_000_000);
        for base in 0..100_000 {
            // Half of them come in the same millisecond as the one before.
            time += i64::from(base % 2 == 0);
            let place =
                Place { segment: offset / 60_000_000, offset: offset % 60_000_000, len: 170 + (offset % 3) };
            index.push(Entry { base: Offset(base), last_offset_delta: 0, max_timestamp: time, place });
            offset += place.len + 96;
        }
        let packed: usize = index.blocks.iter().map(|b| b.packed.len() + size_of::<Block>()).sum();
        assert!(packed < 100_000 * 5, "{packed}");
    }
}
