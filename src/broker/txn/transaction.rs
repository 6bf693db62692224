//! One transactional id: its producer, and the transaction it has open. A pure machine; the shell is `coordinator.rs`.
//!
//! ```text
//!             add                    end (commit)
//!   Empty ───────────▶ Ongoing ─────────────────────▶ CompleteCommit ──┐
//!                      ▲  ▲ │ end (abort), timeout,                    │ add
//!                      │  │ │ InitProducerId                           │
//!                      │  │ └──────────────────────▶ CompleteAbort ──┐ │
//!                      │  └──────────────────────────────────────────┴─┘
//! ```
//! Kafka's PrepareCommit and PrepareAbort do not exist: the end is one Change. While it is on its way to disk the
//! coordinator answers CONCURRENT_TRANSACTIONS. (KIP-98, KIP-360, KIP-890.)

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use uuid::Uuid;

use super::producer::ProducerIdentity;
use crate::broker::{
    group::offsets::{Committed, TopicPartition},
    topic::keys::{Reader, Writer},
};

/// Offsets that a transaction commits with it: by group.
pub type PendingOffsets = BTreeMap<Arc<str>, BTreeMap<TopicPartition, Committed>>;

/// What an open transaction has touched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ongoing {
    /// Domain time.
    pub started_ms: i64,
    pub partitions: BTreeSet<TopicPartition>,
    pub offsets: PendingOffsets,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Empty,
    Ongoing(Ongoing),
    CompleteCommit,
    CompleteAbort,
}

impl State {
    /// Kafka's name for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing(_) => "Ongoing",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }
}

/// Why the coordinator refuses: Kafka's names. The codes are the door's, some of them by version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TxnError {
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    #[error("another request of this transactional id is under way")]
    ConcurrentTransactions,
    #[error("the producer id is not the transactional id's")]
    InvalidProducerIdMapping,
    #[error("a newer instance of this producer has been started")]
    ProducerFenced,
    #[error("the transaction is not in a state for that")]
    InvalidTxnState,
}

/// A transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub producer: ProducerIdentity,
    /// Whom the last bump replaced at its own wish: it may ask again, because the answer may have been lost.
    pub previous: Option<ProducerIdentity>,
    pub timeout_ms: i32,
    pub state: State,
    pub changed_ms: i64,
}

/// An end that was decided: the transaction to be, and whose marker with which epoch goes into its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub next: Transaction,
    pub marker: ProducerIdentity,
    pub committed: bool,
    pub ongoing: Ongoing,
}

/// What a request comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing changes: it was done already.
    Done(ProducerIdentity),
    /// The record changes; there is nothing to end.
    Put(Transaction),
    End(Box<Ending>),
}

impl Transaction {
    #[must_use]
    pub fn new(producer: ProducerIdentity, timeout_ms: i32, now_ms: i64) -> Self {
        Self { producer, previous: None, timeout_ms, state: State::Empty, changed_ms: now_ms }
    }

