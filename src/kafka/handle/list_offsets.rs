//! ListOffsets (API key 2), versions 1–11: offsets by time, and the log's ends.
//!
//! Version 2: isolation level. Version 4: leader epoch. Version 7: the newest timestamp (-3, KIP-734). Version 8: the
//! start of the local log (-4). Version 9: the end of the tiered log (-5). Version 11: what tiering has yet to upload
//! (-6, KIP-1023). There is no tiered log, so -4 is the start and the last two have no offset.

use super::{NO_EPOCH, check_leader_epoch};
use crate::{
    broker::topic::{
        fetch::{Isolation, TimedOffset},
        partition::Partition,
    },
    kafka::{
        LEADER_EPOCH,
        call::Call,
        fault::ErrorCode,
        wire::list_offsets::{
            ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
            ListOffsetsTopicResponse,
        },
    },
};

/// The timestamps that are none, and the versions they belong to.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

pub async fn handle(call: Call, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let isolation =
        if request.isolation_level == 1 { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
    let mut topics = Vec::with_capacity(request.topics.len());
    for asked in request.topics {
        let topic = call.topic_named(&asked.name);
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for p in asked.partitions {
            let found = match &topic {
                Ok(topic) => topic.partition(p.partition_index).ok_or(ErrorCode::UnknownTopicOrPartition),
                Err(error) => Err(*error),
            };
            let outcome = match found {
                Ok(partition) => find(call.version, &p, &partition, isolation).await,
                Err(error) => Err(error),
            };
            partitions.push(answer(call.version, p.partition_index, outcome));
        }
        topics.push(ListOffsetsTopicResponse { name: asked.name, partitions });
    }
    ListOffsetsResponse { topics, ..ListOffsetsResponse::default() }
}

/// An offset, with its timestamp where time led to it.
struct Found {
    offset: i64,
    timestamp: i64,
}

async fn find(
    version: i16,
    asked: &ListOffsetsPartition,
    partition: &Partition,
    isolation: Isolation,
) -> Result<Option<Found>, ErrorCode> {
    check_leader_epoch(asked.current_leader_epoch)?;
    let end = |offset| Ok(Some(Found { offset, timestamp: -1 }));
    let at = |found: Option<TimedOffset>| found.map(|f| Found { offset: f.offset.0, timestamp: f.timestamp });
    let offsets = partition.offsets();
    match asked.timestamp {
        LATEST => end(offsets.end(isolation).0),
        EARLIEST => end(offsets.log_start.0),
        EARLIEST_LOCAL if version >= 8 => end(offsets.log_start.0),
        LATEST_TIERED if version >= 9 => Ok(None),
        EARLIEST_PENDING_UPLOAD if version >= 11 => Ok(None),
        MAX_TIMESTAMP if version >= 7 => partition.max_timestamp().await.map(at).map_err(|e| (&e).into()),
        negative if negative < 0 => Err(ErrorCode::UnsupportedVersion),
        timestamp => partition.offset_for_time(timestamp, isolation).await.map(at).map_err(|e| (&e).into()),
    }
}

fn answer(
    version: i16,
    partition_index: i32,
    outcome: Result<Option<Found>, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let nothing = ListOffsetsPartitionResponse { partition_index, ..ListOffsetsPartitionResponse::default() };
    match outcome {
        Ok(Some(Found { offset, timestamp })) => {
            let leader_epoch = if version >= 4 { LEADER_EPOCH } else { NO_EPOCH };
            ListOffsetsPartitionResponse { timestamp, offset, leader_epoch, ..nothing }
        }
        Ok(None) => nothing,
        Err(error) => ListOffsetsPartitionResponse { error_code: error.code(), ..nothing },
    }
}
