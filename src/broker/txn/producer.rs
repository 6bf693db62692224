//! Producers: their ids, and what each partition remembers of them and of their transactions (KIP-98, KIP-360).
//!
//! A partition decides on the committer's thread, in the order of the log: a retry of a batch that is still under way
//! is decided after it, and finds it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;

use super::coordinator::COORDINATOR_EPOCH;
use crate::{
    broker::topic::{Offset, keys, writes::Writes},
    store::{Space, Store, StoreError, Ticket},
};

/// One batch of a producer, as its partition remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducedBatch {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub last_sequence: i32,
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// Its largest timestamp, or the broker's time with LogAppendTime.
    pub timestamp: i64,
    pub part: Part,
}

/// What a batch is to its producer's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    None,
    Data,
    Commit,
    Abort,
}

impl Part {
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Data => 1,
            Self::Commit => 2,
            Self::Abort => 3,
        }
    }

    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::None, Self::Data, Self::Commit, Self::Abort].into_iter().find(|part| part.number() == number)
    }
}

/// What a batch's sequence numbers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The next one of its producer.
    Append,
    /// It is in the log already, here.
    Duplicate(ProducedBatch),
    OutOfOrderSequence,
    InvalidProducerEpoch,
    /// It belongs to a transaction that this partition is not part of; or to none, and its producer has one open here.
    InvalidTxnState,
}

/// A batch that asks to be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub last_sequence: i32,
    pub is_transactional: bool,
}

/// The producers that one partition remembers.
#[derive(Debug, Default)]
pub struct Producers {
    pub(super) known: HashMap<i64, Producer>,
    /// Who has a transaction that this partition was added to, and in which epoch: by the coordinator's Changes.
    pub(super) ongoing: HashMap<i64, i16>,
}

#[derive(Debug)]
pub(super) struct Producer {
    pub(super) epoch: i16,
    /// The last batches of this epoch, oldest first.
    pub(super) batches: VecDeque<ProducedBatch>,
    pub(super) last_timestamp: i64,
    /// Of the last end marker.
    pub(super) coordinator_epoch: Option<i32>,
    /// Of its last batch or end marker.
    pub(super) last_offset: Offset,
    /// What lies before this was written down (`saved.rs`).
    pub(super) saved_to: Option<Offset>,
}

impl Producers {
    /// This partition is part of a transaction of that producer.
    pub fn on_added(&mut self, producer: ProducerIdentity) {
        self.ongoing.insert(producer.id, producer.epoch);
    }

    /// Decides; does not remember.
    #[must_use]
    pub fn verdict(&self, claim: Claim) -> Verdict {
        // A producer nobody knows may begin anywhere: its state may have expired or been removed with its records.
        let Some(producer) = self.known.get(&claim.producer_id) else { return self.in_transaction(claim) };
        if claim.producer_epoch < producer.epoch {
            return Verdict::InvalidProducerEpoch;
        }
        if claim.producer_epoch > producer.epoch {
            let begins = claim.base_sequence == 0;
            return if begins { self.in_transaction(claim) } else { Verdict::OutOfOrderSequence };
        }
        let same = |b: &&ProducedBatch| {
            (b.base_sequence, b.last_sequence) == (claim.base_sequence, claim.last_sequence)
        };
        if let Some(known) = producer.batches.iter().find(same) {
            return Verdict::Duplicate(*known);
        }
        let expected = producer.batches.back().map_or(0, |b| next_sequence(b.last_sequence));
        if claim.base_sequence == expected { self.in_transaction(claim) } else { Verdict::OutOfOrderSequence }
    }

    /// A batch that comes after its transaction's end would stay open for ever (KIP-890).
    fn in_transaction(&self, claim: Claim) -> Verdict {
        let ongoing = self.ongoing.get(&claim.producer_id);
        if claim.is_transactional == (ongoing == Some(&claim.producer_epoch)) {
            Verdict::Append
        } else {
            Verdict::InvalidTxnState
        }
    }

