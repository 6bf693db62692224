//! AlterShareGroupOffsets (API key 91), version 0: sets where a share group without members goes on (KIP-932).

use crate::{
    broker::group::{GroupState, offsets::TopicPartition},
    kafka::{
        call::Call,
        fault::{ErrorCode, Fault},
        wire::alter_share_group_offsets::{
            AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse,
            AlterShareGroupOffsetsResponsePartition, AlterShareGroupOffsetsResponseTopic,
        },
    },
};

pub async fn handle(call: Call, request: AlterShareGroupOffsetsRequest) -> AlterShareGroupOffsetsResponse {
    let refused = |Fault { code, message }: Fault| AlterShareGroupOffsetsResponse {
        error_code: code.code(),
        error_message: Some(message),
        ..AlterShareGroupOffsetsResponse::default()
    };
    let key = call.group(&request.group_id);
    if let Err(fault) = check_empty(&call, &request.group_id) {
        return refused(fault);
    }
    let (mut responses, mut to) = (Vec::with_capacity(request.topics.len()), Vec::new());
    for topic in request.topics {
        let found = call.topic_named(&topic.topic_name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for p in topic.partitions {
            let at = found.as_ref().map_err(|error| *error).and_then(|topic| {
                topic.partition(p.partition_index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
                Ok(TopicPartition { topic: topic.id, partition: p.partition_index })
            });
            to.extend(at.ok().map(|at| (at, p.start_offset.max(0))));
            let error = at.err();
            partitions.push(AlterShareGroupOffsetsResponsePartition {
                partition_index: p.partition_index,
                error_code: error.unwrap_or(ErrorCode::None).code(),
                error_message: error.map(|error| error.name().to_owned()),
            });
        }
        let topic_id = found.map(|topic| topic.id).unwrap_or_default();
        responses.push(AlterShareGroupOffsetsResponseTopic {
            topic_name: topic.topic_name,
            topic_id,
            partitions,
        });
    }
    match call.groups().shares.alter(&key, &to).await {
        Ok(()) => AlterShareGroupOffsetsResponse { responses, ..AlterShareGroupOffsetsResponse::default() },
        Err(error) => refused(ErrorCode::from(error).into()),
    }
}

/// Only of a share group that nobody is in.
pub(super) fn check_empty(call: &Call, group_id: &str) -> Result<(), Fault> {
    match call.groups().describe_share(&call.group(group_id)) {
        Some(Some(group)) if group.state == GroupState::Empty => Ok(()),
        Some(Some(_)) => Err(Fault::new(ErrorCode::NonEmptyGroup, "The group is not empty.")),
        Some(None) => {
            Err(Fault::new(ErrorCode::GroupIdNotFound, format!("Group {group_id} is not a share group.")))
        }
        None => Err(Fault::new(ErrorCode::GroupIdNotFound, format!("Group {group_id} not found."))),
    }
}
