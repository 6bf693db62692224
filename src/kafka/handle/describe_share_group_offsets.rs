//! DescribeShareGroupOffsets (API key 90), versions 0–1: how far share groups are (KIP-932). Version 1: the lag
//! (KIP-1226).

use crate::{
    broker::group::{offsets::TopicPartition, share::ShareOffset},
    kafka::{
        LEADER_EPOCH,
        call::Call,
        fault::ErrorCode,
        wire::describe_share_group_offsets::{
            DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsRequestGroup,
            DescribeShareGroupOffsetsRequestTopic, DescribeShareGroupOffsetsResponse,
            DescribeShareGroupOffsetsResponseGroup, DescribeShareGroupOffsetsResponsePartition,
            DescribeShareGroupOffsetsResponseTopic,
        },
    },
};

const UNKNOWN: i64 = -1;

pub async fn handle(
    call: Call,
    request: DescribeShareGroupOffsetsRequest,
) -> DescribeShareGroupOffsetsResponse {
    DescribeShareGroupOffsetsResponse {
        groups: request.groups.into_iter().map(|group| describe(&call, group)).collect(),
        ..DescribeShareGroupOffsetsResponse::default()
    }
}

fn describe(
    call: &Call,
    asked: DescribeShareGroupOffsetsRequestGroup,
) -> DescribeShareGroupOffsetsResponseGroup {
    let key = call.group(&asked.group_id);
    let group_id = asked.group_id;
    if call.groups().describe_share(&key).flatten().is_none() {
        let error_message = Some(format!("Group {group_id} not found."));
        let error_code = ErrorCode::GroupIdNotFound.code();
        return DescribeShareGroupOffsetsResponseGroup {
            group_id,
            error_code,
            error_message,
            ..DescribeShareGroupOffsetsResponseGroup::default()
        };
    }
    let known = call.groups().shares.offsets(&key);
    let topics = match asked.topics {
        Some(topics) => topics.into_iter().map(|topic| some(call, &known, topic)).collect(),
        None => all(call, &known),
    };
    DescribeShareGroupOffsetsResponseGroup {
        group_id,
        topics,
        ..DescribeShareGroupOffsetsResponseGroup::default()
    }
}

fn some(
    call: &Call,
    known: &[ShareOffset],
    asked: DescribeShareGroupOffsetsRequestTopic,
) -> DescribeShareGroupOffsetsResponseTopic {
    let topic = call.topic_named(&asked.topic_name);
    let partition = |partition: i32| match &topic {
        Ok(topic) => {
            let at = TopicPartition { topic: topic.id, partition };
            answer(call, partition, known.iter().find(|offset| offset.at == at))
        }
        // Of a topic that is not there nothing is known, which is no error.
        Err(_) => answer(call, partition, None),
    };
    DescribeShareGroupOffsetsResponseTopic {
        topic_id: topic.as_ref().map(|topic| topic.id).unwrap_or_default(),
        partitions: asked.partitions.into_iter().map(partition).collect(),
        topic_name: asked.topic_name,
    }
}

/// Everything the group has begun to read, topic by topic.
fn all(call: &Call, known: &[ShareOffset]) -> Vec<DescribeShareGroupOffsetsResponseTopic> {
    let mut topics: Vec<DescribeShareGroupOffsetsResponseTopic> = Vec::new();
    for offset in known {
        let Ok(topic) = call.topic_of_id(offset.at.topic) else { continue };
        let partition = answer(call, offset.at.partition, Some(offset));
        match topics.last_mut() {
            Some(last) if last.topic_id == topic.id => last.partitions.push(partition),
            Some(_) | None => topics.push(DescribeShareGroupOffsetsResponseTopic {
                topic_name: topic.name.to_string(),
                topic_id: topic.id,
                partitions: vec![partition],
            }),
        }
    }
    topics
}

fn answer(
    call: &Call,
    partition_index: i32,
    known: Option<&ShareOffset>,
) -> DescribeShareGroupOffsetsResponsePartition {
    let lag = |offset: &ShareOffset| {
        let topic = call.topic_of_id(offset.at.topic).ok()?;
        let end = topic.partition(offset.at.partition)?.offsets().high_watermark.0;
        Some((end - offset.start - offset.done_ahead).max(0))
    };
    DescribeShareGroupOffsetsResponsePartition {
        partition_index,
        start_offset: known.map_or(UNKNOWN, |offset| offset.start),
        leader_epoch: LEADER_EPOCH,
        lag: known.and_then(lag).unwrap_or(UNKNOWN),
        ..DescribeShareGroupOffsetsResponsePartition::default()
    }
}
