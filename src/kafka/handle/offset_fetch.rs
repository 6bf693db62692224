//! OffsetFetch (API key 9), versions 1–10: what a group has committed.
//!
//! Version 2: null topics are all. Version 5: leader epoch. Version 7: require_stable, so that nobody begins before an
//! offset that an open transaction will commit (KIP-447). Version 8: many groups at once. Version 9: who asks (KIP-848). Version 10: topics by id. A group or topic that nobody knows has no
//! offset (-1), which is no error.

use uuid::Uuid;

use crate::{
    broker::group::{
        GroupKey,
        offsets::{Committed, TopicPartition},
    },
    kafka::{
        call::Call,
        fault::ErrorCode,
        wire::offset_fetch::{
            OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    },
};

const GROUPS_FROM: i16 = 8;
const EPOCHS_FROM: i16 = 9;
const IDS_FROM: i16 = 10;

pub async fn handle(call: Call, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if call.version >= GROUPS_FROM {
        let stable = request.require_stable;
        let groups = request.groups.into_iter().map(|group| fetch(&call, group, stable)).collect();
        return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() };
    }
    let topics = request.topics.map(|topics| {
        let topic = |t: crate::kafka::wire::offset_fetch::OffsetFetchRequestTopic| OffsetFetchRequestTopics {
            name: t.name,
            topic_id: Uuid::nil(),
            partition_indexes: t.partition_indexes,
        };
        topics.into_iter().map(topic).collect()
    });
    let group =
        OffsetFetchRequestGroup { group_id: request.group_id, topics, ..OffsetFetchRequestGroup::default() };
    let topics = fetch(&call, group, request.require_stable).topics.into_iter().map(before_groups).collect();
    OffsetFetchResponse { topics, ..OffsetFetchResponse::default() }
}

fn fetch(call: &Call, asked: OffsetFetchRequestGroup, stable: bool) -> OffsetFetchResponseGroup {
    let key = call.group(&asked.group_id);
    if call.version >= EPOCHS_FROM
        && let Err(error) = call.groups().check_fetch(&key, asked.member_id.as_deref(), asked.member_epoch)
    {
        let error_code = ErrorCode::from(error).code();
        return OffsetFetchResponseGroup { group_id: asked.group_id, topics: Vec::new(), error_code };
    }
    let topics = match asked.topics {
        Some(topics) => topics.into_iter().map(|topic| some(call, &key, topic, stable)).collect(),
        None => all(call, &key, stable),
    };
    OffsetFetchResponseGroup { group_id: asked.group_id, topics, error_code: ErrorCode::None.code() }
}

fn some(
    call: &Call,
    key: &GroupKey,
    asked: OffsetFetchRequestTopics,
    stable: bool,
) -> OffsetFetchResponseTopics {
    let topic = call.topic(IDS_FROM, &asked.name, asked.topic_id);
    let partition = |partition| match &topic {
        Ok(topic) => {
            let at = TopicPartition { topic: topic.id, partition };
            committed(call, key, at, stable, || call.groups().committed(key, at))
        }
        Err(ErrorCode::UnknownTopicId) => answer(partition, None, ErrorCode::UnknownTopicId),
        Err(_) => answer(partition, None, ErrorCode::None),
    };
    OffsetFetchResponseTopics {
        name: asked.name,
        topic_id: asked.topic_id,
        partitions: asked.partition_indexes.into_iter().map(partition).collect(),
    }
}

/// Everything the group has committed, topic by topic.
fn all(call: &Call, key: &GroupKey, stable: bool) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for (at, offset) in call.groups().all_committed(key) {
        let Ok(topic) = call.topic_of_id(at.topic) else { continue };
        let partition = committed(call, key, at, stable, || Some(offset));
        match topics.last_mut() {
            Some(last) if last.topic_id == topic.id => last.partitions.push(partition),
            Some(_) | None => topics.push(OffsetFetchResponseTopics {
                name: topic.name.to_string(),
                topic_id: topic.id,
                partitions: vec![partition],
            }),
        }
    }
    topics
}

/// What is committed, unless it is about to change and the client wants to wait for that.
fn committed(
    call: &Call,
    key: &GroupKey,
    at: TopicPartition,
    stable: bool,
    offset: impl FnOnce() -> Option<Committed>,
) -> OffsetFetchResponsePartitions {
    if stable && call.door().broker.transactions.has_pending(key, at) {
        return answer(at.partition, None, ErrorCode::UnstableOffsetCommit);
    }
    answer(at.partition, offset(), ErrorCode::None)
}

fn answer(
    partition_index: i32,
    committed: Option<Committed>,
    error: ErrorCode,
) -> OffsetFetchResponsePartitions {
    let (committed_offset, committed_leader_epoch, metadata) =
        committed.map_or_else(|| (-1, -1, String::new()), |c| (c.offset.0, c.leader_epoch, c.metadata));
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset,
        committed_leader_epoch,
        metadata: Some(metadata),
        error_code: error.code(),
    }
}

fn before_groups(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partition = |p: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: p.partition_index,
        committed_offset: p.committed_offset,
        committed_leader_epoch: p.committed_leader_epoch,
        metadata: p.metadata,
        error_code: p.error_code,
    };
    OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    }
}
