//! OffsetCommit (API key 8), versions 2–10.
//!
//! Versions 2–4: a retention of its own. Version 6: leader epoch. Version 7: static members. Version 9: member epochs
//! (KIP-848), and a group that nobody knows is GROUP_ID_NOT_FOUND. Version 10: topics by id.
//! A generation below 0 with an empty member id comes from outside the group protocol, and is welcome while the group
//! has no members.

use crate::{
    broker::{
        group::{
            Committer,
            offsets::{Committed, TopicPartition},
        },
        topic::Offset,
    },
    kafka::{
        call::Call,
        fault::ErrorCode,
        handle::error_code,
        wire::offset_commit::{
            OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse,
            OffsetCommitResponsePartition, OffsetCommitResponseTopic,
        },
    },
};

const EPOCHS_FROM: i16 = 9;
const IDS_FROM: i16 = 10;

pub async fn handle(call: Call, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let group = call.group(&request.group_id);
    let (mut topics, mut offsets) = (Vec::with_capacity(request.topics.len()), Vec::new());
    for asked in request.topics {
        let topic = call.topic(IDS_FROM, &asked.name, asked.topic_id);
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for p in asked.partitions {
            let known = match &topic {
                Ok(topic) => match topic.partition(p.partition_index) {
                    Some(_) => Ok(TopicPartition { topic: topic.id, partition: p.partition_index }),
                    None => Err(ErrorCode::UnknownTopicOrPartition),
                },
                Err(error) => Err(*error),
            };
            partitions.push((p.partition_index, known.map(|_| ())));
            if let Ok(at) = known {
                offsets.push((at, committed(&call, p, request.retention_time_ms)));
            }
        }
        topics.push((asked.name, asked.topic_id, partitions));
    }
    let by = Committer {
        member_id: &request.member_id,
        group_instance_id: request.group_instance_id.as_deref(),
        generation_id: request.generation_id_or_member_epoch,
        knows_epochs: call.version >= EPOCHS_FROM,
    };
    let count = offsets.len();
    let outcomes = match call.groups().commit(call.now, &group, by, offsets).await {
        Ok(outcomes) => outcomes,
        Err(error) => vec![Err(error); count],
    };
    let mut outcomes = outcomes.into_iter().map(|outcome| outcome.map_err(ErrorCode::from));
    let mut partition = |(partition_index, known): (i32, Result<(), ErrorCode>)| {
        let outcome = known.and_then(|()| outcomes.next().unwrap_or(Err(ErrorCode::UnknownServerError)));
        OffsetCommitResponsePartition { partition_index, error_code: error_code(outcome) }
    };
    let answer = |(name, topic_id, partitions): (_, _, Vec<_>)| OffsetCommitResponseTopic {
        name,
        topic_id,
        partitions: partitions.into_iter().map(&mut partition).collect(),
    };
    OffsetCommitResponse {
        topics: topics.into_iter().map(answer).collect(),
        ..OffsetCommitResponse::default()
    }
}

fn committed(call: &Call, p: OffsetCommitRequestPartition, retention_time_ms: i64) -> Committed {
    let commit_ms = call.now_ms();
    Committed {
        offset: Offset(p.committed_offset),
        leader_epoch: p.committed_leader_epoch,
        metadata: p.committed_metadata.unwrap_or_default(),
        commit_ms,
        expire_ms: (retention_time_ms >= 0).then(|| commit_ms.saturating_add(retention_time_ms)),
    }
}