    /// Whether the next bump needs a new producer id.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.producer.epoch >= EPOCH_MAX
    }

    /// When the open transaction has taken too long.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<i64> {
        match &self.state {
            State::Ongoing(ongoing) => Some(ongoing.started_ms.saturating_add(self.timeout_ms.into())),
            State::Empty | State::CompleteCommit | State::CompleteAbort => None,
        }
    }

    /// InitProducerId. `fresh` is an unused producer id, for when the epochs of this one are used up.
    pub fn init(
        &self,
        now_ms: i64,
        timeout_ms: i32,
        expected: Option<ProducerIdentity>,
        fresh: Option<i64>,
    ) -> Result<Step, TxnError> {
        match expected {
            Some(expected) if expected != self.producer => {
                return if self.previous == Some(expected) && self.deadline_ms().is_none() {
                    Ok(Step::Done(self.producer))
                } else {
                    Err(TxnError::ProducerFenced)
                };
            }
            Some(_) | None => {}
        }
        let mut next = self.bumped(now_ms, fresh)?;
        next.timeout_ms = timeout_ms;
        // Nobody asked in the old one's name: then it is fenced for good.
        next.previous = expected;
        Ok(match &self.state {
            State::Ongoing(ongoing) => self.ending(next, false, ongoing),
            State::Empty | State::CompleteCommit | State::CompleteAbort => {
                Step::Put(Self { state: State::Empty, ..next })
            }
        })
    }

    /// The next epoch, or the first of another producer id.
    fn bumped(&self, now_ms: i64, fresh: Option<i64>) -> Result<Self, TxnError> {
        let producer = if self.is_exhausted() {
            ProducerIdentity { id: fresh.ok_or(TxnError::CoordinatorNotAvailable)?, epoch: 0 }
        } else {
            ProducerIdentity { epoch: self.producer.epoch.saturating_add(1), ..self.producer }
        };
        Ok(Self { producer, changed_ms: now_ms, ..self.clone() })
    }

    fn ending(&self, next: Self, committed: bool, ongoing: &Ongoing) -> Step {
        let state = if committed { State::CompleteCommit } else { State::CompleteAbort };
        let next = Self { state, ..next };
        // With a new producer id, the marker ends the old one's epochs.
        let marker = if next.producer.id == self.producer.id {
            next.producer
        } else {
            ProducerIdentity { epoch: self.producer.epoch.saturating_add(1), ..self.producer }
        };
        Step::End(Box::new(Ending { next, marker, committed, ongoing: ongoing.clone() }))
    }

    /// Whether `producer` may speak for this id.
    pub fn check(&self, producer: ProducerIdentity) -> Result<(), TxnError> {
        if producer.id != self.producer.id {
            Err(TxnError::InvalidProducerIdMapping)
        } else if producer.epoch != self.producer.epoch {
            Err(TxnError::ProducerFenced)
        } else {
            Ok(())
        }
    }

    /// The open transaction, begun now if there is none.
    pub fn open(&mut self, now_ms: i64) -> &mut Ongoing {
        if !matches!(self.state, State::Ongoing(_)) {
            self.state = State::Ongoing(Ongoing { started_ms: now_ms, ..Ongoing::default() });
            // The client has the answer to its last bump, since it goes on.
            self.previous = None;
            self.changed_ms = now_ms;
        }
        match &mut self.state {
            State::Ongoing(ongoing) => ongoing,
            State::Empty | State::CompleteCommit | State::CompleteAbort => {
                unreachable!("it has just been opened")
            }
        }
    }

    /// EndTxn of the first protocol: the epoch stays.
    pub fn end(&self, now_ms: i64, producer: ProducerIdentity, committed: bool) -> Result<Step, TxnError> {
        self.check(producer)?;
        let same = Self { changed_ms: now_ms, ..self.clone() };
        match (&self.state, committed) {
            (State::Ongoing(ongoing), _) => Ok(self.ending(same, committed, ongoing)),
            (State::CompleteCommit, true) | (State::CompleteAbort, false) => Ok(Step::Done(self.producer)),
            (State::CompleteCommit, false) | (State::CompleteAbort, true) | (State::Empty, _) => {
                Err(TxnError::InvalidTxnState)
            }
        }
    }

    /// EndTxn of the second protocol (KIP-890): every end bumps the epoch, so that nothing late can join what follows.
    pub fn end_and_bump(
        &self,
        now_ms: i64,
        producer: ProducerIdentity,
        committed: bool,
        fresh: Option<i64>,
    ) -> Result<Step, TxnError> {
        if self.previous == Some(producer) {
            return match (&self.state, committed) {
                (State::CompleteCommit, true) | (State::CompleteAbort, false) => {
                    Ok(Step::Done(self.producer))
                }
                (State::CompleteCommit, false) | (State::CompleteAbort, true) => {
                    Err(TxnError::InvalidTxnState)
                }
                (State::Empty | State::Ongoing(_), _) => Err(TxnError::ProducerFenced),
            };
        }
        self.check(producer)?;
        let mut next = self.bumped(now_ms, fresh)?;
        next.previous = Some(producer);
        match (&self.state, committed) {
            (State::Ongoing(ongoing), _) => Ok(self.ending(next, committed, ongoing)),
            // A transaction may have failed before anything of it came here.
            (State::Empty | State::CompleteCommit | State::CompleteAbort, false) => {
                Ok(Step::Put(Self { state: State::CompleteAbort, ..next }))
            }
            (State::Empty | State::CompleteCommit | State::CompleteAbort, true) => {
                Err(TxnError::InvalidTxnState)
            }
        }
    }

    /// The open transaction has taken too long: it is aborted, and its producer fenced.
    #[must_use]
    pub fn expire(&self, now_ms: i64) -> Option<Ending> {
        let State::Ongoing(ongoing) = &self.state else { return None };
        let epoch = self.producer.epoch.saturating_add(1);
        let producer = ProducerIdentity { epoch, ..self.producer };
        let next = Self { producer, previous: None, changed_ms: now_ms, ..self.clone() };
        match self.ending(next, false, ongoing) {
            Step::End(ending) => Some(*ending),
            Step::Done(_) | Step::Put(_) => None,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        let previous = self.previous.unwrap_or(NOBODY);
        for producer in [self.producer, previous] {
            w.i64(producer.id);
            w.i16(producer.epoch);
        }
        w.i32(self.timeout_ms);
        w.i64(self.changed_ms);
        match &self.state {
            State::Empty => w.u8(0),
            State::CompleteCommit => w.u8(1),
            State::CompleteAbort => w.u8(2),
            State::Ongoing(ongoing) => {
                w.u8(3);
                ongoing.encode(&mut w);
            }
        }
        w.finish()
    }

    pub(super) fn decode(value: &bytes::Bytes) -> Option<Self> {
        let r = &mut Reader::new(value.clone());
        let producer = ProducerIdentity { id: r.i64()?, epoch: r.i16()? };
        let previous = Some(ProducerIdentity { id: r.i64()?, epoch: r.i16()? }).filter(|p| *p != NOBODY);
        let (timeout_ms, changed_ms) = (r.i32()?, r.i64()?);
        let state = match r.u8()? {
            0 => State::Empty,
            1 => State::CompleteCommit,
            2 => State::CompleteAbort,
            3 => State::Ongoing(Ongoing::decode(r)?),
            _ => return None,
        };
        r.is_done().then_some(Self { producer, previous, timeout_ms, state, changed_ms })
    }
}

