//! What the APIs of transactions have in common: who asks, and how the coordinator's refusals are called in which
//! version.

use std::collections::BTreeSet;

use crate::{
    broker::{
        group::offsets::TopicPartition,
        txn::{coordinator::TransactionalId, producer::ProducerIdentity, transaction::TxnError},
    },
    kafka::{call::Call, fault::ErrorCode},
};

/// `transaction.max.timeout.ms`.
pub(super) const TIMEOUT_MS_MAX: i32 = 900_000;

/// # Errors
/// INVALID_REQUEST when there is no transactional id.
pub(super) fn transactional_id(call: &Call, id: &str) -> Result<TransactionalId, ErrorCode> {
    if id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    Ok(TransactionalId { vhost: call.vhost().clone(), id: id.into() })
}

pub(super) fn identity(id: i64, epoch: i16) -> ProducerIdentity {
    ProducerIdentity { id, epoch }
}

/// PRODUCER_FENCED is newer than most of these APIs (KIP-588): `fenced_from` has it, versions before that are told
/// INVALID_PRODUCER_EPOCH.
pub(super) fn error(call: &Call, fenced_from: i16, error: TxnError) -> ErrorCode {
    match error {
        TxnError::CoordinatorNotAvailable => ErrorCode::CoordinatorNotAvailable,
        TxnError::ConcurrentTransactions => ErrorCode::ConcurrentTransactions,
        TxnError::InvalidProducerIdMapping => ErrorCode::InvalidProducerIdMapping,
        TxnError::ProducerFenced if call.version < fenced_from => ErrorCode::InvalidProducerEpoch,
        TxnError::ProducerFenced => ErrorCode::ProducerFenced,
        TxnError::InvalidTxnState => ErrorCode::InvalidTxnState,
    }
}

/// A topic's partition by its name, if it exists.
pub(super) fn find(call: &Call, topic: &str, partition: i32) -> Result<TopicPartition, ErrorCode> {
    let topic = call.topic_named(topic)?;
    topic.partition(partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    Ok(TopicPartition { topic: topic.id, partition })
}

/// Partitions by their topics' names.
pub(super) fn by_name(call: &Call, partitions: &BTreeSet<TopicPartition>) -> Vec<(String, Vec<i32>)> {
    let mut topics: Vec<(String, Vec<i32>)> = Vec::new();
    for at in partitions {
        let Ok(topic) = call.topic_of_id(at.topic) else { continue };
        match topics.last_mut() {
            Some((name, numbers)) if **name == *topic.name => numbers.push(at.partition),
            Some(_) | None => topics.push((topic.name.to_string(), vec![at.partition])),
        }
    }
    topics
}