    /// Remembers a batch that got its place in the log.
    pub fn on_appended(&mut self, batch: ProducedBatch) {
        let made = || Producer {
            epoch: batch.producer_epoch,
            batches: VecDeque::new(),
            last_timestamp: batch.timestamp,
            coordinator_epoch: None,
            last_offset: batch.last_offset,
            saved_to: None,
        };
        let producer = self.known.entry(batch.producer_id).or_insert_with(made);
        (producer.last_timestamp, producer.last_offset) = (batch.timestamp, batch.last_offset);
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.batches.clear();
        }
        match batch.part {
            Part::None | Part::Data => {}
            Part::Commit | Part::Abort => {
                self.ongoing.remove(&batch.producer_id);
                producer.coordinator_epoch = Some(COORDINATOR_EPOCH);
                return;
            }
        }
        if producer.batches.len() == BATCHES_REMEMBERED {
            producer.batches.pop_front();
        }
        producer.batches.push_back(batch);
    }

    /// Forgets producers that have written nothing after `before_ms`; gives those that were written down.
    pub fn expire(&mut self, before_ms: i64) -> Vec<i64> {
        let ongoing = &self.ongoing;
        let is_over = |id: &i64, p: &Producer| p.last_timestamp <= before_ms && !ongoing.contains_key(id);
        let over = self.known.extract_if(|id, producer| is_over(id, producer));
        over.filter_map(|(id, producer)| producer.saved_to.map(|_| id)).collect()
    }

    /// The last offset of each producer's last batch, `None` if only its markers are known, and its epoch.
    pub(in crate::broker) fn last_batches(&self) -> HashMap<i64, (Option<Offset>, i16)> {
        let last = |p: &Producer| (p.batches.back().map(|b| b.last_offset), p.epoch);
        self.known.iter().map(|(id, producer)| (*id, last(producer))).collect()
    }

    /// Id, epoch, last sequence, last timestamp, and the epoch of the coordinator that ended its last transaction here.
    pub(in crate::broker) fn each(&self) -> impl Iterator<Item = (i64, i16, Option<i32>, i64, Option<i32>)> {
        self.known.iter().map(|(id, p)| {
            (*id, p.epoch, p.batches.back().map(|b| b.last_sequence), p.last_timestamp, p.coordinator_epoch)
        })
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

/// Kafka remembers five, because a client keeps at most five requests in flight.
const BATCHES_REMEMBERED: usize = 5;

fn next_sequence(last: i32) -> i32 {
    last.checked_add(1).unwrap_or(0)
}

/// A producer's name, as InitProducerId gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdentity {
    pub id: i64,
    pub epoch: i16,
}

/// Gives producer ids out, each only once for ever: a block of them is reserved in the store before its first is used.
pub struct ProducerIds {
    block: Mutex<Block>,
    store: Store,
}

#[derive(Debug)]
struct Block {
    next: i64,
    reserved_to: i64,
    /// The reservation that covers `next`.
    ticket: Ticket,
}

impl ProducerIds {
    /// Continues behind everything that was ever reserved.
    pub fn recover(store: Store) -> Result<Arc<Self>, StoreError> {
        let value = store.get(Space::State, keys::NEXT_PRODUCER_ID)?;
        let next = value.and_then(|v| v.as_ref().try_into().ok()).map_or(0, i64::from_be_bytes);
        let block = Block { next, reserved_to: next, ticket: Ticket::default() };
        Ok(Arc::new(Self { block: Mutex::new(block), store }))
    }

    /// A new producer, epoch 0. Waits for the reservation if a new block is begun.
    pub async fn allocate(&self) -> Result<ProducerIdentity, StoreError> {
        let (id, ticket) = {
            let mut block = self.block.lock();
            if block.next >= block.reserved_to {
                block.reserved_to = block.next.saturating_add(BLOCK_IDS);
                let mut writes = Writes::default();
                let value = block.reserved_to.to_be_bytes().to_vec();
                writes.put(Space::State, keys::NEXT_PRODUCER_ID.to_vec(), value);
                block.ticket = writes.submit(&self.store, drop);
            }
            let id = block.next;
            block.next = id.saturating_add(1);
            (id, block.ticket)
        };
        self.store.durable(ticket).await?;
        Ok(ProducerIdentity { id, epoch: 0 })
    }
}

