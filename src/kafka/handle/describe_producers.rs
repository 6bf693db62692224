//! DescribeProducers (API key 61), version 0: who has written to a partition, and where their transactions begin
//! (KIP-664).

use crate::{
    broker::topic::{Topic, producers::ActiveProducer, table::check_kafka_name},
    kafka::{
        call::Call,
        fault::{ErrorCode, Fault},
        wire::describe_producers::{
            DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState,
            TopicRequest, TopicResponse,
        },
    },
};

pub async fn handle(call: Call, request: DescribeProducersRequest) -> DescribeProducersResponse {
    let topic = |asked: TopicRequest| {
        let found = call.topic_named(&asked.name).map_err(|error| match check_kafka_name(&asked.name) {
            Err(refused) => refused.into(),
            Ok(()) => Fault::from(error),
        });
        let describe = |number: i32| match &found {
            Ok(topic) => describe(topic, number),
            Err(fault) => PartitionResponse {
                partition_index: number,
                error_code: fault.code.code(),
                error_message: Some(fault.message.clone()),
                ..PartitionResponse::default()
            },
        };
        let partitions = asked.partition_indexes.into_iter().map(describe).collect();
        TopicResponse { name: asked.name, partitions }
    };
    DescribeProducersResponse {
        topics: request.topics.into_iter().map(topic).collect(),
        ..DescribeProducersResponse::default()
    }
}

fn describe(topic: &Topic, number: i32) -> PartitionResponse {
    let response = PartitionResponse { partition_index: number, ..PartitionResponse::default() };
    let Some(partition) = topic.partition(number) else {
        return PartitionResponse { error_code: ErrorCode::UnknownTopicOrPartition.code(), ..response };
    };
    let state = |producer: ActiveProducer| ProducerState {
        producer_id: producer.id,
        producer_epoch: producer.epoch.into(),
        last_sequence: producer.last_sequence.unwrap_or(-1),
        last_timestamp: producer.last_timestamp_ms,
        coordinator_epoch: producer.coordinator_epoch.unwrap_or(-1),
        current_txn_start_offset: producer.transaction_start.map_or(-1, |offset| offset.0),
    };
    PartitionResponse {
        active_producers: partition.active_producers().into_iter().map(state).collect(),
        ..response
    }
}
