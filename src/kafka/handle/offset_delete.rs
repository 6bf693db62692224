//! OffsetDelete (API key 47), version 0: forgets what a group has committed in partitions that no member subscribes to
//! (KIP-496).

use crate::{
    broker::group::offsets::TopicPartition,
    kafka::{
        call::Call,
        fault::ErrorCode,
        handle::error_code,
        wire::offset_delete::{
            OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition,
            OffsetDeleteResponseTopic,
        },
    },
};

pub async fn handle(call: Call, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let key = call.group(&request.group_id);
    let (mut found, mut topics) = (Vec::new(), Vec::with_capacity(request.topics.len()));
    for topic in request.topics {
        let partitions = topic.partitions.iter().map(|p| {
            let at = super::transactions::find(&call, &topic.name, p.partition_index);
            found.extend(at);
            (p.partition_index, at)
        });
        topics.push((topic.name.clone(), partitions.collect::<Vec<_>>()));
    }
    let outcomes = match call.groups().delete_offsets(&key, &found).await {
        Ok(outcomes) => outcomes,
        Err(error) => {
            let error_code = ErrorCode::from(error).code();
            return OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() };
        }
    };
    let mut outcomes = outcomes.into_iter().map(|outcome| outcome.map_err(ErrorCode::from));
    let mut partition = |(partition_index, at): (i32, Result<TopicPartition, ErrorCode>)| {
        let outcome = at.and_then(|_| outcomes.next().unwrap_or(Err(ErrorCode::UnknownServerError)));
        OffsetDeleteResponsePartition { partition_index, error_code: error_code(outcome) }
    };
    let mut topic = |(name, partitions): (String, Vec<_>)| OffsetDeleteResponseTopic {
        name,
        partitions: partitions.into_iter().map(&mut partition).collect(),
    };
    OffsetDeleteResponse {
        topics: topics.into_iter().map(&mut topic).collect(),
        ..OffsetDeleteResponse::default()
    }
}