/// Kafka's block size.
const BLOCK_IDS: i64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(producer_epoch: i16, base_sequence: i32, last_sequence: i32) -> Claim {
        Claim { producer_id: 1, producer_epoch, base_sequence, last_sequence, is_transactional: false }
    }

    fn append(producers: &mut Producers, c: Claim, base_offset: i64) {
        assert_eq!(producers.verdict(c), Verdict::Append, "{c:?}");
        producers.on_appended(ProducedBatch {
            producer_id: c.producer_id,
            producer_epoch: c.producer_epoch,
            base_sequence: c.base_sequence,
            last_sequence: c.last_sequence,
            base_offset: Offset(base_offset),
            last_offset: Offset(base_offset),
            timestamp: base_offset,
            part: if c.is_transactional { Part::Data } else { Part::None },
        });
    }

    fn end(producers: &mut Producers, part: Part, producer_epoch: i16) {
        let (base_offset, last_offset) = (Offset(90), Offset(90));
        let (base_sequence, last_sequence, timestamp) = (-1, -1, 90);
        let producer_id = 1;
        producers.on_appended(ProducedBatch {
            producer_id,
            producer_epoch,
            base_sequence,
            last_sequence,
            base_offset,
            last_offset,
            timestamp,
            part,
        });
    }

    #[test]
    fn a_transactional_batch_needs_its_transaction_and_others_must_not_come_in_between() {
        let mut producers = Producers::default();
        let in_transaction = |c: Claim| Claim { is_transactional: true, ..c };
        assert_eq!(producers.verdict(in_transaction(claim(0, 0, 0))), Verdict::InvalidTxnState);
        producers.on_added(ProducerIdentity { id: 1, epoch: 0 });
        append(&mut producers, in_transaction(claim(0, 0, 0)), 1);
        assert_eq!(producers.verdict(claim(0, 1, 1)), Verdict::InvalidTxnState);
        end(&mut producers, Part::Commit, 0);
        assert_eq!(producers.verdict(in_transaction(claim(0, 1, 1))), Verdict::InvalidTxnState);
        producers.on_added(ProducerIdentity { id: 1, epoch: 0 });
        append(&mut producers, in_transaction(claim(0, 1, 1)), 2);
        end(&mut producers, Part::Abort, 1);
        assert_eq!(producers.verdict(in_transaction(claim(0, 2, 2))), Verdict::InvalidProducerEpoch);
        producers.on_added(ProducerIdentity { id: 1, epoch: 1 });
        assert_eq!(producers.verdict(in_transaction(claim(1, 2, 2))), Verdict::OutOfOrderSequence);
        append(&mut producers, in_transaction(claim(1, 0, 0)), 3);
    }

    #[test]
    fn sequences_follow_each_other_and_retries_get_the_original_offset() {
        let mut producers = Producers::default();
        for n in 0..7 {
            append(&mut producers, claim(0, n * 2, n * 2 + 1), 100 + i64::from(n));
        }
        let check = |c: Claim, expected: Result<i64, Verdict>| {
            let verdict = producers.verdict(c);
            let seen =
                if let Verdict::Duplicate(known) = verdict { Ok(known.base_offset.0) } else { Err(verdict) };
            assert_eq!(seen, expected, "{c:?}");
        };
        check(claim(0, 12, 13), Ok(106));
        check(claim(0, 4, 5), Ok(102));
        check(claim(0, 2, 3), Err(Verdict::OutOfOrderSequence)); // the sixth before: forgotten
        check(claim(0, 12, 14), Err(Verdict::OutOfOrderSequence));
        check(claim(0, 15, 15), Err(Verdict::OutOfOrderSequence));
        check(claim(0, 14, 14), Err(Verdict::Append));
        check(claim(1, 0, 0), Err(Verdict::Append));
        check(claim(1, 14, 14), Err(Verdict::OutOfOrderSequence));
        check(claim(-1, 14, 14), Err(Verdict::InvalidProducerEpoch));
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_fences_the_old_one() {
        let mut producers = Producers::default();
        append(&mut producers, claim(3, 0, 9), 1);
        append(&mut producers, claim(4, 0, 0), 2);
        assert_eq!(producers.verdict(claim(3, 10, 10)), Verdict::InvalidProducerEpoch);
        assert_eq!(producers.verdict(claim(4, 1, 1)), Verdict::Append);
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let mut producers = Producers::default();
        append(&mut producers, claim(0, i32::MAX - 1, i32::MAX), 1);
        append(&mut producers, claim(0, 0, 4), 2);
        append(&mut producers, claim(0, 5, 5), 3);
    }

    #[test]
    fn an_unknown_producer_may_begin_anywhere_and_an_idle_one_is_forgotten() {
        let mut producers = Producers::default();
        append(&mut producers, claim(0, 77, 78), 50);
        producers.expire(49);
        assert_eq!(producers.len(), 1);
        producers.expire(50);
        assert!(producers.is_empty());
        append(&mut producers, claim(0, 5, 5), 60);
    }
}