impl Ongoing {
    fn encode(&self, w: &mut Writer) {
        w.i64(self.started_ms);
        w.count(self.partitions.len());
        self.partitions.iter().for_each(|at| encode_partition(w, *at));
        w.count(self.offsets.len());
        for (group, offsets) in &self.offsets {
            w.bytes(group.as_bytes());
            w.count(offsets.len());
            for (at, committed) in offsets {
                encode_partition(w, *at);
                w.bytes(&committed.encode());
            }
        }
    }

    fn decode(r: &mut Reader) -> Option<Self> {
        let mut ongoing = Self { started_ms: r.i64()?, ..Self::default() };
        for _ in 0..r.u32()? {
            ongoing.partitions.insert(decode_partition(r)?);
        }
        for _ in 0..r.u32()? {
            let offsets = ongoing.offsets.entry(r.string()?.into()).or_default();
            for _ in 0..r.u32()? {
                offsets.insert(decode_partition(r)?, Committed::decode(&r.bytes()?)?);
            }
        }
        Some(ongoing)
    }
}

fn encode_partition(w: &mut Writer, at: TopicPartition) {
    w.bytes(at.topic.as_bytes());
    w.i32(at.partition);
}

fn decode_partition(r: &mut Reader) -> Option<TopicPartition> {
    Some(TopicPartition { topic: Uuid::from_slice(&r.bytes()?).ok()?, partition: r.i32()? })
}

