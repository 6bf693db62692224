//! ShareAcknowledge (API key 79), versions 1–2: what became of records that a member was lent (KIP-932).
//!
//! Version 2: renewals, and how long the lock is (KIP-1222). The last request of a session (epoch -1) gives back what is
//! not acknowledged.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::sharing::{Borrower, FINAL, FIRST, RawBatch, parts, session_fault};
use crate::{
    broker::group::{offsets::TopicPartition, share::SessionError},
    kafka::{
        call::Call,
        fault::Fault,
        wire::share_acknowledge::{
            AcknowledgeTopic, PartitionData, ShareAcknowledgeRequest, ShareAcknowledgeResponse,
            ShareAcknowledgeTopicResponse,
        },
    },
};

pub async fn handle(call: Call, request: ShareAcknowledgeRequest) -> ShareAcknowledgeResponse {
    match acknowledge(&call, request).await {
        Ok(response) => response,
        Err(Fault { code, message }) => ShareAcknowledgeResponse {
            error_code: code.code(),
            error_message: Some(message),
            ..ShareAcknowledgeResponse::default()
        },
    }
}

async fn acknowledge(
    call: &Call,
    request: ShareAcknowledgeRequest,
) -> Result<ShareAcknowledgeResponse, Fault> {
    let borrower = Borrower::new(call, request.group_id, request.member_id)?;
    let (group, member) = (&borrower.group, &borrower.member);
    let shares = &call.groups().shares;
    match request.share_session_epoch {
        FIRST => return Err(session_fault(SessionError::InvalidEpoch)),
        FINAL if !shares.has_session(group, member) => return Err(session_fault(SessionError::NotFound)),
        FINAL => {}
        epoch => drop(shares.next_in_session(group, member, epoch, &[], &[]).map_err(session_fault)?),
    }
    let asked = request.topics.into_iter().flat_map(batches).collect();
    let outcomes = borrower.acknowledge(call, asked, request.is_renew_ack).await;
    if request.share_session_epoch == FINAL {
        shares.close_session(group, member);
        call.client.share_sessions.ended(group, member);
    }
    let mut topics = BTreeMap::<Uuid, Vec<PartitionData>>::new();
    for (at, outcome) in outcomes {
        let (error_code, error_message) = parts(outcome);
        let data = PartitionData {
            partition_index: at.partition,
            error_code,
            error_message,
            ..PartitionData::default()
        };
        topics.entry(at.topic).or_default().push(data);
    }
    let response = |(topic_id, partitions)| ShareAcknowledgeTopicResponse { topic_id, partitions };
    Ok(ShareAcknowledgeResponse {
        acquisition_lock_timeout_ms: borrower.lock_ms(),
        responses: topics.into_iter().map(response).collect(),
        ..ShareAcknowledgeResponse::default()
    })
}

fn batches(topic: AcknowledgeTopic) -> Vec<(TopicPartition, Vec<RawBatch>)> {
    let id = topic.topic_id;
    let partition = |p: crate::kafka::wire::share_acknowledge::AcknowledgePartition| {
        let batches = p.acknowledgement_batches.into_iter();
        let batches = batches.map(|b| (b.first_offset, b.last_offset, b.acknowledge_types)).collect();
        (TopicPartition { topic: id, partition: p.partition_index }, batches)
    };
    topic.partitions.into_iter().map(partition).collect()
}
