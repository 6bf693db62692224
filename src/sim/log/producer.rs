//! Producers as clients are: they number their batches, send again what was not answered, and, with a transactional id,
//! begin, commit and abort as their protocol says.

use std::{collections::VecDeque, pin::Pin};

use super::{LOGS, model::Txn};
use crate::broker::txn::{coordinator::TransactionalId, producer::ProducerIdentity, transaction::TxnError};

/// As many as Kafka's producer has in flight, and as the broker remembers.
pub(super) const IN_FLIGHT_MAX: usize = 5;

/// A batch as it is sent, however often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) log: usize,
    pub(super) identity: ProducerIdentity,
    pub(super) sequence: i32,
    pub(super) is_transactional: bool,
    /// The timestamp of all its records.
    pub(super) sent_ms: i64,
    pub(super) records: Vec<u64>,
}

/// What a producer has sent to one log under the identity that it has.
#[derive(Debug, Default)]
struct Lane {
    next_sequence: i32,
    unanswered: VecDeque<Outgoing>,
    /// Its last batch that was answered: a retry that comes late.
    last: Option<Outgoing>,
}

/// An identity, and what was sent under it.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) identity: ProducerIdentity,
    lanes: [Lane; LOGS],
}

impl Sender {
    pub(super) fn new(identity: ProducerIdentity) -> Self {
        Self { identity, lanes: std::array::from_fn(|_| Lane::default()) }
    }

    pub(super) fn has_room(&self, log: usize) -> bool {
        self.lanes[log].unanswered.len() < IN_FLIGHT_MAX
    }

    /// Numbers a batch, which is on its way from now on.
    pub(super) fn number(
        &mut self,
        log: usize,
        records: Vec<u64>,
        is_transactional: bool,
        sent_ms: i64,
    ) -> Outgoing {
        let lane = &mut self.lanes[log];
        let (identity, sequence) = (self.identity, lane.next_sequence);
        lane.next_sequence += i32::try_from(records.len()).unwrap();
        let batch = Outgoing { log, identity, sequence, is_transactional, sent_ms, records };
        lane.unanswered.push_back(batch.clone());
        batch
    }

    pub(super) fn answered(&mut self, batch: &Outgoing) {
        let lane = &mut self.lanes[batch.log];
        if lane.unanswered.front() == Some(batch) {
            lane.last = lane.unanswered.pop_front();
        }
    }

    pub(super) fn is_answered(&self) -> bool {
        self.lanes.iter().all(|lane| lane.unanswered.is_empty())
    }

    /// What a client sends again when a connection breaks, in its order.
    pub(super) fn unanswered(&self) -> Vec<Outgoing> {
        self.lanes.iter().flat_map(|lane| lane.unanswered.iter().cloned()).collect()
    }

    /// Nothing of it will be sent again.
    pub(super) fn forget_answered(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.last = None);
    }

    /// A batch that was answered, and is still remembered.
    pub(super) fn late(&self, log: usize) -> Option<Outgoing> {
        self.lanes[log].last.clone().filter(|_| self.has_room(log))
    }
}

pub(super) type Request<T> = Pin<Box<dyn Future<Output = Result<T, TxnError>>>>;

/// What a producer waits for: it asks for one thing at a time.
pub(super) enum Doing {
    Nothing,
    /// InitProducerId, in the name of its identity or of nobody.
    Init(Option<ProducerIdentity>, Request<ProducerIdentity>),
    AddPartition(usize, Request<()>),
    AddGroup(Request<()>),
    CommitOffset(i64, Request<()>),
    /// EndTxn: commit or abort.
    End(bool, Request<ProducerIdentity>),
}

/// A transaction as its producer knows it.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) txn: Txn,
    /// When anything of it was first asked for.
    pub(super) began_ms: i64,
    /// First protocol: what the coordinator has confirmed to be part of it.
    pub(super) partitions: [bool; LOGS],
    pub(super) has_group: bool,
    /// The offset that the group will have.
    pub(super) offset: Option<i64>,
    /// An offset whose answer was lost: it may be part of it.
    pub(super) lost_offset: Option<i64>,
    /// Anything was sent.
    pub(super) has_records: bool,
    /// Commit or abort, once that was asked for.
    pub(super) asked: Option<bool>,
}

/// A producer with a transactional id.
pub(super) struct Producer {
    pub(super) id: TransactionalId,
    /// KIP-890.
    pub(super) second_protocol: bool,
    /// `None` before the first InitProducerId.
    pub(super) sender: Option<Sender>,
    pub(super) transaction: Option<Transaction>,
    pub(super) doing: Doing,
    /// An InitProducerId whose answer was lost, in whose name it was.
    pub(super) lost_init: Option<Option<ProducerIdentity>>,
}

impl Producer {
    pub(super) fn new(number: usize, second_protocol: bool) -> Self {
        let id = TransactionalId { vhost: "/".into(), id: format!("p{number}").into() };
        Self { id, second_protocol, sender: None, transaction: None, doing: Doing::Nothing, lost_init: None }
    }

    pub(super) fn identity(&self) -> Option<ProducerIdentity> {
        self.sender.as_ref().map(|sender| sender.identity)
    }

    /// A refusal is the broker's right once the transaction may have taken too long.
    pub(super) fn is_overdue(&self, now_ms: i64) -> bool {
        self.transaction.as_ref().is_some_and(|t| now_ms >= t.began_ms + i64::from(super::TIMEOUT_MS))
    }
}
