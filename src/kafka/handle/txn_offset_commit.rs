//! TxnOffsetCommit (API key 28), versions 0–5: offsets that a group has once the transaction is committed.
//!
//! Version 2: leader epoch. Version 3: member and generation (KIP-447). Version 5: without AddOffsetsToTxn before it
//! (KIP-890). A fenced producer is told INVALID_PRODUCER_EPOCH in every version, since in Kafka it is the log of the
//! group's offsets that refuses it.

use super::transactions::{error, find, identity, transactional_id};
use crate::{
    broker::{
        group::{
            Committer,
            offsets::{Committed, TopicPartition},
        },
        topic::Offset,
        txn::transaction::TxnError,
    },
    kafka::{
        call::Call,
        fault::ErrorCode,
        wire::txn_offset_commit::{
            TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitResponse,
            TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
        },
    },
};

const ABORTABLE_FROM: i16 = 4;
const IMPLIED_FROM: i16 = 5;

pub async fn handle(call: Call, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let mut offsets = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for p in &topic.partitions {
            let found = find(&call, &topic.name, p.partition_index);
            partitions.push((p.partition_index, found.map(drop)));
            offsets.extend(found.map(|at| (at, committed(&call, p))));
        }
        topics.push((topic.name.clone(), partitions));
    }
    let outcome = commit(&call, &request, offsets).await;
    let partition = |(partition_index, found): (i32, Result<(), ErrorCode>)| {
        let error_code = super::error_code(found.and(outcome));
        TxnOffsetCommitResponsePartition { partition_index, error_code }
    };
    let topic = |(name, partitions): (String, Vec<_>)| TxnOffsetCommitResponseTopic {
        name,
        partitions: partitions.into_iter().map(partition).collect(),
    };
    TxnOffsetCommitResponse {
        topics: topics.into_iter().map(topic).collect(),
        ..TxnOffsetCommitResponse::default()
    }
}

async fn commit(
    call: &Call,
    request: &TxnOffsetCommitRequest,
    offsets: Vec<(TopicPartition, Committed)>,
) -> Result<(), ErrorCode> {
    let key = transactional_id(call, &request.transactional_id)?;
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let group = call.group(&request.group_id);
    let by = Committer {
        member_id: &request.member_id,
        group_instance_id: request.group_instance_id.as_deref(),
        generation_id: request.generation_id,
        knows_epochs: true,
    };
    call.groups().check_transactional(call.now, &group, by, &offsets)?;
    let producer = identity(request.producer_id, request.producer_epoch);
    let implied = call.version >= IMPLIED_FROM;
    let transactions = &call.door().broker.transactions;
    let committed = transactions.commit_offsets(call.now_ms(), &key, producer, &group.id, offsets, implied);
    committed.await.map_err(|e| {
        let is_abortable = e == TxnError::InvalidTxnState && call.version >= ABORTABLE_FROM;
        if is_abortable { ErrorCode::TransactionAbortable } else { error(call, i16::MAX, e) }
    })
}

fn committed(call: &Call, p: &TxnOffsetCommitRequestPartition) -> Committed {
    Committed {
        offset: Offset(p.committed_offset),
        leader_epoch: p.committed_leader_epoch,
        metadata: p.committed_metadata.clone().unwrap_or_default(),
        commit_ms: call.now_ms(),
        expire_ms: None,
    }
}
