//! The transactions of one partition as its readers see them: where open ones begin, and which ranges were aborted.
//!
//! Follows what is committed to the log, batch by batch, and is rebuilt from the index after a restart. Whether a
//! producer may write is decided elsewhere (`txn/producer.rs`), ahead of this: as of the end of the log.

use std::collections::{BTreeSet, HashMap, VecDeque, hash_map::Entry};

use super::Offset;
use crate::broker::txn::producer::{Part, ProducedBatch};

/// From an aborted transaction's first batch to its end marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted {
    pub producer_id: i64,
    pub first_offset: Offset,
    /// The marker's.
    pub last_offset: Offset,
}

#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// By producer, and again in the order of the offsets.
    open: HashMap<i64, Offset>,
    firsts: BTreeSet<Offset>,
    /// In the order of their ends.
    aborted: VecDeque<Aborted>,
}

impl Transactions {
    pub(super) fn on_committed(&mut self, batch: &ProducedBatch) {
        match batch.part {
            Part::None => {}
            Part::Data => {
                if let Entry::Vacant(open) = self.open.entry(batch.producer_id) {
                    open.insert(batch.base_offset);
                    self.firsts.insert(batch.base_offset);
                }
            }
            Part::Commit => drop(self.close(batch.producer_id)),
            Part::Abort => {
                if let Some(first_offset) = self.close(batch.producer_id) {
                    let (producer_id, last_offset) = (batch.producer_id, batch.last_offset);
                    self.aborted.push_back(Aborted { producer_id, first_offset, last_offset });
                }
            }
        }
    }

    fn close(&mut self, producer_id: i64) -> Option<Offset> {
        let first = self.open.remove(&producer_id)?;
        self.firsts.remove(&first);
        Some(first)
    }

    /// Where that producer's open transaction begins.
    pub(super) fn start_of(&self, producer_id: i64) -> Option<Offset> {
        self.open.get(&producer_id).copied()
    }

    /// Where the oldest open transaction begins.
    pub(super) fn first_open(&self) -> Option<Offset> {
        self.firsts.first().copied()
    }

    /// What was aborted and has records from `from` to before `end`, in the order of their first offsets.
    pub(super) fn aborted(&self, from: Offset, end: Offset) -> Vec<Aborted> {
        let at = self.aborted.partition_point(|a| a.last_offset < from);
        let mut found: Vec<Aborted> =
            self.aborted.range(at..).filter(|a| a.first_offset < end).copied().collect();
        found.sort_by_key(|a| a.first_offset);
        found
    }

    /// Those end markers are no longer in the log, nor is anything that they ended.
    pub(super) fn forget(&mut self, markers: &[Offset]) {
        self.aborted.retain(|a| !markers.contains(&a.last_offset));
    }

    /// The log starts at `offset` now.
    pub(super) fn remove_before(&mut self, offset: Offset) {
        while self.aborted.pop_front_if(|a| a.last_offset < offset).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(producer_id: i64, offset: i64, part: Part) -> ProducedBatch {
        let (base_offset, last_offset) = (Offset(offset), Offset(offset));
        ProducedBatch {
            producer_id,
            producer_epoch: 0,
            base_sequence: 0,
            last_sequence: 0,
            base_offset,
            last_offset,
            timestamp: 0,
            part,
        }
    }

    #[test]
    fn the_oldest_open_transaction_holds_readers_back_and_aborted_ranges_are_told_by_their_first_offset() {
        let mut transactions = Transactions::default();
        let mut step = |producer_id: i64, offset: i64, part: Part, first_open: Option<i64>| {
            transactions.on_committed(&batch(producer_id, offset, part));
            assert_eq!(transactions.first_open(), first_open.map(Offset), "after {offset}");
        };
        step(1, 0, Part::Data, Some(0));
        step(2, 1, Part::Data, Some(0));
        step(3, 2, Part::None, Some(0));
        step(1, 3, Part::Data, Some(0));
        step(2, 4, Part::Abort, Some(0));
        step(1, 5, Part::Abort, None);
        step(2, 6, Part::Data, Some(6));
        step(2, 7, Part::Commit, None);
        step(9, 8, Part::Abort, None);
        let aborted = |from: i64, end: i64| {
            let found = transactions.aborted(Offset(from), Offset(end));
            found.iter().map(|a| (a.producer_id, a.first_offset.0)).collect::<Vec<_>>()
        };
        assert_eq!(aborted(0, 9), [(1, 0), (2, 1)]);
        assert_eq!(aborted(0, 1), [(1, 0)]);
        assert_eq!(aborted(5, 9), [(1, 0)]);
        assert_eq!(aborted(6, 9), []);
        transactions.remove_before(Offset(5));
        assert_eq!(transactions.aborted.len(), 1);
    }
}
