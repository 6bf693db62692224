//! DescribeTopicPartitions (API key 75), version 0: topics by name, a page of partitions at a time (KIP-966).
//!
//! Java's admin client describes topics with it. No names asks for all topics.

use std::collections::BTreeSet;

use super::authorized;
use crate::{
    broker::topic::Topic,
    kafka::{
        LEADER_EPOCH, NODE_ID,
        call::Call,
        fault::ErrorCode,
        wire::describe_topic_partitions::{
            Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
            DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
        },
    },
};

/// `max.request.partition.size.limit`
const PAGE_PARTITIONS_MAX: usize = 2_000;

pub async fn handle(call: Call, request: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let is_all = request.topics.is_empty();
    let mut names: BTreeSet<String> = if is_all {
        call.topics().list(call.vhost()).iter().map(|topic| topic.name.to_string()).collect()
    } else {
        request.topics.into_iter().map(|topic| topic.name).collect()
    };
    let mut first_partition = 0;
    if let Some(Cursor { topic_name, partition_index }) = request.cursor {
        let Some(first) =
            usize::try_from(partition_index).ok().filter(|_| is_all || names.contains(&topic_name))
        else {
            let refused = |name| failed(name, ErrorCode::InvalidRequest);
            let topics = if is_all { Vec::new() } else { names.into_iter().map(refused).collect() };
            return DescribeTopicPartitionsResponse { topics, ..DescribeTopicPartitionsResponse::default() };
        };
        names = names.split_off(&topic_name);
        if names.first() == Some(&topic_name) {
            first_partition = first;
        }
    }
    let mut room =
        usize::try_from(request.response_partition_limit).unwrap_or_default().clamp(1, PAGE_PARTITIONS_MAX);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        let first = std::mem::take(&mut first_partition);
        let Ok(topic) = call.topic_named(&name) else {
            response.topics.push(unknown(name));
            continue;
        };
        if room == 0 {
            response.next_cursor = Some(Cursor { topic_name: name, partition_index: 0 });
            break;
        }
        let described = describe(&topic, first, room);
        let next = first + described.partitions.len();
        room -= described.partitions.len();
        response.topics.push(described);
        if next < topic.partitions().len() {
            let partition_index = i32::try_from(next).unwrap_or(i32::MAX);
            response.next_cursor = Some(Cursor { topic_name: name, partition_index });
            break;
        }
    }
    response
}

fn describe(topic: &Topic, first: usize, count: usize) -> DescribeTopicPartitionsResponseTopic {
    let partition = |partition_index| DescribeTopicPartitionsResponsePartition {
        error_code: ErrorCode::None.code(),
        partition_index,
        leader_id: NODE_ID,
        leader_epoch: LEADER_EPOCH,
        replica_nodes: vec![NODE_ID],
        isr_nodes: vec![NODE_ID],
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: Vec::new(),
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::None.code(),
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: false,
        partitions: topic.partitions().iter().skip(first).take(count).map(|p| partition(p.number)).collect(),
        // The request has no word for it; Kafka always answers.
        topic_authorized_operations: authorized::topic(true),
    }
}

fn unknown(name: String) -> DescribeTopicPartitionsResponseTopic {
    let error = match crate::broker::topic::table::check_kafka_name(&name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic {
        topic_authorized_operations: authorized::topic(true),
        ..failed(name, error)
    }
}

fn failed(name: String, error: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: error.code(),
        name: Some(name),
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}
