//! OffsetForLeaderEpoch (API key 23), versions 2–4: where the records of a leader epoch end (KIP-320).
//!
//! There is one epoch, and it ends where the log does. Of any other nothing is known (-1, -1).

use super::check_leader_epoch;
use crate::kafka::{
    LEADER_EPOCH,
    call::Call,
    fault::ErrorCode,
    wire::offset_for_leader_epoch::{
        EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
    },
};

pub async fn handle(call: Call, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for asked in request.topics {
        let topic = call.topic_named(&asked.topic);
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for p in asked.partitions {
            let nothing = EpochEndOffset { partition: p.partition, ..EpochEndOffset::default() };
            let found = check_leader_epoch(p.current_leader_epoch).and_then(|()| match &topic {
                Ok(topic) => topic.partition(p.partition).ok_or(ErrorCode::UnknownTopicOrPartition),
                Err(error) => Err(*error),
            });
            partitions.push(match found {
                Ok(partition) if p.leader_epoch == LEADER_EPOCH => EpochEndOffset {
                    leader_epoch: LEADER_EPOCH,
                    end_offset: partition.offsets().high_watermark.0,
                    ..nothing
                },
                Ok(_) => nothing,
                Err(error) => EpochEndOffset { error_code: error.code(), ..nothing },
            });
        }
        topics.push(OffsetForLeaderTopicResult { topic: asked.topic, partitions });
    }
    OffsetForLeaderEpochResponse { topics, ..OffsetForLeaderEpochResponse::default() }
}