/// The last epoch that is given out; one more is left to fence it with.
const EPOCH_MAX: i16 = i16::MAX - 1;
const NOBODY: ProducerIdentity = ProducerIdentity { id: -1, epoch: -1 };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::topic::Offset;

    fn id(epoch: i16) -> ProducerIdentity {
        ProducerIdentity { id: 7, epoch }
    }

    fn at(partition: i32) -> TopicPartition {
        TopicPartition { topic: Uuid::from_u128(1), partition }
    }

    fn in_state(state: State) -> Transaction {
        Transaction { state, ..Transaction::new(id(4), 60_000, 0) }
    }

    fn ongoing() -> Transaction {
        let mut transaction = Transaction::new(id(4), 60_000, 0);
        transaction.open(10).partitions.insert(at(0));
        transaction
    }

    fn outcome(step: Result<Step, TxnError>) -> Result<(&'static str, ProducerIdentity), TxnError> {
        step.map(|step| match step {
            Step::Done(producer) => ("done", producer),
            Step::Put(next) => ("put", next.producer),
            Step::End(ending) if ending.committed => ("commit", ending.next.producer),
            Step::End(ending) => ("abort", ending.next.producer),
        })
    }

    #[test]
    fn the_end_of_the_first_protocol_keeps_the_epoch_and_may_be_repeated() {
        let check = |transaction: &Transaction, epoch: i16, committed: bool, expected| {
            assert_eq!(outcome(transaction.end(1, id(epoch), committed)), expected, "{transaction:?}");
        };
        check(&ongoing(), 4, true, Ok(("commit", id(4))));
        check(&ongoing(), 4, false, Ok(("abort", id(4))));
        check(&ongoing(), 3, true, Err(TxnError::ProducerFenced));
        check(&ongoing(), 5, true, Err(TxnError::ProducerFenced));
        check(&in_state(State::Empty), 4, true, Err(TxnError::InvalidTxnState));
        check(&in_state(State::Empty), 4, false, Err(TxnError::InvalidTxnState));
        check(&in_state(State::CompleteCommit), 4, true, Ok(("done", id(4))));
        check(&in_state(State::CompleteCommit), 4, false, Err(TxnError::InvalidTxnState));
        check(&in_state(State::CompleteAbort), 4, false, Ok(("done", id(4))));
        check(&in_state(State::CompleteAbort), 4, true, Err(TxnError::InvalidTxnState));
        let stranger = ProducerIdentity { id: 8, epoch: 4 };
        assert_eq!(ongoing().end(1, stranger, true), Err(TxnError::InvalidProducerIdMapping));
    }

    #[test]
    fn every_end_of_the_second_protocol_bumps_the_epoch_once() {
        let check = |transaction: &Transaction, epoch: i16, committed: bool, expected| {
            let seen = outcome(transaction.end_and_bump(1, id(epoch), committed, None));
            assert_eq!(seen, expected, "{transaction:?}");
        };
        check(&ongoing(), 4, true, Ok(("commit", id(5))));
        check(&ongoing(), 3, true, Err(TxnError::ProducerFenced));
        check(&in_state(State::Empty), 4, true, Err(TxnError::InvalidTxnState));
        check(&in_state(State::Empty), 4, false, Ok(("put", id(5))));
        let Ok(Step::End(ending)) = ongoing().end_and_bump(1, id(4), true, None) else { panic!("no end") };
        check(&ending.next, 4, true, Ok(("done", id(5))));
        check(&ending.next, 4, false, Err(TxnError::InvalidTxnState));
        check(&ending.next, 5, false, Ok(("put", id(6))));
        check(&ending.next, 5, true, Err(TxnError::InvalidTxnState));
        let mut next = ending.next;
        next.open(2);
        check(&next, 4, true, Err(TxnError::ProducerFenced));
    }

    #[test]
    fn initialising_fences_who_was_there_and_a_producer_may_repeat_its_own() {
        let init = |t: &Transaction, expected| t.init(1, 60_000, expected, None);
        assert_eq!(outcome(init(&ongoing(), None)), Ok(("abort", id(5))));
        assert_eq!(outcome(init(&in_state(State::CompleteCommit), None)), Ok(("put", id(5))));
        assert_eq!(outcome(init(&ongoing(), Some(id(4)))), Ok(("abort", id(5))));
        assert_eq!(outcome(init(&ongoing(), Some(id(3)))), Err(TxnError::ProducerFenced));
        let Ok(Step::Put(next)) = init(&in_state(State::Empty), Some(id(4))) else { panic!("no put") };
        assert_eq!(outcome(init(&next, Some(id(4)))), Ok(("done", id(5))));
        let Ok(Step::Put(next)) = init(&next, None) else { panic!("no put") };
        assert_eq!(outcome(init(&next, Some(id(5)))), Err(TxnError::ProducerFenced));
    }

    #[test]
    fn when_the_epochs_are_used_up_there_is_a_new_producer_id() {
        let last = Transaction { producer: id(EPOCH_MAX), ..ongoing() };
        assert!(last.is_exhausted());
        let Ok(Step::End(ending)) = last.end_and_bump(1, last.producer, true, Some(9)) else {
            panic!("no end")
        };
        assert_eq!(ending.marker, id(i16::MAX));
        assert_eq!(ending.next.producer, ProducerIdentity { id: 9, epoch: 0 });
        let again = ending.next.end_and_bump(1, last.producer, true, None);
        assert_eq!(again, Ok(Step::Done(ending.next.producer)));
    }

    #[test]
    fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_is_fenced() {
        let open = ongoing();
        assert_eq!(open.deadline_ms(), Some(60_010));
        let ending = open.expire(60_010).unwrap();
        assert_eq!((ending.committed, ending.marker, ending.next.deadline_ms()), (false, id(5), None));
        assert_eq!(ending.next.end(1, id(4), false), Err(TxnError::ProducerFenced));
        assert_eq!(ending.next.init(1, 1, Some(id(4)), None), Err(TxnError::ProducerFenced));
    }

    #[test]
    fn a_transaction_survives_its_encoding() {
        let mut full = ongoing();
        full.previous = Some(id(3));
        let metadata = "note".to_owned();
        let committed =
            Committed { offset: Offset(5), leader_epoch: 0, metadata, commit_ms: 9, expire_ms: None };
        full.open(0).offsets.entry("g".into()).or_default().insert(at(2), committed);
        let states = [State::Empty, State::CompleteCommit, State::CompleteAbort].map(in_state);
        for transaction in states.into_iter().chain([full]) {
            let value = bytes::Bytes::from(transaction.encode());
            assert_eq!(Transaction::decode(&value), Some(transaction));
            assert_eq!(Transaction::decode(&value.slice(1..)), None);
        }
    }
}
